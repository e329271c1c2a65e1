// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"testing"

	"cityid"
	"cityid/header"
)

func report(op *cityid.ReportFork) cityid.Operation { return cityid.Operation{ReportFork: op} }

// alone reports a header at the checkpoint's own height.
func alone(f *foreign, height uint64) *cityid.ReportFork {
	b := f.at(height)
	vals, c := b.set.validators(), b.set.sign(b.header)
	c.Votes = header.Minimal(vals, c.Votes)
	return &cityid.ReportFork{Zone: cityid.MustParse(shijiazhuang), One: cityid.Descent{Head: cityid.LightBlock{
		Header: f.must(header.EncodeStripped(b.header, true)), Validators: f.must(vals.MarshalBinary()), Commit: f.must(c.MarshalBinary()),
	}}}
}

// forked is a zone whose chain has two branches from height 5 on, the last
// checkpoint being at height 3 or so.
func forked(t *testing.T, at uint64) (*zones, *foreign) {
	z := newZones(t)
	z.delegate()
	z.city.empty(4)
	other := z.city.clone()
	z.city.block(10, nil, note("one"))
	z.city.empty(4) // 9
	other.block(11, nil, note("another"))
	other.empty(4)
	z.catchUp()
	z.mustPost(at, founders)
	return z, other
}

// TestForks reports forks, freezes, and goes on.
func TestForks(t *testing.T) {
	z, other := forked(t, 3)
	last := z.zone().Checkpoint
	z.do("nobody", report(fork(shijiazhuang, z.city, other, last, founders, 7)))
	got := z.zone().Fork
	if got == nil || got.Height != 7 || got.Headers[0].String() >= got.Headers[1].String() || z.zone().Checkpoint != last {
		t.Fatalf("%+v", got)
	}
	z.refused(cityid.ErrExists, "is frozen already, for two headers 7", "nobody", report(fork(shijiazhuang, other, z.city, last, founders, 8)))
	z.catchUp()
	z.refused(cityid.ErrStatus, "is frozen", "nobody", z.op(9))
	z.refused(cityid.ErrStatus, "unfreeze it", "governor mayor", delegate(z.delegation(shijiazhuang, cityChain, &last)))
	move := z.delegation(shijiazhuang, cityChain, nil)
	move.Delegation.Endpoints = nil
	z.do("mayor", delegate(move)) // nodes may move meanwhile
	if z.zone().Fork == nil {
		t.Error("another address has melted the zone")
	}

	unfreeze := func(height uint64, c cityid.Checkpoint) cityid.Operation {
		return cityid.Operation{Unfreeze: &cityid.Unfreeze{Zone: cityid.MustParse(shijiazhuang), Fork: height, Checkpoint: c}}
	}
	branch := other.checkpoint(8)
	z.refused(cityid.ErrNotPermitted, "the policy of MA.156.1301", "governor", unfreeze(7, branch))
	z.refused(cityid.ErrNotPermitted, "the policy of MA.156.13 ", "mayor", unfreeze(7, branch))
	z.refused(cityid.ErrConflict, "two headers 7, not 8", "governor mayor", unfreeze(8, branch))
	z.refused(cityid.ErrInvalid, "a time and the next", "governor mayor", unfreeze(7, cityid.Checkpoint{}))
	late := branch
	late.Time = z.block.Time + cityid.ClockTolerance + 1
	z.refused(cityid.ErrInvalid, "ahead of this zone's time", "governor mayor", unfreeze(7, late))
	z.do("governor mayor", unfreeze(7, branch))
	if x := z.zone(); x.Fork != nil || x.Anchors != 2 || x.Checkpoint != branch || x.Anchored != z.block.Time {
		t.Errorf("%+v", x)
	}
	z.refused(cityid.ErrStatus, "is not frozen", "governor mayor", unfreeze(7, branch))
	z.begin(60)
	z.refused(cityid.ErrInvalid, "may be of another state", "nobody", z.op(9)) // of the branch that was left
	z.city = other
	z.mustPost(9, founders)

	// The proposal of somebody with a voice takes both as well.
	y, second := forked(t, 3)
	y.do("nobody", report(fork(shijiazhuang, second, y.city, y.zone().Checkpoint, founders, 5)))
	y.do("governor", cityid.Operation{Propose: &cityid.Propose{Operations: []cityid.Operation{unfreeze(5, y.city.checkpoint(2))}}})
	y.do("mayor", y.line("approve 1")...)
	if x := y.zone(); x.Fork != nil || x.Checkpoint.Height != 2 {
		t.Errorf("%+v", x)
	}
}

