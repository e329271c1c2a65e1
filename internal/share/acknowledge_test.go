// SPDX-License-Identifier: Apache-2.0

package share_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"cityid"
	"cityid/internal/httpsig"
	"cityid/internal/ledger"
	"cityid/keys"
)

// message returns the message that an order is signed as.
func (o *order) message(header http.Header) *httpsig.Message {
	return &httpsig.Message{Method: o.method, Scheme: "http", Host: o.authority, Target: o.target, Header: header}
}

// served sends an order, which has to bring data, and returns the hash of its entry.
// Nothing acknowledges it.
func (w *world) served(o *order) cityid.Digest {
	w.t.Helper()
	r := o.sign(w.t, w.give.front.url)
	header := r.Header.Clone()
	got := w.send(r)
	if got.status != 200 || !got.signed() {
		w.t.Fatalf("not served: %v", got)
	}
	return w.entryOf(o, header, got)
}

// entryOf returns the hash of the entry of a signed answer, as a consumer computes it.
func (w *world) entryOf(o *order, request http.Header, got said) cityid.Digest {
	w.t.Helper()
	answer := httpsig.ResponseToSend(got.status, got.header, o.message(request))
	s, err := httpsig.ResponseProfile().Verify(answer, w.engine.Now(), func(id string) (httpsig.Key, error) { return keys.ParsePublicText(id) })
	if err != nil {
		w.t.Fatal(err)
	}
	receipt := decode64(w.t, strings.Trim(got.header.Get("Data-Receipt"), ":"))
	entry, err := ledger.EncodeEntry(receipt, ledger.Message{Base: []byte(s.Base), Signature: s.Signature})
	if err != nil {
		w.t.Fatal(err)
	}
	return ledger.EntryHash(entry)
}

// acknowledgement returns the order that acknowledges entries.
func (w *world) acknowledgement(id cityid.Digest, entries ...cityid.Digest) *order {
	w.t.Helper()
	a := ledger.NewAcknowledgement(id, entries, cityid.TimeOf(w.engine.Now()))
	o := w.order(id, "")
	var err error
	if o.body, err = a.Encode(); err != nil {
		w.t.Fatal(err)
	}
	o.method, o.target, o.tag = http.MethodPost, "/acknowledgements", "cityid-acknowledgement"
	return o
}

// without answers in the gateway's place what begins with a path, as if it were ill,
// until the function it returns is called.
func (f *front) without(path string) (restore func()) {
	h := *f.handler.Load()
	f.put(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, path) {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		h.ServeHTTP(w, r)
	}))
	return func() { f.put(h) }
}

