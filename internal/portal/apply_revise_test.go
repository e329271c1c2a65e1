// SPDX-License-Identifier: Apache-2.0

package portal_test

import (
	"encoding/json"
	"net/url"
	"strings"
	"testing"
	"time"

	"cityid"
	"cityid/internal/office"
)

// TestApplyRevise has an application returned with a note, and the applicant
// change it: the officers sign, and approvals start again.
func TestApplyRevise(t *testing.T) {
	w := newWorld(t, withIntake, withTestKeys)
	b := w.browser()
	b.begin()
	b.fill()
	b.upload("/en/apply/draft/evidence", map[string][]byte{"letter.pdf": pdf("letter")}).to(t, "/en/apply/draft/evidence")
	b.prove(applicant...)
	reference := b.handIn()
	a, err := w.office.Application(t.Context(), reference)
	if err != nil {
		t.Fatal(err)
	}
	p := w.proposal(a.Proposal)
	w.record([]cityid.Signer{officer(1, 0)}, cityid.Operation{Approve: &cityid.Approve{Proposal: a.Proposal, Digest: p.Digest}})
	w.record([]cityid.Signer{officer(2, 0)}, cityid.Operation{Return: &cityid.Return{Proposal: a.Proposal, Digest: p.Digest, Note: "the seal <b>is missing</b>"}})
	b.get("/en/apply/status/"+reference).want(t, 200, "Returned for changes", "the seal &lt;b&gt;is missing&lt;/b&gt;")

	b.post("/en/apply/status/"+reference+"/revise", nil).to(t, "/en/apply/draft/resume")
	b.post("/en/apply/draft/resume", nil).to(t, "/en/apply/draft")
	b.get("/en/apply/draft").want(t, 200, "Change application", "2 of 2 keys")
	if page := b.get("/en/apply/draft/officers").want(t, 200, "Officer 1"); strings.Contains(page.body, "S-0") {
		t.Error("the officers' staff numbers come back to whoever has the reference")
	}
	form := identity()
	form.Set("name-en", "Xiong'an")
	b.post("/en/apply/draft/identity", form).to(t, "/en/apply/draft/code")
	b.get("/en/apply/draft/code").want(t, 200, "MA.156.1331", "The code is fixed")
	b.upload("/en/apply/draft/evidence", map[string][]byte{"seal.jpg": photograph(t, 20, 20)}).to(t, "/en/apply/draft/evidence")
	b.get("/en/apply/draft/check").want(t, 200, "1 handed in before", "seal.jpg")
	answer := b.post("/en/apply/draft/check", url.Values{"sure": {"yes"}})
	where := answer.header.Get("Location")
	b.signIn(applicant[0])
	b.signRequest(answer, applicant[0])
	if now := w.proposal(a.Proposal); now.State != cityid.ProposalReturned {
		t.Fatalf("one officer of two has changed the application: %v", now.State)
	}
	next := b.signRequest(answer, applicant[1])
	if !strings.HasPrefix(next, "/en/apply/status/"+reference) {
		t.Fatalf("%s goes on to %s", where, next)
	}
	b.get(next).want(t, 200, "0 of 2 have approved", "Xiong&#39;an")
	b.get("/en/apply/draft").to(t, "/en/apply")
	now := w.proposal(a.Proposal)
	if now.State != cityid.ProposalPending || len(now.Proposal.Evidence) != 2 || now.Proposal.Operations[0].Allocate.Items[0].Content.Names.Get("en") != "Xiong'an" {
		t.Fatalf("%+v", now)
	}
	if missing, err := w.office.MissingEvidence(t.Context(), a.Proposal); err != nil || len(missing) != 0 {
		t.Errorf("missing evidence %v, %v", missing, err)
	}
	// A stranger with the reference can not sign for the applicant.
	stranger := w.browser()
	stranger.post("/en/apply/status/"+reference+"/revise", nil).to(t, "/en/apply/draft/resume")
	if a := stranger.get("/en/apply/draft/resume").want(t, 200); strings.Contains(a.body, "王 晓") {
		t.Error("the contact comes back to whoever has the reference")
	}
}

