// SPDX-License-Identifier: Apache-2.0

package office

import (
	"context"
	"database/sql"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"cityid"
	"cityid/internal/durable/folder"
)

// An import is a department's table on its way into the registry. The table and
// what was made of it so far may hold what is sealed later, so both are encrypted
// under office.key. Its folder, imports/ID, holds the checkpoint of package bulk,
// which has its own way to survive a crash: transactions that were signed, and so
// nothing that is not to be published. A snapshot leaves the folder out: an import
// that is run again without its checkpoint finds what it allocated already.

const (
	importsDir    = "imports"
	importIDBytes = 20
	maxImports    = 200 // of one code
	maxState      = 16 << 20
)

// ImportPhase is how far an import is.
type ImportPhase uint8

// The phases.
const (
	ImportOpen    ImportPhase = 1 // being prepared
	ImportRunning ImportPhase = 2 // begun: something may have been submitted
	ImportDone    ImportPhase = 3 // all its rows are settled
)

// Import is an import as it stands.
type Import struct {
	ID      string
	Parent  cityid.Code
	Creator cityid.PublicKey
	Title   string // name of the file
	File    cityid.Digest
	Size    int64 // of the table
	Phase   ImportPhase
	State   []byte // the caller's; [Office.ImportsBelow] leaves it out

	Revision                uint64 // 1, and one more with each save
	Created, Saved, Expires time.Time
}

func whereImport(id string) []byte { return []byte("cityid/office-import/1" + id) }

// NewImport keeps a table below parent and returns the id of its import.
func (o *Office) NewImport(ctx context.Context, parent cityid.Code, creator cityid.PublicKey, title string, table, state []byte) (string, error) {
	if err := cityid.CheckText("the name of the file", title, true); err != nil {
		return "", fmt.Errorf("import: %w: %w", ErrInvalid, err)
	}
	if len(state) > maxState {
		return "", fmt.Errorf("import: state: %w", ErrTooLarge)
	}
	id := base64.RawURLEncoding.EncodeToString(random(importIDBytes))
	file, err := o.PutBytes(ctx, enclose(o.key, table, whereImport(id+"/table")))
	if err != nil {
		return "", fmt.Errorf("import: %w", err)
	}
	now := o.now()
	err = o.write(ctx, func(tx *sql.Tx) error {
		var n int
		if err := tx.QueryRowContext(ctx, `SELECT count(*) FROM import WHERE parent = ? AND expires > ?`, parent.String(), ms(now)).Scan(&n); err != nil {
			return err
		}
		if n >= maxImports {
			return fmt.Errorf("%d imports below %s: %w: delete some", n, parent, ErrTooLarge)
		}
		_, err := tx.ExecContext(ctx, `INSERT INTO import (id, parent, creator, title, file, size, phase, revision, state, created, saved, expires)
			VALUES (?, ?, ?, ?, ?, ?, ?, 1, ?, ?, ?, ?)`, id, parent.String(), []byte(creator), title, file[:], len(table), ImportOpen,
			enclose(o.key, state, whereImport(id)), ms(now), ms(now), ms(now.Add(o.opts.ImportLife)))
		return err
	})
	if err != nil {
		return "", fmt.Errorf("import: %w", err)
	}
	return id, nil
}

const importQuery = `SELECT id, parent, creator, title, file, size, phase, revision, created, saved, expires, `

func scanImport(row interface{ Scan(...any) error }) (i Import, err error) {
	var parent string
	var creator, file []byte
	var created, saved, expires int64
	if err := row.Scan(&i.ID, &parent, &creator, &i.Title, &file, &i.Size, &i.Phase, &i.Revision, &created, &saved, &expires, &i.State); err != nil {
		return i, err
	}
	i.Parent, err = cityid.ParseCanonical(parent)
	copy(i.File[:], file)
	i.Creator, i.Created, i.Saved, i.Expires = cityid.PublicKey(creator), at(created), at(saved), at(expires)
	return i, err
}

// Import returns an import. One that has expired is [ErrExpired].
func (o *Office) Import(ctx context.Context, id string) (Import, error) {
	i, err := scanImport(o.reads.QueryRowContext(ctx, importQuery+`state FROM import WHERE id = ?`, id))
	if err != nil {
		return Import{}, found(err, "import")
	}
	if !o.now().Before(i.Expires) {
		return Import{}, fmt.Errorf("import: %w", ErrExpired)
	}
	if i.State, err = disclose(o.key, i.State, whereImport(id)); err != nil {
		return Import{}, fmt.Errorf("import %s: %w", id, err)
	}
	return i, nil
}

