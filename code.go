// SPDX-License-Identifier: Apache-2.0

package cityid

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// A Code is the permanent identifier of an authority, a place, a department, a
// class of objects or one object. It has up to three parts joined by "/", each
// made of nodes joined by ".". In ABNF (RFC 5234):
//
//	code     = root [ "/" class [ "/" item ] ]     ; at most 120 octets
//	root     = iac [ "." country [ "." place *5( "." unit ) ] ]
//	iac      = 1*3nchar                            ; issuing agency code: "MA"
//	country  = 3DIGIT                              ; ISO 3166-1 numeric: "156"
//	place    = 1*12nchar                           ; "1301"
//	unit     = 1*16nchar                           ; "01", nests
//	class    = use "." category [ "." model ]
//	use      = 2*3DIGIT
//	category = 6*8DIGIT
//	model    = nchar *19( nchar / "-" )
//	item     = serial *5( "." tag 1*20nchar )      ; tags in this order, each at most once
//	serial   = 1*25nchar
//	tag      = "L" / "M" / "D" / "V" / "E"
//	nchar    = %x41-5A / DIGIT                     ; upper case only
//
// For example, MA.156.1301 is a city, MA.156.1301.01 a department of it, and
// MA.156.1301.01/20.010203/000123 one object of that department. A class may
// follow any root, and nothing is inferred from a code's digits: what a place
// is, only its record says.
//
// Codes sort as bytes, and that order follows the hierarchy: see
// [Code.DescendantRange].
//
// Only a parser builds a Code, so one that is not zero is always valid and in
// canonical form. Two codes are the same exactly if they compare equal with
// ==, and a Code can be a map key. The zero Code means "no code".
//
// A Code holds a string and never more than that: it may be copied, and used
// by several goroutines at once. One that was parsed from canonical text shares
// memory with it.
type Code struct{ s string }

const (
	maxCodeLength = 120 // octets of a canonical code
	maxCodeInput  = 480 // bytes of anything given to a parser
	maxErrorInput = 128 // bytes of it that an error repeats
)

// A CodeError says where and why a text is not a code.
type CodeError struct {
	Input  string // the text given; when that is long, its beginning and "…"
	Offset int    // in bytes, of the first byte of the text that is wrong; its length if more is needed
	Reason string // lower case, no full stop
}

// Error returns a message such as:
//
//	code "MA.156.13x1!": offset 11: character '!' is not a letter or digit
func (e *CodeError) Error() string {
	return fmt.Sprintf("code %q: offset %d: %s", e.Input, e.Offset, e.Reason)
}

// Parse returns the code that a person typed, a form carried or a scanner
// read. Beside the canonical form it accepts
//
//   - lower-case ASCII letters, folded to upper case;
//   - the full-width forms of letters, digits, ".", "/", "-" and "*", as an
//     East Asian keyboard produces them, folded to ASCII;
//   - one "/" at the very end, which is dropped;
//   - "*" and two check characters after the code (see [Code.Display]), which
//     must be right.
//
// Nothing else is folded, trimmed or guessed: not spaces around the code, not
// look-alikes from other scripts. Input over 480 bytes is refused. The error is
// a [*CodeError], and its offset counts bytes of input as it was given.
func Parse(input string) (Code, error) {
	if offset, _ := scanCode(input); offset < 0 {
		return Code{input}, nil
	}
	if len(input) > maxCodeInput {
		return Code{}, newCodeError(input, maxCodeInput, tooLongInput)
	}
	folded := foldCode(input)
	text, check, displayed := strings.Cut(strings.TrimSuffix(folded, "/"), "*")
	offset, reason := scanCode(text)
	if offset < 0 && displayed {
		if offset, reason = scanCheckCharacters(text, check); offset >= 0 {
			offset += len(text) + len("*")
		}
	}
	if offset >= 0 {
		return Code{}, newCodeError(input, unfoldedOffset(input, offset), reason)
	}
	return Code{text}, nil
}

