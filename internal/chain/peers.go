// SPDX-License-Identifier: Apache-2.0

package chain

import (
	"context"
	"fmt"
	"net"
	"strings"
	"time"

	abci "github.com/cometbft/cometbft/abci/types"
	"github.com/cometbft/cometbft/p2p"

	"cityid"
)

// redialTime is how often a node looks for peers that it is not connected to.
const redialTime = 10 * time.Second

// CheckPeer reports what is wrong with a peer's address, which is id@host:port.
func CheckPeer(peer string) error {
	id, addr, ok := strings.Cut(peer, "@")
	if _, _, err := net.SplitHostPort(addr); !ok || err != nil || checkNodeID(id) != nil {
		return fmt.Errorf("peer %.200q: want id@host:port with an id of %d hexadecimal digits in lower case", peer, 2*p2p.IDByteLength)
	}
	return nil
}

func checkNodeID(id string) error {
	if len(id) != 2*p2p.IDByteLength || strings.Trim(id, "0123456789abcdef") != "" {
		return fmt.Errorf("node id %.100q: want %d hexadecimal digits in lower case", id, 2*p2p.IDByteLength)
	}
	return nil
}

// peerIDs are the ids of all nodes that may connect to a closed one.
func (c Config) peerIDs() map[string]bool {
	out := map[string]bool{}
	for _, p := range c.Peers {
		id, _, _ := strings.Cut(p, "@")
		out[id] = true
	}
	for _, id := range c.Allowed {
		out[id] = true
	}
	return out
}

// Query answers CometBFT whether a node may connect, by the id that it has
// proved in the handshake. Nothing else is asked this way.
func (a *Application) Query(_ context.Context, req *abci.RequestQuery) (*abci.ResponseQuery, error) {
	refused := &abci.ResponseQuery{Code: uint32(cityid.ErrNotPermitted), Log: "not among the peers of this node"}
	if id, ok := strings.CutPrefix(req.Path, "/p2p/filter/id/"); ok {
		if a.known == nil || a.known[id] {
			return &abci.ResponseQuery{}, nil
		}
		a.log.Warn("a node that is neither a peer nor allowed was turned away", "id", id)
		return refused, nil
	}
	if strings.HasPrefix(req.Path, "/p2p/filter/addr/") {
		return &abci.ResponseQuery{}, nil // the id decides
	}
	return refused, nil
}

// redial dials the peers that are not connected, until the node stops. CometBFT
// does so itself, but resolves names once, at the start, and waits longer and
// longer, up to most of a day.
func (n *Node) redial() {
	tick := time.NewTicker(redialTime)
	defer tick.Stop()
	for {
		select {
		case <-n.stopping:
			return
		case <-tick.C:
		}
		sw := n.comet.Switch()
		for _, p := range n.cfg.Peers {
			id, _, _ := strings.Cut(p, "@")
			if id == n.id || sw.Peers().Has(p2p.ID(id)) {
				continue
			}
			if err := sw.DialPeersAsync([]string{p}); err != nil {
				n.cfg.Logger.Warn("a peer can not be dialled", "peer", p, "error", err)
			}
		}
	}
}
