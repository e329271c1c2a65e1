// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"cityid"
	"cityid/client"
	"cityid/internal/chain"
	"cityid/internal/registry"
	"cityid/verify"
)

func zoneCommand() *command {
	return &command{
		name: "zone", short: "give a code a zone of its own: another chain that answers for what lies below it",
		long: "The zone above keeps the code's policy and status, and checkpoints of the zone; one bundle proves an answer\nthrough all zones. docs/zones.md goes through it.",
		sub: []*command{
			{
				name: "found", args: "CODE", short: "write the genesis file of a zone below the one whose node is asked",
				long:     "The apex's record, the parameters and the distribution rule are taken over from there, proven by your trust root.\nEach validator's key is shown by cityid node init --keys-only on its machine.",
				examples: []string{"cityid zone found MA.156.1301 --node https://id.example.cn --validator ed25519:iojj… -o genesis.json"},
				setup:    zoneFound,
			},
			{
				name: "delegate", args: "CODE", short: "delegate a code to a zone that was founded for it, or say where its nodes are now",
				long:     "The policy above the code and the code's own decide together. Codes below it must not be allocated yet.\nWithout --genesis only the addresses change, for which the code's policy suffices.",
				examples: []string{"cityid zone delegate MA.156.1301 --genesis genesis.json --endpoint https://id.sjz.example.cn --propose --key mayor", "cityid zone delegate MA.156.1301 --endpoint https://id2.sjz.example.cn --key mayor"},
				setup:    zoneDelegate,
			},
			{name: "list", short: "list the zone above and those below the one whose node is asked", setup: zoneList},
			{
				name: "show", args: "CODE", short: "show what the zone above knows of a code's zone, with proof",
				setup: zoneShow,
			},
			{
				name: "anchor", args: "CODE", short: "vouch for a zone's header again, after it was silent for too long or was frozen",
				long:     "The policy above the code and the code's own decide together. Everybody sees that it was a break in continuity.\nOf a frozen zone, the header says which branch holds.",
				examples: []string{"cityid zone anchor MA.156.1301 --zone-node https://id.sjz.example.cn --propose --key mayor"},
				setup:    zoneAnchor,
			},
			{
				name: "report", args: "CODE", short: "report that a zone's validators signed two headers at one height, which freezes the zone",
				long:     "The report proves itself: two nodes of the zone are asked for the headers, and the zone above judges them.",
				examples: []string{"cityid zone report MA.156.1301 --height 81250 --one https://a.example.cn --other https://b.example.cn --key anybody"},
				setup:    zoneReport,
			},
		},
	}
}

// zoneFound makes a genesis from what the zone above proves.
func zoneFound(f *flags) func(context.Context, []string) error {
	t := &trustFlag{}
	t.setup(f)
	places := f.Bool("places", false, "the zone has the places that continue the code too, as province 13 has city 1301")
	at := f.String("time", "", "when the zone is founded, such as 2026-12-01T00:00:00Z; now without it")
	var validators list
	f.Var(&validators, "validator", "`KEY[=POWER]`: the public key of a validator, and its power: 10 without it; several times")
	return func(ctx context.Context, args []string) error {
		code, c, err := f.codeAtNode(args)
		if err != nil {
			return err
		}
		if len(validators) == 0 || f.out == "" {
			return usagef("want --validator KEY for each validator, and -o FILE")
		}
		trust, err := t.required(ctx)
		if err != nil {
			return err
		}
		g, err := zoneGenesis(ctx, t, c, trust, code, *places)
		if err != nil {
			return err
		}
		if *at != "" {
			if err := g.Time.UnmarshalText([]byte(*at)); err != nil {
				return usagef("--time: %v", err)
			}
		}
		if g.State.Validators, err = f.zoneValidators(validators); err != nil {
			return err
		}
		if err := g.Check(); err != nil {
			return err
		}
		b, err := g.Encode()
		if err != nil {
			return err
		}
		if err := writeFresh(f.out, b); err != nil {
			return err
		}
		f.talk("genesis of chain %s is in %s; every validator takes it in: cityid node init FOLDER --genesis %s", g.Chain, f.out, f.out)
		f.talk("  then the zone above delegates %s to it: cityid zone delegate %s --genesis %s", code, code, f.out)
		f.out = ""
		return f.print(fields(map[string]any{"chain": g.Chain, "genesis": g.Hash()}, "chain", g.Chain, "genesis hash", g.Hash().String()))
	}
}

