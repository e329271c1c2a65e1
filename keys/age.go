// SPDX-License-Identifier: Apache-2.0

package keys

import (
	"fmt"
	"strings"

	"filippo.io/age"
)

// An x25519 key is an age key of type X25519 (age-encryption.org/v1): the same
// 32 bytes, which age writes in Bech32 (BIP 173) behind "age" or
// "AGE-SECRET-KEY-".

// AgeRecipient returns an x25519 key as a recipient to encrypt for with age. The
// error for keys of other algorithms matches [ErrPublicKey].
func (p Public) AgeRecipient() (*age.X25519Recipient, error) {
	if p.Algorithm() != X25519 {
		return nil, fmt.Errorf("%w: %v keys do not encrypt", ErrPublicKey, p.Algorithm())
	}
	return age.ParseX25519Recipient(bech32("age", []byte(p.raw[1:])))
}

// AgeIdentity returns an x25519 key as the identity that opens what was
// encrypted for [Public.AgeRecipient] of its public half. Keys of other
// algorithms return an error that matches [ErrPublicKey].
func (k *Private) AgeIdentity() (*age.X25519Identity, error) {
	if k.public.Algorithm() != X25519 {
		return nil, fmt.Errorf("%w: %v keys do not decrypt", ErrPublicKey, k.public.Algorithm())
	}
	return age.ParseX25519Identity(strings.ToUpper(bech32("age-secret-key-", k.secret[:])))
}

// bech32 encodes bytes behind a prefix in lower case, as BIP 173 does.
func bech32(prefix string, data []byte) string {
	const alphabet = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
	var digits []byte // of five bits, the last filled up with zeros
	bits, n := uint32(0), 0
	for _, b := range data {
		bits, n = bits<<8|uint32(b), n+8
		for ; n >= 5; n -= 5 {
			digits = append(digits, byte(bits>>(n-5)&31))
		}
	}
	if n > 0 {
		digits = append(digits, byte(bits<<(5-n)&31))
	}
	sum := uint32(1)
	feed := func(digit byte) {
		top := sum >> 25
		sum = sum&0x1ffffff<<5 ^ uint32(digit)
		for i, g := range [...]uint32{0x3b6a57b2, 0x26508e6d, 0x1ea119fa, 0x3d4233dd, 0x2a1462b3} {
			if top>>i&1 == 1 {
				sum ^= g
			}
		}
	}
	for i := range len(prefix) {
		feed(prefix[i] >> 5)
	}
	feed(0)
	for i := range len(prefix) {
		feed(prefix[i] & 31)
	}
	for _, d := range digits {
		feed(d)
	}
	for range 6 {
		feed(0)
	}
	sum ^= 1
	var out strings.Builder
	out.WriteString(prefix + "1")
	for _, d := range digits {
		out.WriteByte(alphabet[d])
	}
	for i := range 6 {
		out.WriteByte(alphabet[sum>>(5*(5-i))&31])
	}
	return out.String()
}
