// SPDX-License-Identifier: Apache-2.0

package office

import (
	"encoding/json"
	"sync"
	"testing"
	"time"

	"cityid"
	"cityid/keys"
)

const testChain = "cityid-test"

func vetoes(code string) []cityid.Operation {
	return []cityid.Operation{{Veto: &cityid.Veto{Code: cityid.MustParse(code)}}}
}

func bodyOf(c *clock, ops []cityid.Operation, signers ...cityid.PublicKey) []byte {
	return cityid.MustMarshal(&cityid.Body{Chain: testChain, Signers: signers, Expires: cityid.TimeOf(c.now().Add(time.Hour)), Operations: ops})
}

func signed(t testing.TB, k *keys.Private, body []byte) cityid.KeySignature {
	t.Helper()
	d := cityid.SigningDigest(body)
	return cityid.KeySignature{Key: cityid.PublicKey(k.Public().Raw()), Signature: ok(k.Sign(d[:]))(t)}
}

func TestSigning(t *testing.T) {
	ctx := t.Context()
	o, c := newOffice(t)
	k1, p1 := privateKey(t, keys.Ed25519, 1)
	k2, p2 := privateKey(t, keys.P256, 2) // its algorithm byte sorts after
	k3, p3 := privateKey(t, keys.Ed25519, 3)
	ops := vetoes("MA.156.1301")
	id := ok(o.NewSigning(ctx, SigningRequest{Chain: testChain, Operations: ops, Title: "否决", Creator: p1, Signers: []cityid.PublicKey{p1, p2}, Next: "/zh/"}))(t)
	s := ok(o.Signing(ctx, id))(t)
	if s.State != SigningOpen || s.Title != "否决" || s.Next != "/zh/" || len(s.Operations) != 1 || s.Operations[0].Veto == nil || len(s.Signers) != 2 || len(s.Body) != 0 {
		t.Errorf("signing %+v", s)
	}
	_, err := o.AddSignature(ctx, id, signed(t, k1, nil))
	want(t, "signature before the body", err, ErrConflict)
	want(t, "another operation", o.SetBody(ctx, id, bodyOf(c, vetoes("MA.156.1302"), p1)), ErrInvalid)
	want(t, "a key not chosen", o.SetBody(ctx, id, bodyOf(c, ops, p3)), ErrInvalid)
	want(t, "garbage", o.SetBody(ctx, id, []byte{1}), ErrInvalid)
	want(t, "another chain", o.SetBody(ctx, id, cityid.MustMarshal(&cityid.Body{Chain: "x", Signers: []cityid.PublicKey{p1}, Expires: 1, Operations: ops})), ErrInvalid)
	want(t, "unknown id", o.SetBody(ctx, "x", bodyOf(c, ops, p1)), ErrNotFound)

	first := bodyOf(c, ops, p1)
	do(t, o.SetBody(ctx, id, first))
	if complete := ok(o.AddSignature(ctx, id, signed(t, k1, first)))(t); !complete {
		t.Error("not complete with the only signature")
	}
	do(t, o.SetBody(ctx, id, first)) // the same: nothing happens
	if s := ok(o.Signing(ctx, id))(t); len(s.Signatures) != 1 {
		t.Errorf("the same body dropped signatures: %+v", s)
	}
	body := bodyOf(c, ops, p1, p2)
	do(t, o.SetBody(ctx, id, body))
	s = ok(o.Signing(ctx, id))(t)
	if len(s.Signatures) != 0 || len(s.Missing()) != 2 {
		t.Errorf("after a new body: %+v", s)
	}
	_, err = o.AddSignature(ctx, id, signed(t, k1, first))
	want(t, "a signature of the old body", err, ErrInvalid)
	_, err = o.AddSignature(ctx, id, signed(t, k3, body))
	want(t, "a stranger's", err, ErrInvalid)
	_, err = o.Submit(ctx, id)
	want(t, "submitting too early", err, ErrConflict)
	want(t, "done too early", o.Finish(ctx, id, SigningDone, nil), ErrConflict)
	for i, k := range []*keys.Private{k2, k2, k1} {
		if complete := ok(o.AddSignature(ctx, id, signed(t, k, body)))(t); complete != (i == 2) {
			t.Errorf("after signature %d: complete %v", i, complete)
		}
	}
	o = crash(t, o, c)
	tx := ok(o.Submit(ctx, id))(t)
	decoded, _, err := cityid.DecodeTx(cityid.MustMarshal(tx))
	if err != nil || decoded.ID() != hashOf(body) {
		t.Fatalf("transaction: %v", err)
	}
	d := cityid.SigningDigest(body)
	for i, k := range []cityid.PublicKey{p1, p2} {
		do(t, keys.Verify([]byte(k), d[:], decoded.Signatures[i]))
	}
	o = crash(t, o, c)
	if again := ok(o.Submit(ctx, id))(t); again.ID() != tx.ID() {
		t.Error("another transaction after a crash")
	}
	if list := ok(o.SubmittedSignings(ctx))(t); len(list) != 1 || list[0].ID != id {
		t.Errorf("submitted: %+v", list)
	}
	want(t, "a body after submitting", o.SetBody(ctx, id, first), ErrConflict)
	do(t, o.Finish(ctx, id, SigningDone, json.RawMessage(`{"height":7}`)))
	do(t, o.Finish(ctx, id, SigningDone, json.RawMessage(`{"height":8}`)))
	want(t, "refused after done", o.Finish(ctx, id, SigningRefused, nil), ErrConflict)
	if s := ok(o.Signing(ctx, id))(t); s.State != SigningDone || string(s.Receipt) != `{"height":7}` {
		t.Errorf("finished: %+v", s)
	}
	if list := ok(o.SigningsOf(ctx, p1))(t); len(list) != 1 || list[0].ID != id {
		t.Errorf("made by: %+v", list)
	}
}

