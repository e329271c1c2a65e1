// SPDX-License-Identifier: Apache-2.0

package portal

import (
	"crypto/rand"
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"

	"cityid"
	"cityid/internal/dcat"
	"cityid/internal/describe"
	"cityid/internal/office"
)

// The form that asks for the use of a dataset. It ends on the page for signing,
// with the request as an operation, or as a proposal to those who decide together
// for the consumer. What the data are for is kept in the office before anything is
// signed; the chain gets a salted digest of it.

// What the form offers.
var (
	staleChoices   = []uint32{30, 300, 1800, 3600, 4 * 3600} // seconds
	respondChoices = []int{2, 5, 10}                         // working days
	octetUnits     = []string{"MB", "GB", "KB", "B"}
	octetFactors   = map[string]uint64{"B": 1, "KB": 1e3, "MB": 1e6, "GB": 1e9}
)

const (
	defaultRespond = "5"
	longestAsked   = 10 * 366 * 24 * time.Hour
)

// askData is what the form shows.
type askData struct {
	*workAt
	Form     workForm
	Dataset  *place // nil: none that can be asked for is chosen
	Class    string
	Open     bool  // anybody may fetch it
	Decider  place // whose policy decides about it
	Document cityid.Digest
	Policy   cityid.Digest
	usage    *dcat.Policy // nil: there is none, or it is not at hand
	NoKeys   bool         // nobody who decides has a key to encrypt to
	NoWay    bool         // this portal knows no gateway of the code
	Stale    []askChoice
	Respond  []askChoice
	Units    []string
	MaxText  int
	MaxBasis int
}

// askChoice is one of several values.
type askChoice struct {
	Value  string
	Text   string
	Hint   string
	Chosen bool
}

// shareAsk shows the form.
func (pg *page) shareAsk(w http.ResponseWriter, r *http.Request, at *workAt) error {
	if ok, err := pg.mayAsk(w, r, at); !ok || err != nil {
		return err
	}
	now := time.Now().In(beijing)
	f := workForm{url.Values{
		"dataset": {r.URL.Query().Get("dataset")}, "stale": {strconv.Itoa(cityid.MinStaleness)}, "respond": {defaultRespond}, "unit": {octetUnits[0]},
		"from": {now.Format(time.DateOnly)}, "until": {now.AddDate(1, 0, -1).Format(time.DateOnly)},
	}}
	data, err := pg.asking(at, f)
	if err != nil {
		return err
	}
	status := http.StatusOK
	if len(pg.Errors) > 0 {
		status = http.StatusUnprocessableEntity
	}
	data.proposePermitted()
	return pg.showAsk(w, r, status, data)
}

// Usage is what the usage policy asks for.
func (d *askData) Usage() []dcat.Term { return d.usage.Terms() }

// proposePermitted fills in as much as the usage policy permits, where that is less
// than the form proposes.
func (d *askData) proposePermitted() {
	p := d.usage
	if p == nil {
		return
	}
	set := func(field string, at time.Time) { d.Form.Values.Set(field, at.In(beijing).Format(time.DateOnly)) }
	if from := p.From.Std(); from.After(time.Now()) {
		set("from", from.Add(24*time.Hour-1)) // the first whole day
	}
	if last := p.Until.Std().Add(-24 * time.Hour); p.Until != 0 && last.Before(time.Now().AddDate(1, 0, -1)) {
		set("until", last)
	}
	if p.Requests != 0 {
		d.Form.Values.Set("requests", strconv.FormatUint(p.Requests, 10))
	}
	if p.Octets != 0 {
		for _, unit := range []string{"GB", "MB", "KB", "B"} {
			if f := octetFactors[unit]; p.Octets%f == 0 {
				d.Form.Values.Set("octets", strconv.FormatUint(p.Octets/f, 10))
				d.Form.Values.Set("unit", unit)
				break
			}
		}
	}
}

