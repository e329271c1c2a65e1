// SPDX-License-Identifier: Apache-2.0

package portal

import (
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"cityid"
)

// replayData is what the page of a past minute shows.
type replayData struct {
	*board
	Problem  string
	Minute   cityid.Time
	Local    string         // as the form has it, in the portal's time zone
	Words    indicatorWords // zero: all indicators
	Dataset  string         // as the address names it
	Rows     []replayRow
	Replaced bool // some are of values that were corrected
	More     bool
	Fetches  []fetchRow
	Before   string
	After    string
	Back     string
	Command  string
}

// replayRow is one observation.
type replayRow struct {
	Name   string
	City   place
	Source place
	Value  string
	Unit   string
	When   string
	Tags   []tag
	Fetch  int // number of the fetch on the page; 0: erased
}

// fetchRow is one fetch.
type fetchRow struct {
	ReplayedFetch
	Number   int
	Provider place
	When     string
	Tags     []tag
	Evidence string // address
	File     string
}

// boardReplay shows a minute of what feeds have brought.
func (pg *page) boardReplay(w http.ResponseWriter, r *http.Request, b *board) error {
	if err := pg.Limits.Visit(r); err != nil {
		return err
	}
	q := r.URL.Query()
	if local := q.Get("at"); local != "" {
		at, err := time.ParseInLocation("2006-01-02T15:04", local, beijing)
		if err != nil {
			return cityid.Errorf(cityid.ErrMalformed, "time %.40q: want such as 2026-11-24T08:15", local)
		}
		q.Del("at")
		q.Set("minute", cityid.TimeOf(at).String())
		http.Redirect(w, r, b.URL+"/replay?"+q.Encode(), http.StatusSeeOther)
		return nil
	}
	data := &replayData{board: b, Dataset: q.Get("dataset"), Back: b.URL}
	line := LineQuery{Indicator: q.Get("indicator")}
	at, err := time.Parse(time.RFC3339, q.Get("minute"))
	if err == nil && data.Dataset != "" {
		line.Dataset, err = cityid.Parse(data.Dataset)
	}
	if data.Minute = cityid.TimeOf(at); err != nil || checkTime(data.Minute) != nil {
		return cityid.Errorf(cityid.ErrMalformed, "minute=%.40q: want a time such as 2026-11-24T08:15:00Z, and perhaps a dataset", q.Get("minute"))
	}
	data.Minute -= data.Minute % 60
	data.Local = data.Minute.Std().In(beijing).Format("2006-01-02T15:04")
	step := cityid.Time(60)
	if line.Indicator != "" {
		if !indicatorText.MatchString(line.Indicator) {
			return cityid.Errorf(cityid.ErrMalformed, "indicator %.80q: want its identifier, such as 37120:2018:8.1", line.Indicator)
		}
		data.Words = pg.indicatorWords(line.Indicator)
		step = max(step, data.Words.Period)
		data.Back = b.URL + "?" + url.Values{"indicator": {line.Indicator}, "dataset": {data.Dataset}}.Encode()
	}
	data.Before, data.After = address(r, "minute", (data.Minute-step).String()), address(r, "minute", (data.Minute+step).String())
	pg.Title = pg.T("dashboard.replay.title", b.City.Name)
	got, err := pg.boards.from.Replay(r.Context(), b.Party, data.Minute, line)
	if err != nil {
		pg.boards.note(err)
		data.Problem = pg.gatewayProblem(err, b.City.Name)
		return pg.render(w, r, http.StatusServiceUnavailable, "dashboard_replay", data)
	}
	if err := pg.fillReplay(data, got); err != nil {
		return err
	}
	return pg.render(w, r, http.StatusOK, "dashboard_replay", data)
}

// fillReplay makes rows of observations and fetches.
func (pg *page) fillReplay(data *replayData, got *Replay) error {
	numbers := map[cityid.Digest]int{}
	for i := range got.Fetches {
		numbers[got.Fetches[i].Entry] = i + 1
		row, err := pg.fetchRow(data.board, &got.Fetches[i], i+1)
		if err != nil {
			return err
		}
		data.Fetches = append(data.Fetches, row)
	}
	data.More = got.More
	for i := range got.Observations {
		o := &got.Observations[i]
		words := pg.indicatorWords(o.Indicator)
		row := replayRow{Name: words.Name, Value: o.Value, Unit: pg.unit(o.Unit), When: pg.observedAt(o.Time, words.Period), Fetch: numbers[o.Entry]}
		var err error
		if row.City, err = pg.placeAt(cityOf(o.Dataset)); err != nil {
			return err
		}
		if !o.Source.IsZero() {
			if row.Source, err = pg.placeAt(o.Source); err != nil {
				return err
			}
		}
		row.Tags = []tag{pg.provenance(o.Entry)}
		if o.Replaced {
			row.Tags = append(row.Tags, tag{pg.T("dashboard.replaced"), "warn", "↻"})
			data.Replaced = true
		}
		data.Rows = append(data.Rows, row)
	}
	if len(data.Fetches) > 0 {
		data.Command = "cityid trust pin --node " + pg.Origin + " -o trust.json\n" +
			"cityid evidence verify " + data.Fetches[0].File + " --trust trust.json"
	}
	return nil
}

func (pg *page) fetchRow(b *board, f *ReplayedFetch, number int) (row fetchRow, err error) {
	row = fetchRow{ReplayedFetch: *f, Number: number, When: pg.Moment(f.Receipt.Time.Std()), File: f.Entry.String()[:16] + ".evidence"}
	row.Evidence = b.URL + "/evidence/" + f.Entry.String()
	if row.Provider, err = pg.placeAt(f.Receipt.Provider); err != nil {
		return row, err
	}
	add := func(good bool, yes, no string) {
		if good {
			row.Tags = append(row.Tags, tag{yes, "good", "✓"})
		} else {
			row.Tags = append(row.Tags, tag{no, "plain", "…"})
		}
	}
	add(f.Acknowledged, pg.T("dashboard.acknowledged"), pg.T("dashboard.unacknowledged"))
	add(f.Anchored != 0, pg.T("dashboard.anchored", b.City.Name, grouped(f.Batch), pg.Moment(f.Anchored.Std())), pg.T("dashboard.unanchored", b.City.Name))
	add(f.PeerLog != "", pg.T("dashboard.peer.anchored", row.Provider.Name, f.PeerLog, grouped(f.PeerBatch)), pg.T("dashboard.peer.unknown", row.Provider.Name))
	return row, nil
}

// boardEvidence hands on the evidence of one fetch.
func (pg *page) boardEvidence(w http.ResponseWriter, r *http.Request, b *board, text string) error {
	var entry cityid.Digest
	if err := entry.UnmarshalText([]byte(text)); err != nil || entry.IsZero() {
		return errNoPage
	}
	if err := pg.Limits.Upload(r); err != nil {
		return err
	}
	e, err := pg.boards.from.Evidence(r.Context(), b.Party, entry)
	if err != nil {
		pg.boards.note(err)
		if bad := new(GatewayError); errors.As(err, &bad) {
			return pg.noBoard(w, r, b, pg.gatewayProblem(err, b.City.Name))
		}
		return err
	}
	h := w.Header()
	h.Set("Content-Type", evidenceType)
	h.Set("Content-Disposition", `attachment; filename="`+entry.String()[:16]+`.evidence"`)
	h.Set("Content-Length", strconv.Itoa(len(e)))
	h.Set("Cache-Control", "no-store")
	_, err = w.Write(e)
	return ignoreWrite(err)
}
