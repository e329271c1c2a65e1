// SPDX-License-Identifier: Apache-2.0

// Package chain runs the registry of a zone as a replicated state machine: it
// is the only package that knows CometBFT.
//
// # Parts
//
// [Application] is the ABCI application: it carries out the transactions of a
// block with package registry, on the state tree of package store. [Node] is
// CometBFT embedded in this process, with an Application behind it. [Engine]
// drives the same Application without consensus: one validator, whose key
// everybody knows, signs real headers at the times a manual clock gives. It is
// for tests and trials. Both answer through [Local]: questions about the state,
// transactions, and bundles that prove the answers.
//
// # A block
//
// A transaction is checked before it enters the mempool (chain, lifetime,
// signatures, not recorded yet, and signers who may do anything at all: see
// sift.go), proposed unless it has expired, and carried out whole or not at all.
// Its result in the block is a code of package cityid (0: applied) and, as data
// that the next header commits to, the CBOR map {1: index of the refused
// operation, -1 for the whole, 0 if applied; 2: numbers of the proposals made}.
// A refused transaction stands in its block like any other; nothing a
// transaction holds can stop the chain. Receipts of applied transactions are kept
// for good, of refused ones for two days.
//
// The state after a block is staged in memory and written in Commit, in one
// synced batch with everything else: height, time, receipts, block log. So a
// crash at any moment leaves a state that the blocks lead on from, and carrying
// out a block twice before Commit gives the same hash. A proposed block is carried
// out while validators vote on it, and dropped if another one is decided (ahead.go).
//
// A block without transactions leaves the app hash as it is. An idle network
// therefore rests: after a block with transactions comes one that carries the
// new app hash, and then only the heartbeat, which keeps signed headers fresh.
//
// # The block log
//
// The hashes of all blocks form an RFC 6962 log, whose first leaf is block 1.
// Its size and root are the state leaf [cityid.BlockLogKey]. A block with
// transactions extends it by all blocks since the last such block, itself
// included: its own hash is known while it is carried out, and covers the state
// before it, not after. The hashes of blocks in between wait beside the tree.
//
// # Upgrades
//
// The state says which version of the registry's rules the next block falls
// under (cityid.Ruleset), and every header carries it as its app version. When
// the apex has planned another version for a height, the header at that height
// is the first with it. A node whose program does not have the version halts with
// [ErrUpgrade] once the block before is committed, and neither votes for nor
// carries out that block; it does not open again until the program has it, and
// then goes on from there.
//
// # Home
//
// A node lives in one folder, made by [InitHome] and locked while it runs:
//
//	genesis.json          what the chain is founded with; the same for all nodes
//	node_key.json         who the node is to its peers
//	validator_key.json    what its votes are signed with
//	validator_state.json  what it signed last; lose it, and it may sign twice
//	blocks/               CometBFT's databases and write-ahead log
//	state/                the state tree, receipts, the block log
//	backup.sock           while the node runs: where [Backup] asks it
//	running.json          in a copy of a node that ran on: it may not vote yet
//
// Blocks may be let go once there are [Config.KeepBlocks] after them. What goes is
// what makes a block large, its transactions; its header, the votes for it and its
// validators stay in CometBFT's databases for good, so that what is proven stays
// provable. A node has blocks from one height on, and headers from one, which is 1
// unless it began with a snapshot. No block goes that somebody needs who begins with
// a snapshot served here.
//
// [Backup] writes the folder of a node into one file, also while it runs, and [Restore] makes a
// folder of it that was verified as a whole. If state/ alone is
// lost, the next start makes it again from blocks/, unless the first of these are not
// there.
//
// # Snapshots
//
// A node without blocks may begin with the state that others have, instead of
// carrying out all blocks ([Config.Fast]). CometBFT's state sync carries it: a
// snapshot of format 1 is the state after the last block with transactions, and
// has that block's height. (Blocks without transactions change nothing, so the
// state of an idle network is an old one, and the empty blocks after it are taken
// like any block.) Its hash is the app hash.
//
// It is served from an immutable version of the tree in chunks of CBOR. A chunk
// holds the next entries in order of their keys, up to and with the one by which
// their keys and values reach 1 MiB, and the range proof that they are all there
// are between the last key of the chunk before and their own last:
//
//	{1: others follow, 2: merkle.RangeProof, 3: [values], 4: block log, 5: proof of its leaf}
//
// The range begins right above the last key before, and ends right above its own
// last, or not at all in the last chunk; so every octet follows from the app hash,
// and a chunk that is not as it must be is refused at once, whoever sent it is
// asked for nothing more, and another peer is asked. A snapshot that is said to
// have another number of chunks than it proves to have is refused as a whole.
//
// What a node needs beside the tree is in the tree, or follows from it, or from the
// headers the app hash is verified by, or is not sent:
//
//	transactions not to be repeated   in the tree, while they have not expired
//	block log                         its edge is in the first chunk; the state has its
//	                                  root, and it ends with the snapshot's own block, so
//	                                  that no hash of a block waits beside the tree
//	height, time                      from the verified header of the block
//	what leads from the trust root    the verified headers at which validators changed,
//	to the blocks the node has        and those after the snapshot: kept beside the tree
//	receipts, blocks, older hashes    not sent: such a node does not know the transactions
//	of the block log                  before the snapshot, and others must be asked about
//	                                  them and for links to headers before it
//
// The app hash is that of a header which the node verifies from a trust root
// (verify.Follow), with the two headers after it, asked of other nodes' HTTP
// interfaces. Validators' priorities, by which they take turns, nothing signs: they
// are compared with who proposed these blocks. A lie that passes costs this node's
// own votes some rounds, if it has any.
//
// What is taken in becomes the state with one synced batch, and a stop at any
// moment before leaves nothing: the node begins again. A stop between that and the
// first block after it is mended at the next Open.
//
// A node takes a snapshot when it starts, and one at the first block with
// transactions in each span of [Config.Snapshots] blocks, and serves the last two.
//
// # Time and proof
//
// The state after block H is committed to by header H+1, so an answer from it
// can be proven once header H+1 is signed, which is when block H+1 is carried
// out. Answers are read from the state after the latest block (as_of: its height
// and time). Bundles are made from the latest state that a signed header commits
// to, and a transaction that is waited for is reported when that covers it.
// Readers use immutable versions of the tree and never wait for the writer.
package chain

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	abci "github.com/cometbft/cometbft/abci/types"
	"github.com/cometbft/cometbft/types"

	"cityid"
	"cityid/internal/registry"
	"cityid/internal/store"
	"cityid/verify"
)

