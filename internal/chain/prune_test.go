// SPDX-License-Identifier: Apache-2.0

package chain_test

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cityid"
	"cityid/internal/chain"
	"cityid/internal/chain/chaintest"
	"cityid/verify"
)

// pruned has a node keep few blocks.
func pruned(c *chain.Config) {
	c.KeepBlocks, c.Snapshots = 20, 10
	c.PruneBy(10)
}

// TestPruning lets a node let blocks go, and asks it for all that rests on them.
func TestPruning(t *testing.T) {
	w := chaintest.StartWith(t, 1, time.Second, func(_ *chain.Genesis, c []chain.Config) { pruned(&c[0]) })
	n := w.Nodes[0]
	w.WaitHeight(0, 1)
	first := nodeSubmit(t, w, 0, city(1))
	old, err := n.Bundle(ctx, cityid.BundleQuery{Code: cityCode(1), Kind: cityid.AnswerRecord})
	if err != nil {
		t.Fatal(err)
	}
	for i := 2; status(t, n).BlocksFrom <= first.Height+10; i++ {
		if i == 200 {
			t.Fatalf("no blocks are let go: %+v", status(t, n))
		}
		nodeSubmit(t, w, 0, city(i))
	}
	s := status(t, n)
	if s.HeadersFrom != 1 || s.BlocksFrom+20 > s.Height+1 || s.BlocksFrom%10 != 0 {
		t.Errorf("at height %d it keeps blocks from %d, headers from %d", s.Height, s.BlocksFrom, s.HeadersFrom)
	}
	// What was in the block is gone, and said to be; the rest is not.
	for what, ask := range map[string]func() error{
		"block":       func() error { _, err := n.Block(ctx, first.Height); return err },
		"transaction": func() error { _, err := n.FindTransaction(ctx, first.ID); return err },
	} {
		if err := ask(); cityid.CodeOf(err) != cityid.ErrNotFound || !strings.Contains(err.Error(), fmt.Sprintf("blocks from height %d", status(t, n).BlocksFrom)) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if r, err := n.Transaction(ctx, first.ID); err != nil || r.Height != first.Height || r.Code != cityid.OK {
		t.Errorf("its receipt: %+v, %v", r, err)
	}
	if p, err := n.Blocks(ctx, cityid.BlockQuery{Before: first.Height + 1, Limit: 1}); err != nil || len(p.Blocks) != 1 ||
		p.Blocks[0].Height != first.Height || !p.Blocks[0].Pruned || p.Blocks[0].Transactions != 1 || p.Blocks[0].Signed != 1 {
		t.Errorf("the list of blocks: %+v, %v", p, err)
	}
	// The bundle of then is proven by the trust root of now, and a new one as well.
	trust, err := w.Genesis.Trust()
	if err != nil {
		t.Fatal(err)
	}
	b, err := verify.Decode(old)
	if err != nil {
		t.Fatal(err)
	}
	head, err := b.Answering()
	if err != nil {
		t.Fatal(err)
	}
	link, err := n.Link(ctx, uint64(head.Height), 1)
	if err != nil {
		t.Fatal(err)
	}
	l, err := verify.DecodeLink(link)
	if err != nil {
		t.Fatal(err)
	}
	a, err := verify.Archive(b, l)
	if err != nil {
		t.Fatal(err)
	}
	archived, err := a.Encode()
	if err != nil {
		t.Fatal(err)
	}
	for _, code := range []cityid.Code{cityCode(1), cityCode(2)} {
		fresh, err := n.Bundle(ctx, cityid.BundleQuery{Code: code, Kind: cityid.AnswerHistory, From: 1})
		if err != nil {
			t.Fatal(err)
		}
		for _, data := range [][]byte{old, fresh, archived} {
			if v := verify.CheckEncoded(trust, data, verify.Options{Now: time.Now()}); v.Verdict != verify.Valid || !v.Allocated {
				t.Errorf("%+v", v)
			}
		}
	}
	// It opens again, keeps all of what it has if told to, and can not do without its
	// state.
	w.Configure(0, func(c *chain.Config) { c.KeepBlocks = 0 })
	w.Restart(0)
	was := status(t, w.Nodes[0]).BlocksFrom
	for i := 300; i < 315; i++ {
		nodeSubmit(t, w, 0, city(i))
	}
	if is := status(t, w.Nodes[0]).BlocksFrom; is != was {
		t.Errorf("told to keep all, it let go those from %d to %d", was, is)
	}
	w.Stop(0)
	emptied := w.Config(0)
	emptied.Home = filepath.Join(t.TempDir(), "emptied")
	if err := os.CopyFS(emptied.Home, os.DirFS(w.Config(0).Home)); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(emptied.Home, "state")); err != nil {
		t.Fatal(err)
	}
	if _, err := chain.Open(emptied); !errors.Is(err, chain.ErrBlocksGone) {
		t.Errorf("without its state it opens: %v", err)
	}
}

