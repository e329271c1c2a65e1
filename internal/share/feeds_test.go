// SPDX-License-Identifier: Apache-2.0

package share_test

import (
	"bufio"
	"context"
	"crypto/sha256"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"cityid"
	"cityid/internal/ledger"
	"cityid/internal/share"
	"cityid/verify"
)

// fed returns a world in which the consumer follows a feed of the provider's service
// that answers with the page behind a cursor.
func fed(t *testing.T, series bool, page func(after string) string) *world {
	t.Helper()
	return newWorld(t, func(w *world) {
		w.backend = func(rw http.ResponseWriter, r *http.Request) {
			rw.Header().Set("Content-Type", "application/json")
			fmt.Fprint(rw, page(r.URL.Query().Get("after")))
		}
		d := &w.give.cfg.Datasets[0]
		d.Paths = []share.PathRule{{Path: "/events", Query: map[string]string{"after": "word", "limit": "integer"}}}
		w.take.cfg.Feeds = []share.FeedConfig{{Agreement: w.agree(nil), Path: "/events", Every: share.Duration(time.Second), Series: series}}
	})
}

// feed returns the feed that the consumer follows.
func (w *world) feed() ledger.Feed {
	c := &w.take.cfg.Feeds[0]
	return ledger.Feed{Agreement: c.Agreement, Path: c.Path}
}

// counted returns a feed of events that are their own numbers, up to one that grows,
// seven to a page.
func counted(latest *atomic.Int64) func(after string) string {
	return func(after string) string {
		from, _ := strconv.ParseInt(after, 10, 64)
		to := min(from+7, latest.Load())
		var items []string
		for n := from + 1; n <= to; n++ {
			items = append(items, fmt.Sprintf(`{"n":%d}`, n))
		}
		more := ""
		if to < latest.Load() {
			more = `,"more":true`
		}
		return fmt.Sprintf(`{"items":[%s],"next":"%d"%s}`, strings.Join(items, ","), to, more)
	}
}

// subscriber is an application that follows a feed, and goes on behind the latest event
// it has whenever the stream ends.
type subscriber struct {
	local  atomic.Pointer[string] // address of the gateway's local side
	path   string
	mu     sync.Mutex
	events []string // id and data
	last   string
}

func (s *subscriber) run(ctx context.Context) {
	for ctx.Err() == nil {
		s.connect(ctx)
		select {
		case <-ctx.Done():
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func (s *subscriber) connect(ctx context.Context) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, *s.local.Load()+s.path, nil)
	if err != nil {
		panic(err)
	}
	s.mu.Lock()
	if s.last != "" {
		r.Header.Set("Last-Event-ID", s.last)
	}
	s.mu.Unlock()
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return
	}
	defer resp.Body.Close()
	id := ""
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		if lines.Text() == "event: reset" {
			id = ""
		} else if text, ok := strings.CutPrefix(lines.Text(), "id: "); ok {
			id = text
		} else if text, ok := strings.CutPrefix(lines.Text(), "data: "); ok {
			s.mu.Lock()
			s.events, s.last = append(s.events, id+" "+text), id
			s.mu.Unlock()
		}
	}
}

func (s *subscriber) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.events)
}

