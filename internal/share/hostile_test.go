// SPDX-License-Identifier: Apache-2.0

package share_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"cityid"
	"cityid/internal/httpsig"
	"cityid/internal/ledger"
	"cityid/internal/share"
	"cityid/keys"
)

// This file has what stands between two gateways, or in the place of one, and
// means no good.

// between passes requests on to a gateway and answers back, over connections of
// its own, and lets a test change both on their way.
type between struct {
	to       *httptest.Server
	request  func(*http.Request)
	response func(*http.Response)
}

var line = &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 8}

func (b *between) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	out := &http.Request{
		Method: r.Method, URL: &url.URL{Scheme: "http", Host: strings.TrimPrefix(b.to.URL, "http://"), Opaque: r.RequestURI},
		Host: r.Host, Header: r.Header.Clone(), Body: io.NopCloser(bytes.NewReader(body)), ContentLength: int64(len(body)),
	}
	if b.request != nil {
		b.request(out)
	}
	resp, err := line.RoundTrip(out)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	defer resp.Body.Close()
	if b.response != nil {
		b.response(resp)
	}
	h := w.Header()
	for name, values := range resp.Header {
		h[name] = values
	}
	if h.Get("Content-Length") == "" {
		h["Content-Length"] = nil
	}
	w.WriteHeader(resp.StatusCode)
	if _, err := io.Copy(w, resp.Body); err != nil {
		panic(http.ErrAbortHandler)
	}
}

