// SPDX-License-Identifier: Apache-2.0

package cityid

import (
	"bytes"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/fxamacker/cbor/v2"
	"github.com/google/go-cmp/cmp"
)

// codeGrammar is the grammar once more, as a regular expression. The tests use
// it as an oracle for the hand-written parser.
var codeGrammar = regexp.MustCompile(`\A[0-9A-Z]{1,3}(\.[0-9]{3}(\.[0-9A-Z]{1,12}(\.[0-9A-Z]{1,16}){0,5})?)?` +
	`(/[0-9]{2,3}\.[0-9]{6,8}(\.[0-9A-Z][0-9A-Z-]{0,19})?` +
	`(/[0-9A-Z]{1,25}(\.L[0-9A-Z]{1,20})?(\.M[0-9A-Z]{1,20})?(\.D[0-9A-Z]{1,20})?(\.V[0-9A-Z]{1,20})?(\.E[0-9A-Z]{1,20})?` +
	`)?)?\z`)

// isCanonicalCode is what ParseCanonical must accept.
func isCanonicalCode(s string) bool { return len(s) <= 120 && codeGrammar.MatchString(s) }

type codeVectors struct {
	About string `json:"about"`
	Good  []struct {
		Note, Input, Code, Parent, Derived, Check string
		Depth                                     int
	} `json:"good"`
	Bad          []badCode `json:"bad"`
	NotCanonical []badCode `json:"not_canonical"`
}

type badCode struct {
	Note, Input string
	Offset      int
}

func readCodeVectors(tb testing.TB) codeVectors {
	tb.Helper()
	data, err := os.ReadFile("testdata/codes.json")
	if err != nil {
		tb.Fatal(err)
	}
	var v codeVectors
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&v); err != nil {
		tb.Fatal(err)
	}
	if len(v.Good) < 40 || len(v.Bad) < 70 || len(v.NotCanonical) < 5 {
		tb.Fatalf("only %d, %d and %d vectors", len(v.Good), len(v.Bad), len(v.NotCanonical))
	}
	return v
}

func TestCodeVectors(t *testing.T) {
	v := readCodeVectors(t)
	for _, g := range v.Good {
		c, err := Parse(g.Input)
		if err != nil {
			t.Errorf("%s: %v", g.Note, err)
			continue
		}
		if c.String() != g.Code || !isCanonicalCode(g.Code) {
			t.Errorf("%s: Parse(%q) = %s, want %s", g.Note, g.Input, c, g.Code)
		}
		if got := c.Parent().String(); got != g.Parent {
			t.Errorf("%s: parent %q, want %q", c, got, g.Parent)
		}
		if got := c.Depth(); got != g.Depth {
			t.Errorf("%s: depth %d, want %d", c, got, g.Depth)
		}
		if got := string(appendDerived(nil, g.Code)); got != g.Derived {
			t.Errorf("%s: derived %s, want %s", c, got, g.Derived)
		}
		if got := c.CheckCharacters(); got != g.Check {
			t.Errorf("%s: check characters %s, want %s", c, got, g.Check)
		}
		for _, same := range []string{g.Code, g.Code + "*" + g.Check, strings.ToLower(g.Code) + "/"} {
			if d, err := Parse(same); d != c {
				t.Errorf("Parse(%q) = %s, %v; want %s", same, d, err, c)
			}
		}
		if d, err := ParseCanonical(g.Code); d != c {
			t.Errorf("ParseCanonical(%q) = %s, %v", g.Code, d, err)
		}
	}
	refused := func(parser string, parse func(string) (Code, error), vectors []badCode) {
		for _, b := range vectors {
			c, err := parse(b.Input)
			var ce *CodeError
			if !errors.As(err, &ce) || !c.IsZero() {
				t.Errorf("%s: %s(%q) = %q, %v", b.Note, parser, b.Input, c, err)
				continue
			}
			if ce.Offset != b.Offset {
				t.Errorf("%s: %v; want offset %d", b.Note, err, b.Offset)
			}
		}
	}
	refused("Parse", Parse, v.Bad)
	refused("ParseCanonical", ParseCanonical, v.NotCanonical)
	for _, b := range v.Bad {
		if c, err := ParseCanonical(b.Input); err == nil {
			t.Errorf("%s: ParseCanonical gives %s", b.Note, c)
		}
	}
	for _, b := range v.NotCanonical {
		if _, err := Parse(b.Input); err != nil {
			t.Errorf("%s: %v", b.Note, err)
		}
	}
}