// zoneGenesis takes over what a zone begins with, proven by the trust root.
func zoneGenesis(ctx context.Context, t *trustFlag, c *client.Client, trust *verify.TrustFile, code cityid.Code, places bool) (*chain.Genesis, error) {
	r, err := t.check(ctx, c, trust, code)
	if err != nil {
		return nil, err
	}
	if err := verdictError(r); err != nil {
		return nil, err
	}
	switch {
	case !r.Allocated:
		return nil, exitError{exitNotFound, fmt.Errorf("%s is not allocated", code)}
	case r.Record.Policy == nil:
		return nil, hint(exitError{exitNotPermitted, fmt.Errorf("%s has no policy of its own", code)}, "give it one first: cityid code rekey %s", code)
	}
	up, err := upstreamOf(ctx, c, trust.Latest())
	if err != nil {
		return nil, err
	}
	up.Places = places
	s, err := c.Settings(ctx)
	if err != nil {
		return nil, err
	}
	apex := cityid.Allocation{
		Code: code, Kind: r.Record.Kind, Content: r.Record.Content, Sealed: r.Record.Sealed, Policy: r.Record.Policy,
	}
	params, rule := s.Params, s.Rule
	params.Revision = 1
	out := &chain.Genesis{Chain: chainID(code), Time: cityid.TimeOf(time.Now())}
	out.State = registry.Genesis{Params: params, Rule: rule, Records: []cityid.Allocation{apex}, Upstream: up}
	for _, x := range s.Schemes {
		// A scheme whose owner stands in another zone has its home there.
		if x.Owner.IsZero() || x.Owner == code {
			out.State.Schemes = append(out.State.Schemes, x)
		}
	}
	known := func(name string) bool {
		return slices.ContainsFunc(out.State.Schemes, func(x cityid.Scheme) bool { return x.Name == name })
	}
	out.State.Rule.Kinds = slices.Clone(rule.Kinds)
	for i := range out.State.Rule.Kinds {
		k := &out.State.Rule.Kinds[i]
		k.Schemes = slices.DeleteFunc(slices.Clone(k.Schemes), func(n string) bool { return !known(n) })
	}
	return out, nil
}

// upstreamOf returns a header of the node's zone that follows from the trust
// root, as a zone below begins with it.
func upstreamOf(ctx context.Context, c *client.Client, trust *cityid.Trust) (*cityid.Upstream, error) {
	page, err := c.Zones(ctx, cityid.ZoneQuery{Limit: 1})
	if err != nil {
		return nil, err
	}
	if page.Checkpoint == nil {
		return nil, hint(errors.New("the node has no signed header yet"), "ask again after the next block")
	}
	load := func(height int64) (verify.SignedHeader, error) {
		data, err := c.SignedHeader(ctx, uint64(height))
		if err != nil {
			return verify.SignedHeader{}, err
		}
		return verify.DecodeSignedHeader(data)
	}
	s, err := load(int64(page.Checkpoint.Height))
	if err != nil {
		return nil, err
	}
	if _, err := verify.Follow(trust, time.Now(), []verify.SignedHeader{s}, load); err != nil {
		return nil, hint(exitError{exitUndecided, err}, "take a newer trust root: cityid trust pin")
	}
	h := s.Header
	return &cityid.Upstream{Zone: trust.Statement.Zone, Chain: h.ChainID, Checkpoint: cityid.Checkpoint{
		Height: uint64(h.Height), Time: cityid.TimeOf(h.Time), Header: cityid.Digest(h.Hash()),
		Validators: cityid.Digest(h.ValidatorsHash), Next: cityid.Digest(h.NextValidatorsHash),
	}}, nil
}

func (f *flags) zoneValidators(given list) ([]cityid.Validator, error) {
	var out []cityid.Validator
	for _, text := range given {
		name, power, has := text, "", false
		// The text of a key may end in "=" itself.
		if i := strings.LastIndex(text, "="); i >= 0 && i < len(text)-1 {
			name, power, has = text[:i], text[i+1:], true
		}
		v := cityid.Validator{Power: 10}
		var err error
		if has {
			if v.Power, err = strconv.ParseInt(power, 10, 64); err != nil || v.Power < 1 || v.Power > cityid.MaxPower {
				return nil, usagef("--validator %q: want KEY or KEY=POWER with a power of 1 to %d", text, cityid.MaxPower)
			}
		}
		if v.Key, err = f.publicKey(name); err != nil {
			return nil, err
		}
		out = append(out, v)
	}
	slices.SortFunc(out, func(a, b cityid.Validator) int { return strings.Compare(string(a.Key), string(b.Key)) })
	return out, nil
}

