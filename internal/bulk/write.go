// SPDX-License-Identifier: Apache-2.0

package bulk

import (
	"bufio"
	"errors"
	"io"
	"iter"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/xuri/excelize/v2"

	"cityid"
)

// spreadsheetEats matches text that a spreadsheet which opens a CSV file makes
// a number or a date of, and changes so: digits with leading zeros or more
// than 15 of them, decimals that end in zero, exponents, dates.
var spreadsheetEats = regexp.MustCompile(`^([+-]?0[0-9].*|[+-]?[0-9]{16,}|[+-]?[0-9]+\.[0-9]*0|[+-]?[0-9.]+[eE][+-]?[0-9]+|[0-9]{1,4}[-/][0-9]{1,2}([-/][0-9]{1,4})?)$`)

// plainNumber matches numbers that begin with a sign but are no formula.
var plainNumber = regexp.MustCompile(`^-[0-9]+(\.[0-9]+)?$`)

// formulaStart are characters with which a spreadsheet begins a formula, or
// which it skips to find one.
const formulaStart = "=+-@\t\r"

// guard returns the cell as [WriteCSV] writes it.
func guard(s string) string {
	switch {
	case s == "":
		return s
	case spreadsheetEats.MatchString(s):
		return "\t" + s
	case strings.Contains(formulaStart, s[:1]) && !plainNumber.MatchString(s):
		return "'" + s
	}
	return s
}

// unguard undoes guard in a cell without blanks around it.
func unguard(s string) string {
	if len(s) > 1 && s[0] == '\'' && strings.Contains(formulaStart, s[1:2]) {
		return s[1:]
	}
	return s
}

// WriteCSV writes a CSV file that a spreadsheet opens correctly by double
// click: UTF-8 with byte order mark, cells separated by commas, lines ended by
// CR LF. A cell that a spreadsheet would take for a number or a date and change,
// such as 000123, is written after a tab, which keeps it text and does not show.
// A cell it would carry out as a formula is written after an apostrophe, which
// shows, and is safe. [ReadTable] with [NewPlan] takes both away again; other
// programs should trim blanks.
func WriteCSV(w io.Writer, header []string, rows iter.Seq[[]string]) error {
	b := bufio.NewWriter(w)
	b.WriteString("\ufeff")
	writeRecord(b, header)
	for row := range rows {
		writeRecord(b, row)
	}
	return b.Flush()
}

// writeRecord writes one record; b keeps the first error for Flush.
func writeRecord(b *bufio.Writer, cells []string) {
	for i, c := range cells {
		if i > 0 {
			b.WriteByte(',')
		}
		c = guard(c)
		if strings.ContainsAny(c, ",;\"\t\r\n") || len(cells) == 1 && c == "" {
			c = `"` + strings.ReplaceAll(c, `"`, `""`) + `"`
		}
		b.WriteString(c)
	}
	b.WriteString("\r\n")
}

// visible replaces control characters, so that a table can not speak to the
// terminal on which its errors are read.
func visible(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return '\uFFFD'
		}
		return r
	}, s)
}

// WriteErrors writes problems as errors.csv: line, column, cell, value, reason.
func WriteErrors(w io.Writer, list Problems) error {
	return WriteCSV(w, []string{"line", "column", "cell", "value", "reason"}, func(yield func([]string) bool) {
		for _, p := range list {
			line := ""
			if p.Line > 0 {
				line = strconv.Itoa(p.Line)
			}
			if !yield([]string{line, visible(p.Column), p.Cell, visible(p.Value), visible(p.Reason)}) {
				return
			}
		}
	})
}

