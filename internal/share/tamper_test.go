// SPDX-License-Identifier: Apache-2.0

package share_test

import (
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"cityid"
)

// requestFields and answerFields are all that a signature covers or is made of.
var (
	requestFields = []string{"Signature", "Signature-Input", "Content-Digest", "Data-Agreement"}
	answerFields  = []string{"Signature", "Signature-Input", "Content-Digest", "Data-Receipt", "Content-Type"}
)

// flips returns changes of each octet of a field, of its absence, and of its
// coming twice.
func flips(name, value string, step int) map[string]func(http.Header) {
	out := map[string]func(http.Header){
		name + " left out": func(h http.Header) { h.Del(name) },
		name + " twice":    func(h http.Header) { h.Add(name, h.Get(name)) },
		name + " empty":    func(h http.Header) { h.Set(name, "") },
		name + " longer":   func(h http.Header) { h.Set(name, h.Get(name)+";a=1") },
		name + " a list":   func(h http.Header) { h.Set(name, h.Get(name)+", "+h.Get(name)) },
	}
	for i := 0; i < len(value); i += step {
		out[name+" octet "+string(rune('0'+i/100))+string(rune('0'+i/10%10))+string(rune('0'+i%10))] = func(h http.Header) {
			b := []byte(h.Get(name))
			if i < len(b) {
				b[i] ^= 1
			}
			h.Set(name, string(b))
		}
	}
	return out
}

func step(t *testing.T, short int) int {
	if testing.Short() {
		return short
	}
	return 1
}

// TestRequestTampered changes every signed part of a request on its way: the
// provider serves nothing, and neither side writes anything down.
func TestRequestTampered(t *testing.T) {
	w := newWorld(t)
	id, other := w.agree(nil), w.agree(func(t *cityid.Terms) { t.Nonce = cityid.Nonce{2} })
	var asked atomic.Int32
	w.backend = func(rw http.ResponseWriter, r *http.Request) { asked.Add(1); io.WriteString(rw, "{}") }
	b := &between{to: w.give.front.behind}
	var seen http.Header
	b.request = func(r *http.Request) {
		if r.Method == http.MethodGet {
			seen = r.Header.Clone()
		}
	}
	w.give.front.put(b)
	w.fetched(id)
	changes := map[string]func(*http.Request){
		"another method": func(r *http.Request) { r.Method = http.MethodDelete },
		"HEAD":           func(r *http.Request) { r.Method = http.MethodHead },
		"another path":   func(r *http.Request) { r.URL.Opaque = strings.Replace(r.URL.Opaque, "/latest", "/stations/1", 1) },
		"a query":        func(r *http.Request) { r.URL.Opaque += "?limit=1" },
		"a bare query":   func(r *http.Request) { r.URL.Opaque += "?" },
		"a longer query": func(r *http.Request) { r.URL.Opaque += "?&" },
		"another host":   func(r *http.Request) { r.Host = "127.0.0.1:1" },
		"capital host":   func(r *http.Request) { r.Host = "LOCALHOST" },
		"a body":         func(r *http.Request) { r.Body, r.ContentLength = io.NopCloser(strings.NewReader("x")), 1 },
		"an encoding":    func(r *http.Request) { r.Header.Set("Content-Encoding", "gzip") },
		"another agreement": func(r *http.Request) {
			r.Header.Set("Data-Agreement", `"`+other.String()+`"`)
		},
	}
	for _, name := range requestFields {
		for what, f := range flips(name, seen.Get(name), step(t, 23)) {
			changes[what] = func(r *http.Request) { f(r.Header) }
		}
	}
	give, take := w.give.entries(), w.take.entries()
	served := asked.Load()
	for what, change := range changes {
		b.request = change
		f, err := w.take.Fetch(t.Context(), id, "/latest", "")
		// A body that nobody signed leads to a signed refusal: the request itself is good.
		if err == nil && (what != "a body" || f.Status < 400) {
			t.Errorf("%s: status %d", what, f.Status)
		}
		if err == nil {
			f.Body.Close()
		}
	}
	if n := asked.Load() - served; n != 0 {
		t.Errorf("the service behind was asked %d times", n)
	}
	// The refusal is the one entry more.
	if n := w.take.entries(); n != take+1 {
		t.Errorf("the consumer has %d entries, had %d", n, take)
	}
	if n := w.give.entries(); n != give+1 {
		t.Errorf("the provider has %d entries, had %d", n, give)
	}
}

// TestAnswerTampered changes every signed part of an answer on its way: the
// application gets an error and nothing of the data, and no entry is written.
func TestAnswerTampered(t *testing.T) {
	w := newWorld(t)
	id := w.agree(nil)
	const secret = `{"value":"unheard"}`
	w.backend = func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("Content-Type", "application/json")
		io.WriteString(rw, secret)
	}
	b := &between{to: w.give.front.behind}
	var seen http.Header
	b.response = func(r *http.Response) {
		if r.Header.Get("Signature") != "" {
			seen = r.Header.Clone()
		}
	}
	w.give.front.put(b)
	w.fetched(id)
	changes := map[string]func(*http.Response){
		"another status":     func(r *http.Response) { r.StatusCode = 201 },
		"a refusal's status": func(r *http.Response) { r.StatusCode = 404 },
		"an encoding":        func(r *http.Response) { r.Header.Set("Content-Encoding", "gzip") },
		"no encoding":        func(r *http.Response) { r.Header.Set("Content-Encoding", "identity") },
		"an empty body":      func(r *http.Response) { alterBody(r, func([]byte) []byte { return nil }) },
		"a longer body":      func(r *http.Response) { alterBody(r, func(b []byte) []byte { return append(b, ' ') }) },
		"a body cut off": func(r *http.Response) {
			length := r.Header.Get("Content-Length")
			alterBody(r, func(b []byte) []byte { return b[:len(b)-1] })
			r.Header.Set("Content-Length", length)
		},
	}
	for i := range secret {
		changes["body octet "+string(rune('a'+i))] = func(r *http.Response) {
			alterBody(r, func(b []byte) []byte { b[i] ^= 1; return b })
		}
	}
	for _, name := range answerFields {
		for what, f := range flips(name, seen.Get(name), step(t, 23)) {
			changes[what] = func(r *http.Response) { f(r.Header) }
		}
	}
	before := w.take.entries()
	for what, change := range changes {
		b.response = change
		status, body, h := w.get(w.take.local.URL + "/fetch/" + id.String() + "/latest")
		if status < 500 || strings.Contains(body, "unheard") || h.Get("Cityid-Entry") != "" {
			t.Errorf("%s: %d %s", what, status, body)
		}
	}
	if n := w.take.entries(); n != before {
		t.Errorf("the consumer has %d entries, had %d", n, before)
	}
	b.response = nil
	if status, body, _ := w.get(w.take.local.URL + "/fetch/" + id.String() + "/latest"); status != 200 || body != secret {
		t.Errorf("untouched: %d %s", status, body)
	}
}
