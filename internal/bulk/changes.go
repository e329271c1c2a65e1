// SPDX-License-Identifier: Apache-2.0

package bulk

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"cityid"
)

// Ignore is the meaning of a column that is left out.
const Ignore = "ignore"

// Changes say how a table that was not made for the registry becomes one that
// was: what its columns mean, what stands in for columns it lacks, and which of
// its cells are other than they should be. They name cells by line and column
// of the table as it was read, so they hold whatever else is changed.
type Changes struct {
	// Columns has for each column of the table the header it gets, such as
	// "lat" or "alias:asset", or [Ignore].
	Columns []string `json:"columns"`
	Class   string   `json:"class,omitempty"`  // of all rows: "use.category[.model]"; "": a column says it, or the parent is one
	Number  string   `json:"number,omitempty"` // serial of the first row, such as 005001, the others follow; "": a column says it
	Skip    []int    `json:"skip,omitempty"`   // lines that are left out
	Cells   []Cell   `json:"cells,omitempty"`  // corrected
}

// Cell is what a cell should hold.
type Cell struct {
	Line   int    `json:"line"`
	Column int    `json:"column"` // index in the header
	Value  string `json:"value"`
}

// Set corrects cells; a later correction of the same cell takes the place of an
// earlier one.
func (c *Changes) Set(cells ...Cell) {
	at := make(map[[2]int]int, len(c.Cells))
	for i, x := range c.Cells {
		at[[2]int{x.Line, x.Column}] = i
	}
	for _, x := range cells {
		key := [2]int{x.Line, x.Column}
		if i, there := at[key]; there {
			c.Cells[i] = x
			continue
		}
		at[key] = len(c.Cells)
		c.Cells = append(c.Cells, x)
	}
}

// Column returns the index of the column that gets a header, or -1.
func (c *Changes) Column(header string) int { return slices.Index(c.Columns, header) }

// CheckMeaning reports whether a column may be given that header.
func CheckMeaning(header string) error {
	if header == Ignore {
		return nil
	}
	_, _, err := parseHeader(header, "zh")
	return err
}

// Change returns the table that the changes make of t, which stays as it is.
// Lines are kept, so that problems name those of the file.
func (t *Table) Change(c *Changes) (*Table, error) {
	if len(c.Columns) != len(t.Header) {
		return nil, fmt.Errorf("meanings for %d columns, and the table has %d", len(c.Columns), len(t.Header))
	}
	for i, meaning := range c.Columns {
		if err := CheckMeaning(meaning); err != nil {
			return nil, fmt.Errorf("column %s: %w", t.Header[i], err)
		}
	}
	for _, cell := range c.Cells {
		if cell.Column < 0 || cell.Column >= len(t.Header) || len(cell.Value) > MaxCell {
			return nil, fmt.Errorf("the correction of line %d names no column, or is too long", cell.Line)
		}
	}
	number, err := c.numbering(len(t.Rows))
	if err != nil {
		return nil, err
	}
	if c.Class != "" && c.Column("class") >= 0 {
		return nil, fmt.Errorf("a class for all rows, and a column for it: keep either")
	}
	return t.changed(c, number), nil
}

// numbering returns what gives the n-th of so many rows its serial; nil: the
// table has serials.
func (c *Changes) numbering(rows int) (func(n int) string, error) {
	if c.Number == "" {
		return nil, nil
	}
	first, err := strconv.ParseUint(c.Number, 10, 63)
	width := len(c.Number)
	switch {
	case err != nil || !isDigits(c.Number) || width > 18:
		return nil, fmt.Errorf("first serial %.40q: want up to 18 digits, such as 000001", c.Number)
	case c.Column("serial") >= 0 || c.Column("code") >= 0:
		return nil, fmt.Errorf("rows are to be numbered, and the table has numbers: keep either")
	case rows > 0 && len(strconv.FormatUint(first+uint64(rows)-1, 10)) > width:
		return nil, fmt.Errorf("%d rows from %s onwards need more digits: begin with more leading zeros", rows, c.Number)
	}
	return func(n int) string { return fmt.Sprintf("%0*d", width, first+uint64(n)) }, nil
}

