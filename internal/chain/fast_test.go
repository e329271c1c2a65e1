// SPDX-License-Identifier: Apache-2.0

package chain_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	abci "github.com/cometbft/cometbft/abci/types"

	"cityid"
	"cityid/internal/chain"
	"cityid/internal/chain/chaintest"
	"cityid/internal/store"
	"cityid/verify"
)

// lying is an application that spoils the snapshots it serves.
type lying struct {
	abci.Application
	told *atomic.Int64
}

func (l lying) LoadSnapshotChunk(ctx context.Context, req *abci.RequestLoadSnapshotChunk) (*abci.ResponseLoadSnapshotChunk, error) {
	out, err := l.Application.LoadSnapshotChunk(ctx, req)
	if err == nil && len(out.Chunk) > 0 {
		out.Chunk[len(out.Chunk)/2] ^= 1
		l.told.Add(1)
	}
	return out, err
}

// crashing is an application that ends at the last part of a snapshot.
type crashing struct {
	abci.Application
	once *sync.Once
	at   chan struct{}
}

func (c crashing) ApplySnapshotChunk(ctx context.Context, req *abci.RequestApplySnapshotChunk) (*abci.ResponseApplySnapshotChunk, error) {
	if req.Index == 1 {
		c.once.Do(func() { close(c.at) })
		<-ctx.Done() // never
	}
	return c.Application.ApplySnapshotChunk(ctx, req)
}

