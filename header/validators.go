// SPDX-License-Identifier: Apache-2.0

package header

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"math"
	"slices"
)

// MaxTotalPower bounds the sum of the powers in a set, so that no tally overflows.
const MaxTotalPower = int64(math.MaxInt64) / 8

// Validator is a member of a set, with an Ed25519 key.
type Validator struct {
	PublicKey [32]byte
	Power     int64 // from 1
}

// Address returns the first 20 bytes of SHA-256 of the key.
func (v Validator) Address() Address {
	sum := sha256.Sum256(v.PublicKey[:])
	return Address(sum[:20])
}

// Validators is a set in canonical order: power descending, then address
// ascending. A validator's place in it is its index.
type Validators []Validator

// Sort puts v into canonical order.
func (v Validators) Sort() { slices.SortFunc(v, compareValidators) }

func compareValidators(a, b Validator) int {
	if c := cmp.Compare(b.Power, a.Power); c != 0 {
		return c
	}
	x, y := a.Address(), b.Address()
	return bytes.Compare(x[:], y[:])
}

// Check reports whether v has 1 to [MaxValidators] members in canonical order,
// none twice, of positive powers that sum to [MaxTotalPower] at most. The error
// wraps [ErrInvalid].
func (v Validators) Check() error {
	if len(v) < 1 || len(v) > MaxValidators {
		return invalid("validator set has %d members, not 1 to %d", len(v), MaxValidators)
	}
	var total int64
	seen := make(map[Address]bool, len(v))
	for i, val := range v {
		if val.Power < 1 || val.Power > MaxTotalPower-total {
			return invalid("validator %d has power %d, which is not positive or makes the total exceed %d", i, val.Power, MaxTotalPower)
		}
		total += val.Power
		addr := val.Address()
		if seen[addr] {
			return invalid("validator %d (key %x) is in the set twice", i, val.PublicKey)
		}
		seen[addr] = true
		if i > 0 && compareValidators(v[i-1], val) >= 0 {
			return invalid("validator %d is out of order", i)
		}
	}
	return nil
}

// Total returns the sum of the powers of a set that passes [Validators.Check].
func (v Validators) Total() int64 {
	var total int64
	for _, val := range v {
		total += val.Power
	}
	return total
}

// Hash returns the validator-set hash of a set that passes [Validators.Check];
// of an empty one, the hash of the empty list.
func (v Validators) Hash() Hash {
	if len(v) == 0 {
		return emptyHash
	}
	leaves := make([][]byte, len(v))
	for i, val := range v {
		leaves[i] = protoValidator(val)
	}
	return treeHash(leaves)
}
