// SPDX-License-Identifier: Apache-2.0

package portal

import (
	"strings"
	"testing"

	"cityid/internal/office"
)

// FuzzCodeList reads pasted lists: each code counts once, and what comes out is
// read again as the same.
func FuzzCodeList(f *testing.F) {
	f.Add("MA.156.1301.02/20.010501/000001*DH, https://id.example/MA.156.1301.02\nMA.156.1301.02；x")
	f.Add("ＭＡ．１５６")
	texts, err := loadCatalogues()
	if err != nil {
		f.Fatal(err)
	}
	pg := &page{portal: &portal{texts: texts}, Lang: "zh"}
	f.Fuzz(func(t *testing.T, text string) {
		codes, problems := pg.parseCodeList(text)
		if len(codes) > office.MaxRun+1 || len(problems) > problemsSaid {
			t.Fatalf("%d codes and %d problems", len(codes), len(problems))
		}
		var b strings.Builder
		for _, c := range codes {
			b.WriteString(c.String() + "\n")
		}
		again, problems := pg.parseCodeList(b.String())
		if len(again) != len(codes) || len(problems) > 0 {
			t.Fatalf("%d codes become %d: %v", len(codes), len(again), problems)
		}
		for i := range codes {
			if again[i] != codes[i] {
				t.Fatalf("%v becomes %v", codes[i], again[i])
			}
		}
	})
}

// FuzzScan reads rows of scan logs: what is taken is written and read again as the
// same.
func FuzzScan(f *testing.F) {
	f.Add("MA.156.1301.02", "2026-11-24 08:30:00", "38.0400100", "114.5")
	f.Add("https://id.example/MA.156", "2026-11-24T08:30:00+08:00", "-0", "-180.0000000")
	f.Fuzz(func(t *testing.T, code, seen, lat, lon string) {
		cells := map[string]string{"code": code, "time": seen, "lat": lat, "lon": lon}
		s, err := parseScan(func(name string) string { return cells[name] })
		if err != nil || s.Location == nil {
			return
		}
		south, east, err := degreesOf(*s.Location)
		if err != nil {
			t.Fatal(err)
		}
		again, err := parseDegrees(south, east)
		if err != nil || *again != *s.Location {
			t.Fatalf("%s, %s becomes %s, %s: %v", lat, lon, south, east, err)
		}
	})
}
