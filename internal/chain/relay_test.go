// SPDX-License-Identifier: Apache-2.0

package chain_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"cityid"
	"cityid/internal/chain"
	"cityid/internal/chain/chaintest"
	"cityid/verify"
)

// hierarchy is a root zone, a city below it, and a district below that, each on
// a chain of its own.
type hierarchy struct {
	root, city, district *chain.Engine
	relays               []*chain.Relay // of the city and the district
}

const (
	cityChain     = "city-7"
	districtChain = "district-8"
	cityApex      = "MA.156.1001"
	districtApex  = "MA.156.1001.30"
)

// engineBelow founds a zone below the apex of another engine's.
func engineBelow(t *testing.T, name, apex string, kind cityid.Kind, above *chain.Engine, aboveChain string) (*chain.Engine, *chain.Genesis) {
	t.Helper()
	g := chaintest.Genesis(name, chaintest.Epoch, chain.EngineValidator())
	a := chaintest.Allocation(apex, kind)
	a.Policy = chaintest.Policy(chaintest.Key(0))
	g.State.Records, g.State.Schemes = []cityid.Allocation{a}, nil
	for i := range g.State.Rule.Kinds {
		g.State.Rule.Kinds[i].Schemes = nil
	}
	at, _, err := above.Checkpoint(ctx, cityid.Checkpoint{Height: 1 << 40})
	if err != nil {
		t.Fatal(err)
	}
	at.Log = cityid.BlockLog{}
	g.State.Upstream = &cityid.Upstream{Zone: status(t, above).Zone, Chain: aboveChain, Checkpoint: *at}
	e, err := chain.NewEngine(chain.EngineConfig{Genesis: g})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	return e, g
}

func applied(t *testing.T, e *chain.Engine, name string, ops ...cityid.Operation) {
	t.Helper()
	r, err := e.Submit(ctx, chaintest.Tx(name, e.Now(), ops...), true)
	if err == nil {
		err = r.Err()
	}
	if err != nil {
		t.Fatal(err)
	}
}

// delegateTo delegates a code to the chain of an engine.
func delegateTo(t *testing.T, above *chain.Engine, aboveChain, apex string, g *chain.Genesis) {
	t.Helper()
	r, err := above.Record(ctx, cityid.MustParse(apex))
	if err != nil {
		t.Fatal(err)
	}
	first, err := chain.GenesisCheckpoint(g)
	if err != nil {
		t.Fatal(err)
	}
	applied(t, above, aboveChain, cityid.Operation{Delegate: &cityid.Delegate{
		Code: cityid.MustParse(apex), Revision: r.Record.Revision, Checkpoint: first,
		Delegation: cityid.Delegation{Chain: g.Chain, Genesis: g.Hash(), Endpoints: []string{"https://" + g.Chain + ".example"}},
	}})
}

func newHierarchy(t *testing.T) *hierarchy {
	t.Helper()
	h := &hierarchy{root: newEngine(t, "")}
	c := chaintest.Allocation(cityApex, cityid.KindCity)
	c.Policy = chaintest.Policy(chaintest.Key(0))
	submit(t, h.root, chaintest.Allocate(c), city(2))
	var g *chain.Genesis
	h.city, g = engineBelow(t, cityChain, cityApex, cityid.KindCity, h.root, engineChain)
	delegateTo(t, h.root, engineChain, cityApex, g)
	d := chaintest.Allocation(districtApex, cityid.KindDepartment)
	d.Policy = chaintest.Policy(chaintest.Key(0))
	applied(t, h.city, cityChain, chaintest.Allocate(chaintest.Allocation(cityApex+".01", cityid.KindDepartment), d))
	h.district, g = engineBelow(t, districtChain, districtApex, cityid.KindDepartment, h.city, cityChain)
	delegateTo(t, h.city, cityChain, districtApex, g)
	applied(t, h.district, districtChain, chaintest.Allocate(chaintest.Allocation(districtApex+".05", cityid.KindDepartment)))
	h.relays = []*chain.Relay{
		{Local: h.city.Local, Own: h.city, Above: []chain.Above{h.root}, Interval: time.Minute},
		{Local: h.district.Local, Own: h.district, Above: []chain.Above{h.city}, Interval: time.Minute},
	}
	return h
}

