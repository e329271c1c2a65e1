// SPDX-License-Identifier: Apache-2.0

package chain_test

import (
	"bytes"
	"reflect"
	"testing"
	"time"

	abci "github.com/cometbft/cometbft/abci/types"

	"cityid"
	"cityid/internal/chain/chaintest"
)

// TestAhead has blocks proposed, which are carried out meanwhile, and decides the
// same or others. What comes of a block does not depend on what was proposed.
func TestAhead(t *testing.T) {
	e := newEngine(t, "")
	height, at := int64(status(t, e).Height)+1, e.Now().Add(time.Second)
	tx := func(n int) []byte { return chaintest.Tx(engineChain, e.Now(), city(n)) }
	refused := chaintest.TxBy(engineChain, e.Now(), []cityid.Signer{chaintest.Key(9)}, city(2))
	blocks := [][][]byte{{tx(1), refused, tx(3)}, {tx(4)}, {}}
	hash := func(i int) []byte { return bytes.Repeat([]byte{byte(i + 1)}, 32) }
	propose := func(i int, hash []byte) {
		t.Helper()
		r, err := e.App().ProcessProposal(ctx, &abci.RequestProcessProposal{Height: height, Time: at, Hash: hash, Txs: blocks[i]})
		if err != nil || r.Status != abci.ResponseProcessProposal_ACCEPT {
			t.Fatalf("proposal %d: %v, %v", i, r, err)
		}
	}
	finalize := func(i int, at time.Time) *abci.ResponseFinalizeBlock {
		t.Helper()
		r, err := e.App().FinalizeBlock(ctx, &abci.RequestFinalizeBlock{Height: height, Time: at, Hash: hash(i), Txs: blocks[i]})
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	for i := range blocks {
		want := finalize(i, at) // nothing was proposed
		for j := range blocks {
			propose(j, hash(j))
			if got := finalize(i, at); !reflect.DeepEqual(got, want) {
				t.Errorf("block %d, proposed was %d:\n%v\nwant\n%v", i, j, got, want)
			}
			// Once more, as after a restart of a round; and said twice.
			propose(j, hash(j))
			propose(i, hash(i))
			propose(i, hash(i))
			if got := finalize(i, at); !reflect.DeepEqual(got, want) {
				t.Errorf("block %d, proposed was %d, then %d:\n%v\nwant\n%v", i, j, i, got, want)
			}
		}
		// The same transactions at another time are another block.
		later := finalize(i, at.Add(time.Hour))
		propose(i, hash(i))
		if got := finalize(i, at.Add(time.Hour)); !reflect.DeepEqual(got, later) {
			t.Errorf("block %d at another time: %v, want %v", i, got, later)
		}
	}
	// What is carried out ahead is dropped when the node stops, and holds nothing up.
	propose(0, hash(0))
	propose(1, hash(1))
	if err := e.Close(); err != nil {
		t.Error(err)
	}
}

// TestAheadOfNothing proposes blocks that can not follow: for those nothing is
// carried out.
func TestAheadOfNothing(t *testing.T) {
	e := newEngine(t, "")
	height := int64(status(t, e).Height) + 1
	raw := chaintest.Tx(engineChain, e.Now(), city(1))
	for _, other := range []int64{height - 1, height + 1} {
		if _, err := e.App().ProcessProposal(ctx, &abci.RequestProcessProposal{Height: other, Time: e.Now(), Hash: make([]byte, 32), Txs: [][]byte{raw}}); err != nil {
			t.Fatal(err)
		}
		if e.Ahead() {
			t.Errorf("block %d is carried out on top of block %d", other, height-1)
		}
	}
	// A hash that is none: the block can not be carried out, now or when decided.
	if _, err := e.App().ProcessProposal(ctx, &abci.RequestProcessProposal{Height: height, Time: e.Now(), Hash: []byte{1}, Txs: [][]byte{raw}}); err != nil {
		t.Fatal(err)
	}
	if !e.Ahead() {
		t.Error("the proposal is not carried out")
	}
	if _, err := e.App().FinalizeBlock(ctx, &abci.RequestFinalizeBlock{Height: height, Time: e.Now(), Hash: []byte{1}, Txs: [][]byte{raw}}); err == nil {
		t.Error("a block without a hash was carried out")
	}
}
