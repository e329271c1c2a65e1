// SPDX-License-Identifier: Apache-2.0

package portal

import (
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"cityid"
	"cityid/internal/describe"
)

// The workspace is where those who hold codes manage what lies below them. Its
// pages stand below the code they concern:
//
//	/work                 codes the visitor may act for, and what waits
//	/work/CODE            what lies below a code, and who governs it
//	/work/CODE/allocate   one code more
//	/work/CODE/many       several, as a small table
//	/work/CODE/amend      names, location, documents
//	/work/CODE/links      links, with a preview
//	/work/CODE/hosts      hosts that links of codes below may use
//	/work/CODE/status     suspend, restore, retire
//	/work/CODE/aliases    crosswalk entries
//	/work/CODE/policy     whose keys decide, and how many
//	/work/CODE/audit      an archive of all changes in a period
//	/work/CODE/reports    what people reported, see report.go
//	/work/CODE/sealed     sealed contents to take along, see work_sealed.go
//	/work/CODE/agreements on data of others and for others, see share.go
//
// Everybody may look. A form is shown to whoever has a voice in the policy that
// decides, and ends on the page for signing: as the change itself if the
// visitor's key alone decides, else as a proposal to those who decide together.

// workAt is the code that a page of the workspace concerns.
type workAt struct {
	Answer   *cityid.RecordAnswer
	Record   *cityid.Record
	Name     string
	Tag      tag
	Trail    []crumb
	URL      string
	Holder   place
	Policy   *cityid.Policy // that governs the code
	Above    *cityid.Record // what stands above it; nil for an apex
	Idle     *place         // a code at or above it that is not active: no policy acts
	May      bool           // the visitor has a voice in what governs the code
	MayAbove bool           // and in what governs the code above
	Rule     *cityid.Settings
}

// Code returns the code.
func (at *workAt) Code() cityid.Code { return at.Record.Code }

// workStep is what can be done at a code: a page, and what its form sends.
type workStep struct {
	show, take func(w http.ResponseWriter, r *http.Request, pg *page, at *workAt) error
}

// workSteps lists them by the last part of the address.
func (p *portal) workSteps() map[string]workStep {
	return map[string]workStep{
		"":           {show: p.workTree},
		"agreements": {p.workShare, p.workShareSend},
		"aliases":    {p.workAliases, p.workAliasesSend},
		"allocate":   {p.workAllocate, p.workAllocateSend},
		"amend":      {p.workAmend, p.workAmendSend},
		"audit":      {p.workAudit, p.workAuditSend},
		"complete":   {nil, p.workComplete},
		"hosts":      {p.workHosts, p.workHostsSend},
		"links":      {p.workLinks, p.workLinksSend},
		"many":       {p.workMany, p.workManySend},
		"policy":     {p.workKeys, p.workKeysSend},
		"reports":    {show: p.workReports},
		"sealed":     {p.workSealed, p.workSealedSend},
		"status":     {p.workStatus, p.workStatusSend},
		"veto":       {nil, p.workVeto},
		"withdraw":   {nil, p.workWithdraw},
	}
}

// Most octets of what a form of the workspace sends: documents are only hashed.
const (
	maxWorkForm = 1 << 20
	maxWorkFile = 64 << 20
)

// workPage answers all addresses below /work/.
func (p *portal) workPage(w http.ResponseWriter, r *http.Request, pg *page) error {
	path := r.PathValue("path")
	if path == "" {
		http.Redirect(w, r, pg.URL("/work"), http.StatusSeeOther)
		return nil
	}
	steps, name, more := p.workSteps(), "", ""
	if head, rest, ok := shareStep(path); ok {
		path, name = head, "agreements"
		if rest != "" {
			more = "/" + rest
		}
	} else if i := strings.LastIndexByte(path, '/'); i >= 0 {
		if _, ok := steps[path[i+1:]]; ok {
			path, name = path[:i], path[i+1:]
		}
	}
	code, err := cityid.Parse(path)
	if err != nil {
		return cityid.Errorf(cityid.ErrNotFound, "the address is no code: %v", err)
	}
	if code.String() != path && r.Method != http.MethodPost {
		u := url.URL{Path: strings.TrimSuffix(pg.URL("/work/", code.String(), "/", name), "/") + more, RawQuery: r.URL.RawQuery}
		http.Redirect(w, r, u.String(), http.StatusPermanentRedirect)
		return nil
	}
	pg.Private = pg.Key() != ""
	at, err := pg.workAt(code)
	if err != nil {
		return err
	}
	step := steps[name]
	if r.Method != http.MethodPost { // HEAD comes as GET does
		if step.show == nil {
			http.Redirect(w, r, at.URL, http.StatusSeeOther)
			return nil
		}
		return step.show(w, r, pg, at)
	}
	if step.take == nil {
		return errNoPage
	}
	if p.Office == nil {
		return errNoOffice
	}
	if err := parseWorkForm(w, r); err != nil {
		return err
	}
	return step.take(w, r, pg, at)
}

