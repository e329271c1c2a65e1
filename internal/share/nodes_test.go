// SPDX-License-Identifier: Apache-2.0

package share_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"cityid"
	"cityid/internal/chain"
	"cityid/internal/chain/chaintest"
	"cityid/internal/share"
	"cityid/verify"
)

// badNode is a node that lies, or lags, where its fields say so.
type badNode struct {
	share.Node
	bundle    func(context.Context, cityid.BundleQuery) ([]byte, error)
	agreement func(context.Context, cityid.Digest) (*cityid.AgreementAnswer, error)
	submit    func(context.Context, []byte) (*cityid.Receipt, error)
	asked     atomic.Int32
}

func (n *badNode) Submit(ctx context.Context, raw []byte, wait bool) (*cityid.Receipt, error) {
	if n.submit != nil {
		return n.submit(ctx, raw)
	}
	return n.Node.Submit(ctx, raw, wait)
}

func (n *badNode) Bundle(ctx context.Context, q cityid.BundleQuery) ([]byte, error) {
	n.asked.Add(1)
	if n.bundle != nil {
		return n.bundle(ctx, q)
	}
	return n.Node.Bundle(ctx, q)
}

func (n *badNode) Agreement(ctx context.Context, id cityid.Digest) (*cityid.AgreementAnswer, error) {
	n.asked.Add(1)
	if n.agreement != nil {
		return n.agreement(ctx, id)
	}
	return n.Node.Agreement(ctx, id)
}

// hang answers when the asker gives up.
func hang(ctx context.Context) error {
	<-ctx.Done()
	return ctx.Err()
}

// badNodes are nodes by what is wrong with them. Each has seen the agreement
// granted, and does not want the gateway to learn that it was revoked since.
func (w *world) badNodes(id cityid.Digest) map[string]*badNode {
	t := w.t
	t.Helper()
	status, err := w.engine.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	height := status.Height - 1
	other, err := chain.NewEngine(chain.EngineConfig{Genesis: chaintest.Genesis(zone, chaintest.Epoch+1, chain.EngineValidator())})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { other.Close() })
	elsewhere := w.agree(func(t *cityid.Terms) { t.Nonce = cityid.Nonce{77} })
	old := func(ctx context.Context, q cityid.BundleQuery) ([]byte, error) {
		q.At = height
		return w.engine.Bundle(ctx, q)
	}
	none := cityid.Errorf(cityid.ErrNotFound, "no such thing")
	return map[string]*badNode{
		"serves an old state": {bundle: old},
		"serves another chain of this name": {bundle: func(ctx context.Context, q cityid.BundleQuery) ([]byte, error) {
			return other.Bundle(ctx, q)
		}},
		"serves other entries": {bundle: func(ctx context.Context, q cityid.BundleQuery) ([]byte, error) {
			q.Keys = q.Keys[:1]
			return w.engine.Bundle(ctx, q)
		}},
		"serves one agreement for another": {agreement: func(ctx context.Context, _ cityid.Digest) (*cityid.AgreementAnswer, error) {
			return w.engine.Agreement(ctx, elsewhere)
		}},
		"serves noise": {bundle: func(context.Context, cityid.BundleQuery) ([]byte, error) {
			return []byte(strings.Repeat("\xa1", 100)), nil
		}},
		"serves nothing": {bundle: func(context.Context, cityid.BundleQuery) ([]byte, error) { return nil, nil }},
		"knows nothing": {
			bundle:    func(context.Context, cityid.BundleQuery) ([]byte, error) { return nil, none },
			agreement: func(context.Context, cityid.Digest) (*cityid.AgreementAnswer, error) { return nil, none },
		},
		"is broken": {
			bundle: func(context.Context, cityid.BundleQuery) ([]byte, error) {
				return nil, errors.New("dial tcp 10.0.0.9:8080: refused")
			},
			agreement: func(context.Context, cityid.Digest) (*cityid.AgreementAnswer, error) {
				return nil, errors.New("dial tcp 10.0.0.9:8080: refused")
			},
		},
		"is half broken": {bundle: func(context.Context, cityid.BundleQuery) ([]byte, error) {
			return nil, errors.New("dial tcp 10.0.0.9:8080: refused")
		}},
		"never answers": {
			bundle:    func(ctx context.Context, _ cityid.BundleQuery) ([]byte, error) { return nil, hang(ctx) },
			agreement: func(ctx context.Context, _ cityid.Digest) (*cityid.AgreementAnswer, error) { return nil, hang(ctx) },
		},
	}
}

// TestBadNode lets a gateway ask one bad node alone: nothing is served that is no
// longer so, and nobody outside learns about the node.
func TestBadNode(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id := w.agree(nil)
	for name, n := range w.badNodes(id) {
		n.Node = w.engine
		if name == "never answers" && testing.Short() {
			continue // for eight seconds
		}
		w.engine.Advance(31 * time.Second)
		if err := w.engine.MakeBlock(); err != nil {
			t.Fatal(err)
		}
		w.give.stop()
		w.give.nodes = []share.Node{n}
		w.open(w.give)
		w.engine.Advance(time.Second)
		got := w.ordered(w.order(id, "/latest"))
		if got.signed() || got.status != 503 && got.status != 404 || strings.Contains(got.body, "10.0.0.9") {
			t.Errorf("a node that %s: %v", name, got)
		}
	}
}

