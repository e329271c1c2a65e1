// SPDX-License-Identifier: Apache-2.0

package bulk

import (
	"archive/zip"
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/xuri/excelize/v2"
)

// readXLSX reads a sheet twice, side by side: once for what its cells store and
// once for what they show. A workbook without numbers is read once.
func readXLSX(data []byte, o ReadOptions) (t *Table, err error) {
	if err := checkZip(data, int64(o.MaxUnzipped)); err != nil {
		return nil, err
	}
	f, err := excelize.OpenReader(bytes.NewReader(data), excelize.Options{
		UnzipSizeLimit: int64(o.MaxUnzipped), UnzipXMLSizeLimit: int64(o.MaxUnzipped), // equal, so that nothing goes to temporary files
	})
	if err != nil {
		return nil, fmt.Errorf("open the workbook: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	sheet, sheets, err := chooseSheet(f, o.Sheet)
	if err != nil {
		return nil, err
	}
	numbers, err := checkXML(f)
	if err != nil {
		return nil, err
	}
	stored, err := f.Rows(sheet)
	if err != nil {
		return nil, err
	}
	shown, err := f.Rows(sheet)
	if err != nil {
		return nil, err
	}
	t = &Table{Format: FormatXLSX, Sheet: sheet, Sheets: sheets, maxRows: o.MaxRows, shown: map[[2]int]string{}}
	for line := 1; stored.Next(); line++ {
		raw, err := stored.Columns(excelize.Options{RawCellValue: true})
		if err != nil {
			return nil, fmt.Errorf("row %d: %w", line, err)
		}
		var display []string
		if numbers && shown.Next() {
			if display, err = shown.Columns(); err != nil {
				return nil, fmt.Errorf("row %d: %w", line, err)
			}
		}
		rows := len(t.Rows)
		if err := t.add(line, raw); err != nil {
			return nil, err
		}
		for i := range min(len(raw), len(display)) {
			if len(t.Rows) > rows && raw[i] != display[i] {
				t.shown[[2]int{rows, i}] = display[i]
			}
		}
	}
	return t, errors.Join(stored.Close(), shown.Close())
}

// maxParts is how many files a workbook may hold.
const maxParts = 2000

// checkZip unpacks a workbook once into nothing, so that what comes after can
// rely on its sizes: excelize believes those that the archive states, and takes
// a part that ends early for whole.
func checkZip(data []byte, limit int64) error {
	z, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		return fmt.Errorf("open the workbook: %w", err)
	}
	if len(z.File) > maxParts {
		return fmt.Errorf("the workbook has %d parts: at most %d; save the sheet alone, or as CSV UTF-8", len(z.File), maxParts)
	}
	left := limit
	for _, part := range z.File {
		r, err := part.Open()
		if err != nil {
			return fmt.Errorf("the workbook is damaged: %.80q: %w", part.Name, err)
		}
		n, err := io.Copy(io.Discard, io.LimitReader(r, left+1))
		if left -= n; left < 0 {
			return fmt.Errorf("the workbook takes more than %d MiB unpacked: save the sheet alone, or as CSV UTF-8", limit>>20)
		}
		if err = errors.Join(err, r.Close()); err != nil {
			return fmt.Errorf("the workbook is damaged: %.80q: %w", part.Name, err)
		}
	}
	return nil
}

// chooseSheet returns the sheet to read, and those one can see.
func chooseSheet(f *excelize.File, want string) (sheet string, visible []string, err error) {
	list := f.GetSheetList()
	for _, s := range list {
		shows, err := f.GetSheetVisible(s)
		if err != nil {
			return "", nil, err
		}
		if shows {
			visible = append(visible, s)
		}
		if sheet == "" && (s == want || want == "" && shows) {
			sheet = s
		}
	}
	if sheet != "" {
		return sheet, visible, nil
	}
	return "", nil, fmt.Errorf("the workbook has no sheet %q; it has %s", want, strings.Join(list, ", "))
}

// checkXML refuses a workbook with a sheet that is not well-formed: reading it
// would end at the fault as if that were the end. It reports whether any cell is
// not text.
func checkXML(f *excelize.File) (numbers bool, err error) {
	f.Pkg.Range(func(name, content any) bool {
		part, _ := name.(string)
		b, ok := content.([]byte)
		if !ok || !strings.HasPrefix(part, "xl/worksheets/sheet") && part != "xl/sharedStrings.xml" {
			return true
		}
		d := xml.NewDecoder(bytes.NewReader(b))
		d.CharsetReader = f.CharsetReader
		for {
			token, fault := d.Token()
			if fault == io.EOF {
				return true
			}
			if e, ok := token.(xml.StartElement); ok && e.Name.Local == "c" && !isText(e) {
				numbers = true
			}
			if fault != nil {
				err = fmt.Errorf("the workbook is damaged: %s: %w", part, fault)
				return false
			}
		}
	})
	return numbers, err
}

// isText reports whether a cell's element says that the cell holds text.
func isText(cell xml.StartElement) bool {
	for _, a := range cell.Attr {
		if a.Name.Local == "t" {
			return a.Value == "s" || a.Value == "str" || a.Value == "inlineStr"
		}
	}
	return false
}

// address returns the address of a workbook's cell, such as C12; "" for a
// column that has none.
func address(column, line int) string {
	a, err := excelize.CoordinatesToCellName(column+1, line)
	if err != nil {
		return ""
	}
	return a
}
