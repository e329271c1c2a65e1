// SPDX-License-Identifier: Apache-2.0

package portal

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"

	"cityid"
	"cityid/internal/describe"
)

// Catalogue is the catalogue of shared data. Its methods may be called from several
// goroutines at once; the callers own what they return. Refusals have a
// [cityid.ErrorCode] in their chain.
type Catalogue interface {
	Datasets(ctx context.Context, q cityid.DatasetQuery) (*cityid.DatasetPage, error)
	Dataset(ctx context.Context, code cityid.Code) (*cityid.DatasetAnswer, error)
	DatasetDocument(ctx context.Context, code cityid.Code, part cityid.DatasetPart) ([]byte, error)
}

// dataScreens are the pages of the catalogue.
func (p *portal) dataScreens() map[string]endpoint {
	return map[string]endpoint{
		"GET /data":           p.dataList,
		"GET /data/{code...}": p.dataset,
	}
}

const (
	datasetsShown = 20
	facetShown    = 8 // values of a facet before the others are folded away
)

// dataList is what the list of datasets shows.
type dataListData struct {
	Text     string
	Hidden   []hiddenField // conditions that a new text keeps
	Chosen   []navItem     // conditions, each with the address without it
	Clear    string
	Facets   []facetView
	Sorts    []navItem
	Meanings []meaningView
	Hits     []datasetView
	Total    int
	Next     string
	Partial  bool
	AsOf     cityid.AsOf
	City     cityid.Code // the one city chosen, whose catalogue can be had by itself
}

type hiddenField struct{ Name, Value string }

// facetView is a facet with the values to choose.
type facetView struct {
	ID, Title string
	Open      bool // something of it is chosen
	Values    []facetItem
	Folded    []facetItem
	More      int // values that are not listed at all
}

type facetItem struct {
	URL, Text string
	Count     int
	Current   bool
}

// meaningView says what the text stands for.
type meaningView struct {
	Scheme string // title of the scheme; "": it is a code
	Value  string
	What   place
	Now    []place
	Ended  bool
}

// datasetView is a dataset as lists show it.
type datasetView struct {
	cityid.DatasetEntry
	Name, Other string
	About       string // beginning of the description
	Where       []place
	Class       *tag
	State       *tag
	Fresh       *tag
	Quality     string
	Topics      []string
}

// dataFacets are the conditions in the order in which they are shown, with the
// query parameter of each.
var dataFacets = []string{"city", "department", "theme", "industry", "class", "format", "freshness", "quality", "indicator", "state"}

// dataList shows what is shared, and narrows it.
func (p *portal) dataList(w http.ResponseWriter, r *http.Request, pg *page) error {
	if p.Catalogue == nil {
		return errNoPage
	}
	q, err := dataQuery(r.URL.Query())
	if err != nil {
		return err
	}
	got, err := p.Catalogue.Datasets(r.Context(), *q)
	if err != nil {
		return err
	}
	data := &dataListData{Text: q.Text, Total: got.Total, Partial: got.Partial, AsOf: got.AsOf, Clear: pg.URL("/data")}
	for i := range got.Datasets {
		data.Hits = append(data.Hits, pg.datasetView(&got.Datasets[i]))
	}
	if got.Next != "" {
		data.Next = address(r, "after", got.Next)
	}
	if len(q.Cities) == 1 {
		data.City = q.Cities[0]
	}
	pg.dataFacets(r, got, data)
	pg.dataSorts(r, q, data)
	if err := pg.dataMeanings(got, data); err != nil {
		return err
	}
	pg.Title = pg.T("data.title")
	if q.Text != "" {
		pg.Title = pg.T("data.title.for", q.Text)
	}
	return pg.render(w, r, http.StatusOK, "data", data)
}

// dataQuery reads the conditions from an address, where several values of one
// stand as several parameters.
func dataQuery(v url.Values) (*cityid.DatasetQuery, error) {
	q := &cityid.DatasetQuery{Text: strings.TrimSpace(v.Get("q")), After: v.Get("after"), Limit: datasetsShown}
	if len(q.Text) > 200 {
		q.Text = strings.TrimSpace(strings.ToValidUTF8(q.Text[:200], ""))
	}
	if !utf8.ValidString(q.Text) {
		return nil, cityid.Errorf(cityid.ErrMalformed, "the text to look for is not UTF-8")
	}
	var err error
	for name, codes := range map[string]*[]cityid.Code{"city": &q.Cities, "department": &q.Departments, "industry": &q.Industries} {
		for _, s := range given(v, name) {
			code, e := cityid.Parse(s)
			err = errors.Join(err, e)
			*codes = append(*codes, code)
		}
	}
	q.Themes, q.Formats, q.Indicators = given(v, "theme"), given(v, "format"), given(v, "indicator")
	for _, e := range []error{
		parseNames(v, "class", &q.Classes), parseNames(v, "freshness", &q.Freshness), parseNames(v, "quality", &q.Qualities), parseNames(v, "state", &q.States),
	} {
		err = errors.Join(err, e)
	}
	if s := v.Get("below"); s != "" {
		var e error
		q.Below, e = cityid.Parse(s)
		err = errors.Join(err, e)
	}
	if s := v.Get("sort"); s != "" {
		err = errors.Join(err, q.Sort.UnmarshalText([]byte(s)))
	}
	if err != nil {
		return nil, cityid.Errorf(cityid.ErrMalformed, "the address has a condition that can not be read: %v", err)
	}
	return q, nil
}

