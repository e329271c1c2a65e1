// SPDX-License-Identifier: Apache-2.0

package share_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"cityid"
	"cityid/internal/chain/chaintest"
	"cityid/internal/httpsig"
	"cityid/internal/ledger"
	"cityid/internal/share"
	"cityid/keys"
	"cityid/verify"
)

// TestLiar has a provider sign, with its own key, what is not so, or sign what is so
// with another key: the application gets a clear error and nothing of the data, and
// nothing is written down as if it had been an answer.
func TestLiar(t *testing.T) {
	w := newWorld(t)
	id, other := w.agree(nil), w.agree(func(t *cityid.Terms) { t.Nonce = cityid.Nonce{2} })
	l := &liar{t: t, now: w.engine.Now}
	w.give.front.put(l)
	signature := "sig1=:" + base64.StdEncoding.EncodeToString(make([]byte, 64)) + ":"
	receipt := func(f func(*ledger.Receipt)) func() { return func() { l.receipt = f } }
	request := func(f func(*httpsig.Message)) func() { return func() { l.request = f } }
	header := func(f func(http.Header)) func() { return func() { l.header = f } }
	encoded := func(f func([]byte) string) func() {
		return header(func(h http.Header) {
			h.Set("Data-Receipt", f(decode64(t, strings.Trim(h.Get("Data-Receipt"), ":"))))
		})
	}
	for name, lie := range map[string]func(){
		"a stranger's key":      func() { l.key = gatewayKey(t, 7) },
		"the consumer's key":    func() { l.key = w.take.key },
		"the provider's office": func() { l.key = officer(t, 10) },

		"for another path":       request(func(m *httpsig.Message) { m.Target = strings.Replace(m.Target, "/latest", "/stations/1", 1) }),
		"for another query":      request(func(m *httpsig.Message) { m.Target += "?limit=1" }),
		"for another method":     request(func(m *httpsig.Message) { m.Method = http.MethodPost }),
		"for another host":       request(func(m *httpsig.Message) { m.Host = "127.0.0.1:1" }),
		"for another signature":  request(func(m *httpsig.Message) { m.Header.Set("Signature", signature) }),
		"for another agreement":  request(func(m *httpsig.Message) { m.Header.Set("Data-Agreement", `"`+other.String()+`"`) }),
		"receipt: other request": receipt(func(r *ledger.Receipt) { r.Request = cityid.Digest{1} }),
		"receipt: no request":    receipt(func(r *ledger.Receipt) { r.Request = cityid.Digest{} }),

		"receipt: other agreement":    receipt(func(r *ledger.Receipt) { r.Agreement = other }),
		"receipt: no agreement":       receipt(func(r *ledger.Receipt) { r.Agreement = cityid.Digest{} }),
		"receipt: other dataset":      receipt(func(r *ledger.Receipt) { r.Dataset = cityid.MustParse("MA.156.1301/30.000001/WATER") }),
		"receipt: other provider":     receipt(func(r *ledger.Receipt) { r.Provider = consumer }),
		"receipt: provider's dataset": receipt(func(r *ledger.Receipt) { r.Provider = air }),
		"receipt: no log":             receipt(func(r *ledger.Receipt) { r.Log = "" }),
		"receipt: odd log":            receipt(func(r *ledger.Receipt) { r.Log = "GW 1" }),
		"receipt: number 0":           receipt(func(r *ledger.Receipt) { r.Number = 0 }),
		"receipt: number beyond all":  receipt(func(r *ledger.Receipt) { r.Number = 1<<64 - 1 }),
		"receipt: version 2":          receipt(func(r *ledger.Receipt) { r.Version = 2 }),
		"receipt: height 0":           receipt(func(r *ledger.Receipt) { r.Height = 0 }),
		"receipt: no time":            receipt(func(r *ledger.Receipt) { r.Time = 0 }),
		"receipt: refusal, with data": func() { l.receipt, l.status = func(r *ledger.Receipt) { r.Status = 403 }, 200 },
		"receipt: data, as a refusal": func() { l.status = 403 },
		"receipt: other good status":  func() { l.status = 201 },
		"receipt: elsewhere":          receipt(func(r *ledger.Receipt) { r.Status = 302 }),
		"receipt: not modified":       receipt(func(r *ledger.Receipt) { r.Status = 304 }),
		"receipt: status of no kind":  func() { l.receipt, l.status = func(r *ledger.Receipt) { r.Status = 700 }, 200 },
		"receipt: larger":             receipt(func(r *ledger.Receipt) { r.Size++ }),
		"receipt: smaller":            receipt(func(r *ledger.Receipt) { r.Size-- }),
		"receipt: nothing":            receipt(func(r *ledger.Receipt) { r.Size = 0 }),
		"receipt: beyond all":         receipt(func(r *ledger.Receipt) { r.Size = 1<<64 - 1 }),
		"receipt: other content":      receipt(func(r *ledger.Receipt) { r.Content = cityid.Digest{1} }),
		"digest of another body":      header(func(h http.Header) { h.Set("Content-Digest", httpsig.Digest([]byte("other"))) }),
		"digest of the body sent": func() {
			l.body = []byte("other")
			l.header = func(h http.Header) { h.Set("Content-Digest", httpsig.Digest(l.body)) }
		},
		"another body":                func() { l.body = bytes.ToUpper(promised) },
		"receipt with more behind it": encoded(func(b []byte) string { return ":" + base64.StdEncoding.EncodeToString(append(b, 0)) + ":" }),
		"receipt cut off":             encoded(func(b []byte) string { return ":" + base64.StdEncoding.EncodeToString(b[:len(b)-1]) + ":" }),
		"receipt of nothing":          encoded(func(b []byte) string { return "::" }),
		"receipt that is no octets":   encoded(func(b []byte) string { return `"x"` }),
		"receipt that is too long":    encoded(func(b []byte) string { return ":" + base64.StdEncoding.EncodeToString(make([]byte, 4000)) + ":" }),
		"receipt that is no canonical": encoded(func(b []byte) string {
			return ":" + base64.StdEncoding.EncodeToString(append([]byte{0xbf}, b[1:]...)) + ":"
		}),
	} {
		*l = liar{t: t, now: w.engine.Now, key: w.give.key}
		lie()
		before := w.take.entries()
		status, body, h := w.get(w.take.local.URL + "/fetch/" + id.String() + "/latest")
		if status != http.StatusBadGateway && status != http.StatusRequestEntityTooLarge || !strings.Contains(body, "signed to be") && status != http.StatusRequestEntityTooLarge ||
			strings.Contains(body, "41") && strings.Contains(body, "value") || h.Get("Cityid-Entry") != "" {
			t.Errorf("%s: %d %s", name, status, body)
		}
		if w.take.entries() != before {
			t.Errorf("%s: it is written down", name)
		}
	}
	*l = liar{t: t, now: w.engine.Now, key: w.give.key}
	if status, body, _ := w.get(w.take.local.URL + "/fetch/" + id.String() + "/latest"); status != 200 || body != string(promised) {
		t.Errorf("the truth: %d %s", status, body)
	}
}

