// SPDX-License-Identifier: Apache-2.0

package chain_test

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"cityid"
	"cityid/internal/chain"
	"cityid/internal/chain/chaintest"
)

func changedSince(t *testing.T, l *chain.Local, after uint64) []string {
	t.Helper()
	c, err := l.Changes(ctx, after)
	if err != nil || c.Gap {
		t.Fatalf("changes after %d: %+v, %v", after, c, err)
	}
	return texts(c.Codes)
}

func texts(codes []cityid.Code) []string {
	out := []string{}
	for _, c := range codes {
		out = append(out, c.String())
	}
	return out
}

func TestChanges(t *testing.T) {
	dir := t.TempDir()
	e := newEngine(t, dir)
	if got := changedSince(t, e.Local, 0); !slices.Equal(got, []string{"MA.156"}) {
		t.Errorf("the genesis changed %v", got)
	}
	r1 := submit(t, e, city(2), city(1))
	if got := changedSince(t, e.Local, r1.Height-1); !slices.Equal(got, []string{"MA.156.1001", "MA.156.1002"}) {
		t.Errorf("allocations changed %v", got)
	}
	// An amendment that a proposal carries out changes the record when it is
	// approved, by an operation that does not name the code.
	a := chaintest.Allocation("MA.156.1009", cityid.KindCity)
	a.Policy = chaintest.Policy(chaintest.Key(2))
	a.Policy.Threshold = 2
	a.Policy.Members = append(a.Policy.Members, chaintest.Policy(chaintest.Key(3)).Members...)
	submit(t, e, chaintest.Allocate(a))
	by := func(n int, op cityid.Operation) *cityid.Receipt {
		t.Helper()
		r, err := e.Submit(ctx, chaintest.TxBy(engineChain, e.Now(), []cityid.Signer{chaintest.Key(n)}, op), true)
		if err != nil || r.Err() != nil {
			t.Fatalf("%+v, %v", r, err)
		}
		return r
	}
	r2 := by(2, cityid.Operation{Propose: &cityid.Propose{Operations: []cityid.Operation{{Amend: &cityid.Amend{
		Code: a.Code, Revision: 1, Content: cityid.Content{Names: cityid.Names{{Lang: "en", Text: "Renamed"}}},
	}}}}})
	if got := changedSince(t, e.Local, r2.Height-1); len(got) != 0 {
		t.Errorf("a proposal changed %v", got)
	}
	p, err := e.Proposal(ctx, r2.Proposals[0])
	if err != nil {
		t.Fatal(err)
	}
	r3 := by(3, cityid.Operation{Approve: &cityid.Approve{Proposal: r2.Proposals[0], Digest: p.Digest}})
	if got := changedSince(t, e.Local, r3.Height-1); !slices.Equal(got, []string{"MA.156.1009"}) {
		t.Errorf("an approval changed %v", got)
	}
	if b, err := e.Block(ctx, r3.Height); err != nil || !slices.Equal(texts(b.Changed), []string{"MA.156.1009"}) {
		t.Errorf("block %d: %+v, %v", r3.Height, b, err)
	}
	want := []string{"MA.156", "MA.156.1001", "MA.156.1002", "MA.156.1009"}
	if got := changedSince(t, e.Local, 0); !slices.Equal(got, want) {
		t.Errorf("since the genesis: %v", got)
	}
	if got := changedSince(t, e.Local, 1<<40); len(got) != 0 {
		t.Errorf("after a height to come: %v", got)
	}

	// Of what was before its start, a node knows nothing.
	height := status(t, e).Height
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	e = newEngine(t, dir)
	if c, err := e.Changes(ctx, height-1); err != nil || !c.Gap || len(c.Codes) != 0 {
		t.Errorf("after a restart: %+v, %v", c, err)
	}
	if got := changedSince(t, e.Local, height); len(got) != 0 {
		t.Errorf("after a restart: %v", got)
	}
	if b, err := e.Block(ctx, r3.Height); err != nil || b.Changed != nil {
		t.Errorf("block %d after a restart: %+v, %v", r3.Height, b, err)
	}
	submit(t, e, city(3))
	if got := changedSince(t, e.Local, height); !slices.Equal(got, []string{"MA.156.1003"}) {
		t.Errorf("after a restart: %v", got)
	}
}