// TestNeverAcknowledges takes answers and never says so: after so many nothing more is
// served, also after a restart, and under this agreement alone. Each answer that is
// acknowledged makes room for one more.
func TestNeverAcknowledges(t *testing.T) {
	w := newWorld(t, func(w *world) { w.give.cfg.Unacknowledged = 3 })
	long := func(t *cityid.Terms) { t.Until = t.From + 10*86400 }
	id, other := w.agree(long), w.agree(func(t *cityid.Terms) { long(t); t.Nonce = cityid.Nonce{2} })
	asked := w.counting()
	var entries []cityid.Digest
	for range 3 {
		entries = append(entries, w.served(w.order(id, "/latest")))
	}
	stopped := func(when string) {
		t.Helper()
		before := asked.Load()
		got := w.ordered(w.order(id, "/latest"))
		if got.status != exhausted || !got.signed() || !strings.Contains(got.body, "acknowledged") || asked.Load() != before {
			t.Errorf("%s: %v, and the service behind was asked %d times", when, got, asked.Load()-before)
		}
	}
	stopped("after three")
	elsewhere := w.served(w.order(other, "/latest"))
	for range 2 {
		w.give.stop()
		w.open(w.give)
		w.engine.Advance(time.Second)
		stopped("after a restart")
	}
	w.pass(25 * time.Hour)
	stopped("on the next day")
	w.served(w.order(other, "/latest"))
	for name, o := range map[string]*order{
		"an entry of another agreement":                w.acknowledgement(id, elsewhere),
		"one of them, and one of another agreement":    w.acknowledgement(id, entries[0], elsewhere),
		"one of them, and one that there is not":       w.acknowledgement(id, entries[0], cityid.Digest{7}),
		"one of them, under another agreement's terms": w.acknowledgement(other, entries[0]),
	} {
		if got := w.ordered(o); got.status != http.StatusNotFound {
			t.Errorf("%s: %v", name, got)
		}
	}
	stopped("after acknowledgements of other answers")
	good := w.acknowledgement(id, entries[0])
	for name, change := range map[string]func(*order){
		"by another key":            func(o *order) { o.key = gatewayKey(t, 4) },
		"by the provider's key":     func(o *order) { o.key = w.give.key },
		"as a fetch":                func(o *order) { o.tag = "cityid-fetch" },
		"for another agreement":     func(o *order) { o.agreement = `"` + other.String() + `"` },
		"with something behind it":  func(o *order) { o.body = append(o.body[:len(o.body):len(o.body)], 0) },
		"with nothing in it":        func(o *order) { o.body = nil },
		"to another host":           func(o *order) { o.authority = "127.0.0.1:1" },
		"of more than may be":       func(o *order) { o.body = make([]byte, 20<<10) },
		"by a method that is none":  func(o *order) { o.method = http.MethodPut },
		"signed before it was made": func(o *order) { o.created = o.created.Add(-2 * time.Minute) },
	} {
		o := *good
		change(&o)
		if got := w.ordered(&o); got.status < 400 || got.status >= 500 {
			t.Errorf("%s: %v", name, got)
		}
	}
	stopped("after acknowledgements that are none")
	r := good.sign(t, w.give.front.url)
	again := &http.Request{Method: r.Method, URL: r.URL, Host: r.Host, Header: r.Header.Clone(), Body: http.NoBody}
	if got := w.send(r); got.status != http.StatusNoContent {
		t.Fatal(got)
	}
	w.served(w.order(id, "/latest"))
	stopped("after one was acknowledged, and one more was served")
	if got := w.ordered(w.acknowledgement(id, entries[0])); got.status != http.StatusNoContent {
		t.Errorf("the same once more: %v", got)
	}
	again.Body, again.ContentLength = http.NoBody, 0
	if got := w.send(again); got.status < 400 {
		t.Errorf("the same message without its body: %v", got)
	}
	stopped("after the same once more")
}

// TestAtOnce sends many requests at the same time where few more may be served.
func TestAtOnce(t *testing.T) {
	w := newWorld(t, func(w *world) { w.give.cfg.Unacknowledged = 5 })
	var served atomic.Int32
	many := func(id cityid.Digest) int32 {
		served.Store(0)
		var all sync.WaitGroup
		for range 20 {
			r := w.order(id, "/latest").sign(t, w.give.front.url)
			all.Go(func() {
				switch got := w.send(r); {
				case got.status == 200:
					served.Add(1)
				case got.status != exhausted:
					t.Error(got)
				}
			})
		}
		all.Wait()
		return served.Load()
	}
	if n := many(w.agree(nil)); n != 5 {
		t.Errorf("%d answers were served, 5 may wait for their acknowledgement", n)
	}
	if n := many(w.agree(func(t *cityid.Terms) { t.Requests, t.Nonce = 3, cityid.Nonce{2} })); n != 3 {
		t.Errorf("%d answers were served, the quota is 3", n)
	}
	// Room for two answers of 26 octets, and not for a third.
	if n := many(w.agree(func(t *cityid.Terms) { t.Octets, t.Nonce = 2*uint64(len(latestBody))+5, cityid.Nonce{3} })); n < 1 || n > 2 {
		t.Errorf("%d answers were served, the quota of octets has room for two", n)
	}
}

