// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"
)

// screens writes a picture of every page into a folder:
//
//	go test ./cmd/cityid -run TestScreens -screens ../../screenshots
var (
	screens = flag.String("screens", "", "folder for pictures of every page, in both languages and at two widths")
	only    = flag.String("only", "", "regular expression for the names of the pages to look at")
)

// screen is one page to look at.
type screen struct {
	name, path string
	host       string // "": localhost
	key        string // test key to sign in with; "": nobody
}

// screenMark is the source mark of docs/formats.md, whose key the demo lacks.
const screenMark = "HTTPS://ID.EXAMPLE/X/48243783768291051195228179715536136208721269870097342769092507632134414889779918053387348856051260728068477660744809873011939684077514560853014025015691590068381489991060580555878827946898523110231617772142029880698094757571546056700817424751220609187009847653166339363764825587441580462272598857421566085958448649011809525039073054124959548509198272028452256162340608256"

// allScreens are the pages of a demo that somebody can open by address.
var allScreens = []screen{
	{name: "home", path: "/"},
	{name: "search", path: "/search"},
	{name: "search-hits", path: "/search?q=路"},
	{name: "search-none", path: "/search?q=nothing-like-it"},
	{name: "map", path: "/map"},
	{name: "map-city", path: "/map?box=37.9,114.3,38.2,114.7&kind=object"},
	{name: "code-city", path: "/code/MA.156.1301"},
	{name: "code-department", path: "/code/MA.156.1301.02"},
	{name: "code-object", path: "/code/MA.156.1301.02/20.010501/000001"},
	{name: "code-history", path: "/code/MA.156.1301?view=history"},
	{name: "code-json", path: "/code/MA.156.1301?view=json"},
	{name: "code-cli", path: "/code/MA.156.1301?view=cli"},
	{name: "code-proof", path: "/code/MA.156.1301?view=proof"},
	{name: "code-absent", path: "/code/MA.156.9999"},
	{name: "report", path: "/report/MA.156.1301.02/20.010501/000001"},
	{name: "report-absent", path: "/report/MA.156.9999"},
	{name: "receipt-wrong", path: "/receipt/1?token=0"},
	{name: "data", path: "/data"},
	{name: "data-chosen", path: "/data?class=conditional&class=open&format=JSON&q=130100"},
	{name: "data-none", path: "/data?q=nothing-like-it"},
	{name: "data-dataset", path: "/data/MA.156.1301/30.990101/INDICATORS"},
	{name: "data-open", path: "/data/MA.156.1301/30.990101/LAMPS"},
	{name: "data-signed-in", path: "/data/MA.156.1301/30.990101/INDICATORS", key: "urban-1"},
	{name: "code-dataset", path: "/code/MA.156.1301/30.990101/INDICATORS"},
	{name: "chain", path: "/chain"},
	{name: "chain-all", path: "/chain?all=1"},
	{name: "chain-block", path: "/chain/block/3"},
	{name: "chain-rules", path: "/chain/rules"},
	{name: "verify", path: "/verify"},
	{name: "verify-code", path: "/verify?code=MA.156.1301"},
	{name: "verify-absent", path: "/verify?code=MA.156.9999"},
	{name: "verify-mark", path: "/verify?text=" + screenMark},
	{name: "attestation-none", path: "/attestation?source=MA.156.1301.01&digest=" + strings.Repeat("07", 32)},
	{name: "apply", path: "/apply"},
	{name: "prove", path: "/prove"},
	{name: "review", path: "/review"},
	{name: "review-all", path: "/review?state=all"},
	{name: "review-mine", path: "/review?state=mine", host: "b.localhost", key: "institute-b-1"},
	{name: "review-one", path: "/review/300"},
	{name: "intake", path: "/intake", host: "b.localhost", key: "institute-b-1"},
	{name: "officers", path: "/officers", host: "b.localhost", key: "institute-b-1"},
	{name: "officers-over", path: "/officers/1/hand-over", host: "b.localhost", key: "institute-b-1"},
	{name: "credential", path: "/account/credential", host: "b.localhost", key: "institute-b-1"},
	{name: "work-policy", path: "/work/MA.156.1301/policy", key: "shijiazhuang-1"},
	{name: "share", path: "/work/MA.156.1301/agreements", key: "shijiazhuang-1"},
	{name: "share-force", path: "/work/MA.156.12/agreements?side=asked&state=force", key: "tianjin-1"},
	{name: "share-which", path: "/work/MA.156.12/agreements/new", key: "tianjin-1"},
	{name: "share-ask", path: "/work/MA.156.12/agreements/new?dataset=MA.156.1301/30.990101/INDICATORS", key: "tianjin-1"},
	{name: "share-ask-open", path: "/work/MA.156.12/agreements/new?dataset=MA.156.1301/30.990101/LAMPS", key: "tianjin-1"},
	{name: "share-refused", path: "/work/MA.156.1301/agreements", key: "urban-1"},
	{name: "dashboard", path: "/dashboard/MA.156.1301"},
	{name: "dashboard-one", path: "/dashboard/MA.156.1301?indicator=37120:2018:8.1"},
	{name: "dashboard-all", path: "/dashboard/MA.156.1301?indicator=37120:2018:23.5&range=7d&station=all"},
	{name: "dashboard-absent", path: "/dashboard/MA.156.13"},
	{name: "dashboard-replay", path: "/dashboard/MA.156.1301/replay?minute=MINUTE&indicator=37120:2018:8.1"},
	{name: "dashboard-replay-all", path: "/dashboard/MA.156.12/replay?minute=MINUTE"},
	{name: "compare", path: "/compare"},
	{name: "compare-two", path: "/compare?cities=MA.156.1301,MA.156.12&indicator=37120:2018:8.1"},
	{name: "about", path: "/about"},
	{name: "not-found", path: "/nowhere"},
	{name: "sign-in", path: "/sign-in"},
	{name: "account", path: "/account", key: "shijiazhuang-1"},
	{name: "work-visitor", path: "/work"},
	{name: "work", path: "/work", key: "shijiazhuang-1"},
	{name: "work-city", path: "/work/MA.156.1301", key: "shijiazhuang-1"},
	{name: "work-department", path: "/work/MA.156.1301.01", key: "urban-1"},
	{name: "work-refused", path: "/work/MA.156.1301/amend", key: "urban-1"},
	{name: "work-allocate", path: "/work/MA.156.1301/allocate?kind=department", key: "shijiazhuang-1"},
	{name: "work-many", path: "/work/MA.156.1301.01/many", key: "urban-1"},
	{name: "work-amend", path: "/work/MA.156.1301/amend", key: "shijiazhuang-1"},
	{name: "work-links", path: "/work/MA.156.1301.01/links", key: "urban-1"},
	{name: "work-hosts", path: "/work/MA.156.1301/hosts", key: "shijiazhuang-1"},
	{name: "work-status", path: "/work/MA.156.1301.02/status?to=retired", key: "shijiazhuang-1"},
	{name: "work-audit", path: "/work/MA.156.1301/audit", key: "shijiazhuang-1"},
	{name: "work-reports", path: "/work/MA.156.1301.02/reports", key: "traffic-1"},
	{name: "work-sealed", path: "/work/MA.156.1301.02/sealed", key: "traffic-1"},
	{name: "work-reports-city", path: "/work/MA.156.1301/reports?show=all", key: "shijiazhuang-1"},
	{name: "work-aliases", path: "/work/MA.156.1301/aliases", key: "shijiazhuang-1"},
	{name: "labels", path: "/labels", key: "traffic-1"},
	{name: "labels-below", path: "/labels?below=MA.156.1301.02", key: "traffic-1"},
	{name: "labels-runs", path: "/labels/runs", key: "traffic-1"},
	{name: "field", path: "/field", key: "traffic-field"},
	{name: "field-log", path: "/field/log", key: "traffic-field"},
	{name: "labels-certificate", path: "/labels/certificate?code=MA.156.1301.02", key: "traffic-1"},
}

