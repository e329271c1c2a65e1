// SPDX-License-Identifier: Apache-2.0

package portal_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"testing"

	"cityid"
	"cityid/internal/office"
	"cityid/internal/portal"
)

// noLimits lifts the limits, where a test comes more often than people do.
func noLimits(c *portal.Config) { c.Limits = nil }

// TestApplyStrangers has strangers guess: a draft belongs to the session that
// opened it, no page or status tells an unknown one from a wrong one, and whoever
// guesses soon has to wait.
func TestApplyStrangers(t *testing.T) {
	w := newWorld(t, withIntake)
	mine, stranger := w.browser(), w.browser()
	resume := mine.begin()
	mine.fill()
	mine.upload("/en/apply/draft/evidence", map[string][]byte{"letter.pdf": pdf("secret letter")}).to(t, "/en/apply/draft/evidence")
	document := between(mine.get("/en/apply/draft/evidence").body, `/en/apply/draft/evidence/`, `"`)
	a := mine.get("/en/apply/draft/evidence/"+document).want(t, 200)
	if a.body != string(pdf("secret letter")) || !strings.HasPrefix(a.header.Get("Content-Disposition"), "attachment") || !strings.Contains(a.header.Get("Content-Security-Policy"), "sandbox") {
		t.Errorf("the document comes back as %v", a.header)
	}
	for _, page := range []string{"", "/resume", "/identity", "/code", "/officers", "/officers/0", "/evidence", "/evidence/" + document, "/proofs", "/file", "/check"} {
		stranger.get("/en/apply/draft"+page).to(t, "/en/apply")
	}
	for _, page := range []string{"/identity", "/code", "/officers", "/officers/new", "/officers/0/remove", "/check", "/delete", "/leave", "/evidence/remove"} {
		stranger.post("/en/apply/draft"+page, identity()).to(t, "/en/apply")
	}
	stranger.begin() // with a draft of their own, the other's documents are nowhere
	stranger.get("/en/apply/draft/evidence/"+document).want(t, 404)
	stranger.post("/en/apply/draft/evidence/remove", url.Values{"document": {document}}).want(t, 404)

	// Guesses are counted; a mistyped and an unknown code cost the same.
	guess := w.browser()
	other, err := w.office.NewDraft(t.Context(), []byte("{}"))
	if err != nil {
		t.Fatal(err)
	}
	if err := w.office.DeleteDraft(t.Context(), other); err != nil {
		t.Fatal(err)
	}
	limited := 0
	for i := range 40 {
		code := other
		if i%2 == 1 {
			code = "0000-0000-0000-0000-0000-0000-0001"
		}
		switch a := guess.post("/en/apply/resume", url.Values{"code": {code}}); a.status {
		case http.StatusUnprocessableEntity:
		case http.StatusTooManyRequests, http.StatusServiceUnavailable:
			limited++
		default:
			t.Fatalf("guess %d: %d", i, a.status)
		}
	}
	if limited < 15 {
		t.Errorf("only %d of 40 guesses were held back", limited)
	}
	// All come from one address, so the owner waits as well; nobody is let in.
	if a := guess.post("/en/apply/resume", url.Values{"code": {resume}}); a.status != http.StatusTooManyRequests && a.status != http.StatusServiceUnavailable {
		t.Errorf("after many guesses: %d", a.status)
	}
	if a := guess.get("/en/apply/status/R-00000-00000"); a.status != http.StatusTooManyRequests && a.status != http.StatusServiceUnavailable {
		t.Errorf("references can be guessed after many attempts: %d", a.status)
	}
	// Who has handed in looks on without being counted.
	mine.prove(applicant...)
	reference := mine.handIn()
	for range 30 {
		mine.get("/en/apply/status/"+reference).want(t, 200)
	}
	if a := guess.get("/en/apply/status/" + reference); a.status == 200 {
		t.Error("a stranger looks past the limit")
	}
}

func between(s, before, after string) string {
	_, s, _ = strings.Cut(s, before)
	s, _, _ = strings.Cut(s, after)
	return s
}

