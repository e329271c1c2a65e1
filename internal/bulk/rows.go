// SPDX-License-Identifier: Apache-2.0

package bulk

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/text/unicode/norm"

	"cityid"
)

// Options say what to make of a table. Together with the table they decide the
// plan to the last bit.
type Options struct {
	Parent   cityid.Code      // all codes lie below it
	Settings *cityid.Settings // the registry's; nil: rule, schemes and disclosure are left to the registry
	Kind     cityid.Kind      // of rows that do not name theirs; 0: as the code's shape says
	Language string           // of a plain name column; "": zh
	CRS      CRS              // of rows that do not name theirs

	Width   int  // pad codes and serials of digits with leading zeros to this length; 0: do not
	AsIs    bool // take digits as they stand, even where zeros look lost
	Coarsen bool // round locations of coarse classes instead of reporting them

	IgnoreUnknown bool     // columns
	SaltKey       [32]byte // secret that salts of sealed rows derive from, see [SaltKey]; zero: there must be no sealed row

	// Exists, if set, says whether a code is allocated already. It is asked for
	// the parents of rows that are not in the table, so that a missing one is
	// reported by row; it has no influence on a plan that is made.
	Exists func(cityid.Code) (bool, error)

	BatchSize int // allocations of a batch, at most [MaxBatch], which 0 stands for
}

// parser checks a table's rows.
type parser struct {
	t        *Table
	o        *Options
	cols     []column
	byField  [fieldIgnored]*column // of fields that occur once
	lost     map[[2]int]int
	lines    map[cityid.Code]int // where a code was first seen
	problems Problems
	items    []Item
	sealed   []cityid.SealedContent
	noSalt   bool // a row must be sealed and there is no key for its salt
}

// report adds a problem with the cell of column c in row i; with the whole row
// if c is nil.
func (p *parser) report(i int, c *column, format string, args ...any) {
	problem := problemf(p.t.Rows[i].Line, format, args...)
	if c != nil {
		problem.Column, problem.Value = c.header, shorten(strings.TrimSpace(p.raw(i, c)), maxShown)
		if p.t.Format == FormatXLSX {
			problem.Cell = address(c.index, problem.Line)
		}
	}
	p.problems = append(p.problems, problem)
}

// suggest adds to the problem that was reported last the value that was probably
// meant.
func (p *parser) suggest(value string) { p.problems[len(p.problems)-1].Suggest = value }

// raw returns the cell of column c in row i as the table has it.
func (p *parser) raw(i int, c *column) string {
	if cells := p.t.Rows[i].Cells; c.index < len(cells) {
		return cells[c.index]
	}
	return ""
}

// text returns the cell of column c in row i without blanks and what [WriteCSV]
// puts before it; for identifiers also folded to ASCII. Where a workbook shows
// other than it stores, it is what was meant, or "" if that is not known.
func (p *parser) text(i int, c *column) string {
	text := p.raw(i, c)
	if shown, differs := p.t.shown[[2]int{i, c.index}]; differs && c.field != fieldLat && c.field != fieldLon {
		text, _ = intended(text, shown)
	}
	text = unguard(strings.TrimSpace(text))
	if c.field == fieldName || c.field == fieldLink {
		return text
	}
	return foldWidth(text)
}

// textOf returns the text of the one column of field f, "" if there is none.
func (p *parser) textOf(i int, f field) string {
	if c := p.byField[f]; c != nil {
		return p.text(i, c)
	}
	return ""
}

// damaged reports what a spreadsheet did to the cell of column c in row i.
func (p *parser) damaged(i int, c *column) bool {
	if c.field == fieldLat || c.field == fieldLon || c.field == fieldIgnored {
		return false
	}
	if shown, differs := p.t.shown[[2]int{i, c.index}]; differs {
		if _, ok := intended(p.raw(i, c), shown); !ok {
			p.report(i, c, "the cell holds the number %s, shown as %s: format the column as text and enter the value again",
				shorten(p.raw(i, c), maxShown), shorten(shown, maxShown))
			return true
		}
	}
	text := p.text(i, c)
	identifier := c.field == fieldCode || c.field == fieldClass || c.field == fieldSerial || c.field == fieldAlias
	if identifier && scientific.MatchString(text) {
		p.report(i, c, "scientific notation, in which digits are lost: format the column as text and enter the value again")
		return true
	}
	if want := p.lost[[2]int{i, c.index}]; want > 0 {
		p.report(i, c, "shorter than others, which have %d digits: leading zeros look lost; enter it as %s in a column formatted as text, give the width %d to have all padded, or have digits taken as they are",
			want, strings.Repeat("0", want-len(text))+text, want)
		p.suggest(strings.Repeat("0", want-len(text)) + text)
		return true
	}
	return false
}

