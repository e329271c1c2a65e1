// SPDX-License-Identifier: Apache-2.0

package keys

import (
	"bytes"
	"crypto/ecdh"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
)

// testPublics returns one good key of each algorithm.
func testPublics(tb testing.TB) []Public {
	tb.Helper()
	passkey, err := ParsePublic(rawWebAuthn([]byte(testKey(tb, P256, 1).Public().Raw()[1:]), testRPID, testOrigin))
	if err != nil {
		tb.Fatal(err)
	}
	return []Public{testKey(tb, Ed25519, 1).Public(), testKey(tb, P256, 1).Public(), passkey, testKey(tb, X25519, 1).Public()}
}

func TestParsePublicRoundTrip(t *testing.T) {
	seen := map[Public]bool{}
	for i, p := range testPublics(t) {
		if p.Algorithm() != Algorithm(i+1) {
			t.Errorf("algorithm %v, want %v", p.Algorithm(), Algorithm(i+1))
		}
		if got, err := ParsePublic([]byte(p.Raw())); err != nil || got != p {
			t.Errorf("ParsePublic(Raw) of %v: %v, %v", p, got, err)
		}
		if got, err := ParsePublicText(p.String()); err != nil || got != p {
			t.Errorf("ParsePublicText(String) of %v: %v, %v", p, got, err)
		}
		encoded, err := json.Marshal(p)
		if err != nil {
			t.Fatal(err)
		}
		var back Public
		if err := json.Unmarshal(encoded, &back); err != nil || back != p {
			t.Errorf("through JSON, %v: %v, %v", p, back, err)
		}
		if a, err := ParseAlgorithm(p.Algorithm().String()); err != nil || a != p.Algorithm() {
			t.Errorf("ParseAlgorithm(%q) = %v, %v", p.Algorithm(), a, err)
		}
		if p.CanSign() != (p.Algorithm() != X25519) {
			t.Errorf("%v: CanSign is %v", p, p.CanSign())
		}
		if (p.RPID() != "") != (p.Algorithm() == WebAuthnP256) {
			t.Errorf("%v: RP id %q", p, p.RPID())
		}
		seen[p] = true
	}
	if len(seen) != 4 {
		t.Errorf("%d different keys, want 4", len(seen))
	}
}

// TestVerifyTellsKeysFromSignatures checks which of the two errors a caller sees.
func TestVerifyTellsKeysFromSignatures(t *testing.T) {
	for _, p := range testPublics(t) {
		raw := []byte(p.Raw())
		if err := Verify(raw[:len(raw)-1], nil, make([]byte, 64)); !errors.Is(err, ErrPublicKey) || errors.Is(err, ErrSignature) {
			t.Errorf("%v cut short: %v, want ErrPublicKey", p.Algorithm(), err)
		}
		if err := Verify(raw, nil, make([]byte, 64)); p.CanSign() && (!errors.Is(err, ErrSignature) || errors.Is(err, ErrPublicKey)) {
			t.Errorf("%v, no signature: %v, want ErrSignature", p.Algorithm(), err)
		}
	}
}

func TestZeroPublic(t *testing.T) {
	var p Public
	if p.Algorithm() != 0 || p.String() != "" || p.Raw() != "" || p.RPID() != "" || p.Origin() != "" || p.CanSign() {
		t.Errorf("the zero key has content: %#v", p)
	}
	if _, err := p.MarshalText(); !errors.Is(err, ErrPublicKey) {
		t.Errorf("MarshalText: %v", err)
	}
	if err := p.Verify(nil, nil); !errors.Is(err, ErrPublicKey) {
		t.Errorf("Verify: %v", err)
	}
}

func TestParsePublicRefuses(t *testing.T) {
	publics := testPublics(t)
	ed, p256, passkey, x := []byte(publics[0].Raw()), []byte(publics[1].Raw()), []byte(publics[2].Raw()), []byte(publics[3].Raw())
	bad := map[string][]byte{
		"empty":                         {},
		"algorithm alone":               {1},
		"algorithm 0":                   join([]byte{0}, ed[1:]),
		"sm2":                           join([]byte{5}, p256[1:]),
		"algorithm 6":                   join([]byte{6}, ed[1:]),
		"ed25519, short":                ed[:32],
		"ed25519, long":                 join(ed, []byte{0}),
		"ed25519, not on the curve":     ed25519Raw(unhex(t, notOnCurve)),
		"ed25519, y >= p":               ed25519Raw(unhex(t, "f0ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f")),
		"p256, short":                   p256[:33],
		"p256, long":                    join(p256, []byte{0}),
		"p256, not on the curve":        join([]byte{2, 2}, offP256(t)),
		"x25519, short":                 x[:32],
		"x25519, high bit":              flip(x, 8*32+7),
		"x25519, u = p + 9":             join([]byte{4}, unhex(t, "f6ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f")),
		"passkey, trailing byte":        join(passkey, []byte{0}),
		"passkey, short":                passkey[:len(passkey)-1],
		"passkey, point alone":          passkey[:34],
		"passkey, RP id cut":            passkey[:40],
		"passkey, not on the curve":     rawWebAuthn(join([]byte{2}, offP256(t)), testRPID, testOrigin),
		"passkey, foreign origin":       rawWebAuthn(passkey[1:34], testRPID, "https://example.com"),
		"passkey, longer than any":      join(passkey, make([]byte, MaxPublicSize)),
		"ed25519 read as p256":          join([]byte{2}, ed[1:]),
		"p256 read as webauthn-p256":    join([]byte{3}, p256[1:]),
		"p256 with an uncompressed tag": flip(p256, 8+2),
	}
	for _, enc := range smallOrder {
		bad["ed25519, small order "+enc] = ed25519Raw(unhex(t, enc))
	}
	for _, enc := range lowOrderX25519 {
		bad["x25519, small order "+enc] = join([]byte{byte(X25519)}, unhex(t, enc))
	}
	for name, raw := range bad {
		if p, err := ParsePublic(raw); !errors.Is(err, ErrPublicKey) || p != (Public{}) {
			t.Errorf("%s: %v, %v, want ErrPublicKey", name, p, err)
		}
	}
}

