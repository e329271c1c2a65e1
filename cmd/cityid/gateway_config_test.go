// SPDX-License-Identifier: Apache-2.0

package main

import (
	"net/url"
	"strings"
	"testing"
)

// FuzzPathRule writes what was parsed again, and parses that.
func FuzzPathRule(f *testing.F) {
	for _, s := range []string{"/latest", "/observations?after=word&limit=integer", "/a?b=c|d", "/a?", "?=", "/a?b", "/a?b=word&b=time"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		rule, err := pathRule(text)
		if err != nil {
			return
		}
		var parts []string
		for name, kind := range rule.Query {
			parts = append(parts, name+"="+kind)
		}
		again := rule.Path
		if len(parts) > 0 {
			again += "?" + strings.Join(parts, "&")
		}
		got, err := pathRule(again)
		if err != nil || got.Path != rule.Path || len(got.Query) != len(rule.Query) {
			t.Fatalf("%q is %v, and written again %v, %v", url.QueryEscape(text), rule, got, err)
		}
		for name, kind := range rule.Query {
			if got.Query[name] != kind {
				t.Fatalf("%q: parameter %q is %q, then %q", text, name, kind, got.Query[name])
			}
		}
	})
}