// refuseBeyond notes what of the terms the usage policy does not permit.
func (pg *page) refuseBeyond(p *dcat.Policy, t *cityid.Terms) {
	if p == nil || p.Admits(t) == nil {
		return
	}
	before := len(pg.Errors)
	if t.From < p.From {
		pg.refuseField("from", pg.T("share.ask.policy.from", pg.Moment(p.From.Std())))
	}
	if p.Until != 0 && t.Until > p.Until {
		pg.refuseField("until", pg.T("share.ask.policy.until", pg.Moment(p.Until.Std())))
	}
	if p.Requests != 0 && (t.Requests == 0 || t.Requests > p.Requests) {
		pg.refuseField("requests", pg.T("share.ask.policy.requests", grouped(p.Requests)))
	}
	if p.Octets != 0 && (t.Octets == 0 || t.Octets > p.Octets) {
		pg.refuseField("octets", pg.T("share.ask.policy.octets", grouped(p.Octets)))
	}
	if len(pg.Errors) == before {
		pg.refuseField("", pg.T("share.ask.policy.consumer"))
	}
}

// mayAsk answers with a refusal unless the visitor may take part in asking on
// behalf of the code.
func (pg *page) mayAsk(w http.ResponseWriter, r *http.Request, at *workAt) (bool, error) {
	switch at.Record.Kind {
	case cityid.KindClass, cityid.KindObject, cityid.KindDataset, cityid.KindSource:
		return false, pg.refuseWork(w, r, at, at.Code(), pg.T("share.ask.things"))
	}
	return pg.mayWork(w, r, at)
}

func (pg *page) showAsk(w http.ResponseWriter, r *http.Request, status int, data *askData) error {
	pg.Title = pg.T("share.ask.title", data.Name)
	return pg.render(w, r, status, "share_ask", data)
}

// asking prepares the form, and notes what is wrong with the dataset.
func (pg *page) asking(at *workAt, f workForm) (*askData, error) {
	data := &askData{workAt: at, Form: f, Units: octetUnits, MaxText: office.MaxPurposeText, MaxBasis: office.MaxPurposeBasis}
	for _, s := range staleChoices {
		v := strconv.Itoa(int(s))
		data.Stale = append(data.Stale, askChoice{v, pg.Within(s), pg.T("share.stale." + v), f.Has("stale", v)})
	}
	now := time.Now()
	for _, n := range respondChoices {
		v := strconv.Itoa(n)
		data.Respond = append(data.Respond, askChoice{v, pg.T("share.respond.days", n), pg.T("share.respond.until", pg.Day(addWorkdays(now, n))), f.Has("respond", v)})
	}
	if f.Text("dataset") == "" {
		return data, nil
	}
	rec, err := pg.askable(f.Text("dataset"))
	if err != nil || rec == nil {
		return data, err
	}
	d := rec.Content.Dataset
	policy, holder, err := pg.governing(pg.ctx, rec.Code)
	if err != nil && !errors.Is(err, cityid.ErrNotFound) {
		return nil, err
	}
	if policy == nil {
		pg.refuseField("dataset", pg.T("share.ask.nobody"))
		return data, nil
	}
	chosen := pg.placeOf(rec)
	data.Open = d.Class == cityid.DatasetOpen
	data.Dataset, data.Class, data.Document, data.Policy = &chosen, capital(describe.DatasetClass(pg.Lang, d.Class)), d.Document, d.Policy
	if data.Decider, err = pg.placeAt(holder); err != nil {
		return nil, err
	}
	data.usage = pg.usagePolicy(rec.Code, d.Policy)
	readers, err := pg.readersOf(pg.ctx, rec.Code)
	if err != nil {
		return nil, err
	}
	_, known := pg.gatewayOf(at.Code(), at.Holder.Code)
	data.NoKeys, data.NoWay = len(readers) == 0, !known
	return data, nil
}

