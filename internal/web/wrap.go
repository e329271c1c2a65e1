// SPDX-License-Identifier: Apache-2.0

package web

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"runtime/debug"
	"slices"
	"strings"
	"time"
)

// defaultBody is the most octets of a request's body where nothing else is
// said; it exceeds the largest transaction in JSON.
const defaultBody = 1 << 20

// WrapConfig configures [Wrap].
type WrapConfig struct {
	Log     *slog.Logger   // access log; nil: none
	Proxies []netip.Prefix // whose X-Forwarded-For and X-Request-Id are believed
	// LogPath returns how the path of a request stands in the access log; nil: as
	// it is.
	LogPath func(*http.Request) string
	// MaxBody returns how many octets the body of a request may have; nil: 1 MiB
	// for all.
	MaxBody func(*http.Request) int64
}

// info is what [Wrap] knows about a request. The goroutine that serves the
// request owns it.
type info struct {
	id     string
	client netip.Addr
	err    error // why it was refused, for the log
	large  *budget
}

type infoKey struct{}

func infoOf(ctx context.Context) *info {
	i, _ := ctx.Value(infoKey{}).(*info)
	return i
}

// RequestID returns the id [Wrap] gave the request, or "".
func RequestID(ctx context.Context) string {
	if i := infoOf(ctx); i != nil {
		return i.id
	}
	return ""
}

// Wrap returns the handler a server needs around all its others. It gives every
// request an id (in the context, in problems, in the log, and in the answer's
// X-Request-Id), finds the client's address, caps the body, turns a panic into a
// problem, removes the files into which a form was parsed, and writes one line to
// the access log: at level debug for reads that went well, error for defects, and
// info for the rest. The line holds the path but never the query or a header.
//
// It refuses addresses of over 4096 octets (414) and paths with empty or dot
// segments (400), so that no handler behind it has to normalize one.
func Wrap(h http.Handler, c WrapConfig) http.Handler {
	log := c.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	limit := c.MaxBody
	if limit == nil {
		limit = func(*http.Request) int64 { return defaultBody }
	}
	large := new(budget)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		start := time.Now()
		i := &info{client: clientAddr(r, c.Proxies), id: requestID(r, c.Proxies), large: large}
		r = r.WithContext(context.WithValue(r.Context(), infoKey{}, i))
		w.Header().Set("X-Request-Id", i.id)
		w.Header().Set("X-Content-Type-Options", "nosniff")
		out := &recorder{ResponseWriter: w}
		if r.Body != nil && r.Body != http.NoBody {
			r.Body = http.MaxBytesReader(w, r.Body, limit(r))
		}
		defer func() {
			removeFiles(r)
			cut := handlePanic(out, r, recover(), log)
			logAccess(log, r, c.LogPath, out, i, time.Since(start))
			if cut {
				panic(http.ErrAbortHandler)
			}
		}()
		if err := checkAddress(r); err != nil {
			WriteError(out, r, err)
			return
		}
		h.ServeHTTP(out, r)
	})
}

// removeFiles removes the files into which a form was parsed. net/http does so only
// for the request it has made, and r is a copy of that.
func removeFiles(r *http.Request) {
	if r.MultipartForm != nil {
		_ = r.MultipartForm.RemoveAll() // what is left lies in the system's folder for such files
	}
}

// handlePanic answers a panic with a problem, and reports whether the answer
// had begun already, so that only cutting the connection tells the client.
func handlePanic(w *recorder, r *http.Request, p any, log *slog.Logger) (cut bool) {
	if p == nil {
		return false
	}
	if p == http.ErrAbortHandler {
		return true
	}
	log.Error("panic", "request", RequestID(r.Context()), "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
	if w.status != 0 {
		return true
	}
	WriteError(w, r, fmt.Errorf("panic: %v", p))
	return false
}

func logAccess(log *slog.Logger, r *http.Request, path func(*http.Request) string, w *recorder, i *info, took time.Duration) {
	level := slog.LevelInfo
	switch {
	case w.status == http.StatusInternalServerError:
		level = slog.LevelError
	case w.status < http.StatusBadRequest && (r.Method == http.MethodGet || r.Method == http.MethodHead):
		level = slog.LevelDebug
	}
	if !log.Enabled(r.Context(), level) {
		return
	}
	at := r.URL.EscapedPath()
	if path != nil {
		at = path(r)
	}
	attrs := []slog.Attr{
		slog.String("request", i.id), slog.String("method", cut(r.Method, 20)), slog.String("path", cut(at, 300)),
		slog.Int("status", w.status), slog.Int64("octets", w.octets), slog.Duration("took", took), slog.String("client", i.client.String()),
	}
	if i.err != nil {
		attrs = append(attrs, slog.String("error", i.err.Error()))
	}
	log.LogAttrs(r.Context(), level, "http", attrs...)
}

func cut(s string, n int) string { return s[:min(len(s), n)] }

// recorder remembers what was answered.
type recorder struct {
	http.ResponseWriter
	status int // 0: nothing yet
	octets int64
}

func (w *recorder) WriteHeader(status int) {
	if w.status == 0 && status >= 200 {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *recorder) Write(b []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	n, err := w.ResponseWriter.Write(b)
	w.octets += int64(n)
	return n, err
}

// Unwrap lets http.ResponseController reach the connection.
func (w *recorder) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// requestID returns a fresh id of 16 hexadecimal digits, or the one a trusted
// proxy gave if it has 1 to 64 letters, digits, hyphens and underscores.
func requestID(r *http.Request, proxies []netip.Prefix) string {
	if given := r.Header.Get("X-Request-Id"); len(given) >= 1 && len(given) <= 64 && trusted(remoteAddr(r), proxies) {
		ok := !strings.ContainsFunc(given, func(c rune) bool {
			return (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' && c != '_'
		})
		if ok {
			return given
		}
	}
	var b [8]byte
	rand.Read(b[:])
	return hex.EncodeToString(b[:])
}

// ClientAddr returns the address of the client as [Wrap] found it, or else of
// the connection's peer. It is invalid if there is none, as over a Unix socket.
func ClientAddr(r *http.Request) netip.Addr {
	if i := infoOf(r.Context()); i != nil {
		return i.client
	}
	return remoteAddr(r)
}

// clientAddr goes back from the connection's peer through X-Forwarded-For, from
// its end, as long as it meets trusted proxies. What stands before the first
// other address, anybody could have written.
func clientAddr(r *http.Request, proxies []netip.Prefix) netip.Addr {
	addr := remoteAddr(r)
	if !trusted(addr, proxies) {
		return addr
	}
	list := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for _, text := range slices.Backward(list) {
		next, err := netip.ParseAddr(strings.TrimSpace(text))
		if err != nil {
			return addr
		}
		addr = next.Unmap().WithZone("")
		if !trusted(addr, proxies) {
			return addr
		}
	}
	return addr
}

func remoteAddr(r *http.Request) netip.Addr { return parseAddr(r.RemoteAddr) }

// parseAddr returns the address in host:port, or an invalid one.
func parseAddr(hostPort string) netip.Addr {
	host, _, err := net.SplitHostPort(hostPort)
	if err != nil {
		return netip.Addr{}
	}
	addr, err := netip.ParseAddr(host)
	if err != nil {
		return netip.Addr{}
	}
	return addr.Unmap().WithZone("")
}

func trusted(addr netip.Addr, proxies []netip.Prefix) bool {
	return addr.IsValid() && slices.ContainsFunc(proxies, func(p netip.Prefix) bool { return p.Contains(addr) })
}
