// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"slices"
	"time"

	"cityid"
	"cityid/internal/dcat"
	"cityid/internal/feed"
	"cityid/internal/office"
	"cityid/internal/share"
	"cityid/internal/web"
	"cityid/keys"
	"cityid/verify"
)

// Names of what the demo's cities share.
const (
	demoSharing     = "sharing" // folder of the gateways
	demoSharingFile = "sharing.json"
	demoDataClass   = "30.990101"
	demoFeedItem    = "INDICATORS"
	demoLampsItem   = "LAMPS"
	demoStations    = 3  // of each domain
	demoHistory     = 54 // hours of observations there are at the beginning: a day is observed by then, whenever that is
	demoBatch       = 2 * time.Second
	demoOldCode     = "SJZ-JT-03" // by which old papers call the traffic department
)

// demoSharer is a city that shares data in the demo: its platform, which knows
// nothing of cityid, its gateway in front of that, and what it describes.
type demoSharer struct {
	code    cityid.Code
	name    string // of its keys
	zh, en  string
	lat     int32 // of its centre
	lon     int32
	seed    uint64
	Ports   demoPorts // as kept
	feed    *feed.Feed
	gateway *share.Gateway

	documents map[cityid.Code]*demoDocument
}

// demoPorts are where a city's gateway and platform listen on this machine.
type demoPorts struct {
	Peer, Local, Platform int
}

// demoDocument is the description of a dataset and what the chain is to say.
type demoDocument struct {
	published, schema, policy []byte
	onChain                   cityid.Dataset
}

// demoAgreement is an agreement between two of the cities, or of one with itself:
// a city's own streams take the same way as those of others.
type demoAgreement struct {
	give, take *demoSharer
	terms      cityid.Terms
	purpose    office.Purpose // told to the holder in confidence
}

// sharingState is what has to stay the same when the demo goes on.
type sharingState struct {
	Created cityid.Time          `json:"created"`
	Ports   map[string]demoPorts `json:"ports"`
	Nonces  []cityid.Nonce       `json:"nonces"`
	Salts   []cityid.Digest      `json:"salts"`
}

const demoPurpose = "比较两城的水、能源、空气与废弃物指标 / comparing indicators of both cities"

// dataset is the code of the city's feed.
func (s *demoSharer) dataset() cityid.Code {
	return cityid.MustParse(s.code.String() + "/" + demoDataClass + "/" + demoFeedItem)
}

func (s *demoSharer) url() string { return fmt.Sprintf("http://localhost:%d", s.Ports.Peer) }

func (s *demoSharer) local() string { return fmt.Sprintf("http://localhost:%d", s.Ports.Local) }

// lampsDataset is what Shijiazhuang publishes of its traffic department.
func lampsDataset() cityid.Code {
	return cityid.MustParse(demoCity.String() + "/" + demoDataClass + "/" + demoLampsItem)
}

// prepareSharing makes or reads what the gateways need.
func (d *demo) prepareSharing() error {
	d.sharers = []*demoSharer{
		{code: demoCity, name: "shijiazhuang", zh: "石家庄市", en: "Shijiazhuang", lat: 380_428_000, lon: 1_145_149_000, seed: 1301},
		{code: cityid.MustParse("MA.156.12"), name: "tianjin", zh: "天津市", en: "Tianjin", lat: 391_252_000, lon: 1_171_907_000, seed: 12},
	}
	state, err := d.sharingState()
	if err != nil {
		return err
	}
	for _, s := range d.sharers {
		s.Ports = state.Ports[s.name]
		begin := state.Created.Std().Add(-demoHistory * time.Hour)
		if s.feed, err = feed.New(feed.Config{City: s.code, Seed: s.seed, Stations: demoStations, Begin: begin}); err != nil {
			return err
		}
		if err := d.describe(s, state.Created); err != nil {
			return fmt.Errorf("description of the data of %s: %w", s.code, err)
		}
	}
	d.agreements = d.terms(state)
	return nil
}

