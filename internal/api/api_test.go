// SPDX-License-Identifier: Apache-2.0

package api_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"time"

	"cityid"
	"cityid/internal/api"
	"cityid/internal/web"
	"cityid/verify"
)

// call sends one request to h; headers are pairs of name and value.
func call(h http.Handler, method, target, body string, headers ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// problem returns the code of an answer that must be a problem.
func problem(t *testing.T, w *httptest.ResponseRecorder) string {
	t.Helper()
	var p web.Problem
	if w.Header().Get("Content-Type") != web.ProblemType {
		t.Fatalf("Content-Type %q: %s", w.Header().Get("Content-Type"), w.Body)
	}
	if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil || p.Status != w.Code {
		t.Fatalf("problem %s: %v", w.Body, err)
	}
	return p.Code.String()
}

// reads are requests and what they bring from the source of newSource.
var reads = []struct {
	target string
	status int
	want   string // in the body; for problems, the code
}{
	{"/v1/records/MA.156.1301", 200, `"record":{"code":"MA.156.1301"`},
	{"/v1/records/MA.156.1301", 200, `"zh":"石家庄市"`},
	{"/v1/records/ma.156.1301/", 200, `"record":{"code":"MA.156.1301"`},
	{"/v1/records/" + city.Display(), 200, `"record":{"code":"MA.156.1301"`},
	{"/v1/records/" + lamp.String(), 200, `"lat":38.045474,"lon":-0.0000005`},
	{"/v1/records/MA.156.1301.01%2F20.010203%2f000123", 200, `"code":"` + lamp.String()},
	{"/v1/records/%4DA.156.1301", 200, `"record":{"code":"MA.156.1301"`},
	{"/v1/records/%EF%BC%ADA.156.1301", 200, `"record":{"code":"MA.156.1301"`},
	{"/v1/records/MA.156.1301.03", 200, `"status":"retired"`},
	{"/v1/records/MA.156.9999", 404, "not-found"},
	{"/v1/records/MA.156.1301*00", 400, "malformed"},
	{"/v1/records/MA.156.1301%00", 400, "malformed"},
	{"/v1/records/MA.156.1301%C0%AF", 400, "malformed"},
	{"/v1/records/MA.156.1301%20", 400, "malformed"},
	{"/v1/records/%2E%2E/MA.156", 400, "malformed"},
	{"/v1/records/%2e%2e%2fMA.156", 400, "malformed"},
	{"/v1/records/../MA.156", 400, "malformed"},
	{"/v1/records//MA.156", 400, "malformed"},
	{"/v1/records/", 400, "malformed"},
	{"/v1/records/" + strings.Repeat("A", 600), 400, "malformed"},
	{"/v1/records/" + strings.Repeat("A", 5000), 414, "too-large"},
	{"/v1/records/MA.156?x=1", 400, "malformed"},
	{"/v1/records/MA.156?%zz", 400, "malformed"},
	{"/v1/records/MA.156?a;b", 400, "malformed"},
	{"/v1/records", 404, "not-found"},

	{"/v1/children/MA.156", 200, `"records":[{"code":"MA.156.1301"`},
	{"/v1/children/MA.156.1301.02", 200, `"records":[]`},
	{"/v1/children/MA.156.1301?deep=true&kind=object", 200, `"records":[{"code":"` + lamp.String()},
	{"/v1/children/MA.156?deep=yes", 400, "malformed"},
	{"/v1/children/MA.156?deep=", 400, "malformed"},
	{"/v1/children/MA.156?deep=true&deep=true", 400, "malformed"},
	{"/v1/children/MA.156?kind=town", 400, "malformed"},
	{"/v1/children/MA.156?limit=0", 400, "malformed"},
	{"/v1/children/MA.156?limit=1001", 400, "malformed"},
	{"/v1/children/MA.156?limit=01", 400, "malformed"},
	{"/v1/children/MA.156?limit=-1", 400, "malformed"},
	{"/v1/children/MA.156?after=x!", 400, "malformed"},
	{"/v1/children/MA.156?after=", 400, "malformed"},
	{"/v1/children/MA.156?Limit=5", 400, "malformed"},

	{"/v1/history/MA.156", 200, `"revisions":[{"code":"MA.156"`},
	{"/v1/history/MA.157", 404, "not-found"},

	{"/v1/crosswalk/gbt2260/130100", 200, `"holds":true`},
	{"/v1/crosswalk/gbt2260/a%2Fb", 200, `"value":"a/b","entries":[]`},
	{"/v1/crosswalk/gbt2260/%2E%2E", 200, `"value":".."`},
	{"/v1/crosswalk/gbt2260/%E7%9F%B3", 200, `"value":"石"`},
	{"/v1/crosswalk/unknown/1", 404, "not-found"},
	{"/v1/crosswalk/GBT/1", 400, "malformed"},
	{"/v1/crosswalk/gbt2260/%00", 400, "malformed"},
	{"/v1/crosswalk/gbt2260/%FF", 400, "malformed"},
	{"/v1/crosswalk/gbt2260/" + strings.Repeat("1", 65), 400, "malformed"},
	{"/v1/crosswalk/gbt2260/", 404, "not-found"},
	{"/v1/crosswalk/gbt2260/a/b", 404, "not-found"},

	{"/v1/attestations/" + digest.String() + "?source=MA.156.1301", 200, `"size":42`},
	{"/v1/attestations/" + digest.String() + "?source=MA.156", 404, "not-found"},
	{"/v1/attestations/" + digest.String(), 400, "malformed"},
	{"/v1/attestations?source=MA.156.1301", 200, `"size":42`},
	{"/v1/attestations?source=MA.156.1301&limit=1", 200, `"next":"` + digest.String() + `"`},
	{"/v1/attestations?source=MA.156.1301&after=" + digest.String(), 200, `"attestations":[]`},
	{"/v1/attestations?source=MA.156", 200, `"attestations":[]`},
	{"/v1/attestations", 400, "malformed"},
	{"/v1/attestations?source=MA.156.1301&limit=201", 400, "malformed"},
	{"/v1/attestations?source=MA.156.1301&after=x", 400, "malformed"},
	{"/v1/attestations?source=MA.156.1301&deep=1", 400, "malformed"},
	{"/v1/attestations/" + strings.ToUpper(digest.String()) + "A?source=MA.156", 400, "malformed"},

	{"/v1/blocks", 200, `"blocks":[{"height":7`},
	{"/v1/blocks?limit=2&before=4", 200, `"next":2`},
	{"/v1/blocks?before=1", 200, `"blocks":[]`},
	{"/v1/blocks?limit=101", 400, "malformed"},
	{"/v1/blocks?limit=0", 400, "malformed"},
	{"/v1/blocks?before=0", 400, "malformed"},
	{"/v1/blocks?busy=1", 400, "malformed"},
	{"/v1/blocks/7", 200, `"changed":["MA.156.1301"]`},
	{"/v1/blocks/7", 200, `"proposer":"ed25519:`},
	{"/v1/blocks/8", 404, "not-found"},
	{"/v1/blocks/0", 404, "not-found"},
	{"/v1/blocks/07", 400, "malformed"},
	{"/v1/blocks/7?x=1", 400, "malformed"},
	{"/v1/changes?after=3", 200, `{"codes":["MA.156.1301","` + lamp.String() + `"],"height":7,"gap":false}`},
	{"/v1/changes?after=0", 200, `{"codes":[],"height":7,"gap":true}`},
	{"/v1/changes?after=3&wait=true", 200, `"height":7`},
	{"/v1/changes", 400, "malformed"},
	{"/v1/changes?after=-1", 400, "malformed"},
	{"/v1/changes?after=3&wait=maybe", 400, "malformed"},
	{"/v1/transactions/" + digest.String() + "/body", 404, "not-found"},
	{"/v1/transactions/xyz/body", 400, "malformed"},

	{"/v1/proposals", 200, `"number":5`},
	{"/v1/proposals?state=executed", 200, `"proposals":[]`},
	{"/v1/proposals?state=done", 400, "malformed"},
	{"/v1/proposals?limit=201", 400, "malformed"},
	{"/v1/proposals?before=0", 400, "malformed"},
	{"/v1/proposals?before=18446744073709551616", 400, "malformed"},
	{"/v1/proposals/3", 200, `"number":3`},
	{"/v1/proposals/9", 404, "not-found"},
	{"/v1/proposals/03", 400, "malformed"},
	{"/v1/proposals/x", 400, "malformed"},
	{"/v1/proposals/", 404, "not-found"},

	{"/v1/transactions/" + digest.String(), 404, "not-found"},
	{"/v1/transactions/abc", 400, "malformed"},

	{"/v1/bundles/MA.156.1301", 200, "bundle of MA.156.1301"},
	{"/v1/bundles/MA.156.9999", 200, "bundle of MA.156.9999"},
	{"/v1/bundles/MA.156?kind=everything", 400, "malformed"},
	{"/v1/bundles/MA.156?kind=entries", 400, "malformed"},
	{"/v1/bundles/MA.156?from=4294967296", 400, "malformed"},
	{"/v1/bundles/MA.156?log=1", 400, "malformed"},

	{"/v1/links/12", 200, "link to 12"},
	{"/v1/links/12?from=3", 200, "link to 12"},
	{"/v1/links/18446744073709551615", 200, "link to 18446744073709551615"},
	{"/v1/links/18446744073709551616", 400, "malformed"},
	{"/v1/links/012", 400, "malformed"},
	{"/v1/links/latest", 400, "malformed"},
	{"/v1/links/12?from=4294967296", 400, "malformed"},
	{"/v1/links/12?at=3", 400, "malformed"},
	{"/v1/headers/12", 200, "header 12"},
	{"/v1/headers/latest", 400, "malformed"},
	{"/v1/headers/12?from=1", 400, "malformed"},
	{"/v1/headers", 404, "not-found"},
	{"/v1/links/", 404, "not-found"}, {"/v1/links", 404, "not-found"},

	{"/v1/trust", 200, `{"versions":[{"statement":{"version":1`},
	{"/v1/trust/2", 200, `{"statement":{"version":2`},
	{"/v1/trust/3", 404, "not-found"},
	{"/v1/trust/latest", 400, "malformed"},
	{"/v1/trust/next", 200, `{"version":3`},
	{"/v1/trust/next?version=3", 400, "malformed"},
	{"/v1/zones", 200, `"code":"MA.156.1301"`}, {"/v1/zones?after=MA.156.1301&limit=1", 200, `"code":"MA.156.1302"`}, {"/v1/zones?limit=0", 400, "malformed"}, {"/v1/zones?limit=1001", 400, "malformed"},
	{"/v1/settings", 200, `"tx_lifetime":3600`},
	{"/v1/status", 200, `"chain":"test-1"`},
	{"/v1/status?x", 400, "malformed"},
	{"/v1/openapi.json", 200, `"openapi": "3.1.0"`},
	{"/v1/", 404, "not-found"}, {"/v1", 404, "not-found"}, {"/", 404, "not-found"}, {"/v1/nothing", 404, "not-found"},
}

func TestReads(t *testing.T) {
	h := api.Handler(api.Config{Source: newSource()})
	for _, tt := range reads {
		w := call(h, "GET", tt.target, "")
		if w.Code != tt.status {
			t.Errorf("%.80s: status %d, want %d: %s", tt.target, w.Code, tt.status, w.Body)
			continue
		}
		if tt.status != 200 {
			if got := problem(t, w); got != tt.want {
				t.Errorf("%.80s: code %s, want %s", tt.target, got, tt.want)
			}
		} else if !strings.Contains(w.Body.String(), tt.want) {
			t.Errorf("%.80s: %s lacks %s", tt.target, w.Body, tt.want)
		}
		if w.Header().Get("Access-Control-Allow-Origin") != "*" || w.Header().Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%.80s: headers %v", tt.target, w.Header())
		}

		// HEAD is GET without the body; the tag of an answer brings a 304.
		if tt.status == 200 {
			tag := w.Header().Get("ETag")
			if again := call(h, "GET", tt.target, "", "If-None-Match", tag); again.Code != 304 || again.Body.Len() != 0 {
				t.Errorf("%s with its tag: %d", tt.target, again.Code)
			}
			if head := call(h, "HEAD", tt.target, ""); head.Code != 200 || head.Header().Get("ETag") != tag {
				t.Errorf("HEAD %s: %d %v", tt.target, head.Code, head.Header())
			}
		}
	}
}

