// SPDX-License-Identifier: Apache-2.0

package share_test

import (
	"database/sql"
	"encoding/base64"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	_ "modernc.org/sqlite"

	"cityid"
	"cityid/internal/httpsig"
	"cityid/internal/ledger"
	"cityid/internal/share"
	"cityid/verify"
)

// rewrite changes the database of a city's gateway behind its back.
func (w *world) rewrite(c *city, change func(db *sql.DB)) {
	w.t.Helper()
	c.stop()
	db, err := sql.Open("sqlite", filepath.Join(c.cfg.Data, "ledger.db"))
	if err != nil {
		w.t.Fatal(err)
	}
	change(db)
	if err := db.Close(); err != nil {
		w.t.Fatal(err)
	}
	w.engine.Advance(time.Second)
	w.open(c)
	w.engine.Advance(time.Second)
}

// do changes rows, of which there have to be some.
func (w *world) do(db *sql.DB, query string, args ...any) {
	w.t.Helper()
	r, err := db.Exec(query, args...)
	if err != nil {
		w.t.Fatal(err)
	}
	if n, err := r.RowsAffected(); err != nil || n == 0 {
		w.t.Fatalf("%s: %d rows, %v", query, n, err)
	}
}

// another returns the entry that a provider makes when it claims, with its own key, to
// have given another body to a request than it did.
func (w *world) another(e *share.Evidence, change func(*ledger.Receipt)) (entry []byte, answer ledger.Message) {
	w.t.Helper()
	_, receipt, err := ledger.DecodeEntry(e.Entry)
	if err != nil {
		w.t.Fatal(err)
	}
	change(&receipt)
	encoded, err := receipt.Encode()
	if err != nil {
		w.t.Fatal(err)
	}
	request, err := httpsig.RequestProfile("cityid-fetch").ParseBase(string(e.Request.Base))
	if err != nil {
		w.t.Fatal(err)
	}
	m := &httpsig.Message{
		Method: request.Value("@method"), Scheme: "http", Host: request.Value("@authority"), Target: request.Value("@path"),
		Header: http.Header{"Content-Digest": {request.Value("content-digest")}, "Data-Agreement": {request.Value("data-agreement")}},
	}
	m.Header.Set("Signature-Input", "sig1="+strings.TrimPrefix(string(e.Request.Base)[strings.LastIndex(string(e.Request.Base), "\n")+1:], `"@signature-params": `))
	m.Header.Set("Signature", "sig1=:"+base64.StdEncoding.EncodeToString(e.Request.Signature)+":")
	signed, err := httpsig.ResponseProfile().Sign(httpsig.ResponseToSend(int(receipt.Status), http.Header{
		"Content-Type": {"application/json"}, "Content-Digest": {httpsig.FormatDigest(receipt.Content)},
		"Data-Receipt": {":" + base64.StdEncoding.EncodeToString(encoded) + ":"},
	}, m), httpsig.Params{Created: receipt.Time.Std(), KeyID: public(w.give.key).String()}, w.give.key)
	if err != nil {
		w.t.Fatal(err)
	}
	answer = ledger.Message{Base: cityid.Bytes(signed.Base), Signature: signed.Signature}
	if entry, err = ledger.EncodeEntry(encoded, answer); err != nil {
		w.t.Fatal(err)
	}
	return entry, answer
}

// otherBody changes a receipt to be for another body.
func otherBody(r *ledger.Receipt) { r.Content = cityid.Digest{9} }

