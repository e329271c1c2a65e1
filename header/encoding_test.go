// SPDX-License-Identifier: Apache-2.0

package header_test

import (
	"bytes"
	"encoding"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"cityid/header"
)

var (
	_ encoding.BinaryAppender    = header.Header{}
	_ encoding.BinaryMarshaler   = header.Header{}
	_ encoding.BinaryUnmarshaler = (*header.Header)(nil)
	_ encoding.BinaryAppender    = header.Commit{}
	_ encoding.BinaryMarshaler   = header.Commit{}
	_ encoding.BinaryUnmarshaler = (*header.Commit)(nil)
	_ encoding.BinaryAppender    = header.Validators(nil)
	_ encoding.BinaryMarshaler   = header.Validators(nil)
	_ encoding.BinaryUnmarshaler = (*header.Validators)(nil)
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// decoders take an encoding apart and put it together again.
var decoders = map[string]func(b []byte) ([]byte, error){
	"header": func(b []byte) ([]byte, error) {
		var h header.Header
		if err := h.UnmarshalBinary(b); err != nil {
			return nil, err
		}
		return h.MarshalBinary()
	},
	"stripped": func(b []byte) ([]byte, error) {
		h, err := header.DecodeStripped(b)
		if err != nil {
			return nil, err
		}
		return header.EncodeStripped(h, !h.AppHash.IsZero())
	},
	"commit": func(b []byte) ([]byte, error) {
		var c header.Commit
		if err := c.UnmarshalBinary(b); err != nil {
			return nil, err
		}
		return c.MarshalBinary()
	},
	"validators": func(b []byte) ([]byte, error) {
		var v header.Validators
		if err := v.UnmarshalBinary(b); err != nil {
			return nil, err
		}
		return v.MarshalBinary()
	},
}

func TestEncodingKeepsEverything(t *testing.T) {
	r := newRand(20)
	for range 1000 {
		h := randHeader(r)
		var h2 header.Header
		if err := h2.UnmarshalBinary(must(h.MarshalBinary())); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(h, &h2); diff != "" {
			t.Fatal(diff)
		}

		want := *h
		want.ChainID, want.ValidatorsHash = "", header.Hash{}
		got := must(header.DecodeStripped(must(header.EncodeStripped(h, true))))
		if diff := cmp.Diff(&want, got); diff != "" {
			t.Fatal(diff)
		}
		want.AppHash = header.Hash{}
		got = must(header.DecodeStripped(must(header.EncodeStripped(h, false))))
		if diff := cmp.Diff(&want, got); diff != "" {
			t.Fatal(diff)
		}
		got.ChainID, got.ValidatorsHash, got.AppHash = h.ChainID, h.ValidatorsHash, h.AppHash
		if got.Hash() != h.Hash() {
			t.Fatal("a stripped header that is filled in has another hash")
		}
	}
	for n := 1; n <= header.MaxValidators; n += 9 {
		z, h := newZone(r, 0, n), randHeader(r)
		c := z.sign(r, h, func(i int) bool { return i == n-1 || r.IntN(3) > 0 })
		var c2 header.Commit
		if err := c2.UnmarshalBinary(must(c.MarshalBinary())); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(c, &c2); diff != "" {
			t.Fatal(diff)
		}
		var v2 header.Validators
		if err := v2.UnmarshalBinary(must(z.vals.MarshalBinary())); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(z.vals, v2); diff != "" {
			t.Fatal(diff)
		}
	}
}

// samples returns sound encodings, by decoder.
func samples() map[string][][]byte {
	r := newRand(21)
	out := make(map[string][][]byte)
	for range 6 {
		h, z := randHeader(r), newZone(r, 0, 1+r.IntN(4))
		out["header"] = append(out["header"], must(h.MarshalBinary()))
		out["stripped"] = append(out["stripped"], must(header.EncodeStripped(h, false)), must(header.EncodeStripped(h, true)))
		out["commit"] = append(out["commit"], must(z.sign(r, h, all).MarshalBinary()))
		out["validators"] = append(out["validators"], must(z.vals.MarshalBinary()))
	}
	return out
}

// TestEncodingIsCanonical spoils each byte of sound encodings in several ways: what is
// still accepted must be the one encoding of its value.
func TestEncodingIsCanonical(t *testing.T) {
	for name, encodings := range samples() {
		decode := decoders[name]
		check := func(b []byte) {
			t.Helper()
			again, err := decode(b)
			if err != nil && !errors.Is(err, header.ErrInvalid) {
				t.Fatalf("%s: error %v is not ErrInvalid", name, err)
			}
			if err == nil && !bytes.Equal(b, again) {
				t.Fatalf("%s: accepted %x, which encodes as %x", name, b, again)
			}
		}
		for _, b := range encodings {
			if again, err := decode(b); err != nil || !bytes.Equal(b, again) {
				t.Fatalf("%s: %v, again %x, want %x", name, err, again, b)
			}
			for i := range b {
				if _, err := decode(b[:i]); err == nil {
					t.Fatalf("%s: accepted %d of %d bytes", name, i, len(b))
				}
				for bit := range 8 {
					c := slices.Clone(b)
					c[i] ^= 1 << bit
					check(c)
				}
				c := slices.Insert(slices.Clone(b), i+1, 0) // a longer number
				c[i] |= 0x80
				check(c)
			}
			if _, err := decode(append(slices.Clone(b), 0)); err == nil {
				t.Fatalf("%s: accepted a trailing byte", name)
			}
		}
	}
}

func TestStrippedAndFullAreDistinct(t *testing.T) {
	h := randHeader(newRand(22))
	if _, err := header.DecodeStripped(must(h.MarshalBinary())); !errors.Is(err, header.ErrInvalid) {
		t.Errorf("DecodeStripped of a full header: %v", err)
	}
	for _, withAppHash := range []bool{false, true} {
		got := header.Header{Height: 7}
		if err := got.UnmarshalBinary(must(header.EncodeStripped(h, withAppHash))); !errors.Is(err, header.ErrInvalid) {
			t.Errorf("UnmarshalBinary of a stripped header: %v", err)
		}
		if got != (header.Header{Height: 7}) {
			t.Error("a failed UnmarshalBinary changed the header")
		}
	}
}

func TestChecks(t *testing.T) {
	for _, tt := range []struct {
		want   string // part of the error
		change func(h *header.Header, v header.Validators, c *header.Commit)
	}{
		{"block protocol is 12", func(h *header.Header, _ header.Validators, _ *header.Commit) { h.Version.Block = 12 }},
		{"chain id has 0", func(h *header.Header, _ header.Validators, _ *header.Commit) { h.ChainID = "" }},
		{"chain id has 51", func(h *header.Header, _ header.Validators, _ *header.Commit) { h.ChainID = strings.Repeat("x", 51) }},
		{"byte 0xc3 at offset 1", func(h *header.Header, _ header.Validators, _ *header.Commit) { h.ChainID = "zé" }},
		{"height 0", func(h *header.Header, _ header.Validators, _ *header.Commit) { h.Height = 0 }},
		{"height -1", func(h *header.Header, _ header.Validators, _ *header.Commit) { h.Height = -1 }},
		{"header time", func(h *header.Header, _ header.Validators, _ *header.Commit) { h.Time = time.Time{} }},
		{"header time", func(h *header.Header, _ header.Validators, _ *header.Commit) {
			h.Time = time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)
		}},
		{"last block id", func(h *header.Header, _ header.Validators, _ *header.Commit) {
			h.LastBlockID = header.BlockID{PartsTotal: 1}
		}},
		{"1602 parts", func(h *header.Header, _ header.Validators, _ *header.Commit) {
			h.LastBlockID = header.BlockID{Hash: h.AppHash, PartsHash: h.AppHash, PartsTotal: 1602}
		}},
		{"no validators hash", func(h *header.Header, _ header.Validators, _ *header.Commit) { h.ValidatorsHash = header.Hash{} }},
		{"no app hash", func(h *header.Header, _ header.Validators, _ *header.Commit) { h.AppHash = header.Hash{} }},
		{"out of order", func(_ *header.Header, v header.Validators, _ *header.Commit) { v[0], v[1] = v[1], v[0] }},
		{"twice", func(_ *header.Header, v header.Validators, _ *header.Commit) { v[1] = v[0] }},
		{"twice", func(_ *header.Header, v header.Validators, _ *header.Commit) {
			v[1] = header.Validator{PublicKey: v[0].PublicKey, Power: 1}
		}},
		{"has power 0", func(_ *header.Header, v header.Validators, _ *header.Commit) { v[1].Power = 0 }},
		{"has power -1", func(_ *header.Header, v header.Validators, _ *header.Commit) { v[0].Power = -1 }},
		{"total", func(_ *header.Header, v header.Validators, _ *header.Commit) { v[0].Power = header.MaxTotalPower }},
		{"total", func(_ *header.Header, v header.Validators, _ *header.Commit) { v[0].Power = math.MaxInt64 }},
		{"round -1", func(_ *header.Header, _ header.Validators, c *header.Commit) { c.Round = -1 }},
		{"0 parts", func(_ *header.Header, _ header.Validators, c *header.Commit) { c.PartsTotal = 0 }},
		{"no votes", func(_ *header.Header, _ header.Validators, c *header.Commit) { c.Votes = nil }},
		{"out of order", func(_ *header.Header, _ header.Validators, c *header.Commit) { c.Votes[1].Index = 0 }},
		{"beyond the limit", func(_ *header.Header, _ header.Validators, c *header.Commit) { c.Votes[2].Index = 128 }},
		{"vote 1 has a time", func(_ *header.Header, _ header.Validators, c *header.Commit) { c.Votes[1].Time = time.Time{} }},
	} {
		r := newRand(23)
		h, z := randHeader(r), newZone(r, 0, 3)
		c := z.sign(r, h, all)
		tt.change(h, z.vals, c)
		errs := []error{h.Check(), z.vals.Check(), c.Check()}
		_, err := h.MarshalBinary()
		errs = append(errs, err)
		_, err = z.vals.MarshalBinary()
		errs = append(errs, err)
		_, err = c.MarshalBinary()
		errs = append(errs, err)
		failed := 0
		for _, err := range errs {
			if err == nil {
				continue
			}
			failed++
			if !errors.Is(err, header.ErrInvalid) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		}
		if failed != 2 { // the check and the encoder
			t.Errorf("%q: %d of 6 calls failed, want 2", tt.want, failed)
		}
	}
	for _, n := range []int{0, header.MaxValidators + 1} {
		if err := newZone(newRand(24), 0, max(n, 1)).vals[:n].Check(); !errors.Is(err, header.ErrInvalid) {
			t.Errorf("%d validators: %v", n, err)
		}
	}
}

