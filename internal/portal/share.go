// SPDX-License-Identifier: Apache-2.0

package portal

import (
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"cityid"
	"cityid/internal/describe"
)

// Data of one city is used by another under an agreement, which stands on the
// chain. The chain is public to its members, and so is the page of an agreement;
// what is for those alone who have a voice for one of the parties stands below
// their code in the workspace:
//
//	/work/CODE/agreements              requests that wait, agreements in force and past ones
//	/work/CODE/agreements/new          ask for the use of a dataset, for CODE
//	/work/CODE/agreements/ID           one: terms, course, purpose, deciding
//	/work/CODE/agreements/ID/purpose   the encrypted purpose
//	/work/CODE/agreements/ID/log       who fetched what, and log.csv
//	/work/CODE/agreements/ID/evidence/ENTRY
//	/agreement/ID                      what everybody may see
//	/agreement/new                     for which code to ask
//
// An agreement belongs to CODE if the dataset or the consumer is CODE or lies
// below it. Deciding is for the policy that governs the dataset, taking back for
// the consumer's, revoking for both; those alone see the purpose and the log. A
// gateway key has no part in any of it: it does not control.
//
//	share.go          lists
//	share_ask.go      asking
//	share_one.go      one agreement
//	share_decide.go   deciding
//	share_purpose.go  what a request is for
//	share_public.go   for everybody
//	gateways.go       gateways, which fetch, log, and carry purposes

const (
	shareRows     = 25   // agreements on a page
	shareWindow   = 1000 // agreements put in order at a time
	shareNode     = 200  // agreements a node is asked for at a time
	shareQuestion = 20   // and how often for one page
	soonDays      = 3    // a deadline that is so near is marked
)

// The two sides of a list.
const (
	sideHeld  = "held"  // others ask for datasets of the code
	sideAsked = "asked" // the code asks for datasets of others
)

// shareViews are the choices of what to list, in order. Each is of one state, but
// for the ended ones.
var shareViews = []string{"waiting", "force", "late", "ended", "all"}

// shareState returns the state that a view asks a node for; 0: any.
func shareState(view string) cityid.AgreementState {
	switch view {
	case "waiting":
		return cityid.AgreementRequested
	case "force":
		return cityid.AgreementGranted
	case "late":
		return cityid.AgreementLapsed
	}
	return 0
}

// inView reports whether an agreement that reads so belongs to a view.
func inView(view string, s cityid.AgreementState) bool {
	switch view {
	case "ended":
		return s == cityid.AgreementRefused || s == cityid.AgreementRevoked || s == cityid.AgreementExpired
	case "all":
		return true
	}
	return s == shareState(view)
}

// shareData is what the lists of a code show.
type shareData struct {
	*workAt
	Side, View string
	Held       []shareChoice
	Asked      []shareChoice
	Rows       []shareRow
	Prepared   []shareRow // asked for here, and not known to be on the chain
	Next       string
	Windows    bool // there are too many to put all in order
}

// shareChoice is one choice of what to list.
type shareChoice struct {
	navItem
	Count int // -1: not counted
	More  bool
}

// shareRow is an agreement in a list.
type shareRow struct {
	ID       cityid.Digest
	URL      string
	Dataset  place
	Consumer place
	Provider place
	Tag      tag
	Deadline tag // of a request that waits
	Mark     cityid.Time
	MarkText string // what that is
	MarkTime string // and when
	Mine     bool   // the visitor may decide about it
}

// shareStep splits an address below /work/ at a code's agreements.
func shareStep(path string) (code, rest string, ok bool) {
	code, rest, ok = strings.Cut(path+"/", "/agreements/")
	return code, strings.TrimSuffix(rest, "/"), ok
}

// workShare answers all addresses of a code's agreements.
func (p *portal) workShare(w http.ResponseWriter, r *http.Request, pg *page, at *workAt) error {
	return p.signedIn(func(w http.ResponseWriter, r *http.Request, pg *page) error {
		if !at.May {
			return pg.refuseWork(w, r, at, at.Code(), pg.T("share.refused"))
		}
		_, rest, _ := shareStep(r.PathValue("path"))
		switch rest {
		case "":
			return pg.shareList(w, r, at)
		case "new":
			return pg.shareAsk(w, r, at)
		}
		text, part, _ := strings.Cut(rest, "/")
		var id cityid.Digest
		if err := id.UnmarshalText([]byte(text)); err != nil || id.IsZero() {
			return errNoPage
		}
		return pg.shareOne(w, r, at, id, part)
	})(w, r, pg)
}

