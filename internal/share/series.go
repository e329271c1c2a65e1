// SPDX-License-Identifier: Apache-2.0

package share

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"cityid"
	"cityid/internal/ledger"
	"cityid/internal/web"
)

// Series is the answer of the local side about time series: what feeds under
// agreements brought, each point from a fetch with a receipt.
type Series struct {
	Lines []SeriesLine `json:"lines"`
	Feeds []FeedState  `json:"feeds"`
	Now   time.Time    `json:"now"`
}

// SeriesLine is one series, or what all sources of an indicator and unit come to
// together, with its points in order of time.
type SeriesLine struct {
	Dataset   cityid.Code   `json:"dataset"`
	Indicator string        `json:"indicator"`
	Source    cityid.Code   `json:"source,omitzero"` // zero: not said, or several
	Sources   int           `json:"sources"`         // how many series it is made of
	Unit      string        `json:"unit,omitempty"`
	First     cityid.Time   `json:"first"`
	Last      cityid.Time   `json:"last"`
	Points    []SeriesPoint `json:"points"`
}

// SeriesPoint is an observation, or what several next to each other come to.
type SeriesPoint struct {
	Time  cityid.Time   `json:"time"`            // of the last of them
	Value string        `json:"value,omitempty"` // of the last of them, as it came; "": of several sources
	Mean  float64       `json:"mean"`
	Min   float64       `json:"min"`
	Max   float64       `json:"max"`
	Count int           `json:"count"`
	Entry cityid.Digest `json:"entry,omitzero"` // hash of the entry of the fetch that brought the last of them; zero: erased, or of several sources
}

// FeedState is how far a feed was followed.
type FeedState struct {
	Agreement cityid.Digest `json:"agreement"`
	Dataset   cityid.Code   `json:"dataset,omitzero"`
	Path      string        `json:"path"`
	Events    uint64        `json:"events"`
	Changed   time.Time     `json:"changed,omitzero"`
	Every     Duration      `json:"every"`
	Failed    string        `json:"failed,omitempty"` // why the last fetch brought nothing
	Since     time.Time     `json:"since,omitzero"`   // of the first fetch that failed since one did not
}

// Latest is the answer of the local side about what was observed last.
type Latest struct {
	Observations []Observed  `json:"observations"`
	Feeds        []FeedState `json:"feeds"`
	Now          time.Time   `json:"now"`
}

// Observed is one observation, and the fetch that brought it.
type Observed struct {
	Dataset   cityid.Code   `json:"dataset"`
	Indicator string        `json:"indicator"`
	Source    cityid.Code   `json:"source,omitzero"`
	Unit      string        `json:"unit,omitempty"`
	Time      cityid.Time   `json:"time"`
	Value     string        `json:"value"`
	Entry     cityid.Digest `json:"entry,omitzero"`     // hash of the fetch's entry; zero: erased
	Replaced  bool          `json:"replaced,omitempty"` // by a correction that came later
}

// localSeries answers with series: ?dataset=CODE &indicator=ID &source=CODE &from= &to= (RFC 3339) &points=1..2000,
// and &combine=sources for one line of all sources of an indicator.
func (g *Gateway) localSeries(w http.ResponseWriter, r *http.Request) error {
	values, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return cityid.Errorf(cityid.ErrMalformed, "query: %v", err)
	}
	read := g.ledger.Lines
	if list, ok := values["combine"]; ok {
		if len(list) != 1 || list[0] != "sources" {
			return cityid.Errorf(cityid.ErrMalformed, "query: combine=%.40q: only sources can be combined", list[0])
		}
		read = g.ledger.Combined
		values.Del("combine")
	}
	q, err := seriesQuery(values)
	if err != nil {
		return err
	}
	lines, err := read(r.Context(), q)
	if err != nil {
		return err
	}
	out := Series{Lines: []SeriesLine{}, Now: g.now().UTC()}
	if out.Feeds, err = g.feedStates(r.Context()); err != nil {
		return err
	}
	var entries []uint64
	for _, l := range lines {
		for _, p := range l.Points {
			entries = append(entries, p.Entry)
		}
	}
	hashes, err := g.hashes(r.Context(), entries)
	if err != nil {
		return err
	}
	for _, l := range lines {
		dataset, err := cityid.ParseCanonical(l.Feed)
		if err != nil {
			return err
		}
		line := SeriesLine{
			Dataset: dataset, Indicator: l.Indicator, Source: l.Source, Sources: l.Sources, Unit: l.Unit, First: l.First, Last: l.Last,
			Points: make([]SeriesPoint, len(l.Points)),
		}
		for i, p := range l.Points {
			line.Points[i] = SeriesPoint{p.Time, p.Value, p.Mean, p.Min, p.Max, p.Count, hashes[p.Entry]}
		}
		out.Lines = append(out.Lines, line)
	}
	return web.WriteJSON(w, r, http.StatusOK, out)
}

