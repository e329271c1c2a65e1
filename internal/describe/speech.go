// SPDX-License-Identifier: Apache-2.0

package describe

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"cityid"
	"cityid/keys"
)

// speech gathers lines in one language.
type speech struct {
	language int // index into the entries of the dictionary
	depth    int
	lines    []Line
}

// plain is text that is shown as it is: it was put together here.
type plain string

func in(lang string) *speech {
	primary, _, _ := strings.Cut(lang, "-")
	if strings.EqualFold(primary, "zh") {
		return &speech{language: zh}
	}
	return &speech{language: en}
}

func (s *speech) lang() string { return [...]string{en: "en", zh: "zh"}[s.language] }

// words returns a sentence of the dictionary with its arguments put in; whatever
// others wrote is shown by [Text].
func (s *speech) words(key string, args ...any) string {
	entry, ok := dictionary[key]
	if !ok {
		panic("describe: the dictionary has no " + key)
	}
	shown := make([]any, len(args))
	for i, a := range args {
		shown[i] = s.show(a)
	}
	return fmt.Sprintf(entry[s.language], shown...)
}

func (s *speech) show(a any) any {
	switch v := a.(type) {
	case plain:
		return string(v)
	case string:
		return Text(v)
	case cityid.PublicKey:
		return s.key(v)
	case cityid.Bytes:
		sum := sha256.Sum256(v)
		return hex.EncodeToString(sum[:])
	case cityid.Kind:
		return s.kind(v)
	case cityid.Status:
		return s.name("status", v.String())
	case cityid.Reason:
		return s.name("reason", v.String())
	case cityid.Disclosure:
		return s.name("disclosure", v.String())
	case cityid.DatasetClass:
		return s.name("class", v.String())
	case cityid.ProposalState:
		return s.name("state", v.String())
	case cityid.AgreementState:
		return s.name("agreement", v.String())
	case cityid.Roles:
		return s.roles(v)
	case fmt.Stringer:
		return Text(v.String())
	}
	return a
}

// say adds a line.
func (s *speech) say(key string, args ...any) {
	s.lines = append(s.lines, Line{s.depth, s.words(key, args...)})
}

// under adds a line and, one step deeper, what f says.
func (s *speech) under(f func(), key string, args ...any) {
	s.say(key, args...)
	s.depth++
	f()
	s.depth--
}

// text, code, digest, time and flag add a line unless there is nothing to say.
func (s *speech) text(key, text string) {
	if text != "" {
		s.say(key, text)
	}
}

func (s *speech) code(key string, c cityid.Code) {
	if !c.IsZero() {
		s.say(key, c)
	}
}

func (s *speech) digest(key string, d cityid.Digest) {
	if !d.IsZero() {
		s.say(key, d)
	}
}

func (s *speech) time(key string, t cityid.Time) {
	if t != 0 {
		s.say(key, t)
	}
}

func (s *speech) flag(key string, set bool) {
	if set {
		s.say(key)
	}
}

// quoted adds a line with a list of texts in quotation marks, if there are any.
func (s *speech) quoted(key string, list []string) {
	if len(list) == 0 {
		return
	}
	out := make([]string, len(list))
	for i, t := range list {
		out[i] = `"` + strings.ReplaceAll(Text(t), `"`, `\"`) + `"`
	}
	s.say(key, plain(strings.Join(out, ", ")))
}

// key is a key as people compare it: its algorithm and fingerprint, and for a
// passkey where it is used.
func (s *speech) key(k cityid.PublicKey) string {
	p, err := keys.ParsePublic([]byte(k))
	if err != nil {
		return fmt.Sprintf("%s %x", k.Algorithm(), string(k))
	}
	out := k.Algorithm() + " " + p.Fingerprint()
	if p.RPID() != "" {
		out = s.words("passkey", plain(out), p.RPID(), p.Origin())
	}
	return out
}

// Fingerprint returns the form of a key that people compare: groups of digits.
// A key that can not be parsed is returned in its text form.
func Fingerprint(k cityid.PublicKey) string {
	p, err := keys.ParsePublic([]byte(k))
	if err != nil {
		return Text(k.String())
	}
	return p.Fingerprint()
}

// Key returns a key's algorithm and fingerprint, and for a passkey the host it
// is bound to and the origin it is used at.
func Key(lang string, k cityid.PublicKey) string { return in(lang).key(k) }

// Text shows text that others wrote as it is, but writes as \u{...} whatever
// does not show or changes how the text around it is read: control and
// formatting characters, what turns the direction of text, line breaks, blanks
// other than the usual and the ideographic one, and characters without a form.
// A backslash becomes two, so that nothing can pass for such a mark.
func Text(text string) string {
	if !strings.ContainsFunc(text, special) && utf8.ValidString(text) {
		return text
	}
	var b strings.Builder
	for i, r := range text {
		switch {
		case r == '\\':
			b.WriteString(`\\`)
		case r == utf8.RuneError && !strings.HasPrefix(text[i:], "\uFFFD"):
			fmt.Fprintf(&b, `\x%02x`, text[i])
		case special(r):
			fmt.Fprintf(&b, `\u{%04X}`, r)
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

func special(r rune) bool {
	switch {
	case r == ' ' || r == '\u3000':
		return false
	case r == '\\' || r == '\u2800' || r == '\uFFFD':
		return true
	}
	return !unicode.IsGraphic(r) ||
		unicode.In(r, unicode.C, unicode.Z, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector)
}
