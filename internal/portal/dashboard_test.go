// SPDX-License-Identifier: Apache-2.0

package portal_test

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"html"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"cityid"
	"cityid/internal/ledger"
	"cityid/internal/portal"
)

const (
	pm25      = "37120:2018:8.1"
	turbidity = "37120:2018:23.4"
)

var neighbour = cityid.MustParse("MA.156.1302")

// scripted is a gateway's local side that answers what a test says.
type scripted struct {
	party   cityid.Code
	public  bool
	broken  http.HandlerFunc // answers instead, if it is set
	latest  portal.Latest
	series  func(q url.Values) portal.Series
	replay  portal.Replay
	address string

	mu    sync.Mutex
	asked []string
}

// questions returns what the gateway was asked.
func (g *scripted) questions() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Clone(g.asked)
}

func (g *scripted) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	g.mu.Lock()
	g.asked = append(g.asked, r.URL.RequestURI())
	g.mu.Unlock()
	if g.broken != nil {
		g.broken(w, r)
		return
	}
	switch r.URL.Path {
	case "/v1/status":
		fmt.Fprintf(w, `{"party":%q,"public":%v}`, g.party, g.public)
	case "/v1/latest":
		json.NewEncoder(w).Encode(g.latest)
	case "/v1/series":
		json.NewEncoder(w).Encode(g.series(r.URL.Query()))
	case "/v1/replay":
		json.NewEncoder(w).Encode(g.replay)
	default:
		w.Header().Set("Content-Type", "application/vnd.cityid.evidence+cbor")
		fmt.Fprint(w, "evidence of ", strings.TrimPrefix(r.URL.Path, "/v1/evidence/"))
	}
}

// observed is an observation of a city's own platform.
func observed(city cityid.Code, indicator, value, unit string, n int, age time.Duration) portal.Observed {
	return portal.Observed{
		Dataset: cityid.MustParse(city.String() + "/30.990101/INDICATORS"), Indicator: indicator, Source: cityid.MustParse(fmt.Sprintf("%s/30.080001/%06d", city, n)),
		Unit: unit, Time: cityid.TimeOf(time.Now().Add(-age)), Value: value, Entry: cityid.Digest{byte(n), 7},
	}
}

// script returns a gateway of a city with a stream of each domain.
func script(t *testing.T, party cityid.Code) *scripted {
	t.Helper()
	g := &scripted{party: party, public: true}
	g.latest = portal.Latest{Observations: []portal.Observed{
		observed(party, pm25, "64.70", "ug/m3", 1, time.Minute), observed(party, pm25, "80.1", "ug/m3", 2, time.Minute),
		observed(party, turbidity, "0.30", "[NTU]", 1, 2*time.Minute), observed(party, "37120:2018:7.1", "22.87", "kW.h/d/{person}", 1, time.Minute),
		observed(party, "37120:2018:16.3", "36.5", "%", 1, 31*time.Hour),
	}, Feeds: []portal.GatewayFeed{}, Now: time.Now()}
	g.series = func(q url.Values) portal.Series {
		out := portal.Series{Now: time.Now(), Feeds: []portal.GatewayFeed{}}
		for _, o := range g.latest.Observations {
			if i := q.Get("indicator"); i != "" && i != o.Indicator || q.Get("dataset") != o.Dataset.String() || q.Get("source") != "" && q.Get("source") != o.Source.String() {
				continue
			}
			l := portal.Line{Dataset: o.Dataset, Indicator: o.Indicator, Source: o.Source, Sources: 1, Unit: o.Unit, First: o.Time - 3600, Last: o.Time}
			for i := range 20 {
				p := portal.LinePoint{Time: o.Time - cityid.Time(60*(20-i)), Value: fmt.Sprintf("%d.50", 40+i), Mean: 40.5 + float64(i), Min: 40.5 + float64(i), Max: 40.5 + float64(i), Count: 1, Entry: o.Entry}
				if q.Get("combine") != "" {
					l.Source, l.Sources, p.Value, p.Count, p.Min, p.Max, p.Entry = cityid.Code{}, 2, "", 2, p.Mean-1, p.Mean+2, cityid.Digest{}
				}
				if from, to := mustTime(q.Get("from")), mustTime(q.Get("to")); p.Time >= cityid.TimeOf(from) && p.Time < cityid.TimeOf(to) {
					l.Points = append(l.Points, p)
				}
			}
			if !slices.ContainsFunc(out.Lines, func(x portal.Line) bool {
				return x.Source == l.Source && x.Indicator == l.Indicator && x.Unit == l.Unit
			}) {
				out.Lines = append(out.Lines, l)
			}
		}
		return out
	}
	s := httptest.NewServer(g)
	t.Cleanup(s.Close)
	g.address = s.URL
	return g
}

