// SPDX-License-Identifier: Apache-2.0

package chain_test

import (
	"testing"
	"time"

	"cityid"
	"cityid/internal/chain"
	"cityid/internal/chain/chaintest"
)

// flood submits allocations by somebody without any right until one is not
// taken, and returns how many were and why it ended. The first names the city
// with the number from.
func flood(t *testing.T, e *chain.Engine, from int) (taken int, err error) {
	t.Helper()
	for ; taken < 1000; taken++ {
		raw := chaintest.TxBy(engineChain, e.Now(), []cityid.Signer{chaintest.Key(99)}, city(from+taken))
		if _, err := e.Submit(ctx, raw, false); err != nil {
			return taken, err
		}
	}
	return taken, nil
}

// Whoever holds no key of any policy can fill no more than a little of the
// blocks, and keeps nobody else out.
func TestStrangers(t *testing.T) {
	e := newEngine(t, "")
	taken, err := flood(t, e, 1000)
	wantCode(t, err, cityid.ErrFull)
	if taken < 100 || taken > 256 {
		t.Errorf("%d transactions were taken before the allowance was used up", taken)
	}
	// Neither somebody new to this node, nor somebody it has seen, is kept out.
	allocate := func(code string, policy *cityid.Policy) cityid.Operation {
		a := chaintest.Allocation(code, cityid.KindCity)
		a.Policy = policy
		return chaintest.Allocate(a)
	}
	later := chaintest.TxBy(engineChain, e.Now(), []cityid.Signer{chaintest.Key(5)},
		chaintest.Allocate(chaintest.Allocation("MA.156.9001.01", cityid.KindDepartment)))
	if _, err := e.Submit(ctx, chaintest.Tx(engineChain, e.Now(), allocate("MA.156.9001", chaintest.Policy(chaintest.Key(5)))), false); err != nil {
		t.Fatal(err)
	}
	// What follows a transaction that waits may have to be submitted again.
	_, err = e.Submit(ctx, later, false)
	wantCode(t, err, cityid.ErrFull)
	if err := e.Settle(); err != nil {
		t.Fatal(err)
	}
	if r, err := e.Submit(ctx, later, true); err != nil || r.Err() != nil {
		t.Fatalf("%+v, %v", r, err)
	}
	submit(t, e, allocate("MA.156.9002", nil))

	if _, err := flood(t, e, 3000); cityid.CodeOf(err) != cityid.ErrFull {
		t.Errorf("blocks gave the allowance back: %v", err)
	}
	e.Advance(30 * time.Second)
	if taken, _ := flood(t, e, 4000); taken < 3 || taken > 10 {
		t.Errorf("%d transactions were taken after half a minute", taken)
	}
}

// What follows a transaction that waits is taken with it, as long as nobody
// floods.
func TestFollowing(t *testing.T) {
	e := newEngine(t, "")
	a := chaintest.Allocation("MA.156.9001", cityid.KindCity)
	a.Policy = chaintest.Policy(chaintest.Key(5))
	first := chaintest.Tx(engineChain, e.Now(), chaintest.Allocate(a))
	second := chaintest.TxBy(engineChain, e.Now(), []cityid.Signer{chaintest.Key(5)},
		chaintest.Allocate(chaintest.Allocation("MA.156.9001.01", cityid.KindDepartment)))
	if _, err := e.Submit(ctx, first, false); err != nil {
		t.Fatal(err)
	}
	if r, err := e.Submit(ctx, second, true); err != nil || r.Err() != nil {
		t.Fatalf("%+v, %v", r, err)
	}
}

// Whoever brings a new version of the trust root, which proves itself, gains
// nothing else by it.
func TestTrustGivesNoStanding(t *testing.T) {
	e := newEngine(t, "")
	stranger := chaintest.Key(99)
	op := cityid.Operation{SetTrust: &cityid.SetTrust{Trust: *signNextTrust(t, e)}}
	r, err := e.Submit(ctx, chaintest.TxBy(engineChain, e.Now(), []cityid.Signer{stranger}, op), true)
	if err != nil || r.Err() != nil {
		t.Fatalf("%+v, %v", r, err)
	}
	if e.Stands(stranger.Key) {
		t.Error("the stranger may submit what he likes")
	}
	submit(t, e, city(1))
	if !e.Stands(chaintest.Key(0).Key) {
		t.Error("the officer may not")
	}
	e.Advance(time.Hour)
	if err := e.MakeBlock(); err != nil {
		t.Fatal(err)
	}
	if e.Stands(chaintest.Key(0).Key) {
		t.Error("the officer is remembered for good")
	}
}

// A transaction that a block has refused does not get into another block before
// it would be applied.
func TestRefusedAgain(t *testing.T) {
	e := newEngine(t, "")
	submit(t, e, city(1))
	raw := chaintest.Tx(engineChain, e.Now(), city(2), city(1))
	r, err := e.Submit(ctx, raw, true)
	if err != nil {
		t.Fatal(err)
	}
	wantCode(t, r.Err(), cityid.ErrExists)
	_, err = e.Submit(ctx, raw, true)
	wantCode(t, err, cityid.ErrExists)
	if s := status(t, e); s.Mempool != 0 {
		t.Errorf("%d transactions wait", s.Mempool)
	}
}

// Receipts of refused transactions are forgotten after two days, of applied
// ones never.
func TestRefusalsAreForgotten(t *testing.T) {
	e := newEngine(t, "")
	refused, err := e.Submit(ctx, chaintest.Tx(engineChain, e.Now(), city(1), city(1)), true)
	if err != nil || refused.Code == cityid.OK {
		t.Fatalf("%+v, %v", refused, err)
	}
	retried := chaintest.Tx(engineChain, e.Now(), chaintest.Allocate(chaintest.Allocation("MA.156.1001.01", cityid.KindDepartment)))
	mended, err := e.Submit(ctx, retried, true)
	if err != nil || mended.Code == cityid.OK {
		t.Fatalf("%+v, %v", mended, err)
	}
	applied := submit(t, e, city(1))
	if mended, err = e.Submit(ctx, retried, true); err != nil || mended.Err() != nil {
		t.Fatalf("%+v, %v", mended, err)
	}
	e.Advance(47 * time.Hour)
	submit(t, e, city(2))
	if r, err := e.Transaction(ctx, refused.ID); err != nil || r.Code != refused.Code {
		t.Fatalf("forgotten early: %+v, %v", r, err)
	}
	e.Advance(2 * time.Hour)
	submit(t, e, city(3))
	_, err = e.Transaction(ctx, refused.ID)
	wantCode(t, err, cityid.ErrNotFound)
	for _, id := range []cityid.Digest{applied.ID, mended.ID} {
		if r, err := e.Transaction(ctx, id); err != nil || r.Code != cityid.OK {
			t.Errorf("%+v, %v", r, err)
		}
	}
}
