// SPDX-License-Identifier: Apache-2.0

package ledger

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"cityid"
)

func observation(i int, at cityid.Time, value string) Observation {
	return Observation{Feed: "traffic", Indicator: fmt.Sprint("flow ", i), Source: dataset, Unit: "1/h", Time: at, Value: value}
}

func TestAdvance(t *testing.T) {
	f := newFixture(t)
	ctx, a := t.Context(), agreement(1)
	feed := Feed{Agreement: a, Path: "/data/traffic/events"}
	e := ok(f.AppendFetched(ctx, fetched(t, a, 1)))(t)
	other := ok(f.AppendFetched(ctx, fetched(t, agreement(2), 2)))(t)
	served := f.serve(a)
	if s := ok(f.Subscription(ctx, feed))(t); s != (Subscription{Feed: feed}) {
		t.Errorf("%+v", s)
	}
	p := Progress{Feed: feed, To: "c1", Entry: e.ID, Events: [][]byte{[]byte("one"), []byte("two")}, Observations: []Observation{observation(1, 60, "1.50")}}
	for what, c := range map[string]struct {
		target error
		change func(*Progress)
	}{
		"no path":             {ErrInvalid, func(p *Progress) { p.Path = "" }},
		"a long path":         {ErrInvalid, func(p *Progress) { p.Path = string(make([]byte, MaxPath+1)) }},
		"a cursor that stays": {ErrInvalid, func(p *Progress) { p.To = "" }},
		"a long cursor":       {ErrInvalid, func(p *Progress) { p.To = string(make([]byte, MaxFeedCursor+1)) }},
		"a cursor that ends":  {ErrInvalid, func(p *Progress) { p.From, p.To, p.Events, p.Observations = "c", "", nil, nil }},
		"too many events":     {ErrInvalid, func(p *Progress) { p.Events = make([][]byte, MaxEvents+1) }},
		"an empty event":      {ErrInvalid, func(p *Progress) { p.Events = [][]byte{nil} }},
		"a long event":        {ErrInvalid, func(p *Progress) { p.Events = [][]byte{make([]byte, MaxEventBody+1)} }},
		"too much observed":   {ErrInvalid, func(p *Progress) { p.Observations = make([]Observation, MaxObservations+1) }},
		"a bad value":         {ErrInvalid, func(p *Progress) { p.Observations = []Observation{observation(1, 60, "1e5")} }},
		"another cursor":      {ErrConflict, func(p *Progress) { p.From = "c0" }},
		"no such entry":       {ErrNotFound, func(p *Progress) { p.Entry = 99 }},
		"a served entry":      {ErrNotFound, func(p *Progress) { p.Entry = served.ID }},
		"another agreement":   {ErrInvalid, func(p *Progress) { p.Entry = other.ID }},
	} {
		p := p
		c.change(&p)
		_, err := f.Advance(ctx, p)
		want(t, what, err, c.target)
	}
	if list := ok(f.Subscriptions(ctx))(t); len(list) != 0 {
		t.Errorf("refusals left %+v", list)
	}
	if n := ok(f.Advance(ctx, p))(t); n != 1 {
		t.Errorf("the first event is %d", n)
	}
	_, err := f.Advance(ctx, p)
	want(t, "the same again", err, ErrConflict)
	p.From, p.To, p.Events, p.Observations = "c1", "c2", [][]byte{[]byte("three")}, nil
	if n := ok(f.Advance(ctx, p))(t); n != 3 {
		t.Errorf("the next event is %d", n)
	}
	p.From, p.To, p.Events = "c2", "c2", nil // nothing new
	ok(f.Advance(ctx, p))(t)
	f.reopen()
	if s := ok(f.Subscription(ctx, feed))(t); s.Cursor != "c2" || s.Events != 3 || !s.Changed.Equal(f.clock.now()) {
		t.Errorf("%+v", s)
	}
	page := ok(f.EventsAfter(ctx, feed, 1, 10))(t)
	if page.Oldest != 1 || len(page.Events) != 2 || page.Events[0].Number != 2 || string(page.Events[1].Body) != "three" || page.Events[1].Entry != e.ID {
		t.Errorf("%+v", page)
	}
	if page := ok(f.EventsAfter(ctx, Feed{Path: "/x"}, 0, 10))(t); page.Oldest != 1 || len(page.Events) != 0 {
		t.Errorf("%+v", page)
	}
	do(t, f.Unsubscribe(ctx, feed))
	want(t, "forgotten twice", f.Unsubscribe(ctx, feed), ErrNotFound)
	if s := ok(f.Subscription(ctx, feed))(t); s.Cursor != "" {
		t.Errorf("%+v", s)
	}
	if list := ok(f.Observations(ctx, SeriesQuery{}, 0))(t); len(list) != 1 {
		t.Errorf("%+v", list)
	}
}

