// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"strings"
	"time"

	"cityid"
	"cityid/client"
	"cityid/internal/bulk"
	"cityid/keys"
	"cityid/label"
	"cityid/verify"
)

func labelCommand() *command {
	return &command{
		name: "label", short: "print labels that any phone opens, and read them back",
		sub: []*command{
			{
				name: "svg", args: "CODE", short: "draw one label with its text",
				examples: []string{"cityid label svg MA.156.1301.02/20.010501/000001 --public-url https://id.example.cn --holder 交通管理局 -o lamp.svg"},
				setup:    labelSVG,
			},
			{name: "png", args: "CODE", short: "draw the bare symbol", setup: labelPNG},
			{
				name: "sheet", args: "[CODE...]", short: "lay labels out for printing",
				examples: []string{
					"cityid label sheet --below MA.156.1301.02/20.010501 --public-url https://id.example.cn --distance 500 -o sheet.html",
					"cityid label sheet --from reprint.csv --public-url https://id.example.cn -o sheet.html",
					"cityid label sheet --below MA.156.1301.02/20.010501 --template pole --material vinyl --emblem city.png --public-url https://id.example.cn -o poles.html",
					"cityid label sheet MA.156.1301.02 --template certificate --certify assert --public-url https://id.example.cn -o certificate.html",
				},
				setup: labelSheet,
			},
			{
				name: "check", args: "SHEET.html", short: "read every label of a print sheet back, and hold the printed text against it",
				examples: []string{"cityid label check sheet.html"},
				setup:    labelCheck,
			},
			{name: "templates", short: "list the templates and materials, and what they ask for", setup: labelTemplates},
			{
				name: "scan", args: "IMAGE", short: "read a label from a photo, and check its certificate",
				examples: []string{
					"cityid label scan photo.jpg",
					"cityid label scan certificate.png --node https://id.example.cn --trust trust.json",
					"cityid label scan certificate.png --bundle department.cityid --trust trust.json",
				},
				setup: labelScan,
			},
		},
	}
}

// printing is what all labels share.
type printing struct {
	*flags
	secrets
	public, holder, name, contact string
	key                           string
	issued, expires               string
	level                         string
	unallocated                   bool
	signer                        *keys.Private
}

func (p *printing) setup(f *flags) {
	p.flags = f
	f.StringVar(&p.public, "public-url", "", "address of the resolver that the label names; it must be one that phones can reach")
	f.StringVar(&p.holder, "holder", "", "who is responsible; without it, the node is asked")
	f.StringVar(&p.name, "title", "", "a name printed on the label")
	f.StringVar(&p.contact, "contact", "", "a telephone number printed on the label")
	f.StringVar(&p.level, "level", "", "error correction `level`: Q or H for a field label, M, Q or H for a certificate; without it, what is usual")
	f.BoolVar(&p.unallocated, "unallocated", false, "print without asking the node whether the code is allocated")
}

func (p *printing) certificateFlags(f *flags) {
	p.secrets.flags(f)
	f.StringVar(&p.key, "certify", "", "make a certificate, signed with this assert `key`")
	f.StringVar(&p.issued, "issued", "", "first `day` of a certificate (2006-01-02); today if not given")
	f.StringVar(&p.expires, "expires", "", "last `day` of a certificate; a year later if not given")
}

func (p *printing) url() (label.PublicURL, error) {
	if p.public == "" {
		return label.PublicURL{}, usagef("name the resolver's public address with --public-url; it is printed, so choose one that stays")
	}
	u, err := label.ParsePublicURL(p.public)
	if err != nil {
		return u, usageError{err}
	}
	return u, nil
}

// symbol returns the symbol for a code: a field label, or a certificate.
func (p *printing) symbol(ctx context.Context, code cityid.Code) (*label.Symbol, error) {
	u, err := p.url()
	if err != nil {
		return nil, err
	}
	if p.key == "" {
		if p.issued+p.expires != "" {
			return nil, usagef("--issued and --expires belong to a certificate: name the key that signs it with --certify")
		}
		level, err := p.correction(label.LevelQ)
		if err != nil {
			return nil, err
		}
		s, err := label.FieldSymbolAt(u, code, level)
		if err != nil {
			return nil, usageError{err}
		}
		return s, p.allocated(ctx, code)
	}
	level, err := p.correction(label.LevelM)
	if err != nil {
		return nil, err
	}
	c, err := p.certificate(ctx, code)
	if err != nil {
		return nil, err
	}
	if err := p.allocated(ctx, code); err != nil {
		return nil, err
	}
	return label.CertificateSymbolAt(u, *c, level)
}

// correction returns the level asked for.
func (p *printing) correction(usual label.Level) (label.Level, error) {
	if p.level == "" {
		return usual, nil
	}
	l, err := label.ParseLevel(p.level)
	if err != nil {
		return 0, usageError{err}
	}
	return l, nil
}

