// SPDX-License-Identifier: Apache-2.0

package ledger

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"cityid"
)

// use reserves, serves so many octets and settles.
func (f *fixture) use(a cityid.Digest, limits Limits, octets uint64) error {
	r, err := f.Reserve(f.t.Context(), a, limits, octets)
	if err != nil {
		return err
	}
	defer r.Release()
	f.n++
	s := Served{Agreement: a, Peer: consumer, Path: fmt.Sprint(f.n), Request: message(f.t, fmt.Sprint("request ", f.n)), Reservation: r}
	_, err = f.AppendServed(f.t.Context(), s, func(n uint64) (Answer, error) {
		x, err := f.answer(&s, n, 200)
		x.Receipt.Size = octets
		return x, err
	})
	return err
}

func TestQuota(t *testing.T) {
	f := newFixture(t)
	a, ctx := agreement(1), t.Context()
	limits := Limits{Requests: 3, Octets: 100}
	exceeded := func(what string, err error, which string, used uint64) {
		t.Helper()
		q := new(QuotaError)
		if !errors.As(err, &q) || !errors.Is(err, ErrQuota) || q.What != which || q.Used != used || !q.Again.Equal(time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC)) {
			t.Errorf("%s: %v", what, err)
		}
	}
	do(t, f.use(a, limits, 60))
	exceeded("41 octets of 40", f.use(a, limits, 41), "octets", 60)
	do(t, f.use(a, limits, 40))
	do(t, f.use(a, limits, 0))
	exceeded("a fourth request", f.use(a, limits, 0), "requests", 3)
	do(t, f.use(agreement(2), limits, 100))
	do(t, f.use(a, Limits{}, 1))
	f.reopen()
	exceeded("after opening again", f.use(a, limits, 0), "requests", 4)
	f.clock.pass(16 * time.Hour) // the next day
	do(t, f.use(a, limits, 100))
	f.clock.pass(-16 * time.Hour) // the day before, again
	exceeded("on the day before", f.use(a, limits, 0), "requests", 4)
	f.clock.pass(16 * time.Hour)
	do(t, f.Sweep(ctx))
	if n := len(f.tallies); n != 1 {
		t.Errorf("%d tallies after a day", n)
	}
	if days := ok(f.UsageByDay(ctx, a, DirectionServed, 0, 1<<40))(t); len(days) != 2 || days[0].Usage != (Usage{4, 101, 0}) || days[1].Usage != (Usage{1, 100, 0}) {
		t.Errorf("%+v", days)
	}
	if u := ok(f.Usage(ctx, agreement(3), DirectionServed, 5))(t); u != (Usage{}) {
		t.Errorf("%+v", u)
	}
	_, err := f.Reserve(ctx, cityid.Digest{}, Limits{}, 0)
	want(t, "no agreement", err, ErrInvalid)
	_, err = f.Reserve(ctx, a, Limits{}, MaxAnswer+1)
	want(t, "too large", err, ErrInvalid)
}

func TestReservation(t *testing.T) {
	f := newFixture(t)
	a, ctx := agreement(1), t.Context()
	limits := Limits{Requests: 2, Octets: 100}
	first := ok(f.Reserve(ctx, a, limits, 50))(t)
	want(t, "the rest and one", errOf(f.Reserve(ctx, a, limits, 51)), ErrQuota)
	second := ok(f.Reserve(ctx, a, limits, 50))(t)
	want(t, "no more requests", errOf(f.Reserve(ctx, a, limits, 0)), ErrQuota)
	want(t, "more octets", second.Resize(51), ErrQuota)
	if second.Octets() != 50 {
		t.Errorf("%d octets", second.Octets())
	}
	do(t, second.Resize(10))
	do(t, first.Resize(90))
	first.Release()
	first.Release()
	want(t, "resize what has ended", first.Resize(1), ErrConflict)
	third := ok(f.Reserve(ctx, a, limits, 90))(t)
	want(t, "resize beyond any answer", third.Resize(MaxAnswer+1), ErrInvalid)
	third.Release()
	second.Release()
	if n := f.Stats().Reservations; n != 0 {
		t.Errorf("%d open", n)
	}
	if u := ok(f.Usage(ctx, a, DirectionServed, dayOf(f.clock.second())))(t); u != (Usage{}) {
		t.Errorf("%+v", u)
	}
}

func errOf[T any](_ T, err error) error { return err }

// TestMidnight reserves on one day and serves on the next: it counts on the first.
func TestMidnight(t *testing.T) {
	f := newFixture(t)
	a := agreement(1)
	f.clock.pass(16*time.Hour - time.Second)
	day := dayOf(f.clock.second())
	s := f.served(a, "late")
	f.clock.pass(time.Second)
	do(t, f.Sweep(t.Context()))
	ok(f.AppendServed(t.Context(), s, func(n uint64) (Answer, error) { return f.answer(&s, n, 200) }))(t)
	if u := ok(f.Usage(t.Context(), a, DirectionServed, day))(t); u != (Usage{1, 1000, 0}) || dayOf(f.clock.second()) != day+1 {
		t.Errorf("%+v", u)
	}
}

func TestUnacknowledgedLimit(t *testing.T) {
	f := newFixture(t)
	a, ctx := agreement(1), t.Context()
	limits := Limits{Unacknowledged: 2}
	r := ok(f.Reserve(ctx, a, limits, 0))(t)
	e := f.serve(a)
	want(t, "one waits, one is on its way", errOf(f.Reserve(ctx, a, limits, 0)), ErrUnacknowledged)
	r.Release()
	f.serve(a)
	want(t, "two wait", errOf(f.Reserve(ctx, a, limits, 0)), ErrUnacknowledged)
	ok(f.Reserve(ctx, agreement(2), limits, 0))(t).Release()
	ok(f.Acknowledge(ctx, DirectionServed, acknowledgementOf(t, f, a, e.Hash), message(t, "ack"), nil))(t)
	ok(f.Reserve(ctx, a, limits, 0))(t).Release()
}

// TestQuotaConcurrently has many ask for more than there is: no limit is exceeded, and
// what is counted is what was served.
func TestQuotaConcurrently(t *testing.T) {
	f := newFixture(t)
	a := agreement(1)
	limits := Limits{Requests: 40, Octets: 3000}
	var served, octets atomic.Uint64
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			for i := range 10 {
				r, err := f.Reserve(t.Context(), a, limits, 200)
				if err != nil {
					want(t, "reserve", err, ErrQuota)
					continue
				}
				size := uint64(i * 20)
				name := fmt.Sprint(w, " ", i)
				s := Served{Agreement: a, Path: name, Request: message(t, name), Reservation: r}
				_, err = f.AppendServed(t.Context(), s, func(n uint64) (Answer, error) {
					x, err := f.answer(&s, n, 200)
					x.Receipt.Size = size
					return x, err
				})
				if err != nil {
					t.Error(err)
				}
				served.Add(1)
				octets.Add(size)
			}
		})
	}
	wg.Wait()
	u := ok(f.Usage(t.Context(), a, DirectionServed, dayOf(f.clock.second())))(t)
	if u.Requests != served.Load() || u.Octets != octets.Load() || u.Requests > limits.Requests || u.Octets > limits.Octets || u.Requests == 0 {
		t.Errorf("%+v counted, %d with %d octets served", u, served.Load(), octets.Load())
	}
	if got := f.tallies[tallyKey{a, dayOf(f.clock.second())}]; got.used != u || got.requests != 0 || got.octets != 0 {
		t.Errorf("in memory %+v", got)
	}
}
