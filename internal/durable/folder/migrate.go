// SPDX-License-Identifier: Apache-2.0

package folder

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"slices"
)

// MigrationName is what the name of a migration's file looks like.
var MigrationName = regexp.MustCompile(`^[0-9]{4}_[a-z0-9_]+\.sql$`)

// Migrate applies the migrations that the database has not seen, in order of
// their names, each in a transaction of its own. They lie at migrations/*.sql of
// from; now, in milliseconds since 1970, is noted beside each.
func Migrate(ctx context.Context, db *sql.DB, from fs.FS, now int64) error {
	files, err := fs.Glob(from, "migrations/*.sql")
	if err != nil {
		return err
	}
	slices.Sort(files)
	_, err = db.ExecContext(ctx, `CREATE TABLE IF NOT EXISTS migration (name TEXT PRIMARY KEY, applied INTEGER NOT NULL) STRICT, WITHOUT ROWID`)
	if err != nil {
		return fmt.Errorf("prepare migrations: %w", err)
	}
	applied, err := Collect(ctx, db, func(row interface{ Scan(...any) error }) (name string, err error) {
		return name, row.Scan(&name)
	}, `SELECT name FROM migration ORDER BY name`)
	if err != nil {
		return fmt.Errorf("read migrations: %w", err)
	}
	for _, name := range applied {
		if !slices.Contains(files, path.Join("migrations", name)) {
			return fmt.Errorf("the database has migration %s: %w: use the program that wrote it, or a later one", name, ErrNewer)
		}
	}
	for _, file := range files {
		name := path.Base(file)
		if slices.Contains(applied, name) {
			continue
		}
		if !MigrationName.MatchString(name) {
			return fmt.Errorf("migration %s: want NNNN_name.sql", name)
		}
		text, err := fs.ReadFile(from, file)
		if err != nil {
			return err
		}
		if err := applyMigration(ctx, db, name, string(text), now); err != nil {
			return fmt.Errorf("migration %s: %w", name, err)
		}
	}
	return nil
}

func applyMigration(ctx context.Context, db *sql.DB, name, text string, now int64) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, text)
	if err == nil {
		_, err = tx.ExecContext(ctx, `INSERT INTO migration (name, applied) VALUES (?, ?)`, name, now)
	}
	if err != nil {
		return errors.Join(err, IgnoreDone(tx.Rollback()))
	}
	return tx.Commit()
}
