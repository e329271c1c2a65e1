// SPDX-License-Identifier: Apache-2.0

package label

import (
	"crypto/ed25519"
	"errors"
	"math/rand/v2"
	"strings"
	"testing"

	"cityid"
)

func code(t testing.TB, s string) cityid.Code {
	t.Helper()
	c, err := cityid.ParseCanonical(s)
	if err != nil {
		t.Fatalf("code %q: %v", s, err)
	}
	return c
}

func public(t testing.TB, s string) PublicURL {
	t.Helper()
	u, err := ParsePublicURL(s)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// testKey returns a fixed Ed25519 key: its seed is n followed by zeros.
func testKey(n byte) (cityid.PublicKey, func([]byte) ([]byte, error)) {
	seed := make([]byte, ed25519.SeedSize)
	seed[0] = n
	private := ed25519.NewKeyFromSeed(seed)
	key := cityid.PublicKey("\x01" + string(private.Public().(ed25519.PublicKey)))
	return key, func(message []byte) ([]byte, error) { return ed25519.Sign(private, message), nil }
}

func day(t testing.TB, s string) Day {
	t.Helper()
	d, err := ParseDay(s)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func testCertificate(t testing.TB) Certificate {
	t.Helper()
	key, sign := testKey(1)
	c, err := Sign(code(t, "MA.156.1301.02/20.010501/000045"), day(t, "2026-11-20"), day(t, "2028-11-19"), key, sign)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestParsePublicURL(t *testing.T) {
	tests := []struct{ in, want, host string }{
		{"https://id.example", "HTTPS://ID.EXAMPLE", "id.example"},
		{"HTTPS://Id.Example/", "HTTPS://ID.EXAMPLE", "id.example"},
		{"http://id.example:8080", "HTTP://ID.EXAMPLE:8080", "id.example:8080"},
		{"https://id.example:443", "HTTPS://ID.EXAMPLE", "id.example"},
		{"http://id.example:80/", "HTTP://ID.EXAMPLE", "id.example"},
		{"https://id.example:80", "HTTPS://ID.EXAMPLE:80", "id.example:80"},
		{"http://10.1.2.3", "HTTP://10.1.2.3", "10.1.2.3"},
		{"http://cityhall", "HTTP://CITYHALL", "cityhall"},
		{"https://id.example/ID/2", "HTTPS://ID.EXAMPLE/ID/2", "id.example"},
		{"https://xn--fiqs8s.example", "HTTPS://XN--FIQS8S.EXAMPLE", "xn--fiqs8s.example"},
		{"https://localhost.example", "HTTPS://LOCALHOST.EXAMPLE", "localhost.example"},
	}
	for _, tt := range tests {
		u, err := ParsePublicURL(tt.in)
		if err != nil || u.String() != tt.want || u.Host() != tt.host {
			t.Errorf("ParsePublicURL(%q) = %q, host %q, %v", tt.in, u, u.Host(), err)
		}
		if again, err := ParsePublicURL(u.String()); err != nil || again != u {
			t.Errorf("ParsePublicURL(%q) = %q, %v: not stable", u, again, err)
		}
	}
}

func TestRefusedPublicURL(t *testing.T) {
	tests := []struct{ in, why string }{
		{"", "must begin with"},
		{"id.example", "must begin with"},
		{"ftp://id.example", "must begin with"},
		{"https://", "host of 0 characters"},
		{"https:///MA", "host of 0 characters"},
		{"https://localhost", "--public-url"},
		{"https://LOCALHOST:8080", "--public-url"},
		{"https://demo.localhost", "--public-url"},
		{"https://printer.local", "--public-url"},
		{"https://node.localdomain", "--public-url"},
		{"https://node.invalid", "--public-url"},
		{"http://127.0.0.1", "--public-url"},
		{"http://127.9.8.7:8080", "--public-url"},
		{"http://0.0.0.0", "--public-url"},
		{"http://0.1.2.3", "--public-url"},
		{"http://169.254.1.1", "--public-url"},
		{"http://224.0.0.1", "multicast"},
		{"http://255.255.255.255", "reserved"},
		{"http://127.1", "neither a name nor"},
		{"http://2130706433", "neither a name nor"},
		{"http://0x7f000001", "neither a name nor"},
		{"http://0x7f.0.0.0x1", "neither a name nor"},
		{"http://0177.0.0.1", "neither a name nor"},
		{"http://[::1]", "only scheme, host, port"},
		{"https://localhost.", "not a host name"},
		{"https://-a.example", "not a host name"},
		{"https://a..example", "not a host name"},
		{"https://a_b.example", "unexpected '_'"},
		{"https://石家庄.example", "xn--"},
		{"https://id.example ", "unexpected character"},
		{"https://user@id.example", "only scheme, host, port"},
		{"https://id.example?x=1", "only scheme, host, port"},
		{"https://id.example#x", "only scheme, host, port"},
		{"https://id.example:0", "port"},
		{"https://id.example:", "port"},
		{"https://id.example:080", "port"},
		{"https://id.example:65536", "port"},
		{"https://id.example:80:80", "port"},
		{"https://id.example/id", `write the path as "ID"`},
		{"https://id.example/X", "reserved"},
		{"https://id.example/ID/EN", "reserved"},
		{"https://id.example/A.B", "only letters"},
		{"https://id.example//", "only letters"},
		{"https://" + strings.Repeat("a", 49) + ".bc", ""},
		{"https://" + strings.Repeat("a", 50) + ".bc", "choose a shorter host"},
	}
	for _, tt := range tests {
		_, err := ParsePublicURL(tt.in)
		if tt.why == "" {
			if err != nil {
				t.Errorf("ParsePublicURL(%q): %v", tt.in, err)
			}
		} else if err == nil || !strings.Contains(err.Error(), tt.why) {
			t.Errorf("ParsePublicURL(%q): got %v, want an error with %q", tt.in, err, tt.why)
		}
	}
}

// fieldOfLength returns a public URL and a code whose field text has n
// characters.
func fieldOfLength(t testing.TB, n int) (PublicURL, cityid.Code) {
	t.Helper()
	c := code(t, "MA.156.1301.02/20.010501/000045")
	pad := n - len("HTTPS://.ZZ/") - len(c.String())
	return public(t, "https://"+strings.Repeat("A", pad)+".ZZ"), c
}

func TestFieldLengths(t *testing.T) {
	for n, want := range map[int]int{45: 29, 46: 29, 47: 29, 48: 33, 66: 33, 67: 33} {
		u, c := fieldOfLength(t, n)
		s, err := FieldSymbol(u, c)
		if err != nil {
			t.Errorf("%d characters: %v", n, err)
			continue
		}
		if len(s.Text()) != n || s.Modules() != want {
			t.Errorf("%d characters: %d modules, want %d for %d", len(s.Text()), s.Modules(), want, n)
		}
	}
	u, c := fieldOfLength(t, 68)
	if _, err := FieldSymbol(u, c); err == nil || !strings.Contains(err.Error(), "at least 1 characters shorter") {
		t.Errorf("68 characters: got %v", err)
	}
	// The promise holds for the worst mix of characters, and for the best.
	for _, s := range []string{"MA.156.1301.ABCDEFGHIJK/20.010501", "123.456.123456789012"} {
		symbol, err := FieldSymbol(public(t, "https://a.zz"), code(t, s))
		if err != nil || symbol.Modules() != 29 {
			t.Errorf("%s: %v", s, err)
		}
	}
}

func TestRefusedField(t *testing.T) {
	u := public(t, "https://id.example")
	for _, s := range []string{"X", "EN", "ZH/20.010501", "API", "V1"} {
		if _, err := FieldURL(u, code(t, s)); err == nil || !strings.Contains(err.Error(), "reserved") {
			t.Errorf("FieldURL(%s): got %v", s, err)
		}
	}
	if _, err := FieldURL(u, cityid.Code{}); err == nil {
		t.Error("FieldURL of no code succeeded")
	}
	if _, err := FieldURL(PublicURL{}, code(t, "MA")); err == nil {
		t.Error("FieldURL of no URL succeeded")
	}
	if _, err := CertificateURL(PublicURL{}, testCertificate(t)); err == nil {
		t.Error("CertificateURL of no URL succeeded")
	}
}

// TestPayloadRoundTrip reads back what is written, whatever prefix and code.
func TestPayloadRoundTrip(t *testing.T) {
	urls := []string{"https://id.example", "http://10.0.0.1:8080", "https://id.example/ID", "https://id.example/MA/12", "https://id.example/A/B/C"}
	codes := []string{"MA", "MA.156", "1", "156.156.1301", "MA.156.1301.02", "MA/20.010501", "MA/20.010501/X", "MA.156.1301.02/20.010501.AB-1/000045.L1.E2"}
	certificate := testCertificate(t)
	for _, u := range urls {
		for _, c := range codes {
			want := Payload{Kind: KindField, Public: public(t, u), Code: code(t, c)}
			signed := want
			signed.Kind, signed.Certificate = KindCertificate, certificate
			signed.Certificate.Code = want.Code
			for _, p := range []Payload{want, signed} {
				for _, text := range []string{p.String(), strings.ToLower(p.String()), p.String() + "/"} {
					if got, err := ParsePayload(text); err != nil || got != p {
						t.Errorf("ParsePayload(%q) = %v, %v; want %v", text, got, err, p)
					}
				}
			}
			bare := Payload{Kind: KindCode, Code: want.Code}
			for _, text := range []string{c, strings.ToLower(c), want.Code.Display()} {
				if got, err := ParsePayload(text); err != nil || got != bare {
					t.Errorf("ParsePayload(%q) = %v, %v; want %v", text, got, err, bare)
				}
			}
		}
	}
}

func TestCheck(t *testing.T) {
	c := testCertificate(t)
	key, _ := testKey(1)
	other, _ := testKey(2)
	at := func(s string) cityid.Time { return day(t, s).Start() }
	holder := func(s string) Candidate { return Candidate{Holder: code(t, s), Key: key} }
	with := func(k Candidate, change func(*Candidate)) []Candidate {
		change(&k)
		return []Candidate{k}
	}
	forged := c
	forged.Signature[5] ^= 1
	moved := c
	moved.Code = code(t, "MA.156.1301.02/20.010501/000046")
	longer := c
	longer.Expires++
	earlier := c
	earlier.Issued--
	now := at("2027-06-01")
	city := holder("MA.156.1301")

	tests := []struct {
		name       string
		c          Certificate
		candidates []Candidate
		now        cityid.Time
		want       Verdict
	}{
		{"own key", c, []Candidate{holder("MA.156.1301.02/20.010501/000045")}, now, Valid},
		{"class", c, []Candidate{holder("MA.156.1301.02/20.010501")}, now, Valid},
		{"department", c, []Candidate{holder("MA.156.1301.02")}, now, Valid},
		{"city", c, []Candidate{city}, now, Valid},
		{"root", c, []Candidate{holder("MA")}, now, Valid},
		{"another city", c, []Candidate{holder("MA.156.1302")}, now, NoKey},
		{"province by its digits", c, []Candidate{holder("MA.156.13")}, now, NoKey},
		{"another department", c, []Candidate{holder("MA.156.1301.01")}, now, NoKey},
		{"a department whose code is a text prefix", c, []Candidate{holder("MA.156.1301.0")}, now, NoKey},
		{"a descendant's neighbour", c, []Candidate{holder("MA.156.1301.02/20.010501/00004")}, now, NoKey},
		{"no candidates", c, nil, now, NoKey},
		{"another key", c, []Candidate{{Holder: city.Holder, Key: other}}, now, NoKey},
		{"another algorithm", c, []Candidate{{Holder: city.Holder, Key: "\x02" + key[1:]}}, now, NoKey},
		{"several candidates", c, []Candidate{{Holder: city.Holder, Key: other}, holder("MA.156.1302"), city}, now, Valid},
		{"forged", forged, []Candidate{city}, now, BadSignature},
		{"forged and expired", forged, []Candidate{city}, at("2030-01-01"), BadSignature},
		{"moved to another code", moved, []Candidate{city}, now, BadSignature},
		{"longer", longer, []Candidate{city}, now, BadSignature},
		{"earlier", earlier, []Candidate{city}, now, BadSignature},
		{"day before", c, []Candidate{city}, at("2026-11-20") - 1, NotYetValid},
		{"first second", c, []Candidate{city}, at("2026-11-20"), Valid},
		{"last second", c, []Candidate{city}, at("2028-11-20") - 1, Valid},
		{"second after", c, []Candidate{city}, at("2028-11-20"), Expired},
		{"key later replaced", c, with(city, func(k *Candidate) { k.NotAfter = at("2027-01-01") }), now, Valid},
		{"key replaced before", c, with(city, func(k *Candidate) { k.NotAfter = at("2026-11-20") }), now, KeyNotInForce},
		{"key replaced on the day", c, with(city, func(k *Candidate) { k.NotAfter = at("2026-11-20") + 1 }), now, Valid},
		{"key not yet in force", c, with(city, func(k *Candidate) { k.NotBefore = at("2026-11-21") }), now, KeyNotInForce},
		{"key in force that evening", c, with(city, func(k *Candidate) { k.NotBefore = at("2026-11-21") - 1 }), now, Valid},
		{"key compromised later", c, with(city, func(k *Candidate) { k.CompromisedSince = at("2027-05-01") }), now, Compromised},
		{"compromised, says one record", c, append(with(city, func(k *Candidate) { k.CompromisedSince = 1 }), city), now, Compromised},
		{"not in force in one record, but in another", c, append(with(city, func(k *Candidate) { k.NotAfter = 1 }), city), now, Valid},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := Check(tt.c, tt.candidates, tt.now)
			if f.Verdict != tt.want {
				t.Errorf("got %v, want %v", f.Verdict, tt.want)
			}
			if (f.Key == key) != (tt.want != NoKey && tt.want != BadSignature) || f.Holder.IsZero() != (f.Key == "") {
				t.Errorf("finding rests on %q of %q", f.Key, f.Holder)
			}
			if f.Verdict.Undecided() != (tt.want == NoKey || tt.want == Compromised) {
				t.Errorf("undecided: %v", f.Verdict.Undecided())
			}
		})
	}
}

func TestHostIsNotSigned(t *testing.T) {
	c := testCertificate(t)
	key, _ := testKey(1)
	for _, u := range []string{"https://id.example", "http://other.example:8080/ID"} {
		text, err := CertificateURL(public(t, u), c)
		if err != nil {
			t.Fatal(err)
		}
		p, err := ParsePayload(text)
		if err != nil {
			t.Fatal(err)
		}
		if v := Check(p.Certificate, []Candidate{{Holder: c.Code, Key: key}}, c.Issued.Start()).Verdict; v != Valid {
			t.Errorf("%s: %v", u, v)
		}
	}
}

func TestRefusedSign(t *testing.T) {
	key, sign := testKey(1)
	_, otherSign := testKey(2)
	c, from, to := code(t, "MA.156.1301"), Day(100), Day(200)
	tests := []struct {
		name     string
		code     cityid.Code
		from, to Day
		key      cityid.PublicKey
		sign     func([]byte) ([]byte, error)
		why      string
	}{
		{"no code", cityid.Code{}, from, to, key, sign, "no code"},
		{"reserved", code(t, "X"), from, to, key, sign, "reserved"},
		{"dates", c, to, from, key, sign, "before it is issued"},
		{"algorithm", c, from, to, "\x02" + key[1:], sign, "need ed25519"},
		{"wrong key", c, from, to, key, otherSign, "does not verify"},
		{"short signature", c, from, to, key, func([]byte) ([]byte, error) { return make([]byte, 63), nil }, "63 octets"},
		{"signer fails", c, from, to, key, func([]byte) ([]byte, error) { return nil, errors.New("token removed") }, "token removed"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := Sign(tt.code, tt.from, tt.to, tt.key, tt.sign)
			if err == nil || !strings.Contains(err.Error(), tt.why) || got != (Certificate{}) {
				t.Errorf("got %v, %v; want an error with %q", got, err, tt.why)
			}
		})
	}
}

