// SPDX-License-Identifier: Apache-2.0

package keys

import (
	"bytes"
	"crypto"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"strings"
	"testing"
)

const (
	testRPID   = "example.cn"
	testOrigin = "https://city.example.cn"
)

// rawWebAuthn encodes a key without any check.
func rawWebAuthn(point []byte, rpID, origin string) []byte {
	raw := join([]byte{byte(WebAuthnP256)}, point, []byte{byte(len(rpID))}, []byte(rpID))
	raw = binary.BigEndian.AppendUint16(raw, uint16(len(origin)))
	return append(raw, origin...)
}

// assertion is what an authenticator in software answers; its zero fields are set by ordinary.
type assertion struct {
	rpID       string
	flags      byte
	counter    uint32
	extensions []byte
	clientData string
}

func clientData(typ string, msg []byte, origin, rest string) string {
	return `{"type":"` + typ + `","challenge":"` + base64.RawURLEncoding.EncodeToString(msg) +
		`","origin":"` + origin + `"` + rest
}

func ordinary(msg []byte) assertion {
	return assertion{
		rpID:       testRPID,
		flags:      flagUserPresent | flagUserVerified,
		clientData: clientData("webauthn.get", msg, testOrigin, `,"crossOrigin":false}`),
	}
}

func (a assertion) authenticatorData() []byte {
	hash := sha256.Sum256([]byte(a.rpID))
	return join(binary.BigEndian.AppendUint32(join(hash[:], []byte{a.flags}), a.counter), a.extensions)
}

// sign answers with the DER signature of the key, as an authenticator does.
func (a assertion) sign(tb testing.TB, key *Private) (authenticatorData, clientData, der []byte) {
	tb.Helper()
	authenticatorData, clientData = a.authenticatorData(), []byte(a.clientData)
	clientHash := sha256.Sum256(clientData)
	digest := sha256.Sum256(join(authenticatorData, clientHash[:]))
	der, err := key.p256.Sign(nil, digest[:], crypto.SHA256)
	if err != nil {
		tb.Fatal(err)
	}
	return authenticatorData, clientData, der
}

// encode signs and encodes without the checks of WebAuthnSignature.
func (a assertion) encode(tb testing.TB, key *Private) []byte {
	tb.Helper()
	authenticatorData, clientData, der := a.sign(tb, key)
	sig, err := P256FromDER(der)
	if err != nil {
		tb.Fatal(err)
	}
	return encodeWebAuthnSignature(webAuthnSignature{authenticatorData, clientData, sig})
}