// openGateways starts the gateways. A new one takes no signature of its first
// seconds, so this comes early.
func (d *demo) openGateways(ctx context.Context) error {
	for _, s := range d.sharers {
		if err := d.openGateway(ctx, s); err != nil {
			return fmt.Errorf("gateway of %s: %w", s.code, err)
		}
	}
	return nil
}

// sharingState reads what is to stay, and makes it the first time.
func (d *demo) sharingState() (*sharingState, error) {
	path := d.folder.file(demoSharingFile)
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		s := &sharingState{Created: cityid.TimeOf(time.Now()), Ports: map[string]demoPorts{}}
		for _, x := range d.sharers {
			ports, err := freePorts(3)
			if err != nil {
				return nil, err
			}
			s.Ports[x.name] = demoPorts{ports[0], ports[1], ports[2]}
		}
		for range len(d.sharers) * len(d.sharers) {
			var nonce cityid.Nonce
			var salt cityid.Digest
			rand.Read(nonce[:])
			rand.Read(salt[:])
			s.Nonces, s.Salts = append(s.Nonces, nonce), append(s.Salts, salt)
		}
		if b, err = json.MarshalIndent(s, "", "  "); err != nil {
			return nil, err
		}
		return s, writeFile(path, b, 0o600)
	}
	if err != nil {
		return nil, err
	}
	s := new(sharingState)
	if err := strictJSON(b, s); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if n := len(d.sharers) * len(d.sharers); len(s.Nonces) != n || len(s.Salts) != n || len(s.Ports) != len(d.sharers) {
		return nil, fmt.Errorf("%s is of another version of the demo", path)
	}
	return s, nil
}

// freePorts returns ports of loopback on which nobody listens.
func freePorts(n int) ([]int, error) {
	addresses, err := freeAddresses(n)
	if err != nil {
		return nil, err
	}
	var out []int
	for _, a := range addresses {
		tcp, err := net.ResolveTCPAddr("tcp", a)
		if err != nil {
			return nil, err
		}
		out = append(out, tcp.Port)
	}
	return out, nil
}

// terms returns the agreements there are to be: each city's feed for each city.
func (d *demo) terms(state *sharingState) []demoAgreement {
	var out []demoAgreement
	for _, give := range d.sharers {
		for _, take := range d.sharers {
			n := len(out)
			doc := give.documents[give.dataset()]
			purpose := office.Purpose{Format: "cityid/purpose/1", Salt: state.Salts[n], Text: demoPurpose}
			out = append(out, demoAgreement{give, take, cityid.Terms{
				Dataset: give.dataset(), Consumer: take.code, Document: doc.onChain.Document, Policy: doc.onChain.Policy,
				From: state.Created, Until: state.Created + 365*86400, Staleness: cityid.MinStaleness, Requests: 100_000, Octets: 10 << 30,
				Purpose: purpose.Digest(), Respond: state.Created + 10*86400, Nonce: state.Nonces[n],
			}, purpose})
		}
	}
	return out
}

