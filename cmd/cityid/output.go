// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode"

	"cityid/internal/bulk"
)

// table is output that every format can show: rows of cells under headings, and
// the values they were made from.
type table struct {
	head   []string
	rows   [][]string
	values []any // one for each row, for json and jsonl
	single bool  // one thing, shown as a list of fields; json shows it bare
}

func (t *table) add(value any, cells ...string) {
	t.rows = append(t.rows, cells)
	t.values = append(t.values, value)
}

// fields returns a table that shows one value as names and texts.
func fields(value any, pairs ...string) *table {
	t := &table{single: true, values: []any{value}}
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			t.rows = append(t.rows, []string{pairs[i], pairs[i+1]})
		}
	}
	return t
}

// print writes t to the output in the chosen format.
func (f *flags) print(t *table) error {
	var b bytes.Buffer
	switch f.format {
	case "table":
		t.text(&b)
	case "json":
		var v any = t.values
		if t.single {
			v = t.values[0]
		} else if len(t.values) == 0 {
			v = []any{}
		}
		enc := json.NewEncoder(&b)
		enc.SetEscapeHTML(false)
		enc.SetIndent("", "  ")
		if err := enc.Encode(v); err != nil {
			return err
		}
	case "jsonl":
		enc := json.NewEncoder(&b)
		enc.SetEscapeHTML(false)
		for _, v := range t.values {
			if err := enc.Encode(v); err != nil {
				return err
			}
		}
	case "csv":
		rows := t.rows
		head := t.head
		if t.single {
			head = []string{"field", "value"}
		}
		if err := bulk.WriteCSV(&b, head, slices.Values(rows)); err != nil {
			return err
		}
	default:
		return usagef("--format %s: want table, json, jsonl or csv", f.format)
	}
	return f.write(b.Bytes())
}

// write sends bytes to the output: standard output, or the file of -o, which
// appears whole or not at all.
func (f *flags) write(b []byte) error {
	if f.out == "" || f.out == "-" {
		_, err := f.term.out.Write(b)
		return err
	}
	return writeFile(f.out, b, 0o644)
}

// writeFile replaces a file so that it is whole or not there at all.
func writeFile(path string, b []byte, mode os.FileMode) error {
	t, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	_, err = t.Write(b)
	if err == nil {
		err = t.Chmod(mode)
	}
	if err == nil {
		err = t.Sync()
	}
	if cerr := t.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(t.Name(), path)
	}
	if err != nil {
		os.Remove(t.Name())
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}

// text writes t in columns, wide characters counting twice.
func (t *table) text(w io.Writer) {
	rows := t.rows
	if len(t.head) > 0 {
		head := make([]string, len(t.head))
		for i, h := range t.head {
			head[i] = strings.ToUpper(h)
		}
		rows = append([][]string{head}, rows...)
	}
	var widths []int
	for _, r := range rows {
		for i, c := range r {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], width(c))
		}
	}
	for _, r := range rows {
		var line strings.Builder
		for i, c := range r {
			c = printable(c)
			line.WriteString(c)
			if i < len(r)-1 {
				line.WriteString(strings.Repeat(" ", widths[i]-width(c)+2))
			}
		}
		fmt.Fprintln(w, strings.TrimRight(line.String(), " "))
	}
}

// printable keeps control characters of foreign text off the terminal.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || unicode.Is(unicode.Cf, r) {
			return '\uFFFD'
		}
		return r
	}, s)
}

func width(s string) int {
	n := 0
	for _, r := range s {
		n++
		if slices.ContainsFunc(wide, func(t *unicode.RangeTable) bool { return unicode.Is(t, r) }) || r >= 0xFF01 && r <= 0xFF60 || r >= 0x3000 && r <= 0x303F {
			n++
		}
	}
	return n
}

var wide = []*unicode.RangeTable{unicode.Han, unicode.Hiragana, unicode.Katakana, unicode.Hangul}
