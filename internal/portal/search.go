// SPDX-License-Identifier: Apache-2.0

package portal

import (
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"cityid"
	"cityid/label"
)

// searchData is what the search page shows.
type searchData struct {
	Text    string
	Below   cityid.Code
	Where   string // name of Below
	Kinds   []navItem
	States  []navItem
	Hits    []hitView
	Suggest []navItem
	Next    string
	Partial bool
	Asked   bool
	Clear   string
	Map     string
	Near    string  // place to search around, as the address has it
	Away    string  // address of the search without it
	Places  []place // provinces and what else lies directly below the zone
}

// hitView is one hit as shown.
type hitView struct {
	cityid.SearchHit
	Name, Other, Where string
	Tag                tag
	Away               string // how far it is from where the search looks
}

// search finds codes by whatever somebody types: a name, a code, an old number,
// or what a camera has read.
func (p *portal) search(w http.ResponseWriter, r *http.Request, pg *page) error {
	q := r.URL.Query()
	data := &searchData{Text: strings.TrimSpace(q.Get("q")), Clear: pg.URL("/search")}
	if len(data.Text) > 400 {
		return cityid.Errorf(cityid.ErrTooLarge, "the text to look for has %d octets: at most 400", len(data.Text))
	}
	if to := pg.straight(data.Text); to != "" {
		http.Redirect(w, r, to, http.StatusSeeOther)
		return nil
	}
	query, err := pg.searchQuery(r, data)
	if err != nil {
		return err
	}
	data.Asked = data.Text != "" || len(query.Kinds)+len(query.Statuses) > 0 || !query.Below.IsZero() || query.Near != nil
	if data.Places, err = pg.topPlaces(data); err != nil {
		return err
	}
	if data.Asked {
		if err := pg.runSearch(r, query, data); err != nil {
			return err
		}
	}
	pg.searchFacets(r, query, data)
	pg.Title = pg.T("search.title")
	if data.Text != "" {
		pg.Title = pg.T("search.title.for", data.Text)
	}
	return pg.render(w, r, http.StatusOK, "search", data)
}

// straight returns where to go at once: the page of the very code that was typed
// or scanned, or the check of a certificate or source mark; else "".
func (pg *page) straight(text string) string {
	if text == "" {
		return ""
	}
	if payload, err := label.ParsePayload(text); err == nil {
		if payload.Kind == label.KindCertificate || payload.Kind == label.KindSource {
			return pg.URL("/verify?text=", url.QueryEscape(text))
		}
		if _, err := pg.Source.Record(pg.ctx, payload.Code); err == nil {
			return pg.CodeURL(payload.Code)
		}
	}
	return ""
}

func (pg *page) searchQuery(r *http.Request, data *searchData) (cityid.SearchQuery, error) {
	q := r.URL.Query()
	out := cityid.SearchQuery{Text: data.Text, After: q.Get("after"), Limit: 20}
	if payload, err := label.ParsePayload(data.Text); err == nil && payload.Kind == label.KindField {
		out.Text = payload.Code.String()
	}
	if len(out.Text) > 200 {
		out.Text = strings.ToValidUTF8(out.Text[:200], "")
	}
	var err error
	if out.Kinds, err = parseKinds(q["kind"]); err != nil {
		return out, err
	}
	for _, s := range q["status"] {
		var x cityid.Status
		if s == "" {
			continue
		}
		if err := x.UnmarshalText([]byte(s)); err != nil {
			return out, cityid.Errorf(cityid.ErrMalformed, "status %.40q is unknown", s)
		}
		out.Statuses = append(out.Statuses, x)
	}
	if s := q.Get("below"); s != "" {
		if out.Below, err = cityid.Parse(s); err != nil {
			return out, cityid.Errorf(cityid.ErrMalformed, "%v", err)
		}
		data.Below, data.Where = out.Below, out.Below.String()
		if a, err := pg.Source.Record(pg.ctx, out.Below); err == nil {
			data.Where = pg.NameOf(a.Record.Content.Names, out.Below)
		}
	}
	if s := q.Get("near"); s != "" {
		lat, lon, ok := strings.Cut(s, ",")
		l := &cityid.Location{}
		if l.Lat, err = cityid.ParseDegrees(lat, 90); err == nil {
			l.Lon, err = cityid.ParseDegrees(lon, 180)
		}
		if !ok || err != nil {
			return out, cityid.Errorf(cityid.ErrMalformed, "near %.60q: want latitude,longitude in degrees", s)
		}
		out.Near, data.Near, data.Away = l, s, address(r, "near", "", "after", "")
	}
	return out, nil
}