func TestAwait(t *testing.T) {
	e := newEngine(t, "")
	now := status(t, e).Height
	if h, err := e.Await(ctx, 0); err != nil || h != now {
		t.Fatalf("await 0: %d, %v", h, err)
	}
	var wg sync.WaitGroup
	for range 100 {
		wg.Go(func() {
			h, err := e.Await(ctx, now)
			if err != nil || h <= now {
				t.Errorf("await %d: %d, %v", now, h, err)
				return
			}
			if b, err := e.Block(ctx, h); err != nil || b.Height != h || b.Changed == nil {
				t.Errorf("block %d: %+v, %v", h, b, err)
			}
		})
	}
	if err := e.MakeBlock(); err != nil {
		t.Fatal(err)
	}
	wg.Wait()
	brief, cancel := context.WithTimeout(ctx, time.Millisecond)
	defer cancel()
	if _, err := e.Await(brief, 1<<40); err != context.DeadlineExceeded {
		t.Errorf("await a height to come: %v", err)
	}
	done := make(chan error)
	go func() {
		_, err := e.Await(ctx, 1<<40)
		done <- err
	}()
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	wantCode(t, <-done, cityid.ErrUnavailable)
}

func TestBlocks(t *testing.T) {
	e := newEngine(t, "")
	var busy []uint64
	for i := range 5 {
		r := submit(t, e, city(i))
		busy = append([]uint64{r.Height}, busy...)
		for range 3 {
			if err := e.MakeBlock(); err != nil {
				t.Fatal(err)
			}
		}
	}
	top := status(t, e).Height
	var all []uint64
	for h := top; h > 0; h-- {
		all = append(all, h)
	}
	for _, c := range []struct {
		q    cityid.BlockQuery
		want []uint64
	}{
		{cityid.BlockQuery{}, all},
		{cityid.BlockQuery{Busy: true}, busy},
		{cityid.BlockQuery{Before: 4}, []uint64{3, 2, 1}},
		{cityid.BlockQuery{Before: 1}, nil},
		{cityid.BlockQuery{Before: 1 << 60, Busy: true}, busy},
		{cityid.BlockQuery{Before: busy[0], Busy: true}, busy[1:]},
	} {
		for _, limit := range []int{1, 2, 100} {
			q, got := c.q, []uint64(nil)
			q.Limit = limit
			for pages := 0; ; pages++ {
				page, err := e.Blocks(ctx, q)
				if err != nil || len(page.Blocks) > limit || pages > 100 {
					t.Fatalf("%+v: %+v, %v", q, page, err)
				}
				for _, b := range page.Blocks {
					got = append(got, b.Height)
					if b.Txs != nil || b.Changed != nil || b.Validators != 1 || b.Proposer != chain.EngineValidator().Key || b.Size == 0 || b.Hash.IsZero() || b.AppHash.IsZero() || b.Time.IsZero() {
						t.Errorf("block %+v", b)
					}
					if b.Signed != 1 && b.Height != top || b.Signed != 0 && b.Height == top {
						t.Errorf("block %d is signed by %d", b.Height, b.Signed)
					}
					if busy := slices.Contains(busy, b.Height); busy != (b.Transactions == 1) {
						t.Errorf("block %d has %d transactions", b.Height, b.Transactions)
					}
				}
				if page.Next == 0 {
					break
				}
				q.Before = page.Next
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("%+v by %d: %v, want %v", c.q, limit, got, c.want)
			}
		}
	}
	for _, limit := range []int{0, 101, -1} {
		_, err := e.Blocks(ctx, cityid.BlockQuery{Limit: limit})
		wantCode(t, err, cityid.ErrInvalid)
	}
	for _, h := range []uint64{0, top + 1, 1 << 63} {
		_, err := e.Block(ctx, h)
		wantCode(t, err, cityid.ErrNotFound)
	}
}