func TestQueriesReachTheSource(t *testing.T) {
	s := newSource()
	h := api.Handler(api.Config{Source: s})
	w := call(h, "GET", "/v1/children/ma.156.1301?deep=true&kind=department&after=ma.156.1301.01&limit=1", "")
	want := cityid.ChildrenQuery{Code: city, Deep: true, Kind: cityid.KindDepartment, After: cityid.MustParse("MA.156.1301.01"), Limit: 1}
	if s.children != want {
		t.Errorf("asked %+v", s.children)
	}
	if link := w.Header().Get("Link"); link != `</v1/children/MA.156.1301?after=MA.156.1301.02&deep=true&kind=department&limit=1>; rel="next"` {
		t.Errorf("Link %s", link)
	}
	if w = call(h, "GET", "/v1/children/MA.156", ""); s.children.Limit != 100 || w.Header().Get("Link") != "" {
		t.Errorf("default limit %d, Link %q", s.children.Limit, w.Header().Get("Link"))
	}
	w = call(h, "GET", "/v1/proposals?state=pending&before=5&limit=2&code=MA.156", "")
	if s.asked != (cityid.ProposalQuery{State: cityid.ProposalPending, Code: cityid.MustParse("MA.156"), Before: 5, Limit: 2}) {
		t.Errorf("asked %+v", s.asked)
	}
	if link := w.Header().Get("Link"); link != `</v1/proposals?before=3&code=MA.156&limit=2&state=pending>; rel="next"` {
		t.Errorf("Link %s", link)
	}
	if call(h, "GET", "/v1/proposals", ""); s.asked.Limit != 50 {
		t.Errorf("default limit %d", s.asked.Limit)
	}
	w = call(h, "GET", "/v1/bundles/"+lamp.String()+"?kind=history&from=3&base=12&at=9&log=true", "")
	if !reflect.DeepEqual(s.bundle, cityid.BundleQuery{Code: lamp, Kind: cityid.AnswerHistory, From: 3, Base: 12, At: 9, Log: true}) {
		t.Errorf("asked %+v", s.bundle)
	}
	if got := w.Header().Get("Content-Disposition"); got != `attachment; filename="MA.156.1301.01_20.010203_000123.history.bundle"` {
		t.Errorf("Content-Disposition %s", got)
	}
	if got := w.Header().Get("Content-Type"); got != verify.MediaType {
		t.Errorf("Content-Type %s", got)
	}
	w = call(h, "GET", "/v1/links/12?from=3", "")
	if s.link != [2]uint64{12, 3} {
		t.Errorf("asked for a link to %v", s.link)
	}
	if got := w.Header().Get("Content-Disposition"); got != `attachment; filename="12.link"` {
		t.Errorf("Content-Disposition %s", got)
	}
	if got := w.Header().Get("Content-Type"); got != verify.LinkMediaType {
		t.Errorf("Content-Type %s", got)
	}
}

