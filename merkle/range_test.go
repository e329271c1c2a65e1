// SPDX-License-Identifier: Apache-2.0

package merkle

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// naiveListing is what a range lists, from its definition.
func naiveListing(m map[string]Hash, r Range) []Entry {
	var list []Entry
	for _, k := range sortedKeys(m) {
		in := trimZeros(k) >= trimZeros(string(r.Lo)) && (r.Hi == nil || trimZeros(k) < trimZeros(string(r.Hi)))
		for _, e := range list {
			p := string(e.Key[:len(e.Key)-1])
			if r.Shallow && k >= p+"." && k < p+"0" {
				in = false
			}
		}
		if in {
			list = append(list, Entry{[]byte(k), m[k]})
		}
	}
	return list
}

func equalListing(a, b []Entry) bool {
	return slices.EqualFunc(a, b, func(a, b Entry) bool { return bytes.Equal(a.Key, b.Key) && a.Value == b.Value })
}

func valuesOf(list []Entry) []Hash {
	var hs []Hash
	for _, e := range list {
		hs = append(hs, e.Value)
	}
	return hs
}

func randomMap(r *rand.Rand, key func(*rand.Rand) string, n int) map[string]Hash {
	m, trimmed := map[string]Hash{}, map[string]bool{}
	for range n {
		k := key(r)
		if !trimmed[trimZeros(k)] {
			trimmed[trimZeros(k)] = true
			m[k] = Hash{byte(r.IntN(256)), 1}
		}
	}
	return m
}

func TestRangeProofs(t *testing.T) {
	r := newRand(5)
	rounds := 400
	if testing.Short() {
		rounds = 100
	}
	for round := range rounds {
		key := codeKey
		if round%3 == 2 {
			key = binaryKey
		}
		m := randomMap(r, key, 1+r.IntN(80))
		tree := treeOf(t, m)
		for range 15 {
			lo, hi := randomBounds(r, key)
			rg := Range{lo, hi, r.IntN(2) == 0}
			p, list, err := tree.ProveRange(rg)
			if hi != nil && string(trimZeros(lo)) >= string(trimZeros(hi)) {
				if !errors.Is(err, ErrRange) {
					t.Fatalf("bounds %q, %q: %v", lo, hi, err)
				}
				continue
			}
			if err != nil {
				t.Fatal(err)
			}
			if want := naiveListing(m, rg); !equalListing(list, want) {
				t.Fatalf("%v lists %q, want %q", rg, list, want)
			}
			checkRange(t, r, tree, rg, p, list)
		}
	}
}

// checkRange requires that a proof checks, and that no other bytes and no other
// values do.
func checkRange(t *testing.T, r *rand.Rand, tree Tree, rg Range, p RangeProof, list []Entry) {
	t.Helper()
	root := tree.Root()
	enc, err := p.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	var q RangeProof
	if err := q.UnmarshalBinary(enc); err != nil {
		t.Fatal(err)
	}
	if got, again, err := q.Root(rg, valuesOf(list)); err != nil || got != root || !equalListing(list, again) {
		t.Fatalf("%v: %v, %q, %v", rg, got, again, err)
	}
	if p.Len() != len(list) || len(p.Keys()) != len(list) {
		t.Fatal("Len or Keys is wrong")
	}
	for range 10 {
		if err := q.UnmarshalBinary(mutate(r.IntN, enc)); err != nil {
			continue
		}
		values := valuesOf(list)
		for len(values) < q.Len() {
			values = append(values, Hash{9})
		}
		if got, _, err := q.Root(rg, values[:q.Len()]); err == nil && got == root {
			t.Fatalf("%v: a second proof holds\n%x\n", rg, enc)
		}
	}
	// Structured tampering: drop, double, swap, change a node; lie about its kind.
	for range 10 {
		f := slices.Clone(p.frontier)
		i := r.IntN(len(f))
		values := valuesOf(list)
		switch r.IntN(6) {
		case 0:
			f = slices.Delete(f, i, i+1)
		case 1:
			f = slices.Insert(f, i, f[i])
		case 2:
			j := r.IntN(len(f))
			f[i], f[j] = f[j], f[i]
			if i == j {
				continue
			}
		case 3:
			f[i].bit ^= 1 << r.IntN(12)
			if i == 0 {
				continue // the first node has no bit
			}
		case 4: // close an open leaf
			if f[i].key == nil {
				continue
			}
			n := 0
			for _, g := range f[:i] {
				if g.entry {
					n++
				}
			}
			v := f[i].hash
			if f[i].entry {
				v = values[n]
				values = slices.Delete(values, n, n+1)
			}
			f[i] = frontierNode{bit: f[i].bit, hash: leafHash(f[i].key, v)}
		case 5:
			if f[i].key == nil {
				continue
			}
			f[i].entry = !f[i].entry
		}
		bad := RangeProof{f}
		for len(values) < bad.Len() {
			values = append(values, Hash{9})
		}
		if got, _, err := bad.Root(rg, values[:bad.Len()]); err == nil && got == root {
			t.Fatalf("%v: tampered frontier holds", rg)
		}
	}
	if len(list) > 0 {
		values := valuesOf(list)
		values[r.IntN(len(values))][31] ^= 1
		if got, _, err := p.Root(rg, values); err == nil && got == root {
			t.Fatal("a wrong value holds")
		}
		if _, _, err := p.Root(rg, values[1:]); !errors.Is(err, ErrProof) {
			t.Fatal("a missing value is not noticed")
		}
	}
}

