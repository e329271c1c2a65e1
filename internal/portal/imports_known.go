// SPDX-License-Identifier: Apache-2.0

package portal

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"cityid"
	"cityid/internal/bulk"
)

// What the registry has already decides much about a table: which serials are
// free, which rows are things it knows, and so in which coordinate system they
// were measured.

// maxCompared bounds how many records below a code are looked at, and maxLookups
// how many crosswalk values are looked up.
const (
	maxCompared = 50_000
	maxLookups  = 20_000
)

// knownRow is a row of something that is there already.
type knownRow struct {
	Line int
	Why  string // "alias", "place", "code": in the registry; "row-alias", "row-place": an earlier row
	Text string // the value they share
	Code cityid.Code
	Of   int // line of the earlier row
}

// importKnown is what the registry knows of a table's rows.
type importKnown struct {
	Rows    []knownRow // in order of line, each line once
	Partial bool       // there was more to compare than the bounds allow
}

// recordsBelow calls visit with the records below a code, and reports whether
// these were all.
func (pg *page) recordsBelow(code cityid.Code, kind cityid.Kind, most int, visit func(*cityid.Record)) (all bool, err error) {
	q := cityid.ChildrenQuery{Code: code, Deep: true, Kind: kind, Limit: 1000}
	for n := 0; n < most; {
		got, err := pg.Source.Children(pg.ctx, q)
		if err != nil {
			return false, err
		}
		for i := range got.Records {
			visit(&got.Records[i])
		}
		if got.Next.IsZero() {
			return true, nil
		}
		n += len(got.Records)
		q.After = got.Next
	}
	return false, nil
}

// classesBelow lists the classes below a code.
func (pg *page) classesBelow(code cityid.Code) ([]cityid.Record, error) {
	var out []cityid.Record
	_, err := pg.recordsBelow(code, cityid.KindClass, 500, func(r *cityid.Record) { out = append(out, *r) })
	return out, err
}

// nextSerial returns the first serial after all that are allocated in a class
// below a code; with class "" in any class below it. Serials that are no digits
// do not count.
func (pg *page) nextSerial(below cityid.Code, class string) (string, error) {
	if class != "" {
		c, err := cityid.Parse(below.String() + "/" + class)
		if err != nil {
			return "000001", nil
		}
		below = c
	}
	if there, err := pg.allocated(below); err != nil || !there {
		return "000001", err
	}
	var last uint64
	width := 6
	all, err := pg.recordsBelow(below, cityid.KindObject, 2_000_000, func(r *cityid.Record) {
		item := r.Code.LastNode()
		if n, err := strconv.ParseUint(item, 10, 63); err == nil && n > last && len(item) <= 18 {
			last, width = n, max(width, len(item))
		}
	})
	if err == nil && !all {
		err = cityid.Errorf(cityid.ErrTooLarge, "too many codes below %s to find a free serial: give the first serial", below)
	}
	return fmt.Sprintf("%0*d", width, last+1), err
}

// importKnown compares a table with itself and the registry.
func (pg *page) importKnown(parent cityid.Code, w *importWork, crs bulk.CRS) (*importKnown, error) {
	k := &importKnown{}
	found := map[int]knownRow{}
	note := func(x knownRow) {
		if _, seen := found[x.Line]; !seen {
			found[x.Line] = x
		}
	}
	t := w.changed
	if slices.Contains(t.Header, "code") || slices.Contains(t.Header, "serial") {
		if err := pg.knownCodes(w, k, note); err != nil {
			return nil, err
		}
	}
	var names []int
	for i, h := range t.Header {
		if strings.HasPrefix(h, "name:") || h == "name" {
			names = append(names, i)
		}
		scheme, is := strings.CutPrefix(h, "alias:")
		if !is {
			continue
		}
		if err := pg.knownAliases(t, i, scheme, k, note); err != nil {
			return nil, err
		}
		for line, of := range t.Repeated(h) {
			note(knownRow{Line: line, Why: "row-alias", Text: scheme, Of: of})
		}
	}
	for _, i := range names {
		for line, of := range t.Repeated(t.Header[i], "lat", "lon") {
			note(knownRow{Line: line, Why: "row-place", Of: of})
		}
	}
	if err := pg.knownPlaces(parent, t, names, crs, k, note); err != nil {
		return nil, err
	}
	for _, x := range found {
		k.Rows = append(k.Rows, x)
	}
	slices.SortFunc(k.Rows, func(a, b knownRow) int { return a.Line - b.Line })
	return k, nil
}

