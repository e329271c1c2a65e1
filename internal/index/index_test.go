// SPDX-License-Identifier: Apache-2.0

package index

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"cityid"
)

func find(t *testing.T, x *Index, q cityid.SearchQuery) *cityid.SearchPage {
	t.Helper()
	p, err := x.Search(context.Background(), q)
	if err != nil {
		t.Fatalf("%+v: %v", q, err)
	}
	return p
}

func codes(p *cityid.SearchPage) []string {
	out := []string{}
	for _, h := range p.Hits {
		out = append(out, h.Code.String())
	}
	return out
}

func record(code, parent string, kind cityid.Kind, nm ...string) cityid.Record {
	r := cityid.Record{Code: cityid.MustParse(code), Kind: kind, Status: cityid.StatusActive, Revision: 1}
	if parent != "" {
		r.Parent = cityid.MustParse(parent)
	}
	for i, n := range nm {
		r.Content.Names = append(r.Content.Names, cityid.Name{Lang: fmt.Sprintf("l%d", i), Text: n})
	}
	return r
}

// town is a small registry.
func town() []cityid.Record {
	out := []cityid.Record{
		record("MA.156", "", cityid.KindAuthority, "中国", "China"),
		record("MA.156.13", "MA.156", cityid.KindProvince, "河北省", "Hebei"),
		record("MA.156.1301", "MA.156.13", cityid.KindCity, "石家庄市", "Shijiazhuang"),
		record("MA.156.1302", "MA.156.13", cityid.KindCity, "唐山市", "Tángshān"),
		record("MA.156.1399", "MA.156", cityid.KindCity, "雄安新区", "Xiong'an"), // of no province, though its code begins like one's
		record("MA.156.1301.01", "MA.156.1301", cityid.KindDepartment, "城市管理局", "Urban Management ＡＢＣ"),
		record("MA.156.1301.01/20.010203", "MA.156.1301.01", cityid.KindClass, "路灯", "Street lamp"),
		record("MA.156.1301.01/20.010203/000123", "MA.156.1301.01/20.010203", cityid.KindObject, "石家庄市路灯", "Lamp 123"),
		record("MA.156.1301.01/20.010203/000132", "MA.156.1301.01/20.010203", cityid.KindObject, "路灯", "Lamp 132"),
		record("MA.156.1301.01/20.010203/000200", "MA.156.1301.01/20.010203", cityid.KindObject), // sealed
		record("MA.156.1301.01/20.010203.A-1", "MA.156.1301.01/20.010203", cityid.KindClass, "LED"),
	}
	out[2].Aliases = []cityid.Alias{{Scheme: "gb2260", Value: "130100"}}
	out[7].Aliases = []cityid.Alias{{Scheme: "legacy", Value: "Q 12/路"}, {Scheme: "other", Value: "130100-7"}}
	out[2].Content.Location = &cityid.Location{Lat: 380454740, Lon: 1145024610}
	out[7].Content.Location = &cityid.Location{Lat: 380454740, Lon: 1145124610}
	out[8].Content.Location = &cityid.Location{Lat: 380454740, Lon: 1145124610}
	return out
}

