// SPDX-License-Identifier: Apache-2.0

package share_test

import (
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"cityid"
	"cityid/internal/chain/chaintest"
	"cityid/internal/share"
	"cityid/internal/web"
)

// relink lets the provider's record link to other addresses of gateways.
func (w *world) relink(hrefs ...string) {
	w.t.Helper()
	n, content, _ := w.revision(provider)
	content.Links = nil
	for _, h := range hrefs {
		content.Links = append(content.Links, cityid.Link{Rel: share.RelGateway, Href: h})
	}
	w.submit([]cityid.Signer{w.give.officer}, cityid.Operation{Amend: &cityid.Amend{Code: provider, Revision: n, Content: content}})
	w.later()
}

// TestLinksElsewhere has a provider's record link to what is not the business of a
// consumer's gateway. The consumer allows no private addresses.
func TestLinksElsewhere(t *testing.T) {
	var hits atomic.Int32
	w := newWorld(t, func(w *world) { w.take.peers = web.NewOutward(false, nil) })
	n, content, _ := w.revision(chaintest.Apex)
	content.Hosts = []string{"127.0.0.1", "169.254.169.254", "2130706433", "[::1]", "[::ffff:127.0.0.1]", "localhost"}
	for i := 0; i < len(content.Hosts); i++ {
		if bad := (&cityid.Content{Hosts: content.Hosts[i : i+1]}).Check(); bad != nil {
			t.Logf("no record can approve %s: %v", content.Hosts[i], bad)
			content.Hosts = append(content.Hosts[:i], content.Hosts[i+1:]...)
			i--
		}
	}
	w.submit([]cityid.Signer{chaintest.Key(0)}, cityid.Operation{Amend: &cityid.Amend{Code: chaintest.Apex, Revision: n, Content: content}})
	id := w.agree(nil)
	w.give.front.put(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { hits.Add(1) }))
	port := w.give.front.url[strings.LastIndex(w.give.front.url, ":"):]
	for _, host := range content.Hosts {
		for _, scheme := range []string{"http", "https"} {
			w.relink(scheme + "://" + host + port)
			if f, err := w.take.Fetch(t.Context(), id, "/latest", ""); err == nil {
				f.Body.Close()
				t.Errorf("%s://%s%s is asked", scheme, host, port)
			}
		}
	}
	if hits.Load() != 0 {
		t.Errorf("a server on loopback was reached %d times", hits.Load())
	}
}

// TestOddLinks has a provider's record link to addresses that are not one gateway's
// alone.
func TestOddLinks(t *testing.T) {
	var hits atomic.Int32
	w := newWorld(t)
	id := w.agree(nil)
	w.give.front.put(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) { hits.Add(1) }))
	for _, link := range []string{w.give.front.url + "/v1", w.give.front.url + "/?a=b", w.give.front.url + "?", w.give.front.url + "/#x", w.give.front.url + "#"} {
		w.relink(link)
		if f, err := w.take.Fetch(t.Context(), id, "/latest", ""); err == nil || cityid.CodeOf(err) != cityid.ErrInvalid {
			t.Errorf("%s: %v, %v", link, f, err)
		}
	}
	if hits.Load() != 0 {
		t.Errorf("one was asked %d times", hits.Load())
	}
	for _, href := range []string{"https://user:secret@127.0.0.1", "https://user@127.0.0.1", "file:///etc/passwd", "gopher://127.0.0.1", "//127.0.0.1"} {
		l := cityid.Content{Links: []cityid.Link{{Rel: share.RelGateway, Href: href}}}
		if l.Check() == nil {
			t.Errorf("a record can link to %s", href)
		}
	}
}

// TestRedirects has a provider's gateway send the consumer elsewhere.
func TestRedirects(t *testing.T) {
	w := newWorld(t)
	id := w.agree(nil)
	var hits atomic.Int32
	trap := w.take.serve(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { hits.Add(1) }))
	defer trap.Close()
	for _, status := range []int{301, 302, 303, 307, 308} {
		w.give.front.put(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) { http.Redirect(rw, r, trap.URL+r.RequestURI, status) }))
		if f, err := w.take.Fetch(t.Context(), id, "/latest", ""); err == nil {
			f.Body.Close()
			t.Errorf("status %d is followed", status)
		}
		if err := w.take.SendPurpose(t.Context(), id, []byte("age-encryption.org/v1\n")); err == nil {
			t.Errorf("status %d is followed by a purpose", status)
		}
	}
	if hits.Load() != 0 {
		t.Errorf("the address they led to was asked %d times", hits.Load())
	}
}

// TestSeveralLinks lets the first gateways of a provider be down, or unable to
// answer: the next one is asked.
func TestSeveralLinks(t *testing.T) {
	w := newWorld(t)
	id := w.agree(nil)
	sick := w.take.serve(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) { rw.WriteHeader(503) }))
	defer sick.Close()
	cut := w.take.serve(http.HandlerFunc(gone))
	defer cut.Close()
	w.relink("http://127.0.0.1:1", sick.URL, cut.URL, w.give.front.url)
	w.fetched(id)
	liar := &liar{t: t, key: gatewayKey(t, 3), now: w.engine.Now}
	lies := w.take.serve(liar)
	defer lies.Close()
	w.relink(lies.URL, w.give.front.url)
	if _, err := w.take.Fetch(t.Context(), id, "/latest", ""); err == nil || !strings.Contains(fmt.Sprint(err), "is not what it is signed to be") {
		t.Errorf("a gateway that lies: %v", err)
	}
}
