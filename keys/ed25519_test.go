// SPDX-License-Identifier: Apache-2.0

package keys

import (
	stded25519 "crypto/ed25519"
	"crypto/sha512"
	"fmt"
	"math/big"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	cmted25519 "github.com/cometbft/cometbft/crypto/ed25519"
	"github.com/oasisprotocol/curve25519-voi/curve"
	"github.com/oasisprotocol/curve25519-voi/curve/scalar"
)

// smallOrder lists every encoding that ZIP-215 decodes to a point of small order: first the canonical
// ones, of orders 1, 2, 4, 4, 8, 8, 8, 8, then six others with a wrong sign bit or y >= p.
var smallOrder = []string{
	"0100000000000000000000000000000000000000000000000000000000000000",
	"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	"0000000000000000000000000000000000000000000000000000000000000000",
	"0000000000000000000000000000000000000000000000000000000000000080",
	"c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
	"c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
	"26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
	"26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
	"0100000000000000000000000000000000000000000000000000000000000080",
	"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
	"eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	"eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
	"edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	"edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
}

// notOnCurve is a y coordinate without an x.
const notOnCurve = "0200000000000000000000000000000000000000000000000000000000000000"

func ed25519Raw(key []byte) []byte { return join([]byte{byte(Ed25519)}, key) }

// torsioned signs with secret scalars a and r, having added the point of order eight to the key, to R,
// or to both. Its signatures satisfy the cofactored equation and not the other one.
func torsioned(t *testing.T, msg []byte, inKey, inR bool) (pub, sig []byte) {
	t.Helper()
	var order8 curve.EdwardsPoint
	var compressed curve.CompressedEdwardsY
	if _, err := compressed.SetBytes(unhex(t, smallOrder[4])); err != nil {
		t.Fatal(err)
	}
	if _, err := order8.SetCompressedY(&compressed); err != nil {
		t.Fatal(err)
	}
	point := func(s *scalar.Scalar, add bool) []byte {
		var p curve.EdwardsPoint
		p.MulBasepoint(curve.ED25519_BASEPOINT_TABLE, s)
		if add {
			p.Add(&p, &order8)
		}
		var c curve.CompressedEdwardsY
		c.SetEdwardsPoint(&p)
		return c[:]
	}
	a, r := scalar.NewFromUint64(0x1234567), scalar.NewFromUint64(0x7654321)
	pub, encodedR := point(a, inKey), point(r, inR)
	h := sha512.Sum512(join(encodedR, pub, msg))
	s, err := scalar.NewFromBytesModOrderWide(h[:])
	if err != nil {
		t.Fatal(err)
	}
	s.Add(s.Mul(s, a), r)
	encodedS := make([]byte, 32)
	if err := s.ToBytes(encodedS); err != nil {
		t.Fatal(err)
	}
	return pub, join(encodedR, encodedS)
}

// addOrder returns the signature with the group order added to s, the malleability RFC 8032 forbids.
func addOrder(t *testing.T, sig []byte) []byte {
	t.Helper()
	order, _ := new(big.Int).SetString("7237005577332262213973186563042994240857116359379907606001950938285454250989", 10)
	s := slices.Clone(sig[32:])
	slices.Reverse(s)
	sum := new(big.Int).Add(new(big.Int).SetBytes(s), order).FillBytes(make([]byte, 32))
	slices.Reverse(sum)
	return join(sig[:32], sum)
}

