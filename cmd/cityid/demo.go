// SPDX-License-Identifier: Apache-2.0

package main

// The demo is the whole system on one machine, over real disk state and real
// HTTP. It is written as its users would act: everything that is recorded goes
// in as a signed transaction over HTTP, and everything that is shown is checked
// from the outside.
//
// One file a topic: the flow is here; the folder, the keys and the network in
// demo_network.go; the places of China in demo_places.go; Shijiazhuang and its
// objects in demo_city.go; what two cities share in demo_sharing.go; what is looked at and checked in demo_tour.go; how
// the demo speaks in demo_talk.go.
//
// # The folder
//
//	keys/*.key         officers, encrypted under keys/passphrase
//	keys/seed          what the officer keys of all other places derive from
//	node0, node1, ...  one home folder for each validator
//	trust.json         the trust root, pinned at version 1
//	objects/*.csv      what is imported, each with its checkpoint
//	labels/*           a field label and a certificate
//	sjz-01.cityid      the bundle of a department
//	sharing/*          descriptions of shared data, and what each gateway keeps
//	catalogue.sqlite   what the first node has harvested of what cities share
//	fetch.evidence     that Tianjin fetched from Shijiazhuang
//	demo.log           warnings of the nodes
//
// Every step looks first at what is there, so a demo that was interrupted goes
// on, and one that is complete is only looked at again.

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"cityid"
	"cityid/client"
	"cityid/internal/api"
	"cityid/internal/chain"
	"cityid/internal/index"
	"cityid/internal/web"
	"cityid/label"
	"cityid/verify"
)

// Codes the demo speaks of.
var (
	demoApex       = cityid.MustParse("MA.156")
	demoCity       = cityid.MustParse("MA.156.1301")
	demoUrban      = cityid.MustParse("MA.156.1301.01")
	demoTraffic    = cityid.MustParse("MA.156.1301.02")
	demoNever      = cityid.MustParse("MA.156.9999")
	demoInstitutes = []cityid.Code{cityid.MustParse("MA.156.9001"), cityid.MustParse("MA.156.9002"), cityid.MustParse("MA.156.9003")}
)

func demoCommand() *command {
	return &command{
		name: "demo", short: "start a complete network on this machine, fill it, check it, and keep it running",
		long: "Three institutes found a root zone; 31 provinces and 337 cities apply and are approved; Shijiazhuang\n" +
			"gets two departments and 10,000 lamp posts and manholes; Shijiazhuang and Tianjin share data through\n" +
			"gateways of their own. Then the answers are checked as a stranger would check them. The codes are\n" +
			"not official.",
		examples: []string{"cityid demo", "cityid demo --data ~/cityid-demo", "cityid demo --once --validators 4"},
		setup:    demoSetup,
	}
}

// demoOptions are the flags.
type demoOptions struct {
	data       string // folder; empty: a temporary one
	listen     string
	publicURL  string // on labels
	validators int    // 0: as many as the folder has, else 1
	once       bool
}

func demoSetup(f *flags) func(context.Context, []string) error {
	var o demoOptions
	f.StringVar(&o.data, "data", "", "keep everything in this `folder`; started again there, the demo goes on")
	f.StringVar(&o.listen, "listen", "127.0.0.1:8080", "`address` on which to answer over HTTP")
	f.IntVar(&o.validators, "validators", 0, "`number` of validators, 1 to 16; 1 for a new demo without it")
	f.BoolVar(&o.once, "once", false, "exit after the tour: 0 if every step succeeded")
	f.StringVar(&o.publicURL, "public-url", "https://id.cityid.example", "`address` that the labels name; paper outlives this machine")
	return func(ctx context.Context, args []string) error {
		if err := noArgs(args); err != nil {
			return err
		}
		if isSet(f.FlagSet, "validators") && (o.validators < 1 || o.validators > 16) {
			return usagef("--validators %d: want 1 to 16", o.validators)
		}
		public, err := label.ParsePublicURL(o.publicURL)
		if err != nil {
			return usageError{err}
		}
		d := &demo{flags: f, options: o, public: public, say: newNarrator(f.term), began: time.Now()}
		return d.run(ctx)
	}
}

// demo is one run of the demo.
type demo struct {
	*flags
	options demoOptions
	public  label.PublicURL
	say     *narrator
	began   time.Time

	folder  *demoFolder
	facts   *demoFacts
	network *demoNetwork
	local   *client.Client    // of the node, at the address it listens on
	http    *http.Transport   // of local
	address string            // what people type
	trust   *verify.TrustFile // as pinned: version 1
	objects int               // that were imported
	closers []func() error    // of what the pages need
	origins []string          // of the institutes' pages
	search  *index.Index      // of the first node
	data    api.Datasets      // the catalogue of what cities share

	sharers    []*demoSharer // cities that share data
	agreements []demoAgreement
}

