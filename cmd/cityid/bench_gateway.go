// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"runtime/metrics"
	"sync"
	"sync/atomic"
	"time"

	"cityid"
	"cityid/internal/chain"
	"cityid/internal/share"
	"cityid/internal/web"
	"cityid/keys"
	"cityid/verify"
)

// gatewayBench measures fetches between two gateways on this machine: the node,
// both gateways, the service behind one and the clients in front of the other
// share it.
type gatewayBench struct {
	benchmark
	size    int
	large   int64
	clients int
	rate    int

	backend   string // address of the service
	fetch     string // address of the same through both gateways
	gateways  []*share.Gateway
	stop      []func()
	agreement cityid.Digest
}

func benchGateway(f *flags) func(context.Context, []string) error {
	b := &gatewayBench{}
	b.flags = f
	b.n = 1
	f.IntVar(&b.size, "size", 10_000, "octets of an answer")
	f.IntVar(&b.clients, "clients", 32, "applications that fetch at the same time")
	f.IntVar(&b.rate, "rate", 500, "fetches a second for the latencies at a steady load")
	f.Int64Var(&b.large, "large", 1<<30, "octets of one large answer; 0: none")
	f.DurationVar(&b.span, "seconds", 5*time.Second, "how long each workload lasts, such as 5s")
	f.StringVar(&b.dir, "data", "", "an empty `folder` on the disk to measure; a temporary one without it")
	return func(ctx context.Context, args []string) (err error) {
		if err := noArgs(args); err != nil {
			return err
		}
		if b.size < 1 || b.clients < 1 || b.clients > 1000 || b.rate < 1 || b.large < 0 || b.span < time.Second {
			return usagef("want at least 1 octet, 1 to 1000 clients, a rate of at least 1, and at least 1s")
		}
		if b.dir == "" {
			if b.dir, err = os.MkdirTemp("", "cityid-bench-"); err != nil {
				return err
			}
			defer os.RemoveAll(b.dir)
		}
		defer func() {
			for i := len(b.stop) - 1; i >= 0; i-- {
				b.stop[i]()
			}
		}()
		if err := b.measure(ctx); err != nil {
			return err
		}
		return b.report()
	}
}

func (b *gatewayBench) measure(ctx context.Context) error {
	for _, step := range []struct {
		what string
		do   func(context.Context) error
	}{
		{"founding two cities and their agreement", b.prepare},
		{"asking the service itself", func(ctx context.Context) error { return b.most(ctx, "service itself", b.backend) }},
		{"fetching through both gateways", func(ctx context.Context) error { return b.most(ctx, "through both gateways", b.fetch) }},
		{"fetching at a steady load", b.steady},
		{"fetching one large answer", b.oneLarge},
		{"anchoring what was fetched", b.anchor},
	} {
		b.talk("%s …", step.what)
		if err := step.do(ctx); err != nil {
			return fmt.Errorf("%s: %w", step.what, err)
		}
	}
	return nil
}

// side is one city of the benchmark.
type benchSide struct {
	code    cityid.Code
	officer cityid.Signer
	key     *keys.Private
	peer    net.Listener
	local   net.Listener
}

func newBenchSide(code string) (*benchSide, error) {
	s := &benchSide{code: cityid.MustParse(code)}
	officer, err := keys.Generate(keys.Ed25519, nil)
	if err != nil {
		return nil, err
	}
	s.officer = signerOf(officer)
	if s.key, err = keys.Generate(keys.Ed25519, nil); err != nil {
		return nil, err
	}
	if s.peer, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		return nil, err
	}
	s.local, err = net.Listen("tcp", "127.0.0.1:0")
	return s, err
}

func (s *benchSide) url() string { return "http://" + s.peer.Addr().String() }