// TestApplyWithoutIntake leaves an application to a clerk, who declines it.
func TestApplyWithoutIntake(t *testing.T) {
	w := newWorld(t)
	b := w.browser()
	b.begin()
	b.fill()
	b.prove(applicant...)
	b.get("/en/apply/draft/check").want(t, 200, "A clerk of this institution")
	reference := b.handIn()
	b.get("/en/apply/status/"+reference).want(t, 200, "On the chain")
	b.post("/en/apply/status/"+reference+"/revise", nil).want(t, 409)
	a, err := w.office.Application(t.Context(), reference)
	if err != nil || a.State != office.ApplicationWaiting {
		t.Fatalf("%+v, %v", a, err)
	}
	if err := w.office.Decline(t.Context(), reference, "the letter is <b>not</b> signed"); err != nil {
		t.Fatal(err)
	}
	b.get("/zh/apply/status/"+reference).want(t, 200, "未予受理", "the letter is &lt;b&gt;not&lt;/b&gt; signed")
}

// TestApplyTakenMeanwhile hands in what the registry then refuses: somebody else
// got the code between. The application waits for the clerk, and says why.
func TestApplyTakenMeanwhile(t *testing.T) {
	w := newWorld(t, withIntake)
	b := w.browser()
	b.begin()
	b.fill()
	b.prove(applicant...)
	b.get("/en/apply/draft/check").want(t, 200)
	f := b.file()
	other := f.Apply
	n := w.record([]cityid.Signer{officer(1, 0)}, cityid.Operation{Apply: &other}).Proposals[0]
	b.get("/en/apply/draft/code").want(t, 200, "No. ")
	digest := w.proposal(n).Digest
	for i := range 2 {
		w.record([]cityid.Signer{officer(i, 0)}, cityid.Operation{Approve: &cityid.Approve{Proposal: n, Digest: digest}})
	}
	b.get("/en/apply/draft/code").want(t, 200, "codes are never used again")
	b.post("/en/apply/draft/check", url.Values{"sure": {"yes"}}).to(t, "/en/apply/draft")

	reference, err := w.office.Receive(t.Context(), office.Submission{Apply: f.Apply}) // as if a moment earlier
	if err != nil {
		t.Fatal(err)
	}
	b.get("/en/apply/status/"+reference).want(t, 200, "Not on the chain yet", "already allocated")
	a, err := w.office.Application(t.Context(), reference)
	if err != nil || a.State != office.ApplicationWaiting || len(a.Prepared) != 0 {
		t.Errorf("%+v, %v", a, err)
	}
}

// TestApplyCrash brings an application whose transaction was given to the chain
// just before the portal died: it becomes one proposal.
func TestApplyCrash(t *testing.T) {
	w := newWorld(t, withIntake)
	f := w.application(applicant[0])
	reference, err := w.office.Receive(t.Context(), office.Submission{Apply: *f})
	if err != nil {
		t.Fatal(err)
	}
	tx, err := cityid.SignTx(cityid.Body{Chain: w.chain, Expires: cityid.TimeOf(time.Now().Add(5 * time.Minute)), Operations: []cityid.Operation{{Apply: f}}}, officer(0, 0))
	if err != nil {
		t.Fatal(err)
	}
	raw := cityid.MustMarshal(tx)
	if err := w.office.Prepare(t.Context(), reference, raw); err != nil {
		t.Fatal(err)
	}
	r, err := w.engine.Submit(t.Context(), raw, true)
	if err != nil || r.Err() != nil {
		t.Fatal(err, r)
	}
	b := w.browser()
	for range 2 {
		b.get("/en/apply/status/"+reference).want(t, 200, "0 of 2 have approved")
	}
	all, err := w.engine.Proposals(t.Context(), cityid.ProposalQuery{Code: tangshan, Limit: 10})
	if err != nil || len(all.Proposals) != 1 {
		t.Errorf("%d proposals, %v", len(all.Proposals), err)
	}
}

