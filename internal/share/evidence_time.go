// SPDX-License-Identifier: Apache-2.0

package share

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"cityid"
	"cityid/verify"
)

// This file holds evidence against time. Three clocks meet in it: the provider's,
// which is in the receipt and nothing but a claim; that of the blocks, by which keys
// and agreements begin and end; and that of the headers that prove the anchors.
//
// A gateway judges by a state of the chain that may be as old as the agreement's
// staleness. So what was revoked, taken out or suspended less than that before the
// receipt's time counts for nothing against it, and neither does what the gateway
// can not have known: evidence holds if one of the states that were allowed permits
// the fetch, all of it.
//
// The claim is bounded from above: nothing can be anchored before it was made. From
// below it is bounded by [AnchorDeadline]: what was anchored later proves "no later
// than", and its own time proves nothing. It then holds only if the fetch would have
// been permitted at the time of the anchor as well, since whoever still has a key that
// was taken out meanwhile could have made it afterwards.

// anchorTolerance is by how much a receipt may claim a time after the header that
// proves its anchor: a consumer takes receipts from a clock that is ahead of its own,
// and a header from one that is behind.
const anchorTolerance = clockDifference + aheadOfClock

// window returns the first and the last moment of whose state a gateway could have
// judged at a time by its clock.
func window(a *cityid.Agreement, at cityid.Time) (first, last cityid.Time) {
	const tolerance = cityid.Time(clockDifference / time.Second)
	return max(1, at-cityid.Time(a.Terms.Staleness)-tolerance), at + tolerance
}

// revisionsIn returns all revisions of records that entries show, the latest and earlier
// ones.
func revisionsIn(r *verify.Result) []cityid.Record {
	var list []cityid.Record
	for _, e := range r.Entries {
		var x cityid.Record
		if e.Value == nil || cityid.Unmarshal(e.Value, &x) != nil {
			continue // it is another kind of entry
		}
		if bytes.Equal(e.Key, cityid.RecordKey(x.Code)) || bytes.Equal(e.Key, cityid.HistoryKey(x.Code, x.Revision)) {
			list = append(list, x)
		}
	}
	return list
}

// moments returns times of all the different states by which a gateway could judge
// at a time by its clock: that time itself, then the others from the latest back to
// the earliest. States differ where something known of them changed.
func moments(revisions []cityid.Record, a *cityid.Agreement, at cityid.Time) []cityid.Time {
	first, last := window(a, at)
	list := []cityid.Time{first}
	add := func(t cityid.Time) {
		if t > first && t <= last && t != at {
			list = append(list, t)
		}
	}
	add(last)
	add(a.Decided.Time)
	add(a.Ended.Time)
	for i := range revisions {
		add(revisions[i].Changed.Time)
	}
	slices.Sort(list)
	list = append(slices.Compact(list), at)
	slices.Reverse(list)
	return list
}

// unseen calls f with the revisions that are not shown of each record, least to most,
// between the one in force at a time and the one in force at another.
func unseen(revisions []cityid.Record, from, to cityid.Time, f func(of *cityid.Record, least, most uint32)) {
	shown, order := map[cityid.Code][]*cityid.Record{}, []cityid.Code{}
	for i := range revisions {
		x := &revisions[i]
		if shown[x.Code] == nil {
			order = append(order, x.Code)
		}
		shown[x.Code] = append(shown[x.Code], x)
	}
	for _, code := range order {
		list := shown[code]
		slices.SortFunc(list, func(a, b *cityid.Record) int { return cmp.Compare(a.Revision, b.Revision) })
		for i := range list[:len(list)-1] {
			a, b := list[i], list[i+1]
			if b.Changed.Time > from && b.Changed.Time <= to && b.Revision-a.Revision > 1 {
				f(b, a.Revision+1, b.Revision-1)
			}
		}
	}
}

// standingsAt returns how an agreement stood in each state by which a gateway could
// judge at a time by its clock, and keys that are missing to tell: first those for the
// time itself, which is the first of the list.
func standingsAt(r *verify.Result, id cityid.Digest, at cityid.Time) (list []*Standing, missing [][]byte, err error) {
	now, _, err := StandingOf(r, id, at)
	if err != nil {
		return nil, nil, err
	}
	revisions := revisionsIn(r)
	for _, t := range moments(revisions, &now.Agreement, at) {
		s, lack, err := StandingOf(r, id, t)
		if err != nil {
			return nil, nil, err
		}
		s.known = t
		if len(lack) == 0 {
			list = append(list, s)
		} else if len(missing) == 0 {
			missing = lack
		}
	}
	if len(missing) > 0 {
		return list, missing, nil
	}
	first, last := window(&now.Agreement, at)
	unseen(revisions, first, last, func(x *cityid.Record, least, most uint32) {
		for n := least; n <= most && len(missing) <= verify.MaxEntries; n++ {
			missing = append(missing, cityid.HistoryKey(x.Code, n))
		}
	})
	return list, missing, nil
}

// among returns a state by which a gateway could judge at a time by its clock and
// which satisfies ok; else the reason that the first one does not.
func (c *evidenceCheck) among(at cityid.Time, ok func(*Standing) error) (*Standing, error) {
	list, missing, err := standingsAt(c.states, c.e.Agreement, at)
	if err != nil {
		return nil, err
	}
	var reason error
	for _, s := range list {
		why := ok(s)
		if why == nil {
			return s, nil
		}
		if reason == nil {
			reason = why
		}
	}
	if len(missing) > 0 {
		return nil, notShown("the records of the parties are not all there")
	}
	return nil, reason
}

