// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"cityid"
	"cityid/client"
	"cityid/internal/web"
	"cityid/verify"
)

// resolver measures a resolver in front of the first node, beside the bare
// handler: with answers that it keeps, and with none, when each takes a request to
// the node and a check of its proof. Node, resolver and clients are in one process.
func (b *benchmark) resolver(ctx context.Context) error {
	base, sample, stop, err := b.answering(ctx)
	if err != nil {
		return err
	}
	defer stop()
	versions, err := b.net.nodes[0].Trust(ctx)
	if err != nil {
		return err
	}
	trust, err := verify.NewTrustFile(versions[len(versions)-1])
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/bare", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", verify.MediaType)
		w.Write(sample)
	})
	apex := trust.Latest().Statement.Zone
	for path, fresh := range map[string]time.Duration{"/hot": time.Hour, "/cold": -1} {
		h, err := b.resolving(trust, base, apex, fresh)
		if err != nil {
			return err
		}
		mux.Handle(path+"/", http.StripPrefix(path, h))
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	served := make(chan error, 1)
	go func() { served <- web.Serve(ctx, web.NewServer(mux, web.Limits{}, nil), l, nil, drain) }()
	defer func() { cancel(); <-served }()
	base = "http://" + l.Addr().String()
	hot := b.object().String()
	for _, w := range []struct {
		name string
		path func() string
	}{
		{bareName, func() string { return "/bare" }},
		{"resolver, bundle, kept", func() string { return "/hot/v1/bundles/" + hot }},
		{"resolver, record, kept", func() string { return "/hot/" + hot }},
		{"resolver, bundle, asked and checked", func() string { return "/cold/v1/bundles/" + b.object().String() }},
	} {
		n, times, err := load(ctx, b.span, 8, base, w.path)
		if err != nil {
			return fmt.Errorf("%s: %w", w.name, err)
		}
		b.add(b.against(withLatency(measure{Name: w.name, Rate: float64(n) / b.span.Seconds(), Unit: "requests", Note: "8 connections"}, times), bareName))
	}
	return nil
}

// resolving returns a resolver that asks a node and keeps answers for so long.
func (b *benchmark) resolving(trust *verify.TrustFile, node string, apex cityid.Code, fresh time.Duration) (http.Handler, error) {
	zones, err := client.NewZones(client.ZonesConfig{Trust: trust, Roots: []string{node}, Fresh: fresh, Rate: 1_000_000})
	if err != nil {
		return nil, err
	}
	return resolverHandler(zones, apex, 0, slog.New(slog.DiscardHandler))
}
