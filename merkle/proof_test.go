// SPDX-License-Identifier: Apache-2.0

package merkle

import (
	"bytes"
	"encoding/binary"
	"errors"
	"testing"

	ics23 "github.com/cosmos/ics23/go"
)

func TestProofs(t *testing.T) {
	r := newRand(3)
	for round := range 60 {
		key := codeKey
		if round%2 == 1 {
			key = binaryKey
		}
		m, values := map[string]Hash{}, map[string][]byte{}
		e := Tree{}.Edit()
		for range 1 + r.IntN(60) {
			k := key(r)
			v := []byte{byte(r.IntN(256))}
			if _, err := e.Put([]byte(k), ValueHash(v)); err == nil {
				m[k], values[k] = ValueHash(v), v
			}
		}
		tree := e.Tree()
		keys := sortedKeys(m)
		for range 40 {
			k := keys[r.IntN(len(keys))]
			if r.IntN(2) == 0 {
				k = key(r)
			}
			p, err := tree.Prove([]byte(k))
			if err != nil {
				t.Fatal(err)
			}
			v, exists := values[k]
			if p.Exists() != exists {
				t.Fatalf("Prove(%q).Exists() = %v", k, p.Exists())
			}
			check := func(root Hash, p Proof) error {
				if exists {
					return Check(root, []byte(k), v, p)
				}
				return CheckAbsent(root, []byte(k), p)
			}
			if err := check(tree.Root(), p); err != nil {
				t.Fatalf("%q: %v", k, err)
			}
			enc, err := p.MarshalBinary()
			if err != nil {
				t.Fatal(err)
			}
			// Every changed, missing or additional byte makes it fail.
			for range 8 {
				bad := mutate(r.IntN, enc)
				var q Proof
				if err := q.UnmarshalBinary(bad); err != nil {
					continue
				}
				if err := check(tree.Root(), q); !errors.Is(err, ErrProof) {
					t.Fatalf("%q: tampered proof: %v", k, err)
				}
			}
			// It shows neither the opposite nor anything about another key.
			if exists && CheckAbsent(tree.Root(), []byte(k), p) == nil || !exists && Check(tree.Root(), []byte(k), nil, p) == nil {
				t.Fatalf("%q: a proof shows its opposite", k)
			}
			if exists && Check(tree.Root(), []byte(k), append(v, 0), p) == nil {
				t.Fatalf("%q: a proof shows another value", k)
			}
			other := keys[r.IntN(len(keys))]
			if other != k && (CheckAbsent(tree.Root(), []byte(other), p) == nil || Check(tree.Root(), []byte(other), values[k], p) == nil) {
				t.Fatalf("a proof about %q holds for %q", k, other)
			}
		}
	}
}

// mutate flips a bit, or drops, doubles or swaps bytes; the result differs.
func mutate(intn func(int) int, b []byte) []byte {
	for {
		c := bytes.Clone(b)
		i := intn(len(c))
		switch intn(5) {
		case 0:
			c[i] ^= 1 << intn(8)
		case 1:
			c = c[:i]
		case 2:
			j := min(len(c), i+1+intn(40))
			c = append(c[:i], c[j:]...)
		case 3:
			j := min(len(c), i+1+intn(40))
			c = append(c[:j:j], b[i:]...)
		case 4:
			j := intn(len(c))
			c[i], c[j] = c[j], c[i]
		}
		if !bytes.Equal(b, c) {
			return c
		}
	}
}

// forgeAbsence builds the classic wrong proof: a real path, to another leaf,
// presented for a key that exists.
func TestForgedAbsence(t *testing.T) {
	m := map[string]Hash{"a\x00": {1}, "b\x00": {2}, "c\x00": {3}, "d\x00": {4}}
	tree := treeOf(t, m)
	for k := range m {
		for o, v := range m {
			p, _ := tree.Prove([]byte(o))
			p.Other = &Entry{[]byte(o), v}
			if err := CheckAbsent(tree.Root(), []byte(k), p); !errors.Is(err, ErrProof) {
				t.Errorf("absence of %q by the leaf of %q: %v", k, o, err)
			}
		}
	}
}

