// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"time"

	"cityid"
	"cityid/client"
	"cityid/keys"
	"cityid/label"
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
			labelSourceCommand(),
			{
				name: "check", args: "SHEET.html", short: "read every label of a print sheet back, and hold the printed text against it",
				examples: []string{"cityid label check sheet.html"},
				setup:    labelCheck,
			},
			{name: "templates", short: "list the templates and materials, and what they ask for", setup: labelTemplates},
			{
				name: "scan", args: "IMAGE", short: "read a label from a photo, and check its certificate or source mark",
				examples: []string{
					"cityid label scan photo.jpg",
					"cityid label scan certificate.png --node https://id.example.cn --trust trust.json",
					"cityid label scan certificate.png --bundle department.cityid --trust trust.json",
					"cityid label scan mark.jpg --file report.pdf --trust trust.json",
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
