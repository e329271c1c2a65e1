// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"cityid"
	"cityid/internal/chain"
	"cityid/keys"
)

func benchCommand() *command {
	return &command{
		name: "bench", short: "measure this machine on a temporary chain",
		long:     "Validators, clients and server share the machine, and every validator writes to a real disk. Read the\nfigures as ratios to one another: they vary with the machine and with what else it does.",
		examples: []string{"cityid bench", "cityid bench --compare --workload single --workload read", "cityid bench --validators 4 --records 50000 --seconds 5s --format json"},
		setup:    bench,
		sub: []*command{{
			name: "gateway", short: "measure fetches between two gateways beside the service itself",
			long:     "The node, both gateways, the service behind one and the clients in front of the other share this\nmachine, and both gateways write their receipts to a real disk.",
			examples: []string{"cityid bench gateway", "cityid bench gateway --clients 16 --rate 500 --large 0"},
			setup:    benchGateway,
		}},
	}
}

// benchmark is one run: a network, and who may write to it.
type benchmark struct {
	*flags
	dir     string
	n       int
	records int
	span    time.Duration
	net     *localNetwork
	chain   string
	officer cityid.Signer
	class   cityid.Code
	profile string
	only    list
	compare bool
	results []measure
}

// measure is one figure.
type measure struct {
	Name  string        `json:"name"`
	Rate  float64       `json:"rate,omitempty"` // a second
	Unit  string        `json:"unit,omitempty"`
	P50   time.Duration `json:"p50_ns,omitempty"`
	P90   time.Duration `json:"p90_ns,omitempty"`
	P99   time.Duration `json:"p99_ns,omitempty"`
	P999  time.Duration `json:"p999_ns,omitempty"`
	Max   time.Duration `json:"max_ns,omitempty"`
	Ratio float64       `json:"ratio,omitempty"` // of the rate to that of a yardstick in the same run
	Of    string        `json:"of,omitempty"`    // the yardstick
	Note  string        `json:"note,omitempty"`
	Bytes int64         `json:"bytes,omitempty"`
	Curve []moment      `json:"curve,omitempty"`
}

func bench(f *flags) func(context.Context, []string) error {
	b := &benchmark{flags: f}
	f.IntVar(&b.n, "validators", 1, "how many validators share this machine")
	f.IntVar(&b.records, "records", 100_000, "how many codes to allocate in batches")
	f.DurationVar(&b.span, "seconds", 5*time.Second, "how long each of the other workloads lasts, such as 5s")
	f.Var(&b.only, "workload", "a `name` of a workload to run beside allocating in batches: single, latency, read, resolver, mixed, catch-up, restart; several times; all without it")
	f.BoolVar(&b.compare, "compare", false, "in the same run, measure the engine with its example application instead of the registry, and say the ratios")
	f.StringVar(&b.profile, "cpu-profile", "", "`file` for a profile of the processor's time, for go tool pprof")
	f.StringVar(&b.dir, "data", "", "an empty `folder` on the disk to measure; a temporary one without it")
	return func(ctx context.Context, args []string) (err error) {
		if err := noArgs(args); err != nil {
			return err
		}
		if b.n < 1 || b.n > 16 || b.records < 1000 || b.span < time.Second {
			return usagef("want 1 to 16 validators, at least 1000 records and at least 1s")
		}
		for _, name := range b.only {
			if !slices.ContainsFunc(b.steps(), func(s benchStep) bool { return s.name == name }) {
				return usagef("--workload %s: want single, latency, read, resolver, mixed, catch-up or restart", name)
			}
		}
		if b.dir == "" {
			if b.dir, err = os.MkdirTemp("", "cityid-bench-"); err != nil {
				return err
			}
			defer os.RemoveAll(b.dir)
		}
		stop, err := profileTo(b.profile)
		if err != nil {
			return err
		}
		if err := errors.Join(b.run(ctx), stop()); err != nil {
			return err
		}
		return b.report()
	}
}