// judgedAt returns a state that permits the fetch to a gateway whose clock shows a
// time.
func (c *evidenceCheck) judgedAt(at cityid.Time) (*Standing, error) {
	return c.among(at, func(s *Standing) error {
		t := &s.Agreement.Terms
		switch {
		case t.Dataset != c.receipt.Dataset:
			return fmt.Errorf("the agreement is about %s, the receipt for %s", t.Dataset, c.receipt.Dataset)
		case s.Provider.Holder != c.receipt.Provider:
			return fmt.Errorf("%s held the dataset then, the receipt names %s", s.Provider.Holder, c.receipt.Provider)
		}
		if _, err := keyOf(&s.Consumer, c.request.KeyID, at); err != nil {
			return fmt.Errorf("the key that signed the request: %w", err)
		}
		if _, err := keyOf(&s.Provider, c.response.KeyID, at); err != nil {
			return fmt.Errorf("the key that signed the answer: %w", err)
		}
		return c.inForce(s, at)
	})
}

// inForce checks a fetch with data against the agreement's life, as a gateway knew
// it. A refusal may come at any time.
func (c *evidenceCheck) inForce(s *Standing, at cityid.Time) error {
	a := &s.Agreement
	switch t := &a.Terms; {
	case !c.receipt.Served():
		return nil
	case a.State == cityid.AgreementRequested || a.State == cityid.AgreementRefused || a.Decided.Time == 0 || s.known < a.Decided.Time:
		return fmt.Errorf("the agreement was not granted then")
	case at < t.From || at >= t.Until:
		return fmt.Errorf("the agreement was in force from %s until %s, and not at %s", t.From, t.Until, at)
	case a.Ended.Time != 0 && s.known >= a.Ended.Time:
		return fmt.Errorf("the agreement was revoked at %s, and %s is later than the %d s for which a gateway need not know it", a.Ended.Time, at, t.Staleness)
	}
	return nil
}

// unseenPolicies says of which records that govern somebody not all revisions since the
// fetch are shown: one of them may call a key compromised.
func (c *evidenceCheck) unseenPolicies() string {
	count, order := map[cityid.Code]uint64{}, []cityid.Code{}
	unseen(c.revisions, c.receipt.Time, cityid.TimeOf(c.states.AsOf.Time), func(x *cityid.Record, least, most uint32) {
		if x.Policy == nil {
			return
		}
		if count[x.Code] == 0 {
			order = append(order, x.Code)
		}
		count[x.Code] += uint64(most-least) + 1
	})
	var text []string
	for _, code := range order {
		text = append(text, fmt.Sprintf("%d revisions of %s since the fetch are not shown: one may call a key compromised", count[code], code))
	}
	return strings.Join(text, "; ")
}

// consumerKey returns an error unless a key could sign for the consumer's gateway at
// the time of the fetch, or at another, later one.
func (c *evidenceCheck) consumerKey(id string, later cityid.Time) error {
	var err error
	for _, at := range []cityid.Time{c.receipt.Time, later} {
		if at < c.receipt.Time {
			continue
		}
		if _, err = c.among(at, func(s *Standing) error { _, err := keyOf(&s.Consumer, id, at); return err }); err == nil {
			return nil
		}
	}
	return err
}

// checkTime holds the time that the receipt claims against those of its anchors.
func (c *evidenceCheck) checkTime() (string, error) {
	if len(c.anchors) == 0 || c.standing == nil {
		return "", notShown("nothing shows when it was made")
	}
	claimed := c.receipt.Time.Std()
	var first time.Time // of an anchor
	for _, x := range c.anchors {
		switch {
		case claimed.After(x.header.Add(anchorTolerance)):
			return "", fmt.Errorf("the receipt claims %s, and %s had anchored it by %s", c.receipt.Time, x.party, x.header.UTC().Format(time.RFC3339))
		case claimed.After(x.block.Add(anchorTolerance)) && !x.next:
			return "", notShown(fmt.Sprintf("the receipt claims %s, and %s anchored it in a block of %s: the header shown is too late to tell whether that can be",
				c.receipt.Time, x.party, x.block.UTC().Format(time.RFC3339)))
		}
		// The block's own time is that of the votes before it, and may be far behind if the
		// chain had halted; the next header's is not, where it is shown.
		at := x.block
		if x.next {
			at = x.header
		}
		if first.IsZero() || at.Before(first) {
			first = at
		}
	}
	if who, since := c.compromised(cityid.TimeOf(first)); since != 0 {
		return "", notShown(fmt.Sprintf("the key that signed the %s is known to be compromised since %s, and nothing shows that it was made before: it was anchored at %s",
			who, since, first.UTC().Format(time.RFC3339)))
	}
	if !first.After(claimed.Add(AnchorDeadline + anchorTolerance)) {
		return fmt.Sprintf("it claims %s, and was anchored in time", c.receipt.Time), nil
	}
	c.res.Facts.Late = true
	late := fmt.Sprintf("it claims %s, and was anchored at %s, more than %d hours later: it shows no more than that it was made by then", c.receipt.Time,
		first.UTC().Format(time.RFC3339), AnchorDeadline/time.Hour)
	if _, err := c.judgedAt(cityid.TimeOf(first)); err != nil {
		return "", notShown(fmt.Sprintf("%s; and then it would not have counted: %v", late, err))
	}
	return late, nil
}
