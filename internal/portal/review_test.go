// SPDX-License-Identifier: Apache-2.0

package portal_test

import (
	"bytes"
	"fmt"
	"html"
	"image"
	"image/jpeg"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"cityid"
	"cityid/internal/describe"
	"cityid/internal/office"
	"cityid/internal/portal"
)

var tangshan = cityid.MustParse("MA.156.1302")

// desk makes a portal that of an institute.
func desk(i int) func(*portal.Config) {
	return func(c *portal.Config) { c.Member, c.EvidenceKey = institutes[i], evidenceKey(i) }
}

// application is one for Tangshan by an officer's key.
func (w *world) application(by cityid.Signer, evidence ...cityid.Digest) *cityid.Apply {
	w.Helper()
	a := cityid.Apply{Allocation: cityid.Allocation{
		Code: tangshan, Kind: cityid.KindCity, Content: named("唐山市", "Tangshan"), Policy: control(by),
		Aliases: []cityid.Alias{{Scheme: "gb2260", Value: "130200"}},
	}, Evidence: evidence}
	a.Allocation.Content.Location = &cityid.Location{Lat: 39_6304000, Lon: 118_1802000}
	w.prove(&a, by)
	return &a
}

// prove adds the proof that a key is held.
func (w *world) prove(a *cityid.Apply, by cityid.Signer) {
	w.Helper()
	d := cityid.PossessionDigest(w.chain, a.Allocation.Code, a.Allocation.Policy, by.Key)
	sig, err := by.Sign(d[:])
	if err != nil {
		w.Fatal(err)
	}
	a.Possessions = []cityid.Possession{{Key: by.Key, Signature: sig}}
}

// bring brings an application onto the chain and returns its number.
func (w *world) bring(a *cityid.Apply) uint64 {
	w.Helper()
	return w.record([]cityid.Signer{officer(0, 0)}, cityid.Operation{Apply: a}).Proposals[0]
}

func (w *world) proposal(n uint64) *cityid.ProposalAnswer {
	w.Helper()
	a, err := w.engine.Proposal(w.Context(), n)
	if err != nil {
		w.Fatal(err)
	}
	return a
}

func wantStatus(t *testing.T, a answer, status int, holds ...string) {
	t.Helper()
	if a.status != status {
		t.Fatalf("status %d, want %d: %s", a.status, status, mainOf(a.body))
	}
	for _, h := range holds {
		if !strings.Contains(a.body, html.EscapeString(h)) {
			t.Fatalf("the page does not say %q: %s", h, mainOf(a.body))
		}
	}
}

// mainOf is what a page says, without its frame and maps.
func mainOf(body string) string {
	if _, rest, ok := strings.Cut(body, "<main"); ok {
		body, _, _ = strings.Cut(rest, "</main>")
	}
	return regexp.MustCompile(`(?s)<svg.*?</svg>`).ReplaceAllString(body, "")
}

func vote(digest cityid.Digest, act, note string) url.Values {
	return url.Values{"digest": {digest.String()}, "act": {act}, "note": {note}}
}

var shownDigest = regexp.MustCompile(`id="proposal-digest">([0-9a-f]{64})<`)

