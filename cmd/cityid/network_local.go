// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"

	"cityid"
	"cityid/internal/chain"
)

// localNetwork is a network whose validators all run in this process, on
// loopback, each with a folder of its own: for the demo and for measuring.
type localNetwork struct {
	nodes []*chain.Node
	peers []string // each id@host:port
}

func localHome(dir string, i int) string { return filepath.Join(dir, fmt.Sprintf("node%d", i)) }

// foundLocal makes the folders of n validators below dir and gives each the
// genesis that make returns for their keys.
func foundLocal(dir string, n int, make func(validators []cityid.Validator) *chain.Genesis) error {
	var validators []cityid.Validator
	for i := range n {
		id, err := chain.InitHome(localHome(dir, i))
		if err != nil {
			return err
		}
		validators = append(validators, cityid.Validator{Key: id.Validator, Power: 10})
	}
	g := make(validators)
	if err := g.Check(); err != nil {
		return err
	}
	for i := range n {
		if err := chain.WriteGenesis(localHome(dir, i), g); err != nil {
			return err
		}
	}
	return nil
}

// openLocal opens and starts the n validators below dir and waits until they
// make blocks together.
func openLocal(ctx context.Context, dir string, n int, log *slog.Logger) (net *localNetwork, err error) {
	net = &localNetwork{}
	defer func() {
		if err != nil {
			err = errors.Join(err, net.stop())
			net = nil
		}
	}()
	addresses, peers, err := localPeers(dir, n)
	if err != nil {
		return net, err
	}
	net.peers = peers
	for i := range n {
		cfg := chain.Config{Home: localHome(dir, i), Listen: addresses[i], Version: version, Logger: log}
		for j, p := range peers {
			if j != i {
				cfg.Peers = append(cfg.Peers, p)
			}
		}
		node, err := chain.Open(cfg)
		if err != nil {
			return net, explainOpen(err, cfg.Home)
		}
		net.nodes = append(net.nodes, node)
	}
	for _, node := range net.nodes {
		if err := node.Start(); err != nil {
			return net, err
		}
	}
	_, err = awaitBlock(ctx, net.nodes[0])
	return net, err
}

// localPeers chooses free ports on loopback for n nodes.
func localPeers(dir string, n int) (addresses, peers []string, err error) {
	for i := range n {
		id, err := chain.ReadIdentity(localHome(dir, i))
		if err != nil {
			return nil, nil, err
		}
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, nil, err
		}
		// Closed only once all ports are chosen, so that no two are the same.
		defer l.Close()
		addresses = append(addresses, l.Addr().String())
		peers = append(peers, id.Node+"@"+l.Addr().String())
	}
	return addresses, peers, nil
}

// stop stops all nodes.
func (l *localNetwork) stop() error {
	var err error
	for _, n := range l.nodes {
		err = errors.Join(err, n.Stop())
	}
	return err
}
