// SPDX-License-Identifier: Apache-2.0

package feed

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestHTTP(t *testing.T) {
	c := at("2026-03-03T02:00:00Z", 2)
	s := httptest.NewServer(NewHandler(c))
	defer s.Close()
	get := func(path string) (*http.Response, []byte) {
		t.Helper()
		r, err := http.Get(s.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Body.Close()
		b, err := io.ReadAll(r.Body)
		if err != nil {
			t.Fatal(err)
		}
		return r, b
	}
	f := open(t, c)
	var got []Observation
	query := "/observations?limit=1500"
	for more := true; more; {
		r, b := get(query)
		p, err := ParsePage(b)
		if err != nil || r.StatusCode != 200 || r.Header.Get("Content-Type") != "application/json" || r.Header.Get("Cache-Control") != "no-store" {
			t.Fatalf("%s: %s, %v", query, r.Status, err)
		}
		got, more = append(got, p.Items...), p.More
		query = "/observations?limit=1500&after=" + p.Next
	}
	if d := cmp.Diff(upTo(t, f, ""), got, equal); d != "" {
		t.Error(d)
	}
	for _, test := range []struct {
		path string
		want func() (*Page, error)
	}{
		{"/observations", func() (*Page, error) { return f.Page(Query{}) }},
		{"/observations?indicator=37120:2018:8.7&limit=2", func() (*Page, error) { return f.Page(Query{Indicator: "37120:2018:8.7", Limit: 2}) }},
		{"/latest", func() (*Page, error) { return f.Latest("") }},
		{"/latest?indicator=37120:2018:16.3", func() (*Page, error) { return f.Latest("37120:2018:16.3") }},
		{"/observations/minute/2026-03-01T16:00:00Z", func() (*Page, error) { return f.Minute(parseTime("2026-03-01T16:00:00Z"), "") }},
		{"/observations/minute/2026-03-01T16:00:00Z?indicator=37120:2018:7.1", func() (*Page, error) { return f.Minute(parseTime("2026-03-01T16:00:00Z"), "37120:2018:7.1") }},
	} {
		want, err := test.want()
		if err != nil {
			t.Fatal(err)
		}
		r, b := get(test.path)
		p, err := ParsePage(b)
		if err != nil {
			t.Fatalf("%s: %s: %v", test.path, r.Status, err)
		}
		if d := cmp.Diff(want, p, equal); d != "" || len(p.Items) == 0 {
			t.Errorf("%s: %s", test.path, d)
		}
	}
	if r, b := get("/schema.json"); r.StatusCode != 200 || string(b) != string(Schema) || r.Header.Get("Content-Type") != "application/schema+json" {
		t.Errorf("schema: %s", r.Status)
	}
	r, err := http.Head(s.URL + "/latest")
	if err != nil || r.StatusCode != 200 {
		t.Errorf("HEAD: %v, %v", r, err)
	}
}

func TestHTTPRefuses(t *testing.T) {
	f := open(t, at("2026-03-02T02:00:00Z", 5))
	h := f.Handler()
	for _, test := range []struct {
		method, target, body string
		status               int
		want                 string
	}{
		{"GET", "/observations?limit=0", "", 400, "limit"},
		{"GET", "/observations?limit=2001", "", 400, "limit"},
		{"GET", "/observations?limit=+7", "", 400, "limit"},
		{"GET", "/observations?limit=007", "", 400, "limit"},
		{"GET", "/observations?limit=", "", 400, "leave it out"},
		{"GET", "/observations?limit=1&limit=1", "", 400, "stands twice"},
		{"GET", "/observations?page=1", "", 400, "unknown parameter"},
		{"GET", "/observations?limit=1;after=x", "", 400, "can not be read"},
		{"GET", "/observations?after=%zz", "", 400, "can not be read"},
		{"GET", "/observations?after=x", "", 400, "cursor"},
		{"GET", "/observations?indicator=x", "", 400, "indicator"},
		{"GET", "/observations", "body", 400, "no body"},
		{"GET", "/observations?after=" + f.cursor(1), "", 410, "begin anew"},
		{"GET", "/latest?limit=1", "", 400, "unknown parameter"},
		{"GET", "/latest?indicator=x", "", 400, "indicator"},
		{"GET", "/observations/minute/2026-03-01T16:00:01Z", "", 400, "00 seconds"},
		{"GET", "/observations/minute/2026-03-01T16:00:00+00:00", "", 400, "want the form"},
		{"GET", "/observations/minute/2026-03-01T16:00:00Z?after=x", "", 400, "unknown parameter"},
		{"GET", "/observations/minute/2026-03-02T02:00:00Z", "", 404, "2026-03-01T00:00:00Z to before 2026-03-02T02:00:00Z"},
		{"GET", "/schema.json?x=1", "", 400, "unknown parameter"},
		{"GET", "/", "", 404, "/latest"},
		{"GET", "/observations/", "", 404, "/latest"},
		{"POST", "/observations", "", 405, "use GET"},
		{"DELETE", "/observations/minute/2026-03-01T16:00:00Z", "", 405, "use GET"},
		{"POST", "/nothing", "", 404, "/latest"},
	} {
		r := httptest.NewRequest(test.method, test.target, strings.NewReader(test.body))
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		var p struct {
			Status int    `json:"status"`
			Detail string `json:"detail"`
		}
		if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil || w.Code != test.status || p.Status != test.status || !strings.Contains(p.Detail, test.want) || w.Header().Get("Content-Type") != problemType {
			t.Errorf("%s %s: %d %s, want %d %q", test.method, test.target, w.Code, w.Body, test.status, test.want)
		}
		if allow := w.Header().Get("Allow"); (allow != "") != (test.status == 405) {
			t.Errorf("%s %s: Allow %q", test.method, test.target, allow)
		}
	}
}

// TestDocumentedPage holds the answer that docs/sharing.md shows against the platform.
func TestDocumentedPage(t *testing.T) {
	b, err := os.ReadFile("../../docs/sharing.md")
	if err != nil {
		t.Fatal(err)
	}
	_, shown, _ := strings.Cut(string(b), "\n## The feed generator\n")
	_, shown, _ = strings.Cut(shown, "```json\n")
	shown, _, _ = strings.Cut(shown, "```")
	want, err := ParsePage([]byte(shown))
	if err != nil {
		t.Fatal(err)
	}
	c := at("2026-03-01T00:10:00Z", 1)
	c.Seed = 1
	got, err := open(t, c).Page(Query{Limit: 1, Indicator: "37120:2018:8.1"})
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, got, equal); d != "" {
		t.Error(d)
	}
}
