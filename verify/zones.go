// SPDX-License-Identifier: Apache-2.0

package verify

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"slices"
	"time"

	"cityid"
	"cityid/header"
	"cityid/merkle"
)

// anchor is what a step leads on from: a version of the trust root, or the
// checkpoint of a zone as the zone above accepted it.
type anchor struct {
	apex    cityid.Code
	places  bool // the zone has the places that continue its apex
	chain   string
	height  uint64
	header  cityid.Digest
	time    cityid.Time
	version uint32             // of the trust root; 0: a checkpoint
	point   *cityid.Checkpoint // nil: a trust root
	light   bool               // signatures suffice: nothing need show descent
	trusted header.Trusted
}

// anchored returns the start of the first step. vals are nil where no version
// of the trust root decides.
func anchored(s *cityid.TrustStatement, vals header.Validators) anchor {
	a := anchor{apex: s.Zone, places: true, chain: s.Chain, height: s.Height, header: s.Header, time: s.Time, version: s.Version}
	if vals != nil {
		a.trusted = trustedBy(s, vals)
	}
	return a
}

// trustedAt returns the start of the way that a checkpoint makes. Of the
// validators only the hash is known.
func trustedAt(chain string, p *cityid.Checkpoint) header.Trusted {
	t := header.Trusted{At: header.Header{ChainID: chain, Height: int64(p.Height), Time: p.Time.Std(), NextValidatorsHash: header.Hash(p.Next)}}
	if p.Height == 0 {
		t.At.Time = t.At.Time.Add(-time.Nanosecond)
	}
	return t
}

// below returns the start of a step that leads on from a checkpoint.
func below(apex cityid.Code, z *cityid.Zone) anchor {
	p := &z.Checkpoint
	return anchor{
		apex: apex, places: z.Places, chain: z.Chain, height: p.Height, header: p.Header,
		time: p.Time, point: p, trusted: trustedAt(z.Chain, p),
	}
}

func (a *anchor) what() string {
	if a.point != nil {
		return "checkpoint"
	}
	return "version"
}

func (a *anchor) name() string {
	if a.point != nil {
		return fmt.Sprintf("the checkpoint of %s at height %d", a.apex, a.height)
	}
	return fmt.Sprintf("version %d of the trust root", a.version)
}

// delegated is the zone to which a step leads.
type delegated struct {
	record *cityid.Record // of its apex
	known  *cityid.Zone
}

// checkDelegation decodes what a step says of the zone it leads to, and
// computes the root of the state in which the proofs show it.
func (c *checker) checkDelegation() (string, *finding) {
	var proofs []cityid.Bytes
	if err := cityid.Unmarshal(c.step.Proof, &proofs); err != nil || len(proofs) != 2 {
		return "", invalid(ReasonMalformed, "state proofs: want one for the record of a zone's apex and one for the zone")
	}
	record, err := decodeRecord(c.step.Values[0])
	if err != nil {
		return "", invalid(ReasonRecord, "%v", err)
	}
	known := new(cityid.Zone)
	if err := cityid.Unmarshal(c.step.Values[1], known); err != nil {
		return "", invalid(ReasonRecord, "the zone of %s can not be decoded: %v", record.Code, err)
	}
	if err := known.Checkpoint.Check(); err != nil {
		return "", invalid(ReasonRecord, "the zone of %s: %v", record.Code, err)
	}
	if known.Anchored <= 0 || !known.Anchored.Valid() {
		return "", invalid(ReasonRecord, "the zone of %s was anchored at an impossible time", record.Code)
	}
	for i, key := range [][]byte{cityid.RecordKey(record.Code), cityid.ZoneKey(record.Code)} {
		root, f := rootOfEntry(key, c.step.Values[i], proofs[i])
		switch {
		case f != nil:
			return "", f
		case i > 0 && header.Hash(root) != c.root:
			return "", invalid(ReasonProof, "the state proofs of %s and of its zone lead to different states", record.Code)
		}
		c.root = header.Hash(root)
	}
	c.next = &delegated{record, known}
	return fmt.Sprintf("%s and its zone lead to the state %s", record.Code, c.root), nil
}

