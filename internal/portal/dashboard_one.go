// SPDX-License-Identifier: Apache-2.0

package portal

import (
	"html/template"
	"net/http"
	"net/url"
	"slices"

	"cityid"
)

// allStations is how an address asks for what all stations come to together.
const allStations = "all"

// indicatorData is what the page of one indicator shows.
type indicatorData struct {
	*board
	Problem   string
	Partly    string
	Tile      *tile
	Other     []navItem // the same indicator of other cities and units
	Range     string
	Ranges    []navItem
	Stations  []stationChoice
	All       bool // the trend is of all stations together
	Trend     template.HTML
	Words     string // what the trend shows, in a sentence
	Points    []pointRow
	Several   bool // points stand for several observations
	Rows      []stationRow
	Hidden    int // stations that Rows leaves out
	Map       *stationMap
	CSV       string // of the trend
	LatestCSV string // of the stations
	Compare   string
	Dataset   place
}

// stationChoice is one choice of whose trend is drawn.
type stationChoice struct {
	Value, Name string
	Chosen      bool
}

// pointRow is a point of a trend as a row.
type pointRow struct {
	Time   cityid.Time
	When   string
	Value  string // of the last observation; "": of several stations
	Count  int
	Whole  aggregate
	Replay string
}

// stationRow is the latest observation of one station.
type stationRow struct {
	Source place
	Value  string
	Time   cityid.Time
	When   string
	Tags   []tag
	Replay string
	URL    string
}

// oneQuestion is what an address asks about one stream.
type oneQuestion struct {
	key     streamKey
	station cityid.Code
	all     bool
	period  boardRange
}

func (b *board) oneQuestion(q url.Values) (x oneQuestion, err error) {
	x.key.indicator, x.key.unit = q.Get("indicator"), q.Get("unit")
	if x.period, err = parseRange(q.Get("range")); err != nil {
		return x, err
	}
	if s := q.Get("dataset"); s != "" {
		if x.key.dataset, err = cityid.Parse(s); err != nil {
			return x, cityid.Errorf(cityid.ErrMalformed, "%v", err)
		}
	}
	switch s := q.Get("station"); s {
	case "":
	case allStations:
		x.all = true
	default:
		if x.station, err = cityid.Parse(s); err != nil {
			return x, cityid.Errorf(cityid.ErrMalformed, "%v", err)
		}
	}
	return x, nil
}

// find returns the stream that is asked for, and all of the same indicator.
func (x *oneQuestion) find(all []*stream) (found *stream, same []*stream, err error) {
	for _, s := range all {
		if s.indicator != x.key.indicator {
			continue
		}
		same = append(same, s)
		if found == nil && (x.key.dataset.IsZero() || x.key.dataset == s.dataset) && (x.key.unit == "" || x.key.unit == s.unit) {
			found = s
		}
	}
	if found == nil {
		return nil, nil, cityid.Errorf(cityid.ErrNotFound, "there are no observations of indicator %.80q here", x.key.indicator)
	}
	known := func(o *Observed) bool { return o.Source == x.station }
	if !x.station.IsZero() && !slices.ContainsFunc(found.Latest, known) {
		return nil, nil, cityid.Errorf(cityid.ErrNotFound, "%s has observed nothing of indicator %s here", x.station, x.key.indicator)
	}
	return found, same, nil
}

// oneRead is what is known of one stream.
type oneRead struct {
	oneQuestion
	data   *indicatorData
	latest *Latest
	line   *Line // nil: the gateway is of no use
}

// readOne reads what the page of one indicator and its tables show. data.Problem and
// data.Partly say what is wrong with the gateway.
func (pg *page) readOne(r *http.Request, b *board) (*oneRead, error) {
	question, err := b.oneQuestion(r.URL.Query())
	if err != nil {
		return nil, err
	}
	x := &oneRead{oneQuestion: question, data: &indicatorData{board: b, All: question.all}}
	if x.latest, err = pg.boards.latest(r.Context(), b.Party); err != nil {
		x.data.Problem = pg.gatewayProblem(err, b.City.Name)
		return x, nil
	}
	s, same, err := x.find(pg.streams(b.Party, x.latest))
	if err != nil {
		return nil, err
	}
	if x.data.Tile, err = pg.tile(b, s, x.station, pg.now(), troubles(x.latest.Feeds)); err != nil {
		return nil, err
	}
	x.key, x.station = s.streamKey, x.data.Tile.Shown.Source
	if err := pg.oneOthers(x.data, &x.oneQuestion, same); err != nil {
		return nil, err
	}
	q := x.period.query(pg.now())
	q.Dataset, q.Indicator, q.Combine = s.dataset, s.indicator, x.all
	if !x.all {
		q.Source = x.station
	}
	x.line = &Line{}
	got, err := pg.boards.series(r.Context(), b.Party, q)
	if err != nil {
		x.data.Partly = pg.gatewayProblem(err, b.City.Name)
		return x, nil
	}
	for i := range got.Lines {
		if c := &got.Lines[i]; c.Unit == s.unit && (x.all || c.Source == x.station) {
			x.line = c
		}
	}
	return x, nil
}

