// SPDX-License-Identifier: Apache-2.0

package portal_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"image"
	"image/jpeg"
	"mime/multipart"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"cityid"
	"cityid/internal/chain/chaintest"
	"cityid/internal/office"
	"cityid/internal/portal"
)

var (
	xiongan   = cityid.MustParse("MA.156.1331")
	applicant = []cityid.Signer{chaintest.Key(40), chaintest.Key(41)}

	resumePattern    = regexp.MustCompile(`id="resume-code">([0-9A-Z-]+)<`)
	referencePattern = regexp.MustCompile(`id="reference">(R-[0-9A-Z-]+)<`)
	proofPattern     = regexp.MustCompile(`data-key="([^"]+)"|data-name="([^"]+)"`)
)

// withIntake lets applications reach the chain by themselves.
func withIntake(c *portal.Config) {
	s := officer(0, 0)
	c.Intake = &s
}

// withTestKeys offers the applicants' keys as those of a demonstration.
func withTestKeys(c *portal.Config) {
	c.Demo = true
	for i, s := range applicant {
		c.TestKeys = append(c.TestKeys, portal.TestKey{Name: fmt.Sprintf("applicant-%d", i+1), Title: map[string]string{"zh": "经办人", "en": "Officer"}, Signer: s})
	}
}

// want fails unless an answer has a status and holds some texts.
func (a answer) want(t *testing.T, status int, texts ...string) answer {
	t.Helper()
	if a.status != status {
		t.Fatalf("status %d, want %d: %s", a.status, status, a.body)
	}
	if strings.Contains(a.body, "⟦") {
		t.Errorf("a text is missing: %.200s", a.body[strings.Index(a.body, "⟦"):])
	}
	for _, text := range texts {
		if !strings.Contains(a.body, text) {
			t.Errorf("the page lacks %q: %s", text, mainPart(a.body))
		}
	}
	return a
}

// to fails unless an answer leads to an address.
func (a answer) to(t *testing.T, where string) answer {
	t.Helper()
	if a.status != http.StatusSeeOther || a.header.Get("Location") != where {
		t.Fatalf("status %d to %q, want 303 to %q: %s", a.status, a.header.Get("Location"), where, mainPart(a.body))
	}
	return a
}

func mainPart(body string) string {
	if i := strings.Index(body, "<main"); i >= 0 {
		body = body[i:]
	}
	if i := strings.Index(body, "</main>"); i >= 0 {
		body = body[:i]
	}
	return body
}

// upload posts files.
func (b *browser) upload(path string, files map[string][]byte) answer {
	b.Helper()
	var body bytes.Buffer
	w := multipart.NewWriter(&body)
	for name, content := range files {
		part, err := w.CreateFormFile("file", name)
		if err != nil {
			b.Fatal(err)
		}
		part.Write(content)
	}
	w.Close()
	return b.do("POST", path, w.FormDataContentType(), &body)
}

// pdf is the smallest document that passes for one.
func pdf(text string) []byte {
	head := "%PDF-1.4\n% " + text + "\n"
	return fmt.Appendf(nil, "%sxref\n0 1\n0000000000 65535 f \ntrailer\n<< >>\nstartxref\n%d\n%%%%EOF\n", head, len(head))
}

func photograph(t *testing.T, width, height int) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := jpeg.Encode(&b, image.NewGray(image.Rect(0, 0, width, height)), nil); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func identity() url.Values {
	return url.Values{
		"kind": {"city"}, "name-zh": {"雄安新区"}, "name-en": {"Xiong'an New Area"}, "alias-gb2260": {"133100"},
		"lat": {"39.0431"}, "lon": {"115.9038"}, "contact-name": {"王 晓"}, "contact-phone": {"+86 312 000 0000"},
	}
}

// begin starts a draft and returns its resume code.
func (b *browser) begin() string {
	b.Helper()
	b.post("/en/apply/start", nil).to(b.T, "/en/apply/draft/resume")
	m := resumePattern.FindStringSubmatch(b.get("/en/apply/draft/resume").want(b.T, 200).body)
	if m == nil {
		b.Fatal("no resume code is shown")
	}
	b.post("/en/apply/draft/resume", nil).to(b.T, "/en/apply/draft")
	return m[1]
}

// fill fills a draft in, up to the proofs.
func (b *browser) fill() {
	b.Helper()
	b.post("/en/apply/draft/identity", identity()).to(b.T, "/en/apply/draft/code")
	b.get("/en/apply/draft/code").want(b.T, 200, "MA.156.1331", "Suggested", "Free to apply for", "Institute A", "Hebei")
	b.post("/en/apply/draft/code", url.Values{"code": {"MA.156.1331"}}).to(b.T, "/en/apply/draft")
	for i, s := range applicant {
		b.get("/en/apply/draft/officers/new").want(b.T, 200, "Officer")
		b.post("/en/apply/draft/officers/new", url.Values{"name": {fmt.Sprintf("Officer %d", i+1)}, "staff": {"S-" + fmt.Sprint(i)}, "key": {s.Key.String()}}).to(b.T, "/en/apply/draft/officers")
	}
	b.post("/en/apply/draft/officers", url.Values{"threshold": {"2"}}).to(b.T, "/en/apply/draft")
}

// file downloads the draft.
func (b *browser) file() (f struct {
	Version  int             `json:"version"`
	Chain    string          `json:"chain"`
	Apply    cityid.Apply    `json:"apply"`
	Evidence json.RawMessage `json:"evidence,omitempty"`
}) {
	b.Helper()
	a := b.get("/en/apply/draft/file").want(b.T, 200)
	if err := json.Unmarshal([]byte(a.body), &f); err != nil {
		b.Fatal(err)
	}
	return f
}

