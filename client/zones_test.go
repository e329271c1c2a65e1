// SPDX-License-Identifier: Apache-2.0

package client_test

import (
	"net/http"
	"strings"
	"sync"
	"testing"

	"cityid"
	"cityid/verify"
)

// counter counts requests, and holds what a server plays.
type counter struct {
	mu    sync.Mutex
	paths []string
	play  func(http.ResponseWriter, *http.Request, http.Handler)
}

func (c *counter) add(path string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.paths = append(c.paths, path)
}

func (c *counter) count(part string) (n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, p := range c.paths {
		if strings.Contains(p, part) {
			n++
		}
	}
	return n
}

func (c *counter) played() func(http.ResponseWriter, *http.Request, http.Handler) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.play
}

func (c *counter) set(play func(http.ResponseWriter, *http.Request, http.Handler)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.play = play
}

// TestZones looks codes of three zones up, from the root's servers on.
func TestZones(t *testing.T) {
	w := newZonesWorld(t, 1)
	z := w.zones(nil)
	for range 2 {
		for code, want := range map[string]struct {
			allocated bool
			zones     int
		}{
			"MA.156.1002": {true, 1}, cityApex: {true, 1}, cityApex + ".01": {true, 2}, cityApex + ".09": {false, 2}, districtApex: {true, 2},
			districtApex + ".05": {true, 3}, districtApex + ".05.01": {false, 3},
		} {
			c := cityid.MustParse(code)
			r, err := z.Resolve(t.Context(), c)
			if err != nil || r.Verdict != verify.Valid || r.Allocated != want.allocated || len(r.Zones) != want.zones {
				t.Fatalf("%s: %+v, %v", code, r, err)
			}
			a, err := z.Record(t.Context(), c)
			if want.allocated && (err != nil || a.Record.Code != c || a.AsOf.Chain != r.Zones[want.zones-1].Chain) || !want.allocated && cityid.CodeOf(err) != cityid.ErrNotFound {
				t.Errorf("%s: record %+v, %v", code, a, err)
			}
			data, err := z.Bundle(t.Context(), cityid.BundleQuery{Code: c, From: 1})
			if err != nil {
				t.Fatalf("%s: %v", code, err)
			}
			if r := verify.CheckEncoded(w.trust().Latest(), data, verify.Options{Now: w.now(), Code: c, Kind: cityid.AnswerRecord}); r.Verdict != verify.Valid || r.Allocated != want.allocated {
				t.Errorf("%s: the bundle is %s: %s", code, r.Verdict, r.Message)
			}
		}
		w.pass(2 * 60e9)
	}
	page, err := z.Children(t.Context(), cityid.ChildrenQuery{Code: cityid.MustParse(cityApex), Limit: 1})
	if err != nil || len(page.Records) != 1 || page.Next.String() != cityApex+".01" {
		t.Errorf("children: %+v, %v", page, err)
	}
	page, err = z.Children(t.Context(), cityid.ChildrenQuery{Code: cityid.MustParse(cityApex), After: page.Next})
	if err != nil || len(page.Records) != 1 || page.Records[0].Code.String() != districtApex || !page.Next.IsZero() {
		t.Errorf("the next page of children: %+v, %v", page, err)
	}
	if h, err := z.History(t.Context(), cityid.MustParse(cityApex)); err != nil || len(h.Revisions) != 2 {
		t.Errorf("history: %+v, %v", h, err)
	}
}
