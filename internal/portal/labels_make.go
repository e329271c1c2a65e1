// SPDX-License-Identifier: Apache-2.0

package portal

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"html/template"
	"io"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"cityid"
	"cityid/internal/office"
	"cityid/label"
)

// maxEmblem bounds the file of an emblem that is read, in octets; what the layout
// takes is less, and it says so.
const maxEmblem = 1 << 20

// makeData is what the page for laying out shows.
type makeData struct {
	*office.Selection
	Holder    place
	Host      string
	Templates []option
	Materials []option
	Levels    []option
	Langs     []option
	Distance  string // in cm
	Preview   *preview
	Trouble   string // why there is no preview
}

// option is one of a list.
type option struct {
	Value, Text, Hint string
	Chosen            bool
}

// preview is one label as it would be printed, and what came of reading it back.
type preview struct {
	SVG      template.HTML
	Info     label.LayoutInfo
	Code     cityid.Code
	Display  string
	Text     string // in the symbol
	Pages    int
	Modules  int
	Side     string // of the symbol, in mm
	Whole    string // with its quiet zone
	Module   string
	Distance string // in cm
	Advice   string
}

// selection loads the choice of labels that the address names.
func (pg *page) selection(r *http.Request) (*office.Selection, error) {
	s, err := pg.Office.Selection(pg.ctx, r.PathValue("id"), pg.Key())
	if err != nil {
		return nil, officeError(err)
	}
	return &s, pg.mustStand(s.Holder, printRoles)
}

// labelsMakePage asks how chosen labels are to be laid out, and shows one.
func (p *portal) labelsMakePage(w http.ResponseWriter, r *http.Request, pg *page) error {
	s, err := pg.selection(r)
	if err != nil {
		return err
	}
	return pg.showMake(w, r, http.StatusOK, s)
}

func (pg *page) showMake(w http.ResponseWriter, r *http.Request, status int, s *office.Selection) error {
	data := &makeData{Selection: s, Host: pg.Public.Host()}
	var err error
	if data.Holder, err = pg.placeAt(s.Holder); err != nil {
		return err
	}
	for _, t := range label.Templates() {
		if !t.Certificate() {
			hint := ""
			if t.WidthMM > 0 {
				hint = millimetres(t.WidthMM) + " × " + millimetres(t.HeightMM) + " mm"
			}
			data.Templates = append(data.Templates, option{t.Name, t.Title.In(pg.Lang), hint, t.Name == s.Options.Template})
		}
	}
	data.Materials = append(data.Materials, option{"", pg.T("labels.material.usual"), "", s.Options.Material == ""})
	for _, m := range label.Materials() {
		data.Materials = append(data.Materials, option{m.Name, m.Title.In(pg.Lang), "", m.Name == s.Options.Material})
	}
	data.Levels = []option{{"", pg.T("labels.level.usual"), "", s.Options.Level == ""}, {"Q", pg.T("labels.level.q"), "", s.Options.Level == "Q"}, {"H", pg.T("labels.level.h"), "", s.Options.Level == "H"}}
	data.Langs = []option{{"zh", "中文", "", s.Options.Lang != "en"}, {"en", "English", "", s.Options.Lang == "en"}}
	if s.Options.Distance > 0 {
		data.Distance = millimetres(s.Options.Distance / 10)
	}
	if data.Preview, err = pg.preview(s); err != nil {
		if pg.ctx.Err() != nil {
			return err
		}
		data.Trouble = err.Error()
	}
	pg.Title = pg.T("labels.make.title")
	return pg.render(w, r, status, "labels_make", data)
}

// millimetres writes a length with at most two decimals.
func millimetres(f float64) string {
	return strconv.FormatFloat(math.Round(f*100)/100, 'f', -1, 64)
}

