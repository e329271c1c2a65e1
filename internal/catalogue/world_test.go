// SPDX-License-Identifier: Apache-2.0

package catalogue

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"cityid"
	"cityid/internal/dcat"
)

var (
	apex    = cityid.MustParse("MA.156")
	sjz     = cityid.MustParse("MA.156.1301")
	traffic = cityid.MustParse("MA.156.1301.02")
	tj      = cityid.MustParse("MA.156.12")
)

func names(zh, en string) cityid.Names {
	return cityid.NamesOf(map[string]string{"zh": zh, "en": en})
}

// registry is a source in memory.
type registry struct {
	mu      sync.Mutex
	chain   string
	height  uint64
	records map[cityid.Code]*cityid.Record
	changed map[uint64][]cityid.Code
	from    uint64 // changes up to here are forgotten
	schemes []cityid.Scheme
	down    bool
	block   chan struct{}
	reads   int // records read
}

func newRegistry() *registry {
	r := &registry{
		chain: "test-1", height: 10, records: map[cityid.Code]*cityid.Record{}, changed: map[uint64][]cityid.Code{}, block: make(chan struct{}), from: 10,
		schemes: []cityid.Scheme{
			{Name: "dept", Titles: names("部门旧编号", "Former number of a department")},
			{Name: "gbt4754", Titles: names("国民经济行业分类", "GB/T 4754"), Patterns: []string{"@*"}},
			{Name: "isic", Titles: names("国际标准行业分类", "ISIC"), Patterns: []string{"@*"}},
		},
	}
	r.set(cityid.Record{Code: apex, Kind: cityid.KindAuthority, Content: cityid.Content{Names: names("根", "Root")}})
	r.set(cityid.Record{Code: sjz, Parent: apex, Kind: cityid.KindCity, Content: cityid.Content{Names: names("石家庄市", "Shijiazhuang"), Location: &cityid.Location{Lat: 380000000, Lon: 1145000000}}})
	r.set(cityid.Record{Code: traffic, Parent: sjz, Kind: cityid.KindDepartment, Content: cityid.Content{Names: names("交通管理局", "Traffic bureau")}, Aliases: []cityid.Alias{{Scheme: "dept", Value: "0107"}}})
	r.set(cityid.Record{Code: tj, Parent: apex, Kind: cityid.KindCity, Content: cityid.Content{Names: names("天津市", "Tianjin")}})
	for _, class := range []string{"MA.156.1301.02/20.020301", "MA.156.12/20.030101"} {
		r.set(cityid.Record{Code: cityid.MustParse(class), Kind: cityid.KindClass})
	}
	return r
}

// set writes records in one block.
func (r *registry) set(records ...cityid.Record) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.height++
	for _, rec := range records {
		if old := r.records[rec.Code]; old != nil {
			rec.Revision = old.Revision
		}
		rec.Revision++
		if rec.Status == 0 {
			rec.Status = cityid.StatusActive
		}
		if rec.Parent.IsZero() && rec.Code != apex {
			rec.Parent = rec.Code.Parent()
		}
		rec.Changed = cityid.Change{Chain: r.chain, Height: r.height, Time: cityid.Time(1_800_000_000 + r.height)}
		r.records[rec.Code] = &rec
		r.changed[r.height] = append(r.changed[r.height], rec.Code)
	}
	close(r.block)
	r.block = make(chan struct{})
}

// edit changes a record.
func (r *registry) edit(code cityid.Code, f func(*cityid.Record)) {
	r.mu.Lock()
	rec := *r.records[code]
	r.mu.Unlock()
	f(&rec)
	r.set(rec)
}

var errDown = errors.New("connection refused")

func (r *registry) lock() (unlock func(), err error) {
	r.mu.Lock()
	if r.down {
		r.mu.Unlock()
		return nil, errDown
	}
	return r.mu.Unlock, nil
}

func (r *registry) asOf() cityid.AsOf {
	return cityid.AsOf{Chain: r.chain, Height: r.height, Time: time.Unix(1_800_000_000+int64(r.height), 0).UTC()}
}