func TestCodeErrorMessages(t *testing.T) {
	long := strings.Repeat("中", 200)
	tests := []struct {
		parse       func(string) (Code, error)
		input, want string
	}{
		{Parse, "MA.156.13x1!", `code "MA.156.13x1!": offset 11: character '!' is not a letter or digit`},
		{Parse, "", `code "": offset 0: the issuing agency is missing`},
		{Parse, "MA.156.1301 ", `code "MA.156.1301 ": offset 11: character ' ' is not a letter or digit`},
		{Parse, "MА.156", `code "MА.156": offset 1: character 'А' (U+0410) is not one of A to Z and 0 to 9`},
		{Parse, "MA.\u200f156", `code "MA.\u200f156": offset 3: character U+200F is not one of A to Z and 0 to 9`},
		{Parse, "MA.\xff", `code "MA.\xff": offset 3: byte 0xff is not UTF-8`},
		{Parse, "MA.15", `code "MA.15": offset 5: the country has at least 3 digits`},
		{Parse, "MA.15A", `code "MA.15A": offset 5: the country has only digits`},
		{Parse, "MA.156.1-2", `code "MA.156.1-2": offset 8: a hyphen stands only inside a model`},
		{Parse, "MA/20.0102034567", `code "MA/20.0102034567": offset 14: the category has at most 8 digits`},
		{Parse, "MA/20", `code "MA/20": offset 5: the category is missing`},
		{Parse, "MA/20.010203.A.B", `code "MA/20.010203.A.B": offset 14: a class has no nodes after its model`},
		{Parse, "MA/20.010203/1.E1.L1", `code "MA/20.010203/1.E1.L1": offset 17: no tag follows tag E`},
		{Parse, "MA/20.010203/1/", ""},
		{Parse, "MA/20.010203/1/1", `code "MA/20.010203/1/1": offset 14: nothing follows an item`},
		{Parse, "MA*00", `code "MA*00": offset 3: the check characters 00 do not fit the code, so something in it was mistyped or left out`},
		{Parse, "MA*0", `code "MA*0": offset 4: two check characters belong after "*"`},
		{Parse, "MA*0.", `code "MA*0.": offset 4: check characters are letters or digits`},
		{Parse, "MA*000", `code "MA*000": offset 5: only two check characters belong after "*"`},
		{Parse, long, `code "` + strings.Repeat("中", 42) + `…": offset 480: longer than 480 bytes, which no code is`},
		{ParseCanonical, "MA.156.13x1", `code "MA.156.13x1": offset 9: letter 'x' is lower case, and a canonical code is upper case`},
		{ParseCanonical, "MA*00", `code "MA*00": offset 2: check characters are not part of the canonical code`},
		{ParseCanonical, strings.Repeat("1", 500), `code "` + strings.Repeat("1", 128) + `…": offset 480: longer than 480 bytes, which no code is`},
	}
	for _, test := range tests {
		_, err := test.parse(test.input)
		got := ""
		if err != nil {
			got = err.Error()
		}
		if got != test.want {
			t.Errorf("%q\n got %s\nwant %s", test.input, got, test.want)
		}
	}
}

