// SPDX-License-Identifier: Apache-2.0

package verify_test

import (
	"bytes"
	"math"
	"strings"
	"time"

	"cityid"
	"cityid/header"
	"cityid/merkle"
	"cityid/verify"
)

// zoneMaker collects vectors of bundles through several zones.
type zoneMaker struct {
	*maker
	*zones
	when time.Time
}

// zones are vectors of bundles through several zones.
func (m *maker) zones() {
	z := newZones()
	v := &zoneMaker{m, z, z.root.at(40).header.Time.Add(30 * time.Second)}
	v.goodAnswers()
	v.goodWays()
	v.goodScopes()
	v.badDescents()
	v.badForms()
	v.badSteps()
	v.badKnown()
	v.badAuthority()
	v.badScopes()
	v.staleZones()
}

// add adds a vector, judged by the root's first version.
func (m *zoneMaker) add(name, description string, b *verify.Bundle, v verify.Verdict, reason verify.Reason) *vector {
	m.t.Helper()
	prefix := map[verify.Verdict]string{verify.Valid: "good-", verify.Undecided: "undecided-", verify.Invalid: "bad-"}[v]
	out := m.maker.add(prefix+"zones-"+name, description, 1, b, 1, v, reason)
	out.Trust, out.Now = m.root.trusts[0], m.when.Truncate(time.Second)
	return out
}

// change is add for a bundle that somebody changed, who made the tag fit.
func (m *zoneMaker) change(name, description string, b *verify.Bundle, v verify.Verdict, reason verify.Reason, f func(*verify.Bundle)) *vector {
	m.t.Helper()
	return m.add(name, description, mutate(m.t, b, func(b *verify.Bundle) {
		f(b)
		b.Trust = verify.TagOf(&m.root.trusts[0], b.Kind, b.Code, b.Keys...)
	}), v, reason)
}

// way is the city's, from its checkpoint to block 40.
func (m *zoneMaker) way() *verify.Way { return m.city.from(m.t, 12, 40) }

// lamp is the bundle that most others are made from.
func (m *zoneMaker) lamp() *verify.Bundle {
	return m.join(m.t, m.refer(m.t, lamps), record(m.t, m.way(), m.city.before(40), lamps))
}

// absent is the bundle for a code that the city did not allocate.
func (m *zoneMaker) absent() *verify.Bundle {
	return m.join(m.t, m.refer(m.t, city+".33"), record(m.t, m.way(), m.city.before(40), city+".33"))
}

// deep is the bundle for a code of the district.
func (m *zoneMaker) deep() *verify.Bundle {
	code := districtApex + ".01"
	return m.join(m.t, m.refer(m.t, code), referral(m.t, m.city.from(m.t, 12, 30), m.city.before(30), code, districtApex),
		record(m.t, m.district.from(m.t, 12, 40), m.district.before(40), code))
}

// known is the bundle of lamp where the root knows of the city what change
// makes of it.
func (m *zoneMaker) known(change func(*cityid.Record, *cityid.Zone)) *verify.Bundle {
	z := newZones()
	z.root.change(func() { z.root.delegate(city, z.city, z.city.checkpoint(12), change) })
	z.root.quiet(1)
	return m.join(m.t, referral(m.t, z.root.way(m.t, 1, 1, 42), z.root.before(42), lamps, city), record(m.t, m.way(), m.city.before(40), lamps))
}

func (m *zoneMaker) goodAnswers() {
	t, s := m.t, m.city.before(40)
	good := func(name, description string, b *verify.Bundle) *vector {
		return m.add(name, description, b, verify.Valid, "")
	}
	good("record", "a record of a city's zone, by the root", m.lamp())
	good("absence", "a code that the city's zone did not allocate", m.absent())
	good("children", "the codes directly below a department of the city", m.join(t, m.refer(t, city+".01"), listing(t, m.way(), s, city+".01", cityid.AnswerChildren)))
	good("descendants", "all codes below that department", m.join(t, m.refer(t, city+".01"), listing(t, m.way(), s, city+".01", cityid.AnswerDescendants)))
	good("history", "all revisions of a record of the city's zone", m.join(t, m.refer(t, lamps), history(t, m.way(), s, lamps)))
	lamp := cityid.MustParse(lamps)
	keys := [][]byte{cityid.AttestationKey(lamp, cityid.Digest{7}), cityid.RecordKey(lamp), cityid.RecordKey(cityid.MustParse(city + ".02")), cityid.ZoneKey(cityid.MustParse(districtApex))}
	good("entries", "entries about three codes of the city's zone", m.join(t, m.refer(t, lamps), entries(t, m.way(), s, keys)))
	good("apex", "the apex of the city's zone, as that has it", m.join(t, m.refer(t, city), record(t, m.way(), s, city)))
	good("apex-above", "the same record as the root has it", record(t, m.root.way(t, 1, 1, 30), m.root.before(30), city))
	good("grandchild", "a record of a zone two below the root's", m.deep())
	good("referral", "the root's referral to the city's zone", m.refer(t, lamps))
	code := districtApex + ".01"
	good("referral-further", "the city's referral to the district's zone, after the root's", m.join(t, m.refer(t, code), referral(t, m.city.from(t, 12, 30), m.city.before(30), code, districtApex)))
	good("earlier", "a time after the delegation and before all headers", m.lamp()).At = m.root.at(25).header.Time
	good("root", "a code beside the zones, which the root did not allocate", record(t, m.root.way(t, 1, 1, 30), m.root.before(30), "MA.156.1399"))
	good("listing-over-zones", "the codes directly below the root, two of which have zones of their own", listing(t, m.root.way(t, 1, 1, 30), m.root.before(30), "MA.156", cityid.AnswerChildren))
	good("listing-all-over-zones", "all codes below the root in the root's own zone: none of those below the two", listing(t, m.root.way(t, 1, 1, 30), m.root.before(30), "MA.156", cityid.AnswerDescendants))
}

