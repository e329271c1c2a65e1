// SPDX-License-Identifier: Apache-2.0

// Package merkle holds the two authenticated structures of a zone, each with
// its prover and its checker side by side: the map (this file, tree.go,
// edit.go, build.go, proof.go, range.go) and the log (log.go).
//
// Whoever trusts a 32-byte root can check with this package alone, without a
// network or a database, that the map binds a key to a value, that it binds a
// key to nothing, that a listing of a range of keys is complete, that an entry
// stands in the log, and that a log extends an older one.
//
// # The map
//
// The map is a binary Patricia trie over byte keys. A key is a string of bits:
// bit 0 is the most significant bit of byte 0, and a bit past the key's end
// reads 0. A key has 1 to 255 bytes and its last byte is 0x00. Two different
// keys which are the same string of bits, such as "a\x00" and "a\x00\x00", are
// the same place in the trie; the second one is refused (ErrClash). A key
// scheme in which no component holds 0x00, or whose components have a fixed
// width, never meets that refusal. On all other pairs of keys, the order of
// bits and the order of bytes are the same.
//
// A leaf stands for one key. An inner node has exactly two subtrees and a
// branch bit b: all keys below it share their bits before b, those on the left
// have bit b = 0 and those on the right have bit b = 1. So branch bits strictly
// increase from the root to a leaf, no path is longer than 2,040 nodes, and the
// same set of keys has the same trie, whatever the order in which it was made.
//
//	value hash = SHA-256(value)
//	leaf       = SHA-256(0x00 || uvarint(len(key)) || key || 0x20 || value hash)
//	inner      = SHA-256(0x01 || b as 2 bytes, big-endian || left || right)
//
// The root of a map is the hash of its topmost node; the root of an empty map
// is 32 zero bytes, against which no proof ever checks.
//
// The two keys {0x61, 0x00} and {0x62, 0x00} with the values "1" and "2" differ
// first in bit 6, so the root is inner(6, leaf(61 00), leaf(62 00)) =
// 98a50729b4cd0519261f641202ee85262f25b6ca70a94bb29b45b637bfb29391.
//
// # Proofs about one key
//
// A proof is the path that the wanted key's own bits take from the root: for
// each inner node its branch bit and the hash of the other subtree. If the path
// ends at the wanted key, the key exists. If it ends at another key's leaf, the
// wanted key is absent, because the path of a key is determined by the branch
// bits, and those are hashed. Encoding:
//
//	n (1 byte)                      0: the key exists; else the length of the other key
//	other key, its value hash       n + 32 bytes, only if n > 0
//	steps from the root             34 bytes each: branch bit (2, big-endian), sibling
//
// # Proofs about a range
//
// A range proof opens the part of the trie that concerns the range [lo, hi) and
// closes the rest. See RangeProof for its form and for the argument why a
// listing that checks is complete.
//
// # The log
//
// The log is that of RFC 6962, section 2.1. See Log.
package merkle

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"math/bits"
)

// Limits that every prover keeps and every checker enforces.
const (
	HashSize   = 32             // bytes in a Hash
	MaxKeySize = 255            // bytes in a key of the map
	MaxDepth   = 8 * MaxKeySize // inner nodes on a path; branch bits are below it
)

// Errors. They are wrapped with what was found; test with errors.Is.
var (
	// ErrKey: a key is empty, too long or does not end in 0x00.
	ErrKey = errors.New("bad key")
	// ErrClash: a key differs from one in the map by trailing zero bytes only.
	ErrClash = errors.New("key clashes with one in the map")
	// ErrOrder: keys that must ascend do not.
	ErrOrder = errors.New("keys out of order")
	// ErrEmpty: nothing can be proven about an empty map.
	ErrEmpty = errors.New("the map is empty")
	// ErrRange: the bounds of a range are not a range, or too long.
	ErrRange = errors.New("bad range")
	// ErrTooLarge: a proof would exceed, or exceeds, its size limit.
	ErrTooLarge = errors.New("proof is too large")
	// ErrEncoding: bytes are not the one encoding of a value of this package.
	ErrEncoding = errors.New("bad encoding")
	// ErrProof: a proof does not show what it is said to show.
	ErrProof = errors.New("proof does not hold")
)

// Hash is a SHA-256 digest. The zero Hash is no digest of anything known; it is
// the root of the empty map.
type Hash [HashSize]byte

