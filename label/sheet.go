// SPDX-License-Identifier: Apache-2.0

package label

import (
	"bufio"
	"errors"
	"fmt"
	"html/template"
	"io"
	"math"

	"cityid"
)

// maxItems bounds the labels of one sheet.
const maxItems = 20000

// Item is one label of a sheet.
type Item struct {
	Code   cityid.Code
	Name   string // what the code names; may be empty
	Holder string // who answers for the code; required

	// Certificate is what the template certificate prints; for every other
	// layout it must be nil. Its code is Code.
	Certificate *Certificate
}

// SheetOptions says how [WriteSheet] lays out labels. The zero value prints
// labels to be read from 25 cm.
type SheetOptions struct {
	Title      string  // of the document; empty: "cityid labels"
	Lang       string  // "zh" or "en", of the document and its hints; empty: "zh"
	DistanceMM float64 // reading distance, 50 to 10000 mm; 0: by SideMM, or else 250
	SideMM     float64 // side of a 29x29 symbol without quiet zone, 5 to 1000 mm, instead of DistanceMM
	Contact    string  // hotline or other remark on every label; may be empty
	Level      Level   // Q or H; 0: Q
}

// SheetInfo tells what was laid out. Symbols of 33x33 modules are 33/29 larger
// than SideMM, so that all modules of a sheet have the same size.
type SheetInfo struct {
	Labels, Pages int
	Columns, Rows int     // of labels on a page
	SideMM        float64 // side of a 29x29 symbol without quiet zone
}

// Lengths in millimetres: the printed part of an A4 page with margins of 10,
// the space between labels, the footer, and the sizes of text.
const (
	pageWidth   = 190
	pageHeight  = 276
	gap         = 2
	footHeight  = 6
	codeTextMM  = 2.5
	otherTextMM = 2.1
	padTextMM   = 1.5
)

// WriteSheet writes a print sheet: one HTML document for A4 with all symbols
// inline and no scripts, styles or references from outside. Every label
// carries the code with check characters, name, holder, resolver host and
// contact. All items are checked before the first byte is written; an error
// names the item. Any list can be printed, so a reprint is a shorter list.
//
// The document's one style element has to be allowed by a server that sends it
// under a content security policy.
func WriteSheet(w io.Writer, u PublicURL, items []Item, o SheetOptions) (SheetInfo, error) {
	l, err := layOut(u, items, o)
	if err != nil {
		return SheetInfo{}, fmt.Errorf("print sheet: %w", err)
	}
	return l.SheetInfo, writePages(w, sheetTemplate, l, len(items), pageGrid{l.Columns, l.Rows, l.Pages, u.Host()}, func(i int) (any, error) {
		item := &items[i]
		s, err := FieldSymbolAt(u, item.Code, l.level)
		if err != nil {
			return nil, err
		}
		side := l.SideMM * float64(s.modules+2*Quiet) / float64(modulesOf(smallVersion))
		return sheetLabel{
			Path: s.path(), Box: s.modules + 2*Quiet, Side: decimal(side), Code: item.Code.Display(),
			Name: item.Name, Holder: item.Holder, Host: s.host, Contact: o.Contact,
		}, nil
	})
}

// pageGrid says how labels fill pages, and which host their feet name.
type pageGrid struct {
	columns, rows, pages int
	host                 string
}

// writePages writes n labels with the templates of t: "head" once and "page" for
// each page, both of head; "label" of what label returns; "foot"; and "end".
func writePages(w io.Writer, t *template.Template, head any, n int, g pageGrid, label func(i int) (any, error)) error {
	b := bufio.NewWriterSize(w, 1<<16)
	if err := t.ExecuteTemplate(b, "head", head); err != nil {
		return err
	}
	perPage := g.columns * g.rows
	for i := range n {
		if i%perPage == 0 {
			if err := t.ExecuteTemplate(b, "page", head); err != nil {
				return err
			}
		}
		data, err := label(i)
		if err != nil {
			return err
		}
		if err := t.ExecuteTemplate(b, "label", data); err != nil {
			return err
		}
		if i%perPage == perPage-1 || i == n-1 {
			if err := t.ExecuteTemplate(b, "foot", sheetFoot{Page: i/perPage + 1, Pages: g.pages, Host: g.host}); err != nil {
				return err
			}
		}
	}
	if err := t.ExecuteTemplate(b, "end", nil); err != nil {
		return err
	}
	return b.Flush()
}

