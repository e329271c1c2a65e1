// SPDX-License-Identifier: Apache-2.0

package bulk

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"cityid"
)

// Old tables were not made for the registry: their headers are what a department
// called things. Suggest reads such a table and says what its columns probably
// mean, by their headers and by what stands below them. It decides nothing:
// [Table.Change] applies what a person has confirmed, and [NewPlan] is as strict
// with the outcome as with any table.

// Finding is one thing that was recognised in a table.
type Finding struct {
	What   string // one of the constants
	Column int    // index in the header; -1: the table
	Text   string // what it is about: a meaning, a coordinate system, a number
}

// What is found.
const (
	FoundHeader     = "header"      // the column's meaning follows from its header
	FoundValues     = "values"      // from what stands in it
	FoundUnknown    = "unknown"     // nothing was recognised: ignored
	FoundRowNumbers = "row-numbers" // it counts the rows, and says nothing about the things
	FoundCRS        = "crs"         // the coordinate system that a header names
	FoundForeignCRS = "foreign-crs" // a header names a system that has to be converted first
	FoundNoCRS      = "no-crs"      // there are coordinates, and nothing says of which system
	FoundExchanged  = "exchanged"   // latitude and longitude stand in each other's column
	FoundNoClass    = "no-class"    // nothing says of which class the things are
	FoundNoSerial   = "no-serial"   // the things have no serials: they can be numbered
	FoundNoName     = "no-name"     // no column is a name
)

var findingTexts = map[string]string{
	FoundHeader: "%[1]s by its header", FoundValues: "%[1]s by its values", FoundUnknown: "not recognised",
	FoundRowNumbers: "counts the rows", FoundCRS: "coordinates are %[1]s by a header",
	FoundForeignCRS: "coordinates are %[1]s by a header, which is not read: convert them first", FoundNoCRS: "nothing says of which system the coordinates are: look whether they are GCJ-02",
	FoundExchanged: "latitude and longitude are exchanged in their columns", FoundNoClass: "no column is a class: name one for the whole table",
	FoundNoSerial: "no column is a serial: rows can be numbered", FoundNoName: "no column is a name",
}

// String returns the finding in English.
func (f Finding) String() string {
	if text := findingTexts[f.What]; strings.Contains(text, "%") {
		return fmt.Sprintf(text, f.Text)
	} else if text != "" {
		return text
	}
	return f.What
}

// Suggestion is what [Suggest] makes of a table.
type Suggestion struct {
	Changes  Changes
	CRS      CRS
	Findings []Finding // the columns' in their order, then the table's
}

// maxLooked is how many rows are looked at.
const maxLooked = 5000

// headerWords are words in headers of departments' tables. Of several that a
// header contains, the first in this list counts.
var headerWords = []struct {
	meaning string
	words   []string
}{
	{"crs", []string{"坐标系"}},
	{"lat", []string{"纬度", "北纬", "latitude", "lat", "y坐标", "坐标y", "gps_y"}},
	{"lon", []string{"经度", "东经", "longitude", "lng", "lon", "x坐标", "坐标x", "gps_x"}},
	{"alias:cjt553", []string{"cj/t553", "cj/t 553", "cjt553", "部件标识码", "部件编码", "部件代码", "标识码"}},
	{"alias:gb2260", []string{"行政区划代码", "区划代码", "gb/t2260", "gb/t 2260"}},
	{"alias:asset", []string{"资产编号", "资产编码", "资产号", "固资编号", "资产卡片", "设施编号", "设备编号", "原编号", "旧编号", "原编码", "旧编码", "杆号", "灯杆编号", "井盖编号", "asset"}},
	{"name:en", []string{"英文名", "english name"}},
	{"name:zh", []string{"设施名称", "资产名称", "设备名称", "部件名称", "路灯名称", "井盖名称", "中文名", "名称", "name"}},
	{"link", []string{"网址", "链接", "url"}},
}

// placeWords are headers that can serve as a name where no column is one.
var placeWords = []string{"安装位置", "所在位置", "位置描述", "位置", "地址", "地点", "address"}

