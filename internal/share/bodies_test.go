// SPDX-License-Identifier: Apache-2.0

package share_test

import (
	"bufio"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"cityid"
	"cityid/internal/share"
	"cityid/internal/web"
)

// patience is how long bodies may stand still in these tests.
const patience = 300 * time.Millisecond

// hasty returns a world in which nobody is waited for long.
func hasty(t testing.TB, change ...func(*world)) *world {
	t.Helper()
	return newWorld(t, append([]func(*world){func(w *world) {
		for _, c := range []*city{w.give, w.take} {
			c.patience = patience
		}
		w.give.cfg.Datasets[0].Backend.Timeout = share.Duration(patience)
		w.give.cfg.InFlight = 8 // two for each address
	}}, change...)...)
}

// free waits until the provider serves again: nothing holds its places.
func (w *world) free(id cityid.Digest) {
	w.t.Helper()
	w.await("a free place", func() bool { return w.ordered(w.order(id, "/latest")).status == 200 })
}

// TestSlowBackend lets the service behind a dataset hang, drip, and stop midway.
func TestSlowBackend(t *testing.T) {
	w := hasty(t)
	id := w.agree(nil)
	ordinary := w.backend
	stop := make(chan struct{})
	defer close(stop)
	for name, serve := range map[string]http.HandlerFunc{
		"says nothing": func(rw http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
		"sends half": func(rw http.ResponseWriter, r *http.Request) {
			rw.Header().Set("Content-Length", "100")
			io.WriteString(rw, strings.Repeat("x", 50))
			rw.(http.Flusher).Flush()
			<-r.Context().Done()
		},
		"drips": func(rw http.ResponseWriter, r *http.Request) {
			for tick := time.NewTicker(10 * time.Millisecond); ; {
				select {
				case <-tick.C:
					if _, err := io.WriteString(rw, "x"); err != nil {
						return
					}
					rw.(http.Flusher).Flush()
				case <-r.Context().Done():
					return
				case <-stop:
					return
				}
			}
		},
		"breaks off": func(rw http.ResponseWriter, r *http.Request) {
			rw.Header().Set("Content-Length", "100")
			io.WriteString(rw, "x")
			panic(http.ErrAbortHandler)
		},
	} {
		w.backend = serve
		var all sync.WaitGroup
		for range 2 { // all places of one address
			all.Go(func() {
				if got := w.ordered(w.order(id, "/latest")); got.status != 502 || !got.signed() || strings.Contains(got.body, "xx") {
					t.Errorf("a service that %s: %v", name, got)
				}
			})
		}
		all.Wait()
		w.backend = ordinary
		w.free(id)
	}
}

// TestOddBackend lets the service answer what a gateway does not pass on.
func TestOddBackend(t *testing.T) {
	w := newWorld(t)
	id := w.agree(nil)
	var hits atomic.Int32
	trap := w.take.serve(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { hits.Add(1) }))
	defer trap.Close()
	for name, c := range map[string]struct {
		serve  http.HandlerFunc
		status int
		typ    string
	}{
		"gzip, unasked": {func(rw http.ResponseWriter, r *http.Request) {
			rw.Header().Set("Content-Encoding", "gzip")
			z := gzip.NewWriter(rw)
			io.WriteString(z, "{}")
			z.Close()
		}, 502, ""},
		"identity, said": {func(rw http.ResponseWriter, r *http.Request) {
			rw.Header().Set("Content-Encoding", "identity")
			io.WriteString(rw, "{}")
		}, 502, ""},
		"elsewhere": {func(rw http.ResponseWriter, r *http.Request) { http.Redirect(rw, r, trap.URL, http.StatusFound) }, 502, ""},
		"elsewhere again": {func(rw http.ResponseWriter, r *http.Request) {
			rw.Header().Set("Location", trap.URL)
			rw.WriteHeader(308)
		}, 502, ""},
		"not modified": {func(rw http.ResponseWriter, r *http.Request) { rw.WriteHeader(304) }, 502, ""},
		"broken":       {func(rw http.ResponseWriter, r *http.Request) { http.Error(rw, "stack trace of 10.0.0.5", 500) }, 502, ""},
		"no content":   {func(rw http.ResponseWriter, r *http.Request) { rw.WriteHeader(204) }, 204, ""},
		"not found":    {func(rw http.ResponseWriter, r *http.Request) { http.Error(rw, "none", 404) }, 404, "text/plain; charset=utf-8"},
		"no type": {func(rw http.ResponseWriter, r *http.Request) {
			rw.Header()["Content-Type"] = nil
			io.WriteString(rw, "x")
		}, 200, "application/octet-stream"},
		"an odd type": {func(rw http.ResponseWriter, r *http.Request) {
			rw.Header().Set("Content-Type", "text/plain; a=\"x\ty\"")
			io.WriteString(rw, "x")
		}, 200, "application/octet-stream"},
		"a foreign type": {func(rw http.ResponseWriter, r *http.Request) {
			rw.Header().Set("Content-Type", "text/plain; a=\"é\"")
			io.WriteString(rw, "x")
		}, 200, ""},
		"a long type": {func(rw http.ResponseWriter, r *http.Request) {
			rw.Header().Set("Content-Type", "text/"+strings.Repeat("x", 3000))
			io.WriteString(rw, "x")
		}, 200, "application/octet-stream"},
		"many headers": {func(rw http.ResponseWriter, r *http.Request) {
			for i := range 40 {
				rw.Header().Set(fmt.Sprintf("X-%d", i), strings.Repeat("x", 4000))
			}
			io.WriteString(rw, "x")
		}, 502, ""},
		"signature of its own": {func(rw http.ResponseWriter, r *http.Request) {
			for _, name := range []string{"Signature", "Signature-Input", "Data-Receipt", "Content-Digest", "Data-Agreement", "Set-Cookie"} {
				rw.Header().Set(name, "sig1=:AAAA:")
			}
			io.WriteString(rw, "{}")
		}, 200, ""},
	} {
		w.backend = c.serve
		f, err := w.take.Fetch(t.Context(), id, "/latest", "")
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if f.Status != c.status || c.typ != "" && f.ContentType != c.typ {
			t.Errorf("%s: status %d, type %q", name, f.Status, f.ContentType)
		}
		f.Body.Close()
	}
	if hits.Load() != 0 {
		t.Error("a redirect was followed")
	}
}

