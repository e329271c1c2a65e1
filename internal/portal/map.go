// SPDX-License-Identifier: Apache-2.0

package portal

import (
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"math"
	"net/http"
	"strconv"
	"strings"

	"cityid"
	"cityid/internal/index"
)

//go:embed basemap/land.geojson
var landOutline []byte

// baseMap is the land that maps are drawn on.
type baseMap struct {
	Source   string // who made it
	Approval string // approval number of a map for publication, which law may ask for
	rings    [][]point
}

// point is a place on a map in degrees.
type point struct{ Lon, Lat float64 }

// Bounds of base maps.
const (
	maxBaseMap = 16 << 20
	maxRings   = 20_000
)

// parseBaseMap reads a GeoJSON FeatureCollection of polygons; of nil, the one
// that is built in.
func parseBaseMap(data []byte) (*baseMap, error) {
	if data == nil {
		data = landOutline
	}
	if len(data) > maxBaseMap {
		return nil, fmt.Errorf("%d octets: at most %d", len(data), maxBaseMap)
	}
	var doc struct {
		Type             string
		Source, Approval string
		Features         []struct {
			Geometry struct {
				Type        string
				Coordinates json.RawMessage
			}
		}
	}
	if err := json.Unmarshal(data, &doc); err != nil {
		return nil, err
	}
	if doc.Type != "FeatureCollection" {
		return nil, errors.New("want a GeoJSON FeatureCollection of polygons")
	}
	m := &baseMap{Source: doc.Source, Approval: doc.Approval}
	for i, f := range doc.Features {
		var polygons [][][][]float64
		var err error
		switch f.Geometry.Type {
		case "Polygon":
			polygons = make([][][][]float64, 1)
			err = json.Unmarshal(f.Geometry.Coordinates, &polygons[0])
		case "MultiPolygon":
			err = json.Unmarshal(f.Geometry.Coordinates, &polygons)
		default:
			err = fmt.Errorf("geometry %.40q: want Polygon or MultiPolygon", f.Geometry.Type)
		}
		if err != nil {
			return nil, fmt.Errorf("feature %d: %w", i, err)
		}
		for _, rings := range polygons {
			for _, ring := range rings {
				if err := m.add(ring); err != nil {
					return nil, fmt.Errorf("feature %d: %w", i, err)
				}
			}
		}
	}
	return m, nil
}

func (m *baseMap) add(ring [][]float64) error {
	if len(m.rings) == maxRings {
		return fmt.Errorf("more than %d rings", maxRings)
	}
	out := make([]point, 0, len(ring))
	for _, c := range ring {
		if len(c) < 2 || !(math.Abs(c[0]) <= 180) || !(math.Abs(c[1]) <= 90) {
			return errors.New("a position is not a longitude and a latitude")
		}
		out = append(out, point{c[0], c[1]})
	}
	m.rings = append(m.rings, out)
	return nil
}

// view is the part of the world a map shows.
type view struct {
	South, West, North, East float64
}

// chinaView is what maps show to begin with.
var chinaView = view{South: 17.500, West: 72, North: 54.500, East: 136.500}

// width of maps in user units.
const mapWidth = 900

// scale returns the height of the map and the functions from degrees to user
// units: equirectangular, true to shape at the middle latitude.
func (v view) scale() (height float64, x, y func(float64) float64) {
	kx := mapWidth / (v.East - v.West)
	ky := kx / math.Cos((v.South+v.North)/2*math.Pi/180)
	return (v.North - v.South) * ky, func(lon float64) float64 { return (lon - v.West) * kx }, func(lat float64) float64 { return (v.North - lat) * ky }
}

// box returns the view as the bounds of a question.
func (v view) box() *cityid.Box {
	e7 := func(d float64) int32 { return int32(math.Round(d * 1e7)) }
	return &cityid.Box{South: e7(v.South), West: e7(v.West), North: e7(v.North), East: e7(v.East)}
}

// String returns the view as the map's address has it.
func (v view) String() string {
	f := func(d float64) string { return strconv.FormatFloat(math.Round(d*1e4)/1e4, 'f', -1, 64) }
	return f(v.South) + "," + f(v.West) + "," + f(v.North) + "," + f(v.East)
}

