// SPDX-License-Identifier: Apache-2.0

package portal

import (
	"encoding/xml"
	"errors"
	"io"
	"math"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"cityid"
)

// TestScale holds scales of all sizes to what a scale must be: it holds the values,
// its ticks are round and no two read the same.
func TestScale(t *testing.T) {
	for _, c := range []struct {
		low, high float64
		first     string
		last      string
	}{
		{12.1, 82.7, "0", "100"}, {0, 1, "0", "1.0"}, {-5, 5, "−6", "6"}, {-40, -30.5, "−40", "−30"}, {0.05, 0.31, "0", "0.4"},
		{0, 0, "0", "1.0"}, {7, 7, "6.0", "8.0"}, {-7, -7, "−8.0", "−6.0"}, {0.26, 0.26, "0.22", "0.30"},
		{1e38, 3e38, "1×10³⁸", "3×10³⁸"}, {123456789012, 123456789012, "1.1×10¹¹", "1.4×10¹¹"}, {999_999, 1_000_001, "999999.0", "1000001.0"},
		{1e-9, 3e-9, "1×10⁻⁹", "3×10⁻⁹"}, {0.0001, 0.0003, "0.00010", "0.00030"}, {-1e40, 1e40, "−1×10⁴⁰", "1×10⁴⁰"}, {1200, 34000, "0", "40,000"},
	} {
		s := newScale(c.low, c.high, 5)
		if s.low > c.low || s.high < c.high || !(s.low < s.high) || len(s.ticks) < 3 || len(s.ticks) > 12 {
			t.Errorf("%g to %g: %+v", c.low, c.high, s)
			continue
		}
		seen := map[string]bool{}
		for _, k := range s.ticks {
			if seen[k.text] {
				t.Errorf("%g to %g: %s stands twice", c.low, c.high, k.text)
			}
			seen[k.text] = true
		}
		if first, last := s.ticks[0].text, s.ticks[len(s.ticks)-1].text; first != c.first || last != c.last {
			t.Errorf("%g to %g: from %s to %s, want %s to %s", c.low, c.high, first, last, c.first, c.last)
		}
	}
}

func TestPowerText(t *testing.T) {
	for _, c := range []struct {
		n        int64
		exponent int
		want     string
	}{
		{0, 5, "0"}, {12, 0, "12"}, {12, 3, "12,000"}, {-12, 3, "−12,000"}, {5, -1, "0.5"}, {-5, -3, "−0.005"}, {1205, -2, "12.05"}, {1200, -2, "12.00"},
		{1, 7, "1×10⁷"}, {125, 8, "1.25×10¹⁰"}, {-5, -9, "−5×10⁻⁹"}, {1_000_000, 0, "1,000,000"},
	} {
		if got := powerText(c.n, c.exponent); got != c.want {
			t.Errorf("%d times ten to %d: %s, want %s", c.n, c.exponent, got, c.want)
		}
	}
}

func linear(n int, gap cityid.Time, y func(i int) float64) trendLine {
	l := trendLine{Gap: gap}
	for i := range n {
		v := y(i)
		l.Points = append(l.Points, trendPoint{cityid.Time(1_790_000_000 + 60*i), v, v, v})
	}
	return l
}

// coordinates returns the numbers of all paths.
var coordinates = regexp.MustCompile(`-?[0-9]+(\.[0-9]+)?`)

// wellFormed checks that a picture is XML, and that nothing lies outside of it.
func wellFormed(t *testing.T, svg string, width, height float64) {
	t.Helper()
	d := xml.NewDecoder(strings.NewReader(svg))
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.Fatalf("%v: %s", err, svg)
		}
		e, ok := token.(xml.StartElement)
		if !ok {
			continue
		}
		for _, a := range e.Attr {
			if a.Name.Local == "style" || strings.HasPrefix(a.Name.Local, "on") {
				t.Errorf("an attribute %s", a.Name.Local)
			}
			if strings.Contains(a.Value, "NaN") || strings.Contains(a.Value, "Inf") {
				t.Errorf("%s=%s", a.Name.Local, a.Value)
			}
			if a.Name.Local == "d" && strings.HasPrefix(attr(e, "class"), "line ") {
				for i, s := range coordinates.FindAllString(a.Value, -1) {
					v, _ := strconv.ParseFloat(s, 64)
					if most := []float64{width, height}[i%2]; v < -.1 || v > most+.1 {
						t.Errorf("%s lies outside: %s", s, a.Value)
					}
				}
			}
		}
	}
}

func attr(e xml.StartElement, name string) string {
	for _, a := range e.Attr {
		if a.Name.Local == name {
			return a.Value
		}
	}
	return ""
}

