// SPDX-License-Identifier: Apache-2.0

package portal_test

import (
	"encoding/csv"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"cityid"
	"cityid/internal/ledger"
	"cityid/internal/office"
	"cityid/internal/portal"
	"cityid/internal/share"
	"cityid/internal/web"
)

// TestShare has one city ask another for data, through the pages and two real
// gateways: asked, granted, fetched, logged, revoked.
func TestShare(t *testing.T) {
	w := newShareWorld(t)
	asker, holder := w.as(tangshanKey), w.as(cityKey)
	asker.has("/en/work/MA.156.1302/agreements", "Asked of you", "Asked by you", "There are no such agreements", "Ask for data")
	asker.get("/en/agreement/new?dataset="+url.QueryEscape(airData.String())).to(t, "/en/work/MA.156.1302/agreements/new?dataset="+url.QueryEscape(airData.String()))
	id := asker.ask(tangshan, airData, tangshanKey)
	one, theirs := "/en/work/MA.156.1302/agreements/"+id, "/en/work/MA.156.1301/agreements/"+id
	asker.has(one, "Requested", "days left", "To plan car parks\nwhere they are missing", "Traffic Act, art. 33", "It is sent to the holder", "within 30 seconds", "Take the request back")
	asker.lacks(one, "Refuse", `value="grant"`)

	// The purpose goes through both gateways; the holder reads it, and nobody else.
	holder.has(theirs, "None has come to your gateway yet")
	w.settle()
	asker.has(one, "The holder&#39;s gateway has it")
	holder.has(theirs, "To plan car parks\nwhere they are missing", "Traffic Act, art. 33", "its digest was compared", `value="grant"`, `value="refuse"`)
	holder.lacks(theirs, "Take the request back")
	if b, err := w.gateways[sjz].Purpose(mustID(t, id)); err != nil || strings.Contains(string(b), "car parks") {
		t.Errorf("what the gateway keeps: %.60q, %v", b, err)
	}

	// It waits in the lists and on the front page, in both languages.
	holder.has("/en/work", "1 request for data waits for you", "0 of yours wait for others")
	holder.has("/zh/work", "1 项数据申请待答复")
	asker.has("/en/work", "0 requests for data wait for you", "1 of yours waits for others")
	holder.has("/en/work/MA.156.1301", `<span class="count">1</span>`)
	holder.has("/en/work/MA.156.1301/agreements", "Air quality", "Tangshan", "You may decide", "days left", id)
	holder.has("/zh/work/MA.156.1301/agreements", "空气质量", "唐山市", "可由您处理", "还剩")
	holder.lacks("/en/work/MA.156.1301/agreements?side=held&state=force", id)
	asker.has("/en/work/MA.156.1302/agreements?side=asked&state=waiting", id)

	// Granting names exactly these terms, on the page that is signed too.
	a := holder.post(theirs, url.Values{"act": {"grant"}, "note": {"welcome"}})
	holder.has(a.header.Get("Location"), "grant the use of dataset "+airData.String(), id, "These are the terms that the digest above stands for", "to be answered before")
	holder.signRequest(a, cityKey)
	holder.has(theirs, "In force", "welcome", "Granted", `value="revoke"`)
	holder.lacks(theirs, `value="grant"`)
	public := w.browser()
	public.has("/en/agreement/"+id, "In force", "Air quality", "Shijiazhuang", "Tangshan", "welcome", "known to the two parties alone")
	public.has("/zh/agreement/"+id, "生效中", "唐山市使用空气质量", "石家庄市")
	public.lacks("/en/agreement/"+id, "car parks", "You have a voice here")
	holder.has("/en/agreement/"+id, "You have a voice here", `href="/en/work/MA.156.1301/agreements/`+id)
	granted, err := w.engine.Agreement(t.Context(), mustID(t, id))
	if err != nil {
		t.Fatal(err)
	}
	block, err := w.engine.Block(t.Context(), granted.Agreement.Decided.Height)
	if err != nil {
		t.Fatal(err)
	}
	public.has("/en/chain/tx/"+block.Txs[0].Receipt.ID.String(), `href="/en/agreement/`+id)

	w.pass(31 * time.Second)
	w.sharedLog(id, asker, holder)

	holder.send(theirs, url.Values{"act": {"grant"}}, http.StatusConflict, "This can not be done any more")
	asker.decide(tangshan, id, tangshanKey, "revoke", "no longer needed")
	holder.has(theirs, "Revoked", "Ended by Tangshan", "no longer needed", "What a revocation does, and does not do")
	holder.lacks(theirs, `name="act"`)
	holder.has("/en/work/MA.156.1301/agreements?side=held&state=ended", id, "Revoked")
	w.pass(31 * time.Second)
	if status, body := w.fetch(id, "/latest"); status != http.StatusForbidden || !strings.Contains(body, "revoked") {
		t.Errorf("a fetch after revocation: %d %s", status, body)
	}
}

