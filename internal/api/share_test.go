// SPDX-License-Identifier: Apache-2.0

package api_test

import (
	"context"
	"encoding/hex"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"cityid"
	"cityid/client"
	"cityid/internal/api"
	"cityid/internal/web"
	"cityid/verify"
)

// entryKeys returns n keys of the state in byte order.
func entryKeys(n int) [][]byte {
	var keys [][]byte
	for i := range n {
		keys = append(keys, cityid.AgreementKey(lamp, cityid.Digest{byte(i)}))
	}
	return keys
}

func hexKeys(keys ...[]byte) string {
	var list []string
	for _, k := range keys {
		list = append(list, hex.EncodeToString(k))
	}
	return strings.Join(list, ",")
}

func TestSharingReads(t *testing.T) {
	s := newSource()
	h := api.Handler(api.Config{Source: s})
	id := s.agreements[1].ID.String()
	record, key := hexKeys(cityid.RecordKey(city)), hexKeys(entryKeys(2)...)
	for _, tt := range []struct {
		target string
		status int
		want   string // in the body; for problems, the code
	}{
		{"/v1/agreements/" + id, 200, `"id":"` + id + `","agreement":{"terms":{"dataset":"` + lamp.String()},
		{"/v1/agreements/" + id, 200, `"state":"expired","in_force":false`},
		{"/v1/agreements/" + id + "?x=1", 400, "malformed"},
		{"/v1/agreements/" + digest.String(), 404, "not-found"},
		{"/v1/agreements/" + id[1:], 400, "malformed"},
		{"/v1/agreements/" + strings.ToUpper(id), 400, "malformed"},
		{"/v1/agreements?dataset=" + lamp.String(), 200, id},
		{"/v1/agreements?consumer=ma.156.1301", 200, id},
		{"/v1/agreements?consumer=MA.156", 200, `"agreements":[]`},
		{"/v1/agreements?dataset=" + lamp.String() + "&state=granted", 200, `"agreements":[]`},
		{"/v1/agreements", 400, "malformed"},
		{"/v1/agreements?state=granted", 400, "malformed"},
		{"/v1/agreements?dataset=MA.156&consumer=MA.156", 400, "malformed"},
		{"/v1/agreements?dataset=MA.156&state=open", 400, "malformed"},
		{"/v1/agreements?dataset=MA.156&limit=201", 400, "malformed"},
		{"/v1/agreements?dataset=MA.156&limit=0", 400, "malformed"},
		{"/v1/agreements?dataset=", 400, "malformed"},
		{"/v1/agreements?provider=MA.156", 400, "malformed"},
		{"/v1/anchors/MA.156.1301", 200, `"logs":[{"log":"main","sequence":3`},
		{"/v1/anchors/MA.156.1301?after_log=main", 200, `"logs":[{"log":"spare"`},
		{"/v1/anchors/MA.156.1301?log=main", 200, `"anchors":[{"party":"MA.156.1301","log":"main","sequence":1`},
		{"/v1/anchors/MA.156.1301?log=main&after=2", 200, `"anchors":[{"party":"MA.156.1301","log":"main","sequence":3`},
		{"/v1/anchors/MA.156.1301?log=main&after=3", 200, `{"as_of"`},
		{"/v1/anchors/MA.156.1301?log=Main", 400, "malformed"},
		{"/v1/anchors/MA.156.1301?log=", 400, "malformed"},
		{"/v1/anchors/MA.156.1301?log=main&after_log=main", 400, "malformed"},
		{"/v1/anchors/MA.156.1301?after=2", 400, "malformed"},
		{"/v1/anchors/MA.156.1301?after_log=a/b", 400, "malformed"},
		{"/v1/anchors/MA.156.1301?log=main&after=18446744073709551615", 400, "malformed"},
		{"/v1/anchors/MA.156.1301?log=main&limit=1001", 400, "malformed"},
		{"/v1/anchors/MA!", 400, "malformed"},
		{"/v1/anchors", 404, "not-found"},
		{"/v1/entries?keys=" + record, 200, "bundle of MA.156.1301"},
		{"/v1/entries?keys=" + key, 200, "bundle of " + lamp.String()},
		{"/v1/entries", 400, "malformed"},
		{"/v1/entries?keys=", 400, "malformed"},
		{"/v1/entries?keys=" + record + ",", 400, "malformed"},
		{"/v1/entries?keys=" + strings.ToUpper(key), 400, "malformed"},
		{"/v1/entries?keys=" + record + "," + record, 400, "malformed"},
		{"/v1/entries?keys=" + record + "," + key, 400, "malformed"},                        // not in byte order
		{"/v1/entries?keys=" + hexKeys(cityid.ParamsKey), 400, "malformed"},                 // nothing a bundle answers about
		{"/v1/entries?keys=" + hexKeys(cityid.ConsumerKey(city, digest)), 400, "malformed"}, // the same
		{"/v1/entries?keys=" + record + "0", 400, "malformed"},
		{"/v1/entries?keys=" + record + "&kind=record", 400, "malformed"},
		{"/v1/entries?keys=" + record + "&from=4294967296", 400, "malformed"},
		{"/v1/entries?keys=" + strings.Repeat("00,", 64) + "00", 400, "malformed"},
		{"/v1/entries?keys=" + hexKeys(entryKeys(64)...), 414, "too-large"},
	} {
		w := call(h, "GET", tt.target, "")
		if w.Code != tt.status {
			t.Errorf("%.80s: status %d, want %d: %s", tt.target, w.Code, tt.status, w.Body)
		} else if tt.status != 200 {
			if got := problem(t, w); got != tt.want {
				t.Errorf("%.80s: code %s, want %s", tt.target, got, tt.want)
			}
		} else if !strings.Contains(w.Body.String(), tt.want) {
			t.Errorf("%.80s: %s lacks %s", tt.target, w.Body, tt.want)
		}
	}
}

