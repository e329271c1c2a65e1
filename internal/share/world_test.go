// SPDX-License-Identifier: Apache-2.0

package share_test

import (
	"cmp"
	"context"
	"crypto/sha256"
	"crypto/x509"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"cityid"
	"cityid/internal/chain"
	"cityid/internal/chain/chaintest"
	"cityid/internal/dcat"
	"cityid/internal/share"
	"cityid/internal/web"
	"cityid/keys"
	"cityid/verify"
)

const zone = "share-1"

var (
	provider = cityid.MustParse("MA.156.1301")
	consumer = cityid.MustParse("MA.156.1201")
	air      = cityid.MustParse("MA.156.1301/30.000001/AIR")
)

// world is two cities on one chain, each with a gateway on loopback, and a real
// service behind the provider's.
type world struct {
	t       testing.TB
	engine  *chain.Engine
	backend http.HandlerFunc // of the provider's service; may be replaced
	give    *city            // the provider
	take    *city            // the consumer
	tls     bool             // between the gateways
}

// city is a party with its gateway.
type city struct {
	*share.Gateway
	code     cityid.Code
	officer  cityid.Signer
	key      *keys.Private // of the gateway
	cfg      share.Config
	limits   web.Limits       // of its servers
	nodes    []share.Node     // none: the engine
	peers    *http.Client     // nil: one that goes to loopback too
	clock    func() time.Time // nil: the engine's
	patience time.Duration    // of its gateway; 0: the usual one
	log      *slog.Logger     // nil: none, or the test's
	front    *front
	peer     *httptest.Server // at the front
	local    *httptest.Server
	ended    atomic.Int32 // connections with it that were closed, but those at the front
	stop     func()
}

// entries returns how many a city's gateway has written down.
func (c *city) entries() uint64 {
	s := c.Ledger().Stats()
	return s.Served + s.Refused + s.Fetched + s.FetchRefused
}

// front stands at the address that a city's record links to, across restarts of
// its gateway. What answers there may be replaced.
type front struct {
	url     string
	server  *httptest.Server
	behind  *httptest.Server // the gateway itself, for whoever stands before it
	handler atomic.Pointer[http.Handler]
}

func (f *front) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	(*f.handler.Load()).ServeHTTP(w, r)
}

// put lets h answer in the gateway's place.
func (f *front) put(h http.Handler) { f.handler.Store(&h) }

// gone answers like a machine on which nothing runs.
func gone(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }

// newWorld starts everything. change may alter the gateways' configurations.
func newWorld(t testing.TB, change ...func(*world)) *world {
	t.Helper()
	return makeWorld(t, false, "", change)
}

// makeWorld is newWorld; with tls, gateways speak HTTP/2 with each other, and with a
// folder, the chain is kept there.
func makeWorld(t testing.TB, tls bool, dir string, change []func(*world)) *world {
	t.Helper()
	e, err := chain.NewEngine(chain.EngineConfig{Genesis: chaintest.Genesis(zone, chaintest.Epoch, chain.EngineValidator()), Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	w := &world{t: t, engine: e, tls: tls}
	w.backend = func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(rw, `{"path":%q,"query":%q}`, r.URL.Path, r.URL.RawQuery)
	}
	service := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) { w.backend(rw, r) }))
	t.Cleanup(service.Close)
	w.give, w.take = w.city(provider, 10), w.city(consumer, 20)
	document := describe(t, air)
	file := filepath.Join(t.TempDir(), "air.json")
	if err := os.WriteFile(file, document, 0o600); err != nil {
		t.Fatal(err)
	}
	w.give.cfg.Datasets = []share.DatasetConfig{{
		Code: air, Document: file, Backend: share.Backend{HTTP: service.URL + "/air"},
		Paths: []share.PathRule{{Path: "/latest"}, {Path: "/stations/*", Query: map[string]string{"after": "integer", "limit": "integer"}}},
	}}
	class := chaintest.Allocation("MA.156.1301/30.000001", cityid.KindClass)
	dataset := chaintest.Allocation(air.String(), cityid.KindDataset)
	dataset.Content.Dataset = &cityid.Dataset{Class: cityid.DatasetConditional, Document: sha256.Sum256(document)}
	w.submit([]cityid.Signer{w.give.officer}, chaintest.Allocate(class, dataset))
	for _, f := range change {
		f(w)
	}
	w.open(w.give)
	e.Advance(12 * time.Second) // a new gateway does not know what it has seen before
	w.open(w.take)
	return w
}