// sheetLayout feeds the head of the document.
type sheetLayout struct {
	SheetInfo
	Title, Lang, Hint string
	CellWidth         string // mm
	RowHeight         string // mm
	level             Level
}

type sheetLabel struct {
	Path                              string
	Box                               int
	Side                              string // mm, with quiet zone
	Code, Name, Holder, Host, Contact string
}

type sheetFoot struct {
	Page, Pages int
	Host        string
}

var sheetHints = map[string]string{
	"zh": "请用 A4 纸按 100% 比例打印，不要缩放。每页页脚的黑条应为 50 毫米。",
	"en": "Print on A4 at 100 %, without scaling. The bar at the foot of each page must measure 50 mm.",
}

// layOut checks options and items and computes the grid.
func layOut(u PublicURL, items []Item, o SheetOptions) (sheetLayout, error) {
	side, err := o.side()
	if err != nil {
		return sheetLayout{}, err
	}
	if len(items) == 0 || len(items) > maxItems {
		return sheetLayout{}, fmt.Errorf("%d labels: want 1 to %d, so split the list", len(items), maxItems)
	}
	if o.Title == "" {
		o.Title = "cityid labels"
	}
	if o.Lang == "" {
		o.Lang = "zh"
	}
	hint, ok := sheetHints[o.Lang]
	if !ok {
		return sheetLayout{}, fmt.Errorf("language %q: want zh or en", o.Lang)
	}
	if o.Level == 0 {
		o.Level = LevelQ
	}
	modules := 0
	for i, item := range items {
		n, err := item.check(u, o.Level, o.Contact)
		if err != nil {
			return sheetLayout{}, fmt.Errorf("label %d (%s): %w", i+1, item.Code, err)
		}
		modules = max(modules, n)
	}
	box := side * float64(modules+2*Quiet) / float64(modulesOf(smallVersion))
	columns := int((pageWidth + gap) / (box + gap))
	if columns == 0 {
		return sheetLayout{}, fmt.Errorf("labels of %s mm are wider than an A4 page: choose a side below %s mm", decimal(box), decimal(side*pageWidth/box))
	}
	width := float64(pageWidth-gap*(columns-1)) / float64(columns)
	text := 0.0
	for _, item := range items {
		text = max(text, textHeight(item, u.Host(), o.Contact, width-1))
	}
	rows := int((pageHeight - footHeight + gap) / (box + text + gap))
	if rows == 0 {
		return sheetLayout{}, fmt.Errorf("labels of %s mm and their text are higher than an A4 page: choose a smaller side", decimal(box))
	}
	perPage := columns * rows
	return sheetLayout{
		SheetInfo: SheetInfo{Labels: len(items), Pages: (len(items) + perPage - 1) / perPage, Columns: columns, Rows: rows, SideMM: side},
		Title:     o.Title, Lang: o.Lang, Hint: hint, CellWidth: decimal(math.Floor(width*100) / 100), RowHeight: decimal(box + text), level: o.Level,
	}, nil
}

// check refuses an item that can not be a field label, and returns the modules
// of its symbol.
func (item Item) check(u PublicURL, level Level, contact string) (modules int, err error) {
	if item.Certificate != nil {
		return 0, errors.New("a certificate does not belong on a field label: use the template certificate")
	}
	text, err := FieldURL(u, item.Code)
	if err != nil {
		return 0, err
	}
	version, err := fieldVersion(text, level)
	if err != nil {
		return 0, err
	}
	return modulesOf(version), Caption{Holder: item.Holder, Name: item.Name, Contact: contact}.check()
}

