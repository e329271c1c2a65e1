// SPDX-License-Identifier: Apache-2.0

package portal

import (
	"encoding/json"
	"errors"
	"html/template"
	"net/http"
	"slices"
	"strings"

	"cityid"
	"cityid/internal/describe"
)

// Sizes of lists on a code's page.
const (
	childrenShown = 25
	historyShown  = 20
)

// crumb is one step of a breadcrumb; the last has no address.
type crumb struct{ URL, Text string }

// codeData is what the page of a code shows.
type codeData struct {
	Answer  *cityid.RecordAnswer
	Record  *cityid.Record
	Trail   []crumb
	Name    string
	Other   string
	Tag     tag
	View    string // which tab
	Tabs    []navItem
	QR      template.HTML
	Map     *drawing
	Facts   codeFacts
	Counts  []countItem
	Below   *childList
	History []revision
	More    bool // there are earlier revisions
	JSON    string
	CLI     string
	Board   *board       // its dashboard, if the visitor may see it
	Vouched *vouchedList // of a code that vouched for something
}

// codeFacts are the lines of the summary that need looking up.
type codeFacts struct {
	Parent, Holder, Heir place
	Successors           []place
	Place                place // the city or county it lies in
	Contacts             []cityid.Link
	Schemes              map[string]string // titles by name
	Lat, Lon             string
	Waiting              []string
	Sealed               *sealedView // without the content; nil: not sealed
}

// place is a code with its name.
type place struct {
	Code cityid.Code
	Name string
	Kind string
	URL  string
}

// childList is part of what lies below a code.
type childList struct {
	Kind cityid.Kind
	Rows []childRow
	Next string
}

type childRow struct {
	place
	Other string
	Tag   tag
}

// revision is one entry of a record's history.
type revision struct {
	*cityid.Record
	Lines []string
}

// code shows what a code stands for. A retired code keeps its page.
func (p *portal) code(w http.ResponseWriter, r *http.Request, pg *page) error {
	code, done, err := pathCode(w, r, pg, "/code/")
	if done || err != nil {
		return err
	}
	answer, err := p.Source.Record(r.Context(), code)
	if errors.Is(err, cityid.ErrNotFound) {
		return pg.notAllocated(w, r, code)
	}
	if err != nil {
		return err
	}
	rec := &answer.Record
	data := &codeData{Answer: answer, Record: rec, Name: pg.NameOf(rec.Content.Names, code), Other: pg.OtherName(rec.Content.Names), Tag: pg.StatusTag(rec.Status)}
	if data.View = r.URL.Query().Get("view"); !slices.Contains([]string{"history", "vouched", "json", "cli", "proof"}, data.View) {
		data.View = ""
	}
	if err := pg.codeVouched(r, data); err != nil {
		return err
	}
	for _, v := range []string{"", "history", "vouched", "json", "cli", "proof"} {
		if v == "vouched" && data.Vouched == nil && data.View != v {
			continue
		}
		data.Tabs = append(data.Tabs, navItem{URL: address(r, "view", v, "after", "", "kind", ""), Text: pg.T("code.tab." + v), Current: v == data.View})
	}
	if err := pg.codeFacts(data); err != nil {
		return err
	}
	if err := pg.codeTab(r, data); err != nil {
		return err
	}
	data.Board = pg.boardLink(code)
	status := http.StatusOK
	if rec.Status == cityid.StatusRetired {
		status = http.StatusGone
	}
	pg.Title = data.Name
	if data.Name != code.String() {
		pg.Title += " " + code.String()
	}
	return pg.render(w, r, status, "code", data)
}

// notAllocated shows the page of a code that does not exist, with what was
// perhaps meant.
func (pg *page) notAllocated(w http.ResponseWriter, r *http.Request, code cityid.Code) error {
	data := struct {
		Code    cityid.Code
		Suggest []navItem
	}{Code: code}
	if found, err := pg.Index.Search(pg.ctx, cityid.SearchQuery{Text: code.String(), Limit: 5}); err == nil {
		for _, c := range found.Suggest {
			data.Suggest = append(data.Suggest, navItem{URL: pg.CodeURL(c), Text: c.String()})
		}
	}
	pg.Title = pg.T("code.absent.title", code)
	return pg.render(w, r, http.StatusNotFound, "code_absent", data)
}

// ancestors returns the records above one, the highest first.
func (pg *page) ancestors(rec *cityid.Record) ([]*cityid.Record, error) {
	var out []*cityid.Record
	for parent := rec.Parent; !parent.IsZero() && len(out) < 16; {
		a, err := pg.Source.Record(pg.ctx, parent)
		if err != nil {
			return nil, err
		}
		out = append(out, &a.Record)
		parent = a.Record.Parent
	}
	slices.Reverse(out)
	return out, nil
}

