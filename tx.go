// SPDX-License-Identifier: Apache-2.0

package cityid

import (
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"
)

func hashOf(b []byte) Digest { return sha256.Sum256(b) }

// Body is what the signers of a transaction sign.
type Body struct {
	Chain      string      `cbor:"1,keyasint" json:"chain"`   // chain id of the zone
	Signers    []PublicKey `cbor:"2,keyasint" json:"signers"` // in byte order, each once, 1 to 64
	Expires    Time        `cbor:"3,keyasint" json:"expires"` // first block time at which it is refused
	Operations []Operation `cbor:"4,keyasint" json:"operations"`
	Memo       string      `cbor:"5,keyasint,omitempty" json:"memo,omitempty"` // at most 200 octets
}

// Tx is a transaction: the encoding of a [Body] and one signature for each of
// its signers, in their order.
type Tx struct {
	Body       Bytes   `cbor:"1,keyasint" json:"body"`
	Signatures []Bytes `cbor:"2,keyasint" json:"signatures"`
}

// ID is the SHA-256 of a transaction's encoded body.
func (t *Tx) ID() Digest { return hashOf(t.Body) }

// SigningDigest is the message each signer signs: SHA-256("cityid/tx/1" || body).
func SigningDigest(body []byte) Digest {
	return hashOf(append([]byte("cityid/tx/1"), body...))
}

// DecodeTx decodes an encoded transaction and its body, and checks all that can
// be checked without state or signatures: sizes, order of the signers, one
// signature for each, one operation in each place. The error is an [Error]. What it
// returns may keep raw, which must not be changed afterwards.
func DecodeTx(raw []byte) (*Tx, *Body, error) {
	if len(raw) > MaxTx {
		return nil, nil, Errorf(ErrTooLarge, "transaction of %d octets: at most %d", len(raw), MaxTx)
	}
	t, b, err := decodeTx(raw)
	if err != nil {
		return nil, nil, err
	}
	if len(t.Signatures) != len(b.Signers) {
		return nil, nil, Errorf(ErrSignature, "%d signatures for %d signers", len(t.Signatures), len(b.Signers))
	}
	for i, s := range t.Signatures {
		if len(s) < 64 || len(s) > 4096 {
			return nil, nil, Errorf(ErrSignature, "signature of %s has %d octets", b.Signers[i], len(s))
		}
	}
	return t, b, nil
}

func decodeTx(raw []byte) (*Tx, *Body, error) {
	if t, b, ok := scanTx(raw); ok {
		return t, b, b.Check()
	}
	var t Tx
	if err := Unmarshal(raw, &t); err != nil {
		return nil, nil, Errorf(ErrMalformed, "transaction: %v", err)
	}
	b, err := DecodeBody(t.Body)
	return &t, b, err
}

// DecodeBody decodes an encoded body and checks it as [DecodeTx] does.
func DecodeBody(raw []byte) (*Body, error) {
	if len(raw) > MaxTx {
		return nil, Errorf(ErrTooLarge, "transaction body of %d octets: at most %d", len(raw), MaxTx)
	}
	var b Body
	if err := Unmarshal(raw, &b); err != nil {
		return nil, Errorf(ErrMalformed, "transaction body: %v", err)
	}
	if err := b.Check(); err != nil {
		return nil, err
	}
	return &b, nil
}

// Check reports the first thing in the body that breaks a bound.
func (b *Body) Check() error {
	switch {
	case !ValidChainID(b.Chain):
		return Errorf(ErrMalformed, "chain id %.60q: want 1 to 50 letters, digits, dots or hyphens", b.Chain)
	case len(b.Signers) < 1 || len(b.Signers) > MaxSigners:
		return Errorf(ErrMalformed, "%d signers: want 1 to %d", len(b.Signers), MaxSigners)
	case !sortedStrict(b.Signers):
		return Errorf(ErrMalformed, "signers must be in byte order, each once")
	case b.Expires <= 0 || !b.Expires.Valid():
		return Errorf(ErrMalformed, "a transaction must expire")
	}
	if err := CheckText("memo", b.Memo, false); err != nil {
		return err
	}
	return checkOperations(b.Operations)
}

func checkOperations(ops []Operation) error {
	if len(ops) == 0 {
		return Errorf(ErrMalformed, "no operations")
	}
	weight := 0
	for i := range ops {
		if ops[i].Name() == "" {
			return &Error{Code: ErrMalformed, Operation: i, Message: "want exactly one operation in each place"}
		}
		weight += ops[i].Weight()
	}
	if weight > MaxOperations {
		return Errorf(ErrTooLarge, "%d operations: at most %d", weight, MaxOperations)
	}
	return nil
}

// ValidChainID reports whether s can be a chain id: 1 to 50 letters, digits,
// dots or hyphens.
func ValidChainID(s string) bool {
	return len(s) >= 1 && len(s) <= 50 && !strings.ContainsFunc(s, func(c rune) bool {
		return (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '.' && c != '-'
	})
}

// Signer makes signatures with one key.
type Signer struct {
	Key  PublicKey
	Sign func(msg []byte) ([]byte, error) // returns a signature over msg that package keys accepts
}

// SignTx encodes b, with its signers set to those given, and signs it with each.
func SignTx(b Body, signers ...Signer) (*Tx, error) {
	signers = slices.Clone(signers)
	slices.SortFunc(signers, func(x, y Signer) int { return strings.Compare(string(x.Key), string(y.Key)) })
	signers = slices.CompactFunc(signers, func(x, y Signer) bool { return x.Key == y.Key })
	b.Signers = nil
	for _, s := range signers {
		b.Signers = append(b.Signers, s.Key)
	}
	if err := b.Check(); err != nil {
		return nil, err
	}
	t := &Tx{Body: MustMarshal(&b)}
	d := SigningDigest(t.Body)
	for _, s := range signers {
		sig, err := s.Sign(d[:])
		if err != nil {
			return nil, fmt.Errorf("sign with %s: %w", s.Key, err)
		}
		t.Signatures = append(t.Signatures, sig)
	}
	return t, nil
}
