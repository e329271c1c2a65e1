// SPDX-License-Identifier: Apache-2.0

package api

import (
	"context"
	"net/http"
	"strings"

	"cityid"
	"cityid/internal/web"
)

// Proven is a source of answers that were proven before they are given, such as
// one that asks the nodes of many zones. It is a [Source] as far as it goes.
type Proven interface {
	Records
	History(ctx context.Context, code cityid.Code) (*cityid.HistoryAnswer, error)
	Bundle(ctx context.Context, q cityid.BundleQuery) ([]byte, error)
	Trust(ctx context.Context) ([]cityid.Trust, error)
}

// provenSource is a source of which those methods alone are called that it has of
// its own.
type provenSource struct {
	Source // nil
	from   Proven
}

func (s provenSource) Record(ctx context.Context, code cityid.Code) (*cityid.RecordAnswer, error) {
	return s.from.Record(ctx, code)
}

func (s provenSource) Children(ctx context.Context, q cityid.ChildrenQuery) (*cityid.RecordPage, error) {
	return s.from.Children(ctx, q)
}

func (s provenSource) History(ctx context.Context, code cityid.Code) (*cityid.HistoryAnswer, error) {
	return s.from.History(ctx, code)
}

func (s provenSource) Bundle(ctx context.Context, q cityid.BundleQuery) ([]byte, error) {
	return s.from.Bundle(ctx, q)
}

func (s provenSource) Trust(ctx context.Context) ([]cityid.Trust, error) { return s.from.Trust(ctx) }

// ProvenHandler returns the handler for those paths from /v1/ on whose answers
// can be proven: records, children, history, bundles, entries and the trust root.
// All others are answered with 404. Each answer is as of the state of the zone
// that gave it. asks limits the questions of each client address; nil: no limit.
func ProvenHandler(from Proven, asks *web.Limiter) http.Handler {
	source := newListings(provenSource{from: from})
	h := &handler{source: source, turn: source.turn}
	mux := http.NewServeMux()
	for _, r := range h.routes(nil) {
		switch name, _, _ := strings.Cut(strings.TrimPrefix(r.pattern, "/v1/"), "/"); name {
		case "records", "children", "history", "bundles", "entries", "trust":
		default:
			continue
		}
		if r.pattern == "/v1/trust/next" {
			continue
		}
		methods := web.Methods{}
		for m, f := range r.methods {
			methods[m] = asks.Limit(f)
		}
		mux.Handle(r.pattern, methods)
		if bare, ok := strings.CutSuffix(r.pattern, "/{code...}"); ok {
			mux.Handle(bare, web.Endpoint(web.NotFound)) // or ServeMux would redirect it
		}
	}
	mux.Handle("/", web.Endpoint(web.NotFound))
	return web.Public(mux)
}
