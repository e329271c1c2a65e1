// SPDX-License-Identifier: Apache-2.0

package catalogue

import (
	"context"
	"slices"
	"strings"

	"cityid"
	"cityid/internal/index"
)

// retarget takes over what the registry says about a dataset.
func (c *Catalogue) retarget(ctx context.Context, b *batch, r *resolver, t *target) (change, error) {
	before, err := b.byCode(t.record.Code)
	if err != nil {
		return change{}, err
	}
	after := &row{}
	if before != nil {
		*after = *before
		after.Parts = slices.Clone(before.Parts)
	}
	e := &after.Entry
	rec := t.record
	e.Code, e.Status, e.Revision, e.Changed = rec.Code, rec.Status, rec.Revision, rec.Changed
	e.City, e.Department = t.city, t.department
	after.Above, after.Over = t.above, t.industries
	now := c.now()
	if !slices.Equal(after.Gateways, c.usable(t.gateways)) {
		after.Gateways, after.Failing, after.Next = c.usable(t.gateways), 0, now
		for i := range after.Parts {
			after.Parts[i].ETag = ""
		}
	}
	if err := after.publish(b, rec.Content.Dataset, now); err != nil {
		return change{}, err
	}
	if e.Held.IsZero() {
		e.Title = rec.Content.Names
	}
	if err := c.compose(ctx, r, after); err != nil {
		return change{}, err
	}
	after.settle()
	if after.Next != 0 && (len(after.Gateways) == 0 || len(after.Parts) == 0) {
		after.Next = 0
	}
	return change{row: after}, b.putChanged(after, before)
}

func (c *Catalogue) now() cityid.Time { return unix(c.o.Now()) }

// usable returns those of the addresses that may be asked.
func (c *Catalogue) usable(hrefs []string) []string {
	var out []string
	for _, href := range hrefs {
		if a, err := gatewayAddress(href, c.o.Private); err == nil && !slices.Contains(out, a) {
			out = append(out, a)
		}
	}
	return out
}

// publish takes over which documents the record names. What changed has to be
// fetched, and what is no longer named is let go.
func (r *row) publish(b *batch, d *cityid.Dataset, now cityid.Time) error {
	old := r.Entry.Published
	if d != nil && old != nil && *d == *old {
		return nil
	}
	r.Entry.Published = d
	want := map[cityid.DatasetPart]cityid.Digest{}
	if d != nil {
		want[cityid.PartDescription], want[cityid.PartSchema], want[cityid.PartPolicy] = d.Document, d.Schema, d.Policy
		r.Failing, r.Next = 0, now
	}
	var parts []part
	for kind := cityid.PartDescription; kind.Valid(); kind++ {
		p := r.part(kind)
		if want[kind].IsZero() {
			if p == nil {
				continue
			}
			if err := b.hold(r.ID, kind, cityid.Digest{}, nil); err != nil {
				return err
			}
			continue
		}
		if p == nil {
			p = &part{DatasetDocument: cityid.DatasetDocument{Part: kind}}
		}
		// The description has to agree with the record about the other documents.
		if p.Digest != want[kind] || kind == cityid.PartDescription {
			p.Digest, p.State, p.Detail, p.ETag = want[kind], cityid.DatasetWaiting, "", ""
		}
		parts = append(parts, *p)
	}
	r.Parts = parts
	if d == nil {
		r.forget()
	}
	return nil
}

// forget takes away what a description said.
func (r *row) forget() {
	e := &r.Entry
	r.Entry = cityid.DatasetEntry{
		Code: e.Code, Status: e.Status, Revision: e.Revision, Changed: e.Changed, Published: e.Published, City: e.City, Department: e.Department,
	}
	r.IRI, r.Words, r.Next = "", nil, 0
}

// compose finds out by which codes the dataset is found, its industries, and what
// the registry says about codes that the description names.
func (c *Catalogue) compose(ctx context.Context, r *resolver, x *row) error {
	e := &x.Entry
	if err := c.nameCodes(ctx, r, e); err != nil {
		return err
	}
	e.Industries = slices.Clone(x.Over)
	for _, t := range e.Themes {
		codes, err := r.industriesOf(ctx, t.ID)
		if err != nil {
			return err
		}
		for _, code := range codes {
			if slices.ContainsFunc(e.Industries, func(n cityid.NamedCode) bool { return n.Code == code }) {
				continue
			}
			n, err := r.named(ctx, code)
			if err != nil {
				return err
			}
			e.Industries = append(e.Industries, n)
		}
	}
	slices.SortFunc(e.Industries, func(a, b cityid.NamedCode) int { return a.Code.Compare(b.Code) })
	line := slices.Clone(x.Above)
	for _, n := range e.Industries {
		line = append(line, n.Code)
	}
	if e.Publisher != nil && x.owns(e.Publisher.Code) {
		line = append(line, e.Publisher.Code)
	}
	slices.SortFunc(line, cityid.Code.Compare)
	x.Line = slices.Compact(line)
	return nil
}

