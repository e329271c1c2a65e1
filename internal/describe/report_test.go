// SPDX-License-Identifier: Apache-2.0

package describe

import (
	"fmt"
	"strings"
	"testing"

	"cityid"
)

func TestDuty(t *testing.T) {
	way := []cityid.DutyStep{
		{By: cityid.DutyItself, Code: cityid.MustParse("MA.156.1301.02/20.010501/000045")},
		{By: cityid.DutyParent, Code: cityid.MustParse("MA.156.1301.02"), Names: cityid.NamesOf(map[string]string{"zh": "交通管理局", "en": "Traffic"})},
		{By: cityid.DutyHeir, Code: cityid.MustParse("MA.156.1301.01"), Names: cityid.NamesOf(map[string]string{"zh": "城市\u202e管理局"})},
		{By: 99, Code: cityid.MustParse("MA.156.1301")},
	}
	for lang, want := range map[string][]string{
		"en": {"MA.156.1301.02/20.010501/000045", "belongs to Traffic (MA.156.1301.02)", `what it had went to 城市\u{202E}管理局 (MA.156.1301.01)`, "does not know: MA.156.1301"},
		"zh": {"MA.156.1301.02/20.010501/000045", "隶属于 交通管理局（MA.156.1301.02）", `由 城市\u{202E}管理局（MA.156.1301.01） 承继`, "不认识的方式到达：MA.156.1301"},
	} {
		lines := Duty(lang, way)
		for i, w := range want {
			if len(lines) != len(want) || !strings.Contains(lines[i].Text, w) {
				t.Fatalf("%s: %v, want %q", lang, lines, want)
			}
		}
	}
	for by := cityid.DutyItself; by <= cityid.DutyIdle; by++ {
		if _, ok := dictionary["duty-"+by.String()]; !ok {
			t.Errorf("no words for %s", by)
		}
	}
}

func TestReceipt(t *testing.T) {
	f := &cityid.ReportFile{Receipt: cityid.ReportReceipt{
		Institution: cityid.MustParse("MA.156.9001"), Number: 17, Code: cityid.MustParse("MA.156.1301"), Department: cityid.MustParse("MA.156.1301.02"), Digest: cityid.Digest{7}, Time: 1_775_000_000,
	}}
	says := func(lang string) string { return fmt.Sprint(Receipt(lang, f)) }
	if s := says("en"); !strings.Contains(s, "MA.156.9001 received report number 17") || !strings.Contains(s, "salted digest 07000") || strings.Contains(s, "exactly this") || !strings.Contains(s, "does not prove") {
		t.Error(s)
	}
	f.Opening = &cityid.ReportOpening{Report: cityid.Report{Category: cityid.ReportDirty, Text: "one\ntext: two\x1b[2J", Photo: cityid.Digest{8}}}
	if s := says("zh"); !strings.Contains(s, "类别：脏污") || !strings.Contains(s, "文字：one") || !strings.Contains(s, `文字：text: two\u{001B}[2J`) || !strings.Contains(s, "SHA-256 为 08000") || strings.Contains(s, "摘要为") {
		t.Error(s)
	}
}