// TestReviewQueue lists what is open, counts what is decided, and knows what
// waits for whom.
func TestReviewQueue(t *testing.T) {
	w := newWorld(t, desk(1))
	stranger := w.browser()
	wantStatus(t, stranger.get("/zh/review"), 200, "现在没有这样的事项")
	n := w.bring(w.application(strangerKey))
	page := stranger.get("/en/review")
	wantStatus(t, page, 200, "Tangshan")
	if !strings.Contains(page.body, `<span class="count">1</span>`) {
		t.Error("the queue does not count")
	}
	if strings.Contains(page.body, `<tr class="mine">`) {
		t.Error("something waits for a stranger")
	}
	b := w.browser()
	b.signIn(officer(1, 1))
	page = b.get("/en/review?state=mine")
	wantStatus(t, page, 200, "Tangshan", "waits for you")
	c := w.browser()
	c.signIn(cityKey)
	wantStatus(t, c.get("/en/review?state=mine"), 200, "Nothing waits for you")
	wantStatus(t, b.get("/en/review?state=executed"), 200, "Nothing here now")
	wantStatus(t, b.get("/en/review?state=nonsense"), 400)
	wantStatus(t, b.get("/en/review?before=x"), 400)
	wantStatus(t, b.get("/en/review?code=MA.156.1302"), 200, "Only proposals that concern MA.156.1302")
	for _, path := range []string{"0", "01", "x", "999", "-1", "18446744073709551616"} {
		wantStatus(t, stranger.get("/zh/review/"+path), 404)
	}
	// Two of three decide, and the queue follows.
	d := w.proposal(n).Digest
	w.record([]cityid.Signer{officer(0, 0)}, cityid.Operation{Approve: &cityid.Approve{Proposal: n, Digest: d}})
	w.record([]cityid.Signer{officer(2, 0)}, cityid.Operation{Approve: &cityid.Approve{Proposal: n, Digest: d}})
	wantStatus(t, b.get("/en/review?state=executed"), 200, "Tangshan")
	wantStatus(t, b.get("/en/review?state=mine"), 200, "Nothing waits for you")
}

// TestReviewDecides takes an application through its return, its change, and two
// approvals, each signed by what the page shows.
func TestReviewDecides(t *testing.T) {
	w := newWorld(t, desk(0))
	first := w.application(strangerKey)
	n := w.bring(first)
	path := fmt.Sprintf("/en/review/%d", n)
	b := w.browser()
	b.signIn(officer(0, 1))
	seen := w.proposal(n).Digest
	page := b.get(path)
	wantStatus(t, page, 200, seen.String(), "Parent Hebei: Active", "130200 is that of 1302", "Institute B", "not yet", "The policy is a single key")
	if m := shownDigest.FindStringSubmatch(page.body); m == nil || m[1] != seen.String() {
		t.Fatalf("the digest is not shown prominently: %v", m)
	}

	wantStatus(t, b.post(path, vote(seen, "", "")), 422, "Choose to approve")
	wantStatus(t, b.post(path, vote(seen, "return", " ")), 422, "Say what is to change")
	wantStatus(t, b.post(path, vote(seen, "reject", "")), 422, "Say why you reject it")
	wantStatus(t, b.post(path, vote(seen, "reject", strings.Repeat("长", 70))), 422, "at most 200 bytes")
	wantStatus(t, b.post(path, vote(seen, "approve", "well done")), 422, "An approval carries no reason")
	wantStatus(t, b.post(path, vote(seen, "delete", "")), 422)
	wantStatus(t, b.post(path, vote(cityid.Digest{1}, "approve", "")), 409)
	wantStatus(t, b.post(path, url.Values{"act": {"approve"}}), 400)

	next := b.signRequest(b.post(path, vote(seen, "return", "请补充  授权书\r\n原件")), officer(0, 1))
	if !strings.HasPrefix(next, path) {
		t.Fatalf("goes on to %s", next)
	}
	wantStatus(t, b.get(path), 200, "Returned for changes by Institute A", "请补充 授权书 原件")

	changed := w.application(strangerKey)
	changed.Allocation.Content.Names = cityid.NamesOf(map[string]string{"zh": "唐山市", "en": "Tangshan City"})
	w.record([]cityid.Signer{strangerKey}, cityid.Operation{Revise: &cityid.Revise{Proposal: n, Revision: 1, Apply: changed}})

	// The form still names what was shown before.
	stale := b.post(path, vote(seen, "approve", ""))
	wantStatus(t, stale, 409, "The proposal has changed since you looked", "Tangshan City")
	now := w.proposal(n).Digest
	if !strings.Contains(stale.body, `name="digest" id="digest" value="`+now.String()+`"`) {
		t.Error("the refused form does not name what it shows now")
	}
	wantStatus(t, b.get(path), 200, "What changed since revision 1", "name (en): Tangshan", "name (en): Tangshan City")

	b.signRequest(b.post(path, vote(now, "approve", "")), officer(0, 1))
	wantStatus(t, b.get(path), 200, "Your key has approved", "1 have")
	c := w.browser()
	c.signIn(officer(1, 0))
	c.signRequest(c.post(path, vote(now, "approve", "")), officer(1, 0))
	wantStatus(t, c.get(path), 200, "Approved and carried out", "2 have")
	if _, err := w.engine.Record(t.Context(), tangshan); err != nil {
		t.Fatal(err)
	}
	wantStatus(t, c.post(path, vote(now, "approve", "")), 409, "Nothing can be decided any more")
}

