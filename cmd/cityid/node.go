// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"time"

	"cityid"
	"cityid/client"
	"cityid/internal/chain"
	"cityid/internal/describe"
	"cityid/keys"
)

func nodeCommand() *command {
	return &command{
		name: "node", short: "run a node that keeps the registry and answers",
		sub: []*command{
			{
				name: "init", args: "FOLDER", short: "make a node's keys, and found a network or join one",
				long: "With --plan it makes an institution's part of a network that several found together; when all have made\ntheirs, --genesis takes in what came of it. With --zone it founds a network of this one validator: --member\nnames each institution with the keys of its officers.",
				examples: []string{
					"cityid node init /srv/cityid --plan plan.json --owner MA.156.9001 --name zh=测绘院 --officer li --officer wang --address node.example.cn:26656",
					"cityid node init /srv/cityid --genesis genesis.json --expect 3b0c…",
					"cityid node init /srv/cityid --zone MA.156 --member MA.156.9001=officer --intake intake",
				},
				setup: nodeInit,
			},
			{
				name: "join", args: "FOLDER", short: "set a node up that follows a network without a vote, and answers",
				long: "It takes all blocks from its peers, checks and carries them out itself, and so proves what it answers.\nWith --fast-from it begins with the state of its peers instead, proven by headers that follow from the trust root;\nit then knows no block or transaction from before.\nThe apex can give it a vote later: cityid network validators.",
				examples: []string{
					"cityid node join /srv/cityid --genesis genesis.json --expect 3b0c… --peer 51a0…@node.example.cn:26656",
					"cityid node join /srv/cityid --genesis genesis.json --expect 3b0c… --peer 51a0…@node.example.cn:26656 --fast-from https://id.example.cn --fast-trust trust.json",
				},
				setup: nodeJoin,
			},
			{
				name: "start", args: "FOLDER", short: "start the node and answer over HTTP until interrupted",
				examples: []string{"cityid node start /srv/cityid", "cityid node start /srv/cityid --listen :8443 --tls-cert cert.pem --tls-key key.pem"},
				setup:    nodeStart,
			},
			{
				name: "config", args: "FOLDER", short: "show every setting of a node and where it comes from",
				long:     "Settings are in node.json in the node's folder. An environment variable (CITYID_NODE_LISTEN and so on)\noverrides the file, and a flag both. docs/operating.md has them all.",
				examples: []string{"cityid node config /srv/cityid", "cityid node config /srv/cityid --listen :8443 --format json"},
				setup:    nodeShowConfig,
			},
			{name: "status", short: "say how a running node is", setup: nodeStatus},
			{
				name: "doctor", args: "FOLDER", short: "look for what is wrong with a node, and say what to do",
				long:     "It looks at the folder's files, disk, clock and certificate, asks the running node, and compares with others.\nIt takes the flags of node start, so that it sees the same settings.",
				examples: []string{"cityid node doctor /srv/cityid", "cityid node doctor /srv/cityid --ask https://id.example.cn --format json"},
				setup:    nodeDoctor,
			},
			{
				name: "backup", args: "FOLDER", short: "write what a node keeps into one file, also while it runs",
				long:     "The file holds state, blocks, genesis, configuration and what the institution keeps off the chain. Keys of node\nand validator are left out without --keys: the restored node then is another one, without a vote.",
				examples: []string{"cityid node backup /srv/cityid --recipient backup -o node.backup", "cityid node backup /srv/cityid --passphrase --keys -o node.backup"},
				setup:    nodeBackup,
			},
			{
				name: "restore", args: "FILE FOLDER", short: "make a node's folder of a backup, once all of it is verified",
				examples: []string{"cityid node restore node.backup /srv/cityid --identity backup", "cityid node restore node.backup /srv/cityid"},
				setup:    nodeRestore,
			},
			{
				name: "signing", args: "FOLDER", short: "show up to which block a validator's key has signed, or say so after a restore",
				long:     "A validator that sees votes of its key which its folder knows nothing of halts: another node runs with the key, or\nthe folder is an old copy. Make sure that no other runs, and raise the mark to the height that others are at.\nThe mark is never lowered.",
				examples: []string{"cityid node signing /srv/cityid", "cityid node signing /srv/cityid --through 81250"},
				setup:    nodeSigning,
			},
		},
	}
}

// startFlags are what a node is started with.
type startFlags struct {
	config    string
	chain     chain.Config
	serve     serving
	desk      deskFlags
	fast      fastFlags
	upstreams list
	relay     time.Duration
	peers     list
	allowed   list
	siteNames list
	proxies   string
	level     string
	jsonLog   bool
}

