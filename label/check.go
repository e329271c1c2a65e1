// SPDX-License-Identifier: Apache-2.0

package label

import (
	"bytes"
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"image"
	"io"
	"math"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// MaxSheet bounds a document that [ReadSheet] looks at, in octets.
const MaxSheet = 64 << 20

// ErrSheet is in the chain of every error about labels that do not hold.
var ErrSheet = errors.New("the sheet does not hold")

// SheetLabel is one label of a print sheet as it was read back: the text that
// its symbol carries and what is printed beside it.
type SheetLabel struct {
	Payload  Payload
	Modules  int     // of the symbol's side, with the quiet zone
	ModuleMM float64 // side of one module as printed
	Code     string  // as printed, with check characters
	Name     string  // empty if there is none
	Holder   string
	Host     string // the printed line that names the host
	Dates    string // of a certificate
	Contact  string
}

// SheetReport is what [ReadSheet] found in a document.
type SheetReport struct {
	Template string // name of its template
	Material string // of its material; empty on a plain sheet, which does not say
	Labels   []SheetLabel
}

// LeastModuleMM returns the side of the finest module of the sheet.
func (r *SheetReport) LeastModuleMM() float64 {
	least := math.Inf(1)
	for _, l := range r.Labels {
		least = min(least, l.ModuleMM)
	}
	return least
}

// ReadSheet reads a document that [WriteSheet] or [WriteLayout] wrote, and
// checks every label by itself: its symbol is drawn as pixels and read with
// this package's decoder; its white margin is free; its modules are not finer
// than the material keeps; and the printed code, with check characters, and
// host are those that the symbol carries, a certificate's dates too, and a
// holder is printed. The error wraps [ErrSheet] and names the labels, up to
// ten, unless the document is none of these, or ctx is done.
//
// It does not know what the labels should say: [CheckSheet] does. A thousand
// labels take about a second for each core.
func ReadSheet(ctx context.Context, document []byte) (*SheetReport, error) {
	drawn, report, err := parseSheet(document)
	if err != nil {
		return nil, fmt.Errorf("read sheet: %w", err)
	}
	least := 0.0
	if m, err := MaterialOf(report.Material); err == nil {
		least = m.ModuleMM
	}
	problems := make([]error, len(drawn))
	report.Labels = make([]SheetLabel, len(drawn))
	var next sync.Mutex
	at := 0
	var done sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), len(drawn)) {
		done.Go(func() {
			for ctx.Err() == nil {
				next.Lock()
				i := at
				at++
				next.Unlock()
				if i >= len(drawn) {
					return
				}
				report.Labels[i], problems[i] = drawn[i].read(ctx, least)
			}
		})
	}
	done.Wait()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return report, gather(problems)
}

// CheckSheet checks a document as [ReadSheet] does, and that its labels are
// those of the items, in order, for the resolver u: the text in each symbol,
// and code, name, holder and contact as printed. Whoever makes a sheet runs it
// before handing the sheet out.
func CheckSheet(ctx context.Context, document []byte, u PublicURL, items []Item, contact string) error {
	report, err := ReadSheet(ctx, document)
	if err != nil {
		return err
	}
	if len(report.Labels) != len(items) {
		return fmt.Errorf("%w: it has %d labels, not %d", ErrSheet, len(report.Labels), len(items))
	}
	problems := make([]error, len(items))
	for i, item := range items {
		l := &report.Labels[i]
		want := Payload{Kind: KindField, Public: u, Code: item.Code}
		if item.Certificate != nil {
			want = Payload{Kind: KindCertificate, Public: u, Code: item.Code, Certificate: *item.Certificate}
		}
		for _, x := range []struct{ what, got, want string }{
			{"symbol", l.Payload.String(), want.String()},
			{"name", l.Name, item.Name},
			{"holder", l.Holder, item.Holder},
			{"contact", l.Contact, contact},
		} {
			if squeeze(x.got) != squeeze(x.want) && problems[i] == nil {
				problems[i] = fmt.Errorf("its %s reads %.120q, not %.120q", x.what, x.got, x.want)
			}
		}
	}
	return gather(problems)
}

// squeeze makes texts alike that are printed alike: a browser joins blanks.
func squeeze(s string) string { return strings.Join(strings.Fields(s), " ") }

// gather joins the problems of labels to one error.
func gather(problems []error) error {
	var out []string
	count := 0
	for i, err := range problems {
		if err == nil {
			continue
		}
		if count++; count <= 10 {
			out = append(out, fmt.Sprintf("label %d: %v", i+1, err))
		}
	}
	if count == 0 {
		return nil
	}
	if count > len(out) {
		out = append(out, fmt.Sprintf("and %d more", count-len(out)))
	}
	return fmt.Errorf("%w: %s", ErrSheet, strings.Join(out, "; "))
}

