// SPDX-License-Identifier: Apache-2.0

package portal

import (
	"errors"
	"net/http"
	"slices"
	"time"

	"cityid"
	"cityid/internal/describe"
	"cityid/internal/office"
)

// statusData is how an application stands.
type statusData struct {
	Reference string
	State     office.ApplicationState
	Code      cityid.Code
	Kind      cityid.Kind
	Names     cityid.Names
	Received  time.Time
	Decided   time.Time
	Reason    string // why it was declined
	Documents int
	Expected  string
	Days      int
	Late      bool
	Steps     []statusStep

	Proposal  *cityid.ProposalAnswer // nil: not on the chain yet
	Seats     []approvalView
	Threshold int
	Notes     []noteView
	Competing []competitor
	MayRevise bool
	Tag       tag
	Expires   time.Time
	Words     []describe.Line
	Trouble   string // why it could not be brought onto the chain yet
}

// statusStep is one step of the way, in the vocabulary of finish, process and
// wait.
type statusStep struct {
	Text, Detail string
	State        string // "done", "now", "next" or "bad"
}

type approvalView struct {
	place
	Tag tag
}

// noteView is what somebody said about the application.
type noteView struct {
	Text, Who string
	Time      time.Time
}

// application finds the application that the address names. Looking at a
// stranger's counts as an attempt at a secret, whether there is one or not.
func (p *portal) application(w http.ResponseWriter, r *http.Request, pg *page) (*office.Application, bool, error) {
	typed := r.PathValue("reference")
	reference, err := office.ParseReference(typed)
	if err != nil {
		return nil, false, errNoApplication
	}
	if !pg.knows(reference) {
		if err := pg.Limits.Attempt(r); err != nil {
			return nil, false, err
		}
	}
	a, err := p.Office.Application(r.Context(), reference)
	if errors.Is(err, office.ErrNotFound) {
		return nil, false, errNoApplication
	}
	if err != nil {
		return nil, false, err
	}
	if typed != reference {
		http.Redirect(w, r, pg.URL("/apply/status/", reference), http.StatusSeeOther)
		return nil, true, nil
	}
	return &a, false, pg.remember(w, r, reference)
}

var errNoApplication = cityid.Errorf(cityid.ErrNotFound, "there is no application with this reference number at this institution: compare it with the receipt, and use the portal where it was handed in")

// receiptPage confirms that an application was handed in.
func (p *portal) receiptPage(w http.ResponseWriter, r *http.Request, pg *page) error {
	a, done, err := p.application(w, r, pg)
	if done || err != nil {
		return err
	}
	data, err := pg.status(a)
	if err != nil {
		return err
	}
	pg.Title = pg.T("apply.receipt.title")
	return pg.render(w, r, http.StatusOK, "apply_receipt", data)
}

// statusPage says how an application stands.
func (p *portal) statusPage(w http.ResponseWriter, r *http.Request, pg *page) error {
	a, done, err := p.application(w, r, pg)
	if done || err != nil {
		return err
	}
	trouble := ""
	if a.State == office.ApplicationWaiting && p.Intake != nil {
		if err := p.bringNow(r.Context(), a); err != nil {
			trouble = pg.refusal(err)
		}
		again, err := p.Office.Application(r.Context(), a.Reference)
		if err != nil {
			return officeError(err)
		}
		a = &again
	}
	data, err := pg.status(a)
	if err != nil {
		return err
	}
	if data.State == office.ApplicationWaiting {
		data.Trouble = trouble
	}
	if err := pg.revised(r, data); err != nil {
		return err
	}
	pg.Title = pg.T("apply.status.title", a.Reference)
	return pg.render(w, r, http.StatusOK, "apply_status", data)
}

// revised ends the draft of a revision that has just been recorded, and links
// its documents with the application.
func (pg *page) revised(r *http.Request, data *statusData) error {
	if pg.Done() == nil || data.Proposal == nil || pg.session == nil || pg.session.Bag[draftBag] == "" {
		return nil
	}
	d, err := pg.openDraft(r, pg.session.Bag[draftBag])
	if err != nil || d.Revises == nil || d.Revises.Reference != data.Reference {
		return nil // another draft, which stays
	}
	if err := pg.Office.LinkEvidence(r.Context(), data.Proposal.Proposal.Number, data.Proposal.Proposal.Evidence); err != nil {
		return officeError(err)
	}
	if err := pg.Office.DeleteDraft(r.Context(), d.resume); err != nil && !errors.Is(err, office.ErrNotFound) {
		return officeError(err)
	}
	return pg.forgetDraft()
}