// given returns the values of a parameter that are not empty.
func given(v url.Values, name string) []string {
	return slices.DeleteFunc(slices.Clone(v[name]), func(s string) bool { return s == "" })
}

// parseNames reads the values of a parameter.
func parseNames[T any, P interface {
	*T
	UnmarshalText([]byte) error
}](v url.Values, name string, out *[]T) error {
	for _, s := range given(v, name) {
		var x T
		if err := P(&x).UnmarshalText([]byte(s)); err != nil {
			return err
		}
		*out = append(*out, x)
	}
	return nil
}

// toggled returns the page's address with a value of a condition added or taken
// away, at the first page.
func toggled(r *http.Request, name, value string) (to string, had bool) {
	v := r.URL.Query()
	v.Del("after")
	list := given(v, name)
	had = slices.Contains(list, value)
	if list = slices.DeleteFunc(list, func(s string) bool { return s == value }); !had {
		list = append(list, value)
	}
	if v[name] = list; len(list) == 0 {
		v.Del(name)
	}
	if len(v) == 0 {
		return r.URL.Path, had
	}
	return r.URL.Path + "?" + v.Encode(), had
}

// dataFacets lists the ways to narrow the list, and what is chosen.
func (pg *page) dataFacets(r *http.Request, got *cityid.DatasetPage, data *dataListData) {
	for _, name := range dataFacets {
		i := slices.IndexFunc(got.Facets, func(f cityid.DatasetFacet) bool { return f.Name == name })
		if i < 0 {
			continue
		}
		f := &got.Facets[i]
		view := facetView{ID: name, Title: pg.T("data.facet." + name), More: f.More}
		for _, v := range f.Values {
			item := facetItem{Text: pg.facetValue(name, v), Count: v.Count}
			item.URL, item.Current = toggled(r, name, v.Value)
			if item.Current {
				view.Open = true
				data.Chosen = append(data.Chosen, navItem{URL: item.URL, Text: view.Title + pg.T("data.colon") + item.Text})
			}
			if len(view.Values) < facetShown || item.Current {
				view.Values = append(view.Values, item)
			} else {
				view.Folded = append(view.Folded, item)
			}
		}
		// A state is of interest only where not all are current.
		if len(view.Values) > 0 && !(name == "state" && len(f.Values) == 1 && f.Values[0].Value == cityid.DatasetCurrent.String() && !view.Open) {
			data.Facets = append(data.Facets, view)
		}
	}
	for _, name := range append(dataFacets, "below", "sort") {
		for _, value := range given(r.URL.Query(), name) {
			data.Hidden = append(data.Hidden, hiddenField{name, value})
		}
	}
	if s := r.URL.Query().Get("below"); s != "" {
		to, _ := toggled(r, "below", s)
		data.Chosen = append(data.Chosen, navItem{URL: to, Text: pg.T("data.below") + pg.T("data.colon") + s})
	}
}

// facetValue names a value of a facet.
func (pg *page) facetValue(facet string, v cityid.FacetValue) string {
	switch facet {
	case "class":
		return capital(pg.className(v.Value))
	case "freshness", "quality", "state":
		return pg.T("data." + facet + "." + v.Value)
	case "indicator":
		return pg.Indicator(v.Value)
	}
	if n := v.Names.Get(pg.Lang); n != "" {
		return n
	}
	return v.Value
}

func (pg *page) className(name string) string {
	var c cityid.DatasetClass
	if err := c.UnmarshalText([]byte(name)); err != nil {
		return name
	}
	return describe.DatasetClass(pg.Lang, c)
}

// Indicator writes an indicator such as 37120:2018:8.1 as people cite it.
func (pg *page) Indicator(id string) string {
	if standard, rest, ok := strings.Cut(id, ":"); ok {
		if year, number, ok := strings.Cut(rest, ":"); ok {
			return "ISO " + standard + ":" + year + " " + number
		}
	}
	return id
}

