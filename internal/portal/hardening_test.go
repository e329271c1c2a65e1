// SPDX-License-Identifier: Apache-2.0

package portal_test

import (
	"bytes"
	"context"
	"io"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"cityid"
	"cityid/internal/office"
	"cityid/internal/portal"
)

// segments fills in what a pattern leaves open, so that a page is reached.
var segments = regexp.MustCompile(`\{[^}]*\}`)

func filled(path string) string {
	path = strings.TrimSuffix(path, "{$}")
	for name, with := range map[string]string{"{code}": "MA.156.1301", "{code...}": "MA.156.1301", "{path...}": "MA.156.1301/amend"} {
		path = strings.ReplaceAll(path, name, with)
	}
	return segments.ReplaceAllString(path, "1")
}

// TestEveryPage holds all pages there are, also those that are yet to come, to
// what protects each of them: no page can be framed or loads anything from
// elsewhere; nothing that another site, or another name of this one, sends is
// carried out; and what somebody who has signed in sees is not kept by others.
func TestEveryPage(t *testing.T) {
	var p *portal.Portal
	w := newWorld(t, noLimits, func(c *portal.Config) {
		var err error
		if p, err = portal.New(*c); err != nil {
			t.Fatal(err)
		}
	})
	b := w.browser()
	b.signIn(cityKey)
	posts := 0
	for _, pattern := range p.Patterns() {
		method, path, _ := strings.Cut(pattern, " ")
		path = "/en" + filled(path)
		if method == "POST" {
			posts++
			for _, site := range []string{"cross-site", "same-site"} {
				if a := b.do(method, path, "application/x-www-form-urlencoded", strings.NewReader("a=b"), "Sec-Fetch-Site", site); a.status != http.StatusForbidden {
					t.Errorf("%s from another site (%s): %d", pattern, site, a.status)
				}
			}
			if a := b.do(method, path, "application/json", strings.NewReader("{}"), "Origin", "https://evil.example"); a.status != http.StatusForbidden {
				t.Errorf("%s with the Origin of another site: %d", pattern, a.status)
			}
			continue
		}
		a := b.get(path)
		csp := a.header.Get("Content-Security-Policy")
		if !strings.Contains(csp, "frame-ancestors 'none'") || !strings.Contains(csp, "default-src 'none'") || strings.Contains(csp, "unsafe") {
			t.Errorf("%s: content security policy %q", pattern, csp)
		}
		if a.header.Get("X-Frame-Options") != "DENY" || a.header.Get("X-Content-Type-Options") != "nosniff" || a.header.Get("Referrer-Policy") != "same-origin" {
			t.Errorf("%s: %v", pattern, a.header)
		}
		if keep := a.header.Get("Cache-Control"); a.status/100 != 3 && strings.HasPrefix(a.header.Get("Content-Type"), "text/html") && keep != "no-store" && !strings.HasPrefix(keep, "private") {
			t.Errorf("%s is kept as %q, though somebody has signed in", pattern, keep)
		}
	}
	if posts < 40 {
		t.Errorf("only %d pages that change something", posts)
	}
	// A proxy may not hand on the host that browsers see.
	r, err := http.NewRequest("POST", w.url+"/en/sign-out", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Host = "inner.example"
	r.Header.Set("Origin", w.url)
	if a, err := b.client.Do(r); err != nil || a.StatusCode != http.StatusSeeOther {
		t.Errorf("behind a proxy: %v, %v", a, err)
	}
}

// TestHost asks under another name: no page repeats it, and what is signed for
// this portal names the origin it was started with.
func TestHost(t *testing.T) {
	w := newWorld(t)
	for _, path := range []string{"/", "/en", "/en/", "/en/sign-in", "/en/code/MA.156.1301?view=cli", "/en/code/ma.156.1301", "/en/account", "/en/apply"} {
		r, err := http.NewRequest("GET", w.url+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Host = "evil.example"
		r.Header.Set("X-Forwarded-Host", "evil.example")
		a, err := w.browser().client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(a.Body)
		a.Body.Close()
		if err != nil || strings.Contains(string(body), "evil.example") || strings.Contains(a.Header.Get("Location"), "evil.example") {
			t.Errorf("%s repeats a host that somebody made up: %v %q", path, err, a.Header.Get("Location"))
		}
	}
}

// TestCookies looks at the cookies of a portal with TLS and of one without.
func TestCookies(t *testing.T) {
	for origin, name := range map[string]string{"https://id.example": "__Host-cityid", "http://localhost:8080": "cityid-session"} {
		w := newWorld(t, func(c *portal.Config) { c.Origin = origin })
		r := httptest.NewRequest("GET", w.url+"/en/sign-in", nil)
		r.RequestURI = ""
		a, err := (&http.Client{}).Do(r)
		if err != nil {
			t.Fatal(err)
		}
		a.Body.Close()
		found := false
		for _, c := range a.Cookies() {
			found = found || c.Name == name
			if !c.HttpOnly || c.SameSite != http.SameSiteLaxMode || c.Path != "/" || c.Domain != "" || c.Secure != strings.HasPrefix(origin, "https:") {
				t.Errorf("%s: %v", origin, c)
			}
		}
		if tls := a.Header.Get("Strict-Transport-Security") != ""; !found || tls != strings.HasPrefix(origin, "https:") {
			t.Errorf("%s: no cookie %s in %v, or HSTS %v", origin, name, a.Cookies(), tls)
		}
	}
}

// TestMaxBody lets bodies be large only where a page takes files, and forms
// nowhere, since these are held in memory whole.
func TestMaxBody(t *testing.T) {
	const mega = 1 << 20
	for _, c := range []struct {
		path        string
		form, files int64
	}{
		{"/en/sign-in", mega, 3 * mega}, {"/zh/apply/resume", mega, 3 * mega}, {"/en/apply/draft/evidence", mega, 65 * mega},
		{"/en/verify/photo", mega, 17 * mega}, {"/zh/work/MA.156.1301/import", 4 * mega, 65 * mega}, {"/en/prove/sign", 4 * mega, 4 * mega},
		{"/en/field/entries", mega, 25 * mega}, {"/v1/transactions", mega, mega}, {"/MA.156.1301", mega, mega}, {"/en/nowhere", mega, 3 * mega},
	} {
		r := httptest.NewRequest("POST", c.path, nil)
		for media, most := range map[string]int64{"application/x-www-form-urlencoded": c.form, "application/json": c.form, "multipart/form-data; boundary=x": c.files} {
			r.Header.Set("Content-Type", media)
			if got := portal.MaxBody(r); got > most {
				t.Errorf("%s %s: %d octets, at most %d", c.path, media, got, most)
			}
		}
	}
	if got := portal.MaxBody(httptest.NewRequest("POST", "/office/evidence", nil)); got != office.MaxEnvelope {
		t.Errorf("envelopes: %d", got)
	}
	w := newWorld(t)
	if a := w.browser().post("/en/sign-in", url.Values{"answer": {strings.Repeat("x", 2*mega)}}); a.status < 400 || a.status >= 500 {
		t.Errorf("a form of 2 MiB: %d", a.status)
	}
}

// TestLogPath keeps out of logs what lets a reader of the log do something.
func TestLogPath(t *testing.T) {
	for path, want := range map[string]string{
		"/en/sign/Zm9v": "/en/sign/…", "/zh/sign/Zm9v/signature": "/zh/sign/…/signature", "/en/apply/status/R-7KQ2M-9D0XJ": "/en/apply/status/…",
		"/en/apply/status/R-7KQ2M-9D0XJ/revise": "/en/apply/status/…/revise", "/en/apply/receipt/R-7KQ2M-9D0XJ": "/en/apply/receipt/…",
		"/en/sign-in": "/en/sign-in", "/en/code/MA.156.1301": "/en/code/MA.156.1301", "/v1/status": "/v1/status",
	} {
		if got := portal.LogPath(httptest.NewRequest("GET", path, nil)); got != want {
			t.Errorf("%s: %s, want %s", path, got, want)
		}
	}
}

// TestSignedOnce changes what is to be signed between the page and the signature,
// and sends a signature several times at once: what was not shown is not signed,
// and what was signed happens once.
func TestSignedOnce(t *testing.T) {
	w := newWorld(t, noLimits)
	b := w.browser()
	b.signIn(cityKey)
	content := url.Values{"name-zh": {"石门"}, "name-en": {"Shimen"}, "reason": {"correction"}, "revision": {"1"}}
	a := b.post("/en/work/MA.156.1301/amend", content)
	where := a.header.Get("Location")
	if a.status != http.StatusSeeOther || !strings.Contains(where, "/sign/") {
		t.Fatalf("amend: %d to %q: %s", a.status, where, a.body)
	}
	sign := func() map[string]any {
		digest, err := cityid.ParseDigest(digestPattern.FindStringSubmatch(b.get(where).body)[1])
		if err != nil {
			t.Fatal(err)
		}
		signature, err := cityKey.Sign(digest[:])
		if err != nil {
			t.Fatal(err)
		}
		return map[string]any{"key": cityKey.Key, "signature": cityid.Bytes(signature)}
	}
	stale := sign()
	stranger := w.browser()
	stranger.post(where+"/body", url.Values{"signers": {cityKey.Key.String() + "\n" + strangerKey.Key.String()}}).to(t, where)
	if a := b.script(where+"/signature", stale, nil); a.status < 400 {
		t.Errorf("a signature of what was shown before: %d %s", a.status, a.body)
	}
	b.post(where+"/body", url.Values{"signers": {cityKey.Key.String()}}).to(t, where)
	good := sign()
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() { b.script(where+"/signature", good, nil) })
	}
	wg.Wait()
	w.indexed()
	rec, err := w.engine.Record(t.Context(), sjz)
	if err != nil || rec.Record.Revision != 2 || rec.Record.Content.Names.Get("en") != "Shimen" {
		t.Errorf("revision %d, %v, %v", rec.Record.Revision, rec.Record.Content.Names, err)
	}
	// The page that was signed for says so, and no other does.
	id := where[strings.LastIndexByte(where, '/')+1:]
	for path, want := range map[string]bool{"/en/work/MA.156.1301?done=": true, "/zh/work/MA.156.1301?done=": true, "/en/code/MA.156.1301?done=": false, "/en/?done=": false} {
		if got := strings.Contains(b.get(path+id).body, `class="panel good"`); got != want {
			t.Errorf("%s says that something was done: %v", path, got)
		}
	}
}

