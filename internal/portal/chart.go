// SPDX-License-Identifier: Apache-2.0

package portal

import (
	"fmt"
	"html/template"
	"strings"
)

// bar is one value of a chart.
type bar struct {
	Label string
	Value uint64
	URL   string // "": no link
}

// chart is a bar chart as templates show it, with the same values as a table.
type chart struct {
	ID, Title string
	Unit      string // heading of the values
	What      string // heading of the labels
	Bars      []bar
	SVG       template.HTML
}

// Sizes of charts in user units.
const (
	chartWidth  = 720
	chartHeight = 160
	chartFoot   = 22
)

// newChart draws bars that stand side by side, the first at the left.
func newChart(id, title, what, unit string, bars []bar) *chart {
	c := &chart{ID: id, Title: title, What: what, Unit: unit, Bars: bars}
	var most uint64 = 1
	for _, b := range bars {
		most = max(most, b.Value)
	}
	var s strings.Builder
	fmt.Fprintf(&s, `<svg viewBox="0 0 %d %d" role="img" aria-labelledby="%s-title"><title id="%s-title">%s</title>`,
		chartWidth, chartHeight+chartFoot, id, id, template.HTMLEscapeString(title))
	fmt.Fprintf(&s, `<path class="axis" d="M0 %d.5H%d"/>`, chartHeight, chartWidth)
	fmt.Fprintf(&s, `<text x="0" y="12">%s</text>`, grouped(most))
	wide := float64(chartWidth) / float64(max(1, len(bars)))
	for i, b := range bars {
		h := float64(b.Value) / float64(most) * (chartHeight - 18)
		if b.Value > 0 {
			h = max(h, 2)
		}
		fmt.Fprintf(&s, `<rect class="bar" x="%.1f" y="%.1f" width="%.1f" height="%.1f"><title>%s: %s</title></rect>`,
			float64(i)*wide+wide*.1, chartHeight-h, wide*.8, h, template.HTMLEscapeString(b.Label), grouped(b.Value))
	}
	if len(bars) > 0 {
		fmt.Fprintf(&s, `<text x="0" y="%d">%s</text>`, chartHeight+chartFoot-5, template.HTMLEscapeString(bars[0].Label))
		fmt.Fprintf(&s, `<text x="%d" y="%d" text-anchor="end">%s</text>`, chartWidth, chartHeight+chartFoot-5, template.HTMLEscapeString(bars[len(bars)-1].Label))
	}
	s.WriteString(`</svg>`)
	c.SVG = template.HTML(s.String())
	return c
}