// side returns the side of a 29x29 symbol that the options ask for.
func (o SheetOptions) side() (float64, error) {
	switch {
	case o.SideMM != 0 && o.DistanceMM != 0:
		return 0, errors.New("both a side and a reading distance given: choose one")
	case o.SideMM != 0:
		if !(o.SideMM >= 5 && o.SideMM <= 1000) {
			return 0, fmt.Errorf("symbol side of %g mm: want 5 to 1000", o.SideMM)
		}
		return o.SideMM, nil
	case o.DistanceMM != 0:
		return SideMM(o.DistanceMM, modulesOf(smallVersion))
	}
	return 25, nil
}

// textHeight returns room in millimetres for the text of one label. Browsers
// break lines by their own rules, so a text of several lines gets one more.
func textHeight(item Item, host, contact string, width float64) float64 {
	room := func(text string, size float64) float64 {
		n := len(wrap(text, width/size))
		if n > 1 && size == otherTextMM {
			n++
		}
		return float64(n) * size * 1.25
	}
	return room(item.Code.Display(), codeTextMM) + room(item.Name, otherTextMM) + room(item.Holder, otherTextMM) +
		room(host+" · "+contact, otherTextMM) + padTextMM
}

var sheetTemplate = template.Must(template.New("").Parse(`
{{- define "head"}}<!DOCTYPE html>
<html lang="{{.Lang}}">
<head>
<meta charset="utf-8">
<title>{{.Title}}</title>
<style>
@page { size: A4; margin: 10mm }
* { box-sizing: border-box; margin: 0; padding: 0 }
html { background: #fff; color: #000; font-family: sans-serif }
.hint { padding: 5mm; font-size: 4mm }
.page { width: 190mm; height: 276mm; break-after: page; position: relative; overflow: hidden }
.page:last-child { break-after: auto }
.grid { display: grid; gap: 2mm; grid-template-columns: repeat({{.Columns}}, {{.CellWidth}}mm); grid-auto-rows: {{.RowHeight}}mm }
.label { break-inside: avoid; text-align: center; outline: 0.1mm dotted #999; padding: 0 0.5mm; line-height: 1.25 }
.label svg { display: block; margin: 0 auto }
.label p { font-size: 2.1mm; overflow-wrap: anywhere }
.label .code { font-size: 2.5mm; font-weight: bold; font-family: monospace; word-break: break-all }
.foot { position: absolute; bottom: 0; left: 0; width: 100%; font-size: 2.5mm; text-align: right }
.foot svg { float: left }
@media screen { .page { margin: 5mm; height: auto; padding-bottom: 6mm } }
@media print { .hint { display: none } }
</style>
</head>
<body>
<p class="hint">{{.Hint}}</p>
<main>
{{end}}
{{- define "page"}}<section class="page"><div class="grid">
{{end}}
{{- define "label"}}<div class="label"><svg xmlns="http://www.w3.org/2000/svg" width="{{.Side}}mm" height="{{.Side}}mm" viewBox="0 0 {{.Box}} {{.Box}}"><path stroke="#000" shape-rendering="crispEdges" d="{{.Path}}"/></svg><p class="code">{{.Code}}</p>{{with .Name}}<p>{{.}}</p>{{end}}<p>{{.Holder}}</p><p>{{.Host}}{{with .Contact}} · {{.}}{{end}}</p></div>
{{end}}
{{- define "foot"}}</div><p class="foot"><svg xmlns="http://www.w3.org/2000/svg" width="50mm" height="2mm" viewBox="0 0 50 2"><path d="M0 0h50v2h-50z"/></svg>{{.Host}} · {{.Page}}/{{.Pages}}</p></section>
{{end}}
{{- define "end"}}</main>
</body>
</html>
{{end}}`))
