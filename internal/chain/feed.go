// SPDX-License-Identifier: Apache-2.0

package chain

import (
	"context"
	"slices"
	"sort"
	"sync"

	"cityid"
)

// maxChanged bounds the codes a node remembers as changed, those of different
// blocks counted apart: some 20 MB.
const maxChanged = 200_000

// feed tells who waits that a block is committed, and remembers which records
// the latest blocks wrote. It is safe for concurrent use.
type feed struct {
	mu     sync.Mutex
	height uint64        // committed
	moved  chan struct{} // closed when height grows or the feed is closed, and replaced
	closed bool
	from   uint64    // what blocks after this one wrote is remembered
	blocks []written // in order of height; none that wrote nothing
	total  int       // codes in blocks
	limit  int       // of total
}

// written is what one block wrote.
type written struct {
	height uint64
	codes  []cityid.Code // in order, each once; not to be changed
}

// newFeed returns a feed for a state that is committed up to a height.
func newFeed(height uint64, limit int) *feed {
	return &feed{height: height, from: height, moved: make(chan struct{}), limit: limit}
}

// committed notes a block and the codes whose records it wrote, in order and
// each once. The feed owns them from then on.
func (f *feed) committed(height uint64, codes []cityid.Code) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.height = height
	if len(codes) > 0 {
		f.blocks = append(f.blocks, written{height, codes})
		f.total += len(codes)
	}
	for f.total > f.limit {
		f.total -= len(f.blocks[0].codes)
		f.from = f.blocks[0].height
		f.blocks[0] = written{} // so that append's copy alone keeps no codes alive
		f.blocks = f.blocks[1:]
	}
	f.wake()
}

// restored notes that the state is now that of a height, whatever blocks wrote
// before.
func (f *feed) restored(height uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.height, f.from, f.blocks, f.total = height, height, nil, 0
	f.wake()
}

// close tells all who wait that the node is stopping.
func (f *feed) close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed = true
	f.wake()
}

func (f *feed) wake() {
	close(f.moved)
	f.moved = make(chan struct{})
}

// await returns the committed height once it exceeds after.
func (f *feed) await(ctx context.Context, failed <-chan struct{}, after uint64) (uint64, error) {
	for {
		f.mu.Lock()
		height, moved, closed := f.height, f.moved, f.closed
		f.mu.Unlock()
		switch {
		case closed:
			return 0, errClosed()
		case height > after:
			return height, nil
		}
		select {
		case <-moved:
		case <-failed:
			return 0, errClosed()
		case <-ctx.Done():
			return 0, context.Cause(ctx)
		}
	}
}

// since returns what was written after a height and up to which block, or that
// not all of it is remembered.
func (f *feed) since(after uint64) (list []written, height uint64, gap bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if after < f.from {
		return nil, f.height, true
	}
	i := sort.Search(len(f.blocks), func(i int) bool { return f.blocks[i].height > after })
	return slices.Clone(f.blocks[i:]), f.height, false
}

// of returns what one block wrote, nil if that is not remembered.
func (f *feed) of(height uint64) []cityid.Code {
	f.mu.Lock()
	defer f.mu.Unlock()
	if height <= f.from || height > f.height {
		return nil
	}
	i := sort.Search(len(f.blocks), func(i int) bool { return f.blocks[i].height >= height })
	if i == len(f.blocks) || f.blocks[i].height != height {
		return []cityid.Code{}
	}
	return slices.Clone(f.blocks[i].codes)
}

// Await returns the height of the last committed block as soon as it exceeds
// after. The state after that block and all before it can be asked for then. Any
// number may wait. The error is [cityid.ErrUnavailable] when the node stops, and
// ctx's when that ends.
func (l *Local) Await(ctx context.Context, after uint64) (uint64, error) {
	return l.app.feed.await(ctx, l.app.failed, after)
}

// Changes returns the codes whose records were written in blocks after a height,
// allocations included. The node remembers the latest 200,000 and none from
// before its start; where that does not reach back to the height, the answer has
// a gap and no codes. A height that is not reached yet has no changes after it.
func (l *Local) Changes(_ context.Context, after uint64) (*cityid.Changes, error) {
	list, height, gap := l.app.feed.since(after)
	out := &cityid.Changes{Codes: []cityid.Code{}, Height: height, Gap: gap}
	for _, w := range list {
		out.Codes = append(out.Codes, w.codes...)
	}
	if len(list) > 1 {
		slices.SortFunc(out.Codes, cityid.Code.Compare)
		out.Codes = slices.Compact(out.Codes)
	}
	return out, nil
}

// writtenBy returns the codes whose records a staged block writes, in order.
func writtenBy(s *staged) ([]cityid.Code, error) {
	var codes []cityid.Code
	lo, _ := cityid.RecordRange()
	keys, err := s.batch.Written(lo)
	if err != nil {
		return nil, err
	}
	for _, k := range keys {
		if c, ok := cityid.CodeOfRecordKey([]byte(k)); ok {
			codes = append(codes, c)
		}
	}
	slices.SortFunc(codes, cityid.Code.Compare)
	return codes, nil
}
