// SPDX-License-Identifier: Apache-2.0

package share

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"cityid"
)

// This file removes what a gateway keeps for a time only: receipts with their salts,
// observations of feeds, purposes of requests, nonces. Each is removed step by step, so
// that nobody waits long, and after an interruption from where it was.

// How often what is old is looked for.
const (
	sweepEvery    = 3 * time.Minute
	retainEvery   = time.Hour
	purposesEvery = 24 * time.Hour
)

// PurposeLife is how long a purpose is kept beyond the end of its agreement: for the
// provider as for the consumer.
const PurposeLife = 365 * 24 * time.Hour

// chore is something that is done every so often.
type chore struct {
	every time.Duration
	what  string // is removed
	do    func(context.Context) (int, error)
	done  time.Time
}

// retain removes what is old, until ctx ends. What fails is tried again when it is due
// anew, and keeps nothing else from being removed.
func (g *Gateway) retain(ctx context.Context) {
	chores := []*chore{
		{every: sweepEvery, what: "nonces", do: func(ctx context.Context) (int, error) { return 0, g.ledger.Sweep(ctx) }},
		{every: retainEvery, what: "receipts", do: func(ctx context.Context) (int, error) {
			return g.ledger.Erase(ctx, g.now().Add(-time.Duration(g.cfg.Retention)))
		}},
		{every: retainEvery, what: "observations", do: func(ctx context.Context) (int, error) {
			return g.ledger.PruneObservations(ctx, cityid.TimeOf(g.now().Add(-time.Duration(g.cfg.Observations))))
		}},
		{every: purposesEvery, what: "purposes", do: g.ErasePurposes},
	}
	every(ctx, sweepEvery, func() {
		for _, c := range chores {
			if ctx.Err() != nil || !c.done.IsZero() && g.now().Sub(c.done) < c.every {
				continue
			}
			c.done = g.now()
			n, err := c.do(ctx)
			if err != nil && ctx.Err() == nil {
				g.logger.Error("what is old is not all removed", "what", c.what, "removed", n, "error", err)
			} else if n > 0 {
				g.logger.Info("what was old is removed", "what", c.what, "removed", n)
			}
		}
	})
}

// ErasePurposes removes the purposes of agreements that ended, by the chain, a
// [PurposeLife] ago, and says how many. One whose agreement no node proves stays for
// the next time.
func (g *Gateway) ErasePurposes(ctx context.Context) (erased int, err error) {
	dir := filepath.Join(g.cfg.Data, purposesDir)
	list, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("erase purposes: %w", err)
	}
	var failed []error
	for _, e := range list {
		if ctx.Err() != nil {
			break
		}
		due, err := g.purposeDue(ctx, e)
		if err == nil && due {
			err = os.Remove(filepath.Join(dir, e.Name()))
		}
		switch {
		case errors.Is(err, os.ErrNotExist):
		case err != nil:
			failed = append(failed, fmt.Errorf("%.80s: %w", e.Name(), err))
		case due:
			erased++
		}
	}
	if len(failed) > 0 {
		return erased, fmt.Errorf("erase purposes: %d of %d not looked at: %w", len(failed), len(list), failed[0])
	}
	return erased, ctx.Err()
}

// purposeDue reports whether a file in the folder of purposes is to be removed. A
// purpose comes while its request waits, so one that is younger than a purpose's life
// needs no look at the chain.
func (g *Gateway) purposeDue(ctx context.Context, e os.DirEntry) (bool, error) {
	info, err := e.Info()
	if err != nil {
		return false, err
	}
	age := g.now().Sub(info.ModTime())
	name, whole := strings.CutSuffix(e.Name(), purposeSuffix)
	var id cityid.Digest
	if !whole || id.UnmarshalText([]byte(name)) != nil {
		// Begun, and interrupted, unless it is being written: by the clock that
		// dates files.
		return time.Since(info.ModTime()) > purposesEvery, nil
	}
	if age < PurposeLife {
		return false, nil
	}
	a, now, err := g.view.agreement(ctx, id)
	if err != nil {
		return false, err
	}
	end, over := endOf(a, now)
	return over && now.Std().Sub(end.Std()) >= PurposeLife, nil
}

// endOf returns when an agreement ends, and whether that is over.
func endOf(a *cityid.Agreement, now cityid.Time) (cityid.Time, bool) {
	switch a.StateAt(now) {
	case cityid.AgreementRefused:
		return a.Decided.Time, true
	case cityid.AgreementRevoked:
		return a.Ended.Time, true
	case cityid.AgreementLapsed:
		return a.Terms.Respond, true
	case cityid.AgreementExpired:
		return a.Terms.Until, true
	}
	return a.Terms.Until, false
}