// TestBadNodeAmongOthers lets a gateway ask a bad node first, then an honest one:
// it serves what is granted, and not what was revoked.
func TestBadNodeAmongOthers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	terms := func(t *cityid.Terms) { t.Staleness = cityid.MaxStaleness }
	id := w.agree(terms)
	revoked := w.agree(func(t *cityid.Terms) { terms(t); t.Nonce = cityid.Nonce{9} })
	nodes := w.badNodes(id)
	w.submit([]cityid.Signer{w.give.officer}, cityid.Operation{AgreementRevoke: &cityid.AgreementDecision{Dataset: air, Agreement: revoked}})
	w.later()
	for name, n := range nodes {
		n.Node = w.engine
		w.give.stop()
		w.give.nodes = []share.Node{n, w.engine}
		w.open(w.give)
		w.engine.Advance(time.Second)
		if got := w.ordered(w.order(id, "/latest")); got.status != 200 {
			t.Errorf("first a node that %s: %v", name, got)
		}
		if got := w.ordered(w.order(revoked, "/latest")); got.status != 403 || !strings.Contains(got.body, "revoked") {
			t.Errorf("first a node that %s, and a revoked agreement: %v", name, got)
		}
		if n.asked.Load() == 0 {
			t.Errorf("the node that %s was not asked", name)
		}
		w.later()
	}
}

// TestAnchorBelievesNoNode lets a node say that a batch was anchored, or can not be,
// where that is not so: the gateway takes its word for neither, and asks another one.
func TestAnchorBelievesNoNode(t *testing.T) {
	t.Parallel()
	for name, submit := range map[string]func(context.Context, []byte) (*cityid.Receipt, error){
		"says that it is in a block": func(context.Context, []byte) (*cityid.Receipt, error) {
			return &cityid.Receipt{ID: cityid.Digest{1}, Height: 7, Time: 1, Provable: true}, nil
		},
		"says that it waits": func(context.Context, []byte) (*cityid.Receipt, error) {
			return &cityid.Receipt{ID: cityid.Digest{1}}, nil
		},
		"says that it is refused": func(context.Context, []byte) (*cityid.Receipt, error) {
			return &cityid.Receipt{ID: cityid.Digest{1}, Height: 7, Code: cityid.ErrNotPermitted, Message: "no"}, nil
		},
		"is broken": func(context.Context, []byte) (*cityid.Receipt, error) { return nil, errors.New("no") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.take.stop()
			w.take.nodes = []share.Node{&badNode{Node: w.engine, submit: submit}, w.engine}
			w.open(w.take)
			w.engine.Advance(time.Second)
			entry := w.fetched(w.agree(nil))
			err := errors.New("not tried")
			for range 3 {
				if err != nil {
					err = w.take.Anchor(t.Context())
				}
				p, look := w.engine.Anchors(t.Context(), cityid.AnchorQuery{Party: consumer, Log: "gw-1", Limit: 10})
				if look != nil {
					t.Fatal(look)
				}
				if n := w.take.Ledger().Stats().Anchored; n != uint64(len(p.Anchors)) {
					t.Fatalf("%d anchors are on the chain, %d are said to be; %v", len(p.Anchors), n, err)
				}
			}
			if err != nil {
				t.Fatal(err)
			}
			if err := w.engine.Settle(); err != nil {
				t.Fatal(err)
			}
			e, err := w.take.Evidence(t.Context(), entry)
			if err != nil {
				t.Fatal(err)
			}
			if r := share.CheckEvidence(e, w.trust(), w.engine.Now()); r.Verdict != verify.Valid {
				t.Errorf("%s: %s", r.Verdict, r.Message)
			}
		})
	}
}

// TestAskerGone asks for somebody who has gone already: that is an error, and no answer.
func TestAskerGone(t *testing.T) {
	w := newWorld(t)
	id := w.agree(nil)
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	for range 20 {
		if s, err := w.take.View().Standing(gone, id); err == nil || s != nil {
			t.Fatalf("%+v, %v", s, err)
		}
		if f, err := w.take.Fetch(gone, id, "/latest", ""); err == nil {
			f.Body.Close()
			t.Fatal("it is fetched")
		}
	}
	w.fetched(id)
}

// TestStrangersDoNotMakeWork names many agreements, of others and of nobody, in
// requests that no key of theirs signed: nodes are asked few times, and nothing is
// kept fresh for it.
func TestStrangersDoNotMakeWork(t *testing.T) {
	w := newWorld(t)
	id := w.agree(nil)
	n := &badNode{Node: w.engine}
	w.give.stop()
	w.give.nodes = []share.Node{n}
	w.open(w.give)
	w.engine.Advance(time.Second)
	if got := w.ordered(w.order(id, "/latest")); got.status != 200 {
		t.Fatal(got)
	}
	n.asked.Store(0)
	for i := range 500 {
		o := w.order(cityid.Digest{1, byte(i >> 8), byte(i)}, "/latest")
		o.key = gatewayKey(t, 5)
		if got := w.ordered(o); got.status < 400 || got.signed() {
			t.Fatal(got)
		}
	}
	if asked := n.asked.Load(); asked > 150 {
		t.Errorf("500 requests of a stranger led to %d questions", asked)
	}
	if got := w.ordered(w.order(id, "/latest")); got.status != 200 {
		t.Errorf("meanwhile a consumer gets %v", got)
	}
}

// TestClockPutBack puts a provider's clock back: what was known of the chain does
// not count for longer by that.
func TestClockPutBack(t *testing.T) {
	var back atomic.Int64
	w := newWorld(t, func(w *world) {
		w.give.clock = func() time.Time { return w.engine.Now().Add(-time.Duration(back.Load())) }
	})
	id := w.agree(nil)
	w.pass(10 * time.Hour)
	if got := w.ordered(w.order(id, "/latest")); got.status != 200 {
		t.Fatal(got)
	}
	back.Store(int64(5 * time.Hour))
	o := w.order(id, "/latest")
	o.created = w.engine.Now().Add(-5*time.Hour + time.Second)
	if got := w.ordered(o); got.status == 200 {
		t.Errorf("five hours before it was proven: %v", got)
	}
}
