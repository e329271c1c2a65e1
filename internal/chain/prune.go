// SPDX-License-Identifier: Apache-2.0

package chain

import (
	"bytes"
	"errors"
	"fmt"
	"sort"
	"strconv"
	"sync"
	"time"

	"github.com/cometbft/cometbft/blocksync"
	cmtnode "github.com/cometbft/cometbft/node"
	"github.com/cometbft/cometbft/p2p"
	bcproto "github.com/cometbft/cometbft/proto/tendermint/blocksync"

	"cityid"
)

// MinKeepBlocks is the least number of blocks that a node may be told to keep.
const MinKeepBlocks = 10_000

// pruneSpan is how many blocks are let go at a time: their heights begin with the
// same digits, so that what held them on the disk lies together.
const pruneSpan = 1000

// ErrBlocksGone: blocks are needed that nobody who was asked keeps any more.
var ErrBlocksGone = errors.New("blocks that are needed were let go")

// pruning decides which blocks are let go. CometBFT removes them after Commit says
// so; [keepHeaders] sees to it that headers, commits and validators stay.
type pruning struct {
	keep uint64 // blocks; 0: all
	span uint64
	// base returns the first height whose block is there; nil until CometBFT is open.
	base func() int64
	// gone is told the base when blocks were removed since it was told last.
	gone chan uint64
	told uint64
}

// retain returns the height from which blocks are kept after the one at a height, or
// 0 if none is to go now. It is called by Commit alone. Blocks go a span at a time,
// so that no block waits long for it; what peers need that begin with a snapshot
// served here is kept.
func (a *Application) retain(height uint64) int64 {
	p := &a.pruning
	if p.keep == 0 || p.base == nil {
		return 0
	}
	base := uint64(max(p.base(), 1))
	if p.told == 0 {
		p.told = base
	}
	if base > p.told {
		select {
		case p.gone <- base:
			p.told = base
		default: // what is busy with those before is told with the next
		}
	}
	if height <= p.keep {
		return 0
	}
	to := min(height-p.keep+1, a.snapshots.oldest())
	to = min(to-to%p.span, base-base%p.span+p.span)
	if to <= base {
		return 0
	}
	return int64(to)
}

// oldest returns the height of the oldest snapshot that is served; the highest
// number there is if none is.
func (p *snapshots) oldest() uint64 {
	p.mu.RLock()
	defer p.mu.RUnlock()
	if len(p.list) == 0 {
		return 1<<64 - 1
	}
	return p.list[len(p.list)-1].height
}

// keepHeaders reports whether a key of CometBFT's databases stays when blocks go:
// headers, the votes for them, and validators. All proofs rest on these, of however
// old a height, and nothing else can give them back. They stay where they were
// written with their block, so there is no moment at which they could be lost.
func keepHeaders(key []byte) bool {
	return bytes.HasPrefix(key, []byte("H:")) || bytes.HasPrefix(key, []byte("C:")) || bytes.HasPrefix(key, []byte("validatorsKey:"))
}

// compacting gives the room of blocks that were let go back to the disk; the
// database does so by itself much later, or never. It ends when the node stops.
func (n *Node) compacting(from uint64) {
	p := &n.app.pruning
	for {
		select {
		case <-n.stopping:
			return
		case to := <-p.gone:
			for ; from < to && !n.isStopping(); from += p.span - from%p.span {
				prefix := []byte("P:")
				if from >= p.span {
					prefix = strconv.AppendUint(prefix, from/p.span, 10)
				}
				if err := n.compact(prefix, append(bytes.Clone(prefix), ';')); err != nil {
					n.cfg.Logger.Error("giving the room of old blocks back to the disk failed", "error", err)
				}
			}
			n.cfg.Logger.Info("let old blocks go; their headers are kept", "blocks_from", to)
		}
	}
}

func (n *Node) isStopping() bool {
	select {
	case <-n.stopping:
		return true
	default:
		return false
	}
}

// compact rewrites a range of keys of the database of blocks without what was deleted.
func (n *Node) compact(from, to []byte) error {
	db := n.databases.get("blockstore")
	if db == nil {
		return nil
	}
	return db.Compact(from, to)
}

// kept remembers from which height on headers are kept. A node that began with a
// snapshot has none before it, and one that let blocks go has theirs.
type kept struct {
	mu      sync.Mutex
	headers int64 // 0: not known yet
}

// blocksFrom returns the lowest height whose block is kept here; 1 before there is
// one.
func (l *Local) blocksFrom() uint64 { return uint64(max(l.blocks.Base(), 1)) }