// TestDeliveryGuarded sends evidence to an office that sends it on elsewhere: it
// is not followed. And however many envelopes one address sends slowly, others
// find their place.
func TestDeliveryGuarded(t *testing.T) {
	reached := false
	inner := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached = true }))
	defer inner.Close()
	outer := httptest.NewServer(http.RedirectHandler(inner.URL, http.StatusTemporaryRedirect))
	defer outer.Close()
	p, err := portal.New(portal.Config{Origin: "https://id.example", DeliverTo: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}})
	if err != nil {
		t.Fatal(err)
	}
	a, err := p.DeliveryClient().Post(outer.URL, "application/octet-stream", strings.NewReader("x"))
	if err != nil {
		t.Fatal(err)
	}
	a.Body.Close()
	if a.StatusCode != http.StatusTemporaryRedirect || reached {
		t.Errorf("status %d, followed: %v", a.StatusCode, reached)
	}
}

// held is a body that is asked for and does not come until it is let go.
type held struct {
	asked chan<- bool
	once  sync.Once
	let   <-chan bool
}

func (h *held) Read([]byte) (int, error) {
	h.once.Do(func() { h.asked <- true })
	<-h.let
	return 0, io.EOF
}

func TestSlowEnvelopes(t *testing.T) {
	w := newWorld(t, desk(0))
	envelope, digest := sealed(t, office.EvidenceDocument{Name: "授权书.jpg", Document: photo(t)}, 0)
	n := w.bring(w.application(strangerKey, digest))
	client := &http.Client{Transport: &http.Transport{ExpectContinueTimeout: time.Minute}}
	send := func(body io.Reader, expect bool) int {
		r, err := http.NewRequestWithContext(t.Context(), "POST", w.url+"/office/evidence", body)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Cityid-Proposal", strconv.FormatUint(n, 10))
		r.Header.Set("Cityid-Digest", digest.String())
		if expect {
			r.Header.Set("Expect", "100-continue") // so that the body is asked for once its place is taken
		}
		a, err := client.Do(r)
		if err != nil {
			return 0
		}
		a.Body.Close()
		return a.StatusCode
	}
	asked, let := make(chan bool), make(chan bool)
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() { send(&held{asked: asked, let: let}, true) })
		<-asked
	}
	if s := send(bytes.NewReader(envelope), false); s != http.StatusTooManyRequests {
		t.Errorf("a third envelope from one address at a time: %d", s)
	}
	close(let)
	wg.Wait()
	if s := send(bytes.NewReader(envelope), false); s != http.StatusNoContent {
		t.Errorf("afterwards: %d", s)
	}
}

