// SPDX-License-Identifier: Apache-2.0

package client

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"syscall"
	"time"

	"cityid"
	"cityid/verify"
)

// zone is what is known of a zone. But for its state it does not change.
type zone struct {
	apex      cityid.Code
	places    bool
	chain     string
	anchor    uint64         // height of the checkpoint
	way       *verify.Bundle // the referral that leads to it from the trust root; nil: it is the trust root's own
	endpoints []string
	status    cityid.Status // of the apex, in the zone above
	revision  uint64        // height of the zone above as of which this is
	trust     uint32        // version of the trust root
	taken     time.Time
	until     time.Time // when the way is no longer valid
	frozen    error     // why nothing of it can be proven now

	state *zoneState
}

// size is about how many octets keeping it takes.
func (at *zone) size() int64 {
	n := int64(4096)
	for i := range at.way.Steps {
		s := &at.way.Steps[i]
		n += int64(len(s.Head.Header) + len(s.Head.Validators) + len(s.Head.Commit) + len(s.Proof) + len(s.Validators) + 512)
		for j := range s.Transitions {
			n += int64(len(s.Transitions[j].Header) + len(s.Transitions[j].Validators) + len(s.Transitions[j].Commit) + 128)
		}
		for _, v := range s.Values {
			n += 2 * int64(len(v))
		}
	}
	return n
}

// zoneState is what is remembered of a zone's servers.
type zoneState struct {
	limit  *gate
	probes flights

	mu     sync.Mutex
	list   []*server
	newest time.Time // of the headers seen
	err    error     // why there are no servers
}

func newZoneState(c *ZonesConfig) *zoneState {
	return &zoneState{limit: newGate(c.Concurrent, c.Rate)}
}

// serve sets a zone's servers, and keeps what is known of those before.
func (at *zone) serve(addresses []string, carried http.RoundTripper, before []*server) error {
	var list []*server
	var errs []error
	for _, a := range addresses {
		if i := slices.IndexFunc(before, func(s *server) bool { return s.address == a }); i >= 0 {
			list = append(list, before[i])
			continue
		}
		c, err := New(a, WithTransport(carried), WithTimeout(0), WithUserAgent("cityid-resolver"))
		if err != nil {
			errs = append(errs, err)
			continue
		}
		list = append(list, &server{address: a, client: c})
	}
	at.state.mu.Lock()
	at.state.list = list
	at.state.mu.Unlock()
	return errors.Join(errs...)
}

func (s *zoneState) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = err
}

// reason says why there is no server to ask.
func (s *zoneState) reason() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return s.err.Error()
	}
	return "its record in the zone above names no servers"
}

func (s *zoneState) servers() []*server {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.list)
}

// order returns the servers, those first that have answered well and quickly.
func (s *zoneState) order(now time.Time) []*server {
	list := s.servers()
	type rank struct {
		s       *server
		waiting bool
		until   time.Time
		fails   int
		took    time.Duration
	}
	ranks := make([]rank, len(list))
	for i, x := range list {
		x.mu.Lock()
		ranks[i] = rank{x, now.Before(x.until), x.until, x.fails, x.took}
		x.mu.Unlock()
	}
	slices.SortStableFunc(ranks, func(a, b rank) int {
		switch {
		case a.waiting != b.waiting:
			return map[bool]int{true: 1, false: -1}[a.waiting]
		case a.waiting:
			return a.until.Compare(b.until)
		case a.fails != b.fails:
			return a.fails - b.fails
		}
		return int((a.took - b.took) / time.Millisecond)
	})
	for i := range ranks {
		list[i] = ranks[i].s
	}
	return list
}

// down reports whether all servers have failed and none is to be tried again yet.
func (s *zoneState) down(now time.Time) bool {
	list := s.servers()
	for _, x := range list {
		x.mu.Lock()
		waiting := now.Before(x.until)
		x.mu.Unlock()
		if !waiting {
			return false
		}
	}
	return len(list) > 0
}

// recent notes how new an answer is, and reports whether it is not much older
// than another one seen before.
func (s *zoneState) recent(p *proven, lag time.Duration) bool {
	at := p.result.AsOf.Time
	s.mu.Lock()
	defer s.mu.Unlock()
	if at.After(s.newest) {
		s.newest = at
	}
	return s.newest.Sub(at) <= lag
}

// server is one address of a zone's servers, and how it has been.
type server struct {
	address string
	client  *Client

	mu        sync.Mutex
	good, bad uint64
	fails     int           // since the last good answer
	until     time.Time     // others are asked first until then
	took      time.Duration // of late
	last      string        // failure
	lastAt    time.Time
}

// Pauses before a server that failed is asked again while others answer.
const (
	serverPause = time.Second
	liarPause   = time.Minute
	mostPause   = 5 * time.Minute
)

func (s *server) failed(now time.Time, err error, lied bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.bad++
	s.fails++
	pause := serverPause
	if lied {
		pause = liarPause
	}
	pause = min(pause<<min(s.fails-1, 9), mostPause)
	s.until, s.last, s.lastAt = now.Add(pause), brief(err), now
}

func (s *server) answered(took time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.good++
	s.fails, s.until = 0, time.Time{}
	s.took = (3*s.took + took) / 4
}

// slow notes that another server was quicker.
func (s *server) slow(took time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.took = max(s.took, took)
}

// ErrAddress says that an address in a record is not asked: see [ZonesConfig].
var ErrAddress = errors.New("the address is not one on the public network")

// transport carries requests. strange is for addresses that others wrote: those
// lead to public networks alone or, with private, to loopback and private ones as
// well. What counts is the address that is connected to, whatever a name said
// before. No proxy is used for them, since that would connect in this place.
func transport(private, strange bool, authorities *x509.CertPool) *http.Transport {
	d := &net.Dialer{Timeout: 5 * time.Second, KeepAlive: 30 * time.Second}
	t := &http.Transport{
		DialContext: d.DialContext, DisableCompression: true, ForceAttemptHTTP2: true,
		TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: authorities},
		MaxIdleConns:    1024, MaxIdleConnsPerHost: 32, MaxConnsPerHost: 64, IdleConnTimeout: 90 * time.Second,
		TLSHandshakeTimeout: 5 * time.Second, MaxResponseHeaderBytes: 64 << 10,
	}
	if !strange {
		t.Proxy = http.ProxyFromEnvironment
		return t
	}
	d.ControlContext = func(_ context.Context, _, address string, _ syscall.RawConn) error {
		a, err := netip.ParseAddrPort(address)
		if err == nil {
			ip := a.Addr().Unmap()
			if cityid.PublicAddress(ip) || private && (ip.IsLoopback() || ip.IsPrivate()) {
				return nil
			}
		}
		return fmt.Errorf("%w: %s", ErrAddress, address)
	}
	return t
}