// knownAliases looks the values of a column up in the crosswalk.
func (pg *page) knownAliases(t *bulk.Table, column int, scheme string, k *importKnown, note func(knownRow)) error {
	for n, row := range t.Rows {
		if n == maxLookups {
			k.Partial = true
			return nil
		}
		value := cellText(row, column)
		if value == "" || len(value) > 100 {
			continue
		}
		a, err := pg.Source.Lookup(pg.ctx, scheme, value)
		if err != nil {
			var refusal *cityid.Error
			if errors.As(err, &refusal) && !transient(refusal.Code) { // no entry, or no value of the scheme
				continue
			}
			return err
		}
		for _, e := range a.Entries {
			note(knownRow{Line: row.Line, Why: "alias", Text: value, Code: e.Code})
		}
	}
	return nil
}

// knownCodes looks for codes of the plan that are allocated.
func (pg *page) knownCodes(w *importWork, k *importKnown, note func(knownRow)) error {
	if w.plan == nil {
		return nil
	}
	n := 0
	for _, b := range w.plan.Batches {
		for _, item := range b.Items {
			if item.Line == 0 {
				continue
			}
			if n++; n > maxLookups {
				k.Partial = true
				return nil
			}
			there, err := pg.allocated(item.Allocation.Code)
			if err != nil {
				return err
			}
			if there {
				note(knownRow{Line: item.Line, Why: "code", Code: item.Allocation.Code})
			}
		}
	}
	return nil
}

// knownPlaces compares names and places with those of the objects below parent.
func (pg *page) knownPlaces(parent cityid.Code, t *bulk.Table, names []int, crs bulk.CRS, k *importKnown, note func(knownRow)) error {
	lat, lon := slices.Index(t.Header, "lat"), slices.Index(t.Header, "lon")
	if lat < 0 || lon < 0 || len(names) == 0 {
		return nil
	}
	there, err := pg.namedBelow(parent, k)
	if err != nil {
		return err
	}
	for _, row := range t.Rows {
		at, ok := locateText(cellText(row, lat), cellText(row, lon), crs)
		if !ok {
			continue
		}
		for _, i := range names {
			name := cellText(row, i)
			for _, x := range there[name] {
				if name != "" && metres(at, *x.Content.Location) <= 15 {
					note(knownRow{Line: row.Line, Why: "place", Text: name, Code: x.Code})
				}
			}
		}
	}
	return nil
}

// namedBelow returns the objects below a code that have a place, by name.
func (pg *page) namedBelow(parent cityid.Code, k *importKnown) (map[string][]*cityid.Record, error) {
	out := map[string][]*cityid.Record{}
	all, err := pg.recordsBelow(parent, cityid.KindObject, maxCompared, func(r *cityid.Record) {
		if r.Content.Location == nil {
			return
		}
		for _, n := range r.Content.Names {
			out[n.Text] = append(out[n.Text], r)
		}
	})
	k.Partial = k.Partial || !all
	return out, err
}

// importGuessCRS says of which coordinate system a table is, by rows whose old
// number the registry knows.
func (pg *page) importGuessCRS(t *bulk.Table, c *bulk.Changes) (bulk.CRS, bool, error) {
	lat, lon := c.Column("lat"), c.Column("lon")
	if lat < 0 || lon < 0 {
		return 0, false, nil
	}
	var pairs []bulk.Apart
	for i, m := range c.Columns {
		scheme, is := strings.CutPrefix(m, "alias:")
		if !is {
			continue
		}
		for n := 0; n < len(t.Rows) && n < maxLookups && len(pairs) < 20; n++ {
			row := t.Rows[n]
			y, errY := strconv.ParseFloat(cellText(row, lat), 64)
			x, errX := strconv.ParseFloat(cellText(row, lon), 64)
			value := cellText(row, i)
			if errX != nil || errY != nil || value == "" || len(value) > 100 {
				continue
			}
			a, err := pg.Source.Lookup(pg.ctx, scheme, value)
			if err != nil {
				var refusal *cityid.Error
				if errors.As(err, &refusal) && !transient(refusal.Code) {
					continue
				}
				return 0, false, err
			}
			for _, e := range a.Entries {
				r, err := pg.Source.Record(pg.ctx, e.Code)
				if err != nil {
					return 0, false, err
				}
				if r.Record.Content.Location != nil {
					pairs = append(pairs, bulk.Apart{Lat: y, Lon: x, Known: *r.Record.Content.Location})
				}
			}
		}
	}
	crs, ok := bulk.GuessCRS(pairs)
	return crs, ok, nil
}

func cellText(r bulk.Row, i int) string {
	if i < 0 || i >= len(r.Cells) {
		return ""
	}
	return strings.TrimPrefix(strings.TrimSpace(r.Cells[i]), "'")
}

