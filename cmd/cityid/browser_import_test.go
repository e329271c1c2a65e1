// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"path/filepath"
	"testing"

	"cityid/internal/bulk"
)

// TestImportInBrowser is the afternoon migration as an officer of the traffic
// department does it: an old table from upload to codes.
func TestImportInBrowser(t *testing.T) {
	if testing.Short() {
		t.Skip("a browser and a demo take a while")
	}
	t.Parallel()
	chromium(t)
	axe := axeFile(t)
	d := startDemo(t)
	b := startBrowser(t)
	table, err := bulk.OldTable()
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "路灯台账.csv")
	if err := os.WriteFile(file, table, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, lang := range []string{"zh", "en"} {
		who := b.tab("traffic in " + lang)
		look := func(name string) { t.Helper(); who.look("import-"+name+"-"+lang, axe) }
		press := func(do string) {
			t.Helper()
			eval[bool](who, "window.before = true")
			who.click(`button[value="` + do + `"]`)
			who.wait(`!window.before && document.readyState == "complete"`)
		}
		who.signInWith(d.at("localhost"), lang, "traffic-1")
		who.open(d.at("localhost") + "/" + lang + "/work/imports")
		look("list")
		who.open(d.at("localhost") + "/" + lang + "/work/MA.156.1301.02/import")
		look("upload")
		who.upload("#file", file)
		who.click(`main form .button`)
		who.wait(`location.pathname.endsWith("/columns") && document.readyState == "complete"`)
		look("columns")
		press("next")
		who.wait(`location.pathname.endsWith("/rows")`)
		look("rows")
		press("mend")
		press("swap")
		press("skip-bad")
		if lang == "zh" { // the second time nearly all of them are known
			press("skip-known")
		}
		look("sound")
		who.click(`a.button[href$="/plan"]`)
		who.wait(`location.pathname.endsWith("/plan") && document.readyState == "complete"`)
		look("plan")
		who.click(`a.button[href$="/run"]`)
		who.wait(`location.pathname.endsWith("/run") && document.readyState == "complete"`)
		look("run")
		who.click("#import-start")
		who.wait(`location.pathname.endsWith("/done") && document.readyState == "complete"`)
		look("done")
		if lang == "zh" {
			who.has("已分配 985 个标识")
		} else {
			who.has("998 codes are allocated")
		}
	}
}
