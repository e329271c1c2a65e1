// SPDX-License-Identifier: Apache-2.0

package portal

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"

	"cityid"
	"cityid/internal/bulk"
	"cityid/internal/office"
)

// A department's old table comes into the registry in five steps: the file and
// what was recognised in it, corrections, a dry run, the signatures, the outcome.
// Table and decisions are kept in the office between the steps, so that any
// officer of the department can go on where another stopped. Nothing is
// allocated before the fourth step, and there each batch is signed in the
// browser by the officer's own key.
//
//	/work/CODE/import             the file
//	/work/import/ID/columns       what its columns mean
//	/work/import/ID/rows          corrections
//	/work/import/ID/plan          dry run
//	/work/import/ID/run           signing
//	/work/import/ID/done          outcome
//	/work/imports                 all of them

// Bounds of what the pages import: what a person can look through, and a server
// can hold for several at once. The command takes more.
const (
	importMaxRows     = 100_000
	importMaxUnzipped = 192 << 20
	importsCached     = 4
	importRowsShown   = 50
	importsReading    = 2 // tables read at a time
)

// importState is what has been decided about a table.
type importState struct {
	Sheet     string       `json:"sheet,omitempty"`
	Encoding  string       `json:"encoding,omitempty"` // that overrules detection
	Changes   bulk.Changes `json:"changes"`
	CRS       string       `json:"crs"`
	CRSWhy    string       `json:"crs_why,omitempty"` // "header", "known", "chosen"; "": nothing says
	Width     int          `json:"width,omitempty"`
	AsIs      bool         `json:"as_is,omitempty"`
	Coarsen   bool         `json:"coarsen,omitempty"`
	Salt      cityid.Bytes `json:"salt"`
	Confirmed bool         `json:"confirmed,omitempty"` // a person has looked at the columns

	Plan   cityid.Digest    `json:"plan,omitzero"` // that is carried out, once it has begun
	Signer cityid.PublicKey `json:"signer,omitempty"`
	Result *importResult    `json:"result,omitempty"`
}

// importResult is what became of the rows.
type importResult struct {
	Rows      int           `json:"rows"`
	Allocated int           `json:"allocated"`
	Existing  int           `json:"existing"`
	Refused   int           `json:"refused"`
	Failed    bulk.Problems `json:"failed,omitempty"` // the first of them
	First     cityid.Code   `json:"first,omitzero"`
	Last      cityid.Code   `json:"last,omitzero"`
	Complete  bool          `json:"complete"`
}

// importsKept is how many refused rows are kept.
const importsKept = 5000

// importJob is an import with what its table amounts to.
type importJob struct {
	office.Import
	State importState
	*importWork
	run *importRun // under way; nil: not
}

// importWork is what follows from a table and the decisions about it.
type importWork struct {
	table    *bulk.Table
	changed  *bulk.Table   // nil: Refused says why
	plan     *bulk.Plan    // nil: there are problems
	problems bulk.Problems // as the plan has them
	refused  error         // what is wrong with the decisions, or the table as a whole
	known    *importKnown
	settings *cityid.Settings
}

// importDesk is what imports share while the portal runs.
type importDesk struct {
	reading chan struct{} // holds a token for each table being read
	mu      sync.Mutex
	runs    map[string]*importRun
	failed  map[string]error // why the last run of an import ended before its end
	recent  []cachedImport
}

type cachedImport struct {
	id       string
	revision uint64
	work     *importWork
}

func newImportDesk() *importDesk {
	return &importDesk{reading: make(chan struct{}, importsReading), runs: map[string]*importRun{}, failed: map[string]error{}}
}

func (d *importDesk) cached(id string, revision uint64) *importWork {
	d.mu.Lock()
	defer d.mu.Unlock()
	for i, c := range d.recent {
		if c.id == id && c.revision == revision {
			d.recent = append(slices.Delete(d.recent, i, i+1), c)
			return c.work
		}
	}
	return nil
}

func (d *importDesk) keep(c cachedImport) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.recent = slices.DeleteFunc(d.recent, func(x cachedImport) bool { return x.id == c.id })
	if len(d.recent) >= importsCached {
		d.recent = slices.Delete(d.recent, 0, 1)
	}
	d.recent = append(d.recent, c)
}

// read holds a place among those who read tables, which takes memory.
func (d *importDesk) read(ctx context.Context, f func() error) error {
	select {
	case d.reading <- struct{}{}:
	case <-ctx.Done():
		return cityid.Errorf(cityid.ErrUnavailable, "other tables are being read: try again in a moment")
	}
	defer func() { <-d.reading }()
	return f()
}

