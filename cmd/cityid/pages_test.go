// SPDX-License-Identifier: Apache-2.0

package main

import (
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
)

// TestByHost chooses the pages of a host by its whole name, and for any name that
// is made up those of the first.
func TestByHost(t *testing.T) {
	says := func(text string) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, text) })
	}
	h := byHost([]site{{"localhost", says("a")}, {"b.localhost", says("b")}, {"c.localhost", says("c")}})
	for host, want := range map[string]string{
		"localhost:8080": "a", "b.localhost:8080": "b", "B.LocalHost": "b", "c.localhost:1": "c",
		"evil.example": "a", "b.localhost.evil.example": "a", "xb.localhost": "a", "[::1]:8080": "a", "": "a", "b.localhost@evil.example": "a",
	} {
		r := httptest.NewRequest("GET", "/zh/", nil)
		r.Host = host
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if got := w.Body.String(); got != want {
			t.Errorf("host %q: pages of %q, want %q", host, got, want)
		}
	}
}
