// SPDX-License-Identifier: Apache-2.0

package bulk

import (
	"archive/zip"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/xuri/excelize/v2"
)

func readFile(t testing.TB, name string) *Table {
	t.Helper()
	f, err := os.Open("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	table, err := ReadTable(f, name, ReadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return table
}

func readText(t testing.TB, text string) *Table {
	t.Helper()
	table, err := ReadTable(strings.NewReader(text), "test.csv", ReadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return table
}

func TestReadCSV(t *testing.T) {
	want := []Row{
		{2, []string{"20.010203/000001", "路灯一号", "Street lamp 1", "38.045474", "114.502461", "LP-1"}},
		{3, []string{"20.010203/000002", "路灯二号，东侧", "Street lamp 2", "38.045475", "114.502462", "LP-2"}},
		{5, []string{"20.010203/000003", "路灯三号", `Lamp "3"`, "", "", "LP-3"}},
	}
	for _, test := range []struct {
		file, encoding string
		separator      rune
	}{
		{"lamps-utf8.csv", UTF8, ','},
		{"lamps-bom.csv", UTF8BOM, ','},
		{"lamps-gb18030.csv", GB18030, ','},
		{"lamps-utf16le.csv", UTF16LE, '\t'},
		{"lamps-semicolon.csv", UTF8, ';'},
	} {
		table := readFile(t, test.file)
		if table.Encoding != test.encoding || table.Separator != test.separator || table.Format != FormatCSV {
			t.Errorf("%s: read as %s with %q", test.file, table.Encoding, table.Separator)
		}
		if diff := cmp.Diff(want, table.Rows); diff != "" {
			t.Errorf("%s: %s", test.file, diff)
		}
	}
}

func TestReadCSVLines(t *testing.T) {
	table := readText(t, "sep=;\ncode;name\n\n1;\"a\nb\"\n;;\n2;c")
	want := []Row{{4, []string{"1", "a\nb"}}, {7, []string{"2", "c"}}}
	if diff := cmp.Diff(want, table.Rows); diff != "" || table.Line != 2 {
		t.Errorf("header in line %d: %s", table.Line, diff)
	}
	if table := readText(t, "code,name\r1,a\r2,b\r"); len(table.Rows) != 2 {
		t.Errorf("lines ended by CR: %d rows", len(table.Rows))
	}
}

func TestReadTableRefuses(t *testing.T) {
	wide := strings.Repeat("a,", MaxColumns) + "a\n"
	for _, test := range []struct{ name, text, want string }{
		{"empty", "", "no header"},
		{"blank", " \n,,\n", "no header"},
		{"NUL", "code\n\x00", "NUL"},
		{"UTF-16 half", "\xff\xfea", "half a character"},
		{"UTF-16 surrogate", "\xff\xfea\x00\x00\xd8", "do not exist"},
		{"damaged UTF-8", "code,名称\n1,路灯一号\n2,路灯\xe4\xb8", "line 3: byte 0xe4 is not UTF-8"},
		{"damaged after BOM", "\xef\xbb\xbfcode\n\xff", "line 2: byte 0xff"},
		{"neither", "code\n\xff\xff", "not GB18030 either"},
		{"quote", "code,name\n1,\"a\n2,b", `line 2: extraneous or missing "`},
		{"quote inside", "code,name\n1,a\"b", "line 2: bare"},
		{"columns", wide, "65 columns"},
		{"cell", "code\n" + strings.Repeat("x", MaxCell+1), "line 2"},
		{"xls", "\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "save it as .xlsx"},
		{"not a workbook", "PK\x03\x04 and no more", "open the workbook"},
	} {
		_, err := ReadTable(strings.NewReader(test.text), "x", ReadOptions{})
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %q", test.name, err, test.want)
		}
	}
	if _, err := ReadTable(zeros{}, "endless", ReadOptions{}); err == nil || !strings.Contains(err.Error(), "64 MiB") {
		t.Errorf("endless file: %v", err)
	}
	if _, err := ReadTable(strings.NewReader("code\n\xb1\xb1"), "x", ReadOptions{Encoding: UTF8}); err == nil {
		t.Error("GB18030 was read although UTF-8 was asked for")
	}
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { return len(b), nil }

// workbook returns a workbook whose first sheet holds the cells; numbers are
// stored as numbers.
func workbook(t testing.TB, rows [][]any, edit func(*excelize.File)) []byte {
	t.Helper()
	f := excelize.NewFile()
	for i, row := range rows {
		for k, cell := range row {
			if err := f.SetCellValue("Sheet1", address(k, i+1), cell); err != nil {
				t.Fatal(err)
			}
		}
	}
	if edit != nil {
		edit(f)
	}
	b, err := f.WriteToBuffer()
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestReadXLSX(t *testing.T) {
	data := workbook(t, [][]any{
		{"serial", "name:zh", "lat"},
		{"000123", "路灯", 38.045474},
		{},
		{123, "数字", 38},
	}, func(f *excelize.File) {
		style, err := f.NewStyle(&excelize.Style{CustomNumFmt: ptr("000000")})
		if err := errors.Join(err, f.SetCellStyle("Sheet1", "A4", "A4", style)); err != nil {
			t.Fatal(err)
		}
	})
	table, err := ReadTable(bytes.NewReader(data), "book.xlsx", ReadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	want := []Row{{2, []string{"000123", "路灯", "38.045474"}}, {4, []string{"123", "数字", "38"}}}
	if diff := cmp.Diff(want, table.Rows); diff != "" || table.Sheet != "Sheet1" || table.Format != FormatXLSX {
		t.Error(diff)
	}
	if diff := cmp.Diff(map[[2]int]string{{1, 0}: "000123"}, table.shown); diff != "" {
		t.Error(diff)
	}
	if _, err := ReadTable(bytes.NewReader(data), "x", ReadOptions{Sheet: "other"}); err == nil || !strings.Contains(err.Error(), "Sheet1") {
		t.Errorf("a sheet that is not there: %v", err)
	}
}

func ptr[T any](v T) *T { return &v }

// rewrite copies a workbook and replaces the content of one part.
func rewrite(t *testing.T, data []byte, part string, header func(*zip.FileHeader), content []byte) []byte {
	t.Helper()
	r, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	w := zip.NewWriter(&out)
	for _, f := range r.File {
		if f.Name != part {
			err = errors.Join(err, w.Copy(f))
			continue
		}
		h := &zip.FileHeader{Name: part, Method: zip.Store, CompressedSize64: uint64(len(content)), UncompressedSize64: uint64(len(content))}
		header(h)
		dst, errCreate := w.CreateRaw(h)
		if err = errors.Join(err, errCreate); err == nil {
			_, err = dst.Write(content)
		}
	}
	if err = errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestReadXLSXHostile(t *testing.T) {
	data := workbook(t, [][]any{{"serial"}, {"1"}}, nil)
	const part = "xl/worksheets/sheet1.xml"
	for _, test := range []struct {
		name    string
		content []byte
		header  func(*zip.FileHeader)
	}{
		{"claims a gigabyte", []byte{0}, func(h *zip.FileHeader) { h.Method, h.UncompressedSize64 = zip.Deflate, 1<<30 }},
		{"cut off", []byte(`<worksheet><sheetData><row r="1"><c r="A1" t="inlineStr"><is><t>serial</t></is></c></row><row`), func(*zip.FileHeader) {}},
		{"wide", []byte(`<worksheet><sheetData><row r="1"><c r="XFD1"><v>1</v></c></row></sheetData></worksheet>`), func(*zip.FileHeader) {}},
	} {
		bad := rewrite(t, data, part, test.header, test.content)
		table, err := ReadTable(bytes.NewReader(bad), "bad.xlsx", ReadOptions{})
		if err == nil {
			t.Errorf("%s: read as %v", test.name, table)
		}
		t.Log(test.name, err)
	}
}

func TestWriteCSV(t *testing.T) {
	cells := []string{"000123", "20.010200", "12345678901234567", "1E5", "2026-01-02", "=1+1", "+86", "-x", "@a", "-38.5", "38.04", "a,b", `q"q`, "路灯", "'=x"}
	var b bytes.Buffer
	if err := WriteCSV(&b, []string{"x"}, slices.Values([][]string{cells})); err != nil {
		t.Fatal(err)
	}
	want := "\ufeffx\r\n" + `"	000123","	20.010200","	12345678901234567","	1E5","	2026-01-02",'=1+1,'+86,'-x,'@a,-38.5,38.04,"a,b","q""q",路灯,'=x` + "\r\n"
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Error(diff)
	}
	table := readText(t, b.String())
	for i, c := range table.Rows[0].Cells[:len(cells)-1] {
		if got := unguard(strings.TrimSpace(c)); got != cells[i] {
			t.Errorf("%q came back as %q", cells[i], got)
		}
	}
}

func TestTemplates(t *testing.T) {
	for _, test := range []struct {
		columns []string
		want    string
	}{
		{TemplateColumns(1, false, nil, nil), "code kind status name:zh name:en lat lon crs link"},
		{TemplateColumns(9, false, []string{"zh"}, []string{"old", "gbt"}), "class serial status name:zh lat lon crs alias:old alias:gbt link"},
		{TemplateColumns(9, true, nil, nil), "serial status name:zh name:en lat lon crs link"},
		{TemplateColumns(10, false, nil, nil), "class serial kind status name:zh name:en link"},
		{TemplateColumns(8, false, nil, nil), "code status name:zh name:en link"},
	} {
		if got := strings.Join(test.columns, " "); got != test.want {
			t.Errorf("template has %s, want %s", got, test.want)
		}
		var text, book bytes.Buffer
		if err := errors.Join(WriteTemplateCSV(&text, test.columns), WriteTemplateXLSX(&book, test.columns)); err != nil {
			t.Fatal(err)
		}
		for _, data := range [][]byte{text.Bytes(), book.Bytes()} {
			table, err := ReadTable(bytes.NewReader(data), "template", ReadOptions{})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.columns, table.Header); diff != "" || len(table.Rows) != 0 {
				t.Errorf("%d rows: %s", len(table.Rows), diff)
			}
		}
	}
}

func TestTemplateKeepsZeros(t *testing.T) {
	var book bytes.Buffer
	if err := WriteTemplateXLSX(&book, []string{"class", "serial"}); err != nil {
		t.Fatal(err)
	}
	f, err := excelize.OpenReader(&book)
	if err != nil {
		t.Fatal(err)
	}
	style, err := f.GetColStyle("import", "B")
	if err != nil {
		t.Fatal(err)
	}
	if s, err := f.GetStyle(style); err != nil || s.NumFmt != 49 {
		t.Errorf("the serial column is not formatted as text: %v, %v", s, err)
	}
}

func TestWriteErrors(t *testing.T) {
	var b bytes.Buffer
	list := Problems{{Line: 3, Column: "serial", Cell: "B3", Value: "=1", Reason: "no, it is not"}, {Reason: "whole"}}
	if err := WriteErrors(&b, list); err != nil {
		t.Fatal(err)
	}
	want := "\ufeffline,column,cell,value,reason\r\n3,serial,B3,'=1,\"no, it is not\"\r\n,,,,whole\r\n"
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Error(diff)
	}
}

func TestProblemsError(t *testing.T) {
	var list Problems
	for i := range 25 {
		list = append(list, Problem{Line: i + 1, Reason: "x"})
	}
	lines := strings.Split(list.Error(), "\n")
	if len(lines) != 21 || lines[20] != "and 5 more" || fmt.Sprint(list[0]) != "line 1: x" {
		t.Errorf("%q", lines)
	}
}

func FuzzReadTable(f *testing.F) {
	for _, name := range []string{"lamps-utf8.csv", "lamps-bom.csv", "lamps-gb18030.csv", "lamps-utf16le.csv", "lamps-semicolon.csv", "broken.csv"} {
		b, err := os.ReadFile("testdata/" + name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add([]byte("sep=;\ncode;name\r1;2"))
	f.Add([]byte("{\"code\": \"01\", \"n\": 1.50}\n\n{\"name\": null, \"code\": [\"02\"]}"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if bytes.HasPrefix(data, []byte("PK")) {
			t.Skip("workbooks are excelize's to read")
		}
		table, err := ReadTable(bytes.NewReader(data), "fuzz", ReadOptions{})
		if err != nil {
			return
		}
		last := table.Line
		for _, r := range table.Rows {
			if r.Line <= last || len(r.Cells) > MaxColumns {
				t.Fatalf("row in line %d after line %d", r.Line, last)
			}
			last = r.Line
		}
		translated, err := table.Translated(make([]Translation, len(table.Rows)), "new")
		if err == nil && table.checkWidth() == nil {
			objects, err := translated.Objects()
			for _, o := range objects {
				if !json.Valid(o) {
					t.Fatalf("not JSON: %s", o)
				}
			}
			if err == nil && len(objects) != len(table.Rows) {
				t.Fatalf("%d objects of %d rows", len(objects), len(table.Rows))
			}
		}
		a, errA := NewPlan(table, options())
		b, errB := NewPlan(table, options())
		if (errA == nil) != (errB == nil) || errA == nil && a.Digest != b.Digest {
			t.Fatalf("two plans of one table differ: %v, %v", errA, errB)
		}
	})
}