// profileTo writes a profile of the processor's time into a file, unless it is "",
// until the returned function is called.
func profileTo(name string) (stop func() error, err error) {
	if name == "" {
		return func() error { return nil }, nil
	}
	file, err := os.Create(name)
	if err != nil {
		return nil, err
	}
	if err := pprof.StartCPUProfile(file); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return func() error {
		pprof.StopCPUProfile()
		return file.Close()
	}, nil
}

func (b *benchmark) run(ctx context.Context) (err error) {
	if err := b.found(ctx); err != nil {
		return err
	}
	defer func() {
		if b.net != nil {
			err = errors.Join(err, b.net.stop())
		}
	}()
	for _, step := range b.steps() {
		if !step.always && len(b.only) > 0 && !slices.Contains(b.only, step.name) {
			continue
		}
		b.talk("%s: %s …", step.name, step.what)
		if err := step.do(ctx); err != nil {
			return fmt.Errorf("%s: %w", step.what, err)
		}
	}
	return nil
}

// benchStep is one workload.
type benchStep struct {
	name, what string
	always     bool // others need what it leaves behind
	do         func(context.Context) error
}

func (b *benchmark) steps() []benchStep {
	out := []benchStep{
		{"batch", "allocating in batches of 500", true, b.batches},
		{"single", "allocating one at a time", false, b.singles},
		{"latency", "waiting for one proof at a time", false, b.latency},
		{"read", "answering over HTTP", false, b.answers},
		{"resolver", "answering through a resolver", false, b.resolver},
		{"mixed", "answering, and carrying out one transaction for each 19 answers", false, b.mixed},
		{"catch-up", "bringing a new replica up by all blocks", false, b.catchUp},
		{"restart", "starting again", false, b.restart},
	}
	if b.compare {
		out = slices.Insert(out, 0, benchStep{"engine", "the engine with its example application", true, b.engine})
	}
	return out
}

// found founds a network whose apex one officer controls, and a city,
// department and class to put objects in.
func (b *benchmark) found(ctx context.Context) error {
	k, err := keys.Generate(keys.Ed25519, nil)
	if err != nil {
		return err
	}
	b.officer = signerOf(k)
	b.class = cityid.MustParse("MA.156.1301.01/20.010501")
	records := b.founders()
	b.chain = chainID(records[0].Code)
	err = foundLocal(b.dir, b.n, func(v []cityid.Validator) *chain.Genesis {
		return newGenesis(b.chain, time.Now(), records, v)
	})
	if errors.Is(err, fs.ErrExist) {
		return hint(exitError{exitConflict, err}, "measure in an empty folder")
	}
	if err != nil {
		return err
	}
	b.net, err = openLocal(ctx, b.dir, b.n, slog.New(slog.DiscardHandler))
	return err
}

// founders are the records that a network is founded with.
func (b *benchmark) founders() []cityid.Allocation {
	policy := &cityid.Policy{Threshold: 1, Members: []cityid.Member{{Keys: []cityid.Key{{Public: b.officer.Key, Roles: cityid.RoleControl}}}}}
	named := cityid.Content{Names: cityid.NamesOf(map[string]string{"zh": "测试", "en": "Test"})}
	return []cityid.Allocation{
		{Code: cityid.MustParse("MA.156"), Kind: cityid.KindAuthority, Policy: policy, Content: named},
		{Code: cityid.MustParse("MA.156.1301"), Kind: cityid.KindCity, Content: named},
		{Code: cityid.MustParse("MA.156.1301.01"), Kind: cityid.KindDepartment, Content: named},
		{Code: b.class, Kind: cityid.KindClass},
	}
}

