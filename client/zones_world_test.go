// SPDX-License-Identifier: Apache-2.0

package client_test

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"cityid"
	"cityid/client"
	"cityid/internal/api"
	"cityid/internal/chain"
	"cityid/internal/chain/chaintest"
	"cityid/internal/web"
	"cityid/verify"
)

// Three zones, one below the other.
const (
	cityApex     = "MA.156.1001"
	districtApex = "MA.156.1001.30"
)

// place is a zone of the test world: a chain, and how many servers of it there
// are. What stands before a server can be changed while it runs.
type place struct {
	chain   string
	engine  *chain.Engine
	genesis *chain.Genesis
	servers []*upstream
}

// zonesWorld is a root zone, a city's and a district's, each served on loopback.
type zonesWorld struct {
	t                    *testing.T
	root, city, district *place
	relays               []*chain.Relay
}

// upstream is one server of a zone.
type upstream struct {
	*httptest.Server

	seen counter
}

func (p *place) serve(t *testing.T, n int) {
	t.Helper()
	for range n {
		u := &upstream{}
		u.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			u.seen.add(r.URL.Path)
			honest := web.Wrap(api.Handler(api.Config{Source: p.engine}), web.WrapConfig{})
			if play := u.seen.played(); play != nil {
				play(w, r, honest)
				return
			}
			honest.ServeHTTP(w, r)
		}))
		p.servers = append(p.servers, u)
		t.Cleanup(u.CloseClientConnections)
	}
}

func (p *place) start(t *testing.T) (addresses []string) {
	t.Helper()
	for _, u := range p.servers {
		u.Start()
		t.Cleanup(u.Close)
		addresses = append(addresses, u.URL)
	}
	return addresses
}

func (p *place) addresses() (list []string) {
	for _, u := range p.servers {
		list = append(list, "http://"+u.Listener.Addr().String())
	}
	return list
}

// apply carries operations out on a zone's chain.
func (p *place) apply(t *testing.T, ops ...cityid.Operation) {
	t.Helper()
	r, err := p.engine.Submit(t.Context(), chaintest.Tx(p.chain, p.engine.Now(), ops...), true)
	if err == nil {
		err = r.Err()
	}
	if err != nil {
		t.Fatal(err)
	}
}

// below founds a zone below another one, with so many servers.
func (p *place) below(t *testing.T, name, apex string, kind cityid.Kind, servers int) *place {
	t.Helper()
	g := chaintest.Genesis(name, chaintest.Epoch, chain.EngineValidator())
	a := chaintest.Allocation(apex, kind)
	a.Policy = chaintest.Policy(chaintest.Key(0))
	g.State.Records, g.State.Schemes = []cityid.Allocation{a}, nil
	for i := range g.State.Rule.Kinds {
		g.State.Rule.Kinds[i].Schemes = nil
	}
	at, _, err := p.engine.Checkpoint(t.Context(), cityid.Checkpoint{Height: 1 << 40})
	if err != nil {
		t.Fatal(err)
	}
	st, err := p.engine.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	at.Log = cityid.BlockLog{}
	g.State.Upstream = &cityid.Upstream{Zone: st.Zone, Chain: p.chain, Checkpoint: *at}
	e, err := chain.NewEngine(chain.EngineConfig{Genesis: g})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	out := &place{chain: name, engine: e, genesis: g}
	out.serve(t, servers)
	p.delegate(t, apex, out)
	return out
}

// delegate gives a code to a zone, or tells where its servers are.
func (p *place) delegate(t *testing.T, apex string, to *place) {
	t.Helper()
	r, err := p.engine.Record(t.Context(), cityid.MustParse(apex))
	if err != nil {
		t.Fatal(err)
	}
	first, err := chain.GenesisCheckpoint(to.genesis)
	if err != nil {
		t.Fatal(err)
	}
	p.apply(t, cityid.Operation{Delegate: &cityid.Delegate{
		Code: cityid.MustParse(apex), Revision: r.Record.Revision, Checkpoint: first,
		Delegation: cityid.Delegation{Chain: to.chain, Genesis: to.genesis.Hash(), Endpoints: to.addresses()},
	}})
}

