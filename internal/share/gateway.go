// SPDX-License-Identifier: Apache-2.0

package share

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"cityid"
	"cityid/internal/ledger"
	"cityid/internal/web"
	"cityid/keys"
	"cityid/verify"
)

// Parts are what a gateway is made of besides its configuration.
type Parts struct {
	Trust   *verify.TrustFile
	Learned func(*verify.TrustFile) // told when versions of the trust root were learned; may be nil
	Nodes   []Node
	Key     *keys.Private // ed25519, with role gateway in the policy that governs the party
	Peers   *http.Client  // asks other gateways; see [web.NewOutward]
	Log     *slog.Logger
	Now     func() time.Time // nil: time.Now

	// Patience is how long a body may stand still on its way to or from others; 0:
	// DefaultPatience.
	Patience time.Duration
}

// Gateway is one instance: the provider's side towards other gateways, the
// consumer's side towards the city's own applications, and the work between
// them. Its methods may be called by several goroutines.
type Gateway struct {
	cfg       Config
	scheme    string // of cfg.URL
	authority string // of cfg.URL, as signatures have it
	view      *View
	ledger    *ledger.Ledger
	key       *keys.Private
	public    cityid.PublicKey
	keyID     string
	datasets  map[cityid.Code]*dataset
	peers     *http.Client
	openLimit *web.Limiter // of open data
	slots     *web.Slots
	refusals  refusals
	patience  time.Duration
	logger    *slog.Logger
	now       func() time.Time
	acks      *acknowledger
	localMux  *http.ServeMux
	names     names
	lookups   *web.Limiter // of agreements that nodes have to be asked about, by strangers
	followers map[ledger.Feed]*follower
	streams   *web.Slots
	catalogue knownCatalogue
	work      sync.WaitGroup
}

// Open opens a gateway: its receipt log, its datasets and their backends. The
// configuration must have been checked, with defaults filled in. The caller
// serves [Gateway.Peer] and [Gateway.Local], calls [Gateway.Run], and at the end
// [Gateway.Close].
func Open(ctx context.Context, cfg Config, p Parts) (_ *Gateway, err error) {
	if err := cfg.Check(); err != nil {
		return nil, fmt.Errorf("gateway: %w", err)
	}
	if p.Now == nil {
		p.Now = time.Now
	}
	if p.Key.Public().Algorithm() != keys.Ed25519 {
		return nil, errors.New("gateway: its key must be an ed25519 key")
	}
	u, err := url.Parse(cfg.URL)
	if err != nil {
		return nil, fmt.Errorf("gateway: %w", err)
	}
	g := &Gateway{
		cfg: cfg, scheme: u.Scheme, authority: authorityOf(u), key: p.Key, public: cityid.PublicKey(p.Key.Public().Raw()),
		view:      NewView(p.Trust, p.Nodes, p.Now, p.Learned, p.Log),
		datasets:  map[cityid.Code]*dataset{},
		peers:     p.Peers,
		openLimit: web.NewLimiter(web.LimiterConfig{Every: 20 * time.Millisecond, Burst: 200, Clients: 100_000}),
		lookups:   web.NewLimiter(web.LimiterConfig{Every: 100 * time.Millisecond, Burst: 50, Clients: 100_000}),
		slots:     web.NewSlots(cfg.InFlight), logger: p.Log, now: p.Now, patience: cmp.Or(p.Patience, DefaultPatience),
	}
	g.keyID = g.public.String()
	g.acks = newAcknowledger(g)
	g.localMux = g.localRoutes()
	g.followers, g.streams = newFollowers(g), web.NewSlots(maxStreams)
	for i := range cfg.Datasets {
		d, err := openDataset(&cfg.Datasets[i])
		if err != nil {
			return nil, fmt.Errorf("dataset %s: %w", cfg.Datasets[i].Code, err)
		}
		g.datasets[d.code] = d
	}
	g.ledger, err = ledger.Open(ctx, ledger.Options{
		Dir: cfg.Data, Party: cfg.Party, Log: cfg.Log, Now: p.Now,
		BatchAge: time.Duration(cfg.BatchTime), BatchSize: cfg.BatchLeaves, Skew: fetchProfile.Skew(),
	})
	if err != nil {
		return nil, fmt.Errorf("gateway: %w", err)
	}
	return g, nil
}

// authorityOf writes a URL's authority as RFC 9421 does: lower case, without the
// scheme's own port.
func authorityOf(u *url.URL) string {
	a := strings.ToLower(u.Host)
	if u.Scheme == "https" {
		return strings.TrimSuffix(a, ":443")
	}
	return strings.TrimSuffix(a, ":80")
}

// View returns what the gateway knows of the chain.
func (g *Gateway) View() *View { return g.view }

// Ledger returns the gateway's receipt log.
func (g *Gateway) Ledger() *ledger.Ledger { return g.ledger }

// Run keeps agreements fresh, sends acknowledgements, anchors batches, follows
// feeds and erases what is old, until ctx ends. What is under way is finished.
func (g *Gateway) Run(ctx context.Context) {
	for _, job := range []func(context.Context){g.view.Refresh, g.acks.run, g.anchor, g.retain, g.follow} {
		g.work.Go(func() { job(ctx) })
	}
	g.work.Wait()
}

// Close frees the gateway's folder. Run must have returned.
func (g *Gateway) Close() error { return g.ledger.Close() }

// Peer answers other gateways, and whoever reads open data and descriptions.
func (g *Gateway) Peer() http.Handler {
	return web.Endpoint(func(w http.ResponseWriter, r *http.Request) error {
		release, err := g.slots.Take(web.ClientAddr(r))
		if err != nil {
			return err
		}
		defer release()
		path, _, _ := strings.Cut(r.RequestURI, "?")
		for _, route := range []struct {
			prefix string
			serve  http.Handler
		}{
			{"/data/", web.Endpoint(g.serveData)}, {"/acknowledgements", post(g.takeAcknowledgement)}, {"/purposes", post(g.takePurpose)},
			{"/proofs", post(g.giveProofs)}, {"/catalogue", get(g.serveCatalogue)}, {"/datasets/", get(g.serveDocument)},
			{"/schemas/", get(g.serveDocument)}, {"/policies/", get(g.serveDocument)},
		} {
			if path == route.prefix || strings.HasSuffix(route.prefix, "/") && strings.HasPrefix(path, route.prefix) {
				route.serve.ServeHTTP(w, r)
				return nil
			}
		}
		return web.NotFound(w, r)
	})
}

func get(f web.Endpoint) http.Handler { return web.Methods{http.MethodGet: f} }

func post(f web.Endpoint) http.Handler { return web.Methods{http.MethodPost: f} }

// maxStreams is how many applications may follow feeds at a time.
const maxStreams = 256

// every calls f at once and then every so often until ctx ends.
func every(ctx context.Context, d time.Duration, f func()) {
	t := time.NewTicker(d)
	defer t.Stop()
	for {
		f()
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
	}
}
