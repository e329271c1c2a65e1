// SPDX-License-Identifier: Apache-2.0

package api

import (
	"context"
	"errors"
	"math"
	"net/http"
	"strconv"
	"time"

	"cityid"
	"cityid/internal/web"
)

// defaultBlocks and maxBlocks are the default and the largest page of blocks.
const defaultBlocks, maxBlocks = 20, 100

// pollTime is how long a request waits for changes.
const pollTime = 25 * time.Second

func (h *handler) blocks(header http.Header, r *http.Request) (any, error) {
	p, err := parseQuery(r, "before", "busy", "limit")
	if err != nil {
		return nil, err
	}
	q := cityid.BlockQuery{
		Before: p.number("before", 1, math.MaxUint64, 0), Busy: p.boolean("busy", false),
		Limit: int(p.number("limit", 1, maxBlocks, defaultBlocks)),
	}
	if p.err != nil {
		return nil, p.err
	}
	page, err := h.source.Blocks(r.Context(), q)
	if err != nil {
		return nil, err
	}
	if page.Next != 0 {
		linkNext(header, "/v1/blocks", p.values, "before", strconv.FormatUint(page.Next, 10))
	}
	if page.Blocks == nil {
		page.Blocks = []cityid.Block{}
	}
	return page, nil
}

func (h *handler) block(_ http.Header, r *http.Request) (any, error) {
	height, err := pathNumber(r, "height")
	if err != nil {
		return nil, err
	}
	return h.source.Block(r.Context(), height)
}

func (h *handler) changes(_ http.Header, r *http.Request) (any, error) {
	p, err := parseQuery(r, "after", "wait")
	if err != nil {
		return nil, err
	}
	after, wait := p.number("after", 0, math.MaxUint64, 0), p.boolean("wait", false)
	if p.err == nil && !p.values.Has("after") {
		p.refuse("after", "a height")
	}
	if p.err != nil {
		return nil, p.err
	}
	if wait {
		ctx, cancel := web.WithStopping(r.Context())
		defer cancel()
		poll, done := context.WithTimeout(ctx, h.poll)
		defer done()
		if _, err := h.source.Await(poll, after); err != nil && (poll.Err() == nil || !errors.Is(context.Cause(poll), context.DeadlineExceeded)) {
			return nil, err
		}
	}
	c, err := h.source.Changes(r.Context(), after)
	if err != nil {
		return nil, err
	}
	if c.Codes == nil {
		c.Codes = []cityid.Code{}
	}
	return c, nil
}

func (h *handler) transactionBody(w http.ResponseWriter, r *http.Request) error {
	mediaType, err := web.Negotiate(r, web.JSONType, CBORType)
	if err != nil {
		return err
	}
	if _, err := parseQuery(r); err != nil {
		return err
	}
	id, err := pathDigest(r, "id")
	if err != nil {
		return err
	}
	a, err := h.source.FindTransaction(r.Context(), id)
	if err != nil {
		return err
	}
	w.Header().Set("Vary", "Accept")
	if mediaType == CBORType {
		web.WriteBytes(w, r, http.StatusOK, CBORType, a.Raw)
		return nil
	}
	return web.WriteJSON(w, r, http.StatusOK, a)
}
