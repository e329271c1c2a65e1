// SPDX-License-Identifier: Apache-2.0

package verify_test

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"cityid"
	"cityid/header"
	"cityid/merkle"
	"cityid/verify"
)

var update = flag.Bool("update", false, "write the vectors anew")

const vectorDir = "../testdata/vectors"

// vector is a file in testdata/vectors; its README.md describes the fields.
type vector struct {
	Description string            `json:"description"`
	Trust       cityid.Trust      `json:"trust"`
	Bundle      cityid.Bytes      `json:"bundle"`
	Code        cityid.Code       `json:"code"`
	Kind        cityid.AnswerKind `json:"kind"`
	Keys        []cityid.Bytes    `json:"keys,omitempty"`
	Now         time.Time         `json:"now"`
	At          time.Time         `json:"at,omitzero"`
	Want        want              `json:"want"`
}

type want struct {
	Verdict   verify.Verdict `json:"verdict"`
	Reason    verify.Reason  `json:"reason,omitempty"`
	Height    uint64         `json:"height,omitempty"`
	Time      time.Time      `json:"time,omitzero"`
	Trust     uint32         `json:"trust,omitempty"`
	Allocated bool           `json:"allocated,omitempty"`
	Revision  uint32         `json:"revision,omitempty"`
	Records   []string       `json:"records,omitempty"`
	There     []bool         `json:"there,omitempty"`
	Zones     []wantZone     `json:"zones,omitempty"`
}

// wantZone is one zone of a way through several.
type wantZone struct {
	Zone   string         `json:"zone"`
	Chain  string         `json:"chain"`
	Height uint64         `json:"height,omitempty"`
	Time   time.Time      `json:"time,omitzero"`
	Status *cityid.Status `json:"status,omitempty"`
}

func (v *vector) options() verify.Options {
	o := verify.Options{Now: v.Now, At: v.At, Code: v.Code, Kind: v.Kind}
	for _, k := range v.Keys {
		o.Keys = append(o.Keys, k)
	}
	return o
}

func (v *vector) check() (verify.Result, want) {
	r := verify.CheckEncoded(&v.Trust, v.Bundle, v.options())
	w := want{Verdict: r.Verdict, Reason: r.Reason}
	if r.Verdict != verify.Valid {
		return r, w
	}
	w.Height, w.Time, w.Trust, w.Allocated = r.AsOf.Height, r.AsOf.Time, r.Trust.Statement.Version, r.Allocated
	if r.Record != nil {
		w.Revision = r.Record.Revision
	}
	for _, x := range r.Records {
		if r.Kind != cityid.AnswerHistory {
			w.Records = append(w.Records, x.Code.String())
		}
	}
	for _, e := range r.Entries {
		w.There = append(w.There, e.Value != nil)
	}
	for i := range r.Zones {
		if len(r.Zones) > 1 {
			w.Zones = append(w.Zones, zoneOf(&r.Zones[i]))
		}
	}
	return r, w
}

func zoneOf(z *verify.ZoneResult) wantZone {
	w := wantZone{Zone: z.Zone.String(), Chain: z.Chain, Height: z.AsOf.Height, Time: z.AsOf.Time}
	if z.Record != nil {
		w.Status = &z.Record.Status
	}
	return w
}

// maker collects vectors.
type maker struct {
	t    testing.TB
	c    *chain
	list map[string]*vector
}

// add adds a vector. The time is a while after the head of the bundle.
func (m *maker) add(name, description string, trust int, b *verify.Bundle, head int, verdict verify.Verdict, reason verify.Reason) *vector {
	m.t.Helper()
	data, err := cityid.Marshal(b)
	if err != nil {
		m.t.Fatal(err)
	}
	if m.list[name] != nil {
		m.t.Fatalf("two vectors are called %s", name)
	}
	v := &vector{
		Description: description, Trust: m.c.trusts[trust-1], Bundle: data, Code: b.Code, Kind: b.Kind, Keys: b.Keys,
		Now: m.c.at(head).header.Time.Add(30 * time.Second).Truncate(time.Second), Want: want{Verdict: verdict, Reason: reason},
	}
	m.list[name] = v
	return v
}

