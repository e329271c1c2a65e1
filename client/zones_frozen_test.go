// SPDX-License-Identifier: Apache-2.0

package client_test

import (
	"testing"
	"time"

	"cityid"
	"cityid/internal/chain"
	"cityid/verify"
)

// headerFrom leads from a checkpoint to the header that an engine has right above
// it.
func headerFrom(t *testing.T, e *chain.Engine, at cityid.Checkpoint, name string) cityid.Descent {
	t.Helper()
	data, err := e.SignedHeader(t.Context(), at.Height+1)
	if err != nil {
		t.Fatal(err)
	}
	head, err := verify.DecodeSignedHeader(data)
	if err != nil {
		t.Fatal(err)
	}
	way := &verify.Way{Head: head, Point: &verify.Point{Chain: name, Height: at.Height, Header: at.Header, Time: at.Time.Std(), Next: head.Validators}}
	d, err := way.Descent(true)
	if err != nil {
		t.Fatal(err)
	}
	return *d
}

// Of a zone that is frozen nothing is given out, and it is told why; nor does
// anything below it count. The zones beside it go on.
func TestZonesFrozen(t *testing.T) {
	w := newZonesWorld(t, 1)
	at := *w.relays[0].Status().Checkpoint
	twin, err := chain.NewEngine(chain.EngineConfig{Genesis: w.city.genesis})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { twin.Close() })
	twin.Advance(w.city.engine.Now().Add(time.Second).Sub(twin.Now()))
	for range at.Height + 1 {
		if err := twin.MakeBlock(); err != nil {
			t.Fatal(err)
		}
	}
	other := headerFrom(t, twin, at, w.city.chain)
	w.root.apply(t, cityid.Operation{ReportFork: &cityid.ReportFork{
		Zone: cityid.MustParse(cityApex), One: headerFrom(t, w.city.engine, at, w.city.chain), Other: &other,
	}})
	w.rest(time.Second)

	z := w.zones(nil)
	for _, code := range []string{cityApex + ".01", cityApex + ".09", districtApex + ".05"} {
		c := cityid.MustParse(code)
		r, err := z.Resolve(t.Context(), c)
		if err != nil || r.Verdict != verify.Undecided || r.Reason != verify.ReasonFrozen {
			t.Errorf("%s: %s %q, %v: %s", code, r.Verdict, r.Reason, err, r.Message)
		}
		if a, err := z.Record(t.Context(), c); cityid.CodeOf(err) != cityid.ErrRetry {
			t.Errorf("%s: record %+v, %v", code, a, err)
		}
		if data, err := z.Bundle(t.Context(), cityid.BundleQuery{Code: c, From: 1}); cityid.CodeOf(err) != cityid.ErrRetry {
			t.Errorf("%s: a bundle of %d octets, %v", code, len(data), err)
		}
	}
	if r, err := z.Resolve(t.Context(), cityid.MustParse("MA.156.1002")); err != nil || r.Verdict != verify.Valid || !r.Allocated {
		t.Errorf("beside a frozen zone: %s, %v: %s", r.Verdict, err, r.Message)
	}
}

// A zone whose apex the zone above suspended answers all the same, and it is told.
func TestZonesSuspended(t *testing.T) {
	w := newZonesWorld(t, 1)
	apex := cityid.MustParse(cityApex)
	r, err := w.root.engine.Record(t.Context(), apex)
	if err != nil {
		t.Fatal(err)
	}
	w.root.apply(t, cityid.Operation{SetStatus: &cityid.SetStatus{Code: apex, Revision: r.Record.Revision, Status: cityid.StatusSuspended, Reason: cityid.ReasonDispute}})
	w.pass(2 * time.Minute)
	got, err := w.zones(nil).Resolve(t.Context(), cityid.MustParse(cityApex+".01"))
	if err != nil || got.Verdict != verify.Valid || !got.Allocated || got.Zones[1].Record.Status != cityid.StatusSuspended {
		t.Errorf("below a suspended apex: %s, %v: %s", got.Verdict, err, got.Message)
	}
}
