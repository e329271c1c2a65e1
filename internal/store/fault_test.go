// SPDX-License-Identifier: Apache-2.0

package store

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"cityid/merkle"
)

// newCrashFS returns a file system in memory that knows what was synced.
func newCrashFS(t testing.TB) *vfs.MemFS {
	t.Helper()
	return vfs.NewCrashableMem()
}

// faultFS lets the nth write-like operation fail, and optionally carries it out
// nevertheless.
type faultFS struct {
	count atomic.Int64
	at    int64 // 0: never; set while nothing is written
}

func (f *faultFS) String() string { return "fault" }

func (f *faultFS) MaybeError(op errorfs.Op) error {
	switch op.Kind {
	case errorfs.OpCreate, errorfs.OpRename, errorfs.OpReuseForWrite, errorfs.OpMkdirAll, errorfs.OpFileWrite,
		errorfs.OpFileWriteAt, errorfs.OpFileSync, errorfs.OpFileSyncData, errorfs.OpFileSyncTo, errorfs.OpLink, errorfs.OpRemove:
	default:
		return nil
	}
	if n := f.count.Add(1); f.at > 0 && n == f.at {
		return syscall.ENOSPC
	}
	return nil
}

// workload commits versions up to n, each with as many keys changed as to tell
// them apart, and returns the last height acknowledged.
func workload(s *Store, n uint64) (acked uint64, err error) {
	acked = s.Height()
	for h := acked + 1; h <= n; h++ {
		b, err := s.Begin()
		if err != nil {
			return acked, err
		}
		for i := range uint64(20) {
			if err := b.Set(fmt.Appendf(nil, "k%d\x00", i*h%37), fmt.Appendf(nil, "%d-%d", h, i)); err != nil {
				return acked, err
			}
		}
		b.SetSide([]byte("height"), fmt.Append(nil, h))
		b.AppendLog(merkle.Hash{byte(h)})
		if err := b.Commit(h); err != nil {
			return acked, err
		}
		acked = h
		if h%4 == 0 {
			// Let files and the manifest be written too.
			if err := s.fuse.wait(s.db.Flush); err != nil {
				return acked, err
			}
		}
	}
	return acked, nil
}

// goodRoots returns the root after each height of the workload.
func goodRoots(t *testing.T, n uint64) []merkle.Hash {
	t.Helper()
	s := mustOpen(t, "state", Options{FS: vfs.NewMem(), Retain: int(n) + 1})
	if _, err := workload(s, n); err != nil {
		t.Fatal(err)
	}
	var roots []merkle.Hash
	for h := range n + 1 {
		v, err := s.At(h)
		if err != nil {
			t.Fatal(err)
		}
		roots = append(roots, v.Root())
		v.Close()
	}
	mustClose(t, s)
	return roots
}

// TestFaults fails each write of a workload in turn and cuts the power: what was
// acknowledged must be there, whole, and what was not must be there whole or not
// at all.
func TestFaults(t *testing.T) {
	const n = 12
	roots := goodRoots(t, n)
	counter := &faultFS{}
	if acked, err := reopeningWorkload(errorfs.Wrap(vfs.NewMem(), counter), n); acked != n || err != nil {
		t.Fatal(err)
	}
	total := counter.count.Load()
	if total < 50 {
		t.Fatalf("the workload makes %d writes only", total)
	}
	step := int64(1)
	if testing.Short() {
		step = 5
	}
	for at := int64(1); at <= total; at += step {
		for _, unsynced := range []int{0, 50, 100} {
			fs := vfs.NewCrashableMem()
			acked, err := reopeningWorkload(errorfs.Wrap(fs, &faultFS{at: at}), n)
			if err != nil && !errors.Is(err, ErrDiskFull) {
				t.Fatalf("write %d of %d: %v", at, total, err)
			}
			after := fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: unsynced, RNG: rand.New(rand.NewPCG(uint64(at), 1))})
			checkAfterCrash(t, after, roots, acked, fmt.Sprintf("write %d of %d, %d%% unsynced", at, total, unsynced))
		}
	}
}

// reopeningWorkload commits versions 1 to n in three runs of the Store.
func reopeningWorkload(fs vfs.FS, n uint64) (acked uint64, err error) {
	for _, end := range []uint64{n / 3, 2 * n / 3, n} {
		s, err := Open("state", Options{ChainID: testChain, FS: fs})
		if err != nil {
			return acked, err
		}
		if acked != s.Height() {
			return acked, fmt.Errorf("height %d after %d were acknowledged", s.Height(), acked)
		}
		acked, err = workload(s, end)
		if err := errors.Join(err, s.Close()); err != nil {
			return acked, err
		}
	}
	return acked, nil
}