func (m *zoneMaker) goodWays() {
	t := m.t
	good := func(name, description string, b *verify.Bundle) *vector {
		return m.add(name, description, b, verify.Valid, "")
	}
	from := func(height int) *verify.Bundle {
		z := newZones()
		z.root.change(func() { z.root.delegate(city, z.city, z.city.checkpoint(height), nil) })
		z.root.quiet(1)
		return z.join(t, referral(t, z.root.way(t, 1, 1, 42), z.root.before(42), lamps, city), record(t, z.city.from(t, height, 40), z.city.before(40), lamps))
	}
	good("genesis", "the checkpoint is the city's genesis", from(0))
	z := newZones()
	z.root.change(func() { z.root.delegate(city, z.city, z.city.checkpoint(0), nil) })
	z.root.quiet(1)
	first := z.join(t, referral(t, z.root.way(t, 1, 1, 42), z.root.before(42), city, city), record(t, z.city.from(t, 0, 1), z.city.before(1), city))
	good("first-block", "the header of height 1, which has the genesis time, after the city's genesis", first)
	good("own-header", "the head is the checkpoint's own header", from(40))
	good("no-transaction", "no transaction since the checkpoint: the block log is still the checkpoint's own", m.join(t, m.refer(t, lamps), record(t, m.city.from(t, 12, 18), m.city.before(18), lamps)))
	good("log", "the city's answer of an earlier block, by a link in its block log", m.join(t, m.refer(t, lamps), record(t, m.city.link(t, m.way(), 14), m.city.before(14), lamps)))
	good("log-checkpoint", "the same with the checkpoint's own header as the one that answers", m.join(t, m.refer(t, lamps), record(t, m.city.link(t, m.way(), 12), m.city.before(12), lamps)))
	z = newZones()
	z.city.validators(names("e f g n"))
	z.city.quiet(5)
	z.city.validators(names("n o p q"))
	z.city.quiet(3)
	z.city.change(func() { z.city.write([]byte("k4\x00"), []byte{4}) })
	z.city.quiet(1)
	head := len(z.city.blocks)
	later := z.city.at(head).header.Time.Add(time.Second)
	moved := z.join(t, z.refer(t, lamps), record(t, z.city.from(t, 12, head), z.city.before(head), lamps))
	good("transitions", "the city's validators changed since its checkpoint: transitions lead to the head", moved).Now = later.Add(time.Second).Truncate(time.Second)
	m.change("transitions-left-out", "the transitions left out", moved, verify.Undecided, verify.ReasonNotConnected, func(b *verify.Bundle) { b.Steps[1].Transitions = nil }).Now = later
	near := z.join(t, z.refer(t, lamps), record(t, z.city.from(t, 12, 44), z.city.before(44), lamps))
	good("validators", "one validator changed: the head is signed by enough of those whose hash the checkpoint names", near).Now = later
	m.change("validators-left-out", "those validators left out", near, verify.Undecided, verify.ReasonNotConnected, func(b *verify.Bundle) { b.Steps[1].Validators = nil }).Now = later
	m.change("validators-others", "others in their place", near, verify.Invalid, verify.ReasonMalformed, func(b *verify.Bundle) {
		b.Steps[1].Validators = must(names("e f g x").validators().MarshalBinary())
	}).Now = later

	y := newZones()
	y.root.change(func() { y.root.write([]byte("k5\x00"), []byte{5}) })
	y.root.quiet(1)
	archived := m.join(t, referral(t, y.root.link(t, y.root.way(t, 1, 1, 42), 30), y.root.before(30), lamps, city), record(t, m.way(), m.city.before(40), lamps))
	good("archive", "the root's header of block 30, by a link in the block log of a later head", archived).At = m.city.at(40).header.Time
}

func (m *zoneMaker) goodScopes() {
	suspended := m.known(func(r *cityid.Record, _ *cityid.Zone) { r.Status = cityid.StatusSuspended })
	m.add("suspended", "the root suspended the apex: the answer says so", suspended, verify.Valid, "")
	retired := m.known(func(r *cityid.Record, _ *cityid.Zone) { r.Status = cityid.StatusRetired })
	m.add("retired", "the root retired the apex: the answer says so", retired, verify.Valid, "")
	for _, x := range []struct{ name, apex, code string }{{"places", "MA.156.13", city}, {"places-letters", "MA.156.1A", "MA.156.1AB0.Z9"}} {
		b, own := m.province(x.apex, x.code, true)
		m.add(x.name, "a place in a zone that has the places which continue its apex", b, verify.Valid, "")
		m.add(x.name+"-above", "the root says that it is not allocated", own, verify.Undecided, verify.ReasonZone)
		b, own = m.province(x.apex, x.code, false)
		m.add(x.name+"-none", "the same in a zone that has not", b, verify.Undecided, verify.ReasonZone)
		m.add(x.name+"-none-above", "the root says that it is not allocated, and shows a zone that does not reach so far", own, verify.Valid, "")
	}
}

