// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"

	"cityid"
	"cityid/client"
	"cityid/verify"
)

// zonesFlag says how zones below the node's are reached.
type zonesFlag struct {
	flags   *flags
	private bool
}

func (z *zonesFlag) setup(f *flags) {
	z.flags = f
	f.BoolVar(&z.private, "private-zones", false, "also ask nodes of zones that are on this machine or in private networks, where the zones above say so")
}

// open returns what asks all zones below the trust root, beginning with the node
// that --node names.
func (z *zonesFlag) open(trust *verify.TrustFile) (*client.Zones, error) {
	c := client.ZonesConfig{Trust: trust, Roots: []string{z.flags.node}, Private: z.private}
	var err error
	if z.flags.trusts != "" {
		if c.Authorities, err = authorities(z.flags.trusts); err != nil {
			return nil, err
		}
	}
	zones, err := client.NewZones(c)
	if err != nil {
		return nil, usageError{err}
	}
	return zones, nil
}

// elsewhere reports whether a node's error says that another zone answers. Without
// a trust root nobody could tell whether that zone does.
func elsewhere(err error, trust *verify.TrustFile) (bool, error) {
	switch {
	case cityid.CodeOf(err) != cityid.ErrDelegated:
		return false, err
	case trust == nil:
		return false, hint(err, "with a trust root the answer is found and proven in that zone: cityid trust pin --node URL pins one")
	}
	return true, nil
}

// resolve looks a code up in its zone.
func (z *zonesFlag) resolve(ctx context.Context, trust *verify.TrustFile, code cityid.Code) (verify.Result, error) {
	zones, err := z.open(trust)
	if err != nil {
		return verify.Result{}, err
	}
	r, err := zones.Resolve(ctx, code)
	return r, explainZones(err)
}

// record returns the record of a code that the node says belongs to another zone,
// with said.
func (z *zonesFlag) record(ctx context.Context, t *trustFlag, code cityid.Code, said error) (*cityid.RecordAnswer, error) {
	trust, err := t.load(ctx)
	if err != nil {
		return nil, err
	}
	if further, err := elsewhere(said, trust); !further {
		return nil, err
	}
	zones, err := z.open(trust)
	if err != nil {
		return nil, err
	}
	a, err := zones.Record(ctx, code)
	return a, explainZones(err)
}

// bundle fetches a bundle from the zone that answers.
func (z *zonesFlag) bundle(ctx context.Context, trust *verify.TrustFile, q cityid.BundleQuery) ([]byte, error) {
	if q.At != 0 {
		return nil, usagef("--height: %s belongs to a zone of its own, and bundles of the past are made by its own nodes: name one with --node", q.Code)
	}
	zones, err := z.open(trust)
	if err != nil {
		return nil, err
	}
	b, err := zones.Bundle(ctx, q)
	return b, explainZones(err)
}

// explainZones gives an error the exit code of what was wrong with the answers, if
// there were any.
func explainZones(err error) error {
	var e *client.ZoneError
	if !errors.As(err, &e) {
		return err
	}
	for _, s := range e.Servers {
		var r *client.Rejected
		switch {
		case errors.Is(s.Err, client.ErrAddress):
			return hint(err, "--private-zones allows it, if it is your own network's")
		case errors.As(s.Err, &r) && r.Result.Verdict == verify.Invalid:
			return exitError{exitInvalid, err}
		case errors.As(s.Err, &r):
			err = exitError{exitUndecided, err}
		}
	}
	return err
}
