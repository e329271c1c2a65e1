// SPDX-License-Identifier: Apache-2.0

package portal

import (
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"cityid"
	"cityid/internal/feed"
)

// latePeriods is how many periods old an observation may be before it counts as
// late.
const latePeriods = 3

// indicatorWords is what is known of an indicator besides its identifier.
type indicatorWords struct {
	ID, Name string
	Domain   string      // "water", "energy", "air", "waste" or "other"
	Period   cityid.Time // seconds; 0: not known
	Decimals int
}

// domainOrder is the order of domains on a page.
var domainOrder = []string{"water", "energy", "air", "waste", "other"}

// words names an indicator. One that this program does not know keeps its
// identifier.
func (pg *page) indicatorWords(id string) indicatorWords {
	known, ok := feed.IndicatorOf(id)
	if !ok {
		return indicatorWords{ID: id, Name: id, Domain: "other"}
	}
	return indicatorWords{ID: id, Name: known.Labels.Get(pg.Lang), Domain: known.Domain.String(), Period: cityid.Time(known.Minutes * 60), Decimals: known.Decimals}
}

// unit writes a unit of UCUM for people; one that this program does not know stays
// as it is.
func (pg *page) unit(ucum string) string {
	if text, ok := pg.texts[pg.Lang]["dashboard.unit."+ucum]; ok {
		return text
	}
	return ucum
}

// cityOf returns the place that a code lies in, such as the city of a department's
// dataset.
func cityOf(code cityid.Code) cityid.Code {
	c := code.Root()
	for c.Depth() > 3 {
		c = c.Parent()
	}
	return c
}

// feedTrouble is since when feeds of a dataset bring nothing.
type feedTrouble struct {
	Dataset cityid.Code
	Since   time.Time
	Why     string
}

// troubles returns for each dataset the feed that has brought nothing for longest.
func troubles(feeds []GatewayFeed) map[cityid.Code]feedTrouble {
	out := map[cityid.Code]feedTrouble{}
	for i := range feeds {
		f := &feeds[i]
		if f.Failed == "" {
			continue
		}
		if old, ok := out[f.Dataset]; !ok || f.Since.Before(old.Since) {
			out[f.Dataset] = feedTrouble{f.Dataset, f.Since, f.Failed}
		}
	}
	return out
}

// late reports whether an observation of a time is older than it should be.
func late(at, period, now cityid.Time) bool { return now-at > latePeriods*period }

// provenance says as a tag whether it is known which signed fetch brought a value.
func (pg *page) provenance(entry cityid.Digest) tag {
	if entry.IsZero() {
		return tag{pg.T("dashboard.erased"), "plain", "○"}
	}
	return tag{pg.T("dashboard.verified"), "good", "✓"}
}

// freshness says as tags what is late about a value, and since when.
func (pg *page) freshness(at, period, now cityid.Time, trouble *feedTrouble) []tag {
	var out []tag
	if trouble != nil {
		out = append(out, tag{pg.T("dashboard.failing", pg.Moment(trouble.Since)), "bad", "✕"})
	}
	if late(at, period, now) {
		out = append(out, tag{pg.T("dashboard.late", pg.observedAt(at, period)), "warn", "!"})
	}
	return out
}

// ownership says as a tag whose stream it is.
func (pg *page) ownership(own bool, city string) tag {
	if own {
		return tag{pg.T("dashboard.own"), "plain", "●"}
	}
	return tag{pg.T("dashboard.shared", city), "info", "⇄"}
}

// observedAt writes the time of an observation: a day's, or a minute's.
func (pg *page) observedAt(at, period cityid.Time) string {
	if period >= 86400 {
		return pg.Day(at.Std())
	}
	return pg.Moment(at.Std())
}

// aggregate is what several observations come to. It is computed, and never takes
// the place of an observation.
type aggregate struct {
	Count           int
	Mean, Low, High string
}

// decimalsOf returns the number of decimal places of a decimal text.
func decimalsOf(text string) int {
	_, fraction, _ := strings.Cut(text, ".")
	return len(fraction)
}

// aggregateOf sums up decimal texts.
func aggregateOf(values []string) aggregate {
	places, sum, low, high := 0, 0.0, math.Inf(1), math.Inf(-1)
	for _, v := range values {
		x, err := strconv.ParseFloat(v, 64)
		if err != nil {
			continue // values have been checked
		}
		places, sum, low, high = max(places, decimalsOf(v)), sum+x, min(low, x), max(high, x)
	}
	if len(values) == 0 {
		return aggregate{}
	}
	return aggregate{len(values), computed(sum/float64(len(values)), places), computed(low, places), computed(high, places)}
}

// computed writes a computed number with so many decimal places, or as a power of ten
// if it is out of the ordinary.
func computed(x float64, places int) string {
	if math.Abs(x) >= 1e15 {
		return strconv.FormatFloat(x, 'e', 3, 64)
	}
	s := strconv.FormatFloat(x, 'f', min(places, 6), 64)
	if strings.HasPrefix(s, "-") && strings.Trim(s, "-0.") == "" {
		s = s[1:]
	}
	return s
}

// periodOf returns by what the observations of a line follow each other.
func (w indicatorWords) periodOf(l *Line) cityid.Time {
	if w.Period > 0 {
		return w.Period
	}
	return usualInterval(l)
}

// usualInterval returns the time between the observations of a line, for an
// indicator whose period is not known; a day if there is no telling.
func usualInterval(l *Line) cityid.Time {
	n := 0
	for _, p := range l.Points {
		n += p.Count
	}
	if len(l.Points) < 2 || n < 3 {
		return 86400
	}
	return max(1, (l.Points[len(l.Points)-1].Time-l.Points[0].Time)/cityid.Time(n-1))
}

// lineOf makes a line to draw. period is by what observations follow each other, and
// width the stretch of time of a point.
func lineOf(l *Line, period, width cityid.Time) trendLine {
	out := trendLine{Gap: period * 3 / 2, Points: make([]trendPoint, len(l.Points))}
	if slices.ContainsFunc(l.Points, func(p LinePoint) bool { return p.Count > 1 }) {
		out.Gap = max(out.Gap, width*3/2+period)
	}
	for i, p := range l.Points {
		out.Points[i] = trendPoint{p.Time, p.Mean, p.Min, p.Max}
	}
	return out
}
