// SPDX-License-Identifier: Apache-2.0

package catalogue

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"cityid"
	"cityid/internal/dcat"
)

const (
	atOnce     = 4               // documents asked of a gateway at a time
	slowAnswer = 5 * time.Second // a gateway whose answers take longer on average is slow
)

// harvest visits gateways until ctx ends or the file has to be made anew.
func (c *Catalogue) harvest(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var visits sync.WaitGroup
	defer visits.Wait()
	for {
		v, pause := c.plan.next(c.o.Now())
		if v != nil {
			visits.Go(func() {
				if err := c.visit(ctx, v); err != nil {
					cancel(err)
				}
			})
			continue
		}
		var due <-chan time.Time
		var timer *time.Timer
		if pause > 0 {
			timer = time.NewTimer(min(pause, time.Minute)) // a clock may be set
			due = timer.C
		}
		select {
		case <-ctx.Done():
		case <-due:
		case <-c.plan.woken:
		}
		if timer != nil {
			timer.Stop()
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
}

// visit asks a gateway for what waits for it. The error is one of the file.
func (c *Catalogue) visit(ctx context.Context, v *visit) error {
	began := c.o.Now()
	ending, end := context.WithCancel(ctx)
	defer end()
	hands := atOnce
	if v.suspect {
		hands = 1
	}
	var tally visitTally
	var work sync.WaitGroup
	for range hands {
		work.Go(func() {
			for ending.Err() == nil && c.o.Now().Sub(began) < c.o.Visit {
				j := c.plan.take(v.gateway)
				if j == nil {
					return
				}
				asked := c.o.Now()
				err := c.attempt(ctx, j, v.gateway)
				c.plan.giveBack(j)
				if tally.note(err, c.o.Now().Sub(asked)) {
					end()
				}
			}
		})
	}
	work.Wait()
	if ctx.Err() != nil {
		return nil
	}
	slow := tally.answered > 0 && tally.took/time.Duration(tally.answered) > slowAnswer
	state, changed := c.plan.leave(v, tally.answered > 0, slow, tally.failed, c.o.Now())
	if tally.broken != nil || !changed {
		return tally.broken
	}
	if tally.failed != "" {
		c.o.Log.Warn("gateway does not answer", "gateway", v.gateway.address, "since", state.Since.Std(), "again", state.Next.Std(), "error", tally.failed)
	}
	_, err := c.write(ctx, func(b *batch) ([]change, error) { return nil, b.setGateway(v.gateway.address, state) })
	return err
}

// visitTally is how a visit went.
type visitTally struct {
	mu       sync.Mutex
	answered int
	took     time.Duration // of these answers
	failed   string        // why the gateway does not answer; "": it does
	broken   error         // of the file
}

// note counts an attempt, and reports whether the visit ends.
func (t *visitTally) note(err error, took time.Duration) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	var silent *silence
	switch {
	case err == nil:
		t.answered++
		t.took += took
		return false
	case errors.As(err, &silent):
		t.failed = silent.why
	default:
		t.broken = err
	}
	return true
}

// silence is an error of a gateway that does not answer.
type silence struct{ why string }

func (s *silence) Error() string { return s.why }

// attempt asks a gateway for the documents of one dataset, and writes down what
// came. The error is a [silence], or one of the file.
func (c *Catalogue) attempt(ctx context.Context, j *job, g *gateway) error {
	r, err := c.store.byID(ctx, j.id)
	if err != nil || r == nil || len(r.Parts) == 0 {
		return c.ofFile(ctx, err)
	}
	var got []*fetched
	var silent *silence
	for i := range r.Parts {
		f := c.fetch(ctx, j, g, r, &r.Parts[i])
		if ctx.Err() != nil {
			return nil
		}
		got = append(got, f)
		if f.silent != nil {
			silent = f.silent
			break
		}
	}
	if err := c.record(ctx, j.id, r, got); err != nil {
		return c.ofFile(ctx, err)
	}
	if silent != nil {
		return silent
	}
	return nil
}

// ofFile returns an error of the file, nil if it comes of ctx's end.
func (c *Catalogue) ofFile(ctx context.Context, err error) error {
	if err == nil || ctx.Err() != nil {
		return nil
	}
	return fmt.Errorf("write what a gateway answered: %w", err)
}

// record writes down what was fetched for a row as it was read. What the registry
// has changed meanwhile stays to be fetched.
func (c *Catalogue) record(ctx context.Context, id int64, read *row, got []*fetched) error {
	r := newResolver(c.source)
	for _, f := range got {
		if f.described == nil {
			continue
		}
		if err := c.lookAhead(ctx, r, f.described); err != nil {
			return c.later(ctx, id, err)
		}
	}
	_, err := c.write(ctx, func(b *batch) ([]change, error) {
		before, err := b.byID(id)
		if err != nil || before == nil {
			return nil, err
		}
		after := &row{}
		*after = *before
		after.Parts = append([]part(nil), before.Parts...)
		same := before.Entry.Published != nil && read.Entry.Published != nil && *before.Entry.Published == *read.Entry.Published
		failed, stale, described, silent := false, false, false, false
		for _, f := range got {
			p := after.part(f.part)
			if !same || p == nil || p.Digest != f.want {
				stale = true
				continue
			}
			if err := after.accept(b, p, f, c.now()); err != nil {
				return nil, err
			}
			silent = silent || f.silent != nil
			failed, described = failed || p.State != cityid.DatasetCurrent, described || f.described != nil
		}
		if !failed {
			after.Failing = 0
		} else if after.Failing == 0 {
			after.Failing = c.now()
		}
		if after.Next = c.nextAfter(after.Failing); silent {
			after.Next = unix(c.o.Now().Add(backoff(c.o.Pause, c.o.Now().Sub(after.Failing.Std()))))
		}
		if stale {
			after.Next = c.now()
		}
		if described {
			if err := c.compose(ctx, r, after); err != nil {
				return nil, err
			}
		}
		after.settle()
		return []change{{row: after}}, b.putChanged(after, before)
	})
	return err
}

// lookAhead asks the registry about what a description names before a transaction
// begins, so that it need not wait for answers.
func (c *Catalogue) lookAhead(ctx context.Context, r *resolver, d *described) error {
	for _, t := range d.themes {
		if _, err := r.industriesOf(ctx, t.ID); err != nil {
			return err
		}
	}
	if d.publisher != nil {
		if _, err := r.record(ctx, d.publisher.Code); err != nil {
			return err
		}
	}
	if d.place != nil {
		if _, err := r.record(ctx, d.place.Code); err != nil {
			return err
		}
	}
	return nil
}

// later puts an attempt off whose outcome the registry could not be asked about.
func (c *Catalogue) later(ctx context.Context, id int64, why error) error {
	c.o.Log.Warn("the registry does not answer about a dataset", "error", why)
	_, err := c.write(ctx, func(b *batch) ([]change, error) {
		before, err := b.byID(id)
		if err != nil || before == nil {
			return nil, err
		}
		after := &row{}
		*after = *before
		after.Next = c.nextAfter(c.now())
		return []change{{row: after}}, b.putChanged(after, before)
	})
	return err
}

// accept takes over how the attempt at one document went.
func (r *row) accept(b *batch, p *part, f *fetched, now cityid.Time) error {
	p.Checked, p.State, p.Detail = now, f.state, f.detail
	if f.state != cityid.DatasetCurrent {
		p.ETag = ""
	}
	if f.body == nil {
		if f.state == cityid.DatasetCurrent {
			p.ETag = f.etag
		}
		return nil // nothing new came
	}
	p.Held, p.Size, p.Fetched, p.ETag = dcat.Digest(f.body), len(f.body), now, f.etag
	if err := b.hold(r.ID, p.Part, p.Held, f.body); err != nil {
		return err
	}
	if f.described != nil {
		f.described.show(r)
	}
	return nil
}
