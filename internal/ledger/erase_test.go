// SPDX-License-Identifier: Apache-2.0

package ledger

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestErase(t *testing.T) {
	f := newFixture(t, func(o *Options) { o.BatchSize = 3 })
	ctx, a := t.Context(), agreement(1)
	entries := map[uint64]Appended{}
	add := func(n int) {
		t.Helper()
		for range n {
			e := f.serve(a)
			entries[e.ID] = e
		}
	}
	add(3)
	got := ok(f.AppendFetched(ctx, fetched(t, a, 1)))(t)
	add(2)
	ok(f.Acknowledge(ctx, DirectionServed, acknowledgementOf(t, f, a, entries[1].Hash), message(t, "ack 1"), nil))(t)
	ok(f.Acknowledge(ctx, DirectionServed, acknowledgementOf(t, f, a, entries[2].Hash, entries[6].Hash), message(t, "ack 2"), nil))(t)
	first := ok(f.NextToAnchor(ctx))(t)
	do(t, f.MarkAnchored(ctx, 1, first.Root, fill(1), 5, f.clock.second()))
	f.clock.pass(time.Hour)
	middle := f.clock.now()
	add(3)
	if n := ok(f.Erase(ctx, middle))(t); n != 3 {
		t.Errorf("%d erased, though the second batch is not anchored", n)
	}
	for id := range uint64(3) {
		_, err := f.Proof(ctx, id+1)
		want(t, "proof of an erased entry", err, ErrErased)
		_, err = f.Entry(ctx, id+1)
		want(t, "an erased entry", err, ErrErased)
		_, err = f.ByHash(ctx, DirectionServed, entries[id+1].Hash)
		want(t, "hash of an erased entry", err, ErrNotFound)
		want(t, "a proof for an erased entry", f.StorePeerProof(ctx, id+1, ok(exampleProofs(t, 1)[0].Encode())(t)), ErrErased)
		if n := ok(f.ByNumber(ctx, "main", id+1))(t); n != id+1 {
			t.Errorf("number %d was entry %d", id+1, n)
		}
	}
	_, err := f.Entry(ctx, 10)
	want(t, "an entry that never was", err, ErrNotFound)
	_, err = f.Acknowledge(ctx, DirectionServed, acknowledgementOf(t, f, a, entries[3].Hash), message(t, "ack 3"), nil)
	want(t, "acknowledging an erased entry", err, ErrNotFound)
	if n := f.Unacknowledged(a, DirectionServed); n != 4 || f.Stats().Unacknowledged != 5 {
		t.Errorf("%d await, %+v", n, f.Stats())
	}
	if _, err := acknowledgement(ctx, f.reads, 1); err == nil {
		t.Error("the acknowledgement of an erased entry is kept")
	}
	if d := ok(f.Entry(ctx, 6))(t); d.Acknowledgement == nil || string(d.Acknowledgement.Message.Base) != "ack 2" {
		t.Errorf("an acknowledgement that names entries that are kept: %+v", d.Acknowledgement)
	}
	anchorAll(t, f)
	if n := ok(f.Erase(ctx, middle))(t); n != 3 {
		t.Errorf("%d erased of those before an hour ago", n)
	}
	if n := ok(f.Erase(ctx, middle))(t); n != 0 {
		t.Errorf("%d erased again", n)
	}
	list := ok(f.Batches(ctx, 0, 10))(t)
	if len(list) != 3 || list[2].Erased.IsZero() || list[1].Erased.IsZero() || !list[0].Erased.IsZero() || list[2].Root != first.Root || list[2].Leaves() != 3 {
		t.Errorf("%+v", list)
	}
	if u := ok(f.Usage(ctx, a, DirectionServed, dayOf(f.clock.second())))(t); u.Requests != 8 {
		t.Errorf("usage after erasing: %+v", u)
	}
	f.clock.pass(time.Hour)
	ok(f.Erase(ctx, f.clock.now()))(t)
	f.reopen()
	if e := f.serve(a); e.ID != 10 || e.Number != 10 {
		t.Errorf("after all was erased: %+v", e)
	}
	do(t, f.Close())
	third := entries[3].Hash
	checkGone(t, f, "ack 1", "request 1", "/data/x?2", string(third[:]), string(got.Entry))
	f.open()
}

// checkGone looks for something in all files of the ledger.
func checkGone(t *testing.T, f *fixture, texts ...string) {
	t.Helper()
	for _, file := range ok(os.ReadDir(f.opts.Dir))(t) {
		b := ok(os.ReadFile(filepath.Join(f.opts.Dir, file.Name())))(t)
		for _, text := range texts {
			if bytes.Contains(b, []byte(text)) {
				t.Errorf("%s still has %q", file.Name(), text)
			}
		}
	}
}

// TestEraseInterrupted leaves a batch half erased, as a crash does, and goes on.
func TestEraseInterrupted(t *testing.T) {
	f := newFixture(t, func(o *Options) { o.BatchSize = 4 })
	ctx := t.Context()
	for range 6 {
		f.serve(agreement(1))
	}
	anchorAll(t, f)
	f.clock.pass(time.Minute)
	do(t, f.write(ctx, &job{apply: func(g *group) error {
		if _, err := g.w.conn.ExecContext(ctx, `UPDATE batch SET erased = 5 WHERE sequence = 1`); err != nil {
			return err
		}
		_, err := g.eraseSome(2)
		return err
	}}))
	for _, id := range []uint64{2, 3} {
		_, err := f.Proof(ctx, id)
		want(t, "proof in a batch that is half erased", err, ErrErased)
	}
	f.reopen()
	if n := ok(f.Erase(ctx, time.Time{}))(t); n != 2 {
		t.Errorf("%d erased", n)
	}
	ok(f.Proof(ctx, 5))(t)
	if n := f.Unacknowledged(agreement(1), DirectionServed); n != 2 {
		t.Errorf("%d await", n)
	}
}