// TestLimits comes more often than people do.
func TestLimits(t *testing.T) {
	w := newWorld(t)
	b := w.browser()
	until := func(what string, most int, do func() int) {
		for i := range most + 1 {
			s := do()
			if s == http.StatusTooManyRequests {
				if i < most/2 {
					t.Errorf("%s: refused after %d", what, i)
				}
				return
			}
		}
		t.Errorf("%s: not limited after %d", what, most)
	}
	until("frames", 400, func() int {
		return b.do("POST", "/en/verify/frame", "image/jpeg", strings.NewReader("x")).status
	})
	until("drafts", 40, func() int { return b.post("/en/apply/start", nil).status })
	until("photographs", 80, func() int { return b.form("/en/verify/photo", "photo", "x.jpg", []byte("x")).status })
}

// form posts one file.
func (b *browser) form(path, field, name string, content []byte) answer {
	b.Helper()
	var body bytes.Buffer
	m := multipart.NewWriter(&body)
	part, err := m.CreateFormFile(field, name)
	if err != nil {
		b.Fatal(err)
	}
	if _, err := part.Write(content); err != nil {
		b.Fatal(err)
	}
	if err := m.Close(); err != nil {
		b.Fatal(err)
	}
	return b.do("POST", path, m.FormDataContentType(), &body)
}

