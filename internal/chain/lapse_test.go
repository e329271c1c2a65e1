// SPDX-License-Identifier: Apache-2.0

package chain_test

import (
	"testing"
	"time"

	"cityid"
	"cityid/internal/chain"
	"cityid/internal/chain/chaintest"
	"cityid/verify"
)

// submitBy submits a transaction by other signers than Key(0) and returns its
// refusal, if it is refused.
func submitBy(t testing.TB, e *chain.Engine, signers []cityid.Signer, ops ...cityid.Operation) error {
	t.Helper()
	r, err := e.Submit(ctx, chaintest.TxBy(engineChain, e.Now(), signers, ops...), true)
	if err != nil {
		return err
	}
	return r.Err()
}

// verdict judges the node's answer about a city from version 1 of the trust root,
// as a stranger does who has pinned no other.
func verdict(t testing.TB, e *chain.Engine, code string) verify.Result {
	t.Helper()
	trust, err := e.Trust(ctx)
	if err != nil {
		t.Fatal(err)
	}
	q := cityid.BundleQuery{Code: cityid.MustParse(code), Kind: cityid.AnswerRecord, From: 1}
	data, err := e.Bundle(ctx, q)
	if err != nil {
		t.Fatal(err)
	}
	return verify.CheckEncoded(&trust[0], data, verify.Options{Now: e.Now().Add(time.Second), Code: q.Code, Kind: q.Kind})
}

// A network that stood still for longer than verifiers trust a version goes on
// with its blocks; verifiers come along with the next version of the trust root.
func TestHaltedNetwork(t *testing.T) {
	dir := t.TempDir()
	e := newEngine(t, dir)
	submit(t, e, city(1))
	if r := verdict(t, e, "MA.156.1001"); r.Verdict != verify.Valid {
		t.Fatalf("before: %s %q: %s", r.Verdict, r.Reason, r.Message)
	}
	before := status(t, e)
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}

	e = newEngine(t, dir)
	e.Advance(20 * 24 * time.Hour)
	blocks(t, e, 2)
	after := status(t, e)
	if after.Height <= before.Height || after.AppHash != before.AppHash || after.Time.Sub(before.Time) < 20*24*time.Hour {
		t.Fatalf("restarted at %+v, stopped at %+v", after, before)
	}
	if r := verdict(t, e, "MA.156.1001"); r.Verdict != verify.Undecided || r.Reason != verify.ReasonTrustExpired {
		t.Errorf("after the stop: %s %q: %s", r.Verdict, r.Reason, r.Message)
	}
	submit(t, e, city(2)) // the registry itself goes on
	publishTrust(t, e)
	for _, code := range []string{"MA.156.1001", "MA.156.1002"} {
		if r := verdict(t, e, code); r.Verdict != verify.Valid || len(r.Learned) != 1 {
			t.Errorf("with the next version, %s: %s %q: %s", code, r.Verdict, r.Reason, r.Message)
		}
	}
}

// The keys of the apex are lost. The recovery policy replaces it after the delay,
// and the new policy decides. A trust root still follows by the quorum of the
// version before alone: who was recovered does not speak for verifiers' pins.
func TestApexRecovery(t *testing.T) {
	e := newEngine(t, "")
	submit(t, e, city(1))
	e.Advance(365 * 24 * time.Hour)
	blocks(t, e, 1)

	vault, next := []cityid.Signer{chaintest.Key(1)}, []cityid.Signer{chaintest.Key(2)}
	takeover := cityid.Operation{Rekey: &cityid.Rekey{Code: chaintest.Apex, Revision: 1, Policy: chaintest.Policy(next[0])}}
	if err := submitBy(t, e, next, takeover); cityid.CodeOf(err) != cityid.ErrNotPermitted {
		t.Fatalf("a stranger starts the recovery: %v", err)
	}
	if err := submitBy(t, e, vault, takeover); err != nil {
		t.Fatal(err)
	}
	for _, day := range []int{1, 89} {
		e.Advance(time.Duration(day) * 24 * time.Hour)
		blocks(t, e, 1)
		if err := submitBy(t, e, vault, takeover); err == nil && day == 1 {
			t.Fatal("the recovery is completed before its delay has passed")
		}
	}
	blocks(t, e, 1)
	a, err := e.Record(ctx, chaintest.Apex)
	if err != nil {
		t.Fatal(err)
	}
	if a.Record.Policy.Hash() != chaintest.Policy(next[0]).Hash() {
		t.Fatalf("after the delay the apex still has revision %d", a.Record.Revision)
	}
	if err := submitBy(t, e, []cityid.Signer{chaintest.Key(0)}, city(2)); cityid.CodeOf(err) != cityid.ErrNotPermitted {
		t.Errorf("the lost key still decides: %v", err)
	}
	if err := submitBy(t, e, next, city(2)); err != nil {
		t.Errorf("the new key does not decide: %v", err)
	}

	s, err := e.NextTrust(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if len(s.Quorum.Members) != 1 || s.Quorum.Members[0].Keys[0] != next[0].Key {
		t.Fatalf("the next version is to be followed by %+v", s.Quorum)
	}
	signed := func(by cityid.Signer) cityid.Operation {
		d := s.SigningDigest()
		sig, err := by.Sign(d[:])
		if err != nil {
			t.Fatal(err)
		}
		return cityid.Operation{SetTrust: &cityid.SetTrust{Trust: cityid.Trust{Statement: *s, Signatures: []cityid.KeySignature{{Key: by.Key, Signature: sig}}}}}
	}
	if err := submitBy(t, e, next, signed(next[0])); cityid.CodeOf(err) != cityid.ErrNotPermitted {
		t.Errorf("the new key alone renews the trust root: %v", err)
	}
	if err := submitBy(t, e, next, signed(chaintest.Key(0))); err != nil {
		t.Errorf("the quorum of version 1 does not renew it: %v", err)
	}
	if r := verdict(t, e, "MA.156.1002"); r.Verdict != verify.Valid {
		t.Errorf("from version 1: %s %q: %s", r.Verdict, r.Reason, r.Message)
	}
}
