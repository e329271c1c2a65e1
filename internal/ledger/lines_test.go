// SPDX-License-Identifier: Apache-2.0

package ledger

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"cityid"
)

// station returns an observation of one of a city's stations.
func station(n int, at cityid.Time, value string) Observation {
	o := observation(1, at, value)
	o.Source = cityid.MustParse(fmt.Sprintf("MA.156.1301/30.080001/%06d", n))
	return o
}

// hoursHold compares what is kept of hours with what the observations come to.
func (f *fixture) hoursHold() {
	f.t.Helper()
	var wrong int
	err := f.reads.QueryRowContext(f.t.Context(), `SELECT count(*) FROM
		(SELECT series, time / 3600 AS hour, max(time) AS last, count(*) AS count, sum(number) AS total, min(number) AS least, max(number) AS most
			FROM observation GROUP BY series, time / 3600) AS o
		FULL JOIN hour AS h ON h.series = o.series AND h.hour = o.hour
		WHERE (o.last, o.count, o.least, o.most) IS NOT (h.last, h.count, h.least, h.most) OR abs(o.total - h.total) > 1e-6`).Scan(&wrong)
	if err != nil || wrong != 0 {
		f.t.Errorf("%d hours are not what their observations come to: %v", wrong, err)
	}
}

// TestHours stores, corrects and prunes at random.
func TestHours(t *testing.T) {
	f := newFixture(t)
	r := rand.New(rand.NewPCG(1, 2))
	for round := range 12 {
		var list []Observation
		for range 400 {
			list = append(list, station(r.IntN(3), cityid.Time(1_000_000+60*r.IntN(1000)), fmt.Sprintf("%d.%d", r.IntN(200)-100, r.IntN(10))))
		}
		f.brought(list...)
		f.hoursHold()
		if round%4 == 3 {
			ok(f.PruneObservations(t.Context(), cityid.Time(1_000_000+5_017*round)))(t)
			f.hoursHold()
		}
	}
	if list := ok(f.Replaced(t.Context(), SeriesQuery{To: 1_000_000 + 5_017*11}, 0))(t); len(list) != 0 {
		t.Errorf("%d replaced values are older than what was pruned", len(list))
	}
	ok(f.PruneObservations(t.Context(), math.MaxInt64))(t)
	f.hoursHold()
}

// TestCombined joins stations, of which some are silent at times, and holds every
// point against its observations.
func TestCombined(t *testing.T) {
	f := newFixture(t)
	ctx := t.Context()
	r := rand.New(rand.NewPCG(3, 4))
	var list []Observation
	for i := range 900 {
		for n := range 3 {
			if r.IntN(10) > 0 {
				list = append(list, station(n, cityid.Time(1_000_020+60*i), fmt.Sprint(r.IntN(1000))))
			}
		}
	}
	other := station(1, 1_000_020, "5")
	other.Unit = "other"
	f.brought(append(slices.Clone(list), other)...)
	for _, points := range []int{1, 2, 3, 14, 100, 899, 900, 5000} {
		for _, q := range []SeriesQuery{{Points: points}, {Points: points, From: 1_003_333, To: 1_044_444}, {Points: points, From: 1_036_000, To: 1_039_600}} {
			lines := ok(f.Combined(ctx, q))(t)
			if len(lines) != 2 || lines[0].Sources != 3 || lines[1].Sources != 1 || !lines[0].Source.IsZero() || lines[0].First != 1_000_020 {
				t.Fatalf("%+v", lines)
			}
			got := lines[0].Points
			if len(got) > points {
				t.Errorf("%d points, wanted at most %d", len(got), points)
			}
			rest := slices.DeleteFunc(slices.Clone(list), func(o Observation) bool { return o.Time < q.From || q.To > 0 && o.Time >= q.To })
			for _, p := range got {
				sum, least, most, n := 0.0, math.Inf(1), math.Inf(-1), 0
				for n < len(rest) && rest[n].Time <= p.Time {
					do(t, rest[n].complete())
					sum, least, most, n = sum+rest[n].Number, min(least, rest[n].Number), max(most, rest[n].Number), n+1
				}
				if rest = rest[n:]; n != p.Count || p.Min != least || p.Max != most || math.Abs(p.Mean-sum/float64(n)) > 1e-9 || p.Value != "" || p.Entry != 0 {
					t.Fatalf("point %+v of %d observations: %v to %v, mean %v", p, n, least, most, sum/float64(n))
				}
			}
			if len(rest) > 0 {
				t.Errorf("%d observations are in no point", len(rest))
			}
		}
	}
	if lines := ok(f.Combined(ctx, SeriesQuery{From: 5, To: 10}))(t); len(lines) != 2 || lines[0].Points != nil {
		t.Errorf("%+v", lines)
	}
}

