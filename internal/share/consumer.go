// SPDX-License-Identifier: Apache-2.0

package share

import (
	"bytes"
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"cityid"
	"cityid/internal/httpsig"
	"cityid/internal/ledger"
	"cityid/internal/web"
)

// Errors of fetches that are the peer's doing.
var (
	errPeer = errors.New("the provider's gateway does not answer")
	errLies = errors.New("the provider's answer is not what it is signed to be")
)

// clockDifference is how far the time of a receipt may be from the consumer's.
const clockDifference = 2 * time.Minute

// Fetched is an answer that was verified and written down.
type Fetched struct {
	Status      int
	ContentType string
	Body        *Spool // to be closed
	Receipt     ledger.Receipt
	Entry       ledger.Appended
	Standing    *Standing // by which it was judged
}

// Fetch asks the provider of an agreement's dataset for a path and query as they
// are to stand on the wire. A refusal that the provider has signed is an answer
// with its status; the error says that there is none that counts.
//
// Once the answer has begun, and is not large, it is taken and written down even if
// ctx ends: what was begun and not acknowledged counts against the agreement.
func (g *Gateway) Fetch(ctx context.Context, id cityid.Digest, path, query string) (*Fetched, error) {
	return g.fetch(ctx, id, path, query, g.cfg.MaxBody)
}

// fetch is Fetch for an answer of at most so many octets.
func (g *Gateway) fetch(ctx context.Context, id cityid.Digest, path, query string, most int64) (*Fetched, error) {
	s, err := g.view.Standing(ctx, id)
	if err != nil {
		return nil, err
	}
	if _, err := splitPath(path); err != nil {
		return nil, err
	}
	if g.mayAsk(s) != nil {
		s = g.view.anew(ctx, s) // what has only just been granted may not be known yet
	}
	if err := g.mayAsk(s); err != nil {
		return nil, err
	}
	if len(s.Provider.Links) == 0 {
		return nil, cityid.Errorf(cityid.ErrNotFound, "no record from %s upwards links to a gateway", s.Agreement.Terms.Dataset)
	}
	target := "/data/" + Segment(s.Agreement.Terms.Dataset) + path + question(query)
	for _, base := range s.Provider.Links {
		var f *Fetched
		if f, err = g.fetchFrom(ctx, s, base, target, most); errors.Is(err, cityid.ErrReplayed) && rest(ctx, restartPause) {
			// A gateway that just started takes no signature made before.
			f, err = g.fetchFrom(ctx, s, base, target, most)
		}
		if err == nil {
			return f, nil
		}
		if !errors.Is(err, errPeer) || ctx.Err() != nil {
			break
		}
	}
	return nil, err
}

// restartPause is how long to wait before asking a gateway anew that just started.
const restartPause = 1100 * time.Millisecond

