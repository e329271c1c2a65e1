// SPDX-License-Identifier: Apache-2.0

package label

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image"
	"image/png"
	"io"
	"math"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// layoutItems returns items for a template.
func layoutItems(t testing.TB, template Template, n int) []Item {
	items := sheetItems(t, n)
	if !template.Certificate() {
		return items
	}
	key, sign := testKey(1)
	for i := range items {
		c, err := Sign(items[i].Code, Day(2500), Day(2900), key, sign)
		if err != nil {
			t.Fatal(err)
		}
		items[i].Certificate = &c
	}
	return items
}

func layout(t testing.TB, items []Item, o LayoutOptions) ([]byte, LayoutInfo) {
	t.Helper()
	var b bytes.Buffer
	info, err := WriteLayout(&b, public(t, "https://id.example"), items, o)
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes(), info
}

func testEmblem(t testing.TB) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := png.Encode(&b, image.NewGray(image.Rect(0, 0, 40, 40))); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// anyLabel finds the labels of any layout.
var anyLabel = regexp.MustCompile(`<div class="label[^"]*"><svg [^>]*width="([0-9.]+)mm"[^>]*viewBox="0 0 (\d+) \d+"><path [^>]*d="([^"]*)"/></svg>`)

// TestTemplates lays out every template on every material that goes with it, in
// both languages; the result passes the check, its sizes are those promised, and
// zbarimg, an independent reader, reads each label cropped from it.
func TestTemplates(t *testing.T) {
	u := public(t, "https://id.example")
	for _, template := range Templates() {
		for _, material := range Materials() {
			for _, lang := range []string{"zh", "en"} {
				name := template.Name + " on " + material.Name + " in " + lang
				o := LayoutOptions{Template: template.Name, Material: material.Name, Lang: lang, Contact: "12319"}
				if template.Name != SheetTemplate {
					o.Emblem = testEmblem(t)
				}
				items := layoutItems(t, template, 3)
				if tooSmall := template.BoxMM != 0 && template.BoxMM < 97 && template.Name != "door"; tooSmall && material.Name == "cast" {
					// 41 modules of 1.5 mm are wider than a pole's label, 65 than a certificate's.
					if _, err := WriteLayout(io.Discard, u, items, o); err == nil || !strings.Contains(err.Error(), "cast asks for 1.5") {
						t.Errorf("%s: %v", name, err)
					}
					continue
				}
				doc, info := layout(t, items, o)
				if err := CheckSheet(t.Context(), doc, u, items, "12319"); err != nil {
					t.Errorf("%s: %v", name, err)
				}
				if info.ModuleMM < material.ModuleMM || info.Level < material.Level || info.Level < template.Level {
					t.Errorf("%s: modules of %g mm at level %s", name, info.ModuleMM, info.Level)
				}
				labels := anyLabel.FindAllStringSubmatch(string(doc), -1)
				if len(labels) != len(items) {
					t.Fatalf("%s: %d labels", name, len(labels))
				}
				for i, l := range labels {
					side, _ := strconv.ParseFloat(l[1], 64)
					box, _ := strconv.Atoi(l[2])
					if module := side / float64(box); math.Abs(module-info.ModuleMM) > 0.002 {
						t.Errorf("%s: modules of %g mm, promised %g", name, module, info.ModuleMM)
					}
					if template.BoxMM != 0 && side > template.BoxMM {
						t.Errorf("%s: a symbol of %g mm", name, side)
					}
					want := u.String() + "/" + items[i].Code.String()
					if c := items[i].Certificate; c != nil {
						want = Payload{Kind: KindCertificate, Public: u, Code: c.Code, Certificate: *c}.String()
					}
					if text, installed := zbar(t, asPNG(t, rasterise(t, l[3], box, 4))); installed && text != want {
						t.Errorf("%s: zbarimg reads %q, want %q", name, text, want)
					}
				}
				if bad := regexp.MustCompile(`<script|style=|onload|ZgotmplZ|url\(|@import`).FindString(string(doc)); bad != "" {
					t.Errorf("%s: the document contains %q", name, bad)
				}
				if n := strings.Count(string(doc), "data:image"); template.Name != SheetTemplate && n != 1 {
					t.Errorf("%s: the emblem stands in the document %d times", name, n)
				}
			}
		}
	}
}