// TestCodeSize builds codes around the limit of 120 octets.
func TestCodeSize(t *testing.T) {
	root := "MA.156.1301.0123456789ABCDEF.0123456789ABCDEF"
	item := root + "/20.010203/0123456789ABCDEF012345678.L0123456789ABCDEF.M"
	for n := 1; n <= 20; n++ {
		s := item + strings.Repeat("7", n)
		c, err := ParseCanonical(s)
		if len(s) <= 120 {
			if err != nil || c.String() != s {
				t.Errorf("%d octets: %v", len(s), err)
			}
			if d, err := Parse(c.Display() + "/"); d != c {
				t.Errorf("%d octets: %v", len(s), err)
			}
			continue
		}
		_, behind := ParseCanonical(s + "!") // the first fault is still the length
		for _, err := range []error{err, behind} {
			var ce *CodeError
			if !errors.As(err, &ce) || ce.Offset != 120 || ce.Reason != tooLongCode {
				t.Errorf("%d octets: %v", len(s), err)
			}
		}
		if len(s) == 121 {
			return
		}
	}
	t.Error("no code of 121 octets tried")
}

func TestCodeAccessors(t *testing.T) {
	type view struct {
		Root, Class, Item, IAC, Country, Place, Last string
		Units                                        []string
		Depth                                        int
	}
	tests := map[string]view{
		"":                             {},
		"MA":                           {Root: "MA", IAC: "MA", Last: "MA", Depth: 1},
		"MA/20.010203":                 {Root: "MA", IAC: "MA", Class: "20.010203", Last: "010203", Depth: 3},
		"MA.156":                       {Root: "MA.156", IAC: "MA", Country: "156", Last: "156", Depth: 2},
		"MA.156.1301":                  {Root: "MA.156.1301", IAC: "MA", Country: "156", Place: "1301", Last: "1301", Depth: 3},
		"MA.156.1301.01.2":             {Root: "MA.156.1301.01.2", IAC: "MA", Country: "156", Place: "1301", Units: []string{"01", "2"}, Last: "2", Depth: 5},
		"MA.156.1301/20.010203/000123": {Root: "MA.156.1301", IAC: "MA", Country: "156", Place: "1301", Class: "20.010203", Item: "000123", Last: "000123", Depth: 6},
		"MA.156.1301.01/20.010203.L-2/9.L1.V8": {Root: "MA.156.1301.01", IAC: "MA", Country: "156", Place: "1301", Units: []string{"01"},
			Class: "20.010203.L-2", Item: "9.L1.V8", Last: "V8", Depth: 10},
	}
	for s, want := range tests {
		c, _ := ParseCanonical(s)
		got := view{c.Root().String(), c.Class(), c.Item(), c.IAC(), c.Country(), c.Place(), c.LastNode(), c.Units(), c.Depth()}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%q: %s", s, diff)
		}
	}
}

