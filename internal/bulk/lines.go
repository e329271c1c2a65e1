// SPDX-License-Identifier: Apache-2.0

package bulk

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// beginsLines reports whether text is JSON lines: it begins with an object. No CSV
// file does, since a quote can not stand inside a cell that does not begin with
// one.
func beginsLines(text string) bool {
	const blanks = " \t\r\n"
	rest, ok := strings.CutPrefix(strings.TrimLeft(text, blanks), "{")
	rest = strings.TrimLeft(rest, blanks)
	return ok && (strings.HasPrefix(rest, `"`) || strings.HasPrefix(rest, "}"))
}

// readLines reads JSON lines: each line an object, whose members are cells.
func readLines(text, encoding string, o ReadOptions) (*Table, error) {
	t := &Table{Format: FormatLines, Encoding: encoding, Header: []string{}, maxRows: o.MaxRows, literals: [][]string{}}
	columns := map[string]int{}
	line := 0
	for l := range strings.Lines(text) {
		line++
		if strings.TrimSpace(l) == "" {
			continue
		}
		cells, literals, err := t.object(l, columns)
		if err != nil {
			return nil, Problems{{Line: line, Reason: err.Error()}}
		}
		rows := len(t.Rows)
		if err := t.add(line, cells); err != nil {
			return nil, err
		}
		if len(t.Rows) > rows {
			t.literals = append(t.literals, literals)
		}
	}
	return t, nil
}

// object parses one line and returns its cells as text and as they stand, "" where
// the object has no such member. Names that were not seen before become columns.
func (t *Table) object(line string, columns map[string]int) (cells, literals []string, err error) {
	const remedy = "each line is one JSON object such as {\"code\": \"01\"}"
	d := json.NewDecoder(strings.NewReader(line))
	if token, err := d.Token(); err != nil || token != json.Delim('{') {
		return nil, nil, fmt.Errorf("it does not begin with an object: %s", remedy)
	}
	cells, literals = make([]string, len(t.Header)), make([]string, len(t.Header))
	for d.More() {
		token, err := d.Token()
		name, ok := token.(string)
		if err != nil || !ok {
			return nil, nil, fmt.Errorf("at character %d it is not JSON: %s", d.InputOffset()+1, remedy)
		}
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return nil, nil, fmt.Errorf("the value of %.80q is not JSON: %s", name, remedy)
		}
		i, known := columns[name]
		switch {
		case strings.TrimSpace(name) == "" || len(name) > maxShown || strings.ContainsRune(name, utf8.RuneError):
			return nil, nil, fmt.Errorf("the name %.80q: want 1 to %d octets of text", name, maxShown)
		case !known && len(t.Header) == MaxColumns:
			return nil, nil, fmt.Errorf("the name %.80q would be column %d: at most %d", name, MaxColumns+1, MaxColumns)
		case !known:
			i = len(t.Header)
			columns[name] = i
			t.Header, cells, literals = append(t.Header, name), append(cells, ""), append(literals, "")
		case literals[i] != "":
			return nil, nil, fmt.Errorf("the name %.80q stands twice: keep one", name)
		}
		literals[i] = string(value)
		if cells[i], err = textOfValue(value); err != nil {
			return nil, nil, fmt.Errorf("the value of %.80q: %w", name, err)
		}
	}
	if _, err := d.Token(); err != nil {
		return nil, nil, fmt.Errorf("the object does not end: %s", remedy)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, nil, fmt.Errorf("something follows the object: %s", remedy)
	}
	return cells, literals, nil
}

// textOfValue returns a JSON value as a cell: a text as it reads, null as nothing,
// all else as it is written.
func textOfValue(value json.RawMessage) (string, error) {
	switch {
	case string(value) == "null":
		return "", nil
	case value[0] != '"':
		return string(value), nil
	}
	var text string
	err := json.Unmarshal(value, &text)
	return text, err
}

// Text returns what the cell in a row, counted from 0, and a column was meant to
// hold: without the blanks around it and what [WriteCSV] puts before it. Where a
// workbook shows other than it stores and the one can not be told from the other,
// ok is false and text is what is shown, or the number that is stored if what is
// shown is a rounded one.
func (t *Table) Text(row, column int) (text string, ok bool) {
	raw := cellOf(&t.Rows[row], column)
	shown, differs := t.shown[[2]int{row, column}]
	switch {
	case t.literals != nil:
		return strings.TrimSpace(raw), true
	case !differs:
		return unguard(strings.TrimSpace(raw)), true
	}
	if text, ok := intended(raw, shown); ok {
		return unguard(strings.TrimSpace(text)), true
	}
	if isNumber(raw) && isNumber(strings.ReplaceAll(shown, ",", "")) {
		return strings.TrimSpace(raw), false
	}
	return unguard(strings.TrimSpace(shown)), false
}

// member returns the cell in a row and a column as JSON, nil if the row has none.
func (t *Table) member(row, column int) (json.RawMessage, error) {
	if t.literals != nil {
		if list := t.literals[row]; column < len(list) && list[column] != "" {
			return json.RawMessage(list[column]), nil
		}
		return nil, nil
	}
	text, _ := t.Text(row, column)
	return jsonText(text)
}