// forge puts the entry that another makes in the place of the one that a gateway has,
// with the leaf that belongs to it.
func (w *world) forge(db *sql.DB, e *share.Evidence) cityid.Digest {
	w.t.Helper()
	entry, answer := w.another(e, otherBody)
	hash := ledger.EntryHash(e.Entry)
	var id int64
	var salt []byte
	if err := db.QueryRow(`SELECT id, salt FROM entry JOIN content ON entry = id WHERE hash = ?`, hash[:]).Scan(&id, &salt); err != nil {
		w.t.Fatal(err)
	}
	forged, leaf := ledger.EntryHash(entry), ledger.LeafHash(cityid.Digest(salt), entry)
	w.do(db, `UPDATE entry SET hash = ?, leaf = ? WHERE id = ?`, forged[:], leaf[:], id)
	w.do(db, `UPDATE content SET encoded = ?, response = ?, response_signature = ? WHERE entry = ?`, entry, []byte(answer.Base), []byte(answer.Signature), id)
	return forged
}

// TestProviderRewrites changes a provider's log after it was anchored: the consumer's
// evidence stands by itself, and the provider has none for what it made of it.
func TestProviderRewrites(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id := w.agree(nil)
	kept := func(name string, entry cityid.Digest, sides int) *share.Evidence {
		t.Helper()
		e, err := w.take.Evidence(t.Context(), entry)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		r := share.CheckEvidence(e, w.trust(), w.engine.Now())
		if r.Verdict != verify.Valid || r.Facts.Outcome != share.Acknowledged || len(e.Sides) != sides || r.Facts.Consumed.IsZero() {
			t.Errorf("%s: the consumer has %d sides: %s %s: %s", name, len(e.Sides), r.Verdict, r.Facts.Outcome, r.Message)
		}
		return e
	}
	for _, c := range []struct {
		name   string
		change func(db *sql.DB, e *share.Evidence, hash cityid.Digest) cityid.Digest
		shows  string // what the provider's evidence comes to: "" an error
	}{
		{name: "takes the entry out", change: func(db *sql.DB, _ *share.Evidence, hash cityid.Digest) cityid.Digest {
			w.do(db, `DELETE FROM content WHERE entry = (SELECT id FROM entry WHERE hash = ?)`, hash[:])
			w.do(db, `DELETE FROM entry WHERE hash = ?`, hash[:])
			return hash
		}},
		{name: "changes an octet of it", change: func(db *sql.DB, e *share.Evidence, hash cityid.Digest) cityid.Digest {
			changed := append([]byte{}, e.Entry...)
			changed[len(changed)/2] ^= 1
			w.do(db, `UPDATE content SET encoded = ? WHERE entry = (SELECT id FROM entry WHERE hash = ?)`, changed, hash[:])
			return hash
		}},
		{name: "changes its salt", change: func(db *sql.DB, _ *share.Evidence, hash cityid.Digest) cityid.Digest {
			w.do(db, `UPDATE content SET salt = ? WHERE entry = (SELECT id FROM entry WHERE hash = ?)`, make([]byte, 32), hash[:])
			return hash
		}},
		{name: "puts another in its place", change: func(db *sql.DB, e *share.Evidence, _ cityid.Digest) cityid.Digest {
			return w.forge(db, e)
		}},
		{name: "takes the acknowledgement out", shows: "unacknowledged", change: func(db *sql.DB, _ *share.Evidence, hash cityid.Digest) cityid.Digest {
			w.do(db, `UPDATE entry SET ack = 0 WHERE hash = ?`, hash[:])
			return hash
		}},
		{name: "puts another tree in the place of the batch's", shows: "unanchored", change: func(db *sql.DB, e *share.Evidence, hash cityid.Digest) cityid.Digest {
			forged := w.forge(db, e)
			var leaf []byte
			if err := db.QueryRow(`SELECT leaf FROM entry WHERE hash = ?`, forged[:]).Scan(&leaf); err != nil {
				t.Fatal(err)
			}
			root := ledger.BatchRoot([32]byte(leaf), 1)
			w.do(db, `UPDATE batch SET root = ? WHERE sequence = (SELECT max(sequence) FROM batch)`, root[:])
			return forged
		}},
	} {
		name, entry := c.name, w.fetched(id)
		w.anchored()
		e, err := w.give.Evidence(t.Context(), entry)
		if err != nil {
			t.Fatal(err)
		}
		var shown cityid.Digest
		w.rewrite(w.give, func(db *sql.DB) { shown = c.change(db, e, entry) })
		sides := 1
		if c.shows == "unacknowledged" {
			sides = 2
		}
		kept(name, entry, sides)
		got, err := w.give.Evidence(t.Context(), shown)
		switch {
		case c.shows == "" && err == nil:
			t.Errorf("a provider that %s has evidence: %+v", name, share.CheckEvidence(got, w.trust(), w.engine.Now()))
		case c.shows == "" && err != nil:
			continue
		case err != nil:
			if c.shows != "unanchored" {
				t.Errorf("a provider that %s: %v", name, err)
			}
			continue
		}
		r := share.CheckEvidence(got, w.trust(), w.engine.Now())
		if c.shows == "unanchored" && r.Verdict == verify.Valid || c.shows == "unacknowledged" && (r.Verdict != verify.Valid || r.Facts.Outcome != share.Unacknowledged) {
			t.Errorf("a provider that %s shows: %s %s: %s", name, r.Verdict, r.Facts.Outcome, r.Message)
		}
		// Both files together say what the better of them says.
		mine := kept(name, entry, sides)
		if _, _, outcome, err := share.Compare(mine, got, w.trust(), w.engine.Now()); c.shows == "unacknowledged" && (err != nil || outcome != share.Acknowledged) {
			t.Errorf("together: %s, %v", outcome, err)
		}
	}
}

