// SPDX-License-Identifier: Apache-2.0

package cityid

import (
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// Limits on records, in octets where nothing else is said.
const (
	MaxRecord     = 16 << 10 // one encoded record
	MaxLinks      = 32       // links of a record
	MaxNames      = 16       // languages of a record's name
	MaxHosts      = 32       // link hosts a record approves
	MaxAliases    = 32       // crosswalk entries of a record
	MaxDocuments  = 32       // external documents of a record
	MaxSuccessors = 16       // successors of a retired record
	maxText       = 200      // a name, title, label or note
	maxHref       = 1024     // a link's target
	maxValue      = 64       // a crosswalk value
)

// Kind says what a record stands for.
type Kind uint8

// The kinds; closed and append-only.
const (
	KindAuthority Kind = iota + 1
	KindProvince
	KindCity
	KindCounty
	KindDepartment
	KindIndustry
	KindOrganisation
	KindClass
	KindObject
	KindDataset
	KindSource
)

var kindNames = []string{1: "authority", "province", "city", "county", "department", "industry", "organisation", "class", "object", "dataset", "source"}

// String returns the kind's name.
func (k Kind) String() string { return nameOf(kindNames, uint8(k), "kind") }

// MarshalText returns the kind's name.
func (k Kind) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// UnmarshalText parses a kind's name.
func (k *Kind) UnmarshalText(text []byte) error {
	return parseName(kindNames, text, "kind", (*uint8)(k))
}

// Valid reports whether k is one of the kinds.
func (k Kind) Valid() bool { return k >= 1 && int(k) < len(kindNames) }

// Status is where a code is in its life:
// reserved -> active <-> suspended -> retired, which is final.
type Status uint8

// The statuses.
const (
	StatusReserved Status = iota + 1
	StatusActive
	StatusSuspended
	StatusRetired
)

var statusNames = []string{1: "reserved", "active", "suspended", "retired"}

// String returns the status's name.
func (s Status) String() string { return nameOf(statusNames, uint8(s), "status") }

// MarshalText returns the status's name.
func (s Status) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText parses a status's name.
func (s *Status) UnmarshalText(text []byte) error {
	return parseName(statusNames, text, "status", (*uint8)(s))
}

// Valid reports whether s is one of the statuses.
func (s Status) Valid() bool { return s >= 1 && int(s) < len(statusNames) }

// Reason says why a status changed.
type Reason uint8

// The reasons; closed and append-only.
const (
	ReasonMerged Reason = iota + 1
	ReasonSplit
	ReasonBoundaryChange
	ReasonClosed
	ReasonRemoved
	ReasonReplaced
	ReasonAllocatedInError
	ReasonMisuse
	ReasonDispute
	ReasonKeyLoss
	ReasonResolved
	ReasonCommissioned
)

var reasonNames = []string{1: "merged", "split", "boundary-change", "closed", "removed", "replaced", "allocated-in-error", "misuse", "dispute", "key-loss", "resolved", "commissioned"}

// String returns the reason's name, empty for none.
func (r Reason) String() string {
	if r == 0 {
		return ""
	}
	return nameOf(reasonNames, uint8(r), "reason")
}

// MarshalText returns the reason's name.
func (r Reason) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText parses a reason's name; empty text is none.
func (r *Reason) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		*r = 0
		return nil
	}
	return parseName(reasonNames, text, "reason", (*uint8)(r))
}

// Valid reports whether r is one of the reasons.
func (r Reason) Valid() bool { return r >= 1 && int(r) < len(reasonNames) }

func nameOf(names []string, v uint8, what string) string {
	if v >= 1 && int(v) < len(names) {
		return names[v]
	}
	return fmt.Sprintf("%s-%d", what, v)
}

func parseName(names []string, text []byte, what string, v *uint8) error {
	i := slices.Index(names[1:], string(text))
	if i < 0 {
		return fmt.Errorf("%s %.40q: want one of %s", what, text, strings.Join(names[1:], ", "))
	}
	*v = uint8(i + 1)
	return nil
}

// Name is a name in one language.
type Name struct {
	_    struct{} `cbor:",toarray"`
	Lang string   // BCP 47 tag, such as "zh" or "en"
	Text string   // NFC, 1 to 200 octets
}

