// SPDX-License-Identifier: Apache-2.0

package api

import (
	"context"
	"math"
	"net/http"
	"strings"
	"time"
	"unicode/utf8"

	"cityid"
	"cityid/internal/web"
)

// Searcher finds records. When a query's MinHeight is not reached before ctx
// ends, the error is [cityid.ErrUnavailable].
type Searcher interface {
	Search(ctx context.Context, q cityid.SearchQuery) (*cityid.SearchPage, error)
}

const (
	searchTime                   = 10 * time.Second // longest a search takes, waiting for a block included
	defaultHits, maxHits, maxAsk = 20, 100, 200     // hits of a page; octets of a text
)

func (h *handler) search(header http.Header, r *http.Request) (any, error) {
	p, err := parseQuery(r, "q", "kind", "status", "below", "box", "near", "min_height", "after", "limit")
	if err != nil {
		return nil, err
	}
	if h.searcher == nil {
		return nil, web.Refuse(http.StatusNotFound, cityid.ErrUnsupported, "this node keeps no search index")
	}
	q := cityid.SearchQuery{
		Text: p.values.Get("q"), Below: p.code("below"), After: p.values.Get("after"),
		MinHeight: p.number("min_height", 0, math.MaxUint64, 0), Limit: int(p.number("limit", 1, maxHits, defaultHits)),
	}
	if len(q.Text) > maxAsk || !utf8.ValidString(q.Text) {
		p.refuse("q", "at most 200 octets of UTF-8")
	}
	if p.values.Has("after") && q.After == "" {
		p.refuse("after", "the cursor of the page before")
	}
	q.Kinds = names[cityid.Kind](p, "kind")
	q.Statuses = names[cityid.Status](p, "status")
	if v, ok := p.degrees("near", 2); ok {
		q.Near = &cityid.Location{Lat: v[0], Lon: v[1]}
	}
	if v, ok := p.degrees("box", 4); ok {
		q.Box = &cityid.Box{South: v[0], West: v[1], North: v[2], East: v[3]}
		if v[0] > v[2] || v[1] > v[3] {
			p.refuse("box", "the south before the north and the west before the east")
		}
	}
	if p.err != nil {
		return nil, p.err
	}
	ctx, cancel := context.WithTimeout(r.Context(), searchTime)
	defer cancel()
	page, err := h.searcher.Search(ctx, q)
	if err != nil {
		return nil, err
	}
	if page.Next != "" {
		linkNext(header, "/v1/search", p.values, "after", page.Next)
	}
	if page.Hits == nil {
		page.Hits = []cityid.SearchHit{}
	}
	return page, nil
}

// names reads names with commas between.
func names[T any, P interface {
	*T
	UnmarshalText([]byte) error
}](q *query, name string) []T {
	if !q.values.Has(name) {
		return nil
	}
	var out []T
	for s := range strings.SplitSeq(q.values.Get(name), ",") {
		var v T
		if err := P(&v).UnmarshalText([]byte(s)); err != nil {
			if q.err == nil {
				q.err = cityid.Errorf(cityid.ErrMalformed, "query: parameter %s: %v", name, err)
			}
			return nil
		}
		out = append(out, v)
	}
	return out
}

// degrees reads n decimal degrees with commas between, latitudes and longitudes
// in turn.
func (q *query) degrees(name string, n int) ([]int32, bool) {
	if !q.values.Has(name) {
		return nil, false
	}
	parts := strings.Split(q.values.Get(name), ",")
	if len(parts) != n {
		q.refuse(name, "degrees with commas between: latitude, longitude"+strings.Repeat(", latitude, longitude", n/2-1))
		return nil, false
	}
	out := make([]int32, n)
	for i, s := range parts {
		v, err := cityid.ParseDegrees(s, int32(90*(1+i%2)))
		if err != nil {
			if q.err == nil {
				q.err = cityid.Errorf(cityid.ErrMalformed, "query: parameter %s: %v", name, err)
			}
			return nil, false
		}
		out[i] = v
	}
	return out, true
}
