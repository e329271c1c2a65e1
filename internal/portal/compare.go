// SPDX-License-Identifier: Apache-2.0

package portal

import (
	"html/template"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"cityid"
)

// comparand is a stream that can be compared: one indicator of one city, as a
// gateway has it.
type comparand struct {
	*stream
	board  *board
	latest *Latest
}

// compareData is what a comparison shows.
type compareData struct {
	Cities     []cityChoice
	Indicators []indicatorChoice
	Chosen     indicatorWords // zero: nothing is asked for yet
	Range      string
	Ranges     []navItem
	Charts     []compareChart // one for each unit
	Lines      []*compareLine
	Units      string   // which units there are, if several
	Problems   []string // gateways that are of no use
	Missing    []string // cities without the indicator
	TooMany    int      // cities that were left out, since there are more than lines can be told apart
	CSV        string
	None       bool // there is nothing that could be compared
}

// cityChoice is a city that can be chosen.
type cityChoice struct {
	place
	Chosen bool
}

// indicatorChoice is an indicator that can be chosen.
type indicatorChoice struct {
	indicatorWords
	Chosen bool
}

// compareChart is the lines of one unit.
type compareChart struct {
	Unit  string // for people
	SVG   template.HTML
	Lines []*compareLine
	Rows  []compareRow
}

// compareLine is the line of one city.
type compareLine struct {
	comparand
	City  place
	Key   template.HTML
	Unit  string
	Tags  []tag
	When  string    // of the latest observation
	Whole aggregate // of the stations that are not late
	URL   string
	Via   place // whose gateway has it, if it is another's
	Words string

	line *Line
}

// Dataset returns the code of the dataset that the line is of.
func (l *compareLine) Dataset() cityid.Code { return l.dataset }

// compareRow is what the lines of a chart have in one stretch of time.
type compareRow struct {
	When  string
	Time  cityid.Time
	Cells []string
}

// comparable lists what the visitor may compare. Of a city whose own gateway is known,
// that one counts; else the first that has the stream.
func (pg *page) comparable(data *compareData) ([]comparand, error) {
	var out []comparand
	if pg.boards == nil {
		return nil, nil
	}
	for _, party := range pg.boards.from.Parties() {
		b, err := pg.board(party)
		if b == nil {
			return nil, err
		}
		if err == nil && !b.May() {
			continue
		}
		var l *Latest
		if err == nil {
			l, err = pg.boards.latest(pg.ctx, party)
		}
		if err != nil {
			data.Problems = append(data.Problems, pg.gatewayProblem(err, b.City.Name))
			continue
		}
		for _, s := range pg.streams(party, l) {
			out = append(out, comparand{s, b, l})
		}
	}
	slices.SortStableFunc(out, func(a, b comparand) int {
		if a.Own != b.Own {
			if a.Own {
				return -1
			}
			return 1
		}
		return 0
	})
	seen := map[streamKey]bool{}
	return slices.DeleteFunc(out, func(c comparand) bool {
		was := seen[c.streamKey]
		seen[c.streamKey] = true
		return was
	}), nil
}

// compareQuestion is what an address asks for.
type compareQuestion struct {
	cities    []cityid.Code
	indicator string
	period    boardRange
}

func parseCompare(q url.Values) (x compareQuestion, err error) {
	for _, list := range q["cities"] {
		for _, s := range strings.Split(list, ",") {
			if s == "" {
				continue
			}
			c, err := cityid.Parse(s)
			if err != nil {
				return x, cityid.Errorf(cityid.ErrMalformed, "%v", err)
			}
			if c = cityOf(c); !slices.Contains(x.cities, c) {
				x.cities = append(x.cities, c)
			}
		}
	}
	if x.indicator = q.Get("indicator"); x.indicator != "" && !indicatorText.MatchString(x.indicator) {
		return x, cityid.Errorf(cityid.ErrMalformed, "indicator %.80q: want its identifier, such as 37120:2018:8.1", x.indicator)
	}
	x.period, err = parseRange(q.Get("range"))
	return x, err
}

