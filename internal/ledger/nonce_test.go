// SPDX-License-Identifier: Apache-2.0

package ledger

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"cityid"
)

// nonce returns one of a signature made some seconds from now.
func (f *fixture) nonce(value string, made int) Nonce {
	n := Nonce{Key: cityid.PublicKey("\x01" + strings.Repeat("k", 32)), Created: f.clock.second() + cityid.Time(made)}
	n.Expires = n.Created + MaxWindow
	copy(n.Value[:], value)
	return n
}

// answerWith claims a nonce and appends an entry with it.
func (f *fixture) answerWith(n Nonce) {
	f.t.Helper()
	do(f.t, f.Claim(f.t.Context(), n))
	f.n++
	s := f.served(agreement(1), fmt.Sprintf("%x", n.Value))
	s.Nonce = &n
	ok(f.AppendServed(f.t.Context(), s, func(number uint64) (Answer, error) { return f.answer(&s, number, 200) }))(f.t)
}

// started returns a ledger that was opened long enough ago to take any signature.
func started(t testing.TB) *fixture {
	f := newFixture(t)
	f.clock.pass(2 * time.Minute)
	return f
}

func TestClaim(t *testing.T) {
	f := started(t)
	ctx := t.Context()
	n := f.nonce("a", 0)
	do(t, f.Claim(ctx, n))
	want(t, "again", f.Claim(ctx, n), ErrReplayed)
	other := n
	other.Key = "\x01another"
	do(t, f.Claim(ctx, other))
	for what, c := range map[string]struct {
		target error
		change func(*Nonce)
	}{
		"no key":         {ErrInvalid, func(n *Nonce) { n.Key = "" }},
		"too long":       {ErrInvalid, func(n *Nonce) { n.Expires++ }},
		"no time at all": {ErrInvalid, func(n *Nonce) { n.Expires = n.Created }},
		"before 1970":    {ErrInvalid, func(n *Nonce) { n.Created, n.Expires = -5, 5 }},
		"ended":          {ErrTooOld, func(n *Nonce) { n.Created, n.Expires = n.Created-60, n.Created }},
		"too far ahead":  {ErrTooNew, func(n *Nonce) { n.Created, n.Expires = n.Created+6, n.Expires+6 }},
	} {
		n := f.nonce(what, 0)
		c.change(&n)
		want(t, what, f.Claim(ctx, n), c.target)
	}
	do(t, f.Claim(ctx, f.nonce("ahead", 5)))
	last := f.nonce("almost ended", -59)
	do(t, f.Claim(ctx, last))
	if s := f.Stats(); s.Nonces != 4 {
		t.Errorf("%d in memory", s.Nonces)
	}
	f.clock.pass(time.Second + keptInMemory*time.Second + MaxWindow*time.Second)
	do(t, f.Claim(ctx, f.nonce("later", 0)))
	if s := f.Stats(); s.Nonces != 2 { // with the one that was ahead
		t.Errorf("%d in memory after they ended", s.Nonces)
	}
}

// TestClaimOnce has many claim the same nonce at once: one gets it.
func TestClaimOnce(t *testing.T) {
	f := started(t)
	var got atomic.Int64
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			if f.Claim(t.Context(), f.nonce("a", 0)) == nil {
				got.Add(1)
			}
		})
	}
	wg.Wait()
	if got.Load() != 1 {
		t.Errorf("%d got it", got.Load())
	}
}

