// SPDX-License-Identifier: Apache-2.0

package chain

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	dbm "github.com/cometbft/cometbft-db"
	"github.com/cometbft/cometbft/consensus"
	"github.com/cometbft/cometbft/crypto/ed25519"
	"github.com/cometbft/cometbft/mempool"
	cmtproto "github.com/cometbft/cometbft/proto/tendermint/types"
	"github.com/cometbft/cometbft/proxy"
	sm "github.com/cometbft/cometbft/state"
	cmtstore "github.com/cometbft/cometbft/store"
	"github.com/cometbft/cometbft/types"

	"cityid"
	"cityid/internal/registry"
	"cityid/internal/store"
)

// engineKey signs the blocks of every Engine. Everybody knows it.
func engineKey() ed25519.PrivKey {
	return ed25519.GenPrivKeyFromSecret([]byte("cityid engine: not a secret"))
}

// EngineValidator returns the validator an [Engine]'s genesis must name, alone.
func EngineValidator() cityid.Validator {
	return cityid.Validator{Key: publicKey(engineKey().PubKey().Bytes()), Power: 10}
}

// EngineConfig is how an [Engine] runs.
type EngineConfig struct {
	// Genesis names EngineValidator as its only validator.
	Genesis *Genesis
	// Dir is where everything is kept, to be opened again; in memory if empty.
	Dir string
	// Mempool is as in Config.
	Mempool int
	// Rules is as in Config.
	Rules registry.Versions
	// Logger is as in Config.
	Logger *slog.Logger
}

// Engine is a chain without consensus: the [Application] of a [Node], driven
// with CometBFT's own block, header and commit types by one validator whose key
// everybody knows. Blocks are made when asked for, at the time of a clock that
// moves when told to. Its bundles verify like those of any chain.
//
// All methods are safe for concurrent use; blocks are made one after the other.
type Engine struct {
	*Local
	databases *databases
	conns     proxy.AppConns // nil before they are started
	exec      *sm.BlockExecutor

	clockMu sync.Mutex
	clock   time.Time

	mu    sync.Mutex // held while a block is made
	state sm.State
}

// NewEngine opens an Engine, whose clock stands at the time of its last block or
// of its genesis. A new chain has block 1 at once, without transactions.
func NewEngine(cfg EngineConfig) (e *Engine, err error) {
	if cfg.Mempool == 0 {
		cfg.Mempool = DefaultMempool
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if v := cfg.Genesis.State.Validators; len(v) != 1 || v[0].Key != EngineValidator().Key {
		return nil, errors.New("engine: the genesis must name EngineValidator as its only validator")
	}
	e = &Engine{databases: new(databases), clock: cfg.Genesis.Time.Std()}
	opts := store.Options{ChainID: cfg.Genesis.Chain, Logger: cfg.Logger}
	if cfg.Dir == "" {
		opts.FS = vfs.NewMem()
	}
	st, err := store.Open(filepath.Join(cfg.Dir, stateDir), opts)
	if err != nil {
		return nil, fmt.Errorf("engine: %w", err)
	}
	app, err := newApplication(st, cfg.Genesis, cfg.Logger, e.Now, cfg.Rules)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("engine: %w", err), st.Close())
	}
	e.Local = newLocal(app)
	e.maxPool, e.validator, e.version = cfg.Mempool, EngineValidator().Key, "engine"
	defer func() {
		if err != nil {
			err = errors.Join(err, e.Close())
		}
	}()
	if err := e.open(cfg); err != nil {
		return e, fmt.Errorf("engine: %w", err)
	}
	if e.state.LastBlockHeight == 0 {
		return e, e.MakeBlock()
	}
	return e, nil
}

// open opens CometBFT's databases and connects the application with them.
func (e *Engine) open(cfg EngineConfig) error {
	blockDB, err := e.database(cfg.Dir, "blockstore")
	if err != nil {
		return err
	}
	stateDB, err := e.database(cfg.Dir, "state")
	if err != nil {
		return err
	}
	return e.handshake(cfg, blockDB, stateDB)
}

