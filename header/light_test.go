// SPDX-License-Identifier: Apache-2.0

package header_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/cometbft/cometbft/light"
	"github.com/cometbft/cometbft/types"

	"cityid/header"
)

// chainStep is everything a light rule looks at.
type chainStep struct {
	trusted *header.Header
	next    zone // the validators trusted names as the next
	h       *header.Header
	z       zone // the validators of h
	c       *header.Commit
}

// newStep returns a trusted header and a sound header gap blocks above it, with all
// votes. If gap is 1 the validators are those trusted names; else shift of the n are
// others.
func newStep(r *rand.Rand, gap int64, n, shift int) *chainStep {
	s := &chainStep{trusted: randHeader(r), h: randHeader(r), next: newZone(r, 0, n)}
	s.z = s.next
	if gap > 1 {
		s.z = newZone(r, shift, n)
	}
	s.trusted.Time = time.Unix(1.8e9, r.Int64N(1e9)).UTC()
	s.trusted.Height = 1 + r.Int64N(1e6)
	s.trusted.NextValidatorsHash = s.next.vals.Hash()
	s.h.ChainID = s.trusted.ChainID
	s.h.Time = s.trusted.Time.Add(1 + time.Duration(r.Int64N(1e15)))
	s.h.Height = s.trusted.Height + gap
	s.h.ValidatorsHash = s.z.vals.Hash()
	s.c = s.z.sign(r, s.h, all)
	return s
}

func (s *chainStep) resign() { s.z.resign(s.h, s.c) }

func (s *chainStep) adjacent() error {
	return header.VerifyAdjacent(s.trusted, s.h, s.z.vals, s.c, zip215)
}

func (s *chainStep) skipping() error {
	return header.VerifySkipping(s.trusted, s.next.vals, s.h, s.z.vals, s.c, zip215)
}

// cmt asks CometBFT, with a clock and a trusting period that never matter.
func (s *chainStep) cmt(adjacent bool) error {
	trusted := &types.SignedHeader{Header: cmtHeader(s.trusted)}
	signed := cmtSigned(s.h, s.z.vals, s.c)
	const century = 100 * 365 * 24 * time.Hour
	now := time.Unix(1.9e9, 0)
	if adjacent {
		return light.VerifyAdjacent(trusted, signed, cmtValidators(s.z.vals), century, now, century)
	}
	return light.VerifyNonAdjacent(trusted, cmtValidators(s.next.vals), signed, cmtValidators(s.z.vals), century, now, century, light.DefaultTrustLevel)
}

// cmtCommitLight asks CometBFT what VerifyCommit decides.
func (s *chainStep) cmtCommitLight(chainID string) error {
	signed, vals := cmtSigned(s.h, s.z.vals, s.c), cmtValidators(s.z.vals)
	if err := (types.LightBlock{SignedHeader: signed, ValidatorSet: vals}).ValidateBasic(chainID); err != nil {
		return err
	}
	return vals.VerifyCommitLight(chainID, signed.Commit.BlockID, s.h.Height, signed.Commit)
}

// mutation spoils a step, or leaves it sound in another way.
type mutation struct {
	name     string
	apply    func(r *rand.Rand, s *chainStep)
	stricter bool // CometBFT may accept, we refuse as invalid
}

func pick(r *rand.Rand, s *chainStep) *header.Vote { return &s.c.Votes[r.IntN(len(s.c.Votes))] }