// ParseCanonical returns the code whose canonical form is s, and refuses
// everything else with a [*CodeError]. It does not allocate when it succeeds.
// This is the parser for stored, signed and transmitted codes.
func ParseCanonical(s string) (Code, error) {
	if offset, reason := scanCode(s); offset >= 0 {
		return Code{}, newCodeError(s, offset, reason)
	}
	return Code{s}, nil
}

// MustParse is [ParseCanonical] for constants and tests: it panics if s is not
// a canonical code.
func MustParse(s string) Code {
	c, err := ParseCanonical(s)
	if err != nil {
		panic(err)
	}
	return c
}

// String returns the canonical form; the zero Code gives "".
func (c Code) String() string { return c.s }

// IsZero reports whether c is the zero Code.
func (c Code) IsZero() bool { return c.s == "" }

// Compare returns -1, 0 or +1 as c sorts before, with or after other in byte
// order. The zero Code comes first.
func (c Code) Compare(other Code) int { return strings.Compare(c.s, other.s) }

// Parent returns the longest code that c extends, found by dropping nodes from
// the end until the rest is a code again: from a tag to the tag before or the
// item, from an item to its class, from a model to its class without model,
// from a class to its root, and so on up to the issuing agency, whose parent
// is the zero Code.
//
// This is the parent by grammar. A place's record may name another place
// instead; see [Code.PlaceCovers].
func (c Code) Parent() Code {
	for i := lastSeparator(c.s); i >= 0; i = lastSeparator(c.s[:i]) {
		if offset, _ := scanCode(c.s[:i]); offset < 0 {
			return Code{c.s[:i]}
		}
	}
	return Code{}
}

// Covers reports whether other is a strict descendant of c: whether c is
// among other's parent, its parent's parent and so on. No code covers itself,
// and the zero Code neither covers nor is covered.
func (c Code) Covers(other Code) bool {
	n := len(c.s)
	return n > 0 && len(other.s) > n && isSeparator(other.s[n]) && other.s[:n] == c.s
}

// DescendantRange returns the bounds lo <= s < hi of the canonical forms of
// c's strict descendants: c + "." and c + "0". Since "0" follows "." and "/" in
// ASCII, the range holds these and no other code. For the zero Code it is a
// range without any code.
func (c Code) DescendantRange() (lo, hi string) { return c.s + ".", c.s + "0" }

// PlaceCovers reports whether c and other are both places, codes of exactly
// three nodes as MA.156.1301, under the same agency and country, and c's place
// is a proper prefix of other's: as province 13 is of city 1301, and that of
// district 130102. Whether it is really the parent, other's record says.
func (c Code) PlaceCovers(other Code) bool {
	return c.isPlace() && other.isPlace() && len(other.s) > len(c.s) && other.s[:len(c.s)] == c.s
}

// Within reports whether c is top or lies below it: as a descendant by the
// grammar, or in a place whose digits begin with those of the place top is. The
// zero Code lies within nothing, and nothing within it.
func (c Code) Within(top Code) bool {
	if c.IsZero() || top.IsZero() {
		return false
	}
	return c == top || top.Covers(c) || top.isPlace() && strings.HasPrefix(c.s, top.s)
}

// isPlace reports whether c has exactly the nodes iac, country and place.
func (c Code) isPlace() bool { return c.Depth() == 3 && c.Place() != "" }

// Root returns the code before the first "/": the holder of a class or an
// item, and c itself if it has no class.
func (c Code) Root() Code {
	root, _, _ := strings.Cut(c.s, "/")
	return Code{root}
}

// Class returns the part after the first "/", such as "20.010203.L2", or "".
func (c Code) Class() string {
	_, rest, _ := strings.Cut(c.s, "/")
	class, _, _ := strings.Cut(rest, "/")
	return class
}