// ImportTable returns the table of an import.
func (o *Office) ImportTable(ctx context.Context, i *Import) ([]byte, error) {
	box, err := o.ReadFile(ctx, i.File, i.Size+boxOverhead)
	if err != nil {
		return nil, fmt.Errorf("table of import %s: %w", i.ID, err)
	}
	table, err := disclose(o.key, box, whereImport(i.ID+"/table"))
	if err != nil {
		return nil, fmt.Errorf("table of import %s: %w", i.ID, err)
	}
	return table, nil
}

// ImportsBelow lists the imports below those codes that keep returns true for,
// which have not expired, latest first, without their state.
func (o *Office) ImportsBelow(ctx context.Context, keep func(parent cityid.Code) bool) ([]Import, error) {
	parents, err := folder.Collect(ctx, o.reads, func(row interface{ Scan(...any) error }) (c cityid.Code, err error) {
		var text string
		if err := row.Scan(&text); err != nil {
			return c, err
		}
		return cityid.ParseCanonical(text)
	}, `SELECT DISTINCT parent FROM import WHERE expires > ?`, ms(o.now()))
	if err != nil {
		return nil, err
	}
	var out []Import
	for _, p := range parents {
		if !keep(p) {
			continue
		}
		list, err := folder.Collect(ctx, o.reads, scanImport, importQuery+`x'' FROM import WHERE parent = ? AND expires > ? ORDER BY created DESC, id`,
			p.String(), ms(o.now()))
		if err != nil {
			return nil, err
		}
		out = append(out, list...)
	}
	slices.SortStableFunc(out, func(a, b Import) int { return b.Created.Compare(a.Created) })
	return out, nil
}

// SaveImport replaces the state of an import, if its revision is still the one
// given ([ErrConflict]), and returns the next. It keeps the import for another
// life.
func (o *Office) SaveImport(ctx context.Context, id string, revision uint64, phase ImportPhase, state []byte) (uint64, error) {
	if len(state) > maxState {
		return 0, fmt.Errorf("import %s: state of %d bytes: %w", id, len(state), ErrTooLarge)
	}
	now := o.now()
	err := o.write(ctx, func(tx *sql.Tx) error {
		r, err := tx.ExecContext(ctx, `UPDATE import SET state = ?, phase = ?, revision = revision + 1, saved = ?, expires = ? WHERE id = ? AND revision = ? AND expires > ?`,
			enclose(o.key, state, whereImport(id)), phase, ms(now), ms(now.Add(o.opts.ImportLife)), id, revision, ms(now))
		if err := changed(r, err, ErrConflict); !errors.Is(err, ErrConflict) {
			return err
		}
		var there int
		if err := tx.QueryRowContext(ctx, `SELECT 1 FROM import WHERE id = ?`, id).Scan(&there); err != nil {
			return found(err, "import")
		}
		return fmt.Errorf("import %s was changed meanwhile: %w", id, ErrConflict)
	})
	return revision + 1, err
}

// DeleteImport removes an import and its folder. The caller has ended its run.
// The table goes with the next sweep an hour after it came, at once if it is
// older.
func (o *Office) DeleteImport(ctx context.Context, id string) error {
	err := o.write(ctx, func(tx *sql.Tx) error {
		r, err := tx.ExecContext(ctx, `DELETE FROM import WHERE id = ?`, id)
		return changed(r, err, fmt.Errorf("import: %w", ErrNotFound))
	})
	if err != nil {
		return err
	}
	return os.RemoveAll(filepath.Join(o.dir, importsDir, id))
}

// ImportFolder returns the folder of an import, which it makes if there is none.
func (o *Office) ImportFolder(id string) (string, error) {
	if b, err := base64.RawURLEncoding.Strict().DecodeString(id); err != nil || len(b) != importIDBytes {
		return "", fmt.Errorf("import %s: %w", strconv.Quote(id), ErrInvalid)
	}
	dir := filepath.Join(o.dir, importsDir, id)
	return dir, os.MkdirAll(dir, 0o700)
}

const importSweep = `DELETE FROM import WHERE expires <= ?1`

// sweepImports removes the folders of imports that are gone.
func (o *Office) sweepImports(ctx context.Context) error {
	list, err := os.ReadDir(filepath.Join(o.dir, importsDir))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range list {
		var there int
		err := o.reads.QueryRowContext(ctx, `SELECT 1 FROM import WHERE id = ?`, e.Name()).Scan(&there)
		if errors.Is(err, sql.ErrNoRows) {
			err = os.RemoveAll(filepath.Join(o.dir, importsDir, e.Name()))
		}
		if err != nil {
			return err
		}
	}
	return nil
}
