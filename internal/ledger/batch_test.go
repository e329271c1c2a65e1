// SPDX-License-Identifier: Apache-2.0

package ledger

import (
	"context"
	"math/rand/v2"
	"testing"
	"time"

	"cityid"
	"cityid/merkle"
)

// naiveRoot is MTH of RFC 6962, section 2.1, as it stands there.
func naiveRoot(leaves []merkle.Hash) merkle.Hash {
	if len(leaves) == 1 {
		return leaves[0]
	}
	k := 1
	for k*2 < len(leaves) {
		k *= 2
	}
	return merkle.LogNodeHash(naiveRoot(leaves[:k]), naiveRoot(leaves[k:]))
}

// TestBatches appends, closes and opens again at random: batches cover all entries
// in order, their roots are those of RFC 6962, each follows the one before, and every
// entry of an anchored batch has a proof.
func TestBatches(t *testing.T) {
	for seed := range uint64(4) {
		rnd := rand.New(rand.NewPCG(seed, 7))
		size := 1 + rnd.IntN(12)
		f := newFixture(t, func(o *Options) { o.BatchSize = size })
		entries := map[uint64]Appended{}
		for range 60 {
			switch n := rnd.IntN(10); {
			case n == 0:
				f.reopen()
			case n == 1:
				ok(f.CloseBatch(t.Context(), rnd.IntN(2) == 0))(t)
			case n == 2:
				f.clock.pass(time.Duration(rnd.IntN(90)) * time.Second)
			case n == 3:
				e := ok(f.AppendFetched(t.Context(), fetched(t, agreement(1), uint64(len(entries)+1))))(t)
				entries[e.ID] = e
			default:
				e := f.serve(agreement(rnd.IntN(3)))
				entries[e.ID] = e
			}
		}
		list := anchorAll(t, f)
		next, previous := uint64(1), cityid.Digest{}
		for i, b := range list {
			if b.First != next || b.Leaves() < 1 || b.Leaves() > uint64(size) || b.Previous != previous || b.Sequence != uint64(i+1) {
				t.Fatalf("seed %d: batch %d of at most %d leaves from entry %d: %+v", seed, i+1, size, next, b)
			}
			var leaves []merkle.Hash
			for ; next <= b.Last; next++ {
				var salt []byte
				do(t, f.reads.QueryRow(`SELECT salt FROM content WHERE entry = ?`, next).Scan(&salt))
				leaves = append(leaves, LeafHash(cityid.Digest(salt), entries[next].Entry))
			}
			if root := BatchRoot(naiveRoot(leaves), uint64(len(leaves))); root != b.Root {
				t.Errorf("seed %d: batch %d has root %v, want %v", seed, i+1, b.Root, root)
			}
			previous = b.Root
		}
		if next != uint64(len(entries)+1) {
			t.Errorf("seed %d: %d entries, batches end before %d", seed, len(entries), next)
		}
		checkProofs(t, f, entries)
	}
}

func TestCloseBatch(t *testing.T) {
	f := newFixture(t, func(o *Options) { o.BatchSize = 3 })
	closeIt := func(what string, force, want bool) {
		t.Helper()
		if got := ok(f.CloseBatch(t.Context(), force))(t); got != want {
			t.Errorf("%s: closed %t", what, got)
		}
	}
	closeIt("empty", true, false)
	f.serve(agreement(1))
	f.clock.pass(59 * time.Second)
	f.serve(agreement(1))
	closeIt("too young", false, false)
	f.clock.pass(time.Second)
	closeIt("old enough", false, true)
	closeIt("empty again", true, false)
	f.serve(agreement(1))
	closeIt("forced", true, true)
	for range 3 {
		f.serve(agreement(1))
	}
	closeIt("full, and closed by itself", true, false)
	if s := f.Stats(); s.Waiting != 3 || s.Open != 0 || !s.OpenSince.IsZero() {
		t.Errorf("%+v", s)
	}
	for what, e := range map[uint64]uint64{1: 2, 2: 1, 3: 3} {
		if b := ok(f.Batches(t.Context(), 0, 10))(t)[3-what]; b.Leaves() != e || b.Bucket() != SizeBucket(e) {
			t.Errorf("batch %d: %+v", what, b)
		}
	}
}