// row checks row i and adds its item if nothing is wrong.
func (p *parser) row(i int) {
	before := len(p.problems)
	for n, cell := range p.t.Rows[i].Cells {
		if n >= len(p.t.Header) && strings.TrimSpace(cell) != "" {
			p.report(i, nil, "it has %d cells but the header %d: check the quotes and separators", len(p.t.Rows[i].Cells), len(p.t.Header))
			break
		}
	}
	bad := map[*column]bool{}
	for k := range p.cols {
		if c := &p.cols[k]; p.damaged(i, c) {
			bad[c] = true
		}
	}
	a := cityid.Allocation{Code: p.code(i, bad)}
	if !a.Code.IsZero() && a.Code.Parent() != p.o.Parent && p.o.Parent.PlaceCovers(a.Code) {
		a.Parent = p.o.Parent
	}
	a.Kind = p.kind(i, a.Code, bad)
	a.Reserved = p.reserved(i, bad)
	p.content(i, &a, bad)
	p.aliases(i, &a, bad)
	if a.Code.IsZero() {
		return
	}
	p.rule(i, &a, bad)
	if len(p.problems) > before {
		return
	}
	p.disclose(i, &a)
	if len(p.problems) > before {
		return
	}
	if n := len(cityid.MustMarshal(&a)); n > cityid.MaxRecord-recordOverhead {
		p.report(i, nil, "names, links and crosswalk entries take %d octets together: at most %d", n, cityid.MaxRecord-recordOverhead)
		return
	}
	p.items = append(p.items, Item{Line: p.t.Rows[i].Line, Allocation: a})
}

// recordOverhead is more than what a record has beside its allocation.
const recordOverhead = 512

// code returns the code of row i, or the zero Code after reporting why not.
func (p *parser) code(i int, bad map[*column]bool) cityid.Code {
	var code cityid.Code
	at := p.byField[fieldCode]
	if at != nil {
		text := p.pad(at, p.text(i, at))
		switch {
		case bad[at]:
			return code
		case text == "":
			p.report(i, at, "the code is missing")
			return code
		}
		var err error
		if code, err = resolveCode(p.o.Parent, text); err != nil {
			p.report(i, at, "%v", err)
			return cityid.Code{}
		}
	} else if code, at = p.classAndSerial(i, bad); code.IsZero() {
		return code
	}
	if parent := p.o.Parent; !parent.Covers(code) && !parent.PlaceCovers(code) {
		p.report(i, at, "%s lies outside the parent %s: import it below its own parent", code, parent)
		return cityid.Code{}
	}
	if line, seen := p.lines[code]; seen {
		p.report(i, at, "%s is in line %d already: a code stands in one row only", code, line)
		return cityid.Code{}
	}
	p.lines[code] = p.t.Rows[i].Line
	return code
}

