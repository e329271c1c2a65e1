// SPDX-License-Identifier: Apache-2.0

package portal

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"cityid"
)

// workStatus is what the form for a change of status shows.
type workStatus struct {
	*workAt
	Form     workForm
	Options  []statusOption
	To       cityid.Status // chosen; 0: none
	Reasons  []cityid.Reason
	Holder   bool // the visitor decides as the holder, after a delay
	Delay    uint32
	Living   bool // codes stand below: an heir is needed
	Hits     []workRow
	Searched bool
}

// statusOption is a status that the code may get, and who decides.
type statusOption struct {
	Status cityid.Status
	URL    string
	May    bool
}

// reasonsFor lists the reasons the form offers for a status.
func reasonsFor(s cityid.Status) []cityid.Reason {
	switch s {
	case cityid.StatusSuspended:
		return []cityid.Reason{cityid.ReasonMisuse, cityid.ReasonDispute, cityid.ReasonKeyLoss}
	case cityid.StatusActive:
		return []cityid.Reason{cityid.ReasonResolved, cityid.ReasonCommissioned}
	}
	return []cityid.Reason{
		cityid.ReasonClosed, cityid.ReasonRemoved, cityid.ReasonReplaced, cityid.ReasonMerged, cityid.ReasonSplit, cityid.ReasonBoundaryChange,
		cityid.ReasonAllocatedInError, cityid.ReasonMisuse, cityid.ReasonKeyLoss,
	}
}

// nextStatuses lists where a status may go.
func nextStatuses(s cityid.Status) []cityid.Status {
	switch s {
	case cityid.StatusReserved:
		return []cityid.Status{cityid.StatusActive, cityid.StatusRetired}
	case cityid.StatusActive:
		return []cityid.Status{cityid.StatusSuspended, cityid.StatusRetired}
	case cityid.StatusSuspended:
		return []cityid.Status{cityid.StatusActive, cityid.StatusRetired}
	}
	return nil
}

// changingStatus prepares the form. The parent decides; the holder may retire.
func (pg *page) changingStatus(at *workAt, f workForm) (*workStatus, error) {
	data := &workStatus{workAt: at, Form: f, Delay: at.Rule.Params.RecoveryDelay / 86400}
	aboveActs, err := pg.acts(at.Above)
	if err != nil {
		return nil, err
	}
	byAbove, byHolder := at.MayAbove && aboveActs, at.May && at.Idle == nil
	for _, s := range nextStatuses(at.Record.Status) {
		o := statusOption{s, at.URL + "/status?to=" + s.String(), byAbove || byHolder && s == cityid.StatusRetired}
		data.Options = append(data.Options, o)
		if o.May && at.Above != nil && f.Get("to") == s.String() {
			data.To, data.Reasons, data.Holder = s, reasonsFor(s), !byAbove
		}
	}
	if data.To == cityid.StatusRetired {
		got, err := pg.Source.Children(pg.ctx, cityid.ChildrenQuery{Code: at.Code(), Limit: 500})
		if err != nil {
			return nil, err
		}
		data.Living = !got.Next.IsZero() || slices.ContainsFunc(got.Records, func(c cityid.Record) bool { return c.Status != cityid.StatusRetired })
	}
	return data, nil
}

// acts reports whether a record and all above it are active.
func (pg *page) acts(rec *cityid.Record) (bool, error) {
	var err error
	for x := rec; x != nil; {
		if x.Status != cityid.StatusActive {
			return false, nil
		}
		if x, err = pg.above(x); err != nil {
			return false, err
		}
	}
	return rec != nil, nil
}

func (p *portal) workStatus(w http.ResponseWriter, r *http.Request, pg *page, at *workAt) error {
	data, err := pg.changingStatus(at, workForm{url.Values{"to": {r.URL.Query().Get("to")}, "heir": {r.URL.Query().Get("heir")}}})
	if err != nil {
		return err
	}
	return pg.showStatus(w, r, http.StatusOK, data)
}

// showStatus shows the form, or explains who decides.
func (pg *page) showStatus(w http.ResponseWriter, r *http.Request, status int, data *workStatus) error {
	at := data.workAt
	if at.Record.Status == cityid.StatusRetired {
		return pg.refuseWork(w, r, at, at.Code(), pg.T("work.refused.retired"))
	}
	if at.Above == nil {
		return pg.refuseWork(w, r, at, at.Code(), pg.T("work.refused.apex"))
	}
	if !slices.ContainsFunc(data.Options, func(o statusOption) bool { return o.May }) {
		why := ""
		if at.MayAbove {
			why = pg.T("work.refused.idle", at.Above.Content.Names.Get(pg.Lang), at.Above.Code)
		}
		return pg.refuseWork(w, r, at, at.Above.Code, why)
	}
	data.Form.Set("revision", fmtRevision(at.Record.Revision))
	pg.Title = pg.T("work.status.title", at.Name)
	return pg.render(w, r, status, "work_status", data)
}