// TestNoRoom fills what strangers may leave at a portal, and says so.
func TestNoRoom(t *testing.T) {
	small, err := office.Open(t.Context(), office.Options{Dir: t.TempDir(), Drafts: 1, DraftSpace: 1000})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { small.Close() })
	w := newWorld(t, func(c *portal.Config) { c.Office = small })
	b := w.browser()
	b.begin()
	a := b.upload("/en/apply/draft/evidence", map[string][]byte{"letter.pdf": pdf(strings.Repeat("x", 2000))})
	if a.status != http.StatusUnprocessableEntity || !strings.Contains(a.body, "no room left") {
		t.Errorf("a document: %d %s", a.status, a.body)
	}
	if a := w.browser().post("/en/apply/start", nil); a.status != http.StatusTooManyRequests || !strings.Contains(a.body, "as many unfinished applications as it may") {
		t.Errorf("a second draft: %d %s", a.status, a.body)
	}
}

// TestSilentOffice sends evidence to an office that never answers: the portal goes
// on following what happens, and stops when it is told to.
func TestSilentOffice(t *testing.T) {
	asked, let := make(chan bool, 8), make(chan bool)
	silent := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		asked <- true
		<-let
	}))
	defer silent.Close()
	defer close(let)
	var mine portal.Config
	w := newWorld(t, desk(0), func(c *portal.Config) {
		c.DeliverTo = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
		mine = *c
	})
	root := named("试验根区", "Root zone for trials")
	root.Hosts = []string{"localhost"}
	w.record([]cityid.Signer{officer(0, 0), officer(1, 0)}, cityid.Operation{Amend: &cityid.Amend{Code: apex, Revision: 1, Content: root}})
	content := named("研究院乙", "Institute B")
	content.Links = []cityid.Link{{Rel: portal.RelOffice, Href: strings.Replace(silent.URL, "127.0.0.1", "localhost", 1)}}
	w.record([]cityid.Signer{officer(1, 0)}, cityid.Operation{Amend: &cityid.Amend{Code: institutes[1], Revision: 1, Content: content}})
	envelope, digest := sealed(t, office.EvidenceDocument{Name: "授权书.jpg", Document: photo(t)}, 0, 1)
	if err := w.office.StoreEvidence(t.Context(), digest, "", envelope); err != nil {
		t.Fatal(err)
	}
	n := w.bring(w.application(strangerKey, digest))
	h, err := portal.New(mine)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- h.Run(ctx) }()
	<-asked
	w.record([]cityid.Signer{officer(2, 0)}, cityid.Operation{Reject: &cityid.Reject{Proposal: n, Digest: w.proposal(n).Digest, Note: "no"}})
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		steps, err := w.office.Steps(t.Context(), n)
		if err != nil {
			t.Fatal(err)
		}
		if len(steps) == 2 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("the portal waits for another office: %+v", steps)
		}
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// TestTestKeys lets no portal but a demonstration sign for its visitors.
func TestTestKeys(t *testing.T) {
	keys := []portal.TestKey{{Name: "institute-a-1", Signer: officer(0, 0)}}
	if _, err := portal.New(portal.Config{Origin: "https://id.example", TestKeys: keys}); err == nil {
		t.Error("a portal in earnest offers keys that sign for everybody")
	}
	digest := map[string]any{"digest": cityid.Digest{1}}
	w := newWorld(t)
	if a := w.browser().script("/en/demo/keys/institute-a-1", digest, nil); a.status != http.StatusNotFound {
		t.Errorf("without test keys: %d %s", a.status, a.body)
	}
	w = newWorld(t, func(c *portal.Config) { c.Demo, c.TestKeys = true, keys })
	if a := w.browser().script("/en/demo/keys/institute-a-1", digest, nil); a.status != http.StatusOK {
		t.Errorf("in a demonstration: %d %s", a.status, a.body)
	}
	if a := w.browser().script("/en/demo/keys/institute-a-2", digest, nil); a.status != http.StatusNotFound {
		t.Errorf("a key that is not offered: %d", a.status)
	}
}
