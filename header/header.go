// SPDX-License-Identifier: Apache-2.0

// Package header checks that a block header was signed by the validators it
// names, and that it follows from a header already trusted.
//
// It is CometBFT v0.38's header hash, commit sign-bytes, validator-set hash and
// light-client rules, written anew on the standard library alone, so that a
// program which only verifies does not link a consensus engine. The tests hold
// it against CometBFT itself; testdata/vectors.json pins it for other languages.
// Everything here is a function of its arguments: no clock, no network, no
// randomness. All functions are safe for concurrent use as long as nobody
// changes their arguments meanwhile.
//
// # What is hashed and what is signed
//
// H is SHA-256. A list of byte strings is hashed as an RFC 6962 tree: a leaf is
// H(0x00 || bytes), a node is H(0x01 || left || right), and the left part holds
// the largest power of two of leaves that is smaller than the whole.
//
// The header hash is the tree over fourteen protobuf encodings, in this order:
//
//	 1 version                Consensus{1: block, 2: app}
//	 2 chain id               StringValue{1: text}
//	 3 height                 Int64Value{1: height}
//	 4 time                   Timestamp{1: seconds, 2: nanoseconds}
//	 5 last block id          BlockID{1: hash, 2: PartSetHeader{1: total, 2: hash}}
//	 6 last commit hash       BytesValue{1: hash}, and likewise
//	 7 data hash           8 validators hash    9 next validators hash
//	10 consensus hash     11 app hash          12 last results hash
//	13 evidence hash      14 proposer address
//
// The validator-set hash is the tree over SimpleValidator{1: PublicKey{1: ed25519
// key}, 2: power}, in set order: power descending, then address ascending, where
// the address is the first 20 bytes of H(key).
//
// A validator signs the length-prefixed CanonicalVote{1: 2 (precommit), 2: height
// as sfixed64, 3: round as sfixed64, 4: BlockID of this header, 5: Timestamp of
// the vote, 6: chain id}. As always in proto3, a number that is zero is left out.
//
// # Commits are minimal
//
// A [Commit] holds only votes for the block. The block hash and the height are
// the header's, the addresses are the validators', so none of them is stored. Its
// votes are the ones this walk takes, and no others: go through the votes in index
// order and take each one, until the power taken exceeds two thirds of the whole
// set's; then stop. Hence removing the last vote leaves two thirds or less, and
// every vote present was needed when the walk reached it. [VerifySkipping] goes on
// beyond two thirds, taking only votes of validators that are in the trusted set,
// until these exceed one third of the trusted set's power. [Minimal] and
// [MinimalSkipping] perform the walk for a prover; the verifying functions repeat
// it, so a superfluous vote is refused, and every vote accepted was verified.
//
// # Compact encoding
//
// One value has one encoding; decoders refuse every other, and trailing bytes. A
// uvarint is unsigned LEB128 in its shortest form. A time is the uvarint of the
// zigzag of its Unix seconds, then its nanoseconds as four big-endian bytes.
//
//	header     = flags app-version height time [last-block-id] last-commit-hash
//	             [data-hash] next-validators-hash consensus-hash [last-results-hash]
//	             [evidence-hash] proposer [app-hash] [chain-id validators-hash]
//	flags      = one byte, the sum of
//	             0x01  app-hash is present
//	             0x02  chain-id and validators-hash are present (only with 0x01)
//	             0x04  last-block-id is present (absent: first block of the chain)
//	             0x08  data-hash          is present; absent it is the hash of
//	             0x10  last-results-hash  the empty list, H(""), and must not be
//	             0x20  evidence-hash      written out
//	last-block-id = hash uvarint(parts total) parts-hash
//	chain-id   = uvarint(length) bytes
//	commit     = uvarint(round) uvarint(parts total) parts-hash uvarint(count) count*vote
//	vote       = uvarint(index - previous index - 1, the previous of the first being -1)
//	             time signature
//	validators = uvarint(count) count*(key uvarint(power))
//
// Numbers are uvarints; hashes and keys have 32 bytes, the proposer 20, a signature
// 64. The block version is not written, being [BlockProtocol]. A header in a bundle
// is stripped (flags without 0x02): its verifier knows the chain id from the trust
// root, computes the validators hash from the validators and, when the header
// serves a state proof, the app hash from that proof. So a contradiction between
// these and the header shows as a wrong signature, and cannot be overlooked.
//
// # Example
//
// Given an answer's parts, and trusting a set of validators:
//
//	h, err := header.DecodeStripped(stripped)
//	...
//	h.ChainID, h.ValidatorsHash, h.AppHash = trust.ChainID, vals.Hash(), root
//	err = header.VerifyCommit(trust.ChainID, vals, h, commit, verify)
//
// # Where this is stricter than CometBFT
//
// Commits are minimal, as said. Validators number 1 to 128, all Ed25519 and of
// positive power. The chain id has 1 to 50 printable ASCII characters without
// space. Every hash has 32 bytes (CometBFT allows empty ones), except that the
// first block has no last block id. A block has 1 to 1601 parts. Times, also of
// votes, lie after 0001-01-01T00:00:00Z and before the year 10000. The trusted
// validators given to [VerifySkipping] must be those the trusted header names.
package header

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"time"
)

