// SPDX-License-Identifier: Apache-2.0

package merkle

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math/bits"
)

// MaxLogProof is the greatest number of hashes in a LogProof.
const MaxLogProof = 64

// Log is the state of an append-only Merkle log as in RFC 6962, section 2.1:
//
//	leaf = SHA-256(0x00 || entry)
//	node = SHA-256(0x01 || left || right)
//
// The root of n > 1 leaves is node(root of the first k, root of the rest), where
// k is the greatest power of two below n. The root of no leaves is SHA-256 of
// the empty string.
//
// A Log holds the number of leaves and the roots of the complete subtrees that
// make it up, largest first: at most 64 hashes, enough to go on appending. To
// prove anything, the roots of all complete subtrees are needed; Append hands
// them out to be stored. The root of the subtree of 2^level leaves that starts
// at leaf index<<level has the name (level, index); level 0 is the leaves.
//
// The zero Log is the empty log. A Log is for one goroutine; a copy of the
// struct shares memory, so copy with Clone.
//
// A Log is encoded as its size (8 bytes, big-endian) and its hashes in order.
type Log struct {
	size uint64
	edge []Hash // one for each set bit of size, the highest first
}

// LogLeafHash returns the hash of a log's leaf for an entry.
func LogLeafHash(entry []byte) Hash {
	h := sha256.New()
	h.Write([]byte{0x00})
	h.Write(entry)
	return Hash(h.Sum(nil))
}

// LogNodeHash returns the hash of a log's node with two subtrees.
func LogNodeHash(left, right Hash) Hash {
	var buf [1 + 2*HashSize]byte
	buf[0] = 0x01
	copy(buf[1:], left[:])
	copy(buf[1+HashSize:], right[:])
	return sha256.Sum256(buf[:])
}

// Size returns the number of leaves.
func (l *Log) Size() uint64 { return l.size }

// Root returns the root hash.
func (l *Log) Root() Hash {
	if l.size == 0 {
		return sha256.Sum256(nil)
	}
	n := len(l.edge) - 1
	h := l.edge[n]
	for n--; n >= 0; n-- {
		h = LogNodeHash(l.edge[n], h)
	}
	return h
}

// Append adds a leaf by its hash and calls store, unless it is nil, for the leaf
// and each complete subtree that it completes, lowest level first.
func (l *Log) Append(leaf Hash, store func(level uint8, index uint64, h Hash)) {
	h, index := leaf, l.size
	for level := uint8(0); ; level++ {
		if store != nil {
			store(level, index, h)
		}
		if index&1 == 0 {
			break
		}
		last := len(l.edge) - 1
		h = LogNodeHash(l.edge[last], h)
		l.edge = l.edge[:last]
		index >>= 1
	}
	l.edge = append(l.edge, h)
	l.size++
}

// Edge calls visit for each complete subtree that makes up the log, largest
// first, and stops at the first error.
func (l *Log) Edge(visit func(level uint8, index uint64, h Hash) error) error {
	start := uint64(0)
	for _, h := range l.edge {
		level := uint8(bits.Len64(l.size-start) - 1)
		if err := visit(level, start>>level, h); err != nil {
			return err
		}
		start += 1 << level
	}
	return nil
}

// Clone returns a copy that shares no memory with l.
func (l *Log) Clone() Log { return Log{l.size, append([]Hash(nil), l.edge...)} }

// MarshalBinary returns the encoding described at Log.
func (l Log) MarshalBinary() ([]byte, error) {
	b := make([]byte, 8, 8+len(l.edge)*HashSize)
	binary.BigEndian.PutUint64(b, l.size)
	for _, h := range l.edge {
		b = append(b, h[:]...)
	}
	return b, nil
}

// UnmarshalBinary reads exactly one encoding. The error wraps ErrEncoding.
func (l *Log) UnmarshalBinary(b []byte) error {
	if len(b) < 8 {
		return fmt.Errorf("%w: a log is cut short", ErrEncoding)
	}
	size := binary.BigEndian.Uint64(b)
	edge, err := splitHashes(b[8:])
	if err != nil {
		return err
	}
	if want := bits.OnesCount64(size); len(edge) != want {
		return fmt.Errorf("%w: a log of size %d has %d hashes, this has %d", ErrEncoding, size, want, len(edge))
	}
	l.size, l.edge = size, edge
	return nil
}

