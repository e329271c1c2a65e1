// SPDX-License-Identifier: Apache-2.0

package store

import (
	"fmt"
	"runtime"
	"testing"
	"time"
)

const benchRecords = 1_000_000

func benchFill(b *testing.B, s *Store, n int) {
	value := make([]byte, 300)
	for i := 0; i < n; i += 1000 {
		batch, err := s.Begin()
		if err != nil {
			b.Fatal(err)
		}
		for j := i; j < i+1000; j++ {
			v := append([]byte(nil), value...)
			copy(v, fmt.Sprint(j))
			if err := batch.Set(fmt.Appendf(nil, "\x01MA.156.1301.%03d/20.010203/%010d\x00", j/1000, j), v); err != nil {
				b.Fatal(err)
			}
		}
		if err := batch.Commit(uint64(i/1000 + 1)); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkCommit commits versions of 1,000 new records of 300 bytes, each
// synced, until a million stand.
func BenchmarkCommit(b *testing.B) {
	for b.Loop() {
		s, err := Open(b.TempDir(), Options{ChainID: testChain})
		if err != nil {
			b.Fatal(err)
		}
		benchFill(b, s, benchRecords)
		mustClose(b, s)
	}
	b.ReportMetric(float64(benchRecords*b.N)/b.Elapsed().Seconds(), "inserts/s")
}

// BenchmarkOpen starts with a million records of 300 bytes.
func BenchmarkOpen(b *testing.B) {
	dir := b.TempDir()
	s, err := Open(dir, Options{ChainID: testChain})
	if err != nil {
		b.Fatal(err)
	}
	benchFill(b, s, benchRecords)
	mustClose(b, s)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	var took time.Duration
	for b.Loop() {
		start := time.Now()
		if s, err = Open(dir, Options{ChainID: testChain}); err != nil {
			b.Fatal(err)
		}
		took = time.Since(start)
		b.StopTimer()
		runtime.GC()
		runtime.ReadMemStats(&after)
		mustClose(b, s)
		b.StartTimer()
	}
	b.ReportMetric(took.Seconds(), "s/start")
	b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/benchRecords, "B/record")
}

// BenchmarkGet reads one record of 100,000.
func BenchmarkGet(b *testing.B) {
	s, err := OpenMemory(Options{ChainID: testChain})
	if err != nil {
		b.Fatal(err)
	}
	benchFill(b, s, 100_000)
	v, err := s.Latest()
	if err != nil {
		b.Fatal(err)
	}
	i := 0
	for b.Loop() {
		j := i * 7919 % 100_000
		if got, err := v.Get(fmt.Appendf(nil, "\x01MA.156.1301.%03d/20.010203/%010d\x00", j/1000, j)); err != nil || got == nil {
			b.Fatal(err)
		}
		i++
	}
	v.Close()
	mustClose(b, s)
}