func checkAfterCrash(t *testing.T, fs vfs.FS, roots []merkle.Hash, acked uint64, what string) {
	t.Helper()
	s, err := Open("state", Options{ChainID: testChain, FS: fs})
	if err != nil {
		t.Fatalf("%s: reopen: %v", what, err)
	}
	defer mustClose(t, s)
	h := s.Height()
	if h < acked || h > acked+1 {
		t.Fatalf("%s: at height %d after %d were acknowledged", what, h, acked)
	}
	if s.Root() != roots[h] {
		t.Fatalf("%s: wrong root at height %d", what, h)
	}
	side, err := s.GetSide([]byte("height"))
	if err != nil || h > 0 && string(side) != fmt.Sprint(h) {
		t.Fatalf("%s: side entry %q, %v", what, side, err)
	}
	v, err := s.Latest()
	if err != nil {
		t.Fatal(err)
	}
	if v.LogSize() != h {
		t.Fatalf("%s: log of %d at height %d", what, v.LogSize(), h)
	}
	v.Close()
	commit(t, s, h+1, "after\x00", "all") // and it goes on
}

// TestCrashAnywhere cuts the power at random moments of an undisturbed workload.
func TestCrashAnywhere(t *testing.T) {
	const n = 40
	roots := goodRoots(t, n)
	fs := vfs.NewCrashableMem()
	s := mustOpen(t, "state", Options{FS: fs})
	var acked atomic.Uint64
	var wg sync.WaitGroup
	wg.Go(func() {
		for h := uint64(1); h <= n; h++ {
			b, _ := s.Begin()
			for i := range uint64(20) {
				b.Set(fmt.Appendf(nil, "k%d\x00", i*h%37), fmt.Appendf(nil, "%d-%d", h, i))
			}
			b.SetSide([]byte("height"), fmt.Append(nil, h))
			b.AppendLog(merkle.Hash{byte(h)})
			if err := b.Commit(h); err != nil {
				t.Error(err)
				return
			}
			acked.Store(h)
		}
	})
	for i := range 30 {
		before := acked.Load()
		after := fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 30, RNG: rand.New(rand.NewPCG(uint64(i), 1))})
		s, err := Open("state", Options{FS: after})
		if err != nil {
			t.Fatal(err)
		}
		if h := s.Height(); h < before || s.Root() != roots[h] {
			t.Errorf("height %d after %d were acknowledged", h, before)
		}
		mustClose(t, s)
	}
	wg.Wait()
	mustClose(t, s)
}

// TestFaultEndsWriting shows what a Store does after a failure: no more writes,
// reads as before.
func TestFaultEndsWriting(t *testing.T) {
	fault := &faultFS{}
	s := mustOpen(t, "state", Options{FS: errorfs.Wrap(vfs.NewMem(), fault)})
	commit(t, s, 1, "a\x00", "1")
	b := mustBegin(t, s)
	b.Set([]byte("a\x00"), []byte("2"))
	fault.at = fault.count.Load() + 1
	if err := b.Commit(2); !errors.Is(err, ErrDiskFull) || !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("commit: %v", err)
	}
	if _, err := s.Begin(); !errors.Is(err, ErrDiskFull) {
		t.Errorf("begin: %v", err)
	}
	go s.db.Flush() // never returns
	time.Sleep(50 * time.Millisecond)
	if n := fault.count.Load(); n != fault.at {
		t.Errorf("%d writes after the one that failed", n-fault.at)
	}
	v, err := s.Latest()
	if err != nil {
		t.Fatal(err)
	}
	if got, err := v.Get([]byte("a\x00")); err != nil || string(got) != "1" || v.Height() != 1 {
		t.Errorf("read: %q, %v", got, err)
	}
	v.Close()
	if err := s.Close(); !errors.Is(err, ErrDiskFull) {
		t.Errorf("close: %v", err)
	}
}

// TestStuckCommit fills the memtables while no file can be flushed: the commit
// that would wait for ever must return.
func TestStuckCommit(t *testing.T) {
	var broken atomic.Bool
	inj := errorfs.InjectorFunc(func(op errorfs.Op) error {
		if broken.Load() && op.Kind == errorfs.OpCreate && filepath.Ext(op.Path) == ".sst" {
			return syscall.EIO
		}
		return nil
	})
	s := mustOpen(t, "state", Options{FS: errorfs.Wrap(vfs.NewMem(), inj)})
	broken.Store(true)
	var err error
	for h := uint64(1); h < 1000 && err == nil; h++ {
		var b *Batch
		if b, err = s.Begin(); err == nil {
			for i := range 8 {
				b.Set(fmt.Appendf(nil, "%d-%d\x00", h, i), make([]byte, MaxValueSize))
			}
			err = b.Commit(h)
		}
	}
	if !errors.Is(err, ErrDisk) || !errors.Is(err, syscall.EIO) {
		t.Errorf("got %v", err)
	}
	if err := s.Close(); !errors.Is(err, ErrDisk) {
		t.Errorf("close: %v", err)
	}
}

