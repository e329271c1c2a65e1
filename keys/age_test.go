// SPDX-License-Identifier: Apache-2.0

package keys

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"filippo.io/age"
)

func TestAge(t *testing.T) {
	key, other := testKey(t, X25519, 1), testKey(t, X25519, 2)
	recipient, err := key.Public().AgeRecipient()
	if err != nil {
		t.Fatal(err)
	}
	identity, err := key.AgeIdentity()
	if err != nil {
		t.Fatal(err)
	}
	if got := identity.Recipient().String(); got != recipient.String() {
		t.Errorf("the identity is that of %s, not %s", got, recipient)
	}
	var sealed bytes.Buffer
	w, err := age.Encrypt(&sealed, recipient)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(w, "secret"); err != nil || w.Close() != nil {
		t.Fatal(err)
	}
	r, err := age.Decrypt(bytes.NewReader(sealed.Bytes()), identity)
	if err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(r); err != nil || string(b) != "secret" {
		t.Errorf("decrypted %q, %v", b, err)
	}
	stranger, err := other.AgeIdentity()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := age.Decrypt(bytes.NewReader(sealed.Bytes()), stranger); err == nil {
		t.Error("another key opens it")
	}
	for _, a := range []Algorithm{Ed25519, P256} {
		k := testKey(t, a, 1)
		if _, err := k.Public().AgeRecipient(); !errors.Is(err, ErrPublicKey) {
			t.Errorf("%v as recipient: %v", a, err)
		}
		if _, err := k.AgeIdentity(); !errors.Is(err, ErrPublicKey) {
			t.Errorf("%v as identity: %v", a, err)
		}
	}
}

func TestBech32(t *testing.T) {
	// BIP 173: the checksum of nothing, and the data of its longest example.
	for want, c := range map[string]struct {
		prefix string
		data   []byte
	}{
		"a12uel5l": {"a", nil},
		"abcdef1qpzry9x8gf2tvdw0s3jn54khce6mua7lmqqqxw": {"abcdef", unhex(t, "00443214c74254b635cf84653a56d7c675be77df")},
	} {
		if got := bech32(c.prefix, c.data); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}
