// SPDX-License-Identifier: Apache-2.0

package api

import (
	"math"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"cityid"
)

// query reads a request's query parameters. Its methods return the default for
// a parameter that is missing, and keep the first error in err.
type query struct {
	values url.Values
	err    error
}

// parseQuery parses the query, which may hold the allowed parameters alone, each
// at most once.
func parseQuery(r *http.Request, allowed ...string) (*query, error) {
	values, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, cityid.Errorf(cityid.ErrMalformed, "query: %v", err)
	}
	names := make([]string, 0, len(values))
	for name := range values {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		switch {
		case len(allowed) == 0:
			return nil, cityid.Errorf(cityid.ErrMalformed, "query: parameter %.40q: there are none here", name)
		case !slices.Contains(allowed, name):
			return nil, cityid.Errorf(cityid.ErrMalformed, "query: unknown parameter %.40q: there are %s", name, strings.Join(allowed, ", "))
		case len(values[name]) > 1:
			return nil, cityid.Errorf(cityid.ErrMalformed, "query: parameter %s is given twice", name)
		}
	}
	return &query{values: values}, nil
}

func (q *query) refuse(name, want string) {
	if q.err == nil {
		q.err = cityid.Errorf(cityid.ErrMalformed, "query: parameter %s=%.60q: want %s", name, q.values.Get(name), want)
	}
}

// boolean reads "true" or "false".
func (q *query) boolean(name string, otherwise bool) bool {
	switch q.values.Get(name) {
	case "true":
		return true
	case "false":
		return false
	}
	if q.values.Has(name) {
		q.refuse(name, "true or false")
	}
	return otherwise
}

// number reads a decimal number from low to high without leading zeros.
func (q *query) number(name string, low, high, otherwise uint64) uint64 {
	if !q.values.Has(name) {
		return otherwise
	}
	n, ok := parseNumber(q.values.Get(name))
	if !ok || n < low || n > high {
		q.refuse(name, "a number from "+strconv.FormatUint(low, 10)+" to "+strconv.FormatUint(high, 10))
	}
	return n
}

// anchor reads the height of a checkpoint from which a bundle is to lead on; nil
// if there is none.
func (q *query) anchor() *uint64 {
	if !q.values.Has("anchor") {
		return nil
	}
	for _, other := range []string{"from", "base"} {
		if q.values.Has(other) && q.err == nil {
			q.err = cityid.Errorf(cityid.ErrMalformed, "query: a bundle that leads on from a checkpoint (anchor) leads on from no trust root: leave %s out", other)
		}
	}
	height := q.number("anchor", 0, math.MaxInt64-2, 0)
	return &height
}

// code reads a code in any form a person may write.
func (q *query) code(name string) cityid.Code {
	if !q.values.Has(name) {
		return cityid.Code{}
	}
	c, err := parseCode(q.values.Get(name))
	if err != nil && q.err == nil {
		q.err = cityid.Errorf(cityid.ErrMalformed, "query: parameter %s: %v", name, err)
	}
	return c
}

// text reads a name into v.
func (q *query) text(name string, v interface{ UnmarshalText([]byte) error }) {
	if !q.values.Has(name) {
		return
	}
	if err := v.UnmarshalText([]byte(q.values.Get(name))); err != nil && q.err == nil {
		q.err = cityid.Errorf(cityid.ErrMalformed, "query: parameter %s: %v", name, err)
	}
}

// parseNumber parses a decimal number without sign or leading zeros.
func parseNumber(s string) (uint64, bool) {
	n, err := strconv.ParseUint(s, 10, 64)
	return n, err == nil && strconv.FormatUint(n, 10) == s
}

// parseCode parses a code as [cityid.Parse] does; the error is a refusal.
func parseCode(s string) (cityid.Code, error) {
	c, err := cityid.Parse(s)
	if err != nil {
		return c, cityid.Errorf(cityid.ErrMalformed, "%v", err)
	}
	return c, nil
}

// pathCode reads the code at the end of the path, and refuses any query.
func pathCode(r *http.Request) (cityid.Code, error) {
	if _, err := parseQuery(r); err != nil {
		return cityid.Code{}, err
	}
	return parseCode(r.PathValue("code"))
}

// pathNumber reads a number in the path, and refuses any query.
func pathNumber(r *http.Request, name string) (uint64, error) {
	if _, err := parseQuery(r); err != nil {
		return 0, err
	}
	return parsePathNumber(r, name)
}

// parsePathNumber reads a number in the path.
func parsePathNumber(r *http.Request, name string) (uint64, error) {
	n, ok := parseNumber(r.PathValue(name))
	if !ok {
		return 0, cityid.Errorf(cityid.ErrMalformed, "%s %.40q: want a decimal number", name, r.PathValue(name))
	}
	return n, nil
}

// pathDigest reads a digest in the path.
func pathDigest(r *http.Request, name string) (cityid.Digest, error) {
	d, err := cityid.ParseDigest(r.PathValue(name))
	if err != nil {
		return d, cityid.Errorf(cityid.ErrMalformed, "%v", err)
	}
	return d, nil
}