func TestText(t *testing.T) {
	s := newRegistry(town())
	x := start(t, s, filepath.Join(t.TempDir(), "index.sqlite"))
	reach(t, x, s.height)
	const lamps = "MA.156.1301.01/20.010203"
	for _, c := range []struct {
		text string
		want string // codes with spaces between
	}{
		{"MA.156.1301", "MA.156.1301 MA.156.1301.01 " + lamps + " " + lamps + ".A-1 " + lamps + "/000123 " + lamps + "/000132 " + lamps + "/000200"},
		{"ma.156.13", "MA.156.13 MA.156.1301 MA.156.1302 MA.156.1399 MA.156.1301.01 " + lamps + " " + lamps + ".A-1 " + lamps + "/000123 " + lamps + "/000132 " + lamps + "/000200"},
		{"ＭＡ．156.1302", "MA.156.1302"},
		{cityid.MustParse("MA.156.1302").Display(), "MA.156.1302"},
		{lamps + "/0002", lamps + "/000200"},
		{lamps + "/000200/", lamps + "/000200"},
		{"HTTPS://ID.EXAMPLE/" + lamps + "/000200", lamps + "/000200"},
		{"https://id.example/prefix/ma.156.1302", "MA.156.1302"},
		{"HTTPS://ID.EXAMPLE/X/MA.156.1302/" + strings.Repeat("1", 100), "MA.156.1302"},
		{"https://id.example/", ""},
		{"路灯", lamps + " " + lamps + "/000132 " + lamps + "/000123"},
		{"灯", lamps + " " + lamps + "/000123 " + lamps + "/000132"},
		{"家庄市路", lamps + "/000123"},
		{"石家路灯", ""},
		{"市路 lamp 12", lamps + "/000123"},
		{"lamp 2", ""},
		{"tangshan", "MA.156.1302"},
		{"TÁNG", "MA.156.1302"},
		{"abc", "MA.156.1301.01"},
		{"xiong'an", "MA.156.1399"},
		{"jiazhuang", ""},
		{"130100", "MA.156.1301 " + lamps + "/000123"},
		{"1301", "MA.156.1301 " + lamps + "/000123"},
		{"13", lamps + "/000132"}, // the word, not two characters of a crosswalk value
		{"q 12/路", lamps + "/000123"},
		{`"`, ""}, {`a" OR "b`, ""}, {"lamp*", lamps + " " + lamps + "/000123 " + lamps + "/000132"}, {"NEAR(lamp)", ""},
		{"-lamp", lamps + " " + lamps + "/000123 " + lamps + "/000132"}, {"\x00\xff", ""}, {"lamp\x00", lamps + " " + lamps + "/000123 " + lamps + "/000132"},
	} {
		p := find(t, x, cityid.SearchQuery{Text: c.text, Limit: 100})
		got := strings.Join(codes(p), " ")
		if got != c.want {
			t.Errorf("%q finds %s\nwant %s", c.text, got, c.want)
		}
	}
	if a := find(t, x, cityid.SearchQuery{Text: "130100"}).Hits[1].Alias; a == nil || a.Scheme != "other" {
		t.Errorf("hit by alias %v", a)
	}
	p := find(t, x, cityid.SearchQuery{Below: cityid.MustParse("MA.156.13"), Kinds: []cityid.Kind{cityid.KindCity, cityid.KindObject}})
	if got := strings.Join(codes(p), " "); got != "MA.156.1301 MA.156.1302 "+lamps+"/000123 "+lamps+"/000132 "+lamps+"/000200" {
		t.Errorf("in the province: %s", got)
	}
	p = find(t, x, cityid.SearchQuery{Near: &cityid.Location{Lat: 380454740, Lon: 1145124000}, Limit: 2})
	if len(p.Hits) != 2 || p.Hits[0].Code.String() != lamps+"/000123" || p.Hits[1].Code.String() != lamps+"/000132" || p.Hits[0].Distance != 5 || p.Next == "" {
		t.Errorf("nearest: %+v", p)
	}
}

func TestSuggest(t *testing.T) {
	s := newRegistry(town())
	x := start(t, s, filepath.Join(t.TempDir(), "index.sqlite"))
	reach(t, x, s.height)
	check := func(code string) string { return "*" + cityid.MustParse(code).CheckCharacters() }
	const lamp = "MA.156.1301.01/20.010203/000123"
	for _, c := range []struct{ text, want string }{
		{"MA.156.1303", "MA.156.1301 MA.156.1302"},
		{"MA.156.1303" + check("MA.156.1302"), "MA.156.1302"},
		{"MA.156.1301" + check("MA.156.1302"), "MA.156.1302 MA.156.1301"}, // wrong character, or wrong check characters
		{"MA.156.1301*A", "MA.156.1302 MA.156.1301"},
		{"MA.156.3101", "MA.156.1301"},  // changed places
		{"MA.156.13011", "MA.156.1301"}, // one too many
		{"MA.156131", ""},
		{"MA.1561301", "MA.156.1301"}, // the dot is missing
		{"NA.156.1301", "MA.156.1301"},
		{"MA.156.1301.01/20.010203/000213", lamp},
		{"MA.156.1301.01/20.010203/0001230", lamp},
		{"MA.156.1301.01/20.010203/00123" + check(lamp), lamp},
		{"MA.156.1301.01.20.010203/000123", lamp},
		{"MA.156.1301", ""}, {"路灯", ""}, {"MA.999.1", ""}, {strings.Repeat("1.", 99), ""}, {"*", ""}, {"a*b", ""},
	} {
		p := find(t, x, cityid.SearchQuery{Text: c.text})
		if got := strings.Trim(fmt.Sprint(p.Suggest), "[]"); got != c.want {
			t.Errorf("%s suggests %s, want %s", c.text, got, c.want)
		}
	}
}

