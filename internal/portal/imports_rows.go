// SPDX-License-Identifier: Apache-2.0

package portal

import (
	"net/http"
	"slices"
	"strconv"
	"strings"

	"cityid"
	"cityid/internal/bulk"
	"cityid/internal/office"
)

// problemView is one problem on the page.
type problemView struct {
	bulk.Problem
	Field  string // name of the input; "": nothing to correct here
	Header string
	Text   string
	Value  string // what the input holds
}

// importRowsData is what the page for corrections shows.
type importRowsData struct {
	*importView
	Rows     []problemView
	Total    int
	From     int
	Next     string
	Refused  string
	Mends    int  // problems with a value that was probably meant
	Swaps    int  // rows with latitude and longitude exchanged
	Lengths  bool // digits of different lengths
	Widths   bool // and padding helps
	AsIs     bool
	Coarse   bool
	Missing  []string // what the whole table lacks
	Known    []knownView
	KnownAll int
	Other    int // known rows that are not shown
	Edits    int
	Skipped  int
}

type knownView struct {
	knownRow
	Reason string
	URL    string
}

// importRows lists what is wrong, with inputs to correct it.
func (p *portal) importRows(w http.ResponseWriter, r *http.Request, pg *page) error {
	j, err := pg.changing(r)
	if err != nil {
		return err
	}
	if !j.State.Confirmed {
		http.Redirect(w, r, pg.importURL(j.ID, "columns"), http.StatusSeeOther)
		return nil
	}
	v, err := pg.importView(j, "rows")
	if err != nil {
		return err
	}
	d := &importRowsData{importView: v, Total: len(j.problems), Edits: len(j.State.Changes.Cells), Skipped: len(j.State.Changes.Skip), AsIs: j.State.AsIs}
	if j.refused != nil {
		d.Refused = j.refused.Error()
	}
	pg.fixes(d)
	from, err := strconv.Atoi(r.URL.Query().Get("from"))
	if err != nil || from < 0 || from >= len(j.problems) {
		from = 0
	}
	for n := from; n < len(j.problems) && n < from+importRowsShown; n++ {
		d.Rows = append(d.Rows, pg.problemView(j, &j.problems[n]))
	}
	if d.From = from; from+importRowsShown < len(j.problems) {
		d.Next = address(r, "from", strconv.Itoa(from+importRowsShown))
	}
	if j.known != nil {
		d.KnownAll = len(j.known.Rows)
		for n, x := range j.known.Rows {
			if n == importRowsShown {
				d.Other = len(j.known.Rows) - n
				break
			}
			d.Known = append(d.Known, pg.knownView(x))
		}
	}
	return pg.render(w, r, http.StatusOK, "imports_rows", d)
}

func (pg *page) problemView(j *importJob, x *bulk.Problem) problemView {
	v := problemView{Problem: *x, Header: j.header(x.Column), Text: pg.problem(x), Value: x.Value}
	column := j.State.Changes.Column(x.Column)
	if x.Line == 0 || x.Line == j.table.Line || column < 0 || x.Column == bulk.Ignore {
		return v
	}
	v.Field = "cell-" + strconv.Itoa(x.Line) + "-" + strconv.Itoa(column)
	if text, ok := cellAt(j.table, &j.State.Changes, x.Line, column); ok {
		v.Value = text
	}
	if x.Suggest != "" {
		v.Value = x.Suggest
	}
	return v
}

// cellAt returns what a cell holds with its correction.
func cellAt(t *bulk.Table, c *bulk.Changes, line, column int) (string, bool) {
	for _, x := range c.Cells {
		if x.Line == line && x.Column == column {
			return x.Value, true
		}
	}
	at, ok := slices.BinarySearchFunc(t.Rows, line, func(r bulk.Row, line int) int { return r.Line - line })
	if !ok || column >= len(t.Rows[at].Cells) {
		return "", ok
	}
	return strings.TrimSpace(t.Rows[at].Cells[column]), true
}

// fixes says which corrections of many rows at once are worth offering.
func (pg *page) fixes(d *importRowsData) {
	j := d.importJob
	d.Mends = len(j.State.Changes.Mend(j.problems))
	d.Swaps = len(j.State.Changes.Exchanged(j.table)) / 2
	if d.Swaps > 0 {
		d.Swaps = exchangedLeft(j)
	}
	for i := range j.problems {
		f := j.problems[i].Format
		if strings.Contains(f, "give the width") {
			d.Lengths = true
			d.Widths = d.Widths || j.problems[i].Column == "code" || j.problems[i].Column == "serial"
		}
		d.Coarse = d.Coarse || strings.Contains(f, "or have all rounded")
		if j.problems[i].Line == j.table.Line || j.problems[i].Line == 0 {
			d.Missing = append(d.Missing, pg.problem(&j.problems[i]))
		}
	}
}

