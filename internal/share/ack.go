// SPDX-License-Identifier: Apache-2.0

package share

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"
	"time"

	"cityid"
	"cityid/internal/httpsig"
	"cityid/internal/ledger"
	"cityid/internal/web"
)

// Times and bounds of acknowledgements.
const (
	ackDelay    = 50 * time.Millisecond // an answer waits so long for others to be acknowledged with it
	ackBatch    = 256                   // entries of one acknowledgement
	ackTimeout  = 15 * time.Second
	postTimeout = time.Minute     // of any signed body
	ackRetry    = 5 * time.Second // after a provider could not be told
	maxAckBody  = 16 << 10
	resendAge   = 30 * time.Second // entries that nobody confirmed are sent again
	maxReloaded = 4096             // of one agreement at a time
)

var ackProfile = httpsig.RequestProfile(tagAcknowledgement)

// ackTarget is whom a batch of acknowledgements goes to.
type ackTarget struct {
	agreement cityid.Digest
	base      string // of the gateway that answered; "": after a restart, any of the provider's
}

// acknowledger tells providers which answers arrived. What it has not told when
// the gateway stops it tells after the next start: the entries are in the ledger.
type acknowledger struct {
	g    *Gateway
	wake chan struct{}

	mu     sync.Mutex
	queues map[ackTarget][]cityid.Digest
	after  map[ackTarget]time.Time // not before, after a failure
}

func newAcknowledger(g *Gateway) *acknowledger {
	return &acknowledger{g: g, wake: make(chan struct{}, 1), queues: map[ackTarget][]cityid.Digest{}, after: map[ackTarget]time.Time{}}
}

// add takes up an entry to be acknowledged.
func (a *acknowledger) add(agreement cityid.Digest, base string, entry cityid.Digest) {
	a.mu.Lock()
	t := ackTarget{agreement, base}
	a.queues[t] = append(a.queues[t], entry)
	a.mu.Unlock()
	select {
	case a.wake <- struct{}{}:
	default:
	}
}

// run sends acknowledgements until ctx ends, and then once more.
func (a *acknowledger) run(ctx context.Context) {
	again := time.NewTicker(resendAge)
	defer again.Stop()
	a.reload()
	for {
		select {
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), ackTimeout)
			a.flush(last)
			cancel()
			return
		case <-again.C:
			a.reload()
		case <-a.wake:
		}
		select {
		case <-ctx.Done():
		case <-time.After(ackDelay):
		}
		a.flush(ctx)
	}
}

// reload takes up what the ledger says is not acknowledged. What is on its way at
// this moment is told twice, which does no harm.
func (a *acknowledger) reload() {
	a.mu.Lock()
	defer a.mu.Unlock()
	queued := map[cityid.Digest]bool{}
	for _, q := range a.queues {
		for _, d := range q {
			queued[d] = true
		}
	}
	for _, id := range a.g.ledger.AwaitingAgreements(ledger.DirectionFetched) {
		for _, h := range a.g.ledger.AwaitingAcknowledgement(id, ledger.DirectionFetched, maxReloaded) {
			if t := (ackTarget{agreement: id}); !queued[h] {
				a.queues[t] = append(a.queues[t], h)
			}
		}
	}
	if len(a.queues) > 0 {
		select {
		case a.wake <- struct{}{}:
		default:
		}
	}
}

// flush sends one batch to each target that has some, at the same time.
func (a *acknowledger) flush(ctx context.Context) {
	now := a.g.now()
	a.mu.Lock()
	due := map[ackTarget][]cityid.Digest{}
	for t, q := range a.queues {
		if now.Before(a.after[t]) {
			continue
		}
		n := min(len(q), ackBatch)
		due[t] = q[:n:n]
		if a.queues[t] = q[n:]; n == len(q) {
			delete(a.queues, t)
		}
	}
	more := len(a.queues) > 0
	a.mu.Unlock()
	var all sync.WaitGroup
	for t, list := range due {
		all.Go(func() { a.deliver(ctx, t, list) })
	}
	all.Wait()
	if more && len(due) > 0 {
		select {
		case a.wake <- struct{}{}:
		default:
		}
	}
}

// deliver sends one batch; what the provider can not be told now is kept for later.
func (a *acknowledger) deliver(ctx context.Context, t ackTarget, list []cityid.Digest) {
	ctx, cancel := context.WithTimeout(ctx, ackTimeout)
	defer cancel()
	left, err := a.tellAll(ctx, t, list)
	a.mu.Lock()
	defer a.mu.Unlock()
	if err == nil {
		delete(a.after, t)
		return
	}
	a.g.logger.Warn("acknowledgement not delivered", "agreement", t.agreement, "answers", len(list), "later", len(left), "error", err)
	if len(left) > 0 {
		a.queues[t] = append(left, a.queues[t]...)
		a.after[t] = a.g.now().Add(ackRetry)
	}
}

