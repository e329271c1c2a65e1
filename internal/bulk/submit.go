// SPDX-License-Identifier: Apache-2.0

package bulk

import (
	"context"
	"errors"
	"fmt"
	"time"

	"cityid"
)

// stopError ends the run and says nothing about the rows under way, which are
// left for another run.
type stopError struct{ err error }

func (e *stopError) Error() string { return e.err.Error() }
func (e *stopError) Unwrap() error { return e.err }

func stop(format string, args ...any) error { return &stopError{fmt.Errorf(format, args...)} }

// stopped returns why a run whose context is done ends.
func stopped(ctx context.Context) error { return &stopError{context.Cause(ctx)} }

// outOfPatience is the end of the tries at a node.
func outOfPatience(err error) error {
	return stop("the node can not be reached, or takes nothing now; run the import again to go on: %w", err)
}

func isStop(err error) bool {
	var e *stopError
	return errors.As(err, &e)
}

// outcome returns the refusal that an answer to a submission tells of, or nil
// if a block holds the transaction.
func outcome(receipt *cityid.Receipt, err error) error {
	switch {
	case err != nil:
		return err
	case receipt == nil:
		return cityid.Errorf(cityid.ErrUnavailable, "the node gave no receipt")
	case receipt.Code != cityid.OK:
		return receipt.Err()
	case receipt.Height == 0:
		return cityid.Errorf(cityid.ErrUnavailable, "no block holds the transaction yet")
	}
	return nil
}

// reasonCode returns the error code of a refusal; for what is no refusal but a
// failure on the way, [cityid.ErrUnavailable].
func reasonCode(err error) cityid.ErrorCode {
	var code cityid.ErrorCode
	if err != nil && !errors.As(err, &code) {
		return cityid.ErrUnavailable
	}
	return code
}

// worthRetrying reports whether the same bytes may be taken a little later.
func worthRetrying(err error) bool {
	switch reasonCode(err) {
	case cityid.ErrFull, cityid.ErrRetry, cityid.ErrUnavailable, cityid.ErrReplayed:
		return true
	}
	return false
}

// submit signs, remembers and delivers a transaction that allocates items. One
// that expires on the way is replaced by a new one, twice at most.
func (s *settling) submit(ctx context.Context, items []Item) (*cityid.Receipt, error) {
	batch := &cityid.Allocate{Items: make([]cityid.Allocation, len(items))}
	for i := range items {
		batch.Items[i] = items[i].Allocation
	}
	for again := 0; ; again++ {
		tx, err := s.sign([]cityid.Operation{{Allocate: batch}})
		if err != nil {
			return nil, stop("sign a batch: %w", err)
		}
		raw, id := cityid.MustMarshal(tx), tx.ID()
		if err := s.cp.Prepare(s.batch, Prepared{ID: id, Items: len(items), Raw: raw}); err != nil {
			return nil, stop("%w", err)
		}
		receipt, err := s.deliver(ctx, raw, id)
		if err == nil || reasonCode(err) != cityid.ErrExpired || again == 2 {
			return receipt, err
		}
	}
}

// deliver submits a transaction until a block holds it or it is refused. Before
// each further try it asks whether the last one got through after all.
func (s *settling) deliver(ctx context.Context, raw []byte, id cityid.Digest) (*cityid.Receipt, error) {
	pause := s.o.Backoff
	for try := 1; ; try++ {
		receipt, err := s.node.Submit(ctx, raw, true)
		if err = outcome(receipt, err); err == nil {
			return receipt, nil
		}
		if ctx.Err() != nil {
			return nil, stopped(ctx)
		}
		if !worthRetrying(err) {
			return nil, err
		}
		if reasonCode(err) != cityid.ErrReplayed || try > 1 {
			if errWait := sleep(ctx, pause); errWait != nil {
				return nil, errWait
			}
			pause = min(2*pause, 10*time.Second)
		}
		found, errFound := s.node.Transaction(ctx, id)
		if outcome(found, errFound) == nil {
			return found, nil
		}
		if try >= s.o.Attempts {
			if reasonCode(err) == cityid.ErrReplayed {
				return nil, err
			}
			return nil, outOfPatience(err)
		}
	}
}

// record returns the record of a code, nil if it is not allocated, with the
// patience of deliver.
func (s *settling) record(ctx context.Context, code cityid.Code) (*cityid.Record, error) {
	pause := s.o.Backoff
	for try := 1; ; try++ {
		answer, err := s.node.Record(ctx, code)
		switch {
		case err == nil && answer != nil:
			return &answer.Record, nil
		case err == nil || reasonCode(err) == cityid.ErrNotFound:
			return nil, nil
		case ctx.Err() != nil:
			return nil, stopped(ctx)
		case !worthRetrying(err):
			return nil, fmt.Errorf("read the record of %s: %w", code, err)
		case try >= s.o.Attempts:
			return nil, outOfPatience(err)
		}
		if err := sleep(ctx, pause); err != nil {
			return nil, err
		}
		pause = min(2*pause, 10*time.Second)
	}
}

// sleep waits, or returns why the run ends.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return stopped(ctx)
	}
}