func TestNegotiation(t *testing.T) {
	h := api.Handler(api.Config{Source: newSource()})
	tests := []struct {
		target, accept string
		status         int
	}{
		{"/v1/status", "application/json", 200}, {"/v1/status", "text/html", 406}, {"/v1/status", "junk", 400},
		{"/v1/bundles/MA.156", "application/json", 406}, {"/v1/bundles/MA.156", "application/*", 200},
		{"/v1/links/1", "application/vnd.cityid.bundle+cbor", 406}, {"/v1/links/1", "application/*", 200},
		{"/v1/openapi.json", "text/html", 406}, {"/v1/transactions", "*/*", 405},
	}
	for _, tt := range tests {
		if w := call(h, "GET", tt.target, "", "Accept", tt.accept); w.Code != tt.status {
			t.Errorf("%s, %s: %d, want %d", tt.target, tt.accept, w.Code, tt.status)
		}
	}
	for _, method := range []string{"POST", "PUT", "DELETE", "PATCH", "TRACE", "BREW"} {
		w := call(h, method, "/v1/status", "")
		if w.Code != 405 || problem(t, w) != "unsupported" || w.Header().Get("Allow") != "GET, HEAD, OPTIONS" {
			t.Errorf("%s: %d, Allow %q", method, w.Code, w.Header().Get("Allow"))
		}
	}
	w := call(h, "OPTIONS", "/v1/records/MA.156", "", "Access-Control-Request-Method", "GET", "Origin", "https://example.org")
	if w.Code != 204 || w.Header().Get("Access-Control-Allow-Methods") != "GET, HEAD" {
		t.Errorf("preflight: %d %v", w.Code, w.Header())
	}
	w = call(h, "OPTIONS", "/v1/transactions", "", "Access-Control-Request-Method", "POST", "Origin", "https://example.org")
	if w.Code != 204 || w.Header().Get("Access-Control-Allow-Origin") != "" {
		t.Errorf("preflight of a post: %d %v", w.Code, w.Header())
	}
}

