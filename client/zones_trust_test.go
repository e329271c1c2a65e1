// SPDX-License-Identifier: Apache-2.0

package client_test

import (
	"testing"
	"time"

	"cityid"
	"cityid/client"
	"cityid/internal/chain/chaintest"
	"cityid/verify"
)

// New versions of the trust root are learned on the way, told, and used; whoever
// asks with an older one gets what leads on from that.
func TestZonesLearn(t *testing.T) {
	w := newZonesWorld(t, 1)
	pinned := w.trust()
	var told *verify.TrustFile
	z := w.zones(func(c *client.ZonesConfig) {
		c.Learned = func(f *verify.TrustFile) error { told = f; return nil }
	})
	code := cityid.MustParse(districtApex + ".05")
	if _, err := z.Resolve(t.Context(), code); err != nil || told != nil {
		t.Fatal(err, told)
	}
	s, err := w.root.engine.NextTrust(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	d := s.SigningDigest()
	k := chaintest.Key(0)
	sig, err := k.Sign(d[:])
	if err != nil {
		t.Fatal(err)
	}
	next := cityid.Trust{Statement: *s, Signatures: []cityid.KeySignature{{Key: k.Key, Signature: sig}}}
	w.root.apply(t, cityid.Operation{SetTrust: &cityid.SetTrust{Trust: next}})
	w.rest(3 * time.Minute)
	r, err := z.Resolve(t.Context(), code)
	if err != nil {
		t.Fatal(err)
	}
	right(t, r, code.String(), true)
	if told == nil || told.Latest().Statement.Version != 2 || told.Pinned() != pinned.Pinned() || z.Status().Trust != 2 {
		t.Fatalf("version 2 was not learned: %+v", z.Status())
	}
	for from, trust := range map[uint32]*cityid.Trust{0: told.Latest(), 1: pinned.Latest(), 2: told.Latest()} {
		b, err := z.Bundle(t.Context(), cityid.BundleQuery{Code: code, From: from})
		if err != nil {
			t.Fatal(err)
		}
		right(t, verify.CheckEncoded(trust, b, verify.Options{Now: w.now(), Code: code}), code.String(), true)
	}
	if s := z.Status(); s.Failures != 0 || s.Zones[1].Chain == "" {
		t.Errorf("status %+v", s)
	}
}
