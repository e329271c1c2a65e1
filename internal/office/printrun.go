// SPDX-License-Identifier: Apache-2.0

package office

import (
	"context"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"cityid"
	"cityid/internal/durable/folder"
)

// MaxRun is how many labels a selection or a print run may have.
const MaxRun = 5000

const (
	selectionLife = 7 * 24 * time.Hour
	maxOptions    = 4 << 10 // bytes of options, as JSON
)

var selectionSweep = `DELETE FROM label_selection WHERE expires <= ?1`

// PrintOptions is how labels are laid out, as whoever prints has chosen.
type PrintOptions struct {
	Template string        `json:"template"`
	Material string        `json:"material,omitempty"`
	Distance float64       `json:"distance,omitempty"` // mm; 0: as the template allows
	Level    string        `json:"level,omitempty"`
	Lang     string        `json:"lang,omitempty"`
	Title    string        `json:"title,omitempty"`
	Contact  string        `json:"contact,omitempty"`
	Public   string        `json:"public,omitempty"` // where the labels point; of a run
	Emblem   cityid.Digest `json:"-"`                // of a file; zero: none
}

// Selection is a choice of labels that are not printed yet. It lives seven days.
type Selection struct {
	ID      string
	Creator cityid.PublicKey
	Holder  cityid.Code
	Codes   []cityid.Code
	Options PrintOptions
	Reprint int64 // the run it repeats, or 0
	Expires time.Time
}

