// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"cityid"
	"cityid/internal/chain"
	"cityid/internal/founding"
	"cityid/internal/registry"
	"cityid/keys"
)

// partFile is an institution's part of a network to be, in the folder of its node.
const partFile = "part.json"

// initFlags are what node init is told. It does one of three things: it makes an
// institution's part for a plan, it takes a genesis in, or it founds a network
// alone.
type initFlags struct {
	*flags
	genesis, expect        string
	zone                   string
	names, members, intake list
	threshold              int
	plan, owner, address   string
	keysOnly               bool
	officers               officerFlags
	secret                 secrets
	links                  linkFlags
}

// linkFlags are where a new node listens, and whom it stays connected to; they go
// into its configuration.
type linkFlags struct {
	listen, p2pListen string
	usual             string // for p2pListen, unless that is given or in the configuration
	parts, peers      list
}

func (l *linkFlags) setup(f *flags) {
	f.StringVar(&l.listen, "listen", "", "write into the node's configuration that it answers over HTTP on this `address`")
	f.StringVar(&l.p2pListen, "p2p-listen", "", "write into it the `address` for other nodes")
	f.Var(&l.peers, "peer", "write into it a node to stay connected to, as `id@host:port`; several times")
	f.Var(&l.parts, "part", "write into it the node of the institution with this part (a `file`); several times")
}

// resolve returns the peers of a node in the network of g.
func (l *linkFlags) resolve(ctx context.Context, g *chain.Genesis) ([]string, error) {
	var out []string
	for _, p := range l.peers {
		if err := chain.CheckPeer(p); err != nil {
			return nil, usagef("--peer: %v", err)
		}
		out = append(out, p)
	}
	for _, path := range l.parts {
		p, err := readPart(ctx, path)
		if err != nil {
			return nil, err
		}
		if p.Chain != g.Chain {
			return nil, exitError{exitConflict, fmt.Errorf("%s is for chain %s, and the genesis is of %s", path, p.Chain, g.Chain)}
		}
		if n := len(p.Missing()); n > 0 {
			return nil, exitError{exitConflict, fmt.Errorf("%s is not signed by all its keys", path)}
		}
		out = append(out, p.Peer())
	}
	return out, nil
}

// write writes what was given into the configuration of the node with an id.
func (l *linkFlags) write(ctx context.Context, dir, id string, peers []string) error {
	others := slices.DeleteFunc(slices.Clone(peers), func(p string) bool { return strings.HasPrefix(p, id+"@") })
	slices.Sort(others)
	if l.listen == "" && l.p2pListen == "" && l.usual == "" && len(others) == 0 {
		return nil
	}
	return changeConfig(ctx, dir, func(c *nodeConfig) {
		if l.listen != "" {
			c.Listen = &l.listen
		}
		if l.p2pListen != "" {
			c.P2PListen = &l.p2pListen
		} else if l.usual != "" && c.P2PListen == nil {
			c.P2PListen = &l.usual
		}
		if len(others) > 0 {
			c.Peers = slices.Compact(others)
		}
	})
}

func nodeInit(f *flags) func(context.Context, []string) error {
	n := &initFlags{flags: f}
	f.StringVar(&n.genesis, "genesis", "", "genesis `file` of the network to join")
	f.StringVar(&n.expect, "expect", "", "with --genesis: the `hash` it must have; any other is refused")
	f.BoolVar(&n.keysOnly, "keys-only", false, "make the node's keys alone, and show them: for a validator of a zone that is founded elsewhere")
	f.StringVar(&n.plan, "plan", "", "make this institution's part for the plan in this `file`")
	f.StringVar(&n.owner, "owner", "", "with --plan: the institution's `code`")
	f.StringVar(&n.address, "address", "", "with --plan: `host:port` at which the other nodes reach this one")
	f.Var(&n.officers.officers, "officer", "with --plan: a `key` (name, file or public key) that signs for the institution; several times")
	f.StringVar(&n.officers.file, "policy", "", "with --plan: JSON `file` of the institution's policy, instead of --officer")
	f.Var(&n.officers.more, "add", "with --officer: a key for something else as `role=key`, in the first officer's hands")
	f.StringVar(&n.zone, "zone", "", "found a zone with this apex `code` alone, such as MA.156")
	f.IntVar(&n.threshold, "threshold", 0, "how many members of the apex, or with --plan officers, must agree; 0 for more than half, or one officer")
	f.Var(&n.names, "name", "name of the apex, or with --plan of the institution, as `lang=text`; several times for several languages")
	f.Var(&n.members, "member", "with --zone: `CODE=KEY[,KEY…]`, an institution and the keys of its officers, any one of which signs for it")
	f.Var(&n.intake, "intake", "with --zone: `key` with which the first member brings applications onto the chain")
	n.secret.flags(f)
	n.links.setup(f)
	return func(ctx context.Context, args []string) error {
		if len(args) != 1 {
			return usagef("want the folder of the new node")
		}
		given := 0
		if n.keysOnly {
			given++
		}
		for _, x := range []string{n.genesis, n.plan, n.zone} {
			if x != "" {
				given++
			}
		}
		switch {
		case given != 1:
			return usagef("either make a part for a network with --plan FILE, or join one with --genesis FILE, or found one alone with --zone CODE, or make keys with --keys-only")
		case n.expect != "" && n.genesis == "":
			return usagef("--expect goes with --genesis")
		case len(n.links.parts) > 0 && n.genesis == "":
			return usagef("--part goes with --genesis: before there is one, nobody knows who the others are")
		case n.keysOnly:
			return n.makeKeys(args[0])
		case n.plan != "":
			return n.makePart(ctx, args[0])
		case n.genesis != "":
			g, err := readGenesis(ctx, n.genesis, n.expect)
			if err != nil {
				return err
			}
			return n.takeGenesis(ctx, args[0], g)
		}
		return n.foundAlone(ctx, args[0])
	}
}

