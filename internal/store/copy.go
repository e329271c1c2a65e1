// SPDX-License-Identifier: Apache-2.0

package store

import (
	"fmt"
	"log/slog"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// Frozen is the whole database as one commit left it, for a copy while the Store goes
// on. It may be used by one goroutine at a time.
type Frozen struct {
	store  *Store
	snap   *pebble.Snapshot
	height uint64
}

// Freeze returns the database as last committed. It takes no longer than what is being
// written; the caller must Close what it returns. It fails with ErrStale while a
// Restore is open.
func (s *Store) Freeze() (*Frozen, error) {
	s.commit.Lock()
	defer s.commit.Unlock()
	if err := s.use(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.restoring {
		s.held--
		return nil, fmt.Errorf("copy the state: %w", ErrStale)
	}
	return &Frozen{s, s.db.NewSnapshot(), s.height}, nil
}

// Height returns the height of the commit.
func (f *Frozen) Height() uint64 { return f.height }

// Scan calls fn for each key and value of the database, in byte order, until it
// returns an error. The slices are valid during the call only.
func (f *Frozen) Scan(fn func(key, value []byte) error) error {
	it, err := f.snap.NewIter(nil)
	if err != nil {
		return classify(err)
	}
	defer it.Close()
	for ok := it.First(); ok; ok = it.Next() {
		value, err := it.ValueAndErr()
		if err != nil {
			return classify(err)
		}
		if err := fn(it.Key(), value); err != nil {
			return err
		}
	}
	return classify(it.Error())
}

// Close lets the database go.
func (f *Frozen) Close() {
	_ = f.snap.Close() // its only error is that it was closed before
	f.store.unuse()
}

// copyBatch is how many octets a Copy writes at once.
const copyBatch = 4 << 20

// Copy makes a database of the keys and values that [Frozen.Scan] gives. Nobody has
// verified what it makes; Open does.
type Copy struct {
	s     *Store
	batch *pebble.Batch
}

// NewCopy makes an empty database in a folder, which must not exist. Errors are those
// of Open. The caller must Close it.
func NewCopy(dir string) (*Copy, error) {
	s := &Store{fuse: newFuse()}
	if err := makeDir(vfs.Default, dir); err != nil {
		return nil, classify(err)
	}
	lock, err := pebble.LockDirectory(dir, vfs.Default)
	if err != nil {
		return nil, classifyLock(err)
	}
	s.lock = lock
	o := pebbleOptions(Options{ChainID: "copy", FS: vfs.Default, Logger: slog.New(slog.DiscardHandler), CacheSize: 1 << 20}, lock, s.fuse)
	o.ErrorIfExists = true
	if s.db, err = openPebble(dir, o, s.fuse); err != nil {
		if !s.fuse.hasTripped() {
			lock.Close()
		}
		return nil, err
	}
	return &Copy{s: s, batch: s.db.NewBatch()}, nil
}

// Set writes a key and its value.
func (c *Copy) Set(key, value []byte) error {
	if err := c.batch.Set(key, value, nil); err != nil {
		return classify(err)
	}
	if c.batch.Len() < copyBatch {
		return nil
	}
	return c.flush(pebble.NoSync)
}

func (c *Copy) flush(o *pebble.WriteOptions) error {
	err := c.s.writeWith(c.batch, o)
	c.batch = c.s.db.NewBatch()
	return err
}

// Close writes what is left, and closes the database.
func (c *Copy) Close() error {
	err := c.flush(pebble.Sync)
	if closed := c.s.closeDB(); err == nil {
		err = closed
	}
	return err
}
