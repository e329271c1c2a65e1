// SPDX-License-Identifier: Apache-2.0

package store

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"cityid/merkle"
)

// restorable is a state to restore: its keys in order, and its block log.
func restorable(t *testing.T, n int) (list []Record, root merkle.Hash, log merkle.Log) {
	t.Helper()
	var b merkle.Builder
	for i := range n {
		r := Record{fmt.Appendf(nil, "key %06d\x00", i), fmt.Appendf(nil, "value %d", i)}
		if err := b.Add(r.Key, merkle.ValueHash(r.Value)); err != nil {
			t.Fatal(err)
		}
		list = append(list, r)
		log.Append(merkle.LogLeafHash(r.Key), func(uint8, uint64, merkle.Hash) {})
	}
	return list, b.Tree().Root(), log
}

func TestRestore(t *testing.T) {
	backends(t, func(t *testing.T, open opener) {
		s := open(t, Options{})
		commit(t, s, 1, "old\x00", "value")
		before, err := s.Latest()
		if err != nil {
			t.Fatal(err)
		}
		list, root, log := restorable(t, 1000)
		r, err := s.BeginRestore()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.BeginRestore(); !errors.Is(err, ErrRestoring) {
			t.Errorf("a second restore: %v", err)
		}
		b := mustBegin(t, s)
		if err := b.Set([]byte("x\x00"), []byte("y")); err != nil {
			t.Fatal(err)
		}
		if err := b.Commit(2); !errors.Is(err, ErrRestoring) {
			t.Errorf("a commit meanwhile: %v", err)
		}
		b.Discard()
		for i := 0; i < len(list); i += 100 {
			if err := r.Add(list[i : i+100]); err != nil {
				t.Fatal(err)
			}
		}
		if s.Height() != 0 || !s.Root().IsZero() {
			t.Errorf("while it is restored the state is at height %d", s.Height())
		}
		if err := r.Commit(70, root, log, []Record{{[]byte("side"), []byte("entry")}}); err != nil {
			t.Fatal(err)
		}
		if got, err := before.Get([]byte("old\x00")); err != nil || string(got) != "value" {
			t.Errorf("a view held shows %q, %v", got, err)
		}
		before.Close()
		check := func(s *Store) {
			t.Helper()
			v, err := s.Latest()
			if err != nil {
				t.Fatal(err)
			}
			defer v.Close()
			if v.Height() != 70 || v.Root() != root || v.LogSize() != log.Size() || v.LogRoot() != log.Root() {
				t.Fatalf("restored to height %d, root %v, log of %d", v.Height(), v.Root(), v.LogSize())
			}
			if got, err := v.Get([]byte("old\x00")); err != nil || got != nil {
				t.Errorf("what was there before is still there: %q, %v", got, err)
			}
			if got, err := v.Get(list[500].Key); err != nil || string(got) != "value 500" {
				t.Errorf("a value: %q, %v", got, err)
			}
			if got, err := s.GetSide([]byte("side")); err != nil || string(got) != "entry" {
				t.Errorf("a side entry: %q, %v", got, err)
			}
		}
		check(s)
		mustClose(t, s)
		s = open(t, Options{})
		check(s)
		// What comes after is proven by the log, although not all of it is there.
		b = mustBegin(t, s)
		for i := range 100 {
			if err := b.AppendLog(merkle.LogLeafHash([]byte{byte(i)})); err != nil {
				t.Fatal(err)
			}
		}
		if err := b.Commit(71); err != nil {
			t.Fatal(err)
		}
		v, err := s.Latest()
		if err != nil {
			t.Fatal(err)
		}
		defer mustClose(t, s)
		defer v.Close()
		for i := range uint64(100) {
			p, err := v.ProveInclusion(log.Size()+i, v.LogSize())
			if err != nil {
				t.Fatal(err)
			}
			if err := merkle.CheckInclusion(v.LogRoot(), log.Size()+i, v.LogSize(), merkle.LogLeafHash([]byte{byte(i)}), p); err != nil {
				t.Fatal(err)
			}
		}
	})
}

func TestRestoreRefuses(t *testing.T) {
	s, err := OpenMemory(Options{ChainID: testChain})
	if err != nil {
		t.Fatal(err)
	}
	defer mustClose(t, s)
	list, root, log := restorable(t, 10)
	for name, add := range map[string][]Record{"less": list[:9], "in disorder": {list[1], list[0]}, "changed": append([]Record{{list[0].Key, nil}}, list[1:]...)} {
		r, err := s.BeginRestore()
		if err != nil {
			t.Fatal(err)
		}
		if err = r.Add(add); err == nil {
			err = r.Commit(5, root, log, nil)
		}
		if err == nil {
			t.Errorf("%s: restored", name)
		}
		if err := r.Discard(); err != nil {
			t.Fatal(err)
		}
	}
	commit(t, s, 1, "key\x00", "value") // the store is empty and usable
}

// TestRestoreCrash lets the machine lose power in the middle of a restore.
func TestRestoreCrash(t *testing.T) {
	list, root, log := restorable(t, 2000)
	for seed := range uint64(12) {
		fs := newCrashFS(t)
		s := mustOpen(t, "state", Options{FS: fs})
		commit(t, s, 1, "old\x00", "value")
		r, err := s.BeginRestore()
		if err != nil {
			t.Fatal(err)
		}
		done := seed%3 == 0
		for i := 0; i < len(list); i += 500 {
			if err := r.Add(list[i : i+500]); err != nil {
				t.Fatal(err)
			}
		}
		if done {
			if err := r.Commit(9, root, log, nil); err != nil {
				t.Fatal(err)
			}
		}
		after := fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 50, RNG: rand.New(rand.NewPCG(seed, 1))})
		again := mustOpen(t, "state", Options{FS: after})
		want := merkle.Hash{}
		if done {
			want = root
		}
		if again.Root() != want {
			t.Errorf("seed %d: after the crash the root is %v, want %v", seed, again.Root(), want)
		}
		if !done {
			commit(t, again, 1, "key\x00", "value")
		}
		mustClose(t, again)
		mustClose(t, mustOpen(t, "state", Options{FS: after}))
		_ = r.Discard()
		mustClose(t, s)
	}
}