// boardWorld is a world whose portal reads some gateways.
func boardWorld(t *testing.T, gateways ...*scripted) *world {
	t.Helper()
	addresses := map[cityid.Code]string{}
	for _, g := range gateways {
		addresses[g.party] = g.address
	}
	all, err := portal.NewHTTPGateways(addresses)
	if err != nil {
		t.Fatal(err)
	}
	return newWorld(t, func(c *portal.Config) { c.Gateways = all })
}

// holds checks a page's status, that it is complete, and what is in it or is not.
func (b *browser) holds(path string, status int, want ...string) string {
	b.Helper()
	a := b.get(path)
	if a.status != status {
		b.Errorf("%s: status %d, want %d: %.300s", path, a.status, status, a.body)
	}
	text := html.UnescapeString(a.body)
	for _, x := range want {
		if no, ok := strings.CutPrefix(x, "!"); ok && strings.Contains(text, no) {
			b.Errorf("%s holds %q", path, no)
		} else if !ok && !strings.Contains(text, x) {
			b.Errorf("%s lacks %q", path, x)
		}
	}
	if i := strings.Index(text, "⟦"); i >= 0 {
		b.Errorf("%s lacks a text: %.60s", path, text[i:])
	}
	if strings.Contains(a.body, " style=") || strings.Contains(a.body, "<style") || strings.Contains(a.body, "ZgotmplZ") {
		b.Errorf("%s has an inline style, or something that is not safe where it stands", path)
	}
	return a.body
}

// TestDashboard shows what was observed last, with source, time and state, in both
// languages.
func TestDashboard(t *testing.T) {
	g := script(t, sjz)
	late, foreign, erased := observed(sjz, pm25, "7", "ug/m3", 9, time.Hour), observed(neighbour, pm25, "90.0", "ug/m3", 3, time.Minute), observed(sjz, "37122:2019:5.1", "-0.5", "1", 4, time.Hour)
	late.Indicator, erased.Entry = "37120:2018:8.7", cityid.Digest{}
	g.latest.Observations = append(g.latest.Observations, late, foreign, erased)
	g.latest.Feeds = []portal.GatewayFeed{
		{Agreement: cityid.Digest{1}, Dataset: foreign.Dataset, Path: "/observations", Every: "10s", Failed: "dial tcp 10.1.2.3: secret", Since: time.Now().Add(-time.Hour)},
		{Agreement: cityid.Digest{2}, Path: "/observations", Every: "10s", Failed: "no standing", Since: time.Now().Add(-time.Hour)},
	}
	w := boardWorld(t, g)
	b := w.browser()
	b.holds("/en/dashboard/MA.156.1301", 200, "Streams of Shijiazhuang", "Shared by MA.156.1302", "Water", "Energy", "Air", "Waste", "64.70", "µg/m³", "/en/code/MA.156.1301/30.080001/000001",
		"Verified", "Own", "Late: nothing since", "Feed brings nothing since", "A feed has brought nothing since", "Receipt no longer kept", "37122:2019:5.1", "-0.5", "<svg", `role="img"`,
		"2 stations, mean 72.40, lowest 64.70, highest 80.10", "!secret", "!10.1.2.3")
	b.holds("/zh/dashboard/MA.156.1301", 200, "石家庄市自有数据", "MA.156.1302共享的数据", "细颗粒物 PM2.5", "微克/立方米", "已核验", "自有", "延迟：", "数据源自", "!secret")
	member := w.browser()
	member.signIn(cityKey)
	member.holds("/en/dashboard/MA.156.1301", 200, "no standing")
	if a := b.get("/en/dashboard/ma.156.1301?x=1"); a.status != http.StatusPermanentRedirect || a.header.Get("Location") != "/en/dashboard/MA.156.1301?x=1" {
		t.Errorf("%d %s", a.status, a.header.Get("Location"))
	}
	b.holds("/en/dashboard/MA.156.1302", 404, "no dashboard of this code")
	b.holds("/en/dashboard/nothing", 404)
	b.holds("/en/", 200, "Cities that show their data", "/en/dashboard/MA.156.1301")
	b.holds("/en/code/MA.156.1301", 200, "/en/dashboard/MA.156.1301")
	b.holds("/en/code/MA.156.13", 200, "!/en/dashboard/")
	n := len(g.questions())
	for range 5 {
		b.holds("/en/dashboard/MA.156.1301", 200)
	}
	if more := g.questions()[n:]; len(more) > 2 { // the present may have to be asked for again
		t.Errorf("visitors within seconds make the gateway answer anew: %v", more)
	}
}

