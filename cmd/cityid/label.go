// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
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
				},
				setup: labelSheet,
			},
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
}

func (p *printing) setup(f *flags) {
	p.flags = f
	f.StringVar(&p.public, "public-url", "", "address of the resolver that the label names; it must be one that phones can reach")
	f.StringVar(&p.holder, "holder", "", "who is responsible; without it, the node is asked")
	f.StringVar(&p.name, "title", "", "a name printed on the label")
	f.StringVar(&p.contact, "contact", "", "a telephone number printed on the label")
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
		return label.FieldSymbol(u, code)
	}
	k, err := p.openKey(ctx, p.key, &p.secrets)
	if err != nil {
		return nil, err
	}
	first, err := day(p.issued, time.Now())
	if err != nil {
		return nil, err
	}
	last, err := day(p.expires, first.Start().Std().AddDate(1, 0, 0))
	if err != nil {
		return nil, err
	}
	c, err := label.Sign(code, first, last, cityid.PublicKey(k.Public().Raw()), k.Sign)
	if err != nil {
		return nil, err
	}
	return label.CertificateSymbol(u, c)
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
	distance := f.Float64("distance", 300, "reading distance in `mm`")
	f.speaks("zh", "language of the sheet: zh or en")
	return func(ctx context.Context, args []string) error {
		u, err := p.url()
		if err != nil {
			return err
		}
		items, err := p.items(ctx, args, *below, *from)
		if err != nil {
			return err
		}
		var b bytes.Buffer
		info, err := label.WriteSheet(&b, u, items, label.SheetOptions{Title: p.name, Lang: f.lang, DistanceMM: *distance, Contact: p.contact})
		if err != nil {
			return usageError{err}
		}
		if err := f.write(b.Bytes()); err != nil {
			return err
		}
		f.talk("%s of %.0f mm on %s; print at 100 %%, and test-scan a few before mounting", count(info.Labels, "label"), info.SideMM, count(info.Pages, "page"))
		return nil
	}
}

// items gathers the codes to print and what is printed beside them.
func (p *printing) items(ctx context.Context, args []string, below, from string) ([]label.Item, error) {
	var items []label.Item
	add := func(c cityid.Code, name string) {
		items = append(items, label.Item{Code: c, Name: name, Holder: p.holder})
	}
	for _, a := range args {
		c, err := parseCode(a)
		if err != nil {
			return nil, err
		}
		add(c, "")
	}
	if from != "" {
		codes, err := readCodes(from)
		if err != nil {
			return nil, err
		}
		for _, c := range codes {
			add(c, "")
		}
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
	if p.holder == "" {
		c, err := p.caption(ctx, items[0].Code)
		if err != nil {
			return nil, err
		}
		for i := range items {
			items[i].Holder = c.Holder
		}
	}
	return items, nil
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
				add(r.Code, r.Content.Names.Get("zh"))
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
		out = append(out, candidatesOf(r)...)
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
		out = append(out, candidatesOf(r.Record)...)
	}
	return out, nil
}

// candidatesOf lists the Ed25519 assert keys in a record's own policy.
func candidatesOf(r *cityid.Record) []label.Candidate {
	if r == nil || r.Policy == nil || r.Status == cityid.StatusRetired {
		return nil
	}
	var out []label.Candidate
	for _, m := range r.Policy.Members {
		for _, k := range m.Keys {
			if k.Roles&cityid.RoleAssert != 0 && k.Public.Algorithm() == keys.Ed25519.String() {
				out = append(out, label.Candidate{Holder: r.Code, Key: k.Public, NotBefore: k.From, NotAfter: k.Until, CompromisedSince: k.Compromised})
			}
		}
	}
	return out
}
