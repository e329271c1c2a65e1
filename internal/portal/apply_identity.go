// SPDX-License-Identifier: Apache-2.0

package portal

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"cityid"
)

// maxForm bounds a form without files, in octets.
const maxForm = 64 << 10

// parseForm reads a form that carries no file.
func parseForm(w http.ResponseWriter, r *http.Request) error {
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	if err := r.ParseForm(); err != nil {
		if large := new(http.MaxBytesError); errors.As(err, &large) {
			return cityid.Errorf(cityid.ErrTooLarge, "a form of more than %d octets", maxForm)
		}
		return cityid.Errorf(cityid.ErrMalformed, "%v", err)
	}
	return nil
}

// value returns a field without the blanks around it.
func value(r *http.Request, name string) string { return strings.TrimSpace(r.PostForm.Get(name)) }

// identityData is the form for what a place is.
type identityData struct {
	*draft
	Kinds   []kindChoice
	Schemes []schemeField
	Langs   []langField
	Map     *drawing
	Locked  bool // an application file says it; only the contact can be changed
	Words   []string
}

type kindChoice struct {
	Kind cityid.Kind
	Text string
	Hint string
}

// schemeField is a number the place has in a foreign scheme.
type schemeField struct {
	Name, Title, Value, Form string
}

type langField struct {
	Lang, Title, Value string
	Required           bool
}

// identityPage asks what the place is.
func (p *portal) identityPage(w http.ResponseWriter, r *http.Request, pg *page, d *draft) error {
	return pg.showIdentity(w, r, http.StatusOK, d)
}

func (pg *page) showIdentity(w http.ResponseWriter, r *http.Request, status int, d *draft) error {
	settings, err := pg.Source.Settings(r.Context())
	if err != nil {
		return err
	}
	data := &identityData{draft: d, Locked: d.File != nil}
	schemes, languages := map[string]bool{}, map[string]bool{"zh": true, "en": true}
	for _, k := range placeKinds {
		rule := settings.Rule.ForKind(k)
		if rule == nil {
			continue
		}
		data.Kinds = append(data.Kinds, kindChoice{k, pg.Kind(k), pg.T("apply.identity.kind." + k.String())})
		for _, s := range rule.Schemes {
			schemes[s] = true
		}
		for _, l := range rule.Languages {
			languages[l] = true
		}
	}
	for i := range settings.Schemes {
		if s := &settings.Schemes[i]; schemes[s.Name] {
			data.Schemes = append(data.Schemes, schemeField{s.Name, s.Titles.Get(pg.Lang), d.Aliases[s.Name], patternWords(pg, s.Patterns)})
		}
	}
	for _, l := range []string{"zh", "en"} {
		data.Langs = append(data.Langs, langField{l, pg.T("apply.identity.name." + l), d.Names[l], true})
		delete(languages, l)
	}
	for l := range languages {
		data.Langs = append(data.Langs, langField{l, pg.T("apply.identity.name.other", l), d.Names[l], true})
	}
	slices.SortFunc(data.Langs[2:], func(a, b langField) int { return strings.Compare(a.Lang, b.Lang) })
	data.Map = pg.mark(d.location(), d.Names[pg.Lang])
	pg.Title = pg.T("apply.task.identity")
	return pg.render(w, r, status, "apply_identity", data)
}

// patternWords says what form values of a scheme have.
func patternWords(pg *page, patterns []string) string {
	if len(patterns) == 0 {
		return ""
	}
	if p := patterns[0]; strings.Trim(p, "#") == "" {
		return pg.T("apply.identity.digits", len(p))
	}
	return strings.Join(patterns, " / ")
}

// mark draws where something lies, or returns nil.
func (pg *page) mark(l *cityid.Location, title string) *drawing {
	if l == nil {
		return nil
	}
	return &drawing{
		SVG:    pg.basemap.draw(around(*l, 8), pg.T("map.label"), []mapMark{{Lat: float64(l.Lat) / 1e7, Lon: float64(l.Lon) / 1e7, Title: title, Own: true}}),
		Source: pg.basemap.Source, Approval: pg.basemap.Approval,
	}
}