// TestApplyFixation plants a session: whoever goes on with it does not see the
// draft that its victim begins, because beginning one changes the token.
func TestApplyFixation(t *testing.T) {
	w := newWorld(t)
	attacker, victim := w.browser(), w.browser()
	attacker.post("/en/apply/start", nil)
	at, err := url.Parse(w.url)
	if err != nil {
		t.Fatal(err)
	}
	planted := attacker.client.Jar.Cookies(at)
	victim.client.Jar.SetCookies(at, planted)
	before := resumePattern.FindStringSubmatch(attacker.get("/en/apply/draft/resume").body)[1]
	victim.begin()
	victim.post("/en/apply/draft/identity", identity()).to(t, "/en/apply/draft/code")
	for _, c := range [][]*http.Cookie{planted, attacker.client.Jar.Cookies(at)} {
		jar, err := cookiejar.New(nil)
		if err != nil {
			t.Fatal(err)
		}
		jar.SetCookies(at, c)
		attacker.client.Jar = jar
		if a := attacker.get("/en/apply/draft"); strings.Contains(a.body, "Xiong") {
			t.Error("the planted session shows the victim's draft")
		}
	}
	_ = before
}

// TestApplyUploads offers what is no document, and too much of it.
func TestApplyUploads(t *testing.T) {
	w := newWorld(t, noLimits)
	b := w.browser()
	b.begin()
	b.fill()
	huge := photograph(t, 16, 16)
	i := bytes.Index(huge, []byte{0xff, 0xc0}) // start of frame: height and width are in the header
	copy(huge[i+5:], []byte{0xff, 0xff, 0xff, 0xff})
	const path = "/en/apply/draft/evidence"
	for name, c := range map[string]struct {
		content []byte
		want    string
	}{
		"page.pdf":     {[]byte("<html><script>alert(1)</script></html>"), "page.pdf is not a complete PDF or JPEG"},
		"gif.jpg":      {[]byte("GIF89a" + strings.Repeat("\x00", 100)), "gif.jpg is not"},
		"shell.pdf":    {append([]byte("#!/bin/sh\n"), pdf("x")...), "shell.pdf is not"},
		"polyglot.pdf": {append([]byte("<script>"), pdf("x")...), "polyglot.pdf is not"},
		"cut.pdf":      {pdf("x")[:40], "cut.pdf is not"},
		"empty.pdf":    {nil, "empty.pdf is not"},
		"huge.jpg":     {huge, "huge.jpg has too many pixels"},
		"large.pdf":    {bytes.Repeat([]byte("%PDF-1.4 "), office.MaxDocument/9+1), "large.pdf has more than 10 MB"},
	} {
		b.upload(path, map[string][]byte{name: c.content}).want(t, 422, c.want)
	}
	if a := b.get(path).want(t, 200, "No documents yet"); strings.Contains(a.body, "polyglot") {
		t.Error("a refused file is listed")
	}
	b.post(path, url.Values{"file": {"x"}}).want(t, 400)
	b.upload(path, nil).want(t, 422, "Choose a file")

	// Names are shown as they are, or not at all.
	for given, shown := range map[string]string{
		`../../etc/passwd.pdf`: "passwd.pdf", `C:\letters\授权书.pdf`: "授权书.pdf", `<img src=x onerror=alert(1)>.pdf`: "&lt;img src=x", "=HYPERLINK(1).pdf": "document-", "a\u202efdp.exe": "document-",
	} {
		b.upload(path, map[string][]byte{given: pdf(given)}).to(t, path)
		if a := b.get(path); !strings.Contains(a.body, shown) || strings.Contains(a.body, "<img src=x") || strings.Contains(a.body, "\u202e") {
			t.Errorf("%q is not shown as %q: %s", given, shown, mainPart(a.body))
		}
	}
	for i := range office.MaxAttachments {
		a := b.upload(path, map[string][]byte{fmt.Sprintf("n%d.pdf", i): pdf(fmt.Sprint(i))})
		if i+5 >= office.MaxAttachments {
			a.want(t, 422, "at most 32 documents")
			break
		}
		a.to(t, path)
	}

	// All together are bounded as well.
	b = w.browser()
	b.begin()
	b.fill()
	for i := range 8 {
		head := fmt.Sprintf("%%PDF-1.4\n%% %d\n%s\n", i, strings.Repeat(" ", 9<<20))
		doc := fmt.Appendf(nil, "%sxref\n0 1\ntrailer\n<< >>\nstartxref\n%d\n%%%%EOF\n", head, len(head))
		a := b.upload(path, map[string][]byte{fmt.Sprintf("big%d.pdf", i): doc})
		if i < 7 {
			a.to(t, path)
		} else {
			a.want(t, 422, "have at most 64 MB")
		}
	}
}

