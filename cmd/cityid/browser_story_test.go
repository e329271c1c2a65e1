// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"image"
	"image/jpeg"
	_ "image/png"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
	imagedraw "golang.org/x/image/draw"
)

// story is the main job in one language: what people do, and the words by which
// they find their way.
type story struct {
	lang string
	city struct{ zh, en, gb2260, code string }
	// keys by which the reviewers of two institutes sign in at first
	reviewers [2]string
	say       map[string]string
}

// TestStory is the main job, in a browser, in both languages: a city applies,
// two institutes approve with passkeys, the city imports a thousand lamp posts
// from a spreadsheet and prints a sheet, and a stranger scans a label off the
// sheet and sees that it is valid.
func TestStory(t *testing.T) {
	if testing.Short() {
		t.Skip("a browser and a demo take a while")
	}
	t.Parallel()
	chromium(t)
	d := startDemo(t)
	for _, s := range stories {
		t.Run(s.lang, func(t *testing.T) { s.run(t, d) })
	}
}

var stories = []story{
	{lang: "zh", city: struct{ zh, en, gb2260, code string }{"雄安新区", "Xiong'an", "133100", "MA.156.1331"},
		reviewers: [2]string{"institute-a-1", "institute-b-1"},
		say:       map[string]string{"open": "0 方同意，需 2 方", "one": "1 方同意，需 2 方", "granted": "MA.156.1331 已分配", "here": "由您的浏览器核验", "valid": "真实有效"}},
	{lang: "en", city: struct{ zh, en, gb2260, code string }{"济源示范区", "Jiyuan", "419000", "MA.156.4190"},
		reviewers: [2]string{"institute-a-2", "institute-b-2"},
		say:       map[string]string{"open": "0 of 2 have approved", "one": "1 of 2 have approved", "granted": "MA.156.4190 is allocated", "here": "Checked in your browser", "valid": "Valid"}},
}

func (s *story) run(t *testing.T, d *runningDemo) {
	b := startBrowser(t)
	mayor := b.tab("officer of " + s.city.en)
	number := s.apply(t, d, mayor)

	// The applicant's page follows what the institutes decide.
	first, second := b.tab("institute A"), b.tab("institute B")
	s.bindPasskey(d, first, "localhost", s.reviewers[0])
	s.approve(d, first, "localhost", number)
	mayor.has(s.say["one"])
	s.bindPasskey(d, second, "b.localhost", s.reviewers[1])
	s.approve(d, second, "b.localhost", number)
	mayor.has(s.say["granted"])

	department := s.department(d, mayor)
	s.importLamps(t, d, mayor, department)
	photo := s.printLabels(t, mayor)
	s.scan(t, d, b.tab("stranger"), photo)
	s.scanByCamera(t, d, photo)
}

// apply has the city apply with a passkey, and returns the proposal's number.
func (s *story) apply(t *testing.T, d *runningDemo, mayor *tab) string {
	at := func(path string) string { return d.url + "/" + s.lang + path }
	mayor.open(at("/apply"))
	mayor.submit(`form[action$="/apply/start"]`)
	mayor.wait(`location.pathname.endsWith("/apply/draft/resume")`)
	mayor.click("main form button")
	mayor.wait(`location.pathname.endsWith("/apply/draft")`)

	mayor.open(at("/apply/draft/identity"))
	mayor.click(`input[name="kind"][value="city"]`)
	mayor.fill("#name-zh", s.city.zh)
	mayor.fill("#name-en", s.city.en)
	mayor.fill("#alias-gb2260", s.city.gb2260)
	mayor.fill("#lat", "38.9904")
	mayor.fill("#lon", "115.9044")
	mayor.fill("#contact-name", "王敏")
	mayor.fill("#contact-phone", "0311 8600 0000")
	mayor.submit("main form")
	mayor.wait(`!location.pathname.endsWith("/identity")`)

	mayor.open(at("/apply/draft/code"))
	mayor.has(s.city.code)
	mayor.submit("main form")
	mayor.wait(`!location.pathname.endsWith("/code")`)

	mayor.open(at("/apply/draft/officers/new"))
	mayor.fill("#name", "王敏")
	mayor.fill("#staff", "A-17")
	mayor.click(`button[data-into="key"]`)
	mayor.wait(`document.getElementById("key").value.startsWith("webauthn-p256:")`)
	mayor.submit("main form")
	mayor.has("A-17")

	letter := filepath.Join(t.TempDir(), "letter.pdf")
	if err := os.WriteFile(letter, pdf(), 0o600); err != nil {
		t.Fatal(err)
	}
	mayor.open(at("/apply/draft/evidence"))
	mayor.upload("#file", letter)
	mayor.submit(`form[action$="/evidence"]`)
	mayor.has("letter.pdf")

	mayor.open(at("/apply/draft/proofs"))
	mayor.click(`button[data-sign="passkey"]`)
	mayor.wait(`document.querySelector(".proofs .tag.good")`)

	mayor.open(at("/apply/draft/check"))
	mayor.click("#sure")
	mayor.submit("main form")
	mayor.wait(`location.pathname.includes("/apply/receipt/") || location.pathname.includes("/apply/status/")`)
	reference := eval[string](mayor, `location.pathname.split("/").pop()`)
	mayor.open(at("/apply/status/" + reference))
	mayor.has(s.say["open"])
	return eval[string](mayor, `fetch("/v1/proposals?limit=1").then((r) => r.json()).then((p) => String(p.proposals[0].proposal.number))`)
}

