// SPDX-License-Identifier: Apache-2.0

package httpsig

import (
	"bufio"
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/hmac"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"io"
	"math/big"
	"net/http"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"

	"cityid/keys"
)

// example is one example of the RFC.
type example map[string]string

// examples returns those of testdata/rfc9421.txtar by name, and the keys of section B.1.
func examples(t testing.TB) (all map[string]example, pemKeys example) {
	t.Helper()
	archive, err := txtar.ParseFile("testdata/rfc9421.txtar")
	if err != nil {
		t.Fatal(err)
	}
	all = map[string]example{}
	for _, f := range archive.Files {
		name, part, ok := strings.Cut(f.Name, "/")
		if !ok {
			t.Fatalf("%s: want a name and a part", f.Name)
		}
		if all[name] == nil {
			all[name] = example{}
		}
		all[name][part] = strings.TrimSuffix(string(f.Data), "\n")
	}
	pemKeys = all["B.1"]
	delete(all, "B.1")
	return all, pemKeys
}

// readMessage lets net/http read a message as it would from the wire.
func readMessage(t testing.TB, text, scheme string, request *Message) *Message {
	t.Helper()
	r := bufio.NewReader(strings.NewReader(strings.ReplaceAll(text, "\n", "\r\n") + "\r\n\r\n"))
	if !strings.HasPrefix(text, "HTTP/") {
		q, err := http.ReadRequest(r)
		if err != nil {
			t.Fatal(err)
		}
		m, err := RequestReceived(q, scheme)
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	a, err := http.ReadResponse(r, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(a.Body); err != nil && a.Trailer == nil {
		t.Fatal(err)
	}
	m, err := ResponseReceived(a, request)
	if err != nil {
		t.Fatal(err)
	}
	for name := range a.Trailer { // net/http takes this field away
		m.Header.Add("Trailer", name)
	}
	return m
}

func TestRFC9421(t *testing.T) {
	all, pemKeys := examples(t)
	if len(all) != 40 {
		t.Errorf("%d examples, not 40", len(all))
	}
	for name, e := range all {
		t.Run(name, func(t *testing.T) {
			scheme := "https"
			if e["scheme"] != "" {
				scheme = e["scheme"]
			}
			var request *Message
			if e["request"] != "" {
				request = readMessage(t, e["request"], scheme, nil)
			}
			m := readMessage(t, e["message"], scheme, request)
			m.Structured = map[string]Kind{"example-dict": Dictionary}
			got, err := Base(m, e["input"])
			if err != nil {
				t.Fatal(err)
			}
			bad := e["verdict"] == "bad"
			if want, given := e["base"]; given && (got == want) == bad {
				t.Errorf("signature base:\n%s\nwant (equal: %v)\n%s", got, !bad, want)
			}
			if e["key"] != "" && checkExample(t, pemKeys, e["key"], got, e["signature"]) == bad {
				t.Errorf("the signature is good: %v", bad)
			}
		})
	}
}

// checkExample reports whether a signature by one of the RFC's keys is good.
func checkExample(t *testing.T, pemKeys example, name, base, signature string) bool {
	t.Helper()
	sig, err := base64.StdEncoding.DecodeString(signature)
	if err != nil {
		t.Fatal(err)
	}
	msg, h256, h512 := []byte(base), sha256.Sum256([]byte(base)), sha512.Sum512([]byte(base))
	switch name {
	case "test-shared-secret":
		secret, err := base64.StdEncoding.DecodeString(pemKeys[name])
		if err != nil {
			t.Fatal(err)
		}
		h := hmac.New(sha256.New, secret)
		h.Write(msg)
		return hmac.Equal(h.Sum(nil), sig)
	case "test-key-rsa":
		block, _ := pem.Decode([]byte(pemKeys[name]))
		key, err := x509.ParsePKCS1PublicKey(block.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		return rsa.VerifyPKCS1v15(key, crypto.SHA256, h256[:], sig) == nil
	}
	block, _ := pem.Decode([]byte(pemKeys[name]))
	key, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	switch key := key.(type) {
	case *rsa.PublicKey:
		return rsa.VerifyPSS(key, crypto.SHA512, h512[:], sig, &rsa.PSSOptions{SaltLength: 64}) == nil
	case *ecdsa.PublicKey: // package keys wants low s, which the RFC does not
		return ecdsa.Verify(key, h256[:], new(big.Int).SetBytes(sig[:32]), new(big.Int).SetBytes(sig[32:]))
	default:
		raw := block.Bytes[len(block.Bytes)-32:]
		return keys.VerifyEd25519(raw, msg, sig)
	}
}

// TestRFC9421Sign makes the signature of section B.2.6 anew: ed25519 is deterministic.
func TestRFC9421Sign(t *testing.T) {
	all, pemKeys := examples(t)
	e := all["B.2.6 b26"]
	seed, err := base64.RawURLEncoding.DecodeString(pemKeys["test-key-ed25519-seed"])
	if err != nil {
		t.Fatal(err)
	}
	key, err := keys.NewPrivate(keys.Ed25519, seed)
	if err != nil {
		t.Fatal(err)
	}
	base, err := Base(readMessage(t, e["message"], "https", nil), e["input"])
	if err != nil {
		t.Fatal(err)
	}
	sig, err := key.Sign([]byte(base))
	if err != nil {
		t.Fatal(err)
	}
	if got := base64.StdEncoding.EncodeToString(sig); got != e["signature"] {
		t.Errorf("signature %s, want %s", got, e["signature"])
	}
}

// TestBaseRefuses goes through what section 2.5 calls errors.
func TestBaseRefuses(t *testing.T) {
	request := &Message{
		Method: "GET", Scheme: "https", Host: "example.com", Target: "/a?x=1&x=2&y=%FF&z", Header: http.Header{
			"Dict": {"a=1, b=2"}, "Text": {"("}, "Broken": {"a\nb"}, "Latin": {"\xe9"}, "@method": {"POST"},
			"Twice": {"1"}, "twice": {"2"},
		},
		Structured: map[string]Kind{"text": Item},
	}
	answer := &Message{Status: 200, Header: http.Header{"A": {"1"}}, Request: request}
	for _, c := range []struct {
		m     *Message
		input string
	}{
		{request, ""}, {request, "sig1=()"}, {request, `"@method"`}, {request, `("@method"), ("@path")`}, {request, `( "@method")`},
		{request, `("@method");created=01`}, {request, `("@method");a=1;a=2`}, {request, `("@method" "@method")`},
		{request, `(@method)`}, {request, `(method)`}, {request, `("@method"`}, {request, `("@method) "@path")`},
		{answer, `("dict";req;key="a" "dict";key="a";req)`}, {request, `("dict";key="c")`}, {request, `("dict";key=a)`}, {request, `("text";key="a")`},
		{request, `("dict";sf)`}, {request, `("text";sf)`}, {request, `("dict";sf;bs)`}, {request, `("dict";key="a";bs)`},
		{request, `("dict";sf=?0)`}, {request, `("dict";tr)`}, {request, `("dict";req)`}, {request, `("dict";name="a")`}, {request, `("dict";xx)`},
		{request, `("Dict")`}, {request, `("")`}, {request, `("dict ")`}, {request, `("missing")`}, {request, `("broken")`}, {request, `("latin")`},
		{request, `("twice")`}, {request, `("@status")`}, {request, `("@signature-params")`}, {request, `("@unknown")`}, {request, `("@method";sf)`},
		{request, `("@query-param")`}, {request, `("@query-param";name="x")`}, {request, `("@query-param";name="y")`}, {request, `("@query-param";name="no")`},
		{answer, `("@method")`}, {answer, `("@status";req)`}, {answer, `("b")`},
		{&Message{Method: "GET", Request: request}, `("@method";req)`},
		{&Message{Status: 200, Header: http.Header{}}, `("@method";req)`},
		{&Message{Status: 200, Request: answer}, `("@status" "a";req)`},
		{&Message{Method: "OPTIONS", Scheme: "https", Host: "a", Target: "*"}, `("@path")`},
		{&Message{Method: "CONNECT", Scheme: "https", Host: "a", Target: "a:1"}, `("@query")`},
		{&Message{Method: "GET", Scheme: "https", Target: "/"}, `("@authority")`},
		{&Message{Method: "GET", Scheme: "ftp", Host: "a", Target: "/"}, `("@target-uri")`},
		{&Message{Method: "GET\n", Scheme: "https", Host: "a", Target: "/"}, `("@method")`},
		{request, `("` + strings.Repeat("a", MaxInput) + `")`},
	} {
		if base, err := Base(c.m, c.input); err == nil {
			t.Errorf("%.80s: %q", c.input, base)
		}
	}
}

// TestTargets: the parts of a URL in normal form, whatever the form of the request line.
func TestTargets(t *testing.T) {
	const input = `("@authority" "@path" "@query" "@target-uri")`
	for _, c := range []struct{ scheme, host, target, want string }{
		{"https", "Example.COM:443", "/", "example.com / ? https://example.com/"},
		{"https", "example.com:80", "/?", "example.com:80 / ? https://example.com:80/?"},
		{"http", "example.com:80", "/a%2fb?", "example.com /a%2fb ? http://example.com/a%2fb?"},
		{"http", "[::1]:80", "//a/../b?c?d", "[::1] //a/../b ?c?d http://[::1]//a/../b?c?d"},
		{"http", "[::80]:", "/a?b://c", "[::80] /a ?b://c http://[::80]/a?b://c"},
		{"https", "a:444", "HTTPS://a:444?q=/", "a:444 / ?q=/ https://a:444/?q=/"},
		{"https", "a", "https://a", "a / ? https://a/"},
	} {
		m := &Message{Method: "GET", Scheme: c.scheme, Host: c.host, Target: c.target}
		base, err := Base(m, input)
		if err != nil {
			t.Errorf("%+v: %v", c, err)
			continue
		}
		var got []string
		for line := range bytes.Lines([]byte(base)) {
			_, v, _ := strings.Cut(strings.TrimSuffix(string(line), "\n"), ": ")
			got = append(got, v)
		}
		if s := strings.Join(got[:4], " "); s != c.want {
			t.Errorf("%+v:\n%s, want\n%s", c, s, c.want)
		}
	}
}
