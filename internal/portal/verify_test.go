// SPDX-License-Identifier: Apache-2.0

package portal_test

import (
	"bytes"
	"io"
	"mime/multipart"
	"net/url"
	"strings"
	"testing"
	"time"

	"cityid"
	"cityid/label"
	"cityid/verify"
)

// form is a form with one file in it.
func form(t *testing.T, field, name string, content []byte) (string, io.Reader) {
	t.Helper()
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	f, err := w.CreateFormFile(field, name)
	if err == nil {
		_, err = f.Write(content)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return w.FormDataContentType(), &b
}

// TestVerifyText checks what people type or scan, without scripts.
func TestVerifyText(t *testing.T) {
	w := newWorld(t)
	b := w.browser()
	for text, want := range map[string]string{
		"MA.156.1301": "MA.156.1301 stands for Shijiazhuang (City)", sjz.Display(): "MA.156.1301 stands for Shijiazhuang (City)",
		"https://id.example/ma.156.1301.01": "MA.156.1301.01 stands for Urban Management",
		"MA.156.9999":                       "It is proven that MA.156.9999 was never allocated",
		"MA.999":                            "This network does not answer for that code",
		"hello world":                       "This is no code, label or certificate",
		"HTTPS://EVIL.EXAMPLE/MA.156.1301":  "not where this system",
	} {
		a := b.get("/en/verify?text=" + url.QueryEscape(text))
		if a.status != 200 || !strings.Contains(strings.ReplaceAll(a.body, "&#39;", "'"), want) {
			t.Errorf("%q: %d, want %q", text, a.status, want)
		}
		if strings.Contains(a.body, "⟦") {
			t.Errorf("%q: a text is missing", text)
		}
	}
}

// TestVerifyCertificate checks certificates by the keys of the code's own line.
func TestVerifyCertificate(t *testing.T) {
	w := newWorld(t)
	policy := control(urbanKey)
	policy.Members[0].Keys[0].Roles |= cityid.RoleAssert
	w.record([]cityid.Signer{urbanKey}, cityid.Operation{Rekey: &cityid.Rekey{Code: urban, Revision: 1, Policy: policy}})
	today, err := label.DayOf(cityid.TimeOf(time.Now()))
	if err != nil {
		t.Fatal(err)
	}
	public, err := label.ParsePublicURL("https://id.example")
	if err != nil {
		t.Fatal(err)
	}
	text := func(signer cityid.Signer, from, to label.Day) string {
		c, err := label.Sign(urban, from, to, signer.Key, signer.Sign)
		if err != nil {
			t.Fatal(err)
		}
		s, err := label.CertificateURL(public, c)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	good := text(urbanKey, today, today+30)
	for what, c := range map[string]struct{ text, verdict, want string }{
		"good":           {good, "Valid", "signed by a key of MA.156.1301.01"},
		"as a path":      {good[len("HTTPS://ID.EXAMPLE"):], "Valid", "signed by a key of MA.156.1301.01"},
		"expired":        {text(urbanKey, today-30, today-1), "Invalid", "has expired"},
		"a stranger's":   {text(strangerKey, today, today+30), "Cannot tell", "No known key"},
		"digit changed":  {good[:len(good)-1] + string('0'+(good[len(good)-1]-'0'+1)%10), "Invalid", "signature is wrong"},
		"for other code": {strings.Replace(good, "MA.156.1301.01", "MA.156.1301.02", 1), "Cannot tell", "No known key"},
	} {
		a := w.browser().get("/en/verify?text=" + url.QueryEscape(c.text))
		if !strings.Contains(a.body, "<h2>"+c.verdict) || !strings.Contains(strings.ReplaceAll(a.body, "&#39;", "'"), c.want) {
			t.Errorf("%s: want %s, %q in %s", what, c.verdict, c.want, a.body[strings.Index(a.body, `id="verdict"`):][:600])
		}
	}
}

// TestVerifyFile judges bundles that somebody has on disk.
func TestVerifyFile(t *testing.T) {
	w := newWorld(t)
	bundle, err := w.engine.Bundle(t.Context(), cityid.BundleQuery{Code: sjz, Kind: cityid.AnswerRecord, From: 1})
	if err != nil {
		t.Fatal(err)
	}
	b := w.browser()
	post := func(content []byte) string {
		mediaType, body := form(t, "bundle", "b.cityid", content)
		return b.do("POST", "/en/verify/file", mediaType, body).body
	}
	if got := post(bundle); !strings.Contains(got, "<h2>Valid") || !strings.Contains(got, "Shijiazhuang") {
		t.Errorf("a good bundle: %s", got)
	}
	changed := bytes.Clone(bundle)
	changed[len(changed)-20] ^= 1
	if got := post(changed); strings.Contains(got, "<h2>Valid") {
		t.Error("a changed bundle is called valid")
	}
	if got := post([]byte("no bundle")); !strings.Contains(got, "<h2>Invalid") {
		t.Errorf("no bundle: %s", got)
	}
	if got := post(nil); !strings.Contains(got, "Choose a proof file") {
		t.Error("an empty file is not refused")
	}
	a := b.get("/en/verify/trust.json")
	trust, err := verify.ParseTrustFile([]byte(a.body))
	if err != nil {
		t.Fatal(err)
	}
	if r := verify.CheckEncoded(trust.Latest(), bundle, verify.Options{Now: time.Now(), Code: sjz}); r.Verdict != verify.Valid {
		t.Errorf("by the trust root that is handed out: %s", r.Message)
	}
}

// TestVerifyPhoto reads photographs, and refuses what is none.
func TestVerifyPhoto(t *testing.T) {
	w := newWorld(t)
	public, err := label.ParsePublicURL("https://id.example")
	if err != nil {
		t.Fatal(err)
	}
	s, err := label.FieldSymbol(public, sjz)
	if err != nil {
		t.Fatal(err)
	}
	png, err := s.PNG(8)
	if err != nil {
		t.Fatal(err)
	}
	b := w.browser()
	mediaType, body := form(t, "photo", "label.png", png)
	a := b.do("POST", "/en/verify/photo", mediaType, body)
	if want := "/en/verify?text=" + url.QueryEscape("HTTPS://ID.EXAMPLE/MA.156.1301"); a.header.Get("Location") != want {
		t.Errorf("photo: %d to %s, want %s", a.status, a.header.Get("Location"), want)
	}
	// A picture of 50,000 by 50,000 pixels in a few octets.
	bomb := append([]byte("\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR"), 0, 0, 0xc3, 0x50, 0, 0, 0xc3, 0x50, 8, 6, 0, 0, 0, 0, 0, 0, 0)
	for what, content := range map[string][]byte{"text": []byte("hello"), "bomb": bomb, "empty": nil, "markup": []byte("<svg onload=alert(1)>")} {
		mediaType, body := form(t, "photo", what+".png", content)
		if a := b.do("POST", "/en/verify/photo", mediaType, body); a.status != 422 || !strings.Contains(a.body, "field-error") {
			t.Errorf("%s: %d", what, a.status)
		}
	}
}