// province makes a zone of a place. It returns a bundle by it about a code in a
// place that continues it, and one by the root which says that it is absent.
func (m *zoneMaker) province(apex, code string, places bool) (below, above *verify.Bundle) {
	t := m.t
	p := newChain("province-5eee", cityid.MustParse(apex), names("e f g h"))
	p.put(apex, cityid.KindProvince, "省")
	p.put(code, cityid.KindCity, "市")
	p.quiet(40)
	root := newChain("root-1aaa", cityid.MustParse("MA.156"), names("a b c d"))
	root.put("MA.156", cityid.KindAuthority, "国家")
	root.quiet(12)
	root.change(func() {
		root.delegate(apex, p, p.checkpoint(5), func(r *cityid.Record, z *cityid.Zone) { r.Delegation.Places, z.Places = places, places })
	})
	root.quiet(27)
	if root.trusts[0].Statement.Hash() != m.root.trusts[0].Statement.Hash() {
		t.Fatal("another trust root")
	}
	s := root.before(40)
	below = m.join(t, referral(t, root.way(t, 1, 1, 40), s, code, apex), record(t, p.from(t, 5, 38), p.before(38), code))
	w := root.way(t, 1, 1, 40)
	w.Prove = s.prove
	k := cityid.MustParse(code)
	proof := must(s.tree.Prove(cityid.RecordKey(k)))
	if !places {
		return below, must(verify.NewRecord(w, k, proof, nil))
	}
	w.Prove = func(key []byte) (merkle.Proof, []byte, error) { p, err := s.tree.Prove(key); return p, nil, err }
	return below, m.shows(must(verify.NewRecord(w, k, proof, nil)), s, apex)
}

// shows puts what a state knows of a zone into the authority of a bundle.
func (m *zoneMaker) shows(b *verify.Bundle, s state, apex string) *verify.Bundle {
	key := cityid.ZoneKey(cityid.MustParse(apex))
	proof := must(must(s.tree.Prove(key)).MarshalBinary())
	for i, a := range b.Steps[0].Authority {
		if bytes.Equal(a.Proof, proof) {
			b.Steps[0].Authority[i].Value = s.values[string(key)]
		}
	}
	return b
}

func (m *zoneMaker) badDescents() {
	t, old := m.t, restored()
	head := len(old.blocks)
	hash := cityid.Digest(m.city.at(12).header.Hash())
	from := func(height int) *verify.Way {
		w := old.from(t, 12, height)
		w.Point.Header = hash
		return w
	}
	add := func(name, description string, b *verify.Bundle, reason verify.Reason) *vector {
		return m.add(name, description, m.join(t, m.refer(t, lamps), b), verify.Invalid, reason)
	}
	add("restored", "a city that was restored from an old copy, and signs with the same keys: its block log does not hold the checkpoint's header", record(t, from(head), old.before(head), lamps), verify.ReasonDescent)
	add("restored-soon", "the same before its block log reaches the checkpoint's height", record(t, from(14), old.before(14), lamps), verify.ReasonDescent)
	add("restored-height", "its header at the checkpoint's height", record(t, old.from(t, 12, 12), old.before(12), lamps), verify.ReasonFork)
	add("restored-log", "its answer of an earlier block, by a link in its block log", record(t, old.link(t, from(head), 14), old.before(14), lamps), verify.ReasonDescent)
	add("restored-log-height", "its header at the checkpoint's height, by a link in its block log", record(t, old.link(t, from(head), 12), old.before(12), lamps), verify.ReasonFork)

	b := m.lamp()
	change := func(name, description string, b *verify.Bundle, reason verify.Reason, f func(*verify.Step)) {
		m.change(name, description, b, verify.Invalid, reason, func(b *verify.Bundle) { f(&b.Steps[len(b.Steps)-1]) })
	}
	change("descent-left-out", "nothing shows that the head goes on from the checkpoint", b, verify.ReasonMalformed, func(s *verify.Step) { s.Descent = nil })
	change("descent-size", "a block log of another size", b, verify.ReasonDescent, func(s *verify.Step) { s.Descent.Size++ })
	change("descent-size-beyond", "a block log that goes beyond the state's height", b, verify.ReasonProof, func(s *verify.Step) { s.Descent.Size = 40 })
	change("descent-first", "a block log that begins with another block", b, verify.ReasonDescent, func(s *verify.Step) { s.Descent.First++ })
	change("descent-first-alone", "a first height without a size", b, verify.ReasonMalformed, func(s *verify.Step) { s.Descent.Size = 0 })
	change("descent-path", "a hash of the path of the checkpoint's header", b, verify.ReasonDescent, func(s *verify.Step) { s.Descent.Path[40] ^= 1 })
	change("descent-proof", "a hash of the proof of the block log", b, verify.ReasonDescent, func(s *verify.Step) { s.Descent.Proof[20] ^= 1 })
	change("descent-root", "the root of the block log, which follows from the path", b, verify.ReasonMalformed, func(s *verify.Step) { s.Descent.Root = m.city.before(40).log.Root })
	quiet := m.join(t, m.refer(t, lamps), record(t, m.city.from(t, 12, 18), m.city.before(18), lamps))
	change("descent-quiet-path", "a path where the block log is the checkpoint's own", quiet, verify.ReasonMalformed, func(s *verify.Step) { s.Descent.Path = b.Steps[1].Descent.Path })
	change("descent-quiet-root", "the root of the block log, which is the checkpoint's", quiet, verify.ReasonMalformed, func(s *verify.Step) { s.Descent.Root = m.city.before(18).log.Root })
	change("descent-quiet-size", "a block log that does not reach the checkpoint and is smaller than its own", quiet, verify.ReasonDescent, func(s *verify.Step) { s.Descent.Size-- })
	linked := m.join(t, m.refer(t, lamps), record(t, m.city.link(t, m.way(), 14), m.city.before(14), lamps))
	change("descent-quiet-size-none", "the same without a size", quiet, verify.ReasonMalformed, func(s *verify.Step) { s.Descent.Size = 0 })
	z := newZones()
	z.city.pending = []header.Hash{{1}, {2}} // as if they were blocks
	z.city.change(func() { z.city.write([]byte("k7\x00"), []byte{7}) })
	z.city.quiet(1)
	m.add("log-beyond", "a block log, in the state itself, of more blocks than there are", m.join(t, m.refer(t, lamps), record(t, z.city.from(t, 12, 42), z.city.before(42), lamps)), verify.Invalid, verify.ReasonProof)
	change("descent-twice", "the block log given in the link and again", linked, verify.ReasonMalformed, func(s *verify.Step) { s.Descent.First, s.Descent.Size = s.Log.First, s.Log.Size })
	change("descent-twice-proof", "the proof of the block log given in the link and again", linked, verify.ReasonMalformed, func(s *verify.Step) { s.Descent.Proof = s.Log.Proof })
	m.genesisDescents(change)
	own := m.known(func(_ *cityid.Record, z *cityid.Zone) { z.Checkpoint = m.city.checkpoint(40) })
	own.Steps[1] = record(t, m.city.from(t, 40, 40), m.city.before(40), lamps).Steps[0]
	change("descent-superfluous", "a descent where the head is the checkpoint's header", own, verify.ReasonMalformed, func(s *verify.Step) { s.Descent = b.Steps[1].Descent })
	change("own-header-validators", "the checkpoint's validators where the head is its header", own, verify.ReasonMalformed, func(s *verify.Step) {
		s.Validators = must(names("e f g h").validators().MarshalBinary())
	})
	older := m.lamp()
	older.Steps[1] = record(t, m.city.from(t, 9, 9), m.city.before(9), lamps).Steps[0]
	m.add("older", "a header of the city that is older than its checkpoint", older, verify.Undecided, verify.ReasonNotConnected)
}

