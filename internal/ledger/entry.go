// SPDX-License-Identifier: Apache-2.0

package ledger

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"

	"cityid"
	"cityid/internal/durable/folder"
)

// Summary is an entry as a list shows it.
type Summary struct {
	ID           uint64
	Direction    Direction
	Stored       time.Time     // by this gateway's clock
	Agreement    cityid.Digest // zero: none
	Peer         cityid.Code   // zero: unknown
	Path         string        // with the query
	Hash         cityid.Digest
	Status       uint32
	Size         uint64
	Awaits       bool // an acknowledgement
	Acknowledged bool
	Batch        uint64      // sequence of its batch; 0: it is in none yet
	Anchored     cityid.Time // block time; 0: not known to be on the chain
}

// Detail is all that is kept of an entry.
type Detail struct {
	Summary
	Entry           []byte // encoded
	Receipt         Receipt
	Request         Message // zero: it had no signature
	Response        Message
	Acknowledgement *StoredAcknowledgement // nil: none
	PeerProof       []byte                 // an encoded LeafProof of the other side; nil: none
}

// Filter chooses entries. Zero fields choose all.
type Filter struct {
	Agreement cityid.Digest
	Peer      cityid.Code
	Direction Direction
	From      time.Time // stored at or after
	To        time.Time // stored before
	After     Cursor    // of the page before
	Limit     int       // 1 to MaxPage; else MaxPage
}

// MaxPage bounds the entries of a page.
const MaxPage = 500

// Cursor is a place in a list, the latest first. The zero Cursor is its beginning.
type Cursor struct {
	Stored int64 // ms
	ID     uint64
}

// String returns the cursor as text, empty for the zero Cursor.
func (c Cursor) String() string {
	if c == (Cursor{}) {
		return ""
	}
	return fmt.Sprintf("%d-%d", c.Stored, c.ID)
}

// ParseCursor is the inverse of [Cursor.String]. The error matches [ErrInvalid].
func ParseCursor(text string) (c Cursor, err error) {
	if text == "" {
		return c, nil
	}
	if _, err := fmt.Sscanf(text, "%d-%d", &c.Stored, &c.ID); err != nil || c.String() != text || c.ID > MaxPosition {
		return Cursor{}, fmt.Errorf("cursor %.40q: %w: take it from the page before", text, ErrInvalid)
	}
	return c, nil
}

const summaryQuery = `SELECT e.id, e.direction, e.stored, e.agreement, e.peer, c.path, e.hash, e.status, e.size, e.awaits, e.ack <> 0
	FROM entry AS e JOIN content AS c ON c.entry = e.id `

func scanSummary(row interface{ Scan(...any) error }) (s Summary, err error) {
	var agreement, hash []byte
	var stored int64
	var peer string
	err = row.Scan(&s.ID, &s.Direction, &stored, &agreement, &peer, &s.Path, &hash, &s.Status, &s.Size, &s.Awaits, &s.Acknowledged)
	if err != nil {
		return s, err
	}
	s.Stored, s.Agreement, s.Hash = at(stored), digest(agreement), digest(hash)
	if peer != "" {
		s.Peer, err = cityid.ParseCanonical(peer)
	}
	return s, err
}

// Entries lists entries, the latest first, and the cursor of the next page, which is
// zero if there is none.
func (l *Ledger) Entries(ctx context.Context, f Filter) (list []Summary, next Cursor, err error) {
	tx, err := l.reads.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return nil, next, err
	}
	defer func() { err = errors.Join(err, folder.IgnoreDone(tx.Rollback())) }()
	if f.Limit < 1 || f.Limit > MaxPage {
		f.Limit = MaxPage
	}
	query, args := f.query()
	if list, err = folder.Collect(ctx, tx, scanSummary, query, args...); err != nil {
		return nil, next, fmt.Errorf("list entries: %w", err)
	}
	if len(list) > f.Limit {
		list = list[:f.Limit]
		last := list[f.Limit-1]
		next = Cursor{last.Stored.UnixMilli(), last.ID}
	}
	for i := range list {
		if err := addBatch(ctx, tx, &list[i]); err != nil {
			return nil, next, fmt.Errorf("list entries: %w", err)
		}
	}
	return list, next, nil
}

// query asks for one entry more than the limit.
func (f *Filter) query() (string, []any) {
	where, args := []string{"1 = 1"}, []any{}
	and := func(condition string, values ...any) {
		where, args = append(where, condition), append(args, values...)
	}
	if !f.Agreement.IsZero() {
		and("e.agreement = ?", f.Agreement[:])
	}
	if !f.Peer.IsZero() {
		and("e.peer = ?", f.Peer.String())
	}
	if f.Direction != 0 {
		and("e.direction = ?", f.Direction)
	}
	if !f.From.IsZero() {
		and("e.stored >= ?", f.From.UnixMilli())
	}
	if !f.To.IsZero() {
		and("e.stored < ?", f.To.UnixMilli())
	}
	if f.After != (Cursor{}) {
		and("(e.stored, e.id) < (?, ?)", f.After.Stored, position(f.After.ID))
	}
	return summaryQuery + "WHERE " + strings.Join(where, " AND ") + " ORDER BY e.stored DESC, e.id DESC LIMIT ?", append(args, f.Limit+1)
}