func (r *registry) Status(context.Context) (*cityid.NodeStatus, error) {
	unlock, err := r.lock()
	if err != nil {
		return nil, err
	}
	defer unlock()
	return &cityid.NodeStatus{Chain: r.chain, Zone: apex, Height: r.height}, nil
}

func (r *registry) Settings(context.Context) (*cityid.Settings, error) {
	unlock, err := r.lock()
	if err != nil {
		return nil, err
	}
	defer unlock()
	return &cityid.Settings{Schemes: slices.Clone(r.schemes)}, nil
}

func (r *registry) Record(_ context.Context, code cityid.Code) (*cityid.RecordAnswer, error) {
	unlock, err := r.lock()
	if err != nil {
		return nil, err
	}
	defer unlock()
	r.reads++
	rec := r.records[code]
	if rec == nil {
		return nil, cityid.Errorf(cityid.ErrNotFound, "%s is not allocated", code)
	}
	return &cityid.RecordAnswer{Record: *rec, AsOf: r.asOf()}, nil
}

func (r *registry) Children(_ context.Context, q cityid.ChildrenQuery) (*cityid.RecordPage, error) {
	unlock, err := r.lock()
	if err != nil {
		return nil, err
	}
	defer unlock()
	page := &cityid.RecordPage{AsOf: r.asOf()}
	var all []*cityid.Record
	for _, rec := range r.records {
		if q.Code.Covers(rec.Code) && rec.Kind == q.Kind && rec.Code.Compare(q.After) > 0 {
			all = append(all, rec)
		}
	}
	slices.SortFunc(all, func(a, b *cityid.Record) int { return a.Code.Compare(b.Code) })
	for _, rec := range all {
		if len(page.Records) == q.Limit {
			page.Next = page.Records[q.Limit-1].Code
			break
		}
		page.Records = append(page.Records, *rec)
	}
	return page, nil
}

func (r *registry) Lookup(_ context.Context, scheme, value string) (*cityid.CrosswalkAnswer, error) {
	unlock, err := r.lock()
	if err != nil {
		return nil, err
	}
	defer unlock()
	out := &cityid.CrosswalkAnswer{Value: value}
	for _, rec := range r.records {
		for _, a := range rec.Aliases {
			if a.Scheme == scheme && a.Value == value {
				out.Entries = append(out.Entries, cityid.CrosswalkEntry{Code: rec.Code, Names: rec.Content.Names, Alias: a, Holds: a.Until == 0})
			}
		}
	}
	if len(out.Entries) == 0 {
		return nil, cityid.Errorf(cityid.ErrNotFound, "%s %q is mapped to no code", scheme, value)
	}
	return out, nil
}

func (r *registry) Await(ctx context.Context, after uint64) (uint64, error) {
	for {
		r.mu.Lock()
		height, block, down := r.height, r.block, r.down
		r.mu.Unlock()
		if down {
			return 0, errDown
		}
		if height > after {
			return height, nil
		}
		select {
		case <-block:
		case <-ctx.Done():
			return 0, context.Cause(ctx)
		}
	}
}

func (r *registry) Changes(_ context.Context, after uint64) (*cityid.Changes, error) {
	unlock, err := r.lock()
	if err != nil {
		return nil, err
	}
	defer unlock()
	out := &cityid.Changes{Height: r.height, Gap: after < r.from}
	for h := after + 1; h <= r.height; h++ {
		out.Codes = append(out.Codes, r.changed[h]...)
	}
	slices.SortFunc(out.Codes, cityid.Code.Compare)
	out.Codes = slices.Compact(out.Codes)
	return out, nil
}

// gateway serves documents on loopback. A handler may take a path over.
type gateway2 struct {
	*httptest.Server
	mu       sync.Mutex
	files    map[string][]byte
	instead  func(w http.ResponseWriter, r *http.Request) bool // reports whether it answered
	requests []string
}

func newGateway(t testing.TB) *gateway2 {
	g := &gateway2{files: map[string][]byte{}}
	g.Server = httptest.NewServer(g)
	t.Cleanup(g.Close)
	return g
}