// genesisDescents are those from a checkpoint that is the genesis.
func (m *zoneMaker) genesisDescents(change func(string, string, *verify.Bundle, verify.Reason, func(*verify.Step))) {
	b := m.known(func(_ *cityid.Record, z *cityid.Zone) { z.Checkpoint = m.city.checkpoint(0) })
	b.Steps[1] = record(m.t, m.city.from(m.t, 0, 40), m.city.before(40), lamps).Steps[0]
	change("genesis-root", "another root of the block log, from the genesis", b, verify.ReasonDescent, func(s *verify.Step) { s.Descent.Root[0] ^= 1 })
	change("genesis-root-left-out", "no root of the block log, from the genesis", b, verify.ReasonMalformed, func(s *verify.Step) { s.Descent.Root = cityid.Digest{} })
	change("genesis-first", "a block log that does not begin with block 1, from the genesis", b, verify.ReasonMalformed, func(s *verify.Step) { s.Descent.First++; s.Descent.Size-- })
	change("genesis-log-left-out", "no block log, from the genesis", b, verify.ReasonProof, func(s *verify.Step) {
		s.Descent.First, s.Descent.Size, s.Descent.Root = 0, 0, cityid.Digest{}
	})
}

func (m *zoneMaker) badForms() {
	t, b := m.t, m.lamp()
	change := func(name, description string, b *verify.Bundle, reason verify.Reason, f func(*verify.Bundle)) *vector {
		return m.change(name, description, b, verify.Invalid, reason, f)
	}
	change("alone", "an answer that leads on from a checkpoint, without the referral that shows it", record(t, m.way(), m.city.before(40), lamps), verify.ReasonMalformed, func(*verify.Bundle) {})
	change("alone-own-header", "the same where the head is the checkpoint's header", record(t, m.city.from(t, 40, 40), m.city.before(40), lamps), verify.ReasonSignature, func(*verify.Bundle) {})
	change("steps-none", "no steps", b, verify.ReasonMalformed, func(b *verify.Bundle) { b.Steps = nil })
	change("steps-nine", "nine steps", b, verify.ReasonMalformed, func(b *verify.Bundle) {
		for len(b.Steps) < 9 {
			b.Steps = append(b.Steps[:1:1], b.Steps...)
		}
	})
	change("steps-eight", "the step of the root's zone eight times", b, verify.ReasonMalformed, func(b *verify.Bundle) {
		for len(b.Steps) < 8 {
			b.Steps = append(b.Steps[:1:1], b.Steps...)
		}
	})
	change("values-left-out", "a step that leads to a zone without what is known of that", b, verify.ReasonMalformed, func(b *verify.Bundle) { b.Steps[0].Values = b.Steps[0].Values[:1] })
	change("values-empty", "a value without octets", b, verify.ReasonMalformed, func(b *verify.Bundle) { b.Steps[0].Values[1] = nil })
	change("values-superfluous", "values in the step that leads no further", b, verify.ReasonMalformed, func(b *verify.Bundle) { b.Steps[1].Values = b.Steps[0].Values })
	change("values-large", "a value larger than a record", b, verify.ReasonMalformed, func(b *verify.Bundle) { b.Steps[0].Values[1] = make([]byte, cityid.MaxRecord+1) })
	change("referral-values", "a referral with values of its own", m.refer(t, lamps), verify.ReasonMalformed, func(b *verify.Bundle) { b.Values = b.Steps[0].Values })
	change("referral-as-record", "a referral passed off as a record", m.refer(t, lamps), verify.ReasonMalformed, func(b *verify.Bundle) { b.Kind = cityid.AnswerRecord })
	change("record-as-referral", "an answer passed off as a referral", m.lamp(), verify.ReasonMalformed, func(b *verify.Bundle) { b.Kind = cityid.AnswerReferral })
	change("authority-in-referral", "authority in a step that leads to a zone", b, verify.ReasonMalformed, func(b *verify.Bundle) { b.Steps[0].Authority = m.absent().Steps[1].Authority })
	change("validators-superfluous", "the checkpoint's validators where the head is signed by them", m.join(t, m.refer(t, lamps), record(t, m.city.from(t, 12, 30), m.city.before(30), lamps)), verify.ReasonMalformed, func(b *verify.Bundle) {
		b.Steps[1].Validators = must(names("e f g h").validators().MarshalBinary())
	})
	change("validators-moved", "the head's validators given as the checkpoint's", b, verify.ReasonMalformed, func(b *verify.Bundle) {
		b.Steps[1].Validators, b.Steps[1].Head.Validators = b.Steps[1].Head.Validators, nil
	})
	twoMore := record(t, m.c.way(t, 1, 1, 17), m.c.before(17), city)
	m.maker.add("bad-zones-validators-trust", "the trust root's own validators in the first step, given as a checkpoint's", 1, mutate(t, twoMore, func(b *verify.Bundle) {
		b.Steps[0].Validators = must(m.c.at(1).set.validators().MarshalBinary())
	}), 17, verify.Invalid, verify.ReasonMalformed)
	change("validators-first", "validators of a checkpoint in the first step", b, verify.ReasonMalformed, func(b *verify.Bundle) { b.Steps[0].Validators = b.Steps[1].Head.Validators })
	change("transition-backwards", "a transition that is not above the checkpoint", b, verify.ReasonMalformed, func(b *verify.Bundle) {
		l := record(t, m.city.from(t, 9, 12), m.city.before(12), lamps).Steps[0].Head
		l.Header = must(header.EncodeStripped(m.city.at(12).header, true))
		b.Steps[1].Transitions = []cityid.LightBlock{l}
	})
}

