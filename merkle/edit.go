// SPDX-License-Identifier: Apache-2.0

package merkle

import "fmt"

// Edit is a set of changes in the making: puts and deletes on top of a Tree,
// which they leave as it is. Inner nodes made by one Edit are changed in place
// and hashed once, by Tree. Keys in ascending order are the quickest, since
// neighbours touch the same path. An Edit is for one goroutine.
type Edit struct {
	root node
	len  int
}

// Edit begins a set of changes on top of t.
func (t Tree) Edit() *Edit { return &Edit{root: t.root, len: t.len} }

// Len returns the number of keys as changed so far.
func (e *Edit) Len() int { return e.len }

// Get returns the value hash bound to a key as changed so far.
func (e *Edit) Get(key []byte) (Hash, bool) { return Tree{e.root, e.len}.Get(key) }

// Put binds a key to a value hash and reports whether that changes the map. The
// error wraps ErrKey or ErrClash; the map is then unchanged.
func (e *Edit) Put(key []byte, value Hash) (changed bool, err error) { return put(e, key, value) }

// PutString is Put for a key that is a string already; the map keeps it.
func (e *Edit) PutString(key string, value Hash) (changed bool, err error) { return put(e, key, value) }

func put[K string | []byte](e *Edit, key K, value Hash) (changed bool, err error) {
	if err := checkKey(key); err != nil {
		return false, err
	}
	if e.root == nil {
		e.root = newLeaf(string(key), value)
		e.len = 1
		return true, nil
	}
	old := reach(e.root, key)
	if old.key == string(key) {
		if old.value == value {
			return false, nil
		}
		*slot(e, key, MaxDepth) = newLeaf(old.key, value)
		return true, nil
	}
	bit, ok := firstDiff(old.key, key)
	if !ok {
		return false, fmt.Errorf("%w: %q and %q differ by trailing zero bytes only", ErrClash, key, old.key)
	}
	at := slot(e, key, bit)
	side := bitAt(key, bit)
	n := &inner{fresh: true, bit: bit}
	n.child[side] = newLeaf(string(key), value)
	n.child[1-side] = *at
	*at = n
	e.len++
	return true, nil
}

// Delete removes a key and reports whether it was there.
func (e *Edit) Delete(key []byte) (changed bool) {
	if e.root == nil {
		return false
	}
	if reach(e.root, key).key != string(key) {
		return false
	}
	e.len--
	// at is the slot that holds the leaf's parent.
	at := &e.root
	for {
		n, ok := (*at).(*inner)
		if !ok {
			e.root = nil // the leaf is the root
			return true
		}
		side := bitAt(key, n.bit)
		if _, ok := n.child[side].(*leaf); ok {
			*at = n.child[1-side]
			return true
		}
		at = &own(at).child[side]
	}
}

// Tree hashes what changed and returns the new map. The Edit may go on from
// there; the returned Tree no longer changes.
func (e *Edit) Tree() Tree {
	seal(e.root)
	return Tree{e.root, e.len}
}

func newLeaf(key string, value Hash) *leaf {
	return &leaf{key: key, value: value}
}

// slot returns where, on the path of a key, the first node stands that is a
// leaf or branches at or past a bit. The inner nodes before it become fresh.
func slot[K string | []byte](e *Edit, key K, bit uint16) *node {
	at := &e.root
	for {
		n, ok := (*at).(*inner)
		if !ok || n.bit >= bit {
			return at
		}
		at = &own(at).child[bitAt(key, n.bit)]
	}
}

// own makes the inner node in a slot fresh, by copying it unless it is.
func own(at *node) *inner {
	n := (*at).(*inner)
	if !n.fresh {
		n = &inner{child: n.child, fresh: true, bit: n.bit}
		*at = n
	}
	return n
}

// seal hashes the fresh nodes of a subtree, which no longer change then.
func seal(n node) {
	x, ok := n.(*inner)
	if !ok || !x.fresh {
		return
	}
	seal(x.child[0])
	seal(x.child[1])
	x.hash = InnerHash(x.bit, x.child[0].digest(), x.child[1].digest())
	x.fresh = false
}
