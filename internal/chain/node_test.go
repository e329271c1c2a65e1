// SPDX-License-Identifier: Apache-2.0

package chain_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"cityid"
	"cityid/internal/chain"
	"cityid/internal/chain/chaintest"
)

func nodeSubmit(t testing.TB, w *chaintest.Network, i int, ops ...cityid.Operation) *cityid.Receipt {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for {
		r, err := w.Nodes[i].Submit(ctx, chaintest.Tx(w.Genesis.Chain, time.Now(), ops...), true)
		if errors.Is(err, cityid.ErrUnavailable) { // no block yet
			time.Sleep(5 * time.Millisecond)
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Err(); err != nil {
			t.Fatal(err)
		}
		return r
	}
}

func city(n int) cityid.Operation {
	return chaintest.Allocate(chaintest.Allocation(fmt.Sprintf("MA.156.%04d", 1000+n), cityid.KindCity))
}

func TestOneValidator(t *testing.T) {
	w := chaintest.Start(t, 1, 200*time.Millisecond)
	r := nodeSubmit(t, w, 0, city(1))
	if !r.Provable {
		t.Errorf("receipt %+v", r)
	}
	if _, err := w.Nodes[0].Record(ctx, cityid.MustParse("MA.156.1001")); err != nil {
		t.Fatal(err)
	}
	// The heartbeat goes on and changes nothing.
	before := w.WaitHeight(0, status(t, w.Nodes[0]).Height+2)
	after := w.WaitHeight(0, before.Height+3)
	if after.AppHash != before.AppHash {
		t.Errorf("idle blocks changed the app hash from %s to %s", before.AppHash, after.AppHash)
	}
	if idle := after.Time.Sub(before.Time); idle < 300*time.Millisecond {
		t.Errorf("%d blocks in %s, with a heartbeat of 200ms", after.Height-before.Height, idle)
	}
	if after.Validator == "" || after.CatchingUp {
		t.Errorf("status %+v", after)
	}

	if _, err := chain.Open(w.Config(0)); !errors.Is(err, chain.ErrLocked) {
		t.Errorf("a second node on the folder: %v", err)
	}

	w.Restart(0)
	again := status(t, w.Nodes[0])
	if again.Height < after.Height || again.AppHash != after.AppHash {
		t.Errorf("restarted at height %d, hash %s; was %d, %s", again.Height, again.AppHash, after.Height, after.AppHash)
	}
	nodeSubmit(t, w, 0, city(2))
	got, err := w.Nodes[0].Transaction(ctx, r.ID)
	if err != nil || got.Height != r.Height || !got.Provable {
		t.Errorf("receipt after the restart: %+v, %v", got, err)
	}
	select {
	case <-w.Nodes[0].Done():
		t.Error("done while running")
	default:
	}
	n := w.Nodes[0]
	w.Stop(0)
	<-n.Done()
	if n.Err() != nil {
		t.Errorf("after a stop: %v", n.Err())
	}
	_, err = n.Record(ctx, cityid.MustParse("MA.156.1001"))
	wantCode(t, err, cityid.ErrUnavailable)
	_, err = n.Submit(ctx, chaintest.Tx(w.Genesis.Chain, time.Now(), city(3)), true)
	wantCode(t, err, cityid.ErrUnavailable)
}

// A state that is lost is made again from the blocks; a state or blocks of
// another chain are refused.
func TestRebuild(t *testing.T) {
	w := chaintest.Start(t, 1, 0)
	for i := range 5 {
		nodeSubmit(t, w, 0, city(i))
	}
	want := status(t, w.Nodes[0])
	w.Stop(0)
	home := w.Config(0).Home
	if err := os.RemoveAll(filepath.Join(home, "state")); err != nil {
		t.Fatal(err)
	}
	w.Restart(0)
	if got := w.WaitHeight(0, want.Height); got.AppHash != want.AppHash {
		t.Errorf("app hash %s, want %s", got.AppHash, want.AppHash)
	}
	w.Stop(0)

	if err := os.Remove(filepath.Join(home, "genesis.json")); err != nil {
		t.Fatal(err)
	}
	other := *w.Genesis
	other.Chain = "another-chain"
	if err := chain.WriteGenesis(home, &other); err != nil {
		t.Fatal(err)
	}
	if _, err := chain.Open(w.Config(0)); !errors.Is(err, chain.ErrForeignChain) {
		t.Errorf("state of another chain: %v", err)
	}
	if err := os.RemoveAll(filepath.Join(home, "state")); err != nil {
		t.Fatal(err)
	}
	if _, err := chain.Open(w.Config(0)); !errors.Is(err, chain.ErrForeignChain) {
		t.Errorf("blocks of another chain: %v", err)
	}
}

// When the storage fails, the node halts and says so.
func TestHalt(t *testing.T) {
	w := chaintest.Start(t, 1, 300*time.Millisecond)
	nodeSubmit(t, w, 0, city(1))
	n := w.Nodes[0]
	w.Nodes[0] = nil
	n.CloseStore()
	select {
	case <-n.Done():
	case <-time.After(15 * time.Second):
		t.Fatal("the node goes on without its storage")
	}
	if !errors.Is(n.Err(), chain.ErrHalted) {
		t.Errorf("error %v", n.Err())
	}
	if err := n.Stop(); err != nil {
		t.Errorf("stop: %v", err)
	}
	if !errors.Is(n.Err(), chain.ErrHalted) {
		t.Errorf("after the stop: %v", n.Err())
	}
}

func TestManySubmitters(t *testing.T) {
	w := chaintest.Start(t, 1, 0)
	nodeSubmit(t, w, 0, city(0))
	var wg sync.WaitGroup
	for i := range 100 {
		wg.Go(func() {
			r, err := w.Nodes[0].Submit(ctx, chaintest.Tx(w.Genesis.Chain, time.Now(), city(1+i)), true)
			if err != nil || r.Err() != nil || !r.Provable {
				t.Errorf("%d: %+v, %v", i, r, err)
			}
		})
	}
	wg.Wait()
}

func TestStopTellsWaiters(t *testing.T) {
	w := chaintest.Start(t, 4, 0)
	for i := range 4 {
		w.WaitHeight(i, 1)
	}
	w.Stop(2)
	w.Stop(3) // no quorum is left
	failed := make(chan error)
	go func() {
		_, err := w.Nodes[0].Submit(ctx, chaintest.Tx(w.Genesis.Chain, time.Now(), city(1)), true)
		failed <- err
	}()
	select {
	case err := <-failed:
		t.Fatalf("without a quorum: %v", err)
	case <-time.After(300 * time.Millisecond):
	}
	w.Stop(0)
	wantCode(t, <-failed, cityid.ErrUnavailable)
}

func TestFourValidators(t *testing.T) {
	if testing.Short() {
		t.Skip("starts four validators and restarts one")
	}
	w := chaintest.Start(t, 4, time.Second)
	for i := range 8 {
		nodeSubmit(t, w, i%4, city(i))
	}
	agree(t, w)

	w.Stop(3)
	for i := range 2 { // slow: the absent one's turn to propose has to pass
		nodeSubmit(t, w, i, city(100+i))
	}
	w.Restart(3)
	w.WaitHeight(3, status(t, w.Nodes[0]).Height)
	nodeSubmit(t, w, 3, city(200))
	agree(t, w)
	for i := range 4 {
		if _, err := w.Nodes[i].Record(ctx, cityid.MustParse("MA.156.1101")); err != nil {
			t.Errorf("node %d: %v", i, err)
		}
	}
	checkHeaders(t, w.Nodes[3].LightBlock, int64(status(t, w.Nodes[3]).Height))
}

// agree waits until all nodes are at one height, and compares their hashes.
func agree(t *testing.T, w *chaintest.Network) {
	t.Helper()
	for range 1000 {
		first := status(t, w.Nodes[0])
		same := 0
		for _, n := range w.Nodes {
			if s := status(t, n); s.Height == first.Height {
				same++
				if s.AppHash != first.AppHash {
					t.Fatalf("height %d: app hashes %s and %s", s.Height, s.AppHash, first.AppHash)
				}
			}
		}
		if same == len(w.Nodes) {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Fatal("the nodes do not come to one height")
}

func TestPortInUse(t *testing.T) {
	w := chaintest.Start(t, 1, 0)
	w.Stop(0)
	l, err := net.Listen("tcp", w.Config(0).Listen)
	if err != nil {
		t.Skip("the port is taken meanwhile")
	}
	defer l.Close()
	n, err := chain.Open(w.Config(0))
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Start(); !errors.Is(err, chain.ErrPortInUse) {
		t.Errorf("start: %v", err)
	}
	if err := n.Stop(); err != nil {
		t.Error(err)
	}
}

func TestOpenRefuses(t *testing.T) {
	home := func(t *testing.T) string {
		dir := t.TempDir()
		id, err := chain.InitHome(dir)
		if err != nil {
			t.Fatal(err)
		}
		g := chaintest.Genesis("refusals", chaintest.Epoch, cityid.Validator{Key: id.Validator, Power: 1})
		if err := chain.WriteGenesis(dir, g); err != nil {
			t.Fatal(err)
		}
		return dir
	}
	for _, c := range []struct {
		name  string
		spoil func(dir string) error
		want  string
	}{
		{"no genesis", func(dir string) error { return os.Remove(filepath.Join(dir, "genesis.json")) }, "genesis"},
		{"no node key", func(dir string) error { return os.Remove(filepath.Join(dir, "node_key.json")) }, "node_key.json"},
		{"no validator key", func(dir string) error { return os.Remove(filepath.Join(dir, "validator_key.json")) }, "validator_key.json"},
		{"no signing state", func(dir string) error { return os.Remove(filepath.Join(dir, "validator_state.json")) }, "sign a height twice"},
		{"damaged signing state", func(dir string) error {
			return os.WriteFile(filepath.Join(dir, "validator_state.json"), []byte("{"), 0o600)
		}, "validator_state.json"},
		{"damaged key", func(dir string) error {
			return os.WriteFile(filepath.Join(dir, "validator_key.json"), []byte(`{"priv_key":{"type":"x"}}`), 0o600)
		}, "want a private key"},
		{"unknown genesis field", func(dir string) error {
			name := filepath.Join(dir, "genesis.json")
			text, err := os.ReadFile(name)
			if err != nil {
				return err
			}
			return os.WriteFile(name, []byte(strings.Replace(string(text), `"rule":`, `"rool":`, 1)), 0o600)
		}, "unknown field"},
		{"other consensus parameters", func(dir string) error {
			name := filepath.Join(dir, "genesis.json")
			text, err := os.ReadFile(name)
			if err != nil {
				return err
			}
			return os.WriteFile(name, []byte(strings.Replace(string(text), `"max_bytes": "2097152"`, `"max_bytes": "2097153"`, 1)), 0o600)
		}, "consensus parameters"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := home(t)
			if err := c.spoil(dir); err != nil {
				t.Fatal(err)
			}
			_, err := chain.Open(chain.Config{Home: dir, Listen: "127.0.0.1:0"})
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want one that says %q", err, c.want)
			}
		})
	}
	dir := home(t)
	if _, err := chain.InitHome(dir); !errors.Is(err, fs.ErrExist) {
		t.Errorf("a home made twice: %v", err)
	}
	for _, cfg := range []chain.Config{
		{}, {Home: dir, Listen: "nonsense"}, {Home: dir, Peers: []string{"x@127.0.0.1:1"}}, {Home: dir, Heartbeat: time.Millisecond}, {Home: dir, Mempool: -1},
	} {
		if _, err := chain.Open(cfg); err == nil {
			t.Errorf("configuration %+v is accepted", cfg)
		}
	}
}

func TestGenesisFile(t *testing.T) {
	dir := t.TempDir()
	g := chaintest.Genesis("genesis-file", chaintest.Epoch, cityid.Validator{Key: chaintest.Key(3).Key, Power: 4}, cityid.Validator{Key: chaintest.Key(4).Key, Power: 5})
	if err := chain.WriteGenesis(dir, g); err != nil {
		t.Fatal(err)
	}
	back, err := chain.ReadGenesis(dir)
	if err != nil {
		t.Fatal(err)
	}
	if back.Hash() != g.Hash() || back.Hash().IsZero() {
		t.Errorf("hash %s became %s", g.Hash(), back.Hash())
	}
	if err := chain.WriteGenesis(dir, g); !errors.Is(err, fs.ErrExist) {
		t.Errorf("a genesis file written over: %v", err)
	}
	g.State.Records = nil
	if err := g.Check(); err == nil {
		t.Error("a genesis without an apex is accepted")
	}
}

// A node that is stopped leaves no goroutine behind, except two that belong to
// the file of CometBFT's write-ahead log and hold nothing else.
func TestStopLeavesNothing(t *testing.T) {
	w := chaintest.Start(t, 1, 0)
	nodeSubmit(t, w, 0, city(1))
	w.Stop(0) // whatever the first node of a process leaves for good is there now
	before := settled(0, 1500*time.Millisecond)
	for i := range 2 {
		w.Restart(0)
		nodeSubmit(t, w, 0, city(2+i))
		w.Stop(0)
	}
	before += 2 * 2
	if after := settled(before, 10*time.Second); after > before {
		buf := make([]byte, 1<<20)
		t.Errorf("%d goroutines expected, %d there:\n%s", before, after, buf[:runtime.Stack(buf, true)])
	}
}

// settled returns the number of goroutines once it is at most want, or has not
// fallen for a time.
func settled(want int, quiet time.Duration) int {
	n := runtime.NumGoroutine()
	for since := time.Now(); n > want && time.Since(since) < quiet; time.Sleep(10 * time.Millisecond) {
		if m := runtime.NumGoroutine(); m < n {
			n, since = m, time.Now()
		}
	}
	return n
}