// bindPasskey has a reviewer make a passkey at their institute's portal, put it
// into the policy beside the key they have, and sign in with it.
func (s *story) bindPasskey(d *runningDemo, who *tab, host, key string) {
	who.signInWith(d.at(host), s.lang, key)
	who.open(d.at(host) + "/" + s.lang + "/account/credential")
	who.click(`button[data-sign="make"]`)
	who.wait(`document.getElementById("key").value.startsWith("webauthn-p256:")`)
	who.submit(`form[action$="/account/credential"]`)
	who.click("#sign-now")
	who.wait(`location.search.includes("done=")`)
	who.open(d.at(host) + "/" + s.lang + "/account")
	who.submit(`form[action$="/sign-out"]`)
	who.wait(`location.pathname == "/` + s.lang + `/"`)
	s.signIn(d, who, host)
}

// signIn signs in with the passkey of a tab.
func (s *story) signIn(d *runningDemo, who *tab, host string) {
	who.open(d.at(host) + "/" + s.lang + "/sign-in")
	who.click(`button[data-sign="sign-in"]:not([data-from])`)
	who.wait(`location.pathname == "/` + s.lang + `/account"`)
}

// approve has one institute approve a proposal at its own portal.
func (s *story) approve(d *runningDemo, who *tab, host, number string) {
	who.open(d.at(host) + "/" + s.lang + "/review/" + number)
	who.has(s.city.code)
	who.click(`input[name="act"][value="approve"]`)
	who.submit(`form[action$="/review/` + number + `"]`)
	who.click("#sign-now")
	who.wait(`location.search.includes("done=")`)
}

// department has the city make a department, and returns its code.
func (s *story) department(d *runningDemo, mayor *tab) string {
	s.signIn(d, mayor, "localhost")
	mayor.open(d.url + "/" + s.lang + "/work/" + s.city.code + "/allocate?kind=department")
	mayor.fill("#name-zh", "市政管理局")
	mayor.fill("#name-en", "Municipal Works")
	mayor.submit(`form[action$="/allocate"]`)
	mayor.click("#sign-now")
	mayor.wait(`location.search.includes("done=")`)
	return s.city.code + ".01"
}

// lamps is how many lamp posts the spreadsheet has.
const lamps = 1000