// TestFastJoin lets a node begin with a snapshot, in a network of which one node
// serves spoilt ones.
func TestFastJoin(t *testing.T) {
	if testing.Short() {
		t.Skip("a network of several nodes")
	}
	w := chaintest.Start(t, 4, time.Second)
	w.WaitHeight(0, 1)
	g, now := w.Genesis, time.Now()
	var last *cityid.Receipt
	tx := func(ops ...cityid.Operation) {
		t.Helper()
		var err error
		if last, err = w.Nodes[0].Submit(ctx, chaintest.Tx(g.Chain, now, ops...), true); err == nil {
			err = last.Err()
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	tx(chaintest.Allocate(chaintest.Allocation("MA.156.1301", cityid.KindCity), chaintest.Allocation("MA.156.1301/20.010203", cityid.KindClass)))
	for b := range 12 {
		var items []cityid.Allocation
		for i := range 1000 {
			items = append(items, chaintest.Allocation(fmt.Sprintf("MA.156.1301/20.010203/%06d", 1000*b+i), cityid.KindObject))
		}
		tx(chaintest.Allocate(items...))
	}
	// Nodes take a snapshot at their start. The third one lies about it.
	told := new(atomic.Int64)
	for i := range w.Nodes {
		w.WaitHeight(i, last.Height+2)
		w.Stop(i)
		cfg := w.Config(i)
		n, err := chain.OpenBetween(cfg, func(a abci.Application) abci.Application {
			if i == 2 {
				return lying{a, told}
			}
			return a
		})
		if err != nil {
			t.Fatal(err)
		}
		w.Nodes[i] = n
		if err := n.Start(); err != nil {
			t.Fatal(err)
		}
		w.WaitHeight(i, last.Height+2)
	}
	trust, err := g.Trust()
	if err != nil {
		t.Fatal(err)
	}
	home := filepath.Join(t.TempDir(), "joins")
	if _, err := chain.InitHome(home); err != nil {
		t.Fatal(err)
	}
	if err := chain.WriteGenesis(home, g); err != nil {
		t.Fatal(err)
	}
	cfg := w.Config(0)
	cfg.Home, cfg.Listen = home, "127.0.0.1:0"
	cfg.Peers = nil
	for i := range w.Nodes {
		cfg.Peers = append(cfg.Peers, w.Nodes[i].ID()+"@"+w.Config(i).Listen)
	}
	cfg.Fast = &chain.Fast{Trust: trust, Sources: []chain.HeaderSource{failing{}, w.Nodes[1]}, Patience: time.Minute}

	if at, err := chain.CheckFast(ctx, g, cfg.Fast); err != nil || at < last.Height {
		t.Errorf("the network is joined at height %d: %v", at, err)
	}
	if os.Getenv("CITYID_TEST") == "long" {
		crashInTheMiddle(t, cfg)
	}
	n, err := chain.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = n.Stop() }()
	if err := n.Start(); err != nil {
		t.Fatal(err)
	}
	height := waitFor(t, n, last.Height+2)
	if b, err := n.Blocks(ctx, cityid.BlockQuery{Limit: 100}); err != nil || b.Blocks[len(b.Blocks)-1].Height <= last.Height {
		t.Errorf("it took the blocks before the snapshot: %v", err)
	}
	if told.Load() == 0 {
		t.Log("the liar was not asked")
	}
	// Another could begin through it, although it has no older blocks.
	for h := last.Height; h < last.Height+3; h++ {
		if raw, err := n.SignedHeader(ctx, h); err != nil {
			t.Errorf("header %d: %v", h, err)
		} else if s, err := verify.DecodeSignedHeader(raw); err != nil || len(s.Priorities) != len(s.Validators) {
			t.Errorf("header %d: %v", h, err)
		}
	}
	if _, err := n.SignedHeader(ctx, 2); cityid.CodeOf(err) != cityid.ErrNotFound {
		t.Errorf("header 2: %v", err)
	}
	if _, err := n.Link(ctx, 2, 1); cityid.CodeOf(err) != cityid.ErrNotFound {
		t.Errorf("link 2: %v", err)
	}
	// It answers, and its answers are proven.
	check := func(n *chain.Node) {
		t.Helper()
		code := cityid.MustParse("MA.156.1301/20.010203/011999")
		raw, err := n.Bundle(ctx, cityid.BundleQuery{Code: code, Kind: cityid.AnswerRecord, From: 1})
		if err != nil {
			t.Fatal(err)
		}
		if r := verify.CheckEncoded(trust, raw, verify.Options{Now: time.Now(), Code: code, Kind: cityid.AnswerRecord}); r.Verdict != verify.Valid || !r.Allocated {
			t.Fatalf("its bundle is %v: %+v", r.Verdict, r)
		}
	}
	check(n)
	tx(chaintest.Allocate(chaintest.Allocation("MA.156.1302", cityid.KindCity)))
	waitFor(t, n, max(last.Height+1, height))
	// It starts again like any node, with or without the trust root.
	if err := n.Stop(); err != nil {
		t.Fatal(err)
	}
	cfg.Fast = nil
	if n, err = chain.Open(cfg); err != nil {
		t.Fatal(err)
	}
	if err := n.Start(); err != nil {
		t.Fatal(err)
	}
	waitFor(t, n, last.Height+1)
	check(n)
}

// crashInTheMiddle begins with a snapshot and ends before its last part.
func crashInTheMiddle(t *testing.T, cfg chain.Config) {
	t.Helper()
	at := make(chan struct{})
	n, err := chain.OpenBetween(cfg, func(a abci.Application) abci.Application {
		return crashing{a, new(sync.Once), at}
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Start(); err != nil {
		t.Fatal(err)
	}
	select {
	case <-at:
	case <-time.After(40 * time.Second):
		t.Fatal("no part of a snapshot came")
	}
	if err := n.Stop(); err != nil {
		t.Fatal(err)
	}
}

// failing is a source that can not be reached.
type failing struct{}

func (failing) SignedHeader(context.Context, uint64) ([]byte, error) {
	return nil, errors.New("not reached")
}
func (failing) Trust(context.Context) ([]cityid.Trust, error) { return nil, errors.New("not reached") }
func (failing) Status(context.Context) (*cityid.NodeStatus, error) {
	return nil, errors.New("not reached")
}

func waitFor(t *testing.T, n *chain.Node, height uint64) uint64 {
	t.Helper()
	c, cancel := context.WithTimeout(ctx, 60*time.Second)
	defer cancel()
	for at := uint64(0); ; {
		var err error
		if at, err = n.Await(c, at); err != nil {
			t.Fatalf("height %d is not reached: %v, %v", height, err, n.Err())
		}
		if at >= height {
			return at
		}
	}
}

// TestFastJoinRefused: what can not begin with a snapshot says so.
func TestFastJoinRefused(t *testing.T) {
	home := filepath.Join(t.TempDir(), "joins")
	id, err := chain.InitHome(home)
	if err != nil {
		t.Fatal(err)
	}
	other, err := chain.InitHome(filepath.Join(t.TempDir(), "other"))
	if err != nil {
		t.Fatal(err)
	}
	g := chaintest.Genesis("fast-refused", cityid.TimeOf(time.Now()), cityid.Validator{Key: other.Validator, Power: 10})
	if err := chain.WriteGenesis(home, g); err != nil {
		t.Fatal(err)
	}
	trust, err := g.Trust()
	if err != nil {
		t.Fatal(err)
	}
	foreign, err := chaintest.Genesis("another", cityid.TimeOf(time.Now()), cityid.Validator{Key: id.Validator, Power: 10}).Trust()
	if err != nil {
		t.Fatal(err)
	}
	cfg := chain.Config{Home: home, Listen: "127.0.0.1:0", Fast: &chain.Fast{Trust: foreign, Sources: []chain.HeaderSource{failing{}}}}
	if _, err := chain.Open(cfg); !errors.Is(err, chain.ErrForeignChain) {
		t.Errorf("a trust root of another chain: %v", err)
	}
	cfg.Fast = &chain.Fast{Trust: trust}
	if _, err := chain.Open(cfg); err == nil {
		t.Error("nobody to ask")
	}
	cfg.Fast = &chain.Fast{Trust: trust, Sources: []chain.HeaderSource{failing{}}, Patience: 200 * time.Millisecond}
	n, err := chain.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = n.Stop() }()
	if err := n.Start(); err != nil {
		t.Fatal(err)
	}
	select {
	case <-n.Done():
	case <-time.After(30 * time.Second):
		t.Fatal("it waits for ever")
	}
	if !errors.Is(n.Err(), chain.ErrNoSnapshot) {
		t.Errorf("it halts with %v", n.Err())
	}
}

// TestFastStopped opens a home that a stop left between taking a snapshot in and
// the first block after it.
func TestFastStopped(t *testing.T) {
	e := newEngine(t, "")
	s := grow(t, e, 1)
	g := chaintest.Genesis(engineChain, chaintest.Epoch, chain.EngineValidator())
	trust, err := g.Trust()
	if err != nil {
		t.Fatal(err)
	}
	for _, commit := range []bool{true, false} {
		home := filepath.Join(t.TempDir(), "stopped")
		if _, err := chain.InitHome(home); err != nil {
			t.Fatal(err)
		}
		if err := chain.WriteGenesis(home, g); err != nil {
			t.Fatal(err)
		}
		st, err := store.Open(filepath.Join(home, "state"), store.Options{ChainID: engineChain})
		if err != nil {
			t.Fatal(err)
		}
		r := restorer(t, st, e)
		offer(t, r, s)
		for i := range s.Chunks {
			apply(t, r, i, chunkOf(t, e, s, i))
		}
		if err := r.Bootstrap(home, s.Height, commit); err != nil {
			t.Fatal(err)
		}
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
		// A backup of it holds a whole node, or none.
		var b bytes.Buffer
		if err := chain.Backup(ctx, home, &b, chain.BackupOptions{}); err != nil {
			t.Fatal(err)
		}
		if _, err := chain.Restore(ctx, filepath.Join(t.TempDir(), "restored"), &b, noCheck); (err == nil) != commit {
			t.Errorf("with the commit %v, its backup: %v", commit, err)
		}
		cfg := chain.Config{Home: home, Listen: "127.0.0.1:0"}
		n, err := chain.Open(cfg)
		if (err == nil) != commit {
			t.Fatalf("with the commit %v, it opens: %v", commit, err)
		}
		if commit {
			if st, err := n.Status(ctx); err != nil || st.Height != s.Height {
				t.Errorf("it is at %+v, %v", st, err)
			}
			if _, err := n.Bundle(ctx, cityid.BundleQuery{Code: chaintest.Apex}); cityid.CodeOf(err) != cityid.ErrUnavailable {
				t.Errorf("it proves without a block: %v", err)
			}
			if err := n.Stop(); err != nil {
				t.Fatal(err)
			}
			continue
		}
		cfg.Fast = &chain.Fast{Trust: trust, Sources: []chain.HeaderSource{e}}
		if n, err = chain.Open(cfg); err != nil {
			t.Fatal(err)
		}
		if !n.Begins() {
			t.Error("it does not begin again")
		}
		if err := n.Stop(); err != nil {
			t.Fatal(err)
		}
	}
}
