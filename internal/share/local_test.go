// SPDX-License-Identifier: Apache-2.0

package share_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"cityid/internal/web"
)

// ask asks a city's local side as if the connection came from an address.
func (c *city) ask(from, target string, change func(*http.Request)) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodGet, target, nil)
	r.RemoteAddr, r.Host, r.RequestURI = from, "127.0.0.1:9102", target
	if change != nil {
		change(r)
	}
	w := httptest.NewRecorder()
	web.Wrap(c.Local(), web.WrapConfig{}).ServeHTTP(w, r)
	return w
}

// TestLocalAdmits asks the address for the city's own programs from elsewhere, by other
// names, and out of pages in a browser: it serves none of them, whatever is asked for.
func TestLocalAdmits(t *testing.T) {
	w := newWorld(t, func(w *world) { w.give.cfg.LocalNetworks = []string{"10.1.0.0/16", "2001:db8:1::/48"} })
	id := w.agree(nil)
	asked := w.counting()
	resources := []string{
		"/fetch/" + id.String() + "/latest", "/subscribe/" + id.String() + "/latest", "/v1/status", "/v1/purposes/" + id.String(), "/metrics",
		"/v1/series", "/v1/latest", "/v1/replay?minute=2026-01-01T00:00:00Z", "/v1/evidence/" + id.String(), "/v1/log?agreement=" + id.String(), "/", "/none",
	}
	header := func(name, value string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Set(name, value) }
	}
	host := func(name string) func(*http.Request) { return func(r *http.Request) { r.Host = name } }
	method := func(name, value string) func(*http.Request) {
		return func(r *http.Request) { r.Method = name; r.Header.Set("Origin", value) }
	}
	for _, c := range []struct {
		of     *city
		from   string
		change func(*http.Request)
		good   bool
	}{
		{w.take, "127.0.0.1:1000", nil, true},
		{w.take, "[::1]:1000", host("[::1]:9102"), true},
		{w.take, "127.0.0.1:1000", host("localhost"), true},
		{w.take, "127.0.0.1:1000", host("localhost:9102"), true},
		{w.take, "127.9.9.9:1000", host("127.0.0.2"), true},
		{w.take, "127.0.0.1:1000", header("Sec-Fetch-Site", "none"), true},
		{w.give, "10.1.2.3:1000", host("10.1.0.1:9102"), true},
		{w.give, "[2001:db8:1::7]:1000", host("[2001:db8:1::1]:9102"), true},
		{w.give, "[::ffff:10.1.2.3]:1000", host("10.1.0.1"), true},

		{w.take, "10.1.2.3:1000", nil, false},
		{w.take, "192.168.1.1:1000", nil, false},
		{w.take, "[2001:db8::1]:1000", nil, false},
		{w.take, "@", nil, false}, // no address at all
		{w.take, "10.1.2.3:1000", header("X-Forwarded-For", "127.0.0.1"), false},
		{w.take, "10.1.2.3:1000", header("Forwarded", "for=127.0.0.1"), false},
		{w.take, "10.1.2.3:1000", header("X-Real-Ip", "127.0.0.1"), false},
		{w.give, "10.2.0.1:1000", nil, false},
		{w.give, "[::ffff:10.2.0.1]:1000", nil, false},
		{w.give, "10.1.2.3:1000", host("10.2.0.1"), false},

		{w.take, "127.0.0.1:1000", host("evil.example"), false},
		{w.take, "127.0.0.1:1000", host("evil.example:9102"), false},
		{w.take, "127.0.0.1:1000", host("localhost.evil.example"), false},
		{w.take, "127.0.0.1:1000", host("127.0.0.1.evil.example"), false},
		{w.take, "127.0.0.1:1000", host("127.0.0.1@evil.example"), false},
		{w.take, "127.0.0.1:1000", host("evil.example#localhost"), false},
		{w.take, "127.0.0.1:1000", host("2130706433"), false},
		{w.take, "127.0.0.1:1000", host("127.1"), false},
		{w.take, "127.0.0.1:1000", host("0.0.0.0"), false},
		{w.take, "127.0.0.1:1000", host("169.254.169.254"), false},
		{w.take, "127.0.0.1:1000", host(""), false},

		{w.take, "127.0.0.1:1000", header("Origin", "https://evil.example"), false},
		{w.take, "127.0.0.1:1000", header("Origin", "null"), false},
		{w.take, "127.0.0.1:1000", header("Origin", "http://127.0.0.1:9102"), false},
		{w.take, "127.0.0.1:1000", header("Sec-Fetch-Site", "cross-site"), false},
		{w.take, "127.0.0.1:1000", header("Sec-Fetch-Site", "same-site"), false},
		{w.take, "127.0.0.1:1000", header("Sec-Fetch-Site", "same-origin"), false},
		{w.take, "127.0.0.1:1000", method(http.MethodOptions, "https://evil.example"), false},
		{w.take, "127.0.0.1:1000", method(http.MethodPost, "null"), false},
	} {
		for _, target := range resources {
			if strings.HasPrefix(target, "/subscribe/") && c.good {
				continue // it would not end
			}
			before := asked.Load()
			got := c.of.ask(c.from, target, c.change)
			if refused := got.Code == http.StatusForbidden && (strings.Contains(got.Body.String(), "ask for this address") || strings.Contains(got.Body.String(), "this address serves")); refused == c.good {
				t.Errorf("from %s %s, admitted %v: %d %.300s", c.from, target, c.good, got.Code, got.Body)
			}
			if !c.good && asked.Load() != before {
				t.Errorf("from %s, %s reached the service", c.from, target)
			}
			for name := range got.Header() {
				if strings.HasPrefix(name, "Access-Control-") {
					t.Errorf("from %s, %s: %s", c.from, target, name)
				}
			}
		}
	}
}

