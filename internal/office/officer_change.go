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

// A change of officers is noted when its transaction is made, and carried out in
// the list once the chain has the new key. One that never gets there is given up.

const (
	officerChangeLife = 60 * 24 * time.Hour
	maxOfficerChanges = 1000
)

const officerChangeSweep = `DELETE FROM officer_change WHERE expires <= ?1`

// OfficerChange is an officer who is to come, perhaps for one who leaves.
type OfficerChange struct {
	ID     int64
	Leaves int64   // id of the officer who leaves; 0: nobody does
	Comes  Officer // ID and To are zero
}

// NoteOfficerChange keeps a change until the chain has it. A later one for the
// same key takes the place of an earlier.
func (o *Office) NoteOfficerChange(ctx context.Context, c OfficerChange) error {
	if err := cityid.CheckText("the name of an officer", c.Comes.Name, true); err != nil {
		return fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	if err := checkName("the staff number", c.Comes.Staff); err != nil {
		return err
	}
	if k, err := keys.ParsePublic([]byte(c.Comes.Key)); err != nil || !k.CanSign() || c.Comes.Member.IsZero() || c.Comes.From.IsZero() {
		return fmt.Errorf("a change of officers has a key that signs, a member's code and a first day: %w", ErrInvalid)
	}
	return o.write(ctx, func(tx *sql.Tx) error {
		var n int
		if err := tx.QueryRowContext(ctx, `SELECT count(*) FROM officer_change`).Scan(&n); err != nil {
			return err
		}
		if n >= maxOfficerChanges {
			return fmt.Errorf("%d changes of officers wait: %w", n, ErrTooLarge)
		}
		if _, err := tx.ExecContext(ctx, `DELETE FROM officer_change WHERE key = ? AND member = ?`, []byte(c.Comes.Key), c.Comes.Member.String()); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, `INSERT INTO officer_change (leaves, name, staff, key, member, starts, expires) VALUES (?, ?, ?, ?, ?, ?, ?)`,
			c.Leaves, c.Comes.Name, c.Comes.Staff, []byte(c.Comes.Key), c.Comes.Member.String(), ms(c.Comes.From), ms(o.now().Add(officerChangeLife)))
		return err
	})
}

// OfficerChanges lists the changes that wait, the oldest first.
func (o *Office) OfficerChanges(ctx context.Context) ([]OfficerChange, error) {
	return folder.Collect(ctx, o.reads, scanOfficerChange, `SELECT id, leaves, name, staff, key, member, starts FROM officer_change WHERE expires > ? ORDER BY id`, ms(o.now()))
}

func scanOfficerChange(row interface{ Scan(...any) error }) (c OfficerChange, err error) {
	var key []byte
	var member string
	var starts int64
	if err := row.Scan(&c.ID, &c.Leaves, &c.Comes.Name, &c.Comes.Staff, &key, &member, &starts); err != nil {
		return c, err
	}
	c.Comes.Key, c.Comes.From = cityid.PublicKey(key), at(starts)
	if c.Comes.Member, err = cityid.Parse(member); err != nil {
		return c, fmt.Errorf("change of officers %d: %w: %w", c.ID, ErrDamaged, err)
	}
	return c, nil
}

// CarryOutOfficerChange brings the list of officers in line with a change that the
// chain has recorded, and forgets the change: both or neither. [ErrNotFound] says
// that the change was carried out before.
func (o *Office) CarryOutOfficerChange(ctx context.Context, id int64) error {
	return o.write(ctx, func(tx *sql.Tx) error {
		c, err := scanOfficerChange(tx.QueryRowContext(ctx, `SELECT id, leaves, name, staff, key, member, starts FROM officer_change WHERE id = ?`, id))
		if err != nil {
			return found(err, "change of officers")
		}
		if c.Leaves != 0 {
			if _, err := endOfficer(ctx, tx, c.Leaves, c.Comes.From); err != nil {
				return err
			}
		}
		if _, err := insertOfficer(ctx, tx, c.Comes); err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `DELETE FROM officer_change WHERE id = ?`, id)
		return err
	})
}

// DropOfficerChange forgets a change.
func (o *Office) DropOfficerChange(ctx context.Context, id int64) error {
	return o.write(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `DELETE FROM officer_change WHERE id = ?`, id)
		return err
	})
}
