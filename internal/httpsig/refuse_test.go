// SPDX-License-Identifier: Apache-2.0

package httpsig

import (
	"bufio"
	"encoding/base64"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"cityid/keys"
)

// TestMutations changes each thing that is signed, to something that could be signed as well.
func TestMutations(t *testing.T) {
	x := newExchange(t)
	requests, responses := RequestProfile("cityid-fetch"), ResponseProfile()
	set := func(name, value string) func(*Message) {
		return func(m *Message) { m.Header.Set(name, value) }
	}
	input := func(old, new string) func(*Message) {
		return func(m *Message) {
			v := m.Header.Get("Signature-Input")
			if !strings.Contains(v, old) {
				t.Fatalf("%s has no %s", v, old)
			}
			m.Header.Set("Signature-Input", strings.Replace(v, old, new, 1))
		}
	}
	ofRequest := map[string]func(*Message){
		"@method":        func(m *Message) { m.Method = "POST" },
		"@authority":     func(m *Message) { m.Host = "gateway2.example" },
		"port":           func(m *Message) { m.Host = "gateway.example:80" },
		"@path":          func(m *Message) { m.Target = strings.Replace(m.Target, "1?", "2?", 1) },
		"encoding":       func(m *Message) { m.Target = strings.Replace(m.Target, "%2F", "%2f", 1) },
		"decoded":        func(m *Message) { m.Target = strings.Replace(m.Target, "%2F", "/", 1) },
		"encoded":        func(m *Message) { m.Target = strings.Replace(m.Target, "air", "%61ir", 1) },
		"dot segments":   func(m *Message) { m.Target = strings.Replace(m.Target, "/air", "/x/../air", 1) },
		"@query":         func(m *Message) { m.Target = strings.Replace(m.Target, "10", "11", 1) },
		"no query":       func(m *Message) { m.Target, _, _ = strings.Cut(m.Target, "?") },
		"order":          func(m *Message) { m.Target = "/data/air/stations%2F1?q=a%20b&limit=10" },
		"plus":           func(m *Message) { m.Target = strings.Replace(m.Target, "a%20b", "a+b", 1) },
		"content-digest": set("Content-Digest", Digest([]byte("x"))),
		"data-agreement": set("Data-Agreement", strings.Replace(testAgreement, "3", "4", 1)),
		"created":        input("created=1767323045", "created=1767323046"),
		"expires":        input("expires=1767323105", "expires=1767323104"),
		"nonce":          input("nonce=\"AAE", "nonce=\"AQE"),
		"keyid":          input(x.signedRequest.KeyID, x.signedResponse.KeyID),
	}
	for name, change := range ofRequest {
		m := copyOf(x.request)
		change(m)
		if _, err := requests.Verify(m, testTime, lookup); !errors.Is(err, ErrSignature) {
			t.Errorf("request, %s: %v", name, err)
		}
		// The response covers the same of the request, but for its parameters.
		m = copyOf(x.response)
		change(m.Request)
		_, err := responses.Verify(m, testTime, lookup)
		isParameter := strings.Contains("created expires nonce keyid", name)
		if isParameter && err != nil || !isParameter && !errors.Is(err, ErrSignature) {
			t.Errorf("response to a request with another %s: %v", name, err)
		}
	}
	other := make([]byte, SignatureSize)
	for name, change := range map[string]func(*Message){
		"@status":        func(m *Message) { m.Status = 404 },
		"content-digest": set("Content-Digest", Digest(nil)),
		"content-type":   set("Content-Type", "application/json"),
		"data-receipt":   set("Data-Receipt", ":oQEA:"),
		"signature;req":  func(m *Message) { m.Request.Header.Set("Signature", "sig1="+bytesField(other)) },
		"created":        input("created=1767323046", "created=1767323045"),
		"keyid":          input(x.signedResponse.KeyID, x.signedRequest.KeyID),
		"signature":      set("Signature", "sig1="+bytesField(x.signedRequest.Signature)),
	} {
		m := copyOf(x.response)
		change(m)
		if _, err := responses.Verify(m, testTime, lookup); !errors.Is(err, ErrSignature) {
			t.Errorf("response, %s: %v", name, err)
		}
	}
	if _, err := RequestProfile("cityid-proof").Verify(x.request, testTime, lookup); !errors.Is(err, ErrMalformed) {
		t.Errorf("another tag: %v", err)
	}
}

