// SPDX-License-Identifier: Apache-2.0

package verify_test

import (
	"fmt"
	"testing"
	"time"

	"cityid"
	"cityid/merkle"
	"cityid/verify"
)

// zones are a root, two cities, a district of the first, and what their parents
// know of them.
type zones struct {
	root, city, sibling, district *chain
}

const districtApex = "MA.156.1301.90"

// newZones makes the chains of most tests of zones. Each has 40 blocks, one
// every ten seconds. At block 20 the zone above gets the checkpoint of block 12.
func newZones() *zones {
	z := &zones{
		root:     newChain("root-1aaa", cityid.MustParse("MA.156"), names("a b c d")),
		city:     newChain("sjz-2bbb", cityid.MustParse(city), names("e f g h")),
		sibling:  newChain("tj-3ccc", cityid.MustParse("MA.156.1302"), names("i j k l")),
		district: newChain("district-4ddd", cityid.MustParse(districtApex), names("m")),
	}
	z.root.put("MA.156", cityid.KindAuthority, "国家")
	for i := 3; i < 40; i++ {
		z.root.put(fmt.Sprintf("MA.156.13%02d", i), cityid.KindCity, fmt.Sprintf("城市%d", i))
	}
	for _, c := range []*chain{z.city, z.sibling, z.district} {
		c.put(c.zone.String(), cityid.KindCity, "城区")
		for i := 1; i < 9; i++ {
			c.put(fmt.Sprintf("%s.%02d", c.zone, i), cityid.KindDepartment, fmt.Sprintf("部门%d", i))
			c.put(fmt.Sprintf("%s.%02d/20.010203", c.zone, i), cityid.KindClass, "路灯")
		}
	}
	for _, c := range []*chain{z.root, z.city, z.sibling, z.district} {
		c.quiet(9)
		c.change(func() { c.write([]byte("k1\x00"), []byte{1}) })
		c.quiet(9)
	}
	z.root.change(func() {
		z.root.delegate(city, z.city, z.city.checkpoint(12), nil)
		z.root.delegate("MA.156.1302", z.sibling, z.sibling.checkpoint(12), nil)
	})
	z.city.change(func() { z.city.delegate(districtApex, z.district, z.district.checkpoint(12), nil) })
	for _, c := range []*chain{z.sibling, z.district} {
		c.change(func() { c.write([]byte("k2\x00"), []byte{2}) })
	}
	for _, c := range []*chain{z.root, z.city, z.sibling, z.district} {
		c.quiet(19)
		c.change(func() { c.write([]byte("k3\x00"), []byte{3}) })
	}
	return z
}

// checkpoint is the header of a height as a zone above accepts it.
func (c *chain) checkpoint(height int) cityid.Checkpoint {
	if height == 0 {
		return cityid.Checkpoint{Time: cityid.TimeOf(c.genesis), Next: cityid.Digest(c.founded.validators().Hash())}
	}
	h := c.at(height).header
	return cityid.Checkpoint{
		Height: uint64(height), Time: cityid.TimeOf(h.Time), Header: cityid.Digest(h.Hash()),
		Validators: cityid.Digest(h.ValidatorsHash), Next: cityid.Digest(h.NextValidatorsHash), Log: c.before(height).log,
	}
}

// delegate writes the record of an apex and what is known of its zone.
func (c *chain) delegate(apex string, child *chain, p cityid.Checkpoint, change func(*cityid.Record, *cityid.Zone)) {
	code := cityid.MustParse(apex)
	c.put(apex, cityid.KindCity, "城区")
	var r cityid.Record
	if err := cityid.Unmarshal(c.state.values[string(cityid.RecordKey(code))], &r); err != nil {
		panic(err)
	}
	r.Delegation = &cityid.Delegation{Chain: child.id, Genesis: cityid.Digest{1}, Endpoints: []string{"https://id.example"}}
	z := cityid.Zone{Chain: child.id, Checkpoint: p, Accepted: r.Changed, Anchored: r.Changed.Time, Anchors: 1}
	if change != nil {
		change(&r, &z)
	}
	c.write(cityid.RecordKey(code), cityid.MustMarshal(&r))
	c.write(cityid.ZoneKey(code), cityid.MustMarshal(&z))
}

