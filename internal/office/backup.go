// SPDX-License-Identifier: Apache-2.0

package office

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"

	"filippo.io/age"

	"cityid"
	"cityid/internal/durable"
)

// An archive of an office is a tar file, or one encrypted with age. Its first
// entry, manifest.json, names all others with their sizes and SHA-256 digests, in
// their order: office.db, office.key, then files/<digest> in order of digest.
// Since office.key is in it, an archive that is not encrypted is to be guarded
// like the folder.

const (
	archiveFormat  = "cityid/office-backup/1"
	manifestName   = "manifest.json"
	archiveFiles   = filesDir + "/"
	maxManifest    = 1 << 30
	ageMagic       = "age-encryption.org/v1"
	restoringStart = ".office-restore-*"
)

type manifest struct {
	Format  string         `json:"format"`
	Created cityid.Time    `json:"created"`
	Entries []archiveEntry `json:"entries"`
}

type archiveEntry struct {
	Name   string        `json:"name"`
	Size   int64         `json:"size"`
	SHA256 cityid.Digest `json:"sha256"`
}

// Snapshot writes an archive of the office as it is at one moment, while it stays
// in use. With recipients it is encrypted for them; without, it contains
// office.key in the clear. What an error leaves is no archive: [Restore] refuses it
// unless only padding is missing.
func (o *Office) Snapshot(ctx context.Context, w io.Writer, recipients ...age.Recipient) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("snapshot: %w", err)
		}
	}()
	temp, err := os.MkdirTemp(filepath.Join(o.dir, filesDir, tempDir), "snapshot-*")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(temp)) }()

	o.files.RLock() // no file goes until all are written
	defer o.files.RUnlock()
	db := filepath.Join(temp, dbName)
	if err := o.vacuumInto(ctx, db); err != nil {
		return err
	}
	m, err := o.manifest(ctx, db)
	if err != nil {
		return err
	}
	out := nopCloser(w)
	if len(recipients) > 0 {
		if out, err = age.Encrypt(w, recipients...); err != nil {
			return err
		}
	}
	if err := o.writeArchive(ctx, out, m, db); err != nil {
		return err // and do not close: a cut-off age file is refused
	}
	return out.Close()
}

type nopWriteCloser struct{ io.Writer }

func (nopWriteCloser) Close() error { return nil }

func nopCloser(w io.Writer) io.WriteCloser { return nopWriteCloser{w} }

// vacuumInto writes the database to a new file, through a connection of its own,
// so that neither readers nor writers wait.
func (o *Office) vacuumInto(ctx context.Context, path string) (err error) {
	db, err := openDB(filepath.Join(o.dir, dbName), "")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	_, err = db.ExecContext(ctx, `VACUUM INTO ?`, path)
	return err
}

func (o *Office) manifest(ctx context.Context, db string) (m manifest, err error) {
	m = manifest{Format: archiveFormat, Created: cityid.TimeOf(o.now())}
	entry := archiveEntry{Name: dbName}
	if entry.Size, entry.SHA256, err = digestOf(ctx, db); err != nil {
		return m, err
	}
	m.Entries = append(m.Entries, entry, archiveEntry{keyName, int64(len(o.key)), hashOf(o.key[:])})
	files, err := filesOf(ctx, db)
	m.Entries = append(m.Entries, files...)
	return m, err
}

func digestOf(ctx context.Context, path string) (size int64, digest cityid.Digest, err error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, digest, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	h := sha256.New()
	size, err = io.Copy(h, contextReader{ctx, f})
	return size, cityid.Digest(h.Sum(nil)), err
}

// filesOf lists the files that a database, which nobody else has open, names.
func filesOf(ctx context.Context, path string) (list []archiveEntry, err error) {
	err = withDB(path, func(db *sql.DB) error {
		list, err = collect(ctx, db, func(row interface{ Scan(...any) error }) (e archiveEntry, err error) {
			var digest []byte
			err = row.Scan(&digest, &e.Size)
			copy(e.SHA256[:], digest)
			e.Name = archiveFiles + e.SHA256.String()
			return e, err
		}, `SELECT digest, size FROM file ORDER BY digest`)
		return err
	})
	return list, err
}