func TestSharingQueriesReachTheSource(t *testing.T) {
	s := newSource()
	h := api.Handler(api.Config{Source: s})
	w := call(h, "GET", "/v1/agreements?consumer=ma.156.1301&state=expired&limit=2&after=0", "")
	if s.agreed != (cityid.AgreementQuery{Consumer: city, State: cityid.AgreementExpired, After: "0", Limit: 2}) {
		t.Errorf("asked %+v", s.agreed)
	}
	if link := w.Header().Get("Link"); link != `</v1/agreements?after=2&consumer=ma.156.1301&limit=2&state=expired>; rel="next"` {
		t.Errorf("Link %s", link)
	}
	if w = call(h, "GET", "/v1/agreements?dataset="+lamp.String(), ""); s.agreed.Limit != 50 || w.Header().Get("Link") != "" {
		t.Errorf("default limit %d, Link %q", s.agreed.Limit, w.Header().Get("Link"))
	}
	w = call(h, "GET", "/v1/anchors/ma.156.1301?log=main&limit=2", "")
	if s.anchored != (cityid.AnchorQuery{Party: city, Log: "main", Limit: 2}) {
		t.Errorf("asked %+v", s.anchored)
	}
	if link := w.Header().Get("Link"); link != `</v1/anchors/MA.156.1301?after=2&limit=2&log=main>; rel="next"` {
		t.Errorf("Link %s", link)
	}
	w = call(h, "GET", "/v1/anchors/MA.156.1301?limit=1", "")
	if link := w.Header().Get("Link"); link != `</v1/anchors/MA.156.1301?after_log=main&limit=1>; rel="next"` {
		t.Errorf("Link %s", link)
	}
	if call(h, "GET", "/v1/anchors/MA.156.1301", ""); s.anchored.Limit != 100 {
		t.Errorf("default limit %d", s.anchored.Limit)
	}
	w = call(h, "GET", "/v1/entries?log=true&at=9&base=12&from=3&keys="+hexKeys(entryKeys(2)...), "")
	want := cityid.BundleQuery{Code: lamp, Kind: cityid.AnswerEntries, Keys: entryKeys(2), From: 3, Base: 12, At: 9, Log: true}
	if !reflect.DeepEqual(s.bundle, want) {
		t.Errorf("asked %+v", s.bundle)
	}
	if got := w.Header().Get("Content-Disposition"); got != `attachment; filename="entries.bundle"` {
		t.Errorf("Content-Disposition %s", got)
	}
	if got := w.Header().Get("Content-Type"); got != verify.MediaType {
		t.Errorf("Content-Type %s", got)
	}
}

