// SPDX-License-Identifier: Apache-2.0

package api

import (
	"fmt"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"cityid"
	"cityid/internal/web"
	"cityid/verify"
)

// Pages of lists: the default and the largest.
const (
	defaultRecords, maxRecords     = 100, 1000
	defaultProposals, maxProposals = 50, 200
)

// maxValue is the most octets of a crosswalk value.
const maxValue = 64

func (h *handler) record(_ http.Header, r *http.Request) (any, error) {
	code, err := pathCode(r)
	if err != nil {
		return nil, err
	}
	return h.source.Record(r.Context(), code)
}

func (h *handler) history(_ http.Header, r *http.Request) (any, error) {
	code, err := pathCode(r)
	if err != nil {
		return nil, err
	}
	return h.source.History(r.Context(), code)
}

func (h *handler) children(header http.Header, r *http.Request) (any, error) {
	p, err := parseQuery(r, "deep", "kind", "after", "limit")
	if err != nil {
		return nil, err
	}
	code, err := parseCode(r.PathValue("code"))
	if err != nil {
		return nil, err
	}
	q := cityid.ChildrenQuery{
		Code: code, Deep: p.boolean("deep", false), After: p.code("after"),
		Limit: int(p.number("limit", 1, maxRecords, defaultRecords)),
	}
	p.text("kind", &q.Kind)
	if p.err != nil {
		return nil, p.err
	}
	page, err := h.source.Children(r.Context(), q)
	if err != nil {
		return nil, err
	}
	if !page.Next.IsZero() {
		linkNext(header, "/v1/children/"+code.String(), p.values, "after", page.Next.String())
	}
	if page.Records == nil {
		page.Records = []cityid.Record{}
	}
	return page, nil
}

// linkNext sets the Link header to the page that follows.
func linkNext(header http.Header, path string, values url.Values, cursor, next string) {
	values.Set(cursor, next)
	header.Set("Link", fmt.Sprintf("<%s?%s>; rel=\"next\"", path, values.Encode()))
}

func (h *handler) crosswalk(_ http.Header, r *http.Request) (any, error) {
	if _, err := parseQuery(r); err != nil {
		return nil, err
	}
	scheme, value := r.PathValue("scheme"), r.PathValue("value")
	if !cityid.ValidSchemeName(scheme) {
		return nil, cityid.Errorf(cityid.ErrMalformed, "scheme name %.40q: want 1 to 24 lower-case letters, digits and hyphens", scheme)
	}
	if value == "" || len(value) > maxValue || !utf8.ValidString(value) || strings.ContainsFunc(value, unicode.IsControl) {
		return nil, cityid.Errorf(cityid.ErrMalformed, "value %.80q: want 1 to %d octets of text", value, maxValue)
	}
	a, err := h.source.Lookup(r.Context(), scheme, value)
	if err != nil {
		return nil, err
	}
	if a.Entries == nil {
		a.Entries = []cityid.CrosswalkEntry{}
	}
	return a, nil
}

func (h *handler) attestation(_ http.Header, r *http.Request) (any, error) {
	p, err := parseQuery(r, "source")
	if err != nil {
		return nil, err
	}
	digest, err := pathDigest(r, "digest")
	if err != nil {
		return nil, err
	}
	source := p.code("source")
	if p.err == nil && source.IsZero() {
		p.refuse("source", "the code of the source")
	}
	if p.err != nil {
		return nil, p.err
	}
	return h.source.Attestation(r.Context(), source, digest)
}

func (h *handler) proposal(_ http.Header, r *http.Request) (any, error) {
	number, err := pathNumber(r, "number")
	if err != nil {
		return nil, err
	}
	return h.source.Proposal(r.Context(), number)
}

func (h *handler) proposals(header http.Header, r *http.Request) (any, error) {
	p, err := parseQuery(r, "state", "code", "before", "limit")
	if err != nil {
		return nil, err
	}
	q := cityid.ProposalQuery{
		Code: p.code("code"), Before: p.number("before", 1, math.MaxUint64, 0),
		Limit: int(p.number("limit", 1, maxProposals, defaultProposals)),
	}
	p.text("state", &q.State)
	if p.err != nil {
		return nil, p.err
	}
	page, err := h.source.Proposals(r.Context(), q)
	if err != nil {
		return nil, err
	}
	if page.Next != 0 {
		linkNext(header, "/v1/proposals", p.values, "before", strconv.FormatUint(page.Next, 10))
	}
	if page.Proposals == nil {
		page.Proposals = []cityid.ProposalAnswer{}
	}
	return page, nil
}

func (h *handler) transaction(_ http.Header, r *http.Request) (any, error) {
	if _, err := parseQuery(r); err != nil {
		return nil, err
	}
	id, err := pathDigest(r, "id")
	if err != nil {
		return nil, err
	}
	return h.source.Transaction(r.Context(), id)
}