// exhausted is the status of a refusal because of a limit.
const exhausted = http.StatusUnprocessableEntity

// latestBody is what the service of the tests answers for /latest.
const latestBody = `{"path":"/air/latest","query":""}`

// TestQuota uses up requests and octets of a day. The next day begins at midnight UTC,
// whatever the consumer's clock says, and what is used is known after a restart. Of
// several gateways of a city each gives its part.
func TestQuota(t *testing.T) {
	w := newWorld(t)
	left := func(id cityid.Digest, n int, what, when string) {
		t.Helper()
		for i := range n {
			if got := w.ordered(w.order(id, "/latest")); got.status != 200 {
				t.Errorf("%s, request %d: %v", when, i, got)
			}
		}
		if got := w.ordered(w.order(id, "/latest")); got.status != exhausted || !got.signed() || !strings.Contains(got.body, what) {
			t.Errorf("%s, after %d: %v", when, n, got)
		}
	}
	terms := func(n byte, requests, octets uint64) cityid.Digest {
		return w.agree(func(t *cityid.Terms) {
			t.Requests, t.Octets, t.Nonce, t.Until = requests, octets, cityid.Nonce{n}, t.From+10*86400
		})
	}
	size := uint64(len(latestBody))
	both, octets := terms(1, 4, 3*size), terms(2, 0, 2*size+1)
	left(both, 3, "octets", "both limits")
	left(octets, 2, "octets", "octets")
	requests := terms(3, 2, 100*size)
	left(requests, 2, "requests a day", "requests")
	w.give.stop()
	w.open(w.give)
	w.engine.Advance(time.Second)
	left(requests, 0, "requests a day", "after a restart")
	left(octets, 0, "octets", "after a restart")

	// A refusal costs nothing of the quota but leaves an entry.
	fresh := terms(4, 2, 0)
	if got := w.ordered(w.order(fresh, "/secret")); got.status != 403 {
		t.Error(got)
	}
	left(fresh, 2, "requests a day", "after a refusal")

	midnight := w.engine.Now().Truncate(24 * time.Hour).Add(24 * time.Hour)
	w.pass(midnight.Sub(w.engine.Now()) - 2*time.Second)
	left(requests, 0, "requests a day", "just before midnight")
	w.pass(2 * time.Second)
	left(requests, 2, "requests a day", "from midnight on")
	left(octets, 2, "octets", "from midnight on")

	w.give.stop()
	w.give.cfg.Instances = 2
	w.open(w.give)
	w.engine.Advance(time.Second)
	shared := terms(5, 5, 0)
	left(shared, 2, "requests a day", "one of two gateways")
	one := w.give.front.url
	other := &city{code: w.give.code, key: w.give.key, officer: w.give.officer, cfg: w.give.cfg, front: new(front)}
	other.cfg.Data, other.cfg.Log = t.TempDir(), "gw-2"
	w.give = other
	w.openInstance(other)
	w.engine.Advance(12 * time.Second)
	left(shared, 2, "requests a day", "the other of them")
	tiny := terms(6, 1, 0)
	if got := w.ordered(w.order(tiny, "/latest")); got.status != exhausted || !strings.Contains(got.body, "can not be shared") {
		t.Errorf("a quota of one for two gateways at %s and %s: %v", one, other.front.url, got)
	}
}

// openInstance opens another gateway of a city, whose signatures name its own address.
func (w *world) openInstance(c *city) {
	w.t.Helper()
	listen := w.take.serve(http.NotFoundHandler()) // for a free address
	address := listen.URL
	listen.Close()
	c.cfg.URL = address
	url := w.instance(c)
	if url == address {
		return
	}
	// The address that it listens at is another one: its configuration follows.
	c.stop()
	c.cfg.URL = url
	w.open(c)
}