// TestReviewSignsWhatItShows compares the digest on the page, the operation that
// waits for a signature, and the words of the page with those of the command,
// which come from the same package.
func TestReviewSignsWhatItShows(t *testing.T) {
	w := newWorld(t, desk(0))
	n := w.bring(w.application(strangerKey))
	b := w.browser()
	b.signIn(officer(0, 0))
	for _, lang := range []string{"zh", "en"} {
		path := fmt.Sprintf("/%s/review/%d", lang, n)
		page := b.get(path)
		for _, l := range describe.Proposal(lang, w.proposal(n)) {
			if !strings.Contains(page.body, html.EscapeString(l.Text)) {
				t.Errorf("%s: the page leaves out %q", lang, l.Text)
			}
		}
		shown, err := cityid.ParseDigest(shownDigest.FindStringSubmatch(page.body)[1])
		if err != nil {
			t.Fatal(err)
		}
		for act, op := range map[string]cityid.Operation{
			"approve": {Approve: &cityid.Approve{Proposal: n, Digest: shown}},
			"return":  {Return: &cityid.Return{Proposal: n, Digest: shown, Note: "改"}},
			"reject":  {Reject: &cityid.Reject{Proposal: n, Digest: shown, Note: "改"}},
		} {
			note := "改"
			if act == "approve" {
				note = ""
			}
			a := b.post(path, vote(shown, act, note))
			where := a.header.Get("Location")
			s, err := w.office.Signing(t.Context(), where[strings.LastIndexByte(where, '/')+1:])
			if err != nil {
				t.Fatal(err)
			}
			want := cityid.MustMarshal([]cityid.Operation{op})
			if !bytes.Equal(cityid.MustMarshal(s.Operations), want) {
				t.Errorf("%s: what waits for the signature is %+v", act, s.Operations)
			}
			body, err := cityid.DecodeBody(s.Body)
			if err != nil || !bytes.Equal(cityid.MustMarshal(body.Operations), want) {
				t.Errorf("%s: what is signed is %+v, %v", act, body, err)
			}
			for _, l := range describe.Operations(lang, []cityid.Operation{op}) {
				if got := b.get(where); !strings.Contains(got.body, html.EscapeString(l.Text)) {
					t.Errorf("%s: the page to sign leaves out %q", act, l.Text)
				}
			}
		}
	}
}

