// SPDX-License-Identifier: Apache-2.0

package client_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"cityid"
	"cityid/client"
)

var code = cityid.MustParse("MA.156.1301")

func newClient(t *testing.T, address string, options ...client.Option) *client.Client {
	t.Helper()
	c, err := client.New(address, options...)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// answering returns a client of a server that gives one answer to everything.
func answering(t *testing.T, status int, mediaType, body string, options ...client.Option) *client.Client {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", mediaType)
		if status/100 == 3 {
			w.Header().Set("Location", "https://elsewhere.example/")
		}
		w.WriteHeader(status)
		io.WriteString(w, body)
	}))
	t.Cleanup(s.Close)
	return newClient(t, s.URL, options...)
}

func TestNew(t *testing.T) {
	for _, bad := range []string{"", "id.example", "ftp://id.example", "http://", "http://a:b@id.example", "http://id.example?x", "http://id.example#x", "http://[", "/v1"} {
		if _, err := client.New(bad); err == nil {
			t.Errorf("%q is accepted", bad)
		}
	}
	for address, want := range map[string]string{"http://id.example/": "http://id.example", "https://id.example:8443/a/b/": "https://id.example:8443/a/b"} {
		if got := newClient(t, address).String(); got != want {
			t.Errorf("%q becomes %q", address, got)
		}
	}
}

func TestRequests(t *testing.T) {
	var seen *http.Request
	var body []byte
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen = r
		body, _ = io.ReadAll(r.Body)
		w.Header().Set("Content-Type", r.Header.Get("Accept"))
		io.WriteString(w, "{}")
	}))
	defer s.Close()
	c := newClient(t, s.URL+"/prefix", client.WithUserAgent("test/1"))
	digest := cityid.Digest{1}
	hex := digest.String()
	tests := []struct {
		want string
		call func(ctx context.Context)
	}{
		{"GET /prefix/v1/records/MA.156.1301", func(ctx context.Context) { c.Record(ctx, code) }},
		{"GET /prefix/v1/children/MA.156.1301", func(ctx context.Context) { c.Children(ctx, cityid.ChildrenQuery{Code: code}) }},
		{"GET /prefix/v1/children/MA.156.1301?after=MA.156.1302&deep=true&kind=city&limit=3", func(ctx context.Context) {
			c.Children(ctx, cityid.ChildrenQuery{Code: code, Deep: true, Kind: cityid.KindCity, After: cityid.MustParse("MA.156.1302"), Limit: 3})
		}},
		{"GET /prefix/v1/history/MA.156.1301", func(ctx context.Context) { c.History(ctx, code) }},
		{"GET /prefix/v1/proposals/7", func(ctx context.Context) { c.Proposal(ctx, 7) }},
		{"GET /prefix/v1/proposals", func(ctx context.Context) { c.Proposals(ctx, cityid.ProposalQuery{}) }},
		{"GET /prefix/v1/proposals?before=9&code=MA.156.1301&limit=2&state=pending", func(ctx context.Context) {
			c.Proposals(ctx, cityid.ProposalQuery{State: cityid.ProposalPending, Code: code, Before: 9, Limit: 2})
		}},
		{"GET /prefix/v1/crosswalk/gbt2260/%2E%2E", func(ctx context.Context) { c.Lookup(ctx, "gbt2260", "..") }},
		{"GET /prefix/v1/crosswalk/a%2Fb/c%3Fd", func(ctx context.Context) { c.Lookup(ctx, "a/b", "c?d") }},
		{"GET /prefix/v1/attestations/" + hex + "?source=MA.156.1301", func(ctx context.Context) { c.Attestation(ctx, code, digest) }},
		{"GET /prefix/v1/attestations?source=MA.156.1301", func(ctx context.Context) { c.Attestations(ctx, cityid.AttestationQuery{Source: code}) }},
		{"GET /prefix/v1/attestations?after=" + hex + "&limit=3&source=MA.156.1301", func(ctx context.Context) {
			c.Attestations(ctx, cityid.AttestationQuery{Source: code, After: digest, Limit: 3})
		}},
		{"GET /prefix/v1/settings", func(ctx context.Context) { c.Settings(ctx) }},
		{"POST /prefix/v1/transactions?wait=true", func(ctx context.Context) { c.Submit(ctx, []byte("raw"), true) }},
		{"POST /prefix/v1/transactions?wait=false", func(ctx context.Context) { c.Submit(ctx, []byte("raw"), false) }},
		{"GET /prefix/v1/transactions/" + hex, func(ctx context.Context) { c.Transaction(ctx, digest) }},
		{"GET /prefix/v1/transactions/" + hex + "/body", func(ctx context.Context) { c.FindTransaction(ctx, digest) }},
		{"GET /prefix/v1/blocks", func(ctx context.Context) { c.Blocks(ctx, cityid.BlockQuery{}) }},
		{"GET /prefix/v1/blocks?before=9&busy=true&limit=3", func(ctx context.Context) {
			c.Blocks(ctx, cityid.BlockQuery{Before: 9, Busy: true, Limit: 3})
		}},
		{"GET /prefix/v1/blocks/9", func(ctx context.Context) { c.Block(ctx, 9) }},
		{"GET /prefix/v1/changes?after=9", func(ctx context.Context) { c.Changes(ctx, 9) }},
		{"GET /prefix/v1/bundles/MA.156.1301?at=4&base=3&from=2&kind=children&log=true", func(ctx context.Context) {
			c.Bundle(ctx, cityid.BundleQuery{Code: code, Kind: cityid.AnswerChildren, From: 2, Base: 3, At: 4, Log: true})
		}},
		{"GET /prefix/v1/links/12?from=2", func(ctx context.Context) { c.Link(ctx, 12, 2) }},
		{"GET /prefix/v1/headers/12", func(ctx context.Context) { c.SignedHeader(ctx, 12) }},
		{"GET /prefix/v1/links/12", func(ctx context.Context) { c.Link(ctx, 12, 0) }},
		{"GET /prefix/v1/trust", func(ctx context.Context) { c.Trust(ctx) }},
		{"GET /prefix/v1/trust/next", func(ctx context.Context) { c.NextTrust(ctx) }},
		{"GET /prefix/v1/status", func(ctx context.Context) { c.Status(ctx) }},
	}
	for _, tt := range tests {
		seen = nil
		tt.call(t.Context())
		if seen == nil {
			t.Fatalf("%s: no request", tt.want)
		}
		if got := seen.Method + " " + seen.RequestURI; got != tt.want {
			t.Errorf("asked %s, want %s", got, tt.want)
		}
		if seen.UserAgent() != "test/1" {
			t.Errorf("User-Agent %q", seen.UserAgent())
		}
		if post := seen.Method == "POST"; post != (string(body) == "raw") || post != (seen.Header.Get("Content-Type") == "application/cbor") {
			t.Errorf("%s: body %q of type %q", tt.want, body, seen.Header.Get("Content-Type"))
		}
	}
}

