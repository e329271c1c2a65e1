// SPDX-License-Identifier: Apache-2.0

package portal

import (
	"errors"
	"net/http"
	"strings"
	"time"

	"cityid"
	"cityid/internal/dcat"
	"cityid/internal/describe"
	"cityid/internal/office"
)

// oneData is what the page of an agreement shows to those who have a voice for one
// of the parties.
type oneData struct {
	*workAt
	ID       cityid.Digest
	URL      string
	Answer   *cityid.AgreementAnswer // nil: not on the chain
	Own      *office.OwnAgreement    // nil: not asked for here
	Terms    *cityid.Terms
	State    tag
	Deadline *tag
	shareParties
	Usage     []dcat.Term // of the usage policy, if it is known
	Words     []describe.Line
	Steps     []shareStepView
	Purpose   *purposeView
	NoKeys    bool // nobody who decides has a key to encrypt to
	Changed   bool // the dataset no longer says what the terms name
	MayHold   bool // the visitor has a voice in the policy that governs the dataset
	MayAsk    bool // and in the consumer's
	Wrong     bool // the node names other terms
	Choices   []choice
	Action    string // as posted
	Note      string
	Log       bool // there may be an access log
	PublicURL string
	Back      string // address of the lists
}

// shareParties are who an agreement is between.
type shareParties struct {
	Dataset, Consumer, Provider place
	Decider                     place       // whose policy governs the dataset now
	Asker                       cityid.Code // whose policy governs the consumer now
}

// shareStepView is one entry of an agreement's course.
type shareStepView struct {
	Text   string
	Time   time.Time
	When   string
	Height uint64 // 0: it follows from the time alone
	Note   string
	Future bool
}

// relates reports whether an agreement belongs to a code: see share.go.
func (at *workAt) relates(t *cityid.Terms) bool {
	for _, c := range []cityid.Code{t.Dataset, t.Consumer} {
		if c == at.Code() || at.Code().Covers(c) {
			return true
		}
	}
	return false
}

// shareOne answers the addresses of one agreement.
func (pg *page) shareOne(w http.ResponseWriter, r *http.Request, at *workAt, id cityid.Digest, part string) error {
	d, err := pg.agreementAt(at, id)
	if err != nil {
		return err
	}
	switch part {
	case "":
		d.Action = r.URL.Query().Get("act")
		return pg.showAgreement(w, r, http.StatusOK, d)
	case "purpose":
		return pg.sharePurpose(w, d)
	case "log", "log.csv":
		return pg.shareLog(w, r, d, part == "log.csv")
	}
	if entry, ok := strings.CutPrefix(part, "evidence/"); ok {
		return pg.shareEvidence(w, r, d, entry)
	}
	return errNoPage
}

// agreementAt loads an agreement that belongs to a code, from the chain or from
// what was asked for here.
func (pg *page) agreementAt(at *workAt, id cityid.Digest) (*oneData, error) {
	d := &oneData{workAt: at, ID: id, URL: at.URL + "/agreements/" + id.String(), PublicURL: pg.URL("/agreement/", id.String()), Back: at.URL + "/agreements"}
	a, err := pg.Source.Agreement(pg.ctx, id)
	switch {
	case err == nil:
		d.Answer, d.Terms = a, &a.Agreement.Terms
		d.Wrong = d.Terms.ID() != id
	case !errors.Is(err, cityid.ErrNotFound):
		return nil, err
	}
	own, err := pg.Office.OwnAgreement(pg.ctx, id)
	switch {
	case err == nil:
		if d.Own = &own; d.Terms == nil {
			d.Terms = &own.Terms
		}
	case !errors.Is(err, office.ErrNotFound):
		return nil, err
	}
	if d.Terms == nil || !at.relates(d.Terms) {
		return nil, errNoPage
	}
	if d.MayHold, err = pg.takesPart(d.Terms.Dataset); err == nil {
		d.MayAsk, err = pg.takesPart(d.Terms.Consumer)
	}
	if err != nil {
		return nil, err
	}
	if d.Answer == nil && !d.MayAsk {
		return nil, errNoPage // what is not on the chain is its authors' alone
	}
	if d.shareParties, err = pg.parties(d.Terms, d.Answer); err != nil {
		return nil, err
	}
	_, ours := pg.logGateway(d)
	d.Log = ours && d.Answer != nil
	return d, nil
}

// parties looks up who an agreement is between.
func (pg *page) parties(t *cityid.Terms, a *cityid.AgreementAnswer) (p shareParties, err error) {
	places := placeBook{pg: pg}
	if p.Dataset, err = places.at(t.Dataset); err != nil {
		return p, err
	}
	if p.Consumer, err = places.at(t.Consumer); err != nil {
		return p, err
	}
	holderOf := func(code cityid.Code) (cityid.Code, error) {
		x, err := pg.Source.Record(pg.ctx, code)
		if errors.Is(err, cityid.ErrNotFound) || err == nil && x.Holder.IsZero() {
			return code, nil
		}
		if err != nil {
			return code, err
		}
		return x.Holder, nil
	}
	holder, err := holderOf(t.Dataset)
	if err != nil {
		return p, err
	}
	if p.Asker, err = holderOf(t.Consumer); err != nil {
		return p, err
	}
	if p.Decider, err = places.at(holder); err != nil {
		return p, err
	}
	p.Provider = p.Decider
	if a != nil {
		p.Provider, err = places.at(a.Agreement.Provider)
	}
	return p, err
}

