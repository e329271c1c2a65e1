// SPDX-License-Identifier: Apache-2.0

package client

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"cityid"
	"cityid/verify"
)

// Record returns the latest revision of a code's record; not-found if the code
// was never allocated.
func (c *Client) Record(ctx context.Context, code cityid.Code) (*cityid.RecordAnswer, error) {
	var a cityid.RecordAnswer
	if err := c.get(ctx, "/v1/records/"+code.String(), nil, &a); err != nil {
		return nil, err
	}
	if a.Record.Code != code {
		return nil, fmt.Errorf("%s answers about %s when asked for %s", c.base, a.Record.Code, code)
	}
	return &a, nil
}

// Children returns a page of the records below a code. Ask again with After set
// to the page's Next until that is zero. A zero Limit is the node's default.
func (c *Client) Children(ctx context.Context, q cityid.ChildrenQuery) (*cityid.RecordPage, error) {
	v := url.Values{}
	if q.Deep {
		v.Set("deep", "true")
	}
	if q.Kind != 0 {
		v.Set("kind", q.Kind.String())
	}
	if !q.After.IsZero() {
		v.Set("after", q.After.String())
	}
	if q.Limit != 0 {
		v.Set("limit", strconv.Itoa(q.Limit))
	}
	var page cityid.RecordPage
	if err := c.get(ctx, "/v1/children/"+q.Code.String(), v, &page); err != nil {
		return nil, err
	}
	return &page, nil
}

// History returns all revisions of a code's record, latest first.
func (c *Client) History(ctx context.Context, code cityid.Code) (*cityid.HistoryAnswer, error) {
	var a cityid.HistoryAnswer
	if err := c.get(ctx, "/v1/history/"+code.String(), nil, &a); err != nil {
		return nil, err
	}
	return &a, nil
}

// Proposal returns a proposal, and how far its approvals are.
func (c *Client) Proposal(ctx context.Context, number uint64) (*cityid.ProposalAnswer, error) {
	var a cityid.ProposalAnswer
	if err := c.get(ctx, "/v1/proposals/"+strconv.FormatUint(number, 10), nil, &a); err != nil {
		return nil, err
	}
	return &a, nil
}

// Proposals returns a page of proposals, latest first. Ask again with Before
// set to the page's Next until that is 0. A zero Limit is the node's default.
func (c *Client) Proposals(ctx context.Context, q cityid.ProposalQuery) (*cityid.ProposalPage, error) {
	v := url.Values{}
	if q.State != 0 {
		v.Set("state", q.State.String())
	}
	if !q.Code.IsZero() {
		v.Set("code", q.Code.String())
	}
	setNumber(v, "before", q.Before)
	if q.Limit != 0 {
		v.Set("limit", strconv.Itoa(q.Limit))
	}
	var page cityid.ProposalPage
	if err := c.get(ctx, "/v1/proposals", v, &page); err != nil {
		return nil, err
	}
	return &page, nil
}

func setNumber(v url.Values, name string, n uint64) {
	if n != 0 {
		v.Set(name, strconv.FormatUint(n, 10))
	}
}

// Lookup returns the codes to which a foreign identifier is mapped.
func (c *Client) Lookup(ctx context.Context, scheme, value string) (*cityid.CrosswalkAnswer, error) {
	var a cityid.CrosswalkAnswer
	if err := c.get(ctx, "/v1/crosswalk/"+pathSegment(scheme)+"/"+pathSegment(value), nil, &a); err != nil {
		return nil, err
	}
	return &a, nil
}

// pathSegment encodes text as one segment of a path, which "." and ".." are not
// unless their dots are encoded.
func pathSegment(s string) string {
	if s == "." || s == ".." {
		return strings.ReplaceAll(s, ".", "%2E")
	}
	return url.PathEscape(s)
}

// Attestation returns a source's attestation of the bytes with a digest.
func (c *Client) Attestation(ctx context.Context, source cityid.Code, digest cityid.Digest) (*cityid.Attestation, error) {
	var a cityid.Attestation
	if err := c.get(ctx, "/v1/attestations/"+digest.String(), url.Values{"source": {source.String()}}, &a); err != nil {
		return nil, err
	}
	return &a, nil
}

