// SPDX-License-Identifier: Apache-2.0

package store

import (
	"fmt"
	"sort"

	"cityid/merkle"
)

// Reader reads a version of the state. View, Batch and Overlay are Readers.
type Reader interface {
	// Get returns the value at key, or nil if there is none; an empty value is
	// not nil. The caller must not change it.
	Get(key []byte) ([]byte, error)
	// Scan calls fn for each key with lo <= key < hi, in byte order, until fn
	// returns false. A nil hi means no upper end. fn must not write to what is
	// scanned (ErrWriteDuringScan), nor keep or change the slices.
	Scan(lo, hi []byte, fn func(key, value []byte) bool) error
}

// ReadWriter is a version of the state in the making; reads see what was
// written. Batch and Overlay are ReadWriters.
type ReadWriter interface {
	Reader
	// Set binds a key to a value, which must not be changed afterwards. The
	// error wraps merkle.ErrKey or ErrTooLarge.
	Set(key, value []byte) error
	// SetString is Set for a key that is a string already.
	SetString(key string, value []byte) error
	// Delete removes a key if it is there. The error wraps merkle.ErrKey.
	Delete(key []byte) error
}

// Overlay stages writes over a Reader, which it leaves as it is: the writes of
// one transaction over those of its block, say, or a trial over a View. To keep
// them call ApplyTo; to drop them, Reset, or forget the Overlay. It is for one
// goroutine, and its parent must not change while it holds writes.
type Overlay struct {
	parent Reader
	staged map[string][]byte // nil: deleted
	keys   []string          // of staged, in the order of their first write
	sorted keySet            // keys[:indexed]; the rest is added when a Scan needs it
	// indexed counts the keys in sorted; writes counts Set and Delete.
	indexed, writes int
}

// NewOverlay returns an empty Overlay over a parent.
func NewOverlay(parent Reader) *Overlay {
	return &Overlay{parent: parent, staged: make(map[string][]byte)}
}

// Get implements Reader.
func (o *Overlay) Get(key []byte) ([]byte, error) {
	if value, ok := o.staged[string(key)]; ok {
		return value, nil
	}
	return o.parent.Get(key)
}

// Set implements ReadWriter.
func (o *Overlay) Set(key, value []byte) error { return o.SetString(string(key), value) }

// SetString implements ReadWriter.
func (o *Overlay) SetString(key string, value []byte) error {
	if len(value) > MaxValueSize {
		return fmt.Errorf("value of %q: %w: %d bytes, at most %d are allowed", key, ErrTooLarge, len(value), MaxValueSize)
	}
	if value == nil {
		value = []byte{}
	}
	return o.stage(key, value)
}

// Delete implements ReadWriter.
func (o *Overlay) Delete(key []byte) error { return o.stage(string(key), nil) }

func (o *Overlay) stage(key string, value []byte) error {
	if err := merkle.CheckKeyString(key); err != nil {
		return err
	}
	o.writes++
	before := len(o.staged)
	if o.staged[key] = value; len(o.staged) > before {
		o.keys = append(o.keys, key)
	}
	return nil
}

// Scan implements Reader.
func (o *Overlay) Scan(lo, hi []byte, fn func(key, value []byte) bool) error {
	for ; o.indexed < len(o.keys); o.indexed++ {
		o.sorted.add(o.keys[o.indexed])
	}
	m := merge{o: o, hi: hi, fn: fn, writes: o.writes, at: o.sorted.seek(string(lo))}
	if err := o.parent.Scan(lo, hi, m.parent); err != nil {
		return err
	}
	m.stagedBelow(hi, hi == nil)
	return m.err
}

// merge walks the staged keys beside a scan of the parent.
type merge struct {
	o      *Overlay
	hi     []byte
	fn     func(key, value []byte) bool
	at     position // next staged key
	writes int
	over   bool
	err    error
}

// emit calls fn and reports whether the scan goes on.
func (m *merge) emit(key, value []byte) bool {
	if !m.fn(key, value) {
		m.over = true
	} else if m.o.writes != m.writes {
		m.over, m.err = true, ErrWriteDuringScan
	}
	return !m.over
}

// stagedBelow emits the staged keys below a bound and reports whether the scan
// goes on.
func (m *merge) stagedBelow(bound []byte, unbounded bool) bool {
	for !m.over {
		key, ok := m.o.sorted.get(m.at)
		if !ok || !unbounded && key >= string(bound) {
			break
		}
		m.at = m.o.sorted.next(m.at)
		if value := m.o.staged[key]; value != nil {
			m.emit([]byte(key), value)
		}
	}
	return !m.over
}

