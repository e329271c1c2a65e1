// SPDX-License-Identifier: Apache-2.0

package httpsig

import (
	"bufio"
	"net/http"
	"strings"
	"testing"

	"cityid/keys"
)

// sameKey signs with one key whatever the keyid.
func sameKey(k *keys.Private) Lookup { return func(string) (Key, error) { return k.Public(), nil } }

// FuzzParseBase: what is accepted is what a message with these values would be signed as, under the same parameters.
func FuzzParseBase(f *testing.F) {
	x := newExchange(f)
	f.Add(true, x.signedRequest.Base)
	f.Add(true, strings.Replace(x.signedRequest.Base, "gateway.example", "[::1]:443", 1))
	f.Add(true, strings.Replace(x.signedRequest.Base, "?limit=10&q=a%20b", "??", 1))
	f.Add(false, x.signedResponse.Base)
	f.Add(false, strings.Replace(x.signedResponse.Base, "?limit=10&q=a%20b", "?", 1))
	requests, responses := RequestProfile("cityid-fetch"), ResponseProfile()
	key := testKey(f, keys.Ed25519, 1)
	f.Fuzz(func(t *testing.T, isRequest bool, base string) {
		p := responses
		if isRequest {
			p = requests
		}
		s, err := p.ParseBase(base)
		if err != nil {
			return
		}
		m := messageOf(s, isRequest)
		again, err := p.Sign(m, s.Params, key)
		if err != nil || again.Base != base {
			t.Fatalf("%v\n%s\nread as %+v", err, base, m)
		}
		if _, err := p.Verify(m, s.Created, sameKey(key)); err != nil {
			t.Fatal(err)
		}
	})
}

// messageOf returns the message that a base of the peers' profiles speaks of.
func messageOf(s *Statement, isRequest bool) *Message {
	if isRequest {
		return requestOf(s, "")
	}
	m := &Message{Header: http.Header{
		"Content-Digest": {s.Value("content-digest")}, "Content-Type": {s.Value("content-type")}, "Data-Receipt": {s.Value("data-receipt")},
	}, Request: requestOf(s, ";req")}
	for _, c := range s.Value("@status") {
		m.Status = 10*m.Status + int(c-'0')
	}
	m.Request.Header.Set("Signature", "sig1="+s.Value(`signature;req;key="sig1"`))
	return m
}

// requestOf returns the request whose components have req behind their names.
func requestOf(s *Statement, req string) *Message {
	m := &Message{
		Method: s.Value("@method" + req), Scheme: "https", Host: s.Value("@authority" + req), Target: s.Value("@path" + req),
		Header: http.Header{"Content-Digest": {s.Value("content-digest" + req)}, "Data-Agreement": {s.Value("data-agreement" + req)}},
	}
	if q := s.Value("@query" + req); q != "?" {
		m.Target += q
	}
	if strings.HasSuffix(m.Host, ":443") { // which https would leave out
		m.Scheme = "http"
	}
	return m
}

// FuzzVerify: of all fields and values around one good signature, only those verify that give the signed base.
func FuzzVerify(f *testing.F) {
	x := newExchange(f)
	h := x.request.Header
	f.Add(x.request.Method, x.request.Host, x.request.Target, h.Get("Content-Digest"), h.Get("Data-Agreement"), h.Get("Signature-Input"), h.Get("Signature"))
	f.Add("GET", "a:443", "/a?b", Digest([]byte("x")), "?", `sig1=();created=1;keyid="a"`, "sig1=:AA==:, sig2=:AA==:")
	p := RequestProfile("cityid-fetch")
	f.Fuzz(func(t *testing.T, method, host, target, digest, agreement, input, signature string) {
		m := &Message{Method: method, Scheme: "https", Host: host, Target: target, Header: http.Header{
			"Content-Digest": {digest}, "Data-Agreement": {agreement}, "Signature-Input": {input}, "Signature": {signature},
		}}
		s, err := p.Verify(m, testTime, lookup)
		if err != nil {
			return
		}
		if s.Base != x.signedRequest.Base || target != x.request.Target || input != h.Get("Signature-Input") || signature != h.Get("Signature") {
			t.Fatalf("verified: %+v", m)
		}
	})
}

// FuzzBase reads a message from the wire and makes a base of it: no panic, and lines that say what is covered.
func FuzzBase(f *testing.F) {
	all, _ := examples(f)
	for _, e := range all {
		if !strings.HasPrefix(e["message"], "HTTP/") {
			f.Add(strings.ReplaceAll(e["message"], "\n", "\r\n")+"\r\n\r\n", e["input"])
		}
	}
	f.Fuzz(func(t *testing.T, wire, input string) {
		r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(wire)))
		if err != nil {
			return
		}
		m, err := RequestReceived(r, "https")
		if err != nil {
			t.Fatal(err)
		}
		m.Structured = map[string]Kind{"example-dict": Dictionary, "accept": List, "date": Item}
		base, err := Base(m, input)
		if err != nil {
			return
		}
		components, err := parseInput(input)
		if err != nil {
			t.Fatal(err)
		}
		lines := strings.Split(base, "\n")
		if len(lines) != len(components)+1 || lines[len(components)] != paramsLine+input || !printable(strings.ReplaceAll(base, "\n", ""), true) {
			t.Fatalf("%q", base)
		}
		for i, c := range components {
			if !strings.HasPrefix(lines[i], c.text+": ") {
				t.Errorf("line %q is not component %s", lines[i], c.text)
			}
		}
	})
}

// FuzzParseDigest: one digest has one spelling.
func FuzzParseDigest(f *testing.F) {
	f.Add(Digest(nil))
	f.Add("sha-256=:AAAA:, sha-512=:AAAA:")
	f.Fuzz(func(t *testing.T, v string) {
		if d, err := ParseDigest(v); err == nil && FormatDigest(d) != v {
			t.Errorf("%q is read as %s", v, FormatDigest(d))
		}
	})
}

// FuzzCheckNonce: a nonce has 22 characters of base64url.
func FuzzCheckNonce(f *testing.F) {
	f.Add(testNonce)
	f.Fuzz(func(t *testing.T, s string) {
		const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
		if err := CheckNonce(s); (err == nil) != (len(s) == 22 && strings.Trim(s, alphabet) == "" && strings.IndexByte("AQgw", s[21]) >= 0) {
			t.Errorf("%q: %v", s, err)
		}
	})
}
