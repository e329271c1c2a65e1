// SPDX-License-Identifier: Apache-2.0

package catalogue

import (
	"context"
	"slices"

	"cityid"
	"cityid/internal/dcat"
)

// Dataset returns all that the catalogue says about a dataset; the error is
// [cityid.ErrNotFound] if it has none with this code, also if it is retired.
func (c *Catalogue) Dataset(ctx context.Context, code cityid.Code) (*cityid.DatasetAnswer, error) {
	var out *cityid.DatasetAnswer
	err := c.use(func(s *store, _ *table, _ *plan) error {
		r, err := s.byCode(ctx, code)
		if err != nil {
			return err
		}
		if r == nil {
			return errNoDataset(code)
		}
		at, err := s.meta(ctx)
		if err != nil {
			return err
		}
		out = &cityid.DatasetAnswer{Dataset: c.entry(r, c.now()), AsOf: at.AsOf}
		for i := range r.Parts {
			out.Documents = append(out.Documents, r.Parts[i].DatasetDocument)
		}
		if r.Entry.Held.IsZero() {
			return nil
		}
		body, err := s.document(ctx, r.Entry.Held)
		if err != nil || body == nil {
			return err
		}
		return explainDescription(out, body)
	})
	if err != nil {
		return nil, c.explain(ctx, err)
	}
	return out, c.crosswalk(ctx, out)
}

func errNoDataset(code cityid.Code) error {
	return cityid.Errorf(cityid.ErrNotFound, "the catalogue has no dataset %s", code)
}

// crosswalk adds the identifiers that departments and industries have in other
// systems.
func (c *Catalogue) crosswalk(ctx context.Context, out *cityid.DatasetAnswer) error {
	e := &out.Dataset
	codes := slices.Clone(e.Industries)
	for _, n := range []*cityid.NamedCode{e.Department, e.City} {
		if n != nil {
			codes = append(codes, *n)
		}
	}
	r := newResolver(c.source)
	for _, n := range codes {
		rec, err := r.record(ctx, n.Code)
		if err != nil {
			return err
		}
		if rec != nil && len(rec.Aliases) > 0 {
			out.Crosswalk = append(out.Crosswalk, cityid.DatasetCrosswalk{Code: n.Code, Kind: rec.Kind, Names: rec.Content.Names, Aliases: rec.Aliases})
		}
	}
	return nil
}

// DatasetDocument returns the bytes of a document of a dataset that the catalogue
// holds, and their digest. The error is [cityid.ErrNotFound] if it holds none.
func (c *Catalogue) DatasetDocument(ctx context.Context, code cityid.Code, kind cityid.DatasetPart) ([]byte, error) {
	var out []byte
	err := c.use(func(s *store, _ *table, _ *plan) error {
		r, err := s.byCode(ctx, code)
		if err != nil {
			return err
		}
		if r == nil {
			return errNoDataset(code)
		}
		p := r.part(kind)
		if p == nil {
			return cityid.Errorf(cityid.ErrNotFound, "the record of %s names no %s", code, kind)
		}
		if p.Held.IsZero() {
			return cityid.Errorf(cityid.ErrNotFound, "the catalogue does not hold the %s of %s: %s", kind, code, p.State)
		}
		out, err = s.document(ctx, p.Held)
		return err
	})
	return out, c.explain(ctx, err)
}

// explainDescription adds what the description says and is worth.
func explainDescription(out *cityid.DatasetAnswer, body []byte) error {
	d, err := dcat.ParsePublished(body)
	if err != nil {
		return err
	}
	out.Dimensions, out.Findings, out.Terms = Judge(d)
	if p, e := d.Publisher, &out.Dataset; p != nil && e.City != nil && p.Identifier != e.City.Code && !e.City.Code.Covers(p.Identifier) {
		out.Findings = append(out.Findings, cityid.DatasetFinding{
			ID: "publisher-elsewhere", Severity: string(dcat.Warning), Path: "/publisher",
			Words: cityid.NamesOf(map[string]string{"zh": "说明中的发布单位不在该数据集所属的城市。", "en": "The publisher does not belong to the city whose dataset it is."}),
		})
	}
	return nil
}

// Judge returns the points of a description with their reasons, what is wrong with
// it, and the terms of its usage policy.
func Judge(d *dcat.Dataset) (dimensions []cityid.DatasetDimension, findings []cityid.DatasetFinding, terms []cityid.DatasetTerm) {
	for _, x := range dcat.Rate(d).Dimensions {
		out := cityid.DatasetDimension{ID: x.ID, Points: x.Points, Of: x.Of, Words: namesOf(x.Words)}
		for _, p := range x.Parts {
			out.Parts = append(out.Parts, cityid.DatasetReason{ID: p.ID, Points: p.Points, Of: p.Of, Words: namesOf(p.Words)})
		}
		dimensions = append(dimensions, out)
	}
	for _, f := range dcat.Check(d) {
		findings = append(findings, cityid.DatasetFinding{ID: f.ID, Severity: string(f.Severity), Path: f.Path, Words: namesOf(f.Words)})
	}
	for _, t := range d.Policy().Terms() {
		terms = append(terms, cityid.DatasetTerm{ID: t.ID, Enforced: t.Enforced, Words: namesOf(t.Words)})
	}
	return dimensions, findings, terms
}

func namesOf(w dcat.Words) cityid.Names {
	return cityid.NamesOf(map[string]string{"zh": w.ZH, "en": w.EN})
}