var mutations = []mutation{
	{name: "none", apply: func(*rand.Rand, *chainStep) {}},
	{name: "signature bit", apply: func(r *rand.Rand, s *chainStep) { pick(r, s).Signature[r.IntN(64)] ^= 1 << r.IntN(8) }},
	{name: "signature of another", apply: func(r *rand.Rand, s *chainStep) { pick(r, s).Signature = pick(r, s).Signature }},
	{name: "vote time", apply: func(r *rand.Rand, s *chainStep) { v := pick(r, s); v.Time = v.Time.Add(1) }},
	{name: "vote time, signed", apply: func(r *rand.Rand, s *chainStep) { pick(r, s).Time = randTime(r); s.resign() }},
	{name: "round", apply: func(r *rand.Rand, s *chainStep) { s.c.Round ^= 1 << r.IntN(31) }},
	{name: "round negative", apply: func(r *rand.Rand, s *chainStep) { s.c.Round = -1; s.resign() }},
	{name: "parts total", apply: func(r *rand.Rand, s *chainStep) { s.c.PartsTotal = 1 + s.c.PartsTotal%header.MaxParts }},
	{name: "parts hash", apply: func(r *rand.Rand, s *chainStep) { s.c.PartsHash[r.IntN(32)] ^= 1 }},
	{name: "no parts, signed", apply: func(r *rand.Rand, s *chainStep) { s.c.PartsTotal = 0; s.resign() }, stricter: true},
	{name: "app hash", apply: func(r *rand.Rand, s *chainStep) { s.h.AppHash[r.IntN(32)] ^= 1 }},
	{name: "app hash, signed", apply: func(r *rand.Rand, s *chainStep) { s.h.AppHash[r.IntN(32)] ^= 1; s.resign() }},
	{name: "app hash zero, signed", apply: func(r *rand.Rand, s *chainStep) { s.h.AppHash = header.Hash{}; s.resign() }, stricter: true},
	{name: "last block id cut, signed", apply: func(r *rand.Rand, s *chainStep) {
		s.h.LastBlockID = header.BlockID{PartsTotal: 1}
		s.resign()
	}, stricter: true},
	{name: "validators hash, signed", apply: func(r *rand.Rand, s *chainStep) { s.h.ValidatorsHash[r.IntN(32)] ^= 1; s.resign() }},
	{name: "block version, signed", apply: func(r *rand.Rand, s *chainStep) { s.h.Version.Block = 10; s.resign() }},
	{name: "app version, signed", apply: func(r *rand.Rand, s *chainStep) { s.h.Version.App++; s.resign() }},
	{name: "chain id, signed", apply: func(r *rand.Rand, s *chainStep) { s.h.ChainID += "x"; s.resign() }},
	{name: "chain id, signed for the trusted chain", apply: func(r *rand.Rand, s *chainStep) {
		s.h.ChainID += "x"
		s.z.signFor(s.trusted.ChainID, s.h, s.c)
	}},
	{name: "chain id long, signed", apply: func(r *rand.Rand, s *chainStep) {
		s.h.ChainID = fmt.Sprintf("%051d", 1)
		s.trusted.ChainID = s.h.ChainID
		s.resign()
	}},
	{name: "chain id with space, signed", apply: func(r *rand.Rand, s *chainStep) {
		s.h.ChainID, s.trusted.ChainID = "a b", "a b"
		s.resign()
	}, stricter: true},
	{name: "time equal, signed", apply: func(r *rand.Rand, s *chainStep) { s.h.Time = s.trusted.Time; s.resign() }},
	{name: "time earlier, signed", apply: func(r *rand.Rand, s *chainStep) { s.h.Time = s.trusted.Time.Add(-1); s.resign() }},
	{name: "height equal, signed", apply: func(r *rand.Rand, s *chainStep) { s.h.Height = s.trusted.Height; s.resign() }},
	{name: "height lower, signed", apply: func(r *rand.Rand, s *chainStep) { s.h.Height = max(1, s.trusted.Height-1); s.resign() }},
	{name: "height further, signed", apply: func(r *rand.Rand, s *chainStep) { s.h.Height += 1 + r.Int64N(9); s.resign() }},
	{name: "height zero, signed", apply: func(r *rand.Rand, s *chainStep) { s.h.Height = 0; s.resign() }},
	{name: "power changed", apply: func(r *rand.Rand, s *chainStep) {
		s.z.vals = slices.Clone(s.z.vals)
		s.z.vals[0].Power++ // the first may always have more
	}},
	{name: "validators out of order, signed", apply: func(r *rand.Rand, s *chainStep) {
		s.z.vals = slices.Clone(s.z.vals)
		slices.Reverse(s.z.vals[:min(2, len(s.z.vals))])
		s.h.ValidatorsHash = s.z.vals.Hash()
		s.resign()
	}},
	{name: "last vote missing", apply: func(r *rand.Rand, s *chainStep) { s.c.Votes = s.c.Votes[:len(s.c.Votes)-1] }},
	{name: "some vote missing", apply: func(r *rand.Rand, s *chainStep) {
		i := r.IntN(len(s.c.Votes))
		s.c.Votes = slices.Delete(slices.Clone(s.c.Votes), i, i+1)
	}},
}