// Names lists names by language, in byte order of the tag, each tag once. In
// JSON it is an object from tag to text.
type Names []Name

// Get returns the name in lang, or else the first there is, or "".
func (n Names) Get(lang string) string {
	for _, x := range n {
		if x.Lang == lang {
			return x.Text
		}
	}
	if len(n) > 0 {
		return n[0].Text
	}
	return ""
}

// Has reports whether there is a name in lang.
func (n Names) Has(lang string) bool {
	return slices.ContainsFunc(n, func(x Name) bool { return x.Lang == lang })
}

// MarshalJSON returns the object form.
func (n Names) MarshalJSON() ([]byte, error) {
	m := make(map[string]string, len(n))
	for _, x := range n {
		m[x.Lang] = x.Text
	}
	return json.Marshal(m)
}

// UnmarshalJSON parses the object form and sorts it.
func (n *Names) UnmarshalJSON(data []byte) error {
	var m map[string]string
	if err := json.Unmarshal(data, &m); err != nil {
		return err
	}
	*n = NamesOf(m)
	return nil
}

// NamesOf returns the names in m, sorted. It returns nil for an empty m.
func NamesOf(m map[string]string) Names {
	if len(m) == 0 {
		return nil
	}
	n := make(Names, 0, len(m))
	for l, t := range m {
		n = append(n, Name{Lang: l, Text: t})
	}
	slices.SortFunc(n, func(a, b Name) int { return strings.Compare(a.Lang, b.Lang) })
	return n
}

// Link is a typed link to a service or page about the coded thing (RFC 9264).
type Link struct {
	Rel      string   `cbor:"1,keyasint" json:"rel"`                          // relation: a registered name in lower case, or a URI
	Href     string   `cbor:"2,keyasint" json:"href"`                         // absolute http or https URL, at most 1024 octets
	Type     string   `cbor:"3,keyasint,omitempty" json:"type,omitempty"`     // media type
	Hreflang []string `cbor:"4,keyasint,omitempty" json:"hreflang,omitempty"` // BCP 47 tags
	Title    string   `cbor:"5,keyasint,omitempty" json:"title,omitempty"`
}

// Location is a point in WGS 84. In JSON it is {"lat": 38.0454740, "lon": 114.5024610}.
type Location struct {
	_   struct{} `cbor:",toarray"`
	Lat int32    // latitude in units of 1e-7 degrees, -90 to 90 degrees
	Lon int32    // longitude in units of 1e-7 degrees, -180 to 180 degrees
}

// CoarseUnit is the grid of a coarse location: a hundredth of a degree, about
// one kilometre, in the units of [Location].
const CoarseUnit = 100_000

// Coarse returns l rounded to the grid of [CoarseUnit].
func (l Location) Coarse() Location {
	round := func(v int32) int32 {
		half := int32(CoarseUnit / 2)
		if v < 0 {
			half = -half
		}
		return (v + half) / CoarseUnit * CoarseUnit
	}
	return Location{Lat: round(l.Lat), Lon: round(l.Lon)}
}

// IsCoarse reports whether l lies on the grid of [CoarseUnit].
func (l Location) IsCoarse() bool { return l.Lat%CoarseUnit == 0 && l.Lon%CoarseUnit == 0 }

func degrees(v int32) string {
	sign, u := "", int64(v)
	if u < 0 {
		sign, u = "-", -u
	}
	s := strings.TrimRight(fmt.Sprintf("%d.%07d", u/1e7, u%1e7), "0")
	return sign + strings.TrimSuffix(s, ".")
}

// MarshalJSON writes exact decimal degrees.
func (l Location) MarshalJSON() ([]byte, error) {
	return fmt.Appendf(nil, `{"lat":%s,"lon":%s}`, degrees(l.Lat), degrees(l.Lon)), nil
}

// UnmarshalJSON parses decimal degrees with at most seven decimal places.
func (l *Location) UnmarshalJSON(data []byte) error {
	var m struct{ Lat, Lon json.Number }
	if err := json.Unmarshal(data, &m); err != nil {
		return err
	}
	lat, err := ParseDegrees(m.Lat.String(), 90)
	if err != nil {
		return err
	}
	lon, err := ParseDegrees(m.Lon.String(), 180)
	if err != nil {
		return err
	}
	*l = Location{Lat: lat, Lon: lon}
	return nil
}

