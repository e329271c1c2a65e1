// SPDX-License-Identifier: Apache-2.0

package store

import (
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"cityid/merkle"
)

// chunkSize is how many bytes of keys and values go from the goroutine that
// reads to the one that hashes at a time.
const chunkSize = 1 << 20

// chunk is a run of keys and values, one after the other.
type chunk struct {
	data []byte
	ends []int // of each key and each value in data, in turn
}

// rebuild builds the trie from all values of the state and requires that it is
// what the meta record says. One goroutine reads, another hashes.
func rebuild(db *pebble.DB, m meta, progress func(done, total uint64)) (merkle.Tree, error) {
	full, spent := make(chan *chunk, 4), make(chan *chunk, 6)
	stop := make(chan struct{})
	for range cap(spent) {
		spent <- new(chunk)
	}
	var readErr error // set before full is closed
	go func() {
		defer close(full)
		readErr = readChunks(db, full, spent, stop)
	}()
	tree, err := buildTree(full, spent, m.keys, progress)
	close(stop)
	for range full { // wait for the reader
	}
	if err == nil {
		err = readErr
	}
	if err == nil {
		err = compare(db, m, tree)
	}
	if err != nil {
		return merkle.Tree{}, err
	}
	return tree, nil
}

// readChunks sends the whole state, unless stopped.
func readChunks(db *pebble.DB, full chan<- *chunk, spent <-chan *chunk, stop <-chan struct{}) error {
	c := <-spent
	stopped := false
	// send hands over what there is and takes an empty chunk.
	send := func() {
		select {
		case full <- c:
		case <-stop:
			stopped = true
			return
		}
		select {
		case c = <-spent:
			c.data, c.ends = c.data[:0], c.ends[:0]
		case <-stop:
			stopped = true
		}
	}
	err := scan(db, prefixState, nil, nil, func(key, value []byte) bool {
		c.data = append(c.data, key...)
		c.ends = append(c.ends, len(c.data))
		c.data = append(c.data, value...)
		c.ends = append(c.ends, len(c.data))
		if len(c.data) >= chunkSize {
			send()
		}
		return !stopped
	})
	if err == nil && !stopped {
		send()
	}
	return err
}

func buildTree(full <-chan *chunk, spent chan<- *chunk, total uint64, progress func(done, total uint64)) (merkle.Tree, error) {
	var b merkle.Builder
	for c := range full {
		at := 0
		for i := 0; i < len(c.ends); i += 2 {
			key, value := c.data[at:c.ends[i]], c.data[c.ends[i]:c.ends[i+1]]
			at = c.ends[i+1]
			if err := b.Add(key, merkle.ValueHash(value)); err != nil {
				return merkle.Tree{}, fmt.Errorf("%w: %w", ErrCorrupt, err)
			}
		}
		spent <- c
		if progress != nil {
			progress(uint64(b.Len()), total)
		}
	}
	return b.Tree(), nil
}

// compare requires that what was read is what was committed. The error names the
// first clue.
func compare(db *pebble.DB, m meta, tree merkle.Tree) error {
	switch n := uint64(tree.Len()); {
	case n < m.keys:
		return fmt.Errorf("%d of the %d keys committed at height %d are missing: %w", m.keys-n, m.keys, m.height, ErrCorrupt)
	case n > m.keys:
		return fmt.Errorf("there are %d keys more than the %d committed at height %d: %w", n-m.keys, m.keys, m.height, ErrCorrupt)
	case tree.Root() != m.root:
		return fmt.Errorf("some of the %d keys or values are not those committed at height %d: their root is %v, not %v: %w",
			n, m.height, tree.Root(), m.root, ErrCorrupt)
	}
	return m.log.Edge(func(level uint8, index uint64, want merkle.Hash) error {
		got, err := readLogHash(db, level, index)
		if err == nil && got != want {
			err = fmt.Errorf("block log: subtree %d/%d is not the one committed: %w", level, index, ErrCorrupt)
		}
		return err
	})
}