func (n *startFlags) setup(f *flags) {
	s, cfg := &n.serve, &n.chain
	f.StringVar(&n.config, "config", "", "configuration `file`; node.json in the node's folder without it")
	f.StringVar(&s.Listen, "listen", "127.0.0.1:8080", "`address` on which to answer over HTTP")
	f.StringVar(&s.Cert, "tls-cert", "", "PEM `file` with the TLS certificate; it is read again when it changes")
	f.StringVar(&s.Key, "tls-key", "", "PEM `file` with its private key")
	f.BoolVar(&s.Pages.Off, "no-pages", false, "serve programs alone, and no pages for people")
	f.StringVar(&s.Pages.Origin, "origin", "", "`address` under which browsers reach the pages, such as https://id.example; passkeys are bound to it")
	f.StringVar(&s.Pages.Public, "public-url", "", "`address` that labels name; without it the pages draw none")
	f.StringVar(&s.Pages.BaseMap, "base-map", "", "GeoJSON `file` of land polygons to draw maps on, instead of a coarse outline")
	n.desk.setup(f)
	f.Var(&n.siteNames, "site-name", "what the pages call themselves, as `lang=text`; several times for several languages")
	f.IntVar(&s.Writes, "writes-per-second", 200, "transactions a second that one client may submit; 0 for no limit")
	f.IntVar(&s.Streams, "streams", 1000, "streams of events at a time; a quarter of them for one client address")
	f.StringVar(&n.proxies, "trusted-proxies", "", "`networks` of proxies whose X-Forwarded-For is believed")
	f.StringVar(&cfg.Listen, "p2p-listen", chain.DefaultListen, "`address` for other nodes")
	f.StringVar(&cfg.External, "p2p-external", "", "`address` that other nodes are told")
	f.Var(&n.peers, "peer", "a node to stay connected to, as `id@host:port`; several times")
	f.BoolVar(&cfg.Closed, "p2p-closed", false, "turn away nodes that are neither peers nor allowed")
	f.Var(&n.allowed, "allow", "with --p2p-closed: the `id` of a node that may connect; several times")
	f.DurationVar(&cfg.Heartbeat, "heartbeat", chain.DefaultHeartbeat, "after how long an idle network makes an empty block")
	f.IntVar(&cfg.Snapshots, "snapshots", chain.DefaultSnapshots, "after how many blocks to take a new snapshot for others to begin with; 0 for none")
	f.IntVar(&cfg.KeepBlocks, "keep-blocks", 0, "how many blocks to keep with their transactions, at least 10000; of older ones headers and signatures alone. 0 for all")
	n.fast.setup(f)
	f.Var(&n.upstreams, "upstream", "`address` of a node of the zone above, to which checkpoints of this zone are brought; several times for several")
	f.DurationVar(&n.relay, "checkpoint-interval", chain.DefaultRelayInterval, "how old the last checkpoint may become before a new one is brought to the zone above; at least 10s")
	f.BoolVar(&s.NoIndex, "no-index", false, "keep no search index and answer no searches; only with --no-pages")
	s.Data.setup(f)
	f.StringVar(&s.Admin, "admin-listen", "", "`address` of loopback on which to tell whoever runs the node how it is: /livez, /readyz, /metrics, /debug/pprof")
	f.StringVar(&n.level, "log-level", "info", "debug, info, warn or error")
	f.BoolVar(&n.jsonLog, "log-json", false, "write the log as JSON lines")
}

// check completes what the node in a folder is started with, but for its log and
// keys, and refuses what can not be.
func (n *startFlags) check(dir string) (err error) {
	s, cfg := &n.serve, &n.chain
	if s.Proxies, err = parseProxies(n.proxies); err != nil {
		return err
	}
	if s.Writes < 0 {
		return usagef("--writes-per-second %d: want 0 or more", s.Writes)
	}
	if s.Streams < 1 {
		return usagef("--streams %d: want 1 or more", s.Streams)
	}
	if (s.Cert == "") != (s.Key == "") {
		return usagef("--tls-cert and --tls-key go together")
	}
	if s.Pages.Folder = dir; s.Pages.Origin == "" && !s.Pages.Off {
		s.Pages.Origin = defaultOrigin(s.Listen, s.Cert != "")
	}
	if s.Pages.Name, err = languageTexts(n.siteNames); err != nil {
		return err
	}
	if s.Admin != "" {
		if err := loopback(s.Admin); err != nil {
			return err
		}
	}
	if s.NoIndex && !s.Pages.Off {
		return usagef("--no-index: the pages need the index; it goes with --no-pages")
	}
	for _, p := range n.peers {
		if err := chain.CheckPeer(p); err != nil {
			return usagef("--peer: %v", err)
		}
	}
	if len(n.allowed) > 0 && !cfg.Closed {
		return usagef("--allow goes with --p2p-closed: without it every node may connect")
	}
	if cfg.KeepBlocks != 0 && cfg.KeepBlocks < chain.MinKeepBlocks {
		return usagef("--keep-blocks %d: want %d or more, or 0 for all", cfg.KeepBlocks, chain.MinKeepBlocks)
	}
	if n.relay < 10*time.Second {
		return usagef("--checkpoint-interval %s: want 10s or more", n.relay)
	}
	if cfg.Snapshots < 0 {
		return usagef("--snapshots %d: want 0 or more", cfg.Snapshots)
	}
	if cfg.Snapshots == 0 {
		cfg.Snapshots = -1 // which 0 is to the chain
	}
	cfg.Home, cfg.Peers, cfg.Allowed, cfg.Version = dir, n.peers, n.allowed, version
	return nil
}