// LogProof is a proof of inclusion or of consistency: the hashes in the order of
// RFC 6962, sections 2.1.1 and 2.1.2. Its encoding is the hashes in a row.
type LogProof []Hash

// MarshalBinary returns the hashes in a row.
func (p LogProof) MarshalBinary() ([]byte, error) {
	if len(p) > MaxLogProof {
		return nil, fmt.Errorf("%w: %d hashes", ErrTooLarge, len(p))
	}
	b := make([]byte, 0, len(p)*HashSize)
	for _, h := range p {
		b = append(b, h[:]...)
	}
	return b, nil
}

// UnmarshalBinary reads at most MaxLogProof hashes in a row. The error wraps
// ErrEncoding or ErrTooLarge.
func (p *LogProof) UnmarshalBinary(b []byte) error {
	if len(b) > MaxLogProof*HashSize {
		return fmt.Errorf("%w: %d bytes", ErrTooLarge, len(b))
	}
	hashes, err := splitHashes(b)
	if err != nil {
		return err
	}
	*p = hashes
	return nil
}

func splitHashes(b []byte) ([]Hash, error) {
	if len(b)%HashSize != 0 {
		return nil, fmt.Errorf("%w: %d bytes are not a row of hashes", ErrEncoding, len(b))
	}
	hashes := make([]Hash, 0, len(b)/HashSize)
	for ; len(b) > 0; b = b[HashSize:] {
		hashes = append(hashes, Hash(b[:HashSize]))
	}
	return hashes, nil
}

// HashReader returns the stored hash of a complete subtree, see Log.
type HashReader func(level uint8, index uint64) (Hash, error)

// ProveInclusion returns the proof that a leaf stands at an index of the log of
// a size. The index must be below the size; other errors are those of read.
func ProveInclusion(index, size uint64, read HashReader) (LogProof, error) {
	if index >= size {
		return nil, fmt.Errorf("no leaf %d in a log of %d", index, size)
	}
	return provePath(nil, 0, size, index, read)
}

// provePath appends the path of leaf index in the subtree of leaves [lo, hi),
// PATH of RFC 6962.
func provePath(p LogProof, lo, hi, index uint64, read HashReader) (LogProof, error) {
	if hi-lo == 1 {
		return p, nil
	}
	mid := lo + split(hi-lo)
	var err error
	var h Hash
	if index < mid {
		if p, err = provePath(p, lo, mid, index, read); err == nil {
			h, err = subtree(mid, hi, read)
		}
	} else {
		if p, err = provePath(p, mid, hi, index, read); err == nil {
			h, err = subtree(lo, mid, read)
		}
	}
	if err != nil {
		return nil, err
	}
	return append(p, h), nil
}

// ProveConsistency returns the proof that the log of newSize leaves extends the
// log of its first oldSize, with 0 < oldSize <= newSize. It is empty if the two
// are equal. Other errors are those of read.
func ProveConsistency(oldSize, newSize uint64, read HashReader) (LogProof, error) {
	if oldSize == 0 || oldSize > newSize {
		return nil, fmt.Errorf("no consistency proof from a log of %d to one of %d", oldSize, newSize)
	}
	return proveSub(nil, 0, newSize, oldSize, true, read)
}

// proveSub is SUBPROOF of RFC 6962 for the subtree of leaves [lo, hi), of which
// the old log has those below end.
func proveSub(p LogProof, lo, hi, end uint64, whole bool, read HashReader) (LogProof, error) {
	var err error
	var h Hash
	if end == hi {
		if whole {
			return p, nil
		}
		h, err = subtree(lo, hi, read)
	} else if mid := lo + split(hi-lo); end <= mid {
		if p, err = proveSub(p, lo, mid, end, whole, read); err == nil {
			h, err = subtree(mid, hi, read)
		}
	} else {
		if p, err = proveSub(p, mid, hi, end, false, read); err == nil {
			h, err = subtree(lo, mid, read)
		}
	}
	if err != nil {
		return nil, err
	}
	return append(p, h), nil
}

