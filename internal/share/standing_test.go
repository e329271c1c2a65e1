// SPDX-License-Identifier: Apache-2.0

package share_test

import (
	"context"
	"crypto/sha256"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"net/http"

	"cityid"
	"cityid/internal/chain/chaintest"
	"cityid/keys"
)

// revision returns a record's revision and content.
func (w *world) revision(code cityid.Code) (uint32, cityid.Content, *cityid.Policy) {
	w.t.Helper()
	r, err := w.engine.Record(w.t.Context(), code)
	if err != nil {
		w.t.Fatal(err)
	}
	return r.Record.Revision, r.Record.Content, r.Record.Policy
}

// gatewayKey returns another key of a gateway.
func gatewayKey(t testing.TB, n int) *keys.Private {
	t.Helper()
	secret := sha256.Sum256(fmt.Appendf(nil, "another gateway %d", n))
	k, err := keys.NewPrivate(keys.Ed25519, secret[:])
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// rekey gives a city a policy with these gateway keys.
func (w *world) rekey(c *city, gateways ...cityid.Key) {
	w.t.Helper()
	n, _, _ := w.revision(c.code)
	p := chaintest.Policy(c.officer)
	for _, k := range gateways {
		k.Roles = cityid.RoleGateway
		p.Members[0].Keys = append(p.Members[0].Keys, k)
	}
	w.submit([]cityid.Signer{c.officer}, cityid.Operation{Rekey: &cityid.Rekey{Code: c.code, Revision: n, Policy: p}})
}

func (w *world) setStatus(by []cityid.Signer, s cityid.SetStatus) {
	w.t.Helper()
	s.Revision, _, _ = w.revision(s.Code)
	w.submit(by, cityid.Operation{SetStatus: &s})
}

func public(k *keys.Private) cityid.PublicKey { return cityid.PublicKey(k.Public().Raw()) }

// later lets so much time pass that no state known before counts any more under
// the shortest staleness, while the chain goes on.
func (w *world) later() {
	w.t.Helper()
	w.pass(31 * time.Second)
}

// pass lets time pass while the chain goes on.
func (w *world) pass(d time.Duration) {
	w.t.Helper()
	w.engine.Advance(d)
	if err := w.engine.Settle(); err != nil {
		w.t.Fatal(err)
	}
	if err := w.engine.MakeBlock(); err != nil {
		w.t.Fatal(err)
	}
}

// counting counts the requests that reach the service behind the provider's
// gateway.
func (w *world) counting() *atomic.Int32 {
	n, serve := new(atomic.Int32), w.backend
	w.backend = func(rw http.ResponseWriter, r *http.Request) { n.Add(1); serve(rw, r) }
	return n
}

// TestChainDecides changes what the chain says, in all ways in which a fetch must
// no longer be answered: with the present state of the chain none is, neither for
// a consumer's gateway that looks itself, nor for one that does not care.
func TestChainDecides(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(w *world, id cityid.Digest)
		terms  func(*cityid.Terms)
		signed bool // the provider says so under its signature
		says   string
	}{
		{name: "revoked by the provider", signed: true, says: "revoked", change: func(w *world, id cityid.Digest) {
			w.submit([]cityid.Signer{w.give.officer}, cityid.Operation{AgreementRevoke: &cityid.AgreementDecision{Dataset: air, Agreement: id}})
		}},
		{name: "revoked by the consumer", signed: true, says: "revoked", change: func(w *world, id cityid.Digest) {
			w.submit([]cityid.Signer{w.take.officer}, cityid.Operation{AgreementRevoke: &cityid.AgreementDecision{Dataset: air, Agreement: id}})
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
		{name: "consumer's key replaced", says: "key", change: func(w *world, id cityid.Digest) {
			w.rekey(w.take, cityid.Key{Public: public(gatewayKey(w.t, 1))})
		}},
		{name: "consumer's key over", says: "key", change: func(w *world, id cityid.Digest) {
			w.rekey(w.take, cityid.Key{Public: public(w.take.key), Until: cityid.TimeOf(w.engine.Now()) + 1})
		}},
		{name: "consumer's key compromised", says: "key", change: func(w *world, id cityid.Digest) {
			w.rekey(w.take, cityid.Key{Public: public(w.take.key), Compromised: cityid.TimeOf(w.engine.Now()) - 100})
		}},
		{name: "provider's key taken out", says: "key", change: func(w *world, id cityid.Digest) { w.rekey(w.give) }},
		{name: "consumer suspended", says: "suspended", change: func(w *world, id cityid.Digest) {
			w.setStatus([]cityid.Signer{chaintest.Key(0)}, cityid.SetStatus{Code: consumer, Status: cityid.StatusSuspended, Reason: cityid.ReasonDispute})
		}},
		{name: "provider suspended", says: "suspended", change: func(w *world, id cityid.Digest) {
			w.setStatus([]cityid.Signer{chaintest.Key(0)}, cityid.SetStatus{Code: provider, Status: cityid.StatusSuspended, Reason: cityid.ReasonDispute})
		}},
		{name: "class above the dataset suspended", says: "suspended", change: func(w *world, id cityid.Digest) {
			w.setStatus([]cityid.Signer{w.give.officer}, cityid.SetStatus{Code: air.Parent(), Status: cityid.StatusSuspended, Reason: cityid.ReasonDispute})
		}},
		{name: "dataset retired", says: "retired", change: func(w *world, id cityid.Digest) {
			w.setStatus([]cityid.Signer{w.give.officer}, cityid.SetStatus{Code: air, Status: cityid.StatusRetired, Reason: cityid.ReasonClosed})
		}},
		{name: "provider merged into another city", says: "hold", change: func(w *world, id cityid.Digest) {
			heir := cityid.MustParse("MA.156.1302")
			a := chaintest.Allocation(heir.String(), cityid.KindCity)
			a.Policy = chaintest.Policy(chaintest.Key(30))
			w.submit([]cityid.Signer{chaintest.Key(0)}, chaintest.Allocate(a))
			w.setStatus([]cityid.Signer{chaintest.Key(0), chaintest.Key(30)},
				cityid.SetStatus{Code: provider, Status: cityid.StatusRetired, Reason: cityid.ReasonMerged, Heir: heir, Successors: []cityid.Code{heir}})
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			asked := w.counting()
			id := w.agree(c.terms)
			w.fetched(id)
			c.change(w, id)
			w.later()
			asked.Store(0)
			if f, err := w.take.Fetch(t.Context(), id, "/latest", ""); err == nil {
				f.Body.Close()
				t.Errorf("the consumer's gateway fetches: status %d", f.Status)
			}
			got := w.ordered(w.order(id, "/latest"))
			if got.status < 400 || got.signed() != c.signed || !strings.Contains(got.body, c.says) {
				t.Errorf("the provider answers %v", got)
			}
			if n := asked.Load(); n != 0 {
				t.Errorf("the service behind was asked %d times", n)
			}
		})
	}
}

// TestNotYet fetches under agreements that never came into force.
func TestNotYet(t *testing.T) {
	w := newWorld(t)
	asked := w.counting()
	now := cityid.TimeOf(w.engine.Now())
	later := w.agree(func(t *cityid.Terms) { t.From, t.Nonce = now+3600, cityid.Nonce{2} })
	terms := func(n byte) cityid.Terms {
		_, content, _ := w.revision(air)
		t := cityid.Terms{
			Dataset: air, Consumer: consumer, Document: content.Dataset.Document, From: now, Until: now + 86400, Staleness: 30,
			Purpose: cityid.Digest{1}, Respond: now + 600, Nonce: cityid.Nonce{n},
		}
		w.submit([]cityid.Signer{w.take.officer}, cityid.Operation{AgreementRequest: &cityid.AgreementRequest{Terms: t}})
		return t
	}
	requested, refused, back := terms(3), terms(4), terms(5)
	w.submit([]cityid.Signer{w.give.officer}, cityid.Operation{AgreementRefuse: &cityid.AgreementDecision{Dataset: air, Agreement: refused.ID()}})
	w.submit([]cityid.Signer{w.take.officer}, cityid.Operation{AgreementRevoke: &cityid.AgreementDecision{Dataset: air, Agreement: back.ID()}})
	try := func(id cityid.Digest, says string) {
		t.Helper()
		if f, err := w.take.Fetch(t.Context(), id, "/latest", ""); err == nil {
			f.Body.Close()
			t.Errorf("%s: the consumer's gateway fetches: status %d", says, f.Status)
		}
		if got := w.ordered(w.order(id, "/latest")); got.status != 403 || !strings.Contains(got.body, says) {
			t.Errorf("%s: the provider answers %v", says, got)
		}
	}
	try(later, "granted from")
	try(requested.ID(), "requested")
	try(refused.ID(), "refused")
	try(back.ID(), "revoked")
	w.pass(time.Hour)
	try(requested.ID(), "lapsed")
	if n := asked.Load(); n != 0 {
		t.Errorf("the service behind was asked %d times", n)
	}
	w.fetched(later)
}

// TestKeysKeepTheirRole signs fetches with keys of other roles, and transactions
// with a gateway's.
func TestKeysKeepTheirRole(t *testing.T) {
	w := newWorld(t)
	asked := w.counting()
	id := w.agree(nil)
	secret := func(n int) *keys.Private {
		for i := range 100 {
			if s := chaintest.Key(i); i == n {
				return signerKey{s}.private(t, n)
			}
		}
		return nil
	}
	for who, key := range map[string]*keys.Private{
		"the consumer's officer": secret(20), "the provider's officer": secret(10), "the provider's gateway": w.give.key, "a stranger": gatewayKey(t, 9),
	} {
		o := w.order(id, "/latest")
		o.key = key
		if got := w.ordered(o); got.status != 403 || got.signed() {
			t.Errorf("signed by %s: %v", who, got)
		}
	}
	if n := asked.Load(); n != 0 {
		t.Errorf("the service behind was asked %d times", n)
	}
	now := cityid.TimeOf(w.engine.Now())
	_, content, _ := w.revision(air)
	terms := cityid.Terms{
		Dataset: air, Consumer: consumer, Document: content.Dataset.Document, From: now, Until: now + 86400, Staleness: 30,
		Purpose: cityid.Digest{1}, Respond: now + 600, Nonce: cityid.Nonce{7},
	}
	consumers := cityid.Signer{Key: public(w.take.key), Sign: w.take.key.Sign}
	providers := cityid.Signer{Key: public(w.give.key), Sign: w.give.key.Sign}
	n, _, policy := w.revision(consumer)
	refused := func(what string, by cityid.Signer, op cityid.Operation) {
		t.Helper()
		r, err := w.engine.Submit(t.Context(), chaintest.TxBy(zone, w.engine.Now(), []cityid.Signer{by}, op), true)
		if err == nil {
			err = r.Err()
		}
		if cityid.CodeOf(err) != cityid.ErrNotPermitted {
			t.Errorf("%s: %v", what, err)
		}
		if err := w.engine.Settle(); err != nil {
			t.Fatal(err)
		}
	}
	refused("request", consumers, cityid.Operation{AgreementRequest: &cityid.AgreementRequest{Terms: terms}})
	w.submit([]cityid.Signer{w.take.officer}, cityid.Operation{AgreementRequest: &cityid.AgreementRequest{Terms: terms}})
	decision := cityid.AgreementDecision{Dataset: air, Agreement: terms.ID()}
	refused("grant", providers, cityid.Operation{AgreementGrant: &decision})
	refused("refuse", providers, cityid.Operation{AgreementRefuse: &decision})
	refused("take back", consumers, cityid.Operation{AgreementRevoke: &decision})
	decision.Agreement = id
	refused("revoke, provider", providers, cityid.Operation{AgreementRevoke: &decision})
	refused("revoke, consumer", consumers, cityid.Operation{AgreementRevoke: &decision})
	refused("rekey", consumers, cityid.Operation{Rekey: &cityid.Rekey{Code: consumer, Revision: n, Policy: policy}})
	anchor := func(party cityid.Code) cityid.Operation {
		return cityid.Operation{AnchorReceipts: &cityid.AnchorReceipts{Party: party, Log: "gw-9", Sequence: 1, Root: cityid.Digest{1}}}
	}
	refused("anchor for another", consumers, anchor(provider))
	w.submit([]cityid.Signer{consumers}, anchor(consumer))
}

// signerKey finds the private key of one of chaintest's signers.
type signerKey struct{ cityid.Signer }

func (s signerKey) private(t testing.TB, n int) *keys.Private {
	t.Helper()
	secret := sha256.Sum256(append([]byte("chaintest key "), 0, 0, 0, 0, 0, 0, 0, byte(n)))
	k, err := keys.NewPrivate(keys.Ed25519, secret[:])
	if err != nil || public(k) != s.Key {
		t.Fatalf("key %d of chaintest is another one: %v", n, err)
	}
	return k
}

// TestRotation replaces the key of one side after the other while both run, with
// some time in which both keys count: no fetch fails.
func TestRotation(t *testing.T) {
	w := newWorld(t)
	id := w.agree(nil)
	for i, c := range []*city{w.give, w.take} {
		next := gatewayKey(t, i)
		w.rekey(c, cityid.Key{Public: public(c.key)}, cityid.Key{Public: public(next)})
		w.later()
		w.fetched(id)
		c.stop()
		c.key = next
		w.engine.Advance(time.Second)
		w.open(c)
		w.engine.Advance(time.Second)
		w.fetched(id)
		w.rekey(c, cityid.Key{Public: public(next)})
		w.later()
		w.fetched(id)
		w.anchored()
	}
}

// TestStaleness halts the chain: an agreement counts for as long as its terms
// say, and not longer.
func TestStaleness(t *testing.T) {
	w := newWorld(t)
	short, long := w.agree(nil), w.agree(func(t *cityid.Terms) { t.Staleness, t.Nonce = 3600, cityid.Nonce{2} })
	asked := w.counting()
	fetch := func(id cityid.Digest, served bool, when string) {
		t.Helper()
		asked.Store(0)
		got := w.ordered(w.order(id, "/latest"))
		if (got.status == 200) != served || got.signed() != served || (asked.Load() == 1) != served {
			t.Errorf("%s: the provider answers %v", when, got)
		}
		if !served && got.status != http.StatusServiceUnavailable {
			t.Errorf("%s: the provider answers %v", when, got)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		f, err := w.take.Fetch(ctx, id, "/latest", "")
		if (err == nil) != served {
			t.Errorf("%s: the consumer fetches: %v", when, err)
		}
		if err == nil {
			f.Body.Close()
		}
	}
	fetch(short, true, "at once")
	fetch(long, true, "at once")
	w.engine.Advance(30 * time.Second)
	fetch(short, true, "at the limit")
	w.engine.Advance(time.Second)
	fetch(short, false, "a second later")
	fetch(long, true, "a second later")
	w.engine.Advance(3600*time.Second - 31*time.Second)
	fetch(long, true, "at the long limit")
	w.engine.Advance(time.Second)
	fetch(long, false, "beyond the long limit")
	w.pass(0)
	fetch(short, true, "when it goes on")
	fetch(long, true, "when it goes on")
}

// TestRevocationBitesSoon revokes an agreement of long staleness: while the chain
// answers, it is noticed long before that is over.
func TestRevocationBitesSoon(t *testing.T) {
	w := newWorld(t)
	id := w.agree(func(t *cityid.Terms) { t.Staleness = cityid.MaxStaleness })
	if got := w.ordered(w.order(id, "/latest")); got.status != 200 {
		t.Fatal(got)
	}
	w.submit([]cityid.Signer{w.give.officer}, cityid.Operation{AgreementRevoke: &cityid.AgreementDecision{Dataset: air, Agreement: id}})
	w.pass(5 * time.Second)
	w.await("the revocation", func() bool {
		got := w.ordered(w.order(id, "/latest"))
		return got.status == 403 && strings.Contains(got.body, "revoked")
	})
	if age := w.engine.Now().Sub(chaintest.Epoch.Std()); age > 5*time.Minute {
		t.Errorf("it took until %v after the epoch", age)
	}
}
