// SPDX-License-Identifier: Apache-2.0

package js_test

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"strconv"

	"cityid"
	"cityid/verify"
)

// This file changes bundles at random.

// changeOctets changes the octets of a bundle in one or two places.
func changeOctets(r *rand.Rand, data []byte) (string, []byte) {
	what := ""
	for range 1 + r.IntN(2) {
		i := r.IntN(len(data))
		switch r.IntN(6) {
		case 0:
			data[i] ^= 1 << r.IntN(8)
		case 1:
			data[i] = byte(r.Uint32())
		case 2:
			data = slices.Insert(data, i, byte(r.Uint32()))
		case 3:
			data = slices.Delete(data, i, i+1)
		case 4:
			data[i] = []byte{0, 1, 0x40, 0x60, 0x80, 0xa0, 0x18, 0x1b, 0x58, 0x7f, 0xf6, 0xff}[r.IntN(12)]
		case 5:
			j := i + r.IntN(min(len(data)-i, 40))
			data = slices.Insert(data, r.IntN(len(data)), bytes.Clone(data[i:j])...)
		}
		what += " octet " + strconv.Itoa(i)
		if len(data) == 0 {
			break
		}
	}
	return what, data
}

// changeParts changes what a bundle says and encodes it again.
func changeParts(r *rand.Rand, b *verify.Bundle, vectors []*vector) (string, []byte) {
	other := b
	for range 20 {
		if o, err := verify.Decode(vectors[r.IntN(len(vectors))].Bundle); err == nil {
			other = o
			break
		}
	}
	inner := func(p *cityid.Bytes) {
		if len(*p) > 0 {
			*p = bytes.Clone(*p)
			(*p)[r.IntN(len(*p))] ^= 1 << r.IntN(8)
		}
	}
	what := ""
	if from := &other.Steps[r.IntN(len(other.Steps))]; r.IntN(5) < 2 {
		what = changeBundle(r, b, other, from, inner)
	} else {
		i := r.IntN(len(b.Steps))
		what = "step " + strconv.Itoa(i) + changeStep(r, &b.Steps[i], from, inner)
	}
	if r.IntN(2) == 0 { // as a forger would
		b.Trust = verify.TagOf(&vectors[r.IntN(len(vectors))].Trust, b.Kind, b.Code, b.Keys...)
	}
	return what, cityid.MustMarshal(b)
}

// changeBundle changes what a bundle says beside its steps, or which those are.
func changeBundle(r *rand.Rand, b, other *verify.Bundle, from *verify.Step, inner func(*cityid.Bytes)) string {
	n := r.IntN(14)
	switch n {
	case 0:
		b.Kind = cityid.AnswerKind(1 + r.IntN(6))
	case 1:
		b.Code = other.Code
	case 2:
		b.Versions = other.Versions
	case 3:
		b.Values = other.Values
	case 4:
		slices.Reverse(b.Values)
	case 5:
		b.Trust = other.Trust
	case 6:
		b.Steps = append(b.Steps, other.Steps...)
	case 7:
		if len(b.Values) > 0 {
			inner(&b.Values[r.IntN(len(b.Values))])
		}
	case 8:
		if len(b.Versions) > 0 {
			v := &b.Versions[r.IntN(len(b.Versions))]
			v.Statement.Version += uint32(r.IntN(3))
			v.Statement.Height >>= r.IntN(2)
			if len(v.Signatures) > 0 && r.IntN(2) == 0 {
				v.Signatures = v.Signatures[1:]
			}
		}
	case 9:
		b.Keys = other.Keys
	case 10:
		if len(b.Keys) > 0 {
			i := r.IntN(len(b.Keys))
			inner(&b.Keys[i])
			if r.IntN(2) == 0 {
				b.Keys[i], b.Values[i] = cityid.RecordKey(other.Code), nil
			}
		}
	case 11:
		if len(b.Keys) > 0 {
			changeEntry(r, b)
		}
	case 12:
		b.Steps[r.IntN(len(b.Steps))] = *from
	case 13:
		i := r.IntN(len(b.Steps))
		b.Steps = slices.Delete(b.Steps, i, i+1)
	}
	return "part " + strconv.Itoa(n)
}