// newHome makes the keys of a node, or finds those that wait in the folder for a
// genesis.
func newHome(dir string) (chain.Identity, error) {
	conflict := func(err error) error {
		return hint(exitError{exitConflict, err}, "choose an empty folder, or start the node that is there: cityid node start %s", dir)
	}
	if _, err := os.Lstat(filepath.Join(dir, "genesis.json")); err == nil {
		return chain.Identity{}, conflict(fmt.Errorf("%s holds a node already", dir))
	}
	id, err := chain.InitHome(dir)
	if !errors.Is(err, fs.ErrExist) {
		return id, err
	}
	if id, err = chain.ReadIdentity(dir); err != nil {
		return id, hint(exitError{exitConflict, err}, "the folder holds a part of a node's keys, perhaps of an init that was interrupted; if no node ever ran with them, remove it and begin again")
	}
	return id, nil
}

// makeKeys makes a node's keys, or shows those that wait for a genesis.
func (n *initFlags) makeKeys(dir string) error {
	id, err := newHome(dir)
	if err != nil {
		return err
	}
	n.talk("the keys are in %s; once there is a genesis: cityid node init %s --genesis FILE", dir, dir)
	return n.print(fields(struct {
		Node      string           `json:"node"`
		Validator cityid.PublicKey `json:"validator"`
	}{id.Node, id.Validator}, "node id", id.Node, "validator key", id.Validator.String()))
}

// foundAlone founds a network of one validator.
func (n *initFlags) foundAlone(ctx context.Context, dir string) error {
	g, err := n.found(n.zone, n.names, n.members, n.intake, n.threshold)
	if err != nil {
		return err
	}
	// Checked under some validator's key, before anything is on disk.
	k, err := keys.Generate(keys.Ed25519, nil)
	if err != nil {
		return err
	}
	g.State.Validators = []cityid.Validator{{Key: signerOf(k).Key, Power: 10, Owner: g.State.Records[1].Code}}
	if err := g.Check(); err != nil {
		return err
	}
	id, err := newHome(dir)
	if err != nil {
		return err
	}
	g.State.Validators[0].Key = id.Validator
	if err := n.links.write(ctx, dir, id.Node, n.links.peers); err != nil {
		return err
	}
	if err := chain.WriteGenesis(dir, g); err != nil {
		return err
	}
	n.talk("node %s of chain %s is set up in %s", id.Node, g.Chain, dir)
	n.talk("  its one validator signs every block alone; start it: cityid node start %s", dir)
	return n.printNode(id, g)
}