func TestCodeParents(t *testing.T) {
	c := MustParse("MA.156.M0.1.2/10.10000000.A-1/123.L5.M6.E7")
	want := []string{
		"MA.156.M0.1.2/10.10000000.A-1/123.L5.M6", "MA.156.M0.1.2/10.10000000.A-1/123.L5", "MA.156.M0.1.2/10.10000000.A-1/123",
		"MA.156.M0.1.2/10.10000000.A-1", "MA.156.M0.1.2/10.10000000", "MA.156.M0.1.2", "MA.156.M0.1", "MA.156.M0", "MA.156", "MA", "", "",
	}
	var got []string
	for range want {
		c = c.Parent()
		got = append(got, c.String())
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestPlaceCovers(t *testing.T) {
	tests := []struct {
		a, b string
		want bool
	}{
		{"MA.156.13", "MA.156.1301", true},
		{"MA.156.13", "MA.156.130102", true},
		{"MA.156.1301", "MA.156.130102", true},
		{"MA.156.1301", "MA.156.1301", false},
		{"MA.156.1301", "MA.156.13", false},
		{"MA.156.13", "MA.156.14", false},
		{"MA.156.13", "MA.157.1301", false},
		{"MA.156.13", "MB.156.1301", false},
		{"MA.156.13", "MA.156.1301.01", false},
		{"MA.156.13.01", "MA.156.13.011", false},
		{"MA.156.13", "MA.156.1301/20.010203", false},
		{"MA/20.010203", "MA/20.0102034", false},
		{"M", "MA", false},
		{"MA.156", "MA.156.13", false},
	}
	for _, test := range tests {
		if got := MustParse(test.a).PlaceCovers(MustParse(test.b)); got != test.want {
			t.Errorf("%s covers %s as a place: %t", test.a, test.b, got)
		}
	}
	if c := MustParse("MA.156.13"); (Code{}).PlaceCovers(c) || c.PlaceCovers(Code{}) {
		t.Error("the zero code covers or is covered")
	}
}

func TestMustParsePanics(t *testing.T) {
	defer func() {
		if _, ok := recover().(*CodeError); !ok {
			t.Error("no panic with a *CodeError")
		}
	}()
	MustParse("ma")
}

// randomNode returns between lo and hi characters of a small part of the
// alphabet, so that nodes are often prefixes of each other.
func randomNode(r *rand.Rand, lo, hi int, alphabet string) string {
	b := make([]byte, lo+r.IntN(hi-lo+1))
	for i := range b {
		b[i] = alphabet[r.IntN(len(alphabet))]
	}
	return string(b)
}

// randomCode returns a valid code over the given digits and letters, its
// nodes at most size characters long where the grammar leaves a choice.
func randomCode(r *rand.Rand, size int, digits, letters string) Code {
	alphabet := digits + letters
	for {
		s := randomNode(r, 1, min(size, 3), alphabet)
		if r.IntN(8) > 0 {
			s += "." + randomNode(r, 3, 3, digits)
			if r.IntN(8) > 0 {
				s += "." + randomNode(r, 1, min(size, 12), alphabet)
				for range r.IntN(6) {
					s += "." + randomNode(r, 1, min(size, 16), alphabet)
				}
			}
		}
		if r.IntN(3) > 0 {
			s += "/" + randomNode(r, 2, 3, digits) + "." + randomNode(r, 6, 8, digits)
			if r.IntN(2) > 0 {
				s += "." + randomNode(r, 1, 1, alphabet) + randomNode(r, 0, min(size, 19), alphabet+"-")
			}
			if r.IntN(4) > 0 {
				s += "/" + randomNode(r, 1, min(size, 25), alphabet)
				for _, tag := range itemTags {
					if r.IntN(4) == 0 {
						s += "." + string(tag) + randomNode(r, 1, min(size, 20), alphabet)
					}
				}
			}
		}
		if c, err := ParseCanonical(s); err == nil {
			return c
		} else if len(s) <= 120 {
			panic(err)
		}
	}
}

// TestCodeOrder checks that the strict descendants of a code fill exactly its
// descendant range, and that Covers, Parent and the range agree.
func TestCodeOrder(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	var codes []Code
	for range 500 {
		for c := randomCode(r, 2, "0", "A"); !c.IsZero(); c = c.Parent() {
			codes = append(codes, c)
		}
	}
	slices.SortFunc(codes, Code.Compare)
	codes = slices.Compact(codes)
	covered := 0
	for _, x := range codes {
		lo, hi := x.DescendantRange()
		for _, y := range codes {
			isAncestor := false
			for p := y.Parent(); len(p.s) >= len(x.s) && !isAncestor; p = p.Parent() {
				isAncestor = p == x
			}
			inRange := lo <= y.String() && y.String() < hi
			if isAncestor != inRange || isAncestor != x.Covers(y) {
				t.Fatalf("%s above %s: by parents %t, by range %t, by Covers %t", x, y, isAncestor, inRange, x.Covers(y))
			}
			if isAncestor {
				covered++
			}
		}
	}
	if covered < len(codes) {
		t.Errorf("only %d pairs among %d codes", covered, len(codes))
	}
	lo, hi := Code{}.DescendantRange()
	for _, y := range codes {
		if (Code{}).Covers(y) || y.Covers(Code{}) || lo <= y.String() && y.String() < hi {
			t.Fatalf("the zero code and %s", y)
		}
	}
}

// TestCodeErrorOffset changes random codes and checks the promise of the
// offset: what stands before it begins some code, and with the byte at it no
// more.
func TestCodeErrorOffset(t *testing.T) {
	endings := []string{"", "0", "00", "000", "0000", "00000", "000000", "00.000000", "0.000000", ".000000", "L0"}
	for _, tag := range itemTags {
		endings = append(endings, string(tag)+"0")
	}
	begins := func(s string) bool {
		return slices.ContainsFunc(endings, func(e string) bool { return codeGrammar.MatchString(s + e) })
	}
	r := rand.New(rand.NewPCG(3, 4))
	refused := 0
	for range 20000 {
		b := []byte(randomCode(r, 5, "01", "LMDVE").String())
		for range 1 + r.IntN(2) {
			i := r.IntN(len(b))
			switch c := "01LE./-*x"[r.IntN(9)]; r.IntN(3) {
			case 0:
				b[i] = c
			case 1:
				b = slices.Insert(b, i, c)
			default:
				b = slices.Delete(b, i, min(len(b), i+1+r.IntN(3)))
			}
			if len(b) == 0 {
				b = []byte(".")
			}
		}
		s := string(b)
		_, err := ParseCanonical(s)
		if (err == nil) != isCanonicalCode(s) {
			t.Fatalf("%q: %v", s, err)
		}
		var ce *CodeError
		if err == nil || len(s) > 120 || !errors.As(err, &ce) {
			continue
		}
		refused++
		if !begins(s[:ce.Offset]) || ce.Offset < len(s) && begins(s[:ce.Offset+1]) || ce.Input != s || ce.Reason == "" {
			t.Fatalf("wrong offset: %v", err)
		}
	}
	if refused < 5000 {
		t.Errorf("only %d refusals", refused)
	}
}

// TestFoldedCharacters tries every character there is in a place where a
// letter or digit may stand.
func TestFoldedCharacters(t *testing.T) {
	for r := rune(0); r <= utf8.MaxRune; r++ {
		if !utf8.ValidRune(r) {
			continue
		}
		input := "MA.156.1" + string(r) + "1"
		want := ""
		plain := r
		if r >= 0xFF01 && r <= 0xFF5E {
			plain = r - 0xFF01 + '!'
		}
		switch {
		case plain >= '0' && plain <= '9', plain >= 'A' && plain <= 'Z', plain == '.':
			want = "MA.156.1" + string(plain) + "1"
		case plain >= 'a' && plain <= 'z':
			want = "MA.156.1" + string(plain-'a'+'A') + "1"
		}
		c, err := Parse(input)
		if c.String() != want || (err == nil) != (want != "") {
			t.Fatalf("%U: Parse gives %q, %v; want %q", r, c, err, want)
		}
		if c, err := ParseCanonical(input); (err == nil) != (want == input) {
			t.Fatalf("%U: ParseCanonical gives %q, %v", r, c, err)
		}
	}
	for _, input := range []string{"\x80", "MA.\xc3\x28", "MA\xed\xa0\x80", "MA\xef\xbc"} {
		if c, err := Parse(input); err == nil {
			t.Errorf("Parse(%q) = %s", input, c)
		}
	}
}

func TestCodeText(t *testing.T) {
	type holder struct {
		Code  Code            `json:"code"`
		Maybe Code            `json:"maybe,omitzero"`
		ByKey map[Code]string `json:"by_key"`
	}
	c := MustParse("MA.156.1301")
	in := holder{Code: c, ByKey: map[Code]string{c: "city", {}: "none"}}
	data, err := json.Marshal(in)
	want := `{"code":"MA.156.1301","by_key":{"":"none","MA.156.1301":"city"}}`
	if err != nil || string(data) != want {
		t.Fatalf("%s, %v; want %s", data, err, want)
	}
	var out holder
	if err := json.Unmarshal(data, &out); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(in, out, cmp.Comparer(func(a, b Code) bool { return a == b })); diff != "" {
		t.Error(diff)
	}
	for _, bad := range []string{`"ma.156"`, `"MA/"`, `" "`, `5`, `"MA*OL"`} {
		kept := c
		if err := json.Unmarshal([]byte(bad), &kept); err == nil || kept != c {
			t.Errorf("%s gives %s, %v", bad, kept, err)
		}
	}
	text := []byte("MA.156")
	var own Code
	if err := own.UnmarshalText(text); err != nil {
		t.Fatal(err)
	}
	text[0] = 'X'
	if own.String() != "MA.156" {
		t.Error("the code shares the caller's memory")
	}
}

func TestCodeCBOR(t *testing.T) {
	v := readCodeVectors(t)
	codes := []Code{{}}
	for _, g := range v.Good {
		codes = append(codes, MustParse(g.Code))
	}
	mode, err := cbor.CoreDetEncOptions().EncMode()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range codes {
		want, err := mode.Marshal(c.String())
		if err != nil {
			t.Fatal(err)
		}
		got, err := mode.Marshal(c) // calls MarshalCBOR
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%q encodes as %x, %v; want %x", c, got, err, want)
		}
		back := MustParse("XX")
		if err := cbor.Unmarshal(want, &back); err != nil || back != c {
			t.Errorf("%q decodes as %q, %v", c, back, err)
		}
		for _, bad := range [][]byte{append([]byte{0x79, 0, byte(len(c.s))}, c.s...), append(bytes.Clone(want), '0'), want[:len(want)-1]} {
			back := MustParse("XX")
			if err := back.UnmarshalCBOR(bad); err == nil || back.s != "XX" {
				t.Errorf("%x decodes as %q, %v", bad, back, err)
			}
		}
	}
	short := []byte("MA.156")
	for name, bad := range map[string][]byte{
		"length in the next byte": append([]byte{0x78, 6}, short...),
		"byte string":             append([]byte{0x46}, short...),
		"indefinite length":       append(append([]byte{0x7f, 0x66}, short...), 0xff),
		"null":                    {0xf6},
		"lower case":              {0x62, 'm', 'a'},
		"not UTF-8":               {0x61, 0xff},
		"121 bytes":               append([]byte{0x78, 121}, strings.Repeat("0", 121)...),
		"nothing":                 {},
	} {
		back := MustParse("XX")
		if err := back.UnmarshalCBOR(bad); err == nil || back.s != "XX" {
			t.Errorf("%s: %x decodes as %q, %v", name, bad, back, err)
		}
	}
}

func TestCodeAllocations(t *testing.T) {
	const s = "MA.156.1301.01/20.010203/000123"
	child, city := MustParse(s), MustParse("MA.156.1301")
	allocations := testing.AllocsPerRun(100, func() {
		c, err := ParseCanonical(s)
		d, err2 := Parse(s)
		if err != nil || err2 != nil || c != child || d != child {
			t.Fatal(c, d, err, err2)
		}
		if !city.Covers(c) || c.Root().Parent() != city || c.Class() != "20.010203" || c.Compare(city) != 1 {
			t.Fatal(c)
		}
	})
	if allocations != 0 {
		t.Errorf("%v allocations", allocations)
	}
}

func TestWithin(t *testing.T) {
	for _, c := range []struct {
		code, top string
		want      bool
	}{
		{"MA.156.1301", "MA.156.1301", true},
		{"MA.156.1301.01", "MA.156.1301", true},
		{"MA.156.1301/20.010501/000001", "MA.156.1301", true},
		{"MA.156.130102", "MA.156.1301", true}, // a county in the city
		{"MA.156.130102.01/20.010501/000001", "MA.156.13", true},
		{"MA.156.1301", "MA.156", true},
		{"MA.156.13", "MA.156.1301", false},
		{"MA.156.1401", "MA.156.13", false},
		{"MA.157.1301", "MA.156", false},
		{"MA.156.1301.011", "MA.156.1301.01", false}, // a unit is no place
	} {
		if got := MustParse(c.code).Within(MustParse(c.top)); got != c.want {
			t.Errorf("%s within %s: %t", c.code, c.top, got)
		}
	}
	if MustParse("MA.156").Within(Code{}) || (Code{}).Within(MustParse("MA.156")) || (Code{}).Within(Code{}) {
		t.Error("the zero Code lies somewhere")
	}
}
