// SPDX-License-Identifier: Apache-2.0

package bulk

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"iter"
	"slices"
	"strconv"
	"strings"

	"cityid"
)

// translate finds the outcome of a row whose questions are answered.
func (x *translating) translate(row *Translation, code cityid.Code) {
	if x.From != CodeScheme && !x.toCode(row, &code) {
		return
	}
	r := x.records[code]
	if r == nil {
		row.Outcome, row.Note = Unmatched, "no such code is allocated"
		return
	}
	if x.To == CodeScheme {
		row.Outcome, row.To = Translated, code.String()
	} else {
		x.toValue(row, r)
	}
	switch r.Status {
	case cityid.StatusRetired:
		row.Outcome, row.Found, row.Note = Retired, nil, "retired"
		if r.Reason != 0 {
			row.Note += " (" + r.Reason.String() + ")"
		}
		for _, s := range r.Successors {
			row.Found = append(row.Found, s.String())
		}
		if len(row.Found) > 0 {
			row.Note += "; succeeded by " + strings.Join(row.Found, ", ")
		}
		if !r.Heir.IsZero() {
			row.Note += "; heir " + r.Heir.String()
		}
		row.Note = x.via(code) + row.Note
	case cityid.StatusSuspended, cityid.StatusReserved:
		if row.Note != "" {
			row.Note += "; "
		}
		row.Note += x.via(code) + r.Status.String()
	}
}

// via begins a note about a code that the row itself does not show.
func (x *translating) via(code cityid.Code) string {
	if x.From == CodeScheme || x.To == CodeScheme {
		return ""
	}
	return code.String() + ": "
}

// toCode finds the code of a row's value, and reports whether there is one.
func (x *translating) toCode(row *Translation, code *cityid.Code) bool {
	entries := x.entries[row.Value]
	if len(entries) == 0 {
		row.Outcome, row.Note = Unmatched, x.unknown(row.Value)
		return false
	}
	var living, retired []cityid.Code
	for i := range entries {
		if !entries[i].Alias.Holds(x.At) {
			row.Found = append(row.Found, entries[i].Code.String())
			row.Note += "; " + entries[i].Code.String() + when(entries[i].Alias)
			continue
		}
		if r := x.records[entries[i].Code]; r != nil && r.Status == cityid.StatusRetired {
			retired = append(retired, entries[i].Code)
		} else {
			living = append(living, entries[i].Code)
		}
	}
	chosen := living
	if len(chosen) == 0 {
		chosen = retired
	}
	switch len(chosen) {
	case 0:
		row.Outcome, row.Note = Expired, strings.TrimPrefix(row.Note, "; ")
		return false
	case 1:
		*code, row.Found, row.Note = chosen[0], nil, ""
		return true
	}
	row.Outcome, row.Found = Ambiguous, nil
	for _, c := range chosen {
		row.Found = append(row.Found, c.String())
	}
	row.Note = "one of " + strings.Join(row.Found, ", ")
	return false
}

// unknown says why a value may be mapped to nothing.
func (x *translating) unknown(value string) string {
	patterns := schemeOf(x.Settings, x.From).Patterns
	switch n := zerosFor(patterns, value); {
	case matchAny(patterns, value):
		return "mapped to no code"
	case n > 0:
		return fmt.Sprintf("leading zeros look lost: scheme %s has %d digits here; give the width %d", x.From, n, n)
	}
	return fmt.Sprintf("scheme %s wants %s (# a digit, @ a letter, ? either)", x.From, strings.Join(patterns, " or "))
}