// takeGenesis lets a node be one of the network that g founds.
func (n *initFlags) takeGenesis(ctx context.Context, dir string, g *chain.Genesis) error {
	peers, err := n.links.resolve(ctx, g)
	if err != nil {
		return err
	}
	id, err := newHome(dir)
	if err != nil {
		return err
	}
	votes := slices.ContainsFunc(g.State.Validators, func(v cityid.Validator) bool { return v.Key == id.Validator })
	if part, err := readPart(ctx, filepath.Join(dir, partFile)); err == nil && !votes {
		if i := slices.IndexFunc(g.State.Validators, func(v cityid.Validator) bool { return v.Owner == part.Owner }); i >= 0 {
			return exitError{exitConflict, fmt.Errorf("the genesis names %s as the validator of %s, and this folder has %s: it was assembled with another part", g.State.Validators[i].Key, part.Owner, id.Validator)}
		}
	} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := n.links.write(ctx, dir, id.Node, peers); err != nil {
		return err
	}
	if err := chain.WriteGenesis(dir, g); err != nil {
		return err
	}
	n.talk("node %s of chain %s is set up in %s", id.Node, g.Chain, dir)
	if len(peers) == 0 && (len(g.State.Validators) > 1 || !votes) {
		n.talk("  it knows no other node yet: write peers into %s, or start it with --peer", filepath.Join(dir, configFile))
	}
	if !votes {
		n.talk("  it has no vote: it follows the network and answers")
	}
	if n.expect == "" {
		n.talk("  compare the genesis hash with the other institutions' before you start it; --expect refuses a wrong one")
	}
	n.talk("  next: cityid node start %s", dir)
	return n.printNode(id, g)
}

func (n *initFlags) printNode(id chain.Identity, g *chain.Genesis) error {
	v := struct {
		Chain     string           `json:"chain"`
		Genesis   cityid.Digest    `json:"genesis"`
		Node      string           `json:"node"`
		Validator cityid.PublicKey `json:"validator"`
	}{g.Chain, g.Hash(), id.Node, id.Validator}
	return n.print(fields(v, "chain", v.Chain, "genesis hash", v.Genesis.String(), "node id", v.Node, "validator key", v.Validator.String()))
}

// makePart makes the keys of a node, unless they wait there, and its institution's
// part. All that can be wrong is found before anything is on disk.
func (n *initFlags) makePart(ctx context.Context, dir string) error {
	if n.owner == "" || n.address == "" {
		return usagef("--plan wants --owner CODE and --address HOST:PORT as well")
	}
	plan, err := readPlan(ctx, n.plan)
	if err != nil {
		return err
	}
	code, err := parseCode(n.owner)
	if err != nil {
		return err
	}
	if _, ok := plan.Owner(code); !ok {
		return hint(exitError{exitNotFound, fmt.Errorf("%s is no owner of the plan", code)}, "edit %s and let all institutions read it again", n.plan)
	}
	if err := founding.CheckAddress(n.address, plan.PrivateAddresses); err != nil {
		return usageError{err}
	}
	n.officers.threshold = max(n.threshold, 1)
	policy, err := n.officers.policy(ctx, n.flags)
	if err != nil {
		return err
	}
	if policy == nil {
		return usagef("who signs for %s? give --officer KEY, several times for several officers, or --policy FILE", code)
	}
	signers, err := n.present(ctx)
	if err != nil {
		return err
	}
	c := founding.PartContent{Chain: plan.Chain, Owner: code, Policy: *policy, Address: n.address}
	if err := applyNames(&c.Names, n.names); err != nil {
		return err
	}
	if err := (&cityid.Content{Names: c.Names}).Check(); err != nil {
		return usageError{err}
	}
	id, err := newHome(dir)
	if err != nil {
		return err
	}
	c.Validator, c.NodeKey = id.Validator, id.NodeKey
	machine, err := chain.Signers(dir)
	if err != nil {
		return err
	}
	part := founding.NewPart(c)
	for _, s := range append(machine, signers...) {
		if err := part.Sign(s); err != nil {
			return err
		}
	}
	if err := part.Check(); err != nil {
		return err
	}
	b, err := part.Encode()
	if err != nil {
		return err
	}
	n.links.usual = listenFor(n.address)
	if err := n.links.write(ctx, dir, id.Node, n.links.peers); err != nil {
		return err
	}
	path := filepath.Join(dir, partFile)
	if err := writeFile(path, b, 0o644); err != nil {
		return err
	}
	n.talk("%s", missingTalk(part, path))
	return n.print(partTable(part))
}

// listenFor is where a node listens that others reach at an address: just there if
// it is a loopback one, else on all addresses of the machine.
func listenFor(address string) string {
	host, port, err := net.SplitHostPort(address)
	if ip, perr := netip.ParseAddr(host); err == nil && perr == nil && ip.IsLoopback() {
		return address
	}
	return net.JoinHostPort("0.0.0.0", port)
}

