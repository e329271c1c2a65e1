// SPDX-License-Identifier: Apache-2.0

package chain_test

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	abci "github.com/cometbft/cometbft/abci/types"

	"cityid/internal/chain"
	"cityid/internal/chain/chaintest"
)

// TestClosed lets a node follow a validator that turns strangers away, once it is
// allowed to.
func TestClosed(t *testing.T) {
	w := chaintest.Start(t, 1, 200*time.Millisecond)
	nodeSubmit(t, w, 0, city(1))
	want := status(t, w.Nodes[0])
	w.Stop(0)

	home := filepath.Join(t.TempDir(), "replica")
	id, err := chain.InitHome(home)
	if err != nil {
		t.Fatal(err)
	}
	if err := chain.WriteGenesis(home, w.Genesis); err != nil {
		t.Fatal(err)
	}
	closed := w.Config(0)
	closed.Closed, closed.Allowed = true, []string{id.Node}
	validator, err := chain.Open(closed)
	if err != nil {
		t.Fatal(err)
	}
	defer validator.Stop()
	for node, ok := range map[string]bool{id.Node: true, strings.Repeat("0", 40): false, "": false} {
		r, err := validator.App().Query(ctx, &abci.RequestQuery{Path: "/p2p/filter/id/" + node})
		if err != nil || r.IsOK() != ok {
			t.Errorf("node %q: %v, %v", node, r, err)
		}
	}
	if err := validator.Start(); err != nil {
		t.Fatal(err)
	}
	replica, err := chain.Open(chain.Config{Home: home, Listen: "127.0.0.1:0", Peers: []string{validator.ID() + "@" + closed.Listen}})
	if err != nil {
		t.Fatal(err)
	}
	defer replica.Stop()
	if err := replica.Start(); err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(30 * time.Second)
	for {
		s, err := replica.Status(ctx)
		if err == nil && s.Height >= want.Height {
			if s.AppHash != want.AppHash {
				t.Errorf("app hash %s, want %s", s.AppHash, want.AppHash)
			}
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("the replica does not follow: %+v, %v", s, err)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func TestCheckPeer(t *testing.T) {
	id := strings.Repeat("0a", 20)
	for peer, ok := range map[string]bool{
		id + "@127.0.0.1:1": true, id + "@node.example.cn:26656": true,
		"": false, id: false, id + "@host": false, id[1:] + "@host:1": false, strings.ToUpper(id) + "@host:1": false, "x" + id[1:] + "@host:1": false,
	} {
		if err := chain.CheckPeer(peer); (err == nil) != ok {
			t.Errorf("%q: %v", peer, err)
		}
	}
}
