// SPDX-License-Identifier: Apache-2.0

package cityid

import (
	"math/rand/v2"
	"strings"
	"testing"
)

// TestMod1271 holds the plain arithmetic against ISO/IEC 7064's own example
// and against its definition: text and check characters, as a number in base
// 36, leave the remainder 1.
func TestMod1271(t *testing.T) {
	for text, want := range map[string]string{
		"ISO79": "3W",
		"":      "01",
		"0":     "01",
		"1":     "YN",
	} {
		if got := mod1271([]byte(text)); string(got[:]) != want {
			t.Errorf("%q has check characters %s, want %s", text, got, want)
		}
	}
	r := rand.New(rand.NewPCG(5, 6))
	for range 2000 {
		text := randomNode(r, 0, 60, base36)
		check := mod1271([]byte(text))
		sum := 0
		weight := 1
		whole := text + string(check[:])
		for i := len(whole) - 1; i >= 0; i-- {
			sum += strings.IndexByte(base36, whole[i]) * weight
			weight = weight * 36 % 1271
		}
		if sum%1271 != 1 {
			t.Fatalf("%s leaves %d", whole, sum%1271)
		}
	}
}

// TestCheckCharacters pins some of our own.
func TestCheckCharacters(t *testing.T) {
	for code, want := range map[string]string{
		"MA":                              "MA*OL",
		"MA.156.1301":                     "MA.156.1301*UV",
		"MA.156.1301.01":                  "MA.156.1301.01*V6",
		"MA.156.1301.01/20.010203/000123": "MA.156.1301.01/20.010203/000123*EJ",
	} {
		if got := MustParse(code).Display(); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
	if (Code{}).CheckCharacters() != "" || (Code{}).Display() != "" {
		t.Error("the zero code has check characters")
	}
}

// escapes reports whether typed, entered with c's check characters, passes
// for another code.
func escapes(c Code, typed string) (other Code, escaped bool) {
	other, err := Parse(typed + "*" + c.CheckCharacters())
	return other, err == nil && other != c
}

// exchanged returns s with bytes i and j exchanged.
func exchanged(s string, i, j int) string {
	b := []byte(s)
	b[i], b[j] = b[j], b[i]
	return string(b)
}

// TestCheckFindsMistypedCharacters makes every slip inside a node, and every
// move of a "." by one character, in many codes: none may pass.
func TestCheckFindsMistypedCharacters(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	tried := 0
	try := func(c Code, typed string) {
		tried++
		if other, escaped := escapes(c, typed); escaped {
			t.Fatalf("%s passes for %s", other, c.Display())
		}
	}
	for range 150 {
		c := randomCode(r, 25, "0123456789", base36[10:])
		for i := range len(c.s) {
			if isSeparator(c.s[i]) {
				continue
			}
			for _, b := range base36 + "-" {
				try(c, c.s[:i]+string(b)+c.s[i+1:])
			}
			if i+1 < len(c.s) && c.s[i+1] != '/' {
				try(c, exchanged(c.s, i, i+1))
			}
			if i > 0 && c.s[i-1] == '.' {
				try(c, exchanged(c.s, i-1, i))
			}
			if i+2 < len(c.s) && !strings.ContainsAny(c.s[i+1:i+3], "./") {
				try(c, exchanged(c.s, i, i+2))
			}
		}
	}
	if tried < 100_000 {
		t.Errorf("only %d slips tried", tried)
	}
	if _, escaped := escapes(MustParse("MA.156.130.101"), "MA.156.1301.01"); escaped {
		t.Error("130.101 passes for 1301.01")
	}
}

// TestCheckFindsWrongCheckCharacters mistypes the check characters themselves.
func TestCheckFindsWrongCheckCharacters(t *testing.T) {
	c := MustParse("MA.156.1301.01/20.010203/000123")
	accepted := 0
	for _, a := range base36 {
		for _, b := range base36 {
			if _, err := Parse(c.s + "*" + string(a) + string(b)); err == nil {
				accepted++
			}
		}
	}
	if accepted != 1 {
		t.Errorf("%d pairs of check characters are accepted", accepted)
	}
}

// TestCheckFindsMovedSeparators compares all texts that differ in a separator
// moved by one character. What stands around the two nodes does not matter: it
// adds the same to both sums, or multiplies both by a power of 36, which has no
// factor in common with 1271.
func TestCheckFindsMovedSeparators(t *testing.T) {
	exceptions := 0
	for a := 1; a <= 24; a++ {
		for b := 1; b <= 24; b++ {
			for _, moved := range base36 {
				left, c, right := strings.Repeat("A", a), string(moved), strings.Repeat("B", b)
				isDigit := moved <= '9'

				if codeCheck(left+c+"."+right) == codeCheck(left+"."+c+right) {
					// Longer than a unit and with a "." behind, left is of an
					// item, and then the node after it begins with a tag.
					if a+1 <= unitRule.max || strings.Contains(itemTags, c) {
						t.Errorf("%s moves over a dot unnoticed between %d and %d characters", c, a, b)
					}
				}
				if codeCheck(left+c+"/"+right) != codeCheck(left+"/"+c+right) {
					continue
				}
				switch {
				case isDigit && a+1 <= unitRule.max && b == 2:
					t.Errorf("%s moves from a root of %d characters to a use unnoticed", c, a)
				case isDigit && (a+1 == 7 || a+1 == 8):
					t.Errorf("%s moves from a category of %d characters to a serial of %d unnoticed", c, a, b)
				case a+1 <= 20:
					exceptions++ // from a model to a serial
				}
			}
		}
	}
	if exceptions != 15 {
		t.Errorf("%d moves between a model and a serial go unnoticed, the documentation says 15", exceptions)
	}
	b := strings.Repeat("B", 23)
	if _, escaped := escapes(MustParse("MA/20.010203.A9/"+b), "MA/20.010203.A/9"+b); !escaped {
		t.Error("a known exception is none")
	}
}

// TestCheckFindsMostOtherMistakes types any character, separators included, in
// the place of any other, or leaves one out. Where the result is another code,
// about one in 1271 may pass.
func TestCheckFindsMostOtherMistakes(t *testing.T) {
	r := rand.New(rand.NewPCG(9, 10))
	tried, escaped := 0, 0
	for range 1500 {
		c := randomCode(r, 6, "0123456789", base36[10:])
		for i := range len(c.s) {
			for _, b := range []string{"", ".", "/", string(base36[r.IntN(36)])} {
				typed := c.s[:i] + b + c.s[i+1:]
				if !isCanonicalCode(typed) || typed == c.s {
					continue
				}
				tried++
				if _, ok := escapes(c, typed); ok {
					escaped++
				}
			}
		}
	}
	if tried < 25_000 || escaped > tried/800 {
		t.Errorf("%d of %d mistakes pass", escaped, tried)
	}
}