// status collects how an application stands.
func (pg *page) status(a *office.Application) (*statusData, error) {
	settings, err := pg.Source.Settings(pg.ctx)
	if err != nil {
		return nil, err
	}
	item := &a.Apply.Allocation
	data := &statusData{
		Reference: a.Reference, State: a.State, Code: item.Code, Kind: item.Kind, Names: item.Content.Names,
		Received: a.Received, Decided: a.Decided, Reason: a.Reason, Documents: len(a.Apply.Evidence), Days: serviceDays(&settings.Params),
	}
	if data.Days > 0 {
		due := addWorkdays(a.Received, data.Days)
		data.Expected, data.Late = pg.Day(due), settings.AsOf.Time.After(due.AddDate(0, 0, 1))
	}
	if a.State == office.ApplicationBrought {
		if err := pg.proposalStatus(data, a.Proposal); err != nil {
			return nil, err
		}
	}
	data.Steps = pg.statusSteps(data)
	return data, nil
}

// proposalStatus adds what the chain says of an application.
func (pg *page) proposalStatus(data *statusData, number uint64) error {
	answer, err := pg.Source.Proposal(pg.ctx, number)
	if errors.Is(err, cityid.ErrNotFound) {
		return nil // the node here is behind
	}
	if err != nil {
		return err
	}
	p := &answer.Proposal
	data.Proposal, data.Tag, data.Expires = answer, pg.StateTag(answer.State), p.Expires.Std()
	if p.Application() {
		item := &p.Operations[0].Allocate.Items[0]
		data.Names, data.Kind, data.Documents = item.Content.Names, item.Kind, len(p.Evidence)
	}
	data.Words = describe.Operations(pg.Lang, p.Operations)
	data.MayRevise = answer.State.Open()
	if answer.State == cityid.ProposalReturned && p.Note != "" {
		data.Notes = append(data.Notes, noteView{Text: p.Note, Time: p.Edited.Std()})
	}
	for _, v := range p.Rejections {
		who, err := pg.seatOf(v.Key)
		if err != nil {
			return err
		}
		data.Notes = append(data.Notes, noteView{v.Note, who.Name, v.Time.Std()})
	}
	for _, n := range answer.Competing {
		data.Competing = append(data.Competing, competitor{Number: n})
	}
	return pg.seats(data, answer)
}

// seats says who has approved: while it is open by the policy that decides, and
// afterwards by whose keys have.
func (pg *page) seats(data *statusData, answer *cityid.ProposalAnswer) error {
	approved := tag{Text: pg.T("apply.seat.approved"), Class: "good", Icon: "✓"}
	for _, n := range answer.Needs {
		data.Threshold += n.Threshold
		for _, m := range n.Members {
			at, err := pg.memberPlace(m)
			if err != nil {
				return err
			}
			s := approvalView{at, tag{Text: pg.T("apply.seat.open"), Class: "plain", Icon: "○"}}
			switch {
			case m.Approved:
				s.Tag = approved
			case m.Rejected:
				s.Tag = tag{Text: pg.T("apply.seat.rejected"), Class: "bad", Icon: "✕"}
			}
			data.Seats = append(data.Seats, s)
		}
	}
	if len(answer.Needs) > 0 {
		return nil
	}
	for _, v := range answer.Proposal.Approvals {
		at, err := pg.seatOf(v.Key)
		if err != nil {
			return err
		}
		if !slices.ContainsFunc(data.Seats, func(s approvalView) bool { return s.Name == at.Name }) {
			data.Seats = append(data.Seats, approvalView{at, approved})
		}
	}
	return nil
}

func (pg *page) memberPlace(m cityid.MemberVote) (place, error) {
	if !m.Code.IsZero() {
		return pg.placeAt(m.Code)
	}
	if len(m.Keys) > 0 {
		return place{Name: pg.Fingerprint(m.Keys[0])}, nil
	}
	return place{}, nil
}

