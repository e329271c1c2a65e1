// SPDX-License-Identifier: Apache-2.0

package chain_test

import (
	"bytes"
	"testing"
	"time"

	"cityid"
	"cityid/internal/chain"
	"cityid/internal/chain/chaintest"
)

// decided has a block of whatever transactions carried out, as if a proposer that
// heeds no rule had found enough votes.
func decided(t *testing.T, e *chain.Engine, raws ...[]byte) {
	t.Helper()
	d, err := e.Candidate(true, raws)
	if err != nil {
		t.Fatal(err)
	}
	e.Save(d)
	if err := e.Apply(d); err != nil {
		t.Fatal(err)
	}
}

// What a proposer puts into a block once more, or with a broken signature, changes
// nothing about what became of a transaction.
func TestReceiptStays(t *testing.T) {
	e := newEngine(t, "")
	raw := chaintest.Tx(engineChain, e.Now(), city(1))
	forged := bytes.Clone(raw)
	forged[len(forged)-1] ^= 1
	pending, err := e.Submit(ctx, raw, false)
	if err != nil {
		t.Fatal(err)
	}
	waited := make(chan error, 1)
	go func() {
		_, err := e.Local.Submit(ctx, raw, true)
		waited <- err
	}()
	decided(t, e, forged)
	if r, err := e.Transaction(ctx, pending.ID); err != nil || r.Height != 0 {
		t.Errorf("a forged copy was refused, and the receipt says %+v, %v", r, err)
	}
	// Of one that never came here, a forged copy is no trace either.
	unknown := chaintest.Tx(engineChain, e.Now(), city(3))
	other, _, err := cityid.DecodeTx(unknown)
	if err != nil {
		t.Fatal(err)
	}
	unknown[len(unknown)-1] ^= 1
	decided(t, e, unknown)
	_, err = e.Transaction(ctx, other.ID())
	wantCode(t, err, cityid.ErrNotFound)
	if err := e.Settle(); err != nil {
		t.Fatal(err)
	}
	if err := <-waited; err != nil {
		t.Errorf("whoever waited was told: %v", err)
	}
	want, err := e.Transaction(ctx, pending.ID)
	if err != nil || want.Code != cityid.OK || want.Height == 0 {
		t.Fatalf("%+v, %v", want, err)
	}
	decided(t, e, raw)
	e.Advance(2 * time.Hour)
	decided(t, e, raw, forged)
	e.Advance(3 * 24 * time.Hour) // what is refused is forgotten
	submit(t, e, city(2))
	if r, err := e.Transaction(ctx, pending.ID); err != nil || r.Height != want.Height || r.Code != want.Code {
		t.Errorf("the receipt became %+v, %v; it was %+v", r, err, want)
	}
}