// TestDashboardOne shows one indicator: trend, stations, tables.
func TestDashboardOne(t *testing.T) {
	w := boardWorld(t, script(t, sjz))
	b := w.browser()
	at := "/en/dashboard/MA.156.1301?indicator=" + pm25
	b.holds(at, 200, "64.70", "Indicator 37120:2018:8.1", "24 hours", "20 observations", "lowest 40.50, highest 59.50", "<title id=\"trend-title\">", "<desc", "Mean of all 2 stations", "Stations", "80.1", "!Mean (computed)")
	b.holds(at+"&station=all&range=7d", 200, "Mean (computed)", "40 observations", "lowest 39.5, highest 61.5")
	b.holds(at+"&station=MA.156.1301/30.080001/000002", 200, "80.1")
	b.holds(strings.Replace(at, "/en/", "/zh/", 1)+"&range=30d", 200, "细颗粒物", "30 天")
	b.holds(at+"&station=MA.156.1301/30.080001/000003", 404, "has observed nothing")
	b.holds(at+"&range=1y", 400, "24h, 7d or 30d")
	b.holds(at+"&station=!", 400)
	b.holds(at+"&dataset=!", 400)
	b.holds(at+"&unit=mg", 404)
	b.holds("/en/dashboard/MA.156.1301?indicator=none", 404, "no observations")
	rows := b.table("/en/dashboard/MA.156.1301/data.csv")
	if len(rows) != 4 || rows[0][6] != "0.30" || rows[0][7] != "[NTU]" || rows[0][11] != (cityid.Digest{1, 7}).String() || rows[0][9] != "no" {
		t.Errorf("%q", rows)
	}
	rows = b.table("/en/dashboard/MA.156.1301/data.csv?indicator=" + pm25)
	if len(rows) != 20 || rows[0][8] != "40.50" || rows[0][10] != "" || rows[0][13] != (cityid.Digest{1, 7}).String() || rows[0][5] != "1" {
		t.Errorf("%q", rows)
	}
	rows = b.table("/zh/dashboard/MA.156.1301/data.csv?indicator=" + pm25 + "&station=all")
	if len(rows) != 20 || rows[0][8] != "" || rows[0][10] != "40.5" || rows[0][11] != "39.5" || rows[0][12] != "42.5" || rows[0][13] != "" || rows[0][5] != "2" {
		t.Errorf("%q", rows)
	}
	rows = b.table("/en/dashboard/MA.156.1301/data.csv?table=stations&indicator=" + pm25)
	if len(rows) != 2 || rows[1][6] != "80.1" {
		t.Errorf("%q", rows)
	}
}

// table reads a CSV file, without its heading.
func (b *browser) table(path string) [][]string {
	b.Helper()
	a := b.get(path)
	if a.status != 200 || !strings.HasPrefix(a.header.Get("Content-Disposition"), "attachment") || !strings.HasPrefix(a.header.Get("Content-Type"), "text/csv") {
		b.Fatalf("%s: %d %v %.200s", path, a.status, a.header, a.body)
	}
	rows, err := csv.NewReader(strings.NewReader(strings.TrimPrefix(a.body, "\ufeff"))).ReadAll()
	if err != nil {
		b.Fatal(err)
	}
	for _, row := range rows {
		for i := range row {
			row[i] = strings.TrimSpace(row[i])
		}
	}
	return rows[1:]
}

