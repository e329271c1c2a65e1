// SPDX-License-Identifier: Apache-2.0

package api

import (
	"bytes"
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
	p, err := parseQuery(r, "log", "after", "after_log", "limit")
	if err != nil {
		return nil, err
	}
	party, err := parseCode(r.PathValue("code"))
	if err != nil {
		return nil, err
	}
	q := cityid.AnchorQuery{
		Party: party, Log: p.logName("log"), AfterLog: p.logName("after_log"), After: p.number("after", 0, math.MaxUint64-1, 0),
		Limit: int(p.number("limit", 1, maxAnchors, defaultAnchors)),
	}
	other := "after"
	if q.Log != "" {
		other = "after_log"
	}
	if p.values.Has(other) {
		p.refuse(other, "it only where it applies: after goes on in the log named by log, after_log in the list of logs")
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
	if page.NextLog != "" {
		linkNext(header, "/v1/anchors/"+party.String(), p.values, "after_log", page.NextLog)
	}
	return page, nil
}

// logName reads the name of a receipt log.
func (q *query) logName(name string) string {
	if v := q.values.Get(name); q.values.Has(name) && !cityid.ValidLogName(v) {
		q.refuse(name, "1 to "+strconv.Itoa(cityid.MaxLogName)+" lower-case letters, digits and hyphens")
	}
	return q.values.Get(name)
}

// entries answers with a bundle about keys of the state, which the query names
// or, where they are too many for an address, the body of a POST.
func (h *handler) entries(w http.ResponseWriter, r *http.Request) error {
	if _, err := web.Negotiate(r, verify.MediaType); err != nil {
		return err
	}
	allowed := []string{"from", "base", "at", "log", "anchor"}
	if r.Method != http.MethodPost {
		allowed = append(allowed, "keys")
	}
	p, err := parseQuery(r, allowed...)
	if err != nil {
		return err
	}
	q := cityid.BundleQuery{
		Kind: cityid.AnswerEntries, Log: p.boolean("log", false), From: uint32(p.number("from", 0, math.MaxUint32, 0)),
		Base: p.number("base", 0, math.MaxUint64, 0), At: p.number("at", 0, math.MaxUint64, 0), Anchor: p.anchor(),
	}
	if p.err != nil {
		return p.err
	}
	if r.Method == http.MethodPost {
		q.Keys, err = readKeys(w, r)
	} else {
		q.Keys, err = parseKeys(p.values.Get("keys"))
	}
	if err != nil {
		return err
	}
	if q.Code, err = checkKeys(q.Keys); err != nil {
		return err
	}
	body, err := h.source.Bundle(r.Context(), q)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Disposition", `attachment; filename="entries.bundle"`)
	web.WriteBytes(w, r, http.StatusOK, verify.MediaType, body)
	return nil
}

// parseKeys reads keys in lower-case hexadecimal, separated by commas.
func parseKeys(list string) ([][]byte, error) {
	var keys [][]byte
	for text := range strings.SplitSeq(list, ",") {
		key, err := hex.DecodeString(text)
		if err != nil || text == "" || hex.EncodeToString(key) != text {
			return nil, cityid.Errorf(cityid.ErrMalformed, "query: parameter keys: %.60q: want keys of the state in lower-case hexadecimal, separated by commas", text)
		}
		keys = append(keys, key)
	}
	return keys, nil
}

// maxKeys is the most octets of an encoded list of keys.
const maxKeys = verify.MaxEntries * 260

// readKeys reads the list of byte strings that is the body of a POST.
func readKeys(w http.ResponseWriter, r *http.Request) ([][]byte, error) {
	raw, err := readBody(w, r, maxKeys, "the list of keys", CBORType)
	if err != nil {
		return nil, err
	}
	var keys [][]byte
	if err := cityid.Unmarshal(raw, &keys); err != nil {
		return nil, cityid.Errorf(cityid.ErrMalformed, "keys: %v", err)
	}
	return keys, nil
}

// checkKeys checks that a bundle can be about the keys, and returns the code of
// the first.
func checkKeys(keys [][]byte) (first cityid.Code, err error) {
	if len(keys) < 1 || len(keys) > verify.MaxEntries {
		return first, cityid.Errorf(cityid.ErrMalformed, "%d keys: want 1 to %d", len(keys), verify.MaxEntries)
	}
	for i, key := range keys {
		code, ok := cityid.CodeOfEntryKey(key)
		switch {
		case !ok:
			return first, cityid.Errorf(cityid.ErrMalformed, "key %.80x: want keys that stand for records, attestations, agreements or anchors", key)
		case i == 0:
			first = code
		case bytes.Compare(keys[i-1], key) >= 0:
			return first, cityid.Errorf(cityid.ErrMalformed, "keys must be in byte order, each once")
		}
	}
	return first, nil
}