// workShareSend takes the forms of a code's agreements.
func (p *portal) workShareSend(w http.ResponseWriter, r *http.Request, pg *page, at *workAt) error {
	if !at.May {
		return pg.refuseWork(w, r, at, at.Code(), pg.T("share.refused"))
	}
	_, rest, _ := shareStep(r.PathValue("path"))
	if rest == "new" {
		return pg.shareAskSend(w, r, at)
	}
	var id cityid.Digest
	if err := id.UnmarshalText([]byte(rest)); err != nil || id.IsZero() {
		return errNoPage
	}
	return pg.shareDecide(w, r, at, id)
}

// shareList shows one of the lists of a code.
func (pg *page) shareList(w http.ResponseWriter, r *http.Request, at *workAt) error {
	v := r.URL.Query()
	data := &shareData{workAt: at, Side: v.Get("side"), View: v.Get("state")}
	if data.Side == "" {
		data.Side = sideHeld
	}
	if data.View == "" {
		data.View = "waiting"
	}
	number, err := strconv.ParseUint("0"+v.Get("page"), 10, 16)
	if data.Side != sideHeld && data.Side != sideAsked || !slices.Contains(shareViews, data.View) || err != nil {
		return cityid.Errorf(cityid.ErrMalformed, "there is no such list of agreements")
	}
	list, next, err := pg.agreements(at.Code(), data.Side, data.View, v.Get("after"))
	if err != nil {
		return err
	}
	sortAgreements(data.View, list)
	begin := min(int(number)*shareRows, len(list))
	end := min(begin+shareRows, len(list))
	data.Windows = next != "" || v.Get("after") != ""
	switch {
	case end < len(list):
		data.Next = address(r, "page", strconv.FormatUint(number+1, 10), "done", "")
	case next != "":
		data.Next = address(r, "page", "", "after", next, "done", "")
	}
	places := placeBook{pg: pg}
	for i := begin; i < end; i++ {
		row, err := pg.shareRow(&places, at, &list[i])
		if err != nil {
			return err
		}
		data.Rows = append(data.Rows, row)
	}
	if data.Side == sideAsked && data.View == "waiting" && begin == 0 {
		if data.Prepared, err = pg.preparedRows(&places, at); err != nil {
			return err
		}
	}
	if err := pg.shareChoices(data); err != nil {
		return err
	}
	pg.Title = pg.T("share.title", at.Name)
	return pg.render(w, r, http.StatusOK, "share", data)
}

// agreements returns the agreements of a list from a cursor on, and the cursor of
// what is left.
func (pg *page) agreements(code cityid.Code, side, view, after string) ([]cityid.AgreementAnswer, string, error) {
	q := cityid.AgreementQuery{State: shareState(view), After: after, Limit: shareNode}
	if side == sideHeld {
		q.Dataset = code
	} else {
		q.Consumer = code
	}
	var out []cityid.AgreementAnswer
	for range shareQuestion {
		got, err := pg.Source.Agreements(pg.ctx, q)
		if err != nil {
			return nil, "", err
		}
		for _, a := range got.Agreements {
			if inView(view, a.State) {
				out = append(out, a)
			}
		}
		if q.After = got.Next; got.Next == "" || len(out) >= shareWindow {
			break
		}
	}
	return out, q.After, nil
}

// sortAgreements puts first what is due or ends first, and of the past what was
// last.
func sortAgreements(view string, list []cityid.AgreementAnswer) {
	mark := func(a *cityid.AgreementAnswer) cityid.Time { return shareMark(view, a) }
	slices.SortStableFunc(list, func(a, b cityid.AgreementAnswer) int {
		x, y := mark(&a), mark(&b)
		if view != "waiting" && view != "force" {
			x, y = y, x
		}
		return int(max(-1, min(1, x-y)))
	})
}

// shareMark is the time by which a list is ordered.
func shareMark(view string, a *cityid.AgreementAnswer) cityid.Time {
	x := &a.Agreement
	switch {
	case view == "all":
		return x.Requested.Time
	case a.State == cityid.AgreementGranted, a.State == cityid.AgreementExpired:
		return x.Terms.Until
	case a.State == cityid.AgreementRequested, a.State == cityid.AgreementLapsed:
		return x.Terms.Respond
	case a.State == cityid.AgreementRevoked:
		return x.Ended.Time
	}
	return x.Decided.Time
}