// parseView parses South,West,North,East in degrees.
func parseView(s string) (view, error) {
	bad := cityid.Errorf(cityid.ErrMalformed, "map section %.60q: want south,west,north,east in degrees", s)
	parts := strings.Split(s, ",")
	if len(parts) != 4 {
		return view{}, bad
	}
	var d [4]float64
	for i, p := range parts {
		x, err := strconv.ParseFloat(p, 64)
		if err != nil || math.IsNaN(x) || math.IsInf(x, 0) {
			return view{}, bad
		}
		d[i] = x
	}
	v := view{d[0], d[1], d[2], d[3]}
	if v.South < -89 || v.North > 89 || v.West < -180 || v.East > 180 || v.North-v.South < 0.001 || v.East-v.West < 0.001 {
		return view{}, bad
	}
	return v, nil
}

// zoom returns the view enlarged around a point; a factor below 1 goes nearer.
func (v view) zoom(factor float64, lat, lon float64) view {
	h, w := (v.North-v.South)*factor/2, (v.East-v.West)*factor/2
	h, w = min(h, 85), min(w, 180)
	lat = max(-89+h, min(89-h, lat))
	lon = max(-180+w, min(180-w, lon))
	return view{lat - h, lon - w, lat + h, lon + w}
}

func (v view) middle() (lat, lon float64) { return (v.South + v.North) / 2, (v.West + v.East) / 2 }

// around returns a view a few kilometres wide around a place.
func around(l cityid.Location, height float64) view {
	lat, lon := float64(l.Lat)/1e7, float64(l.Lon)/1e7
	return view{lat - height/2, lon - height, lat + height/2, lon + height}.zoom(1, lat, lon)
}

// mapMark is one thing on a map, or many that lie together.
type mapMark struct {
	Lat, Lon float64
	Count    uint64
	Cell     bool // stands for all that lies around
	Title    string
	URL      string // "": no link
	Own      bool   // the one that the map is about
}

// draw returns the map as SVG. Colours come from the style sheet.
func (m *baseMap) draw(v view, label string, marks []mapMark) template.HTML {
	height, x, y := v.scale()
	var b strings.Builder
	fmt.Fprintf(&b, `<svg viewBox="0 0 %d %.0f" role="group" aria-label="%s">`, mapWidth, height, template.HTMLEscapeString(label))
	b.WriteString(`<path class="land" d="`)
	for _, ring := range m.rings {
		writeRing(&b, clip(ring, v), x, y)
	}
	b.WriteString(`"/>`)
	writeGrid(&b, v, height, x, y)
	var most uint64 = 1
	for _, k := range marks {
		most = max(most, k.Count)
	}
	for _, k := range marks {
		writeMark(&b, k, x(k.Lon), y(k.Lat), float64(k.Count)/float64(most))
	}
	b.WriteString(`</svg>`)
	return template.HTML(b.String())
}

// writeMark draws a mark; share is its count's of the largest.
func writeMark(b *strings.Builder, k mapMark, x, y, share float64) {
	if k.URL != "" {
		fmt.Fprintf(b, `<a href="%s">`, template.HTMLEscapeString(k.URL))
	}
	title := template.HTMLEscapeString(k.Title)
	switch {
	case k.Own:
		fmt.Fprintf(b, `<circle class="own" cx="%.1f" cy="%.1f" r="11"><title>%s</title></circle>`, x, y, title)
	case k.Cell:
		fmt.Fprintf(b, `<circle class="bin" cx="%.1f" cy="%.1f" r="%.1f"><title>%s</title></circle>`, x, y, 4+14*math.Sqrt(share), title)
	default:
		fmt.Fprintf(b, `<circle class="point" cx="%.1f" cy="%.1f" r="4.500"><title>%s</title></circle>`, x, y, title)
	}
	if k.URL != "" {
		b.WriteString(`</a>`)
	}
}

