// SPDX-License-Identifier: Apache-2.0

package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"

	"cityid/merkle"
)

// View is one committed version of the state. It does not change, and writers do
// not wait for it. Its methods may be called concurrently until it is closed.
type View struct {
	store   *Store
	version *version
	height  uint64
	closed  atomic.Bool
}

// Record is a key of the state and its value.
type Record struct {
	Key   []byte
	Value []byte
}

// Close gives the view back. It may be called more than once, but not while
// another method runs.
func (v *View) Close() {
	if v.closed.Swap(true) {
		return
	}
	v.store.mu.Lock()
	defer v.store.mu.Unlock()
	v.store.held--
	v.store.release(v.version)
}

func (v *View) check() error {
	if v.closed.Load() {
		return fmt.Errorf("view: %w", ErrClosed)
	}
	return nil
}

// Height returns the height the view was asked for.
func (v *View) Height() uint64 { return v.height }

// Root returns the app hash of the version.
func (v *View) Root() merkle.Hash { return v.version.tree.Root() }

// Len returns the number of keys.
func (v *View) Len() int { return v.version.tree.Len() }

// Tree returns the authenticated map of the version.
func (v *View) Tree() merkle.Tree { return v.version.tree }

// Get returns the value at a key, or nil if there is none; an empty value is not
// nil. The caller owns it.
func (v *View) Get(key []byte) ([]byte, error) {
	if err := v.check(); err != nil {
		return nil, err
	}
	if _, ok := v.version.tree.Get(key); !ok {
		return nil, nil
	}
	value, err := get(v.version.snap, stateKey(key))
	if err == nil && value == nil {
		err = fmt.Errorf("the value of %q is gone: %w", key, ErrCorrupt)
	}
	return value, err
}

// Scan calls fn for each key with lo <= key < hi, in byte order, until fn returns
// false. A nil hi means no upper end. The slices are valid during the call only
// and must not be changed.
func (v *View) Scan(lo, hi []byte, fn func(key, value []byte) bool) error {
	if err := v.check(); err != nil {
		return err
	}
	return scan(v.version.snap, prefixState, lo, hi, fn)
}

// Prove returns the proof of what the version binds a key to, and the value: nil
// with a proof of absence. The value is checked against the proof first. The
// error wraps merkle.ErrKey, merkle.ErrEmpty or ErrCorrupt.
func (v *View) Prove(key []byte) (merkle.Proof, []byte, error) {
	p, err := v.version.tree.Prove(key)
	if err != nil || !p.Exists() {
		return p, nil, err
	}
	want, _ := v.version.tree.Get(key)
	value, err := v.proven(key, want)
	if err != nil {
		return merkle.Proof{}, nil, err
	}
	return p, value, nil
}

// ProveRange returns the proof that a listing of a range is complete, and the
// listing, each value checked against the proof. The error wraps merkle.ErrRange,
// merkle.ErrEmpty, merkle.ErrTooLarge or ErrCorrupt.
func (v *View) ProveRange(r merkle.Range) (merkle.RangeProof, []Record, error) {
	p, listing, err := v.version.tree.ProveRange(r)
	if err != nil {
		return merkle.RangeProof{}, nil, err
	}
	if !r.Shallow {
		records, err := v.scanned(listing)
		if err != nil {
			return merkle.RangeProof{}, nil, err
		}
		return p, records, nil
	}
	records := make([]Record, len(listing))
	for i, e := range listing {
		value, err := v.proven(e.Key, e.Value)
		if err != nil {
			return merkle.RangeProof{}, nil, err
		}
		records[i] = Record{e.Key, value}
	}
	return p, records, nil
}

// scanned returns the values of a listing of all keys between its first and its
// last, which one pass over the database finds.
func (v *View) scanned(listing []merkle.Entry) ([]Record, error) {
	records := make([]Record, 0, len(listing))
	if len(listing) == 0 {
		return records, nil
	}
	matches := true
	err := v.Scan(listing[0].Key, nil, func(key, value []byte) bool {
		e := listing[len(records)]
		if matches = bytes.Equal(key, e.Key) && merkle.ValueHash(value) == e.Value; !matches {
			return false
		}
		records = append(records, Record{e.Key, append(make([]byte, 0, len(value)), value...)})
		return len(records) < len(listing)
	})
	if err == nil && (!matches || len(records) < len(listing)) {
		err = fmt.Errorf("the value of %q is not the one committed: %w", listing[min(len(records), len(listing)-1)].Key, ErrCorrupt)
	}
	return records, err
}