// shareRow writes an agreement as a row.
func (pg *page) shareRow(places *placeBook, at *workAt, a *cityid.AgreementAnswer) (row shareRow, err error) {
	t := &a.Agreement.Terms
	row = shareRow{ID: a.ID, URL: at.URL + "/agreements/" + a.ID.String(), Tag: pg.AgreementTag(a), Mark: shareMark("", a)}
	row.MarkText, row.MarkTime = pg.T("share.mark."+a.State.String()), pg.Moment(row.Mark.Std())
	if a.State != cityid.AgreementRefused && a.State != cityid.AgreementRevoked {
		row.MarkTime = pg.End(row.Mark)
	}
	if a.State == cityid.AgreementRequested {
		row.Deadline = pg.deadline(t.Respond, cityid.TimeOf(a.AsOf.Time))
		if row.Mine, err = pg.takesPart(t.Dataset); err != nil {
			return row, err
		}
	}
	if row.Dataset, err = places.at(t.Dataset); err == nil {
		row.Consumer, err = places.at(t.Consumer)
	}
	if err == nil {
		row.Provider, err = places.at(a.Agreement.Provider)
	}
	return row, err
}

// preparedRows lists what was asked for here and is not on the chain yet.
func (pg *page) preparedRows(places *placeBook, at *workAt) ([]shareRow, error) {
	list, err := pg.Office.PreparedAgreements(pg.ctx, at.Code(), shareRows)
	if err != nil {
		return nil, err
	}
	var out []shareRow
	for i := range list {
		a := &list[i]
		if _, err := pg.Source.Agreement(pg.ctx, a.ID); err == nil {
			continue // it is among the others
		} else if !errors.Is(err, cityid.ErrNotFound) {
			return nil, err
		}
		row := shareRow{ID: a.ID, URL: at.URL + "/agreements/" + a.ID.String(), Tag: pg.Tag("plain", "○", pg.T("share.prepared")), Mark: cityid.TimeOf(a.Created), MarkText: pg.T("share.mark.prepared")}
		if row.Dataset, err = places.at(a.Terms.Dataset); err != nil {
			return nil, err
		}
		out = append(out, row)
	}
	return out, nil
}

// shareChoices lists what can be listed, with how many wait.
func (pg *page) shareChoices(data *shareData) error {
	waiting, err := pg.waitingAgreements(data.Code())
	if err != nil {
		return err
	}
	for _, side := range []string{sideHeld, sideAsked} {
		var out []shareChoice
		for _, view := range shareViews {
			c := shareChoice{navItem: navItem{
				URL: data.URL + "/agreements?side=" + side + "&state=" + view, Text: pg.T("share.view." + side + "." + view), Current: side == data.Side && view == data.View,
			}, Count: -1}
			if view == "waiting" {
				n := waiting[side]
				c.Count, c.More = min(n, shareWindow), n > shareWindow
			}
			out = append(out, c)
		}
		if side == sideHeld {
			data.Held = out
		} else {
			data.Asked = out
		}
	}
	return nil
}

// AgreementTag says how an agreement's state is shown.
func (pg *page) AgreementTag(a *cityid.AgreementAnswer) tag {
	t := tag{Text: capital(describe.AgreementState(pg.Lang, a.State))}
	switch a.State {
	case cityid.AgreementRequested:
		t.Class, t.Icon = "info", "…"
	case cityid.AgreementGranted:
		t.Class, t.Icon, t.Text = "good", "✓", pg.T("share.force")
		if !a.InForce {
			t.Class, t.Icon, t.Text = "info", "◷", pg.T("share.force.later")
		}
	case cityid.AgreementRefused:
		t.Class, t.Icon = "bad", "✕"
	case cityid.AgreementRevoked:
		t.Class, t.Icon = "bad", "■"
	case cityid.AgreementLapsed:
		t.Class, t.Icon = "warn", "!"
	default:
		t.Class, t.Icon = "plain", "■"
	}
	return t
}

