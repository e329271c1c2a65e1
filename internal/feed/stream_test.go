// SPDX-License-Identifier: Apache-2.0

package feed

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"cityid"
)

// equal compares observations.
var equal = cmp.Comparer(func(a, b Observation) bool { return a == b })

// upTo returns all that is released by the clock of a platform.
func upTo(t *testing.T, f *Feed, indicator string) []Observation {
	t.Helper()
	seq, err := f.Released(f.Begin(), f.Now().Add(time.Minute), indicator)
	if err != nil {
		t.Fatal(err)
	}
	return slices.Collect(seq)
}

// TestPages reads the stream in pages of random sizes, with platforms opened anew.
func TestPages(t *testing.T) {
	c := at("2026-03-03T02:00:00Z", 4)
	for _, indicator := range []string{"", "37120:2018:8.1", "37120:2018:16.2"} {
		want := upTo(t, open(t, c), indicator)
		if len(want) < 4 {
			t.Fatalf("%s: %d observations", indicator, len(want))
		}
		r := rand.New(rand.NewPCG(1, 2))
		var got []Observation
		after := ""
		for {
			limit := 1 + r.IntN(MaxLimit)
			p, err := open(t, c).Page(Query{After: after, Limit: limit, Indicator: indicator})
			if err != nil {
				t.Fatal(err)
			}
			if err := p.Check(); err != nil || len(p.Items) > limit {
				t.Fatalf("%d of %d observations, %v", len(p.Items), limit, err)
			}
			got, after = append(got, p.Items...), p.Next
			if !p.More {
				break
			}
		}
		if d := cmp.Diff(want, got, equal); d != "" {
			t.Errorf("%s: the pages differ: %s", indicator, d)
		}
	}
}

// TestFollow lets the clock go on, minute by minute, and backwards.
func TestFollow(t *testing.T) {
	now := parseTime("2026-03-01T06:00:00Z")
	c := at("2026-03-01T00:00:00Z", 3)
	c.Now = func() time.Time { return now }
	f := open(t, c)
	latest, err := f.Latest("")
	if err != nil {
		t.Fatal(err)
	}
	after := latest.Next
	var got []Observation
	for range 100 {
		now = now.Add(30 * time.Second)
		for {
			p, err := f.Page(Query{After: after, Limit: 7})
			if err != nil {
				t.Fatal(err)
			}
			got, after = append(got, p.Items...), p.Next
			if !p.More {
				break
			}
		}
	}
	seq, err := f.Released(parseTime("2026-03-01T06:01:00Z"), now.Add(time.Minute), "")
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(slices.Collect(seq), got, equal); d != "" {
		t.Error(d)
	}
	now = now.Add(-time.Hour)
	p, err := f.Page(Query{After: after})
	if err != nil || len(p.Items) != 0 || p.Next != after || p.More {
		t.Errorf("with the clock turned back: %+v, %v", p, err)
	}
}

func TestPageRefuses(t *testing.T) {
	f := open(t, at("2026-03-03T02:00:00Z", 4))
	c := at("2026-03-03T02:00:00Z", 4)
	c.Seed = 8
	foreign := open(t, c).cursor(uint64(f.begin) << 16)
	good := f.cursor(uint64(f.begin) << 16)
	for _, test := range []struct {
		q    Query
		want string
	}{
		{Query{Limit: -1}, "limit -1"},
		{Query{Limit: 2001}, "limit 2001"},
		{Query{Indicator: "37120:2018:8.3"}, "no such one"},
		{Query{After: "x"}, "want the next"},
		{Query{After: good + "A"}, "want the next"},
		{Query{After: good[:15] + "\n" + good[15:]}, "want the next"},
		{Query{After: foreign}, "another platform"},
		{Query{After: f.cursor(1 << 62)}, "want the next"},
		{Query{After: f.cursor(uint64(f.begin)<<16 - 1)}, ErrGone.Error()},
	} {
		if _, err := f.Page(test.q); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%+v: %v, want %q", test.q, err, test.want)
		}
	}
	if _, err := f.Page(Query{After: good}); err != nil {
		t.Error(err)
	}
	for _, want := range []string{"0001-01-01T00:00:00Z", "2026-03-01T00:00:30Z"} {
		if _, err := f.Released(parseTime(want), parseTime("2026-03-02T00:00:00Z"), ""); err == nil {
			t.Errorf("from %s", want)
		}
	}
	if _, err := f.Released(f.Begin(), f.Begin(), ""); err == nil {
		t.Error("an empty time")
	}
}

