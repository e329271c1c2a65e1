// SPDX-License-Identifier: Apache-2.0

package portal

import (
	"net/http"
	"slices"
	"strconv"
	"strings"

	"cityid"
)

// Tables are for spreadsheets and programs: times in UTC, values as they came,
// aggregates in columns of their own. The columns are the same in both languages.
var (
	latestColumns  = []string{"city", "dataset", "indicator", "name", "source", "time", "value", "unit", "own", "late", "feed_fails_since", "entry"}
	trendColumns   = []string{"city", "dataset", "indicator", "name", "source", "sources", "time", "observations", "value", "unit", "mean", "min", "max", "entry"}
	compareColumns = []string{"city", "dataset", "gateway", "indicator", "name", "sources", "time", "observations", "unit", "mean", "min", "max"}
)

// boardFile makes the name of a file of parts such as codes and identifiers.
func boardFile(parts ...string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r >= '0' && r <= '9', r >= 'A' && r <= 'Z', r >= 'a' && r <= 'z', r == '.', r == '-':
			return r
		}
		return '_'
	}, strings.Join(parts, "-")) + ".csv"
}

// boardCSV sends what a dashboard or the page of one indicator shows.
func (pg *page) boardCSV(w http.ResponseWriter, r *http.Request, b *board) error {
	q := r.URL.Query()
	if q.Get("indicator") == "" {
		l, err := pg.boards.latest(r.Context(), b.Party)
		if err != nil {
			return pg.noBoard(w, r, b, pg.gatewayProblem(err, b.City.Name))
		}
		data := &boardData{board: b}
		if err := pg.fillBoard(data, l); err != nil {
			return err
		}
		var rows [][]string
		for _, g := range data.Groups {
			for _, t := range g.Tiles {
				rows = append(rows, latestRow(t.stream, t.Shown, l, pg.now()))
			}
		}
		return writeTable(w, boardFile("dashboard", b.Party.String()), latestColumns, slices.Values(rows))
	}
	x, err := pg.readOne(r, b)
	if err != nil {
		return err
	}
	data, line := x.data, x.line
	if data.Problem+data.Partly != "" {
		return pg.noBoard(w, r, b, data.Problem+data.Partly)
	}
	name := []string{b.Party.String(), x.key.indicator, x.period.name}
	if q.Get("table") == "stations" {
		var rows [][]string
		for _, o := range data.Tile.Latest {
			rows = append(rows, latestRow(data.Tile.stream, o, x.latest, pg.now()))
		}
		return writeTable(w, boardFile(append(name, "stations")...), latestColumns, slices.Values(rows))
	}
	var rows [][]string
	for i := range line.Points {
		rows = append(rows, trendRow(data.Tile, line, &line.Points[i]))
	}
	return writeTable(w, boardFile(name...), trendColumns, slices.Values(rows))
}

// latestRow is an observation as a row.
func latestRow(s *stream, o *Observed, l *Latest, now cityid.Time) []string {
	since := ""
	if f, ok := troubles(l.Feeds)[s.dataset]; ok {
		since = cityid.TimeOf(f.Since).String()
	}
	return []string{
		s.City.String(), s.dataset.String(), s.indicator, s.Words.Name, o.Source.String(), o.Time.String(), o.Value, s.unit,
		yes(s.Own), yes(late(o.Time, s.period(), now)), since, entryText(o.Entry),
	}
}

// trendRow is a point as a row: an observation, or what several come to.
func trendRow(t *tile, l *Line, p *LinePoint) []string {
	row := []string{
		t.City.String(), l.Dataset.String(), l.Indicator, t.Words.Name, l.Source.String(), strconv.Itoa(l.Sources), p.Time.String(), strconv.Itoa(p.Count),
		p.Value, l.Unit, "", "", "", entryText(p.Entry),
	}
	if p.Count > 1 {
		row[10], row[11], row[12] = number(p.Mean), number(p.Min), number(p.Max)
	}
	return row
}

// number writes a computed number for programs.
func number(x float64) string { return strconv.FormatFloat(x, 'g', -1, 64) }

func yes(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

func entryText(d cityid.Digest) string {
	if d.IsZero() {
		return ""
	}
	return d.String()
}
