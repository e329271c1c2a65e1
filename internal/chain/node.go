// SPDX-License-Identifier: Apache-2.0

package chain

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"sync"
	"syscall"
	"time"

	abci "github.com/cometbft/cometbft/abci/types"
	"github.com/cometbft/cometbft/consensus"
	cmtnode "github.com/cometbft/cometbft/node"
	"github.com/cometbft/cometbft/p2p"
	"github.com/cometbft/cometbft/proxy"
	"github.com/cometbft/cometbft/types"

	"cityid/internal/store"
)

// Reasons for which a node can not be opened or started, or stopped by itself.
// They are wrapped with the particulars.
var (
	// ErrLocked: another process, or another node of this one, runs on the
	// home folder.
	ErrLocked = store.ErrLocked
	// ErrPortInUse: something else listens on the address for other nodes.
	ErrPortInUse = errors.New("the address for other nodes is in use")
	// ErrForeignChain: the home folder holds data of another chain than its
	// genesis file founds.
	ErrForeignChain = store.ErrForeignChain
	// ErrBlocks: what CometBFT keeps is damaged, or is of another moment than the
	// state.
	ErrBlocks = errors.New("the databases in blocks/ are damaged or do not go with state/; restore the whole folder from a backup, or empty both, keep the other files, and let the node fetch the blocks from other nodes")
	// ErrHalted: consensus stopped, or the storage failed. The process should
	// end with an error, so that it is noticed and started again.
	ErrHalted = errors.New("the node has halted")
)

// quietTime is how long the goroutines of a stopped CometBFT node are given to
// notice, before its databases are closed.
const quietTime = 50 * time.Millisecond

// Node is a CometBFT node in this process, and the [Local] that answers from
// it. Open makes one, Start starts it, Stop ends it for good.
type Node struct {
	*Local
	cfg       Config
	id        string
	databases *databases
	comet     *cmtnode.Node
	consensus *consensus.State
	have      peersHave
	backups   *backups  // nil: none can be made while it runs
	fast      *fastSync // nil: the node takes all blocks
	begins    bool      // with a snapshot, and has not yet when it is opened
	panicked  bool      // CometBFT did, while it was started
	broke     breakage  // of consensus

	stop     sync.Once
	stopping chan struct{} // closed when Stop begins
	done     chan struct{} // closed when the node has stopped or halted
	halt     sync.Once
	err      error // valid once done is closed
}

// Open locks the home folder, opens the databases in it, checks the state tree
// against its last hash, and replays the blocks the state lacks. The node takes
// no part in the network until Start. The errors above are wrapped.
func Open(cfg Config) (n *Node, err error) {
	cfg, err = cfg.complete()
	if err != nil {
		return nil, err
	}
	g, err := ReadGenesis(cfg.Home)
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(filepath.Join(cfg.Home, runningFile)); err == nil {
		return nil, ErrCopy
	}
	node, err := readNodeKey(cfg.Home)
	if err != nil {
		return nil, err
	}
	n = &Node{
		cfg: cfg, id: string(node.ID()), databases: new(databases),
		stopping: make(chan struct{}), done: make(chan struct{}),
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, n.close())
			n = nil
		}
	}()
	// The state's lock stands for the whole home folder.
	st, err := store.Open(filepath.Join(cfg.Home, stateDir), store.Options{ChainID: g.Chain, Logger: cfg.Logger, FS: cfg.fs})
	if err != nil {
		return n, err
	}
	app, err := newApplication(st, g, cfg.Logger, cfg.clock, cfg.Rules)
	if err != nil {
		return n, errors.Join(err, st.Close())
	}
	if cfg.Closed {
		app.known = cfg.peerIDs()
	}
	n.Local = newLocal(app)
	validator, err := openValidator(cfg.Home)
	if err != nil {
		return n, err
	}
	app.signing = newSigning(validator)
	if cfg.Fast != nil {
		if n.fast, err = newFastSync(g, cfg.Fast, cfg.clock); err != nil {
			return n, err
		}
		app.headers = n.fast
	}
	if err := os.MkdirAll(filepath.Join(cfg.Home, blocksDir), 0o700); err != nil {
		return n, fmt.Errorf("make the folder for blocks: %w", err)
	}
	if err := n.openComet(g, node); err != nil {
		return n, err
	}
	n.validator = publicKey(validator.Key.PubKey.Bytes())
	n.version, n.node = cfg.Version, n.id
	n.maxPool = cfg.Mempool
	n.peers = func() int { return n.comet.Switch().Peers().Size() }
	n.peersFrom = n.lacking
	n.catchingUp = n.comet.ConsensusReactor().WaitSync
	app.syncing = n.catchingUp // before Start, so nobody calls the application
	app.serveSnapshots(uint64(max(cfg.Snapshots, 0)))
	return n, nil
}

