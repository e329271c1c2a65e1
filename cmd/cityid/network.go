// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"cityid"
	"cityid/internal/chain"
	"cityid/internal/describe"
	"cityid/internal/durable"
	"cityid/internal/founding"
	"cityid/internal/registry"
)

func networkCommand() *command {
	return &command{
		name: "network", short: "found a network of several institutions, and change who signs its blocks and by which rules",
		long: "One of the institutions writes a plan, which all read. Each makes its part (cityid node init --plan).\nAnybody assembles plan and parts to the genesis file; all compare its hash. docs/operating.md goes through it.",
		sub: []*command{
			{
				name: "plan", short: "write the plan of a new network, for the institutions to read and edit",
				examples: []string{"cityid network plan --zone MA.156 --name zh=中国 --owner MA.156.9001 --owner MA.156.9002 --owner MA.156.9003 --owner MA.156.9004 -o plan.json"},
				setup:    networkPlan,
			},
			{
				name: "sign", args: "PART", short: "sign an institution's part as one of its officers",
				examples: []string{"cityid network sign part.json --key officer"},
				setup:    networkSign,
			},
			{
				name: "assemble", args: "PLAN PART...", short: "join a plan and all parts to the genesis file, and print its hash",
				long:     "The same plan and parts give the same file, in whatever order. So everybody can assemble it and compare the hash.",
				examples: []string{"cityid network assemble plan.json *.part.json -o genesis.json"},
				setup:    networkAssemble,
			},
			{
				name: "show", args: "GENESIS", short: "say what a genesis file founds, and its hash",
				examples: []string{"cityid network show genesis.json"},
				setup:    networkShow,
			},
			{
				name: "validators", short: "change who signs blocks, by a decision of the apex",
				long:     "Less than a third of the power can go at once. The change takes effect two blocks later.",
				examples: []string{"cityid network validators --add ed25519:iojj…=10@MA.156.9005 --propose --key officer", "cityid network validators --remove ed25519:iojj… --propose --key officer"},
				setup:    networkValidators,
			},
			{
				name: "upgrade", short: "plan from which block on the network follows another version of its rules, by a decision of the apex",
				long:     "A node whose program lacks the version stops before that block and says what to install. docs/operating.md goes through it.",
				examples: []string{"cityid network upgrade --version 2 --height 500000 --release 'cityid 2.0' --propose --key officer", "cityid network upgrade --cancel --propose --key officer"},
				setup:    networkUpgrade,
			},
			networkCACommand(),
		},
	}
}

// riskNames are risks as a flag takes them.
func riskNames(given list) (out []founding.Risk) {
	for _, g := range given {
		for r := range strings.SplitSeq(g, ",") {
			out = append(out, founding.Risk(r))
		}
	}
	return out
}

func networkPlan(f *flags) func(context.Context, []string) error {
	zone := f.String("zone", "", "the apex `code`, such as MA.156")
	threshold := f.Int("threshold", 0, "how many of the owners must agree; 0 for more than half")
	at := f.String("time", "", "when the network is founded, such as 2026-12-01T00:00:00Z; now without it")
	recovery := officerFlags{}
	f.StringVar(&recovery.file, "recovery", "", "JSON `file` of the policy, of keys kept offline, that can replace the apex policy after the long delay")
	f.Var(&recovery.officers, "recovery-key", "instead of a file: a `key` of that policy; several times")
	f.IntVar(&recovery.threshold, "recovery-threshold", 0, "how many of these keys must sign together; 0 for more than half")
	private := f.Bool("private", false, "nodes may have loopback and private addresses")
	var names, owners, accept list
	f.Var(&names, "name", "name of the apex as `lang=text`; several times for several languages")
	f.Var(&owners, "owner", "`CODE[=POWER]`: an institution with a seat, and the power of its validator: 10 without it, 0 for none; several times")
	f.Var(&accept, "accept", "a `risk` that the founders accept: few-owners or third; several times for both")
	return func(ctx context.Context, args []string) error {
		if err := noArgs(args); err != nil {
			return err
		}
		if *zone == "" || len(owners) == 0 || f.out == "" {
			return usagef("want --zone CODE, --owner CODE for each institution, and -o FILE")
		}
		apex, err := parseCode(*zone)
		if err != nil {
			return err
		}
		p := &founding.Plan{
			Version: founding.Version, Chain: chainID(apex), Time: cityid.TimeOf(time.Now()), Zone: apex, Threshold: *threshold,
			PrivateAddresses: *private, Accept: riskNames(accept),
			Params: cityid.DefaultParams, Rule: defaultRule(), Schemes: defaultSchemes(apex),
		}
		if *at != "" {
			if err := p.Time.UnmarshalText([]byte(*at)); err != nil {
				return usagef("--time: %v", err)
			}
		}
		if err := applyNames(&p.Names, names); err != nil {
			return err
		}
		if p.Owners, err = parseOwners(owners); err != nil {
			return err
		}
		if *threshold == 0 {
			p.Threshold = len(p.Owners)/2 + 1
		}
		if recovery.threshold == 0 {
			recovery.threshold = len(recovery.officers)/2 + 1
		}
		if p.Recovery, err = recovery.policy(ctx, f); err != nil {
			return err
		}
		if err := p.Check(); err != nil {
			return usageError{err}
		}
		b, err := p.Encode()
		if err != nil {
			return err
		}
		if err := writeFresh(f.out, b); err != nil {
			return err
		}
		f.talk("plan of %s is in %s; all institutions read it, and edit it before anybody makes a part", p.Chain, f.out)
		f.findings(p)
		f.out = ""
		return f.print(planTable(p))
	}
}

