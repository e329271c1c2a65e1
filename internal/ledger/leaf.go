// SPDX-License-Identifier: Apache-2.0

package ledger

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math/bits"

	"cityid"
	"cityid/merkle"
)

const (
	MaxLeafProof = 2 << 10 // octets of an encoded LeafProof
	maxPath      = 20      // hashes in one: log2 of cityid.MaxBatch
)

// LeafHash returns the hash of an entry's leaf: that of RFC 6962 for the data
// salt || entry. Without the 32 random octets of the salt nobody can tell whether a
// leaf is that of an entry.
func LeafHash(salt cityid.Digest, entry []byte) merkle.Hash {
	return merkle.LogLeafHash(append(salt[:], entry...))
}

// SizeBucket returns ceil(log2(leaves)), all that an anchor tells of a batch's size;
// 0 for one leaf and for none.
func SizeBucket(leaves uint64) uint8 {
	if leaves < 2 {
		return 0
	}
	return uint8(bits.Len64(leaves - 1))
}

// BatchRoot returns what is anchored of a batch: SHA-256 of "cityid/batch/1", the
// number of leaves as 8 octets, and the root of the RFC 6962 tree over them. The
// tree's root alone would leave a path true for several numbers of leaves.
func BatchRoot(tree merkle.Hash, leaves uint64) cityid.Digest {
	b := binary.BigEndian.AppendUint64([]byte("cityid/batch/1"), leaves)
	return sha256.Sum256(append(b, tree[:]...))
}

// LeafProof proves that an entry is in an anchored batch: to whoever knows that
// the party anchored Root under that sequence of that log.
type LeafProof struct {
	Salt     cityid.Digest   `cbor:"1,keyasint" json:"salt"`
	Entry    cityid.Bytes    `cbor:"2,keyasint" json:"entry"`
	Party    cityid.Code     `cbor:"3,keyasint" json:"party"`    // whose log it is
	Log      string          `cbor:"4,keyasint" json:"log"`      // under which the batch was anchored
	Sequence uint64          `cbor:"5,keyasint" json:"sequence"` // of the batch in that log, from 1
	Index    uint64          `cbor:"6,keyasint" json:"index"`    // of the leaf in the batch, from 0
	Size     uint64          `cbor:"7,keyasint" json:"size"`     // leaves in the batch, at most 2^20
	Path     []cityid.Digest `cbor:"8,keyasint" json:"path"`     // as in RFC 6962, section 2.1.1
	Root     cityid.Digest   `cbor:"9,keyasint" json:"root"`
}

// CheckLeaf verifies a proof and returns the entry and receipt in it. The caller
// compares it with the anchor, see [CheckAnchor]. The error matches [ErrInvalid].
func CheckLeaf(p *LeafProof) (Entry, Receipt, error) {
	e, r, err := p.check()
	if err != nil {
		return Entry{}, Receipt{}, fmt.Errorf("proof of a leaf: %w", err)
	}
	return e, r, nil
}

// CheckAnchor returns nil if an anchor is that of the batch for which a proof speaks.
// Together with [CheckLeaf], and a proof that the chain holds the anchor, it shows
// that the party had the entry by then. The error matches [ErrInvalid].
func CheckAnchor(p *LeafProof, a *cityid.Anchor) error {
	if a.Party != p.Party || a.Log != p.Log || a.Sequence != p.Sequence || a.Root != p.Root || a.Bucket != SizeBucket(p.Size) {
		return fmt.Errorf("proof of a leaf: %w: it is for batch %d of log %s of %v, and the anchor is not that batch's", ErrInvalid, p.Sequence, p.Log, p.Party)
	}
	return nil
}

func (p *LeafProof) check() (e Entry, r Receipt, err error) {
	if e, r, err = DecodeEntry(p.Entry); err != nil {
		return e, r, err
	}
	if err := checkLog(p.Log); err != nil {
		return e, r, err
	}
	switch {
	case p.Party.IsZero():
		return e, r, fmt.Errorf("%w: it does not say whose log it is", ErrInvalid)
	case p.Sequence < 1 || p.Sequence > MaxPosition:
		return e, r, fmt.Errorf("%w: sequence %d, want 1 to %d", ErrInvalid, p.Sequence, uint64(MaxPosition))
	case p.Size < 1 || p.Size > cityid.MaxBatch:
		return e, r, fmt.Errorf("%w: a batch of %d leaves, want 1 to %d", ErrInvalid, p.Size, cityid.MaxBatch)
	case len(p.Path) > maxPath:
		return e, r, fmt.Errorf("%w: a path of %d hashes, want at most %d", ErrInvalid, len(p.Path), maxPath)
	}
	path := make(merkle.LogProof, len(p.Path))
	for i, h := range p.Path {
		path[i] = merkle.Hash(h)
	}
	tree, err := merkle.InclusionRoot(p.Index, p.Size, LeafHash(p.Salt, p.Entry), path)
	if err != nil {
		return e, r, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	if BatchRoot(tree, p.Size) != p.Root {
		return e, r, fmt.Errorf("%w: the path does not lead to the batch's root", ErrInvalid)
	}
	return e, r, nil
}

// Encode returns the octets of a proof that holds, or why it does not.
func (p *LeafProof) Encode() ([]byte, error) {
	if _, _, err := CheckLeaf(p); err != nil {
		return nil, err
	}
	return cityid.MustMarshal(p), nil
}

// DecodeLeafProof reads exactly one proof of at most [MaxLeafProof] octets and
// verifies it as [CheckLeaf] does. The error matches [ErrInvalid].
func DecodeLeafProof(b []byte) (p LeafProof, e Entry, r Receipt, err error) {
	if err = decode("proof of a leaf", b, MaxLeafProof, &p); err == nil {
		e, r, err = CheckLeaf(&p)
	}
	if err != nil {
		return LeafProof{}, Entry{}, Receipt{}, err
	}
	return p, e, r, nil
}