// TestAcknowledgementsByInstance has answers of two gateways of a provider wait while
// the consumer restarts: each is acknowledged where it came from.
func TestAcknowledgementsByInstance(t *testing.T) {
	w := newWorld(t)
	id := w.agree(nil)
	other := &city{code: w.give.code, key: w.give.key, cfg: w.give.cfg, front: new(front)}
	other.cfg.Data, other.cfg.Log = t.TempDir(), "gw-2"
	w.openInstance(other)
	w.engine.Advance(12 * time.Second)
	w.relink(w.give.front.url, other.front.url)
	fetch := func() {
		t.Helper()
		f, err := w.take.Fetch(t.Context(), id, "/latest", "")
		if err != nil {
			t.Fatal(err)
		}
		f.Body.Close()
	}
	first, second := w.give.front.without("/acknowledgements"), other.front.without("/acknowledgements")
	for range 3 {
		fetch()
	}
	down := w.give.front.without("/")
	for range 3 {
		fetch()
	}
	down()
	w.take.stop()
	if n, m := w.give.Ledger().Stats().Unacknowledged, other.Ledger().Stats().Unacknowledged; n != 3 || m != 3 {
		t.Fatalf("%d and %d answers wait", n, m)
	}
	first()
	second()
	var posts atomic.Int32
	for _, c := range []*city{w.give, other} {
		h := *c.front.handler.Load()
		c.front.put(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) { posts.Add(1); h.ServeHTTP(rw, r) }))
	}
	w.open(w.take)
	w.await("the acknowledgements", func() bool {
		return w.give.Ledger().Stats().Unacknowledged+other.Ledger().Stats().Unacknowledged+w.take.Ledger().Stats().Unacknowledged == 0
	})
	if posts.Load() != 2 {
		t.Errorf("it took %d messages to two gateways", posts.Load())
	}
}

// TestHangingGateway lets one of a provider's gateways take acknowledgements and never
// answer: those that others wait for are not held up.
func TestHangingGateway(t *testing.T) {
	w := newWorld(t)
	id := w.agree(nil)
	other := &city{code: w.give.code, key: w.give.key, cfg: w.give.cfg, front: new(front)}
	other.cfg.Data, other.cfg.Log = t.TempDir(), "gw-2"
	w.openInstance(other)
	w.engine.Advance(12 * time.Second)
	w.relink(w.give.front.url, other.front.url)
	var hung, ended atomic.Int32
	answers := *other.front.handler.Load()
	other.front.put(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			io.Copy(io.Discard, r.Body)
			hung.Add(1)
			<-r.Context().Done()
			ended.Add(1)
			return
		}
		answers.ServeHTTP(rw, r)
	}))
	fetch := func() {
		t.Helper()
		f, err := w.take.Fetch(t.Context(), id, "/latest", "")
		if err != nil {
			t.Fatal(err)
		}
		f.Body.Close()
	}
	restore := w.give.front.without("/")
	fetch()
	w.await("the acknowledgement that hangs", func() bool { return hung.Load() == 1 })
	restore()
	for range 3 {
		fetch()
		w.await("the acknowledgement at the other", func() bool { return w.give.Ledger().Stats().Unacknowledged == 0 })
	}
	if ended.Load() != 0 {
		t.Error("it was waited for")
	}
	other.front.server.CloseClientConnections()
}