// TestEveryOctet changes each octet of the bases, the fields and the signatures.
func TestEveryOctet(t *testing.T) {
	x := newExchange(t)
	for _, c := range []struct {
		p *Profile
		m *Message
		s *Signed
	}{{RequestProfile("cityid-fetch"), x.request, x.signedRequest}, {ResponseProfile(), x.response, x.signedResponse}} {
		for i := range len(c.s.Base) {
			b := []byte(c.s.Base)
			b[i] ^= 1
			if _, err := c.p.VerifyBase(string(b), c.s.Signature, lookup); err == nil {
				t.Errorf("octet %d of the base changed:\n%s", i, b)
			}
			if _, err := c.p.ParseBase(c.s.Base[:i]); err == nil {
				t.Errorf("%d octets of the base are enough", i)
			}
		}
		for i := range c.s.Signature {
			sig := append([]byte(nil), c.s.Signature...)
			sig[i] ^= 0x80
			if _, err := c.p.VerifyBase(c.s.Base, sig, lookup); !errors.Is(err, ErrSignature) {
				t.Errorf("octet %d of the signature changed: %v", i, err)
			}
			if _, err := c.p.VerifyBase(c.s.Base, sig[:i], lookup); !errors.Is(err, ErrMalformed) {
				t.Errorf("%d octets of signature: %v", i, err)
			}
		}
		for _, name := range []string{"Signature-Input", "Signature"} {
			v := c.m.Header.Get(name)
			for i := range len(v) {
				m := copyOf(c.m)
				m.Header.Set(name, v[:i]+string(v[i]^1)+v[i+1:])
				if _, err := c.p.Verify(m, testTime, lookup); err == nil {
					t.Errorf("%s: octet %d changed", m.Header.Get(name), i)
				}
			}
		}
	}
}

// refuses checks that each of the changes makes a message that does not fit the profile.
func refuses(t *testing.T, p *Profile, good *Message, changes map[string]func(*Message)) {
	t.Helper()
	for name, change := range changes {
		m := copyOf(good)
		change(m)
		if _, err := p.Verify(m, testTime, lookup); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		} else if strings.Count(err.Error(), ErrMalformed.Error()) != 1 || len(err.Error()) > 1200 {
			t.Errorf("%s: the error should say it once and briefly: %v", name, err)
		}
	}
}

// field returns a change that gives a field these values under exactly this name.
func field(name string, values ...string) func(*Message) {
	return func(m *Message) { m.Header[name] = values }
}