// writeFresh writes a file that must not be there.
func writeFresh(path string, b []byte) error {
	err := durable.WriteNew(path, b)
	if errors.Is(err, fs.ErrExist) {
		return exitError{exitConflict, fmt.Errorf("there is a file %s already: nothing is overwritten", path)}
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	// What is in it is for everybody.
	return os.Chmod(path, 0o644)
}

func parseOwners(given list) ([]founding.Owner, error) {
	var out []founding.Owner
	for _, g := range given {
		text, power, has := strings.Cut(g, "=")
		code, err := parseCode(text)
		if err != nil {
			return nil, err
		}
		o := founding.Owner{Code: code, Kind: cityid.KindOrganisation, Seat: true, Power: 10}
		if has {
			if o.Power, err = strconv.ParseInt(power, 10, 64); err != nil {
				return nil, usagef("--owner %q: want CODE or CODE=POWER", g)
			}
		}
		out = append(out, o)
	}
	return out, nil
}

// findings tells what founders should know of a plan.
func (f *flags) findings(p *founding.Plan) {
	for _, x := range p.Risks() {
		if slices.Contains(p.Accept, x.Risk) {
			f.talk("warning, accepted in the plan: %s", x.Text)
		} else {
			f.talk("warning: %s; such a network is not assembled unless the plan accepts it: \"accept\": [%q]", x.Text, x.Risk)
		}
	}
	for _, x := range p.Notes() {
		f.talk("note: %s", x.Text)
	}
}

func planTable(p *founding.Plan) *table {
	t := fields(p, "chain", p.Chain, "founded", p.Time.String(), "zone", p.Zone.String(), "decided by", seatsText(p))
	var total int64
	for _, o := range p.Owners {
		total += o.Power
	}
	for _, o := range p.Owners {
		text := o.Code.String()
		if o.Seat {
			text += ", a seat"
		}
		if o.Power > 0 {
			text += fmt.Sprintf(", %.1f %% of the power", 100*float64(o.Power)/float64(total))
		}
		t.rows = append(t.rows, []string{"owner", text})
	}
	return t
}

func seatsText(p *founding.Plan) string {
	seats := 0
	for _, o := range p.Owners {
		if o.Seat {
			seats++
		}
	}
	return fmt.Sprintf("%d of %s", p.Threshold, count(seats, "seat"))
}

func readPlan(ctx context.Context, path string) (*founding.Plan, error) {
	b, err := readBounded(ctx, path, founding.MaxPlan)
	if err != nil {
		return nil, err
	}
	p, err := founding.ParsePlan(b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return p, nil
}

func readPart(ctx context.Context, path string) (*founding.Part, error) {
	b, err := readBounded(ctx, path, founding.MaxPart)
	if err != nil {
		return nil, err
	}
	p, err := founding.ParsePart(b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return p, nil
}

func partTable(p *founding.Part) *table {
	t := fields(p, "owner", p.Owner.String()+" "+p.Names.Get("zh"), "chain", p.Chain, "node", p.Peer(), "validator key", p.Validator.String(),
		"decided by", fmt.Sprintf("%d of %s", p.Policy.Threshold, count(len(p.Policy.Members), "member")))
	for _, k := range p.Missing() {
		t.rows = append(t.rows, []string{"not signed by", describe.Fingerprint(k)})
	}
	return t
}

func networkSign(f *flags) func(context.Context, []string) error {
	var s secrets
	s.flags(f)
	var names list
	f.Var(&names, "key", "sign with this key (`name` or file); several times for several officers")
	return func(ctx context.Context, args []string) error {
		if len(args) != 1 || len(names) == 0 {
			return usagef("want the part of an institution and --key NAME")
		}
		p, err := readPart(ctx, args[0])
		if err != nil {
			return err
		}
		signers, err := f.signers(ctx, names, &s)
		if err != nil {
			return err
		}
		for _, k := range signers {
			if err := p.Sign(k); err != nil {
				return exitError{exitNotPermitted, err}
			}
		}
		b, err := p.Encode()
		if err != nil {
			return err
		}
		if f.out == "" {
			f.out = args[0]
		}
		if err := f.write(b); err != nil {
			return err
		}
		f.talk("%s", missingTalk(p, f.out))
		f.out = ""
		return f.print(partTable(p))
	}
}

// missingTalk says whether a part is ready.
func missingTalk(p *founding.Part, path string) string {
	if n := len(p.Missing()); n > 0 {
		return fmt.Sprintf("%s is not signed by %s yet: cityid network sign %s --key NAME, by whoever has them", path, count(n, "key"), path)
	}
	return fmt.Sprintf("%s is signed by all its keys: send it to the other institutions", path)
}

func networkAssemble(f *flags) func(context.Context, []string) error {
	return func(ctx context.Context, args []string) error {
		if len(args) < 2 || f.out == "" {
			return usagef("want the plan, the part of every institution, and -o FILE for the genesis")
		}
		plan, err := readPlan(ctx, args[0])
		if err != nil {
			return err
		}
		var parts []*founding.Part
		for _, path := range args[1:] {
			p, err := readPart(ctx, path)
			if err != nil {
				return err
			}
			parts = append(parts, p)
		}
		f.findings(plan)
		made, err := founding.Assemble(plan, parts)
		var problems founding.Problems
		if errors.As(err, &problems) {
			for _, p := range problems {
				f.talk("refused: %s", p)
			}
			return exitError{exitConflict, fmt.Errorf("%s: nothing was written", count(len(problems), "problem"))}
		}
		if err != nil {
			return err
		}
		g := &chain.Genesis{Chain: made.Chain, Time: made.Time, State: registry.Genesis{
			Params: made.Params, Rule: made.Rule, Schemes: made.Schemes, Validators: made.Validators, Records: made.Records,
		}}
		b, err := g.Encode()
		if err != nil {
			return err
		}
		if err := writeFresh(f.out, b); err != nil {
			return err
		}
		f.talk("genesis of %s is in %s; every institution compares its hash with its own:", g.Chain, f.out)
		f.talk("  cityid node init FOLDER --genesis %s --expect %s", f.out, g.Hash())
		f.out = ""
		return f.printGenesis(g)
	}
}

func networkShow(f *flags) func(context.Context, []string) error {
	return func(ctx context.Context, args []string) error {
		if len(args) != 1 {
			return usagef("want one genesis file")
		}
		g, err := readGenesis(ctx, args[0], "")
		if err != nil {
			return err
		}
		return f.printGenesis(g)
	}
}

// readGenesis reads a genesis file and refuses one that founds nothing, or has
// another hash than the one expected, if one is.
func readGenesis(ctx context.Context, path, expect string) (*chain.Genesis, error) {
	var want cityid.Digest
	if expect != "" {
		var err error
		if want, err = cityid.ParseDigest(expect); err != nil {
			return nil, usagef("--expect: %v", err)
		}
	}
	b, err := readBounded(ctx, path, chain.MaxGenesis)
	if err != nil {
		return nil, err
	}
	g, err := chain.ParseGenesis(b)
	if err == nil {
		err = g.Check()
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if expect != "" && g.Hash() != want {
		return nil, hint(exitError{exitInvalid, fmt.Errorf("%s has the hash %s, not the one expected: nothing was written", path, g.Hash())}, "ask the institutions, on another way than the file came, for its hash")
	}
	return g, nil
}

func (f *flags) printGenesis(g *chain.Genesis) error {
	trust, err := g.Trust()
	if err != nil {
		return err
	}
	type owner struct {
		Code   cityid.Code   `json:"code"`
		Names  cityid.Names  `json:"names"`
		Policy cityid.Digest `json:"policy"`
	}
	apex := &g.State.Records[0]
	v := struct {
		Chain      string             `json:"chain"`
		Genesis    cityid.Digest      `json:"genesis"`
		Trust      cityid.Digest      `json:"trust"`
		Time       cityid.Time        `json:"time"`
		Zone       cityid.Code        `json:"zone"`
		Validators []cityid.Validator `json:"validators"`
		Owners     []owner            `json:"owners"`
	}{Chain: g.Chain, Genesis: g.Hash(), Trust: trust.Statement.Hash(), Time: g.Time, Zone: apex.Code, Validators: g.State.Validators}
	t := fields(nil, "genesis hash", v.Genesis.String(), "trust root hash", v.Trust.String(), "chain", v.Chain, "founded", v.Time.String(),
		"zone", v.Zone.String(), "decided by", fmt.Sprintf("%d of %s", apex.Policy.Threshold, count(len(apex.Policy.Members), "member")))
	for i := range g.State.Records[1:] {
		r := &g.State.Records[1+i]
		v.Owners = append(v.Owners, owner{r.Code, r.Content.Names, r.Policy.Hash()})
		t.rows = append(t.rows, []string{"record", strings.TrimSpace(r.Code.String() + " " + r.Content.Names.Get("zh"))})
	}
	for _, x := range g.State.Validators {
		t.rows = append(t.rows, []string{"validator", fmt.Sprintf("%s with power %d, of %s", x.Key, x.Power, x.Owner)})
	}
	t.values = []any{v}
	return f.print(t)
}
