// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"cityid"
	"cityid/client"
	"cityid/internal/api"
	"cityid/internal/resolve"
	"cityid/internal/web"
)

// resolverHandler answers as a node does, as far as answers can be proven.
func resolverHandler(zones *client.Zones, apex cityid.Code, asks int, log *slog.Logger) (http.Handler, error) {
	var limit *web.Limiter
	if asks > 0 {
		limit = web.NewLimiter(web.LimiterConfig{Every: time.Second / time.Duration(asks), Burst: 2 * asks, Clients: 100_000})
	}
	from := discreet{zones, log}
	codes, err := resolve.Handler(resolve.Config{Source: from, Roots: []cityid.Code{apex}, Try: []string{"/v1/resolver"}})
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.Handle("/v1/", api.ProvenHandler(from, limit))
	mux.Handle("/v1/resolver", web.Public(web.Methods{http.MethodGet: limit.Limit(func(w http.ResponseWriter, r *http.Request) error {
		if _, err := web.Negotiate(r, web.JSONType); err != nil {
			return err
		}
		return web.WriteJSON(w, r, http.StatusOK, publicStatus(zones))
	})}))
	mux.Handle("/", limit.Limit(func(w http.ResponseWriter, r *http.Request) error {
		codes.ServeHTTP(w, r)
		return nil
	}))
	return mux, nil
}

// publicStatus is how the zones are, for everybody: without where the root is
// asked, and without what went wrong, which may name addresses inside.
func publicStatus(zones *client.Zones) client.ZonesStatus {
	s := zones.Status()
	s.KeepError = ""
	for i := range s.Zones {
		if s.Zones[i].Frozen != "" {
			s.Zones[i].Frozen = "frozen"
		}
		for j := range s.Zones[i].Servers {
			server := &s.Zones[i].Servers[j]
			if server.Last = ""; i == 0 {
				server.Address = ""
			}
		}
	}
	return s
}

// discreet is a source whose errors do not tell strangers which addresses were
// asked and what they said; the log has that.
type discreet struct {
	zones *client.Zones
	log   *slog.Logger
}

func (d discreet) hide(err error) error {
	var e *client.ZoneError
	if !errors.As(err, &e) {
		return err
	}
	d.log.Warn("no proven answer", "error", err)
	switch e.Code {
	case cityid.ErrRetry:
		return cityid.Errorf(e.Code, "the zone of %s (chain %s), or one below it, is frozen: its validators signed two headers at one height", e.Zone, e.Chain)
	case cityid.ErrFull:
		return cityid.Errorf(e.Code, "too many questions to the zone of %s wait: ask again later", e.Zone)
	case cityid.ErrUnavailable:
		return cityid.Errorf(e.Code, "of %d servers of the zone of %s (chain %s) none gave an answer that proves itself: ask again later", len(e.Servers), e.Zone, e.Chain)
	}
	return cityid.Errorf(e.Code, "the servers of the zone of %s (chain %s) refuse the question", e.Zone, e.Chain)
}

func (d discreet) Record(ctx context.Context, code cityid.Code) (*cityid.RecordAnswer, error) {
	a, err := d.zones.Record(ctx, code)
	return a, d.hide(err)
}

func (d discreet) Children(ctx context.Context, q cityid.ChildrenQuery) (*cityid.RecordPage, error) {
	a, err := d.zones.Children(ctx, q)
	return a, d.hide(err)
}

func (d discreet) History(ctx context.Context, code cityid.Code) (*cityid.HistoryAnswer, error) {
	a, err := d.zones.History(ctx, code)
	return a, d.hide(err)
}

func (d discreet) Bundle(ctx context.Context, q cityid.BundleQuery) ([]byte, error) {
	b, err := d.zones.Bundle(ctx, q)
	return b, d.hide(err)
}

func (d discreet) Trust(ctx context.Context) ([]cityid.Trust, error) { return d.zones.Trust(ctx) }

// resolverAdmin tells whoever runs a resolver how it is.
type resolverAdmin struct {
	zones     *client.Zones
	apex      cityid.Code
	answering atomic.Bool
	metrics   *prometheus.Registry
}

func newResolverAdmin(zones *client.Zones, apex cityid.Code) *resolverAdmin {
	a := &resolverAdmin{zones: zones, apex: apex, metrics: prometheus.NewRegistry()}
	a.metrics.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), a)
	return a
}

func (a *resolverAdmin) handler() http.Handler {
	m := adminMux(a.metrics, func() []condition { return []condition{{true, "the resolver runs"}} }, a.ready)
	m.HandleFunc("GET /zones", func(w http.ResponseWriter, r *http.Request) {
		if err := web.WriteJSON(w, r, http.StatusOK, a.zones.Status()); err != nil {
			web.WriteError(w, r, err)
		}
	})
	return ownHost(m)
}

// ready says whether the trust root's zone is reached and proves itself.
func (a *resolverAdmin) ready(ctx context.Context) []condition {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	list := []condition{{a.answering.Load(), "the listener stands"}}
	if _, err := a.zones.Record(ctx, a.apex); err != nil {
		return append(list, condition{false, oneLine(err.Error())})
	}
	return append(list, condition{true, "the record of " + a.apex.String() + " is proven"})
}

// Describe sends all descriptions.
func (a *resolverAdmin) Describe(to chan<- *prometheus.Desc) { prometheus.DescribeByCollect(a, to) }

// Collect sends all metrics.
func (a *resolverAdmin) Collect(to chan<- prometheus.Metric) {
	s := a.zones.Status()
	send := func(kind prometheus.ValueType, name, help string, n float64, labels ...string) {
		var names, values []string
		for i := 0; i < len(labels); i += 2 {
			names, values = append(names, labels[i]), append(values, labels[i+1])
		}
		to <- prometheus.MustNewConstMetric(prometheus.NewDesc("cityid_resolver_"+name, help, names, nil), kind, n, values...)
	}
	const questions = "Questions, by what answered them: kept answers (hit), kept ones while they were asked for again (stale), or servers (miss)."
	send(prometheus.CounterValue, "questions_total", questions, float64(s.Hits), "from", "hit")
	send(prometheus.CounterValue, "questions_total", questions, float64(s.Stale), "from", "stale")
	send(prometheus.CounterValue, "questions_total", questions, float64(s.Misses), "from", "miss")
	send(prometheus.CounterValue, "requests_total", "Requests to servers of zones.", float64(s.Requests))
	send(prometheus.CounterValue, "failures_total", "Servers of zones that gave no answer that proves itself.", float64(s.Failures))
	send(prometheus.CounterValue, "fallbacks_total", "Questions answered with an older answer since no server gave one.", float64(s.Fallbacks))
	send(prometheus.GaugeValue, "kept_octets", "Octets of answers and zones that are kept.", float64(s.Octets))
	send(prometheus.GaugeValue, "zones", "Zones that are known.", float64(len(s.Zones)))
	send(prometheus.GaugeValue, "waiting", "Questions that wait for servers.", float64(s.Waiting))
	send(prometheus.GaugeValue, "trust_version", "Latest version of the trust root that is known.", float64(s.Trust))
}