// TestTrend draws lines of every kind.
func TestTrend(t *testing.T) {
	from, to := cityid.Time(1_790_000_000), cityid.Time(1_790_000_000+60*1440)
	gapped := linear(100, 90, func(i int) float64 { return float64(i) })
	gapped.Points = append(gapped.Points[:20], append(gapped.Points[40:41:41], gapped.Points[60:]...)...)
	wide := linear(50, 90, func(i int) float64 { return float64(i % 7) })
	for i := range wide.Points {
		wide.Points[i].Low--
		wide.Points[i].High += 2
	}
	for name, c := range map[string]struct {
		lines []trendLine
		has   map[string]int // how often
	}{
		"nothing":   {[]trendLine{{Gap: 90}}, map[string]int{`class="line `: 0, "<text": 8}},
		"no line":   {nil, map[string]int{`class="line `: 0}},
		"one point": {[]trendLine{linear(1, 90, func(int) float64 { return 5 })}, map[string]int{`class="line `: 0, "<circle": 1}},
		"constant":  {[]trendLine{linear(100, 90, func(int) float64 { return 5 })}, map[string]int{`class="line `: 1, "<circle": 0}},
		"zero":      {[]trendLine{linear(100, 90, func(int) float64 { return 0 })}, map[string]int{`class="line `: 1}},
		"negative":  {[]trendLine{linear(100, 90, func(i int) float64 { return float64(-i) })}, map[string]int{`class="line `: 1, "−100": 1}},
		"huge":      {[]trendLine{linear(100, 90, func(i int) float64 { return float64(i) * 1e38 })}, map[string]int{"×10⁴⁰": 1}},
		"tiny":      {[]trendLine{linear(100, 90, func(i int) float64 { return float64(i) * 1e-30 })}, map[string]int{"⁻": 5}},
		"far apart": {[]trendLine{linear(2, 90, func(i int) float64 { return float64(2*i-1) * 9e39 })}, map[string]int{`class="line `: 1}},
		"gaps":      {[]trendLine{gapped}, map[string]int{`class="line `: 1, "<circle": 1}},
		"band":      {[]trendLine{wide}, map[string]int{`class="band line-0`: 1}},
		"several":   {[]trendLine{gapped, wide, linear(9, 90, func(i int) float64 { return math.Sqrt(float64(i)) })}, map[string]int{`class="line `: 3, `class="mark `: 3}},
	} {
		x := trend{ID: "a", Title: `<b>"&'`, Summary: "</svg><script>", From: from, To: to, Lang: "en", Lines: c.lines}
		for _, svg := range []string{string(x.draw()), string(x.spark())} {
			wellFormed(t, svg, trendWidth, trendHeight)
			if strings.Contains(svg, "<script") || strings.Contains(svg, "<b>") || !strings.Contains(svg, `role="img" aria-labelledby="a-title a-desc"`) {
				t.Errorf("%s: %s", name, svg)
			}
		}
		svg := string(x.draw())
		for what, n := range c.has {
			if got := strings.Count(svg, what); got < n || n == 0 && got > 0 {
				t.Errorf("%s: %q stands %d times, want %d: %s", name, what, got, n, svg)
			}
		}
	}
	runs := gapped.runs()
	if len(runs) != 3 || len(runs[0]) != 20 || len(runs[1]) != 1 || len(runs[2]) != 40 {
		t.Errorf("%d runs", len(runs))
	}
	if n := strings.Count(string((&trend{From: from, To: to, Lines: []trendLine{gapped}}).draw()), "M"); n < 2 {
		t.Error("a gap is drawn over")
	}
}

func TestTimeTicks(t *testing.T) {
	at := func(s string) cityid.Time { return cityid.TimeOf(mustTime(s)) }
	for _, c := range []struct {
		from, to, lang string
		first, second  string
		n              int
	}{
		{"2026-11-23T08:10:00Z", "2026-11-24T08:10:00Z", "en", "18:00", "21:00", 8},
		{"2026-11-17T08:10:00Z", "2026-11-24T08:10:00Z", "zh", "11月18日", "11月19日", 7},
		{"2026-10-25T08:10:00Z", "2026-11-24T08:10:00Z", "en", "29 Oct", "3 Nov", 6},
		{"2026-11-24T08:10:00Z", "2026-11-24T08:10:00Z", "en", "16:10", "", 1},
	} {
		got := timeTicks(at(c.from), at(c.to), c.lang)
		if len(got) != c.n || got[0].text != c.first || c.n > 1 && got[1].text != c.second || got[0].at < at(c.from) || got[len(got)-1].at > at(c.to) {
			t.Errorf("%s to %s: %+v", c.from, c.to, got)
		}
	}
}
