// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/base64"
	"image"
	"image/color"
	"image/jpeg"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// reporting is one citizen's way through the pages.
type reporting struct {
	lang    string
	scripts bool
	name    string
	axe     string
	photo   string
	words   map[string]string
}

// TestReportInBrowser has a citizen report a lamp post from its page, with
// scripts and without, take the receipt, and see what the department does; in
// both languages.
func TestReportInBrowser(t *testing.T) {
	if testing.Short() {
		t.Skip("a browser and a demo take a while")
	}
	t.Parallel()
	chromium(t)
	axe := axeFile(t)
	d := startDemo(t)
	b := startBrowser(t)
	photo := largePhoto(t)
	desk := b.tab("traffic department")
	desk.signInWith(d.at("localhost"), "en", "traffic-1")
	number := 0
	for lang, words := range map[string]map[string]string{
		"zh": {"go": "上报问题", "to": "交通管理局", "again": "请选择问题类型", "received": "已收到", "fixed": "已解决", "count": "未办结"},
		"en": {"go": "Report a problem", "to": "Traffic Management", "again": "Choose what is wrong", "received": "Received", "fixed": "Fixed", "count": "open report"},
	} {
		for _, scripts := range []bool{true, false} {
			number++
			r := &reporting{lang, scripts, map[bool]string{true: "with scripts, ", false: "without scripts, "}[scripts] + lang, axe, photo, words}
			citizen := b.tab("citizen " + r.name)
			r.send(t, d, citizen)
			r.close(d, desk)
			citizen.open(eval[string](citizen, "location.href"))
			citizen.has(words["fixed"])
			citizen.has("new bulb, " + r.name)
			if eval[bool](citizen, `document.body.innerText.includes("311 8600")`) {
				t.Errorf("%s: the page shows the contact", r.name)
			}
		}
	}
	desk.open(d.url + "/en/work/MA.156.1301.02/reports?show=all")
	if n := eval[int](desk, `document.querySelectorAll("tbody tr").length`); n != number {
		t.Errorf("the desk has %d reports, want %d", n, number)
	}
}

// send reports a lamp post, and takes the receipt.
func (r *reporting) send(t *testing.T, d *runningDemo, citizen *tab) {
	citizen.viewport(390, 844)
	citizen.scripts(r.scripts)
	citizen.open(d.url + "/" + r.lang + "/code/MA.156.1301.02/20.010501/000012")
	citizen.follow(r.words["go"])
	citizen.wait(`location.pathname.startsWith("/` + r.lang + `/report/")`)
	citizen.has(r.words["to"])
	if r.scripts {
		citizen.look("report-form-"+r.lang, r.axe)
		citizen.viewport(390, 844)
	}
	citizen.fill("#text", "it does not shine\n不亮 "+r.name)
	citizen.fill("#contact", "+86 311 8600 0000")
	if !r.scripts { // the server says what such a browser lets through
		eval[int](citizen, `document.querySelectorAll("[required]").forEach((e) => e.removeAttribute("required")), 0`)
		citizen.click("form button.big")
		citizen.has(r.words["again"])
		if kept := eval[string](citizen, `document.querySelector("#text").value`); !strings.Contains(kept, "不亮") {
			t.Errorf("%s: the text is lost: %q", r.name, kept)
		}
	}
	citizen.click(`input[name="category"][value="broken"]`)
	citizen.upload("#photo", r.photo)
	if r.scripts { // it is made smaller before it is sent
		citizen.wait(`document.querySelector("#photo").dataset.ready && document.querySelector("#photo").files[0].name == "photo.jpg"`)
	}
	citizen.click("form button.big")
	citizen.wait(`location.pathname.startsWith("/` + r.lang + `/receipt/")`)
	citizen.has(r.words["received"])
	citizen.wait(`document.querySelector(".report-photo").naturalWidth == 1600`)
	citizen.checkReceipt(t, d, r.lang)
	if r.scripts {
		citizen.look("receipt-"+r.lang, r.axe)
	}
}

// close has the department close the report that came last.
func (r *reporting) close(d *runningDemo, desk *tab) {
	desk.open(d.url + "/" + r.lang + "/work")
	desk.has(r.words["count"])
	desk.click(`a[href$="/work/MA.156.1301.02/reports"]`)
	desk.wait(`document.querySelector("tbody a")`)
	desk.look("desk-"+r.lang, r.axe)
	desk.click("tbody a")
	desk.wait(`document.querySelector(".report-photo")?.naturalWidth == 1600 && document.body.innerText.includes("8600")`)
	desk.look("desk-report-"+r.lang, r.axe)
	desk.click(`input[value="fixed"]`)
	desk.fill("#note", "换了灯泡 / new bulb, "+r.name)
	desk.click("#do button")
	desk.wait(`!document.querySelector("#do") && document.body.innerText.includes("new bulb")`)
}

// checkReceipt downloads the receipt of the page and checks it with the command.
func (t *tab) checkReceipt(test *testing.T, d *runningDemo, lang string) {
	t.Helper()
	text := eval[string](t, `fetch(document.querySelector("a[download]").href).then((r) => r.arrayBuffer()).then((b) => btoa(String.fromCharCode(...new Uint8Array(b))))`)
	b, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(test.TempDir(), "receipt.cbor")
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	out := demoCLI(test, d, "report", "check", path, "--lang", lang)
	if want := map[string]string{"zh": "类别：不工作", "en": "category: broken"}[lang]; !strings.Contains(out, want) || !strings.Contains(out, "MA.156.9001") {
		t.Errorf("the receipt says\n%s", out)
	}
}

// largePhoto is a photograph of six million pixels that says where it was taken.
func largePhoto(t *testing.T) string {
	t.Helper()
	m := image.NewGray(image.Rect(0, 0, 3000, 2000))
	for y := range 2000 {
		for x := range 3000 {
			m.SetGray(x, y, color.Gray{uint8(x*y>>8 + x*7)})
		}
	}
	var b bytes.Buffer
	if err := jpeg.Encode(&b, m, &jpeg.Options{Quality: 95}); err != nil {
		t.Fatal(err)
	}
	secret := "Exif\x00\x00 N38.0454 E114.5024"
	segment := append([]byte{0xff, 0xe1, 0, byte(len(secret) + 2)}, secret...)
	path := filepath.Join(t.TempDir(), "lamp.jpg")
	if err := os.WriteFile(path, slices.Concat(b.Bytes()[:2], segment, b.Bytes()[2:]), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