// TestSmuggledSignatures: messages that have the good signature, and more or other things in its two fields.
func TestSmuggledSignatures(t *testing.T) {
	x := newExchange(t)
	in, sig := x.request.Header.Get("Signature-Input"), x.request.Header.Get("Signature")
	inner, value := strings.TrimPrefix(in, "sig1="), strings.TrimPrefix(sig, "sig1=")
	_, params, _ := strings.Cut(in, ")")
	both := func(in, sig string) func(*Message) {
		return func(m *Message) { field("Signature-Input", in)(m); field("Signature", sig)(m) }
	}
	encode := func(b []byte) string { return base64.StdEncoding.EncodeToString(b) }
	refuses(t, RequestProfile("cityid-fetch"), x.request, map[string]func(*Message){
		"two input fields":            field("Signature-Input", in, in),
		"two signature fields":        field("Signature", sig, sig),
		"a signature's spelling":      field("SIGNATURE", sig),
		"two labels, both good":       both(in+", sig2="+inner, sig+", sig2="+value),
		"two labels in one field":     field("Signature", sig+", sig2="+value),
		"a label without a signature": field("Signature-Input", in+", sig2="+inner),
		"the same label twice":        field("Signature-Input", in+", "+in),
		"the same label, last good":   field("Signature", "sig1="+bytesField(make([]byte, 64))+", "+sig),
		"another label":               both("sig2="+inner, "sig2="+value),
		"labels that differ":          field("Signature", "sig2="+value),
		"no components":               field("Signature-Input", "sig1=()"+params),
		"a space before":              field("Signature-Input", " "+in),
		"a space behind":              field("Signature-Input", in+" "),
		"two spaces":                  field("Signature-Input", strings.Replace(in, " ", "  ", 1)),
		"a space in the parameters":   field("Signature-Input", strings.Replace(in, ";created", "; created", 1)),
		"a comma behind":              field("Signature-Input", in+","),
		"garbage behind":              field("Signature-Input", in+"x"),
		"a fold":                      field("Signature-Input", strings.Replace(in, " ", "\r\n ", 1)),
		"a huge input":                field("Signature-Input", in+`;x="`+strings.Repeat("a", 1<<20)+`"`),
		"many components":             field("Signature-Input", "sig1=("+strings.Repeat(`"a" `, 1<<16)+`"a")`+params),
		"a huge signature":            field("Signature", sig+strings.Repeat(" ", 1<<20)),
		"a signature without colons":  field("Signature", strings.ReplaceAll(sig, ":", "")),
		"a signature as a list":       field("Signature", "sig1=("+value+")"),
		"a signature with a param":    field("Signature", sig+";a"),
		"a signature without padding": field("Signature", strings.TrimSuffix(sig, "=:")+":"),
		"a signature with bits left":  field("Signature", strings.Replace(sig, "g==", "h==", 1)),
		"63 octets":                   field("Signature", "sig1=:"+encode(x.signedRequest.Signature[:63])+":"),
		"65 octets":                   field("Signature", "sig1=:"+encode(append([]byte{0}, x.signedRequest.Signature...))+":"),
	})
	for _, name := range []string{"Signature", "Signature-Input"} {
		m := copyOf(x.request)
		m.Header.Del(name)
		if _, err := RequestProfile("cityid-fetch").Verify(m, testTime, lookup); !errors.Is(err, ErrUnsigned) {
			t.Errorf("without %s: %v", name, err)
		}
	}
}

