// SPDX-License-Identifier: Apache-2.0

package js_test

import (
	"bytes"
	"crypto/ed25519"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"cityid"
	"cityid/header"
	"cityid/merkle"
	"cityid/verify"
)

// pool are private keys of validators.
type pool map[[32]byte]ed25519.PrivateKey

// set draws validators of random powers, about half of them those of old.
func (p pool) set(r *rand.Rand, old header.Validators) header.Validators {
	var out header.Validators
	for _, key := range slices.SortedFunc(maps.Keys(p), func(a, b [32]byte) int { return bytes.Compare(a[:], b[:]) }) {
		power := 1 + r.Int64N(6)
		if r.IntN(8) == 0 {
			power = 1 + r.Int64N(int64(header.MaxTotalPower)/16)
		}
		keep := r.IntN(3) == 0
		for _, v := range old {
			if v.PublicKey == key && r.IntN(3) > 0 {
				keep, power = true, v.Power
			}
		}
		if keep && len(out) < 8 {
			out = append(out, header.Validator{PublicKey: key, Power: power})
		}
	}
	if len(out) == 0 {
		return p.set(r, old)
	}
	out.Sort()
	return out
}

// sign returns a commit by some of the validators: mostly just as many as needed
// with a trusted set, sometimes one more or less.
func (p pool) sign(r *rand.Rand, h *header.Header, trusted, vals header.Validators) *header.Commit {
	c := &header.Commit{Round: r.Int32N(3), PartsTotal: 1 + r.Uint32N(9), PartsHash: header.Hash{1}}
	for i, v := range vals {
		if r.IntN(6) == 0 {
			continue
		}
		at := h.Time.Add(time.Duration(r.Int64N(int64(time.Second))))
		sig := ed25519.Sign(p[v.PublicKey], c.SignBytes(h.ChainID, h.Height, h.Hash(), at))
		c.Votes = append(c.Votes, header.Vote{Index: uint(i), Time: at, Signature: [64]byte(sig)})
	}
	needed := header.MinimalSkipping(trusted, vals, c.Votes)
	if needed == nil {
		needed = header.Minimal(vals, c.Votes)
	}
	switch n := len(needed); {
	case n > 1 && r.IntN(8) == 0:
		c.Votes = needed[:n-1]
	case n > 0 && r.IntN(8) > 0:
		c.Votes = needed
	case len(c.Votes) == 0:
		return p.sign(r, h, trusted, vals)
	}
	return c
}

// TestValidators judges chains of random validators, powers and votes: below, at
// and above the trust root's height, with and without transitions.
func TestValidators(t *testing.T) {
	r := source(t)
	v := readVectors(t, "bundle-good-record")[0]
	p := pool{}
	for range 16 {
		var seed [32]byte
		for i := range seed {
			seed[i] = byte(r.Uint32())
		}
		private := ed25519.NewKeyFromSeed(seed[:])
		p[[32]byte(private.Public().(ed25519.PublicKey))] = private
	}
	var tries []try
	verdicts := map[verify.Verdict]int{}
	reasons := map[verify.Reason]int{}
	for range 800 {
		b, err := verify.Decode(v.Bundle)
		if err != nil {
			t.Fatal(err)
		}
		trust, blocks := randomChain(t, r, p, v.Trust.Statement, b)
		step := &b.Steps[0]
		step.Transitions, step.Head = blocks[:len(blocks)-1], blocks[len(blocks)-1]
		b.Trust = verify.TagOf(trust, b.Kind, b.Code)
		judged := *v
		judged.Trust = *trust
		data := cityid.MustMarshal(b)
		tries = append(tries, try{"chain", &judged, data})
		res := verify.CheckEncoded(trust, data, judged.options())
		verdicts[res.Verdict]++
		reasons[res.Reason]++
	}
	t.Log(verdicts, reasons)
	if verdicts[verify.Valid] < 50 || verdicts[verify.Undecided] < 30 || verdicts[verify.Invalid] < 100 {
		t.Errorf("verdicts %v: this tests little", verdicts)
	}
	compare(t, tries)
}

// randomChain returns a trust root and light blocks that may lead from it to the
// header of b, whose validators are changed.
func randomChain(t *testing.T, r *rand.Rand, p pool, s cityid.TrustStatement, b *verify.Bundle) (*cityid.Trust, []cityid.LightBlock) {
	t.Helper()
	head, err := header.DecodeStripped(b.Steps[0].Head.Header)
	if err != nil {
		t.Fatal(err)
	}
	var proof merkle.Proof
	if err := proof.UnmarshalBinary(b.Steps[0].Proof); err != nil {
		t.Fatal(err)
	}
	root, err := proof.Root(cityid.RecordKey(b.Code), merkle.ValueHash(b.Values[0]))
	if err != nil {
		t.Fatal(err)
	}
	head.ChainID, head.AppHash = s.Chain, header.Hash(root)

	known := p.set(r, nil)
	for i := range known { // within the bounds of trust statements
		known[i].Power = 1 + known[i].Power%cityid.MaxPower
	}
	known.Sort()
	s.Validators = nil
	for _, val := range known {
		s.Validators = append(s.Validators, cityid.TrustPower{Key: cityid.PublicKey("\x01" + string(val.PublicKey[:])), Power: val.Power})
	}
	n := r.IntN(3)
	if s.Time = cityid.TimeOf(head.Time) - cityid.Time(r.IntN(8)-1); r.IntN(4) > 0 { // a later version, at about the head's height
		s.Version, s.Prev, s.Header = 2, cityid.Digest{1}, cityid.Digest{1}
		s.Height = uint64(head.Height) - uint64(r.IntN(6)) + 1
	}
	var out []cityid.LightBlock
	trusted, next := known, known.Hash()
	for i := range n + 1 {
		h := *head
		vals := p.set(r, trusted)
		if r.IntN(3) == 0 {
			vals = p.set(r, nil)
		} else if r.IntN(2) == 0 && trusted != nil {
			vals = trusted
		}
		if i < n {
			h.Height = int64(s.Height) + int64(i) + 1 + r.Int64N(2)
			h.Time = s.Time.Std().Add(time.Duration(i)*time.Second + time.Duration(r.IntN(3))*500*time.Millisecond)
			h.AppHash = header.Hash{2}
		}
		following := p.set(r, vals)
		if r.IntN(3) == 0 {
			following = vals
		}
		h.ValidatorsHash, h.NextValidatorsHash = vals.Hash(), following.Hash()
		if i == 0 && uint64(h.Height) == s.Height && s.Version > 1 && r.IntN(4) > 0 {
			s.Header = cityid.Digest(h.Hash())
		}
		block := cityid.LightBlock{}
		if block.Header, err = header.EncodeStripped(&h, i < n); err != nil {
			h.Height = 1
			if block.Header, err = header.EncodeStripped(&h, i < n); err != nil {
				t.Fatal(err)
			}
		}
		commit := p.sign(r, &h, trusted, vals)
		if block.Commit, err = commit.MarshalBinary(); err != nil {
			t.Fatal(err)
		}
		if trusted == nil || vals.Hash() != trusted.Hash() || r.IntN(30) == 0 {
			if block.Validators, err = vals.MarshalBinary(); err != nil {
				t.Fatal(err)
			}
		}
		out = append(out, block)
		trusted, next = nil, h.NextValidatorsHash
		if next == h.ValidatorsHash {
			trusted = vals
		}
	}
	return &cityid.Trust{Statement: s}, out
}
