// SPDX-License-Identifier: Apache-2.0

package portal

import (
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"unicode/utf8"

	"cityid"
	"cityid/internal/describe"
	"cityid/internal/office"
)

const (
	deskRows    = 25
	excerpt     = 60  // characters of a text in a list
	deskTargets = 200 // departments offered to pass a report on to
)

// deskData is what a desk shows.
type deskData struct {
	*workAt
	Rows        []deskRow
	Next        string
	Open        int
	Show        []option // open, all, or one state
	Categories  []option
	Departments []option
	Several     bool   // departments
	Moved       *place // the code is retired: who has its reports now
	Took        bool   // this portal takes reports
}

type deskRow struct {
	office.Report
	Tag      tag
	Category string
	About    place
	Text     string
	To       place
	URL      string
}

// deskFilter is what the address asks a desk for.
type deskFilter struct {
	office.ReportFilter
	show, department string
}

// parseDesk reads the filter of a desk.
func parseDesk(q url.Values) (deskFilter, error) {
	f := deskFilter{show: q.Get("show"), department: q.Get("department")}
	switch f.show {
	case "":
		f.show, f.Open = "open", true
	case "open":
		f.Open = true
	case "all":
	default:
		if err := f.State.UnmarshalText([]byte(f.show)); err != nil {
			return f, cityid.Errorf(cityid.ErrMalformed, "%v", err)
		}
	}
	if s := q.Get("category"); s != "" {
		if err := f.Category.UnmarshalText([]byte(s)); err != nil {
			return f, cityid.Errorf(cityid.ErrMalformed, "%v", err)
		}
	}
	if s := q.Get("before"); s != "" {
		n, err := strconv.ParseUint(s, 10, 62)
		if err != nil || n == 0 {
			return f, cityid.Errorf(cityid.ErrMalformed, "before %.40q: want the number of a report", s)
		}
		f.Before = n
	}
	return f, nil
}

// workReports is the desk of a code: what was reported about what it, or what
// lies below it, is responsible for.
func (p *portal) workReports(w http.ResponseWriter, r *http.Request, pg *page, at *workAt) error {
	return p.signedIn(func(w http.ResponseWriter, r *http.Request, pg *page) error {
		return pg.showDesk(w, r, at)
	})(w, r, pg)
}

func (pg *page) showDesk(w http.ResponseWriter, r *http.Request, at *workAt) error {
	ok, err := pg.mayDesk(at.Code())
	if err != nil {
		return err
	}
	if !ok {
		return pg.refuseWork(w, r, at, at.Code(), pg.T("report.desk.refused"))
	}
	f, err := parseDesk(r.URL.Query())
	if err != nil {
		return err
	}
	data := &deskData{workAt: at, Took: pg.TakesReports()}
	all, open, err := pg.duties.below(pg.ctx, at.Code())
	if err != nil {
		return err
	}
	data.Open, data.Several, f.Departments = open, len(all) > 1, all
	if err := pg.deskOptions(data, &f); err != nil {
		return err
	}
	f.Limit = deskRows + 1
	list, err := pg.Office.Reports(pg.ctx, f.ReportFilter)
	if err != nil {
		return err
	}
	if len(list) > deskRows {
		list = list[:deskRows]
		data.Next = address(r, "before", strconv.FormatUint(list[deskRows-1].Number, 10))
	}
	for _, report := range list {
		row, err := pg.deskRow(report)
		if err != nil {
			return err
		}
		data.Rows = append(data.Rows, row)
	}
	if at.Record.Status == cityid.StatusRetired {
		if d, err := pg.duties.of(pg.ctx, at.Code()); err == nil && !d.now.IsZero() {
			to, err := pg.placeAt(d.now)
			if err != nil {
				return err
			}
			to.URL = pg.URL("/work/", d.now.String(), "/reports")
			data.Moved = &to
		}
	}
	pg.Title = pg.T("report.desk.title", at.Name)
	return pg.render(w, r, http.StatusOK, "work_reports", data)
}

