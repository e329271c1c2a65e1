// SPDX-License-Identifier: Apache-2.0

package portal

import (
	"errors"
	"net/http"
	"slices"
	"strings"

	"cityid"
)

// placement says what applying for a code would come to: whether the distribution
// rule and what is allocated allow it, who decides, and who else wants it.
type placement struct {
	Code      cityid.Code
	Display   string
	Parent    place
	Reviewing *reviewing
	Seats     []place
	Problems  []string // what makes it impossible
	Warnings  []string // what the applicant should know
	Competing []competitor
}

// competitor is another open application for the same code.
type competitor struct {
	Number uint64
	Name   string
	Tag    tag
}

// OK reports whether the code can be applied for.
func (x *placement) OK() bool { return len(x.Problems) == 0 }

// placement examines the code that a draft names. An application that is being
// revised does not compete with itself.
func (pg *page) placement(s *cityid.Settings, a *cityid.Allocation, revises *draftRevises) (*placement, error) {
	x := &placement{Code: a.Code, Display: a.Code.Display()}
	refuse := func(key string, args ...any) {
		x.Problems = append(x.Problems, pg.T("apply.code.problem."+key, args...))
	}
	rule := s.Rule.ForKind(a.Kind)
	if rule == nil {
		refuse("kind", pg.Kind(a.Kind))
		return x, nil
	}
	taken, err := pg.Source.Record(pg.ctx, a.Code)
	switch {
	case err == nil:
		refuse("taken", a.Code, pg.NameOf(taken.Record.Content.Names, a.Code))
	case !errors.Is(err, cityid.ErrNotFound):
		return nil, err
	}
	if len(rule.Patterns) > 0 && !slices.ContainsFunc(rule.Patterns, func(p string) bool { return cityid.MatchPattern(p, a.Code.LastNode()) }) {
		refuse("pattern", pg.Kind(a.Kind), strings.Join(rule.Patterns, ", "))
	}
	parent, err := pg.parentRecord(a.Code)
	if err != nil {
		return nil, err
	}
	if parent == nil {
		refuse("parent", a.Code)
		return x, nil
	}
	x.Parent = pg.placeOf(parent)
	if !slices.Contains(rule.Parents, parent.Kind) {
		refuse("below", pg.Kind(a.Kind), pg.Kind(parent.Kind))
	}
	if parent.Status != cityid.StatusActive {
		refuse("inactive", x.Parent.Name, pg.StatusName(parent.Status))
	}
	if x.Reviewing, err = pg.reviewing(pg.ctx, rule, a.Code, parent.Code); err != nil {
		return nil, err
	}
	if err := pg.placeSeats(x, refuse); err != nil {
		return nil, err
	}
	if err := pg.crosswalkTaken(x, a); err != nil {
		return nil, err
	}
	numbers := map[string]string{}
	for _, alias := range a.Aliases {
		numbers[alias.Scheme] = alias.Value
	}
	if usual := suggestCodes(a.Code.Parent(), rule, numbers); len(usual) > 0 && !slices.Contains(usual, a.Code) {
		x.Warnings = append(x.Warnings, pg.T("apply.code.warning.number", a.Code, usual[0]))
	}
	return x, pg.competing(x, revises)
}

// placeSeats names who decides.
func (pg *page) placeSeats(x *placement, refuse func(string, ...any)) error {
	decider, err := pg.placeAt(x.Reviewing.Decider)
	if err != nil {
		return err
	}
	if !x.Reviewing.Intake {
		refuse("intake", decider.Name)
	}
	for _, s := range x.Reviewing.Seats {
		at, err := pg.placeAt(s.Code)
		if err != nil {
			return err
		}
		x.Seats = append(x.Seats, at)
	}
	return nil
}