// certificate signs a certificate; the key is opened once.
func (p *printing) certificate(ctx context.Context, code cityid.Code) (*label.Certificate, error) {
	first, err := day(p.issued, time.Now())
	if err != nil {
		return nil, err
	}
	last, err := day(p.expires, first.Start().Std().AddDate(1, 0, 0))
	if err != nil {
		return nil, err
	}
	if p.signer == nil {
		if p.signer, err = p.openKey(ctx, p.key, &p.secrets); err != nil {
			return nil, err
		}
	}
	c, err := label.Sign(code, first, last, cityid.PublicKey(p.signer.Public().Raw()), p.signer.Sign)
	if err != nil {
		return nil, err
	}
	return &c, nil
}

// allocated asks the node whether a code may be printed: a label on a thing
// says that the registry knows it.
func (p *printing) allocated(ctx context.Context, code cityid.Code) error {
	if p.unallocated {
		return nil
	}
	node, err := p.connect()
	if err != nil {
		return err
	}
	_, err = mayPrint(ctx, node, code)
	return err
}

// mayPrint returns the record of a code that labels may be printed for.
func mayPrint(ctx context.Context, node *client.Client, code cityid.Code) (*cityid.Record, error) {
	a, err := node.Record(ctx, code)
	if err != nil {
		return nil, hint(fmt.Errorf("no label: %w", err), "labels are for allocated codes, so a node is asked; --unallocated prints without asking")
	}
	if s := a.Record.Status; s == cityid.StatusRetired {
		return nil, hint(exitError{exitConflict, fmt.Errorf("no label: %s is %s", code, s)}, "labels already in place stay valid; --unallocated prints another one")
	}
	return &a.Record, nil
}

func day(s string, otherwise time.Time) (label.Day, error) {
	if s == "" {
		return label.DayOf(cityid.TimeOf(otherwise))
	}
	d, err := label.ParseDay(s)
	if err != nil {
		return d, usageError{err}
	}
	return d, nil
}

// caption returns the printed text, asking the node for the holder's name if
// none is given.
func (p *printing) caption(ctx context.Context, code cityid.Code) (*label.Caption, error) {
	c := &label.Caption{Holder: p.holder, Name: p.name, Contact: p.contact}
	if c.Holder != "" {
		return c, nil
	}
	node, err := p.connect()
	if err != nil {
		return nil, err
	}
	if c.Holder, err = holderName(ctx, node, code); err != nil {
		return nil, hint(err, "give the holder's name with --holder, or a node to ask with --node")
	}
	return c, nil
}

// holderName returns the name of whoever is responsible for code: the nearest
// department, organisation, city or authority at or above it that has a name.
func holderName(ctx context.Context, node *client.Client, code cityid.Code) (string, error) {
	for c := code; !c.IsZero(); {
		a, err := node.Record(ctx, c)
		if err != nil {
			return "", err
		}
		r := &a.Record
		if n := r.Content.Names.Get("zh"); n != "" && r.Code.Class() == "" {
			return n, nil
		}
		c = r.Parent
	}
	return "", fmt.Errorf("no record at or above %s has a name", code)
}

func labelSVG(f *flags) func(context.Context, []string) error {
	p := &printing{}
	p.setup(f)
	p.certificateFlags(f)
	side := f.Float64("side", 0, "side of the symbol in `mm`; 0 leaves it to the page")
	return func(ctx context.Context, args []string) error {
		code, err := codeArg(args)
		if err != nil {
			return err
		}
		s, err := p.symbol(ctx, code)
		if err != nil {
			return err
		}
		c, err := p.caption(ctx, code)
		if err != nil {
			return err
		}
		b, err := s.SVG(label.SVGOptions{SideMM: *side, Caption: c})
		if err != nil {
			return usageError{err}
		}
		return f.write(b)
	}
}

func labelPNG(f *flags) func(context.Context, []string) error {
	p := &printing{}
	p.setup(f)
	p.certificateFlags(f)
	scale := f.Int("pixels", 8, "pixels for each module, 1 to 64")
	return func(ctx context.Context, args []string) error {
		code, err := codeArg(args)
		if err != nil {
			return err
		}
		s, err := p.symbol(ctx, code)
		if err != nil {
			return err
		}
		b, err := s.PNG(*scale)
		if err != nil {
			return usageError{err}
		}
		return f.writeBinary("a PNG image", b)
	}
}

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

// scanView is what a scan found.
type scanView struct {
	Text        string      `json:"text"`
	Kind        string      `json:"kind"`
	Code        cityid.Code `json:"code"`
	Display     string      `json:"display"`
	Host        string      `json:"host,omitempty"`
	Certificate string      `json:"certificate,omitempty"` // the verdict
	Holder      cityid.Code `json:"holder,omitzero"`       // whose key signed it
	Issued      string      `json:"issued,omitempty"`
	Expires     string      `json:"expires,omitempty"`
}

