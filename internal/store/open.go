// SPDX-License-Identifier: Apache-2.0

package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	iofs "io/fs"
	"log/slog"
	"strings"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"cityid/merkle"
)

const (
	formatVersion    = 1
	defaultRetain    = 128
	defaultCacheSize = 64 << 20
)

// Open opens the database in a folder, or makes one if Options.ChainID is set
// and there is none, and checks that all of the state is as it was committed.
// The error wraps ErrNotExist, ErrForeignChain, ErrLocked, ErrCorrupt, ErrFormat,
// ErrDiskFull, ErrReadOnly or ErrDisk; the database is then closed.
func Open(dir string, o Options) (*Store, error) {
	if len(o.ChainID) > MaxChainID {
		return nil, fmt.Errorf("open %s: chain id of %d bytes: %w", dir, len(o.ChainID), ErrTooLarge)
	}
	s, err := open(dir, o)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", dir, err)
	}
	return s, nil
}

// OpenMemory makes an empty Store in memory, for tests and trials. It is a
// database like any other, over a file system of its own.
func OpenMemory(o Options) (*Store, error) {
	o.FS = vfs.NewMem()
	return Open("state", o)
}

func open(dir string, o Options) (*Store, error) {
	s := &Store{fuse: newFuse(), chainID: o.ChainID, retain: o.Retain}
	if s.retain <= 0 {
		s.retain = defaultRetain
	}
	if o.FS == nil {
		o.FS = vfs.Default
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.CacheSize <= 0 {
		o.CacheSize = defaultCacheSize
	}
	if o.ChainID != "" {
		if err := makeDir(o.FS, dir); err != nil {
			return nil, classify(err)
		}
	} else if _, err := o.FS.Stat(dir); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNotExist, err)
	}
	lock, err := pebble.LockDirectory(dir, o.FS)
	if err != nil {
		return nil, classifyLock(err)
	}
	s.lock = lock
	if err = checkNoRemains(o.FS, dir); err == nil {
		s.db, err = openPebble(dir, pebbleOptions(o, lock, s.fuse), s.fuse)
	}
	if err != nil {
		if !s.fuse.hasTripped() {
			lock.Close()
		}
		return nil, err
	}
	if err := s.load(o.Progress); err != nil {
		_ = s.closeDB() // what matters is why it could not be loaded
		return nil, err
	}
	return s, nil
}

// load reads the state and makes it the only version.
func (s *Store) load(progress func(done, total uint64)) error {
	m, err := s.loadMeta()
	if err != nil {
		return err
	}
	tree, err := rebuild(s.db, m, progress)
	if err != nil {
		return err
	}
	s.chainID, s.height = m.chainID, m.height
	s.versions = []*version{{first: m.height, tree: tree, log: m.log, snap: s.db.NewSnapshot(), refs: 1}}
	return nil
}

// openPebble turns Pebble's panics over some damaged files into errors.
func openPebble(dir string, o *pebble.Options, f *fuse) (*pebble.DB, error) {
	opened := make(chan *pebble.DB, 1)
	err := f.wait(func() (err error) {
		defer func() {
			if r := recover(); r != nil {
				err = fmt.Errorf("%w: %v", ErrCorrupt, r)
			}
		}()
		db, err := pebble.Open(dir, o)
		if spoiled(err) {
			err = fmt.Errorf("%w: %w", ErrCorrupt, err)
		}
		opened <- db
		return err
	})
	if errors.Is(err, pebble.ErrDBDoesNotExist) {
		return nil, ErrNotExist
	}
	if err != nil {
		return nil, err
	}
	return <-opened, nil
}

// spoiled reports whether Pebble could not open a database because a file of it is
// gone, is cut, or names other functions than those it was made with.
func spoiled(err error) bool {
	if err == nil || errors.Is(err, pebble.ErrDBDoesNotExist) {
		return false
	}
	text := err.Error()
	return errors.Is(err, iofs.ErrNotExist) || strings.Contains(text, "object size mismatch") || strings.Contains(text, "name from file")
}

