// SPDX-License-Identifier: Apache-2.0

package client

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"cityid"
)

const (
	linkedDataType = "application/ld+json"
	schemaType     = "application/schema+json"
)

// Datasets returns a page of the datasets that match, from the node's catalogue of
// shared data; see [cityid.DatasetQuery]. Ask again with After set to the page's
// Next until that is "". The error is [cityid.ErrUnsupported] if the node keeps no
// catalogue.
func (c *Client) Datasets(ctx context.Context, q cityid.DatasetQuery) (*cityid.DatasetPage, error) {
	v := url.Values{}
	set := func(name, value string) {
		if value != "" {
			v.Set(name, value)
		}
	}
	set("q", q.Text)
	set("below", q.Below.String())
	setNames(v, "city", q.Cities)
	setNames(v, "department", q.Departments)
	setNames(v, "industry", q.Industries)
	set("theme", strings.Join(q.Themes, " "))
	setNames(v, "class", q.Classes)
	set("format", strings.Join(q.Formats, ","))
	setNames(v, "freshness", q.Freshness)
	setNames(v, "quality", q.Qualities)
	set("indicator", strings.Join(q.Indicators, ","))
	setNames(v, "state", q.States)
	if q.Sort != 0 {
		v.Set("sort", q.Sort.String())
	}
	if q.NoFacets {
		v.Set("facets", "false")
	}
	set("after", q.After)
	if q.Limit != 0 {
		v.Set("limit", strconv.Itoa(q.Limit))
	}
	var page cityid.DatasetPage
	if err := c.get(ctx, "/v1/datasets", v, &page); err != nil {
		return nil, err
	}
	return &page, nil
}

// Dataset returns all that the node's catalogue says about a dataset; not-found if
// it has none with this code.
func (c *Client) Dataset(ctx context.Context, code cityid.Code) (*cityid.DatasetAnswer, error) {
	var a cityid.DatasetAnswer
	if err := c.get(ctx, "/v1/datasets/"+code.String(), nil, &a); err != nil {
		return nil, err
	}
	if a.Dataset.Code != code {
		return nil, fmt.Errorf("%s answers about %s when asked for %s", c.base, a.Dataset.Code, code)
	}
	return &a, nil
}

// DatasetDocument returns a document of a dataset as the node's catalogue holds it;
// not-found if it holds none. Compare its SHA-256 with the dataset's record.
func (c *Client) DatasetDocument(ctx context.Context, code cityid.Code, part cityid.DatasetPart) ([]byte, error) {
	accept := linkedDataType
	if part == cityid.PartSchema {
		accept = schemaType
	}
	a, err := c.call(ctx, http.MethodGet, "/v1/datasets/"+code.String(), url.Values{"part": {part.String()}}, "", nil, accept)
	if err != nil {
		return nil, err
	}
	return a.body, nil
}

// CatalogueDocument returns a page of the node's catalogue as a DCAT-AP document.
// Ask again with After set to the page's Next until that is "".
func (c *Client) CatalogueDocument(ctx context.Context, q cityid.CatalogueQuery) (*cityid.CatalogueDocument, error) {
	v := url.Values{}
	if !q.City.IsZero() {
		v.Set("city", q.City.String())
	}
	if q.After != "" {
		v.Set("after", q.After)
	}
	if q.Limit != 0 {
		v.Set("limit", strconv.Itoa(q.Limit))
	}
	a, err := c.call(ctx, http.MethodGet, "/v1/catalogue", v, "", nil, linkedDataType)
	if err != nil {
		return nil, err
	}
	return &cityid.CatalogueDocument{Body: a.body, Next: nextCursor(a.link)}, nil
}

// nextCursor returns the cursor in the address of the next page that a Link header
// names, "" if it names none.
func nextCursor(link string) string {
	address, rest, ok := strings.Cut(strings.TrimPrefix(link, "<"), ">")
	if !ok || !strings.Contains(rest, `rel="next"`) {
		return ""
	}
	u, err := url.Parse(address)
	if err != nil {
		return ""
	}
	return u.Query().Get("after")
}