// ServeHTTP answers with the documents as package share does.
func (g *gateway2) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	g.mu.Lock()
	g.requests = append(g.requests, r.URL.Path)
	body, instead := g.files[r.URL.Path], g.instead
	g.mu.Unlock()
	if instead != nil && instead(w, r) {
		return
	}
	if body == nil {
		http.NotFound(w, r)
		return
	}
	d := dcat.Digest(body)
	tag := `"` + d.String()[:16] + `"`
	w.Header().Set("ETag", tag)
	if r.Header.Get("If-None-Match") == tag {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	w.Write(body)
}

// asked returns and forgets which paths were asked for.
func (g *gateway2) asked() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	out := g.requests
	g.requests = nil
	slices.Sort(out)
	return out
}

// answer sets what is answered instead of documents; nil: nothing.
func (g *gateway2) answer(f func(w http.ResponseWriter, r *http.Request) bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.instead = f
}

// serve puts a document under a path.
func (g *gateway2) serve(kind cityid.DatasetPart, code cityid.Code, body []byte) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.files[places[kind]+strings.ReplaceAll(code.String(), "/", "~")] = body
}

func ref(t testing.TB, code cityid.Code) dcat.Ref {
	r, err := dcat.NewRef("id.example", code)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

var schemaFile = []byte(`{"$schema":"https://json-schema.org/draft/2020-12/schema","type":"object","properties":{"free":{"type":"integer"}}}`)

// dataset returns a good description of a conditional dataset; change may make
// another of it.
func dataset(t testing.TB, code cityid.Code, zh, en string, change ...func(*dcat.Dataset)) *dcat.Dataset {
	publisher := code.Root()
	d := &dcat.Dataset{
		Coded: dcat.At(ref(t, code)), Title: names(zh, en), Description: names("关于"+zh+"的数据。", "Data about "+en+"."),
		Keywords:  dcat.Keywords{{Lang: "en", Words: []string{"city"}}, {Lang: "zh", Words: []string{"城市"}}},
		Publisher: &dcat.Agent{Coded: dcat.At(ref(t, publisher)), Name: names("发布单位", "Publisher")},
		Contact:   &dcat.Contact{Name: names("数据科", "Data office"), Email: "mailto:data@city.example"},
		Themes:    []dcat.Concept{{ID: dcat.EUTheme + "TRAN", Label: names("交通", "Transport")}},
		Access:    dcat.Conditional, Issued: 1_790_000_000, Modified: 1_799_000_000, Frequency: dcat.EUFrequency + "MONTHLY",
		Languages: []string{dcat.EULanguage + "ZHO"}, Spatial: &dcat.Place{Coded: dcat.At(ref(t, publisher))}, Temporal: &dcat.Period{Start: "2026-01-01"},
		ConformsTo: []dcat.Standard{{ID: "https://id.example/schema", Checksum: &dcat.Checksum{Value: dcat.Digest(schemaFile)}}},
		Policies:   []dcat.Policy{{ID: "urn:example:policy", Assigner: ref(t, publisher), Requests: 5000, NoDistribution: true}},
		Distributions: []dcat.Distribution{{
			AccessURL: "https://gateway.example/data", Format: dcat.EUFileType + "JSON", MediaType: dcat.IANAMediaType + "application/json",
			Service: &dcat.Service{ID: "https://gateway.example/data", Title: names("网关", "Gateway"), Endpoint: "https://gateway.example/data"},
		}},
	}
	for _, f := range change {
		f(d)
	}
	return d
}

// publish lets the registry name a description and a gateway serve it. It returns
// the bytes.
func (w *world) publish(g *gateway2, d *dcat.Dataset) []byte {
	w.Helper()
	rec := w.serve(g, d)
	w.registry.set(rec)
	return g.files["/datasets/"+strings.ReplaceAll(d.Identifier.String(), "/", "~")]
}

// serve lets a gateway serve a description, and returns the record that names it.
func (w *world) serve(g *gateway2, d *dcat.Dataset) cityid.Record {
	w.Helper()
	body, err := d.Encode()
	if err != nil {
		w.Fatal(err)
	}
	on, err := d.OnChain()
	if err != nil {
		w.Fatal(err)
	}
	g.serve(cityid.PartDescription, d.Identifier, body)
	if d.Schema() != nil {
		g.serve(cityid.PartSchema, d.Identifier, schemaFile)
	}
	if p := d.Policy(); p != nil {
		b, err := p.Encode()
		if err != nil {
			w.Fatal(err)
		}
		g.serve(cityid.PartPolicy, d.Identifier, b)
	}
	return cityid.Record{Code: d.Identifier, Kind: cityid.KindDataset, Content: cityid.Content{Names: d.Title, Dataset: &on}}
}

// links lets a record name a gateway.
func (w *world) links(code cityid.Code, href string) {
	w.registry.edit(code, func(r *cityid.Record) {
		r.Content.Links = []cityid.Link{{Rel: RelGateway, Href: href}}
	})
}

// world is a catalogue over a registry in memory and gateways on loopback.
type world struct {
	testing.TB
	registry *registry
	path     string
	options  Options
	*Catalogue
	stop func()
}

// logTo writes a log into a test's.
type logTo struct{ testing.TB }

func (l logTo) Write(b []byte) (int, error) {
	l.Log(strings.TrimSpace(string(b)))
	return len(b), nil
}

func newWorld(t testing.TB, change ...func(*Options)) *world {
	t.Helper()
	w := &world{TB: t, registry: newRegistry(), path: filepath.Join(t.TempDir(), "catalogue.sqlite")}
	w.options = Options{Base: "https://id.example", Private: true, Log: slog.New(slog.NewTextHandler(logTo{t}, nil)), Retry: 20 * time.Millisecond, Pause: 20 * time.Millisecond}
	if _, ok := t.(*testing.B); ok {
		w.options.Log = nil
	}
	for _, f := range change {
		f(&w.options)
	}
	w.start()
	t.Cleanup(func() { w.stop() })
	return w
}

// start opens the catalogue and lets it run until stop.
func (w *world) start() {
	w.Helper()
	var err error
	if w.Catalogue, err = Open(w.path, w.registry, w.options); err != nil {
		w.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	c := w.Catalogue
	w.stop = func() {
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			w.Errorf("run: %v", err)
		}
		if err := c.Close(); err != nil {
			w.Error(err)
		}
		w.stop = func() {}
	}
}

func (w *world) restart() {
	w.Helper()
	w.stop()
	w.start()
}

// patience is how long a test waits for what only a defect keeps from happening.
const patience = 30 * time.Second

// until waits for something that will be true, however slow the machine is.
func (w *world) until(what string, f func() bool) {
	w.Helper()
	for deadline := time.Now().Add(patience); !f(); {
		if time.Now().After(deadline) {
			w.Fatalf("never: %s", what)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// state waits until a dataset is in a state, and returns what is said about it.
func (w *world) state(code cityid.Code, want cityid.DatasetState) *cityid.DatasetAnswer {
	w.Helper()
	var got *cityid.DatasetAnswer
	var err error
	for deadline := time.Now().Add(patience); ; time.Sleep(2 * time.Millisecond) {
		if got, err = w.Dataset(context.Background(), code); err == nil && got.Dataset.State == want {
			return got
		}
		if time.Now().After(deadline) && err != nil {
			w.Fatalf("%s is never %s: %v", code, want, err)
		} else if time.Now().After(deadline) {
			w.Fatalf("%s is never %s: it is %s: %s", code, want, got.Dataset.State, got.Dataset.Detail)
		}
	}
}

// settled waits until the registry has been read up to now and nothing is due.
func (w *world) settled() {
	w.Helper()
	w.until("nothing is due", func() bool {
		m, err := w.store.meta(context.Background())
		if err != nil {
			w.Fatal(err)
		}
		w.registry.mu.Lock()
		height := w.registry.height
		w.registry.mu.Unlock()
		return m.Height == height && w.plan.idle(time.Now())
	})
}

// find returns the codes that a question finds, on all pages.
func (w *world) find(q cityid.DatasetQuery) []cityid.Code {
	w.Helper()
	var out []cityid.Code
	for {
		page, err := w.Datasets(context.Background(), q)
		if err != nil {
			w.Fatal(err)
		}
		for _, e := range page.Datasets {
			out = append(out, e.Code)
		}
		if q.After = page.Next; q.After == "" {
			if len(out) != page.Total {
				w.Errorf("%+v: %d datasets on all pages, total %d", q, len(out), page.Total)
			}
			return out
		}
	}
}
