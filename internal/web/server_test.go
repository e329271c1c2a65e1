// SPDX-License-Identifier: Apache-2.0

package web

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

func TestListen(t *testing.T) {
	l, err := Listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, err = Listen(t.Context(), l.Addr().String())
	if !errors.Is(err, syscall.EADDRINUSE) || !strings.Contains(err.Error(), "another program has the port") {
		t.Errorf("port in use: %v", err)
	}
	for _, bad := range []string{"", "8080", "localhost", "127.0.0.1:http", "127.0.0.1:65536", "127.0.0.1:-1"} {
		if l, err := Listen(t.Context(), bad); err == nil {
			l.Close()
			t.Errorf("%q is accepted", bad)
		}
	}
	if l, err := Listen(t.Context(), "203.0.113.1:0"); err == nil {
		l.Close()
	} else if !strings.Contains(err.Error(), "no interface") {
		t.Errorf("foreign address: %v", err)
	}
}

// start serves h until the test ends, and returns the address and what Serve
// returns when stop is called.
func start(t *testing.T, h http.Handler, limits Limits, cert *Certificate, grace time.Duration) (addr string, stop func() error) {
	t.Helper()
	l, err := Listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- Serve(ctx, NewServer(h, limits, nil), l, cert, grace) }()
	stop = sync.OnceValue(func() error { cancel(); return <-done })
	t.Cleanup(func() { stop() })
	return l.Addr().String(), stop
}

func TestServerLimits(t *testing.T) {
	ok := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "ok") })
	addr, _ := start(t, ok, Limits{Header: 50 * time.Millisecond, HeaderBytes: 4096}, nil, time.Second)
	exchange := func(request string) (string, time.Duration) {
		began := time.Now()
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		c.SetDeadline(time.Now().Add(5 * time.Second))
		io.WriteString(c, request)
		line, _ := bufio.NewReader(c).ReadString('\n')
		return strings.TrimSpace(line), time.Since(began)
	}
	if line, _ := exchange("GET / HTTP/1.1\r\nHost: x\r\n\r\n"); line != "HTTP/1.1 200 OK" {
		t.Errorf("plain request: %q", line)
	}
	if line, _ := exchange("GET / HTTP/1.1\r\nHost: x\r\nX: " + strings.Repeat("a", 20000) + "\r\n\r\n"); !strings.Contains(line, "431") {
		t.Errorf("oversized header: %q", line)
	}
	line, took := exchange("GET / HTTP/1.1\r\nHost: x\r\nX-Slow: ")
	if took > 3*time.Second || strings.Contains(line, "200") {
		t.Errorf("headers that never end: %q after %s", line, took)
	}
}

func TestServeStops(t *testing.T) {
	entered, release := make(chan bool), make(chan bool)
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		entered <- true
		<-release
		io.WriteString(w, "done")
	})
	get := func(addr string) chan string {
		result := make(chan string, 1)
		go func() {
			r, err := http.Get("http://" + addr)
			if err != nil {
				result <- "cut"
				return
			}
			defer r.Body.Close()
			b, _ := io.ReadAll(r.Body)
			result <- string(b)
		}()
		<-entered
		return result
	}

	addr, stop := start(t, h, Limits{}, nil, 10*time.Second)
	result := get(addr)
	time.AfterFunc(20*time.Millisecond, func() { release <- true })
	if err := stop(); err != nil {
		t.Errorf("stop: %v", err)
	}
	if got := <-result; got != "done" {
		t.Errorf("the running request got %q", got)
	}
	if _, err := net.DialTimeout("tcp", addr, time.Second); err == nil {
		t.Error("it still listens")
	}

	addr, stop = start(t, h, Limits{}, nil, 10*time.Millisecond)
	result = get(addr)
	if err := stop(); err == nil || !strings.Contains(err.Error(), "cut") {
		t.Errorf("stop without patience: %v", err)
	}
	if got := <-result; got != "cut" {
		t.Errorf("the request got %q", got)
	}
	close(release)
}

