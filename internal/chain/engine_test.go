// SPDX-License-Identifier: Apache-2.0

package chain_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"cityid"
	"cityid/internal/chain"
	"cityid/internal/chain/chaintest"
)

const engineChain = "engine-test"

var ctx = context.Background()

func newEngine(t testing.TB, dir string) *chain.Engine {
	t.Helper()
	e, err := chain.NewEngine(chain.EngineConfig{
		Genesis: chaintest.Genesis(engineChain, chaintest.Epoch, chain.EngineValidator()), Dir: dir,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return e
}

// submit submits a transaction by Key(0), waits, and wants it applied.
func submit(t testing.TB, e *chain.Engine, ops ...cityid.Operation) *cityid.Receipt {
	t.Helper()
	r, err := e.Submit(ctx, chaintest.Tx(engineChain, e.Now(), ops...), true)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Err(); err != nil {
		t.Fatal(err)
	}
	return r
}

func wantCode(t testing.TB, err error, code cityid.ErrorCode) {
	t.Helper()
	if cityid.CodeOf(err) != code {
		t.Fatalf("error %v, want code %s", err, code)
	}
}

func status(t testing.TB, l interface {
	Status(context.Context) (*cityid.NodeStatus, error)
}) *cityid.NodeStatus {
	t.Helper()
	s, err := l.Status(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestAllocateAndRead(t *testing.T) {
	e := newEngine(t, "")
	r := submit(t, e, chaintest.Allocate(
		chaintest.Allocation("MA.156.1301", cityid.KindCity),
		chaintest.Allocation("MA.156.1301.01", cityid.KindDepartment),
	))
	if !r.Provable || r.Height == 0 {
		t.Fatalf("receipt %+v", r)
	}
	got, err := e.Record(ctx, cityid.MustParse("MA.156.1301.01"))
	if err != nil {
		t.Fatal(err)
	}
	if got.Record.Revision != 1 || got.Holder != chaintest.Apex || got.Record.Changed.Height != r.Height || got.AsOf.Height < r.Height {
		t.Fatalf("record %+v", got)
	}
	if want := cityid.MustParse("MA.156.1301.01").Display(); got.Display != want {
		t.Fatalf("display %q, want %q", got.Display, want)
	}
	_, err = e.Record(ctx, cityid.MustParse("MA.156.1302"))
	wantCode(t, err, cityid.ErrNotFound)

	s := status(t, e)
	if s.Chain != engineChain || s.Zone != chaintest.Apex || s.Trust != 1 || s.TrustHash.IsZero() || s.Mempool != 0 {
		t.Fatalf("status %+v", s)
	}
	trust, err := e.Trust(ctx)
	if err != nil || len(trust) != 1 || trust[0].Statement.Hash() != s.TrustHash {
		t.Fatalf("trust %+v, %v", trust, err)
	}
	set, err := e.Settings(ctx)
	if err != nil || set.Params != cityid.DefaultParams {
		t.Fatalf("settings %+v, %v", set, err)
	}
}

func codesOf(list []cityid.Record) []string {
	var out []string
	for i := range list {
		out = append(out, list[i].Code.String())
	}
	return out
}

func TestChildren(t *testing.T) {
	e := newEngine(t, "")
	submit(t, e, chaintest.Allocate(
		chaintest.Allocation("MA.156.13", cityid.KindProvince),
		chaintest.Allocation("MA.156.1301", cityid.KindCity),
		chaintest.Allocation("MA.156.1301.01", cityid.KindDepartment),
		chaintest.Allocation("MA.156.1301.01.02", cityid.KindDepartment),
		chaintest.Allocation("MA.156.1301.02", cityid.KindDepartment),
		chaintest.Allocation("MA.156.130102", cityid.KindCounty),
		chaintest.Allocation("MA.156.130102.01", cityid.KindDepartment),
		chaintest.Allocation("MA.156.1302", cityid.KindCity),
		chaintest.Allocation("MA.156.14", cityid.KindProvince),
	))
	for _, c := range []struct {
		code string
		deep bool
		kind cityid.Kind
		want []string
	}{
		{"MA.156", false, 0, []string{"MA.156.13", "MA.156.14"}},
		{"MA.156.13", false, 0, []string{"MA.156.1301", "MA.156.1302"}},
		{"MA.156.1301", false, 0, []string{"MA.156.1301.01", "MA.156.1301.02", "MA.156.130102"}},
		{"MA.156.1301", false, cityid.KindCounty, []string{"MA.156.130102"}},
		{"MA.156.1301", true, 0, []string{"MA.156.1301.01", "MA.156.1301.01.02", "MA.156.1301.02", "MA.156.130102", "MA.156.130102.01"}},
		{"MA.156.13", true, cityid.KindDepartment, []string{"MA.156.1301.01", "MA.156.1301.01.02", "MA.156.1301.02", "MA.156.130102.01"}},
		{"MA.156.1301.01", false, 0, []string{"MA.156.1301.01.02"}},
		{"MA.156.14", true, 0, nil},
	} {
		for _, limit := range []int{1, 2, 1000} {
			q := cityid.ChildrenQuery{Code: cityid.MustParse(c.code), Deep: c.deep, Kind: c.kind, Limit: limit}
			var got []string
			for {
				page, err := e.Children(ctx, q)
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, codesOf(page.Records)...)
				if page.Next.IsZero() {
					break
				}
				q.After = page.Next
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("%s, deep %v, kind %s, limit %d: %v, want %v", c.code, c.deep, c.kind, limit, got, c.want)
			}
		}
	}
	_, err := e.Children(ctx, cityid.ChildrenQuery{Code: cityid.MustParse("MA.157"), Limit: 1})
	wantCode(t, err, cityid.ErrNotFound)
	_, err = e.Children(ctx, cityid.ChildrenQuery{Code: chaintest.Apex})
	wantCode(t, err, cityid.ErrInvalid)
}

func TestHistory(t *testing.T) {
	e := newEngine(t, "")
	code := cityid.MustParse("MA.156.1301")
	submit(t, e, chaintest.Allocate(chaintest.Allocation("MA.156.1301", cityid.KindCity)))
	for i := range 3 {
		submit(t, e, cityid.Operation{Amend: &cityid.Amend{
			Code: code, Revision: uint32(i + 1), Content: cityid.Content{Names: cityid.Names{{Lang: "en", Text: fmt.Sprint("Name ", i)}}},
		}})
	}
	h, err := e.History(ctx, code)
	if err != nil || len(h.Revisions) != 4 {
		t.Fatalf("history %+v, %v", h, err)
	}
	for i := range 3 {
		if h.Revisions[i].Prev != h.Revisions[i+1].Hash() || h.Revisions[i].Revision != uint32(4-i) {
			t.Errorf("revision %d does not name the one before", h.Revisions[i].Revision)
		}
	}
}

func TestSubmitRefusals(t *testing.T) {
	e := newEngine(t, "")
	op := chaintest.Allocate(chaintest.Allocation("MA.156.1301", cityid.KindCity))
	bad := func(raw []byte, code cityid.ErrorCode) {
		t.Helper()
		_, err := e.Submit(ctx, raw, true)
		wantCode(t, err, code)
	}
	bad([]byte("nonsense"), cityid.ErrMalformed)
	bad(make([]byte, cityid.MaxTx+1), cityid.ErrTooLarge)
	bad(chaintest.Tx("another-chain", e.Now(), op), cityid.ErrWrongChain)
	bad(chaintest.Tx(engineChain, e.Now().Add(-time.Hour), op), cityid.ErrExpired)
	bad(chaintest.Tx(engineChain, e.Now().Add(2*time.Hour), op), cityid.ErrExpired)
	raw := chaintest.Tx(engineChain, e.Now(), op)
	raw[len(raw)-1] ^= 1
	bad(raw, cityid.ErrSignature)

	// What only executing tells is told by the receipt.
	r, err := e.Submit(ctx, chaintest.TxBy(engineChain, e.Now(), []cityid.Signer{chaintest.Key(7)}, op), true)
	if err != nil {
		t.Fatal(err)
	}
	wantCode(t, r.Err(), cityid.ErrNotPermitted)
	if r.Operation != 0 || r.Height == 0 {
		t.Errorf("receipt %+v", r)
	}
	if _, err := e.Record(ctx, cityid.MustParse("MA.156.1301")); cityid.CodeOf(err) != cityid.ErrNotFound {
		t.Errorf("refused and yet there: %v", err)
	}
}

func TestReplayJoins(t *testing.T) {
	e := newEngine(t, "")
	raw := chaintest.Tx(engineChain, e.Now(), chaintest.Allocate(chaintest.Allocation("MA.156.1301", cityid.KindCity)))
	pending, err := e.Submit(ctx, raw, false)
	if err != nil || pending.Height != 0 {
		t.Fatalf("receipt %+v, %v", pending, err)
	}
	if r, err := e.Transaction(ctx, pending.ID); err != nil || r.Height != 0 {
		t.Fatalf("waiting transaction: %+v, %v", r, err)
	}
	first, err := e.Submit(ctx, raw, true)
	if err != nil || first.Err() != nil || first.ID != pending.ID {
		t.Fatalf("receipt %+v, %v", first, err)
	}
	again, err := e.Submit(ctx, raw, true)
	if err != nil || again.Height != first.Height || again.Err() != nil {
		t.Fatalf("submitted again: %+v, %v", again, err)
	}
	_, err = e.Transaction(ctx, cityid.Digest{1})
	wantCode(t, err, cityid.ErrNotFound)
}

// A refused transaction is tried again when it is submitted again.
func TestRetryAfterRefusal(t *testing.T) {
	e := newEngine(t, "")
	raw := chaintest.Tx(engineChain, e.Now(), chaintest.Allocate(chaintest.Allocation("MA.156.1301.01", cityid.KindDepartment)))
	r, err := e.Submit(ctx, raw, true)
	if err != nil {
		t.Fatal(err)
	}
	wantCode(t, r.Err(), cityid.ErrNotFound)
	submit(t, e, chaintest.Allocate(chaintest.Allocation("MA.156.1301", cityid.KindCity)))
	if r, err = e.Submit(ctx, raw, true); err != nil || r.Err() != nil {
		t.Fatalf("%+v, %v", r, err)
	}
}

func TestMempoolFull(t *testing.T) {
	e, err := chain.NewEngine(chain.EngineConfig{
		Genesis: chaintest.Genesis(engineChain, chaintest.Epoch, chain.EngineValidator()), Mempool: 2,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	for i := range 3 {
		_, err := e.Submit(ctx, chaintest.Tx(engineChain, e.Now(), chaintest.Allocate(chaintest.Allocation(fmt.Sprintf("MA.156.130%d", i), cityid.KindCity))), false)
		if i < 2 && err != nil {
			t.Fatal(err)
		} else if i == 2 {
			wantCode(t, err, cityid.ErrFull)
		}
	}
	if err := e.Settle(); err != nil {
		t.Fatal(err)
	}
	if s := status(t, e); s.Mempool != 0 {
		t.Errorf("%d transactions left", s.Mempool)
	}
}

// What expires in the mempool leaves it, and whoever waits is told.
func TestExpiryInMempool(t *testing.T) {
	e := newEngine(t, "")
	raw := chaintest.Tx(engineChain, e.Now(), chaintest.Allocate(chaintest.Allocation("MA.156.1301", cityid.KindCity)))
	if _, err := e.Submit(ctx, raw, false); err != nil {
		t.Fatal(err)
	}
	waited := make(chan error)
	go func() {
		_, err := e.Local.Submit(ctx, raw, true)
		waited <- err
	}()
	time.Sleep(20 * time.Millisecond) // let it join; it is told either way
	e.Advance(11 * time.Minute)
	if err := e.MakeBlock(); err != nil {
		t.Fatal(err)
	}
	wantCode(t, <-waited, cityid.ErrExpired)
	for range 1000 {
		if status(t, e).Mempool == 0 {
			return
		}
		time.Sleep(time.Millisecond)
	}
	t.Error("the expired transaction is still in the mempool")
}

func TestIdleBlocksKeepTheHash(t *testing.T) {
	e := newEngine(t, "")
	submit(t, e, chaintest.Allocate(chaintest.Allocation("MA.156.1301", cityid.KindCity)))
	before := status(t, e)
	for range 5 {
		e.Advance(10 * time.Second)
		if err := e.MakeBlock(); err != nil {
			t.Fatal(err)
		}
	}
	after := status(t, e)
	if after.Height != before.Height+5 || after.AppHash != before.AppHash {
		t.Errorf("height %d to %d, hash %s to %s", before.Height, after.Height, before.AppHash, after.AppHash)
	}
	if !after.Time.After(before.Time.Add(49 * time.Second)) {
		t.Errorf("time went from %s to %s", before.Time, after.Time)
	}
}

func TestReopen(t *testing.T) {
	dir := t.TempDir()
	e := newEngine(t, dir)
	raw := chaintest.Tx(engineChain, e.Now(), chaintest.Allocate(chaintest.Allocation("MA.156.1301", cityid.KindCity)))
	r, err := e.Submit(ctx, raw, true)
	if err != nil || r.Err() != nil {
		t.Fatal(err, r)
	}
	before := status(t, e)
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	e = newEngine(t, dir)
	after := status(t, e)
	if after.Height != before.Height || after.AppHash != before.AppHash {
		t.Fatalf("height %d hash %s, want %d %s", after.Height, after.AppHash, before.Height, before.AppHash)
	}
	again, err := e.Submit(ctx, raw, true)
	if err != nil || again.Height != r.Height {
		t.Fatalf("submitted again: %+v, %v", again, err)
	}
	submit(t, e, chaintest.Allocate(chaintest.Allocation("MA.156.1302", cityid.KindCity)))

	g := chaintest.Genesis("another-chain", chaintest.Epoch, chain.EngineValidator())
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := chain.NewEngine(chain.EngineConfig{Genesis: g, Dir: dir}); !errors.Is(err, chain.ErrForeignChain) {
		t.Errorf("another chain's folder: %v", err)
	}
	g = chaintest.Genesis(engineChain, chaintest.Epoch+1, chain.EngineValidator())
	if _, err := chain.NewEngine(chain.EngineConfig{Genesis: g, Dir: dir}); !errors.Is(err, chain.ErrForeignChain) {
		t.Errorf("another genesis: %v", err)
	}
	newEngine(t, dir)
}