// readersTime is how long closing waits for questions being answered.
const readersTime = 5 * time.Second

// Application is the ABCI application of a zone. CometBFT calls it over three
// connections at once, each one call at a time: consensus writes, the other two
// read.
type Application struct {
	abci.BaseApplication // the calls of vote extensions, unused

	store    *store.Store
	genesis  *Genesis
	versions registry.Versions // of the rules that this program has
	log      *slog.Logger
	clock    func() time.Time // for admitting to the mempool only; never for executing
	cache    *verifyCache
	track    *tracker
	feed     *feed
	known    map[string]bool // ids of nodes that may connect; nil: any
	metrics  *metrics
	signing  *signing // nil: there is no validator key to watch
	// syncing says whether blocks are fetched from others. CometBFT ends the
	// process then when a block can not be carried out, so the goroutine that
	// fetches them is ended instead, and the node halts as it does otherwise.
	// nil while there are no others.
	syncing func() bool
	// What those may submit whom the state does not know.
	strangers allowance

	snapshots  snapshots
	pruning    pruning
	headers    trustedHeaders // nil: this node takes all blocks
	restoredAt atomic.Int64   // when a part of a snapshot was taken in last, in ns since 1970; 0: never

	// Used by the snapshot connection alone; consensus rests meanwhile.
	restoring *restoring

	committing sync.Mutex // held while a block is committed

	// Used by the consensus connection alone.
	staged *staged
	ahead  *ahead // the latest proposal; nil: none

	mu    sync.RWMutex
	head  head                  // what is committed
	next  upcoming              // what the block after it falls under
	way   []verify.SignedHeader // leads to the blocks of a node that began with a snapshot; not changed in place
	evict func([]types.TxKey)   // takes transactions out of the mempool; nil before there is one

	failOnce sync.Once
	failed   chan struct{} // closed once the application can not go on
	why      error         // valid once failed is closed
}

