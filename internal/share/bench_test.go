// SPDX-License-Identifier: Apache-2.0

package share_test

import (
	"bytes"
	"io"
	"net/http"
	"testing"
)

// BenchmarkFetch fetches 10 kB through both gateways, as many at a time as there
// are processors and then some.
func BenchmarkFetch(b *testing.B) {
	w := newWorld(b)
	body := bytes.Repeat([]byte("0123456789"), 1000)
	w.backend = func(rw http.ResponseWriter, r *http.Request) { rw.Write(body) }
	address := w.take.local.URL + "/fetch/" + w.agree(nil).String() + "/latest"
	b.SetParallelism(8)
	b.SetBytes(int64(len(body)))
	b.ResetTimer()
	b.RunParallel(func(p *testing.PB) {
		c := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 4}}
		for p.Next() {
			resp, err := c.Get(address)
			if err != nil {
				b.Error(err)
				return
			}
			n, _ := io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
			if resp.StatusCode != 200 || n != int64(len(body)) {
				b.Errorf("status %d, %d octets", resp.StatusCode, n)
				return
			}
		}
	})
}