// describe returns a short description of a dataset, as published.
func describe(t testing.TB, code cityid.Code) []byte {
	t.Helper()
	ref, err := dcat.NewRef("id.example", code)
	if err != nil {
		t.Fatal(err)
	}
	b, err := (&dcat.Dataset{Coded: dcat.At(ref), Title: cityid.NamesOf(map[string]string{"en": "Air", "zh": "空气"})}).Encode()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// city allocates a city whose record links to its gateway.
func (w *world) city(code cityid.Code, n int) *city {
	w.t.Helper()
	c := &city{code: code, officer: chaintest.Key(n)}
	secret := sha256.Sum256(fmt.Appendf(nil, "gateway %d", n))
	var err error
	if c.key, err = keys.NewPrivate(keys.Ed25519, secret[:]); err != nil {
		w.t.Fatal(err)
	}
	c.front = new(front)
	c.front.put(http.HandlerFunc(gone))
	c.front.server = httptest.NewUnstartedServer(c.front)
	address := "http://" + c.front.server.Listener.Addr().String()
	if w.tls {
		address = "https" + strings.TrimPrefix(address, "http")
	}
	c.front.url, c.peer = address, c.front.server
	w.t.Cleanup(func() { c.front.server.Close() })
	a := chaintest.Allocation(code.String(), cityid.KindCity)
	a.Policy = chaintest.Policy(c.officer)
	a.Policy.Members[0].Keys = append(a.Policy.Members[0].Keys, cityid.Key{Public: cityid.PublicKey(c.key.Public().Raw()), Roles: cityid.RoleGateway})
	a.Content.Links = []cityid.Link{{Rel: share.RelGateway, Href: address}}
	w.approveHost()
	w.submit([]cityid.Signer{chaintest.Key(0)}, chaintest.Allocate(a))
	c.cfg = share.Config{
		Party: code, Log: "gw-1", URL: address, Listen: "unused", Local: "127.0.0.1:0", Data: w.t.TempDir(), Key: "unused", Trust: "unused",
		Nodes: []string{"unused"}, PrivatePeers: true, Unacknowledged: 100_000,
	}.WithDefaults()
	return c
}

// approveHost lets records link to loopback.
func (w *world) approveHost() {
	r, err := w.engine.Record(w.t.Context(), chaintest.Apex)
	if err != nil {
		w.t.Fatal(err)
	}
	if len(r.Record.Content.Hosts) > 0 {
		return
	}
	content := r.Record.Content
	content.Hosts = []string{"127.0.0.1"}
	w.submit([]cityid.Signer{chaintest.Key(0)}, cityid.Operation{Amend: &cityid.Amend{Code: chaintest.Apex, Revision: r.Record.Revision, Content: content}})
}

func (w *world) submit(by []cityid.Signer, ops ...cityid.Operation) {
	w.t.Helper()
	r, err := w.engine.Submit(w.t.Context(), chaintest.TxBy(zone, w.engine.Now(), by, ops...), true)
	if err == nil {
		err = r.Err()
	}
	if err != nil {
		w.t.Fatal(err)
	}
	if err := w.engine.Settle(); err != nil {
		w.t.Fatal(err)
	}
}

// open opens a city's gateway and serves it.
func (w *world) open(c *city) {
	w.t.Helper()
	trusts, err := w.engine.Trust(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	trust, err := verify.NewTrustFile(trusts[0])
	if err != nil {
		w.t.Fatal(err)
	}
	log := cmp.Or(c.log, slog.New(slog.DiscardHandler))
	if c.log == nil && testing.Verbose() {
		log = slog.New(slog.NewTextHandler(os.Stderr, nil))
	}
	p := share.Parts{Trust: trust, Nodes: c.nodes, Key: c.key, Peers: c.peers, Log: log, Now: c.clock, Patience: c.patience}
	if p.Nodes == nil {
		p.Nodes = []share.Node{w.engine}
	}
	if p.Peers == nil {
		p.Peers = web.NewOutward(true, w.authorities())
	}
	if p.Now == nil {
		p.Now = w.engine.Now
	}
	if c.Gateway, err = share.Open(w.t.Context(), c.cfg, p); err != nil {
		w.t.Fatal(err)
	}
	peer, g := web.Wrap(c.Peer(), web.WrapConfig{}), c.Gateway
	if c.front.server.URL == "" {
		c.front.server.Config = web.NewServer(c.front, c.limits, nil)
		if c.front.server.EnableHTTP2 = w.tls; w.tls {
			c.front.server.StartTLS()
		} else {
			c.front.server.Start()
		}
	}
	c.front.put(peer)
	behind, local := c.serve(peer), c.serve(web.Wrap(c.Local(), web.WrapConfig{}))
	c.front.behind, c.local = behind, local
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { g.Run(ctx); close(done) }()
	c.stop = sync.OnceFunc(func() {
		c.front.put(http.HandlerFunc(gone))
		cancel()
		<-done
		behind.Close()
		local.Listener.Close()
		local.CloseClientConnections() // some follow a feed
		local.Close()
		if err := g.Close(); err != nil {
			w.t.Error(err)
		}
	})
	w.t.Cleanup(c.stop)
}

// authorities returns what the gateways' certificates are checked by; nil without
// TLS.
func (w *world) authorities() *x509.CertPool {
	if !w.tls {
		return nil
	}
	s := httptest.NewTLSServer(nil) // all have the same certificate
	defer s.Close()
	pool := x509.NewCertPool()
	pool.AddCert(s.Certificate())
	return pool
}

// instance opens another instance of a city's gateway, which the city's record does
// not link to, and returns its address.
func (w *world) instance(c *city) string {
	w.t.Helper()
	c.front.put(http.HandlerFunc(gone))
	c.front.server = httptest.NewUnstartedServer(c.front)
	c.front.url, c.peer = "http://"+c.front.server.Listener.Addr().String(), c.front.server
	w.t.Cleanup(func() { c.front.server.Close() })
	w.open(c)
	return c.front.url
}

// serve serves h on loopback with the city's limits.
func (c *city) serve(h http.Handler) *httptest.Server {
	s := httptest.NewUnstartedServer(nil)
	s.Config = web.NewServer(h, c.limits, nil)
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateClosed {
			c.ended.Add(1)
		}
	}
	s.Start()
	return s
}

// agree requests and grants an agreement and returns its id.
func (w *world) agree(change func(*cityid.Terms)) cityid.Digest {
	w.t.Helper()
	d, err := w.engine.Record(w.t.Context(), air)
	if err != nil {
		w.t.Fatal(err)
	}
	now := cityid.TimeOf(w.engine.Now())
	t := cityid.Terms{
		Dataset: air, Consumer: consumer, Document: d.Record.Content.Dataset.Document, From: now, Until: now + 86400, Staleness: 30,
		Purpose: cityid.Digest{1}, Respond: now + 3600, Nonce: cityid.Nonce{1},
	}
	if change != nil {
		change(&t)
	}
	w.submit([]cityid.Signer{w.take.officer}, cityid.Operation{AgreementRequest: &cityid.AgreementRequest{Terms: t}})
	w.submit([]cityid.Signer{w.give.officer}, cityid.Operation{AgreementGrant: &cityid.AgreementDecision{Dataset: air, Agreement: t.ID()}})
	return t.ID()
}

// get asks for an address and returns status and body.
func (w *world) get(address string) (int, string, http.Header) {
	w.t.Helper()
	resp, err := http.Get(address)
	if err != nil {
		w.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	return resp.StatusCode, string(b), resp.Header
}

func TestFetch(t *testing.T) {
	w := newWorld(t)
	id := w.agree(nil)
	status, body, h := w.get(w.take.local.URL + "/fetch/" + id.String() + "/stations/3?after=7")
	if status != 200 || body != `{"path":"/air/stations/3","query":"after=7"}` {
		t.Fatalf("%d %s", status, body)
	}
	if !strings.HasPrefix(h.Get("Cityid-Receipt"), "MA.156.1301 gw-1 1") {
		t.Errorf("receipt %q", h.Get("Cityid-Receipt"))
	}
	if status, body, _ := w.get(w.take.local.URL + "/fetch/" + id.String() + "/secret"); status != 403 || !strings.Contains(body, "not among those") {
		t.Errorf("%d %s", status, body)
	}
	w.submit([]cityid.Signer{w.give.officer}, cityid.Operation{AgreementRevoke: &cityid.AgreementDecision{Dataset: air, Agreement: id}})
	w.engine.Advance(31 * time.Second)
	if err := w.engine.MakeBlock(); err != nil {
		t.Fatal(err)
	}
	if status, body, _ := w.get(w.take.local.URL + "/fetch/" + id.String() + "/latest"); status != 403 || !strings.Contains(body, "revoked") {
		t.Errorf("%d %s", status, body)
	}
}