func pebbleOptions(o Options, lock *pebble.Lock, f *fuse) *pebble.Options {
	log := &logger{o.Logger, f}
	return &pebble.Options{
		FS:                          guardFS{o.FS, f},
		Lock:                        lock,
		CacheSize:                   o.CacheSize,
		ErrorIfNotExists:            o.ChainID == "",
		FormatMajorVersion:          pebble.FormatTableFormatV6,
		MemTableSize:                64 << 20,
		MemTableStopWritesThreshold: 4,
		CompactionConcurrencyRange:  func() (int, int) { return 1, 2 },
		Logger:                      log,
		EventListener: &pebble.EventListener{
			BackgroundError: func(err error) { log.Errorf("background work: %v", err) },
			DataCorruption: func(info pebble.DataCorruptionInfo) {
				f.fail(fmt.Errorf("%w: %s: %v", ErrCorrupt, info.Path, info.Details))
			},
		},
	}
}

// meta is the meta record.
type meta struct {
	chainID string
	height  uint64
	root    merkle.Hash
	keys    uint64
	log     merkle.Log
}

func (m *meta) encode() []byte {
	b := []byte{formatVersion, byte(len(m.chainID))}
	b = append(b, m.chainID...)
	b = binary.BigEndian.AppendUint64(b, m.height)
	b = append(b, m.root[:]...)
	b = binary.BigEndian.AppendUint64(b, m.keys)
	log, _ := m.log.MarshalBinary() // never fails
	return append(b, log...)
}

func decodeMeta(b []byte) (m meta, err error) {
	bad := fmt.Errorf("the meta record is not readable: %w", ErrCorrupt)
	if len(b) == 0 {
		return m, bad
	}
	if b[0] != formatVersion {
		return m, fmt.Errorf("format %d: %w", b[0], ErrFormat)
	}
	if len(b) < 2 || b[1] == 0 || b[1] > MaxChainID || len(b) < 2+int(b[1])+8+merkle.HashSize+8 {
		return m, bad
	}
	n := 2 + int(b[1])
	m.chainID = string(b[2:n])
	b = b[n:]
	m.height = binary.BigEndian.Uint64(b)
	m.root = merkle.Hash(b[8 : 8+merkle.HashSize])
	b = b[8+merkle.HashSize:]
	m.keys = binary.BigEndian.Uint64(b)
	if err := m.log.UnmarshalBinary(b[8:]); err != nil {
		return m, fmt.Errorf("%w: %w", bad, err)
	}
	return m, nil
}

// loadMeta reads the meta record, or writes the first one.
func (s *Store) loadMeta() (meta, error) {
	b, err := get(s.db, []byte{prefixMeta})
	if err != nil {
		return meta{}, err
	}
	if b != nil {
		m, err := decodeMeta(b)
		if err == nil && s.chainID != "" && m.chainID != s.chainID {
			err = fmt.Errorf("%w: it is of %q, this node runs %q", ErrForeignChain, m.chainID, s.chainID)
		}
		if err != nil {
			return m, err
		}
		return s.dropRestore(m)
	}
	empty := true
	for prefix := byte(prefixState); prefix <= prefixLog; prefix++ {
		if err := scan(s.db, prefix, nil, nil, func(_, _ []byte) bool { empty = false; return false }); err != nil {
			return meta{}, err
		}
	}
	switch {
	case !empty:
		return meta{}, fmt.Errorf("the meta record is gone: %w", ErrCorrupt)
	case s.chainID == "":
		return meta{}, ErrNotExist
	}
	m := meta{chainID: s.chainID}
	pb := s.db.NewBatch()
	if err := pb.Set([]byte{prefixMeta}, m.encode(), nil); err != nil {
		return meta{}, classify(err)
	}
	return m, s.write(pb)
}

// Lock takes the lock of a folder that holds a database, as Open does, without
// opening it: nobody else can until it is closed. The error wraps ErrNotExist,
// ErrLocked or the cause of a disk failure.
func Lock(dir string) (io.Closer, error) {
	if desc, err := pebble.Peek(dir, vfs.Default); err != nil || !desc.Exists {
		return nil, fmt.Errorf("lock %s: %w", dir, errors.Join(ErrNotExist, err))
	}
	lock, err := pebble.LockDirectory(dir, vfs.Default)
	if err != nil {
		return nil, fmt.Errorf("lock %s: %w", dir, classifyLock(err))
	}
	return lock, nil
}
