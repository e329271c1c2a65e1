// SPDX-License-Identifier: Apache-2.0

package cityid

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/fxamacker/cbor/v2"
)

// ErrNotCanonical is returned by [Unmarshal] for bytes that decode to a value
// but are not that value's one encoding.
var ErrNotCanonical = errors.New("not the canonical encoding")

var encMode = func() cbor.EncMode {
	o := cbor.CoreDetEncOptions()
	o.NilContainers = cbor.NilContainerAsEmpty
	m, err := o.EncMode()
	if err != nil {
		panic(err)
	}
	return m
}()

var decMode = func() cbor.DecMode {
	m, err := cbor.DecOptions{
		DupMapKey:         cbor.DupMapKeyEnforcedAPF,
		IndefLength:       cbor.IndefLengthForbidden,
		TagsMd:            cbor.TagsForbidden,
		ExtraReturnErrors: cbor.ExtraDecErrorUnknownField,
		UTF8:              cbor.UTF8RejectInvalid,
		MaxNestedLevels:   24,
		MaxArrayElements:  131072,
		MaxMapPairs:       1024,
	}.DecMode()
	if err != nil {
		panic(err)
	}
	return m
}()

// Marshal returns the deterministic CBOR encoding of v (RFC 8949, section
// 4.2.1). It fails only for types that have no such encoding, which is a
// programming error.
func Marshal(v any) ([]byte, error) {
	if b, ok := appended(v); ok {
		return b, nil
	}
	return encMode.Marshal(v)
}

// MustMarshal is [Marshal] for the types of this package, which always encode.
func MustMarshal(v any) []byte {
	b, err := Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("cityid: encode %T: %v", v, err))
	}
	return b
}

// Unmarshal decodes exactly one value from data into the non-nil pointer v. It
// refuses trailing bytes, unknown fields, duplicate keys, indefinite lengths,
// tags and every other departure from the encoding [Marshal] would have
// written; the last kind is [ErrNotCanonical]. After an error v holds garbage.
func Unmarshal(data []byte, v any) error {
	if err := decMode.Unmarshal(data, v); err != nil {
		return err
	}
	again, err := Marshal(v)
	if err != nil {
		return err
	}
	if !bytes.Equal(again, data) {
		return ErrNotCanonical
	}
	return nil
}

// UnmarshalTrusted decodes bytes that [Marshal] wrote and a hash or a
// checksummed store has guarded since: it skips the comparison with the
// canonical encoding that [Unmarshal] makes.
func UnmarshalTrusted(data []byte, v any) error {
	return decMode.Unmarshal(data, v)
}

// Digest is a SHA-256 digest. Its text form is 64 lower-case hexadecimal
// digits. The zero Digest stands for "none".
type Digest [32]byte

// IsZero reports whether d stands for "none".
func (d Digest) IsZero() bool { return d == Digest{} }

// String returns the text form.
func (d Digest) String() string { return hex.EncodeToString(d[:]) }

// MarshalText returns the text form, empty for the zero Digest.
func (d Digest) MarshalText() ([]byte, error) {
	if d.IsZero() {
		return nil, nil
	}
	return []byte(d.String()), nil
}

// UnmarshalText parses the text form; empty text is the zero Digest.
func (d *Digest) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		*d = Digest{}
		return nil
	}
	p, err := ParseDigest(string(text))
	if err != nil {
		return err
	}
	*d = p
	return nil
}

// ParseDigest parses 64 hexadecimal digits in lower case.
func ParseDigest(s string) (Digest, error) {
	var d Digest
	if len(s) != 64 || strings.ToLower(s) != s {
		return d, fmt.Errorf("digest %.80q: want 64 lower-case hexadecimal digits", s)
	}
	if _, err := hex.Decode(d[:], []byte(s)); err != nil {
		return Digest{}, fmt.Errorf("digest %.80q: %w", s, err)
	}
	return d, nil
}

// Bytes is a byte string whose text form is unpadded base64url (RFC 4648).
type Bytes []byte

// MarshalText returns the text form.
func (b Bytes) MarshalText() ([]byte, error) {
	return base64.RawURLEncoding.AppendEncode(nil, b), nil
}

// UnmarshalText parses the text form.
func (b *Bytes) UnmarshalText(text []byte) error {
	p, err := base64.RawURLEncoding.Strict().DecodeString(string(text))
	if err != nil {
		return fmt.Errorf("base64url: %w", err)
	}
	*b = p
	return nil
}

