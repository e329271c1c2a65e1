// SPDX-License-Identifier: Apache-2.0

package portal

import (
	"errors"
	"fmt"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"cityid"
	"cityid/internal/bulk"
	"cityid/keys"
)

// maxMany is the most lines of the small table; more are imported.
const maxMany = 200

// workAllocate is what the form for one code shows.
type workAllocate struct {
	*workAt
	Form    workForm
	Kinds   []quota
	Chosen  *quota
	Schemes []workScheme
	Classes []navItem // classes others use
	CRS     []string
	Coarse  bool // locations are rounded
	Sealed  bool // only sealed objects: not here
}

// workScheme is the field for a value of a crosswalk scheme.
type workScheme struct {
	Name, Title string
	Required    bool
	Owned       bool // the scheme's owner consents
	Form        string
}

// coordinateSystems are those that locations may be given in.
var coordinateSystems = []string{"WGS84", "CGCS2000", "GCJ-02"}

// allocating prepares the form for a kind; the zero kind lets the visitor
// choose.
func (pg *page) allocating(at *workAt, f workForm) (*workAllocate, error) {
	data := &workAllocate{workAt: at, Form: f, CRS: coordinateSystems}
	var err error
	if data.Kinds, err = pg.quotas(at); err != nil {
		return nil, err
	}
	i := slices.IndexFunc(data.Kinds, func(q quota) bool { return q.Kind.String() == f.Get("kind") })
	if i < 0 {
		return data, nil
	}
	data.Chosen = &data.Kinds[i]
	rule := at.Rule.Rule.ForKind(data.Chosen.Kind)
	for _, s := range at.Rule.Schemes {
		data.Schemes = append(data.Schemes, workScheme{
			s.Name, s.Titles.Get(pg.Lang), slices.Contains(rule.Schemes, s.Name), !s.Owner.IsZero(), strings.Join(s.Patterns, " / "),
		})
	}
	slices.SortStableFunc(data.Schemes, func(x, y workScheme) int {
		switch {
		case x.Required == y.Required:
			return 0
		case x.Required:
			return -1
		}
		return 1
	})
	if data.Chosen.Kind == cityid.KindObject || data.Chosen.Kind == cityid.KindDataset || data.Chosen.Kind == cityid.KindSource {
		d := at.Rule.Rule.DisclosureOf(at.Code().Class())
		data.Coarse, data.Sealed = d == cityid.DisclosureCoarse, d == cityid.DisclosureSealed
	}
	if data.Chosen.Kind == cityid.KindClass {
		if data.Classes, err = pg.knownClasses(at); err != nil {
			return nil, err
		}
	}
	return data, nil
}

// knownClasses lists classes that stand elsewhere in the zone, to choose from.
func (pg *page) knownClasses(at *workAt) ([]navItem, error) {
	found, err := pg.Index.Search(pg.ctx, cityid.SearchQuery{Kinds: []cityid.Kind{cityid.KindClass}, Limit: 100})
	if err != nil {
		return nil, err
	}
	var out []navItem
	for _, h := range found.Hits {
		class := h.Code.Class()
		if !slices.ContainsFunc(out, func(x navItem) bool { return x.URL == class }) {
			out = append(out, navItem{URL: class, Text: h.Names.Get(pg.Lang)})
		}
	}
	return out, nil
}

// mayAllocate answers with a refusal unless the visitor may take part in
// allocating below the code: in what governs it, or, where that decides some
// kinds instead, in the apex. Of a kind that was chosen it asks its decider.
func (pg *page) mayAllocate(w http.ResponseWriter, r *http.Request, at *workAt, kind string) (bool, error) {
	i := slices.IndexFunc(at.Rule.Rule.Kinds, func(k cityid.KindRule) bool {
		return k.Apex && slices.Contains(k.Parents, at.Record.Kind) && (kind == "" || kind == k.Kind.String())
	})
	if i < 0 || at.Idle != nil || kind == "" && at.May {
		return pg.mayWork(w, r, at)
	}
	apex, err := pg.apexOf(at)
	if err != nil {
		return false, err
	}
	ok, err := pg.takesPart(apex)
	switch {
	case err != nil || ok:
		return ok, err
	case kind == "":
		return pg.mayWork(w, r, at)
	}
	return false, pg.refuseWork(w, r, at, apex, "")
}

