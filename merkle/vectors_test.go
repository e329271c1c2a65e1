// SPDX-License-Identifier: Apache-2.0

package merkle

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"flag"
	"os"
	"testing"
)

var update = flag.Bool("update", false, "write the vectors in testdata anew")

// hexBytes is written in JSON as lower-case hexadecimal digits; null is nil.
type hexBytes []byte

func (h hexBytes) MarshalText() ([]byte, error) { return []byte(hex.EncodeToString(h)), nil }
func (h *hexBytes) UnmarshalText(b []byte) (err error) {
	*h, err = hex.DecodeString(string(b))
	if *h == nil {
		*h = hexBytes{}
	}
	return err
}

// mapVector is one map with proofs, for other implementations of the format.
type mapVector struct {
	Name    string        `json:"name"`
	Records []recordJSON  `json:"records"`
	Root    Hash          `json:"root"`
	Proofs  []proofVector `json:"proofs"`
	Ranges  []rangeVector `json:"ranges"`
}

type recordJSON struct {
	Key   hexBytes `json:"key"`
	Value hexBytes `json:"value"`
}

type proofVector struct {
	Key    hexBytes `json:"key"`
	Exists bool     `json:"exists"`
	Proof  hexBytes `json:"proof"`
}

type rangeVector struct {
	Lo      hexBytes   `json:"lo"`
	Hi      *hexBytes  `json:"hi"` // null: no upper bound
	Shallow bool       `json:"shallow"`
	Keys    []hexBytes `json:"keys"`
	Proof   hexBytes   `json:"proof"`
}

var vectorMaps = []struct {
	name    string
	records [][2]string
	keys    []string
	ranges  []Range
}{
	{"one key", [][2]string{{"a\x00", "1"}}, []string{"a\x00", "b\x00"}, []Range{{}, {Lo: []byte("b")}}},
	{"two keys", [][2]string{{"a\x00", "1"}, {"b\x00", "2"}}, []string{"a\x00", "b\x00", "c\x00"},
		[]Range{{}, {Lo: []byte("b")}, {Lo: []byte("c"), Hi: []byte("d")}}},
	{"zero bytes inside", [][2]string{{"\x00", ""}, {"\x00\x01\x00", "x"}, {"\x00\x00\x01\x00", "y"}, {"\xff\xff\x00", "z"}},
		[]string{"\x00", "\x00\x00", "\x00\x01\x00", "\x80\x00"}, []Range{{}, {Lo: []byte{0, 1}, Hi: []byte{0xff}}}},
	{"codes", [][2]string{
		{"\x01MA\x00", "root"}, {"\x01MA.156\x00", "country"}, {"\x01MA.156.1301\x00", "city"},
		{"\x01MA.156.1301.01\x00", "department"}, {"\x01MA.156.1301.01/20.010203\x00", "class"},
		{"\x01MA.156.1301.01/20.010203/000001\x00", "lamp 1"}, {"\x01MA.156.1301.01/20.010203/000002\x00", "lamp 2"},
		{"\x01MA.156.1301.02\x00", "department"}, {"\x01MA.156.1301.03\x00", "department"},
		{"\x01MA.156.1301.03.01\x00", "section"}, {"\x01MA.156.1302\x00", "city"}, {"\x02parameters\x00", "p"},
	}, []string{"\x01MA.156.1301.01\x00", "\x01MA.156.1301.04\x00", "\x01MA.156.1301.01/20.010203/000003\x00"},
		[]Range{
			{Lo: []byte("\x01MA.156.1301."), Hi: []byte("\x01MA.156.13010")},
			{Lo: []byte("\x01MA.156.1301."), Hi: []byte("\x01MA.156.13010"), Shallow: true},
			{Lo: []byte("\x01MA.156."), Hi: []byte("\x01MA.1560"), Shallow: true},
			{Lo: []byte("\x01MA.156.1302."), Hi: []byte("\x01MA.156.13020")},
		}},
	{"a model with a dash beside descendants", [][2]string{
		{"\x01A/2.1.M\x00", "m"}, {"\x01A/2.1.M-1\x00", "n"}, {"\x01A/2.1.M.L1\x00", "o"}, {"\x01A/2.1.M/7\x00", "p"}, {"\x80\x00", "q"},
	}, []string{"\x01A/2.1.M-1\x00", "\x01A/2.1.M-\x00"},
		[]Range{{Lo: []byte("\x01A/"), Hi: []byte("\x01A0"), Shallow: true}, {Hi: []byte{0x80}}}},
}

