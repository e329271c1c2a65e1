// SPDX-License-Identifier: Apache-2.0

package bulk

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"cityid"
)

// Node is the part of a node that an import talks to. Its methods are called
// by several goroutines at once and return refusals as a [cityid.Error].
type Node interface {
	// Submit submits an encoded transaction. With wait it returns once a block
	// holds it. A refusal is an error, or a receipt with its code. Submitting
	// what is recorded already is refused with [cityid.ErrReplayed] or, once
	// the transaction has expired, [cityid.ErrExpired].
	Submit(ctx context.Context, raw []byte, wait bool) (*cityid.Receipt, error)
	// Transaction returns the receipt of a recorded transaction, or
	// [cityid.ErrNotFound].
	Transaction(ctx context.Context, id cityid.Digest) (*cityid.Receipt, error)
	// Record returns the latest record of a code, or [cityid.ErrNotFound].
	Record(ctx context.Context, code cityid.Code) (*cityid.RecordAnswer, error)
}

// Sign makes a signed transaction of the operations, with an expiry of its own
// choosing. It is called by several goroutines at once.
type Sign func(ops []cityid.Operation) (*cityid.Tx, error)

// RunOptions say how to run a plan. The zero value is good.
type RunOptions struct {
	InFlight int            // batches under way at a time; 0: 4
	Attempts int            // tries of one submission while the node is full or out of reach; 0: 10
	Backoff  time.Duration  // pause after the first try, doubled each time up to 10 s; 0: 100 ms
	Progress func(Progress) // called after every batch, one call at a time; nil: not
}

// Progress says how far an import is.
type Progress struct {
	Done    int           // rows settled, in earlier runs too
	Total   int           // rows
	Failed  int           // rows among those done that were refused
	Elapsed time.Duration // in this run
	Rate    float64       // rows a second in this run
}

// Result is what became of an import's rows.
type Result struct {
	Rows      int      // rows of the table
	Allocated int      // rows allocated, in earlier runs too
	Existing  int      // rows that were allocated before, just as the table has them
	Failed    Problems // rows the registry refused, in order of line
	Classes   Problems // classes the plan added and the registry refused, so that it refused their rows too
}

// Complete reports whether every row is settled, be it as refused.
func (r *Result) Complete() bool { return r.Allocated+r.Existing+len(r.Failed) == r.Rows }

// Run carries out what the checkpoint does not show as settled. It returns what
// is settled so far, also with an error; then the import can be run again with
// the same table, options and checkpoint, and goes on where it stopped.
//
// Every good row gets in: when the registry refuses a batch for one row, the
// row is reported and the others are submitted again; when it does not say for
// which, the batch is halved until that shows. When it says that codes exist,
// their records are compared: rows that are allocated just as the table has
// them count as existing, others as refused. Refusals that concern all rows
// alike, such as a signer without the right, end the run with an error.
//
// A transaction is in the checkpoint before it is submitted. When a run finds
// one there whose fate is unknown it asks the node for it, then submits the
// same bytes once more, which can not allocate twice; only when these have
// expired is a new one made. So no kill leads to a row lost or refused as a
// duplicate of itself.
func Run(ctx context.Context, plan *Plan, cp *Checkpoint, node Node, sign Sign, o RunOptions) (*Result, error) {
	if o.InFlight <= 0 {
		o.InFlight = 4
	}
	if o.Attempts <= 0 {
		o.Attempts = 10
	}
	if o.Backoff <= 0 {
		o.Backoff = 100 * time.Millisecond
	}
	r := &runner{plan: plan, cp: cp, node: node, sign: sign, o: o, start: time.Now(), result: Result{Rows: plan.Rows}}
	for i := range plan.Batches {
		if _, s := cp.Batch(i); s != nil {
			r.count(s)
		}
	}
	r.before = r.settled()
	err := r.levels(ctx)
	r.result.Failed.sort()
	return &r.result, err
}

type runner struct {
	plan   *Plan
	cp     *Checkpoint
	node   Node
	sign   Sign
	o      RunOptions
	start  time.Time
	before int // rows settled in earlier runs

	mu     sync.Mutex // guards what follows, and calls of o.Progress
	result Result
}

// levels runs the batches of one level after those of the level before.
func (r *runner) levels(ctx context.Context) error {
	for first := 0; first < len(r.plan.Batches); {
		end := first
		for end < len(r.plan.Batches) && r.plan.Batches[end].Level == r.plan.Batches[first].Level {
			end++
		}
		if err := r.batches(ctx, first, end); err != nil {
			return err
		}
		first = end
	}
	return nil
}

