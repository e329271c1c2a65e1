// SPDX-License-Identifier: Apache-2.0

package share_test

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"cityid"
	"cityid/internal/chain/chaintest"
	"cityid/internal/share"
)

// wide returns a world whose provider opens nearly all paths there can be.
func wide(t *testing.T) *world {
	return newWorld(t, func(w *world) {
		w.give.cfg.Datasets[0].Paths = []share.PathRule{
			{Path: "/latest", Query: map[string]string{"limit": "integer", "at": "time", "of": "code", "word": "word", "order": "up|down"}},
			{Path: "/files/**"},
		}
	})
}

// TestPaths asks, under the consumer's good signature, for paths and parameters
// that could be read in two ways, or lead elsewhere than they look. The service
// behind sees only what is allowed, in one form.
func TestPaths(t *testing.T) {
	w := wide(t)
	id := w.agree(nil)
	var seen []string
	w.backend = func(rw http.ResponseWriter, r *http.Request) {
		seen = append(seen, r.RequestURI)
		io.WriteString(rw, "{}")
	}
	for target, want := range map[string]string{
		"/latest":                "/air/latest",
		"/latest?limit=1":        "/air/latest?limit=1",
		"/latest?limit=1&":       "/air/latest?limit=1",
		"/latest?%6cimit=1":      "/air/latest?limit=1",
		"/latest?word=a&limit=1": "/air/latest?limit=1&word=a",
		"/latest?at=2026-01-01T00%3A00%3A00%2B08%3A00": "/air/latest?at=2026-01-01T00%3A00%3A00%2B08%3A00",
		"/latest?of=MA.156.1301/30.000001/AIR":         "/air/latest?of=MA.156.1301%2F30.000001%2FAIR",
		"/files/a/b":                                   "/air/files/a/b",
		"/files/%E7%A9%BA":                             "/air/files/%E7%A9%BA",
		"/files/a%20b":                                 "/air/files/a%20b",
		"/files/a%3Fb%23c":                             "/air/files/a%3Fb%23c",
		"/files/a:b@c=d&e+f":                           "/air/files/a:b@c=d&e+f",
		"/files/a~b":                                   "/air/files/a~b",

		"/":                          "",
		"":                           "",
		"/LATEST":                    "",
		"/latest/":                   "",
		"/latest/x":                  "",
		"/files":                     "",
		"/files/":                    "",
		"/files/../latest":           "",
		"/files/..":                  "",
		"/files/.":                   "",
		"/files/./a":                 "",
		"/files//a":                  "",
		"//files/a":                  "",
		"/files/%2e%2e/latest":       "",
		"/files/%2E%2E/latest":       "",
		"/files/.%2e/latest":         "",
		"/files/%2e":                 "",
		"/files/%252e%252e/latest":   "",
		"/files/%25":                 "",
		"/files/a%2Fb":               "",
		"/files/a%2fb":               "",
		"/files/..%2Flatest":         "",
		"/files/..%5Clatest":         "",
		"/files/%00":                 "",
		"/files/a%0Ab":               "",
		"/files/a%0d%0aX-Evil:1":     "",
		"/files/%7F":                 "",
		"/files/%ff":                 "",
		"/files/%C0%AE%C0%AE/latest": "",
		"/files/%c0%af":              "",
		"/files/%ED%A0%80":           "",
		"/files/%61":                 "",
		"/files/%e7%a9%ba":           "",
		"/files/a;b":                 "",
		"/files/a;b=c/../latest":     "",
		"/files/~root":               "",
		"/files/%7Eroot":             "",
		"/files/" + strings.Repeat("a/", 600) + "b": "",
		"/latest?limit=1&limit=2":                   "",
		"/latest?limit=1&%6cimit=2":                 "",
		"/latest?limit=1;word=a":                    "",
		"/latest?limit=%31;word=a":                  "",
		"/latest?limit=1%26secret=2":                "",
		"/latest?limit":                             "",
		"/latest?limit=":                            "",
		"/latest?limit=1.0":                         "",
		"/latest?limit=+1":                          "",
		"/latest?limit=01":                          "",
		"/latest?limit=-0":                          "",
		"/latest?limit=0x10":                        "",
		"/latest?limit=9223372036854775808":         "",
		"/latest?secret=1":                          "",
		"/latest?=1":                                "",
		"/latest?LIMIT=1":                           "",
		"/latest?limit=1&secret":                    "",
		"/latest?limit[]=1":                         "",
		"/latest?word=a%20b":                        "",
		"/latest?word=a%27--":                       "",
		"/latest?word=%E7%A9%BA":                    "",
		"/latest?word=" + strings.Repeat("a", 257):  "",
		"/latest?order=left":                        "",
		"/latest?order=up|down":                     "",
		"/latest?order=":                            "",
		"/latest?at=yesterday":                      "",
		"/latest?at=2026-01-01T00:00:00+08:00":      "",
		"/latest?of=ma.156":                         "",
		"/latest?of=MA.156.1301/../x":               "",
		"/latest?limit=1#x":                         "",
		"/latest??limit=1":                          "",
		"/latest%3Flimit=1":                         "",
		"/files/a?limit=1":                          "",
	} {
		seen = nil
		o := w.order(id, target)
		if strings.ContainsAny(target, "|#[") { // not even to be signed so
			answer := raw(t, w.give.front.url, fmt.Sprintf("GET %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\nData-Agreement: %s\r\nSignature: x\r\n\r\n", o.target, o.authority, o.agreement))
			if !strings.HasPrefix(answer, "HTTP/1.1 4") {
				t.Errorf("%s: %.200s", target, answer)
			}
		} else {
			got := w.ordered(o)
			if (got.status == 200) != (want != "") || got.status >= 500 {
				t.Errorf("%s: %v", target, got)
			}
		}
		switch {
		case want == "" && len(seen) > 0:
			t.Errorf("%s reached the service as %q", target, seen)
		case want != "" && (len(seen) != 1 || seen[0] != want):
			t.Errorf("%s reached the service as %q, want %s", target, seen, want)
		}
		w.engine.Advance(10 * refusalPause) // each of them is signed
		w.pass(0)
	}
}

