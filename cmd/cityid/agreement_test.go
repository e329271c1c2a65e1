// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"cityid"
	"cityid/internal/office"
)

func TestRespondBy(t *testing.T) {
	china := time.FixedZone("CST", 8*3600)
	for _, tt := range []struct{ text, now, want string }{
		// 2026-11-24 is a Tuesday. A number of working days ends with the last of them.
		{"1d", "2026-11-24T09:00:00+08:00", "2026-11-26T00:00:00+08:00"}, {"2d", "2026-11-24T23:59:59+08:00", "2026-11-27T00:00:00+08:00"},
		{"5d", "2026-11-24T09:00:00+08:00", "2026-12-02T00:00:00+08:00"}, {"10d", "2026-11-24T09:00:00+08:00", "2026-12-09T00:00:00+08:00"},
		{"1d", "2026-11-27T09:00:00+08:00", "2026-12-01T00:00:00+08:00"}, // a Friday: Monday
		{"1d", "2026-11-28T09:00:00+08:00", "2026-12-01T00:00:00+08:00"}, // a Saturday
		{"1d", "2026-11-29T09:00:00+08:00", "2026-12-01T00:00:00+08:00"}, // a Sunday
		{"1d", "2026-11-24T17:00:00Z", "2026-11-27T00:00:00+08:00"},      // a Wednesday there
		{"60d", "2026-11-24T09:00:00+08:00", "2027-02-17T00:00:00+08:00"},
		{"2026-12-24", "2026-11-24T09:00:00+08:00", "2026-12-24T08:00:00+08:00"}, {"2026-12-24T12:00:00Z", "2026-11-24T09:00:00+08:00", "2026-12-24T20:00:00+08:00"},
	} {
		now, err := time.Parse(time.RFC3339, tt.now)
		if err != nil {
			t.Fatal(err)
		}
		want, err := time.Parse(time.RFC3339, tt.want)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := respondBy(tt.text, now.In(china)); err != nil || got != cityid.TimeOf(want) {
			t.Errorf("%s from %s: %s, %v, want %s", tt.text, tt.now, got, err, tt.want)
		}
	}
	for _, bad := range []string{"", "0d", "-1d", "100d", "d", "1 d", "1.5d", "1w", "tomorrow", "01d"} {
		if got, err := respondBy(bad, time.Now()); err == nil {
			t.Errorf("%q is taken for %s", bad, got)
		}
	}
	// Clocks that are put back do not make a day longer or shorter.
	if berlin, err := time.LoadLocation("Europe/Berlin"); err == nil {
		got, err := respondBy("1d", time.Date(2026, 10, 23, 12, 0, 0, 0, berlin))
		if want := cityid.TimeOf(time.Date(2026, 10, 27, 0, 0, 0, 0, berlin)); err != nil || got != want {
			t.Errorf("%s, %v, want %s", got, err, want)
		}
	}
}

// aRequest is a request file that is in order.
func aRequest(t testing.TB) *requestFile {
	t.Helper()
	r := &requestFile{Version: 1, Terms: cityid.Terms{
		Dataset: cityid.MustParse("MA.156.1301/40.010101/1"), Consumer: cityid.MustParse("MA.156.1302"), Document: cityid.Digest{1},
		From: 1_800_000_000, Until: 1_900_000_000, Staleness: 30, Respond: 1_800_100_000, Nonce: cityid.Nonce{1},
	}}
	var err error
	if r.Purpose, err = office.NewPurpose("for clean air\nin both cities", "Article 3"); err != nil {
		t.Fatal(err)
	}
	r.Terms.Purpose = r.Purpose.Digest()
	r.Agreement = r.Terms.ID()
	return r
}

func TestRequestFile(t *testing.T) {
	for name, change := range map[string]func(r *requestFile, text string) string{
		"as it is": func(r *requestFile, text string) string { return text },
		"!other version": func(r *requestFile, text string) string {
			return strings.Replace(text, `"version":1`, `"version":2`, 1)
		},
		"!unknown field": func(r *requestFile, text string) string { return strings.Replace(text, `{`, `{"x":1,`, 1) },
		"!field twice":   func(r *requestFile, text string) string { return strings.Replace(text, `{`, `{"version":1,`, 1) },
		"!trailing":      func(r *requestFile, text string) string { return text + "{}" },
		"!cut":           func(r *requestFile, text string) string { return text[:len(text)-1] },
		"!other terms": func(r *requestFile, text string) string {
			return strings.Replace(text, `"staleness":30`, `"staleness":31`, 1)
		},
		"!impossible terms": func(r *requestFile, text string) string {
			return strings.Replace(text, `"staleness":30`, `"staleness":1`, 1)
		},
		"!other purpose": func(r *requestFile, text string) string { return strings.Replace(text, "clean air", "clear air", 1) },
		"!other basis":   func(r *requestFile, text string) string { return strings.Replace(text, "Article 3", "Article 4", 1) },
		"!other format": func(r *requestFile, text string) string {
			return strings.Replace(text, "cityid/purpose/1", "cityid/purpose/2", 1)
		},
		"!empty": func(*requestFile, string) string { return "" },
		"!null":  func(*requestFile, string) string { return "null" },
	} {
		r := aRequest(t)
		b, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		got, err := parseRequestFile([]byte(change(r, string(b))))
		if (err != nil) != strings.HasPrefix(name, "!") {
			t.Errorf("%s: %v", name, err)
		}
		if err == nil && *got != *r {
			t.Errorf("%s: %+v, want %+v", name, got, r)
		}
	}
}

func FuzzRequestFile(f *testing.F) {
	b, err := json.Marshal(aRequest(f))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add([]byte(`{"version":1}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := parseRequestFile(data)
		if err != nil {
			return
		}
		if r.Terms.ID() != r.Agreement || r.Terms.Check() != nil || r.Purpose.Digest() != r.Terms.Purpose {
			t.Errorf("a request that does not hold together: %s", data)
		}
		again, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		if back, err := parseRequestFile(again); err != nil || *back != *r {
			t.Errorf("%s does not come back: %v", again, err)
		}
	})
}
