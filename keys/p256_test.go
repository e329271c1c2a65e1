// SPDX-License-Identifier: Apache-2.0

package keys

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/sha256"
	"encoding/asn1"
	"errors"
	"math/big"
	"testing"
)

// otherS returns the signature with n - s in place of s, which plain ECDSA accepts as well.
func otherS(sig []byte) []byte {
	s := new(big.Int).SetBytes(sig[len(sig)-32:])
	return join(sig[:len(sig)-32], s.Sub(p256N, s).FillBytes(make([]byte, 32)))
}

func toDER(t testing.TB, r, s *big.Int) []byte {
	t.Helper()
	der, err := asn1.Marshal(struct{ R, S *big.Int }{r, s})
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func splitSignature(sig []byte) (r, s *big.Int) {
	return new(big.Int).SetBytes(sig[:32]), new(big.Int).SetBytes(sig[32:])
}

func makeP256Vectors(t *testing.T) []vector {
	var out []vector
	key, msg := testKey(t, P256, 1), []byte("an ordinary message")
	pub, sig := []byte(key.Public().Raw()), mustSign(t, key, msg)
	r, s := sig[:32], sig[32:]
	add := func(name string, pub, msg, sig []byte, valid bool) {
		out = append(out, vector{name, pub, msg, sig, valid})
	}
	zero, n := make([]byte, 32), p256N.Bytes()
	ones := bytes.Repeat([]byte{0xff}, 32)
	add("ordinary", pub, msg, sig, true)
	other := testKey(t, P256, 7)
	add("ordinary, key with the other parity", []byte(other.Public().Raw()), msg, mustSign(t, other, msg), true)
	add("empty message", pub, []byte{}, mustSign(t, key, nil), true)
	add("high s", pub, msg, otherS(sig), false)
	add("another message", pub, []byte("no"), sig, false)
	add("another key", []byte(other.Public().Raw()), msg, sig, false)
	add("the key's negative", flip(pub, 8), msg, sig, false)
	add("r = 0", pub, msg, join(zero, s), false)
	add("s = 0", pub, msg, join(r, zero), false)
	add("r = s = 0", pub, msg, join(zero, zero), false)
	add("r = n", pub, msg, join(n, s), false)
	add("s = n", pub, msg, join(r, n), false)
	add("r = 2^256-1", pub, msg, join(ones, s), false)
	add("s = 2^256-1", pub, msg, join(r, ones), false)
	add("r and s exchanged", pub, msg, join(s, r), false)
	add("one bit of r changed", pub, msg, flip(sig, 17), false)
	add("one bit of s changed", pub, msg, flip(sig, 500), false)
	add("signature of 63 bytes", pub, msg, sig[:63], false)
	add("signature of 65 bytes", pub, msg, join(sig, []byte{0}), false)
	add("empty signature", pub, msg, []byte{}, false)
	rn, sn := splitSignature(sig)
	add("signature in DER", pub, msg, toDER(t, rn, sn), false)

	uncompressed, err := key.p256.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	add("uncompressed key", join([]byte{byte(P256)}, uncompressed), msg, sig, false)
	add("key of 32 bytes", pub[:33], msg, sig, false)
	add("key at infinity", []byte{byte(P256), 0}, msg, sig, false)
	add("key starts with 0x04", join([]byte{byte(P256), 4}, pub[2:]), msg, sig, false)
	add("key's x is not below p", join([]byte{byte(P256), 2}, ones), msg, sig, false)
	add("key is not on the curve", join([]byte{byte(P256), 2}, offP256(t)), msg, sig, false)
	add("algorithm 0", join([]byte{0}, pub[1:]), msg, sig, false)
	add("algorithm sm2", join([]byte{byte(SM2)}, pub[1:]), msg, sig, false)
	add("algorithm x25519", join([]byte{byte(X25519)}, pub[2:]), msg, sig, false)
	return out
}

// offP256 returns an x coordinate without a y.
func offP256(t testing.TB) []byte {
	t.Helper()
	for x := byte(1); x != 0; x++ {
		b := join(make([]byte, 31), []byte{x})
		if _, err := parseP256(join([]byte{2}, b)); err != nil {
			return b
		}
	}
	t.Fatal("every small x is on the curve")
	return nil
}

func TestP256Vectors(t *testing.T) {
	checkVectors(t, loadVectors(t, "p256.json", makeP256Vectors(t)))
}

// TestHighSIsTheOnlyFault makes sure that the high s vector tests the low s rule.
func TestHighSIsTheOnlyFault(t *testing.T) {
	key, msg := testKey(t, P256, 1), []byte("m")
	r, s := splitSignature(otherS(mustSign(t, key, msg)))
	digest := sha256.Sum256(msg)
	if !ecdsa.Verify(&key.p256.PublicKey, digest[:], r, s) {
		t.Error("plain ECDSA refuses it too")
	}
}

func TestP256SignaturesAreLow(t *testing.T) {
	key := testKey(t, P256, 9)
	for i := range 64 {
		msg := []byte{byte(i)}
		sig := mustSign(t, key, msg)
		if err := key.Public().Verify(msg, sig); err != nil {
			t.Fatal(err)
		}
		if again := mustSign(t, key, msg); !bytes.Equal(sig, again) {
			t.Fatal("signing is not deterministic")
		}
	}
}

func TestP256FromDER(t *testing.T) {
	key, msg := testKey(t, P256, 1), []byte("m")
	sig := mustSign(t, key, msg)
	r, s := splitSignature(sig)
	high := new(big.Int).Sub(p256N, s)
	for _, der := range [][]byte{toDER(t, r, s), toDER(t, r, high)} {
		if got, err := P256FromDER(der); err != nil || !bytes.Equal(got, sig) {
			t.Errorf("P256FromDER(%x) = %x, %v, want %x", der, got, err, sig)
		}
	}
	good := toDER(t, r, s)
	padded := append([]byte{0x30, good[1] + 1, 0x02, good[3] + 1, 0x00}, good[4:]...)
	for name, der := range map[string][]byte{
		"empty":          {},
		"trailing byte":  join(good, []byte{0}),
		"cut short":      good[:len(good)-1],
		"padded integer": padded,
		"long length":    join([]byte{0x30, 0x81, good[1]}, good[2:]),
		"r = 0":          toDER(t, new(big.Int), s),
		"s = 0":          toDER(t, r, new(big.Int)),
		"r = n":          toDER(t, p256N, s),
		"s = n":          toDER(t, r, p256N),
		"negative r":     toDER(t, new(big.Int).Neg(r), s),
		"three integers": {0x30, 9, 2, 1, 1, 2, 1, 1, 2, 1, 1},
		"too long":       make([]byte, 73),
		"raw r and s":    sig,
	} {
		if got, err := P256FromDER(der); !errors.Is(err, ErrSignature) {
			t.Errorf("%s: %x, %v, want ErrSignature", name, got, err)
		}
	}
}

func FuzzP256FromDER(f *testing.F) {
	r, s := splitSignature(mustSign(f, testKey(f, P256, 1), nil))
	f.Add(toDER(f, r, s))
	f.Add(toDER(f, r, new(big.Int).Sub(p256N, s)))
	f.Add([]byte{0x30, 6, 2, 1, 1, 2, 1, 1})
	f.Fuzz(func(t *testing.T, der []byte) {
		sig, err := P256FromDER(der)
		if err != nil {
			return
		}
		r, s := splitSignature(sig)
		if s.Cmp(p256HalfN) > 0 {
			t.Fatalf("high s from %x", der)
		}
		if !bytes.Equal(der, toDER(t, r, s)) && !bytes.Equal(der, toDER(t, r, s.Sub(p256N, s))) {
			t.Fatalf("%x is not the DER of its own result", der)
		}
	})
}

func BenchmarkVerifyP256(b *testing.B) {
	key, msg := testKey(b, P256, 1), make([]byte, 32)
	pub, sig := []byte(key.Public().Raw()), mustSign(b, key, msg)
	for b.Loop() {
		if err := Verify(pub, msg, sig); err != nil {
			b.Fatal(err)
		}
	}
}
