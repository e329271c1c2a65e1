// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"cityid"
	"cityid/client"
	"cityid/internal/chain"
	"cityid/verify"
)

// When the doctor begins to worry, and when something is wrong.
const (
	fewOctets       = 10 << 30 // of disk
	noOctets        = 1 << 30
	trustGetsOld    = 10 * 24 * time.Hour // verifiers trust a version for 14 days
	trustIsOld      = 14 * 24 * time.Hour
	certificateSoon = 30 * 24 * time.Hour
	certificateNow  = 7 * 24 * time.Hour
	clocksApart     = 2 * time.Second // headers of HTTP have whole seconds
	fewFiles        = 4096
)

// finding is one thing that the doctor looked at.
type finding struct {
	Subject string `json:"subject"`
	State   string `json:"state"` // good, warning or bad
	Detail  string `json:"detail"`
	Remedy  string `json:"remedy,omitempty"`
}

// doctor collects findings about a node.
type doctor struct {
	home  string
	start startFlags
	found []finding
}

func (d *doctor) say(subject, state, remedy, format string, args ...any) {
	d.found = append(d.found, finding{subject, state, fmt.Sprintf(format, args...), remedy})
}

func (d *doctor) good(subject, format string, args ...any) {
	d.say(subject, "good", "", format, args...)
}

func (d *doctor) warn(subject, remedy, format string, args ...any) {
	d.say(subject, "warning", remedy, format, args...)
}

func (d *doctor) bad(subject, remedy, format string, args ...any) {
	d.say(subject, "bad", remedy, format, args...)
}

// worse is bad if it is, else a warning if it is that, else good.
func worse(bad, warn bool) string {
	switch {
	case bad:
		return "bad"
	case warn:
		return "warning"
	}
	return "good"
}

func nodeDoctor(f *flags) func(context.Context, []string) error {
	d := new(doctor)
	d.start.setup(f)
	var ask list
	f.Var(&ask, "ask", "`address` of another node of the network to compare with; several times")
	return func(ctx context.Context, args []string) error {
		if len(args) != 1 {
			return usagef("want the node's folder")
		}
		if d.home = args[0]; !isNode(d.home) {
			return hint(exitError{exitNotFound, fmt.Errorf("there is no node in %s", d.home)}, "cityid node init %s makes one", d.home)
		}
		d.configuration(ctx, f)
		d.files()
		d.disk()
		d.clock()
		d.openFiles()
		d.certificate()
		if status, c := d.running(ctx, f); status != nil {
			d.blocks(status)
			d.peers(status)
			d.rules(status)
			d.trust(ctx, c)
			d.signing(status)
			d.zones(ctx, f, c)
			d.offenders(status)
			d.others(ctx, f, status, ask)
		}
		t, ill := &table{head: []string{"subject", "state", "detail", "remedy"}}, 0
		for _, x := range d.found {
			t.add(x, x.Subject, x.State, x.Detail, x.Remedy)
			if x.State == "bad" {
				ill++
			}
		}
		if err := f.print(t); err != nil {
			return err
		}
		if ill > 0 {
			return exitError{exitFailure, fmt.Errorf("%d of %d subjects are bad", ill, len(d.found))}
		}
		return nil
	}
}

// isNode reports whether a folder holds a node.
func isNode(home string) bool {
	_, err := os.Stat(filepath.Join(home, "genesis.json"))
	return err == nil
}

func (d *doctor) configuration(ctx context.Context, f *flags) {
	settings, err := f.applyConfig(ctx, d.home, d.start.config)
	if err == nil {
		err = explainSettings(d.start.check(d.home), settings)
	}
	if err != nil {
		d.bad("configuration", "correct it; docs/operating.md has every setting", "%v", err)
		return
	}
	set := 0
	for _, s := range settings {
		if s.Origin != "default" {
			set++
		}
	}
	d.good("configuration", "%d of %d settings are given", set, len(settings))
}