// compare shows the same indicator of several cities.
func (p *portal) compare(w http.ResponseWriter, r *http.Request, pg *page) error {
	data, err := pg.comparison(r)
	if err != nil {
		return err
	}
	for _, c := range boardRanges {
		data.Ranges = append(data.Ranges, navItem{URL: address(r, "range", c.name), Text: pg.T("dashboard.range." + c.name), Current: c.name == data.Range})
	}
	data.CSV = pg.URL("/compare/data.csv?") + r.URL.Query().Encode()
	pg.Title = pg.T("dashboard.compare.title")
	return pg.render(w, r, http.StatusOK, "dashboard_compare", data)
}

// comparison reads what an address asks for.
func (pg *page) comparison(r *http.Request) (*compareData, error) {
	x, err := parseCompare(r.URL.Query())
	if err != nil {
		return nil, err
	}
	if err := pg.Limits.Visit(r); err != nil {
		return nil, err
	}
	data := &compareData{Range: x.period.name}
	all, err := pg.comparable(data)
	if err != nil {
		return nil, err
	}
	if data.None = len(all) == 0; data.None {
		return data, nil
	}
	if err := pg.compareChoices(data, &x, all); err != nil {
		return nil, err
	}
	if x.indicator == "" || len(x.cities) == 0 {
		return data, nil
	}
	data.Chosen = pg.indicatorWords(x.indicator)
	if err := pg.compareLines(data, &x, all); err != nil {
		return nil, err
	}
	pg.compareCharts(data, &x)
	return data, nil
}

// compareChoices lists cities and indicators.
func (pg *page) compareChoices(data *compareData, x *compareQuestion, all []comparand) error {
	var cities []cityid.Code
	var ids []string
	for _, c := range all {
		if !slices.Contains(cities, c.City) {
			cities = append(cities, c.City)
		}
		if !slices.Contains(ids, c.indicator) {
			ids = append(ids, c.indicator)
		}
	}
	slices.SortFunc(cities, cityid.Code.Compare)
	for _, c := range cities {
		at, err := pg.placeAt(c)
		if err != nil {
			return err
		}
		data.Cities = append(data.Cities, cityChoice{at, slices.Contains(x.cities, c)})
	}
	for _, id := range ids {
		data.Indicators = append(data.Indicators, indicatorChoice{pg.indicatorWords(id), id == x.indicator})
	}
	slices.SortStableFunc(data.Indicators, func(a, b indicatorChoice) int {
		if c := slices.Index(domainOrder, a.Domain) - slices.Index(domainOrder, b.Domain); c != 0 {
			return c
		}
		return compareNumbers(a.ID, b.ID)
	})
	return nil
}

// compareLines reads the line of each city that is asked for.
func (pg *page) compareLines(data *compareData, x *compareQuestion, all []comparand) error {
	for _, city := range x.cities {
		i := slices.IndexFunc(all, func(c comparand) bool { return c.City == city && c.indicator == x.indicator })
		at, err := pg.placeAt(city)
		if err != nil {
			return err
		}
		switch {
		case i < 0:
			data.Missing = append(data.Missing, at.Name)
			continue
		case len(data.Lines) == maxTrendLines:
			data.TooMany++
			continue
		}
		l, err := pg.compareLine(data, x, all[i], at)
		if err != nil {
			return err
		}
		data.Lines = append(data.Lines, l)
	}
	return nil
}

func (pg *page) compareLine(data *compareData, x *compareQuestion, c comparand, city place) (*compareLine, error) {
	t, err := pg.tile(c.board, c.stream, cityid.Code{}, pg.now(), troubles(c.latest.Feeds))
	if err != nil {
		return nil, err
	}
	newest := slices.MaxFunc(c.Latest, func(a, b *Observed) int { return int(a.Time - b.Time) })
	l := &compareLine{
		comparand: c, City: city, Unit: t.Unit, Tags: t.Tags, When: pg.observedAt(newest.Time, c.period()), Whole: t.Whole,
		URL: c.board.streamURL(c.streamKey, "&station="+allStations+"&range="+x.period.name), line: &Line{},
	}
	if l.Whole.Count == 0 && !late(t.Shown.Time, c.period(), pg.now()) {
		l.Whole = aggregateOf([]string{t.Shown.Value})
	}
	if !c.Own {
		l.Via = c.board.City
	}
	q := x.period.query(pg.now())
	q.Dataset, q.Indicator, q.Combine = c.dataset, c.indicator, true
	s, err := pg.boards.series(pg.ctx, c.board.Party, q)
	if err != nil {
		data.Problems = append(data.Problems, pg.gatewayProblem(err, c.board.City.Name))
		return l, nil
	}
	for i := range s.Lines {
		if s.Lines[i].Unit == c.unit {
			l.line = &s.Lines[i]
		}
	}
	return l, nil
}