func (m *zoneMaker) badSteps() {
	t := m.t
	change := func(name, description string, b *verify.Bundle, v verify.Verdict, reason verify.Reason, f func(*verify.Bundle)) {
		m.change(name, description, b, v, reason, f)
	}
	change("steps-values-exchanged", "two steps lead to each other's zone", m.deep(), verify.Invalid, verify.ReasonProof, func(b *verify.Bundle) {
		b.Steps[0].Values, b.Steps[1].Values = b.Steps[1].Values, b.Steps[0].Values
	})
	change("steps-heads-exchanged", "the heads of two steps exchanged", m.deep(), verify.Invalid, verify.ReasonSignature, func(b *verify.Bundle) {
		b.Steps[1].Head, b.Steps[2].Head = b.Steps[2].Head, b.Steps[1].Head
	})
	change("steps-exchanged", "two steps exchanged", m.deep(), verify.Invalid, verify.ReasonMalformed, func(b *verify.Bundle) {
		b.Steps[0], b.Steps[1] = b.Steps[1], b.Steps[0]
	})
	change("step-left-out", "the step in the middle left out", m.deep(), verify.Invalid, verify.ReasonSignature, func(b *verify.Bundle) {
		b.Steps = append(b.Steps[:1:1], b.Steps[2])
	})
	change("step-sibling", "the answer of the neighbouring city's zone", m.lamp(), verify.Invalid, verify.ReasonSignature, func(b *verify.Bundle) {
		s := record(t, m.sibling.from(t, 12, 40), m.sibling.before(40), "MA.156.1302.01/20.010203")
		b.Steps[1], b.Values = s.Steps[0], s.Values
		b.Code = cityid.MustParse("MA.156.1302.01/20.010203")
	})
	side := m.join(t, referral(t, m.root.way(t, 1, 1, 30), m.root.before(30), "MA.156.1302.01", "MA.156.1302"), record(t, m.sibling.from(t, 12, 40), m.sibling.before(40), "MA.156.1302.77"))
	change("step-sibling-absence", "absence of a code of the city, by the neighbouring city's zone", side, verify.Undecided, verify.ReasonZone, func(b *verify.Bundle) {
		s := record(t, m.sibling.from(t, 12, 40), m.sibling.before(40), city+".77")
		b.Steps[1], b.Values, b.Code = s.Steps[0], s.Values, cityid.MustParse(city+".77")
	})
	change("step-record", "another name in a record of the city's zone", m.lamp(), verify.Invalid, verify.ReasonSignature, func(b *verify.Bundle) {
		b.Values[0] = bytes.Replace(b.Values[0], []byte("Record of"), []byte("Racord of"), 1)
	})
	change("step-checkpoint", "another checkpoint than the root's state has", m.lamp(), verify.Invalid, verify.ReasonProof, func(b *verify.Bundle) {
		var z cityid.Zone
		must(0, cityid.Unmarshal(b.Steps[0].Values[1], &z))
		z.Checkpoint = m.city.checkpoint(14)
		b.Steps[0].Values[1] = cityid.MustMarshal(&z)
	})
	change("step-zone-other-state", "what is known of the zone from another state than the record", m.lamp(), verify.Invalid, verify.ReasonProof, func(b *verify.Bundle) {
		proofs := make([]cityid.Bytes, 2)
		must(0, cityid.Unmarshal(b.Steps[0].Proof, &proofs))
		proofs[1][40] ^= 1
		b.Steps[0].Proof = cityid.MustMarshal(proofs)
	})
	change("step-proof-alone", "one proof where two are wanted", m.lamp(), verify.Invalid, verify.ReasonMalformed, func(b *verify.Bundle) {
		proofs := make([]cityid.Bytes, 2)
		must(0, cityid.Unmarshal(b.Steps[0].Proof, &proofs))
		b.Steps[0].Proof = cityid.MustMarshal(proofs[:1])
	})
	change("step-proofs-three", "three proofs where two are wanted", m.lamp(), verify.Invalid, verify.ReasonMalformed, func(b *verify.Bundle) {
		proofs := make([]cityid.Bytes, 2)
		must(0, cityid.Unmarshal(b.Steps[0].Proof, &proofs))
		b.Steps[0].Proof = cityid.MustMarshal(append(proofs, proofs[0]))
	})
	forged := newZones()
	forged.city.change(func() {
		forged.city.write(cityid.RecordKey(cityid.MustParse(lamps)), m.root.state.values[string(cityid.RecordKey(cityid.MustParse("MA.156.1303")))])
	})
	forged.city.quiet(1)
	foreign := forged.join(t, m.refer(t, lamps), record(t, forged.city.from(t, 12, 42), forged.city.before(42), lamps))
	m.add("record-other", "a record of the root's chain at a key of the city's", foreign, verify.Invalid, verify.ReasonRecord)
	bare := newChain("root-1aaa", cityid.MustParse("MA.156"), names("a b c d"))
	bare.write([]byte("k1\x00"), []byte{1})
	bare.quiet(40)
	m.add("apex-none", "a root without a record of its apex, which no zone above contradicts", record(t, bare.way(t, 1, 1, 40), bare.before(40), "MA.156"), verify.Valid, "")
	m.add("apex-denied", "the city's zone says that its apex is not allocated, and the root shows that it is", m.denied(false), verify.Invalid, verify.ReasonRecord)
	m.add("apex-denied-entries", "the same in an answer about entries", m.denied(true), verify.Invalid, verify.ReasonRecord)
}

