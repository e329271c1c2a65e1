// SPDX-License-Identifier: Apache-2.0

package verify

import (
	"fmt"
	"time"

	"cityid"
)

// wanted returns the time for which the answer is wanted.
func (c *checker) wanted() time.Time {
	if c.opts.At.IsZero() {
		return c.opts.Now
	}
	return c.opts.At
}

// checkClock checks that nothing is ahead of the verifier's clock.
func (c *checker) checkClock() (string, *finding) {
	now, drift := c.opts.Now, c.opts.ClockDrift
	switch {
	case now.IsZero():
		return "", undecided(ReasonClock, "no time of the verifier's clock was given")
	case c.head.Ahead(drift, now):
		return "", undecided(ReasonClock, "header %d is of %s, ahead of the clock, which shows %s: set the clock", c.head.Height, stamp(c.head.Time), stamp(now))
	case !c.from.time.Std().Before(now.Add(drift)):
		return "", undecided(ReasonClock, "%s is of %s, ahead of the clock, which shows %s: set the clock", c.from.name(), stamp(c.from.time.Std()), stamp(now))
	case !c.wanted().Before(now.Add(drift)):
		return "", undecided(ReasonClock, "nobody can tell yet what holds at %s", stamp(c.wanted()))
	}
	return "the clock shows " + stamp(now), nil
}

// checkPeriod checks that the version of the trust root, or the checkpoint,
// covers the time wanted and head.
func (c *checker) checkPeriod() (string, *finding) {
	end := c.from.time.Std().Add(c.opts.TrustingPeriod)
	if !c.wanted().Before(end) || !c.head.Time.Before(end) {
		return "", undecided(ReasonTrustExpired, "%s suffices until %s only: a newer %s is needed", c.from.name(), stamp(end), c.from.what())
	}
	return fmt.Sprintf("%s suffices until %s", c.from.name(), stamp(end)), nil
}

// maxAge returns how old the header of a step may be.
func (c *checker) maxAge() time.Duration {
	if c.b.leads(c.number) {
		return c.opts.MaxAgeParents
	}
	return c.opts.MaxAge
}

// checkFreshness checks that the answer is known for the time wanted, and picks
// the revision in force then.
func (c *checker) checkFreshness() (string, *finding) {
	list, known := c.res.Records, c.header.Time
	if c.next != nil {
		list = []cityid.Record{*c.next.record}
	}
	single := c.next == nil && (c.b.Kind == cityid.AnswerRecord || c.b.Kind == cityid.AnswerHistory)
	if single && len(list) > 0 {
		c.res.Allocated, c.res.Record = true, &list[0]
	}
	// A header may be ahead of the clock within the drift; then now is its time.
	if c.opts.At.IsZero() || !c.opts.At.Before(known) {
		if age, limit := c.wanted().Sub(known), c.maxAge(); age > limit {
			return "", undecided(ReasonStale, "the answer is as of %s, %s before the time wanted, and at most %s are allowed", stamp(known), age.Truncate(time.Second), limit)
		}
		return "as of " + stamp(known), nil
	}
	if c.next != nil && c.next.known.Anchored.Std().After(c.opts.At) {
		return "", undecided(ReasonChangedSince, "the zone of %s was anchored at %s, after the time wanted: ask for a bundle as of that time", c.next.record.Code, c.next.known.Anchored)
	}
	if c.next == nil && c.b.Kind == cityid.AnswerHistory {
		for i := range list {
			if !list[i].Changed.Time.Std().After(c.opts.At) {
				c.res.Record = &list[i]
				return fmt.Sprintf("revision %d was in force at %s", list[i].Revision, stamp(c.opts.At)), nil
			}
		}
		c.res.Allocated, c.res.Record = false, nil
		return "not allocated at " + stamp(c.opts.At), nil
	}
	if c.next == nil && c.b.Kind == cityid.AnswerEntries {
		return "", undecided(ReasonChangedSince, "the entries are as of %s, after the time wanted, and may have changed since: ask for them as of that time", stamp(known))
	}
	for i := range list {
		if r := &list[i]; r.Changed.Time.Std().After(c.opts.At) {
			return "", undecided(ReasonChangedSince, "%s was last changed at %s, after the time wanted: ask for its history, or for a bundle as of that time", r.Code, r.Changed.Time)
		}
	}
	return fmt.Sprintf("unchanged from %s until %s", stamp(c.opts.At), stamp(known)), nil
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }
