// SPDX-License-Identifier: Apache-2.0

package verify_test

import (
	"bytes"
	"encoding/json"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"cityid"
	"cityid/verify"
)

// readVectors returns the vectors whose file names match, by file name.
func readVectors(t testing.TB, pattern string) map[string]*vector {
	t.Helper()
	files, err := filepath.Glob(vectorFile(pattern))
	if err != nil || len(files) == 0 {
		t.Fatalf("no vectors %s (%v): run the tests with -update", pattern, err)
	}
	list := map[string]*vector{}
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		v := new(vector)
		if err := json.Unmarshal(data, v); err != nil {
			t.Fatalf("%s: %v", f, err)
		}
		list[filepath.Base(f)] = v
	}
	return list
}

// TestTampering changes, removes, doubles and inserts every octet of every good
// bundle, which must not be valid any more.
func TestTampering(t *testing.T) {
	for name, v := range readVectors(t, "good-*") {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			good := v.Bundle
			try := func(what string, i int, data []byte) {
				if bytes.Equal(data, good) {
					return
				}
				v := *v
				v.Bundle = data
				if r, _ := v.check(); r.Verdict == verify.Valid {
					t.Errorf("octet %d of %d %s: still valid: %s", i, len(good), what, r.Message)
				}
			}
			bits := []byte{1, 2, 4, 8, 16, 32, 64, 128}
			r := rand.New(rand.NewPCG(uint64(len(good)), 7))
			for i := range good {
				flips := bits
				if testing.Short() || name != "bundle-good-record.json" {
					flips = []byte{1 << r.IntN(8)}
				}
				for _, bit := range flips {
					data := bytes.Clone(good)
					data[i] ^= bit
					try("changed", i, data)
				}
				try("removed", i, slices.Delete(bytes.Clone(good), i, i+1))
				try("doubled", i, slices.Insert(bytes.Clone(good), i, good[i]))
				try("inserted", i, slices.Insert(bytes.Clone(good), i, byte(r.Uint32())))
			}
			for i := range 64 {
				try("cut off", i, good[:len(good)*i/64])
			}
		})
	}
}

// TestTamperingInside leaves out, doubles and exchanges whole parts.
func TestTamperingInside(t *testing.T) {
	changes := map[string]func(*verify.Bundle) bool{
		"version left out":  func(b *verify.Bundle) bool { return cut(&b.Versions) },
		"value left out":    func(b *verify.Bundle) bool { return cut(&b.Values) },
		"values exchanged":  func(b *verify.Bundle) bool { slices.Reverse(b.Values); return true },
		"value doubled":     func(b *verify.Bundle) bool { return double(&b.Values) },
		"transition cut":    func(b *verify.Bundle) bool { return cut(&b.Steps[0].Transitions) },
		"transition double": func(b *verify.Bundle) bool { return double(&b.Steps[0].Transitions) },
		"log left out":      func(b *verify.Bundle) bool { had := b.Steps[0].Log != nil; b.Steps[0].Log = nil; return had },
		"log header, head": func(b *verify.Bundle) bool {
			l := b.Steps[0].Log
			if l != nil {
				l.Header, b.Steps[0].Head.Header = b.Steps[0].Head.Header, l.Header
			}
			return l != nil
		},
		"validators left out": func(b *verify.Bundle) bool {
			h := &b.Steps[0].Head
			had := h.Validators != nil
			h.Validators = nil
			return had
		},
		"commit left out": func(b *verify.Bundle) bool { b.Steps[0].Head.Commit = nil; return true },
		"officer's signature left out": func(b *verify.Bundle) bool {
			return len(b.Versions) > 0 && cut(&b.Versions[len(b.Versions)-1].Signatures)
		},
		"no step":        func(b *verify.Bundle) bool { b.Steps = nil; return true },
		"two steps":      func(b *verify.Bundle) bool { return double(&b.Steps) },
		"key left out":   func(b *verify.Bundle) bool { return cut(&b.Keys) },
		"keys exchanged": func(b *verify.Bundle) bool { slices.Reverse(b.Keys); return len(b.Keys) > 1 },
		"entry left out": func(b *verify.Bundle) bool { return cut(&b.Keys) && cut(&b.Values) },
		"other code":     func(b *verify.Bundle) bool { b.Code = cityid.MustParse("MA.156.1399"); return true },
	}
	for name, v := range readVectors(t, "good-*") {
		for what, change := range changes {
			b := must(verify.Decode(v.Bundle))
			if !change(b) {
				continue
			}
			v := *v
			data := must(cityid.Marshal(b))
			if bytes.Equal(data, v.Bundle) {
				continue
			}
			v.Bundle = data
			if r, _ := v.check(); r.Verdict == verify.Valid {
				t.Errorf("%s: %s: still valid: %s", name, what, r.Message)
			}
			// The same must hold of a bundle that was never encoded.
			if r := verify.Check(&v.Trust, b, v.options()); r.Verdict == verify.Valid {
				t.Errorf("%s: %s: still valid unencoded: %s", name, what, r.Message)
			}
		}
	}
}

func cut[T any](list *[]T) bool {
	if len(*list) == 0 {
		return false
	}
	*list = (*list)[:len(*list)-1]
	return true
}

func double[T any](list *[]T) bool {
	if len(*list) == 0 {
		return false
	}
	*list = append(*list, (*list)[len(*list)-1])
	return true
}

func TestInvalidTellsNothing(t *testing.T) {
	for name, v := range readVectors(t, "bad-*") {
		r, _ := v.check()
		if r.Verdict != verify.Invalid || r.Record != nil || r.Records != nil || r.Entries != nil || r.Allocated || r.AsOf != (cityid.AsOf{}) {
			t.Errorf("%s: %s, with an answer", name, r.Verdict)
		}
		if r.Message == "" || r.Checks[len(r.Checks)-1].Verdict != verify.Invalid {
			t.Errorf("%s: message %q, last check %+v", name, r.Message, r.Checks)
		}
	}
}

func FuzzDecode(f *testing.F) {
	for _, v := range readVectors(f, "*") {
		f.Add([]byte(v.Bundle))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		b, err := verify.Decode(data)
		if err != nil {
			return
		}
		again, err := b.Encode()
		if err != nil || !bytes.Equal(again, data) {
			t.Errorf("decoded, but encodes otherwise: %v", err)
		}
	})
}

func FuzzCheck(f *testing.F) {
	vectors := readVectors(f, "*")
	known := map[string]bool{}
	var list []*vector
	for _, v := range vectors {
		list = append(list, v)
		known[string(v.Bundle)] = true
	}
	slices.SortFunc(list, func(a, b *vector) int { return bytes.Compare(a.Bundle, b.Bundle) })
	for i, v := range list {
		f.Add(uint8(i), []byte(v.Bundle))
	}
	f.Fuzz(func(t *testing.T, which uint8, data []byte) {
		v := *list[int(which)%len(list)]
		v.Bundle = data
		if r, _ := v.check(); r.Verdict == verify.Valid && !known[string(data)] {
			t.Errorf("valid, though none of ours: %s", r.Message)
		}
	})
}
