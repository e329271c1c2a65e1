// SPDX-License-Identifier: Apache-2.0

package client_test

import (
	"bytes"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"cityid"
	"cityid/client"
	"cityid/internal/api"
	"cityid/internal/chain"
	"cityid/internal/chain/chaintest"
	"cityid/verify"
)

// play is what a server does instead of answering as it should.
type play = func(w http.ResponseWriter, r *http.Request, honest http.Handler)

// altered plays an honest server whose good answers are changed.
func altered(change func([]byte) []byte) play {
	return func(w http.ResponseWriter, r *http.Request, honest http.Handler) {
		rec := httptest.NewRecorder()
		honest.ServeHTTP(rec, r)
		body := rec.Body.Bytes()
		if rec.Code == http.StatusOK {
			body = change(bytes.Clone(body))
		}
		maps.Copy(w.Header(), rec.Header())
		w.Header().Del("Content-Length")
		w.WriteHeader(rec.Code)
		_, _ = w.Write(body)
	}
}

// asked plays an honest server that hears another question.
func asked(change func(r *http.Request)) play {
	return func(w http.ResponseWriter, r *http.Request, honest http.Handler) {
		r = r.Clone(r.Context())
		change(r)
		honest.ServeHTTP(w, r)
	}
}

// other plays a server that answers from another chain.
func other(p *place) play {
	h := api.Handler(api.Config{Source: p.engine})
	return func(w http.ResponseWriter, r *http.Request, _ http.Handler) { h.ServeHTTP(w, r) }
}

// plays are the ways in which a server does not answer as it should.
func (w *zonesWorld) plays() map[string]play {
	w.t.Helper()
	answer := func(status int, mediaType, body string) play {
		return func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
			w.Header().Set("Content-Type", mediaType)
			w.WriteHeader(status)
			_, _ = w.Write([]byte(body))
		}
	}
	problem := func(status int, code cityid.ErrorCode) play {
		return answer(status, "application/problem+json", fmt.Sprintf(`{"title":"no","detail":"so I say","code":%q}`, code))
	}
	return map[string]play{
		"garbage":            answer(200, verify.MediaType, "\xa1\x01 this is no bundle"),
		"empty":              answer(200, verify.MediaType, ""),
		"wrong content type": answer(200, "text/html", "<p>hello"),
		"problem with 200":   problem(200, cityid.ErrNotFound),
		"not found":          problem(404, cityid.ErrNotFound),
		"defect":             problem(500, cityid.ErrInternal),
		"all are delegated":  problem(421, cityid.ErrDelegated),
		"unavailable":        answer(503, "text/plain", "later"),
		"redirect": func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
			http.Redirect(w, r, "/elsewhere"+r.URL.Path, http.StatusTemporaryRedirect)
		},
		"oversized": altered(func(b []byte) []byte { return append(b, make([]byte, 9<<20)...) }),
		"trailing":  altered(func(b []byte) []byte { return append(b, 0) }),
		"truncated": altered(func(b []byte) []byte { return b[:len(b)/2] }),
		"endless": func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
			w.Header().Set("Content-Type", verify.MediaType)
			for chunk := make([]byte, 64<<10); r.Context().Err() == nil; {
				if _, err := w.Write(chunk); err != nil {
					return
				}
			}
		},
		"never begins": func(_ http.ResponseWriter, r *http.Request, _ http.Handler) { <-r.Context().Done() },
		"slow loris": func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
			w.Header().Set("Content-Type", verify.MediaType)
			tick := time.NewTicker(20 * time.Millisecond)
			defer tick.Stop()
			for {
				_, _ = w.Write([]byte{0xa1})
				_ = http.NewResponseController(w).Flush()
				select {
				case <-tick.C:
				case <-r.Context().Done():
					return
				}
			}
		},
		"cut": func(http.ResponseWriter, *http.Request, http.Handler) { panic(http.ErrAbortHandler) },
		"another code": asked(func(r *http.Request) {
			at := strings.LastIndex(r.URL.Path, ".")
			r.URL.Path, r.RequestURI = r.URL.Path[:at]+".77", ""
		}),
		"another kind": asked(func(r *http.Request) {
			q := r.URL.Query()
			q.Set("kind", "history")
			r.URL.RawQuery = q.Encode()
		}),
		"another anchor": asked(func(r *http.Request) {
			q := r.URL.Query()
			if q.Has("anchor") {
				q.Set("anchor", "1")
			} else {
				q = url.Values{"anchor": {"1"}, "kind": {cmpOr(q.Get("kind"), "record")}}
			}
			r.URL.RawQuery = q.Encode()
		}),
		"absence of a neighbour under this name": func(w http.ResponseWriter, r *http.Request, honest http.Handler) {
			code := strings.TrimPrefix(r.URL.Path, "/v1/bundles/")
			asked(func(r *http.Request) { r.URL.Path = "/v1/bundles/" + code + "77" })(w, r, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				altered(func(b []byte) []byte { return bytes.ReplaceAll(b, []byte(code+"77"), []byte(code)) })(w, r, honest)
			}))
		},
		"another zone": other(w.district),
	}
}

