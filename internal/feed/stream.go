// SPDX-License-Identifier: Apache-2.0

package feed

import (
	"cmp"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"slices"
	"time"

	"cityid"
)

// Limits of pages.
const (
	MaxLimit     = 2000 // observations of a page of the stream
	DefaultLimit = 500

	maxMinute = 253402300799 / 60 // the last one RFC 3339 can write
	maxWork   = 2_000_000         // observations that are considered for one page
	lookBack  = 10 * 1440         // minutes that the latest observation of a series lies back at most
)

// The kinds of releases, and how many minutes each comes after the time it would
// have come on time.
const (
	onTime = iota
	late
	later
	corrected
	correctedNextDay
	kinds
)

var delays = [kinds]int64{onTime: 0, late: 7, later: 45, corrected: 90, correctedNextDay: 1440}

// fate is what becomes of one observation.
type fate struct {
	first      int // kind of its first release; -1: it is never made
	correction int // kind of its correction; -1: none
}

// fateOf returns what becomes of the observation of a series at a minute.
func (f *Feed) fateOf(s *series, minute int64) fate {
	if minute < f.begin || f.silent(s, minute) {
		return fate{-1, -1}
	}
	switch n := hash(s.key^saltFate, uint64(minute)) % 10_000; {
	case n < 30:
		return fate{-1, -1}
	case n < 80:
		return fate{late, -1}
	case n < 100:
		return fate{later, -1}
	case n < 120:
		return fate{onTime, corrected}
	case n < 125:
		return fate{onTime, correctedNextDay}
	}
	return fate{onTime, -1}
}

// silent reports whether the station of a series says nothing at a minute.
func (f *Feed) silent(s *series, minute int64) bool {
	if indicators[s.indicator].Minutes > 1 {
		return false
	}
	for day := minute / 1440; day >= minute/1440-1; day-- {
		h := hash(s.outages, uint64(day))
		from := day*1440 + int64(h>>16%1440)
		if h%1000 < 15 && minute >= from && minute < from+20+int64(h>>32%240) {
			return true
		}
	}
	return false
}

// release returns the minute at which the observation of a series at a minute is
// released with a kind.
func (f *Feed) release(s *series, minute int64, kind int) int64 {
	if indicators[s.indicator].Minutes == 1 {
		return minute + 1 + delays[kind]
	}
	return minute + 1440 + 6*60 + s.morning + delays[kind]
}

// observed returns the minute whose observation a series releases at a minute with a
// kind, and false if it has none then.
func (f *Feed) observed(s *series, release int64, kind int) (minute int64, ok bool) {
	if indicators[s.indicator].Minutes == 1 {
		return release - 1 - delays[kind], true
	}
	minute = release - delays[kind] - s.morning - 6*60 - 1440
	return minute, f.observes(s, minute)
}

// observes reports whether a series has an observation of a minute.
func (f *Feed) observes(s *series, minute int64) bool {
	return indicators[s.indicator].Minutes == 1 || (minute+f.offset)%1440 == 0
}

// seq is the number of what series i releases.
func seq(release int64, kind, i int) uint64 {
	return uint64(release)<<16 | uint64(kind)<<13 | uint64(i)
}

// endOf is the highest number of a minute.
func endOf(release int64) uint64 { return uint64(release)<<16 | 0xffff }

// observation returns what series i releases with a kind about a moment.
func (f *Feed) observation(i, kind int, m moment, fate fate) Observation {
	s := &f.series[i]
	ind := &indicators[s.indicator]
	o := Observation{
		Seq: seq(f.release(s, m.minute, kind), kind, i), Time: cityid.Time(m.minute * 60),
		Indicator: ind.ID, Unit: ind.Unit, Source: s.source,
	}
	v := f.value(s, m)
	switch {
	case kind == fate.correction:
		o.Corrects = seq(f.release(s, m.minute, fate.first), fate.first, i)
	case fate.correction >= 0:
		v = wrong(s, m.minute, v)
	}
	o.Value = decimal(v, ind.Decimals)
	return o
}