// crsWords are names of coordinate systems in headers.
var crsWords = []struct{ word, crs string }{
	{"gcj", "GCJ-02"}, {"高德", "GCJ-02"}, {"国测局", "GCJ-02"}, {"火星", "GCJ-02"}, {"腾讯", "GCJ-02"},
	{"bd09", "BD-09"}, {"bd-09", "BD-09"}, {"百度", "BD-09"}, {"北京54", "BJ-54"}, {"西安80", "Xi'an-80"},
	{"cgcs", "CGCS2000"}, {"国家2000", "CGCS2000"}, {"2000坐标", "CGCS2000"}, {"wgs", "WGS84"}, {"gps", "WGS84"},
}

// classValue matches a class.
var classValue = regexp.MustCompile(`^[0-9]{2,3}\.[0-9]{4,10}(\.[0-9A-Z]+)?$`)

// recogniser looks at one table.
type recogniser struct {
	t        *Table
	parent   cityid.Code
	settings *cityid.Settings
	out      Suggestion
	values   [][]string // by column, those that are not blank
}

// Suggest says what the columns of a table for codes below parent probably mean.
// It depends on its arguments alone. Settings may be nil: then no crosswalk
// scheme is recognised.
func Suggest(t *Table, parent cityid.Code, s *cityid.Settings) *Suggestion {
	r := &recogniser{t: t, parent: parent, settings: s, values: make([][]string, len(t.Header))}
	r.out.Changes.Columns = make([]string, len(t.Header))
	for at := range min(len(t.Rows), maxLooked) {
		for i := range t.Header {
			if text := foldWidth(unguard(strings.TrimSpace(cellOf(&t.Rows[at], i)))); text != "" {
				r.values[i] = append(r.values[i], text)
			}
		}
	}
	for i := range t.Header {
		r.byHeader(i)
	}
	for i := range t.Header {
		r.byValues(i)
	}
	r.fallBack()
	slices.SortStableFunc(r.out.Findings, func(a, b Finding) int { return cmp.Compare(a.Column, b.Column) })
	r.whole()
	return &r.out
}

func (r *recogniser) find(what string, column int, text string) {
	r.out.Findings = append(r.out.Findings, Finding{what, column, text})
}

// give says what a column means, unless another has that meaning already.
func (r *recogniser) give(i int, meaning, why string) bool {
	if scheme, is := strings.CutPrefix(meaning, "alias:"); is && (r.settings == nil || schemeOf(r.settings, scheme) == nil) {
		return false
	}
	if r.out.Changes.Columns[i] != "" || r.out.Changes.Column(meaning) >= 0 {
		return false
	}
	r.out.Changes.Columns[i] = meaning
	r.find(why, i, meaning)
	return true
}

// byHeader recognises a column by its header.
func (r *recogniser) byHeader(i int) {
	text := strings.ToLower(foldWidth(r.t.Header[i]))
	if text == "" {
		return
	}
	if r.countsRows(i) {
		r.out.Changes.Columns[i] = Ignore
		r.find(FoundRowNumbers, i, "")
		return
	}
	if f, arg, err := parseHeader(r.t.Header[i], "zh"); err == nil && r.plausible(i, f) {
		if r.give(i, meaningOf(f, arg), FoundHeader) {
			return
		}
	}
	for _, w := range headerWords {
		for _, word := range w.words {
			if strings.Contains(text, word) && r.give(i, w.meaning, FoundHeader) {
				return
			}
		}
	}
}

// meaningOf returns the header that stands for a field.
func meaningOf(f field, arg string) string {
	switch f {
	case fieldName, fieldAlias:
		return map[field]string{fieldName: "name:", fieldAlias: "alias:"}[f] + arg
	case fieldLink:
		if arg == defaultRel {
			return "link"
		}
		return "link:" + arg
	}
	return map[field]string{fieldCode: "code", fieldClass: "class", fieldSerial: "serial", fieldKind: "kind", fieldStatus: "status",
		fieldLat: "lat", fieldLon: "lon", fieldCRS: "crs"}[f]
}

