// SPDX-License-Identifier: Apache-2.0

package store

import (
	"fmt"
	"slices"
	"strings"

	"github.com/cockroachdb/pebble/v2"

	"cityid/merkle"
)

// Batch is the next version of the state, staged in memory over the latest. Any
// number may be open at once, but only the first to be committed succeeds. It
// must be ended by Commit or Discard and is for one goroutine.
type Batch struct {
	store *Store
	base  *View
	over  *Overlay // over base
	done  bool

	side    map[string][]byte // nil: deleted
	log     merkle.Log
	subtree []logSubtree // of log, since base

	// tree is base with the first hashed keys of over; again are those of them
	// that were written once more since.
	edit   *merkle.Edit
	tree   merkle.Tree
	hashed int
	again  []string
}

type logSubtree struct {
	level uint8
	index uint64
	hash  merkle.Hash
}

// Begin returns an empty batch over the latest version. The error wraps
// ErrClosed or the cause of a disk failure.
func (s *Store) Begin() (*Batch, error) {
	if err := s.fuse.err(); err != nil {
		return nil, fmt.Errorf("begin: %w", err)
	}
	base, err := s.Latest()
	if err != nil {
		return nil, err
	}
	return &Batch{
		store: s, base: base, over: NewOverlay(base),
		side: make(map[string][]byte), log: base.version.log.Clone(),
		edit: base.version.tree.Edit(), tree: base.version.tree,
	}, nil
}

func (b *Batch) check() error {
	if b.done {
		return fmt.Errorf("batch: %w", ErrClosed)
	}
	return nil
}

// Height returns the height of the version the batch rests on.
func (b *Batch) Height() uint64 { return b.base.Height() }

// Get implements Reader.
func (b *Batch) Get(key []byte) ([]byte, error) {
	if err := b.check(); err != nil {
		return nil, err
	}
	return b.over.Get(key)
}

// Scan implements Reader.
func (b *Batch) Scan(lo, hi []byte, fn func(key, value []byte) bool) error {
	if err := b.check(); err != nil {
		return err
	}
	return b.over.Scan(lo, hi, fn)
}

// Set implements ReadWriter.
func (b *Batch) Set(key, value []byte) error { return b.SetString(string(key), value) }

// SetString implements ReadWriter.
func (b *Batch) SetString(key string, value []byte) error {
	if err := b.check(); err != nil {
		return err
	}
	n := b.over.Len()
	if err := b.over.SetString(key, value); err != nil {
		return err
	}
	b.note(key, n)
	return nil
}

// Delete implements ReadWriter.
func (b *Batch) Delete(key []byte) error {
	if err := b.check(); err != nil {
		return err
	}
	n := b.over.Len()
	if err := b.over.Delete(key); err != nil {
		return err
	}
	b.note(string(key), n)
	return nil
}

// note remembers a key that may be hashed already: one that was not new when
// over held n keys.
func (b *Batch) note(key string, n int) {
	if b.over.Len() == n && b.hashed > 0 {
		b.again = append(b.again, key)
	}
}

// Written returns the keys written so far, to a value or to none, that begin
// with prefix, in no particular order.
func (b *Batch) Written(prefix []byte) ([]string, error) {
	if err := b.check(); err != nil {
		return nil, err
	}
	var out []string
	for _, k := range b.over.keys {
		if strings.HasPrefix(k, string(prefix)) {
			out = append(out, k)
		}
	}
	return out, nil
}

// GetSide returns the value of a side entry as staged, nil if there is none. The
// caller must not change it.
func (b *Batch) GetSide(key []byte) ([]byte, error) {
	if err := b.check(); err != nil {
		return nil, err
	}
	if value, ok := b.side[string(key)]; ok {
		return value, nil
	}
	return b.store.GetSide(key)
}

// SetSide binds a side entry's key to a value, which must not be changed
// afterwards. Side entries are this node's own: they are not in the root. The
// error wraps ErrTooLarge.
func (b *Batch) SetSide(key, value []byte) error {
	if err := b.check(); err != nil {
		return err
	}
	if len(key) > MaxSideKeySize || len(value) > MaxValueSize {
		return fmt.Errorf("side entry: %w: key of %d bytes, value of %d", ErrTooLarge, len(key), len(value))
	}
	if value == nil {
		value = []byte{}
	}
	b.side[string(key)] = value
	return nil
}

// DeleteSide removes a side entry if it is there.
func (b *Batch) DeleteSide(key []byte) error {
	if err := b.check(); err != nil {
		return err
	}
	b.side[string(key)] = nil
	return nil
}

// AppendLog appends a leaf to the block log, by its hash (merkle.LogLeafHash).
func (b *Batch) AppendLog(leaf merkle.Hash) error {
	if err := b.check(); err != nil {
		return err
	}
	b.log.Append(leaf, func(level uint8, index uint64, h merkle.Hash) {
		b.subtree = append(b.subtree, logSubtree{level, index, h})
	})
	return nil
}

