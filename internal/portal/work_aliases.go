// SPDX-License-Identifier: Apache-2.0

package portal

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"cityid"
)

// workAliases is what the page of a code's crosswalk entries shows.
type workAliases struct {
	*workAt
	Form    workForm
	Entries []aliasView
	Schemes []workScheme
}

type aliasView struct {
	cityid.Alias
	Title string
	Holds bool
	ID    string
}

func (pg *page) aliases(at *workAt, f workForm) *workAliases {
	data := &workAliases{workAt: at, Form: f}
	now := cityid.TimeOf(at.Answer.AsOf.Time)
	for _, s := range at.Rule.Schemes {
		data.Schemes = append(data.Schemes, workScheme{Name: s.Name, Title: s.Titles.Get(pg.Lang), Owned: !s.Owner.IsZero(), Form: strings.Join(s.Patterns, " / ")})
	}
	for _, a := range at.Record.Aliases {
		title := a.Scheme
		if s := at.aliasScheme(a.Scheme); s != nil {
			title = s.Titles.Get(pg.Lang)
		}
		data.Entries = append(data.Entries, aliasView{a, title, a.Holds(now), a.Scheme + ":" + a.Value})
	}
	return data
}

func (p *portal) workAliases(w http.ResponseWriter, r *http.Request, pg *page, at *workAt) error {
	if ok, err := pg.mayAmend(w, r, at); !ok || err != nil {
		return err
	}
	return pg.showAliases(w, r, http.StatusOK, pg.aliases(at, workForm{url.Values{}}))
}

func (pg *page) showAliases(w http.ResponseWriter, r *http.Request, status int, data *workAliases) error {
	data.Form.Set("revision", fmtRevision(data.Record.Revision))
	pg.Title = pg.T("work.aliases.title", data.Name)
	return pg.render(w, r, status, "work_aliases", data)
}

// checkAlias notes what is wrong with an entry, and returns who owns its scheme.
func (pg *page) checkAlias(at *workAt, field string, a cityid.Alias) cityid.Code {
	s := at.aliasScheme(a.Scheme)
	switch {
	case s == nil:
		pg.refuseField(field, pg.T("work.alias.scheme"))
		return cityid.Code{}
	case len(s.Patterns) > 0 && !slices.ContainsFunc(s.Patterns, func(p string) bool { return cityid.MatchPattern(p, a.Value) }):
		pg.refuseField(field, pg.T("work.alias.form", strings.Join(s.Patterns, " / ")))
	default:
		if err := cityid.CheckAliases([]cityid.Alias{a}); err != nil {
			pg.refuseField(field, pg.refusal(err))
		}
	}
	return s.Owner
}

// workAliasesSend adds an entry, ends one, or takes one made in error away.
func (p *portal) workAliasesSend(w http.ResponseWriter, r *http.Request, pg *page, at *workAt) error {
	if ok, err := pg.mayAmend(w, r, at); !ok || err != nil {
		return err
	}
	f := formOf(r)
	data := pg.aliases(at, f)
	if pg.stale(at, f) {
		return pg.showAliases(w, r, http.StatusConflict, data)
	}
	op := &cityid.Map{Code: at.Code(), Revision: at.Record.Revision}
	owner := cityid.Code{}
	if id := f.Get("entry"); id != "" {
		i := slices.IndexFunc(data.Entries, func(e aliasView) bool { return e.ID == id })
		if i < 0 {
			return cityid.Errorf(cityid.ErrNotFound, "%s has no entry %.80q", at.Code(), id)
		}
		op.Alias = data.Entries[i].Alias
		if op.Remove = f.Get("action") == "remove"; !op.Remove {
			op.Alias.Until = cityid.TimeOf(at.Answer.AsOf.Time)
		}
		if s := at.aliasScheme(op.Alias.Scheme); s != nil {
			owner = s.Owner
		}
	} else {
		op.Alias = cityid.Alias{Scheme: f.Get("scheme"), Value: f.Text("value")}
		op.Alias.From, op.Alias.Until = pg.dayFrom(f, "from"), pg.dayFrom(f, "until")
		if op.Alias.Value == "" {
			pg.refuseField("value", pg.T("work.alias.none"))
		} else if len(pg.Errors) == 0 {
			field := "value"
			if at.aliasScheme(op.Alias.Scheme) == nil {
				field = "scheme"
			}
			owner = pg.checkAlias(at, field, op.Alias)
		}
		if slices.ContainsFunc(data.Entries, func(e aliasView) bool { return e.Scheme == op.Alias.Scheme && e.Value == op.Alias.Value && e.Holds }) {
			pg.refuseField("value", pg.T("work.alias.known"))
		}
	}
	if len(pg.Errors) > 0 {
		return pg.showAliases(w, r, http.StatusUnprocessableEntity, data)
	}
	consents := []cityid.Code{at.Code()}
	if !owner.IsZero() {
		consents = append(consents, owner)
	}
	ops, err := pg.decideAll(consents, "", cityid.Operation{Map: op})
	if err != nil {
		return err
	}
	return pg.sign(w, r, pg.T("work.aliases.sign", at.Name, op.Alias.Value), at.URL+"/aliases", ops...)
}

// dayFrom reads a day, as its beginning in China; no text is zero.
func (pg *page) dayFrom(f workForm, field string) cityid.Time {
	text := f.Text(field)
	if text == "" {
		return 0
	}
	t, err := time.ParseInLocation(time.DateOnly, text, beijing)
	if err != nil || t.Year() < 1900 || t.Year() > 9999 {
		pg.refuseField(field, pg.T("work.day.bad"))
		return 0
	}
	return cityid.TimeOf(t)
}
