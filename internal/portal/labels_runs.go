// SPDX-License-Identifier: Apache-2.0

package portal

import (
	"bytes"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"time"

	"cityid"
	"cityid/internal/bulk"
	"cityid/internal/office"
	"cityid/label"
)

// runsShown is how many runs of each holder a list shows at once.
const runsShown = 50

type runRow struct {
	office.PrintRun
	Template string
	Material string
	By       string
}

type holderRuns struct {
	Holder place
	Runs   []runRow
	Next   string
}

func (pg *page) runRow(run office.PrintRun) runRow {
	row := runRow{PrintRun: run, Template: run.Options.Template, Material: run.Options.Material, By: pg.Fingerprint(run.Creator)}
	if t, err := label.TemplateOf(run.Options.Template); err == nil {
		row.Template = t.Title.In(pg.Lang)
	}
	if m, err := label.MaterialOf(run.Options.Material); err == nil {
		row.Material = m.Title.In(pg.Lang)
	}
	return row
}

// labelsRunsPage lists what was printed for whom the visitor stands.
func (p *portal) labelsRunsPage(w http.ResponseWriter, r *http.Request, pg *page) error {
	holders, err := pg.holders(fieldRoles)
	if err != nil {
		return err
	}
	var before int64
	if s := r.URL.Query().Get("before"); s != "" {
		if before, err = strconv.ParseInt(s, 10, 64); err != nil {
			return cityid.Errorf(cityid.ErrMalformed, "run %.40q: want a number", s)
		}
	}
	var data []holderRuns
	for _, h := range holders {
		if only := r.URL.Query().Get("holder"); only != "" && only != h.Code.String() {
			continue
		}
		runs, err := p.Office.PrintRuns(pg.ctx, h.Code, before, runsShown+1)
		if err != nil {
			return err
		}
		x := holderRuns{Holder: h}
		if len(runs) > runsShown {
			runs = runs[:runsShown]
			x.Next = pg.URL("/labels/runs?holder=", h.Code.String(), "&before=", strconv.FormatInt(runs[runsShown-1].ID, 10))
		}
		for _, run := range runs {
			x.Runs = append(x.Runs, pg.runRow(run))
		}
		data = append(data, x)
	}
	pg.Title = pg.T("labels.runs.title")
	return pg.render(w, r, http.StatusOK, "labels_runs", data)
}

// run loads the print run that the address names, if the visitor may see it.
// Whether there is one is nobody else's business.
func (pg *page) run(r *http.Request, roles cityid.Roles) (*office.PrintRun, error) {
	id, err := strconv.ParseInt(r.PathValue("run"), 10, 64)
	if err != nil {
		return nil, errNoPage
	}
	run, err := pg.Office.PrintRun(pg.ctx, id)
	if err != nil {
		return nil, officeError(err)
	}
	ok, err := pg.stands(run.Holder, roles)
	if err == nil && !ok {
		err = cityid.Errorf(cityid.ErrNotFound, "%v", fmt.Errorf("print run: %w", office.ErrNotFound))
	}
	return &run, err
}

type runData struct {
	runRow
	Holder  place
	Codes   []cityid.Code
	More    int // codes that are not shown
	Host    string
	New     bool
	MayMake bool
	Field   bool // labels, not certificates
	Advice  string
	Level   string
	Side    string
	Module  string
	Cm      string
}

// labelsRunPage shows a print run: what was checked, and the ways to the sheet and
// to another one.
func (p *portal) labelsRunPage(w http.ResponseWriter, r *http.Request, pg *page) error {
	run, err := pg.run(r, fieldRoles)
	if err != nil {
		return err
	}
	return pg.showRun(w, r, http.StatusOK, run)
}

