// SPDX-License-Identifier: Apache-2.0

package portal

import (
	"time"

	"cityid"
)

// Expected dates are for display. They count Monday to Friday in Beijing; the
// public holidays and the working weekends that the State Council sets for each
// year are not known here, and the pages say so.

// serviceDays is the service level in working days; 0: none is set.
func serviceDays(p *cityid.Params) int { return int((p.ServiceLevel + 86399) / 86400) }

// addWorkdays returns the end of the n-th working day after the day of t.
func addWorkdays(t time.Time, n int) time.Time {
	t = t.In(beijing)
	d := time.Date(t.Year(), t.Month(), t.Day(), 0, 0, 0, 0, beijing)
	for n > 0 {
		d = d.AddDate(0, 0, 1)
		if w := d.Weekday(); w != time.Saturday && w != time.Sunday {
			n--
		}
	}
	return d
}
