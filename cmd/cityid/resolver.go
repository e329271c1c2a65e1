// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"cityid/client"
	"cityid/internal/web"
	"cityid/verify"
)

func resolverCommand() *command {
	return &command{
		name: "resolver", short: "answer for the codes of all zones below a trust root, without a chain of its own",
		long: "It finds each code in the zone that answers for it, checks the proofs, keeps answers for a while, and passes\n" +
			"them on with their proofs. Whoever asks it need not trust it. docs/resolver.md has all settings.",
		examples: []string{
			"cityid resolver --trust trust.json --root https://id.example.cn",
			"cityid resolver --trust trust.json --root https://a.example --root https://b.example --listen :8443 --tls-cert cert.pem --tls-key key.pem --admin-listen 127.0.0.1:26690",
		},
		setup: runResolver,
	}
}

// resolverFlags are the settings of a resolver.
type resolverFlags struct {
	trust     trustFlag
	zones     client.ZonesConfig
	roots     list
	cache     int
	listen    string
	cert, key string
	asks      int
	proxies   string
	admin     string
	level     string
	jsonLog   bool
}

func (r *resolverFlags) setup(f *flags) {
	c := &r.zones
	r.trust.setup(f)
	f.Var(&r.roots, "root", "`address` of a server of the trust root's zone; several times. Without it, that of --node")
	f.StringVar(&r.listen, "listen", "127.0.0.1:8090", "`address` on which to answer over HTTP")
	f.StringVar(&r.cert, "tls-cert", "", "PEM `file` with the TLS certificate; it is read again when it changes")
	f.StringVar(&r.key, "tls-key", "", "PEM `file` with its private key")
	f.BoolVar(&c.Private, "private-zones", false, "also ask servers of zones that are on this machine or in private networks, where the zones above say so")
	f.DurationVar(&c.Fresh, "fresh", 30*time.Second, "how long an answer is given out without asking again; up to twice that, while it is asked for again")
	f.DurationVar(&c.ZoneFresh, "zone-fresh", time.Minute, "the same for what is known of zones and their servers")
	f.DurationVar(&c.MaxAge, "max-age", verify.DefaultMaxAge, "how old an answer may be if no server can be reached")
	f.IntVar(&r.cache, "cache", 64, "`MiB` of answers and zones to keep")
	f.DurationVar(&c.Timeout, "timeout", 10*time.Second, "how long one server may take for an answer")
	f.DurationVar(&c.Hedge, "hedge", 500*time.Millisecond, "how long to wait for a server before the next is asked as well")
	f.IntVar(&c.Concurrent, "zone-concurrent", 32, "questions to one zone at a time")
	f.IntVar(&c.Rate, "zone-rate", 200, "questions to one zone in a second")
	f.IntVar(&r.asks, "questions-per-second", 500, "questions a second that one client may ask; 0 for no limit")
	f.StringVar(&r.proxies, "trusted-proxies", "", "`networks` of proxies whose X-Forwarded-For is believed")
	f.StringVar(&r.admin, "admin-listen", "", "`address` of loopback on which to tell whoever runs it how it is: /livez, /readyz, /zones, /metrics, /debug/pprof")
	f.StringVar(&r.level, "log-level", "info", "debug, info, warn or error")
	f.BoolVar(&r.jsonLog, "log-json", false, "write the log as JSON lines")
}

