// SPDX-License-Identifier: Apache-2.0

package chain

import (
	"context"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/cometbft/cometbft/mempool"
	sm "github.com/cometbft/cometbft/state"
	cmtstore "github.com/cometbft/cometbft/store"
	"github.com/cometbft/cometbft/types"

	"cityid"
	"cityid/internal/registry"
	"cityid/internal/store"
)

// Local answers from the state of this process: questions, bundles and
// transactions. A [Node] and an [Engine] have one each; package client answers
// the same from another node. All methods are safe for concurrent use. Their
// errors are [cityid.Error] unless the storage fails or ctx ends.
type Local struct {
	app *Application

	// Set by whoever drives the application, before the first call.
	blocks     *cmtstore.BlockStore
	states     sm.Store
	pool       mempool.Mempool
	maxPool    int
	peers      func() int
	peersFrom  func() uint64
	catchingUp func() bool
	validator  cityid.PublicKey
	version    string
	node       string // id in peers' addresses; "" of an engine
	started    time.Time

	latest atomic.Pointer[headProof] // of the latest header bundles were made with
	sets   validatorSets
	kept   kept
}

func newLocal(app *Application) *Local {
	return &Local{
		app: app, maxPool: DefaultMempool, started: time.Now(),
		peers: func() int { return 0 }, peersFrom: func() uint64 { return 0 }, catchingUp: func() bool { return false },
	}
}

// connect gives l what CometBFT keeps.
func (l *Local) connect(blocks *cmtstore.BlockStore, states sm.Store, pool mempool.Mempool) {
	l.blocks, l.states, l.pool = blocks, states, pool
	l.app.pruning.base = blocks.Base // nobody calls the application yet
	evict := func(keys []types.TxKey) {
		pool.Lock()
		defer pool.Unlock()
		for _, k := range keys {
			_ = pool.RemoveTxByKey(k) // the only error: it is gone already
		}
	}
	l.app.mu.Lock()
	defer l.app.mu.Unlock()
	l.app.evict = evict
}

// snapshot returns the latest committed version of the state, which the caller
// must close, and its head.
func (l *Local) snapshot() (*store.View, head, error) {
	for {
		h := l.app.committed()
		if h.Height == 0 {
			return nil, h, cityid.Errorf(cityid.ErrUnavailable, "the chain has no block yet")
		}
		v, err := l.app.store.Latest()
		if err != nil {
			return nil, h, errClosed()
		}
		if v.Height() == h.Height {
			return v, h, nil
		}
		v.Close()
		runtime.Gosched() // Commit is between publishing the one and the other
	}
}

func (l *Local) asOf(h head) cityid.AsOf {
	return cityid.AsOf{Chain: l.app.genesis.Chain, Height: h.Height, Time: h.time()}
}

// block is the block at whose time the state is read.
func (l *Local) block(h head) registry.Block {
	return registry.Block{Chain: l.app.genesis.Chain, Height: h.Height, Time: cityid.TimeOf(h.time()), Rules: l.app.upcomingRules().rules}
}

// Status says how the node is.
func (l *Local) Status(context.Context) (_ *cityid.NodeStatus, err error) {
	defer l.app.guardRead(&err)
	v, h, err := l.snapshot()
	if err != nil {
		return nil, err
	}
	defer v.Close()
	s := &cityid.NodeStatus{
		Version: l.version, Node: l.node, Chain: l.app.genesis.Chain, Zone: l.app.genesis.State.Records[0].Code,
		Height: h.Height, Time: h.time(), AppHash: h.AppHash, Records: uint64(v.Len()),
		Validators: registry.Validators(reader{v}), Mempool: l.pool.Size(), Peers: l.peers(),
		CatchingUp: l.catchingUp(), Started: l.started, BlocksFrom: l.blocksFrom(), HeadersFrom: l.headersFrom(), PeersFrom: l.peersFrom(),
		Rules: registry.Ruleset(reader{v}, h.Height+1), RulesKnown: l.app.versions.Numbers(),
	}
	for _, x := range s.Validators.Validators {
		if x.Key == l.validator {
			s.Validator = x.Key
		}
	}
	if s.Offenders, err = l.app.offenders(s.Validators.Validators); err != nil {
		return nil, err
	}
	trusts, err := registry.Trusts(reader{v})
	if err != nil {
		return nil, err
	}
	if n := len(trusts); n > 0 {
		s.Trust, s.TrustHash = trusts[n-1].Statement.Version, trusts[n-1].Statement.Hash()
	}
	return s, nil
}

// Trust returns all versions of the zone's trust root, oldest first.
func (l *Local) Trust(context.Context) (_ []cityid.Trust, err error) {
	defer l.app.guardRead(&err)
	v, _, err := l.snapshot()
	if err != nil {
		return nil, err
	}
	defer v.Close()
	return registry.Trusts(reader{v})
}