// prove lets officers prove their keys as the page's script does.
func (b *browser) prove(signers ...cityid.Signer) {
	b.Helper()
	a := b.file().Apply.Allocation
	for _, s := range signers {
		digest := cityid.PossessionDigest(b.chain, a.Code, a.Policy, s.Key)
		signature, err := s.Sign(digest[:])
		if err != nil {
			b.Fatal(err)
		}
		b.script("/en/apply/draft/proofs", map[string]any{"key": s.Key, "signature": cityid.Bytes(signature)}, nil).want(b.T, 200)
	}
}

// handIn hands the draft in and returns the reference.
func (b *browser) handIn() string {
	b.Helper()
	b.get("/en/apply/draft/check").want(b.T, 200, "Xiong&#39;an New Area", "MA.156.1331")
	a := b.post("/en/apply/draft/check", url.Values{"sure": {"yes"}})
	where := a.header.Get("Location")
	if a.status != 303 || !strings.HasPrefix(where, "/en/apply/receipt/R-") {
		b.Fatalf("hand in: %d to %q: %s", a.status, where, mainPart(a.body))
	}
	reference := strings.TrimPrefix(where, "/en/apply/receipt/")
	b.get(where).want(b.T, 200, reference, "Application received", "working days")
	return reference
}

// TestApply goes the whole way of an applicant: a draft, left and taken up
// again, documents, proofs, the receipt, and the decision.
func TestApply(t *testing.T) {
	w := newWorld(t, withIntake)
	b := w.browser()
	b.get("/en/apply").want(t, 200, "Apply for a city code", "GB/T 2260")
	b.get("/zh/apply").want(t, 200, "申请城市标识")
	resume := b.begin()
	if strings.Contains(b.get("/en/apply/draft").want(t, 200, "0 of 6 tasks").body, resume) {
		t.Error("the resume code is shown again")
	}
	b.get("/en/apply/draft/resume").to(t, "/en/apply/draft")
	b.fill()
	b.upload("/en/apply/draft/evidence", map[string][]byte{"授权书.pdf": pdf("letter of authority"), "stamp.jpg": photograph(t, 40, 30)}).to(t, "/en/apply/draft/evidence")
	page := b.get("/en/apply/draft/evidence").want(t, 200, "授权书.pdf", "stamp.jpg", "Institute C")
	_ = page
	b.get("/en/apply/draft/check").to(t, "/en/apply/draft") // not yet
	b.get("/en/apply/draft/proofs").want(t, 200, "Officer 1", "cityid application prove cityid-MA.156.1331.json --key NAME")
	b.prove(applicant[0])
	b.get("/en/apply/draft").want(t, 200, "1 of 2 keys")

	// Another computer goes on with the resume code.
	b.post("/en/apply/draft/leave", nil).to(t, "/en/apply")
	b.get("/en/apply/draft").to(t, "/en/apply")
	b = w.browser()
	b.post("/en/apply/resume", url.Values{"code": {strings.ToLower(resume)}}).to(t, "/en/apply/draft")
	b.prove(applicant[1])
	for _, screen := range []string{"", "/identity", "/code", "/officers", "/officers/0", "/officers/new", "/evidence", "/proofs", "/check"} {
		b.get("/zh/apply/draft"+screen).want(t, 200)
	}
	reference := b.handIn()
	b.get("/en/apply/draft").to(t, "/en/apply")

	a, err := w.office.Application(t.Context(), reference)
	if err != nil || a.State != office.ApplicationBrought || a.Proposal == 0 {
		t.Fatalf("application %+v, %v", a, err)
	}
	if !strings.Contains(string(a.Contact), "王 晓") || !strings.Contains(string(a.Contact), "Officer 2") || !strings.Contains(string(a.Contact), "授权书.pdf") {
		t.Errorf("contact %s", a.Contact)
	}
	p, err := w.engine.Proposal(t.Context(), a.Proposal)
	if err != nil || len(p.Proposal.Evidence) != 2 || p.Proposal.Member != institutes[0] {
		t.Fatalf("proposal %+v, %v", p, err)
	}
	for i := range institutes { // every seat can open every document
		for _, digest := range p.Proposal.Evidence {
			list, err := w.office.EvidenceByDigest(t.Context(), digest)
			if err != nil || len(list) != 1 {
				t.Fatalf("evidence %v, %v", list, err)
			}
			envelope, err := w.office.ReadFile(t.Context(), list[0].File, office.MaxEnvelope)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := office.OpenEvidence(evidenceKey(i), envelope, digest); err != nil {
				t.Errorf("institute %d: %v", i, err)
			}
		}
	}

	b.get("/en/apply/status/"+reference).want(t, 200, "Institute A", "Institute B", "0 of 2 have approved")
	w.record([]cityid.Signer{officer(1, 1)}, cityid.Operation{Approve: &cityid.Approve{Proposal: a.Proposal, Digest: p.Digest}})
	b.get("/en/apply/status/"+reference).want(t, 200, "1 of 2 have approved")
	w.record([]cityid.Signer{officer(2, 0)}, cityid.Operation{Approve: &cityid.Approve{Proposal: a.Proposal, Digest: p.Digest}})
	b.get("/zh/apply/status/"+reference).want(t, 200, "MA.156.1331 已分配", "/zh/work/MA.156.1331")
	b.get("/en/apply/status/"+reference).want(t, 200, "MA.156.1331 is allocated", "Institute B")
	if _, err := w.engine.Record(t.Context(), xiongan); err != nil {
		t.Error(err)
	}
	b.post("/en/apply/lookup", url.Values{"reference": {strings.ToLower(reference)}}).to(t, "/en/apply/status/"+reference)
	// The resume code leads to the receipt from now on.
	b.post("/en/apply/resume", url.Values{"code": {resume}}).to(t, "/en/apply/receipt/"+reference)
}
