// SPDX-License-Identifier: Apache-2.0

package portal_test

import (
	"net/url"
	"strconv"
	"strings"
	"testing"

	"cityid"
)

// TestReading looks at the pages that everybody may read, in both languages.
func TestReading(t *testing.T) {
	w := newWorld(t)
	b := w.browser()
	for _, c := range []struct {
		path   string
		status int
		want   []string
	}{
		{"/zh/", 200, []string{"查询城市标识", "石家庄市", `lang="zh-CN"`}},
		{"/en/", 200, []string{"Look up a city ID", "Shijiazhuang", `lang="en"`}},
		{"/en/search", 200, []string{"You can type"}},
		{"/en/search?q=Shijiaz", 200, []string{"MA.156.1301", "Hebei"}},
		{"/zh/search?q=%E4%BA%A4%E9%80%9A", 200, []string{"交通管理局", "MA.156.1301.02"}},
		{"/en/search?q=nothing-like-it", 200, []string{"Nothing found"}},
		{"/en/search?q=MA.156.1301", 303, nil},
		{"/en/search?kind=city&below=MA.156.13", 200, []string{"Shijiazhuang"}},
		{"/en/search?kind=moon", 400, []string{"moon"}},
		{"/en/search?near=38.04,114.5", 200, []string{"Shijiazhuang", "646 m", "Hebei"}},
		{"/zh/search?near=39.04,114.5&kind=city", 200, []string{"石家庄市", "110.6 公里"}},
		{"/en/search?near=here", 400, []string{"latitude"}},
		{"/en/code/MA.156.1301", 200, []string{"Shijiazhuang", "MA.156.1301*", "130100", "Urban Management", "<svg"}},
		{"/en/code/ma.156.1301", 308, nil},
		{"/zh/code/MA.156.1301?view=history", 200, []string{"分配标识"}},
		{"/en/code/MA.156.1301?view=json", 200, []string{"&#34;revision&#34;: 1"}},
		{"/en/code/MA.156.1301?view=cli", 200, []string{"cityid resolve MA.156.1301"}},
		{"/en/code/MA.156.1301?view=proof", 200, []string{"/v1/bundles/MA.156.1301"}},
		{"/en/code/MA.156.9999", 404, []string{"is not allocated"}},
		{"/en/code/!", 404, []string{"Not found"}},
		{"/en/map", 200, []string{"<svg", "Shijiazhuang"}},
		{"/en/map?box=1,2,3", 400, []string{"map section"}},
		{"/en/about", 200, []string{"About"}},
		{"/en/nowhere", 404, []string{"no such page"}},
		{"/zh/nowhere", 404, []string{"没有这个页面"}},
		{"/zh/MA.156.1301", 308, nil},
		{"/", 303, nil},
	} {
		a := b.get(c.path)
		if a.status != c.status {
			t.Errorf("%s: status %d, want %d", c.path, a.status, c.status)
		}
		for _, want := range c.want {
			if !strings.Contains(a.body, want) {
				t.Errorf("%s lacks %q", c.path, want)
			}
		}
		if i := strings.Index(a.body, "⟦"); i >= 0 {
			t.Errorf("%s lacks a text: %.60s", c.path, a.body[i:])
		}
		if a.status != 303 && a.status != 308 {
			csp := a.header.Get("Content-Security-Policy")
			if !strings.Contains(csp, "default-src 'none'") || strings.Contains(csp, "unsafe") || !strings.Contains(csp, "frame-ancestors 'none'") {
				t.Errorf("%s: content security policy %q", c.path, csp)
			}
			if strings.Contains(a.body, " style=") || strings.Contains(a.body, "<style") || strings.Contains(a.body, " onclick") {
				t.Errorf("%s has an inline style or handler, which its own policy forbids", c.path)
			}
		}
	}
}

// TestLanguage greets visitors in their language and remembers the one they
// chose.
func TestLanguage(t *testing.T) {
	w := newWorld(t)
	for accept, want := range map[string]string{"": "/zh/", "zh-CN,zh;q=0.9,en;q=0.8": "/zh/", "en-GB": "/en/", "de-DE": "/en/", "zh-TW": "/zh/", "nonsense;;": "/zh/"} {
		if got := w.browser().get("/", "Accept-Language", accept).header.Get("Location"); got != want {
			t.Errorf("Accept-Language %q: %s, want %s", accept, got, want)
		}
	}
	b := w.browser()
	b.get("/en/about")
	if got := b.get("/", "Accept-Language", "zh").header.Get("Location"); got != "/en/" {
		t.Errorf("after a visit in English: %s", got)
	}
}