// TestLiarIsQuoted has a provider sign a receipt for another agreement: the consumer's
// log has what it signed, in a form that shows it to anybody.
func TestLiarIsQuoted(t *testing.T) {
	var log bytes.Buffer
	w := newWorld(t, func(w *world) { w.take.log = slog.New(slog.NewJSONHandler(&log, nil)) })
	id := w.agree(nil)
	w.give.front.put(&liar{t: t, key: w.give.key, now: w.engine.Now, receipt: func(r *ledger.Receipt) { r.Agreement = cityid.Digest{5} }})
	if f, err := w.take.Fetch(t.Context(), id, "/latest", ""); err == nil {
		f.Body.Close()
		t.Fatal("it is taken")
	}
	w.take.stop()
	for line := range strings.Lines(log.String()) {
		var said struct{ Base, Signature string }
		if err := json.Unmarshal([]byte(line), &said); err != nil || said.Base == "" {
			continue
		}
		s, err := httpsig.ResponseProfile().VerifyBase(said.Base, decode64(t, said.Signature), func(id string) (httpsig.Key, error) { return keys.ParsePublicText(id) })
		if err != nil || s.KeyID != public(w.give.key).String() {
			t.Fatal(err)
		}
		r, err := ledger.DecodeReceipt(decode64(t, strings.Trim(s.Value("data-receipt"), ":")))
		if err != nil || r.Agreement != (cityid.Digest{5}) {
			t.Fatalf("%+v, %v", r, err)
		}
		return
	}
	t.Errorf("not in the log: %s", log.String())
}