// TestLowOrderX25519 checks the list against the standard library.
func TestLowOrderX25519(t *testing.T) {
	key, err := ecdh.X25519().NewPrivateKey(bytes.Repeat([]byte{7}, 32))
	if err != nil {
		t.Fatal(err)
	}
	for _, enc := range lowOrderX25519 {
		point, err := ecdh.X25519().NewPublicKey(unhex(t, enc))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := key.ECDH(point); err == nil {
			t.Errorf("%s keeps a secret", enc)
		}
	}
}

func TestBelowPrime25519(t *testing.T) {
	p := unhex(t, "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f")
	below := unhex(t, "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f")
	if belowPrime25519(p) || !belowPrime25519(below) || belowPrime25519(flip(below, 255)) {
		t.Error("the bound is not the prime")
	}
	if !belowPrime25519(flip(p, 100)) || !belowPrime25519(make([]byte, 32)) {
		t.Error("a number below the prime is taken for one above")
	}
}

func TestParsePublicTextRefuses(t *testing.T) {
	text := testPublics(t)[0].String()
	_, encoded, _ := strings.Cut(text, ":")
	standard := strings.NewReplacer("-", "+", "_", "/").Replace(testPublics(t)[1].String()) // p256:... in the other alphabet
	if standard == testPublics(t)[1].String() {
		t.Fatal("the test key has neither - nor _ in its text")
	}
	for _, bad := range []string{
		"", ":", "ed25519", "ed25519:", encoded, ":" + encoded, "ED25519:" + encoded, "rsa:" + encoded, "sm2:" + encoded,
		"p256:" + encoded, text + "=", text + "\n", text + " ", " " + text, text + "A", text[:len(text)-1],
		text[:20] + "\n" + text[20:], "ed25519: " + encoded, standard,
		"ed25519:" + strings.Repeat("A", 2000),
		text[:len(text)-1] + "p", // its last bits are not zero
	} {
		if p, err := ParsePublicText(bad); !errors.Is(err, ErrPublicKey) {
			t.Errorf("%q: %v, %v, want ErrPublicKey", bad, p, err)
		}
	}
}

func TestAlgorithmNames(t *testing.T) {
	for a, want := range map[Algorithm]string{
		1: "ed25519", 2: "p256", 3: "webauthn-p256", 4: "x25519", 5: "sm2", 0: "algorithm(0)", 6: "algorithm(6)", 255: "algorithm(255)",
	} {
		if a.String() != want {
			t.Errorf("algorithm %d is %q, want %q", uint8(a), a, want)
		}
	}
	for _, name := range []string{"", "sm2", "algorithm(0)", "P256"} {
		if _, err := ParseAlgorithm(name); !errors.Is(err, ErrPublicKey) {
			t.Errorf("ParseAlgorithm(%q): %v, want ErrPublicKey", name, err)
		}
	}
}

// TestFingerprintPinned holds the fingerprints that people have written down.
func TestFingerprintPinned(t *testing.T) {
	want := []string{ // by algorithm number
		"80743 63029 74072 13506 10821 42937",
		"27878 64468 97400 63592 27770 31435",
		"80699 42849 72746 05580 88844 15958",
		"90530 24481 07434 27458 66208 02264",
	}
	for i, p := range testPublics(t) {
		if p.Fingerprint() != want[i] {
			t.Errorf("fingerprint of %v is %q, want %q", p, p.Fingerprint(), want[i])
		}
	}
}

func ExampleParsePublicText() {
	p, err := ParsePublicText("ed25519:11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(p.Algorithm())
	fmt.Println(p.Fingerprint())
	// Output:
	// ed25519
	// 71779 63129 12376 02405 93913 57438
}

func FuzzParsePublic(f *testing.F) {
	for _, p := range testPublics(f) {
		f.Add([]byte(p.Raw()))
	}
	for _, enc := range smallOrder {
		raw, err := hex.DecodeString(enc)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(ed25519Raw(raw))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		p, err := ParsePublic(raw)
		if err != nil {
			if !errors.Is(err, ErrPublicKey) {
				t.Fatalf("error of another kind: %v", err)
			}
			return
		}
		if p.Raw() != string(raw) {
			t.Fatalf("%x became %x", raw, p.Raw())
		}
		if q, err := ParsePublicText(p.String()); err != nil || q != p {
			t.Fatalf("%v does not survive its text form: %v", p, err)
		}
		if p.Algorithm() == WebAuthnP256 && string(rawWebAuthn(raw[1:34], p.RPID(), p.Origin())) != string(raw) {
			t.Fatalf("%x: RP id %q, origin %q", raw, p.RPID(), p.Origin())
		}
	})
}

func FuzzParsePublicText(f *testing.F) {
	for _, p := range testPublics(f) {
		f.Add(p.String())
	}
	f.Add("sm2:AA")
	f.Fuzz(func(t *testing.T, text string) {
		if p, err := ParsePublicText(text); err == nil && p.String() != text {
			t.Fatalf("%q became %q", text, p)
		}
	})
}

func BenchmarkParsePublic(b *testing.B) {
	for _, p := range testPublics(b) {
		raw := []byte(p.Raw())
		b.Run(p.Algorithm().String(), func(b *testing.B) {
			for b.Loop() {
				if _, err := ParsePublic(raw); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
