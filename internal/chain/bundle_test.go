// SPDX-License-Identifier: Apache-2.0

package chain_test

import (
	"bytes"
	"testing"
	"time"

	"cityid"
	"cityid/internal/chain"
	"cityid/internal/chain/chaintest"
	"cityid/verify"
)

// bundle asks for a bundle and wants the verdict valid.
func bundle(t testing.TB, e *chain.Engine, q cityid.BundleQuery) verify.Result {
	t.Helper()
	data, err := e.Bundle(ctx, q)
	if err != nil {
		t.Fatal(err)
	}
	trust, err := e.Trust(ctx)
	if err != nil {
		t.Fatal(err)
	}
	held := &trust[len(trust)-1]
	if q.From > 0 {
		held = &trust[q.From-1]
	}
	r := verify.CheckEncoded(held, data, verify.Options{Now: e.Now().Add(time.Second), Code: q.Code, Kind: q.Kind})
	if r.Verdict != verify.Valid {
		t.Fatalf("%+v: %s: %s", q, r.Verdict, r.Message)
	}
	return r
}

func TestBundles(t *testing.T) {
	e := newEngine(t, "")
	submit(t, e,
		city(1), city(2),
		chaintest.Allocate(
			chaintest.Allocation("MA.156.1001.01", cityid.KindDepartment),
			chaintest.Allocation("MA.156.1001.01.01", cityid.KindDepartment),
			chaintest.Allocation("MA.156.1001.02", cityid.KindDepartment),
		))
	code := cityid.MustParse("MA.156.1001")
	first := submit(t, e, cityid.Operation{Amend: &cityid.Amend{Code: code, Revision: 1, Content: cityid.Content{Names: cityid.Names{{Lang: "en", Text: "Second"}}}}})

	if r := bundle(t, e, cityid.BundleQuery{Code: code, Kind: cityid.AnswerRecord}); !r.Allocated || r.Record.Revision != 2 {
		t.Errorf("record: %+v", r)
	}
	if r := bundle(t, e, cityid.BundleQuery{Code: code, Kind: cityid.AnswerRecord, From: 1}); !r.Allocated {
		t.Errorf("record from version 1: %+v", r)
	}
	if r := bundle(t, e, cityid.BundleQuery{Code: cityid.MustParse("MA.156.4444"), Kind: cityid.AnswerRecord}); r.Allocated {
		t.Errorf("absence: %+v", r)
	}
	if r := bundle(t, e, cityid.BundleQuery{Code: code, Kind: cityid.AnswerHistory}); len(r.Records) != 2 {
		t.Errorf("history of %d revisions", len(r.Records))
	}
	if r := bundle(t, e, cityid.BundleQuery{Code: code, Kind: cityid.AnswerChildren}); len(r.Records) != 2 {
		t.Errorf("%d children", len(r.Records))
	}
	if r := bundle(t, e, cityid.BundleQuery{Code: code, Kind: cityid.AnswerDescendants}); len(r.Records) != 3 {
		t.Errorf("%d descendants", len(r.Records))
	}

	// The past, by itself and through the block log.
	submit(t, e, cityid.Operation{Amend: &cityid.Amend{Code: code, Revision: 2, Content: cityid.Content{Names: cityid.Names{{Lang: "en", Text: "Third"}}}}})
	submit(t, e, city(3))
	for _, log := range []bool{false, true} {
		r := bundle(t, e, cityid.BundleQuery{Code: code, Kind: cityid.AnswerRecord, At: first.Height, Log: log})
		if r.Record.Revision != 2 || r.AsOf.Height != first.Height {
			t.Errorf("log %v: revision %d as of %+v", log, r.Record.Revision, r.AsOf)
		}
	}

	_, err := e.Bundle(ctx, cityid.BundleQuery{Code: code, Kind: cityid.AnswerRecord, At: 1000})
	wantCode(t, err, cityid.ErrNotFound)
	_, err = e.Bundle(ctx, cityid.BundleQuery{Code: code, Kind: cityid.AnswerRecord, From: 9})
	wantCode(t, err, cityid.ErrNotFound)
	_, err = e.Bundle(ctx, cityid.BundleQuery{Code: code})
	wantCode(t, err, cityid.ErrInvalid)
	_, err = e.Bundle(ctx, cityid.BundleQuery{Kind: cityid.AnswerRecord})
	wantCode(t, err, cityid.ErrInvalid)
}

