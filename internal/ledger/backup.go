// SPDX-License-Identifier: Apache-2.0

package ledger

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"filippo.io/age"

	"cityid/internal/durable/folder"
)

// An archive of a ledger is one of package folder with ledger.db as its one entry.
// The database in it says that it comes from an archive.

const (
	archiveFormat = "cityid/ledger-backup/1"
	snapshotStart = "snapshot-" // of the name of a folder while a snapshot is written
)

// Snapshot writes an archive of the ledger as it is at one moment, while it stays in
// use. With recipients it is encrypted for them. What an error leaves is no archive:
// [Restore] refuses it unless only padding is missing.
func (l *Ledger) Snapshot(ctx context.Context, w io.Writer, recipients ...age.Recipient) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("snapshot: %w", err)
		}
	}()
	temp, err := os.MkdirTemp(l.dir, snapshotStart+"*")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(temp)) }()
	path := filepath.Join(temp, dbName)
	if err := folder.CopyDatabase(ctx, filepath.Join(l.dir, dbName), path); err != nil {
		return err
	}
	if err := markRestored(ctx, path); err != nil {
		return err
	}
	entry, err := folder.EntryOfFile(ctx, dbName, path)
	if err != nil {
		return err
	}
	m := folder.Manifest{Format: archiveFormat, Created: l.now(), Entries: []folder.Entry{entry}}
	return folder.WriteArchive(ctx, w, m, func(folder.Entry) (io.ReadCloser, error) { return os.Open(path) }, recipients...)
}

// clearSnapshots removes what snapshots that were interrupted have left.
func (l *Ledger) clearSnapshots() error {
	left, err := filepath.Glob(filepath.Join(l.dir, snapshotStart+"*"))
	for _, path := range left {
		err = errors.Join(err, os.RemoveAll(path))
	}
	return err
}

// markRestored has a database say that it comes from an archive.
func markRestored(ctx context.Context, path string) (err error) {
	db, err := folder.OpenDatabase(path, "")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }() // folds the log into the database
	return raise(ctx, db, settingRestored, 1)
}

// Restore makes a folder of an archive: dir must not exist, or be empty. It compares
// every digest, checks the database as a whole, and makes the folder only if
// everything is right: it returns [ErrDamaged] if not, [ErrNewer] for an archive this
// program does not know, [ErrKey] if it is encrypted and no identity opens it,
// [ErrConflict] if dir is taken. Everything is on the disk when it returns. The ledger
// opens with a log name that was never used, see the package comment.
func Restore(ctx context.Context, dir string, r io.Reader, identities ...age.Identity) error {
	return folder.Restore(ctx, folder.Kind{
		Format: archiveFormat, Least: 1,
		Path: func(i int, e folder.Entry) string {
			if i == 0 && e.Name == dbName {
				return dbName
			}
			return ""
		},
		Check: func(ctx context.Context, dir string, _ []folder.Entry) error {
			return folder.CheckDatabase(ctx, filepath.Join(dir, dbName))
		},
	}, dir, r, identities...)
}
