// SPDX-License-Identifier: Apache-2.0

package portal

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/text/unicode/norm"

	"cityid"
	"cityid/internal/describe"
	"cityid/internal/office"
)

// proposalData is what the page of a proposal shows.
type proposalData struct {
	Answer   *cityid.ProposalAnswer
	Proposal *cityid.Proposal
	Number   string
	Digest   string // computed here from what is shown
	Wrong    bool   // the node names another digest
	What     string
	Code     *place // applied for
	Tag      tag
	Words    []describe.Line
	Needs    []needView
	Checks   []check
	Evidence []evidenceView
	Desk     bool // the visitor signs for the institution whose portal this is
	Map      *drawing
	Compete  []reviewRow
	Changes  []describe.Change
	Since    uint32 // revision that Changes are against; 0: none
	Unknown  bool   // there was an earlier revision that this office does not know
	Steps    []stepView
	Returned *seatView // who returned it

	May      bool   // the visitor's key has a voice
	Voted    string // how it has voted; "": not yet
	Open     bool
	Will     []choice
	Action   string // as posted
	Note     string
	Stale    bool // it changed since the visitor looked
	Commands string

	Agreements []agreementView // that it is about
}

// choice is what a reviewer can sign, with the words of just that.
type choice struct {
	Action      string
	Title, Hint string
	Words       []describe.Line
}

// stepView is one entry of a proposal's course.
type stepView struct {
	Text  string
	Who   []string
	Time  time.Time
	Note  string
	TxURL string
	Tx    string
}

// reviewNumber reads the number in a page's address.
func reviewNumber(r *http.Request) (uint64, error) {
	text := r.PathValue("number")
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil || n == 0 || strconv.FormatUint(n, 10) != text {
		return 0, cityid.Errorf(cityid.ErrNotFound, "proposal %.40q: want its number", text)
	}
	return n, nil
}

func (pg *page) proposalLink(n uint64) navItem {
	number := strconv.FormatUint(n, 10)
	return navItem{URL: pg.URL("/review/", number), Text: pg.T("review.number", number)}
}

// reviewProposal shows one proposal.
func (p *portal) reviewProposal(w http.ResponseWriter, r *http.Request, pg *page) error {
	n, err := reviewNumber(r)
	if err != nil {
		return err
	}
	return pg.showProposal(w, r, http.StatusOK, n, &proposalData{Action: r.URL.Query().Get("act")})
}

// showProposal renders a proposal; d holds what was posted.
func (pg *page) showProposal(w http.ResponseWriter, r *http.Request, status int, n uint64, d *proposalData) error {
	a, err := pg.Source.Proposal(pg.ctx, n)
	if err != nil {
		return err
	}
	p := &a.Proposal
	digest := p.Digest()
	d.Answer, d.Proposal, d.Number, d.Digest, d.Wrong = a, p, strconv.FormatUint(n, 10), digest.String(), digest != a.Digest
	d.What, d.Tag, d.Open = describe.Summary(pg.Lang, p.Operations), pg.StateTag(a.State), a.State.Open()
	d.Words = describe.Proposal(pg.Lang, a)
	if d.Desk = pg.atDesk(); d.Desk {
		pg.Private = true
	}
	var steps []office.Step
	if pg.Office != nil {
		if err := pg.caughtUp(); err != nil {
			return err
		}
		if steps, err = pg.Office.Steps(pg.ctx, n); err != nil {
			return err
		}
	}
	if err := pg.proposalParts(d, steps); err != nil {
		return err
	}
	d.Will, d.Agreements = pg.choices(n, digest), pg.agreementsIn(p.Operations)
	d.Commands = strings.Join([]string{
		"cityid application show " + d.Number + " --node " + pg.Origin,
		"cityid application approve " + d.Number + " --node " + pg.Origin + " --key NAME \\\n    --digest " + d.Digest,
	}, "\n")
	pg.Title = pg.T("review.title.one", d.Number, d.What)
	return pg.render(w, r, status, "review_proposal", d)
}

