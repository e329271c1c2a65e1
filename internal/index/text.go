// SPDX-License-Identifier: Apache-2.0

package index

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// Bounds on tokens, in runes.
const (
	maxWord  = 16 // beginning of a word that is indexed
	maxAlias = 16 // beginning of a crosswalk value that is indexed
	minAlias = 3  // shortest beginning of a crosswalk value that is found
	maxTerms = 24 // terms of a query that count
)

// Fold brings text into the form in which it is compared: compatibility forms
// (full-width letters, ligatures) become plain ones, letters lose their case and
// their marks.
func Fold(s string) string {
	s = norm.NFKD.String(strings.ToValidUTF8(s, " "))
	s = strings.Map(func(r rune) rune {
		switch {
		case unicode.Is(unicode.Mn, r) && !unicode.In(r, dense...):
			return -1
		case r == 0:
			return ' '
		}
		return unicode.ToLower(r)
	}, s)
	return norm.NFC.String(s)
}

// dense are the scripts written without spaces between words.
var dense = []*unicode.RangeTable{
	unicode.Han, unicode.Hiragana, unicode.Katakana, unicode.Hangul, unicode.Thai, unicode.Lao, unicode.Khmer, unicode.Myanmar,
}

// A term is a run of letters and digits: a word, or a run of a dense script.
type Term struct {
	Text  string
	Dense bool // of a script written without spaces between words
}

// Terms cuts folded text into its terms, in order.
func Terms(folded string) []Term {
	var out []Term
	start, kind := 0, 0 // kind: 0 between terms, 1 in a word, 2 in a dense run
	for i, r := range folded {
		k := 0
		switch {
		case r == utf8.RuneError || r == 0:
		case unicode.In(r, dense...):
			k = 2
		case unicode.IsLetter(r) || unicode.IsNumber(r) || kind == 1 && unicode.IsMark(r):
			k = 1
		}
		if k == kind {
			continue
		}
		if kind != 0 {
			out = append(out, Term{folded[start:i], kind == 2})
		}
		start, kind = i, k
	}
	if kind != 0 {
		out = append(out, Term{folded[start:], kind == 2})
	}
	return out
}

// matches reports whether a term of a query is found in the terms of a name: a
// word at the beginning of a word, a dense run anywhere in one.
func (t Term) matches(name []Term) bool {
	for _, n := range name {
		if n.Dense == t.Dense && (t.Dense && strings.Contains(n.Text, t.Text) || !t.Dense && strings.HasPrefix(n.Text, t.Text)) {
			return true
		}
	}
	return false
}

// exact reports whether the tokens of a term say all about it, so that a record
// that holds them need not be looked at again.
func (t Term) exact() bool {
	n := utf8.RuneCountInString(t.Text)
	return t.Dense && n <= 2 || !t.Dense && n <= maxWord
}

// tokens are what the term of a query looks for, all of them.
func (t Term) tokens() []string {
	r := []rune(t.Text)
	if !t.Dense {
		return []string{"w" + string(r[:min(len(r), maxWord)])}
	}
	if len(r) == 1 {
		return []string{"h" + t.Text}
	}
	var out []string
	for i := range len(r) - 1 {
		out = append(out, "h"+string(r[i:i+2]))
	}
	return out
}

// tokenSet collects the tokens of a record, each once, with spaces between.
type tokenSet struct {
	b    strings.Builder
	seen map[string]struct{}
}

func (s *tokenSet) reset() {
	s.b.Reset()
	if s.seen == nil {
		s.seen = map[string]struct{}{}
	}
	clear(s.seen)
}

func (s *tokenSet) add(prefix byte, text string) {
	token := string(prefix) + text
	if _, ok := s.seen[token]; ok {
		return
	}
	s.seen[token] = struct{}{}
	s.b.WriteString(token)
	s.b.WriteByte(' ')
}

// name adds the tokens by which a name is found.
func (s *tokenSet) name(text string) {
	folded := Fold(text)
	s.add('e', hashToken(folded))
	for _, t := range Terms(folded) {
		at := [3]int{0, 0, 0} // where the last runes began
		n := 0
		for i := range t.Text {
			n++
			at[0], at[1], at[2] = at[1], at[2], i
			switch {
			case t.Dense && n > 1:
				s.add('h', t.Text[at[1]:i])
				if n > 2 {
					s.add('h', t.Text[at[0]:i])
				}
			case !t.Dense && n > 1 && n <= maxWord+1:
				s.add('w', t.Text[:i])
			}
		}
		if t.Dense {
			s.add('h', t.Text[at[2]:])
			if n > 1 {
				s.add('h', t.Text[at[1]:])
			}
		} else if n <= maxWord {
			s.add('w', t.Text)
		}
	}
}

// alias adds the tokens by which a crosswalk value is found.
func (s *tokenSet) alias(value string) {
	v := aliasToken(value)
	s.add('y', v)
	n := 0
	for i := range v {
		if n >= minAlias {
			s.add('x', v[:i])
		}
		if n++; n > maxAlias {
			return
		}
	}
	if n >= minAlias {
		s.add('x', v)
	}
}

// aliasToken folds a crosswalk value and replaces what the tokenizer would take
// for a separator by characters of the private use area.
func aliasToken(value string) string {
	return strings.Map(func(r rune) rune {
		if r < utf8.RuneSelf && !(r >= 'a' && r <= 'z' || r >= '0' && r <= '9') {
			return 0xE000 + r
		}
		return r
	}, strings.TrimSpace(Fold(value)))
}

// hashToken is the token of a whole name.
func hashToken(folded string) string {
	h := sha256.Sum256([]byte(strings.Join(strings.Fields(folded), " ")))
	return hex.EncodeToString(h[:8])
}

// quote writes a token for a MATCH expression. Tokens hold letters, digits and
// characters outside ASCII alone; what did not could still not leave its quotes.
func quote(token string) string { return `"` + strings.ReplaceAll(token, `"`, `""`) + `"` }

func allOf(parts ...string) string { return join(" AND ", parts) }
func anyOf(parts ...string) string { return join(" OR ", parts) }

func join(op string, parts []string) string {
	var out []string
	for _, p := range parts {
		if p != "" {
			out = append(out, p)
		}
	}
	if len(out) < 2 {
		return strings.Join(out, "")
	}
	return "(" + strings.Join(out, op) + ")"
}

func quoteAll(op string, tokens []string) string {
	out := make([]string, len(tokens))
	for i, t := range tokens {
		out[i] = quote(t)
	}
	return join(op, out)
}
