// SPDX-License-Identifier: Apache-2.0

package chain_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"cityid"
	"cityid/internal/chain/chaintest"
)

// BenchmarkSubmit has one validator allocate codes, so many a transaction, for
// so many clients that each wait for the proof.
func BenchmarkSubmit(b *testing.B) {
	for _, c := range []struct{ size, clients int }{{1, 1}, {1, 2000}, {500, 32}} {
		b.Run(fmt.Sprintf("codes=%d/clients=%d", c.size, c.clients), func(b *testing.B) {
			w := chaintest.Start(b, 1, 0)
			nodeSubmit(b, w, 0, city(1))
			raws := make(chan []byte, b.N)
			for i := range b.N {
				items := make([]cityid.Allocation, c.size)
				for j := range items {
					items[j] = chaintest.Allocation(fmt.Sprintf("MA.156.1001.%08d", i*c.size+j), cityid.KindDepartment)
				}
				raws <- chaintest.Tx(w.Genesis.Chain, time.Now(), chaintest.Allocate(items...))
			}
			close(raws)
			b.ResetTimer()
			var wg sync.WaitGroup
			for range c.clients {
				wg.Go(func() {
					for raw := range raws {
						if r, err := w.Nodes[0].Submit(ctx, raw, true); err != nil || r.Err() != nil {
							b.Errorf("%+v, %v", r, err)
						}
					}
				})
			}
			wg.Wait()
			b.ReportMetric(float64(c.size*b.N)/b.Elapsed().Seconds(), "codes/s")
		})
	}
}