// TemplateColumns returns the header of a template for records of a kind, with
// names in the languages, zh and en if there are none, and one column for each
// crosswalk scheme. For objects it has class and serial, or serial alone if
// inClass says that the parent is a class; for all others code.
func TemplateColumns(kind cityid.Kind, inClass bool, languages, schemes []string) []string {
	var cols []string
	located := true
	switch kind {
	case cityid.KindObject, cityid.KindDataset, cityid.KindSource:
		if !inClass {
			cols = append(cols, "class")
		}
		cols = append(cols, "serial")
		located = kind == cityid.KindObject
	default:
		cols = append(cols, "code")
		located = kind != cityid.KindClass
	}
	if kind != cityid.KindObject && kind != cityid.KindClass && kind != cityid.KindDepartment {
		cols = append(cols, "kind")
	}
	cols = append(cols, "status")
	if len(languages) == 0 {
		languages = []string{"zh", "en"}
	}
	for _, l := range languages {
		cols = append(cols, "name:"+l)
	}
	if located {
		cols = append(cols, "lat", "lon", "crs")
	}
	for _, s := range schemes {
		cols = append(cols, "alias:"+s)
	}
	return append(cols, "link")
}

// WriteTemplateCSV writes an empty table with these columns as CSV.
func WriteTemplateCSV(w io.Writer, columns []string) error {
	return WriteCSV(w, columns, slices.Values[[][]string](nil))
}

// templateHelp explains columns in a template's second sheet, in Chinese and
// English.
var templateHelp = [][3]string{
	{"code", "完整代码，或上级代码以下的部分", "the whole code, or the part below the parent"},
	{"class", "分类代码，如 20.010203", "the class, such as 20.010203"},
	{"serial", "序号；保留前导零，如 000123", "the serial; keep leading zeros, as in 000123"},
	{"kind", "类型：city、department、object 等", "the kind: city, department, object and so on"},
	{"status", "active（启用，默认）或 reserved（预留）", "active (default) or reserved"},
	{"name:LANG", "名称，如 name:zh 为中文", "the name, name:zh in Chinese"},
	{"lat, lon", "纬度、经度，十进制度", "latitude and longitude in decimal degrees"},
	{"crs", "坐标系：WGS84（默认）、CGCS2000 或 GCJ-02", "WGS84 (default), CGCS2000 or GCJ-02"},
	{"alias:SCHEME", "原有编码", "the code it has elsewhere"},
	{"link", "网址", "a web address"},
}

// WriteTemplateXLSX writes an empty workbook with these columns. All its
// columns are formatted as text, so that a spreadsheet keeps what is typed; a
// second sheet explains them.
func WriteTemplateXLSX(w io.Writer, columns []string) (err error) {
	if len(columns) < 1 || len(columns) > MaxColumns {
		return errors.New("a template has 1 to 64 columns")
	}
	f := excelize.NewFile()
	defer func() { err = errors.Join(err, f.Close()) }()
	const sheet, help = "import", "说明 help"
	text, errText := f.NewStyle(&excelize.Style{NumFmt: 49})
	bold, errBold := f.NewStyle(&excelize.Style{NumFmt: 49, Font: &excelize.Font{Bold: true}})
	last, errName := excelize.ColumnNumberToName(len(columns))
	_, errHelp := f.NewSheet(help)
	err = errors.Join(errText, errBold, errName, errHelp,
		f.SetSheetName("Sheet1", sheet),
		f.SetColStyle(sheet, "A:"+last, text),
		f.SetColWidth(sheet, "A", last, 20),
		f.SetPanes(sheet, &excelize.Panes{Freeze: true, YSplit: 1, TopLeftCell: "A2", ActivePane: "bottomLeft"}),
		f.SetColWidth(help, "A", "C", 48),
	)
	if err != nil {
		return err
	}
	for i, c := range columns {
		err = errors.Join(err, f.SetCellStr(sheet, address(i, 1), c))
	}
	for i, line := range templateHelp {
		for k, cell := range line {
			err = errors.Join(err, f.SetCellStr(help, address(k, i+1), cell))
		}
	}
	err = errors.Join(err, f.SetCellStyle(sheet, "A1", last+"1", bold))
	if err != nil {
		return err
	}
	_, err = f.WriteTo(w)
	return err
}
