// SPDX-License-Identifier: Apache-2.0

// Package store keeps the state of a zone: a map from keys to values whose
// Merkle root is the chain's app hash, the log of block hashes, and side entries
// that belong to this node alone.
//
// The Merkle trie (package merkle) lives in memory, the values in a Pebble
// database. A Store has one writer and any number of readers:
//
//	s, err := store.Open(dir, store.Options{ChainID: "cityid-root-7f3a"})
//	b, err := s.Begin()                  // the next version, staged in memory
//	err = b.Set(key, value)              // reads of b see it at once
//	root, err := b.Root()                // the app hash it would have
//	err = b.Commit(height)               // durable, then visible; or b.Discard()
//	v, err := s.At(height)               // a version, for as long as it is held
//	defer v.Close()
//	proof, value, err := v.Prove(key)
//
// # On disk
//
// The first byte of a database key tells what it is:
//
//	0x00                       the meta record
//	0x01 || key                a key of the state and its value
//	0x02 || key                a side entry
//	0x03 || level || index     hash of a subtree of the block log; 1 + 8 bytes, big-endian
//	0x04                       a mark: a restore has begun and not ended
//
// The meta record is what the last commit left:
//
//	1                          format version
//	length (1 byte), chain id
//	height                     8 bytes, big-endian
//	root of the state          32 bytes
//	number of keys             8 bytes, big-endian
//	block log                  see merkle.Log
//
// A commit is one synced Pebble batch that holds everything it changes, the meta
// record too. So after a crash at any instant the database is exactly at one
// commit: the last one acknowledged, or the one that was being made.
//
// # At a start
//
// Open reads every value, hashes it, builds the trie anew and compares its root
// with the meta record: a full check of the state on every start, about a second
// for a million records. Nothing but the values is trusted.
//
// # Restoring
//
// A Restore takes in a state that somebody else had, in the place of what the
// Store held. It begins with a synced batch that deletes everything, sets the meta
// record to height 0 and writes the mark; the values follow in batches of their
// own, and the last batch, which is synced, holds the meta record, the side entries
// and the edge of the block log, and deletes the mark. So after a crash either all
// of it is there, or the mark is: then Open deletes everything, and the Store is
// empty.
//
// # When the disk fails
//
// The first write that the disk refuses is the last one tried: from then on the
// Store only reads, and Begin, Commit and Close fail with the cause (ErrDiskFull
// and the like). The process should end; until it does, the folder stays locked.
// Whether the commit that met the failure is durable shows at the next Open,
// after which the chain goes on from there. Nothing is repaired or retried
// behind the operator's back.
package store

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"cityid/merkle"
)

// Limits.
const (
	MaxValueSize   = 1 << 20 // bytes in a value of the state or of a side entry
	MaxSideKeySize = 1024    // bytes in the key of a side entry
	MaxChainID     = 64      // bytes in a chain id
)

// Errors. They are wrapped with the cause; test with errors.Is.
var (
	// ErrNotExist: Open was to find a database and there is none.
	ErrNotExist = errors.New("there is no database in this folder")
	// ErrForeignChain: the database belongs to another chain.
	ErrForeignChain = errors.New("the database belongs to another chain")
	// ErrLocked: another process, or this one, has the database open.
	ErrLocked = errors.New("the folder is in use by a running node; stop that node first")
	// ErrCorrupt: what the database holds is not what was committed.
	ErrCorrupt = errors.New("the database is damaged; restore this folder from a backup, or empty it and let the node fetch the state from other validators")
	// ErrFormat: the database was written by a newer release.
	ErrFormat = errors.New("the database has a format this release does not know; use the release that wrote it")
	// ErrDiskFull: no space is left.
	ErrDiskFull = errors.New("the disk is full; free some space, then start the node again")
	// ErrReadOnly: the disk or the folder can not be written.
	ErrReadOnly = errors.New("the disk or folder can not be written; check its permissions and how it is mounted")
	// ErrDisk: the disk failed for another reason.
	ErrDisk = errors.New("the disk failed; check it, then start the node again")

	// ErrClosed: the Store, View or Batch is closed.
	ErrClosed = errors.New("closed")
	// ErrViewsOpen: Close found views or batches that are still held.
	ErrViewsOpen = errors.New("views or batches are still open")
	// ErrNotRetained: the version at a height has been let go.
	ErrNotRetained = errors.New("height is not retained")
	// ErrNotCommitted: a height is above the last one committed.
	ErrNotCommitted = errors.New("height is not committed yet")
	// ErrStale: a batch rests on a version which is no longer the latest.
	ErrStale = errors.New("another batch was committed since this one began")
	// ErrHeight: a commit's height is not above the last one.
	ErrHeight = errors.New("height does not increase")
	// ErrTooLarge: a value or a side entry's key exceeds its limit.
	ErrTooLarge = errors.New("too large")
	// ErrWriteDuringScan: the function given to Scan wrote what is scanned.
	ErrWriteDuringScan = errors.New("written to during a scan")
)