// TestJoinPruned lets nodes join a network that let its blocks go: one that wants all
// says what to do, and one that begins with a snapshot follows.
func TestJoinPruned(t *testing.T) {
	if testing.Short() {
		t.Skip("a network of several nodes")
	}
	w := chaintest.StartWith(t, 1, 200*time.Millisecond, func(_ *chain.Genesis, c []chain.Config) { pruned(&c[0]) })
	w.WaitHeight(0, 1)
	for i := 1; status(t, w.Nodes[0]).BlocksFrom < 20; i++ {
		nodeSubmit(t, w, 0, city(i))
	}
	trust, err := w.Genesis.Trust()
	if err != nil {
		t.Fatal(err)
	}
	join := func(fast *chain.Fast) *chain.Node {
		t.Helper()
		cfg := w.Config(0)
		cfg.Home, cfg.Listen, cfg.Fast = filepath.Join(t.TempDir(), "joins"), "127.0.0.1:0", fast
		cfg.Peers = []string{w.Nodes[0].ID() + "@" + w.Config(0).Listen}
		if _, err := chain.InitHome(cfg.Home); err != nil {
			t.Fatal(err)
		}
		if err := chain.WriteGenesis(cfg.Home, w.Genesis); err != nil {
			t.Fatal(err)
		}
		n, err := chain.Open(cfg)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = n.Stop() })
		if err := n.Start(); err != nil {
			t.Fatal(err)
		}
		return n
	}
	n := join(nil)
	select {
	case <-n.Done():
	case <-time.After(30 * time.Second):
		t.Fatal("it waits for ever")
	}
	if err := n.Err(); !errors.Is(err, chain.ErrBlocksGone) || !strings.Contains(err.Error(), "fast_from") {
		t.Errorf("it halts: %v", err)
	}
	n = join(&chain.Fast{Trust: trust, Sources: []chain.HeaderSource{w.Nodes[0]}})
	waitFor(t, n, status(t, w.Nodes[0]).Height+1)
	if s := status(t, n); s.BlocksFrom == 1 || s.HeadersFrom < 2 || s.HeadersFrom > s.BlocksFrom {
		t.Errorf("it keeps blocks from %d, headers from %d", s.BlocksFrom, s.HeadersFrom)
	}
	if _, err := n.Block(ctx, 1); cityid.CodeOf(err) != cityid.ErrNotFound || !strings.Contains(err.Error(), "keeps blocks from height") {
		t.Errorf("block 1: %v", err)
	}
}

// TestPrunedCrash kills a node's process under load while it lets blocks go, at every
// point of the commit sequence and at random. All headers are there then.
func TestPrunedCrash(t *testing.T) {
	if testing.Short() {
		t.Skip("starts many processes")
	}
	cfg := home(t)
	cfg.KeepBlocks, cfg.Snapshots = 12, -1
	w := newTold()
	points, kills := commitPoints, 3
	if long() {
		points, kills = 6*commitPoints, 100
	}
	start := func(i int, env ...string) *process {
		return startChild(t, child{Config: cfg, Base: 1000 * i, Span: 1}, env...)
	}
	for i := range points {
		start(i, fmt.Sprintf("FAIL_TEST_INDEX=%d", 3*commitPoints+i)).end(t, w)
	}
	for i := range kills {
		p := start(points + i)
		p.open(t)
		time.Sleep(rand.N(300 * time.Millisecond)) // whatever it does then
		p.kill(t)
		p.end(t, w)
	}
	cfg.PruneBy(1)
	n, err := chain.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	s := status(t, n)
	if s.BlocksFrom < 10 || s.HeadersFrom != 1 {
		t.Errorf("at height %d it keeps blocks from %d, headers from %d", s.Height, s.BlocksFrom, s.HeadersFrom)
	}
	for h := uint64(1); h < s.Height; h++ {
		if _, err := n.SignedHeader(ctx, h); err != nil {
			t.Errorf("header %d: %v", h, err)
		}
		if _, err := n.Block(ctx, h); (err != nil) != (h < s.BlocksFrom) {
			t.Errorf("blocks are kept from %d on, and block %d: %v", s.BlocksFrom, h, err)
		}
	}
	if err := n.Stop(); err != nil {
		t.Fatal(err)
	}
	w.check(t, cfg)
}

// sizeOf returns how many octets the files in a folder have.
func sizeOf(t *testing.T, dir string) (size int64) {
	t.Helper()
	err := filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil // compacted away
		}
		size += info.Size()
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return size
}

// TestPruningRoom compares what blocks take on the disk with and without letting
// them go.
func TestPruningRoom(t *testing.T) {
	if !long() {
		t.Skip("CITYID_TEST=long runs it")
	}
	size := func(change func(*chain.Config)) (int64, uint64) {
		w := chaintest.StartWith(t, 1, time.Second, func(_ *chain.Genesis, c []chain.Config) { change(&c[0]) })
		w.WaitHeight(0, 1)
		nodeSubmit(t, w, 0, chaintest.Allocate(chaintest.Allocation("MA.156.1301", cityid.KindCity), chaintest.Allocation("MA.156.1301/20.010203", cityid.KindClass)))
		for b := range 400 {
			var items []cityid.Allocation
			for i := range 200 {
				items = append(items, chaintest.Allocation(fmt.Sprintf("MA.156.1301/20.010203/%06d", 200*b+i), cityid.KindObject))
			}
			nodeSubmit(t, w, 0, chaintest.Allocate(items...))
		}
		height := status(t, w.Nodes[0]).Height
		w.Stop(0)
		return sizeOf(t, filepath.Join(w.Config(0).Home, "blocks", "blockstore.db")), height
	}
	all, height := size(func(*chain.Config) {})
	few, _ := size(func(c *chain.Config) { pruned(c); c.KeepBlocks = 100 })
	t.Logf("%d blocks take %d octets; with 100 kept, %d", height, all, few)
	if few > all/2 {
		t.Errorf("letting blocks go saves too little: %d of %d octets", few, all)
	}
}
