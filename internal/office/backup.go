// SPDX-License-Identifier: Apache-2.0

package office

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
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