func TestBounds(t *testing.T) {
	s := newRegistry(town())
	x := start(t, s, filepath.Join(t.TempDir(), "index.sqlite"))
	reach(t, x, s.height)
	for name, q := range map[string]cityid.SearchQuery{
		"text": {Text: strings.Repeat("x", 201)}, "limit": {Limit: 101}, "negative": {Limit: -1}, "kind": {Kinds: []cityid.Kind{99}},
		"status": {Statuses: []cityid.Status{9}}, "box": {Box: &cityid.Box{South: 1}}, "near": {Near: &cityid.Location{Lat: 91e7}},
	} {
		if _, err := x.Search(context.Background(), q); cityid.CodeOf(err) != cityid.ErrInvalid {
			t.Errorf("%s: %v", name, err)
		}
	}
	first := find(t, x, cityid.SearchQuery{Limit: 3})
	rest := find(t, x, cityid.SearchQuery{Limit: 50, After: first.Next})
	if len(rest.Hits) != len(s.records)-3 || rest.Next != "" {
		t.Errorf("second page: %d hits, next %q", len(rest.Hits), rest.Next)
	}
	for _, q := range []cityid.SearchQuery{
		{After: "x"}, {After: first.Next + "A"}, {After: first.Next[:len(first.Next)-4]}, {After: first.Next, Text: "other"},
		{After: first.Next, Kinds: []cityid.Kind{cityid.KindCity}}, {After: first.Next, Near: &cityid.Location{}},
	} {
		if _, err := x.Search(context.Background(), q); cityid.CodeOf(err) != cityid.ErrMalformed {
			t.Errorf("cursor %q: %v", q.After, err)
		}
	}
	if _, err := x.Points(context.Background(), PointsQuery{Limit: 0}); cityid.CodeOf(err) != cityid.ErrInvalid {
		t.Error(err)
	}
}

// TestRebuildWhileChanging changes and adds records while the index is built and
// asked, and compares it with the model once it is complete.
func TestRebuildWhileChanging(t *testing.T) {
	for _, gap := range []bool{false, true} {
		s := newRegistry(world(3500, 4))
		s.gap = gap
		r := rand.New(rand.NewPCG(9, 9))
		pages := 0
		s.page = func() {
			if pages++; pages <= 12 {
				s.apply(changes(r, s.snapshot())...)
			}
		}
		x := start(t, s, filepath.Join(t.TempDir(), "index.sqlite"))
		var asking sync.WaitGroup
		stop := make(chan struct{})
		for i := range 3 {
			asking.Add(1)
			go func() {
				defer asking.Done()
				for {
					select {
					case <-stop:
						return
					default:
					}
					p, err := x.Search(context.Background(), cityid.SearchQuery{Text: []string{"路灯", "lamp", "MA.156.11"}[i], Limit: 5})
					if err != nil {
						t.Error(err)
						return
					}
					if p.Partial == (p.Height > 0) {
						t.Errorf("partial %v at height %d", p.Partial, p.Height)
					}
				}
			}()
		}
		for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
			s.mu.Lock()
			height := s.height
			s.mu.Unlock()
			if x.height.Load() == height && height > 10 {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("at %d, not at %d", x.height.Load(), height)
			}
		}
		close(stop)
		asking.Wait()
		m := newModel(s.records)
		for range 40 {
			q := question(r, s.records)
			want, got := m.search(&q), []string{}
			for q.Limit = 100; ; {
				p := find(t, x, q)
				got = append(got, codes(p)...)
				if q.After = p.Next; q.After == "" {
					break
				}
			}
			slices.Sort(want) // the order of arrival is not the model's here
			slices.Sort(got)
			if !slices.Equal(got, want) {
				t.Fatalf("gap %v: %+v: %d hits, want %d", gap, q, len(got), len(want))
			}
		}
		checkFacts(t, x, m)
	}
}

func TestGap(t *testing.T) {
	s := newRegistry(town())
	x := start(t, s, filepath.Join(t.TempDir(), "index.sqlite"))
	reach(t, x, s.height)
	s.set(func() { s.gap = true })
	changed := record("MA.156.1302", "MA.156.13", cityid.KindCity, "新名")
	height := s.apply(changed, record("MA.156.1302.01", "MA.156.1302", cityid.KindDepartment, "新局"))
	reach(t, x, height)
	if got := codes(find(t, x, cityid.SearchQuery{Text: "新"})); !slices.Equal(got, []string{"MA.156.1302", "MA.156.1399", "MA.156.1302.01"}) {
		t.Errorf("after the gap: %v", got)
	}
	if got := codes(find(t, x, cityid.SearchQuery{Text: "唐山"})); len(got) != 0 {
		t.Errorf("the old name finds %v", got)
	}
}