// batches settles the batches from first to before end, several at a time, and
// stops all at the first error.
func (r *runner) batches(ctx context.Context, first, end int) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	queue := make(chan int)
	var workers sync.WaitGroup
	for range min(r.o.InFlight, end-first) {
		workers.Go(func() {
			for i := range queue {
				if err := r.batch(ctx, i); err != nil {
					cancel(err)
				}
			}
		})
	}
	for i := first; i < end && ctx.Err() == nil; i++ {
		if _, settled := r.cp.Batch(i); settled != nil {
			continue
		}
		select {
		case queue <- i:
		case <-ctx.Done():
		}
	}
	close(queue)
	workers.Wait()
	return context.Cause(ctx)
}

// count adds a settled batch to the result.
func (r *runner) count(s *Settled) {
	r.result.Allocated += s.Allocated
	r.result.Existing += s.Existing
	r.result.Failed = append(r.result.Failed, s.Failed...)
	r.result.Classes = append(r.result.Classes, s.Classes...)
}

func (r *runner) settled() int {
	return r.result.Allocated + r.result.Existing + len(r.result.Failed)
}

// batch settles batch i and remembers it.
func (r *runner) batch(ctx context.Context, i int) error {
	s := &settling{runner: r, batch: i}
	if err := s.run(ctx, r.plan.Batches[i].Items); err != nil {
		return err
	}
	s.out.Failed.sort()
	if err := r.cp.Settle(i, s.out); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.count(&s.out)
	if r.o.Progress != nil {
		p := Progress{Done: r.settled(), Total: r.plan.Rows, Failed: len(r.result.Failed), Elapsed: time.Since(r.start)}
		p.Rate = float64(p.Done-r.before) / max(p.Elapsed.Seconds(), 1e-3)
		r.o.Progress(p)
	}
	return nil
}

// settling is the work on one batch.
type settling struct {
	*runner
	batch int
	out   Settled
	queue [][]Item // pieces still to submit, the next one last
}

// run settles the batch's items.
func (s *settling) run(ctx context.Context, items []Item) error {
	open, err := s.resume(ctx, items)
	if err == nil {
		open, err = s.withoutKnownClasses(ctx, open)
	}
	s.push(open)
	for err == nil && len(s.queue) > 0 {
		piece := s.queue[len(s.queue)-1]
		s.queue = s.queue[:len(s.queue)-1]
		err = s.piece(ctx, piece)
	}
	return err
}

func (s *settling) push(items []Item) {
	if len(items) > 0 {
		s.queue = append(s.queue, items)
	}
}

// resume finds out what became of the transaction an earlier run prepared, and
// returns the items that are still open.
func (s *settling) resume(ctx context.Context, items []Item) ([]Item, error) {
	p, _ := s.cp.Batch(s.batch)
	if p == nil {
		return items, nil
	}
	receipt, err := s.node.Transaction(ctx, p.ID)
	if err = outcome(receipt, err); err != nil {
		if ctx.Err() != nil {
			return nil, stopped(ctx)
		}
		receipt, err = s.deliver(ctx, p.Raw, p.ID)
	}
	switch {
	case err == nil && p.Items == len(items):
		s.allocated(items, receipt)
		return nil, nil
	case err == nil || reasonCode(err) == cityid.ErrExists || reasonCode(err) == cityid.ErrExpired || reasonCode(err) == cityid.ErrReplayed:
		return s.reconcile(ctx, items)
	case isStop(err):
		return nil, err
	}
	return items, nil
}

// withoutKnownClasses drops the classes the plan added that are allocated.
func (s *settling) withoutKnownClasses(ctx context.Context, items []Item) ([]Item, error) {
	var open []Item
	for _, item := range items {
		if item.Line == 0 {
			record, err := s.record(ctx, item.Allocation.Code)
			if err != nil {
				return nil, err
			}
			if record != nil {
				continue
			}
		}
		open = append(open, item)
	}
	return open, nil
}

