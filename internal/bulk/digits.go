// SPDX-License-Identifier: Apache-2.0

package bulk

import (
	"regexp"
	"strconv"
	"strings"

	"cityid"
)

// scientific matches what spreadsheets make of long numbers. The sign is
// required: 12E5 can be a serial.
var scientific = regexp.MustCompile(`^[+-]?[0-9]+([.,][0-9]+)?[eE][+-][0-9]+$`)

// shortCategory matches a class whose category is too short for one, as a
// spreadsheet leaves it that takes 20.010200 for a number.
var shortCategory = regexp.MustCompile(`^[0-9]{1,3}\.[0-9]{1,5}$`)

func isDigits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != ""
}

// isNumber reports whether a program would take s for a number.
func isNumber(s string) bool {
	_, err := strconv.ParseFloat(s, 64)
	return err == nil
}

// intended returns the text a workbook's cell was meant to hold, given what it
// stores and what it shows, and false if that cannot be known.
func intended(stored, shown string) (text string, ok bool) {
	v, err := strconv.ParseFloat(stored, 64)
	if err == nil {
		// A number in the general format shows 15 digits at most, and scientific
		// notation where the column is narrow.
		v, _ = strconv.ParseFloat(strconv.FormatFloat(v, 'g', 15, 64), 64)
		if general := strconv.FormatFloat(v, 'f', -1, 64); general == shown {
			return shown, true
		}
		if isDigits(stored) && len(stored) <= 15 && scientific.MatchString(shown) {
			return stored, true
		}
	}
	return "", false
}

// group is the cells of an identifier column among which lengths are compared.
type group struct{ column, key string }

// widths is what is known of a group's cells that are digits only.
type widths struct {
	zeros    int // length of the longest that begins with 0
	min, max int
}

// lostZeros looks for cells that have lost leading zeros and returns the length
// each should have, by index of row and column.
func (p *parser) lostZeros() map[[2]int]int {
	if p.o.AsIs {
		return nil
	}
	seen := map[group]*widths{}
	each := func(visit func(i int, c *column, w *widths, text string)) {
		for i := range p.t.Rows {
			for k := range p.cols {
				c := &p.cols[k]
				if !p.comparesWidths(c) {
					continue
				}
				text := p.pad(c, p.text(i, c))
				if !isDigits(text) {
					continue
				}
				g := group{column: c.header}
				switch c.field {
				case fieldSerial:
					g.key = p.textOf(i, fieldClass)
				case fieldCode:
					g.key = p.textOf(i, fieldKind)
				}
				if seen[g] == nil {
					seen[g] = &widths{min: len(text)}
				}
				visit(i, c, seen[g], text)
			}
		}
	}
	each(func(_ int, _ *column, w *widths, text string) {
		w.min, w.max = min(w.min, len(text)), max(w.max, len(text))
		if text[0] == '0' && len(text) > 1 {
			w.zeros = max(w.zeros, len(text))
		}
	})
	lost := map[[2]int]int{}
	each(func(i int, c *column, w *widths, text string) {
		want := w.zeros
		if want == 0 && c.field != fieldAlias {
			want = w.max
		}
		if len(text) < want && text[0] != '0' {
			lost[[2]int{i, c.index}] = want
		}
	})
	return lost
}

// comparesWidths reports whether lengths mean something in column c: in serials
// and codes, and in crosswalk values whose scheme has no pattern to go by.
func (p *parser) comparesWidths(c *column) bool {
	switch c.field {
	case fieldCode, fieldSerial:
		return true
	case fieldAlias:
		return p.o.Settings == nil || len(schemeOf(p.o.Settings, c.arg).Patterns) == 0
	}
	return false
}

// pad gives digits in a code or serial column the width the caller named.
func (p *parser) pad(c *column, text string) string {
	if n := p.o.Width - len(text); n > 0 && (c.field == fieldCode || c.field == fieldSerial) && isDigits(text) {
		return strings.Repeat("0", n) + text
	}
	return text
}

// matchAny reports whether s matches one of the patterns; none take anything.
func matchAny(patterns []string, s string) bool {
	for _, p := range patterns {
		if cityid.MatchPattern(p, s) {
			return true
		}
	}
	return len(patterns) == 0
}

// zerosFor returns how long s, being digits, must become by leading zeros to
// match one of the patterns; 0 if that does not help.
func zerosFor(patterns []string, s string) int {
	if !isDigits(s) {
		return 0
	}
	for n := len(s) + 1; n <= 25; n++ {
		if matchAny(patterns, strings.Repeat("0", n-len(s))+s) {
			return n
		}
	}
	return 0
}