func zoneDelegate(f *flags) func(context.Context, []string) error {
	w := &writing{}
	w.setupProposable(f)
	genesis := f.String("genesis", "", "genesis `file` of the zone; without it only the addresses change")
	var endpoints list
	f.Var(&endpoints, "endpoint", "base `address` of a node of the zone; several times for several")
	return func(ctx context.Context, args []string) error {
		r, err := w.current(ctx, args, 1)
		if err != nil {
			return err
		}
		op := &cityid.Delegate{Code: r.Code, Revision: r.Revision}
		if *genesis == "" {
			if r.Delegation == nil || len(endpoints) == 0 {
				return usagef("want --genesis FILE, or of a code that is delegated already --endpoint ADDRESS")
			}
			op.Delegation = *r.Delegation
		} else {
			g, err := readGenesis(ctx, *genesis, "")
			if err != nil {
				return err
			}
			if g.State.Upstream == nil || g.State.Records[0].Code != r.Code {
				return exitError{exitConflict, fmt.Errorf("%s founds the zone of %s: want one that was made for %s by cityid zone found", *genesis, g.State.Records[0].Code, r.Code)}
			}
			op.Delegation = cityid.Delegation{Chain: g.Chain, Genesis: g.Hash(), Places: g.State.Upstream.Places}
			if op.Checkpoint, err = chain.GenesisCheckpoint(g); err != nil {
				return err
			}
		}
		op.Delegation.Endpoints = endpoints
		return w.submit(ctx, cityid.Operation{Delegate: op})
	}
}

func zoneList(f *flags) func(context.Context, []string) error {
	return func(ctx context.Context, args []string) error {
		if err := noArgs(args); err != nil {
			return err
		}
		c, err := f.connect()
		if err != nil {
			return err
		}
		t := &table{head: []string{"zone", "chain", "status", "checkpoint", "of", "endpoints"}}
		for q := (cityid.ZoneQuery{Limit: 1000}); ; {
			page, err := c.Zones(ctx, q)
			if err != nil {
				return err
			}
			if up := page.Upstream; up != nil && q.After.IsZero() {
				f.talk("above: the zone of %s, chain %s, followed to header %d of %s", up.Zone, up.Chain, up.Checkpoint.Height, up.Checkpoint.Time)
			}
			for i := range page.Zones {
				t.add(&page.Zones[i], zoneRow(&page.Zones[i])...)
			}
			if page.Next.IsZero() {
				break
			}
			q.After = page.Next
		}
		return f.print(t)
	}
}

func zoneRow(z *cityid.ZoneAnswer) []string {
	status, endpoints := z.Status.String(), ""
	if z.Zone.Fork != nil {
		status += ", frozen"
	}
	if z.Delegation != nil {
		endpoints = strings.Join(z.Delegation.Endpoints, " ")
	}
	return []string{z.Code.String(), z.Zone.Chain, status, fmt.Sprint(z.Zone.Checkpoint.Height), z.Zone.Checkpoint.Time.String(), endpoints}
}

func zoneShow(f *flags) func(context.Context, []string) error {
	t := &trustFlag{}
	t.setup(f)
	return func(ctx context.Context, args []string) error {
		code, c, err := f.codeAtNode(args)
		if err != nil {
			return err
		}
		trust, err := t.required(ctx)
		if err != nil {
			return err
		}
		keys := [][]byte{cityid.RecordKey(code), cityid.ZoneKey(code)}
		r, _, err := c.Entries(ctx, trust.Latest(), keys, time.Now())
		if err == nil {
			err = verdictError(r)
		}
		if err != nil {
			return err
		}
		a := &cityid.ZoneAnswer{Code: code}
		var record cityid.Record
		there, err := r.Entry(keys[0], &record)
		if err == nil && there {
			a.Status, a.Delegation = record.Status, record.Delegation
			there, err = r.Entry(keys[1], &a.Zone)
		}
		if err != nil {
			return err
		}
		if !there {
			return exitError{exitNotFound, fmt.Errorf("%s has no zone of its own", code)}
		}
		z := &a.Zone
		out := fields(a, "zone", code.String(), "chain", z.Chain, "status", a.Status.String(),
			"checkpoint", fmt.Sprintf("height %d of %s", z.Checkpoint.Height, z.Checkpoint.Time), "header", z.Checkpoint.Header.String(),
			"accepted", z.Accepted.Time.String(), "anchored", fmt.Sprintf("%s, %s", z.Anchored, count(int(z.Anchors), "time")))
		if z.Fork != nil {
			out.rows = append(out.rows, []string{"frozen", fmt.Sprintf("two headers at height %d: %s and %s", z.Fork.Height, z.Fork.Headers[0], z.Fork.Headers[1])})
		}
		if a.Delegation != nil {
			for _, e := range a.Delegation.Endpoints {
				out.rows = append(out.rows, []string{"endpoint", e})
			}
		}
		return f.print(out)
	}
}

