// SPDX-License-Identifier: Apache-2.0

package js_test

import (
	"encoding/json"
	"strconv"
	"testing"
)

// BenchmarkBundle measures how much time of the processor one bundle takes in
// Node.js, so that what else runs on the machine matters little.
func BenchmarkBundle(b *testing.B) {
	for _, name := range []string{"good-record", "good-absence", "good-descendants", "good-history", "good-archive", "good-trust-carried", "good-validators-transition"} {
		b.Run(name, func(b *testing.B) {
			v := readVectors(b, "bundle-"+name)[0]
			for b.Loop() {
				const rounds = 200
				a := runJobs(b, servedFile(b), []job{{"op": "timing", "trust": v.Trust, "bundle": v.Bundle, "now": v.Now, "rounds": rounds}})[0]
				var ms json.Number
				a.into(b, &ms)
				each, err := strconv.ParseFloat(ms.String(), 64)
				if err != nil {
					b.Fatal(err)
				}
				b.ReportMetric(each, "cpu-ms/bundle")
			}
			b.ReportMetric(0, "ns/op")
		})
	}
}