// identitySave takes what the place is. What can not be right is refused beside
// its field, and kept in the form.
func (p *portal) identitySave(w http.ResponseWriter, r *http.Request, pg *page, d *draft) error {
	if err := parseForm(w, r); err != nil {
		return err
	}
	settings, err := p.Source.Settings(r.Context())
	if err != nil {
		return err
	}
	d.Contact.Name = pg.text(r, "contact-name", 60, true)
	d.Contact.Phone = pg.text(r, "contact-phone", 40, false)
	d.Contact.Email = pg.text(r, "contact-email", 100, false)
	if d.Contact.Phone == "" && d.Contact.Email == "" {
		pg.refuseField("contact-phone", pg.T("apply.identity.contact.none"))
	}
	if d.File == nil {
		if err := pg.readPlace(r, d, settings); err != nil {
			return err
		}
	}
	if len(pg.Errors) > 0 {
		return pg.showIdentity(w, r, http.StatusUnprocessableEntity, d)
	}
	if err := d.save(pg); err != nil {
		return err
	}
	http.Redirect(w, r, pg.URL("/apply/draft/code"), http.StatusSeeOther)
	return nil
}

// text reads a field of text for people. It refuses what the registry would, and
// what a spreadsheet would take for a formula.
func (pg *page) text(r *http.Request, field string, most int, required bool) string {
	s := value(r, field)
	switch err := cityid.CheckText(field, s, required); {
	case s == "" && required:
		pg.refuseField(field, pg.T("apply.field.empty"))
	case err != nil:
		pg.refuseField(field, pg.T("apply.field.text"))
	case len(s) > most:
		pg.refuseField(field, pg.T("apply.field.long", most/3))
	case s != "" && strings.ContainsRune("=+-@", rune(s[0])) && field != "contact-phone":
		pg.refuseField(field, pg.T("apply.field.formula"))
	}
	return s
}

// readPlace reads kind, names, foreign numbers and location.
func (pg *page) readPlace(r *http.Request, d *draft, settings *cityid.Settings) error {
	var kind cityid.Kind
	if err := kind.UnmarshalText([]byte(value(r, "kind"))); err != nil || !slices.Contains(placeKinds, kind) || settings.Rule.ForKind(kind) == nil {
		pg.refuseField("kind", pg.T("apply.identity.kind.none"))
		return nil
	}
	rule := settings.Rule.ForKind(kind)
	if d.Kind != kind {
		d.Code = "" // another kind has codes of another form
	}
	d.Kind = kind
	d.Names = map[string]string{}
	languages := slices.Compact(slices.Sorted(slices.Values(append([]string{"zh", "en"}, rule.Languages...))))
	for _, l := range languages {
		if s := pg.text(r, "name-"+l, 200, slices.Contains(rule.Languages, l)); s != "" {
			d.Names[l] = s
		}
	}
	if len(d.Names) == 0 {
		pg.refuseField("name-zh", pg.T("apply.field.empty"))
	}
	before := fmt.Sprint(d.Aliases)
	d.Aliases = map[string]string{}
	for i := range settings.Schemes {
		if s := &settings.Schemes[i]; slices.Contains(rule.Schemes, s.Name) {
			pg.readAlias(r, d, s)
		}
	}
	if before != fmt.Sprint(d.Aliases) && d.Revises == nil {
		d.Code = "" // it follows from the number
	}
	d.Lat, d.Lon = value(r, "lat"), value(r, "lon")
	if d.Lat != "" || d.Lon != "" {
		if _, err := cityid.ParseDegrees(d.Lat, 90); err != nil {
			pg.refuseField("lat", pg.T("apply.identity.lat.wrong"))
		}
		if _, err := cityid.ParseDegrees(d.Lon, 180); err != nil {
			pg.refuseField("lon", pg.T("apply.identity.lon.wrong"))
		}
	}
	return nil
}

func (pg *page) readAlias(r *http.Request, d *draft, s *cityid.Scheme) {
	field := "alias-" + s.Name
	v := value(r, field)
	d.Aliases[s.Name] = v
	switch {
	case v == "":
		pg.refuseField(field, pg.T("apply.field.empty"))
	case cityid.CheckAliases([]cityid.Alias{{Scheme: s.Name, Value: v}}) != nil ||
		len(s.Patterns) > 0 && !slices.ContainsFunc(s.Patterns, func(p string) bool { return cityid.MatchPattern(p, v) }):
		pg.refuseField(field, pg.T("apply.identity.alias.wrong", s.Titles.Get(pg.Lang), patternWords(pg, s.Patterns)))
	}
}