// exchangedLeft counts the rows with exchanged coordinates that are not
// corrected yet.
func exchangedLeft(j *importJob) int {
	n := 0
	for _, cell := range j.State.Changes.Exchanged(j.table) {
		if text, ok := cellAt(j.table, &j.State.Changes, cell.Line, cell.Column); ok && text != cell.Value && !slices.Contains(j.State.Changes.Skip, cell.Line) {
			n++
		}
	}
	return (n + 1) / 2
}

func (pg *page) knownView(x knownRow) knownView {
	v := knownView{knownRow: x}
	switch x.Why {
	case "row-alias", "row-place":
		v.Reason = pg.T("imports.known."+x.Why, x.Of)
	case "code":
		v.Reason, v.URL = pg.T("imports.known.code-there"), pg.CodeURL(x.Code)
	default:
		v.Reason, v.URL = pg.T("imports.known."+x.Why, x.Text), pg.CodeURL(x.Code)
	}
	return v
}

// importCorrect takes corrections: of single cells, or one of those that concern
// many rows.
func (p *portal) importCorrect(w http.ResponseWriter, r *http.Request, pg *page) error {
	j, err := pg.changing(r)
	if err != nil {
		return err
	}
	r.Body = http.MaxBytesReader(w, r.Body, 4<<20)
	if err := r.ParseForm(); err != nil {
		return cityid.Errorf(cityid.ErrMalformed, "%v", err)
	}
	c := &j.State.Changes
	switch do := r.PostForm.Get("do"); do {
	case "mend":
		c.Set(c.Mend(j.problems)...)
	case "swap":
		c.Set(c.Exchanged(j.table)...)
	case "width":
		n, err := strconv.Atoi(r.PostForm.Get("width"))
		if err != nil || n < 1 || n > 25 {
			return cityid.Errorf(cityid.ErrInvalid, "a width is 1 to 25 digits")
		}
		j.State.Width = n
	case "as-is":
		j.State.AsIs = !j.State.AsIs
	case "coarsen":
		j.State.Coarsen = true
	case "skip-bad":
		for i := range j.problems {
			skipLine(c, j.table, j.problems[i].Line)
		}
	case "skip-known":
		if j.known != nil {
			for _, x := range j.known.Rows {
				skipLine(c, j.table, x.Line)
			}
		}
	case "unskip":
		c.Skip = nil
	case "undo":
		c.Cells, c.Skip = nil, nil
		j.State.Width, j.State.AsIs, j.State.Coarsen = 0, false, false
	default:
		if err := correctCells(j, r.PostForm, do); err != nil {
			return err
		}
	}
	slices.Sort(c.Skip)
	c.Skip = slices.Compact(c.Skip)
	if err := pg.saveImport(j, office.ImportOpen); err != nil {
		return err
	}
	http.Redirect(w, r, pg.importURL(j.ID, "rows"), http.StatusSeeOther)
	return nil
}

func skipLine(c *bulk.Changes, t *bulk.Table, line int) {
	if line > t.Line {
		c.Skip = append(c.Skip, line)
	}
}

// correctCells takes the inputs of the page; do may be "skip-LINE".
func correctCells(j *importJob, form map[string][]string, do string) error {
	c := &j.State.Changes
	if line, is := strings.CutPrefix(do, "skip-"); is {
		n, err := strconv.Atoi(line)
		if err != nil {
			return cityid.Errorf(cityid.ErrMalformed, "line %.20q", line)
		}
		skipLine(c, j.table, n)
	}
	for name, values := range form {
		rest, is := strings.CutPrefix(name, "cell-")
		if !is {
			continue
		}
		a, b, _ := strings.Cut(rest, "-")
		line, errLine := strconv.Atoi(a)
		column, errColumn := strconv.Atoi(b)
		if errLine != nil || errColumn != nil || column < 0 || column >= len(c.Columns) || len(values[0]) > bulk.MaxCell {
			return cityid.Errorf(cityid.ErrMalformed, "there is no cell %.40q", name)
		}
		before, ok := cellAt(j.table, c, line, column)
		if !ok {
			return cityid.Errorf(cityid.ErrMalformed, "there is no row %d", line)
		}
		if value := strings.TrimSpace(values[0]); value != before {
			c.Set(bulk.Cell{Line: line, Column: column, Value: value})
		}
	}
	return nil
}