const (
	city       = "MA.156.1301"
	department = "MA.156.1301.01"
	nowhere    = "MA.156.1301.09"
)

func makeVectors(t testing.TB) map[string]*vector {
	m := &maker{t, story(), map[string]*vector{}}
	m.good()
	m.undecided()
	m.badState()
	m.badHeader()
	m.badTrust()
	m.entries()
	m.badEntries()
	m.zones()
	return m.list
}

func (m *maker) good() {
	t, c := m.t, m.c
	add := func(name, description string, trust int, b *verify.Bundle, head int) *vector {
		return m.add("good-"+name, description, trust, b, head, verify.Valid, "")
	}
	way := c.way(t, 1, 1, 11)
	s := c.before(11)
	add("record", "the record of a city, from the founding validators", 1, record(t, way, s, city), 11)
	add("record-first-block", "the header of height 1, which has the genesis time", 1, record(t, c.way(t, 1, 1, 1), c.before(1), city), 1)
	add("absence", "a code that is not allocated", 1, record(t, way, s, nowhere), 11)
	add("children", "the codes directly below a city", 1, listing(t, way, s, city, cityid.AnswerChildren), 11)
	add("children-none", "the codes directly below a lamp: none", 1, listing(t, way, s, department+"/20.010203/000001", cityid.AnswerChildren), 11)
	add("descendants", "all codes below a city", 1, listing(t, way, s, city, cityid.AnswerDescendants), 11)
	add("history", "all revisions of a record", 1, history(t, way, s, city), 11)
	add("history-absent", "the history of a code that is not allocated", 1, history(t, way, s, nowhere), 11)
	add("history-earlier", "a history tells what was in force earlier: revision 2", 1, history(t, way, s, city), 11).At = c.at(7).header.Time
	late := c.before(24)
	add("history-before", "a history tells that the code was not allocated earlier", 4, history(t, c.way(t, 4, 4, 34), c.before(34), "MA.156.1301.06"), 34).At = c.at(21).header.Time
	add("absence-earlier", "what is absent was absent before, as codes are never deleted", 1, record(t, way, s, nowhere), 11).At = c.at(3).header.Time
	add("record-earlier", "a record not changed since the time wanted", 1, record(t, way, s, city), 11).At = c.at(10).header.Time
	add("validators-skip", "one validator of four was replaced: three of the trust root's sign", 1, record(t, c.way(t, 1, 1, 17), c.before(17), city), 17)
	add("validators-transition", "all validators were replaced: a transition names the new ones", 1, record(t, c.way(t, 1, 1, 24), late, city), 24)
	add("trust-carried", "two newer versions of the trust root are carried", 1, record(t, c.way(t, 1, 3, 27), c.before(27), city), 27)
	add("trust-own-header", "the head is the trust root's own header", 2, record(t, c.way(t, 2, 2, 15), c.before(15), city), 15)
	add("trust-below", "the head is older than the trust root and signed by its validators", 2, record(t, c.way(t, 2, 2, 14), c.before(14), city), 15)
	old := add("archive", "an answer of five years ago, shown by the block log of a recent head", 4, record(t, c.link(t, c.way(t, 4, 4, 34), 11), s, city), 34)
	old.At = c.at(11).header.Time.Add(5 * time.Minute)
	add("archive-below", "the same with a head below the trust root", 4, record(t, c.link(t, c.way(t, 4, 4, 31), 11), s, city), 34).At = old.At
	add("archive-history", "the archived history, for a time before its header", 4, history(t, c.link(t, c.way(t, 4, 4, 34), 11), s, city), 34).At = c.at(6).header.Time
}