// split returns the greatest power of two below n, for n > 1.
func split(n uint64) uint64 { return 1 << (bits.Len64(n-1) - 1) }

// subtree returns the root of leaves [lo, hi), where lo is a multiple of a power
// of two that is no less than hi-lo.
func subtree(lo, hi uint64, read HashReader) (Hash, error) {
	if n := hi - lo; n&(n-1) == 0 {
		level := uint8(bits.TrailingZeros64(n))
		return read(level, lo>>level)
	}
	mid := lo + split(hi-lo)
	left, err := subtree(lo, mid, read)
	if err != nil {
		return Hash{}, err
	}
	right, err := subtree(mid, hi, read)
	if err != nil {
		return Hash{}, err
	}
	return LogNodeHash(left, right), nil
}

// InclusionRoot returns the root of the log of a size in which the proof shows
// that a leaf hash stands at an index. The error wraps ErrProof; the caller
// compares the root.
func InclusionRoot(index, size uint64, leaf Hash, p LogProof) (Hash, error) {
	if index >= size {
		return Hash{}, fmt.Errorf("%w: no leaf %d in a log of %d", ErrProof, index, size)
	}
	// Up to inner levels the path has a sibling on either side; above, it runs
	// along the right edge and only siblings on the left count.
	inner := bits.Len64(index ^ (size - 1))
	border := bits.OnesCount64(index >> inner)
	if len(p) != inner+border {
		return Hash{}, fmt.Errorf("%w: it has %d hashes, not %d", ErrProof, len(p), inner+border)
	}
	h := leaf
	for i, sibling := range p {
		if i < inner && index>>i&1 == 0 {
			h = LogNodeHash(h, sibling)
		} else {
			h = LogNodeHash(sibling, h)
		}
	}
	return h, nil
}

// CheckInclusion returns nil if the proof shows that a leaf hash stands at an
// index of the log with a size and root. The error wraps ErrProof.
func CheckInclusion(root Hash, index, size uint64, leaf Hash, p LogProof) error {
	got, err := InclusionRoot(index, size, leaf, p)
	return sameRoot(root, got, err)
}

// CheckConsistency returns nil if the proof shows that the log with newSize and
// newRoot extends the log with oldSize and oldRoot. Every log extends the empty
// one, by an empty proof. The error wraps ErrProof.
func CheckConsistency(oldSize, newSize uint64, oldRoot, newRoot Hash, p LogProof) error {
	switch {
	case oldSize > newSize:
		return fmt.Errorf("%w: a log of %d leaves cannot extend one of %d", ErrProof, newSize, oldSize)
	case oldSize == 0 || oldSize == newSize:
		if len(p) != 0 {
			return fmt.Errorf("%w: it has %d hashes, not 0", ErrProof, len(p))
		}
		if oldSize == newSize {
			return sameRoot(oldRoot, newRoot, nil)
		}
		return sameRoot(oldRoot, sha256.Sum256(nil), nil)
	}
	// The last complete subtree of the old log is the start of two paths up: to
	// the old root over siblings on the left, to the new root over all.
	level := bits.TrailingZeros64(oldSize)
	index := (oldSize - 1) >> level
	inner := bits.Len64(index ^ (newSize-1)>>level)
	border := bits.OnesCount64(index >> inner)
	var start Hash
	if oldSize == 1<<level {
		start = oldRoot // the old log is that subtree, so it is not in the proof
	} else if len(p) > 0 {
		start, p = p[0], p[1:]
	} else {
		return fmt.Errorf("%w: it is empty", ErrProof)
	}
	if len(p) != inner+border {
		return fmt.Errorf("%w: it has %d hashes, not %d, above its start", ErrProof, len(p), inner+border)
	}
	older, newer := start, start
	for i, sibling := range p {
		if i < inner && index>>i&1 == 0 {
			newer = LogNodeHash(newer, sibling)
		} else {
			older = LogNodeHash(sibling, older)
			newer = LogNodeHash(sibling, newer)
		}
	}
	return firstError(sameRoot(oldRoot, older, nil), sameRoot(newRoot, newer, nil))
}

func firstError(a, b error) error {
	if a != nil {
		return a
	}
	return b
}