func nodeStart(f *flags) func(context.Context, []string) error {
	var n startFlags
	n.setup(f)
	return func(ctx context.Context, args []string) error {
		if len(args) != 1 {
			return usagef("want the node's folder")
		}
		if !isNode(args[0]) {
			if _, err := os.Stat(filepath.Join(args[0], partFile)); err == nil {
				return hint(fmt.Errorf("the node in %s has no genesis yet", args[0]), "once all institutions have made their parts: cityid network assemble, then cityid node init %s --genesis FILE", args[0])
			}
			return hint(fmt.Errorf("there is no node in %s", args[0]), "cityid node init %s makes one", args[0])
		}
		settings, err := f.applyConfig(ctx, args[0], n.config)
		if err != nil {
			return err
		}
		log, err := f.logger(n.level, n.jsonLog)
		if err == nil {
			err = n.check(args[0])
		}
		if err == nil {
			err = n.desk.open(ctx, f, &n.serve.Pages)
		}
		if err == nil && len(n.fast.from)+len(n.fast.trust) > 0 {
			var g *chain.Genesis
			if g, err = chain.ReadGenesis(args[0]); err == nil {
				n.chain.Fast, err = n.fast.of(ctx, f, g)
			}
		}
		if err != nil {
			return explainSettings(err, settings)
		}
		n.chain.Logger, n.serve.Log = log, log
		relay, err := n.newRelay(f)
		if err != nil {
			return explainSettings(err, settings)
		}
		return f.runNode(ctx, n.chain, &n.serve, relay)
	}
}

// newRelay returns what keeps the node's zone and the one above in step; nil if no
// node of that is given.
func (n *startFlags) newRelay(f *flags) (*chain.Relay, error) {
	if len(n.upstreams) == 0 {
		return nil, nil
	}
	r := &chain.Relay{Interval: n.relay, Logger: n.chain.Logger}
	for _, address := range n.upstreams {
		c, err := f.clientOf(address, 0)
		if err != nil {
			return nil, err
		}
		r.Above = append(r.Above, c)
	}
	return r, nil
}

// deskFlags are what makes the pages those of an institution.
type deskFlags struct {
	member, evidenceKey, intakeKey, deliverTo string
	gateways, purposeKeys                     list
	secret                                    secrets
}

func (d *deskFlags) setup(f *flags) {
	f.StringVar(&d.member, "member", "", "`code` of the institution whose portal this is: its officers see evidence and the intake")
	f.StringVar(&d.evidenceKey, "evidence-key", "", "the institution's x25519 key (`name` or file), which opens evidence")
	f.StringVar(&d.intakeKey, "intake-key", "", "a key (`name` or file) with no role but intake, which brings applications onto the chain as they are handed in, and signs the receipts of reports")
	f.StringVar(&d.deliverTo, "deliver-to", "", "`networks` evidence may be sent to besides public addresses, separated by commas")
	f.Var(&d.gateways, "gateway", "where this machine reaches the local side of a city's gateway, as `code=address`, for its dashboard, and for agreements of those whose officers work here; several times")
	f.Var(&d.purposeKeys, "purpose-key", "an x25519 key (`name` or file) of a code whose officers work here, with which purposes of requests for its data are shown; several times for several")
	d.secret.flags(f)
}

