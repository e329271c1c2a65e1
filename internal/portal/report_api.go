// SPDX-License-Identifier: Apache-2.0

package portal

import (
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"cityid"
	"cityid/internal/office"
	"cityid/internal/web"
)

// Programs report, and deal with reports, under /office/. Answers are JSON,
// refusals problems (RFC 9457), and the fields are those of the types named:
//
//	POST /office/reports                           ReportRequest: ReportSent
//	GET  /office/reports/NUMBER?token=TOKEN        ReportStatus
//	GET  /office/reports/NUMBER/receipt?token=…    the receipt, a ReportFile in CBOR
//
// What follows is for those whose key has a voice in the policy of whoever is
// responsible, or above it. A program signs in as a browser does: it asks for a
// challenge, which begins a session (a cookie), and has the key sign
// [cityid.SignInDigest] of the portal's origin, as it knows it, and the challenge:
//
//	POST /office/challenge                         {}: {"challenge": "…", "origin": "…"}
//	POST /office/sign-in                           {"challenge": "…", "key": "…", "signature": "…"}
//	POST /office/sign-out                          {}
//	GET  /office/reports?at=CODE                   ReportPage; also open=true, state, category, before, limit
//	GET  /office/reports/NUMBER                    ReportEntry
//	GET  /office/reports/NUMBER/photo              JPEG
//	POST /office/reports/NUMBER                    ReportChange: ReportEntry

const (
	reportsPath   = "/office/reports"
	maxReportJSON = maxReportPhoto*4/3 + 64<<10 // octets of a report with its photograph
	apiReports    = 50                          // in one list, unless asked for others
)

// programs are the endpoints for programs.
func (p *portal) programs() map[string]endpoint {
	return map[string]endpoint{
		"POST /office/challenge":               p.apiChallenge,
		"POST /office/sign-in":                 p.signIn,
		"POST /office/sign-out":                p.apiSignOut,
		"POST /office/reports":                 p.apiReport,
		"GET /office/reports":                  p.apiReports,
		"GET /office/reports/{number}":         p.apiReportOne,
		"POST /office/reports/{number}":        p.apiReportChange,
		"GET /office/reports/{number}/receipt": p.apiReceipt,
		"GET /office/reports/{number}/photo":   p.apiReportPhoto,
	}
}

// program puts around e what all endpoints for programs have in common. What
// another site sends is refused as from forms, since a session may come with it.
func (p *portal) program(e endpoint) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.headers(w.Header())
		w.Header().Set("Cache-Control", "no-store")
		pg := p.page(r, languageOf(r))
		err := p.crossForms.Check(r)
		switch {
		case err != nil:
			err = web.Refuse(http.StatusForbidden, cityid.ErrNotPermitted, "sent by a page of another site")
		case p.Office == nil:
			err = errNoOffice
		default:
			slowly(w, r)
			if err = pg.loadSession(r); err == nil {
				err = e(w, r, pg)
			}
		}
		if err != nil {
			web.WriteError(w, r, err)
		}
	})
}

func (p *portal) apiChallenge(w http.ResponseWriter, r *http.Request, pg *page) error {
	if err := readJSON(w, r, maxReply, &struct{}{}); err != nil {
		return err
	}
	_, challenge, err := pg.challenge(w, r, "sign-in")
	if err != nil {
		return err
	}
	return pg.json(w, r, map[string]string{"challenge": challenge, "origin": p.Origin})
}

func (p *portal) apiSignOut(w http.ResponseWriter, r *http.Request, pg *page) error {
	if pg.session != nil {
		if err := p.Office.EndSession(r.Context(), pg.session.token); err != nil && !errors.Is(err, office.ErrNotFound) {
			return err
		}
		p.setSession(w, "")
	}
	return pg.json(w, r, struct{}{})
}

// apiReport takes a report.
func (p *portal) apiReport(w http.ResponseWriter, r *http.Request, pg *page) error {
	if !p.TakesReports() {
		return errNoReports
	}
	if err := pg.Limits.Report(r); err != nil {
		return err
	}
	release, err := p.uploading.Take(web.ClientAddr(r))
	if err != nil {
		return err
	}
	defer release()
	var in cityid.ReportRequest
	if err := readJSON(w, r, maxReportJSON, &in); err != nil {
		return err
	}
	if in.Code.IsZero() {
		return cityid.Errorf(cityid.ErrInvalid, "code: say which thing the report is about")
	}
	report, token, way, err := pg.handIn(in.Code, reportInput{ID: in.ID, Category: in.Category.String(), Text: in.Text, Contact: in.Contact, Photo: in.Photo})
	if err != nil {
		return err
	}
	return web.WriteJSON(w, r, http.StatusCreated, &cityid.ReportSent{
		Number: report.Number, Token: token, Page: p.Origin + pg.receiptURL(report.Number, token), Department: report.Department,
		Way: way, Receipt: cityid.MustMarshal(report.File()),
	})
}

// reportStatus tells of a report what whoever has the token may know.
func (pg *page) reportStatus(report *office.Report) (cityid.ReportStatus, error) {
	s := cityid.ReportStatus{
		Number: report.Number, Institution: report.Receipt.Receipt.Institution, Code: report.Code, Department: report.Department,
		Category: report.Category, State: report.State, Received: cityid.TimeOf(report.Received), Photo: report.Photo, Erased: report.Opening == nil,
	}
	if !report.Closed.IsZero() {
		s.Closed = cityid.TimeOf(report.Closed)
	}
	if report.Opening != nil {
		s.Text = report.Opening.Report.Text
	}
	d, err := pg.duties.of(pg.ctx, report.Department)
	if err != nil {
		return s, err
	}
	s.Responsible = d.now
	steps, err := pg.Office.ReportSteps(pg.ctx, report.Number)
	for _, x := range steps {
		s.Steps = append(s.Steps, x.ReportStep)
	}
	return s, err
}

