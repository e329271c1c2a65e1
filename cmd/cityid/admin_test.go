// SPDX-License-Identifier: Apache-2.0

package main

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// TestAdminBefore asks before the node is open: the process lives, and is not ready.
func TestAdminBefore(t *testing.T) {
	h := newAdmin(t.TempDir(), time.Second).handler()
	for path, want := range map[string]struct {
		status int
		text   string
	}{
		"/livez":   {200, "ok  the node is being opened\n"},
		"/readyz":  {503, "no  the state is being read and checked"},
		"/metrics": {200, "cityid_disk_free_octets "},
		"/":        {404, ""},
	} {
		w := httptest.NewRecorder()
		r := httptest.NewRequest(http.MethodGet, path, nil)
		r.Host = "localhost:26680"
		h.ServeHTTP(w, r)
		if w.Code != want.status || !strings.Contains(w.Body.String(), want.text) {
			t.Errorf("%s: %d %s", path, w.Code, w.Body)
		}
	}
}

// TestAdminHost answers under names of this machine alone.
func TestAdminHost(t *testing.T) {
	h := newAdmin(t.TempDir(), time.Second).handler()
	for host, want := range map[string]int{
		"localhost": 200, "localhost:1": 200, "127.0.0.1:1": 200, "[::1]:1": 200, "127.9.9.9": 200,
		"evil.example": 421, "evil.example:26680": 421, "10.0.0.1": 421, "localhost.evil.example": 421, "": 421,
	} {
		w := httptest.NewRecorder()
		r := httptest.NewRequest(http.MethodGet, "/livez", nil)
		r.Host = host
		h.ServeHTTP(w, r)
		if w.Code != want {
			t.Errorf("%q: %d, want %d", host, w.Code, want)
		}
	}
}
