// SPDX-License-Identifier: Apache-2.0

package share

import (
	"net/http"
	"net/url"

	"cityid"
	"cityid/internal/ledger"
	"cityid/internal/web"
)

// localLog answers with part of the access log of an agreement, as package ledger
// describes it.
func (g *Gateway) localLog(w http.ResponseWriter, r *http.Request) error {
	v, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return cityid.Errorf(cityid.ErrMalformed, "query: %v", err)
	}
	q, err := ledger.ParseAccessQuery(v)
	if err != nil {
		return refusalOf(err)
	}
	page, err := g.ledger.Access(r.Context(), q)
	if err != nil {
		return refusalOf(err)
	}
	return web.WriteJSON(w, r, http.StatusOK, page)
}