// layout turns options into those of package label.
func (pg *page) layout(o office.PrintOptions) (label.LayoutOptions, error) {
	out := label.LayoutOptions{Template: o.Template, Material: o.Material, DistanceMM: o.Distance, Title: o.Title, Lang: o.Lang, Contact: o.Contact}
	if o.Level != "" {
		var err error
		if out.Level, err = label.ParseLevel(o.Level); err != nil {
			return out, err
		}
	}
	if !o.Emblem.IsZero() {
		b, err := pg.Office.ReadFile(pg.ctx, o.Emblem, maxEmblem)
		if err != nil {
			return out, err
		}
		out.Emblem = b
	}
	return out, nil
}

// sample returns the labels that a preview lays out: the first, and the one with
// the longest code, whose symbol is the largest.
func (pg *page) sample(s *office.Selection) ([]label.Item, error) {
	codes := []cityid.Code{s.Codes[0]}
	for _, c := range s.Codes {
		if len(c.String()) > len(codes[len(codes)-1].String()) {
			codes = append(codes[:1], c)
		}
	}
	items, _, problems, err := pg.labelItems(codes, s.Options.Lang)
	if err == nil && len(problems) > 0 {
		err = cityid.Errorf(cityid.ErrConflict, "%s", problems[0])
	}
	return items, err
}

// sampleSheet lays the sample out and reads it back.
func (pg *page) sampleSheet(s *office.Selection) ([]byte, []label.Item, label.LayoutInfo, error) {
	items, err := pg.sample(s)
	if err != nil {
		return nil, nil, label.LayoutInfo{}, err
	}
	o, err := pg.layout(s.Options)
	if err != nil {
		return nil, nil, label.LayoutInfo{}, err
	}
	var b bytes.Buffer
	info, err := label.WriteLayout(&b, pg.Public, items, o)
	if err == nil {
		err = label.CheckSheet(pg.ctx, b.Bytes(), pg.Public, items, o.Contact)
	}
	return b.Bytes(), items, info, err
}

// preview lays out one label, reads it back, and computes the run.
func (pg *page) preview(s *office.Selection) (*preview, error) {
	_, items, info, err := pg.sampleSheet(s)
	if err != nil {
		return nil, err
	}
	symbol, err := label.FieldSymbolAt(pg.Public, items[0].Code, info.Level)
	if err != nil {
		return nil, err
	}
	svg, err := symbol.SVG(label.SVGOptions{Caption: &label.Caption{Holder: items[0].Holder, Name: items[0].Name, Contact: s.Options.Contact}})
	if err != nil {
		return nil, err
	}
	largest, err := label.FieldSymbolAt(pg.Public, items[len(items)-1].Code, info.Level)
	if err != nil {
		return nil, err
	}
	modules := float64(largest.Modules())
	perPage := max(1, info.Columns*info.Rows)
	return &preview{
		SVG: template.HTML(svg), Info: info, Code: symbol.Code(), Display: symbol.Code().Display(), Text: symbol.Text(), Pages: (len(s.Codes) + perPage - 1) / perPage,
		Modules: largest.Modules(), Side: millimetres(info.ModuleMM * modules), Whole: millimetres(info.ModuleMM * (modules + 2*label.Quiet)),
		Module: millimetres(info.ModuleMM), Distance: millimetres(info.DistanceMM / 10), Advice: info.Material.Advice.In(pg.Lang),
	}, nil
}

// labelsPreview shows the sample as it would be printed.
func (p *portal) labelsPreview(w http.ResponseWriter, r *http.Request, pg *page) error {
	s, err := pg.selection(r)
	if err != nil {
		return err
	}
	doc, _, _, err := pg.sampleSheet(s)
	if err != nil {
		return cityid.Errorf(cityid.ErrInvalid, "%v", err)
	}
	return writeSheet(w, doc)
}

