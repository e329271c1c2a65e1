// SPDX-License-Identifier: Apache-2.0

package chain

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	cmtcfg "github.com/cometbft/cometbft/config"
	"github.com/cometbft/cometbft/crypto/ed25519"
	cmtstate "github.com/cometbft/cometbft/proto/tendermint/state"
	cmtversion "github.com/cometbft/cometbft/proto/tendermint/version"
	sm "github.com/cometbft/cometbft/state"
	cmtstore "github.com/cometbft/cometbft/store"
	"github.com/cometbft/cometbft/types"
	"github.com/cometbft/cometbft/version"

	"cityid"
	"cityid/header"
	"cityid/keys"
	"cityid/verify"
)

// HeaderSource gives what the network's other nodes say about their chain. Nothing
// it gives is believed. [Local] is one, and package client.
type HeaderSource interface {
	// SignedHeader returns the encoded header of a height, as package verify
	// encodes it; the error is [cityid.ErrNotFound] if there is none.
	SignedHeader(ctx context.Context, height uint64) ([]byte, error)
	// Trust returns the versions of the zone's trust root.
	Trust(ctx context.Context) ([]cityid.Trust, error)
	// Status tells the height the node is at.
	Status(ctx context.Context) (*cityid.NodeStatus, error)
}

// Fast is how a node without blocks begins with a snapshot.
type Fast struct {
	// Trust is the trust root from which everything is verified.
	Trust *cityid.Trust
	// Sources are asked one after the other, until one gives what verifies.
	Sources []HeaderSource
	// Patience is how long the node waits for a snapshot, or for the next part of
	// one, before it halts with [ErrNoSnapshot]; five minutes if zero.
	Patience time.Duration
}

// ErrNoSnapshot: no peer offers a snapshot that could be verified and fetched.
var ErrNoSnapshot = errors.New("no snapshot could be taken in: see that a peer serves one and that the trust root is older than it; or start the node without a trust root to begin with, and it takes all blocks instead")

const defaultPatience = 5 * time.Minute

// fastSync verifies headers from the trust root, for CometBFT and the application.
// It is a statesync.StateProvider. It is safe for concurrent use.
type fastSync struct {
	chain   string
	trust   *cityid.Trust
	sources []HeaderSource
	now     func() time.Time

	mu   sync.Mutex
	done map[uint64]*verified
}

// verified are the headers around a snapshot: those of its height and the two
// after it, and those that lead there.
type verified struct {
	headers [3]verify.SignedHeader
	way     []verify.SignedHeader
}

func newFastSync(g *Genesis, f *Fast, now func() time.Time) (*fastSync, error) {
	if f.Trust == nil || len(f.Sources) == 0 {
		return nil, errors.New("node configuration: to begin with a snapshot it takes a trust root and an address to ask for headers")
	}
	if c := f.Trust.Statement.Chain; c != g.Chain {
		return nil, fmt.Errorf("%w: the trust root is of chain %s, the genesis file founds %s", ErrForeignChain, c, g.Chain)
	}
	return &fastSync{chain: g.Chain, trust: f.Trust, sources: f.Sources, now: now, done: make(map[uint64]*verified)}, nil
}

// CheckFast asks the sources in turn for their latest header and reports its height
// if it follows from the trust root: then a node can begin with a snapshot through
// them, if peers serve one. The error says why none does.
func CheckFast(ctx context.Context, g *Genesis, f *Fast) (uint64, error) {
	s, err := newFastSync(g, f, time.Now)
	if err != nil {
		return 0, err
	}
	var errs []error
	for _, from := range f.Sources {
		height, err := s.latest(ctx, from)
		if err == nil {
			return height, nil
		}
		errs = append(errs, err)
	}
	return 0, errors.Join(errs...)
}

// latest returns the height of the latest header of a source, once it has a few
// blocks, after verifying it and those before it.
func (f *fastSync) latest(ctx context.Context, from HeaderSource) (uint64, error) {
	status, err := from.Status(ctx)
	if err != nil {
		return 0, err
	}
	if status.Height < 4 {
		return 0, fmt.Errorf("the chain is at height %d: there is nothing to begin with yet", status.Height)
	}
	_, err = f.ask(ctx, from, status.Height-3)
	return status.Height - 1, err
}

// latestTrust follows the versions of the trust root that a source gives, from the
// pinned one on, as far as they are signed.
func (f *fastSync) latestTrust(ctx context.Context, from HeaderSource) (*cityid.Trust, error) {
	list, err := from.Trust(ctx)
	if err != nil {
		return nil, err
	}
	at := f.trust
	for i := range list {
		if list[i].Statement.Version != at.Statement.Version+1 {
			continue
		}
		if err := at.VerifySuccessor(&list[i], keys.Verify); err != nil {
			return nil, err
		}
		at = &list[i]
	}
	return at, nil
}