// TestLevels pins the modules of field labels at level H, and reads them back.
func TestLevels(t *testing.T) {
	for _, tt := range []struct{ length, q, h int }{{45, 29, 33}, {47, 29, 33}, {48, 33, 33}, {50, 33, 33}, {51, 33, 37}, {64, 33, 37}, {65, 33, 41}, {67, 33, 41}} {
		u, c := fieldOfLength(t, tt.length)
		for level, want := range map[Level]int{LevelQ: tt.q, LevelH: tt.h} {
			s, err := FieldSymbolAt(u, c, level)
			if err != nil {
				t.Fatal(err)
			}
			if s.Modules() != want {
				t.Errorf("%d characters at level %s: %d modules, want %d", tt.length, level, s.Modules(), want)
			}
			decodes(t, asPNG(t, render(t, s, 3)), s.Text())
		}
		if _, err := FieldSymbolAt(u, c, LevelM); err == nil {
			t.Error("a field label of level M was made")
		}
	}
	certificate := testCertificate(t)
	for level, want := range map[Level]int{LevelM: 45, LevelQ: 53, LevelH: 57} {
		s, err := CertificateSymbolAt(public(t, "https://id.example"), certificate, level)
		if err != nil {
			t.Fatal(err)
		}
		if s.Modules() != want {
			t.Errorf("certificate at level %s: %d modules, want %d", level, s.Modules(), want)
		}
		decodes(t, asPNG(t, render(t, s, 3)), s.Text())
	}
	if _, err := CertificateSymbolAt(public(t, "https://id.example"), certificate, 9); err == nil {
		t.Error("a certificate of level 9 was made")
	}
	for _, l := range []Level{LevelM, LevelQ, LevelH} {
		if got, err := ParseLevel(strings.ToLower(l.String())); got != l || err != nil {
			t.Errorf("ParseLevel(%s) = %s, %v", l, got, err)
		}
	}
	if _, err := ParseLevel("L"); err == nil {
		t.Error("level L accepted")
	}
}

func TestDistances(t *testing.T) {
	items := sheetItems(t, 2)
	for _, tt := range []struct {
		o      LayoutOptions
		module float64
	}{
		{LayoutOptions{}, 25.0 / 29},
		{LayoutOptions{DistanceMM: 50}, 0.4},                    // the paper's least
		{LayoutOptions{Material: "cast", DistanceMM: 100}, 1.5}, // the casting's least
		{LayoutOptions{Template: "pole", DistanceMM: 250}, 0.862},
		{LayoutOptions{Template: "pole"}, 37.0 / 41}, // 33 + 8 modules
		{LayoutOptions{Template: "manhole"}, 3.609},  // 148 mm for 33 + 8 modules
		{LayoutOptions{Template: "manhole", DistanceMM: 1000}, 100.0 / 29},
	} {
		_, info := layout(t, items, tt.o)
		if math.Abs(info.ModuleMM-tt.module) > 0.003 {
			t.Errorf("%+v: modules of %g mm, want %g", tt.o, info.ModuleMM, tt.module)
		}
		if d := info.ModuleMM * 290; math.Abs(d-info.DistanceMM) > 1 {
			t.Errorf("%+v: read from %g mm, want %g", tt.o, info.DistanceMM, d)
		}
	}
}

func TestRefusedLayouts(t *testing.T) {
	u, items := public(t, "https://id.example"), sheetItems(t, 2)
	long := sheetItems(t, 2)
	long[1].Name = strings.Repeat("很长的名称", 24)
	long[1].Holder = long[1].Name
	certificate, _ := TemplateOf("certificate")
	other := layoutItems(t, certificate, 2)
	other[1].Code = other[0].Code
	for _, tt := range []struct {
		name  string
		items []Item
		o     LayoutOptions
		why   string
	}{
		{"template", items, LayoutOptions{Template: "poster"}, "sheet, pole, manhole"},
		{"material", items, LayoutOptions{Material: "wood"}, "paper, card, vinyl"},
		{"language", items, LayoutOptions{Lang: "de"}, "want zh or en"},
		{"level", items, LayoutOptions{Template: "manhole", Level: LevelQ}, "asks for level H"},
		{"no such level", items, LayoutOptions{Level: 9}, "level-9"},
		{"too far", items, LayoutOptions{Template: "pole", DistanceMM: 500}, "to be read from 261 mm"},
		{"absurd distance", items, LayoutOptions{Template: "pole", DistanceMM: math.NaN()}, "reading distance"},
		{"too much text", long, LayoutOptions{Template: "pole"}, "label 2 (MA.156.1301.02/20.010501/000002): its text does not fit"},
		{"emblem on a sheet", items, LayoutOptions{Emblem: testEmblem(t)}, "no place for an emblem"},
		{"no emblem", items, LayoutOptions{Template: "pole", Emblem: []byte("<svg/>")}, "neither PNG nor JPEG"},
		{"large emblem", items, LayoutOptions{Template: "pole", Emblem: make([]byte, maxEmblem+1)}, "at most"},
		{"no certificate", items, LayoutOptions{Template: "certificate"}, "prints signed certificates"},
		{"another's certificate", other, LayoutOptions{Template: "certificate"}, "label 2"},
		{"certificate outdoors", layoutItems(t, certificate, 1), LayoutOptions{Template: "pole"}, "does not belong on a field label"},
		{"title", items, LayoutOptions{Template: "pole", Title: "a\u202eb"}, "title"},
		{"none", nil, LayoutOptions{Template: "pole"}, "0 labels"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var b bytes.Buffer
			if _, err := WriteLayout(&b, u, tt.items, tt.o); err == nil || !strings.Contains(err.Error(), tt.why) {
				t.Errorf("got %v, want an error with %q", err, tt.why)
			}
			if b.Len() != 0 {
				t.Errorf("%d octets written before the refusal", b.Len())
			}
		})
	}
}