// labelsMake keeps how labels are to be laid out, and prints them if asked to.
func (p *portal) labelsMake(w http.ResponseWriter, r *http.Request, pg *page) error {
	s, err := pg.selection(r)
	if err != nil {
		return err
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxEmblem+256<<10)
	if err := r.ParseMultipartForm(maxEmblem); err != nil {
		pg.refuseField("emblem", pg.T("labels.emblem.large"))
		return pg.showMake(w, r, http.StatusUnprocessableEntity, s)
	}
	if err := pg.makeForm(r, s); err != nil {
		return err
	}
	if len(pg.Errors) > 0 {
		return pg.showMake(w, r, http.StatusUnprocessableEntity, s)
	}
	if err := p.Office.SetSelectionOptions(pg.ctx, s.ID, pg.Key(), s.Options); err != nil {
		return officeError(err)
	}
	if r.PostFormValue("do") == "print" {
		return pg.print(w, r, s)
	}
	http.Redirect(w, r, pg.URL("/labels/make/", s.ID, "#preview"), http.StatusSeeOther)
	return nil
}

// makeForm reads the form into the options of s.
func (pg *page) makeForm(r *http.Request, s *office.Selection) error {
	f, o := r.PostForm, &s.Options
	o.Template, o.Material, o.Level, o.Lang = f.Get("template"), f.Get("material"), f.Get("level"), f.Get("lang")
	o.Title, o.Contact, o.Distance = strings.TrimSpace(f.Get("heading")), strings.TrimSpace(f.Get("contact")), 0
	if t, err := label.TemplateOf(o.Template); err != nil || t.Certificate() {
		pg.refuseField("template", pg.T("labels.template.wrong"))
	}
	if o.Material != "" {
		if _, err := label.MaterialOf(o.Material); err != nil {
			pg.refuseField("material", pg.T("labels.material.wrong"))
		}
	}
	if o.Level != "" && o.Level != "Q" && o.Level != "H" {
		pg.refuseField("level", pg.T("labels.level.wrong"))
	}
	if o.Lang != "en" {
		o.Lang = "zh"
	}
	if text := strings.TrimSpace(f.Get("distance")); text != "" {
		cm, err := strconv.ParseFloat(text, 64)
		if o.Distance = cm * 10; err != nil || !(cm >= 5 && cm <= 1000) {
			o.Distance = 0
			pg.refuseField("distance", pg.T("labels.distance.wrong"))
		}
	}
	if cityid.CheckText("contact", o.Contact, false) != nil {
		pg.refuseField("contact", pg.T("labels.text.wrong"))
	}
	if cityid.CheckText("heading", o.Title, false) != nil {
		pg.refuseField("heading", pg.T("labels.text.wrong"))
	}
	if f.Get("emblem-remove") != "" {
		o.Emblem = cityid.Digest{}
	}
	file, header, err := r.FormFile("emblem")
	if errors.Is(err, http.ErrMissingFile) || err == nil && header.Size == 0 {
		return nil
	}
	if err != nil {
		return cityid.Errorf(cityid.ErrMalformed, "%v", err)
	}
	defer file.Close()
	return pg.takeEmblem(r, s, file)
}

// takeEmblem keeps an emblem that the layout takes.
func (pg *page) takeEmblem(r *http.Request, s *office.Selection, file io.Reader) error {
	if err := pg.Limits.Upload(r); err != nil {
		return err
	}
	b, err := io.ReadAll(io.LimitReader(file, maxEmblem+1))
	if err != nil {
		return err
	}
	if len(b) > maxEmblem {
		pg.refuseField("emblem", pg.T("labels.emblem.large"))
		return nil
	}
	// The layout judges the picture, by one label of a template that has room.
	o := label.LayoutOptions{Template: "door", Emblem: b}
	items, err := pg.sample(s)
	if err != nil {
		return err
	}
	if _, err := label.WriteLayout(io.Discard, pg.Public, items[:1], o); err != nil {
		pg.refuseField("emblem", pg.T("labels.emblem.wrong", err))
		return nil
	}
	s.Options.Emblem, err = pg.Office.PutBytes(pg.ctx, b)
	return err
}

