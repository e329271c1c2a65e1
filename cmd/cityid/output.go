// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	"golang.org/x/term"

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
		head := t.head
		if t.single {
			head = []string{"field", "value"}
		}
		if err := bulk.WriteCSV(&b, head, printableRows(t.rows)); err != nil {
			return err
		}
	}
	if f.format == "json" || f.format == "jsonl" {
		return f.write(escaped(b.Bytes()))
	}
	return f.write(b.Bytes())
}

// write sends bytes to the output: standard output, or the file of -o, which
// appears whole or not at all.
func (f *flags) write(b []byte) error { return f.writeTo(f.out, b) }

func (f *flags) writeTo(path string, b []byte) error {
	if path == "" || path == "-" {
		_, err := f.term.out.Write(b)
		return err
	}
	return writeFile(path, b, 0o644)
}

// checkOutput refuses an output that could not be written, before anything is
// done whose result would then be lost.
func (f *flags) checkOutput() error {
	if !slices.Contains([]string{"table", "json", "jsonl", "csv"}, f.format) {
		return usagef("--format %s: want table, json, jsonl or csv", f.format)
	}
	if f.lang != "en" && f.lang != "zh" {
		return usagef("--lang %s: want en or zh", f.lang)
	}
	if f.out == "" || f.out == "-" {
		return nil
	}
	if info, err := os.Stat(f.out); err == nil && info.IsDir() {
		return usagef("-o %s: that is a folder, not a file", f.out)
	}
	if info, err := os.Stat(filepath.Dir(f.out)); err != nil || !info.IsDir() {
		return usagef("-o %s: there is no folder %s", f.out, filepath.Dir(f.out))
	}
	return nil
}

// writeBinary is write for what no person can read, and so not for a screen.
func (f *flags) writeBinary(what string, b []byte) error {
	if out, ok := f.term.out.(*os.File); ok && f.out == "" && term.IsTerminal(int(out.Fd())) {
		return hint(usagef("%s is binary, and this is a terminal", what), "name a file with -o FILE, or -o - to write it anyway")
	}
	return f.write(b)
}

// writeFile replaces a file so that it is whole or not there at all. A device
// or pipe is written to as it is, and what a symbolic link names is replaced
// rather than the link.
func writeFile(path string, b []byte, mode os.FileMode) error {
	var err error
	if info, serr := os.Stat(path); serr == nil && !info.Mode().IsRegular() {
		err = writeDevice(path, b)
	} else {
		to, lerr := filepath.EvalSymlinks(path)
		if lerr != nil {
			to = path
		}
		err = replaceFile(to, b, mode)
	}
	if err == nil {
		return nil
	}
	// The name of a temporary file means nothing to people.
	var file *fs.PathError
	var link *os.LinkError
	switch {
	case errors.As(err, &file):
		err = file.Err
	case errors.As(err, &link):
		err = link.Err
	}
	return fmt.Errorf("write %s: %w", path, err)
}

func writeDevice(path string, b []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	return errors.Join(err, f.Close())
}

func replaceFile(path string, b []byte, mode os.FileMode) error {
	t, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return err
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
	}
	return err
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

// count says how many there are of something.
func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// oneLine is printable for a message that may have several lines.
func oneLine(s string) string { return printable(strings.ReplaceAll(s, "\n", "; ")) }

func printableRows(rows [][]string) iter.Seq[[]string] {
	return func(yield func([]string) bool) {
		for _, r := range rows {
			out := make([]string, len(r))
			for i, c := range r {
				out[i] = printable(c)
			}
			if !yield(out) {
				return
			}
		}
	}
}

// escaped writes in JSON text as \u what encoding/json leaves but a terminal
// might obey: DEL, the C1 controls and what changes the direction of text.
func escaped(b []byte) []byte {
	var out []byte
	for _, r := range string(b) {
		if r >= 0x7f && (unicode.IsControl(r) || unicode.Is(unicode.Cf, r)) {
			for _, u := range utf16.Encode([]rune{r}) {
				out = fmt.Appendf(out, `\u%04x`, u)
			}
			continue
		}
		out = utf8.AppendRune(out, r)
	}
	return out
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
