// SPDX-License-Identifier: Apache-2.0

package web

import (
	"net/http"
	"strings"

	"cityid"
)

// maxURI is the most octets of a request's path and query.
const maxURI = 4096

// Public wraps handlers that serve public data to programs. It sets the
// security headers of answers that are no pages, lets scripts of any origin
// read (never write), and refuses addresses as [Wrap] does, so that it also
// works without.
func Public(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		header := w.Header()
		header.Set("X-Content-Type-Options", "nosniff")
		header.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
		header.Set("Referrer-Policy", "no-referrer")
		switch r.Method {
		case http.MethodGet, http.MethodHead:
			header.Set("Access-Control-Allow-Origin", "*")
			header.Set("Access-Control-Expose-Headers", "Content-Disposition, ETag, Link, Location, Retry-After")
		case http.MethodOptions:
			if m := r.Header.Get("Access-Control-Request-Method"); m == http.MethodGet || m == http.MethodHead {
				header.Set("Access-Control-Allow-Origin", "*")
				header.Set("Access-Control-Allow-Methods", "GET, HEAD")
				header.Set("Access-Control-Allow-Headers", "Accept, If-None-Match, Last-Event-ID")
				header.Set("Access-Control-Max-Age", "86400")
			}
		}
		if err := checkAddress(r); err != nil {
			WriteError(w, r, err)
			return
		}
		h.ServeHTTP(w, r)
	})
}

// checkAddress refuses an address that is too long, or has a path that
// http.ServeMux would redirect to another spelling of itself.
func checkAddress(r *http.Request) error {
	path := r.URL.EscapedPath()
	if n := len(path) + len(r.URL.RawQuery); n > maxURI {
		return Refuse(http.StatusRequestURITooLong, cityid.ErrTooLarge, "address of %d octets: at most %d", n, maxURI)
	}
	if !cleanPath(path) {
		return Refuse(http.StatusBadRequest, cityid.ErrMalformed, "the path has empty or dot segments")
	}
	return nil
}

// cleanPath reports whether a path begins with "/" and has neither dot segments
// nor empty ones, except that it may end in "/".
func cleanPath(p string) bool {
	rest, ok := strings.CutPrefix(p, "/")
	if !ok {
		return false
	}
	for rest != "" {
		var segment string
		segment, rest, _ = strings.Cut(rest, "/")
		if segment == "" || segment == "." || segment == ".." {
			return false
		}
	}
	return true
}