// ParseDegrees parses decimal degrees such as "-38.045474" without rounding
// into units of 1e-7 degrees. The value must lie within plus and minus limit
// degrees and have at most seven decimal places.
func ParseDegrees(s string, limit int32) (int32, error) {
	bad := fmt.Errorf("degrees %.40q: want a decimal number between -%d and %d with at most 7 decimal places", s, limit, limit)
	digits, neg := strings.CutPrefix(s, "-")
	whole, frac, dot := strings.Cut(digits, ".")
	if len(whole) < 1 || len(whole) > 3 || len(frac) > 7 || dot && frac == "" {
		return 0, bad
	}
	var v int64
	for _, c := range whole + frac + "0000000"[len(frac):] {
		if c < '0' || c > '9' {
			return 0, bad
		}
		v = v*10 + int64(c-'0')
	}
	if v > int64(limit)*1e7 {
		return 0, bad
	}
	if neg {
		v = -v
	}
	return int32(v), nil
}

// Alias maps a foreign identifier to the record that holds it.
type Alias struct {
	Scheme string `cbor:"1,keyasint" json:"scheme"`                    // name of a [Scheme]
	Value  string `cbor:"2,keyasint" json:"value"`                     // 1 to 64 octets of printable ASCII or NFC text
	From   Time   `cbor:"3,keyasint,omitempty" json:"from,omitempty"`  // first moment it holds; zero: always
	Until  Time   `cbor:"4,keyasint,omitempty" json:"until,omitempty"` // first moment it no longer holds; zero: still
}

// Holds reports whether the alias holds at t.
func (a Alias) Holds(t Time) bool {
	return (a.From == 0 || t >= a.From) && (a.Until == 0 || t < a.Until)
}

// Document commits to bytes kept outside the chain.
type Document struct {
	Label  string `cbor:"1,keyasint" json:"label"` // what it is, for people
	Digest Digest `cbor:"2,keyasint" json:"digest"`
}

// Change says where a revision was made.
type Change struct {
	_      struct{} `cbor:",toarray"`
	Chain  string   `json:"chain"`  // chain id
	Height uint64   `json:"height"` // block height
	Time   Time     `json:"time"`   // block time
}

// Content is what people write into a record and its holder may amend. A
// sealed record keeps its Content off the chain and shows [SealDigest] of it.
type Content struct {
	Names     Names      `cbor:"1,keyasint,omitempty" json:"names,omitempty"`
	Links     []Link     `cbor:"2,keyasint,omitempty" json:"links,omitempty"`
	Hosts     []string   `cbor:"3,keyasint,omitempty" json:"hosts,omitempty"` // hosts that links of codes below may use; "*.example.cn" covers subdomains
	Location  *Location  `cbor:"4,keyasint,omitempty" json:"location,omitempty"`
	Documents []Document `cbor:"5,keyasint,omitempty" json:"documents,omitempty"`
	Dataset   *Dataset   `cbor:"6,keyasint,omitempty" json:"dataset,omitempty"` // of a dataset, and of nothing else
}

// Record is one revision of what a code resolves to.
type Record struct {
	Code        Code        `cbor:"1,keyasint" json:"code"`
	Parent      Code        `cbor:"2,keyasint,omitzero" json:"parent,omitzero"` // zero for the apex alone; fixed at allocation
	Kind        Kind        `cbor:"3,keyasint" json:"kind"`
	Status      Status      `cbor:"4,keyasint" json:"status"`
	Revision    uint32      `cbor:"5,keyasint" json:"revision"`               // 1 at allocation
	Prev        Digest      `cbor:"6,keyasint,omitzero" json:"prev,omitzero"` // SHA-256 of the encoding of the revision before
	Changed     Change      `cbor:"7,keyasint" json:"changed"`
	Content     Content     `cbor:"8,keyasint,omitzero" json:"content,omitzero"`
	Sealed      Digest      `cbor:"9,keyasint,omitzero" json:"sealed,omitzero"` // [SealDigest] of the content; then Content and Aliases are empty
	Aliases     []Alias     `cbor:"10,keyasint,omitempty" json:"aliases,omitempty"`
	Policy      *Policy     `cbor:"11,keyasint,omitempty" json:"policy,omitempty"` // nil: inherited from the nearest ancestor that has one
	PolicySince Time        `cbor:"12,keyasint,omitempty" json:"policy_since,omitempty"`
	Recovery    *Policy     `cbor:"13,keyasint,omitempty" json:"recovery,omitempty"` // of an apex: may rekey it after the long delay
	Reason      Reason      `cbor:"14,keyasint,omitempty" json:"reason,omitempty"`   // of the last change of status
	Note        string      `cbor:"15,keyasint,omitempty" json:"note,omitempty"`
	Heir        Code        `cbor:"16,keyasint,omitzero" json:"heir,omitzero"` // whose policy governs the living descendants of a retired code
	Successors  []Code      `cbor:"17,keyasint,omitempty" json:"successors,omitempty"`
	Delegation  *Delegation `cbor:"18,keyasint,omitempty" json:"delegation,omitempty"` // nil: this zone answers for what lies below
}

