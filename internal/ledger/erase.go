// SPDX-License-Identifier: Apache-2.0

package ledger

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"cityid"
	"cityid/internal/durable/folder"
)

// eraseAtOnce is how many entries go in one transaction, so that appenders do not
// wait long.
const eraseAtOnce = 500

// Erase removes what is kept of entries whose batch was closed before a time and is
// anchored: entries, salts, signed messages, acknowledgements, proofs of the other
// side. The batches stay, with root, size and sequence: without its salt, nobody can
// tell what a leaf was. Usage, events and observations stay as well. A batch that is
// not known to be anchored keeps its entries, and so do all after it. Erase returns
// how many entries it removed; one that was interrupted goes on with the next call.
//
// What was removed is overwritten in the database at once, and in the file beside
// it, ledger.db-wal, as soon as nobody reads in it.
func (l *Ledger) Erase(ctx context.Context, before time.Time) (erased int, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("erase: %w", err)
		}
	}()
	var end uint64 // last entry to go
	err = l.write(ctx, &job{apply: func(g *group) error {
		ctx := context.Background()
		_, err := g.w.conn.ExecContext(ctx, `UPDATE batch SET erased = ?1 WHERE erased = 0 AND anchored > 0 AND closed < ?2 AND last <
			coalesce((SELECT min(last) FROM batch WHERE anchored = 0 OR closed >= ?2), ?3)`, g.now, ms(before), uint64(MaxPosition))
		if err != nil {
			return err
		}
		return g.w.conn.QueryRowContext(ctx, `SELECT coalesce(max(last), 0) FROM batch WHERE erased > 0`).Scan(&end)
	}})
	if err != nil {
		return 0, err
	}
	for {
		n := 0
		err := l.write(ctx, &job{apply: func(g *group) (err error) {
			n, err = g.eraseSome(end)
			return err
		}})
		if err != nil {
			return erased, err
		}
		if n == 0 {
			break
		}
		erased += n
	}
	l.trees.forget()
	return erased, l.foldLog(ctx)
}

// eraseSome removes the first entries up to one, and says how many.
func (g *group) eraseSome(end uint64) (int, error) {
	ctx := context.Background()
	type row struct {
		account
		id   uint64
		hash cityid.Digest
	}
	rows, err := folder.Collect(ctx, g.w.conn, func(r interface{ Scan(...any) error }) (x row, err error) {
		var agreement, hash []byte
		err = r.Scan(&x.id, &x.direction, &agreement, &hash)
		x.agreement, x.hash = digest(agreement), digest(hash)
		return x, err
	}, `SELECT id, direction, agreement, hash FROM entry WHERE id <= ? ORDER BY id LIMIT ?`, end, eraseAtOnce)
	if err != nil || len(rows) == 0 {
		return 0, err
	}
	last := rows[len(rows)-1].id
	for _, query := range []string{
		`DELETE FROM content WHERE entry <= ?`,
		`DELETE FROM peer_proof WHERE entry <= ?`,
		`DELETE FROM acknowledgement WHERE last <= ?`,
		`DELETE FROM entry WHERE id <= ?`,
	} {
		if _, err := g.w.conn.ExecContext(ctx, query, last); err != nil {
			return 0, err
		}
	}
	g.after = append(g.after, func(l *Ledger) {
		for _, x := range rows {
			l.removePending(x.account, x.hash)
		}
	})
	return len(rows), nil
}

// foldLog brings what is in the write-ahead log into the database and empties the
// log, unless somebody is reading in it.
func (l *Ledger) foldLog(ctx context.Context) (err error) {
	db, err := folder.OpenDatabase(filepath.Join(l.dir, dbName), "_pragma=busy_timeout(100)")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	var busy, pages, folded int
	return db.QueryRowContext(ctx, `PRAGMA wal_checkpoint(TRUNCATE)`).Scan(&busy, &pages, &folded)
}
