// SPDX-License-Identifier: Apache-2.0

package web

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"syscall"
	"time"

	"cityid"
)

// Limits bound what one connection may cost. A zero field is its default.
type Limits struct {
	Header      time.Duration // from the first octet of a request to the end of its headers; 10 s
	Read        time.Duration // to the end of its body; 30 s
	Write       time.Duration // from the end of its headers to the end of the answer; 90 s, which must exceed any wait inside a handler
	Idle        time.Duration // between requests; 120 s
	HeaderBytes int           // octets of request line and headers; 16 KiB
}

// NewServer returns a server for h with these limits. Requests beyond them
// never reach h: net/http answers 431 or closes the connection. What net/http
// itself has to say, such as failed TLS handshakes, goes to log at level debug;
// log may be nil.
func NewServer(h http.Handler, l Limits, log *slog.Logger) *http.Server {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	or := func(d, otherwise time.Duration) time.Duration {
		if d == 0 {
			return otherwise
		}
		return d
	}
	s := &http.Server{
		Handler:           h,
		ReadHeaderTimeout: or(l.Header, 10*time.Second),
		ReadTimeout:       or(l.Read, 30*time.Second),
		WriteTimeout:      or(l.Write, 90*time.Second),
		IdleTimeout:       or(l.Idle, 120*time.Second),
		MaxHeaderBytes:    l.HeaderBytes,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	if s.MaxHeaderBytes == 0 {
		s.MaxHeaderBytes = 16 << 10
	}
	return s
}

// Listen opens a TCP listener on an address such as "127.0.0.1:8080",
// ":8080" or "[::1]:0". It is limited with [LimitConns] to 10,000 connections, or
// half the files the process may have open if that is less. Errors say what an
// operator can do.
func Listen(ctx context.Context, address string) (net.Listener, error) {
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, fmt.Errorf("listen on %.100q: want host:port, such as 127.0.0.1:8080", address)
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return nil, fmt.Errorf("listen on %.100q: port %.20q: want a number from 0 to 65535", address, port)
	}
	var c net.ListenConfig
	l, err := c.Listen(ctx, "tcp", address)
	switch {
	case err == nil:
		return LimitConns(l, defaultConns()), nil
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, fmt.Errorf("listen on %s: another program has the port: stop it or choose another port: %w", address, err)
	case errors.Is(err, fs.ErrPermission):
		return nil, fmt.Errorf("listen on %s: not permitted: ports below 1024 need a privilege, so choose a higher one: %w", address, err)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return nil, fmt.Errorf("listen on %s: no interface of this machine has the address: %w", address, err)
	}
	return nil, fmt.Errorf("listen on %s: %w", address, err)
}

type stoppingKey struct{}

// WithStopping returns ctx, and cancels it with a [cityid.ErrUnavailable] as soon
// as the server of the request begins to stop, or when cancel is called. Answers
// without an end use it, so that they do not hold up the others.
func WithStopping(ctx context.Context) (_ context.Context, cancel func()) {
	ctx, end := context.WithCancelCause(ctx)
	server, ok := ctx.Value(stoppingKey{}).(context.Context)
	if !ok {
		return ctx, func() { end(nil) }
	}
	forget := context.AfterFunc(server, func() { end(errStopping()) })
	return ctx, func() { forget(); end(nil) }
}

func errStopping() error {
	return cityid.Errorf(cityid.ErrUnavailable, "the node is stopping: ask again, or ask another one")
}

// Serve serves on l, which it closes, until ctx ends or the server fails; over
// TLS if cert is not nil. When ctx ends it takes no new connections and gives
// running requests grace to finish; those under [WithStopping] are told at once.
// After half of it the contexts of those still
// running end, so that whoever waits for something is told to ask again: the
// cause is a [cityid.ErrUnavailable]. At the end it cuts what is left and says so
// in its error.
func Serve(ctx context.Context, s *http.Server, l net.Listener, cert *Certificate, grace time.Duration) error {
	requests, end := context.WithCancelCause(context.WithoutCancel(ctx))
	defer end(nil)
	requests = context.WithValue(requests, stoppingKey{}, ctx)
	s.BaseContext = func(net.Listener) context.Context { return requests }
	done := make(chan error, 1)
	go func() {
		if cert != nil {
			s.TLSConfig = cert.Config()
			done <- s.ServeTLS(l, "", "")
			return
		}
		done <- s.Serve(l)
	}()
	select {
	case err := <-done:
		return fmt.Errorf("serve on %s: %w", l.Addr(), err)
	case <-ctx.Done():
	}
	patience, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
	defer cancel()
	hurry := time.AfterFunc(grace/2, func() {
		end(errStopping())
	})
	defer hurry.Stop()
	err := s.Shutdown(patience)
	if err != nil {
		s.Close()
		err = fmt.Errorf("stop serving on %s: requests were cut after %s: %w", l.Addr(), grace, err)
	}
	<-done
	return err
}
