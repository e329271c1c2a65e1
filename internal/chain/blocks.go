// SPDX-License-Identifier: Apache-2.0

package chain

import (
	"context"
	"fmt"
	"sync"

	"github.com/cometbft/cometbft/types"

	"cityid"
)

const (
	maxBlocks = 100
	// maxSkipped is how many blocks without transactions are passed over for
	// one page.
	maxSkipped = 20_000
	// maxValidatorSets is how many validator sets are kept for naming proposers.
	maxValidatorSets = 16
)

// validatorSets remembers validator sets by their hash: CometBFT's store makes
// each height's anew, step by step from where it last kept one. It is safe for
// concurrent use.
type validatorSets struct {
	mu   sync.Mutex
	sets map[cityid.Digest]*types.ValidatorSet // which nobody changes
}

// at returns the validators of a header's block, nil if they are not known.
func (s *validatorSets) at(l *Local, h *types.Header) *types.ValidatorSet {
	hash, err := digestOf(h.ValidatorsHash)
	if err != nil {
		return nil
	}
	s.mu.Lock()
	set := s.sets[hash]
	s.mu.Unlock()
	if set != nil {
		return set
	}
	if set, err = l.states.LoadValidators(h.Height); err != nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.sets == nil || len(s.sets) >= maxValidatorSets {
		s.sets = make(map[cityid.Digest]*types.ValidatorSet)
	}
	s.sets[hash] = set
	return set
}

// Blocks returns a page of the chain's blocks without their transactions, latest
// first, as far back as headers are kept. A page of busy blocks may hold fewer than asked for and still name a
// next one, when many had to be passed over.
func (l *Local) Blocks(ctx context.Context, q cityid.BlockQuery) (_ *cityid.BlockPage, err error) {
	defer l.app.guardRead(&err)
	if q.Limit < 1 || q.Limit > maxBlocks {
		return nil, cityid.Errorf(cityid.ErrInvalid, "limit %d: want 1 to %d", q.Limit, maxBlocks)
	}
	v, h, err := l.snapshot() // held, for the block store closes after it
	if err != nil {
		return nil, err
	}
	defer v.Close()
	next, first := h.Height+1, l.headersFrom()
	if q.Before != 0 {
		next = min(next, q.Before)
	}
	if q.Busy {
		// The block log ends with the last block that has transactions.
		next = min(next, v.LogSize()+1)
	}
	page := &cityid.BlockPage{Blocks: []cityid.Block{}}
	for skipped := 0; next > first; {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if len(page.Blocks) == q.Limit || skipped == maxSkipped {
			page.Next = next
			return page, nil
		}
		next--
		meta := l.blocks.LoadBlockMeta(int64(next))
		if meta == nil {
			return page, nil
		}
		if q.Busy && meta.NumTxs == 0 {
			skipped++
			continue
		}
		b, err := l.summary(meta)
		if err != nil {
			return nil, err
		}
		page.Blocks = append(page.Blocks, *b)
	}
	return page, nil
}

// summary describes a block without its transactions.
func (l *Local) summary(meta *types.BlockMeta) (*cityid.Block, error) {
	h := &meta.Header
	b := &cityid.Block{
		Height: uint64(h.Height), Time: h.Time.UTC(), Size: meta.BlockSize, Transactions: meta.NumTxs,
		Pruned: h.Height < l.blocks.Base(),
	}
	var err error
	if b.Hash, err = digestOf(meta.BlockID.Hash); err != nil {
		return nil, fmt.Errorf("block %d: %w", h.Height, err)
	}
	if b.AppHash, err = digestOf(h.AppHash); err != nil {
		return nil, fmt.Errorf("block %d: app hash: %w", h.Height, err)
	}
	if set := l.sets.at(l, h); set != nil {
		b.Validators = len(set.Validators)
		for _, v := range set.Validators {
			if string(v.Address) == string(h.ProposerAddress) {
				b.Proposer = publicKey(v.PubKey.Bytes())
			}
		}
	}
	if c := l.blocks.LoadBlockCommit(h.Height); c != nil {
		for _, s := range c.Signatures {
			if s.BlockIDFlag == types.BlockIDFlagCommit {
				b.Signed++
			}
		}
	}
	return b, nil
}