// alterBody replaces an answer's body.
func alterBody(r *http.Response, f func([]byte) []byte) {
	b, err := io.ReadAll(r.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	b = f(b)
	r.Header.Set("Content-Length", fmt.Sprint(len(b)))
	r.Body = io.NopCloser(bytes.NewReader(b))
}

// order is a request as a gateway's key signs it, right or wrong.
type order struct {
	method, authority, target, tag string
	agreement                      string
	key                            *keys.Private
	created                        time.Time
	lasts                          time.Duration
	nonce                          string
	body                           []byte
	header                         http.Header // besides what the protocol needs
}

// order returns a fetch that the provider's gateway has to answer.
func (w *world) order(id cityid.Digest, path string) *order {
	return &order{
		method: "GET", authority: strings.TrimPrefix(w.give.front.url, "http://"), target: "/data/" + share.Segment(air) + path, tag: "cityid-fetch",
		agreement: `"` + id.String() + `"`, key: w.take.key, created: w.engine.Now(), lasts: time.Minute,
	}
}

// sign returns the request, signed, to be sent to an address.
func (o *order) sign(t testing.TB, to string) *http.Request {
	t.Helper()
	h := o.header.Clone()
	if h == nil {
		h = http.Header{}
	}
	h.Set("Content-Digest", httpsig.Digest(o.body))
	h.Set("Data-Agreement", o.agreement)
	m := &httpsig.Message{Method: o.method, Scheme: "http", Host: o.authority, Target: o.target, Header: h}
	_, err := httpsig.RequestProfile(o.tag).Sign(m, httpsig.Params{
		Created: o.created, Expires: o.created.Add(o.lasts), Nonce: o.nonce, KeyID: o.key.Public().String(),
	}, o.key)
	if err != nil {
		t.Fatal(err)
	}
	return &http.Request{
		Method: o.method, URL: &url.URL{Scheme: "http", Host: strings.TrimPrefix(to, "http://"), Opaque: o.target}, Host: o.authority,
		Header: h, Body: io.NopCloser(bytes.NewReader(o.body)), ContentLength: int64(len(o.body)),
	}
}

// said is an answer.
type said struct {
	status int
	header http.Header
	body   string
}

func (s said) signed() bool { return s.header.Get("Signature") != "" }

func (s said) String() string {
	return fmt.Sprintf("%d signed=%v %.300s", s.status, s.signed(), s.body)
}

// send sends a request and returns the answer.
func (w *world) send(r *http.Request) said {
	w.t.Helper()
	resp, err := line.RoundTrip(r)
	if err != nil {
		w.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	return said{resp.StatusCode, resp.Header, string(b)}
}

// ordered signs, sends to the provider, and returns the answer.
func (w *world) ordered(o *order) said {
	w.t.Helper()
	return w.send(o.sign(w.t, w.give.front.url))
}

// raw sends octets and returns what comes back.
func raw(t testing.TB, to, text string) string {
	t.Helper()
	c, err := net.Dial("tcp", strings.TrimPrefix(to, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
	if err := c.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(c)
	if err != nil {
		t.Fatalf("%v after %q", err, b)
	}
	return string(b)
}

// liar answers in a provider's place with the provider's own key, or another.
type liar struct {
	t       testing.TB
	key     *keys.Private
	now     func() time.Time
	verify  func() time.Time                                 // for requests, if another
	receipt func(*ledger.Receipt)                            // changes what is right
	status  int                                              // of the answer, if another than the receipt's
	body    []byte                                           // that is sent; nil: the one the receipt is for
	request func(*httpsig.Message)                           // changes the request that the answer is signed for
	header  func(http.Header)                                // changes the header before it is signed
	after   func(http.ResponseWriter)                        // changes the header when it is signed
	send    func(http.ResponseWriter, *http.Request, []byte) // sends the body otherwise than whole
	number  uint64                                           // of the last receipt
	last    func(receipt []byte, a, b *httpsig.Signed)       // sees what is sent
}

var promised = []byte(`{"value":"41"}`)

func (l *liar) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	m, err := httpsig.RequestReceived(r, "http")
	if err != nil {
		l.t.Error(err)
	}
	now := l.now
	if l.verify != nil {
		now = l.verify
	}
	signed, err := httpsig.RequestProfile("cityid-fetch").Verify(m, now(), func(id string) (httpsig.Key, error) { return keys.ParsePublicText(id) })
	if err != nil {
		l.t.Error(err)
		return
	}
	var id cityid.Digest
	if err := id.UnmarshalText([]byte(strings.Trim(r.Header.Get("Data-Agreement"), `"`))); err != nil {
		l.t.Error(err)
	}
	l.number++
	digest, err := httpsig.ParseDigest(httpsig.Digest(promised))
	if err != nil {
		l.t.Error(err)
	}
	receipt := ledger.Receipt{
		Version: 1, Agreement: id, Dataset: air, Provider: provider, Log: "gw-1", Number: l.number, Request: signed.Hash(), Status: 200,
		Size: uint64(len(promised)), Content: digest, Time: cityid.TimeOf(l.now()), Height: 1,
	}
	if l.receipt != nil {
		l.receipt(&receipt)
	}
	encoded := cityid.MustMarshal(&receipt)
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Content-Digest", httpsig.FormatDigest(receipt.Content))
	h.Set("Data-Receipt", ":"+base64.StdEncoding.EncodeToString(encoded)+":")
	status := int(receipt.Status)
	if l.status != 0 {
		status = l.status
	}
	if l.header != nil {
		l.header(h)
	}
	if l.request != nil {
		l.request(m)
	}
	answer, err := httpsig.ResponseProfile().Sign(httpsig.ResponseToSend(status, h, m), httpsig.Params{Created: l.now(), KeyID: l.key.Public().String()}, l.key)
	if err != nil {
		l.t.Error(err)
	}
	if l.last != nil {
		l.last(encoded, signed, answer)
	}
	if l.after != nil {
		l.after(w)
	}
	body := promised
	if l.body != nil {
		body = l.body
	}
	if l.send != nil {
		l.send(w, r, body)
		return
	}
	h.Set("Content-Length", fmt.Sprint(len(body)))
	w.WriteHeader(status)
	w.Write(body)
}

func jsonLine(v any) ([]byte, error) { return json.Marshal(v) }

// decode64 reads base64.
func decode64(t testing.TB, text string) []byte {
	t.Helper()
	b, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