// openGateway starts a city's platform and its gateway.
func (d *demo) openGateway(ctx context.Context, s *demoSharer) error {
	key, err := d.folder.key(s.name+"-gateway", keys.Ed25519)
	if err != nil {
		return err
	}
	if err := d.serveLoopback(ctx, s.feed.Handler(), s.Ports.Platform); err != nil {
		return err
	}
	cfg := share.Config{
		Party: s.code, Log: "demo", URL: s.url(), Listen: fmt.Sprintf("localhost:%d", s.Ports.Peer), Local: fmt.Sprintf("localhost:%d", s.Ports.Local),
		Data: d.folder.file(demoSharing, s.name, "ledger"), Key: s.name + "-gateway.key", Trust: demoTrustFile, Nodes: []string{d.address},
		PrivatePeers: true, PublicDashboard: true, BatchTime: share.Duration(demoBatch),
	}
	for code := range s.documents {
		c := share.DatasetConfig{Code: code, Document: d.documentFile(s, code, "document"), Paths: []share.PathRule{{Path: "/" + demoLamps.file}}}
		if s.documents[code].schema != nil {
			c.Schema = d.documentFile(s, code, "schema")
		}
		if s.documents[code].policy != nil {
			c.Policy = d.documentFile(s, code, "policy")
		}
		if code == s.dataset() {
			c.Backend = share.Backend{HTTP: fmt.Sprintf("http://127.0.0.1:%d", s.Ports.Platform)}
			page := map[string]string{"after": "word", "limit": "integer", "indicator": "word"}
			c.Paths = []share.PathRule{{Path: "/observations", Query: page}, {Path: "/latest", Query: map[string]string{"indicator": "word"}}, {Path: "/observations/minute/*"}}
		} else {
			c.Backend = share.Backend{Files: d.folder.file(demoObjects)}
		}
		cfg.Datasets = append(cfg.Datasets, c)
	}
	slices.SortFunc(cfg.Datasets, func(a, b share.DatasetConfig) int { return a.Code.Compare(b.Code) })
	for i := range d.agreements {
		if a := &d.agreements[i]; a.take == s {
			cfg.Feeds = append(cfg.Feeds, share.FeedConfig{Agreement: a.terms.ID(), Path: "/observations", Every: share.Duration(15 * time.Second), Series: true})
		}
	}
	trust, err := verify.NewTrustFile(*d.trust.Latest())
	if err != nil {
		return err
	}
	s.gateway, err = share.Open(ctx, cfg.WithDefaults(), share.Parts{
		Trust: trust, Nodes: []share.Node{d.network.nodes[0]}, Key: key, Peers: web.NewOutward(true, nil), Log: d.folder.log,
	})
	if err != nil {
		return err
	}
	run, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() { s.gateway.Run(run); close(done) }()
	d.closers = append(d.closers, func() error { cancel(); <-done; return s.gateway.Close() })
	return errors.Join(d.serveLoopback(ctx, web.Wrap(s.gateway.Peer(), web.WrapConfig{}), s.Ports.Peer),
		d.serveLoopback(ctx, web.Wrap(s.gateway.Local(), web.WrapConfig{}), s.Ports.Local))
}

// serveLoopback serves on a port of this machine until the demo ends.
func (d *demo) serveLoopback(ctx context.Context, h http.Handler, port int) error {
	l, err := listen(ctx, fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- web.Serve(ctx, web.NewServer(h, web.Limits{}, d.folder.log), l, nil, drain) }()
	d.closers = append(d.closers, func() error { cancel(); return <-done })
	return nil
}

// shareData puts what the cities share onto the chain: gateway keys and links,
// stations, and the descriptions' digests.
func (d *demo) shareData(ctx context.Context, _ *stepTalk) (string, error) {
	if err := d.approveHosts(ctx, "localhost"); err != nil {
		return "", err
	}
	for _, s := range d.sharers {
		officer, err := d.folder.signer(s.name + "-1")
		if err != nil {
			return "", err
		}
		if err := d.gatewayKey(ctx, s, officer); err != nil {
			return "", err
		}
		if err := d.gatewayLink(ctx, s, officer); err != nil {
			return "", err
		}
		if err := d.stations(ctx, s, officer); err != nil {
			return "", err
		}
		if err := d.publish(ctx, s, s.dataset(), s.code, officer); err != nil {
			return "", err
		}
	}
	traffic, err := d.folder.signer("traffic-1")
	if err != nil {
		return "", err
	}
	if err := d.oldDepartmentCode(ctx, traffic); err != nil {
		return "", err
	}
	city, err := d.folder.signer("shijiazhuang-1")
	if err != nil {
		return "", err
	}
	if err := d.publish(ctx, d.sharers[0], lampsDataset(), demoCity, city); err != nil {
		return "", err
	}
	return fmt.Sprintf("%s and %s, each behind a gateway of its own,\nand the lamp posts of %s for everybody", d.sharers[0].dataset(), d.sharers[1].dataset(), demoTraffic), nil
}