// newZonesWorld makes the world, with so many servers for each zone.
func newZonesWorld(t *testing.T, servers int) *zonesWorld {
	t.Helper()
	g := chaintest.Genesis("root-1", chaintest.Epoch, chain.EngineValidator())
	e, err := chain.NewEngine(chain.EngineConfig{Genesis: g})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	w := &zonesWorld{t: t, root: &place{chain: "root-1", engine: e, genesis: g}}
	w.root.serve(t, servers)
	department := func(code string) cityid.Allocation { return chaintest.Allocation(code, cityid.KindDepartment) }
	c := chaintest.Allocation(cityApex, cityid.KindCity)
	c.Policy = chaintest.Policy(chaintest.Key(0))
	w.root.apply(t, chaintest.Allocate(c), chaintest.Allocate(chaintest.Allocation("MA.156.1002", cityid.KindCity)))
	w.city = w.root.below(t, "city-7", cityApex, cityid.KindCity, servers)
	d := department(districtApex)
	d.Policy = chaintest.Policy(chaintest.Key(0))
	w.city.apply(t, chaintest.Allocate(department(cityApex+".01")), chaintest.Allocate(d))
	w.district = w.city.below(t, "district-8", districtApex, cityid.KindDepartment, servers)
	w.district.apply(t, chaintest.Allocate(department(districtApex+".05")))
	w.relays = []*chain.Relay{
		{Local: w.city.engine.Local, Own: w.city.engine, Above: []chain.Above{w.root.engine}, Interval: time.Minute, Logger: slog.New(slog.DiscardHandler)},
		{Local: w.district.engine.Local, Own: w.district.engine, Above: []chain.Above{w.city.engine}, Interval: time.Minute, Logger: slog.New(slog.DiscardHandler)},
	}
	for _, p := range w.places() {
		p.start(t)
	}
	w.pass(2 * time.Minute)
	return w
}

func (w *zonesWorld) places() []*place { return []*place{w.root, w.city, w.district} }

// pass lets time pass in all zones, each of which makes a block, and brings
// checkpoints up.
func (w *zonesWorld) pass(d time.Duration) {
	w.t.Helper()
	w.rest(d)
	for _, r := range w.relays {
		if err := r.Round(w.t.Context()); err != nil {
			w.t.Fatal(err)
		}
	}
	w.rest(time.Second)
}

// rest lets time pass in all zones.
func (w *zonesWorld) rest(d time.Duration) {
	w.t.Helper()
	for _, p := range w.places() {
		p.engine.Advance(d)
		if err := p.engine.MakeBlock(); err != nil {
			w.t.Fatal(err)
		}
	}
}

func (w *zonesWorld) trust() *verify.TrustFile {
	w.t.Helper()
	list, err := w.root.engine.Trust(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	f, err := verify.NewTrustFile(list[0])
	if err == nil {
		err = f.Add(list[1:]...)
	}
	if err != nil {
		w.t.Fatal(err)
	}
	return f
}

// now is what a clock shows in the world.
func (w *zonesWorld) now() time.Time { return w.root.engine.Now().Add(time.Second) }

// zones returns what is tested. change may be nil.
func (w *zonesWorld) zones(change func(*client.ZonesConfig)) *client.Zones {
	w.t.Helper()
	c := client.ZonesConfig{Trust: w.trust(), Roots: w.root.addresses(), Private: true, Now: w.now, Hedge: 50 * time.Millisecond, Timeout: 5 * time.Second}
	if change != nil {
		change(&c)
	}
	z, err := client.NewZones(c)
	if err != nil {
		w.t.Fatal(err)
	}
	return z
}