// TestReviewAbuse sends what another site, a hostile applicant and a stranger
// would.
func TestReviewAbuse(t *testing.T) {
	w := newWorld(t, desk(0))
	a := w.application(strangerKey)
	a.Allocation.Content.Names = cityid.NamesOf(map[string]string{"zh": `<script>alert(1)</script>`, "en": `"><img src=x onerror=alert(1)>`})
	w.prove(a, strangerKey)
	n := w.bring(a)
	path := fmt.Sprintf("/en/review/%d", n)
	d := w.proposal(n).Digest
	w.record([]cityid.Signer{officer(0, 0)}, cityid.Operation{Return: &cityid.Return{Proposal: n, Digest: d, Note: `</p><script src=//x></script>`}})
	b := w.browser()
	b.signIn(officer(0, 0))
	for _, at := range []string{path, "/zh/review", "/en/review?state=all", path + "?act=%22%3E%3Cscript%3E"} {
		page := b.get(at)
		wantStatus(t, page, 200)
		if strings.Contains(page.body, "<script>alert") || strings.Contains(page.body, "<script src=//x") || strings.Contains(page.body, "<img src=x") {
			t.Errorf("%s: what others wrote became markup", at)
		}
		if p := page.header.Get("Content-Security-Policy"); !strings.Contains(p, "frame-ancestors 'none'") || !strings.Contains(p, "script-src 'self'") || strings.Contains(p, "unsafe") {
			t.Errorf("%s: policy %q", at, p)
		}
		if page.header.Get("X-Frame-Options") != "DENY" || page.header.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: headers %v", at, page.header)
		}
	}
	for _, from := range [][]string{{"Sec-Fetch-Site", "cross-site"}, {"Sec-Fetch-Site", "same-site"}, {"Origin", "https://evil.example"}} {
		wantStatus(t, b.post(path, vote(w.proposal(n).Digest, "approve", ""), from...), 403)
	}
	if list, err := w.office.SigningsOf(t.Context(), officer(0, 0).Key); err != nil || len(list) != 0 {
		t.Errorf("another site's form left something to sign: %v, %v", list, err)
	}
	// A key without a seat may ask for a signature, which the chain refuses.
	c := w.browser()
	c.signIn(cityKey)
	refused := c.post(path, vote(w.proposal(n).Digest, "approve", ""))
	c.signRequest(refused, cityKey)
	wantStatus(t, c.get(refused.header.Get("Location")), 200, "may not decide this")
	if w.proposal(n).State != cityid.ProposalReturned {
		t.Error("a stranger decided")
	}
}