func zoneAnchor(f *flags) func(context.Context, []string) error {
	w := &writing{}
	w.setupProposable(f)
	node := f.String("zone-node", "", "`address` of a node of the zone, whose latest header is vouched for")
	return func(ctx context.Context, args []string) error {
		if *node == "" {
			return usagef("want --zone-node ADDRESS: whose header is vouched for?")
		}
		r, err := w.current(ctx, args, 1)
		if err != nil {
			return err
		}
		if r.Delegation == nil {
			return exitError{exitConflict, fmt.Errorf("%s has no zone of its own", r.Code)}
		}
		known, err := w.zoneOf(ctx, r.Code)
		if err != nil {
			return err
		}
		z, err := f.clientOf(*node, 0)
		if err != nil {
			return err
		}
		page, err := z.Zones(ctx, cityid.ZoneQuery{Limit: 1})
		if err != nil {
			return err
		}
		if page.Chain != r.Delegation.Chain || page.Checkpoint == nil {
			return exitError{exitConflict, fmt.Errorf("%s keeps chain %s, and %s is delegated to %s", *node, page.Chain, r.Code, r.Delegation.Chain)}
		}
		w.talk("header %d of %s: %s", page.Checkpoint.Height, page.Chain, page.Checkpoint.Header)
		if known.Fork != nil {
			return w.submit(ctx, cityid.Operation{Unfreeze: &cityid.Unfreeze{Zone: r.Code, Fork: known.Fork.Height, Checkpoint: *page.Checkpoint}})
		}
		return w.submit(ctx, cityid.Operation{Delegate: &cityid.Delegate{Code: r.Code, Revision: r.Revision, Delegation: *r.Delegation, Checkpoint: page.Checkpoint}})
	}
}

// zoneOf returns what the node says it knows of a code's zone.
func (w *writing) zoneOf(ctx context.Context, code cityid.Code) (*cityid.Zone, error) {
	c, err := w.connect()
	if err != nil {
		return nil, err
	}
	return w.zoneAt(ctx, c, code)
}

// zoneAt is zoneOf for a node.
func (w *writing) zoneAt(ctx context.Context, c *client.Client, code cityid.Code) (*cityid.Zone, error) {
	for q := (cityid.ZoneQuery{Limit: 1000}); ; {
		page, err := c.Zones(ctx, q)
		if err != nil {
			return nil, err
		}
		for i := range page.Zones {
			if page.Zones[i].Code == code {
				return &page.Zones[i].Zone, nil
			}
		}
		if page.Next.IsZero() {
			return nil, exitError{exitNotFound, fmt.Errorf("%s has no zone of its own", code)}
		}
		q.After = page.Next
	}
}

func zoneReport(f *flags) func(context.Context, []string) error {
	w := &writing{}
	w.setup(f)
	height := f.Uint64("height", 0, "`height` of the two headers")
	one := f.String("one", "", "`address` of a node of the zone")
	other := f.String("other", "", "`address` of a node that has another header; not needed if the height is the last checkpoint's")
	return func(ctx context.Context, args []string) error {
		if len(args) != 1 || *height == 0 || *one == "" {
			return usagef("want CODE, --height HEIGHT, --one ADDRESS and, unless the height is the last checkpoint's, --other ADDRESS")
		}
		code, err := parseCode(args[0])
		if err != nil {
			return err
		}
		known, err := w.zoneOf(ctx, code)
		if err != nil {
			return err
		}
		op := &cityid.ReportFork{Zone: code}
		first, err := f.descentFrom(ctx, *one, known, *height)
		if err != nil {
			return err
		}
		op.One = *first
		if *other != "" {
			if op.Other, err = f.descentFrom(ctx, *other, known, *height); err != nil {
				return err
			}
		}
		return w.submit(ctx, cityid.Operation{ReportFork: op})
	}
}

// descentFrom leads from a zone's checkpoint to the header that a node has at a
// height, app hashes and all.
func (f *flags) descentFrom(ctx context.Context, node string, known *cityid.Zone, height uint64) (*cityid.Descent, error) {
	c, err := f.clientOf(node, 0)
	if err != nil {
		return nil, err
	}
	load := func(height int64) (verify.SignedHeader, error) {
		data, err := c.SignedHeader(ctx, uint64(height))
		if err != nil {
			return verify.SignedHeader{}, err
		}
		return verify.DecodeSignedHeader(data)
	}
	head, err := load(int64(height))
	if err != nil {
		return nil, err
	}
	p := &verify.Point{Chain: known.Chain, Height: known.Checkpoint.Height, Header: known.Checkpoint.Header, Time: known.Checkpoint.Time.Std()}
	next, err := load(int64(known.Checkpoint.Height) + 1)
	if err != nil {
		return nil, err
	}
	p.Next = next.Validators
	way := &verify.Way{Head: head, Point: p}
	if height > known.Checkpoint.Height {
		if way.Transitions, err = way.Bisect(load); err != nil {
			return nil, err
		}
	}
	return way.Descent(true)
}