// askable returns the record of a dataset that can be asked for; nil, and a note,
// if it is none.
func (pg *page) askable(text string) (*cityid.Record, error) {
	refuse := func(key string, args ...any) (*cityid.Record, error) {
		pg.refuseField("dataset", pg.T("share.ask."+key, args...))
		return nil, nil
	}
	code, err := cityid.Parse(text)
	if err != nil {
		pg.refuseField("dataset", pg.T("work.code.bad", fmt.Sprintf("%.60s", text), err))
		return nil, nil
	}
	a, err := pg.Source.Record(pg.ctx, code)
	if errors.Is(err, cityid.ErrNotFound) {
		pg.refuseField("dataset", pg.T("work.code.unknown", code))
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	rec := &a.Record
	acts, err := pg.acts(rec)
	switch {
	case err != nil:
		return nil, err
	case rec.Kind != cityid.KindDataset:
		return refuse("kind", code, pg.Kind(rec.Kind))
	case !acts:
		return refuse("idle", code)
	case !rec.Sealed.IsZero():
		return refuse("sealed", code)
	case rec.Content.Dataset == nil:
		return refuse("undescribed", code)
	case rec.Content.Dataset.Class == cityid.DatasetClosed:
		return refuse("closed", code)
	}
	return rec, nil
}

// Within says in words how old the state may be by which a gateway judges.
func (pg *page) Within(seconds uint32) string {
	switch {
	case seconds%3600 == 0:
		return pg.N("share.within.hours", seconds/3600)
	case seconds%60 == 0:
		return pg.N("share.within.minutes", seconds/60)
	}
	return pg.N("share.within.seconds", seconds)
}

// shareAskSend takes the form: it keeps the purpose, and sends the visitor on to
// sign.
func (pg *page) shareAskSend(w http.ResponseWriter, r *http.Request, at *workAt) error {
	if ok, err := pg.mayAsk(w, r, at); !ok || err != nil {
		return err
	}
	if err := pg.Limits.Visit(r); err != nil { // each request is kept
		return err
	}
	f := formOf(r)
	data, err := pg.asking(at, f)
	if err != nil {
		return err
	}
	if f.Text("dataset") == "" {
		pg.refuseField("dataset", pg.T("share.ask.which"))
	}
	if len(pg.Errors) > 0 {
		return pg.showAsk(w, r, http.StatusUnprocessableEntity, data)
	}
	if f.Get("document") != data.Document.String() || f.Get("policy") != data.PolicySeen() {
		pg.refuseField("", pg.T("share.ask.changed"))
		return pg.showAsk(w, r, http.StatusConflict, data)
	}
	terms, purpose := pg.termsFrom(data)
	if len(pg.Errors) > 0 {
		return pg.showAsk(w, r, http.StatusUnprocessableEntity, data)
	}
	if err := terms.Check(); err != nil {
		pg.refuseField("", pg.refusal(err))
	}
	pg.refuseBeyond(data.usage, &terms)
	if len(pg.Errors) > 0 {
		return pg.showAsk(w, r, http.StatusUnprocessableEntity, data)
	}
	err = pg.Office.PrepareAgreement(pg.ctx, terms, purpose)
	if errors.Is(err, office.ErrFull) {
		return cityid.Errorf(cityid.ErrFull, "%v", err)
	}
	if err != nil {
		return err
	}
	op := cityid.Operation{AgreementRequest: &cityid.AgreementRequest{Terms: terms}}
	ops, err := pg.decide(at.Code(), "", op)
	if err != nil {
		return err
	}
	return pg.sign(w, r, pg.T("share.ask.sign", data.Dataset.Name), at.URL+"/agreements/"+terms.ID().String(), ops...)
}

// PolicySeen is what the form carries of the policy's digest.
func (d *askData) PolicySeen() string {
	if d.Policy.IsZero() {
		return ""
	}
	return d.Policy.String()
}

// termsFrom reads the form, and makes nonce and salt.
func (pg *page) termsFrom(data *askData) (cityid.Terms, office.Purpose) {
	f, now := data.Form, time.Now()
	t := cityid.Terms{Dataset: data.Dataset.Code, Consumer: data.Code(), Document: data.Document, Policy: data.Policy}
	rand.Read(t.Nonce[:])
	from, okFrom := pg.askedDay("from", f)
	until, okUntil := pg.askedDay("until", f)
	until = until.AddDate(0, 0, 1) // the day counts whole
	switch {
	case !okFrom || !okUntil:
	case !until.After(from):
		pg.refuseField("until", pg.T("share.ask.until.before"))
	case !until.After(now):
		pg.refuseField("until", pg.T("share.ask.until.past"))
	case until.Sub(from) > longestAsked:
		pg.refuseField("until", pg.T("share.ask.until.long"))
	}
	t.From, t.Until = cityid.TimeOf(from), cityid.TimeOf(until)
	days, err := strconv.Atoi(f.Get("respond"))
	if err != nil || !slices.Contains(respondChoices, days) {
		pg.refuseField("respond", pg.T("share.ask.choose"))
	} else if t.Respond = cityid.TimeOf(addWorkdays(now, days).AddDate(0, 0, 1)); okUntil && t.Respond > t.Until {
		pg.refuseField("respond", pg.T("share.ask.respond.late"))
	}
	stale, err := strconv.ParseUint(f.Get("stale"), 10, 32)
	if err != nil || !slices.Contains(staleChoices, uint32(stale)) {
		pg.refuseField("stale", pg.T("share.ask.choose"))
	}
	t.Staleness = uint32(stale)
	t.Requests = pg.countFrom("requests", f, 1)
	factor := octetFactors[f.Get("unit")]
	if factor == 0 {
		pg.refuseField("octets", pg.T("share.ask.unit"))
		factor = 1
	}
	t.Octets = pg.countFrom("octets", f, factor)
	p := pg.purposeFrom(f)
	t.Purpose = p.Digest()
	return t, p
}

// askedDay reads a day, which begins in Beijing.
func (pg *page) askedDay(field string, f workForm) (time.Time, bool) {
	d, err := time.ParseInLocation(time.DateOnly, f.Text(field), beijing)
	if err != nil || d.Year() < 2000 || d.Year() > 2200 {
		pg.refuseField(field, pg.T("share.ask.day"))
		return time.Time{}, false
	}
	return d, true
}

// countFrom reads a limit; empty is none.
func (pg *page) countFrom(field string, f workForm, factor uint64) uint64 {
	if f.Text(field) == "" {
		return 0
	}
	n, err := strconv.ParseUint(f.Text(field), 10, 64)
	if err != nil || n == 0 || n > math.MaxInt64/factor {
		pg.refuseField(field, pg.T("share.ask.count"))
		return 0
	}
	return n * factor
}

// purposeFrom reads what the data are for.
func (pg *page) purposeFrom(f workForm) office.Purpose {
	text, basis := office.FoldPurpose(f.Get("purpose")), oneLine(f.Get("basis"))
	_, textErr := office.NewPurpose(text, "")
	p, err := office.NewPurpose(text, basis)
	switch {
	case text == "":
		pg.refuseField("purpose", pg.T("share.ask.purpose.none"))
	case utf8.RuneCountInString(text) > office.MaxPurposeText:
		pg.refuseField("purpose", pg.T("share.ask.purpose.long", grouped(utf8.RuneCountInString(text)), grouped(office.MaxPurposeText)))
	case utf8.RuneCountInString(basis) > office.MaxPurposeBasis:
		pg.refuseField("basis", pg.T("share.ask.purpose.long", grouped(utf8.RuneCountInString(basis)), grouped(office.MaxPurposeBasis)))
	case textErr != nil:
		pg.refuseField("purpose", pg.T("share.ask.purpose.bad"))
	case err != nil:
		pg.refuseField("basis", pg.T("share.ask.purpose.bad"))
	}
	return p
}

// askFor leads to the form of the code that the visitor asks for, or lists them.
func (p *portal) askFor(w http.ResponseWriter, r *http.Request, pg *page) error {
	text := r.URL.Query().Get("dataset")
	code, err := cityid.Parse(text)
	if err != nil {
		return cityid.Errorf(cityid.ErrMalformed, "dataset %.60q: %v", text, err)
	}
	dataset, err := pg.placeAt(code)
	if err != nil {
		return err
	}
	data := struct {
		Dataset place
		Codes   []place
	}{Dataset: dataset}
	for _, h := range pg.Holdings() {
		switch h.Kind {
		case cityid.KindClass, cityid.KindObject, cityid.KindDataset, cityid.KindSource:
			continue
		}
		if h.Roles&cityid.RoleControl == 0 || h.Status != cityid.StatusActive || slices.ContainsFunc(data.Codes, func(x place) bool { return x.Code == h.Code }) {
			continue
		}
		to := pg.URL("/work/", h.Code.String(), "/agreements/new?dataset=", url.QueryEscape(code.String()))
		data.Codes = append(data.Codes, place{h.Code, pg.NameOf(h.Names, h.Code), pg.Kind(h.Kind), to})
	}
	if len(data.Codes) == 1 {
		http.Redirect(w, r, data.Codes[0].URL, http.StatusSeeOther)
		return nil
	}
	pg.Title = pg.T("share.who.title", dataset.Name)
	return pg.render(w, r, http.StatusOK, "share_who", data)
}