// deskOptions makes the choices of the filter, and keeps to the department that
// it names.
func (pg *page) deskOptions(data *deskData, f *deskFilter) error {
	add := func(to *[]option, value, text, chosen string) {
		*to = append(*to, option{value, text, "", value == chosen})
	}
	add(&data.Show, "open", pg.T("report.show.open"), f.show)
	add(&data.Show, "all", pg.T("report.show.all"), f.show)
	for s := cityid.ReportReceived; s.Valid(); s++ {
		add(&data.Show, s.String(), capital(describe.ReportState(pg.Lang, s)), f.show)
	}
	chosen := ""
	if f.Category != 0 {
		chosen = f.Category.String()
	}
	add(&data.Categories, "", pg.T("report.any"), chosen)
	for _, c := range cityid.ReportCategories() {
		add(&data.Categories, c.String(), capital(describe.ReportCategory(pg.Lang, c)), chosen)
	}
	add(&data.Departments, "", pg.T("report.any"), f.department)
	for _, c := range f.Departments {
		at, err := pg.placeAt(c)
		if err != nil {
			return err
		}
		add(&data.Departments, c.String(), at.Name+" "+c.String(), f.department)
	}
	if f.department != "" {
		f.Departments = slices.DeleteFunc(slices.Clone(f.Departments), func(c cityid.Code) bool { return c.String() != f.department })
	}
	return nil
}

func (pg *page) deskRow(report office.Report) (deskRow, error) {
	row := deskRow{
		Report: report, Tag: pg.reportTag(report.State), Category: capital(describe.ReportCategory(pg.Lang, report.Category)),
		URL: pg.URL("/reports/", strconv.FormatUint(report.Number, 10)),
	}
	if report.Opening != nil {
		row.Text = cut(oneLine(report.Opening.Report.Text), excerpt)
	}
	var err error
	if row.About, err = pg.placeAt(report.Code); err == nil {
		row.To, err = pg.placeAt(report.Department)
	}
	return row, err
}

// cut returns the beginning of a text, at most so many characters.
func cut(s string, most int) string {
	if utf8.RuneCountInString(s) <= most {
		return s
	}
	return string([]rune(s)[:most-1]) + "…"
}

// deskOne is what the page of one report on a desk shows.
type deskOne struct {
	receiptData
	Desk    place // of whoever is responsible
	Contact string
	Erased  bool
	Targets []place // to whom it can be passed on
	Note    string
	Act     string
	Target  string
}

// deskReportOf returns the report that the address names, and who is responsible
// for it by now, if the visitor may see it.
func (pg *page) deskReportOf(r *http.Request) (office.Report, duty, error) {
	number, err := strconv.ParseUint(r.PathValue("number"), 10, 64)
	if err != nil {
		return office.Report{}, duty{}, errNoPage
	}
	report, err := pg.Office.Report(pg.ctx, number)
	if errors.Is(err, office.ErrNotFound) {
		err = errNoPage
	}
	if err != nil {
		return report, duty{}, err
	}
	d, err := pg.duties.of(pg.ctx, report.Department)
	if err != nil {
		return report, d, err
	}
	for _, c := range d.above {
		if ok, err := pg.takesPart(c); ok || err != nil {
			return report, d, err
		}
	}
	return report, d, errNoPage
}

// deskReport shows one report to those who deal with it.
func (p *portal) deskReport(w http.ResponseWriter, r *http.Request, pg *page) error {
	report, d, err := pg.deskReportOf(r)
	if err != nil {
		return err
	}
	return pg.showDeskReport(w, r, http.StatusOK, &report, d, url.Values{})
}

func (pg *page) showDeskReport(w http.ResponseWriter, r *http.Request, status int, report *office.Report, d duty, form url.Values) error {
	data := &deskOne{
		receiptData: receiptData{Report: report, Tag: pg.reportTag(report.State), Category: capital(describe.ReportCategory(pg.Lang, report.Category))},
		Contact:     report.Contact, Erased: report.Opening == nil, Note: form.Get("note"), Act: form.Get("act"), Target: form.Get("department"),
	}
	if err := pg.reportPlaces(&data.receiptData); err != nil {
		return err
	}
	var err error
	if data.Steps, err = pg.reportSteps(report.Number, true); err != nil {
		return err
	}
	if report.Opening != nil {
		data.Text = lines(report.Opening.Report.Text)
	}
	if report.Photo {
		data.PhotoURL = pg.URL("/reports/", strconv.FormatUint(report.Number, 10), "/photo")
	}
	desk := d.now
	if desk.IsZero() {
		desk = report.Department
	}
	if data.Desk, err = pg.placeAt(desk); err != nil {
		return err
	}
	data.Desk.URL = pg.URL("/work/", desk.String(), "/reports")
	if report.State.Open() {
		if data.Targets, err = pg.deskTargets(d); err != nil {
			return err
		}
	}
	pg.Title = pg.T("report.number", report.Number)
	return pg.render(w, r, status, "work_report", data)
}

