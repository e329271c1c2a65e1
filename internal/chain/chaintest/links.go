// SPDX-License-Identifier: Apache-2.0

package chaintest

import (
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"cityid/internal/chain"
)

// Links are the connections between the nodes of a network, each of which passes
// through a proxy that can cut or delay it. They may be used concurrently.
type Links struct {
	nodes int
	by    map[[2]int]*link // who dials, and whom
}

// StartLinked is [Start] with a proxy between any two nodes.
func StartLinked(t testing.TB, n int, heartbeat time.Duration) (*Network, *Links) {
	t.Helper()
	w := Start(t, n, heartbeat)
	links := &Links{nodes: n, by: map[[2]int]*link{}}
	ids := make([]string, n)
	for i := range n {
		ids[i] = w.Nodes[i].ID()
	}
	for i := range n {
		w.Stop(i)
		var peers []string
		for j := range n {
			if i == j {
				continue
			}
			l, err := newLink(w.configs[j].Listen)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(l.close)
			links.by[[2]int{i, j}] = l
			peers = append(peers, ids[j]+"@"+l.listener.Addr().String())
		}
		w.Configure(i, func(c *chain.Config) { c.Peers = peers })
	}
	for i := range n {
		w.Restart(i)
	}
	return w, links
}

// Split leaves connections within each of the groups alone, a group being digits of
// nodes such as "01 23".
func (l *Links) Split(groups string) {
	for pair, link := range l.by {
		together := false
		for _, g := range strings.Fields(groups) {
			together = together || strings.ContainsRune(g, rune('0'+pair[0])) && strings.ContainsRune(g, rune('0'+pair[1]))
		}
		link.set(!together)
	}
}

// Heal lets all connect again.
func (l *Links) Heal() {
	for _, link := range l.by {
		link.set(false)
	}
}

// Delay holds whatever is sent back for a time, in either direction.
func (l *Links) Delay(d time.Duration) {
	for _, link := range l.by {
		link.mu.Lock()
		link.delay = d
		link.mu.Unlock()
	}
}

// link listens for one node and connects it with another.
type link struct {
	listener net.Listener
	to       string

	mu    sync.Mutex
	down  bool
	delay time.Duration
	open  map[net.Conn]bool
}

func newLink(to string) (*link, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	l := &link{listener: listener, to: to, open: map[net.Conn]bool{}}
	go func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			go l.serve(c)
		}
	}()
	return l, nil
}

func (l *link) close() {
	l.listener.Close()
	l.set(true)
}

// set cuts the link, or mends it.
func (l *link) set(down bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.down = down
	for c := range l.open {
		if down {
			c.Close()
		}
	}
}

// keep notes a connection, which is closed when the link is cut.
func (l *link) keep(c net.Conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.down {
		c.Close()
		return false
	}
	l.open[c] = true
	return true
}

func (l *link) leave(c net.Conn) {
	c.Close()
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.open, c)
}

func (l *link) serve(from net.Conn) {
	if !l.keep(from) {
		return
	}
	defer l.leave(from)
	to, err := net.Dial("tcp", l.to)
	if err != nil || !l.keep(to) {
		return
	}
	defer l.leave(to)
	var wg sync.WaitGroup
	for _, way := range [][2]net.Conn{{from, to}, {to, from}} {
		wg.Go(func() {
			_, _ = io.Copy(delayed{way[1], l}, way[0]) // it ends when either is closed
			way[0].Close()
			way[1].Close()
		})
	}
	wg.Wait()
}

// delayed is a connection whose writes wait for the link's delay.
type delayed struct {
	io.Writer
	l *link
}

func (d delayed) Write(b []byte) (int, error) {
	d.l.mu.Lock()
	delay := d.l.delay
	d.l.mu.Unlock()
	if delay > 0 {
		time.Sleep(delay)
	}
	return d.Writer.Write(b)
}