// newTx returns a transaction that decodes, and its encoding.
func newTx(t *testing.T, memo string) (*cityid.Tx, []byte) {
	t.Helper()
	body := cityid.Body{
		Chain: "test-1", Signers: []cityid.PublicKey{cityid.PublicKey("\x01" + strings.Repeat("k", 32))}, Expires: 1_700_000_600,
		Operations: []cityid.Operation{{Approve: &cityid.Approve{Proposal: 1, Digest: digest}}}, Memo: memo,
	}
	tx := &cityid.Tx{Body: cityid.MustMarshal(&body), Signatures: []cityid.Bytes{make([]byte, 64)}}
	raw := cityid.MustMarshal(tx)
	if _, _, err := cityid.DecodeTx(raw); err != nil {
		t.Fatal(err)
	}
	return tx, raw
}

func TestSubmit(t *testing.T) {
	s := newSource()
	h := api.Handler(api.Config{Source: s})
	tx, raw := newTx(t, "")
	asJSON, err := json.Marshal(tx)
	if err != nil {
		t.Fatal(err)
	}
	id := tx.ID().String()
	tests := []struct {
		name, target, contentType, body string
		headers                         []string
		status                          int
		want                            string
	}{
		{"cbor", "", "application/cbor", string(raw), nil, 200, `"height":9`},
		{"json", "", "application/json; charset=utf-8", string(asJSON), nil, 200, `"id":"` + id},
		{"wait", "?wait=true", "application/cbor", string(raw), []string{"Prefer", "respond-async"}, 200, `"height":9`},
		{"no wait", "?wait=false", "application/cbor", string(raw), nil, 202, `"height":0`},
		{"prefer", "", "application/cbor", string(raw), []string{"Prefer", "handling=lenient, Respond-Async; x"}, 202, `"height":0`},
		{"key", "", "application/cbor", string(raw), []string{"Idempotency-Key", `"k-1"`}, 200, id},
		{"long key", "", "application/cbor", string(raw), []string{"Idempotency-Key", strings.Repeat("k", 256)}, 400, "malformed"},
		{"query", "?async=1", "application/cbor", string(raw), nil, 400, "malformed"},
		{"bad wait", "?wait=5", "application/cbor", string(raw), nil, 400, "malformed"},
		{"no type", "", "", string(raw), nil, 415, "unsupported"},
		{"other type", "", "application/octet-stream", string(raw), nil, 415, "unsupported"},
		{"form", "", "application/x-www-form-urlencoded", "a=b", nil, 415, "unsupported"},
		{"compressed", "", "application/cbor", string(raw), []string{"Content-Encoding", "gzip"}, 415, "unsupported"},
		{"not acceptable", "", "application/cbor", string(raw), []string{"Accept", "text/html"}, 406, "unsupported"},
		{"empty", "", "application/cbor", "", nil, 400, "malformed"},
		{"trailing", "", "application/cbor", string(raw) + "x", nil, 400, "malformed"},
		{"oversized", "", "application/cbor", strings.Repeat("x", cityid.MaxTx+1), nil, 413, "too-large"},
		{"oversized json", "", "application/json", strings.Repeat(" ", cityid.MaxTx*2), nil, 413, "too-large"},
		{"json array", "", "application/json", `[]`, nil, 400, "malformed"},
		{"json empty", "", "application/json", `{}`, nil, 400, "malformed"},
		{"json null", "", "application/json", `{"body":null,"signatures":null}`, nil, 400, "malformed"},
		{"json null signature", "", "application/json", `{"body":"AA","signatures":[null]}`, nil, 400, "malformed"},
		{"json twice", "", "application/json", strings.Replace(string(asJSON), "{", `{"body":"AA",`, 1), nil, 400, "malformed"},
		{"json null and again", "", "application/json", strings.Replace(string(asJSON), "{", `{"body":null,`, 1), nil, 400, "malformed"},
		{"json case", "", "application/json", strings.Replace(string(asJSON), "body", "Body", 1), nil, 400, "malformed"},
		{"json unknown", "", "application/json", strings.Replace(string(asJSON), "{", `{"x":1,`, 1), nil, 400, "malformed"},
		{"json trailing", "", "application/json", string(asJSON) + "{}", nil, 400, "malformed"},
		{"json cut", "", "application/json", string(asJSON[:len(asJSON)-1]), nil, 400, "malformed"},
		{"json padded base64", "", "application/json", `{"body":"AA==","signatures":[]}`, nil, 400, "malformed"},
		{"json loose base64", "", "application/json", `{"body":"AB","signatures":[]}`, nil, 400, "malformed"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			headers := append([]string{"Content-Type", tt.contentType}, tt.headers...)
			w := call(h, "POST", "/v1/transactions"+tt.target, tt.body, headers...)
			if w.Code != tt.status {
				t.Fatalf("status %d, want %d: %s", w.Code, tt.status, w.Body)
			}
			if tt.status >= 400 {
				if got := problem(t, w); got != tt.want {
					t.Errorf("code %s, want %s", got, tt.want)
				}
				if tt.status == 415 != (w.Header().Get("Accept-Post") != "" || tt.name == "compressed") {
					t.Errorf("Accept-Post %q", w.Header().Get("Accept-Post"))
				}
				return
			}
			if !strings.Contains(w.Body.String(), tt.want) {
				t.Errorf("%s lacks %s", w.Body, tt.want)
			}
			if got := w.Header().Get("Location"); got != "/v1/transactions/"+id {
				t.Errorf("Location %q", got)
			}
			if applied := w.Header().Get("Preference-Applied"); (applied == "respond-async") != (tt.name == "prefer") {
				t.Errorf("Preference-Applied %q", applied)
			}
			if tt.name == "key" && w.Header().Get("Idempotency-Key") != `"k-1"` {
				t.Errorf("Idempotency-Key %q", w.Header().Get("Idempotency-Key"))
			}
		})
	}
	if w := call(h, "GET", "/v1/transactions/"+id, ""); w.Code != 200 {
		t.Errorf("receipt later: %d", w.Code)
	}
}

