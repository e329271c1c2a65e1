// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"os"
	"slices"
	"strings"

	"cityid"
	"cityid/internal/bulk"
	"cityid/label"
)

func labelSheet(f *flags) func(context.Context, []string) error {
	p := &printing{}
	p.setup(f)
	below := f.String("below", "", "all active objects below this `code`")
	from := f.String("from", "", "a CSV or XLSX `file` with a column named code: for a reprint")
	distance := f.Float64("distance", 0, "reading distance in `mm`; without it, 300 on a plain sheet and as far as another template allows")
	templateName := f.String("template", label.SheetTemplate, "`name` of the layout; cityid label templates lists them")
	material := f.String("material", "", "`name` of what the labels are made of; without it, what the template is usually made of")
	emblem := f.String("emblem", "", "PNG or JPEG `file` printed beside each symbol")
	p.certificateFlags(f)
	f.speaks("zh", "language of the sheet: zh or en")
	return func(ctx context.Context, args []string) error {
		u, err := p.url()
		if err != nil {
			return err
		}
		o := label.LayoutOptions{Template: *templateName, Material: *material, DistanceMM: *distance, Title: p.name, Lang: f.lang, Contact: p.contact}
		if o.DistanceMM == 0 && o.Template == label.SheetTemplate {
			o.DistanceMM = 300
		}
		if o.Level, err = p.correction(0); err != nil {
			return err
		}
		if *emblem != "" {
			if o.Emblem, err = readBounded(ctx, *emblem, maxEmblem); err != nil {
				return err
			}
		}
		t, err := label.TemplateOf(o.Template)
		if err != nil {
			return usageError{err}
		}
		if t.Certificate() != (p.key != "") {
			return usagef("the template %s and --certify do not go together: certificates have the templates certificate and certificate-a5, and need a key", t.Name)
		}
		items, err := p.items(ctx, args, *below, *from)
		if err != nil {
			return err
		}
		return p.sheet(ctx, u, items, o)
	}
}

// maxEmblem bounds what is read of an emblem's file; the layout refuses less.
const maxEmblem = 1 << 20

// sheet lays labels out, reads every one back, and only then hands them out.
func (p *printing) sheet(ctx context.Context, u label.PublicURL, items []label.Item, o label.LayoutOptions) error {
	if p.key != "" {
		for i := range items {
			c, err := p.certificate(ctx, items[i].Code)
			if err != nil {
				return err
			}
			items[i].Certificate = c
		}
	}
	var b bytes.Buffer
	info, err := label.WriteLayout(&b, u, items, o)
	if err != nil {
		return usageError{err}
	}
	if err := label.CheckSheet(ctx, b.Bytes(), u, items, o.Contact); err != nil {
		return err
	}
	if err := p.write(b.Bytes()); err != nil {
		return err
	}
	p.talk("%s on %s, each read back; a symbol of 29 modules is %.1f mm wide (modules of %.2f mm, level %s), to be read from %.0f cm",
		count(info.Labels, "label"), count(info.Pages, "page"), info.SideMM, info.ModuleMM, info.Level, info.DistanceMM/10)
	p.talk("%s: %s; print at 100 %%, and scan a printed one with every kind of phone before the run (docs/printing.md)", info.Material.Name, info.Material.Advice.EN)
	return nil
}

// sheetView is what the check of a sheet found.
type sheetView struct {
	Template string      `json:"template"`
	Material string      `json:"material,omitempty"`
	Labels   int         `json:"labels"`
	Module   float64     `json:"module_mm"` // the finest
	Distance float64     `json:"distance_mm"`
	Hosts    []string    `json:"hosts"`
	First    cityid.Code `json:"first"`
	Last     cityid.Code `json:"last"`
	Twice    int         `json:"twice"` // codes that stand on more than one label
}

func labelCheck(f *flags) func(context.Context, []string) error {
	return func(ctx context.Context, args []string) error {
		if len(args) != 1 {
			return usagef("want one print sheet, or - for standard input")
		}
		b, err := readBounded(ctx, args[0], label.MaxSheet)
		if err != nil {
			return err
		}
		r, err := label.ReadSheet(ctx, b)
		if err != nil {
			return hint(exitError{exitInvalid, fmt.Errorf("%s: %w", args[0], err)}, "make the sheet anew with cityid label sheet; do not print this one")
		}
		module := r.LeastModuleMM()
		v := sheetView{Template: r.Template, Material: r.Material, Labels: len(r.Labels), Module: math.Round(module*1000) / 1000, Distance: math.Round(module * 290)}
		v.First, v.Last = r.Labels[0].Payload.Code, r.Labels[len(r.Labels)-1].Payload.Code
		seen := map[cityid.Code]bool{}
		for i := range r.Labels {
			p := &r.Labels[i].Payload
			if host := p.Public.Host(); !slices.Contains(v.Hosts, host) {
				v.Hosts = append(v.Hosts, host)
			}
			if seen[p.Code] {
				v.Twice++
			}
			seen[p.Code] = true
		}
		twice := ""
		if v.Twice > 0 {
			twice = count(v.Twice, "label")
		}
		return f.print(fields(v, "labels", fmt.Sprint(v.Labels), "read back", "all, and each prints what its symbol carries", "hosts", strings.Join(v.Hosts, ", "),
			"template", v.Template, "material", v.Material, "module", fmt.Sprintf("%.2f mm", module), "to be read from", fmt.Sprintf("%.0f mm", v.Distance),
			"first", v.First.String(), "last", v.Last.String(), "repeated", twice))
	}
}

