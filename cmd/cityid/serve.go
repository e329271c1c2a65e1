// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"cityid"
	"cityid/internal/api"
	"cityid/internal/chain"
	"cityid/internal/index"
	"cityid/internal/web"
)

// serving is how a node answers over HTTP.
type serving struct {
	Listen  string         // host:port
	Cert    string         // PEM file of the certificate; with Key: serve TLS
	Key     string         // PEM file of its private key
	Proxies []netip.Prefix // whose X-Forwarded-For is believed
	Writes  int            // submissions a second from one address; 0: no limit
	Streams int            // streams of events at a time; 0: the default of package api
	Pages   pagesConfig
	NoIndex bool   // keep no search index; the pages must be off then
	Admin   string // address for those who run the node; empty: none
	Data    catalogueConfig
	Log     *slog.Logger

	search api.Searcher // nil: searches are not answered
	data   api.Datasets // nil: there is no catalogue of shared data
}

// drain is how long running requests may take to finish when a server stops.
const drain = 5 * time.Second

// api answers for /v1.
func (s *serving) api(from api.Source) http.Handler {
	var limit *web.Limiter
	if s.Writes > 0 {
		limit = web.NewLimiter(web.LimiterConfig{Every: time.Second / time.Duration(s.Writes), Burst: 2 * s.Writes, Clients: 100_000})
	}
	return api.Handler(api.Config{Source: from, Search: s.search, Data: s.data, Writes: limit, Streams: s.Streams})
}

// serve answers until ctx ends or the node halts. ready is called with the
// address once the listener stands; it may be nil.
func (s *serving) serve(ctx context.Context, n *chain.Node, ready func(net.Addr)) (err error) {
	st, err := awaitBlock(ctx, n)
	if err != nil {
		return err
	}
	var x *index.Index
	if !s.NoIndex {
		var stop func()
		if x, stop, err = openIndex(ctx, filepath.Join(s.Pages.Folder, "index.sqlite"), n, s.Log); err != nil {
			return err
		}
		defer stop()
		s.search = x
	}
	if !s.Data.Off {
		k, stop, err := s.Data.open(ctx, filepath.Join(s.Pages.Folder, "catalogue.sqlite"), s.address(), n, s.Log)
		if err != nil {
			return err
		}
		defer stop()
		s.data, s.Pages.Catalogue = k, k
	}
	sites, closeSites, err := s.Pages.open(ctx, n, x, s.Log)
	if err != nil {
		return err
	}
	defer closeSites()
	h, err := s.handler(n, st.Zone, sites)
	if err != nil {
		return err
	}
	var cert *web.Certificate
	if s.Cert != "" || s.Key != "" {
		if cert, err = web.LoadCertificate(s.Cert, s.Key, s.Log); err != nil {
			return err
		}
	}
	l, err := listen(ctx, s.Listen)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() {
		select {
		case <-n.Done():
			cancel(n.Err())
		case <-ctx.Done():
		}
	}()
	if ready != nil {
		ready(l.Addr())
	}
	err = web.Serve(ctx, web.NewServer(h, web.Limits{}, s.Log), l, cert, drain)
	if halted := n.Err(); halted != nil {
		return errors.Join(halted, err)
	}
	return err
}

// address is where what the node serves has its lasting names.
func (s *serving) address() string {
	if a := cmp.Or(s.Pages.Public, s.Pages.Origin); a != "" {
		return a
	}
	return defaultOrigin(s.Listen, s.Cert != "")
}

// listen is web.Listen with what to do about a port that another program has.
func listen(ctx context.Context, address string) (net.Listener, error) {
	l, err := web.Listen(ctx, address)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, hint(exitError{exitConflict, fmt.Errorf("listen on %s: another program has the port", address)}, "stop that program, perhaps another node or demo, or choose another port with --listen, such as --listen 127.0.0.1:8081")
	}
	return l, err
}

// awaitBlock returns the node's status once it answers from a signed block. A
// new network has none until enough of its validators run.
func awaitBlock(ctx context.Context, n *chain.Node) (*cityid.NodeStatus, error) {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		s, err := n.Status(ctx)
		if err == nil || cityid.CodeOf(err) != cityid.ErrUnavailable {
			return s, err
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("wait for the first block: %w", ctx.Err())
		case <-n.Done():
			return nil, n.Err()
		case <-tick.C:
		}
	}
}

// parseProxies parses --trusted-proxies.
func parseProxies(s string) ([]netip.Prefix, error) { return parseNetworks("--trusted-proxies", s) }

// parseNetworks parses networks such as 10.0.0.0/8, separated by commas, that were
// given with a flag.
func parseNetworks(flag, s string) ([]netip.Prefix, error) {
	var out []netip.Prefix
	for part := range strings.SplitSeq(s, ",") {
		if part = strings.TrimSpace(part); part == "" {
			continue
		}
		p, err := netip.ParsePrefix(part)
		if err != nil {
			return nil, usagef("%s %q: want networks such as 10.0.0.0/8, separated by commas", flag, part)
		}
		out = append(out, p)
	}
	return out, nil
}

// publicAddress is what people type to reach a listener: a host name where a
// browser needs one.
func publicAddress(a net.Addr, tls bool) string {
	scheme := "http"
	if tls {
		scheme = "https"
	}
	host, port, err := net.SplitHostPort(a.String())
	if err != nil {
		return scheme + "://" + a.String()
	}
	if ip, err := netip.ParseAddr(host); err == nil && (ip.IsLoopback() || ip.IsUnspecified()) {
		host = "localhost"
	}
	return fmt.Sprintf("%s://%s", scheme, net.JoinHostPort(host, port))
}