// TestApplyFile hands in what the command has written: the page adds the contact
// and the documents, which are those that the file names.
func TestApplyFile(t *testing.T) {
	w := newWorld(t, withIntake)
	letter := pdf("letter of authority")
	salt := cityid.Digest{1, 2, 3}
	apply := w.application(applicant[0], cityid.EvidenceDigest(salt, letter))
	file := map[string]any{"version": 1, "chain": w.chain, "apply": apply, "evidence": []any{map[string]any{"name": "letter.pdf", "salt": salt}}}
	text, err := json.Marshal(file)
	if err != nil {
		t.Fatal(err)
	}
	b := w.browser()
	b.upload("/en/apply/file", map[string][]byte{"a.json": text}).to(t, "/en/apply/draft/resume")
	b.post("/en/apply/draft/resume", nil).to(t, "/en/apply/draft")
	b.get("/en/apply/draft").want(t, 200, "uploaded file", "Tangshan", "1 of 1 keys")
	b.get("/en/apply/draft/officers").want(t, 200, "controlled by 1 of 1")
	b.get("/en/apply/draft/officers/new").want(t, 404)
	b.post("/en/apply/draft/identity", url.Values{"contact-name": {"Wang"}, "contact-email": {"w@example.cn"}, "name-en": {"Elsewhere"}}).to(t, "/en/apply/draft/code")
	b.get("/en/apply/draft/evidence").want(t, 200, "upload them", "letter.pdf")
	b.upload("/en/apply/draft/evidence", map[string][]byte{"letter.pdf": pdf("another letter")}).want(t, 422, "not one of the documents")
	b.upload("/en/apply/draft/evidence", map[string][]byte{"letter.pdf": letter}).to(t, "/en/apply/draft/evidence")
	b.get("/en/apply/draft/check").want(t, 200, "Tangshan")
	where := b.post("/en/apply/draft/check", url.Values{"sure": {"yes"}}).header.Get("Location")
	reference := strings.TrimPrefix(where, "/en/apply/receipt/")
	a, err := w.office.Application(t.Context(), reference)
	if err != nil || a.State != office.ApplicationBrought || a.Apply.Evidence[0] != apply.Evidence[0] {
		t.Fatalf("%s: %+v, %v", where, a, err)
	}
	file["chain"] = "another-chain"
	if text, err = json.Marshal(file); err != nil {
		t.Fatal(err)
	}
	b.upload("/en/apply/file", map[string][]byte{"a.json": text}).want(t, 422, "was made for chain")
}

// TestApplyCounty tells early that nobody takes applications for a kind: a county
// is its city's to allocate, and the city has no intake key.
func TestApplyCounty(t *testing.T) {
	w := newWorld(t)
	b := w.browser()
	b.begin()
	form := identity()
	form.Set("kind", "county")
	form.Set("alias-gb2260", "130181")
	b.post("/en/apply/draft/identity", form).to(t, "/en/apply/draft/code")
	b.get("/en/apply/draft/code").want(t, 200, "MA.156.130181", "Shijiazhuang has no intake key")
	b.post("/en/apply/draft/code", url.Values{"code": {"MA.156.130181"}}).want(t, 422, "no intake key")
	form.Set("kind", "province")
	form.Set("alias-gb2260", "710000")
	b.post("/en/apply/draft/identity", form).to(t, "/en/apply/draft/code")
	b.get("/en/apply/draft/code").want(t, 200, "MA.156.71", "Free to apply for")
}

// TestApplyLimit hands in more applications than one address may.
func TestApplyLimit(t *testing.T) {
	w := newWorld(t)
	for i := range 12 {
		b := w.browser()
		b.begin()
		b.fill()
		b.prove(applicant...)
		a := b.post("/en/apply/draft/check", url.Values{"sure": {"yes"}})
		if i < 10 && a.status != 303 || i >= 10 && a.status != 429 && a.status != 503 {
			t.Fatalf("application %d: status %d", i, a.status)
		}
		if i >= 10 {
			b.get("/en/apply/draft").want(t, 200, "4 of 6", "Check and hand in") // nothing is lost
		}
	}
}