// TestRetired keeps the page of a retired code, and names its heir.
func TestRetired(t *testing.T) {
	w := newWorld(t)
	w.record([]cityid.Signer{cityKey, trafficKey}, cityid.Operation{SetStatus: &cityid.SetStatus{
		Code: urban, Revision: 1, Status: cityid.StatusRetired, Reason: cityid.ReasonMerged, Successors: []cityid.Code{traffic},
	}})
	a := w.browser().get("/en/code/" + urban.String())
	if a.status != 410 {
		t.Errorf("status %d, want 410", a.status)
	}
	for _, want := range []string{"This code is retired", "Traffic Management MA.156.1301.02"} {
		if !strings.Contains(a.body, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
}

// TestInjection shows what people wrote into records as text, whatever it is.
func TestInjection(t *testing.T) {
	w := newWorld(t)
	evil := `<script>alert(1)</script>"'><img src=x onerror=alert(1)>`
	class := cityid.Allocation{Code: lampClass, Kind: cityid.KindClass}
	lamp := cityid.Allocation{Code: cityid.MustParse(lampClass.String() + "/000001"), Kind: cityid.KindObject, Content: named(evil, evil)}
	w.record([]cityid.Signer{trafficKey}, cityid.Operation{Allocate: &cityid.Allocate{Items: []cityid.Allocation{class, lamp}}})
	b := w.browser()
	for _, path := range []string{
		"/en/code/" + lamp.Code.String(), "/en/code/" + lamp.Code.String() + "?view=json", "/en/code/" + lampClass.String(),
		"/en/search?q=script", "/en/search?q=" + url.QueryEscape(evil), "/en/map?kind=object", "/en/",
		"/en/code/" + lamp.Code.String() + "?view=" + url.QueryEscape(evil), "/en/map?below=" + url.QueryEscape(evil), "/en/sign-in?next=" + url.QueryEscape(evil),
	} {
		if a := b.get(path); strings.Contains(a.body, "<script>alert") || strings.Contains(a.body, "<img src=x") {
			t.Errorf("%s lets markup through", path)
		}
	}
}

// TestChain shows what happened, in words.
func TestChain(t *testing.T) {
	w := newWorld(t)
	r := w.record([]cityid.Signer{urbanKey}, cityid.Operation{Amend: &cityid.Amend{Code: urban, Revision: 1, Content: named("城管局", "City Management")}})
	id, height := r.ID.String(), strconv.FormatUint(r.Height, 10)
	b := w.browser()
	for path, want := range map[string][]string{
		"/en/chain":                     {"/en/chain/block/" + height, "Rules and settings"},
		"/en/chain/block/" + height:     {"/en/chain/tx/" + id, "MA.156.1301.01"},
		"/en/chain/tx/" + id:            {"City Management", "Applied", id},
		"/zh/chain/tx/" + id:            {"城管局"},
		"/en/chain/rules":               {"Department", "gb2260"},
		"/en/chain?before=2":            {"No transactions yet"},
		"/en/chain/tx/" + id[:60] + "0": {"no transaction id"},
		"/en/chain/block/99999999":      {"Not found"},
	} {
		a := b.get(path)
		for _, x := range want {
			if !strings.Contains(a.body, x) {
				t.Errorf("%s lacks %q", path, x)
			}
		}
		if strings.Contains(a.body, "⟦") {
			t.Errorf("%s lacks a text", path)
		}
	}
	for q, want := range map[string]string{height: "/en/chain/block/" + height, id: "/en/chain/tx/" + id, "MA.156.1301": "/en/search?q=MA.156.1301"} {
		if got := b.get("/en/chain/find?q=" + q).header.Get("Location"); got != want {
			t.Errorf("find %s: %s, want %s", q, got, want)
		}
	}
}

// TestPlannedUpgrade shows what the institutes planned, and whether this node's program
// is prepared for it.
func TestPlannedUpgrade(t *testing.T) {
	w := newWorld(t)
	b := w.browser()
	if a := b.get("/en/chain"); strings.Contains(a.body, "Upgrade planned") || !strings.Contains(a.body, "<dd>version 1</dd>") {
		t.Error("a node without a plan shows one, or no rules")
	}
	w.record([]cityid.Signer{officer(0, 0), officer(1, 0)}, cityid.Operation{SetUpgrade: &cityid.SetUpgrade{Plan: &cityid.Upgrade{
		Version: 2, Height: 5000, Release: "cityid <2>", Href: "https://example.cn/cityid-2",
	}}})
	for path, want := range map[string][]string{
		"/en/chain": {"Upgrade planned", "from block 5000 on, follow version 2 of the rules", "cityid &lt;2&gt;", "https://example.cn/cityid-2", "lacks that version"},
		"/zh/chain": {"已安排的升级", "自区块 5000 起采用第 2 版规则", "没有这一版规则"},
	} {
		a := b.get(path)
		for _, x := range want {
			if !strings.Contains(a.body, x) {
				t.Errorf("%s lacks %q", path, x)
			}
		}
	}
}