func TestProofShape(t *testing.T) {
	tree := treeOf(t, map[string]Hash{"a\x00": {1}, "b\x00": {2}, "c\x00": {3}})
	good, _ := tree.Prove([]byte("b\x00"))
	for name, steps := range map[string][]Step{
		"equal bits":      {good.Steps[0], good.Steps[0]},
		"decreasing bits": {good.Steps[1], good.Steps[0]},
		"bit too large":   {{Bit: MaxDepth}},
	} {
		p := Proof{Steps: steps}
		if _, err := p.Root([]byte("b\x00"), Hash{2}); !errors.Is(err, ErrProof) {
			t.Errorf("%s: Root: %v", name, err)
		}
		if _, err := p.MarshalBinary(); !errors.Is(err, ErrEncoding) {
			t.Errorf("%s: MarshalBinary: %v", name, err)
		}
	}
	if err := new(Proof).UnmarshalBinary(make([]byte, MaxProofSize+1)); !errors.Is(err, ErrTooLarge) {
		t.Errorf("oversized proof: %v", err)
	}
	// The deepest trie there can be.
	e := Tree{}.Edit()
	base := make([]byte, MaxKeySize)
	e.Put(base, Hash{1})
	for bit := range MaxDepth - 8 {
		k := bytes.Clone(base)
		k[bit/8] |= 0x80 >> (bit % 8)
		e.Put(k, Hash{2})
	}
	deep := e.Tree()
	p, _ := deep.Prove(base)
	if got, err := p.Root(base, Hash{1}); err != nil || got != deep.Root() || len(p.Steps) != MaxDepth-8 {
		t.Errorf("deepest trie: %v, %v, %d steps", got, err, len(p.Steps))
	}
	rp, _, err := deep.ProveRange(Range{Lo: base, Hi: append(base[:254:254], 1)})
	if err != nil {
		t.Fatal(err)
	}
	if got, list, err := rp.Root(Range{Lo: base, Hi: append(base[:254:254], 1)}, []Hash{{1}}); err != nil || got != deep.Root() || len(list) != 1 {
		t.Errorf("deepest range: %v, %v", got, err)
	}
}

// spec describes the map to the stock ICS-23 verifier: an independent oracle.
var spec = &ics23.ProofSpec{
	LeafSpec: &ics23.LeafOp{
		Hash: ics23.HashOp_SHA256, PrehashKey: ics23.HashOp_NO_HASH, PrehashValue: ics23.HashOp_SHA256,
		Length: ics23.LengthOp_VAR_PROTO, Prefix: []byte{0x00},
	},
	InnerSpec: &ics23.InnerSpec{
		ChildOrder: []int32{0, 1}, ChildSize: HashSize, MinPrefixLength: 3, MaxPrefixLength: 3, Hash: ics23.HashOp_SHA256,
	},
}

func TestICS23(t *testing.T) {
	r := newRand(4)
	values := map[string][]byte{}
	e := Tree{}.Edit()
	for range 500 {
		k, v := codeKey(r), []byte{byte(r.IntN(256)), 1}
		if r.IntN(10) == 0 {
			k = string(bytes.Repeat([]byte("long"), 10+r.IntN(50))) + k
		}
		values[k] = v
		e.Put([]byte(k), ValueHash(v))
	}
	tree := e.Tree()
	root := tree.Root()
	for k, v := range values {
		p, err := tree.Prove([]byte(k))
		if err != nil {
			t.Fatal(err)
		}
		exist := &ics23.ExistenceProof{Key: []byte(k), Value: v, Leaf: spec.LeafSpec}
		for i := len(p.Steps) - 1; i >= 0; i-- {
			s := p.Steps[i]
			op := &ics23.InnerOp{Hash: ics23.HashOp_SHA256, Prefix: binary.BigEndian.AppendUint16([]byte{0x01}, s.Bit)}
			if bitAt(k, s.Bit) == 0 {
				op.Suffix = s.Sibling[:]
			} else {
				op.Prefix = append(op.Prefix, s.Sibling[:]...)
			}
			exist.Path = append(exist.Path, op)
		}
		proof := &ics23.CommitmentProof{Proof: &ics23.CommitmentProof_Exist{Exist: exist}}
		if !ics23.VerifyMembership(spec, root[:], proof, []byte(k), v) {
			t.Fatalf("ICS-23 refuses %q", k)
		}
		if ics23.VerifyMembership(spec, root[:], proof, []byte(k), append(v, 0)) {
			t.Fatalf("ICS-23 accepts a wrong value for %q", k)
		}
	}
}

func FuzzProof(f *testing.F) {
	tree := treeOf(f, map[string]Hash{"a\x00": {1}, "ab\x00": {2}, "b\x00": {3}, "c\x00": {4}})
	for _, k := range []string{"a\x00", "aa\x00", "zz\x00"} {
		p, _ := tree.Prove([]byte(k))
		b, _ := p.MarshalBinary()
		f.Add(b, []byte(k))
	}
	f.Fuzz(func(t *testing.T, b, key []byte) {
		var p Proof
		if err := p.UnmarshalBinary(b); err != nil {
			return
		}
		if again, err := p.MarshalBinary(); err != nil || !bytes.Equal(again, b) {
			t.Fatalf("not canonical: %x, %v", again, err)
		}
		_, exists := tree.Get(key)
		if CheckAbsent(tree.Root(), key, p) == nil {
			if want, _ := tree.Prove(key); exists || !sameProof(want, p) {
				t.Fatalf("a forged absence of %q holds", key)
			}
		}
		if got, err := p.Root(key, Hash{1}); err == nil && got == tree.Root() && string(key) != "a\x00" {
			t.Fatalf("a forged existence of %q holds", key)
		}
	})
}

func sameProof(a, b Proof) bool {
	x, _ := a.MarshalBinary()
	y, _ := b.MarshalBinary()
	return bytes.Equal(x, y)
}