// makeWebAuthnVectors signs each faulty assertion with the right key, so that the fault named is the only
// one.
func makeWebAuthnVectors(t *testing.T) []vector {
	digest := sha256.Sum256([]byte("a transaction"))
	msg := digest[:]
	key := testKey(t, P256, 1)
	point := []byte(key.Public().Raw()[1:])
	pub := rawWebAuthn(point, testRPID, testOrigin)
	var out []vector
	add := func(name string, valid bool, change func(a *assertion)) {
		a := ordinary(msg)
		change(&a)
		out = append(out, vector{name, pub, msg, a.encode(t, key), valid})
	}
	client := func(typ, origin, rest string) func(a *assertion) {
		return func(a *assertion) { a.clientData = clientData(typ, msg, origin, rest) }
	}
	flags := func(f byte, extensions ...byte) func(a *assertion) {
		return func(a *assertion) { a.flags, a.extensions = f, extensions }
	}
	const get, sound, end = "webauthn.get", flagUserPresent | flagUserVerified, `,"crossOrigin":false}`

	add("ordinary", true, func(*assertion) {})
	add("counter is ignored", true, func(a *assertion) { a.counter = 1 << 31 })
	add("synchronised passkey (BE and BS)", true, flags(sound|0x18))
	add("reserved flags are ignored", true, flags(sound|0x22))
	add("extensions", true, flags(sound|flagExtensions, 0xa0))
	add("more client data", true, client(get, testOrigin, `,"crossOrigin":false,"extra":"do not compare clientDataJSON against a template"}`))
	add("client data of 2048 bytes", true, client(get, testOrigin,
		`,"crossOrigin":false,"x":"`+strings.Repeat("x", 2048-len(clientData(get, msg, testOrigin, `,"crossOrigin":false,"x":"`))-2)+`"}`))
	add("authenticator data of 1024 bytes", true, flags(sound|flagExtensions, make([]byte, 1024-37)...))

	add("user not present", false, flags(flagUserVerified))
	add("user not verified", false, flags(flagUserPresent))
	add("attested credential flag", false, flags(sound|flagAttested))
	add("attested credential and extension flags", false, flags(sound|flagAttested|flagExtensions, make([]byte, 40)...))
	add("extension flag without extensions", false, flags(sound|flagExtensions))
	add("extensions without the flag", false, flags(sound, 0xa0))
	add("authenticator data of 1025 bytes", false, flags(sound|flagExtensions, make([]byte, 1025-37)...))
	add("another RP id", false, func(a *assertion) { a.rpID = "example.com" })
	add("RP id is the origin's host", false, func(a *assertion) { a.rpID = "city.example.cn" })

	add("registration, not assertion", false, client("webauthn.create", testOrigin, end))
	add("another origin", false, client(get, "https://city.example.com", end))
	add("sibling origin under the same RP id", false, client(get, "https://town.example.cn", end))
	add("origin with a longer name", false, client(get, testOrigin+".evil.example", end))
	add("origin with a port", false, client(get, testOrigin+":8443", end))
	add("origin over http", false, client(get, "http://city.example.cn", end))
	add("cross origin", false, client(get, testOrigin, `,"crossOrigin":true}`))
	add("crossOrigin missing", false, client(get, testOrigin, `}`))
	add("crossOrigin runs on", false, client(get, testOrigin, `,"crossOrigin":falsehood}`))
	add("client data not closed", false, client(get, testOrigin, `,"crossOrigin":false`))
	add("client data not closed after a comma", false, client(get, testOrigin, `,"crossOrigin":false,"x":1`))
	add("client data goes on after its end", false, client(get, testOrigin, end+` `))
	add("client data closed twice", false, client(get, testOrigin, end+`}`))
	add("client data of 2049 bytes", false, client(get, testOrigin,
		`,"crossOrigin":false,"x":"`+strings.Repeat("x", 2049-len(clientData(get, msg, testOrigin, `,"crossOrigin":false,"x":"`))-2)+`"}`))
	add("space in the client data", false, func(a *assertion) { a.clientData = strings.Replace(a.clientData, ":", ": ", 1) })
	add("byte order mark", false, func(a *assertion) { a.clientData = "\ufeff" + a.clientData })
	add("members in another order", false, func(a *assertion) {
		a.clientData = `{"challenge":"` + base64.RawURLEncoding.EncodeToString(msg) + `","type":"webauthn.get","origin":"` + testOrigin + `","crossOrigin":false}`
	})
	add("challenge of another message", false, func(a *assertion) { *a = ordinary(msg[1:]) })
	add("padded challenge", false, func(a *assertion) { a.clientData = strings.Replace(a.clientData, `","origin`, `=","origin`, 1) })
	add("empty client data", false, func(a *assertion) { a.clientData = "" })

	good := ordinary(msg).encode(t, key)
	bytesOf := func(name string, pub, sig []byte) { out = append(out, vector{name, pub, msg, sig, false}) }
	bytesOf("high s", pub, otherS(good))
	bytesOf("another key", rawWebAuthn([]byte(testKey(t, P256, 2).Public().Raw()[1:]), testRPID, testOrigin), good)
	bytesOf("trailing byte", pub, join(good, []byte{0}))
	bytesOf("cut short", pub, good[:len(good)-1])
	bytesOf("empty signature", pub, []byte{})
	bytesOf("bare p256 signature of the message", pub, mustSign(t, key, msg))
	bytesOf("authenticator data cut short", pub, join([]byte{0, 36}, good[2:38], good[39:]))
	bytesOf("one bit of the counter changed", pub, flip(good, 8*(2+36)))
	bytesOf("p256 key, webauthn signature", []byte(key.Public().Raw()), good)
	bytesOf("key bound to another origin", rawWebAuthn(point, testRPID, "https://town.example.cn"), good)
	bytesOf("key bound to another RP id", rawWebAuthn(point, "city.example.cn", testOrigin), good)
	bytesOf("key whose RP id does not cover its origin", rawWebAuthn(point, testRPID, "https://city.example.com"), good)

	bound := func(name string, valid bool, rpID, origin string) {
		a := assertion{rpID: rpID, flags: sound, clientData: clientData(get, msg, origin, end)}
		out = append(out, vector{name, rawWebAuthn(point, rpID, origin), msg, a.encode(t, key), valid})
	}
	bound("loopback over http", true, "localhost", "http://localhost:8080")
	bound("name on the loopback over http", true, "city.localhost", "http://city.localhost:8080")
	bound("deeper name on the loopback over http", true, "city.localhost", "http://portal.city.localhost")
	bound("bare localhost for a name below it", false, "localhost", "http://city.localhost:8080")
	bound("sibling name on the loopback", false, "city.localhost", "http://town.localhost:8080")
	bound("name that only begins with localhost over http", false, "localhost.example.cn", "http://localhost.example.cn")
	bound("name that only ends like localhost over http", false, "city.mylocalhost", "http://city.mylocalhost")
	return out
}

