// SPDX-License-Identifier: Apache-2.0

package keys

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
)

func TestGenerate(t *testing.T) {
	for _, a := range []Algorithm{Ed25519, P256, X25519} {
		key, err := Generate(a, nil)
		if err != nil {
			t.Fatal(err)
		}
		other, err := Generate(a, nil)
		if err != nil {
			t.Fatal(err)
		}
		if key.Public() == other.Public() {
			t.Errorf("two random %v keys are the same", a)
		}
		if key.Public().Algorithm() != a {
			t.Errorf("%v key has algorithm %v", a, key.Public().Algorithm())
		}
		msg := []byte("message")
		sig, err := key.Sign(msg)
		if a == X25519 {
			if err == nil {
				t.Error("an x25519 key signed")
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if err := Verify([]byte(key.Public().Raw()), msg, sig); err != nil {
			t.Errorf("%v: %v", a, err)
		}
		if err := other.Public().Verify(msg, sig); !errors.Is(err, ErrSignature) {
			t.Errorf("%v: another key verifies: %v", a, err)
		}
	}
}

func TestGenerateFromBytes(t *testing.T) {
	source := bytes.Repeat([]byte{0x42}, 32)
	for _, a := range []Algorithm{Ed25519, P256, X25519} {
		one, err := Generate(a, bytes.NewReader(source))
		if err != nil {
			t.Fatal(err)
		}
		two, err := NewPrivate(a, source)
		if err != nil {
			t.Fatal(err)
		}
		if one.Public() != two.Public() {
			t.Errorf("%v: the same bytes give two keys", a)
		}
		if _, err := Generate(a, bytes.NewReader(source[1:])); err == nil {
			t.Errorf("%v: a key from 31 bytes", a)
		}
	}
	// A draw above the group order is thrown away.
	one, err := Generate(P256, bytes.NewReader(join(bytes.Repeat([]byte{0xff}, 32), source)))
	if err != nil {
		t.Fatal(err)
	}
	two, err := NewPrivate(P256, source)
	if err != nil {
		t.Fatal(err)
	}
	if one.Public() != two.Public() {
		t.Error("the second draw is not the key")
	}
	if _, err := Generate(P256, bytes.NewReader(bytes.Repeat([]byte{0xff}, 1000))); err == nil {
		t.Error("a key from a source that is not random")
	}
}

func TestNewPrivateRefuses(t *testing.T) {
	secret := bytes.Repeat([]byte{1}, 32)
	for name, c := range map[string]struct {
		a      Algorithm
		secret []byte
	}{
		"passkey": {WebAuthnP256, secret}, "sm2": {SM2, secret}, "none": {0, secret}, "short": {Ed25519, secret[1:]},
		"p256, 0": {P256, make([]byte, 32)}, "p256, n": {P256, p256N.Bytes()},
	} {
		if key, err := NewPrivate(c.a, c.secret); err == nil {
			t.Errorf("%s: made %v", name, key)
		}
	}
}

func TestX25519VerifiesNothing(t *testing.T) {
	pub := testKey(t, X25519, 1).Public()
	if err := pub.Verify([]byte("m"), make([]byte, 64)); !errors.Is(err, ErrPublicKey) {
		t.Errorf("%v, want ErrPublicKey", err)
	}
}

func TestPrivateDoesNotPrint(t *testing.T) {
	for _, a := range []Algorithm{Ed25519, P256, X25519} {
		key := testKey(t, a, 1)
		secret := hex.EncodeToString(key.secret[:])
		holder := struct{ Key *Private }{key}
		asJSON, err := json.Marshal(holder)
		if err != nil {
			t.Fatal(err)
		}
		printed := string(asJSON)
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d"} {
			printed += fmt.Sprintf(verb, key) + fmt.Sprintf(verb, *key) + fmt.Sprintf(verb, holder)
		}
		for _, form := range []string{secret, strings.ToUpper(secret), fmt.Sprint(key.secret[:4])[1:8]} {
			if strings.Contains(printed, form) {
				t.Errorf("%v: the secret is printed: %s", a, printed)
			}
		}
		if want := "private key of " + key.Public().String(); fmt.Sprint(key) != want {
			t.Errorf("printed %q, want %q", fmt.Sprint(key), want)
		}
	}
}

func BenchmarkSign(b *testing.B) {
	for _, a := range []Algorithm{Ed25519, P256} {
		key, msg := testKey(b, a, 1), make([]byte, 32)
		b.Run(a.String(), func(b *testing.B) {
			for b.Loop() {
				if _, err := key.Sign(msg); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