// topPlaces lists the places directly below the zone, for narrowing a search, and
// the one that it is narrowed to.
func (pg *page) topPlaces(data *searchData) ([]place, error) {
	node, err := pg.Source.Status(pg.ctx)
	if err != nil {
		return nil, err
	}
	pg.node = node
	var out []place
	for _, k := range []cityid.Kind{cityid.KindProvince, cityid.KindCity} {
		got, err := pg.Source.Children(pg.ctx, cityid.ChildrenQuery{Code: node.Zone, Kind: k, Limit: 100})
		if err != nil {
			return nil, err
		}
		for i := range got.Records {
			out = append(out, pg.placeOf(&got.Records[i]))
		}
	}
	slices.SortFunc(out, func(a, b place) int { return strings.Compare(a.Code.String(), b.Code.String()) })
	if !data.Below.IsZero() && !slices.ContainsFunc(out, func(x place) bool { return x.Code == data.Below }) {
		out = append(out, place{Code: data.Below, Name: data.Where})
	}
	return out, nil
}

func (pg *page) runSearch(r *http.Request, query cityid.SearchQuery, data *searchData) error {
	found, err := pg.Index.Search(pg.ctx, query)
	if err != nil {
		return err
	}
	data.Partial = found.Partial
	places := map[cityid.Code]string{}
	for _, h := range found.Hits {
		x := hitView{SearchHit: h, Name: pg.NameOf(h.Names, h.Code), Other: pg.OtherName(h.Names), Tag: pg.StatusTag(h.Status)}
		if x.Where, err = pg.placeName(h.Parent, places); err != nil {
			return err
		}
		if query.Near != nil {
			x.Away = pg.metres(h.Distance)
		}
		data.Hits = append(data.Hits, x)
	}
	for _, c := range found.Suggest {
		data.Suggest = append(data.Suggest, navItem{URL: pg.CodeURL(c), Text: c.String()})
	}
	if found.Next != "" {
		data.Next = address(r, "after", found.Next)
	}
	return nil
}

// metres writes a distance for people.
func (pg *page) metres(n int64) string {
	if n < 1000 {
		return pg.T("search.metres", n)
	}
	return pg.T("search.kilometres", strconv.FormatFloat(float64(n)/1000, 'f', 1, 64))
}

// placeName names where a record belongs: its parents from the city down,
// remembered in known.
func (pg *page) placeName(parent cityid.Code, known map[cityid.Code]string) (string, error) {
	if parent.IsZero() {
		return "", nil
	}
	if s, ok := known[parent]; ok {
		return s, nil
	}
	a, err := pg.Source.Record(pg.ctx, parent)
	if err != nil {
		return "", err
	}
	if a.Record.Kind == cityid.KindAuthority {
		return "", nil
	}
	above, err := pg.placeName(a.Record.Parent, known)
	if err != nil {
		return "", err
	}
	name := a.Record.Content.Names.Get(pg.Lang)
	if a.Record.Kind == cityid.KindClass || name == "" {
		name = above
	} else if above != "" {
		name = above + " › " + name
	}
	known[parent] = name
	return name, nil
}

// searchFacets lists the ways to narrow a search.
func (pg *page) searchFacets(r *http.Request, query cityid.SearchQuery, data *searchData) {
	data.Kinds = append(data.Kinds, navItem{URL: address(r, "kind", "", "after", ""), Text: pg.T("search.any-kind"), Current: len(query.Kinds) == 0})
	for _, k := range shownKinds {
		data.Kinds = append(data.Kinds, navItem{
			URL: address(r, "kind", k.String(), "after", ""), Text: pg.Kinds(k), Current: len(query.Kinds) == 1 && query.Kinds[0] == k,
		})
	}
	data.States = append(data.States, navItem{URL: address(r, "status", "", "after", ""), Text: pg.T("search.any-status"), Current: len(query.Statuses) == 0})
	for _, s := range []cityid.Status{cityid.StatusActive, cityid.StatusSuspended, cityid.StatusRetired} {
		data.States = append(data.States, navItem{
			URL: address(r, "status", s.String(), "after", ""), Text: pg.StatusName(s), Current: len(query.Statuses) == 1 && query.Statuses[0] == s,
		})
	}
	if !data.Below.IsZero() {
		data.Clear = address(r, "below", "", "after", "")
		data.Map = pg.URL("/map?below=", data.Below.String())
	}
}
