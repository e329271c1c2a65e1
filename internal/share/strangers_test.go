// SPDX-License-Identifier: Apache-2.0

package share_test

import (
	"fmt"
	"net/http"
	"testing"

	"cityid/internal/share"
)

// TestStrangers asks under agreements that there are not: each is refused, and
// soon before a node is asked.
func TestStrangers(t *testing.T) {
	w := newWorld(t)
	seen := map[int]int{}
	for i := range 200 {
		r, err := http.NewRequest(http.MethodGet, w.give.peer.URL+"/data/"+share.Segment(air)+"/latest", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Data-Agreement", fmt.Sprintf("\"%064x\"", i+1))
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		seen[resp.StatusCode]++
	}
	if seen[http.StatusNotFound] == 0 || seen[http.StatusTooManyRequests] == 0 || seen[http.StatusNotFound]+seen[http.StatusTooManyRequests] != 200 {
		t.Errorf("answers by status: %v", seen)
	}
}
