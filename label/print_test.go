// SPDX-License-Identifier: Apache-2.0

package label

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"html"
	"image"
	"io"
	"math"
	"math/rand/v2"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"cityid"
)

// rasterise draws SVG path data of horizontal lines one unit wide, which is all
// that symbols use, at the given pixels per unit, black on white. Lines that
// overlap turn white again, and those off the grid are an error.
func rasterise(t testing.TB, d string, box, pixels int) *image.Gray {
	t.Helper()
	img := image.NewGray(image.Rect(0, 0, box*pixels, box*pixels))
	for i := range img.Pix {
		img.Pix[i] = 255
	}
	command := regexp.MustCompile(`^(?:M(\d+) (\d+)\.5|m(\d+) 0|h(\d+))`)
	atoi := func(s string) int {
		n, err := strconv.Atoi(s)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	x, y := 0, 0
	for d != "" {
		m := command.FindStringSubmatch(d)
		switch {
		case m == nil:
			t.Fatalf("path data %.40q: unknown command", d)
		case m[1] != "":
			x, y = atoi(m[1]), atoi(m[2])
		case m[3] != "":
			x += atoi(m[3])
		default:
			n := atoi(m[4])
			for py := y * pixels; py < (y+1)*pixels; py++ {
				for px := x * pixels; px < (x+n)*pixels; px++ {
					img.Pix[img.PixOffset(px, py)] ^= 255
				}
			}
			x += n
		}
		d = d[len(m[0]):]
	}
	return img
}

// svgElements checks that an SVG is well-formed XML of harmless elements, and
// returns its path data and its texts.
func svgElements(t testing.TB, data []byte) (path string, texts []string) {
	t.Helper()
	d := xml.NewDecoder(bytes.NewReader(data))
	inText := false
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return path, texts
		}
		if err != nil {
			t.Fatalf("SVG is not XML: %v\n%s", err, data)
		}
		switch e := token.(type) {
		case xml.StartElement:
			inText = e.Name.Local == "text"
			if !strings.Contains(" svg title rect path text ", " "+e.Name.Local+" ") {
				t.Errorf("unexpected element %s", e.Name.Local)
			}
			for _, a := range e.Attr {
				if e.Name.Local == "path" && a.Name.Local == "d" {
					path = a.Value
				}
				if a.Name.Local == "href" || strings.HasPrefix(a.Name.Local, "on") || a.Name.Local == "style" {
					t.Errorf("unexpected attribute %s", a.Name.Local)
				}
			}
		case xml.CharData:
			if inText {
				texts = append(texts, string(e))
			}
		case xml.EndElement:
			inText = false
		}
	}
}

