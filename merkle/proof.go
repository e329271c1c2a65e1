// SPDX-License-Identifier: Apache-2.0

package merkle

import (
	"encoding/binary"
	"fmt"
	"slices"
)

// MaxProofSize is the length in bytes of the longest encoding of a Proof. At a
// million records a proof has fewer than 1,000 bytes.
const MaxProofSize = 1 + MaxKeySize + HashSize + MaxDepth*stepSize

const stepSize = 2 + HashSize

// Proof shows what the map binds a key to: either a value or nothing. The key
// and the value are not in it; the checker brings them.
type Proof struct {
	// Steps is the path from the root, branch bits strictly increasing.
	Steps []Step
	// Other is the leaf at the end of the path if the key is absent, and nil if
	// the key exists.
	Other *Entry
}

// Step is one inner node on a path.
type Step struct {
	Bit     uint16 // the branch bit, below MaxDepth
	Sibling Hash   // the subtree which the path does not enter
}

// Entry is a key with the hash of its value.
type Entry struct {
	Key   []byte
	Value Hash
}

// Prove returns the proof that the map binds a key to its value or, if it does
// not hold the key, to nothing; Exists tells which. The error wraps ErrKey or
// ErrEmpty.
func (t Tree) Prove(key []byte) (Proof, error) {
	if err := CheckKey(key); err != nil {
		return Proof{}, err
	}
	if t.root == nil {
		return Proof{}, ErrEmpty
	}
	// The siblings' hashes are read after the walk, all at once: they lie all
	// over the memory, and the processor then fetches them side by side.
	var room [64]node
	siblings := room[:0]
	var p Proof
	p.Steps = make([]Step, 0, 32)
	n := t.root
	for {
		x, ok := n.(*inner)
		if !ok {
			break
		}
		side := bitAt(key, x.bit)
		p.Steps = append(p.Steps, Step{Bit: x.bit})
		siblings = append(siblings, x.child[1-side])
		n = x.child[side]
	}
	for i, s := range siblings {
		p.Steps[i].Sibling = s.digest()
	}
	if l := n.(*leaf); l.key != string(key) {
		p.Other = &Entry{[]byte(l.key), l.value}
	}
	return p, nil
}

// Exists reports whether the proof is one of existence; if not, it is one of
// absence. It says nothing about whether the proof holds.
func (p Proof) Exists() bool { return p.Other == nil }

// Root returns the root hash of the map in which the proof shows that a key is
// bound to a value hash. The error wraps ErrKey, or ErrProof if the proof is
// not one of existence or is malformed; the caller compares the root.
func (p Proof) Root(key []byte, value Hash) (Hash, error) {
	if err := CheckKey(key); err != nil {
		return Hash{}, err
	}
	if p.Other != nil {
		return Hash{}, fmt.Errorf("%w: it is a proof of absence, not of existence", ErrProof)
	}
	return p.climb(key, leafHash(key, value))
}

// RootAbsent returns the root hash of the map in which the proof shows that a
// key is absent. The error wraps ErrKey, or ErrProof if the proof is not one of
// absence of this key or is malformed; the caller compares the root.
func (p Proof) RootAbsent(key []byte) (Hash, error) {
	if err := CheckKey(key); err != nil {
		return Hash{}, err
	}
	if p.Other == nil {
		return Hash{}, fmt.Errorf("%w: it is a proof of existence, not of absence", ErrProof)
	}
	if err := CheckKey(p.Other.Key); err != nil {
		return Hash{}, fmt.Errorf("%w: the leaf reached has a %w", ErrProof, err)
	}
	if string(p.Other.Key) == string(key) {
		return Hash{}, fmt.Errorf("%w: the leaf reached is the key itself", ErrProof)
	}
	// The steps follow the wanted key's bits; the leaf reached has to share them.
	for _, s := range p.Steps {
		if bitAt(key, s.Bit) != bitAt(p.Other.Key, s.Bit) {
			return Hash{}, fmt.Errorf("%w: the leaf reached does not lie on the key's path", ErrProof)
		}
	}
	return p.climb(key, leafHash(p.Other.Key, p.Other.Value))
}

// Excludes reports whether a proof that holds for a key, of whichever kind, also
// shows that another key is absent. Where the other key would leave the path
// must then be no branch, and the leaf reached must not stand in for it. It says
// nothing about whether the proof holds for key: [Proof.Root] and
// [Proof.RootAbsent] tell.
//
// So one proof can show the absence of many keys that are prefixes of its own
// but for their ends, as those of a code's ancestors are.
func (p Proof) Excludes(key, other []byte) bool {
	bit, differ := firstDiff(key, other)
	if CheckKey(other) != nil || !differ {
		return p.Other != nil && CheckKey(other) == nil // other is the key itself
	}
	if p.Other != nil {
		end, differ := firstDiff(key, p.Other.Key)
		if !differ || end == bit {
			return false // where the other key would lie, the leaf reached does
		}
		if end < bit {
			return true // nothing has as much in common with key as the other does
		}
	}
	return !slices.ContainsFunc(p.Steps, func(s Step) bool { return s.Bit == bit })
}

