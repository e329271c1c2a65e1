// SPDX-License-Identifier: Apache-2.0

package chain_test

import (
	"errors"
	"os"
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
