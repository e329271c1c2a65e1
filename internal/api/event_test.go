// SPDX-License-Identifier: Apache-2.0

package api

import (
	"slices"
	"testing"

	"cityid"
)

// TestTouches compares the search among sorted codes with a look at each.
func TestTouches(t *testing.T) {
	var all []cityid.Code
	for _, s := range []string{
		"MA.156", "MA.156.13", "MA.156.1301", "MA.156.1301.01", "MA.156.1301.01.02", "MA.156.1301.011", "MA.156.1301.01/20.010501/000001",
		"MA.156.130102", "MA.156.130102.01", "MA.156.1302", "MA.156.14", "MA.156.1401", "MA.157",
	} {
		all = append(all, cityid.MustParse(s))
	}
	slices.SortFunc(all, cityid.Code.Compare)
	for mask := range 1 << len(all) {
		if mask%7 != 0 && mask&(mask-1) != 0 { // some, and each alone
			continue
		}
		var codes []cityid.Code
		for i, c := range all {
			if mask>>i&1 == 1 {
				codes = append(codes, c)
			}
		}
		for _, top := range all {
			want := slices.ContainsFunc(codes, func(c cityid.Code) bool { return c.Within(top) })
			if got := touches(codes, top); got != want {
				t.Fatalf("%v within %s: %t, want %t", codes, top, got, want)
			}
		}
	}
}