// proven returns the value at a key, which must have a hash.
func (v *View) proven(key []byte, want merkle.Hash) ([]byte, error) {
	value, err := v.Get(key)
	if err != nil {
		return nil, err
	}
	if merkle.ValueHash(value) != want {
		return nil, fmt.Errorf("the value of %q is not the one committed: %w", key, ErrCorrupt)
	}
	return value, nil
}

// Log returns the block log.
func (v *View) Log() merkle.Log { return v.version.log.Clone() }

// LogSize returns the number of leaves of the block log.
func (v *View) LogSize() uint64 { return v.version.log.Size() }

// LogRoot returns the root of the block log.
func (v *View) LogRoot() merkle.Hash { return v.version.log.Root() }

// LogLeaf returns the leaf hash at an index of the block log.
func (v *View) LogLeaf(index uint64) (merkle.Hash, error) {
	if index >= v.LogSize() {
		return merkle.Hash{}, fmt.Errorf("no leaf %d in a block log of %d", index, v.LogSize())
	}
	return v.logHash(0, index)
}

// ProveInclusion returns the proof that leaf index stands in the block log of a
// size, at most LogSize.
func (v *View) ProveInclusion(index, size uint64) (merkle.LogProof, error) {
	if err := v.checkLogSize(size); err != nil {
		return nil, err
	}
	return merkle.ProveInclusion(index, size, v.logHash)
}

// ProveConsistency returns the proof that the block log of newSize, at most
// LogSize, extends the one of oldSize, at least 1.
func (v *View) ProveConsistency(oldSize, newSize uint64) (merkle.LogProof, error) {
	if err := v.checkLogSize(newSize); err != nil {
		return nil, err
	}
	return merkle.ProveConsistency(oldSize, newSize, v.logHash)
}

func (v *View) checkLogSize(size uint64) error {
	if n := v.LogSize(); size > n {
		return fmt.Errorf("the block log has %d leaves at height %d, not %d", n, v.height, size)
	}
	return v.check()
}

// logHash is a merkle.HashReader.
func (v *View) logHash(level uint8, index uint64) (merkle.Hash, error) {
	if err := v.check(); err != nil {
		return merkle.Hash{}, err
	}
	return readLogHash(v.version.snap, level, index)
}

// Prefixes of database keys.
const (
	prefixMeta  = 0x00
	prefixState = 0x01
	prefixSide  = 0x02
	prefixLog   = 0x03

	prefixRestoring = 0x04
)

func stateKey(key []byte) []byte { return prefixed(prefixState, key) }
func sideKey(key []byte) []byte  { return prefixed(prefixSide, key) }

func prefixed(prefix byte, key []byte) []byte {
	return append(append(make([]byte, 0, 1+len(key)), prefix), key...)
}

func logKey(level uint8, index uint64) []byte {
	return binary.BigEndian.AppendUint64([]byte{prefixLog, level}, index)
}

// get returns a copy of the value at a database key, nil if there is none.
func get(r pebble.Reader, key []byte) ([]byte, error) {
	value, closer, err := r.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read %q: %w", key, classify(err))
	}
	defer closer.Close()
	return append(make([]byte, 0, len(value)), value...), nil
}

// scan calls fn for the database keys with a prefix and, after it, lo <= key < hi.
func scan(r pebble.Reader, prefix byte, lo, hi []byte, fn func(key, value []byte) bool) error {
	if hi != nil && bytes.Compare(lo, hi) >= 0 {
		return nil
	}
	bounds := pebble.IterOptions{LowerBound: prefixed(prefix, lo), UpperBound: []byte{prefix + 1}}
	if hi != nil {
		bounds.UpperBound = prefixed(prefix, hi)
	}
	it, err := r.NewIter(&bounds)
	if err != nil {
		return fmt.Errorf("scan: %w", classify(err))
	}
	// Close even if fn panics: an iterator left open pins files.
	defer it.Close()
	for ok := it.First(); ok; ok = it.Next() {
		value, err := it.ValueAndErr()
		if err != nil {
			return fmt.Errorf("scan: %w", classify(err))
		}
		if !fn(it.Key()[1:], value) {
			return nil
		}
	}
	if err := it.Error(); err != nil {
		return fmt.Errorf("scan: %w", classify(err))
	}
	return nil
}

func readLogHash(r pebble.Reader, level uint8, index uint64) (merkle.Hash, error) {
	b, err := get(r, logKey(level, index))
	if err != nil {
		return merkle.Hash{}, err
	}
	if len(b) != merkle.HashSize {
		return merkle.Hash{}, fmt.Errorf("block log: subtree %d/%d is missing: %w", level, index, ErrCorrupt)
	}
	return merkle.Hash(b), nil
}
