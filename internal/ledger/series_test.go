// SPDX-License-Identifier: Apache-2.0

package ledger

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"cityid"
)

func TestObservationCheck(t *testing.T) {
	for _, value := range []string{"0", "-0", "12", "-12.50", "0.1", strings.Repeat("9", MaxValue), "0.000"} {
		o := observation(1, 60, value)
		do(t, o.complete())
		var f float64
		if _, err := fmt.Sscan(value, &f); err != nil || f != o.Number {
			t.Errorf("%s is %v", value, o.Number)
		}
	}
	for _, value := range []string{"", "-", "+1", "01", ".5", "5.", "1e5", "1,5", "NaN", "Inf", " 1", "1 ", "0x10", "1_000", "٣", strings.Repeat("9", MaxValue+1)} {
		o := observation(1, 60, value)
		want(t, value, o.complete(), ErrInvalid)
	}
	for what, change := range map[string]func(*Observation){
		"no feed":              func(o *Observation) { o.Feed = "" },
		"no indicator":         func(o *Observation) { o.Indicator = "" },
		"a unit with a line":   func(o *Observation) { o.Unit = "a\nb" },
		"a feed of many words": func(o *Observation) { o.Feed = strings.Repeat("x", 201) },
		"no time":              func(o *Observation) { o.Time = 0 },
		"a time before 1970":   func(o *Observation) { o.Time = -1 },
	} {
		o := observation(1, 60, "1")
		change(&o)
		want(t, what, o.complete(), ErrInvalid)
	}
	o := observation(1, 60, "1")
	o.Unit, o.Source = "", cityid.Code{}
	do(t, o.complete())
}

// brought stores observations as one fetch brought them, and returns its entry.
func (f *fixture) brought(list ...Observation) uint64 {
	f.t.Helper()
	f.n++
	ctx, feed := f.t.Context(), Feed{Path: "/feed"}
	e := ok(f.AppendFetched(ctx, fetched(f.t, cityid.Digest{}, uint64(f.n))))(f.t)
	s := ok(f.Subscription(ctx, feed))(f.t)
	ok(f.Advance(ctx, Progress{Feed: feed, From: s.Cursor, To: fmt.Sprint(f.n), Entry: e.ID, Observations: list}))(f.t)
	return e.ID
}

func TestSeries(t *testing.T) {
	f := newFixture(t)
	ctx := t.Context()
	other := observation(1, 120, "7")
	other.Source, other.Unit = cityid.Code{}, ""
	first := f.brought(observation(1, 60, "1.50"), observation(1, 120, "2"), observation(2, 60, "-3"))
	second := f.brought(observation(1, 60, "1.50"), observation(1, 120, "2.0"), observation(1, 180, "4"), other)
	list := ok(f.Series(ctx, SeriesQuery{}))(t)
	if len(list) != 3 || !list[0].Source.IsZero() || list[1] != (Series{"traffic", "flow 1", dataset, "1/h", 60, 180}) || list[2].Indicator != "flow 2" {
		t.Errorf("%+v", list)
	}
	lines := ok(f.Lines(ctx, SeriesQuery{Feed: "traffic", Indicator: "flow 1", Source: dataset}))(t)
	if len(lines) != 1 || len(lines[0].Points) != 3 {
		t.Fatalf("%+v", lines)
	}
	for i, w := range []Point{{60, "1.50", 1.5, 1.5, 1.5, 1, first}, {120, "2.0", 2, 2, 2, 1, second}, {180, "4", 4, 4, 4, 1, second}} {
		if lines[0].Points[i] != w {
			t.Errorf("point %d: %+v, want %+v", i, lines[0].Points[i], w)
		}
	}
	if lines := ok(f.Lines(ctx, SeriesQuery{From: 61, To: 180}))(t); len(lines) != 3 || len(lines[1].Points) != 1 || lines[1].Points[0].Time != 120 || len(lines[2].Points) != 0 {
		t.Errorf("%+v", lines)
	}
	// Which receipt brought the second minute.
	minute := ok(f.Observations(ctx, SeriesQuery{Indicator: "flow 1", Source: dataset, From: 120, To: 180}, 0))(t)
	if len(minute) != 1 || minute[0].Entry != second || minute[0].Value != "2.0" || minute[0].Number != 2 {
		t.Errorf("%+v", minute)
	}
	if list := ok(f.ObservationsOf(ctx, first, 0))(t); len(list) != 2 || list[0].Indicator != "flow 1" || list[1].Value != "-3" {
		t.Errorf("%+v", list)
	}
	if list := ok(f.Observations(ctx, SeriesQuery{}, 2))(t); len(list) != 2 {
		t.Errorf("%+v", list)
	}
	if n := ok(f.PruneObservations(ctx, 120))(t); n != 2 {
		t.Errorf("%d pruned", n)
	}
	if list := ok(f.Series(ctx, SeriesQuery{}))(t); len(list) != 2 {
		t.Errorf("%+v", list)
	}
	if n := ok(f.PruneObservations(ctx, math.MaxInt64))(t); n != 3 {
		t.Errorf("%d pruned", n)
	}
}

// TestPoints draws a long series with few points: none of the observations is left
// out, and no point is of an observation that is not there.
func TestPoints(t *testing.T) {
	f := newFixture(t)
	ctx := t.Context()
	var list []Observation
	for i := range 1000 {
		list = append(list, observation(1, cityid.Time(1_000_000+60*i+(i*i)%50), fmt.Sprint((i*37)%101)))
	}
	f.brought(list...)
	for _, points := range []int{1, 2, 7, 100, 999, 1000, 1001, 0} {
		for _, q := range []SeriesQuery{{Points: points}, {Points: points, From: 1_006_000, To: 1_018_000}, {Points: points, From: 5, To: 1 << 35}} {
			var in []Observation
			for _, o := range list {
				if o.Time >= q.From && (q.To == 0 || o.Time < q.To) {
					in = append(in, o)
				}
			}
			got := ok(f.Lines(ctx, q))(t)[0].Points
			if points > 0 && len(got) > points || len(got) < min(points, len(in))/3 {
				t.Errorf("%d points of %d from %d, wanted at most %d", len(got), len(in), q.From, points)
			}
			next := 0
			for _, p := range got {
				group := in[next : next+p.Count]
				next += p.Count
				sum, least, most := 0.0, math.Inf(1), math.Inf(-1)
				for _, o := range group {
					do(t, o.complete())
					sum, least, most = sum+o.Number, min(least, o.Number), max(most, o.Number)
				}
				if last := group[len(group)-1]; p.Time != last.Time || p.Value != last.Value || p.Min != least || p.Max != most || math.Abs(p.Mean-sum/float64(p.Count)) > 1e-9 {
					t.Fatalf("point %+v of %+v", p, group)
				}
			}
			if next != len(in) {
				t.Errorf("%d of %d observations are in the points", next, len(in))
			}
		}
	}
}

// FuzzValue feeds the parser of values: what it takes is a finite number.
func FuzzValue(f *testing.F) {
	for _, s := range []string{"1", "-0.50", "1e5", "NaN"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, value string) {
		o := observation(1, 60, value)
		if o.complete() == nil && (math.IsNaN(o.Number) || math.IsInf(o.Number, 0) || strings.Trim(value, "-.0123456789") != "") {
			t.Errorf("%q is %v", value, o.Number)
		}
	})
}
