// SPDX-License-Identifier: Apache-2.0

package share_test

import (
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"cityid"
	"cityid/internal/httpsig"
	"cityid/internal/share"
)

// TestOpen asks without a signature: an open dataset is served to anybody, within its
// paths and not without end, and no other is.
func TestOpen(t *testing.T) {
	w := newWorld(t)
	asked := w.counting()
	address := w.give.front.url + "/data/" + share.Segment(air)
	class := func(c cityid.DatasetClass) {
		t.Helper()
		n, content, _ := w.revision(air)
		content.Dataset.Class = c
		w.submit([]cityid.Signer{w.give.officer}, cityid.Operation{Amend: &cityid.Amend{Code: air, Revision: n, Content: content}})
		w.later()
	}
	refused := func(when string) {
		t.Helper()
		asked.Store(0)
		if status, body, h := w.get(address + "/latest"); status != http.StatusUnauthorized || h.Get("Signature") != "" || asked.Load() != 0 {
			t.Errorf("%s: %d %s", when, status, body)
		}
	}
	refused("under conditions")
	class(cityid.DatasetOpen)
	before := w.give.entries()
	status, body, h := w.get(address + "/latest")
	if status != 200 || body != latestBody || h.Get("Content-Digest") != httpsig.Digest([]byte(body)) || h.Get("Data-Receipt") != "" || h.Get("Signature") != "" || w.give.entries() != before {
		t.Errorf("open: %d %s %v", status, body, h)
	}
	asked.Store(0)
	for _, path := range []string{"/secret", "/../latest", "/%2e%2e/latest", "/latest?limit=1", "/stations/a%2fb", "", "//latest"} {
		if status, body, _ := w.get(address + path); status < 400 || status >= 500 {
			t.Errorf("%s: %d %s", path, status, body)
		}
	}
	for _, method := range []string{http.MethodPost, http.MethodPut, http.MethodDelete} {
		r, err := http.NewRequest(method, address+"/latest", nil)
		if err != nil {
			t.Fatal(err)
		}
		if got := w.send(r); got.status < 400 || got.status >= 500 {
			t.Errorf("%s: %v", method, got)
		}
	}
	if asked.Load() != 0 {
		t.Errorf("the service was asked %d times", asked.Load())
	}
	tooMany := false
	for range 5000 { // 200 at once, and 50 a second
		if status, _, _ := w.get(address + "/latest"); status == http.StatusTooManyRequests {
			tooMany = true
			break
		}
	}
	if !tooMany {
		t.Error("5000 requests of one address are served")
	}
	class(cityid.DatasetClosed)
	refused("closed")
}

// TestPlainLinks has a provider's record link to a gateway without TLS, and the
// consumer's asks none but by TLS.
func TestPlainLinks(t *testing.T) {
	var hits atomic.Int32
	w := newWorld(t, func(w *world) {
		w.take.cfg.PrivatePeers, w.take.cfg.URL = false, "https://127.0.0.1:1"
	})
	id := w.agree(nil)
	w.give.front.put(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { hits.Add(1) }))
	if f, err := w.take.Fetch(t.Context(), id, "/latest", ""); cityid.CodeOf(err) != cityid.ErrInvalid || !strings.Contains(err.Error(), "not https") {
		t.Errorf("%v, %v", f, err)
	}
	if hits.Load() != 0 {
		t.Errorf("it was asked %d times", hits.Load())
	}
}

// TestAgreementOfAnother uses an agreement that another city has: this one's gateway does
// not ask, and if it does nothing is served.
func TestAgreementOfAnother(t *testing.T) {
	w := newWorld(t)
	third := w.city(cityid.MustParse("MA.156.1302"), 30)
	now := cityid.TimeOf(w.engine.Now())
	_, content, _ := w.revision(air)
	terms := cityid.Terms{
		Dataset: air, Consumer: third.code, Document: content.Dataset.Document, From: now, Until: now + 86400, Staleness: 30,
		Purpose: cityid.Digest{1}, Respond: now + 3600, Nonce: cityid.Nonce{7},
	}
	id := terms.ID()
	w.submit([]cityid.Signer{third.officer}, cityid.Operation{AgreementRequest: &cityid.AgreementRequest{Terms: terms}})
	w.submit([]cityid.Signer{w.give.officer}, cityid.Operation{AgreementGrant: &cityid.AgreementDecision{Dataset: air, Agreement: id}})
	asked := w.counting()
	var hits atomic.Int32
	gateway := *w.give.front.handler.Load()
	w.give.front.put(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) { hits.Add(1); gateway.ServeHTTP(rw, r) }))
	if status, body, _ := w.get(w.take.local.URL + "/fetch/" + id.String() + "/latest"); status != http.StatusForbidden || !strings.Contains(body, "acts for") {
		t.Errorf("%d %s", status, body)
	}
	if hits.Load() != 0 {
		t.Errorf("the provider was asked %d times", hits.Load())
	}
	if got := w.ordered(w.order(id, "/latest")); got.status != http.StatusForbidden || got.signed() {
		t.Error(got)
	}
	if asked.Load() != 0 {
		t.Errorf("the service was asked %d times", asked.Load())
	}
	o := w.order(id, "/latest")
	o.key = third.key
	if got := w.ordered(o); got.status != 200 {
		t.Errorf("whose it is: %v", got)
	}
}
