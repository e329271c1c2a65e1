// SPDX-License-Identifier: Apache-2.0

package share_test

import (
	"encoding/base64"
	"net/http"
	"strings"
	"testing"
	"time"

	"cityid"
	"cityid/internal/httpsig"
	"cityid/internal/ledger"
	"cityid/internal/share"
	"cityid/verify"
)

// claimed writes into the consumer's log a fetch of which both sides claim that it
// was at a time, anchors it, and returns the evidence. Nothing but the time is wrong.
func (w *world) claimed(id cityid.Digest, at cityid.Time) *share.Evidence {
	w.t.Helper()
	return w.answered(id, at, at)
}

// answered is claimed for an answer that took some time.
func (w *world) answered(id cityid.Digest, asked, at cityid.Time) *share.Evidence {
	w.t.Helper()
	entry := w.written(id, asked, at)
	if err := w.take.Anchor(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
	if err := w.engine.Settle(); err != nil {
		w.t.Fatal(err)
	}
	e, err := w.take.Evidence(w.t.Context(), entry)
	if err != nil {
		w.t.Fatal(err)
	}
	return e
}

// written writes a fetch into the consumer's log of which the provider's knows nothing,
// and returns its entry.
func (w *world) written(id cityid.Digest, asked, at cityid.Time) cityid.Digest {
	w.t.Helper()
	o := w.order(id, "/latest")
	o.created = asked.Std()
	h := http.Header{"Content-Digest": {httpsig.Digest(nil)}, "Data-Agreement": {o.agreement}}
	m := &httpsig.Message{Method: o.method, Scheme: "http", Host: o.authority, Target: o.target, Header: h}
	request, err := httpsig.RequestProfile(o.tag).Sign(m, httpsig.Params{Created: o.created, KeyID: w.take.key.Public().String()}, w.take.key)
	if err != nil {
		w.t.Fatal(err)
	}
	digest, err := httpsig.ParseDigest(httpsig.Digest(promised))
	if err != nil {
		w.t.Fatal(err)
	}
	receipt, err := (&ledger.Receipt{
		Version: 1, Agreement: id, Dataset: air, Provider: provider, Log: "gw-1", Number: 1, Request: request.Hash(), Status: 200,
		Size: uint64(len(promised)), Content: digest, Time: at, Height: 1,
	}).Encode()
	if err != nil {
		w.t.Fatal(err)
	}
	answer, err := httpsig.ResponseProfile().Sign(httpsig.ResponseToSend(200, http.Header{
		"Content-Type": {"application/json"}, "Content-Digest": {httpsig.FormatDigest(digest)},
		"Data-Receipt": {":" + base64.StdEncoding.EncodeToString(receipt) + ":"},
	}, m), httpsig.Params{Created: at.Std(), KeyID: w.give.key.Public().String()}, w.give.key)
	if err != nil {
		w.t.Fatal(err)
	}
	message := func(s *httpsig.Signed) ledger.Message {
		return ledger.Message{Base: cityid.Bytes(s.Base), Signature: s.Signature}
	}
	entry, err := w.take.Ledger().AppendFetched(w.t.Context(), ledger.Fetched{
		Path: o.target, Request: message(request), Response: message(answer), Receipt: receipt,
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return entry.Hash
}

// judge checks evidence and compares verdict, mark, and what is said.
func (w *world) judge(what string, e *share.Evidence, want verify.Verdict, late bool, says string) share.EvidenceResult {
	w.t.Helper()
	r := share.CheckEvidence(e, w.trust(), w.engine.Now())
	if r.Verdict != want || r.Facts.Late != late || !strings.Contains(r.Message, says) {
		w.t.Errorf("%s: %s late=%v: %s", what, r.Verdict, r.Facts.Late, r.Message)
	}
	return r
}

func (w *world) now() cityid.Time { return cityid.TimeOf(w.engine.Now()) }

// longer is an agreement of a month.
func longer(t *cityid.Terms) { t.Until = t.From + 30*86400 }

// The tolerances of evidence, in seconds: of clocks, and of the header of an anchor.
const (
	clocks  = 120
	headers = 140
	day     = 86400
)

// TestEvidencePostdated anchors receipts that claim a time after their anchor.
func TestEvidencePostdated(t *testing.T) {
	w := newWorld(t)
	id := w.agree(nil)
	w.judge("now", w.claimed(id, w.now()), verify.Valid, false, "no later than")
	w.judge("a clock that is ahead", w.claimed(id, w.now()+headers-5), verify.Valid, false, "no later than")
	at := w.now() + headers + 5
	w.judge("after its anchor", w.claimed(id, at), verify.Invalid, false, "had anchored it by")
	at = w.now() + 3600
	e := w.claimed(id, at)
	w.judge("an hour after its anchor", e, verify.Invalid, false, "had anchored it by")
	// With a later header nothing shows when the block was really made.
	w.pass(2 * time.Hour)
	p, _, _, err := ledger.DecodeLeafProof(e.Sides[0].Proof)
	if err != nil {
		t.Fatal(err)
	}
	e.Sides[0].Anchor, err = w.engine.Bundle(t.Context(), cityid.BundleQuery{Kind: cityid.AnswerEntries, Keys: [][]byte{cityid.AnchorKey(p.Party, p.Log, p.Sequence)}})
	if err != nil {
		t.Fatal(err)
	}
	w.judge("by a later header", e, verify.Undecided, false, "too late to tell")
}

// TestEvidenceBackdated anchors receipts long after the time they claim.
func TestEvidenceBackdated(t *testing.T) {
	w := newWorld(t)
	id, ends := w.agree(longer), w.agree(func(t *cityid.Terms) { t.Until, t.Nonce = t.From+2*day, cityid.Nonce{2} })
	w.fetched(id)
	w.pass((day + 3600) * time.Second)
	w.judge("within the day", w.claimed(id, w.now()-day+5), verify.Valid, false, "no later than")
	w.judge("a little more", w.claimed(id, w.now()-day-headers-5), verify.Valid, true, "nothing shows")
	r := w.judge("an hour more", w.claimed(id, w.now()-day-3000), verify.Valid, true, "anchored too late for that")
	if got := r.Facts.NotLater.Unix() - int64(w.now()); got < -60 || got > 0 {
		t.Errorf("no later than %s, and it is %s", r.Facts.NotLater, w.now())
	}
	w.pass(day * time.Second)
	w.judge("an agreement that ended meanwhile", w.claimed(ends, w.now()-day-3000), verify.Undecided, true, "would not have counted")
	w.judge("one that ended, in time", w.claimed(ends, w.now()-3700), verify.Valid, false, "no later than")
	w.submit([]cityid.Signer{w.give.officer}, cityid.Operation{AgreementRevoke: &cityid.AgreementDecision{Dataset: air, Agreement: id}})
	before := w.now() - 60
	w.pass(time.Hour)
	w.judge("revoked since, in time", w.claimed(id, before), verify.Valid, false, "no later than")
	w.judge("revoked since, late", w.claimed(id, before-day), verify.Undecided, true, "revoked")
}

// TestEvidenceBackdatedKeys anchors receipts by keys that were taken out since.
func TestEvidenceBackdatedKeys(t *testing.T) {
	for _, side := range []string{"provider", "consumer"} {
		t.Run(side, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			id := w.agree(longer)
			w.pass(day * time.Second)
			at := w.now() - 60
			c := map[string]*city{"provider": w.give, "consumer": w.take}[side]
			// A gateway with another key anchors from now on.
			next := gatewayKey(t, 3)
			w.rekey(c, cityid.Key{Public: public(next)})
			w.pass(time.Hour)
			old := c.key
			c.stop()
			c.key = next
			w.engine.Advance(time.Second)
			w.open(c)
			w.engine.Advance(12 * time.Second)
			signed := func(at cityid.Time) *share.Evidence {
				c.key = old
				defer func() { c.key = next }()
				return w.claimed(id, at)
			}
			w.judge("in time", signed(at), verify.Valid, false, "no later than")
			w.judge("after it was taken out", signed(w.now()), verify.Invalid, false, "key")
			w.judge("late", signed(at-day+600), verify.Undecided, true, "would not have counted")
		})
	}
}

// TestEvidenceStaleness judges fetches just before and just after the time for which
// a gateway need not know a change.
func TestEvidenceStaleness(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(w *world, id cityid.Digest)
		says   string
	}{
		{"revoked", func(w *world, id cityid.Digest) {
			w.submit([]cityid.Signer{w.give.officer}, cityid.Operation{AgreementRevoke: &cityid.AgreementDecision{Dataset: air, Agreement: id}})
		}, "revoked"},
		{"consumer's key replaced", func(w *world, id cityid.Digest) {
			w.rekey(w.take, cityid.Key{Public: public(gatewayKey(w.t, 1))})
		}, "request"},
		{"provider's key replaced", func(w *world, id cityid.Digest) {
			w.rekey(w.give, cityid.Key{Public: public(gatewayKey(w.t, 1))})
		}, "answer"},
		{"consumer's key replaced, and more changed", func(w *world, id cityid.Digest) {
			w.rekey(w.take, cityid.Key{Public: public(gatewayKey(w.t, 1))})
			for range 3 {
				w.pass(5 * time.Second)
				w.rekey(w.give, cityid.Key{Public: public(w.give.key)}, cityid.Key{Public: public(gatewayKey(w.t, 4))})
				w.rekey(w.give, cityid.Key{Public: public(w.give.key)})
			}
		}, "request"},
	} {
		for _, staleness := range []uint32{30, 3600} {
			t.Run(c.name+" "+(time.Duration(staleness)*time.Second).String(), func(t *testing.T) {
				t.Parallel()
				w := newWorld(t)
				id := w.agree(func(t *cityid.Terms) { t.Staleness = staleness })
				w.fetched(id)
				w.pass(10 * time.Minute)
				at := w.now()
				c.change(w, id)
				limit := at + cityid.Time(staleness) + clocks
				w.pass(limit.Std().Sub(w.engine.Now()) + time.Minute)
				w.keepAnchoring()
				w.judge("before it", w.claimed(id, at-5), verify.Valid, false, "no later than")
				w.judge("at once", w.claimed(id, at+1), verify.Valid, false, "no later than")
				w.judge("just inside", w.claimed(id, limit-5), verify.Valid, false, "no later than")
				w.judge("just outside", w.claimed(id, limit+5), verify.Invalid, false, c.says)
			})
		}
	}
}

// keepAnchoring gives the consumer's gateway a key that counts, if its own no longer
// does, to anchor with: the fetches stay signed by the one it had.
func (w *world) keepAnchoring() {
	w.t.Helper()
	_, _, policy := w.revision(consumer)
	for _, k := range policy.Members[0].Keys {
		if k.Public == public(w.take.key) && k.Holds(cityid.RoleGateway, w.now()) {
			return
		}
	}
	old := w.take.key
	w.take.stop()
	w.take.key = gatewayKey(w.t, 1)
	w.open(w.take)
	w.take.key = old
}

// TestEvidenceBeforeGrant judges fetches before the agreement was granted: only the
// clocks may differ, whatever the staleness.
func TestEvidenceBeforeGrant(t *testing.T) {
	w := newWorld(t)
	w.pass(time.Hour)
	id := w.agree(func(t *cityid.Terms) { t.Staleness, t.From = 3600, t.From-1800 })
	at := w.now()
	w.judge("just inside", w.claimed(id, at-clocks+5), verify.Valid, false, "no later than")
	w.judge("just outside", w.claimed(id, at-clocks-5), verify.Invalid, false, "not granted")
	w.judge("long before", w.claimed(id, at-1000), verify.Invalid, false, "not granted")
}

// TestEvidenceCompromised judges fetches by a key that counts as compromised from
// some time on: what was anchored before is proven, and nothing else.
func TestEvidenceCompromised(t *testing.T) {
	w := newWorld(t)
	id := w.agree(longer)
	sound := w.claimed(id, w.now())
	w.pass(time.Hour)
	since := w.now() + 60
	w.pass(time.Minute)
	w.rekey(w.take, cityid.Key{Public: public(w.take.key), Compromised: since}, cityid.Key{Public: public(gatewayKey(t, 1))})
	w.pass(time.Minute)
	w.keepAnchoring()
	w.judge("claimed before, anchored since", w.claimed(id, since-30), verify.Undecided, false, "compromised")
	w.judge("claimed since", w.claimed(id, since+30), verify.Invalid, false, "compromised")
	again, err := w.take.Evidence(t.Context(), ledger.EntryHash(sound.Entry))
	if err != nil {
		t.Fatal(err)
	}
	w.judge("anchored before", again, verify.Valid, false, "no later than")
	// That a policy names the key no more does not make it good again.
	w.rekey(w.take, cityid.Key{Public: public(gatewayKey(t, 1))})
	w.pass(time.Minute)
	w.judge("claimed since, and the key is gone", w.claimed(id, since+30), verify.Invalid, false, "compromised")
}

// TestEvidenceOfSlowAnswers judges answers that took their time: as long as a service
// may take, and longer than any does.
func TestEvidenceOfSlowAnswers(t *testing.T) {
	w := newWorld(t)
	id := w.agree(nil)
	w.pass(time.Hour)
	w.judge("of a quarter of an hour", w.answered(id, w.now()-900, w.now()), verify.Valid, false, "no later than")
	w.judge("of twenty minutes", w.answered(id, w.now()-1200, w.now()), verify.Invalid, false, "further apart")
	w.judge("before it was asked for", w.answered(id, w.now()+200, w.now()), verify.Invalid, false, "further apart")
}

// amend changes a city's record, its links alone, so many times.
func (w *world) amend(c *city, times int, pause time.Duration) {
	w.t.Helper()
	for i := range times {
		n, content, _ := w.revision(c.code)
		content.Links = append([]cityid.Link{{Rel: "about", Href: "https://127.0.0.1/" + strings.Repeat("x", i%2)}}, content.Links...)
		w.engine.Advance(pause)
		w.submit([]cityid.Signer{c.officer}, cityid.Operation{Amend: &cityid.Amend{Code: c.code, Revision: n, Content: content}})
		n, content, _ = w.revision(c.code)
		content.Links = content.Links[1:]
		w.submit([]cityid.Signer{c.officer}, cityid.Operation{Amend: &cityid.Amend{Code: c.code, Revision: n, Content: content}})
	}
}

// TestEvidenceOfRestlessParties changes a party's record far more often than evidence
// can show: it does not keep the other from making evidence of what was before, or of
// what is.
func TestEvidenceOfRestlessParties(t *testing.T) {
	for _, side := range []string{"provider", "consumer"} {
		t.Run(side, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			c := map[string]*city{"provider": w.give, "consumer": w.take}[side]
			w.pass(time.Hour)
			w.amend(c, 20, time.Minute)
			id := w.agree(nil)
			w.later()
			entry := w.fetched(id)
			w.anchored()
			w.pass(time.Hour)
			at := w.now()
			w.amend(c, 60, time.Minute)
			for name, by := range map[string]*city{"consumer": w.take, "provider": w.give} {
				e, err := by.Evidence(t.Context(), entry)
				if err != nil {
					t.Fatalf("%s: %v", name, err)
				}
				r := w.judge(name, e, verify.Valid, false, "acknowledged")
				if !strings.Contains(r.Facts.Remark, "revisions of "+c.code.String()) {
					t.Errorf("%s: remark %q", name, r.Facts.Remark)
				}
			}
			// A key that counted in between, long ago, and for less than a gateway's staleness.
			w.rekey(w.take, cityid.Key{Public: public(w.take.key)}, cityid.Key{Public: public(gatewayKey(t, 1))})
			w.rekey(w.take, cityid.Key{Public: public(w.take.key)})
			w.pass(time.Hour)
			w.amend(c, 30, time.Minute)
			w.judge("within", w.claimed(id, at+30*60), verify.Valid, false, "no later than")
		})
	}
}

