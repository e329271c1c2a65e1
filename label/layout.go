// SPDX-License-Identifier: Apache-2.0

package label

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"html/template"
	"image"
	"io"
	"math"
)

// LayoutOptions says how [WriteLayout] lays out labels. The zero value is the
// plain sheet on paper.
type LayoutOptions struct {
	Template   string  // name of a [Template]; empty: "sheet"
	Material   string  // name of a [Material]; empty: what the template is usually made of
	DistanceMM float64 // reading distance, 50 to 10000 mm; 0: as far as the template allows, for a plain sheet 250
	Level      Level   // 0: what template and material ask for; else that or more
	Title      string  // of the document, and the heading of a certificate; may be empty
	Lang       string  // "zh" or "en"; empty: "zh"
	Contact    string  // hotline or other remark on every label; may be empty
	Emblem     []byte  // PNG or JPEG of at most 256 KiB, printed beside the symbol, never in it; not on a plain sheet
}

// LayoutInfo tells what was laid out.
type LayoutInfo struct {
	SheetInfo
	Template   Template
	Material   Material
	Level      Level
	ModuleMM   float64 // side of one module
	DistanceMM float64 // from how far the symbols can be read, by the ten to one rule
}

const (
	// maxEmblem bounds an emblem, in octets and in pixels of a side.
	maxEmblem       = 256 << 10
	maxEmblemPixels = 2000
	// margin is the space in millimetres around symbol and text in a label of
	// fixed size, and leastTextMM the smallest text that is still read.
	margin      = 1.0
	leastTextMM = 1.6
)

// WriteLayout writes labels in a named layout, as one HTML document like that
// of [WriteSheet], from which it differs only for templates other than
// "sheet". All items are checked before the first byte is written: texts that
// do not fit, and symbols too fine for the material, are errors that say what
// would do. [CheckSheet] verifies the result.
func WriteLayout(w io.Writer, u PublicURL, items []Item, o LayoutOptions) (LayoutInfo, error) {
	l, err := arrange(u, items, o)
	if err != nil {
		return LayoutInfo{}, fmt.Errorf("print labels: %w", err)
	}
	if l.Template.Name == SheetTemplate {
		l.SheetInfo, err = WriteSheet(w, u, items, SheetOptions{
			Title: o.Title, Lang: o.Lang, SideMM: l.ModuleMM * float64(modulesOf(smallVersion)), Contact: o.Contact, Level: l.Level,
		})
		return l.LayoutInfo, err
	}
	return l.LayoutInfo, writePages(w, layoutTemplate, l, len(items), pageGrid{l.Columns, l.Rows, l.Pages, u.Host()}, func(i int) (any, error) {
		s, err := items[i].symbol(u, l.Level)
		if err != nil {
			return nil, err
		}
		return l.label(&items[i], s), nil
	})
}

// symbol returns the item's symbol: a certificate's if it has one.
func (item *Item) symbol(u PublicURL, level Level) (*Symbol, error) {
	if item.Certificate != nil {
		return CertificateSymbolAt(u, *item.Certificate, level)
	}
	return FieldSymbolAt(u, item.Code, level)
}

// arrangement is a layout that was found to be possible. It feeds the head of
// the document.
type arrangement struct {
	LayoutInfo
	o       LayoutOptions
	Lang    string
	Heading string // of the document
	Hint    string // for whoever prints
	TextMM  float64
	Emblem  template.URL // a data: address; empty: none
	modules int          // of the largest symbol
}

// arrange checks options and items and computes sizes.
func arrange(u PublicURL, items []Item, o LayoutOptions) (*arrangement, error) {
	l, err := choose(o)
	if err != nil {
		return nil, err
	}
	if len(items) == 0 || len(items) > maxItems {
		return nil, fmt.Errorf("%d labels: want 1 to %d, so split the list", len(items), maxItems)
	}
	for i := range items {
		n, err := l.check(u, &items[i])
		if err != nil {
			return nil, fmt.Errorf("label %d (%s): %w", i+1, items[i].Code, err)
		}
		l.modules = max(l.modules, n)
	}
	if err := l.size(); err != nil {
		return nil, err
	}
	if l.Template.Name == SheetTemplate {
		return l, nil
	}
	if err := l.fit(u, items); err != nil {
		return nil, err
	}
	l.Labels = len(items)
	l.Columns = max(1, int((pageWidth+gap)/(l.Template.WidthMM+gap)))
	l.Rows = max(1, int((pageHeight-footHeight+gap)/(l.Template.HeightMM+gap)))
	perPage := l.Columns * l.Rows
	l.Pages = (len(items) + perPage - 1) / perPage
	l.SideMM = l.ModuleMM * float64(modulesOf(smallVersion))
	return l, nil
}

