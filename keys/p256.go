// SPDX-License-Identifier: Apache-2.0

package keys

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"encoding/asn1"
	"fmt"
	"math/big"
)

const (
	p256PointSize        = 33
	p256UncompressedSize = 65
	p256ScalarSize       = 32
	p256SignatureSize    = 2 * p256ScalarSize
	maxP256DER           = 72
)

// The order of the P-256 group and its half, rounded down; never changed.
var (
	p256N     = elliptic.P256().Params().N
	p256HalfN = new(big.Int).Rsh(p256N, 1)
)

// parseP256 decompresses a 33-byte point.
func parseP256(point []byte) (*ecdsa.PublicKey, error) {
	if len(point) != p256PointSize {
		return nil, fmt.Errorf("%w: a compressed p256 point has %d bytes, not %d", ErrPublicKey, p256PointSize, len(point))
	}
	x, y := elliptic.UnmarshalCompressed(elliptic.P256(), point)
	if x == nil {
		return nil, fmt.Errorf("%w: not a compressed point of the p256 curve", ErrPublicKey)
	}
	var uncompressed [p256UncompressedSize]byte
	uncompressed[0] = 4
	x.FillBytes(uncompressed[1 : 1+p256ScalarSize])
	y.FillBytes(uncompressed[1+p256ScalarSize:])
	key, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), uncompressed[:])
	if err != nil {
		return nil, fmt.Errorf("%w: p256: %w", ErrPublicKey, err)
	}
	return key, nil
}

// compressP256 turns a 65-byte uncompressed point, already known to be on the curve, into its 33 bytes.
func compressP256(uncompressed []byte) []byte {
	point := make([]byte, 0, p256PointSize)
	point = append(point, 2+uncompressed[p256UncompressedSize-1]&1)
	return append(point, uncompressed[1:1+p256ScalarSize]...)
}

// verifyP256 checks a 64-byte signature of msg by a compressed point.
func verifyP256(point, msg, sig []byte) error {
	key, err := parseP256(point)
	if err != nil {
		return err
	}
	if len(sig) != p256SignatureSize {
		return fmt.Errorf("%w: a p256 signature has %d bytes, not %d", ErrSignature, p256SignatureSize, len(sig))
	}
	r := new(big.Int).SetBytes(sig[:p256ScalarSize])
	s := new(big.Int).SetBytes(sig[p256ScalarSize:])
	if err := checkP256Scalars(r, s); err != nil {
		return err
	}
	if s.Cmp(p256HalfN) > 0 {
		return fmt.Errorf("%w: s is in the upper half of its range", ErrSignature)
	}
	digest := sha256.Sum256(msg)
	if !ecdsa.Verify(key, digest[:], r, s) {
		return fmt.Errorf("%w: not a p256 signature of this message by this key", ErrSignature)
	}
	return nil
}

func checkP256Scalars(r, s *big.Int) error {
	if r.Sign() <= 0 || r.Cmp(p256N) >= 0 || s.Sign() <= 0 || s.Cmp(p256N) >= 0 {
		return fmt.Errorf("%w: r or s is outside 1 to n-1", ErrSignature)
	}
	return nil
}

// P256FromDER turns an ECDSA signature in the DER form that browsers, security keys and most libraries
// give into the 64 bytes r || s with low s. It checks the form only, not the signature. The error matches
// [ErrSignature].
func P256FromDER(der []byte) ([]byte, error) {
	if len(der) > maxP256DER {
		return nil, fmt.Errorf("%w: a p256 signature in DER has at most %d bytes, not %d", ErrSignature, maxP256DER, len(der))
	}
	var parsed struct{ R, S *big.Int }
	if _, err := asn1.Unmarshal(der, &parsed); err != nil {
		return nil, fmt.Errorf("%w: not DER: %w", ErrSignature, err)
	}
	if again, err := asn1.Marshal(parsed); err != nil || !bytes.Equal(again, der) {
		return nil, fmt.Errorf("%w: not the DER of two integers and nothing more", ErrSignature)
	}
	if err := checkP256Scalars(parsed.R, parsed.S); err != nil {
		return nil, err
	}
	if parsed.S.Cmp(p256HalfN) > 0 {
		parsed.S.Sub(p256N, parsed.S)
	}
	sig := make([]byte, p256SignatureSize)
	parsed.R.FillBytes(sig[:p256ScalarSize])
	parsed.S.FillBytes(sig[p256ScalarSize:])
	return sig, nil
}