// toValue finds the value that a record has in the scheme.
func (x *translating) toValue(row *Translation, r *cityid.Record) {
	var found, other []string
	note := ""
	for _, a := range r.Aliases {
		switch {
		case a.Scheme != x.To:
		case a.Holds(x.At):
			found = append(found, a.Value)
		default:
			other = append(other, a.Value)
			note += "; " + a.Value + when(a)
		}
	}
	switch {
	case len(found) == 1:
		row.Outcome, row.To = Translated, found[0]
	case len(found) > 1:
		row.Outcome, row.Found, row.Note = Ambiguous, found, x.via(r.Code)+"one of "+strings.Join(found, ", ")
	case len(other) > 0:
		row.Outcome, row.Found, row.Note = Expired, other, x.via(r.Code)+strings.TrimPrefix(note, "; ")
	case !r.Sealed.IsZero():
		row.Outcome, row.Note = Unmatched, x.via(r.Code)+"sealed, and so without published entries"
	default:
		row.Outcome, row.Note = Unmatched, x.via(r.Code)+"no entry of scheme "+x.To
	}
}

// when says of which time an entry is.
func when(a cityid.Alias) string {
	s := ""
	if a.From != 0 {
		s += " from " + a.From.String()
	}
	if a.Until != 0 {
		s += " until " + a.Until.String()
	}
	return s
}

// TranslatedTable is a table with three columns more: what a column was translated
// to, the outcome and the note.
type TranslatedTable struct {
	table *Table
	rows  []Translation
	head  []string
}

// Translated returns t, whose rows became rows, with three columns more. The first
// has the header name, the others name:status and name:note. If t has one of them
// already, the error says so.
func (t *Table) Translated(rows []Translation, name string) (*TranslatedTable, error) {
	out := &TranslatedTable{table: t, rows: rows}
	for _, h := range t.Header {
		out.head = append(out.head, strings.TrimSpace(h))
	}
	for _, h := range []string{name, name + ":status", name + ":note"} {
		if strings.TrimSpace(h) == "" || slices.Contains(out.head, h) {
			return nil, fmt.Errorf("the table has a column %.80q already: give the new one another name", h)
		}
		out.head = append(out.head, h)
	}
	return out, nil
}

// Header returns the headers.
func (t *TranslatedTable) Header() []string { return t.head }

// Rows ranges over the rows. Each has as many cells as the header; blanks around
// cells, and what [WriteCSV] puts before them, are gone.
func (t *TranslatedTable) Rows() iter.Seq[[]string] {
	return func(yield func([]string) bool) {
		for i := range t.rows {
			cells := make([]string, len(t.head))
			for k := range t.table.Header {
				cells[k], _ = t.table.Text(i, k)
			}
			copy(cells[len(t.table.Header):], []string{t.rows[i].To, t.rows[i].Outcome.String(), t.rows[i].Note})
			if !yield(cells) {
				return
			}
		}
	}
}

// Objects returns the rows as JSON objects in the order of the columns. Members of
// JSON lines stay as they were written; all others, and the new ones, are texts. Two
// columns of one name are an error.
func (t *TranslatedTable) Objects() ([]json.RawMessage, error) {
	names, err := t.names()
	if err != nil {
		return nil, err
	}
	own := len(t.table.Header)
	out := make([]json.RawMessage, len(t.rows))
	for i := range t.rows {
		row := &t.rows[i]
		object := []byte{'{'}
		for k, name := range names {
			var value json.RawMessage
			if k < own {
				value, err = t.table.member(i, k)
			} else {
				value, err = jsonText([]string{row.To, row.Outcome.String(), row.Note}[k-own])
			}
			if err != nil {
				return nil, err
			}
			if value == nil {
				continue
			}
			if len(object) > 1 {
				object = append(object, ',')
			}
			object = slices.Concat(object, name, []byte{':'}, value)
		}
		out[i] = append(object, '}')
	}
	return out, nil
}

// names returns the names under which objects hold the columns, as JSON: the
// headers, and numbers for blank ones.
func (t *TranslatedTable) names() ([]json.RawMessage, error) {
	seen := map[string]bool{}
	out := make([]json.RawMessage, len(t.head))
	for i, name := range t.head {
		name = cmp.Or(name, strconv.Itoa(i+1))
		if seen[name] {
			return nil, fmt.Errorf("there are two columns named %.80q, and a JSON object can hold one: rename one, or write CSV", name)
		}
		seen[name] = true
		var err error
		if out[i], err = jsonText(name); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// jsonText returns text as JSON.
func jsonText(text string) (json.RawMessage, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(text)
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), err
}
