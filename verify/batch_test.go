// SPDX-License-Identifier: Apache-2.0

package verify_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"cityid"
	"cityid/merkle"
	"cityid/verify"
)

var batchSeed = cityid.Digest{1, 2, 3}

// batchOf makes the batch of some pieces.
func batchOf(t testing.TB, pieces ...string) *verify.Batch {
	t.Helper()
	var leaves []cityid.Digest
	for i, x := range pieces {
		leaves = append(leaves, must(verify.BatchLeaf(batchSeed, uint64(i), strings.NewReader(x))))
	}
	return must(verify.NewBatch(batchSeed, leaves))
}

func TestBatchProofs(t *testing.T) {
	for n := 1; n <= 33; n++ {
		var pieces []string
		for i := range n {
			pieces = append(pieces, fmt.Sprint("reading ", i))
		}
		b := batchOf(t, pieces...)
		if b.Leaves() != uint64(n) {
			t.Fatalf("%d leaves of %d", b.Leaves(), n)
		}
		for i, x := range pieces {
			p, err := verify.ParseBatchProof(must(b.Proof(dataset, uint64(i), false)).Encode())
			if err != nil {
				t.Fatal(err)
			}
			if err := p.Check(strings.NewReader(x)); err != nil || p.Root != b.Root() {
				t.Errorf("piece %d of %d: %v", i, n, err)
			}
			for j, other := range pieces {
				if err := p.Check(strings.NewReader(other)); j != i && !errors.Is(err, verify.ErrOtherPiece) {
					t.Errorf("piece %d of %d by the proof of piece %d: %v", j, n, i, err)
				}
			}
		}
		if _, err := b.Proof(dataset, uint64(n), false); err == nil {
			t.Errorf("a proof of piece %d of %d", n, n)
		}
	}
}

// TestBatchTree: the tree is that of RFC 6962 over salt and piece.
func TestBatchTree(t *testing.T) {
	entry := func(i uint64, piece string) merkle.Hash {
		salt := verify.BatchSalt(batchSeed, i)
		return merkle.LogLeafHash(append(salt[:], piece...))
	}
	want := merkle.LogNodeHash(merkle.LogNodeHash(entry(0, "a"), entry(1, "")), entry(2, "c"))
	if got := batchOf(t, "a", "", "c").Root(); got != cityid.Digest(want) {
		t.Errorf("root %s, want %s", got, cityid.Digest(want))
	}
}

func TestBatchLines(t *testing.T) {
	b := batchOf(t, "21.5 C", "", "a\nb")
	for _, tt := range []struct {
		index uint64
		line  bool
		text  string
		good  bool
	}{
		{0, true, "21.5 C", true}, {0, true, "21.5 C\n", true}, {0, true, "21.5 C\n\n", false}, {0, true, "21.5 C\r\n", false}, {0, true, "\n21.5 C", false},
		{0, false, "21.5 C", true}, {0, false, "21.5 C\n", false}, {1, true, "", true}, {1, true, "\n", true}, {1, true, "\n\n", false},
		{2, true, "a\nb\n", true}, {2, true, "a\nb", true}, {2, false, "a\nb\n", false},
	} {
		p := must(b.Proof(dataset, tt.index, tt.line))
		for name, r := range map[string]io.Reader{
			"whole": strings.NewReader(tt.text), "by octets": iotest.OneByteReader(strings.NewReader(tt.text)), "with the end": iotest.DataErrReader(strings.NewReader(tt.text)),
		} {
			if err := p.Check(r); (err == nil) != tt.good {
				t.Errorf("%q, line %v, %s: %v", tt.text, tt.line, name, err)
			}
		}
	}
	broken := errors.New("broken")
	if err := must(b.Proof(dataset, 0, true)).Check(iotest.ErrReader(broken)); !errors.Is(err, broken) || errors.Is(err, verify.ErrOtherPiece) {
		t.Errorf("a piece that can not be read: %v", err)
	}
}

