// SPDX-License-Identifier: Apache-2.0

package api

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sort"
	"sync"
	"time"

	"cityid"
)

// What an event shows at most.
const (
	maxEventTxs   = 200
	maxEventCodes = 100 // of the block, and of each transaction
)

const (
	keptEvents = 16               // events of the latest blocks asked for, for all streams together
	eventTime  = 10 * time.Second // longest an event may take to make
)

// event is an event as all streams send it, with what filters look at.
type event struct {
	height  uint64
	data    []byte        // JSON of a cityid.Event
	codes   []cityid.Code // named or written, in order, each once
	numbers []uint64      // proposals named or made, in order, each once
	vague   bool          // the node no longer knows what the block wrote
}

// newEvent makes the event of a block with its transactions.
func newEvent(b *cityid.Block) (*event, error) {
	e := &event{height: b.Height, codes: slices.Clone(b.Changed), vague: b.Changed == nil && len(b.Txs) > 0}
	shown := cityid.Event{Height: b.Height, Time: b.Time, Transactions: []cityid.EventTx{}, Changed: b.Changed}
	shown.Changed, shown.ChangedMore = first(b.Changed, maxEventCodes)
	for i := range b.Txs {
		t := e.transaction(&b.Txs[i])
		if i < maxEventTxs {
			shown.Transactions = append(shown.Transactions, t)
		}
	}
	shown.TxsMore = len(b.Txs) - len(shown.Transactions)
	slices.SortFunc(e.codes, cityid.Code.Compare)
	e.codes = slices.Compact(e.codes)
	slices.Sort(e.numbers)
	e.numbers = slices.Compact(e.numbers)
	var err error
	if e.data, err = json.Marshal(&shown); err != nil {
		return nil, fmt.Errorf("event of block %d: %w", b.Height, err)
	}
	return e, nil
}

// transaction describes a transaction, and notes what it names.
func (e *event) transaction(t *cityid.BlockTx) cityid.EventTx {
	out := cityid.EventTx{ID: t.Receipt.ID, Code: t.Receipt.Code, Operations: []string{}}
	codes, numbers := []cityid.Code{}, slices.Clone(t.Receipt.Proposals)
	if t.Body != nil {
		seen := make(map[cityid.Code]bool)
		for i := range t.Body.Operations {
			op := &t.Body.Operations[i]
			if name := op.Name(); !slices.Contains(out.Operations, name) {
				out.Operations = append(out.Operations, name)
			}
			for _, c := range op.Codes() {
				if !seen[c] {
					seen[c] = true
					codes = append(codes, c)
				}
			}
			if n := op.Proposal(); n != 0 {
				numbers = append(numbers, n)
			}
		}
	}
	slices.Sort(numbers)
	numbers = slices.Compact(numbers)
	e.codes, e.numbers = append(e.codes, codes...), append(e.numbers, numbers...)
	out.Codes, out.CodesMore = first(codes, maxEventCodes)
	out.Proposals = append([]uint64{}, numbers[:min(len(numbers), maxEventCodes)]...)
	return out
}

// first returns the first of a list and how many are left out.
func first(codes []cityid.Code, n int) ([]cityid.Code, int) {
	n = min(n, len(codes))
	return codes[:n:n], len(codes) - n
}

// passes reports whether a filter chooses the event. One whose changes are no
// longer known might concern any code.
func (e *event) passes(f *cityid.EventFilter) bool {
	if f.Proposal != 0 {
		if _, ok := slices.BinarySearch(e.numbers, f.Proposal); !ok {
			return false
		}
	}
	return f.Code.IsZero() || e.vague || touches(e.codes, f.Code)
}

// touches reports whether a code, or one below it, is among sorted codes.
func touches(codes []cityid.Code, code cityid.Code) bool {
	among := func(lo, hi string) bool {
		i := sort.Search(len(codes), func(i int) bool { return codes[i].String() >= lo })
		return i < len(codes) && codes[i].String() < hi
	}
	text := code.String()
	if code.Depth() == 3 && code.Place() != "" {
		// Places that begin with this one's lie within it, and all below them.
		_, end := cityid.Range([]byte(text))
		return among(text, string(end))
	}
	below, end := code.DescendantRange()
	return among(text, text+"\x00") || among(below, end)
}

// events makes the events of blocks, each once for all who ask at about the same
// time, and keeps the latest asked for. It is safe for concurrent use.
type events struct {
	source Source

	mu   sync.Mutex
	made map[uint64]*making
	kept []uint64 // heights in made, oldest question first
}

// making is an event that is being made; event and err are set when done is
// closed.
type making struct {
	done  chan struct{}
	event *event
	err   error
}

func newEvents(s Source) *events { return &events{source: s, made: make(map[uint64]*making)} }

// at returns the event of a block. The error is that of [Blocks.Block].
func (l *events) at(ctx context.Context, height uint64) (*event, error) {
	l.mu.Lock()
	m, ok := l.made[height]
	if !ok {
		m = &making{done: make(chan struct{})}
		l.made[height] = m
		l.kept = append(l.kept, height)
		if len(l.kept) > keptEvents {
			delete(l.made, l.kept[0])
			l.kept = slices.Delete(l.kept, 0, 1)
		}
	}
	l.mu.Unlock()
	if !ok {
		go l.make(context.WithoutCancel(ctx), height, m) // others may wait for it when ctx has ended
	}
	select {
	case <-m.done:
		return m.event, m.err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// make makes an event. What failed is not kept.
func (l *events) make(ctx context.Context, height uint64, m *making) {
	defer close(m.done)
	defer func() {
		if p := recover(); p != nil {
			m.err = fmt.Errorf("event of block %d: panic: %v", height, p)
		}
		if m.err == nil {
			return
		}
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.made[height] == m {
			delete(l.made, height)
			l.kept = slices.DeleteFunc(l.kept, func(h uint64) bool { return h == height })
		}
	}()
	ctx, cancel := context.WithTimeout(ctx, eventTime)
	defer cancel()
	b, err := l.source.Block(ctx, height)
	if err == nil {
		m.event, err = newEvent(b)
	}
	m.err = err
}
