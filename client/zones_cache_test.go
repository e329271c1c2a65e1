// SPDX-License-Identifier: Apache-2.0

package client_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime"
	"sync"
	"testing"
	"time"

	"cityid"
	"cityid/client"
	"cityid/internal/chain/chaintest"
)

// unavailable plays a server that answers nobody.
func unavailable(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
	w.WriteHeader(http.StatusServiceUnavailable)
}

// hang plays a server that takes questions and never answers.
func hang(_ http.ResponseWriter, r *http.Request, _ http.Handler) { <-r.Context().Done() }

func (w *zonesWorld) play(do play, places ...*place) {
	for _, p := range places {
		for _, s := range p.servers {
			s.seen.set(do)
		}
	}
}

// Equal questions at one time are one request.
func TestZonesCoalesce(t *testing.T) {
	w := newZonesWorld(t, 1)
	z := w.zones(func(c *client.ZonesConfig) { c.Hedge = time.Minute })
	open, came := make(chan struct{}), make(chan struct{}, 100)
	w.play(func(w http.ResponseWriter, r *http.Request, honest http.Handler) {
		came <- struct{}{}
		<-open
		honest.ServeHTTP(w, r)
	}, w.root)
	code := cityid.MustParse("MA.156.1002")
	var wg sync.WaitGroup
	gone, leave := context.WithCancel(t.Context())
	wg.Go(func() { // who asks first gives up, and disturbs nobody
		if _, err := z.Resolve(gone, code); !errors.Is(err, context.Canceled) {
			t.Errorf("who gave up is told %v", err)
		}
	})
	<-came
	for range 99 {
		wg.Go(func() {
			if r, err := z.Resolve(t.Context(), code); err != nil || !r.Allocated {
				t.Errorf("%+v, %v", r, err)
			}
		})
	}
	for z.Status().Waiting < 100 {
		runtime.Gosched()
	}
	leave()
	close(open)
	wg.Wait()
	if n := w.root.servers[0].seen.count("/v1/"); n != 1 {
		t.Errorf("%d requests for 100 equal questions", n)
	}
}

// What is kept serves for as long as it may, and no longer.
func TestZonesFresh(t *testing.T) {
	w := newZonesWorld(t, 1)
	z := w.zones(nil)
	ask := func(code string) error {
		r, err := z.Resolve(t.Context(), cityid.MustParse(code))
		if err == nil {
			right(t, r, code, true)
		}
		return err
	}
	code := cityApex + ".01"
	if err := ask(code); err != nil {
		t.Fatal(err)
	}
	n := z.Status().Requests
	w.rest(20 * time.Second)
	if err := ask(code); err != nil || z.Status().Requests != n || z.Status().Hits != 1 {
		t.Errorf("after 20 s: %v, %+v", err, z.Status())
	}
	w.play(unavailable, w.places()...)
	w.rest(20 * time.Minute)
	if err := ask(code); err != nil || z.Status().Fallbacks != 1 {
		t.Errorf("after 20 minutes without servers: %v, %+v", err, z.Status())
	}
	w.rest(45 * time.Minute)
	if err := ask(code); cityid.CodeOf(err) != cityid.ErrUnavailable {
		t.Errorf("after more than an hour without servers: %v", err)
	}
	w.play(nil, w.places()...)
	if err := ask(code); err != nil {
		t.Errorf("with servers again: %v", err)
	}
	// The zones above may be away for longer than the one that answers.
	w.play(unavailable, w.root)
	w.rest(5 * time.Hour)
	if err := ask(code); err != nil {
		t.Errorf("without the root for five hours: %v", err)
	}
	w.rest(20 * time.Hour)
	if err := ask(code); cityid.CodeOf(err) != cityid.ErrUnavailable {
		t.Errorf("without the root for more than a day: %v", err)
	}
}

// That a code is not allocated is forgotten like everything else.
func TestZonesNegative(t *testing.T) {
	w := newZonesWorld(t, 1)
	z := w.zones(nil)
	code := cityid.MustParse(cityApex + ".09")
	for range 2 {
		if _, err := z.Record(t.Context(), code); cityid.CodeOf(err) != cityid.ErrNotFound {
			t.Fatal(err)
		}
	}
	if s := z.Status(); s.Hits != 1 {
		t.Errorf("that a code is not allocated is not kept: %+v", s)
	}
	w.city.apply(t, chaintest.Allocate(chaintest.Allocation(code.String(), cityid.KindDepartment)))
	w.rest(61 * time.Second)
	if a, err := z.Record(t.Context(), code); err != nil || a.Record.Code != code {
		t.Errorf("after the code was allocated: %+v, %v", a, err)
	}
}