// handshake connects the application with CometBFT's stores, replaying what it
// lacks.
func (e *Engine) handshake(cfg EngineConfig, blockDB, stateDB dbm.DB) error {
	doc, err := cfg.Genesis.doc()
	if err != nil {
		return err
	}
	blocks := cmtstore.NewBlockStore(blockDB)
	states := sm.NewStore(stateDB, sm.StoreOptions{DiscardABCIResponses: true})
	state, err := states.LoadFromDBOrGenesisDoc(doc)
	if err != nil {
		return err
	}
	log := cometLogger{log: cfg.Logger, ended: e.app.outdated}
	conns := proxy.NewAppConns(proxy.NewConnSyncLocalClientCreator(e.app), proxy.NopMetrics())
	conns.SetLogger(log)
	if err := conns.Start(); err != nil {
		return err
	}
	e.conns = conns
	shake := consensus.NewHandshaker(states, state, blocks, doc)
	shake.SetLogger(log)
	if err := shake.Handshake(conns); err != nil {
		return errors.Join(err, e.app.failure())
	}
	if e.state, err = states.Load(); err != nil {
		return err
	}
	if e.state.LastBlockTime.After(e.clock) {
		e.clock = e.state.LastBlockTime
	}
	mp := Config{Home: cfg.Dir, Mempool: cfg.Mempool}.comet().Mempool
	pool := mempool.NewCListMempool(mp, conns.Mempool(), e.state.LastBlockHeight)
	e.exec = sm.NewBlockExecutor(states, log, conns.Consensus(), pool, sm.EmptyEvidencePool{}, blocks)
	e.connect(blocks, states, pool)
	return nil
}

func (e *Engine) database(dir, name string) (dbm.DB, error) {
	if dir == "" {
		return e.databases.keep(dbm.NewMemDB()), nil
	}
	db, err := dbm.NewDB(name, dbm.GoLevelDBBackend, filepath.Join(dir, blocksDir))
	if err != nil {
		return nil, err
	}
	return e.databases.keep(db), nil
}

// Now returns the time of the clock.
func (e *Engine) Now() time.Time {
	e.clockMu.Lock()
	defer e.clockMu.Unlock()
	return e.clock
}

// Advance moves the clock forward. The next block has the new time.
func (e *Engine) Advance(d time.Duration) {
	e.clockMu.Lock()
	defer e.clockMu.Unlock()
	e.clock = e.clock.Add(max(d, 0))
}

// MakeBlock makes one block, of the transactions that wait, and signs it.
func (e *Engine) MakeBlock() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.block()
}

// Settle makes blocks until no transaction waits that a block could take, and a
// signed header commits to the effect of all.
func (e *Engine) Settle() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.settle()
}

func (e *Engine) settle() error {
	for {
		before := e.pool.Size()
		proven := e.app.track.provableHeight() >= e.changedAt()
		if before == 0 && proven {
			return nil
		}
		if err := e.block(); err != nil {
			return err
		}
		if proven && before > 0 && e.pool.Size() >= before {
			return nil // what is left can not be taken now
		}
	}
}

// changedAt is a height from which on the state has been as it is.
func (e *Engine) changedAt() uint64 {
	meta := e.blocks.LoadBlockMeta(e.state.LastBlockHeight)
	if meta != nil && string(meta.Header.AppHash) == string(e.state.AppHash) {
		return uint64(e.state.LastBlockHeight) - 1
	}
	return uint64(e.state.LastBlockHeight)
}

// block makes the next block, saves it, and carries it out.
func (e *Engine) block() error {
	p, err := e.propose()
	if err != nil {
		return err
	}
	state, err := e.exec.ApplyBlock(e.state, p.id, p.block)
	if err != nil {
		return errors.Join(fmt.Errorf("carry out block %d: %w", p.block.Height, err), e.app.failure())
	}
	e.state = state
	return nil
}

