// SPDX-License-Identifier: Apache-2.0

// Package web is the HTTP plumbing that everything which answers over HTTP
// shares: problems, entity tags, content negotiation, methods, request ids, the
// access log, limits, TLS from files, and a server that stops in good order.
//
// # A request's way
//
//	listener (number of connections) -> http.Server (time and header limits)
//	  -> Wrap      request id, client's address, access log, panics, size and shape
//	  -> Public    security headers, CORS
//	  -> Methods   which methods a path has; 405, OPTIONS
//	  -> Endpoint  the work; its error becomes a problem
//
// Wrap belongs around a whole server, Public around handlers of public data.
//
// # Problems
//
// Every answer of status 400 and above is a problem of RFC 9457, as
// application/problem+json:
//
//	{
//	  "type": "urn:cityid:problem:conflict",
//	  "title": "The record has changed meanwhile",
//	  "status": 409,
//	  "detail": "MA.156.1301 is at revision 4, not 3",
//	  "instance": "urn:cityid:request:5f3a9c0e12b47d68",
//	  "code": "conflict",
//	  "operation": 0
//	}
//
// code is the name of a [cityid.ErrorCode], and the part programs should
// decide by; type repeats it as a URI. operation is the index of the refused
// operation of a transaction, and missing when the whole is meant. instance
// names the request as the node's log does. Some problems carry more: see
// [Problem].
//
// The status follows from the code by one table. Only what concerns HTTP alone
// has a status of its own, under the code nearest in meaning: 405, 406 and 415
// are "unsupported", 414 is "too-large", 410 is "status", and a client that
// asks too often gets the 429 of "full".
//
// The text of an error that carries no code, or the code "internal", stays in
// the log; the client learns the request id.
//
// # Limits
//
// However many clients come and however slow they are, a server stays within
// bounds: [Listen] of connections, and of one client's share in them; [Limits] of
// time and header size; [Wrap] of a request's body, and of the octets of large
// answers, from 64 KiB, that wait in memory for their readers, 256 MiB in all;
// [Slots] of streams and of one client's share in them; a [Limiter] of how often one
// client may come. What exceeds the last three is answered with 503 or 429, and
// Retry-After.
//
// # Entity tags
//
// [WriteBytes] and [WriteJSON] tag what they write with a strong ETag, half of
// the SHA-256 of the body, and answer If-None-Match with 304. Since the tag
// follows from the bytes alone, every node that gives the same answer gives it
// the same tag.
//
// # Concurrency
//
// All handlers, [Limiter], [Slots] and [Certificate] may be used by several goroutines
// at once.
package web

import (
	"net/http"
	"slices"
	"strings"

	"cityid"
)

// An Endpoint answers a request. If it returns an error it has written nothing,
// and the error becomes the answer by [WriteError].
type Endpoint func(w http.ResponseWriter, r *http.Request) error

// ServeHTTP calls f.
func (f Endpoint) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if err := f(w, r); err != nil {
		WriteError(w, r, err)
	}
}

// Methods answers the requests for one path by their method. An endpoint for
// GET answers HEAD too; OPTIONS is answered with the list of methods, and any
// other method with 405. The map must not change once it serves.
type Methods map[string]Endpoint

// ServeHTTP calls the endpoint for the request's method.
func (m Methods) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	method := r.Method
	if method == http.MethodHead {
		method = http.MethodGet
	}
	if f := m[method]; f != nil {
		f.ServeHTTP(w, r)
		return
	}
	allow := m.allow()
	w.Header().Set("Allow", allow)
	if r.Method == http.MethodOptions {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	WriteError(w, r, Refuse(http.StatusMethodNotAllowed, cityid.ErrUnsupported,
		"method %.20q is not supported here: use %s", r.Method, allow))
}

func (m Methods) allow() string {
	list := []string{http.MethodOptions}
	for method := range m {
		list = append(list, method)
		if method == http.MethodGet {
			list = append(list, http.MethodHead)
		}
	}
	slices.Sort(list)
	return strings.Join(list, ", ")
}

// NotFound is the endpoint for paths that are no resource.
func NotFound(_ http.ResponseWriter, r *http.Request) error {
	return cityid.Errorf(cityid.ErrNotFound, "no resource has the path %.200q", r.URL.Path)
}
