// SPDX-License-Identifier: Apache-2.0

package portal

import (
	"html/template"
	"math"
	"net/url"
	"slices"

	"cityid"
)

// maxStationMarks is how many stations a map shows one by one.
const maxStationMarks = 400

// stationMap is where stations are.
type stationMap struct {
	SVG              template.HTML
	Source, Approval string
	Located, Others  int // stations with a place on the map, and without
}

// boardMap draws the stations of a city's own streams, or those of one stream. It is
// nil if none has a location.
func (pg *page) boardMap(b *board, l *Latest, key streamKey) (*stationMap, error) {
	var marks []mapMark
	seen := map[cityid.Code]bool{}
	m := &stationMap{Source: pg.basemap.Source, Approval: pg.basemap.Approval}
	for i := range l.Observations {
		o := &l.Observations[i]
		wanted := cityOf(o.Dataset) == cityOf(b.Party)
		if key.indicator != "" {
			wanted = key == streamKey{o.Dataset, o.Indicator, o.Unit}
		}
		if o.Source.IsZero() || seen[o.Source] || !wanted {
			continue
		}
		seen[o.Source] = true
		a, err := pg.Source.Record(pg.ctx, o.Source)
		if cityid.CodeOf(err) == cityid.ErrNotFound {
			m.Others++
			continue
		}
		if err != nil {
			return nil, err
		}
		at := a.Record.Content.Location
		if at == nil {
			m.Others++
			continue
		}
		m.Located++
		name := pg.NameOf(a.Record.Content.Names, o.Source)
		k := mapMark{Lat: float64(at.Lat) / 1e7, Lon: float64(at.Lon) / 1e7, Count: 1, Title: name + " " + o.Source.String(), URL: pg.CodeURL(o.Source)}
		if key.indicator != "" {
			words := pg.indicatorWords(key.indicator)
			k.Title = name + ": " + o.Value + " " + pg.unit(o.Unit) + ", " + pg.observedAt(o.Time, words.Period)
			k.URL = b.streamURL(key, "&"+url.Values{"station": {o.Source.String()}}.Encode())
		}
		marks = append(marks, k)
	}
	if len(marks) == 0 {
		return nil, nil
	}
	v := viewAround(marks)
	m.SVG = pg.basemap.draw(v, pg.T("dashboard.map.label"), thinOut(v, marks, pg))
	return m, nil
}

// viewAround returns a section of the map with all marks on it, and some room.
func viewAround(marks []mapMark) view {
	v := view{90, 180, -90, -180}
	for _, k := range marks {
		v = view{min(v.South, k.Lat), min(v.West, k.Lon), max(v.North, k.Lat), max(v.East, k.Lon)}
	}
	lat, lon := v.middle()
	height, width := max(.04, v.North-v.South), max(.08, v.East-v.West)
	height, width = max(height, width*.3), max(width, height*1.6)
	return view{lat - height*.6, lon - width*.6, lat + height*.6, lon + width*.6}.zoom(1, lat, lon)
}

// thinOut puts marks that lie together into one where there are too many.
func thinOut(v view, marks []mapMark, pg *page) []mapMark {
	if len(marks) <= maxStationMarks {
		return marks
	}
	const columns, rows = 20, 12
	cells := map[int]*mapMark{}
	var order []int
	for _, k := range marks {
		x := int(math.Min(columns-1, (k.Lon-v.West)/(v.East-v.West)*columns))
		y := int(math.Min(rows-1, (k.Lat-v.South)/(v.North-v.South)*rows))
		cell := cells[y*columns+x]
		if cell == nil {
			cell = &mapMark{Cell: true}
			cells[y*columns+x] = cell
			order = append(order, y*columns+x)
		}
		cell.Lat, cell.Lon, cell.Count = cell.Lat+k.Lat, cell.Lon+k.Lon, cell.Count+1
	}
	slices.Sort(order)
	var out []mapMark
	for _, n := range order {
		cell := cells[n]
		cell.Lat, cell.Lon = cell.Lat/float64(cell.Count), cell.Lon/float64(cell.Count)
		cell.Title = pg.N("dashboard.map.cell", cell.Count)
		out = append(out, *cell)
	}
	return out
}
