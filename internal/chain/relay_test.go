// SPDX-License-Identifier: Apache-2.0

package chain_test

import (
	"context"
	"errors"
	"os"
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

// copyOf opens a copy of an engine's folder, as it was when it was taken.
func copyOf(t *testing.T, dir string, g *chain.Genesis) *chain.Engine {
	t.Helper()
	e, err := chain.NewEngine(chain.EngineConfig{Genesis: g, Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	return e
}

// A city that is restored from an old copy and goes on with the same keys is
// refused at its next checkpoint, and nobody believes its answers. Its two
// histories are reported, and freeze the zone until it is said which holds.
func TestRestoredCity(t *testing.T) {
	root := newEngine(t, "")
	c := chaintest.Allocation(cityApex, cityid.KindCity)
	c.Policy = chaintest.Policy(chaintest.Key(0))
	submit(t, root, chaintest.Allocate(c))
	_, g := engineBelow(t, cityChain, cityApex, cityid.KindCity, root, engineChain)
	dir, old := t.TempDir(), t.TempDir()
	first, err := chain.NewEngine(chain.EngineConfig{Genesis: g, Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	delegateTo(t, root, engineChain, cityApex, g)
	department := func(n string) cityid.Operation {
		return chaintest.Allocate(chaintest.Allocation(cityApex+n, cityid.KindDepartment))
	}
	applied(t, first, cityChain, department(".01"))
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(old, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	city := copyOf(t, dir, g)
	h := &hierarchy{root: root, city: city, district: city}
	pass := func(e *chain.Engine, d time.Duration) {
		t.Helper()
		e.Advance(d)
		if err := e.MakeBlock(); err != nil {
			t.Fatal(err)
		}
	}
	for _, n := range []string{".02", ".03"} {
		pass(root, 2*time.Minute)
		pass(city, 2*time.Minute)
		applied(t, city, cityChain, department(n))
	}
	pass(root, 2*time.Minute)
	pass(city, 2*time.Minute)
	relay := &chain.Relay{Local: city.Local, Own: city, Above: []chain.Above{root}, Interval: time.Minute}
	if err := relay.Round(ctx); err != nil {
		t.Fatal(err)
	}
	at := *relay.Status().Checkpoint
	if r := h.resolve(t, cityApex+".03", cityid.AnswerRecord); r.Verdict != verify.Valid || !r.Allocated {
		t.Fatalf("before: %s: %s", r.Verdict, r.Message)
	}

	restored := copyOf(t, old, g)
	later := root.Now().Add(20 * time.Minute)
	for _, e := range []*chain.Engine{restored, root, city} {
		e.Advance(later.Sub(e.Now()))
	}
	for _, n := range []string{".07", ".08"} {
		pass(restored, 2*time.Minute)
		applied(t, restored, cityChain, department(n))
		pass(restored, time.Second)
	}
	for status(t, restored).Height < at.Height+3 {
		pass(restored, time.Second)
	}
	applied(t, restored, cityChain, department(".09"))
	pass(restored, 2*time.Minute)
	pass(root, restored.Now().Sub(root.Now()))

	// Its own relay sees it.
	again := &chain.Relay{Local: restored.Local, Own: restored, Above: []chain.Above{root}, Interval: time.Minute}
	if err := again.Round(ctx); cityid.CodeOf(err) != cityid.ErrConflict {
		t.Errorf("the relay of the restored city says %v", err)
	}
	// The zone above sees it, if the relay does not look.
	own, err := restored.SignedHeader(ctx, at.Height)
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := verify.DecodeSignedHeader(own)
	if err != nil {
		t.Fatal(err)
	}
	claimed := at
	claimed.Header, claimed.Log = cityid.Digest(theirs.Header.Hash()), cityid.BlockLog{}
	_, op, err := restored.Checkpoint(ctx, claimed)
	if err != nil || op == nil {
		t.Fatalf("checkpoint of the restored city: %v", err)
	}
	r, err := root.Submit(ctx, chaintest.Tx(engineChain, root.Now(), cityid.Operation{Checkpoint: op}), true)
	if err == nil {
		err = r.Err()
	}
	if code := cityid.CodeOf(err); code != cityid.ErrInvalid && code != cityid.ErrSignature && code != cityid.ErrConflict {
		t.Errorf("the zone above says of the restored city's checkpoint: %v", err)
	}
	// Verifiers see it.
	h.city = restored
	if r := h.resolve(t, cityApex+".09", cityid.AnswerRecord); r.Verdict != verify.Invalid || r.Reason != verify.ReasonDescent {
		t.Errorf("an answer of the restored city is %s %s: %s", r.Verdict, r.Reason, r.Message)
	}

	// Both histories have a header of the same height above the checkpoint.
	pass(city, time.Minute)
	pass(city, time.Minute)
	descent := func(e *chain.Engine, height uint64) *cityid.Descent {
		t.Helper()
		load := func(height int64) (verify.SignedHeader, error) {
			data, err := e.SignedHeader(ctx, uint64(height))
			if err != nil {
				return verify.SignedHeader{}, err
			}
			return verify.DecodeSignedHeader(data)
		}
		head, err := load(int64(height))
		if err != nil {
			t.Fatal(err)
		}
		way := &verify.Way{Head: head, Point: &verify.Point{Chain: cityChain, Height: at.Height, Header: at.Header, Time: at.Time.Std(), Next: head.Validators}}
		d, err := way.Descent(true)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	report := cityid.Operation{ReportFork: &cityid.ReportFork{Zone: cityid.MustParse(cityApex), One: *descent(city, at.Height+1), Other: descent(restored, at.Height+1)}}
	applied(t, root, engineChain, report)
	pass(root, time.Second)
	for _, e := range []*chain.Engine{city, restored} {
		h.city = e
		if r := h.resolve(t, cityApex+".02", cityid.AnswerRecord); r.Verdict == verify.Valid || e == city && r.Reason != verify.ReasonFrozen {
			t.Errorf("of a frozen zone: %s %s: %s", r.Verdict, r.Reason, r.Message)
		}
	}
	// It is said which holds.
	now, _, err := city.Checkpoint(ctx, cityid.Checkpoint{Height: 1 << 40})
	if err != nil {
		t.Fatal(err)
	}
	applied(t, root, engineChain, cityid.Operation{Unfreeze: &cityid.Unfreeze{Zone: cityid.MustParse(cityApex), Fork: at.Height + 1, Checkpoint: *now}})
	pass(root, time.Second)
	h.city = city
	if r := h.resolve(t, cityApex+".02", cityid.AnswerRecord); r.Verdict != verify.Valid || !r.Allocated {
		t.Errorf("after it was said which holds: %s %s: %s", r.Verdict, r.Reason, r.Message)
	}
}
