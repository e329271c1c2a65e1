// SPDX-License-Identifier: Apache-2.0

package portal

import (
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"

	"cityid"
	"cityid/internal/office"
)

// Example is an application that a demonstration invites its visitors to make.
type Example struct {
	Kind    cityid.Kind
	Names   map[string]string
	Aliases map[string]string // by scheme
	Lat     string
	Lon     string
}

// placeKinds are what cities and their like apply for.
var placeKinds = []cityid.Kind{cityid.KindProvince, cityid.KindCity, cityid.KindCounty}

// applyData is the page on which applying begins.
type applyData struct {
	Draft   bool // the session has one open
	Resume  string
	Ref     string
	Days    int // within which an application should be decided; 0: not said
	Example *Example
	Kinds   []kindNeeds
}

// kindNeeds says what the distribution rule asks of an application.
type kindNeeds struct {
	Name     string
	Schemes  []string
	Evidence int
}

// applyPage says what is needed, and offers to start, go on, or look up.
func (p *portal) applyPage(w http.ResponseWriter, r *http.Request, pg *page) error {
	return pg.showApply(w, r, http.StatusOK, &applyData{Ref: r.URL.Query().Get("reference")})
}

func (pg *page) showApply(w http.ResponseWriter, r *http.Request, status int, data *applyData) error {
	if pg.Office == nil {
		return errNoOffice
	}
	settings, err := pg.Source.Settings(r.Context())
	if err != nil {
		return err
	}
	if r.Method == http.MethodPost {
		pg.Path = "/apply" // where the page is to be had in the other language
	}
	data.Draft = pg.session != nil && pg.session.Bag[draftBag] != ""
	data.Days, data.Example = serviceDays(&settings.Params), pg.Example
	for _, k := range placeKinds {
		if rule := settings.Rule.ForKind(k); rule != nil {
			data.Kinds = append(data.Kinds, kindNeeds{pg.Kind(k), pg.schemeTitles(settings, rule.Schemes), int(rule.Evidence)})
		}
	}
	pg.Title = pg.T("apply.title")
	return pg.render(w, r, status, "apply", data)
}

// schemeTitles names crosswalk schemes.
func (pg *page) schemeTitles(s *cityid.Settings, names []string) []string {
	var out []string
	for _, n := range names {
		out = append(out, pg.schemeTitle(s, n))
	}
	return out
}

func (pg *page) schemeTitle(s *cityid.Settings, name string) string {
	for i := range s.Schemes {
		if s.Schemes[i].Name == name {
			return s.Schemes[i].Titles.Get(pg.Lang)
		}
	}
	return name
}

// applyStart begins a draft: an empty one, or one with the example filled in.
func (p *portal) applyStart(w http.ResponseWriter, r *http.Request, pg *page) error {
	if err := pg.Limits.Visit(r); err != nil {
		return err
	}
	var c draftContent
	if e := p.Example; e != nil && r.PostFormValue("example") != "" {
		c = draftContent{Kind: e.Kind, Names: e.Names, Aliases: e.Aliases, Lat: e.Lat, Lon: e.Lon}
	}
	return pg.newDraft(w, r, c)
}

// newDraft stores a draft, opens it in this session, and shows its resume code.
func (pg *page) newDraft(w http.ResponseWriter, r *http.Request, c draftContent) error {
	if err := pg.Limits.Draft(r); err != nil {
		return err
	}
	c.Version = 1
	content, err := json.Marshal(&c)
	if err != nil {
		return err
	}
	resume, err := pg.Office.NewDraft(r.Context(), content)
	if err != nil {
		return officeError(err)
	}
	if err := pg.keepDraft(w, r, resume, true); err != nil {
		return err
	}
	http.Redirect(w, r, pg.URL("/apply/draft/resume"), http.StatusSeeOther)
	return nil
}

