// SPDX-License-Identifier: Apache-2.0

package share_test

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"cityid"
	"cityid/internal/ledger"
)

// account is what a model knows of an agreement.
type account struct {
	id       cityid.Digest
	requests int // a day; 0: no limit
	used     int // today
	waiting  []cityid.Digest
	known    []cityid.Digest // acknowledged
	over     bool
}

// model is what a provider's gateway has to do, in a few lines.
type model struct {
	*world
	most     int // answers that may wait
	accounts []*account
	number   uint64 // of the last receipt
	done     []string
}

// TestModel does at random what consumers, officers and operators do, and compares each
// answer with what a model says: who gets data and who does not, that each signed answer
// has the next number, and what waits for its acknowledgement, whenever gateways restart.
func TestModel(t *testing.T) {
	t.Parallel()
	for seed := range uint64(8) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			m := &model{most: 4}
			m.world = newWorld(t, func(w *world) { w.give.cfg.Unacknowledged = m.most })
			m.take.stop() // it would acknowledge
			for i, requests := range []int{0, 3, 7} {
				id := m.agree(func(t *cityid.Terms) { longer(t); t.Requests, t.Nonce = uint64(requests), cityid.Nonce{byte(i + 1)} })
				m.accounts = append(m.accounts, &account{id: id, requests: requests})
			}
			r := rand.New(rand.NewPCG(seed, 1))
			for range 100 {
				a := m.accounts[r.IntN(len(m.accounts))]
				switch n := r.IntN(100); {
				case n < 55:
					m.fetch(a)
				case n < 75:
					m.acknowledge(a, 1+r.IntN(3))
				case n < 82:
					m.acknowledgeOther(a, m.accounts[r.IntN(len(m.accounts))])
				case n < 90:
					m.restart()
				case n < 94:
					m.tomorrow()
				case n < 97:
					m.revoke(a)
				default:
					m.anchor()
				}
				m.compare()
				if t.Failed() {
					t.Fatal(strings.Join(m.done, ", "))
				}
			}
			m.anchor()
		})
	}
}

func (m *model) did(format string, args ...any) {
	m.done = append(m.done, fmt.Sprintf(format, args...))
}

func (m *model) name(a *account) int { return slices.Index(m.accounts, a) }

func (m *model) fetch(a *account) {
	m.did("fetch under %d", m.name(a))
	want, says := 200, ""
	switch {
	case a.over:
		want, says = http.StatusForbidden, "revoked"
	case len(a.waiting) >= m.most:
		want, says = exhausted, "acknowledged"
	case a.requests > 0 && a.used >= a.requests:
		want, says = exhausted, "requests a day"
	}
	o := m.order(a.id, "/latest")
	r := o.sign(m.t, m.give.front.url)
	header := r.Header.Clone()
	got := m.send(r)
	if got.status != want || !got.signed() || !strings.Contains(got.body, says) {
		m.t.Errorf("want %d %s: %v", want, says, got)
		return
	}
	receipt, err := ledger.DecodeReceipt(decode64(m.t, strings.Trim(got.header.Get("Data-Receipt"), ":")))
	if err != nil {
		m.t.Fatal(err)
	}
	if m.number++; receipt.Number != m.number || receipt.Agreement != a.id || int(receipt.Status) != want {
		m.t.Errorf("receipt %+v, want number %d", receipt, m.number)
	}
	if want == 200 {
		a.used++
		a.waiting = append(a.waiting, m.entryOf(o, header, got))
	}
}

// acknowledge acknowledges so many, some of which may have been before.
func (m *model) acknowledge(a *account, n int) {
	n = min(n, len(a.waiting))
	list := append(slices.Clone(a.waiting[:n]), a.known[:min(1, len(a.known))]...)
	if len(list) == 0 {
		return
	}
	m.did("acknowledge %d of %d", n, m.name(a))
	// A revoked agreement's answers are still acknowledged.
	if got := m.ordered(m.acknowledgement(a.id, list...)); got.status != http.StatusNoContent {
		m.t.Errorf("%v", got)
		return
	}
	a.known, a.waiting = append(a.known, a.waiting[:n]...), a.waiting[n:]
}

// acknowledgeOther acknowledges under an agreement what belongs to another, beside what
// belongs to it: all of it is refused.
func (m *model) acknowledgeOther(a, other *account) {
	if a == other || len(other.waiting) == 0 {
		return
	}
	m.did("acknowledge under %d an answer of %d", m.name(a), m.name(other))
	list := append(slices.Clone(a.waiting), other.waiting[0])
	if got := m.ordered(m.acknowledgement(a.id, list...)); got.status != http.StatusNotFound {
		m.t.Errorf("%v", got)
	}
}

func (m *model) restart() {
	m.did("restart")
	m.give.stop()
	m.open(m.give)
	m.engine.Advance(time.Second)
}

func (m *model) tomorrow() {
	m.did("tomorrow")
	now := m.engine.Now()
	m.pass(now.Truncate(24 * time.Hour).Add(24*time.Hour + time.Minute).Sub(now))
	for _, a := range m.accounts {
		a.used = 0
	}
}

func (m *model) revoke(a *account) {
	if a.over {
		return
	}
	m.did("revoke %d", m.name(a))
	m.submit([]cityid.Signer{m.give.officer}, cityid.Operation{AgreementRevoke: &cityid.AgreementDecision{Dataset: air, Agreement: a.id}})
	m.later()
	a.over = true
	if now := m.engine.Now(); now.Sub(now.Truncate(24*time.Hour)) < 40*time.Second { // midnight was in between
		for _, a := range m.accounts {
			a.used = 0
		}
	}
}

func (m *model) anchor() {
	m.did("anchor")
	if err := m.give.Anchor(m.t.Context()); err != nil {
		m.t.Error(err)
	}
	if err := m.engine.Settle(); err != nil {
		m.t.Fatal(err)
	}
}

// compare compares the ledger with the model.
func (m *model) compare() {
	l := m.give.Ledger()
	for i, a := range m.accounts {
		if got := l.AwaitingAcknowledgement(a.id, ledger.DirectionServed, 100); !slices.Equal(got, a.waiting) && len(got)+len(a.waiting) > 0 {
			m.t.Errorf("under %d, %d answers wait, want %d", i, len(got), len(a.waiting))
		}
		use, err := l.Usage(m.t.Context(), a.id, ledger.DirectionServed, m.engine.Now().Unix()/86400)
		if err != nil || int(use.Requests) != a.used || use.Octets != uint64(a.used*len(latestBody)) {
			m.t.Errorf("under %d, %+v is used, want %d: %v", i, use, a.used, err)
		}
	}
	if n := l.Stats().Entries; n != m.number {
		m.t.Errorf("%d entries, want %d", n, m.number)
	}
}