func mustID(t *testing.T, text string) cityid.Digest {
	t.Helper()
	id, err := cityid.ParseDigest(text)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

var evidenceLink = regexp.MustCompile(`href="([^"]+/evidence/(?:served|fetched)/[0-9a-f]{64})"`)

// sharedLog reads the access log on both sides.
func (w *shareWorld) sharedLog(id string, asker, holder *browser) {
	w.Helper()
	served, fetched := "/en/work/MA.156.1301/agreements/"+id+"/log", "/en/work/MA.156.1302/agreements/"+id+"/log"
	asker.has(fetched, "Nothing was fetched yet", "0 of 3")
	for i, path := range []string{"/latest", "/latest", "/secret"} {
		if status, body := w.fetch(id, path); status != []int{200, 200, 403}[i] {
			w.Fatalf("fetch %s: %d %s", path, status, body)
		}
	}
	holder.has(served, "/latest", "/secret", "Tangshan", "gw-1 1", "gw-1 3", "2 of 3", "67 % used", "not yet", "403", "200")
	holder.has(strings.Replace(served, "/en/", "/zh/", 1), "访问日志", "今日", "尚未", "唐山市")
	asker.has(fetched, "Shijiazhuang", "/latest", "2 of 3")
	w.fetch(id, "/latest")
	holder.has(served, "used up")
	tomorrow := time.Now().AddDate(0, 0, 2).Format(time.DateOnly)
	holder.has(served+"?from="+tomorrow, "Nothing was fetched in these days", "Show all")
	holder.has(served+"?from=x", "Give a day such as")
	holder.work(served+"?after=x", http.StatusBadRequest)
	holder.work(served+"?of=fetched", http.StatusNotFound)
	holder.work(served+".csv?from=x", http.StatusBadRequest)

	a := holder.get(served + ".csv?of=served")
	rows, err := csv.NewReader(strings.NewReader(a.body)).ReadAll()
	if err != nil || len(rows) != 5 || rows[0][0] != "time" || rows[4][2] != "MA.156.1302" || !strings.HasSuffix(rows[4][3], "/latest") || rows[2][4] != "403" || rows[4][8] != "1" {
		w.Errorf("the table: %v, %v", rows, err)
	}
	links := evidenceLink.FindAllStringSubmatch(holder.get(served).body, -1)
	if len(links) != 4 {
		w.Fatalf("%d links to evidence", len(links))
	}
	for _, m := range links[2:] {
		a := holder.get(m[1])
		if _, err := share.DecodeEvidence([]byte(a.body)); a.status != http.StatusOK || err != nil || !strings.HasPrefix(a.header.Get("Content-Disposition"), "attachment") {
			w.Errorf("evidence: %d, %v", a.status, err)
		}
	}
	// Evidence is for those of the party whose gateway it is, and of this agreement.
	entry := links[2][1][strings.LastIndexByte(links[2][1], '/'):]
	asker.work(strings.Replace(fetched, "/log", "/evidence/served", 1)+entry, http.StatusNotFound)
	other := asker.ask(tangshan, airData, tangshanKey, "purpose", "another")
	asker.work("/en/work/MA.156.1302/agreements/"+other+"/evidence/fetched"+entry, http.StatusNotFound)
	asker.work("/en/work/MA.156.1302/agreements/"+id+"/evidence/fetched"+entry, http.StatusOK)
	for _, bad := range []string{"/evidence/", "/evidence/both" + entry, "/evidence/fetched/1", "/evidence/fetched/" + strings.Repeat("0", 64), "/moon", "/log/x"} {
		asker.work("/en/work/MA.156.1302/agreements/"+id+bad, http.StatusNotFound)
	}
}

// TestShareAsk fills the form in wrongly, in every way.
func TestShareAsk(t *testing.T) {
	w := newShareWorld(t)
	b := w.as(tangshanKey)
	at := "/en/work/MA.156.1302/agreements/new"
	b.has(at, "as the catalogue shows it")
	for dataset, want := range map[string]string{
		"nonsense": "is no code", "MA.156.9999/30.000001/X": "no such code", urban.String(): "is no dataset", closedData.String(): "is closed", bareData.String(): "does not say yet what it shares",
	} {
		b.work(at+"?dataset="+url.QueryEscape(dataset), http.StatusUnprocessableEntity)
		if body := b.get(at + "?dataset=" + url.QueryEscape(dataset)).body; !strings.Contains(body, `id="error-summary"`) {
			t.Errorf("%s: no error (%s)", dataset, want)
		}
	}
	b.has(at+"?dataset="+url.QueryEscape(parkingData.String()), "Anybody may fetch it without an agreement", "The purpose can not be sent", "has published no key")
	b.lacks(at+"?dataset="+url.QueryEscape(airData.String()), "The purpose can not be sent", "You send the purpose")
	today := time.Now().Format(time.DateOnly)
	for _, c := range []struct{ field, value, want string }{
		{"purpose", " \r\n ", "Say what the data are needed for"},
		{"purpose", strings.Repeat("城", office.MaxPurposeText+1), "4,001 characters: at most 4,000"},
		{"purpose", "a\x07b", "characters that can not be shown"},
		{"basis", strings.Repeat("法", office.MaxPurposeBasis+1), "501 characters: at most 500"},
		{"basis", "a\u202eb", "characters that can not be shown"},
		{"from", "tomorrow", "Give a day such as"},
		{"until", "2001-01-01", "comes before the first"},
		{"until", "2099-01-01", "Ten years at most"},
		{"stale", "5", "Choose one"},
		{"respond", "3", "Choose one"},
		{"requests", "0", "greater than 0"},
		{"requests", "-1", "greater than 0"},
		{"octets", "99999999999999999", "greater than 0"},
		{"unit", "PB", "Choose a unit"},
		{"until", today, "The answer would come after the last day"},
		{"dataset", "", "Say which dataset"},
	} {
		a := b.post(at, b.askForm(tangshan, airData, c.field, c.value))
		if a.status != http.StatusUnprocessableEntity || !strings.Contains(a.body, c.want) {
			t.Errorf("%s %.20q: %d, want %q: %s", c.field, c.value, a.status, c.want, mainOf(a.body))
		}
	}
	b.send(at, b.askForm(tangshan, airData, "document", strings.Repeat("1", 64)), http.StatusConflict, "changed while you wrote", "where they are missing")
	b.send(at, url.Values{"dataset": {strings.Repeat("x", 2<<20)}}, http.StatusRequestEntityTooLarge)

	// What is asked for by hand says so: open data by a code without a gateway.
	own := w.as(urbanKey)
	own.has("/en/work/"+urban.String()+"/agreements/new?dataset="+url.QueryEscape(airData.String()), "You send the purpose")
	id := own.ask(urban, airData, urbanKey, "requests", "", "octets", "", "stale", "14400")
	w.settle()
	page := "/en/work/" + urban.String() + "/agreements/" + id
	own.has(page, "Download the encrypted purpose", "/v1/purposes/"+id, "no limit on requests", "no limit on octets", "within 4 hours")
	a := own.get(page + "/purpose")
	p, err := office.OpenPurpose(w.reader, []byte(a.body), w.agreement(id).Agreement.Terms.Purpose)
	if err != nil || p.Basis != "Traffic Act, art. 33" {
		t.Errorf("the encrypted purpose: %+v, %v", p, err)
	}
	// Things ask for nothing.
	holder := w.as(cityKey)
	holder.work("/en/work/"+airData.String()+"/agreements/new?dataset="+url.QueryEscape(airData.String()), http.StatusForbidden, "Things, classes and datasets ask for nothing")
	// Who stands in several policies says for whom.
	holder.work("/en/agreement/new?dataset=!", http.StatusBadRequest)
	w.as(strangerKey).has("/en/agreement/new?dataset="+url.QueryEscape(airData.String()), "no code that could ask")
}

func (w *shareWorld) agreement(id string) *cityid.AgreementAnswer {
	w.Helper()
	a, err := w.engine.Agreement(w.Context(), mustID(w.T, id))
	if err != nil {
		w.Fatal(err)
	}
	return a
}

// TestShareRefuse refuses a request, takes one back, and lets one lapse.
func TestShareRefuse(t *testing.T) {
	w := newShareWorld(t)
	asker, holder := w.as(tangshanKey), w.as(cityKey)
	id := asker.ask(tangshan, airData, tangshanKey)
	at := "/en/work/MA.156.1301/agreements/" + id
	holder.send(at, url.Values{"act": {"refuse"}}, http.StatusUnprocessableEntity, "Say why it is refused")
	holder.send(at, url.Values{"act": {"refuse"}, "note": {strings.Repeat("x", 201)}}, http.StatusUnprocessableEntity, "too long for the chain")
	holder.send(at, url.Values{"act": {"moon"}}, http.StatusUnprocessableEntity, "Choose what to do")
	holder.send(at, url.Values{"act": {"take-back"}}, http.StatusConflict, "can not be done any more")
	holder.send(at, url.Values{"act": {"revoke"}}, http.StatusConflict)
	holder.decide(sjz, id, cityKey, "refuse", "<b>too wide</b>")
	page := asker.has("/en/work/MA.156.1302/agreements/"+id, "Refused", "&lt;b&gt;too wide")
	if strings.Contains(page, "<b>too") {
		t.Error("a note became markup")
	}
	w.settle()
	asker.has("/en/work/MA.156.1302/agreements/"+id, "decided before it could be sent")

	back := asker.ask(tangshan, airData, tangshanKey)
	asker.decide(tangshan, back, tangshanKey, "take-back", "")
	asker.has("/en/work/MA.156.1302/agreements/"+back, "Taken back by whoever asked")

	// One that was changed meanwhile can not be granted.
	stale := asker.ask(tangshan, airData, tangshanKey)
	content := w.rec(airData).Content
	content.Dataset = &cityid.Dataset{Class: cityid.DatasetConditional, Document: cityid.Digest{9}}
	w.record([]cityid.Signer{cityKey}, cityid.Operation{Amend: &cityid.Amend{Code: airData, Revision: 1, Content: content}})
	holder.has("/en/work/MA.156.1301/agreements/"+stale, "can not be granted any more", `value="refuse"`)
	holder.lacks("/en/work/MA.156.1301/agreements/"+stale, `value="grant"`)
	holder.send("/en/work/MA.156.1301/agreements/"+stale, url.Values{"act": {"grant"}}, http.StatusConflict)

	w.pass(20 * 24 * time.Hour)
	holder.has("/en/work/MA.156.1301/agreements?side=held&state=late", stale, "Lapsed")
	holder.has("/en/work/MA.156.1301/agreements/"+stale, "Not answered in time: lapsed", "no block records it")
	asker.has("/zh/work/MA.156.1302/agreements?side=asked&state=late", "逾期未答复")
	asker.has("/en/work/MA.156.1302/agreements?side=asked&state=ended", id, back)
	asker.has("/en/work/MA.156.1302/agreements?side=asked&state=all", id, back, stale)
	for _, bad := range []string{"?side=x", "?state=x", "?page=x", "?after=zz"} {
		holder.work("/en/work/MA.156.1301/agreements"+bad, http.StatusBadRequest)
	}
}

// TestShareForeign keeps everybody out who has no voice for the party, and the
// keys that only fetch.
func TestShareForeign(t *testing.T) {
	w := newShareWorld(t)
	asker := w.as(tangshanKey)
	id := asker.ask(tangshan, airData, tangshanKey)
	w.settle()
	at := "/en/work/MA.156.1301/agreements/" + id
	visitor := w.browser()
	if a := visitor.get(at); a.status != http.StatusSeeOther || !strings.Contains(a.header.Get("Location"), "/sign-in") {
		t.Errorf("a visitor gets %d", a.status)
	}
	gateway := gatewayKey(60)
	for name, key := range map[string]cityid.Signer{
		"a stranger": strangerKey, "the other city": tangshanKey, "a department below": trafficKey, "the province above": provinceKey,
		"the gateway": {Key: publicOf(gateway), Sign: gateway.Sign},
	} {
		b := w.as(key)
		for _, path := range []string{"", "/purpose", "/log", "/log.csv", "/evidence/served/" + strings.Repeat("1", 64)} {
			if a := b.get(at + path); a.status != http.StatusForbidden || strings.Contains(a.body, "car parks") {
				t.Errorf("%s at %s: %d", name, path, a.status)
			}
		}
		if a := b.get("/en/work/MA.156.1301/agreements"); a.status != http.StatusForbidden || strings.Contains(a.body, id) {
			t.Errorf("%s sees the list: %d", name, a.status)
		}
		for _, act := range []string{"grant", "refuse", "revoke"} {
			if a := b.post(at, url.Values{"act": {act}, "note": {"x"}}); a.status != http.StatusForbidden {
				t.Errorf("%s may %s: %d", name, act, a.status)
			}
		}
		if a := b.post("/en/work/MA.156.1301/agreements/new", b.askFormUnchecked(airData)); a.status != http.StatusForbidden {
			t.Errorf("%s asks for the city: %d", name, a.status)
		}
	}
	// The city sees what its department is asked for, and neither decides nor reads.
	parking := asker.ask(tangshan, parkingData, tangshanKey)
	city := w.as(cityKey)
	city.has("/en/work/MA.156.1301/agreements", parking, "Traffic Management decides")
	city.has("/en/work/MA.156.1301/agreements/"+parking, "Parking", "Requested")
	city.lacks("/en/work/MA.156.1301/agreements/"+parking, `name="act"`, "car parks", "Purpose")
	city.send("/en/work/MA.156.1301/agreements/"+parking, url.Values{"act": {"grant"}}, http.StatusConflict)
	city.work("/en/work/MA.156.1301/agreements/"+parking+"/purpose", http.StatusNotFound)
	city.work("/en/work/MA.156.1301/agreements/"+parking+"/log", http.StatusNotFound)
	// And an agreement is found only below those it belongs to.
	w.as(urbanKey).work("/en/work/MA.156.1301.01/agreements/"+id, http.StatusNotFound)
	// Even when it is signed elsewhere, the gateway's key decides nothing.
	a := city.post(at, url.Values{"act": {"grant"}})
	where := a.header.Get("Location")
	city.post(where+"/body", url.Values{"signers": {publicOf(gateway).String()}}).to(t, where)
	digest := mustID(t, digestPattern.FindStringSubmatch(city.get(where).body)[1])
	signature, err := gateway.Sign(digest[:])
	if err != nil {
		t.Fatal(err)
	}
	city.script(where+"/signature", map[string]any{"key": publicOf(gateway), "signature": cityid.Bytes(signature)}, nil)
	if s := w.agreement(id).State; s != cityid.AgreementRequested {
		t.Errorf("the gateway's key made it %v", s)
	}
}

// askFormUnchecked is what somebody may post who has not seen the form.
func (b *browser) askFormUnchecked(dataset cityid.Code) url.Values {
	return url.Values{"dataset": {dataset.String()}, "purpose": {"x"}, "from": {"2026-01-01"}, "until": {"2027-01-01"}, "stale": {"30"}, "respond": {"5"}, "unit": {"B"}}
}

// TestShareTogether has a city ask whose two officers decide together: the request
// is a proposal first, and its purpose waits.
func TestShareTogether(t *testing.T) {
	w := newShareWorld(t)
	two := w.rec(tangshan).Policy
	two.Members = append(two.Members, cityid.Member{Keys: []cityid.Key{{Public: tangshanKey2.Key, Roles: cityid.RoleControl}}})
	two.Threshold = 2
	w.record([]cityid.Signer{tangshanKey}, cityid.Operation{Rekey: &cityid.Rekey{Code: tangshan, Revision: 1, Policy: two}})
	first := w.as(tangshanKey)
	id := first.ask(tangshan, airData, tangshanKey)
	at := "/en/work/MA.156.1302/agreements/" + id
	first.has(at, "Not on the chain yet", "waits for signatures", "To plan car parks")
	first.has("/en/work/MA.156.1302/agreements?side=asked&state=waiting", "Prepared here, not signed yet", id)
	w.as(cityKey).work("/en/work/MA.156.1301/agreements/"+id, http.StatusNotFound)
	first.send(at, url.Values{"act": {"revoke"}}, http.StatusConflict)
	w.settle()
	if _, err := w.gateways[sjz].Purpose(mustID(t, id)); cityid.CodeOf(err) != cityid.ErrNotFound {
		t.Errorf("a purpose of a request that nobody has decided: %v", err)
	}
	p, err := w.engine.Proposals(t.Context(), cityid.ProposalQuery{State: cityid.ProposalPending, Limit: 1})
	if err != nil || len(p.Proposals) != 1 {
		t.Fatalf("proposals: %+v, %v", p, err)
	}
	number := p.Proposals[0].Proposal.Number
	second := w.as(tangshanKey2)
	second.has("/en/review/1", "ask on behalf of MA.156.1302", `href="/en/agreement/`+id)
	w.record([]cityid.Signer{tangshanKey2}, cityid.Operation{Approve: &cityid.Approve{Proposal: number, Digest: p.Proposals[0].Digest}})
	second.has(at, "Requested")
	w.settle()
	w.as(cityKey).has("/en/work/MA.156.1301/agreements/"+id, "To plan car parks")

	// Both together take it back.
	a := second.post(at, url.Values{"act": {"take-back"}})
	second.signRequest(a, tangshanKey2)
	if s := w.agreement(id).State; s != cityid.AgreementRequested {
		t.Errorf("one of two took it back: %v", s)
	}
}

// TestShareByHand has officers carry files where the portal knows no gateway, or has
// no key, and says so where a gateway does not answer.
func TestShareByHand(t *testing.T) {
	without := newShareWorld(t, func(c *portal.Config) { c.Gateways = nil })
	id := without.as(tangshanKey).ask(tangshan, airData, tangshanKey)
	at := "/en/work/MA.156.1301/agreements/" + id
	without.settle()
	city := without.as(cityKey)
	city.has(at, "knows no gateway of the holder", "curl -o purpose.age", "cityid agreement purpose open")
	city.work(at+"/log", http.StatusNotFound)
	city.work(at+"/purpose", http.StatusNotFound)

	keyless := newShareWorld(t, func(c *portal.Config) { c.EvidenceKey = nil })
	id = keyless.as(tangshanKey).ask(tangshan, airData, tangshanKey)
	at = "/en/work/MA.156.1301/agreements/" + id
	keyless.settle()
	city = keyless.as(cityKey)
	city.has(at, "has no key that opens it", "purpose open purpose.age --agreement "+id)
	city.lacks(at, "car parks")
	p, err := office.OpenPurpose(keyless.reader, []byte(city.get(at+"/purpose").body), keyless.agreement(id).Agreement.Terms.Purpose)
	if err != nil || !strings.Contains(p.Text, "car parks") {
		t.Errorf("%+v, %v", p, err)
	}

	dead := httptest.NewServer(nil)
	dead.Close()
	silent := newShareWorld(t, func(c *portal.Config) {
		g, err := portal.NewHTTPGateways(map[cityid.Code]string{sjz: dead.URL, tangshan: dead.URL})
		if err != nil {
			t.Fatal(err)
		}
		c.Gateways = g
	})
	asker := silent.as(tangshanKey)
	id = asker.ask(tangshan, airData, tangshanKey)
	silent.settle()
	asker.has("/en/work/MA.156.1302/agreements/"+id, "on its way", "does not answer", "To plan car parks")
	city = silent.as(cityKey)
	city.has("/en/work/MA.156.1301/agreements/"+id, "does not answer", `value="grant"`)
	city.work("/en/work/MA.156.1301/agreements/"+id+"/log", http.StatusBadGateway, "can not be read now")
	city.work("/en/work/MA.156.1301/agreements/"+id+"/log.csv", http.StatusServiceUnavailable)
}

// TestGatewayAnswers asks gateways that answer what none should, about agreements.
func TestGatewayAnswers(t *testing.T) {
	answer := func(w http.ResponseWriter, r *http.Request) {}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { answer(w, r) }))
	defer server.Close()
	g, err := portal.NewHTTPGateways(map[cityid.Code]string{sjz: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	problem := func(status int, code string) func(http.ResponseWriter, *http.Request) {
		return func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", web.ProblemType)
			w.WriteHeader(status)
			fmt.Fprintf(w, `{"code":%q,"detail":"<why>"}`, code)
		}
	}
	q := ledger.AccessQuery{Agreement: cityid.Digest{1}}
	for name, c := range map[string]struct {
		answer func(http.ResponseWriter, *http.Request)
		want   cityid.ErrorCode
	}{
		"not found":    {problem(404, "not-found"), cityid.ErrNotFound},
		"unknown code": {problem(404, "moon"), cityid.ErrUnavailable},
		"no problem":   {func(w http.ResponseWriter, r *http.Request) { http.Error(w, "x", 500) }, cityid.ErrUnavailable},
		"elsewhere":    {func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/v1/status", http.StatusFound) }, cityid.ErrUnavailable},
		"too much":     {func(w http.ResponseWriter, r *http.Request) { w.Write(make([]byte, 17<<20)) }, cityid.ErrUnavailable},
		"broken off": {func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "100")
			w.Write([]byte("x"))
		}, cityid.ErrUnavailable},
	} {
		answer = c.answer
		_, purpose := g.Purpose(t.Context(), sjz, cityid.Digest{1})
		_, log := g.Log(t.Context(), sjz, q)
		_, evidence := g.EvidenceUnder(t.Context(), sjz, cityid.Digest{1}, cityid.Digest{2})
		send := g.SendPurpose(t.Context(), sjz, cityid.Digest{1}, []byte("x"))
		for what, err := range map[string]error{"purpose": purpose, "log": log, "evidence": evidence, "send": send} {
			if cityid.CodeOf(err) != c.want {
				t.Errorf("%s: %s: %v", name, what, err)
			}
		}
	}
	for name, body := range map[string]string{
		"nothing": "{}", "another's": `{"party":"MA.156.1302","entries":[],"day":"2026-03-01","served":{"requests":0,"octets":0,"refused":0},"fetched":{"requests":0,"octets":0,"refused":0}}`,
	} {
		answer = func(w http.ResponseWriter, r *http.Request) { w.Write([]byte(body)) }
		if _, err := g.Log(t.Context(), sjz, q); cityid.CodeOf(err) != cityid.ErrUnavailable {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestShareMany pages through more requests than are put in order at once: none is
// shown twice or left out, and those due first come first.
func TestShareMany(t *testing.T) {
	w := newShareWorld(t)
	now := cityid.TimeOf(w.engine.Now())
	askers := []cityid.Code{sjz, tangshan, urban, traffic, hebei}
	const each = 220
	var ops []cityid.Operation
	send := func() {
		if len(ops) > 0 {
			w.record([]cityid.Signer{cityKey, tangshanKey, urbanKey, trafficKey, provinceKey}, ops...)
		}
		ops = nil
	}
	for i := range each * len(askers) {
		terms := cityid.Terms{
			Dataset: airData, Consumer: askers[i%len(askers)], Document: w.rec(airData).Content.Dataset.Document, From: now, Until: now + 100*86400,
			Staleness: 30, Purpose: cityid.Digest{1}, Respond: now + cityid.Time(86400+(i*7919)%86400*20), Nonce: cityid.Nonce{byte(i), byte(i >> 8), 1},
		}
		ops = append(ops, cityid.Operation{AgreementRequest: &cityid.AgreementRequest{Terms: terms}})
		if len(ops) == 800 {
			send()
		}
	}
	send()
	b := w.as(cityKey)
	b.has("/en/work", "1,001 requests for data wait for you")
	b.has("/en/work/MA.156.1301/agreements", `<span class="count">1,000+</span>`)
	id, due := regexp.MustCompile(`<tr class="mine"><td><a href="[^"]+/agreements/([0-9a-f]{64})"`), regexp.MustCompile(`(?s)<tr class="mine">.*?<time datetime="([^"]+)"`)
	next := regexp.MustCompile(`rel="next" href="([^"]+)"`)
	seen, pages, last := map[string]bool{}, 0, ""
	for at := "/en/work/MA.156.1301/agreements"; at != ""; pages++ {
		body := b.has(at)
		if strings.Contains(at, "after=") && !strings.Contains(at, "page=") {
			last = "" // another thousand
		}
		for _, m := range id.FindAllStringSubmatch(body, -1) {
			if seen[m[1]] {
				t.Errorf("%s is shown twice", m[1])
			}
			seen[m[1]] = true
		}
		for _, m := range due.FindAllStringSubmatch(body, -1) {
			if m[1] < last {
				t.Errorf("%s comes after %s", m[1], last)
			}
			last = m[1]
		}
		m := next.FindStringSubmatch(body)
		if at = ""; m != nil {
			at = strings.ReplaceAll(m[1], "&amp;", "&")
		}
	}
	if len(seen) != each*len(askers) || pages < 44 {
		t.Errorf("%d agreements on %d pages", len(seen), pages)
	}
}