// choices says in words what each choice signs.
func (pg *page) choices(n uint64, digest cityid.Digest) []choice {
	var out []choice
	for _, action := range []string{"approve", "return", "reject"} {
		op := voteOperation(action, n, digest, "…")
		out = append(out, choice{
			Action: action, Title: pg.T("review.act." + action), Hint: pg.T("review.hint." + action),
			Words: describe.Operations(pg.Lang, []cityid.Operation{op}),
		})
	}
	return out
}

// voteOperation is what a reviewer signs.
func voteOperation(action string, n uint64, digest cityid.Digest, note string) cityid.Operation {
	switch action {
	case "approve":
		return cityid.Operation{Approve: &cityid.Approve{Proposal: n, Digest: digest}}
	case "return":
		return cityid.Operation{Return: &cityid.Return{Proposal: n, Digest: digest, Note: note}}
	}
	return cityid.Operation{Reject: &cityid.Reject{Proposal: n, Digest: digest, Note: note}}
}

// proposalParts fills in what has to be looked up.
func (pg *page) proposalParts(d *proposalData, steps []office.Step) (err error) {
	a, p := d.Answer, d.Proposal
	if d.Needs, err = pg.needs(a, steps); err != nil {
		return err
	}
	for i := range d.Needs {
		for j := range d.Needs[i].Seats {
			s := &d.Needs[i].Seats[j]
			d.May = d.May || s.Mine
			if s.State == seatReturned {
				d.Returned = s
			}
		}
	}
	switch {
	case pg.Key() == "":
	case slices.ContainsFunc(p.Approvals, func(v cityid.Vote) bool { return v.Key == pg.Key() }):
		d.Voted = pg.T("review.voted.approve")
	case slices.ContainsFunc(p.Rejections, func(v cityid.Vote) bool { return v.Key == pg.Key() }):
		d.Voted = pg.T("review.voted.reject")
	}
	if d.Evidence, err = pg.evidenceList(d); err != nil {
		return err
	}
	if d.Checks, err = pg.checks(a, d); err != nil {
		return err
	}
	pg.proposalSteps(d, steps)
	if !p.Application() {
		return nil
	}
	item := &p.Operations[0].Allocate.Items[0]
	d.Code = &place{Code: item.Code, Name: pg.NameOf(item.Content.Names, item.Code), Kind: pg.Kind(item.Kind), URL: pg.CodeURL(item.Code)}
	if l := item.Content.Location; l != nil {
		if d.Map, err = pg.placeMap(*l, d.Code.Name+" "+item.Code.String()); err != nil {
			return err
		}
	}
	settings, err := pg.Source.Settings(pg.ctx)
	if err != nil {
		return err
	}
	for _, n := range a.Competing {
		other, err := pg.Source.Proposal(pg.ctx, n)
		if err != nil {
			return err
		}
		row, err := pg.reviewRow(other, settings)
		if err != nil {
			return err
		}
		d.Compete = append(d.Compete, row)
	}
	return nil
}

// placeMap draws where a place is to be, among what is there.
func (pg *page) placeMap(l cityid.Location, title string) (*drawing, error) {
	v := around(l, 6)
	marks, total, err := pg.mapMarks(v, cityid.Code{}, nil)
	if err != nil {
		return nil, err
	}
	marks = append(marks, mapMark{Lat: float64(l.Lat) / 1e7, Lon: float64(l.Lon) / 1e7, Title: title, Own: true})
	return &drawing{
		SVG: pg.basemap.draw(v, pg.T("review.map"), marks), Source: pg.basemap.Source, Approval: pg.basemap.Approval,
		Marks: marks, Total: total + 1,
	}, nil
}

// proposalSteps says what was done about a proposal, and what the last revision
// changed.
func (pg *page) proposalSteps(d *proposalData, steps []office.Step) {
	var before *office.Step
	var current uint32
	for i := range steps {
		s := &steps[i]
		v := stepView{Text: pg.T("review.step." + string(s.Act)), Time: s.Time.Std(), Note: s.Note, Tx: s.Tx.String()[:12], TxURL: pg.URL("/chain/tx/", s.Tx.String())}
		if s.Revision > 1 {
			v.Text = pg.T("review.step.revise", s.Revision)
		}
		for _, k := range s.Signers {
			v.Who = append(v.Who, pg.keyName(k, s.Time))
		}
		d.Steps = append(d.Steps, v)
		if s.Revision > 0 && s.Revision < d.Proposal.Revision {
			before = s
		}
		current = max(current, s.Revision)
	}
	switch {
	case d.Proposal.Revision == 1:
	case before == nil || before.Revision+1 != d.Proposal.Revision:
		d.Unknown = true
	default:
		d.Since = before.Revision
		d.Changes = describe.Difference(pg.Lang, before.Operations, d.Proposal.Operations)
		d.Changes = append(d.Changes, evidenceChanges(pg, before.Evidence, d.Proposal.Evidence)...)
	}
}