// TestBackendSeesLittle sends headers of all kinds under a good signature: the
// service behind gets the path and the parameters alone.
func TestBackendSeesLittle(t *testing.T) {
	w := newWorld(t)
	id := w.agree(nil)
	var seen http.Header
	w.backend = func(rw http.ResponseWriter, r *http.Request) { seen = r.Header.Clone(); io.WriteString(rw, "{}") }
	o := w.order(id, "/latest")
	o.header = http.Header{
		"Authorization": {"Basic eDp5"}, "Cookie": {"a=b"}, "X-Forwarded-For": {"10.0.0.1"}, "Host": {"evil"}, "Range": {"bytes=0-1"},
		"If-None-Match": {"*"}, "Accept-Encoding": {"gzip"}, "Transfer-Encoding": nil, "X-Http-Method-Override": {"DELETE"}, "Te": {"trailers"},
	}
	if got := w.ordered(o); got.status != 200 || got.body != "{}" {
		t.Fatal(got)
	}
	for name := range seen {
		if name != "User-Agent" && name != "Accept-Encoding" || seen.Get("Accept-Encoding") == "gzip" {
			t.Errorf("%s: %q reached the service", name, seen[name])
		}
	}
}

// TestLongAnswer lets an answer take longer than the servers' limits for a request
// and its answer.
func TestLongAnswer(t *testing.T) {
	for _, tls := range []bool{false, true} {
		t.Run(fmt.Sprintf("tls %v", tls), func(t *testing.T) {
			w := makeWorld(t, tls, "", []func(*world){func(w *world) {
				for _, c := range []*city{w.give, w.take} {
					c.limits = web.Limits{Header: 200 * time.Millisecond, Read: 200 * time.Millisecond, Write: 300 * time.Millisecond}
				}
			}})
			longAnswers(t, w)
		})
	}
}

func longAnswers(t *testing.T, w *world) {
	long := func(r *http.Request) {
		select {
		case <-r.Context().Done():
		case <-time.After(500 * time.Millisecond):
		}
	}
	address := w.take.local.URL + "/fetch/" + w.agree(nil).String() + "/latest"
	w.backend = func(rw http.ResponseWriter, r *http.Request) {
		long(r)
		io.WriteString(rw, strings.Repeat("x", 12_000))
	}
	if status, body, _ := w.get(address); status != 200 || len(body) != 12_000 {
		t.Errorf("%d %.300s", status, body)
	}
	w.backend = func(rw http.ResponseWriter, r *http.Request) { long(r); rw.WriteHeader(500) }
	if status, body, _ := w.get(address); status != 502 {
		t.Errorf("a refusal: %d %.300s", status, body)
	}
	w.give.front.put(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(rw).SetWriteDeadline(time.Time{})
		long(r)
		rw.WriteHeader(500)
	}))
	if status, body, _ := w.get(address); status != 502 || !strings.Contains(body, "no signature") {
		t.Errorf("no answer that counts: %d %.300s", status, body)
	}
}