func (s *benchSide) allocation() cityid.Allocation {
	return cityid.Allocation{
		Code: s.code, Kind: cityid.KindCity,
		Policy: &cityid.Policy{Threshold: 1, Members: []cityid.Member{{Keys: []cityid.Key{
			{Public: s.officer.Key, Roles: cityid.RoleControl}, {Public: cityid.PublicKey(s.key.Public().Raw()), Roles: cityid.RoleGateway},
		}}}},
		Content: cityid.Content{
			Names: cityid.NamesOf(map[string]string{"zh": "测试市", "en": "Test city"}),
			Links: []cityid.Link{{Rel: share.RelGateway, Href: s.url()}},
		},
	}
}

// prepare founds the chain, the two cities, a dataset and an agreement, and
// starts both gateways.
func (b *gatewayBench) prepare(ctx context.Context) error {
	give, err := newBenchSide("MA.156.1301")
	if err != nil {
		return err
	}
	take, err := newBenchSide("MA.156.1201")
	if err != nil {
		return err
	}
	class, dataset := cityid.MustParse("MA.156.1301/30.010101"), cityid.MustParse("MA.156.1301/30.010101/1")
	document := filepath.Join(b.dir, "document.json")
	description := []byte(`{}`)
	if err := errors.Join(os.MkdirAll(b.dir, 0o700), os.WriteFile(document, description, 0o600)); err != nil {
		return err
	}
	named := cityid.Content{Names: cityid.NamesOf(map[string]string{"zh": "测试", "en": "Test"})}
	apex, shared := named, named
	apex.Hosts = []string{"127.0.0.1"}
	shared.Dataset = &cityid.Dataset{Class: cityid.DatasetConditional, Document: sha256.Sum256(description)}
	records := []cityid.Allocation{
		{Code: cityid.MustParse("MA.156"), Kind: cityid.KindAuthority, Policy: give.allocation().Policy, Content: apex},
		take.allocation(), give.allocation(), {Code: class, Kind: cityid.KindClass}, {Code: dataset, Kind: cityid.KindDataset, Content: shared},
	}
	b.chain = chainID(records[0].Code)
	if err := foundLocal(filepath.Join(b.dir, "chain"), 1, func(v []cityid.Validator) *chain.Genesis {
		return newGenesis(b.chain, time.Now().Add(-time.Minute), records, v)
	}); err != nil {
		return err
	}
	if b.net, err = openLocal(ctx, filepath.Join(b.dir, "chain"), 1, slog.New(slog.DiscardHandler)); err != nil {
		return err
	}
	b.stop = append(b.stop, func() { b.net.stop() })
	if _, err := awaitBlock(ctx, b.net.nodes[0]); err != nil {
		return err
	}
	if err := b.agree(ctx, give, take, dataset, sha256.Sum256(description)); err != nil {
		return err
	}
	if err := b.serveBackend(ctx); err != nil {
		return err
	}
	provide := []share.DatasetConfig{{
		Code: dataset, Document: document, Backend: share.Backend{HTTP: b.backend[:len(b.backend)-len("/data")]},
		Paths: []share.PathRule{{Path: "/data"}, {Path: "/large"}},
	}}
	for i, s := range []*benchSide{give, take} {
		if i == 1 {
			provide = nil
		}
		if err := b.open(ctx, s, provide); err != nil {
			return err
		}
	}
	b.fetch = "http://" + take.local.Addr().String() + "/fetch/" + b.agreement.String() + "/data"
	// A gateway that is new takes no signature of its first seconds.
	return b.until(ctx, 30*time.Second, func() error { return get(ctx, http.DefaultClient, b.fetch) })
}

// until tries until something succeeds.
func (b *gatewayBench) until(ctx context.Context, most time.Duration, try func() error) error {
	for start := time.Now(); ; {
		err := try()
		if err == nil || time.Since(start) > most || ctx.Err() != nil {
			return err
		}
		time.Sleep(200 * time.Millisecond)
	}
}

