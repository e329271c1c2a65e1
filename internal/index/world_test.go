// SPDX-License-Identifier: Apache-2.0

package index

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sort"
	"sync"
	"testing"
	"time"

	"cityid"
)

var apex = cityid.MustParse("MA.156")

// registry is a source in memory.
type registry struct {
	mu      sync.Mutex
	chain   string
	height  uint64
	records []cityid.Record // in order of code
	changed map[uint64][]cityid.Code
	gap     bool          // changes are not remembered
	down    bool          // every question fails
	refused int           // questions that failed so
	page    func()        // called before each page, without the lock
	block   chan struct{} // closed and replaced with each block
}

func newRegistry(records []cityid.Record) *registry {
	s := &registry{chain: "test-1", height: 10, changed: map[uint64][]cityid.Code{}, block: make(chan struct{})}
	s.records = slices.Clone(records)
	slices.SortFunc(s.records, func(a, b cityid.Record) int { return a.Code.Compare(b.Code) })
	return s
}

var errDown = errors.New("connection refused")

func (s *registry) Status(context.Context) (*cityid.NodeStatus, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.down {
		s.refused++
		return nil, errDown
	}
	return &cityid.NodeStatus{Chain: s.chain, Zone: apex, Height: s.height, Records: uint64(len(s.records))}, nil
}

func (s *registry) find(code cityid.Code) (int, bool) {
	return sort.Find(len(s.records), func(i int) int { return code.Compare(s.records[i].Code) })
}

func (s *registry) Record(_ context.Context, code cityid.Code) (*cityid.RecordAnswer, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.down {
		return nil, errDown
	}
	i, ok := s.find(code)
	if !ok {
		return nil, cityid.Errorf(cityid.ErrNotFound, "%s is not allocated", code)
	}
	return &cityid.RecordAnswer{Record: s.records[i]}, nil
}

func (s *registry) Children(_ context.Context, q cityid.ChildrenQuery) (*cityid.RecordPage, error) {
	if s.page != nil {
		s.page()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.down {
		return nil, errDown
	}
	if q.Code != apex || !q.Deep {
		return nil, fmt.Errorf("unexpected question %v", q)
	}
	i, ok := s.find(q.After)
	if ok {
		i++
	}
	page := &cityid.RecordPage{}
	for ; i < len(s.records); i++ {
		if s.records[i].Code == apex {
			continue
		}
		if len(page.Records) == q.Limit {
			page.Next = page.Records[q.Limit-1].Code
			break
		}
		page.Records = append(page.Records, s.records[i])
	}
	return page, nil
}

func (s *registry) Await(ctx context.Context, after uint64) (uint64, error) {
	for {
		s.mu.Lock()
		height, block, down := s.height, s.block, s.down
		s.mu.Unlock()
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

func (s *registry) Changes(_ context.Context, after uint64) (*cityid.Changes, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.down {
		return nil, errDown
	}
	c := &cityid.Changes{Height: s.height, Gap: s.gap && s.height > after}
	if c.Gap {
		return c, nil
	}
	for h := after + 1; h <= s.height; h++ {
		c.Codes = append(c.Codes, s.changed[h]...)
	}
	slices.SortFunc(c.Codes, cityid.Code.Compare)
	c.Codes = slices.Compact(c.Codes)
	return c, nil
}

// apply makes a block with new or changed records.
func (s *registry) apply(records ...cityid.Record) uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.height++
	for _, r := range records {
		r.Changed.Height = s.height
		if i, ok := s.find(r.Code); ok {
			r.Revision = s.records[i].Revision + 1
			s.records[i] = r
		} else {
			r.Revision = 1
			s.records = slices.Insert(s.records, i, r)
		}
		s.changed[s.height] = append(s.changed[s.height], r.Code)
	}
	close(s.block)
	s.block = make(chan struct{})
	return s.height
}

func (s *registry) set(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
	close(s.block)
	s.block = make(chan struct{})
}

// refuse waits until the source, which is down, has refused to tell its status.
func (s *registry) refuse(t *testing.T) {
	t.Helper()
	refused := func() int { s.mu.Lock(); defer s.mu.Unlock(); return s.refused }
	before := refused()
	for deadline := time.Now().Add(time.Minute); refused() == before; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the index has given up asking")
		}
	}
}

// announced is a context that says when somebody waits for its end.
type announced struct {
	context.Context
	waits func()
}

func (a announced) Done() <-chan struct{} {
	a.waits()
	return a.Context.Done()
}

func (s *registry) snapshot() []cityid.Record {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.records)
}