// at returns the verified headers around a height.
func (f *fastSync) at(ctx context.Context, height uint64) (*verified, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if v := f.done[height]; v != nil {
		return v, nil
	}
	if height == 0 || height > 1<<62 {
		return nil, fmt.Errorf("no chain has a snapshot of height %d", height)
	}
	var errs []error
	for _, from := range f.sources {
		v, err := f.ask(ctx, from, height)
		if err == nil {
			f.done[height] = v
			return v, nil
		}
		errs = append(errs, err)
	}
	return nil, fmt.Errorf("headers of height %d and after: %w", height, errors.Join(errs...))
}

func (f *fastSync) ask(ctx context.Context, from HeaderSource, height uint64) (*verified, error) {
	load := func(height int64) (verify.SignedHeader, error) {
		raw, err := from.SignedHeader(ctx, uint64(height))
		if err != nil {
			return verify.SignedHeader{}, err
		}
		s, err := verify.DecodeSignedHeader(raw)
		if err == nil && (s.Header.Height != height || s.Header.ChainID != f.chain) {
			err = fmt.Errorf("header %d of chain %s in answer to the question for %d", s.Header.Height, s.Header.ChainID, height)
		}
		return s, err
	}
	v := new(verified)
	for i := range v.headers {
		var err error
		if v.headers[i], err = load(int64(height) + int64(i)); err != nil {
			return nil, err
		}
	}
	// The newest version of the trust root below the height leads there; one that
	// is above it is of no use, and the pinned one may be below.
	trust, err := f.latestTrust(ctx, from)
	if err != nil {
		return nil, err
	}
	if trust.Statement.Height >= height {
		trust = f.trust
	}
	if v.way, err = verify.Follow(trust, f.now(), v.headers[:], load); err != nil {
		return nil, err
	}
	for i := range v.way {
		v.way[i].Priorities = nil // of no use to anybody
	}
	return v, v.checkTurns()
}

// checkTurns compares the validators' priorities, which nothing signs, with who
// proposed the blocks that were agreed on at the first attempt. A lie in the rest
// costs this node's own votes some rounds, should it be a validator, and nobody
// else anything.
func (v *verified) checkTurns() error {
	for i := range v.headers {
		s := &v.headers[i]
		set, err := validatorSet(s)
		if err != nil {
			return err
		}
		if p := set.GetProposer(); s.Commit.Round == 0 && !bytes.Equal(p.Address, s.Header.ProposerAddress[:]) {
			return fmt.Errorf("header %d is proposed by %x, and by the priorities given with it, it was the turn of %s", s.Header.Height, s.Header.ProposerAddress, p.Address)
		}
	}
	return nil
}

// around implements trustedHeaders: the headers that lead to the blocks after a
// snapshot, and the two first of these.
func (f *fastSync) around(height uint64) (*header.Header, []verify.SignedHeader, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	v := f.done[height]
	if v == nil {
		return nil, nil, fmt.Errorf("the headers of height %d were not verified", height)
	}
	return v.headers[0].Header, slices.Concat(v.way, v.headers[:]), nil
}

// AppHash returns the app hash after a block, if the headers after it are there.
func (f *fastSync) AppHash(ctx context.Context, height uint64) ([]byte, error) {
	v, err := f.at(ctx, height)
	if err != nil {
		return nil, err
	}
	return v.headers[1].Header.AppHash[:], nil
}

// Commit returns the votes for a block.
func (f *fastSync) Commit(ctx context.Context, height uint64) (*types.Commit, error) {
	v, err := f.at(ctx, height)
	if err != nil {
		return nil, err
	}
	return cometCommit(&v.headers[0]), nil
}

// State returns what CometBFT goes on from after a block.
func (f *fastSync) State(ctx context.Context, height uint64) (sm.State, error) {
	v, err := f.at(ctx, height)
	if err != nil {
		return sm.State{}, err
	}
	last, current, next := v.headers[0], v.headers[1], v.headers[2]
	s := sm.State{
		ChainID: f.chain, InitialHeight: 1,
		Version: cmtstate.Version{
			Consensus: cmtversion.Consensus{Block: current.Header.Version.Block, App: current.Header.Version.App},
			Software:  version.TMCoreSemVer,
		},
		LastBlockHeight: last.Header.Height, LastBlockTime: last.Header.Time, LastBlockID: cometCommit(&last).BlockID,
		AppHash: current.Header.AppHash[:], LastResultsHash: current.Header.LastResultsHash[:],
		LastHeightValidatorsChanged: next.Header.Height,
		ConsensusParams:             *consensusParams(), LastHeightConsensusParamsChanged: current.Header.Height,
	}
	s.ConsensusParams.Version.App = current.Header.Version.App
	if got := s.ConsensusParams.Hash(); !bytes.Equal(got, current.Header.ConsensusHash[:]) {
		return sm.State{}, fmt.Errorf("header %d names consensus parameters %s, and those of this version of the program are %X", current.Header.Height, current.Header.ConsensusHash, got)
	}
	for _, x := range []struct {
		of *verify.SignedHeader
		to **types.ValidatorSet
	}{{&last, &s.LastValidators}, {&current, &s.Validators}, {&next, &s.NextValidators}} {
		if *x.to, err = validatorSet(x.of); err != nil {
			return sm.State{}, err
		}
	}
	return s, nil
}

