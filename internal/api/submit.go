// SPDX-License-Identifier: Apache-2.0

package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"slices"
	"strings"

	"cityid"
	"cityid/internal/web"
)

// CBORType is the media type of encoded transactions.
const CBORType = "application/cbor"

// maxJSON is the most octets of a transaction in JSON: base64 takes a third
// more, and names and quotes some on top.
const maxJSON = cityid.MaxTx*4/3 + 4096

// submit answers POST /v1/transactions.
func (h *handler) submit(w http.ResponseWriter, r *http.Request) error {
	if _, err := web.Negotiate(r, web.JSONType); err != nil {
		return err
	}
	p, err := parseQuery(r, "wait")
	if err != nil {
		return err
	}
	wait := p.boolean("wait", !prefersAsync(r.Header))
	if p.err != nil {
		return p.err
	}
	if err := echoIdempotencyKey(w.Header(), r.Header); err != nil {
		return err
	}
	raw, err := readTransaction(w, r)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(r.Context(), h.wait)
	defer cancel()
	receipt, err := h.source.Submit(ctx, raw, wait)
	if errors.Is(err, context.DeadlineExceeded) {
		receipt, err = h.waiting(r.Context(), raw)
	}
	if err != nil {
		return err
	}
	return writeReceipt(w, r, receipt, wait)
}

// waiting returns the receipt of a transaction that did not get its block in
// time.
func (h *handler) waiting(ctx context.Context, raw []byte) (*cityid.Receipt, error) {
	tx, _, err := cityid.DecodeTx(raw)
	if err != nil {
		return nil, err
	}
	receipt, err := h.source.Transaction(ctx, tx.ID())
	if err != nil {
		return nil, cityid.Errorf(cityid.ErrUnavailable, "no block has recorded transaction %s yet: submit the same bytes again, which is safe", tx.ID())
	}
	return receipt, nil
}

func transactionPath(id cityid.Digest) string { return "/v1/transactions/" + id.String() }

func writeReceipt(w http.ResponseWriter, r *http.Request, receipt *cityid.Receipt, wait bool) error {
	w.Header().Set("Location", transactionPath(receipt.ID))
	if err := receipt.Err(); err != nil {
		problem := web.ProblemOf(err)
		problem.Receipt = receipt
		return problem
	}
	if !wait && prefersAsync(r.Header) {
		w.Header().Set("Preference-Applied", "respond-async")
	}
	status := http.StatusOK
	if receipt.Height == 0 {
		status = http.StatusAccepted
	}
	return web.WriteJSON(w, r, status, receipt)
}

// prefersAsync reports whether a Prefer header (RFC 7240) has respond-async.
func prefersAsync(header http.Header) bool {
	for _, line := range header.Values("Prefer") {
		for preference := range strings.SplitSeq(line, ",") {
			name, _, _ := strings.Cut(preference, ";")
			if strings.EqualFold(strings.TrimSpace(name), "respond-async") {
				return true
			}
		}
	}
	return false
}

// echoIdempotencyKey sends the key back: a transaction's id is its key already.
func echoIdempotencyKey(answer, request http.Header) error {
	const name = "Idempotency-Key"
	keys := request.Values(name)
	if len(keys) == 0 {
		return nil
	}
	if len(keys) > 1 || keys[0] == "" || len(keys[0]) > 255 {
		return cityid.Errorf(cityid.ErrMalformed, "header %s: want it once, with 1 to 255 characters", name)
	}
	answer.Set(name, keys[0])
	return nil
}

// readTransaction reads the body and returns the transaction's encoding.
func readTransaction(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	limit := int64(cityid.MaxTx)
	inJSON := bodyType(r) == web.JSONType
	if inJSON {
		limit = maxJSON
	}
	raw, err := readBody(w, r, limit, "the transaction", CBORType, web.JSONType)
	if err != nil || !inJSON {
		return raw, err
	}
	tx, err := decodeTx(raw)
	if err != nil {
		return nil, cityid.Errorf(cityid.ErrMalformed, "transaction in JSON: %v", err)
	}
	return cityid.Marshal(tx)
}

// bodyType returns the media type of a request's body, or "".
func bodyType(r *http.Request) string {
	mediaType, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil {
		return ""
	}
	return mediaType
}

// readBody reads the body of a request, which is what, of one of the types.
func readBody(w http.ResponseWriter, r *http.Request, limit int64, what string, types ...string) ([]byte, error) {
	if !slices.Contains(types, bodyType(r)) {
		w.Header().Set("Accept-Post", strings.Join(types, ", "))
		return nil, web.Refuse(http.StatusUnsupportedMediaType, cityid.ErrUnsupported,
			"content type %.60q: send %s as %s", r.Header.Get("Content-Type"), what, strings.Join(types, " or "))
	}
	if r.Header.Get("Content-Encoding") != "" {
		return nil, web.Refuse(http.StatusUnsupportedMediaType, cityid.ErrUnsupported, "content encodings are not supported: send %s as it is", what)
	}
	raw, err := io.ReadAll(http.MaxBytesReader(w, r.Body, limit))
	if err != nil {
		var tooLarge *http.MaxBytesError
		if errors.As(err, &tooLarge) {
			return nil, err
		}
		return nil, cityid.Errorf(cityid.ErrMalformed, "the request's body broke off: %v", err)
	}
	return raw, nil
}

// decodeTx decodes the JSON form of a transaction: one object that has exactly
// the members body and signatures, each once.
func decodeTx(raw []byte) (*cityid.Tx, error) {
	d := json.NewDecoder(bytes.NewReader(raw))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil, errors.New("want an object with body and signatures")
	}
	var body *cityid.Bytes
	var signatures []*cityid.Bytes
	members := map[json.Token]any{"body": &body, "signatures": &signatures}
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return nil, err
		}
		member := members[name]
		if member == nil {
			return nil, fmt.Errorf("member %.40q is unknown or given twice", name)
		}
		delete(members, name)
		if err := d.Decode(member); err != nil {
			return nil, fmt.Errorf("member %s: %w", name, err)
		}
	}
	if _, err := d.Token(); err != nil {
		return nil, errors.New("the object does not end")
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, errors.New("something follows the object")
	}
	if body == nil || signatures == nil {
		return nil, errors.New("want both body and signatures")
	}
	tx := &cityid.Tx{Body: *body}
	for i, s := range signatures {
		if s == nil {
			return nil, fmt.Errorf("signature %d is null", i)
		}
		tx.Signatures = append(tx.Signatures, *s)
	}
	return tx, nil
}
