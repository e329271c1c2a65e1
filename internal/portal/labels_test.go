// SPDX-License-Identifier: Apache-2.0

package portal_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"mime/multipart"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"cityid"
	"cityid/internal/chain/chaintest"
	"cityid/label"
)

// parks is a department with a key for each role, and some lamps.
var (
	parks      = cityid.MustParse("MA.156.1301.03")
	parksLamps = cityid.MustParse("MA.156.1301.03/20.010501")

	parksKey    = chaintest.Key(24)
	parksAssert = chaintest.Key(25)
	parksField  = chaintest.Key(26)
)

func lamp(n int) cityid.Code { return cityid.MustParse(fmt.Sprintf("%s/%06d", parksLamps, n)) }

// plantLamps has the department and n of its lamps allocated.
func (w *world) plantLamps(n int) {
	w.Helper()
	key := func(s cityid.Signer, roles cityid.Roles) cityid.Key { return cityid.Key{Public: s.Key, Roles: roles} }
	w.record([]cityid.Signer{cityKey}, cityid.Operation{Allocate: &cityid.Allocate{Items: []cityid.Allocation{{
		Code: parks, Kind: cityid.KindDepartment, Content: named("园林局", "Parks"),
		Policy: &cityid.Policy{Threshold: 1, Members: []cityid.Member{{Keys: []cityid.Key{
			key(parksKey, cityid.RoleControl), key(parksAssert, cityid.RoleAssert), key(parksField, cityid.RoleField),
		}}}},
	}}}})
	w.record([]cityid.Signer{parksKey}, cityid.Operation{Allocate: &cityid.Allocate{Items: []cityid.Allocation{{Code: parksLamps, Kind: cityid.KindClass, Content: named("路灯", "Lamps")}}}})
	for i := 1; i <= n; {
		var batch cityid.Allocate
		for ; i <= n && len(batch.Items) < 500; i++ {
			c := named(fmt.Sprintf("%d 号灯", i), fmt.Sprintf("Lamp %d", i))
			c.Location = &cityid.Location{Lat: 38_0400000 + int32(i)*100, Lon: 114_5000000}
			batch.Items = append(batch.Items, cityid.Allocation{Code: lamp(i), Kind: cityid.KindObject, Content: c})
		}
		w.record([]cityid.Signer{parksKey}, cityid.Operation{Allocate: &batch})
	}
}

// sendForm posts a form with files.
func (b *browser) sendForm(path string, fields map[string]string, files map[string][]byte, headers ...string) answer {
	b.Helper()
	var body bytes.Buffer
	m := multipart.NewWriter(&body)
	for k, v := range fields {
		if err := m.WriteField(k, v); err != nil {
			b.Fatal(err)
		}
	}
	for k, v := range files {
		part, err := m.CreateFormFile(k, k+".bin")
		if err == nil {
			_, err = part.Write(v)
		}
		if err != nil {
			b.Fatal(err)
		}
	}
	if err := m.Close(); err != nil {
		b.Fatal(err)
	}
	return b.do("POST", path, m.FormDataContentType(), &body, headers...)
}

// must fails unless the answer has a status, and its body all the texts.
func (b *browser) must(a answer, status int, texts ...string) {
	b.Helper()
	if a.status != status {
		b.Fatalf("status %d, want %d: %s", a.status, status, content(a.body))
	}
	for _, s := range texts {
		if !strings.Contains(a.body, s) {
			b.Fatalf("the page lacks %q: %s", s, content(a.body))
		}
	}
}

// content returns the first part of what is particular to a page.
func content(body string) string {
	if _, main, ok := strings.Cut(body, "<main"); ok {
		body = main
	}
	return body[:min(len(body), 3000)]
}

var stylePattern = regexp.MustCompile(`(?s)<style>(.*?)</style>`)