// compareCharts draws the lines, those of one unit together: different units share no
// axis.
func (pg *page) compareCharts(data *compareData, x *compareQuestion) {
	q := x.period.query(pg.now())
	var units []string
	for _, l := range data.Lines {
		if !slices.Contains(units, l.unit) {
			units = append(units, l.unit)
		}
	}
	for n, unit := range units {
		c := compareChart{}
		t := trend{ID: "compare-" + strconv.Itoa(n+1), From: q.From, To: q.To, Lang: pg.Lang}
		var names, words []string
		for _, l := range data.Lines {
			if l.unit != unit {
				continue
			}
			c.Unit, l.Key = l.Unit, lineKey(len(c.Lines))
			l.Words = pg.lineWords(l.line, l.Unit)
			names, words = append(names, l.City.Name), append(words, l.City.Name+": "+l.Words)
			t.Lines = append(t.Lines, lineOf(l.line, l.comparand.Words.periodOf(l.line), x.period.step))
			c.Lines = append(c.Lines, l)
		}
		t.Title = data.Chosen.Name + " · " + strings.Join(names, pg.T("dashboard.and"))
		t.Summary = strings.Join(words, " ")
		c.SVG = t.draw()
		c.Rows = pg.compareRows(c.Lines, &q, x.period.step)
		data.Charts = append(data.Charts, c)
	}
	if len(units) > 1 {
		var texts []string
		for _, l := range data.Lines {
			texts = append(texts, l.City.Name+": "+l.Unit)
		}
		data.Units = strings.Join(texts, pg.T("dashboard.comma"))
	}
}

// compareRows puts the means of several cities into rows by stretch of time, the
// latest first. What a city did not observe stays empty.
func (pg *page) compareRows(lines []*compareLine, q *LineQuery, step cityid.Time) []compareRow {
	rows := map[cityid.Time]*compareRow{}
	for n, l := range lines {
		for i := range l.line.Points {
			p := &l.line.Points[i]
			at := q.From + (p.Time-q.From)/step*step
			row := rows[at]
			if row == nil {
				row = &compareRow{Time: at, When: pg.Moment(at.Std()), Cells: make([]string, len(lines))}
				rows[at] = row
			}
			row.Cells[n] = computed(p.Mean, max(1, l.comparand.Words.Decimals))
		}
	}
	out := make([]compareRow, 0, len(rows))
	for _, row := range rows {
		out = append(out, *row)
	}
	slices.SortFunc(out, func(a, b compareRow) int { return int(b.Time - a.Time) })
	return out
}

// compareCSV sends the lines of a comparison.
func (p *portal) compareCSV(w http.ResponseWriter, r *http.Request, pg *page) error {
	data, err := pg.comparison(r)
	if err != nil {
		return err
	}
	if len(data.Problems) > 0 {
		return cityid.Errorf(cityid.ErrUnavailable, "%s", strings.Join(data.Problems, "; "))
	}
	var rows [][]string
	for _, l := range data.Lines {
		for _, p := range l.line.Points {
			rows = append(rows, []string{
				l.City.Code.String(), l.dataset.String(), l.board.Party.String(), l.indicator, data.Chosen.Name, strconv.Itoa(l.line.Sources), p.Time.String(),
				strconv.Itoa(p.Count), l.unit, number(p.Mean), number(p.Min), number(p.Max),
			})
		}
	}
	return writeTable(w, boardFile("compare", data.Chosen.ID, data.Range), compareColumns, slices.Values(rows))
}

// boardScreens are the pages about what cities share.
func (p *portal) boardScreens() map[string]endpoint {
	return map[string]endpoint{
		"GET /dashboard/{path...}": p.boardPage,
		"GET /compare":             p.compare,
		"GET /compare/data.csv":    p.compareCSV,
	}
}