// print makes the sheet of a selection, reads every label of it back, keeps it
// as a print run, and goes on to the run's page.
func (pg *page) print(w http.ResponseWriter, r *http.Request, s *office.Selection) error {
	if err := pg.Limits.Upload(r); err != nil {
		return err
	}
	long(w, 10*time.Minute)
	items, holder, problems, err := pg.labelItems(s.Codes, s.Options.Lang)
	if err != nil {
		return err
	}
	for _, text := range problems {
		pg.refuseField("codes", text)
	}
	if len(problems) > 0 {
		return pg.showMake(w, r, http.StatusConflict, s)
	}
	id, err := pg.makeRun(office.PrintRun{Holder: holder, Creator: pg.Key(), Options: s.Options, Reprint: s.Reprint}, items, s.ID)
	if trouble := new(layoutError); errors.As(err, &trouble) {
		pg.refuseField("template", trouble.Error())
		return pg.showMake(w, r, http.StatusUnprocessableEntity, s)
	}
	if err != nil {
		return err
	}
	http.Redirect(w, r, pg.URL("/labels/runs/", strconv.FormatInt(id, 10), "?new=1"), http.StatusSeeOther)
	return nil
}

// layoutError is why labels can not be laid out as asked.
type layoutError struct{ error }

// makeRun lays items out, reads every one back, and only then keeps the sheet.
// Two sheets are made at a time; others wait their turn.
func (pg *page) makeRun(run office.PrintRun, items []label.Item, selection string) (int64, error) {
	wait, cancel := context.WithTimeout(pg.ctx, time.Minute)
	defer cancel()
	select {
	case pg.printing <- struct{}{}:
		defer func() { <-pg.printing }()
	case <-wait.Done():
		return 0, cityid.Errorf(cityid.ErrFull, "other sheets are being made: try again in a minute")
	}
	o, err := pg.layout(run.Options)
	if err != nil {
		return 0, err
	}
	var b bytes.Buffer
	info, err := label.WriteLayout(&b, pg.Public, items, o)
	if err != nil {
		return 0, &layoutError{err}
	}
	if err := label.CheckSheet(pg.ctx, b.Bytes(), pg.Public, items, o.Contact); err != nil {
		return 0, err
	}
	sheet, err := pg.Office.PutBytes(pg.ctx, b.Bytes())
	if err != nil {
		return 0, err
	}
	run.Options.Template, run.Options.Material, run.Options.Public = info.Template.Name, info.Material.Name, pg.Public.String()
	run.Pages, run.Level, run.Module, run.Distance, run.Side = info.Pages, info.Level.String(), info.ModuleMM, info.DistanceMM, info.SideMM
	run.Sheet, run.Size = sheet, int64(b.Len())
	codes := make([]cityid.Code, 0, len(items))
	for _, x := range items {
		codes = append(codes, x.Code)
	}
	id, err := pg.Office.AddPrintRun(pg.ctx, run, codes, selection)
	return id, officeError(err)
}

// writeSheet answers with a print sheet, under a policy that allows its one
// style element and its pictures, and nothing else.
func writeSheet(w http.ResponseWriter, doc []byte) error {
	before, rest, ok := bytes.Cut(doc, []byte("<style>"))
	style, _, closed := bytes.Cut(rest, []byte("</style>"))
	if !ok || !closed || bytes.Contains(before, []byte("<style")) {
		return errors.New("a print sheet has no style element")
	}
	sum := sha256.Sum256(style)
	h := w.Header()
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'sha256-"+base64.StdEncoding.EncodeToString(sum[:])+"'; img-src data:; "+
		"form-action 'none'; frame-ancestors 'none'; base-uri 'none'")
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Cache-Control", "private, no-cache")
	h.Set("Content-Length", strconv.Itoa(len(doc)))
	_, err := w.Write(doc)
	return ignoreWrite(err)
}
