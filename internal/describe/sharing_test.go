// SPDX-License-Identifier: Apache-2.0

package describe_test

import (
	"reflect"
	"strings"
	"testing"

	"cityid"
	"cityid/internal/describe"
)

// TestSharingComplete changes every field of an agreement, an attestation and an
// anchor: the words change, in both languages. So all that a bundle shows of them
// can be read.
func TestSharingComplete(t *testing.T) {
	const now = 250
	var agreement cityid.Agreement
	var attestation cityid.Attestation
	var anchor cityid.Anchor
	fill := filler{n: 700}
	for _, x := range []struct {
		v     any
		words func(lang string) []describe.Line
	}{
		{&agreement, func(lang string) []describe.Line { return describe.Agreement(lang, &agreement, now) }},
		{&attestation, func(lang string) []describe.Line { return describe.Attestation(lang, &attestation) }},
		{&anchor, func(lang string) []describe.Line { return describe.Anchor(lang, &anchor) }},
	} {
		v := reflect.ValueOf(x.v).Elem()
		fill.fill(v, 1)
		agreement.State = cityid.AgreementRevoked
		before := map[string]string{}
		for _, lang := range languages {
			before[lang] = joined(x.words(lang))
		}
		mutate(v, v.Type().Name(), func(path string) {
			for _, lang := range languages {
				if joined(x.words(lang)) == before[lang] {
					t.Errorf("%s in %s: not in the words:\n%s", path, lang, before[lang])
				}
			}
		})
	}
}

func TestAgreementWords(t *testing.T) {
	a := &cityid.Agreement{
		Terms:    cityid.Terms{Dataset: cityid.MustParse("MA.156.1301/40.010101/1"), Consumer: cityid.MustParse("MA.156.1302"), From: 100, Until: 200, Respond: 50},
		Provider: cityid.MustParse("MA.156.1301"), State: cityid.AgreementGranted,
	}
	for _, tt := range []struct {
		lang  string
		now   cityid.Time
		want  string
		force bool
	}{
		{"en", 50, "MA.156.1301 lets MA.156.1302 use dataset MA.156.1301/40.010101/1: granted", false},
		{"en", 100, "MA.156.1301 lets MA.156.1302 use dataset MA.156.1301/40.010101/1: granted", true},
		{"zh", 100, "MA.156.1301 允许 MA.156.1302 使用数据集 MA.156.1301/40.010101/1：已同意", true},
		{"zh", 200, "MA.156.1301 允许 MA.156.1302 使用数据集 MA.156.1301/40.010101/1：已到期", false},
	} {
		lines := describe.Agreement(tt.lang, a, tt.now)
		force := strings.Contains(lines[1].Text, "in force") || strings.Contains(lines[1].Text, "生效")
		if lines[0].Text != tt.want || force != tt.force {
			t.Errorf("at %d in %s: %q, in force %v", tt.now, tt.lang, lines[0].Text, force)
		}
	}
	if got := describe.AgreementState("zh", cityid.AgreementLapsed); got != "逾期未答复" {
		t.Error(got)
	}
	if got := describe.DatasetClass("en", cityid.DatasetConditional); got == "" || got == "conditional-class" {
		t.Error(got)
	}
	for _, lang := range languages {
		if n := len(describe.AttestationMeans(lang)); n != 2 {
			t.Errorf("%d sentences in %s", n, lang)
		}
		if lines := describe.Terms(lang, &a.Terms); len(lines) < 6 || !strings.Contains(joined(lines), a.Terms.ID().String()) {
			t.Errorf("terms in %s: %v", lang, lines)
		}
	}
}
