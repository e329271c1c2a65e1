// SPDX-License-Identifier: Apache-2.0

package api_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"cityid"
	"cityid/client"
	"cityid/internal/api"
	"cityid/internal/web"
)

// A client finds what its node does.
var _ api.Searcher = (*client.Client)(nil)

// searcher answers one page and keeps the query.
type searcher struct {
	page  cityid.SearchPage
	fail  error
	asked cityid.SearchQuery
	limit bool // the request had a deadline
}

func (s *searcher) Search(ctx context.Context, q cityid.SearchQuery) (*cityid.SearchPage, error) {
	s.asked = q
	_, s.limit = ctx.Deadline()
	page := s.page
	return &page, s.fail
}

func TestSearch(t *testing.T) {
	s := &searcher{page: cityid.SearchPage{
		Hits: []cityid.SearchHit{{
			Code: lamp, Parent: lamp.Parent(), Kind: cityid.KindObject, Status: cityid.StatusActive, Names: cityid.NamesOf(map[string]string{"zh": "路灯"}),
			Location: &cityid.Location{Lat: 1, Lon: -1}, Alias: &cityid.Alias{Scheme: "legacy", Value: "1"}, Distance: 7,
		}},
		Suggest: []cityid.Code{city}, Next: "abc", Height: 9, Partial: true,
	}}
	h := web.Wrap(api.Handler(api.Config{Source: newSource(), Search: s}), web.WrapConfig{})
	server := httptest.NewServer(h)
	defer server.Close()
	c, err := client.New(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	for _, q := range []cityid.SearchQuery{
		{Limit: 20},
		{
			Text: "路灯 & +%?#", Kinds: []cityid.Kind{cityid.KindObject, cityid.KindCity}, Statuses: []cityid.Status{cityid.StatusActive, cityid.StatusRetired},
			Below: city, Box: &cityid.Box{South: -5, West: -1_800_000_000, North: 900_000_000, East: 12_345_678},
			Near: &cityid.Location{Lat: -380454740, Lon: 1145024610}, MinHeight: 12, After: "a_-", Limit: 100,
		},
	} {
		got, err := c.Search(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(&s.page, got, compare); diff != "" {
			t.Errorf("index (-) and client (+) differ:\n%s", diff)
		}
		if diff := cmp.Diff(q, s.asked, compare); diff != "" {
			t.Errorf("asked (-) and understood (+) differ:\n%s", diff)
		}
		if !s.limit {
			t.Error("a search may take for ever")
		}
	}
	w := call(h, http.MethodGet, "/v1/search?q=x&limit=1", "")
	if link := w.Header().Get("Link"); link != `</v1/search?after=abc&limit=1&q=x>; rel="next"` {
		t.Errorf("Link %s", link)
	}
	s.page = cityid.SearchPage{}
	if w = call(h, http.MethodGet, "/v1/search", ""); w.Header().Get("Link") != "" || strings.TrimSpace(w.Body.String()) != `{"hits":[],"height":0}` {
		t.Errorf("nothing found: %s", w.Body)
	}
	for _, query := range []string{
		"x=1", "q=a&q=b", "q=" + strings.Repeat("a", 201), "q=%ff", "kind=", "kind=town", "kind=city,", "status=gone", "below=x!", "below=",
		"box=1,2,3", "box=1,2,3,200", "box=2,0,1,0", "box=", "near=1", "near=91,0", "near=a,b", "min_height=-1", "after=", "limit=0", "limit=101",
	} {
		if code := problem(t, call(h, http.MethodGet, "/v1/search?"+query, "")); code != "malformed" {
			t.Errorf("%s: %s", query, code)
		}
	}
	s.fail = cityid.Errorf(cityid.ErrUnavailable, "the index has seen block 1, not 2 yet: ask again")
	if _, err := c.Search(t.Context(), cityid.SearchQuery{MinHeight: 2}); !errors.Is(err, cityid.ErrUnavailable) || !strings.Contains(err.Error(), "ask again") {
		t.Errorf("behind: %v", err)
	}
}

func TestSearchWithoutIndex(t *testing.T) {
	h := web.Wrap(api.Handler(api.Config{Source: newSource()}), web.WrapConfig{})
	w := call(h, http.MethodGet, "/v1/search?q=x", "")
	if code := problem(t, w); w.Code != http.StatusNotFound || code != "unsupported" {
		t.Errorf("status %d, %s", w.Code, code)
	}
}
