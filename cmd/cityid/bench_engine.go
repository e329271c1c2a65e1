// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"cityid"
	"cityid/internal/chain"
)

// engineName is the yardstick of transactions.
const engineName = "engine with its example application"

// engine measures what the engine costs alone: as many validators on the same
// settings, with an application that stores pairs and checks no signatures, and
// transactions of the size of those that allocate one code. They are awaited until
// they are in a block, which is one block earlier than a proof.
func (b *benchmark) engine(ctx context.Context) (err error) {
	sample, err := b.sign(b.allocation("S", 0))
	if err != nil {
		return err
	}
	dir := filepath.Join(b.dir, "engine")
	if err := foundLocal(dir, b.n, func(v []cityid.Validator) *chain.Genesis {
		return newGenesis(b.chain, time.Now(), b.founders(), v)
	}); err != nil {
		return err
	}
	addresses, peers, err := localPeers(dir, b.n)
	if err != nil {
		return err
	}
	var nodes []*chain.Yardstick
	defer func() {
		for _, n := range nodes {
			err = errors.Join(err, n.Stop())
		}
	}()
	for i := range b.n {
		others := slices.Delete(slices.Clone(peers), i, i+1)
		y, err := chain.OpenYardstick(chain.Config{Home: localHome(dir, i), Listen: addresses[i], Peers: others})
		if err != nil {
			return err
		}
		nodes = append(nodes, y)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var sent atomic.Int64
	var mu sync.Mutex
	var all []time.Duration
	var clients sync.WaitGroup
	begin := time.Now()
	for range 1024 {
		clients.Go(func() {
			var mine []time.Duration
			for time.Since(begin) < b.span && ctx.Err() == nil {
				start := time.Now()
				if err := nodes[0].Submit(ctx, pairOf(sent.Add(1), len(sample))); err != nil {
					cancel(err)
					return
				}
				mine = append(mine, time.Since(start))
			}
			mu.Lock()
			defer mu.Unlock()
			all = append(all, mine...)
		})
	}
	clients.Wait()
	took := time.Since(begin)
	if err := context.Cause(ctx); err != nil {
		return err
	}
	m := measure{Name: engineName, Rate: float64(len(all)) / took.Seconds(), Unit: "transactions", Note: fmt.Sprintf("kvstore, %d octets each, 1024 clients, each awaiting its block", len(sample))}
	b.add(withLatency(m, all))
	return nil
}

// pairOf returns a transaction key=value of so many octets.
func pairOf(n int64, size int) []byte {
	value := make([]byte, size*3/4)
	for i := range value {
		value[i] = byte(n>>(i%8)) ^ byte(i*31)
	}
	text := base64.RawURLEncoding.EncodeToString(value)
	tx := fmt.Sprintf("%d=%s", n, text)
	return []byte(tx[:min(size, len(tx))])
}

// catchUp measures how long a replica that has nothing takes to carry out all
// blocks and answer.
func (b *benchmark) catchUp(ctx context.Context) (err error) {
	status, err := b.net.nodes[0].Status(ctx)
	if err != nil {
		return err
	}
	home := filepath.Join(b.dir, "replica")
	if _, err := chain.InitHome(home); err != nil {
		return err
	}
	g, err := chain.ReadGenesis(localHome(b.dir, 0))
	if err != nil {
		return err
	}
	if err := chain.WriteGenesis(home, g); err != nil {
		return err
	}
	start := time.Now()
	n, err := chain.Open(chain.Config{Home: home, Listen: "127.0.0.1:0", Peers: b.net.peers, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, n.Stop()) }()
	if err := n.Start(); err != nil {
		return err
	}
	for {
		s, err := n.Status(ctx)
		if err == nil && s.Height >= status.Height {
			break
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-n.Done():
			return n.Err()
		case <-time.After(10 * time.Millisecond):
		}
	}
	took := time.Since(start)
	b.add(measure{Name: "catch up by blocks", Rate: float64(status.Records) / took.Seconds(), Unit: "entries", P50: took, Note: fmt.Sprintf("%d blocks, %d entries, while sharing the machine", status.Height, status.Records)})
	return nil
}
