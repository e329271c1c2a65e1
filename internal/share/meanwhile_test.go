// SPDX-License-Identifier: Apache-2.0

package share_test

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"cityid"
	"cityid/internal/chain/chaintest"
)

// TestMeanwhile changes what the chain says while the service behind a dataset makes its
// answer: nothing of that leaves any more, and it costs nothing.
func TestMeanwhile(t *testing.T) {
	const secret = "what nobody may have any more"
	for _, c := range []struct {
		name   string
		change func(w *world, id cityid.Digest)
		terms  func(*cityid.Terms)
		signed bool
		says   string
	}{
		{name: "revoked", signed: true, says: "revoked", change: func(w *world, id cityid.Digest) {
			w.submit([]cityid.Signer{w.give.officer}, cityid.Operation{AgreementRevoke: &cityid.AgreementDecision{Dataset: air, Agreement: id}})
		}},
		{name: "expired", signed: true, says: "expired", terms: func(t *cityid.Terms) { t.Until = t.From + 3600 }, change: func(w *world, id cityid.Digest) {
			w.pass(time.Hour)
		}},
		{name: "closed", signed: true, says: "closed", change: func(w *world, id cityid.Digest) {
			n, content, _ := w.revision(air)
			content.Dataset.Class = cityid.DatasetClosed
			w.submit([]cityid.Signer{w.give.officer}, cityid.Operation{Amend: &cityid.Amend{Code: air, Revision: n, Content: content}})
		}},
		{name: "consumer's key taken out", says: "key", change: func(w *world, id cityid.Digest) { w.rekey(w.take) }},
		{name: "provider's key taken out", says: "key", change: func(w *world, id cityid.Digest) { w.rekey(w.give) }},
		{name: "consumer suspended", says: "suspended", change: func(w *world, id cityid.Digest) {
			w.setStatus([]cityid.Signer{chaintest.Key(0)}, cityid.SetStatus{Code: consumer, Status: cityid.StatusSuspended, Reason: cityid.ReasonDispute})
		}},
		{name: "the chain stands still", says: "not known", change: func(w *world, id cityid.Digest) { w.engine.Advance(time.Hour) }},
		{name: "nothing", signed: true, change: func(*world, cityid.Digest) {}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			asked, goOn := make(chan struct{}), make(chan struct{})
			w := newWorld(t, func(w *world) {
				w.backend = func(rw http.ResponseWriter, r *http.Request) {
					close(asked)
					<-goOn
					io.WriteString(rw, secret)
				}
			})
			id := w.agree(c.terms)
			r := w.order(id, "/latest").sign(t, w.give.front.url)
			got := make(chan said)
			go func() {
				resp, err := line.RoundTrip(r)
				if err != nil {
					t.Error(err)
					close(got)
					return
				}
				defer resp.Body.Close()
				b, err := io.ReadAll(resp.Body)
				if err != nil {
					t.Error(err)
				}
				got <- said{resp.StatusCode, resp.Header, string(b)}
			}()
			<-asked
			c.change(w, id)
			if c.name != "the chain stands still" {
				w.later()
			}
			close(goOn)
			a := <-got
			if good := c.says == ""; (a.status == 200) != good || strings.Contains(a.body, secret) != good || a.signed() != c.signed || !strings.Contains(a.body, c.says) {
				t.Errorf("%v", a)
			}
			s, want := w.give.Ledger().Stats(), uint64(0)
			if c.says == "" {
				want = 1
			}
			if s.Served != want || s.Unacknowledged != int(want) || s.Reservations != 0 {
				t.Errorf("%+v", s)
			}
		})
	}
}