// String returns the hash as 64 lower-case hexadecimal digits.
func (h Hash) String() string { return hex.EncodeToString(h[:]) }

// IsZero reports whether h is the zero Hash.
func (h Hash) IsZero() bool { return h == Hash{} }

// MarshalText returns the hash as 64 lower-case hexadecimal digits.
func (h Hash) MarshalText() ([]byte, error) { return []byte(h.String()), nil }

// UnmarshalText reads exactly 64 lower-case hexadecimal digits.
func (h *Hash) UnmarshalText(text []byte) error {
	parsed, err := ParseHash(string(text))
	if err != nil {
		return err
	}
	*h = parsed
	return nil
}

// ParseHash reads exactly 64 lower-case hexadecimal digits.
func ParseHash(s string) (Hash, error) {
	var h Hash
	if len(s) != 2*HashSize {
		return Hash{}, fmt.Errorf("%w: a hash has 64 hexadecimal digits, this has %d characters", ErrEncoding, len(s))
	}
	if _, err := hex.Decode(h[:], []byte(s)); err != nil || h.String() != s {
		return Hash{}, fmt.Errorf("%w: a hash has lower-case hexadecimal digits only", ErrEncoding)
	}
	return h, nil
}

// ValueHash returns the digest under which a leaf holds a value.
func ValueHash(value []byte) Hash { return sha256.Sum256(value) }

// LeafHash returns the hash of the map's leaf for a key and a value hash. The
// key must satisfy CheckKey.
func LeafHash(key []byte, value Hash) Hash { return leafHash(key, value) }

// InnerHash returns the hash of the map's inner node with a branch bit and two
// subtrees.
func InnerHash(bit uint16, left, right Hash) Hash {
	var buf [3 + 2*HashSize]byte
	buf[0] = 0x01
	binary.BigEndian.PutUint16(buf[1:], bit)
	copy(buf[3:], left[:])
	copy(buf[3+HashSize:], right[:])
	return sha256.Sum256(buf[:])
}

func leafHash[K string | []byte](key K, value Hash) Hash {
	var buf [1 + 2 + MaxKeySize + 1 + HashSize]byte
	b := append(buf[:0], 0x00)
	b = binary.AppendUvarint(b, uint64(len(key)))
	b = append(b, key...)
	b = append(b, HashSize)
	b = append(b, value[:]...)
	return sha256.Sum256(b)
}

// CheckKey reports, wrapping ErrKey, why a key cannot stand in the map: it is
// empty, longer than MaxKeySize, or does not end in 0x00.
func CheckKey(key []byte) error { return checkKey(key) }

// CheckKeyString is CheckKey for a key that is a string already.
func CheckKeyString(key string) error { return checkKey(key) }

func checkKey[K string | []byte](key K) error {
	switch {
	case len(key) == 0:
		return fmt.Errorf("%w: it is empty", ErrKey)
	case len(key) > MaxKeySize:
		return fmt.Errorf("%w: it has %d bytes, at most %d are allowed", ErrKey, len(key), MaxKeySize)
	case key[len(key)-1] != 0:
		return fmt.Errorf("%w: %q does not end in 0x00", ErrKey, key)
	}
	return nil
}

// bitAt returns bit i of a key, 0 past its end.
func bitAt[K string | []byte](key K, i uint16) int {
	if int(i>>3) >= len(key) {
		return 0
	}
	return int(key[i>>3]>>(7-i&7)) & 1
}

// firstDiff returns the first bit in which two keys differ. ok is false if they
// are the same string of bits, that is, differ by trailing zero bytes at most.
func firstDiff[A, B string | []byte](a A, b B) (bit uint16, ok bool) {
	n := max(len(a), len(b))
	for i := range n {
		var x, y byte
		if i < len(a) {
			x = a[i]
		}
		if i < len(b) {
			y = b[i]
		}
		if x != y {
			return uint16(8*i + bits.LeadingZeros8(x^y)), true
		}
	}
	return 0, false
}

// trimZeros returns a key without its trailing zero bytes. Two keys are the
// same string of bits exactly if they are equal after it, and the order of bits
// is the order of bytes after it.
func trimZeros[K string | []byte](key K) K {
	n := len(key)
	for n > 0 && key[n-1] == 0 {
		n--
	}
	return key[:n]
}