// TestApplyInjection puts what could be mistaken for markup, direction or a
// formula into every field. It is refused, or shown as text.
func TestApplyInjection(t *testing.T) {
	w := newWorld(t, noLimits)
	b := w.browser()
	b.begin()
	refused := []string{"\u202eevil", "a\u0000b", "=cmd|' /C calc'!A0", "+1+1", "@SUM(1)", "-2", strings.Repeat("长", 100), "a\u200bb", "\ufeffx"}
	for _, field := range []string{"name-zh", "name-en", "contact-name", "contact-email"} {
		for _, text := range refused {
			form := identity()
			form.Set(field, text)
			a := b.post("/en/apply/draft/identity", form).want(t, 422)
			if strings.Contains(a.body, "\u202e") && strings.Contains(mainPart(a.body), "<p>\u202e") {
				t.Errorf("%s %q is shown outside its field", field, text)
			}
		}
		form := identity()
		form.Set(field, `<script>alert("x")</script>`)
		b.post("/en/apply/draft/identity", form).to(t, "/en/apply/draft/code")
		for _, page := range []string{"", "/identity", "/code"} {
			if a := b.get("/en/apply/draft"+page).want(t, 200); strings.Contains(a.body, "<script>alert") {
				t.Errorf("%s of %s holds the script", page, field)
			}
		}
	}
	for field, texts := range map[string][]string{
		"kind": {"", "object", "authority", "<b>"}, "alias-gb2260": {"", "13310", "1331000", "13310x", "１３３１００", "13 310"},
		"lat": {"x", "91", "1e3", "NaN", "39,04", "39.12345678"}, "lon": {"181", "--1", "<script>"}, "contact-phone": {"1\u202e2", strings.Repeat("1", 50)},
	} {
		for _, text := range texts {
			form := identity()
			form.Set(field, text)
			if a := b.post("/en/apply/draft/identity", form).want(t, 422); strings.Contains(a.body, "<script>alert") || strings.Contains(a.body, `value="<script>`) {
				t.Errorf("%s %q is not escaped", field, text)
			}
		}
	}
	form := identity()
	form.Set("name-en", strings.Repeat("x", 80<<10))
	if a := b.post("/en/apply/draft/identity", form); a.status != 413 && a.status != 400 {
		t.Errorf("a form of 80 KB: %d", a.status)
	}
	b.post("/en/apply/draft/identity", identity()).to(t, "/en/apply/draft/code")
	for _, code := range []string{"MA.156.1301", "MA.156.13", "MA.156.133", "MA.156.1331.01", "MA.999.1331", "<script>", "", "MA.156.１３３１x", strings.Repeat("A", 500)} {
		if a := b.post("/en/apply/draft/code", url.Values{"code": {"other"}, "other": {code}}).want(t, 422); strings.Contains(a.body, "<script>alert") {
			t.Errorf("code %q", code)
		}
	}
	b.get("/en/apply/draft/code?code=MA.156.9901").want(t, 200, "Free to apply for", "does not follow from")
	if a := b.get("/en/apply/draft/code?code=" + url.QueryEscape(`"><script>alert(1)</script>`)); strings.Contains(a.body, "<script>alert") {
		t.Error("the code in the address is not escaped")
	}
	for _, key := range []string{"ed25519:AAAA", "<script>", "x25519:" + strings.Repeat("A", 43), string(evidenceKey(0).Public().String()), applicant[0].Key.String() + "x"} {
		b.post("/en/apply/draft/officers/new", url.Values{"name": {"Li"}, "key": {key}}).want(t, 422)
	}
	b.post("/en/apply/draft/officers/new", url.Values{"name": {"<i>Li</i>"}, "staff": {"=1"}, "key": {applicant[0].Key.String()}}).want(t, 422)
	b.post("/en/apply/draft/officers/new", url.Values{"name": {"<i>Li</i>"}, "key": {applicant[0].Key.String()}}).to(t, "/en/apply/draft/officers")
	if a := b.get("/en/apply/draft/officers").want(t, 200); strings.Contains(a.body, "<i>Li") {
		t.Error("an officer's name is not escaped")
	}
	b.post("/en/apply/draft/officers/new", url.Values{"name": {"Li"}, "key": {applicant[0].Key.String()}}).want(t, 422, "named already")
	b.post("/en/apply/draft/officers/new", url.Values{"name": {"Li"}, "key": {applicant[1].Key.String()}, "second": {applicant[1].Key.String()}}).want(t, 422, "named already")
	for _, n := range []string{"-1", "1", "99", "x", "0x0"} {
		b.get("/en/apply/draft/officers/"+n).want(t, 404)
	}
	for _, reference := range []string{"<script>", "R-1", "R-00000-0000%00", strings.Repeat("R", 300)} {
		b.get("/en/apply/status/"+url.PathEscape(reference)).want(t, 404)
	}
}