// Attestations returns a page of what a source vouched for, in order of the
// digests. Ask again with After set to the page's Next until that is zero. A zero
// Limit is the node's default.
func (c *Client) Attestations(ctx context.Context, q cityid.AttestationQuery) (*cityid.AttestationPage, error) {
	v := url.Values{"source": {q.Source.String()}}
	if !q.After.IsZero() {
		v.Set("after", q.After.String())
	}
	if q.Limit != 0 {
		v.Set("limit", strconv.Itoa(q.Limit))
	}
	var page cityid.AttestationPage
	if err := c.get(ctx, "/v1/attestations", v, &page); err != nil {
		return nil, err
	}
	return &page, nil
}

// Settings returns the parameters, the distribution rule and the crosswalk
// schemes.
func (c *Client) Settings(ctx context.Context) (*cityid.Settings, error) {
	var s cityid.Settings
	if err := c.get(ctx, "/v1/settings", nil, &s); err != nil {
		return nil, err
	}
	return &s, nil
}

// Zones says how the node's zone stands to the one above it and to those below.
func (c *Client) Zones(ctx context.Context, q cityid.ZoneQuery) (*cityid.ZonePage, error) {
	v := url.Values{}
	if !q.After.IsZero() {
		v.Set("after", q.After.String())
	}
	setNumber(v, "limit", uint64(q.Limit))
	var page cityid.ZonePage
	if err := c.get(ctx, "/v1/zones", v, &page); err != nil {
		return nil, err
	}
	return &page, nil
}

// Submit brings an encoded transaction to the node. With wait it returns when a
// block holds it; without, as soon as the node has accepted it, with a receipt
// of height 0. A transaction that a block refused is no error: its receipt says
// so, see [cityid.Receipt.Err]. One that reached no block is an error.
func (c *Client) Submit(ctx context.Context, raw []byte, wait bool) (*cityid.Receipt, error) {
	const path = "/v1/transactions"
	query := url.Values{"wait": {strconv.FormatBool(wait)}}
	a, err := c.call(ctx, http.MethodPost, path, query, cborType, raw, jsonType)
	if err != nil {
		var p problem
		if a != nil && json.Unmarshal(a.body, &p) == nil && p.Receipt != nil {
			return p.Receipt, nil
		}
		return nil, err
	}
	var receipt cityid.Receipt
	if err := c.decode(path, a, &receipt); err != nil {
		return nil, err
	}
	return &receipt, nil
}

// SubmitTx encodes a signed transaction and submits it as [Client.Submit] does.
func (c *Client) SubmitTx(ctx context.Context, tx *cityid.Tx, wait bool) (*cityid.Receipt, error) {
	raw, err := cityid.Marshal(tx)
	if err != nil {
		return nil, fmt.Errorf("encode transaction: %w", err)
	}
	receipt, err := c.Submit(ctx, raw, wait)
	if err != nil {
		return nil, err
	}
	if receipt.ID != tx.ID() {
		return nil, fmt.Errorf("%s answers about transaction %s when given %s", c.base, receipt.ID, tx.ID())
	}
	return receipt, nil
}

// Transaction returns what became of a transaction; not-found if no block holds
// it, or it is too long ago for the node to know.
func (c *Client) Transaction(ctx context.Context, id cityid.Digest) (*cityid.Receipt, error) {
	var r cityid.Receipt
	if err := c.get(ctx, "/v1/transactions/"+id.String(), nil, &r); err != nil {
		return nil, err
	}
	if r.ID != id {
		return nil, fmt.Errorf("%s answers about transaction %s when asked for %s", c.base, r.ID, id)
	}
	return &r, nil
}

