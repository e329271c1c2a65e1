// SPDX-License-Identifier: Apache-2.0

package merkle

import "fmt"

// Builder makes a Tree from keys in ascending order, in one pass: about a
// second for a million keys. The zero Builder is ready. It is for one goroutine.
type Builder struct {
	// The right edge of the trie so far: inner nodes whose right subtree is not
	// complete yet, branch bits ascending, then the subtree to hang under the
	// last of them.
	edge []*inner
	last node
	key  string // the newest key
	len  int
}

// Len returns the number of keys added.
func (b *Builder) Len() int { return b.len }

// Add appends a key, which must be greater than the one before. The error wraps
// ErrKey, ErrOrder or ErrClash; the Builder is then unchanged.
func (b *Builder) Add(key []byte, value Hash) error {
	if err := CheckKey(key); err != nil {
		return err
	}
	if b.last == nil {
		b.key = string(key)
		b.last = newLeaf(b.key, value)
		b.len = 1
		return nil
	}
	bit, ok := firstDiff(b.key, key)
	if !ok {
		if b.key == string(key) {
			return fmt.Errorf("%w: %q comes twice", ErrOrder, key)
		}
		return fmt.Errorf("%w: %q and %q differ by trailing zero bytes only", ErrClash, key, b.key)
	}
	if bitAt(key, bit) == 0 {
		return fmt.Errorf("%w: %q comes after %q", ErrOrder, key, b.key)
	}
	b.fold(int(bit))
	b.edge = append(b.edge, &inner{child: [2]node{b.last, nil}, bit: bit})
	b.key = string(key)
	b.last = newLeaf(b.key, value)
	b.len++
	return nil
}

// Tree returns the map of the keys added and resets the Builder.
func (b *Builder) Tree() Tree {
	b.fold(-1)
	t := Tree{b.last, b.len}
	*b = Builder{}
	return t
}

// fold completes the inner nodes of the edge that branch past a bit.
func (b *Builder) fold(bit int) {
	for len(b.edge) > 0 {
		n := b.edge[len(b.edge)-1]
		if int(n.bit) <= bit {
			return
		}
		n.child[1] = b.last
		n.hash = InnerHash(n.bit, n.child[0].digest(), n.child[1].digest())
		b.last = n
		b.edge = b.edge[:len(b.edge)-1]
	}
}