func (h *handler) bundle(w http.ResponseWriter, r *http.Request) error {
	if _, err := web.Negotiate(r, verify.MediaType); err != nil {
		return err
	}
	p, err := parseQuery(r, "kind", "from", "base", "at", "log", "anchor")
	if err != nil {
		return err
	}
	code, err := parseCode(r.PathValue("code"))
	if err != nil {
		return err
	}
	q := cityid.BundleQuery{
		Code: code, Kind: cityid.AnswerRecord, Log: p.boolean("log", false),
		From: uint32(p.number("from", 0, math.MaxUint32, 0)),
		Base: p.number("base", 0, math.MaxUint64, 0), At: p.number("at", 0, math.MaxUint64, 0), Anchor: p.anchor(),
	}
	p.text("kind", &q.Kind)
	if p.err == nil && q.Kind == cityid.AnswerEntries {
		p.refuse("kind", "record, children, descendants, history or referral: entries are asked for at /v1/entries")
	}
	if p.err != nil {
		return p.err
	}
	body, err := h.source.Bundle(r.Context(), q)
	if err != nil {
		return err
	}
	name := strings.ReplaceAll(code.String(), "/", "_")
	if q.Kind != cityid.AnswerRecord {
		name += "." + q.Kind.String()
	}
	w.Header().Set("Content-Disposition", fmt.Sprintf("attachment; filename=%q", name+".bundle"))
	web.WriteBytes(w, r, http.StatusOK, verify.MediaType, body)
	return nil
}

func (h *handler) link(w http.ResponseWriter, r *http.Request) error {
	if _, err := web.Negotiate(r, verify.LinkMediaType); err != nil {
		return err
	}
	p, err := parseQuery(r, "from")
	if err != nil {
		return err
	}
	height, err := parsePathNumber(r, "height")
	if err != nil {
		return err
	}
	from := uint32(p.number("from", 0, math.MaxUint32, 0))
	if p.err != nil {
		return p.err
	}
	body, err := h.source.Link(r.Context(), height, from)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Disposition", fmt.Sprintf("attachment; filename=%q", strconv.FormatUint(height, 10)+".link"))
	web.WriteBytes(w, r, http.StatusOK, verify.LinkMediaType, body)
	return nil
}

func (h *handler) signedHeader(w http.ResponseWriter, r *http.Request) error {
	if _, err := web.Negotiate(r, verify.HeaderMediaType); err != nil {
		return err
	}
	if _, err := parseQuery(r); err != nil {
		return err
	}
	height, err := parsePathNumber(r, "height")
	if err != nil {
		return err
	}
	body, err := h.source.SignedHeader(r.Context(), height)
	if err != nil {
		return err
	}
	web.WriteBytes(w, r, http.StatusOK, verify.HeaderMediaType, body)
	return nil
}

// trustVersions is the answer of /v1/trust.
type trustVersions struct {
	Versions []cityid.Trust `json:"versions"`
}

func (h *handler) trust(_ http.Header, r *http.Request) (any, error) {
	if _, err := parseQuery(r); err != nil {
		return nil, err
	}
	list, err := h.source.Trust(r.Context())
	if err != nil {
		return nil, err
	}
	return trustVersions{Versions: append([]cityid.Trust{}, list...)}, nil
}

func (h *handler) nextTrust(_ http.Header, r *http.Request) (any, error) {
	if _, err := parseQuery(r); err != nil {
		return nil, err
	}
	return h.source.NextTrust(r.Context())
}

func (h *handler) trustVersion(header http.Header, r *http.Request) (any, error) {
	version, err := pathNumber(r, "version")
	if err != nil {
		return nil, err
	}
	list, err := h.source.Trust(r.Context())
	if err != nil {
		return nil, err
	}
	for i := range list {
		if uint64(list[i].Statement.Version) == version {
			header.Set("Cache-Control", "public, max-age=86400")
			return &list[i], nil
		}
	}
	return nil, cityid.Errorf(cityid.ErrNotFound, "the trust root has no version %d", version)
}

func (h *handler) zones(header http.Header, r *http.Request) (any, error) {
	p, err := parseQuery(r, "after", "limit")
	if err != nil {
		return nil, err
	}
	q := cityid.ZoneQuery{After: p.code("after"), Limit: int(p.number("limit", 1, 1000, 100))}
	if p.err != nil {
		return nil, p.err
	}
	page, err := h.source.Zones(r.Context(), q)
	if err != nil {
		return nil, err
	}
	if !page.Next.IsZero() {
		linkNext(header, "/v1/zones", p.values, "after", page.Next.String())
	}
	return page, nil
}

func (h *handler) settings(_ http.Header, r *http.Request) (any, error) {
	if _, err := parseQuery(r); err != nil {
		return nil, err
	}
	return h.source.Settings(r.Context())
}

func (h *handler) status(_ http.Header, r *http.Request) (any, error) {
	if _, err := parseQuery(r); err != nil {
		return nil, err
	}
	return h.source.Status(r.Context())
}

func (h *handler) attestations(header http.Header, r *http.Request) (any, error) {
	p, err := parseQuery(r, "source", "after", "limit")
	if err != nil {
		return nil, err
	}
	q := cityid.AttestationQuery{Source: p.code("source"), Limit: int(p.number("limit", 1, maxAttestations, defaultAttestations))}
	p.text("after", &q.After)
	if p.err == nil && q.Source.IsZero() {
		p.refuse("source", "the code of the source")
	}
	if p.err != nil {
		return nil, p.err
	}
	page, err := h.source.Attestations(r.Context(), q)
	if err != nil {
		return nil, err
	}
	if !page.Next.IsZero() {
		linkNext(header, "/v1/attestations", p.values, "after", page.Next.String())
	}
	if page.Attestations == nil {
		page.Attestations = []cityid.Attestation{}
	}
	return page, nil
}

// Pages of what a source vouched for: the default and the largest.
const defaultAttestations, maxAttestations = 50, 200