// maxTransfer is the most octets a page may take on a first visit, all its files
// included.
const maxTransfer = 150_000

// axeFile is the accessibility checker, which scripts/test fetches.
func axeFile(t *testing.T) string {
	b, err := os.ReadFile(filepath.Join("..", "..", ".cache", "node_modules", "axe-core", "axe.min.js"))
	if err == nil {
		return string(b)
	}
	if os.Getenv("CI") != "" {
		t.Fatal("there is no axe-core; scripts/test fetches it")
	}
	t.Log("there is no axe-core: pages are not checked for accessibility; scripts/test fetches it")
	return ""
}

// TestScreens opens every page in both languages, at the width of a desktop and
// of a phone. None may be wider than its window, take more than maxTransfer, or
// have a serious problem of accessibility; and with -screens each is drawn.
func TestScreens(t *testing.T) {
	if testing.Short() {
		t.Skip("a browser and a demo take a while")
	}
	t.Parallel()
	chromium(t)
	axe := axeFile(t)
	wanted := regexp.MustCompile(*only)
	d := startDemo(t)
	d.awaitBoards(t)
	for _, lang := range []string{"zh", "en"} {
		t.Run(lang, func(t *testing.T) {
			t.Parallel()
			w := &watched{T: t, lang: lang, axe: axe, demo: d, browser: startBrowser(t), people: map[string]*tab{}}
			for _, s := range allScreens {
				if wanted.MatchString(s.name) {
					w.look(s)
				}
			}
			t.Logf("largest page: %s with %.0f octets; slowest first render: %s after %.0f ms", w.largest, w.octets, w.slowest, w.render)
		})
	}
}