// plausible reports whether the values of a column could be what its header
// says. In old tables 类型 or 状态 seldom means what it means here.
func (r *recogniser) plausible(i int, f field) bool {
	test := map[field]func(string) bool{
		fieldClass: classValue.MatchString,
		fieldCode: func(s string) bool {
			_, err := resolveCode(r.parent, s)
			return err == nil && !strings.ContainsAny(s, "-_")
		},
		fieldSerial: func(s string) bool {
			_, err := parseBelow("MA.156.1301.01/20.010203/", s)
			return err == nil && len(s) <= 25
		},
		fieldKind: func(s string) bool {
			var k cityid.Kind
			_, synonym := kindSynonyms[strings.ToLower(s)]
			return synonym || k.UnmarshalText([]byte(strings.ToLower(s))) == nil
		},
		fieldStatus: func(s string) bool {
			return slices.Contains([]string{"active", "reserved", "启用", "有效", "预留", "保留"}, strings.ToLower(s))
		},
	}[f]
	return test == nil || r.share(i, test) >= .8
}

// share returns which share of a column's values passes a test; 0 if it is
// blank.
func (r *recogniser) share(i int, test func(string) bool) float64 {
	n := 0
	for _, v := range r.values[i] {
		if test(v) {
			n++
		}
	}
	return float64(n) / float64(max(1, len(r.values[i])))
}

// countsRows reports whether a column holds 1, 2, 3 and so on.
func (r *recogniser) countsRows(i int) bool {
	if len(r.values[i]) < 2 || len(r.values[i]) < min(len(r.t.Rows), maxLooked) {
		return false
	}
	good := 0
	for n, v := range r.values[i] {
		if v == strconv.Itoa(n+1) {
			good++
		}
	}
	return float64(good) >= .98*float64(len(r.values[i])) // an inserted row does not change what it is
}

// byValues recognises a column whose header says nothing.
func (r *recogniser) byValues(i int) {
	if r.out.Changes.Columns[i] != "" || len(r.values[i]) == 0 {
		return
	}
	within := func(low, high float64) func(string) bool {
		return func(s string) bool {
			v, err := strconv.ParseFloat(s, 64)
			_, fraction, point := strings.Cut(s, ".")
			return err == nil && point && len(fraction) >= 3 && v >= low && v <= high
		}
	}
	whole := func(s string) bool {
		_, err := cityid.Parse(s)
		return err == nil && strings.HasPrefix(strings.ToUpper(s), r.parent.IAC()+".")
	}
	switch {
	case r.share(i, whole) >= .9 && r.give(i, "code", FoundValues):
	case r.share(i, classValue.MatchString) >= .9 && !r.distinct(i) && r.give(i, "class", FoundValues): // 20.010501 could be a latitude, but few things share one
	case r.share(i, within(72, 138)) >= .9 && r.give(i, "lon", FoundValues):
	case r.share(i, within(3, 54)) >= .9 && r.give(i, "lat", FoundValues):
	case r.share(i, func(s string) bool { return strings.HasPrefix(s, "https://") }) >= .9 && r.give(i, "link", FoundValues):
	default:
		r.byScheme(i)
	}
}

// byScheme recognises a column as the values of a scheme that has patterns.
// Digits that a spreadsheet has shortened count as well.
func (r *recogniser) byScheme(i int) {
	if r.settings == nil {
		return
	}
	for _, s := range r.settings.Schemes {
		if len(s.Patterns) == 0 {
			continue
		}
		fits := func(v string) bool { return matchAny(s.Patterns, v) }
		if r.share(i, fits) >= .9 && r.give(i, "alias:"+s.Name, FoundValues) {
			return
		}
	}
}

// fallBack takes the next best for what is missing, and ignores the rest.
func (r *recogniser) fallBack() {
	c := &r.out.Changes
	if c.Column("name:zh") < 0 {
	places:
		for _, word := range placeWords {
			for i := range r.t.Header {
				if strings.Contains(strings.ToLower(foldWidth(r.t.Header[i])), word) && len(r.values[i]) > 0 && r.give(i, "name:zh", FoundHeader) {
					break places
				}
			}
		}
	}
	if c.Column("alias:asset") < 0 {
		for i := range r.t.Header {
			h := foldWidth(r.t.Header[i])
			if (strings.Contains(h, "编号") || strings.Contains(h, "编码") || strings.HasSuffix(h, "号")) && r.distinct(i) && r.give(i, "alias:asset", FoundValues) {
				break
			}
		}
	}
	for i := range c.Columns {
		if c.Columns[i] == "" {
			c.Columns[i] = Ignore
			if strings.TrimSpace(r.t.Header[i]) != "" {
				r.find(FoundUnknown, i, "")
			}
		}
	}
}