func TestBlockAndTransaction(t *testing.T) {
	e := newEngine(t, "")
	good := chaintest.Tx(engineChain, e.Now(), city(1))
	r, err := e.Submit(ctx, good, true)
	if err != nil || r.Err() != nil {
		t.Fatalf("%+v, %v", r, err)
	}
	again := chaintest.Tx(engineChain, e.Now().Add(time.Second), city(1)) // allocates the same code
	refused, err := e.Submit(ctx, again, true)
	if err != nil || refused.Code != cityid.ErrExists {
		t.Fatalf("%+v, %v", refused, err)
	}

	b, err := e.Block(ctx, r.Height)
	if err != nil || len(b.Txs) != 1 || b.Transactions != 1 {
		t.Fatalf("%+v, %v", b, err)
	}
	if diff := cmp.Diff(*r, b.Txs[0].Receipt); diff != "" {
		t.Errorf("submitted (-) and in the block (+):\n%s", diff)
	}
	if op := b.Txs[0].Body.Operations[0].Allocate; op == nil || op.Items[0].Code.String() != "MA.156.1001" {
		t.Errorf("body %+v", b.Txs[0].Body)
	}
	if b, err = e.Block(ctx, refused.Height); err != nil || b.Txs[0].Receipt.Code != cityid.ErrExists || len(b.Changed) != 0 {
		t.Errorf("%+v, %v", b, err)
	}

	for raw, want := range map[string]*cityid.Receipt{string(good): r, string(again): refused} {
		a, err := e.FindTransaction(ctx, want.ID)
		if err != nil || string(a.Raw) != raw || a.Body == nil || a.Receipt.Height != want.Height || a.Receipt.Code != want.Code {
			t.Errorf("%+v, %v", a, err)
		}
	}
	_, err = e.FindTransaction(ctx, cityid.Digest{1})
	wantCode(t, err, cityid.ErrNotFound)
	waits, err := e.Submit(ctx, chaintest.Tx(engineChain, e.Now(), city(2)), false)
	if err != nil {
		t.Fatal(err)
	}
	_, err = e.FindTransaction(ctx, waits.ID)
	wantCode(t, err, cityid.ErrNotFound)
	if err := e.Settle(); err != nil {
		t.Fatal(err)
	}
	if a, err := e.FindTransaction(ctx, waits.ID); err != nil || a.Receipt.Height == 0 {
		t.Errorf("%+v, %v", a, err)
	}

	// Two days later the receipt of the refusal is forgotten, not that it was one.
	e.Advance(49 * time.Hour)
	if err := e.MakeBlock(); err != nil {
		t.Fatal(err)
	}
	submit(t, e, city(3))
	submit(t, e, city(4))
	_, err = e.FindTransaction(ctx, refused.ID)
	wantCode(t, err, cityid.ErrNotFound)
	b, err = e.Block(ctx, refused.Height)
	if err != nil || b.Txs[0].Receipt.Code != cityid.ErrUnavailable || b.Txs[0].Receipt.ID != refused.ID || b.Txs[0].Body == nil {
		t.Errorf("%+v, %v", b, err)
	}
	if a, err := e.FindTransaction(ctx, r.ID); err != nil || a.Receipt.Height != r.Height || a.Receipt.Code != cityid.OK {
		t.Errorf("%+v, %v", a, err)
	}
}

// A node and an engine tell the same of what happens.
var _, _ interface {
	Await(ctx context.Context, after uint64) (uint64, error)
	Changes(ctx context.Context, after uint64) (*cityid.Changes, error)
	Blocks(ctx context.Context, q cityid.BlockQuery) (*cityid.BlockPage, error)
	Block(ctx context.Context, height uint64) (*cityid.Block, error)
	FindTransaction(ctx context.Context, id cityid.Digest) (*cityid.TransactionAnswer, error)
} = (*chain.Node)(nil), (*chain.Engine)(nil)