// choose finds template and material, and what both ask for.
func choose(o LayoutOptions) (*arrangement, error) {
	l := &arrangement{o: o, Lang: o.Lang}
	if l.Lang == "" {
		l.Lang = "zh"
	}
	hint, ok := sheetHints[l.Lang]
	if !ok {
		return nil, fmt.Errorf("language %q: want zh or en", l.Lang)
	}
	if o.Template == "" {
		o.Template = SheetTemplate
	}
	var err error
	if l.Template, err = TemplateOf(o.Template); err != nil {
		return nil, err
	}
	if o.Material == "" {
		o.Material = l.Template.Material
	}
	if l.Material, err = MaterialOf(o.Material); err != nil {
		return nil, err
	}
	l.Level = max(l.Template.Level, l.Material.Level)
	if o.Level != 0 && o.Level < l.Level || o.Level > LevelH {
		return nil, fmt.Errorf("level %s: %s on %s asks for level %s or more", o.Level, l.Template.Name, l.Material.Name, l.Level)
	}
	l.Level = max(l.Level, o.Level)
	if l.Heading = o.Title; l.Heading == "" {
		l.Heading = l.Template.Title.In(l.Lang)
	}
	l.Hint = hint
	if l.Template.Page == "A5" {
		l.Hint = sheetHintsA5[l.Lang]
	}
	l.Hint += l.Material.Title.In(l.Lang) + map[string]string{"zh": "：", "en": ": "}[l.Lang] + l.Material.Advice.In(l.Lang) + map[string]string{"zh": "。", "en": "."}[l.Lang]
	return l, l.emblem()
}

var sheetHintsA5 = map[string]string{
	"zh": "请用 A5 纸按 100% 比例打印，不要缩放。页脚的黑条应为 50 毫米。",
	"en": "Print on A5 at 100 %, without scaling. The bar at the foot must measure 50 mm. ",
}

// emblem takes the emblem over, if there is one.
func (l *arrangement) emblem() error {
	b := l.o.Emblem
	if len(b) == 0 {
		return nil
	}
	if l.Template.Name == SheetTemplate {
		return errors.New("the plain sheet has no place for an emblem: choose another template")
	}
	if len(b) > maxEmblem {
		return fmt.Errorf("emblem of %d octets: at most %d", len(b), maxEmblem)
	}
	c, format, err := image.DecodeConfig(bytes.NewReader(b)) // PNG and JPEG, which this package imports
	if err != nil || format != "png" && format != "jpeg" {
		return errors.New("the emblem is neither PNG nor JPEG")
	}
	if c.Width < 1 || c.Height < 1 || c.Width > maxEmblemPixels || c.Height > maxEmblemPixels {
		return fmt.Errorf("emblem of %d x %d pixels: want 1 to %d each way", c.Width, c.Height, maxEmblemPixels)
	}
	l.Emblem = template.URL("data:image/" + format + ";base64," + base64.StdEncoding.EncodeToString(b))
	return nil
}

// check refuses an item that the template can not print, and returns the
// modules of its symbol.
func (l *arrangement) check(u PublicURL, item *Item) (int, error) {
	if err := (Caption{Holder: "x", Contact: l.o.Title}).check(); err != nil {
		return 0, fmt.Errorf("title: %w", err)
	}
	if !l.Template.certificate {
		return item.check(u, l.Level, l.o.Contact)
	}
	if item.Certificate == nil || item.Certificate.Code != item.Code {
		return 0, errors.New("the template certificate prints signed certificates: sign one with a key of role assert")
	}
	s, err := CertificateSymbolAt(u, *item.Certificate, l.Level)
	if err != nil {
		return 0, err
	}
	return s.modules, Caption{Holder: item.Holder, Name: item.Name, Contact: l.o.Contact}.check()
}

// size computes the size of a module: from the reading distance, or as large
// as the template allows, and never finer than the material keeps.
func (l *arrangement) size() error {
	small := float64(modulesOf(smallVersion))
	distance := l.o.DistanceMM
	if distance == 0 && l.Template.Name == SheetTemplate {
		distance = 250
	}
	box := float64(l.modules + 2*Quiet)
	if distance != 0 {
		side, err := SideMM(distance, modulesOf(smallVersion))
		if err != nil {
			return err
		}
		l.ModuleMM = max(side/small, l.Material.ModuleMM)
	} else {
		l.ModuleMM = math.Floor(l.Template.BoxMM/box*1000) / 1000
	}
	if l.ModuleMM < l.Material.ModuleMM {
		return fmt.Errorf("the template %s leaves modules of %s mm, but %s asks for %s: choose a shorter public URL, another material or a larger template",
			l.Template.Name, decimal(l.ModuleMM), l.Material.Name, decimal(l.Material.ModuleMM))
	}
	if most := l.Template.BoxMM; most != 0 && l.ModuleMM*box > most+0.001 {
		return fmt.Errorf("the template %s has room for a symbol of %d modules to be read from %d mm (modules of %s mm); asked for are modules of %s mm: choose a shorter distance, another material or a larger template",
			l.Template.Name, l.modules, int(most/box*small*10), decimal(most/box), decimal(l.ModuleMM))
	}
	l.DistanceMM = math.Round(l.ModuleMM * small * 10)
	return nil
}

