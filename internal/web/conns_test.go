// SPDX-License-Identifier: Apache-2.0

package web

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"testing"
	"time"
)

// fakeListener accepts connections that are put into it.
type fakeListener struct {
	net.Listener
	conns  chan net.Conn
	closed chan struct{}
}

func (l *fakeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *fakeListener) Close() error {
	close(l.closed)
	return nil
}

// fakeConn comes from an address.
type fakeConn struct {
	net.Conn
	from net.Addr
}

func (c *fakeConn) RemoteAddr() net.Addr { return c.from }

// dial puts a connection from an address into l and returns its other end.
func (l *fakeListener) dial(from string) net.Conn {
	near, far := net.Pipe()
	l.conns <- &fakeConn{far, net.TCPAddrFromAddrPort(netip.MustParseAddrPort(from))}
	return near
}

func TestLimitConns(t *testing.T) {
	fake := &fakeListener{conns: make(chan net.Conn, 100), closed: make(chan struct{})}
	l := LimitConns(fake, 8) // 2 for each client
	accepted := make(chan net.Conn, 100)
	ended := make(chan error, 1)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				ended <- err
				return
			}
			accepted <- c
		}
	}()
	next := func() net.Conn {
		t.Helper()
		select {
		case c := <-accepted:
			return c
		case <-time.After(5 * time.Second):
			t.Fatal("a connection is not accepted")
			return nil
		}
	}
	none := func(why string) {
		t.Helper()
		select {
		case c := <-accepted:
			t.Fatalf("%s: accepted %s", why, c.RemoteAddr())
		case <-time.After(20 * time.Millisecond):
		}
	}
	var held []net.Conn
	for _, from := range []string{"192.0.2.1:1", "192.0.2.1:2", "[2001:db8::1]:1", "[2001:db8::2]:1"} {
		fake.dial(from)
		held = append(held, next())
	}
	for _, from := range []string{"192.0.2.1:3", "[::ffff:192.0.2.1]:4", "[2001:db8::3]:1"} {
		c := fake.dial(from)
		if _, err := c.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
			t.Errorf("a third connection from %s: %v", from, err)
		}
	}
	none("beyond the client's share")

	// What a client closes, be it twice, it can open again.
	held[0].Close()
	held[0].Close()
	fake.dial("192.0.2.1:5")
	held[0] = next()
	fake.dial("192.0.2.1:6")
	none("a connection closed twice counts twice")

	for _, from := range []string{"192.0.2.2:1", "192.0.2.2:2", "192.0.2.3:1", "192.0.2.3:2"} {
		fake.dial(from)
		held = append(held, next())
	}
	fake.dial("192.0.2.4:1")
	none("the listener is full")
	held[2].Close()
	next()

	// Waiting for a place ends with the listener.
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-ended:
		if !errors.Is(err, net.ErrClosed) {
			t.Error(err)
		}
	case <-time.After(5 * time.Second):
		t.Error("Accept goes on after Close")
	}
}

func TestListenIsLimited(t *testing.T) {
	l, err := Listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if g, ok := l.(*gate); !ok || cap(g.slots) < 1 || cap(g.slots) > maxConns {
		t.Errorf("%T", l)
	}
}
