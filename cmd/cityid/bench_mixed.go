// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"math/bits"
	"os"
	"runtime/metrics"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// mixed has clients ask for bundles, and submit one transaction for each 19 of
// them. What it keeps of a request does not grow with their number, and it looks at
// the process's memory now and then, so that it can run for hours.
func (b *benchmark) mixed(ctx context.Context) error {
	base, _, stop, err := b.answering(ctx)
	if err != nil {
		return err
	}
	defer stop()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var reads, writes times
	var numbers atomic.Int64
	var clients sync.WaitGroup
	begin := time.Now()
	for i := range 64 {
		clients.Go(func() {
			c := newKeepAlive()
			defer c.CloseIdleConnections()
			for n := i; time.Since(begin) < b.span && ctx.Err() == nil; n++ {
				var took time.Duration
				var err error
				if n%20 != 0 {
					start := time.Now()
					err = get(ctx, c, base+"/v1/bundles/"+b.object().String())
					took = time.Since(start)
				} else {
					took, err = b.writeOne(ctx, int(numbers.Add(1)))
				}
				if err != nil {
					cancel(err)
					return
				}
				if n%20 != 0 {
					reads.add(took)
				} else {
					writes.add(took)
				}
			}
		})
	}
	done := make(chan struct{})
	go func() { clients.Wait(); close(done) }()
	curve, err := b.watch(ctx, done, begin, &reads, &writes)
	if err != nil {
		cancel(err)
	}
	<-done
	span := time.Since(begin).Seconds()
	if err := context.Cause(ctx); err != nil {
		return err
	}
	m := reads.measure("mixed 95/5: bundles", "requests", span)
	m.Note, m.Curve = "64 clients", curve
	b.add(b.against(m, bareName))
	m = writes.measure("mixed 95/5: transactions", "transactions", span)
	m.Note = "by the same clients, each awaiting its proof"
	b.add(m)
	return nil
}

// writeOne allocates one code and waits for its proof. The transaction lives for two
// minutes, so that a node need not remember all of a long run.
func (b *benchmark) writeOne(ctx context.Context, n int) (time.Duration, error) {
	tx, err := b.signFor(2*time.Minute, b.allocation("M", n))
	if err != nil {
		return 0, err
	}
	start := time.Now()
	r, err := b.net.nodes[0].Submit(ctx, tx, true)
	if err == nil {
		err = r.Err()
	}
	return time.Since(start), err
}

// watchInterval is how often the process's memory is looked at.
const watchInterval = 15 * time.Second

// moment is what the process held at one time of a run.
type moment struct {
	Seconds  float64 `json:"seconds"`    // since the beginning
	Entries  uint64  `json:"entries"`    // in the state tree
	Reads    uint64  `json:"reads"`      // since the beginning
	Writes   uint64  `json:"writes"`     // since the beginning
	Live     uint64  `json:"heap_live"`  // octets that the last collection found in use
	Heap     uint64  `json:"heap"`       // octets of objects, in use or not collected yet
	Go       uint64  `json:"go"`         // octets the Go runtime has from the system, without what it gave back
	Resident uint64  `json:"resident"`   // octets of memory the process occupies; 0 where the system does not say
	Workers  uint64  `json:"goroutines"` // how many
}

// watch looks at the process's memory until done is closed.
func (b *benchmark) watch(ctx context.Context, done <-chan struct{}, begin time.Time, reads, writes *times) ([]moment, error) {
	var curve []moment
	tick := time.NewTicker(watchInterval)
	defer tick.Stop()
	for {
		m, err := b.look(ctx)
		if err != nil && ctx.Err() == nil {
			return nil, err
		}
		m.Seconds, m.Reads, m.Writes = time.Since(begin).Seconds(), reads.count(), writes.count()
		curve = append(curve, m)
		if len(curve)%4 == 1 {
			b.talk("  %4.0f s: %d entries, heap %d MB in use, resident %d MB", m.Seconds, m.Entries, m.Live>>20, m.Resident>>20)
		}
		select {
		case <-done:
			return curve, nil
		case <-tick.C:
		}
	}
}

func (b *benchmark) look(ctx context.Context) (m moment, err error) {
	s, err := b.net.nodes[0].Status(ctx)
	if err != nil {
		return m, err
	}
	samples := []metrics.Sample{
		{Name: "/gc/heap/live:bytes"}, {Name: "/memory/classes/heap/objects:bytes"}, {Name: "/memory/classes/total:bytes"},
		{Name: "/memory/classes/heap/released:bytes"}, {Name: "/sched/goroutines:goroutines"},
	}
	metrics.Read(samples)
	at := func(i int) uint64 { return samples[i].Value.Uint64() }
	m = moment{Entries: uint64(s.Records), Live: at(0), Heap: at(1), Go: at(2) - at(3), Workers: at(4)}
	m.Resident, err = residentMemory()
	return m, err
}

// residentMemory returns how many octets of memory this process occupies, or 0 where
// the system has no /proc.
func residentMemory() (uint64, error) {
	raw, err := os.ReadFile("/proc/self/statm")
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	fields := bytes.Fields(raw)
	if len(fields) < 2 {
		return 0, errors.New("/proc/self/statm: want at least two numbers")
	}
	pages, err := strconv.ParseUint(string(fields[1]), 10, 64)
	return pages * uint64(os.Getpagesize()), err
}

// times counts how long requests took, each to within a part in 64. It may be used
// by several goroutines, and has the same size however many there were.
type times struct {
	buckets [64 * 64]atomic.Uint64
	longest atomic.Int64
}

func (t *times) add(d time.Duration) {
	t.buckets[bucketOf(d)].Add(1)
	for {
		old := t.longest.Load()
		if int64(d) <= old || t.longest.CompareAndSwap(old, int64(d)) {
			return
		}
	}
}

// bucketOf returns the bucket of a duration: of its highest bit, and the six after.
func bucketOf(d time.Duration) int {
	n := uint64(max(d, 0))
	high := max(bits.Len64(n), 7)
	return (high-7)*64 + int(n>>(high-7))
}

// bucketEnd returns the longest duration in a bucket.
func bucketEnd(i int) time.Duration {
	if i < 128 {
		return time.Duration(i)
	}
	shift := i/64 - 1
	return time.Duration(uint64(i%64+64+1)<<shift - 1)
}

func (t *times) count() (n uint64) {
	for i := range t.buckets {
		n += t.buckets[i].Load()
	}
	return n
}

// measure returns the rate over so many seconds, and the distribution, each time
// rounded up to the end of its bucket.
func (t *times) measure(name, unit string, seconds float64) measure {
	n := t.count()
	m := measure{Name: name, Unit: unit, Rate: float64(n) / seconds, Max: time.Duration(t.longest.Load())}
	for _, q := range []struct {
		permille uint64
		into     *time.Duration
	}{{500, &m.P50}, {900, &m.P90}, {990, &m.P99}, {999, &m.P999}} {
		rank, seen := n*q.permille/1000, uint64(0)
		for i := range t.buckets {
			if seen += t.buckets[i].Load(); seen > rank {
				*q.into = min(bucketEnd(i), m.Max)
				break
			}
		}
	}
	return m
}
