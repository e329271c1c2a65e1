// SPDX-License-Identifier: Apache-2.0

package api_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"cityid"
	"cityid/client"
	"cityid/internal/api"
	"cityid/internal/catalogue"
	"cityid/internal/web"
)

// A catalogue answers, and so does a client of a node that has one.
var (
	_ api.Datasets = (*catalogue.Catalogue)(nil)
	_ api.Datasets = (*client.Client)(nil)
)

// shelf answers with what it holds and keeps the question.
type shelf struct {
	page   cityid.DatasetPage
	answer cityid.DatasetAnswer
	parts  map[cityid.DatasetPart]string
	next   string
	fail   error

	asked cityid.DatasetQuery
	part  cityid.CatalogueQuery
}

func (s *shelf) Datasets(_ context.Context, q cityid.DatasetQuery) (*cityid.DatasetPage, error) {
	s.asked = q
	page := s.page
	return &page, s.fail
}

func (s *shelf) Dataset(_ context.Context, code cityid.Code) (*cityid.DatasetAnswer, error) {
	if code != s.answer.Dataset.Code {
		return nil, cityid.Errorf(cityid.ErrNotFound, "the catalogue has no dataset %s", code)
	}
	a := s.answer
	return &a, s.fail
}

func (s *shelf) DatasetDocument(_ context.Context, code cityid.Code, part cityid.DatasetPart) ([]byte, error) {
	if s.parts[part] == "" {
		return nil, cityid.Errorf(cityid.ErrNotFound, "no %s of %s", part, code)
	}
	return []byte(s.parts[part]), s.fail
}

func (s *shelf) CatalogueDocument(_ context.Context, q cityid.CatalogueQuery) (*cityid.CatalogueDocument, error) {
	s.part = q
	return &cityid.CatalogueDocument{Body: []byte(`{"@type":"Catalog"}`), Next: s.next}, s.fail
}

func newShelf() *shelf {
	en := func(s string) cityid.Names { return cityid.NamesOf(map[string]string{"en": s}) }
	who := &cityid.NamedCode{Code: city, Names: en("Shijiazhuang")}
	e := cityid.DatasetEntry{
		Code: lamp, Status: cityid.StatusActive, Revision: 3, Changed: cityid.Change{Chain: "test-1", Height: 3, Time: 4},
		Published: &cityid.Dataset{Class: cityid.DatasetConditional, Document: digest}, State: cityid.DatasetRefused, Detail: "another", Held: digest, Fetched: 5, Checked: 6,
		Gateway: "https://gateway.example", Title: en("Lamps"), Description: en("All lamps"), Publisher: who, City: who, Department: who, Industries: []cityid.NamedCode{*who},
		Themes: []cityid.DatasetTheme{{ID: "urn:x", Names: en("X")}}, Place: &cityid.DatasetPlace{Code: city, Point: &cityid.Location{Lat: 1, Lon: 2}},
		Formats: []string{"JSON"}, Indicators: []string{"37120:2018:8.1"}, Issued: 1, Modified: 2, Frequency: "urn:f", Freshness: cityid.FreshnessLate, Due: 9,
		Points: 77, Quality: cityid.QualityGood, Errors: 1, Warnings: 2,
	}
	return &shelf{
		page: cityid.DatasetPage{
			Datasets: []cityid.DatasetEntry{e}, Total: 12, Facets: []cityid.DatasetFacet{{Name: "class", Values: []cityid.FacetValue{{Value: "open", Names: en("o"), Count: 4}}, More: 1}},
			Meanings: []cityid.DatasetMeaning{{Scheme: "dept", Value: "07", Code: *who, Holds: true, Now: []cityid.NamedCode{*who}}}, Next: "abc", Partial: true, AsOf: asOf,
		},
		answer: cityid.DatasetAnswer{
			Dataset: e, Documents: []cityid.DatasetDocument{{Part: cityid.PartSchema, Digest: digest, State: cityid.DatasetWaiting}},
			Terms:      []cityid.DatasetTerm{{ID: "requests", Enforced: true, Words: en("many")}},
			Dimensions: []cityid.DatasetDimension{{ID: "findability", Points: 1, Of: 2, Words: en("f"), Parts: []cityid.DatasetReason{{ID: "a", Points: 1, Of: 2, Words: en("a")}}}},
			Findings:   []cityid.DatasetFinding{{ID: "x", Severity: "error", Path: "/title", Words: en("x")}},
			Crosswalk:  []cityid.DatasetCrosswalk{{Code: city, Kind: cityid.KindCity, Aliases: []cityid.Alias{{Scheme: "gb2260", Value: "130100"}}}}, AsOf: asOf,
		},
		parts: map[cityid.DatasetPart]string{cityid.PartDescription: `{"@id":"x"}`, cityid.PartSchema: `true`},
	}
}