// agree writes the agreement onto the chain.
func (b *gatewayBench) agree(ctx context.Context, give, take *benchSide, dataset cityid.Code, document cityid.Digest) error {
	now := cityid.TimeOf(time.Now())
	t := cityid.Terms{
		Dataset: dataset, Consumer: take.code, Document: document, From: now - 60, Until: now + 86400, Staleness: 60, Respond: now + 3600,
	}
	rand.Read(t.Nonce[:])
	rand.Read(t.Purpose[:])
	b.agreement = t.ID()
	for _, step := range []struct {
		by cityid.Signer
		op cityid.Operation
	}{
		{take.officer, cityid.Operation{AgreementRequest: &cityid.AgreementRequest{Terms: t}}},
		{give.officer, cityid.Operation{AgreementGrant: &cityid.AgreementDecision{Dataset: dataset, Agreement: b.agreement}}},
	} {
		tx, err := cityid.SignTx(cityid.Body{Chain: b.chain, Expires: now + 600, Operations: []cityid.Operation{step.op}}, step.by)
		if err != nil {
			return err
		}
		r, err := b.net.nodes[0].Submit(ctx, cityid.MustMarshal(tx), true)
		if err == nil {
			err = r.Err()
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// serveBackend serves random octets, as a city's own service would.
func (b *gatewayBench) serveBackend(ctx context.Context) error {
	body := make([]byte, b.size)
	rand.Read(body)
	mux := http.NewServeMux()
	mux.HandleFunc("/data", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/octet-stream")
		w.Write(body)
	})
	mux.HandleFunc("/large", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/octet-stream")
		chunk := make([]byte, 1<<20)
		for left := b.large; left > 0; left -= int64(len(chunk)) {
			chunk = chunk[:min(left, int64(len(chunk)))]
			if _, err := w.Write(chunk); err != nil {
				return
			}
		}
	})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	b.backend = "http://" + l.Addr().String() + "/data"
	return b.serve(ctx, mux, l)
}

func (b *gatewayBench) serve(ctx context.Context, h http.Handler, l net.Listener) error {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() {
		done <- web.Serve(ctx, web.NewServer(h, web.Limits{Write: 10 * time.Minute}, nil), l, nil, drain)
	}()
	b.stop = append(b.stop, func() { cancel(); <-done })
	return nil
}

// open starts a gateway.
func (b *gatewayBench) open(ctx context.Context, s *benchSide, provide []share.DatasetConfig) error {
	versions, err := b.net.nodes[0].Trust(ctx)
	if err != nil {
		return err
	}
	trust, err := verify.NewTrustFile(versions[0])
	if err != nil {
		return err
	}
	cfg := share.Config{
		Party: s.code, Log: "bench", URL: s.url(), Listen: s.peer.Addr().String(), Local: s.local.Addr().String(),
		Data: filepath.Join(b.dir, s.code.String()), Key: "-", Trust: "-", Nodes: []string{"-"}, PrivatePeers: true, Datasets: provide,
		Unacknowledged: 10_000, MaxBody: max(b.large, share.DefaultMaxBody), InFlight: min(10_000, 32*b.clients),
	}.WithDefaults()
	g, err := share.Open(ctx, cfg, share.Parts{
		Trust: trust, Nodes: []share.Node{b.net.nodes[0]}, Key: s.key, Peers: web.NewOutward(true, nil), Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		return err
	}
	run, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() { g.Run(run); close(done) }()
	b.stop = append(b.stop, func() { cancel(); <-done; g.Close() })
	b.gateways = append(b.gateways, g)
	return errors.Join(b.serve(ctx, web.Wrap(g.Peer(), web.WrapConfig{}), s.peer), b.serve(ctx, web.Wrap(g.Local(), web.WrapConfig{}), s.local))
}

// most asks as fast as the clients can.
func (b *gatewayBench) most(ctx context.Context, name, address string) error {
	n, times, err := load(ctx, b.span, b.clients, address, func() string { return "" })
	if err != nil {
		return err
	}
	b.add(withLatency(measure{
		Name: name, Rate: float64(n) / b.span.Seconds(), Unit: "fetches", Note: fmt.Sprintf("%d clients, %d octets", b.clients, b.size),
	}, times))
	return nil
}

// steady asks at a fixed rate, whatever the answers take, and measures from when
// each was due.
func (b *gatewayBench) steady(ctx context.Context) error {
	for _, w := range []struct{ name, address string }{{"service itself, steady", b.backend}, {"through both gateways, steady", b.fetch}} {
		times, err := b.paced(ctx, w.address)
		if err != nil {
			return err
		}
		b.add(withLatency(measure{Name: w.name, Rate: float64(b.rate), Unit: "fetches", Note: "as many as asked for; latency from when each was due"}, times))
	}
	return nil
}

func (b *gatewayBench) paced(ctx context.Context, address string) ([]time.Duration, error) {
	c := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: b.clients}}
	defer c.CloseIdleConnections()
	n := int(b.span.Seconds() * float64(b.rate))
	times, begin := make([]time.Duration, n), time.Now()
	var next atomic.Int64
	var failed atomic.Pointer[error]
	var wg sync.WaitGroup
	for range 4 * b.clients {
		wg.Go(func() {
			for ctx.Err() == nil && failed.Load() == nil {
				i := int(next.Add(1)) - 1
				if i >= n {
					return
				}
				due := begin.Add(time.Duration(i) * time.Second / time.Duration(b.rate))
				time.Sleep(time.Until(due))
				if err := get(ctx, c, address); err != nil {
					failed.Store(&err)
					return
				}
				times[i] = time.Since(due)
			}
		})
	}
	wg.Wait()
	if err := failed.Load(); err != nil {
		return nil, *err
	}
	return times, ctx.Err()
}