// distinct reports whether nearly every row has a value of its own.
func (r *recogniser) distinct(i int) bool {
	seen := map[string]bool{}
	for _, v := range r.values[i] {
		seen[v] = true
	}
	return len(seen) > 1 && float64(len(seen)) >= .9*float64(min(len(r.t.Rows), maxLooked))
}

// whole says what concerns the table as a whole.
func (r *recogniser) whole() {
	c := &r.out.Changes
	if lat, lon := c.Column("lat"), c.Column("lon"); lat >= 0 && lon >= 0 {
		right, wrong := 0, 0
		for at := range min(len(r.t.Rows), maxLooked) {
			a, b := foldWidth(cellOf(&r.t.Rows[at], lat)), foldWidth(cellOf(&r.t.Rows[at], lon))
			switch {
			case inChina(a, b):
				right++
			case inChina(b, a):
				wrong++
			}
		}
		if wrong > right {
			c.Columns[lat], c.Columns[lon] = "lon", "lat"
			for i := range r.out.Findings {
				if f := &r.out.Findings[i]; f.Column == lat || f.Column == lon {
					f.Text = c.Columns[f.Column]
				}
			}
			r.find(FoundExchanged, -1, "")
		}
		r.crs()
	}
	if c.Column("name:zh") < 0 && c.Column("name:en") < 0 {
		r.find(FoundNoName, -1, "")
	}
	if c.Column("code") >= 0 {
		return
	}
	if c.Column("class") < 0 && r.parent.Class() == "" {
		r.find(FoundNoClass, -1, "")
	}
	if c.Column("serial") < 0 {
		r.find(FoundNoSerial, -1, "")
	}
}

// crs looks for the coordinate system in the headers.
func (r *recogniser) crs() {
	if r.out.Changes.Column("crs") >= 0 {
		return
	}
	for i, h := range r.t.Header {
		if m := r.out.Changes.Columns[i]; m != "lat" && m != "lon" {
			continue
		}
		h = strings.ToLower(foldWidth(h))
		for _, w := range crsWords {
			if !strings.Contains(h, w.word) {
				continue
			}
			crs, err := ParseCRS(w.crs)
			if err != nil {
				r.find(FoundForeignCRS, -1, w.crs)
				return
			}
			r.out.CRS = crs
			r.find(FoundCRS, -1, w.crs)
			return
		}
	}
	r.find(FoundNoCRS, -1, "")
}

// Apart are two positions that should be one: a row's as the table has it, and
// the same thing's in the registry.
type Apart struct {
	Lat, Lon float64 // of the row
	Known    cityid.Location
}

// GuessCRS says of which system a table's coordinates are, by rows of things that
// the registry knows: the one under which most of them lie within five metres of
// where they are registered. It returns false if that is none, or both.
func GuessCRS(pairs []Apart) (CRS, bool) {
	count := map[CRS]int{}
	for _, p := range pairs {
		for _, crs := range []CRS{WGS84, GCJ02} {
			if l, err := locate(p.Lat, p.Lon, crs); err == nil && near(l, p.Known) {
				count[crs]++
			}
		}
	}
	switch {
	case count[GCJ02] > count[WGS84] && 2*count[GCJ02] >= len(pairs):
		return GCJ02, true
	case count[WGS84] > count[GCJ02] && 2*count[WGS84] >= len(pairs):
		return WGS84, true
	}
	return 0, false
}

// near reports whether two places in China lie within about five metres.
func near(a, b cityid.Location) bool {
	const metres5 = 600 // units of 1e-7 degrees
	dLat, dLon := int64(a.Lat)-int64(b.Lat), int64(a.Lon)-int64(b.Lon)
	return dLat*dLat+dLon*dLon*6/10 <= metres5*metres5
}
