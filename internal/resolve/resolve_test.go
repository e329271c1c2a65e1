// SPDX-License-Identifier: Apache-2.0

package resolve_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"cityid"
	"cityid/client"
	"cityid/internal/resolve"
	"cityid/internal/web"
	"cityid/label"
	"cityid/verify"
)

// A client is a source like a node.
var _ resolve.Source = (*client.Client)(nil)

// registry is a source over a map.
type registry map[cityid.Code]cityid.Record

func (m registry) Record(_ context.Context, code cityid.Code) (*cityid.RecordAnswer, error) {
	r, ok := m[code]
	switch {
	case !ok:
		return nil, cityid.Errorf(cityid.ErrNotFound, "%s is not allocated", code)
	case r.Note == "defect":
		return nil, errors.New("disk on fire")
	case r.Note == "full":
		return nil, cityid.Errorf(cityid.ErrUnavailable, "catching up")
	}
	return &cityid.RecordAnswer{Record: r, Display: code.Display(), Holder: code}, nil
}

func (m registry) Bundle(_ context.Context, q cityid.BundleQuery) ([]byte, error) {
	if q.Kind != cityid.AnswerRecord {
		return nil, cityid.Errorf(cityid.ErrInvalid, "kind %s", q.Kind)
	}
	if _, ok := m[q.Code]; !ok {
		return []byte("absence of " + q.Code.String()), nil
	}
	return []byte("bundle of " + q.Code.String()), nil
}

const lampPath = "/MA.156.1301.02/20.010501/000045"