// watched looks at pages in one language.
type watched struct {
	*testing.T
	lang, axe string
	demo      *runningDemo
	browser   *browser
	people    map[string]*tab // by host and key

	largest, slowest string
	octets, render   float64
}

// look opens a screen at both widths.
func (w *watched) look(s screen) {
	if s.host == "" {
		s.host = "localhost"
	}
	who := w.people[s.host+" "+s.key]
	if who == nil {
		who = w.browser.tab(strings.TrimSpace(s.key + " at " + s.host))
		// Every visit counts as a first one.
		call(who, network.SetCacheDisabled, network.SetCacheDisabledParams{CacheDisabled: true})
		if w.people[s.host+" "+s.key] = who; s.key != "" {
			who.signInWith(w.demo.at(s.host), w.lang, s.key)
		}
	}
	for _, width := range []int64{1280, 390} {
		who.viewport(width, 900)
		who.open(w.demo.at(s.host) + "/" + w.lang + strings.Replace(s.path, "MINUTE", time.Now().Add(-time.Hour).UTC().Format("2006-01-02T15:04:00Z"), 1))
		name := fmt.Sprintf("%s-%s-%d", s.name, w.lang, width)
		if at := eval[float64](who, `performance.getEntriesByName("first-contentful-paint")[0]?.startTime ?? 0`); at > w.render {
			w.render, w.slowest = at, name
		}
		if octets := who.transferred(); octets > w.octets {
			w.octets, w.largest = octets, name
		}
		if w.octets > maxTransfer {
			w.Errorf("%s: %.0f octets were transferred, at most %d", w.largest, w.octets, maxTransfer)
		}
		who.check(name, w.axe)
	}
}

// look holds the page a person is on against what every page must be, at two
// widths; with -screens it is drawn.
func (t *tab) look(name, axe string) {
	t.Helper()
	for _, width := range []int64{390, 1280} {
		t.viewport(width, 900)
		t.check(fmt.Sprintf("%s-%d", name, width), axe)
	}
}

// check does so at the width there is.
func (t *tab) check(name, axe string) {
	t.Helper()
	over := eval[float64](t, "document.documentElement.scrollWidth - innerWidth")
	for end := time.Now().Add(2 * time.Second); over > 0 && time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		over = eval[float64](t, "document.documentElement.scrollWidth - innerWidth") // it may still be laid out
	}
	if over > 0 {
		wide := eval[string](t, `[...document.querySelectorAll("body *")].filter(e => {
			for (let up = e.parentElement; up; up = up.parentElement) if (getComputedStyle(up).overflowX != "visible") return false;
			return e.getBoundingClientRect().right > innerWidth + 1;
		}).map(e => e.tagName + "#" + e.id + "." + e.className).slice(0, 8).join(" ")`)
		t.Errorf("%s: the page is %.0f pixels wider than its window: %s", name, over, wide)
	}
	if text := eval[string](t, "document.body.innerText"); strings.Contains(text, "⟦") {
		t.Errorf("%s lacks a text", name)
	}
	if axe != "" {
		t.accessible(name, axe)
	}
	if *screens != "" {
		t.draw(name)
	}
}

// accessible runs axe-core over the page.
func (t *tab) accessible(name, axe string) {
	t.Helper()
	do(t, "load axe-core", chromedp.Evaluate[chromedp.Void](axe+";0"))
	report := eval[string](t, `axe.run(document, { resultTypes: ["violations"] }).then((r) => JSON.stringify(r.violations.map((v) => ({ id: v.id, impact: v.impact, help: v.help, nodes: v.nodes.slice(0, 3).map((n) => n.html.slice(0, 200)) }))))`)
	var found []struct {
		ID, Impact, Help string
		Nodes            []string
	}
	if err := json.Unmarshal([]byte(report), &found); err != nil {
		t.Fatal(err)
	}
	for _, v := range found {
		if v.Impact == "serious" || v.Impact == "critical" {
			t.Errorf("%s: %s (%s): %s\n  %s", name, v.ID, v.Impact, v.Help, strings.Join(v.Nodes, "\n  "))
		}
	}
}

// draw writes a picture of the whole page.
func (t *tab) draw(name string) {
	t.Helper()
	if err := os.MkdirAll(*screens, 0o755); err != nil {
		t.Fatal(err)
	}
	png := do(t, "draw "+name, chromedp.FullScreenshot(100))
	if err := os.WriteFile(filepath.Join(*screens, name+".png"), png, 0o644); err != nil {
		t.Fatal(err)
	}
}
