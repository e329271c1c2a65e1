// SPDX-License-Identifier: Apache-2.0

package portal

import (
	"testing"
	"time"
)

func TestAddWorkdays(t *testing.T) {
	for _, c := range []struct {
		from string
		days int
		want string
	}{
		{"2026-11-24T05:00:00Z", 1, "2026-11-25"},  // Tuesday
		{"2026-11-24T05:00:00Z", 10, "2026-12-08"}, // over two weekends
		{"2026-11-27T15:59:00Z", 1, "2026-11-30"},  // Friday, to Monday
		{"2026-11-27T16:00:00Z", 1, "2026-11-30"},  // Saturday already in Beijing
		{"2026-11-28T05:00:00Z", 5, "2026-12-04"},
		{"2026-11-24T05:00:00Z", 0, "2026-11-24"},
	} {
		from, err := time.Parse(time.RFC3339, c.from)
		if err != nil {
			t.Fatal(err)
		}
		if got := addWorkdays(from, c.days).Format(time.DateOnly); got != c.want {
			t.Errorf("%d working days after %s: %s, want %s", c.days, c.from, got, c.want)
		}
	}
}