// slowReader sends a request to an address and reads so much of the answer.
func slowReader(t testing.TB, address string, r *http.Request, take int) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", strings.TrimPrefix(address, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	fmt.Fprintf(c, "%s %s HTTP/1.1\r\nHost: %s\r\n", r.Method, r.URL.RequestURI(), r.Host)
	if err := r.Header.Write(c); err != nil {
		t.Fatal(err)
	}
	io.WriteString(c, "\r\n")
	if _, err := io.CopyN(io.Discard, c, int64(take)); err != nil {
		t.Error(err)
	}
	return c
}

// TestSlowReader lets readers of large answers, on both sides, take no more of
// them: their places become free.
func TestSlowReader(t *testing.T) {
	w := hasty(t)
	id := w.agree(nil)
	large := strings.Repeat("0123456789abcdef", 1<<20) // 16 MiB
	ordinary := w.backend
	w.backend = func(rw http.ResponseWriter, r *http.Request) { io.WriteString(rw, large) }
	for range 2 {
		c := slowReader(t, w.give.front.url, w.order(id, "/latest").sign(t, w.give.front.url), 3000)
		defer c.Close()
	}
	r, err := http.NewRequest(http.MethodGet, w.take.local.URL+"/fetch/"+id.String()+"/latest", nil)
	if err != nil {
		t.Fatal(err)
	}
	w.free(id)
	ended := w.take.ended.Load()
	slowReader(t, w.take.local.URL, r, 3000)
	w.await("the end of the slow answer", func() bool { return w.take.Ledger().Stats().Fetched > 0 })
	w.await("the end of the slow connection", func() bool { return w.take.ended.Load() > ended })
	w.backend = ordinary
	w.free(id)
}

// TestSlowRequest sends requests that do not come to an end.
func TestSlowRequest(t *testing.T) {
	w := hasty(t, func(w *world) {
		w.give.limits = web.Limits{Header: patience, Read: patience, Write: 2 * patience, Idle: patience}
	})
	id := w.agree(nil)
	r := w.order(id, "/latest").sign(t, w.give.front.url)
	r.Header.Set("Content-Length", "10")
	var conns []net.Conn
	for range 2 {
		conns = append(conns, slowReader(t, w.give.front.url, r, 0))
	}
	post := &http.Request{Method: "POST", URL: r.URL, Host: r.Host, Header: http.Header{"Content-Length": {"1000"}}}
	post.URL.Opaque = "/acknowledgements"
	conns = append(conns, slowReader(t, w.give.front.url, post, 0))
	w.free(id)
	for _, c := range conns {
		c.Close()
	}
}

// TestSlowProvider has a provider hang and drip in each part of an answer.
func TestSlowProvider(t *testing.T) {
	w := hasty(t)
	id := w.agree(nil)
	l := &liar{t: t, key: w.give.key, now: w.engine.Now}
	hung := make(chan struct{}, 1) // the consumer has hung up
	for name, part := range map[string]func([]byte) []byte{
		"half":    func(b []byte) []byte { return b[:len(b)/2] },
		"nothing": func([]byte) []byte { return nil },
	} {
		l.send = func(rw http.ResponseWriter, r *http.Request, b []byte) {
			rw.Header().Set("Content-Length", fmt.Sprint(len(b)))
			rw.Write(part(b))
			rw.(http.Flusher).Flush()
			<-r.Context().Done()
			hung <- struct{}{}
		}
		w.give.front.put(l)
		if f, err := w.take.Fetch(context.WithoutCancel(t.Context()), id, "/latest", ""); err == nil {
			f.Body.Close()
			t.Errorf("%s of an answer is taken", name)
		}
		<-hung
	}
}

