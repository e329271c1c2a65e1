// SPDX-License-Identifier: Apache-2.0

package portal

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"time"

	"cityid"
	"cityid/internal/bulk"
	"cityid/internal/office"
)

const (
	entriesShown  = 50   // of a page of the log
	statementMost = 1000 // entries of a statement
	farAway       = 50   // metres from its registered place that are worth a look
)

// logData is what the installation log shows.
type logData struct {
	Holder     place
	Holders    []navItem
	Rows       []entryRow
	Next       string
	Map        *drawing
	All, Open  int
	Statements []statementRow
	Scans      []office.ScanLog
	MayAttest  bool
	Most       int
}

type entryRow struct {
	office.Installation
	Tag      tag
	By       string
	Lat, Lon string
	Away     string // metres from its registered place
	Far      bool
}

type statementRow struct {
	office.Statement
	By string
}

// fieldLog lists what was noted about a holder's labels.
func (p *portal) fieldLog(w http.ResponseWriter, r *http.Request, pg *page) error {
	return pg.showLog(w, r, http.StatusOK)
}

func (pg *page) showLog(w http.ResponseWriter, r *http.Request, status int) error {
	holder, all, err := pg.fieldHolder(r.FormValue("holder"))
	if err != nil {
		return err
	}
	pg.Title = pg.T("field.log.title")
	if holder.IsZero() {
		return pg.render(w, r, status, "field_log", &logData{})
	}
	data := &logData{Most: statementMost}
	if data.Holder, err = pg.placeAt(holder); err != nil {
		return err
	}
	for _, h := range all {
		data.Holders = append(data.Holders, navItem{URL: pg.URL("/field/log?holder=", h.Code.String()), Text: h.Name, Current: h.Code == holder})
	}
	if err := pg.anchorStatements(holder); err != nil {
		return err
	}
	if data.All, data.Open, err = pg.Office.InstallationCount(pg.ctx, holder); err != nil {
		return err
	}
	if err := pg.entryRows(r, data); err != nil {
		return err
	}
	statements, err := pg.Office.Statements(pg.ctx, holder, 20)
	if err != nil {
		return err
	}
	for _, s := range statements {
		data.Statements = append(data.Statements, statementRow{s, pg.Fingerprint(s.Creator)})
	}
	if data.Scans, err = pg.Office.ScanLogs(pg.ctx, holder, 20); err != nil {
		return err
	}
	data.MayAttest = pg.controls(holder, fieldRoles)
	return pg.render(w, r, status, "field_log", data)
}

// entryRows lists a page of entries, and draws where they were made.
func (pg *page) entryRows(r *http.Request, data *logData) error {
	var before int64
	if s := r.URL.Query().Get("before"); s != "" {
		n, err := strconv.ParseInt(s, 10, 64)
		if err != nil {
			return cityid.Errorf(cityid.ErrMalformed, "entry %.40q: want a number", s)
		}
		before = n
	}
	list, err := pg.Office.Installations(pg.ctx, data.Holder.Code, false, before, entriesShown+1)
	if err != nil {
		return err
	}
	if len(list) > entriesShown {
		list = list[:entriesShown]
		data.Next = address(r, "before", strconv.FormatInt(list[entriesShown-1].Seq, 10), "done", "")
	}
	var marks []mapMark
	var places []cityid.Location
	for _, e := range list {
		row := entryRow{Installation: e, Tag: pg.eventTag(e.Event), By: pg.Fingerprint(e.Creator)}
		if e.Location != nil {
			if row.Lat, row.Lon, err = degreesOf(*e.Location); err != nil {
				return err
			}
			places = append(places, *e.Location)
			marks = append(marks, mapMark{Lat: float64(e.Location.Lat) / 1e7, Lon: float64(e.Location.Lon) / 1e7, Count: 1, Title: row.Tag.Text + " " + e.Code.String(), URL: pg.CodeURL(e.Code)})
			if a, err := pg.Source.Record(pg.ctx, e.Code); err == nil && a.Record.Content.Location != nil {
				m := metres(*e.Location, *a.Record.Content.Location)
				row.Away, row.Far = grouped(int(m)), m > farAway+float64(e.Accuracy)
			}
		}
		data.Rows = append(data.Rows, row)
	}
	if len(marks) > 0 {
		data.Map = &drawing{SVG: pg.basemap.draw(viewOf(places), pg.T("field.map"), marks), Source: pg.basemap.Source, Approval: pg.basemap.Approval, Marks: marks}
	}
	return nil
}

