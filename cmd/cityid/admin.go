// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"net/netip"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"cityid/internal/chain"
	"cityid/internal/web"
)

// admin answers whoever runs a node, on a listener of its own that only this machine
// reaches. It answers from before the node opens to the end.
//
//	/livez     200 as long as the process has no reason to end
//	/readyz    200 once the node has what it needs to answer others, else 503; both say why
//	/metrics   for Prometheus
//	/debug/pprof/...
type admin struct {
	home      string
	heartbeat time.Duration
	metrics   *prometheus.Registry
	node      atomic.Pointer[chain.Node] // once it is open, which checks the state
	answering atomic.Bool                // others are answered
}

// silence is how many heartbeats a node may be without a block and still count as
// ready; it is a minute at least.
const silence = 6

func newAdmin(home string, heartbeat time.Duration) *admin {
	a := &admin{home: home, heartbeat: heartbeat, metrics: prometheus.NewRegistry()}
	a.metrics.MustRegister(
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "cityid_disk_free_octets", Help: "Room left to this process on the disk of the node's folder."}, func() float64 {
			free, err := diskFree(home)
			if err != nil {
				return -1
			}
			return float64(free)
		}),
	)
	version := prometheus.NewGauge(prometheus.GaugeOpts{Name: "cityid_build_info", Help: "Always 1; the version is a label.", ConstLabels: prometheus.Labels{"version": version}})
	version.Set(1)
	a.metrics.MustRegister(version)
	return a
}

// opened tells it the node.
func (a *admin) opened(n *chain.Node) {
	a.node.Store(n)
	a.metrics.MustRegister(n.Collector())
}

// relays tells it what keeps the node's zone and the one above in step.
func (a *admin) relays(r *chain.Relay) {
	gauge := func(name, help string, value func(s *chain.RelayStatus) float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, func() float64 { s := r.Status(); return value(&s) })
	}
	a.metrics.MustRegister(
		gauge("cityid_checkpoint_height", "Height of this zone's last checkpoint in the zone above; 0 if it is not known.", func(s *chain.RelayStatus) float64 {
			if s.Checkpoint == nil {
				return 0
			}
			return float64(s.Checkpoint.Height)
		}),
		gauge("cityid_checkpoint_time_seconds", "Time of its header, in seconds since 1970; 0 if it is not known.", func(s *chain.RelayStatus) float64 {
			if s.Checkpoint == nil {
				return 0
			}
			return float64(s.Checkpoint.Time)
		}),
		gauge("cityid_followed_revision", "Revision of the apex's record in the zone above that was followed last.", func(s *chain.RelayStatus) float64 { return float64(s.Followed) }),
		gauge("cityid_zone_frozen", "1 if the zone above has frozen this one.", func(s *chain.RelayStatus) float64 { return oneIf(s.Frozen) }),
		gauge("cityid_relay_failing", "1 if the last look at the zone above failed.", func(s *chain.RelayStatus) float64 { return oneIf(s.Err != "") }),
	)
}

func oneIf(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// start answers on an address, which is one of loopback, until the returned function is called.
func (a *admin) start(ctx context.Context, address string, log *slog.Logger) (stop func() error, err error) {
	return startAdmin(ctx, address, a.handler(), log)
}

// startAdmin serves h on an address of loopback until the returned function is
// called.
func startAdmin(ctx context.Context, address string, h http.Handler, log *slog.Logger) (stop func() error, err error) {
	l, err := listen(ctx, address)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	done := make(chan error, 1)
	go func() { done <- web.Serve(ctx, web.NewServer(h, web.Limits{}, log), l, nil, time.Second) }()
	log.Info("answering those who run this", "address", l.Addr().String())
	return func() error {
		cancel()
		return <-done
	}, nil
}

// loopback checks that an address is one of this machine alone.
func loopback(address string) error {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return usagef("--admin-listen %q: want host:port, such as 127.0.0.1:26680", address)
	}
	if ip, err := netip.ParseAddr(host); host == "localhost" || err == nil && ip.IsLoopback() {
		return nil
	}
	return usagef("--admin-listen %s: want an address of loopback, such as 127.0.0.1:26680: what it tells is for this machine; let a proxy hand it on", address)
}

func (a *admin) handler() http.Handler { return ownHost(adminMux(a.metrics, a.live, a.ready)) }

// adminMux answers with what is told of every process that runs for long.
func adminMux(metrics *prometheus.Registry, live func() []condition, ready func(context.Context) []condition) *http.ServeMux {
	m := http.NewServeMux()
	m.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) { write(w, live()) })
	m.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) { write(w, ready(r.Context())) })
	m.Handle("GET /metrics", promhttp.HandlerFor(metrics, promhttp.HandlerOpts{}))
	m.HandleFunc("GET /debug/pprof/", pprof.Index)
	m.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	m.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	return m
}

// ownHost refuses requests for another host than this machine: a page in a browser
// here could otherwise have its own name lead to this listener, and read it.
func ownHost(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host := r.Host
		if h, _, err := net.SplitHostPort(host); err == nil {
			host = h
		}
		if ip, err := netip.ParseAddr(strings.Trim(host, "[]")); host != "localhost" && (err != nil || !ip.IsLoopback()) {
			http.Error(w, "this listener is for this machine alone: ask for localhost or 127.0.0.1", http.StatusMisdirectedRequest)
			return
		}
		h.ServeHTTP(w, r)
	})
}

// condition is one thing that must be so.
type condition struct {
	good bool
	text string
}

// write answers with all conditions, and 503 unless all are good.
func write(w http.ResponseWriter, list []condition) {
	status, b := http.StatusOK, new(strings.Builder)
	for _, c := range list {
		mark := "ok"
		if !c.good {
			mark, status = "no", http.StatusServiceUnavailable
		}
		fmt.Fprintf(b, "%s  %s\n", mark, c.text)
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write([]byte(b.String()))
}

// live says whether the process should go on.
func (a *admin) live() []condition {
	n := a.node.Load()
	if n == nil {
		return []condition{{true, "the node is being opened"}}
	}
	if err := n.Err(); err != nil {
		return []condition{{false, err.Error()}}
	}
	return []condition{{true, "the node runs"}}
}

// ready says whether the node answers others as it should.
func (a *admin) ready(ctx context.Context) []condition {
	n := a.node.Load()
	if n == nil {
		return []condition{{false, "the state is being read and checked against its last hash"}}
	}
	list := append(a.live(), condition{true, "the state was checked against its last hash"})
	s, err := n.Status(ctx)
	if err != nil {
		return append(list, condition{false, "there is no signed block yet: more than two thirds of the validators' power must run"})
	}
	age := time.Since(s.Time)
	most := max(time.Minute, silence*a.heartbeat)
	return append(list,
		condition{!s.CatchingUp, map[bool]string{true: fmt.Sprintf("blocks are fetched from others: block %d", s.Height), false: "no blocks are missing"}[s.CatchingUp]},
		condition{s.PeersFrom == 0, map[bool]string{true: "no peer let go what is needed", false: fmt.Sprintf("block %d was let go by all peers, which keep those from height %d on: name a peer that keeps all, or begin with a snapshot", s.Height+1, s.PeersFrom)}[s.PeersFrom == 0]},
		condition{age <= most, fmt.Sprintf("block %d is %s old, at most %s", s.Height, age.Round(time.Second), most)},
		condition{a.answering.Load(), map[bool]string{true: "others are answered", false: "the index and the pages are being opened"}[a.answering.Load()]},
	)
}
