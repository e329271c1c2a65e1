// SPDX-License-Identifier: Apache-2.0

package chain

import (
	"context"
	"errors"
	"fmt"

	abci "github.com/cometbft/cometbft/abci/types"
	"github.com/cometbft/cometbft/mempool"
	"github.com/cometbft/cometbft/types"

	"cityid"
)

// Transaction returns the receipt of a transaction. One that still waits for a
// block has the height 0; of one unknown here, or known no longer, the error is
// [cityid.ErrNotFound].
func (l *Local) Transaction(_ context.Context, id cityid.Digest) (*cityid.Receipt, error) {
	waits := l.app.track.waits(id)
	r, err := l.app.receipt(id)
	if err != nil || r != nil && (r.Code == cityid.OK || !waits) {
		return r, err
	}
	if waits {
		return &cityid.Receipt{ID: id}, nil
	}
	return nil, cityid.Errorf(cityid.ErrNotFound, "transaction %s is not known here", id)
}

// Submit brings an encoded transaction into the mempool, after checking it in
// the caller's goroutine. With wait it returns once a signed header commits to
// the transaction's effect, or a block has refused it, or ctx ends; without, at
// once, with a receipt of height 0.
//
// A transaction that is recorded or waits already is joined, not repeated, so
// submitting again after a lost answer is safe. One that was refused in a block
// is tried again, if it would be applied now.
//
// The error is a [cityid.Error] when the transaction is not taken:
// [cityid.ErrFull] when too many wait, or too many have come whose signers may
// do nothing; [cityid.ErrUnavailable] when the node is stopping or has no block
// yet, and otherwise what is wrong with it. What a block refuses is no error of
// Submit: see [cityid.Receipt.Err].
func (l *Local) Submit(ctx context.Context, raw []byte, wait bool) (_ *cityid.Receipt, err error) {
	defer l.app.guardRead(&err)
	tx, body, err := cityid.DecodeTx(raw)
	if err != nil {
		return nil, err
	}
	id := tx.ID()
	// Waiting begins before looking, so that no block is missed in between.
	w := l.app.track.wait(id, body.Expires)
	defer l.app.track.forget(id, w)
	r, err := l.app.receipt(id)
	if err != nil {
		return nil, err
	}
	switch {
	case r != nil && r.Code == cityid.OK:
		l.app.track.found(id, w, r)
	case l.app.track.waits(id):
		r = &cityid.Receipt{ID: id}
	default:
		if err := l.app.admit(tx, body, r); err != nil {
			return nil, err
		}
		r = &cityid.Receipt{ID: id}
		if err := l.enqueue(raw, pooled{id: id, expires: body.Expires, tx: tx, body: body, size: len(raw)}); err != nil {
			return nil, err
		}
	}
	if !wait {
		return r, nil
	}
	select {
	case <-w.done:
		if w.err != nil {
			return nil, w.err
		}
		return &w.receipt, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("transaction %s still waits; ask for it later: %w", id, context.Cause(ctx))
	}
}

// enqueue puts a checked transaction into the mempool.
func (l *Local) enqueue(raw []byte, p pooled) error {
	if l.pool.Size() >= l.maxPool {
		return errFull(l.maxPool)
	}
	key := types.Tx(raw).Key()
	l.app.track.admit(key, p)
	defer l.app.track.release(key)
	var refused error
	err := l.pool.CheckTx(raw, func(r *abci.ResponseCheckTx) {
		if r.Code != abci.CodeTypeOK {
			refused = cityid.Errorf(cityid.ErrorCode(r.Code), "%s", r.Log)
		}
	}, mempool.TxInfo{})
	var full mempool.ErrMempoolIsFull
	var large mempool.ErrTxTooLarge
	switch {
	case errors.As(err, &full):
		return errFull(l.maxPool)
	case errors.As(err, &large):
		return cityid.Errorf(cityid.ErrTooLarge, "transaction of %d octets: at most %d", large.Actual, large.Max)
	case errors.Is(err, mempool.ErrTxInCache):
		return nil // it came in by another way meanwhile
	case err != nil:
		return cityid.Errorf(cityid.ErrUnavailable, "the mempool does not take the transaction: %v", err)
	case cityid.CodeOf(refused) == cityid.ErrReplayed:
		return nil // likewise
	}
	return refused
}

func errFull(n int) error {
	return cityid.Errorf(cityid.ErrFull, "%d transactions wait already; submit again in a few seconds", n)
}
