// SPDX-License-Identifier: Apache-2.0

package js_test

import (
	"encoding/hex"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"

	"cityid/merkle"
)

// TestRanges judges proofs of listings of random maps: for the range asked for,
// and for other ones, which leave entries out or open too much.
func TestRanges(t *testing.T) {
	r := source(t)
	word := func() string {
		var b strings.Builder
		for range 1 + r.IntN(4) {
			b.WriteByte("./01AB-"[r.IntN(7)])
		}
		return b.String()
	}
	var jobs []job
	var want []string
	good := 0
	for range 4000 {
		entries := map[string][]byte{}
		for range 1 + r.IntN(9) {
			k := word()
			entries[k+"\x00"] = []byte(k)
		}
		edit := merkle.Tree{}.Edit()
		for k, v := range entries {
			if _, err := edit.Put([]byte(k), merkle.ValueHash(v)); err != nil {
				t.Fatal(err)
			}
		}
		tree := edit.Tree()
		asked := randomRange(r, word)
		proven := asked
		if r.IntN(3) > 0 { // a part of it, more, or another one
			proven = randomRange(r, word)
			if r.IntN(2) == 0 {
				proven.Hi, proven.Shallow = asked.Hi, asked.Shallow
			}
		}
		p, listing, err := tree.ProveRange(proven)
		if err != nil {
			continue
		}
		data, err := p.MarshalBinary()
		if err != nil {
			t.Fatal(err)
		}
		hashes, texts := []merkle.Hash{}, []string{}
		for _, e := range listing {
			hashes, texts = append(hashes, e.Value), append(texts, e.Value.String())
		}
		result := ""
		if root, _, err := p.Root(asked, hashes); err == nil {
			result = root.String()
			good++
		}
		j := job{"op": "range", "lo": hex.EncodeToString(asked.Lo), "hi": nil, "shallow": asked.Shallow, "proof": hex.EncodeToString(data), "values": texts}
		if asked.Hi != nil {
			j["hi"] = hex.EncodeToString(asked.Hi)
		}
		jobs, want = append(jobs, j), append(want, result)
	}
	if bad := len(jobs) - good; good < 500 || bad < 500 {
		t.Errorf("%d good and %d bad ones: this tests little", good, bad)
	}
	for i, a := range runJobs(t, sourceFile, jobs) {
		if (want[i] == "") != (a.Error != "") || !strings.Contains(string(a.Result), want[i]) {
			t.Errorf("%v: %s %s, want %q", jobs[i], a.Result, a.Error, want[i])
		}
	}
}

// TestExcludes compares which other keys a proof about one shows to be absent.
func TestExcludes(t *testing.T) {
	r := source(t)
	word := func() string {
		var b strings.Builder
		b.WriteString("zMA")
		for range r.IntN(5) {
			b.WriteString([]string{".1", "2", "1", ".2", "/1", "A"}[r.IntN(6)])
		}
		return b.String() + "\x00"
	}
	var jobs []job
	var want []bool
	excluded := 0
	for range 2000 {
		edit := merkle.Tree{}.Edit()
		for range 1 + r.IntN(12) {
			if _, err := edit.Put([]byte(word()), merkle.ValueHash(nil)); err != nil {
				t.Fatal(err)
			}
		}
		key, other := word(), word()
		p, err := edit.Tree().Prove([]byte(key))
		if err != nil {
			t.Fatal(err)
		}
		if key == other {
			continue // a bundle does not ask for it twice
		}
		data, err := p.MarshalBinary()
		if err != nil {
			t.Fatal(err)
		}
		jobs = append(jobs, job{"op": "excludes", "proof": hex.EncodeToString(data), "key": hex.EncodeToString([]byte(key)), "other": hex.EncodeToString([]byte(other))})
		want = append(want, p.Excludes([]byte(key), []byte(other)))
		if want[len(want)-1] {
			excluded++
		}
	}
	if rest := len(jobs) - excluded; excluded < 200 || rest < 200 {
		t.Errorf("%d excluded and %d not: this tests little", excluded, rest)
	}
	for i, a := range runJobs(t, sourceFile, jobs) {
		if string(a.Result) != strconv.FormatBool(want[i]) {
			t.Errorf("%v: %s %s, want %t", jobs[i], a.Result, a.Error, want[i])
		}
	}
}

func randomRange(r *rand.Rand, word func() string) merkle.Range {
	for {
		lo, hi := word(), word()
		if r.IntN(3) == 0 { // all below one key
			lo, hi = lo+".", lo+"0"
		}
		q := merkle.Range{Lo: []byte(lo), Hi: []byte(hi), Shallow: r.IntN(2) == 0}
		if r.IntN(6) == 0 {
			q.Hi = nil
		}
		if q.Hi == nil || lo < hi {
			return q
		}
	}
}
