// SPDX-License-Identifier: Apache-2.0

package main

import (
	"strings"
	"testing"
)

// TestWithoutScripts reads, searches and verifies in a browser that runs no
// scripts, in both languages.
func TestWithoutScripts(t *testing.T) {
	if testing.Short() {
		t.Skip("a browser and a demo take a while")
	}
	t.Parallel()
	chromium(t)
	d := startDemo(t)
	b := startBrowser(t)
	for lang, words := range map[string]struct{ lamps, holder, record, site, none string }{
		"zh": {"路灯", "交通管理局", "登记属实", "由本网站核验", "没有找到"},
		"en": {"Lamp posts", "Traffic Management", "as registered", "Checked by this site", "Nothing found"},
	} {
		v := b.tab("visitor without scripts, " + lang)
		v.scripts(false)
		at := d.url + "/" + lang
		v.open(at + "/")
		v.fill("#q", "Traffic Management")
		v.click(`form[role="search"] button`)
		v.has(words.holder)
		v.click(`.hits a[href$="MA.156.1301.02"]`)
		v.wait(`location.pathname.endsWith("/code/MA.156.1301.02")`)
		v.has(words.lamps)
		v.click(`a[href*="view=history"]`)
		v.wait(`document.querySelector(".timeline li")`)
		v.open(at + "/search?q=nothing-like-it")
		v.has(words.none)
		v.open(at + "/map?box=37.9,114.3,38.2,114.7")
		v.wait(`document.querySelectorAll(".map a").length > 5`)
		v.open(at + "/chain")
		v.click("#blocks-list table a")
		v.wait(`location.pathname.includes("/chain/block/")`)

		// Verifying then rests on the server, and the page says so.
		v.open(at + "/verify?code=MA.156.1301")
		v.has(words.record)
		v.has(words.site)
		v.open(at + "/verify")
		v.upload("#photo", d.folder+"/"+demoLabels+"/"+demoCertificatePNG)
		v.click(`form[action$="/verify/photo"] button`)
		v.wait(`location.search.includes("text=")`)
		v.has(words.site)
		if text := eval[string](v, `document.querySelector(".copy:not([hidden])")?.innerText ?? ""`); text != "" {
			t.Errorf("a button that only a script could serve shows without scripts: %q", text)
		}
		v.open(at + "/sign-in")
		if shown := eval[string](v, `[...document.querySelectorAll("[data-sign]")].filter((e) => e.checkVisibility()).map((e) => e.innerText).join()`); strings.TrimSpace(shown) != "" {
			t.Errorf("buttons that only a script could serve show without scripts: %q", shown)
		}
	}
}
