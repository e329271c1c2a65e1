// SPDX-License-Identifier: Apache-2.0

package keys

import (
	"fmt"

	"github.com/oasisprotocol/curve25519-voi/curve"
	"github.com/oasisprotocol/curve25519-voi/primitives/ed25519"
	"github.com/oasisprotocol/curve25519-voi/primitives/ed25519/extra/cache"
)

const (
	ed25519Size          = ed25519.PublicKeySize
	ed25519SignatureSize = ed25519.SignatureSize

	// expandUpTo is the batch size above which the library's multiplication no longer uses expanded
	// public keys, so that expanding them for one batch is wasted.
	expandUpTo = 94
)

// zip215 is the verification behaviour that CometBFT pins; it is never changed.
var zip215 = &ed25519.Options{Verify: ed25519.VerifyOptionsZIP_215}

// VerifyEd25519 reports whether sig is a signature of msg by the bare 32-byte key pub under ZIP-215, as
// CometBFT judges the votes of validators. Wrong lengths are false. It is a pure function and safe for
// concurrent use.
func VerifyEd25519(pub, msg, sig []byte) bool {
	return len(pub) == ed25519Size && len(sig) == ed25519SignatureSize &&
		ed25519.VerifyWithOptions(pub, msg, sig, zip215)
}

// usableEd25519 refuses keys that should not enter a policy: encodings that are not the canonical one
// of a point, and points of small order.
func usableEd25519(key []byte) error {
	if len(key) != ed25519Size {
		return fmt.Errorf("%w: an ed25519 key has %d bytes, not %d", ErrPublicKey, ed25519Size, len(key))
	}
	var compressed curve.CompressedEdwardsY
	if _, err := compressed.SetBytes(key); err != nil {
		return fmt.Errorf("%w: ed25519: %w", ErrPublicKey, err)
	}
	var point curve.EdwardsPoint
	if _, err := point.SetCompressedY(&compressed); err != nil {
		return fmt.Errorf("%w: not a point of the ed25519 curve", ErrPublicKey)
	}
	if !compressed.IsCanonicalVartime() {
		return fmt.Errorf("%w: not the canonical encoding of an ed25519 point", ErrPublicKey)
	}
	if point.IsSmallOrder() {
		return fmt.Errorf("%w: an ed25519 point of small order, for which anyone can sign", ErrPublicKey)
	}
	return nil
}

// Verifier verifies as the functions of this package do, and remembers ed25519 public keys in the
// expanded form that makes checking the next signature by the same key faster. It remembers keys only,
// never verdicts. It is safe for concurrent use.
type Verifier struct {
	cache *cache.Verifier
}

// NewVerifier returns a Verifier that remembers the given number of keys, those used last. Each takes
// about 1.5 KiB. It panics unless the number is positive.
func NewVerifier(keys int) *Verifier {
	if keys <= 0 {
		panic("keys: a Verifier must remember at least one key")
	}
	return &Verifier{cache: cache.NewVerifier(cache.NewLRUCache(keys))}
}

// Verify returns what the function [Verify] returns.
func (v *Verifier) Verify(pub, msg, sig []byte) error {
	return verify(pub, msg, sig, v.VerifyEd25519)
}

// VerifyEd25519 returns what the function [VerifyEd25519] returns.
func (v *Verifier) VerifyEd25519(pub, msg, sig []byte) bool {
	return len(pub) == ed25519Size && len(sig) == ed25519SignatureSize &&
		v.cache.VerifyWithOptions(pub, msg, sig, zip215)
}

// NewBatch returns an empty batch for about n signatures that takes expanded keys from v, and leaves
// them there.
func (v *Verifier) NewBatch(n int) *Batch {
	return &Batch{inner: ed25519.NewBatchVerifierWithCapacity(n), cache: v.cache}
}

// Batch checks many ed25519 signatures at once, at a half to a third of the cost of checking them one by
// one. It accepts exactly the signatures that [VerifyEd25519] accepts: the equation is cofactored in both,
// and if the batch as a whole fails each signature is checked by itself. (The batch equation weighs
// signatures by fresh random factors; a false one passes with probability 2^-128.) A Batch is not safe for
// concurrent use.
type Batch struct {
	inner *ed25519.BatchVerifier
	cache *cache.Verifier // nil: keys are expanded for this batch alone
}

// NewBatch returns an empty batch for about n signatures; any number can be added.
func NewBatch(n int) *Batch {
	inner := ed25519.NewBatchVerifierWithCapacity(n)
	if n > expandUpTo {
		inner.ForceNoPublicKeyExpansion()
	}
	return &Batch{inner: inner}
}

// Add adds a signature of msg by the bare 32-byte key pub. Whatever is wrong with its arguments, Add
// counts it as one more signature and Verify reports it false. The arguments are not kept.
func (b *Batch) Add(pub, msg, sig []byte) {
	if b.cache == nil {
		b.inner.AddWithOptions(pub, msg, sig, zip215)
		return
	}
	b.cache.AddWithOptions(b.inner, pub, msg, sig, zip215)
}

// Verify reports whether all added signatures are good and, in the order added, whether each is. An
// empty batch, which has verified nothing, is false and nil.
func (b *Batch) Verify() (all bool, each []bool) {
	return b.inner.Verify(nil)
}
