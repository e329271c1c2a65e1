// SPDX-License-Identifier: Apache-2.0

package chain_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"cityid/internal/chain"
	"cityid/internal/chain/chaintest"
)

// TestSignedElsewhere brings a validator back from an old copy of its folder: it
// halts when it sees what its key has signed since, and goes on once it is told up to
// where that was.
func TestSignedElsewhere(t *testing.T) {
	w := chaintest.Start(t, 4, 200*time.Millisecond)
	home := w.Config(3).Home
	w.WaitHeight(3, 2)
	w.Stop(3)
	old := t.TempDir()
	if err := os.CopyFS(old, os.DirFS(home)); err != nil {
		t.Fatal(err)
	}
	w.Restart(3)
	nodeSubmit(t, w, 3, city(1))
	at := status(t, w.Nodes[3]).Height
	w.WaitHeight(3, at+3)
	w.Stop(3)
	before, err := chain.LastSigned(old)
	if err != nil {
		t.Fatal(err)
	}
	after, err := chain.LastSigned(home)
	if err != nil || after <= before {
		t.Fatalf("signed up to %d, then %d: %v", before, after, err)
	}
	if err := os.RemoveAll(home); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(home, os.DirFS(old)); err != nil {
		t.Fatal(err)
	}
	top := w.WaitHeight(0, after+2).Height
	w.Restart(3)
	select {
	case <-w.Nodes[3].Done():
	case <-time.After(30 * time.Second):
		t.Fatal("the old copy of a validator goes on")
	}
	if err := w.Nodes[3].Err(); !errors.Is(err, chain.ErrSignedElsewhere) || !errors.Is(err, chain.ErrHalted) {
		t.Fatal(err)
	}
	if err := chain.RaiseSigned(home, top); !errors.Is(err, chain.ErrLocked) {
		t.Errorf("in a folder that is in use: %v", err)
	}
	w.Stop(3)
	if err := chain.RaiseSigned(home, before-1); err == nil {
		t.Error("what was signed can be taken back")
	}
	if err := chain.RaiseSigned(home, top); err != nil {
		t.Fatal(err)
	}
	if got, err := chain.LastSigned(home); got != top || err != nil {
		t.Fatalf("%d, want %d: %v", got, top, err)
	}
	w.Restart(3)
	nodeSubmit(t, w, 3, city(2))
	for deadline := time.Now().Add(30 * time.Second); status(t, w.Nodes[3]).CatchingUp; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it never catches up")
		}
	}
	mine := w.WaitHeight(3, status(t, w.Nodes[3]).Height+3)
	if theirs := w.WaitHeight(0, mine.Height); theirs.Height == mine.Height && theirs.AppHash != mine.AppHash {
		t.Errorf("block %d: %s and %s", mine.Height, mine.AppHash, theirs.AppHash)
	}
	w.Stop(3)
	if got, err := chain.LastSigned(home); got <= top || err != nil {
		t.Errorf("it votes no more: %d after %d, %v", got, top, err)
	}
}

// TestTwins starts a network and, beside one of its validators, a copy of that one's
// folder, as an operator may who moves a node. Both vote, in step and for the same blocks,
// until one of them sees a vote of its key that it did not give, and halts. Under the id
// of the first, which the long mode tries, the copy may also find no peer that takes it.
// Where the two voted for different blocks, and another node has seen both votes, there is
// evidence in a block, against this validator and nobody else.
func TestTwins(t *testing.T) {
	if testing.Short() {
		t.Skip("starts four validators and a copy of one")
	}
	t.Run("an id of its own", func(t *testing.T) { twins(t, false) })
	if long() {
		for range 5 {
			t.Run("the same id", func(t *testing.T) { twins(t, true) })
		}
	}
}

func twins(t *testing.T, same bool) {
	w := chaintest.Start(t, 4, 200*time.Millisecond)
	nodeSubmit(t, w, 0, city(1))
	agree(t, w)
	for i := range w.Nodes {
		w.Stop(i)
	}
	cfg := w.Config(3)
	cfg.Home, cfg.Listen = filepath.Join(t.TempDir(), "copy"), "127.0.0.1:0"
	if err := os.CopyFS(cfg.Home, os.DirFS(w.Config(3).Home)); err != nil {
		t.Fatal(err)
	}
	if !same {
		other := filepath.Join(t.TempDir(), "other")
		if _, err := chain.InitHome(other); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(filepath.Join(other, "node_key.json"), filepath.Join(cfg.Home, "node_key.json")); err != nil {
			t.Fatal(err)
		}
	}
	before, err := chain.LastSigned(cfg.Home)
	if err != nil {
		t.Fatal(err)
	}
	id, err := chain.ReadIdentity(cfg.Home)
	if err != nil {
		t.Fatal(err)
	}
	votes := new(ballots)
	votes.listen(w)
	cfg.OnVotes(votes.hear(1))
	for i := range w.Nodes {
		w.Restart(i)
	}
	twin, err := chain.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := twin.Start(); err != nil {
		t.Fatal(err)
	}
	alone := uint64(1 << 62) // the height by which a copy without peers is let go
	if same {
		alone = before + 20
	}
	halted := false
	for deadline := time.Now().Add(60 * time.Second); !halted && status(t, w.Nodes[0]).Height < alone; time.Sleep(5 * time.Millisecond) {
		for _, n := range []*chain.Node{twin, w.Nodes[3]} {
			if err := n.Err(); errors.Is(err, chain.ErrSignedElsewhere) {
				halted = true
				t.Log(err)
			}
		}
		if time.Now().After(deadline) {
			t.Fatal("both go on")
		}
	}
	if err := twin.Stop(); err != nil {
		t.Error(err)
	}
	w.Stop(3)
	if got, err := chain.LastSigned(cfg.Home); !halted && got != before || err != nil {
		t.Errorf("the copy signed block %d, and %d before it was copied, and nobody minds: %v", got, before, err)
	}
	for i := range 3 {
		nodeSubmit(t, w, i, city(10+i))
	}
	w.Nodes = w.Nodes[:3]
	agree(t, w)
	votes.judge(t, w, id.Validator)
}