// TestForgedRange tries every frontier of small maps: all ways to close
// subtrees. Exactly one of them holds, and it lists everything.
func TestForgedRange(t *testing.T) {
	r := newRand(6)
	for range 150 {
		key := codeKey
		if r.IntN(3) == 0 {
			key = binaryKey
		}
		m := randomMap(r, key, 1+r.IntN(8))
		tree := treeOf(t, m)
		lo, hi := randomBounds(r, key)
		rg := Range{lo, hi, r.IntN(2) == 0}
		if rg.check() != nil {
			continue
		}
		want := naiveListing(m, rg)
		entry := map[string]bool{}
		for _, e := range want {
			entry[string(e.Key)] = true
		}
		held := 0
		for _, f := range views(tree.root, 0) {
			// Label each open leaf as an honest prover would, and also lie: a
			// leaf of the listing that is called a witness must not pass.
			for _, lie := range []bool{false, true} {
				g := slices.Clone(f)
				var values []Hash
				lied := false
				for i := range g {
					if g[i].key != nil && entry[string(g[i].key)] {
						if lie && !lied {
							lied = true
							continue
						}
						g[i].entry = true
						values = append(values, g[i].hash)
						g[i].hash = Hash{}
					}
				}
				if lie && !lied {
					continue
				}
				got, list, err := RangeProof{g}.Root(rg, values)
				if err != nil {
					continue
				}
				if got != tree.Root() {
					t.Fatal("a view has another root")
				}
				if lie || !equalListing(list, want) {
					t.Fatalf("%v: a false listing holds: %q, want %q", rg, list, want)
				}
				held++
			}
		}
		if held != 1 {
			t.Fatalf("%d views hold", held)
		}
	}
}

// views returns every frontier of a subtree.
func views(n node, bit uint16) [][]frontierNode {
	all := [][]frontierNode{{{bit: bit, hash: n.digest()}}}
	switch x := n.(type) {
	case *leaf:
		all = append(all, []frontierNode{{bit: bit, key: []byte(x.key), hash: x.value}})
	case *inner:
		for _, l := range views(x.child[0], bit) {
			for _, r := range views(x.child[1], x.bit) {
				all = append(all, slices.Concat(l, r))
			}
		}
	}
	return all
}

// TestShallowIsSmall shows that a listing of direct children does not grow with
// what lies below them.
func TestShallowIsSmall(t *testing.T) {
	m := map[string]Hash{"rX\x00": {1}}
	for i := range 20 {
		k := fmt.Sprintf("rX.%02d", i)
		m[k+"\x00"] = Hash{2}
		for j := range 100 {
			m[fmt.Sprintf("%s.%02d\x00", k, j)] = Hash{3}
			m[fmt.Sprintf("%s/20.%06d\x00", k, j)] = Hash{4}
		}
	}
	tree := treeOf(t, m)
	rg := Range{Lo: []byte("rX."), Hi: []byte("rX0"), Shallow: true}
	p, list, err := tree.ProveRange(rg)
	if err != nil {
		t.Fatal(err)
	}
	if len(list) != 20 {
		t.Fatalf("%d children", len(list))
	}
	b, _ := p.MarshalBinary()
	if perChild := len(b) / 20; perChild > 450 {
		t.Errorf("%d bytes a child", perChild)
	}
}

