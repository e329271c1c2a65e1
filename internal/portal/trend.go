// SPDX-License-Identifier: Apache-2.0

package portal

import (
	"fmt"
	"html/template"
	"math"
	"strings"
	"time"

	"cityid"
)

// A trend is a line chart, drawn on the server: one line or several of the same
// unit over a period. Lines are told apart by their dashes and the shapes of their
// marks as well as by colour. Where observations are missing a line is broken.

// Sizes of trends in user units.
const (
	trendWidth  = 720
	trendHeight = 260
	trendLeft   = 64 // for the scale
	trendRight  = 14
	trendTop    = 12
	trendFoot   = 26
	sparkWidth  = 240
	sparkHeight = 48
)

// maxTrendLines is how many lines the style sheet tells apart.
const maxTrendLines = 6

// trendPoint is where a line goes through.
type trendPoint struct {
	Time      cityid.Time
	Y         float64
	Low, High float64 // between which the observations lie that Y is the mean of
}

// trendLine is one line.
type trendLine struct {
	Points []trendPoint // in order of time, finite numbers
	Gap    cityid.Time  // seconds: points further apart are not joined
}

// trend is what is drawn.
type trend struct {
	ID       string // of the chart in its page
	Title    string // what it shows
	Summary  string // the same in a sentence or two, for who does not see it
	From, To cityid.Time
	Lang     string
	Lines    []trendLine
}

// runs splits a line where something is missing.
func (l *trendLine) runs() [][]trendPoint {
	var out [][]trendPoint
	begin := 0
	for i := range l.Points {
		if i > begin && l.Points[i].Time-l.Points[i-1].Time > l.Gap {
			out = append(out, l.Points[begin:i])
			begin = i
		}
	}
	if begin < len(l.Points) {
		out = append(out, l.Points[begin:])
	}
	return out
}

// bounds returns the lowest and the highest value of all lines; ok is false if there
// is none.
func (t *trend) bounds() (low, high float64, ok bool) {
	low, high = math.Inf(1), math.Inf(-1)
	for _, l := range t.Lines {
		for _, p := range l.Points {
			low, high = min(low, p.Y, p.Low), max(high, p.Y, p.High)
		}
	}
	return low, high, low <= high
}

// frame turns times and values into user units.
type frame struct {
	left, top, width, height float64
	from, to                 cityid.Time
	low, high                float64
}

func (f *frame) x(t cityid.Time) float64 {
	return f.left + float64(t-f.from)/float64(max(1, f.to-f.from))*f.width
}

func (f *frame) y(v float64) float64 {
	return f.top + (f.high-v)/(f.high-f.low)*f.height
}

// draw returns the trend with scales.
func (t *trend) draw() template.HTML {
	var b strings.Builder
	t.open(&b, trendWidth, trendHeight)
	low, high, ok := t.bounds()
	if !ok {
		low, high = 0, 1
	}
	s := newScale(low, high, 5)
	f := frame{trendLeft, trendTop, trendWidth - trendLeft - trendRight, trendHeight - trendTop - trendFoot, t.From, t.To, s.low, s.high}
	b.WriteString(`<path class="grid" d="`)
	for _, k := range s.ticks {
		fmt.Fprintf(&b, "M%d %.1fH%d", trendLeft, f.y(k.at), trendWidth-trendRight)
	}
	b.WriteString(`"/>`)
	if ok {
		for _, k := range s.ticks {
			fmt.Fprintf(&b, `<text x="%d" y="%.1f" text-anchor="end">%s</text>`, trendLeft-8, f.y(k.at)+4, k.text)
		}
	}
	for _, k := range timeTicks(t.From, t.To, t.Lang) {
		x := f.x(k.at)
		fmt.Fprintf(&b, `<path class="tick" d="M%.1f %dv5"/><text x="%.1f" y="%d" text-anchor="middle">%s</text>`, x, trendHeight-trendFoot, x, trendHeight-7, template.HTMLEscapeString(k.text))
	}
	for i := range t.Lines {
		t.Lines[i].band(&b, &f, i)
	}
	for i := range t.Lines {
		t.Lines[i].line(&b, &f, i, len(t.Lines) > 1)
	}
	b.WriteString(`</svg>`)
	return template.HTML(b.String())
}

// spark returns the trend as a small picture without scales.
func (t *trend) spark() template.HTML {
	var b strings.Builder
	t.open(&b, sparkWidth, sparkHeight)
	if low, high, ok := t.bounds(); ok {
		if high-low <= math.Max(math.Abs(low), math.Abs(high))*1e-9 {
			s := newScale(low, high, 2)
			low, high = s.low, s.high
		}
		f := frame{4, 5, sparkWidth - 8, sparkHeight - 10, t.From, t.To, low, high}
		for i := range t.Lines {
			t.Lines[i].line(&b, &f, i, false)
			if n := len(t.Lines[i].Points); n > 0 {
				p := t.Lines[i].Points[n-1]
				fmt.Fprintf(&b, `<circle class="dot line-%d" cx="%.1f" cy="%.1f" r="3"/>`, i, f.x(p.Time), f.y(p.Y))
			}
		}
	}
	b.WriteString(`</svg>`)
	return template.HTML(b.String())
}