// openComet makes the CometBFT node, which shakes hands with the application
// and replays blocks at once. What it panics with becomes an error.
func (n *Node) openComet(g *Genesis, key *p2p.NodeKey) (err error) {
	var app abci.Application = n.app
	if n.cfg.between != nil {
		app = n.cfg.between(app)
	}
	var validator types.PrivValidator = n.app.signing
	if n.cfg.votes != nil {
		validator = n.cfg.votes(validator)
	}
	defer func() {
		if p := recover(); p != nil {
			n.cfg.Logger.Debug("opening the node panicked", "panic", p, "stack", string(debug.Stack()))
			err = damaged(fmt.Errorf("open the node: %v", p))
		}
		if failure := n.app.failure(); failure != nil {
			err = failure
		}
	}()
	doc, err := g.doc()
	if err != nil {
		return err
	}
	cfg := n.cfg.comet()
	if err := cfg.ValidateBasic(); err != nil {
		return fmt.Errorf("node configuration: %w", err)
	}
	n.have.named = make(map[p2p.ID]bool)
	for _, peer := range n.cfg.Peers {
		id, _, _ := strings.Cut(peer, "@")
		n.have.named[p2p.ID(id)] = true
	}
	options := []cmtnode.Option{n.have.watchPeers}
	if n.begins, err = n.prepareFast(cfg); err != nil {
		return damaged(err)
	}
	if n.begins {
		cfg.StateSync.Enable = true // after ValidateBasic, which wants addresses of another interface
		options = append(options, cmtnode.StateProvider(n.fast))
	}
	n.comet, err = cmtnode.NewNode(cfg, validator, key,
		// One lock for each of consensus, mempool and queries instead of one
		// for all: the application guards itself.
		proxy.NewConnSyncLocalClientCreator(app),
		func() (*types.GenesisDoc, error) { return doc, nil },
		n.databases.provide,
		cmtnode.DefaultMetricsProvider(cfg.Instrumentation),
		cometLogger{log: n.cfg.Logger, ended: n.app.outdated, broke: n.broke.note, conflict: n.app.conflict},
		options...,
	)
	if err != nil {
		return damaged(fmt.Errorf("open the node: %w", err))
	}
	env, err := n.comet.ConfigureRPC()
	if err != nil {
		return fmt.Errorf("open the node: %w", err)
	}
	cs, ok := env.ConsensusState.(*consensus.State)
	if !ok {
		return fmt.Errorf("open the node: unexpected consensus state %T", env.ConsensusState)
	}
	n.consensus = cs
	n.app.pruning = pruning{keep: uint64(n.cfg.KeepBlocks), span: n.cfg.span, gone: make(chan uint64, 1)}
	n.app.signing.commit = n.comet.BlockStore().LoadBlockCommit // before anybody calls the application again
	n.connect(n.comet.BlockStore(), env.StateStore, n.comet.Mempool())
	return nil
}

// ID is the node's id in peers' addresses.
func (n *Node) ID() string { return n.id }