func (pg *page) eventTag(e office.InstallationEvent) tag {
	t := tag{Text: pg.T("field.event." + e.String()), Class: "plain", Icon: "■"}
	switch e {
	case office.LabelInstalled:
		t.Class, t.Icon = "good", "✓"
	case office.LabelReplaced:
		t.Class, t.Icon = "info", "↻"
	case office.LabelDamaged:
		t.Class, t.Icon = "warn", "!"
	}
	return t
}

var entryHeader = []string{"code", "event", "noted", "received", "lat", "lon", "accuracy_m", "note", "photo_sha256", "key", "id"}

// entryCells is an entry as a row of a table.
func (pg *page) entryCells(e *office.Installation) ([]string, error) {
	cells := []string{e.Code.String(), e.Event.String(), e.Noted.Format(time.RFC3339), e.Received.Format(time.RFC3339), "", "", "", e.Note, "", pg.Fingerprint(e.Creator), e.ID}
	if e.Location != nil {
		var err error
		if cells[4], cells[5], err = degreesOf(*e.Location); err != nil {
			return nil, err
		}
	}
	if e.Accuracy > 0 {
		cells[6] = strconv.Itoa(e.Accuracy)
	}
	if !e.Photo.IsZero() {
		cells[8] = e.Photo.String()
	}
	return cells, nil
}

// fieldCSV hands out the whole log, the latest entry first.
func (p *portal) fieldCSV(w http.ResponseWriter, r *http.Request, pg *page) error {
	holder, _, err := pg.fieldHolder(r.URL.Query().Get("holder"))
	if err != nil {
		return err
	}
	if holder.IsZero() {
		return cityid.Errorf(cityid.ErrNotPermitted, "your key stands for nobody who has a log")
	}
	var rows [][]string
	for before := int64(0); ; {
		list, err := p.Office.Installations(pg.ctx, holder, false, before, 1000)
		if err != nil {
			return err
		}
		if len(list) == 0 {
			break
		}
		for i := range list {
			cells, err := pg.entryCells(&list[i])
			if err != nil {
				return err
			}
			if cells = append(cells, ""); list[i].Statement != 0 {
				cells[len(cells)-1] = strconv.FormatInt(list[i].Statement, 10)
			}
			rows = append(rows, cells)
		}
		before = list[len(list)-1].Seq
	}
	return writeTable(w, "installations.csv", append(slices.Clone(entryHeader), "statement"), slices.Values(rows))
}

// fieldAttest has entries vouched for on the chain: they become one table, whose
// digest one attestation of the holder's anchors. With a statement it asks again
// for one that was not signed.
func (p *portal) fieldAttest(w http.ResponseWriter, r *http.Request, pg *page) error {
	if err := pg.Limits.Visit(r); err != nil {
		return err
	}
	if err := r.ParseForm(); err != nil {
		return cityid.Errorf(cityid.ErrMalformed, "%v", err)
	}
	holder, _, err := pg.fieldHolder(r.PostForm.Get("holder"))
	if err != nil {
		return err
	}
	var s office.Statement
	if text := r.PostForm.Get("statement"); text != "" {
		id, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return errNoPage
		}
		if s, err = p.Office.Statement(pg.ctx, id); err != nil {
			return officeError(err)
		}
		if s.Holder != holder {
			return errNoPage
		}
		if s.Height != 0 {
			return cityid.Errorf(cityid.ErrConflict, "the statement is anchored already")
		}
	} else if s, err = pg.newStatement(holder); err != nil {
		return err
	}
	op := cityid.Operation{Attest: &cityid.Attest{Source: holder, Digest: s.File, Size: uint64(s.Size), Label: fmt.Sprintf("installation log, %d entries", s.Entries)}}
	next := pg.URL("/field/log?holder=", holder.String())
	title := pg.N("field.attest.title", s.Entries)
	if pg.controls(holder, cityid.RoleAssert|cityid.RoleField) {
		return pg.sign(w, r, title, next, op)
	}
	ops, err := pg.decide(holder, "", op)
	if err != nil {
		return err
	}
	return pg.sign(w, r, title, next, ops...)
}