func TestStrangeAnswers(t *testing.T) {
	const j = "application/json"
	tests := []struct {
		name        string
		status      int
		mediaType   string
		body        string
		unreachable bool
		want        string
	}{
		{"another site", 200, "text/html", "<html>", false, "is it a node"},
		{"no page", 404, "text/html", "not found", false, "is it a node"},
		{"defect without problem", 500, j, "{}", false, "is it a node"},
		{"gateway", 502, "text/html", "bad gateway", true, "502"},
		{"gateway is busy", 503, "text/html", "", true, "503"},
		{"gateway is slow", 504, "", "", true, "504"},
		{"redirect", 302, "text/html", "", false, "elsewhere.example"},
		{"redirect 308", 308, "text/html", "", false, "elsewhere.example"},
		{"no content", 204, "", "", false, "is it a node"},
		{"accepted but not asked to", 202, j, "{}", false, "is it a node"},
		{"no JSON", 200, j, "{", false, "answer"},
		{"trailing", 200, j, "{} {}", false, "answer"},
		{"other code", 200, j, `{"record":{"code":"MA.156","kind":"city","status":"active","changed":{}}}`, false, "answers about MA.156"},
		{"bad code", 200, j, `{"record":{"code":"ma.156"}}`, false, "answer"},
		{"problem of nonsense", 404, "application/problem+json", "nonsense", false, "cannot be read"},
		{"problem of success", 404, "application/problem+json", `{"code":"ok"}`, false, "cannot be read"},
		{"problem with 200", 200, "application/problem+json", `{"code":"not-found"}`, false, "is it a node"},
		{"later code", 418, "application/problem+json", `{"code":"from-the-future","detail":"so it is"}`, false, "so it is (internal)"},
		{"title alone", 404, "application/problem+json", `{"code":"not-found","title":"Nothing"}`, false, "Nothing (not-found)"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := answering(t, tt.status, tt.mediaType, tt.body).Record(t.Context(), code)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want %q in it", err, tt.want)
			}
			if errors.Is(err, client.ErrUnreachable) != tt.unreachable {
				t.Errorf("error %v; unreachable %v", err, !tt.unreachable)
			}
		})
	}
}

func TestAnswersAboutOthers(t *testing.T) {
	other, err := json.Marshal(cityid.Receipt{ID: cityid.Digest{9}})
	if err != nil {
		t.Fatal(err)
	}
	c := answering(t, 200, "application/json", string(other))
	if _, err := c.Transaction(t.Context(), cityid.Digest{1}); err == nil {
		t.Error("the receipt of another transaction is accepted")
	}
	if _, err := c.SubmitTx(t.Context(), &cityid.Tx{Body: cityid.Bytes("x")}, true); err == nil {
		t.Error("the receipt of another transaction is accepted for a submitted one")
	}
}

func TestAnswerIsBounded(t *testing.T) {
	body := strings.Repeat("x", 1001)
	c := answering(t, 200, "application/vnd.cityid.bundle+cbor", body, client.WithMaxAnswer(1001))
	if got, err := c.Bundle(t.Context(), cityid.BundleQuery{Code: code}); err != nil || string(got) != body {
		t.Errorf("at the bound: %d octets, %v", len(got), err)
	}
	c = answering(t, 200, "application/vnd.cityid.bundle+cbor", body, client.WithMaxAnswer(1000))
	if _, err := c.Bundle(t.Context(), cityid.BundleQuery{Code: code}); err == nil || !strings.Contains(err.Error(), "larger than 1000") {
		t.Errorf("over the bound: %v", err)
	}
}

