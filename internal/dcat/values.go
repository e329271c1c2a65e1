// SPDX-License-Identifier: Apache-2.0

package dcat

import (
	"encoding/json"
	"fmt"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"cityid"
)

// Bounds on values, in octets where nothing else is said.
const (
	maxIRI      = 1024
	maxLong     = 4000 // a description in one language
	maxKeywords = 64   // of one language
	maxVersion  = 64
)

// A Ref is the IRI of a coded thing: "https://" + host + "/" + code, where the
// host, with a port perhaps, is that of a resolver. It is comparable. The zero
// Ref refers to nothing.
type Ref struct {
	host string
	code cityid.Code
}

var validHost = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*(:[1-9][0-9]{0,4})?$`)

// NewRef returns the reference to code at the resolver host, a host name in
// lower case with a port perhaps, such as "id.example".
func NewRef(host string, code cityid.Code) (Ref, error) {
	if len(host) > 253+len(":65535") || !validHost.MatchString(host) {
		return Ref{}, malformed("host %.80q: want a host name in lower case, with a port perhaps", host)
	}
	if code.IsZero() {
		return Ref{}, malformed("a reference names a code")
	}
	return Ref{host, code}, nil
}

// ParseRef parses what [Ref.String] returns.
func ParseRef(s string) (Ref, error) {
	rest, ok := strings.CutPrefix(s, "https://")
	host, code, found := strings.Cut(rest, "/")
	if !ok || !found {
		return Ref{}, malformed("reference %.120q: want https://, the resolver's host, / and a code", s)
	}
	c, err := cityid.ParseCanonical(code)
	if err != nil {
		return Ref{}, malformed("reference %.120q: %v", s, err)
	}
	return NewRef(host, c)
}

// Host returns the resolver's host.
func (r Ref) Host() string { return r.host }

// Code returns the code.
func (r Ref) Code() cityid.Code { return r.code }

// IsZero reports whether r refers to nothing.
func (r Ref) IsZero() bool { return r == Ref{} }

// String returns the IRI, empty for the zero Ref.
func (r Ref) String() string {
	if r.IsZero() {
		return ""
	}
	return "https://" + r.host + "/" + r.code.String()
}

// MarshalText returns the IRI.
func (r Ref) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText parses an IRI; empty text is the zero Ref.
func (r *Ref) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		*r = Ref{}
		return nil
	}
	p, err := ParseRef(string(text))
	if err != nil {
		return err
	}
	*r = p
	return nil
}

// A fixed value writes and accepts one constant.
type fixed[T interface{ constant() any }] struct{}

// MarshalJSON writes the constant.
func (fixed[T]) MarshalJSON() ([]byte, error) {
	var t T
	return json.Marshal(t.constant())
}

// UnmarshalJSON accepts the constant and nothing else.
func (f fixed[T]) UnmarshalJSON(b []byte) error {
	if want, err := f.MarshalJSON(); err != nil || string(b) != string(want) {
		return malformed("%.60s: want %s", b, want)
	}
	return nil
}

// Keywords lists keywords by language, in byte order of the tag.
type Keywords []KeywordSet

// KeywordSet is the keywords in one language.
type KeywordSet struct {
	Lang  string   // BCP 47 tag
	Words []string // 1 to 64, each NFC and at most 200 octets
}

// In returns the keywords in lang, nil if there are none.
func (k Keywords) In(lang string) []string {
	for _, s := range k {
		if s.Lang == lang {
			return s.Words
		}
	}
	return nil
}

// MarshalJSON writes an object from tag to list.
func (k Keywords) MarshalJSON() ([]byte, error) {
	m := make(map[string][]string, len(k))
	for _, s := range k {
		m[s.Lang] = s.Words
	}
	return json.Marshal(m)
}

// UnmarshalJSON parses the object and sorts it.
func (k *Keywords) UnmarshalJSON(b []byte) error {
	var m map[string][]string
	if err := json.Unmarshal(b, &m); err != nil {
		return err
	}
	*k = nil
	for _, n := range cityid.NamesOf(mapped(m, func([]string) string { return "" })) {
		*k = append(*k, KeywordSet{Lang: n.Lang, Words: m[n.Lang]})
	}
	return nil
}

func mapped[A, B any](m map[string]A, f func(A) B) map[string]B {
	out := make(map[string]B, len(m))
	for k, v := range m {
		out[k] = f(v)
	}
	return out
}

// Count is a number that documents write as a string of decimal digits, since
// numbers in JSON are not exact everywhere. It is below 2^63.
type Count uint64

// MarshalText returns the digits.
func (c Count) MarshalText() ([]byte, error) { return strconv.AppendUint(nil, uint64(c), 10), nil }

// UnmarshalText parses digits without leading zeros.
func (c *Count) UnmarshalText(text []byte) error {
	n, err := strconv.ParseUint(string(text), 10, 63)
	if err != nil || strconv.FormatUint(n, 10) != string(text) {
		return malformed("number %.40q: want decimal digits without leading zeros", text)
	}
	*c = Count(n)
	return nil
}

// Date is a day, as in "2026-11-24"; empty for none.
type Date string

func (d Date) check(path string) error {
	if t, err := time.Parse(time.DateOnly, string(d)); d != "" && (err != nil || t.Year() < 1) {
		return invalid(path, "date %.40q: want a day such as 2026-11-24", string(d))
	}
	return nil
}

// Box is a rectangle in WGS 84, in units of 1e-7 degrees. It does not cross the
// 180th meridian. Its text form is a polygon in WKT, longitudes first:
//
//	POLYGON((114.4 37.9,114.7 37.9,114.7 38.2,114.4 38.2,114.4 37.9))
type Box struct{ West, South, East, North int32 }

// MarshalText returns the text form.
func (b Box) MarshalText() ([]byte, error) {
	w, s, e, n := degrees(b.West), degrees(b.South), degrees(b.East), degrees(b.North)
	return fmt.Appendf(nil, "POLYGON((%s %s,%s %s,%s %s,%s %s,%s %s))", w, s, e, s, e, n, w, n, w, s), nil
}

var boxText = regexp.MustCompile(`^POLYGON\(\(([-0-9.]+) ([-0-9.]+),[-0-9.]+ [-0-9.]+,([-0-9.]+) ([-0-9.]+),[-0-9., ]+\)\)$`)

// UnmarshalText parses exactly what [Box.MarshalText] returns.
func (b *Box) UnmarshalText(text []byte) error {
	var p Box
	m := boxText.FindSubmatch(text[:min(len(text), 300)])
	if m == nil {
		return malformed("rectangle %.80q: want POLYGON((west south,east south,east north,west north,west south))", text)
	}
	for i, v := range []*int32{&p.West, &p.South, &p.East, &p.North} {
		d, err := cityid.ParseDegrees(string(m[i+1]), int32(180-90*(i%2)))
		if err != nil {
			return err
		}
		*v = d
	}
	if again, _ := p.MarshalText(); string(again) != string(text) { // never fails
		return malformed("rectangle %.200q: want it as %s", text, again)
	}
	*b = p
	return nil
}

func (b *Box) check(path string) error {
	if b.West >= b.East || b.South >= b.North || b.West < -180e7 || b.East > 180e7 || b.South < -90e7 || b.North > 90e7 {
		return invalid(path, "a rectangle lies within 180 and 90 degrees, its west before its east and its south before its north")
	}
	return nil
}

// Point is a point in WGS 84. Its text form is WKT, longitude first, as in
// "POINT(114.5024610 38.0454740)" without trailing zeros.
type Point cityid.Location

// MarshalText returns the text form.
func (p Point) MarshalText() ([]byte, error) {
	return fmt.Appendf(nil, "POINT(%s %s)", degrees(p.Lon), degrees(p.Lat)), nil
}

// UnmarshalText parses exactly what [Point.MarshalText] returns.
func (p *Point) UnmarshalText(text []byte) error {
	bad := malformed("point %.80q: want POINT(longitude latitude)", text)
	inner, ok := strings.CutPrefix(string(text[:min(len(text), 80)]), "POINT(")
	lon, rest, found := strings.Cut(inner, " ")
	lat, end := strings.CutSuffix(rest, ")")
	if !ok || !found || !end {
		return bad
	}
	x, err := cityid.ParseDegrees(lon, 180)
	if err != nil {
		return err
	}
	y, err := cityid.ParseDegrees(lat, 90)
	if err != nil {
		return err
	}
	q := Point{Lat: y, Lon: x}
	if again, _ := q.MarshalText(); string(again) != string(text) { // never fails
		return bad
	}
	*p = q
	return nil
}

// degrees writes units of 1e-7 degrees as a decimal number without zeros at its
// end.
func degrees(v int32) string {
	sign, u := "", int64(v)
	if u < 0 {
		sign, u = "-", -u
	}
	whole, frac := u/1e7, strings.TrimRight(fmt.Sprintf("%07d", u%1e7), "0")
	if frac == "" {
		return sign + strconv.FormatInt(whole, 10)
	}
	return sign + strconv.FormatInt(whole, 10) + "." + frac
}

// checkIRI checks an absolute IRI in one of the schemes; empty is allowed.
func checkIRI(path, s string, schemes ...string) error {
	if s == "" {
		return nil
	}
	if len(s) > maxIRI {
		return invalid(path, "an IRI of %d octets: at most %d", len(s), maxIRI)
	}
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c >= 0x7f || strings.IndexByte("\"<>\\^`{|}", c) >= 0 {
			return invalid(path, "IRI %.80q has a character at offset %d that none has: write it with %%", s, i)
		}
	}
	u, err := url.Parse(s)
	if err != nil {
		return invalid(path, "IRI %.80q can not be read", s)
	}
	for _, scheme := range schemes {
		if u.Scheme != scheme {
			continue
		}
		if web := scheme == "https" || scheme == "http"; web && (u.Host == "" || u.User != nil) || !web && u.Opaque == "" {
			break
		}
		return nil
	}
	return invalid(path, "IRI %.80q: want one that begins with %s", s, strings.Join(schemes, ": or ")+":")
}

