// SPDX-License-Identifier: Apache-2.0

package chain_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"cityid"
	"cityid/internal/api"
	"cityid/internal/chain/chaintest"
	"cityid/internal/web"
)

// crowd is clients of four nodes, greedy and other.
type crowd struct {
	t     *testing.T
	w     *chaintest.Network
	at    []string // addresses
	stop  chan struct{}
	wg    sync.WaitGroup
	mu    sync.Mutex
	seen  map[string]int // what each kind of client was answered
	plain http.Client
}

// serve has a node answer over HTTP, with the limits that nodes have and shorter times.
func (c *crowd) serve(i int) {
	l, err := web.Listen(c.t.Context(), "127.0.0.1:0")
	if err != nil {
		c.t.Fatal(err)
	}
	c.at = append(c.at, l.Addr().String())
	h := api.Handler(api.Config{Source: c.w.Nodes[i], Streams: 8, Beat: 200 * time.Millisecond, Write: time.Second})
	s := web.NewServer(web.Wrap(h, web.WrapConfig{}), web.Limits{Header: time.Second, Read: 2 * time.Second}, nil)
	ctx, end := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- web.Serve(ctx, s, l, nil, 200*time.Millisecond) }()
	c.t.Cleanup(func() {
		end()
		<-done // what has not ended by then is cut, and that is what is wanted here
	})
}

// greedy has clients of a kind come again and again.
func (c *crowd) greedy(name string, clients int, once func(address string) string) {
	for range clients {
		c.wg.Go(func() {
			for {
				select {
				case <-c.stop:
					return
				default:
				}
				answer := once(c.at[rand.N(len(c.at))])
				c.mu.Lock()
				c.seen[name+": "+answer]++
				c.mu.Unlock()
			}
		})
	}
}

func (c *crowd) times(what string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.seen[what]
}

// raw sends octets as they are, and returns the status that comes, if one does before
// the connection ends.
func raw(address string, parts ...string) string {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		return "refused"
	}
	defer conn.Close()
	for i, p := range parts {
		if i > 0 {
			time.Sleep(50 * time.Millisecond)
		}
		if _, err := io.WriteString(conn, p); err != nil {
			break // it is answered or cut before all is sent
		}
	}
	_ = conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	head := make([]byte, 12)
	if _, err := io.ReadFull(conn, head); err != nil {
		return "cut"
	}
	return string(head[9:])
}

func get(path string) string { return "GET " + path + " HTTP/1.1\r\nHost: x\r\n\r\n" }

func post(path, length string) string {
	return "POST " + path + " HTTP/1.1\r\nHost: x\r\nContent-Type: application/cbor\r\n" + length + "\r\n\r\n"
}

// unread asks for something without an end, never reads it, and waits until it is cut.
func (c *crowd) unread(address, path string) string {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		return "refused"
	}
	defer conn.Close()
	_ = conn.(*net.TCPConn).SetReadBuffer(1 << 10)
	if _, err := io.WriteString(conn, get(path)); err != nil {
		return "cut"
	}
	select {
	case <-c.stop:
	case <-time.After(2 * time.Second):
	}
	return "held"
}

// surround sends greedy clients of all kinds.
func (c *crowd) surround() {
	many := strings.Repeat("x", 64<<10)
	c.greedy("listings", 2, func(a string) string { return raw(a, get("/v1/children/MA.156?deep=true&limit=1000")) })
	c.greedy("nonsense", 2, func(a string) string { return raw(a, get("/v1/%ff%00/..?"+string(random(1)[0]%26+'a')+"=")) })
	c.greedy("garbage", 1, func(a string) string { return raw(a, string(random(300))+"\r\n\r\n") })
	c.greedy("unreadable transactions", 1, func(a string) string {
		return raw(a, post("/v1/transactions", "Content-Length: 300")+string(random(300)))
	})
	c.greedy("large bodies", 1, func(a string) string {
		return raw(a, post("/v1/transactions", "Content-Length: 100000000")+strings.Repeat(many, 40))
	})
	c.greedy("bodies without end", 1, func(a string) string {
		chunk := fmt.Sprintf("%x\r\n%s\r\n", len(many), many)
		return raw(a, post("/v1/transactions", "Transfer-Encoding: chunked")+strings.Repeat(chunk, 40))
	})
	c.greedy("large headers", 1, func(a string) string { return raw(a, "GET / HTTP/1.1\r\nX: "+many+many+"\r\n\r\n") })
	c.greedy("headers that never end", 10, func(a string) string { return raw(a, "GET / HTTP/1.1\r\n", "X: y\r\n", "X: z\r\n") })
	c.greedy("bodies that never come", 10, func(a string) string {
		return raw(a, post("/v1/transactions", "Content-Length: 300"), "a", "b", "c")
	})
	c.greedy("answers nobody reads", 4, func(a string) string { return c.unread(a, "/v1/children/MA.156?deep=true&limit=1000") })
	c.greedy("events nobody reads", 4, func(a string) string { return c.unread(a, "/v1/events?after=0") })
	c.greedy("streams", 12, func(a string) string {
		r, err := c.plain.Get("http://" + a + "/v1/events?after=1")
		if err != nil {
			return "cut"
		}
		defer r.Body.Close()
		_, _ = io.CopyN(io.Discard, r.Body, 300)
		return fmt.Sprint(r.StatusCode)
	})
}

