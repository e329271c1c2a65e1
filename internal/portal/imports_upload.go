// SPDX-License-Identifier: Apache-2.0

package portal

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"io"
	"mime/multipart"
	"net/http"
	"path"
	"strconv"
	"strings"
	"unicode"

	"cityid"
	"cityid/internal/bulk"
	"cityid/internal/office"
)

// importUploadData is what the page for handing a table in shows.
type importUploadData struct {
	Place  place
	Crumbs []crumb
	Alone  bool
	Sample bool
	CLI    string
	How    []stepText
}

type stepText struct{ Name, Text string }

func (pg *page) importParent(r *http.Request) (cityid.Code, error) {
	text := r.PathValue("code")
	if class := r.PathValue("class"); class != "" {
		text += "/" + class
	}
	code, err := cityid.Parse(text)
	if err != nil {
		return code, cityid.Errorf(cityid.ErrNotFound, "the address is no code: %v", err)
	}
	return code, nil
}

// importForm asks for a table.
func (p *portal) importForm(w http.ResponseWriter, r *http.Request, pg *page) error {
	code, err := pg.importParent(r)
	if err != nil {
		return err
	}
	return pg.showImportForm(w, r, http.StatusOK, code)
}

func (pg *page) showImportForm(w http.ResponseWriter, r *http.Request, status int, code cityid.Code) error {
	alone, err := pg.direct(code)
	if err != nil {
		return err
	}
	at, err := pg.placeAt(code)
	if err != nil {
		return err
	}
	data := &importUploadData{
		Place: at, Alone: alone, Sample: pg.Demo, CLI: "cityid code import TABLE.xlsx --parent " + code.String() + " --node " + pg.Origin + " --suggest\n" +
			"cityid code import TABLE.xlsx --parent " + code.String() + " --node " + pg.Origin + " --key NAME",
		Crumbs: []crumb{{pg.URL("/work"), pg.T("page.nav.work")}, {pg.URL("/work/", code.String()), at.Name}, {"", pg.T("imports.title")}},
	}
	for _, step := range importSteps {
		data.How = append(data.How, stepText{pg.T("imports.step." + step), pg.T("imports.how." + step)})
	}
	pg.Title = pg.T("imports.title") + " · " + at.Name
	return pg.render(w, r, status, "imports_upload", data)
}

// importUpload takes a table in and says what it recognises.
func (p *portal) importUpload(w http.ResponseWriter, r *http.Request, pg *page) error {
	code, err := pg.importParent(r)
	if err != nil {
		return err
	}
	if err := pg.Limits.Upload(r); err != nil {
		return err
	}
	if err := pg.mayImport(code); err != nil {
		return err
	}
	refuse := func(text string) error {
		pg.refuseField("file", text)
		return pg.showImportForm(w, r, http.StatusUnprocessableEntity, code)
	}
	data, name, err := fileOf(r)
	switch {
	case errors.Is(err, office.ErrTooLarge):
		return refuse(pg.T("imports.file.large", bulk.MaxFile>>20))
	case err != nil:
		return cityid.Errorf(cityid.ErrMalformed, "the form: %v", err)
	case len(data) == 0:
		return refuse(pg.T("imports.file.none"))
	}
	state := &importState{Salt: make([]byte, 32)}
	rand.Read(state.Salt) // never fails
	refused, err := pg.recognise(code, data, name, state)
	if err != nil {
		return err
	}
	if refused != nil {
		return refuse(pg.readProblem(refused))
	}
	b, err := json.Marshal(state)
	if err != nil {
		return err
	}
	id, err := p.Office.NewImport(r.Context(), code, pg.Key(), name, data, b)
	if errors.Is(err, office.ErrTooLarge) {
		return refuse(pg.T("imports.file.many"))
	}
	if err != nil {
		return err
	}
	http.Redirect(w, r, pg.importURL(id, "columns"), http.StatusSeeOther)
	return nil
}