// piece submits items together, and settles or splits them as the answer says.
func (s *settling) piece(ctx context.Context, items []Item) error {
	receipt, err := s.submit(ctx, items)
	switch at := named(err, items); {
	case err == nil:
		s.allocated(items, receipt)
	case isStop(err):
		return err
	case reasonCode(err) == cityid.ErrExists || reasonCode(err) == cityid.ErrReplayed:
		open, errRecords := s.reconcile(ctx, items)
		if errRecords != nil {
			return errRecords
		}
		if len(open) == len(items) {
			return fmt.Errorf("the node refuses rows as allocated but has no records of them: it lags behind; run the import again: %w", err)
		}
		s.push(open)
	case at >= 0 && reasonCode(err) == cityid.ErrQuota:
		s.push(append(items[:at:at], s.overQuota(items[at:], err)...))
	case at >= 0:
		s.fail(items[at], err)
		s.push(append(items[:at:at], items[at+1:]...))
	case !concernsItems(err):
		return err
	case len(items) == 1:
		s.fail(items[0], err)
	default:
		s.push(items[len(items)/2:])
		s.push(items[:len(items)/2])
	}
	return nil
}

// overQuota fails the first of items and all others that count towards the
// same quota, and returns the rest.
func (s *settling) overQuota(items []Item, err error) []Item {
	var rest []Item
	first := &items[0].Allocation
	for _, item := range items {
		if a := &item.Allocation; a.Kind == first.Kind && a.Code.Parent() == first.Code.Parent() && a.Parent == first.Parent {
			s.fail(item, err)
		} else {
			rest = append(rest, item)
		}
	}
	return rest
}

// reconcile settles those items that are allocated already, and returns the
// others.
func (s *settling) reconcile(ctx context.Context, items []Item) ([]Item, error) {
	var open []Item
	for _, item := range items {
		record, err := s.record(ctx, item.Allocation.Code)
		switch {
		case err != nil:
			return nil, err
		case record == nil:
			open = append(open, item)
		case item.Line == 0:
		case asAllocated(record, &item.Allocation):
			s.out.Existing++
		default:
			s.fail(item, cityid.Errorf(cityid.ErrExists, "the code is already allocated, with another content (revision %d): amend that record, or leave the row out", record.Revision))
		}
	}
	return open, nil
}

// asAllocated reports whether a record is what the allocation asks for.
func asAllocated(r *cityid.Record, a *cityid.Allocation) bool {
	status := cityid.StatusActive
	if a.Reserved {
		status = cityid.StatusReserved
	}
	have := cityid.Allocation{Code: r.Code, Kind: r.Kind, Content: r.Content, Sealed: r.Sealed, Aliases: r.Aliases}
	want := cityid.Allocation{Code: a.Code, Kind: a.Kind, Content: a.Content, Sealed: a.Sealed, Aliases: a.Aliases}
	return (r.Revision > 1 || r.Status == status) && bytes.Equal(cityid.MustMarshal(&have), cityid.MustMarshal(&want))
}

func (s *settling) allocated(items []Item, receipt *cityid.Receipt) {
	s.out.Height = max(s.out.Height, receipt.Height)
	for _, item := range items {
		if item.Line > 0 {
			s.out.Allocated++
		}
	}
}

// fail reports an item as refused.
func (s *settling) fail(item Item, err error) {
	code := item.Allocation.Code.String()
	reason := err.Error()
	var e *cityid.Error
	if errors.As(err, &e) {
		reason = fmt.Sprintf("%s (%s)", strings.TrimPrefix(e.Message, code+": "), e.Code)
	}
	problem := Problem{Line: item.Line, Column: "code", Value: code, Reason: shorten(reason, maxReason)}
	if item.Line == 0 {
		s.out.Classes = append(s.out.Classes, problem)
	} else {
		s.out.Failed = append(s.out.Failed, problem)
	}
}

// named returns the index of the item that a refusal names, or -1.
func named(err error, items []Item) int {
	var e *cityid.Error
	if !errors.As(err, &e) {
		return -1
	}
	code, _, found := strings.Cut(e.Message, ": ")
	for i := range items {
		if found && items[i].Allocation.Code.String() == code {
			return i
		}
	}
	return -1
}

// concernsItems reports whether a refusal that names no item can still be one
// item's fault.
func concernsItems(err error) bool {
	switch reasonCode(err) {
	case cityid.ErrMalformed, cityid.ErrWrongChain, cityid.ErrSignature, cityid.ErrNotPermitted, cityid.ErrExpired,
		cityid.ErrUnsupported, cityid.ErrInternal:
		return false
	}
	return true
}