func TestZonesMemory(t *testing.T) {
	w := newZonesWorld(t, 1)
	const most = 200 << 10
	z := w.zones(func(c *client.ZonesConfig) { c.Cache = most })
	for i := range 100 {
		r, err := z.Resolve(t.Context(), cityid.MustParse(fmt.Sprintf("%s.01.%02d", cityApex, i)))
		if err != nil || r.Allocated {
			t.Fatalf("%+v, %v", r, err)
		}
		if s := z.Status(); s.Octets > most || s.Answers < 1 {
			t.Fatalf("%d answers of %d octets are kept, at most %d", s.Answers, s.Octets, most)
		}
	}
	if s := z.Status(); s.Answers == 100 || s.Misses != 100 {
		t.Errorf("nothing was forgotten: %+v", s)
	}
}

// A zone whose servers hang holds up nobody who asks about others.
func TestZonesDead(t *testing.T) {
	w := newZonesWorld(t, 1)
	z := w.zones(func(c *client.ZonesConfig) { c.Timeout, c.Concurrent = time.Minute, 4 })
	if _, err := z.Resolve(t.Context(), cityid.MustParse(cityApex+".01")); err != nil {
		t.Fatal(err)
	}
	w.play(hang, w.city)
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for i := range 600 {
		wg.Go(func() {
			if _, err := z.Resolve(ctx, cityid.MustParse(fmt.Sprintf("%s.01.%03d", cityApex, i))); err == nil {
				t.Error("a zone that hangs has answered")
			} else if c := cityid.CodeOf(err); c != cityid.ErrFull && !errors.Is(err, context.Canceled) {
				t.Errorf("a zone that hangs: %v", err)
			}
		})
	}
	for _, code := range []string{"MA.156.1002", cityApex} {
		r, err := z.Resolve(t.Context(), cityid.MustParse(code))
		if err != nil {
			t.Fatal(err)
		}
		right(t, r, code, true)
	}
	cancel()
	wg.Wait()
}

// Addresses that records name lead to public networks alone, unless told otherwise.
func TestZonesPrivate(t *testing.T) {
	w := newZonesWorld(t, 1)
	z := w.zones(func(c *client.ZonesConfig) { c.Private = false })
	if r, err := z.Resolve(t.Context(), cityid.MustParse("MA.156.1002")); err != nil || !r.Allocated {
		t.Errorf("a root on loopback, which the caller named: %+v, %v", r, err)
	}
	_, err := z.Resolve(t.Context(), cityid.MustParse(cityApex+".01"))
	if !errors.Is(err, client.ErrAddress) || w.city.servers[0].seen.count("") != 0 {
		t.Errorf("a zone on loopback: %v", err)
	}
}

func TestNewZonesRefuses(t *testing.T) {
	w := newZonesWorld(t, 1)
	for name, c := range map[string]client.ZonesConfig{
		"no trust root":  {Roots: w.root.addresses()},
		"no root server": {Trust: w.trust()},
		"bad address":    {Trust: w.trust(), Roots: []string{"ftp://id.example"}},
	} {
		if _, err := client.NewZones(c); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	z := w.zones(nil)
	for name, q := range map[string]cityid.BundleQuery{
		"the past":       {Code: cityid.MustParse(cityApex), At: 3},
		"no code":        {},
		"entries":        {Code: cityid.MustParse(cityApex), Kind: cityid.AnswerEntries},
		"a short key":    {Code: cityid.MustParse(cityApex), Kind: cityid.AnswerEntries, Keys: [][]byte{{}}},
		"keys of others": {Code: cityid.MustParse(cityApex), Kind: cityid.AnswerEntries, Keys: [][]byte{cityid.RecordKey(cityid.MustParse(districtApex))}},
	} {
		if _, err := z.Bundle(t.Context(), q); err == nil || z.Status().Requests != 0 {
			t.Errorf("%s: %v", name, err)
		}
	}
	c := cityid.MustParse(districtApex + ".05")
	if b, err := z.Bundle(t.Context(), cityid.BundleQuery{Code: c, Kind: cityid.AnswerEntries, Keys: [][]byte{cityid.RecordKey(c)}}); err != nil || len(b) == 0 {
		t.Errorf("entries: %v", err)
	}
}