func newHandler(t *testing.T, prefix string) http.Handler {
	t.Helper()
	m := registry{}
	for text, r := range map[string]cityid.Record{
		"MA.156":      {},
		"MA.156.1301": {},
		"MA.156.1303": {Status: cityid.StatusSuspended},
		"MA.156.1304": {Note: "defect"},
		"MA.156.1305": {Note: "full"},
		"MA.156.1311": {Status: cityid.StatusRetired, Reason: cityid.ReasonSplit, Successors: []cityid.Code{cityid.MustParse("MA.156.1301"), cityid.MustParse("MA.156.1303")}},
		"MA.156.1312": {Status: cityid.StatusRetired, Reason: cityid.ReasonClosed, Heir: cityid.MustParse("MA.156.1301")},
		lampPath[1:]:  {},
		"MA.344.HK":   {},
		"MA.840.NY":   {},
		"X1.156.1301": {},
	} {
		code := cityid.MustParse(text)
		r.Code, r.Kind, r.Status = code, cityid.KindOrganisation, max(r.Status, cityid.StatusActive)
		m[code] = r
	}
	h, err := resolve.Handler(resolve.Config{Source: m, Roots: []cityid.Code{cityid.MustParse("MA.156"), cityid.MustParse("MA.344")}, Prefix: prefix})
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func get(h http.Handler, method, target string, headers ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, target, nil)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func TestPaths(t *testing.T) {
	h := newHandler(t, "")
	display := cityid.MustParse("MA.156.1301").Display()
	digits := strings.Repeat("7", 174)
	tests := []struct {
		target   string
		status   int
		location string
	}{
		{"/MA.156", 200, ""}, {"/MA.156.1301", 200, ""}, {lampPath, 200, ""}, {"/MA.344.HK", 200, ""}, {"/MA.156.1303", 200, ""},
		{"/MA.156.1301?utm_source=x&from=singlemessage", 200, ""},
		{"/MA.156.9999", 404, ""}, {"/MA.156.1311", 410, ""}, {"/MA.156.1312", 410, ""},
		{"/MA.156.1304", 500, ""}, {"/MA.156.1305", 503, ""},

		{"/ma.156.1301", 308, "/MA.156.1301"}, {"/MA.156.1301/", 308, "/MA.156.1301"}, {"/" + display, 308, "/MA.156.1301"},
		{"/" + strings.ToLower(display) + "/", 308, "/MA.156.1301"},
		{strings.ToLower(lampPath), 308, lampPath}, {"/MA.156.1301?format=bundle&a=b", 200, ""},
		{"/ma.156.1301?format=bundle&a=b", 308, "/MA.156.1301?format=bundle&a=b"},
		{"/MA.156.1301.02%2F20.010501%2f000045", 308, lampPath}, {"/%4dA.156", 308, "/MA.156"}, {"/MA%2E156", 308, "/MA.156"},
		{"/%EF%BC%ADA.156", 308, "/MA.156"}, {"/ma.156.9999", 308, "/MA.156.9999"},

		{"/MA", 404, ""}, {"/MA.840.NY", 404, ""}, {"/ma.840.ny", 404, ""}, {"/X1.156.1301", 404, ""}, {"/MA.1560.1301", 404, ""},
		{"/MA.156.1301*00", 404, ""}, {"/MA.156..1301", 404, ""}, {"/MA.156.1301%00", 404, ""}, {"/MA.156.1301%20", 404, ""},
		{"/MA.156%C0%AF1301", 404, ""}, {"/%2E%2E/MA.156", 404, ""}, {"/MA.156/%2e%2e", 404, ""}, {"/%2FMA.156", 404, ""}, {"/МA.156", 404, ""},
		{"/favicon.ico", 404, ""}, {"/robots.txt", 404, ""}, {"/.well-known/acme", 404, ""}, {"/" + strings.Repeat("A", 1000), 404, ""},
		{"//MA.156", 400, ""}, {"/./MA.156", 400, ""}, {"/MA.156/../x", 400, ""}, {"/MA.156.1301//", 400, ""},
		{"/" + strings.Repeat("A", 5000), 414, ""},

		{"/v1/records/MA.156", 404, ""}, {"/V1/MA.156", 404, ""}, {"/zh", 404, ""}, {"/EN/code/MA.156", 404, ""}, {"/api", 404, ""},
		{"/1.0/identifiers/x", 404, ""}, {"/static/a.css", 404, ""}, {"/x", 404, ""}, {"/X/", 404, ""},

		{"/X" + lampPath + "/" + digits, 303, lampPath}, {"/x" + strings.ToLower(lampPath) + "/" + digits, 303, lampPath},
		{"/X/MA.156.9999/" + digits, 303, "/MA.156.9999"}, {"/X/MA.840.NY/" + digits, 404, ""}, {"/X/nonsense!/" + digits, 404, ""},
		{"/X/MA.156/" + digits[1:], 404, ""}, {"/X/MA.156/" + digits + "7", 404, ""}, {"/X/MA.156/" + digits[1:] + "x", 404, ""}, {"/X/" + digits, 404, ""},
		{"/", 200, ""},
	}
	for _, tt := range tests {
		for _, method := range []string{"GET", "HEAD"} {
			w := get(h, method, tt.target)
			if w.Code != tt.status || w.Header().Get("Location") != tt.location {
				t.Errorf("%s %.80s: %d to %q, want %d to %q: %.200s", method, tt.target, w.Code, w.Header().Get("Location"), tt.status, tt.location, w.Body)
			}
			if w.Code >= 400 && w.Header().Get("Content-Type") != web.ProblemType {
				t.Errorf("%.80s: Content-Type %q", tt.target, w.Header().Get("Content-Type"))
			}
			if w.Header().Get("Access-Control-Allow-Origin") != "*" {
				t.Errorf("%.80s: no CORS", tt.target)
			}
		}
	}
	for _, method := range []string{"POST", "PUT", "DELETE", "BREW"} {
		if w := get(h, method, "/MA.156"); w.Code != 405 || w.Header().Get("Allow") != "GET, HEAD, OPTIONS" {
			t.Errorf("%s: %d, Allow %q", method, w.Code, w.Header().Get("Allow"))
		}
	}
	if w := get(h, "OPTIONS", "/MA.156", "Access-Control-Request-Method", "GET"); w.Code != 204 {
		t.Errorf("OPTIONS: %d", w.Code)
	}
}

func TestFormats(t *testing.T) {
	h := newHandler(t, "")
	const bundle, asJSON, problem = verify.MediaType, "application/json", web.ProblemType
	browser := "text/html,application/xhtml+xml,*/*;q=0.8"
	tests := []struct {
		target, accept string
		status         int
		mediaType      string
		body           string
	}{
		{"/MA.156.1301", "", 200, asJSON, `"record":{"code":"MA.156.1301"`},
		{"/MA.156.1301", browser, 200, asJSON, `"display":"MA.156.1301*`},
		{"/MA.156.1301", bundle, 200, bundle, "bundle of MA.156.1301"},
		{"/MA.156.1301", bundle + ";q=0.9, application/json;q=0.8", 200, bundle, "bundle"},
		{"/MA.156.1301", "text/html", 406, problem, "unsupported"},
		{"/MA.156.1301", "nonsense", 400, problem, "malformed"},
		{"/MA.156.1301?format=bundle", "text/html", 200, bundle, "bundle"},
		{"/MA.156.1301?format=json", bundle, 200, asJSON, "record"},
		{"/MA.156.1301?format=xml", "", 400, problem, "malformed"},
		{"/MA.156.1301?format=", "", 400, problem, "malformed"},
		{"/MA.156.1301?format=json&format=bundle", "", 400, problem, "malformed"},
		{"/MA.156.1301?format=%zz", "", 400, problem, "malformed"},
		{"/MA.156.9999", "", 404, problem, "not-found"},
		{"/MA.156.9999", bundle, 404, bundle, "absence of MA.156.9999"},
		{"/MA.156.9999?format=bundle", "", 404, bundle, "absence of MA.156.9999"},
		{"/MA.156.1311", "", 410, problem, `"successors":["MA.156.1301","MA.156.1303"]`},
		{"/MA.156.1311", bundle, 410, bundle, "bundle of MA.156.1311"},
		{"/MA.156.1304", bundle, 500, problem, "internal"},
		{"/MA.840.NY", bundle, 404, problem, "not served here"},
		{"/", "", 200, asJSON, `"roots":["MA.156","MA.344"]`},
		{"/", "text/plain", 200, "text/plain; charset=utf-8", "/MA.156?format=bundle"},
		{"/", bundle, 406, problem, ""},
	}
	for _, tt := range tests {
		headers := []string{"Accept", tt.accept}
		if tt.accept == "" {
			headers = nil
		}
		w := get(h, "GET", tt.target, headers...)
		if w.Code != tt.status || w.Header().Get("Content-Type") != tt.mediaType || !strings.Contains(w.Body.String(), tt.body) {
			t.Errorf("%s as %q: %d %s %.300s", tt.target, tt.accept, w.Code, w.Header().Get("Content-Type"), w.Body)
		}
		if strings.Contains(w.Body.String(), "fire") {
			t.Errorf("%s: a defect's text is shown", tt.target)
		}
		if tt.target != "/MA.840.NY" && w.Header().Get("Vary") != "Accept" {
			t.Errorf("%s: Vary %q", tt.target, w.Header().Get("Vary"))
		}
		tag := w.Header().Get("ETag")
		if (tag != "") != (tt.mediaType != problem) {
			t.Errorf("%s as %q: ETag %q", tt.target, tt.accept, tag)
		}
		if tt.status == 200 {
			if again := get(h, "GET", tt.target, append(headers, "If-None-Match", tag)...); again.Code != 304 {
				t.Errorf("%s with its tag: %d", tt.target, again.Code)
			}
		}
	}
	w := get(h, "GET", lampPath, "Accept", bundle)
	if got := w.Header().Get("Content-Disposition"); got != `attachment; filename="MA.156.1301.02_20.010501_000045.bundle"` {
		t.Errorf("Content-Disposition %s", got)
	}
	w = get(h, "GET", "/MA.156.1301")
	if got := w.Header().Get("Link"); got != `</MA.156.1301?format=bundle>; rel="alternate"; type="application/vnd.cityid.bundle+cbor"` {
		t.Errorf("Link %s", got)
	}
}

func TestRetired(t *testing.T) {
	h := newHandler(t, "")
	read := func(target string) (p web.Problem, links []string) {
		w := get(h, "GET", target)
		if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil {
			t.Fatal(err)
		}
		return p, w.Header().Values("Link")
	}
	p, links := read("/MA.156.1311")
	if p.RecordAnswer == nil || p.Record.Reason != cityid.ReasonSplit || p.Display == "" || p.Detail != "MA.156.1311 is retired: split" || p.Code != cityid.ErrStatus {
		t.Errorf("problem %+v", p)
	}
	if len(links) != 3 || links[0] != `</MA.156.1301>; rel="successor-version"` || links[1] != `</MA.156.1303>; rel="successor-version"` {
		t.Errorf("links %q", links)
	}
	p, links = read("/MA.156.1312")
	if p.Heir.String() != "MA.156.1301" || len(p.Successors) != 0 {
		t.Errorf("problem %+v", p)
	}
	if len(links) != 2 || links[0] != `</MA.156.1301>; rel="urn:cityid:rel:heir"` {
		t.Errorf("links %q", links)
	}
}

func TestCertificate(t *testing.T) {
	h := newHandler(t, "")
	public, err := label.ParsePublicURL("https://id.example")
	if err != nil {
		t.Fatal(err)
	}
	text, err := label.CertificateURL(public, label.Certificate{Code: cityid.MustParse(lampPath[1:]), Issued: 1, Expires: 2})
	if err != nil {
		t.Fatal(err)
	}
	w := get(h, "GET", strings.TrimPrefix(text, public.String()))
	if w.Code != 303 || w.Header().Get("Location") != lampPath || w.Header().Get("Cityid-Certificate") != "unverified" || !strings.Contains(w.Body.String(), "cityid label scan") {
		t.Errorf("%d %v %s", w.Code, w.Header(), w.Body)
	}
	text, err = label.FieldURL(public, cityid.MustParse(lampPath[1:]))
	if err != nil {
		t.Fatal(err)
	}
	if w := get(h, "GET", strings.TrimPrefix(text, public.String())); w.Code != 200 {
		t.Errorf("field label: %d", w.Code)
	}
}

func TestPrefix(t *testing.T) {
	h := newHandler(t, "/ID")
	tests := []struct {
		target   string
		status   int
		location string
	}{
		{"/ID/MA.156", 200, ""}, {"/ID/ma.156", 308, "/ID/MA.156"}, {"/ID/", 200, ""}, {"/MA.156", 404, ""}, {"/ID", 404, ""}, {"/IDMA.156", 404, ""},
		{"/ID/X/MA.156/" + strings.Repeat("1", 174), 303, "/ID/MA.156"}, {"/%49D/MA.156", 308, "/ID/MA.156"},
	}
	for _, tt := range tests {
		if w := get(h, "GET", tt.target); w.Code != tt.status || w.Header().Get("Location") != tt.location {
			t.Errorf("%s: %d to %q", tt.target, w.Code, w.Header().Get("Location"))
		}
	}
}

func TestConfig(t *testing.T) {
	root := cityid.MustParse("MA.156")
	for name, c := range map[string]resolve.Config{
		"no root":        {},
		"zero root":      {Roots: []cityid.Code{{}}},
		"reserved root":  {Roots: []cityid.Code{cityid.MustParse("V1")}},
		"reserved X":     {Roots: []cityid.Code{cityid.MustParse("X/20.010203")}},
		"prefix slash":   {Roots: []cityid.Code{root}, Prefix: "/ID/"},
		"prefix bare":    {Roots: []cityid.Code{root}, Prefix: "ID"},
		"prefix escaped": {Roots: []cityid.Code{root}, Prefix: "/a%20b"},
		"prefix root":    {Roots: []cityid.Code{root}, Prefix: "/"},
	} {
		if _, err := resolve.Handler(c); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
}

// FuzzPath looks for a path that makes the handler panic, or redirect anywhere
// but to the canonical path of a code that is served.
func FuzzPath(f *testing.F) {
	for _, s := range []string{"/MA.156", "//evil.example/MA.156", "/ma.156/", "/%2f%2fevil", "/MA.156.1301*AB", "/X/MA.156/1", "/\u2028"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, path string) {
		r, err := http.NewRequest("GET", "http://host.example/", nil)
		if err != nil {
			t.Fatal(err)
		}
		u, err := r.URL.Parse(path)
		if err != nil || u.Host != "host.example" {
			return
		}
		r.URL = u
		w := httptest.NewRecorder()
		newHandler(t, "").ServeHTTP(w, r)
		location := w.Header().Get("Location")
		if (w.Code == 308 || w.Code == 303) != (location != "") {
			t.Fatalf("%q: status %d to %q", path, w.Code, location)
		}
		if location == "" {
			return
		}
		at, _, _ := strings.Cut(location, "?")
		code, err := cityid.ParseCanonical(strings.TrimPrefix(at, "/"))
		if err != nil || at != "/"+code.String() || code.IAC() != "MA" || code.Country() != "156" && code.Country() != "344" {
			t.Fatalf("%q redirects to %q", path, location)
		}
	})
}

// pages are pages for people, as a portal has them.
type pages struct{}

func (pages) CodePage(_ *http.Request, code cityid.Code) string { return "/en/code/" + code.String() }
func (pages) CertificatePage(_ *http.Request, text string) string {
	return "/en/verify?text=" + url.QueryEscape(text)
}

// markDigits returns the digits of a source mark that is signed by nobody.
func markDigits(t *testing.T, code string) string {
	t.Helper()
	public, err := label.ParsePublicURL("https://id.example")
	if err != nil {
		t.Fatal(err)
	}
	text, err := label.SourceURL(public, label.SourceMark{Code: cityid.MustParse(code), Time: 1763600000, Nonce: label.Nonce{1}})
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimPrefix(text, public.String()+"/X/")
}

func TestSourceMark(t *testing.T) {
	h := newHandler(t, "")
	good := markDigits(t, lampPath[1:])
	w := get(h, "GET", "/X/"+good)
	if w.Code != 303 || w.Header().Get("Location") != lampPath || w.Header().Get("Cityid-Source-Mark") != "unverified" || !strings.Contains(w.Body.String(), "cityid label scan") {
		t.Errorf("%d %v %s", w.Code, w.Header(), w.Body)
	}
	for _, path := range []string{"/X/0" + good, "/X/" + good[1:], "/X/" + good[:100], "/X/" + good + "x", "/X/1", "/X/" + markDigits(t, "MA.840.NY"), "/X/" + strings.Repeat("9", 649)} {
		if w := get(h, "GET", path); w.Code != 404 {
			t.Errorf("%s: %d", path, w.Code)
		}
	}
}

// TestPages sends browsers to pages, and programs past them.
func TestPages(t *testing.T) {
	city := cityid.MustParse("MA.156.1301")
	h, err := resolve.Handler(resolve.Config{Source: registry{city: {Code: city, Kind: cityid.KindCity, Status: cityid.StatusActive}}, Roots: []cityid.Code{cityid.MustParse("MA.156")}, Pages: pages{}})
	if err != nil {
		t.Fatal(err)
	}
	const browser = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
	digits, mark := strings.Repeat("7", 174), markDigits(t, "MA.156.1301")
	for _, c := range []struct {
		path, accept string
		status       int
		location     string
	}{
		{"/MA.156.1301", browser, 303, "/en/code/MA.156.1301"},
		{"/MA.156.9999", browser, 303, "/en/code/MA.156.9999"},
		{"/MA.156.1301", "*/*", 200, ""},
		{"/MA.156.1301", "application/json", 200, ""},
		{"/MA.156.1301?format=json", browser, 200, ""},
		{"/X/MA.156.1301/" + digits, browser, 303, "/en/verify?text=" + url.QueryEscape("/X/MA.156.1301/"+digits)},
		{"/X/MA.156.1301/" + digits, "*/*", 303, "/MA.156.1301"},
		{"/X/" + mark, browser, 303, "/en/verify?text=" + url.QueryEscape("/X/"+mark)},
		{"/X/" + mark, "*/*", 303, "/MA.156.1301"},
	} {
		r := httptest.NewRequest("GET", c.path, nil)
		r.Header.Set("Accept", c.accept)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != c.status || w.Header().Get("Location") != c.location {
			t.Errorf("%s, Accept %q: %d to %q, want %d to %q", c.path, c.accept, w.Code, w.Header().Get("Location"), c.status, c.location)
		}
		if !strings.Contains(strings.Join(w.Header().Values("Vary"), ","), "Accept") {
			t.Errorf("%s: the answer depends on Accept and does not say so", c.path)
		}
	}
}