// parseWorkForm reads a form, whose files are kept in memory no further than
// the form's own bound.
func parseWorkForm(w http.ResponseWriter, r *http.Request) error {
	var err error
	if strings.HasPrefix(r.Header.Get("Content-Type"), "multipart/form-data") {
		r.Body = http.MaxBytesReader(w, r.Body, maxWorkFile)
		err = r.ParseMultipartForm(maxWorkForm)
	} else {
		r.Body = http.MaxBytesReader(w, r.Body, maxWorkForm)
		err = r.ParseForm()
	}
	if tooLarge := new(http.MaxBytesError); errors.As(err, &tooLarge) {
		return cityid.Errorf(cityid.ErrTooLarge, "the form is longer than %d octets", tooLarge.Limit)
	}
	if err != nil {
		return cityid.Errorf(cityid.ErrMalformed, "%v", err)
	}
	return nil
}

// workAt looks up the code of a page, who governs it, and the visitor's part.
func (pg *page) workAt(code cityid.Code) (*workAt, error) {
	answer, err := pg.Source.Record(pg.ctx, code)
	if err != nil {
		return nil, err
	}
	rec := &answer.Record
	at := &workAt{Answer: answer, Record: rec, Name: pg.NameOf(rec.Content.Names, code), Tag: pg.StatusTag(rec.Status), URL: pg.URL("/work/", code.String())}
	if at.Above, err = pg.above(rec); err != nil {
		return nil, err
	}
	if rec.Status != cityid.StatusActive {
		at.Idle = &place{}
		*at.Idle = pg.placeOf(rec)
	}
	at.Trail = []crumb{{pg.URL("/work"), pg.T("page.nav.work")}}
	above, err := pg.ancestors(rec)
	if err != nil {
		return nil, err
	}
	for _, x := range above {
		if x.Kind != cityid.KindAuthority || len(above) == 1 {
			at.Trail = append(at.Trail, crumb{pg.URL("/work/", x.Code.String()), pg.NameOf(x.Content.Names, x.Code)})
		}
	}
	for x := at.Above; x != nil && at.Idle == nil; {
		if x.Status != cityid.StatusActive {
			idle := pg.placeOf(x)
			at.Idle = &idle
		}
		if x, err = pg.above(x); err != nil {
			return nil, err
		}
	}
	at.Trail = append(at.Trail, crumb{at.URL, at.Name})
	if !answer.Holder.IsZero() {
		holder, err := pg.Source.Record(pg.ctx, answer.Holder)
		if err != nil {
			return nil, err
		}
		at.Holder, at.Policy = pg.placeOf(&holder.Record), holder.Record.Policy
		at.Holder.URL = pg.URL("/work/", answer.Holder.String())
	}
	if at.May, err = pg.takesPart(code); err != nil {
		return nil, err
	}
	if at.Above != nil {
		if at.MayAbove, err = pg.takesPart(at.Above.Code); err != nil {
			return nil, err
		}
	}
	at.Rule, err = pg.Source.Settings(pg.ctx)
	return at, err
}

// above returns what stands above a record: its parent, or, when that is
// retired, the heir it names. Nil for an apex.
func (pg *page) above(rec *cityid.Record) (*cityid.Record, error) {
	for n, next := 0, rec.Parent; !next.IsZero() && n < 32; n++ {
		a, err := pg.Source.Record(pg.ctx, next)
		if err != nil {
			return nil, err
		}
		if a.Record.Status != cityid.StatusRetired || a.Record.Heir.IsZero() {
			return &a.Record, nil
		}
		next = a.Record.Heir
	}
	return nil, nil
}

// takesPart reports whether the visitor's key has a voice in the policy that
// governs a code now: as a key of it, or in a code that is a member of it.
func (pg *page) takesPart(code cityid.Code) (bool, error) {
	if pg.Key() == "" {
		return false, nil
	}
	return pg.hasVoice(code, 0)
}

