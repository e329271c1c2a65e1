// SPDX-License-Identifier: Apache-2.0

package chain

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"log/slog"
	"time"

	dbm "github.com/cometbft/cometbft-db"
	abci "github.com/cometbft/cometbft/abci/types"
	cmtstateproto "github.com/cometbft/cometbft/proto/tendermint/state"
	cmtstoreproto "github.com/cometbft/cometbft/proto/tendermint/store"
	sm "github.com/cometbft/cometbft/state"
	"github.com/cometbft/cometbft/types"

	"cityid"
	"cityid/header"
	"cityid/internal/registry"
	"cityid/internal/store"
)

// What the tests see of the inside.

// App returns the application behind l.
func (l *Local) App() *Application { return l.app }

// Stands reports whether a signer had something applied lately.
func (l *Local) Stands(signer cityid.PublicKey) bool {
	return l.app.track.stands([]cityid.PublicKey{signer})
}

// View returns the latest state.
func (l *Local) View() (*store.View, error) { return l.app.store.Latest() }

// LightBlock returns a block in CometBFT's form.
func (l *Local) LightBlock(height int64) (*types.LightBlock, error) {
	vals, err := l.states.LoadValidators(height)
	if err != nil {
		return nil, err
	}
	commit := l.blocks.LoadBlockCommit(height)
	if commit == nil {
		commit = l.blocks.LoadSeenCommit(height)
	}
	h := l.blocks.LoadBlockMeta(height).Header
	return &types.LightBlock{SignedHeader: &types.SignedHeader{Header: &h, Commit: commit}, ValidatorSet: vals}, nil
}

// Convert returns a block in the form of package header, its commit minimal.
func Convert(b *types.LightBlock) (*header.Header, header.Validators, *header.Commit, error) {
	h, err := headerOf(b.Header)
	if err != nil {
		return nil, nil, nil, err
	}
	vals, err := validatorsOf(b.ValidatorSet)
	if err != nil {
		return nil, nil, nil, err
	}
	c, err := commitOf(b.Commit)
	if err != nil {
		return nil, nil, nil, err
	}
	c.Votes = header.Minimal(vals, c.Votes)
	return h, vals, c, nil
}

// Crash points in carrying out a block.
const (
	CrashSaved     = iota // the block is saved
	CrashFinalized        // and carried out
	CrashResponded        // and CometBFT has saved the response
	CrashCommitted        // and the state is committed
)

// Crash makes the next block up to a point and closes the engine.
func (e *Engine) Crash(point int) error {
	p, err := e.propose()
	if err != nil {
		return err
	}
	block := p.block
	if point >= CrashFinalized {
		r, err := e.app.FinalizeBlock(context.Background(), FinalizeRequest(block))
		if err != nil {
			return err
		}
		if point >= CrashResponded {
			if err := e.states.SaveFinalizeBlockResponse(block.Height, r); err != nil {
				return err
			}
		}
		if point >= CrashCommitted {
			if _, err := e.app.Commit(context.Background(), nil); err != nil {
				return err
			}
		}
	}
	return e.Close()
}

// Propose makes and saves the next block.
func (e *Engine) Propose() (*types.Block, error) {
	p, err := e.propose()
	if err != nil {
		return nil, err
	}
	return p.block, nil
}

// FinalizeRequest returns the request to carry a block out.
func FinalizeRequest(b *types.Block) *abci.RequestFinalizeBlock {
	return &abci.RequestFinalizeBlock{
		Hash: b.Hash(), Height: b.Height, Time: b.Time, Txs: b.Txs.ToSliceOfBytes(),
		NextValidatorsHash: b.NextValidatorsHash, ProposerAddress: b.ProposerAddress,
	}
}

// ValidatorUpdates exports validatorUpdates.
func ValidatorUpdates(before, after cityid.ValidatorSet) []abci.ValidatorUpdate {
	return validatorUpdates(before, after)
}