// localLatest answers with the latest observation of each series: ?dataset=CODE &indicator=ID &source=CODE.
func (g *Gateway) localLatest(w http.ResponseWriter, r *http.Request) error {
	q, err := seriesQuery(r.URL.Query())
	if err != nil {
		return err
	}
	list, err := g.ledger.Latest(r.Context(), q)
	if err != nil {
		return err
	}
	out := Latest{Now: g.now().UTC()}
	if out.Observations, err = g.observed(r.Context(), list, false); err != nil {
		return err
	}
	if out.Feeds, err = g.feedStates(r.Context()); err != nil {
		return err
	}
	return web.WriteJSON(w, r, http.StatusOK, out)
}

// observed names the fetches that brought observations.
func (g *Gateway) observed(ctx context.Context, list []ledger.Observation, replaced bool) ([]Observed, error) {
	var entries []uint64
	for _, o := range list {
		entries = append(entries, o.Entry)
	}
	hashes, err := g.hashes(ctx, entries)
	if err != nil {
		return nil, err
	}
	out := make([]Observed, 0, len(list))
	for _, o := range list {
		dataset, err := cityid.ParseCanonical(o.Feed)
		if err != nil {
			return nil, err
		}
		out = append(out, Observed{
			Dataset: dataset, Indicator: o.Indicator, Source: o.Source, Unit: o.Unit, Time: o.Time, Value: o.Value, Entry: hashes[o.Entry], Replaced: replaced,
		})
	}
	return out, nil
}

// hashes returns the hashes of entries that are still there.
func (g *Gateway) hashes(ctx context.Context, entries []uint64) (map[uint64]cityid.Digest, error) {
	slices.Sort(entries)
	return g.ledger.Hashes(ctx, slices.Compact(entries))
}

// feedStates says how far each feed was followed.
func (g *Gateway) feedStates(ctx context.Context) ([]FeedState, error) {
	out := []FeedState{}
	for i := range g.cfg.Feeds {
		c := &g.cfg.Feeds[i]
		f := g.followers[ledger.Feed{Agreement: c.Agreement, Path: c.Path}]
		s, err := g.ledger.Subscription(ctx, f.feed)
		if err != nil {
			return nil, err
		}
		f.mu.Lock()
		state := FeedState{
			Agreement: c.Agreement, Path: c.Path, Events: s.Events, Changed: s.Changed, Every: Duration(f.every()), Failed: f.failed, Since: f.since,
		}
		f.mu.Unlock()
		if standing := g.view.Known(c.Agreement); standing != nil {
			state.Dataset = standing.Agreement.Terms.Dataset
		}
		out = append(out, state)
	}
	return out, nil
}

// maxSeriesPoints bounds the points of one series in an answer.
const maxSeriesPoints = 2000

func seriesQuery(values url.Values) (q ledger.SeriesQuery, err error) {
	q.Points = 500
	for name, list := range values {
		v, bad := list[0], len(list) != 1
		var e error
		switch name {
		case "dataset":
			var c cityid.Code
			c, e = cityid.Parse(v)
			q.Feed = c.String()
		case "indicator":
			q.Indicator = v
			bad = bad || len(v) > 64
		case "source":
			q.Source, e = cityid.Parse(v)
		case "from":
			q.From, e = parseTime(v)
		case "to":
			q.To, e = parseTime(v)
		case "points":
			q.Points, e = strconv.Atoi(v)
			bad = bad || q.Points < 1 || q.Points > maxSeriesPoints
		default:
			bad = true
		}
		if e != nil || bad {
			return q, cityid.Errorf(cityid.ErrMalformed, "query: parameter %.40q=%.60q: want dataset, indicator, source, from, to and points, each once", name, v)
		}
	}
	return q, nil
}

func parseTime(s string) (cityid.Time, error) {
	t, err := time.Parse(time.RFC3339, s)
	return cityid.TimeOf(t), err
}
