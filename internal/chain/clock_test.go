// SPDX-License-Identifier: Apache-2.0

package chain_test

import (
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"cityid"
	"cityid/internal/chain"
	"cityid/internal/chain/chaintest"
	"cityid/verify"
)

// TestClocks has clocks of validators jump. One that is ahead and one that is behind do not
// move the time of blocks. Where all jump ahead, so do blocks; where all jump back, CometBFT
// refuses blocks that are more than a minute ahead of the clock, so the network stands until
// the clocks have come there, and goes on. (That refusal goes by the machine's clock here,
// whatever the clocks of the test say.)
func TestClocks(t *testing.T) {
	if testing.Short() {
		t.Skip("starts four validators")
	}
	var ahead [4]atomic.Int64
	w := chaintest.StartWith(t, 4, 300*time.Millisecond, func(_ *chain.Genesis, c []chain.Config) {
		for i := range c {
			c[i].OnClock(func() time.Time { return time.Now().Add(time.Duration(ahead[i].Load())) })
		}
	})
	set := func(offsets ...time.Duration) {
		for i, o := range offsets {
			ahead[i].Store(int64(o))
		}
		top := status(t, w.Nodes[0]).Height
		for i := range w.Nodes {
			w.WaitHeight(i, top+3) // the votes that were on their way are in blocks
		}
	}
	next := 0
	try := func(node int, client time.Duration) error {
		t.Helper()
		next++
		r, err := w.Nodes[node].Submit(ctx, chaintest.Tx(w.Genesis.Chain, time.Now().Add(client), city(next)), true)
		if err == nil {
			err = r.Err()
		}
		return err
	}
	off := func() time.Duration { return status(t, w.Nodes[0]).Time.Sub(time.Now()) }
	for i := range 4 {
		w.WaitHeight(i, 1)
	}
	for i := range 4 {
		if err := try(i, 0); err != nil {
			t.Fatal(err)
		}
	}

	set(0, 0, -time.Hour, time.Hour)
	least := 1 // each may have to wait for the turn of the one that is ahead to pass
	if long() {
		least = 12
	}
	for i := range least {
		if err := try(i%3, 0); err != nil {
			t.Errorf("one ahead, one behind: at node %d: %v", i, err)
		}
	}
	if err := try(3, 0); !errors.Is(err, cityid.ErrExpired) {
		t.Errorf("at the node that is ahead: %v", err)
	}
	if d := off(); d.Abs() > time.Minute {
		t.Errorf("two clocks of four moved the time of blocks by %s", d)
	}

	const jump = time.Minute + 2*time.Second
	set(jump, jump, jump, jump)
	if err := try(1, 0); err != nil {
		t.Errorf("all ahead: %v", err)
	}
	before := status(t, w.Nodes[0]).Time
	if d := time.Until(before); d < jump-10*time.Second {
		t.Errorf("all clocks are ahead by %s, and blocks by %s", jump, d)
	}
	for i := range ahead {
		ahead[i].Store(0)
	}
	at, err := w.Nodes[0].Bundle(ctx, cityid.BundleQuery{Code: cityCode(1), Kind: cityid.AnswerRecord})
	if err != nil {
		t.Errorf("it stands, and does not prove: %v", err)
	}
	if err := try(2, 0); err != nil {
		t.Errorf("all back: %v", err)
	}
	if d := time.Until(before); d > time.Minute {
		t.Errorf("a block %s ahead of the clocks was followed by others", d)
	}
	trust, err := w.Nodes[0].Trust(ctx)
	if err != nil {
		t.Fatal(err)
	}
	// Verifiers' clocks are right: they wait, and then it is as good as any.
	if v := verify.CheckEncoded(&trust[0], at, verify.Options{Now: before.Add(-jump)}); v.Verdict != verify.Undecided {
		t.Errorf("a header of the future is %s: %s", v.Verdict, v.Message)
	}
	if v := verify.CheckEncoded(&trust[0], at, verify.Options{Now: before.Add(time.Second)}); v.Verdict != verify.Valid || !v.Allocated {
		t.Errorf("later it is %s: %s", v.Verdict, v.Message)
	}
	agree(t, w)
	var last time.Time
	for h := range status(t, w.Nodes[0]).Height {
		at := w.Nodes[0].LoadBlock(h + 1).Time
		if !at.After(last) {
			t.Errorf("block %d is of %s, the one before of %s", h+1, at, last)
		}
		last = at
	}
}