// denied is a bundle of a city that has no record of its own apex.
func (m *zoneMaker) denied(asEntries bool) *verify.Bundle {
	z := newZones()
	key := cityid.RecordKey(cityid.MustParse(city))
	z.city.change(func() {
		e := z.city.state.tree.Edit()
		e.Delete(key)
		z.city.state.tree = e.Tree()
		z.city.write([]byte("k6\x00"), []byte{6})
		delete(z.city.state.values, string(key))
	})
	z.city.quiet(1)
	w, s := z.city.from(m.t, 12, 42), z.city.before(42)
	if asEntries {
		return m.join(m.t, m.refer(m.t, city), entries(m.t, w, s, [][]byte{key}))
	}
	return m.join(m.t, m.refer(m.t, city), record(m.t, w, s, city))
}

// badKnown are bundles where the root says something else of the city.
func (m *zoneMaker) badKnown() {
	type change = func(*cityid.Record, *cityid.Zone)
	for _, x := range []struct {
		name, description string
		verdict           verify.Verdict
		reason            verify.Reason
		change            change
	}{
		{"frozen", "a fork of the city's chain was reported", verify.Undecided, verify.ReasonFrozen, func(_ *cityid.Record, z *cityid.Zone) {
			z.Fork = &cityid.Fork{Height: 13, Headers: [2]cityid.Digest{{1}, {2}}, Reported: z.Accepted}
		}},
		{"not-delegated", "a zone is known of a code that is not delegated", verify.Invalid, verify.ReasonRecord, func(r *cityid.Record, _ *cityid.Zone) { r.Delegation = nil }},
		{"other-chain", "the record delegates to another chain than is known", verify.Invalid, verify.ReasonRecord, func(r *cityid.Record, _ *cityid.Zone) { r.Delegation.Chain = "sjz-9" }},
		{"sibling-chain", "the code is delegated to the neighbouring city's chain", verify.Invalid, verify.ReasonSignature, func(r *cityid.Record, z *cityid.Zone) { r.Delegation.Chain, z.Chain = "tj-3ccc", "tj-3ccc" }},
		{"other-places", "record and zone disagree about places", verify.Invalid, verify.ReasonRecord, func(r *cityid.Record, _ *cityid.Zone) { r.Delegation.Places = true }},
		{"checkpoint-ahead", "a checkpoint ahead of the root's header", verify.Invalid, verify.ReasonRecord, func(_ *cityid.Record, z *cityid.Zone) { z.Checkpoint.Time += 3600 }},
		{"checkpoint-incomplete", "a checkpoint with a height and no header", verify.Invalid, verify.ReasonRecord, func(_ *cityid.Record, z *cityid.Zone) { z.Checkpoint.Header = cityid.Digest{} }},
		{"checkpoint-log", "a checkpoint with a block log of blocks to come", verify.Invalid, verify.ReasonRecord, func(_ *cityid.Record, z *cityid.Zone) { z.Checkpoint.Log.Size = 12 }},
		{"checkpoint-height", "a checkpoint at a height that no chain has", verify.Invalid, verify.ReasonRecord, func(_ *cityid.Record, z *cityid.Zone) { z.Checkpoint.Height = math.MaxInt64 + 1 }},
		{"checkpoint-height-huge", "the same, with the height of a block if one bit is left out", verify.Invalid, verify.ReasonRecord, func(_ *cityid.Record, z *cityid.Zone) { z.Checkpoint.Height = 1<<63 + 12 }},
		{"checkpoint-validators", "a checkpoint that names other validators as the next", verify.Undecided, verify.ReasonNotConnected, func(_ *cityid.Record, z *cityid.Zone) { z.Checkpoint.Next[0] ^= 1 }},
		{"checkpoint-header", "a checkpoint with another header, as after a fork", verify.Invalid, verify.ReasonDescent, func(_ *cityid.Record, z *cityid.Zone) { z.Checkpoint.Header[0] ^= 1 }},
		{"anchored-never", "a zone that was anchored before all time", verify.Invalid, verify.ReasonRecord, func(_ *cityid.Record, z *cityid.Zone) { z.Anchored = math.MinInt64 }},
		{"anchored-since", "a zone that was anchored again after the time wanted", verify.Undecided, verify.ReasonChangedSince, func(r *cityid.Record, z *cityid.Zone) {
			r.Changed.Time, z.Anchored = cityid.TimeOf(m.root.at(20).header.Time), cityid.TimeOf(m.root.at(30).header.Time)
		}},
		{"apex-changed-since", "an apex that was changed after the time wanted", verify.Undecided, verify.ReasonChangedSince, func(_ *cityid.Record, z *cityid.Zone) {
			z.Anchored = cityid.TimeOf(m.root.at(20).header.Time)
		}},
		{"apex-other-chain", "a record of the apex that was made on another chain than the root's", verify.Invalid, verify.ReasonRecord, func(r *cityid.Record, _ *cityid.Zone) { r.Changed.Chain = "sjz-2bbb" }},
		{"apex-height", "a record of the apex that was made at the height of the root's header", verify.Invalid, verify.ReasonRecord, func(r *cityid.Record, _ *cityid.Zone) { r.Changed.Height = 42 }},
	} {
		v := m.add(x.name, x.description, m.known(x.change), x.verdict, x.reason)
		if strings.HasSuffix(x.name, "-since") {
			v.At = m.root.at(25).header.Time
		}
	}
	m.add("delegated-since", "a time before the delegation", m.lamp(), verify.Undecided, verify.ReasonChangedSince).At = m.root.at(15).header.Time
	garbled := m.lamp()
	m.change("zone-undecodable", "what is known of the zone cut short", garbled, verify.Invalid, verify.ReasonRecord, func(b *verify.Bundle) {
		b.Steps[0].Values[1] = b.Steps[0].Values[1][:len(b.Steps[0].Values[1])-1]
	})
}