// checkNext checks what the answering header says of the zone that the step
// leads to.
func (c *checker) checkNext() (string, *finding) {
	r, z := c.next.record, c.next.known
	d := r.Delegation
	switch {
	case d == nil:
		return "", invalid(ReasonRecord, "%s is not delegated: it has no zone of its own", r.Code)
	case d.Chain != z.Chain || d.Places != z.Places:
		return "", invalid(ReasonRecord, "the record of %s delegates to the chain %q, and what is known of the zone is of %q", r.Code, d.Chain, z.Chain)
	case !z.Checkpoint.Time.Std().Before(c.header.Time.Add(cityid.ClockTolerance * time.Second)):
		return "", invalid(ReasonRecord, "the checkpoint of %s is of %s, ahead of the header that commits to it, of %s", r.Code, z.Checkpoint.Time, stamp(c.header.Time))
	case z.Fork != nil:
		return "", undecided(ReasonFrozen, "the zone of %s is frozen: its validators signed two headers at height %d", r.Code, z.Fork.Height)
	}
	return fmt.Sprintf("%s is delegated to the chain %s, last seen at height %d", r.Code, z.Chain, z.Checkpoint.Height), nil
}

// CheckFrom judges a bundle of one step that leads on from a checkpoint, which
// the caller relies on: z is what the zone above knows of the zone of apex. It is
// for those who keep what a referral told them. Nothing is said about z itself: not
// whether it is still the latest, and not whether the zone is frozen.
func CheckFrom(apex cityid.Code, z *cityid.Zone, b *Bundle, opts Options) Result {
	return checkFrom(apex, z, b, opts, false)
}

func checkFrom(apex cityid.Code, z *cityid.Zone, b *Bundle, opts Options, light bool) Result {
	c := checker{opts: opts.withDefaults(), b: b, base: &cityid.Trust{}}
	c.from = below(apex, z)
	c.from.light = light
	c.res.Zones = []ZoneResult{{Zone: apex, Chain: z.Chain, Known: z}}
	c.run()
	r := c.finish()
	r.Trust = nil
	return r
}

// CheckUpstream is [CheckFrom] for a zone that asks the one above, of which it
// knows a header and no block log: signatures alone show that the answer goes on
// from that.
func CheckUpstream(up *cityid.Upstream, b *Bundle, opts Options) Result {
	return checkFrom(up.Zone, &cityid.Zone{Chain: up.Chain, Places: true, Checkpoint: up.Checkpoint}, b, opts, true)
}

// start begins with the first step.
func (c *checker) start() {
	if c.from.point != nil {
		return
	}
	s := &c.base.Statement
	c.from = anchored(s, c.vals)
	c.res.Zones = []ZoneResult{{Zone: s.Zone, Chain: s.Chain}}
}

// enter goes on to the zone that the step leads to.
func (c *checker) enter() {
	r, z := c.next.record, c.next.known
	c.from = below(r.Code, z)
	c.res.Zones = append(c.res.Zones, ZoneResult{Zone: r.Code, Chain: z.Chain, Record: r, Known: z})
	c.next = nil
}

// checkZone checks that the zone is the one to ask, or that the one it leads to
// lies inside of it and is a better one.
func (c *checker) checkZone() (string, *finding) {
	for _, code := range c.asked() {
		if !cityid.InZone(c.from.apex, c.from.places, code) {
			return "", undecided(ReasonZone, "%s is outside the zone of %s, whose chain says nothing about it", code, c.from.apex)
		}
		if c.next != nil && !cityid.InZone(c.next.record.Code, c.next.known.Places, code) {
			return "", undecided(ReasonZone, "%s is outside the zone of %s, to which the bundle leads", code, c.next.record.Code)
		}
	}
	if c.next == nil {
		return c.b.Code.String() + " belongs to the zone of " + c.from.apex.String(), nil
	}
	if apex := c.next.record.Code; apex == c.from.apex || !cityid.InZone(c.from.apex, c.from.places, apex) {
		return "", invalid(ReasonRecord, "the zone of %s is not inside that of %s", apex, c.from.apex)
	}
	return c.b.Code.String() + " belongs to the zone of " + c.next.record.Code.String() + ", inside that of " + c.from.apex.String(), nil
}

// asked returns the codes that the bundle answers about.
func (c *checker) asked() []cityid.Code {
	codes := []cityid.Code{c.b.Code}
	for _, k := range c.b.Keys {
		if code, _ := cityid.CodeOfEntryKey(k); code != codes[len(codes)-1] {
			codes = append(codes, code)
		}
	}
	return codes
}