// TestAnchorOnceMore has a provider anchor another root under a number that it has used:
// the chain keeps the first.
func TestAnchorOnceMore(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	entry := w.fetched(w.agree(nil))
	w.anchored()
	e, err := w.give.Evidence(t.Context(), entry)
	if err != nil {
		t.Fatal(err)
	}
	w.rewrite(w.give, func(db *sql.DB) {
		w.forge(db, e)
		w.do(db, `DELETE FROM batch`)
	})
	if err := w.give.Anchor(t.Context()); cityid.CodeOf(err) != cityid.ErrConflict {
		t.Errorf("anchored once more: %v", err)
	}
	if r := share.CheckEvidence(e, w.trust(), w.engine.Now()); r.Verdict != verify.Valid {
		t.Error(r.Message)
	}
}

// TestConsumerRewrites changes a consumer's log after it was anchored: the provider's
// evidence stands by itself, also of the acknowledgement.
func TestConsumerRewrites(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id := w.agree(nil)
	for name, change := range map[string]func(db *sql.DB, hash cityid.Digest){
		"takes the entry out": func(db *sql.DB, hash cityid.Digest) {
			w.do(db, `DELETE FROM content WHERE entry = (SELECT id FROM entry WHERE hash = ?)`, hash[:])
			w.do(db, `DELETE FROM entry WHERE hash = ?`, hash[:])
		},
		"claims that it never asked": func(db *sql.DB, hash cityid.Digest) {
			w.do(db, `UPDATE content SET request = x'', request_signature = x'' WHERE entry = (SELECT id FROM entry WHERE hash = ?)`, hash[:])
		},
		"claims that it never acknowledged": func(db *sql.DB, hash cityid.Digest) {
			w.do(db, `UPDATE entry SET ack = 0 WHERE hash = ?`, hash[:])
		},
		"changes the answer": func(db *sql.DB, hash cityid.Digest) {
			w.do(db, `UPDATE content SET response = CAST(response || x'00' AS BLOB) WHERE entry = (SELECT id FROM entry WHERE hash = ?)`, hash[:])
		},
	} {
		entry := w.fetched(id)
		w.anchored()
		w.rewrite(w.take, func(db *sql.DB) { change(db, entry) })
		e, err := w.give.Evidence(t.Context(), entry)
		if err != nil {
			t.Fatal(err)
		}
		r := share.CheckEvidence(e, w.trust(), w.engine.Now())
		if r.Verdict != verify.Valid || r.Facts.Outcome != share.Acknowledged {
			t.Errorf("a consumer that %s: the provider has %s %s: %s", name, r.Verdict, r.Facts.Outcome, r.Message)
		}
		mine, err := w.take.Evidence(t.Context(), entry)
		if err != nil {
			continue
		}
		if r := share.CheckEvidence(mine, w.trust(), w.engine.Now()); r.Verdict == verify.Valid && name != "claims that it never acknowledged" {
			t.Errorf("a consumer that %s has evidence: %+v", name, r)
		}
	}
}