// TestBodyOtherThanSigned has a provider send a body that is shorter or longer than
// its receipt says, with and without a length.
func TestBodyOtherThanSigned(t *testing.T) {
	w := newWorld(t)
	id := w.agree(nil)
	l := &liar{t: t, key: w.give.key, now: w.engine.Now}
	w.give.front.put(l)
	long := strings.Repeat("x", 1<<20)
	for name, send := range map[string]func(http.ResponseWriter, *http.Request, []byte){
		"shorter":     func(rw http.ResponseWriter, _ *http.Request, b []byte) { rw.Write(b[:len(b)-1]) },
		"longer":      func(rw http.ResponseWriter, _ *http.Request, b []byte) { rw.Write(append(b[:len(b):len(b)], 'x')) },
		"much longer": func(rw http.ResponseWriter, _ *http.Request, b []byte) { rw.Write(b); io.WriteString(rw, long) },
		"empty":       func(rw http.ResponseWriter, _ *http.Request, b []byte) { rw.WriteHeader(200) },
		"without an end": func(rw http.ResponseWriter, _ *http.Request, b []byte) {
			hijacked(rw, b, "Transfer-Encoding: chunked\r\n\r\ne\r\n"+string(b)+"\r\n")
		},
		"cut by its length": func(rw http.ResponseWriter, _ *http.Request, b []byte) {
			hijacked(rw, b, fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(b)+1, b))
		},
	} {
		l.send = send
		before := w.take.entries()
		if f, err := w.take.Fetch(t.Context(), id, "/latest", ""); err == nil {
			f.Body.Close()
			t.Errorf("a body that is %s is taken", name)
		}
		if w.take.entries() != before {
			t.Errorf("a body that is %s is written down", name)
		}
	}
	l.send = nil
	f, err := w.take.Fetch(t.Context(), id, "/latest", "")
	if err != nil {
		t.Fatal(err)
	}
	f.Body.Close()
}

// hijacked sends the headers that are set, and what follows, and closes.
func hijacked(rw http.ResponseWriter, _ []byte, rest string) {
	c, b, err := http.NewResponseController(rw).Hijack()
	if err != nil {
		panic(err)
	}
	defer c.Close()
	defer func(b *bufio.ReadWriter) { b.Flush() }(b)
	io.WriteString(b, "HTTP/1.1 200 OK\r\n")
	rw.Header().Write(b)
	io.WriteString(b, rest)
}

// endless is a body of so many octets that nobody holds.
type endless struct{ left int64 }

func (e *endless) Read(p []byte) (int, error) {
	if e.left <= 0 {
		return 0, io.EOF
	}
	n := min(int64(len(p)), e.left)
	clear(p[:n])
	e.left -= n
	return int(n), nil
}

// TestLargeBody passes a large body through both gateways: memory stays flat. One
// that exceeds a side's bound is refused.
func TestLargeBody(t *testing.T) {
	if testing.Short() {
		t.Skip("large")
	}
	const size = 200 << 20
	w := newWorld(t)
	id := w.agree(nil)
	var before, during runtime.MemStats
	w.backend = func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("Content-Type", "application/octet-stream")
		io.Copy(rw, &endless{size})
	}
	runtime.GC()
	runtime.ReadMemStats(&before)
	resp, err := http.Get(w.take.local.URL + "/fetch/" + id.String() + "/latest")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	n, err := io.Copy(io.Discard, resp.Body)
	if resp.StatusCode != 200 || n != size || err != nil {
		t.Fatalf("status %d, %d octets, %v", resp.StatusCode, n, err)
	}
	runtime.ReadMemStats(&during)
	if grown := int64(during.HeapSys) - int64(before.HeapSys); grown > 48<<20 {
		t.Errorf("memory grew by %d MiB for a body of %d", grown>>20, size>>20)
	}
}

// TestTooLargeBody exceeds the bound of either side.
func TestTooLargeBody(t *testing.T) {
	w := newWorld(t, func(w *world) {
		w.give.cfg.MaxBody, w.take.cfg.MaxBody = 1000, 500
	})
	id := w.agree(nil)
	var size int
	w.backend = func(rw http.ResponseWriter, r *http.Request) { io.Copy(rw, &endless{int64(size)}) }
	for _, c := range []struct {
		size   int
		status int // 0: an error of the consumer's gateway
	}{{500, 200}, {501, 0}, {1000, 0}, {1001, 413}, {10 << 20, 413}} {
		size = c.size
		f, err := w.take.Fetch(t.Context(), id, "/latest", "")
		switch {
		case err != nil && (c.status != 0 || cityid.CodeOf(err) != cityid.ErrTooLarge):
			t.Errorf("%d octets: %v", size, err)
		case err == nil && f.Status != c.status:
			t.Errorf("%d octets: status %d", size, f.Status)
		}
		if err == nil {
			f.Body.Close()
		}
	}
}