// tellAll acknowledges a list, and returns what is left to be told soon. A provider
// takes a list whole or not at all, so one in which it does not know an answer is told
// in halves: an answer of which a restored ledger knows nothing, or of another of the
// provider's gateways, keeps no other from being acknowledged. What is refused for good
// is left for the next time the ledger is looked through.
func (a *acknowledger) tellAll(ctx context.Context, t ackTarget, list []cityid.Digest) (left []cityid.Digest, err error) {
	unknown, err := a.tell(ctx, t, list)
	switch code := cityid.CodeOf(err); {
	case err == nil:
		return nil, nil
	case unknown && len(list) > 1:
		left, err = a.tellAll(ctx, t, list[:len(list)/2])
		more, err2 := a.tellAll(ctx, t, list[len(list)/2:])
		return append(left, more...), cmp.Or(err, err2)
	case code == cityid.ErrInternal || code == cityid.ErrUnavailable || code == cityid.ErrReplayed:
		return slices.Clone(list), err
	}
	return nil, err
}

// tell makes an acknowledgement, sends it, and writes down that it was taken. On an
// error it says whether a gateway does not know one of the answers.
func (a *acknowledger) tell(ctx context.Context, t ackTarget, list []cityid.Digest) (unknown bool, err error) {
	s, err := a.g.view.Standing(ctx, t.agreement)
	if err != nil {
		return false, err
	}
	ack := ledger.NewAcknowledgement(t.agreement, list, cityid.TimeOf(a.g.now()))
	body, err := ack.Encode()
	if err != nil {
		return false, err
	}
	bases := []string{t.base}
	if t.base == "" {
		bases = s.Provider.Links
	}
	err = fmt.Errorf("%w: no record links to a gateway", errPeer)
	for _, base := range bases {
		var sent *sentRequest
		if sent, err = a.g.postSigned(ctx, base, "/acknowledgements", t.agreement, ackProfile, body, nil); err == nil {
			_, err = a.g.ledger.Acknowledge(ctx, ledger.DirectionFetched, body, messageOf(sent.signed), nil)
			return false, err
		}
		unknown = unknown || cityid.CodeOf(err) == cityid.ErrNotFound
	}
	return unknown, err
}

// maxPostAnswer bounds what comes back to a signed body.
const maxPostAnswer = 4 << 20

// postSigned posts a signed body to another gateway. The answer, which is not
// signed, goes into out; nil: it is not looked at.
func (g *Gateway) postSigned(ctx context.Context, base, target string, id cityid.Digest, profile *httpsig.Profile, body []byte, out *[]byte) (*sentRequest, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	ctx, end := context.WithTimeout(ctx, postTimeout)
	defer end()
	r, sent, err := g.signedRequest(ctx, http.MethodPost, base, target, id, profile, body)
	if err != nil {
		return nil, err
	}
	r.Header.Set("Content-Type", "application/octet-stream")
	resp, err := g.peers.Do(r)
	if err != nil {
		return nil, peerError(base, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK && resp.StatusCode != http.StatusNoContent {
		return nil, g.unsigned(base, resp, cancel)
	}
	got := NewSpool(g.cfg.Data, maxPostAnswer)
	defer got.Close()
	if err := got.steadily(resp.Body, g.patience, cancel); err != nil {
		return nil, peerError(base, fmt.Errorf("its answer is cut off, slow, or larger than %d octets: %w", maxPostAnswer, err))
	}
	if out == nil {
		return sent, nil
	}
	read, err := got.Reader()
	if err != nil {
		return nil, err
	}
	*out, err = io.ReadAll(read)
	return sent, err
}

// signedBody authenticates a POST and returns its body, whose digest the
// signature covers.
func (g *Gateway) signedBody(r *http.Request, profile *httpsig.Profile, most int64) (*caller, []byte, error) {
	body, err := io.ReadAll(http.MaxBytesReader(nil, r.Body, most))
	if err != nil {
		return nil, nil, err
	}
	c, err := g.authenticate(r, profile)
	if err != nil {
		return nil, nil, err
	}
	if err := httpsig.CheckDigest(c.signed.Digest, body); err != nil {
		return nil, nil, cityid.Errorf(cityid.ErrSignature, "%v", err)
	}
	return c, body, nil
}

// takeAcknowledgement writes down what a consumer acknowledges.
func (g *Gateway) takeAcknowledgement(w http.ResponseWriter, r *http.Request) error {
	c, body, err := g.signedBody(r, ackProfile, maxAckBody)
	if err != nil {
		return err
	}
	ack, err := ledger.DecodeAcknowledgement(body)
	if err != nil {
		return cityid.Errorf(cityid.ErrMalformed, "%v", err)
	}
	if ack.Agreement != c.standing.ID {
		return cityid.Errorf(cityid.ErrMalformed, "the acknowledgement is for another agreement than the request")
	}
	if _, err := g.ledger.Acknowledge(r.Context(), ledger.DirectionServed, body, c.message(), &c.nonce); err != nil {
		return refusalOf(err)
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// refusalOf turns an error of the ledger about what a peer sent into a refusal.
func refusalOf(err error) error {
	for _, x := range []struct {
		is   error
		code cityid.ErrorCode
	}{
		{ledger.ErrInvalid, cityid.ErrMalformed}, {ledger.ErrNotFound, cityid.ErrNotFound}, {ledger.ErrErased, cityid.ErrNotFound},
		{ledger.ErrWaiting, cityid.ErrRetry}, {ledger.ErrConflict, cityid.ErrConflict},
	} {
		if errors.Is(err, x.is) {
			return web.Refuse(web.Status(x.code), x.code, "%v", err)
		}
	}
	return err
}
