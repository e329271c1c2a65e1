// SPDX-License-Identifier: Apache-2.0

package feed

import (
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"cityid"
)

// Schema is the JSON Schema (2020-12) of a [Page], as the platform serves it.
//
//go:embed schema.json
var Schema []byte

const (
	jsonType    = "application/json"
	schemaType  = "application/schema+json"
	problemType = "application/problem+json"
)

// NewHandler returns the platform's HTTP side. It panics if the configuration is
// wrong: to see an error instead, use [New] and [Feed.Handler].
func NewHandler(c Config) http.Handler {
	f, err := New(c)
	if err != nil {
		panic("feed: " + err.Error())
	}
	return f.Handler()
}

// Handler returns the platform's HTTP side.
func (f *Feed) Handler() http.Handler {
	mux := http.NewServeMux()
	answer := func(pattern string, parameters []string, page func(r *http.Request, q url.Values) (*Page, error)) {
		mux.HandleFunc("GET "+pattern, func(w http.ResponseWriter, r *http.Request) {
			q, err := parameter(r, parameters...)
			if err != nil {
				refuse(w, http.StatusBadRequest, err)
				return
			}
			p, err := page(r, q)
			if err != nil {
				refuse(w, statusOf(err), err)
				return
			}
			body, err := json.Marshal(p)
			if err != nil {
				refuse(w, http.StatusInternalServerError, err)
				return
			}
			write(w, http.StatusOK, jsonType, append(body, '\n'))
		})
	}
	answer("/observations", []string{"after", "limit", "indicator"}, f.page)
	answer("/latest", []string{"indicator"}, func(_ *http.Request, q url.Values) (*Page, error) { return f.Latest(q.Get("indicator")) })
	answer("/observations/minute/{minute}", []string{"indicator"}, f.ofMinute)
	mux.HandleFunc("GET /schema.json", func(w http.ResponseWriter, r *http.Request) {
		if _, err := parameter(r); err != nil {
			refuse(w, http.StatusBadRequest, err)
			return
		}
		write(w, http.StatusOK, schemaType, Schema)
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		if _, pattern := mux.Handler(&http.Request{Method: http.MethodGet, URL: r.URL, Host: r.Host}); pattern != "/" {
			w.Header().Set("Allow", "GET, HEAD")
			refuse(w, http.StatusMethodNotAllowed, errors.New("the platform can only be read: use GET"))
			return
		}
		refuse(w, http.StatusNotFound, errors.New("there is /observations, /latest, /observations/minute/TIME and /schema.json"))
	})
	return mux
}

func (f *Feed) page(_ *http.Request, q url.Values) (*Page, error) {
	query := Query{After: q.Get("after"), Indicator: q.Get("indicator")}
	if s := q.Get("limit"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil || n < 1 || n > MaxLimit || strconv.Itoa(n) != s {
			return nil, fmt.Errorf("limit %.20q: want a number from 1 to %d", s, MaxLimit)
		}
		query.Limit = n
	}
	return f.Page(query)
}

func (f *Feed) ofMinute(r *http.Request, q url.Values) (*Page, error) {
	s := r.PathValue("minute")
	var t cityid.Time
	if err := t.UnmarshalText([]byte(s)); err != nil || t == 0 || t.String() != s || t%60 != 0 {
		return nil, fmt.Errorf("minute %.40q: want the form 2026-03-01T12:00:00Z, with 00 seconds", s)
	}
	return f.Minute(t.Std(), q.Get("indicator"))
}

// parameter returns the parameters of a request, each of which must be known, stand
// once and say something.
func parameter(r *http.Request, known ...string) (url.Values, error) {
	if r.ContentLength != 0 {
		return nil, errors.New("a question has no body")
	}
	q, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, fmt.Errorf("the parameters can not be read: %w", err)
	}
	for name, values := range q {
		switch {
		case !slices.Contains(known, name):
			return nil, fmt.Errorf("unknown parameter %.40q: there is %s", name, strings.Join(append(known, "no other"), ", "))
		case len(values) > 1:
			return nil, fmt.Errorf("the parameter %s stands twice", name)
		case values[0] == "":
			return nil, fmt.Errorf("the parameter %s says nothing: leave it out", name)
		}
	}
	return q, nil
}

func statusOf(err error) int {
	switch {
	case errors.Is(err, ErrGone):
		return http.StatusGone
	case errors.Is(err, ErrNoMinute):
		return http.StatusNotFound
	}
	return http.StatusBadRequest
}

// refuse answers with a problem (RFC 9457).
func refuse(w http.ResponseWriter, status int, err error) {
	body, _ := json.Marshal(struct { // texts and a number: it can not fail
		Title  string `json:"title"`
		Status int    `json:"status"`
		Detail string `json:"detail"`
	}{http.StatusText(status), status, err.Error()})
	write(w, status, problemType, append(body, '\n'))
}

func write(w http.ResponseWriter, status int, mediaType string, body []byte) {
	h := w.Header()
	h.Set("Content-Type", mediaType)
	h.Set("Content-Length", strconv.Itoa(len(body)))
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_, _ = w.Write(body) // whoever asked has gone
}