// fit finds the largest size at which the text of every label fits.
func (l *arrangement) fit(u PublicURL, items []Item) error {
	l.TextMM = l.Template.TextMM
	for i := range items {
		s := &Symbol{code: items[i].Code, host: u.Host(), modules: l.modules}
		for {
			width, height := l.textArea()
			need := 0.0
			for _, p := range l.texts(&items[i], s) {
				need += p.height(width, l.TextMM)
			}
			if l.Emblem != "" {
				need += l.emblemMM() + margin
			}
			if need <= height {
				break
			}
			if l.TextMM -= 0.1; l.TextMM < leastTextMM {
				return fmt.Errorf("label %d (%s): its text does not fit beside the symbol on the template %s: shorten name, holder or contact, ask for a shorter reading distance, or choose a larger template",
					i+1, items[i].Code, l.Template.Name)
			}
		}
	}
	l.TextMM = math.Floor(l.TextMM*10+0.01) / 10
	return nil
}

// boxMM is the side of the largest symbol with its quiet zone.
func (l *arrangement) boxMM() float64 { return l.ModuleMM * float64(l.modules+2*Quiet) }

// textArea is the room for text in millimetres.
func (l *arrangement) textArea() (width, height float64) {
	t := &l.Template
	if t.Beside {
		return t.WidthMM - l.boxMM() - 3*margin, t.HeightMM - 2*margin
	}
	return t.WidthMM - 2*margin, t.HeightMM - l.boxMM() - 3*margin
}

// emblemMM is the height of the emblem.
func (l *arrangement) emblemMM() float64 { return 4 * l.TextMM }

// paragraph is one printed text. Class names it for [CheckSheet].
type paragraph struct {
	Class, Text string
	Scale       float64 // of its size to that of the other text
}

// textClasses are the classes of text and their sizes.
var textClasses = []struct {
	class string
	scale float64
}{{"title", 1.8}, {"code", 1.15}, {"name", 1}, {"holder", 1}, {"dates", 1}, {"host", 0.9}, {"contact", 1}, {"verify", 0.7}}

// height is room for the paragraph; browsers break lines by their own rules, so
// a text of several lines gets one more.
func (p paragraph) height(width, size float64) float64 {
	size *= p.Scale
	n := len(wrap(p.Text, width/size))
	if n > 1 {
		n++
	}
	return float64(n) * size * 1.25
}

// labelWords are the fixed texts of labels.
var labelWords = map[string]Phrase{
	"opens":       {"扫码后的网址应为 ", "the address must begin with "},
	"valid":       {"有效期：%s 至 %s", "valid from %s to %s"},
	"certificate": {"城市代码证书", "Certificate of a city code"},
	"verify":      {"扫描二维码核验。证书由该代码或其上级的密钥签名，可离线核验：cityid label scan", "Scan the symbol to verify. It is signed with a key of this code or of one above it, and can be verified offline: cityid label scan"},
}

// texts are the texts of one label, in order.
func (l *arrangement) texts(item *Item, s *Symbol) []paragraph {
	word := func(key string) string { return labelWords[key].In(l.Lang) }
	var out []paragraph
	add := func(class, text string) {
		for _, c := range textClasses {
			if c.class == class && text != "" {
				out = append(out, paragraph{class, text, c.scale})
			}
		}
	}
	c := item.Certificate
	if c != nil {
		title := l.o.Title
		if title == "" {
			title = word("certificate")
		}
		add("title", title)
	}
	add("code", s.code.Display())
	add("name", item.Name)
	add("holder", item.Holder)
	if c != nil {
		add("dates", fmt.Sprintf(word("valid"), c.Issued, c.Expires))
	}
	add("host", word("opens")+s.host)
	add("contact", l.o.Contact)
	if c != nil {
		add("verify", word("verify"))
	}
	return out
}

// laidLabel feeds one label of the document.
type laidLabel struct {
	Path   string
	Box    int
	Side   string // mm, with quiet zone
	Class  string
	Emblem string // its height in mm; empty: none
	Texts  []laidText
}

// laidText is one text of a label, or the size in millimetres of its class.
type laidText struct{ Class, Text string }

