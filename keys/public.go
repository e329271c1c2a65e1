// SPDX-License-Identifier: Apache-2.0

package keys

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
)

const (
	x25519Size     = 32
	fingerprintTag = "cityid/key-fingerprint/1"
	// maxPublicText bounds the text form: the longest name, a colon, the longest key in base64url.
	maxPublicText = len("webauthn-p256:") + (MaxPublicSize*4+2)/3
)

// Public is a public key that [ParsePublic] has admitted. Two keys are equal with == exactly if they are
// the same key for the same use; Public can be a map key. The zero Public is no key.
type Public struct {
	raw string
}

// ParsePublic decodes a raw public key. It refuses, with an error that matches [ErrPublicKey], whatever
// the package comment does not allow. ParsePublic(p.Raw()) == p for every p it returns.
func ParsePublic(raw []byte) (Public, error) {
	if len(raw) == 0 || len(raw) > MaxPublicSize {
		return Public{}, fmt.Errorf("%w: it has 1 to %d bytes, not %d", ErrPublicKey, MaxPublicSize, len(raw))
	}
	a, key := Algorithm(raw[0]), raw[1:]
	err := a.supported()
	if err != nil {
		return Public{}, err
	}
	switch a {
	case Ed25519:
		err = usableEd25519(key)
	case P256:
		_, err = parseP256(key)
	case WebAuthnP256:
		var k webAuthnKey
		if k, err = parseWebAuthn(key); err == nil {
			_, err = parseP256(k.point)
		}
	case X25519:
		err = usableX25519(key)
	}
	if err != nil {
		return Public{}, err
	}
	return Public{string(raw)}, nil
}

// lowOrderX25519 lists, in hexadecimal, every canonical u coordinate of a point of small order on the curve
// or its twist (RFC 7748, section 6.1); it is never changed.
var lowOrderX25519 = [...]string{
	"0000000000000000000000000000000000000000000000000000000000000000",
	"0100000000000000000000000000000000000000000000000000000000000000",
	"e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
	"5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
	"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
}

// usableX25519 refuses values that are not below the field's prime and points of small order.
func usableX25519(key []byte) error {
	if len(key) != x25519Size {
		return fmt.Errorf("%w: an x25519 key has %d bytes, not %d", ErrPublicKey, x25519Size, len(key))
	}
	if !belowPrime25519(key) {
		return fmt.Errorf("%w: not the canonical encoding of an x25519 key", ErrPublicKey)
	}
	if slices.Contains(lowOrderX25519[:], hex.EncodeToString(key)) {
		return fmt.Errorf("%w: an x25519 point of small order, which keeps no secret", ErrPublicKey)
	}
	return nil
}

// belowPrime25519 reports whether 32 little-endian bytes are a number below 2^255 - 19.
func belowPrime25519(le []byte) bool {
	if le[31] != 0x7f {
		return le[31] < 0x7f
	}
	for i := 30; i > 0; i-- {
		if le[i] != 0xff {
			return true
		}
	}
	return le[0] < 0xed
}

// ParsePublicText decodes the text form that [Public.String] gives, and no other spelling. The error
// matches [ErrPublicKey].
func ParsePublicText(text string) (Public, error) {
	if len(text) > maxPublicText {
		return Public{}, fmt.Errorf("%w: its text has at most %d bytes, not %d", ErrPublicKey, maxPublicText, len(text))
	}
	name, encoded, ok := strings.Cut(text, ":")
	if !ok {
		return Public{}, fmt.Errorf("%w: %.40q does not start with an algorithm's name and a colon", ErrPublicKey, text)
	}
	a, err := ParseAlgorithm(name)
	if err != nil {
		return Public{}, err
	}
	key, err := decodeBase64(encoded)
	if err != nil {
		return Public{}, fmt.Errorf("%w: after %q: %w", ErrPublicKey, name+":", err)
	}
	return ParsePublic(append([]byte{byte(a)}, key...))
}

// decodeBase64 decodes base64url without padding and refuses everything but the canonical spelling,
// line breaks among it, which encoding/base64 skips.
func decodeBase64(s string) ([]byte, error) {
	b, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil || base64.RawURLEncoding.EncodeToString(b) != s {
		return nil, errors.New("not base64url without padding")
	}
	return b, nil
}

// Raw returns the encoded key, algorithm byte first.
func (p Public) Raw() string { return p.raw }

// Algorithm returns the key's algorithm, or 0 for the zero Public.
func (p Public) Algorithm() Algorithm {
	if p.raw == "" {
		return 0
	}
	return Algorithm(p.raw[0])
}

// String returns the text form, such as "ed25519:11qYAYKx...", or "" for the zero Public.
func (p Public) String() string {
	if p.raw == "" {
		return ""
	}
	return p.Algorithm().String() + ":" + base64.RawURLEncoding.EncodeToString([]byte(p.raw[1:]))
}

// MarshalText returns the text form. The zero Public has none and is an error.
func (p Public) MarshalText() ([]byte, error) {
	if p.raw == "" {
		return nil, fmt.Errorf("%w: the zero key has no text form", ErrPublicKey)
	}
	return []byte(p.String()), nil
}

// UnmarshalText is [ParsePublicText] into p.
func (p *Public) UnmarshalText(text []byte) error {
	parsed, err := ParsePublicText(string(text))
	if err != nil {
		return err
	}
	*p = parsed
	return nil
}

// Fingerprint returns six groups of five digits separated by spaces, for people to read to each other.
// The package comment defines it. Programs compare keys, never fingerprints.
func (p Public) Fingerprint() string {
	h := sha256.Sum256([]byte(fingerprintTag + p.raw))
	groups := make([]string, 6)
	for i := range groups {
		var n uint64
		for _, b := range h[5*i : 5*i+5] {
			n = n<<8 | uint64(b)
		}
		groups[i] = fmt.Sprintf("%05d", n%100000)
	}
	return strings.Join(groups, " ")
}

// CanSign reports whether the key's algorithm makes signatures.
func (p Public) CanSign() bool { return p.Algorithm().CanSign() }

// RPID returns the relying party id that a webauthn-p256 key is bound to, and "" for every other key.
// Whoever controls that name's web site can ask for signatures, so a policy should not be met through
// one RP id alone.
func (p Public) RPID() string {
	rpID, _ := p.binding()
	return rpID
}

// Origin returns the exact origin that a webauthn-p256 key is bound to, and "" for every other key.
func (p Public) Origin() string {
	_, origin := p.binding()
	return origin
}

func (p Public) binding() (rpID, origin string) {
	if p.Algorithm() != WebAuthnP256 {
		return "", ""
	}
	rest := p.raw[1+p256PointSize:]
	n := 1 + int(rest[0])
	return rest[1:n], rest[n+2:]
}

// Verify checks sig over msg by this key, as the function [Verify] does.
func (p Public) Verify(msg, sig []byte) error {
	return Verify([]byte(p.raw), msg, sig)
}
