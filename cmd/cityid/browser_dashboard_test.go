// SPDX-License-Identifier: Apache-2.0

package main

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// awaitBoards waits until the gateways of the demo have brought all that is on the
// dashboards: eight indicators of either city on each, drawn, none of them late.
func (d *runningDemo) awaitBoards(t testing.TB) {
	t.Helper()
	for end := time.Now().Add(3 * time.Minute); ; time.Sleep(100 * time.Millisecond) {
		ready := true
		for _, code := range []string{"MA.156.1301", "MA.156.12"} {
			r, err := http.Get(d.url + "/en/dashboard/" + code)
			if err != nil {
				t.Fatal(err)
			}
			b, err := io.ReadAll(r.Body)
			r.Body.Close()
			if err != nil {
				t.Fatal(err)
			}
			ready = ready && strings.Count(string(b), `<li class="tile `) == 16 && strings.Count(string(b), `id="spark-`) == 32 && !strings.Contains(string(b), "Late: ")
		}
		if ready {
			return
		}
		if time.Now().After(end) {
			t.Fatal("the dashboards do not fill")
		}
	}
}

// TestDashboards reads dashboards, a comparison and a past minute, with scripts and
// without, in both languages.
func TestDashboards(t *testing.T) {
	if testing.Short() {
		t.Skip("a browser and a demo take a while")
	}
	t.Parallel()
	chromium(t)
	d := startDemo(t)
	d.awaitBoards(t)
	b := startBrowser(t)
	for lang, words := range map[string]struct{ verified, shared, week, mean, compare, observed, evidence string }{
		"zh": {"已核验", "天津市共享", "7 天", "平均（计算）", "比较城市", "这一分钟的观测值", "下载证据文件"},
		"en": {"Verified", "Shared by Tianjin", "7 days", "Mean (computed)", "Compare cities", "Observations of this minute", "Download the evidence"},
	} {
		for _, scripts := range []bool{false, true} {
			v := b.tab(map[bool]string{false: "reader without scripts, ", true: "reader, "}[scripts] + lang)
			v.scripts(scripts)
			v.open(d.url + "/" + lang + "/code/MA.156.1301")
			v.click(`a[href$="/dashboard/MA.156.1301"]`)
			v.has(words.verified)
			v.has(words.shared)
			if n := eval[float64](v, `document.querySelectorAll(".tile svg[role=img] title").length`); n != 16 {
				t.Errorf("%s: %v small pictures", lang, n)
			}
			if scripts { // what is shown keeps up by itself
				eval[string](v, `document.getElementById("board").dataset.before = "1"`)
				v.wait(`!document.getElementById("board").dataset.before`)
				v.has(words.verified)
			}
			v.click(`.tile-air h3 a`)
			v.wait(`document.querySelector(".trend path.line")`)
			v.follow(words.week)
			v.wait(`location.search.includes("range=7d") && document.querySelector(".trend path.line")`)
			v.fill("#station", "all")
			v.click(`.choose button`)
			v.wait(`location.search.includes("station=all") && location.search.includes("range=7d") && document.querySelector(".trend path.band")`)
			v.click(`details summary`)
			v.has(words.mean)
			v.follow(words.compare)
			v.wait(`location.pathname.endsWith("/compare") && document.querySelectorAll(".choose input[type=checkbox]").length == 2`)
			v.click(`input[value="MA.156.12"]`)
			v.click(`.choose button`)
			v.wait(`document.querySelectorAll(".trend path.line").length == 2 && document.querySelectorAll(".trend path.mark").length == 2 && document.querySelectorAll(".legend .key").length == 2`)
			v.open(d.url + "/" + lang + "/dashboard/MA.156.12")
			v.click(`.tile-energy p a[href*="/replay"]`)
			v.has(words.observed)
			v.has(words.evidence)
			if n := eval[float64](v, `document.querySelectorAll("table tbody tr").length`); n != 3 {
				t.Errorf("%s: %v observations of a minute", lang, n)
			}
		}
	}
}
