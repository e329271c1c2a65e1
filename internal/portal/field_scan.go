// SPDX-License-Identifier: Apache-2.0

package portal

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"cityid"
	"cityid/internal/bulk"
	"cityid/internal/office"
	"cityid/label"
)

// Scan logs come from handhelds as tables: which label, when, and where. A table
// is taken whole or refused with what is wrong in which line; codes that are
// unknown or another's are counted, and not stored.

const (
	maxScanFile = 16 << 20 // octets
	maxScanRows = 50_000
)

// scanColumns are the names of a table's columns.
var scanColumns = map[string][]string{
	"code": {"code", "url", "text", "label", "编码", "代码", "网址", "内容"},
	"time": {"time", "seen", "timestamp", "时间", "扫描时间"},
	"lat":  {"lat", "latitude", "纬度"},
	"lon":  {"lon", "lng", "longitude", "经度"},
}

// clock is the time of a handheld that does not say its zone.
var clock = time.FixedZone("+08:00", 8*60*60)

// fieldScans takes a scan log.
func (p *portal) fieldScans(w http.ResponseWriter, r *http.Request, pg *page) error {
	if err := pg.Limits.Upload(r); err != nil {
		return err
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxScanFile+64<<10)
	if err := r.ParseMultipartForm(1 << 20); err != nil {
		return uploadError(err)
	}
	defer r.MultipartForm.RemoveAll()
	holder, _, err := pg.fieldHolder(r.PostForm.Get("holder"))
	if err != nil {
		return err
	}
	if holder.IsZero() {
		return cityid.Errorf(cityid.ErrNotPermitted, "your key stands for nobody who has a log")
	}
	file, header, err := r.FormFile("file")
	if err != nil || header.Size == 0 {
		pg.refuseField("file", pg.T("field.scans.none"))
		return pg.showLog(w, r, http.StatusUnprocessableEntity)
	}
	defer file.Close()
	var raw bytes.Buffer
	if _, err := raw.ReadFrom(file); err != nil {
		return err
	}
	table, err := bulk.ReadTable(bytes.NewReader(raw.Bytes()), "", bulk.ReadOptions{})
	if err != nil {
		pg.refuseField("file", pg.T("field.scans.notable", err))
		return pg.showLog(w, r, http.StatusUnprocessableEntity)
	}
	scans, problems := pg.parseScans(table)
	if len(problems) > 0 {
		for _, text := range problems {
			pg.refuseField("file", text)
		}
		return pg.showLog(w, r, http.StatusUnprocessableEntity)
	}
	l := office.ScanLog{Holder: holder, Creator: pg.Key(), Name: fileName(header.Filename, 1), Rows: len(scans)}
	mine, err := pg.sortScans(&l, scans)
	if err != nil {
		return err
	}
	if l.File, err = p.Office.PutBytes(pg.ctx, raw.Bytes()); err != nil {
		return err
	}
	id, err := p.Office.AddScanLog(pg.ctx, l, mine)
	if err != nil {
		return officeError(err)
	}
	http.Redirect(w, r, pg.URL("/field/scans/", strconv.FormatInt(id, 10)), http.StatusSeeOther)
	return nil
}

// parseScans reads a table of scans strictly; what is wrong is named with its
// line.
func (pg *page) parseScans(t *bulk.Table) (scans []office.Scan, problems []string) {
	at := map[string]int{}
	for name, titles := range scanColumns {
		at[name] = slices.IndexFunc(t.Header, func(h string) bool { return slices.Contains(titles, strings.ToLower(strings.TrimSpace(h))) })
	}
	switch {
	case at["code"] < 0 || at["time"] < 0:
		return nil, []string{pg.T("field.scans.columns")}
	case (at["lat"] < 0) != (at["lon"] < 0):
		return nil, []string{pg.T("field.scans.half")}
	case len(t.Rows) == 0 || len(t.Rows) > maxScanRows:
		return nil, []string{pg.T("field.scans.size", grouped(len(t.Rows)), grouped(maxScanRows))}
	}
	for _, row := range t.Rows {
		cell := func(name string) string {
			if i := at[name]; i >= 0 && i < len(row.Cells) {
				return strings.TrimPrefix(strings.TrimSpace(row.Cells[i]), "'")
			}
			return ""
		}
		s, err := parseScan(cell)
		if err != nil {
			problems = append(problems, pg.T("field.scans.line", row.Line, err))
			if len(problems) == problemsSaid {
				break
			}
			continue
		}
		scans = append(scans, s)
	}
	return scans, problems
}