// drawnLabel is a label as the document has it.
type drawnLabel struct {
	path, width, viewBox string
	texts                []paragraph
}

// read reads a label's symbol and holds the printed text against it.
func (d *drawnLabel) read(ctx context.Context, least float64) (SheetLabel, error) {
	var l SheetLabel
	var box int
	if n, err := fmt.Sscanf(d.viewBox, "0 0 %d %d", &box, new(int)); n != 2 || err != nil || box < 21 || box > 200 {
		return l, fmt.Errorf("its symbol has the frame %.40q", d.viewBox)
	}
	side, err := strconv.ParseFloat(strings.TrimSuffix(d.width, "mm"), 64)
	if err != nil || !(side > 0) {
		return l, fmt.Errorf("its symbol has the width %.40q", d.width)
	}
	l.Modules, l.ModuleMM = box, side/float64(box)
	l.take(d.texts)
	img, err := raster(d.path, box)
	if err != nil {
		return l, err
	}
	text, ok := readDrawn(ctx, img)
	if !ok {
		return l, errors.New("its symbol can not be read")
	}
	if l.Payload, err = ParsePayload(text); err != nil {
		return l, fmt.Errorf("its symbol reads %.120q, which is no label: %w", text, err)
	}
	return l, l.check(least)
}

// readDrawn reads a symbol that was just drawn, upright and clean: as such, and
// should the recogniser stumble over it, as a photograph at two scales.
func readDrawn(ctx context.Context, img *image.Gray) (string, bool) {
	for _, a := range []attempt{{pure: true}, {hybrid: true}, {}} {
		for _, f := range []float64{1, 0.5} {
			if scaled := scale(img, f); scaled != nil {
				if text, ok := a.read(ctx, scaled); ok {
					return text, true
				}
			}
		}
	}
	return "", false
}

// take sorts the printed texts. Those of a plain sheet have no classes: name,
// if there is one, holder, and host with contact follow the code.
func (l *SheetLabel) take(texts []paragraph) {
	var plain []string
	for _, p := range texts {
		t := strings.TrimSpace(p.Text)
		switch p.Class {
		case "code":
			l.Code = t
		case "name":
			l.Name = t
		case "holder":
			l.Holder = t
		case "host":
			l.Host = t
		case "dates":
			l.Dates = t
		case "contact":
			l.Contact = t
		case "":
			plain = append(plain, t)
		}
	}
	if n := len(plain); n > 0 {
		l.Host, l.Contact, _ = strings.Cut(plain[n-1], " · ")
		if n > 1 {
			l.Holder = plain[n-2]
		}
		if n > 2 {
			l.Name = plain[n-3]
		}
	}
}

// check holds what is printed against what the symbol carries.
func (l *SheetLabel) check(least float64) error {
	p := &l.Payload
	words := strings.Fields(l.Host)
	switch {
	case p.Public.IsZero():
		return errors.New("its symbol names no resolver")
	case l.Code != p.Code.Display():
		return fmt.Errorf("it prints the code %.80q, its symbol carries %s", l.Code, p.Code.Display())
	case !slices.Contains(words, p.Public.Host()):
		return fmt.Errorf("it prints the host %.80q, its symbol carries %s", l.Host, p.Public.Host())
	case l.Holder == "":
		return errors.New("it prints no holder")
	case p.Kind == KindCertificate && (!strings.Contains(l.Dates, p.Certificate.Issued.String()) || !strings.Contains(l.Dates, p.Certificate.Expires.String())):
		return fmt.Errorf("it prints the dates %.80q, its symbol carries %s to %s", l.Dates, p.Certificate.Issued, p.Certificate.Expires)
	case l.ModuleMM < least-0.001:
		return fmt.Errorf("its modules measure %s mm, the material asks for %s", decimal(l.ModuleMM), decimal(least))
	}
	return nil
}

// pixelsPerModule is how symbols are drawn for reading.
const pixelsPerModule = 4

