// SPDX-License-Identifier: Apache-2.0

package keys

import (
	"crypto"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/elliptic"
	cryptorand "crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"

	"github.com/oasisprotocol/curve25519-voi/primitives/ed25519"
)

const secretSize = 32

// Private is a private key of algorithm [Ed25519], [P256] or [X25519]; the secret of a passkey never
// leaves its authenticator. Printing a Private, with any verb, shows its public half only. It does not
// change and is safe for concurrent use.
type Private struct {
	public Public
	secret [secretSize]byte
	// The secret in the form that signs; both nil for X25519.
	ed25519 ed25519.PrivateKey
	p256    *ecdsa.PrivateKey
}

// Generate makes a new key of the algorithm from the bytes of rand. A nil rand is the system's secure
// source, which is what everyone but tests and demonstrations wants; the same bytes give the same key.
func Generate(a Algorithm, rand io.Reader) (*Private, error) {
	if rand == nil {
		rand = cryptorand.Reader
	}
	// One secret in 2^32 is not below the order of the P-256 group and is drawn again; a source that
	// needs more than a few draws is not random.
	const draws = 8
	var secret [secretSize]byte
	var err error
	for range draws {
		if _, err := io.ReadFull(rand, secret[:]); err != nil {
			return nil, fmt.Errorf("generate %v key: read random bytes: %w", a, err)
		}
		var key *Private
		if key, err = NewPrivate(a, secret[:]); err == nil {
			return key, nil
		}
		if a != P256 {
			break
		}
	}
	return nil, fmt.Errorf("generate %v key: %w", a, err)
}

// NewPrivate returns the key with the given 32 secret bytes: the seed of an ed25519 key (RFC 8032), the
// big-endian scalar of a p256 key, from 1 to n-1, or an x25519 key (RFC 7748).
func NewPrivate(a Algorithm, secret []byte) (*Private, error) {
	if len(secret) != secretSize {
		return nil, fmt.Errorf("a private key has %d secret bytes, not %d", secretSize, len(secret))
	}
	k := &Private{secret: [secretSize]byte(secret)}
	var public []byte
	switch a {
	case Ed25519:
		k.ed25519 = ed25519.NewKeyFromSeed(secret)
		public = k.ed25519[ed25519.SeedSize:]
	case P256:
		key, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), secret)
		if err != nil {
			return nil, errors.New("not the secret of a p256 key: it is not a number from 1 to n-1")
		}
		uncompressed, err := key.PublicKey.Bytes()
		if err != nil {
			return nil, fmt.Errorf("p256 key: %w", err)
		}
		k.p256, public = key, compressP256(uncompressed)
	case X25519:
		key, err := ecdh.X25519().NewPrivateKey(secret)
		if err != nil {
			return nil, fmt.Errorf("x25519 key: %w", err)
		}
		public = key.PublicKey().Bytes()
	case WebAuthnP256:
		return nil, errors.New("the secret of a webauthn-p256 key stays in its authenticator; make the passkey in the browser")
	default:
		return nil, fmt.Errorf("no private keys of %v", a)
	}
	var err error
	if k.public, err = ParsePublic(append([]byte{byte(a)}, public...)); err != nil {
		return nil, err
	}
	return k, nil
}

// Public returns the public half.
func (k *Private) Public() Public { return k.public }

// Sign returns a signature of msg that [Verify] accepts. It is deterministic: ed25519 as RFC 8032, p256
// as RFC 6979 with low s. An x25519 key does not sign and returns an error.
func (k *Private) Sign(msg []byte) ([]byte, error) {
	switch {
	case k.ed25519 != nil:
		return ed25519.Sign(k.ed25519, msg), nil
	case k.p256 != nil:
		digest := sha256.Sum256(msg)
		der, err := k.p256.Sign(nil, digest[:], crypto.SHA256)
		if err != nil {
			return nil, fmt.Errorf("sign with p256 key: %w", err)
		}
		return P256FromDER(der)
	default:
		return nil, fmt.Errorf("%v keys do not sign", k.public.Algorithm())
	}
}

// Format prints the public half, whatever the verb and the flags, so that no log shows a secret.
func (k Private) Format(f fmt.State, _ rune) {
	_, _ = io.WriteString(f, "private key of "+k.public.String())
}