// officer returns the key of one of chaintest's signers.
func officer(t testing.TB, n int) *keys.Private {
	t.Helper()
	return signerKey{chaintest.Key(n)}.private(t, n)
}

// TestAnswerOnceMore has a provider give the answer it gave before to each further
// request, whole and signed as it was.
func TestAnswerOnceMore(t *testing.T) {
	w := newWorld(t)
	id := w.agree(nil)
	behind := w.give.front.behind
	var first atomic.Pointer[said]
	w.give.front.put(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		b := &between{to: behind}
		if old := first.Load(); old != nil && r.Method == http.MethodGet {
			for name, values := range old.header {
				rw.Header()[name] = values
			}
			rw.WriteHeader(old.status)
			io.WriteString(rw, old.body)
			return
		}
		if r.Method == http.MethodGet {
			b.response = func(resp *http.Response) {
				alterBody(resp, func(body []byte) []byte {
					first.Store(&said{resp.StatusCode, resp.Header.Clone(), string(body)})
					return body
				})
			}
		}
		b.ServeHTTP(rw, r)
	}))
	w.fetched(id)
	before := w.take.entries()
	for range 3 {
		status, body, _ := w.get(w.take.local.URL + "/fetch/" + id.String() + "/latest")
		if status != http.StatusBadGateway || !strings.Contains(body, "signed to be") {
			t.Errorf("%d %s", status, body)
		}
	}
	if w.take.entries() != before {
		t.Error("it is written down again")
	}
}

