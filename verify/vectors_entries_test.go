// SPDX-License-Identifier: Apache-2.0

package verify_test

import (
	"bytes"
	"slices"

	"cityid"
	"cityid/merkle"
	"cityid/verify"
)

// entries are answers about keys of the state.
func (m *maker) entries() {
	t, c := m.t, m.c
	add := func(name, description string, b *verify.Bundle, head int) *vector {
		return m.add("good-entries-"+name, description, 4, b, head, verify.Valid, "")
	}
	way, s := c.way(t, 4, 4, 36), c.before(36)
	all := keysOf("agreement, dataset, department, revision, anchor 1, anchor 2, attestation")
	add("one", "an agreement", entries(t, way, s, keysOf("agreement")), 36)
	add("several", "an agreement, its dataset, the record of the holder, an earlier revision of the city, two anchors and an attestation", entries(t, way, s, all), 36)
	add("absent", "an agreement that there is not", entries(t, way, s, keysOf("no agreement")), 36)
	add("mixed", "some that are there, between some that are not", entries(t, way, s, keysOf("agreement, no agreement, nowhere, department, no revision, anchor 2, anchor 3")), 36)
	add("dataset", "the record of a dataset, as an entry", entries(t, way, s, keysOf("dataset")), 36)
	m.add("good-record-dataset", "the record of a dataset, which says what is shared", 4, record(t, way, s, dataset.String()), 36, verify.Valid, "")
	add("archive", "entries of an older header, shown by the block log", entries(t, c.link(t, c.way(t, 4, 4, 38), 36), s, all), 38).At = c.at(36).header.Time

	undecided := func(name, description string, b *verify.Bundle, reason verify.Reason) *vector {
		return m.add("undecided-entries-"+name, description, 4, b, 36, verify.Undecided, reason)
	}
	b := entries(t, way, s, keysOf("agreement, attestation"))
	undecided("earlier", "entries wanted for a time before the header: they may have changed since", b, verify.ReasonChangedSince).At = c.at(35).header.Time
	undecided("outside-zone", "the second key is about a code of another agency", entries(t, way, s, keysOf("department, abroad")), verify.ReasonZone)
	undecided("tag", "another key in an answer of absence, which is true of both", mutate(t, entries(t, way, s, keysOf("no agreement")), func(b *verify.Bundle) {
		b.Keys[0] = cityid.AgreementKey(dataset, cityid.Digest{10})
	}), verify.ReasonOtherTrust)
}