// checkApex checks that the zone does not deny its apex, whose record the zone
// above has shown.
func (c *checker) checkApex() *finding {
	apex, denied := c.from.apex, false
	switch c.b.Kind {
	case cityid.AnswerRecord, cityid.AnswerHistory:
		denied = c.b.Code == apex && len(c.b.Values) == 0
	case cityid.AnswerEntries:
		i := slices.IndexFunc(c.b.Keys, func(k cityid.Bytes) bool { return bytes.Equal(k, cityid.RecordKey(apex)) })
		denied = i >= 0 && len(c.b.Values[i]) == 0
	}
	if denied && c.from.point != nil {
		return invalid(ReasonRecord, "the zone of %s says that %s is not allocated, and the zone above shows that it is", apex, apex)
	}
	return nil
}

// unauthorized returns the codes about which the answer says something that a
// zone below might know better: what is absent, what lies below a code, and what
// a code does rather than is. A record that is there shows by itself that no
// zone has it, for a zone above keeps no records of those below.
func (b *Bundle) unauthorized() (codes []cityid.Code) {
	switch b.Kind {
	case cityid.AnswerReferral:
		return nil
	case cityid.AnswerEntries:
		for i, k := range b.Keys {
			code, _ := cityid.CodeOfEntryKey(k)
			own := k[0] == 'r' || k[0] == 'h' || k[0] == 'z'
			if own && len(b.Values[i]) > 0 || len(codes) > 0 && codes[len(codes)-1] == code {
				continue
			}
			codes = append(codes, code)
		}
		return codes
	case cityid.AnswerRecord, cityid.AnswerHistory:
		if len(b.Values) > 0 {
			return nil
		}
	}
	return []cityid.Code{b.Code}
}

// shown is a proof about the zone of a code.
type shown struct {
	key   []byte
	proof merkle.Proof
}

// authority goes through the codes that may have been delegated so that another
// zone answers about codes, and calls show for each that the proofs so far do
// not exclude. show returns a proof about the code's zone. Prover and checker
// both walk so, and agree on which proofs there are.
func authority(apex cityid.Code, codes []cityid.Code, show func(cityid.Code) (merkle.Proof, *finding)) *finding {
	var have []shown
	done := map[cityid.Code]bool{}
	for _, code := range codes {
	delegators:
		for _, d := range cityid.Delegators(apex, code) {
			if done[d] {
				continue
			}
			done[d] = true
			key := cityid.ZoneKey(d)
			for _, s := range have {
				if s.proof.Excludes(s.key, key) {
					continue delegators
				}
			}
			p, f := show(d)
			if f != nil {
				return f
			}
			have = append(have, shown{key, p})
		}
	}
	return nil
}

// checkAuthority checks that no zone below is the one to answer.
func (c *checker) checkAuthority() (string, *finding) {
	list := c.step.Authority
	codes := c.b.unauthorized()
	f := authority(c.from.apex, codes, func(d cityid.Code) (p merkle.Proof, f *finding) {
		if len(list) == 0 {
			return p, invalid(ReasonMalformed, "authority: there is no proof about a zone of %s", d)
		}
		a := list[0]
		list = list[1:]
		root, f := rootOfEntry(cityid.ZoneKey(d), a.Value, a.Proof)
		if f != nil {
			return p, f
		}
		if header.Hash(root) != c.root {
			return p, invalid(ReasonProof, "the proof about a zone of %s leads to another state than the answer's", d)
		}
		if len(a.Value) > 0 {
			if f := reaches(d, a.Value, codes); f != nil {
				return p, f
			}
		}
		if err := p.UnmarshalBinary(a.Proof); err != nil {
			return p, invalid(ReasonMalformed, "state proof: %v", err)
		}
		return p, nil
	})
	if f == nil && len(list) > 0 {
		f = invalid(ReasonMalformed, "authority: %d superfluous proofs", len(list))
	}
	return "no zone below that of " + c.from.apex.String() + " is the one to ask", f
}

// reaches finds fault with a zone that is there if it is the one to ask about
// one of codes.
func reaches(apex cityid.Code, value []byte, codes []cityid.Code) *finding {
	var z cityid.Zone
	if err := cityid.Unmarshal(value, &z); err != nil {
		return invalid(ReasonRecord, "the zone of %s can not be decoded: %v", apex, err)
	}
	for _, code := range codes {
		if cityid.InZone(apex, z.Places, code) {
			return undecided(ReasonZone, "%s has a zone of its own, and that is the one to ask about %s", apex, code)
		}
	}
	return nil
}

// tagBase returns the digest that ties a bundle which leads on from a zone's
// header to it: the header's hash or, at height 0, that of the chain id.
func tagBase(chain string, height uint64, hash cityid.Digest) cityid.Digest {
	if height == 0 {
		return sha256.Sum256([]byte(chain))
	}
	return hash
}