// TestFeedGoesOn restarts the provider, the consumer and both, and cuts answers off,
// while a feed is followed: the application gets every event once, in order, and each
// answer that came whole is acknowledged.
func TestFeedGoesOn(t *testing.T) {
	t.Parallel()
	var latest atomic.Int64
	latest.Store(40)
	w := fed(t, false, counted(&latest))
	s := &subscriber{path: "/subscribe/" + w.feed().Agreement.String() + "/events"}
	s.local.Store(&w.take.local.URL)
	ctx, cancel := context.WithCancel(t.Context())
	var all sync.WaitGroup
	defer all.Wait()
	defer cancel()
	all.Go(func() { s.run(ctx) })
	has := func(n int64, what string) {
		t.Helper()
		w.await(what, func() bool { return int64(s.count()) >= n })
	}
	open := func(c *city) {
		w.engine.Advance(time.Second)
		w.open(c)
		w.engine.Advance(time.Second)
		s.local.Store(&w.take.local.URL)
	}
	has(40, "what there is at first")

	cuts := int32(2)
	gateway := *w.give.front.handler.Load()
	var cut atomic.Int32
	w.give.front.put(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/data/") && cut.Add(1) <= cuts {
			rw = &cutting{ResponseWriter: rw, left: 20}
		}
		gateway.ServeHTTP(rw, r)
	}))
	latest.Store(80)
	has(80, "what was cut off")

	w.give.stop()
	latest.Store(100)
	open(w.give)
	has(100, "what came while the provider restarted")
	w.take.stop()
	latest.Store(120)
	open(w.take)
	has(120, "what came while the consumer restarted")
	w.give.stop()
	w.take.stop()
	latest.Store(140)
	open(w.give)
	open(w.take)
	has(140, "what came while both restarted")

	s.mu.Lock()
	defer s.mu.Unlock()
	for i, e := range s.events {
		if want := fmt.Sprintf(`gw-1.%d {"n":%d}`, i+1, i+1); e != want {
			t.Fatalf("event %d is %s, want %s", i, e, want)
		}
	}
	w.await("the acknowledgements", func() bool {
		return w.take.Ledger().Stats().Unacknowledged == 0 && w.give.Ledger().Stats().Unacknowledged == int(cuts)
	})
}

// cutting sends so many octets of a body and then ends the connection.
type cutting struct {
	http.ResponseWriter
	left int
}

func (c *cutting) Write(p []byte) (int, error) {
	if len(p) > c.left {
		c.ResponseWriter.Write(p[:c.left])
		http.NewResponseController(c.ResponseWriter).Flush()
		panic(http.ErrAbortHandler)
	}
	c.left -= len(p)
	return c.ResponseWriter.Write(p)
}

// TestLastEventID goes on behind events that there are, that there are no more, and
// that there never were.
func TestLastEventID(t *testing.T) {
	t.Parallel()
	var latest atomic.Int64
	latest.Store(20)
	w := fed(t, false, counted(&latest))
	address := w.take.local.URL + "/subscribe/" + w.feed().Agreement.String() + "/events"
	w.await("the events", func() bool {
		at, err := w.take.Ledger().Subscription(t.Context(), w.feed())
		return err == nil && at.Events == 20
	})
	// read returns the first so many lines of a subscription that are not empty.
	read := func(last string, lines int) (out []string) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Last-Event-ID", last)
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if resp.StatusCode != 200 {
			t.Fatalf("Last-Event-ID %s: status %d", last, resp.StatusCode)
		}
		for s := bufio.NewScanner(resp.Body); len(out) < lines && s.Scan(); {
			if s.Text() != "" {
				out = append(out, s.Text())
			}
		}
		return out
	}
	expect := func(last string, want ...string) {
		t.Helper()
		if got := read(last, len(want)); strings.Join(got, "|") != strings.Join(want, "|") {
			t.Errorf("behind %s: %q, want %q", last, got, want)
		}
	}
	expect("gw-1.18", "id: gw-1.19", `data: {"n":19}`, "id: gw-1.20", `data: {"n":20}`)
	expect("gw-1.0", "id: gw-1.1", `data: {"n":1}`)
	for _, beyond := range []string{"gw-1.21", "gw-1.1000", "gw-1.18446744073709551615", "gw-0.3", "gw-2.20", "old.20"} {
		expect(beyond, "event: reset", `data: {"oldest":1,"latest":20}`, "id: gw-1.1", `data: {"n":1}`)
	}
	if _, err := w.take.Ledger().PruneEvents(t.Context(), time.Time{}, 5); err != nil {
		t.Fatal(err)
	}
	expect("gw-1.10", "event: reset", `data: {"oldest":16,"latest":20}`, "id: gw-1.16", `data: {"n":16}`)
	expect("gw-1.15", "id: gw-1.16", `data: {"n":16}`)
	expect("gw-1.21", "event: reset", `data: {"oldest":16,"latest":20}`, "id: gw-1.16", `data: {"n":16}`)
	latest.Store(21)
	expect("gw-1.20", "id: gw-1.21", `data: {"n":21}`)
	if _, err := w.take.Ledger().PruneEvents(t.Context(), time.Time{}, 0); err != nil {
		t.Fatal(err)
	}
	latest.Store(22)
	expect("gw-1.3", "event: reset", `data: {"oldest":22,"latest":21}`, "id: gw-1.22", `data: {"n":22}`)

	for name, change := range map[string]func(*http.Request){
		"no number":      func(r *http.Request) { r.Header.Set("Last-Event-ID", "gw-1.x") },
		"no log":         func(r *http.Request) { r.Header.Set("Last-Event-ID", "1") },
		"an odd log":     func(r *http.Request) { r.Header.Set("Last-Event-ID", "GW 1.1") },
		"a sign":         func(r *http.Request) { r.Header.Set("Last-Event-ID", "gw-1.+1") },
		"below zero":     func(r *http.Request) { r.Header.Set("Last-Event-ID", "gw-1.-1") },
		"a zero more":    func(r *http.Request) { r.Header.Set("Last-Event-ID", "gw-1.01") },
		"a point more":   func(r *http.Request) { r.Header.Set("Last-Event-ID", "gw-1.1.1") },
		"too large":      func(r *http.Request) { r.Header.Set("Last-Event-ID", "gw-1.18446744073709551616") },
		"two":            func(r *http.Request) { r.Header["Last-Event-Id"] = []string{"gw-1.1", "gw-1.2"} },
		"a parameter":    func(r *http.Request) { r.URL.RawQuery = "after=3" },
		"another path":   func(r *http.Request) { r.URL.Path += "2" },
		"no agreement":   func(r *http.Request) { r.URL.Path = "/subscribe//events" },
		"another method": func(r *http.Request) { r.Method = http.MethodPost },
	} {
		r, err := http.NewRequest(http.MethodGet, address, nil)
		if err != nil {
			t.Fatal(err)
		}
		change(r)
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode < 400 || resp.StatusCode >= 500 {
			t.Errorf("%s: status %d", name, resp.StatusCode)
		}
	}
}

