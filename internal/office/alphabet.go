// SPDX-License-Identifier: Apache-2.0

package office

import (
	"crypto/rand"
	"fmt"
	"strings"
	"unicode"
)

// What people read out and type is written in 32 symbols, digits and capital
// letters without I, L, O and U (Crockford's base32). Input is folded: small and
// full-width letters and digits to the plain capitals, I and L to 1, O to 0;
// blanks, hyphens and dashes of all kinds are dropped.

const symbols = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"

// randomSymbols returns n random symbols, 5 bits each.
func randomSymbols(n int) string {
	b := make([]byte, n)
	rand.Read(b) // never fails
	for i := range b {
		b[i] = symbols[b[i]&31]
	}
	return string(b)
}

// foldSymbols returns the symbols somebody meant, or [ErrInvalid]. It reads at
// most 200 bytes.
func foldSymbols(s string) (string, error) {
	if len(s) > 200 {
		return "", fmt.Errorf("%d bytes are too many: %w", len(s), ErrInvalid)
	}
	var out strings.Builder
	for _, c := range s {
		if c >= 0xff01 && c <= 0xff5e { // full-width forms of ASCII
			c -= 0xff01 - '!'
		}
		if c >= 'a' && c <= 'z' {
			c -= 'a' - 'A'
		}
		switch {
		case unicode.IsSpace(c) || unicode.Is(unicode.Pd, c) || c == '−' || c == '_' || c == '.':
			continue
		case c == 'I' || c == 'L':
			c = '1'
		case c == 'O':
			c = '0'
		}
		if c > 127 || strings.IndexByte(symbols, byte(c)) < 0 {
			return "", fmt.Errorf("%q does not occur in such a number: %w", c, ErrInvalid)
		}
		out.WriteRune(c)
	}
	return out.String(), nil
}

// grouped sets hyphens between groups of n symbols.
func grouped(s string, n int) string {
	var out strings.Builder
	for i := range len(s) {
		if i > 0 && i%n == 0 {
			out.WriteByte('-')
		}
		out.WriteByte(s[i])
	}
	return out.String()
}