// A request that waits for something when the server stops gets an answer, and
// the server stops in good order.
func TestServeTellsWaiters(t *testing.T) {
	entered := make(chan bool)
	h := Endpoint(func(w http.ResponseWriter, r *http.Request) error {
		close(entered)
		<-r.Context().Done()
		return context.Cause(r.Context())
	})
	addr, stop := start(t, h, Limits{}, nil, 2*time.Second)
	answer := make(chan *http.Response, 1)
	go func() {
		r, err := http.Get("http://" + addr)
		if err != nil {
			t.Error(err)
		}
		answer <- r
	}()
	<-entered
	if err := stop(); err != nil {
		t.Errorf("stop: %v", err)
	}
	if r := <-answer; r != nil {
		defer r.Body.Close()
		if r.StatusCode != http.StatusServiceUnavailable || r.Header.Get("Retry-After") == "" {
			t.Errorf("%s, Retry-After %q", r.Status, r.Header.Get("Retry-After"))
		}
	}
}

func TestServeFails(t *testing.T) {
	l, err := Listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	if err := Serve(t.Context(), NewServer(nil, Limits{}, nil), l, nil, time.Second); err == nil {
		t.Error("serves on a closed listener")
	}
}

// writePair writes a new self-signed certificate for a name and its key.
func writePair(t *testing.T, certFile, keyFile, name string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for file, block := range map[string]*pem.Block{certFile: {Type: "CERTIFICATE", Bytes: der}, keyFile: {Type: "PRIVATE KEY", Bytes: private}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func TestCertificateReloads(t *testing.T) {
	dir := t.TempDir()
	certFile, keyFile := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	if _, err := LoadCertificate(certFile, keyFile, nil); err == nil {
		t.Fatal("loads files that do not exist")
	}
	writePair(t, certFile, keyFile, "first.example")
	var out bytes.Buffer
	cert, err := LoadCertificate(certFile, keyFile, slog.New(slog.NewTextHandler(&out, nil)))
	if err != nil {
		t.Fatal(err)
	}
	ok := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, r.Proto) })
	addr, stop := start(t, ok, Limits{}, cert, time.Second)
	subject := func(config *tls.Config) (string, error) {
		config.InsecureSkipVerify = true
		c, err := tls.Dial("tcp", addr, config)
		if err != nil {
			return "", err
		}
		defer c.Close()
		return c.ConnectionState().PeerCertificates[0].Subject.CommonName, nil
	}
	expect := func(want string) {
		t.Helper()
		if got, err := subject(&tls.Config{}); got != want {
			t.Errorf("certificate of %q, %v; want %q", got, err, want)
		}
	}
	expect("first.example")
	writePair(t, certFile, keyFile, "second.example")
	expect("second.example")

	// A key that does not fit, as in the middle of a renewal.
	writePair(t, filepath.Join(dir, "other.pem"), keyFile, "third.example")
	expect("second.example")
	expect("second.example")
	if err := os.Rename(filepath.Join(dir, "other.pem"), certFile); err != nil {
		t.Fatal(err)
	}
	expect("third.example")
	if err := os.Remove(keyFile); err != nil {
		t.Fatal(err)
	}
	expect("third.example")

	if _, err := subject(&tls.Config{MaxVersion: tls.VersionTLS11, MinVersion: tls.VersionTLS10}); err == nil {
		t.Error("TLS 1.1 is accepted")
	}
	client := &http.Client{Transport: &http.Transport{ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	r, err := client.Get("https://" + addr)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	if b, _ := io.ReadAll(r.Body); string(b) != "HTTP/2.0" {
		t.Errorf("protocol %s", b)
	}
	client.CloseIdleConnections()
	stop()
	if n := strings.Count(out.String(), "goes on serving"); n != 2 {
		t.Errorf("%d warnings, want 2: %s", n, &out)
	}
}
