// SPDX-License-Identifier: Apache-2.0

package portal

import (
	"html/template"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"cityid"
)

// Bounds of what one page shows.
const (
	maxTiles      = 64
	maxSparks     = 32 // stations whose lines are asked for
	sparkPoints   = 96
	maxStationRow = 250
)

// boardRange is a period that a trend covers: points of so many seconds each.
type boardRange struct {
	name         string
	length, step cityid.Time
}

// boardRanges are the periods that can be chosen, the first unless one is.
var boardRanges = []boardRange{{"24h", 86400, 300}, {"7d", 7 * 86400, 3600}, {"30d", 30 * 86400, 3 * 3600}}

// until returns the end of the period that ends now, which is round so that those
// who ask within one step ask the same.
func (r boardRange) until(now cityid.Time) cityid.Time { return (now + r.step) / r.step * r.step }

// query returns the question for the points of the period.
func (r boardRange) query(now cityid.Time) LineQuery {
	to := r.until(now)
	return LineQuery{From: to - r.length, To: to, Points: int(r.length / r.step)}
}

func parseRange(s string) (boardRange, error) {
	for i, r := range boardRanges {
		if s == r.name || s == "" && i == 0 {
			return r, nil
		}
	}
	return boardRange{}, cityid.Errorf(cityid.ErrMalformed, "period %.40q: want 24h, 7d or 30d", s)
}

// streamKey is what a tile shows: an indicator of a dataset in one unit.
type streamKey struct {
	dataset   cityid.Code
	indicator string
	unit      string
}

// stream is all that was observed last of a key, in order of source.
type stream struct {
	streamKey
	Words  indicatorWords
	Own    bool
	City   cityid.Code // whose stream it is
	Latest []*Observed
}

// period returns by what observations follow each other; where that is not known, a
// day.
func (s *stream) period() cityid.Time {
	if s.Words.Period > 0 {
		return s.Words.Period
	}
	return 86400
}

// station returns the observation that stands for the stream: that of a source, if
// one is named; else of the first source that is not late; else the latest.
func (s *stream) station(source cityid.Code, now cityid.Time) *Observed {
	var best *Observed
	for _, o := range s.Latest {
		switch {
		case !source.IsZero() && o.Source == source:
			return o
		case best == nil, late(best.Time, s.period(), now) && o.Time > best.Time:
			best = o
		}
	}
	return best
}

// streams sorts what was observed last: own streams first, then by city, domain,
// indicator.
func (pg *page) streams(party cityid.Code, l *Latest) []*stream {
	byKey := map[streamKey]*stream{}
	var out []*stream
	for i := range l.Observations {
		o := &l.Observations[i]
		k := streamKey{o.Dataset, o.Indicator, o.Unit}
		s := byKey[k]
		if s == nil {
			s = &stream{streamKey: k, Words: pg.indicatorWords(o.Indicator), City: cityOf(o.Dataset)}
			s.Own = s.City == cityOf(party)
			byKey[k] = s
			out = append(out, s)
		}
		s.Latest = append(s.Latest, o)
	}
	for _, s := range out {
		slices.SortFunc(s.Latest, func(a, b *Observed) int { return a.Source.Compare(b.Source) })
	}
	slices.SortStableFunc(out, func(a, b *stream) int {
		if a.Own != b.Own {
			if a.Own {
				return -1
			}
			return 1
		}
		if c := a.City.Compare(b.City); c != 0 {
			return c
		}
		if c := slices.Index(domainOrder, a.Words.Domain) - slices.Index(domainOrder, b.Words.Domain); c != 0 {
			return c
		}
		return compareNumbers(a.indicator, b.indicator)
	})
	return out
}

// compareNumbers orders identifiers such as 37120:2018:8.2 and 37120:2018:8.10 by
// their numbers.
func compareNumbers(a, b string) int {
	split := func(r rune) bool { return r == ':' || r == '.' || r == '-' }
	x, y := strings.FieldsFunc(a, split), strings.FieldsFunc(b, split)
	for i := 0; i < len(x) && i < len(y); i++ {
		if len(x[i]) != len(y[i]) {
			return len(x[i]) - len(y[i])
		}
		if c := strings.Compare(x[i], y[i]); c != 0 {
			return c
		}
	}
	return len(x) - len(y)
}