// TestRangeShape checks what no honest root lets a forger try.
func TestRangeShape(t *testing.T) {
	a, b := frontierNode{entry: true, key: []byte("a\x00")}, frontierNode{entry: true, bit: 6, key: []byte("b\x00")}
	shut := frontierNode{bit: 6, hash: Hash{1}}
	for name, f := range map[string][]frontierNode{
		"nothing":                  nil,
		"only a closed node":       {shut},
		"no leaf":                  {{hash: Hash{1}}, shut},
		"left leaf on the right":   {b, shut},
		"right leaf on the left":   {shut, {entry: true, bit: 6, key: a.key}},
		"equal bits":               {a, b, {bit: 6, hash: Hash{2}}},
		"bit too large":            {a, {bit: MaxDepth, hash: Hash{1}}},
		"bad key":                  {{entry: true, key: []byte("a")}},
		"wrong bit between leaves": {a, {entry: true, bit: 7, key: b.key}},
		"descending":               {b, {entry: true, bit: 6, key: a.key}},
		"same key twice":           {a, {entry: true, bit: 6, key: a.key}},
	} {
		p := RangeProof{f}
		if _, _, err := p.Root(Range{Lo: []byte("a"), Hi: []byte("b\x01")}, make([]Hash, p.Len())); !errors.Is(err, ErrProof) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// The closed side may be closed, but the witness stands on the wrong side.
	for _, c := range []struct {
		r Range
		f []frontierNode
	}{
		{Range{Lo: []byte("a"), Hi: []byte("b")}, []frontierNode{{key: b.key}, shut}},
		{Range{Lo: []byte("b"), Hi: []byte("c")}, []frontierNode{{hash: Hash{1}}, {bit: 6, key: a.key}}},
	} {
		if _, _, err := (RangeProof{c.f}).Root(c.r, nil); !errors.Is(err, ErrProof) {
			t.Errorf("%v: %v", c.r, err)
		}
	}
	good := RangeProof{[]frontierNode{a, b}}
	if _, _, err := good.Root(Range{Lo: []byte("a"), Hi: []byte("b\x01")}, make([]Hash, 2)); err != nil {
		t.Error(err)
	}
}

func TestRangeEncoding(t *testing.T) {
	for name, s := range map[string]string{
		"empty":                   "",
		"unknown kind":            "\x03",
		"cut kind":                "\x02\x00",
		"cut key":                 "\x02\x00\x02a",
		"cut value hash":          "\x01\x00\x02a\x00123",
		"cut hash":                "\x00123",
		"key without end":         "\x02\x00\x01a",
		"shares with nothing":     "\x02\x01\x01\x00",
		"shares too little":       "\x02\x00\x02a\x00\x02\x00\x03ab\x00",
		"nothing new":             "\x02\x00\x02a\x00\x02\x02\x00",
		"descends":                "\x02\x00\x02b\x00\x02\x00\x02a\x00",
		"differs by zeros":        "\x02\x00\x02a\x00\x02\x02\x01\x00",
		"cut bit":                 "\x02\x00\x02a\x00\x00\x00",
		"longer key than allowed": "\x02\x00\xff" + strings.Repeat("a", 254) + "\x00\x02\xfe\x02b\x00",
	} {
		if err := new(RangeProof).UnmarshalBinary([]byte(s)); !errors.Is(err, ErrEncoding) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, s := range []string{"\x02\x00\x02a\x00", "\x02\x00\x02a\x00\x02\x01\x02b\x00", "\x01\x00\x02a\x00" + strings.Repeat("h", 32)} {
		if err := new(RangeProof).UnmarshalBinary([]byte(s)); err != nil {
			t.Errorf("%q: %v", s, err)
		}
	}
	if err := new(RangeProof).UnmarshalBinary(make([]byte, MaxRangeProofSize+1)); !errors.Is(err, ErrTooLarge) {
		t.Errorf("oversized: %v", err)
	}
	if _, err := (RangeProof{}).MarshalBinary(); !errors.Is(err, ErrEncoding) {
		t.Errorf("zero proof: %v", err)
	}
}

func FuzzRangeProof(f *testing.F) {
	m := map[string]Hash{"r1\x00": {1}, "r1.1\x00": {2}, "r1.2\x00": {3}, "r1.2.3\x00": {4}, "r1/2\x00": {5}, "r2\x00": {6}}
	tree := treeOf(f, m)
	for _, rg := range []Range{{}, {Lo: []byte("r1"), Shallow: true}, {Lo: []byte("r1."), Hi: []byte("r10")}, {Lo: []byte("x")}} {
		p, _, err := tree.ProveRange(rg)
		if err != nil {
			f.Fatal(err)
		}
		b, _ := p.MarshalBinary()
		f.Add(b, rg.Lo, rg.Hi, rg.Shallow)
	}
	f.Fuzz(func(t *testing.T, b, lo, hi []byte, shallow bool) {
		var p RangeProof
		if err := p.UnmarshalBinary(b); err != nil {
			return
		}
		if again, err := p.MarshalBinary(); err != nil || !bytes.Equal(again, b) {
			t.Fatalf("not canonical: %x, %v", again, err)
		}
		if len(hi) == 0 {
			hi = nil
		}
		rg := Range{lo, hi, shallow}
		var values []Hash
		for _, k := range p.Keys() {
			values = append(values, m[string(k)])
		}
		got, list, err := p.Root(rg, values)
		if err == nil && got == tree.Root() && !equalListing(list, naiveListing(m, rg)) {
			t.Fatalf("a false listing holds: %q", list)
		}
	})
}