// TestFiles opens files that are no index of this registry.
func TestFiles(t *testing.T) {
	dir := t.TempDir()
	s := newRegistry(town())
	want := []string{"MA.156.1302"}
	run := func(path, chain string, s *registry) []string {
		x, err := Open(path, Options{Chain: chain})
		if err != nil {
			t.Fatal(err)
		}
		defer x.Close()
		if p := find(t, x, cityid.SearchQuery{}); chain != "" && !p.Partial {
			t.Errorf("an index of another chain answers %v", codes(p))
		}
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error)
		go func() { done <- x.Follow(ctx, s) }()
		// What is there may be thrown away only when the source is asked.
		var got []string
		for range 500 {
			p := find(t, x, cityid.SearchQuery{Text: "tangshan"})
			if got = codes(p); slices.Equal(got, want) && p.Height == s.height {
				break
			}
			time.Sleep(10 * time.Millisecond)
		}
		cancel()
		<-done
		return got
	}
	good := filepath.Join(dir, "good")
	if got := run(good, "", s); !slices.Equal(got, want) {
		t.Fatalf("new: %v", got)
	}
	whole, err := os.ReadFile(good)
	if err != nil {
		t.Fatal(err)
	}
	zeroed := slices.Clone(whole)
	clear(zeroed[4096:])
	future := slices.Clone(whole)
	future[63] = 99 // user_version
	for name, content := range map[string][]byte{
		"good": whole, "empty": nil, "garbage": []byte(strings.Repeat("not a database ", 1000)), "cut": whole[:len(whole)/2], "zeroed": zeroed, "future": future,
	} {
		path := filepath.Join(dir, "file-"+name)
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		if got := run(path, "", s); !slices.Equal(got, want) {
			t.Errorf("%s: %v", name, got)
		}
	}
	path := filepath.Join(dir, "foreign")
	for _, chain := range []string{"", s.chain} {
		foreign := newRegistry(append(town()[:2], record("MA.156.1302", "MA.156.13", cityid.KindCity, "Tangshan")))
		foreign.chain = "other-1"
		if got := run(path, "", foreign); !slices.Equal(got, want) {
			t.Fatalf("other chain: %v", got)
		}
		want = []string{"MA.156.1305"}
		ours := newRegistry(append(town()[:3], record("MA.156.1305", "MA.156.13", cityid.KindCity, "Tangshan")))
		if got := run(path, chain, ours); !slices.Equal(got, want) {
			t.Errorf("foreign, chain %q: %v", chain, got)
		}
		want = []string{"MA.156.1302"}
	}
	path = good
	behind := newRegistry(town())
	behind.height = 4 // a node restored from an older copy
	if got := run(path, "", behind); !slices.Equal(got, want) {
		t.Errorf("behind: %v", got)
	}
	if _, err := Open(filepath.Join(dir, "missing", "file"), Options{}); err == nil {
		t.Error("a file in no folder was opened")
	}
}

// TestBroken damages the file while it is in use.
func TestBroken(t *testing.T) {
	s := newRegistry(town())
	path := filepath.Join(t.TempDir(), "index.sqlite")
	x := start(t, s, path)
	reach(t, x, s.height)
	if _, err := x.write.Exec("UPDATE docs SET code = 'not a code' WHERE code LIKE '%1302'"); err != nil {
		t.Fatal(err)
	}
	if _, err := x.Search(context.Background(), cityid.SearchQuery{Text: "tangshan"}); cityid.CodeOf(err) != cityid.ErrUnavailable {
		t.Fatalf("a broken row: %v", err)
	}
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		p, err := x.Search(context.Background(), cityid.SearchQuery{Text: "tangshan"})
		if err == nil && len(p.Hits) == 1 && !p.Partial {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("not made anew: %v, %v", p, err)
		}
	}
}

func TestUnreachable(t *testing.T) {
	s := newRegistry(town())
	s.down = true
	x := start(t, s, filepath.Join(t.TempDir(), "index.sqlite"))
	s.refuse(t)
	if p := find(t, x, cityid.SearchQuery{}); len(p.Hits) > 0 || !p.Partial {
		t.Errorf("an index without a source answers %+v", p)
	}
	s.set(func() { s.down = false })
	reach(t, x, s.height)
	s.set(func() { s.down = true })
	if p := find(t, x, cityid.SearchQuery{}); len(p.Hits) != len(s.records) {
		t.Errorf("%d hits while the source is away", len(p.Hits))
	}
	s.refuse(t)
	s.set(func() { s.down = false })
	reach(t, x, s.apply(record("MA.156.14", "MA.156", cityid.KindProvince, "山西省")))
	if p := find(t, x, cityid.SearchQuery{Text: "山西"}); len(p.Hits) != 1 {
		t.Errorf("%+v", p)
	}
}