func TestSigningReopenAndExpiry(t *testing.T) {
	ctx := t.Context()
	o, c := newOffice(t)
	k, p := privateKey(t, keys.Ed25519, 1)
	ops := vetoes("MA.156.1301")
	request := SigningRequest{Chain: testChain, Operations: ops, Title: "veto"}
	open, kept := ok(o.NewSigning(ctx, request))(t), ok(o.NewSigning(ctx, request))(t)
	body := bodyOf(c, ops, p)
	do(t, o.SetBody(ctx, kept, body))
	ok(o.AddSignature(ctx, kept, signed(t, k, body)))(t)
	want(t, "reopening an open one", o.Reopen(ctx, kept), ErrConflict)
	ok(o.Submit(ctx, kept))(t)
	c.pass(7 * 24 * time.Hour)
	_, err := o.Signing(ctx, open)
	want(t, "expired", err, ErrExpired)
	want(t, "body after expiry", o.SetBody(ctx, open, body), ErrExpired)
	do(t, o.Reopen(ctx, kept)) // the body lapsed
	later := bodyOf(c, ops, p)
	do(t, o.SetBody(ctx, kept, later))
	ok(o.AddSignature(ctx, kept, signed(t, k, later)))(t)
	ok(o.Sweep(ctx))(t)
	_, err = o.Signing(ctx, open)
	want(t, "swept", err, ErrNotFound)
	do(t, o.Finish(ctx, kept, SigningRefused, nil))
	c.pass(7*24*time.Hour + signingKept)
	ok(o.Sweep(ctx))(t)
	_, err = o.Signing(ctx, kept)
	want(t, "swept at last", err, ErrNotFound)
}

func TestSigningArguments(t *testing.T) {
	ctx := t.Context()
	o, _ := newOffice(t)
	good := SigningRequest{Chain: testChain, Operations: vetoes("MA.156.1301"), Title: "t"}
	for what, change := range map[string]func(*SigningRequest){
		"no title": func(r *SigningRequest) { r.Title = "" }, "no chain": func(r *SigningRequest) { r.Chain = "" },
		"no operations": func(r *SigningRequest) { r.Operations = nil }, "an empty operation": func(r *SigningRequest) { r.Operations = make([]cityid.Operation, 1) },
		"a bad signer": func(r *SigningRequest) { r.Signers = []cityid.PublicKey{"\x01x"} },
	} {
		r := good
		change(&r)
		_, err := o.NewSigning(ctx, r)
		want(t, what, err, ErrInvalid)
	}
	r := good
	r.Note = string(make([]byte, maxNote+1))
	_, err := o.NewSigning(ctx, r)
	want(t, "a long note", err, ErrTooLarge)
	id := ok(o.NewSigning(ctx, good))(t)
	want(t, "no such end", o.Finish(ctx, id, SigningOpen, nil), ErrInvalid)
	want(t, "no JSON", o.Finish(ctx, id, SigningRefused, json.RawMessage("{")), ErrInvalid)
}

// TestSigningRace lets two people fix a body at once: a signature counts for one
// body only, whoever comes last.
func TestSigningRace(t *testing.T) {
	ctx := t.Context()
	o, c := newOffice(t)
	ops := vetoes("MA.156.1301")
	id := ok(o.NewSigning(ctx, SigningRequest{Chain: testChain, Operations: ops, Title: "t"}))(t)
	var wg sync.WaitGroup
	for n := byte(1); n <= 4; n++ {
		k, p := privateKey(t, keys.Ed25519, n)
		wg.Go(func() {
			body := bodyOf(c, ops, p)
			for range 10 {
				if err := o.SetBody(ctx, id, body); err != nil {
					t.Error(err)
				}
				_, _ = o.AddSignature(ctx, id, signed(t, k, body))
				s, err := o.Signing(ctx, id)
				if err != nil {
					t.Error(err)
					continue
				}
				d := cityid.SigningDigest(s.Body)
				for _, sig := range s.Signatures {
					if err := keys.Verify([]byte(sig.Key), d[:], sig.Signature); err != nil {
						t.Errorf("a signature of another body: %v", err)
					}
				}
			}
		})
	}
	wg.Wait()
}