// TestRefusalsFillNoLog asks again and again, under a good signature, for what is not
// allowed: after so many refusals none is signed and written down any more.
func TestRefusalsFillNoLog(t *testing.T) {
	w := newWorld(t)
	id, other := w.agree(nil), w.agree(func(t *cityid.Terms) { t.Nonce = cityid.Nonce{2} })
	signed := 0
	for range 130 {
		got := w.ordered(w.order(id, "/secret"))
		if got.status != http.StatusForbidden {
			t.Fatal(got)
		}
		if got.signed() {
			signed++
		}
	}
	if n := w.give.Ledger().Stats().Refused; signed != 100 || n != 100 {
		t.Errorf("%d refusals are signed, %d written down", signed, n)
	}
	w.pass(25 * time.Second)
	for i, want := range []bool{true, true, false} {
		if got := w.ordered(w.order(id, "/secret")); got.signed() != want {
			t.Errorf("25 s later, refusal %d: %v", i, got)
		}
	}
	if got := w.ordered(w.order(id, "/latest")); got.status != 200 || !got.signed() {
		t.Errorf("what is allowed: %v", got)
	}
	if got := w.ordered(w.order(other, "/secret")); !got.signed() {
		t.Errorf("under another agreement: %v", got)
	}
}

// TestGrantedJustNow asks under an agreement of which both gateways know that it was
// requested, because a purpose was sent: once it is granted data flow at once.
func TestGrantedJustNow(t *testing.T) {
	w := newWorld(t)
	now := cityid.TimeOf(w.engine.Now())
	_, content, _ := w.revision(air)
	terms := cityid.Terms{
		Dataset: air, Consumer: consumer, Document: content.Dataset.Document, From: now, Until: now + 86400, Staleness: cityid.MaxStaleness,
		Purpose: cityid.Digest{1}, Respond: now + 3600, Nonce: cityid.Nonce{1},
	}
	id := terms.ID()
	w.submit([]cityid.Signer{w.take.officer}, cityid.Operation{AgreementRequest: &cityid.AgreementRequest{Terms: terms}})
	if err := w.take.SendPurpose(t.Context(), id, []byte("age-encryption.org/v1\nsealed")); err != nil {
		t.Fatal(err)
	}
	if f, err := w.take.Fetch(t.Context(), id, "/latest", ""); err == nil {
		f.Body.Close()
		t.Fatal("it is not granted")
	}
	w.submit([]cityid.Signer{w.give.officer}, cityid.Operation{AgreementGrant: &cityid.AgreementDecision{Dataset: air, Agreement: id}})
	w.engine.Advance(time.Second)
	f, err := w.take.Fetch(t.Context(), id, "/latest", "")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Body.Close()
	if f.Status != 200 {
		t.Errorf("status %d", f.Status)
	}
}

// TestAskingInVain asks again and again under an agreement that is not granted: nodes
// are asked now and then.
func TestAskingInVain(t *testing.T) {
	w := newWorld(t)
	now := cityid.TimeOf(w.engine.Now())
	_, content, _ := w.revision(air)
	terms := cityid.Terms{
		Dataset: air, Consumer: consumer, Document: content.Dataset.Document, From: now, Until: now + 86400, Staleness: cityid.MaxStaleness,
		Purpose: cityid.Digest{1}, Respond: now + 3600, Nonce: cityid.Nonce{1},
	}
	w.submit([]cityid.Signer{w.take.officer}, cityid.Operation{AgreementRequest: &cityid.AgreementRequest{Terms: terms}})
	n := &badNode{Node: w.engine}
	w.give.stop()
	w.give.nodes = append(w.give.nodes, n)
	w.open(w.give)
	w.engine.Advance(time.Second)
	n.asked.Store(0)
	for range 50 {
		if got := w.ordered(w.order(terms.ID(), "/latest")); got.status != 403 || !strings.Contains(got.body, "requested") {
			t.Fatal(got)
		}
	}
	if asked := n.asked.Load(); asked > 6 {
		t.Errorf("50 requests at one moment led to %d questions", asked)
	}
	w.submit([]cityid.Signer{w.give.officer}, cityid.Operation{AgreementGrant: &cityid.AgreementDecision{Dataset: air, Agreement: terms.ID()}})
	w.engine.Advance(time.Second)
	if got := w.ordered(w.order(terms.ID(), "/latest")); got.status != 200 {
		t.Error(fmt.Sprint("once it is granted: ", got))
	}
}