func (pg *page) apexOf(at *workAt) (cityid.Code, error) {
	above, err := pg.ancestors(at.Record)
	if err != nil || len(above) == 0 {
		return at.Code(), err
	}
	return above[0].Code, nil
}

func (p *portal) workAllocate(w http.ResponseWriter, r *http.Request, pg *page, at *workAt) error {
	if ok, err := pg.mayAllocate(w, r, at, r.FormValue("kind")); !ok || err != nil {
		return err
	}
	data, err := pg.allocating(at, workForm{r.URL.Query()})
	if err != nil {
		return err
	}
	if data.Chosen != nil && data.Form.Get("code") == "" && data.Chosen.Next != "" {
		data.Form.Set("code", data.Chosen.Next)
	}
	return pg.showAllocate(w, r, http.StatusOK, data)
}

func (pg *page) showAllocate(w http.ResponseWriter, r *http.Request, status int, data *workAllocate) error {
	pg.Title = pg.T("work.allocate.title", data.Name)
	return pg.render(w, r, status, "work_allocate", data)
}

func (p *portal) workAllocateSend(w http.ResponseWriter, r *http.Request, pg *page, at *workAt) error {
	if ok, err := pg.mayAllocate(w, r, at, r.FormValue("kind")); !ok || err != nil {
		return err
	}
	f := formOf(r)
	data, err := pg.allocating(at, f)
	if err != nil {
		return err
	}
	if data.Chosen == nil {
		pg.refuseField("kind", pg.T("work.allocate.kind.none"))
		return pg.showAllocate(w, r, http.StatusUnprocessableEntity, data)
	}
	a, consents, err := pg.allocation(data)
	if err != nil {
		return err
	}
	if len(pg.Errors) > 0 {
		return pg.showAllocate(w, r, http.StatusUnprocessableEntity, data)
	}
	op := cityid.Operation{Allocate: &cityid.Allocate{Items: []cityid.Allocation{*a}}}
	ops, err := pg.decideAll(consents, f.Text("note"), op)
	if err != nil {
		return err
	}
	return pg.sign(w, r, pg.T("work.allocate.sign", a.Code), at.URL, ops...)
}

// allocation reads the form. What is wrong is noted beside the fields; consents
// are the codes whose policies decide.
func (pg *page) allocation(data *workAllocate) (*cityid.Allocation, []cityid.Code, error) {
	f, rule := data.Form, data.Rule.Rule.ForKind(data.Chosen.Kind)
	a := &cityid.Allocation{Kind: rule.Kind, Reserved: f.Has("reserved", "1")}
	consents := []cityid.Code{data.Code()}
	if rule.Apex {
		apex, err := pg.apexOf(data.workAt)
		if err != nil {
			return nil, nil, err
		}
		consents[0] = apex
	}
	if data.Sealed {
		pg.refuseField("kind", pg.T("work.allocate.sealed"))
		return a, consents, nil
	}
	if err := pg.newCode(data, rule, a, "code", f.Text("code")); err != nil {
		return nil, nil, err
	}
	a.Content.Names = pg.namesFrom(f, nil, rule.Languages)
	a.Content.Location = pg.locationFrom(f, data.Coarse)
	if link := pg.linkFrom(f); link != nil {
		a.Content.Links = []cityid.Link{*link}
		pg.allowedLink(data.workAt, link, a.Code)
	}
	for _, s := range data.Schemes {
		value := f.Text("alias-" + s.Name)
		if value == "" {
			if s.Required {
				pg.refuseField("alias-"+s.Name, pg.T("work.alias.required", s.Title))
			}
			continue
		}
		alias := cityid.Alias{Scheme: s.Name, Value: value}
		owner := pg.checkAlias(data.workAt, "alias-"+s.Name, alias)
		if !owner.IsZero() && !slices.Contains(consents, owner) {
			consents = append(consents, owner)
		}
		a.Aliases = append(a.Aliases, alias)
	}
	slices.SortFunc(a.Aliases, func(x, y cityid.Alias) int { return strings.Compare(x.Scheme, y.Scheme) })
	a.Policy = pg.policyFrom(f)
	pg.checkNote(f)
	if len(pg.Errors) == 0 {
		if err := a.Content.Check(); err != nil {
			pg.refuseField("", pg.refusal(err))
		}
	}
	return a, consents, nil
}

