// SPDX-License-Identifier: Apache-2.0

package merkle

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
)

// MaxRangeProofSize is the greatest length in bytes of an encoded RangeProof. A
// longer listing is proven in parts.
const MaxRangeProofSize = 8 << 20

// Kinds of frontier nodes in the encoding of a RangeProof.
const (
	kindClosed  = 0x00
	kindWitness = 0x01
	kindEntry   = 0x02
)

// AppendBinary appends the encoding described at RangeProof. It never fails for
// a proof from ProveRange or UnmarshalBinary; the zero RangeProof, which proves
// nothing, wraps ErrEncoding.
func (p RangeProof) AppendBinary(b []byte) ([]byte, error) {
	if len(p.frontier) == 0 {
		return b, fmt.Errorf("%w: the proof is empty", ErrEncoding)
	}
	var last []byte
	for i := range p.frontier {
		f := &p.frontier[i]
		switch {
		case f.key == nil:
			b = append(b, kindClosed)
		case f.entry:
			b = append(b, kindEntry)
		default:
			b = append(b, kindWitness)
		}
		if i > 0 && (f.key == nil || p.frontier[i-1].key == nil) {
			b = binary.BigEndian.AppendUint16(b, f.bit)
		}
		if f.key != nil {
			shared := commonPrefix(last, f.key)
			b = append(b, byte(shared), byte(len(f.key)-shared))
			b = append(b, f.key[shared:]...)
			last = f.key
		}
		if !f.entry {
			b = append(b, f.hash[:]...)
		}
	}
	return b, nil
}

// MarshalBinary returns the encoding described at RangeProof.
func (p RangeProof) MarshalBinary() ([]byte, error) { return p.AppendBinary(nil) }

// UnmarshalBinary reads exactly one encoding, which is the only one of its
// proof. The error wraps ErrEncoding or ErrTooLarge.
func (p *RangeProof) UnmarshalBinary(b []byte) error {
	if len(b) > MaxRangeProofSize {
		return fmt.Errorf("%w: %d bytes", ErrTooLarge, len(b))
	}
	d := rangeDecoder{rest: b}
	var frontier []frontierNode
	for len(d.rest) > 0 {
		var prev *frontierNode
		if n := len(frontier); n > 0 {
			prev = &frontier[n-1]
		}
		f, err := d.node(prev)
		if err != nil {
			return fmt.Errorf("%w: node %d: %w", ErrEncoding, len(frontier), err)
		}
		frontier = append(frontier, f)
	}
	if len(frontier) == 0 {
		return fmt.Errorf("%w: the proof is empty", ErrEncoding)
	}
	p.frontier = frontier
	return nil
}

type rangeDecoder struct {
	rest []byte
	last []byte // key of the last open leaf
}

// take returns the next n bytes.
func (d *rangeDecoder) take(n int) ([]byte, error) {
	if len(d.rest) < n {
		return nil, errors.New("the proof is cut short")
	}
	b := d.rest[:n]
	d.rest = d.rest[n:]
	return b, nil
}

// node reads the next node of a frontier, after prev, which is nil at first.
func (d *rangeDecoder) node(prev *frontierNode) (f frontierNode, err error) {
	kind, err := d.take(1)
	if err != nil {
		return f, err
	}
	if kind[0] > kindEntry {
		return f, fmt.Errorf("unknown kind %#02x", kind)
	}
	f.entry = kind[0] == kindEntry
	closed := kind[0] == kindClosed
	if prev != nil && (closed || prev.key == nil) {
		bit, err := d.take(2)
		if err != nil {
			return f, err
		}
		f.bit = binary.BigEndian.Uint16(bit)
	}
	if !closed {
		if f.key, err = d.key(); err != nil {
			return f, err
		}
		if prev != nil && prev.key != nil {
			f.bit, _ = firstDiff(prev.key, f.key)
		}
	}
	if !f.entry {
		h, err := d.take(HashSize)
		if err != nil {
			return f, err
		}
		f.hash = Hash(h)
	}
	return f, nil
}

// key reads the key of an open leaf.
func (d *rangeDecoder) key() ([]byte, error) {
	head, err := d.take(2)
	if err != nil {
		return nil, err
	}
	shared, n := int(head[0]), int(head[1])
	suffix, err := d.take(n)
	if err != nil {
		return nil, err
	}
	if shared > len(d.last) {
		return nil, errors.New("a key shares more than there is")
	}
	key := make([]byte, 0, shared+n)
	key = append(append(key, d.last[:shared]...), suffix...)
	if err := CheckKey(key); err != nil {
		return nil, err
	}
	if commonPrefix(d.last, key) != shared {
		return nil, errors.New("a key does not share as much as it can")
	}
	if bytes.Compare(trimZeros(key), trimZeros(d.last)) <= 0 && d.last != nil {
		return nil, ErrOrder
	}
	d.last = key
	return key, nil
}