// check completes the settings, and refuses what can not be.
func (r *resolverFlags) check(f *flags) (err error) {
	c := &r.zones
	for _, s := range []struct {
		name string
		n    int64
	}{
		{"fresh", int64(c.Fresh)}, {"zone-fresh", int64(c.ZoneFresh)}, {"max-age", int64(c.MaxAge)}, {"timeout", int64(c.Timeout)},
		{"hedge", int64(c.Hedge)}, {"zone-concurrent", int64(c.Concurrent)}, {"zone-rate", int64(c.Rate)}, {"cache", int64(r.cache)},
	} {
		if s.n <= 0 {
			return usagef("--%s: want more than 0", s.name)
		}
	}
	switch {
	case c.MaxAge > verify.DefaultMaxAge:
		return usagef("--max-age %s: at most %s, since nobody takes older answers", c.MaxAge, verify.DefaultMaxAge)
	case c.Rate > 1_000_000 || c.Concurrent > 10_000 || r.cache > 1<<20:
		return usagef("--zone-rate is at most 1000000, --zone-concurrent 10000, and --cache 1048576")
	case r.asks < 0 || r.asks > 1_000_000:
		return usagef("--questions-per-second %d: want 0 to 1000000", r.asks)
	case (r.cert == "") != (r.key == ""):
		return usagef("--tls-cert and --tls-key go together")
	case r.admin != "":
		if err := loopback(r.admin); err != nil {
			return err
		}
	}
	if c.Roots = r.roots; len(c.Roots) == 0 {
		c.Roots = []string{f.node}
	}
	c.Cache = int64(r.cache) << 20
	c.Authorities, err = authorities(f.trusts)
	return err
}

func runResolver(f *flags) func(context.Context, []string) error {
	var r resolverFlags
	r.setup(f)
	return func(ctx context.Context, args []string) error {
		if err := noArgs(args); err != nil {
			return err
		}
		if err := r.check(f); err != nil {
			return err
		}
		log, err := f.logger(r.level, r.jsonLog)
		if err != nil {
			return err
		}
		if r.zones.Trust, err = r.trust.required(ctx); err != nil {
			return err
		}
		r.zones.Learned = r.trust.keep(log)
		zones, err := client.NewZones(r.zones)
		if err != nil {
			return usageError{err}
		}
		return r.serve(ctx, f, zones, log)
	}
}

// serve answers until ctx ends.
func (r *resolverFlags) serve(ctx context.Context, f *flags, zones *client.Zones, log *slog.Logger) error {
	proxies, err := parseProxies(r.proxies)
	if err != nil {
		return err
	}
	apex := r.zones.Trust.Latest().Statement.Zone
	h, err := resolverHandler(zones, apex, r.asks, log)
	if err != nil {
		return err
	}
	var cert *web.Certificate
	if r.cert != "" {
		if cert, err = web.LoadCertificate(r.cert, r.key, log); err != nil {
			return err
		}
	}
	tell := newResolverAdmin(zones, apex)
	if r.admin != "" {
		stop, err := startAdmin(ctx, r.admin, tell.handler(), log)
		if err != nil {
			return err
		}
		defer func() { _ = stop() }()
	}
	l, err := listen(ctx, r.listen)
	if err != nil {
		return err
	}
	tell.answering.Store(true)
	f.talk("the resolver for %s answers at %s", apex, publicAddress(l.Addr(), cert != nil))
	err = web.Serve(ctx, web.NewServer(web.Wrap(h, web.WrapConfig{Log: log, Proxies: proxies}), web.Limits{}, log), l, cert, drain)
	if ctx.Err() != nil {
		f.talk("stopped")
	}
	return err
}

// keep returns what keeps the trust file when it has grown, unless the file has
// grown further meanwhile, or was given up for another one.
func (t *trustFlag) keep(log *slog.Logger) func(*verify.TrustFile) error {
	return func(grown *verify.TrustFile) error {
		now, err := t.load(context.Background())
		switch {
		case err != nil:
			err = fmt.Errorf("the trust file can not be read again, and is left as it is: %w", err)
		case now == nil || now.Pinned() != grown.Pinned():
			err = errors.New("the trust file is gone or pins another version by now, and is left as it is: start the resolver anew")
		case now.Latest().Statement.Version < grown.Latest().Statement.Version:
			err = writeTrust(t.file(), grown)
		}
		if err != nil {
			log.Error("a new version of the trust root was not kept", "version", grown.Latest().Statement.Version, "error", err)
			return err
		}
		log.Info("the trust root has a new version", "version", grown.Latest().Statement.Version)
		return nil
	}
}