// TestSmuggledParameters: components and parameters that are not those of the profile.
func TestSmuggledParameters(t *testing.T) {
	x := newExchange(t)
	in := x.request.Header.Get("Signature-Input")
	input := func(old, new string) func(*Message) {
		return field("Signature-Input", strings.Replace(in, old, new, 1))
	}
	component := func(with string) func(*Message) { return input(`"data-agreement"`, with) }
	refuses(t, RequestProfile("cityid-fetch"), x.request, map[string]func(*Message){
		"one component less":          input(` "data-agreement"`, ""),
		"one component more":          component(`"data-agreement" "accept"`),
		"a component twice":           component(`"data-agreement" "data-agreement"`),
		"another order":               component(`"data-agreement" "content-digest"`),
		"sf":                          component(`"data-agreement";sf`),
		"bs":                          component(`"data-agreement";bs`),
		"tr":                          component(`"data-agreement";tr`),
		"req":                         component(`"data-agreement";req`),
		"key":                         component(`"data-agreement";key="a"`),
		"req=?0":                      component(`"data-agreement";req=?0`),
		"an unknown parameter":        component(`"data-agreement";x`),
		"capitals":                    component(`"Data-Agreement"`),
		"a token":                     component(`data-agreement`),
		"signature-params":            component(`"@signature-params"`),
		"alg":                         field("Signature-Input", in+`;alg="ed25519"`),
		"alg first":                   input(";created", `;alg="ed25519";created`),
		"created twice":               field("Signature-Input", in+";created=1767323045"),
		"nonce twice":                 input(";nonce", `;nonce="AAAAAAAAAAAAAAAAAAAAAA";nonce`),
		"no created":                  input(";created=1767323045", ""),
		"no expires":                  input(";expires=1767323105", ""),
		"no nonce":                    input(`;nonce="`+testNonce+`"`, ""),
		"no keyid":                    input(`;keyid="`+x.signedRequest.KeyID+`"`, ""),
		"no tag":                      input(`;tag="cityid-fetch"`, ""),
		"parameters in another order": input(";created=1767323045;expires=1767323105", ";expires=1767323105;created=1767323045"),
		"created a string":            input("created=1767323045", `created="1767323045"`),
		"created a decimal":           input("created=1767323045", "created=1767323045.0"),
		"created a date":              input("created=1767323045", "created=@1767323045"),
		"created with a zero":         input("created=1767323045", "created=01767323045"),
		"created before 1970":         input("created=1767323045", "created=-1"),
		"created after 9999":          input("created=1767323045", "created=253402300800"),
		"expires too late":            input("expires=1767323105", "expires=1767323106"),
		"expires at once":             input("expires=1767323105", "expires=1767323045"),
		"a nonce of 15 octets":        input(testNonce, "AAECAwQFBgcICQoLDA0O"),
		"a nonce of 17 octets":        input(testNonce, testNonce+"A"),
		"a nonce with bits left":      input(testNonce, testNonce[:21]+"x"),
		"a nonce in base64":           input(testNonce, "++ECAwQFBgcICQoLDA0ODw"),
		"a keyid with escapes":        input(`keyid="`, `keyid="\\`),
		"a keyid with a space":        input(`keyid="`, `keyid="a `),
		"an empty keyid":              input(x.signedRequest.KeyID, ""),
		"a token as tag":              input(`"cityid-fetch"`, "cityid-fetch"),
		"a longer tag":                input(`cityid-fetch`, "cityid-fetch2"),
	})
}

