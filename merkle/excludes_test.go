// SPDX-License-Identifier: Apache-2.0

package merkle

import (
	"maps"
	"slices"
	"strings"
	"testing"
)

// A proof never excludes a key that is there, and excludes each prefix of its
// own key that is not, as long as what follows the prefix is a digit or a dot.
func TestExcludes(t *testing.T) {
	r := newRand(11)
	excluded, there := 0, 0
	for range 300 {
		m := map[string]bool{}
		e := Tree{}.Edit()
		for range 1 + r.IntN(40) {
			k := zoneKey(r.IntN)
			m[k] = true
			if _, err := e.Put([]byte(k), Hash{1}); err != nil {
				t.Fatal(err)
			}
		}
		tree := e.Tree()
		keys := slices.Sorted(maps.Keys(m))
		for range 30 {
			k := zoneKey(r.IntN)
			if r.IntN(3) == 0 {
				k = keys[r.IntN(len(keys))]
			}
			p, err := tree.Prove([]byte(k))
			if err != nil {
				t.Fatal(err)
			}
			for n := 1; n < len(k); n++ {
				prefix := k[:n] + "\x00"
				switch got := p.Excludes([]byte(k), []byte(prefix)); {
				case got && m[prefix]:
					t.Fatalf("the proof about %q excludes %q, which is there", k, prefix)
				case !got && !m[prefix] && n < len(k)-1:
					t.Fatalf("the proof about %q does not exclude %q", k, prefix)
				case got:
					excluded++
				default:
					there++
				}
			}
			for range 10 {
				other := keys[r.IntN(len(keys))]
				if p.Excludes([]byte(k), []byte(other)) {
					t.Fatalf("the proof about %q excludes %q, which is there", k, other)
				}
			}
			if p.Excludes([]byte(k), []byte(k)) == m[k] {
				t.Fatalf("the proof about %q, there: %v, says otherwise of the key itself", k, m[k])
			}
		}
	}
	if excluded == 0 || there == 0 {
		t.Fatalf("%d excluded, %d there: nothing was tried", excluded, there)
	}
}

// zoneKey makes keys of which many are prefixes of others.
func zoneKey(n func(int) int) string {
	var b strings.Builder
	b.WriteString("z1")
	for range n(6) {
		b.WriteString([]string{".1", "2", "1", ".2", "/1", "."}[n(6)])
	}
	return b.String() + "\x00"
}