func (d *deskFlags) open(ctx context.Context, f *flags, c *pagesConfig) (err error) {
	if d.member != "" {
		if c.Member, err = parseCode(d.member); err != nil {
			return err
		}
	}
	if c.DeliverTo, err = parseNetworks("--deliver-to", d.deliverTo); err != nil {
		return err
	}
	if c.Gateways, err = parseGateways(d.gateways); err != nil {
		return err
	}
	if d.intakeKey != "" {
		k, err := f.openKey(ctx, d.intakeKey, &d.secret)
		if err != nil {
			return err
		}
		if !k.Public().CanSign() {
			return usagef("--intake-key %s: want a key that signs", d.intakeKey)
		}
		signer := signerOf(k)
		c.Intake = &signer
	}
	for _, name := range d.purposeKeys {
		k, err := d.reader(ctx, f, "--purpose-key", name)
		if err != nil {
			return err
		}
		c.PurposeKeys = append(c.PurposeKeys, k)
	}
	if d.evidenceKey == "" {
		return nil
	}
	if d.member == "" {
		return usagef("--evidence-key goes with --member: whose evidence does it open?")
	}
	c.EvidenceKey, err = d.reader(ctx, f, "--evidence-key", d.evidenceKey)
	return err
}

// reader opens a key that decrypts.
func (d *deskFlags) reader(ctx context.Context, f *flags, flag, name string) (*keys.Private, error) {
	k, err := f.openKey(ctx, name, &d.secret)
	if err != nil {
		return nil, err
	}
	if k.Public().Algorithm() != keys.X25519 {
		return nil, usagef("%s %s: want an x25519 key: cityid key new evidence --algorithm x25519", flag, name)
	}
	return k, nil
}

// runNode opens and starts a node and answers until ctx ends.
func (f *flags) runNode(ctx context.Context, cfg chain.Config, s *serving, relay *chain.Relay) (err error) {
	tell := newAdmin(cfg.Home, cfg.Heartbeat)
	if s.Admin != "" {
		stop, err := tell.start(ctx, s.Admin, s.Log)
		if err != nil {
			return err
		}
		defer func() { _ = stop() }()
	}
	n, err := chain.Open(cfg)
	if err != nil {
		return explainOpen(err, cfg.Home)
	}
	defer func() { err = errors.Join(err, n.Stop()) }()
	tell.opened(n)
	if err := n.Start(); err != nil {
		return explainOpen(err, cfg.Home)
	}
	if relay != nil {
		tell.relays(relay)
	}
	stop, err := f.startRelay(ctx, n, cfg.Home, relay)
	if err != nil {
		return err
	}
	defer stop()
	err = s.serve(ctx, n, func(a net.Addr) {
		tell.answering.Store(true)
		f.talk("node %s answers at %s", n.ID(), publicAddress(a, s.Cert != ""))
	})
	if ctx.Err() != nil && n.Err() == nil {
		f.talk("stopped")
	}
	if errors.Is(err, chain.ErrUpgrade) {
		return explainUpgrade(err, cfg.Home)
	}
	return err
}

// startRelay relays until what it returns is called. A zone with another above it
// whose nodes are not given goes on, but this node brings no checkpoints there.
func (f *flags) startRelay(ctx context.Context, n *chain.Node, home string, relay *chain.Relay) (stop func(), err error) {
	g, err := chain.ReadGenesis(home)
	if err != nil {
		return nil, err
	}
	switch up := g.State.Upstream; {
	case up == nil && relay != nil:
		return nil, usagef("--upstream: this zone, that of %s, has none above: its genesis names none", g.State.Records[0].Code)
	case up == nil:
		return func() {}, nil
	case relay == nil:
		f.talk("this zone lies below that of %s, and no node of that is given: another node must bring its checkpoints there (--upstream)", up.Zone)
		return func() {}, nil
	}
	relay.Local = n.Local
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() { defer close(done); relay.Run(ctx) }()
	return func() { cancel(); <-done }, nil
}

// explainOpen adds what to do about a node that does not open.
func explainOpen(err error, home string) error {
	switch {
	case errors.Is(err, chain.ErrLocked):
		return hint(exitError{exitConflict, err}, "another node runs on %s: stop it, or ask it with cityid node status", home)
	case errors.Is(err, chain.ErrForeignChain):
		return hint(exitError{exitConflict, err}, "the data in %s belongs to another network: use a folder of its own for each", home)
	case errors.Is(err, chain.ErrUpgrade):
		return explainUpgrade(err, home)
	case errors.Is(err, chain.ErrCopy):
		return hint(exitError{exitConflict, err}, "cityid node signing %s --through HEIGHT, with the height that others are at", home)
	case errors.Is(err, chain.ErrPortInUse):
		return hint(exitError{exitConflict, err}, "choose another address with --p2p-listen")
	}
	return err
}