func TestWebAuthnVectors(t *testing.T) {
	checkVectors(t, loadVectors(t, "webauthn.json", makeWebAuthnVectors(t)))
}

// TestWebAuthnEveryBit changes each bit of a good signature in turn.
func TestWebAuthnEveryBit(t *testing.T) {
	key, msg := testKey(t, P256, 1), []byte("a message of some bytes")
	pub := rawWebAuthn([]byte(key.Public().Raw()[1:]), testRPID, testOrigin)
	sig := ordinary(msg).encode(t, key)
	for bit := range 8 * len(sig) {
		if Verify(pub, msg, flip(sig, bit)) == nil {
			t.Errorf("accepted with bit %d changed", bit)
		}
	}
}

func TestWebAuthnBinding(t *testing.T) {
	label63 := strings.Repeat("a", 63)
	long := strings.Repeat(label63+".", 3) + strings.Repeat("b", 61)
	for _, c := range []struct {
		rpID, origin string
		ok           bool
	}{
		{"example.cn", "https://example.cn", true},
		{"example.cn", "https://a.b.example.cn", true},
		{"example.cn", "https://example.cn:8443", true},
		{"example.cn", "https://example.cn:80", true},
		{"xn--fiqs8s.xn--55qx5d.cn", "https://xn--fiqs8s.xn--55qx5d.cn", true},
		{"localhost", "http://localhost", true},
		{"localhost", "http://localhost:8080", true},
		{"localhost", "http://localhost:443", true},
		{"localhost", "https://localhost:8443", true},
		{"cityid", "https://cityid", true}, // a single-label name of an intranet
		{"city.localhost", "http://city.localhost", true},
		{"city.localhost", "http://city.localhost:8080", true},
		{"city.localhost", "https://city.localhost", true},
		{"city.localhost", "http://portal.city.localhost:443", true},
		{"portal.city.localhost", "http://portal.city.localhost", true},
		{long, "https://" + long + ":65535", true},
		{"1.2a.cn", "https://1.2a.cn", true},

		{"", "https://example.cn", false},
		{"cn", "https://example.cn", false}, // a suffix of one label
		{"localhost", "https://a.localhost", false},
		{"localhost", "http://a.localhost", false},
		{"a.localhost", "http://localhost", false},
		{"a.localhost", "http://b.localhost", false},
		{"a.localhost", "http://a.localhost:80", false},
		{"alocalhost", "http://alocalhost", false},
		{"localhost.cn", "http://localhost.cn", false},
		{"a.localhost.cn", "http://a.localhost.cn", false},
		{".localhost", "http://.localhost", false},
		{"a.localhost.", "http://a.localhost.", false},
		{"A.localhost", "http://A.localhost", false},
		{"ample.cn", "https://example.cn", false},
		{"example.cn", "https://badexample.cn", false},
		{"a.example.cn", "https://example.cn", false},
		{"Example.cn", "https://example.cn", false},
		{"example.cn", "https://Example.cn", false},
		{"example.cn.", "https://example.cn.", false},
		{".example.cn", "https://a.example.cn", false},
		{"-a.cn", "https://-a.cn", false},
		{"a-.cn", "https://a-.cn", false},
		{"a_b.cn", "https://a_b.cn", false},
		{"城市.cn", "https://城市.cn", false},
		{label63 + "a.cn", "https://" + label63 + "a.cn", false},
		{long + "b", "https://" + long + "b", false},
		{"127.0.0.1", "https://127.0.0.1", false},
		{"example.cn", "https://127.0.0.1", false},
		{"example.cn", "http://example.cn", false},
		{"example.cn", "http://a.example.cn", false},
		{"localhost", "http://localhost:80", false},
		{"example.cn", "https://example.cn:443", false},
		{"example.cn", "https://example.cn:", false},
		{"example.cn", "https://example.cn:0", false},
		{"example.cn", "https://example.cn:0443", false},
		{"example.cn", "https://example.cn:+81", false},
		{"example.cn", "https://example.cn:65536", false},
		{"example.cn", "https://example.cn/", false},
		{"example.cn", "https://user@example.cn", false},
		{"example.cn", "HTTPS://example.cn", false},
		{"example.cn", "example.cn", false},
		{"example.cn", "ftp://example.cn", false},
		{"example.cn", `https://example.cn"`, false},
		{"example.cn", "", false},
		{"example.cn", "https://" + strings.Repeat("a", 600), false},
	} {
		err := checkBinding(c.rpID, c.origin)
		if (err == nil) != c.ok {
			t.Errorf("RP id %q, origin %q: %v, want ok = %v", c.rpID, c.origin, err, c.ok)
		}
		if err != nil && !errors.Is(err, ErrPublicKey) {
			t.Errorf("RP id %q, origin %q: %v is not ErrPublicKey", c.rpID, c.origin, err)
		}
	}
}

