// SPDX-License-Identifier: Apache-2.0

package share_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cityid"
	"cityid/internal/chain/chaintest"
	"cityid/internal/ledger"
	"cityid/internal/share"
)

// TestErasePurposes removes purposes a year after their agreements ended, however they
// did, and not before; what nobody proves stays.
func TestErasePurposes(t *testing.T) {
	w := newWorld(t)
	_, content, _ := w.revision(air)
	asked := func(n byte, change func(*cityid.Terms)) cityid.Digest {
		now := w.now()
		terms := cityid.Terms{
			Dataset: air, Consumer: consumer, Document: content.Dataset.Document, From: now, Until: now + 20*365*day, Staleness: 30,
			Purpose: cityid.Digest{1}, Respond: now + 600, Nonce: cityid.Nonce{n},
		}
		if change != nil {
			change(&terms)
		}
		w.submit([]cityid.Signer{w.take.officer}, cityid.Operation{AgreementRequest: &cityid.AgreementRequest{Terms: terms}})
		if err := w.take.SendPurpose(t.Context(), terms.ID(), []byte("age-encryption.org/v1\n"+terms.ID().String())); err != nil {
			t.Fatal(err)
		}
		return terms.ID()
	}
	decide := func(by *city, op func(*cityid.Operation, *cityid.AgreementDecision), id cityid.Digest) {
		var o cityid.Operation
		op(&o, &cityid.AgreementDecision{Dataset: air, Agreement: id})
		w.submit([]cityid.Signer{by.officer}, o)
	}
	grant := func(o *cityid.Operation, d *cityid.AgreementDecision) { o.AgreementGrant = d }
	refuse := func(o *cityid.Operation, d *cityid.AgreementDecision) { o.AgreementRefuse = d }
	revoke := func(o *cityid.Operation, d *cityid.AgreementDecision) { o.AgreementRevoke = d }
	lasting, refused, lapsed, back := asked(1, nil), asked(2, nil), asked(3, nil), asked(4, nil)
	expiring := asked(5, func(t *cityid.Terms) { t.Until = t.From + 30*day })
	ended := asked(6, nil)
	for _, id := range []cityid.Digest{lasting, expiring, ended} {
		decide(w.give, grant, id)
	}
	decide(w.give, refuse, refused)
	decide(w.take, revoke, back)
	dir := filepath.Join(w.give.cfg.Data, "purposes")
	names, err := os.ReadDir(dir)
	if err != nil || len(names) != 6 {
		t.Fatalf("%d purposes: %v", len(names), err)
	}
	broken := filepath.Join(dir, lasting.String()+".age.new-1")
	if err := os.WriteFile(broken, []byte("age"), 0o600); err != nil {
		t.Fatal(err)
	}
	begun := w.engine.Now()
	for _, n := range append(names, mustEntry(t, broken)) {
		if err := os.Chtimes(filepath.Join(dir, n.Name()), begun, begun); err != nil {
			t.Fatal(err)
		}
	}
	left := func(when string, want ...cityid.Digest) {
		t.Helper()
		before := 0
		for _, id := range []cityid.Digest{lasting, refused, lapsed, back, expiring, ended} {
			if _, err := w.give.Purpose(id); err == nil {
				before++
			}
		}
		n, err := w.give.ErasePurposes(t.Context())
		if err != nil {
			t.Errorf("%s: %v", when, err)
		}
		after := 0
		for _, id := range []cityid.Digest{lasting, refused, lapsed, back, expiring, ended} {
			_, err := w.give.Purpose(id)
			if err == nil {
				after++
			}
			kept := false
			for _, k := range want {
				kept = kept || k == id
			}
			if kept != (err == nil) || err != nil && cityid.CodeOf(err) != cityid.ErrNotFound {
				t.Errorf("%s: purpose of %s kept=%v: %v", when, id, err == nil, err)
			}
		}
		if after != len(want) || n < before-after {
			t.Errorf("%s: %d said to be erased, %d of %d left", when, n, after, before)
		}
	}
	year := int(share.PurposeLife / time.Second)
	at := func(seconds int) {
		to := begun.Add(time.Duration(seconds) * time.Second)
		for ; to.Sub(w.engine.Now()) > 10*day*time.Second; w.nextTrust() {
			w.pass(10 * day * time.Second)
		}
		w.pass(to.Sub(w.engine.Now()))
	}
	at(3600)
	left("soon", lasting, refused, lapsed, back, expiring, ended)
	if _, err := os.Stat(broken); err != nil {
		t.Errorf("what is being written is removed: %v", err)
	}
	old := time.Now().Add(-48 * time.Hour)
	if err := os.Chtimes(broken, old, old); err != nil {
		t.Fatal(err)
	}
	at(200 * day)
	decide(w.give, revoke, ended)
	at(year - 60)
	left("before a year", lasting, refused, lapsed, back, expiring, ended)
	if _, err := os.Stat(broken); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("what was begun is not removed: %v", err)
	}
	at(year + 60)
	left("a year after the decisions", lasting, lapsed, expiring, ended)
	at(year + 700)
	left("a year after it was due", lasting, expiring, ended)
	at(year + 30*day + 60)
	left("a year after its end", lasting, ended)
	at(year + 200*day + 60)
	left("a year after it was revoked", lasting)
}