// crosswalkTaken warns when a foreign number belongs to another code already.
func (pg *page) crosswalkTaken(x *placement, a *cityid.Allocation) error {
	for _, alias := range a.Aliases {
		found, err := pg.Source.Lookup(pg.ctx, alias.Scheme, alias.Value)
		if errors.Is(err, cityid.ErrNotFound) {
			continue
		}
		if err != nil {
			return err
		}
		for _, e := range found.Entries {
			if e.Holds && e.Code != a.Code {
				x.Warnings = append(x.Warnings, pg.T("apply.code.warning.alias", alias.Value, e.Code, e.Names.Get(pg.Lang)))
			}
		}
	}
	return nil
}

// competing lists other open applications for the code.
func (pg *page) competing(x *placement, revises *draftRevises) error {
	for _, state := range []cityid.ProposalState{cityid.ProposalPending, cityid.ProposalReturned} {
		found, err := pg.Source.Proposals(pg.ctx, cityid.ProposalQuery{Code: x.Code, State: state, Limit: 20})
		if err != nil {
			return err
		}
		for i := range found.Proposals {
			o := &found.Proposals[i]
			if !o.Proposal.Application() || revises != nil && o.Proposal.Number == revises.Proposal {
				continue
			}
			a := &o.Proposal.Operations[0].Allocate.Items[0]
			if a.Code == x.Code {
				x.Competing = append(x.Competing, competitor{o.Proposal.Number, pg.NameOf(a.Content.Names, a.Code), pg.StateTag(o.State)})
			}
		}
	}
	return nil
}