// rest waits, and reports whether ctx has not ended meanwhile.
func rest(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

// mayAsk checks what the provider would check too, to tell the reason sooner.
func (g *Gateway) mayAsk(s *Standing) error {
	now := cityid.TimeOf(g.now())
	if s.Consumer.Holder != g.cfg.Party {
		return cityid.Errorf(cityid.ErrNotPermitted, "the agreement is for %s, which %s holds: this gateway acts for %s", s.Consumer.Code, s.Consumer.Holder, g.cfg.Party)
	}
	if err := s.Consumer.Key(g.public, now); err != nil {
		return err
	}
	return mayFetch(s, s.Agreement.Terms.Dataset, now)
}

// finishSize is up to how many octets an answer is taken whole though nobody waits
// for it any more.
const finishSize = 16 << 20

// fetchFrom asks one gateway of the provider.
func (g *Gateway) fetchFrom(ctx context.Context, s *Standing, base, target string, most int64) (*Fetched, error) {
	asked := ctx
	ctx, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	defer cancel(nil)
	forget := context.AfterFunc(asked, func() { cancel(context.Cause(asked)) })
	defer forget()
	r, sent, err := g.signedRequest(ctx, http.MethodGet, base, target, s.ID, fetchProfile, nil)
	if err != nil {
		return nil, err
	}
	resp, err := g.peers.Do(r)
	if err != nil {
		return nil, peerError(base, err)
	}
	defer resp.Body.Close()
	if resp.Header.Get("Signature") == "" {
		return nil, g.unsigned(base, resp, cancel)
	}
	answer, receipt, encoded, err := g.checkAnswer(s, sent, resp)
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", errLies, base, err)
	}
	if receipt.Size > uint64(most) {
		return nil, cityid.Errorf(cityid.ErrTooLarge, "the answer has %d octets: this gateway takes %d at most", receipt.Size, most)
	}
	if receipt.Size <= finishSize {
		forget()
	}
	body := NewSpool(g.cfg.Data, int64(receipt.Size))
	keep := false
	defer func() {
		if !keep {
			body.Close()
		}
	}()
	if err := body.steadily(resp.Body, g.patience, cancel); err != nil && !errors.Is(err, errTooLarge) {
		return nil, peerError(base, cmp.Or(context.Cause(ctx), err))
	}
	if uint64(body.Size()) != receipt.Size || body.Digest() != receipt.Content {
		return nil, fmt.Errorf("%w: %s: the body is another one than the signature and the receipt name", errLies, base)
	}
	entry, err := g.ledger.AppendFetched(ctx, ledger.Fetched{
		Path: r.URL.RequestURI(), Request: messageOf(sent.signed), Response: messageOf(answer), Receipt: encoded,
	})
	if err != nil {
		return nil, fmt.Errorf("write the receipt down: %w", err)
	}
	if receipt.Served() {
		g.acks.add(ackTarget{s.ID, sent.signed.Value("@authority"), receipt.Log}, entry.Hash)
	}
	keep = true
	return &Fetched{resp.StatusCode, resp.Header.Get("Content-Type"), body, *receipt, entry, s}, nil
}

// sentRequest is a request as it was signed.
type sentRequest struct {
	message *httpsig.Message
	signed  *httpsig.Signed
}

// signedRequest makes a request to another gateway and signs it.
func (g *Gateway) signedRequest(ctx context.Context, method, base, target string, id cityid.Digest, profile *httpsig.Profile, body []byte) (*http.Request, *sentRequest, error) {
	u, err := url.Parse(base)
	if err != nil || u.Host == "" || u.User != nil || strings.Trim(u.Path, "/") != "" || strings.ContainsAny(base, "?#") {
		return nil, nil, cityid.Errorf(cityid.ErrInvalid, "the link to the gateway, %.120q, is no address of one: want such as https://gateway.example.cn, without a path", base)
	}
	if u.Scheme != "https" && !(u.Scheme == "http" && g.cfg.PrivatePeers) {
		return nil, nil, cityid.Errorf(cityid.ErrInvalid, "the link to the gateway, %.120q, is not https", base)
	}
	r, err := http.NewRequestWithContext(ctx, method, u.Scheme+"://"+u.Host+target, bytes.NewReader(body))
	if err != nil {
		return nil, nil, cityid.Errorf(cityid.ErrMalformed, "address of the fetch: %v", err)
	}
	if r.URL.RequestURI() != target {
		return nil, nil, cityid.Errorf(cityid.ErrMalformed, "the path and query %.120q would be sent as %.120q: write them so", target, r.URL.RequestURI())
	}
	r.Header.Set("User-Agent", "cityid-gateway")
	r.Header.Set("Accept-Encoding", "identity")
	r.Header.Set("Cache-Control", "no-transform")
	r.Header.Set(fieldDigest, httpsig.Digest(body))
	r.Header.Set(fieldAgreement, formatAgreement(id))
	m, err := httpsig.RequestToSend(r)
	if err != nil {
		return nil, nil, err
	}
	signed, err := profile.Sign(m, httpsig.Params{Created: g.now(), KeyID: g.keyID}, g.key)
	if errors.Is(err, httpsig.ErrMalformed) {
		return nil, nil, cityid.Errorf(cityid.ErrMalformed, "the path and query %.120q can not be signed as they are: %v", target, err)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("sign the request: %w", err)
	}
	return r, &sentRequest{m, signed}, nil
}

