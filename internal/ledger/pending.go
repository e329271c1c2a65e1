// SPDX-License-Identifier: Apache-2.0

package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"

	"cityid"
	"cityid/internal/durable/folder"
)

// addPending notes an entry that awaits an acknowledgement; l.mu is held.
func (l *Ledger) addPending(a account, hash cityid.Digest, id uint64) {
	if l.pending[a] == nil {
		l.pending[a] = map[cityid.Digest]uint64{}
	}
	l.pending[a][hash] = id
	l.stats.Unacknowledged++
}

// removePending notes that one awaits none any more; l.mu is held.
func (l *Ledger) removePending(a account, hash cityid.Digest) {
	if _, ok := l.pending[a][hash]; !ok {
		return
	}
	delete(l.pending[a], hash)
	if len(l.pending[a]) == 0 {
		delete(l.pending, a)
	}
	l.stats.Unacknowledged--
}

// Unacknowledged returns how many entries of an agreement await an acknowledgement:
// data that was served and the consumer has not acknowledged, or that was fetched
// and the provider has not been told of.
func (l *Ledger) Unacknowledged(agreement cityid.Digest, direction Direction) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.pending[account{agreement, direction}])
}

// AwaitingAcknowledgement returns the hashes of entries of an agreement that await
// one, the oldest first, at most limit.
func (l *Ledger) AwaitingAcknowledgement(agreement cityid.Digest, direction Direction, limit int) []cityid.Digest {
	type item struct {
		id   uint64
		hash cityid.Digest
	}
	l.mu.Lock()
	var list []item
	for hash, id := range l.pending[account{agreement, direction}] {
		list = append(list, item{id, hash})
	}
	l.mu.Unlock()
	slices.SortFunc(list, func(a, b item) int { return int(int64(a.id) - int64(b.id)) })
	hashes := make([]cityid.Digest, 0, min(max(limit, 0), len(list)))
	for _, i := range list[:cap(hashes)] {
		hashes = append(hashes, i.hash)
	}
	return hashes
}

// AwaitingAgreements returns the agreements that have entries which await an
// acknowledgement, in order of their octets.
func (l *Ledger) AwaitingAgreements(direction Direction) []cityid.Digest {
	l.mu.Lock()
	defer l.mu.Unlock()
	list := []cityid.Digest{}
	for a := range l.pending {
		if a.direction == direction {
			list = append(list, a.agreement)
		}
	}
	slices.SortFunc(list, compareDigests)
	return list
}

// Acknowledge stores an acknowledgement with the signed message that carried it, and
// marks the entries it names: for [DirectionServed] one that came from the consumer,
// for [DirectionFetched] one that the provider has accepted. It happens whole or not
// at all. It returns how many entries were not acknowledged before; if there are
// none it stores nothing. An entry that is unknown, of another agreement or another
// direction is [ErrNotFound], and then nothing is marked. The nonce of the message,
// if there is one, becomes durable with it.
//
// The caller has verified the signature, and that the message covers the body.
func (l *Ledger) Acknowledge(ctx context.Context, direction Direction, body []byte, message Message, nonce *Nonce) (marked int, err error) {
	a, err := DecodeAcknowledgement(body)
	if err != nil {
		return 0, err
	}
	if err := message.Check(); err != nil {
		return 0, fmt.Errorf("acknowledgement: %w", err)
	}
	if nonce != nil {
		if err := nonce.check(); err != nil {
			return 0, fmt.Errorf("acknowledgement: %w", err)
		}
	}
	err = l.write(ctx, &job{apply: func(g *group) error {
		marked, err = g.acknowledge(account{a.Agreement, direction}, a.Entries, body, message)
		if err == nil && nonce != nil {
			_, err = g.w.stmt.nonce.Exec(int64(nonce.Expires), []byte(nonce.Key), nonce.Value[:])
		}
		return err
	}})
	if err != nil {
		return 0, fmt.Errorf("acknowledgement: %w", err)
	}
	return marked, nil
}

func (g *group) acknowledge(acc account, entries []cityid.Digest, body []byte, message Message) (marked int, err error) {
	ctx := context.Background()
	var id, last int64
	if err := g.w.conn.QueryRowContext(ctx, `SELECT coalesce(max(id), 0) + 1 FROM acknowledgement`).Scan(&id); err != nil {
		return 0, err
	}
	for _, hash := range entries {
		var entry, ack int64
		err := g.w.conn.QueryRowContext(ctx, `SELECT id, ack FROM entry WHERE hash = ? AND direction = ? AND agreement = ?`,
			hash[:], acc.direction, optional(acc.agreement)).Scan(&entry, &ack)
		if err != nil {
			return 0, found(err, fmt.Sprintf("entry %v under agreement %v", hash, acc.agreement))
		}
		if ack != 0 {
			continue
		}
		if _, err := g.w.conn.ExecContext(ctx, `UPDATE entry SET ack = ?, awaits = 0 WHERE id = ?`, id, entry); err != nil {
			return 0, err
		}
		marked, last = marked+1, max(last, entry)
	}
	if marked == 0 {
		return 0, nil
	}
	_, err = g.w.conn.ExecContext(ctx, `INSERT INTO acknowledgement (id, agreement, direction, body, base, signature, stored, last) VALUES (?, ?, ?, ?, ?, ?, ?, ?)`,
		id, optional(acc.agreement), acc.direction, body, blob(message.Base), blob(message.Signature), g.now, last)
	g.after = append(g.after, func(l *Ledger) {
		for _, hash := range entries {
			l.removePending(acc, hash)
		}
		l.stats.Acknowledgements++
	})
	return marked, err
}

// StoredAcknowledgement is one with the message that carried it.
type StoredAcknowledgement struct {
	Body    []byte // an encoded Acknowledgement
	Message Message
}

// acknowledgement returns the one of a row, or nil for 0.
func acknowledgement(ctx context.Context, q folder.Querier, id int64) (*StoredAcknowledgement, error) {
	if id == 0 {
		return nil, nil
	}
	var a StoredAcknowledgement
	err := q.QueryRowContext(ctx, `SELECT body, base, signature FROM acknowledgement WHERE id = ?`, id).
		Scan(&a.Body, (*[]byte)(&a.Message.Base), (*[]byte)(&a.Message.Signature))
	if errors.Is(err, sql.ErrNoRows) {
		err = ErrDamaged
	}
	return &a, err
}
