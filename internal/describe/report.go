// SPDX-License-Identifier: Apache-2.0

package describe

import (
	"strings"

	"cityid"
)

func init() {
	for key, entry := range map[string][2]string{
		"category/broken":            {"broken", "不工作"},
		"category/damaged":           {"damaged", "破损"},
		"category/dirty":             {"dirty", "脏污"},
		"category/dangerous":         {"dangerous", "有危险"},
		"category/wrong-information": {"wrong information", "信息有误"},
		"category/other":             {"something else", "其他"},

		"report-state/received": {"received", "已收到"},
		"report-state/assigned": {"being dealt with", "处理中"},
		"report-state/fixed":    {"fixed", "已解决"},
		"report-state/declined": {"declined", "不予处理"},

		"duty-itself":    {"%s", "%s"},
		"duty-parent":    {"belongs to %s", "隶属于 %s"},
		"duty-heir":      {"which is retired; what it had went to %s", "该标识已注销，其事务由 %s 承继"},
		"duty-successor": {"which is retired; its successor is %s", "该标识已注销，后继为 %s"},
		"duty-split":     {"which was split among several; above it stands %s", "该标识已拆分为多个，由其上级 %s 负责"},
		"duty-ended":     {"which is retired and nothing followed it; above it stands %s", "该标识已注销且没有后继，由其上级 %s 负责"},
		"duty-idle":      {"which is not active now; above it stands %s", "该标识目前未启用，由其上级 %s 负责"},
		"duty-unknown":   {"then, in a way this version does not know: %s", "随后以本版本不认识的方式到达：%s"},
		"named-code":     {"%s (%s)", "%s（%s）"},

		"receipt-proves":   {"what this proves:", "本回执证明："},
		"receipt-received": {"%s received report number %d, by its own clock at %s", "%s 收到了第 %d 号问题上报，时间以其自身时钟为准：%s"},
		"receipt-about":    {"it concerns %s and was given to %s", "所涉标识为 %s，转交 %s 处理"},
		"receipt-says":     {"what was reported is exactly this:", "上报内容正是："},
		"receipt-category": {"category: %s", "类别：%s"},
		"receipt-text":     {"text: %s", "文字：%s"},
		"receipt-photo":    {"photograph with the SHA-256 %s", "照片，SHA-256 为 %s"},
		"receipt-commits":  {"what was reported has the salted digest %s; the file does not say what it was", "上报内容的加盐摘要为 %s；本文件不含内容本身"},
		"receipt-not":      {"what it does not prove:", "本回执不证明："},
		"receipt-not-true": {"that the report is true, or who wrote it", "上报内容属实，或由何人所写"},
		"receipt-not-done": {"that anything was done about it: ask for its status by the link that came with it", "问题已经处理：请用随回执给出的链接查询进展"},
		"receipt-not-when": {"the time to anybody who does not trust the institution's clock: nothing of a report is on the chain", "对不信任该机构时钟的人而言的时间：上报内容不上链"},
	} {
		dictionary[key] = entry
	}
}

// ReportCategory names what is wrong.
func ReportCategory(lang string, c cityid.ReportCategory) string {
	return in(lang).name("category", c.String())
}

// ReportState names how far a report is.
func ReportState(lang string, v cityid.ReportState) string {
	return in(lang).name("report-state", v.String())
}

// Duty says how whoever is responsible for a code was found: a line for each
// step, the code itself first.
func Duty(lang string, way []cityid.DutyStep) []Line {
	s := in(lang)
	for _, step := range way {
		key := "duty-" + step.By.String()
		if _, ok := dictionary[key]; !ok {
			key = "duty-unknown"
		}
		s.say(key, plain(s.named(step.Code, step.Names)))
	}
	return s.lines
}

// named shows a code after its name, if it has one.
func (s *speech) named(code cityid.Code, names cityid.Names) string {
	name := names.Get(s.lang())
	if name == "" {
		return code.String()
	}
	return s.words("named-code", name, code)
}

// Receipt says what a receipt whose signature holds proves, and what it does not.
func Receipt(lang string, f *cityid.ReportFile) []Line {
	s := in(lang)
	r := &f.Receipt
	s.under(func() {
		s.say("receipt-received", r.Institution, r.Number, r.Time)
		s.say("receipt-about", r.Code, r.Department)
		if f.Opening == nil {
			s.say("receipt-commits", r.Digest)
			return
		}
		s.under(func() {
			o := &f.Opening.Report
			s.say("receipt-category", plain(s.name("category", o.Category.String())))
			for _, line := range strings.Split(o.Text, "\n") {
				s.text("receipt-text", line)
			}
			s.digest("receipt-photo", o.Photo)
		}, "receipt-says")
	}, "receipt-proves")
	s.under(func() {
		s.say("receipt-not-true")
		s.say("receipt-not-done")
		s.say("receipt-not-when")
	}, "receipt-not")
	return s.lines
}