// Limits of what this package accepts.
const (
	BlockProtocol = 11   // the only block protocol version
	MaxChainID    = 50   // bytes in a chain id
	MaxParts      = 1601 // parts in a block
	MaxValidators = 128  // validators in a set
)

// Every error of this package wraps one of these two.
var (
	// ErrInvalid says that something is contradictory or malformed: a wrong
	// signature, a hash that does not match, too few or superfluous votes, an
	// encoding that is not canonical. No further data can mend it.
	ErrInvalid = errors.New("invalid")

	// ErrNotConnected says that a header is consistent in itself, signed by more
	// than two thirds of the validators it names, but that the trusted header
	// does not suffice to tell whether those are the chain's. Headers in between,
	// or a newer trusted header, may.
	ErrNotConnected = errors.New("not connected to the trusted header")
)

func invalid(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrInvalid}, args...)...)
}

func notConnected(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrNotConnected}, args...)...)
}

// Hash is a SHA-256 digest.
type Hash [sha256.Size]byte

// String returns the hash as 64 lower-case hexadecimal digits.
func (h Hash) String() string { return hex.EncodeToString(h[:]) }

// Bytes returns a copy of the hash.
func (h Hash) Bytes() []byte { return h[:] }

// IsZero reports whether h is the zero value, which stands for "not known".
func (h Hash) IsZero() bool { return h == Hash{} }

// Address identifies a validator: the first 20 bytes of SHA-256 of its key.
type Address [20]byte

// Version is the pair of protocol versions in a header.
type Version struct {
	Block uint64 // always BlockProtocol
	App   uint64 // the application's, as its state machine sets it
}

// BlockID names a block by its header's hash and by the hash of the parts in
// which it is sent. The zero value is "no block".
type BlockID struct {
	Hash       Hash
	PartsTotal uint32 // 1 to MaxParts
	PartsHash  Hash
}

// Header is a CometBFT block header.
//
// Compare headers by [Header.Hash], times by [time.Time.Equal].
type Header struct {
	Version Version
	ChainID string    // 1 to MaxChainID printable ASCII characters, no space
	Height  int64     // from 1
	Time    time.Time // exact to the nanosecond; the zone does not matter

	LastBlockID    BlockID // zero in the first block of a chain only
	LastCommitHash Hash    // votes for the previous block
	DataHash       Hash    // transactions

	ValidatorsHash     Hash // validators of this block
	NextValidatorsHash Hash // validators of the next block
	ConsensusHash      Hash // consensus parameters
	AppHash            Hash // state after the previous block
	LastResultsHash    Hash // results of the previous block's transactions

	EvidenceHash    Hash    // evidence of misbehaviour
	ProposerAddress Address // who proposed the block
}

