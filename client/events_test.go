// SPDX-License-Identifier: Apache-2.0

package client_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"cityid"
	"cityid/client"
)

// streaming returns a client of a server whose n-th connection, from 0, is
// answered by f.
func streaming(t *testing.T, f func(n int, w http.ResponseWriter, r *http.Request)) *client.Client {
	t.Helper()
	var n atomic.Int64
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream; charset=utf-8")
		f(int(n.Add(1)-1), w, r)
	}))
	t.Cleanup(s.Close)
	return newClient(t, s.URL)
}

func blockEvent(height int) string {
	return fmt.Sprintf("id: %d\nevent: block\ndata: {\"height\":%d,\"transactions\":[]}\n\n", height, height)
}

// collect returns heights until n have come or there is an error; a reset is the
// negative of its height.
func collect(ctx context.Context, c *client.Client, after uint64, n int) (got []int, err error) {
	for e, err := range c.Events(ctx, after, cityid.EventFilter{}) {
		if err != nil {
			return got, err
		}
		if h := int(e.Height); e.Reset {
			got = append(got, -h)
		} else {
			got = append(got, h)
		}
		if len(got) == n {
			break
		}
	}
	return got, nil
}

func TestEventsConnectAgain(t *testing.T) {
	var asked []string
	c := streaming(t, func(n int, w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.Header.Get("Last-Event-ID")+" "+r.URL.RawQuery)
		io.WriteString(w, "retry: 10\n\n")
		switch n {
		case 0: // ends in good order, with half an event that does not count
			io.WriteString(w, blockEvent(5)+": alive\n\n"+blockEvent(6)+"id: 7\nevent: block\ndata: {")
		case 1: // breaks
			io.WriteString(w, blockEvent(7))
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		case 2: // is busy for the moment
			w.Header().Set("Content-Type", "application/problem+json")
			w.WriteHeader(503)
			io.WriteString(w, `{"code":"unavailable","detail":"stopping"}`)
		case 3: // an id alone moves on
			io.WriteString(w, ": nothing for you\nid: 20\n\n")
		case 4: // names and fields of a later version
			io.WriteString(w, "event: other\ndata: x\n\nfield: y\n\n"+strings.ReplaceAll(blockEvent(21), "\n", "\r\n"))
			io.WriteString(w, "id: 29\nevent: reset\ndata: {\"height\":30}\n\n"+blockEvent(30))
		}
	})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	got, err := collect(ctx, c, 4, 6)
	if want := "[5 6 7 21 -30 30]"; err != nil || fmt.Sprint(got) != want {
		t.Errorf("%v, %v, want %s", got, err, want)
	}
	if want := "4 |6 |7 |7 |20 "; strings.Join(asked, "|") != want {
		t.Errorf("asked after %q, want %q", strings.Join(asked, "|"), want)
	}
}

func TestEventsAsk(t *testing.T) {
	c := streaming(t, func(_ int, w http.ResponseWriter, r *http.Request) {
		if got := r.URL.String(); got != "/v1/events?code=MA.156.1301&proposal=7" {
			t.Errorf("asked %s", got)
		}
		if _, ok := r.Header["Last-Event-Id"]; ok || r.Header.Get("Accept") != "text/event-stream" {
			t.Errorf("headers %v", r.Header)
		}
		io.WriteString(w, blockEvent(5))
	})
	for range c.Events(t.Context(), 0, cityid.EventFilter{Code: code, Proposal: 7}) {
		break
	}
}

func TestEventsEnd(t *testing.T) {
	problem := func(status int, code string) func(int, http.ResponseWriter, *http.Request) {
		return func(_ int, w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/problem+json")
			w.WriteHeader(status)
			fmt.Fprintf(w, `{"code":%q,"detail":"no"}`, code)
		}
	}
	says := func(text string) func(int, http.ResponseWriter, *http.Request) {
		return func(_ int, w http.ResponseWriter, _ *http.Request) { io.WriteString(w, text) }
	}
	for name, c := range map[string]struct {
		f    func(int, http.ResponseWriter, *http.Request)
		want string
	}{
		"refused":      {problem(400, "malformed"), "malformed"},
		"older node":   {problem(404, "not-found"), "not-found"},
		"another site": {func(_ int, w http.ResponseWriter, _ *http.Request) { w.Header().Set("Content-Type", "text/html") }, "is it a node"},
		"gateway": {func(_ int, w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "")
			w.WriteHeader(502)
		}, "unreachable"},
		"no JSON":       {says("event: block\ndata: x\n\n"), "event"},
		"no height":     {says("id: x\nevent: block\ndata: {}\n\n"), "want a height"},
		"endless line":  {says("data: " + strings.Repeat("x", 9<<20)), "larger"},
		"endless event": {says("data: " + strings.Repeat("x", 5<<20) + "\ndata: " + strings.Repeat("x", 5<<20)), "larger"},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			got, err := collect(ctx, streaming(t, c.f), 0, 1)
			if err == nil || !strings.Contains(err.Error(), c.want) || len(got) > 0 {
				t.Errorf("%v, %v, want %s", got, err, c.want)
			}
		})
	}
	if _, err := collect(t.Context(), newClient(t, "http://127.0.0.1:1"), 0, 1); !errors.Is(err, client.ErrUnreachable) {
		t.Errorf("nobody listens: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	c := streaming(t, func(_ int, w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, blockEvent(5))
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	})
	time.AfterFunc(100*time.Millisecond, cancel)
	if got, err := collect(ctx, c, 0, 2); !errors.Is(err, context.Canceled) || len(got) != 1 {
		t.Errorf("given up: %v, %v", got, err)
	}
}