// readProblem says why a file can not be read.
func (pg *page) readProblem(err error) string {
	var list bulk.Problems
	if errors.As(err, &list) && len(list) > 0 {
		return pg.T("imports.file.unread.line", list[0].Line, pg.problem(&list[0]))
	}
	return pg.T("imports.file.unread", err.Error())
}

// recognise fills in what a table's columns probably mean. It returns separately
// what is wrong with the file.
func (pg *page) recognise(code cityid.Code, data []byte, name string, s *importState) (refused, err error) {
	err = pg.imports.read(pg.ctx, func() error {
		var t *bulk.Table
		if t, refused = readImport(data, name, s); refused != nil {
			return nil
		}
		settings, err := pg.Source.Settings(pg.ctx)
		if err != nil {
			return err
		}
		x := bulk.Suggest(t, code, settings)
		s.Changes, s.CRS, s.CRSWhy, s.Confirmed = x.Changes, "WGS84", "", false
		for _, f := range x.Findings {
			if f.What == bulk.FoundCRS {
				s.CRS, s.CRSWhy = f.Text, "header"
			}
		}
		if s.CRSWhy == "" {
			if crs, ok, err := pg.importGuessCRS(t, &s.Changes); err != nil {
				return err
			} else if ok {
				s.CRS, s.CRSWhy = map[bulk.CRS]string{bulk.WGS84: "WGS84", bulk.GCJ02: "GCJ-02"}[crs], "known"
			}
		}
		return nil
	})
	return refused, err
}

// fileOf reads the one file of a form.
func fileOf(r *http.Request) (data []byte, name string, err error) {
	m, err := r.MultipartReader()
	if err != nil {
		return nil, "", err
	}
	for {
		part, err := m.NextPart()
		if err == io.EOF {
			return nil, "", nil
		}
		if err != nil {
			return nil, "", err
		}
		if part.FormName() != "file" {
			continue
		}
		data, err := io.ReadAll(io.LimitReader(part, bulk.MaxFile+1))
		if err == nil && len(data) > bulk.MaxFile {
			err = office.ErrTooLarge
		}
		return data, tableName(part), err
	}
}

// tableName returns the name of a file without its folders and without what
// could change how a page is read.
func tableName(part *multipart.Part) string {
	name := path.Base(strings.ReplaceAll(part.FileName(), "\\", "/"))
	name = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, strings.ToValidUTF8(name, ""))
	name = strings.TrimSpace(name)
	if runes := []rune(name); len(runes) > 60 {
		name = string(runes[:60])
	}
	if name == "" || name == "." || name == "/" {
		return "table"
	}
	return name
}

// columnView is one column of the table on the page.
type columnView struct {
	Index   int
	Field   string
	Header  string
	Meaning string
	Values  []string
	Found   string // why it is taken for that
}

type optionView struct {
	Value, Text string
	Selected    bool
}

// importColumnsData is what the page about the columns shows.
type importColumnsData struct {
	*importView
	Facts    []string
	Columns  []columnView
	Meanings []navItem
	Classes  []optionView
	Class    string
	NoClass  bool // the table has no column that says it, nor a parent that is one
	Number   string
	Next     string
	NoSerial bool
	CRS      []optionView
	Located  bool
	Findings []string
	Map      *drawing
	Outside  int
	Sheets   []optionView
	Encoding string
	Apart    int // metres between the readings as WGS 84 and as GCJ-02
}

// importColumns shows what was recognised.
func (p *portal) importColumns(w http.ResponseWriter, r *http.Request, pg *page) error {
	j, err := pg.changing(r)
	if err != nil {
		return err
	}
	return pg.showColumns(w, r, http.StatusOK, j)
}