// Item returns the part after the second "/", such as "000123" or
// "000123.LA7", or "".
func (c Code) Item() string {
	_, rest, _ := strings.Cut(c.s, "/")
	_, item, _ := strings.Cut(rest, "/")
	return item
}

// IAC returns the issuing agency code, the first node; "" only for the zero
// Code.
func (c Code) IAC() string { return c.rootNode(0) }

// Country returns the three digits of the country, or "".
func (c Code) Country() string { return c.rootNode(1) }

// Place returns the place's node, such as "1301", or "".
func (c Code) Place() string { return c.rootNode(2) }

// Units returns the nodes of the root that follow the place, outermost first;
// nil if there are none. The caller owns the slice.
func (c Code) Units() []string {
	nodes := strings.Split(c.Root().s, ".")
	if len(nodes) <= 3 {
		return nil
	}
	return nodes[3:]
}

// Depth returns the number of nodes, over all parts; 0 for the zero Code.
func (c Code) Depth() int {
	if c.s == "" {
		return 0
	}
	return strings.Count(c.s, ".") + strings.Count(c.s, "/") + 1
}

// LastNode returns the last node: the one that tells c from its siblings.
func (c Code) LastNode() string { return c.s[lastSeparator(c.s)+1:] }

// rootNode returns node n of the root, or "" if it has fewer.
func (c Code) rootNode(n int) string {
	rest := c.Root().s
	for range n {
		_, rest, _ = strings.Cut(rest, ".")
	}
	node, _, _ := strings.Cut(rest, ".")
	return node
}

// MarshalText returns the canonical form; the zero Code gives empty text.
func (c Code) MarshalText() ([]byte, error) { return []byte(c.s), nil }

// UnmarshalText accepts exactly what [Code.MarshalText] returns. On an error c
// keeps its value.
func (c *Code) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		*c = Code{}
		return nil
	}
	parsed, err := ParseCanonical(string(text[:min(len(text), maxCodeInput+1)]))
	if err != nil {
		return err
	}
	*c = parsed
	return nil
}

// CBOR heads of a text string (RFC 8949, section 3.1): up to 23 bytes have
// their length in the head itself, and up to 255 in the byte that follows.
const (
	cborText      = 0x60
	cborTextUint8 = 0x78
	cborShort     = 24
)

// MarshalCBOR returns the canonical form as a CBOR text string in
// deterministic encoding; the zero Code gives the empty string.
func (c Code) MarshalCBOR() ([]byte, error) {
	b := make([]byte, 0, 2+len(c.s))
	if len(c.s) < cborShort {
		b = append(b, cborText+byte(len(c.s)))
	} else {
		b = append(b, cborTextUint8, byte(len(c.s)))
	}
	return append(b, c.s...), nil
}

// UnmarshalCBOR accepts exactly what [Code.MarshalCBOR] returns: one text
// string of definite length, its head as short as can be, holding a canonical
// code or nothing. On an error c keeps its value.
func (c *Code) UnmarshalCBOR(data []byte) error {
	switch n := len(data); {
	case n >= 1 && n <= cborShort && data[0] == cborText+byte(n-1):
		return c.UnmarshalText(data[1:])
	case n >= 2+cborShort && n <= 2+maxCodeLength && data[0] == cborTextUint8 && int(data[1]) == n-2:
		return c.UnmarshalText(data[2:])
	}
	return errors.New("code: not one CBOR text string of definite length, at most 120 bytes and shortest head")
}

// The characters nodes are made of, as sets of bits.
const (
	charDigit  = 1 << iota // 0-9
	charLetter             // A-Z
	charHyphen             // -
	nchar      = charDigit | charLetter
)

// charSets gives the set each byte belongs to; 0 for none.
var charSets = func() (sets [256]uint8) {
	for b := '0'; b <= '9'; b++ {
		sets[b] = charDigit
	}
	for b := 'A'; b <= 'Z'; b++ {
		sets[b] = charLetter
	}
	sets['-'] = charHyphen
	return sets
}()