func labelScan(f *flags) func(context.Context, []string) error {
	k := &keySource{}
	k.setup(f)
	return func(ctx context.Context, args []string) error {
		if len(args) != 1 {
			return usagef("want one image, or - for standard input")
		}
		text, err := withInput(ctx, args[0], func(r io.Reader) (string, error) { return label.Decode(ctx, r, label.Limits{}) })
		if errors.Is(err, label.ErrNoSymbol) {
			return hint(exitError{exitNotFound, err}, "take the photo from straight ahead, with the whole symbol and its white border in the picture")
		}
		if err != nil {
			return err
		}
		p, err := label.ParsePayload(text)
		if err != nil {
			return exitError{exitInvalid, fmt.Errorf("the symbol reads %.200q, which is no label of this system: %w", text, err)}
		}
		v := scanView{Text: text, Kind: p.Kind.String(), Code: p.Code, Display: p.Code.Display()}
		if !p.Public.IsZero() {
			v.Host = p.Public.Host()
		}
		if p.Kind == label.KindCertificate {
			return scanCertificate(ctx, k, p.Certificate, v)
		}
		return f.print(scanTable(v))
	}
}

func scanTable(v scanView) *table {
	return fields(v, "reads", v.Text, "kind", v.Kind, "code", v.Display, "host", v.Host,
		"certificate", v.Certificate, "signed for", v.Holder.String(), "from", v.Issued, "until", v.Expires)
}

// scanCertificate checks a certificate against the assert keys on the code's
// own line of ancestors.
func scanCertificate(ctx context.Context, k *keySource, c label.Certificate, v scanView) error {
	candidates, err := k.assertKeys(ctx, c.Code)
	if err != nil {
		return err
	}
	found := label.Check(c, candidates, cityid.TimeOf(time.Now()))
	v.Certificate, v.Holder = found.Verdict.String(), found.Holder
	v.Issued, v.Expires = c.Issued.String(), c.Expires.String()
	if err := k.flags.print(scanTable(v)); err != nil {
		return err
	}
	switch {
	case found.Verdict == label.Valid:
		return nil
	case found.Verdict.Undecided():
		return exitError{exitUndecided, fmt.Errorf("whether the certificate holds can not be told: %s", found.Verdict)}
	}
	return exitError{exitInvalid, fmt.Errorf("the certificate does not hold: %s", found.Verdict)}
}

// keySource finds the assert keys that may have signed a certificate: in
// bundles on disk, or by asking a node; proven wherever a trust root is pinned.
type keySource struct {
	flags   *flags
	trust   trustFlag
	bundles list
	offline bool
}

func (k *keySource) setup(f *flags) {
	k.flags = f
	k.trust.setup(f)
	f.Var(&k.bundles, "bundle", "take the keys from this verified bundle (`file`) and ask no node; several times")
	f.BoolVar(&k.offline, "offline", false, "ask no node")
}

// assertKeys returns the assert keys of code and its ancestors.
func (k *keySource) assertKeys(ctx context.Context, code cityid.Code) ([]label.Candidate, error) {
	trust, err := k.trust.load(ctx)
	if err != nil {
		return nil, err
	}
	if k.offline || len(k.bundles) > 0 {
		return k.fromBundles(ctx, trust)
	}
	node, err := k.flags.connect()
	if err != nil {
		return nil, err
	}
	if trust == nil {
		k.flags.talk("warning: no trust root is pinned, so the keys are only the node's word; cityid trust pin pins one")
	}
	var out []label.Candidate
	for c := code; !c.IsZero(); c = c.Parent() {
		r, err := k.record(ctx, node, trust, c)
		if err != nil {
			return nil, err
		}
		out = append(out, label.CandidatesOf(r)...)
	}
	return out, nil
}

// record returns the record of code, proven if trust is not nil; nil if there
// is none, or none that this zone could tell of.
func (k *keySource) record(ctx context.Context, node *client.Client, trust *verify.TrustFile, code cityid.Code) (*cityid.Record, error) {
	if trust == nil {
		a, err := node.Record(ctx, code)
		if cityid.CodeOf(err) == cityid.ErrNotFound {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		return &a.Record, nil
	}
	r, err := k.trust.check(ctx, node, trust, code)
	if err != nil {
		return nil, err
	}
	if r.Reason == verify.ReasonZone {
		return nil, nil
	}
	return r.Record, verdictError(r)
}

// fromBundles takes keys from bundles of records, each of which must be valid.
func (k *keySource) fromBundles(ctx context.Context, trust *verify.TrustFile) ([]label.Candidate, error) {
	if len(k.bundles) > 0 && trust == nil {
		_, err := k.trust.required(ctx)
		return nil, err
	}
	var out []label.Candidate
	for _, path := range k.bundles {
		b, err := readBounded(ctx, path, verify.MaxBundle)
		if err != nil {
			return nil, err
		}
		base := trust.Latest()
		if d, err := verify.Decode(b); err == nil {
			base = trust.For(d)
		}
		r := verify.CheckEncoded(base, b, verify.Options{Now: time.Now(), Kind: cityid.AnswerRecord})
		if err := verdictError(r); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		out = append(out, label.CandidatesOf(r.Record)...)
	}
	return out, nil
}