// from returns the way from a checkpoint to a later head of a chain.
func (c *chain) from(t testing.TB, height, head int) *verify.Way {
	t.Helper()
	p := &verify.Point{Zone: c.zone, Chain: c.id, Height: uint64(height), Time: c.genesis, Next: c.founded.validators()}
	if height > 0 {
		p.Time, p.Header = c.at(height).header.Time, cityid.Digest(c.at(height).header.Hash())
		if p.Next = c.set.validators(); height < len(c.blocks) {
			p.Next = c.at(height + 1).set.validators()
		}
	}
	w := &verify.Way{Head: c.at(head).signed(), Point: p, Prove: c.before(head).prove}
	if head > height {
		p.Descent = c.descent(t, height, head)
	}
	var err error
	if w.Transitions, err = w.Bisect(func(h int64) (verify.SignedHeader, error) { return c.at(int(h)).signed(), nil }); err != nil {
		t.Fatal(err)
	}
	return w
}

// descent shows how the block log before head goes on from a checkpoint.
func (c *chain) descent(t testing.TB, height, head int) *cityid.LogDescent {
	t.Helper()
	s := c.before(head)
	proof, err := s.tree.Prove(cityid.BlockLogKey)
	if err != nil {
		t.Fatal(err)
	}
	d := &cityid.LogDescent{First: s.log.First, Size: s.log.Size, Proof: must(proof.MarshalBinary())}
	switch {
	case height == 0 && s.log.Size > 0:
		d.Root = s.log.Root
	case uint64(height) >= s.log.First && uint64(height)-s.log.First < s.log.Size:
		path, err := merkle.ProveInclusion(uint64(height)-s.log.First, s.log.Size, func(level uint8, index uint64) (merkle.Hash, error) {
			return c.nodes[[2]uint64{uint64(level), index}], nil
		})
		if err != nil {
			t.Fatal(err)
		}
		d.Path = must(path.MarshalBinary())
	}
	return d
}