// TestReplayAcrossRestart sends a request again after the ledger was opened again.
// It was made by a clock that is ahead, so that only the stored nonce tells.
func TestReplayAcrossRestart(t *testing.T) {
	f := started(t)
	ahead, before := f.nonce("a", 5), f.nonce("b", 0)
	f.answerWith(ahead)
	f.answerWith(before)
	acknowledged := f.nonce("c", 4)
	ok(f.Acknowledge(t.Context(), DirectionServed, acknowledgementOf(t, f, agreement(1), f.serve(agreement(1)).Hash), message(t, "ack"), &acknowledged))(t)
	f.reopen()
	want(t, "made after the start, and seen", f.Claim(t.Context(), ahead), ErrReplayed)
	want(t, "an acknowledgement", f.Claim(t.Context(), acknowledged), ErrReplayed)
	want(t, "made before the start", f.Claim(t.Context(), before), ErrTooOld)
	want(t, "made in the second of the start", f.Claim(t.Context(), f.nonce("c", 0)), ErrTooOld)
	do(t, f.Claim(t.Context(), f.nonce("d", 1)))
	f.clock.pass(time.Second)
	want(t, "seen, a second later", f.Claim(t.Context(), ahead), ErrReplayed)
}

// TestStoreLost deletes the database and sends a request again.
func TestStoreLost(t *testing.T) {
	f := started(t)
	ahead := f.nonce("a", 5)
	f.answerWith(ahead)
	do(t, f.Close())
	for _, name := range []string{dbName, dbName + "-wal", dbName + "-shm"} {
		if err := os.Remove(filepath.Join(f.opts.Dir, name)); err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
	}
	f.clock.pass(time.Second)
	f.open()
	want(t, "made before the start, by a clock that was ahead", f.Claim(t.Context(), ahead), ErrTooOld)
	want(t, "made within the skew", f.Claim(t.Context(), f.nonce("b", 5)), ErrTooOld)
	f.clock.pass(time.Second)
	do(t, f.Claim(t.Context(), f.nonce("b", 5)))
	f.reopen()
	want(t, "opened again", f.Claim(t.Context(), ahead), ErrTooOld)
	want(t, "opened again, within the skew", f.Claim(t.Context(), f.nonce("c", 4)), ErrTooOld)
}

// TestClockBack puts the clock back and sends requests again whose nonces have left
// the memory.
func TestClockBack(t *testing.T) {
	f := started(t)
	ctx := t.Context()
	old := f.nonce("old", 0)
	f.answerWith(old)
	f.clock.pass(30 * time.Minute)
	recent := f.nonce("recent", 0)
	f.answerWith(recent)
	f.clock.pass(15 * time.Minute)
	do(t, f.Sweep(ctx))
	f.clock.pass(-45 * time.Minute)
	want(t, "on the disk alone", f.Claim(ctx, old), ErrReplayed)
	do(t, f.Claim(ctx, f.nonce("new", 0))) // no outage
	f.clock.pass(75 * time.Minute)
	do(t, f.Sweep(ctx)) // drops old from the disk, and raises the floor
	f.clock.pass(-75 * time.Minute)
	want(t, "dropped from the disk", f.Claim(ctx, old), ErrTooOld)
	want(t, "no later than it ended", f.Claim(ctx, f.nonce("new", 3)), ErrTooOld)
	f.clock.pass(61 * time.Second)
	do(t, f.Claim(ctx, f.nonce("new", 0)))
	f.clock.pass(28*time.Minute + 59*time.Second)
	want(t, "still on the disk", f.Claim(ctx, recent), ErrReplayed)
	f.clock.pass(-time.Hour)
	f.reopen()
	f.clock.pass(time.Minute)
	want(t, "opened with the clock put back", f.Claim(ctx, f.nonce("new", 0)), ErrTooOld) // floor
	f.clock.pass(59 * time.Minute)
	want(t, "on the disk, opened again", f.Claim(ctx, recent), ErrReplayed)
}

// TestClockAhead opens with a clock that is ahead: once it is right, opening again is
// enough.
func TestClockAhead(t *testing.T) {
	f := started(t)
	f.clock.pass(time.Hour)
	f.reopen()
	f.answerWith(f.nonce("a", 1))
	f.clock.pass(-time.Hour)
	want(t, "before the start", f.Claim(t.Context(), f.nonce("b", 0)), ErrTooOld)
	f.reopen()
	f.clock.pass(time.Second)
	do(t, f.Claim(t.Context(), f.nonce("b", 0)))
}