// TestDashboardMembers keeps a dashboard that is not public for the city's own.
func TestDashboardMembers(t *testing.T) {
	g := script(t, sjz)
	g.public = false
	w := boardWorld(t, g)
	paths := []string{"", "?indicator=" + pm25, "/data.csv", "/replay?minute=2026-11-24T08:15:00Z", "/evidence/" + strings.Repeat("1", 64)}
	visitor, stranger, officer := w.browser(), w.browser(), w.browser()
	stranger.signIn(urbanKey)
	officer.signIn(cityKey)
	for _, path := range paths {
		path = "/en/dashboard/MA.156.1301" + path
		if a := visitor.get(path); a.status != http.StatusSeeOther || !strings.Contains(a.header.Get("Location"), "/sign-in?next="+url.QueryEscape(path)) || strings.Contains(a.body, "64.70") {
			t.Errorf("%s for a visitor: %d %s", path, a.status, a.header.Get("Location"))
		}
		if body := stranger.holds(path, 403, "not public", "Shijiazhuang"); strings.Contains(body, "64.70") {
			t.Errorf("%s is shown to a stranger", path)
		}
	}
	officer.holds("/en/dashboard/MA.156.1301", 200, "64.70", "For members of the city")
	if a := officer.get("/en/dashboard/MA.156.1301"); a.header.Get("Cache-Control") != "no-store" {
		t.Errorf("Cache-Control %q", a.header.Get("Cache-Control"))
	}
	officer.holds("/en/code/MA.156.1301", 200, "/en/dashboard/MA.156.1301")
	officer.holds("/en/compare?cities=MA.156.1301&indicator="+pm25, 200, "Shijiazhuang", "<svg")
	for _, b := range []*browser{visitor, stranger} {
		b.holds("/en/code/MA.156.1301", 200, "!/en/dashboard/")
		b.holds("/en/", 200, "!/en/dashboard/")
		b.holds("/en/compare?cities=MA.156.1301&indicator="+pm25, 200, "no data to compare", "!class=\"trend\"")
	}
}

// TestDashboardBroken tells what is wrong with a gateway, and shows nothing of what it
// answers.
func TestDashboardBroken(t *testing.T) {
	for name, c := range map[string]struct {
		broken http.HandlerFunc
		en, zh string
	}{
		"silent": {func(w http.ResponseWriter, _ *http.Request) { panic(http.ErrAbortHandler) }, "does not answer", "没有应答"},
		"lying": {func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/v1/status" {
				fmt.Fprint(w, `{"party":"MA.156.1301","public":true}`)
				return
			}
			fmt.Fprint(w, `{"observations":[{"dataset":"MA.156.1301/30.990101/A","indicator":"<script>alert(1)</script>","time":"2026-11-24T08:15:00Z","value":"1"}]}`)
		}, "can not be", "不可能成立"},
		"of another city": {func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, `{"party":"MA.156.1302","public":true}`) }, "can not be", "不可能成立"},
	} {
		t.Run(name, func(t *testing.T) {
			g := script(t, sjz)
			g.broken = c.broken
			w := boardWorld(t, g)
			b := w.browser()
			for _, path := range []string{"/en/dashboard/MA.156.1301", "/en/dashboard/MA.156.1301?indicator=" + pm25} {
				if body := b.holds(path, 503, c.en, "Shijiazhuang", "There is nothing to show now"); strings.Contains(body, "<script>alert") {
					t.Error("markup is let through")
				}
			}
			b.holds("/zh/dashboard/MA.156.1301", 503, c.zh, "石家庄市")
			b.holds("/en/dashboard/MA.156.1301/data.csv", 503)
			b.holds("/en/dashboard/MA.156.1301/replay?minute=2026-11-24T08:15:00Z", 503)
			b.holds("/en/compare?cities=MA.156.1301&indicator="+pm25, 200, c.en)
			b.holds("/en/compare/data.csv?cities=MA.156.1301&indicator="+pm25, 503)
			b.holds("/en/", 200)
			b.holds("/en/code/MA.156.1301", 200)
		})
	}
	g := script(t, sjz)
	series := g.series
	g.series = func(url.Values) portal.Series { return portal.Series{Lines: []portal.Line{{}}} }
	b := boardWorld(t, g).browser()
	b.holds("/en/dashboard/MA.156.1301", 200, "64.70", "Some lines are missing")
	b.holds("/en/dashboard/MA.156.1301?indicator="+pm25, 200, "64.70", "Some lines are missing")
	b.holds("/en/dashboard/MA.156.1301/data.csv?indicator="+pm25, 503)
	g.series = series
	g.latest.Now = time.Now().Add(-time.Hour)
	boardWorld(t, g).browser().holds("/en/dashboard/MA.156.1301", 200, "The gateway's clock shows")
}