// writeGrid draws a line for every so many degrees, but not more than a hundred
// each way, however narrow the view is.
func writeGrid(b *strings.Builder, v view, height float64, x, y func(float64) float64) {
	step := 10.0
	for _, s := range []float64{10, 5, 2, 1, .5, .2, .1, .05, .02, .01, .005, .002, .001} {
		if step = s; max(v.East-v.West, (v.North-v.South)/8)/s >= 4 {
			break
		}
	}
	b.WriteString(`<path class="grid" d="`)
	for lon := math.Ceil(v.West/step) * step; lon < v.East; lon += step {
		fmt.Fprintf(b, "M%.1f 0V%.0f", x(lon), height)
	}
	for lat := math.Ceil(v.South/step) * step; lat < v.North; lat += step {
		fmt.Fprintf(b, "M0 %.1fH%d", y(lat), mapWidth)
	}
	b.WriteString(`"/>`)
}

// writeRing draws a ring, leaving out points less than half a unit apart.
func writeRing(b *strings.Builder, ring []point, x, y func(float64) float64) {
	if len(ring) < 3 {
		return
	}
	lastX, lastY := math.Inf(1), math.Inf(1)
	for i, p := range ring {
		px, py := x(p.Lon), y(p.Lat)
		if i > 0 && math.Abs(px-lastX) < .5 && math.Abs(py-lastY) < .5 {
			continue
		}
		c := byte('L')
		if i == 0 {
			c = 'M'
		}
		fmt.Fprintf(b, "%c%.1f %.1f", c, px, py)
		lastX, lastY = px, py
	}
	b.WriteByte('Z')
}

// clip cuts a ring to a view, with a margin so that cut edges stay out of sight
// (Sutherland and Hodgman's method, one border after the other).
func clip(ring []point, v view) []point {
	mx, my := (v.East-v.West)*.05, (v.North-v.South)*.05
	borders := []struct {
		inside func(p point) bool
		cut    func(a, b point) point
	}{
		{func(p point) bool { return p.Lon >= v.West-mx }, atLon(v.West - mx)},
		{func(p point) bool { return p.Lon <= v.East+mx }, atLon(v.East + mx)},
		{func(p point) bool { return p.Lat >= v.South-my }, atLat(v.South - my)},
		{func(p point) bool { return p.Lat <= v.North+my }, atLat(v.North + my)},
	}
	for _, border := range borders {
		if len(ring) == 0 {
			return nil
		}
		out := make([]point, 0, len(ring))
		before := ring[len(ring)-1]
		for _, p := range ring {
			switch in, was := border.inside(p), border.inside(before); {
			case in && was:
				out = append(out, p)
			case in:
				out = append(out, border.cut(before, p), p)
			case was:
				out = append(out, border.cut(before, p))
			}
			before = p
		}
		ring = out
	}
	return ring
}

func atLon(lon float64) func(a, b point) point {
	return func(a, b point) point { return point{lon, a.Lat + (b.Lat-a.Lat)*(lon-a.Lon)/(b.Lon-a.Lon)} }
}

func atLat(lat float64) func(a, b point) point {
	return func(a, b point) point { return point{a.Lon + (b.Lon-a.Lon)*(lat-a.Lat)/(b.Lat-a.Lat), lat} }
}

// drawing is a map as templates show it.
type drawing struct {
	SVG              template.HTML
	Source, Approval string
	In, Out          string // addresses nearer and farther; "": as near or far as it goes
	North, South     string
	West, East       string
	Marks            []mapMark
	Total            uint64
}

// maxMarks is how many single things a map shows before it shows cells.
const maxMarks = 400

// mapMarks asks the index what lies in a view.
func (pg *page) mapMarks(v view, below cityid.Code, kinds []cityid.Kind) ([]mapMark, uint64, error) {
	points, err := pg.Index.Points(pg.ctx, index.PointsQuery{Box: *v.box(), Below: below, Kinds: kinds, Limit: maxMarks})
	if err != nil {
		return nil, 0, err
	}
	var total uint64
	out := make([]mapMark, 0, len(points))
	for _, p := range points {
		k := mapMark{Lat: float64(p.Location.Lat) / 1e7, Lon: float64(p.Location.Lon) / 1e7, Count: p.Count, Cell: p.Code.IsZero()}
		total += max(1, p.Count)
		if k.Cell {
			// The middle of a cell may lie outside the view that cuts it.
			k.Lat, k.Lon = max(v.South, min(v.North, k.Lat)), max(v.West, min(v.East, k.Lon))
			k.Title = pg.N("map.cell", p.Count)
			k.URL = pg.mapURL(v.zoom(.25, k.Lat, k.Lon), below, kinds)
		} else {
			at, err := pg.placeAt(p.Code)
			if err != nil {
				return nil, 0, err
			}
			k.Title, k.URL = at.Name+" "+p.Code.String(), at.URL
		}
		out = append(out, k)
	}
	return out, total, nil
}