func TestNewBatch(t *testing.T) {
	if _, err := verify.NewBatch(batchSeed, nil); err == nil {
		t.Error("a batch of nothing")
	}
	if _, err := verify.NewBatch(cityid.Digest{}, []cityid.Digest{{1}}); err == nil {
		t.Error("a batch without a seed")
	}
	if _, err := verify.NewBatch(batchSeed, make([]cityid.Digest, cityid.MaxBatch+1)); err == nil {
		t.Error("a batch that is too large")
	}
	if testing.Short() {
		return
	}
	b := must(verify.NewBatch(batchSeed, make([]cityid.Digest, cityid.MaxBatch)))
	p := must(b.Proof(dataset, 77, true))
	if len(p.Path) != cityid.MaxBucket || len(p.Encode()) > verify.MaxBatchProof {
		t.Errorf("a path of %d hashes, %d octets", len(p.Path), len(p.Encode()))
	}
	if _, err := verify.ParseBatchProof(p.Encode()); err != nil {
		t.Error(err)
	}
}

func TestParseBatchProof(t *testing.T) {
	b := batchOf(t, "a", "b", "c")
	good := string(must(b.Proof(dataset, 1, true)).Encode())
	change := func(old, new string) string {
		if !strings.Contains(good, old) {
			t.Fatalf("no %s in %s", old, good)
		}
		return strings.Replace(good, old, new, 1)
	}
	for name, text := range map[string]string{
		"as it is": good, "other blanks": strings.ReplaceAll(good, "\n", "\r\n\t"), "without blanks at the end": strings.TrimSpace(good),
		"!empty": "", "!null": "null", "!list": "[]", "!trailing": good + "{}", "!cut": good[:len(good)-3], "!other version": change(`"version": 1`, `"version": 2`),
		"!no version": change(`"version": 1,`, ``), "!unknown field": change(`{`, `{"more": 1,`), "!field twice": change(`"index": 1,`, `"index": 1, "index": 1,`),
		"!out of order": change(`"leaves": 3,`, ``) + "", "!other case": change(`"leaves"`, `"Leaves"`), "!index beyond": change(`"index": 1`, `"index": 3`),
		"!false line": change(`"line": true`, `"line": false`), "!no leaves": change(`"leaves": 3`, `"leaves": 0`), "!too many": change(`"leaves": 3`, `"leaves": 1048577`),
		"!capitals": strings.Replace(good, b.Root().String(), strings.ToUpper(b.Root().String()), 1), "!no root": strings.Replace(good, b.Root().String(), "", 1),
		"!number as text": change(`"index": 1`, `"index": "1"`), "!float": change(`"index": 1`, `"index": 1.0`), "!code": change(dataset.String(), "ma.156"),
		"!long path": change(`"path": [`, `"path": [`+strings.Repeat(`"`+b.Root().String()+`",`, 19)), "!too large": good + strings.Repeat(" ", verify.MaxBatchProof),
		"!null path": change(`"path": [`, `"path": null, "x": [`),
	} {
		_, err := verify.ParseBatchProof([]byte(text))
		if (err != nil) != strings.HasPrefix(name, "!") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestBatchTampering changes every character of a proof: it proves nothing then.
func TestBatchTampering(t *testing.T) {
	good := must(batchOf(t, "a", "b", "c", "d", "e").Proof(dataset, 3, false)).Encode()
	root := must(verify.ParseBatchProof(good)).Root
	for i := range good {
		for _, c := range []byte("0a1\" ,{") {
			data := bytes.Clone(good)
			if data[i] == c {
				continue
			}
			data[i] = c
			p, err := verify.ParseBatchProof(data)
			if err != nil || p.Root != root || p.Source != dataset {
				continue
			}
			if err := p.Check(strings.NewReader("d")); err == nil && !bytes.Equal(p.Encode(), good) {
				t.Errorf("character %d changed to %c: still a proof", i, c)
			}
		}
	}
}

func FuzzBatchProof(f *testing.F) {
	b := batchOf(f, "a", "b", "c")
	for i := range uint64(3) {
		f.Add(must(b.Proof(dataset, i, i == 1)).Encode(), []byte{'a' + byte(i)})
	}
	f.Fuzz(func(t *testing.T, data, piece []byte) {
		p, err := verify.ParseBatchProof(data)
		if err != nil {
			return
		}
		if again, err := verify.ParseBatchProof(p.Encode()); err != nil || again.Root != p.Root {
			t.Errorf("%s does not come back: %v", data, err)
		}
		if p.Check(bytes.NewReader(piece)) == nil && p.Root == b.Root() && len(piece) != 1 && !(p.Line && len(piece) == 2) {
			t.Errorf("%q is a piece of the batch by %s", piece, data)
		}
	})
}