// applyResume opens a draft by a typed resume code. Every attempt is counted
// before anything is looked at.
func (p *portal) applyResume(w http.ResponseWriter, r *http.Request, pg *page) error {
	if err := pg.Limits.Attempt(r); err != nil {
		return err
	}
	typed := r.PostFormValue("code")
	d, err := p.openDraft(r, typed)
	switch {
	case errors.Is(err, office.ErrInvalid):
		pg.refuseField("code", pg.T("apply.resume.mistyped"))
	case errors.Is(err, office.ErrNotFound), errors.Is(err, office.ErrExpired):
		pg.refuseField("code", pg.T("apply.resume.unknown"))
	case err != nil:
		return err
	case d.stored.Reference != "":
		return pg.handedIn(w, r, d.stored.Reference)
	default:
		resume, err := office.FormatResume(typed)
		if err != nil {
			return officeError(err)
		}
		if err := pg.keepDraft(w, r, resume, false); err != nil {
			return err
		}
		http.Redirect(w, r, pg.URL("/apply/draft"), http.StatusSeeOther)
		return nil
	}
	return pg.showApply(w, r, http.StatusUnprocessableEntity, &applyData{})
}

// applyLookup goes to the status of a typed reference.
func (p *portal) applyLookup(w http.ResponseWriter, r *http.Request, pg *page) error {
	reference, err := office.ParseReference(r.PostFormValue("reference"))
	if err != nil {
		pg.refuseField("reference", pg.T("apply.lookup.mistyped"))
		return pg.showApply(w, r, http.StatusUnprocessableEntity, &applyData{})
	}
	http.Redirect(w, r, pg.URL("/apply/status/", reference), http.StatusSeeOther)
	return nil
}

// resumePage shows the resume code of a new draft until the visitor has noted it.
func (p *portal) resumePage(w http.ResponseWriter, r *http.Request, pg *page, d *draft) error {
	if pg.session.Bag[freshBag] == "" {
		http.Redirect(w, r, pg.URL("/apply/draft"), http.StatusSeeOther)
		return nil
	}
	pg.Title = pg.T("apply.saved.title")
	return pg.render(w, r, http.StatusOK, "apply_resume", struct {
		Code    string
		Expires string
	}{d.resume, pg.Day(d.stored.Expires)})
}

// resumeNoted ends that.
func (p *portal) resumeNoted(w http.ResponseWriter, r *http.Request, pg *page, _ *draft) error {
	delete(pg.session.Bag, freshBag)
	if err := p.Office.SetBag(r.Context(), pg.session.token, pg.session.Bag); err != nil {
		return err
	}
	http.Redirect(w, r, pg.URL("/apply/draft"), http.StatusSeeOther)
	return nil
}

// draftLeave takes the draft out of this session, for whoever shares the
// computer; the resume code opens it again.
func (p *portal) draftLeave(w http.ResponseWriter, r *http.Request, pg *page, _ *draft) error {
	if err := pg.forgetDraft(); err != nil {
		return err
	}
	http.Redirect(w, r, pg.URL("/apply"), http.StatusSeeOther)
	return nil
}

// draftDelete removes the draft for good.
func (p *portal) draftDelete(w http.ResponseWriter, r *http.Request, pg *page, d *draft) error {
	if err := p.Office.DeleteDraft(r.Context(), d.resume); err != nil && !errors.Is(err, office.ErrNotFound) {
		return err
	}
	return p.draftLeave(w, r, pg, d)
}

// task is a line of the task list.
type task struct {
	Text, Hint, URL string // no URL: it can not begin yet
	Tag             tag
	Done            bool
}

// tasksData is the task list.
type tasksData struct {
	Tasks   []task
	Done    int
	Ready   bool // all tasks before the last are done
	Expires string
	Name    string
	Revises *draftRevises
	File    bool
}

// tasksPage shows what is done and what is to do.
func (p *portal) tasksPage(w http.ResponseWriter, r *http.Request, pg *page, d *draft) error {
	if pg.session.Bag[freshBag] != "" {
		http.Redirect(w, r, pg.URL("/apply/draft/resume"), http.StatusSeeOther)
		return nil
	}
	x, err := pg.examine(d)
	if err != nil {
		return err
	}
	data := &tasksData{Tasks: pg.tasks(d, x), Expires: pg.Day(d.stored.Expires), Revises: d.Revises, File: d.File != nil}
	a := d.allocation()
	if data.Name = a.Content.Names.Get(pg.Lang); data.Name == "" {
		data.Name = pg.T("apply.tasks.unnamed")
	}
	for _, t := range data.Tasks {
		if t.Done {
			data.Done++
		}
	}
	data.Ready = x.ready()
	pg.Title = pg.T("apply.tasks.title")
	return pg.render(w, r, http.StatusOK, "apply_tasks", data)
}

