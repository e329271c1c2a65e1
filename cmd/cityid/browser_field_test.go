// SPDX-License-Identifier: Apache-2.0

package main

import (
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
)

// TestFieldInBrowser notes an installation where there is no network: the page
// opens from what the browser keeps, the entry waits, and it is sent once there
// is a network again, by a session that has meanwhile not been asked for anything.
func TestFieldInBrowser(t *testing.T) {
	if testing.Short() {
		t.Skip("a browser and a demo take a while")
	}
	t.Parallel()
	chromium(t)
	d := startDemo(t)
	b := startBrowser(t)
	demo, err := url.Parse(d.at("localhost"))
	if err != nil {
		t.Fatal(err)
	}
	// The way to the demo can be cut: then connections end without an answer.
	var cut atomic.Bool
	forward := httputil.NewSingleHostReverseProxy(demo)
	way := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if cut.Load() {
			panic(http.ErrAbortHandler)
		}
		forward.ServeHTTP(w, r)
	}))
	t.Cleanup(way.Close)
	_, port, err := net.SplitHostPort(strings.TrimPrefix(way.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	app := "http://localhost:" + port + "/en/field"

	worker := b.tab("field worker")
	worker.viewport(390, 844)
	worker.signInWith(d.at("localhost"), "en", "traffic-field") // the cookie is the host's, on every port
	worker.open(app)
	worker.has("Scan a label")
	if !eval[bool](worker, `navigator.serviceWorker.ready.then(async () => { while (!await caches.match("/en/field")) await new Promise((next) => setTimeout(next, 50)); return true; })`) {
		t.Fatal("the page is not kept")
	}
	worker.wait(`navigator.serviceWorker.controller`)

	cut.Store(true)
	worker.open(app)
	worker.has("Use where I am")
	worker.wait(`navigator.serviceWorker.controller && document.querySelector("#queue-part").hidden`)
	const lamp = "MA.156.1301.02/20.010501/000012"
	worker.fill("#code", "https://id.cityid.example/"+lamp)
	worker.fill("#note", "north side")
	worker.click(`#entry button:not([type])`)
	worker.has("Kept on this device: 1")
	worker.has(lamp)
	worker.open(app) // it is still there after the page was closed
	worker.has("Kept on this device: 1")

	cut.Store(false)
	worker.click("#send")
	worker.has("Sent: 1.")
	worker.wait(`document.querySelector("#queue-part").hidden`)
	worker.open(d.at("localhost") + "/en/field/log")
	worker.has(lamp)
	worker.has("north side")
	if n := eval[int](worker, `document.querySelectorAll("tbody tr").length`); n != 1 {
		t.Errorf("the log has %d entries, want 1", n)
	}
	worker.follow("Attest this entry")
	worker.click("#sign-now")
	worker.has("anchored in block")
}