// TestSmuggledValues: fields and request targets whose values have no place in a base, or more than one reading.
func TestSmuggledValues(t *testing.T) {
	x := newExchange(t)
	refuses(t, RequestProfile("cityid-fetch"), x.request, map[string]func(*Message){
		"two agreements":            field("Data-Agreement", testAgreement, testAgreement),
		"two digests":               field("Content-Digest", Digest(nil), Digest(nil)),
		"an empty second agreement": field("Data-Agreement", testAgreement, ""),
		"another spelling":          field("data-agreement", testAgreement),
		"a fold in a field":         field("Data-Agreement", testAgreement[:9]+"\r\n "+testAgreement[9:]),
		"a space in a field":        field("Data-Agreement", testAgreement+" "),
		"a tab in a field":          field("Data-Agreement", testAgreement[:9]+"\t"+testAgreement[9:]),
		"a line in a field":         field("Data-Agreement", testAgreement+"\n\"@path\": /"),
		"an octet not ASCII":        field("Data-Agreement", testAgreement+"\xe9"),
		"an empty field":            field("Data-Agreement", ""),
		"a huge field":              field("Data-Agreement", strings.Repeat("a", MaxValue+1)),
		"content encoding":          field("Content-Encoding", "gzip"),
		"content encoding identity": field("Content-Encoding", "identity"),
		"a second digest":           field("Content-Digest", Digest(nil)+", sha-512=:AA==:"),
		"absolute form":             func(m *Message) { m.Target = "https://gateway.example" + m.Target },
		"a bare question mark":      func(m *Message) { m.Target = "/data/air?" },
		"a fragment":                func(m *Message) { m.Target += "#x" },
		"a space in the path":       func(m *Message) { m.Target = "/a b" },
		"a half escape":             func(m *Message) { m.Target = "/a%2" },
		"a wrong escape":            func(m *Message) { m.Target = "/a%zz" },
		"UTF-8 in the path":         func(m *Message) { m.Target = "/某" },
		"a bracket in the query":    func(m *Message) { m.Target = "/a?b[]=1" },
		"a huge path":               func(m *Message) { m.Target = "/" + strings.Repeat("a", MaxValue) },
		"the target *":              func(m *Message) { m.Target = "*" },
		"no target":                 func(m *Message) { m.Target = "" },
		"a method in lower case":    func(m *Message) { m.Method = "get" },
		"a user in the authority":   func(m *Message) { m.Host = "user@gateway.example" },
		"a long IPv6 address":       func(m *Message) { m.Host = "[0:0:0:0:0:0:0:1]" },
		"a zone":                    func(m *Message) { m.Host = "[fe80::1%25eth0]" },
		"half a bracket":            func(m *Message) { m.Host = "[::1" },
		"IPv4 in brackets":          func(m *Message) { m.Host = "[127.0.0.1]" },
		"IPv6 without brackets":     func(m *Message) { m.Host = "::1" },
		"port 0":                    func(m *Message) { m.Host = "a:0" },
		"port 65536":                func(m *Message) { m.Host = "a:65536" },
		"port 080":                  func(m *Message) { m.Host = "a:080" },
		"no host":                   func(m *Message) { m.Host = "" },
		"a host name in UTF-8":      func(m *Message) { m.Host = "网.example" },
		"a response":                func(m *Message) { m.Status = 200 },
	})
	ofRequest := func(signature string) func(*Message) {
		return func(m *Message) { field("Signature", signature)(m.Request) }
	}
	refuses(t, ResponseProfile(), x.response, map[string]func(*Message){
		"a short signature of the request":  ofRequest("sig1=:AA==:"),
		"a signature with a parameter":      ofRequest("sig1=" + bytesField(x.signedRequest.Signature) + ";a"),
		"another label of the request":      ofRequest("sig2=" + bytesField(x.signedRequest.Signature)),
		"two signatures of the request":     func(m *Message) { field("Signature", "sig1=:AA==:", "sig2=:AA==:")(m.Request) },
		"a request target with an encoding": func(m *Message) { m.Request.Target = "/a?" },
		"a request":                         func(m *Message) { m.Status = 0 },
		"a huge base": func(m *Message) {
			long := strings.Repeat("a", 7000)
			m.Request.Target = "/" + long + "?" + long
			field("Data-Agreement", long)(m.Request)
			field("Data-Receipt", long)(m)
			field("Content-Type", long)(m)
		},
	})
	m := copyOf(x.response)
	m.Request = nil
	if _, err := ResponseProfile().Verify(m, testTime, lookup); err == nil {
		t.Error("a response without its request")
	}
	for status, good := range map[int]bool{100: false, 199: false, 200: true, 599: true, 600: false, 1200: false} {
		m := copyOf(x.response)
		m.Status = status
		if _, err := ResponseProfile().Sign(m, Params{Created: testTime, KeyID: "k"}, testKey(t, keys.Ed25519, 1)); (err == nil) != good {
			t.Errorf("status %d: %v", status, err)
		}
	}
}