// allocation describes the object with number n: about 300 octets as a record.
func (b *benchmark) allocation(kind string, n int) cityid.Allocation {
	return cityid.Allocation{
		Code: cityid.MustParse(fmt.Sprintf("%s/%s%08d", b.class, kind, n)), Kind: cityid.KindObject,
		Content: cityid.Content{
			Names:    cityid.Names{{Lang: "en", Text: fmt.Sprintf("Lamp post %d, Zhongshan Road", n)}, {Lang: "zh", Text: fmt.Sprintf("中山路路灯%d号", n)}},
			Location: &cityid.Location{Lat: 380_454_740 + int32(n%10_000), Lon: 1_145_024_610 + int32(n/10_000)},
		},
		Aliases: []cityid.Alias{{Scheme: "asset", Value: fmt.Sprintf("LD-%s-%08d", kind, n)}},
	}
}

func (b *benchmark) sign(items ...cityid.Allocation) ([]byte, error) {
	return b.signFor(50*time.Minute, items...)
}

func (b *benchmark) signFor(life time.Duration, items ...cityid.Allocation) ([]byte, error) {
	tx, err := cityid.SignTx(cityid.Body{
		Chain: b.chain, Expires: cityid.TimeOf(time.Now().Add(life)),
		Operations: []cityid.Operation{{Allocate: &cityid.Allocate{Items: items}}},
	}, b.officer)
	if err != nil {
		return nil, err
	}
	return cityid.MustMarshal(tx), nil
}

// batches allocates the records 500 to a transaction, signed beforehand, with 32
// transactions in flight.
func (b *benchmark) batches(ctx context.Context) error {
	var txs [][]byte
	for at := 0; at < b.records; at += 500 {
		var items []cityid.Allocation
		for n := at; n < min(at+500, b.records); n++ {
			items = append(items, b.allocation("B", n))
		}
		tx, err := b.sign(items...)
		if err != nil {
			return err
		}
		txs = append(txs, tx)
	}
	took, _, err := b.submitAll(ctx, txs, 32)
	if err != nil {
		return err
	}
	b.add(measure{Name: "allocate, batches of 500", Rate: float64(b.records) / took.Seconds(), Unit: "codes", Note: fmt.Sprintf("%d codes, 32 batches in flight, each awaited until provable", b.records)})
	size, err := folderSize(filepath.Join(localHome(b.dir, 0)))
	if err != nil {
		return err
	}
	b.add(measure{Name: "disk", Bytes: size / int64(b.records), Unit: "bytes a record", Note: "state, blocks and logs, before compaction"})
	return nil
}

// singles allocates one code to a transaction, as many as the time allows of a
// prepared stock, with many clients at once.
func (b *benchmark) singles(ctx context.Context) error {
	stock := int(b.span.Seconds()) * 2000
	txs := make([][]byte, stock)
	for n := range txs {
		tx, err := b.sign(b.allocation("S", n))
		if err != nil {
			return err
		}
		txs[n] = tx
	}
	took, times, err := b.submitAll(ctx, txs, 1024)
	if err != nil {
		return err
	}
	m := measure{Name: "allocate, single transactions", Rate: float64(stock) / took.Seconds(), Unit: "transactions", Note: "1024 clients, each awaiting its proof"}
	b.add(b.against(withLatency(m, times), engineName))
	return nil
}

// latency submits one transaction at a time to an idle network.
func (b *benchmark) latency(ctx context.Context) error {
	var txs [][]byte
	for n := range 100 {
		tx, err := b.sign(b.allocation("L", n))
		if err != nil {
			return err
		}
		txs = append(txs, tx)
	}
	_, times, err := b.submitAll(ctx, txs, 1)
	if err != nil {
		return err
	}
	b.add(withLatency(measure{Name: "submit until provable, idle", Note: "100 transactions, one after the other"}, times))
	return nil
}

// submitAll submits all transactions with so many clients and waits until each
// is provable.
func (b *benchmark) submitAll(ctx context.Context, txs [][]byte, clients int) (time.Duration, []time.Duration, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	times := make([]time.Duration, len(txs))
	var next atomic.Int64
	var wg sync.WaitGroup
	begin := time.Now()
	for range clients {
		wg.Go(func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= len(txs) || ctx.Err() != nil {
					return
				}
				start := time.Now()
				r, err := b.net.nodes[0].Submit(ctx, txs[i], true)
				if err == nil {
					err = r.Err()
				}
				if err != nil {
					cancel(err)
					return
				}
				times[i] = time.Since(start)
			}
		})
	}
	wg.Wait()
	return time.Since(begin), times, context.Cause(ctx)
}