func cmpOr(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// fork returns a chain with the genesis of a place and another history, which
// the same validators sign.
func (w *zonesWorld) fork(of *place, apex string) *place {
	w.t.Helper()
	e, err := chain.NewEngine(chain.EngineConfig{Genesis: of.genesis})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { e.Close() })
	p := &place{chain: of.chain, engine: e, genesis: of.genesis}
	p.apply(w.t, chaintest.Allocate(chaintest.Allocation(apex+".66", cityid.KindDepartment)))
	for e.Now().Before(of.engine.Now()) {
		e.Advance(min(time.Minute, of.engine.Now().Sub(e.Now())))
		if err := e.MakeBlock(); err != nil {
			w.t.Fatal(err)
		}
	}
	return p
}

// right fails unless what is said of a code of the world is so.
func right(t *testing.T, r verify.Result, code string, allocated bool) {
	t.Helper()
	if r.Verdict != verify.Valid || r.Allocated != allocated || r.Code.String() != code || allocated && r.Record.Code.String() != code {
		t.Fatalf("%s, allocated %v: got %s, allocated %v of %s: %s", code, allocated, r.Verdict, r.Allocated, r.Code, r.Message)
	}
}

// TestZonesHostile lets servers of all zones do what they should not. With one
// honest server in each the right answer is found; with none there is none.
func TestZonesHostile(t *testing.T) {
	w := newZonesWorld(t, 2)
	plays := w.plays()
	plays["a fork"] = nil // set for each zone
	// That validators sign two histories from the genesis on, a trust root of version 1 can not tell.
	forks := map[*place]play{w.city: other(w.fork(w.city, cityApex)), w.district: other(w.fork(w.district, districtApex))}
	codes := map[string]bool{"MA.156.1002": true, cityApex + ".01": true, cityApex + ".09": false, districtApex + ".05": true, districtApex + ".06": false}
	for _, name := range slices.Sorted(maps.Keys(plays)) {
		t.Run(name, func(t *testing.T) {
			set := func(server int, hostile bool) {
				for _, p := range w.places() {
					do := plays[name]
					if do == nil {
						do = forks[p]
					}
					if !hostile {
						do = nil
					}
					p.servers[server].seen.set(do)
				}
			}
			set(0, true)
			defer set(0, false)
			z := w.zones(nil)
			for code, allocated := range codes {
				r, err := z.Resolve(t.Context(), cityid.MustParse(code))
				if err != nil {
					t.Fatalf("%s: %v", code, err)
				}
				right(t, r, code, allocated)
			}
			set(1, true)
			defer set(1, false)
			z = w.zones(func(c *client.ZonesConfig) { c.Timeout = 100 * time.Millisecond })
			for code, allocated := range codes {
				r, err := z.Resolve(t.Context(), cityid.MustParse(code))
				if err == nil { // of the root's answers some are not touched by some plays
					right(t, r, code, allocated)
					continue
				}
				if !strings.Contains(err.Error(), "zone of ") || !strings.Contains(err.Error(), "http://127.0.0.1:") {
					t.Errorf("%s: the error does not say who: %v", code, err)
				}
			}
		})
	}
}

// TestZonesBits flips bits in all parts of what each zone's server says.
func TestZonesBits(t *testing.T) {
	w := newZonesWorld(t, 1)
	code := districtApex + ".05"
	wrong := 0
	for i, p := range w.places() {
		for at := range 48 {
			bit := byte(1) << (at % 8)
			p.servers[0].seen.set(altered(func(b []byte) []byte {
				b[len(b)*at/48] ^= bit
				return b
			}))
			z := w.zones(func(c *client.ZonesConfig) { c.Timeout = time.Second })
			r, err := z.Resolve(t.Context(), cityid.MustParse(code))
			if err != nil {
				wrong++
				continue
			}
			if right(t, r, code, true); r.Zones[len(r.Zones)-1].Chain != w.district.chain {
				t.Errorf("zone %d, octet at %d/48: answered by %s", i, at, r.Zones[len(r.Zones)-1].Chain)
			}
		}
		p.servers[0].seen.set(nil)
	}
	if wrong < 3*46 {
		t.Errorf("only %d of %d changed answers were found out", wrong, 3*48)
	}
}

// TestZonesOld replays answers of an hour and more ago.
func TestZonesOld(t *testing.T) {
	w := newZonesWorld(t, 2)
	old := map[string][]byte{}
	for _, p := range w.places() {
		p.servers[0].seen.set(func(rw http.ResponseWriter, r *http.Request, honest http.Handler) {
			key := p.chain + r.URL.Path + "?" + r.URL.Query().Get("kind")
			if b, ok := old[key]; ok {
				rw.Header().Set("Content-Type", verify.MediaType)
				_, _ = rw.Write(b)
				return
			}
			rec := httptest.NewRecorder()
			honest.ServeHTTP(rec, r)
			if rec.Code == http.StatusOK {
				old[key] = bytes.Clone(rec.Body.Bytes())
			}
			maps.Copy(rw.Header(), rec.Header())
			rw.WriteHeader(rec.Code)
			_, _ = rw.Write(rec.Body.Bytes())
		})
	}
	patient := func(c *client.ZonesConfig) { c.Hedge = time.Minute } // one server after the other, so that old is not written to at once
	absent := cityid.MustParse(cityApex + ".09")
	r, err := w.zones(patient).Resolve(t.Context(), absent)
	if err != nil {
		t.Fatal(err)
	}
	right(t, r, absent.String(), false)
	w.city.apply(t, chaintest.Allocate(chaintest.Allocation(absent.String(), cityid.KindDepartment)))
	w.pass(2 * time.Hour)
	r, err = w.zones(patient).Resolve(t.Context(), absent)
	if err != nil {
		t.Fatal(err)
	}
	right(t, r, absent.String(), true)
}