// dataSorts lists the orders.
func (pg *page) dataSorts(r *http.Request, q *cityid.DatasetQuery, data *dataListData) {
	now := q.Sort
	if now == 0 {
		if now = cityid.SortQuality; q.Text != "" {
			now = cityid.SortRelevance
		}
	}
	for s := cityid.SortRelevance; s.Valid(); s++ {
		if s == cityid.SortRelevance && q.Text == "" {
			continue
		}
		data.Sorts = append(data.Sorts, navItem{URL: address(r, "sort", s.String(), "after", ""), Text: pg.T("data.sort." + s.String()), Current: s == now})
	}
}

// dataMeanings says what the text stands for in the registry.
func (pg *page) dataMeanings(got *cityid.DatasetPage, data *dataListData) error {
	if len(got.Meanings) == 0 {
		return nil
	}
	settings, err := pg.Source.Settings(pg.ctx)
	if err != nil {
		return err
	}
	for _, m := range got.Meanings {
		v := meaningView{Value: m.Value, What: pg.named(m.Code), Ended: !m.Holds}
		if m.Scheme != "" {
			v.Scheme = pg.schemeTitle(settings, m.Scheme)
		}
		for _, n := range m.Now {
			v.Now = append(v.Now, pg.named(n))
		}
		data.Meanings = append(data.Meanings, v)
	}
	return nil
}

// named is a code with its page.
func (pg *page) named(n cityid.NamedCode) place {
	return place{Code: n.Code, Name: pg.NameOf(n.Names, n.Code), URL: pg.CodeURL(n.Code)}
}

// datasetView prepares what lists and the page of a dataset show of it.
func (pg *page) datasetView(e *cityid.DatasetEntry) datasetView {
	v := datasetView{DatasetEntry: *e, Name: pg.NameOf(e.Title, e.Code), Other: pg.OtherName(e.Title), About: shortened(e.Description.Get(pg.Lang), 160)}
	for _, n := range []*cityid.NamedCode{e.City, e.Department} {
		if n != nil {
			v.Where = append(v.Where, pg.named(*n))
		}
	}
	if e.Published != nil {
		v.Class = pg.classTag(e.Published.Class)
	}
	if e.State != cityid.DatasetCurrent {
		v.State = pg.stateTag(e.State)
	}
	if e.Freshness != 0 {
		v.Fresh = pg.freshTag(e.Freshness)
	}
	if e.Quality != 0 {
		v.Quality = pg.T("data.points", e.Points)
	}
	for _, t := range e.Themes {
		v.Topics = append(v.Topics, pg.themeName(t))
	}
	return v
}

func (pg *page) themeName(t cityid.DatasetTheme) string {
	if n := t.Names.Get(pg.Lang); n != "" {
		return n
	}
	return t.ID
}

func (pg *page) classTag(c cityid.DatasetClass) *tag {
	t := &tag{Text: capital(describe.DatasetClass(pg.Lang, c))}
	switch c {
	case cityid.DatasetOpen:
		t.Class, t.Icon = "good", "○"
	case cityid.DatasetConditional:
		t.Class, t.Icon = "info", "◐"
	default:
		t.Class, t.Icon = "plain", "●"
	}
	return t
}

func (pg *page) stateTag(s cityid.DatasetState) *tag {
	t := &tag{Text: pg.T("data.state." + s.String()), Class: "warn", Icon: "!"}
	switch s {
	case cityid.DatasetRefused, cityid.DatasetInvalid:
		t.Class, t.Icon = "bad", "✕"
	case cityid.DatasetWaiting:
		t.Class, t.Icon = "plain", "…"
	case cityid.DatasetCurrent:
		t.Class, t.Icon = "good", "✓"
	}
	return t
}

func (pg *page) freshTag(f cityid.Freshness) *tag {
	t := &tag{Text: pg.T("data.freshness." + f.String()), Class: "plain", Icon: "·"}
	switch f {
	case cityid.FreshnessFresh:
		t.Class, t.Icon = "good", "✓"
	case cityid.FreshnessLive: // which nothing here can tell
		t.Icon = "↻"
	case cityid.FreshnessLate:
		t.Class, t.Icon = "warn", "!"
	}
	return t
}

// shortened cuts a text to so many characters, at a blank if there is one near.
func shortened(s string, most int) string {
	s = strings.Join(strings.Fields(s), " ")
	n := 0
	for i := range s {
		if n++; n > most {
			cut := s[:i]
			if at := strings.LastIndexByte(cut, ' '); at > len(cut)*3/4 {
				cut = cut[:at]
			}
			return strings.TrimRight(cut, " ，。,.;；") + "…"
		}
	}
	return s
}

// ShortName returns the last part of an IRI, such as "JSON" of a file type.
func (pg *page) ShortName(iri string) string { return iri[strings.LastIndexAny(iri, "/#")+1:] }

// Bare returns an address without its scheme, as people write it.
func (pg *page) Bare(address string) string {
	_, rest, ok := strings.Cut(address, ":")
	if !ok {
		return address
	}
	return rest
}
