// SPDX-License-Identifier: Apache-2.0

package web

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"strings"
	"testing"

	"cityid"
)

func TestWrap(t *testing.T) {
	var out bytes.Buffer
	log := slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug}))
	var seen string
	h := Wrap(Endpoint(func(w http.ResponseWriter, r *http.Request) error {
		seen = RequestID(r.Context())
		switch r.URL.Path {
		case "/defect":
			return errors.New("disk on fire")
		case "/refused":
			return cityid.Errorf(cityid.ErrConflict, "other revision")
		case "/panic":
			panic("boom")
		case "/late-panic":
			io.WriteString(w, "half")
			panic("boom")
		case "/body":
			_, err := io.ReadAll(r.Body)
			return err
		}
		io.WriteString(w, "fine")
		return nil
	}), WrapConfig{Log: log, MaxBody: func(*http.Request) int64 { return 10 }})
	call := func(method, target, body string) *httptest.ResponseRecorder {
		out.Reset()
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(method, target, strings.NewReader(body)))
		return w
	}

	w := call("GET", "/fine?token=s3cret", "")
	if len(seen) != 16 || w.Header().Get("X-Request-Id") != seen {
		t.Errorf("request id %q, header %q", seen, w.Header().Get("X-Request-Id"))
	}
	for _, part := range []string{"level=DEBUG", "path=/fine", "status=200", "octets=4", "client=192.0.2.1", "request=" + seen} {
		if !strings.Contains(out.String(), part) {
			t.Errorf("log lacks %s: %s", part, &out)
		}
	}
	if strings.Contains(out.String(), "s3cret") {
		t.Errorf("log holds the query: %s", &out)
	}
	first := seen
	if call("POST", "/fine", ""); seen == first || !strings.Contains(out.String(), "level=INFO") {
		t.Errorf("second request: id %q, log %s", seen, &out)
	}

	w = call("GET", "/defect", "")
	if w.Code != 500 || strings.Contains(w.Body.String(), "fire") || !strings.Contains(w.Body.String(), "urn:cityid:request:"+seen) {
		t.Errorf("defect: %d %s", w.Code, w.Body)
	}
	if !strings.Contains(out.String(), "level=ERROR") || !strings.Contains(out.String(), "disk on fire") {
		t.Errorf("log of a defect: %s", &out)
	}
	if w = call("GET", "/refused", ""); w.Code != 409 || !strings.Contains(out.String(), "level=INFO") || !strings.Contains(out.String(), "other revision") {
		t.Errorf("refusal: %d, log %s", w.Code, &out)
	}
	w = call("GET", "/panic", "")
	if w.Code != 500 || w.Header().Get("Content-Type") != ProblemType || !strings.Contains(out.String(), "boom") || !strings.Contains(out.String(), "wrap_test.go") {
		t.Errorf("panic: %d %s, log %s", w.Code, w.Body, &out)
	}
	if w = call("GET", "/a//b", ""); w.Code != 400 || w.Header().Get("X-Content-Type-Options") != "nosniff" {
		t.Errorf("empty segment: %d %v", w.Code, w.Header())
	}
	if w = call("GET", "/"+strings.Repeat("a", 4096), ""); w.Code != 414 {
		t.Errorf("long path: %d", w.Code)
	}
	if w = call("POST", "/body", strings.Repeat("x", 10)); w.Code != 200 {
		t.Errorf("body at its cap: %d", w.Code)
	}
	if w = call("POST", "/body", strings.Repeat("x", 11)); w.Code != 413 {
		t.Errorf("body over its cap: %d", w.Code)
	}
	func() {
		defer func() {
			if recover() != http.ErrAbortHandler {
				t.Error("a panic after the answer began must cut the connection")
			}
		}()
		call("GET", "/late-panic", "")
	}()
}

func TestClientAddr(t *testing.T) {
	proxies := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8")}
	tests := []struct {
		remote    string
		forwarded []string
		want      string
	}{
		{"203.0.113.9:1", nil, "203.0.113.9"},
		{"203.0.113.9:1", []string{"1.2.3.4"}, "203.0.113.9"}, // not a proxy: not believed
		{"10.0.0.1:1", []string{"1.2.3.4"}, "1.2.3.4"},
		{"10.0.0.1:1", []string{"9.9.9.9, 1.2.3.4"}, "1.2.3.4"}, // the first was written by the client
		{"10.0.0.1:1", []string{"9.9.9.9", "1.2.3.4, 10.2.2.2"}, "1.2.3.4"},
		{"10.0.0.1:1", []string{"9.9.9.9, junk"}, "10.0.0.1"},
		{"10.0.0.1:1", nil, "10.0.0.1"},
		{"[fd00::1]:1", []string{"2001:db8::7"}, "2001:db8::7"},
		{"[::ffff:10.0.0.1]:1", []string{"::ffff:1.2.3.4"}, "1.2.3.4"},
		{"@", []string{"1.2.3.4"}, "invalid IP"},
	}
	for _, tt := range tests {
		r := httptest.NewRequest("GET", "/", nil)
		r.RemoteAddr = tt.remote
		r.Header["X-Forwarded-For"] = tt.forwarded
		r.Header.Set("X-Request-Id", "from-outside_1")
		var got, id string
		Wrap(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			got, id = ClientAddr(r).String(), RequestID(r.Context())
		}), WrapConfig{Proxies: proxies}).ServeHTTP(httptest.NewRecorder(), r)
		if got != tt.want {
			t.Errorf("%s for %v: %s, want %s", tt.remote, tt.forwarded, got, tt.want)
		}
		if proxied := tt.remote[0] != '2' && tt.remote != "@"; (id == "from-outside_1") != proxied {
			t.Errorf("%s: request id %q", tt.remote, id)
		}
	}
	r := httptest.NewRequest("GET", "/", nil)
	r.RemoteAddr = "10.0.0.1:1"
	for _, bad := range []string{"", strings.Repeat("a", 65), "a b", "a\nb", "é"} {
		r.Header.Set("X-Request-Id", bad)
		if id := requestID(r, proxies); id == bad || len(id) != 16 {
			t.Errorf("request id %q from %q", id, bad)
		}
	}
	if got := ClientAddr(r); got != netip.MustParseAddr("10.0.0.1") {
		t.Errorf("without Wrap: %s", got)
	}
}

