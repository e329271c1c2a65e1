// SPDX-License-Identifier: Apache-2.0

package main

import (
	"math/rand/v2"
	"testing"
	"time"
)

// TestTimes compares the buckets with the durations themselves.
func TestTimes(t *testing.T) {
	for range 100_000 {
		d := time.Duration(rand.Uint64() >> (1 + rand.IntN(63)))
		i := bucketOf(d)
		if end := bucketEnd(i); end < d || float64(end) > float64(d)*65/64+1 {
			t.Fatalf("%d is in bucket %d, which ends at %d", d, i, end)
		}
		if i > 0 && bucketEnd(i-1) >= d {
			t.Fatalf("%d is in bucket %d, but fits the one before, to %d", d, i, bucketEnd(i-1))
		}
	}
	var all times
	for n := range 1000 {
		all.add(time.Duration(n+1) * time.Millisecond)
	}
	m := all.measure("x", "y", 10)
	if m.Rate != 100 || m.Max != time.Second || m.P50 < 500*time.Millisecond || m.P50 > 510*time.Millisecond || m.P999 < 999*time.Millisecond || m.P999 > time.Second {
		t.Errorf("%+v", m)
	}
}
