// SPDX-License-Identifier: Apache-2.0

package chain

import (
	"bytes"
	"errors"
	"fmt"
	"slices"

	"cityid"
	"cityid/internal/store"
)

// Receipts of applied transactions are kept for good. Those of refused ones are
// kept for this long in block time, in seconds, which is more than a day beyond
// the longest life of a transaction; then the refusal stands in its block alone.
const refusedKept = 2 * 24 * 3600

// maxForgotten bounds the blocks whose refusals are forgotten at a time.
const maxForgotten = 1000

// storedReceipt is a receipt as it stands beside the tree.
type storedReceipt struct {
	Height    uint64           `cbor:"1,keyasint"`
	Time      cityid.Time      `cbor:"2,keyasint"`
	Code      cityid.ErrorCode `cbor:"3,keyasint,omitempty"`
	Operation int              `cbor:"4,keyasint"`
	Message   string           `cbor:"5,keyasint,omitempty"`
	Proposals []uint64         `cbor:"6,keyasint,omitempty"`
}

func storedReceiptOf(r *cityid.Receipt) *storedReceipt {
	return &storedReceipt{r.Height, r.Time, r.Code, r.Operation, r.Message, r.Proposals}
}

// receipt returns the stored receipt of a transaction, or nil.
func (a *Application) receipt(id cityid.Digest) (*cityid.Receipt, error) {
	raw, err := a.store.GetSide(receiptKey(id))
	if errors.Is(err, store.ErrClosed) {
		return nil, errClosed()
	}
	if err != nil {
		return nil, fmt.Errorf("read the receipt of %s: %w", id, err)
	}
	if raw == nil {
		return nil, nil
	}
	var s storedReceipt
	if err := cityid.UnmarshalTrusted(raw, &s); err != nil {
		return nil, fmt.Errorf("read the receipt of %s: %w", id, err)
	}
	return &cityid.Receipt{
		ID: id, Height: s.Height, Time: s.Time, Code: s.Code, Operation: s.Operation, Message: s.Message,
		Proposals: s.Proposals, Provable: s.Height <= a.track.provableHeight(),
	}, nil
}

// keepReceipts stages the receipts of a block, and forgets old refusals. A
// transaction that was applied and stands in a block once more, after it has
// expired, keeps its receipt.
func (a *Application) keepReceipts(s *staged) error {
	now := cityid.TimeOf(s.time)
	if err := a.forgetRefused(s, now-refusedKept); err != nil {
		return err
	}
	var refused []byte
	for i := range s.receipts {
		r := &s.receipts[i]
		if r.Code == cityid.ErrExpired {
			if old, err := a.receipt(r.ID); err != nil {
				return err
			} else if old != nil && old.Code == cityid.OK {
				continue
			}
		}
		if err := s.batch.SetSide(receiptKey(r.ID), cityid.MustMarshal(storedReceiptOf(r))); err != nil {
			return err
		}
		if r.Code != cityid.OK {
			refused = append(refused, r.ID[:]...)
		}
	}
	if len(refused) == 0 {
		return nil
	}
	return s.batch.SetSide(refusedKey(now, s.height), refused)
}

// forgetRefused stages the end of receipts of refusals before a time, unless
// another block carried the transaction since.
func (a *Application) forgetRefused(s *staged, before cityid.Time) error {
	var keys, lists [][]byte
	err := a.store.ScanSide(refusedKey(0, 0), refusedKey(max(before, 0), 0), func(key, value []byte) bool {
		keys, lists = append(keys, bytes.Clone(key)), append(lists, bytes.Clone(value))
		return len(keys) < maxForgotten
	})
	if err != nil {
		return err
	}
	for i, list := range lists {
		for id := range slices.Chunk(list, len(cityid.Digest{})) {
			r, err := a.receipt(cityid.Digest(id))
			if err != nil {
				return err
			}
			if r == nil || r.Code == cityid.OK || r.Time >= before {
				continue
			}
			if err := s.batch.DeleteSide(receiptKey(r.ID)); err != nil {
				return err
			}
		}
		if err := s.batch.DeleteSide(keys[i]); err != nil {
			return err
		}
	}
	return nil
}
