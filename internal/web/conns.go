// SPDX-License-Identifier: Apache-2.0

package web

import (
	"net"
	"net/netip"
	"sync"
)

// maxConns is how many connections a listener holds at most, where the process
// may have files open enough.
const maxConns = 10_000

// clientShare is the part of a listener's connections, one in so many, that one
// client may hold.
const clientShare = 4

// LimitConns returns a listener that holds at most n connections of l at a time;
// n is at least 1. More wait for one of them to end, so that however many come,
// the process can still open the files it needs. One client address (for IPv6,
// each /64) holds a quarter of them; what it opens beyond is closed at once.
func LimitConns(l net.Listener, n int) net.Listener {
	return &gate{
		Listener: l, slots: make(chan struct{}, n), share: max(1, n/clientShare),
		held: map[netip.Prefix]int{}, closed: make(chan struct{}),
	}
}

// gate is a listener with limits.
type gate struct {
	net.Listener
	slots chan struct{} // one element for each connection
	share int

	mu   sync.Mutex
	held map[netip.Prefix]int // connections of each client

	once   sync.Once
	closed chan struct{}
}

func (g *gate) Accept() (net.Conn, error) {
	for {
		select {
		case g.slots <- struct{}{}:
		case <-g.closed:
			return nil, net.ErrClosed
		}
		c, err := g.Listener.Accept()
		if err != nil {
			<-g.slots
			return nil, err
		}
		client := clientOf(parseAddr(c.RemoteAddr().String()))
		if g.enter(client) {
			return &gateConn{Conn: c, leave: func() { g.leave(client) }}, nil
		}
		c.Close()
		<-g.slots
	}
}

func (g *gate) Close() error {
	g.once.Do(func() { close(g.closed) })
	return g.Listener.Close()
}

func (g *gate) enter(client netip.Prefix) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.held[client] >= g.share {
		return false
	}
	g.held[client]++
	return true
}

func (g *gate) leave(client netip.Prefix) {
	g.mu.Lock()
	if g.held[client]--; g.held[client] == 0 {
		delete(g.held, client)
	}
	g.mu.Unlock()
	<-g.slots
}

// gateConn is a connection that tells when it is closed.
type gateConn struct {
	net.Conn
	once  sync.Once
	leave func()
}

func (c *gateConn) Close() error {
	err := c.Conn.Close()
	c.once.Do(c.leave)
	return err
}
