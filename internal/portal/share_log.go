// SPDX-License-Identifier: Apache-2.0

package portal

import (
	"context"
	"encoding/csv"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"cityid"
	"cityid/internal/ledger"
)

// The access log of an agreement is the gateway's. It is read for whoever has a
// voice for the party whose gateway it is: what the holder's served, and what the
// consumer's fetched.

const (
	accessRows = 50
	csvPages   = 200 // of ledger.MaxPage entries: 100,000 in one file
)

// accessData is what the page of an access log shows.
type accessData struct {
	*oneData
	Sides    []navItem // where the visitor sees both
	Form     workForm
	Rows     []accessRow
	Next     string
	CSV      string
	Served   bool // this is the holder's log
	Usage    ledger.AccessUsage
	Requests *meter
	Octets   *meter
	Day      string
	Problem  string // why the gateway can not be read
	Filtered bool
}

// accessRow is a fetch.
type accessRow struct {
	ledger.AccessEntry
	Peer     place
	Tag      tag
	Ack      tag
	Anchor   tag
	Evidence string
}

// meter is how much of a day's limit is used.
type meter struct {
	Used, Most uint64
	Tag        tag
}

// logGateway returns the first party whose log of an agreement the visitor may
// see.
func (pg *page) logGateway(d *oneData) (cityid.Code, bool) {
	for _, direction := range []ledger.Direction{ledger.DirectionServed, ledger.DirectionFetched} {
		if party, ok := pg.logOf(d, direction); ok {
			return party, true
		}
	}
	return cityid.Code{}, false
}

// logOf returns the party whose gateway logged one direction, if the visitor may see that.
func (pg *page) logOf(d *oneData, direction ledger.Direction) (cityid.Code, bool) {
	switch {
	case direction == ledger.DirectionServed && d.MayHold:
		return pg.gatewayOf(d.Terms.Dataset, d.Decider.Code)
	case direction == ledger.DirectionFetched && d.MayAsk:
		return pg.gatewayOf(d.Terms.Consumer, d.Asker)
	}
	return cityid.Code{}, false
}

// shareLog shows an access log, or writes it as a table.
func (pg *page) shareLog(w http.ResponseWriter, r *http.Request, d *oneData, table bool) error {
	data := &accessData{oneData: d, Form: workForm{r.URL.Query()}}
	q, party, err := pg.logQuery(data)
	if err != nil {
		return err
	}
	if table {
		return pg.logCSV(w, d, party, q)
	}
	ctx, cancel := context.WithTimeout(pg.ctx, 5*patience)
	defer cancel()
	status := http.StatusOK
	got, err := pg.Gateways.Log(ctx, party, q)
	if err != nil {
		data.Problem, status = pg.gatewayRefusal(err), http.StatusBadGateway
	} else if err := pg.fillLog(r, data, got); err != nil {
		return err
	}
	pg.Title = pg.T("share.log.title", d.Consumer.Name, d.Dataset.Name)
	return pg.render(w, r, status, "share_log", data)
}

// logQuery reads what part of which log is asked for. A day that can not be read
// is noted, and left out.
func (pg *page) logQuery(data *accessData) (q ledger.AccessQuery, party cityid.Code, err error) {
	f := data.Form
	q = ledger.AccessQuery{Agreement: data.ID, Limit: accessRows}
	for _, direction := range []ledger.Direction{ledger.DirectionServed, ledger.DirectionFetched} {
		its, ok := pg.logOf(data.oneData, direction)
		if !ok {
			continue
		}
		chosen := f.Get("of") == direction.String() || f.Get("of") == "" && party.IsZero()
		if chosen {
			q.Direction, party = direction, its
		}
		data.Sides = append(data.Sides, navItem{URL: data.URL + "/log?of=" + direction.String(), Text: pg.T("share.log." + direction.String()), Current: chosen})
	}
	if party.IsZero() {
		return q, party, errNoPage
	}
	data.Served = q.Direction == ledger.DirectionServed
	for name, t := range map[string]*time.Time{"from": &q.From, "to": &q.To} {
		if f.Text(name) == "" {
			continue
		}
		data.Filtered = true
		if d, ok := pg.askedDay(name, f); ok {
			if *t = d; name == "to" {
				*t = d.AddDate(0, 0, 1)
			}
		}
	}
	if q.After, err = ledger.ParseCursor(f.Get("after")); err != nil {
		return q, party, cityid.Errorf(cityid.ErrMalformed, "%v", err)
	}
	v := url.Values{"of": {q.Direction.String()}}
	for _, name := range []string{"from", "to"} {
		if f.Text(name) != "" {
			v.Set(name, f.Text(name))
		}
	}
	data.CSV = data.URL + "/log.csv?" + v.Encode()
	return q, party, nil
}

// fillLog writes what a gateway answers as rows.
func (pg *page) fillLog(r *http.Request, data *accessData, got *ledger.AccessPage) error {
	places := placeBook{pg: pg}
	for _, e := range got.Entries {
		row := accessRow{AccessEntry: e, Tag: statusTag(e.Status), Ack: pg.ackTag(&e), Anchor: pg.anchorTag(&e), Evidence: data.URL + "/evidence/" + e.Direction.String() + "/" + e.Entry.String()}
		if !e.Peer.IsZero() {
			var err error
			if row.Peer, err = places.at(e.Peer); err != nil {
				return err
			}
		}
		data.Rows = append(data.Rows, row)
	}
	if got.Next != "" {
		data.Next = address(r, "after", got.Next)
	}
	data.Day, data.Usage = got.Day, got.Fetched
	if data.Served {
		data.Usage = got.Served
	}
	data.Requests, data.Octets = pg.meter(data.Usage.Requests, data.Terms.Requests), pg.meter(data.Usage.Octets, data.Terms.Octets)
	return nil
}