// Hash returns the SHA-256 of the record's encoding, which the next revision
// names as its Prev.
func (r *Record) Hash() Digest { return hashOf(MustMarshal(r)) }

// Check reports the first field of c that breaks its rule.
func (c *Content) Check() error {
	if err := checkNames(c.Names); err != nil {
		return err
	}
	if len(c.Links) > MaxLinks {
		return Errorf(ErrTooLarge, "%d links: at most %d", len(c.Links), MaxLinks)
	}
	for i := range c.Links {
		if err := c.Links[i].check(); err != nil {
			return err
		}
	}
	if len(c.Hosts) > MaxHosts {
		return Errorf(ErrTooLarge, "%d link hosts: at most %d", len(c.Hosts), MaxHosts)
	}
	if !sortedStrict(c.Hosts) {
		return Errorf(ErrInvalid, "link hosts must be in byte order, each once")
	}
	for _, h := range c.Hosts {
		if !validHost(strings.TrimPrefix(h, "*.")) {
			return Errorf(ErrInvalid, "link host %.80q: want a host name in lower case, or *. and one", h)
		}
	}
	if l := c.Location; l != nil && (l.Lat < -90e7 || l.Lat > 90e7 || l.Lon < -180e7 || l.Lon > 180e7) {
		return Errorf(ErrInvalid, "location: latitude lies within 90 degrees and longitude within 180")
	}
	if len(c.Documents) > MaxDocuments {
		return Errorf(ErrTooLarge, "%d documents: at most %d", len(c.Documents), MaxDocuments)
	}
	for _, d := range c.Documents {
		if err := CheckText("document label", d.Label, true); err != nil {
			return err
		}
		if d.Digest.IsZero() {
			return Errorf(ErrInvalid, "document %q has no digest", d.Label)
		}
	}
	if c.Dataset != nil {
		return c.Dataset.check()
	}
	return nil
}

// IsZero reports whether c says nothing.
func (c Content) IsZero() bool {
	return len(c.Names) == 0 && len(c.Links) == 0 && len(c.Hosts) == 0 && c.Location == nil && len(c.Documents) == 0 && c.Dataset == nil
}

func checkNames(n Names) error {
	if len(n) > MaxNames {
		return Errorf(ErrTooLarge, "%d names: at most %d", len(n), MaxNames)
	}
	for i, x := range n {
		if i > 0 && n[i-1].Lang >= x.Lang {
			return Errorf(ErrInvalid, "names must be in byte order of their language, each once")
		}
		if !validLang(x.Lang) {
			return Errorf(ErrInvalid, "language %.40q: want a BCP 47 tag such as zh or en", x.Lang)
		}
		if err := CheckText("name", x.Text, true); err != nil {
			return err
		}
	}
	return nil
}

func (l *Link) check() error {
	if l.Rel == "" || len(l.Rel) > maxText || strings.ContainsFunc(l.Rel, func(c rune) bool { return c <= ' ' || c > '~' || c >= 'A' && c <= 'Z' }) {
		return Errorf(ErrInvalid, "link relation %.80q: want lower-case letters, such as describedby, or a URI", l.Rel)
	}
	if _, err := LinkHost(l.Href); err != nil {
		return err
	}
	if l.Type != "" && (len(l.Type) > 100 || strings.Count(l.Type, "/") != 1 || strings.ContainsFunc(l.Type, func(c rune) bool { return c <= ' ' || c > '~' })) {
		return Errorf(ErrInvalid, "link type %.80q: want a media type such as text/html", l.Type)
	}
	if len(l.Hreflang) > MaxNames {
		return Errorf(ErrTooLarge, "%d languages of a link: at most %d", len(l.Hreflang), MaxNames)
	}
	for _, h := range l.Hreflang {
		if !validLang(h) {
			return Errorf(ErrInvalid, "language %.40q: want a BCP 47 tag such as zh or en", h)
		}
	}
	return CheckText("link title", l.Title, false)
}