// newCode reads the code to be allocated, and checks what the state says of it.
func (pg *page) newCode(data *workAllocate, rule *cityid.KindRule, a *cityid.Allocation, field, text string) error {
	if text == "" {
		pg.refuseField(field, pg.T("work.code.none"))
		return nil
	}
	var err error
	if a.Code, err = childCode(data.Record, rule.Kind, strings.ToUpper(text)); err != nil {
		pg.refuseField(field, pg.T("work.code.bad", fmt.Sprintf("%.60s", text), err))
		return nil
	}
	last := a.Code.LastNode()
	switch {
	case !data.Code().Covers(a.Code) && !data.Code().PlaceCovers(a.Code):
		pg.refuseField(field, pg.T("work.code.elsewhere", a.Code, data.Code()))
		return nil
	case len(rule.Patterns) > 0 && !slices.ContainsFunc(rule.Patterns, func(p string) bool { return cityid.MatchPattern(p, last) }):
		pg.refuseField(field, pg.T("work.code.form", last, strings.Join(rule.Patterns, " / ")))
		return nil
	case data.Chosen.Most > 0 && data.Chosen.Used >= data.Chosen.Most:
		pg.refuseField(field, pg.T("work.code.quota", data.Chosen.Most))
		return nil
	}
	known, err := pg.Source.Record(pg.ctx, a.Code)
	switch {
	case err == nil:
		pg.refuseField(field, pg.T("work.code.taken", a.Code, pg.NameOf(known.Record.Content.Names, a.Code), data.Chosen.Next))
	case !errors.Is(err, cityid.ErrNotFound):
		return err
	case rule.Sequence && data.Chosen.Next != "" && a.Code.String() != data.Chosen.Next:
		pg.refuseField(field, pg.T("work.code.sequence", data.Chosen.Next))
	}
	return nil
}

// namesFrom reads names: in Chinese and English, and others as they are.
func (pg *page) namesFrom(f workForm, before cityid.Names, required []string) cityid.Names {
	names := map[string]string{}
	for _, n := range before {
		names[n.Lang] = n.Text
	}
	for _, lang := range []string{"zh", "en"} {
		text := f.Text("name-" + lang)
		delete(names, lang)
		if text == "" {
			if slices.Contains(required, lang) {
				pg.refuseField("name-"+lang, pg.T("work.name.required"))
			}
			continue
		}
		if err := cityid.CheckText("name", text, true); err != nil {
			pg.refuseField("name-"+lang, pg.refusal(err))
		}
		names[lang] = text
	}
	return cityid.NamesOf(names)
}

