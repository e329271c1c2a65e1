// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// shareWords are what people look for in one language.
type shareWords struct {
	lang, days, granted, revoked, refused, requested, purpose, none, title string
}

// TestShareInBrowser has Tianjin ask Shijiazhuang for data, each with a passkey:
// granted, fetched through the gateways and revoked, and refused, in both languages;
// and a visitor without scripts reads what became of it.
func TestShareInBrowser(t *testing.T) {
	if testing.Short() {
		t.Skip("a browser and a demo take a while")
	}
	t.Parallel()
	chromium(t)
	axe := axeFile(t)
	d := startDemo(t)
	b := startBrowser(t)
	for _, w := range []shareWords{
		{"zh", "还剩", "生效中", "已终止", "已拒绝", "待答复", "比较两市早高峰的空气质量", "没有这类协议", "天津市使用石家庄市城市指标"},
		{"en", "days left", "In force", "Revoked", "Refused", "Requested", "To compare the air of both cities at rush hour", "There are no such agreements", "Tianjin uses"},
	} {
		asker, holder := b.tab("officer of Tianjin, "+w.lang), b.tab("officer of Shijiazhuang, "+w.lang)
		for who, key := range map[*tab]string{asker: "tianjin-1", holder: "shijiazhuang-1"} {
			w.bindPasskey(d, who, key)
		}
		lists := d.url + "/" + w.lang + "/work/MA.156.1301/agreements"
		holder.open(lists)
		holder.has(w.none)
		id := w.ask(d, asker, axe)
		asker.has(w.requested)
		asker.look("share-asked-"+w.lang, axe)

		// The purpose arrives by itself, and only the holder's officers read it.
		holder.open(lists)
		holder.has(w.days)
		holder.look("share-inbox-"+w.lang, axe)
		holder.click(`#agreements a[href$="` + id + `"]`)
		reload(holder, w.purpose)
		holder.look("share-decide-"+w.lang, axe)
		w.decide(holder, "grant", "")
		holder.has(w.granted)
		reload(asker, w.granted)
		d.awaitFetch(t, "tianjin", id, http.StatusOK, `{"items":[`)

		reader := b.tab("visitor without scripts, " + w.lang)
		reader.scripts(false)
		reader.open(d.url + "/" + w.lang + "/agreement/" + id)
		reader.has(w.granted)
		reader.look("share-public-"+w.lang, "")
		if text := eval[string](reader, `document.body.innerText`); strings.Contains(text, w.purpose) {
			t.Error("the purpose is public")
		}
		reader.click(`.timeline a[href*="/chain/block/"]`)
		reader.click(`main a[href*="/chain/tx/"]`)
		reader.click(`a[href$="/agreement/` + id + `"]`)
		reader.wait(`location.pathname.endsWith("/agreement/` + id + `")`)

		w.decide(holder, "revoke", "no longer")
		holder.has(w.revoked)
		d.awaitFetch(t, "tianjin", id, http.StatusForbidden, "the agreement is revoked")
		second := w.ask(d, asker, "")
		holder.open(lists + "/" + second)
		w.decide(holder, "refuse", "one is enough")
		holder.has(w.refused)
		asker.open(d.url + "/" + w.lang + "/work/MA.156.12/agreements?side=asked&state=ended")
		asker.has(w.refused)
		asker.has(w.revoked)
		asker.look("share-ended-"+w.lang, axe)
	}
	// What the cities fetch from each other all the time stands in the log.
	reader := b.tab("officer of Tianjin reads")
	reader.signInWith(d.url, "en", "tianjin-1")
	reader.open(d.url + "/en/work/MA.156.12/agreements?side=asked&state=force")
	reader.click(`#agreements tbody a[href*="/agreements/"]`)
	reader.click(`a[href$="/log"]`)
	reload(reader, "/observations")
	reader.look("share-log", axe)
}