// deadline says how long there is until an answer is due.
func (pg *page) deadline(due, now cityid.Time) tag {
	left := int64(due - now)
	switch {
	case left <= 0:
		return tag{pg.T("share.due.over"), "bad", "!"}
	case left < 3600:
		return tag{pg.N("share.due.minutes", (left+59)/60), "bad", "⏳"}
	case left < 86400:
		return tag{pg.N("share.due.hours", left/3600), "bad", "⏳"}
	case left < soonDays*86400:
		return tag{pg.N("share.due.days", left/86400), "warn", "◷"}
	}
	return tag{pg.N("share.due.days", left/86400), "info", "◷"}
}

// placeBook looks places up once for a page.
type placeBook struct {
	pg    *page
	known map[cityid.Code]place
}

func (b *placeBook) at(code cityid.Code) (place, error) {
	if p, ok := b.known[code]; ok {
		return p, nil
	}
	p, err := b.pg.placeAt(code)
	if err == nil {
		if b.known == nil {
			b.known = map[cityid.Code]place{}
		}
		b.known[code] = p
	}
	return p, err
}

// shareTally remembers how many requests wait as of one block.
type shareTally struct {
	mu     sync.Mutex
	chain  string
	height uint64
	counts map[shareKey]int
}

type shareKey struct {
	code cityid.Code
	side string
}

// waitingAgreements returns for both sides of a code how many requests wait; more
// than shareWindow counts as one more than that.
func (pg *page) waitingAgreements(code cityid.Code) (map[string]int, error) {
	status, err := pg.Source.Status(pg.ctx)
	if err != nil {
		return nil, err
	}
	t, out := pg.shares, map[string]int{}
	for _, side := range []string{sideHeld, sideAsked} {
		key := shareKey{code, side}
		n, ok := t.get(status, key)
		if !ok {
			list, next, err := pg.agreements(code, side, "waiting", "")
			if err != nil {
				return nil, err
			}
			if n = len(list); n > shareWindow || next != "" {
				n = shareWindow + 1
			}
			t.put(status, key, n)
		}
		out[side] = n
	}
	return out, nil
}

// get returns what was counted as of a block.
func (t *shareTally) get(s *cityid.NodeStatus, key shareKey) (int, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.chain != s.Chain || t.height != s.Height {
		return 0, false
	}
	n, ok := t.counts[key]
	return n, ok
}

// put keeps a count, and drops those of other blocks.
func (t *shareTally) put(s *cityid.NodeStatus, key shareKey, n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.chain != s.Chain || t.height != s.Height || t.counts == nil {
		t.chain, t.height, t.counts = s.Chain, s.Height, map[shareKey]int{}
	}
	t.counts[key] = n
}

// shareCounts says in the workspace how many requests wait.
type shareCounts struct {
	URL         string
	Held, Asked int
	More        bool
}

// shareCounts counts the requests of a code that wait; nil where there are none
// of the visitor's business.
func (pg *page) shareCounts(code cityid.Code, may bool) (*shareCounts, error) {
	if !may || pg.Office == nil {
		return nil, nil
	}
	n, err := pg.waitingAgreements(code)
	if err != nil {
		return nil, err
	}
	return &shareCounts{URL: pg.URL("/work/", code.String(), "/agreements"), Held: n[sideHeld], Asked: n[sideAsked], More: max(n[sideHeld], n[sideAsked]) > shareWindow}, nil
}

// Span writes a period for people: as days, both included, if it begins and ends
// with one, and else to the minute.
func (pg *page) Span(from, until cityid.Time) string {
	if midnight(from) && midnight(until) {
		return pg.T("share.span.days", pg.Day(from.Std()), pg.Day(until.Std().Add(-time.Second)))
	}
	return pg.T("share.span.times", pg.Moment(from.Std()), pg.Moment(until.Std()))
}

// End writes the first moment that is too late: where a day begins with it, as the
// end of the day before.
func (pg *page) End(t cityid.Time) string {
	if midnight(t) {
		return pg.T("share.end", pg.Day(t.Std().Add(-time.Second)))
	}
	return pg.Moment(t.Std())
}

// midnight reports whether a day begins at t.
func midnight(t cityid.Time) bool {
	hour, minute, second := t.Std().In(beijing).Clock()
	return hour == 0 && minute == 0 && second == 0
}

// Second writes a time to the second.
func (pg *page) Second(t time.Time) string { return t.In(beijing).Format("2006-01-02 15:04:05") }