func TestSVG(t *testing.T) {
	caption := &Caption{Holder: "石家庄市城市管理综合行政执法局", Name: `<script>alert("1 & 2")</script>`, Contact: "12319"}
	for name, s := range testSymbols(t) {
		data, err := s.SVG(SVGOptions{SideMM: 40, Caption: caption})
		if err != nil {
			t.Fatal(err)
		}
		path, texts := svgElements(t, data)
		decodes(t, asPNG(t, rasterise(t, path, s.Modules()+2*Quiet, 3)), s.Text())
		all := strings.Join(texts, "")
		for _, want := range []string{s.Code().Display(), caption.Holder, strings.ReplaceAll(caption.Name, " ", ""), "id.example", "12319"} {
			if !strings.Contains(strings.ReplaceAll(all, " ", ""), want) {
				t.Errorf("%s: %q is not among the printed texts %q", name, want, texts)
			}
		}
		if strings.Contains(all, "2026-11-20") != (name == "certificate") {
			t.Errorf("%s: dates in the wrong place: %q", name, texts)
		}
		if !regexp.MustCompile(` width="[0-9.]+mm" height="[0-9.]+mm" viewBox="0 0 \d+ [0-9.]+"`).Match(data) {
			t.Errorf("%s: no size in %.200s", name, data)
		}

		bare, err := s.SVG(SVGOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if barePath, texts := svgElements(t, bare); barePath != path || len(texts) != 0 {
			t.Errorf("%s: bare symbol differs, or has texts %q", name, texts)
		}
	}
}

func TestRefusedCaptions(t *testing.T) {
	s := testSymbols(t)["field-29"]
	tests := []struct {
		caption Caption
		why     string
	}{
		{Caption{}, "no holder"},
		{Caption{Holder: " \u3000"}, "no holder"},
		{Caption{Holder: strings.Repeat("市", 121)}, "121 characters"},
		{Caption{Holder: "a\nb"}, "U+000A"},
		{Caption{Holder: "a\u202eb"}, "U+202E"},
		{Caption{Holder: "a\u2066b"}, "U+2066"},
		{Caption{Holder: "a", Name: "b\u200b"}, "U+200B"},
		{Caption{Holder: "a", Name: "\ufffe"}, "U+FFFE"},
		{Caption{Holder: "a", Contact: "\xff"}, "not UTF-8"},
	}
	for _, tt := range tests {
		if _, err := s.SVG(SVGOptions{Caption: &tt.caption}); err == nil || !strings.Contains(err.Error(), tt.why) {
			t.Errorf("caption %+q: got %v, want an error with %q", tt.caption, err, tt.why)
		}
	}
	for _, side := range []float64{-1, 4.9, 1001, math.NaN(), math.Inf(1)} {
		if _, err := s.SVG(SVGOptions{SideMM: side}); err == nil {
			t.Errorf("side of %g mm accepted", side)
		}
	}
	for _, pixels := range []int{-1, 0, 65} {
		if _, err := s.PNG(pixels); err == nil {
			t.Errorf("%d pixels per module accepted", pixels)
		}
	}
}

func TestSideMM(t *testing.T) {
	for _, tt := range []struct {
		distance float64
		modules  int
		want     float64
	}{{1000, 29, 100}, {1000, 33, 113.79}, {250, 29, 25}, {250, 41, 35.34}, {49, 29, 0}, {10001, 29, 0}, {math.NaN(), 29, 0}} {
		got, err := SideMM(tt.distance, tt.modules)
		if (err != nil) != (tt.want == 0) || math.Abs(got-tt.want) > 0.005 {
			t.Errorf("SideMM(%g, %d) = %g, %v; want %g", tt.distance, tt.modules, got, err, tt.want)
		}
	}
}

// TestRoundTrip encodes and reads back labels of every length, as PNG.
func TestRoundTrip(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	key, sign := testKey(1)
	for n := 45; n <= MaxField; n++ {
		u, c := fieldOfLength(t, n)
		s, err := FieldSymbol(u, c)
		if err != nil {
			t.Fatal(err)
		}
		data, err := s.PNG(1 + r.IntN(4) + 1)
		if err != nil {
			t.Fatal(err)
		}
		decodes(t, data, s.Text())
		if n%3 != 0 {
			continue
		}
		certificate, err := Sign(c, Day(n), Day(n+r.IntN(1000)), key, sign)
		if err != nil {
			t.Fatal(err)
		}
		if s, err = CertificateSymbol(u, certificate); err != nil {
			t.Fatal(err)
		}
		if data, err = s.PNG(3); err != nil {
			t.Fatal(err)
		}
		decodes(t, data, s.Text())
	}
}

// TestCertificateSizes pins the modules of certificates, up to the longest.
func TestCertificateSizes(t *testing.T) {
	certificate := testCertificate(t)
	longest := "M0A.156.A1B2C3D4E5F6.A1B2C3D4E5F6G7H8.A1B2C3D4E5F6G7H8.A1B2C3D4E5F6G7H8.A1B2C3D4/20.010501.ABC/A1B2C3D4E5F6G7H8I9J0.L1"
	for _, tt := range []struct {
		url, code string
		modules   int
	}{
		{"https://id.example", "MA.156.1301", 41},
		{"https://id.example", "MA.156.1301.02/20.010501/000045", 45},
		{"https://resolver.city-codes.shijiazhuang.example", "MA.156.1301.02/20.010501/000045", 49},
		{"https://" + strings.Repeat("ab-", 16) + "a.zz", longest, 57},
	} {
		certificate.Code = code(t, tt.code)
		s, err := CertificateSymbol(public(t, tt.url), certificate)
		if err != nil {
			t.Fatal(err)
		}
		if s.Modules() != tt.modules {
			t.Errorf("%s at %s: %d modules, want %d", tt.code, tt.url, s.Modules(), tt.modules)
		}
		decodes(t, asPNG(t, render(t, s, 3)), s.Text())
	}
}

func sheetItems(t testing.TB, n int) []Item {
	items := make([]Item, n)
	for i := range items {
		items[i] = Item{Code: code(t, fmt.Sprintf("MA.156.1301.02/20.010501/%06d", i+1)), Name: fmt.Sprintf("路灯 %d", i+1), Holder: "石家庄市城市管理综合行政执法局"}
	}
	return items
}

// labelPattern finds the labels of a sheet: box, path and the texts.
var labelPattern = regexp.MustCompile(`<div class="label"><svg [^>]*viewBox="0 0 (\d+) \d+"><path [^>]*d="([^"]*)"/></svg>(.*?)</div>`)

func TestSheet(t *testing.T) {
	items := sheetItems(t, 960)
	items[7].Name = `</p><script>&amp;`
	items[8].Holder = `A & B "C" 'D' <b>`
	items[9].Code = code(t, "MA.156.1301")
	u := public(t, "https://id.example")
	var b bytes.Buffer
	info, err := WriteSheet(&b, u, items, SheetOptions{Contact: "12319"})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%+v, %d octets", info, b.Len())
	if info.Pages > 40 || b.Len() > 3_000_000 {
		t.Errorf("%d pages and %d octets: want at most 40 and 3 million", info.Pages, b.Len())
	}
	if pages := strings.Count(b.String(), `<section class="page">`); pages != info.Pages || info.Pages != (960+info.Columns*info.Rows-1)/(info.Columns*info.Rows) {
		t.Errorf("%d pages in the document, %+v", pages, info)
	}
	for _, bad := range []string{"<script", "style=", "href", "src=", "url(", "@import", "onload", "ZgotmplZ"} {
		if strings.Contains(b.String(), bad) {
			t.Errorf("the sheet contains %q", bad)
		}
	}
	if refs := regexp.MustCompile(`[a-z]+://[^"]*`).FindAllString(b.String(), -1); len(refs) != 960+info.Pages {
		t.Errorf("%d addresses in the sheet, want only the name of the SVG name space", len(refs))
	} else {
		for _, r := range refs {
			if r != "http://www.w3.org/2000/svg" {
				t.Errorf("address %q in the sheet", r)
			}
		}
	}
	labels := labelPattern.FindAllStringSubmatch(b.String(), -1)
	if len(labels) != len(items) {
		t.Fatalf("%d labels, want %d", len(labels), len(items))
	}
	for i, l := range labels {
		item := items[i]
		printed := html.UnescapeString(strings.NewReplacer("<p>", "", `<p class="code">`, "", "</p>", "|").Replace(l[3]))
		want := item.Code.Display() + "|" + item.Name + "|" + item.Holder + "|id.example · 12319|"
		if printed != want {
			t.Errorf("label %d prints %q, want %q", i, printed, want)
		}
		if i%97 == 0 || i == 9 {
			box, err := strconv.Atoi(l[1])
			if err != nil {
				t.Fatal(err)
			}
			decodes(t, asPNG(t, rasterise(t, l[2], box, 3)), u.String()+"/"+item.Code.String())
		}
	}
}

// TestReprint checks that a shorter list prints the same labels again.
func TestReprint(t *testing.T) {
	u, items := public(t, "https://id.example"), sheetItems(t, 30)
	reprint := func(items []Item) [][]string {
		var b bytes.Buffer
		if _, err := WriteSheet(&b, u, items, SheetOptions{DistanceMM: 400}); err != nil {
			t.Fatal(err)
		}
		return labelPattern.FindAllStringSubmatch(b.String(), -1)
	}
	all, some := reprint(items), reprint([]Item{items[3], items[29]})
	if len(all) != 30 || len(some) != 2 || some[0][0] != all[3][0] || some[1][0] != all[29][0] {
		t.Error("reprinted labels differ")
	}
}

func TestSheetLayout(t *testing.T) {
	u := public(t, "https://id.example")
	for _, side := range []float64{5, 12, 25, 40, 75, 120} {
		var b bytes.Buffer
		info, err := WriteSheet(&b, u, sheetItems(t, 5), SheetOptions{SideMM: side, Lang: "en"})
		if err != nil {
			t.Errorf("%g mm: %v", side, err)
			continue
		}
		box := side * 41 / 29
		if w := float64(info.Columns)*(box+gap) - gap; w > pageWidth || w+box+gap <= pageWidth {
			t.Errorf("%g mm: %d columns are %g mm wide", side, info.Columns, w)
		}
		if h := float64(info.Rows) * box; h > pageHeight {
			t.Errorf("%g mm: %d rows are at least %g mm high", side, info.Rows, h)
		}
		if want := fmt.Sprintf(`width="%smm"`, decimal(box)); !strings.Contains(b.String(), want) {
			t.Errorf("%g mm: no %s in the sheet", side, want)
		}
	}
}

// failing fails every write, so that nothing may be lost silently.
type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, io.ErrShortWrite }

