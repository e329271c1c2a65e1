// SPDX-License-Identifier: Apache-2.0

package ledger

import (
	"crypto/sha256"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"cityid"
)

// BenchmarkAppend has 16 goroutines append entries of the size that fetches have,
// with a signature made for each. Every one is on the disk when its Append returns.
func BenchmarkAppend(b *testing.B) {
	for _, agreements := range []int{1, 100} {
		b.Run(fmt.Sprintf("agreements=%d", agreements), func(b *testing.B) {
			f := newFixture(b)
			k := key(b)
			padding := strings.Repeat("x", 700)
			request := message(b, "request "+padding)
			var n atomic.Int64
			b.SetParallelism(8) // times GOMAXPROCS
			b.ResetTimer()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					i := n.Add(1)
					a := agreement(int(i) % agreements)
					r, err := f.Reserve(b.Context(), a, Limits{}, 10000)
					if err != nil {
						b.Error(err)
						return
					}
					nonce := Nonce{Key: cityid.PublicKey("\x01" + strings.Repeat("k", 32)), Created: f.clock.second() + 1, Expires: f.clock.second() + 60}
					copy(nonce.Value[:], fmt.Sprint(i))
					s := Served{Agreement: a, Peer: consumer, Path: "/data/traffic/flow?from=0&to=1", Request: request, Reservation: r, Nonce: &nonce}
					_, err = f.AppendServed(b.Context(), s, func(number uint64) (Answer, error) {
						receipt := Receipt{
							Version: 1, Agreement: a, Dataset: dataset, Provider: provider, Log: "main", Number: number, Request: request.Hash(),
							Status: 200, Size: 10000, Content: sha256.Sum256(nil), Time: f.clock.second(), Height: 7,
						}
						base := []byte("answer " + padding + padding)
						signature, err := k.Sign(base)
						return Answer{receipt, Message{base, signature}}, err
					})
					if err != nil {
						b.Error(err)
						return
					}
				}
			})
			b.StopTimer()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "appends/s")
			b.ReportMetric(float64(b.N)/float64(f.Stats().Groups), "appends/sync")
		})
	}
}
