// SPDX-License-Identifier: Apache-2.0

package ledger

import (
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"cityid"
)

func acknowledgementOf(t testing.TB, f *fixture, a cityid.Digest, entries ...cityid.Digest) []byte {
	t.Helper()
	ack := NewAcknowledgement(a, entries, f.clock.second())
	return ok(ack.Encode())(t)
}

func TestAcknowledge(t *testing.T) {
	f := newFixture(t)
	ctx, a, b := t.Context(), agreement(1), agreement(2)
	var mine []cityid.Digest
	for range 4 {
		mine = append(mine, f.serve(a).Hash)
	}
	other := f.serve(b).Hash
	got := ok(f.AppendFetched(ctx, fetched(t, a, 1)))(t).Hash
	counts := func(what string, wantA, wantB, wantFetched int) {
		t.Helper()
		x, y, z := f.Unacknowledged(a, DirectionServed), f.Unacknowledged(b, DirectionServed), f.Unacknowledged(a, DirectionFetched)
		if x != wantA || y != wantB || z != wantFetched || f.Stats().Unacknowledged != x+y+z {
			t.Errorf("%s: %d, %d and %d await, want %d, %d, %d; %+v", what, x, y, z, wantA, wantB, wantFetched, f.Stats())
		}
	}
	counts("at first", 4, 1, 1)
	m := message(t, "POST /acknowledgements")
	for what, body := range map[string][]byte{
		"a foreign one":              acknowledgementOf(t, f, a, mine[0], other),
		"an unknown one":             acknowledgementOf(t, f, a, mine[0], fill(1)),
		"one of the other direction": acknowledgementOf(t, f, a, mine[0], got),
	} {
		_, err := f.Acknowledge(ctx, DirectionServed, body, m, nil)
		want(t, what, err, ErrNotFound)
	}
	_, err := f.Acknowledge(ctx, DirectionServed, []byte{1}, m, nil)
	want(t, "a broken one", err, ErrInvalid)
	_, err = f.Acknowledge(ctx, DirectionServed, acknowledgementOf(t, f, a, mine[0]), Message{}, nil)
	want(t, "one without a message", err, ErrInvalid)
	_, err = f.Acknowledge(ctx, DirectionServed, acknowledgementOf(t, f, a, mine[0]), m, &Nonce{})
	want(t, "one with a broken nonce", err, ErrInvalid)
	counts("after refusals", 4, 1, 1)
	if n := ok(f.Acknowledge(ctx, DirectionServed, acknowledgementOf(t, f, a, mine[0], mine[2]), m, nil))(t); n != 2 {
		t.Errorf("%d marked", n)
	}
	counts("two acknowledged", 2, 1, 1)
	if n := ok(f.Acknowledge(ctx, DirectionServed, acknowledgementOf(t, f, a, mine[0], mine[1]), m, nil))(t); n != 1 {
		t.Errorf("%d marked", n)
	}
	if n := ok(f.Acknowledge(ctx, DirectionServed, acknowledgementOf(t, f, a, mine[0], mine[1]), m, nil))(t); n != 0 {
		t.Errorf("%d marked", n)
	}
	ok(f.Acknowledge(ctx, DirectionFetched, acknowledgementOf(t, f, a, got), m, nil))(t)
	counts("four acknowledged", 1, 1, 0)
	f.reopen()
	counts("after opening again", 1, 1, 0)
	if list := f.AwaitingAcknowledgement(a, DirectionServed, 10); !slices.Equal(list, mine[3:]) {
		t.Errorf("%v await", list)
	}
	if list := f.AwaitingAgreements(DirectionServed); len(list) != 2 || slices.Contains(f.AwaitingAgreements(DirectionFetched), a) {
		t.Errorf("agreements %v", list)
	}
	if s := ok(acknowledgement(ctx, f.reads, 1))(t); len(s.Body) == 0 || s.Message.Hash() != m.Hash() {
		t.Errorf("%+v", s)
	}
}

// TestAwaits says what needs an acknowledgement, and in which order.
func TestAwaits(t *testing.T) {
	f := newFixture(t)
	a := agreement(1)
	s := Served{Agreement: a, Request: message(t, "x")}
	ok(f.AppendServed(t.Context(), s, func(n uint64) (Answer, error) { return f.answer(&s, n, 403) }))(t)
	open := Served{}
	ok(f.AppendServed(t.Context(), open, func(n uint64) (Answer, error) {
		x, err := f.answer(&open, n, 200)
		x.Receipt.Request = cityid.Digest{}
		return x, err
	}))(t)
	if n := f.Stats().Unacknowledged; n != 0 {
		t.Errorf("a refusal and open data: %d await", n)
	}
	var hashes []cityid.Digest
	for range 10 {
		hashes = append(hashes, f.serve(a).Hash)
	}
	if list := f.AwaitingAcknowledgement(a, DirectionServed, 7); !slices.Equal(list, hashes[:7]) {
		t.Errorf("%v", list)
	}
	if list := f.AwaitingAcknowledgement(a, DirectionServed, -1); len(list) != 0 {
		t.Errorf("%v", list)
	}
}

// TestAcknowledgeConcurrently acknowledges while others append: all are marked.
func TestAcknowledgeConcurrently(t *testing.T) {
	f := newFixture(t)
	m := message(t, "POST /acknowledgements")
	var wg sync.WaitGroup
	var marked atomic.Int64
	for w := range 4 {
		wg.Go(func() {
			for i := range 20 {
				e, err := f.AppendFetched(t.Context(), fetched(t, agreement(w), uint64(100*w+i+1)))
				if err != nil {
					t.Error(err)
					return
				}
				n, err := f.Acknowledge(t.Context(), DirectionFetched, acknowledgementOf(t, f, agreement(w), e.Hash), m, nil)
				if err != nil {
					t.Error(err)
				}
				marked.Add(int64(n))
			}
		})
	}
	wg.Wait()
	if s := f.Stats(); marked.Load() != 80 || s.Unacknowledged != 0 || s.Acknowledgements != 80 {
		t.Errorf("%d marked, %+v", marked.Load(), s)
	}
}