// TestBitFlips changes one bit of one file: the next start must notice, or be at
// a state that was committed.
func TestBitFlips(t *testing.T) {
	const n = 12
	roots := goodRoots(t, n)
	r := rand.New(rand.NewPCG(3, 4))
	fs := vfs.NewCrashableMem()
	s := mustOpen(t, "state", Options{FS: fs})
	if _, err := workload(s, n); err != nil {
		t.Fatal(err)
	}
	if err := s.db.Flush(); err != nil {
		t.Fatal(err)
	}
	mustClose(t, s)
	noticed := 0
	for range 150 {
		bad := fs.CrashClone(vfs.CrashCloneCfg{})
		names, err := bad.List("state")
		if err != nil {
			t.Fatal(err)
		}
		var files []string
		for _, name := range names {
			if b, err := bad.UnsafeGetFileDataBuffer("state/" + name); err == nil && len(b) > 0 {
				files = append(files, name)
			}
		}
		name := files[r.IntN(len(files))]
		b, _ := bad.UnsafeGetFileDataBuffer("state/" + name)
		i := r.IntN(len(b))
		b[i] ^= 1 << r.IntN(8)
		s, err := Open("state", Options{ChainID: testChain, FS: bad})
		if err != nil {
			noticed++
			continue
		}
		if s.Root() != roots[s.Height()] {
			t.Fatalf("a flipped bit of byte %d of %s is not noticed", i, name)
		}
		if err := s.Close(); err != nil && !errors.Is(err, ErrCorrupt) {
			t.Fatal(err)
		}
	}
	if noticed == 0 {
		t.Error("no flipped bit was noticed")
	}
}

// TestDamage changes the database behind the Store's back.
func TestDamage(t *testing.T) {
	for name, damage := range map[string]func(*pebble.Batch){
		"value":   func(b *pebble.Batch) { b.Set([]byte("\x01b\x00"), []byte("3"), nil) },
		"missing": func(b *pebble.Batch) { b.Delete([]byte("\x01b\x00"), nil) },
		"extra":   func(b *pebble.Batch) { b.Set([]byte("\x01c\x00"), []byte("3"), nil) },
		"bad key": func(b *pebble.Batch) { b.Set([]byte("\x01c"), []byte("3"), nil) },
		"swapped": func(b *pebble.Batch) {
			b.Set([]byte("\x01a\x00"), []byte("2"), nil)
			b.Set([]byte("\x01b\x00"), []byte("1"), nil)
		},
		"meta":     func(b *pebble.Batch) { b.Set([]byte{0}, []byte{1, 1}, nil) },
		"no meta":  func(b *pebble.Batch) { b.Delete([]byte{0}, nil) },
		"log":      func(b *pebble.Batch) { b.Set(logKey(0, 0), make([]byte, 32), nil) },
		"log gone": func(b *pebble.Batch) { b.Delete(logKey(0, 0), nil) },
	} {
		t.Run(name, func(t *testing.T) {
			fs := newCrashFS(t)
			s := mustOpen(t, "state", Options{FS: fs})
			b := mustBegin(t, s)
			b.Set([]byte("a\x00"), []byte("1"))
			b.Set([]byte("b\x00"), []byte("2"))
			b.AppendLog(merkle.Hash{1})
			if err := b.Commit(1); err != nil {
				t.Fatal(err)
			}
			pb := s.db.NewBatch()
			damage(pb)
			if err := pb.Commit(pebble.Sync); err != nil {
				t.Fatal(err)
			}
			mustClose(t, s)
			if _, err := Open("state", Options{ChainID: testChain, FS: fs}); !errors.Is(err, ErrCorrupt) {
				t.Errorf("got %v", err)
			} else {
				t.Log(err)
			}
		})
	}
	t.Run("format", func(t *testing.T) {
		fs := newCrashFS(t)
		s := mustOpen(t, "state", Options{FS: fs})
		if err := s.db.Set([]byte{0}, []byte{2, 1}, pebble.Sync); err != nil {
			t.Fatal(err)
		}
		mustClose(t, s)
		if _, err := Open("state", Options{FS: fs}); !errors.Is(err, ErrFormat) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("while open", func(t *testing.T) {
		s := mustOpen(t, "state", Options{FS: newCrashFS(t)})
		defer mustClose(t, s)
		commit(t, s, 1, "a\x00", "1")
		if err := s.db.Set([]byte("\x01a\x00"), []byte("9"), pebble.Sync); err != nil {
			t.Fatal(err)
		}
		commit(t, s, 2, "b\x00", "1")
		v, err := s.Latest()
		if err != nil {
			t.Fatal(err)
		}
		defer v.Close()
		if _, _, err := v.Prove([]byte("a\x00")); !errors.Is(err, ErrCorrupt) {
			t.Errorf("Prove: %v", err)
		}
		if _, _, err := v.ProveRange(merkle.Range{}); !errors.Is(err, ErrCorrupt) {
			t.Errorf("ProveRange: %v", err)
		}
	})
}

func FuzzMeta(f *testing.F) {
	m := meta{chainID: "c", height: 3, root: merkle.Hash{1}, keys: 2}
	m.log.Append(merkle.Hash{5}, nil)
	f.Add(m.encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := decodeMeta(b)
		if err == nil && string(m.encode()) != string(b) {
			t.Fatalf("not canonical: %x", m.encode())
		}
	})
}