// locationFrom reads a location in the coordinate system that the form names.
func (pg *page) locationFrom(f workForm, coarse bool) *cityid.Location {
	lat, lon := f.Text("lat"), f.Text("lon")
	if lat == "" && lon == "" {
		return nil
	}
	crs, err := bulk.ParseCRS(f.Get("crs"))
	if err != nil {
		pg.refuseField("crs", pg.T("work.location.crs"))
		return nil
	}
	read := func(field, text string, limit int32) (int32, bool) {
		v, err := cityid.ParseDegrees(strings.TrimPrefix(text, "+"), limit)
		if err != nil {
			pg.refuseField(field, pg.T("work.location.bad", limit))
		}
		return v, err == nil
	}
	y, ok1 := read("lat", lat, 90)
	x, ok2 := read("lon", lon, 180)
	if !ok1 || !ok2 {
		return nil
	}
	l := cityid.Location{Lat: y, Lon: x}
	if crs == bulk.GCJ02 {
		la, lo, ok := bulk.GCJ02ToWGS84(float64(y)/1e7, float64(x)/1e7)
		if !ok {
			pg.refuseField("lat", pg.T("work.location.outside"))
			return nil
		}
		l = cityid.Location{Lat: int32(math.Round(la * 1e7)), Lon: int32(math.Round(lo * 1e7))}
	}
	if coarse {
		l = l.Coarse()
	}
	return &l
}

// policyFrom reads a policy of the code's own: one key a line, each a member.
// No line is none.
func (pg *page) policyFrom(f workForm) *cityid.Policy {
	p := &cityid.Policy{Threshold: 1}
	for line := range strings.FieldsSeq(f.Get("keys")) {
		var k cityid.PublicKey
		err := k.UnmarshalText([]byte(line))
		if err == nil {
			_, err = keys.ParsePublic([]byte(k))
		}
		if err != nil || !k.Signs() {
			pg.refuseField("keys", pg.T("work.keys.bad", fmt.Sprintf("%.60s", line)))
			return nil
		}
		p.Members = append(p.Members, cityid.Member{Keys: []cityid.Key{{Public: k, Roles: cityid.RoleControl}}})
	}
	if len(p.Members) == 0 {
		return nil
	}
	if s := f.Text("threshold"); s != "" {
		n, err := strconv.ParseUint(s, 10, 8)
		if err != nil || n < 1 || int(n) > len(p.Members) {
			pg.refuseField("threshold", pg.T("work.threshold.bad", len(p.Members)))
			return nil
		}
		p.Threshold = uint8(n)
	}
	if err := p.Check(); err != nil {
		pg.refuseField("keys", pg.refusal(err))
	}
	return p
}

// checkNote checks the remark that goes with a proposal or change of status.
func (pg *page) checkNote(f workForm) {
	if err := cityid.CheckText("note", f.Text("note"), false); err != nil {
		pg.refuseField("note", pg.refusal(err))
	}
}

// workMany shows the small table.
func (p *portal) workMany(w http.ResponseWriter, r *http.Request, pg *page, at *workAt) error {
	if ok, err := pg.mayAllocate(w, r, at, r.FormValue("kind")); !ok || err != nil {
		return err
	}
	data, err := pg.allocating(at, workForm{r.URL.Query()})
	if err != nil {
		return err
	}
	return pg.showMany(w, r, http.StatusOK, data)
}

func (pg *page) showMany(w http.ResponseWriter, r *http.Request, status int, data *workAllocate) error {
	pg.Title = pg.T("work.many.title", data.Name)
	return pg.render(w, r, status, "work_many", data)
}

// workManySend allocates all lines of the table in one transaction.
func (p *portal) workManySend(w http.ResponseWriter, r *http.Request, pg *page, at *workAt) error {
	if ok, err := pg.mayAllocate(w, r, at, r.FormValue("kind")); !ok || err != nil {
		return err
	}
	data, err := pg.allocating(at, formOf(r))
	if err != nil {
		return err
	}
	switch {
	case data.Chosen == nil:
		pg.refuseField("kind", pg.T("work.allocate.kind.none"))
	case data.Sealed:
		pg.refuseField("kind", pg.T("work.allocate.sealed"))
	}
	if len(pg.Errors) > 0 {
		return pg.showMany(w, r, http.StatusUnprocessableEntity, data)
	}
	items, err := pg.manyFrom(data)
	if err != nil {
		return err
	}
	if len(pg.Errors) > 0 {
		return pg.showMany(w, r, http.StatusUnprocessableEntity, data)
	}
	consents := []cityid.Code{at.Code()}
	if data.Chosen.Apex {
		if consents[0], err = pg.apexOf(at); err != nil {
			return err
		}
	}
	for _, a := range items {
		for _, alias := range a.Aliases {
			if s := at.aliasScheme(alias.Scheme); s != nil && !s.Owner.IsZero() && !slices.Contains(consents, s.Owner) {
				consents = append(consents, s.Owner)
			}
		}
	}
	ops, err := pg.decideAll(consents, "", cityid.Operation{Allocate: &cityid.Allocate{Items: items}})
	if err != nil {
		return err
	}
	return pg.sign(w, r, pg.T("work.many.sign", len(items), at.Name), at.URL, ops...)
}