// files looks who may read secrets, and whether they are there.
func (d *doctor) files() {
	secret := []string{"node_key.json", "validator_key.json", "validator_state.json"}
	for _, optional := range []string{filepath.Join("office", "office.key"), configFile} {
		if _, err := os.Stat(filepath.Join(d.home, optional)); err == nil {
			secret = append(secret, optional)
		}
	}
	for _, name := range secret {
		path := filepath.Join(d.home, name)
		info, err := os.Stat(path)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			d.bad("file "+name, "restore it from where it was moved, or from the latest backup", "it is missing")
		case err != nil:
			d.bad("file "+name, "run the doctor as the user of the node", "%v", err)
		case info.Mode().Perm()&0o077 != 0 && name != configFile:
			d.bad("file "+name, "chmod 600 "+path, "others than its owner may read it (mode %o)", info.Mode().Perm())
		case info.Mode().Perm()&0o022 != 0:
			d.bad("file "+name, "chmod go-w "+path, "others than its owner may change it (mode %o)", info.Mode().Perm())
		default:
			d.good("file "+name, "mode %o", info.Mode().Perm())
		}
	}
}

func (d *doctor) disk() {
	free, err := diskFree(d.home)
	if err != nil {
		d.warn("disk", "", "how much is free is not known: %v", err)
		return
	}
	d.say("disk", worse(free < noOctets, free < fewOctets), "make room, or move the folder of the stopped node to a larger disk", "%.1f GB are free", float64(free)/1e9)
}

func (d *doctor) clock() {
	kept, err := clockKept()
	switch {
	case errors.Is(err, errors.ErrUnsupported):
		d.warn("clock", "look at the system's time service", "whether something keeps it is not known on this system")
	case err != nil:
		d.warn("clock", "look at the system's time service", "%v", err)
	case !kept:
		d.warn("clock", "turn time synchronization on: timedatectl set-ntp true", "nothing keeps it: blocks with times far from those of others are refused")
	default:
		d.good("clock", "it is kept by the system's time service")
	}
}

func (d *doctor) openFiles() {
	n, err := openFilesLimit()
	if err != nil {
		return
	}
	d.say("open files", worse(false, n < fewFiles), "raise it: LimitNOFILE= in the unit, or ulimit -n", "at most %d for this user", n)
}

func (d *doctor) certificate() {
	name := d.start.serve.Cert
	if name == "" {
		return
	}
	renew := "renew it; the running node reads it again by itself"
	b, err := os.ReadFile(name)
	if err != nil {
		d.bad("certificate", renew, "%v", err)
		return
	}
	block, _ := pem.Decode(b)
	if block == nil {
		d.bad("certificate", renew, "%s holds no PEM block", name)
		return
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		d.bad("certificate", renew, "%s: %v", name, err)
		return
	}
	left := time.Until(cert.NotAfter)
	d.say("certificate", worse(left < certificateNow, left < certificateSoon), renew, "it ends at %s, in %d days", cert.NotAfter.UTC().Format(time.RFC3339), int(left/(24*time.Hour)))
}

