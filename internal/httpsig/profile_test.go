// SPDX-License-Identifier: Apache-2.0

package httpsig

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/txtar"

	"cityid/keys"
)

var update = flag.Bool("update", false, "write testdata/peer.txtar anew")

const (
	testAgreement = `"3f9a6e0000000000000000000000000000000000000000000000000000000000"`
	testNonce     = "AAECAwQFBgcICQoLDA0ODw"
	testBody      = `{"stations":[]}`
)

var testTime = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// testKey returns a key of the algorithm that depends on n alone.
func testKey(t testing.TB, a keys.Algorithm, n byte) *keys.Private {
	t.Helper()
	k, err := keys.NewPrivate(a, bytes.Repeat([]byte{n}, 32))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// lookup knows all ed25519 keys by their text.
func lookup(id string) (Key, error) {
	k, err := keys.ParsePublicText(id)
	if err == nil && k.Algorithm() != keys.Ed25519 {
		err = errors.New("gateways have ed25519 keys")
	}
	return k, err
}

// exchange is a signed request and its signed response.
type exchange struct {
	request, response             *Message
	signedRequest, signedResponse *Signed
}

// testRequest returns a request that is not signed yet.
func testRequest() *Message {
	return &Message{
		Method: "GET", Scheme: "https", Host: "gateway.example", Target: "/data/air/stations%2F1?limit=10&q=a%20b",
		Header: http.Header{"Content-Digest": {Digest(nil)}, "Data-Agreement": {testAgreement}, "Accept": {"*/*"}},
	}
}

// testResponse returns a response that is not signed yet.
func testResponse(request *Message) *Message {
	return ResponseToSend(200, http.Header{
		"Content-Digest": {Digest([]byte(testBody))}, "Content-Type": {"application/json; charset=utf-8"}, "Data-Receipt": {":oQEB:"},
	}, request)
}

func newExchange(t testing.TB) exchange {
	t.Helper()
	var x exchange
	var err error
	consumer, provider := testKey(t, keys.Ed25519, 1), testKey(t, keys.Ed25519, 2)
	x.request = testRequest()
	q := Params{Created: testTime, Nonce: testNonce, KeyID: consumer.Public().String()}
	if x.signedRequest, err = RequestProfile("cityid-fetch").Sign(x.request, q, consumer); err != nil {
		t.Fatal(err)
	}
	x.response = testResponse(x.request)
	q = Params{Created: testTime.Add(time.Second), KeyID: provider.Public().String()}
	if x.signedResponse, err = ResponseProfile().Sign(x.response, q, provider); err != nil {
		t.Fatal(err)
	}
	return x
}

// copyOf returns a message that can be changed without changing m.
func copyOf(m *Message) *Message {
	c := *m
	c.Header = m.Header.Clone()
	if m.Request != nil {
		c.Request = copyOf(m.Request)
	}
	return &c
}

// TestVector holds the signatures of one exchange against testdata/peer.txtar; other implementations can use it too.
func TestVector(t *testing.T) {
	const file = "testdata/peer.txtar"
	x := newExchange(t)
	var a txtar.Archive
	a.Comment = []byte("A signed request between two gateways and its response: signature base, fields, and SHA-256 of base, zero octet and\n" +
		"signature. The keys' seeds are 32 octets 01 (request) and 02 (response).\n")
	add := func(name, text string) { a.Files = append(a.Files, txtar.File{Name: name, Data: []byte(text + "\n")}) }
	for _, p := range []struct {
		name string
		m    *Message
		s    *Signed
	}{{"request", x.request, x.signedRequest}, {"response", x.response, x.signedResponse}} {
		add(p.name+"/base", p.s.Base)
		add(p.name+"/fields", "Signature-Input: "+p.m.Header.Get("Signature-Input")+"\nSignature: "+p.m.Header.Get("Signature"))
		add(p.name+"/hash", fmt.Sprintf("%x", p.s.Hash()))
	}
	got := txtar.Format(&a)
	if *update {
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// TestVerify: what is signed verifies, says what was signed, and does so from the base alone as well.
func TestVerify(t *testing.T) {
	x := newExchange(t)
	now := testTime.Add(2 * time.Second)
	for _, c := range []struct {
		p    *Profile
		m    *Message
		want *Signed
	}{{RequestProfile("cityid-fetch"), x.request, x.signedRequest}, {ResponseProfile(), x.response, x.signedResponse}} {
		online, err := c.p.Verify(c.m, now, lookup)
		if err != nil {
			t.Fatal(err)
		}
		offline, err := c.p.VerifyBase(c.want.Base, c.want.Signature, lookup)
		if err != nil {
			t.Fatal(err)
		}
		for _, got := range []*Signed{online, offline} {
			if got.Base != c.want.Base || !bytes.Equal(got.Signature, c.want.Signature) || got.Hash() != c.want.Hash() ||
				got.Params != c.want.Params || got.Digest != c.want.Digest || !slices.Equal(got.values, c.want.values) {
				t.Errorf("got %+v, want %+v", got, c.want)
			}
		}
	}
	s := x.signedRequest
	if s.Nonce != testNonce || !s.Created.Equal(testTime) || !s.Expires.Equal(testTime.Add(time.Minute)) ||
		s.Value("@path") != "/data/air/stations%2F1" || s.Value("@query") != "?limit=10&q=a%20b" || s.Value("data-agreement") != testAgreement ||
		s.Value("@status") != "" || s.Digest != [32]byte(mustDigest(t, Digest(nil))) {
		t.Errorf("the request says %+v", s)
	}
	r := x.signedResponse
	if r.Value("@status") != "200" || r.Value(`signature;req;key="sig1"`) != bytesField(s.Signature) || !r.Expires.IsZero() || r.Nonce != "" ||
		CheckDigest(r.Digest, []byte(testBody)) != nil {
		t.Errorf("the response says %+v", r)
	}
	if err := r.Answers(s); err != nil {
		t.Error(err)
	}
	if skew := RequestProfile("cityid-fetch").Skew(); skew != 10*time.Second {
		t.Errorf("a skew of %v", skew)
	}
}

func mustDigest(t testing.TB, value string) []byte {
	t.Helper()
	d, err := ParseDigest(value)
	if err != nil {
		t.Fatal(err)
	}
	return d[:]
}

// TestAnswersAnother: a response does not answer a request that differs in anything it covers.
func TestAnswersAnother(t *testing.T) {
	x := newExchange(t)
	key := testKey(t, keys.Ed25519, 1)
	for name, change := range map[string]func(*Message, *Params){
		"method":    func(m *Message, _ *Params) { m.Method = "POST" },
		"authority": func(m *Message, _ *Params) { m.Host = "other.example" },
		"path":      func(m *Message, _ *Params) { m.Target = strings.Replace(m.Target, "air", "water", 1) },
		"query":     func(m *Message, _ *Params) { m.Target += "0" },
		"content":   func(m *Message, _ *Params) { m.Header.Set("Content-Digest", Digest([]byte("x"))) },
		"agreement": func(m *Message, _ *Params) { m.Header.Set("Data-Agreement", `"4f"`) },
		"nonce":     func(_ *Message, q *Params) { q.Nonce = "AQECAwQFBgcICQoLDA0ODw" },
		"time":      func(_ *Message, q *Params) { q.Created = q.Created.Add(time.Second) },
	} {
		m, q := testRequest(), Params{Created: testTime, Nonce: testNonce, KeyID: key.Public().String()}
		change(m, &q)
		other, err := RequestProfile("cityid-fetch").Sign(m, q, key)
		if err != nil {
			t.Fatal(name, err)
		}
		if err := x.signedResponse.Answers(other); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := x.signedResponse.Answers(x.signedResponse); !errors.Is(err, ErrMalformed) {
		t.Errorf("a response answers itself: %v", err)
	}
	rules := RequestProfile("cityid-fetch").rules
	rules.Label = "sig2"
	p, err := New(rules)
	if err != nil {
		t.Fatal(err)
	}
	relabelled, err := p.VerifyBase(x.signedRequest.Base, x.signedRequest.Signature, lookup)
	if err != nil {
		t.Fatal(err)
	}
	if err := x.signedResponse.Answers(relabelled); !errors.Is(err, ErrMalformed) {
		t.Errorf("another label: %v", err)
	}
}

// TestTime: both ends of both windows, to the second.
func TestTime(t *testing.T) {
	x := newExchange(t)
	created, answered := testTime, testTime.Add(time.Second)
	for _, c := range []struct {
		p    *Profile
		m    *Message
		now  time.Time
		good bool
	}{
		{RequestProfile("cityid-fetch"), x.request, created.Add(-10 * time.Second), true},
		{RequestProfile("cityid-fetch"), x.request, created.Add(-10*time.Second - 1), false},
		{RequestProfile("cityid-fetch"), x.request, created.Add(70 * time.Second), true},
		{RequestProfile("cityid-fetch"), x.request, created.Add(70*time.Second + 1), false},
		{ResponseProfile(), x.response, answered.Add(-10 * time.Second), true},
		{ResponseProfile(), x.response, answered.Add(-10*time.Second - 1), false},
		{ResponseProfile(), x.response, answered.Add(70 * time.Second), true},
		{ResponseProfile(), x.response, answered.Add(70*time.Second + 1), false},
	} {
		_, err := c.p.Verify(c.m, c.now, lookup)
		if c.good && err != nil || !c.good && !errors.Is(err, ErrTime) {
			t.Errorf("%v: %v", c.now.Sub(created), err)
		}
	}
}

// TestLoopback signs and checks over a real connection, with what net/http does to messages on the way.
func TestLoopback(t *testing.T) {
	consumer, provider := testKey(t, keys.Ed25519, 1), testKey(t, keys.Ed25519, 2)
	requests, responses := RequestProfile("cityid-acknowledgement"), ResponseProfile()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.URL.Path, r.URL.RawQuery = "/cleaned", "" // as handlers do; what was sent is what counts
		m, err := RequestReceived(r, "http")
		if err != nil {
			t.Error(err)
			return
		}
		s, err := requests.Verify(m, testTime, lookup)
		if err != nil {
			t.Error(err)
			return
		}
		if got := s.Value("@authority"); got != r.Host {
			t.Errorf("authority %s, host %s", got, r.Host)
		}
		body, err := io.ReadAll(NewDigestReader(r.Body, s.Digest, 100))
		if err != nil {
			t.Error(err)
		}
		w.Header().Set("Content-Digest", Digest(body))
		w.Header().Set("Content-Type", "text/plain")
		w.Header().Set("Data-Receipt", ":oQEB:")
		answer := ResponseToSend(http.StatusTeapot, w.Header(), m)
		if _, err := responses.Sign(answer, Params{Created: testTime, KeyID: provider.Public().String()}, provider); err != nil {
			t.Error(err)
		}
		w.WriteHeader(http.StatusTeapot)
		_, _ = w.Write(body)
	}))
	defer server.Close()
	for _, target := range []string{"/a%2Fb/c%20d", "/a%2Fb/%E6%9F%90?x=%E6&y", "/a%2Fb/../e//f?a?b=/"} {
		r, err := http.NewRequest("POST", server.URL+target, strings.NewReader("hello"))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Digest", Digest([]byte("hello")))
		r.Header.Set("Data-Agreement", testAgreement)
		r.Header.Set("Accept-Encoding", "identity")
		m, err := RequestToSend(r)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := requests.Sign(m, Params{Created: testTime, KeyID: consumer.Public().String()}, consumer); err != nil {
			t.Fatal(err)
		}
		a, err := server.Client().Do(r)
		if err != nil {
			t.Fatal(err)
		}
		answer, err := ResponseReceived(a, m)
		if err != nil {
			t.Fatal(err)
		}
		s, err := responses.Verify(answer, testTime, lookup)
		if err != nil {
			t.Fatal(target, err)
		}
		if got := strings.TrimSuffix(s.Value("@path;req")+s.Value("@query;req"), "?"); got != target {
			t.Errorf("signed %s, asked for %s", got, target)
		}
		d := NewDigestReader(a.Body, s.Digest, 5)
		if body, err := io.ReadAll(d); err != nil || string(body) != "hello" || d.Size() != 5 {
			t.Errorf("%q, %v", body, err)
		}
		_ = a.Body.Close()
	}
}

// TestMessages: what no message can be made from.
func TestMessages(t *testing.T) {
	sent, err := http.NewRequest("", "http://example.com:80/x", nil)
	if err != nil {
		t.Fatal(err)
	}
	sent.Header, sent.Method, sent.Host = nil, "", ""
	m, err := RequestToSend(sent)
	if err != nil || m.Method != "GET" || m.Host != "example.com:80" || m.Header == nil || sent.Header == nil {
		t.Errorf("%+v, %v", m, err)
	}
	received := httptest.NewRequest("GET", "/x", nil)
	if _, err := RequestToSend(received); err == nil {
		t.Error("sends a request that was received")
	}
	if _, err := RequestReceived(sent, "http"); err == nil {
		t.Error("receives a request that was not sent")
	}
	if _, err := RequestReceived(received, "HTTPS"); err == nil {
		t.Error("a scheme in capitals")
	}
	for _, u := range []string{"ftp://example.com/", "http:opaque", "/x"} {
		r, err := http.NewRequest("GET", u, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := RequestToSend(r); err == nil {
			t.Error(u)
		}
	}
	if _, err := ResponseReceived(&http.Response{Uncompressed: true}, m); !errors.Is(err, ErrMalformed) {
		t.Errorf("unpacked by net/http: %v", err)
	}
}

func TestNew(t *testing.T) {
	good := RequestProfile("a").rules
	for name, change := range map[string]func(*Rules){
		"label":        func(r *Rules) { r.Label = "Sig1" },
		"no label":     func(r *Rules) { r.Label = "" },
		"tag":          func(r *Rules) { r.Tag = `a"b` },
		"no tag":       func(r *Rules) { r.Tag = "" },
		"no age":       func(r *Rules) { r.MaxAge = 0 },
		"age":          func(r *Rules) { r.MaxAge += time.Millisecond },
		"skew":         func(r *Rules) { r.Skew = -time.Second },
		"half skew":    func(r *Rules) { r.Skew = time.Second / 2 },
		"nothing":      func(r *Rules) { r.Components = nil },
		"twice":        func(r *Rules) { r.Components = []string{"a", "a"} },
		"req":          func(r *Rules) { r.Components = []string{"a;req"} },
		"sf":           func(r *Rules) { r.Components = []string{"a;sf"} },
		"bs":           func(r *Rules) { r.Components = []string{"a;bs"} },
		"tr":           func(r *Rules) { r.Components = []string{"a;tr"} },
		"unknown":      func(r *Rules) { r.Components = []string{"a;b"} },
		"not strict":   func(r *Rules) { r.Components = []string{"a; key=\"x\""} },
		"semicolon":    func(r *Rules) { r.Components = []string{"a;"} },
		"quotes":       func(r *Rules) { r.Components = []string{`"a"`} },
		"capitals":     func(r *Rules) { r.Components = []string{"A"} },
		"target":       func(r *Rules) { r.Components = []string{"@target-uri"} },
		"query-param":  func(r *Rules) { r.Components = []string{`@query-param;name="a"`} },
		"params":       func(r *Rules) { r.Components = []string{"@signature-params"} },
		"empty":        func(r *Rules) { r.Components = []string{""} },
		"line feed":    func(r *Rules) { r.Components = []string{"a\n"} },
		"two in one":   func(r *Rules) { r.Components = []string{`a" "b`} },
		"other order":  func(r *Rules) { r.Components, r.Response = []string{`a;req;key="b"`, `a;key="b";req`}, true },
		"second twice": func(r *Rules) { r.Components, r.Response = []string{"a;req", "b", "a;req"}, true },
	} {
		r := good
		change(&r)
		if _, err := New(r); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	defer func() {
		if recover() == nil {
			t.Error("a tag with a quotation mark")
		}
	}()
	RequestProfile(`a"`)
}

// TestOtherKeys: a profile does not know algorithms. P-256 goes, with a key of its own.
func TestOtherKeys(t *testing.T) {
	p, m, key := RequestProfile("a"), testRequest(), testKey(t, keys.P256, 3)
	if _, err := p.Sign(m, Params{Created: testTime, KeyID: key.Public().String()}, key); err != nil {
		t.Fatal(err)
	}
	fields, err := New(Rules{Label: "sig1", Tag: "a", Components: []string{"content-digest"}, Response: true, MaxAge: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fields.Sign(m, Params{Created: testTime, KeyID: "k"}, key); !errors.Is(err, ErrMalformed) {
		t.Errorf("a request under a profile for responses: %v", err)
	}
	any := func(id string) (Key, error) { return keys.ParsePublicText(id) }
	if _, err := p.Verify(m, testTime, any); err != nil {
		t.Error(err)
	}
	if _, err := p.Verify(m, testTime, lookup); err == nil || errors.Is(err, ErrSignature) || errors.Is(err, ErrMalformed) {
		t.Errorf("a key that the caller does not want: %v", err)
	}
	if _, err := p.Sign(m, Params{Created: testTime, KeyID: "x"}, testKey(t, keys.X25519, 3)); err == nil {
		t.Error("an x25519 key signs")
	}
	if _, err := p.Sign(m, Params{Created: testTime, KeyID: "x"}, long{}); err == nil {
		t.Error("a signature of 65 octets")
	}
}

// long is a key of an algorithm with longer signatures.
type long struct{}

func (long) Sign([]byte) ([]byte, error) { return make([]byte, SignatureSize+1), nil }
