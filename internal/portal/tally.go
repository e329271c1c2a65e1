// SPDX-License-Identifier: Apache-2.0

package portal

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"

	"cityid"
)

// tally counts proposals by state. A decided proposal stays as it is, so only the
// new ones and those that are open have to be looked at again.
type tally struct {
	source Source

	mu     sync.Mutex
	chain  string
	height uint64 // as of which it counts
	top    uint64 // highest number seen
	below  uint64 // those below this number are still to be counted; 0: none
	closed map[cityid.ProposalState]int
	open   map[uint64]cityid.ProposalState
}

// counted is what a tally came to.
type counted struct {
	States  map[cityid.ProposalState]int
	Open    []uint64 // latest first
	Partial bool     // there are earlier ones that are not counted yet
}

// tallyPages bounds how many pages of proposals one look counts.
const tallyPages = 20

func (t *tally) count(ctx context.Context) (*counted, error) {
	status, err := t.source.Status(ctx)
	if err != nil {
		return nil, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed == nil || t.chain != status.Chain {
		t.chain, t.height, t.top, t.below = status.Chain, 0, 0, 0
		t.closed, t.open = map[cityid.ProposalState]int{}, map[uint64]cityid.ProposalState{}
	}
	if t.height < status.Height || t.height == 0 || t.below != 0 {
		if err := t.bringUp(ctx, status.Height); err != nil {
			return nil, err
		}
	}
	out := &counted{States: maps.Clone(t.closed), Partial: t.below != 0}
	for n, s := range t.open {
		out.States[s]++
		out.Open = append(out.Open, n)
	}
	slices.Sort(out.Open)
	slices.Reverse(out.Open)
	return out, nil
}

// bringUp looks at the open proposals again, counts the new ones, and some of the
// old ones that were never counted.
func (t *tally) bringUp(ctx context.Context, height uint64) error {
	for n := range t.open {
		a, err := t.source.Proposal(ctx, n)
		if errors.Is(err, cityid.ErrNotFound) {
			delete(t.open, n)
			continue
		}
		if err != nil {
			return err
		}
		t.note(n, a.State)
	}
	first, top := t.top == 0, t.top
	var before uint64
	for pages := 0; ; pages++ {
		page, err := t.source.Proposals(ctx, cityid.ProposalQuery{Before: before, Limit: 200})
		if err != nil {
			return err
		}
		for i := range page.Proposals {
			if n := page.Proposals[i].Proposal.Number; n > top {
				t.top = max(t.top, n)
				t.note(n, page.Proposals[i].State)
			}
		}
		if before = page.Next; before <= top+1 {
			break
		}
		if first && pages == tallyPages {
			t.below = before
			break
		}
	}
	for pages := 0; !first && t.below != 0 && pages < tallyPages; pages++ {
		page, err := t.source.Proposals(ctx, cityid.ProposalQuery{Before: t.below, Limit: 200})
		if err != nil {
			return err
		}
		for i := range page.Proposals {
			t.note(page.Proposals[i].Proposal.Number, page.Proposals[i].State)
		}
		t.below = page.Next
	}
	t.height = height
	return nil
}

func (t *tally) note(n uint64, s cityid.ProposalState) {
	if s.Open() {
		t.open[n] = s
		return
	}
	delete(t.open, n)
	t.closed[s]++
}