func (t *Table) changed(c *Changes, number func(int) string) *Table {
	out := &Table{Name: t.Name, Format: t.Format, Encoding: t.Encoding, Separator: t.Separator, Sheet: t.Sheet, Line: t.Line, shown: map[[2]int]string{}}
	var keep []int // indexes of columns
	for i, meaning := range c.Columns {
		if meaning != Ignore {
			keep = append(keep, i)
			out.Header = append(out.Header, meaning)
		}
	}
	added := len(out.Header)
	if c.Class != "" {
		out.Header = append(out.Header, "class")
	}
	if number != nil {
		out.Header = append(out.Header, "serial")
	}
	edits := map[[2]int]string{}
	for _, cell := range c.Cells {
		edits[[2]int{cell.Line, cell.Column}] = cell.Value
	}
	skip := map[int]bool{}
	for _, line := range c.Skip {
		skip[line] = true
	}
	for at, row := range t.Rows {
		if skip[row.Line] {
			continue
		}
		cells := make([]string, added, len(out.Header))
		for k, i := range keep {
			if i < len(row.Cells) {
				cells[k] = row.Cells[i]
			}
			if value, edited := edits[[2]int{row.Line, i}]; edited {
				cells[k] = value
			} else if shown, differs := t.shown[[2]int{at, i}]; differs {
				out.shown[[2]int{len(out.Rows), k}] = shown
			}
		}
		if c.Class != "" {
			cells = append(cells, c.Class)
		}
		if number != nil {
			cells = append(cells, number(len(out.Rows)))
		}
		out.Rows = append(out.Rows, Row{row.Line, cells})
	}
	return out
}

// WriteTable writes a table as [WriteCSV] does, so that it can be imported
// elsewhere. What a workbook shows and does not store is lost: it must have been
// planned without problems.
func WriteTable(w interface{ Write([]byte) (int, error) }, t *Table) error {
	return WriteCSV(w, t.Header, func(yield func([]string) bool) {
		for i := range t.Rows {
			cells := make([]string, len(t.Header))
			for k := range min(len(cells), len(t.Rows[i].Cells)) {
				cells[k] = unguard(strings.TrimSpace(t.Rows[i].Cells[k]))
				if shown, differs := t.shown[[2]int{i, k}]; differs && t.Header[k] != "lat" && t.Header[k] != "lon" {
					if text, ok := intended(cells[k], shown); ok {
						cells[k] = text
					}
				}
			}
			if !yield(cells) {
				return
			}
		}
	})
}

// Mend returns corrections that bring every problem to an end which has a
// [Problem.Suggest].
func (c *Changes) Mend(list Problems) []Cell {
	var out []Cell
	for _, p := range list {
		if at := c.Column(p.Column); p.Suggest != "" && at >= 0 {
			out = append(out, Cell{p.Line, at, p.Suggest})
		}
	}
	return out
}

// Exchanged returns corrections for the rows of a table in China whose latitude
// and longitude stand in each other's column.
func (c *Changes) Exchanged(t *Table) []Cell {
	lat, lon := c.Column("lat"), c.Column("lon")
	if lat < 0 || lon < 0 {
		return nil
	}
	var out []Cell
	for at := range t.Rows {
		row := &t.Rows[at]
		x, y := foldWidth(cellOf(row, lat)), foldWidth(cellOf(row, lon))
		if inChina(y, x) {
			out = append(out, Cell{row.Line, lat, y}, Cell{row.Line, lon, x})
		}
	}
	return out
}

func cellOf(r *Row, i int) string {
	if i < len(r.Cells) {
		return r.Cells[i]
	}
	return ""
}

// inChina reports whether two texts are a latitude and a longitude in China,
// where the one can not be taken for the other.
func inChina(lat, lon string) bool {
	y, err := parseDegrees(lat, 90)
	x, errLon := parseDegrees(lon, 180)
	return err == nil && errLon == nil && y >= 3 && y <= 54 && x >= 72 && x <= 138
}

// Repeated returns, by line, the line of an earlier row with the same values in
// the columns that get these headers; a row whose values are all blank is none's
// repetition.
func (t *Table) Repeated(headers ...string) map[int]int {
	var cols []int
	for _, h := range headers {
		i := slices.Index(t.Header, h)
		if i < 0 {
			return nil
		}
		cols = append(cols, i)
	}
	first, out := map[string]int{}, map[int]int{}
	for at := range t.Rows {
		row := &t.Rows[at]
		var key strings.Builder
		blank := false
		for _, i := range cols {
			text := foldWidth(unguard(strings.TrimSpace(cellOf(row, i))))
			blank = blank || text == ""
			key.WriteString(text + "\x00")
		}
		if blank {
			continue
		}
		if line, seen := first[key.String()]; seen {
			out[row.Line] = line
		} else {
			first[key.String()] = row.Line
		}
	}
	return out
}

// Meanings lists the headers that can be offered for a column: those without an
// argument, names in the languages, and the registry's schemes.
func Meanings(s *cityid.Settings, languages ...string) []string {
	out := []string{"code", "class", "serial", "kind", "status"}
	for _, l := range languages {
		out = append(out, "name:"+l)
	}
	out = append(out, "lat", "lon", "crs")
	if s != nil {
		for _, x := range s.Schemes {
			out = append(out, "alias:"+x.Name)
		}
	}
	return append(out, "link", Ignore)
}