// oneLarge fetches one large answer and looks at the memory meanwhile.
func (b *gatewayBench) oneLarge(ctx context.Context) error {
	if b.large == 0 {
		return nil
	}
	runtime.GC()
	before, peak := heap(), atomic.Uint64{}
	ctx, cancel := context.WithCancel(ctx)
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		for ctx.Err() == nil {
			peak.Store(max(peak.Load(), heap()))
			time.Sleep(20 * time.Millisecond)
		}
	}()
	start := time.Now()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, b.fetch[:len(b.fetch)-len("data")]+"large", nil)
	if err != nil {
		cancel()
		return err
	}
	res, err := http.DefaultClient.Do(r)
	var n int64
	if err == nil {
		n, err = io.Copy(io.Discard, res.Body)
		res.Body.Close()
	}
	cancel()
	<-watched
	if err == nil && (n != b.large || res.StatusCode != http.StatusOK) {
		err = fmt.Errorf("%d octets came with status %s", n, res.Status)
	}
	if err != nil {
		return err
	}
	took := time.Since(start)
	b.add(measure{Name: "one large answer", Rate: float64(n) / took.Seconds() / 1e6, Unit: "MB", P50: took, Note: fmt.Sprintf("%d octets, spooled and digested on both sides", n)})
	b.add(measure{Name: "memory meanwhile", Bytes: int64(peak.Load()), Unit: "octets", Note: fmt.Sprintf("heap at most, all parts together; %d before", before)})
	return nil
}

// heap returns how many octets the heap holds.
func heap() uint64 {
	s := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	metrics.Read(s)
	return s[0].Value.Uint64()
}

// anchor measures how long it takes until all that was fetched is on the chain.
func (b *gatewayBench) anchor(ctx context.Context) error {
	start, n := time.Now(), uint64(0)
	for _, g := range b.gateways {
		if err := g.Anchor(ctx); err != nil {
			return err
		}
		n += g.Ledger().Stats().Entries
	}
	b.add(measure{Name: "anchoring what is left", P50: time.Since(start), Note: fmt.Sprintf("%d entries in all, %d not acknowledged", n, b.gateways[0].Ledger().Stats().Unacknowledged)})
	return nil
}