// proposal is a block that is made and signed.
type proposal struct {
	block *types.Block
	id    types.BlockID
	parts *types.PartSet
	seen  *types.Commit
}

// propose makes, signs and saves the next block.
func (e *Engine) propose() (*proposal, error) {
	height := e.state.LastBlockHeight + 1
	last, err := e.lastCommit(height)
	if err != nil {
		return nil, err
	}
	block, err := e.exec.CreateProposalBlock(context.Background(), height, e.state, last.WrappedExtendedCommit(), engineKey().PubKey().Address())
	if err != nil {
		return nil, fmt.Errorf("make block %d: %w", height, err)
	}
	if ok, err := e.exec.ProcessProposal(block, e.state); err != nil || !ok {
		return nil, errors.Join(fmt.Errorf("block %d is refused", height), err, e.app.failure())
	}
	p, err := e.decide(block)
	if err != nil {
		return nil, err
	}
	e.blocks.SaveBlock(p.block, p.parts, p.seen)
	return p, nil
}

// lastCommit returns the commit of the block before that at a height. Its vote
// gives the new block its time. The block before was signed already when it was
// made; a vote may differ in time alone.
func (e *Engine) lastCommit(height int64) (*types.Commit, error) {
	if height == e.state.InitialHeight {
		return &types.Commit{}, nil
	}
	at := e.Now()
	if !at.After(e.state.LastBlockTime) {
		at = e.state.LastBlockTime.Add(time.Millisecond)
	}
	return e.sign(height-1, e.state.LastBlockID, at, e.state.LastValidators)
}

// decide signs a block.
func (e *Engine) decide(block *types.Block) (*proposal, error) {
	parts, err := block.MakePartSet(types.BlockPartSizeBytes)
	if err != nil {
		return nil, fmt.Errorf("make block %d: %w", block.Height, err)
	}
	id := types.BlockID{Hash: block.Hash(), PartSetHeader: parts.Header()}
	seen, err := e.sign(block.Height, id, block.Time.Add(time.Millisecond), e.state.Validators)
	if err != nil {
		return nil, err
	}
	return &proposal{block, id, parts, seen}, nil
}

// sign returns the commit for a block: the vote of EngineValidator. Others that
// were added to the validators are absent; they must hold less than a third of
// the power.
func (e *Engine) sign(height int64, id types.BlockID, at time.Time, set *types.ValidatorSet) (*types.Commit, error) {
	key := engineKey()
	vote := &types.Vote{
		Type: cmtproto.PrecommitType, Height: height, BlockID: id, Timestamp: at,
		ValidatorAddress: key.PubKey().Address(),
	}
	sig, err := key.Sign(types.VoteSignBytes(e.app.genesis.Chain, vote.ToProto()))
	if err != nil {
		return nil, fmt.Errorf("sign block %d: %w", height, err)
	}
	vote.Signature = sig
	c := &types.Commit{Height: height, BlockID: id}
	for _, v := range set.Validators {
		s := types.NewCommitSigAbsent()
		if v.PubKey.Equals(key.PubKey()) {
			s = vote.CommitSig()
		}
		c.Signatures = append(c.Signatures, s)
	}
	return c, nil
}

// Submit is [Local.Submit]; with wait it makes the blocks that are waited for.
func (e *Engine) Submit(ctx context.Context, raw []byte, wait bool) (*cityid.Receipt, error) {
	r, err := e.Local.Submit(ctx, raw, false)
	if err != nil || !wait || r.Provable {
		return r, err
	}
	if err := e.Settle(); err != nil {
		return nil, err
	}
	return e.Transaction(ctx, r.ID)
}

// Close ends the engine. What was committed is kept in Dir.
func (e *Engine) Close() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.app.close()
	var errs []error
	if e.conns != nil && e.conns.IsRunning() {
		errs = append(errs, e.conns.Stop())
	}
	return errors.Join(append(errs, e.app.closeStore(), e.databases.closeAll())...)
}