// classAndSerial composes a code from the class and serial columns, and returns
// the column to name if it does not fit.
func (p *parser) classAndSerial(i int, bad map[*column]bool) (cityid.Code, *column) {
	class, serial := p.byField[fieldClass], p.byField[fieldSerial]
	prefix := p.o.Parent
	if class != nil {
		text := p.text(i, class)
		if bad[class] {
			return cityid.Code{}, class
		}
		if text == "" {
			p.report(i, class, "the class is missing")
			return cityid.Code{}, class
		}
		var err error
		if prefix, err = parseBelow(p.o.Parent.String()+"/", text); err != nil {
			if shortCategory.MatchString(text) {
				err = fmt.Errorf("%w; a spreadsheet that takes a class for a number drops zeros at both ends: format the column as text", err)
			}
			p.report(i, class, "%v", err)
			return cityid.Code{}, class
		}
		if prefix.Item() != "" {
			p.report(i, class, "more than a class: the item belongs in the serial column")
			return cityid.Code{}, class
		}
	}
	text := p.pad(serial, p.text(i, serial))
	switch {
	case bad[serial]:
		return cityid.Code{}, serial
	case text == "" && class != nil && (p.o.Kind == cityid.KindClass || p.kindText(i) == cityid.KindClass):
		return prefix, class
	case text == "":
		p.report(i, serial, "the serial is missing; a row for the class itself has kind class")
		return cityid.Code{}, serial
	}
	code, err := parseBelow(prefix.String()+"/", text)
	if err != nil {
		p.report(i, serial, "%v", err)
		return cityid.Code{}, serial
	}
	return code, serial
}

// resolveCode returns the code that text stands for below parent.
func resolveCode(parent cityid.Code, text string) (cityid.Code, error) {
	prefix := parent.String()
	upper := strings.ToUpper(text)
	switch {
	case strings.HasPrefix(upper, parent.IAC()+"."):
		prefix = ""
	case text[0] == '.' || text[0] == '/':
	case parent.Item() == "" && (parent.Class() != "" || looksLikeClass(upper)):
		prefix += "/"
	default:
		prefix += "."
	}
	return parseBelow(prefix, text)
}

// parseBelow parses prefix and text as one code; the offset in its error counts
// from the beginning of text.
func parseBelow(prefix, text string) (cityid.Code, error) {
	c, err := cityid.Parse(prefix + text)
	var e *cityid.CodeError
	if errors.As(err, &e) {
		return c, fmt.Errorf("not a code: offset %d: %s", max(0, e.Offset-len(prefix)), e.Reason)
	}
	return c, err
}

// looksLikeClass reports whether s begins as a class does: two or three digits,
// a point, four digits or more.
func looksLikeClass(s string) bool {
	use, rest, _ := strings.Cut(s, ".")
	n := strings.IndexFunc(rest+"/", func(r rune) bool { return r < '0' || r > '9' })
	return isDigits(use) && (len(use) == 2 || len(use) == 3) && n >= 4
}

// kindText returns the kind that row i names, or 0.
func (p *parser) kindText(i int) cityid.Kind {
	text := strings.ToLower(p.textOf(i, fieldKind))
	if k, ok := kindSynonyms[text]; ok {
		return k
	}
	var k cityid.Kind
	if k.UnmarshalText([]byte(text)) != nil {
		return 0
	}
	return k
}

func (p *parser) kind(i int, code cityid.Code, bad map[*column]bool) cityid.Kind {
	c := p.byField[fieldKind]
	if c != nil && bad[c] {
		return 0
	}
	if c != nil && p.text(i, c) != "" {
		k := p.kindText(i)
		if k == 0 {
			var unknown cityid.Kind
			p.report(i, c, "%v", unknown.UnmarshalText([]byte(p.text(i, c))))
		}
		return k
	}
	switch {
	case p.o.Kind != 0:
		return p.o.Kind
	case code.IsZero():
		return 0
	case code.Item() != "":
		return cityid.KindObject
	case code.Class() != "":
		return cityid.KindClass
	case len(code.Units()) > 0:
		return cityid.KindDepartment
	}
	p.report(i, c, "what %s is does not follow from its code: name its kind in a kind column", code)
	return 0
}

func (p *parser) reserved(i int, bad map[*column]bool) bool {
	c := p.byField[fieldStatus]
	if c == nil || bad[c] {
		return false
	}
	switch strings.ToLower(p.text(i, c)) {
	case "", "active", "启用", "有效":
		return false
	case "reserved", "预留", "保留":
		return true
	}
	p.report(i, c, "a code begins as active or reserved; change it afterwards")
	return false
}