// TestAdvanceConcurrently has several followers of one feed: each step is stored once.
func TestAdvanceConcurrently(t *testing.T) {
	f := newFixture(t)
	feed := Feed{Path: "/data/open"}
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			for i := range 200 {
				s, err := f.Subscription(t.Context(), feed)
				if err != nil {
					t.Error(err)
					return
				}
				if s.Events >= 30 {
					return
				}
				e, err := f.AppendFetched(t.Context(), fetched(t, cityid.Digest{}, uint64(1000*w+i+1)))
				if err == nil {
					_, err = f.Advance(t.Context(), Progress{
						Feed: feed, From: s.Cursor, To: fmt.Sprint(s.Events + 1), Entry: e.ID, Events: [][]byte{fmt.Append(nil, s.Events+1)},
						Observations: []Observation{observation(1, cityid.Time(60*(s.Events+1)), fmt.Sprint(s.Events+1))},
					})
				}
				if err != nil && !errors.Is(err, ErrConflict) {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	page := ok(f.EventsAfter(t.Context(), feed, 0, 0))(t)
	for i, e := range page.Events {
		if e.Number != uint64(i+1) || string(e.Body) != fmt.Sprint(i+1) {
			t.Errorf("event %d: %+v", i+1, e)
		}
	}
	if n := len(ok(f.Observations(t.Context(), SeriesQuery{}, 0))(t)); len(page.Events) < 30 || n != len(page.Events) {
		t.Errorf("%d events, %d observations", len(page.Events), n)
	}
}

func TestPruneEvents(t *testing.T) {
	f := newFixture(t)
	ctx := t.Context()
	e := ok(f.AppendFetched(ctx, fetched(t, cityid.Digest{}, 1)))(t)
	a, b := Feed{Path: "/a"}, Feed{Path: "/b"}
	put := func(feed Feed) {
		t.Helper()
		s := ok(f.Subscription(ctx, feed))(t)
		ok(f.Advance(ctx, Progress{Feed: feed, From: s.Cursor, To: s.Cursor + "x", Entry: e.ID, Events: [][]byte{[]byte("x")}}))(t)
	}
	numbers := func(feed Feed) (list []uint64) {
		t.Helper()
		p := ok(f.EventsAfter(ctx, feed, 0, 0))(t)
		for _, e := range p.Events {
			list = append(list, e.Number)
		}
		if len(list) > 0 && p.Oldest != list[0] {
			t.Errorf("oldest %d of %v", p.Oldest, list)
		}
		return list
	}
	for range 4 {
		put(a)
		f.clock.pass(time.Minute)
	}
	f.clock.pass(-3 * time.Minute) // the fifth is stored with the time of the second
	put(a)
	put(b)
	if n := ok(f.PruneEvents(ctx, time.Time{}, -1))(t); n != 0 {
		t.Errorf("%d pruned without a rule", n)
	}
	if n := ok(f.PruneEvents(ctx, f.clock.now().Add(time.Second), -1))(t); n != 3 || !slices.Equal(numbers(a), []uint64{3, 4, 5}) || len(numbers(b)) != 0 {
		t.Errorf("%d pruned, left %v and %v", n, numbers(a), numbers(b))
	}
	if n := ok(f.PruneEvents(ctx, time.Time{}, 2))(t); n != 1 || !slices.Equal(numbers(a), []uint64{4, 5}) {
		t.Errorf("%d pruned, left %v", n, numbers(a))
	}
	ok(f.PruneEvents(ctx, time.Time{}, 0))(t)
	if p := ok(f.EventsAfter(ctx, a, 0, 0))(t); p.Oldest != 6 {
		t.Errorf("%+v", p)
	}
	put(a)
	if !slices.Equal(numbers(a), []uint64{6}) {
		t.Errorf("left %v", numbers(a))
	}
}

// TestEventsBounded keeps a page of large events small.
func TestEventsBounded(t *testing.T) {
	f := newFixture(t)
	e := ok(f.AppendFetched(t.Context(), fetched(t, cityid.Digest{}, 1)))(t)
	p := Progress{Feed: Feed{Path: "/a"}, To: "x", Entry: e.ID}
	for range 20 {
		p.Events = append(p.Events, make([]byte, MaxEventBody))
	}
	ok(f.Advance(t.Context(), p))(t)
	if page := ok(f.EventsAfter(t.Context(), p.Feed, 0, 0))(t); len(page.Events) != 16 {
		t.Errorf("%d events of 256 KiB", len(page.Events))
	}
	if page := ok(f.EventsAfter(t.Context(), p.Feed, 16, 0))(t); len(page.Events) != 4 || page.Events[0].Number != 17 {
		t.Errorf("%d events follow", len(page.Events))
	}
}