// withDB opens a database that does not change, without writing beside it.
func withDB(path string, f func(db *sql.DB) error) (err error) {
	u := url.URL{Scheme: "file", Path: filepath.ToSlash(path), RawQuery: "immutable=1&mode=ro&_pragma=trusted_schema(0)"}
	db, err := sql.Open("sqlite", u.String())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	return f(db)
}

func (o *Office) writeArchive(ctx context.Context, w io.Writer, m manifest, db string) error {
	t := tar.NewWriter(w)
	text, err := json.Marshal(m)
	if err != nil {
		return err
	}
	put := func(e archiveEntry, r io.Reader) error {
		err := t.WriteHeader(&tar.Header{Name: e.Name, Size: e.Size, Mode: 0o600, ModTime: m.Created.Std(), Typeflag: tar.TypeReg, Format: tar.FormatPAX})
		if err != nil {
			return err
		}
		h := sha256.New()
		n, err := io.Copy(t, io.TeeReader(contextReader{ctx, r}, h))
		if err == nil && (n != e.Size || [32]byte(h.Sum(nil)) != e.SHA256) {
			err = fmt.Errorf("%s has another digest than its name: %w", e.Name, ErrDamaged)
		}
		return err
	}
	if err := put(archiveEntry{manifestName, int64(len(text)), hashOf(text)}, bytes.NewReader(text)); err != nil {
		return err
	}
	for _, e := range m.Entries {
		if e.Name == keyName {
			if err := put(e, bytes.NewReader(o.key[:])); err != nil {
				return err
			}
			continue
		}
		path := db
		if e.Name != dbName {
			path = o.path(e.SHA256)
		}
		f, err := os.Open(path)
		if errors.Is(err, fs.ErrNotExist) {
			err = fmt.Errorf("%s is gone from the folder: %w", e.Name, ErrDamaged)
		}
		if err != nil {
			return err
		}
		if err := errors.Join(put(e, f), f.Close()); err != nil {
			return err
		}
	}
	return t.Close()
}

// Restore makes a folder of an archive: dir must not exist, or be empty. It
// compares every digest, checks the database as a whole and that its files are all
// there, and makes the folder only if everything is right: it returns
// [ErrDamaged] if not, [ErrNewer] for an archive this program does not know,
// [ErrKey] if it is encrypted and no identity opens it, [ErrConflict] if dir is
// taken. Everything is on the disk when it returns.
func Restore(ctx context.Context, dir string, r io.Reader, identities ...age.Identity) (err error) {
	dir, err = filepath.Abs(dir)
	if err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("restore %s: %w", dir, err)
		}
	}()
	list, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if len(list) > 0 {
		return fmt.Errorf("the folder is not empty: %w", ErrConflict)
	}
	if r, err = decrypted(r, identities); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o700); err != nil {
		return err
	}
	temp, err := os.MkdirTemp(filepath.Dir(dir), restoringStart)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(temp))
		}
	}()
	if err := unpack(ctx, temp, r); err != nil {
		return err
	}
	if err := os.Remove(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.Rename(temp, dir); err != nil {
		return err
	}
	return durable.SyncDir(filepath.Dir(dir))
}

// decrypted looks at the first bytes, and takes the encryption off if there is
// one.
func decrypted(r io.Reader, identities []age.Identity) (io.Reader, error) {
	head := make([]byte, len(ageMagic))
	n, err := io.ReadFull(r, head)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
		return nil, err
	}
	r = io.MultiReader(bytes.NewReader(head[:n]), r)
	if string(head[:n]) != ageMagic {
		return r, nil
	}
	if len(identities) == 0 {
		return nil, fmt.Errorf("the archive is encrypted: %w", ErrKey)
	}
	r, err = age.Decrypt(r, identities...)
	if noMatch := new(age.NoIdentityMatchError); errors.As(err, &noMatch) {
		return nil, fmt.Errorf("the archive is not for this key or passphrase: %w", ErrKey)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return r, nil
}

