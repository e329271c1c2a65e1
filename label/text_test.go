// SPDX-License-Identifier: Apache-2.0

package label

import (
	"bytes"
	"math/rand/v2"
	"strings"
	"testing"
)

// TestTextSymbol reads back symbols of texts that are no labels.
func TestTextSymbol(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 3))
	upper := make([]byte, 370) // as a signed receipt has
	for i := range upper {
		upper[i] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"[r.IntN(32)]
	}
	for text, modules := range map[string]int{
		"a": 21,
		"https://id.example/zh/receipt/17?token=K7QW2M9D0XJ4TB8N6R3HVYC5GZ": 37,
		"CITYID-RECEIPT:" + string(upper):                                   65,
		strings.Repeat("~", MaxTextSymbol):                                  109,
	} {
		s, err := TextSymbol(text)
		if err != nil {
			t.Fatal(err)
		}
		if s.Modules() != modules || s.Text() != text || !s.Code().IsZero() {
			t.Errorf("%.20q: %d modules, want %d; text %q", text, s.Modules(), modules, s.Text())
		}
		png, err := s.PNG(4)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := Decode(t.Context(), bytes.NewReader(png), Limits{}); err != nil || got != text {
			t.Errorf("%.20q is read as %.40q, %v", text, got, err)
		}
		svg, err := s.SVG(SVGOptions{})
		if err != nil || bytes.Contains(svg, []byte("<title>")) || bytes.Contains(svg, []byte("<text")) {
			t.Errorf("%.20q is drawn as %.200s, %v", text, svg, err)
		}
		if _, err := s.SVG(SVGOptions{Caption: &Caption{Holder: "x"}}); err == nil {
			t.Error("a text has a caption")
		}
	}
	for _, bad := range []string{"", "灯", "a\nb", "a\x7fb", strings.Repeat("a", MaxTextSymbol+1)} {
		if s, err := TextSymbol(bad); err == nil {
			t.Errorf("%.20q: %d modules", bad, s.Modules())
		}
	}
}