func makeEd25519Vectors(t *testing.T) []vector {
	var out []vector
	add := func(name string, key, msg, sig []byte, valid bool) {
		out = append(out, vector{name, ed25519Raw(key), msg, sig, valid})
	}
	add("RFC 8032 test 1",
		unhex(t, "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"), []byte{},
		unhex(t, "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b"), true)
	add("RFC 8032 test 2",
		unhex(t, "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c"), []byte{0x72},
		unhex(t, "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"), true)

	key, msg := testKey(t, Ed25519, 1), []byte("an ordinary message")
	pub, sig := []byte(key.Public().Raw()[1:]), mustSign(t, key, msg)
	add("ordinary", pub, msg, sig, true)
	add("another message", pub, []byte("an ordinary messagf"), sig, false)
	add("another key", []byte(testKey(t, Ed25519, 2).Public().Raw()[1:]), msg, sig, false)
	add("one bit of R changed", pub, msg, flip(sig, 9), false)
	add("one bit of s changed", pub, msg, flip(sig, 300), false)
	add("s plus the group order", pub, msg, addOrder(t, sig), false)
	add("sign bit of the key changed", flip(pub, 255), msg, sig, false)
	add("signature of 63 bytes", pub, msg, sig[:63], false)
	add("signature of 65 bytes", pub, msg, join(sig, []byte{0}), false)
	add("empty signature", pub, msg, []byte{}, false)
	add("key of 31 bytes", pub[:31], msg, sig, false)
	add("key of 33 bytes", join(pub, []byte{0}), msg, sig, false)
	add("key is not on the curve", unhex(t, notOnCurve), msg, sig, false)
	add("R is not on the curve", pub, msg, join(unhex(t, notOnCurve), sig[32:]), false)

	for _, c := range []struct {
		name       string
		inKey, inR bool
	}{{"torsion in the key", true, false}, {"torsion in R", false, true}, {"torsion in the key and in R", true, true}} {
		pub, sig := torsioned(t, msg, c.inKey, c.inR)
		add(c.name, pub, msg, sig, true)
		add(c.name+", another message", pub, []byte("no"), sig, false)
	}
	for i, a := range smallOrder {
		j := (5*i + 3) % len(smallOrder)
		add(fmt.Sprintf("small order key %d, small order R %d, s = 0", i, j), unhex(t, a), msg,
			join(unhex(t, smallOrder[j]), make([]byte, 32)), true)
		add(fmt.Sprintf("small order key %d, ordinary R, s = 0", i), unhex(t, a), msg,
			join(sig[:32], make([]byte, 32)), false)
	}
	return out
}

// agree checks that every way of verifying gives one verdict, CometBFT's, and returns it.
func agree(t *testing.T, name string, verifier *Verifier, pub, msg, sig []byte) bool {
	t.Helper()
	want := len(pub) == 32 && cmted25519.PubKey(pub).VerifySignature(msg, sig)
	if got := VerifyEd25519(pub, msg, sig); got != want {
		t.Errorf("%s: VerifyEd25519 gives %v, CometBFT %v", name, got, want)
	}
	if got := verifier.VerifyEd25519(pub, msg, sig); got != want {
		t.Errorf("%s: the caching verifier gives %v, CometBFT %v", name, got, want)
	}
	for _, batch := range []*Batch{NewBatch(1), NewBatch(1000), verifier.NewBatch(1)} {
		batch.Add(pub, msg, sig)
		batch.Add(pub, msg, sig)
		if all, each := batch.Verify(); all != want || !slices.Equal(each, []bool{want, want}) {
			t.Errorf("%s: a batch gives %v %v, CometBFT %v", name, all, each, want)
		}
	}
	return want
}

func TestEd25519Vectors(t *testing.T) {
	vectors := loadVectors(t, "ed25519.json", makeEd25519Vectors(t))
	checkVectors(t, vectors)
	verifier := NewVerifier(4)
	for _, v := range vectors {
		if got := agree(t, v.Name, verifier, v.Public[1:], v.Message, v.Signature); got != v.Valid {
			t.Errorf("%s: %v, want %v", v.Name, got, v.Valid)
		}
	}
}

// TestEd25519SmallOrder tries every pair of encodings: ZIP-215 accepts them all.
func TestEd25519SmallOrder(t *testing.T) {
	verifier := NewVerifier(len(smallOrder))
	for _, a := range smallOrder {
		for _, r := range smallOrder {
			if !agree(t, a+" "+r, verifier, unhex(t, a), []byte("Zcash"), join(unhex(t, r), make([]byte, 32))) {
				t.Errorf("key %s, R %s: refused", a, r)
			}
		}
	}
}

