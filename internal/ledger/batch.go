// SPDX-License-Identifier: Apache-2.0

package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"cityid"
	"cityid/internal/durable/folder"
	"cityid/merkle"
)

// openBatch gathers the leaves that belong to no batch yet. It is never full.
type openBatch struct {
	sequence uint64        // that it will have
	previous cityid.Digest // root of the batch before it
	first    uint64        // its first entry
	since    int64         // ms, when that was written
	log      merkle.Log
}

// Batch is a closed batch of leaves.
type Batch struct {
	Party    cityid.Code
	Log      string
	Sequence uint64 // in that log, from 1
	First    uint64 // entries First to Last are its leaves, in their order
	Last     uint64
	Previous cityid.Digest // root of the batch before it; zero for the first
	Root     cityid.Digest
	Closed   time.Time
	Anchored cityid.Time   // block time; 0: not known to be on the chain
	Height   uint64        // of that block
	Tx       cityid.Digest // that anchored it; zero: unknown
	Erased   time.Time     // when its entries were; zero: they are there
}

// Leaves returns how many there are.
func (b *Batch) Leaves() uint64 { return b.Last - b.First + 1 }

// Bucket returns the [SizeBucket] of the leaves.
func (b *Batch) Bucket() uint8 { return SizeBucket(b.Leaves()) }

// Anchor returns the operation that brings the batch onto the chain.
func (b *Batch) Anchor() cityid.AnchorReceipts {
	return cityid.AnchorReceipts{Party: b.Party, Log: b.Log, Sequence: b.Sequence, Prev: b.Previous, Root: b.Root, Bucket: b.Bucket()}
}

// addLeaf adds the leaf of an entry to the open batch, and closes it when that makes
// it full.
func (g *group) addLeaf(id uint64, leaf merkle.Hash) error {
	open := &g.state.open
	if open.log.Size() == 0 {
		open.first, open.since = id, g.now
	}
	open.log.Append(leaf, nil)
	if open.log.Size() < uint64(g.w.l.opts.BatchSize) {
		return nil
	}
	return g.closeBatch()
}

// closeBatch makes a batch of the open one, which is not empty.
func (g *group) closeBatch() error {
	err := insertBatch(g.w.conn, g.state.log, &g.state.open, g.now)
	if err == nil {
		g.after = append(g.after, func(l *Ledger) { l.stats.Waiting++ })
	}
	return err
}

// insertBatch stores the open batch and begins the next.
func insertBatch(on execer, log int64, open *openBatch, now int64) error {
	root := BatchRoot(open.log.Root(), open.log.Size())
	_, err := on.ExecContext(context.Background(), `INSERT INTO batch (log, sequence, first, last, previous, root, closed, anchored, height, tx, erased)
		VALUES (?, ?, ?, ?, ?, ?, ?, 0, 0, x'', 0)`,
		log, open.sequence, open.first, open.first+open.log.Size()-1, open.previous[:], root[:], now)
	*open = openBatch{sequence: open.sequence + 1, previous: root}
	return err
}

// CloseBatch closes the open batch if its first leaf is old enough, or in any case
// when forced, and reports whether it did. An empty batch is never closed; a full one
// closes by itself.
func (l *Ledger) CloseBatch(ctx context.Context, force bool) (bool, error) {
	due := func(leaves uint64, since int64) bool {
		return leaves > 0 && (force || l.now().UnixMilli() >= since+l.opts.BatchAge.Milliseconds())
	}
	l.mu.Lock()
	worth := due(l.stats.Open, l.openSince)
	l.mu.Unlock()
	if !worth {
		return false, nil
	}
	closed := false
	err := l.write(ctx, &job{apply: func(g *group) error {
		open := &g.state.open
		if closed = due(open.log.Size(), open.since); !closed {
			return nil
		}
		return g.closeBatch()
	}})
	if err != nil {
		return false, fmt.Errorf("close batch: %w", err)
	}
	return closed, nil
}

const batchQuery = `SELECT l.party, l.name, b.sequence, b.first, b.last, b.previous, b.root, b.closed, b.anchored, b.height, b.tx, b.erased
	FROM batch AS b JOIN log AS l ON l.id = b.log `

func scanBatch(row interface{ Scan(...any) error }) (b Batch, err error) {
	var party string
	var previous, root, tx []byte
	var closed, anchored, erased int64
	if err := row.Scan(&party, &b.Log, &b.Sequence, &b.First, &b.Last, &previous, &root, &closed, &anchored, &b.Height, &tx, &erased); err != nil {
		return b, err
	}
	b.Previous, b.Root, b.Tx = digest(previous), digest(root), digest(tx)
	b.Closed, b.Anchored, b.Erased = at(closed), cityid.Time(anchored), at(erased)
	b.Party, err = cityid.ParseCanonical(party)
	return b, err
}