// Time is a point in time in whole seconds since 1970-01-01 00:00 UTC, taken
// from a block. Its text form is RFC 3339 in UTC; zero stands for "none".
type Time int64

// maxTime is 9999-12-31 23:59:59 UTC, the last second RFC 3339 can write.
const maxTime Time = 253402300799

// TimeOf returns t cut to whole seconds.
func TimeOf(t time.Time) Time { return Time(t.Unix()) }

// Std returns t as a [time.Time] in UTC.
func (t Time) Std() time.Time { return time.Unix(int64(t), 0).UTC() }

// Add returns t plus d cut to whole seconds.
func (t Time) Add(d time.Duration) Time { return t + Time(d/time.Second) }

// Valid reports whether t is zero or within the years 1970 to 9999.
func (t Time) Valid() bool { return t >= 0 && t <= maxTime }

// String returns the text form, empty for zero.
func (t Time) String() string {
	if t == 0 {
		return ""
	}
	return t.Std().Format(time.RFC3339)
}

// MarshalText returns the text form.
func (t Time) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// UnmarshalText parses RFC 3339 text; empty text is zero.
func (t *Time) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		*t = 0
		return nil
	}
	p, err := time.Parse(time.RFC3339, string(text))
	if err != nil {
		return err
	}
	*t = TimeOf(p)
	if !t.Valid() {
		return fmt.Errorf("time %s: outside the years 1970 to 9999", text)
	}
	return nil
}

// PublicKey is an encoded public key: one algorithm byte, then the key's bytes
// as package keys defines them. It is comparable, and its order is the byte
// order of the encoding. Its text form is "algorithm:base64url".
type PublicKey string

// algorithms names the algorithm bytes; the list is closed and append-only and
// equals that of package keys, which alone knows what the bytes mean.
var algorithms = [...]string{1: "ed25519", 2: "p256", 3: "webauthn-p256", 4: "x25519", 5: "sm2"}

// maxPublicKey bounds an encoded public key in octets.
const maxPublicKey = 1024

// Algorithm returns the name of the key's algorithm, or "" if it has none.
func (k PublicKey) Algorithm() string {
	if k == "" || int(k[0]) >= len(algorithms) {
		return ""
	}
	return algorithms[k[0]]
}

// RPID returns the relying party a webauthn-p256 key is bound to, else "".
func (k PublicKey) RPID() string {
	const at = 1 + 33 // algorithm byte, compressed point
	if k.Algorithm() != "webauthn-p256" || len(k) < at+1 || len(k) < at+1+int(k[at]) {
		return ""
	}
	return string(k[at+1 : at+1+int(k[at])])
}

// Signs reports whether keys of this algorithm sign.
func (k PublicKey) Signs() bool {
	switch k.Algorithm() {
	case "ed25519", "p256", "webauthn-p256":
		return true
	}
	return false
}

// String returns the text form.
func (k PublicKey) String() string {
	if k == "" {
		return ""
	}
	return k.Algorithm() + ":" + base64.RawURLEncoding.EncodeToString([]byte(k[1:]))
}

// MarshalText returns the text form.
func (k PublicKey) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// UnmarshalText parses the text form. It checks the algorithm's name, not the
// key's bytes.
func (k *PublicKey) UnmarshalText(text []byte) error {
	name, enc, ok := strings.Cut(string(text), ":")
	for i, a := range algorithms {
		if !ok || a == "" || a != name {
			continue
		}
		b, err := base64.RawURLEncoding.Strict().DecodeString(enc)
		if err != nil {
			return fmt.Errorf("public key %.40q: %w", text, err)
		}
		*k = PublicKey(append([]byte{byte(i)}, b...))
		return nil
	}
	return fmt.Errorf("public key %.40q: want algorithm:base64url", text)
}

// MarshalCBOR encodes the key as a byte string.
func (k PublicKey) MarshalCBOR() ([]byte, error) { return encMode.Marshal([]byte(k)) }

// UnmarshalCBOR decodes a byte string of 2 to 1024 octets.
func (k *PublicKey) UnmarshalCBOR(data []byte) error {
	var b []byte
	if err := decMode.Unmarshal(data, &b); err != nil {
		return err
	}
	if len(b) < 2 || len(b) > maxPublicKey {
		return fmt.Errorf("public key of %d octets: want 2 to %d", len(b), maxPublicKey)
	}
	*k = PublicKey(b)
	return nil
}
