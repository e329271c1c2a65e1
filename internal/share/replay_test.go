// SPDX-License-Identifier: Apache-2.0

package share_test

import (
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"cityid"
	"cityid/internal/httpsig"
	"cityid/internal/ledger"
)

// TestReplay sends a request once more: to the same gateway, at the same time many
// times, after restarts, after its folder was lost, and to another instance.
func TestReplay(t *testing.T) {
	w := newWorld(t)
	id := w.agree(nil)
	asked := w.counting()
	r := w.order(id, "/latest").sign(t, w.give.front.url)
	again := func(what string) {
		t.Helper()
		asked.Store(0)
		got := w.send(&http.Request{Method: r.Method, URL: r.URL, Host: r.Host, Header: r.Header.Clone()})
		if got.status != 401 && got.status != 403 || got.signed() || asked.Load() != 0 {
			t.Errorf("%s: %v, and the service behind was asked %d times", what, got, asked.Load())
		}
	}
	if got := w.send(r); got.status != 200 {
		t.Fatal(got)
	}
	again("at once")
	w.pass(20 * time.Second)
	again("later")

	many := w.order(id, "/latest")
	var good atomic.Int32
	var all sync.WaitGroup
	one := many.sign(t, w.give.front.url)
	for range 16 {
		all.Go(func() {
			got := w.send(&http.Request{Method: one.Method, URL: one.URL, Host: one.Host, Header: one.Header.Clone()})
			if got.status == 200 {
				good.Add(1)
			}
		})
	}
	all.Wait()
	if good.Load() != 1 {
		t.Errorf("of 16 copies sent at a time, %d were served", good.Load())
	}

	fresh := w.order(id, "/latest")
	r = fresh.sign(t, w.give.front.url)
	w.give.stop()
	w.open(w.give)
	again("signed before the start, and never sent")
	w.pass(time.Second)
	r = w.order(id, "/latest").sign(t, w.give.front.url)
	if got := w.send(r); got.status != 200 {
		t.Fatal(got)
	}
	w.give.stop()
	w.open(w.give)
	again("after a restart")

	w.pass(time.Second)
	r = w.order(id, "/latest").sign(t, w.give.front.url)
	if got := w.send(r); got.status != 200 {
		t.Fatal(got)
	}
	w.give.stop()
	if err := os.RemoveAll(w.give.cfg.Data); err != nil {
		t.Fatal(err)
	}
	w.give.cfg.Log = "gw-2"
	w.open(w.give)
	again("after its folder was lost")
	w.pass(5 * time.Second)
	again("a while after its folder was lost")

	w.pass(20 * time.Second)
	r = w.order(id, "/latest").sign(t, w.give.front.url)
	other := &city{code: w.give.code, key: w.give.key, cfg: w.give.cfg, front: new(front)}
	other.cfg.Data, other.cfg.Log, other.cfg.URL = t.TempDir(), "gw-3", "http://127.0.0.1:1"
	instance := w.instance(other)
	w.pass(12 * time.Second)
	r.URL.Host = strings.TrimPrefix(instance, "http://")
	again("to another instance")
}

// TestClocks moves the clocks of the two sides apart: a difference of ten seconds
// does no harm, a greater one serves nothing.
func TestClocks(t *testing.T) {
	var ahead atomic.Int64 // of the provider's clock, seconds
	w := newWorld(t, func(w *world) {
		w.give.clock = func() time.Time { return w.engine.Now().Add(time.Duration(ahead.Load()) * time.Second) }
	})
	id := w.agree(func(t *cityid.Terms) { t.Staleness, t.From = 3600, t.From-3600 })
	w.pass(time.Hour) // so that what the provider's clock shows is after it was opened
	for _, c := range []struct {
		ahead int64
		good  bool
	}{{-120, false}, {-60, false}, {-11, false}, {-10, true}, {0, true}, {10, true}, {11, false}, {59, false}, {60, false}, {120, false}, {121, false}} {
		ahead.Store(c.ahead)
		f, err := w.take.Fetch(t.Context(), id, "/latest", "")
		if (err == nil) != c.good {
			t.Errorf("the provider's clock is %d s ahead: %v", c.ahead, err)
		}
		if err == nil {
			f.Body.Close()
		}
		w.engine.Advance(time.Second)
	}
	ahead.Store(0)
	w.engine.Advance(200 * time.Second)
	for _, c := range []struct {
		created, lasts int64
		good           bool
	}{{0, 60, true}, {0, 1, true}, {-59, 60, true}, {-60, 60, false}, {-61, 60, false}, {10, 60, true}, {11, 60, false}, {-10, 10, false}} {
		o := w.order(id, "/latest")
		o.created, o.lasts = w.engine.Now().Add(time.Duration(c.created)*time.Second), time.Duration(c.lasts)*time.Second
		if got := w.ordered(o); (got.status == 200) != c.good {
			t.Errorf("created %d s from now for %d s: %v", c.created, c.lasts, got)
		}
	}
}

// TestLastsTooLong signs a request for longer than may be.
func TestLastsTooLong(t *testing.T) {
	w := newWorld(t)
	id := w.agree(nil)
	long, err := httpsig.New(httpsig.Rules{
		Label: "sig1", Tag: "cityid-fetch", Once: true, MaxAge: time.Hour,
		Components: []string{"@method", "@authority", "@path", "@query", "content-digest", "data-agreement"},
	})
	if err != nil {
		t.Fatal(err)
	}
	o := w.order(id, "/latest")
	r := o.sign(t, w.give.front.url)
	m := &httpsig.Message{Method: o.method, Scheme: "http", Host: o.authority, Target: o.target, Header: r.Header}
	_, err = long.Sign(m, httpsig.Params{Created: o.created, Expires: o.created.Add(61 * time.Second), KeyID: o.key.Public().String()}, o.key)
	if err != nil {
		t.Fatal(err)
	}
	if got := w.send(r); got.status != 401 || got.signed() {
		t.Error(got)
	}
}

// TestAnswerTimes has a provider name times of its own in answers.
func TestAnswerTimes(t *testing.T) {
	w := newWorld(t)
	id := w.agree(nil)
	w.engine.Advance(10 * time.Minute)
	w.pass(0)
	l := &liar{t: t, key: w.give.key, now: w.engine.Now}
	w.give.front.put(l)
	for _, c := range []struct {
		receipt int64
		good    bool
	}{{0, true}, {120, true}, {-120, true}, {121, false}, {-121, false}, {-86400, false}} {
		l.receipt = func(r *ledger.Receipt) {
			r.Time = cityid.TimeOf(w.engine.Now()).Add(time.Duration(c.receipt) * time.Second)
		}
		f, err := w.take.Fetch(t.Context(), id, "/latest", "")
		if (err == nil) != c.good {
			t.Errorf("a receipt of %d s from now: %v", c.receipt, err)
		}
		if err == nil {
			f.Body.Close()
		}
	}
	l.receipt = nil
	for _, c := range []struct {
		signed int64
		good   bool
	}{{-70, true}, {-71, false}, {10, true}, {11, false}} {
		l.now = func() time.Time { return w.engine.Now().Add(time.Duration(c.signed) * time.Second) }
		l.verify = w.engine.Now
		f, err := w.take.Fetch(t.Context(), id, "/latest", "")
		if (err == nil) != c.good {
			t.Errorf("an answer signed %d s from now: %v", c.signed, err)
		}
		if err == nil {
			f.Body.Close()
		}
	}
}