func picture(t testing.TB, side int) []byte {
	m := image.NewRGBA(image.Rect(0, 0, side, side))
	for i := range side {
		m.Set(i, i, color.RGBA{200, 20, 20, 255})
	}
	var b bytes.Buffer
	if err := png.Encode(&b, m); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// TestLabels prints a department's labels: all of them, then a damaged one again.
func TestLabels(t *testing.T) {
	w := newWorld(t)
	w.plantLamps(60)
	b := w.browser()
	b.must(b.get("/en/labels"), http.StatusSeeOther)
	b.signIn(parksKey)
	b.must(b.get("/en/labels"), 200, "Parks", "Paste a list")
	list := b.get("/en/labels?below=" + parks.String())
	b.must(list, 200, "Lamp 1<", "Lamp 50<", "Make labels of all that match", `rel="next"`)
	b.must(b.get("/en/labels?q=Lamp+57&below="+parks.String()), 200, "Lamp 57<")

	// All that match, with an emblem, on stickers for poles.
	chosen := b.post("/en/labels", url.Values{"what": {"all"}, "below": {parks.String()}})
	b.must(chosen, http.StatusSeeOther)
	make := chosen.header.Get("Location")
	b.must(b.get(make), 200, "60 labels of", "was read back: HTTPS://ID.EXAMPLE/"+lamp(1).String(), "36.98 mm with")
	form := map[string]string{"template": "pole", "material": "vinyl", "lang": "zh", "contact": "12319", "distance": "25", "do": "preview"}
	b.must(b.sendForm(make, form, map[string][]byte{"emblem": picture(t, 40)}), http.StatusSeeOther)
	b.must(b.get(make), 200, `value="12319"`, `id="distance" name="distance" class="short" inputmode="decimal" value="25"`, "Do without the emblem")
	sample := b.get(make + "/preview")
	b.must(sample, 200, "data:image/png")
	form["do"] = "print"
	printed := b.sendForm(make, form, nil)
	b.must(printed, http.StatusSeeOther)
	if again := b.sendForm(make, form, nil); again.status != http.StatusNotFound {
		t.Errorf("a selection was printed twice: %d", again.status)
	}
	run := strings.TrimSuffix(printed.header.Get("Location"), "?new=1")
	page := b.get(run)
	b.must(page, 200, "60 symbols were drawn and decoded", "12319", "id.example")

	sheet := b.get(run + "/sheet")
	b.must(sheet, 200)
	sum := sha256.Sum256([]byte(sheet.body))
	if !strings.Contains(page.body, hex.EncodeToString(sum[:])) {
		t.Error("the page names another digest than that of the sheet")
	}
	style := stylePattern.FindStringSubmatch(sheet.body)
	hash := sha256.Sum256([]byte(style[1]))
	want := "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(hash[:]) + "'; img-src data:; form-action 'none'; frame-ancestors 'none'; base-uri 'none'"
	if got := sheet.header.Get("Content-Security-Policy"); got != want {
		t.Errorf("the sheet's policy is %s, want %s", got, want)
	}
	report, err := label.ReadSheet(t.Context(), []byte(sheet.body))
	if err != nil || len(report.Labels) != 60 || report.Labels[59].Payload.Code != lamp(60) || report.Labels[0].Contact != "12319" {
		t.Fatalf("the sheet does not read back: %v", err)
	}
	codes := b.get(run + "/codes")
	b.must(codes, 200, lamp(60).String(), lamp(60).Display())

	// Nothing is left that was not printed; one is damaged.
	b.must(b.get("/en/labels?fresh=1&below="+parks.String()), 200, "Nothing to print here")
	b.must(b.post(run+"/again", url.Values{"what": {"some"}, "paste": {lampClass.String() + "/000001"}}), 422, "is not in this run")
	again := b.post(run+"/again", url.Values{"what": {"some"}, "paste": {lamp(7).Display()}})
	b.must(again, http.StatusSeeOther)
	b.must(b.get(again.header.Get("Location")), 200, "1 label of", "reprint of run 1", `value="12319"`)
	form["do"] = "print"
	b.must(b.sendForm(again.header.Get("Location"), form, nil), http.StatusSeeOther)
	b.must(b.get("/en/labels/runs"), 200, "run 1", "run 2")

	for _, path := range []string{run, run + "/sheet", run + "/codes", make} {
		stranger := w.browser()
		if got := stranger.get(path); got.status != http.StatusSeeOther {
			t.Errorf("%s is shown to everybody: %d", path, got.status)
		}
		stranger.signIn(trafficKey)
		if got := stranger.get(path); got.status != http.StatusNotFound {
			t.Errorf("%s is shown to another department: %d", path, got.status)
		}
	}
}

// TestLabelsRefused asks for labels that must not be printed.
func TestLabelsRefused(t *testing.T) {
	w := newWorld(t)
	w.plantLamps(4)
	w.record([]cityid.Signer{parksKey}, cityid.Operation{SetStatus: &cityid.SetStatus{Code: lamp(2), Revision: 1, Status: cityid.StatusRetired, Reason: cityid.ReasonRemoved}})
	b := w.browser()
	b.signIn(parksKey)
	paste := func(text string) answer {
		return b.post("/en/labels", url.Values{"what": {"list"}, "paste": {text}})
	}
	b.must(paste(""), 422, "Choose one code at least")
	b.must(paste(lamp(1).String()+"\n"+lamp(2).String()), 422, "is retired")
	b.must(paste(lamp(9).String()), 422, "is not allocated")
	b.must(paste(traffic.String()), 422, "somebody your key does not stand for")
	b.must(paste(`<script>alert(1)</script>`), 422, "&lt;script&gt;")
	b.must(paste(strings.Repeat(lamp(1).String()+" ", 60_000)), http.StatusRequestEntityTooLarge)
	if a := b.get("/en/labels?below=" + traffic.String()); a.status != http.StatusForbidden {
		t.Errorf("another department's objects are offered: %d", a.status)
	}

	ok := paste(lamp(1).Display() + "，https://id.example/" + lamp(3).String() + "\n" + lamp(1).String())
	b.must(ok, http.StatusSeeOther)
	make := ok.header.Get("Location")
	b.must(b.get(make), 200, "2 labels of")
	for name, form := range map[string]map[string]string{
		"template": {"template": "certificate"}, "material": {"template": "pole", "material": "gold"}, "level": {"template": "pole", "level": "L"},
		"distance": {"template": "pole", "distance": "NaN"}, "contact": {"template": "pole", "contact": "a\u202eb"},
	} {
		if a := b.sendForm(make, form, nil); a.status != 422 || !strings.Contains(a.body, `id="`+name+`-error"`) {
			t.Errorf("%s: status %d", name, a.status)
		}
	}
	bomb := []byte("\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x01\x00\x00\x00\x01\x00\x00\x08\x06\x00\x00\x00")
	for _, emblem := range [][]byte{[]byte("<svg onload=alert(1)>"), bomb, picture(t, 2500)} {
		if a := b.sendForm(make, map[string]string{"template": "pole"}, map[string][]byte{"emblem": emblem}); a.status != 422 {
			t.Errorf("an emblem of %d octets is taken: %d", len(emblem), a.status)
		}
	}
	if a := b.sendForm(make, map[string]string{"template": "pole"}, map[string][]byte{"emblem": bytes.Repeat([]byte("x"), 2<<20)}); a.status != 422 {
		t.Errorf("an emblem of 2 MiB is taken: %d", a.status)
	}
	// What is retired between choosing and printing is not printed.
	w.record([]cityid.Signer{parksKey}, cityid.Operation{SetStatus: &cityid.SetStatus{Code: lamp(3), Revision: 1, Status: cityid.StatusRetired, Reason: cityid.ReasonRemoved}})
	b.must(b.sendForm(make, map[string]string{"template": "pole", "do": "print"}, nil), http.StatusConflict, "is retired")
}

// TestCertificate has a certificate signed elsewhere, and drawn.
func TestCertificate(t *testing.T) {
	w := newWorld(t)
	w.plantLamps(1)
	b := w.browser()
	b.signIn(parksKey)
	page := b.get("/en/labels/certificate?code=" + parks.String() + "&issued=2026-01-01&expires=2199-01-01")
	b.must(page, 200, "--certify KEY")
	first, _ := label.ParseDay("2026-01-01")
	last, _ := label.ParseDay("2199-01-01")
	c, err := label.Sign(parks, first, last, parksAssert.Key, parksAssert.Sign)
	if err != nil {
		t.Fatal(err)
	}
	b.must(page, 200, hex.EncodeToString(c.Message()))
	u, _ := label.ParsePublicURL("https://id.example")
	text, err := label.CertificateURL(u, c)
	if err != nil {
		t.Fatal(err)
	}
	form := func(text string) map[string]string {
		return map[string]string{"code": parks.String(), "issued": "2026-01-01", "expires": "2199-01-01", "template": "certificate-a5", "lang": "en", "heading": "Parks", "text": text}
	}
	foreign, err := label.Sign(parks, first, last, strangerKey.Key, strangerKey.Sign)
	if err != nil {
		t.Fatal(err)
	}
	wrong, err := label.CertificateURL(u, foreign)
	if err != nil {
		t.Fatal(err)
	}
	b.must(b.sendForm("/en/labels/certificate", form(wrong), nil), 422, "No assert key")
	b.must(b.sendForm("/en/labels/certificate", form(text[:len(text)-1]+"x"), nil), 422, "not the text of a certificate")
	done := b.sendForm("/en/labels/certificate", form(text), nil)
	b.must(done, http.StatusSeeOther)
	sheet := b.get(strings.TrimSuffix(done.header.Get("Location"), "?new=1") + "/sheet")
	report, err := label.ReadSheet(t.Context(), []byte(sheet.body))
	if err != nil || len(report.Labels) != 1 || report.Labels[0].Payload.Certificate != c {
		t.Fatalf("the certificate does not read back: %v", err)
	}
	symbol, err := label.CertificateSymbol(u, c)
	if err != nil {
		t.Fatal(err)
	}
	drawn, err := symbol.PNG(6)
	if err != nil {
		t.Fatal(err)
	}
	b.must(b.sendForm("/en/labels/certificate", form(""), map[string][]byte{"picture": drawn}), http.StatusSeeOther)
	// A signature made in the browser, and one by another key.
	where := "/en/labels/certificate/sign?" + url.Values{"code": {parks.String()}, "issued": {"2026-01-01"}, "expires": {"2199-01-01"}, "key": {parksAssert.Key.String()}}.Encode()
	var next struct{ Next string }
	b.must(b.script(where, map[string]any{"key": parksAssert.Key, "signature": cityid.Bytes(c.Signature[:])}, &next), 200)
	b.must(b.get(next.Next), 200, "1 symbol was drawn and decoded")
	for _, bad := range []map[string]any{
		{"key": strangerKey.Key, "signature": cityid.Bytes(foreign.Signature[:])}, {"key": parksAssert.Key, "signature": cityid.Bytes(foreign.Signature[:])}, {"key": parksAssert.Key, "signature": cityid.Bytes("x")},
	} {
		if a := b.script(where, bad, nil); a.status < 400 || a.status >= 500 {
			t.Errorf("a wrong signature is taken: %d", a.status)
		}
	}
	stranger := w.browser()
	stranger.signIn(trafficKey)
	if a := stranger.get("/en/labels/certificate?code=" + parks.String()); a.status != http.StatusForbidden {
		t.Errorf("another department gets at the certificate: %d", a.status)
	}
}
