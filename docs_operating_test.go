// SPDX-License-Identifier: Apache-2.0

package cityid_test

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	"cityid/internal/founding"
)

// TestDocPlan compares the tables of docs/operating.md with the structs of a plan.
func TestDocPlan(t *testing.T) {
	doc := readDoc(t, "docs/operating.md")
	for marker, s := range map[string]reflect.Type{"plan": reflect.TypeFor[founding.Plan](), "owner": reflect.TypeFor[founding.Owner]()} {
		var want, got []string
		for i := range s.NumField() {
			name, _, _ := strings.Cut(s.Field(i).Tag.Get("json"), ",")
			want = append(want, name)
		}
		for _, r := range tableRows(after(t, doc, marker)) {
			if len(r) != 2 || r[1] == "" {
				t.Errorf("%s: row %q", marker, r)
			}
			got = append(got, strings.Trim(r[0], "`"))
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s has the fields %q, its table %q", s, want, got)
		}
	}
}