// checkAnswer verifies that the provider signed this answer to this request, and
// that the receipt is for it.
func (g *Gateway) checkAnswer(s *Standing, sent *sentRequest, resp *http.Response) (*httpsig.Signed, *ledger.Receipt, []byte, error) {
	m, err := httpsig.ResponseReceived(resp, sent.message)
	if err != nil {
		return nil, nil, nil, err
	}
	now := g.now()
	answer, err := answerProfile.Verify(m, now, func(keyID string) (httpsig.Key, error) {
		return keyOf(&s.Provider, keyID, cityid.TimeOf(now))
	})
	if err != nil {
		return nil, nil, nil, err
	}
	receipt, encoded, err := g.checkSigned(s, sent, answer)
	if err != nil {
		// Its key signed what is not so: that is worth keeping, for whoever is asked about it.
		g.logger.Warn("a provider signed an answer that is not right", "agreement", s.ID, "provider", s.Provider.Holder, "error", err,
			"base", answer.Base, "signature", base64.StdEncoding.EncodeToString(answer.Signature))
		return nil, nil, nil, err
	}
	return answer, receipt, encoded, nil
}

// checkSigned checks that what a provider's key signed answers the request, and that
// the receipt in it says what the agreement and both messages say.
func (g *Gateway) checkSigned(s *Standing, sent *sentRequest, answer *httpsig.Signed) (*ledger.Receipt, []byte, error) {
	if err := answer.Answers(sent.signed); err != nil {
		return nil, nil, err
	}
	receipt, encoded, err := receiptOf(answer)
	if err != nil {
		return nil, nil, err
	}
	if err := checkReceipt(receipt, s, answer, sent.signed); err != nil {
		return nil, nil, err
	}
	now := g.now()
	if d := now.Sub(receipt.Time.Std()); d > clockDifference || d < -clockDifference {
		return nil, nil, fmt.Errorf("the receipt's time is %s, and here it is %s: one of the clocks is wrong", receipt.Time, now.UTC().Format(time.RFC3339))
	}
	return receipt, encoded, nil
}

// receiptOf reads the receipt that an answer's signature covers.
func receiptOf(answer *httpsig.Signed) (*ledger.Receipt, []byte, error) {
	text := answer.Value("data-receipt")
	if len(text) < 2 || text[0] != ':' || text[len(text)-1] != ':' {
		return nil, nil, errors.New("the receipt is not written as octets between colons")
	}
	encoded, err := base64.StdEncoding.Strict().DecodeString(text[1 : len(text)-1])
	if err != nil {
		return nil, nil, fmt.Errorf("receipt: %w", err)
	}
	r, err := ledger.DecodeReceipt(encoded)
	return &r, encoded, err
}

// checkReceipt checks that a receipt says what the signed messages and the
// agreement say.
func checkReceipt(r *ledger.Receipt, s *Standing, answer, request *httpsig.Signed) error {
	switch {
	case r.Agreement != s.ID || r.Dataset != s.Agreement.Terms.Dataset:
		return errors.New("the receipt is for another agreement or dataset")
	case r.Provider != s.Provider.Holder:
		return fmt.Errorf("the receipt names %s as the provider, and %s holds the dataset", r.Provider, s.Provider.Holder)
	case r.Request != messageOf(request).Hash():
		return errors.New("the receipt is for another request")
	case r.Status >= 300 && r.Status < 400:
		return errors.New("the answer is neither data nor a refusal")
	case answer.Value("@status") != fmt.Sprint(r.Status):
		return errors.New("the receipt names another status than the answer has")
	case answer.Digest != r.Content:
		return errors.New("the receipt names another digest than the answer has")
	}
	return nil
}

// peerError says that a peer could not be reached, without what the transport
// says about addresses inside.
func peerError(base string, err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err
	}
	return fmt.Errorf("%w: %s: %w", errPeer, base, err)
}

// unsigned makes an error of an answer without a signature.
func (g *Gateway) unsigned(base string, resp *http.Response, cancel context.CancelCauseFunc) error {
	var p web.Problem
	body := NewSpool(g.cfg.Data, 64<<10)
	defer body.Close()
	// What can not be read, or is too long, is no problem: the status alone counts.
	_ = body.steadily(resp.Body, g.patience, cancel)
	if json.Unmarshal(body.buf.Bytes(), &p) == nil && p.Code != cityid.OK && p.Detail != "" && resp.StatusCode >= 400 {
		if resp.StatusCode >= 500 {
			return fmt.Errorf("%w: %s: %.300s", errPeer, base, p.Detail)
		}
		return cityid.Errorf(p.Code, "%s refuses, without a signature: %.300s", base, p.Detail)
	}
	return fmt.Errorf("%w: %s answers with status %d and no signature", errPeer, base, resp.StatusCode)
}
