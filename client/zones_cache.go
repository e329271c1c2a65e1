// SPDX-License-Identifier: Apache-2.0

package client

import (
	"container/list"
	"context"
	"sync"
	"sync/atomic"
	"time"

	"cityid"
)

// lru keeps values by their keys, and forgets those not asked for longest when
// they exceed so many octets.
type lru[V interface{ size() int64 }] struct {
	mu    sync.Mutex
	most  int64
	now   int64
	by    map[string]*list.Element
	order list.List // of *kept[V], latest first
}

type kept[V any] struct {
	key   string
	value V
	size  int64
}

// entryOverhead is about what an entry takes besides its key and value.
const entryOverhead = 256

func newLRU[V interface{ size() int64 }](most int64) *lru[V] {
	return &lru[V]{most: most, by: map[string]*list.Element{}}
}

func (c *lru[V]) get(key string) (v V, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.by[key]
	if !ok {
		return v, false
	}
	c.order.MoveToFront(e)
	return e.Value.(*kept[V]).value, true
}

func (c *lru[V]) put(key string, v V) {
	k := &kept[V]{key, v, v.size() + int64(2*len(key)) + entryOverhead}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.drop(c.by[key])
	if k.size > c.most {
		return
	}
	for c.now += k.size; c.now > c.most; {
		c.drop(c.order.Back())
	}
	c.by[key] = c.order.PushFront(k)
}

func (c *lru[V]) remove(key string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.drop(c.by[key])
}

func (c *lru[V]) drop(e *list.Element) {
	if e == nil {
		return
	}
	k := c.order.Remove(e).(*kept[V])
	delete(c.by, k.key)
	c.now -= k.size
}

func (c *lru[V]) clear() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.by, c.now = map[string]*list.Element{}, 0
	c.order.Init()
}

// all returns the values, those asked for last first, and the octets they take.
func (c *lru[V]) all() (out []V, octets int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for e := c.order.Front(); e != nil; e = e.Next() {
		out = append(out, e.Value.(*kept[V]).value)
	}
	return out, c.now
}

func (c *lru[V]) count() (n int, octets int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.by), c.now
}

// flights makes one of equal questions that are asked at the same time.
type flights struct {
	mu sync.Mutex
	by map[string]*flight
}

type flight struct {
	done    chan struct{}
	waiting int // who wants the result
	cancel  context.CancelFunc
	result  *proven
	err     error
}

// do returns what f returns for the first of those who ask for key at the same
// time. Who gives up does not disturb the others; f's context ends when all have.
func (s *flights) do(ctx context.Context, key string, f func(context.Context) (*proven, error)) (*proven, error) {
	c := s.join(ctx, key, f)
	select {
	case <-c.done:
		return c.result, c.err
	case <-ctx.Done():
		s.leave(key, c)
		return nil, context.Cause(ctx)
	}
}

// begin is do for one who does not wait.
func (s *flights) begin(key string, f func(context.Context) (*proven, error)) {
	s.join(context.Background(), key, f)
}

func (s *flights) join(ctx context.Context, key string, f func(context.Context) (*proven, error)) *flight {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c, ok := s.by[key]; ok {
		c.waiting++
		return c
	}
	shared, cancel := context.WithCancel(context.WithoutCancel(ctx))
	c := &flight{done: make(chan struct{}), waiting: 1, cancel: cancel}
	if s.by == nil {
		s.by = map[string]*flight{}
	}
	s.by[key] = c
	go func() {
		defer cancel()
		c.result, c.err = f(shared)
		s.mu.Lock()
		if s.by[key] == c {
			delete(s.by, key)
		}
		s.mu.Unlock()
		close(c.done)
	}()
	return c
}

func (s *flights) leave(key string, c *flight) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.waiting--; c.waiting == 0 {
		c.cancel()
		if s.by[key] == c { // who comes now begins anew
			delete(s.by, key)
		}
	}
}

// waiting returns how many want a result now.
func (s *flights) waiting() (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.by {
		n += c.waiting
	}
	return n
}

// gate bounds how many questions go to a zone: at a time, and in a second.
type gate struct {
	slots   chan struct{}
	waiting atomic.Int64

	mu    sync.Mutex
	every time.Duration
	next  time.Time // when the bucket is full again, less its depth
	depth time.Duration
}

func newGate(concurrent, rate int) *gate {
	every := time.Second / time.Duration(rate)
	return &gate{slots: make(chan struct{}, concurrent), every: every, depth: time.Second}
}

// enter waits for its turn. The error is full if too many wait already.
func (g *gate) enter(ctx context.Context) error {
	if g.waiting.Add(1) > maxQueue {
		g.waiting.Add(-1)
		return cityid.Errorf(cityid.ErrFull, "%d questions to it wait already: ask again later", maxQueue)
	}
	defer g.waiting.Add(-1)
	select {
	case g.slots <- struct{}{}:
	case <-ctx.Done():
		return cityid.Errorf(cityid.ErrUnavailable, "waited for other questions to it to end: %v", context.Cause(ctx))
	}
	if pause := g.take(time.Now()); pause > 0 && !rest(ctx, pause) {
		<-g.slots
		return cityid.Errorf(cityid.ErrUnavailable, "waited for other questions to it to end: %v", context.Cause(ctx))
	}
	return nil
}

func (g *gate) leave() { <-g.slots }

// take takes one place in the bucket, and returns how long to wait for it.
func (g *gate) take(now time.Time) time.Duration {
	g.mu.Lock()
	defer g.mu.Unlock()
	if full := now.Add(-g.depth); g.next.Before(full) {
		g.next = full
	}
	g.next = g.next.Add(g.every)
	return g.next.Sub(now)
}

// counts are what was done since the beginning.
type counts struct {
	hits, stale, misses, fallbacks, requests, failures atomic.Uint64
}