// head is what is committed, as it stands beside the tree.
type head struct {
	Height  uint64        `cbor:"1,keyasint"`
	Nanos   int64         `cbor:"2,keyasint"` // time of the block at Height, since 1970
	AppHash cityid.Digest `cbor:"3,keyasint"`
	Chain   string        `cbor:"4,keyasint"`
	Genesis cityid.Digest `cbor:"5,keyasint"` // hash of the genesis file
}

func (h *head) time() time.Time { return time.Unix(0, h.Nanos).UTC() }

// Keys beside the tree: one letter, then what is named.
var headKey = []byte("h") // head

func receiptKey(id cityid.Digest) []byte { return append([]byte("t"), id[:]...) } // storedReceipt

// refusedKey is the key of the ids, one after the other, that a block refused.
func refusedKey(at cityid.Time, height uint64) []byte {
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64([]byte("f"), uint64(at)), height)
}

// blockKey is the key of the hash of a block that is not in the block log yet.
func blockKey(height uint64) []byte { return binary.BigEndian.AppendUint64([]byte("b"), height) }

// newApplication returns the application over a store, which holds nothing yet
// or a state that descends from the genesis. It knows the versions of the rules
// given, or all of this program if there are none.
func newApplication(st *store.Store, g *Genesis, log *slog.Logger, clock func() time.Time, versions registry.Versions) (a *Application, err error) {
	if versions == nil {
		versions = registry.KnownRules()
	}
	a = &Application{
		store: st, genesis: g, log: log, clock: clock, versions: versions,
		cache: newVerifyCache(verifiedSignatures), track: newTracker(), metrics: newMetrics(),
		failed: make(chan struct{}),
	}
	defer a.guardRead(&err)
	raw, err := st.GetSide(headKey)
	if err != nil {
		return nil, fmt.Errorf("read the state's height: %w", err)
	}
	a.feed = newFeed(0, maxChanged)
	if raw == nil {
		a.next = a.upcoming(unfounded{}, 1)
		return a, a.next.err
	}
	if err := cityid.UnmarshalTrusted(raw, &a.head); err != nil {
		return nil, fmt.Errorf("read the state's height: %w", err)
	}
	if a.head.Chain != g.Chain || a.head.Genesis != g.Hash() {
		return nil, fmt.Errorf("%w: the state is of chain %s, genesis %s; the genesis file founds %s, genesis %s",
			ErrForeignChain, a.head.Chain, a.head.Genesis, g.Chain, g.Hash())
	}
	a.feed = newFeed(a.head.Height, maxChanged)
	if a.way, err = a.loadWay(); err != nil {
		return nil, fmt.Errorf("read the headers that lead to this node's blocks: %w", err)
	}
	view, err := st.Latest()
	if err != nil {
		return nil, err
	}
	defer view.Close()
	if a.next = a.upcoming(reader{view}, a.head.Height+1); a.next.err != nil {
		return nil, a.next.err
	}
	return a, registry.Recorded(reader{view}, a.track.remember)
}

// fail notes why the application can not go on; the first reason stands.
func (a *Application) fail(err error) {
	a.failOnce.Do(func() {
		a.why = err
		close(a.failed)
	})
}

// failure returns why the application can not go on, or nil.
func (a *Application) failure() error {
	select {
	case <-a.failed:
		return a.why
	default:
		return nil
	}
}

