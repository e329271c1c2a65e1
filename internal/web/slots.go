// SPDX-License-Identifier: Apache-2.0

package web

import (
	"net/http"
	"net/netip"
	"sync"
	"time"

	"cityid"
)

// Slots bounds how many long answers, such as streams, run at a time, and how
// many of them go to one client address (for IPv6, each /64): a quarter.
type Slots struct {
	most, share int

	mu    sync.Mutex
	taken int
	held  map[netip.Prefix]int
}

// NewSlots returns n slots, n at least 1.
func NewSlots(n int) *Slots {
	return &Slots{most: n, share: max(1, n/clientShare), held: map[netip.Prefix]int{}}
}

// Take takes a slot for a client, which must call release once. The error is a
// problem: 429 if the client holds its share, 503 if all slots are taken.
func (s *Slots) Take(client netip.Addr) (release func(), err error) {
	key := clientOf(client)
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.held[key] >= s.share:
		return nil, Refuse(http.StatusTooManyRequests, cityid.ErrFull, "%d streams go to your address already: end one of them first", s.share).RetryAfter(10 * time.Second)
	case s.taken >= s.most:
		return nil, Refuse(http.StatusServiceUnavailable, cityid.ErrUnavailable, "%d streams run already: try again later, or ask another node", s.most).RetryAfter(10 * time.Second)
	}
	s.taken++
	s.held[key]++
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.taken--
		if s.held[key]--; s.held[key] == 0 {
			delete(s.held, key)
		}
	}, nil
}