// parentRecord returns the record below which a code would stand, or nil: for a
// place, the longest shorter place that is allocated and not retired, else the
// grammar's parent.
func (pg *page) parentRecord(code cityid.Code) (*cityid.Record, error) {
	if place := code.Place(); place != "" && code.LastNode() == place {
		s := code.String()
		for n := 1; n < len(place); n++ {
			c, err := cityid.ParseCanonical(s[:len(s)-n])
			if err != nil {
				break
			}
			a, err := pg.Source.Record(pg.ctx, c)
			if errors.Is(err, cityid.ErrNotFound) {
				continue
			}
			if err != nil {
				return nil, err
			}
			if a.Record.Status != cityid.StatusRetired {
				return &a.Record, nil
			}
		}
	}
	a, err := pg.Source.Record(pg.ctx, code.Parent())
	if errors.Is(err, cityid.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return &a.Record, nil
}

// suggestCodes returns the codes that the distribution rule gives a place with
// the foreign numbers of the draft, the best first. In GB/T 2260 each two digits
// name a level, and 00 none: 133100 is 1331 in the province 13.
func suggestCodes(apex cityid.Code, rule *cityid.KindRule, numbers map[string]string) []cityid.Code {
	var out []cityid.Code
	for _, scheme := range rule.Schemes {
		n := numbers[scheme]
		if n == "" {
			continue
		}
		significant := n
		for len(significant) > 2 && strings.HasSuffix(significant, "00") {
			significant = significant[:len(significant)-2]
		}
		for _, place := range []string{significant, n} {
			if len(rule.Patterns) > 0 && !slices.ContainsFunc(rule.Patterns, func(p string) bool { return cityid.MatchPattern(p, place) }) {
				continue
			}
			if c, err := cityid.ParseCanonical(apex.String() + "." + place); err == nil && !slices.Contains(out, c) {
				out = append(out, c)
			}
		}
	}
	return out
}

// chooseData is the page on which the code is chosen.
type chooseData struct {
	*draft
	Suggested []cityid.Code
	Chosen    string
	Place     *placement
	Map       *drawing
	Patterns  string
	Locked    bool
}

// codePage suggests a code, and says what applying for it would come to.
func (p *portal) codePage(w http.ResponseWriter, r *http.Request, pg *page, d *draft) error {
	return pg.showChoice(w, r, http.StatusOK, d, strings.TrimSpace(r.URL.Query().Get("code")))
}

func (pg *page) showChoice(w http.ResponseWriter, r *http.Request, status int, d *draft, chosen string) error {
	settings, err := pg.Source.Settings(r.Context())
	if err != nil {
		return err
	}
	node, err := pg.Source.Status(r.Context())
	if err != nil {
		return err
	}
	a := d.allocation()
	rule := settings.Rule.ForKind(a.Kind)
	if rule == nil {
		http.Redirect(w, r, pg.URL("/apply/draft/identity"), http.StatusSeeOther)
		return nil
	}
	data := &chooseData{draft: d, Suggested: suggestCodes(node.Zone, rule, d.Aliases), Chosen: chosen, Patterns: strings.Join(rule.Patterns, ", "), Locked: d.File != nil || d.Revises != nil}
	switch {
	case data.Locked:
		data.Chosen = a.Code.String()
	case chosen == "" && d.Code != "":
		data.Chosen = d.Code
	case chosen == "" && len(data.Suggested) > 0:
		data.Chosen = data.Suggested[0].String()
	}
	if code, err := cityid.Parse(data.Chosen); err == nil {
		a.Code = code
		if data.Place, err = pg.placement(settings, &a, d.Revises); err != nil {
			return err
		}
	} else if data.Chosen != "" && len(pg.Errors) == 0 {
		pg.refuseField("other", pg.T("apply.code.wrong"))
		status = http.StatusUnprocessableEntity
	}
	if l := d.location(); l != nil {
		if data.Map, err = pg.neighbours(l, d.Names[pg.Lang]); err != nil {
			return err
		}
	}
	pg.Title = pg.T("apply.task.code")
	return pg.render(w, r, status, "apply_code", data)
}

// neighbours draws a place among what has codes around it.
func (pg *page) neighbours(l *cityid.Location, title string) (*drawing, error) {
	v := around(*l, 6)
	marks, _, err := pg.mapMarks(v, cityid.Code{}, []cityid.Kind{cityid.KindProvince, cityid.KindCity, cityid.KindCounty})
	if err != nil {
		return nil, err
	}
	own := mapMark{Lat: float64(l.Lat) / 1e7, Lon: float64(l.Lon) / 1e7, Title: title, Own: true}
	return &drawing{SVG: pg.basemap.draw(v, pg.T("map.label"), append(marks, own)), Source: pg.basemap.Source, Approval: pg.basemap.Approval}, nil
}

// codeSave takes the choice, or looks at another code first.
func (p *portal) codeSave(w http.ResponseWriter, r *http.Request, pg *page, d *draft) error {
	if err := parseForm(w, r); err != nil {
		return err
	}
	if d.File != nil || d.Revises != nil {
		http.Redirect(w, r, pg.URL("/apply/draft"), http.StatusSeeOther)
		return nil
	}
	typed := value(r, "code")
	if typed == "other" || typed == "" {
		typed = value(r, "other")
	}
	code, err := cityid.Parse(typed)
	if err != nil {
		pg.refuseField("other", pg.T("apply.code.wrong"))
		return pg.showChoice(w, r, http.StatusUnprocessableEntity, d, "")
	}
	settings, err := p.Source.Settings(r.Context())
	if err != nil {
		return err
	}
	d.Code = code.String()
	a := d.allocation()
	x, err := pg.placement(settings, &a, d.Revises)
	if err != nil {
		return err
	}
	if !x.OK() {
		for _, problem := range x.Problems {
			pg.refuseField("other", problem)
		}
		d.Code = ""
		return pg.showChoice(w, r, http.StatusUnprocessableEntity, d, code.String())
	}
	if err := d.save(pg); err != nil {
		return err
	}
	http.Redirect(w, r, pg.URL("/apply/draft"), http.StatusSeeOther)
	return nil
}

// degreesText writes a coordinate in decimal degrees, as forms take it.
func degreesText(v int32) string {
	b, err := cityid.Location{Lat: v}.MarshalJSON()
	if err != nil {
		return ""
	}
	s, _, _ := strings.Cut(strings.TrimPrefix(string(b), `{"lat":`), ",")
	return s
}