// meter compares what is used with a limit; nil without one.
func (pg *page) meter(used, most uint64) *meter {
	if most == 0 {
		return nil
	}
	share := float64(used) / float64(most)
	m := &meter{Used: used, Most: most, Tag: tag{pg.T("share.quota.of", strconv.FormatFloat(100*share, 'f', 0, 64)), "good", "✓"}}
	switch {
	case share >= 1:
		m.Tag.Text, m.Tag.Class, m.Tag.Icon = pg.T("share.quota.full"), "bad", "■"
	case share >= .8:
		m.Tag.Class, m.Tag.Icon = "warn", "!"
	}
	return m
}

// statusTag says how a status of HTTP is shown.
func statusTag(status uint32) tag {
	t := tag{strconv.FormatUint(uint64(status), 10), "good", "✓"}
	if status >= 400 {
		t.Class, t.Icon = "bad", "✕"
	}
	return t
}

func (pg *page) ackTag(e *ledger.AccessEntry) tag {
	switch {
	case e.Acknowledged:
		return tag{pg.T("share.ack.yes"), "good", "✓"}
	case e.Awaits:
		return tag{pg.T("share.ack.no"), "warn", "…"}
	}
	return tag{pg.T("share.ack.none"), "plain", "–"}
}

func (pg *page) anchorTag(e *ledger.AccessEntry) tag {
	if e.Anchored != 0 {
		return tag{pg.T("share.anchor.yes", e.Batch), "good", "✓"}
	}
	if e.Batch != 0 {
		return tag{pg.T("share.anchor.closed", e.Batch), "info", "…"}
	}
	return tag{pg.T("share.anchor.no"), "info", "…"}
}

// logCSV writes a log as a table with times in UTC, the latest fetch first. A log
// that breaks off says so in its last line.
func (pg *page) logCSV(w http.ResponseWriter, d *oneData, party cityid.Code, q ledger.AccessQuery) error {
	if len(pg.Errors) > 0 {
		return cityid.Errorf(cityid.ErrMalformed, "%s", pg.Errors[0].Text)
	}
	q.Limit = ledger.MaxPage
	page, err := pg.Gateways.Log(pg.ctx, party, q)
	if err != nil {
		return err
	}
	h := w.Header()
	h.Set("Content-Type", "text/csv; charset=utf-8")
	h.Set("Content-Disposition", `attachment; filename="`+d.ID.String()[:16]+"-"+q.Direction.String()+`.csv"`)
	h.Set("Cache-Control", "no-store")
	table := csv.NewWriter(w)
	table.Write([]string{"time", "direction", "party", "path", "status", "octets", "provider", "log", "number", "acknowledged", "batch", "anchored", "height", "entry"})
	for n := 1; ; n++ {
		for i := range page.Entries {
			table.Write(csvRow(&page.Entries[i]))
		}
		if page.Next == "" {
			break
		}
		if n == csvPages {
			table.Write([]string{"# " + pg.T("share.csv.more", csvPages*ledger.MaxPage)})
			break
		}
		if q.After, err = ledger.ParseCursor(page.Next); err == nil {
			page, err = pg.Gateways.Log(pg.ctx, party, q)
		}
		if err != nil {
			table.Write([]string{"# " + pg.T("share.csv.broken")})
			break
		}
	}
	table.Flush()
	return ignoreWrite(table.Error())
}

// csvRow writes a fetch as a row. What came from outside begins with no character
// that a spreadsheet takes for a formula.
func csvRow(e *ledger.AccessEntry) []string {
	number := func(n uint64) string {
		if n == 0 {
			return ""
		}
		return strconv.FormatUint(n, 10)
	}
	anchored, acknowledged := "", ""
	if e.Anchored != 0 {
		anchored = e.Anchored.Std().UTC().Format(time.RFC3339)
	}
	switch {
	case e.Acknowledged:
		acknowledged = "yes"
	case e.Awaits:
		acknowledged = "no"
	}
	path := e.Path
	if path == "" || path[0] != '/' {
		path = "'" + path
	}
	return []string{
		e.Time.UTC().Format(time.RFC3339), e.Direction.String(), e.Peer.String(), path, strconv.FormatUint(uint64(e.Status), 10), strconv.FormatUint(e.Octets, 10),
		e.Provider.String(), e.Log, number(e.Number), acknowledged, number(e.Batch), anchored, number(e.Height), e.Entry.String(),
	}
}

// shareEvidence hands out the evidence of a fetch: the address names the direction
// and the hash of the entry.
func (pg *page) shareEvidence(w http.ResponseWriter, r *http.Request, d *oneData, rest string) error {
	var direction ledger.Direction
	var entry cityid.Digest
	name, text, _ := strings.Cut(rest, "/")
	if direction.UnmarshalText([]byte(name)) != nil || entry.UnmarshalText([]byte(text)) != nil || entry.IsZero() {
		return errNoPage
	}
	party, ok := pg.logOf(d, direction)
	if !ok {
		return errNoPage
	}
	b, err := pg.Gateways.EvidenceUnder(r.Context(), party, d.ID, entry)
	if err != nil {
		return err
	}
	h := w.Header()
	h.Set("Content-Type", evidenceType)
	h.Set("Content-Length", strconv.Itoa(len(b)))
	h.Set("Content-Disposition", `attachment; filename="`+entry.String()[:16]+`.evidence"`)
	h.Set("Cache-Control", "no-store")
	_, err = w.Write(b)
	return ignoreWrite(err)
}
