// SPDX-License-Identifier: Apache-2.0

package client

import (
	"context"
	"fmt"
	"net/url"
	"strconv"
	"strings"

	"cityid"
)

// Search returns a page of the records that match, from the node's index; see
// [cityid.SearchQuery]. Ask again with After set to the page's Next until that is
// "": a page may hold fewer hits than asked for and yet not be the last. The error
// is [cityid.ErrUnavailable] if the index does not reach MinHeight in time, and
// [cityid.ErrUnsupported] if the node keeps no index.
func (c *Client) Search(ctx context.Context, q cityid.SearchQuery) (*cityid.SearchPage, error) {
	v := url.Values{}
	if q.Text != "" {
		v.Set("q", q.Text)
	}
	setNames(v, "kind", q.Kinds)
	setNames(v, "status", q.Statuses)
	if !q.Below.IsZero() {
		v.Set("below", q.Below.String())
	}
	if b := q.Box; b != nil {
		v.Set("box", strings.Join([]string{degrees(b.South), degrees(b.West), degrees(b.North), degrees(b.East)}, ","))
	}
	if q.Near != nil {
		v.Set("near", degrees(q.Near.Lat)+","+degrees(q.Near.Lon))
	}
	setNumber(v, "min_height", q.MinHeight)
	if q.After != "" {
		v.Set("after", q.After)
	}
	if q.Limit != 0 {
		v.Set("limit", strconv.Itoa(q.Limit))
	}
	var page cityid.SearchPage
	if err := c.get(ctx, "/v1/search", v, &page); err != nil {
		return nil, err
	}
	return &page, nil
}

// setNames sets a parameter to the names of values, if there are any.
func setNames[T fmt.Stringer](v url.Values, name string, values []T) {
	var all []string
	for _, x := range values {
		all = append(all, x.String())
	}
	if len(all) > 0 {
		v.Set(name, strings.Join(all, ","))
	}
}

// degrees writes units of 1e-7 degrees as decimal degrees.
func degrees(v int32) string {
	sign, u := "", int64(v)
	if u < 0 {
		sign, u = "-", -u
	}
	return fmt.Sprintf("%s%d.%07d", sign, u/1e7, u%1e7)
}
