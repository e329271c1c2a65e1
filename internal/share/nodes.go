// SPDX-License-Identifier: Apache-2.0

package share

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"cityid"
)

// Times of asking nodes.
const (
	nodePatience = 2 * time.Second  // a node that has not answered by then has company by the next one
	nodePenance  = 30 * time.Second // a node that did not answer well is asked last for so long
)

// nodes are the nodes of a view, in the order in which they are asked: as
// configured, but those that lately failed last.
type nodes struct {
	list []Node
	now  func() time.Time

	mu     sync.Mutex
	failed []time.Time // when each last failed; zero: it has not
}

func newNodes(list []Node, now func() time.Time) *nodes {
	return &nodes{list: list, now: now, failed: make([]time.Time, len(list))}
}

// order returns the nodes' indexes.
func (n *nodes) order() []int {
	n.mu.Lock()
	defer n.mu.Unlock()
	out, now := make([]int, len(n.list)), n.now()
	for i := range out {
		out[i] = i
	}
	slices.SortStableFunc(out, func(a, b int) int {
		bad := func(i int) int {
			if age := now.Sub(n.failed[i]); !n.failed[i].IsZero() && age >= 0 && age < nodePenance {
				return 1
			}
			return 0
		}
		return cmp.Compare(bad(a), bad(b))
	})
	return out
}

func (n *nodes) note(i int, failed bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.failed[i] = (time.Time{}); failed {
		n.failed[i] = n.now()
	}
}

// blame lets a node be asked last for a while.
func (n *nodes) blame(i int) {
	if i >= 0 {
		n.note(i, true)
	}
}

// inquiry is what one node after the other is asked.
type inquiry[T any] struct {
	ask      func(context.Context, Node) (T, error)
	patience time.Duration     // 0: nodePatience
	enough   func(T) bool      // no further node need be asked; nil: any answer is
	better   func(a, b T) bool // of answers that are not enough, a is to be preferred to b
}

// first asks one node, the next when one fails or takes long, and so on until one
// gives an answer that is enough. If none does, the best there is counts. That
// something is not found is an answer, if no node knows better.
func first[T any](ctx context.Context, n *nodes, q inquiry[T]) (T, error) {
	got, _, err := firstOf(ctx, n, q)
	return got, err
}

// firstOf is first, and says which node gave the answer; -1: none.
func firstOf[T any](ctx context.Context, n *nodes, q inquiry[T]) (T, int, error) {
	type reply struct {
		node int
		got  T
		err  error
	}
	var best *T
	by := -1 // whose that is
	var none T
	var failed error
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	replies := make(chan reply, len(n.list))
	left := n.order()
	open := map[int]bool{}
	patience := cmp.Or(q.patience, nodePatience)
	timer := time.NewTimer(patience)
	defer timer.Stop()
	next := func() {
		if len(left) == 0 || ctx.Err() != nil {
			return
		}
		i := left[0]
		left, open[i] = left[1:], true
		go func() {
			got, err := q.ask(ctx, n.list[i])
			replies <- reply{i, got, err}
		}()
		timer.Reset(patience)
	}
	for next(); len(open) > 0; {
		select {
		case r := <-replies:
			delete(open, r.node)
			if ctx.Err() == nil {
				n.note(r.node, r.err != nil && !errors.Is(r.err, cityid.ErrNotFound))
			}
			switch {
			case r.err == nil && (q.enough == nil || q.enough(r.got)):
				return r.got, r.node, nil
			case r.err == nil:
				if best == nil || q.better(r.got, *best) {
					best, by = &r.got, r.node
				}
			case failed == nil || !errors.Is(r.err, cityid.ErrNotFound):
				failed = r.err
			}
			next()
		case <-timer.C:
			for i := range open {
				n.note(i, true)
			}
			next()
		case <-ctx.Done():
			if best == nil && failed == nil {
				failed = context.Cause(ctx)
			}
			open = nil
		}
	}
	if best != nil {
		return *best, by, nil
	}
	if failed == nil { // none was asked: ctx had ended before
		failed = context.Cause(ctx)
	}
	return none, -1, failed
}