// NextToAnchor returns the oldest batch that is not known to be on the chain, or
// [ErrNotFound]. It is one of the log that is written, and the batch before it is
// anchored.
func (l *Ledger) NextToAnchor(ctx context.Context) (Batch, error) {
	b, err := scanBatch(l.reads.QueryRowContext(ctx, batchQuery+`WHERE b.anchored = 0 ORDER BY b.last LIMIT 1`))
	return b, found(err, "a batch to anchor")
}

// Batches lists batches of all logs, the latest first: those whose entries are all
// below an entry (0: all), at most limit.
func (l *Ledger) Batches(ctx context.Context, before uint64, limit int) ([]Batch, error) {
	return folder.Collect(ctx, l.reads, scanBatch, batchQuery+`WHERE ?1 = 0 OR b.last < ?1 ORDER BY b.last DESC LIMIT ?2`, position(before), limit)
}

// MarkAnchored notes that the batch of [Ledger.NextToAnchor], which has the sequence
// and root, is on the chain: in the block of a height and time, by a transaction
// (zero: unknown). To say the same again changes nothing. It returns [ErrNotFound]
// if there is no such batch, [ErrConflict] if it has another root or another batch
// comes first.
func (l *Ledger) MarkAnchored(ctx context.Context, sequence uint64, root, tx cityid.Digest, height uint64, time cityid.Time) error {
	if time <= 0 || !time.Valid() || height == 0 || height > MaxPosition {
		return fmt.Errorf("anchor: %w: height %d, time %d", ErrInvalid, height, int64(time))
	}
	err := l.write(ctx, &job{apply: func(g *group) error {
		b, err := scanBatch(g.w.conn.QueryRowContext(context.Background(), batchQuery+`WHERE b.log = ? AND b.sequence = ?`, g.state.log, position(sequence)))
		if err != nil {
			return found(err, fmt.Sprintf("batch %d", sequence))
		}
		if b.Root != root {
			return fmt.Errorf("batch %d has another root than the anchor: %w", sequence, ErrConflict)
		}
		if b.Anchored != 0 {
			return nil
		}
		r, err := g.w.conn.ExecContext(context.Background(), `UPDATE batch SET anchored = ?1, height = ?2, tx = ?3 WHERE log = ?4 AND sequence = ?5
			AND NOT EXISTS (SELECT 1 FROM batch AS b WHERE b.log = ?4 AND b.sequence = ?5 - 1 AND b.anchored = 0)`,
			int64(time), height, optional(tx), g.state.log, position(sequence))
		n, err := folder.Count(r, err)
		if err == nil && n == 0 {
			err = fmt.Errorf("batch %d is not anchored yet, and %d comes after it: %w", sequence-1, sequence, ErrConflict)
		}
		g.after = append(g.after, func(l *Ledger) { l.stats.Waiting--; l.stats.Anchored++ })
		return err
	}})
	if err != nil {
		return fmt.Errorf("mark anchored: %w", err)
	}
	return nil
}

// Proof returns the proof that an entry is in an anchored batch. It returns
// [ErrWaiting] if its batch is not closed or not known to be anchored, [ErrErased]
// if the entry was erased, [ErrNotFound] if there never was one.
func (l *Ledger) Proof(ctx context.Context, id uint64) (LeafProof, error) {
	p, err := l.proof(ctx, id)
	if err != nil {
		return LeafProof{}, fmt.Errorf("proof of entry %d: %w", id, err)
	}
	return p, nil
}

func (l *Ledger) proof(ctx context.Context, id uint64) (p LeafProof, err error) {
	tx, err := l.reads.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return p, err
	}
	defer func() { err = errors.Join(err, folder.IgnoreDone(tx.Rollback())) }()
	b, err := scanBatch(tx.QueryRowContext(ctx, batchQuery+`WHERE b.last >= ? ORDER BY b.last LIMIT 1`, position(id)))
	none := errors.Is(err, sql.ErrNoRows)
	switch {
	case err != nil && !none:
		return p, err
	case !none && !b.Erased.IsZero():
		return p, ErrErased
	}
	var salt, encoded []byte
	if err := tx.QueryRowContext(ctx, `SELECT salt, encoded FROM content WHERE entry = ?`, position(id)).Scan(&salt, &encoded); err != nil {
		return p, found(err, "it")
	}
	if none || b.Anchored == 0 {
		return p, fmt.Errorf("its batch is on its way to the chain: %w", ErrWaiting)
	}
	tree, err := l.trees.get(ctx, tx, &b)
	if err != nil {
		return p, err
	}
	path, err := merkle.ProveInclusion(id-b.First, b.Leaves(), tree.read)
	if err != nil {
		return p, err
	}
	p = LeafProof{Salt: digest(salt), Entry: encoded, Party: b.Party, Log: b.Log, Sequence: b.Sequence, Index: id - b.First, Size: b.Leaves(), Root: b.Root, Path: []cityid.Digest{}}
	for _, h := range path {
		p.Path = append(p.Path, cityid.Digest(h))
	}
	if _, _, err := CheckLeaf(&p); err != nil {
		return p, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return p, nil
}
