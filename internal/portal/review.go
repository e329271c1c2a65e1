// SPDX-License-Identifier: Apache-2.0

package portal

import (
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

// The review desk shows what is before the institutions: applications for codes
// and all other proposals. The chain is public, and so is the desk; only evidence
// and the intake are for those who sign for the institution whose portal this is.
//
//	review.go            the queue
//	review_proposal.go   one proposal, and deciding on it
//	review_seats.go      who decides, and what they did
//	review_checks.go     what the system checks by itself
//	review_evidence.go   documents
//	review_intake.go     applications that wait for an intake key
//	officers.go          who signs for the institution

// reviewRows is how many proposals a page of the queue has.
const reviewRows = 25

// reviewStates are the states the queue can be filtered by, in order.
var reviewStates = []cityid.ProposalState{
	cityid.ProposalPending, cityid.ProposalReturned, cityid.ProposalExecuted, cityid.ProposalRejected,
	cityid.ProposalWithdrawn, cityid.ProposalClosed, cityid.ProposalExpired,
}

// reviewData is what the queue shows.
type reviewData struct {
	Filters []reviewFilter
	Rows    []reviewRow
	Next    string
	View    string // "", "mine", "all", or a state
	Partial bool   // the counts are not complete yet
	Desk    string // name of the institution whose portal this is, to those who sign for it
	Waiting int    // applications at the intake
	Code    string // the queue is only of this code
}

// reviewFilter is one choice of what to list.
type reviewFilter struct {
	navItem
	Count int // -1: not counted
	Live  string
}

// reviewRow is a proposal in the queue.
type reviewRow struct {
	Number  uint64
	URL     string
	What    string
	Kind    string
	Tag     tag
	Created time.Time
	Late    bool // the service level has passed
	Seats   []seatView
	Mine    bool
}

// review shows the queue.
func (p *portal) review(w http.ResponseWriter, r *http.Request, pg *page) error {
	q := r.URL.Query()
	data := &reviewData{View: q.Get("state")}
	var code cityid.Code
	if s := q.Get("code"); s != "" {
		var err error
		if code, err = cityid.Parse(s); err != nil {
			return cityid.Errorf(cityid.ErrMalformed, "%v", err)
		}
		data.Code = code.String()
	}
	var before uint64
	if s := q.Get("before"); s != "" {
		var err error
		if before, err = strconv.ParseUint(s, 10, 64); err != nil {
			return cityid.Errorf(cityid.ErrMalformed, "before %.40q: want the number of a proposal", s)
		}
	}
	counts, err := p.tally.count(r.Context())
	if err != nil {
		return err
	}
	settings, err := p.Source.Settings(r.Context())
	if err != nil {
		return err
	}
	list, next, err := pg.reviewList(data.View, code, before, counts.Open)
	if err != nil {
		return err
	}
	for i := range list {
		row, err := pg.reviewRow(&list[i], settings)
		if err != nil {
			return err
		}
		data.Rows = append(data.Rows, row)
	}
	if next != 0 {
		data.Next = address(r, "before", strconv.FormatUint(next, 10), "done", "")
	}
	data.Partial = counts.Partial
	pg.reviewFilters(data, counts)
	if pg.atDesk() {
		pg.Private = true
		at, err := pg.placeAt(p.Member)
		if err != nil {
			return err
		}
		data.Desk = at.Name
		waiting, err := p.Office.Applications(r.Context(), office.ApplicationWaiting, 0, 1000)
		if err != nil {
			return err
		}
		data.Waiting = len(waiting)
	}
	pg.Title = pg.T("review.title")
	return pg.render(w, r, http.StatusOK, "review", data)
}

// reviewFilters lists the choices with how many each has.
func (pg *page) reviewFilters(data *reviewData, c *counted) {
	add := func(view string, count int) {
		u := pg.URL("/review")
		if view != "" {
			u += "?state=" + view
		}
		data.Filters = append(data.Filters, reviewFilter{navItem: navItem{URL: u, Text: pg.T("review.view." + view), Current: view == data.View && data.Code == ""}, Count: count})
	}
	add("", len(c.Open))
	if pg.Key() != "" {
		mine := 0
		for _, n := range c.Open {
			if a, err := pg.Source.Proposal(pg.ctx, n); err == nil {
				if ok, err := pg.waitsForMe(a); err == nil && ok {
					mine++
				}
			}
		}
		add("mine", mine)
	}
	for _, s := range reviewStates {
		if n := c.States[s]; n > 0 || s.String() == data.View {
			add(s.String(), n)
		}
	}
	add("all", -1)
}

// reviewList returns a page of the proposals of a view, the latest first, and
// before which number the next page begins.
func (pg *page) reviewList(view string, code cityid.Code, before uint64, open []uint64) ([]cityid.ProposalAnswer, uint64, error) {
	if view == "" && code.IsZero() || view == "mine" {
		return pg.reviewOpen(view == "mine", before, open)
	}
	q := cityid.ProposalQuery{Code: code, Before: before, Limit: reviewRows}
	if view != "" && view != "all" {
		if err := q.State.UnmarshalText([]byte(view)); err != nil {
			return nil, 0, cityid.Errorf(cityid.ErrMalformed, "state %.40q is unknown", view)
		}
	}
	// A page may come back short because the node looks at so many at a time.
	var out []cityid.ProposalAnswer
	for range 20 {
		got, err := pg.Source.Proposals(pg.ctx, q)
		if err != nil {
			return nil, 0, err
		}
		out = append(out, got.Proposals...)
		if q.Before, q.Limit = got.Next, reviewRows-len(out); got.Next == 0 || q.Limit == 0 {
			break
		}
	}
	return out, q.Before, nil
}

// reviewOpen lists open proposals; with mine, those that wait for the visitor.
func (pg *page) reviewOpen(mine bool, before uint64, open []uint64) (out []cityid.ProposalAnswer, next uint64, err error) {
	for _, n := range open {
		if before != 0 && n >= before {
			continue
		}
		if len(out) == reviewRows {
			return out, out[len(out)-1].Proposal.Number, nil
		}
		a, err := pg.Source.Proposal(pg.ctx, n)
		if errors.Is(err, cityid.ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, 0, err
		}
		if mine {
			ok, err := pg.waitsForMe(a)
			if err != nil {
				return nil, 0, err
			}
			if !ok {
				continue
			}
		}
		out = append(out, *a)
	}
	return out, 0, nil
}

func (pg *page) reviewRow(a *cityid.ProposalAnswer, settings *cityid.Settings) (reviewRow, error) {
	p := &a.Proposal
	row := reviewRow{
		Number: p.Number, URL: pg.URL("/review/", strconv.FormatUint(p.Number, 10)), What: describe.Summary(pg.Lang, p.Operations),
		Kind: pg.T("review.kind.proposal"), Tag: pg.StateTag(a.State), Created: p.Created.Std(),
	}
	if p.Application() {
		row.Kind = pg.T("review.kind.application")
	}
	if level := settings.Params.ServiceLevel; a.State.Open() && level > 0 {
		row.Late = cityid.TimeOf(a.AsOf.Time) > p.Created+cityid.Time(level)
	}
	needs, err := pg.needs(a, nil)
	if err != nil {
		return row, err
	}
	for _, n := range needs {
		row.Seats = append(row.Seats, n.Seats...)
	}
	row.Mine = slices.ContainsFunc(row.Seats, func(s seatView) bool { return s.Mine && s.State == seatOpen })
	return row, nil
}

// atDesk reports whether the visitor signs for the institution whose portal this
// is.
func (pg *page) atDesk() bool { return pg.deskRoles()&(cityid.RoleControl|cityid.RoleIntake) != 0 }

// deskRoles returns what the visitor's key counts for now in the policy of the
// institution whose portal this is.
func (pg *page) deskRoles() (out cityid.Roles) {
	if pg.Office == nil || pg.Member.IsZero() || pg.Key() == "" {
		return 0
	}
	policy, now, err := pg.policyOf(pg.Member)
	if err != nil || policy == nil {
		return 0 // nothing is shown to whom it can not be found out about
	}
	for i := range policy.Members {
		for _, k := range policy.Members[i].Keys {
			if k.Public == pg.Key() && k.Holds(k.Roles, now) {
				out |= k.Roles
			}
		}
	}
	return out
}

// deskOnly puts around e that the visitor signs for this institution. To all
// others there is nothing here.
func (p *portal) deskOnly(e endpoint) endpoint {
	return p.signedIn(func(w http.ResponseWriter, r *http.Request, pg *page) error {
		if !pg.atDesk() {
			return errNoPage
		}
		return e(w, r, pg)
	})
}

// caughtUp brings the docket up to the present, for as long as a page waits.
func (pg *page) caughtUp() error {
	ctx, cancel := context.WithTimeout(pg.ctx, patience)
	defer cancel()
	if err := pg.docket.catchUp(ctx); err != nil && ctx.Err() == nil {
		return err
	}
	return nil
}

// reviewScreens are the pages for those who decide.
func (p *portal) reviewScreens() map[string]endpoint {
	return map[string]endpoint{
		"GET /review":                            p.review,
		"GET /review/{number}":                   p.reviewProposal,
		"POST /review/{number}":                  p.reviewDecide,
		"GET /review/{number}/evidence/{digest}": p.deskOnly(p.reviewEvidence),

		"GET /intake":                               p.deskOnly(p.intakeList),
		"GET /intake/{reference}":                   p.deskOnly(p.intakePage),
		"POST /intake/{reference}":                  p.deskOnly(p.intakeDecide),
		"GET /intake/{reference}/evidence/{digest}": p.deskOnly(p.intakeEvidence),

		"GET /officers":                 p.deskOnly(p.officerList),
		"POST /officers":                p.deskOnly(p.officerAdd),
		"GET /officers/{id}/hand-over":  p.deskOnly(p.handOverPage),
		"POST /officers/{id}/hand-over": p.deskOnly(p.handOver),
		"GET /account/credential":       p.signedIn(p.credentialPage),
		"POST /account/credential":      p.signedIn(p.credentialAdd),
	}
}