func TestDatasets(t *testing.T) {
	s := newShelf()
	h := web.Wrap(api.Handler(api.Config{Source: newSource(), Data: s}), web.WrapConfig{})
	server := httptest.NewServer(h)
	defer server.Close()
	c, err := client.New(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	other := cityid.MustParse("MA.156.1301.02")
	for _, q := range []cityid.DatasetQuery{
		{Limit: 20},
		{
			Text: "路灯 & +%?#", Below: city, Cities: []cityid.Code{city, other}, Departments: []cityid.Code{other}, Industries: []cityid.Code{other, city},
			Themes: []string{"urn:x:a,b", "http://x.example/y"}, Classes: []cityid.DatasetClass{cityid.DatasetOpen, cityid.DatasetClosed}, Formats: []string{"JSON", "CSV"},
			Freshness: []cityid.Freshness{cityid.FreshnessLate, cityid.FreshnessLive}, Qualities: []cityid.Quality{cityid.QualityPoor}, Indicators: []string{"37120:2018:8.1", "b"},
			States: []cityid.DatasetState{cityid.DatasetNoGateway}, Sort: cityid.SortModified, NoFacets: true, After: "a_-", Limit: 100,
		},
	} {
		got, err := c.Datasets(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(&s.page, got, compare); diff != "" {
			t.Errorf("catalogue (-) and client (+) differ:\n%s", diff)
		}
		if diff := cmp.Diff(q, s.asked, compare); diff != "" {
			t.Errorf("asked (-) and understood (+) differ:\n%s", diff)
		}
	}
	w := call(h, http.MethodGet, "/v1/datasets?q=x&limit=1", "")
	if link := w.Header().Get("Link"); link != `</v1/datasets?after=abc&limit=1&q=x>; rel="next"` {
		t.Errorf("Link %s", link)
	}
	for _, query := range []string{
		"x=1", "q=a&q=b", "q=" + strings.Repeat("a", 201), "q=%ff", "class=", "class=secret", "class=open,", "freshness=old", "quality=best", "state=lost", "sort=size",
		"city=", "city=x!", "city=MA.156,", "below=x!", "theme=", "theme=a%20%20b", "format=a,,b", "facets=maybe", "after=", "limit=0", "limit=101",
		"format=" + strings.Repeat("a,", 50) + "a",
	} {
		if code := problem(t, call(h, http.MethodGet, "/v1/datasets?"+query, "")); code != "malformed" {
			t.Errorf("%s: %s", query, code)
		}
	}
	a, err := c.Dataset(t.Context(), lamp)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(&s.answer, a, compare); diff != "" {
		t.Errorf("catalogue (-) and client (+) differ:\n%s", diff)
	}
	if _, err := c.Dataset(t.Context(), city); !errors.Is(err, cityid.ErrNotFound) {
		t.Errorf("no dataset: %v", err)
	}
}

func TestDatasetDocuments(t *testing.T) {
	s := newShelf()
	h := web.Wrap(api.Handler(api.Config{Source: newSource(), Data: s}), web.WrapConfig{})
	server := httptest.NewServer(h)
	defer server.Close()
	c, err := client.New(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	for part, want := range s.parts {
		got, err := c.DatasetDocument(t.Context(), lamp, part)
		if err != nil || string(got) != want {
			t.Errorf("%s: %v %s", part, err, got)
		}
	}
	if _, err := c.DatasetDocument(t.Context(), lamp, cityid.PartPolicy); !errors.Is(err, cityid.ErrNotFound) {
		t.Errorf("a policy that is not there: %v", err)
	}
	if w := call(h, http.MethodGet, "/v1/datasets/"+lamp.String()+"?part=description", ""); w.Header().Get("Content-Type") != "application/ld+json" || w.Header().Get("ETag") == "" {
		t.Errorf("description: %v", w.Header())
	}
	if code := problem(t, call(h, http.MethodGet, "/v1/datasets/"+lamp.String()+"?part=all", "")); code != "malformed" {
		t.Errorf("part=all: %s", code)
	}
	s.next = "n_-x"
	q := cityid.CatalogueQuery{City: city, After: "a", Limit: 7}
	page, err := c.CatalogueDocument(t.Context(), q)
	if err != nil || string(page.Body) != `{"@type":"Catalog"}` || page.Next != "n_-x" || s.part != q {
		t.Errorf("%v %+v, asked %+v", err, page, s.part)
	}
	s.next = ""
	if page, err = c.CatalogueDocument(t.Context(), cityid.CatalogueQuery{}); err != nil || page.Next != "" || s.part.Limit != 200 {
		t.Errorf("%v %+v, asked %+v", err, page, s.part)
	}
	for _, query := range []string{"city=", "city=x!", "limit=1001", "limit=0", "after=", "page=2"} {
		if code := problem(t, call(h, http.MethodGet, "/v1/catalogue?"+query, "")); code != "malformed" {
			t.Errorf("%s: %s", query, code)
		}
	}
}

func TestDatasetsWithoutCatalogue(t *testing.T) {
	h := web.Wrap(api.Handler(api.Config{Source: newSource()}), web.WrapConfig{})
	for _, path := range []string{"/v1/datasets", "/v1/datasets/" + lamp.String(), "/v1/catalogue"} {
		w := call(h, http.MethodGet, path, "")
		if code := problem(t, w); w.Code != http.StatusNotFound || code != "unsupported" {
			t.Errorf("%s: status %d, %s", path, w.Code, code)
		}
	}
}
