// SPDX-License-Identifier: Apache-2.0

package web

import (
	"net/http"
	"net/netip"
	"sync"
	"time"

	"cityid"
)

// LimiterConfig says how often one client may come.
type LimiterConfig struct {
	Every   time.Duration // one request in this time, in the long run; more than 0
	Burst   int           // so many at once after a pause; at least 1
	Clients int           // clients remembered at once; at least 1
}

// A Limiter is a token bucket for each client address (for IPv6, each /64). It
// remembers a client only until its bucket is full again, and never more than a
// set number: while that many are busy, all further ones share one bucket, so
// whoever has many addresses gains nothing and costs no memory.
type Limiter struct {
	every time.Duration
	slack time.Duration // how far ahead of now a bucket may be spent
	max   int

	mu     sync.Mutex
	full   map[netip.Prefix]time.Time // when each client's bucket will be full
	shared time.Time                  // the same for those not remembered
	swept  time.Time
}

// NewLimiter returns a limiter. It panics if a field of c is out of range.
func NewLimiter(c LimiterConfig) *Limiter {
	if c.Every <= 0 || c.Burst < 1 || c.Clients < 1 {
		panic("web: limiter without a rate, burst or number of clients")
	}
	return &Limiter{every: c.Every, slack: c.Every * time.Duration(c.Burst-1), max: c.Clients, full: map[netip.Prefix]time.Time{}}
}

// Take takes a token of the client's bucket and returns 0, or how long until
// there is one.
func (l *Limiter) Take(client netip.Addr) time.Duration {
	now := time.Now()
	key := clientOf(client)

	l.mu.Lock()
	defer l.mu.Unlock()
	full, known := l.full[key]
	if !known && len(l.full) >= l.max && !l.sweep(now) {
		return l.spend(&l.shared, now)
	}
	wait := l.spend(&full, now)
	l.full[key] = full
	return wait
}

// clientOf returns what counts as one client: an IPv4 address, or the /64 of an
// IPv6 address. All invalid addresses are one.
func clientOf(addr netip.Addr) netip.Prefix {
	bits := 32
	if addr.Is6() && !addr.Is4In6() {
		bits = 64
	}
	client, _ := addr.Unmap().Prefix(bits)
	return client
}

func (l *Limiter) spend(full *time.Time, now time.Time) time.Duration {
	if full.Before(now) {
		*full = now
	}
	if ahead := full.Sub(now); ahead > l.slack {
		return ahead - l.slack
	}
	*full = full.Add(l.every)
	return 0
}

// sweep forgets clients whose buckets are full, at most once a second, and
// reports whether there is room for another.
func (l *Limiter) sweep(now time.Time) bool {
	if now.Sub(l.swept) < time.Second {
		return false
	}
	l.swept = now
	for key, full := range l.full {
		if !full.After(now) {
			delete(l.full, key)
		}
	}
	return len(l.full) < l.max
}

// Limit returns f behind the limiter: a client that comes too often gets 429
// with Retry-After. A nil Limiter limits nothing.
func (l *Limiter) Limit(f Endpoint) Endpoint {
	if l == nil {
		return f
	}
	return func(w http.ResponseWriter, r *http.Request) error {
		if wait := l.Take(ClientAddr(r)); wait > 0 {
			return Refuse(http.StatusTooManyRequests, cityid.ErrFull, "too many requests from your address: wait and try again").RetryAfter(wait)
		}
		return f(w, r)
	}
}