// run carries the demo through. The address comes first, so that nothing is
// written when another program has it.
func (d *demo) run(ctx context.Context) (err error) {
	if d.facts, err = readDemoFacts(); err != nil {
		return err
	}
	l, err := listen(ctx, d.options.listen)
	if err != nil {
		return err
	}
	defer l.Close() // once more than Serve does; that is harmless
	if d.folder, err = openDemoFolder(d.options.data); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.folder.close()) }()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)

	d.say.title("cityid demo: a registry of city codes, complete on this machine")
	if err := d.say.step("Three institutes found the root zone "+demoApex.String(), func(t *stepTalk) (string, error) {
		return d.start(ctx, t, cancel)
	}); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.network.stop()) }()
	if err := d.prepareSharing(); err != nil {
		return err
	}
	served := make(chan error, 1)
	if err := d.serve(ctx, l, served); err != nil {
		return errors.Join(err, d.closeSites())
	}
	// Whatever ends the demo, running requests are answered before the nodes
	// stop.
	defer func() {
		cancel(nil)
		d.http.CloseIdleConnections()
		if serr := <-served; serr != nil {
			err = errors.Join(err, serr)
		}
		err = errors.Join(err, d.closeSites())
	}()
	if err := d.openGateways(ctx); err != nil {
		return d.cause(ctx, err)
	}
	if err := d.fill(ctx); err != nil {
		return d.cause(ctx, err)
	}
	if !d.options.once {
		if err := d.say.step("Each institute says where its office is", func(t *stepTalk) (string, error) { return d.offices(ctx, t) }); err != nil {
			return d.cause(ctx, err)
		}
	}
	if err := d.tour(ctx); err != nil {
		return d.cause(ctx, err)
	}
	if err := d.write([]byte(d.summary())); err != nil || d.options.once {
		return err
	}
	<-ctx.Done()
	d.say.line("stopping")
	return d.cause(ctx, nil)
}

