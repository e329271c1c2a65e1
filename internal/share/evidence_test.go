// SPDX-License-Identifier: Apache-2.0

package share_test

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"cityid"
	"cityid/internal/chain"
	"cityid/internal/chain/chaintest"
	"cityid/internal/share"
	"cityid/verify"
)

// fetched makes one fetch and returns its entry, once both sides have written
// down that it arrived.
func (w *world) fetched(id cityid.Digest) cityid.Digest {
	w.t.Helper()
	f, err := w.take.Fetch(w.t.Context(), id, "/latest", "")
	if err != nil {
		w.t.Fatal(err)
	}
	f.Body.Close()
	w.await("the acknowledgement", func() bool {
		return w.give.Ledger().Stats().Unacknowledged == 0 && w.take.Ledger().Stats().Unacknowledged == 0
	})
	return f.Entry.Hash
}

// await waits until something holds that goroutines bring about.
func (w *world) await(what string, holds func() bool) {
	w.t.Helper()
	for end := time.Now().Add(20 * time.Second); !holds(); {
		if time.Now().After(end) {
			w.t.Fatalf("%s does not come", what)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// anchored closes and anchors what both sides have.
func (w *world) anchored() {
	w.t.Helper()
	for _, c := range []*city{w.give, w.take} {
		if err := c.Anchor(w.t.Context()); err != nil {
			w.t.Fatal(err)
		}
	}
	if err := w.engine.Settle(); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) trust() *verify.TrustFile {
	w.t.Helper()
	trusts, err := w.engine.Trust(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	f, err := verify.NewTrustFile(trusts[0])
	if err != nil {
		w.t.Fatal(err)
	}
	return f
}

func TestEvidence(t *testing.T) {
	w := newWorld(t)
	entry := w.fetched(w.agree(nil))
	e, err := w.take.Evidence(t.Context(), entry)
	if err != nil {
		t.Fatal(err)
	}
	if r := share.CheckEvidence(e, w.trust(), w.engine.Now()); r.Verdict != verify.Undecided {
		t.Errorf("without an anchor: %s: %s", r.Verdict, r.Message)
	}
	w.anchored()
	for name, side := range map[string]*city{"consumer": w.take, "provider": w.give} {
		e, err := side.Evidence(t.Context(), entry)
		if err != nil {
			t.Fatal(err)
		}
		r := share.CheckEvidence(e, w.trust(), w.engine.Now())
		if r.Verdict != verify.Valid || r.Facts.Outcome != share.Acknowledged {
			t.Errorf("%s: %s %s: %s", name, r.Verdict, r.Facts.Outcome, r.Message)
		}
		if sides := map[string]int{"consumer": 2, "provider": 1}[name]; len(e.Sides) != sides {
			t.Errorf("%s shows %d sides: %+v", name, len(e.Sides), r.Facts)
		}
	}
}

// TestEvidenceUndecided judges good evidence by the trust root of another network, and
// without the records of the parties: neither contradicts it.
func TestEvidenceUndecided(t *testing.T) {
	w := newWorld(t)
	entry := w.fetched(w.agree(nil))
	w.anchored()
	e, err := w.take.Evidence(t.Context(), entry)
	if err != nil {
		t.Fatal(err)
	}
	other, err := chaintest.Genesis("share-2", chaintest.Epoch, chain.EngineValidator()).Trust()
	if err != nil {
		t.Fatal(err)
	}
	foreign, err := verify.NewTrustFile(*other)
	if err != nil {
		t.Fatal(err)
	}
	if r := share.CheckEvidence(e, foreign, w.engine.Now()); r.Verdict != verify.Undecided {
		t.Errorf("by another trust root: %s: %s", r.Verdict, r.Message)
	}
	less := *e
	less.Standing, err = w.engine.Bundle(t.Context(), cityid.BundleQuery{
		Kind: cityid.AnswerEntries, Keys: [][]byte{cityid.AgreementKey(air, e.Agreement), cityid.RecordKey(air)},
	})
	if err != nil {
		t.Fatal(err)
	}
	if r := share.CheckEvidence(&less, w.trust(), w.engine.Now()); r.Verdict != verify.Undecided {
		t.Errorf("without the records: %s: %s", r.Verdict, r.Message)
	}
}

// TestEvidenceChanged changes every octet of evidence: it is never valid.
func TestEvidenceChanged(t *testing.T) {
	w := newWorld(t)
	entry := w.fetched(w.agree(nil))
	w.anchored()
	e, err := w.take.Evidence(t.Context(), entry)
	if err != nil {
		t.Fatal(err)
	}
	data, err := e.Encode()
	if err != nil {
		t.Fatal(err)
	}
	trust, now := w.trust(), w.engine.Now()
	step := 1
	if testing.Short() {
		step = 37
	}
	for i := 0; i < len(data); i += step {
		for _, bit := range []byte{1, 0x80} {
			data[i] ^= bit
			if e, err := share.DecodeEvidence(data); err == nil {
				if r := share.CheckEvidence(e, trust, now); r.Verdict == verify.Valid {
					t.Errorf("octet %d of %d changed, and it is valid: %s", i, len(data), r.Message)
				}
			}
			data[i] ^= bit
		}
	}
}

// FuzzEvidence feeds decoder and judge: what is taken has one encoding, and none is valid
// that says anything but what was.
func FuzzEvidence(f *testing.F) {
	w := newWorld(f)
	entry := w.fetched(w.agree(nil))
	e, err := w.take.Evidence(f.Context(), entry)
	if err != nil {
		f.Fatal(err)
	}
	bare, err := e.Encode()
	if err != nil {
		f.Fatal(err)
	}
	w.anchored()
	if e, err = w.take.Evidence(f.Context(), entry); err != nil {
		f.Fatal(err)
	}
	whole, err := e.Encode()
	if err != nil {
		f.Fatal(err)
	}
	e.Sides, e.Acknowledgement = e.Sides[1:], nil
	half, err := e.Encode()
	if err != nil {
		f.Fatal(err)
	}
	trust, now := w.trust(), w.engine.Now()
	for _, b := range [][]byte{nil, bare, whole, half, append(bytes.Clone(whole), 0), whole[:len(whole)-1]} {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := share.DecodeEvidence(b)
		if err != nil {
			return
		}
		if again, err := e.Encode(); err != nil || !bytes.Equal(again, b) {
			t.Fatalf("another encoding of the same: %v", err)
		}
		r := share.CheckEvidence(e, trust, now)
		if good := bytes.Equal(b, whole) || bytes.Equal(b, half); good && r.Verdict != verify.Valid {
			t.Errorf("%s: %s", r.Verdict, r.Message)
		}
		// Another process of the fuzzer has made evidence of its own.
		if x := r.Facts; r.Verdict == verify.Valid && (x.Provider != provider || x.Consumer != consumer || x.Status != 200 || !strings.HasSuffix(x.Target, "/latest")) {
			t.Errorf("valid: %s", r.Message)
		}
	})
}
