// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// demoCLI runs a command with the keys of a demo, against its node, and returns
// what it writes.
func demoCLI(t *testing.T, d *runningDemo, args ...string) string {
	t.Helper()
	var out, talk lockedBuffer
	args = append(args, "--home", d.folder, "--node", d.url)
	if code := run(context.Background(), args, &terminal{out: &out, err: &talk}); code != exitDone {
		t.Fatalf("cityid %s: %d\n%s", strings.Join(args, " "), code, talk.String())
	}
	return out.String()
}

// TestReviewInBrowser has two institutes decide on an application, each at its own
// portal, while a third person watches the page at another: what is signed is the
// same digest everywhere, also by the command, and the second approval shows
// without loading the page again.
func TestReviewInBrowser(t *testing.T) {
	if testing.Short() {
		t.Skip("a browser and a demo take a while")
	}
	t.Parallel()
	chromium(t)
	axe := axeFile(t)
	d := startDemo(t)
	b := startBrowser(t)
	pass := filepath.Join(d.folder, demoKeysDir, demoPassphraseFile)
	file := filepath.Join(t.TempDir(), "application.json")
	demoCLI(t, d, "application", "create", "MA.156.1399", "--kind", "city", "--name", "zh=试验市", "--name", "en=Trial", "--alias", "gb2260:139900",
		"--location", "38.5,115.5", "--officer", "shijiazhuang-2", "--passphrase-file", pass, "-o", file)
	if _, err := os.Stat(file); err != nil {
		t.Fatal(err)
	}
	demoCLI(t, d, "application", "submit", file, "--key", "institute-a-intake", "--passphrase-file", pass)

	watcher := b.tab("watcher at c.localhost")
	watcher.open(d.at("c.localhost") + "/zh/review")
	watcher.follow("分配 MA.156.1399")
	watcher.has("未表态")
	number := eval[string](watcher, `location.pathname.split("/").pop()`)
	digest := eval[string](watcher, `document.getElementById("proposal-digest").textContent`)
	for _, lang := range []string{"zh", "en"} {
		if said := demoCLI(t, d, "application", "show", number, "--lang", lang); !strings.Contains(said, digest) {
			t.Errorf("the command shows another digest than the page, %s: %s", digest, said)
		}
	}
	eval[bool](watcher, "window.stayed = true")

	for i, host := range []string{"localhost", "b.localhost"} {
		who := b.tab("officer at " + host)
		who.signInWith(d.at(host), "zh", institute(i, "1"))
		who.open(d.at(host) + "/zh/review?state=mine")
		who.has("等您表态")
		who.follow("分配 MA.156.1399")
		who.wait(`document.getElementById("proposal-digest").textContent == ` + quote(digest))
		who.look("review-open", axe)
		who.click(`input[name="act"][value="approve"]`)
		who.submit(`form[action$="/review/` + number + `"]`)
		who.has(digest) // the page to sign names what was shown
		who.click("#sign-now")
		if i == 0 {
			who.has("您的密钥已经同意")
			watcher.has("现有 1 席")
		} else {
			who.has("通过并生效")
		}
	}
	watcher.has("通过并生效")
	if !eval[bool](watcher, "window.stayed === true") {
		t.Error("the page was loaded again")
	}
}