// compare holds our verdict against CometBFT's after one mutation.
func compare(t *testing.T, m mutation, got, ref error) {
	t.Helper()
	switch {
	case got != nil && errors.Is(got, header.ErrInvalid) == errors.Is(got, header.ErrNotConnected):
		t.Fatalf("%s: error %v does not wrap exactly one of the two", m.name, got)
	case m.stricter && !errors.Is(got, header.ErrInvalid):
		t.Fatalf("%s: got %v, want it refused as invalid", m.name, got)
	case !m.stricter && (got == nil) != (ref == nil):
		t.Fatalf("%s: got %v, CometBFT says %v", m.name, got, ref)
	}
}

func TestVerdictsAreCometBFTs(t *testing.T) {
	rounds := 25
	if testing.Short() {
		rounds = 3
	}
	for _, m := range mutations {
		r := newRand(5)
		for range rounds {
			n := 1 + r.IntN(12)
			s := newStep(r, 1, n, 0)
			s.c.Votes = header.Minimal(s.z.vals, s.c.Votes)
			m.apply(r, s)
			compare(t, m, s.adjacent(), s.cmt(true))
			compare(t, m, header.VerifyCommit(s.trusted.ChainID, s.z.vals, s.h, s.c, zip215), s.cmtCommitLight(s.trusted.ChainID))

			s = newStep(r, 2+r.Int64N(50), n, r.IntN(n+1))
			s.c.Votes = header.Minimal(s.z.vals, s.c.Votes)
			if votes := header.MinimalSkipping(s.next.vals, s.z.vals, s.z.sign(r, s.h, all).Votes); votes != nil {
				s.c.Votes = votes
				s.resign()
			}
			m.apply(r, s)
			if s.h.Height-1 != s.trusted.Height { // which CometBFT leaves to VerifyAdjacent
				compare(t, m, s.skipping(), s.cmt(false))
			}
		}
	}
}

// TestMinimalAgainstCometBFT gives CometBFT all the votes there are and us the minimal
// ones: the same headers must be provable.
func TestMinimalAgainstCometBFT(t *testing.T) {
	r := newRand(6)
	var accepted, unconnected, short int
	for range 400 {
		n := 1 + r.IntN(12)
		s := newStep(r, 2, n, r.IntN(n+1))
		turnout := r.Float64()
		s.c = s.z.sign(r, s.h, func(i int) bool { return i == 0 || r.Float64() < 0.5+turnout })
		votes := s.c.Votes

		ref := s.cmtCommitLight(s.h.ChainID)
		minimal := header.Minimal(s.z.vals, votes)
		if (minimal != nil) != (ref == nil) {
			t.Fatalf("Minimal found %d votes, CometBFT says %v", len(minimal), ref)
		}
		ref = s.cmt(false)
		skipping := header.MinimalSkipping(s.next.vals, s.z.vals, votes)
		if (skipping != nil) != (ref == nil) {
			t.Fatalf("MinimalSkipping found %d votes, CometBFT says %v", len(skipping), ref)
		}
		switch {
		case skipping != nil:
			accepted++
			checkMinimal(t, s, skipping, votes)
		case minimal != nil:
			unconnected++
			s.c.Votes = minimal
			if err := s.skipping(); !errors.Is(err, header.ErrNotConnected) {
				t.Fatalf("got %v, want not connected", err)
			}
		default:
			short++
			if err := s.skipping(); !errors.Is(err, header.ErrInvalid) {
				t.Fatalf("got %v, want invalid", err)
			}
		}
	}
	if accepted < 50 || unconnected < 20 || short < 20 {
		t.Errorf("%d accepted, %d not connected, %d short: the cases are too one-sided", accepted, unconnected, short)
	}
}

