// SPDX-License-Identifier: Apache-2.0

package portal

import (
	"encoding/json"
	"math"
	"mime"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"cityid"
	"cityid/internal/bulk"
	"cityid/internal/office"
)

// FuzzLocalPath goes on to where an address says: always on this host, also as
// browsers read it, which drop tabs and line ends and take "\" for "/".
func FuzzLocalPath(f *testing.F) {
	for _, s := range []string{"/en/account?x=1#y", "//evil.example", "/\\evil.example", "/\t/evil.example", "https://evil.example", "javascript:alert(1)", "/%2f/evil", "/en/\r\nSet-Cookie: a=b", "", "/ /x", "/\u0000/x"} {
		f.Add(s)
	}
	here, err := url.Parse("https://id.example/zh/sign-in")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, next string) {
		got := localPath(next, "/zh/")
		read := strings.ReplaceAll(strings.NewReplacer("\t", "", "\r", "", "\n", "").Replace(got), "\\", "/")
		read = strings.TrimLeftFunc(read, func(c rune) bool { return c <= ' ' })
		if !strings.HasPrefix(read, "/") || strings.HasPrefix(read, "//") {
			t.Fatalf("%q leads to %q", next, got)
		}
		to, err := here.Parse(got)
		if err != nil || to.Host != here.Host || to.Scheme != here.Scheme || to.User != nil {
			t.Fatalf("%q leads to %v, %v", next, to, err)
		}
		w := httptest.NewRecorder()
		http.Redirect(w, httptest.NewRequest("GET", "/zh/sign-in", nil), got, http.StatusSeeOther)
		if strings.ContainsAny(w.Header().Get("Location"), "\r\n") {
			t.Fatalf("%q splits the answer", next)
		}
	})
}

// FuzzView reads the section of a map from its address: what is taken can be
// drawn, and asked for again.
func FuzzView(f *testing.F) {
	for _, s := range []string{"17.5,72,54.5,136.5", "1,2,3", "NaN,0,1,1", "-89,-180,89,180", "0x1p-2,0,1,1", "1e999,0,1,1", "0,0,0.001,0.001", "-89,0,89,0.001"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		v, err := parseView(s)
		if err != nil {
			return
		}
		height, x, y := v.scale()
		for _, n := range []float64{height, x(v.West), x(v.East), y(v.South), y(v.North)} {
			if math.IsNaN(n) || math.IsInf(n, 0) {
				t.Fatalf("%q is drawn at %v", s, n)
			}
		}
		if svg := (&baseMap{}).draw(v, "x", nil); len(svg) > 8<<10 {
			t.Fatalf("%q is drawn in %d octets", s, len(svg))
		}
		lat, lon := v.middle()
		for _, factor := range []float64{.5, 2} {
			if z := v.zoom(factor, lat, lon); z.South < -89.0001 || z.North > 89.0001 || z.West < -180.0001 || z.East > 180.0001 {
				t.Fatalf("%q is zoomed to %v", s, z)
			}
		}
		b := v.box()
		if b.South > b.North || b.West > b.East {
			t.Fatalf("%q asks for %v", s, b)
		}
	})
}