func (m *zoneMaker) badAuthority() {
	t, s := m.t, m.root.before(30)
	absent := func(code string) *verify.Bundle { return m.unauthorized(m.root.way(t, 1, 1, 30), s, code) }
	change := func(name, description string, b *verify.Bundle, v verify.Verdict, reason verify.Reason, f func(*verify.Bundle)) {
		m.change(name, description, b, v, reason, f)
	}
	lower := city + ".01"
	m.add("authority-denied", "the root says that a code of the city is absent, and that there is no zone", absent(lower), verify.Invalid, verify.ReasonProof)
	change("authority-left-out", "the same without a word about zones", absent(lower), verify.Invalid, verify.ReasonMalformed, func(b *verify.Bundle) { b.Steps[0].Authority = nil })
	change("authority-cut", "the same without the proof about the city", absent(lower), verify.Invalid, verify.ReasonMalformed, func(b *verify.Bundle) { b.Steps[0].Authority = b.Steps[0].Authority[:1] })
	m.add("authority-reaches", "the same with the zone that is there", m.shows(absent(lower), s, city), verify.Undecided, verify.ReasonZone)
	change("authority-other-state", "the proof about zones is of a state made up without them", absent("MA.156.1399"), verify.Invalid, verify.ReasonProof, func(b *verify.Bundle) {
		e := s.tree.Edit()
		e.Delete(cityid.ZoneKey(cityid.MustParse(city)))
		tree := e.Tree()
		b.Code = cityid.MustParse(lower)
		b.Steps[0].Proof = must(must(s.tree.Prove(cityid.RecordKey(b.Code))).MarshalBinary())
		b.Steps[0].Authority[0].Proof = must(must(tree.Prove(cityid.ZoneKey(b.Code))).MarshalBinary())
	})
	change("authority-superfluous", "a proof about a zone that is not needed", absent("MA.156.1399"), verify.Invalid, verify.ReasonMalformed, func(b *verify.Bundle) {
		b.Steps[0].Authority = append(b.Steps[0].Authority, b.Steps[0].Authority[0])
	})
	change("authority-on-record", "a proof about a zone for a record that is there", record(t, m.root.way(t, 1, 1, 30), s, "MA.156.1303"), verify.Invalid, verify.ReasonMalformed, func(b *verify.Bundle) {
		b.Steps[0].Authority = absent("MA.156.1399").Steps[0].Authority
	})
	change("authority-neighbour", "the proof about a zone of another code", absent(lower), verify.Invalid, verify.ReasonMalformed, func(b *verify.Bundle) {
		b.Steps[0].Authority = absent("MA.156.1399").Steps[0].Authority
	})
	change("authority-many", "more proofs about zones than a bundle may hold", absent("MA.156.1399"), verify.Invalid, verify.ReasonMalformed, func(b *verify.Bundle) {
		for len(b.Steps[0].Authority) < 65 {
			b.Steps[0].Authority = append(b.Steps[0].Authority, b.Steps[0].Authority[0])
		}
	})
	change("authority-value", "a value for a zone that is not there", absent("MA.156.1399"), verify.Invalid, verify.ReasonProof, func(b *verify.Bundle) {
		b.Steps[0].Authority[0].Value = s.values[string(cityid.ZoneKey(cityid.MustParse(city)))]
	})
	m.add("authority-city", "the city says that a code of the district is absent, and that there is no zone", m.join(t, m.refer(t, districtApex+".77"), m.unauthorized(m.way(), m.city.before(40), districtApex+".77")), verify.Invalid, verify.ReasonProof)
	m.listings()
}

// unauthorized is a bundle which says that a code is absent from a state, and
// that no zone is known of in it.
func (m *zoneMaker) unauthorized(w *verify.Way, s state, code string) *verify.Bundle {
	k := cityid.MustParse(code)
	w.Prove = func(key []byte) (merkle.Proof, []byte, error) { p, err := s.tree.Prove(key); return p, nil, err }
	return must(verify.NewRecord(w, k, must(s.tree.Prove(cityid.RecordKey(k))), nil))
}