var (
	cityNames = [][2]string{
		{"石家庄市", "Shijiazhuang"}, {"唐山市", "Tangshan"}, {"秦皇岛市", "Qinhuangdao"}, {"邯郸市", "Handan"}, {"长安", "Chang'an"},
		{"西安市", "Xi'an"}, {"天津市", "Tianjin"}, {"哈尔滨市", "Harbin"}, {"呼和浩特市", "Hohhot"}, {"乌鲁木齐市", "Ürümqi"},
	}
	things = [][2]string{{"路灯", "Street lamp"}, {"消火栓", "Fire hydrant"}, {"井盖", "Manhole cover"}, {"公交站", "Bus stop"}, {"长安街路灯", "Lamp of Chang'an Street"}}
)

func names(zh, en string) cityid.Names {
	return cityid.Names{{Lang: "en", Text: en}, {Lang: "zh", Text: zh}}
}

// world makes a registry of the given number of records: provinces, cities,
// departments, classes, and objects in them.
func world(n int, seed uint64) []cityid.Record {
	r := rand.New(rand.NewPCG(seed, 7))
	var out []cityid.Record
	add := func(code, parent string, kind cityid.Kind, nm cityid.Names) *cityid.Record {
		x := cityid.Record{Code: cityid.MustParse(code), Kind: kind, Status: cityid.StatusActive, Revision: 1, Content: cityid.Content{Names: nm}}
		x.Changed.Height = 3
		if parent != "" {
			x.Parent = cityid.MustParse(parent)
		}
		if r.IntN(12) == 0 {
			x.Status = cityid.Status(1 + r.IntN(4))
		}
		out = append(out, x)
		return &out[len(out)-1]
	}
	add("MA.156", "", cityid.KindAuthority, names("中国", "China"))
	for p := 11; ; p++ {
		province := fmt.Sprintf("MA.156.%02d", p)
		add(province, "MA.156", cityid.KindProvince, names(fmt.Sprintf("第%d省", p), fmt.Sprintf("Province %d", p)))
		for c := 1; c <= 5; c++ {
			city := fmt.Sprintf("%s%02d", province, c)
			cn := cityNames[r.IntN(len(cityNames))]
			x := add(city, province, cityid.KindCity, names(cn[0], cn[1]))
			x.Aliases = []cityid.Alias{{Scheme: "gb2260", Value: fmt.Sprintf("%02d%02d00", p, c)}}
			lat, lon := int32(200000000+r.IntN(250000000)), int32(750000000+r.IntN(550000000))
			x.Content.Location = &cityid.Location{Lat: lat, Lon: lon}
			for d := 1; d <= 2; d++ {
				dept := fmt.Sprintf("%s.%02d", city, d)
				add(dept, city, cityid.KindDepartment, names(cn[0]+"城市管理局", cn[1]+" Urban Management"))
				for k := 1; k <= 2; k++ {
					class := fmt.Sprintf("%s/20.%06d", dept, 10200+k)
					thing := things[r.IntN(len(things))]
					add(class, dept, cityid.KindClass, names(thing[0], thing[1]))
					for o := 1; o <= max(10, n/2000); o++ {
						item := fmt.Sprintf("%s/%06d", class, o)
						var nm cityid.Names
						if r.IntN(15) > 0 {
							nm = names(fmt.Sprintf("%s%s%06d号", cn[0], thing[0], o), fmt.Sprintf("%s no %06d, %s", thing[1], o, cn[1]))
						}
						x := add(item, class, cityid.KindObject, nm)
						if r.IntN(3) > 0 {
							x.Content.Location = &cityid.Location{Lat: lat + int32(r.IntN(2000000)) - 1000000, Lon: lon + int32(r.IntN(2000000)) - 1000000}
						}
						if r.IntN(3) == 0 {
							x.Aliases = []cityid.Alias{{Scheme: "legacy", Value: fmt.Sprintf("LD-%02d%02d-%d", p, c, r.IntN(100000))}}
						}
						if len(out) >= n {
							return out
						}
					}
				}
			}
		}
	}
}

// start opens an index that follows a registry.
func start(t testing.TB, s *registry, path string) *Index {
	t.Helper()
	x, err := Open(path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- x.Follow(ctx, s) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("Follow: %v", err)
		}
		if err := x.Close(); err != nil {
			t.Error(err)
		}
	})
	return x
}

// reach waits until the index has seen a height.
func reach(t testing.TB, x *Index, height uint64) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := x.wait(ctx, height); err != nil {
		t.Fatal(err)
	}
}