// importLamps has the city bring in a spreadsheet, one touch of the passkey for
// each batch.
func (s *story) importLamps(t *testing.T, d *runningDemo, mayor *tab, department string) {
	var table strings.Builder
	table.WriteString("\uFEFFclass,serial,name:zh,lat,lon,alias:asset\r\n")
	for i := 1; i <= lamps; i++ {
		fmt.Fprintf(&table, "20.010501,%06d,中心路%d号路灯,%.5f,%.5f,%s-LD-%05d\r\n", i, i, 38.99+float64(i%40)*.0005, 115.90+float64(i/40)*.0006, s.city.gb2260, i)
	}
	file := filepath.Join(t.TempDir(), "lamps.csv")
	if err := os.WriteFile(file, []byte(table.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	mayor.open(d.url + "/" + s.lang + "/work/" + department + "/import")
	mayor.upload("#file", file)
	mayor.submit(`form[enctype]`)
	mayor.wait(`location.pathname.endsWith("/columns")`)
	mayor.click(`#columns button[value="next"]`)
	mayor.wait(`location.pathname.endsWith("/plan") || location.pathname.endsWith("/rows")`)
	if eval[bool](mayor, `location.pathname.endsWith("/rows")`) {
		mayor.click(`.actions a[href$="/plan"]`)
	}
	mayor.click(`.actions a[href$="/run"]`)
	mayor.click("#import-start")
	for done := false; !done; {
		mayor.wait(`location.pathname.endsWith("/done") || document.querySelector("#import-sign")?.checkVisibility()`)
		if done = eval[bool](mayor, `location.pathname.endsWith("/done")`); !done {
			do(mayor, "touch the passkey", chromedp.Evaluate[chromedp.Void](`document.querySelector("#import-sign")?.click()`))
		}
	}
	mayor.has("1,000")
}

// printLabels has the city print labels for what it imported, and returns a
// photograph of the first label of the sheet.
func (s *story) printLabels(t *testing.T, mayor *tab) string {
	mayor.click(`.actions a[href*="/labels"]`)
	mayor.click(`button[value="import"]`)
	mayor.wait(`location.pathname.includes("/labels/make/")`)
	mayor.fill("#contact", "12345")
	mayor.click(`button[value="print"]`)
	mayor.wait(`location.pathname.includes("/labels/runs/")`)
	sheet := eval[string](mayor, `document.querySelector('a[href$="/sheet"]').href`)
	mayor.open(sheet)
	if n := eval[int](mayor, `document.querySelectorAll("svg path").length`); n < lamps {
		t.Errorf("the sheet has %d symbols, want %d", n, lamps)
	}
	mayor.has("12345")
	var at struct{ X, Y, Width, Height float64 }
	if err := json.Unmarshal([]byte(eval[string](mayor, `(() => { const r = [...document.querySelectorAll("svg")].find((e) => e.querySelector("path") && e.getBoundingClientRect().width > 0).getBoundingClientRect(); return JSON.stringify({ X: r.x + scrollX, Y: r.y + scrollY, Width: r.width, Height: r.height }); })()`)), &at); err != nil {
		t.Fatal(err)
	}
	shot := call(mayor, page.CaptureScreenshot, page.CaptureScreenshotParams{
		Format: page.CaptureScreenshotFormatPng, CaptureBeyondViewport: new(true),
		Clip: &page.Viewport{X: at.X, Y: at.Y, Width: at.Width, Height: at.Height, Scale: 4},
	})
	photo := filepath.Join(t.TempDir(), "label.png")
	if err := os.WriteFile(photo, shot.Data, 0o600); err != nil {
		t.Fatal(err)
	}
	return photo
}

// scan has a stranger, who has no key and never was here, photograph a label.
func (s *story) scan(t *testing.T, d *runningDemo, stranger *tab, photo string) {
	stranger.open(d.url + "/" + s.lang + "/verify")
	stranger.upload("#photo", photo)
	stranger.submit(`form[action$="/verify/photo"]`)
	stranger.has(s.say["here"])
	stranger.has(s.say["valid"])
	stranger.has("中心路1号路灯")
}

// scanByCamera has another hold a phone's camera over it.
func (s *story) scanByCamera(t *testing.T, d *runningDemo, photo string) {
	film := filepath.Join(t.TempDir(), "camera.mjpeg")
	if err := os.WriteFile(film, footage(t, photo), 0o600); err != nil {
		t.Fatal(err)
	}
	b := startBrowser(t, "use-file-for-fake-video-capture="+film)
	stranger := b.tab("stranger with a camera")
	stranger.open(d.url + "/" + s.lang + "/verify")
	stranger.click("#camera-start")
	stranger.wait(`location.search.includes("text=")`)
	stranger.has(s.say["here"])
	stranger.has(s.say["valid"])
}

// footage is a film of a photograph: frames of JPEG, one after the other.
func footage(t *testing.T, photo string) []byte {
	f, err := os.Open(photo)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	symbol, _, err := image.Decode(f)
	if err != nil {
		t.Fatal(err)
	}
	frame := image.NewRGBA(image.Rect(0, 0, 640, 480))
	imagedraw.Draw(frame, frame.Bounds(), image.White, image.Point{}, imagedraw.Src)
	imagedraw.CatmullRom.Scale(frame, image.Rect(140, 60, 500, 420), symbol, symbol.Bounds(), imagedraw.Src, nil)
	var b bytes.Buffer
	for range 10 {
		if err := jpeg.Encode(&b, frame, &jpeg.Options{Quality: 85}); err != nil {
			t.Fatal(err)
		}
	}
	return b.Bytes()
}

// pdf is a small document.
func pdf() []byte {
	var b bytes.Buffer
	b.WriteString("%PDF-1.4\n")
	var at []int
	object := func(text string) {
		at = append(at, b.Len())
		fmt.Fprintf(&b, "%d 0 obj\n%s\nendobj\n", len(at), text)
	}
	object("<< /Type /Catalog /Pages 2 0 R >>")
	object("<< /Type /Pages /Kids [3 0 R] /Count 1 >>")
	object("<< /Type /Page /Parent 2 0 R /MediaBox [0 0 300 200] /Contents 4 0 R /Resources << /Font << /F1 5 0 R >> >> >>")
	text := "BT /F1 18 Tf 40 120 Td (Letter of authority) Tj ET"
	object(fmt.Sprintf("<< /Length %d >>\nstream\n%s\nendstream", len(text), text))
	object("<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>")
	start := b.Len()
	fmt.Fprintf(&b, "xref\n0 %d\n0000000000 65535 f \n", len(at)+1)
	for _, n := range at {
		fmt.Fprintf(&b, "%010d 00000 n \n", n)
	}
	fmt.Fprintf(&b, "trailer\n<< /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n", len(at)+1, start)
	return b.Bytes()
}