// evidenceChanges says which documents a revision added and left out.
func evidenceChanges(pg *page, before, after []cityid.Digest) []describe.Change {
	var out []describe.Change
	for _, e := range before {
		if !slices.Contains(after, e) {
			out = append(out, describe.Change{Old: pg.T("review.evidence.digest", e)})
		}
	}
	for _, e := range after {
		if !slices.Contains(before, e) {
			out = append(out, describe.Change{New: pg.T("review.evidence.digest", e)})
		}
	}
	return out
}

// keyName names a key by where it stands now, and by its fingerprint.
func (pg *page) keyName(k cityid.PublicKey, at cityid.Time) string {
	who := pg.officerName(k, at)
	held, err := pg.Index.Holdings(pg.ctx, k)
	if err != nil || len(held) == 0 {
		return who
	}
	return pg.NameOf(held[0].Names, held[0].Code) + " · " + who
}

// reviewDecide takes what a reviewer has chosen, and has it signed. The form
// names the digest that was shown; what changed since is not signed unseen.
func (p *portal) reviewDecide(w http.ResponseWriter, r *http.Request, pg *page) error {
	n, err := reviewNumber(r)
	if err != nil {
		return err
	}
	if pg.Office == nil {
		return errNoOffice
	}
	if err := pg.Limits.Visit(r); err != nil {
		return err
	}
	if err := r.ParseForm(); err != nil {
		return cityid.Errorf(cityid.ErrMalformed, "%v", err)
	}
	d := &proposalData{Action: r.PostForm.Get("act"), Note: oneLine(r.PostForm.Get("note"))}
	var seen cityid.Digest
	if err := seen.UnmarshalText([]byte(r.PostForm.Get("digest"))); err != nil || seen.IsZero() {
		return cityid.Errorf(cityid.ErrMalformed, "the form names no digest: load the page again")
	}
	a, err := p.Source.Proposal(r.Context(), n)
	if err != nil {
		return err
	}
	switch {
	case !a.State.Open():
		pg.refuseField("", pg.T("review.refuse.closed", describe.ProposalState(pg.Lang, a.State)))
	case a.Proposal.Digest() != a.Digest:
		pg.refuseField("", pg.T("review.refuse.wrong"))
	case seen != a.Digest:
		d.Stale = true
		pg.refuseField("digest", pg.T("review.refuse.stale"))
	}
	if len(pg.Errors) > 0 {
		return pg.showProposal(w, r, http.StatusConflict, n, d)
	}
	switch {
	case !slices.Contains([]string{"approve", "return", "reject"}, d.Action):
		d.Action = ""
		pg.refuseField("act", pg.T("review.refuse.act"))
	case d.Action != "approve" && d.Note == "":
		pg.refuseField("note", pg.T("review.refuse.note."+d.Action))
	case d.Action != "approve":
		if err := cityid.CheckText("reason", d.Note, true); err != nil {
			pg.refuseField("note", pg.T("review.refuse.text"))
		}
	case d.Note != "":
		pg.refuseField("note", pg.T("review.refuse.nonote"))
	}
	if len(pg.Errors) > 0 {
		return pg.showProposal(w, r, http.StatusUnprocessableEntity, n, d)
	}
	title := pg.T("review.sign."+d.Action, n, describe.Summary(pg.Lang, a.Proposal.Operations))
	return pg.sign(w, r, title, pg.URL("/review/", strconv.FormatUint(n, 10)), voteOperation(d.Action, n, seen, d.Note))
}

// oneLine writes what somebody typed as the chain stores texts: on one line, and
// in normal form.
func oneLine(typed string) string { return norm.NFC.String(strings.Join(strings.Fields(typed), " ")) }