// manyFrom reads the table: code, name in Chinese, name in English, latitude,
// longitude and the crosswalk values that the kind must have, between tabs or
// commas. All that is wrong is said at once, with the line.
func (pg *page) manyFrom(data *workAllocate) ([]cityid.Allocation, error) {
	rule := data.Rule.Rule.ForKind(data.Chosen.Kind)
	var items []cityid.Allocation
	lines := strings.Split(strings.ReplaceAll(data.Form.Get("rows"), "\r\n", "\n"), "\n")
	seen := map[cityid.Code]int{}
	for i, line := range lines {
		if strings.TrimSpace(line) == "" {
			continue
		}
		if len(items) == maxMany || len(pg.Errors) >= 20 {
			pg.refuseField("rows", pg.T("work.many.most", maxMany))
			break
		}
		before := len(pg.Errors)
		a, err := pg.manyLine(data, rule, line, len(items) > 0)
		if err != nil {
			return nil, err
		}
		if n, twice := seen[a.Code]; twice && !a.Code.IsZero() {
			pg.refuseField("rows", pg.T("work.many.twice", a.Code, n))
		}
		seen[a.Code] = i + 1
		for j := before; j < len(pg.Errors); j++ {
			pg.Errors[j] = fieldError{"rows", pg.T("work.many.line", i+1, pg.Errors[j].Text)}
		}
		items = append(items, *a)
	}
	if len(items) == 0 && len(pg.Errors) == 0 {
		pg.refuseField("rows", pg.T("work.many.none"))
	}
	return items, nil
}

// manyLine reads one line. later says that others come before it, so that its
// number need not be the next.
func (pg *page) manyLine(data *workAllocate, rule *cityid.KindRule, line string, later bool) (*cityid.Allocation, error) {
	separator := "\t"
	if !strings.Contains(line, separator) {
		separator = ","
		line = strings.ReplaceAll(line, "，", ",")
	}
	cells := append(strings.Split(line, separator), make([]string, 5+len(data.Schemes))...)
	f := workForm{map[string][]string{
		"name-zh": {cells[1]}, "name-en": {cells[2]}, "lat": {cells[3]}, "lon": {cells[4]}, "crs": {data.Form.Get("crs")},
	}}
	a := &cityid.Allocation{Kind: rule.Kind}
	one := *rule
	one.Sequence = one.Sequence && !later
	if err := pg.newCode(data, &one, a, "rows", strings.TrimSpace(cells[0])); err != nil {
		return nil, err
	}
	a.Content.Names = pg.namesFrom(f, nil, rule.Languages)
	a.Content.Location = pg.locationFrom(f, data.Coarse)
	n := 5
	for _, s := range data.Schemes {
		if !s.Required {
			break // the required ones come first
		}
		alias := cityid.Alias{Scheme: s.Name, Value: strings.TrimSpace(cells[n])}
		if n++; alias.Value == "" {
			pg.refuseField("rows", pg.T("work.alias.required", s.Title))
			continue
		}
		pg.checkAlias(data.workAt, "rows", alias)
		a.Aliases = append(a.Aliases, alias)
	}
	slices.SortFunc(a.Aliases, func(x, y cityid.Alias) int { return strings.Compare(x.Scheme, y.Scheme) })
	return a, nil
}