func TestRefusedSheets(t *testing.T) {
	u, items := public(t, "https://id.example"), sheetItems(t, 2)
	with := func(change func(*Item)) []Item {
		out := sheetItems(t, 2)
		change(&out[1])
		return out
	}
	tests := []struct {
		name    string
		url     PublicURL
		items   []Item
		options SheetOptions
		why     string
	}{
		{"no items", u, nil, SheetOptions{}, "0 labels"},
		{"too many", u, make([]Item, maxItems+1), SheetOptions{}, "split the list"},
		{"no URL", PublicURL{}, items, SheetOptions{}, "--public-url"},
		{"no code", u, with(func(i *Item) { i.Code = cityid.Code{} }), SheetOptions{}, "label 2"},
		{"no holder", u, with(func(i *Item) { i.Holder = "" }), SheetOptions{}, "label 2 (MA.156.1301.02/20.010501/000002): no holder"},
		{"long code", u, with(func(i *Item) { i.Code = code(t, "MA.156.1301.02/20.010501/ABCDEFGHIJKLMNOPQRSTUVWXY") }), SheetOptions{}, "characters shorter"},
		{"bad contact", u, items, SheetOptions{Contact: "\x00"}, "contact"},
		{"language", u, items, SheetOptions{Lang: "de"}, "want zh or en"},
		{"two sizes", u, items, SheetOptions{SideMM: 25, DistanceMM: 250}, "choose one"},
		{"wide", u, items, SheetOptions{SideMM: 140}, "wider than an A4 page"},
		{"far", u, items, SheetOptions{DistanceMM: 20000}, "reading distance"},
		{"small", u, items, SheetOptions{SideMM: 1}, "want 5 to 1000"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var b bytes.Buffer
			if _, err := WriteSheet(&b, tt.url, tt.items, tt.options); err == nil || !strings.Contains(err.Error(), tt.why) {
				t.Errorf("got %v, want an error with %q", err, tt.why)
			}
			if b.Len() != 0 {
				t.Errorf("%d octets written before the refusal", b.Len())
			}
		})
	}
	if _, err := WriteSheet(failing{}, u, items, SheetOptions{}); !errors.Is(err, io.ErrShortWrite) {
		t.Errorf("failing writer: got %v", err)
	}
}

// TestWrap checks that wrapping loses nothing and keeps to the width.
func TestWrap(t *testing.T) {
	for _, text := range []string{"", "MA.156.1301.02/20.010501/000045*7K", strings.Repeat("石家庄", 40), "a b c", strings.Repeat("W", 100)} {
		for _, width := range []float64{0.1, 5, 13, 100} {
			lines := wrap(text, width)
			if got := strings.Join(lines, ""); strings.ReplaceAll(got, " ", "") != strings.ReplaceAll(text, " ", "") {
				t.Errorf("wrap(%q, %g) = %q", text, width, lines)
			}
			for _, l := range lines {
				sum := 0.0
				for _, r := range l {
					sum += advance(r)
				}
				if sum > width && len([]rune(l)) > 1 {
					t.Errorf("wrap(%q, %g): line %q is %g wide", text, width, l, sum)
				}
			}
		}
	}
}