// TestDashboardHostile shows texts of other cities as texts.
func TestDashboardHostile(t *testing.T) {
	g := script(t, sjz)
	evil := observed(sjz, "-1:x.y", "12345678901234567890.1234567890", `"><img/src=x/onerror=alert(1)>`, 5, time.Minute)
	formula := observed(sjz, "37120:2018:1.1", "-1", `=HYPERLINK("http://x")`, 6, time.Minute)
	g.latest.Observations = append(g.latest.Observations, evil, formula)
	b := boardWorld(t, g).browser()
	for _, path := range []string{"", "?indicator=" + url.QueryEscape(evil.Indicator), "?indicator=" + formula.Indicator, "?indicator=" + url.QueryEscape(`"><img/src=x>`), "?indicator=" + pm25 + "&range=" + url.QueryEscape("<img/src=x>")} {
		if a := b.get("/en/dashboard/MA.156.1301" + path); strings.Contains(a.body, "<img/src") || strings.Contains(a.body, "onerror=alert(1)>\"") {
			t.Errorf("%s lets markup through", path)
		}
	}
	b.holds("/en/dashboard/MA.156.1301", 200, "12345678901234567890.1234567890")
	b.holds("/en/compare?cities=MA.156.1301&indicator="+url.QueryEscape(evil.Indicator), 200)
	for _, path := range []string{"?cities=" + url.QueryEscape("<b>"), "?indicator=" + url.QueryEscape("<b>"), "?range=x"} {
		b.holds("/en/compare"+path, 400)
	}
	for _, row := range b.table("/en/dashboard/MA.156.1301/data.csv") {
		for _, cell := range row {
			if strings.HasPrefix(cell, "=") || strings.HasPrefix(cell, "-1:") {
				t.Errorf("a spreadsheet would carry out %q", cell)
			}
		}
	}
}

// TestCompare lines up two cities, and keeps units apart.
func TestCompare(t *testing.T) {
	one, two := script(t, sjz), script(t, neighbour)
	two.latest.Observations[2].Unit = "mg/L"
	shared := observed(cityid.MustParse("MA.156.1303"), pm25, "12", "ug/m3", 3, time.Minute)
	two.latest.Observations = append(two.latest.Observations, shared)
	b := boardWorld(t, one, two).browser()
	at := "/en/compare?cities=MA.156.1301,MA.156.1302&indicator="
	body := b.holds(at+pm25, 200, "Shijiazhuang", "MA.156.1302", "2 stations", "Mean (computed)", "!share no axis", "legend", "Own")
	if n := strings.Count(body, `class="trend"`); n != 1 {
		t.Errorf("%d charts", n)
	}
	if n := strings.Count(body, `class="line line-`); n != 2*3 { // in the chart, its legend and the table
		t.Errorf("%d lines", n)
	}
	body = b.holds(at+turbidity, 200, "share no axis", "mg/L", "NTU")
	if n := strings.Count(body, `class="trend"`); n != 2 {
		t.Errorf("%d charts for two units", n)
	}
	b.holds("/zh/compare?cities=MA.156.1301&cities=MA.156.1303&indicator="+pm25, 200, "MA.156.1303", "经由MA.156.1302的数据网关", "MA.156.1303共享")
	b.holds(at+"37120:2018:99.1", 200, "Without this indicator", "!class=\"trend\"")
	b.holds("/en/compare", 200, "MA.156.1303", "Fine particles", "!class=\"trend\"")
	if !slices.ContainsFunc(one.questions(), func(s string) bool {
		return strings.Contains(s, "combine=sources") && strings.Contains(s, "points=288")
	}) {
		t.Errorf("asked for %v", one.questions())
	}
	rows := b.table("/en/compare/data.csv?cities=MA.156.1301,MA.156.1302&indicator=" + turbidity)
	if len(rows) != 40 || rows[0][8] != "[NTU]" || rows[39][8] != "mg/L" || rows[0][9] != "40.5" || rows[39][0] != "MA.156.1302" {
		t.Errorf("%q", rows)
	}
	b.holds("/en/compare?cities=MA.156.1301,MA.156.1302,MA.156.1303,MA.156.1304,MA.156.1305,MA.156.1306,MA.156.1307,MA.156.1308&indicator="+pm25, 200, "MA.156.1308")
	// One gateway fails: the other city is shown, and the page says so.
	two.broken = func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) }
	c := boardWorld(t, one, two).browser()
	c.holds(at+pm25, 200, "gateway of MA.156.1302 does not answer", "Without this indicator: MA.156.1302", "<svg")
}