func (pg *page) entryOf(report *office.Report) (cityid.ReportEntry, error) {
	s, err := pg.reportStatus(report)
	return cityid.ReportEntry{ReportStatus: s, Contact: report.Contact}, err
}

// apiReportOne tells of one report: its state to whoever has the token, all to
// those who deal with it.
func (p *portal) apiReportOne(w http.ResponseWriter, r *http.Request, pg *page) error {
	if r.URL.Query().Has("token") {
		report, _, err := pg.ownReport(r)
		if err != nil {
			return err
		}
		s, err := pg.reportStatus(&report)
		if err != nil {
			return err
		}
		return pg.json(w, r, &s)
	}
	report, _, err := pg.apiDesk(r)
	if err != nil {
		return err
	}
	return pg.sendEntry(w, r, &report)
}

func (pg *page) sendEntry(w http.ResponseWriter, r *http.Request, report *office.Report) error {
	entry, err := pg.entryOf(report)
	if err != nil {
		return err
	}
	return pg.json(w, r, &entry)
}

var errNoSession = web.Refuse(http.StatusForbidden, cityid.ErrNotPermitted, "sign in first: see /office/challenge")

// apiDesk returns a report to those who deal with it.
func (pg *page) apiDesk(r *http.Request) (office.Report, duty, error) {
	if pg.Key() == "" {
		return office.Report{}, duty{}, errNoSession
	}
	report, d, err := pg.deskReportOf(r)
	if errors.Is(err, errNoPage) {
		err = errNoReport
	}
	return report, d, err
}

func (p *portal) apiReceipt(w http.ResponseWriter, r *http.Request, pg *page) error {
	report, _, err := pg.ownReport(r)
	if err == nil {
		sendReceipt(w, r, &report)
	}
	return err
}

func (p *portal) apiReportPhoto(w http.ResponseWriter, r *http.Request, pg *page) error {
	report, _, err := pg.apiDesk(r)
	if err != nil {
		return err
	}
	if !report.Photo {
		return cityid.Errorf(cityid.ErrNotFound, "report %d has no photograph, or it is erased", report.Number)
	}
	return pg.sendReportPhoto(w, r, report.Number)
}

// apiQuery reads the query of a list.
func apiQuery(q url.Values) (cityid.ReportQuery, error) {
	out := cityid.ReportQuery{Limit: apiReports}
	bad := func(name string) error {
		return cityid.Errorf(cityid.ErrMalformed, "%s %.60q: see the documentation of /office/reports", name, q.Get(name))
	}
	known := []string{"at", "open", "state", "category", "before", "limit"}
	for name, values := range q {
		var err error
		switch text := values[0]; {
		case !slices.Contains(known, name) || len(values) != 1:
			return out, cityid.Errorf(cityid.ErrMalformed, "%.60q: want each of %s once at most", name, strings.Join(known, ", "))
		case name == "at":
			out.At, err = cityid.Parse(text)
		case name == "open":
			out.Open, err = strconv.ParseBool(text)
		case name == "state":
			err = out.State.UnmarshalText([]byte(text))
		case name == "category":
			err = out.Category.UnmarshalText([]byte(text))
		case name == "before":
			if out.Before, err = strconv.ParseUint(text, 10, 62); out.Before == 0 {
				return out, bad(name)
			}
		case name == "limit":
			if out.Limit, err = strconv.Atoi(text); out.Limit < 1 || out.Limit > 200 {
				return out, bad(name)
			}
		}
		if err != nil {
			return out, bad(name)
		}
	}
	if out.At.IsZero() {
		return out, cityid.Errorf(cityid.ErrMalformed, "at: say whose desk")
	}
	return out, nil
}

// apiReports lists the reports of a desk.
func (p *portal) apiReports(w http.ResponseWriter, r *http.Request, pg *page) error {
	q, err := apiQuery(r.URL.Query())
	if err != nil {
		return err
	}
	if pg.Key() == "" {
		return errNoSession
	}
	if ok, err := pg.mayDesk(q.At); err != nil || !ok {
		if err == nil {
			err = cityid.Errorf(cityid.ErrNotPermitted, "your key has no voice in the policy that governs %s, nor above it", q.At)
		}
		return err
	}
	departments, _, err := p.duties.below(pg.ctx, q.At)
	if err != nil {
		return err
	}
	list, err := p.Office.Reports(pg.ctx, office.ReportFilter{Departments: departments, Open: q.Open, State: q.State, Category: q.Category, Before: q.Before, Limit: q.Limit})
	if err != nil {
		return err
	}
	page := cityid.ReportPage{Reports: []cityid.ReportEntry{}}
	for i := range list {
		entry, err := pg.entryOf(&list[i])
		if err != nil {
			return err
		}
		page.Reports = append(page.Reports, entry)
	}
	if n := len(list); n == q.Limit {
		page.Next = list[n-1].Number
	}
	return pg.json(w, r, &page)
}

// apiReportChange does something about a report.
func (p *portal) apiReportChange(w http.ResponseWriter, r *http.Request, pg *page) error {
	report, d, err := pg.apiDesk(r)
	if err != nil {
		return err
	}
	var c cityid.ReportChange
	if err := readJSON(w, r, maxReply, &c); err != nil {
		return err
	}
	if err := pg.changeReport(&report, d, c); err != nil {
		return err
	}
	if report, err = p.Office.Report(pg.ctx, report.Number); err != nil {
		return err
	}
	return pg.sendEntry(w, r, &report)
}