// locateText reads a place in WGS 84, false if it is none.
func locateText(lat, lon string, crs bulk.CRS) (cityid.Location, bool) {
	y, errY := strconv.ParseFloat(lat, 64)
	x, errX := strconv.ParseFloat(lon, 64)
	if errX != nil || errY != nil || !(math.Abs(y) <= 90) || !(math.Abs(x) <= 180) {
		return cityid.Location{}, false
	}
	if crs == bulk.GCJ02 {
		y, x, _ = bulk.GCJ02ToWGS84(y, x)
	}
	return cityid.Location{Lat: int32(math.Round(y * 1e7)), Lon: int32(math.Round(x * 1e7))}, true
}

// metres is how far two places that are near each other lie apart.
func metres(a, b cityid.Location) float64 {
	dy := float64(int64(a.Lat)-int64(b.Lat)) * 1e-7 * 111_195
	dx := float64(int64(a.Lon)-int64(b.Lon)) * 1e-7 * 111_195 * math.Cos(float64(a.Lat)*1e-7*math.Pi/180)
	return math.Hypot(dx, dy)
}

// apart is how many metres a place moves when it is read as GCJ-02.
func apart(l cityid.Location) int {
	lat, lon, ok := bulk.GCJ02ToWGS84(float64(l.Lat)/1e7, float64(l.Lon)/1e7)
	if !ok {
		return 0
	}
	return int(math.Round(metres(l, cityid.Location{Lat: int32(math.Round(lat * 1e7)), Lon: int32(math.Round(lon * 1e7))})))
}

// tablePlaces returns the places of a table's rows that can be read.
func tablePlaces(t *bulk.Table, c *bulk.Changes, crsName string) []cityid.Location {
	crs, err := bulk.ParseCRS(crsName)
	lat, lon := c.Column("lat"), c.Column("lon")
	if err != nil || lat < 0 || lon < 0 {
		return nil
	}
	var out []cityid.Location
	for _, row := range t.Rows {
		if l, ok := locateText(cellText(row, lat), cellText(row, lon), crs); ok {
			out = append(out, l)
		}
	}
	return out
}

// drawPlaces draws places, as cells if they are many. A box names the section to
// show; "" shows all.
func (pg *page) drawPlaces(places []cityid.Location, box string) *drawing {
	if len(places) == 0 {
		return nil
	}
	v, err := parseView(box)
	if err != nil {
		v = viewOf(places)
	}
	marks := binned(places, v)
	for i := range marks {
		marks[i].Title = pg.N("map.cell", marks[i].Count)
	}
	return &drawing{SVG: pg.basemap.draw(v, pg.T("imports.map.label"), marks), Source: pg.basemap.Source, Approval: pg.basemap.Approval, Marks: marks, Total: uint64(len(places))}
}

// viewOf returns the section of the map that shows all places.
func viewOf(places []cityid.Location) view {
	south, west, north, east := 90.0, 180.0, -90.0, -180.0
	for _, l := range places {
		lat, lon := float64(l.Lat)/1e7, float64(l.Lon)/1e7
		south, north, west, east = min(south, lat), max(north, lat), min(west, lon), max(east, lon)
	}
	height, width := max(north-south, .01), max(east-west, .02)
	height = max(height, width*.35)
	width = max(width, height*2.2) // about two to one, in degrees
	return view{(south + north - height*1.15) / 2, (west + east - width*1.15) / 2, (south + north + height*1.15) / 2, (west + east + width*1.15) / 2}.zoom(1, (south+north)/2, (west+east)/2)
}

// binned puts places that lie in one cell of a view together, if they are more
// than a map shows one by one.
func binned(places []cityid.Location, v view) []mapMark {
	cells := [2]float64{60, 40}
	type sum struct {
		lat, lon float64
		n        uint64
	}
	grid := map[[2]int]*sum{}
	var keys [][2]int
	inside := 0
	for _, l := range places {
		lat, lon := float64(l.Lat)/1e7, float64(l.Lon)/1e7
		if lat < v.South || lat > v.North || lon < v.West || lon > v.East {
			continue
		}
		inside++
		key := [2]int{int((lon - v.West) / (v.East - v.West) * cells[0]), int((lat - v.South) / (v.North - v.South) * cells[1])}
		if grid[key] == nil {
			grid[key] = &sum{}
			keys = append(keys, key)
		}
		s := grid[key]
		s.lat, s.lon, s.n = s.lat+lat, s.lon+lon, s.n+1
	}
	var out []mapMark
	if inside <= maxMarks {
		for _, l := range places {
			lat, lon := float64(l.Lat)/1e7, float64(l.Lon)/1e7
			if lat >= v.South && lat <= v.North && lon >= v.West && lon <= v.East {
				out = append(out, mapMark{Lat: lat, Lon: lon, Count: 1})
			}
		}
		return out
	}
	for _, key := range keys {
		s := grid[key]
		out = append(out, mapMark{Lat: s.lat / float64(s.n), Lon: s.lon / float64(s.n), Count: s.n})
	}
	return out
}
