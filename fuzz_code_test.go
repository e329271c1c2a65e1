// SPDX-License-Identifier: Apache-2.0

package cityid

import (
	"bytes"
	"errors"
	"testing"
	"unicode/utf8"
)

// checkCodeError checks what every error of a parser promises.
func checkCodeError(t *testing.T, input string, err error) {
	t.Helper()
	var ce *CodeError
	if !errors.As(err, &ce) {
		t.Fatalf("%q: %T, want *CodeError", input, err)
	}
	if ce.Offset < 0 || ce.Offset > len(input) || ce.Reason == "" || len(ce.Input) > maxErrorInput+len("…") {
		t.Fatalf("%q: %+v", input, ce)
	}
	if utf8.ValidString(input) && !(utf8.ValidString(ce.Input) && (ce.Offset == len(input) || utf8.RuneStart(input[ce.Offset]) || ce.Offset == maxCodeInput)) {
		t.Fatalf("%q: cut inside a character: %+v", input, ce)
	}
	_ = ce.Error()
}

// FuzzParse checks that Parse accepts only what folds to the code it returns,
// and that both forms of that code are read back as itself.
func FuzzParse(f *testing.F) {
	v := readCodeVectors(f)
	for _, g := range v.Good {
		f.Add(g.Input)
	}
	for _, b := range v.Bad {
		f.Add(b.Input)
	}
	f.Fuzz(func(t *testing.T, input string) {
		c, err := Parse(input)
		if err != nil {
			if !c.IsZero() {
				t.Fatalf("%q: code %q and error %v", input, c, err)
			}
			checkCodeError(t, input, err)
			return
		}
		if !isCanonicalCode(c.String()) {
			t.Fatalf("%q: %q is not canonical", input, c)
		}
		folded := foldCode(input)
		if s := c.String(); folded != s && folded != s+"/" && folded != c.Display() && folded != c.Display()+"/" {
			t.Fatalf("%q gives %q", input, c)
		}
		for _, form := range []string{c.String(), c.String() + "/", c.Display()} {
			if d, err := Parse(form); d != c {
				t.Fatalf("%q: %q, %v; want %q", form, d, err, c)
			}
		}
		if p := c.Parent(); !p.IsZero() && (!isCanonicalCode(p.String()) || !p.Covers(c)) {
			t.Fatalf("%q has parent %q", c, p)
		}
	})
}

// FuzzParseCanonical holds the parser against the grammar as a regular
// expression.
func FuzzParseCanonical(f *testing.F) {
	v := readCodeVectors(f)
	for _, g := range v.Good {
		f.Add(g.Code)
	}
	for _, b := range v.Bad {
		f.Add(b.Input)
	}
	f.Fuzz(func(t *testing.T, s string) {
		c, err := ParseCanonical(s)
		if (err == nil) != isCanonicalCode(s) {
			t.Fatalf("%q: %v", s, err)
		}
		if err != nil {
			checkCodeError(t, s, err)
			return
		}
		if d, err := Parse(c.String()); c.String() != s || d != c {
			t.Fatalf("%q: %q, then %q, %v", s, c, d, err)
		}
	})
}

// FuzzCodeUnmarshalCBOR checks that only what MarshalCBOR writes is read.
func FuzzCodeUnmarshalCBOR(f *testing.F) {
	v := readCodeVectors(f)
	f.Add([]byte{0x60})
	for _, g := range v.Good {
		data, err := MustParse(g.Code).MarshalCBOR()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
		f.Add(append([]byte{0x79, 0}, data[1:]...))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var c Code
		if err := c.UnmarshalCBOR(data); err != nil {
			if !c.IsZero() {
				t.Fatalf("%x: code %q and error %v", data, c, err)
			}
			return
		}
		again, err := c.MarshalCBOR()
		if err != nil || !bytes.Equal(again, data) {
			t.Fatalf("%x reads as %q, which is written %x, %v", data, c, again, err)
		}
	})
}