// TestApplyProofs voids proofs with the policy, and takes none from elsewhere.
func TestApplyProofs(t *testing.T) {
	w := newWorld(t, noLimits)
	b := w.browser()
	b.begin()
	b.fill()
	b.prove(applicant...)
	b.get("/en/apply/draft").want(t, 200, "2 of 2 keys")
	file := b.get("/en/apply/draft/file").body
	b.post("/en/apply/draft/officers", url.Values{"threshold": {"1"}}).to(t, "/en/apply/draft")
	b.get("/en/apply/draft").want(t, 200, "0 of 2 keys")
	b.get("/en/apply/draft/proofs").want(t, 200, "earlier proofs are void")
	b.get("/en/apply/draft/check").to(t, "/en/apply/draft")
	b.post("/en/apply/draft/check", url.Values{"sure": {"yes"}}).to(t, "/en/apply/draft")
	b.upload("/en/apply/draft/file", map[string][]byte{"a.json": []byte(file)}).want(t, 422, "says something else")
	for _, text := range []string{"", "{}", "[]", file + "{}", strings.Replace(file, `"version": 1`, `"version": 2`, 1), strings.Repeat("[", 100000), strings.Replace(file, `"chain"`, `"chian"`, 1)} {
		b.upload("/en/apply/draft/file", map[string][]byte{"a.json": []byte(text)}).want(t, 422, "not an application file")
		b.upload("/en/apply/file", map[string][]byte{"a.json": []byte(text)}).want(t, 422, "not an application file")
		b.upload("/en/prove", map[string][]byte{"a.json": []byte(text)}).want(t, 422, "not an application file")
	}
	b.post("/en/apply/draft/officers", url.Values{"threshold": {"2"}}).to(t, "/en/apply/draft")
	b.get("/en/apply/draft").want(t, 200, "2 of 2 keys") // as it was proved
	a := b.file().Apply.Allocation
	digest := cityid.PossessionDigest(b.chain, a.Code, a.Policy, applicant[0].Key)
	signature, err := strangerKey.Sign(digest[:])
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range []cityid.PublicKey{strangerKey.Key, applicant[0].Key} {
		b.script("/en/apply/draft/proofs", map[string]any{"key": key, "signature": cityid.Bytes(signature)}, nil).want(t, 403)
	}
	// The same officers prove at another portal, which only sees the file.
	b.post("/en/apply/draft/officers/1/remove", nil).to(t, "/en/apply/draft/officers")
	elsewhere := w.browser()
	page := elsewhere.upload("/en/prove", map[string][]byte{"a.json": []byte(b.get("/en/apply/draft/file").body)}).want(t, 200, "controlled by 1 of 1")
	a = b.file().Apply.Allocation
	digest = cityid.PossessionDigest(b.chain, a.Code, a.Policy, applicant[0].Key)
	if signature, err = applicant[0].Sign(digest[:]); err != nil {
		t.Fatal(err)
	}
	reply, err := json.Marshal(map[string]any{"key": applicant[0].Key, "signature": cityid.Bytes(signature)})
	if err != nil {
		t.Fatal(err)
	}
	carried := url.Values{"application": {unescape(between(page.body, `name="application" value="`, `"`))}, "reply": {string(reply)}}
	page = elsewhere.post("/en/prove/sign", carried).want(t, 200, "All keys are proved")
	carried.Set("application", unescape(between(page.body, `name="application" value="`, `"`)))
	proved := elsewhere.post("/en/prove/file", carried).want(t, 200)
	b.upload("/en/apply/draft/file", map[string][]byte{"a.json": []byte(proved.body)}).to(t, "/en/apply/draft/proofs")
	b.get("/en/apply/draft").want(t, 200, "1 of 1 keys")
	carried.Set("reply", `{"key":"x"}`)
	elsewhere.post("/en/prove/sign", carried).want(t, 400)
}

func unescape(s string) string {
	return strings.NewReplacer("&#34;", `"`, "&lt;", "<", "&gt;", ">", "&#39;", "'", "&#43;", "+", "&amp;", "&").Replace(s)
}
