// SPDX-License-Identifier: Apache-2.0

package share

import (
	"net/http"
	"net/url"
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

// SeriesLine is one series with its points in order of time.
type SeriesLine struct {
	Dataset   cityid.Code   `json:"dataset"`
	Indicator string        `json:"indicator"`
	Source    cityid.Code   `json:"source,omitzero"`
	Unit      string        `json:"unit,omitempty"`
	First     cityid.Time   `json:"first"`
	Last      cityid.Time   `json:"last"`
	Points    []SeriesPoint `json:"points"`
}

// SeriesPoint is an observation, or what several next to each other come to.
type SeriesPoint struct {
	Time  cityid.Time `json:"time"`  // of the last of them
	Value string      `json:"value"` // of the last of them, as it came
	Mean  float64     `json:"mean"`
	Min   float64     `json:"min"`
	Max   float64     `json:"max"`
	Count int         `json:"count"`
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
}

// localSeries answers with series: ?dataset=CODE &indicator=ID &source=CODE &from= &to= (RFC 3339) &points=1..2000.
func (g *Gateway) localSeries(w http.ResponseWriter, r *http.Request) error {
	q, err := seriesQuery(r.URL.RawQuery)
	if err != nil {
		return err
	}
	lines, err := g.ledger.Lines(r.Context(), q)
	if err != nil {
		return err
	}
	out := Series{Lines: []SeriesLine{}, Feeds: []FeedState{}, Now: g.now().UTC()}
	for _, l := range lines {
		dataset, err := cityid.ParseCanonical(l.Feed)
		if err != nil {
			return err
		}
		line := SeriesLine{
			Dataset: dataset, Indicator: l.Indicator, Source: l.Source, Unit: l.Unit, First: l.First, Last: l.Last,
			Points: make([]SeriesPoint, len(l.Points)),
		}
		for i, p := range l.Points {
			line.Points[i] = SeriesPoint{p.Time, p.Value, p.Mean, p.Min, p.Max, p.Count}
		}
		out.Lines = append(out.Lines, line)
	}
	for i := range g.cfg.Feeds {
		c := &g.cfg.Feeds[i]
		f := g.followers[ledger.Feed{Agreement: c.Agreement, Path: c.Path}]
		s, err := g.ledger.Subscription(r.Context(), f.feed)
		if err != nil {
			return err
		}
		f.mu.Lock()
		state := FeedState{Agreement: c.Agreement, Path: c.Path, Events: s.Events, Changed: s.Changed, Every: Duration(f.every()), Failed: f.failed}
		f.mu.Unlock()
		if standing := g.view.Known(c.Agreement); standing != nil {
			state.Dataset = standing.Agreement.Terms.Dataset
		}
		out.Feeds = append(out.Feeds, state)
	}
	return web.WriteJSON(w, r, http.StatusOK, out)
}

// maxSeriesPoints bounds the points of one series in an answer.
const maxSeriesPoints = 2000

func seriesQuery(raw string) (q ledger.SeriesQuery, err error) {
	values, err := url.ParseQuery(raw)
	if err != nil {
		return q, cityid.Errorf(cityid.ErrMalformed, "query: %v", err)
	}
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

// Replay is what is known of one minute of a feed: its observations, and the
// fetches that brought them, each of which has evidence.
type Replay struct {
	Minute       time.Time     `json:"minute"`
	Observations []ReplayedOne `json:"observations"`
	Fetches      []ReplayFetch `json:"fetches"`
}

// ReplayedOne is one observation of the minute.
type ReplayedOne struct {
	Dataset   cityid.Code   `json:"dataset"`
	Indicator string        `json:"indicator"`
	Source    cityid.Code   `json:"source,omitzero"`
	Unit      string        `json:"unit,omitempty"`
	Time      cityid.Time   `json:"time"`
	Value     string        `json:"value"`
	Entry     cityid.Digest `json:"entry,omitzero"` // hash of the fetch's entry; zero: erased
}

// ReplayFetch is a fetch that brought some of the minute.
type ReplayFetch struct {
	Entry        cityid.Digest  `json:"entry"`
	Agreement    cityid.Digest  `json:"agreement"`
	Provider     cityid.Code    `json:"provider"`
	Receipt      ledger.Receipt `json:"receipt"`
	Acknowledged bool           `json:"acknowledged"`
	Anchored     cityid.Time    `json:"anchored,omitzero"` // by this side
}

// localReplay answers about a minute: ?minute=RFC3339 &dataset=CODE &indicator=ID.
func (g *Gateway) localReplay(w http.ResponseWriter, r *http.Request) error {
	values := r.URL.Query()
	minute, err := time.Parse(time.RFC3339, values.Get("minute"))
	if err != nil {
		return cityid.Errorf(cityid.ErrMalformed, "query: minute=%.40q: want a time such as 2026-11-24T08:15:00Z", values.Get("minute"))
	}
	values.Del("minute")
	q, err := seriesQuery(values.Encode())
	if err != nil {
		return err
	}
	minute = minute.UTC().Truncate(time.Minute)
	q.From, q.To = cityid.TimeOf(minute), cityid.TimeOf(minute)+60
	list, err := g.ledger.Observations(r.Context(), q, ledger.MaxPage)
	if err != nil {
		return err
	}
	out := Replay{Minute: minute, Observations: []ReplayedOne{}, Fetches: []ReplayFetch{}}
	fetches := map[uint64]cityid.Digest{}
	for _, o := range list {
		hash, known := fetches[o.Entry]
		if !known {
			if d, err := g.ledger.Entry(r.Context(), o.Entry); err == nil {
				hash = d.Hash
				out.Fetches = append(out.Fetches, ReplayFetch{
					Entry: d.Hash, Agreement: d.Agreement, Provider: d.Peer, Receipt: d.Receipt, Acknowledged: d.Acknowledged, Anchored: d.Anchored,
				})
			}
			fetches[o.Entry] = hash
		}
		dataset, err := cityid.ParseCanonical(o.Feed)
		if err != nil {
			return err
		}
		out.Observations = append(out.Observations, ReplayedOne{
			Dataset: dataset, Indicator: o.Indicator, Source: o.Source, Unit: o.Unit, Time: o.Time, Value: o.Value, Entry: hash,
		})
	}
	return web.WriteJSON(w, r, http.StatusOK, out)
}
