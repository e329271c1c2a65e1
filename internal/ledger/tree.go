// SPDX-License-Identifier: Apache-2.0

package ledger

import (
	"context"
	"fmt"
	"sync"

	"cityid/internal/durable/folder"
	"cityid/merkle"
)

// batchTree has the roots of all complete subtrees of a batch, by level.
type batchTree struct {
	first  uint64
	levels [][]merkle.Hash
}

func newBatchTree(first uint64, leaves []merkle.Hash) *batchTree {
	t := &batchTree{first: first}
	var log merkle.Log
	for _, leaf := range leaves {
		log.Append(leaf, func(level uint8, _ uint64, h merkle.Hash) {
			if int(level) == len(t.levels) {
				t.levels = append(t.levels, nil)
			}
			t.levels[level] = append(t.levels[level], h)
		})
	}
	return t
}

// read is a [merkle.HashReader].
func (t *batchTree) read(level uint8, index uint64) (merkle.Hash, error) {
	if int(level) >= len(t.levels) || index >= uint64(len(t.levels[level])) {
		return merkle.Hash{}, fmt.Errorf("the batch has no subtree %d at level %d", index, level)
	}
	return t.levels[level][index], nil
}

// treeCache keeps the trees that were used last: whoever asks for one proof is
// likely to ask for more of the same batch. Its lock guards it.
type treeCache struct {
	mu    sync.Mutex
	trees []*batchTree // the latest last
}

// cachedLeaves bounds the leaves of all trees in a cache but the latest.
const cachedLeaves = 1 << 17

// get returns the tree of a batch, read through q unless it is in the cache.
func (c *treeCache) get(ctx context.Context, q folder.Querier, b *Batch) (*batchTree, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, t := range c.trees {
		if t.first == b.First {
			c.trees = append(append(c.trees[:i:i], c.trees[i+1:]...), t)
			return t, nil
		}
	}
	leaves, err := folder.Collect(ctx, q, scanLeaf, `SELECT leaf FROM entry WHERE id BETWEEN ? AND ? ORDER BY id`, b.First, b.Last)
	if err != nil {
		return nil, err
	}
	if uint64(len(leaves)) != b.Leaves() {
		return nil, fmt.Errorf("batch %d of %s has %d entries of %d: %w", b.Sequence, b.Log, len(leaves), b.Leaves(), ErrDamaged)
	}
	t := newBatchTree(b.First, leaves)
	sum := len(leaves)
	keep := len(c.trees)
	for keep > 0 && sum+len(c.trees[keep-1].levels[0]) <= cachedLeaves {
		keep--
		sum += len(c.trees[keep].levels[0])
	}
	c.trees = append(c.trees[keep:len(c.trees):len(c.trees)], t)
	return t, nil
}

// forget drops all trees.
func (c *treeCache) forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.trees = nil
}

func scanLeaf(row interface{ Scan(...any) error }) (h merkle.Hash, err error) {
	var b []byte
	if err := row.Scan(&b); err != nil {
		return h, err
	}
	if len(b) != merkle.HashSize {
		return h, fmt.Errorf("a leaf of %d octets: %w", len(b), ErrDamaged)
	}
	return merkle.Hash(b), nil
}