// nodeJoin is node init --genesis for one who comes later, and has to know what it
// joins and through whom.
func nodeJoin(f *flags) func(context.Context, []string) error {
	n := &initFlags{flags: f}
	f.StringVar(&n.genesis, "genesis", "", "genesis `file` of the network")
	f.StringVar(&n.expect, "expect", "", "the `hash` it must have, as the institutions tell it")
	n.links.setup(f)
	var fast fastFlags
	fast.setup(f)
	return func(ctx context.Context, args []string) error {
		if len(args) != 1 || n.genesis == "" || n.expect == "" || len(n.links.peers)+len(n.links.parts) == 0 {
			return usagef("want the folder of the new node, --genesis FILE, --expect HASH, and at least one --peer id@host:port or --part FILE")
		}
		g, err := readGenesis(ctx, n.genesis, n.expect)
		if err != nil {
			return err
		}
		if err := fast.check(ctx, f, g); err != nil {
			return err
		}
		// After the genesis, without which there is no node: a stop in between leaves
		// one that takes all blocks.
		if err := n.takeGenesis(ctx, args[0], g); err != nil {
			return err
		}
		return fast.keep(ctx, args[0])
	}
}

// present opens the keys of the policy that are on this machine.
func (n *initFlags) present(ctx context.Context) ([]cityid.Signer, error) {
	names := slices.Clone(n.officers.officers)
	for _, x := range n.officers.more {
		_, name, _ := strings.Cut(x, "=")
		names = append(names, name)
	}
	var out []cityid.Signer
	for _, name := range names {
		if strings.Contains(name, ":") {
			continue // a public key: its holder signs elsewhere
		}
		public, err := n.publicKey(name)
		if err != nil {
			return nil, err
		}
		if !public.Signs() {
			continue
		}
		k, err := n.openKey(ctx, name, &n.secret)
		if err != nil {
			return nil, err
		}
		out = append(out, signerOf(k))
	}
	return out, nil
}

// found returns the genesis of a new network, still without its validator.
func (f *flags) found(zone string, names, members, intake list, threshold int) (*chain.Genesis, error) {
	apex, err := parseCode(zone)
	if err != nil {
		return nil, err
	}
	if len(members) == 0 {
		return nil, usagef("who decides in %s? name its members: --member CODE=KEY", apex)
	}
	if threshold == 0 {
		threshold = len(members)/2 + 1
	}
	if threshold < 1 || threshold > len(members) {
		return nil, usagef("--threshold %d: want 1 to %d, the number of members", threshold, len(members))
	}
	root := cityid.Allocation{Code: apex, Kind: cityid.KindAuthority, Policy: &cityid.Policy{Threshold: uint8(threshold)}}
	if err := applyNames(&root.Content.Names, names); err != nil {
		return nil, err
	}
	records := []cityid.Allocation{root}
	for i, m := range members {
		code, officers, ok := strings.Cut(m, "=")
		if !ok {
			return nil, usagef("--member %q: want CODE=KEY[,KEY…]", m)
		}
		c, err := parseCode(code)
		if err != nil {
			return nil, err
		}
		var all []cityid.Key
		for name := range strings.SplitSeq(officers, ",") {
			k, err := f.publicKey(name)
			if err != nil {
				return nil, err
			}
			all = append(all, cityid.Key{Public: k, Roles: cityid.RoleControl})
		}
		for _, name := range intake {
			if i > 0 {
				break
			}
			k, err := f.publicKey(name)
			if err != nil {
				return nil, err
			}
			all = append(all, cityid.Key{Public: k, Roles: cityid.RoleIntake})
		}
		records = append(records, cityid.Allocation{
			Code: c, Parent: apex, Kind: cityid.KindOrganisation, Policy: &cityid.Policy{Threshold: 1, Members: []cityid.Member{{Keys: all}}},
		})
		root.Policy.Members = append(root.Policy.Members, cityid.Member{Code: c})
	}
	return newGenesis(chainID(apex), time.Now(), records, nil), nil
}

// newGenesis returns a genesis with the default parameters, rule and schemes.
func newGenesis(id string, at time.Time, records []cityid.Allocation, validators []cityid.Validator) *chain.Genesis {
	slices.SortFunc(validators, func(a, b cityid.Validator) int { return strings.Compare(string(a.Key), string(b.Key)) })
	return &chain.Genesis{
		Chain: id, Time: cityid.TimeOf(at),
		State: registry.Genesis{
			Params: cityid.DefaultParams, Rule: defaultRule(), Schemes: defaultSchemes(records[0].Code),
			Validators: validators, Records: records,
		},
	}
}

// chainID returns a new chain id for a zone. Its random end makes sure that no
// id is ever used twice.
func chainID(apex cityid.Code) string {
	return "cityid-" + strings.ReplaceAll(strings.ToLower(apex.Root().String()), ".", "-") + "-" + strings.ToLower(rand.Text()[:8])
}