// pass lets time pass in all zones.
func (h *hierarchy) pass(t *testing.T, d time.Duration) {
	t.Helper()
	for _, e := range []*chain.Engine{h.root, h.city, h.district} {
		e.Advance(d)
		if err := e.MakeBlock(); err != nil {
			t.Fatal(err)
		}
	}
}

func (h *hierarchy) relay(t *testing.T) {
	t.Helper()
	for _, r := range h.relays {
		if err := r.Round(ctx); err != nil {
			t.Fatal(err)
		}
	}
}

// resolve asks from the root down, as a stranger would.
func (h *hierarchy) resolve(t *testing.T, code string, kind cityid.AnswerKind) verify.Result {
	t.Helper()
	trust, err := h.root.Trust(ctx)
	if err != nil {
		t.Fatal(err)
	}
	q := cityid.BundleQuery{Code: cityid.MustParse(code), Kind: kind, From: 1}
	by := map[string]*chain.Engine{engineChain: h.root, cityChain: h.city, districtChain: h.district}
	var so *verify.Bundle
	for at := h.root; ; {
		data, err := at.Bundle(ctx, q)
		further := cityid.CodeOf(err) == cityid.ErrDelegated
		if further {
			r := q
			r.Kind = cityid.AnswerReferral
			data, err = at.Bundle(ctx, r)
		}
		if err != nil {
			t.Fatal(err)
		}
		b, err := verify.Decode(data)
		if err != nil {
			t.Fatal(err)
		}
		if so == nil {
			so = b
		} else if so, err = verify.Join(&trust[0], so, b); err != nil {
			t.Fatal(err)
		}
		res := verify.Check(&trust[0], so, verify.Options{Now: h.root.Now().Add(time.Second)})
		if !further || res.Verdict != verify.Valid {
			return res
		}
		last := res.Zones[len(res.Zones)-1]
		at, q.Anchor, q.From = by[last.Chain], &last.Known.Checkpoint.Height, 0
	}
}

func TestZones(t *testing.T) {
	h := newHierarchy(t)
	look := func(code string, allocated bool, zones int) {
		t.Helper()
		r := h.resolve(t, code, cityid.AnswerRecord)
		if r.Verdict != verify.Valid || r.Allocated != allocated || len(r.Zones) != zones {
			t.Fatalf("%s: %s in %d zones, allocated %v: %s", code, r.Verdict, len(r.Zones), r.Allocated, r.Message)
		}
	}
	all := func() {
		t.Helper()
		look("MA.156.1002", true, 1)
		look(cityApex, true, 1)
		look(cityApex+".01", true, 2)
		look(cityApex+".09", false, 2)
		look(districtApex+".05", true, 3)
		look(districtApex+".05.01", false, 3)
		if r := h.resolve(t, cityApex, cityid.AnswerChildren); r.Verdict != verify.Valid || len(r.Records) != 2 || len(r.Zones) != 2 {
			t.Fatalf("children: %s, %d: %s", r.Verdict, len(r.Records), r.Message)
		}
	}
	// Without proof, too, a zone above says who is to be asked.
	_, err := h.root.Record(ctx, cityid.MustParse(cityApex+".01"))
	wantCode(t, err, cityid.ErrDelegated)
	_, err = h.root.Children(ctx, cityid.ChildrenQuery{Code: cityid.MustParse(cityApex), Limit: 10})
	wantCode(t, err, cityid.ErrDelegated)
	page, err := h.city.Zones(ctx, cityid.ZoneQuery{Limit: 10})
	if err != nil || page.Upstream.Zone.String() != "MA.156" || len(page.Zones) != 1 || page.Zones[0].Code.String() != districtApex || page.Checkpoint == nil {
		t.Fatalf("the city's zones are %+v: %v", page, err)
	}
	all() // from the genesis of each
	for round := range 4 {
		h.pass(t, 2*time.Minute)
		h.relay(t)
		before := h.relays[0].Status()
		if before.Checkpoint == nil || before.Checkpoint.Height < 2 || before.Zone.String() != "MA.156" {
			t.Fatalf("round %d: the relay says %+v", round, before)
		}
		h.relay(t) // nothing to do
		if now := h.relays[0].Status(); *now.Checkpoint != *before.Checkpoint {
			t.Fatalf("round %d: a checkpoint came too soon", round)
		}
		h.pass(t, time.Second)
		all()
		applied(t, h.city, cityChain, cityid.Operation{Amend: &cityid.Amend{
			Code: cityid.MustParse(cityApex + ".01"), Revision: uint32(round + 1), Content: cityid.Content{Names: cityid.NamesOf(map[string]string{"en": "Department", "zh": "部门"})},
		}})
	}
}