// seatOf names the institution in whose policy a key stands, or the key.
func (pg *page) seatOf(k cityid.PublicKey) (place, error) {
	held, err := pg.Index.Holdings(pg.ctx, k)
	if err != nil {
		return place{}, err
	}
	if len(held) == 0 {
		return place{Name: pg.Fingerprint(k)}, nil
	}
	return pg.placeAt(held[0].Code)
}

// statusSteps is the way of an application.
func (pg *page) statusSteps(data *statusData) []statusStep {
	received := statusStep{pg.T("apply.step.received"), pg.Moment(data.Received), "done"}
	bring := statusStep{pg.T("apply.step.bring"), "", "now"}
	review := statusStep{pg.T("apply.step.review"), "", "next"}
	decided := statusStep{pg.T("apply.step.decided"), "", "next"}
	switch {
	case data.State == office.ApplicationDeclined:
		bring.State, bring.Detail = "bad", pg.T("apply.step.declined")
	case data.Proposal != nil:
		bring.State, bring.Detail = "done", pg.T("apply.step.number", data.Proposal.Proposal.Number)
		review.State = "now"
		switch data.Proposal.State {
		case cityid.ProposalReturned:
			review.State, review.Detail = "bad", pg.T("apply.step.returned")
		case cityid.ProposalPending:
			n := 0
			for _, s := range data.Seats {
				if s.Tag.Class == "good" {
					n++
				}
			}
			review.Detail = pg.T("apply.step.votes", n, data.Threshold)
		case cityid.ProposalExecuted:
			review.State, decided.State, decided.Detail = "done", "done", pg.Moment(data.Proposal.Proposal.Edited.Std())
		default:
			review.State, decided.State, decided.Detail = "done", "bad", describe.ProposalState(pg.Lang, data.Proposal.State)
		}
	case data.State == office.ApplicationBrought:
		bring.State = "done"
	}
	return []statusStep{received, bring, review, decided}
}

// statusRevise begins a draft that changes an application. It holds what the
// chain says; the names of officers and the contact stay with the institution.
func (p *portal) statusRevise(w http.ResponseWriter, r *http.Request, pg *page) error {
	a, done, err := p.application(w, r, pg)
	if done || err != nil {
		return err
	}
	if a.State != office.ApplicationBrought {
		return cityid.Errorf(cityid.ErrConflict, "the application is not on the chain: hand in another one")
	}
	answer, err := p.Source.Proposal(r.Context(), a.Proposal)
	if err != nil {
		return err
	}
	if !answer.State.Open() || !answer.Proposal.Application() {
		return cityid.Errorf(cityid.ErrClosed, "application %d is decided: it can not be changed any more", a.Proposal)
	}
	if err := pg.Limits.Visit(r); err != nil {
		return err
	}
	c := contentOf(pg, &answer.Proposal)
	c.Revises = &draftRevises{Reference: a.Reference, Proposal: a.Proposal, Evidence: answer.Proposal.Evidence}
	return pg.newDraft(w, r, c)
}

// contentOf fills the form with an application. What the form can not say, such
// as members that are codes or keys that end, is left out, and has to be revised
// with the command.
func contentOf(pg *page, p *cityid.Proposal) draftContent {
	item := &p.Operations[0].Allocate.Items[0]
	c := draftContent{Kind: item.Kind, Names: map[string]string{}, Aliases: map[string]string{}, Code: item.Code.String(), Proofs: p.Possessions}
	for _, n := range item.Content.Names {
		c.Names[n.Lang] = n.Text
	}
	for _, x := range item.Aliases {
		c.Aliases[x.Scheme] = x.Value
	}
	if l := item.Content.Location; l != nil {
		c.Lat, c.Lon = degreesText(l.Lat), degreesText(l.Lon)
	}
	c.Threshold = int(item.Policy.Threshold)
	for i, m := range item.Policy.Members {
		o := draftOfficer{Name: pg.T("apply.officer.number", i+1)}
		for _, k := range m.Keys {
			switch {
			case k.Roles&cityid.RoleControl != 0 && o.Key == "":
				o.Key = k.Public
			case k.Roles&cityid.RoleControl != 0:
				o.Second = k.Public
			case k.Roles == cityid.RoleAssert:
				o.Assert = k.Public
			case k.Roles == cityid.RoleEncrypt:
				o.Encrypt = k.Public
			}
		}
		c.Officers = append(c.Officers, o)
	}
	return c
}
