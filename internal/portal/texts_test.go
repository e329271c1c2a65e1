// SPDX-License-Identifier: Apache-2.0

package portal

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var (
	placeholder = regexp.MustCompile(`\{[0-9]\}`)
	// Keys in templates and code: .T "key", .N "key", T("key") and so on. A key
	// that ends in a dot is the beginning of several.
	usedInTemplate = regexp.MustCompile(`\.[TN] "([a-z][a-zA-Z0-9.-]*)"`)
	quotedInCode   = regexp.MustCompile(`"([a-z][a-z0-9]*\.[a-zA-Z0-9.%-]*)"`)
	han            = regexp.MustCompile(`\p{Han}`)
)

// mixed are the English texts that quote Chinese on purpose.
var mixed = []string{"search.hint.name"}

// TestTexts compares the two languages: the same keys, the same placeholders,
// nothing empty, and no text that was left in the other language.
func TestTexts(t *testing.T) {
	all, err := loadCatalogues()
	if err != nil {
		t.Fatal(err)
	}
	zh, en := all["zh"], all["en"]
	for key, text := range zh {
		other, ok := en[key]
		if !ok {
			t.Errorf("%s has no English text", key)
			continue
		}
		a, b := placeholder.FindAllString(text, -1), placeholder.FindAllString(other, -1)
		slices.Sort(a)
		slices.Sort(b)
		if !slices.Equal(slices.Compact(a), slices.Compact(b)) {
			t.Errorf("%s: placeholders %v in Chinese and %v in English", key, a, b)
		}
	}
	for key, text := range en {
		if _, ok := zh[strings.TrimSuffix(key, ".one")]; !ok {
			t.Errorf("%s has no Chinese text", key)
		}
		if strings.TrimSpace(text) == "" {
			t.Errorf("%s is empty", key)
		}
		if han.MatchString(text) && !slices.Contains(mixed, key) {
			t.Errorf("%s: the English text holds Chinese: %s", key, text)
		}
	}
}

// TestKeys holds the keys that pages use against the catalogue.
func TestKeys(t *testing.T) {
	all, err := loadCatalogues()
	if err != nil {
		t.Fatal(err)
	}
	texts := all["en"]
	used := map[string]bool{}
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	templates, err := fs.Glob(templateFiles, "templates/*.html")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range slices.Concat(files, templates) {
		b, err := os.ReadFile(name)
		switch {
		case err != nil:
			t.Fatal(err)
		case strings.HasSuffix(name, "_test.go"):
		case strings.HasSuffix(name, ".html"):
			for _, m := range quotedInCode.FindAllStringSubmatch(string(b), -1) {
				used[m[1]] = true
			}
			for _, m := range usedInTemplate.FindAllStringSubmatch(string(b), -1) {
				if used[m[1]] = true; texts[m[1]] == "" && !strings.HasSuffix(m[1], ".") {
					t.Errorf("%s uses %s, which has no text", name, m[1])
				}
			}
		default:
			for _, m := range quotedInCode.FindAllStringSubmatch(string(b), -1) {
				used[strings.TrimSuffix(m[1], "%d")] = true
			}
		}
	}
	for key := range texts {
		if used[strings.TrimSuffix(key, ".one")] {
			continue
		}
		// Or code completes a beginning, as in T("code.tab." + view).
		begun := false
		for i, c := range key {
			begun = begun || c == '.' && used[key[:i+1]]
		}
		if !begun {
			t.Errorf("%s is used nowhere", key)
		}
	}
}