// TestDispute has a provider anchor another answer to a request than the one it gave.
// That the two sides disagree is told once both have had their time to anchor, and only
// if both did.
func TestDispute(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id := w.agree(longer)
	entry := w.fetched(id)
	w.anchored()
	mine, err := w.take.Evidence(t.Context(), entry)
	if err != nil {
		t.Fatal(err)
	}
	other, err := w.take.Evidence(t.Context(), w.fetched(id))
	if err != nil {
		t.Fatal(err)
	}
	made := w.engine.Now()
	w.engine.Advance(time.Minute)
	forged := w.claims(mine)
	unanchored, err := w.give.Evidence(t.Context(), forged)
	if err != nil {
		t.Fatal(err)
	}
	w.anchored()
	theirs, err := w.give.Evidence(t.Context(), forged)
	if err != nil {
		t.Fatal(err)
	}
	trust := w.trust()
	compare := func(what string, a, b *share.Evidence, at time.Time, want share.Outcome, fails bool) {
		t.Helper()
		for range 2 {
			if _, _, got, err := share.Compare(a, b, trust, at); got != want || (err != nil) != fails {
				t.Errorf("%s, %v later: %q, want %q; %v", what, at.Sub(made), got, want, err)
			}
			a, b = b, a
		}
	}
	_, receipt, err := ledger.DecodeEntry(theirs.Entry)
	if err != nil {
		t.Fatal(err)
	}
	due := receipt.Time.Std().Add(share.AnchorDeadline)
	for _, x := range []struct {
		at   time.Time
		want share.Outcome
	}{{w.engine.Now(), ""}, {due.Add(-time.Second), ""}, {due, share.Disputed}, {due.Add(30 * 24 * time.Hour), share.Disputed}} {
		compare("two answers to one request", mine, theirs, x.at, x.want, false)
		compare("one of them not anchored", mine, unanchored, x.at, "", false)
		compare("the same answer", mine, mine, x.at, share.Acknowledged, false)
		compare("different requests", mine, other, x.at, "", true)
	}
	changed := *theirs
	changed.Request.Signature = append(cityid.Bytes{}, theirs.Request.Signature...)
	changed.Request.Signature[0] ^= 1
	compare("a request that nobody signed", mine, &changed, due, "", true)
	changed = *theirs
	changed.Response = mine.Response
	compare("an entry of another answer", mine, &changed, due, "", false)
}

// claims writes into the provider's log that it answered a request otherwise than it
// did, and returns the entry.
func (w *world) claims(e *share.Evidence) cityid.Digest {
	w.t.Helper()
	l := w.give.Ledger()
	place, err := l.Reserve(w.t.Context(), e.Agreement, ledger.Limits{}, 1<<20)
	if err != nil {
		w.t.Fatal(err)
	}
	defer place.Release()
	a, err := l.AppendServed(w.t.Context(), ledger.Served{Agreement: e.Agreement, Peer: consumer, Path: "/latest", Request: e.Request, Reservation: place},
		func(number uint64) (ledger.Answer, error) {
			entry, answer := w.another(e, func(r *ledger.Receipt) { otherBody(r); r.Number = number })
			_, receipt, err := ledger.DecodeEntry(entry)
			return ledger.Answer{Receipt: receipt, Response: answer}, err
		})
	if err != nil {
		w.t.Fatal(err)
	}
	return a.Hash
}