// all returns the range of the series of an indicator; of all for "".
func (f *Feed) all(indicator string) (lo, hi int, err error) {
	if indicator == "" {
		return 0, len(f.series), nil
	}
	i := indexOf(indicator)
	if i < 0 {
		return 0, 0, fmt.Errorf("indicator %.60q: this platform has no such one", indicator)
	}
	return i * f.config.Stations, (i + 1) * f.config.Stations, nil
}

// walk yields what the series from lo to before hi release after a number up to the
// end of a minute, in order, and returns the number up to which it came. It ends when
// yield returns false, or when it has considered work observations; 0: no limit.
func (f *Feed) walk(after uint64, last int64, lo, hi, work int, yield func(Observation) bool) uint64 {
	done := 0
	for release := int64(after >> 16); release <= last; release++ {
		for kind := range kinds {
			if work > 0 && done > work {
				return max(after, seq(release, kind, 0)-1)
			}
			done += hi - lo
			m := f.momentOf(max(release-1-delays[kind], 0))
			for i := lo; i < hi; i++ {
				n := seq(release, kind, i)
				if n <= after {
					continue
				}
				s := &f.series[i]
				minute, ok := f.observed(s, release, kind)
				if !ok {
					continue
				}
				fate := f.fateOf(s, minute)
				if kind != fate.first && kind != fate.correction {
					continue
				}
				if m.minute != minute {
					m = f.momentOf(minute)
				}
				if !yield(f.observation(i, kind, m, fate)) {
					return n
				}
			}
		}
	}
	return max(after, endOf(last))
}

// Query asks for a page of the stream.
type Query struct {
	After     string // [Page.Next] of the page before; "": from the beginning
	Indicator string // only this one; "": all
	Limit     int    // 1 to [MaxLimit]; 0: [DefaultLimit]
}

// ErrGone is the error for a cursor from before the first observation.
var ErrGone = errors.New("the platform no longer has what comes after this cursor; begin anew without one")

// Page returns a page of the stream. An error is a mistake in the query, or
// [ErrGone].
func (f *Feed) Page(q Query) (*Page, error) {
	q.Limit = cmp.Or(q.Limit, DefaultLimit)
	if q.Limit < 1 || q.Limit > MaxLimit {
		return nil, fmt.Errorf("limit %d: want 1 to %d", q.Limit, MaxLimit)
	}
	lo, hi, err := f.all(q.Indicator)
	if err != nil {
		return nil, err
	}
	after := uint64(f.begin) << 16
	if q.After != "" {
		if after, err = f.position(q.After); err != nil {
			return nil, err
		}
		if after < uint64(f.begin)<<16 {
			return nil, ErrGone
		}
	}
	now := f.minute()
	page := &Page{Items: []Observation{}}
	next := f.walk(after, now, lo, hi, maxWork, func(o Observation) bool {
		page.Items = append(page.Items, o)
		return len(page.Items) < q.Limit
	})
	page.Next, page.More = f.cursor(next), next < endOf(now)
	return page, nil
}

// cursor returns the cursor behind a number.
func (f *Feed) cursor(seq uint64) string {
	return base64.RawURLEncoding.EncodeToString(binary.BigEndian.AppendUint64(f.tag[:], seq))
}

// position returns the number a cursor stands behind.
func (f *Feed) position(cursor string) (uint64, error) {
	b, err := base64.RawURLEncoding.Strict().DecodeString(cursor)
	switch {
	case err != nil || len(b) != 12 || base64.RawURLEncoding.EncodeToString(b) != cursor: // the decoder skips line ends
		return 0, fmt.Errorf("cursor %.40q: want the next of an earlier page", cursor)
	case [4]byte(b) != f.tag:
		return 0, fmt.Errorf("cursor %s: it belongs to another platform; begin anew without one", cursor)
	}
	n := binary.BigEndian.Uint64(b[4:])
	if n > endOf(maxMinute) {
		return 0, fmt.Errorf("cursor %s: want the next of an earlier page", cursor)
	}
	return n, nil
}