func checkWeb(path, s string) error { return checkIRI(path, s, "https", "http") }

// checkNames checks short texts by language.
func checkNames(path string, n cityid.Names) error {
	if err := (&cityid.Content{Names: n}).Check(); err != nil {
		return invalid(path, "%s", message(err))
	}
	return nil
}

// message is an error's sentence without its code.
func message(err error) string {
	if e, ok := err.(*cityid.Error); ok {
		return e.Message
	}
	return err.Error()
}

// checkTexts checks long texts by language, which may have several lines.
func checkTexts(path string, n cityid.Names) error {
	tags := make(cityid.Names, len(n))
	for i, x := range n {
		tags[i] = cityid.Name{Lang: x.Lang, Text: "x"}
		if err := checkLong(path+"/"+pointerToken(x.Lang), x.Text); err != nil {
			return err
		}
	}
	return checkNames(path, tags)
}

func checkLong(path, s string) error {
	switch {
	case s == "" || strings.TrimSpace(s) != s:
		return invalid(path, "a text is not empty and has no blanks at its ends")
	case len(s) > maxLong:
		return invalid(path, "a text of %d octets: at most %d", len(s), maxLong)
	case !utf8.ValidString(s) || !norm.NFC.IsNormalString(s):
		return invalid(path, "a text is UTF-8 in Unicode normal form C")
	}
	for _, c := range s {
		if c != '\n' && (unicode.In(c, unicode.C, unicode.Zl, unicode.Zp) || c == utf8.RuneError) {
			return invalid(path, "a text has the control character %U", c)
		}
	}
	return nil
}

func (k Keywords) check(path string) error {
	tags := make(cityid.Names, len(k))
	for i, s := range k {
		tags[i] = cityid.Name{Lang: s.Lang, Text: "x"}
		at := path + "/" + pointerToken(s.Lang)
		if len(s.Words) == 0 || len(s.Words) > maxKeywords {
			return invalid(at, "%d keywords: want 1 to %d", len(s.Words), maxKeywords)
		}
		seen := map[string]bool{}
		for _, w := range s.Words {
			if err := cityid.CheckText("keyword", w, true); err != nil {
				return invalid(at, "%s", message(err))
			}
			if seen[w] {
				return invalid(at, "keyword %.60q stands there twice", w)
			}
			seen[w] = true
		}
	}
	return checkNames(path, tags)
}
