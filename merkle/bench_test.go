// SPDX-License-Identifier: Apache-2.0

package merkle

import (
	"fmt"
	"runtime"
	"testing"
)

const benchRecords = 1_000_000

// benchKey returns the i-th of a million keys of about 35 bytes, in order: the
// objects of a thousand departments.
func benchKey(i int) []byte {
	return fmt.Appendf(nil, "\x01MA.156.1301.%03d/20.010203/%010d\x00", i/1000, i)
}

func benchTree(b *testing.B) (Tree, [][]byte) {
	keys := make([][]byte, benchRecords)
	var bl Builder
	for i := range keys {
		keys[i] = benchKey(i)
		if err := bl.Add(keys[i], Hash{byte(i), byte(i >> 8)}); err != nil {
			b.Fatal(err)
		}
	}
	return bl.Tree(), keys
}

// BenchmarkInsert applies sorted batches of 1,000 until a million records stand.
func BenchmarkInsert(b *testing.B) {
	keys := make([][]byte, benchRecords)
	for i := range keys {
		keys[i] = benchKey(i)
	}
	for b.Loop() {
		var t Tree
		for i := 0; i < len(keys); i += 1000 {
			e := t.Edit()
			for _, k := range keys[i : i+1000] {
				e.Put(k, Hash{1})
			}
			t = e.Tree()
			t.Root()
		}
	}
	b.ReportMetric(float64(benchRecords*b.N)/b.Elapsed().Seconds(), "inserts/s")
}

// BenchmarkBuild rebuilds a map of a million records, as at a start.
func BenchmarkBuild(b *testing.B) {
	var before, after runtime.MemStats
	keys := make([][]byte, benchRecords)
	for i := range keys {
		keys[i] = benchKey(i)
	}
	runtime.GC()
	runtime.ReadMemStats(&before)
	var t Tree
	for b.Loop() {
		var bl Builder
		for _, k := range keys {
			bl.Add(k, Hash{1})
		}
		t = bl.Tree()
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	b.ReportMetric(float64(benchRecords*b.N)/b.Elapsed().Seconds(), "records/s")
	b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/benchRecords, "B/record")
	runtime.KeepAlive(t)
	runtime.KeepAlive(keys)
}

func BenchmarkProve(b *testing.B) {
	t, keys := benchTree(b)
	for _, suffix := range []string{"\x00", "x\x00"} {
		b.Run(map[string]string{"\x00": "exists", "x\x00": "absent"}[suffix], func(b *testing.B) {
			i := 0
			var p Proof
			for b.Loop() {
				k := keys[i*7919%len(keys)]
				var err error
				if p, err = t.Prove(append(k[:len(k)-1:len(k)-1], suffix...)); err != nil {
					b.Fatal(err)
				}
				i++
			}
			enc, _ := p.MarshalBinary()
			b.ReportMetric(float64(len(enc)), "B")
		})
	}
}

func BenchmarkCheck(b *testing.B) {
	t, keys := benchTree(b)
	p, err := t.Prove(keys[123456])
	if err != nil {
		b.Fatal(err)
	}
	v, _ := t.Get(keys[123456])
	for b.Loop() {
		if got, err := p.Root(keys[123456], v); err != nil || got != t.Root() {
			b.Fatal("proof does not hold")
		}
	}
}

// BenchmarkRange lists the 1,000 objects of one department.
func BenchmarkRange(b *testing.B) {
	t, _ := benchTree(b)
	r := Range{Lo: []byte("\x01MA.156.1301.500/"), Hi: []byte("\x01MA.156.1301.5000"), Shallow: true}
	p, list, err := t.ProveRange(r)
	if err != nil || len(list) != 1000 {
		b.Fatal(len(list), err)
	}
	enc, _ := p.MarshalBinary()
	values := valuesOf(list)
	b.Run("prove", func(b *testing.B) {
		for b.Loop() {
			t.ProveRange(r)
		}
		b.ReportMetric(float64(len(enc)), "B")
	})
	b.Run("check", func(b *testing.B) {
		for b.Loop() {
			if got, _, err := p.Root(r, values); err != nil || got != t.Root() {
				b.Fatal(err)
			}
		}
	})
}