// newStatement makes a table of the entries that are in none.
func (pg *page) newStatement(holder cityid.Code) (office.Statement, error) {
	s := office.Statement{Holder: holder, Creator: pg.Key()}
	list, err := pg.Office.Installations(pg.ctx, holder, true, 0, statementMost)
	if err != nil {
		return s, err
	}
	if len(list) == 0 {
		return s, cityid.Errorf(cityid.ErrConflict, "all entries are in a statement already")
	}
	slices.Reverse(list)
	var b bytes.Buffer
	var numbers []int64
	var rows [][]string
	for i := range list {
		cells, err := pg.entryCells(&list[i])
		if err != nil {
			return s, err
		}
		numbers, rows = append(numbers, list[i].Seq), append(rows, cells)
	}
	if err := bulk.WriteCSV(&b, entryHeader, slices.Values(rows)); err != nil {
		return s, err
	}
	if s.File, err = pg.Office.PutBytes(pg.ctx, b.Bytes()); err != nil {
		return s, err
	}
	s.Size, s.Entries = int64(b.Len()), len(numbers)
	s.ID, err = pg.Office.AddStatement(pg.ctx, s, numbers)
	return s, officeError(err)
}

// anchorStatements notes which statements the visitor has had anchored since the
// log was last looked at.
func (pg *page) anchorStatements(holder cityid.Code) error {
	statements, err := pg.Office.Statements(pg.ctx, holder, 100)
	if err != nil {
		return err
	}
	waiting := map[cityid.Digest]bool{}
	for _, s := range statements {
		if s.Height == 0 {
			waiting[s.File] = true
		}
	}
	if len(waiting) == 0 {
		return nil
	}
	signings, err := pg.Office.SigningsOf(pg.ctx, pg.Key())
	if err != nil {
		return err
	}
	for _, s := range signings {
		if s.State != office.SigningDone {
			continue
		}
		var receipt cityid.Receipt
		if err := json.Unmarshal(s.Receipt, &receipt); err != nil {
			return err
		}
		for _, op := range s.Operations {
			if op.Attest != nil && waiting[op.Attest.Digest] && receipt.Code == cityid.OK {
				if err := pg.Office.AnchorStatement(pg.ctx, op.Attest.Digest, receipt.ID, receipt.Height); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// fieldStatement hands out the table of a statement, whose digest the chain holds.
func (p *portal) fieldStatement(w http.ResponseWriter, r *http.Request, pg *page) error {
	id, err := strconv.ParseInt(r.PathValue("id"), 10, 64)
	if err != nil {
		return errNoPage
	}
	s, err := p.Office.Statement(pg.ctx, id)
	if err != nil {
		return officeError(err)
	}
	if ok, err := pg.stands(s.Holder, fieldRoles); err != nil || !ok {
		if err == nil {
			err = errNoPage
		}
		return err
	}
	b, err := p.Office.ReadFile(pg.ctx, s.File, s.Size)
	if err != nil {
		return err
	}
	h := w.Header()
	h.Set("Content-Type", "text/csv; charset=utf-8")
	h.Set("Content-Disposition", fmt.Sprintf("attachment; filename=\"statement-%d.csv\"", s.ID))
	h.Set("Cache-Control", "no-store")
	_, err = w.Write(b)
	return ignoreWrite(err)
}