// importPlanData is what the dry run shows.
type importPlanData struct {
	*importView
	First, Last cityid.Code
	Classes     []cityid.Code
	Warnings    []problemView
	MoreWarn    int
	Map         *drawing
	Located     int
	In, Out     string
	Header      []string
	Table       []planRow
	Next        string
	CLI         string
	CSV         string
}

type planRow struct {
	Line  int
	Code  cityid.Code
	Cells []string
}

// importPlan shows what would be done.
func (p *portal) importPlan(w http.ResponseWriter, r *http.Request, pg *page) error {
	j, err := pg.importJob(r)
	if err != nil {
		return err
	}
	if !j.State.Confirmed || j.plan == nil {
		http.Redirect(w, r, pg.importURL(j.ID, "rows"), http.StatusSeeOther)
		return nil
	}
	v, err := pg.importView(j, "plan")
	if err != nil {
		return err
	}
	d := &importPlanData{importView: v, CLI: j.command(pg.Origin), CSV: j.csvName()}
	if d.Classes, err = pg.missingClasses(j.plan); err != nil {
		return err
	}
	d.First, d.Last = planEnds(j.plan)
	for i := range j.plan.Warnings {
		if i == importRowsShown {
			d.MoreWarn = len(j.plan.Warnings) - i
			break
		}
		d.Warnings = append(d.Warnings, problemView{Problem: j.plan.Warnings[i], Text: pg.problem(&j.plan.Warnings[i]), Header: j.header(j.plan.Warnings[i].Column)})
	}
	var places []cityid.Location
	for _, b := range j.plan.Batches {
		for i := range b.Items {
			if l := b.Items[i].Allocation.Content.Location; l != nil {
				places = append(places, *l)
			}
		}
	}
	pg.planMap(r, d, places)
	pg.planTable(r, d)
	return pg.render(w, r, http.StatusOK, "imports_plan", d)
}

// planMap draws the places of a plan, with ways nearer and farther.
func (pg *page) planMap(r *http.Request, d *importPlanData, places []cityid.Location) {
	d.Located = len(places)
	box := r.URL.Query().Get("box")
	if d.Map = pg.drawPlaces(places, box); d.Map == nil {
		return
	}
	v, err := parseView(box)
	if err != nil {
		v = viewOf(places)
	}
	lat, lon := v.middle()
	if v.North-v.South > .01 {
		d.In = address(r, "box", v.zoom(.5, lat, lon).String()) + "#map"
	}
	d.Out = address(r, "box", v.zoom(2, lat, lon).String()) + "#map"
	h, wd := (v.North-v.South)/2, (v.East-v.West)/2
	at := func(lat, lon float64) string { return address(r, "box", v.zoom(1, lat, lon).String()) + "#map" }
	d.Map.North, d.Map.South, d.Map.West, d.Map.East = at(lat+h, lon), at(lat-h, lon), at(lat, lon-wd), at(lat, lon+wd)
}

// planTable fills in a page of the table as it will be.
func (pg *page) planTable(r *http.Request, d *importPlanData) {
	d.Header = d.changed.Header
	codes := map[int]cityid.Code{}
	for _, b := range d.plan.Batches {
		for _, item := range b.Items {
			codes[item.Line] = item.Allocation.Code
		}
	}
	from, err := strconv.Atoi(r.URL.Query().Get("from"))
	if err != nil || from < 0 || from >= len(d.changed.Rows) {
		from = 0
	}
	for n := from; n < len(d.changed.Rows) && n < from+importRowsShown; n++ {
		row := d.changed.Rows[n]
		cells := make([]string, len(d.Header))
		for i := range min(len(cells), len(row.Cells)) {
			cells[i] = shortText(row.Cells[i], 60)
		}
		d.Table = append(d.Table, planRow{row.Line, codes[row.Line], cells})
	}
	if from+importRowsShown < len(d.changed.Rows) {
		d.Next = address(r, "from", strconv.Itoa(from+importRowsShown)) + "#table"
	}
}

// planEnds returns the first and the last code that rows get.
func planEnds(p *bulk.Plan) (first, last cityid.Code) {
	for _, b := range p.Batches {
		for _, item := range b.Items {
			if item.Line == 0 {
				continue
			}
			c := item.Allocation.Code
			if first.IsZero() || c.Compare(first) < 0 {
				first = c
			}
			if last.IsZero() || c.Compare(last) > 0 {
				last = c
			}
		}
	}
	return first, last
}
