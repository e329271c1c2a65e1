// SPDX-License-Identifier: Apache-2.0

package portal

import (
	"html/template"
	"net/http"

	"cityid"
	"cityid/label"
)

// homeData is what the first page shows.
type homeData struct {
	Example *exampleCard
	Try     []navItem // things to look up
	Counts  []countItem
	Map     *drawing
	Boards  []*board // dashboards that everybody may see
}

// exampleCard is one real thing, to show what a code is.
type exampleCard struct {
	Code   cityid.Code
	Name   string
	Kind   string
	Holder string
	Place  string
	Status tag
	QR     template.HTML
}

// countItem is how many codes of a kind there are.
type countItem struct {
	Text  string
	Count uint64
	URL   string
}

// home shows the first page.
func (p *portal) home(w http.ResponseWriter, r *http.Request, pg *page) error {
	data := &homeData{}
	var err error
	if data.Counts, err = pg.counts(cityid.Code{}); err != nil {
		return err
	}
	if err := pg.homeExample(data); err != nil {
		return err
	}
	if data.Map, err = pg.drawMap(chinaView, cityid.Code{}, []cityid.Kind{cityid.KindProvince, cityid.KindCity}); err != nil {
		return err
	}
	for _, b := range pg.openBoards() {
		if b.Public {
			data.Boards = append(data.Boards, b)
		}
	}
	pg.Title = pg.T("home.title")
	return pg.render(w, r, http.StatusOK, "home", data)
}

// shownKinds are the kinds that counts and facets name, in their order.
var shownKinds = []cityid.Kind{
	cityid.KindProvince, cityid.KindCity, cityid.KindCounty, cityid.KindDepartment, cityid.KindIndustry, cityid.KindOrganisation,
	cityid.KindObject, cityid.KindSource, cityid.KindDataset, cityid.KindClass,
}

// counts lists how many codes of each kind there are below a code.
func (pg *page) counts(below cityid.Code) ([]countItem, error) {
	all, err := pg.Index.Counts(pg.ctx, below)
	if err != nil {
		return nil, err
	}
	var out []countItem
	for _, k := range shownKinds {
		if all[k] == 0 {
			continue
		}
		u := pg.URL("/search?kind=", k.String())
		if !below.IsZero() {
			u += "&below=" + below.String()
		}
		out = append(out, countItem{pg.Kinds(k), all[k], u})
	}
	return out, nil
}

// homeExample fills in an object of a street, and a few codes to try.
func (pg *page) homeExample(data *homeData) error {
	found, err := pg.Index.Search(pg.ctx, cityid.SearchQuery{Kinds: []cityid.Kind{cityid.KindObject}, Statuses: []cityid.Status{cityid.StatusActive}, Limit: 1})
	if err != nil {
		return err
	}
	if len(found.Hits) > 0 {
		if data.Example, err = pg.example(found.Hits[0].Code); err != nil {
			return err
		}
		data.Try = append(data.Try, navItem{URL: pg.CodeURL(found.Hits[0].Code), Text: found.Hits[0].Code.String()})
	}
	for _, k := range []cityid.Kind{cityid.KindCity, cityid.KindDepartment} {
		found, err := pg.Index.Search(pg.ctx, cityid.SearchQuery{Kinds: []cityid.Kind{k}, Limit: 1})
		if err != nil {
			return err
		}
		for _, h := range found.Hits {
			data.Try = append(data.Try, navItem{URL: pg.CodeURL(h.Code), Text: pg.NameOf(h.Names, h.Code)})
		}
	}
	return nil
}

// example describes a code as a card. A code that has vanished from the state
// since the index saw it gives nil.
func (pg *page) example(code cityid.Code) (*exampleCard, error) {
	a, err := pg.Source.Record(pg.ctx, code)
	if err != nil {
		return nil, err
	}
	c := &exampleCard{Code: code, Name: pg.NameOf(a.Record.Content.Names, code), Kind: pg.Kind(a.Record.Kind), Status: pg.StatusTag(a.Record.Status)}
	crumbs, err := pg.ancestors(&a.Record)
	if err != nil {
		return nil, err
	}
	for _, x := range crumbs {
		switch x.Kind {
		case cityid.KindDepartment, cityid.KindOrganisation, cityid.KindIndustry:
			c.Holder = pg.NameOf(x.Content.Names, x.Code)
		case cityid.KindCity:
			c.Place = pg.NameOf(x.Content.Names, x.Code)
		}
	}
	c.QR, err = pg.symbol(code)
	return c, err
}

// symbol draws the label of a code.
func (pg *page) symbol(code cityid.Code) (template.HTML, error) {
	if pg.Public.IsZero() {
		return "", nil
	}
	s, err := label.FieldSymbol(pg.Public, code)
	if err != nil {
		return "", nil // too long for a label: the page does without
	}
	svg, err := s.SVG(label.SVGOptions{})
	return template.HTML(svg), err
}