// importScreens are the pages for importing a table.
func (p *portal) importScreens() map[string]endpoint {
	return map[string]endpoint{
		"GET /work/import/sample.csv":      p.importSample,
		"GET /work/import/{id}/columns":    p.signedIn(p.importColumns),
		"GET /work/import/{id}/done":       p.signedIn(p.importDone),
		"GET /work/import/{id}/errors.csv": p.signedIn(p.importErrors),
		"GET /work/import/{id}/next":       p.signedIn(p.importAsk),
		"GET /work/import/{id}/plan":       p.signedIn(p.importPlan),
		"GET /work/import/{id}/rows":       p.signedIn(p.importRows),
		"GET /work/import/{id}/run":        p.signedIn(p.importRunPage),
		"GET /work/import/{id}/table.csv":  p.signedIn(p.importCSV),
		"GET /work/import/{id}/{$}":        p.signedIn(p.importRoot),
		"GET /work/imports":                p.signedIn(p.importList),
		"GET /work/{code}/import":          p.signedIn(p.importForm),
		"GET /work/{code}/{class}/import":  p.signedIn(p.importForm),
		"POST /work/import/{id}/columns":   p.signedIn(p.importMap),
		"POST /work/import/{id}/delete":    p.signedIn(p.importDelete),
		"POST /work/import/{id}/rows":      p.signedIn(p.importCorrect),
		"POST /work/import/{id}/run":       p.signedIn(p.importStart),
		"POST /work/import/{id}/signature": p.signedIn(p.importSignature),
		"POST /work/import/{id}/stop":      p.signedIn(p.importStop),
		"POST /work/{code}/import":         p.signedIn(p.importUpload),
		"POST /work/{code}/{class}/import": p.signedIn(p.importUpload),
	}
}

var errNoImport = cityid.Errorf(cityid.ErrNotFound, "there is no such import, or it has expired")

// mayImport refuses visitors whose key does not decide for the code alone.
func (pg *page) mayImport(code cityid.Code) error {
	alone, err := pg.direct(code)
	if err == nil && !alone {
		err = cityid.Errorf(cityid.ErrNotPermitted, "imports below %s are for those whose key decides for it alone", code)
	}
	return err
}

// importJob loads the import that the address names, with its table.
func (pg *page) importJob(r *http.Request) (*importJob, error) {
	j, err := pg.importHead(r.PathValue("id"))
	if err != nil {
		return nil, err
	}
	return j, pg.importWork(j)
}

// importHead loads an import without its table.
func (pg *page) importHead(id string) (*importJob, error) {
	stored, err := pg.Office.Import(pg.ctx, id)
	if errors.Is(err, office.ErrNotFound) || errors.Is(err, office.ErrExpired) {
		return nil, errNoImport
	}
	if err != nil {
		return nil, err
	}
	if err := pg.mayImport(stored.Parent); err != nil {
		return nil, err
	}
	j := &importJob{Import: stored, run: pg.imports.running(stored.ID)}
	return j, json.Unmarshal(stored.State, &j.State)
}

// importWork reads and plans the table, or remembers it.
func (pg *page) importWork(j *importJob) error {
	if j.importWork = pg.imports.cached(j.ID, j.Revision); j.importWork != nil {
		return nil
	}
	work := &importWork{}
	err := pg.imports.read(pg.ctx, func() error {
		var err error
		if work.table, err = pg.importTable(&j.Import, &j.State); err != nil {
			return err
		}
		if work.settings, err = pg.Source.Settings(pg.ctx); err != nil {
			return err
		}
		work.change(j.Parent, &j.State, pg)
		return nil
	})
	if err != nil {
		return err
	}
	j.importWork = work
	pg.imports.keep(cachedImport{j.ID, j.Revision, work})
	return nil
}

// importTable reads the table of an import as it was handed in.
func (pg *page) importTable(i *office.Import, s *importState) (*bulk.Table, error) {
	data, err := pg.Office.ImportTable(pg.ctx, i)
	if err != nil {
		return nil, err
	}
	return readImport(data, i.Title, s)
}

func readImport(data []byte, title string, s *importState) (*bulk.Table, error) {
	return bulk.ReadTable(bytes.NewReader(data), title, bulk.ReadOptions{
		Sheet: s.Sheet, Encoding: s.Encoding, MaxRows: importMaxRows, MaxUnzipped: importMaxUnzipped,
	})
}

// change applies the decisions, and plans.
func (w *importWork) change(parent cityid.Code, s *importState, pg *page) {
	if w.changed, w.refused = w.table.Change(&s.Changes); w.refused != nil {
		return
	}
	crs, err := bulk.ParseCRS(s.CRS)
	if err != nil {
		w.refused = err
		return
	}
	o := bulk.Options{Parent: parent, Settings: w.settings, CRS: crs, Width: s.Width, AsIs: s.AsIs, Coarsen: s.Coarsen, Exists: pg.allocated}
	copy(o.SaltKey[:], s.Salt)
	w.plan, err = bulk.NewPlan(w.changed, o)
	if err != nil && !errors.As(err, &w.problems) {
		w.refused = err
	}
	if w.refused == nil {
		w.known, w.refused = pg.importKnown(parent, w, crs)
	}
}

