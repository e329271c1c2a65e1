// SPDX-License-Identifier: Apache-2.0

package catalogue

import (
	"slices"
	"strings"

	"cityid"
	"cityid/internal/dcat"
)

// judge checks a document whose digest is right. One that breaks its rules or
// contradicts the record is not taken.
func (f *fetched) judge(r *row) {
	var err error
	switch f.part {
	case cityid.PartDescription:
		f.described, err = describe(f.body, r)
	case cityid.PartSchema:
		_, err = dcat.CompileSchema(f.body)
	case cityid.PartPolicy:
		_, err = dcat.ParsePublishedPolicy(f.body)
	}
	if err != nil {
		f.body, f.etag = nil, ""
		f.fail(cityid.DatasetInvalid, "%s", messageOf(err))
	}
}

func messageOf(err error) string {
	m := err.Error()
	if e, ok := err.(*cityid.Error); ok {
		m = e.Message
	}
	if len(m) > 500 {
		m = strings.ToValidUTF8(m[:500], "") + "…"
	}
	return m
}

// described is what an entry takes from a description.
type described struct {
	iri                string
	title, description cityid.Names
	publisher          *cityid.NamedCode
	themes             []cityid.DatasetTheme
	place              *cityid.DatasetPlace
	formats            []string
	indicators         []string
	words              []string
	issued, modified   cityid.Time
	frequency          string
	points             int
	errors, warnings   int
}

// describe reads a published description of the row's dataset.
func describe(body []byte, r *row) (*described, error) {
	d, err := dcat.ParsePublished(body)
	if err != nil {
		return nil, err
	}
	if d.Identifier != r.Entry.Code {
		return nil, cityid.Errorf(cityid.ErrInvalid, "it describes %s", d.Identifier)
	}
	if err := agrees(d, r.Entry.Published); err != nil {
		return nil, err
	}
	x := &described{
		iri: d.ID.String(), title: d.Title, description: d.Description, issued: d.Issued, modified: d.Modified, frequency: d.Frequency,
		points: dcat.Rate(d).Points,
	}
	if p := d.Publisher; p != nil {
		x.publisher = &cityid.NamedCode{Code: p.Identifier, Names: p.Name}
	}
	for _, t := range d.Themes {
		x.themes = append(x.themes, cityid.DatasetTheme{ID: t.ID, Names: t.Label})
	}
	if p := d.Spatial; p != nil {
		x.place = &cityid.DatasetPlace{Code: p.Identifier, Point: pointOf(p)}
	}
	for i := range d.Distributions {
		if s := shortName(d.Distributions[i].Format); s != "" && !slices.Contains(x.formats, s) {
			x.formats = append(x.formats, s)
		}
	}
	for i := range d.Indicators {
		if id := d.Indicators[i].ID; !slices.Contains(x.indicators, id) {
			x.indicators = append(x.indicators, id)
		}
	}
	for _, k := range d.Keywords {
		x.words = append(x.words, k.Words...)
	}
	for _, f := range dcat.Check(d) {
		if f.Severity == dcat.Error {
			x.errors++
		} else {
			x.warnings++
		}
	}
	return x, nil
}

// agrees compares what a description says with what the record of its code says.
func agrees(d *dcat.Dataset, want *cityid.Dataset) error {
	var schema, policy cityid.Digest
	if s := d.Schema(); s != nil {
		schema = s.Checksum.Value
	}
	if p := d.Policy(); p != nil {
		b, err := p.Encode()
		if err != nil {
			return err
		}
		policy = dcat.Digest(b)
	}
	switch class := cityid.DatasetClass(d.Access); {
	case class != want.Class:
		return cityid.Errorf(cityid.ErrInvalid, "it says %s, and the registry says %s", class, want.Class)
	case schema != want.Schema:
		return cityid.Errorf(cityid.ErrInvalid, "it names another schema than the registry")
	case policy != want.Policy:
		return cityid.Errorf(cityid.ErrInvalid, "it holds another usage policy than the registry names")
	}
	return nil
}

// pointOf returns where a place is: its point, or the middle of its rectangle.
func pointOf(p *dcat.Place) *cityid.Location {
	switch {
	case p.Point != nil:
		l := cityid.Location{Lat: p.Point.Lat, Lon: p.Point.Lon}
		return &l
	case p.Box != nil:
		middle := func(a, b int32) int32 { return int32((int64(a) + int64(b)) / 2) }
		return &cityid.Location{Lat: middle(p.Box.South, p.Box.North), Lon: middle(p.Box.West, p.Box.East)}
	}
	return nil
}

// shortName returns the last part of an IRI, such as "JSON" of a file type; "" if
// it is no plain word.
func shortName(iri string) string {
	s := iri[strings.LastIndexAny(iri, "/#:")+1:]
	if s == "" || len(s) > 40 || strings.ContainsFunc(s, func(c rune) bool {
		return (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' && c != '_' && c != '.' && c != '+'
	}) {
		return ""
	}
	return s
}

// show writes into a row what its description says.
func (x *described) show(r *row) {
	e := &r.Entry
	e.Title, e.Description, e.Publisher, e.Themes, e.Place = x.title, x.description, x.publisher, x.themes, x.place
	e.Formats, e.Indicators, e.Issued, e.Modified, e.Frequency = x.formats, x.indicators, x.issued, x.modified, x.frequency
	e.Points, e.Quality, e.Errors, e.Warnings = x.points, cityid.QualityOf(x.points), x.errors, x.warnings
	e.Due = due(x.modified, x.frequency)
	r.IRI, r.Words = x.iri, x.words
}