func (pg *page) mapURL(v view, below cityid.Code, kinds []cityid.Kind) string {
	u := pg.URL("/map?box=", v.String())
	if !below.IsZero() {
		u += "&below=" + below.String()
	}
	for _, k := range kinds {
		u += "&kind=" + k.String()
	}
	return u
}

// drawMap draws what lies in a view, with the ways to other views.
func (pg *page) drawMap(v view, below cityid.Code, kinds []cityid.Kind) (*drawing, error) {
	marks, total, err := pg.mapMarks(v, below, kinds)
	if err != nil {
		return nil, err
	}
	d := &drawing{
		SVG: pg.basemap.draw(v, pg.T("map.label"), marks), Source: pg.basemap.Source, Approval: pg.basemap.Approval,
		Marks: marks, Total: total,
	}
	lat, lon := v.middle()
	at := func(v view) string { return pg.mapURL(v, below, kinds) }
	if v.North-v.South > .01 {
		d.In = at(v.zoom(.5, lat, lon))
	}
	if v.North-v.South < 160 {
		d.Out = at(v.zoom(2, lat, lon))
	}
	dy, dx := (v.North-v.South)/2, (v.East-v.West)/2
	d.North, d.South = at(v.zoom(1, lat+dy, lon)), at(v.zoom(1, lat-dy, lon))
	d.West, d.East = at(v.zoom(1, lat, lon-dx)), at(v.zoom(1, lat, lon+dx))
	return d, nil
}

// mapPage shows where things are.
func (p *portal) mapPage(w http.ResponseWriter, r *http.Request, pg *page) error {
	v := chinaView
	q := r.URL.Query()
	if s := q.Get("box"); s != "" {
		var err error
		if v, err = parseView(s); err != nil {
			return err
		}
	}
	data := struct {
		Map     *drawing
		Below   cityid.Code
		Name    string
		Choices []navItem
		Whole   string
	}{Whole: pg.URL("/map")}
	if s := q.Get("below"); s != "" {
		code, err := cityid.Parse(s)
		if err != nil {
			return cityid.Errorf(cityid.ErrMalformed, "%v", err)
		}
		data.Below, data.Name = code, code.String()
		if a, err := p.Source.Record(r.Context(), code); err == nil {
			data.Name = pg.NameOf(a.Record.Content.Names, code)
		}
	}
	kinds, err := parseKinds(q["kind"])
	if err != nil {
		return err
	}
	if data.Map, err = pg.drawMap(v, data.Below, kinds); err != nil {
		return err
	}
	for _, k := range []cityid.Kind{0, cityid.KindProvince, cityid.KindCity, cityid.KindObject} {
		item := navItem{URL: pg.mapURL(v, data.Below, nil), Text: pg.T("map.all"), Current: k == 0 && len(kinds) == 0}
		if k != 0 {
			item = navItem{URL: pg.mapURL(v, data.Below, []cityid.Kind{k}), Text: pg.Kinds(k), Current: len(kinds) == 1 && kinds[0] == k}
		}
		data.Choices = append(data.Choices, item)
	}
	pg.Title = pg.T("map.title")
	return pg.render(w, r, http.StatusOK, "map", data)
}

// parseKinds parses names of kinds, each once.
func parseKinds(names []string) ([]cityid.Kind, error) {
	var out []cityid.Kind
	for _, n := range names {
		var k cityid.Kind
		if n == "" {
			continue
		}
		if err := k.UnmarshalText([]byte(n)); err != nil || len(out) > 11 {
			return nil, cityid.Errorf(cityid.ErrMalformed, "kind %.40q is unknown", n)
		}
		out = append(out, k)
	}
	return out, nil
}
