// SPDX-License-Identifier: Apache-2.0

package chain

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"

	"cityid"
)

func someCodes(names ...string) []cityid.Code {
	out := []cityid.Code{}
	for _, n := range names {
		out = append(out, cityid.MustParse(n))
	}
	return out
}

func TestFeedForgets(t *testing.T) {
	f := newFeed(10, 5)
	f.committed(11, someCodes("MA.156.11", "MA.156.12"))
	f.committed(12, nil)
	f.committed(13, someCodes("MA.156.11", "MA.156.13"))
	if f.total != 4 || f.from != 10 || len(f.blocks) != 2 {
		t.Fatalf("remembers %d codes since %d in %d blocks", f.total, f.from, len(f.blocks))
	}
	f.committed(14, someCodes("MA.156.14", "MA.156.15")) // one too many
	if f.total != 4 || f.from != 11 || len(f.blocks) != 2 {
		t.Fatalf("remembers %d codes since %d in %d blocks", f.total, f.from, len(f.blocks))
	}
	for after, want := range map[uint64]struct {
		blocks int
		gap    bool
	}{0: {0, true}, 10: {0, true}, 11: {2, false}, 12: {2, false}, 13: {1, false}, 14: {0, false}, 99: {0, false}} {
		list, height, gap := f.since(after)
		if len(list) != want.blocks || height != 14 || gap != want.gap {
			t.Errorf("after %d: %d blocks up to %d, gap %t", after, len(list), height, gap)
		}
	}
	for height, want := range map[uint64][]cityid.Code{
		10: nil, 11: nil, 12: {}, 13: someCodes("MA.156.11", "MA.156.13"), 14: someCodes("MA.156.14", "MA.156.15"), 15: nil,
	} {
		if got := f.of(height); !slices.Equal(got, want) || (got == nil) != (want == nil) {
			t.Errorf("block %d wrote %v, want %v", height, got, want)
		}
	}
	// A block that exceeds the limit alone is forgotten at once.
	f.committed(15, someCodes("MA.156.11", "MA.156.12", "MA.156.13", "MA.156.14", "MA.156.15", "MA.156.21"))
	if f.total != 0 || f.from != 15 || len(f.blocks) != 0 {
		t.Fatalf("remembers %d codes since %d in %d blocks", f.total, f.from, len(f.blocks))
	}
}

func TestFeedStaysBounded(t *testing.T) {
	f := newFeed(0, 100)
	for h := uint64(1); h <= 10_000; h++ {
		f.committed(h, someCodes("MA.156.11"))
	}
	if f.total != 100 || cap(f.blocks) > 1000 {
		t.Errorf("%d codes in room for %d blocks", f.total, cap(f.blocks))
	}
}

func TestFeedAwait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFeed(5, 100)
		failed := make(chan struct{})
		if h, err := f.await(t.Context(), failed, 4); h != 5 || err != nil {
			t.Errorf("await 4: %d, %v", h, err)
		}
		type answer struct {
			height uint64
			err    error
		}
		wait := func(ctx context.Context, after uint64) chan answer {
			c := make(chan answer, 1)
			go func() {
				h, err := f.await(ctx, failed, after)
				c <- answer{h, err}
			}()
			return c
		}
		var at5, at6 []chan answer
		for range 1000 {
			at5, at6 = append(at5, wait(t.Context(), 5)), append(at6, wait(t.Context(), 6))
		}
		gone, cancel := context.WithCancelCause(t.Context())
		why := errors.New("gone")
		left := wait(gone, 5)
		synctest.Wait()
		cancel(why)
		if a := <-left; a.err != why {
			t.Errorf("cancelled: %+v", a)
		}
		f.committed(6, nil)
		for _, c := range at5 {
			if a := <-c; a.height != 6 || a.err != nil {
				t.Fatalf("await 5: %+v", a)
			}
		}
		synctest.Wait()
		for _, c := range at6 {
			select {
			case a := <-c:
				t.Fatalf("await 6 ended at 6: %+v", a)
			default:
			}
		}
		f.close()
		for _, c := range at6 {
			if a := <-c; cityid.CodeOf(a.err) != cityid.ErrUnavailable {
				t.Fatalf("closed: %+v", a)
			}
		}
		if _, err := f.await(t.Context(), failed, 0); cityid.CodeOf(err) != cityid.ErrUnavailable {
			t.Errorf("after closing: %v", err)
		}

		f = newFeed(5, 100)
		halted := wait(t.Context(), 5)
		close(failed)
		if a := <-halted; cityid.CodeOf(a.err) != cityid.ErrUnavailable {
			t.Errorf("halted: %+v", a)
		}
	}) // which fails if a goroutine were left
}

func BenchmarkFeedSince(b *testing.B) {
	f := newFeed(0, maxChanged)
	for h := range uint64(200) {
		var codes []cityid.Code
		for i := range 1000 {
			codes = append(codes, cityid.MustParse(fmt.Sprintf("MA.156.1301.01/20.010501/%06d", h*1000+uint64(i))))
		}
		f.committed(h+1, codes)
	}
	l := &Local{app: &Application{feed: f}}
	for b.Loop() {
		if c, err := l.Changes(b.Context(), 0); err != nil || len(c.Codes) != maxChanged {
			b.Fatal(len(c.Codes), err)
		}
	}
}