// A nodeRule says what one node may hold.
type nodeRule struct {
	name     string
	min, max int   // characters
	chars    uint8 // set they are taken from
}

// The rules of the nodes of each part, in order.
var (
	unitRule = nodeRule{"a unit", 1, 16, nchar}
	tagRule  = nodeRule{"a tag with its value", 2, 21, nchar}

	codeParts = [...][]nodeRule{
		{
			{"the issuing agency", 1, 3, nchar},
			{"the country", 3, 3, charDigit},
			{"the place", 1, 12, nchar},
			unitRule, unitRule, unitRule, unitRule, unitRule,
		},
		{
			{"the use", 2, 3, charDigit},
			{"the category", 6, 8, charDigit},
			{"the model", 1, 20, nchar | charHyphen},
		},
		{
			{"the serial", 1, 25, nchar},
			tagRule, tagRule, tagRule, tagRule, tagRule,
		},
	}
)

// What the table does not say: a class has at least two nodes and a model, the
// third, begins with no hyphen; an item's tags stand in this order.
const (
	classPart     = 1
	minClassNodes = 2
	modelNode     = 2

	itemPart = 2
	itemTags = "LMDVE"
)

// Reasons that are given in two places.
const (
	tooLongInput = "longer than 480 bytes, which no code is"
	tooLongCode  = "longer than 120 characters, the most a code has"
)

// scanCode checks s against the grammar. It returns offset -1 if s is a
// canonical code; else the offset of the first byte that no code with the same
// beginning has there, len(s) if s ends too early, and the reason. An empty
// reason stands for "this character belongs in no code, or not in this place",
// which the caller words, since it knows the text as it was given.
func scanCode(s string) (offset int, reason string) {
	if len(s) > maxCodeInput {
		return maxCodeInput, tooLongInput
	}
	end := -1
	for part := range codeParts {
		if end, offset, reason = scanPart(s, end+1, part); offset >= 0 || end == len(s) {
			break
		}
		if part == itemPart {
			offset, reason = end, "nothing follows an item"
		}
	}
	if len(s) > maxCodeLength && (offset < 0 || offset > maxCodeLength) {
		return maxCodeLength, tooLongCode
	}
	return offset, reason
}

// scanPart checks the part of s that begins at i. It returns where the part
// ends, at a "/" or at the end of s, and the offset and reason as scanCode.
func scanPart(s string, i, part int) (end, offset int, reason string) {
	tags := itemTags
	rules := codeParts[part]
	for n := range rules {
		rule := &rules[n]
		start := i
		for i < len(s) && charSets[s[i]]&rule.chars != 0 {
			i++
		}
		if i > start && part == classPart && n == modelNode && s[start] == '-' {
			return 0, start, "a model does not begin with a hyphen"
		}
		if i > start && part == itemPart && n > 0 {
			tag := strings.IndexByte(tags, s[start])
			if tag < 0 {
				return 0, start, "an item's serial is followed by tags L, M, D, V, E, in this order and each at most once"
			}
			tags = tags[tag+1:]
		}
		if offset, reason = scanNodeEnd(s, start, i, rule); offset >= 0 {
			return 0, offset, reason
		}
		if i == len(s) || s[i] == '/' {
			if part == classPart && n+1 < minClassNodes {
				return 0, i, "the category is missing"
			}
			return i, -1, ""
		}
		if n+1 == len(rules) || tags == "" {
			break
		}
		i++
	}
	return 0, i, [...]string{
		"a root has no more than five units",
		"a class has no nodes after its model",
		"no tag follows tag E",
	}[part]
}

