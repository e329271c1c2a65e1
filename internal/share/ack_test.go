// SPDX-License-Identifier: Apache-2.0

package share_test

import (
	"net/http"
	"testing"

	"cityid/internal/ledger"
)

// TestAcknowledgementsApart leaves answers unacknowledged, among them some of which the
// provider's log knows nothing, as after it was restored: the others are acknowledged
// all the same, together, when the consumer's gateway starts again.
func TestAcknowledgementsApart(t *testing.T) {
	w := newWorld(t)
	id := w.agree(nil)
	gateway := w.give.front.behind.Config.Handler
	deaf := http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/acknowledgements" {
			rw.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		gateway.ServeHTTP(rw, r)
	})
	w.give.front.put(deaf)
	for i := range 12 {
		if i%5 == 3 {
			w.written(id, w.now(), w.now()+1)
		}
		f, err := w.take.Fetch(t.Context(), id, "/latest", "")
		if err != nil {
			t.Fatal(err)
		}
		f.Body.Close()
	}
	if n := w.give.Ledger().Unacknowledged(id, ledger.DirectionServed); n != 12 {
		t.Fatalf("%d answers wait at the provider", n)
	}
	w.take.stop()
	w.give.front.put(gateway)
	w.open(w.take)
	w.await("the acknowledgement of what the provider knows", func() bool {
		return w.give.Ledger().Unacknowledged(id, ledger.DirectionServed) == 0 && w.take.Ledger().Unacknowledged(id, ledger.DirectionFetched) == 2
	})
}
