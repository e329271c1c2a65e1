// SPDX-License-Identifier: Apache-2.0

package chain

import (
	"context"
	"sync"
	"time"

	abci "github.com/cometbft/cometbft/abci/types"
	cmtproto "github.com/cometbft/cometbft/proto/tendermint/types"
	"github.com/cometbft/cometbft/types"
)

// OnClock has a node go by a clock of the test's: its admission, and the times of its
// votes, from which the times of blocks come. CometBFT votes for a block at a time after
// that block's whatever its clock says, and so it does here.
func (c *Config) OnClock(clock func() time.Time) {
	k := &skewed{clock: clock}
	c.clock = clock
	c.between = func(a abci.Application) abci.Application {
		k.Application = a
		return k
	}
	c.votes = func(v types.PrivValidator) types.PrivValidator { return &skewedVotes{v, k} }
}

// skewed notes the times of the blocks that are proposed.
type skewed struct {
	abci.Application
	clock func() time.Time

	mu       sync.Mutex
	proposed time.Time
}

func (k *skewed) ProcessProposal(ctx context.Context, req *abci.RequestProcessProposal) (*abci.ResponseProcessProposal, error) {
	k.mu.Lock()
	k.proposed = req.Time
	k.mu.Unlock()
	return k.Application.ProcessProposal(ctx, req)
}

// skewedVotes signs votes with the time of another clock.
type skewedVotes struct {
	types.PrivValidator
	k *skewed
}

func (v *skewedVotes) SignVote(chainID string, vote *cmtproto.Vote) error {
	v.k.mu.Lock()
	least := v.k.proposed.Add(time.Millisecond)
	v.k.mu.Unlock()
	if vote.Timestamp = v.k.clock().Round(0).UTC(); vote.Timestamp.Before(least) && len(vote.BlockID.Hash) > 0 {
		vote.Timestamp = least
	}
	return v.PrivValidator.SignVote(chainID, vote)
}

// OnVotes has a node say what votes its validator key has signed.
func (c *Config) OnVotes(signed func(*cmtproto.Vote)) {
	c.votes = func(v types.PrivValidator) types.PrivValidator { return &heardVotes{v, signed} }
}

type heardVotes struct {
	types.PrivValidator
	signed func(*cmtproto.Vote)
}

func (v *heardVotes) SignVote(chainID string, vote *cmtproto.Vote) error {
	if err := v.PrivValidator.SignVote(chainID, vote); err != nil {
		return err
	}
	v.signed(vote)
	return nil
}
