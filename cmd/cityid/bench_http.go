// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"sync"
	"time"

	"cityid"
	"cityid/internal/web"
	"cityid/verify"
)

// bareName is the yardstick of answers over HTTP.
const bareName = "bare net/http, the bundle's bytes"

// answering serves the first node over HTTP, and beside it a bare handler that
// serves the bytes of one bundle, until the returned function is called.
func (b *benchmark) answering(ctx context.Context) (base string, sample []byte, stop func(), err error) {
	node := b.net.nodes[0]
	s := serving{Log: slog.New(slog.DiscardHandler)}
	h, err := s.handler(node, b.class.Root().Parent().Parent(), nil)
	if err != nil {
		return "", nil, nil, err
	}
	if sample, err = node.Bundle(ctx, cityid.BundleQuery{Code: b.object(), Kind: cityid.AnswerRecord}); err != nil {
		return "", nil, nil, err
	}
	mux := http.NewServeMux()
	mux.Handle("/", h)
	mux.HandleFunc("/bare", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", verify.MediaType)
		w.Write(sample)
	})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	served := make(chan error, 1)
	go func() { served <- web.Serve(ctx, web.NewServer(mux, web.Limits{}, nil), l, nil, drain) }()
	return "http://" + l.Addr().String(), sample, func() { cancel(); <-served }, nil
}

// answers measures reads over HTTP with keep-alive, each kind beside the bare
// handler.
func (b *benchmark) answers(ctx context.Context) error {
	base, sample, stop, err := b.answering(ctx)
	if err != nil {
		return err
	}
	defer stop()
	hot := b.object().String()
	for _, w := range []struct {
		name string
		path func() string
	}{
		{bareName, func() string { return "/bare" }},
		{"bundle over HTTP, uniform", func() string { return "/v1/bundles/" + b.object().String() }},
		{"bundle over HTTP, one code", func() string { return "/v1/bundles/" + hot }},
		{"record over HTTP, uniform", func() string { return "/" + b.object().String() }},
		{"record over HTTP, one code", func() string { return "/" + hot }},
		{"listing of 100 over HTTP", func() string { return fmt.Sprintf("/v1/children/%s?limit=100&after=%s", b.class, b.object()) }},
		{"absence over HTTP", func() string { return fmt.Sprintf("/v1/bundles/%s/N%08d", b.class, rand.IntN(b.records)) }},
	} {
		n, times, err := load(ctx, b.span, 8, base, w.path)
		if err != nil {
			return fmt.Errorf("%s: %w", w.name, err)
		}
		b.add(b.against(withLatency(measure{Name: w.name, Rate: float64(n) / b.span.Seconds(), Unit: "requests", Note: "8 connections"}, times), bareName))
	}
	return b.checking(ctx, sample)
}

func (b *benchmark) object() cityid.Code {
	return cityid.MustParse(fmt.Sprintf("%s/B%08d", b.class, rand.IntN(b.records)))
}

// load asks with some clients at once for a while and returns how many
// requests were answered and how long each took.
func load(ctx context.Context, span time.Duration, clients int, base string, path func() string) (int, []time.Duration, error) {
	c := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: clients}}
	defer c.CloseIdleConnections()
	end := time.Now().Add(span)
	var mu sync.Mutex
	var all []time.Duration
	var failed error
	var wg sync.WaitGroup
	for range clients {
		wg.Go(func() {
			var mine []time.Duration
			var err error
			for time.Now().Before(end) && ctx.Err() == nil && err == nil {
				start := time.Now()
				err = get(ctx, c, base+path())
				mine = append(mine, time.Since(start))
			}
			mu.Lock()
			defer mu.Unlock()
			all = append(all, mine...)
			if err != nil {
				failed = err
			}
		})
	}
	wg.Wait()
	return len(all), all, failed
}

// newKeepAlive returns a client that keeps one connection.
func newKeepAlive() *http.Client {
	return &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 1}}
}

func get(ctx context.Context, c *http.Client, url string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	res, err := c.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if _, err := io.Copy(io.Discard, res.Body); err != nil {
		return err
	}
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", url, res.Status)
	}
	return nil
}

// checking measures the offline check of one bundle on one core.
func (b *benchmark) checking(ctx context.Context, bundle []byte) error {
	versions, err := b.net.nodes[0].Trust(ctx)
	if err != nil {
		return err
	}
	trust := &versions[len(versions)-1]
	n := 0
	start := time.Now()
	for time.Since(start) < time.Second {
		if r := verify.CheckEncoded(trust, bundle, verify.Options{Now: time.Now()}); r.Verdict != verify.Valid {
			return fmt.Errorf("the bundle is %s: %s", r.Verdict, r.Message)
		}
		n++
	}
	b.add(measure{Name: "verify one bundle", Rate: float64(n) / time.Since(start).Seconds(), Unit: "bundles", P50: time.Since(start) / time.Duration(n), Bytes: int64(len(bundle)), Note: "one core, no cache between checks"})
	return nil
}