// checkMinimal checks that VerifySkipping accepts the minimal votes, but not with the
// last one missing nor with any other of the available ones added.
func checkMinimal(t *testing.T, s *chainStep, minimal, available []header.Vote) {
	t.Helper()
	s.c.Votes = minimal
	if err := s.skipping(); err != nil {
		t.Fatalf("minimal votes: %v", err)
	}
	if again := header.MinimalSkipping(s.next.vals, s.z.vals, minimal); !slices.Equal(again, minimal) {
		t.Fatal("the minimal votes of minimal votes are others")
	}
	trusted := make(map[[32]byte]int64)
	for _, v := range s.next.vals {
		trusted[v.PublicKey] = v.Power
	}
	var own, known int64
	for _, v := range minimal {
		val := s.z.vals[v.Index]
		power, inTrusted := trusted[val.PublicKey]
		if own > s.z.vals.Total()*2/3 && (!inTrusted || known > s.next.vals.Total()/3) {
			t.Fatalf("the vote of validator %d was not needed", v.Index)
		}
		own += val.Power
		known += power
	}
	s.c.Votes = minimal[:len(minimal)-1]
	if s.skipping() == nil {
		t.Fatal("accepted without the last vote")
	}
	for _, v := range available {
		i, found := slices.BinarySearchFunc(minimal, v.Index, func(v header.Vote, i uint) int { return int(v.Index) - int(i) })
		if found {
			continue
		}
		s.c.Votes = slices.Insert(slices.Clone(minimal), i, v)
		if err := s.skipping(); !errors.Is(err, header.ErrInvalid) {
			t.Fatalf("with a superfluous vote: %v", err)
		}
	}
}

func TestThresholds(t *testing.T) {
	r := newRand(7)
	for _, tt := range []struct {
		n, votes int
		ok       bool
	}{{1, 1, true}, {2, 1, false}, {2, 2, true}, {3, 2, false}, {3, 3, true}, {4, 2, false}, {4, 3, true}, {6, 4, false}, {6, 5, true}, {100, 66, false}, {100, 67, true}} {
		z := newZone(r, 0, tt.n)
		for i := range z.vals {
			z.vals[i].Power = header.MaxTotalPower / int64(tt.n)
		}
		z.vals.Sort()
		h := randHeader(r)
		h.ValidatorsHash = z.vals.Hash()
		c := z.sign(r, h, func(i int) bool { return i < tt.votes })
		if err := header.VerifyCommit(h.ChainID, z.vals, h, c, zip215); (err == nil) != tt.ok {
			t.Errorf("%d of %d: %v", tt.votes, tt.n, err)
		}
		if tt.votes == tt.n {
			continue
		}
		c = z.sign(r, h, func(i int) bool { return i <= tt.votes })
		if err := header.VerifyCommit(h.ChainID, z.vals, h, c, zip215); (err == nil) == tt.ok {
			t.Errorf("%d of %d: %v", tt.votes+1, tt.n, err)
		}
	}
}

func TestErrorKinds(t *testing.T) {
	step := func(gap int64, change func(s *chainStep)) *chainStep {
		r := newRand(8)
		s := newStep(r, gap, 4, 0)
		if gap > 1 { // the same validators and powers still
			s.z = s.next
			s.h.ValidatorsHash = s.z.vals.Hash()
		}
		s.trusted.Height += 10
		s.h.Height += 10
		change(s)
		s.c = s.z.sign(r, s.h, all)
		s.c.Votes = header.Minimal(s.z.vals, s.c.Votes)
		return s
	}
	foreign := func(s *chainStep) {
		s.z = newZone(newRand(9), 500, 4)
		s.h.ValidatorsHash = s.z.vals.Hash()
	}
	for _, tt := range []struct {
		name               string
		s                  *chainStep
		adjacent, skipping error
	}{
		{"adjacent", step(1, func(*chainStep) {}), nil, nil},
		{"apart", step(5, func(*chainStep) {}), header.ErrNotConnected, nil},
		{"foreign adjacent", step(1, foreign), header.ErrInvalid, header.ErrInvalid},
		{"foreign apart", step(5, foreign), header.ErrNotConnected, header.ErrNotConnected},
		{"same height", step(1, func(s *chainStep) { s.h.Height-- }), header.ErrNotConnected, header.ErrNotConnected},
		{"below and earlier", step(1, func(s *chainStep) { s.h.Height -= 2; s.h.Time = s.trusted.Time.Add(-1) }), header.ErrNotConnected, header.ErrNotConnected},
		{"below but later", step(1, func(s *chainStep) { s.h.Height -= 2 }), header.ErrInvalid, header.ErrInvalid},
		{"above but earlier", step(5, func(s *chainStep) { s.h.Time = s.trusted.Time.Add(-1) }), header.ErrInvalid, header.ErrInvalid},
		{"foreign with a wrong signature", func() *chainStep { s := step(5, foreign); s.c.Votes[0].Signature[0]++; return s }(), header.ErrInvalid, header.ErrInvalid},
		{"trusted validators not those named", func() *chainStep {
			s := step(5, func(*chainStep) {})
			s.trusted.NextValidatorsHash[0]++
			return s
		}(), header.ErrNotConnected, header.ErrInvalid},
	} {
		// Four fields of a trusted header are enough.
		full := tt.s.trusted
		tt.s.trusted = &header.Header{ChainID: full.ChainID, Height: full.Height, Time: full.Time, NextValidatorsHash: full.NextValidatorsHash}
		if err := tt.s.adjacent(); !errors.Is(err, tt.adjacent) {
			t.Errorf("%s, adjacent: got %v, want %v", tt.name, err, tt.adjacent)
		}
		if err := tt.s.skipping(); !errors.Is(err, tt.skipping) {
			t.Errorf("%s, skipping: got %v, want %v", tt.name, err, tt.skipping)
		}
	}
}