// running asks the node itself. Where it should be asked follows from its
// configuration, unless --node says so.
func (d *doctor) running(ctx context.Context, f *flags) (*cityid.NodeStatus, *client.Client) {
	address := f.node
	if !isSet(f.FlagSet, "node") && os.Getenv("CITYID_NODE") == "" {
		if address = d.start.serve.Pages.Origin; address == "" || d.start.serve.Cert == "" {
			address = defaultOrigin(d.start.serve.Listen, d.start.serve.Cert != "")
		}
	}
	c, err := f.clientOf(address, 0)
	if err != nil {
		d.bad("node", "", "%v", err)
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	s, err := c.Status(ctx)
	if err != nil {
		d.bad("node", "start it: cityid node start "+d.home+"; or say where it answers with --node", "it does not answer at %s: %v", address, err)
		return nil, nil
	}
	g, err := chain.ReadGenesis(d.home)
	switch {
	case err != nil:
		d.bad("node", "restore genesis.json; its hash is known to every institution", "%v", err)
	case g.Chain != s.Chain:
		d.bad("node", "say where the node of this folder answers with --node", "what answers at %s is of chain %s, and the folder of %s", address, s.Chain, g.Chain)
		return nil, nil
	default:
		d.good("node", "it answers at %s, and runs since %s", address, s.Started.UTC().Format(time.RFC3339))
	}
	d.say("version", worse(false, s.Version != version), "start it again to run the version that is installed", "%s runs, and this command is of %s", s.Version, version)
	return s, c
}

func (d *doctor) blocks(s *cityid.NodeStatus) {
	age := time.Since(s.Time).Round(time.Second)
	most := max(time.Minute, silence*d.start.chain.Heartbeat)
	switch {
	case s.PeersFrom > 0:
		d.bad("blocks", "name a peer that keeps all blocks; or stop the node, empty the folders blocks and state, keep the other files, and start it with fast_from", "the last one is %d, and all peers let go the next, and keep those from %d on", s.Height, s.PeersFrom)
	case s.CatchingUp:
		d.warn("blocks", "wait", "block %d; others have more, and they are being fetched", s.Height)
	case age > most:
		d.bad("blocks", "more than two thirds of the validators' power must run and reach each other", "the last one, %d, is %s old", s.Height, age)
	case age < -clocksApart:
		d.bad("blocks", "set this machine's clock", "the last one, %d, is %s in the future", s.Height, -age)
	default:
		d.good("blocks", "the last one, %d, is %s old", s.Height, max(age, 0))
	}
}

func (d *doctor) peers(s *cityid.NodeStatus) {
	want := len(d.start.peers)
	if want == 0 && len(s.Validators.Validators) == 1 && len(s.Validator) > 0 {
		d.good("peers", "none is needed: this is the only validator")
		return
	}
	remedy := "see that their addresses are right, that they run, and that no firewall is between"
	d.say("peers", worse(s.Peers == 0, s.Peers < want), remedy, "connected to %d, of which %d should be there", s.Peers, want)
}

func (d *doctor) trust(ctx context.Context, c *client.Client) {
	trusts, err := c.Trust(ctx)
	if err != nil || len(trusts) == 0 {
		d.warn("trust root", "", "it is not known: %v", err)
		return
	}
	last := &trusts[len(trusts)-1].Statement
	age := time.Since(last.Time.Std())
	d.say("trust root", worse(age > trustIsOld, age > trustGetsOld), "have a quorum's officers sign the next: cityid trust draft, cityid trust sign, cityid trust publish",
		"version %d is %d days old; verifiers trust it for 14", last.Version, int(age/(24*time.Hour)))
}

// zones looks at how a zone below another one stands to that: whether its last
// checkpoint is young enough, and whether what is decided up there arrives.
func (d *doctor) zones(ctx context.Context, f *flags, c *client.Client) {
	page, err := c.Zones(ctx, cityid.ZoneQuery{Limit: 1})
	if err != nil || page.Upstream == nil {
		return
	}
	up := page.Upstream
	age := time.Since(up.Checkpoint.Time.Std())
	d.say("zone above", worse(age > verify.DefaultTrustingPeriod, age > verify.DefaultTrustingPeriod/3), "name a node of it that answers: upstreams",
		"%s was followed to its header %d, %d days ago", up.Zone, up.Checkpoint.Height, int(age/(24*time.Hour)))
	if len(d.start.upstreams) == 0 {
		d.warn("checkpoints", "name nodes of the zone above (upstreams), unless another node of this zone relays", "this node brings none to the zone of %s", up.Zone)
	}
	for _, address := range d.start.upstreams {
		subject := "checkpoint at " + address
		above, err := f.clientOf(address, 0)
		if err != nil {
			d.bad(subject, "", "%v", err)
			continue
		}
		w := &writing{flags: f}
		known, err := w.zoneAt(ctx, above, page.Apex)
		if err != nil {
			d.warn(subject, "see that the address is right and the node runs", "%v", err)
			continue
		}
		age := time.Since(known.Checkpoint.Time.Std())
		switch remedy := "look into the log, which says what keeps checkpoints from being accepted; after 14 days: cityid zone anchor"; {
		case known.Fork != nil:
			d.bad(subject, "say which branch holds: cityid zone anchor", "the zone is frozen, for two headers at height %d", known.Fork.Height)
		default:
			d.say(subject, worse(age > verify.DefaultTrustingPeriod, age > verify.DefaultTrustingPeriod/3), remedy, "the last one is of height %d, %s old", known.Checkpoint.Height, age.Round(time.Second))
		}
	}
}

// signing compares what the validator signed with the blocks there are.
func (d *doctor) signing(s *cityid.NodeStatus) {
	if len(s.Validator) == 0 {
		d.good("votes", "this node has none that counts")
		return
	}
	last, err := chain.LastSigned(d.home)
	switch {
	case err != nil:
		d.bad("votes", "restore validator_state.json", "%v", err)
	case last+20 < s.Height && !s.CatchingUp:
		d.bad("votes", "look into the log; cityid node signing "+d.home+" says what the key signed last", "the last one was for block %d, and block %d is there", last, s.Height)
	case last > s.Height+20:
		d.warn("votes", "it votes again from there on", "the folder says that everything up to block %d is signed, and block %d is the last", last, s.Height)
	default:
		d.good("votes", "the last one was for block %d", last)
	}
}

// offenders names the seats whose validators signed two histories.
func (d *doctor) offenders(s *cityid.NodeStatus) {
	for _, o := range s.Offenders {
		d.say("seat", worse(o.Validates, true), "find out with its owner whether its key runs on two machines; then have the apex put a new key in its place: cityid network validators",
			"%s signed two histories; the latest of %d pieces of evidence is in block %d, of votes for block %d; %s", offenderText(&o), o.Times, o.Recorded, o.Voted,
			map[bool]string{true: "its votes still count", false: "its votes count no more"}[o.Validates])
	}
	if len(s.Offenders) == 0 {
		d.good("seats", "no block has evidence against a validator")
	}
}

// offenderText names a validator by its owner, as far as that is known.
func offenderText(o *cityid.Offender) string {
	text := "validator " + cmp.Or(o.Key.String(), o.Address)
	if !o.Owner.IsZero() {
		text += " of " + o.Owner.String()
	}
	return text
}

// others compares with nodes of others: chain, version, height, clock, hash.
func (d *doctor) others(ctx context.Context, f *flags, mine *cityid.NodeStatus, ask []string) {
	for _, address := range ask {
		subject := "node " + address
		transport, err := f.transport(0)
		if err != nil {
			d.bad(subject, "", "%v", err)
			continue
		}
		clock := &clockReader{RoundTripper: transport}
		c, err := client.New(address, client.WithTransport(clock))
		if err != nil {
			d.bad(subject, "", "%v", err)
			continue
		}
		s, err := c.Status(ctx)
		transport.CloseIdleConnections()
		if err != nil {
			d.bad(subject, "see that it runs, and that the address is right", "%v", err)
			continue
		}
		var wrong []string
		state := "good"
		if s.Chain != mine.Chain {
			wrong, state = append(wrong, "it is of chain "+s.Chain), "bad"
		}
		if s.Version != mine.Version {
			wrong, state = append(wrong, "it runs version "+s.Version), worse(state == "bad", true)
		}
		if s.Height == mine.Height && s.AppHash != mine.AppHash {
			wrong, state = append(wrong, fmt.Sprintf("after block %d it has another state: one of both is broken", s.Height)), "bad"
		}
		if s.Height > mine.Height+20 {
			wrong, state = append(wrong, fmt.Sprintf("it is %d blocks ahead", s.Height-mine.Height)), worse(state == "bad", true)
		}
		if clock.ahead.Abs() > clocksApart {
			wrong, state = append(wrong, fmt.Sprintf("its clock differs by %s", clock.ahead.Round(time.Second))), "bad"
		}
		if len(wrong) == 0 {
			wrong = []string{fmt.Sprintf("version %s, block %d", s.Version, s.Height)}
			if clock.read {
				wrong[0] += ", clocks agree"
			}
		}
		d.say(subject, state, map[bool]string{true: "compare with whoever runs it"}[state != "good"], "%s", strings.Join(wrong, "; "))
	}
}

// clockReader carries requests, and notes by how much the server's clock is ahead of
// this one's, by the date in its last answer.
type clockReader struct {
	http.RoundTripper
	ahead time.Duration
	read  bool // there was a date
}

// RoundTrip implements [http.RoundTripper].
func (c *clockReader) RoundTrip(r *http.Request) (*http.Response, error) {
	before := time.Now()
	answer, err := c.RoundTripper.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	if at, err := http.ParseTime(answer.Header.Get("Date")); err == nil {
		// It was cut to the second, some time between asking and now.
		c.ahead, c.read = at.Add(time.Second/2).Sub(before.Add(time.Since(before)/2)), true
	}
	return answer, nil
}

// nodeSigning shows or raises what a validator's key has signed.
func nodeSigning(f *flags) func(context.Context, []string) error {
	through := f.Uint64("through", 0, "note that the key has signed everything up to this `height`, so that it signs none of that again")
	return func(_ context.Context, args []string) error {
		if len(args) != 1 {
			return usagef("want the node's folder")
		}
		if isSet(f.FlagSet, "through") {
			if err := chain.RaiseSigned(args[0], *through); err != nil {
				return explainOpen(err, args[0])
			}
		}
		last, err := chain.LastSigned(args[0])
		if err != nil {
			return err
		}
		return f.print(fields(map[string]uint64{"signed": last}, "signed up to block", fmt.Sprint(last)))
	}
}