func TestUnreachable(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	c := newClient(t, "http://"+l.Addr().String())
	if _, err := c.Status(t.Context()); !errors.Is(err, client.ErrUnreachable) {
		t.Errorf("nobody listens: %v", err)
	}
	if _, err := c.Submit(t.Context(), nil, true); !errors.Is(err, client.ErrUnreachable) {
		t.Errorf("nobody listens to a post: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Status(ctx); !errors.Is(err, context.Canceled) || errors.Is(err, client.ErrUnreachable) {
		t.Errorf("given up by the caller: %v", err)
	}
}

// dropping serves connections that break, but for every nth request.
func dropping(t *testing.T, n int32) (address string, requests *atomic.Int32) {
	requests = new(atomic.Int32)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if requests.Add(1)%n != 0 {
			panic(http.ErrAbortHandler)
		}
		w.Header().Set("Content-Type", "application/json")
		io.WriteString(w, "{}")
	}))
	t.Cleanup(s.Close)
	return s.URL, requests
}

func TestRetries(t *testing.T) {
	address, requests := dropping(t, 2)
	if _, err := newClient(t, address).Trust(t.Context()); err != nil || requests.Load() != 2 {
		t.Errorf("one broken connection: %v after %d requests", err, requests.Load())
	}
	address, requests = dropping(t, 3)
	if _, err := newClient(t, address).Trust(t.Context()); !errors.Is(err, client.ErrUnreachable) || requests.Load() != 2 {
		t.Errorf("two broken connections: %v after %d requests", err, requests.Load())
	}
	address, requests = dropping(t, 2)
	if _, err := newClient(t, address).Submit(t.Context(), []byte("raw"), true); !errors.Is(err, client.ErrUnreachable) || requests.Load() != 1 {
		t.Errorf("a broken post: %v after %d requests", err, requests.Load())
	}
}

func TestTimeout(t *testing.T) {
	release := make(chan bool)
	s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }))
	defer s.Close()
	defer close(release)
	if _, err := newClient(t, s.URL, client.WithTimeout(20*time.Millisecond)).Status(t.Context()); !errors.Is(err, client.ErrUnreachable) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a node that does not answer: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := newClient(t, s.URL, client.WithTimeout(0)).Status(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a deadline of the caller: %v", err)
	}
}

func TestTransport(t *testing.T) {
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		io.WriteString(w, `{"versions":[]}`)
	}))
	defer s.Close()
	s.Config.ErrorLog = nil
	if _, err := newClient(t, s.URL).Trust(t.Context()); !errors.Is(err, client.ErrUnreachable) {
		t.Errorf("an unknown authority: %v", err)
	}
	if _, err := newClient(t, s.URL, client.WithTransport(s.Client().Transport)).Trust(t.Context()); err != nil {
		t.Errorf("a private authority: %v", err)
	}
}

// FuzzProblem looks for a body of a problem that is no refusal, or makes the
// client panic.
func FuzzProblem(f *testing.F) {
	for _, s := range []string{`{"code":"full"}`, `{"code":"rule","operation":3,"detail":"x"}`, `{"receipt":{}}`, `{"code":7}`, `[]`} {
		f.Add(404, s)
	}
	f.Fuzz(func(t *testing.T, status int, body string) {
		if status < 400 || status > 599 {
			return
		}
		c := newClient(t, "http://node.example", client.WithTransport(fixed{status, body}))
		_, err := c.Record(t.Context(), code)
		var refusal *cityid.Error
		if !errors.As(err, &refusal) || refusal.Code == cityid.OK {
			t.Fatalf("%d %q: %v", status, body, err)
		}
		if receipt, err := c.Submit(t.Context(), nil, true); err == nil && receipt == nil {
			t.Fatalf("%d %q: neither receipt nor error", status, body)
		}
	})
}

// fixed is a transport that answers every request with the same problem.
type fixed struct {
	status int
	body   string
}

func (f fixed) RoundTrip(*http.Request) (*http.Response, error) {
	return &http.Response{
		StatusCode: f.status, Header: http.Header{"Content-Type": {"application/problem+json"}},
		Body: io.NopCloser(strings.NewReader(f.body)),
	}, nil
}

func Example() {
	c, err := client.New("http://node.invalid", client.WithTransport(fixed{404, `{"code":"not-found","detail":"MA.156.1301 is not allocated"}`}))
	if err != nil {
		panic(err)
	}
	answer, err := c.Record(context.Background(), cityid.MustParse("MA.156.1301"))
	switch {
	case errors.Is(err, cityid.ErrNotFound):
		fmt.Println("no such code:", err)
	case errors.Is(err, client.ErrUnreachable):
		fmt.Println("try another node:", err)
	case err == nil:
		fmt.Println(answer.Record.Content.Names.Get("en"))
	}
	// Output: no such code: MA.156.1301 is not allocated (not-found)
}