// approveHosts adds hosts to those that links below the apex may use.
func (d *demo) approveHosts(ctx context.Context, hosts ...string) error {
	apex, err := d.local.Record(ctx, demoApex)
	if err != nil {
		return err
	}
	content := apex.Record.Content
	content.Hosts = append(slices.Clone(content.Hosts), hosts...)
	slices.Sort(content.Hosts)
	if content.Hosts = slices.Compact(content.Hosts); len(content.Hosts) == len(apex.Record.Content.Hosts) {
		return nil
	}
	var two []cityid.Signer
	for i := range 2 {
		s, err := d.folder.signer(institute(i, "1"))
		if err != nil {
			return err
		}
		two = append(two, s)
	}
	return d.amend(ctx, &apex.Record, content, two...)
}

// gatewayKey adds the gateway's key, and one to receive purposes, to the policy.
func (d *demo) gatewayKey(ctx context.Context, s *demoSharer, officer cityid.Signer) error {
	a, err := d.local.Record(ctx, s.code)
	if err != nil {
		return err
	}
	gateway, err := d.folder.key(s.name+"-gateway", keys.Ed25519)
	if err != nil {
		return err
	}
	encrypt, err := d.folder.key(s.name+"-encrypt", keys.X25519)
	if err != nil {
		return err
	}
	policy := *a.Record.Policy
	policy.Members = slices.Clone(policy.Members)
	for _, k := range policy.Members[0].Keys {
		if k.Public == cityid.PublicKey(gateway.Public().Raw()) {
			return nil
		}
	}
	policy.Members[0].Keys = append(slices.Clone(policy.Members[0].Keys),
		cityid.Key{Public: cityid.PublicKey(gateway.Public().Raw()), Roles: cityid.RoleGateway},
		cityid.Key{Public: cityid.PublicKey(encrypt.Public().Raw()), Roles: cityid.RoleEncrypt})
	_, err = d.submit(ctx, []cityid.Operation{{Rekey: &cityid.Rekey{Code: s.code, Revision: a.Record.Revision, Policy: &policy}}}, officer)
	return err
}

func (d *demo) gatewayLink(ctx context.Context, s *demoSharer, officer cityid.Signer) error {
	a, err := d.local.Record(ctx, s.code)
	if err != nil {
		return err
	}
	content := a.Record.Content
	want := cityid.Link{Rel: share.RelGateway, Href: s.url()}
	if slices.ContainsFunc(content.Links, func(l cityid.Link) bool { return l.Rel == want.Rel && l.Href == want.Href }) {
		return nil
	}
	content.Links = append(slices.DeleteFunc(slices.Clone(content.Links), func(l cityid.Link) bool { return l.Rel == want.Rel }), want)
	return d.amend(ctx, &a.Record, content, officer)
}

// stations gives the stations of the platform codes, around the city's centre.
func (d *demo) stations(ctx context.Context, s *demoSharer, officer cityid.Signer) error {
	var items []cityid.Allocation
	seen := map[cityid.Code]bool{}
	for i, x := range s.feed.Stations() {
		class := x.Code.Parent()
		if !seen[class] {
			seen[class] = true
			items = append(items, cityid.Allocation{Code: class, Kind: cityid.KindClass, Content: cityid.Content{Names: cityid.NamesOf(map[string]string{
				"zh": x.Domain.Label("zh") + "监测站", "en": x.Domain.Label("en") + " stations",
			})}})
		}
		at := cityid.Location{Lat: s.lat + int32(i%4-2)*180_000, Lon: s.lon + int32(i/4-1)*260_000}
		items = append(items, cityid.Allocation{Code: x.Code, Kind: cityid.KindSource, Content: cityid.Content{Names: x.Names, Location: &at}})
	}
	if _, err := d.local.Record(ctx, items[0].Code); cityid.CodeOf(err) != cityid.ErrNotFound {
		return err
	}
	_, err := d.submit(ctx, []cityid.Operation{{Allocate: &cityid.Allocate{Items: items}}}, officer)
	return err
}