// listings are those of a zone above, and entries about several zones' codes.
func (m *zoneMaker) listings() {
	t, s := m.t, m.root.before(30)
	blind := func(key []byte) (merkle.Proof, []byte, error) { p, err := s.tree.Prove(key); return p, nil, err }
	for kind, name := range map[cityid.AnswerKind]string{cityid.AnswerChildren: "children", cityid.AnswerDescendants: "descendants"} {
		w := m.root.way(t, 1, 1, 30)
		w.Prove = blind
		proof, _, err := s.tree.ProveRange(verify.Range(cityid.MustParse(city), kind))
		if err != nil {
			t.Fatal(err)
		}
		b := must(verify.NewListing(w, cityid.MustParse(city), kind, proof, nil))
		m.add("listing-above-"+name, "the root lists what is below the city: nothing", m.shows(b, s, city), verify.Undecided, verify.ReasonZone)
	}
	w := m.root.way(t, 1, 1, 30)
	w.Prove = blind
	code := cityid.MustParse(city)
	both := [][]byte{cityid.AttestationKey(code, cityid.Digest{7}), cityid.RecordKey(cityid.MustParse("MA.156.1303"))}
	b := must(verify.NewEntries(w, both, []merkle.Proof{must(s.tree.Prove(both[0])), must(s.tree.Prove(both[1]))}, [][]byte{nil, s.values[string(both[1])]}))
	m.add("entries-two-zones", "entries about a code of the root's zone and one that has a zone of its own", m.shows(b, s, city), verify.Undecided, verify.ReasonZone)
	m.change("entries-two-zones-below", "the same by the city's zone", m.join(t, m.refer(t, city), m.cityEntries(both)), verify.Undecided, verify.ReasonZone, func(*verify.Bundle) {})
}

// cityEntries are entries by the city.
func (m *zoneMaker) cityEntries(keys [][]byte) *verify.Bundle {
	return entries(m.t, m.way(), m.city.before(40), keys)
}

// badScopes are delegations of what is not the zone's.
func (m *zoneMaker) badScopes() {
	t := m.t
	for _, x := range []struct{ name, apex, description string }{
		{"scope-above", "MA.156", "the city's zone delegates the code above it"},
		{"scope-own", city, "the city's zone delegates its own apex"},
	} {
		z := newZones()
		z.city.change(func() { z.city.delegate(x.apex, z.sibling, z.sibling.checkpoint(12), nil) })
		z.city.quiet(1)
		b := m.join(t, m.refer(t, lamps), referral(t, z.city.from(t, 12, 42), z.city.before(42), lamps, x.apex))
		m.add(x.name, x.description, b, verify.Invalid, verify.ReasonRecord)
	}
	stray := "MA.156.1303.05"
	m.add("outside", "a code that does not belong to the zone to which the root leads", m.join(t, m.refer(t, stray), record(t, m.way(), m.city.before(40), stray)), verify.Undecided, verify.ReasonZone)
	m.add("outside-referral", "a referral for it", m.refer(t, stray), verify.Undecided, verify.ReasonZone)
}

func (m *zoneMaker) staleZones() {
	t := m.t
	z := newZones()
	z.city.now = z.city.now.Add(25 * time.Hour)
	z.city.quiet(2)
	old := m.join(t, m.refer(t, lamps), record(t, z.city.from(t, 12, 42), z.city.before(42), lamps))
	m.add("stale-above", "the root's header is more than a day old: an old delegation may be replayed no longer", old, verify.Undecided, verify.ReasonStale).Now = z.city.at(42).header.Time.Add(time.Second).Truncate(time.Second)
	z.root.now = z.root.now.Add(2 * time.Hour)
	z.root.quiet(1)
	fresh := m.join(t, referral(t, z.root.way(t, 1, 1, 41), z.root.before(41), lamps, city), record(t, m.way(), m.city.before(40), lamps))
	m.add("stale", "the city's header is more than an hour old", fresh, verify.Undecided, verify.ReasonStale).Now = z.root.at(41).header.Time.Add(time.Second).Truncate(time.Second)
	m.add("above-hours", "the root's header is hours old, which is allowed", m.hours(), verify.Valid, "").Now = m.city.at(40).header.Time.Add(20*time.Hour + time.Second).Truncate(time.Second)
	y := newZones()
	y.city.now = y.city.now.Add(15 * 24 * time.Hour)
	y.city.quiet(1)
	y.root.now = y.root.now.Add(15*24*time.Hour - time.Second)
	y.root.quiet(1)
	y.root.publish(41)
	w := &verify.Way{Trust: &y.root.trusts[0], Versions: y.root.trusts[1:], Head: y.root.at(41).signed()}
	expired := m.join(t, referral(t, w, y.root.before(41), lamps, city), record(t, y.city.from(t, 12, 41), y.city.before(41), lamps))
	m.add("checkpoint-expired", "the city's header is later than its checkpoint by more than the trusting period", expired, verify.Undecided, verify.ReasonTrustExpired).Now = y.city.at(41).header.Time.Add(time.Second).Truncate(time.Second)
	m.add("ahead", "the city's header is ahead of the clock", m.lamp(), verify.Undecided, verify.ReasonClock).Now = m.city.at(36).header.Time.Truncate(time.Second)
}

// hours is a bundle of a city whose header is 20 hours later than the root's.
func (m *zoneMaker) hours() *verify.Bundle {
	z := newZones()
	z.city.now = z.city.at(40).header.Time.Add(20 * time.Hour)
	z.city.quiet(1)
	return m.join(m.t, m.refer(m.t, lamps), record(m.t, z.city.from(m.t, 12, 41), z.city.before(41), lamps))
}