func (p *portal) workStatusSend(w http.ResponseWriter, r *http.Request, pg *page, at *workAt) error {
	f := formOf(r)
	data, err := pg.changingStatus(at, f)
	if err != nil {
		return err
	}
	if pg.stale(at, f) {
		return pg.showStatus(w, r, http.StatusConflict, data)
	}
	if data.To == 0 {
		if !slices.ContainsFunc(data.Options, func(o statusOption) bool { return o.May }) {
			return pg.showStatus(w, r, http.StatusForbidden, data)
		}
		pg.refuseField("to", pg.T("work.status.none"))
		return pg.showStatus(w, r, http.StatusUnprocessableEntity, data)
	}
	if f.Get("action") == "search" {
		if err := pg.statusSearch(data); err != nil {
			return err
		}
		return pg.showStatus(w, r, http.StatusOK, data)
	}
	op, consents, err := pg.statusFrom(data)
	if err != nil {
		return err
	}
	if len(pg.Errors) > 0 {
		return pg.showStatus(w, r, http.StatusUnprocessableEntity, data)
	}
	ops, err := pg.decideAll(consents, op.Note, cityid.Operation{SetStatus: op})
	if err != nil {
		return err
	}
	return pg.sign(w, r, pg.T("work.status.sign", at.Name, pg.StatusName(op.Status)), at.URL, ops...)
}

// statusSearch looks for codes that could be heir or successor.
func (pg *page) statusSearch(data *workStatus) error {
	text := data.Form.Text("q")
	if text == "" {
		return nil
	}
	if len(text) > 200 {
		return cityid.Errorf(cityid.ErrTooLarge, "the text to look for has %d octets: at most 200", len(text))
	}
	data.Searched = true
	found, err := pg.Index.Search(pg.ctx, cityid.SearchQuery{Text: text, Statuses: []cityid.Status{cityid.StatusActive}, Limit: 10})
	if err != nil {
		return err
	}
	for _, h := range found.Hits {
		if h.Code == data.Code() {
			continue
		}
		data.Hits = append(data.Hits, workRow{place{h.Code, pg.NameOf(h.Names, h.Code), pg.Kind(h.Kind), pg.CodeURL(h.Code)}, pg.OtherName(h.Names), pg.StatusTag(h.Status), ""})
	}
	return nil
}

// statusFrom reads the form. consents are the codes whose policies decide.
func (pg *page) statusFrom(data *workStatus) (*cityid.SetStatus, []cityid.Code, error) {
	f := data.Form
	op := &cityid.SetStatus{Code: data.Code(), Revision: data.Record.Revision, Status: data.To, Note: f.Text("note")}
	consents := []cityid.Code{data.Above.Code}
	if data.Holder {
		consents[0] = data.Code()
	}
	if err := op.Reason.UnmarshalText([]byte(f.Get("reason"))); err != nil || !slices.Contains(data.Reasons, op.Reason) {
		pg.refuseField("reason", pg.T("work.reason.none"))
	}
	pg.checkNote(f)
	if data.To != cityid.StatusRetired {
		return op, consents, nil
	}
	if typed, err := cityid.Parse(f.Text("confirm")); err != nil || typed != data.Code() {
		pg.refuseField("confirm", pg.T("work.confirm.bad", data.Code()))
	}
	if text := f.Text("heir"); text != "" {
		heir, ok, err := pg.existingCode("heir", text, data.Code())
		if err != nil {
			return nil, nil, err
		}
		if ok && (data.Code().Covers(heir) || data.Code().PlaceCovers(heir.Root())) {
			pg.refuseField("heir", pg.T("work.heir.below", heir))
		}
		if op.Heir = heir; ok && heir != data.Above.Code {
			consents = append(consents, heir)
		}
	} else if data.Living {
		pg.refuseField("heir", pg.T("work.heir.needed"))
	}
	for _, text := range slices.Concat(strings.Fields(f.Get("successors")), f.Values["successor"]) {
		c, ok, err := pg.existingCode("successors", text, data.Code())
		if err != nil {
			return nil, nil, err
		}
		if ok && !slices.Contains(op.Successors, c) {
			op.Successors, consents = append(op.Successors, c), append(consents, c)
		}
	}
	slices.SortFunc(op.Successors, cityid.Code.Compare)
	if len(op.Successors) > cityid.MaxSuccessors {
		pg.refuseField("successors", pg.T("work.successors.most", cityid.MaxSuccessors))
	}
	return op, consents, nil
}

// existingCode reads a code that is to take something over.
func (pg *page) existingCode(field, text string, not cityid.Code) (cityid.Code, bool, error) {
	c, err := cityid.Parse(text)
	if err != nil {
		pg.refuseField(field, pg.T("work.code.bad", fmt.Sprintf("%.60s", text), err))
		return c, false, nil
	}
	a, err := pg.Source.Record(pg.ctx, c)
	switch {
	case errors.Is(err, cityid.ErrNotFound):
		pg.refuseField(field, pg.T("work.code.unknown", c))
		return c, false, nil
	case err != nil:
		return c, false, err
	case c == not || a.Record.Status == cityid.StatusRetired:
		pg.refuseField(field, pg.T("work.code.unfit", c))
		return c, false, nil
	}
	return c, true, nil
}