func TestMinHeight(t *testing.T) {
	s := newRegistry(town())
	x := start(t, s, filepath.Join(t.TempDir(), "index.sqlite"))
	reach(t, x, s.height)
	late := s.height + 1
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	_, err := x.Search(ctx, cityid.SearchQuery{MinHeight: late})
	if cityid.CodeOf(err) != cityid.ErrUnavailable || !strings.Contains(err.Error(), fmt.Sprintf("block %d, not %d yet", late-1, late)) {
		t.Errorf("too early: %v", err)
	}
	gone, stop := context.WithCancel(context.Background())
	stop()
	if _, err := x.Search(gone, cityid.SearchQuery{MinHeight: late}); !errors.Is(err, context.Canceled) {
		t.Errorf("given up: %v", err)
	}
	answer, waits := make(chan *cityid.SearchPage, 1), make(chan struct{})
	go func() {
		ctx := announced{context.Background(), sync.OnceFunc(func() { close(waits) })}
		p, err := x.Search(ctx, cityid.SearchQuery{Text: "山西", MinHeight: late})
		if err != nil {
			t.Error(err)
		}
		answer <- p
	}()
	<-waits
	s.apply(record("MA.156.14", "MA.156", cityid.KindProvince, "山西省"))
	if p := <-answer; p == nil || len(p.Hits) != 1 || p.Height != late {
		t.Errorf("%+v", p)
	}
}

func TestHoldings(t *testing.T) {
	records := town()
	key, other := cityid.PublicKey("\x01one"), cityid.PublicKey("\x01two")
	policy := func(members ...cityid.Member) *cityid.Policy { return &cityid.Policy{Threshold: 1, Members: members} }
	records[2].Policy = policy(cityid.Member{Code: apex}, cityid.Member{Keys: []cityid.Key{
		{Public: other, Roles: cityid.RoleControl}, {Public: key, Roles: cityid.RoleControl | cityid.RoleField, From: 5, Until: 90, Compromised: 70},
	}})
	records[5].Policy = policy(cityid.Member{Keys: []cityid.Key{{Public: key, Roles: cityid.RoleAssert}}})
	s := newRegistry(records)
	x := start(t, s, filepath.Join(t.TempDir(), "index.sqlite"))
	reach(t, x, s.height)
	ask := func(k cityid.PublicKey) string {
		h, err := x.Holdings(context.Background(), k)
		if err != nil {
			t.Fatal(err)
		}
		var out []string
		for _, h := range h {
			out = append(out, fmt.Sprintf("%s/%d %s %d-%d", h.Code, h.Member, h.Roles, h.From, h.Until))
		}
		return strings.Join(out, ", ")
	}
	if got, want := ask(key), "MA.156.1301/1 control,field 5-70, MA.156.1301.01/0 assert 0-0"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	changed := records[2]
	changed.Policy = policy(cityid.Member{Keys: []cityid.Key{{Public: other, Roles: cityid.RoleControl}}})
	reach(t, x, s.apply(changed))
	if got, want := ask(key), "MA.156.1301.01/0 assert 0-0"; got != want {
		t.Errorf("after the change %s, want %s", got, want)
	}
	if got, want := ask(other), "MA.156.1301/0 control 0-0"; got != want {
		t.Errorf("the other %s, want %s", got, want)
	}
}

// FuzzSearch asks with any text and cursor: only bounds and cursors are refused.
func FuzzSearch(f *testing.F) {
	s := newRegistry(town())
	x := start(f, s, filepath.Join(f.TempDir(), "index.sqlite"))
	reach(f, x, s.height)
	first, err := x.Search(context.Background(), cityid.SearchQuery{Limit: 1})
	if err != nil {
		f.Fatal(err)
	}
	for _, text := range []string{"", "路灯", `" OR t:*`, "MA.156.13", "MA.156.1301*Z", "NEAR(a b)", "https://x/MA.156", "a\x00b", "\xff", "ﷺﷺ", "ſt ﬁ ½", "İ", "q 12/路", "0x\u0301"} {
		f.Add(text, "", true)
		f.Add(text, first.Next, false)
	}
	f.Fuzz(func(t *testing.T, text, after string, near bool) {
		q := cityid.SearchQuery{Text: text, After: after, Limit: 5}
		if near {
			q.Near = &cityid.Location{Lat: 380000000, Lon: 1140000000}
		}
		_, err := x.Search(context.Background(), q)
		switch code := cityid.CodeOf(err); {
		case err == nil, len(text) > 200 && code == cityid.ErrInvalid, after != "" && code == cityid.ErrMalformed:
		default:
			t.Fatalf("%q after %q: %v", text, after, err)
		}
	})
}
