// SPDX-License-Identifier: Apache-2.0

package share_test

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"cityid"
	"cityid/internal/ledger"
	"cityid/internal/share"
)

// posted returns the order that posts a body to another gateway.
func (w *world) posted(id cityid.Digest, target, tag string, body []byte) *order {
	o := w.order(id, "")
	o.method, o.target, o.tag, o.body = http.MethodPost, target, tag, body
	return o
}

// TestMethods signs fetches of all kinds: data are read and nothing else.
func TestMethods(t *testing.T) {
	w := newWorld(t)
	id := w.agree(nil)
	asked := w.counting()
	for _, method := range []string{"POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND"} {
		o := w.order(id, "/latest")
		o.method = method
		if got := w.ordered(o); got.status < 400 || got.status >= 500 {
			t.Errorf("%s: %v", method, got)
		}
	}
	if asked.Load() != 0 {
		t.Errorf("the service was asked %d times", asked.Load())
	}
}

// TestProofsOfOthers asks for the proof of an answer under another agreement than its
// own: what others fetched is nobody's business.
func TestProofsOfOthers(t *testing.T) {
	w := newWorld(t)
	id, other := w.agree(nil), w.agree(func(t *cityid.Terms) { t.Nonce = cityid.Nonce{2} })
	entry := w.fetched(id)
	w.anchored()
	proofs := func(id cityid.Digest, asked ...cityid.Digest) []cityid.Bytes {
		t.Helper()
		got := w.ordered(w.posted(id, "/proofs", "cityid-proof", cityid.MustMarshal(asked)))
		var list []cityid.Bytes
		if err := cityid.Unmarshal([]byte(got.body), &list); err != nil || got.status != 200 || len(list) != len(asked) {
			t.Fatal(got, err)
		}
		return list
	}
	if list := proofs(other, entry, cityid.Digest{1}); len(list[0]) != 0 || len(list[1]) != 0 {
		t.Error("under another agreement there is a proof")
	}
	list := proofs(id, entry, cityid.Digest{1})
	if p, _, _, err := ledger.DecodeLeafProof(list[0]); err != nil || ledger.EntryHash(p.Entry) != entry || len(list[1]) != 0 {
		t.Errorf("under its own: %v", err)
	}
	for name, body := range map[string][]byte{
		"nothing": nil, "no list": cityid.MustMarshal(7), "an empty list": cityid.MustMarshal([]cityid.Digest{}), "too many": cityid.MustMarshal(make([]cityid.Digest, 65)),
		"more behind it": append(cityid.MustMarshal([]cityid.Digest{entry}), 0), "too much": make([]byte, 17<<10),
	} {
		if got := w.ordered(w.posted(id, "/proofs", "cityid-proof", body)); got.status < 400 || got.status >= 500 {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// TestPurposes sends purposes that are none, or to whom they are no business of: nothing
// is kept of them. Of several for one request the first counts.
func TestPurposes(t *testing.T) {
	w := newWorld(t)
	now := cityid.TimeOf(w.engine.Now())
	_, content, _ := w.revision(air)
	terms := cityid.Terms{
		Dataset: air, Consumer: consumer, Document: content.Dataset.Document, From: now, Until: now + 86400, Staleness: 30,
		Purpose: cityid.Digest{1}, Respond: now + 3600, Nonce: cityid.Nonce{7},
	}
	w.submit([]cityid.Signer{w.take.officer}, cityid.Operation{AgreementRequest: &cityid.AgreementRequest{Terms: terms}})
	id, granted := terms.ID(), w.agree(nil)
	sealed := []byte("age-encryption.org/v1\nfirst")
	send := func(id cityid.Digest, body []byte, change func(*order)) said {
		o := w.posted(id, "/purposes", "cityid-purpose", body)
		if change != nil {
			change(o)
		}
		return w.ordered(o)
	}
	for name, got := range map[string]said{
		"in the clear":             send(id, []byte("to find out who was there"), nil),
		"nothing":                  send(id, nil, nil),
		"too much":                 send(id, append(bytes.Clone(sealed), make([]byte, share.MaxPurpose)...), nil),
		"for a granted agreement":  send(granted, sealed, nil),
		"for no agreement":         send(cityid.Digest{3}, sealed, nil),
		"by another key":           send(id, sealed, func(o *order) { o.key = gatewayKey(t, 2) }),
		"signed as a fetch":        send(id, sealed, func(o *order) { o.tag = "cityid-fetch" }),
		"by the provider's itself": send(id, sealed, func(o *order) { o.key = w.give.key }),
	} {
		if got.status < 400 || got.status >= 500 {
			t.Errorf("%s: %v", name, got)
		}
	}
	// The consumer's own gateway does not hold the dataset.
	w.engine.Advance(12 * time.Second) // a new gateway does not know what it has seen before
	o := w.posted(id, "/purposes", "cityid-purpose", sealed)
	o.authority = strings.TrimPrefix(w.take.front.url, "http://")
	if got := w.send(o.sign(t, w.take.front.url)); got.status != http.StatusForbidden {
		t.Errorf("to whom it is no business of: %v", got)
	}
	for _, c := range []*city{w.give, w.take} {
		if b, err := c.Purpose(id); err == nil {
			t.Errorf("%s keeps %q", c.code, b)
		}
	}
	for _, body := range [][]byte{sealed, []byte("age-encryption.org/v1\nsecond")} {
		if got := send(id, body, nil); got.status != http.StatusNoContent {
			t.Error(got)
		}
	}
	if b, err := w.give.Purpose(id); err != nil || !bytes.Equal(b, sealed) {
		t.Errorf("%q is kept, %v", b, err)
	}
}

// TestOtherBody replaces the body of a message on its way, and leaves its signature.
func TestOtherBody(t *testing.T) {
	w := newWorld(t)
	id := w.agree(nil)
	w.take.stop() // it would acknowledge
	entry, other := w.served(w.order(id, "/latest")), w.served(w.order(id, "/latest"))
	w.anchor(w.give)
	for name, c := range map[string]struct{ signed, sent *order }{
		"an acknowledgement": {w.acknowledgement(id, entry), w.acknowledgement(id, other)},
		"a question": {
			w.posted(id, "/proofs", "cityid-proof", cityid.MustMarshal([]cityid.Digest{{1}})),
			w.posted(id, "/proofs", "cityid-proof", cityid.MustMarshal([]cityid.Digest{entry})),
		},
	} {
		r := c.signed.sign(t, w.give.front.url)
		r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(c.sent.body)), int64(len(c.sent.body))
		if got := w.send(r); got.status < 400 || got.status >= 500 {
			t.Errorf("%s: %v", name, got)
		}
	}
	if n := w.give.Ledger().Unacknowledged(id, ledger.DirectionServed); n != 2 {
		t.Errorf("%d answers wait", n)
	}
}

// anchor closes and anchors what a city's gateway has.
func (w *world) anchor(c *city) {
	w.t.Helper()
	if err := c.Anchor(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
	if err := w.engine.Settle(); err != nil {
		w.t.Fatal(err)
	}
}

// TestEvidenceOfOneAgreement asks for evidence as a page of one agreement does.
func TestEvidenceOfOneAgreement(t *testing.T) {
	w := newWorld(t)
	id, other := w.agree(nil), w.agree(func(t *cityid.Terms) { t.Nonce = cityid.Nonce{2} })
	entry := w.fetched(id)
	address := w.take.local.URL + "/v1/evidence/" + entry.String()
	for query, want := range map[string]int{
		"": 200, "?agreement=" + id.String(): 200, "?agreement=" + other.String(): 404, "?agreement=": 404, "?agreement=x": 404,
	} {
		if status, body, _ := w.get(address + query); status != want {
			t.Errorf("%s: %d %.200s", query, status, body)
		}
	}
}

// TestNodeLeftBehind lets the only node fall back to a state before a revocation, which
// is recent enough by the agreement: what was learned stays known.
func TestNodeLeftBehind(t *testing.T) {
	w := newWorld(t)
	id := w.agree(func(t *cityid.Terms) { t.Staleness = cityid.MaxStaleness })
	w.pass(time.Second)
	status, err := w.engine.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var behind atomic.Bool
	n := &badNode{Node: w.engine}
	n.bundle = func(ctx context.Context, q cityid.BundleQuery) ([]byte, error) {
		if behind.Load() {
			q.At = status.Height - 1
		}
		return w.engine.Bundle(ctx, q)
	}
	w.give.stop()
	w.give.nodes = []share.Node{n}
	w.open(w.give)
	w.engine.Advance(time.Second)
	if got := w.ordered(w.order(id, "/latest")); got.status != 200 {
		t.Fatal(got)
	}
	w.submit([]cityid.Signer{w.give.officer}, cityid.Operation{AgreementRevoke: &cityid.AgreementDecision{Dataset: air, Agreement: id}})
	w.pass(5 * time.Second)
	refused := func() bool {
		got := w.ordered(w.order(id, "/latest"))
		return got.status == 403 && strings.Contains(got.body, "revoked")
	}
	w.await("the revocation", refused)
	behind.Store(true)
	for range 3 {
		before := n.asked.Load()
		w.engine.Advance(5 * time.Second)
		w.ordered(w.order(id, "/latest"))
		w.await("a question to the node", func() bool { return n.asked.Load() > before })
		if !refused() || !refused() {
			t.Fatal("a node that was left behind is believed")
		}
	}
}
