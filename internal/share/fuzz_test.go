// SPDX-License-Identifier: Apache-2.0

package share_test

import (
	"bytes"
	"encoding/json"
	"net/url"
	"slices"
	"strings"
	"testing"

	"cityid"
	"cityid/internal/share"
)

// FuzzAllow asks for paths and queries: what is allowed leads below the service's
// address, has one form, and is allowed in that form.
func FuzzAllow(f *testing.F) {
	rules := []share.PathRule{
		{Path: "/"}, {Path: "/latest", Query: map[string]string{"limit": "integer", "at": "time", "of": "code", "word": "word", "order": "up|down"}},
		{Path: "/stations/*"}, {Path: "/files/**"},
	}
	for _, x := range [][2]string{
		{"/", ""}, {"/latest", "limit=1&word=a"}, {"/latest", "%6cimit=1&"}, {"/latest", "limit=1&limit=2"}, {"/files/a/b", ""}, {"/files/%E7%A9%BA", ""},
		{"/files/..", ""}, {"/files/%2e%2e/x", ""}, {"/files/a%2Fb", ""}, {"/files/a%3Fb%23c", ""}, {"/files/~x", ""}, {"//", ""}, {"/stations/1", "a;b"},
		{"/latest", "at=2026-01-01T00%3A00%3A00%2B08%3A00"}, {"/latest", "of=MA.156.1301/30.000001/AIR"}, {"/latest", "order=up|down"}, {"/files/a:b@c=d&e+f", ""},
	} {
		f.Add(x[0], x[1])
	}
	base, err := url.Parse("http://10.0.0.5:8000/air")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, path, query string) {
		segments, canonical, err := share.Allow(rules, path, query)
		if err != nil {
			if cityid.CodeOf(err) == cityid.ErrInternal {
				t.Fatalf("%q %q: %v", path, query, err)
			}
			return
		}
		for _, s := range segments {
			if s == "" || s == "." || s == ".." || strings.ContainsAny(s, "/\\%;\x00\r\n") {
				t.Fatalf("%q is allowed with segment %q", path, s)
			}
		}
		if first := append(segments, "")[0]; len(segments) > 2 && first != "files" || len(segments) > 0 && !slices.Contains([]string{"latest", "stations", "files"}, first) {
			t.Fatalf("%q is allowed", path)
		}
		to := base.JoinPath(segments...)
		if want := strings.TrimSuffix("/air"+path, "/"); to.EscapedPath() != want || to.Host != base.Host {
			t.Fatalf("%q leads to %s, want %s", path, to, want)
		}
		again, same, err := share.Allow(rules, path, canonical)
		if err != nil || same != canonical || !slices.Equal(again, segments) {
			t.Fatalf("%q %q has the form %q, and that %q, %v", path, query, canonical, same, err)
		}
		values, err := url.ParseQuery(canonical)
		if err != nil || len(values) > 0 && segments[0] != "latest" {
			t.Fatalf("%q %q: %v, %v", path, query, values, err)
		}
		for name, list := range values {
			if len(list) != 1 || list[0] == "" || strings.ContainsAny(list[0], "&=?#;\r\n\x00") {
				t.Fatalf("%q: %s=%q", query, name, list)
			}
		}
	})
}

