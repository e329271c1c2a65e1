// SPDX-License-Identifier: Apache-2.0

package merkle

import (
	"bytes"
	"fmt"
)

// Range names what a RangeProof lists: the keys k with Lo <= k < Hi, compared
// as strings of bits (see Tree.Range).
type Range struct {
	// Lo is at most MaxKeySize bytes; it need not end in 0x00. Empty means from
	// the first key.
	Lo []byte
	// Hi is at most MaxKeySize bytes, greater than Lo. Nil means to the last key.
	Hi []byte
	// Shallow leaves out the strict descendants of every key listed. If K+0x00
	// is a key listed, they are the keys in [K+".", K+"0"): those that go on
	// after K with "." or "/".
	Shallow bool
}

// check wraps ErrRange.
func (r Range) check() error {
	if len(r.Lo) > MaxKeySize || len(r.Hi) > MaxKeySize {
		return fmt.Errorf("%w: a bound has more than %d bytes", ErrRange, MaxKeySize)
	}
	if r.Hi != nil && bytes.Compare(trimZeros(r.Lo), trimZeros(r.Hi)) >= 0 {
		return fmt.Errorf("%w: the lower bound %q is not below the upper bound %q", ErrRange, r.Lo, r.Hi)
	}
	return nil
}

// RangeProof shows that a listing of a Range is complete. It is a view of the
// trie in which some subtrees are closed, that is, known by their hash only,
// and all other leaves are open. It is held as its frontier: the closed
// subtrees and open leaves from left to right and, between neighbours, the
// branch bit of the inner node which parts them. Since branch bits strictly
// increase downwards, the frontier determines every inner node above it, and so
// the root. An open leaf that belongs to the listing is an entry; its value
// hash is brought by the checker. One that does not is a witness, there to fix
// the bits of the subtrees beside it; its value hash is in the proof.
//
// # Why a listing that checks is complete
//
// Let the root be that of a map made by the rules of this package. As hashes do
// not collide, every node in the view is a node of that map, with its true
// branch bit. Take any closed subtree, on side s of an inner node with branch
// bit b. Some leaf below that inner node is open; as all keys below it share
// their bits before b, the first b bits of every key in the closed subtree are
// those of the open leaf, and bit b is s. So its keys lie in an interval which
// the checker knows. The checker accepts the subtree as closed only if that
// interval lies wholly outside [Lo, Hi) or, in a shallow range, wholly in the
// descendants of one key listed. Hence a key that ought to be listed is in no
// closed subtree. So it is open, and every open leaf is an entry exactly if it
// lies in the range and does not descend from an entry.
//
// # One proof for each range
//
// The view is fixed by the map and the range: the root is open; below an open
// inner node a side is closed if it may be by the rule above, except that if
// both may be, the left is open, so that there is an open leaf. The checker
// accepts no other view.
//
// # Encoding
//
// The nodes of the frontier from left to right, each as one of
//
//	0x00  [bit]  hash                            a closed subtree
//	0x01  [bit]  shared  n  suffix  value hash   a witness
//	0x02  [bit]  shared  n  suffix               an entry
//
// The bit (2 bytes, big-endian) is the branch bit between the node and the one
// before it. It is there only if one of the two is closed: between two leaves it
// is the first bit in which their keys differ. A leaf's key is the first
// "shared" bytes (1 byte, as many as possible) of the open leaf before it,
// followed by n bytes (1 byte, at least 1) of suffix. Keys ascend.
type RangeProof struct {
	frontier []frontierNode
}

// frontierNode is a closed subtree if key is nil, else an open leaf.
type frontierNode struct {
	bit   uint16 // parts it from its left neighbour; 0 for the first
	entry bool   // an open leaf that belongs to the listing
	key   []byte
	hash  Hash // of the closed subtree, or the witness's value hash
}

// ProveRange returns the proof that a listing of the range is complete, and the
// listing. The error wraps ErrRange, ErrEmpty, or ErrTooLarge if the proof
// might have more than MaxRangeProofSize bytes.
func (t Tree) ProveRange(r Range) (RangeProof, []Entry, error) {
	if err := r.check(); err != nil {
		return RangeProof{}, nil, err
	}
	if t.root == nil {
		return RangeProof{}, nil, ErrEmpty
	}
	p := rangeProver{scope: newScope(r)}
	if err := p.open(t.root); err != nil {
		return RangeProof{}, nil, err
	}
	return RangeProof{p.frontier}, p.listing, nil
}

type rangeProver struct {
	scope    scope
	bit      uint16 // of the inner node between the last frontier node and the next
	last     []byte // key of the last open leaf
	size     int    // of the encoding, at most
	frontier []frontierNode
	listing  []Entry
}