// badEntries are entries that the state does not have.
func (m *maker) badEntries() {
	t, c := m.t, m.c
	way, s := c.way(t, 4, 4, 36), c.before(36)
	names := "agreement, dataset, anchor 1, attestation"
	keys := keysOf(names) // in their order: the attestation, the agreement, the anchor, the record
	add := func(name, description string, reason verify.Reason, f func(*verify.Bundle)) *vector {
		return m.add("bad-entries-"+name, description, 4, mutate(t, entries(t, way, s, keys), func(b *verify.Bundle) {
			f(b)
			b.Trust = verify.TagOf(&c.trusts[3], b.Kind, b.Code, b.Keys...) // a forger would
		}), 36, verify.Invalid, reason)
	}
	granted := cityid.MustMarshal(&terms)
	add("value", "other terms in the agreement", verify.ReasonProof, func(b *verify.Bundle) {
		other := terms
		other.Requests = 99_999
		b.Values[1] = bytes.Replace(b.Values[1], granted, cityid.MustMarshal(&other), 1)
	})
	add("last-value", "an octet of the last value", verify.ReasonProof, func(b *verify.Bundle) { b.Values[3][len(b.Values[3])-1] ^= 1 })
	add("exchanged", "two values exchanged", verify.ReasonProof, func(b *verify.Bundle) { b.Values[0], b.Values[1] = b.Values[1], b.Values[0] })
	add("hidden", "a value left empty, over the proof that there is one", verify.ReasonProof, func(b *verify.Bundle) { b.Values[1] = nil })
	add("proofs-exchanged", "two proofs exchanged", verify.ReasonProof, func(b *verify.Bundle) {
		mutateProofs(b, func(list []cityid.Bytes) []cityid.Bytes { list[0], list[1] = list[1], list[0]; return list })
	})
	add("proof-missing", "a proof left out", verify.ReasonMalformed, func(b *verify.Bundle) {
		mutateProofs(b, func(list []cityid.Bytes) []cityid.Bytes { return list[:3] })
	})
	add("proof-alone", "a proof where a list of them belongs", verify.ReasonMalformed, func(b *verify.Bundle) {
		b.Steps[0].Proof = must(must(s.tree.Prove(keys[0])).MarshalBinary())
	})
	add("other-state", "one entry, with its proof, of another height", verify.ReasonProof, func(b *verify.Bundle) {
		later := entries(t, way, c.before(38), keys[:1])
		b.Values[0] = later.Values[0]
		mutateProofs(b, func(list []cityid.Bytes) []cityid.Bytes {
			mutateProofs(later, func(other []cityid.Bytes) []cityid.Bytes { list[0] = other[0]; return other })
			return list
		})
	})
	add("all-other-state", "all entries of another height", verify.ReasonSignature, func(b *verify.Bundle) {
		later := entries(t, way, c.before(38), keys)
		b.Values, b.Steps[0] = later.Values, later.Steps[0]
		b.Steps[0].Head = entries(t, way, s, keys).Steps[0].Head
	})
	add("made-up", "an agreement in a state made up with it", verify.ReasonSignature, func(b *verify.Bundle) {
		a := terms
		a.Nonce[0]++
		value := cityid.MustMarshal(&cityid.Agreement{Terms: a, State: cityid.AgreementGranted, Provider: cityid.MustParse(department)})
		key, e := cityid.AgreementKey(dataset, a.ID()), s.tree.Edit()
		if _, err := e.Put(key, merkle.ValueHash(value)); err != nil {
			t.Fatal(err)
		}
		b.Keys, b.Values, b.Code = []cityid.Bytes{key}, []cityid.Bytes{value}, dataset
		tree, forger := e.Tree(), *way
		forger.Prove = func(key []byte) (merkle.Proof, []byte, error) { p, err := tree.Prove(key); return p, nil, err }
		forged := must(verify.NewEntries(&forger, [][]byte{key}, []merkle.Proof{must(tree.Prove(key))}, [][]byte{value}))
		b.Steps[0].Proof, b.Steps[0].Authority = forged.Steps[0].Proof, forged.Steps[0].Authority
	})
	add("order", "keys out of order", verify.ReasonMalformed, func(b *verify.Bundle) {
		slices.Reverse(b.Keys)
		slices.Reverse(b.Values)
		mutateProofs(b, func(list []cityid.Bytes) []cityid.Bytes { slices.Reverse(list); return list })
		b.Code = dataset
	})
	add("twice", "a key twice", verify.ReasonMalformed, func(b *verify.Bundle) {
		b.Keys, b.Values = slices.Insert(b.Keys, 1, b.Keys[0]), slices.Insert(b.Values, 1, b.Values[0])
		mutateProofs(b, func(list []cityid.Bytes) []cityid.Bytes { return slices.Insert(list, 1, list[0]) })
	})
	add("none", "no keys", verify.ReasonMalformed, func(b *verify.Bundle) { b.Keys, b.Values = nil, nil })
	add("value-missing", "a value fewer than keys", verify.ReasonMalformed, func(b *verify.Bundle) { b.Values = b.Values[:3] })
	add("many", "65 keys", verify.ReasonMalformed, func(b *verify.Bundle) {
		b.Keys, b.Values, b.Code = nil, make([]cityid.Bytes, verify.MaxEntries+1), dataset
		for i := range b.Values {
			b.Keys = append(b.Keys, cityid.AgreementKey(dataset, cityid.Digest{byte(i)}))
		}
	})
	add("code", "another code than that of the first key", verify.ReasonMalformed, func(b *verify.Bundle) { b.Code = consumer })
	add("key", "a key that bundles do not answer about", verify.ReasonMalformed, func(b *verify.Bundle) { b.Keys[1] = cityid.ParamsKey })
	add("key-cut", "a key without its last octet", verify.ReasonMalformed, func(b *verify.Bundle) { b.Keys[3] = b.Keys[3][:len(b.Keys[3])-1] })
	add("on-record", "keys beside a record", verify.ReasonMalformed, func(b *verify.Bundle) {
		*b = *record(t, way, s, city)
		b.Keys = []cityid.Bytes{entryKeys["city"]}
	})
	add("too-large", "a value of more than 16 KiB", verify.ReasonMalformed, func(b *verify.Bundle) { b.Values[0] = make([]byte, cityid.MaxRecord+1) })
	add("question", "true entries, but others than were asked for", verify.ReasonQuestion, func(*verify.Bundle) {}).Keys = []cityid.Bytes{keys[0], keys[1]}
}