// codeFacts looks up what the summary names.
func (pg *page) codeFacts(data *codeData) error {
	rec := data.Record
	above, err := pg.ancestors(rec)
	if err != nil {
		return err
	}
	f := &data.Facts
	for _, x := range above {
		at := pg.placeOf(x)
		if x.Kind != cityid.KindAuthority {
			data.Trail = append(data.Trail, crumb{at.URL, at.Name})
		}
		switch x.Kind {
		case cityid.KindProvince, cityid.KindCity, cityid.KindCounty:
			f.Place = at
		}
		if x.Code == rec.Parent {
			f.Parent = at
		}
		if x.Code == data.Answer.Holder {
			f.Holder = at
			f.Contacts = contacts(x)
		}
	}
	data.Trail = append(data.Trail, crumb{"", data.Name})
	if data.Answer.Holder == rec.Code {
		f.Holder, f.Contacts = pg.placeOf(rec), contacts(rec)
	}
	if f.Holder.Code.IsZero() && !data.Answer.Holder.IsZero() {
		if f.Holder, err = pg.placeAt(data.Answer.Holder); err != nil {
			return err
		}
	}
	if !rec.Heir.IsZero() {
		if f.Heir, err = pg.placeAt(rec.Heir); err != nil {
			return err
		}
	}
	for _, c := range rec.Successors {
		s, err := pg.placeAt(c)
		if err != nil {
			return err
		}
		f.Successors = append(f.Successors, s)
	}
	if f.Sealed, err = pg.sealedView(rec, f.Holder, false); err != nil {
		return err
	}
	if w := data.Answer.Waiting; w != nil {
		f.Waiting = pg.waitingLines(w)
	}
	return pg.codeCrosswalk(data)
}

// codeCrosswalk names the schemes of a record's crosswalk entries, and its
// location in degrees.
func (pg *page) codeCrosswalk(data *codeData) error {
	var err error
	if data.Facts.Lat, data.Facts.Lon, err = inDegrees(data.Record.Content.Location); err != nil {
		return err
	}
	if len(data.Record.Aliases) == 0 {
		return nil
	}
	s, err := pg.Source.Settings(pg.ctx)
	if err != nil {
		return err
	}
	data.Facts.Schemes = map[string]string{}
	for _, x := range s.Schemes {
		data.Facts.Schemes[x.Name] = x.Titles.Get(pg.Lang)
	}
	return nil
}

// waitingLines says in words what change a delay holds back.
func (pg *page) waitingLines(w *cityid.Waiting) []string {
	var out []string
	for _, l := range describe.Waiting(pg.Lang, w) {
		out = append(out, l.Text)
	}
	return out
}

// contacts are the links of a holder by which people reach it.
func contacts(rec *cityid.Record) []cityid.Link {
	var out []cityid.Link
	for _, l := range rec.Content.Links {
		switch l.Rel {
		case "about", "contact", "help", "author", "service-desc", "home":
			out = append(out, l)
		}
	}
	return out
}

func (pg *page) placeOf(rec *cityid.Record) place {
	return place{rec.Code, pg.NameOf(rec.Content.Names, rec.Code), pg.Kind(rec.Kind), pg.CodeURL(rec.Code)}
}

// placeAt looks a code up. One that another zone keeps has no name here.
func (pg *page) placeAt(code cityid.Code) (place, error) {
	a, err := pg.Source.Record(pg.ctx, code)
	if errors.Is(err, cityid.ErrNotFound) {
		return place{Code: code, Name: code.String(), URL: pg.CodeURL(code)}, nil
	}
	if err != nil {
		return place{}, err
	}
	return pg.placeOf(&a.Record), nil
}

// codeTab fills in what the chosen tab shows.
func (pg *page) codeTab(r *http.Request, data *codeData) error {
	rec := data.Record
	switch data.View {
	case "history":
		return pg.codeHistory(data)
	case "json":
		b, err := json.MarshalIndent(data.Answer, "", "  ")
		data.JSON = string(b)
		return err
	case "cli":
		data.CLI = pg.commands(rec)
		return nil
	case "proof", "vouched":
		return nil
	}
	var err error
	if data.QR, err = pg.symbol(rec.Code); err != nil {
		return err
	}
	if l := rec.Content.Location; l != nil {
		height := .08
		switch rec.Kind {
		case cityid.KindProvince:
			height = 12
		case cityid.KindCity, cityid.KindCounty:
			height = 6
		}
		if data.Map, err = pg.drawMap(around(*l, height), cityid.Code{}, nil); err != nil {
			return err
		}
	}
	if data.Counts, err = pg.counts(rec.Code); err != nil {
		return err
	}
	data.Below, err = pg.children(r, rec)
	return err
}