// NewVerifyCache exports newVerifyCache.
func NewVerifyCache(size int) *verifyCache { return newVerifyCache(size) }

// Verify exports verify.
func (c *verifyCache) Verify(pub, msg, sig []byte) error { return c.verify(pub, msg, sig) }

// Warm exports warm.
func (c *verifyCache) Warm(pub, msg, sig [][]byte) {
	var list []signature
	for i := range pub {
		list = append(list, signature{pub[i], msg[i], sig[i]})
	}
	c.warm(list)
}

// Len returns how many signatures c remembers.
func (c *verifyCache) Len() int { return len(c.good) }

// CloseStore takes the storage away, even from those who are using it.
func (l *Local) CloseStore() { _ = l.app.store.Close() }

// Restoring is an application without blocks that takes in a snapshot, with the
// headers that are asked of a source.
type Restoring struct {
	*Application
	fast *fastSync
}

// NewRestoring returns one over a store, of a program with some versions of the
// rules; none: those of this one.
func NewRestoring(st *store.Store, g *Genesis, from HeaderSource, now func() time.Time, versions ...registry.Rules) (*Restoring, error) {
	app, err := newApplication(st, g, slog.New(slog.DiscardHandler), now, versions)
	if err != nil {
		return nil, err
	}
	trust, err := g.Trust()
	if err != nil {
		return nil, err
	}
	f, err := newFastSync(g, &Fast{Trust: trust, Sources: []HeaderSource{from}}, now)
	if err != nil {
		return nil, err
	}
	app.headers = f
	return &Restoring{app, f}, nil
}

// AppHash asks for the app hash of a height.
func (r *Restoring) AppHash(height uint64) ([]byte, error) {
	return r.fast.AppHash(context.Background(), height)
}

// CometState asks for CometBFT's state at a height.
func (r *Restoring) CometState(height uint64) (sm.State, error) {
	return r.fast.State(context.Background(), height)
}

// State returns CometBFT's own state.
func (e *Engine) State() sm.State { return e.state }

// Height returns the height of what is committed.
func (a *Application) Height() uint64 { return a.committed().Height }

// Close closes the application and its store.
func (a *Application) Close() error {
	a.close()
	return a.closeStore()
}

// ServeSnapshots has l serve a snapshot now and every so many blocks.
func (l *Local) ServeSnapshots(every uint64) {
	l.app.serveSnapshots(every)
	l.app.snapshots.making.Wait()
}

// OpenBetween is Open with something between CometBFT and the application.
func OpenBetween(cfg Config, between func(abci.Application) abci.Application) (*Node, error) {
	cfg.between = between
	return Open(cfg)
}

// LoadBlock returns a block in CometBFT's form.
func (l *Local) LoadBlock(height uint64) *types.Block { return l.blocks.LoadBlock(int64(height)) }

// Bootstrap leaves in a home what CometBFT has written when it took a snapshot in
// and has no block yet, or without the commit, what it has a moment before.
func (r *Restoring) Bootstrap(home string, height uint64, commit bool) (err error) {
	dbs := new(databases)
	defer func() { err = errors.Join(err, dbs.closeAll()) }()
	n := &Node{databases: dbs}
	blocks, states, err := n.stores(Config{Home: home, Mempool: 1, Heartbeat: time.Second}.comet())
	if err != nil {
		return err
	}
	s, err := r.CometState(height)
	if err != nil {
		return err
	}
	if err := states.Bootstrap(s); err != nil || !commit {
		return err
	}
	c, err := r.fast.Commit(context.Background(), height)
	if err != nil {
		return err
	}
	return blocks.SaveSeenCommit(int64(height), c)
}

// Begins reports whether n begins with a snapshot.
func (n *Node) Begins() bool { return n.begins }

// InBackup exports inBackup.
func InBackup(name string) bool { return inBackup(name) }

