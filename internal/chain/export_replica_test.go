// SPDX-License-Identifier: Apache-2.0

package chain

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	dbm "github.com/cometbft/cometbft-db"
	abci "github.com/cometbft/cometbft/abci/types"
	cmtproto "github.com/cometbft/cometbft/proto/tendermint/types"
	cmtstore "github.com/cometbft/cometbft/store"
	"github.com/cometbft/cometbft/types"
	"github.com/prometheus/client_golang/prometheus"

	"cityid"
	"cityid/internal/registry"
	"cityid/internal/store"
)

// OpenReplica opens an engine over a file system and databases of the test's, and
// makes no block by itself: the blocks come from [Engine.Candidate] of any replica.
// The program has the given versions of the rules. The state must have been at the
// least height at least, before blocks are replayed.
func OpenReplica(g *Genesis, fs vfs.FS, blocks, states dbm.DB, program registry.Versions, least uint64) (*Engine, error) {
	e := &Engine{databases: new(databases), clock: g.Time.Std()}
	st, err := store.Open("state", store.Options{ChainID: g.Chain, FS: fs, CacheSize: 1 << 20})
	if err != nil {
		return nil, err
	}
	if st.Height() < least {
		return nil, errors.Join(fmt.Errorf("the state is at height %d and was committed at %d", st.Height(), least), st.Close())
	}
	log := slog.New(slog.DiscardHandler)
	app, err := newApplication(st, g, log, e.Now, program)
	if err != nil {
		return nil, errors.Join(err, st.Close())
	}
	e.Local = newLocal(app)
	e.maxPool, e.validator, e.version = 1000, EngineValidator().Key, "replica"
	cfg := EngineConfig{Genesis: g, Mempool: 1000, Logger: log}
	if err := e.handshake(cfg, e.databases.keep(blocks), e.databases.keep(states)); err != nil {
		return nil, errors.Join(err, e.Close())
	}
	return e, nil
}

// OnFS has a node keep its state on a file system of the test's.
func (c *Config) OnFS(fs vfs.FS) { c.fs = fs }

// SetClock sets the clock to any time.
func (e *Engine) SetClock(at time.Time) {
	e.clockMu.Lock()
	defer e.clockMu.Unlock()
	e.clock = at
}

// Head returns the height and app hash as CometBFT has them.
func (e *Engine) Head() (uint64, cityid.Digest) {
	return uint64(e.state.LastBlockHeight), cityid.Digest(e.state.AppHash)
}

// Decided is a block that its validator signed.
type Decided struct{ p *proposal }

// Block returns it.
func (d *Decided) Block() *types.Block { return d.p.block }

// Candidate makes and signs the next block without saving it: of what waits here, or
// if byzantine of the given transactions, whatever they are.
func (e *Engine) Candidate(byzantine bool, raws [][]byte) (*Decided, error) {
	height := e.state.LastBlockHeight + 1
	last, err := e.lastCommit(height)
	if err != nil {
		return nil, err
	}
	address := engineKey().PubKey().Address()
	var block *types.Block
	if byzantine {
		block, _ = e.state.MakeBlock(height, types.ToTxs(raws), last, nil, address)
	} else if block, err = e.exec.CreateProposalBlock(context.Background(), height, e.state, last.WrappedExtendedCommit(), address); err != nil {
		return nil, err
	}
	p, err := e.decide(block)
	return &Decided{p}, err
}

// Judge reports whether e would vote for a block.
func (e *Engine) Judge(d *Decided) (bool, error) { return e.exec.ProcessProposal(d.p.block, e.state) }

// Save saves a block.
func (e *Engine) Save(d *Decided) { e.blocks.SaveBlock(d.p.block, d.p.parts, d.p.seen) }

// Saved reports whether a block of the height is saved.
func (e *Engine) Saved(height uint64) bool { return e.blocks.Height() >= int64(height) }

// Finalize carries a block out.
func (e *Engine) Finalize(d *Decided) (*abci.ResponseFinalizeBlock, error) {
	r := FinalizeRequest(d.p.block)
	r.DecidedLastCommit = abci.CommitInfo{Votes: []abci.VoteInfo{{
		Validator: abci.Validator{Address: engineKey().PubKey().Address(), Power: 10}, BlockIdFlag: cmtproto.BlockIDFlagCommit,
	}}}
	return e.app.FinalizeBlock(context.Background(), r)
}

// SaveResponse saves what carrying a block out gave.
func (e *Engine) SaveResponse(d *Decided, r *abci.ResponseFinalizeBlock) error {
	return e.states.SaveFinalizeBlockResponse(d.p.block.Height, r)
}

// Response returns what carrying the latest block out gave.
func (e *Engine) Response(height uint64) (*abci.ResponseFinalizeBlock, error) {
	return e.states.LoadLastFinalizeBlockResponse(int64(height))
}

// CommitState has the application commit.
func (e *Engine) CommitState() error {
	_, err := e.app.Commit(context.Background(), nil)
	return err
}

// Apply carries a saved block out, with all that CometBFT does then.
func (e *Engine) Apply(d *Decided) error {
	state, err := e.exec.ApplyBlock(e.state, d.p.id, d.p.block)
	if err != nil {
		return errors.Join(err, e.app.failure())
	}
	e.state = state
	return nil
}

// Accuse gives a node evidence that the validator of another home folder signed two
// votes at a height, which it makes with its key.
func (n *Node) Accuse(height int64, home string) error {
	key, err := readValidatorKey(home)
	if err != nil {
		return err
	}
	set, err := n.states.LoadValidators(height)
	if err != nil {
		return err
	}
	index, _ := set.GetByAddress(key.PubKey().Address())
	meta := n.blocks.LoadBlockMeta(height)
	var votes []*types.Vote
	for _, hash := range []byte{1, 2} {
		v := &types.Vote{
			Type: cmtproto.PrecommitType, Height: height, Timestamp: meta.Header.Time, ValidatorAddress: key.PubKey().Address(), ValidatorIndex: index,
			BlockID: types.BlockID{Hash: bytes.Repeat([]byte{hash}, 32), PartSetHeader: types.PartSetHeader{Total: 1, Hash: bytes.Repeat([]byte{hash}, 32)}},
		}
		if v.Signature, err = key.Sign(types.VoteSignBytes(n.app.genesis.Chain, v.ToProto())); err != nil {
			return err
		}
		votes = append(votes, v)
	}
	e, err := types.NewDuplicateVoteEvidence(votes[0], votes[1], meta.Header.Time, set)
	if err != nil {
		return err
	}
	return n.comet.EvidencePool().AddEvidence(e)
}

// Misbehaved returns what the metrics say of a validator; -1: nothing.
func (n *Node) Misbehaved(address, owner string) float64 {
	r := prometheus.NewRegistry()
	r.MustRegister(n.Collector())
	families, err := r.Gather()
	if err != nil {
		return -1
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if l := m.GetLabel(); f.GetName() == "cityid_validator_misbehaviour_total" && l[0].GetValue() == address && l[1].GetValue() == owner {
				return m.GetCounter().GetValue()
			}
		}
	}
	return -1
}

// BlocksFrom returns the first height of which a database has the block.
func BlocksFrom(blocks dbm.DB) int64 { return cmtstore.LoadBlockStoreState(blocks).Base }