// TestEd25519RuleIsPinned would fail if the rule silently became the standard library's.
func TestEd25519RuleIsPinned(t *testing.T) {
	msg := []byte("m")
	pub, sig := torsioned(t, msg, true, false)
	if stded25519.Verify(pub, msg, sig) {
		t.Fatal("the case does not tell the cofactored equation from the other")
	}
	if !VerifyEd25519(pub, msg, sig) {
		t.Error("a signature that ZIP-215 accepts is refused")
	}
}

// TestBatchAgrees mixes good, bad and odd signatures in batches of many sizes.
func TestBatchAgrees(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	vectors := makeEd25519Vectors(t)
	verifier := NewVerifier(16)
	for round := range 60 {
		n := 1 + rng.IntN(120)
		onlyValid := round%3 == 0
		batches := []*Batch{NewBatch(n), NewBatch(0), verifier.NewBatch(n)}
		var want []bool
		for len(want) < n {
			v := vectors[rng.IntN(len(vectors))]
			if onlyValid && !v.Valid {
				continue
			}
			sig := []byte(v.Signature)
			if !onlyValid && len(sig) > 0 && rng.IntN(8) == 0 {
				sig = flip(sig, rng.IntN(8*len(sig)))
			}
			want = append(want, VerifyEd25519(v.Public[1:], v.Message, sig))
			for _, b := range batches {
				b.Add(v.Public[1:], v.Message, sig)
			}
		}
		for i, b := range batches {
			all, each := b.Verify()
			if all == slices.Contains(want, false) || !slices.Equal(each, want) {
				t.Fatalf("round %d, batch %d of %d: %v %v, one by one %v", round, i, n, all, each, want)
			}
		}
	}
}

// TestVerifierConcurrently shares a cache smaller than the number of keys; run it with -race.
func TestVerifierConcurrently(t *testing.T) {
	verifier, vectors := NewVerifier(2), makeEd25519Vectors(t)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for _, v := range vectors {
				if verifier.VerifyEd25519(v.Public[1:], v.Message, v.Signature) != v.Valid {
					t.Errorf("%s: want %v", v.Name, v.Valid)
				}
			}
		})
	}
	wg.Wait()
}

func TestEmptyBatch(t *testing.T) {
	if all, each := NewBatch(0).Verify(); all || each != nil {
		t.Errorf("an empty batch gives %v %v, want false and nil", all, each)
	}
}

func TestVerifierSize(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("a Verifier for no keys was made")
		}
	}()
	NewVerifier(0)
}

func BenchmarkVerifyEd25519(b *testing.B) {
	key, msg := testKey(b, Ed25519, 1), make([]byte, 32)
	pub, sig := []byte(key.Public().Raw()[1:]), mustSign(b, key, msg)
	verifier := NewVerifier(1)
	for _, c := range []struct {
		name   string
		verify func(pub, msg, sig []byte) bool
	}{{"single", VerifyEd25519}, {"cached", verifier.VerifyEd25519}} {
		b.Run(c.name, func(b *testing.B) {
			for b.Loop() {
				if !c.verify(pub, msg, sig) {
					b.Fatal("refused")
				}
			}
		})
	}
}

// BenchmarkBatch reports the time per signature, each by another key.
func BenchmarkBatch(b *testing.B) {
	for _, n := range []int{64, 512} {
		msg := make([]byte, 32)
		pubs, sigs := make([][]byte, n), make([][]byte, n)
		for i := range n {
			secret := make([]byte, secretSize)
			secret[0], secret[1] = byte(i), byte(i>>8)
			key, err := NewPrivate(Ed25519, secret)
			if err != nil {
				b.Fatal(err)
			}
			pubs[i], sigs[i] = []byte(key.Public().Raw()[1:]), mustSign(b, key, msg)
		}
		verifier := NewVerifier(n)
		for _, c := range []struct {
			name string
			new  func(int) *Batch
		}{{"fresh", NewBatch}, {"cached", verifier.NewBatch}} {
			b.Run(fmt.Sprintf("%s/%d", c.name, n), func(b *testing.B) {
				for b.Loop() {
					batch := c.new(n)
					for i := range n {
						batch.Add(pubs[i], msg, sigs[i])
					}
					if all, _ := batch.Verify(); !all {
						b.Fatal("refused")
					}
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/signature")
			})
		}
	}
}