func TestVoteOfUnknownValidator(t *testing.T) {
	s := newStep(newRand(13), 1, 3, 0)
	s.c.Votes[2].Index = 3
	s.c.Votes = s.c.Votes[1:]
	if err := s.adjacent(); !errors.Is(err, header.ErrInvalid) {
		t.Errorf("got %v, want invalid", err)
	}
}

func TestMissingArguments(t *testing.T) {
	s := newStep(newRand(10), 1, 1, 0)
	for _, err := range []error{
		header.VerifyCommit("x", s.z.vals, nil, s.c, zip215),
		header.VerifyCommit("x", s.z.vals, s.h, nil, zip215),
		header.VerifyCommit(s.h.ChainID, nil, s.h, s.c, zip215),
		header.VerifyCommit("x", s.z.vals, s.h, s.c, zip215),
		header.VerifyAdjacent(nil, s.h, s.z.vals, s.c, zip215),
		header.VerifySkipping(nil, s.z.vals, s.h, s.z.vals, s.c, zip215),
		header.VerifySkipping(s.trusted, nil, s.h, s.z.vals, s.c, zip215),
	} {
		if !errors.Is(err, header.ErrInvalid) {
			t.Errorf("got %v, want invalid", err)
		}
	}
}

func TestExpiredAndAhead(t *testing.T) {
	const period = 14 * 24 * time.Hour
	h := randHeader(newRand(11))
	h.Time = time.Date(2026, 11, 1, 0, 0, 0, 5, time.UTC)
	signed := &types.SignedHeader{Header: cmtHeader(h)}
	for _, d := range []time.Duration{-1, 0, 1} {
		now := h.Time.Add(period + d)
		if got, want := h.Expired(period, now), d >= 0; got != want || got != light.HeaderExpired(signed, period, now) {
			t.Errorf("expired %v after the end of the period: %v", d, got)
		}
		now = h.Time.Add(d - time.Second)
		if got, want := h.Ahead(time.Second, now), d <= 0; got != want {
			t.Errorf("ahead by the drift less %v: %v", d, got)
		}
	}
}

func BenchmarkVerifyCommit(b *testing.B) {
	for _, n := range []int{1, 4, 21, 100} {
		b.Run(fmt.Sprintf("validators=%d", n), func(b *testing.B) {
			r := newRand(12)
			z, h := newZone(r, 0, n), randHeader(r)
			for i := range z.vals {
				z.vals[i].Power = 10
			}
			z.vals.Sort()
			h.ValidatorsHash = z.vals.Hash()
			c := z.sign(r, h, all)
			c.Votes = header.Minimal(z.vals, c.Votes)
			for b.Loop() {
				if err := header.VerifyCommit(h.ChainID, z.vals, h, c, zip215); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(len(c.Votes)), "votes")
		})
	}
}
