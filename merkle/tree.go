// SPDX-License-Identifier: Apache-2.0

package merkle

import (
	"iter"
)

// Tree is one version of the map from keys to value hashes. It is immutable and
// safe for concurrent use; versions made from one another with Edit share the
// nodes they have in common. The zero Tree is the empty map.
//
// A record costs 48 bytes for its leaf, 80 for one inner node and its key rounded up
// to the allocator's next size, 48 for 35 bytes. A leaf does not keep its hash: it is
// made again when the node above it is, and for proofs of its neighbour.
type Tree struct {
	root node // nil if the map is empty
	len  int
}

// node is a *leaf or an *inner.
type node interface {
	digest() Hash
}

type leaf struct {
	key   string
	value Hash
}

type inner struct {
	child [2]node
	hash  Hash // not valid while fresh
	bit   uint16
	fresh bool // made by an Edit, which alone can reach it, and not hashed yet
}

func (l *leaf) digest() Hash  { return leafHash(l.key, l.value) }
func (n *inner) digest() Hash { return n.hash }

// Root returns the root hash, the zero Hash for the empty map.
func (t Tree) Root() Hash {
	if t.root == nil {
		return Hash{}
	}
	return t.root.digest()
}

// Len returns the number of keys.
func (t Tree) Len() int { return t.len }

// Get returns the value hash bound to a key.
func (t Tree) Get(key []byte) (Hash, bool) {
	if t.root == nil {
		return Hash{}, false
	}
	if l := reach(t.root, key); l.key == string(key) {
		return l.value, true
	}
	return Hash{}, false
}

// reach follows a key's own bits to a leaf.
func reach[K string | []byte](n node, key K) *leaf {
	for {
		switch x := n.(type) {
		case *leaf:
			return x
		case *inner:
			n = x.child[bitAt(key, x.bit)]
		}
	}
}

// Range returns an iterator over the keys of [lo, hi) with their value hashes,
// in ascending order. A nil hi means no upper bound. Bounds compare as strings
// of bits, the order of the trie: it differs from the order of bytes only for a
// bound that differs from a key by trailing zero bytes.
func (t Tree) Range(lo, hi []byte) iter.Seq2[string, Hash] {
	return func(yield func(string, Hash) bool) {
		if t.root == nil {
			return
		}
		w := walk{lo: trimZeros(lo), hi: trimZeros(hi), open: hi == nil, yield: yield}
		w.visit(t.root, true)
	}
}

type walk struct {
	lo, hi []byte // trimmed
	open   bool   // no upper bound
	yield  func(string, Hash) bool
}

// visit yields the keys of a subtree; it returns false when the walk is over.
// below is whether keys below lo may stand in the subtree.
func (w *walk) visit(n node, below bool) bool {
	switch x := n.(type) {
	case *leaf:
		k := trimZeros(x.key)
		if below && k < string(w.lo) {
			return true
		}
		if !w.open && k >= string(w.hi) {
			return false
		}
		return w.yield(x.key, x.value)
	case *inner:
		if below {
			// The subtree's keys share the bits before x.bit with its leftmost
			// key, so where lo leaves them it lies before or after all.
			if bit, ok := firstDiff(reach(x, w.lo).key, w.lo); !ok || bit >= x.bit {
				if bitAt(w.lo, x.bit) == 1 {
					return w.visit(x.child[1], true)
				}
				return w.visit(x.child[0], true) && w.visit(x.child[1], false)
			} else if bitAt(w.lo, bit) == 1 {
				return true
			}
			below = false
		}
		return w.visit(x.child[0], below) && w.visit(x.child[1], below)
	}
	return false
}