// deskTargets lists departments to which a report can be passed on: those right
// below the city of whoever has it.
func (pg *page) deskTargets(d duty) ([]place, error) {
	if d.seat.IsZero() {
		return nil, nil
	}
	got, err := pg.Source.Children(pg.ctx, cityid.ChildrenQuery{Code: d.seat, Kind: cityid.KindDepartment, Limit: deskTargets})
	if err != nil {
		return nil, err
	}
	var out []place
	for i := range got.Records {
		if r := &got.Records[i]; r.Status == cityid.StatusActive && r.Code != d.now {
			out = append(out, pg.placeOf(r))
		}
	}
	return out, nil
}

// deskChange does something about a report.
func (p *portal) deskChange(w http.ResponseWriter, r *http.Request, pg *page) error {
	report, d, err := pg.deskReportOf(r)
	if err != nil {
		return err
	}
	if err := parseForm(w, r); err != nil {
		return err
	}
	f := r.PostForm
	c := cityid.ReportChange{Note: oneLine(plainText(f.Get("note")))}
	if err := c.From.UnmarshalText([]byte(f.Get("from"))); err != nil {
		return cityid.Errorf(cityid.ErrMalformed, "%v", err)
	}
	refuse := func(field, text string) error {
		pg.refuseField(field, text)
		return pg.showDeskReport(w, r, http.StatusUnprocessableEntity, &report, d, f)
	}
	if err := c.To.UnmarshalText([]byte(f.Get("act"))); err != nil {
		return refuse("act", pg.T("report.wrong.act"))
	}
	if s := f.Get("department"); s != "" && c.To == cityid.ReportAssigned {
		if c.Department, err = cityid.Parse(s); err != nil {
			return refuse("department", pg.T("report.wrong.department"))
		}
	}
	err = pg.changeReport(&report, d, c)
	switch code := cityid.CodeOf(err); {
	case err == nil:
		http.Redirect(w, r, pg.URL("/reports/", strconv.FormatUint(report.Number, 10)), http.StatusSeeOther)
		return nil
	case errors.Is(err, errTarget):
		return refuse("department", pg.T("report.wrong.department"))
	case code == cityid.ErrInvalid && c.Note == "":
		return refuse("note", pg.T("report.wrong.note"))
	case code == cityid.ErrTooLarge:
		return refuse("note", pg.T("report.wrong.notelong", cityid.MaxReportNote))
	case code == cityid.ErrConflict:
		if fresh, ferr := pg.Office.Report(pg.ctx, report.Number); ferr == nil {
			report = fresh
		}
		return refuse("", pg.T("report.wrong.meanwhile"))
	}
	return err
}

// errTarget says that a report can not be passed on to a code.
var errTarget = cityid.Errorf(cityid.ErrInvalid, "department: want an active department of the same city")

// changeReport does something about a report that the visitor may see.
func (pg *page) changeReport(report *office.Report, d duty, c cityid.ReportChange) error {
	if err := c.Check(); err != nil {
		return err
	}
	if !c.Department.IsZero() {
		if err := pg.mayPassOn(d, c.Department); err != nil {
			return err
		}
	}
	return officeError(pg.Office.ChangeReport(pg.ctx, report.Number, c, pg.Key()))
}

// mayPassOn refuses a code that is not responsible for anything itself, or does
// not stand in the city of whoever has the report.
func (pg *page) mayPassOn(d duty, to cityid.Code) error {
	way, err := pg.responsible(pg.ctx, to)
	if code := cityid.CodeOf(err); code == cityid.ErrNotFound || code == cityid.ErrConflict {
		return errTarget
	}
	if err != nil {
		return err
	}
	above, err := pg.lineage(pg.ctx, to)
	if err != nil {
		return err
	}
	if way[len(way)-1].Code != to || !slices.ContainsFunc(above, func(r *cityid.Record) bool { return r.Code == d.seat }) {
		return errTarget
	}
	return nil
}

// deskPhoto hands out the photograph of a report.
func (p *portal) deskPhoto(w http.ResponseWriter, r *http.Request, pg *page) error {
	report, _, err := pg.deskReportOf(r)
	if err != nil {
		return err
	}
	return pg.sendReportPhoto(w, r, report.Number)
}