// referral refers from a head of a chain to the zone of an apex.
func referral(t testing.TB, w *verify.Way, s state, code, apex string) *verify.Bundle {
	t.Helper()
	w.Prove = s.prove
	b, err := verify.NewReferral(w, cityid.MustParse(code), cityid.MustParse(apex))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// join joins bundles of the root and zones below it.
func (z *zones) join(t testing.TB, list ...*verify.Bundle) *verify.Bundle {
	t.Helper()
	out := list[0]
	for _, b := range list[1:] {
		var err error
		if out, err = verify.Join(&z.root.trusts[0], out, b); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

// refer is the root's referral for a code to the city, as of block 30.
func (z *zones) refer(t testing.TB, code string) *verify.Bundle {
	return referral(t, z.root.way(t, 1, 1, 30), z.root.before(30), code, city)
}

// judge checks a bundle a while after block 30.
func (z *zones) judge(t testing.TB, b *verify.Bundle, change ...func(*verify.Options)) verify.Result {
	t.Helper()
	o := verify.Options{Now: z.root.at(min(40, len(z.root.blocks))).header.Time.Add(30 * time.Second)}
	for _, f := range change {
		f(&o)
	}
	return verify.CheckEncoded(&z.root.trusts[0], encode(t, b), o)
}

func wantVerdict(t testing.TB, r verify.Result, v verify.Verdict, reason verify.Reason) {
	t.Helper()
	if r.Verdict != v || r.Reason != reason {
		t.Errorf("%s %q, want %s %q: %s\n%+v", r.Verdict, r.Reason, v, reason, r.Message, r.Checks)
	}
}

const lamps = "MA.156.1301.01/20.010203"

func TestTwoZones(t *testing.T) {
	z := newZones()
	s := z.city.before(40)
	for _, height := range []int{0, 12, 40} {
		z := newZones()
		z.root.change(func() { z.root.delegate(city, z.city, z.city.checkpoint(height), nil) })
		z.root.quiet(1)
		way := func() *verify.Way { return z.city.from(t, height, 40) }
		refer := func(code string) *verify.Bundle {
			return referral(t, z.root.way(t, 1, 1, 42), z.root.before(42), code, city)
		}
		for name, b := range map[string]*verify.Bundle{
			"record":      z.join(t, refer(lamps), record(t, way(), s, lamps)),
			"apex":        z.join(t, refer(city), record(t, way(), s, city)),
			"absence":     z.join(t, refer(city+".33"), record(t, way(), s, city+".33")),
			"children":    z.join(t, refer(city), listing(t, way(), s, city, cityid.AnswerChildren)),
			"descendants": z.join(t, refer(city+".01"), listing(t, way(), s, city+".01", cityid.AnswerDescendants)),
			"history":     z.join(t, refer(lamps), history(t, way(), s, lamps)),
			"entries":     z.join(t, refer(lamps), entries(t, way(), s, [][]byte{cityid.AttestationKey(cityid.MustParse(lamps), cityid.Digest{7}), cityid.RecordKey(cityid.MustParse(lamps))})),
		} {
			r := z.judge(t, b)
			wantVerdict(t, r, verify.Valid, "")
			if len(r.Zones) != 2 || r.Zones[0].Zone.String() != "MA.156" || r.Zones[1].Zone.String() != city ||
				r.Zones[1].Record.Delegation.Chain != z.city.id || r.AsOf.Chain != z.city.id || r.AsOf.Height != 39 {
				t.Errorf("%s from height %d: the result names %+v as of %+v", name, height, r.Zones, r.AsOf)
			}
			if size := len(encode(t, b)); size > 5<<10 && name != "descendants" && name != "children" {
				t.Errorf("%s: %d octets", name, size)
			}
		}
	}
}

func TestGrandchild(t *testing.T) {
	z := newZones()
	code := districtApex + ".01"
	b := z.join(t, z.refer(t, code),
		referral(t, z.city.from(t, 12, 30), z.city.before(30), code, districtApex),
		record(t, z.district.from(t, 12, 40), z.district.before(40), code))
	r := z.judge(t, b)
	wantVerdict(t, r, verify.Valid, "")
	if len(r.Zones) != 3 || !r.Allocated || r.Record.Code.String() != code || r.AsOf.Chain != z.district.id {
		t.Errorf("the result is %+v", r)
	}
	further := z.join(t, z.refer(t, code), referral(t, z.city.from(t, 12, 30), z.city.before(30), code, districtApex))
	r = z.judge(t, further)
	wantVerdict(t, r, verify.Valid, "")
	if n := len(r.Zones); n != 3 || r.Zones[n-1].Zone.String() != districtApex || r.Zones[n-1].Known.Checkpoint.Height != 12 {
		t.Errorf("the referral leads to %+v", r.Zones)
	}
	swapped := z.join(t, z.refer(t, code), referral(t, z.city.from(t, 12, 30), z.city.before(30), code, districtApex), record(t, z.district.from(t, 12, 40), z.district.before(40), code))
	swapped.Steps[0].Values, swapped.Steps[1].Values = swapped.Steps[1].Values, swapped.Steps[0].Values
	wantVerdict(t, z.judge(t, swapped), verify.Invalid, verify.ReasonProof)
	swapped = z.join(t, z.refer(t, code), referral(t, z.city.from(t, 12, 30), z.city.before(30), code, districtApex), record(t, z.district.from(t, 12, 40), z.district.before(40), code))
	swapped.Steps[1].Head, swapped.Steps[2].Head = swapped.Steps[2].Head, swapped.Steps[1].Head
	wantVerdict(t, z.judge(t, swapped), verify.Invalid, verify.ReasonSignature)
	missing := z.join(t, z.refer(t, code), record(t, z.district.from(t, 12, 40), z.district.before(40), code))
	wantVerdict(t, z.judge(t, missing), verify.Invalid, verify.ReasonSignature)
}

// Validators that change after the checkpoint are followed by transitions, and
// by the set that the checkpoint names.
func TestZoneValidatorsChange(t *testing.T) {
	z := newZones()
	z.city.validators(names("e f g n"))
	z.city.quiet(5)
	z.city.validators(names("n o p q"))
	z.city.quiet(3)
	z.city.change(func() { z.city.write([]byte("k4\x00"), []byte{4}) })
	z.city.quiet(1)
	head := len(z.city.blocks)
	b := z.join(t, z.refer(t, lamps), record(t, z.city.from(t, 12, head), z.city.before(head), lamps))
	later := func(o *verify.Options) { o.Now = z.city.at(head).header.Time.Add(time.Second) }
	wantVerdict(t, z.judge(t, b, later), verify.Valid, "")
	if len(b.Steps[1].Transitions) == 0 {
		t.Fatal("no transition was needed")
	}
	b.Steps[1].Transitions = nil
	wantVerdict(t, z.judge(t, b, later), verify.Undecided, verify.ReasonNotConnected)

	near := z.join(t, z.refer(t, lamps), record(t, z.city.from(t, 12, 44), z.city.before(44), lamps))
	wantVerdict(t, z.judge(t, near, later), verify.Valid, "")
	if len(near.Steps[1].Validators) == 0 {
		t.Fatal("the checkpoint's validators were not needed")
	}
	near.Steps[1].Validators = nil
	wantVerdict(t, z.judge(t, near, later), verify.Undecided, verify.ReasonNotConnected)
	other := z.join(t, z.refer(t, lamps), record(t, z.city.from(t, 12, 30), z.city.before(30), lamps))
	other.Steps[1].Validators = must(names("e f g h").validators().MarshalBinary())
	wantVerdict(t, z.judge(t, other), verify.Invalid, verify.ReasonMalformed)
}

// restored is the city, restored from a copy made after block 9.
func restored() *chain {
	old := newZones().city
	old.blocks, old.set = old.blocks[:9], names("e f g h")
	old.state, old.now = old.at(9).state, old.at(9).header.Time.Add(7*time.Second)
	old.log, old.nodes, old.pending = merkle.Log{}, map[[2]uint64]merkle.Hash{}, nil
	for _, b := range old.blocks {
		old.pending = append(old.pending, b.header.Hash())
	}
	old.change(func() { old.put(lamps, cityid.KindClass, "别的灯") })
	old.quiet(5)
	old.change(func() { old.put(lamps, cityid.KindClass, "另外的灯") })
	old.quiet(20)
	return old
}

// A zone that was restored from an old copy signs with the same keys, and does
// not go on from its checkpoint.
func TestRestoredZone(t *testing.T) {
	z := newZones()
	old := restored()
	head := len(old.blocks)
	w := old.from(t, 12, head)
	w.Point.Header = cityid.Digest(z.city.at(12).header.Hash())
	b := z.join(t, z.refer(t, lamps), record(t, w, old.before(head), lamps))
	wantVerdict(t, z.judge(t, b), verify.Invalid, verify.ReasonDescent)

	// Before its block log reaches the checkpoint's height, that is not the
	// checkpoint's either.
	w = old.from(t, 12, 14)
	w.Point.Header = cityid.Digest(z.city.at(12).header.Hash())
	b = z.join(t, z.refer(t, lamps), record(t, w, old.before(14), lamps))
	wantVerdict(t, z.judge(t, b), verify.Invalid, verify.ReasonDescent)
	// Nor does the checkpoint's own height help.
	w = old.from(t, 12, 12)
	b = z.join(t, z.refer(t, lamps), record(t, w, old.before(12), lamps))
	wantVerdict(t, z.judge(t, b), verify.Invalid, verify.ReasonFork)
	// An answer from before the checkpoint, which the city did sign, is undecided.
	b = z.join(t, z.refer(t, lamps), record(t, z.city.from(t, 12, 12), z.city.before(12), lamps))
	older := record(t, z.city.from(t, 9, 9), z.city.before(9), lamps)
	b.Steps[1] = older.Steps[0]
	wantVerdict(t, z.judge(t, b), verify.Undecided, verify.ReasonNotConnected)
}

// What the zone above says decides whether an answer from below counts.
func TestDelegations(t *testing.T) {
	for _, x := range []struct {
		name    string
		change  func(*cityid.Record, *cityid.Zone)
		verdict verify.Verdict
		reason  verify.Reason
	}{
		{"as it is", func(*cityid.Record, *cityid.Zone) {}, verify.Valid, ""},
		{"suspended", func(r *cityid.Record, _ *cityid.Zone) { r.Status = cityid.StatusSuspended }, verify.Valid, ""},
		{"retired", func(r *cityid.Record, _ *cityid.Zone) { r.Status = cityid.StatusRetired }, verify.Valid, ""},
		{"frozen", func(_ *cityid.Record, z *cityid.Zone) { z.Fork = &cityid.Fork{Height: 13} }, verify.Undecided, verify.ReasonFrozen},
		{"not delegated", func(r *cityid.Record, _ *cityid.Zone) { r.Delegation = nil }, verify.Invalid, verify.ReasonRecord},
		{"another chain", func(r *cityid.Record, _ *cityid.Zone) { r.Delegation.Chain = "sjz-9" }, verify.Invalid, verify.ReasonRecord},
		{"chain of a sibling", func(r *cityid.Record, z *cityid.Zone) { r.Delegation.Chain, z.Chain = "tj-3ccc", "tj-3ccc" }, verify.Invalid, verify.ReasonSignature},
		{"places of its own", func(r *cityid.Record, _ *cityid.Zone) { r.Delegation.Places = true }, verify.Invalid, verify.ReasonRecord},
		{"a checkpoint from the future", func(_ *cityid.Record, z *cityid.Zone) { z.Checkpoint.Time += 3600 }, verify.Invalid, verify.ReasonRecord},
		{"a checkpoint that is none", func(_ *cityid.Record, z *cityid.Zone) { z.Checkpoint.Header = cityid.Digest{} }, verify.Invalid, verify.ReasonRecord},
		{"other validators", func(_ *cityid.Record, z *cityid.Zone) { z.Checkpoint.Next[0] ^= 1 }, verify.Undecided, verify.ReasonNotConnected},
		{"another header", func(_ *cityid.Record, z *cityid.Zone) { z.Checkpoint.Header[0] ^= 1 }, verify.Invalid, verify.ReasonDescent},
	} {
		t.Run(x.name, func(t *testing.T) {
			z := newZones()
			z.root.change(func() { z.root.delegate(city, z.city, z.city.checkpoint(12), x.change) })
			z.root.quiet(1)
			refer := referral(t, z.root.way(t, 1, 1, 42), z.root.before(42), lamps, city)
			b := z.join(t, refer, record(t, z.city.from(t, 12, 40), z.city.before(40), lamps))
			r := z.judge(t, b)
			wantVerdict(t, r, x.verdict, x.reason)
			if r.Verdict == verify.Valid && r.Zones[1].Record.Status == cityid.StatusActive != (x.name == "as it is") {
				t.Errorf("the zone is %s: %s", r.Zones[1].Record.Status, r.Message)
			}
		})
	}
}

// Only the zone whose code it is can tell that one is absent or what lies below.
func TestAuthority(t *testing.T) {
	z := newZones()
	way, s := func() *verify.Way { return z.root.way(t, 1, 1, 30) }, z.root.before(30)
	unauthorized := func(what string, b *verify.Bundle, err error) {
		t.Helper()
		if err == nil {
			t.Errorf("%s: the root made a bundle about what is the city's", what)
		}
	}
	for _, code := range []string{city + ".01", lamps, city + ".99/20.010203/5"} {
		w := way()
		w.Prove = s.prove
		k := cityid.MustParse(code)
		b, err := verify.NewRecord(w, k, must(s.tree.Prove(cityid.RecordKey(k))), nil)
		unauthorized("absence of "+code, b, err)
	}
	for _, kind := range []cityid.AnswerKind{cityid.AnswerChildren, cityid.AnswerDescendants} {
		w := way()
		w.Prove = s.prove
		proof, _, err := s.tree.ProveRange(verify.Range(cityid.MustParse(city), kind))
		if err != nil {
			t.Fatal(err)
		}
		b, err := verify.NewListing(w, cityid.MustParse(city), kind, proof, nil)
		unauthorized("listing", b, err)
	}

	// A prover that leaves the proof out, or proves about another zone, is found
	// out; so is one that shows the zone and claims that it does not reach so far.
	absent := func(code string) *verify.Bundle {
		k := cityid.MustParse(code)
		w := way()
		w.Prove = func(key []byte) (merkle.Proof, []byte, error) { // of a state without zones
			p, err := s.tree.Prove(key)
			return p, nil, err
		}
		b, err := verify.NewRecord(w, k, must(s.tree.Prove(cityid.RecordKey(k))), nil)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	wantVerdict(t, z.judge(t, absent(city+".01")), verify.Invalid, verify.ReasonProof)
	none := absent(city + ".01")
	none.Steps[0].Authority = nil
	wantVerdict(t, z.judge(t, none), verify.Invalid, verify.ReasonMalformed)
	shown := absent(city + ".01")
	for i, k := range []string{city + ".01", city} {
		key := cityid.ZoneKey(cityid.MustParse(k))
		shown.Steps[0].Authority[i] = verify.Authority{Proof: must(must(s.tree.Prove(key)).MarshalBinary()), Value: s.values[string(key)]}
	}
	wantVerdict(t, z.judge(t, shown), verify.Undecided, verify.ReasonZone)
	double := absent("MA.156.1399")
	double.Steps[0].Authority = append(double.Steps[0].Authority, double.Steps[0].Authority[0])
	wantVerdict(t, z.judge(t, double), verify.Invalid, verify.ReasonMalformed)

	// The root does tell of what is its own, beside the zones it delegated.
	for _, code := range []string{"MA.156.1399", "MA.156.1303.01", "MA.156.130"} {
		wantVerdict(t, z.judge(t, record(t, way(), s, code)), verify.Valid, "")
	}
	wantVerdict(t, z.judge(t, record(t, way(), s, city)), verify.Valid, "")
	wantVerdict(t, z.judge(t, listing(t, way(), s, "MA.156", cityid.AnswerChildren)), verify.Valid, "")

	// A zone says nothing about what is not below its apex, whatever it holds.
	b := z.join(t, z.refer(t, lamps), record(t, z.city.from(t, 12, 40), z.city.before(40), lamps))
	b.Code = cityid.MustParse("MA.156.1302.01")
	b.Trust = verify.TagOf(&z.root.trusts[0], b.Kind, b.Code)
	wantVerdict(t, z.judge(t, b), verify.Invalid, verify.ReasonRecord)
	stray := "MA.156.1303.05"
	b = z.join(t, z.refer(t, stray), record(t, z.city.from(t, 12, 40), z.city.before(40), stray))
	wantVerdict(t, z.judge(t, b), verify.Undecided, verify.ReasonZone)
}

// A zone with places has those that continue its apex; without, it has not.
func TestPlaces(t *testing.T) {
	for _, places := range []bool{true, false} {
		province := newChain("hebei-5eee", cityid.MustParse("MA.156.13"), names("e f g h"))
		province.put("MA.156.13", cityid.KindProvince, "河北")
		province.put("MA.156.1301", cityid.KindCity, "石家庄")
		province.quiet(20)
		root := newChain("root-1aaa", cityid.MustParse("MA.156"), names("a b c d"))
		root.put("MA.156", cityid.KindAuthority, "国家")
		root.quiet(12)
		root.change(func() {
			root.delegate("MA.156.13", province, province.checkpoint(5), func(r *cityid.Record, z *cityid.Zone) {
				r.Delegation.Places, z.Places = places, places
			})
		})
		root.quiet(10)
		z := &zones{root: root}
		now := func(o *verify.Options) { o.Now = root.at(20).header.Time.Add(time.Second) }
		refer := referral(t, root.way(t, 1, 1, 20), root.before(20), city, "MA.156.13")
		b := z.join(t, refer, record(t, province.from(t, 5, 18), province.before(18), city))
		verdict, reason := verify.Valid, verify.Reason("")
		if !places {
			verdict, reason = verify.Undecided, verify.ReasonZone
		}
		wantVerdict(t, z.judge(t, b, now), verdict, reason)

		w := root.way(t, 1, 1, 20)
		s := root.before(20)
		w.Prove = s.prove
		k := cityid.MustParse(city + ".01")
		own, err := verify.NewRecord(w, k, must(s.tree.Prove(cityid.RecordKey(k))), nil)
		if places != (err != nil) {
			t.Fatalf("places %v: the root says of a code in a city of the province: %v", places, err)
		}
		if err == nil {
			wantVerdict(t, z.judge(t, own, now), verify.Valid, "")
		}
	}
}

// Every zone has its own limits of time.
func TestZoneTimes(t *testing.T) {
	z := newZones()
	b := z.join(t, z.refer(t, lamps), record(t, z.city.from(t, 12, 40), z.city.before(40), lamps))
	head := z.city.at(40).header.Time
	for _, x := range []struct {
		name    string
		change  func(*verify.Options)
		verdict verify.Verdict
		reason  verify.Reason
	}{
		{"an hour", func(o *verify.Options) { o.Now = head.Add(59 * time.Minute) }, verify.Valid, ""},
		{"more than an hour", func(o *verify.Options) { o.Now = head.Add(61 * time.Minute) }, verify.Undecided, verify.ReasonStale},
		{"a day", func(o *verify.Options) { o.Now, o.MaxAge = head.Add(23*time.Hour), 100*time.Hour }, verify.Valid, ""},
		{"more than a day", func(o *verify.Options) { o.Now, o.MaxAge = head.Add(25*time.Hour), 100*time.Hour }, verify.Undecided, verify.ReasonStale},
		{"beyond the period of the checkpoint", func(o *verify.Options) {
			o.Now, o.MaxAge, o.MaxAgeParents, o.TrustingPeriod = head.Add(time.Hour), 100*time.Hour, 100*time.Hour, 45*time.Minute
		}, verify.Undecided, verify.ReasonTrustExpired},
		{"a zone's clock ahead", func(o *verify.Options) { o.Now = z.root.at(30).header.Time }, verify.Undecided, verify.ReasonClock},
		{"before the delegation", func(o *verify.Options) { o.At = z.root.at(15).header.Time }, verify.Undecided, verify.ReasonChangedSince},
		{"between delegation and answer", func(o *verify.Options) { o.At = z.root.at(25).header.Time }, verify.Valid, ""},
	} {
		t.Run(x.name, func(t *testing.T) { wantVerdict(t, z.judge(t, b, x.change), x.verdict, x.reason) })
	}
}

// No bundle has more zones, or proofs about them, than it may.
func TestZoneBounds(t *testing.T) {
	z := newZones()
	b := z.join(t, z.refer(t, city+".33"), record(t, z.city.from(t, 12, 40), z.city.before(40), city+".33"))
	first, last := b.Steps[0], b.Steps[1]
	for b.Steps = nil; len(b.Steps) < verify.MaxSteps-1; {
		b.Steps = append(b.Steps, first)
	}
	b.Steps = append(b.Steps, last)
	for n := &b.Steps[verify.MaxSteps-1].Authority; len(*n) < verify.MaxAuthority; {
		*n = append(*n, (*n)[0])
	}
	if _, err := verify.Decode(encode(t, b)); err != nil {
		t.Error(err)
	}
	more := *b
	more.Steps = append([]verify.Step{first}, b.Steps...)
	if _, err := verify.Decode(cityid.MustMarshal(&more)); err == nil {
		t.Errorf("%d steps were read", len(more.Steps))
	}
	many := &b.Steps[verify.MaxSteps-1].Authority
	*many = append(*many, (*many)[0])
	if _, err := verify.Decode(cityid.MustMarshal(b)); err == nil {
		t.Errorf("%d proofs of authority were read", len(*many))
	}
}

// Every octet of a bundle through two zones matters.
func TestZoneTampering(t *testing.T) {
	z := newZones()
	for _, b := range []*verify.Bundle{
		z.join(t, z.refer(t, lamps), record(t, z.city.from(t, 12, 40), z.city.before(40), lamps)),
		z.join(t, z.refer(t, city+".33"), record(t, z.city.from(t, 12, 40), z.city.before(40), city+".33")),
	} {
		data := encode(t, b)
		o := verify.Options{Now: z.root.at(40).header.Time.Add(30 * time.Second), Code: b.Code, Kind: b.Kind}
		wantVerdict(t, verify.CheckEncoded(&z.root.trusts[0], data, o), verify.Valid, "")
		for i := range data {
			for _, bit := range []byte{1, 0x80} {
				data[i] ^= bit
				if r := verify.CheckEncoded(&z.root.trusts[0], data, o); r.Verdict == verify.Valid {
					t.Fatalf("octet %d changed: still valid", i)
				}
				data[i] ^= bit
			}
		}
	}
}

// An answer that leads on from a checkpoint says nothing by itself.
func TestContinuationAlone(t *testing.T) {
	z := newZones()
	for _, head := range []int{12, 40} {
		b := record(t, z.city.from(t, 12, head), z.city.before(head), lamps)
		if r := z.judge(t, b); r.Verdict == verify.Valid {
			t.Errorf("head %d: valid without its referral", head)
		}
	}
	if _, err := verify.Join(&z.root.trusts[0], record(t, z.root.way(t, 1, 1, 30), z.root.before(30), city), record(t, z.city.from(t, 12, 40), z.city.before(40), lamps)); err == nil {
		t.Error("an answer was joined to one that is no referral")
	}
}

func BenchmarkCheckTwoZones(b *testing.B) {
	z := newZones()
	data := encode(b, z.join(b, z.refer(b, lamps), record(b, z.city.from(b, 12, 40), z.city.before(40), lamps)))
	for b.Loop() {
		if r := verify.CheckEncoded(&z.root.trusts[0], data, verify.Options{Now: z.root.at(40).header.Time}); r.Verdict != verify.Valid {
			b.Fatal(r.Message)
		}
	}
	b.ReportMetric(float64(len(data)), "B/bundle")
}

// Who keeps what a referral told can judge the zone's answers by that.
func TestCheckFrom(t *testing.T) {
	z := newZones()
	known := &cityid.Zone{Chain: z.city.id, Checkpoint: z.city.checkpoint(12)}
	apex, o := cityid.MustParse(city), verify.Options{Now: z.city.at(40).header.Time.Add(time.Second)}
	b := record(t, z.city.from(t, 12, 40), z.city.before(40), lamps)
	r := verify.CheckFrom(apex, known, b, o)
	wantVerdict(t, r, verify.Valid, "")
	if r.Record.Code.String() != lamps || r.AsOf.Chain != z.city.id || len(r.Zones) != 1 {
		t.Errorf("the result is %+v", r)
	}
	wantVerdict(t, verify.CheckFrom(apex, known, record(t, z.city.from(t, 13, 40), z.city.before(40), lamps), o), verify.Undecided, verify.ReasonOtherTrust)
	whole := record(t, z.root.way(t, 1, 1, 30), z.root.before(30), city)
	wantVerdict(t, verify.CheckFrom(apex, known, whole, o), verify.Undecided, verify.ReasonOtherTrust)
	wantVerdict(t, verify.CheckFrom(apex, known, z.join(t, z.refer(t, lamps), b), o), verify.Undecided, verify.ReasonOtherTrust)
	other := *known
	other.Checkpoint.Header[3] ^= 1
	b.Trust = verify.TagOf(&cityid.Trust{}, b.Kind, b.Code)
	wantVerdict(t, verify.CheckFrom(apex, &other, b, o), verify.Undecided, verify.ReasonOtherTrust)
	b = record(t, z.city.from(t, 12, 40), z.city.before(40), lamps)
	up := &cityid.Upstream{Zone: apex, Chain: z.city.id, Checkpoint: z.city.checkpoint(12)}
	up.Checkpoint.Log = cityid.BlockLog{} // not known
	wantVerdict(t, verify.CheckUpstream(up, b, o), verify.Valid, "")
	idle := record(t, z.city.from(t, 30, 38), z.city.before(38), lamps)
	up.Checkpoint = z.city.checkpoint(30)
	up.Checkpoint.Log = cityid.BlockLog{}
	wantVerdict(t, verify.CheckUpstream(up, idle, o), verify.Valid, "")
	b.Steps[0].Descent = nil
	wantVerdict(t, verify.CheckFrom(apex, known, b, o), verify.Invalid, verify.ReasonMalformed)
}