// TestCorrected keeps what a correction replaces, with the entry that brought it.
func TestCorrected(t *testing.T) {
	f := newFixture(t)
	ctx := t.Context()
	first := f.brought(station(1, 60, "7.0"), station(2, 60, "8"), station(1, 120, "9"))
	second := f.brought(station(1, 60, "7.5"), station(2, 60, "8"))
	third := f.brought(station(1, 60, "7.25"))
	latest := ok(f.Latest(ctx, SeriesQuery{Feed: "traffic"}))(t)
	if len(latest) != 2 || latest[0].Value != "9" || latest[0].Time != 120 || latest[1].Value != "8" || latest[1].Entry != first {
		t.Errorf("%+v", latest)
	}
	if list := ok(f.Latest(ctx, SeriesQuery{Source: latest[1].Source}))(t); len(list) != 1 || list[0] != latest[1] {
		t.Errorf("%+v", list)
	}
	if list := ok(f.Latest(ctx, SeriesQuery{Indicator: "none"}))(t); len(list) != 0 {
		t.Errorf("%+v", list)
	}
	replaced := ok(f.Replaced(ctx, SeriesQuery{From: 60, To: 120}, 0))(t)
	if len(replaced) != 2 || replaced[0].Value != "7.0" || replaced[0].Entry != first || replaced[1].Value != "7.5" || replaced[1].Entry != second {
		t.Errorf("%+v", replaced)
	}
	if list := ok(f.Observations(ctx, SeriesQuery{From: 60, To: 120}, 0))(t); len(list) != 2 || list[0].Entry != third || list[0].Value != "7.25" {
		t.Errorf("%+v", list)
	}
	hashes := ok(f.Hashes(ctx, []uint64{first, third, 99}))(t)
	if d := ok(f.Entry(ctx, third))(t); len(hashes) != 2 || hashes[third] != d.Hash || hashes[first] == d.Hash {
		t.Errorf("%v", hashes)
	}
	if hashes := ok(f.Hashes(ctx, nil))(t); len(hashes) != 0 {
		t.Errorf("%v", hashes)
	}
}

// BenchmarkLines draws an indicator of a city: 140 stations that observe each minute,
// of a day and of a week, and one station.
func BenchmarkLines(b *testing.B) {
	f := newFixture(b)
	const stations, days = 140, 7
	begin := cityid.Time(1_700_000_000 / 3600 * 3600)
	var list []Observation
	flush := func() {
		if len(list) > 0 {
			f.brought(list...)
			list = list[:0]
		}
	}
	for minute := range days * 1440 {
		for n := range stations {
			if list = append(list, station(n, begin+cityid.Time(60*minute), fmt.Sprint((minute*7+n*13)%500))); len(list) == 9800 {
				flush()
			}
		}
	}
	flush()
	end := begin + days*86400
	one := cityid.MustParse("MA.156.1301/30.080001/000001")
	for name, q := range map[string]SeriesQuery{
		"day": {From: end - 86400, To: end, Points: 480}, "week": {From: end - days*86400, To: end, Points: days * 24},
	} {
		b.Run("combined/"+name, func(b *testing.B) {
			for b.Loop() {
				ok(f.Combined(b.Context(), q))(b)
			}
		})
		q.Source = one
		b.Run("station/"+name, func(b *testing.B) {
			for b.Loop() {
				ok(f.Lines(b.Context(), q))(b)
			}
		})
	}
	b.Run("latest", func(b *testing.B) {
		for b.Loop() {
			ok(f.Latest(b.Context(), SeriesQuery{}))(b)
		}
	})
}
