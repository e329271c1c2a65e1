// SPDX-License-Identifier: Apache-2.0

package office

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"filippo.io/age"

	"cityid"
	"cityid/internal/durable/folder"
)

// An archive of an office is one of package folder. Its entries are office.db,
// office.key, then files/<digest> in order of digest. Since office.key is in it, an
// archive that is not encrypted is to be guarded like the folder.

const (
	archiveFormat = "cityid/office-backup/1"
	archiveFiles  = filesDir + "/"
)

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
	if err := folder.CopyDatabase(ctx, filepath.Join(o.dir, dbName), db); err != nil {
		return err
	}
	m, err := o.manifest(ctx, db)
	if err != nil {
		return err
	}
	return folder.WriteArchive(ctx, w, m, func(e folder.Entry) (io.ReadCloser, error) {
		switch {
		case e.Name == dbName:
			return os.Open(db)
		case e.Name == keyName:
			return io.NopCloser(bytes.NewReader(o.key[:])), nil
		}
		d, err := cityid.ParseDigest(e.SHA256)
		if err != nil {
			return nil, err
		}
		return os.Open(o.path(d))
	}, recipients...)
}

// copyTries is how often CopyFolder begins anew.
const copyTries = 5

// CopyFolder copies the folder of an office, which another process may have open, as it
// is at one moment, to a folder that must not exist. Neither side waits. The files of
// the copy are links to those of the folder where the disk allows it; nobody changes
// them. The error matches [ErrDamaged] if files are missing that the database names.
func CopyFolder(ctx context.Context, from, to string) (err error) {
	if from, err = filepath.Abs(from); err == nil {
		to, err = filepath.Abs(to)
	}
	if err != nil {
		return err
	}
	for range copyTries {
		if err = copyFolder(ctx, from, to); !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		// A file was dropped after the database was copied: what is there now names it
		// no more.
		if err := os.RemoveAll(to); err != nil {
			return err
		}
	}
	return fmt.Errorf("%w: %w", ErrDamaged, err)
}

func copyFolder(ctx context.Context, from, to string) error {
	if err := os.Mkdir(to, 0o700); err != nil {
		return err
	}
	key, err := os.ReadFile(filepath.Join(from, keyName))
	if err == nil {
		err = os.WriteFile(filepath.Join(to, keyName), key, 0o600)
	}
	if err != nil {
		return err
	}
	db := filepath.Join(to, dbName)
	if _, err := os.Stat(filepath.Join(from, dbName)); err != nil {
		return err
	}
	if err := folder.MakeDatabase(db); err != nil { // for its owner alone
		return err
	}
	if err := folder.CopyDatabase(ctx, filepath.Join(from, dbName), db); err != nil {
		return err
	}
	list, err := filesOf(ctx, db)
	if err != nil {
		return err
	}
	for _, e := range list {
		if err := ctx.Err(); err != nil {
			return err
		}
		path := filepath.Join(filesDir, e.SHA256[:2], e.SHA256[2:])
		if err := os.MkdirAll(filepath.Dir(filepath.Join(to, path)), 0o700); err != nil {
			return err
		}
		if err := linkOrCopy(filepath.Join(from, path), filepath.Join(to, path)); err != nil {
			return err
		}
	}
	return nil
}

// linkOrCopy makes a file with the content of another.
func linkOrCopy(from, to string) error {
	if os.Link(from, to) == nil {
		return nil
	}
	r, err := os.Open(from)
	if err != nil {
		return err
	}
	defer r.Close()
	w, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(w, r)
	return errors.Join(err, w.Close())
}

func (o *Office) manifest(ctx context.Context, db string) (m folder.Manifest, err error) {
	m = folder.Manifest{Format: archiveFormat, Created: o.now()}
	entry, err := folder.EntryOfFile(ctx, dbName, db)
	if err != nil {
		return m, err
	}
	files, err := filesOf(ctx, db)
	m.Entries = append([]folder.Entry{entry, folder.EntryOf(keyName, o.key[:])}, files...)
	return m, err
}

// filesOf lists the files that a database, which nobody else has open, names.
func filesOf(ctx context.Context, path string) (list []folder.Entry, err error) {
	err = folder.WithDatabase(path, func(db *sql.DB) error {
		list, err = folder.Collect(ctx, db, func(row interface{ Scan(...any) error }) (e folder.Entry, err error) {
			var digest []byte
			err = row.Scan(&digest, &e.Size)
			e.SHA256 = fmt.Sprintf("%x", digest)
			e.Name = archiveFiles + e.SHA256
			return e, err
		}, `SELECT digest, size FROM file ORDER BY digest`)
		return err
	})
	return list, err
}

// Restore makes a folder of an archive: dir must not exist, or be empty. It
// compares every digest, checks the database as a whole and that its files are all
// there, and makes the folder only if everything is right: it returns
// [ErrDamaged] if not, [ErrNewer] for an archive this program does not know,
// [ErrKey] if it is encrypted and no identity opens it, [ErrConflict] if dir is
// taken. Everything is on the disk when it returns.
func Restore(ctx context.Context, dir string, r io.Reader, identities ...age.Identity) error {
	return folder.Restore(ctx, folder.Kind{Format: archiveFormat, Least: 2, Path: entryPath, Check: checkRestored}, dir, r, identities...)
}

// entryPath says where entry i of an archive goes; the names are those that
// Snapshot writes and no others.
func entryPath(i int, e folder.Entry) string {
	if i == 0 && e.Name == dbName || i == 1 && e.Name == keyName {
		return e.Name
	}
	s, ok := strings.CutPrefix(e.Name, archiveFiles)
	if _, err := cityid.ParseDigest(s); i < 2 || !ok || err != nil || s != e.SHA256 {
		return ""
	}
	return archiveFiles + s[:2] + "/" + s[2:]
}

// checkRestored reads a restored database whole, and compares the files it names
// with those that came.
func checkRestored(ctx context.Context, dir string, entries []folder.Entry) error {
	path, files := filepath.Join(dir, dbName), entries[2:]
	if err := folder.CheckDatabase(ctx, path); err != nil {
		return err
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
