// SPDX-License-Identifier: Apache-2.0

package ledger

import (
	"context"
	"fmt"
	"time"

	"cityid"
	"cityid/internal/durable/folder"
)

// Limits are what an agreement allows. Zero is no limit.
type Limits struct {
	Requests       uint64 // a day, UTC
	Octets         uint64 // a day, UTC, of bodies
	Unacknowledged int    // answers that await an acknowledgement, and those on their way
}

// Usage is what was fetched under an agreement on a day, UTC. What was served with
// a reservation counts on the day on which it was reserved.
type Usage struct {
	Requests uint64 // answered with data, or counted by a reservation
	Octets   uint64 // of their bodies
	Refused  uint64 // all others
}

func (u *Usage) add(v Usage) {
	u.Requests += v.Requests
	u.Octets += v.Octets
	u.Refused += v.Refused
}

// QuotaError says which limit is used up. It matches [ErrQuota].
type QuotaError struct {
	What  string // "requests" or "octets"
	Limit uint64
	Used  uint64    // so far, with what is reserved
	Again time.Time // when the next day begins
}

func (e *QuotaError) Error() string {
	return fmt.Sprintf("%d of %d %s a day are used or reserved; the next day begins at %s: %v", e.Used, e.Limit, e.What, e.Again.Format(time.RFC3339), ErrQuota)
}

// Unwrap returns [ErrQuota].
func (e *QuotaError) Unwrap() error { return ErrQuota }

// dayOf returns the day of a time, counted from 1970-01-01 UTC.
func dayOf(t cityid.Time) int64 { return int64(t) / 86400 }

type tallyKey struct {
	agreement cityid.Digest
	day       int64
}

// tally is what is used and reserved under an agreement on a day.
type tally struct {
	used     Usage
	requests uint64 // reserved
	octets   uint64
}

// Reservation is a place in the quotas of an agreement for one answer. Whoever has
// one releases it; after it has become usage, that does nothing.
type Reservation struct {
	l       *Ledger
	account account
	key     tallyKey
	tally   *tally
	limits  Limits
	octets  uint64 // under l.mu, like open
	open    bool
}