// climb hashes from a leaf to the root along the path of a key.
func (p Proof) climb(key []byte, h Hash) (Hash, error) {
	if err := p.checkSteps(); err != nil {
		return Hash{}, err
	}
	for i := len(p.Steps) - 1; i >= 0; i-- {
		s := p.Steps[i]
		if bitAt(key, s.Bit) == 0 {
			h = InnerHash(s.Bit, h, s.Sibling)
		} else {
			h = InnerHash(s.Bit, s.Sibling, h)
		}
	}
	return h, nil
}

func (p Proof) checkSteps() error {
	floor := 0
	for _, s := range p.Steps {
		if int(s.Bit) < floor || s.Bit >= MaxDepth {
			return fmt.Errorf("%w: branch bits do not increase, or exceed %d", ErrProof, MaxDepth-1)
		}
		floor = int(s.Bit) + 1
	}
	return nil
}

// Check returns nil if the proof shows that the map with a root binds a key to
// a value. The error wraps ErrKey or ErrProof.
func Check(root Hash, key, value []byte, p Proof) error {
	got, err := p.Root(key, ValueHash(value))
	return sameRoot(root, got, err)
}

// CheckAbsent returns nil if the proof shows that the map with a root does not
// hold a key. The error wraps ErrKey or ErrProof.
func CheckAbsent(root Hash, key []byte, p Proof) error {
	got, err := p.RootAbsent(key)
	return sameRoot(root, got, err)
}

func sameRoot(want, got Hash, err error) error {
	if err == nil && want != got {
		err = fmt.Errorf("%w: it leads to the root %v, not %v", ErrProof, got, want)
	}
	return err
}

// AppendBinary appends the encoding given in the package comment. The error
// wraps ErrEncoding if the proof has no encoding.
func (p Proof) AppendBinary(b []byte) ([]byte, error) {
	if err := p.checkSteps(); err != nil {
		return b, fmt.Errorf("%w: %w", ErrEncoding, err)
	}
	if p.Other == nil {
		b = append(b, 0)
	} else {
		if err := CheckKey(p.Other.Key); err != nil {
			return b, fmt.Errorf("%w: %w", ErrEncoding, err)
		}
		b = append(b, byte(len(p.Other.Key)))
		b = append(b, p.Other.Key...)
		b = append(b, p.Other.Value[:]...)
	}
	for _, s := range p.Steps {
		b = binary.BigEndian.AppendUint16(b, s.Bit)
		b = append(b, s.Sibling[:]...)
	}
	return b, nil
}

// MarshalBinary returns the encoding given in the package comment.
func (p Proof) MarshalBinary() ([]byte, error) {
	return p.AppendBinary(make([]byte, 0, 64+len(p.Steps)*stepSize))
}

// UnmarshalBinary reads exactly one encoding, which is the only one of its
// proof. The error wraps ErrEncoding or ErrTooLarge.
func (p *Proof) UnmarshalBinary(b []byte) error {
	if len(b) > MaxProofSize {
		return fmt.Errorf("%w: %d bytes", ErrTooLarge, len(b))
	}
	if len(b) == 0 {
		return fmt.Errorf("%w: the proof is empty", ErrEncoding)
	}
	var q Proof
	n := int(b[0])
	b = b[1:]
	if n > 0 {
		if len(b) < n+HashSize {
			return fmt.Errorf("%w: the proof is cut short", ErrEncoding)
		}
		q.Other = &Entry{Key: append([]byte(nil), b[:n]...), Value: Hash(b[n : n+HashSize])}
		if err := CheckKey(q.Other.Key); err != nil {
			return fmt.Errorf("%w: %w", ErrEncoding, err)
		}
		b = b[n+HashSize:]
	}
	if len(b)%stepSize != 0 {
		return fmt.Errorf("%w: the proof is cut within a step", ErrEncoding)
	}
	q.Steps = make([]Step, 0, len(b)/stepSize)
	for ; len(b) > 0; b = b[stepSize:] {
		q.Steps = append(q.Steps, Step{binary.BigEndian.Uint16(b), Hash(b[2:stepSize])})
	}
	if err := q.checkSteps(); err != nil {
		return fmt.Errorf("%w: %w", ErrEncoding, err)
	}
	*p = q
	return nil
}