// FuzzBaseMap reads a file of polygons: what is taken lies on the globe and can
// be drawn, and no text of it comes into the drawing.
func FuzzBaseMap(f *testing.F) {
	f.Add([]byte(`{"type":"FeatureCollection","source":"x","approval":"GS(2024)0650","features":[{"geometry":{"type":"Polygon","coordinates":[[[100,20],[110,20],[110,30],[100,20]]]}}]}`))
	f.Add([]byte(`{"type":"FeatureCollection","features":[{"geometry":{"type":"MultiPolygon","coordinates":[[[[1e400,0]]]]}}]}`))
	f.Add([]byte(`{"type":"Topology"}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := parseBaseMap(b)
		if err != nil {
			return
		}
		if len(m.rings) > maxRings {
			t.Fatalf("%d rings", len(m.rings))
		}
		if svg := string(m.draw(chinaView, "x", nil)); strings.Count(svg, "<") > 12 || strings.Contains(svg, "NaN") || strings.Contains(svg, "Inf") {
			t.Fatalf("drawn as %q", svg)
		}
	})
}

// FuzzDocumentName hands out a document under the name that its applicant gave
// it: the browser is told to save it, or shows a photograph apart, and the name
// is no path, no other kind of file and no second header.
func FuzzDocumentName(f *testing.F) {
	for _, s := range []string{"授权书.pdf", "a.html", "..", "", `x"; filename="y.exe`, "a\r\nSet-Cookie: b=c", "/etc/passwd", `C:\x.exe`, ".pdf", "\u202egpj.exe", "\xff\xfe"} {
		f.Add(s, true)
		f.Add(s, false)
	}
	f.Fuzz(func(t *testing.T, name string, photo bool) {
		doc := &office.EvidenceDocument{Name: name, Media: office.MediaPDF, Document: []byte("x")}
		kind, ending := "attachment", ".pdf"
		if photo {
			doc.Media, kind, ending = office.MediaJPEG, "inline", ".jpg"
		}
		w := httptest.NewRecorder()
		writeDocument(w, doc)
		given := w.Header().Get("Content-Disposition")
		how, params, err := mime.ParseMediaType(given)
		saved := params["filename"]
		if err != nil || how != kind || strings.ContainsAny(given, "\r\n") || !strings.HasSuffix(saved, ending) || strings.ContainsAny(saved, `/\:`) {
			t.Fatalf("%q is sent as %q: %q, %v", name, given, saved, err)
		}
		if !strings.Contains(w.Header().Get("Content-Security-Policy"), "sandbox") {
			t.Fatalf("without a sandbox: %v", w.Header())
		}
	})
}

// FuzzSignInForm reads what somebody has pasted from the command.
func FuzzSignInForm(f *testing.F) {
	f.Add("challenge=AAAA&answer=ed25519%3Axyz+AAAA&next=/en/")
	f.Add("answer=%zz")
	f.Add("answer=" + strings.Repeat("x", 1000))
	f.Fuzz(func(t *testing.T, body string) {
		r := httptest.NewRequest("POST", "/en/sign-in", strings.NewReader(body))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		var x reply
		if err := parseSignInForm(r, &x); err != nil {
			if code := cityid.CodeOf(err); code != cityid.ErrMalformed {
				t.Fatalf("%q: %v is the code of %v", body, code, err)
			}
			return
		}
		if again := new(cityid.PublicKey); again.UnmarshalText([]byte(x.Key.String())) != nil || *again != x.Key {
			t.Fatalf("%q: key %q", body, x.Key)
		}
	})
}

// FuzzReply reads what a page's script posts.
func FuzzReply(f *testing.F) {
	f.Add([]byte(`{"challenge":"x","signature":"00","next":"/"}`))
	f.Add([]byte(`{"signature":"00"}{}`))
	f.Add([]byte(`[]`))
	f.Fuzz(func(t *testing.T, b []byte) {
		r := httptest.NewRequest("POST", "/en/sign-in", strings.NewReader(string(b)))
		r.Header.Set("Content-Type", "application/json")
		var x reply
		if err := readJSON(httptest.NewRecorder(), r, maxReply, &x); err != nil {
			return
		}
		if len(b) > maxReply || !json.Valid(b) {
			t.Fatalf("took %d octets: %q", len(b), b)
		}
	})
}

// FuzzMeaning maps a table's column to what a form says: what is taken can be
// carried out, or is refused by name.
func FuzzMeaning(f *testing.F) {
	for _, s := range []string{"name", "name:zh", "alias:asset", "alias:", "serial", "lat", "-", "", "=1+1", "name:zh-Hans-CN"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, meaning string) {
		if bulk.CheckMeaning(meaning) != nil {
			return
		}
		table := &bulk.Table{Header: []string{"=cmd|x"}, Rows: []bulk.Row{{Line: 2, Cells: []string{"=1+1"}}}}
		if _, err := table.Change(&bulk.Changes{Columns: []string{meaning}}); err != nil && err.Error() == "" {
			t.Fatal("refused without a reason")
		}
	})
}

// FuzzDegrees reads a position as a device sends it.
func FuzzDegrees(f *testing.F) {
	for _, s := range [][2]string{{"38.0454740", "114.5"}, {"", ""}, {"91", "0"}, {"1e1", "2"}, {"-0", "-180"}, {"00.5", "7"}, {"NaN", "1"}} {
		f.Add(s[0], s[1])
	}
	f.Fuzz(func(t *testing.T, lat, lon string) {
		l, err := parseDegrees(lat, lon)
		if err != nil || l == nil {
			return
		}
		if l.Lat < -90_0000000 || l.Lat > 90_0000000 || l.Lon < -180_0000000 || l.Lon > 180_0000000 {
			t.Fatalf("%q, %q lie at %v", lat, lon, l)
		}
	})
}

// TestPlaceholders fills texts: what a stranger has written is no placeholder.
func TestPlaceholders(t *testing.T) {
	c := catalogue{"x": "{0} has approved {1}; {0}"}
	if got := c.text("x", "{1}", "MA.156"); got != "{1} has approved MA.156; {1}" {
		t.Error(got)
	}
	if got := c.text("x"); got != "{0} has approved {1}; {0}" {
		t.Error(got)
	}
}