// Reserve takes a place for an answer of at most so many octets under an agreement,
// today. It returns a [QuotaError] or [ErrUnacknowledged] if a limit forbids it.
func (l *Ledger) Reserve(ctx context.Context, agreement cityid.Digest, limits Limits, octets uint64) (*Reservation, error) {
	switch {
	case agreement.IsZero():
		return nil, fmt.Errorf("reserve: %w: only an agreement has limits", ErrInvalid)
	case octets > MaxAnswer:
		return nil, fmt.Errorf("reserve: %w: an answer has at most %d octets", ErrInvalid, uint64(MaxAnswer))
	}
	key := tallyKey{agreement, dayOf(cityid.TimeOf(l.now()))}
	if err := l.loadTally(ctx, key); err != nil {
		return nil, fmt.Errorf("reserve: %w", err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	t := l.tallies[key]
	if t == nil { // swept in between
		return nil, fmt.Errorf("reserve: %w: the day has ended, try again", ErrConflict)
	}
	a := account{agreement, DirectionServed}
	if n := len(l.pending[a]) + l.held[agreement]; limits.Unacknowledged > 0 && n >= limits.Unacknowledged {
		return nil, fmt.Errorf("%d answers await an acknowledgement or are on their way, %d are allowed: %w", n, limits.Unacknowledged, ErrUnacknowledged)
	}
	if n := t.used.Requests + t.requests; limits.Requests > 0 && n >= limits.Requests {
		return nil, key.exceeded("requests", limits.Requests, n)
	}
	r := &Reservation{l: l, account: a, key: key, tally: t, limits: limits, open: true}
	if err := r.fits(octets); err != nil {
		return nil, err
	}
	r.octets = octets
	t.requests++
	t.octets += octets
	l.held[agreement]++
	return r, nil
}

func (k tallyKey) exceeded(what string, limit, used uint64) error {
	return &QuotaError{What: what, Limit: limit, Used: used, Again: time.Unix((k.day+1)*86400, 0).UTC()}
}

// fits says whether the reservation may have so many octets; l.mu is held.
func (r *Reservation) fits(octets uint64) error {
	n := r.tally.used.Octets + r.tally.octets - r.octets
	if limit := r.limits.Octets; limit > 0 && (n > limit || octets > limit-n) {
		return r.key.exceeded("octets", limit, n)
	}
	return nil
}

// Octets returns how many are reserved.
func (r *Reservation) Octets() uint64 {
	r.l.mu.Lock()
	defer r.l.mu.Unlock()
	return r.octets
}

// Room returns how many octets can be reserved at most, by what the quota leaves now.
func (r *Reservation) Room() uint64 {
	r.l.mu.Lock()
	defer r.l.mu.Unlock()
	used := r.tally.used.Octets + r.tally.octets - r.octets
	switch limit := r.limits.Octets; {
	case limit == 0:
		return MaxAnswer
	case used >= limit:
		return 0
	default:
		return min(limit-used, MaxAnswer)
	}
}

func (r *Reservation) isOpen() bool {
	r.l.mu.Lock()
	defer r.l.mu.Unlock()
	return r.open
}

// Resize changes how many octets are reserved, once the size of the answer is known.
// It returns a [QuotaError], and changes nothing, if a limit forbids it.
func (r *Reservation) Resize(octets uint64) error {
	r.l.mu.Lock()
	defer r.l.mu.Unlock()
	switch {
	case !r.open:
		return fmt.Errorf("resize a reservation: %w: it has ended", ErrConflict)
	case octets > MaxAnswer:
		return fmt.Errorf("resize a reservation: %w: an answer has at most %d octets", ErrInvalid, uint64(MaxAnswer))
	}
	if err := r.fits(octets); err != nil {
		return err
	}
	r.tally.octets = r.tally.octets - r.octets + octets
	r.octets = octets
	return nil
}

// Release gives the place back.
func (r *Reservation) Release() {
	r.l.mu.Lock()
	defer r.l.mu.Unlock()
	r.end()
}

// end takes the reservation out of its tally; l.mu is held.
func (r *Reservation) end() {
	if !r.open {
		return
	}
	r.open = false
	r.tally.requests--
	r.tally.octets -= r.octets
	if r.l.held[r.key.agreement]--; r.l.held[r.key.agreement] == 0 {
		delete(r.l.held, r.key.agreement)
	}
}

// use makes usage of the reservation; l.mu is held.
func (r *Reservation) use(octets uint64) {
	r.end()
	r.tally.used.add(Usage{Requests: 1, Octets: octets})
}

// loadTally reads what was used on a day, unless it is known. While a tally is
// known every use of it goes through a reservation and is added in memory.
func (l *Ledger) loadTally(ctx context.Context, key tallyKey) error {
	l.tallying.Lock()
	defer l.tallying.Unlock()
	l.mu.Lock()
	_, known := l.tallies[key]
	l.mu.Unlock()
	if known {
		return nil
	}
	u, err := l.Usage(ctx, key.agreement, DirectionServed, key.day)
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.tallies[key] = &tally{used: u}
	return nil
}

// Usage returns what was fetched under an agreement (zero: under none) on a day,
// counted from 1970-01-01 UTC.
func (l *Ledger) Usage(ctx context.Context, agreement cityid.Digest, direction Direction, day int64) (u Usage, err error) {
	days, err := l.UsageByDay(ctx, agreement, direction, day, day)
	if err != nil || len(days) == 0 {
		return u, err
	}
	return days[0].Usage, nil
}

// DayUsage is the usage of one day.
type DayUsage struct {
	Day int64 // since 1970-01-01 UTC
	Usage
}

// UsageByDay returns what was fetched under an agreement (zero: under none) on each
// of some days on which anything was.
func (l *Ledger) UsageByDay(ctx context.Context, agreement cityid.Digest, direction Direction, first, last int64) ([]DayUsage, error) {
	return folder.Collect(ctx, l.reads, func(row interface{ Scan(...any) error }) (u DayUsage, err error) {
		return u, row.Scan(&u.Day, &u.Requests, &u.Octets, &u.Refused)
	}, `SELECT day, requests, octets, refused FROM usage WHERE agreement = ? AND direction = ? AND day BETWEEN ? AND ? ORDER BY day`,
		optional(agreement), direction, first, last)
}

// sweepTallies forgets the tallies of past days that nobody holds a place in.
func (l *Ledger) sweepTallies() {
	today := dayOf(cityid.TimeOf(l.now()))
	l.mu.Lock()
	defer l.mu.Unlock()
	for k, t := range l.tallies {
		if k.day < today && t.requests == 0 {
			delete(l.tallies, k)
		}
	}
}
