// SPDX-License-Identifier: Apache-2.0

package portal

import (
	"errors"
	"fmt"
	"html/template"
	"net/http"
	"strconv"
	"strings"

	"cityid"
	"cityid/internal/describe"
	"cityid/internal/office"
	"cityid/internal/web"
	"cityid/label"
)

// A report's page is for whoever has the token: it stands in the query, which no
// log holds, and no page is told where a visitor came from.

const receiptType = "application/vnd.cityid.receipt+cbor"

// receiptData is what the page of a report shows.
type receiptData struct {
	*office.Report
	Tag         tag
	Category    string
	About       place
	To          place // to whom the report was given
	Now         place // who is responsible by now; without address: the same
	Institution place
	Steps       []reportStep
	Text        []string // lines
	PhotoURL    string
	FileURL     string
	Link        string
	LinkSymbol  template.HTML
	Symbol      template.HTML // of the signed receipt
	Key         string
}

// reportStep is one step of what was done.
type reportStep struct {
	cityid.ReportStep
	Tag tag
	To  place  // passed on to; without address: not passed on
	By  string // on the desk alone
}

// ownReport returns the report that the address names, to whoever has the token.
func (pg *page) ownReport(r *http.Request) (office.Report, string, error) {
	if pg.Office == nil {
		return office.Report{}, "", errNoOffice
	}
	pg.Private = true
	if err := pg.Limits.Visit(r); err != nil {
		return office.Report{}, "", err
	}
	number, err := strconv.ParseUint(r.PathValue("number"), 10, 64)
	if err != nil {
		return office.Report{}, "", errNoReport
	}
	token := r.URL.Query().Get("token")
	report, err := pg.Office.ReportByToken(pg.ctx, number, token)
	if errors.Is(err, office.ErrNotFound) {
		err = errNoReport
	}
	return report, token, err
}

var errNoReport = cityid.Errorf(cityid.ErrNotFound, "there is no such report, or the link to it is not whole")

// reportReceipt shows what became of a report.
func (p *portal) reportReceipt(w http.ResponseWriter, r *http.Request, pg *page) error {
	report, token, err := pg.ownReport(r)
	if err != nil {
		return err
	}
	w.Header().Set("Referrer-Policy", "no-referrer")
	data := &receiptData{Report: &report, Tag: pg.reportTag(report.State), Category: capital(describe.ReportCategory(pg.Lang, report.Category)), Key: pg.Fingerprint(report.Receipt.Receipt.Key)}
	if err := pg.reportPlaces(data); err != nil {
		return err
	}
	if data.Steps, err = pg.reportSteps(report.Number, false); err != nil {
		return err
	}
	query := "?token=" + token
	base := pg.URL("/receipt/", strconv.FormatUint(report.Number, 10))
	data.Link, data.FileURL = pg.Origin+base+query, base+"/file"+query
	if report.Opening != nil {
		data.Text = lines(report.Opening.Report.Text)
	}
	if report.Photo {
		data.PhotoURL = base + "/photo" + query
	}
	if data.LinkSymbol, err = textSymbol(data.Link); err != nil {
		return err
	}
	if data.Symbol, err = textSymbol(report.Receipt.Symbol()); err != nil {
		return err
	}
	pg.Title = pg.T("report.receipt.title", report.Number)
	return pg.render(w, r, http.StatusOK, "report_receipt", data)
}

// lines cuts a text into its lines; none of an empty one.
func lines(text string) []string {
	if text == "" {
		return nil
	}
	return strings.Split(text, "\n")
}

// textSymbol draws a text that is no label.
func textSymbol(text string) (template.HTML, error) {
	s, err := label.TextSymbol(text)
	if err != nil {
		return "", err
	}
	svg, err := s.SVG(label.SVGOptions{})
	return template.HTML(svg), err
}

// reportPlaces looks up what a report names.
func (pg *page) reportPlaces(data *receiptData) (err error) {
	receipt := &data.Receipt.Receipt
	if data.About, err = pg.placeAt(data.Code); err != nil {
		return err
	}
	if data.To, err = pg.placeAt(data.Department); err != nil {
		return err
	}
	if data.Institution, err = pg.placeAt(receipt.Institution); err != nil {
		return err
	}
	duty, err := pg.duties.of(pg.ctx, data.Department)
	if err == nil && !duty.now.IsZero() && duty.now != data.Department {
		data.Now, err = pg.placeAt(duty.now)
	}
	return err
}

// reportTag says how a report's state is shown.
func (pg *page) reportTag(s cityid.ReportState) tag {
	t := tag{Text: capital(describe.ReportState(pg.Lang, s))}
	switch s {
	case cityid.ReportReceived:
		t.Class, t.Icon = "info", "…"
	case cityid.ReportAssigned:
		t.Class, t.Icon = "warn", "→"
	case cityid.ReportFixed:
		t.Class, t.Icon = "good", "✓"
	default:
		t.Class, t.Icon = "plain", "■"
	}
	return t
}

// reportSteps lists what was done, the latest first; by whom, if asked for.
func (pg *page) reportSteps(number uint64, who bool) ([]reportStep, error) {
	steps, err := pg.Office.ReportSteps(pg.ctx, number)
	if err != nil {
		return nil, err
	}
	var out []reportStep
	for i := len(steps) - 1; i >= 0; i-- {
		s := &steps[i]
		row := reportStep{ReportStep: s.ReportStep, Tag: pg.reportTag(s.State)}
		if !s.Department.IsZero() {
			if row.To, err = pg.placeAt(s.Department); err != nil {
				return nil, err
			}
		}
		if who && s.Key != "" {
			row.By = pg.Fingerprint(s.Key)
		}
		out = append(out, row)
	}
	return out, nil
}

// reportFile hands out the receipt, with what it commits to.
func (p *portal) reportFile(w http.ResponseWriter, r *http.Request, pg *page) error {
	report, _, err := pg.ownReport(r)
	if err != nil {
		return err
	}
	sendReceipt(w, r, &report)
	return nil
}

func sendReceipt(w http.ResponseWriter, r *http.Request, report *office.Report) {
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Disposition", fmt.Sprintf("attachment; filename=\"receipt-%d.cbor\"", report.Number))
	web.WriteBytes(w, r, http.StatusOK, receiptType, cityid.MustMarshal(report.File()))
}

// reportPhoto hands out the photograph as it is kept.
func (p *portal) reportPhoto(w http.ResponseWriter, r *http.Request, pg *page) error {
	report, _, err := pg.ownReport(r)
	if err != nil {
		return err
	}
	return pg.sendReportPhoto(w, r, report.Number)
}

func (pg *page) sendReportPhoto(w http.ResponseWriter, r *http.Request, number uint64) error {
	b, err := pg.Office.ReportPhoto(pg.ctx, number)
	if errors.Is(err, office.ErrNotFound) {
		return errNoPage
	}
	if err != nil {
		return err
	}
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
	web.WriteBytes(w, r, http.StatusOK, "image/jpeg", b)
	return nil
}
