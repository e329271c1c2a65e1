// SPDX-License-Identifier: Apache-2.0

package merkle

import (
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// TestModel applies random batches to a Tree and to a Go map.
func TestModel(t *testing.T) {
	for name, key := range map[string]func(*rand.Rand) string{"codes": codeKey, "binary": binaryKey} {
		t.Run(name, func(t *testing.T) {
			r := newRand(1)
			model := map[string]Hash{}
			trimmed := map[string]string{}
			var tree Tree
			type version struct {
				tree Tree
				root Hash
			}
			var old []version
			for round := range 150 {
				e := tree.Edit()
				for range r.IntN(20) {
					k := key(r)
					_, exists := model[k]
					if r.IntN(3) == 0 {
						if got := e.Delete([]byte(k)); got != exists {
							t.Fatalf("Delete(%q) = %v", k, got)
						}
						delete(model, k)
						if exists {
							delete(trimmed, trimZeros(k))
						}
						continue
					}
					v := ValueHash([]byte{byte(r.IntN(3))})
					changed, err := e.Put([]byte(k), v)
					if other, ok := trimmed[trimZeros(k)]; ok && other != k {
						if !errors.Is(err, ErrClash) || changed {
							t.Fatalf("Put(%q) beside %q = %v, %v", k, other, changed, err)
						}
						continue
					}
					if err != nil || changed != (!exists || model[k] != v) {
						t.Fatalf("Put(%q) = %v, %v", k, changed, err)
					}
					model[k], trimmed[trimZeros(k)] = v, k
					if got, ok := e.Get([]byte(k)); !ok || got != v {
						t.Fatalf("Edit.Get(%q) = %v, %v", k, got, ok)
					}
				}
				tree = e.Tree()
				checkModel(t, r, tree, model, key)
				old = append(old, version{tree, naiveRoot(model)})
				if round%10 == 9 { // an Edit may go on after Tree
					before := tree.Root()
					e.Delete([]byte(sortedKeys(model)[0]))
					e.Tree()
					if tree.Root() != before || tree.Root() != naiveRoot(model) {
						t.Fatal("an Edit changed a Tree it had returned")
					}
				}
			}
			for i, v := range old {
				if v.tree.Root() != v.root {
					t.Fatalf("version %d changed", i)
				}
			}
		})
	}
}

func checkModel(t *testing.T, r *rand.Rand, tree Tree, model map[string]Hash, key func(*rand.Rand) string) {
	t.Helper()
	if got, want := tree.Root(), naiveRoot(model); got != want {
		t.Fatalf("root %v, want %v", got, want)
	}
	if tree.Len() != len(model) {
		t.Fatalf("Len = %d, want %d", tree.Len(), len(model))
	}
	keys := sortedKeys(model)
	var b Builder
	for _, k := range keys {
		if err := b.Add([]byte(k), model[k]); err != nil {
			t.Fatal(err)
		}
	}
	if got := b.Tree(); got.Root() != tree.Root() || got.Len() != tree.Len() {
		t.Fatal("Builder and Edit disagree")
	}
	for range 5 {
		k := key(r)
		got, ok := tree.Get([]byte(k))
		if want, exists := model[k]; ok != exists || got != want {
			t.Fatalf("Get(%q) = %v, %v", k, got, ok)
		}
		lo, hi := randomBounds(r, key)
		var got2, want []string
		for k, v := range tree.Range(lo, hi) {
			if v != model[k] {
				t.Fatalf("Range yields a wrong value for %q", k)
			}
			got2 = append(got2, k)
			if len(got2) == 3 {
				break
			}
		}
		for _, k := range keys {
			if trimZeros(k) >= trimZeros(string(lo)) && (hi == nil || trimZeros(k) < trimZeros(string(hi))) && len(want) < 3 {
				want = append(want, k)
			}
		}
		if !slices.Equal(got2, want) {
			t.Fatalf("Range(%q, %q) = %q, want %q", lo, hi, got2, want)
		}
	}
}

// randomBounds returns bounds which are sometimes keys, sometimes prefixes,
// sometimes open; they may be in the wrong order.
func randomBounds(r *rand.Rand, key func(*rand.Rand) string) (lo, hi []byte) {
	bound := func() []byte {
		k := []byte(key(r))
		return k[:r.IntN(len(k)+1)]
	}
	lo, hi = bound(), bound()
	switch r.IntN(6) {
	case 0:
		hi = nil
	case 1:
		lo = nil
	case 2: // the descendants of a key
		k := key(r)
		lo, hi = []byte(k[:len(k)-1]+"."), []byte(k[:len(k)-1]+"0")
	}
	return lo, hi
}

func TestOrderDoesNotMatter(t *testing.T) {
	r := newRand(2)
	m := map[string]Hash{}
	for len(m) < 200 {
		m[codeKey(r)] = ValueHash([]byte{byte(len(m))})
	}
	want := naiveRoot(m)
	keys := sortedKeys(m)
	for range 20 {
		r.Shuffle(len(keys), func(i, j int) { keys[i], keys[j] = keys[j], keys[i] })
		e := Tree{}.Edit()
		for i, k := range keys {
			e.Put([]byte(k), m[k])
			if i%7 == 0 {
				e.Put([]byte("gone"+k), Hash{1})
			}
			if i == 100 {
				e.Tree()
			}
		}
		for i, k := range keys {
			if i%7 == 0 {
				e.Delete([]byte("gone" + k))
			}
		}
		if got := e.Tree().Root(); got != want {
			t.Fatalf("root %v, want %v", got, want)
		}
	}
}

func TestBadKeys(t *testing.T) {
	long := strings.Repeat("x", MaxKeySize)
	for _, k := range []string{"", "a", long, long + "\x00"} {
		if err := CheckKey([]byte(k)); !errors.Is(err, ErrKey) {
			t.Errorf("CheckKey(%.10q) = %v", k, err)
		}
		if _, err := (Tree{}).Edit().Put([]byte(k), Hash{}); !errors.Is(err, ErrKey) {
			t.Errorf("Put(%.10q) = %v", k, err)
		}
		if err := new(Builder).Add([]byte(k), Hash{}); !errors.Is(err, ErrKey) {
			t.Errorf("Add(%.10q) = %v", k, err)
		}
	}
	if err := CheckKey([]byte(long[1:] + "\x00")); err != nil {
		t.Error(err)
	}
}

func TestBuilderOrder(t *testing.T) {
	for _, c := range []struct {
		next string
		want error
	}{
		{"b\x00", ErrOrder}, {"a\x00", ErrOrder}, {"b\x00\x00", ErrClash}, {"b\x00a\x00", nil}, {"c\x00", nil},
	} {
		var b Builder
		if err := b.Add([]byte("b\x00"), Hash{}); err != nil {
			t.Fatal(err)
		}
		if err := b.Add([]byte(c.next), Hash{}); !errors.Is(err, c.want) {
			t.Errorf("Add(%q) = %v, want %v", c.next, err, c.want)
		}
	}
}

func TestEmpty(t *testing.T) {
	var tree Tree
	if tree.Root() != (Hash{}) || tree.Len() != 0 || tree.Edit().Delete([]byte("a\x00")) {
		t.Error("the zero Tree is not empty")
	}
	if _, err := tree.Prove([]byte("a\x00")); !errors.Is(err, ErrEmpty) {
		t.Errorf("Prove: %v", err)
	}
	if _, _, err := tree.ProveRange(Range{}); !errors.Is(err, ErrEmpty) {
		t.Errorf("ProveRange: %v", err)
	}
	e := tree.Edit()
	e.Put([]byte("a\x00"), Hash{1})
	e.Delete([]byte("a\x00"))
	if e.Tree().Root() != (Hash{}) {
		t.Error("root after the last key is gone is not zero")
	}
	for range tree.Range(nil, nil) {
		t.Error("the empty map yields a key")
	}
}

func TestHashText(t *testing.T) {
	h := ValueHash([]byte("x"))
	if got, err := ParseHash(h.String()); err != nil || got != h {
		t.Errorf("ParseHash = %v, %v", got, err)
	}
	for _, s := range []string{"", h.String()[1:], h.String() + "0", strings.ToUpper(h.String()), strings.Repeat("g", 64)} {
		if _, err := ParseHash(s); !errors.Is(err, ErrEncoding) {
			t.Errorf("ParseHash(%q) = %v", s, err)
		}
	}
}
