// SPDX-License-Identifier: Apache-2.0

package web

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"
)

func TestLimiter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := NewLimiter(LimiterConfig{Every: time.Second, Burst: 3, Clients: 2})
		a, b := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")
		take := func(addr netip.Addr, want time.Duration) {
			t.Helper()
			if got := l.Take(addr); got != want {
				t.Errorf("%s waits %s, want %s", addr, got, want)
			}
		}
		for range 3 {
			take(a, 0)
		}
		take(a, time.Second)
		time.Sleep(400 * time.Millisecond)
		take(a, 600*time.Millisecond)
		take(netip.MustParseAddr("::ffff:192.0.2.1"), 600*time.Millisecond) // the same client
		time.Sleep(600 * time.Millisecond)
		take(a, 0)
		take(a, time.Second)

		take(b, 0)
		take(netip.MustParseAddr("2001:db8::2"), 0) // the same /64
		take(b, 0)
		take(b, time.Second)

		// The table is full of busy clients, so all others share one bucket.
		for i := range 3 {
			take(netip.MustParseAddr(fmt.Sprintf("198.51.100.%d", i)), 0)
		}
		take(netip.MustParseAddr("198.51.100.77"), time.Second)
		if len(l.full) != 2 {
			t.Errorf("%d clients remembered", len(l.full))
		}
		// Once they rest, there is room again.
		time.Sleep(time.Minute)
		for range 3 {
			take(netip.MustParseAddr("198.51.100.77"), 0)
		}
		if len(l.full) != 1 {
			t.Errorf("%d clients remembered after a rest", len(l.full))
		}
		take(netip.Addr{}, 0)
	})
}

func TestLimit(t *testing.T) {
	calls := 0
	f := func(http.ResponseWriter, *http.Request) error { calls++; return nil }
	limited := NewLimiter(LimiterConfig{Every: time.Hour, Burst: 1, Clients: 1}).Limit(f)
	for i, want := range []int{200, 429} {
		w := httptest.NewRecorder()
		limited.ServeHTTP(w, httptest.NewRequest("POST", "/", nil))
		if w.Code != want {
			t.Errorf("request %d: status %d, want %d", i, w.Code, want)
		}
		if want == 429 && w.Header().Get("Retry-After") != "3600" {
			t.Errorf("Retry-After %q", w.Header().Get("Retry-After"))
		}
	}
	var none *Limiter
	for range 5 {
		none.Limit(f).ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("POST", "/", nil))
	}
	if calls != 6 {
		t.Errorf("%d calls", calls)
	}
	defer func() {
		if recover() == nil {
			t.Error("a limiter without a rate is accepted")
		}
	}()
	NewLimiter(LimiterConfig{})
}
