// SPDX-License-Identifier: Apache-2.0

package main

import "testing"

// TestDataInBrowser finds a dataset in the catalogue, with and without scripts and
// in both languages, compares what is served with the digest on the page, and asks
// for access.
func TestDataInBrowser(t *testing.T) {
	if testing.Short() {
		t.Skip("a browser and a demo take a while")
	}
	t.Parallel()
	chromium(t)
	d := startDemo(t)
	b := startBrowser(t)
	for lang, words := range map[string]struct{ browse, city, conditional, title, enforced, declared, equal, request string }{
		"zh": {"浏览共享数据", "石家庄市", "有条件共享", "石家庄市城市运行指标", "系统强制执行", "承诺遵守", "与登记册上的摘要一致", "申请使用"},
		"en": {"Browse shared data", "Shijiazhuang", "Conditional", "Indicators of Shijiazhuang", "enforced", "declared", "has the digest that the registry holds", "Request access"},
	} {
		for _, scripts := range []bool{false, true} {
			v := b.tab("visitor, " + lang)
			v.scripts(scripts)
			v.open(d.url + "/" + lang + "/")
			v.click(`.doing a[href$="/data"]`)
			v.wait(`location.pathname.endsWith("/data") && document.querySelectorAll(".hits > li").length == 3`)
			v.fill("#q", "130100") // the city's number in GB/T 2260
			v.click(`form[role="search"] button`)
			v.wait(`location.search.includes("q=130100") && document.querySelectorAll(".hits > li").length == 2`)
			v.has(words.city)
			v.click(`.narrow-down a[href*="class=conditional"]`)
			v.wait(`location.search.includes("class=conditional") && document.querySelectorAll(".hits > li").length == 1`)
			v.click(`.chosen a[href*="q=130100"]`) // takes the class away again
			v.wait(`document.querySelectorAll(".hits > li").length == 2`)
			v.click(`.hits a[href$="/data/MA.156.1301/30.990101/INDICATORS"]`)
			for _, text := range []string{words.title, words.conditional, words.enforced, words.declared, words.equal, "items[].indicator"} {
				v.has(text)
			}
		}
		v := b.tab("officer, " + lang)
		v.signInWith(d.url, lang, "urban-1")
		v.open(d.url + "/" + lang + "/data/MA.156.1301/30.990101/INDICATORS")
		v.wait(`document.querySelector('a.button[href$="/work/MA.156.1301.01/agreements/new?dataset=MA.156.1301/30.990101/INDICATORS"]')`)
		v.has(words.request)
		// What the page offers for download has the digest that it shows.
		if !eval[bool](v, `Promise.all([...document.querySelectorAll(".document")].map(async (e) => {
			const body = await (await fetch(e.querySelector("a[download]").href)).arrayBuffer();
			const hex = [...new Uint8Array(await crypto.subtle.digest("SHA-256", body))].map((x) => x.toString(16).padStart(2, "0")).join("");
			return [...e.querySelectorAll("code")].every((c) => c.innerText == hex);
		})).then((all) => all.length == 3 && all.every(Boolean))`) {
			t.Errorf("%s: a document has not the digest on the page", lang)
		}
	}
}