// TestEventsOfAnotherFolder loses a consumer's folder: numbers are given again, and an
// application that has some of before is told to begin anew.
func TestEventsOfAnotherFolder(t *testing.T) {
	t.Parallel()
	var latest atomic.Int64
	latest.Store(5)
	w := fed(t, false, counted(&latest))
	s := &subscriber{path: "/subscribe/" + w.feed().Agreement.String() + "/events"}
	s.local.Store(&w.take.local.URL)
	ctx, cancel := context.WithCancel(t.Context())
	var all sync.WaitGroup
	defer all.Wait()
	defer cancel()
	all.Go(func() { s.run(ctx) })
	w.await("the events", func() bool { return s.count() == 5 })
	w.take.stop()
	w.take.cfg.Data, w.take.cfg.Log = t.TempDir(), "gw-2"
	latest.Store(9)
	w.engine.Advance(time.Second)
	w.open(w.take)
	w.await("all there is, in another folder", func() bool {
		at, err := w.take.Ledger().Subscription(t.Context(), w.feed())
		return err == nil && at.Events == 9
	})
	s.local.Store(&w.take.local.URL)
	w.await("all of it once more", func() bool { return s.count() >= 5+1+9 })
	s.mu.Lock()
	defer s.mu.Unlock()
	want := []string{`gw-1.5 {"n":5}`, ` {"oldest":1,"latest":9}`, `gw-2.1 {"n":1}`}
	if got := s.events[4:7]; strings.Join(got, "|") != strings.Join(want, "|") || s.last != "gw-2.9" {
		t.Errorf("%q, then %s", got, s.last)
	}
}

// observed writes a page of observations by their numbers.
func observed(next string, seqs ...int) string {
	var items []string
	for _, n := range seqs {
		items = append(items, fmt.Sprintf(`{"seq":%d,"time":"2026-03-01T00:00:00Z","indicator":"37120:2018:8.1","value":"%d.5","unit":"ug/m3","source":"MA.156.1301/30.080001/000001"}`, n, n))
	}
	more := ""
	if next != "" {
		more = `,"more":true`
	}
	return fmt.Sprintf(`{"items":[%s],"next":%q%s}`, strings.Join(items, ","), next, more)
}

