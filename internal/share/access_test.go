// SPDX-License-Identifier: Apache-2.0

package share_test

import (
	"testing"

	"cityid/internal/ledger"
)

// TestAccessLog reads on both sides who fetched what.
func TestAccessLog(t *testing.T) {
	w := newWorld(t)
	id := w.agree(nil)
	if status, body, _ := w.get(w.take.local.URL + "/fetch/" + id.String() + "/latest"); status != 200 {
		t.Fatalf("%d %s", status, body)
	}
	w.get(w.take.local.URL + "/fetch/" + id.String() + "/secret") // refused under a signature
	q := ledger.AccessQuery{Agreement: id}
	pages := map[*city]*ledger.AccessPage{}
	for _, c := range []*city{w.give, w.take} {
		status, body, _ := w.get(c.local.URL + "/v1/log?" + q.Values().Encode())
		if status != 200 {
			t.Fatalf("%d %s", status, body)
		}
		page, err := ledger.DecodeAccessPage([]byte(body))
		if err != nil {
			t.Fatal(err)
		}
		pages[c] = page
		if len(page.Entries) != 2 || page.Entries[0].Status != 403 || page.Entries[1].Status != 200 || page.Party != c.code {
			t.Errorf("%+v", page)
		}
	}
	for i := range 2 {
		give, take := pages[w.give].Entries[i], pages[w.take].Entries[i]
		if give.Entry != take.Entry || give.Number != take.Number || give.Provider != provider || give.Direction == take.Direction || give.Peer != consumer || take.Peer != provider {
			t.Errorf("%+v and %+v", give, take)
		}
	}
	if u := pages[w.give].Served; u.Requests != 1 || u.Refused != 1 || u.Octets != pages[w.take].Fetched.Octets {
		t.Errorf("used %+v", u)
	}
	if status, body, _ := w.get(w.give.local.URL + "/v1/log?agreement=1"); status != 400 {
		t.Errorf("%d %s", status, body)
	}
}