// parent takes the next pair of the parent.
func (m *merge) parent(key, value []byte) bool {
	if !m.stagedBelow(key, false) {
		return false
	}
	if k, ok := m.o.sorted.get(m.at); ok && k == string(key) {
		m.at = m.o.sorted.next(m.at)
		if value = m.o.staged[k]; value == nil {
			return true
		}
	}
	return m.emit(key, value)
}

// ApplyTo writes what is staged to w, usually the parent, and resets o. If w
// refuses a write, which neither Batch nor Overlay does, some may be written.
func (o *Overlay) ApplyTo(w ReadWriter) error {
	for _, k := range o.keys {
		var err error
		if value := o.staged[k]; value != nil {
			err = w.SetString(k, value)
		} else {
			err = w.Delete([]byte(k))
		}
		if err != nil {
			return err
		}
	}
	o.Reset()
	return nil
}

// Reset drops what is staged.
func (o *Overlay) Reset() {
	clear(o.staged)
	o.keys = o.keys[:0]
	o.sorted = keySet{}
	o.indexed = 0
	o.writes++
}

// Len returns the number of keys written or deleted.
func (o *Overlay) Len() int { return len(o.keys) }

// keySet is a set of strings in order: a list of sorted blocks.
type keySet struct {
	blocks [][]string // none is empty
}

const blockSize = 512

// position is a place in a keySet; add makes it void.
type position struct{ block, index int }

// add puts in a key which is not there.
func (s *keySet) add(key string) {
	if len(s.blocks) == 0 {
		s.blocks = [][]string{{key}}
		return
	}
	// The last block that starts at or before the key, or the first.
	b := max(0, sort.Search(len(s.blocks), func(i int) bool { return s.blocks[i][0] > key })-1)
	block := s.blocks[b]
	i := sort.SearchStrings(block, key)
	block = append(block, "")
	copy(block[i+1:], block[i:])
	block[i] = key
	s.blocks[b] = block
	if len(block) < blockSize {
		return
	}
	half := len(block) / 2
	if i == len(block)-1 {
		half = i // keys come in order: leave the block full
	}
	upper := append(make([]string, 0, blockSize), block[half:]...)
	s.blocks[b] = block[:half:half]
	s.blocks = append(s.blocks, nil)
	copy(s.blocks[b+2:], s.blocks[b+1:])
	s.blocks[b+1] = upper
}

// seek returns the position of the first key at or after a key.
func (s *keySet) seek(key string) position {
	b := max(0, sort.Search(len(s.blocks), func(i int) bool { return s.blocks[i][0] > key })-1)
	if b >= len(s.blocks) {
		return position{b, 0}
	}
	if i := sort.SearchStrings(s.blocks[b], key); i < len(s.blocks[b]) {
		return position{b, i}
	}
	return position{b + 1, 0}
}

// get returns the key at a position; ok is false at the end.
func (s *keySet) get(p position) (key string, ok bool) {
	if p.block >= len(s.blocks) {
		return "", false
	}
	return s.blocks[p.block][p.index], true
}

// next returns the position after one that is not the end.
func (s *keySet) next(p position) position {
	if p.index+1 < len(s.blocks[p.block]) {
		return position{p.block, p.index + 1}
	}
	return position{p.block + 1, 0}
}

// Must makes a ReadWriter panic where it would return an error, for a state
// machine, which has nothing true to say once its storage fails. The panic's
// value is the error.
type Must struct{ ReadWriter ReadWriter }

// Get returns the value at key, or nil.
func (m Must) Get(key []byte) []byte {
	value, err := m.ReadWriter.Get(key)
	if err != nil {
		panic(err)
	}
	return value
}

// Scan calls fn for each key with lo <= key < hi until fn returns false.
func (m Must) Scan(lo, hi []byte, fn func(key, value []byte) bool) {
	if err := m.ReadWriter.Scan(lo, hi, fn); err != nil {
		panic(err)
	}
}

// Set binds a key to a value.
func (m Must) Set(key, value []byte) {
	if err := m.ReadWriter.Set(key, value); err != nil {
		panic(err)
	}
}

// SetString binds a key to a value.
func (m Must) SetString(key string, value []byte) {
	if err := m.ReadWriter.SetString(key, value); err != nil {
		panic(err)
	}
}

// Delete removes a key.
func (m Must) Delete(key []byte) {
	if err := m.ReadWriter.Delete(key); err != nil {
		panic(err)
	}
}

var (
	_ Reader     = (*View)(nil)
	_ ReadWriter = (*Batch)(nil)
	_ ReadWriter = (*Overlay)(nil)
)