// cause returns why a step failed: if a node halted, that is the reason, and
// if the user has interrupted it, that; the step's error follows from it.
func (d *demo) cause(ctx context.Context, err error) error {
	if halted := context.Cause(ctx); errors.Is(halted, chain.ErrHalted) {
		return halted
	}
	if err != nil && ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

// start opens the folder's keys and network and waits until it answers.
func (d *demo) start(ctx context.Context, t *stepTalk, cancel context.CancelCauseFunc) (string, error) {
	network, err := openDemoNetwork(d.folder, d.options)
	if err != nil {
		return "", err
	}
	d.network = network
	detail, err := network.start(ctx, t, cancel)
	if err == nil {
		d.trust, err = network.pin(ctx)
	}
	if err != nil {
		return "", errors.Join(err, network.stop())
	}
	return detail, nil
}

// serve answers on l until ctx ends, and makes the client that the demo uses.
// served receives how serving ended.
func (d *demo) serve(ctx context.Context, l net.Listener, served chan<- error) error {
	s := &serving{Log: d.folder.log}
	d.address = publicAddress(l.Addr(), false)
	sites, err := d.openSites(ctx)
	if err != nil {
		return err
	}
	s.search, s.data = d.search, d.data
	h, err := s.handler(d.network.nodes[0], demoApex, sites)
	if err != nil {
		return err
	}
	d.http = &http.Transport{MaxIdleConnsPerHost: 2 * demoInFlight}
	if d.local, err = client.New("http://"+dialable(l.Addr()), client.WithTransport(d.http), client.WithUserAgent("cityid-demo")); err != nil {
		return err
	}
	go func() { served <- web.Serve(ctx, web.NewServer(h, web.Limits{}, d.folder.log), l, nil, drain) }()
	return nil
}

// dialable is a listener's address as this machine reaches it.
func dialable(a net.Addr) string {
	tcp, ok := a.(*net.TCPAddr)
	if !ok || !tcp.IP.IsUnspecified() {
		return a.String()
	}
	return net.JoinHostPort("localhost", fmt.Sprint(tcp.Port))
}

// fill brings everything onto the chain that is not there yet.
func (d *demo) fill(ctx context.Context) error {
	for _, s := range []struct {
		title string
		do    func(context.Context, *stepTalk) (string, error)
	}{
		{"31 provinces and municipalities apply", d.provinces},
		{"333 more cities apply", d.cities},
		{"Shijiazhuang makes two departments", d.departments},
		{"5,000 manholes are imported", d.importer(demoManholes)},
		{"5,000 lamp posts are imported", d.importer(demoLamps)},
		{"Two cities describe data they share", d.shareData},
		{"They agree on using one another's", d.agree},
		{"Two institutes sign a new trust root", d.renewTrust},
	} {
		if err := d.say.step(s.title, func(t *stepTalk) (string, error) { return s.do(ctx, t) }); err != nil {
			return err
		}
	}
	return nil
}

// submit signs operations and waits until their effect can be proved.
func (d *demo) submit(ctx context.Context, ops []cityid.Operation, signers ...cityid.Signer) (*cityid.Receipt, error) {
	tx, err := cityid.SignTx(cityid.Body{
		Chain: d.network.chain, Expires: cityid.TimeOf(time.Now().Add(demoLifetime)), Operations: ops,
	}, signers...)
	if err != nil {
		return nil, err
	}
	for {
		// Submitting the same bytes again only waits on.
		r, err := d.local.SubmitTx(ctx, tx, true)
		if err == nil {
			err = r.Err()
		}
		if err != nil || r.Height > 0 {
			return r, err
		}
	}
}

// demoLifetime is how long a transaction of the demo may wait for its block.
const demoLifetime = 10 * time.Minute

// summary is what to try next.
func (d *demo) summary() string {
	var b strings.Builder
	p := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	name := func(parts ...string) string {
		return shellWord(filepath.Join(append([]string{d.folder.path}, parts...)...))
	}
	me := programName()
	p("")
	p("All %d steps succeeded in %.1f s. The codes are not official: MA numbers belong to", d.say.steps(), time.Since(d.began).Seconds())
	p("their issuing agency, and everything here stays on this machine.")
	if d.options.once {
		if !d.folder.temporary {
			p("")
			p("Kept in %s. Try, without a network:", name())
			p("  %s verify %s --trust %s", me, name(demoBundleFile), name(demoTrustFile))
			p("  %s label scan %s --bundle %s --trust %s", me, name(demoLabels, demoCertificatePNG), name(demoBundleFile), name(demoTrustFile))
			p("  %s evidence verify %s --trust %s", me, name(demoEvidenceFile), name(demoTrustFile))
			p("or start it again:")
			p("  %s demo --data %s", me, name())
		}
		return b.String()
	}
	p("")
	p("Open it in a browser, in Chinese or English:")
	p("  %s", d.address)
	p("")
	p("Three things to try there:")
	p("  1. Have a city apply (Xiong'an has no code yet), and approve it as two institutes, each at")
	p("     its own address, with the test keys institute-a-1 and institute-b-1 that the pages offer:")
	p("     %s/en/apply", d.address)
	p("     %s/en/review   %s/en/review", d.address, d.origins[1])
	p("  2. Bring a department's old spreadsheet into the registry, signed in with the test key")
	p("     traffic-1; the page has a sample to download:")
	p("     %s/en/work/%s/import", d.address, demoTraffic)
	p("  3. Check a lamp post in your browser, down to the signatures:")
	p("     %s/en/verify?code=%s", d.address, demoTraffic.String()+"/20.010501/000001")
	p("")
	p("Programs ask the same address:")
	p("  curl %s/%s", d.address, demoCity)
	p("  curl %s/v1/search?q=Shijiazhuang", d.address)
	p("")
	p("A program of Tianjin fetches Shijiazhuang's data at Tianjin's own gateway, and whoever was there")
	p("can show it later:")
	p("  curl %s/fetch/%s/latest", d.shown().take.local(), d.shown().terms.ID().String()[:12])
	p("  curl -N %s/subscribe/%s/observations", d.shown().take.local(), d.shown().terms.ID().String()[:12])
	p("  %s evidence verify %s --trust %s", me, name(demoEvidenceFile), name(demoTrustFile))
	p("")
	p("In another terminal:")
	p("  export CITYID_HOME=%s CITYID_NODE=%s", name(), d.address)
	p("  %s resolve %s", me, demoCity)
	p("  %s bundle get %s -o tianjin.cityid && %s verify tianjin.cityid", me, "MA.156.12", me)
	p("  %s verify %s", me, name(demoBundleFile))
	p("  %s label scan %s", me, name(demoLabels, demoCertificatePNG))
	p("  %s code allocate %s.03 --kind department --name zh=园林局 --name en=Parks \\", me, demoCity)
	p("      --key shijiazhuang-1 --passphrase-file %s", name(demoKeysDir, demoPassphraseFile))
	p("  %s application list --limit 5", me)
	p("")
	p("The officers' keys are in %s (institute-a-1, shijiazhuang-1, urban-1, ...);", name(demoKeysDir))
	p("the passphrase of them all is in the file passphrase beside them.")
	if d.folder.temporary {
		p("The folder is removed when the demo stops; --data FOLDER keeps it.")
	}
	p("")
	p("Answering at %s until you press Ctrl-C.", d.address)
	return b.String()
}

// programName is how this program was called, so that a command can be typed
// as it is shown.
func programName() string {
	self := os.Args[0]
	switch {
	case strings.Contains(self, "go-build"):
		return "go run ./cmd/cityid"
	case strings.ContainsRune(self, filepath.Separator):
		return shellWord(self)
	}
	return "cityid"
}

// shellWord quotes s for a shell where it needs that.
func shellWord(s string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("/._-+:,@%", r) || r > 0x7f
	}
	if s != "" && strings.IndexFunc(s, func(r rune) bool { return !plain(r) }) < 0 {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