// examined is what a draft still lacks, and what stands in its way.
type examined struct {
	settings *cityid.Settings
	chain    string
	place    *placement // of the chosen code; nil: none is chosen
	identity bool
	code     bool
	officers bool
	evidence bool
	proofs   bool
	problem  string // of the policy
	proven   int
	signing  int // keys that must prove
}

func (x *examined) ready() bool { return x.identity && x.code && x.officers && x.evidence && x.proofs }

// examine holds a draft against the registry as it is now.
func (pg *page) examine(d *draft) (*examined, error) {
	settings, err := pg.Source.Settings(pg.ctx)
	if err != nil {
		return nil, err
	}
	x := &examined{settings: settings, chain: settings.AsOf.Chain}
	a := d.allocation()
	rule := settings.Rule.ForKind(a.Kind)
	x.identity = rule != nil && d.complete(rule)
	if !a.Code.IsZero() && rule != nil {
		if x.place, err = pg.placement(settings, &a, d.Revises); err != nil {
			return nil, err
		}
		x.code = x.identity && x.place.OK()
	}
	x.problem = policyProblem(a.Policy)
	x.officers = a.Policy != nil && x.problem == ""
	want := 0
	if rule != nil {
		want = int(rule.Evidence)
	}
	have := len(d.evidence())
	x.evidence = have >= want && (d.File == nil || len(d.Documents) == have)
	x.signing, x.proven = len(a.Policy.SigningKeys()), len(d.possessions(x.chain))
	x.proofs = x.code && x.officers && x.signing > 0 && x.proven == x.signing
	return x, nil
}

// complete reports whether what the rule asks of a place is there.
func (d *draft) complete(rule *cityid.KindRule) bool {
	a := d.allocation()
	names := !slices.ContainsFunc(rule.Languages, func(l string) bool { return !a.Content.Names.Has(l) })
	schemes := !slices.ContainsFunc(rule.Schemes, func(s string) bool {
		return !slices.ContainsFunc(a.Aliases, func(x cityid.Alias) bool { return x.Scheme == s })
	})
	return names && schemes && len(a.Content.Names) > 0 && d.Contact.Name != "" && (d.Contact.Phone != "" || d.Contact.Email != "")
}

// tasks makes the task list.
func (pg *page) tasks(d *draft, x *examined) []task {
	var out []task
	add := func(name string, begun, done, possible bool, hint string) {
		t := task{Text: pg.T("apply.task." + name), Hint: hint, URL: pg.URL("/apply/draft/", name), Done: done}
		switch {
		case done:
			t.Tag = tag{Text: pg.T("apply.state.done"), Class: "good", Icon: "✓"}
		case !possible:
			t.URL, t.Tag = "", tag{Text: pg.T("apply.state.blocked"), Class: "plain", Icon: "–"}
		case begun:
			t.Tag = tag{Text: pg.T("apply.state.begun"), Class: "warn", Icon: "◐"}
		default:
			t.Tag = tag{Text: pg.T("apply.state.todo"), Class: "info", Icon: "○"}
		}
		out = append(out, t)
	}
	a := d.allocation()
	kind := ""
	if a.Kind != 0 {
		kind = pg.Kind(a.Kind) + " · " + strings.Join(nameTexts(a.Content.Names), " · ")
	}
	add("identity", a.Kind != 0 || len(d.Names) > 0, x.identity, true, kind)
	add("code", !a.Code.IsZero(), x.code, x.identity || d.File != nil, a.Code.String())
	hint := ""
	if a.Policy != nil {
		hint = pg.T("apply.task.officers.hint", len(a.Policy.Members), a.Policy.Threshold)
	}
	add("officers", a.Policy != nil, x.officers, true, hint)
	want := 0
	if rule := x.settings.Rule.ForKind(a.Kind); rule != nil {
		want = int(rule.Evidence)
	}
	hint = pg.N("apply.task.evidence.hint", len(d.evidence()))
	if want > 0 {
		hint = pg.T("apply.task.evidence.want", len(d.evidence()), want)
	} else if len(d.evidence()) == 0 {
		hint = pg.T("apply.task.evidence.optional")
	}
	add("evidence", len(d.evidence()) > 0, x.evidence, true, hint)
	if x.evidence && len(d.evidence()) == 0 {
		last := &out[len(out)-1]
		last.Done, last.Tag = false, tag{Text: pg.T("apply.state.optional"), Class: "plain", Icon: "○"}
	}
	hint = ""
	if x.signing > 0 {
		hint = pg.T("apply.task.proofs.hint", x.proven, x.signing)
	}
	add("proofs", x.proven > 0, x.proofs, x.code && x.officers, hint)
	add("check", false, false, x.ready(), "")
	return out
}

func nameTexts(n cityid.Names) []string {
	var out []string
	for _, x := range n {
		out = append(out, x.Text)
	}
	return out
}

// policyProblem says why a first policy could not stand: "unreachable" if all
// that could meet it are passkeys of one host, or what else is wrong with it.
func policyProblem(p *cityid.Policy) string {
	if p == nil {
		return ""
	}
	if err := p.Check(); err != nil {
		return err.Error()
	}
	q := cityid.Quorum{Threshold: p.Threshold}
	all := cityid.KeySet{}
	for i := range p.Members {
		m := cityid.QuorumMember{Code: p.Members[i].Code}
		for j := range p.Members[i].Keys {
			if k := &p.Members[i].Keys[j]; k.Roles&cityid.RoleControl != 0 && k.Until == 0 && k.Compromised == 0 {
				m.Keys = append(m.Keys, k.Public)
				all[k.Public] = true
			}
		}
		if !m.Code.IsZero() {
			return "" // only the registry knows what stands behind a code
		}
		q.Members = append(q.Members, m)
	}
	if !q.Met(all) {
		return "unreachable"
	}
	return ""
}

// applyScreens are the pages for applicants.
func (p *portal) applyScreens() map[string]endpoint {
	return map[string]endpoint{
		"GET /apply":                            p.applyPage,
		"POST /apply/start":                     p.applicant(p.applyStart),
		"POST /apply/resume":                    p.applicant(p.applyResume),
		"POST /apply/lookup":                    p.applicant(p.applyLookup),
		"POST /apply/file":                      p.applicant(p.applyFile),
		"GET /apply/draft":                      p.drafting(p.tasksPage),
		"GET /apply/draft/resume":               p.drafting(p.resumePage),
		"POST /apply/draft/resume":              p.drafting(p.resumeNoted),
		"POST /apply/draft/leave":               p.drafting(p.draftLeave),
		"POST /apply/draft/delete":              p.drafting(p.draftDelete),
		"GET /apply/draft/identity":             p.drafting(p.identityPage),
		"POST /apply/draft/identity":            p.drafting(p.identitySave),
		"GET /apply/draft/code":                 p.drafting(p.codePage),
		"POST /apply/draft/code":                p.drafting(p.codeSave),
		"GET /apply/draft/officers":             p.drafting(p.officersPage),
		"POST /apply/draft/officers":            p.drafting(p.officersSave),
		"GET /apply/draft/officers/{n}":         p.drafting(p.officerPage),
		"POST /apply/draft/officers/{n}":        p.drafting(p.officerSave),
		"POST /apply/draft/officers/{n}/remove": p.drafting(p.officerRemove),
		"GET /apply/draft/evidence":             p.drafting(p.evidencePage),
		"POST /apply/draft/evidence":            p.drafting(p.evidenceAdd),
		"POST /apply/draft/evidence/remove":     p.drafting(p.evidenceRemove),
		"GET /apply/draft/evidence/{document}":  p.drafting(p.evidenceGet),
		"GET /apply/draft/proofs":               p.drafting(p.proofsPage),
		"POST /apply/draft/proofs":              p.drafting(p.proofAdd),
		"GET /apply/draft/file":                 p.drafting(p.draftFile),
		"POST /apply/draft/file":                p.drafting(p.draftUpload),
		"GET /apply/draft/check":                p.drafting(p.checkPage),
		"POST /apply/draft/check":               p.drafting(p.handIn),
		"GET /prove":                            p.applicant(p.provePage),
		"POST /prove":                           p.applicant(p.proveOpen),
		"POST /prove/sign":                      p.applicant(p.proveSign),
		"POST /prove/file":                      p.applicant(p.proveFile),
		"GET /apply/receipt/{reference}":        p.applicant(p.receiptPage),
		"GET /apply/status/{reference}":         p.applicant(p.statusPage),
		"POST /apply/status/{reference}/revise": p.applicant(p.statusRevise),
	}
}