func (pg *page) showColumns(w http.ResponseWriter, r *http.Request, status int, j *importJob) error {
	v, err := pg.importView(j, "columns")
	if err != nil {
		return err
	}
	d := &importColumnsData{importView: v, Class: j.State.Changes.Class, Number: j.State.Changes.Number}
	d.Facts = pg.tableFacts(j.table)
	x := bulk.Suggest(j.table, j.Parent, j.settings)
	for i, h := range j.table.Header {
		c := columnView{Index: i, Field: "col-" + strconv.Itoa(i), Header: h, Meaning: j.State.Changes.Columns[i]}
		for at := 0; at < len(j.table.Rows) && len(c.Values) < 3; at++ {
			if cells := j.table.Rows[at].Cells; i < len(cells) && strings.TrimSpace(cells[i]) != "" {
				c.Values = append(c.Values, shortText(cells[i], 40))
			}
		}
		for _, f := range x.Findings {
			if f.Column == i {
				c.Found = pg.T("imports.found." + f.What)
			}
		}
		d.Columns = append(d.Columns, c)
	}
	for _, f := range x.Findings {
		if f.Column < 0 && (f.What != bulk.FoundNoCRS || j.State.CRSWhy == "") && f.What != bulk.FoundNoSerial {
			d.Findings = append(d.Findings, pg.T("imports.found."+f.What, f.Text))
		}
	}
	if j.State.CRSWhy == "known" {
		d.Findings = append(d.Findings, pg.T("imports.found.crs-known", j.State.CRS))
	}
	for _, m := range bulk.Meanings(j.settings, "zh", "en") {
		d.Meanings = append(d.Meanings, navItem{URL: m, Text: pg.Meaning(m, j.settings)})
	}
	if err := pg.columnChoices(d); err != nil {
		return err
	}
	return pg.render(w, r, status, "imports_columns", d)
}

// columnChoices fills in what is to be chosen for the table as a whole.
func (pg *page) columnChoices(d *importColumnsData) error {
	c := &d.State.Changes
	d.NoClass = c.Column("class") < 0 && c.Column("code") < 0 && d.Parent.Class() == ""
	d.NoSerial = c.Column("serial") < 0 && c.Column("code") < 0
	classes, err := pg.classesBelow(d.Parent)
	if err != nil {
		return err
	}
	for _, x := range classes {
		d.Classes = append(d.Classes, optionView{x.Code.Class(), pg.NameOf(x.Content.Names, x.Code), x.Code.Class() == d.Class})
	}
	if d.Class == "" && len(d.Classes) == 1 && d.NoClass && !d.State.Confirmed {
		d.Class = d.Classes[0].Value
	}
	if d.NoSerial {
		if d.Next, err = pg.nextSerial(d.Parent, d.Class); err != nil {
			return err
		}
	}
	for _, x := range []string{"WGS84", "CGCS2000", "GCJ-02"} {
		d.CRS = append(d.CRS, optionView{x, pg.T("imports.crs." + x), x == d.State.CRS})
	}
	for _, s := range d.table.Sheets {
		d.Sheets = append(d.Sheets, optionView{s, s, s == d.table.Sheet})
	}
	if d.Located = c.Column("lat") >= 0 && c.Column("lon") >= 0; d.Located {
		places := tablePlaces(d.table, c, d.State.CRS)
		d.Map, d.Outside = pg.drawPlaces(places, ""), len(d.table.Rows)-len(places)
		d.Apart = 0
		if len(places) > 0 {
			d.Apart = apart(places[0])
		}
	}
	return nil
}

// tableFacts says what kind of file it is.
func (pg *page) tableFacts(t *bulk.Table) []string {
	out := []string{t.Format}
	if t.Encoding != "" {
		out = append(out, t.Encoding)
	}
	if t.Sheet != "" {
		out = append(out, pg.T("imports.sheet", t.Sheet))
	}
	return append(out, pg.N("imports.rows", len(t.Rows)), pg.N("imports.columns", len(t.Header)))
}