// oneOthers lists the same indicator of other cities and in other units.
func (pg *page) oneOthers(data *indicatorData, x *oneQuestion, same []*stream) (err error) {
	for _, s := range same {
		if s.streamKey == x.key {
			continue
		}
		city, err := pg.placeAt(s.City)
		if err != nil {
			return err
		}
		data.Other = append(data.Other, navItem{URL: data.streamURL(s.streamKey, "&range="+x.period.name), Text: city.Name + " · " + pg.unit(s.unit)})
	}
	data.Dataset, err = pg.placeAt(x.key.dataset)
	return err
}

// boardOne shows one indicator.
func (pg *page) boardOne(w http.ResponseWriter, r *http.Request, b *board) error {
	x, err := pg.readOne(r, b)
	if err != nil {
		return err
	}
	data := x.data
	if data.Problem != "" {
		return pg.noBoard(w, r, b, data.Problem)
	}
	for _, c := range boardRanges {
		data.Ranges = append(data.Ranges, navItem{URL: address(r, "range", c.name), Text: pg.T("dashboard.range." + c.name), Current: c == x.period})
	}
	data.Range = x.period.name
	if err := pg.oneStations(x); err != nil {
		return err
	}
	pg.oneTrend(x)
	if data.Map, err = pg.boardMap(b, x.latest, x.key); err != nil {
		return err
	}
	data.CSV = b.URL + "/data.csv?" + r.URL.Query().Encode()
	data.LatestCSV = data.CSV + "&table=stations"
	data.Compare = pg.URL("/compare?") + url.Values{"cities": {data.Tile.City.String()}, "indicator": {x.key.indicator}}.Encode()
	pg.Title = pg.T("dashboard.one.title", data.Tile.Words.Name, b.City.Name)
	return pg.render(w, r, http.StatusOK, "dashboard_one", data)
}

// oneStations lists the stations, with what each observed last.
func (pg *page) oneStations(x *oneRead) error {
	data, t, now := x.data, x.data.Tile, pg.now()
	if len(t.Latest) > 1 {
		data.Stations = append(data.Stations, stationChoice{allStations, pg.T("dashboard.all", len(t.Latest)), x.all})
	}
	for _, o := range t.Latest {
		var at place
		var err error
		if !o.Source.IsZero() {
			if at, err = pg.placeAt(o.Source); err != nil {
				return err
			}
			data.Stations = append(data.Stations, stationChoice{o.Source.String(), at.Name, !x.all && o.Source == x.station})
		}
		if len(data.Rows) == maxStationRow {
			data.Hidden++
			continue
		}
		data.Rows = append(data.Rows, stationRow{
			Source: at, Value: o.Value, Time: o.Time, When: pg.observedAt(o.Time, t.period()),
			Tags:   append([]tag{pg.provenance(o.Entry)}, pg.freshness(o.Time, t.period(), now, nil)...),
			Replay: data.replayURL(o.Time, x.key), URL: data.streamURL(x.key, "&"+url.Values{"station": {o.Source.String()}, "range": {x.period.name}}.Encode()),
		})
	}
	return nil
}

// oneTrend draws the trend and makes its table.
func (pg *page) oneTrend(x *oneRead) {
	data, line := x.data, x.line
	q, period := x.period.query(pg.now()), data.Tile.Words.periodOf(line)
	name := data.Tile.Words.Name + " · " + data.Tile.Source.Name
	if x.all {
		name = data.Tile.Words.Name + " · " + pg.T("dashboard.mean", len(data.Tile.Latest))
	}
	data.Words = pg.lineWords(line, data.Tile.Unit)
	t := trend{ID: "trend", Title: name, Summary: data.Words, From: q.From, To: q.To, Lang: pg.Lang, Lines: []trendLine{lineOf(line, period, x.period.step)}}
	data.Trend = t.draw()
	for i := len(line.Points) - 1; i >= 0; i-- {
		p := &line.Points[i]
		row := pointRow{Time: p.Time, When: pg.observedAt(p.Time, period), Value: p.Value, Count: p.Count, Replay: data.replayURL(p.Time, x.key)}
		if p.Count > 1 {
			places := max(decimalsOf(p.Value), data.Tile.Words.Decimals)
			row.Whole = aggregate{p.Count, computed(p.Mean, places), computed(p.Min, places), computed(p.Max, places)}
			data.Several = true
		}
		data.Points = append(data.Points, row)
	}
}