func labelTemplates(f *flags) func(context.Context, []string) error {
	f.speaks("zh", "language of the descriptions: zh or en")
	return func(ctx context.Context, args []string) error {
		if err := noArgs(args); err != nil {
			return err
		}
		t := &table{head: []string{"name", "what", "size", "level", "made of", "least module", "symbol up to", "remark"}}
		for _, x := range label.Templates() {
			size, symbol := x.Page, ""
			if x.WidthMM != 0 && !x.Certificate() {
				size = fmt.Sprintf("%g x %g mm", x.WidthMM, x.HeightMM)
			}
			if x.BoxMM != 0 {
				symbol = fmt.Sprintf("%g mm", x.BoxMM)
			}
			t.add(x, x.Name, x.Title.In(f.lang), size, x.Level.String(), x.Material, "", symbol, "")
		}
		for _, m := range label.Materials() {
			t.add(m, m.Name, m.Title.In(f.lang), "", m.Level.String(), "", fmt.Sprintf("%g mm", m.ModuleMM), "", m.Advice.In(f.lang))
		}
		return f.print(t)
	}
}

// items gathers the codes to print and what is printed beside them.
func (p *printing) items(ctx context.Context, args []string, below, from string) ([]label.Item, error) {
	var items []label.Item
	add := func(c cityid.Code, name string) {
		items = append(items, label.Item{Code: c, Name: name, Holder: p.holder})
	}
	var codes []cityid.Code
	for _, a := range args {
		c, err := parseCode(a)
		if err != nil {
			return nil, err
		}
		codes = append(codes, c)
	}
	if from != "" {
		more, err := readCodes(from)
		if err != nil {
			return nil, err
		}
		codes = append(codes, more...)
	}
	if err := p.named(ctx, codes, add); err != nil {
		return nil, err
	}
	if below != "" {
		c, err := parseCode(below)
		if err != nil {
			return nil, err
		}
		if err := p.below(ctx, c, add); err != nil {
			return nil, err
		}
	}
	if len(items) == 0 {
		return nil, usagef("nothing to print: name codes, or give --below CODE or --from FILE")
	}
	holders := map[cityid.Code]string{} // by the code without its class and item
	for i := range items {
		if p.holder != "" {
			break
		}
		root := items[i].Code
		for root.Class() != "" {
			root = root.Parent()
		}
		if holders[root] == "" {
			c, err := p.caption(ctx, items[i].Code)
			if err != nil {
				return nil, err
			}
			holders[root] = c.Holder
		}
		items[i].Holder = holders[root]
	}
	return items, nil
}

// named adds codes with the names that their records have, once the node says
// that each is allocated; without names if it is not to be asked.
func (p *printing) named(ctx context.Context, codes []cityid.Code, add func(cityid.Code, string)) error {
	if p.unallocated {
		for _, c := range codes {
			add(c, "")
		}
		return nil
	}
	node, err := p.connect()
	if err != nil {
		return err
	}
	for _, c := range codes {
		r, err := mayPrint(ctx, node, c)
		if err != nil {
			return err
		}
		add(c, r.Content.Names.Get(p.lang))
	}
	return nil
}

func (p *printing) below(ctx context.Context, code cityid.Code, add func(cityid.Code, string)) error {
	node, err := p.connect()
	if err != nil {
		return err
	}
	q := cityid.ChildrenQuery{Code: code, Deep: true, Limit: 1000}
	for {
		page, err := node.Children(ctx, q)
		if err != nil {
			return err
		}
		for i := range page.Records {
			r := &page.Records[i]
			if r.Code.Item() != "" && r.Status == cityid.StatusActive {
				add(r.Code, r.Content.Names.Get(p.lang))
			}
		}
		if q.After = page.Next; q.After.IsZero() {
			return nil
		}
	}
}

// readCodes reads the column named code of a spreadsheet.
func readCodes(path string) ([]cityid.Code, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	t, err := bulk.ReadTable(file, path, bulk.ReadOptions{})
	if err != nil {
		return nil, err
	}
	at := slices.IndexFunc(t.Header, func(h string) bool { return strings.EqualFold(strings.TrimSpace(h), "code") })
	if at < 0 {
		return nil, fmt.Errorf("%s has no column named code", path)
	}
	var codes []cityid.Code
	for _, r := range t.Rows {
		if at >= len(r.Cells) || strings.TrimSpace(r.Cells[at]) == "" {
			continue
		}
		c, err := cityid.Parse(strings.TrimSpace(r.Cells[at]))
		if err != nil {
			return nil, fmt.Errorf("%s, line %d: %w", path, r.Line, err)
		}
		codes = append(codes, c)
	}
	return codes, nil
}