func TestDays(t *testing.T) {
	for s, want := range map[string]Day{"2020-01-01": 0, "2020-01-02": 1, "2026-11-20": 2515, "2199-06-06": 65535} {
		if d, err := ParseDay(s); err != nil || d != want || d.String() != s {
			t.Errorf("ParseDay(%q) = %d (%s), %v; want %d", s, d, d, err, want)
		}
	}
	for _, s := range []string{"2019-12-31", "2199-06-07", "2026-13-01", "2026-1-1", "", "1950-01-01", "9999-12-31"} {
		if d, err := ParseDay(s); err == nil {
			t.Errorf("ParseDay(%q) = %d", s, d)
		}
	}
}

// TestDigits checks the envelope's width and that it is read back.
func TestDigits(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	c := Certificate{Code: code(t, "MA")}
	for i := range 2000 {
		if i > 1 {
			for j := range c.Signature {
				c.Signature[j] = byte(r.Uint32())
			}
			c.KeyID = KeyID{byte(r.Uint32() >> (i % 9)), 1, 2, 3}
			c.Issued = Day(r.Uint32N(60000))
			c.Expires = c.Issued + Day(r.Uint32N(5000))
		}
		if i == 1 {
			c.KeyID, c.Issued, c.Expires = KeyID{255, 255, 255, 255}, 65535, 65535
			for j := range c.Signature {
				c.Signature[j] = 255
			}
		}
		s := c.digits()
		if got, err := parseDigits(c.Code, s); len(s) != 174 || err != nil || got != c {
			t.Fatalf("digits %q: read back as %v, %v", s, got, err)
		}
	}
}

