// SPDX-License-Identifier: Apache-2.0

package describe

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"

	"cityid"
)

// TestDictionary holds both languages to having every sentence, with the same
// arguments, and the code to using every one.
func TestDictionary(t *testing.T) {
	verb := regexp.MustCompile(`%(?:\[\d+\])?([a-z])`)
	verbs := func(s string) string {
		var out []string
		for _, m := range verb.FindAllStringSubmatch(s, -1) {
			out = append(out, m[1])
		}
		slices.Sort(out)
		return strings.Join(out, "")
	}
	var code strings.Builder
	files, _ := filepath.Glob("*.go")
	for _, name := range files {
		if !strings.HasSuffix(name, "_test.go") && name != "words.go" {
			b, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			code.Write(b)
		}
	}
	for key, entry := range dictionary {
		if entry[en] == "" || entry[zh] == "" {
			t.Errorf("%s lacks a language", key)
		}
		if verbs(entry[en]) != verbs(entry[zh]) {
			t.Errorf("%s: %q and %q take other arguments", key, entry[en], entry[zh])
		}
		if strings.ContainsFunc(entry[en], func(r rune) bool { return unicode.Is(unicode.Han, r) }) {
			t.Errorf("%s: %q is not English", key, entry[en])
		}
		if !strings.Contains(key, "/") && !strings.HasPrefix(key, "duty-") && !strings.Contains(code.String(), `"`+key+`"`) {
			t.Errorf("nothing says %s", key)
		}
	}
	for _, m := range regexp.MustCompile(`(?:say|words|under|text|code|digest|time|flag|quoted|place)\("([a-z-]+)"`).FindAllStringSubmatch(code.String(), -1) {
		if _, ok := dictionary[m[1]]; !ok {
			t.Errorf("the dictionary has no %s", m[1])
		}
	}
}

// TestLists holds the dictionary to naming every value of every closed list.
func TestLists(t *testing.T) {
	lists := map[string]func(n int) string{
		"kind":       func(n int) string { return cityid.Kind(n).String() },
		"status":     func(n int) string { return cityid.Status(n).String() },
		"reason":     func(n int) string { return cityid.Reason(n).String() },
		"state":      func(n int) string { return cityid.ProposalState(n).String() },
		"disclosure": func(n int) string { return cityid.Disclosure(n).String() },
		"agreement": func(n int) string {
			return strings.Replace(cityid.AgreementState(n).String(), "state-", "agreement-", 1)
		},
		"class": func(n int) string { return cityid.DatasetClass(n).String() },
		"role":  func(n int) string { return cityid.Roles(1 << (n - 1)).String() },

		"category":     func(n int) string { return cityid.ReportCategory(n).String() },
		"report-state": func(n int) string { return cityid.ReportState(n).String() },
	}
	count := 0
	for list, name := range lists {
		for n := 1; n < 9; n++ {
			v := name(n)
			if v == "" || strings.HasPrefix(v, list+"-") {
				break
			}
			count++
			if _, ok := dictionary[list+"/"+v]; !ok {
				t.Errorf("the dictionary has no %s/%s", list, v)
			}
		}
		for n := 9; n < 20 && !strings.HasPrefix(name(n), list+"-") && list != "role"; n++ {
			count++
			if _, ok := dictionary[list+"/"+name(n)]; !ok {
				t.Errorf("the dictionary has no %s/%s", list, name(n))
			}
		}
	}
	listed := 0
	for key := range dictionary {
		if strings.Contains(key, "/") {
			listed++
		}
	}
	if count != listed {
		t.Errorf("the lists have %d values, the dictionary %d", count, listed)
	}
	for c := cityid.OK; !strings.HasPrefix(c.String(), "error-"); c++ {
		r, ok := refusals[c]
		if !ok || r.why[en] == "" || r.why[zh] == "" || r.next[en] == "" || r.next[zh] == "" {
			t.Errorf("no words for the refusal %s", c)
		}
	}
}