// guard turns a panic of the storage, or a broken invariant, into an error that
// stops the node: CometBFT halts on any error of these calls.
func (a *Application) guard(call string, err *error) {
	if p := recover(); p != nil {
		a.log.Error("the state machine panicked", "call", call, "panic", p, "stack", string(debug.Stack()))
		*err = fmt.Errorf("%s: %v", call, p)
	}
	if *err == nil {
		return
	}
	a.fail(*err)
	if a.syncing != nil && a.syncing() {
		runtime.Goexit()
	}
}

// close tells all who wait for transactions or blocks that the node is stopping.
func (a *Application) close() {
	a.track.close()
	a.feed.close()
}

// closeStore closes the store, when nobody calls the consensus connection any
// more and those who read have finished.
func (a *Application) closeStore() error {
	a.snapshots.close()
	if r := a.restoring; r != nil {
		a.restoring = nil
		_ = r.into.Discard() // or the next Open does
	}
	a.dropAhead()
	if a.staged != nil {
		a.staged.batch.Discard()
		a.staged = nil
	}
	for start := time.Now(); ; time.Sleep(time.Millisecond) {
		err := a.store.Close()
		if !errors.Is(err, store.ErrViewsOpen) || time.Since(start) > readersTime {
			return err
		}
	}
}

// committed returns what is committed; its height is 0 before the first block.
func (a *Application) committed() head {
	a.mu.RLock()
	defer a.mu.RUnlock()
	return a.head
}

// Info tells CometBFT which block was committed last, so that it replays those
// after it.
func (a *Application) Info(context.Context, *abci.RequestInfo) (*abci.ResponseInfo, error) {
	h := a.committed()
	r := &abci.ResponseInfo{Data: "cityid", AppVersion: uint64(a.upcomingRules().version), LastBlockHeight: int64(h.Height)}
	if h.Height > 0 {
		r.LastBlockAppHash = h.AppHash[:]
	}
	return r, nil
}

// InitChain founds the chain. It writes nothing: the first block does.
func (a *Application) InitChain(_ context.Context, req *abci.RequestInitChain) (_ *abci.ResponseInitChain, err error) {
	defer a.guard("InitChain", &err)
	doc, err := a.genesis.doc()
	if err != nil {
		return nil, err
	}
	if req.ChainId != doc.ChainID || req.InitialHeight != 1 || !a.genesis.sameState(req.AppStateBytes) {
		return nil, fmt.Errorf("%w: the blocks are of chain %s, the genesis file founds %s", ErrForeignChain, req.ChainId, doc.ChainID)
	}
	s, err := a.stage(1, req.Time)
	if err != nil {
		return nil, err
	}
	defer s.batch.Discard()
	root, err := s.batch.Root()
	if err != nil {
		return nil, err
	}
	return &abci.ResponseInitChain{AppHash: root[:]}, nil
}

// Commit writes what FinalizeBlock staged.
func (a *Application) Commit(context.Context, *abci.RequestCommit) (_ *abci.ResponseCommit, err error) {
	defer a.guard("Commit", &err)
	defer since(a.metrics.commit, time.Now())
	s := a.staged
	if s == nil {
		return nil, fmt.Errorf("nothing is staged")
	}
	next := head{Height: s.height, Nanos: s.time.UnixNano(), AppHash: s.root, Chain: a.genesis.Chain, Genesis: a.genesis.Hash()}
	if err := s.batch.SetSide(headKey, cityid.MustMarshal(&next)); err != nil {
		return nil, err
	}
	codes, err := writtenBy(s)
	if err != nil {
		return nil, err
	}
	if before := a.committed(); before.Height > 0 {
		a.metrics.interval.Observe(s.time.Sub(before.time()).Seconds())
	}
	if err := a.write(s, next); err != nil {
		return nil, fmt.Errorf("write block %d: %w", s.height, err)
	}
	a.feed.committed(s.height, codes)
	if a.snapshotDue(s) {
		a.takeSnapshot()
	}
	a.drop(a.track.committed(s))
	if s.next.err != nil {
		a.fail(s.next.err) // before anybody votes for the next block
	}
	return &abci.ResponseCommit{RetainHeight: a.retain(s.height)}, nil
}