func parseScan(cell func(string) string) (s office.Scan, err error) {
	payload, err := label.ParsePayload(cell("code"))
	if err != nil {
		return s, err
	}
	s.Code = payload.Code
	text := cell("time")
	s.Seen, err = time.Parse(time.RFC3339, text)
	for _, layout := range []string{"2006-01-02 15:04:05", "2006-01-02 15:04", "2006/1/2 15:04:05", "2006/1/2 15:04"} {
		if err != nil {
			s.Seen, err = time.ParseInLocation(layout, text, clock)
		}
	}
	if err != nil || s.Seen.Year() < 2000 || s.Seen.Year() > 2199 {
		return s, fmt.Errorf("time %.40q: want one such as 2026-11-24 08:30:00 or 2026-11-24T08:30:00+08:00", text)
	}
	s.Location, err = parseDegrees(cell("lat"), cell("lon"))
	return s, err
}

// sortScans returns the scans of the holder's own codes, and counts the others.
func (pg *page) sortScans(l *office.ScanLog, scans []office.Scan) ([]office.Scan, error) {
	holders := map[cityid.Code]cityid.Code{}
	var mine []office.Scan
	for _, s := range scans {
		holder, known := holders[s.Code]
		if !known {
			a, err := pg.Source.Record(pg.ctx, s.Code)
			if errors.Is(err, cityid.ErrNotFound) {
				l.Unknown = append(l.Unknown, s.Code.String())
			} else if err != nil {
				return nil, err
			} else {
				holder = a.Holder
			}
			holders[s.Code] = holder
		}
		switch {
		case holder == l.Holder:
			mine = append(mine, s)
		case !holder.IsZero():
			l.Foreign++
		}
	}
	slices.Sort(l.Unknown)
	return mine, nil
}

// scanData is what a scan log showed.
type scanData struct {
	office.ScanLog
	Holder  place
	New     int // scans that were not known before
	Rows    []scanRow
	Next    string
	Unknown []string
	More    int // unknown codes that are not shown
}

type scanRow struct {
	Code      cityid.Code
	Name      string
	Times     int
	Last      time.Time
	Run       int64
	Installed *tag
	Away      string
	Far       bool
}

// unknownShown is how many unknown codes of a log are shown.
const unknownShown = 100

// fieldScanLog shows what a scan log says.
func (p *portal) fieldScanLog(w http.ResponseWriter, r *http.Request, pg *page) error {
	id, err := strconv.ParseInt(r.PathValue("log"), 10, 64)
	if err != nil {
		return errNoPage
	}
	l, err := p.Office.ScanLog(pg.ctx, id)
	if err != nil {
		return officeError(err)
	}
	if ok, err := pg.stands(l.Holder, fieldRoles); err != nil || !ok {
		if err == nil {
			err = errNoPage
		}
		return err
	}
	data := &scanData{ScanLog: l, Unknown: l.Unknown}
	if len(data.Unknown) > unknownShown {
		data.Unknown, data.More = data.Unknown[:unknownShown], len(data.Unknown)-unknownShown
	}
	if data.Holder, err = pg.placeAt(l.Holder); err != nil {
		return err
	}
	if err := pg.scanRows(r, data); err != nil {
		return err
	}
	pg.Title = pg.T("field.scans.one", l.ID)
	return pg.render(w, r, http.StatusOK, "field_scans", data)
}

// scanRows sums the scans of a log by code.
func (pg *page) scanRows(r *http.Request, data *scanData) error {
	var after cityid.Code
	if s := r.URL.Query().Get("after"); s != "" {
		var err error
		if after, err = cityid.Parse(s); err != nil {
			return cityid.Errorf(cityid.ErrMalformed, "%v", err)
		}
	}
	scans, err := pg.Office.ScansOf(pg.ctx, data.ID, after, 100)
	if err != nil {
		return err
	}
	var codes []cityid.Code
	where := map[cityid.Code]*cityid.Location{}
	for _, s := range scans {
		if n := len(data.Rows); n == 0 || data.Rows[n-1].Code != s.Code {
			data.Rows, codes = append(data.Rows, scanRow{Code: s.Code}), append(codes, s.Code)
		}
		row := &data.Rows[len(data.Rows)-1]
		row.Times, row.Last = row.Times+1, s.Seen
		if s.Location != nil {
			where[s.Code] = s.Location
		}
	}
	if len(scans) >= 100 {
		data.Next = address(r, "after", codes[len(codes)-1].String())
	}
	printed, err := pg.Office.Printed(pg.ctx, codes)
	if err != nil {
		return err
	}
	installed, err := pg.Office.LatestInstallations(pg.ctx, codes)
	if err != nil {
		return err
	}
	for i := range data.Rows {
		row := &data.Rows[i]
		row.Run, row.Name = printed[row.Code], row.Code.String()
		if e, ok := installed[row.Code]; ok {
			t := pg.eventTag(e)
			row.Installed = &t
		}
		a, err := pg.Source.Record(pg.ctx, row.Code)
		if err != nil {
			return err
		}
		row.Name = pg.NameOf(a.Record.Content.Names, row.Code)
		if at := where[row.Code]; at != nil && a.Record.Content.Location != nil {
			m := metres(*at, *a.Record.Content.Location)
			row.Away, row.Far = grouped(int(m)), m > farAway
		}
	}
	return nil
}