func (f *flags) logger(level string, jsonLog bool) (*slog.Logger, error) {
	var l slog.Level
	if err := l.UnmarshalText([]byte(level)); err != nil {
		return nil, usagef("--log-level %q: want debug, info, warn or error", level)
	}
	o := &slog.HandlerOptions{Level: l}
	if jsonLog {
		return slog.New(slog.NewJSONHandler(f.term.err, o)), nil
	}
	return slog.New(slog.NewTextHandler(f.term.err, o)), nil
}

func nodeStatus(f *flags) func(context.Context, []string) error {
	return func(ctx context.Context, args []string) error {
		if err := noArgs(args); err != nil {
			return err
		}
		c, err := f.connect()
		if err != nil {
			return err
		}
		return f.printStatus(ctx, c)
	}
}

func (f *flags) printStatus(ctx context.Context, c *client.Client) error {
	s, err := c.Status(ctx)
	if err != nil {
		return err
	}
	age := time.Since(s.Time).Round(time.Second)
	if p := unready(s); p != nil {
		f.talk("warning: the program of this node has no version %d of the rules, and stops before block %d: install %s before that", p.Version, p.Height, p.Release)
	}
	for _, o := range s.Offenders {
		if o.Validates {
			f.talk("warning: %s signed two histories, at height %d last, and its votes still count: cityid node doctor says what to do", offenderText(&o), o.Voted)
		}
	}
	return f.print(fields(s, "version", s.Version, "zone", s.Zone.String(), "chain", s.Chain, "height", fmt.Sprint(s.Height),
		"node id", s.Node, "last block", fmt.Sprintf("%s, %s ago", s.Time.UTC().Format(time.RFC3339), age), "app hash", s.AppHash.String(),
		"entries", fmt.Sprint(s.Records), "mempool", fmt.Sprint(s.Mempool), "peers", fmt.Sprint(s.Peers),
		"catching up", fmt.Sprint(s.CatchingUp), "blocks", keptText(s), "validators", fmt.Sprint(len(s.Validators.Validators)),
		"rules", rulesText(f.lang, s.Rules, s.Height), "trust root", fmt.Sprintf("version %d, %s", s.Trust, s.TrustHash), "running since", s.Started.UTC().Format(time.RFC3339)))
}

// keptText says which blocks a node keeps.
func keptText(s *cityid.NodeStatus) string {
	text := fmt.Sprintf("from height %d", s.BlocksFrom)
	if s.HeadersFrom != s.BlocksFrom {
		text += fmt.Sprintf(", headers from %d", s.HeadersFrom)
	}
	return text
}

func chainCommand() *command {
	return &command{
		name: "chain", short: "look at the chain behind the registry",
		sub: []*command{
			{name: "status", short: "say how the chain is, as a node sees it", setup: nodeStatus},
			{name: "validators", short: "list the machines that sign blocks", setup: chainValidators},
			{name: "settings", short: "show parameters, distribution rule and crosswalk schemes", setup: chainSettings},
			{
				name: "blocks", short: "list blocks, latest first",
				examples: []string{"cityid chain blocks --busy --limit 5"},
				setup:    chainBlocks,
			},
			{name: "block", args: "HEIGHT", short: "show a block and what its transactions do", setup: chainBlock},
		},
	}
}

func chainValidators(f *flags) func(context.Context, []string) error {
	return func(ctx context.Context, args []string) error {
		if err := noArgs(args); err != nil {
			return err
		}
		c, err := f.connect()
		if err != nil {
			return err
		}
		s, err := c.Status(ctx)
		if err != nil {
			return err
		}
		var total int64
		for _, v := range s.Validators.Validators {
			total += v.Power
		}
		t := &table{head: []string{"key", "power", "share", "owner"}}
		for i := range s.Validators.Validators {
			v := &s.Validators.Validators[i]
			t.add(v, v.Key.String(), fmt.Sprint(v.Power), fmt.Sprintf("%.1f %%", 100*float64(v.Power)/float64(total)), v.Owner.String())
		}
		return f.print(t)
	}
}

func chainSettings(f *flags) func(context.Context, []string) error {
	return func(ctx context.Context, args []string) error {
		if err := noArgs(args); err != nil {
			return err
		}
		c, err := f.connect()
		if err != nil {
			return err
		}
		s, err := c.Settings(ctx)
		if err != nil {
			return err
		}
		t := fields(s)
		b, err := json.Marshal(s.Params)
		if err != nil {
			return err
		}
		t.rows = append(t.rows, []string{"parameters", string(b)}, []string{"rules", rulesText(f.lang, s.Rules, s.AsOf.Height)})
		for _, line := range describe.Settings(f.lang, nil, &s.Rule, s.Schemes) {
			t.rows = append(t.rows, []string{"", line.String()})
		}
		return f.print(t)
	}
}
