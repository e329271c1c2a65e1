// SPDX-License-Identifier: Apache-2.0

package cityid

import (
	"encoding/json"
	"math/rand/v2"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

func TestParseDegrees(t *testing.T) {
	for text, want := range map[string]int32{
		"0": 0, "-0": 0, "38.045474": 380454740, "-38.0454740": -380454740, "90": 900000000, "-90.0000000": -900000000, "0.0000001": 1, "7.5": 75000000,
	} {
		if got, err := ParseDegrees(text, 90); err != nil || got != want {
			t.Errorf("%q: %d, %v", text, got, err)
		}
	}
	for _, bad := range []string{"", "-", ".", "1.", ".5", "+1", "1e1", "90.0000001", "91", "1.00000000", " 1", "1 ", "１", "--1", "0x1", "1_0", "1000", "NaN"} {
		if got, err := ParseDegrees(bad, 90); err == nil {
			t.Errorf("%q is %d", bad, got)
		}
	}
}

func TestLocationJSON(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	for range 10_000 {
		l := Location{Lat: int32(r.IntN(1_800_000_001) - 900_000_000), Lon: int32(r.Int64N(3_600_000_001) - 1_800_000_000)}
		if r.IntN(2) == 0 {
			l = l.Coarse()
		}
		text, err := json.Marshal(l)
		if err != nil {
			t.Fatal(err)
		}
		var back Location
		if err := json.Unmarshal(text, &back); err != nil || back != l {
			t.Fatalf("%+v is %s and back %+v: %v", l, text, back, err)
		}
		c := l.Coarse()
		if !c.IsCoarse() || c.Coarse() != c || c.Lat-l.Lat > CoarseUnit/2 || l.Lat-c.Lat > CoarseUnit/2 || c.Lat > 900_000_000 || c.Lon < -1_800_000_000 {
			t.Fatalf("%+v is coarsely %+v", l, c)
		}
	}
	for _, bad := range []string{`{}`, `{"lat":1}`, `{"lat":1,"lon":181}`, `{"lat":91,"lon":1}`, `[1,2]`, `{"lat":"x","lon":1}`, `{"lat":1e1,"lon":1}`} {
		var l Location
		if err := json.Unmarshal([]byte(bad), &l); err == nil {
			t.Errorf("%s is %+v", bad, l)
		}
	}
}

func FuzzParseDegrees(f *testing.F) {
	f.Add("38.045474")
	f.Add("-180")
	f.Fuzz(func(t *testing.T, s string) {
		v, err := ParseDegrees(s, 180)
		if err != nil {
			return
		}
		if back, err := ParseDegrees(degrees(v), 180); err != nil || back != v || v > 1_800_000_000 || v < -1_800_000_000 {
			t.Errorf("%q is %d, and that %q", s, v, degrees(v))
		}
	})
}

func TestNames(t *testing.T) {
	n := NamesOf(map[string]string{"zh": "石家庄", "en": "Shijiazhuang", "zh-Hant": "石家莊"})
	if n[0].Lang != "en" || n[2].Lang != "zh-Hant" || n.Get("zh") != "石家庄" || n.Get("fr") != "Shijiazhuang" || !n.Has("en") || n.Has("fr") {
		t.Errorf("%+v", n)
	}
	if NamesOf(nil) != nil || Names(nil).Get("zh") != "" {
		t.Error("no names")
	}
	text, err := json.Marshal(n)
	if err != nil || string(text) != `{"en":"Shijiazhuang","zh":"石家庄","zh-Hant":"石家莊"}` {
		t.Errorf("%s, %v", text, err)
	}
	var back Names
	if err := json.Unmarshal([]byte(`{"zh":"b","en":"a"}`), &back); err != nil || back[0].Lang != "en" {
		t.Errorf("%+v, %v", back, err)
	}
}

func TestContentCheck(t *testing.T) {
	c := sampleContent()
	if err := c.Check(); err != nil {
		t.Error(err)
	}
	long := strings.Repeat("x", maxText+1)
	for name, change := range map[string]func(c *Content){
		"names out of order":     func(c *Content) { c.Names = Names{{Lang: "zh", Text: "a"}, {Lang: "en", Text: "b"}} },
		"language twice":         func(c *Content) { c.Names = Names{{Lang: "zh", Text: "a"}, {Lang: "zh", Text: "b"}} },
		"empty name":             func(c *Content) { c.Names = Names{{Lang: "zh"}} },
		"long name":              func(c *Content) { c.Names[0].Text = long },
		"language in upper case": func(c *Content) { c.Names[0].Lang = "EN" },
		"language of one letter": func(c *Content) { c.Names[0].Lang = "e" },
		"name with line feed":    func(c *Content) { c.Names[0].Text = "a\nb" },
		"name that turns":        func(c *Content) { c.Names[0].Text = "a\u202eb" },
		"name not in NFC":        func(c *Content) { c.Names[0].Text = "e\u0301" },
		"name with blank ahead":  func(c *Content) { c.Names[0].Text = "\u3000a" },
		"name that is no UTF-8":  func(c *Content) { c.Names[0].Text = "a\xff" },
		"replacement character":  func(c *Content) { c.Names[0].Text = "a\ufffd" },
		"too many names":         func(c *Content) { c.Names = make(Names, MaxNames+1) },
		"too many links":         func(c *Content) { c.Links = make([]Link, MaxLinks+1) },
		"empty relation":         func(c *Content) { c.Links[0].Rel = "" },
		"relation in upper case": func(c *Content) { c.Links[0].Rel = "About" },
		"link to a script":       func(c *Content) { c.Links[0].Href = "javascript:alert(1)" },
		"link type":              func(c *Content) { c.Links[0].Type = "html" },
		"link language":          func(c *Content) { c.Links[0].Hreflang = []string{"x_y"} },
		"link title":             func(c *Content) { c.Links[0].Title = " x" },
		"hosts out of order":     func(c *Content) { c.Hosts = []string{"b.cn", "a.cn"} },
		"host in upper case":     func(c *Content) { c.Hosts = []string{"A.cn"} },
		"two stars":              func(c *Content) { c.Hosts = []string{"*.*.cn"} },
		"star alone":             func(c *Content) { c.Hosts = []string{"*"} },
		"too many hosts":         func(c *Content) { c.Hosts = make([]string, MaxHosts+1) },
		"north of the pole":      func(c *Content) { c.Location.Lat = 900_000_001 },
		"west of the line":       func(c *Content) { c.Location.Lon = -1_800_000_001 },
		"document without name":  func(c *Content) { c.Documents[0].Label = "" },
		"document of nothing":    func(c *Content) { c.Documents[0].Digest = Digest{} },
		"too many documents":     func(c *Content) { c.Documents = make([]Document, MaxDocuments+1) },
	} {
		c := sampleContent()
		change(&c)
		if err := c.Check(); CodeOf(err) != ErrInvalid && CodeOf(err) != ErrTooLarge {
			t.Errorf("%s: %v", name, err)
		}
	}
	if c := sampleContent(); c.IsZero() || !(Content{}).IsZero() {
		t.Error("IsZero")
	}
}

func TestLinkHost(t *testing.T) {
	for href, want := range map[string]string{
		"https://a.example.cn/x?y#z": "a.example.cn", "http://localhost:8080": "localhost", "https://10.0.0.1/": "10.0.0.1", "https://xn--fiq228c.cn": "xn--fiq228c.cn",
	} {
		if got, err := LinkHost(href); err != nil || got != want {
			t.Errorf("%s: %q, %v", href, got, err)
		}
	}
	for _, bad := range []string{
		"", "a.cn", "//a.cn/", "/x", "ftp://a.cn/", "https:a.cn", "https:///x", "https://u@a.cn/", "https://u:p@a.cn/", "https://A.cn/", "https://a_b.cn/",
		"https://a.cn\\@b.cn/", "https://a.cn/\"", "https://a.cn/<", "https://a.cn/ x", "https://a.cn/\n", "https://中国.cn/", "https://%61.cn/", "https://-a.cn/",
		"https://a..cn/", "https://a.cn./", "https://[::1]/", "https://a.cn/" + strings.Repeat("x", maxHref),
	} {
		if got, err := LinkHost(bad); err == nil {
			t.Errorf("%q has host %q", bad, got)
		}
	}
}

func TestHostCovered(t *testing.T) {
	list := []string{"*.example.cn", "gov.cn"}
	for host, want := range map[string]bool{
		"a.example.cn": true, "a.b.example.cn": true, "example.cn": false, "gov.cn": true, "a.gov.cn": false, "badexample.cn": false, "example.cn.evil": false, "": false,
	} {
		if got := HostCovered(list, host); got != want {
			t.Errorf("%s: %v", host, got)
		}
	}
}

func TestCheckText(t *testing.T) {
	if err := CheckText("x", "", false); err != nil {
		t.Error(err)
	}
	if CheckText("x", "", true) == nil || CheckText("x", strings.Repeat("中", 67), true) == nil || CheckText("x", strings.Repeat("中", 66), true) != nil {
		t.Error("bounds of a text")
	}
}

// TestSealDigest pins what a sealed record shows.
func TestSealDigest(t *testing.T) {
	const want = "8269b7ff989aa943a81314d937d31fbedd16f0cc7cd55e3132ede634f62b6bb1"
	c := sampleContent()
	if got := SealDigest([32]byte{1}, c).String(); got != want {
		t.Errorf("%s, not %s", got, want)
	}
	if SealDigest([32]byte{2}, c).String() == want {
		t.Error("the salt does not matter")
	}
}

func TestSampleRecordHash(t *testing.T) {
	const want = "cc9c57944808807b04ecde4035787cc3953f201428f57a9dd88a74d57634acd3"
	r := samples()[0].(*Record)
	if got := r.Hash().String(); got != want {
		t.Errorf("%s, not %s", got, want)
	}
}

// TestCommonText compares what is accepted at a glance with the rules themselves.
func TestCommonText(t *testing.T) {
	inRules := func(s string) bool {
		return s != "" && len(s) <= maxText && utf8.ValidString(s) && strings.TrimSpace(s) == s && norm.NFC.IsNormalString(s) &&
			!strings.ContainsFunc(s, func(c rune) bool {
				return unicode.In(c, unicode.C, unicode.Zl, unicode.Zp) || c == utf8.RuneError
			})
	}
	accepted := 0
	for r := rune(0); r <= unicode.MaxRune; r++ {
		for _, s := range []string{string(r), "a" + string(r), string(r) + "路", "e" + string(r) + "e"} {
			if !common(s) {
				continue
			}
			if accepted++; !inRules(s) {
				t.Fatalf("%q is accepted at a glance", s)
			}
		}
	}
	if accepted < 4*20_000 {
		t.Errorf("%d texts are accepted at a glance", accepted)
	}
	for _, s := range []string{"", " a", "a ", strings.Repeat("a", 201), "\x80", "a\xe8\xb7", "路\xff"} {
		if common(s) || CheckText("text", s, true) == nil {
			t.Errorf("%q is accepted", s)
		}
	}
}