// A change of the apex is made in the zone above, and followed.
func TestFollow(t *testing.T) {
	h := newHierarchy(t)
	h.pass(t, 2*time.Minute)
	h.relay(t)
	apex := cityid.MustParse(cityApex)
	set := func(status cityid.Status) {
		t.Helper()
		r, err := h.root.Record(ctx, apex)
		if err != nil {
			t.Fatal(err)
		}
		submit(t, h.root, cityid.Operation{SetStatus: &cityid.SetStatus{Code: apex, Revision: r.Record.Revision, Status: status, Reason: cityid.ReasonDispute}})
		h.pass(t, 2*time.Minute)
		h.relay(t)
		own, err := h.city.Record(ctx, apex)
		if err != nil {
			t.Fatal(err)
		}
		if own.Record.Status != status {
			t.Fatalf("the zone says that its apex is %s, and the one above %s", own.Record.Status, status)
		}
	}
	allocate := func(n string) error {
		r, err := h.city.Submit(ctx, chaintest.Tx(cityChain, h.city.Now(), chaintest.Allocate(chaintest.Allocation(cityApex+n, cityid.KindDepartment))), true)
		return errors.Join(err, r.Err())
	}
	set(cityid.StatusSuspended)
	if err := allocate(".02"); cityid.CodeOf(err) != cityid.ErrStatus {
		t.Errorf("a suspended city allocates: %v", err)
	}
	if r := h.resolve(t, cityApex+".01", cityid.AnswerRecord); r.Verdict != verify.Valid || r.Zones[1].Record.Status != cityid.StatusSuspended {
		t.Errorf("below a suspended city: %s: %s", r.Verdict, r.Message)
	}
	set(cityid.StatusActive)
	if err := allocate(".02"); err != nil {
		t.Error(err)
	}
}

// down is a node of the zone above that can not be reached.
type down struct{}

func (down) Bundle(context.Context, cityid.BundleQuery) ([]byte, error) {
	return nil, errors.New("no route to host")
}
func (down) Submit(context.Context, []byte, bool) (*cityid.Receipt, error) {
	return nil, errors.New("no route to host")
}

// A zone goes on while the one above is away, and its relay tries other nodes.
func TestRelayWithoutZoneAbove(t *testing.T) {
	h := newHierarchy(t)
	h.pass(t, 2*time.Minute)
	alone := &chain.Relay{Local: h.city.Local, Own: h.city, Above: []chain.Above{down{}}, Interval: time.Minute}
	if err := alone.Round(ctx); err == nil || alone.Status().Err == "" || !alone.Status().Done.IsZero() {
		t.Errorf("a relay that reaches nobody says %v: %+v", err, alone.Status())
	}
	applied(t, h.city, cityChain, chaintest.Allocate(chaintest.Allocation(cityApex+".02", cityid.KindDepartment)))
	other := &chain.Relay{Local: h.city.Local, Own: h.city, Above: []chain.Above{down{}, h.root}, Interval: time.Minute}
	if err := other.Round(ctx); err != nil || other.Status().Checkpoint.Height < 2 {
		t.Errorf("a relay with a second node says %v: %+v", err, other.Status())
	}
}