// publish allocates a dataset with what its description says, or amends it.
func (d *demo) publish(ctx context.Context, s *demoSharer, code, below cityid.Code, officer cityid.Signer) error {
	class := cityid.MustParse(below.String() + "/" + demoDataClass)
	err := d.ensure(ctx, officer, cityid.Allocation{Code: class, Kind: cityid.KindClass, Content: cityid.Content{
		Names: cityid.NamesOf(map[string]string{"zh": "共享数据集", "en": "Shared datasets"}),
	}})
	if err != nil {
		return err
	}
	doc := s.documents[code]
	x, err := dcat.ParsePublished(doc.published)
	if err != nil {
		return err
	}
	content := cityid.Content{Names: x.Title, Dataset: &doc.onChain}
	a, err := d.local.Record(ctx, code)
	if cityid.CodeOf(err) == cityid.ErrNotFound {
		return d.ensure(ctx, officer, cityid.Allocation{Code: code, Kind: cityid.KindDataset, Content: content})
	}
	if err != nil || a.Record.Content.Dataset != nil && *a.Record.Content.Dataset == doc.onChain {
		return err
	}
	return d.amend(ctx, &a.Record, content, officer)
}

// oldDepartmentCode maps the number by which old papers call the department.
func (d *demo) oldDepartmentCode(ctx context.Context, officer cityid.Signer) error {
	a, err := d.local.Record(ctx, demoTraffic)
	if err != nil || slices.ContainsFunc(a.Record.Aliases, func(x cityid.Alias) bool { return x.Value == demoOldCode }) {
		return err
	}
	_, err = d.submit(ctx, []cityid.Operation{{Map: &cityid.Map{
		Code: demoTraffic, Revision: a.Record.Revision, Alias: cityid.Alias{Scheme: "department", Value: demoOldCode},
	}}}, officer)
	return err
}

// agree has each city ask for the other's feed and its own, and tell what for; then
// the holders grant.
func (d *demo) agree(ctx context.Context, _ *stepTalk) (string, error) {
	for _, step := range []func(context.Context, *demoAgreement, *cityid.AgreementAnswer) error{d.request, d.tellPurpose, d.grant} {
		for i := range d.agreements {
			a := &d.agreements[i]
			have, err := d.local.Agreement(ctx, a.terms.ID())
			if err != nil && cityid.CodeOf(err) != cityid.ErrNotFound {
				return "", err
			}
			if err := step(ctx, a, have); err != nil {
				return "", err
			}
		}
	}
	return fmt.Sprintf("%s, each signed by an officer of either side;\na withdrawal takes effect within %d s", count(len(d.agreements), "agreement"), cityid.MinStaleness), nil
}

// request asks for an agreement unless that was done.
func (d *demo) request(ctx context.Context, a *demoAgreement, have *cityid.AgreementAnswer) error {
	if have != nil {
		return nil
	}
	return d.asOfficer(ctx, a.take, cityid.Operation{AgreementRequest: &cityid.AgreementRequest{Terms: a.terms}})
}

// tellPurpose sends the purpose of a request that waits to the holder's gateway,
// encrypted for the holder's officers.
func (d *demo) tellPurpose(ctx context.Context, a *demoAgreement, have *cityid.AgreementAnswer) error {
	if have.State != cityid.AgreementRequested || a.give == a.take {
		return nil
	}
	reader, err := d.folder.key(a.give.name+"-encrypt", keys.X25519)
	if err != nil {
		return err
	}
	sealed, err := office.SealPurpose([]cityid.PublicKey{cityid.PublicKey(reader.Public().Raw())}, a.purpose)
	if err != nil {
		return err
	}
	return patiently(ctx, func() error { return a.take.gateway.SendPurpose(ctx, a.terms.ID(), sealed) })
}