// submit posts a transaction to all nodes at once, twice, and returns the receipt, which
// is the same wherever it comes from.
func (c *crowd) submit(raw []byte) cityid.Receipt {
	c.t.Helper()
	answers := make([]cityid.Receipt, 2*len(c.at))
	var wg sync.WaitGroup
	for _, i := range rand.Perm(len(answers)) {
		wg.Go(func() {
			for range 100 { // it may be told to come again
				r, err := c.plain.Post("http://"+c.at[i%len(c.at)]+"/v1/transactions", "application/cbor", bytes.NewReader(raw))
				if err != nil {
					c.t.Error(err)
					return
				}
				text, err := io.ReadAll(r.Body)
				r.Body.Close()
				if r.StatusCode == http.StatusServiceUnavailable || r.StatusCode == http.StatusTooManyRequests {
					time.Sleep(20 * time.Millisecond)
					continue
				}
				if err != nil || r.StatusCode != http.StatusOK || json.Unmarshal(text, &answers[i]) != nil {
					c.t.Errorf("%s %s, %v", r.Status, text, err)
				}
				return
			}
			c.t.Error("told to come again a hundred times")
		})
	}
	wg.Wait()
	for _, a := range answers[1:] {
		if a.ID != answers[0].ID || a.Height != answers[0].Height || a.Code != cityid.OK {
			c.t.Errorf("one transaction has the receipts %+v and %+v", answers[0], a)
		}
	}
	return answers[0]
}

// TestGreedyClients has clients of all greedy kinds at four nodes at once: floods, what is
// too large, what never ends, and what nobody reads, while one submits transactions, each
// to all nodes, twice, in any order.
func TestGreedyClients(t *testing.T) {
	if testing.Short() {
		t.Skip("starts four validators")
	}
	w := chaintest.Start(t, 4, time.Second)
	c := &crowd{t: t, w: w, stop: make(chan struct{}), seen: map[string]int{}}
	c.plain.Timeout = time.Minute
	for i := range 4 {
		w.WaitHeight(i, 1)
		c.serve(i)
	}
	least, most := 5, time.Duration(0)
	if long() {
		least, most = 100, time.Minute
	}
	before := settledHeap()
	told := newTold()
	c.surround()
	var peak uint64
	want := []string{
		"listings: 200", "nonsense: 400", "garbage: 400", "unreadable transactions: 400", "large bodies: 413", "bodies without end: 413",
		"large headers: 431", "headers that never end: cut", "bodies that never come: 400", "answers nobody reads: held", "events nobody reads: held", "streams: 200", "streams: 429",
	}
	missing := func() (out []string) {
		for _, x := range want {
			if c.times(x) == 0 {
				out = append(out, x)
			}
		}
		return out
	}
	start := time.Now()
	for i := 0; i < least || time.Since(start) < most || len(missing()) > 0; i++ {
		if time.Since(start) > most+time.Minute {
			t.Errorf("it never came to %q, but to %v", missing(), c.seen)
			break
		}
		r := c.submit(chaintest.Tx(w.Genesis.Chain, time.Now(), numbered(i)))
		bundle, err := w.Nodes[i%4].Bundle(ctx, cityid.BundleQuery{Code: numberedCode(i), Kind: cityid.AnswerRecord})
		if err != nil {
			t.Fatal(err)
		}
		s := status(t, w.Nodes[i%4])
		for _, line := range []string{
			fmt.Sprintf("ack %s %d %d", r.ID, r.Height, i), "bundle " + base64.StdEncoding.EncodeToString(bundle), fmt.Sprintf("head %d %s", s.Height, s.AppHash),
		} {
			if err := told.hear(line); err != nil {
				t.Fatal(err)
			}
		}
		peak = max(peak, heap())
	}
	close(c.stop)
	c.wg.Wait()
	t.Logf("%d acknowledged in %s; heap %d MiB, %d at most; %v", len(told.acks), time.Since(start).Round(time.Millisecond), before>>20, peak>>20, c.seen)
	if peak > before+maxCrowd {
		t.Errorf("the heap grew from %d to %d octets", before, peak)
	}
	nodeSubmit(t, w, 2, city(99))
	agree(t, w)
	for i := range 4 {
		if err := told.compare(w.Nodes[i]); err != nil {
			t.Errorf("node %d: %v", i, err)
		}
	}
}

// maxCrowd is by how much four nodes and their clients may fill the heap.
const maxCrowd = 512 << 20
