// SPDX-License-Identifier: Apache-2.0

package merkle

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"testing"
)

// The leaves, roots and proofs which Certificate Transparency implementations
// share as test vectors for RFC 6962.
var (
	ctLeaves = []string{"", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"}
	ctRoots  = []string{
		"6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
		"fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
		"aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
		"d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
		"4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
		"76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
		"ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
		"5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
	}
	ctInclusion = []struct {
		index, size uint64
		proof       []string
	}{
		{0, 1, nil},
		{0, 8, []string{
			"96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
			"5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
			"6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4"}},
		{5, 8, []string{
			"bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
			"ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
			"d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7"}},
		{2, 3, []string{"fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"}},
		{1, 5, []string{
			"6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
			"5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
			"bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b"}},
	}
	ctConsistency = []struct {
		older, newer uint64
		proof        []string
	}{
		{1, 1, nil},
		{1, 8, []string{
			"96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
			"5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
			"6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4"}},
		{6, 8, []string{
			"0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
			"ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
			"d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7"}},
		{2, 5, []string{
			"5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
			"bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b"}},
	}
)

func mustHash(t *testing.T, s string) Hash {
	t.Helper()
	h, err := ParseHash(s)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// logStore keeps a log's subtree hashes in a Go map.
type logStore map[string]Hash

func (s logStore) put(level uint8, index uint64, h Hash) { s[fmt.Sprint(level, "/", index)] = h }
func (s logStore) read(level uint8, index uint64) (Hash, error) {
	h, ok := s[fmt.Sprint(level, "/", index)]
	if !ok {
		return Hash{}, fmt.Errorf("no subtree %d/%d", level, index)
	}
	return h, nil
}

func TestCertificateTransparencyVectors(t *testing.T) {
	var l Log
	store := logStore{}
	if got := l.Root().String(); got != "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855" {
		t.Errorf("empty root %s", got)
	}
	var leaves []Hash
	for i, s := range ctLeaves {
		entry, _ := hex.DecodeString(s)
		leaves = append(leaves, LogLeafHash(entry))
		l.Append(leaves[i], store.put)
		if got := l.Root().String(); got != ctRoots[i] {
			t.Errorf("root of %d: %s", i+1, got)
		}
	}
	for _, v := range ctInclusion {
		p, err := ProveInclusion(v.index, v.size, store.read)
		if err != nil {
			t.Fatal(err)
		}
		checkHashes(t, p, v.proof)
		if err := CheckInclusion(mustHash(t, ctRoots[v.size-1]), v.index, v.size, leaves[v.index], p); err != nil {
			t.Errorf("%d in %d: %v", v.index, v.size, err)
		}
	}
	for _, v := range ctConsistency {
		p, err := ProveConsistency(v.older, v.newer, store.read)
		if err != nil {
			t.Fatal(err)
		}
		checkHashes(t, p, v.proof)
		if err := CheckConsistency(v.older, v.newer, mustHash(t, ctRoots[v.older-1]), mustHash(t, ctRoots[v.newer-1]), p); err != nil {
			t.Errorf("%d to %d: %v", v.older, v.newer, err)
		}
	}
}

func checkHashes(t *testing.T, p LogProof, want []string) {
	t.Helper()
	var got []string
	for _, h := range p {
		got = append(got, h.String())
	}
	if !slices.Equal(got, want) {
		t.Errorf("proof %q, want %q", got, want)
	}
}

// The definitions of RFC 6962, sections 2.1, 2.1.1 and 2.1.2, word for word.
func mth(d []Hash) Hash {
	switch n := len(d); n {
	case 0:
		return sha256.Sum256(nil)
	case 1:
		return d[0]
	default:
		k := largestPower(n)
		return LogNodeHash(mth(d[:k]), mth(d[k:]))
	}
}

func path(m int, d []Hash) []Hash {
	n := len(d)
	if n == 1 {
		return nil
	}
	if k := largestPower(n); m < k {
		return append(path(m, d[:k]), mth(d[k:]))
	} else {
		return append(path(m-k, d[k:]), mth(d[:k]))
	}
}

func subproof(m int, d []Hash, b bool) []Hash {
	n := len(d)
	if m == n {
		if b {
			return nil
		}
		return []Hash{mth(d)}
	}
	if k := largestPower(n); m <= k {
		return append(subproof(m, d[:k], b), mth(d[k:]))
	} else {
		return append(subproof(m-k, d[k:], false), mth(d[:k]))
	}
}

func largestPower(n int) int {
	k := 1
	for 2*k < n {
		k *= 2
	}
	return k
}

func TestLogAgainstDefinition(t *testing.T) {
	r := newRand(7)
	var l Log
	store := logStore{}
	var leaves, roots []Hash
	roots = append(roots, l.Root())
	for n := 1; n <= 130; n++ {
		leaves = append(leaves, LogLeafHash([]byte{byte(n)}))
		// The state survives its encoding.
		b, _ := l.MarshalBinary()
		var again Log
		if err := again.UnmarshalBinary(b); err != nil {
			t.Fatal(err)
		}
		l = again
		l.Append(leaves[n-1], store.put)
		if l.Root() != mth(leaves) || l.Size() != uint64(n) {
			t.Fatalf("root of %d is wrong", n)
		}
		roots = append(roots, l.Root())
		err := l.Edge(func(level uint8, index uint64, h Hash) error {
			if got, err := store.read(level, index); err != nil || got != h {
				return fmt.Errorf("%d/%d: %v", level, index, err)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		for m := range n {
			p, err := ProveInclusion(uint64(m), uint64(n), store.read)
			if err != nil || !slices.Equal(p, path(m, leaves)) {
				t.Fatalf("inclusion of %d in %d: %v", m, n, err)
			}
			if err := CheckInclusion(roots[n], uint64(m), uint64(n), leaves[m], p); err != nil {
				t.Fatal(err)
			}
			tamperLog(t, r.IntN, p, func(q LogProof) error {
				return CheckInclusion(roots[n], uint64(m), uint64(n), leaves[m], q)
			})
			if err := CheckInclusion(roots[n], uint64(m), uint64(n), Hash{1}, p); !errors.Is(err, ErrProof) {
				t.Fatal("a wrong leaf is included")
			}
		}
		for m := 1; m <= n; m++ {
			p, err := ProveConsistency(uint64(m), uint64(n), store.read)
			if err != nil || !slices.Equal(p, subproof(m, leaves, true)) {
				t.Fatalf("consistency of %d with %d: %v", m, n, err)
			}
			if err := CheckConsistency(uint64(m), uint64(n), roots[m], roots[n], p); err != nil {
				t.Fatal(err)
			}
			tamperLog(t, r.IntN, p, func(q LogProof) error {
				return CheckConsistency(uint64(m), uint64(n), roots[m], roots[n], q)
			})
			if err := CheckConsistency(uint64(m), uint64(n), Hash{1}, roots[n], p); !errors.Is(err, ErrProof) {
				t.Fatal("a wrong old root is accepted")
			}
			if err := CheckConsistency(uint64(m), uint64(n), roots[m], Hash{1}, p); !errors.Is(err, ErrProof) {
				t.Fatal("a wrong new root is accepted")
			}
		}
	}
	if err := CheckConsistency(0, 5, roots[0], roots[5], nil); err != nil {
		t.Error(err)
	}
	for _, err := range []error{
		CheckConsistency(0, 5, Hash{}, roots[5], nil),
		CheckConsistency(0, 5, roots[0], roots[5], LogProof{{}}),
		CheckConsistency(5, 4, roots[5], roots[4], nil),
		CheckConsistency(5, 5, roots[5], roots[5], LogProof{{}}),
		CheckConsistency(3, 5, roots[3], roots[5], nil),
		CheckInclusion(roots[5], 5, 5, leaves[4], nil),
	} {
		if !errors.Is(err, ErrProof) {
			t.Errorf("got %v", err)
		}
	}
}

func tamperLog(t *testing.T, intn func(int) int, p LogProof, check func(LogProof) error) {
	t.Helper()
	bad := []LogProof{append(slices.Clone(p), Hash{})}
	if n := len(p); n > 0 {
		flipped := slices.Clone(p)
		flipped[intn(n)][intn(32)] ^= 1
		bad = append(bad, p[:n-1], p[1:], flipped)
	}
	for i, q := range bad {
		if err := check(q); !errors.Is(err, ErrProof) {
			t.Fatalf("tampering %d: %v", i, err)
		}
	}
}

func TestHugeLog(t *testing.T) {
	// Sizes near 2^64 must neither panic nor loop.
	const huge = 1<<64 - 1
	for _, n := range []uint64{huge, huge - 1, 1 << 63, 1<<63 + 1} {
		read := func(level uint8, index uint64) (Hash, error) {
			if level > 63 || index > huge>>level {
				return Hash{}, errors.New("out of range")
			}
			return Hash{level, byte(index)}, nil
		}
		p, err := ProveInclusion(n-1, n, read)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := InclusionRoot(n-1, n, Hash{}, p); err != nil {
			t.Error(err)
		}
		if p, err = ProveConsistency(n-1, n, read); err != nil || len(p) > MaxLogProof {
			t.Errorf("%d hashes, %v", len(p), err)
		}
	}
}

func FuzzLogDecoders(f *testing.F) {
	var l Log
	for i := range 11 {
		l.Append(Hash{byte(i)}, nil)
	}
	b, _ := l.MarshalBinary()
	f.Add(b, uint64(3), uint64(8))
	f.Add(b[8:], uint64(8), uint64(8))
	f.Fuzz(func(t *testing.T, b []byte, m, n uint64) {
		var l Log
		if l.UnmarshalBinary(b) == nil {
			if again, err := l.MarshalBinary(); err != nil || !bytes.Equal(again, b) {
				t.Fatalf("log not canonical: %x", again)
			}
			if l.Size() < 1<<63 {
				l.Root()
				l.Append(Hash{}, nil)
			}
		}
		var p LogProof
		if p.UnmarshalBinary(b) == nil {
			if again, err := p.MarshalBinary(); err != nil || !bytes.Equal(again, b) {
				t.Fatalf("proof not canonical: %x", again)
			}
			if CheckInclusion(Hash{1}, m, n, Hash{2}, p) == nil || m != n && CheckConsistency(m, n, Hash{1}, Hash{2}, p) == nil {
				t.Fatal("a proof out of nothing holds")
			}
		}
	})
}