// FuzzConfig reads configurations: one that is accepted is read the same once more.
func FuzzConfig(f *testing.F) {
	for _, s := range []string{
		`{"party":"MA.156.1301","log":"gw-1","url":"https://gateway.sjz.example","listen":":9101","local":"127.0.0.1:9102","data":"data","key":"k","trust":"t","nodes":["https://node-a.example"],
		"cert":"a","cert_key":"b","datasets":[{"code":"MA.156.1301/30.990101/AIR","document":"d","schema":"s","policy":"p","backend":{"http":"http://10.0.0.5:8000","timeout":"30s"},
		"paths":[{"path":"/latest"},{"path":"/observations","query":{"after":"word","limit":"integer","order":"up|down"}},{"path":"/files/**"}]}],
		"feeds":[{"agreement":"3f9a6c21d04e5b7788990a1b2c3d4e5f60718293a4b5c6d7e8f9012345678901","path":"/observations","every":"10s","series":true}],"public_dashboard":true,"retention":"8760h"}`,
		`{"party":"MA.156.1301","log":"gw-1","url":"http://127.0.0.1:9101","listen":":9101","local":":9102","local_networks":["10.1.0.0/16"],"data":"data","key":"k","trust":"t","nodes":["n"],"private_peers":true,"instances":3}`,
		`{"party":"MA.156.1301","log":"gw-1","url":"http://127.0.0.1:9101","listen":":9101","local":"[::1]:9102","data":"d","key":"k","trust":"t","nodes":["n"],"private_peers":true,
		"feeds":[{"agreement":"3f9a6c21d04e5b7788990a1b2c3d4e5f60718293a4b5c6d7e8f9012345678901","path":"/observations?limit=1"}]}`,
		`{}`, `{"party":1}`, `{"batch_time":"-1s"}`, `{"party":"MA.156","party":"MA.157"}`, `{"max_body":99999999999999999999}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var c share.Config
		if cityid.DecodeJSON(data, &c) != nil {
			return
		}
		full := c.WithDefaults()
		if full.Check() != nil {
			return
		}
		if full.Instances < 1 || full.MaxBody < 1 || full.InFlight < 1 || full.Unacknowledged < 1 || full.BatchLeaves < 1 || full.BatchTime <= 0 || full.Retention <= 0 {
			t.Fatalf("%+v", full)
		}
		if networks, err := full.Networks(); err != nil || len(networks) < 2 {
			t.Fatal(networks, err)
		}
		for _, feed := range full.Feeds {
			if feed.Agreement.IsZero() || strings.ContainsAny(feed.Path, "?#\\") || strings.Contains(feed.Path, "/..") {
				t.Fatalf("%+v", feed)
			}
		}
		for _, d := range full.Datasets {
			for _, p := range d.Paths {
				if !strings.HasPrefix(p.Path, "/") || strings.Contains(p.Path, "//") || slices.Contains(strings.Split(p.Path, "/"), "..") {
					t.Fatalf("path %q", p.Path)
				}
			}
		}
		b, err := json.Marshal(&full)
		if err != nil {
			t.Fatal(err)
		}
		var again share.Config
		if err := cityid.DecodeJSON(b, &again); err != nil || again.Check() != nil {
			t.Fatalf("%s: %v, %v", b, err, again.Check())
		}
		if b2, err := json.Marshal(&again); err != nil || !bytes.Equal(b, b2) {
			t.Fatalf("%s is read as %s", b, b2)
		}
	})
}

// FuzzPage reads pages of feeds: what is read has no other reading.
func FuzzPage(f *testing.F) {
	for _, s := range []string{`{"items":[],"next":"a"}`, `{"items":[1,{"a":"b"}],"next":"c","more":true}`, `{"items":[null]}`, `{"items":[],"items":[1]}`, `{"Items":[]}`, `{"items":[]}}`, `[]`, ``} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		items, next, more, err := share.Items(body)
		if err != nil {
			return
		}
		var loose struct {
			Items []json.RawMessage `json:"items"`
			Next  string            `json:"next"`
			More  bool              `json:"more"`
		}
		if err := json.Unmarshal(body, &loose); err != nil || loose.Next != next || loose.More != more || len(loose.Items) != len(items) {
			t.Fatalf("read as %q %q %v, and as %+v, %v", items, next, more, loose, err)
		}
		for i := range items {
			if string(loose.Items[i]) != items[i] || !json.Valid([]byte(items[i])) {
				t.Fatalf("item %d is %q, and %q", i, items[i], loose.Items[i])
			}
		}
	})
}