// refusalPause is more than the time after which one more refusal is signed.
const refusalPause = 1e9

// TestTargets sends request lines of all shapes to the address for other gateways:
// none but the protocol's own is understood.
func TestTargets(t *testing.T) {
	w := newWorld(t)
	w.agree(nil)
	asked := w.counting()
	host := strings.TrimPrefix(w.give.front.url, "http://")
	code := share.Segment(air)
	for _, target := range []string{
		"http://" + host + "/data/" + code + "/latest", "https://other.example/data/" + code + "/latest", "*", "//data/" + code + "/latest",
		"/data//" + code + "/latest", "/data/../data/" + code + "/latest", "/data/./" + code + "/latest", "/DATA/" + code + "/latest",
		"/data/" + strings.ReplaceAll(air.String(), "/", "%2F") + "/latest", "/data/" + strings.ReplaceAll(code, "~", "%7E") + "/latest",
		"/data/" + strings.ReplaceAll(code, "~", "~~") + "/latest", "/data/~" + code + "/latest", "/data/" + code + "~/latest",
		"/data/" + strings.ToLower(code) + "/latest", "/data/" + air.String() + "/latest", "/data/%20" + code + "/latest",
		"/data/" + code + ";x/latest", "/data/" + code + "%00/latest", "/data/..", "/data/", "/data", "/datasets/../data/" + code,
		"/datasets/" + code + "/..", "/datasets/..%2f..%2fetc%2fpasswd", "/datasets/~~", "/schemas/" + code, "/datasets/" + code + "?x=%zz%",
		"/acknowledgements/", "/acknowledgements/x", "/v1/status", "/fetch/0123456789abcdef/latest", "/metrics", "/",
	} {
		for _, method := range []string{"GET", "POST", "CONNECT", "TRACE"} {
			answer := raw(t, w.give.front.url, fmt.Sprintf("%s %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\nContent-Length: 0\r\n\r\n", method, target, host))
			if strings.HasPrefix(answer, "HTTP/1.1 5") || strings.HasPrefix(answer, "HTTP/1.1 2") && !strings.HasPrefix(target, "/datasets/"+code+"?") {
				t.Errorf("%s %s: %.200s", method, target, answer)
			}
		}
	}
	if asked.Load() != 0 {
		t.Errorf("the service behind was asked %d times", asked.Load())
	}
}

