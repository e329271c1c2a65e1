// SPDX-License-Identifier: Apache-2.0

package bulk

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"golang.org/x/text/encoding/simplifiedchinese"
)

// The encodings a CSV file may have.
const (
	UTF8    = "UTF-8"
	UTF8BOM = "UTF-8 with BOM"
	UTF16LE = "UTF-16LE with BOM"
	UTF16BE = "UTF-16BE with BOM"
	GB18030 = "GB18030"
)

// The formats of a table.
const (
	FormatCSV   = "CSV"
	FormatXLSX  = "XLSX"
	FormatLines = "JSON lines"
)

// Table is a table as it was read: every cell as text.
type Table struct {
	Name      string   // of the file, for messages
	Format    string   // [FormatCSV], [FormatXLSX] or [FormatLines]
	Encoding  string   // of a CSV file or JSON lines: one of the constants
	Separator rune     // of a CSV file
	Sheet     string   // of a workbook: the sheet that was read
	Sheets    []string // of a workbook: those that can be seen
	Line      int      // of the header; 0 of JSON lines, which have none
	Header    []string // at most [MaxColumns]; of JSON lines the names, in the order in which they first occur
	Rows      []Row    // at most [MaxRows], none blank

	// shown holds, by index of row and column, what a workbook's cell displays
	// where that is not what it stores.
	shown map[[2]int]string
	// literals holds, by index of row, the values of JSON lines as they stand, ""
	// where an object has none; nil: it is another format.
	literals [][]string

	maxRows int // while it is read
}

// Row is one row below the header. It may have fewer cells than the header.
type Row struct {
	Line  int // where it begins: physical line of a CSV file, row of a sheet
	Cells []string
}

// ReadOptions say how to read a table.
type ReadOptions struct {
	Sheet    string // of a workbook; "": the first that is visible
	Encoding string // [UTF8] or [GB18030] if detection is to be overruled; "": detect

	MaxRows     int // 0: [MaxRows]
	MaxUnzipped int // octets of a workbook's parts together; 0: 512 MiB
}