func TestMarkAnchored(t *testing.T) {
	f := newFixture(t, func(o *Options) { o.BatchSize = 1 })
	ctx := t.Context()
	_, err := f.NextToAnchor(ctx)
	want(t, "nothing to anchor", err, ErrNotFound)
	_, err = f.Proof(ctx, 1)
	want(t, "proof of no entry", err, ErrNotFound)
	for range 3 {
		f.serve(agreement(1))
	}
	b := ok(f.NextToAnchor(ctx))(t)
	if a := b.Anchor(); a.Party != provider || a.Sequence != 1 || a.Root != b.Root || a.Bucket != 0 || !a.Prev.IsZero() {
		t.Errorf("%+v", a)
	}
	if b.Sequence != 1 || b.Party != provider || b.Log != "main" || b.Anchored != 0 {
		t.Errorf("%+v", b)
	}
	_, err = f.Proof(ctx, 1)
	want(t, "proof before it is anchored", err, ErrWaiting)
	now := f.clock.second()
	list := ok(f.Batches(ctx, 0, 3))(t)
	want(t, "the second before the first", f.MarkAnchored(ctx, 2, list[1].Root, fill(1), 5, now), ErrConflict)
	want(t, "another root", f.MarkAnchored(ctx, 1, fill(3), fill(1), 5, now), ErrConflict)
	want(t, "no such batch", f.MarkAnchored(ctx, 4, fill(3), fill(1), 5, now), ErrNotFound)
	want(t, "no time", f.MarkAnchored(ctx, 1, b.Root, fill(1), 5, 0), ErrInvalid)
	want(t, "no height", f.MarkAnchored(ctx, 1, b.Root, fill(1), 0, now), ErrInvalid)
	for range 2 {
		do(t, f.MarkAnchored(ctx, 1, b.Root, fill(1), 5, now))
	}
	if s := f.Stats(); s.Waiting != 2 || s.Anchored != 1 {
		t.Errorf("%+v", s)
	}
	f.reopen()
	b = ok(f.NextToAnchor(ctx))(t)
	if s := f.Stats(); b.Sequence != 2 || s.Waiting != 2 {
		t.Errorf("%+v, %+v", b, s)
	}
	ok(f.Proof(ctx, 1))(t)
	_, err = f.Proof(ctx, 2)
	want(t, "proof of the second", err, ErrWaiting)
	if b := ok(f.Batches(ctx, 2, 5))(t); len(b) != 1 || b[0].Tx != fill(1) || b[0].Height != 5 || b[0].Anchored != now {
		t.Errorf("%+v", b)
	}
}

// TestProofDamaged changes a salt on the disk: no proof is given that does not hold.
func TestProofDamaged(t *testing.T) {
	f := newFixture(t)
	f.serve(agreement(1))
	f.serve(agreement(1))
	anchorAll(t, f)
	ok(f.writer.conn.ExecContext(context.Background(), `UPDATE content SET salt = zeroblob(32) WHERE entry = 2`))(t)
	ok(f.Proof(t.Context(), 1))(t)
	_, err := f.Proof(t.Context(), 2)
	want(t, "another salt", err, ErrDamaged)
}

// TestTreeCache keeps few trees, and none but the latest when they are large.
func TestTreeCache(t *testing.T) {
	f := newFixture(t, func(o *Options) { o.BatchSize = 1 })
	for range 3 {
		f.serve(agreement(1))
	}
	for _, b := range anchorAll(t, f) {
		for range 2 {
			ok(f.trees.get(t.Context(), f.reads, &b))(t)
		}
	}
	if len(f.trees.trees) != 3 {
		t.Errorf("%d trees", len(f.trees.trees))
	}
	f.trees.trees[2].levels[0] = make([]merkle.Hash, cachedLeaves)
	first := ok(f.Batches(t.Context(), 2, 1))(t)[0]
	ok(f.trees.get(t.Context(), f.reads, &first))(t)
	if len(f.trees.trees) != 3 || f.trees.trees[2].first != 1 {
		t.Errorf("%d trees", len(f.trees.trees))
	}
	f.serve(agreement(1))
	last := anchorAll(t, f)[0]
	ok(f.trees.get(t.Context(), f.reads, &last))(t)
	if len(f.trees.trees) != 2 {
		t.Errorf("%d trees beside a large one", len(f.trees.trees)-1)
	}
}