// loadBlock returns a committed block. The caller holds a version of the state.
func (l *Local) loadBlock(h head, height uint64) (*types.BlockMeta, *types.Block, error) {
	if height == 0 || height > h.Height {
		return nil, nil, cityid.Errorf(cityid.ErrNotFound, "there is no block %d; the latest is %d", height, h.Height)
	}
	meta := l.blocks.LoadBlockMeta(int64(height))
	block := l.blocks.LoadBlock(int64(height))
	if meta == nil || block == nil {
		return nil, nil, l.notKept(height)
	}
	return meta, block, nil
}

// Block returns a block with its transactions, and the codes whose records it
// wrote if they are remembered. The error is [cityid.ErrNotFound] for a height
// that has no block yet, or whose block is not kept.
func (l *Local) Block(ctx context.Context, height uint64) (_ *cityid.Block, err error) {
	defer l.app.guardRead(&err)
	v, h, err := l.snapshot()
	if err != nil {
		return nil, err
	}
	defer v.Close()
	meta, block, err := l.loadBlock(h, height)
	if err != nil {
		return nil, err
	}
	b, err := l.summary(meta)
	if err != nil {
		return nil, err
	}
	b.Changed = l.app.feed.of(height)
	for _, raw := range block.Txs {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		t, err := l.blockTx(height, cityid.TimeOf(block.Time), raw)
		if err != nil {
			return nil, err
		}
		b.Txs = append(b.Txs, *t)
	}
	return b, nil
}

// blockTx says what became of a transaction in a block.
func (l *Local) blockTx(height uint64, at cityid.Time, raw []byte) (*cityid.BlockTx, error) {
	d := l.app.decodeOne(nil, raw)
	r := cityid.Receipt{
		ID: d.id, Height: height, Time: at, Operation: -1,
		Provable: height <= l.app.track.provableHeight(),
	}
	if d.err != nil {
		r.Code, r.Message = cityid.CodeOf(d.err), messageOf(d.err)
		return &cityid.BlockTx{Receipt: r}, nil
	}
	kept, err := l.app.receipt(d.id)
	if err != nil {
		return nil, err
	}
	switch {
	case kept != nil && kept.Height == height:
		r = *kept
	case kept != nil && kept.Code == cityid.OK && kept.Height < height && d.body.Expires > at:
		r.Code, r.Message = cityid.ErrReplayed, fmt.Sprintf("transaction %s is already recorded", d.id)
	default:
		// Receipts of what was applied are kept for good.
		r.Code, r.Message = cityid.ErrUnavailable, "the block refused it; the node no longer knows why"
	}
	return &cityid.BlockTx{Receipt: r, Body: d.body}, nil
}

// FindTransaction returns a transaction that stands in a block, with its
// receipt. The error is [cityid.ErrNotFound] for one that is unknown here, known
// no longer, or still waits for a block, and for one whose block is not kept.
func (l *Local) FindTransaction(_ context.Context, id cityid.Digest) (_ *cityid.TransactionAnswer, err error) {
	defer l.app.guardRead(&err)
	v, h, err := l.snapshot()
	if err != nil {
		return nil, err
	}
	defer v.Close()
	r, err := l.app.receipt(id)
	if err != nil {
		return nil, err
	}
	if r == nil {
		if l.app.track.waits(id) {
			return nil, cityid.Errorf(cityid.ErrNotFound, "transaction %s still waits for a block", id)
		}
		return nil, cityid.Errorf(cityid.ErrNotFound, "transaction %s is not known here", id)
	}
	_, block, err := l.loadBlock(h, r.Height)
	if cityid.CodeOf(err) == cityid.ErrNotFound {
		return nil, cityid.Errorf(cityid.ErrNotFound, "transaction %s is in block %d, which is not kept here with what is in it: this node keeps blocks from height %d on; its receipt is kept, and a node that keeps all blocks has the rest", id, r.Height, l.blocksFrom())
	}
	if err != nil {
		return nil, err
	}
	for _, raw := range block.Txs {
		var tx cityid.Tx
		if cityid.UnmarshalTrusted(raw, &tx) != nil || tx.ID() != id {
			continue
		}
		if _, body, err := cityid.DecodeTx(raw); err == nil {
			return &cityid.TransactionAnswer{Receipt: *r, Body: body, Raw: cityid.Bytes(raw)}, nil
		}
	}
	return nil, cityid.Errorf(cityid.ErrInternal, "block %d does not hold transaction %s, though its receipt says so", r.Height, id)
}