// Options say how to open a Store. The zero Options open an existing one.
type Options struct {
	// ChainID, 1 to MaxChainID bytes: the chain which the database must belong
	// to; a new one is made if the folder holds none. Empty: there must be a
	// database, of whatever chain.
	ChainID string
	// Retain is how many versions At can reach, the latest included. Heights at
	// which the state did not change share a version. Default 128.
	Retain int
	// CacheSize is the size of Pebble's block cache in bytes. Default 64 MiB.
	CacheSize int64
	// Progress, if set, is called now and then from one goroutine while Open
	// checks the state, with the number of keys checked and expected.
	Progress func(done, total uint64)
	// Logger takes the database's own messages. Default: none are kept.
	Logger *slog.Logger
	// FS is the file system. Default: the disk.
	FS vfs.FS
}

// Store is a zone's state. Its methods may be called concurrently.
type Store struct {
	db      *pebble.DB
	lock    io.Closer
	fuse    *fuse
	chainID string
	retain  int

	// commit is held while a batch is written, before mu.
	commit sync.Mutex

	// closing counts the Pebble snapshots that are being closed.
	closing sync.WaitGroup

	mu       sync.Mutex // guards what follows
	closed   bool
	height   uint64
	versions []*version // oldest first; the last is the latest; never empty
	held     int        // views, batches and restores open

	restoring bool // a Restore is open
}

// version is one state. It serves the heights from first up to the next one's.
type version struct {
	first uint64
	tree  merkle.Tree
	log   merkle.Log
	snap  *pebble.Snapshot
	refs  int // views, and 1 while the Store retains it; guarded by Store.mu
}

// ChainID returns the id of the chain the database belongs to.
func (s *Store) ChainID() string { return s.chainID }

// Height returns the last height committed, 0 before the first.
func (s *Store) Height() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.height
}

// Root returns the app hash after the last commit, the zero Hash if the state is
// empty.
func (s *Store) Root() merkle.Hash {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.latest().tree.Root()
}

// Retained returns the lowest and the highest height that At can reach now.
func (s *Store) Retained() (oldest, newest uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.versions[0].first, s.height
}

// Latest returns a view of the last version committed. The caller must Close it.
func (s *Store) Latest() (*View, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.hold(s.latest(), s.height)
}

// At returns a view of the version at a height. The caller must Close it. The
// error wraps ErrNotRetained, ErrNotCommitted or ErrClosed.
func (s *Store) At(height uint64) (*View, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if height > s.height {
		return nil, fmt.Errorf("state at height %d: %w: the last is %d", height, ErrNotCommitted, s.height)
	}
	for i := len(s.versions) - 1; i >= 0; i-- {
		if s.versions[i].first <= height {
			return s.hold(s.versions[i], height)
		}
	}
	return nil, fmt.Errorf("state at height %d: %w: this node keeps heights %d to %d", height, ErrNotRetained, s.versions[0].first, s.height)
}

// GetSide returns the value of a side entry as last committed, nil if there is
// none. The caller owns it.
func (s *Store) GetSide(key []byte) ([]byte, error) {
	if err := s.use(); err != nil {
		return nil, err
	}
	defer s.unuse()
	return get(s.db, sideKey(key))
}

// ScanSide calls fn for each side entry with lo <= key < hi, in byte order, as
// last committed, until fn returns false. A nil hi means no upper end. The slices
// are valid during the call only.
func (s *Store) ScanSide(lo, hi []byte, fn func(key, value []byte) bool) error {
	if err := s.use(); err != nil {
		return err
	}
	defer s.unuse()
	return scan(s.db, prefixSide, lo, hi, fn)
}

// Close releases the database. While views or batches are held it fails with
// ErrViewsOpen, and lets nobody take new ones: close those and call it again.
// The process may also just end; nothing is lost. After a disk failure Close
// returns the cause and leaves the rest to the end of the process. It may be
// called more than once.
func (s *Store) Close() error {
	s.commit.Lock()
	defer s.commit.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	if s.held > 0 {
		return fmt.Errorf("%w: %d", ErrViewsOpen, s.held)
	}
	if s.db == nil {
		return nil
	}
	for _, v := range s.versions {
		s.release(v)
	}
	err := s.closeDB()
	s.db = nil
	return err
}

// use counts a short use of the database, as hold counts a long one.
func (s *Store) use() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return fmt.Errorf("store: %w", ErrClosed)
	}
	s.held++
	return nil
}

func (s *Store) unuse() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.held--
}

// latest returns the last version; mu is held.
func (s *Store) latest() *version { return s.versions[len(s.versions)-1] }

// hold returns a view; mu is held.
func (s *Store) hold(v *version, height uint64) (*View, error) {
	if s.closed {
		return nil, fmt.Errorf("store: %w", ErrClosed)
	}
	v.refs++
	s.held++
	return &View{store: s, version: v, height: height}, nil
}

// release gives up one reference to a version; mu is held.
func (s *Store) release(v *version) {
	v.refs--
	if v.refs > 0 || s.fuse.hasTripped() {
		return
	}
	// Closing may wait for a compaction; nobody has to wait for that. Its only
	// error is that it was closed before.
	s.closing.Go(func() { _ = v.snap.Close() })
}

// publish makes a committed version, nil if the state is as before, the latest.
func (s *Store) publish(v *version, height uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.height = height
	if v == nil {
		return
	}
	s.versions = append(s.versions, v)
	for len(s.versions) > s.retain {
		s.release(s.versions[0])
		s.versions = append([]*version(nil), s.versions[1:]...)
	}
}