// scanNodeEnd checks the length of the node s[start:end], which ends where its
// rule's characters do, and that a separator or nothing follows.
func scanNodeEnd(s string, start, end int, rule *nodeRule) (offset int, reason string) {
	n := end - start
	if n > rule.max {
		return start + rule.max, rule.name + " has at most " + rule.characters(rule.max)
	}
	if end < len(s) && !isSeparator(s[end]) {
		switch set := charSets[s[end]]; {
		case set&nchar != 0:
			return end, rule.name + " has only digits"
		case set == charHyphen:
			return end, "a hyphen stands only inside a model"
		}
		return end, ""
	}
	if n == 0 {
		return end, rule.name + " is missing"
	}
	if n < rule.min {
		return end, rule.name + " has at least " + rule.characters(rule.min)
	}
	return -1, ""
}

// characters words a number of the rule's characters.
func (r *nodeRule) characters(n int) string {
	if r.chars == charDigit {
		return strconv.Itoa(n) + " digits"
	}
	return strconv.Itoa(n) + " characters"
}

// isSeparator reports whether b separates nodes.
func isSeparator(b byte) bool { return b == '.' || b == '/' }

// lastSeparator returns the index of the last separator in s, or -1.
func lastSeparator(s string) int {
	i := len(s) - 1
	for i >= 0 && !isSeparator(s[i]) {
		i--
	}
	return i
}

// unfoldable stands in folded text for a character outside ASCII that has no
// ASCII form. It belongs to no character set.
const unfoldable = 0xFF

// foldCode returns input in upper case and ASCII, one byte for each of its
// characters.
func foldCode(input string) string {
	folded := make([]byte, 0, len(input))
	for _, r := range input {
		folded = append(folded, foldRune(r))
	}
	return string(folded)
}

// foldRune returns the upper-case ASCII form of r if it is ASCII, or the
// full-width form of a character that a code or its display form can hold; and
// unfoldable if not.
func foldRune(r rune) byte {
	const fullWidth = '\uFF01' - '!' // full-width forms mirror ASCII from "!" to "~"
	wide := r >= '!'+fullWidth && r <= '~'+fullWidth
	if wide {
		r -= fullWidth
	}
	if r >= 'a' && r <= 'z' {
		r -= 'a' - 'A'
	}
	if r >= utf8.RuneSelf || wide && charSets[r] == 0 && !isSeparator(byte(r)) && r != '*' {
		return unfoldable
	}
	return byte(r)
}

// unfoldedOffset returns the byte offset in input of the character that became
// byte n of its folded form, or len(input) if it has no such character.
func unfoldedOffset(input string, n int) int {
	for i := range input {
		if n == 0 {
			return i
		}
		n--
	}
	return len(input)
}

// newCodeError returns the error for input, and words an empty reason.
func newCodeError(input string, offset int, reason string) *CodeError {
	if reason == "" {
		reason = describeCharacter(input[offset:])
	}
	if len(input) > maxErrorInput {
		end := maxErrorInput
		for end > maxErrorInput-utf8.UTFMax && !utf8.RuneStart(input[end]) {
			end--
		}
		input = input[:end] + "…"
	}
	return &CodeError{Input: input, Offset: offset, Reason: reason}
}

// describeCharacter says why the first character of s is not part of a code.
func describeCharacter(s string) string {
	switch r, size := utf8.DecodeRuneInString(s); {
	case r == utf8.RuneError && size <= 1:
		return fmt.Sprintf("byte 0x%02x is not UTF-8", s[0])
	case r >= 'a' && r <= 'z':
		return fmt.Sprintf("letter %q is lower case, and a canonical code is upper case", r)
	case r == '*':
		return "check characters are not part of the canonical code"
	case r < utf8.RuneSelf:
		return fmt.Sprintf("character %q is not a letter or digit", r)
	case unicode.IsLetter(r) || unicode.IsNumber(r) || unicode.IsPunct(r) || unicode.IsSymbol(r):
		return fmt.Sprintf("character %q (%U) is not one of A to Z and 0 to 9", r, r)
	default:
		return fmt.Sprintf("character %U is not one of A to Z and 0 to 9", r)
	}
}
