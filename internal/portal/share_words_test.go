// SPDX-License-Identifier: Apache-2.0

package portal

import (
	"slices"
	"testing"
	"time"

	"cityid"
	"cityid/internal/ledger"
)

func testPage(t *testing.T, lang string) *page {
	t.Helper()
	texts, err := loadCatalogues()
	if err != nil {
		t.Fatal(err)
	}
	return &page{portal: &portal{texts: texts}, Lang: lang}
}

func TestDeadline(t *testing.T) {
	for _, c := range []struct {
		left          cityid.Time
		class, en, zh string
	}{
		{-1, "bad", "Overdue", "已逾期"},
		{0, "bad", "Overdue", "已逾期"},
		{1, "bad", "1 minute left", "还剩 1 分钟"},
		{3599, "bad", "60 minutes left", "还剩 60 分钟"},
		{3600, "bad", "1 hour left", "还剩 1 小时"},
		{86399, "bad", "23 hours left", "还剩 23 小时"},
		{86400, "warn", "1 day left", "还剩 1 天"},
		{3*86400 - 1, "warn", "2 days left", "还剩 2 天"},
		{3 * 86400, "info", "3 days left", "还剩 3 天"},
	} {
		en, zh := testPage(t, "en").deadline(1000+c.left, 1000), testPage(t, "zh").deadline(1000+c.left, 1000)
		if en.Text != c.en || zh.Text != c.zh || en.Class != c.class || en.Icon == "" {
			t.Errorf("%d s: %+v, %+v", c.left, en, zh)
		}
	}
}

func TestSpan(t *testing.T) {
	pg := testPage(t, "en")
	at := func(s string) cityid.Time {
		d, err := time.ParseInLocation("2006-01-02 15:04", s, beijing)
		if err != nil {
			t.Fatal(err)
		}
		return cityid.TimeOf(d)
	}
	if got := pg.Span(at("2026-11-01 00:00"), at("2027-01-01 00:00")); got != "1 November 2026 to 31 December 2026, both included" {
		t.Error(got)
	}
	if got := pg.Span(at("2026-11-01 08:30"), at("2027-01-01 10:00")); got != "from 1 Nov 2026, 08:30 until 1 Jan 2027, 10:00" {
		t.Error(got)
	}
}

func TestShareStep(t *testing.T) {
	for path, want := range map[string][3]string{
		"MA.156.1301/agreements":                    {"MA.156.1301", "", "yes"},
		"MA.156.1301/agreements/":                   {"MA.156.1301", "", "yes"},
		"MA.156.1301/20.010501/1/agreements/new":    {"MA.156.1301/20.010501/1", "new", "yes"},
		"MA.156.1301/agreements/ab/log":             {"MA.156.1301", "ab/log", "yes"},
		"MA.156.1301/agreements/agreements":         {"MA.156.1301", "agreements", "yes"},
		"MA.156.1301/amend":                         {"", "", ""},
		"MA.156.1301/20.010501/AGREEMENTS/policy":   {"", "", ""},
		"MA.156.1301/20.010501/agreementsandmore/x": {"", "", ""},
	} {
		code, rest, ok := shareStep(path)
		if ok != (want[2] != "") || ok && (code != want[0] || rest != want[1]) {
			t.Errorf("%s: %q, %q, %v", path, code, rest, ok)
		}
	}
}

func TestCSVRow(t *testing.T) {
	e := ledger.AccessEntry{
		Entry: cityid.Digest{1}, Direction: ledger.DirectionServed, Time: time.Date(2026, 11, 24, 8, 0, 0, 0, beijing), Path: "=cmd()", Status: 200, Octets: 5,
		Provider: cityid.MustParse("MA.156.1301"), Log: "gw", Number: 7, Acknowledged: true, Batch: 2, Anchored: 100, Height: 9,
	}
	want := []string{"2026-11-24T00:00:00Z", "served", "", "'=cmd()", "200", "5", "MA.156.1301", "gw", "7", "yes", "2", "1970-01-01T00:01:40Z", "9", e.Entry.String()}
	if got := csvRow(&e); !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
	e = ledger.AccessEntry{Path: "/latest?a=b", Awaits: true}
	if got := csvRow(&e); got[3] != "/latest?a=b" || got[9] != "no" || got[10] != "" || got[11] != "" {
		t.Errorf("%q", got)
	}
}
