// SPDX-License-Identifier: Apache-2.0

package store

import (
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"cityid/merkle"
)

// ErrRestoring: a Restore is open, so nothing else can be committed.
var ErrRestoring = errors.New("the state is being restored")

// Restore takes in a whole state, key by key, in the place of whatever the Store
// held. See "Restoring" in the package comment. It must be ended by Commit or
// Discard and is for one goroutine.
type Restore struct {
	store *Store
	build merkle.Builder
	done  bool
}

// BeginRestore empties the Store, durably, and lets nobody commit until the
// Restore has ended. Views held keep what they show. The error wraps
// ErrRestoring, ErrClosed or the cause of a disk failure.
func (s *Store) BeginRestore() (*Restore, error) {
	s.commit.Lock()
	defer s.commit.Unlock()
	if err := s.fuse.err(); err != nil {
		return nil, fmt.Errorf("restore: %w", err)
	}
	s.mu.Lock()
	restoring, closed := s.restoring, s.closed
	if !restoring && !closed {
		s.restoring = true
		s.held++ // so that Close waits for the end
	}
	s.mu.Unlock()
	switch {
	case closed:
		return nil, fmt.Errorf("restore: %w", ErrClosed)
	case restoring:
		return nil, fmt.Errorf("restore: %w", ErrRestoring)
	}
	r := &Restore{store: s}
	if err := s.empty(true); err != nil {
		r.end()
		return nil, fmt.Errorf("restore: %w", err)
	}
	return r, nil
}

// empty takes everything out of the database but the chain id, and marks it as
// being restored or takes the mark away; then the empty state is the latest
// version. commit is held.
func (s *Store) empty(mark bool) error {
	if err := s.write(emptied(s.db, s.chainID, mark)); err != nil {
		return err
	}
	v := &version{snap: s.db.NewSnapshot(), refs: 1}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, old := range s.versions {
		s.release(old)
	}
	s.versions, s.height = []*version{v}, 0
	return nil
}

// emptied is the Pebble batch of empty.
func emptied(db *pebble.DB, chainID string, mark bool) *pebble.Batch {
	pb := db.NewBatch()
	m := meta{chainID: chainID}
	// None fails: the batch lies in memory and was not committed.
	_ = pb.DeleteRange([]byte{prefixState}, []byte{prefixLog + 1}, nil)
	_ = pb.Set([]byte{prefixMeta}, m.encode(), nil)
	if mark {
		_ = pb.Set([]byte{prefixRestoring}, nil, nil)
	} else {
		_ = pb.Delete([]byte{prefixRestoring}, nil)
	}
	return pb
}

// Add appends keys of the state and their values, in ascending order. Nothing of
// it can be read before Commit. The error wraps ErrTooLarge, an error of
// [merkle.Builder], ErrClosed, or the cause of a disk failure; the Restore can only
// be discarded then.
func (r *Restore) Add(records []Record) error {
	if r.done {
		return fmt.Errorf("restore: %w", ErrClosed)
	}
	pb := r.store.db.NewBatch()
	for _, rec := range records {
		if len(rec.Value) > MaxValueSize {
			return fmt.Errorf("restore %q: %w: value of %d bytes", rec.Key, ErrTooLarge, len(rec.Value))
		}
		if err := r.build.Add(rec.Key, merkle.ValueHash(rec.Value)); err != nil {
			return fmt.Errorf("restore: %w", err)
		}
		_ = pb.Set(stateKey(rec.Key), rec.Value, nil) // as above
	}
	// Not synced: Commit's sync covers what was written before it.
	if err := r.store.writeWith(pb, pebble.NoSync); err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	return nil
}

// Commit makes what was added durable as the state at a height above 0, with a
// block log and side entries, if its root is the one given; then it is the latest
// version and the Restore has ended. Of the block log's subtrees only those on its
// edge are there afterwards: leaves before its end can not be proven. The error
// wraps ErrCorrupt if the root is another; then, and after a failure of the disk,
// Discard is still to be called.
func (r *Restore) Commit(height uint64, root merkle.Hash, log merkle.Log, side []Record) error {
	s := r.store
	s.commit.Lock()
	defer s.commit.Unlock()
	if r.done {
		return fmt.Errorf("restore: %w", ErrClosed)
	}
	if height == 0 {
		return fmt.Errorf("restore: %w", ErrHeight)
	}
	tree := r.build.Tree()
	if tree.Root() != root {
		return fmt.Errorf("restore height %d: the keys and values have the root %v, not %v: %w", height, tree.Root(), root, ErrCorrupt)
	}
	pb := s.db.NewBatch()
	for _, rec := range side {
		if len(rec.Key) > MaxSideKeySize || len(rec.Value) > MaxValueSize {
			return fmt.Errorf("restore: side entry: %w", ErrTooLarge)
		}
		_ = pb.Set(sideKey(rec.Key), rec.Value, nil)
	}
	_ = log.Edge(func(level uint8, index uint64, h merkle.Hash) error { return pb.Set(logKey(level, index), h[:], nil) })
	m := meta{chainID: s.chainID, height: height, root: root, keys: uint64(tree.Len()), log: log}
	_ = pb.Set([]byte{prefixMeta}, m.encode(), nil)
	_ = pb.Delete([]byte{prefixRestoring}, nil)
	if err := s.write(pb); err != nil {
		return fmt.Errorf("restore height %d: %w", height, err)
	}
	s.publish(&version{first: height, tree: tree, log: log.Clone(), snap: s.db.NewSnapshot(), refs: 1}, height)
	r.end()
	return nil
}

// Discard empties the Store again. It does nothing after Commit. The error is a
// failure of the disk.
func (r *Restore) Discard() error {
	s := r.store
	s.commit.Lock()
	defer s.commit.Unlock()
	if r.done {
		return nil
	}
	defer r.end()
	if err := s.fuse.err(); err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	if err := s.empty(false); err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	return nil
}

func (r *Restore) end() {
	r.done = true
	r.store.mu.Lock()
	defer r.store.mu.Unlock()
	r.store.restoring = false
	r.store.held--
}

// dropRestore empties a database that a restore was interrupted in.
func (s *Store) dropRestore(m meta) (meta, error) {
	mark, err := get(s.db, []byte{prefixRestoring})
	if err != nil || mark == nil {
		return m, err
	}
	return meta{chainID: m.chainID}, s.write(emptied(s.db, m.chainID, false))
}