// LinkHost returns the host name a link's target names, without port. The
// target must be an absolute http or https URL without credentials, in ASCII,
// of at most 1024 octets.
func LinkHost(href string) (string, error) {
	bad := Errorf(ErrInvalid, "link target %.120q: want an absolute http or https URL of at most %d octets without credentials", href, maxHref)
	if len(href) > maxHref || strings.ContainsFunc(href, func(c rune) bool { return c <= ' ' || c > '~' || c == '\\' || c == '"' || c == '<' || c == '>' }) {
		return "", bad
	}
	u, err := url.Parse(href)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.User != nil || u.Opaque != "" || !validHost(u.Hostname()) {
		return "", bad
	}
	return u.Hostname(), nil
}

// HostCovered reports whether host equals an entry of list or lies below an
// entry of the form *.name.
func HostCovered(list []string, host string) bool {
	for _, h := range list {
		if suffix, wild := strings.CutPrefix(h, "*"); h == host || wild && strings.HasSuffix(host, suffix) {
			return true
		}
	}
	return false
}

func validHost(h string) bool {
	if h == "" || len(h) > 253 {
		return false
	}
	for _, label := range strings.Split(h, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		for _, c := range label {
			if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
				return false
			}
		}
	}
	return true
}

// validLang accepts the shape of a BCP 47 tag: a primary subtag of two or three
// letters in lower case, then subtags of one to eight letters or digits.
func validLang(tag string) bool {
	if len(tag) > 35 {
		return false
	}
	i := -1
	for sub := range strings.SplitSeq(tag, "-") {
		i++
		if i == 0 && (len(sub) < 2 || len(sub) > 3) || len(sub) < 1 || len(sub) > 8 {
			return false
		}
		for _, c := range sub {
			lower, other := c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
			if !lower && (i == 0 || !other) {
				return false
			}
		}
	}
	return true
}

// CheckText accepts text for people: NFC, without control or formatting
// characters or blanks at its ends, at most 200 octets.
func CheckText(what, s string, required bool) error {
	if common(s) {
		return nil
	}
	switch {
	case s == "" && required:
		return Errorf(ErrInvalid, "%s is empty", what)
	case len(s) > maxText:
		return Errorf(ErrTooLarge, "%s of %d octets: at most %d", what, len(s), maxText)
	case !utf8.ValidString(s):
		return Errorf(ErrInvalid, "%s is not UTF-8", what)
	case strings.TrimSpace(s) != s:
		return Errorf(ErrInvalid, "%s %.60q has blanks at its ends", what, s)
	case !norm.NFC.IsNormalString(s):
		return Errorf(ErrInvalid, "%s %.60q is not in Unicode normal form C", what, s)
	}
	for _, c := range s {
		if unicode.In(c, unicode.C, unicode.Zl, unicode.Zp) || c == utf8.RuneError {
			return Errorf(ErrInvalid, "%s %.60q contains the control character %U", what, s, c)
		}
	}
	return nil
}

// common reports whether s is text as CheckText wants it in characters that most of
// it is written in: printable ASCII and the Chinese characters of Unicode 1.1 to 14,
// which are none of them control characters and stay as they are in every normal form.
func common(s string) bool {
	if s == "" || len(s) > maxText || s[0] == ' ' || s[len(s)-1] == ' ' {
		return false
	}
	for i := 0; i < len(s); {
		if c := s[i]; c >= ' ' && c <= '~' {
			i++
			continue
		}
		r, n := utf8.DecodeRuneInString(s[i:])
		if r < 0x4e00 || r > 0x9fff {
			return false
		}
		i += n
	}
	return true
}

func sortedStrict[S ~[]E, E ~string](s S) bool {
	for i := 1; i < len(s); i++ {
		if s[i-1] >= s[i] {
			return false
		}
	}
	return true
}
