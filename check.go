// SPDX-License-Identifier: Apache-2.0

package cityid

import "strings"

// Check characters are two letters or digits that a person reads, types or
// dictates after a code and "*", as in MA.156.1301.01*XX. They are a profile of
// ISO/IEC 7064 MOD 1271-36: the standard's arithmetic over a text derived from
// the code, because the standard skips separators and so cannot tell 130.101
// from 1301.01. The derived text is the code's nodes in order, each preceded by
// its length as one base-36 character, with "0", a length no node has, at the
// end of every part:
//
//	code     MA.156.1301.01/20.010203/000123
//	derived  2MA 3156 41301 201 0 220 6010203 0 6000123 0    (without the spaces)
//
// A character's value is 0 to 9 for digits and 10 to 35 for letters. A hyphen,
// which the standard does not know, counts 36.
//
// Found without exception are: one letter, digit or hyphen replaced by another;
// two exchanged inside a node, next to each other or one apart; and a "." moved
// by one character. A "/" moved by one character is found too, save for 15
// combinations of a model's length, a serial's length and the character between
// them. Of all other mistakes about one in 1271 escapes. Check characters guard against
// slips, not against forgery.
const (
	checkModulus = 1271
	checkRadix   = 36
	checkLength  = 2

	base36 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"

	// A node and a part add at most one character each to the derived text, and
	// all nodes but the first have a separator that it leaves out.
	maxDerived = maxCodeLength + 1 + len(codeParts)
)

// CheckCharacters returns the two check characters of c; "" for the zero Code.
func (c Code) CheckCharacters() string {
	if c.s == "" {
		return ""
	}
	check := codeCheck(c.s)
	return string(check[:])
}

// Display returns the form for people: the canonical form, "*" and the check
// characters. [Parse] reads it back. It is for print and forms only and never
// part of keys, hashes or machine-readable labels. The zero Code gives "".
func (c Code) Display() string {
	if c.s == "" {
		return ""
	}
	return c.s + "*" + c.CheckCharacters()
}

// codeCheck returns the check characters of a canonical code.
func codeCheck(code string) [checkLength]byte {
	var buf [maxDerived]byte
	return mod1271(appendDerived(buf[:0], code))
}

// appendDerived appends to dst the text over which code's check characters are
// computed.
func appendDerived(dst []byte, code string) []byte {
	for code != "" {
		var part string
		part, code, _ = strings.Cut(code, "/")
		for part != "" {
			var node string
			node, part, _ = strings.Cut(part, ".")
			dst = append(dst, base36[len(node)])
			dst = append(dst, node...)
		}
		dst = append(dst, '0')
	}
	return dst
}

// mod1271 returns the check characters of ISO/IEC 7064 MOD 1271-36 for text:
// those for which the values of text and check characters, read as a number in
// base 36, leave the remainder 1 modulo 1271.
func mod1271(text []byte) [checkLength]byte {
	sum := 0
	for _, b := range text {
		sum = (sum*checkRadix + checkValue(b)) % checkModulus
	}
	sum = sum * checkRadix * checkRadix % checkModulus
	check := (checkModulus + 1 - sum) % checkModulus
	return [checkLength]byte{base36[check/checkRadix], base36[check%checkRadix]}
}

// checkValue returns the value of a digit, an upper-case letter or a hyphen.
func checkValue(b byte) int {
	switch {
	case b == '-':
		return checkRadix
	case b <= '9':
		return int(b - '0')
	default:
		return int(b-'A') + 10
	}
}

// scanCheckCharacters checks what followed "*" after a canonical code. Like
// scanCode it returns offset -1 if it is right, and else an offset in check
// and the reason.
func scanCheckCharacters(code, check string) (offset int, reason string) {
	for i := range checkLength {
		if i == len(check) {
			return i, `two check characters belong after "*"`
		}
		if charSets[check[i]]&nchar == 0 {
			return i, "check characters are letters or digits"
		}
	}
	if len(check) > checkLength {
		return checkLength, `only two check characters belong after "*"`
	}
	if right := codeCheck(code); check != string(right[:]) {
		return 0, "the check characters " + check + " do not fit the code, so something in it was mistyped or left out"
	}
	return -1, ""
}