// A receipt that was waited for is provable at once, and the bundle of an idle
// chain has the heartbeat's time.
func TestBundleIsFresh(t *testing.T) {
	dir := t.TempDir()
	e := newEngine(t, dir)
	r := submit(t, e, city(1))
	q := cityid.BundleQuery{Code: cityid.MustParse("MA.156.1001"), Kind: cityid.AnswerRecord}
	if got := bundle(t, e, q); got.AsOf.Height < r.Height {
		t.Errorf("as of %+v, want height %d at least", got.AsOf, r.Height)
	}
	e.Advance(3 * time.Hour)
	if err := e.MakeBlock(); err != nil {
		t.Fatal(err)
	}
	got := bundle(t, e, q)
	if age := e.Now().Sub(got.AsOf.Time); age > time.Second {
		t.Errorf("as of %s, now is %s", got.AsOf.Time, e.Now())
	}
	before, err := e.Bundle(ctx, q)
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	e = newEngine(t, dir)
	after, err := e.Bundle(ctx, q)
	if err != nil || !bytes.Equal(before, after) {
		t.Errorf("another bundle after the restart: %v", err)
	}
}

// Bundles lead on from the trust root when the validators change.
func TestBundleAfterValidatorChange(t *testing.T) {
	e := newEngine(t, "")
	submit(t, e, city(1))
	set := cityid.SetValidators{Revision: 1, Validators: []cityid.Validator{chain.EngineValidator(), {Key: chaintest.Key(5).Key, Power: 3}}}
	if set.Validators[0].Key > set.Validators[1].Key {
		set.Validators[0], set.Validators[1] = set.Validators[1], set.Validators[0]
	}
	submit(t, e, cityid.Operation{SetValidators: &set})
	for range 3 {
		if err := e.MakeBlock(); err != nil {
			t.Fatal(err)
		}
	}
	bundle(t, e, cityid.BundleQuery{Code: cityid.MustParse("MA.156.1001"), Kind: cityid.AnswerRecord})
}

// Whoever holds an older version of the trust root gets those after it.
func TestBundleCarriesTrust(t *testing.T) {
	e := newEngine(t, "")
	submit(t, e, city(1))
	for range 2 {
		e.Advance(13 * 24 * time.Hour)
		for range 2 {
			if err := e.MakeBlock(); err != nil {
				t.Fatal(err)
			}
		}
		s, err := e.NextTrust(ctx)
		if err != nil {
			t.Fatal(err)
		}
		d := s.SigningDigest()
		sig, err := chaintest.Key(0).Sign(d[:])
		if err != nil {
			t.Fatal(err)
		}
		submit(t, e, cityid.Operation{SetTrust: &cityid.SetTrust{Trust: cityid.Trust{
			Statement: *s, Signatures: []cityid.KeySignature{{Key: chaintest.Key(0).Key, Signature: sig}},
		}}})
	}
	if s := status(t, e); s.Trust != 3 {
		t.Fatalf("status %+v", s)
	}
	for from := range uint32(4) {
		r := bundle(t, e, cityid.BundleQuery{Code: cityid.MustParse("MA.156.1001"), Kind: cityid.AnswerRecord, From: from})
		if want := (3 - int(from)) % 3; len(r.Learned) != want {
			t.Errorf("from version %d: %d versions learned, want %d", from, len(r.Learned), want)
		}
	}
}

func BenchmarkBundle(b *testing.B) {
	e := newEngine(b, "")
	submit(b, e, city(1))
	q := cityid.BundleQuery{Code: cityid.MustParse("MA.156.1001"), Kind: cityid.AnswerRecord}
	for b.Loop() {
		if _, err := e.Bundle(ctx, q); err != nil {
			b.Fatal(err)
		}
	}
}