// Minute returns all that is released by now of the observations of a minute, in
// order: what came on time or late, and corrections. Of a minute before the first or
// after the present the error is [ErrNoMinute].
func (f *Feed) Minute(t time.Time, indicator string) (*Page, error) {
	lo, hi, err := f.all(indicator)
	if err != nil {
		return nil, err
	}
	if t.Unix()%60 != 0 || t.Nanosecond() != 0 {
		return nil, fmt.Errorf("%s is not the beginning of a minute", t.Format(time.RFC3339Nano))
	}
	minute, now := t.Unix()/60, f.minute()
	if minute < f.begin || minute >= now {
		return nil, fmt.Errorf("%w: it has those from %s to before %s", ErrNoMinute, f.Begin().Format(time.RFC3339), cityid.Time(now*60))
	}
	page := &Page{Items: []Observation{}}
	m := f.momentOf(minute)
	for i := lo; i < hi; i++ {
		s := &f.series[i]
		if !f.observes(s, minute) {
			continue
		}
		fate := f.fateOf(s, minute)
		for _, kind := range []int{fate.first, fate.correction} {
			if kind >= 0 && f.release(s, minute, kind) <= now {
				page.Items = append(page.Items, f.observation(i, kind, m, fate))
			}
		}
	}
	slices.SortFunc(page.Items, func(a, b Observation) int { return cmp.Compare(a.Seq, b.Seq) })
	return page, nil
}

// ErrNoMinute is the error for a minute of which there are no observations.
var ErrNoMinute = errors.New("the platform has no observations of that minute")

// Latest returns for each series the observation of the latest time that is released
// by now, corrected if its correction is, in order of number; and the cursor of the
// present, with which a reader can follow the stream from now on. A series without any
// in the last ten days is left out.
func (f *Feed) Latest(indicator string) (*Page, error) {
	lo, hi, err := f.all(indicator)
	if err != nil {
		return nil, err
	}
	now := f.minute()
	page := &Page{Items: []Observation{}, Next: f.cursor(endOf(now))}
	for i := lo; i < hi; i++ {
		s := &f.series[i]
		for minute := now - 1; minute >= max(f.begin, now-lookBack); minute-- {
			if !f.observes(s, minute) {
				continue
			}
			fate := f.fateOf(s, minute)
			if fate.first < 0 || f.release(s, minute, fate.first) > now {
				continue
			}
			kind := fate.first
			if fate.correction >= 0 && f.release(s, minute, fate.correction) <= now {
				kind = fate.correction
			}
			page.Items = append(page.Items, f.observation(i, kind, f.momentOf(minute), fate))
			break
		}
	}
	slices.SortFunc(page.Items, func(a, b Observation) int { return cmp.Compare(a.Seq, b.Seq) })
	return page, nil
}

// Released ranges over what is released from a minute to before another, whatever the
// clock shows: the stream as readers get it in that time.
func (f *Feed) Released(from, to time.Time, indicator string) (iter.Seq[Observation], error) {
	lo, hi, err := f.all(indicator)
	if err != nil {
		return nil, err
	}
	first, last := from.Unix()/60, to.Unix()/60
	if from.Unix()%60 != 0 || to.Unix()%60 != 0 || first < 1 || last <= first || last > maxMinute {
		return nil, fmt.Errorf("from %s to %s: want two whole minutes, the later one second", from.UTC().Format(time.RFC3339), to.UTC().Format(time.RFC3339))
	}
	return func(yield func(Observation) bool) {
		f.walk(endOf(first-1), last-1, lo, hi, 0, yield)
	}, nil
}