func TestManyEntries(t *testing.T) {
	s := newSource()
	h := api.Handler(api.Config{Source: s, Writes: web.NewLimiter(web.LimiterConfig{Every: time.Hour, Burst: 1, Clients: 10})})
	good := string(cityid.MustMarshal(entryKeys(64)))
	for _, tt := range []struct {
		name, target, contentType, body string
		status                          int
		want                            string
	}{
		{"good", "", "application/cbor", good, 200, "bundle of " + lamp.String()},
		{"again, as it is no write", "?from=3&base=12&at=9&log=true", "application/cbor", good, 200, "bundle of " + lamp.String()},
		{"keys in the address too", "?keys=" + hexKeys(entryKeys(1)...), "application/cbor", good, 400, "malformed"},
		{"other type", "", "application/json", "[]", 415, "unsupported"},
		{"no type", "", "", good, 415, "unsupported"},
		{"none", "", "application/cbor", "\x80", 400, "malformed"},
		{"65", "", "application/cbor", string(cityid.MustMarshal(entryKeys(65))), 400, "malformed"},
		{"null", "", "application/cbor", "\xf6", 400, "malformed"},
		{"text", "", "application/cbor", "\x81\x61a", 400, "malformed"},
		{"trailing", "", "application/cbor", good + "\x00", 400, "malformed"},
		{"cut", "", "application/cbor", good[:len(good)-1], 400, "malformed"},
		{"not canonical", "", "application/cbor", "\x9f" + good[2:] + "\xff", 400, "malformed"},
		{"oversized", "", "application/cbor", strings.Repeat("x", 64*260+1), 413, "too-large"},
		{"unordered", "", "application/cbor", string(cityid.MustMarshal([][]byte{entryKeys(2)[1], entryKeys(2)[0]})), 400, "malformed"},
	} {
		w := call(h, "POST", "/v1/entries"+tt.target, tt.body, "Content-Type", tt.contentType)
		if w.Code != tt.status {
			t.Errorf("%s: status %d, want %d: %s", tt.name, w.Code, tt.status, w.Body)
		} else if tt.status != 200 {
			if got := problem(t, w); got != tt.want {
				t.Errorf("%s: code %s, want %s", tt.name, got, tt.want)
			}
		} else if w.Body.String() != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, w.Body, tt.want)
		}
	}
	want := cityid.BundleQuery{Code: lamp, Kind: cityid.AnswerEntries, Keys: entryKeys(64), From: 3, Base: 12, At: 9, Log: true}
	if !reflect.DeepEqual(s.bundle, want) {
		t.Errorf("asked %+v", s.bundle)
	}
}

func FuzzEntries(f *testing.F) {
	f.Add("keys="+hexKeys(entryKeys(2)...), "")
	f.Add("from=1", string(cityid.MustMarshal(entryKeys(3))))
	s := newSource()
	h := api.Handler(api.Config{Source: s})
	f.Fuzz(func(t *testing.T, query, body string) {
		for method, contentType := range map[string]string{"GET": "", "POST": "application/cbor"} {
			r := httptest.NewRequest(method, "/v1/entries", strings.NewReader(body))
			r.URL.RawQuery = query
			r.Header.Set("Content-Type", contentType)
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			if w.Code >= 500 {
				t.Fatalf("%s %q %q: %d", method, query, body, w.Code)
			}
			if w.Code != http.StatusOK {
				continue
			}
			for i, k := range s.bundle.Keys {
				if _, ok := cityid.CodeOfEntryKey(k); !ok || i > 0 && slices.Compare(s.bundle.Keys[i-1], k) >= 0 {
					t.Errorf("%s %q: key %x came through", method, query, k)
				}
			}
		}
	})
}