func TestSubmitRefused(t *testing.T) {
	s := newSource()
	tx, raw := newTx(t, "")
	refused := cityid.Receipt{ID: tx.ID(), Height: 9, Time: 5, Code: cityid.ErrQuota, Operation: 2, Message: "quota reached"}
	s.receipts[tx.ID()] = refused
	s.submit = func(context.Context, []byte, bool) (*cityid.Receipt, error) { return &refused, nil }
	h := api.Handler(api.Config{Source: s})
	w := call(h, "POST", "/v1/transactions", string(raw), "Content-Type", "application/cbor")
	var p web.Problem
	if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil {
		t.Fatal(err)
	}
	if w.Code != 422 || p.Code != cityid.ErrQuota || p.Operation == nil || *p.Operation != 2 || p.Receipt == nil || p.Receipt.Height != 9 {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if w.Header().Get("Location") == "" {
		t.Error("no Location of the receipt")
	}
	if w := call(h, "GET", "/v1/transactions/"+tx.ID().String(), ""); w.Code != 200 || !strings.Contains(w.Body.String(), `"code":"quota"`) {
		t.Errorf("receipt of a refusal: %d %s", w.Code, w.Body)
	}
}

func TestSubmitTakesTooLong(t *testing.T) {
	s := newSource()
	tx, raw := newTx(t, "")
	s.submit = func(ctx context.Context, _ []byte, _ bool) (*cityid.Receipt, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	h := api.Handler(api.Config{Source: s, Wait: time.Millisecond})
	post := func() *httptest.ResponseRecorder {
		return call(h, "POST", "/v1/transactions", string(raw), "Content-Type", "application/cbor")
	}
	if w := post(); w.Code != 503 || problem(t, w) != "unavailable" || w.Header().Get("Retry-After") == "" {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	s.receipts[tx.ID()] = cityid.Receipt{ID: tx.ID(), Operation: -1}
	if w := post(); w.Code != 202 || w.Header().Get("Location") == "" {
		t.Errorf("still waiting: %d %s", w.Code, w.Body)
	}
}

func TestFullQueue(t *testing.T) {
	_, raw := newTx(t, "")
	s := newSource()
	s.fail = cityid.Errorf(cityid.ErrFull, "5000 transactions wait already")
	w := call(api.Handler(api.Config{Source: s}), "POST", "/v1/transactions", string(raw), "Content-Type", "application/cbor")
	if w.Code != 429 || problem(t, w) != "full" || w.Header().Get("Retry-After") != "2" {
		t.Errorf("%d %v %s", w.Code, w.Header(), w.Body)
	}
}

func TestWritesAreLimited(t *testing.T) {
	_, raw := newTx(t, "")
	limiter := web.NewLimiter(web.LimiterConfig{Every: time.Hour, Burst: 1, Clients: 10})
	h := api.Handler(api.Config{Source: newSource(), Writes: limiter})
	for _, want := range []int{200, 429} {
		if w := call(h, "POST", "/v1/transactions", string(raw), "Content-Type", "application/cbor"); w.Code != want {
			t.Errorf("status %d, want %d", w.Code, want)
		}
	}
	if w := call(h, "GET", "/v1/status", ""); w.Code != 200 {
		t.Errorf("reading is limited too: %d", w.Code)
	}
}