// write makes what is staged the committed state. No backup begins meanwhile.
func (a *Application) write(s *staged, next head) error {
	a.committing.Lock()
	defer a.committing.Unlock()
	if err := s.batch.Commit(s.height); err != nil {
		return err
	}
	a.staged = nil
	a.mu.Lock()
	defer a.mu.Unlock()
	a.head, a.next = next, s.next
	return nil
}

// drop takes transactions out of the mempool, soon: CometBFT holds it locked
// while it calls Commit.
func (a *Application) drop(keys []types.TxKey) {
	a.mu.RLock()
	evict := a.evict
	a.mu.RUnlock()
	if len(keys) == 0 || evict == nil {
		return
	}
	a.track.leaveAll(keys)
	go evict(keys)
}

// CheckTx admits a transaction to the mempool.
func (a *Application) CheckTx(_ context.Context, req *abci.RequestCheckTx) (*abci.ResponseCheckTx, error) {
	if err := a.checkTx(req.Tx); err != nil {
		return &abci.ResponseCheckTx{Code: uint32(cityid.CodeOf(err)), Log: messageOf(err)}, nil
	}
	return &abci.ResponseCheckTx{}, nil
}

func (a *Application) checkTx(raw []byte) (err error) {
	defer a.guardRead(&err)
	key := types.Tx(raw).Key()
	if p, ok := a.track.wasAdmitted(key); ok {
		return a.track.enter(key, p)
	}
	tx, body, err := cityid.DecodeTx(raw)
	if err != nil {
		return err
	}
	id := tx.ID()
	r, err := a.receipt(id)
	if err != nil {
		return err
	}
	if err := a.admit(tx, body, r); err != nil {
		return err
	}
	return a.track.enter(key, pooled{id: id, expires: body.Expires, tx: tx, body: body, size: len(raw)})
}

// admit checks a decoded transaction against the committed state, as of the
// time the next block can be expected to have: that of the last one, or this
// machine's if that is later, as it is after a long stop. r is its receipt, if it has
// one.
func (a *Application) admit(tx *cityid.Tx, body *cityid.Body, r *cityid.Receipt) error {
	h := a.committed()
	if h.Height == 0 {
		return cityid.Errorf(cityid.ErrUnavailable, "the chain has no block yet")
	}
	now := max(cityid.TimeOf(h.time()), cityid.TimeOf(a.clock()))
	next := a.upcomingRules()
	if next.err != nil {
		return errClosed()
	}
	block := registry.Block{Chain: a.genesis.Chain, Height: h.Height + 1, Time: now, Rules: next.rules}
	view, err := a.store.Latest()
	if err != nil {
		return errClosed()
	}
	defer view.Close()
	if err := registry.Admit(reader{view}, block, tx, body, a.cache.verify); err != nil {
		return err
	}
	return a.sift(reader{view}, block, tx, body, r)
}

// reader reads a version of the state for package registry, and panics where
// the storage fails.
type reader struct{ from store.Reader }

func (r reader) Get(key []byte) []byte {
	value, err := r.from.Get(key)
	if err != nil {
		panic(err)
	}
	return value
}

func (r reader) Scan(lo, hi []byte, fn func(key, value []byte) bool) {
	if err := r.from.Scan(lo, hi, fn); err != nil {
		panic(err)
	}
}

// guardRead turns a panic into an error for the one who asked. If it is an error
// of the storage, the node stops; a defect in answering one question does not
// take the others down.
func (a *Application) guardRead(err *error) {
	p := recover()
	if p == nil {
		return
	}
	a.log.Error("reading the state panicked", "panic", p, "stack", string(debug.Stack()))
	*err = cityid.Errorf(cityid.ErrInternal, "reading the state failed; the node's log says why")
	cause, ok := p.(error)
	var defect runtime.Error
	if ok && !errors.As(cause, &defect) {
		a.fail(fmt.Errorf("read the state: %w", cause))
	}
}

// messageOf returns the sentence of a refusal without what leads and ends it.
func messageOf(err error) string {
	if e, ok := err.(*cityid.Error); ok {
		return e.Message
	}
	return err.Error()
}
