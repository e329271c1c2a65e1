// SPDX-License-Identifier: Apache-2.0

package store

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"cityid/merkle"
)

const testChain = "cityid-test-0001"

// opener opens the same database each time it is called.
type opener func(t *testing.T, o Options) *Store

// backends are the places a database can lie in; each test runs over all.
func backends(t *testing.T, test func(t *testing.T, open opener)) {
	t.Run("memory", func(t *testing.T) {
		fs := newCrashFS(t)
		test(t, func(t *testing.T, o Options) *Store {
			o.FS = fs
			return mustOpen(t, "state", o)
		})
	})
	t.Run("disk", func(t *testing.T) {
		dir := t.TempDir()
		test(t, func(t *testing.T, o Options) *Store { return mustOpen(t, dir, o) })
	})
}

func mustOpen(t *testing.T, dir string, o Options) *Store {
	t.Helper()
	if o.ChainID == "" {
		o.ChainID = testChain
	}
	s, err := Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func mustBegin(t testing.TB, s *Store) *Batch {
	t.Helper()
	b, err := s.Begin()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func mustClose(t testing.TB, s *Store) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// commit writes pairs, "" for a value to delete, as one version.
func commit(t testing.TB, s *Store, height uint64, pairs ...string) {
	t.Helper()
	b := mustBegin(t, s)
	for i := 0; i < len(pairs); i += 2 {
		err := b.Set([]byte(pairs[i]), []byte(pairs[i+1]))
		if pairs[i+1] == "" {
			err = b.Delete([]byte(pairs[i]))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := b.Commit(height); err != nil {
		t.Fatal(err)
	}
}

// dump returns all that a Reader holds in [lo, hi).
func dump(t testing.TB, r Reader, lo, hi []byte) map[string]string {
	t.Helper()
	m := map[string]string{}
	last := ""
	err := r.Scan(lo, hi, func(k, v []byte) bool {
		if len(m) > 0 && string(k) <= last {
			t.Errorf("scan yields %q after %q", k, last)
		}
		last = string(k)
		m[last] = string(v)
		return true
	})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func rootOf(t testing.TB, m map[string]string) merkle.Hash {
	t.Helper()
	var b merkle.Builder
	for _, k := range slices.Sorted(maps.Keys(m)) {
		if err := b.Add([]byte(k), merkle.ValueHash([]byte(m[k]))); err != nil {
			t.Fatal(err)
		}
	}
	return b.Tree().Root()
}

func TestModel(t *testing.T) {
	backends(t, func(t *testing.T, open opener) {
		r := rand.New(rand.NewPCG(1, 2))
		s := open(t, Options{Retain: 5})
		model, side := map[string]string{}, map[string]string{}
		var log merkle.Log
		height := uint64(0)
		type kept struct {
			view  *View
			model map[string]string
		}
		var views []kept
		for range 120 {
			b := mustBegin(t, s)
			staged, stagedSide := maps.Clone(model), maps.Clone(side)
			stagedLog := log.Clone()
			writeRandom(t, r, b, staged, 3)
			if r.IntN(2) == 0 {
				k := fmt.Sprint("side", r.IntN(5))
				if r.IntN(3) == 0 {
					b.DeleteSide([]byte(k))
					delete(stagedSide, k)
				} else {
					b.SetSide([]byte(k), []byte{byte(height)})
					stagedSide[k] = string([]byte{byte(height)})
				}
				if got, err := b.GetSide([]byte(k)); err != nil || string(got) != stagedSide[k] {
					t.Fatalf("staged side entry %q = %q, %v", k, got, err)
				}
			}
			if r.IntN(2) == 0 {
				leaf := merkle.LogLeafHash([]byte{byte(height)})
				b.AppendLog(leaf)
				stagedLog.Append(leaf, nil)
			}
			if got, err := b.Root(); err != nil || got != rootOf(t, staged) {
				t.Fatalf("staged root %v, %v", got, err)
			}
			writeRandom(t, r, b, staged, 1) // a batch goes on after Root
			if diff := cmp.Diff(staged, dump(t, b, nil, nil)); diff != "" {
				t.Fatal(diff)
			}
			if b.LogSize() != stagedLog.Size() || b.LogRoot() != stagedLog.Root() {
				t.Fatal("staged log is wrong")
			}
			if r.IntN(4) == 0 {
				b.Discard()
			} else {
				height += 1 + uint64(r.IntN(2))
				if err := b.Commit(height); err != nil {
					t.Fatal(err)
				}
				model, side, log = staged, stagedSide, stagedLog
			}
			v, err := s.Latest()
			if err != nil {
				t.Fatal(err)
			}
			checkView(t, r, v, model, height)
			if v.LogSize() != log.Size() || v.LogRoot() != log.Root() {
				t.Fatal("log is wrong")
			}
			views = append(views, kept{v, model})
			if len(views) > 10 {
				i := r.IntN(len(views))
				views[i].view.Close()
				views = slices.Delete(views, i, i+1)
			}
			if r.IntN(8) == 0 {
				for _, k := range views {
					checkView(t, r, k.view, k.model, k.view.Height())
					k.view.Close()
				}
				views = nil
				mustClose(t, s)
				s = open(t, Options{Retain: 5})
			}
			for i := range 5 {
				k := fmt.Sprint("side", i)
				if got, err := s.GetSide([]byte(k)); err != nil || string(got) != side[k] {
					t.Fatalf("side entry %q = %q, %v", k, got, err)
				}
			}
		}
		for _, k := range views {
			k.view.Close()
		}
		mustClose(t, s)
	})
}

// writeRandom writes to a batch, partly through overlays, some of them dropped.
func writeRandom(t *testing.T, r *rand.Rand, w ReadWriter, model map[string]string, depth int) {
	t.Helper()
	for range r.IntN(12) {
		if depth > 0 && r.IntN(4) == 0 {
			o, inner := NewOverlay(w), maps.Clone(model)
			writeRandom(t, r, o, inner, depth-1)
			lo, hi := randomBounds(r)
			want := maps.Clone(inner)
			maps.DeleteFunc(want, func(k, _ string) bool { return k < string(lo) || hi != nil && k >= string(hi) })
			if diff := cmp.Diff(want, dump(t, o, lo, hi)); diff != "" {
				t.Fatalf("[%q, %q): %s", lo, hi, diff)
			}
			if r.IntN(2) == 0 {
				if err := o.ApplyTo(w); err != nil {
					t.Fatal(err)
				}
				clear(model)
				maps.Copy(model, inner)
			}
			continue
		}
		k := randomKey(r)
		if r.IntN(3) == 0 {
			if err := w.Delete([]byte(k)); err != nil {
				t.Fatal(err)
			}
			delete(model, k)
		} else {
			v := strings.Repeat("v", r.IntN(4))
			if err := w.Set([]byte(k), []byte(v)); err != nil {
				t.Fatal(err)
			}
			model[k] = v
		}
		got, err := w.Get([]byte(k))
		want, exists := model[k]
		if err != nil || string(got) != want || (got != nil) != exists {
			t.Fatalf("Get(%q) = %q, %v; want %q, %v", k, got, err, want, exists)
		}
	}
}

func randomKey(r *rand.Rand) string {
	return "c" + strings.Repeat(".1", r.IntN(3)) + string("ab/"[r.IntN(3)]) + string("xyz"[r.IntN(3)]) + "\x00"
}

func randomBounds(r *rand.Rand) (lo, hi []byte) {
	k := randomKey(r)
	lo = []byte(k[:r.IntN(len(k))])
	if r.IntN(3) > 0 {
		k = randomKey(r)
		hi = []byte(k[:r.IntN(len(k)+1)])
	}
	return lo, hi
}

func checkView(t *testing.T, r *rand.Rand, v *View, model map[string]string, height uint64) {
	t.Helper()
	if v.Root() != rootOf(t, model) || v.Height() != height || v.Len() != len(model) {
		t.Fatalf("view of height %d: root %v, %d keys", v.Height(), v.Root(), v.Len())
	}
	if diff := cmp.Diff(model, dump(t, v, nil, nil)); diff != "" {
		t.Fatal(diff)
	}
	if len(model) == 0 {
		return
	}
	for range 3 {
		k := []byte(randomKey(r))
		want, exists := model[string(k)]
		got, err := v.Get(k)
		if err != nil || string(got) != want || (got != nil) != exists {
			t.Fatalf("Get(%q) = %q, %v", k, got, err)
		}
		p, value, err := v.Prove(k)
		if err != nil || p.Exists() != exists || string(value) != want || (value != nil) != exists {
			t.Fatalf("Prove(%q) = %q, %v", k, value, err)
		}
		if exists {
			err = merkle.Check(v.Root(), k, value, p)
		} else {
			err = merkle.CheckAbsent(v.Root(), k, p)
		}
		if err != nil {
			t.Fatal(err)
		}
		rg := merkle.Range{Lo: []byte("c"), Hi: k, Shallow: r.IntN(2) == 0}
		rp, records, err := v.ProveRange(rg)
		if err != nil {
			t.Fatal(err)
		}
		var values [][]byte
		for _, rec := range records {
			if model[string(rec.Key)] != string(rec.Value) {
				t.Fatalf("range yields %q for %q", rec.Value, rec.Key)
			}
			values = append(values, rec.Value)
		}
		if _, err := merkle.CheckRange(v.Root(), rg, values, rp); err != nil {
			t.Fatal(err)
		}
	}
}

func TestRetention(t *testing.T) {
	backends(t, func(t *testing.T, open opener) {
		s := open(t, Options{Retain: 3})
		for h := uint64(1); h <= 20; h++ {
			if h%2 == 1 { // every other height changes nothing
				commit(t, s, h)
			} else {
				commit(t, s, h, "k\x00", fmt.Sprint(h))
			}
		}
		if oldest, newest := s.Retained(); oldest != 16 || newest != 20 {
			t.Errorf("retained %d to %d", oldest, newest)
		}
		for h, want := range map[uint64]string{16: "16", 17: "16", 18: "18", 19: "18", 20: "20"} {
			v, err := s.At(h)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := v.Get([]byte("k\x00")); err != nil || string(got) != want || v.Height() != h {
				t.Errorf("height %d holds %q, %v", h, got, err)
			}
			v.Close()
		}
		if _, err := s.At(15); !errors.Is(err, ErrNotRetained) || !strings.Contains(err.Error(), "16 to 20") {
			t.Errorf("At(15): %v", err)
		}
		if _, err := s.At(21); !errors.Is(err, ErrNotCommitted) {
			t.Errorf("At(21): %v", err)
		}
		// A view outlives its version's retention.
		old, err := s.At(16)
		if err != nil {
			t.Fatal(err)
		}
		for h := uint64(21); h <= 30; h++ {
			commit(t, s, h, "k\x00", fmt.Sprint(h))
		}
		if got, err := old.Get([]byte("k\x00")); err != nil || string(got) != "16" {
			t.Errorf("old view: %q, %v", got, err)
		}
		if err := s.Close(); !errors.Is(err, ErrViewsOpen) {
			t.Errorf("Close with a view: %v", err)
		}
		if _, err := s.Latest(); !errors.Is(err, ErrClosed) {
			t.Errorf("Latest: %v", err)
		}
		old.Close()
		old.Close()
		mustClose(t, s)
		mustClose(t, s)
		if _, err := old.Get([]byte("k\x00")); !errors.Is(err, ErrClosed) {
			t.Errorf("Get after Close: %v", err)
		}
		// After a start only the last height is there.
		s = open(t, Options{})
		if oldest, newest := s.Retained(); oldest != 30 || newest != 30 {
			t.Errorf("after reopening: %d to %d", oldest, newest)
		}
		mustClose(t, s)
	})
}

func TestBatchRules(t *testing.T) {
	s := mustOpen(t, "state", Options{FS: newCrashFS(t)})
	defer mustClose(t, s)
	commit(t, s, 5, "a\x00", "1", "b\x00", "2")
	one, two := mustBegin(t, s), mustBegin(t, s)
	one.Set([]byte("a\x00"), []byte("one"))
	two.Set([]byte("a\x00"), []byte("two"))
	if err := one.Commit(5); !errors.Is(err, ErrHeight) {
		t.Errorf("same height: %v", err)
	}
	if err := one.Commit(6); err != nil {
		t.Error(err)
	}
	if err := two.Commit(7); !errors.Is(err, ErrStale) {
		t.Errorf("stale batch: %v", err)
	}
	if got, _ := two.Get([]byte("a\x00")); string(got) != "two" {
		t.Errorf("stale batch reads %q", got)
	}
	two.Discard()
	two.Discard()
	for name, err := range map[string]error{
		"Commit": one.Commit(8), "Set": one.Set([]byte("a\x00"), nil), "Delete": two.Delete([]byte("a\x00")),
		"SetSide": one.SetSide(nil, nil), "AppendLog": two.AppendLog(merkle.Hash{}),
	} {
		if !errors.Is(err, ErrClosed) {
			t.Errorf("%s on an ended batch: %v", name, err)
		}
	}
	b := mustBegin(t, s)
	defer b.Discard()
	if err := b.Set([]byte("no zero"), nil); !errors.Is(err, merkle.ErrKey) {
		t.Errorf("bad key: %v", err)
	}
	if err := b.Set([]byte("a\x00"), make([]byte, MaxValueSize+1)); !errors.Is(err, ErrTooLarge) {
		t.Errorf("large value: %v", err)
	}
	if err := b.Set([]byte("a\x00"), make([]byte, MaxValueSize)); err != nil {
		t.Error(err)
	}
	err := b.Scan(nil, nil, func(k, _ []byte) bool { return b.Set(bytes.Clone(k), nil) == nil })
	if !errors.Is(err, ErrWriteDuringScan) {
		t.Errorf("write during a scan: %v", err)
	}
	// A key may take the place of one it clashes with, but not stand beside it.
	b.Set([]byte("b\x00\x00"), []byte("x"))
	if _, err := b.Root(); !errors.Is(err, merkle.ErrClash) {
		t.Errorf("clash: %v", err)
	}
	if err := b.Commit(7); !errors.Is(err, merkle.ErrClash) {
		t.Errorf("clash: %v", err)
	}
	b.Delete([]byte("b\x00"))
	if _, err := b.Root(); err != nil {
		t.Errorf("replacement: %v", err)
	}
}

func TestMust(t *testing.T) {
	s := mustOpen(t, "state", Options{FS: newCrashFS(t)})
	defer mustClose(t, s)
	b := mustBegin(t, s)
	defer b.Discard()
	m := Must{b}
	m.Set([]byte("a\x00"), []byte("1"))
	m.Scan(nil, nil, func(k, v []byte) bool {
		if string(k) != "a\x00" || string(v) != "1" {
			t.Errorf("%q: %q", k, v)
		}
		return true
	})
	m.Delete([]byte("a\x00"))
	if m.Get([]byte("a\x00")) != nil {
		t.Error("deleted key is there")
	}
	defer func() {
		if err, ok := recover().(error); !ok || !errors.Is(err, merkle.ErrKey) {
			t.Errorf("panic value %v", err)
		}
	}()
	m.Set(nil, nil)
}

func TestLogProofs(t *testing.T) {
	backends(t, func(t *testing.T, open opener) {
		s := open(t, Options{})
		var leaves, roots []merkle.Hash
		roots = append(roots, merkle.Hash{})
		for h := uint64(1); h <= 12; h++ {
			b := mustBegin(t, s)
			for range h % 3 {
				leaf := merkle.LogLeafHash([]byte{byte(len(leaves))})
				leaves = append(leaves, leaf)
				b.AppendLog(leaf)
				roots = append(roots, b.LogRoot())
			}
			if err := b.Commit(h); err != nil {
				t.Fatal(err)
			}
		}
		mustClose(t, s)
		s = open(t, Options{})
		v, err := s.Latest()
		if err != nil {
			t.Fatal(err)
		}
		n := v.LogSize()
		if n != uint64(len(leaves)) || v.LogRoot() != roots[n] {
			t.Fatalf("log of %d", n)
		}
		for size := uint64(1); size <= n; size++ {
			for i := range size {
				p, err := v.ProveInclusion(i, size)
				if err == nil {
					err = merkle.CheckInclusion(roots[size], i, size, leaves[i], p)
				}
				if err != nil {
					t.Fatal(err)
				}
			}
			p, err := v.ProveConsistency(size, n)
			if err == nil {
				err = merkle.CheckConsistency(size, n, roots[size], roots[n], p)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		if _, err := v.ProveInclusion(0, n+1); err == nil {
			t.Error("a proof about a log that is not there")
		}
		if leaf, err := v.LogLeaf(3); err != nil || leaf != leaves[3] {
			t.Errorf("LogLeaf(3) = %v, %v", leaf, err)
		}
		if _, err := v.LogLeaf(n); err == nil {
			t.Error("LogLeaf past the end")
		}
		v.Close()
		mustClose(t, s)
	})
}

func TestOpenErrors(t *testing.T) {
	dir := t.TempDir() + "/state"
	if _, err := Open(dir, Options{}); !errors.Is(err, ErrNotExist) {
		t.Errorf("no folder: %v", err)
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(dir, Options{}); !errors.Is(err, ErrNotExist) {
		t.Errorf("empty folder: %v", err)
	}
	s := mustOpen(t, dir, Options{})
	if _, err := Open(dir, Options{ChainID: testChain}); !errors.Is(err, ErrLocked) {
		t.Errorf("second opening: %v", err)
	}
	commit(t, s, 1, "a\x00", "1")
	mustClose(t, s)
	if _, err := Open(dir, Options{ChainID: "other"}); !errors.Is(err, ErrForeignChain) {
		t.Errorf("foreign chain: %v", err)
	}
	s, err := Open(dir, Options{})
	if err != nil || s.ChainID() != testChain || s.Height() != 1 {
		t.Fatalf("no chain named: %v", err)
	}
	mustClose(t, s)
	if os.Geteuid() != 0 { // permissions do not bind root
		if err := os.Chmod(dir, 0o500); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(dir, Options{}); !errors.Is(err, ErrReadOnly) {
			t.Errorf("read-only folder: %v", err)
		}
		os.Chmod(dir, 0o700)
	}
	if _, err := Open(dir, Options{ChainID: strings.Repeat("x", MaxChainID+1)}); !errors.Is(err, ErrTooLarge) {
		t.Errorf("long chain id: %v", err)
	}
}

func TestProgress(t *testing.T) {
	fs := newCrashFS(t)
	s := mustOpen(t, "state", Options{FS: fs})
	b := mustBegin(t, s)
	for i := range 3000 {
		b.Set(fmt.Appendf(nil, "k%05d\x00", i), make([]byte, 1000))
	}
	if err := b.Commit(1); err != nil {
		t.Fatal(err)
	}
	mustClose(t, s)
	var seen []uint64
	s = mustOpen(t, "state", Options{FS: fs, Progress: func(done, total uint64) {
		if total != 3000 {
			t.Errorf("total %d", total)
		}
		seen = append(seen, done)
	}})
	mustClose(t, s)
	if len(seen) < 2 || !slices.IsSorted(seen) || seen[len(seen)-1] != 3000 {
		t.Errorf("progress %d", seen)
	}
}
