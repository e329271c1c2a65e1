// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"testing"

	"cityid"
)

// BenchmarkCheckpoint carries out the checkpoint of a zone with four validators,
// 1,000 blocks after the one before: what it costs the zone above, but for the
// transaction around it.
func BenchmarkCheckpoint(b *testing.B) {
	z := newZones(b)
	z.delegate()
	for range 2 {
		for range 999 {
			z.city.block(10, nil, note("n"))
		}
		z.city.empty(2)
		z.catchUp()
		if z.zone().Checkpoint.Height == 0 {
			z.mustPost(1000, founders)
		}
	}
	op := z.city.post(shijiazhuang, z.zone().Checkpoint, founders, 2000)
	set, err := loadSettings(z.state)
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		w := newWork(z.state, z.block, set, z.check)
		if err := w.checkpoint(op); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(len(cityid.MustMarshal(op))), "B/op-encoded")
}