func TestMinimalRefusesWhatDoesNotFit(t *testing.T) {
	r := newRand(25)
	z, h := newZone(r, 0, 4), randHeader(r)
	votes := z.sign(r, h, all).Votes
	for name, got := range map[string][]header.Vote{
		"no votes":          header.Minimal(z.vals, nil),
		"no validators":     header.Minimal(nil, votes),
		"twice":             header.Minimal(z.vals, []header.Vote{votes[0], votes[0], votes[1], votes[2]}),
		"unknown validator": header.Minimal(z.vals, append([]header.Vote{{Index: 4}}, votes...)),
		"unsound trusted":   header.MinimalSkipping(header.Validators{{}}, z.vals, votes),
	} {
		if got != nil {
			t.Errorf("%s: got %d votes, want none", name, len(got))
		}
	}
}

func fuzz(f *testing.F, name string) {
	for _, b := range samples()[name] {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		again, err := decoders[name](b)
		if err != nil {
			if !errors.Is(err, header.ErrInvalid) {
				t.Fatalf("error %v is not ErrInvalid", err)
			}
			return
		}
		if !bytes.Equal(b, again) {
			t.Fatalf("accepted %x, which encodes as %x", b, again)
		}
	})
}

func FuzzHeader(f *testing.F)     { fuzz(f, "header") }
func FuzzStripped(f *testing.F)   { fuzz(f, "stripped") }
func FuzzCommit(f *testing.F)     { fuzz(f, "commit") }
func FuzzValidators(f *testing.F) { fuzz(f, "validators") }