// restart measures how long the first node takes to check its whole state and
// answer again, and what memory it holds.
func (b *benchmark) restart(context.Context) error {
	err := b.net.stop()
	b.net = nil
	if err != nil {
		return err
	}
	runtime.GC() // twice: what the first finalizes is freed by the second
	runtime.GC()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	start := time.Now()
	n, err := chain.Open(chain.Config{Home: localHome(b.dir, 0), Listen: "127.0.0.1:0"})
	if err != nil {
		return err
	}
	took := time.Since(start)
	runtime.GC()
	runtime.ReadMemStats(&after)
	s, err := n.Status(context.Background())
	if err != nil {
		return errors.Join(err, n.Stop())
	}
	b.add(measure{Name: "start, with the integrity check", P50: took, Note: fmt.Sprintf("%d entries in the state tree", s.Records)})
	b.add(measure{Name: "memory", Bytes: int64(after.HeapAlloc-min(before.HeapAlloc, after.HeapAlloc)) / int64(s.Records), Unit: "bytes of heap an entry", Note: "after the start, without Pebble's cache"})
	return n.Stop()
}

func (b *benchmark) add(m measure) {
	b.results = append(b.results, m)
	b.talk("  %s", m.text())
}

func (m *measure) text() string {
	s := m.Name + ":"
	if m.Rate > 0 {
		s += fmt.Sprintf(" %.0f %s a second", m.Rate, m.Unit)
	}
	if m.P50 > 0 {
		s += fmt.Sprintf(" p50 %s", m.P50.Round(10*time.Microsecond))
	}
	if m.P99 > 0 {
		s += fmt.Sprintf(" p99 %s", m.P99.Round(10*time.Microsecond))
	}
	if m.Bytes > 0 {
		s += fmt.Sprintf(" %d %s", m.Bytes, m.Unit)
	}
	if m.Ratio > 0 {
		s += fmt.Sprintf(" (%.2f of %s)", m.Ratio, m.Of)
	}
	return s
}

func (b *benchmark) report() error {
	t := &table{head: []string{"what", "a second", "ratio", "p50", "p99", "max", "size", "note"}}
	blank := func(ok bool, s string) string {
		if !ok {
			return ""
		}
		return s
	}
	for i := range b.results {
		m := &b.results[i]
		time := func(d time.Duration) string { return blank(d > 0, d.Round(10*time.Microsecond).String()) }
		t.add(m, m.Name, blank(m.Rate > 0, fmt.Sprintf("%.0f", m.Rate)), blank(m.Ratio > 0, fmt.Sprintf("%.2f of %s", m.Ratio, m.Of)),
			time(m.P50), time(m.P99), time(m.Max), blank(m.Bytes > 0, fmt.Sprintf("%d %s", m.Bytes, m.Unit)), m.Note)
	}
	return b.print(t)
}

// withLatency adds the distribution of all times that were taken: none is left out
// or put into a bucket.
func withLatency(m measure, times []time.Duration) measure {
	slices.Sort(times)
	at := func(permille int) time.Duration { return times[len(times)*permille/1000] }
	m.P50, m.P90, m.P99, m.P999, m.Max = at(500), at(900), at(990), at(999), times[len(times)-1]
	return m
}

// against adds the ratio to an earlier measure.
func (b *benchmark) against(m measure, name string) measure {
	for _, x := range b.results {
		if x.Name == name && x.Rate > 0 {
			m.Ratio, m.Of = m.Rate/x.Rate, name
		}
	}
	return m
}

func folderSize(dir string) (int64, error) {
	var n int64
	err := filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // compacted away while looking
		}
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		n += info.Size()
		return err
	})
	return n, err
}
