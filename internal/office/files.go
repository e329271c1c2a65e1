// SPDX-License-Identifier: Apache-2.0

package office

import (
	"bytes"
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"cityid"
	"cityid/internal/durable"
	"cityid/internal/durable/folder"
)

const (
	tempDir   = "tmp"
	fileGrace = time.Hour // how long a file that nothing refers to is kept
)

// Put stores the bytes of r, at most limit of them ([ErrTooLarge]), and returns
// their SHA-256 and size. They are on the disk when it returns. A file that
// nothing refers to is swept after an hour.
func (o *Office) Put(ctx context.Context, r io.Reader, limit int64) (digest cityid.Digest, size int64, err error) {
	f, err := os.CreateTemp(filepath.Join(o.dir, filesDir, tempDir), "put-*")
	if err != nil {
		return digest, 0, fmt.Errorf("put file: %w", err)
	}
	defer func() {
		if err != nil {
			gone := os.Remove(f.Name())
			if errors.Is(gone, fs.ErrNotExist) { // it had its name already
				gone = nil
			}
			err = fmt.Errorf("put file: %w", errors.Join(err, gone))
		}
	}()
	h := sha256.New()
	size, err = io.Copy(io.MultiWriter(f, h), io.LimitReader(folder.ContextReader{Context: ctx, Reader: r}, limit+1))
	if err == nil && size > limit {
		err = fmt.Errorf("more than %d bytes: %w", limit, ErrTooLarge)
	}
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return digest, 0, err
	}
	digest = cityid.Digest(h.Sum(nil))
	return digest, size, o.name(ctx, f.Name(), digest, size)
}

// name gives a finished temporary file its name and its row. It also replaces a
// file of that name, which heals one that a disk has damaged.
func (o *Office) name(ctx context.Context, temp string, digest cityid.Digest, size int64) error {
	o.files.RLock()
	defer o.files.RUnlock()
	path := o.path(digest)
	dir := filepath.Dir(path)
	err := os.Mkdir(dir, 0o700)
	if err == nil {
		err = durable.SyncDir(filepath.Dir(dir))
	} else if errors.Is(err, fs.ErrExist) {
		err = nil
	}
	if err == nil {
		err = os.Rename(temp, path)
	}
	if err == nil {
		err = durable.SyncDir(dir)
	}
	if err != nil {
		return err
	}
	// Without its row the file is swept.
	return o.write(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO file (digest, size, stored) VALUES (?, ?, ?) ON CONFLICT (digest) DO UPDATE SET stored = excluded.stored`,
			digest[:], size, ms(o.now()))
		return err
	})
}

// PutBytes is [Office.Put] of bytes in memory, without a limit.
func (o *Office) PutBytes(ctx context.Context, b []byte) (cityid.Digest, error) {
	d, _, err := o.Put(ctx, bytes.NewReader(b), int64(len(b)))
	return d, err
}

// OpenFile opens a file for reading and seeking; the caller closes it. The bytes
// are not compared with the digest: see [Office.ReadFile].
func (o *Office) OpenFile(ctx context.Context, digest cityid.Digest) (*os.File, error) {
	var size int64
	err := o.reads.QueryRowContext(ctx, `SELECT size FROM file WHERE digest = ?`, digest[:]).Scan(&size)
	if err != nil {
		return nil, found(err, "file "+digest.String())
	}
	f, err := os.Open(o.path(digest))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("file %s is gone from the folder: %w", digest, ErrDamaged)
	}
	return f, err
}

// ReadFile returns the bytes of a file of at most limit bytes, which it has
// compared with the digest ([ErrDamaged]).
func (o *Office) ReadFile(ctx context.Context, digest cityid.Digest, limit int64) (_ []byte, err error) {
	f, err := o.OpenFile(ctx, digest)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	switch {
	case err != nil:
		return nil, err
	case int64(len(b)) > limit:
		return nil, fmt.Errorf("file %s has more than %d bytes: %w", digest, limit, ErrTooLarge)
	case sha256.Sum256(b) != digest:
		return nil, fmt.Errorf("file %s: its bytes have another digest: %w", digest, ErrDamaged)
	}
	return b, nil
}

func (o *Office) path(digest cityid.Digest) string {
	s := digest.String()
	return filepath.Join(o.dir, filesDir, s[:2], s[2:])
}

// clearTemp removes what an earlier process left unfinished.
func (o *Office) clearTemp() error {
	left, err := os.ReadDir(filepath.Join(o.dir, filesDir, tempDir))
	for _, e := range left {
		err = errors.Join(err, os.RemoveAll(filepath.Join(o.dir, filesDir, tempDir, e.Name())))
	}
	return err
}

// sweepFiles removes the files that no row refers to, and those on the disk that
// have no row, which a crash has left.
func (o *Office) sweepFiles(ctx context.Context) (n int, err error) {
	if !o.files.TryLock() {
		return 0, nil // a snapshot is being written; next time
	}
	defer o.files.Unlock()
	err = o.write(ctx, func(tx *sql.Tx) error {
		referring, err := referrers(ctx, tx)
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `DELETE FROM file WHERE stored <= ?`+referring, ms(o.now().Add(-fileGrace)))
		return err
	})
	if err != nil {
		return 0, err
	}
	// Rows are gone for good; what has none goes from the disk as well.
	folders, err := os.ReadDir(filepath.Join(o.dir, filesDir))
	if err != nil {
		return 0, err
	}
	for _, folder := range folders {
		if folder.Name() == tempDir || !folder.IsDir() {
			continue
		}
		removed, err := o.sweepFolder(ctx, folder.Name())
		n += removed
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

func (o *Office) sweepFolder(ctx context.Context, name string) (n int, err error) {
	list, err := os.ReadDir(filepath.Join(o.dir, filesDir, name))
	if err != nil {
		return 0, err
	}
	prefix, err := hex.DecodeString(name)
	if err != nil || len(prefix) != 1 {
		return 0, nil // not ours
	}
	rows, err := folder.Collect(ctx, o.reads, scanDigest, `SELECT digest FROM file WHERE digest BETWEEN ? AND ?`, prefix, append(bytes.Clone(prefix), bytes.Repeat([]byte{0xff}, 31)...))
	if err != nil {
		return 0, err
	}
	known := map[string]bool{}
	for _, d := range rows {
		known[d.String()] = true
	}
	for _, e := range list {
		full := name + e.Name()
		if _, err := cityid.ParseDigest(full); err != nil || known[full] {
			continue
		}
		if err := os.Remove(filepath.Join(o.dir, filesDir, name, e.Name())); err != nil {
			return n, err
		}
		n++
	}
	return n, nil
}

// referrers returns conditions that hold for a row of file to which no foreign
// key of the database refers.
func referrers(ctx context.Context, q folder.Querier) (string, error) {
	conditions, err := folder.Collect(ctx, q, func(row interface{ Scan(...any) error }) (string, error) {
		var table, column string
		err := row.Scan(&table, &column)
		return fmt.Sprintf(" AND NOT EXISTS (SELECT 1 FROM %[1]s WHERE %[1]s.%[2]s = file.digest)", quoted(table), quoted(column)), err
	}, `SELECT t.name, f."from" FROM sqlite_schema AS t, pragma_foreign_key_list(t.name) AS f WHERE t.type = 'table' AND lower(f."table") = 'file' ORDER BY 1, 2`)
	return strings.Join(conditions, ""), err
}

func quoted(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }
