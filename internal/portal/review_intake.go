// SPDX-License-Identifier: Apache-2.0

package portal

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"time"

	"cityid"
	"cityid/internal/describe"
	"cityid/internal/office"
)

// The intake is where a clerk looks at what was handed in here, and brings it onto
// the chain with an intake key, or declines it with a reason. An application is
// known to be brought by the proposal that asks for just the same, however the
// transaction was signed.

// intakeRows is how many applications a page of the intake has.
const intakeRows = 50

// intakeData is the list of applications.
type intakeData struct {
	Views []reviewFilter
	Rows  []intakeRow
	Next  string
}

type intakeRow struct {
	office.Application
	URL  string
	What string
	Tag  tag
	Link *navItem // to the proposal it became
}

// intakeStates are the states the list can be filtered by, in order.
var intakeStates = []office.ApplicationState{office.ApplicationWaiting, office.ApplicationBrought, office.ApplicationDeclined}

// intakeList lists the applications in a state.
func (p *portal) intakeList(w http.ResponseWriter, r *http.Request, pg *page) error {
	if err := p.settleIntake(r.Context()); err != nil {
		return err
	}
	state := office.ApplicationWaiting
	data := &intakeData{}
	for _, s := range intakeStates {
		if r.URL.Query().Get("state") == s.String() {
			state = s
		}
	}
	for _, s := range intakeStates {
		data.Views = append(data.Views, reviewFilter{navItem: navItem{
			URL: pg.URL("/intake?state=", s.String()), Text: pg.T("review.intake." + s.String()), Current: s == state,
		}, Count: -1})
	}
	after, err := strconv.ParseInt(r.URL.Query().Get("after"), 10, 64)
	if err != nil {
		after = 0
	}
	list, err := p.Office.Applications(r.Context(), state, after, intakeRows)
	if err != nil {
		return err
	}
	for i := range list {
		data.Rows = append(data.Rows, pg.intakeRow(&list[i]))
	}
	if len(list) == intakeRows {
		data.Next = address(r, "after", strconv.FormatInt(list[len(list)-1].Number, 10))
	}
	pg.Title = pg.T("review.intake.title")
	return pg.render(w, r, http.StatusOK, "review_intake", data)
}

func (pg *page) intakeRow(a *office.Application) intakeRow {
	row := intakeRow{
		Application: *a, URL: pg.URL("/intake/", a.Reference), What: describe.Summary(pg.Lang, appliedOperations(&a.Apply)),
		Tag: tag{Text: pg.T("review.intake." + a.State.String()), Class: "info", Icon: "…"},
	}
	switch a.State {
	case office.ApplicationBrought:
		row.Tag.Class, row.Tag.Icon = "good", "✓"
		link := pg.proposalLink(a.Proposal)
		row.Link = &link
	case office.ApplicationDeclined:
		row.Tag.Class, row.Tag.Icon = "bad", "✕"
	}
	return row
}

// intakeOne is what the page of an application shows.
type intakeOne struct {
	intakeRow
	Contact  applicantContact
	Words    []describe.Line
	Evidence []evidenceView
	Others   []reviewRow // open proposals for the same code
	May      bool        // the visitor's key brings applications
	Busy     bool        // its transaction is on its way
	Note     string
}

// intakeApplication loads the application that the address names.
func (pg *page) intakeApplication(r *http.Request) (office.Application, error) {
	a, err := pg.Office.Application(pg.ctx, r.PathValue("reference"))
	if errors.Is(err, office.ErrNotFound) || errors.Is(err, office.ErrInvalid) {
		return a, errNoPage
	}
	return a, err
}

// intakePage shows an application.
func (p *portal) intakePage(w http.ResponseWriter, r *http.Request, pg *page) error {
	if err := p.settleIntake(r.Context()); err != nil {
		return err
	}
	a, err := pg.intakeApplication(r)
	if err != nil {
		return err
	}
	return pg.showIntake(w, r, http.StatusOK, &a, "")
}

func (pg *page) showIntake(w http.ResponseWriter, r *http.Request, status int, a *office.Application, note string) error {
	d := &intakeOne{
		intakeRow: pg.intakeRow(a), Contact: contactOf(a), Words: describe.Operations(pg.Lang, []cityid.Operation{{Apply: &a.Apply}}),
		May: pg.deskRoles()&cityid.RoleIntake != 0, Busy: len(a.Prepared) > 0, Note: note,
	}
	for _, digest := range a.Apply.Evidence {
		v, err := pg.evidenceView(digest, pg.URL("/intake/", a.Reference))
		if err != nil {
			return err
		}
		d.Evidence = append(d.Evidence, v)
	}
	settings, err := pg.Source.Settings(pg.ctx)
	if err != nil {
		return err
	}
	list, err := pg.Source.Proposals(pg.ctx, cityid.ProposalQuery{Code: a.Apply.Allocation.Code, Limit: 20})
	if err != nil {
		return err
	}
	for i := range list.Proposals {
		if !list.Proposals[i].State.Open() || list.Proposals[i].Proposal.Number == a.Proposal {
			continue
		}
		row, err := pg.reviewRow(&list.Proposals[i], settings)
		if err != nil {
			return err
		}
		d.Others = append(d.Others, row)
	}
	pg.Title = pg.T("review.intake.application", a.Reference)
	return pg.render(w, r, status, "review_intake_one", d)
}

// intakeDecide brings an application, or declines it.
func (p *portal) intakeDecide(w http.ResponseWriter, r *http.Request, pg *page) error {
	if err := p.settleIntake(r.Context()); err != nil {
		return err
	}
	a, err := pg.intakeApplication(r)
	if err != nil {
		return err
	}
	if err := parseForm(w, r); err != nil {
		return err
	}
	if a.State != office.ApplicationWaiting || len(a.Prepared) > 0 {
		return cityid.Errorf(cityid.ErrConflict, "the application is %s already, or on its way: look at it again", a.State)
	}
	here := pg.URL("/intake/", a.Reference)
	switch r.PostForm.Get("act") {
	case "bring":
		title := pg.T("review.intake.sign", a.Reference, describe.Summary(pg.Lang, appliedOperations(&a.Apply)))
		return pg.sign(w, r, title, here, cityid.Operation{Apply: &a.Apply})
	case "decline":
		note := oneLine(r.PostForm.Get("note"))
		if note == "" {
			pg.refuseField("note", pg.T("review.intake.note.none"))
			return pg.showIntake(w, r, http.StatusUnprocessableEntity, &a, note)
		}
		if err := p.Office.Decline(r.Context(), a.Reference, note); err != nil {
			return officeError(err)
		}
		http.Redirect(w, r, here, http.StatusSeeOther)
		return nil
	}
	return cityid.Errorf(cityid.ErrMalformed, "want to bring the application or to decline it")
}

// intakeEvidence hands out a document of an application.
func (p *portal) intakeEvidence(w http.ResponseWriter, r *http.Request, pg *page) error {
	a, err := pg.intakeApplication(r)
	if err != nil {
		return err
	}
	var digest cityid.Digest
	if err := digest.UnmarshalText([]byte(r.PathValue("digest"))); err != nil || !slices.Contains(a.Apply.Evidence, digest) {
		return errNoPage
	}
	return pg.sendEvidence(w, digest)
}

// settleIntake looks which of the waiting applications have become proposals.
func (p *portal) settleIntake(ctx context.Context) error {
	for after := int64(0); ; {
		list, err := p.Office.Applications(ctx, office.ApplicationWaiting, after, intakeRows)
		if err != nil {
			return err
		}
		for i := range list {
			if err := p.settleApplication(ctx, &list[i]); err != nil {
				return err
			}
			after = list[i].Number
		}
		if len(list) < intakeRows {
			return nil
		}
	}
}

func (p *portal) settleApplication(ctx context.Context, a *office.Application) error {
	page, err := p.Source.Proposals(ctx, cityid.ProposalQuery{Code: a.Apply.Allocation.Code, Limit: 50})
	if err != nil {
		return err
	}
	for i := range page.Proposals {
		x := &page.Proposals[i].Proposal
		// An earlier proposal may have asked for the same, and been decided before
		// this came; block times are whole seconds.
		if !x.Application() || x.Created.Std().Before(a.Received.Add(-2*time.Minute)) || !sameApplication(x, &a.Apply) {
			continue
		}
		if err := p.Office.Bring(ctx, a.Reference, x.Number); err != nil && !errors.Is(err, office.ErrConflict) {
			return err
		}
		return nil
	}
	return nil
}

// sameApplication reports whether a proposal asks for just what an application
// does.
func sameApplication(p *cityid.Proposal, a *cityid.Apply) bool {
	return bytes.Equal(cityid.MustMarshal(p.Operations), cityid.MustMarshal(appliedOperations(a))) && slices.Equal(p.Evidence, a.Evidence) &&
		bytes.Equal(cityid.MustMarshal(p.Possessions), cityid.MustMarshal(a.Possessions))
}