// TestCheckSheet spoils a sheet in every way that counts.
func TestCheckSheet(t *testing.T) {
	u := public(t, "https://id.example")
	for _, o := range []LayoutOptions{{Contact: "12319"}, {Template: "pole", Contact: "12319"}, {Template: "certificate", Contact: "12319"}} {
		template, _ := TemplateOf(o.Template)
		items := layoutItems(t, template, 3)
		items[1].Name = `A & B "C" 'D' <b>  e`
		doc, _ := layout(t, items, o)
		if err := CheckSheet(t.Context(), doc, u, items, "12319"); err != nil {
			t.Fatalf("%+v: %v", o, err)
		}
		path := anyLabel.FindAllStringSubmatch(string(doc), -1)
		for name, spoilt := range map[string]string{
			"swapped symbol": strings.Replace(strings.Replace(string(doc), path[0][3], "X", 1), path[1][3], path[0][3], 1),
			"other symbol":   strings.Replace(string(doc), path[0][3], path[1][3], 1),
			"code":           strings.Replace(string(doc), items[0].Code.Display(), items[1].Code.Display(), 1),
			"check":          strings.Replace(string(doc), items[0].Code.Display(), items[0].Code.String(), 1),
			"name":           strings.Replace(string(doc), "路灯 1", "", 1),
			"holder":         strings.Replace(string(doc), items[0].Holder, "别处", 1),
			"no holder":      strings.Replace(string(doc), items[0].Holder, "", 1),
			"host":           strings.Replace(string(doc), "id.example", "id.example.cn", 1),
			"contact":        strings.Replace(string(doc), "12319", "12345", 1),
			"blank":          strings.Replace(string(doc), path[2][3], "", 1),
			"quiet zone":     strings.Replace(string(doc), path[2][3], path[2][3]+"M0 0.5h9", 1),
			"a hole":         strings.Replace(string(doc), path[2][3], path[2][3][:len(path[2][3])/3], 1),
			"stretched":      regexp.MustCompile(`viewBox="0 0 \d+`).ReplaceAllString(string(doc), `viewBox="0 0 90`),
			"one gone":       strings.Replace(string(doc), path[2][0], "", 1),
			"dates":          strings.Replace(string(doc), Day(2900).String(), Day(2901).String(), 1),
		} {
			if spoilt == string(doc) {
				if name == "dates" && items[0].Certificate == nil {
					continue
				}
				t.Fatalf("%s: nothing is spoilt", name)
			}
			if err := CheckSheet(t.Context(), []byte(spoilt), u, items, "12319"); !errors.Is(err, ErrSheet) {
				t.Errorf("%+v, %s: got %v", o, name, err)
			}
		}
		if err := CheckSheet(t.Context(), doc, u, items[:2], "12319"); !errors.Is(err, ErrSheet) {
			t.Error("a label too many goes unnoticed")
		}
		if err := CheckSheet(t.Context(), doc, public(t, "https://id2.example"), items, "12319"); !errors.Is(err, ErrSheet) {
			t.Error("another resolver goes unnoticed")
		}
	}
	for _, bad := range []string{"", "<html></html>", "<div class=\"label\">", strings.Repeat("<", 1000)} {
		if _, err := ReadSheet(t.Context(), []byte(bad)); err == nil {
			t.Errorf("%.20q passed", bad)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	doc, _ := layout(t, sheetItems(t, 3), LayoutOptions{})
	if _, err := ReadSheet(ctx, doc); !errors.Is(err, context.Canceled) {
		t.Errorf("after cancelling: %v", err)
	}
}

// TestFine refuses a sheet whose modules are finer than its material keeps.
func TestFine(t *testing.T) {
	doc, _ := layout(t, sheetItems(t, 1), LayoutOptions{Template: "pole"})
	doc = regexp.MustCompile(`width="3[0-9.]+mm"`).ReplaceAll(doc, []byte(`width="14mm"`))
	if _, err := ReadSheet(t.Context(), doc); !errors.Is(err, ErrSheet) || !strings.Contains(err.Error(), "the material asks for 0.5") {
		t.Errorf("got %v", err)
	}
}

// TestLargeSheet holds 960 labels to being laid out and checked in seconds.
func TestLargeSheet(t *testing.T) {
	u, items := public(t, "https://id.example"), sheetItems(t, 960)
	for _, template := range []string{SheetTemplate, "pole"} {
		start := time.Now()
		doc, info := layout(t, items, LayoutOptions{Template: template})
		laid := time.Since(start)
		if err := CheckSheet(t.Context(), doc, u, items, ""); err != nil {
			t.Fatal(err)
		}
		t.Logf("%s: %d pages, %d octets, laid out in %v, all in %v", template, info.Pages, len(doc), laid, time.Since(start))
		if took := time.Since(start); took > 30*time.Second {
			t.Errorf("%s: 960 labels took %v", template, took)
		}
	}
}

func FuzzReadSheet(f *testing.F) {
	var b bytes.Buffer
	if _, err := WriteLayout(&b, public(f, "https://id.example"), sheetItems(f, 1), LayoutOptions{Template: "pole"}); err != nil {
		f.Fatal(err)
	}
	f.Add(b.Bytes())
	f.Add([]byte(`<div class="label"><svg width="9mm" viewBox="0 0 37 37"><path d="M4 4.5h7m1 0h9"/></svg><p class="code">x</p></div>`))
	f.Fuzz(func(t *testing.T, doc []byte) {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		r, err := ReadSheet(ctx, doc)
		if err != nil {
			return
		}
		for _, l := range r.Labels {
			if fmt.Sprint(l.Payload.Code.Display()) != l.Code || l.Holder == "" {
				t.Errorf("%+v passed", l)
			}
		}
	})
}

// TestDocPrinting holds the tables of docs/printing.md against the code.
func TestDocPrinting(t *testing.T) {
	b, err := os.ReadFile("../docs/printing.md")
	if err != nil {
		t.Fatal(err)
	}
	table := func(name string) []string {
		_, rest, ok := strings.Cut(string(b), "<!-- "+name+" -->\n\n")
		if !ok {
			t.Fatalf("docs/printing.md has no <!-- %s -->", name)
		}
		rest, _, _ = strings.Cut(rest, "\n\n")
		return strings.Split(strings.TrimSpace(rest), "\n")[2:]
	}
	var want []string
	for _, x := range Templates() {
		size := x.Page
		if x.WidthMM != 0 && !x.Certificate() {
			size = fmt.Sprintf("%g x %g mm", x.WidthMM, x.HeightMM)
		}
		want = append(want, fmt.Sprintf("| `%s` | %s | %s | %s | %s |", x.Name, x.Title.EN, size, x.Level, x.Material))
	}
	if got := table("templates"); !slices.Equal(got, want) {
		t.Errorf("templates: %q\nwant %q", got, want)
	}
	want = nil
	for _, m := range Materials() {
		want = append(want, fmt.Sprintf("| `%s` | %s | %g mm | %s | %s |", m.Name, m.Title.EN, m.ModuleMM, m.Level, m.Advice.EN))
	}
	if got := table("materials"); !slices.Equal(got, want) {
		t.Errorf("materials: %q\nwant %q", got, want)
	}
	for _, row := range table("sizes") {
		var distance, module, side29, box29, side33, box33 float64
		var unit string
		if n, err := fmt.Sscanf(row, "| %f %s | %f | %f | %f | %f | %f |", &distance, &unit, &module, &side29, &box29, &side33, &box33); n != 7 {
			t.Fatalf("row %q: %v", row, err)
		}
		mm := distance * map[string]float64{"cm": 10, "m": 1000}[unit]
		small, _ := SideMM(mm, 29)
		large, err := SideMM(mm, 33)
		if err != nil {
			t.Fatal(err)
		}
		for _, x := range [][2]float64{{module, small / 29}, {side29, small}, {box29, small * 37 / 29}, {side33, large}, {box33, large * 41 / 33}} {
			if math.Abs(x[0]-x[1]) > 0.051 {
				t.Errorf("%q: %g, want %g", row, x[0], x[1])
			}
		}
	}
}
