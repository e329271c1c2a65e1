// SPDX-License-Identifier: Apache-2.0

package label

import (
	"errors"
	"fmt"
	"html"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxText bounds each printed text, in characters.
const maxText = 120

// Caption is what people read beside a symbol, besides the code with its check
// characters and the resolver's host, which are always printed.
type Caption struct {
	Holder  string // who answers for the code; required
	Name    string // what the code names; may be empty
	Contact string // hotline or other remark; may be empty
}

// check refuses text that would not print as it reads.
func (c Caption) check() error {
	if strings.TrimSpace(c.Holder) == "" {
		return errors.New("no holder given: a label must say who answers for the code")
	}
	for _, f := range []struct{ what, text string }{{"holder", c.Holder}, {"name", c.Name}, {"contact", c.Contact}} {
		if !utf8.ValidString(f.text) {
			return fmt.Errorf("%s is not UTF-8", f.what)
		}
		if n := utf8.RuneCountInString(f.text); n > maxText {
			return fmt.Errorf("%s of %d characters: at most %d fit", f.what, n, maxText)
		}
		for _, r := range f.text {
			if hidden(r) {
				return fmt.Errorf("%s contains the invisible character %U: remove it", f.what, r)
			}
		}
	}
	return nil
}

// hidden reports whether r is a control, a line or paragraph separator, a
// format character that can reorder or hide text, or no character at all.
func hidden(r rune) bool {
	return unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp, unicode.Co, unicode.Noncharacter_Code_Point)
}

// SVGOptions says how [Symbol.SVG] draws.
type SVGOptions struct {
	SideMM  float64  // printed side of the symbol without quiet zone, 5 to 1000 mm; 0: scales to its surroundings
	Caption *Caption // nil: the symbol alone
}

// Sizes in modules of the text under a symbol.
const (
	codeSize  = 2.6
	textSize  = 2.3
	lineSpace = 1.3
)

// line is one printed line.
type line struct {
	text string
	size float64
	mono bool
}

// SVG returns the symbol as an SVG document: white ground, one black path of
// whole modules, the quiet zone, and, with a caption, the full code with check
// characters, name, holder, a certificate's first and last day or a source mark's times, host and
// contact in text elements below. One user
// unit is one module. There are no scripts, styles or outside references.
func (s *Symbol) SVG(o SVGOptions) ([]byte, error) {
	if o.SideMM != 0 && !(o.SideMM >= 5 && o.SideMM <= 1000) {
		return nil, fmt.Errorf("symbol side of %g mm: want 5 to 1000", o.SideMM)
	}
	box := s.modules + 2*Quiet
	height := float64(box)
	var lines []line
	title := ""
	if s.code.IsZero() && o.Caption != nil {
		return nil, errors.New("a symbol of a text has no caption")
	}
	if !s.code.IsZero() {
		title = "<title>" + html.EscapeString(s.code.Display()) + "</title>"
	}
	if o.Caption != nil {
		if err := o.Caption.check(); err != nil {
			return nil, fmt.Errorf("label for %s: %w", s.code, err)
		}
		lines = s.lines(*o.Caption, float64(box)-2)
		for _, l := range lines {
			height += l.size * lineSpace
		}
		height += 2
	}
	var b strings.Builder
	b.WriteString(`<svg xmlns="http://www.w3.org/2000/svg"`)
	if o.SideMM != 0 {
		mm := o.SideMM / float64(s.modules)
		fmt.Fprintf(&b, ` width="%smm" height="%smm"`, decimal(float64(box)*mm), decimal(height*mm))
	}
	fmt.Fprintf(&b, ` viewBox="0 0 %d %s">%s<rect width="100%%" height="100%%" fill="#fff"/><path stroke="#000" shape-rendering="crispEdges" d="%s"/>`,
		box, decimal(height), title, s.path())
	y := float64(box)
	for _, l := range lines {
		y += l.size * lineSpace
		family := "sans-serif"
		if l.mono {
			family = "monospace"
		}
		fmt.Fprintf(&b, `<text x="%s" y="%s" text-anchor="middle" font-family="%s" font-size="%s">%s</text>`,
			decimal(float64(box)/2), decimal(y), family, decimal(l.size), html.EscapeString(l.text))
	}
	b.WriteString("</svg>\n")
	return []byte(b.String()), nil
}

// path returns SVG path data, to be stroked one unit wide: a horizontal line
// for each run of dark modules, along the middle of its row, offset by the
// quiet zone. Half as long as rectangles, it covers the same whole modules.
func (s *Symbol) path() string {
	var b []byte
	for y := range s.modules {
		at := -1 // where the pen is in this row
		for x := 0; x < s.modules; x++ {
			run := 0
			for s.Dark(x+run, y) {
				run++
			}
			if run == 0 {
				continue
			}
			if at < 0 {
				b = strconv.AppendInt(append(b, 'M'), int64(x+Quiet), 10)
				b = strconv.AppendInt(append(b, ' '), int64(y+Quiet), 10)
				b = append(b, ".5"...)
			} else {
				b = strconv.AppendInt(append(b, 'm'), int64(x-at), 10)
				b = append(b, " 0"...)
			}
			b = strconv.AppendInt(append(b, 'h'), int64(run), 10)
			x += run
			at = x
		}
	}
	return string(b)
}

// decimal writes a length with at most two decimals.
func decimal(f float64) string {
	s := strconv.FormatFloat(f, 'f', 2, 64)
	return strings.TrimSuffix(strings.TrimRight(s, "0"), ".")
}

// lines breaks the printed text to the given width in modules.
func (s *Symbol) lines(c Caption, width float64) []line {
	var out []line
	add := func(text string, size float64, mono bool) {
		for _, t := range wrap(text, width/size) {
			out = append(out, line{t, size, mono})
		}
	}
	add(s.code.Display(), codeSize, true)
	add(c.Name, textSize, false)
	add(c.Holder, textSize, false)
	add(s.dates, textSize, true)
	add(s.host, textSize, true)
	add(c.Contact, textSize, false)
	return out
}

// advance returns the width of a character in units of its font size, as wide
// as the fonts at hand may draw it.
func advance(r rune) float64 {
	switch {
	case r >= 0x1100: // Hangul, Han, full-width forms and what follows
		return 1
	case r >= 'A' && r <= 'Z', r == '@', r == '%', r == 'm', r == 'w':
		return 0.78
	}
	return 0.62
}

// wrap breaks text into lines of at most width, in units of the font size. It
// prefers to break after a space, slash or dot in the second half of a line,
// and drops nothing but spaces at the breaks.
func wrap(text string, width float64) []string {
	var out []string
	runes := []rune(strings.TrimSpace(text))
	for len(runes) > 0 {
		n, used := 0, 0.0
		for n < len(runes) && used+advance(runes[n]) <= width {
			used += advance(runes[n])
			n++
		}
		n = max(n, 1)
		if n < len(runes) {
			for i := n; i > n/2; i-- {
				if strings.ContainsRune(" /.", runes[i-1]) {
					n = i
					break
				}
			}
		}
		out = append(out, strings.TrimSpace(string(runes[:n])))
		runes = []rune(strings.TrimLeft(string(runes[n:]), " "))
	}
	return out
}
