// SPDX-License-Identifier: Apache-2.0

package chain_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"cityid"
	"cityid/internal/chain"
	"cityid/internal/chain/chaintest"
	"cityid/verify"
)

// TestFastMillion says how long a cold replica of a million records takes until it
// proves the last of them, with a snapshot and with all blocks.
func TestFastMillion(t *testing.T) {
	if os.Getenv("CITYID_TEST") != "long" {
		t.Skip("takes minutes: set CITYID_TEST=long")
	}
	const records, batch = 1_000_000, 500
	w := chaintest.Start(t, 1, time.Second)
	w.WaitHeight(0, 1)
	name := w.Genesis.Chain
	r, err := w.Nodes[0].Submit(ctx, chaintest.Tx(name, time.Now(), chaintest.Allocate(
		chaintest.Allocation("MA.156.1301", cityid.KindCity), chaintest.Allocation("MA.156.1301/20.010203", cityid.KindClass))), true)
	if err != nil || r.Err() != nil {
		t.Fatal(err, r)
	}
	start := time.Now()
	for at := 0; at < records; at += batch {
		items := make([]cityid.Allocation, batch)
		for i := range items {
			items[i] = chaintest.Allocation(fmt.Sprintf("MA.156.1301/20.010203/%07d", at+i), cityid.KindObject)
			items[i].Content.Names = cityid.Names{
				{Lang: "en", Text: fmt.Sprintf("Street lamp number %07d on the northern side of the road", at+i)},
				{Lang: "zh", Text: fmt.Sprintf("道路北侧路灯第%07d号，由市城市管理局负责维护", at+i)},
			}
		}
		last := at+batch >= records || at/batch%64 == 63
		r, err := w.Nodes[0].Submit(ctx, chaintest.Tx(name, time.Now(), chaintest.Allocate(items...)), last)
		if err != nil || last && r.Err() != nil {
			t.Fatal(err, r)
		}
	}
	s := w.WaitHeight(0, 1)
	t.Logf("%d entries at height %d after %.1f s", s.Records, s.Height, time.Since(start).Seconds())
	w.Restart(0) // it serves a snapshot of what it starts with
	w.WaitHeight(0, s.Height+3)
	trust, err := w.Genesis.Trust()
	if err != nil {
		t.Fatal(err)
	}
	code := cityid.MustParse(fmt.Sprintf("MA.156.1301/20.010203/%07d", records-1))
	for what, fast := range map[string]*chain.Fast{
		"with a snapshot": {Trust: trust, Sources: []chain.HeaderSource{w.Nodes[0]}}, "with all blocks": nil,
	} {
		home := filepath.Join(t.TempDir(), "cold")
		if _, err := chain.InitHome(home); err != nil {
			t.Fatal(err)
		}
		if err := chain.WriteGenesis(home, w.Genesis); err != nil {
			t.Fatal(err)
		}
		cfg := w.Config(0)
		cfg.Home, cfg.Listen, cfg.Fast = home, "127.0.0.1:0", fast
		cfg.Peers = []string{w.Nodes[0].ID() + "@" + w.Config(0).Listen}
		start := time.Now()
		n, err := chain.Open(cfg)
		if err != nil {
			t.Fatal(err)
		}
		if err := n.Start(); err != nil {
			t.Fatal(err)
		}
		for {
			raw, err := n.Bundle(ctx, cityid.BundleQuery{Code: code, Kind: cityid.AnswerRecord, From: 1})
			if err == nil {
				r := verify.CheckEncoded(trust, raw, verify.Options{Now: time.Now(), Code: code, Kind: cityid.AnswerRecord})
				if r.Verdict == verify.Valid && r.Allocated {
					break
				}
			}
			if time.Since(start) > 10*time.Minute || n.Err() != nil {
				t.Fatalf("%s: %v, %v", what, err, n.Err())
			}
			time.Sleep(10 * time.Millisecond)
		}
		t.Logf("%s, it proves the last record after %.1f s", what, time.Since(start).Seconds())
		if err := n.Stop(); err != nil {
			t.Fatal(err)
		}
	}
}