// raster draws path data as [Symbol] writes it: horizontal lines one unit wide.
// They must fill the frame but for the quiet zone, which must stay free.
func raster(path string, box int) (*image.Gray, error) {
	img := image.NewGray(image.Rect(0, 0, box*pixelsPerModule, box*pixelsPerModule))
	for i := range img.Pix {
		img.Pix[i] = 255
	}
	bad := errors.New("its symbol is not drawn as this program draws")
	x, y := -1, -1
	left, top, right, bottom := box, box, 0, 0 // of what is drawn
	number := func() (n int, ok bool) {
		i := 0
		for i < len(path) && i < 4 && path[i] >= '0' && path[i] <= '9' {
			n = 10*n + int(path[i]-'0')
			i++
		}
		path = path[i:]
		return n, i > 0
	}
	literal := func(s string) bool {
		rest, ok := strings.CutPrefix(path, s)
		path = rest
		return ok
	}
	for path != "" {
		n, ok := 0, false
		switch {
		case literal("M"):
			x, ok = number()
			ok = ok && literal(" ")
			if ok {
				y, ok = number()
			}
			ok = ok && literal(".5")
		case literal("m"):
			n, ok = number()
			ok = ok && literal(" 0") && x >= 0
			x += n
		case literal("h"):
			n, ok = number()
			ok = ok && x >= Quiet && y >= Quiet && n > 0 && x+n <= box-Quiet && y < box-Quiet
			if !ok {
				break
			}
			for py := y * pixelsPerModule; py < (y+1)*pixelsPerModule; py++ {
				row := img.Pix[py*img.Stride+x*pixelsPerModule:][:n*pixelsPerModule]
				clear(row)
			}
			left, top, right, bottom = min(left, x), min(top, y), max(right, x+n), max(bottom, y+1)
			x += n
		}
		if !ok {
			return nil, bad
		}
	}
	if left != Quiet || top != Quiet || right != box-Quiet || bottom != box-Quiet {
		return nil, bad // the corners of every symbol are dark
	}
	return img, nil
}

// parseSheet finds the labels of a document.
func parseSheet(document []byte) ([]drawnLabel, *SheetReport, error) {
	if len(document) > MaxSheet {
		return nil, nil, fmt.Errorf("%d octets: at most %d", len(document), MaxSheet)
	}
	d := xml.NewDecoder(bytes.NewReader(document))
	d.Strict, d.AutoClose, d.Entity = false, xml.HTMLAutoClose, xml.HTMLEntity
	p := sheetParser{report: &SheetReport{Template: SheetTemplate}}
	for {
		token, err := d.RawToken()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, nil, fmt.Errorf("not a print sheet: %w", err)
		}
		switch e := token.(type) {
		case xml.StartElement:
			p.start(e)
		case xml.EndElement:
			p.end(e.Name.Local)
		case xml.CharData:
			p.text(string(e))
		}
		if len(p.labels) > maxItems {
			return nil, nil, fmt.Errorf("more than %d labels", maxItems)
		}
	}
	if len(p.labels) == 0 {
		return nil, nil, errors.New("the document has no labels: it is no print sheet of this program")
	}
	return p.labels, p.report, nil
}

// sheetParser follows the elements of a document.
type sheetParser struct {
	report *SheetReport
	labels []drawnLabel
	depth  int  // of div elements within a label; 0: outside
	inText bool // within a paragraph of a label
}

func attribute(e xml.StartElement, name string) string {
	for _, a := range e.Attr {
		if a.Name.Local == name {
			return a.Value
		}
	}
	return ""
}

func (p *sheetParser) start(e xml.StartElement) {
	switch e.Name.Local {
	case "meta":
		switch attribute(e, "name") {
		case "cityid-template":
			p.report.Template = attribute(e, "content")
		case "cityid-material":
			p.report.Material = attribute(e, "content")
		}
	case "div":
		if p.depth > 0 {
			p.depth++
		} else if slices.Contains(strings.Fields(attribute(e, "class")), "label") {
			p.labels = append(p.labels, drawnLabel{})
			p.depth = 1
		}
	}
	if p.depth == 0 {
		return
	}
	l := &p.labels[len(p.labels)-1]
	switch e.Name.Local {
	case "svg":
		if l.viewBox == "" {
			l.width, l.viewBox = attribute(e, "width"), attribute(e, "viewBox")
		}
	case "path":
		l.path += attribute(e, "d")
	case "p":
		l.texts = append(l.texts, paragraph{Class: attribute(e, "class")})
		p.inText = true
	}
}

func (p *sheetParser) end(name string) {
	switch {
	case name == "div" && p.depth > 0:
		p.depth--
	case name == "p":
		p.inText = false
	}
}

func (p *sheetParser) text(s string) {
	if p.depth > 0 && p.inText {
		l := &p.labels[len(p.labels)-1]
		l.texts[len(l.texts)-1].Text += s
	}
}