// validatorSet returns the validators of a header in CometBFT's form.
func validatorSet(s *verify.SignedHeader) (*types.ValidatorSet, error) {
	if len(s.Priorities) != len(s.Validators) {
		return nil, fmt.Errorf("header %d comes without the validators' priorities", s.Header.Height)
	}
	// No honest priority is beyond twice the total power, CometBFT's window.
	bound := 2 * s.Validators.Total()
	list := make([]*types.Validator, len(s.Validators))
	for i, v := range s.Validators {
		if p := s.Priorities[i]; p < -bound || p > bound {
			return nil, fmt.Errorf("header %d comes with a priority of %d, beyond %d", s.Header.Height, p, bound)
		}
		key := ed25519.PubKey(bytes.Clone(v.PublicKey[:]))
		list[i] = &types.Validator{Address: key.Address(), PubKey: key, VotingPower: v.Power, ProposerPriority: s.Priorities[i]}
	}
	return types.ValidatorSetFromExistingValidators(list)
}

// cometCommit returns the votes for a header in CometBFT's form.
func cometCommit(s *verify.SignedHeader) *types.Commit {
	hash := s.Header.Hash()
	c := &types.Commit{
		Height: s.Header.Height, Round: s.Commit.Round,
		BlockID: types.BlockID{
			Hash:          hash[:],
			PartSetHeader: types.PartSetHeader{Total: s.Commit.PartsTotal, Hash: bytes.Clone(s.Commit.PartsHash[:])},
		},
		Signatures: make([]types.CommitSig, len(s.Validators)),
	}
	for i := range c.Signatures {
		c.Signatures[i] = types.NewCommitSigAbsent()
	}
	votes := header.Minimal(s.Validators, s.Commit.Votes) // which were verified, as others were not
	for i := range votes {
		v := &votes[i]
		address := s.Validators[v.Index].Address()
		c.Signatures[v.Index] = types.CommitSig{
			BlockIDFlag: types.BlockIDFlagCommit, ValidatorAddress: bytes.Clone(address[:]), Timestamp: v.Time, Signature: bytes.Clone(v.Signature[:]),
		}
	}
	return c
}

// prepareFast looks at what CometBFT has, before it does, and reports whether it
// is to begin with a snapshot. CometBFT does not survive a stop between taking in
// a snapshot and its first block; this sees to it that it does.
func (n *Node) prepareFast(cfg *cmtcfg.Config) (bool, error) {
	blocks, states, err := n.stores(cfg)
	if err != nil {
		return false, err
	}
	state, err := states.Load()
	if err != nil {
		return false, fmt.Errorf("read CometBFT's state: %w", err)
	}
	if blocks.Height() > 0 {
		if have := int64(n.app.committed().Height); have < blocks.Base()-1 {
			return false, fmt.Errorf("%w: the state is that after block %d, and the blocks here begin with %d, so it can not be made from them: restore the node from a backup; or empty the folders blocks and state, keep the other files, and start it with fast_from, or with peers that keep all blocks", ErrBlocksGone, have, blocks.Base())
		}
		return false, nil
	}
	if state.LastBlockHeight == 0 {
		return n.cfg.Fast != nil, nil
	}
	if int64(n.app.committed().Height) == state.LastBlockHeight && blocks.LoadSeenCommit(state.LastBlockHeight) != nil {
		return false, states.SetOfflineStateSyncHeight(state.LastBlockHeight)
	}
	if n.cfg.Fast == nil {
		return false, errors.New("the node stopped while it began with a snapshot: start it with the trust root again, or empty the folders blocks and state in its home, and it takes all blocks")
	}
	n.cfg.Logger.Warn("the node stopped while it began with a snapshot, and begins again")
	if err := n.databases.closeAll(); err != nil {
		return false, err
	}
	for _, db := range []string{"blockstore.db", "state.db"} {
		if err := os.RemoveAll(filepath.Join(n.cfg.Home, blocksDir, db)); err != nil {
			return false, err
		}
	}
	return true, nil
}

// stores opens CometBFT's databases.
func (n *Node) stores(cfg *cmtcfg.Config) (*cmtstore.BlockStore, sm.Store, error) {
	blocks, err := n.databases.provide(&cmtcfg.DBContext{ID: "blockstore", Config: cfg})
	if err != nil {
		return nil, nil, err
	}
	states, err := n.databases.provide(&cmtcfg.DBContext{ID: "state", Config: cfg})
	if err != nil {
		return nil, nil, err
	}
	return cmtstore.NewBlockStore(blocks), sm.NewStore(states, sm.StoreOptions{DiscardABCIResponses: true}), nil
}

// watchFast halts a node that waits for a snapshot in vain.
func (n *Node) watchFast() {
	patience := n.cfg.Fast.Patience
	tick := time.NewTicker(patience / 20)
	defer tick.Stop()
	for start := time.Now(); ; {
		select {
		case <-n.stopping:
			return
		case <-tick.C:
		}
		if n.app.committed().Height > 0 {
			return
		}
		if at := n.app.restoredAt.Load(); at > 0 {
			start = time.Unix(0, at)
		}
		if time.Since(start) > patience {
			n.app.fail(ErrNoSnapshot)
			return
		}
	}
}