func TestClientSharesLikeTheSource(t *testing.T) {
	s := newSource()
	c := serve(t, s)
	ctx := t.Context()
	id := s.agreements[2].ID
	same(t, "agreement", func() (*cityid.AgreementAnswer, error) { return s.Agreement(ctx, id) }, func() (*cityid.AgreementAnswer, error) { return c.Agreement(ctx, id) })
	for _, q := range []cityid.AgreementQuery{
		{Dataset: lamp, Limit: 2}, {Consumer: city, Limit: 200, After: "1", State: cityid.AgreementExpired}, {Consumer: city, Limit: 5, State: cityid.AgreementRequested},
	} {
		same(t, "agreements", func() (*cityid.AgreementPage, error) { return s.Agreements(ctx, q) }, func() (*cityid.AgreementPage, error) { return c.Agreements(ctx, q) })
		if s.agreed != q {
			t.Errorf("agreements asked for: %+v", s.agreed)
		}
	}
	for _, q := range []cityid.AnchorQuery{{Party: city, Limit: 1}, {Party: city, Limit: 1000, AfterLog: "main"}, {Party: city, Log: "main", Limit: 1, After: 1}} {
		same(t, "anchors", func() (*cityid.AnchorPage, error) { return s.Anchors(ctx, q) }, func() (*cityid.AnchorPage, error) { return c.Anchors(ctx, q) })
		if s.anchored != q {
			t.Errorf("anchors asked for: %+v", s.anchored)
		}
	}
	for _, n := range []int{1, 20, 64} { // the last go into a POST
		q := cityid.BundleQuery{Code: lamp, Kind: cityid.AnswerEntries, Keys: entryKeys(n), From: 1, Base: 2, At: 3, Log: true}
		same(t, "entries", func() ([]byte, error) { return s.Bundle(ctx, q) }, func() ([]byte, error) { return c.Bundle(ctx, q) })
		if diff := cmp.Diff(q, s.bundle, compare); diff != "" {
			t.Errorf("%d entries asked for (-) and got (+):\n%s", n, diff)
		}
	}
	keys := entryKeys(3)
	trust := &s.trust[1]
	trust.Statement.Height = 9
	result, data, err := c.Entries(ctx, trust, [][]byte{keys[2], keys[0], keys[1], keys[0]}, time.Now())
	if err != nil || result.Verdict != verify.Invalid || string(data) != "bundle of "+lamp.String() {
		t.Errorf("entries: %+v %q, %v", result, data, err)
	}
	if diff := cmp.Diff(cityid.BundleQuery{Code: lamp, Kind: cityid.AnswerEntries, Keys: keys, From: 2, Base: 9}, s.bundle, compare); diff != "" {
		t.Errorf("entries wanted (-) and asked for (+):\n%s", diff)
	}
}

func TestClientDoubtsOtherAgreements(t *testing.T) {
	s := newSource()
	c := serve(t, s)
	asked := s.agreements[0].ID
	s.agreements[0].Agreement.Terms.Until++
	if _, err := c.Agreement(t.Context(), asked); err == nil || !strings.Contains(err.Error(), "answers about the agreement") {
		t.Errorf("terms that are not those of the id: %v", err)
	}
}

func TestClientPagesAgreements(t *testing.T) {
	s := newSource()
	c := serve(t, s)
	var got []cityid.Digest
	q := cityid.AgreementQuery{Dataset: lamp, Limit: 1}
	for {
		page, err := c.Agreements(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range page.Agreements {
			got = append(got, a.ID)
		}
		if q.After = page.Next; q.After == "" {
			break
		}
	}
	want := []cityid.Digest{s.agreements[0].ID, s.agreements[1].ID, s.agreements[2].ID}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestClientReturnsSharingRefusals(t *testing.T) {
	s := newSource()
	c := serve(t, s)
	s.fail = cityid.Errorf(cityid.ErrUnavailable, "not now")
	ctx := context.Background()
	for what, ask := range map[string]func() error{
		"agreement":  func() error { _, err := c.Agreement(ctx, s.agreements[0].ID); return err },
		"agreements": func() error { _, err := c.Agreements(ctx, cityid.AgreementQuery{Dataset: lamp}); return err },
		"anchors":    func() error { _, err := c.Anchors(ctx, cityid.AnchorQuery{Party: city}); return err },
		"entries":    func() error { _, _, err := c.Entries(ctx, &s.trust[0], entryKeys(1), time.Now()); return err },
		"many":       func() error { _, _, err := c.Entries(ctx, &s.trust[0], entryKeys(64), time.Now()); return err },
	} {
		err := ask()
		if code := cityid.CodeOf(err); code != cityid.ErrUnavailable || strings.Contains(err.Error(), client.ErrUnreachable.Error()) {
			t.Errorf("%s: %v", what, err)
		}
	}
}