// awaitFetch asks a city's gateway, as its programs do, until the answer under an
// agreement is the one that is wanted: gateways see what becomes of agreements
// within seconds.
func (d *runningDemo) awaitFetch(t *testing.T, city, agreement string, status int, text string) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(d.folder, demoSharingFile))
	if err != nil {
		t.Fatal(err)
	}
	state := new(sharingState)
	if err := strictJSON(b, state); err != nil {
		t.Fatal(err)
	}
	at := fmt.Sprintf("http://127.0.0.1:%d/fetch/%s/latest", state.Ports[city].Local, agreement)
	for deadline := time.Now().Add(patience); ; time.Sleep(200 * time.Millisecond) {
		r, err := http.Get(at)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(r.Body)
		r.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		if r.StatusCode == status && strings.Contains(string(body), text) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s answers %d %.300s, want %d with %s", at, r.StatusCode, body, status, text)
		}
	}
}

// reload loads a page anew until it holds a text: what the portal does by itself it
// does within seconds.
func reload(who *tab, text string) {
	who.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(200 * time.Millisecond) {
		if eval[bool](who, `document.readyState == "complete" && document.body.innerText.includes(`+quote(text)+`)`) {
			return
		}
		if time.Now().After(deadline) {
			who.has(text)
		}
		who.open(eval[string](who, "location.href"))
	}
}

// bindPasskey has an officer make a passkey, put it into the city's policy beside
// the key they have, and sign in with it.
func (w *shareWords) bindPasskey(d *runningDemo, who *tab, key string) {
	at := d.url + "/" + w.lang
	who.signInWith(d.url, w.lang, key)
	code := map[string]string{"tianjin-1": "MA.156.12", "shijiazhuang-1": "MA.156.1301"}[key]
	who.open(at + "/work/" + code + "/policy")
	who.click(`button[data-sign="make"]`)
	who.wait(`document.getElementById("key").value.startsWith("webauthn-p256:")`)
	if !eval[bool](who, `document.querySelector("input[name=role][value=control]").checked`) {
		who.click(`input[name="role"][value="control"]`)
	}
	who.click("#add .button:not([type=button])")
	who.click("#sign-now")
	who.wait(`location.search.includes("done=")`)
	who.open(at + "/account")
	who.submit(`form[action$="/sign-out"]`)
	who.wait(`location.pathname == "/` + w.lang + `/"`)
	who.open(at + "/sign-in")
	who.click(`button[data-sign="sign-in"]:not([data-from])`)
	who.wait(`location.pathname == "/` + w.lang + `/account"`)
}

// ask asks for Shijiazhuang's feed, and returns the agreement's id.
func (w *shareWords) ask(d *runningDemo, who *tab, axe string) string {
	who.open(d.url + "/" + w.lang + "/agreement/new?dataset=MA.156.1301/30.990101/INDICATORS")
	who.wait(`location.pathname.endsWith("/work/MA.156.12/agreements/new")`)
	who.fill("#purpose", w.purpose)
	who.fill("#basis", "§ 7")
	who.click(`input[name="stale"][value="300"]`)
	who.click(`input[name="respond"][value="10"]`)
	if axe != "" {
		who.look("share-ask-"+w.lang, axe)
	}
	who.submit(`form[action$="/agreements/new"][method="post"]`)
	who.wait(`location.pathname.includes("/sign/")`)
	who.click("#sign-now")
	who.wait(`location.search.includes("done=")`)
	return eval[string](who, `location.pathname.split("/").pop()`)
}

// decide decides about the agreement on the page, with the passkey.
func (w *shareWords) decide(who *tab, act, note string) {
	who.click(`input[name="act"][value="` + act + `"]`)
	if note != "" {
		who.fill("#note", note)
	}
	who.submit(`#decide form`)
	who.wait(`location.pathname.includes("/sign/")`)
	who.click("#sign-now")
	who.wait(`location.search.includes("done=")`)
}