// TestRepeatedOnTheWire: what a server reads as one field in two lines, a folded line, or capitals.
func TestRepeatedOnTheWire(t *testing.T) {
	x := newExchange(t)
	in, sig := x.request.Header.Get("Signature-Input"), x.request.Header.Get("Signature")
	for name, c := range map[string]struct {
		fields string
		good   bool
	}{
		"one line each":     {"signature-input: " + in + "\r\nSIGNATURE:" + sig + " \r\n", true},
		"two lines":         {"Signature-Input: " + in + "\r\nSignature: " + sig + "\r\nsignature: " + sig + "\r\n", false},
		"members in two":    {"Signature-Input: " + in + "\r\nSignature: " + sig + "\r\nSignature: sig2=:AA==:\r\n", false},
		"an empty line too": {"Signature-Input: " + in + "\r\nSignature: " + sig + "\r\nSignature:\r\n", false},
		"two agreements":    {"Signature-Input: " + in + "\r\nSignature: " + sig + "\r\nData-Agreement: \"x\"\r\n", false},
	} {
		wire := x.request.Method + " " + x.request.Target + " HTTP/1.1\r\nHost: Gateway.Example\r\nContent-Digest: " + Digest(nil) +
			"\r\nData-Agreement: " + testAgreement + "\r\n" + c.fields + "\r\n"
		r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(wire)))
		if err != nil {
			t.Fatal(err)
		}
		m, err := RequestReceived(r, "https")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := RequestProfile("cityid-fetch").Verify(m, testTime, lookup); (err == nil) != c.good {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestSignRefuses: nothing is signed that could not be verified.
func TestSignRefuses(t *testing.T) {
	key := testKey(t, keys.Ed25519, 1)
	good := Params{Created: testTime, Nonce: testNonce, KeyID: key.Public().String()}
	for name, change := range map[string]func(*Message, *Params){
		"no agreement":     func(m *Message, _ *Params) { m.Header.Del("Data-Agreement") },
		"two agreements":   func(m *Message, _ *Params) { m.Header.Add("Data-Agreement", testAgreement) },
		"no digest":        func(m *Message, _ *Params) { m.Header.Del("Content-Digest") },
		"a wrong digest":   func(m *Message, _ *Params) { m.Header.Set("Content-Digest", "sha-256=::") },
		"an encoding":      func(m *Message, _ *Params) { m.Header.Set("Content-Encoding", "gzip") },
		"a brace":          func(m *Message, _ *Params) { m.Target = "/a{b}" },
		"a question mark":  func(m *Message, _ *Params) { m.Target = "/a?" },
		"a keyid":          func(_ *Message, q *Params) { q.KeyID = "a\"b" },
		"a line as keyid":  func(_ *Message, q *Params) { q.KeyID = "a\nb" },
		"no keyid":         func(_ *Message, q *Params) { q.KeyID = "" },
		"a long keyid":     func(_ *Message, q *Params) { q.KeyID = strings.Repeat("a", 257) },
		"a nonce":          func(_ *Message, q *Params) { q.Nonce = "a" },
		"no time":          func(_ *Message, q *Params) { q.Created = time.Time{} },
		"too long":         func(_ *Message, q *Params) { q.Expires = testTime.Add(61 * time.Second) },
		"expired":          func(_ *Message, q *Params) { q.Expires = testTime },
		"after year 9999":  func(_ *Message, q *Params) { q.Created = time.Unix(maxSeconds+1, 0) },
		"1970-01-01 00:00": func(_ *Message, q *Params) { q.Created = time.Unix(0, 0) },
	} {
		m, q := testRequest(), good
		change(m, &q)
		if _, err := RequestProfile("cityid-fetch").Sign(m, q, key); err == nil || m.Header.Get("Signature") != "" {
			t.Errorf("%s: %v", name, err)
		}
	}
	m := testRequest()
	s, err := RequestProfile("cityid-fetch").Sign(m, Params{Created: testTime.Add(time.Second - 1), KeyID: "k"}, key)
	if err != nil || s.Params.Created != testTime || s.Expires != testTime.Add(time.Minute) || CheckNonce(s.Nonce) != nil {
		t.Errorf("%+v, %v", s, err)
	}
	again, err := RequestProfile("cityid-fetch").Sign(m, Params{Created: testTime, KeyID: "k"}, key)
	if err != nil || again.Nonce == s.Nonce || len(m.Header["Signature"]) != 1 {
		t.Errorf("signing again: %+v, %v", again, err)
	}
	for name, q := range map[string]Params{
		"a nonce": {Created: testTime, KeyID: "k", Nonce: testNonce},
		"an end":  {Created: testTime, KeyID: "k", Expires: testTime.Add(time.Second)},
	} {
		if _, err := ResponseProfile().Sign(testResponse(m), q, key); err == nil {
			t.Errorf("a response with %s", name)
		}
	}
	if _, err := ResponseProfile().Sign(m, Params{Created: testTime, KeyID: "k"}, key); !errors.Is(err, ErrMalformed) {
		t.Errorf("a request as a response: %v", err)
	}
}