// children lists what lies directly below a record, a page at a time.
func (pg *page) children(r *http.Request, rec *cityid.Record) (*childList, error) {
	q := cityid.ChildrenQuery{Code: rec.Code, Limit: childrenShown}
	if s := r.URL.Query().Get("after"); s != "" {
		var err error
		if q.After, err = cityid.Parse(s); err != nil {
			return nil, cityid.Errorf(cityid.ErrMalformed, "%v", err)
		}
	}
	if s := r.URL.Query().Get("kind"); s != "" {
		if err := q.Kind.UnmarshalText([]byte(s)); err != nil {
			return nil, cityid.Errorf(cityid.ErrMalformed, "kind %.40q is unknown", s)
		}
	}
	got, err := pg.Source.Children(pg.ctx, q)
	if err != nil {
		return nil, err
	}
	out := &childList{Kind: q.Kind}
	for i := range got.Records {
		c := &got.Records[i]
		out.Rows = append(out.Rows, childRow{pg.placeOf(c), pg.OtherName(c.Content.Names), pg.StatusTag(c.Status)})
	}
	if !got.Next.IsZero() {
		out.Next = address(r, "after", got.Next.String()) + "#below"
	}
	return out, nil
}

// codeHistory lists the revisions of a record, each with what it changed.
func (pg *page) codeHistory(data *codeData) error {
	h, err := pg.Source.History(pg.ctx, data.Record.Code)
	if err != nil {
		return err
	}
	for i := range h.Revisions {
		if i == historyShown {
			data.More = true
			break
		}
		x := revision{Record: &h.Revisions[i]}
		if i+1 < len(h.Revisions) {
			x.Lines = pg.changed(&h.Revisions[i+1], x.Record)
		}
		data.History = append(data.History, x)
	}
	return nil
}

// changed names what a revision changed.
func (pg *page) changed(before, after *cityid.Record) []string {
	var out []string
	say := func(differs bool, key string, args ...any) {
		if differs {
			out = append(out, pg.T(key, args...))
		}
	}
	say(before.Status != after.Status, "code.changed.status", pg.StatusName(before.Status), pg.StatusName(after.Status))
	say(!slices.Equal(before.Content.Names, after.Content.Names), "code.changed.names", before.Content.Names.Get(pg.Lang), after.Content.Names.Get(pg.Lang))
	say(before.Policy.Hash() != after.Policy.Hash(), "code.changed.policy")
	say(!slices.Equal(before.Aliases, after.Aliases), "code.changed.aliases")
	links := func(r *cityid.Record) string { b, _ := json.Marshal(r.Content.Links); return string(b) }
	say(links(before) != links(after), "code.changed.links")
	at := func(r *cityid.Record) cityid.Location {
		if r.Content.Location == nil {
			return cityid.Location{}
		}
		return *r.Content.Location
	}
	say(at(before) != at(after), "code.changed.location")
	say(!slices.Equal(before.Content.Documents, after.Content.Documents), "code.changed.documents")
	shared := func(r *cityid.Record) cityid.Dataset {
		if r.Content.Dataset == nil {
			return cityid.Dataset{}
		}
		return *r.Content.Dataset
	}
	was, is := shared(before), shared(after)
	say(was.Class != is.Class && is.Class != 0, "code.changed.class", describe.DatasetClass(pg.Lang, is.Class))
	say(was.Document != is.Document, "code.changed.description")
	say(was.Schema != is.Schema, "code.changed.schema")
	say(was.Policy != is.Policy, "code.changed.usage")
	say(!slices.Equal(before.Content.Hosts, after.Content.Hosts), "code.changed.hosts")
	say(before.Sealed != after.Sealed, "code.changed.sealed")
	return out
}

// commands are what to type to get the same answer.
func (pg *page) commands(rec *cityid.Record) string {
	c := rec.Code.String()
	lines := []string{
		"# " + pg.T("code.cli.resolve"),
		"cityid resolve " + c + " --node " + pg.Origin,
		"curl -s " + pg.Origin + "/v1/records/" + c,
		"",
		"# " + pg.T("code.cli.proof"),
		"cityid trust pin --node " + pg.Origin + " -o trust.json",
		"cityid bundle get " + c + " --node " + pg.Origin + " -o code.cityid",
		"cityid verify code.cityid --trust trust.json",
		"",
		"# " + pg.T("code.cli.below"),
		"cityid code list --parent " + c + " --node " + pg.Origin,
	}
	return strings.Join(lines, "\n")
}
