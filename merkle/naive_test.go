// SPDX-License-Identifier: Apache-2.0

package merkle

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// naiveRoot is the map's definition, written down again as slowly as it reads:
// keys as strings of the digits 0 and 1, split where they first differ.
func naiveRoot(m map[string]Hash) Hash {
	if len(m) == 0 {
		return Hash{}
	}
	type item struct{ bits, key string }
	var items []item
	longest := 0
	for k := range m {
		longest = max(longest, len(k))
	}
	for k := range m {
		var b strings.Builder
		for i := range longest {
			var c byte
			if i < len(k) {
				c = k[i]
			}
			fmt.Fprintf(&b, "%08b", c)
		}
		items = append(items, item{b.String(), k})
	}
	slices.SortFunc(items, func(a, b item) int { return strings.Compare(a.bits, b.bits) })
	var rec func([]item) Hash
	rec = func(items []item) Hash {
		first, last := items[0], items[len(items)-1]
		if len(items) == 1 {
			v := m[first.key]
			b := binary.AppendUvarint([]byte{0}, uint64(len(first.key)))
			b = append(b, first.key...)
			b = binary.AppendUvarint(b, 32)
			return sha256.Sum256(append(b, v[:]...))
		}
		bit := 0
		for first.bits[bit] == last.bits[bit] {
			bit++
		}
		cut := slices.IndexFunc(items, func(it item) bool { return it.bits[bit] == '1' })
		l, r := rec(items[:cut]), rec(items[cut:])
		b := append([]byte{1, byte(bit >> 8), byte(bit)}, l[:]...)
		return sha256.Sum256(append(b, r[:]...))
	}
	return rec(items)
}

// codeKey returns a random key that looks like a code's, from a small space, so
// that ancestors, siblings and neighbours of all kinds occur.
func codeKey(r *rand.Rand) string {
	var b strings.Builder
	b.WriteString("r")
	for i := range 1 + r.IntN(4) {
		if i > 0 {
			b.WriteByte("../-0\x01"[r.IntN(6)])
		}
		for range 1 + r.IntN(2) {
			b.WriteByte("01A-"[r.IntN(4)])
		}
	}
	b.WriteByte(0)
	return b.String()
}

// binaryKey returns a random key over few bytes; clashes occur.
func binaryKey(r *rand.Rand) string {
	b := make([]byte, 1+r.IntN(4))
	for i := range b {
		b[i] = "\x00\x00\x01\x2e\x2f\x30\x80\xff"[r.IntN(8)]
	}
	return string(b) + "\x00"
}

func treeOf(t testing.TB, m map[string]Hash) Tree {
	t.Helper()
	e := Tree{}.Edit()
	for k, v := range m {
		if _, err := e.Put([]byte(k), v); err != nil {
			t.Fatal(err)
		}
	}
	return e.Tree()
}

func sortedKeys(m map[string]Hash) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

func newRand(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 20191105)) }
