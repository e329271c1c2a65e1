// SPDX-License-Identifier: Apache-2.0

package share_test

import (
	"io"
	"net/http"
	"testing"

	"cityid"
	"cityid/internal/ledger"
	"cityid/internal/share"
	"cityid/verify"
)

// TestPeerProofs asks several of a provider's gateways for a proof, some of which
// are down, or say what is no proof of the entry: the good one counts wherever it
// comes from, and the others are told.
func TestPeerProofs(t *testing.T) {
	w := newWorld(t)
	id := w.agree(nil)
	entry := w.fetched(id)
	answer := func(list ...cityid.Bytes) string {
		s := w.take.serve(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			io.Copy(io.Discard, r.Body)
			rw.Write(cityid.MustMarshal(list))
		}))
		t.Cleanup(s.Close)
		return s.URL
	}
	e, err := w.take.Evidence(t.Context(), entry)
	if err != nil {
		t.Fatal(err)
	}
	proof := func(party cityid.Code, encoded cityid.Bytes) cityid.Bytes {
		p := ledger.LeafProof{Salt: cityid.Digest{1}, Entry: encoded, Party: party, Log: "gw-1", Sequence: 9, Size: 1, Path: []cityid.Digest{}}
		p.Root = ledger.BatchRoot(ledger.LeafHash(p.Salt, p.Entry), 1)
		b, err := p.Encode()
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	others := w.fetched(id)
	other, err := w.take.Evidence(t.Context(), others)
	if err != nil {
		t.Fatal(err)
	}
	w.anchored()
	nothing, two, garbage := answer(cityid.Bytes{}), answer(nil, nil), answer([]byte("x"))
	elsewhere, mine := answer(proof(provider, other.Entry)), answer(proof(consumer, e.Entry))
	for _, c := range []struct {
		name   string
		links  []string
		proven bool
		told   bool
	}{
		{"good alone", []string{w.give.front.url}, true, false},
		{"one has nothing, one is good", []string{nothing, w.give.front.url}, true, false},
		{"one is good, one is down", []string{w.give.front.url, "http://127.0.0.1:1"}, true, false},
		{"one is down, one is good", []string{"http://127.0.0.1:1", w.give.front.url}, true, true},
		{"one answers about two", []string{two, w.give.front.url}, true, true},
		{"one answers with garbage", []string{garbage, w.give.front.url}, true, true},
		{"one has a proof of another entry", []string{elsewhere, w.give.front.url}, true, true},
		{"one has a proof of another party", []string{mine, w.give.front.url}, true, true},
		{"none has any", []string{nothing}, false, false},
		{"none has a good one", []string{garbage, elsewhere, mine}, false, true},
	} {
		w.relink(c.links...)
		list, err := w.take.PeerProofs(t.Context(), id, []cityid.Digest{entry})
		if len(list) != 1 || (list[0] != nil) != c.proven || (err != nil) != c.told {
			t.Errorf("%s: %v, %v", c.name, list, err)
		}
	}
	// Of two entries, one gateway shows the first and the other the second.
	w.relink(answer(proof(provider, e.Entry), []byte("x")), w.give.front.url)
	list, err := w.take.PeerProofs(t.Context(), id, []cityid.Digest{entry, others})
	if err == nil || list[0] == nil || list[0].Sequence != 9 || list[1] == nil || list[1].Sequence != 1 {
		t.Errorf("of two entries: %v, %v", list, err)
	}
	// A proof whose anchor the chain does not have is not kept.
	w.relink(answer(proof(provider, e.Entry)))
	sides := func(want int) {
		t.Helper()
		got, err := w.take.Evidence(t.Context(), entry)
		if err != nil {
			t.Fatal(err)
		}
		if len(got.Sides) != want {
			t.Fatalf("%d sides: want %d", len(got.Sides), want)
		}
		if r := share.CheckEvidence(got, w.trust(), w.engine.Now()); r.Verdict != verify.Valid {
			t.Errorf("%d sides: %s", want, r.Message)
		}
	}
	sides(1)
	w.relink(w.give.front.url)
	sides(2)
	w.relink("http://127.0.0.1:1")
	sides(2)
}