// addBatch says in which batch an entry is.
func addBatch(ctx context.Context, q folder.Querier, s *Summary) error {
	err := q.QueryRowContext(ctx, `SELECT sequence, anchored FROM batch WHERE last >= ? ORDER BY last LIMIT 1`, s.ID).Scan(&s.Batch, &s.Anchored)
	if errors.Is(err, sql.ErrNoRows) {
		return nil
	}
	return err
}

// Entry returns all that is kept of an entry, or [ErrErased], or [ErrNotFound].
func (l *Ledger) Entry(ctx context.Context, id uint64) (d Detail, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("entry %d: %w", id, err)
		}
	}()
	tx, err := l.reads.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return d, err
	}
	defer func() { err = errors.Join(err, folder.IgnoreDone(tx.Rollback())) }()
	d.Summary, err = scanSummary(tx.QueryRowContext(ctx, summaryQuery+`WHERE e.id = ?`, position(id)))
	if errors.Is(err, sql.ErrNoRows) {
		return d, gone(ctx, tx, id)
	}
	if err != nil {
		return d, err
	}
	if err := addBatch(ctx, tx, &d.Summary); err != nil {
		return d, err
	}
	var ack int64
	err = tx.QueryRowContext(ctx, `SELECT c.encoded, c.request, c.request_signature, c.response, c.response_signature, e.ack, p.proof
		FROM entry AS e JOIN content AS c ON c.entry = e.id LEFT JOIN peer_proof AS p ON p.entry = e.id WHERE e.id = ?`, position(id)).
		Scan(&d.Entry, (*[]byte)(&d.Request.Base), (*[]byte)(&d.Request.Signature), (*[]byte)(&d.Response.Base), (*[]byte)(&d.Response.Signature), &ack, &d.PeerProof)
	if err != nil {
		return d, err
	}
	if d.Acknowledgement, err = acknowledgement(ctx, tx, ack); err != nil {
		return d, err
	}
	if _, d.Receipt, err = DecodeEntry(d.Entry); err != nil || EntryHash(d.Entry) != d.Hash {
		return d, errors.Join(ErrDamaged, err)
	}
	return d, nil
}

// gone says why there is no entry: it was erased, or never was.
func gone(ctx context.Context, q folder.Querier, id uint64) error {
	var end uint64
	if err := q.QueryRowContext(ctx, `SELECT coalesce(max(last), 0) FROM batch WHERE erased > 0`).Scan(&end); err != nil {
		return err
	}
	if id >= 1 && id <= end {
		return ErrErased
	}
	return ErrNotFound
}

// ByHash returns the entry with an [EntryHash], or [ErrNotFound], also if it was
// erased.
func (l *Ledger) ByHash(ctx context.Context, direction Direction, hash cityid.Digest) (id uint64, err error) {
	err = l.reads.QueryRowContext(ctx, `SELECT id FROM entry WHERE hash = ? AND direction = ?`, hash[:], direction).Scan(&id)
	return id, found(err, fmt.Sprintf("entry %v", hash))
}

// ByNumber returns the entry that had a number in a log of the party, or
// [ErrNotFound]. It may be erased since.
func (l *Ledger) ByNumber(ctx context.Context, log string, number uint64) (id uint64, err error) {
	if number < 1 || number > MaxPosition {
		return 0, fmt.Errorf("number %d: %w", number, ErrInvalid)
	}
	err = l.reads.QueryRowContext(ctx, `SELECT l.base + ?3 FROM log AS l WHERE l.party = ?1 AND l.name = ?2 AND ?3 <= -l.base + coalesce(
		(SELECT base FROM log WHERE id = l.id + 1), (SELECT max(id) FROM entry), (SELECT max(last) FROM batch), 0)`, l.opts.Party.String(), log, number).Scan(&id)
	return id, found(err, fmt.Sprintf("number %d of log %.40q", number, log))
}

// StorePeerProof keeps the proof by which the other side of a fetch shows that it
// has anchored the entry too; the latest counts. The proof must hold, be for the same
// entry and, where the peer is known, of it or of a code above it; else it is
// [ErrInvalid]. The caller
// compares it with the anchor, see [CheckAnchor].
func (l *Ledger) StorePeerProof(ctx context.Context, id uint64, proof []byte) error {
	p, _, _, err := DecodeLeafProof(proof)
	if err != nil {
		return err
	}
	err = l.write(ctx, &job{apply: func(g *group) error {
		ctx := context.Background()
		var encoded []byte
		var peer string
		err := g.w.conn.QueryRowContext(ctx, `SELECT encoded, peer FROM entry JOIN content ON entry = id WHERE id = ?`, position(id)).Scan(&encoded, &peer)
		switch {
		case errors.Is(err, sql.ErrNoRows):
			return gone(ctx, g.w.conn, id)
		case err != nil:
			return err
		case !bytes.Equal(encoded, p.Entry):
			return fmt.Errorf("%w: the proof is for another entry", ErrInvalid)
		case peer != "" && !within(peer, p.Party):
			return fmt.Errorf("%w: the proof is of %v, the other side was %s", ErrInvalid, p.Party, peer)
		}
		_, err = g.w.conn.ExecContext(ctx, `INSERT INTO peer_proof (entry, proof) VALUES (?, ?) ON CONFLICT DO UPDATE SET proof = excluded.proof`, id, proof)
		return err
	}})
	if err != nil {
		return fmt.Errorf("proof of the other side for entry %d: %w", id, err)
	}
	return nil
}

func within(code string, top cityid.Code) bool {
	c, err := cityid.ParseCanonical(code)
	return err == nil && c.Within(top)
}