// headersFrom returns the lowest height whose header is kept here.
func (l *Local) headersFrom() uint64 {
	l.kept.mu.Lock()
	defer l.kept.mu.Unlock()
	if base := l.blocks.Base(); l.kept.headers == 0 && base > 0 {
		// They are kept from one height on, up to the first block.
		l.kept.headers = 1 + int64(sort.Search(int(base-1), func(i int) bool { return l.blocks.LoadBlockMeta(int64(i)+1) != nil }))
	}
	return uint64(max(l.kept.headers, 1))
}

// notKept is the error about a block that is not here, which has been.
func (l *Local) notKept(height uint64) error {
	return cityid.Errorf(cityid.ErrNotFound, "block %d is not kept here: this node keeps blocks from height %d on, and headers from %d; ask a node that keeps older ones", height, l.blocksFrom(), l.headersFrom())
}

// peersHave watches from which heights peers have blocks, as they tell CometBFT. It
// stands between them and CometBFT's reactor.
//
// That a block is gone is believed of peers that were named; a stranger could say so
// of all. That it is there is believed of all: who has it not is noticed by CometBFT.
type peersHave struct {
	p2p.Reactor
	named map[p2p.ID]bool // none: all are believed

	mu    sync.Mutex
	peers map[p2p.ID]span
}

// span is the heights of the blocks a peer has.
type span struct{ from, to int64 }

// watchPeers puts it there.
func (w *peersHave) watchPeers(n *cmtnode.Node) {
	const name = "BLOCKSYNC"
	w.Reactor = n.Switch().Reactor(name)
	cmtnode.CustomReactors(map[string]p2p.Reactor{name: w})(n)
}

// Receive implements p2p.Reactor.
func (w *peersHave) Receive(e p2p.Envelope) {
	if s, ok := e.Message.(*bcproto.StatusResponse); ok && e.ChannelID == blocksync.BlocksyncChannel && s.Base >= 0 && s.Height >= s.Base {
		w.mu.Lock()
		if w.peers == nil {
			w.peers = make(map[p2p.ID]span)
		}
		w.peers[e.Src.ID()] = span{s.Base, s.Height}
		w.mu.Unlock()
	}
	w.Reactor.Receive(e)
}

// RemovePeer implements p2p.Reactor.
func (w *peersHave) RemovePeer(peer p2p.Peer, reason any) {
	w.mu.Lock()
	delete(w.peers, peer.ID())
	w.mu.Unlock()
	w.Reactor.RemovePeer(peer, reason)
}

// without returns the lowest height from which a peer has blocks, if peers are ahead
// of a height and none of them has the next block; else 0.
func (w *peersHave) without(height int64) (from int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for id, s := range w.peers {
		switch {
		case s.to <= height || s.from == 0:
		case s.from <= height+1:
			return 0
		case len(w.named) > 0 && !w.named[id]:
		case from == 0 || s.from < from:
			from = s.from
		}
	}
	return from
}

// lacking returns the lowest height from which the node's peers have blocks, if
// the node lacks blocks and none of them has the next one any more; else 0.
func (n *Node) lacking() uint64 {
	if n.begins && n.blocks.Height() == 0 {
		return 0
	}
	return uint64(n.have.without(n.blocks.Height()))
}

// How long peers must have been without the next block before that counts, and after
// how long it is said again.
const gonePatience, goneAgain = 15 * time.Second, time.Minute

// watchGone tells when the node can not go on since its peers let go the blocks it
// needs. One without any blocks halts.
func (n *Node) watchGone() {
	tick := time.NewTicker(min(time.Second, n.cfg.gone))
	defer tick.Stop()
	var due time.Time // zero: nothing is missing
	for {
		select {
		case <-n.stopping:
			return
		case <-tick.C:
		}
		from := n.lacking()
		switch {
		case from == 0:
			due = time.Time{}
			continue
		case due.IsZero():
			due = time.Now().Add(n.cfg.gone)
			continue
		case time.Now().Before(due):
			continue
		}
		height := n.blocks.Height()
		if height == 0 {
			n.app.fail(fmt.Errorf("%w: this node has none, and its peers keep blocks from height %d on: name a peer that keeps all, or begin with a snapshot: fast_from in node.json, or node join --fast-from", ErrBlocksGone, from))
			return
		}
		n.cfg.Logger.Error("the blocks that this node needs were let go by its peers: name one that keeps all in peers; or stop the node, empty the folders blocks and state, keep the other files, and start it with fast_from", "next", height+1, "peers_from", from)
		due = time.Now().Add(goneAgain)
	}
}
