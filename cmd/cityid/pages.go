// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"path/filepath"
	"strings"

	"cityid"
	"cityid/internal/api"
	"cityid/internal/index"
	"cityid/internal/office"
	"cityid/internal/portal"
	"cityid/internal/resolve"
	"cityid/internal/web"
	"cityid/keys"
	"cityid/label"
)

// source is what everything that answers over HTTP reads from.
type source interface {
	api.Source
	portal.Source
	index.Source
}

// site is the pages of one host name. A node has one; the demo has one for each
// institution, which in earnest would be on machines of their own.
type site struct {
	host  string // "": any
	pages http.Handler
}

// handler joins the API, the resolver and the pages of one zone. The first site
// is also that of hosts no other names.
func (s *serving) handler(from source, zone cityid.Code, sites []site) (http.Handler, error) {
	config := resolve.Config{Source: from, Roots: []cityid.Code{zone}}
	if len(sites) > 0 {
		config.Pages = portal.Pages{}
	}
	resolver, err := resolve.Handler(config)
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.Handle("/v1/", s.api(from))
	mux.Handle("/", resolver)
	if len(sites) > 0 {
		pages := byHost(sites)
		for _, path := range []string{"/zh/", "/zh", "/en/", "/en", "/static/", "/office/"} {
			mux.Handle(path, pages)
		}
		mux.HandleFunc("/{$}", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Vary", "Accept")
			if t, err := web.Negotiate(r, web.JSONType, "text/plain", "text/html"); err == nil && t == "text/html" {
				pages.ServeHTTP(w, r)
				return
			}
			resolver.ServeHTTP(w, r)
		})
	}
	return web.Wrap(mux, web.WrapConfig{Log: s.Log, Proxies: s.Proxies, MaxBody: portal.MaxBody, LogPath: portal.LogPath}), nil
}

// byHost chooses the site that a request's Host names.
func byHost(sites []site) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host, _, _ := strings.Cut(r.Host, ":")
		for _, s := range sites[1:] {
			if strings.EqualFold(s.host, host) {
				s.pages.ServeHTTP(w, r)
				return
			}
		}
		sites[0].pages.ServeHTTP(w, r)
	})
}

// pagesConfig says what pages a node serves.
type pagesConfig struct {
	Off     bool   // none
	Folder  string // holds the index and the office
	Origin  string // where browsers reach the pages
	Public  string // what labels name; "": none are drawn
	BaseMap string // GeoJSON file to draw maps on; "": the built-in outline
	Name    map[string]string

	Member      cityid.Code    // the institution whose portal it is; zero: of none
	EvidenceKey *keys.Private  // opens evidence for it; nil: none is taken or shown
	DeliverTo   []netip.Prefix // networks evidence may be sent to besides the public ones
	Intake      *cityid.Signer // brings applications onto the chain; nil: a clerk does

	Gateways    portal.Gateways  // of cities whose data the pages show, and whose officers work here; nil: none
	Catalogue   portal.Catalogue // of shared data; nil: none
	PurposeKeys []*keys.Private  // open purposes of requests, besides EvidenceKey
}

// open opens what the pages need, and returns what closes it again.
func (c *pagesConfig) open(ctx context.Context, from source, x *index.Index, log *slog.Logger) (_ []site, _ func(), err error) {
	if c.Off {
		return nil, func() {}, nil
	}
	o, err := office.Open(ctx, office.Options{Dir: filepath.Join(c.Folder, "office")})
	if err != nil {
		return nil, nil, fmt.Errorf("open the office: %w", err)
	}
	closeAll := func() {
		if err := o.Close(); err != nil {
			log.Error("the office did not close", "error", err)
		}
	}
	config := portal.Config{
		Source: from, Index: x, Catalogue: c.Catalogue, Office: o, Origin: c.Origin, Name: c.Name, Limits: portal.NewLimits(), Log: log,
		Member: c.Member, EvidenceKey: c.EvidenceKey, DeliverTo: c.DeliverTo, Intake: c.Intake, Gateways: c.Gateways,
		PurposeKeys: c.PurposeKeys,
	}
	if c.Public != "" {
		if config.Public, err = label.ParsePublicURL(c.Public); err != nil {
			closeAll()
			return nil, nil, usageError{err}
		}
	}
	if c.BaseMap != "" {
		if config.BaseMap, err = readBounded(ctx, c.BaseMap, 16<<20); err != nil {
			closeAll()
			return nil, nil, err
		}
	}
	h, err := portal.New(config)
	if err != nil {
		closeAll()
		return nil, nil, err
	}
	stopped := runPortal(ctx, h, log)
	return []site{{pages: h}}, func() { stopped(); closeAll() }, nil
}

// runPortal lets a portal do what it does by itself, until the function returned
// is called, which waits for its end.
func runPortal(ctx context.Context, p *portal.Portal, log *slog.Logger) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := p.Run(ctx); err != nil {
			log.Error("the portal's own work stopped", "error", err)
		}
	}()
	return func() { cancel(); <-done }
}

// openIndex opens the search index and keeps it up with the node until stop.
func openIndex(ctx context.Context, path string, from index.Source, log *slog.Logger) (*index.Index, func(), error) {
	st, err := from.Status(ctx)
	if err != nil {
		return nil, nil, err
	}
	x, err := index.Open(path, index.Options{Chain: st.Chain, Log: log})
	if err != nil {
		return nil, nil, fmt.Errorf("open the search index: %w", err)
	}
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := x.Follow(ctx, from); err != nil && ctx.Err() == nil {
			log.Error("the search index stopped", "error", err)
		}
	}()
	return x, func() {
		cancel()
		<-done
		if err := x.Close(); err != nil {
			log.Error("the search index did not close", "error", err)
		}
	}, nil
}

// defaultOrigin is where a browser on this machine reaches what listens on an
// address.
func defaultOrigin(listen string, tls bool) string {
	scheme := "http"
	if tls {
		scheme = "https"
	}
	_, port, err := net.SplitHostPort(listen)
	if err != nil || port == "0" || port == map[bool]string{false: "80", true: "443"}[tls] {
		return scheme + "://localhost"
	}
	return scheme + "://localhost:" + port
}

// languageTexts parses texts given as lang=text.
func languageTexts(given list) (map[string]string, error) {
	out := map[string]string{}
	for _, g := range given {
		lang, text, ok := strings.Cut(g, "=")
		if !ok || lang != "zh" && lang != "en" || text == "" {
			return nil, usagef("--site-name %q: want zh=TEXT or en=TEXT", g)
		}
		out[lang] = text
	}
	return out, nil
}

// parseGateways parses gateways given as code=address. Without any it returns nil.
func parseGateways(given list) (portal.Gateways, error) {
	if len(given) == 0 {
		return nil, nil
	}
	addresses := map[cityid.Code]string{}
	for _, g := range given {
		text, address, ok := strings.Cut(g, "=")
		party, err := cityid.Parse(text)
		if !ok || err != nil || party.IsZero() {
			return nil, usagef("--gateway %q: want a code and an address, such as MA.156.1301=http://127.0.0.1:9102", g)
		}
		if _, twice := addresses[party]; twice {
			return nil, usagef("--gateway %q: %s has one already", g, party)
		}
		addresses[party] = address
	}
	g, err := portal.NewHTTPGateways(addresses)
	if err != nil {
		return nil, usagef("--gateway: %v", err)
	}
	return g, nil
}