// grant grants a request that waits.
func (d *demo) grant(ctx context.Context, a *demoAgreement, have *cityid.AgreementAnswer) error {
	if have.State != cityid.AgreementRequested {
		return nil
	}
	return d.asOfficer(ctx, a.give, cityid.Operation{AgreementGrant: &cityid.AgreementDecision{Dataset: a.terms.Dataset, Agreement: a.terms.ID()}})
}

func (d *demo) asOfficer(ctx context.Context, s *demoSharer, op cityid.Operation) error {
	officer, err := d.folder.signer(s.name + "-1")
	if err != nil {
		return err
	}
	_, err = d.submit(ctx, []cityid.Operation{op}, officer)
	return err
}

// shown is the agreement by which Tianjin uses Shijiazhuang's feed.
func (d *demo) shown() *demoAgreement { return &d.agreements[1] }

// fetched fetches as a program of Tianjin would: plain HTTP at its own gateway.
func (v *visitor) fetched(ctx context.Context) (string, error) {
	a := v.shown()
	address := a.take.local() + "/fetch/" + a.terms.ID().String()[:12] + "/latest"
	var page *feed.Page
	err := patiently(ctx, func() error {
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
		if err != nil {
			return err
		}
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		var b bytes.Buffer
		if _, err := b.ReadFrom(http.MaxBytesReader(nil, resp.Body, feed.MaxPageBytes)); err != nil {
			return err
		}
		if resp.StatusCode != http.StatusOK {
			return gatewayRefusal(b.Bytes(), resp.Status)
		}
		if page, err = feed.ParsePage(b.Bytes()); err != nil {
			return err
		}
		return v.entry.UnmarshalText([]byte(resp.Header.Get("Cityid-Entry")))
	})
	if err != nil {
		return "", err
	}
	if len(page.Items) == 0 {
		return "", errors.New("the feed has no observations")
	}
	o := page.Items[0]
	return fmt.Sprintf("%s from %s: %s = %s %s at %s, and more\nsigned by both gateways, with a receipt on either side", count(len(page.Items), "observation"), a.give.code, o.Indicator, o.Value, o.Unit, o.Time), nil
}

// patiently tries again while a new gateway does not take signatures yet.
func patiently(ctx context.Context, try func() error) error {
	for start := time.Now(); ; {
		err := try()
		if err == nil || time.Since(start) > 40*time.Second {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// evidence takes the evidence of that fetch out of Tianjin's gateway, and judges it
// as a court would: from the trust root and nothing else.
func (v *visitor) evidence(ctx context.Context) (string, error) {
	a := v.shown()
	var r share.EvidenceResult
	var data []byte
	err := patiently(ctx, func() error {
		e, err := a.take.gateway.Evidence(ctx, v.entry)
		if err != nil {
			return err
		}
		if data, err = e.Encode(); err != nil {
			return err
		}
		if r = share.CheckEvidence(e, v.trust, time.Now()); r.Verdict != verify.Valid || r.Facts.Outcome != share.Acknowledged || r.Facts.Remark != "" {
			return fmt.Errorf("the evidence is %s: %s %s", r.Verdict, r.Message, r.Facts.Remark)
		}
		return nil
	})
	if err != nil {
		return "", err
	}
	if err := writeFile(v.folder.file(demoEvidenceFile), data, 0o644); err != nil {
		return "", err
	}
	for i := 0; i < len(data); i += 7 {
		b := bytes.Clone(data)
		b[i] ^= 1
		if e, err := share.DecodeEvidence(b); err == nil && share.CheckEvidence(e, v.trust, time.Now()).Verdict == verify.Valid {
			return "", exitError{exitInvalid, fmt.Errorf("the evidence is valid with octet %d changed", i)}
		}
	}
	return fmt.Sprintf("%s, %s octets, %s, %s:\nanchored by both sides no later than %s", demoEvidenceFile, grouped(len(data)), r.Verdict, r.Facts.Outcome, r.Facts.NotLater.UTC().Format(time.RFC3339)), nil
}

// demoEvidenceFile is the evidence of one fetch.
const demoEvidenceFile = "fetch.evidence"
