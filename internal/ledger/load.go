// SPDX-License-Identifier: Apache-2.0

package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"cityid"
	"cityid/internal/durable/folder"
	"cityid/merkle"
)

// Settings in the database.
const (
	settingFloor    = "nonce floor" // see the package comment; seconds
	settingRestored = "restored"    // 1: the database is from an archive and was not opened since
)

type execer interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
}

// load brings the database in line with the options and reads what is kept in
// memory.
func (l *Ledger) load(ctx context.Context) (s state, err error) {
	tx, err := l.writes.BeginTx(ctx, nil)
	if err != nil {
		return s, err
	}
	defer func() { err = errors.Join(err, folder.IgnoreDone(tx.Rollback())) }()
	if s, err = l.chooseLog(ctx, tx); err != nil {
		return s, err
	}
	if err := l.loadOpen(ctx, tx, &s); err != nil {
		return s, err
	}
	if err := l.loadPending(ctx, tx); err != nil {
		return s, err
	}
	if err := l.loadNonces(ctx, tx); err != nil {
		return s, err
	}
	if err := l.loadStats(ctx, tx, &s); err != nil {
		return s, err
	}
	return s, tx.Commit()
}

// chooseLog finds the log of the options, or begins it.
func (l *Ledger) chooseLog(ctx context.Context, tx *sql.Tx) (s state, err error) {
	restored, err := setting(ctx, tx, settingRestored)
	if err != nil {
		return s, err
	}
	// Erased entries are the first, and those of anchored batches.
	err = tx.QueryRowContext(ctx, `SELECT max(coalesce((SELECT max(id) FROM entry), 0), coalesce((SELECT max(last) FROM batch), 0)) + 1`).Scan(&s.next)
	if err != nil {
		return s, err
	}
	party, name := l.opts.Party.String(), l.opts.Log
	var latest, own int64
	err = tx.QueryRowContext(ctx, `SELECT coalesce(max(id), 0), coalesce(max(id) FILTER (WHERE party = ? AND name = ?), 0) FROM log`, party, name).Scan(&latest, &own)
	if err != nil {
		return s, err
	}
	switch {
	case own != 0 && restored != 0:
		return s, fmt.Errorf("it is %w, and log %s of %s may have gone on since: start the gateway with a name for its log that was never used", ErrRestored, name, party)
	case own != 0 && own < latest:
		return s, fmt.Errorf("log %s of %s was given up for another: %w: use that one's name, or one that was never used", name, party, ErrConflict)
	case own != 0:
		s.log = own
		return s, tx.QueryRowContext(ctx, `SELECT base FROM log WHERE id = ?`, own).Scan(&s.base)
	}
	if latest == 0 || restored != 0 {
		if err := raise(ctx, tx, settingFloor, int64(l.opened.Add(l.opts.Skew))); err != nil {
			return s, err
		}
	}
	s.log, s.base = latest+1, s.next-1
	if _, err := tx.ExecContext(ctx, `INSERT INTO log (id, party, name, base, made) VALUES (?, ?, ?, ?, ?)`, s.log, party, name, s.base, l.now().UnixMilli()); err != nil {
		return s, err
	}
	// What is not known to be anchored goes into batches of the new log.
	if _, err := tx.ExecContext(ctx, `DELETE FROM batch WHERE anchored = 0`); err != nil {
		return s, err
	}
	_, err = tx.ExecContext(ctx, `DELETE FROM setting WHERE name = ?`, settingRestored)
	return s, err
}

// loadOpen gathers the leaves that are in no batch.
func (l *Ledger) loadOpen(ctx context.Context, tx *sql.Tx, s *state) error {
	var last uint64 // entry in a batch
	if err := tx.QueryRowContext(ctx, `SELECT coalesce(max(last), 0) FROM batch`).Scan(&last); err != nil {
		return err
	}
	var root []byte
	err := tx.QueryRowContext(ctx, `SELECT sequence + 1, root FROM batch WHERE log = ? ORDER BY sequence DESC LIMIT 1`, s.log).Scan(&s.open.sequence, &root)
	if errors.Is(err, sql.ErrNoRows) {
		s.open.sequence, err = 1, nil
	}
	if err != nil {
		return err
	}
	s.open.previous = digest(root)
	type row struct {
		id     uint64
		stored int64
		leaf   merkle.Hash
	}
	for last+1 < s.next { // a thousand at a time, since batches are inserted in between
		rows, err := folder.Collect(ctx, tx, func(r interface{ Scan(...any) error }) (x row, err error) {
			var leaf []byte
			err = r.Scan(&x.id, &x.stored, &leaf)
			copy(x.leaf[:], leaf)
			return x, err
		}, `SELECT id, stored, leaf FROM entry WHERE id > ? ORDER BY id LIMIT 1000`, last)
		if err != nil {
			return err
		}
		if len(rows) == 0 {
			return fmt.Errorf("entry %d is missing: %w", last+1, ErrDamaged)
		}
		for _, x := range rows {
			if last++; x.id != last {
				return fmt.Errorf("entry %d is missing: %w", last, ErrDamaged)
			}
			if s.open.log.Size() == 0 {
				s.open.first, s.open.since = x.id, x.stored
			}
			s.open.log.Append(x.leaf, nil)
			if s.open.log.Size() < uint64(l.opts.BatchSize) {
				continue
			}
			if err := insertBatch(tx, s.log, &s.open, l.now().UnixMilli()); err != nil {
				return err
			}
		}
	}
	return nil
}

// loadPending reads which entries await an acknowledgement.
func (l *Ledger) loadPending(ctx context.Context, tx *sql.Tx) error {
	_, err := folder.Collect(ctx, tx, func(row interface{ Scan(...any) error }) (struct{}, error) {
		var a account
		var agreement, hash []byte
		var id uint64
		err := row.Scan(&id, &a.direction, &agreement, &hash)
		if err == nil {
			a.agreement = digest(agreement)
			l.addPending(a, digest(hash), id)
		}
		return struct{}{}, err
	}, `SELECT id, direction, agreement, hash FROM entry WHERE awaits = 1`)
	return err
}

func (l *Ledger) loadNonces(ctx context.Context, tx *sql.Tx) error {
	l.nonces = nonceMemory{seen: map[cityid.Time]map[nonceKey]struct{}{}}
	floor, err := setting(ctx, tx, settingFloor)
	if err != nil {
		return err
	}
	l.nonces.floor = cityid.Time(floor)
	return tx.QueryRowContext(ctx, `SELECT coalesce(max(expires), 0) FROM nonce`).Scan(&l.nonces.from)
}