func photo(t *testing.T) []byte {
	t.Helper()
	var out bytes.Buffer
	if err := jpeg.Encode(&out, image.NewGray(image.Rect(0, 0, 8, 8)), nil); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func sealed(t *testing.T, doc office.EvidenceDocument, to ...int) ([]byte, cityid.Digest) {
	t.Helper()
	var reviewers []cityid.PublicKey
	for _, i := range to {
		reviewers = append(reviewers, cityid.PublicKey(evidenceKey(i).Public().Raw()))
	}
	envelope, digest, err := office.SealEvidence(reviewers, doc)
	if err != nil {
		t.Fatal(err)
	}
	return envelope, digest
}

// deliver posts an envelope as another office would.
func (b *browser) deliver(n uint64, digest cityid.Digest, envelope []byte) answer {
	b.Helper()
	return b.do("POST", "/office/evidence", "application/octet-stream", bytes.NewReader(envelope),
		"Cityid-Proposal", fmt.Sprint(n), "Cityid-Digest", digest.String(), "Accept", "application/json")
}

// TestEvidence has documents taken from another office, shown to the institution's
// officers, and to nobody else.
func TestEvidence(t *testing.T) {
	w := newWorld(t, desk(1))
	pdf := []byte("%PDF-1.4\n1 0 obj\n<<>>\nendobj\nxref\n0 0\ntrailer\n<<>>\nstartxref\n29\n%%EOF\n")
	paper, paperDigest := sealed(t, office.EvidenceDocument{Name: `../授权书".html`, Document: pdf}, 0, 1, 2)
	picture, pictureDigest := sealed(t, office.EvidenceDocument{Name: "公章.jpg", Document: photo(t)}, 1)
	notForUs, notForUsDigest := sealed(t, office.EvidenceDocument{Name: "x", Document: photo(t)}, 0)
	unnamed, unnamedDigest := sealed(t, office.EvidenceDocument{Name: "y", Document: photo(t)}, 1)
	n := w.bring(w.application(strangerKey, paperDigest, pictureDigest, notForUsDigest))
	b := w.browser()

	for range 2 { // the second time it is there already
		wantStatus(t, b.deliver(n, paperDigest, paper), 204)
	}
	wantStatus(t, b.deliver(n, pictureDigest, picture), 204)
	wantStatus(t, b.deliver(n, notForUsDigest, notForUs), 422)
	wantStatus(t, b.deliver(n, unnamedDigest, unnamed), 409)
	wantStatus(t, b.deliver(n, notForUsDigest, paper), 422) // another document
	wantStatus(t, b.deliver(n, notForUsDigest, []byte("no envelope")), 422)
	wantStatus(t, b.deliver(n, notForUsDigest, make([]byte, office.MaxEnvelope+1)), 413)
	wantStatus(t, b.deliver(n+1, paperDigest, paper), 404)
	if list, err := w.office.EvidenceByDigest(t.Context(), notForUsDigest); err != nil || len(list) != 0 {
		t.Errorf("what does not open was kept: %v, %v", list, err)
	}

	path := fmt.Sprintf("/en/review/%d", n)
	at := func(d cityid.Digest) string { return path + "/evidence/" + d.String() }
	officerHere := w.browser()
	officerHere.signIn(officer(1, 1))
	page := officerHere.get(path)
	wantStatus(t, page, 200, "公章.jpg", "matches the digest on the chain", "has not arrived yet")
	if page.header.Get("Cache-Control") != "no-store" {
		t.Error("the names of documents may be cached")
	}
	got := officerHere.get(at(paperDigest))
	wantStatus(t, got, 200)
	if got.body != string(pdf) || !strings.HasPrefix(got.header.Get("Content-Disposition"), "attachment;") || strings.Contains(got.header.Get("Content-Disposition"), "html") ||
		!strings.Contains(got.header.Get("Content-Security-Policy"), "sandbox") || got.header.Get("X-Content-Type-Options") != "nosniff" || got.header.Get("Cache-Control") != "no-store" {
		t.Errorf("document with %v", got.header)
	}
	got = officerHere.get(at(pictureDigest))
	if wantStatus(t, got, 200); got.header.Get("Content-Type") != "image/jpeg" || !strings.Contains(got.header.Get("Content-Security-Policy"), "sandbox") {
		t.Errorf("photograph with %v", got.header)
	}

	// Others can not even tell what is here.
	stranger := w.browser()
	same := stranger.get(at(unnamedDigest))
	if here := stranger.get(at(paperDigest)); here.status != http.StatusSeeOther || here.status != same.status {
		t.Errorf("a stranger gets %d and %d", here.status, same.status)
	}
	for name, key := range map[string]cityid.Signer{"another institute's officer": officer(0, 0), "a city": cityKey, "the applicant": strangerKey} {
		other := w.browser()
		other.signIn(key)
		for _, d := range []cityid.Digest{paperDigest, notForUsDigest, unnamedDigest} {
			if got := other.get(at(d)); got.status != 404 {
				t.Errorf("%s gets %d", name, got.status)
			}
		}
		if page := other.get(path); strings.Contains(page.body, "公章") || strings.Contains(page.body, "has not arrived") {
			t.Errorf("%s learns what documents are here", name)
		}
	}
	for _, bad := range []string{"x", strings.Repeat("0", 64)} {
		if got := officerHere.get(path + "/evidence/" + bad); got.status != 404 {
			t.Errorf("%s: %d", bad, got.status)
		}
	}
	// An officer whose key has ended loses the sight of it at once.
	institute := control(officer(1, 0))
	w.record([]cityid.Signer{officer(1, 0)}, cityid.Operation{Rekey: &cityid.Rekey{Code: institutes[1], Revision: 1, Policy: institute}})
	if got := officerHere.get(at(paperDigest)); got.status != 404 {
		t.Errorf("an officer who has left gets %d", got.status)
	}
}