func (t *trend) open(b *strings.Builder, width, height int) {
	id := template.HTMLEscapeString(t.ID)
	fmt.Fprintf(b, `<svg viewBox="0 0 %d %d" role="img" aria-labelledby="%s-title %s-desc"><title id="%s-title">%s</title><desc id="%s-desc">%s</desc>`,
		width, height, id, id, id, template.HTMLEscapeString(t.Title), id, template.HTMLEscapeString(t.Summary))
}

// band draws between which values the observations lie, where there are several to a
// point.
func (l *trendLine) band(b *strings.Builder, f *frame, n int) {
	var d strings.Builder
	for _, run := range l.runs() {
		wide := false
		for _, p := range run {
			wide = wide || p.Low < p.High
		}
		if !wide || len(run) < 2 {
			continue
		}
		pen := byte('M')
		for _, p := range run {
			fmt.Fprintf(&d, "%c%.1f %.1f", pen, f.x(p.Time), f.y(p.High))
			pen = 'L'
		}
		for i := len(run) - 1; i >= 0; i-- {
			fmt.Fprintf(&d, "L%.1f %.1f", f.x(run[i].Time), f.y(run[i].Low))
		}
		d.WriteByte('Z')
	}
	if d.Len() > 0 {
		fmt.Fprintf(b, `<path class="band line-%d" d="%s"/>`, n, d.String())
	}
}

// line draws the line; points that stand alone become dots. With marks it also draws
// the shapes by which it is told from others.
func (l *trendLine) line(b *strings.Builder, f *frame, n int, marks bool) {
	var d, shapes strings.Builder
	every := f.width / 6
	next := f.left + every/float64(2+n) // so that marks of different lines stand apart
	for _, run := range l.runs() {
		if len(run) == 1 {
			fmt.Fprintf(b, `<circle class="dot line-%d" cx="%.1f" cy="%.1f" r="2.500"/>`, n, f.x(run[0].Time), f.y(run[0].Y))
		}
		pen := byte('M')
		for i, p := range run {
			x, y := f.x(p.Time), f.y(p.Y)
			if len(run) > 1 {
				fmt.Fprintf(&d, "%c%.1f %.1f", pen, x, y)
				pen = 'L'
			}
			if marks && (x >= next || i == len(run)-1) {
				shapes.WriteString(markShape(n, x, y))
				next = x + every
			}
		}
	}
	if d.Len() > 0 {
		fmt.Fprintf(b, `<path class="line line-%d" d="%s"/>`, n, d.String())
	}
	if shapes.Len() > 0 {
		fmt.Fprintf(b, `<path class="mark line-%d" d="%s"/>`, n, shapes.String())
	}
}

// markShape returns the path of the mark by which a line is known.
func markShape(n int, x, y float64) string {
	switch n % maxTrendLines {
	case 0: // circle
		return fmt.Sprintf("M%.1f %.1fa4 4 0 1 0 8 0a4 4 0 1 0 -8 0Z", x-4, y)
	case 1: // square
		return fmt.Sprintf("M%.1f %.1fh8v8h-8Z", x-4, y-4)
	case 2: // triangle
		return fmt.Sprintf("M%.1f %.1fl5 9h-10Z", x, y-6)
	case 3: // diamond
		return fmt.Sprintf("M%.1f %.1fl5.500 5.500l-5.500 5.500l-5.500 -5.500Z", x, y-5.5)
	case 4: // upright cross
		return fmt.Sprintf("M%.1f %.1fh3v-3h3v3h3v3h-3v3h-3v-3h-3Z", x-4.5, y-1.5)
	}
	return fmt.Sprintf("M%.1f %.1fl5 -9h-10Z", x, y+6) // triangle on its tip
}

// lineKey draws a piece of a line with its mark, for a legend.
func lineKey(n int) template.HTML {
	return template.HTML(fmt.Sprintf(`<svg class="key" viewBox="0 0 48 16" aria-hidden="true"><path class="line line-%d" d="M2 8H46"/><path class="mark line-%d" d="%s"/></svg>`, n, n, markShape(n, 24, 8)))
}

// timeTick is a labelled time.
type timeTick struct {
	at   cityid.Time
	text string
}

// timeSteps are the distances at which times are labelled, in seconds.
var timeSteps = []cityid.Time{60, 300, 900, 3600, 3 * 3600, 6 * 3600, 12 * 3600, 86400, 2 * 86400, 5 * 86400, 10 * 86400, 30 * 86400}

// timeTicks chooses up to eight times between two, at round hours of the portal's
// time zone. A day's first is labelled with the date.
func timeTicks(from, to cityid.Time, lang string) []timeTick {
	step := timeSteps[len(timeSteps)-1]
	for _, s := range timeSteps {
		if (to-from)/s <= 8 {
			step = s
			break
		}
	}
	const zone = 8 * 3600 // of beijing
	var out []timeTick
	for t := (from + zone + step - 1) / step * step; t-zone <= to && len(out) < 12; t += step {
		local := (t - zone).Std().In(beijing)
		out = append(out, timeTick{t - zone, tickText(local, lang)})
	}
	return out
}

func tickText(t time.Time, lang string) string {
	switch {
	case t.Hour() != 0 || t.Minute() != 0:
		return t.Format("15:04")
	case lang == "zh":
		return t.Format("1月2日")
	}
	return t.Format("2 Jan")
}