// nameCodes gives the publisher and the place of an entry the names that the
// registry has, and the place its location there if the description has none.
func (c *Catalogue) nameCodes(ctx context.Context, r *resolver, e *cityid.DatasetEntry) error {
	if e.Publisher != nil {
		rec, err := r.record(ctx, e.Publisher.Code)
		if err != nil {
			return err
		}
		if rec != nil && len(rec.Content.Names) > 0 {
			e.Publisher = &cityid.NamedCode{Code: e.Publisher.Code, Names: rec.Content.Names}
		}
	}
	if e.Place != nil {
		rec, err := r.record(ctx, e.Place.Code)
		if err != nil {
			return err
		}
		place := *e.Place
		if e.Place = &place; rec != nil {
			if place.Names = rec.Content.Names; place.Point == nil {
				place.Point = rec.Content.Location
			}
		}
	}
	return nil
}

// owns reports whether a code belongs to the city, or without one the
// organisation, that the dataset belongs to.
func (r *row) owns(code cityid.Code) bool {
	top := r.Entry.Code
	switch {
	case r.Entry.City != nil:
		top = r.Entry.City.Code
	case r.Entry.Department != nil:
		top = r.Entry.Department.Code
	}
	return code == top || top.Covers(code) || slices.Contains(r.Above, code)
}

// settle works out the state of the dataset from those of its documents.
func (r *row) settle() {
	e := &r.Entry
	e.State, e.Detail, e.Gateway = cityid.DatasetCurrent, "", ""
	if len(r.Gateways) > 0 {
		e.Gateway = r.Gateways[0]
	}
	e.Held, e.Fetched, e.Checked = cityid.Digest{}, 0, 0
	if p := r.part(cityid.PartDescription); p != nil {
		e.Held, e.Fetched = p.Held, p.Fetched
	}
	for i := range r.Parts {
		p := &r.Parts[i]
		e.Checked = max(e.Checked, p.Checked)
		if e.State == cityid.DatasetCurrent && p.State != cityid.DatasetCurrent {
			e.State, e.Detail = p.State, p.Part.String()+": "+p.Detail
			if p.Detail == "" {
				e.Detail = ""
			}
		}
	}
	switch {
	case e.Published == nil:
		e.State, e.Detail = cityid.DatasetUndescribed, ""
	case len(r.Gateways) == 0:
		e.State, e.Detail = cityid.DatasetNoGateway, "neither the dataset's record nor one above it names a gateway that may be asked"
	}
}

// texts returns what the dataset is found by: titles, words, and the rest.
func (r *row) texts() *[3]string {
	e := &r.Entry
	var words []cityid.Names
	add := func(n *cityid.NamedCode) {
		if n != nil {
			words = append(words, n.Names)
		}
	}
	add(e.City)
	add(e.Department)
	if e.Publisher != nil && r.owns(e.Publisher.Code) {
		add(e.Publisher)
	}
	for i := range e.Industries {
		add(&e.Industries[i])
	}
	for _, t := range e.Themes {
		words = append(words, t.Names, themeNames(t.ID))
	}
	if e.Place != nil {
		words = append(words, e.Place.Names)
	}
	var w textBuilder
	for _, n := range words {
		w.names(n)
	}
	for _, s := range slices.Concat(r.Words, e.Formats, e.Indicators) {
		w.add(s)
	}
	var title, rest textBuilder
	title.names(e.Title)
	rest.names(e.Description)
	return &[3]string{title.String(), w.String(), rest.String()}
}

// putChanged writes a row, and its texts if they changed.
func (b *batch) putChanged(after, before *row) error {
	texts := after.texts()
	if before != nil && *before.texts() == *texts {
		texts = nil
	}
	return b.put(after, before, texts)
}

// A textBuilder writes text for the full-text table: words with blanks between,
// the characters of dense scripts one by one, and between two texts or runs a
// mark over which no phrase reaches.
type textBuilder struct{ strings.Builder }

// edge is a character of the private use area, which no folded text has.
const edge = "\uE000"

const maxWord = 40 // runes of a word that count

func (w *textBuilder) names(n cityid.Names) {
	for _, x := range n {
		w.add(x.Text)
	}
}

func (w *textBuilder) add(s string) {
	for _, t := range index.Terms(index.Fold(s)) {
		if t.Dense {
			w.WriteString(edge)
			for _, c := range t.Text {
				w.WriteByte(' ')
				w.WriteString(string(c))
			}
		} else {
			w.WriteString(cutWord(t.Text))
		}
		w.WriteByte(' ')
	}
}

func cutWord(s string) string {
	n := 0
	for i := range s {
		if n++; n > maxWord {
			return s[:i]
		}
	}
	return s
}

// match returns the expression of the full-text table for the words of a text
// in some columns; "" if it has none.
func match(text, columns string) string {
	var parts []string
	for _, t := range index.Terms(index.Fold(text)) {
		if len(parts) == maxTerms {
			break
		}
		if !t.Dense {
			parts = append(parts, `"`+cutWord(t.Text)+`" *`)
			continue
		}
		var b strings.Builder
		for i, c := range t.Text {
			if i > 0 {
				b.WriteByte(' ')
			}
			b.WriteString(string(c))
		}
		parts = append(parts, `"`+b.String()+`"`)
	}
	if len(parts) == 0 {
		return ""
	}
	return columns + " : (" + strings.Join(parts, " AND ") + ")"
}

const maxTerms = 24 // words of a text that count