// Broken returns what a node says whose consensus ended for a reason; nil: it is not known.
func Broken(cause any) error {
	b := new(breakage)
	if cause != nil {
		cometLogger{log: slog.New(slog.DiscardHandler), broke: b.note}.With("module", "consensus").Error(consensusFailure, "err", cause, "stack", "")
	}
	return b.reason()
}

// PruneBy has a node let go so many blocks at a time, and lets it keep fewer than the
// least number.
func (c *Config) PruneBy(span uint64) { c.span, c.gone = span, 500*time.Millisecond }

// Prune has a replica let go all but the latest blocks, also those by which CometBFT
// could still prove misbehaviour, of which it keeps the headers by itself.
func (e *Engine) Prune(keep, span uint64) {
	e.state.ConsensusParams.Evidence.MaxAgeNumBlocks, e.state.ConsensusParams.Evidence.MaxAgeDuration = 1, 1
	e.app.pruning = pruning{keep: keep, span: span, base: e.blocks.Base, gone: make(chan uint64, 1)}
}

// Ahead reports whether a proposed block is carried out ahead.
func (l *Local) Ahead() bool { return l.app.ahead != nil }

// listing notes what a stream of a backup would make.
type listing struct{ names []string }

func (l *listing) database(name string) error {
	if name == treeDB {
		return nil
	}
	l.names = append(l.names, blocksDir+"/"+name+".db")
	return nil
}

func (l *listing) pair(_, _ []byte) error { return nil }

func (l *listing) file(name string, _ []byte) error {
	l.names = append(l.names, name)
	return nil
}

// ReadBackup reads a stream of a backup and returns what it would make.
func ReadBackup(raw []byte) ([]string, error) {
	l := new(listing)
	err := readBackup(bytes.NewReader(raw), l)
	return l.names, err
}

// BackupStream makes one, of two databases with a pair each, a file, and what the
// validator signed.
func BackupStream(db, key, value, file, content string) []byte {
	var b bytes.Buffer
	w := &backupWriter{w: bufio.NewWriter(&b), hash: sha256.New()}
	for _, name := range []string{treeDB, db} {
		_ = w.frame('D', []byte(name))
		_ = w.frame('P', []byte(key), []byte(value))
	}
	_ = w.frame('F', []byte(file), []byte(content))
	_ = w.frame('F', []byte(validatorStateFile), []byte("{}"))
	_ = w.frame('E', w.hash.Sum(nil))
	_ = w.w.Flush()
	return b.Bytes()
}

// slowDB takes its time after it was held.
type slowDB struct {
	dbm.DB
	wait time.Duration
}

func (s slowDB) Iterator(start, end []byte) (dbm.Iterator, error) {
	it, err := s.DB.Iterator(start, end)
	time.Sleep(s.wait)
	return it, err
}

// HoldSlowly has the node take its time to hold each database for a backup.
func (n *Node) HoldSlowly(wait time.Duration) {
	n.databases.mu.Lock()
	defer n.databases.mu.Unlock()
	for name, db := range n.databases.named {
		n.databases.named[name] = slowDB{db, wait}
	}
}

// Moment returns the heights at which a backup has the state, the blocks, and
// CometBFT's state.
func (n *Node) Moment() (tree, blocks, state int64, err error) {
	m, err := n.moment()
	if err != nil {
		return 0, 0, 0, err
	}
	defer m.close()
	for _, it := range m.dbs {
		for ; it.Valid(); it.Next() {
			switch string(it.Key()) {
			case "blockStore":
				var s cmtstoreproto.BlockStoreState
				err = errors.Join(err, s.Unmarshal(it.Value()))
				blocks = s.Height
			case "stateKey":
				var s cmtstateproto.State
				err = errors.Join(err, s.Unmarshal(it.Value()))
				state = s.LastBlockHeight
			}
		}
	}
	return int64(m.tree.Height()), blocks, state, err
}