// Check reports whether the fields of h keep to the ranges stated at [Header].
// It fails as well when one of the fields that [DecodeStripped] leaves open is
// still empty. The error wraps [ErrInvalid].
func (h *Header) Check() error {
	if err := checkChainID(h.ChainID); err != nil {
		return err
	}
	if h.ValidatorsHash.IsZero() {
		return invalid("header has no validators hash")
	}
	if h.AppHash.IsZero() {
		return invalid("header has no app hash")
	}
	return h.checkStripped()
}

// checkStripped is Check without the chain id, validators hash and app hash.
func (h *Header) checkStripped() error {
	if h.Version.Block != BlockProtocol {
		return invalid("block protocol is %d, not %d", h.Version.Block, BlockProtocol)
	}
	if h.Height < 1 {
		return invalid("height %d is below 1", h.Height)
	}
	if !validTime(h.Time) {
		return invalid("header time is outside the years 1 to 9999")
	}
	if h.LastBlockID != (BlockID{}) {
		if h.LastBlockID.Hash.IsZero() || h.LastBlockID.PartsHash.IsZero() {
			return invalid("last block id is incomplete")
		}
		return checkParts(h.LastBlockID.PartsTotal)
	}
	return nil
}

// Hash returns the hash of h, which is the hash of its block. For a header that
// fails [Header.Check] the result is defined but means nothing.
func (h *Header) Hash() Hash {
	return treeHash([][]byte{
		protoVersion(h.Version),
		protoString(1, h.ChainID),
		protoUint(1, uint64(h.Height)),
		protoTime(h.Time),
		protoBlockID(h.LastBlockID),
		protoBytes(1, h.LastCommitHash[:]),
		protoBytes(1, h.DataHash[:]),
		protoBytes(1, h.ValidatorsHash[:]),
		protoBytes(1, h.NextValidatorsHash[:]),
		protoBytes(1, h.ConsensusHash[:]),
		protoBytes(1, h.AppHash[:]),
		protoBytes(1, h.LastResultsHash[:]),
		protoBytes(1, h.EvidenceHash[:]),
		protoBytes(1, h.ProposerAddress[:]),
	})
}

func checkChainID(id string) error {
	if len(id) < 1 || len(id) > MaxChainID {
		return invalid("chain id has %d characters, not 1 to %d", len(id), MaxChainID)
	}
	for i := range len(id) {
		if id[i] <= ' ' || id[i] > '~' {
			return invalid("chain id has byte 0x%02x at offset %d, which is not a printable ASCII character", id[i], i)
		}
	}
	return nil
}

func checkParts(total uint32) error {
	if total < 1 || total > MaxParts {
		return invalid("block has %d parts, not 1 to %d", total, MaxParts)
	}
	return nil
}

// The Unix seconds of the years 1 to 9999, the range of a protobuf Timestamp.
const (
	minSeconds = -62135596800 // 0001-01-01T00:00:00Z
	maxSeconds = 253402300799 // 9999-12-31T23:59:59Z
)

func validTime(t time.Time) bool {
	s := t.Unix()
	return s >= minSeconds && s <= maxSeconds && !t.IsZero()
}

// emptyHash is the hash of the empty list.
var emptyHash = Hash(sha256.Sum256(nil))

// treeHash returns the RFC 6962 tree hash of the leaves, of which there is one
// at least.
func treeHash(leaves [][]byte) Hash {
	if len(leaves) == 1 {
		return sha256.Sum256(append([]byte{0}, leaves[0]...))
	}
	split := 1
	for split*2 < len(leaves) {
		split *= 2
	}
	left, right := treeHash(leaves[:split]), treeHash(leaves[split:])
	node := make([]byte, 0, 1+2*sha256.Size)
	node = append(node, 1)
	node = append(node, left[:]...)
	node = append(node, right[:]...)
	return sha256.Sum256(node)
}
