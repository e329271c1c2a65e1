// SPDX-License-Identifier: Apache-2.0

package api

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"unicode/utf8"

	"cityid"
	"cityid/internal/web"
)

// Datasets is the catalogue of shared data. Documents are returned as the
// catalogue holds them, and a page of the catalogue as a DCAT-AP document.
type Datasets interface {
	Datasets(ctx context.Context, q cityid.DatasetQuery) (*cityid.DatasetPage, error)
	Dataset(ctx context.Context, code cityid.Code) (*cityid.DatasetAnswer, error)
	DatasetDocument(ctx context.Context, code cityid.Code, part cityid.DatasetPart) ([]byte, error)
	CatalogueDocument(ctx context.Context, q cityid.CatalogueQuery) (*cityid.CatalogueDocument, error)
}

// LinkedDataType is the media type of JSON-LD, and SchemaType that of JSON Schema.
const (
	LinkedDataType = "application/ld+json"
	SchemaType     = "application/schema+json"
)

// Pages of datasets: the default and the largest; and the most values that one
// condition may have.
const (
	defaultDatasets, maxDatasets   = 20, 100
	defaultDocuments, maxDocuments = 200, 1000
	maxChosen                      = 50
)

var errNoCatalogue = web.Refuse(http.StatusNotFound, cityid.ErrUnsupported, "this node keeps no catalogue of shared data")

func (h *handler) listDatasets(header http.Header, r *http.Request) (any, error) {
	p, err := parseQuery(r, "q", "below", "city", "department", "industry", "theme", "class", "format", "freshness", "quality", "indicator", "state",
		"sort", "facets", "after", "limit")
	if err != nil {
		return nil, err
	}
	if h.datasets == nil {
		return nil, errNoCatalogue
	}
	q := cityid.DatasetQuery{
		Text: p.values.Get("q"), Below: p.code("below"), Cities: p.codes("city"), Departments: p.codes("department"),
		Industries: p.codes("industry"), Themes: p.list("theme", " "), Classes: names[cityid.DatasetClass](p, "class"),
		Formats: p.list("format", ","), Freshness: names[cityid.Freshness](p, "freshness"), Qualities: names[cityid.Quality](p, "quality"),
		Indicators: p.list("indicator", ","), States: names[cityid.DatasetState](p, "state"), NoFacets: !p.boolean("facets", true),
		After: p.values.Get("after"), Limit: int(p.number("limit", 1, maxDatasets, defaultDatasets)),
	}
	p.text("sort", &q.Sort)
	if len(q.Text) > maxAsk || !utf8.ValidString(q.Text) {
		p.refuse("q", "at most 200 octets of UTF-8")
	}
	if p.values.Has("after") && q.After == "" {
		p.refuse("after", "the cursor of the page before")
	}
	for name, n := range map[string]int{
		"city": len(q.Cities), "department": len(q.Departments), "industry": len(q.Industries), "theme": len(q.Themes), "class": len(q.Classes),
		"format": len(q.Formats), "freshness": len(q.Freshness), "quality": len(q.Qualities), "indicator": len(q.Indicators), "state": len(q.States),
	} {
		if n > maxChosen {
			p.refuse(name, "at most 50 values")
		}
	}
	if p.err != nil {
		return nil, p.err
	}
	ctx, cancel := context.WithTimeout(r.Context(), searchTime)
	defer cancel()
	page, err := h.datasets.Datasets(ctx, q)
	if err != nil {
		return nil, err
	}
	if page.Next != "" {
		linkNext(header, "/v1/datasets", p.values, "after", page.Next)
	}
	if page.Datasets == nil {
		page.Datasets = []cityid.DatasetEntry{}
	}
	return page, nil
}

// codes reads codes with commas between, each in any form a person may write.
func (q *query) codes(name string) []cityid.Code {
	if !q.values.Has(name) {
		return nil
	}
	var out []cityid.Code
	for s := range strings.SplitSeq(q.values.Get(name), ",") {
		c, err := parseCode(s)
		if err != nil {
			if q.err == nil {
				q.err = cityid.Errorf(cityid.ErrMalformed, "query: parameter %s: %v", name, err)
			}
			return nil
		}
		out = append(out, c)
	}
	return out
}

// list reads values with a separator between.
func (q *query) list(name, separator string) []string {
	if !q.values.Has(name) {
		return nil
	}
	out := strings.Split(q.values.Get(name), separator)
	if slices.ContainsFunc(out, func(s string) bool { return s == "" || len(s) > 1024 || !utf8.ValidString(s) }) {
		q.refuse(name, "values, none of them empty")
		return nil
	}
	return out
}

// documentTypes are the media types of the documents of a dataset.
var documentTypes = map[cityid.DatasetPart]string{
	cityid.PartDescription: LinkedDataType, cityid.PartSchema: SchemaType, cityid.PartPolicy: LinkedDataType,
}

// dataset answers with what the catalogue says about a dataset, or with one of its
// documents as its gateway serves it.
func (h *handler) dataset(w http.ResponseWriter, r *http.Request) error {
	p, err := parseQuery(r, "part")
	if err != nil {
		return err
	}
	code, err := parseCode(r.PathValue("code"))
	if err != nil {
		return err
	}
	var part cityid.DatasetPart
	if p.text("part", &part); p.err != nil {
		return p.err
	}
	if h.datasets == nil {
		return errNoCatalogue
	}
	if part == 0 {
		if _, err := web.Negotiate(r, web.JSONType); err != nil {
			return err
		}
		a, err := h.datasets.Dataset(r.Context(), code)
		if err != nil {
			return err
		}
		return web.WriteJSON(w, r, http.StatusOK, a)
	}
	mediaType, err := web.Negotiate(r, documentTypes[part], web.JSONType)
	if err != nil {
		return err
	}
	body, err := h.datasets.DatasetDocument(r.Context(), code, part)
	if err != nil {
		return err
	}
	w.Header().Add("Vary", "Accept")
	web.WriteBytes(w, r, http.StatusOK, mediaType, body)
	return nil
}

// catalogue answers with a page of the catalogue as a DCAT-AP document.
func (h *handler) catalogue(w http.ResponseWriter, r *http.Request) error {
	p, err := parseQuery(r, "city", "after", "limit")
	if err != nil {
		return err
	}
	mediaType, err := web.Negotiate(r, LinkedDataType, web.JSONType)
	if err != nil {
		return err
	}
	if h.datasets == nil {
		return errNoCatalogue
	}
	q := cityid.CatalogueQuery{City: p.code("city"), After: p.values.Get("after"), Limit: int(p.number("limit", 1, maxDocuments, defaultDocuments))}
	if p.values.Has("after") && q.After == "" {
		p.refuse("after", "the cursor of the page before")
	}
	if p.err != nil {
		return p.err
	}
	done, err := h.turn(r.Context())
	if err != nil {
		return err
	}
	defer done()
	page, err := h.datasets.CatalogueDocument(r.Context(), q)
	if err != nil {
		return err
	}
	if page.Next != "" {
		linkNext(w.Header(), "/v1/catalogue", p.values, "after", page.Next)
	}
	w.Header().Add("Vary", "Accept")
	web.WriteBytes(w, r, http.StatusOK, mediaType, page.Body)
	return nil
}