// TestEvidenceBetweenChanges lets a key count for some seconds only, long ago and among
// many changes: a fetch by it is valid while a gateway may have known that state, and
// at no other time.
func TestEvidenceBetweenChanges(t *testing.T) {
	w := newWorld(t)
	id := w.agree(nil)
	w.fetched(id)
	w.pass(time.Hour)
	usual, brief := w.take.key, gatewayKey(t, 1)
	w.amend(w.take, 4, 10*time.Second)
	w.engine.Advance(10 * time.Second)
	w.rekey(w.take, cityid.Key{Public: public(usual)}, cityid.Key{Public: public(brief)})
	from := w.now()
	w.engine.Advance(10 * time.Second)
	w.rekey(w.take, cityid.Key{Public: public(usual)})
	to := w.now()
	w.amend(w.take, 30, time.Minute)
	w.pass(time.Hour)
	signed := func(at cityid.Time) *share.Evidence {
		w.take.key = brief
		defer func() { w.take.key = usual }()
		return w.claimed(id, at)
	}
	w.judge("while it counts", signed(from+5), verify.Valid, false, "no later than")
	w.judge("just after", signed(to+30+clocks-25), verify.Valid, false, "no later than")
	w.judge("too late", signed(to+30+clocks+15), verify.Invalid, false, "request")
	w.judge("too early", signed(from-clocks-15), verify.Invalid, false, "request")
}