// tile shows one stream.
type tile struct {
	*stream
	Shown   *Observed
	Domain  string
	Unit    string // for people
	When    string
	Source  place
	Foreign bool // the source is not below the city whose data they are
	Tags    []tag
	Whole   aggregate     // of all stations that are not late, if there are several
	Silent  int           // stations that are
	Spark   template.HTML // "": nothing is known
	URL     string
	Replay  string
}

// UCUM returns the unit as programs write it.
func (t *tile) UCUM() string { return t.unit }

// tileGroup is the tiles of one city.
type tileGroup struct {
	City  place
	Own   bool
	Tiles []*tile
}

// boardData is what a dashboard shows.
type boardData struct {
	*board
	Groups  []tileGroup
	Failing []feedTrouble // feeds of which nothing has come
	Clock   string        // what the gateway's clock shows, if it is wrong
	Problem string        // why there is nothing to show
	Partly  string        // why lines are missing
	More    int           // streams that are not shown
	Map     *stationMap
	Now     time.Time
	CSV     string
	Compare string
}

// boardPage answers all addresses below /dashboard/.
func (p *portal) boardPage(w http.ResponseWriter, r *http.Request, pg *page) error {
	text, step := r.PathValue("path"), ""
	if i := strings.LastIndexByte(text, '/'); i >= 0 && (text[i+1:] == "replay" || text[i+1:] == "data.csv") {
		text, step = text[:i], text[i+1:]
	} else if i := strings.LastIndex(text, "/evidence/"); i >= 0 {
		text, step = text[:i], text[i+1:]
	}
	party, err := cityid.Parse(text)
	if err != nil {
		return cityid.Errorf(cityid.ErrNotFound, "the address is no code: %v", err)
	}
	if party.String() != text {
		u := url.URL{Path: strings.TrimSuffix(pg.URL("/dashboard/", party.String(), "/", step), "/"), RawQuery: r.URL.RawQuery}
		http.Redirect(w, r, u.String(), http.StatusPermanentRedirect)
		return nil
	}
	b, err := pg.board(party)
	if b == nil {
		return err
	}
	if err != nil {
		return pg.noBoard(w, r, b, pg.gatewayProblem(err, b.City.Name))
	}
	pg.Private = !b.Public
	if !b.May() {
		return pg.closedBoard(w, r, b)
	}
	switch evidence, isEvidence := strings.CutPrefix(step, "evidence/"); {
	case isEvidence:
		return pg.boardEvidence(w, r, b, evidence)
	case step == "replay":
		return pg.boardReplay(w, r, b)
	case step == "data.csv":
		return pg.boardCSV(w, r, b)
	case r.URL.Query().Get("indicator") != "":
		return pg.boardOne(w, r, b)
	}
	return pg.boardTiles(w, r, b)
}

// BoardTrail returns the way to a page of a dashboard.
func (pg *page) BoardTrail(city place, party cityid.Code, step string) []crumb {
	out := []crumb{{city.URL, city.Name}}
	if step == "" {
		return append(out, crumb{"", pg.T("dashboard.nav")})
	}
	return append(out, crumb{pg.URL("/dashboard/", party.String()), pg.T("dashboard.nav")}, crumb{"", step})
}

// closedBoard tells somebody that a dashboard is not for everybody.
func (pg *page) closedBoard(w http.ResponseWriter, r *http.Request, b *board) error {
	if pg.Key() == "" && pg.Office != nil {
		http.Redirect(w, r, pg.URL("/sign-in?next=", url.QueryEscape(r.URL.RequestURI())), http.StatusSeeOther)
		return nil
	}
	pg.Title = pg.T("dashboard.title", b.City.Name)
	return pg.render(w, r, http.StatusForbidden, "dashboard_closed", b)
}