// ReadTable reads a CSV file, JSON lines or an XLSX workbook, told apart by their content;
// name is for messages only. It refuses files over [MaxFile]. An error that
// concerns a place in the file is a [Problems].
func ReadTable(r io.Reader, name string, o ReadOptions) (*Table, error) {
	o.MaxRows, o.MaxUnzipped = cmp.Or(o.MaxRows, MaxRows), cmp.Or(o.MaxUnzipped, maxUnzipped)
	data, err := io.ReadAll(io.LimitReader(r, MaxFile+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	if len(data) > MaxFile {
		return nil, fmt.Errorf("%s is larger than %d MiB: split it", name, MaxFile>>20)
	}
	var t *Table
	switch {
	case bytes.HasPrefix(data, []byte("PK\x03\x04")):
		t, err = readXLSX(data, o)
	case bytes.HasPrefix(data, []byte("\xd0\xcf\x11\xe0")):
		err = errors.New("an old .xls workbook, or one with a password: save it as .xlsx without password, or as CSV UTF-8")
	case o.Sheet != "":
		err = errors.New("a sheet was named, but this is not a workbook")
	default:
		t, err = readPlain(data, o)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if t.Header == nil {
		return nil, fmt.Errorf("%s: there is no header row", name)
	}
	t.Name = name
	return t, nil
}

func readPlain(data []byte, o ReadOptions) (*Table, error) {
	text, encoding, err := decodeText(data, o.Encoding)
	if err != nil {
		return nil, err
	}
	if beginsLines(text) {
		return readLines(text, encoding, o)
	}
	return readCSV(text, encoding, o)
}

func readCSV(text, encoding string, o ReadOptions) (*Table, error) {
	if strings.IndexByte(text, '\n') < 0 {
		text = strings.ReplaceAll(text, "\r", "\n")
	}
	t := &Table{Format: FormatCSV, Encoding: encoding, maxRows: o.MaxRows}
	skipped := 0
	t.Separator, text, skipped = separator(text)
	r := csv.NewReader(strings.NewReader(text))
	r.Comma = t.Separator
	r.FieldsPerRecord = -1
	for {
		cells, err := r.Read()
		if err == io.EOF {
			return t, nil
		}
		var parse *csv.ParseError
		if errors.As(err, &parse) {
			return nil, Problems{{Line: parse.StartLine + skipped, Reason: fmt.Sprintf(
				"%v in line %d, character %d: a cell that holds quotes or line breaks stands in quotes, and quotes in it are doubled",
				parse.Err, parse.Line+skipped, parse.Column)}}
		}
		if err != nil {
			return nil, err
		}
		line, _ := r.FieldPos(0)
		if err := t.add(line+skipped, cells); err != nil {
			return nil, err
		}
	}
}

// add adds a record: the header if there is none yet, nothing if it is blank.
func (t *Table) add(line int, cells []string) error {
	n := 0
	for i, c := range cells {
		if len(c) > MaxCell {
			return Problems{{Line: line, Value: shorten(c, maxShown), Reason: fmt.Sprintf("a cell of %d octets: at most %d; check the quotes before it", len(c), MaxCell)}}
		}
		if strings.TrimSpace(c) != "" {
			n = i + 1
		}
	}
	switch {
	case n == 0:
		return nil
	case n > MaxColumns:
		return Problems{{Line: line, Reason: fmt.Sprintf("%d columns: at most %d", n, MaxColumns)}}
	case t.Header == nil:
		t.Line, t.Header = line, cells[:n]
		return nil
	case len(t.Rows) == t.maxRows:
		return Problems{{Line: line, Reason: fmt.Sprintf("more than %d rows: split the file", t.maxRows)}}
	}
	t.Rows = append(t.Rows, Row{Line: line, Cells: cells[:n]})
	return nil
}

// separator finds the separator: the one a first line such as "sep=;" names,
// which it takes away, or the one the header has most of outside quotes.
func separator(text string) (sep rune, rest string, skipped int) {
	line, after, _ := strings.Cut(text, "\n")
	if s, ok := strings.CutPrefix(strings.TrimSuffix(line, "\r"), "sep="); ok && len(s) == 1 && strings.Contains(",;\t", s) {
		return rune(s[0]), after, 1
	}
	header := strings.TrimLeft(text, "\r\n")
	count := map[rune]int{}
	quoted := false
	for _, c := range header {
		if c == '"' {
			quoted = !quoted
		}
		if c == '\n' && !quoted {
			break
		}
		if !quoted {
			count[c]++
		}
	}
	sep = ','
	for _, c := range ";\t" {
		if count[c] > count[sep] {
			sep = c
		}
	}
	return sep, text, 0
}

// decodeText returns data as UTF-8 and names the encoding it had.
func decodeText(data []byte, want string) (text, encoding string, err error) {
	if want != "" && want != UTF8 && want != GB18030 {
		return "", "", fmt.Errorf("encoding %.40q: want %s or %s", want, UTF8, GB18030)
	}
	switch {
	case bytes.HasPrefix(data, []byte("\xff\xfe")):
		text, err = decodeUTF16(data[2:], binary.LittleEndian)
		return text, UTF16LE, err
	case bytes.HasPrefix(data, []byte("\xfe\xff")):
		text, err = decodeUTF16(data[2:], binary.BigEndian)
		return text, UTF16BE, err
	case bytes.IndexByte(data, 0) >= 0:
		return "", "", errors.New("it holds NUL bytes, so it is not a CSV file, or UTF-16 without byte order mark: save it as CSV UTF-8")
	}
	if rest, ok := bytes.CutPrefix(data, []byte("\xef\xbb\xbf")); ok {
		if at := invalidUTF8(rest); at >= 0 {
			return "", "", damaged(rest, at, "it begins as UTF-8 does")
		}
		return string(rest), UTF8BOM, nil
	}
	at := invalidUTF8(data)
	switch {
	case want == GB18030:
	case at < 0:
		return string(data), UTF8, nil
	case want == UTF8:
		return "", "", damaged(data, at, "it is to be UTF-8")
	case mostlyUTF8(data):
		return "", "", damaged(data, at, "nearly all of it is UTF-8")
	}
	decoded, err := simplifiedchinese.GB18030.NewDecoder().Bytes(data)
	if err != nil || bytes.ContainsRune(decoded, utf8.RuneError) {
		return "", "", damaged(data, max(at, 0), "it is not GB18030 either")
	}
	return string(decoded), GB18030, nil
}

func damaged(data []byte, at int, why string) error {
	line := 1 + bytes.Count(data[:at], []byte("\n"))
	return Problems{{Line: line, Reason: fmt.Sprintf("byte 0x%02x is not UTF-8, but %s: save the file again as CSV UTF-8", data[at], why)}}
}

// invalidUTF8 returns the offset of the first byte that is not UTF-8, or -1.
func invalidUTF8(data []byte) int {
	for i := 0; i < len(data); {
		if data[i] < utf8.RuneSelf {
			i++
			continue
		}
		r, size := utf8.DecodeRune(data[i:])
		if r == utf8.RuneError && size == 1 {
			return i
		}
		i += size
	}
	return -1
}

// mostlyUTF8 reports whether nine tenths of the bytes outside ASCII belong to
// valid UTF-8 sequences. In Chinese text in GB18030 few do.
func mostlyUTF8(data []byte) bool {
	good, bad := 0, 0
	for i := 0; i < len(data); {
		r, size := utf8.DecodeRune(data[i:])
		switch {
		case r == utf8.RuneError && size == 1:
			bad++
		case size > 1:
			good += size
		}
		i += size
	}
	return good >= 9*bad
}

func decodeUTF16(data []byte, order binary.ByteOrder) (string, error) {
	if len(data)%2 != 0 {
		return "", errors.New("it is UTF-16 but ends in half a character: save it as CSV UTF-8")
	}
	units := make([]uint16, len(data)/2)
	for i := range units {
		units[i] = order.Uint16(data[2*i:])
	}
	text := string(utf16.Decode(units))
	if strings.ContainsAny(text, "\x00\uFFFD") {
		return "", errors.New("it is UTF-16 with characters that do not exist: save it as CSV UTF-8")
	}
	return text, nil
}
