// SPDX-License-Identifier: Apache-2.0

package share_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	dbm "github.com/cometbft/cometbft-db"

	"cityid"
	"cityid/internal/ledger"
	"cityid/internal/share"
	"cityid/internal/store"
)

// forms returns the ways in which octets can stand in others: as they are, in
// hexadecimal digits, and in base64 wherever they begin.
func forms(b []byte) map[string][]byte {
	out := map[string][]byte{
		"as it is": b, "hexadecimal": []byte(hex.EncodeToString(b)), "capital hexadecimal": bytes.ToUpper([]byte(hex.EncodeToString(b))),
	}
	for name, e := range map[string]*base64.Encoding{"base64": base64.RawStdEncoding, "base64 for addresses": base64.RawURLEncoding} {
		for shift := range 3 {
			text := e.EncodeToString(append(make([]byte, shift), b...))
			// The characters at both ends depend on what stands beside.
			out[fmt.Sprintf("%s, shifted by %d", name, shift)] = []byte(text[(shift*8+5)/6 : (shift+len(b))*8/6])
		}
	}
	return out
}

// TestNothingOnTheChain fetches, refuses, follows and sends purposes full of what
// concerns people, and looks for it in every block, transaction and value of the chain:
// nothing of it is there, not even a hash by which somebody who guesses could tell.
func TestNothingOnTheChain(t *testing.T) {
	t.Parallel()
	const (
		person  = "Wang.Xiaoming-1906"
		phone   = "+86-311-5550-1906"
		station = "station-of-the-Wangs"
		after   = "asked-for-by-whom"
		secret  = "path-that-is-refused"
		reason  = "To find out who was at the hospital on Tuesday."
		contact = "mailto:wang@citizens.example"
		public  = "a note that everybody may read"
	)
	dir := t.TempDir()
	body := fmt.Sprintf(`{"name":%q,"phone":%q,"contact":%q}`, person, phone, contact)
	w := makeWorld(t, false, dir, []func(*world){func(w *world) {
		w.give.cfg.Datasets[0].Paths = []share.PathRule{
			{Path: "/latest", Query: map[string]string{"after": "word"}}, {Path: "/stations/*"},
			{Path: "/events", Query: map[string]string{"after": "word", "limit": "integer"}},
		}
		w.take.cfg.Feeds = []share.FeedConfig{{Agreement: w.agree(nil), Path: "/events", Every: share.Duration(time.Second)}}
		w.backend = func(rw http.ResponseWriter, r *http.Request) {
			if strings.HasSuffix(r.URL.Path, "/events") {
				fmt.Fprintf(rw, `{"items":[%s],"next":%q}`, map[bool]string{true: body}[r.URL.Query().Get("after") == ""], after)
				return
			}
			fmt.Fprint(rw, body)
		}
	}})
	id := w.take.cfg.Feeds[0].Agreement
	purpose := []byte("age-encryption.org/v1\n" + reason + contact)
	now := cityid.TimeOf(w.engine.Now())
	_, content, _ := w.revision(air)
	asked := cityid.Terms{
		Dataset: air, Consumer: consumer, Document: content.Dataset.Document, From: now, Until: now + 86400, Staleness: 30,
		Purpose: cityid.Digest{1}, Respond: now + 3600, Nonce: cityid.Nonce{9},
	}
	w.submit([]cityid.Signer{w.take.officer}, cityid.Operation{AgreementRequest: &cityid.AgreementRequest{Terms: asked}})
	if err := w.take.SendPurpose(t.Context(), asked.ID(), purpose); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/latest?after=" + after, "/stations/" + station, "/" + secret, "/latest?person=" + person} {
		w.get(w.take.local.URL + "/fetch/" + id.String() + path)
	}
	if got := w.ordered(w.order(id, "/"+secret)); got.status != 403 || !got.signed() {
		t.Error(got)
	}
	w.await("the feed", func() bool {
		at, err := w.take.Ledger().Subscription(t.Context(), w.feed())
		return err == nil && at.Events == 1
	})
	w.anchored()
	w.submit([]cityid.Signer{w.give.officer}, cityid.Operation{AgreementRevoke: &cityid.AgreementDecision{Dataset: air, Agreement: id, Note: public}})
	w.pass(time.Minute)

	hidden := map[string][]byte{
		"a name": []byte(person), "a telephone number": []byte(phone), "a contact": []byte(contact), "a path": []byte(station), "a parameter": []byte(after),
		"a path that was refused": []byte(secret), "a purpose": []byte(reason), "a purpose as it was sent": purpose, "a body": []byte(body),
	}
	for _, c := range []*city{w.give, w.take} {
		list, _, err := c.Ledger().Entries(t.Context(), ledger.Filter{})
		if err != nil || len(list) < 3 {
			t.Fatal(len(list), err)
		}
		for i := range list {
			d, err := c.Ledger().Entry(t.Context(), list[i].ID)
			if err != nil {
				t.Fatal(err)
			}
			of := fmt.Sprintf(" of entry %d of %s", d.ID, c.code)
			request := d.Request.Hash()
			hidden["the hash"+of], hidden["the digest of the body"+of], hidden["the hash of the request"+of] = d.Hash[:], d.Receipt.Content[:], request[:]
			hidden["the signature of the request"+of], hidden["the signature of the answer"+of] = d.Request.Signature, d.Response.Signature
		}
	}
	w.take.stop()
	w.give.stop()
	if err := w.engine.Close(); err != nil {
		t.Fatal(err)
	}
	all := everything(t, dir)
	if len(all) < 1000 {
		t.Fatalf("the chain has %d octets", len(all))
	}
	for what, b := range hidden {
		for form, text := range forms(b) {
			if bytes.Contains(all, text) {
				t.Errorf("%s is on the chain, %s", what, form)
			}
		}
	}
	// What is there is found.
	agreement := id[:]
	for what, b := range map[string][]byte{"the note": []byte(public), "the agreement": agreement} {
		if !bytes.Contains(all, b) {
			t.Errorf("%s is not found", what)
		}
	}
}

// everything returns all keys and values of a chain that is closed: blocks with their
// transactions, results, and the state with its history.
func everything(t *testing.T, dir string) []byte {
	t.Helper()
	var all []byte
	for _, name := range []string{"blockstore", "state"} {
		db, err := dbm.NewGoLevelDB(name, filepath.Join(dir, "blocks"))
		if err != nil {
			t.Fatal(err)
		}
		it, err := db.Iterator(nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		before := len(all)
		for ; it.Valid(); it.Next() {
			all = append(append(append(all, it.Key()...), it.Value()...), 0)
		}
		if err := it.Close(); err != nil {
			t.Fatal(err)
		}
		if err := db.Close(); err != nil || len(all) == before {
			t.Fatalf("%s: %d octets, %v", name, len(all)-before, err)
		}
	}
	s, err := store.Open(filepath.Join(dir, "state"), store.Options{ChainID: zone})
	if err != nil {
		t.Fatal(err)
	}
	keep := func(key, value []byte) bool {
		all = append(append(append(all, key...), value...), 0)
		return true
	}
	v, err := s.Latest()
	if err != nil {
		t.Fatal(err)
	}
	before := len(all)
	if err := v.Scan(nil, nil, keep); err != nil || len(all) == before {
		t.Fatalf("the state: %d octets, %v", len(all)-before, err)
	}
	if err := s.ScanSide(nil, nil, keep); err != nil {
		t.Fatal(err)
	}
	v.Close()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return all
}