// TestLyingFeed has a feed repeat itself, change its order and go in circles: nothing
// of that is stored, and the gateway says which entry shows it. What a feed leaves out
// is not seen, but the receipts say which bytes came.
func TestLyingFeed(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		series bool
		pages  map[string]string // by cursor
		stored uint64
		says   string // "": it is not noticed
	}{
		{"repeats a page", true, map[string]string{"": observed("a", 1, 2), "a": observed("b", 1, 2)}, 2, "repeats"},
		{"repeats one of a page", true, map[string]string{"": observed("a", 1, 2), "a": observed("b", 2, 3)}, 2, "repeats"},
		{"changes the order of pages", true, map[string]string{"": observed("a", 5, 6), "a": observed("b", 3, 4)}, 2, "order"},
		{"changes the order in a page", true, map[string]string{"": observed("a", 2, 1)}, 0, "does not come after"},
		{"says one twice in a page", true, map[string]string{"": observed("a", 1, 1)}, 0, "does not come after"},
		{"goes in circles", false, map[string]string{"": observed("a", 1), "a": observed("b", 2), "b": observed("a", 3)}, 2, "circles"},
		{"goes in circles of observations", true, map[string]string{"": observed("a", 1), "a": observed("b", 2), "b": observed("a", 3)}, 2, "circles"},
		{"stays where it is", false, map[string]string{"": observed("a", 1), "a": observed("a", 2)}, 1, "how to go on"},
		{"does not say how to go on", false, map[string]string{"": observed("", 1)}, 0, "how to go on"},
		{"says how to go on twice", false, map[string]string{"": `{"items":[1],"next":"a","next":"b"}`}, 0, "stands twice"},
		{"says more than a page", false, map[string]string{"": `{"items":[1],"next":"a"}]}`}, 0, "something follows"},
		{"says it louder", false, map[string]string{"": `{"items":[1],"NEXT":"a"}`}, 0, "unknown field"},
		{"has no list", false, map[string]string{"": `{"items":null,"next":"a"}`}, 0, "no list"},
		{"says nothing", false, map[string]string{"": ""}, 0, "can not be read"},
		{"says two things", false, map[string]string{"": observed("a", 1) + observed("b", 2)}, 0, "can not be read"},
		{"leaves some out", true, map[string]string{"": observed("a", 1, 2), "a": observed("b", 9, 10), "b": observed("b")}, 4, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var given sync.Map
			w := fed(t, c.series, func(after string) string {
				given.Store(after, true)
				return c.pages[after]
			})
			var at ledger.Subscription
			failed := ""
			w.await("what it is about", func() bool {
				failed = ""
				if list := ask[share.Latest](w, "/v1/latest", url.Values{}).Feeds; len(list) == 1 {
					failed = list[0].Failed
				}
				var err error
				if at, err = w.take.Ledger().Subscription(t.Context(), w.feed()); err != nil {
					t.Fatal(err)
				}
				_, end := given.Load("b")
				return failed != "" || c.says == "" && end && at.Events == c.stored
			})
			if at.Events != c.stored || !strings.Contains(failed, c.says) || c.says == "" && failed != "" {
				t.Errorf("%d events are stored, want %d; %q", at.Events, c.stored, failed)
			}
			if strings.Contains(failed, "entry") {
				w.shows(failed, c.pages)
			}
		})
	}
}

// shows checks that the entry that a complaint names has evidence of which bytes the
// provider signed.
func (w *world) shows(failed string, pages map[string]string) {
	w.t.Helper()
	_, text, _ := strings.Cut(failed, "entry ")
	text, _, _ = strings.Cut(text, " ")
	var hash cityid.Digest
	if err := hash.UnmarshalText([]byte(text)); err != nil {
		w.t.Fatalf("%q: %v", failed, err)
	}
	w.anchored()
	e, err := w.take.Evidence(w.t.Context(), hash)
	if err != nil {
		w.t.Fatal(err)
	}
	r := share.CheckEvidence(e, w.trust(), w.engine.Now())
	if r.Verdict != verify.Valid {
		w.t.Fatalf("%s: %s", r.Verdict, r.Message)
	}
	after, err := url.Parse(r.Facts.Target)
	if err != nil {
		w.t.Fatal(err)
	}
	if page := pages[after.Query().Get("after")]; r.Facts.Content != sha256.Sum256([]byte(page)) {
		w.t.Errorf("the evidence of %s is not of %s", r.Facts.Target, page)
	}
}