// boardTiles shows what was observed last.
func (pg *page) boardTiles(w http.ResponseWriter, r *http.Request, b *board) error {
	data := &boardData{board: b}
	l, err := pg.boards.latest(r.Context(), b.Party)
	if err != nil {
		return pg.noBoard(w, r, b, pg.gatewayProblem(err, b.City.Name))
	}
	if err := pg.fillBoard(data, l); err != nil {
		return err
	}
	pg.sparks(data)
	if data.Map, err = pg.boardMap(b, l, streamKey{}); err != nil {
		return err
	}
	return pg.showBoard(w, r, http.StatusOK, data)
}

// noBoard shows why there is nothing to show.
func (pg *page) noBoard(w http.ResponseWriter, r *http.Request, b *board, problem string) error {
	w.Header().Set("Retry-After", "5")
	return pg.showBoard(w, r, http.StatusServiceUnavailable, &boardData{board: b, Problem: problem})
}

func (pg *page) showBoard(w http.ResponseWriter, r *http.Request, status int, data *boardData) error {
	data.Now, data.CSV = time.Now(), data.URL+"/data.csv"
	data.Compare = pg.URL("/compare?cities=", data.Party.String())
	pg.Title = pg.T("dashboard.title", data.City.Name)
	return pg.render(w, r, status, "dashboard", data)
}

// now is the time by which it is judged what is late.
func (pg *page) now() cityid.Time { return cityid.TimeOf(time.Now()) }

// wrongClock is by how much a gateway's clock may differ from this machine's.
const wrongClock = 2 * time.Minute

// fillBoard makes tiles of what was observed last.
func (pg *page) fillBoard(data *boardData, l *Latest) error {
	now, trouble := pg.now(), troubles(l.Feeds)
	if d := time.Since(l.Now); d > wrongClock || d < -wrongClock {
		data.Clock = pg.Moment(l.Now)
	}
	shown := 0
	for _, s := range pg.streams(data.Party, l) {
		if shown == maxTiles {
			data.More++
			continue
		}
		shown++
		t, err := pg.tile(data.board, s, cityid.Code{}, now, trouble)
		if err != nil {
			return err
		}
		if n := len(data.Groups); n == 0 || data.Groups[n-1].City.Code != s.City {
			city, err := pg.placeAt(s.City)
			if err != nil {
				return err
			}
			data.Groups = append(data.Groups, tileGroup{City: city, Own: s.Own})
		}
		g := &data.Groups[len(data.Groups)-1]
		g.Tiles = append(g.Tiles, t)
	}
	seen := map[cityid.Code]bool{}
	for i := range l.Observations {
		seen[l.Observations[i].Dataset] = true
	}
	for dataset, f := range trouble {
		if !seen[dataset] {
			data.Failing = append(data.Failing, f)
		}
	}
	slices.SortFunc(data.Failing, func(a, b feedTrouble) int { return a.Dataset.Compare(b.Dataset) })
	return nil
}

// tile makes the tile of a stream; source names the station that is to stand for it.
func (pg *page) tile(b *board, s *stream, source cityid.Code, now cityid.Time, trouble map[cityid.Code]feedTrouble) (*tile, error) {
	o := s.station(source, now)
	t := &tile{stream: s, Shown: o, Domain: pg.T("dashboard.domain." + s.Words.Domain), Unit: pg.unit(s.unit), When: pg.observedAt(o.Time, s.period())}
	var err error
	if !o.Source.IsZero() {
		if t.Source, err = pg.placeAt(o.Source); err != nil {
			return nil, err
		}
		t.Foreign = !o.Source.Within(s.City)
	}
	city, err := pg.placeAt(s.City)
	if err != nil {
		return nil, err
	}
	var failing *feedTrouble
	if f, ok := trouble[s.dataset]; ok {
		failing = &f
	}
	t.Tags = append([]tag{pg.provenance(o.Entry)}, pg.freshness(o.Time, s.period(), now, failing)...)
	t.Tags = append(t.Tags, pg.ownership(s.Own, city.Name))
	var fresh []string
	for _, x := range s.Latest {
		if late(x.Time, s.period(), now) {
			t.Silent++
		} else {
			fresh = append(fresh, x.Value)
		}
	}
	if len(fresh) > 1 {
		t.Whole = aggregateOf(fresh)
	}
	t.URL = b.streamURL(s.streamKey, "")
	t.Replay = b.replayURL(o.Time, s.streamKey)
	return t, nil
}