func TestPublic(t *testing.T) {
	reached := false
	h := Public(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { reached = true }))
	call := func(method, target string, header ...string) *httptest.ResponseRecorder {
		reached = false
		r := httptest.NewRequest(method, "/", nil)
		u := *r.URL
		path, query, _ := strings.Cut(target, "?")
		u.RawQuery = query
		u.Path, u.RawPath = path, ""
		if p := strings.ReplaceAll(path, "%2E", "."); p != path {
			u.Path, u.RawPath = p, path
		}
		r.URL = &u
		for i := 0; i < len(header); i += 2 {
			r.Header.Set(header[i], header[i+1])
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return w
	}
	w := call("GET", "/a/b")
	want := map[string]string{
		"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "Access-Control-Allow-Origin": "*",
		"Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
	}
	for name, value := range want {
		if w.Header().Get(name) != value {
			t.Errorf("%s: %q", name, w.Header().Get(name))
		}
	}
	if w := call("POST", "/a"); w.Header().Get("Access-Control-Allow-Origin") != "" {
		t.Error("other origins may write")
	}
	if w := call("OPTIONS", "/a", "Access-Control-Request-Method", "GET"); w.Header().Get("Access-Control-Allow-Methods") != "GET, HEAD" {
		t.Errorf("preflight of a read: %v", w.Header())
	}
	if w := call("OPTIONS", "/a", "Access-Control-Request-Method", "POST"); w.Header().Get("Access-Control-Allow-Origin") != "" {
		t.Errorf("preflight of a write: %v", w.Header())
	}
	for _, tt := range []struct {
		target string
		status int
	}{
		{"/", 200}, {"/a/", 200}, {"/a/.b/..c", 200}, {"/%2E%2E/a", 200}, {"/" + strings.Repeat("a", 4095), 200},
		{"//", 400}, {"//a", 400}, {"/a//b", 400}, {"/a//", 400}, {"/./a", 400}, {"/a/..", 400}, {"", 400}, {"*", 400},
		{"/" + strings.Repeat("a", 4096), 414}, {"/a?" + strings.Repeat("q", 4095), 414},
	} {
		if w := call("GET", tt.target); w.Code != tt.status || reached != (tt.status == 200) {
			t.Errorf("%.40q: status %d, want %d", tt.target, w.Code, tt.status)
		}
	}
}

func ExampleWriteError() {
	w := httptest.NewRecorder()
	WriteError(w, httptest.NewRequest("GET", "/", nil), cityid.Errorf(cityid.ErrConflict, "MA.156.1301 is at revision 4, not 3"))
	fmt.Print(w.Code, " ", w.Body)
	// Output:
	// 409 {"type":"urn:cityid:problem:conflict","title":"The record has changed meanwhile","status":409,"detail":"MA.156.1301 is at revision 4, not 3","code":"conflict"}
}

// TestWrapRemovesFiles leaves nothing on the disk of a form with a file that was
// too large for memory.
func TestWrapRemovesFiles(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"TMPDIR", "TMP", "TEMP"} {
		t.Setenv(name, dir)
	}
	files := func() int {
		list, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		return len(list)
	}
	during := 0
	s := httptest.NewServer(Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := r.ParseMultipartForm(0); err != nil {
			t.Error(err)
		}
		during = files()
	}), WrapConfig{MaxBody: func(*http.Request) int64 { return 64 << 20 }}))
	defer s.Close()
	var body bytes.Buffer
	form := multipart.NewWriter(&body)
	part, err := form.CreateFormFile("file", "large")
	if err == nil {
		_, err = part.Write(make([]byte, 11<<20)) // net/http keeps 10 MB more than it is told to
	}
	if err = errors.Join(err, form.Close()); err != nil {
		t.Fatal(err)
	}
	answer, err := http.Post(s.URL, form.FormDataContentType(), &body)
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	s.Close() // the handler and what is around it are done
	if during != 1 || files() != 0 {
		t.Errorf("%d files while the form was read, %d afterwards", during, files())
	}
}

// TestWrapLogPath keeps out of the log what the caller says.
func TestWrapLogPath(t *testing.T) {
	var out bytes.Buffer
	log := slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug}))
	h := Wrap(Endpoint(NotFound), WrapConfig{Log: log, LogPath: func(*http.Request) string { return "/secret/…" }})
	h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/secret/5f1c", nil))
	if !strings.Contains(out.String(), "/secret/…") || strings.Contains(out.String(), "path=/secret/5f1c") {
		t.Errorf("log: %s", &out)
	}
}
