// SPDX-License-Identifier: Apache-2.0

package office

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"cityid"
	"cityid/internal/durable/folder"
	"cityid/keys"
)

// Officer is a person who signs for a member of a policy, for a time. The chain
// knows the key only; who it is stays here.
type Officer struct {
	ID     int64
	Name   string
	Staff  string           // staff number; may be empty
	Key    cityid.PublicKey // signs
	Member cityid.Code      // the institution or department
	From   time.Time        // included
	To     time.Time        // not included; zero: open
}

// At reports whether the officer is in office at a time.
func (f *Officer) At(t time.Time) bool {
	return !t.Before(f.From) && (f.To.IsZero() || t.Before(f.To))
}

// AddOfficer stores an officer and returns the id. Nobody else may have the key
// at the same time ([ErrConflict]); the same person may later return with it.
func (o *Office) AddOfficer(ctx context.Context, f Officer) (id int64, err error) {
	err = o.write(ctx, func(tx *sql.Tx) error {
		id, err = insertOfficer(ctx, tx, f)
		return err
	})
	return id, err
}

func insertOfficer(ctx context.Context, tx *sql.Tx, f Officer) (int64, error) {
	if err := cityid.CheckText("the name of an officer", f.Name, true); err != nil {
		return 0, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	if err := checkName("the staff number", f.Staff); err != nil {
		return 0, err
	}
	key, err := keys.ParsePublic([]byte(f.Key))
	switch {
	case err != nil:
		return 0, fmt.Errorf("key of an officer: %w: %w", ErrInvalid, err)
	case !key.CanSign():
		return 0, fmt.Errorf("key of an officer: %v keys do not sign: %w", key.Algorithm(), ErrInvalid)
	case f.Member.IsZero() || f.From.IsZero() || !f.To.IsZero() && !f.To.After(f.From):
		return 0, fmt.Errorf("an officer has a member's code, a first day, and no end before it: %w", ErrInvalid)
	}
	var other string
	var n int
	err = tx.QueryRowContext(ctx, `SELECT count(*), coalesce(max(name), '') FROM officer WHERE key = ?1 AND (ends = 0 OR ends > ?2) AND (?3 = 0 OR starts < ?3)`,
		[]byte(f.Key), ms(f.From), ms(f.To)).Scan(&n, &other)
	if err != nil {
		return 0, err
	}
	if n > 0 {
		return 0, fmt.Errorf("the key is %s's at that time: %w", other, ErrConflict)
	}
	r, err := tx.ExecContext(ctx, `INSERT INTO officer (name, staff, key, member, starts, ends) VALUES (?, ?, ?, ?, ?, ?)`,
		f.Name, f.Staff, []byte(f.Key), f.Member.String(), ms(f.From), ms(f.To))
	if err != nil {
		return 0, err
	}
	return r.LastInsertId()
}

// EndOfficer ends an officer's time. It is [ErrConflict] if it had an earlier end,
// and [ErrInvalid] before it began.
func (o *Office) EndOfficer(ctx context.Context, id int64, at time.Time) error {
	return o.write(ctx, func(tx *sql.Tx) error {
		_, err := endOfficer(ctx, tx, id, at)
		return err
	})
}

func endOfficer(ctx context.Context, tx *sql.Tx, id int64, at time.Time) (Officer, error) {
	f, err := scanOfficer(tx.QueryRowContext(ctx, officerQuery+`WHERE id = ?`, id))
	switch {
	case err != nil:
		return f, found(err, "officer")
	case !f.To.IsZero() && f.To.Before(at):
		return f, fmt.Errorf("%s's time ended at %v: %w", f.Name, f.To.Format(time.RFC3339), ErrConflict)
	case !at.After(f.From):
		return f, fmt.Errorf("%s's time began at %v: %w", f.Name, f.From.Format(time.RFC3339), ErrInvalid)
	}
	_, err = tx.ExecContext(ctx, `UPDATE officer SET ends = ? WHERE id = ?`, ms(at), id)
	return f, err
}

// HandOver ends one officer's time and begins the next one's at the same moment,
// both or neither, and returns the id of the next. From is set, and Member taken
// from the one before where it is the zero Code. Whether the next one's key stands
// in the policy is for the chain.
func (o *Office) HandOver(ctx context.Context, id int64, at time.Time, next Officer) (nextID int64, err error) {
	err = o.write(ctx, func(tx *sql.Tx) error {
		before, err := endOfficer(ctx, tx, id, at)
		if err != nil {
			return err
		}
		if next.From = at; next.Member.IsZero() {
			next.Member = before.Member
		}
		nextID, err = insertOfficer(ctx, tx, next)
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("hand over: %w", err)
	}
	return nextID, nil
}

const officerQuery = `SELECT id, name, staff, key, member, starts, ends FROM officer `

func scanOfficer(row interface{ Scan(...any) error }) (f Officer, err error) {
	var key []byte
	var member string
	var starts, ends int64
	if err := row.Scan(&f.ID, &f.Name, &f.Staff, &key, &member, &starts, &ends); err != nil {
		return f, err
	}
	f.Key, f.From, f.To = cityid.PublicKey(key), at(starts), at(ends)
	if f.Member, err = cityid.Parse(member); err != nil {
		return f, fmt.Errorf("officer %d: %w: %w", f.ID, ErrDamaged, err)
	}
	return f, nil
}

// Officers lists all who were ever in office, by member, then by when they began.
func (o *Office) Officers(ctx context.Context) ([]Officer, error) {
	return folder.Collect(ctx, o.reads, scanOfficer, officerQuery+`ORDER BY member, starts, id`)
}

// OfficerByKey returns who had a key at a time, or [ErrNotFound].
func (o *Office) OfficerByKey(ctx context.Context, key cityid.PublicKey, when time.Time) (Officer, error) {
	f, err := scanOfficer(o.reads.QueryRowContext(ctx, officerQuery+`WHERE key = ?1 AND starts <= ?2 AND (ends = 0 OR ends > ?2)`, []byte(key), ms(when)))
	return f, found(err, "officer")
}
