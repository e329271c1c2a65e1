// SPDX-License-Identifier: Apache-2.0

package chain_test

import (
	"bytes"
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	cmtproto "github.com/cometbft/cometbft/proto/tendermint/types"
	"github.com/cometbft/cometbft/types"

	"cityid"
	"cityid/internal/chain"
	"cityid/internal/chain/chaintest"
)

// ballot is where a validator signs one vote.
type ballot struct {
	height int64
	round  int32
	kind   cmtproto.SignedMsgType
}

// ballots is what two nodes with one key voted for.
type ballots struct {
	mu   sync.Mutex
	cast [2]map[ballot][]byte // hashes of blocks
	seen conflicts            // by other nodes
}

// hear has a node tell what it votes for.
func (b *ballots) hear(copy int) func(*cmtproto.Vote) {
	b.cast[copy] = map[ballot][]byte{}
	return func(v *cmtproto.Vote) {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.cast[copy][ballot{v.Height, v.Round, v.Type}] = bytes.Clone(v.BlockID.Hash)
	}
}

// differ reports whether the two voted for different blocks.
func (b *ballots) differ(at ballot) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	first, ok := b.cast[0][at]
	second, both := b.cast[1][at]
	return ok && both && !bytes.Equal(first, second)
}

// judge wants evidence in blocks where another node has seen two votes that contradict
// each other, of the validator that gave them, and none else.
func (b *ballots) judge(t *testing.T, w *chaintest.Network, key cityid.PublicKey) {
	t.Helper()
	for i := range w.Nodes {
		var list []cityid.Offender
		for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(10 * time.Millisecond) {
			if list = status(t, w.Nodes[i]).Offenders; len(list) > 0 || b.seen.n.Load() == 0 {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("node %d: the two contradicted each other, a node has seen it, and no block says so", i)
			}
		}
		if len(list) > 1 || len(list) == 1 && list[0].Key != key {
			t.Errorf("node %d accuses %+v, and it was %s", i, list, key)
		}
	}
	found := 0
	for h := range status(t, w.Nodes[0]).Height {
		for _, e := range w.Nodes[0].LoadBlock(h + 1).Evidence.Evidence {
			d, ok := e.(*types.DuplicateVoteEvidence)
			if !ok || !b.differ(ballot{d.VoteA.Height, d.VoteA.Round, d.VoteA.Type}) {
				t.Errorf("block %d has evidence of what was not: %v", h+1, e)
			}
			found++
		}
	}
	t.Logf("%d contradictions seen by others, %d pieces of evidence in blocks", b.seen.n.Load(), found)
}

// conflicts counts, in the log of nodes, pairs of votes that contradict each other.
type conflicts struct{ n atomic.Int64 }

func (*conflicts) Enabled(context.Context, slog.Level) bool { return true }
func (c *conflicts) Handle(_ context.Context, r slog.Record) error {
	if r.Message == "found and sent conflicting votes to the evidence pool" {
		c.n.Add(1)
	}
	return nil
}
func (c *conflicts) WithAttrs([]slog.Attr) slog.Handler { return c }
func (c *conflicts) WithGroup(string) slog.Handler      { return c }

// listen has all nodes tell what they see, and the last what it votes for.
func (b *ballots) listen(w *chaintest.Network) {
	for i := range w.Nodes {
		w.Configure(i, func(c *chain.Config) {
			if i < len(w.Nodes)-1 {
				c.Logger = slog.New(&b.seen)
			} else {
				c.OnVotes(b.hear(0))
			}
		})
	}
}