func makeVectors(t *testing.T) []mapVector {
	t.Helper()
	var all []mapVector
	for _, m := range vectorMaps {
		v := mapVector{Name: m.name}
		e := Tree{}.Edit()
		for _, r := range m.records {
			v.Records = append(v.Records, recordJSON{hexBytes(r[0]), hexBytes(r[1])})
			if _, err := e.Put([]byte(r[0]), ValueHash([]byte(r[1]))); err != nil {
				t.Fatal(err)
			}
		}
		tree := e.Tree()
		v.Root = tree.Root()
		for _, k := range m.keys {
			p, err := tree.Prove([]byte(k))
			if err != nil {
				t.Fatal(err)
			}
			b, _ := p.MarshalBinary()
			v.Proofs = append(v.Proofs, proofVector{hexBytes(k), p.Exists(), b})
		}
		for _, r := range m.ranges {
			p, _, err := tree.ProveRange(r)
			if err != nil {
				t.Fatal(err)
			}
			b, _ := p.MarshalBinary()
			rv := rangeVector{Lo: r.Lo, Shallow: r.Shallow, Keys: []hexBytes{}, Proof: b}
			if r.Hi != nil {
				rv.Hi = (*hexBytes)(&r.Hi)
			}
			for _, k := range p.Keys() {
				rv.Keys = append(rv.Keys, k)
			}
			v.Ranges = append(v.Ranges, rv)
		}
		all = append(all, v)
	}
	return all
}

// TestVectors pins the formats: testdata/map.json must come out byte for byte,
// and what stands in it must check.
func TestVectors(t *testing.T) {
	const file = "testdata/map.json"
	got, err := json.MarshalIndent(makeVectors(t), "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	got = append(got, '\n')
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Fatalf("the formats have changed: compare %s with what -update writes", file)
	}
	var vectors []mapVector
	if err := json.Unmarshal(want, &vectors); err != nil {
		t.Fatal(err)
	}
	for _, v := range vectors {
		m, values := map[string]Hash{}, map[string][]byte{}
		for _, r := range v.Records {
			m[string(r.Key)], values[string(r.Key)] = ValueHash(r.Value), r.Value
		}
		if naiveRoot(m) != v.Root {
			t.Errorf("%s: wrong root", v.Name)
		}
		for _, pv := range v.Proofs {
			var p Proof
			err := p.UnmarshalBinary(pv.Proof)
			if err == nil && pv.Exists {
				err = Check(v.Root, pv.Key, values[string(pv.Key)], p)
			} else if err == nil {
				err = CheckAbsent(v.Root, pv.Key, p)
			}
			if err != nil {
				t.Errorf("%s: %q: %v", v.Name, pv.Key, err)
			}
		}
		for _, rv := range v.Ranges {
			var p RangeProof
			if err := p.UnmarshalBinary(rv.Proof); err != nil {
				t.Fatal(err)
			}
			r := Range{Lo: rv.Lo, Shallow: rv.Shallow}
			if rv.Hi != nil {
				r.Hi = *rv.Hi
			}
			var vs [][]byte
			for _, k := range rv.Keys {
				vs = append(vs, values[string(k)])
			}
			list, err := CheckRange(v.Root, r, vs, p)
			if err != nil || !equalListing(list, naiveListing(m, r)) {
				t.Errorf("%s: %v: %q, %v", v.Name, r, list, err)
			}
		}
	}
}

// TestSpecificationExample checks the numbers in the package comment.
func TestSpecificationExample(t *testing.T) {
	root := InnerHash(6, LeafHash([]byte{0x61, 0}, ValueHash([]byte("1"))), LeafHash([]byte{0x62, 0}, ValueHash([]byte("2"))))
	if got, want := root.String(), "98a50729b4cd0519261f641202ee85262f25b6ca70a94bb29b45b637bfb29391"; got != want {
		t.Errorf("root %s, want %s", got, want)
	}
	tree := treeOf(t, map[string]Hash{"a\x00": ValueHash([]byte("1")), "b\x00": ValueHash([]byte("2"))})
	if tree.Root() != root {
		t.Errorf("tree root %v", tree.Root())
	}
}

// TestAccumulated pins the roots of 1,000 random batches by one hash.
func TestAccumulated(t *testing.T) {
	r := newRand(8)
	var tree Tree
	acc := Hash{}
	for range 1000 {
		e := tree.Edit()
		for range 20 {
			k := []byte(codeKey(r))
			if r.IntN(3) == 0 {
				e.Delete(k)
			} else {
				e.Put(k, ValueHash(k[:r.IntN(len(k))]))
			}
		}
		tree = e.Tree()
		acc = LogNodeHash(acc, tree.Root())
	}
	if got, want := acc.String(), "09219c009d5fee458668d8b241805942e77e640710e6d80089628521b58946ae"; got != want {
		t.Errorf("accumulated root %s, want %s", got, want)
	}
}