// Start joins the network; before the genesis time it waits for that. Blocks
// follow as soon as more than two thirds of the validators' power take part; until
// the first one, answers are [cityid.ErrUnavailable]. The error may wrap
// [ErrPortInUse] or [ErrBlocks]. After an error the node must still be stopped.
func (n *Node) Start() error {
	if err := n.startComet(); err != nil {
		if errors.Is(err, syscall.EADDRINUSE) {
			return fmt.Errorf("listen on %s: %w: stop what uses it, or choose another (%w)", n.cfg.Listen, ErrPortInUse, err)
		}
		return fmt.Errorf("start the node: %w", err)
	}
	if err := n.giveBackups(); err != nil {
		n.cfg.Logger.Warn("no backup can be made while the node runs", "error", err)
	}
	go n.watch()
	go n.redial()
	go n.watchGone()
	go n.compacting(n.blocksFrom())
	if n.begins {
		go n.watchFast()
	}
	return nil
}

// startComet starts CometBFT, which reads the latest blocks again and panics where
// it can not. There is no way to stop it then; it ends with the process.
func (n *Node) startComet() (err error) {
	defer func() {
		if p := recover(); p != nil {
			n.cfg.Logger.Debug("starting the node panicked", "panic", p, "stack", string(debug.Stack()))
			n.panicked = true
			if err = ofDisk(fmt.Errorf("%v", p)); !errors.As(err, new(diskError)) {
				err = fmt.Errorf("%w (%w)", ErrBlocks, err)
			}
		}
	}()
	return n.comet.Start()
}

// watch halts the node when consensus ends or the application fails. CometBFT
// itself would go on answering.
func (n *Node) watch() {
	ended := make(chan struct{})
	go func() {
		n.consensus.Wait()
		close(ended)
	}()
	select {
	case <-n.stopping:
	case <-n.app.failed:
		n.halted(n.app.failure())
	case <-ended:
		select {
		case <-n.stopping:
		case <-n.app.failed:
			n.halted(n.app.failure())
		default:
			n.halted(n.broke.reason())
		}
	}
}

func (n *Node) halted(why error) {
	n.halt.Do(func() {
		n.err = fmt.Errorf("%w: %w", ErrHalted, why)
		n.cfg.Logger.Error("the node has halted", "error", why)
		close(n.done)
	})
}

// Done is closed when the node has stopped, or has halted by itself; Err says
// which. A halted node still has to be stopped.
func (n *Node) Done() <-chan struct{} { return n.done }

// Err returns nil before Done is closed and after a stop, and an error that
// wraps [ErrHalted] once the node has halted.
func (n *Node) Err() error {
	select {
	case <-n.done:
		return n.err
	default:
		return nil
	}
}

// Stop leaves the network, waits for the block in hand, and closes the
// databases. Those who wait for transactions are told that the node is
// unavailable. It may be called more than once, and from several goroutines.
func (n *Node) Stop() error {
	var err error
	n.stop.Do(func() {
		close(n.stopping)
		err = n.close()
		n.halt.Do(func() { close(n.done) })
	})
	return err
}

// close undoes what Open and Start did, as far as they came. The order matters:
// first the network, which ends consensus, then the rest of CometBFT, and the
// databases when nobody can be reading them any more; the state's comes before
// CometBFT's, since a question that is being answered holds it.
func (n *Node) close() error {
	var errs []error
	n.backups.close()
	if n.Local != nil {
		n.app.close()
	}
	switch {
	case n.comet == nil, n.panicked:
	case !n.comet.IsRunning():
		errs = append(errs, n.comet.EventBus().Stop()) // which Open started
	default:
		if sw := n.comet.Switch(); sw.IsRunning() {
			errs = append(errs, sw.Stop())
		}
		errs = append(errs, n.comet.Stop())
		n.comet.Wait()
		time.Sleep(quietTime)
	}
	if n.comet != nil {
		// CometBFT leaves its connections to the application open, and with them
		// a goroutine that keeps the whole state in memory.
		errs = append(errs, n.comet.ProxyApp().Stop())
	}
	if n.Local != nil {
		errs = append(errs, n.app.closeStore())
	}
	errs = append(errs, n.databases.closeAll())
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("stop the node: %w", err)
	}
	return nil
}