// showAgreement shows the page; d holds what was posted.
func (pg *page) showAgreement(w http.ResponseWriter, r *http.Request, status int, d *oneData) error {
	if d.Own != nil && d.Own.Progress < office.AgreementSent {
		if err := pg.Office.WakeAgreement(pg.ctx, d.ID); err != nil { // somebody waits for it
			return err
		}
	}
	readers, err := pg.readersOf(pg.ctx, d.Terms.Dataset)
	if err != nil && !errors.Is(err, cityid.ErrNotFound) {
		return err
	}
	d.NoKeys = len(readers) == 0
	d.State = pg.Tag("plain", "○", pg.T("share.prepared"))
	d.Words = describe.Operation(pg.Lang, &cityid.Operation{AgreementRequest: &cityid.AgreementRequest{Terms: *d.Terms}})
	d.Usage = pg.usagePolicy(d.Terms.Dataset, d.Terms.Policy).Terms()
	if d.Answer != nil {
		d.State = pg.AgreementTag(d.Answer)
		d.Steps = pg.agreementSteps(d.Answer)
		now := cityid.TimeOf(d.Answer.AsOf.Time)
		if d.Answer.State == cityid.AgreementRequested {
			due := pg.deadline(d.Terms.Respond, now)
			d.Deadline = &due
			if d.Changed, err = pg.termsOutdated(d.Terms); err != nil {
				return err
			}
		}
		d.Choices = pg.decisions(d)
	}
	if d.Purpose, err = pg.purposeOf(d); err != nil {
		return err
	}
	pg.Title = pg.T("share.one.title", d.Consumer.Name, d.Dataset.Name)
	return pg.render(w, r, status, "share_one", d)
}

// termsOutdated reports whether the dataset says by now something else than terms
// name, so that they can not be granted.
func (pg *page) termsOutdated(t *cityid.Terms) (bool, error) {
	a, err := pg.Source.Record(pg.ctx, t.Dataset)
	if err != nil {
		return false, err
	}
	s := a.Record.Content.Dataset
	return s == nil || s.Class == cityid.DatasetClosed || s.Document != t.Document || s.Policy != t.Policy, nil
}

// agreementSteps tells the course of an agreement, what follows from the time
// included.
func (pg *page) agreementSteps(a *cityid.AgreementAnswer) []shareStepView {
	x, now := &a.Agreement, cityid.TimeOf(a.AsOf.Time)
	var out []shareStepView
	written := func(text string, c cityid.Change, note string) {
		out = append(out, shareStepView{Text: text, Time: c.Time.Std(), When: pg.Moment(c.Time.Std()), Height: c.Height, Note: note})
	}
	timed := func(key string, t cityid.Time, when string) {
		out = append(out, shareStepView{Text: pg.T(key), Time: t.Std(), When: when, Future: t > now})
	}
	noteOf := func(last bool) string {
		if last {
			return x.Note
		}
		return ""
	}
	written(pg.T("share.step.requested"), x.Requested, "")
	ended := x.Ended.Height != 0
	switch {
	case x.Decided.Height != 0 && x.State == cityid.AgreementRefused:
		written(pg.T("share.step.refused"), x.Decided, noteOf(!ended))
	case x.Decided.Height != 0:
		written(pg.T("share.step.granted"), x.Decided, noteOf(!ended))
	}
	if a.State == cityid.AgreementLapsed {
		timed("share.step.lapsed", x.Terms.Respond, pg.Moment(x.Terms.Respond.Std()))
	}
	granted := x.Decided.Height != 0 && x.State != cityid.AgreementRefused
	if granted && x.Terms.From > x.Decided.Time && (!ended || x.Terms.From < x.Ended.Time) {
		timed("share.step.from", x.Terms.From, pg.Moment(x.Terms.From.Std()))
	}
	switch {
	case ended && x.EndedBy == x.Terms.Consumer && x.Decided.Height == 0:
		written(pg.T("share.step.taken"), x.Ended, x.Note)
	case ended:
		by, err := pg.placeAt(x.EndedBy)
		if err != nil {
			by.Name = x.EndedBy.String()
		}
		written(pg.T("share.step.revoked", by.Name), x.Ended, x.Note)
	case granted:
		timed("share.step.until", x.Terms.Until, pg.End(x.Terms.Until))
	case a.State == cityid.AgreementRequested:
		timed("share.step.respond", x.Terms.Respond, pg.End(x.Terms.Respond))
	}
	return out
}