// TestReplay shows a past minute with its fetches, and hands on their evidence.
func TestReplay(t *testing.T) {
	g := script(t, sjz)
	minute := mustTime("2026-11-24T08:15:00Z")
	before, now := observed(neighbour, pm25, "7.00", "ug/m3", 1, 0), observed(neighbour, pm25, "7.25", "ug/m3", 1, 0)
	before.Time, now.Time, before.Replaced = cityid.TimeOf(minute), cityid.TimeOf(minute), true
	entry := cityid.Digest{9}
	before.Entry, now.Entry = cityid.Digest{}, entry
	g.replay = portal.Replay{Minute: minute, Observations: []portal.Observed{now, before}, More: true, Now: time.Now(), Fetches: []portal.ReplayedFetch{{
		Entry: entry, Agreement: cityid.Digest{3}, Provider: neighbour, Acknowledged: true, Anchored: cityid.TimeOf(minute.Add(time.Minute)), Batch: 4, PeerLog: "gw-2", PeerBatch: 5,
		Receipt: ledger.Receipt{Version: 1, Agreement: cityid.Digest{3}, Dataset: now.Dataset, Provider: neighbour, Log: "gw-2", Number: 1234, Request: cityid.Digest{4}, Status: 200, Size: 2822, Content: cityid.Digest{5}, Time: cityid.TimeOf(minute), Height: 77},
	}}}
	b := boardWorld(t, g).browser()
	at := "/en/dashboard/MA.156.1301/replay?minute=2026-11-24T08:15:42Z&indicator=" + pm25
	b.holds(at, 200, "24 Nov 2026, 16:15", "7.25", "7.00", "Corrected later", "Receipt no longer kept", "number 1,234 in log gw-2", "2,822 octets", "Acknowledged", "batch 4", "log gw-2, batch 5",
		"/en/chain/block/77", "/en/dashboard/MA.156.1301/evidence/"+entry.String(), "cityid evidence verify "+entry.String()[:16]+".evidence --trust trust.json", "minute=2026-11-24T08%3A14%3A00Z", "minute=2026-11-24T08%3A16%3A00Z", "There are more")
	b.holds(strings.Replace(at, "/en/", "/zh/", 1), 200, "2026年11月24日 16:15", "已更正", "已确认收到")
	if a := b.get("/en/dashboard/MA.156.1301/replay?at=2026-11-24T16:15&indicator=" + pm25); a.status != http.StatusSeeOther || !strings.Contains(a.header.Get("Location"), "minute=2026-11-24T08%3A15%3A00Z") || strings.Contains(a.header.Get("Location"), "at=") {
		t.Errorf("%d %s", a.status, a.header.Get("Location"))
	}
	for _, query := range []string{"", "minute=yesterday", "minute=1969-01-01T00:00:00Z", "at=x", "minute=2026-11-24T08:15:00Z&dataset=!", "minute=2026-11-24T08:15:00Z&indicator=%3Cb%3E"} {
		b.holds("/en/dashboard/MA.156.1301/replay?"+query, 400)
	}
	a := b.get("/en/dashboard/MA.156.1301/evidence/" + entry.String())
	if a.status != 200 || a.body != "evidence of "+entry.String() || a.header.Get("Content-Type") != "application/vnd.cityid.evidence+cbor" || !strings.Contains(a.header.Get("Content-Disposition"), entry.String()[:16]+".evidence") {
		t.Errorf("%d %v %s", a.status, a.header, a.body)
	}
	b.holds("/en/dashboard/MA.156.1301/evidence/1", 404)
	b.holds("/en/dashboard/MA.156.1301/evidence/", 404)
	g.replay = portal.Replay{Minute: minute, Now: time.Now()}
	b.holds(at, 200, "No observation of this minute is kept")
}

func mustTime(s string) time.Time {
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		panic(err)
	}
	return t
}