// TestWebAuthnFromBrowser goes the way of the portal: the browser's key and answer, then Verify.
func TestWebAuthnFromBrowser(t *testing.T) {
	key, msg := testKey(t, P256, 1), []byte("message")
	uncompressed, err := key.p256.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	spki := join([]byte(spkiP256), uncompressed)
	pub, err := WebAuthnFromSPKI(spki, testRPID, testOrigin)
	if err != nil {
		t.Fatal(err)
	}
	if pub.Algorithm() != WebAuthnP256 || pub.RPID() != testRPID || pub.Origin() != testOrigin || !pub.CanSign() {
		t.Errorf("key is %v for %q at %q", pub.Algorithm(), pub.RPID(), pub.Origin())
	}
	if want := rawWebAuthn([]byte(key.Public().Raw()[1:]), testRPID, testOrigin); pub.Raw() != string(want) {
		t.Errorf("raw key is %x, want %x", pub.Raw(), want)
	}
	authenticatorData, clientData, der := ordinary(msg).sign(t, key)
	sig, err := WebAuthnSignature(authenticatorData, clientData, der)
	if err != nil {
		t.Fatal(err)
	}
	if err := pub.Verify(msg, sig); err != nil {
		t.Error(err)
	}

	for name, spki := range map[string][]byte{
		"empty": {}, "compressed": join([]byte(spkiP256), []byte(key.Public().Raw()[1:])),
		"trailing": join(spki, []byte{0}), "off the curve": flip(spki, 8*90), "another curve": flip(spki, 8*20),
	} {
		if _, err := WebAuthnFromSPKI(spki, testRPID, testOrigin); !errors.Is(err, ErrPublicKey) {
			t.Errorf("%s: %v, want ErrPublicKey", name, err)
		}
	}
	if _, err := WebAuthnFromSPKI(spki, "example.com", testOrigin); !errors.Is(err, ErrPublicKey) {
		t.Errorf("foreign RP id: %v, want ErrPublicKey", err)
	}
	for name, c := range map[string][3][]byte{
		"short authenticator data": {authenticatorData[:36], clientData, der},
		"long authenticator data":  {make([]byte, 1<<17), clientData, der},
		"long client data":         {authenticatorData, make([]byte, 1<<17), der},
		"not DER":                  {authenticatorData, clientData, der[1:]},
	} {
		if _, err := WebAuthnSignature(c[0], c[1], c[2]); !errors.Is(err, ErrSignature) {
			t.Errorf("%s: %v, want ErrSignature", name, err)
		}
	}
}

func FuzzWebAuthnSignature(f *testing.F) {
	key, msg := testKey(f, P256, 1), []byte("message")
	pub := rawWebAuthn([]byte(key.Public().Raw()[1:]), testRPID, testOrigin)
	good := ordinary(msg).encode(f, key)
	f.Add(good)
	f.Add(good[:40])
	f.Add([]byte{0, 37})
	f.Fuzz(func(t *testing.T, sig []byte) {
		verified := Verify(pub, msg, sig) == nil
		parsed, err := parseWebAuthnSignature(sig)
		if err != nil {
			if verified {
				t.Fatal("verified, though it does not parse")
			}
			return
		}
		if len(sig) > MaxSignatureSize {
			t.Fatalf("a signature of %d bytes parses", len(sig))
		}
		if !bytes.Equal(encodeWebAuthnSignature(parsed), sig) {
			t.Fatal("encoding again gives other bytes")
		}
		if verified && !bytes.Equal(sig, good) {
			t.Fatalf("forged: %x", sig)
		}
	})
}

func BenchmarkVerifyWebAuthn(b *testing.B) {
	key, msg := testKey(b, P256, 1), make([]byte, 32)
	pub := rawWebAuthn([]byte(key.Public().Raw()[1:]), testRPID, testOrigin)
	sig := ordinary(msg).encode(b, key)
	for b.Loop() {
		if err := Verify(pub, msg, sig); err != nil {
			b.Fatal(err)
		}
	}
}
