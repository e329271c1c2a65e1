// SPDX-License-Identifier: Apache-2.0

// Package folder is what the folders in which cityid keeps things for one
// process have in common: a lock, an SQLite database with migrations, and
// archives of the whole that are checked before they become a folder again.
//
// # The database
//
// [OpenDatabase] gives every connection the same settings: write-ahead log,
// synced at each commit, foreign keys, deleted content overwritten. A migration
// is a file migrations/NNNN_name.sql with a number nobody has used. It is applied
// once, in a transaction of its own, in the order of the numbers, and never
// edited after release. A database that knows a migration this program does not
// is refused ([ErrNewer]).
//
// # Archives
//
// An archive is a tar file, or one encrypted with age. Its first entry,
// manifest.json, names all others with their sizes and SHA-256 digests, in their
// order. [Restore] refuses an archive in which anything is missing, added, moved
// or changed.
//
// Errors match one of the sentinels below where the caller can do something about
// them; any other error is the disk's or the database's.
package folder

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"

	_ "modernc.org/sqlite" // registers the driver "sqlite"
)

// Errors that callers tell apart.
var (
	ErrConflict = errors.New("conflict")           // the folder is taken
	ErrLocked   = errors.New("in use")             // another process has the folder open
	ErrDamaged  = errors.New("damaged")            // bytes that do not match their digest, or do not decrypt
	ErrNewer    = errors.New("of a newer version") // a database or archive this program does not know
	ErrKey      = errors.New("wrong or lost key")  // an archive that no given identity opens
)

// MakeDatabase makes the file of a database, if there is none, so that only its
// owner can read it. SQLite gives the files beside it the same mode.
func MakeDatabase(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	return f.Close()
}

// OpenDatabase opens a database file with the settings every connection has, and
// more of them in the form of modernc.org/sqlite's URLs.
func OpenDatabase(path, more string) (*sql.DB, error) {
	u := url.URL{Scheme: "file", Path: filepath.ToSlash(path), RawQuery: "_pragma=busy_timeout(10000)&_pragma=journal_mode(WAL)" +
		"&_pragma=synchronous(FULL)&_pragma=foreign_keys(1)&_pragma=secure_delete(1)&_pragma=trusted_schema(0)&" + more}
	return sql.Open("sqlite", u.String())
}

// WithDatabase opens a database that does not change, without writing beside it,
// for the time that f runs.
func WithDatabase(path string, f func(db *sql.DB) error) (err error) {
	u := url.URL{Scheme: "file", Path: filepath.ToSlash(path), RawQuery: "immutable=1&mode=ro&_pragma=trusted_schema(0)"}
	db, err := sql.Open("sqlite", u.String())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	return f(db)
}

// CopyDatabase writes a database as it is at one moment to a new file, through a
// connection of its own, so that neither readers nor writers wait.
func CopyDatabase(ctx context.Context, from, to string) (err error) {
	db, err := OpenDatabase(from, "")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	_, err = db.ExecContext(ctx, `VACUUM INTO ?`, to)
	return err
}

// CheckDatabase reads a database that nobody has open whole. The error matches
// [ErrDamaged].
func CheckDatabase(ctx context.Context, path string) error {
	err := WithDatabase(path, func(db *sql.DB) error {
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
	return nil
}

// Querier is a transaction, or the connections for reading.
type Querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// Collect runs a query and scans each row. It returns an empty list, not nil,
// where there is none.
func Collect[T any](ctx context.Context, q Querier, scan func(row interface{ Scan(...any) error }) (T, error), query string, args ...any) (_ []T, err error) {
	rows, err := q.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	list := []T{}
	for rows.Next() {
		v, err := scan(rows)
		if err != nil {
			return nil, err
		}
		list = append(list, v)
	}
	return list, rows.Err()
}

// Count returns how many rows a statement changed.
func Count(r sql.Result, err error) (int, error) {
	if err != nil {
		return 0, err
	}
	n, err := r.RowsAffected()
	return int(n), err
}

// IgnoreDone drops the error of rolling back what a cancelled context has rolled
// back before.
func IgnoreDone(err error) error {
	if errors.Is(err, sql.ErrTxDone) {
		return nil
	}
	return err
}