// open puts the view of a subtree which is not closed on the frontier.
func (p *rangeProver) open(n node) error {
	if l, ok := n.(*leaf); ok {
		f := frontierNode{bit: p.bit, key: []byte(l.key), hash: l.value}
		if p.scope.lists(f.key) {
			f.entry, f.hash = true, Hash{}
			p.listing = append(p.listing, Entry{f.key, l.value})
		}
		return p.add(f, 2+3+HashSize+len(l.key)-commonPrefix(p.last, f.key))
	}
	x := n.(*inner)
	// Any key below x tells the bits before x.bit. A key that closes a side is
	// listed by now: K+0x00 parts from its descendants at an earlier bit than
	// x.bit, or the side would not be known to hold nothing else.
	pin := reach(x, p.scope.lo).key
	closed := p.scope.closed(pin, x.bit)
	for side := range 2 {
		if side == 1 {
			p.bit = x.bit
		}
		var err error
		if closed[side] {
			err = p.add(frontierNode{bit: p.bit, hash: x.child[side].digest()}, 2+1+HashSize)
		} else {
			err = p.open(x.child[side])
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (p *rangeProver) add(f frontierNode, size int) error {
	if p.size += size; p.size > MaxRangeProofSize {
		return fmt.Errorf("%w: list a smaller range", ErrTooLarge)
	}
	if f.key != nil {
		p.last = f.key
	}
	p.frontier = append(p.frontier, f)
	return nil
}

// Len returns the number of entries the proof lists.
func (p RangeProof) Len() int {
	n := 0
	for i := range p.frontier {
		if p.frontier[i].entry {
			n++
		}
	}
	return n
}

// Keys returns the keys which the proof lists, ascending. It says nothing about
// whether the proof holds.
func (p RangeProof) Keys() [][]byte {
	keys := make([][]byte, 0, p.Len())
	for i := range p.frontier {
		if f := &p.frontier[i]; f.entry {
			keys = append(keys, bytes.Clone(f.key))
		}
	}
	return keys
}

// Root returns the root hash of the map in which the proof shows that the
// entries returned, whose value hashes are given in ascending order of their
// keys, are all that the range lists. The error wraps ErrRange or ErrProof; the
// caller compares the root.
func (p RangeProof) Root(r Range, values []Hash) (Hash, []Entry, error) {
	if err := r.check(); err != nil {
		return Hash{}, nil, err
	}
	if n := p.Len(); n != len(values) {
		return Hash{}, nil, fmt.Errorf("%w: it lists %d entries, %d values were given", ErrProof, n, len(values))
	}
	if len(p.frontier) == 0 {
		return Hash{}, nil, fmt.Errorf("%w: it is empty", ErrProof)
	}
	c := rangeChecker{scope: newScope(r)}
	listing := make([]Entry, 0, len(values))
	for i := range p.frontier {
		f := &p.frontier[i]
		if i > 0 {
			if err := c.part(f.bit); err != nil {
				return Hash{}, nil, err
			}
		}
		if f.key == nil {
			c.done = append(c.done, span{hash: f.hash})
			continue
		}
		if err := CheckKey(f.key); err != nil {
			return Hash{}, nil, fmt.Errorf("%w: %w", ErrProof, err)
		}
		if f.entry != c.scope.lists(f.key) {
			return Hash{}, nil, fmt.Errorf("%w: %q is not what it is said to be, an entry or a witness", ErrProof, f.key)
		}
		value := f.hash
		if f.entry {
			value = values[len(listing)]
			listing = append(listing, Entry{bytes.Clone(f.key), value})
		}
		c.done = append(c.done, span{hash: leafHash(f.key, value), pin: f.key})
	}
	if err := c.fold(-1); err != nil {
		return Hash{}, nil, err
	}
	if c.done[0].pin == nil {
		return Hash{}, nil, fmt.Errorf("%w: it opens nothing", ErrProof)
	}
	return c.done[0].hash, listing, nil
}

// CheckRange returns the listing of a range in the map with a root, if the
// proof shows that these values, in ascending order of their keys, are all of
// it. The error wraps ErrRange or ErrProof.
func CheckRange(root Hash, r Range, values [][]byte, p RangeProof) ([]Entry, error) {
	hashes := make([]Hash, len(values))
	for i, v := range values {
		hashes[i] = ValueHash(v)
	}
	got, listing, err := p.Root(r, hashes)
	if err := sameRoot(root, got, err); err != nil {
		return nil, err
	}
	return listing, nil
}

// span is a completed subtree: its hash and the key of one open leaf in it, nil
// if the subtree is closed. If an open leaf is in it, all open leaves in it
// agree with that one in the bits before its branch bit.
type span struct {
	hash Hash
	pin  []byte
}

// rangeChecker joins the frontier, from left to right, into subtrees: the
// branch bits between the spans done strictly increase, so what they part is
// joined as soon as a smaller one comes.
type rangeChecker struct {
	scope scope
	done  []span
	bits  []uint16 // bits[i] parts done[i] and done[i+1]
}

// part notes the branch bit after the last span.
func (c *rangeChecker) part(bit uint16) error {
	if err := c.fold(int(bit)); err != nil {
		return err
	}
	if n := len(c.bits); bit >= MaxDepth || n > 0 && c.bits[n-1] == bit {
		return fmt.Errorf("%w: branch bits do not increase, or exceed %d", ErrProof, MaxDepth-1)
	}
	c.bits = append(c.bits, bit)
	return nil
}

// fold joins the spans which are parted by branch bits past a bit.
func (c *rangeChecker) fold(bit int) error {
	for n := len(c.bits); n > 0 && int(c.bits[n-1]) > bit; n-- {
		joined, err := c.join(c.bits[n-1], c.done[n-1], c.done[n])
		if err != nil {
			return err
		}
		c.done[n-1] = joined
		c.done, c.bits = c.done[:n], c.bits[:n-1]
	}
	return nil
}

// join checks the two sides of an inner node and joins them.
func (c *rangeChecker) join(bit uint16, left, right span) (span, error) {
	pin := left.pin
	if pin == nil {
		pin = right.pin
	}
	if pin == nil {
		return span{}, fmt.Errorf("%w: it opens an inner node but no leaf below", ErrProof)
	}
	if left.pin != nil && bitAt(left.pin, bit) != 0 || right.pin != nil && bitAt(right.pin, bit) != 1 {
		return span{}, fmt.Errorf("%w: a key lies on the wrong side of branch bit %d", ErrProof, bit)
	}
	if left.pin != nil && right.pin != nil {
		if d, ok := firstDiff(left.pin, right.pin); !ok || d != bit {
			return span{}, fmt.Errorf("%w: %q and %q do not part at branch bit %d", ErrProof, left.pin, right.pin, bit)
		}
	}
	if closed := c.scope.closed(string(pin), bit); closed != [2]bool{left.pin == nil, right.pin == nil} {
		return span{}, fmt.Errorf("%w: a subtree at branch bit %d, beside %q, is closed but must be open, or the reverse", ErrProof, bit, pin)
	}
	return span{InnerHash(bit, left.hash, right.hash), pin}, nil
}

// scope decides, for prover and checker alike, what a range lists and what it
// closes. Leaves must be shown to it in ascending order.
type scope struct {
	lo, hi  []byte // trimmed
	open    bool   // no upper bound
	shallow bool
	// listed holds, in a shallow range, each key listed without its last byte.
	listed map[string]struct{}
}

func newScope(r Range) scope {
	s := scope{lo: trimZeros(r.Lo), hi: trimZeros(r.Hi), open: r.Hi == nil, shallow: r.Shallow}
	if s.shallow {
		s.listed = make(map[string]struct{})
	}
	return s
}

// lists reports whether a key belongs to the listing, and notes it if so.
func (s *scope) lists(key []byte) bool {
	k := trimZeros(key)
	if bytes.Compare(k, s.lo) < 0 || !s.open && bytes.Compare(k, s.hi) >= 0 {
		return false
	}
	if s.shallow {
		if s.descends(key, 8*len(key)) {
			return false
		}
		s.listed[string(key[:len(key)-1])] = struct{}{}
	}
	return true
}

// descends reports whether all keys that begin with the first n bits of prefix
// are strict descendants of one key listed. The bits of prefix past n are 0.
func (s *scope) descends(prefix []byte, n int) bool {
	for i := 0; 8*i+7 <= n; i++ {
		if prefix[i]&^1 == '.' { // "." or "/", whose last bits differ
			if _, ok := s.listed[string(prefix[:i])]; ok {
				return true
			}
		}
	}
	return false
}

// closed returns, for an inner node with a branch bit and any key below it,
// which of its sides the view closes.
func (s *scope) closed(pin string, bit uint16) [2]bool {
	left, right := s.mayClose(pin, bit, 0), s.mayClose(pin, bit, 1)
	return [2]bool{left && !right, right}
}

// mayClose reports whether the keys that agree with pin in the bits before a
// bit, and have that bit equal to side, are known not to belong to the listing.
func (s *scope) mayClose(pin string, bit uint16, side byte) bool {
	// The keys lie between low, which goes on with zero bits, and high, which
	// goes on with one bits for ever.
	var low, high [MaxKeySize]byte
	n := int(bit)/8 + 1
	copy(low[:n], pin)
	mask := byte(0xff) >> (bit % 8) // the branch bit and those after it
	low[n-1] = low[n-1]&^mask | side<<(7-bit%8)
	copy(high[:n], low[:n])
	high[n-1] |= mask >> 1
	if !s.open && bytes.Compare(trimZeros(low[:n]), s.hi) >= 0 {
		return true // all at or above hi
	}
	if bytes.Compare(high[:n], s.lo[:min(n, len(s.lo))]) < 0 {
		return true // all below lo
	}
	return s.shallow && s.descends(low[:n], int(bit)+1)
}

func commonPrefix(a, b []byte) int {
	n := min(len(a), len(b))
	for i := range n {
		if a[i] != b[i] {
			return i
		}
	}
	return n
}