// NewSelection keeps a choice of 1 to [MaxRun] labels and returns its id. Only
// ID and Expires are not the caller's.
func (o *Office) NewSelection(ctx context.Context, s Selection) (string, error) {
	if len(s.Codes) == 0 || s.Holder.IsZero() || s.Creator == "" {
		return "", fmt.Errorf("a selection has codes, a holder and a creator: %w", ErrInvalid)
	}
	if len(s.Codes) > MaxRun {
		return "", fmt.Errorf("%d labels, at most %d at once: %w", len(s.Codes), MaxRun, ErrTooLarge)
	}
	options, err := s.Options.text()
	if err != nil {
		return "", err
	}
	id := hex.EncodeToString(random(16))
	err = o.write(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO label_selection (id, creator, holder, codes, options, emblem, reprint, expires) VALUES (?, ?, ?, ?, ?, ?, ?, ?)`,
			id, []byte(s.Creator), s.Holder.String(), joinCodes(s.Codes), options, orNull(s.Options.Emblem), s.Reprint, ms(o.now().Add(selectionLife)))
		return stored(err, "the selection")
	})
	return id, err
}

// Selection returns a selection of the creator's: [ErrNotFound] for anybody
// else, and after its time.
func (o *Office) Selection(ctx context.Context, id string, creator cityid.PublicKey) (s Selection, err error) {
	var key, emblem []byte
	var holder, codes, options string
	var expires int64
	err = o.reads.QueryRowContext(ctx, `SELECT id, creator, holder, codes, options, emblem, reprint, expires FROM label_selection WHERE id = ? AND creator = ? AND expires > ?`,
		id, []byte(creator), ms(o.now())).Scan(&s.ID, &key, &holder, &codes, &options, &emblem, &s.Reprint, &expires)
	if err != nil {
		return s, found(err, "selection of labels")
	}
	s.Creator, s.Expires = cityid.PublicKey(key), at(expires)
	if s.Holder, err = cityid.Parse(holder); err == nil {
		s.Codes, err = splitCodes(codes)
	}
	if err == nil {
		err = json.Unmarshal([]byte(options), &s.Options)
	}
	copy(s.Options.Emblem[:], emblem)
	if err != nil {
		return s, fmt.Errorf("selection %s: %w: %w", id, ErrDamaged, err)
	}
	return s, nil
}

// SetSelectionOptions keeps how a selection is to be laid out.
func (o *Office) SetSelectionOptions(ctx context.Context, id string, creator cityid.PublicKey, options PrintOptions) error {
	text, err := options.text()
	if err != nil {
		return err
	}
	return o.write(ctx, func(tx *sql.Tx) error {
		r, err := tx.ExecContext(ctx, `UPDATE label_selection SET options = ?, emblem = ? WHERE id = ? AND creator = ? AND expires > ?`,
			text, orNull(options.Emblem), id, []byte(creator), ms(o.now()))
		if err != nil {
			return stored(err, "the selection")
		}
		if n, err := r.RowsAffected(); err != nil || n == 0 {
			return found(orNoRows(err), "selection of labels")
		}
		return nil
	})
}

// PrintRun is a sheet of labels that was made and checked.
type PrintRun struct {
	ID      int64
	Holder  cityid.Code
	Creator cityid.PublicKey
	Created time.Time
	Options PrintOptions

	Labels, Pages int
	Level         string
	Module        float64 // side of a module in mm
	Distance      float64 // from how far it is read, in mm
	Side          float64 // of a symbol of 29 modules, in mm
	Sheet         cityid.Digest
	Size          int64 // octets of the sheet
	Reprint       int64 // the run it repeats, or 0
}

// AddPrintRun notes that a sheet was made, with its codes in their order, and
// returns its number. The sheet's file was put before. ID, Created and Labels are
// not the caller's. A selection of that id, unless it is "", is gone with it; if
// it is gone already the answer is [ErrConflict], so a second press prints
// nothing.
func (o *Office) AddPrintRun(ctx context.Context, run PrintRun, codes []cityid.Code, selection string) (id int64, err error) {
	if len(codes) == 0 || len(codes) > MaxRun || run.Holder.IsZero() || run.Creator == "" {
		return 0, fmt.Errorf("a print run has 1 to %d codes, a holder and a creator: %w", MaxRun, ErrInvalid)
	}
	options, err := run.Options.text()
	if err != nil {
		return 0, err
	}
	err = o.write(ctx, func(tx *sql.Tx) error {
		if selection != "" {
			r, err := tx.ExecContext(ctx, `DELETE FROM label_selection WHERE id = ? AND creator = ?`, selection, []byte(run.Creator))
			if err != nil {
				return err
			}
			if n, err := r.RowsAffected(); err != nil || n == 0 {
				return fmt.Errorf("the selection was printed meanwhile: %w", ErrConflict)
			}
		}
		r, err := tx.ExecContext(ctx, `INSERT INTO print_run (holder, creator, created, options, emblem, labels, pages, level, module, distance, side, sheet, size, reprint)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`, run.Holder.String(), []byte(run.Creator), ms(o.now()), options, orNull(run.Options.Emblem),
			len(codes), run.Pages, run.Level, run.Module, run.Distance, run.Side, run.Sheet[:], run.Size, run.Reprint)
		if err != nil {
			return stored(err, "the print run")
		}
		if id, err = r.LastInsertId(); err != nil {
			return err
		}
		insert, err := tx.PrepareContext(ctx, `INSERT INTO print_label (run, position, code) VALUES (?, ?, ?)`)
		if err != nil {
			return err
		}
		defer insert.Close()
		for i, c := range codes {
			if _, err := insert.ExecContext(ctx, id, i, c.String()); err != nil {
				return err
			}
		}
		return nil
	})
	return id, err
}

const runColumns = `id, holder, creator, created, options, emblem, labels, pages, level, module, distance, side, sheet, size, reprint`

func scanRun(row interface{ Scan(...any) error }) (run PrintRun, err error) {
	var holder, options string
	var creator, emblem, sheet []byte
	var created int64
	err = row.Scan(&run.ID, &holder, &creator, &created, &options, &emblem, &run.Labels, &run.Pages, &run.Level, &run.Module, &run.Distance, &run.Side, &sheet, &run.Size, &run.Reprint)
	if err != nil {
		return run, err
	}
	run.Creator, run.Created = cityid.PublicKey(creator), at(created)
	if run.Holder, err = cityid.Parse(holder); err == nil {
		err = json.Unmarshal([]byte(options), &run.Options)
	}
	copy(run.Options.Emblem[:], emblem)
	copy(run.Sheet[:], sheet)
	if err != nil {
		return run, fmt.Errorf("print run %d: %w: %w", run.ID, ErrDamaged, err)
	}
	return run, nil
}

// PrintRun returns a run, or [ErrNotFound].
func (o *Office) PrintRun(ctx context.Context, id int64) (PrintRun, error) {
	run, err := scanRun(o.reads.QueryRowContext(ctx, `SELECT `+runColumns+` FROM print_run WHERE id = ?`, id))
	return run, found(err, "print run")
}

// PrintRuns lists the runs of a holder with numbers below before (0: from the
// latest), the latest first.
func (o *Office) PrintRuns(ctx context.Context, holder cityid.Code, before int64, limit int) ([]PrintRun, error) {
	return folder.Collect(ctx, o.reads, scanRun, `SELECT `+runColumns+` FROM print_run WHERE holder = ?1 AND (?2 = 0 OR id < ?2) ORDER BY id DESC LIMIT ?3`,
		holder.String(), before, limit)
}

// RunCodes lists the codes of a run in the order of its sheet.
func (o *Office) RunCodes(ctx context.Context, id int64) ([]cityid.Code, error) {
	return folder.Collect(ctx, o.reads, scanCode, `SELECT code FROM print_label WHERE run = ? ORDER BY position`, id)
}

// Printed returns, for those of the codes that stand in a print run, the number
// of the latest.
func (o *Office) Printed(ctx context.Context, codes []cityid.Code) (map[cityid.Code]int64, error) {
	return o.latest(ctx, codes, `SELECT code, max(run) FROM print_label WHERE code IN (SELECT value FROM json_each(?)) GROUP BY code`)
}

// latest asks for a number for each of many codes.
func (o *Office) latest(ctx context.Context, codes []cityid.Code, query string) (map[cityid.Code]int64, error) {
	list, err := json.Marshal(codes)
	if err != nil {
		return nil, err
	}
	out := map[cityid.Code]int64{}
	_, err = folder.Collect(ctx, o.reads, func(row interface{ Scan(...any) error }) (struct{}, error) {
		var text string
		var n int64
		if err := row.Scan(&text, &n); err != nil {
			return struct{}{}, err
		}
		c, err := cityid.Parse(text)
		out[c] = n
		return struct{}{}, err
	}, query, string(list))
	return out, err
}

func (p PrintOptions) text() (string, error) {
	b, err := json.Marshal(p)
	if err == nil && len(b) > maxOptions {
		err = fmt.Errorf("options of %d bytes, at most %d: %w", len(b), maxOptions, ErrTooLarge)
	}
	return string(b), err
}

func scanCode(row interface{ Scan(...any) error }) (cityid.Code, error) {
	var text string
	if err := row.Scan(&text); err != nil {
		return cityid.Code{}, err
	}
	return cityid.Parse(text)
}

func joinCodes(codes []cityid.Code) string {
	var b strings.Builder
	for _, c := range codes {
		b.WriteString(c.String())
		b.WriteByte('\n')
	}
	return b.String()
}

func splitCodes(text string) (out []cityid.Code, err error) {
	for line := range strings.Lines(text) {
		c, err := cityid.Parse(strings.TrimSuffix(line, "\n"))
		if err != nil {
			return nil, err
		}
		out = append(out, c)
	}
	return out, nil
}

// orNull is how a digest that may be missing is stored.
func orNull(d cityid.Digest) any {
	if d.IsZero() {
		return nil
	}
	return d[:]
}

// orNoRows is an error of a statement, or that it found nothing.
func orNoRows(err error) error {
	if err == nil {
		return sql.ErrNoRows
	}
	return err
}