// allocated reports whether a code is allocated.
func (pg *page) allocated(code cityid.Code) (bool, error) {
	_, err := pg.Source.Record(pg.ctx, code)
	if errors.Is(err, cityid.ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}

// saveImport keeps the decisions, unless the import has begun or somebody else
// was quicker.
func (pg *page) saveImport(j *importJob, phase office.ImportPhase) error {
	b, err := json.Marshal(&j.State)
	if err != nil {
		return err
	}
	revision, err := pg.Office.SaveImport(pg.ctx, j.ID, j.Revision, phase, b)
	switch {
	case errors.Is(err, office.ErrConflict):
		return cityid.Errorf(cityid.ErrConflict, "somebody else has changed this import meanwhile: load the page again")
	case errors.Is(err, office.ErrTooLarge):
		return cityid.Errorf(cityid.ErrTooLarge, "too many corrections to keep: correct the file itself, and hand it in again")
	case err != nil:
		return err
	}
	j.Phase, j.Revision = phase, revision
	return nil
}

// changing loads an import for a change, which must not have begun.
func (pg *page) changing(r *http.Request) (*importJob, error) {
	j, err := pg.importJob(r)
	if err == nil && j.Phase != office.ImportOpen {
		err = cityid.Errorf(cityid.ErrConflict, "this import has begun and can not be changed any more")
	}
	return j, err
}

// importURL returns the address of a step of an import.
func (pg *page) importURL(id, step string) string { return pg.URL("/work/import/", id, "/", step) }

// importSteps are the steps' names, in their order.
var importSteps = []string{"columns", "rows", "plan", "run", "done"}

// importStep is one step as the page shows it.
type importStep struct {
	Name, Text, URL string
	Current, Done   bool
}

// importView is what all steps' pages show.
type importView struct {
	*importJob
	Steps  []importStep
	Crumbs []crumb
	Place  place
}

// at returns the address of another step of the import.
func (v *importView) At(pg *page, step string) string { return pg.importURL(v.ID, step) }

// view prepares the page of a step.
func (pg *page) importView(j *importJob, step string) (*importView, error) {
	at, err := pg.placeAt(j.Parent)
	if err != nil {
		return nil, err
	}
	v := &importView{importJob: j, Place: at, Crumbs: []crumb{
		{pg.URL("/work"), pg.T("page.nav.work")}, {pg.URL("/work/", j.Parent.String()), at.Name}, {pg.URL("/work/imports"), pg.T("imports.list")}, {"", j.Title},
	}}
	now := slices.Index(importSteps, step)
	reached := 0
	if j.State.Confirmed {
		reached = 2
	}
	if j.Phase != office.ImportOpen {
		reached = 3
	}
	if j.Phase == office.ImportDone {
		reached = 4
	}
	for i, name := range importSteps {
		s := importStep{Name: name, Text: pg.T("imports.step." + name), Current: i == now, Done: i < reached && i != now}
		if i <= reached && i != now && (j.Phase == office.ImportOpen || i >= 2) {
			s.URL = pg.importURL(j.ID, name)
		}
		v.Steps = append(v.Steps, s)
	}
	pg.Title = pg.T("imports.step."+step) + " · " + j.Title
	return v, nil
}

// importRoot sends to the step an import is at.
func (p *portal) importRoot(w http.ResponseWriter, r *http.Request, pg *page) error {
	j, err := pg.importHead(r.PathValue("id"))
	if err != nil {
		return err
	}
	step := "columns"
	switch {
	case j.Phase == office.ImportDone:
		step = "done"
	case j.Phase == office.ImportRunning:
		step = "run"
	case j.State.Confirmed:
		step = "rows"
	}
	http.Redirect(w, r, pg.importURL(j.ID, step), http.StatusSeeOther)
	return nil
}

// importList lists the imports of all codes that the visitor's key stands for.
func (p *portal) importList(w http.ResponseWriter, r *http.Request, pg *page) error {
	type row struct {
		office.Import
		Place place
		Tag   tag
		URL   string
	}
	data := struct {
		Rows   []row
		Places []place
		Gone   bool
	}{Gone: r.URL.Query().Has("gone")}
	seen := map[cityid.Code]bool{}
	for _, h := range pg.Holdings() {
		if h.Roles&cityid.RoleControl == 0 || seen[h.Code] {
			continue
		}
		seen[h.Code] = true
		alone, err := pg.direct(h.Code)
		if err != nil {
			return err
		}
		if !alone {
			continue
		}
		at, err := pg.placeAt(h.Code)
		if err != nil {
			return err
		}
		data.Places = append(data.Places, at)
	}
	var asked error
	all, err := p.Office.ImportsBelow(r.Context(), func(parent cityid.Code) bool {
		alone, err := pg.direct(parent)
		asked = errors.Join(asked, err)
		return alone
	})
	if err := errors.Join(err, asked); err != nil {
		return err
	}
	for _, i := range all {
		at, err := pg.placeAt(i.Parent)
		if err != nil {
			return err
		}
		t := tag{pg.T("imports.phase.open"), "info", "…"}
		switch {
		case i.Phase == office.ImportDone:
			t = tag{pg.T("imports.phase.done"), "good", "✓"}
		case pg.imports.running(i.ID) != nil:
			t = tag{pg.T("imports.phase.running"), "info", "▶"}
		case i.Phase == office.ImportRunning:
			t = tag{pg.T("imports.phase.paused"), "warn", "‖"}
		}
		data.Rows = append(data.Rows, row{i, at, t, pg.importURL(i.ID, "")})
	}
	pg.Title = pg.T("imports.list")
	return pg.render(w, r, http.StatusOK, "imports_list", data)
}

// importDelete forgets an import: its table, corrections and checkpoint. What
// it has allocated stays.
func (p *portal) importDelete(w http.ResponseWriter, r *http.Request, pg *page) error {
	j, err := pg.importHead(r.PathValue("id"))
	if err != nil {
		return err
	}
	if j.run != nil {
		j.run.stop(errors.New("the import was deleted"))
		<-j.run.done
	}
	if err := p.Office.DeleteImport(r.Context(), j.ID); err != nil && !errors.Is(err, office.ErrNotFound) {
		return err
	}
	http.Redirect(w, r, pg.URL("/work/imports?gone"), http.StatusSeeOther)
	return nil
}

// attach begins an answer that is a file.
func attach(w http.ResponseWriter, name string) {
	h := w.Header()
	h.Set("Content-Type", "text/csv; charset=utf-8")
	h.Set("Content-Disposition", "attachment; filename*=UTF-8''"+url.PathEscape(name))
	h.Set("Cache-Control", "no-store")
}

// importErrors writes what is wrong as a table.
func (p *portal) importErrors(w http.ResponseWriter, r *http.Request, pg *page) error {
	j, err := pg.importJob(r)
	if err != nil {
		return err
	}
	list := slices.Clone(j.problems)
	if j.State.Result != nil {
		list = slices.Clone(j.State.Result.Failed)
	}
	for i := range list {
		list[i].Reason = pg.problem(&list[i])
		list[i].Column = j.header(list[i].Column)
	}
	attach(w, "errors.csv")
	return ignoreWrite(bulk.WriteErrors(w, list))
}

// importCSV writes the table with all corrections, as the command reads it.
func (p *portal) importCSV(w http.ResponseWriter, r *http.Request, pg *page) error {
	j, err := pg.importJob(r)
	if err != nil {
		return err
	}
	if j.plan == nil {
		return cityid.Errorf(cityid.ErrConflict, "the table has problems yet: correct them first")
	}
	attach(w, j.csvName())
	return ignoreWrite(bulk.WriteTable(w, j.changed))
}

// csvName is how the corrected table is called.
func (j *importJob) csvName() string { return "import-" + strings.ToLower(j.ID[:6]) + ".csv" }

// header returns the header that a column of the changed table has in the file.
func (j *importJob) header(meaning string) string {
	if i := j.State.Changes.Column(meaning); i >= 0 && meaning != bulk.Ignore && j.importWork != nil {
		return j.table.Header[i]
	}
	return meaning
}

// command is the command line that would do the same with the corrected table.
func (j *importJob) command(origin string) string {
	cmd := fmt.Sprintf("cityid code import %s --parent %s", j.csvName(), j.Parent)
	if j.State.CRS != "" && j.State.CRS != "WGS84" {
		cmd += " --crs " + j.State.CRS
	}
	if j.State.Width > 0 {
		cmd += fmt.Sprintf(" --width %d", j.State.Width)
	}
	if j.State.AsIs {
		cmd += " --as-is"
	}
	if j.State.Coarsen {
		cmd += " --coarsen"
	}
	if j.plan != nil && len(j.plan.Sealed) > 0 {
		cmd += " --sealed sealed.jsonl"
	}
	return cmd + " --node " + origin + " --key NAME --resume"
}

// View, Planned, Compared and Rules are for templates, which see no other names.
func (v *importView) View() *importView { return v }

// Planned returns the plan, or nil.
func (v *importView) Planned() *bulk.Plan { return v.plan }

// Compared returns what the registry knows of the rows, or nil.
func (v *importView) Compared() *importKnown { return v.known }

// Rules returns the settings the table was planned with.
func (v *importView) Rules() *cityid.Settings { return v.settings }
