// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"path/filepath"

	"cityid/internal/chain"
	"cityid/verify"
)

// fastFlags are how a node without blocks begins with a snapshot.
type fastFlags struct {
	from  list
	trust string
}

func (x *fastFlags) setup(f *flags) {
	f.Var(&x.from, "fast-from", "begin with a snapshot, with signed headers of the node at this `address`; several times for several")
	f.StringVar(&x.trust, "fast-trust", "", "with --fast-from: trust `file` by which they are judged; without it, the genesis and the trust roots that lead on from it")
}

// of returns the trust root and whom to ask; nil if the node takes all blocks.
func (x *fastFlags) of(ctx context.Context, f *flags, g *chain.Genesis) (*chain.Fast, error) {
	if len(x.from) == 0 {
		if x.trust != "" {
			return nil, usagef("--fast-trust goes with --fast-from: whose headers are judged by it?")
		}
		return nil, nil
	}
	out := new(chain.Fast)
	for _, address := range x.from {
		c, err := f.clientOf(address, 0)
		if err != nil {
			return nil, err
		}
		out.Sources = append(out.Sources, c)
	}
	if x.trust == "" {
		t, err := g.Trust()
		out.Trust = t
		return out, err
	}
	file, err := (&trustFlag{flags: f, path: x.trust}).required(ctx)
	if err != nil {
		return nil, err
	}
	out.Trust = file.Latest()
	return out, nil
}

// check refuses, before anything is on disk, to join a network fast through nodes
// that do not lead there.
func (x *fastFlags) check(ctx context.Context, f *flags, g *chain.Genesis) error {
	fast, err := x.of(ctx, f, g)
	if err != nil || fast == nil {
		return err
	}
	height, err := chain.CheckFast(ctx, g, fast)
	if err != nil {
		return hint(exitError{exitUndecided, err}, "join without --fast-from: the node then takes all blocks; or take a newer trust root: cityid trust pin")
	}
	f.talk("header %d follows from version %d of the trust root", height, fast.Trust.Statement.Version)
	return nil
}

// keep copies the trust file beside the configuration that is to name it.
func (x *fastFlags) keep(ctx context.Context, dir string) error {
	if len(x.from) == 0 {
		return nil
	}
	name := ""
	if x.trust != "" {
		b, err := readBounded(ctx, x.trust, verify.MaxTrustFile)
		if err != nil {
			return err
		}
		name = "trust.json"
		if err := writeFile(filepath.Join(dir, name), b, 0o644); err != nil {
			return err
		}
	}
	return changeConfig(ctx, dir, func(c *nodeConfig) {
		c.FastFrom = x.from
		if name != "" {
			c.FastTrust = &name
		}
	})
}
