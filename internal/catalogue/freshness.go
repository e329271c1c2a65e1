// SPDX-License-Identifier: Apache-2.0

package catalogue

import (
	"strings"
	"time"

	"cityid"
	"cityid/internal/dcat"
)

const aDay = 24 * time.Hour

// periods are the longest times between two changes, by the European table of
// frequencies; of what changes more than once a day, zero.
var periods = map[string]time.Duration{
	"TRIDECENNIAL": 10958 * aDay, "BIDECENNIAL": 7305 * aDay, "QUIDDECENNIAL": 5479 * aDay, "DECENNIAL": 3653 * aDay,
	"QUINQUENNIAL": 1827 * aDay, "QUADRENNIAL": 1461 * aDay, "TRIENNIAL": 1096 * aDay, "BIENNIAL": 731 * aDay, "ANNUAL": 366 * aDay,
	"ANNUAL_2": 184 * aDay, "ANNUAL_3": 123 * aDay, "QUARTERLY": 92 * aDay, "BIMONTHLY": 62 * aDay, "MONTHLY": 31 * aDay,
	"MONTHLY_2": 16 * aDay, "MONTHLY_3": 11 * aDay, "BIWEEKLY": 14 * aDay, "WEEKLY": 7 * aDay, "WEEKLY_2": 4 * aDay, "WEEKLY_3": 3 * aDay,
	"DAILY": aDay, "DAILY_2": 0, "12HRS": 0, "TRIHOURLY": 0, "BIHOURLY": 0, "HOURLY": 0, "30MIN": 0, "15MIN": 0, "10MIN": 0, "5MIN": 0, "1MIN": 0,
	"CONT": 0, "UPDATE_CONT": 0,
}

// unscheduled are the frequencies that promise nothing.
var unscheduled = map[string]bool{"IRREG": true, "AS_NEEDED": true, "NEVER": true, "NOT_PLANNED": true, "OTHER": true}

// schedule says what kind of freshness a frequency leads to: fresh stands for one
// that time will tell.
func schedule(modified cityid.Time, frequency string) (kind cityid.Freshness, period time.Duration) {
	name, ok := strings.CutPrefix(frequency, dcat.EUFrequency)
	period, known := periods[name]
	switch {
	case ok && unscheduled[name]:
		return cityid.FreshnessIrregular, 0
	case !ok || !known:
		return cityid.FreshnessUnknown, 0
	case period == 0:
		return cityid.FreshnessLive, 0
	case modified == 0:
		return cityid.FreshnessUnknown, 0
	}
	return cityid.FreshnessFresh, period
}

// due returns when data that changes on schedule counts as late: half a period,
// and a day at least, after the next change is due; 0 without a schedule.
func due(modified cityid.Time, frequency string) cityid.Time {
	kind, period := schedule(modified, frequency)
	if kind != cityid.FreshnessFresh {
		return 0
	}
	return modified.Add(period + max(period/2, aDay))
}

// freshness returns how fresh a dataset is at a time; 0 if nothing is described.
// A change that lies in the future is not believed.
func freshness(e *cityid.DatasetEntry, now cityid.Time) cityid.Freshness {
	if e.Held.IsZero() {
		return 0
	}
	kind, _ := schedule(e.Modified, e.Frequency)
	return freshAt(kind, e.Modified, e.Due, now)
}

func freshAt(kind cityid.Freshness, modified, due, now cityid.Time) cityid.Freshness {
	switch {
	case kind != cityid.FreshnessFresh:
		return kind
	case modified > now.Add(aDay):
		return cityid.FreshnessUnknown
	case due <= now:
		return cityid.FreshnessLate
	}
	return cityid.FreshnessFresh
}