// TestForkAtCheckpoint: one header contradicts the checkpoint itself.
func TestForkAtCheckpoint(t *testing.T) {
	z, other := forked(t, 7)
	stranger := newForeign(t, cityChain, genesisTime, validatorsNamed("w x y z"))
	stranger.empty(8)
	z.refused(cityid.ErrInvalid, "both are the same header 7", "nobody", report(alone(z.city, 7)))
	z.refused(cityid.ErrInvalid, "the last checkpoint is at height 7", "nobody", report(alone(other, 6)))
	z.refused(cityid.ErrInvalid, "the last checkpoint is at height 7", "nobody", report(alone(other, 8)))
	z.refused(cityid.ErrInvalid, "at the last checkpoint they were", "nobody", report(alone(stranger, 7)))
	op := alone(other, 7)
	op.One.Validators = op.One.Head.Validators
	z.refused(cityid.ErrInvalid, "needs no other to lead there", "nobody", report(op))
	op = alone(other, 7)
	op.One.Head.Validators = nil
	z.refused(cityid.ErrInvalid, "none are known", "nobody", report(op))
	op = alone(other, 7)
	op.One.Head.Commit[len(op.One.Head.Commit)-1] ^= 1
	z.refused(cityid.ErrInvalid, "wrong signature", "nobody", report(op))
	op = alone(other, 7)
	op.One.Head.Commit = nil
	z.refused(cityid.ErrInvalid, "votes for header 7", "nobody", report(op))
	z.do("nobody", report(alone(other, 7)))
	if f := z.zone().Fork; f == nil || f.Height != 7 {
		t.Errorf("%+v", f)
	}

	n := newZones(t)
	n.refused(cityid.ErrNotFound, "has no zone of its own", "nobody", report(alone(other, 7)))
	n.delegate()
	n.refused(cityid.ErrInvalid, "the last checkpoint is at height 0", "nobody", report(alone(other, 7)))
}

// TestForkRefusals: what is no fork.
func TestForkRefusals(t *testing.T) {
	z, other := forked(t, 4)
	last := z.zone().Checkpoint
	z.refused(cityid.ErrInvalid, "both are the same header 7", "nobody", report(fork(shijiazhuang, z.city, z.city, last, founders, 7)))
	mixed := fork(shijiazhuang, z.city, other, last, founders, 7)
	d := other.descent(last, founders, 8, true)
	mixed.Other = &d
	z.refused(cityid.ErrInvalid, "two headers of one height", "nobody", report(mixed))
	z.refused(cityid.ErrInvalid, "above the last checkpoint at height 4", "nobody", report(fork(shijiazhuang, z.city, other, z.city.genesis, founders, 4)))
	for i := range 2 { // an app hash left out, a vote that is wrong
		op := fork(shijiazhuang, z.city, other, last, founders, 7)
		if i == 0 {
			op.Other.Head.Header = other.must(header.EncodeStripped(other.at(7).header, false))
			z.refused(cityid.ErrInvalid, "the app hash stands in the headers of a fork", "nobody", report(op))
		} else {
			op.Other.Head.Commit[len(op.Other.Head.Commit)-1] ^= 1
			z.refused(cityid.ErrInvalid, "wrong signature", "nobody", report(op))
		}
	}
	// Validators whom nobody trusted here.
	stranger := newForeign(t, cityChain, genesisTime, validatorsNamed("w x y z"))
	stranger.empty(9)
	op := fork(shijiazhuang, z.city, z.city, last, founders, 7)
	vals, c := stranger.at(7).set.validators(), stranger.at(7).set.sign(stranger.at(7).header)
	c.Votes = header.Minimal(vals, c.Votes)
	op.Other.Validators = z.city.must(founders.validators().MarshalBinary())
	op.Other.Head = cityid.LightBlock{Header: z.city.must(header.EncodeStripped(stranger.at(7).header, true)), Validators: z.city.must(vals.MarshalBinary()), Commit: z.city.must(c.MarshalBinary())}
	z.refused(cityid.ErrInvalid, "one third or less", "nobody", report(op))
	// Of another chain, and more than a transaction may bring.
	elsewhere := newForeign(t, "cn-other", genesisTime, founders)
	elsewhere.empty(9)
	z.refused(cityid.ErrInvalid, "wrong signature", "nobody", report(fork(shijiazhuang, z.city, elsewhere, last, founders, 7)))
	if z.zone().Fork != nil {
		t.Error("frozen")
	}
}