// TestWork checks that a page ends when little is found in a long time.
func TestWork(t *testing.T) {
	f := open(t, at("2026-03-08T00:00:00Z", 250))
	const id = "37120:2018:16.3"
	var got []Observation
	after, pages := "", 0
	for more := true; more; pages++ {
		p, err := f.Page(Query{After: after, Indicator: id, Limit: MaxLimit})
		if err != nil || len(p.Items) == MaxLimit {
			t.Fatalf("%d observations, %v", len(p.Items), err)
		}
		got, after, more = append(got, p.Items...), p.Next, p.More
	}
	if d := cmp.Diff(upTo(t, f, id), got, equal); d != "" || pages < 5 {
		t.Errorf("%d pages: %s", pages, d)
	}
}

// TestMinute compares minutes with the stream.
func TestMinute(t *testing.T) {
	f := open(t, at("2026-03-02T23:00:00Z", 10))
	byTime := map[cityid.Time][]Observation{}
	for _, o := range upTo(t, f, "") {
		byTime[o.Time] = append(byTime[o.Time], o)
	}
	for _, s := range []string{"2026-03-01T00:00:00Z", "2026-03-01T16:00:00Z", "2026-03-02T21:30:00Z", "2026-03-02T22:59:00Z", "2026-03-02T20:01:00Z"} {
		p, err := f.Minute(parseTime(s), "")
		if err != nil {
			t.Fatal(err)
		}
		if err := p.Check(); err != nil {
			t.Error(err)
		}
		if d := cmp.Diff(byTime[cityid.TimeOf(parseTime(s))], p.Items, equal); d != "" || len(p.Items) < 50 {
			t.Errorf("%s: %s", s, d)
		}
	}
	p, err := f.Minute(parseTime("2026-03-01T16:00:00Z"), "37120:2018:16.2")
	if err != nil || len(p.Items) < 8 {
		t.Errorf("a day's: %d observations, %v", len(p.Items), err)
	}
	for _, s := range []string{"2026-02-28T23:59:00Z", "2026-03-02T23:00:00Z"} {
		if _, err := f.Minute(parseTime(s), ""); !errors.Is(err, ErrNoMinute) {
			t.Errorf("%s: %v", s, err)
		}
	}
	if _, err := f.Minute(parseTime("2026-03-01T00:00:01Z"), ""); err == nil {
		t.Error("a second")
	}
	if _, err := f.Minute(parseTime("2026-03-01T00:00:00Z"), "x"); err == nil {
		t.Error("an unknown indicator")
	}
}

// TestLatest compares the latest observations with the stream.
func TestLatest(t *testing.T) {
	for _, now := range []string{"2026-03-03T10:00:00Z", "2026-03-01T00:01:00Z", "2026-03-01T00:00:00Z"} {
		f := open(t, at(now, 8))
		last := map[string]Observation{}
		for _, o := range upTo(t, f, "") {
			key := fmt.Sprint(o.Indicator, o.Source)
			if have, ok := last[key]; !ok || o.Time > have.Time || o.Time == have.Time && o.Corrects != 0 {
				last[key] = o
			}
		}
		want := []Observation{}
		for _, o := range last {
			want = append(want, o)
		}
		slices.SortFunc(want, func(a, b Observation) int { return int(a.Seq) - int(b.Seq) })
		p, err := f.Latest("")
		if err != nil {
			t.Fatal(err)
		}
		if err := p.Check(); err != nil {
			t.Error(err)
		}
		if d := cmp.Diff(want, p.Items, equal); d != "" {
			t.Errorf("%s: %s", now, d)
		}
		next, err := f.Page(Query{After: p.Next})
		if err != nil || len(next.Items) != 0 || next.More {
			t.Errorf("%s: after the present come %d, %v", now, len(next.Items), err)
		}
	}
	if _, err := open(t, at("2026-03-03T10:00:00Z", 1)).Latest("x"); err == nil {
		t.Error("an unknown indicator")
	}
}

// FuzzCursor looks for a cursor that is taken and is not the one form of its place.
func FuzzCursor(f *testing.F) {
	feed := open(f, at("2026-03-01T01:00:00Z", 1))
	f.Add(feed.cursor(uint64(feed.begin)<<16 + 7))
	f.Add("AAAAAAAAAAAAAAAA")
	f.Fuzz(func(t *testing.T, cursor string) {
		n, err := feed.position(cursor)
		if err == nil && feed.cursor(n) != cursor {
			t.Fatalf("%q is taken for %q", cursor, feed.cursor(n))
		}
		if p, err := feed.Page(Query{After: cursor, Limit: 3}); err == nil && p.Check() != nil {
			t.Fatalf("after %q: %+v", cursor, p)
		}
	})
}
