// SPDX-License-Identifier: Apache-2.0

package dcat

import (
	"fmt"
	"strings"

	"cityid"
)

// Words is a sentence in Chinese and in English. It may repeat names that others
// wrote; these have no control characters.
type Words struct {
	ZH string `json:"zh"`
	EN string `json:"en"`
}

// In returns the sentence in a language; anything but "zh" and tags that begin
// with it counts as English.
func (w Words) In(lang string) string {
	if lang == "zh" || strings.HasPrefix(lang, "zh-") {
		return w.ZH
	}
	return w.EN
}

func words(zh, en string, args ...any) Words {
	return Words{ZH: fmt.Sprintf(zh, args...), EN: fmt.Sprintf(en, args...)}
}

// Term is one term of a policy. An enforced term is one that the provider's
// gateway keeps: it refuses what goes beyond. A declared term is a promise that
// nothing can enforce once the data has left.
type Term struct {
	ID       string `json:"id"` // from, until, recipient, requests, octets; purpose, distribute, attribute, delete
	Enforced bool   `json:"enforced"`
	Words    Words  `json:"words"`
}

// Marks says in a word or two what kind of term it is.
func (t Term) Marks() Words {
	if t.Enforced {
		return Words{"系统强制执行", "enforced"}
	}
	return Words{"承诺遵守", "declared"}
}

// Terms lists what a policy asks for, enforced terms first; a nil policy asks
// for nothing.
func (p *Policy) Terms() []Term {
	if p == nil {
		return nil
	}
	var out []Term
	add := func(present bool, id string, enforced bool, w Words) {
		if present {
			out = append(out, Term{id, enforced, w})
		}
	}
	add(p.From != 0, "from", true, words("自 %s 起可以使用", "use begins at %s", p.From))
	add(p.Until != 0, "until", true, words("%s 起不得再使用", "use ends at %s", p.Until))
	parties := refList(p.Recipients)
	add(len(p.Recipients) > 0, "recipient", true, words("只供以下单位及其下属使用：%s", "only for these parties and what lies below them: %s", parties))
	add(p.Requests != 0, "requests", true, words("每日（协调世界时）至多 %d 次请求", "at most %d requests a day (UTC)", p.Requests))
	add(p.Octets != 0, "octets", true, words("每日（协调世界时）至多 %d 字节", "at most %d octets a day (UTC)", p.Octets))
	add(len(p.Purposes) > 0, "purpose", false, Words{
		ZH: "只用于：" + labels(p.Purposes, "zh", "、"), EN: "only for: " + labels(p.Purposes, "en", ", ")})
	add(p.NoDistribution, "distribute", false, words("不得转给他人", "not to be passed on to others"))
	add(!p.AttributeTo.IsZero(), "attribute", false, words("使用时须注明来源 %s", "%s is to be named as the source", p.AttributeTo.code))
	add(p.DeleteBy != 0, "delete", false, words("须在 %s 前删除", "to be deleted by %s", p.DeleteBy))
	return out
}

func refList(refs []Ref) string {
	list := make([]string, len(refs))
	for i, r := range refs {
		list[i] = r.code.String()
	}
	return strings.Join(list, ", ")
}

func labels(concepts []Concept, lang, separator string) string {
	list := make([]string, len(concepts))
	for i, c := range concepts {
		list[i] = label(c.Label, lang)
	}
	return strings.Join(list, separator)
}

// label returns the name in a language or a variety of it, or else any.
func label(n cityid.Names, lang string) string {
	for _, x := range n {
		if x.Lang == lang || strings.HasPrefix(x.Lang, lang+"-") {
			return x.Text
		}
	}
	return n.Get(lang)
}