// changeStep changes what a step says.
func changeStep(r *rand.Rand, s, from *verify.Step, inner func(*cityid.Bytes)) string {
	n := r.IntN(19)
	switch n {
	case 0:
		s.Proof = from.Proof
	case 1:
		s.Head = from.Head
	case 2:
		s.Head.Commit = from.Head.Commit
	case 3:
		s.Head.Validators = from.Head.Validators
	case 4:
		s.Transitions = from.Transitions
	case 5:
		s.Log = from.Log
	case 6:
		inner(&s.Head.Header)
	case 7:
		inner(&s.Head.Commit)
	case 8:
		inner(&s.Head.Validators)
	case 9:
		inner(&s.Proof)
	case 10:
		if s.Log != nil {
			inner([]*cityid.Bytes{&s.Log.Header, &s.Log.Path, &s.Log.Proof}[r.IntN(3)])
		}
	case 11:
		if s.Log != nil {
			s.Log.First, s.Log.Size = r.Uint64()>>r.IntN(64), r.Uint64()>>r.IntN(64)
		}
	case 12:
		if len(s.Transitions) > 0 {
			inner(&s.Transitions[0].Header)
		}
	case 13:
		s.Validators = [][]byte{nil, from.Validators, from.Head.Validators}[r.IntN(3)]
	case 14:
		s.Descent = from.Descent
	case 15:
		if s.Descent != nil {
			d := *s.Descent
			changeDescent(r, &d, inner)
			s.Descent = &d
		}
	case 16:
		s.Values = from.Values
	case 17:
		if len(s.Values) > 0 {
			changeKnown(r, s, inner)
		}
	case 18:
		changeAuthority(r, s, from, inner)
	}
	return " part " + strconv.Itoa(n)
}

// changeDescent changes how a step goes on from its checkpoint.
func changeDescent(r *rand.Rand, d *cityid.LogDescent, inner func(*cityid.Bytes)) {
	switch r.IntN(5) {
	case 0:
		d.First = uint64(r.IntN(3))
	case 1:
		d.Size += uint64(r.IntN(5)) - 2
	case 2:
		inner(&d.Proof)
	case 3:
		inner(&d.Path)
	case 4:
		d.Root[r.IntN(32)] ^= 1
	}
}

// changeKnown changes what a step says of the zone it leads to.
func changeKnown(r *rand.Rand, s *verify.Step, inner func(*cityid.Bytes)) {
	s.Values = slices.Clone(s.Values)
	v := &s.Values[r.IntN(len(s.Values))]
	var z cityid.Zone
	if r.IntN(2) == 0 || cityid.Unmarshal(*v, &z) != nil {
		inner(v)
		return
	}
	switch r.IntN(6) {
	case 0:
		z.Checkpoint.Height = r.Uint64() >> r.IntN(64)
	case 1:
		z.Checkpoint.Time = cityid.Time(r.Uint64()) >> r.IntN(64)
	case 2:
		z.Anchored = cityid.Time(r.Uint64()) >> r.IntN(64)
	case 3:
		z.Checkpoint.Log.First, z.Checkpoint.Log.Size = r.Uint64()>>r.IntN(64), r.Uint64()>>r.IntN(64)
	case 4:
		z.Fork = &cityid.Fork{Height: r.Uint64()}
	case 5:
		z.Places, z.Checkpoint.Next = !z.Places, cityid.Digest{}
	}
	*v = cityid.MustMarshal(&z)
}

// changeAuthority leaves one of the proofs that no other zone answers out, puts
// another one in its place, or changes it.
func changeAuthority(r *rand.Rand, s, from *verify.Step, inner func(*cityid.Bytes)) {
	s.Authority = slices.Clone(s.Authority)
	n := len(s.Authority)
	switch k := r.IntN(4); {
	case k == 0 || n == 0:
		s.Authority = from.Authority
	case k == 1:
		s.Authority = s.Authority[:n-1]
	case k == 2:
		inner(&s.Authority[r.IntN(n)].Proof)
	default:
		s.Authority[r.IntN(n)].Value = [][]byte{nil, {0xa0}, s.Proof}[r.IntN(3)]
	}
}

// changeEntry leaves one of the entries out, repeats it, or claims that nothing
// stands at its key.
func changeEntry(r *rand.Rand, b *verify.Bundle) {
	i := r.IntN(len(b.Keys))
	s := &b.Steps[0]
	var proofs []cityid.Bytes
	if cityid.Unmarshal(s.Proof, &proofs) != nil || len(proofs) != len(b.Keys) || len(b.Values) != len(b.Keys) {
		return
	}
	switch r.IntN(4) {
	case 0:
		b.Keys, b.Values, proofs = slices.Delete(b.Keys, i, i+1), slices.Delete(b.Values, i, i+1), slices.Delete(proofs, i, i+1)
	case 1:
		b.Keys, b.Values, proofs = slices.Insert(b.Keys, i, b.Keys[i]), slices.Insert(b.Values, i, b.Values[i]), slices.Insert(proofs, i, proofs[i])
	case 2:
		b.Values[i] = nil
	case 3:
		proofs[i] = proofs[r.IntN(len(proofs))]
	}
	if len(b.Keys) > 0 {
		b.Code, _ = cityid.CodeOfEntryKey(b.Keys[0])
	}
	s.Proof = cityid.MustMarshal(proofs)
}
