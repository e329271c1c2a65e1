// SPDX-License-Identifier: Apache-2.0

package portal_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
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
		"MA.999":                            "Another zone or network answers for that code",
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

// TestVerifySource checks source marks by the keys of the policy that governs the
// source, and shows what the chain has about the same bytes.
func TestVerifySource(t *testing.T) {
	w := newWorld(t)
	policy := control(urbanKey)
	policy.Members[0].Keys[0].Roles |= cityid.RoleAssert
	w.record([]cityid.Signer{urbanKey}, cityid.Operation{Rekey: &cityid.Rekey{Code: urban, Revision: 1, Policy: policy}})
	public, err := label.ParsePublicURL("https://id.example")
	if err != nil {
		t.Fatal(err)
	}
	now := cityid.TimeOf(time.Now())
	report := cityid.Digest(sha256.Sum256([]byte("report")))
	text := func(signer cityid.Signer, m label.SourceMark) string {
		m.Code, m.Nonce = urban, label.Nonce{1}
		m, err := label.SignSource(m, signer.Key, signer.Sign)
		if err != nil {
			t.Fatal(err)
		}
		s, err := label.SourceURL(public, m)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	good := text(urbanKey, label.SourceMark{Digest: report, Time: now})
	check := func(what, query, verdict string, want ...string) {
		t.Helper()
		a := w.browser().get("/en/verify?" + query)
		body := strings.ReplaceAll(a.body, "&#39;", "'")
		for _, x := range append(want, "<h2>"+verdict) {
			if a.status != 200 || !strings.Contains(body, x) {
				t.Errorf("%s: %d, want %q in %s", what, a.status, x, body[strings.Index(body, `id="verdict"`):][:900])
			}
		}
		if strings.Contains(body, "⟦") {
			t.Errorf("%s: a text is missing", what)
		}
	}
	q := func(text string) string { return "text=" + url.QueryEscape(text) }
	check("no bytes", q(good), "Cannot tell", "well signed by a registered key of MA.156.1301.01", "by the source's own word", "has no statement about these bytes", "does not prove that what they say is true")
	check("as a path", q(good[len("HTTPS://ID.EXAMPLE"):]), "Cannot tell", "well signed")
	check("the digest typed", q(good)+"&digest="+report.String(), "Valid", "for exactly these bytes")
	check("another digest", q(good)+"&digest="+cityid.Digest{1}.String(), "Invalid", "not about this file")
	check("no digest", q(good)+"&digest=abc", "Cannot tell", "as 64 hexadecimal digits")
	check("a stranger's", q(text(strangerKey, label.SourceMark{Digest: report, Time: now}))+"&digest="+report.String(), "Cannot tell", "No known key")
	check("the city's", q(text(cityKey, label.SourceMark{Digest: report, Time: now}))+"&digest="+report.String(), "Cannot tell", "No known key")
	check("expired", q(text(urbanKey, label.SourceMark{Digest: report, Time: now - 9, Expires: now - 1})), "Invalid", "has expired")
	check("from the future", q(text(urbanKey, label.SourceMark{Digest: report, Time: now + 9999})), "Invalid", "ahead of the clock")
	check("a plate", q(text(urbanKey, label.SourceMark{Time: now})), "Valid", "an identifier and nothing more", "Anybody can copy")

	w.record([]cityid.Signer{urbanKey}, cityid.Operation{Attest: &cityid.Attest{Source: urban, Digest: report, Size: 6, Label: "a report"}})
	page := "/en/attestation?source=MA.156.1301.01&amp;digest=" + report.String()
	check("anchored", q(good)+"&digest="+report.String(), "Valid", "no later than", page)
	if a := w.browser().get("/en/search?q=" + url.QueryEscape(good)); a.status != 303 {
		t.Errorf("a search for a mark: %d", a.status)
	}
}

// TestAttestationPage shows who vouched for bytes, whether it was taken back, and
// hands the proof out.
func TestAttestationPage(t *testing.T) {
	w := newWorld(t)
	digest, batch := cityid.Digest{7}, cityid.Digest{8}
	w.record([]cityid.Signer{urbanKey}, cityid.Operation{Attest: &cityid.Attest{Source: urban, Digest: digest, Size: 1234, Label: "air <quality>"}})
	w.record([]cityid.Signer{urbanKey}, cityid.Operation{Attest: &cityid.Attest{Source: urban, Digest: batch, Leaves: 42, From: 1763600000, Until: 1763700000}})
	b := w.browser()
	get := func(path string, status int, want ...string) string {
		t.Helper()
		a := b.get(path)
		body := strings.ReplaceAll(a.body, "&#39;", "'")
		for _, x := range want {
			if !strings.Contains(body, x) {
				t.Errorf("%s: no %q", path, x)
			}
		}
		if a.status != status || strings.Contains(body, "⟦") {
			t.Errorf("%s: %d, want %d", path, a.status, status)
		}
		return a.body
	}
	page := "/attestation?source=MA.156.1301.01&digest="
	body := get("/en"+page+digest.String(), 200, "Vouched for", "Urban Management", "air &lt;quality&gt;", "1,234 octets", "does not prove that what the bytes say is true", `id="file"`)
	get("/zh"+page+digest.String(), 200, "已担保", "不能证明数据内容属实")
	get("/en"+page+batch.String(), 200, "root over 42 pieces", "as the source says", "cityid attest check")
	get("/en"+page+cityid.Digest{9}.String(), 404, "Nobody vouched for it here", `id="file"`)
	get("/en/attestation?source=MA.156.1301.01", 400)
	get("/en/attestation?source=x!&digest="+digest.String(), 400)
	get("/en/attestation?source=MA.156.9999&digest="+digest.String(), 404, "MA.156.9999")

	// The page of the code lists both, and has no such tab where there are none.
	get("/en/code/MA.156.1301.01", 200, "view=vouched")
	get("/en/code/MA.156.1301.01?view=vouched", 200, "air &lt;quality&gt;", digest.String(), batch.String())
	get("/zh/code/MA.156.1301.01?view=vouched&after="+digest.String(), 200, batch.String())
	get("/en/code/MA.156.1301.01?view=vouched&after="+batch.String(), 200, "nothing more")
	get("/en/code/MA.156.1301.01?view=vouched&after=x", 400)
	if strings.Contains(get("/en/code/MA.156.1301.02", 200), "view=vouched") {
		t.Error("a code that vouched for nothing has a tab for it")
	}

	// The proof is about the attestation and the records that tell its key.
	_, rest, _ := strings.Cut(body, `href="/v1/entries?`)
	query, _, _ := strings.Cut(rest, `"`)
	values, err := url.ParseQuery(strings.ReplaceAll(query, "&amp;", "&"))
	if err != nil {
		t.Fatal(err)
	}
	var keys [][]byte
	for s := range strings.SplitSeq(values.Get("keys"), ",") {
		k, err := hex.DecodeString(s)
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, k)
	}
	bundle, err := w.engine.Bundle(t.Context(), cityid.BundleQuery{Kind: cityid.AnswerEntries, Code: urban, Keys: keys, From: 1})
	if err != nil {
		t.Fatal(err)
	}
	trust, err := verify.ParseTrustFile([]byte(b.get("/en/verify/trust.json").body))
	if err != nil {
		t.Fatal(err)
	}
	r := verify.CheckEncoded(trust.Latest(), bundle, verify.Options{Now: time.Now(), Kind: cityid.AnswerEntries, Keys: keys})
	var a cityid.Attestation
	if there, err := r.Entry(cityid.AttestationKey(urban, digest), &a); r.Verdict != verify.Valid || !there || err != nil || a.Size != 1234 || len(r.Records) != 1 {
		t.Errorf("the proof: %s, %v %v, %d records", r.Message, there, err, len(r.Records))
	}
	mediaType, upload := form(t, "bundle", "attestation.bundle", bundle)
	if got := b.do("POST", "/en/verify/file", mediaType, upload).body; !strings.Contains(got, "at 2 places") {
		t.Error("the proof is not understood where proofs are judged")
	}

	w.record([]cityid.Signer{urbanKey}, cityid.Operation{Withdraw: &cityid.Withdraw{Source: urban, Digest: digest}})
	get("/en"+page+digest.String(), 200, "Taken back", "stays visible")
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