// TestNumberTwice has a provider give one number to two answers. Each is good by
// itself, so both are taken, and the evidence of both together shows what the provider
// did.
func TestNumberTwice(t *testing.T) {
	w := newWorld(t)
	id := w.agree(nil)
	l := &liar{t: t, key: w.give.key, now: w.engine.Now, receipt: func(r *ledger.Receipt) { r.Number = 5 }}
	w.give.front.put(l)
	var facts []share.Facts
	var files []*share.Evidence
	for i := range 3 {
		if i == 2 {
			l.receipt = func(r *ledger.Receipt) { r.Number = 6 }
		}
		f, err := w.take.Fetch(t.Context(), id, "/latest", "")
		if err != nil {
			t.Fatal(err)
		}
		f.Body.Close()
		if err := w.take.Anchor(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := w.engine.Settle(); err != nil {
			t.Fatal(err)
		}
		e, err := w.take.Evidence(t.Context(), f.Entry.Hash)
		if err != nil {
			t.Fatal(err)
		}
		r := share.CheckEvidence(e, w.trust(), w.engine.Now())
		if r.Verdict != verify.Valid {
			t.Fatal(r.Message)
		}
		facts, files = append(facts, r.Facts), append(files, e)
	}
	if _, _, outcome, err := share.Compare(files[0], files[1], w.trust(), w.engine.Now()); outcome != share.Repeated || err != nil {
		t.Errorf("compared: %s, %v", outcome, err)
	}
	if _, _, outcome, err := share.Compare(files[0], files[2], w.trust(), w.engine.Now()); outcome != "" || err == nil {
		t.Errorf("different numbers: %s, %v", outcome, err)
	}
	files[1].Sides = nil
	if _, _, outcome, err := share.Compare(files[0], files[1], w.trust(), w.engine.Now()); outcome != "" || err == nil {
		t.Errorf("one of them not anchored: %s, %v", outcome, err)
	}
	if facts[0].Number != 5 || facts[1].Number != 5 || facts[0].Log != facts[1].Log || facts[0].RequestID == facts[1].RequestID {
		t.Errorf("%+v", facts)
	}
}

// TestForeignAcknowledgement puts acknowledgements of something else, or of somebody
// else, into evidence: it never counts as acknowledged.
func TestForeignAcknowledgement(t *testing.T) {
	w := newWorld(t)
	id, other := w.agree(nil), w.agree(func(t *cityid.Terms) { t.Nonce = cityid.Nonce{2} })
	w.take.stop() // it would acknowledge
	entry, second := w.served(w.order(id, "/latest")), w.served(w.order(id, "/latest"))
	elsewhere := w.served(w.order(other, "/latest"))
	if err := w.give.Anchor(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := w.engine.Settle(); err != nil {
		t.Fatal(err)
	}
	e, err := w.give.Evidence(t.Context(), entry)
	if err != nil {
		t.Fatal(err)
	}
	// signed returns an acknowledgement as a key signs it.
	signed := func(o *order) *share.SignedAcknowledgement {
		r := o.sign(t, w.give.front.url)
		s, err := httpsig.RequestProfile(o.tag).Verify(o.message(r.Header), w.engine.Now(), func(id string) (httpsig.Key, error) { return keys.ParsePublicText(id) })
		if err != nil {
			t.Fatal(err)
		}
		return &share.SignedAcknowledgement{Body: o.body, Message: ledger.Message{Base: cityid.Bytes(s.Base), Signature: s.Signature}}
	}
	by := func(k *keys.Private, o *order) *order { o.key = k; return o }
	as := func(tag string, o *order) *order { o.tag = tag; return o }
	under := func(id cityid.Digest, o *order) *order { o.agreement = `"` + id.String() + `"`; return o }
	right := signed(w.acknowledgement(id, second, entry))
	with := func(body []byte) *share.SignedAcknowledgement {
		return &share.SignedAcknowledgement{Body: body, Message: right.Message}
	}
	for name, a := range map[string]*share.SignedAcknowledgement{
		"none":                           nil,
		"of another answer":              signed(w.acknowledgement(id, second)),
		"of one under another agreement": signed(w.acknowledgement(other, elsewhere)),
		"of it, under another agreement": signed(w.acknowledgement(other, entry)),
		"two agreements in one":          signed(under(other, w.acknowledgement(id, entry))),
		"by the provider":                signed(by(w.give.key, w.acknowledgement(id, entry))),
		"by a stranger":                  signed(by(gatewayKey(t, 3), w.acknowledgement(id, entry))),
		"signed as a fetch":              signed(as("cityid-fetch", w.acknowledgement(id, entry))),
		"signed as a question":           signed(as("cityid-proof", w.acknowledgement(id, entry))),
		"with the request's signature":   {Body: right.Body, Message: e.Request},
		"with the answer's signature":    {Body: right.Body, Message: e.Response},
		"with another body":              with(signed(w.acknowledgement(id, entry)).Body),
		"with no body":                   with(nil),
		"with more behind its body":      with(append(bytes.Clone(right.Body), 0)),
	} {
		e.Acknowledgement = a
		if r := share.CheckEvidence(e, w.trust(), w.engine.Now()); r.Verdict == verify.Valid && r.Facts.Outcome != share.Unacknowledged || r.Facts.Outcome == share.Acknowledged {
			t.Errorf("%s: %s %s: %s", name, r.Verdict, r.Facts.Outcome, r.Message)
		}
	}
	e.Acknowledgement = right
	if r := share.CheckEvidence(e, w.trust(), w.engine.Now()); r.Verdict != verify.Valid || r.Facts.Outcome != share.Acknowledged {
		t.Errorf("the right one: %s %s: %s", r.Verdict, r.Facts.Outcome, r.Message)
	}
}