func (pg *page) hasVoice(code cityid.Code, depth int) (bool, error) {
	a, err := pg.Source.Record(pg.ctx, code)
	if errors.Is(err, cityid.ErrNotFound) || err == nil && (a.Holder.IsZero() || depth > cityid.MaxPolicyDepth) {
		return false, nil
	}
	if err == nil && a.Holder != code {
		a, err = pg.Source.Record(pg.ctx, a.Holder)
	}
	if err != nil || a.Record.Policy == nil {
		return false, err
	}
	now := cityid.TimeOf(a.AsOf.Time)
	for _, m := range a.Record.Policy.Members {
		if slices.ContainsFunc(m.Keys, func(k cityid.Key) bool { return k.Public == pg.Key() && k.Holds(cityid.RoleControl, now) }) {
			return true, nil
		}
		if m.Code.IsZero() {
			continue
		}
		if ok, err := pg.hasVoice(m.Code, depth+1); ok || err != nil {
			return ok, err
		}
	}
	return false, nil
}

// decideAll is decide for operations that need the consent of several codes.
func (pg *page) decideAll(codes []cityid.Code, note string, ops ...cityid.Operation) ([]cityid.Operation, error) {
	for _, c := range codes {
		alone, err := pg.direct(c)
		if err != nil {
			return nil, err
		}
		if !alone {
			return []cityid.Operation{{Propose: &cityid.Propose{Operations: ops, Note: note}}}, nil
		}
	}
	return ops, nil
}

// workRefused is what a visitor sees instead of a form they have no part in.
type workRefused struct {
	At     *workAt
	Who    place // whose policy decides
	Policy []describe.Line
	Why    string // besides the key
}

// refuseWork explains why a form is not for this visitor.
func (pg *page) refuseWork(w http.ResponseWriter, r *http.Request, at *workAt, decider cityid.Code, why string) error {
	data := &workRefused{At: at, Why: why}
	a, err := pg.Source.Record(pg.ctx, decider)
	if err != nil {
		return err
	}
	if !a.Holder.IsZero() {
		if a, err = pg.Source.Record(pg.ctx, a.Holder); err != nil {
			return err
		}
	}
	data.Who, data.Policy = pg.placeOf(&a.Record), describe.Policy(pg.Lang, a.Record.Policy)
	pg.Title = pg.T("work.refused.title")
	return pg.render(w, r, http.StatusForbidden, "work_refused", data)
}

// mayWork answers with a refusal unless the visitor may take part in what the
// code's own policy decides, and that policy acts.
func (pg *page) mayWork(w http.ResponseWriter, r *http.Request, at *workAt) (bool, error) {
	switch {
	case at.Record.Status == cityid.StatusRetired:
		return false, pg.refuseWork(w, r, at, at.Code(), pg.T("work.refused.retired"))
	case at.Idle != nil:
		return false, pg.refuseWork(w, r, at, at.Code(), pg.T("work.refused.idle", at.Idle.Name, at.Idle.Code))
	case !at.May:
		return false, pg.refuseWork(w, r, at, at.Code(), "")
	}
	return true, nil
}

// workForm is a form as it was sent, or as it begins.
type workForm struct{ url.Values }

// Text returns a field without blanks around it.
func (f workForm) Text(name string) string { return strings.TrimSpace(f.Get(name)) }

// Has reports whether a field holds a value, as boxes and choices do.
func (f workForm) Has(name, value string) bool { return slices.Contains(f.Values[name], value) }

// formOf returns the form that a request has sent.
func formOf(r *http.Request) workForm { return workForm{r.PostForm} }

// stale notes that the record changed since the form was made, and reports it.
func (pg *page) stale(at *workAt, f workForm) bool {
	if f.Get("revision") == "" || f.Get("revision") == fmtRevision(at.Record.Revision) {
		return false
	}
	pg.refuseField("", pg.T("work.stale", at.Record.Revision, pg.Moment(pg.At(at.Record.Changed.Time))))
	return true
}

// LinkRelations lists the relations that forms offer for links.
func (pg *page) LinkRelations() []string { return linkRelations }

// Relation names a link's relation.
func (pg *page) Relation(rel string) string {
	if slices.Contains(linkRelations, rel) {
		return pg.T("work.rel." + rel)
	}
	return rel
}

// StatusStep says what changing a status to s is called, and StatusMeaning what
// it brings about.
func (pg *page) StatusStep(s cityid.Status) string    { return pg.T("work.status.to." + s.String()) }
func (pg *page) StatusMeaning(s cityid.Status) string { return pg.T("work.status.means." + s.String()) }

// workScreens are the pages of the workspace. Imports have their own below it.
func (p *portal) workScreens() map[string]endpoint {
	return map[string]endpoint{
		"GET /work":            p.work,
		"GET /work/{path...}":  p.workPage,
		"POST /work/{path...}": p.workPage,
	}
}