// streamURL returns the address of the page of one stream; more is added to its
// query.
func (b *board) streamURL(k streamKey, more string) string {
	q := url.Values{"indicator": {k.indicator}, "dataset": {k.dataset.String()}}
	if k.unit != "" {
		q.Set("unit", k.unit)
	}
	return b.URL + "?" + q.Encode() + more
}

func (b *board) replayURL(at cityid.Time, k streamKey) string {
	at -= at % 60
	return b.URL + "/replay?" + url.Values{"minute": {at.String()}, "indicator": {k.indicator}, "dataset": {k.dataset.String()}}.Encode()
}

// sparks asks for the lines of the stations that tiles show, all indicators of a
// station over one period at once. A page is shown without those that do not come.
func (pg *page) sparks(data *boardData) {
	type question struct {
		dataset, source cityid.Code
		over            string
	}
	lines, number := map[question]*Series{}, 0
	for _, g := range data.Groups {
		for _, t := range g.Tiles {
			over := sparkRange(t.Words.Period)
			k := question{t.dataset, t.Shown.Source, over.name}
			q := over.query(pg.now())
			q.Points = sparkPoints
			s, asked := lines[k]
			if !asked && !k.source.IsZero() && len(lines) < maxSparks && data.Partly == "" {
				var err error
				q.Dataset, q.Source = k.dataset, k.source
				if s, err = pg.boards.series(pg.ctx, data.Party, q); err != nil {
					data.Partly = pg.gatewayProblem(err, data.City.Name)
				}
				lines[k] = s
			}
			if number++; s != nil {
				t.Spark = pg.spark(t, s, over, &q, number)
			}
		}
	}
}

// sparkRange is over how long the small picture of a stream reaches: a day, or a
// month for what is observed once a day or more seldom.
func sparkRange(period cityid.Time) boardRange {
	if period >= 86400 {
		return boardRanges[len(boardRanges)-1]
	}
	return boardRanges[0]
}

// spark makes the small picture of a tile.
func (pg *page) spark(t *tile, s *Series, over boardRange, q *LineQuery, number int) template.HTML {
	for i := range s.Lines {
		l := &s.Lines[i]
		if l.Indicator != t.indicator || l.Unit != t.unit || len(l.Points) == 0 {
			continue
		}
		x := trend{
			ID: "spark-" + strconv.Itoa(number), Title: pg.T("dashboard.spark", t.Words.Name, pg.T("dashboard.range."+over.name)), Summary: pg.lineWords(l, t.Unit), From: q.From, To: q.To,
			Lines: []trendLine{lineOf(l, t.Words.periodOf(l), (q.To-q.From)/cityid.Time(q.Points))},
		}
		for i := range x.Lines[0].Points { // it shows no shade, so it needs no room for it
			p := &x.Lines[0].Points[i]
			p.Low, p.High = p.Y, p.Y
		}
		return x.spark()
	}
	return ""
}

// lineWords says in a sentence what a line shows.
func (pg *page) lineWords(l *Line, unit string) string {
	if len(l.Points) == 0 {
		return pg.T("dashboard.line.none")
	}
	n, low, high, places := 0, l.Points[0].Min, l.Points[0].Max, 0
	for _, p := range l.Points {
		n, low, high, places = n+p.Count, min(low, p.Min), max(high, p.Max), max(places, decimalsOf(p.Value))
	}
	if l.Sources > 1 {
		places = max(1, pg.indicatorWords(l.Indicator).Decimals)
	}
	first, last := l.Points[0], l.Points[len(l.Points)-1]
	return pg.T("dashboard.line", grouped(n), pg.Moment(first.Time.Std()), pg.Moment(last.Time.Std()), computed(low, places), computed(high, places), unit)
}