// TestFolder serves a folder in which links, pipes and names lead elsewhere.
func TestFolder(t *testing.T) {
	dir := t.TempDir()
	outside := filepath.Join(t.TempDir(), "secret")
	for name, text := range map[string]string{outside: "secret", filepath.Join(dir, "a.csv"): "a,b", filepath.Join(dir, "in", "b.txt"): "b"} {
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for name, to := range map[string]string{"out": outside, "up": "../", "root": "/", "inside": "a.csv", "loop": "loop"} {
		if err := os.Symlink(to, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "closed"), []byte("secret"), 0); err != nil {
		t.Fatal(err)
	}
	w := newWorld(t, func(w *world) {
		d := &w.give.cfg.Datasets[0]
		d.Backend, d.Paths = share.Backend{Files: dir}, []share.PathRule{{Path: "/"}, {Path: "/**"}}
	})
	id := w.agree(nil)
	for path, want := range map[string]string{
		"/a.csv": "a,b", "/in/b.txt": "b", "/inside": "a,b", "/out": "", "/up": "", "/up/x": "", "/root": "", "/root/etc/passwd": "", "/loop": "",
		"/pipe": "", "/a.csv/x": "", "/none": "", "/in/../a.csv": "", "/" + strings.Repeat("n", 300): "", "/in/%00": "",
	} {
		got := w.ordered(w.order(id, path))
		if want != "" && (got.status != 200 || got.body != want) || want == "" && (got.status != 404 && got.status != 400 && got.status != 403) || strings.Contains(got.body, "secret") {
			t.Errorf("%s: %v", path, got)
		}
	}
	got := w.ordered(w.order(id, "/"))
	if got.status != 200 || !strings.Contains(got.body, `"a.csv"`) || !strings.Contains(got.body, `"in","folder":true`) || strings.Contains(got.body, "pipe") || strings.Contains(got.body, "out") {
		t.Errorf("the listing: %v", got)
	}
	if os.Getuid() != 0 {
		if got := w.ordered(w.order(id, "/closed")); got.status != 502 || strings.Contains(got.body, dir) {
			t.Errorf("a file that can not be read: %v", got)
		}
	}
}

// TestSealed serves contents of sealed records, by codes with slashes, and a file
// that changes meanwhile.
func TestSealed(t *testing.T) {
	file := filepath.Join(t.TempDir(), "sealed.jsonl")
	codes := []cityid.Code{cityid.MustParse("MA.156.1301/20.020101/000001"), cityid.MustParse("MA.156.1301.01")}
	write := func(label string) {
		var b strings.Builder
		for i, c := range codes {
			b.Write(sealedLine(t, c, byte(i+1), label))
			b.WriteByte('\n')
		}
		if err := os.WriteFile(file, []byte(b.String()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("first")
	w := newWorld(t, func(w *world) {
		d := &w.give.cfg.Datasets[0]
		d.Backend, d.Paths = share.Backend{Sealed: file}, []share.PathRule{{Path: "/*"}}
	})
	id := w.agree(nil)
	ask := func(label string) {
		t.Helper()
		for _, c := range codes {
			if got := w.ordered(w.order(id, "/"+share.Segment(c))); got.status != 200 || !strings.Contains(got.body, label) || !strings.Contains(got.body, c.String()) {
				t.Errorf("%s: %v", c, got)
			}
		}
	}
	ask("first")
	write("a second, longer one")
	ask("a second, longer one")
	for _, path := range []string{"/MA.156.1301.02", "/x", "/~", "/" + strings.ToLower(share.Segment(codes[0])), "/" + share.Segment(codes[0]) + "~"} {
		if got := w.ordered(w.order(id, path)); got.status != 404 && got.status != 400 {
			t.Errorf("%s: %v", path, got)
		}
	}
	if err := os.WriteFile(file, []byte("{\"code\":"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := w.ordered(w.order(id, "/"+share.Segment(codes[0]))); got.status != 502 || strings.Contains(got.body, file) {
		t.Errorf("a broken file: %v", got)
	}
}

func sealedLine(t *testing.T, c cityid.Code, salt byte, label string) []byte {
	t.Helper()
	a := chaintest.Allocation(c.String(), cityid.KindObject)
	a.Content.Names[0].Text = label
	b, err := jsonLine(&cityid.SealedContent{Code: c, Salt: cityid.Digest{salt}, Content: a.Content})
	if err != nil {
		t.Fatal(err)
	}
	return b
}