// Sizes lists the size of the text of each class.
func (l *arrangement) Sizes() []laidText {
	var out []laidText
	for _, c := range textClasses {
		out = append(out, laidText{c.class, decimal(c.scale * l.TextMM)})
	}
	return out
}

func (l *arrangement) label(item *Item, s *Symbol) laidLabel {
	out := laidLabel{Path: s.path(), Box: s.modules + 2*Quiet, Side: decimal3(l.ModuleMM * float64(s.modules+2*Quiet)), Class: "below"}
	if l.Template.Beside {
		out.Class = "beside"
	}
	if l.Template.certificate {
		out.Class += " certificate"
	}
	if l.Emblem != "" {
		out.Emblem = decimal(l.emblemMM())
	}
	for _, p := range l.texts(item, s) {
		out.Texts = append(out.Texts, laidText{p.Class, p.Text})
	}
	return out
}

// decimal3 writes a length with three decimals at most, so that the modules of
// symbols of several sizes stay the same.
func decimal3(f float64) string { return fmt.Sprintf("%.3f", f) }

var layoutTemplate = template.Must(template.New("").Parse(`
{{- define "head"}}<!DOCTYPE html>
<html lang="{{.Lang}}">
<head>
<meta charset="utf-8">
<meta name="cityid-template" content="{{.Template.Name}}">
<meta name="cityid-material" content="{{.Material.Name}}">
<title>{{.Heading}}</title>
<style>
@page { size: {{.Template.Page}}; margin: 10mm }
* { box-sizing: border-box; margin: 0; padding: 0 }
html { background: #fff; color: #000; font-family: sans-serif }
.hint { padding: 5mm; font-size: 4mm }
.defs { position: absolute }
.page { {{if eq .Template.Page "A5"}}width: 128mm; height: 189mm{{else}}width: 190mm; height: 276mm{{end}}; break-after: page; position: relative }
.page:last-child { break-after: auto }
.grid { display: grid; gap: 2mm; grid-template-columns: repeat({{.Columns}}, {{.Template.WidthMM}}mm); grid-auto-rows: {{.Template.HeightMM}}mm; justify-content: start }
.label { break-inside: avoid; outline: 0.1mm dotted #999; display: flex; align-items: center; gap: 1mm; padding: 1mm; line-height: 1.25 }
.label.below { flex-direction: column; justify-content: space-between; text-align: center }
.label svg { display: block; flex: none }
.text { flex: 1 1 0; min-width: 0 }
.below .text { flex: none; width: 100% }
.below .emblem { margin: 0 auto 1mm }
.beside .emblem { margin: 0 0 1mm }
.text p { overflow-wrap: anywhere }
.text .code { font-weight: bold; font-family: monospace; word-break: break-all }
.text .host { font-family: monospace, sans-serif }
.label.certificate { flex-direction: column-reverse; justify-content: flex-end; gap: 8mm; outline: none }
.certificate .text p { margin-bottom: 1mm }
{{range .Sizes}}.text .{{.Class}} { font-size: {{.Text}}mm }
{{end}}.foot { position: absolute; bottom: 0; left: 0; width: 100%; font-size: 2.5mm; text-align: right }
.foot svg { float: left }
@media screen { .page { margin: 5mm; height: auto; padding-bottom: 6mm } }
@media print { .hint { display: none } }
</style>
</head>
<body>
{{with .Emblem}}<svg xmlns="http://www.w3.org/2000/svg" class="defs" width="0" height="0"><defs><symbol id="emblem" viewBox="0 0 100 100"><image width="100" height="100" href="{{.}}"/></symbol></defs></svg>
{{end}}<p class="hint">{{.Hint}}</p>
<main>
{{end}}
{{- define "page"}}<section class="page"><div class="grid">
{{end}}
{{- define "label"}}<div class="label {{.Class}}"><svg xmlns="http://www.w3.org/2000/svg" width="{{.Side}}mm" height="{{.Side}}mm" viewBox="0 0 {{.Box}} {{.Box}}"><path stroke="#000" shape-rendering="crispEdges" d="{{.Path}}"/></svg><div class="text">{{with .Emblem}}<svg xmlns="http://www.w3.org/2000/svg" class="emblem" width="{{.}}mm" height="{{.}}mm"><use href="#emblem"/></svg>{{end}}{{range .Texts}}<p class="{{.Class}}">{{.Text}}</p>{{end}}</div></div>
{{end}}
{{- define "foot"}}</div><p class="foot"><svg xmlns="http://www.w3.org/2000/svg" width="50mm" height="2mm" viewBox="0 0 50 2"><path d="M0 0h50v2h-50z"/></svg>{{.Host}} · {{.Page}}/{{.Pages}}</p></section>
{{end}}
{{- define "end"}}</main>
</body>
</html>
{{end}}`))