func FuzzParsePayload(f *testing.F) {
	for _, s := range []string{"MA.156.1301", "https://id.example/ma.156.1301.02/20.010501/000045", "HTTPS://ID.EXAMPLE/ID/MA", "http://a/x/b", "http://127.0.0.1/MA", "::/"} {
		f.Add(s)
	}
	f.Add(Payload{Kind: KindCertificate, Public: public(f, "https://id.example"), Code: code(f, "MA"), Certificate: testCertificate(f)}.String())
	f.Add(markText(f, testMark(f)))
	f.Add(markText(f, testPlate(f)))
	f.Add(longestMark(f))
	f.Fuzz(func(t *testing.T, s string) {
		p, err := ParsePayload(s)
		if err != nil {
			if p != (Payload{}) {
				t.Errorf("payload %v beside error %v", p, err)
			}
			return
		}
		if again, err := ParsePayload(p.String()); err != nil || again != p {
			t.Errorf("%q is %v, but %q is %v, %v", s, p, p, again, err)
		}
		if p.Kind == KindCertificate && p.Certificate.Code != p.Code {
			t.Errorf("%q: two codes", s)
		}
		if p.Kind == KindSource {
			if err := p.Source.check(); err != nil || p.Source.Code != p.Code {
				t.Errorf("%q: two codes, or %v", s, err)
			}
		}
		if p.Kind != KindCode {
			if _, err := ParsePublicURL(p.Public.String()); err != nil {
				t.Errorf("%q points to %v", s, err)
			}
		}
	})
}

func FuzzCertificate(f *testing.F) {
	f.Add(testCertificate(f).digits())
	f.Add(strings.Repeat("9", 174))
	f.Add(strings.Repeat("0", 174))
	c := code(f, "MA.156.1301")
	key, _ := testKey(1)
	f.Fuzz(func(t *testing.T, s string) {
		got, err := parseDigits(c, s)
		if err != nil {
			return
		}
		if got.digits() != s {
			t.Errorf("%q is read as %q", s, got.digits())
		}
		if v := Check(got, []Candidate{{Holder: c, Key: key}}, got.Issued.Start()).Verdict; v == Valid {
			t.Errorf("%q is valid", s)
		}
	})
}
