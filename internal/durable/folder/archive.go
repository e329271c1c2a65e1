// SPDX-License-Identifier: Apache-2.0

package folder

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"filippo.io/age"

	"cityid/internal/durable"
)

// ManifestName is the name of an archive's first entry.
const ManifestName = "manifest.json"

const (
	maxManifest    = 1 << 30
	ageMagic       = "age-encryption.org/v1"
	restoringStart = ".restore-*"
)

// Manifest is the first entry of an archive, in JSON.
type Manifest struct {
	Format  string    `json:"format"`
	Created time.Time `json:"created"` // whole seconds, UTC
	Entries []Entry   `json:"entries"`
}

// Entry is a file in an archive.
type Entry struct {
	Name   string `json:"name"`
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"` // 64 lower-case hexadecimal digits
}

// EntryOf returns the entry for some bytes.
func EntryOf(name string, b []byte) Entry {
	h := sha256.Sum256(b)
	return Entry{name, int64(len(b)), hex.EncodeToString(h[:])}
}

// EntryOfFile returns the entry for the file at path.
func EntryOfFile(ctx context.Context, name, path string) (e Entry, err error) {
	f, err := os.Open(path)
	if err != nil {
		return e, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	h := sha256.New()
	size, err := io.Copy(h, ContextReader{ctx, f})
	return Entry{name, size, hex.EncodeToString(h.Sum(nil))}, err
}

// ContextReader stops reading when its context ends.
type ContextReader struct {
	Context context.Context
	Reader  io.Reader
}

func (r ContextReader) Read(p []byte) (int, error) {
	if err := r.Context.Err(); err != nil {
		return 0, err
	}
	return r.Reader.Read(p)
}

// WriteArchive writes an archive of the files that a manifest names, which open
// opens one after another. With recipients it is encrypted for them. What an error
// leaves is no archive: [Restore] refuses it unless only padding is missing. The
// error matches [ErrDamaged] if a file is gone or is not what the manifest says.
func WriteArchive(ctx context.Context, w io.Writer, m Manifest, open func(e Entry) (io.ReadCloser, error), recipients ...age.Recipient) error {
	if len(recipients) == 0 {
		return writeArchive(ctx, w, m, open)
	}
	out, err := age.Encrypt(w, recipients...)
	if err != nil {
		return err
	}
	if err := writeArchive(ctx, out, m, open); err != nil {
		return err // and do not close: a cut-off age file is refused
	}
	return out.Close()
}

func writeArchive(ctx context.Context, w io.Writer, m Manifest, open func(e Entry) (io.ReadCloser, error)) error {
	m.Created = m.Created.UTC().Truncate(time.Second)
	t := tar.NewWriter(w)
	text, err := json.Marshal(m)
	if err != nil {
		return err
	}
	put := func(e Entry, r io.Reader) error {
		err := t.WriteHeader(&tar.Header{Name: e.Name, Size: e.Size, Mode: 0o600, ModTime: m.Created, Typeflag: tar.TypeReg, Format: tar.FormatPAX})
		if err != nil {
			return err
		}
		h := sha256.New()
		n, err := io.Copy(t, io.TeeReader(ContextReader{ctx, r}, h))
		if err == nil && (n != e.Size || hex.EncodeToString(h.Sum(nil)) != e.SHA256) {
			err = fmt.Errorf("%s has another digest than its name: %w", e.Name, ErrDamaged)
		}
		return err
	}
	if err := put(EntryOf(ManifestName, text), bytes.NewReader(text)); err != nil {
		return err
	}
	for _, e := range m.Entries {
		f, err := open(e)
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

// Kind says what belongs into the archives of one kind of folder.
type Kind struct {
	Format string // that the manifest must name
	Least  int    // how many entries there are at least
	// Path returns the path, relative and with slashes, at which entry i belongs
	// into the folder, or "" if no such entry belongs there.
	Path func(i int, e Entry) string
	// Check judges the folder before it gets its name. All entries have the
	// digests that the manifest names.
	Check func(ctx context.Context, dir string, entries []Entry) error
}

// Restore makes a folder of an archive: dir must not exist, or be empty. It
// compares every digest and makes the folder only if everything is right: it
// returns [ErrDamaged] if not, [ErrNewer] for an archive of another format,
// [ErrKey] if it is encrypted and no identity opens it, [ErrConflict] if dir is
// taken. Everything is on the disk when it returns.
func Restore(ctx context.Context, kind Kind, dir string, r io.Reader, identities ...age.Identity) (err error) {
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
	if err := kind.unpack(ctx, temp, r); err != nil {
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
func (k Kind) unpack(ctx context.Context, dir string, r io.Reader) error {
	t := tar.NewReader(ContextReader{ctx, r})
	m, err := k.readManifest(t)
	if err != nil {
		return err
	}
	for i, e := range m.Entries {
		path := k.Path(i, e)
		if path == "" || !filepath.IsLocal(filepath.FromSlash(path)) {
			return fmt.Errorf("entry %d of the archive is called %.100q: %w", i, e.Name, ErrDamaged)
		}
		if err := unpackEntry(t, filepath.Join(dir, filepath.FromSlash(path)), e); err != nil {
			return err
		}
	}
	if _, err := t.Next(); !errors.Is(err, io.EOF) {
		return fmt.Errorf("the archive has more in it than it says: %w", ErrDamaged)
	}
	if _, err := io.Copy(io.Discard, r); err != nil { // the end of an encrypted archive counts
		return fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	if err := k.Check(ctx, dir, m.Entries); err != nil {
		return err
	}
	return syncTree(dir)
}

func (k Kind) readManifest(t *tar.Reader) (m Manifest, err error) {
	header, err := t.Next()
	if err != nil || header.Name != ManifestName || header.Size > maxManifest {
		return m, fmt.Errorf("this is not an archive in the format %s: %w", k.Format, ErrDamaged)
	}
	text, err := io.ReadAll(t)
	if err == nil {
		err = json.Unmarshal(text, &m)
	}
	switch {
	case err != nil:
		return m, fmt.Errorf("manifest: %w: %w", ErrDamaged, err)
	case m.Format != k.Format:
		return m, fmt.Errorf("the archive has format %.60q, not %s: %w", m.Format, k.Format, ErrNewer)
	case len(m.Entries) < k.Least:
		return m, fmt.Errorf("the archive has no database: %w", ErrDamaged)
	}
	return m, nil
}

func unpackEntry(t *tar.Reader, path string, e Entry) error {
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
	if err == nil && hex.EncodeToString(h.Sum(nil)) != e.SHA256 {
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

// syncTree makes the names in a folder and those below it durable.
func syncTree(dir string) error {
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return err
		}
		return durable.SyncDir(path)
	})
}
