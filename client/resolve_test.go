// SPDX-License-Identifier: Apache-2.0

package client_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"cityid"
	"cityid/client"
	"cityid/internal/api"
	"cityid/internal/chain"
	"cityid/internal/chain/chaintest"
	"cityid/internal/resolve"
	"cityid/internal/web"
	"cityid/verify"
)

// startNode serves a node without consensus, as the real one is served.
func startNode(t *testing.T) (*chain.Engine, *client.Client) {
	t.Helper()
	e, err := chain.NewEngine(chain.EngineConfig{Genesis: chaintest.Genesis("client-test", chaintest.Epoch, chain.EngineValidator())})
	if err != nil {
		t.Fatal(err)
	}
	root, err := resolve.Handler(resolve.Config{Source: e, Roots: []cityid.Code{chaintest.Apex}})
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle("/v1/", api.Handler(api.Config{Source: e}))
	mux.Handle("/", root)
	s := httptest.NewServer(web.Wrap(mux, web.WrapConfig{}))
	t.Cleanup(func() {
		s.Close()
		if err := e.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return e, newClient(t, s.URL)
}

// TestNode submits to a node, reads back and verifies, all over HTTP.
func TestNode(t *testing.T) {
	e, c := startNode(t)
	ctx := t.Context()
	raw := chaintest.Tx("client-test", e.Now(), chaintest.Allocate(chaintest.Allocation("MA.156.1301", cityid.KindCity)))
	receipt, err := c.Submit(ctx, raw, true)
	if err != nil || receipt.Err() != nil || !receipt.Provable {
		t.Fatalf("submit: %+v, %v", receipt, err)
	}
	again, err := c.Submit(ctx, raw, true)
	if err != nil || again.Height != receipt.Height {
		t.Errorf("submitted again: %+v, %v", again, err)
	}
	a, err := c.Record(ctx, code)
	if err != nil || a.Record.Kind != cityid.KindCity || a.Record.Changed.Height != receipt.Height {
		t.Fatalf("record: %+v, %v", a, err)
	}
	if page, err := c.Children(ctx, cityid.ChildrenQuery{Code: chaintest.Apex, Limit: 10}); err != nil || len(page.Records) != 1 {
		t.Errorf("children: %+v, %v", page, err)
	}
	twice := chaintest.Tx("client-test", e.Now().Add(time.Second), chaintest.Allocate(chaintest.Allocation("MA.156.1301", cityid.KindCity)))
	if r, err := c.Submit(ctx, twice, true); cityid.CodeOf(err) != cityid.ErrExists && (err != nil || r.Code != cityid.ErrExists) {
		t.Errorf("allocated twice: %+v, %v", r, err)
	}
	if status, err := c.Status(ctx); err != nil || status.Zone != chaintest.Apex {
		t.Errorf("status: %+v, %v", status, err)
	}
	if settings, err := c.Settings(ctx); err != nil || settings.Params != cityid.DefaultParams {
		t.Errorf("settings: %+v, %v", settings, err)
	}

	versions, err := c.Trust(ctx)
	if err != nil || len(versions) != 1 {
		t.Fatalf("trust: %v, %v", versions, err)
	}
	trust := &versions[0]
	present, err := c.Resolve(ctx, trust, code, e.Now())
	if err != nil || present.Verdict != verify.Valid || !present.Allocated || present.Record.Hash() != a.Record.Hash() {
		t.Errorf("resolve: %+v, %v", present, err)
	}
	absent, err := c.Resolve(ctx, trust, cityid.MustParse("MA.156.9999"), e.Now())
	if err != nil || absent.Verdict != verify.Valid || absent.Allocated {
		t.Errorf("resolve a code that is not allocated: %+v, %v", absent, err)
	}
	stranger := *trust
	stranger.Statement.Chain = "another"
	if r, err := c.Resolve(ctx, &stranger, code, e.Now()); err != nil || r.Verdict == verify.Valid {
		t.Errorf("resolve by another trust root: %+v, %v", r, err)
	}
	if r, err := c.Resolve(ctx, trust, code, e.Now().Add(48*time.Hour)); err != nil || r.Verdict != verify.Undecided {
		t.Errorf("resolve two days later: %+v, %v", r, err)
	}

	// What the resolver gives for a code proves itself like the API's bundle.
	for path, status := range map[string]int{"/MA.156.1301": 200, "/MA.156.9999": 404} {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, c.String()+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Accept", verify.MediaType)
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(response.Body)
		response.Body.Close()
		if err != nil || response.StatusCode != status {
			t.Errorf("%s: status %d, %v", path, response.StatusCode, err)
		}
		r := verify.CheckEncoded(trust, data, verify.Options{Now: e.Now(), Code: cityid.MustParse(path[1:]), Kind: cityid.AnswerRecord})
		if r.Verdict != verify.Valid || r.Allocated != (status == 200) {
			t.Errorf("%s: %s: %s", path, r.Verdict, r.Message)
		}
	}
}