// content fills in names, links and location.
func (p *parser) content(i int, a *cityid.Allocation, bad map[*column]bool) {
	names := map[string]string{}
	for k := range p.cols {
		c := &p.cols[k]
		if c.field != fieldName && c.field != fieldLink || bad[c] {
			continue
		}
		text := p.text(i, c)
		if text == "" {
			continue
		}
		var one cityid.Content
		if c.field == fieldName {
			text = norm.NFC.String(text)
			one.Names = cityid.Names{{Lang: c.arg, Text: text}}
		} else {
			one.Links = []cityid.Link{{Rel: c.arg, Href: text}}
		}
		if err := one.Check(); err != nil {
			p.report(i, c, "%v", reasonOf(err))
			bad[c] = true
			continue
		}
		if c.field == fieldName {
			names[c.arg] = text
		} else {
			a.Content.Links = append(a.Content.Links, one.Links...)
		}
	}
	a.Content.Names = cityid.NamesOf(names)
	a.Content.Location = p.location(i, bad)
	if err := a.Content.Check(); err != nil {
		p.report(i, nil, "%v", reasonOf(err))
	}
}

func (p *parser) location(i int, bad map[*column]bool) *cityid.Location {
	latColumn, lonColumn := p.byField[fieldLat], p.byField[fieldLon]
	if latColumn == nil {
		return nil
	}
	latText, lonText := p.text(i, latColumn), p.text(i, lonColumn)
	switch {
	case latText == "" && lonText == "":
		return nil
	case latText == "":
		p.report(i, latColumn, "the latitude is missing")
		return nil
	case lonText == "":
		p.report(i, lonColumn, "the longitude is missing")
		return nil
	}
	lat, latErr := parseDegrees(latText, 90)
	if latErr != nil {
		hint := ""
		_, errLat := parseDegrees(latText, 180)
		if _, errLon := parseDegrees(lonText, 90); errLat == nil && errLon == nil {
			hint = ": are latitude and longitude exchanged?"
		}
		p.report(i, latColumn, "%v%s", latErr, hint)
	}
	lon, lonErr := parseDegrees(lonText, 180)
	if lonErr != nil {
		p.report(i, lonColumn, "%v", lonErr)
	}
	crs := p.o.CRS
	if c := p.byField[fieldCRS]; c != nil && !bad[c] && p.text(i, c) != "" {
		var err error
		if crs, err = ParseCRS(p.text(i, c)); err != nil {
			p.report(i, c, "%v", err)
			return nil
		}
	}
	if latErr != nil || lonErr != nil {
		return nil
	}
	l, err := locate(lat, lon, crs)
	if err != nil {
		p.report(i, latColumn, "%v", err)
		return nil
	}
	return &l
}

func (p *parser) aliases(i int, a *cityid.Allocation, bad map[*column]bool) {
	for k := range p.cols {
		c := &p.cols[k]
		if c.field != fieldAlias || bad[c] {
			continue
		}
		text := norm.NFC.String(p.text(i, c))
		if text == "" {
			continue
		}
		one := []cityid.Alias{{Scheme: c.arg, Value: text}}
		if err := cityid.CheckAliases(one); err != nil {
			p.report(i, c, "%v", reasonOf(err))
			bad[c] = true
			continue
		}
		if p.o.Settings != nil {
			if patterns := schemeOf(p.o.Settings, c.arg).Patterns; !matchAny(patterns, text) {
				if n := zerosFor(patterns, text); n > 0 {
					p.report(i, c, "leading zeros look lost: scheme %s has %d digits here; format the column as text and enter it as %s", c.arg, n, strings.Repeat("0", n-len(text))+text)
					p.suggest(strings.Repeat("0", n-len(text)) + text)
				} else {
					p.report(i, c, "scheme %s wants %s (# a digit, @ a letter, ? either)", c.arg, strings.Join(patterns, " or "))
				}
				bad[c] = true
				continue
			}
		}
		a.Aliases = append(a.Aliases, one...)
	}
	slices.SortFunc(a.Aliases, func(x, y cityid.Alias) int { return strings.Compare(x.Scheme, y.Scheme) })
}

// reasonOf returns an error without the code that [cityid.Error] prints.
func reasonOf(err error) error {
	var e *cityid.Error
	if errors.As(err, &e) {
		return errors.New(e.Message)
	}
	return err
}