// TestRetain lets a gateway that starts remove observations and receipts whose time, by
// its configuration, is over.
func TestRetain(t *testing.T) {
	w := newWorld(t, func(w *world) {
		w.take.cfg.Observations, w.take.cfg.Retention = share.Duration(24*time.Hour), share.Duration(48*time.Hour)
	})
	id := w.agree(longer)
	w.pass(3 * day * time.Second)
	entry := w.fetched(id)
	w.anchored()
	number, err := w.take.Ledger().ByHash(t.Context(), ledger.DirectionFetched, entry)
	if err != nil {
		t.Fatal(err)
	}
	p := ledger.Progress{Feed: ledger.Feed{Agreement: id, Path: "/observations"}, To: "1", Entry: number}
	for _, hours := range []cityid.Time{30, 25, 23, 1} {
		p.Observations = append(p.Observations, ledger.Observation{Feed: "air", Indicator: "ozone", Time: w.now() - 3600*hours, Value: "7"})
	}
	if _, err := w.take.Ledger().Advance(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	again := func() {
		w.take.stop()
		w.open(w.take)
	}
	count := func() int {
		list, err := w.take.Ledger().Observations(t.Context(), ledger.SeriesQuery{}, 0)
		if err != nil {
			t.Fatal(err)
		}
		return len(list)
	}
	again()
	w.await("the end of what is older than a day", func() bool { return count() == 2 })
	if _, err := w.take.Ledger().Entry(t.Context(), number); err != nil {
		t.Errorf("the receipt: %v", err)
	}
	w.pass(3 * day * time.Second)
	again()
	w.await("the end of all of it", func() bool {
		_, err := w.take.Ledger().Entry(t.Context(), number)
		return count() == 0 && errors.Is(err, ledger.ErrErased)
	})
}

// nextTrust publishes a version of the trust root, and lets the provider's gateway learn
// of it.
func (w *world) nextTrust() {
	w.t.Helper()
	s, err := w.engine.NextTrust(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	d := s.SigningDigest()
	sig, err := chaintest.Key(0).Sign(d[:])
	if err != nil {
		w.t.Fatal(err)
	}
	w.submit([]cityid.Signer{chaintest.Key(0)}, cityid.Operation{SetTrust: &cityid.SetTrust{
		Trust: cityid.Trust{Statement: *s, Signatures: []cityid.KeySignature{{Key: chaintest.Key(0).Key, Signature: sig}}},
	}})
	if _, _, err := w.give.View().Entries(w.t.Context(), [][]byte{cityid.RecordKey(provider)}, time.Hour); err != nil {
		w.t.Fatal(err)
	}
}

func mustEntry(t *testing.T, path string) os.DirEntry {
	t.Helper()
	list, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range list {
		if strings.HasSuffix(path, e.Name()) {
			return e
		}
	}
	t.Fatalf("%s is not there", path)
	return nil
}