func (m *maker) undecided() {
	t, c := m.t, m.c
	add := func(name, description string, trust int, b *verify.Bundle, head int, reason verify.Reason) *vector {
		return m.add("undecided-"+name, description, trust, b, head, verify.Undecided, reason)
	}
	way, s := c.way(t, 1, 1, 11), c.before(11)
	b := record(t, way, s, city)
	add("stale", "the head is an hour and a second old", 1, b, 11, verify.ReasonStale).Now = c.at(11).header.Time.Add(time.Hour + time.Second)
	add("stale-at", "the time wanted is later than the head by more than an hour", 1, b, 34, verify.ReasonStale).At = c.at(11).header.Time.Add(time.Hour + time.Second)
	add("ahead", "the head is ahead of the clock", 1, b, 11, verify.ReasonClock).Now = c.at(11).header.Time.Add(-20 * time.Second)
	add("future", "the time wanted has not come", 1, b, 11, verify.ReasonClock).At = c.at(11).header.Time.Add(time.Minute)
	add("changed-since", "the record was changed after the time wanted", 1, b, 11, verify.ReasonChangedSince).At = c.at(7).header.Time
	add("listing-changed-since", "an entry of the listing was allocated after the time wanted", 1, listing(t, c.way(t, 1, 1, 24), c.before(24), city, cityid.AnswerChildren), 24, verify.ReasonChangedSince).At = c.at(21).header.Time
	add("trust-expired", "the head is later than the trust root by more than the trusting period", 3, record(t, c.way(t, 3, 3, 34), c.before(34), city), 34, verify.ReasonTrustExpired)
	add("trust-gap", "the trust root versions carried begin after a gap", 1, record(t, c.way(t, 2, 3, 27), c.before(27), city), 27, verify.ReasonOtherTrust)
	add("trust-gap-tag", "the same, under the tag of the verifier's version", 1, mutate(t, record(t, c.way(t, 2, 3, 27), c.before(27), city), func(b *verify.Bundle) {
		b.Trust = verify.TagOf(&c.trusts[0], b.Kind, b.Code)
	}), 27, verify.ReasonOtherTrust)
	add("trust-known", "of the trust root versions carried the verifier holds the first", 2, record(t, c.way(t, 1, 3, 27), c.before(27), city), 27, verify.ReasonOtherTrust)
	add("trust-other", "made for version 2 of the trust root, judged by version 1", 1, record(t, c.way(t, 2, 2, 17), c.before(17), city), 17, verify.ReasonOtherTrust)
	add("trust-below", "the head is older than the trust root and signed by other validators", 3, record(t, c.way(t, 3, 3, 17), c.before(17), city), 27, verify.ReasonNotConnected)
	add("trust-below-period", "the head is older than the trust root by more than the trusting period", 4, record(t, c.way(t, 4, 4, 29), c.before(29), city), 34, verify.ReasonNotConnected)
	add("archive-trust-expired", "an archived answer under a head that is later than the trust root by more than the trusting period", 3, record(t, c.link(t, c.way(t, 3, 3, 34), 11), s, city), 34, verify.ReasonTrustExpired).At = c.at(11).header.Time
	add("outside-zone", "a code of another agency", 1, record(t, way, s, "MB.1"+"56.1301"), 11, verify.ReasonZone)
	add("question", "another code in an answer of absence, which is true of both", 1, mutate(t, record(t, way, s, "MA.156.1301.98"), func(b *verify.Bundle) {
		b.Code = cityid.MustParse("MA.156.1301.99")
	}), 11, verify.ReasonOtherTrust)
	add("version", "a version of the format that does not exist yet", 1, mutate(t, b, func(b *verify.Bundle) { b.Version = 2 }), 11, verify.ReasonUnsupported)
	later := add("version-fields", "the same, with a field that version 1 has not", 1, b, 11, verify.ReasonUnsupported)
	later.Bundle = append(encode(t, b), 0x08, 0xf5)
	later.Bundle[0]++   // the number of fields
	later.Bundle[2] = 2 // the version

	f := foreign()
	alien := record(t, f.way(t, 1, 1, 8), f.before(8), city)
	add("foreign-root", "a foreign chain of the same name, with its own trust root", 1, alien, 11, verify.ReasonOtherTrust)
	add("foreign", "a foreign chain of the same name, said to lead on from the trust root, with its validators", 1, mutate(t, alien, func(b *verify.Bundle) {
		b.Trust = verify.TagOf(&c.trusts[0], b.Kind, b.Code)
		b.Steps[0].Head.Validators = must(f.at(8).set.validators().MarshalBinary())
	}), 11, verify.ReasonNotConnected)
	m.add("bad-foreign", "a foreign chain of the same name, as if the trust root's validators had signed it", 1, mutate(t, alien, func(b *verify.Bundle) {
		b.Trust = verify.TagOf(&c.trusts[0], b.Kind, b.Code)
	}), 11, verify.Invalid, verify.ReasonSignature)
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// mutate returns a changed copy of a bundle.
func mutate(t testing.TB, b *verify.Bundle, f func(*verify.Bundle)) *verify.Bundle {
	c := must(verify.Decode(encode(t, b)))
	f(c)
	return c
}

// mutateProof changes the state proof of a record.
func mutateProof(b *verify.Bundle, f func(*merkle.Proof)) {
	var p merkle.Proof
	if err := p.UnmarshalBinary(b.Steps[0].Proof); err != nil {
		panic(err)
	}
	f(&p)
	b.Steps[0].Proof = must(p.MarshalBinary())
}

// mutateHeader changes the header of a light block.
func mutateHeader(l *cityid.LightBlock, f func(*header.Header)) {
	h := must(header.DecodeStripped(l.Header))
	f(h)
	l.Header = must(header.EncodeStripped(h, !h.AppHash.IsZero()))
}

// mutateCommit changes the commit of a light block.
func mutateCommit(l *cityid.LightBlock, f func(*header.Commit)) {
	var c header.Commit
	if err := c.UnmarshalBinary(l.Commit); err != nil {
		panic(err)
	}
	f(&c)
	l.Commit = must(c.MarshalBinary())
}

// badState are answers that the state does not give.
func (m *maker) badState() {
	t, c := m.t, m.c
	way, s := c.way(t, 1, 1, 11), c.before(11)
	add := func(name, description string, b *verify.Bundle, reason verify.Reason, f func(*verify.Bundle)) *vector {
		return m.add("bad-"+name, description, 1, mutate(t, b, func(b *verify.Bundle) {
			f(b)
			b.Trust = verify.TagOf(&c.trusts[0], b.Kind, b.Code) // a forger would
		}), 11, verify.Invalid, reason)
	}
	b, none := record(t, way, s, city), record(t, way, s, nowhere)
	list, hist := listing(t, way, s, city, cityid.AnswerChildren), history(t, way, s, city)

	add("code", "another code over the record", b, verify.ReasonRecord, func(b *verify.Bundle) { b.Code = cityid.MustParse("MA.156.1302") })
	add("record", "another name in the record", b, verify.ReasonSignature, func(b *verify.Bundle) {
		b.Values[0] = bytes.Replace(b.Values[0], []byte("Record of"), []byte("Racord of"), 1)
	})
	add("record-older", "an earlier revision in place of the latest", b, verify.ReasonSignature, func(b *verify.Bundle) { b.Values[0] = hist.Values[1] })
	add("path", "a hash of the path", b, verify.ReasonSignature, func(b *verify.Bundle) {
		mutateProof(b, func(p *merkle.Proof) { p.Steps[3].Sibling[5] ^= 1 })
	})
	add("path-short", "a step of the path left out", b, verify.ReasonSignature, func(b *verify.Bundle) {
		mutateProof(b, func(p *merkle.Proof) { p.Steps = append(p.Steps[:3:3], p.Steps[4:]...) })
	})
	add("branch-bit", "a branch bit of the path", none, verify.ReasonProof, func(b *verify.Bundle) {
		mutateProof(b, func(p *merkle.Proof) { p.Steps[0].Bit-- })
	})
	add("branch-bit-order", "branch bits of the path that do not increase", b, verify.ReasonMalformed, func(b *verify.Bundle) {
		p := b.Steps[0].Proof
		copy(p[1:3], p[1+34:3+34]) // of the second step, over the first
	})
	add("absence", "a record left out, over its proof of existence", b, verify.ReasonProof, func(b *verify.Bundle) { b.Values = nil })
	add("absence-neighbour", "absence claimed for an existing code, with the proof for a neighbour that is absent", none, verify.ReasonProof, func(b *verify.Bundle) {
		b.Code = cityid.MustParse(department)
	})
	without := s.tree.Edit()
	without.Delete(cityid.RecordKey(cityid.MustParse(department)))
	absent := must(without.Tree().Prove(cityid.RecordKey(cityid.MustParse(department))))
	add("absence-state", "absence claimed for an existing code, in a state made up without it", none, verify.ReasonSignature, func(b *verify.Bundle) {
		b.Code, b.Steps[0].Proof = cityid.MustParse(department), must(absent.MarshalBinary())
		madeUp(b, without.Tree())
	})
	add("listing-value", "a listing with the last record left out", list, verify.ReasonProof, func(b *verify.Bundle) { b.Values = b.Values[:len(b.Values)-1] })
	shorter := s.tree.Edit()
	shorter.Delete(cityid.RecordKey(cityid.MustParse("MA.156.1301.05")))
	rest, _, err := shorter.Tree().ProveRange(verify.Range(cityid.MustParse(city), cityid.AnswerChildren))
	if err != nil {
		t.Fatal(err)
	}
	add("listing-entry", "a listing with one entry left out, in a state made up without it", list, verify.ReasonSignature, func(b *verify.Bundle) {
		b.Steps[0].Proof, b.Values = must(rest.MarshalBinary()), b.Values[:len(b.Values)-1]
		madeUp(b, shorter.Tree())
	})
	part := cityid.RecordPrefix(city + ".")
	narrow, entries, err := s.tree.ProveRange(merkle.Range{Lo: part, Hi: append(part[:len(part):len(part)], "05"...), Shallow: true})
	if err != nil {
		t.Fatal(err)
	}
	add("listing-range", "a listing of a part of the range", list, verify.ReasonProof, func(b *verify.Bundle) {
		b.Steps[0].Proof, b.Values = must(narrow.MarshalBinary()), b.Values[:len(entries)]
	})
	add("listing-order", "a listing with two records exchanged", list, verify.ReasonRecord, func(b *verify.Bundle) {
		b.Values[0], b.Values[1] = b.Values[1], b.Values[0]
	})
	add("listing-kind", "the children passed off as all descendants", list, verify.ReasonProof, func(b *verify.Bundle) { b.Kind = cityid.AnswerDescendants })
	add("history-gap", "a history without its middle revision", hist, verify.ReasonRecord, func(b *verify.Bundle) {
		b.Values = append(b.Values[:1:1], b.Values[2])
	})
	add("history-end", "a history without its first revision", hist, verify.ReasonRecord, func(b *verify.Bundle) { b.Values = b.Values[:2] })
	add("history-forged", "another name in the first revision", hist, verify.ReasonRecord, func(b *verify.Bundle) {
		b.Values[2] = bytes.Replace(b.Values[2], []byte("Record of"), []byte("Racord of"), 1)
	})
	add("state-other-height", "the proof and record of another height", b, verify.ReasonSignature, func(b *verify.Bundle) {
		other := record(t, way, c.before(8), city)
		b.Steps[0].Proof, b.Values = other.Steps[0].Proof, other.Values
	})
	add("question", "a true answer to another question", b, verify.ReasonQuestion, func(*verify.Bundle) {}).Code = cityid.MustParse(department)
	add("trailing", "an octet after the bundle", b, verify.ReasonMalformed, func(*verify.Bundle) {}).Bundle = append(encode(t, b), 0)
	add("cut", "the last octet missing", b, verify.ReasonMalformed, func(*verify.Bundle) {}).Bundle = encode(t, b)[:len(encode(t, b))-1]
	loose := append([]byte{0xb8, encode(t, b)[0] & 0x1f}, encode(t, b)[1:]...)
	add("not-canonical", "a head of two octets where one does", b, verify.ReasonMalformed, func(*verify.Bundle) {}).Bundle = loose
}

// madeUp proves in a state that somebody made up that no zone is the one to ask.
func madeUp(b *verify.Bundle, tree merkle.Tree) {
	for i, code := 0, b.Code; i < len(b.Steps[0].Authority); i, code = i+1, code.Parent() {
		b.Steps[0].Authority[i].Proof = must(must(tree.Prove(cityid.ZoneKey(code))).MarshalBinary())
	}
}

// badHeader are headers that the validators did not sign.
func (m *maker) badHeader() {
	t, c := m.t, m.c
	b := record(t, c.way(t, 1, 1, 11), c.before(11), city)
	skip := record(t, c.way(t, 1, 1, 17), c.before(17), city)
	moved := record(t, c.way(t, 1, 1, 24), c.before(24), city)
	old := record(t, c.link(t, c.way(t, 4, 4, 34), 11), c.before(11), city)
	at := map[*verify.Bundle][2]int{b: {1, 11}, skip: {1, 17}, moved: {1, 24}, old: {4, 34}}
	add := func(name, description string, b *verify.Bundle, reason verify.Reason, f func(*verify.Bundle)) *vector {
		return m.add("bad-"+name, description, at[b][0], mutate(t, b, f), at[b][1], verify.Invalid, reason)
	}
	head := func(b *verify.Bundle) *cityid.LightBlock { return &b.Steps[0].Head }

	add("header-time", "a later time in the header", b, verify.ReasonSignature, func(b *verify.Bundle) {
		mutateHeader(head(b), func(h *header.Header) { h.Time = h.Time.Add(time.Second) })
	})
	add("header-height", "another height in the header", b, verify.ReasonSignature, func(b *verify.Bundle) {
		mutateHeader(head(b), func(h *header.Header) { h.Height++ })
	})
	add("header-app-hash", "the app hash in a header whose app hash follows from the proof", b, verify.ReasonMalformed, func(b *verify.Bundle) {
		head(b).Header = must(header.EncodeStripped(c.at(11).header, true))
	})
	add("transition-superfluous", "a transition at which no validators changed", b, verify.ReasonMalformed, func(b *verify.Bundle) {
		l := record(t, c.way(t, 1, 1, 6), c.before(6), city).Steps[0].Head
		l.Header = must(header.EncodeStripped(c.at(6).header, true))
		b.Steps[0].Transitions = []cityid.LightBlock{l}
	})
	add("header-next", "other next validators in the header of a transition", moved, verify.ReasonSignature, func(b *verify.Bundle) {
		mutateHeader(&b.Steps[0].Transitions[0], func(h *header.Header) { h.NextValidatorsHash[0] ^= 1 })
	})
	add("signature", "a bit of a signature", b, verify.ReasonSignature, func(b *verify.Bundle) {
		mutateCommit(head(b), func(c *header.Commit) { c.Votes[1].Signature[40] ^= 4 })
	})
	add("signature-time", "another time of a vote", b, verify.ReasonSignature, func(b *verify.Bundle) {
		mutateCommit(head(b), func(c *header.Commit) { c.Votes[1].Time = c.Votes[1].Time.Add(1) })
	})
	add("signature-missing", "half of the power signed", b, verify.ReasonSignature, func(b *verify.Bundle) {
		mutateCommit(head(b), func(c *header.Commit) { c.Votes = c.Votes[:2] })
	})
	add("signature-superfluous", "a fourth signature where three suffice", b, verify.ReasonSignature, func(b *verify.Bundle) {
		head(b).Commit = must(c.at(11).commit.MarshalBinary())
	})
	add("signer-twice", "one validator's signature counted for two", b, verify.ReasonSignature, func(b *verify.Bundle) {
		mutateCommit(head(b), func(c *header.Commit) {
			c.Votes[1].Time, c.Votes[1].Signature = c.Votes[0].Time, c.Votes[0].Signature
		})
	})
	add("validator-twice", "a validator listed twice", skip, verify.ReasonMalformed, func(b *verify.Bundle) {
		v := c.at(17).set.validators()
		data := binary.AppendUvarint(nil, uint64(len(v)))
		for i := range v {
			data = append(data, v[i-i%2].PublicKey[:]...)
			data = binary.AppendUvarint(data, uint64(v[i].Power))
		}
		head(b).Validators = data
	})
	add("power", "more power for one validator", skip, verify.ReasonSignature, func(b *verify.Bundle) {
		v := c.at(17).set.validators()
		v[0].Power += 30
		head(b).Validators = must(v.MarshalBinary())
	})
	add("validators-written-out", "validators given that the trust root names", b, verify.ReasonMalformed, func(b *verify.Bundle) {
		head(b).Validators = must(c.at(11).set.validators().MarshalBinary())
	})
	add("step-other-height", "header and signatures of another height over the same record", b, verify.ReasonSignature, func(b *verify.Bundle) {
		*head(b) = record(t, c.way(t, 1, 1, 8), c.before(8), city).Steps[0].Head
	})
	add("commit-other-height", "signatures of another height", b, verify.ReasonSignature, func(b *verify.Bundle) {
		head(b).Commit = record(t, c.way(t, 1, 1, 8), c.before(8), city).Steps[0].Head.Commit
	})
	add("transition-left-out", "the transition left out, the new validators given", moved, verify.ReasonSignature, func(b *verify.Bundle) {
		b.Steps[0].Transitions = nil
		head(b).Validators = nil
	})
	m.add("undecided-transition-left-out", "the transition left out, the new validators given", 1, mutate(t, moved, func(b *verify.Bundle) {
		b.Steps[0].Transitions = nil
	}), 24, verify.Undecided, verify.ReasonNotConnected)
	link := func(b *verify.Bundle) *verify.LogLink { return b.Steps[0].Log }
	when := c.at(11).header.Time.Add(time.Minute)
	add("log-header", "another time in the archived header", old, verify.ReasonSignature, func(b *verify.Bundle) {
		h := cityid.LightBlock{Header: link(b).Header}
		mutateHeader(&h, func(h *header.Header) { h.Time = h.Time.Add(time.Second) })
		link(b).Header = h.Header
	}).At = when
	add("log-position", "the archived header at another place of the block log", old, verify.ReasonSignature, func(b *verify.Bundle) { link(b).First = 2; link(b).Size-- }).At = when
	add("log-size", "a block log that goes beyond its header", old, verify.ReasonProof, func(b *verify.Bundle) { link(b).Size += 20 }).At = when
	add("log-record", "another name in the archived record", old, verify.ReasonSignature, func(b *verify.Bundle) {
		b.Values[0] = bytes.Replace(b.Values[0], []byte("Record of"), []byte("Racord of"), 1)
	}).At = when
	m.forks(old)
}

// forks are chains that the validators did sign, beside the one that the trust
// root names.
func (m *maker) forks(old *verify.Bundle) {
	t, c := m.t, m.c
	trust := c.at(15).header.Time
	sibling := func(height int, change func(*header.Header)) verify.SignedHeader {
		s := c.at(height).signed()
		h := *s.Header
		change(&h)
		return verify.SignedHeader{Header: &h, Validators: s.Validators, Commit: c.at(height).set.sign(&h, everyone)}
	}
	add := func(name, description string, head verify.SignedHeader, s state) {
		w := &verify.Way{Trust: &c.trusts[1], Head: head}
		m.add("bad-"+name, description, 2, record(t, w, s, city), 17, verify.Invalid, verify.ReasonFork).Now = trust.Add(time.Minute).Truncate(time.Second)
	}
	add("fork", "a second header at the trust root's height, signed by its validators", sibling(15, func(h *header.Header) { h.Time = h.Time.Add(1) }), c.before(15))
	add("fork-below", "a header below the trust root's, and later", sibling(14, func(h *header.Header) { h.Time = trust.Add(2 * time.Second) }), c.before(14))
	m.add("bad-fork-above", "a header after the trust root's, and earlier", 2, record(t, &verify.Way{
		Trust: &c.trusts[1], Head: sibling(17, func(h *header.Header) { h.Time = trust.Add(-2 * time.Second) }),
	}, c.before(17), city), 17, verify.Invalid, verify.ReasonSignature)
}

// badTrust are versions of the trust root that do not follow.
func (m *maker) badTrust() {
	t, c := m.t, m.c
	add := func(name, description string, trust int, f func(b *verify.Bundle)) {
		from := min(trust, 2)
		b := record(t, c.way(t, from, 3, 27), c.before(27), city)
		m.add("bad-trust-"+name, description, trust, mutate(t, b, f), 27, verify.Invalid, verify.ReasonTrust)
	}
	add("signature", "a bit of an officer's signature", 1, func(b *verify.Bundle) { b.Versions[0].Signatures[1].Signature[7] ^= 1 })
	add("quorum", "one officer's signature where two are needed", 1, func(b *verify.Bundle) { b.Versions[0].Signatures = b.Versions[0].Signatures[:1] })
	add("superfluous", "a third officer's signature where two suffice", 1, func(b *verify.Bundle) { b.Versions[0] = c.trusts[1] })
	add("stranger", "the signatures of strangers", 1, func(b *verify.Bundle) {
		b.Versions[0] = signTrust(c.trusts[1].Statement, "li", "zhou")
	})
	add("validators", "other validators in a version, under the old signatures", 1, func(b *verify.Bundle) {
		b.Versions[1].Statement.Validators = powers(names("w x y z"))
	})
	add("renumbered", "version 2 replayed as version 3, under its old signatures", 2, func(b *verify.Bundle) {
		older := verify.Bundle{Versions: record(t, c.way(t, 1, 2, 17), c.before(17), city).Versions}.Versions[0]
		older.Statement.Version, older.Statement.Prev = 3, c.trusts[1].Statement.Hash()
		b.Versions[0] = older
	})
	add("older", "a version 3, properly signed, that goes back to an older header", 2, func(b *verify.Bundle) {
		s := c.trusts[1].Statement
		s.Version, s.Prev = 3, s.Hash()
		s.Height, s.Header, s.Time = 8, cityid.Digest(c.at(8).header.Hash()), cityid.TimeOf(c.at(8).header.Time)
		b.Versions[0] = signTrust(s, "zhao", "qian")
	})
	add("repeated", "the same version twice", 1, func(b *verify.Bundle) { b.Versions[1] = b.Versions[0] })
	add("contradicts", "another version 2 than the verifier holds, properly signed", 2, func(b *verify.Bundle) {
		s := c.trusts[1].Statement
		s.Validators = powers(names("w x y z"))
		b.Versions[0] = signTrust(s, "zhao", "qian")
	})
	add("branch", "a version 2 that is not the one before the verifier's version 3", 3, func(b *verify.Bundle) {
		s := c.trusts[1].Statement
		s.Validators = powers(names("w x y z"))
		b.Versions[0] = signTrust(s, "zhao", "qian")
	})
}

func vectorFile(name string) string { return filepath.Join(vectorDir, "bundle-"+name+".json") }

func TestVectors(t *testing.T) {
	made := makeVectors(t)
	if *update {
		stale, err := filepath.Glob(vectorFile("*"))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range stale {
			if err := os.Remove(f); err != nil {
				t.Fatal(err)
			}
		}
	}
	for name, v := range made {
		t.Run(name, func(t *testing.T) {
			r, got := v.check()
			if got.Verdict != v.Want.Verdict || got.Reason != v.Want.Reason {
				t.Fatalf("%s: %s %q, want %s %q\n%s\n%+v", v.Description, got.Verdict, got.Reason, v.Want.Verdict, v.Want.Reason, r.Message, r.Checks)
			}
			if *update {
				v.Want = got
				data := must(json.MarshalIndent(v, "", "  "))
				if err := os.WriteFile(vectorFile(name), append(data, '\n'), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			file, err := os.ReadFile(vectorFile(name))
			if err != nil {
				t.Fatal(err)
			}
			var want vector
			if err := json.Unmarshal(file, &want); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(want.Bundle, v.Bundle) || want.Trust.Statement.Hash() != v.Trust.Statement.Hash() {
				t.Error("the bundle or trust root made now differs from the file: run with -update if that is meant")
			}
			if _, got := want.check(); !cmp.Equal(got, want.Want) {
				t.Error(cmp.Diff(want.Want, got))
			}
		})
	}
	files, err := filepath.Glob(vectorFile("*"))
	if err != nil || len(files) != len(made) {
		t.Errorf("%d files for %d vectors (%v)", len(files), len(made), err)
	}
}
