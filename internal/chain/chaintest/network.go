// SPDX-License-Identifier: Apache-2.0

package chaintest

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"cityid"
	"cityid/internal/chain"
)

// Network is some validators in this process, connected over loopback, each with
// a home folder of its own. It is for one goroutine; the nodes are not.
type Network struct {
	Genesis *chain.Genesis
	Nodes   []*chain.Node // nil where stopped

	t       testing.TB
	configs []chain.Config
}

// Start founds a network of n validators of equal power and starts them all.
// They are stopped when the test ends. A heartbeat of zero is the default.
func Start(t testing.TB, n int, heartbeat time.Duration) *Network {
	t.Helper()
	return StartWith(t, n, heartbeat, nil)
}

// StartWith is Start after a change to the genesis and the nodes' configurations.
func StartWith(t testing.TB, n int, heartbeat time.Duration, change func(*chain.Genesis, []chain.Config)) *Network {
	t.Helper()
	w := &Network{t: t, Nodes: make([]*chain.Node, n)}
	var peers []string
	var validators []cityid.Validator
	for i, addr := range freeAddresses(t, n) {
		home := filepath.Join(t.TempDir(), fmt.Sprintf("node%d", i))
		id, err := chain.InitHome(home)
		if err != nil {
			t.Fatal(err)
		}
		validators = append(validators, cityid.Validator{Key: id.Validator, Power: 10})
		peers = append(peers, id.Node+"@"+addr)
		w.configs = append(w.configs, chain.Config{Home: home, Listen: addr, Heartbeat: heartbeat, Logger: logger()})
	}
	w.Genesis = Genesis("test-"+filepath.Base(t.TempDir()), cityid.TimeOf(time.Now()), validators...)
	if change != nil {
		change(w.Genesis, w.configs)
	}
	for i := range w.configs {
		if err := chain.WriteGenesis(w.configs[i].Home, w.Genesis); err != nil {
			t.Fatal(err)
		}
		w.configs[i].Peers = append(append([]string(nil), peers[:i]...), peers[i+1:]...)
	}
	t.Cleanup(func() {
		for i := range w.Nodes {
			w.Stop(i)
		}
	})
	for i := range w.Nodes {
		w.Restart(i)
	}
	return w
}

// logger writes to stderr what CITYID_TEST_LOG asks for: "debug", "info", "warn"
// or "error"; nothing if it is empty.
func logger() *slog.Logger {
	var level slog.Level
	if err := level.UnmarshalText([]byte(os.Getenv("CITYID_TEST_LOG"))); err != nil {
		return nil
	}
	return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level}))
}

// Config returns the configuration of a node.
func (w *Network) Config(i int) chain.Config { return w.configs[i] }

// Configure changes how a node is configured when it is started the next time.
func (w *Network) Configure(i int, change func(*chain.Config)) { change(&w.configs[i]) }

// Stop stops node i, if it runs.
func (w *Network) Stop(i int) {
	w.t.Helper()
	if n := w.Nodes[i]; n != nil {
		w.Nodes[i] = nil
		if err := n.Stop(); err != nil {
			w.t.Errorf("node %d: %v", i, err)
		}
	}
}

// Restart starts node i again on its home folder, stopping it first if it runs.
func (w *Network) Restart(i int) {
	w.t.Helper()
	w.Stop(i)
	n, err := chain.Open(w.configs[i])
	if err != nil {
		w.t.Fatalf("node %d: %v", i, err)
	}
	w.Nodes[i] = n
	if err := n.Start(); err != nil {
		w.t.Fatalf("node %d: %v", i, err)
	}
}

// WaitHeight waits until node i has carried out a block of at least the height.
func (w *Network) WaitHeight(i int, height uint64) *cityid.NodeStatus {
	w.t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for {
		s, err := w.Nodes[i].Status(context.Background())
		if err == nil && s.Height >= height {
			return s
		}
		if time.Now().After(deadline) {
			w.t.Fatalf("node %d does not reach height %d: %+v, %v", i, height, s, err)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// freeAddresses returns loopback addresses with different ports on which nobody
// listens.
func freeAddresses(t testing.TB, n int) []string {
	t.Helper()
	var out []string
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close() // all at the end, so that no port comes twice
		out = append(out, l.Addr().String())
	}
	return out
}