// unpack fills an empty folder with what an archive holds, and checks it.
func unpack(ctx context.Context, dir string, r io.Reader) error {
	t := tar.NewReader(contextReader{ctx, r})
	m, err := readManifest(t)
	if err != nil {
		return err
	}
	for i, e := range m.Entries {
		path, err := entryPath(dir, i, e)
		if err != nil {
			return err
		}
		if err := unpackEntry(t, path, e); err != nil {
			return err
		}
	}
	if _, err := t.Next(); !errors.Is(err, io.EOF) {
		return fmt.Errorf("the archive has more in it than it says: %w", ErrDamaged)
	}
	if _, err := io.Copy(io.Discard, r); err != nil { // the end of an encrypted archive counts
		return fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	if err := checkDatabase(ctx, filepath.Join(dir, dbName), m.Entries[2:]); err != nil {
		return err
	}
	return syncTree(dir)
}

func readManifest(t *tar.Reader) (m manifest, err error) {
	header, err := t.Next()
	if err != nil || header.Name != manifestName || header.Size > maxManifest {
		return m, fmt.Errorf("this is not an archive of an office: %w", ErrDamaged)
	}
	text, err := io.ReadAll(t)
	if err == nil {
		err = json.Unmarshal(text, &m)
	}
	switch {
	case err != nil:
		return m, fmt.Errorf("manifest: %w: %w", ErrDamaged, err)
	case m.Format != archiveFormat:
		return m, fmt.Errorf("the archive has format %.60q: %w", m.Format, ErrNewer)
	case len(m.Entries) < 2:
		return m, fmt.Errorf("the archive has no database: %w", ErrDamaged)
	}
	return m, nil
}

// entryPath says where entry i of an archive goes; the names are those that
// Snapshot writes and no others.
func entryPath(dir string, i int, e archiveEntry) (string, error) {
	switch {
	case i == 0 && e.Name == dbName || i == 1 && e.Name == keyName:
		return filepath.Join(dir, e.Name), nil
	case i > 1 && e.Name == archiveFiles+e.SHA256.String() && !e.SHA256.IsZero():
		s := e.SHA256.String()
		return filepath.Join(dir, filesDir, s[:2], s[2:]), nil
	}
	return "", fmt.Errorf("entry %d of the archive is called %.100q: %w", i, e.Name, ErrDamaged)
}

func unpackEntry(t *tar.Reader, path string, e archiveEntry) error {
	header, err := t.Next()
	if err != nil || header.Name != e.Name || header.Size != e.Size || header.Typeflag != tar.TypeReg {
		return fmt.Errorf("the archive ends or changes before %s: %w", e.Name, errors.Join(ErrDamaged, err))
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	h := sha256.New()
	from := &sourceReader{r: t}
	_, err = io.Copy(io.MultiWriter(f, h), from)
	if from.err != nil {
		err = fmt.Errorf("%s: %w: %w", e.Name, ErrDamaged, from.err)
	}
	if err == nil && [32]byte(h.Sum(nil)) != e.SHA256 {
		err = fmt.Errorf("%s: its bytes have another digest: %w", e.Name, ErrDamaged)
	}
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// sourceReader remembers an error of reading, to tell it from one of writing.
type sourceReader struct {
	r   io.Reader
	err error
}

func (s *sourceReader) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		s.err = err
	}
	return n, err
}

// checkDatabase reads a restored database whole, and compares the files it names
// with those that came.
func checkDatabase(ctx context.Context, path string, files []archiveEntry) error {
	err := withDB(path, func(db *sql.DB) error {
		var verdict string
		if err := db.QueryRowContext(ctx, `PRAGMA integrity_check(1)`).Scan(&verdict); err != nil {
			return err
		}
		if verdict != "ok" {
			return errors.New(verdict)
		}
		rows, err := db.QueryContext(ctx, `PRAGMA foreign_key_check`)
		if err != nil {
			return err
		}
		broken := rows.Next()
		if err := errors.Join(rows.Err(), rows.Close()); err != nil {
			return err
		}
		if broken {
			return errors.New("rows refer to what is not there")
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("the database: %w: %w", ErrDamaged, err)
	}
	named, err := filesOf(ctx, path)
	if err != nil {
		return fmt.Errorf("the database: %w: %w", ErrDamaged, err)
	}
	if len(named) != len(files) {
		return fmt.Errorf("the database names %d files, the archive has %d: %w", len(named), len(files), ErrDamaged)
	}
	for i := range named {
		if named[i] != files[i] {
			return fmt.Errorf("the database names %s where the archive has %s: %w", named[i].Name, files[i].Name, ErrDamaged)
		}
	}
	return nil
}

// syncTree makes the names in a folder and those below it durable.
func syncTree(dir string) error {
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return err
		}
		return durable.SyncDir(path)
	})
}
