// SPDX-License-Identifier: Apache-2.0

package api_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"cityid"
	"cityid/internal/api"
	"cityid/internal/chain"
	"cityid/internal/chain/chaintest"
	"cityid/internal/web"
)

const engineChain = "events-test"

// world is an engine that answers over a real server.
type world struct {
	*chain.Engine
	t      testing.TB
	url    string
	stop   context.CancelFunc
	served chan error
}

// newWorld serves an engine; the configuration's source is set.
func newWorld(t testing.TB, c api.Config, l web.Limits) *world {
	t.Helper()
	e, err := chain.NewEngine(chain.EngineConfig{Genesis: chaintest.Genesis(engineChain, chaintest.Epoch, chain.EngineValidator())})
	if err != nil {
		t.Fatal(err)
	}
	if c.Source == nil {
		c.Source = e
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	w := &world{Engine: e, t: t, url: "http://" + listener.Addr().String(), stop: stop, served: make(chan error, 1)}
	s := web.NewServer(web.Wrap(api.Handler(c), web.WrapConfig{}), l, nil)
	go func() { w.served <- web.Serve(ctx, s, listener, nil, 4*time.Second) }()
	t.Cleanup(func() {
		stop()
		<-w.served
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
	return w
}

// do has operations by Key(n) applied, and returns the receipt.
func (w *world) do(n int, ops ...cityid.Operation) *cityid.Receipt {
	w.t.Helper()
	r, err := w.Submit(context.Background(), chaintest.TxBy(engineChain, w.Now(), []cityid.Signer{chaintest.Key(n)}, ops...), true)
	if err != nil || r.Err() != nil {
		w.t.Fatalf("%+v, %v", r, err)
	}
	return r
}

func (w *world) city(n int) *cityid.Receipt {
	w.t.Helper()
	return w.do(0, chaintest.Allocate(chaintest.Allocation(fmt.Sprintf("MA.156.%04d", 1000+n), cityid.KindCity)))
}

func (w *world) height() uint64 {
	w.t.Helper()
	s, err := w.Status(context.Background())
	if err != nil {
		w.t.Fatal(err)
	}
	return s.Height
}

func (w *world) block() uint64 {
	w.t.Helper()
	if err := w.MakeBlock(); err != nil {
		w.t.Fatal(err)
	}
	return w.height()
}

// message is one block of lines of a stream.
type message struct{ id, event, data, comment, retry string }

// listener reads a stream line by line.
type listener struct {
	t        testing.TB
	response *http.Response
	lines    *bufio.Scanner
	cancel   context.CancelFunc
}

// listen opens a stream; headers are pairs of name and value.
func (w *world) listen(query string, headers ...string) *listener {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, w.url+"/v1/events"+query, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		w.t.Fatal(err)
	}
	l := &listener{t: w.t, response: response, lines: bufio.NewScanner(response.Body), cancel: cancel}
	l.lines.Buffer(nil, 8<<20)
	w.t.Cleanup(l.close)
	return l
}

func (l *listener) close() {
	l.cancel()
	l.response.Body.Close()
}

// next returns what comes next; false at the end.
func (l *listener) next() (m message, ok bool) {
	for l.lines.Scan() {
		if l.lines.Text() == "" {
			return m, true
		}
		name, value, _ := strings.Cut(l.lines.Text(), ":")
		value = strings.TrimPrefix(value, " ")
		switch name {
		case "id":
			m.id = value
		case "event":
			m.event = value
		case "data":
			m.data = value
		case "retry":
			m.retry = value
		case "":
			m.comment = value
		}
	}
	return m, false
}

// event returns the next message that is one, decoded.
func (l *listener) event() (message, cityid.Event) {
	l.t.Helper()
	for {
		m, ok := l.next()
		if !ok {
			l.t.Fatalf("the stream ends: %v", l.lines.Err())
		}
		if m.event == "" {
			continue
		}
		var e cityid.Event
		if err := json.Unmarshal([]byte(m.data), &e); err != nil {
			l.t.Fatalf("%+v: %v", m, err)
		}
		return m, e
	}
}

// want demands that the next event is of a block.
func (l *listener) want(height uint64) cityid.Event {
	l.t.Helper()
	m, e := l.event()
	if m.event != "block" || e.Height != height || m.id != fmt.Sprint(height) {
		l.t.Fatalf("%+v, want block %d", m, height)
	}
	return e
}

func TestStream(t *testing.T) {
	w := newWorld(t, api.Config{}, web.Limits{})
	w.city(1)
	now := w.height()
	l := w.listen("")
	for name, want := range map[string]string{
		"Content-Type": "text/event-stream", "Cache-Control": "no-store", "Access-Control-Allow-Origin": "*", "X-Accel-Buffering": "no",
	} {
		if got := l.response.Header.Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if m, _ := l.next(); m.retry != "2000" {
		t.Errorf("begins with %+v", m)
	}
	if e := l.want(now); len(e.Transactions) != 0 || e.Changed == nil || len(e.Changed) != 0 {
		t.Errorf("an empty block: %+v", e)
	}
	// Blocks come as they are made, empty ones as well.
	l.want(w.block())
	r := w.city(2)
	e := l.want(r.Height)
	if len(e.Transactions) != 1 || e.Time.Unix() != int64(r.Time) {
		t.Fatalf("%+v", e)
	}
	tx := e.Transactions[0]
	if tx.ID != r.ID || tx.Code != cityid.OK || !slices.Equal(tx.Operations, []string{"allocate"}) || len(tx.Codes) != 1 || tx.Codes[0].String() != "MA.156.1002" || tx.Proposals == nil {
		t.Errorf("%+v", tx)
	}
	if len(e.Changed) != 1 || e.Changed[0].String() != "MA.156.1002" || e.ChangedMore != 0 {
		t.Errorf("changed %v", e.Changed)
	}
	l.want(r.Height + 1) // which proves it

	// A refusal is told as well.
	refused, err := w.Submit(context.Background(), chaintest.Tx(engineChain, w.Now().Add(time.Second), chaintest.Allocate(chaintest.Allocation("MA.156.1002", cityid.KindCity))), true)
	if err != nil || refused.Code != cityid.ErrExists {
		t.Fatalf("%+v, %v", refused, err)
	}
	if e := l.want(refused.Height); e.Transactions[0].Code != cityid.ErrExists || len(e.Changed) != 0 {
		t.Errorf("%+v", e)
	}
}

func TestStreamCutsLongLists(t *testing.T) {
	w := newWorld(t, api.Config{}, web.Limits{})
	var items []cityid.Allocation
	for i := range 250 {
		items = append(items, chaintest.Allocation(fmt.Sprintf("MA.156.%04d", 1000+i), cityid.KindCity))
	}
	r := w.do(0, chaintest.Allocate(items...))
	e := w.listen(fmt.Sprintf("?after=%d", r.Height-1)).want(r.Height)
	if len(e.Changed) != 100 || e.ChangedMore != 150 || len(e.Transactions[0].Codes) != 100 || e.Transactions[0].CodesMore != 150 {
		t.Errorf("%d changed and %d more, %d codes and %d more", len(e.Changed), e.ChangedMore, len(e.Transactions[0].Codes), e.Transactions[0].CodesMore)
	}
	// What is left out counts for filters.
	w.listen(fmt.Sprintf("?code=MA.156.1249&after=%d", r.Height-1)).want(r.Height)
}

func TestStreamResumes(t *testing.T) {
	w := newWorld(t, api.Config{}, web.Limits{})
	for range 5 {
		w.block()
	}
	top := w.height()
	for _, l := range []*listener{
		w.listen("?after=3"), w.listen("", "Last-Event-ID", "3"),
		w.listen("?after=1", "Last-Event-ID", "3"), // as a browser that connects again
	} {
		for h := uint64(4); h <= top; h++ {
			l.want(h)
		}
		l.close()
	}
	// One who has seen a block that this node has not waits for the next.
	l := w.listen(fmt.Sprintf("?after=%d", top+2))
	w.block()
	w.block()
	l.want(w.block())

	// One who has seen blocks of another chain starts anew.
	m, _ := w.listen("?after=100000").event()
	if m.event != "reset" || m.id != fmt.Sprint(w.height()-1) || m.data != fmt.Sprintf(`{"height":%d}`, w.height()) {
		t.Errorf("%+v", m)
	}
	// And so does one who was away for long.
	for w.height() < 1010 {
		if err := w.MakeBlock(); err != nil {
			t.Fatal(err)
		}
	}
	top = w.height()
	l = w.listen(fmt.Sprintf("?after=%d", top-1000))
	l.want(top - 999)
	l = w.listen(fmt.Sprintf("?after=%d", top-1001))
	if m, _ := l.event(); m.event != "reset" {
		t.Errorf("%+v", m)
	}
	l.want(top)
	l.want(w.block())
}

func TestStreamFilters(t *testing.T) {
	w := newWorld(t, api.Config{}, web.Limits{})
	after := w.height()
	allocate := func(code string, kind cityid.Kind) uint64 {
		return w.do(0, chaintest.Allocate(chaintest.Allocation(code, kind))).Height
	}
	province := allocate("MA.156.13", cityid.KindProvince)
	// A city that two decide together.
	a := chaintest.Allocation("MA.156.1301", cityid.KindCity)
	a.Policy = chaintest.Policy(chaintest.Key(2))
	a.Policy.Threshold = 2
	a.Policy.Members = append(a.Policy.Members, chaintest.Policy(chaintest.Key(3)).Members...)
	city := w.do(0, chaintest.Allocate(a)).Height
	other := allocate("MA.156.1401", cityid.KindCity)
	propose := w.do(2, cityid.Operation{Propose: &cityid.Propose{Operations: []cityid.Operation{
		chaintest.Allocate(chaintest.Allocation("MA.156.1301.01", cityid.KindDepartment)),
	}}})
	number := propose.Proposals[0]
	p, err := w.Proposal(context.Background(), number)
	if err != nil {
		t.Fatal(err)
	}
	approve := w.do(3, cityid.Operation{Approve: &cityid.Approve{Proposal: number, Digest: p.Digest}}).Height
	w.do(2, cityid.Operation{Propose: &cityid.Propose{Operations: []cityid.Operation{
		chaintest.Allocate(chaintest.Allocation("MA.156.1301.02", cityid.KindDepartment)),
	}}})
	for _, c := range []struct {
		filter string
		want   []uint64
	}{
		{"code=MA.156.1401", []uint64{other}},
		{"code=MA.156.1301", []uint64{city, propose.Height, approve}},
		{"code=MA.156.13", []uint64{province, city, propose.Height, approve}},     // places within places
		{"code=MA.156", []uint64{province, city, other, propose.Height, approve}}, // all
		{"code=MA.156.1301.01", []uint64{propose.Height, approve}},                // which the approval does not name
		{fmt.Sprintf("proposal=%d", number), []uint64{propose.Height, approve}},   // made, and named
		{fmt.Sprintf("proposal=%d&code=MA.156.1401", number), nil},                // both must hold
		{fmt.Sprintf("proposal=%d&code=MA.156.13", number), []uint64{propose.Height, approve}},
		{"code=MA.156.14010", nil},
	} {
		l := w.listen(fmt.Sprintf("?after=%d&%s", after, c.filter))
		for _, h := range c.want {
			l.want(h)
		}
		l.close()
	}
}

func TestStreamShowsThatItLives(t *testing.T) {
	// The server's limits on ordinary requests must not end a stream.
	w := newWorld(t, api.Config{Beat: 100 * time.Millisecond}, web.Limits{Read: 150 * time.Millisecond, Write: 150 * time.Millisecond, Header: 150 * time.Millisecond})
	w.city(1)
	all, filtered := w.listen(""), w.listen("?code=MA.156.9999")
	all.want(w.height())
	for range 10 {
		if m, ok := all.next(); !ok || m != (message{}) {
			t.Fatalf("%+v, %v", m, all.lines.Err())
		}
	}
	// A filter's reader learns how far it need not look again.
	at := w.block()
	for {
		m, ok := filtered.next()
		if !ok || m.event != "" {
			t.Fatalf("%+v, %v", m, filtered.lines.Err())
		}
		if m.id == fmt.Sprint(at) {
			break
		}
	}
	all.want(at)
}

func TestStreamEndsWithTheServer(t *testing.T) {
	source := &watchedSource{}
	w := newWorld(t, api.Config{Source: source}, web.Limits{})
	source.Engine = w.Engine
	l := w.listen("")
	l.want(w.height())
	poll := make(chan error, 1)
	go func() {
		r, err := http.Get(w.url + fmt.Sprintf("/v1/changes?wait=true&after=%d", w.height()))
		if err == nil {
			r.Body.Close()
			if r.StatusCode != http.StatusServiceUnavailable {
				err = fmt.Errorf("status %d", r.StatusCode)
			}
		}
		poll <- err
	}()
	source.awaited(t, w.height(), 2) // by the stream and the poll
	start := time.Now()
	w.stop()
	m, ok := l.next()
	if !ok || m.retry != "5000" || m.comment == "" {
		t.Errorf("%+v, %v", m, l.lines.Err())
	}
	if m, ok := l.next(); ok {
		t.Errorf("goes on: %+v", m)
	}
	if err := <-poll; err != nil {
		t.Error(err)
	}
	err := <-w.served
	w.served <- err
	if took := time.Since(start); err != nil || took > time.Second {
		t.Errorf("stopped after %s: %v", took, err)
	}
}

func TestStreamsAreLimited(t *testing.T) {
	w := newWorld(t, api.Config{Streams: 8}, web.Limits{})
	a, b := w.listen(""), w.listen("")
	a.want(w.height())
	b.want(w.height())
	c := w.listen("")
	if c.response.StatusCode != http.StatusTooManyRequests || c.response.Header.Get("Retry-After") == "" {
		t.Errorf("a third stream: %d", c.response.StatusCode)
	}
	a.close()
	for deadline := time.Now().Add(5 * time.Second); ; {
		if d := w.listen(""); d.response.StatusCode == http.StatusOK {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the slot of an ended stream stays taken")
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// TestStreamSlowReader has a reader that takes nothing: it is cut off, and holds
// up nobody, while the others see every block.
func TestStreamSlowReader(t *testing.T) {
	big := &bigBlocks{}
	w := newWorld(t, api.Config{Source: big, Write: 300 * time.Millisecond, Streams: 8}, web.Limits{})
	big.Engine = w.Engine
	conn, err := net.Dial("tcp", strings.TrimPrefix(w.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.(*net.TCPConn).SetReadBuffer(4096)
	fmt.Fprintf(conn, "GET /v1/events?after=0 HTTP/1.1\r\nHost: x\r\n\r\n")
	quick := w.listen("?after=0")
	var seen sync.WaitGroup
	seen.Go(func() {
		for h := uint64(1); h <= 400; h++ {
			quick.want(h)
		}
	})
	for w.height() < 400 {
		w.block()
	}
	seen.Wait()
	// The server has given up on the slow one: its slot is free again, since the
	// quick one alone holds one of this address's two.
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		l := w.listen("")
		if l.response.StatusCode == http.StatusOK {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the slow reader is still served")
		}
	}
}

// TestStreamsShareEvents has many readers at the head of the chain, for whom each
// block is read once.
func TestStreamsShareEvents(t *testing.T) {
	source := &bigBlocks{}
	w := newWorld(t, api.Config{Source: source}, web.Limits{})
	source.Engine = w.Engine
	var readers []*listener
	for range 60 {
		readers = append(readers, w.listen(""))
	}
	for _, l := range readers {
		l.want(w.height())
	}
	for range 20 {
		h := w.block()
		for _, l := range readers {
			l.want(h)
		}
	}
	if n := source.reads.Load(); n != 21 {
		t.Errorf("21 blocks were read %d times", n)
	}
}

// bigBlocks tells of long transactions in every block.
type bigBlocks struct {
	*chain.Engine
	reads atomic.Int64
}

func (s *bigBlocks) Block(ctx context.Context, height uint64) (*cityid.Block, error) {
	s.reads.Add(1)
	b, err := s.Engine.Block(ctx, height)
	if err != nil {
		return nil, err
	}
	for range 150 {
		b.Txs = append(b.Txs, cityid.BlockTx{Receipt: cityid.Receipt{ID: cityid.Digest{1}, Height: height}})
	}
	return b, nil
}

// watchedSource counts for which blocks somebody has waited.
type watchedSource struct {
	*chain.Engine
	mu    sync.Mutex
	after map[uint64]int
}

func (s *watchedSource) Await(ctx context.Context, after uint64) (uint64, error) {
	s.mu.Lock()
	if s.after == nil {
		s.after = map[uint64]int{}
	}
	s.after[after]++
	s.mu.Unlock()
	return s.Engine.Await(ctx, after)
}

// awaited waits until somebody has waited so often for the block after a height.
func (s *watchedSource) awaited(t *testing.T, height uint64, times int) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		s.mu.Lock()
		n := s.after[height]
		s.mu.Unlock()
		if n >= times {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("block %d was awaited %d times, want %d", height+1, n, times)
		}
	}
}

func TestStreamRefusals(t *testing.T) {
	w := newWorld(t, api.Config{}, web.Limits{})
	for _, c := range []struct {
		query   string
		headers []string
		status  int
	}{
		{"?after=x", nil, 400}, {"?code=x!", nil, 400}, {"?proposal=0", nil, 400}, {"?limit=3", nil, 400}, {"?after=1&after=2", nil, 400},
		{"", []string{"Last-Event-ID", "x"}, 400}, {"", []string{"Last-Event-ID", "-1"}, 400}, {"", []string{"Accept", "application/json"}, 406},
	} {
		l := w.listen(c.query, c.headers...)
		if l.response.StatusCode != c.status || l.response.Header.Get("Content-Type") != web.ProblemType {
			t.Errorf("%s %v: %d, want %d", c.query, c.headers, l.response.StatusCode, c.status)
		}
		l.close()
	}
	r, err := http.Head(w.url + "/v1/events")
	if err != nil || r.StatusCode != http.StatusOK || r.Header.Get("Content-Type") != "text/event-stream" {
		t.Errorf("HEAD: %+v, %v", r, err)
	}
}