func (pg *page) showRun(w http.ResponseWriter, r *http.Request, status int, run *office.PrintRun) error {
	data := &runData{
		runRow: pg.runRow(*run), New: r.URL.Query().Get("new") != "", Level: run.Level, Side: millimetres(run.Side), Module: millimetres(run.Module), Cm: millimetres(run.Distance / 10),
	}
	var err error
	if data.Holder, err = pg.placeAt(run.Holder); err != nil {
		return err
	}
	if data.Codes, err = pg.Office.RunCodes(pg.ctx, run.ID); err != nil {
		return err
	}
	if n := len(data.Codes); n > labelsShown {
		data.Codes, data.More = data.Codes[:labelsShown], n-labelsShown
	}
	if u, err := label.ParsePublicURL(run.Options.Public); err == nil {
		data.Host = u.Host()
	}
	if t, err := label.TemplateOf(run.Options.Template); err == nil {
		data.Field = !t.Certificate()
	}
	if m, err := label.MaterialOf(run.Options.Material); err == nil {
		data.Advice = m.Advice.In(pg.Lang)
	}
	if data.MayMake, err = pg.stands(run.Holder, printRoles); err != nil {
		return err
	}
	pg.Title = pg.T("labels.run.title", run.ID)
	return pg.render(w, r, status, "labels_run", data)
}

// labelsSheet hands out a sheet as it was checked.
func (p *portal) labelsSheet(w http.ResponseWriter, r *http.Request, pg *page) error {
	run, err := pg.run(r, fieldRoles)
	if err != nil {
		return err
	}
	doc, err := p.Office.ReadFile(pg.ctx, run.Sheet, label.MaxSheet)
	if err != nil {
		return err
	}
	long(w, 10*time.Minute)
	if r.URL.Query().Get("download") != "" {
		w.Header().Set("Content-Disposition", fmt.Sprintf("attachment; filename=\"labels-%d.html\"", run.ID))
	}
	return writeSheet(w, doc)
}

// labelsCodes hands out the codes of a run as a table, from which another sheet
// can be made.
func (p *portal) labelsCodes(w http.ResponseWriter, r *http.Request, pg *page) error {
	run, err := pg.run(r, fieldRoles)
	if err != nil {
		return err
	}
	codes, err := p.Office.RunCodes(pg.ctx, run.ID)
	if err != nil {
		return err
	}
	return writeTable(w, fmt.Sprintf("labels-%d.csv", run.ID), []string{"code", "check"}, func(yield func([]string) bool) {
		for _, c := range codes {
			if !yield([]string{c.String(), c.Display()}) {
				return
			}
		}
	})
}

// writeTable answers with a CSV file that a spreadsheet opens without carrying
// anything out.
func writeTable(w http.ResponseWriter, name string, header []string, rows func(yield func([]string) bool)) error {
	var b bytes.Buffer
	if err := bulk.WriteCSV(&b, header, rows); err != nil {
		return err
	}
	h := w.Header()
	h.Set("Content-Type", "text/csv; charset=utf-8")
	h.Set("Content-Disposition", fmt.Sprintf("attachment; filename=%q", name))
	h.Set("Cache-Control", "no-store")
	_, err := b.WriteTo(w)
	return ignoreWrite(err)
}

// labelsAgain begins another run like one before, of all its labels or of some.
func (p *portal) labelsAgain(w http.ResponseWriter, r *http.Request, pg *page) error {
	run, err := pg.run(r, printRoles)
	if err != nil {
		return err
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxPasted+64<<10)
	if err := r.ParseForm(); err != nil {
		return cityid.Errorf(cityid.ErrTooLarge, "the list is longer than %d octets, or not complete", maxPasted)
	}
	codes, err := p.Office.RunCodes(pg.ctx, run.ID)
	if err != nil {
		return err
	}
	if r.PostForm.Get("what") != "all" {
		some, problems := pg.parseCodeList(r.PostForm.Get("paste"))
		if len(problems) == 0 && len(some) == 0 {
			problems = append(problems, pg.T("labels.none"))
		}
		for _, c := range some {
			if !slices.Contains(codes, c) && len(problems) < problemsSaid {
				problems = append(problems, pg.T("labels.again.foreign", c))
			}
		}
		if len(problems) > 0 {
			for _, text := range problems {
				pg.refuseField("paste", text)
			}
			return pg.showRun(w, r, http.StatusUnprocessableEntity, run)
		}
		codes = some
	}
	return pg.choose(w, r, "paste", "", office.Selection{Codes: codes, Options: run.Options, Reprint: run.ID})
}
