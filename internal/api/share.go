// SPDX-License-Identifier: Apache-2.0

package api

import (
	"encoding/hex"
	"math"
	"net/http"
	"strconv"
	"strings"

	"cityid"
	"cityid/internal/web"
	"cityid/verify"
)

// Pages of lists about shared data: the default and the largest.
const (
	defaultAgreements, maxAgreements = 50, 200
	defaultAnchors, maxAnchors       = 100, 1000
)

func (h *handler) agreement(_ http.Header, r *http.Request) (any, error) {
	if _, err := parseQuery(r); err != nil {
		return nil, err
	}
	id, err := pathDigest(r, "id")
	if err != nil {
		return nil, err
	}
	return h.source.Agreement(r.Context(), id)
}

func (h *handler) agreements(header http.Header, r *http.Request) (any, error) {
	p, err := parseQuery(r, "dataset", "consumer", "state", "after", "limit")
	if err != nil {
		return nil, err
	}
	q := cityid.AgreementQuery{
		Dataset: p.code("dataset"), Consumer: p.code("consumer"), After: p.values.Get("after"),
		Limit: int(p.number("limit", 1, maxAgreements, defaultAgreements)),
	}
	p.text("state", &q.State)
	if p.err == nil && q.Dataset.IsZero() == q.Consumer.IsZero() {
		return nil, cityid.Errorf(cityid.ErrMalformed, "query: want either dataset=CODE or consumer=CODE")
	}
	if p.err != nil {
		return nil, p.err
	}
	page, err := h.source.Agreements(r.Context(), q)
	if err != nil {
		return nil, err
	}
	if page.Next != "" {
		linkNext(header, "/v1/agreements", p.values, "after", page.Next)
	}
	if page.Agreements == nil {
		page.Agreements = []cityid.AgreementAnswer{}
	}
	return page, nil
}

func (h *handler) anchors(header http.Header, r *http.Request) (any, error) {
	p, err := parseQuery(r, "log", "after", "limit")
	if err != nil {
		return nil, err
	}
	party, err := parseCode(r.PathValue("code"))
	if err != nil {
		return nil, err
	}
	q := cityid.AnchorQuery{
		Party: party, Log: p.values.Get("log"), After: p.number("after", 0, math.MaxUint64-1, 0),
		Limit: int(p.number("limit", 1, maxAnchors, defaultAnchors)),
	}
	if p.err != nil {
		return nil, p.err
	}
	page, err := h.source.Anchors(r.Context(), q)
	if err != nil {
		return nil, err
	}
	if page.Next != 0 {
		linkNext(header, "/v1/anchors/"+party.String(), p.values, "after", strconv.FormatUint(page.Next, 10))
	}
	return page, nil
}

// entries answers with a bundle about keys of the state.
func (h *handler) entries(w http.ResponseWriter, r *http.Request) error {
	if _, err := web.Negotiate(r, verify.MediaType); err != nil {
		return err
	}
	p, err := parseQuery(r, "keys", "from", "base", "at", "log")
	if err != nil {
		return err
	}
	q := cityid.BundleQuery{
		Kind: cityid.AnswerEntries, Log: p.boolean("log", false), From: uint32(p.number("from", 0, math.MaxUint32, 0)),
		Base: p.number("base", 0, math.MaxUint64, 0), At: p.number("at", 0, math.MaxUint64, 0),
	}
	for text := range strings.SplitSeq(p.values.Get("keys"), ",") {
		key, err := hex.DecodeString(text)
		if code, ok := cityid.CodeOfEntryKey(key); err != nil || !ok {
			p.refuse("keys", "keys of the state that stand for records, attestations, agreements or anchors, in hexadecimal, separated by commas")
		} else if len(q.Keys) == 0 {
			q.Code = code
		}
		q.Keys = append(q.Keys, key)
	}
	if len(q.Keys) > verify.MaxEntries {
		p.refuse("keys", "at most "+strconv.Itoa(verify.MaxEntries)+" keys")
	}
	if p.err != nil {
		return p.err
	}
	body, err := h.source.Bundle(r.Context(), q)
	if err != nil {
		return err
	}
	web.WriteBytes(w, r, http.StatusOK, verify.MediaType, body)
	return nil
}
