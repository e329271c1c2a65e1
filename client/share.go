// SPDX-License-Identifier: Apache-2.0

package client

import (
	"bytes"
	"context"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"time"

	"cityid"
	"cityid/verify"
)

// Agreement returns the agreement with an id; not-found if there is none.
func (c *Client) Agreement(ctx context.Context, id cityid.Digest) (*cityid.AgreementAnswer, error) {
	var a cityid.AgreementAnswer
	if err := c.get(ctx, "/v1/agreements/"+id.String(), nil, &a); err != nil {
		return nil, err
	}
	if a.ID != id || a.Agreement.Terms.ID() != id {
		return nil, fmt.Errorf("%s answers about the agreement %s when asked for %s", c.base, a.ID, id)
	}
	return &a, nil
}

// Agreements returns a page of agreements. Ask again with After set to the
// page's Next until that is "". A zero Limit is the node's default.
func (c *Client) Agreements(ctx context.Context, q cityid.AgreementQuery) (*cityid.AgreementPage, error) {
	v := url.Values{}
	if !q.Dataset.IsZero() {
		v.Set("dataset", q.Dataset.String())
	}
	if !q.Consumer.IsZero() {
		v.Set("consumer", q.Consumer.String())
	}
	if q.State != 0 {
		v.Set("state", q.State.String())
	}
	if q.After != "" {
		v.Set("after", q.After)
	}
	if q.Limit != 0 {
		v.Set("limit", strconv.Itoa(q.Limit))
	}
	var page cityid.AgreementPage
	if err := c.get(ctx, "/v1/agreements", v, &page); err != nil {
		return nil, err
	}
	return &page, nil
}

// Anchors returns a page of the receipt logs of a party, or of one log's
// anchors. Ask again with After set to the page's Next, or AfterLog to its
// NextLog, until both are zero. A zero Limit is the node's default.
func (c *Client) Anchors(ctx context.Context, q cityid.AnchorQuery) (*cityid.AnchorPage, error) {
	v := url.Values{}
	if q.Log != "" {
		v.Set("log", q.Log)
	}
	if q.AfterLog != "" {
		v.Set("after_log", q.AfterLog)
	}
	setNumber(v, "after", q.After)
	if q.Limit != 0 {
		v.Set("limit", strconv.Itoa(q.Limit))
	}
	var page cityid.AnchorPage
	if err := c.get(ctx, "/v1/anchors/"+q.Party.String(), v, &page); err != nil {
		return nil, err
	}
	return &page, nil
}

// Entries fetches what stands at keys of the state with its proof, and judges it
// by a version of the trust root at the time now. The keys may come in any order.
// It returns the encoded bundle too, for keeping. Look at the result's verdict
// first: the error only tells that there is nothing to judge.
func (c *Client) Entries(ctx context.Context, trust *cityid.Trust, keys [][]byte, now time.Time) (verify.Result, []byte, error) {
	keys = slices.CompactFunc(slices.SortedFunc(slices.Values(keys), bytes.Compare), bytes.Equal)
	data, err := c.Bundle(ctx, cityid.BundleQuery{
		Kind: cityid.AnswerEntries, Keys: keys, From: trust.Statement.Version, Base: trust.Statement.Height,
	})
	if err != nil {
		return verify.Result{}, nil, err
	}
	return verify.CheckEncoded(trust, data, verify.Options{Now: now, Kind: cityid.AnswerEntries, Keys: keys}), data, nil
}