// Meaning says in words what a column can be.
func (pg *page) Meaning(m string, s *cityid.Settings) string {
	if scheme, is := strings.CutPrefix(m, "alias:"); is {
		title := scheme
		for _, x := range s.Schemes {
			if x.Name == scheme {
				title = x.Titles.Get(pg.Lang)
			}
		}
		return pg.T("imports.meaning.alias", title)
	}
	if key := "imports.meaning." + m; pg.texts[pg.Lang][key] != "" {
		return pg.T(key)
	}
	return m
}

func shortText(s string, most int) string {
	s = strings.TrimSpace(s)
	if r := []rune(s); len(r) > most {
		return string(r[:most]) + "…"
	}
	return s
}

// importMap takes what a person says about the columns.
func (p *portal) importMap(w http.ResponseWriter, r *http.Request, pg *page) error {
	j, err := pg.changing(r)
	if err != nil {
		return err
	}
	if err := r.ParseForm(); err != nil {
		return cityid.Errorf(cityid.ErrMalformed, "%v", err)
	}
	if r.PostForm.Get("do") == "read" {
		return pg.readAgain(w, r, j)
	}
	c := &j.State.Changes
	for i := range c.Columns {
		m := r.PostForm.Get("col-" + strconv.Itoa(i))
		if m == "" {
			continue
		}
		if err := bulk.CheckMeaning(m); err != nil || len(m) > 80 {
			return cityid.Errorf(cityid.ErrInvalid, "column %d can not mean %.40q", i+1, m)
		}
		c.Columns[i] = m
	}
	if crs := r.PostForm.Get("crs"); crs != "" && crs != j.State.CRS {
		if _, err := bulk.ParseCRS(crs); err != nil {
			return cityid.Errorf(cityid.ErrInvalid, "%v", err)
		}
		j.State.CRS, j.State.CRSWhy = crs, "chosen"
	}
	c.Class, c.Number = "", ""
	if c.Column("class") < 0 && c.Column("code") < 0 && j.Parent.Class() == "" {
		c.Class = strings.TrimSpace(r.PostForm.Get("class"))
		if _, err := cityid.Parse(j.Parent.String() + "/" + c.Class); err != nil || c.Class == "" || strings.Contains(c.Class, "/") {
			pg.refuseField("class", pg.T("imports.class.bad"))
		}
	}
	if c.Column("serial") < 0 && c.Column("code") < 0 && len(pg.Errors) == 0 {
		if c.Number = strings.TrimSpace(r.PostForm.Get("number")); c.Number == "" {
			if c.Number, err = pg.nextSerial(j.Parent, c.Class); err != nil {
				return err
			}
		}
		if _, err := j.table.Change(c); err != nil {
			pg.refuseField("number", pg.T("imports.number.bad"))
		}
	}
	if len(pg.Errors) > 0 {
		return pg.showColumns(w, r, http.StatusUnprocessableEntity, j)
	}
	j.State.Confirmed = r.PostForm.Get("do") != "look"
	if err := pg.saveImport(j, office.ImportOpen); err != nil {
		return err
	}
	next := "rows"
	if !j.State.Confirmed {
		next = "columns#map"
	}
	http.Redirect(w, r, pg.importURL(j.ID, next), http.StatusSeeOther)
	return nil
}

// readAgain reads the file with another sheet or encoding.
func (pg *page) readAgain(w http.ResponseWriter, r *http.Request, j *importJob) error {
	s := j.State
	s.Sheet, s.Encoding = r.PostForm.Get("sheet"), r.PostForm.Get("encoding")
	data, err := pg.Office.ImportTable(r.Context(), &j.Import)
	if err != nil {
		return err
	}
	refused, err := pg.recognise(j.Parent, data, j.Title, &s)
	if err != nil {
		return err
	}
	if refused != nil {
		pg.refuseField("sheet", pg.readProblem(refused))
		return pg.showColumns(w, r, http.StatusUnprocessableEntity, j)
	}
	j.State = s
	if err := pg.saveImport(j, office.ImportOpen); err != nil {
		return err
	}
	http.Redirect(w, r, pg.importURL(j.ID, "columns"), http.StatusSeeOther)
	return nil
}