// LogSize returns the number of leaves of the block log as staged.
func (b *Batch) LogSize() uint64 { return b.log.Size() }

// LogRoot returns the root of the block log as staged.
func (b *Batch) LogRoot() merkle.Hash { return b.log.Root() }

// Root returns the app hash that the state would have if the batch were
// committed now. The batch may go on. The error wraps merkle.ErrClash if two keys
// differ by trailing zero bytes only; such a batch can only be discarded.
func (b *Batch) Root() (merkle.Hash, error) {
	if err := b.check(); err != nil {
		return merkle.Hash{}, err
	}
	if err := b.hash(); err != nil {
		return merkle.Hash{}, err
	}
	return b.tree.Root(), nil
}

// hash brings tree up to date.
func (b *Batch) hash() error {
	keys := slices.Concat(b.over.keys[b.hashed:], b.again)
	if len(keys) == 0 {
		return nil
	}
	slices.Sort(keys)
	// Deletes first, so that a key may make room for one it would clash with.
	for _, k := range keys {
		if b.over.staged[k] == nil {
			b.edit.Delete([]byte(k))
		}
	}
	for _, k := range keys {
		if value := b.over.staged[k]; value != nil {
			if _, err := b.edit.PutString(k, merkle.ValueHash(value)); err != nil {
				return err
			}
		}
	}
	b.tree = b.edit.Tree()
	b.hashed, b.again = b.over.Len(), nil
	return nil
}

// Commit makes the batch durable as the state at a height, which must be above
// the last one, and then the latest version. It ends the batch if it succeeds or
// if the disk fails; after any other error the batch is as before. The error
// wraps ErrStale, ErrHeight, ErrRestoring, merkle.ErrClash, ErrClosed, or the cause of a disk
// failure, after which it is not known until the next Open whether the batch is
// durable.
func (b *Batch) Commit(height uint64) error {
	if err := b.check(); err != nil {
		return err
	}
	if err := b.hash(); err != nil {
		return err
	}
	s := b.store
	s.commit.Lock()
	defer s.commit.Unlock()
	if err := b.checkCommit(height); err != nil {
		return fmt.Errorf("commit height %d: %w", height, err)
	}
	if err := s.write(b.encode(height)); err != nil {
		b.end()
		return fmt.Errorf("commit height %d: %w", height, err)
	}
	var v *version
	if len(b.subtree) > 0 || b.tree.Root() != b.base.Root() {
		v = &version{first: height, tree: b.tree, log: b.log, snap: s.db.NewSnapshot(), refs: 1}
	}
	s.publish(v, height)
	b.end()
	return nil
}

func (b *Batch) checkCommit(height uint64) error {
	s := b.store
	if err := s.fuse.err(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return ErrClosed
	case s.restoring:
		return ErrRestoring
	case s.height != b.base.height:
		return fmt.Errorf("%w: it rests on height %d, the last is %d", ErrStale, b.base.height, s.height)
	case height <= s.height:
		return fmt.Errorf("%w: the last is %d", ErrHeight, s.height)
	}
	return nil
}

// Discard ends the batch without a trace. It does nothing after Commit.
func (b *Batch) Discard() {
	if !b.done {
		b.end()
	}
}

func (b *Batch) end() {
	b.done = true
	b.base.Close()
	b.over, b.side, b.edit, b.subtree, b.again = nil, nil, nil, nil, nil
}

// encode returns the one Pebble batch that a commit is.
func (b *Batch) encode(height uint64) *pebble.Batch {
	size := 256
	for _, k := range b.over.keys {
		size += 16 + len(k) + len(b.over.staged[k])
	}
	pb := b.store.db.NewBatchWithSize(size)
	var key []byte
	put := func(prefix byte, k string, value []byte) {
		key = append(append(key[:0], prefix), k...)
		// Neither fails: the batch lies in memory and was not committed.
		if value == nil {
			_ = pb.Delete(key, nil)
		} else {
			_ = pb.Set(key, value, nil)
		}
	}
	for _, k := range b.over.keys {
		put(prefixState, k, b.over.staged[k])
	}
	side := make([]string, 0, len(b.side))
	for k := range b.side {
		side = append(side, k)
	}
	slices.Sort(side)
	for _, k := range side {
		put(prefixSide, k, b.side[k])
	}
	for _, t := range b.subtree {
		_ = pb.Set(logKey(t.level, t.index), t.hash[:], nil)
	}
	m := meta{chainID: b.store.chainID, height: height, root: b.tree.Root(), keys: uint64(b.tree.Len()), log: b.log}
	_ = pb.Set([]byte{prefixMeta}, m.encode(), nil)
	return pb
}