// Bundle returns an encoded bundle: records with all proofs, or the proof that
// there are none. Package verify decodes and judges it; [Client.Resolve] does
// both for a record, [Client.Entries] for entries. A zero Kind asks for the record.
func (c *Client) Bundle(ctx context.Context, q cityid.BundleQuery) ([]byte, error) {
	v, path := url.Values{}, "/v1/bundles/"+q.Code.String()
	method, contentType, body := http.MethodGet, "", []byte(nil)
	if q.Kind == cityid.AnswerEntries {
		path = "/v1/entries"
		list := make([]string, len(q.Keys))
		for i, k := range q.Keys {
			list[i] = hex.EncodeToString(k)
		}
		if text := strings.Join(list, ","); len(text) <= maxKeysInAddress {
			v.Set("keys", text)
		} else {
			method, contentType, body = http.MethodPost, cborType, cityid.MustMarshal(q.Keys)
		}
	} else if q.Kind != 0 {
		v.Set("kind", q.Kind.String())
	}
	setNumber(v, "from", uint64(q.From))
	setNumber(v, "base", q.Base)
	setNumber(v, "at", q.At)
	if q.Log {
		v.Set("log", "true")
	}
	if q.Anchor != nil {
		v.Set("anchor", strconv.FormatUint(*q.Anchor, 10))
	}
	a, err := c.call(ctx, method, path, v, contentType, body, verify.MediaType)
	if err != nil {
		return nil, err
	}
	return a.body, nil
}

// maxKeysInAddress is how many octets of keys go into an address; more are sent
// as the body of a POST.
const maxKeysInAddress = 3000

// Link returns an encoded link of package verify: the proof that the header of a
// height is in the block log of a recent one, for an asker who holds version from
// of the trust root (0: carry none). [verify.Archive] puts it into a bundle under
// that header. The error is not-found while the block log does not hold the
// height, as it may not for the newest ones.
func (c *Client) Link(ctx context.Context, height uint64, from uint32) ([]byte, error) {
	v := url.Values{}
	setNumber(v, "from", uint64(from))
	a, err := c.call(ctx, http.MethodGet, "/v1/links/"+strconv.FormatUint(height, 10), v, "", nil, verify.LinkMediaType)
	if err != nil {
		return nil, err
	}
	return a.body, nil
}

// SignedHeader returns the encoded header of a height with its validators and all
// votes, as package verify encodes it; [verify.Follow] judges it. The error is
// not-found for a height that has no block yet, or whose block the node does not
// keep.
func (c *Client) SignedHeader(ctx context.Context, height uint64) ([]byte, error) {
	a, err := c.call(ctx, http.MethodGet, "/v1/headers/"+strconv.FormatUint(height, 10), nil, "", nil, verify.HeaderMediaType)
	if err != nil {
		return nil, err
	}
	return a.body, nil
}

// Resolve fetches a code's record with its proof, or the proof that the code is
// not allocated, and judges it by a version of the trust root at the time now.
// Look at the result's verdict first: the error only tells that there is nothing
// to judge. Versions of the trust root that the node knows beyond the given one
// are in the result's Learned.
func (c *Client) Resolve(ctx context.Context, trust *cityid.Trust, code cityid.Code, now time.Time) (verify.Result, error) {
	data, err := c.Bundle(ctx, cityid.BundleQuery{
		Code: code, Kind: cityid.AnswerRecord, From: trust.Statement.Version, Base: trust.Statement.Height,
	})
	if err != nil {
		return verify.Result{}, err
	}
	return verify.CheckEncoded(trust, data, verify.Options{Now: now, Code: code, Kind: cityid.AnswerRecord}), nil
}

// Trust returns all versions of the trust root, the first version first. They
// prove nothing but that each follows from the one before.
func (c *Client) Trust(ctx context.Context) ([]cityid.Trust, error) {
	var a struct {
		Versions []cityid.Trust `json:"versions"`
	}
	if err := c.get(ctx, "/v1/trust", nil, &a); err != nil {
		return nil, err
	}
	return a.Versions, nil
}

// NextTrust returns the statement of the trust root's next version as the node
// drafts it, for the apex quorum to check and sign.
func (c *Client) NextTrust(ctx context.Context) (*cityid.TrustStatement, error) {
	var s cityid.TrustStatement
	if err := c.get(ctx, "/v1/trust/next", nil, &s); err != nil {
		return nil, err
	}
	return &s, nil
}

// Status returns how the node is.
func (c *Client) Status(ctx context.Context) (*cityid.NodeStatus, error) {
	var s cityid.NodeStatus
	if err := c.get(ctx, "/v1/status", nil, &s); err != nil {
		return nil, err
	}
	return &s, nil
}