// TestLocalShown opens what a dataset brings in a browser: it can not run there.
func TestLocalShown(t *testing.T) {
	w := newWorld(t)
	id := w.agree(nil)
	w.backend = func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("Content-Type", "text/html")
		rw.Header().Set("Set-Cookie", "a=b")
		rw.Header().Set("Refresh", "0;url=https://evil.example")
		io.WriteString(rw, "<script>alert(1)</script>")
	}
	_, _, h := w.get(w.take.local.URL + "/fetch/" + id.String() + "/latest")
	if h.Get("X-Content-Type-Options") != "nosniff" || !strings.Contains(h.Get("Content-Security-Policy"), "sandbox") || !strings.Contains(h.Get("Content-Security-Policy"), "default-src 'none'") ||
		h.Get("Set-Cookie") != "" || h.Get("Refresh") != "" || h.Get("Cache-Control") != "no-store" {
		t.Error(h)
	}
}

// TestLocalOdd asks for what is too large, or can be read in two ways: each is refused
// here, and no other gateway hears of it.
func TestLocalOdd(t *testing.T) {
	w := newWorld(t)
	id := w.agree(nil)
	w.fetched(id)
	give, take := w.give.entries(), w.take.entries()
	fetch := "/fetch/" + id.String()
	host := strings.TrimPrefix(w.take.local.URL, "http://")
	line := func(method, target string, more ...string) string {
		return fmt.Sprintf("%s %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n%s\r\n", method, target, host, strings.Join(more, ""))
	}
	long := strings.Repeat("a", 20<<10)
	for name, text := range map[string]string{
		"a path that is too long":           line("GET", fetch+"/"+long[:5000]),
		"a path beyond all":                 line("GET", fetch+"/"+long),
		"a header beyond all":               line("GET", fetch+"/latest", "X: "+long+"\r\n"),
		"a path upwards":                    line("GET", fetch+"/../../v1/status"),
		"a path upwards, hidden":            line("GET", fetch+"/%2e%2e/%2e%2e/v1/status"),
		"a slash in a segment":              line("GET", fetch+"/a%2Fb"),
		"an empty segment":                  line("GET", fetch+"//latest"),
		"a zero":                            line("GET", fetch+"/a%00b"),
		"a line end":                        line("GET", fetch+"/a%0d%0aX:%20y"),
		"octets that are no text":           line("GET", fetch+"/%ff%fe"),
		"a percent sign that leads nowhere": line("GET", fetch+"/100%"),
		"a fragment":                        line("GET", fetch+"/latest#x"),
		"no agreement":                      line("GET", "/fetch//latest"),
		"no path at all":                    line("GET", "/fetch"),
		"few digits":                        line("GET", "/fetch/"+id.String()[:7]+"/latest"),
		"other digits":                      line("GET", "/fetch/"+strings.ToUpper(id.String())+"/latest"),
		"a letter that is no digit":         line("GET", "/fetch/"+id.String()[:63]+"g/latest"),
		"more digits":                       line("GET", "/fetch/"+id.String()+"0/latest"),
		"an agreement of zeros":             line("GET", "/fetch/"+strings.Repeat("0", 64)+"/latest"),
		"the beginning of none":             line("GET", "/fetch/00000000/latest"),
		"other letters":                     line("GET", "/FETCH/"+id.String()+"/latest"),
		"something before it":               line("GET", "/x/../fetch/"+id.String()+"/latest"),
		"two slashes before it":             line("GET", "//fetch/"+id.String()+"/latest"),
		"to be changed":                     line("DELETE", fetch+"/latest"),
		"to be put":                         line("PUT", fetch+"/latest", "Content-Length: 0\r\n"),
		"to be posted":                      line("POST", fetch+"/latest", "Content-Length: 0\r\n"),
		"the headers alone":                 line("HEAD", fetch+"/latest"),
		"a tunnel":                          line("CONNECT", "evil.example:443"),
		"another's address":                 line("GET", "http://evil.example/latest"),
		"two hosts":                         line("GET", fetch+"/latest", "Host: localhost\r\n"),
		"two lengths":                       line("POST", fetch+"/latest", "Content-Length: 1\r\nContent-Length: 2\r\n", ""),
		"no host":                           "GET " + fetch + "/latest HTTP/1.0\r\n\r\n",
		"a purpose that is none":            line("POST", "/v1/purposes/"+id.String(), "Content-Length: 1\r\n") + "x",
		"a purpose beyond all":              line("POST", "/v1/purposes/"+id.String(), "Content-Length: 65537\r\n") + strings.Repeat("x", 65537),
		"evidence of nothing":               line("GET", "/v1/evidence/"+strings.Repeat("0", 64)),
		"evidence of what there is not":     line("GET", "/v1/evidence/"+strings.Repeat("1", 64)),
		"a log of nothing":                  line("GET", "/v1/log"),
		"a log with more":                   line("GET", "/v1/log?agreement="+id.String()+"&what=x"),
		"a minute that is none":             line("GET", "/v1/replay?minute=x"),
	} {
		answer := raw(t, w.take.local.URL, text)
		if !strings.HasPrefix(answer, "HTTP/1.1 4") && !strings.HasPrefix(answer, "HTTP/1.0 4") {
			t.Errorf("%s: %.300s", name, answer)
		}
	}
	if w.give.entries() != give || w.take.entries() != take {
		t.Errorf("%d entries more at the provider, %d at the consumer", w.give.entries()-give, w.take.entries()-take)
	}
	// A query is the provider's to judge: it refuses under its signature.
	for _, query := range []string{"a=b", "limit=1&limit=2", "%zz", strings.Repeat("a", 3000)} {
		status, body, _ := w.get(w.take.local.URL + fetch + "/stations/1?" + query)
		if status < 400 || status >= 500 {
			t.Errorf("?%.20s: %d %.300s", query, status, body)
		}
	}
}
