// SPDX-License-Identifier: Apache-2.0

package share

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
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
	postTimeout = time.Minute // of any signed body
	ackRetry    = time.Second // after a provider could not be told; twice as long after the next time, and at most resendAge
	maxAckBody  = 16 << 10
	resendAge   = 30 * time.Second // entries that nobody confirmed are sent again
	unknownMost = time.Hour        // an entry that the provider does not know is told again after resendAge, twice that, and so on up to this
	maxReloaded = 4096             // of one agreement at a time
)

var ackProfile = httpsig.RequestProfile(tagAcknowledgement)

// ackTarget is whom a batch of acknowledgements goes to: one instance of the
// provider's gateway, which alone knows the entries of its log.
type ackTarget struct {
	agreement cityid.Digest
	authority string // of the gateway that answered, as the request names it
	log       string // of that gateway
}

// acknowledger tells providers which answers arrived. What it has not told when
// the gateway stops it tells after the next start: the entries are in the ledger.
type acknowledger struct {
	g    *Gateway
	wake chan struct{}
	work sync.WaitGroup // deliveries

	mu      sync.Mutex
	queues  map[ackTarget][]cityid.Digest
	taken   map[cityid.Digest]bool   // entries in a queue, or on their way
	busy    map[ackTarget]bool       // a batch is on its way
	after   map[ackTarget]putOff     // after a failure
	unknown map[cityid.Digest]putOff // entries that the provider does not know
}

// putOff says when something is tried again, and how long that is after the last time.
type putOff struct {
	until time.Time
	by    time.Duration
}

func newAcknowledger(g *Gateway) *acknowledger {
	return &acknowledger{
		g: g, wake: make(chan struct{}, 1), queues: map[ackTarget][]cityid.Digest{}, taken: map[cityid.Digest]bool{}, busy: map[ackTarget]bool{},
		after: map[ackTarget]putOff{}, unknown: map[cityid.Digest]putOff{},
	}
}

// add takes up an entry to be acknowledged.
func (a *acknowledger) add(t ackTarget, entry cityid.Digest) {
	a.mu.Lock()
	if !a.taken[entry] {
		a.taken[entry] = true
		a.queues[t] = append(a.queues[t], entry)
	}
	a.mu.Unlock()
	a.signal()
}

func (a *acknowledger) signal() {
	select {
	case a.wake <- struct{}{}:
	default:
	}
}

// run sends acknowledgements until ctx ends, and then once more.
func (a *acknowledger) run(ctx context.Context) {
	again := time.NewTicker(resendAge)
	defer again.Stop()
	a.reload(ctx)
	for {
		select {
		case <-ctx.Done():
			a.work.Wait()
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), ackTimeout)
			defer cancel()
			a.flush(last)
			a.work.Wait()
			return
		case <-again.C:
			a.reload(ctx)
		case <-a.wake:
		}
		select {
		case <-ctx.Done():
		case <-time.After(ackDelay):
		}
		a.flush(ctx)
	}
}

// reload takes up what the ledger says is not acknowledged.
func (a *acknowledger) reload(ctx context.Context) {
	for _, id := range a.g.ledger.AwaitingAgreements(ledger.DirectionFetched) {
		for _, h := range a.g.ledger.AwaitingAcknowledgement(id, ledger.DirectionFetched, maxReloaded) {
			now := time.Now()
			a.mu.Lock()
			skip := a.taken[h] || now.Before(a.unknown[h].until)
			a.mu.Unlock()
			if skip {
				continue
			}
			t, err := a.target(ctx, h)
			if err != nil && ctx.Err() == nil {
				a.g.logger.Error("entry not acknowledged", "agreement", id, "entry", h, "error", err)
			}
			if err == nil {
				a.add(t, h)
			}
		}
	}
	a.signal() // for what waits since a failure
}

// target finds out which gateway an entry came from: the signed request has its
// authority, the receipt the name of its log.
func (a *acknowledger) target(ctx context.Context, entry cityid.Digest) (t ackTarget, err error) {
	id, err := a.g.ledger.ByHash(ctx, ledger.DirectionFetched, entry)
	if err != nil {
		return t, err
	}
	d, err := a.g.ledger.Entry(ctx, id)
	if err != nil {
		return t, err
	}
	request, err := fetchProfile.ParseBase(string(d.Request.Base))
	if err != nil {
		return t, err
	}
	return ackTarget{d.Agreement, request.Value("@authority"), d.Receipt.Log}, nil
}

// flush begins to send one batch to each target that has some and is not being told
// already.
func (a *acknowledger) flush(ctx context.Context) {
	now := time.Now()
	a.mu.Lock()
	defer a.mu.Unlock()
	for t, q := range a.queues {
		if a.busy[t] || now.Before(a.after[t].until) {
			continue
		}
		n := min(len(q), ackBatch)
		if a.queues[t] = q[n:]; n == len(q) {
			delete(a.queues, t)
		}
		a.busy[t] = true
		a.work.Go(func() { a.deliver(ctx, t, q[:n:n]) })
	}
}

// deliver sends one batch; if the provider can not be told, it is kept for later.
func (a *acknowledger) deliver(ctx context.Context, t ackTarget, list []cityid.Digest) {
	ctx, cancel := context.WithTimeout(ctx, ackTimeout)
	defer cancel()
	left, unknown := list, []cityid.Digest(nil)
	s, err := a.g.view.Standing(ctx, t.agreement)
	if err == nil {
		left, unknown, err = a.tell(ctx, s, t, list)
	}
	if err != nil || len(unknown) > 0 {
		a.g.logger.Warn("acknowledgement not delivered", "agreement", t.agreement, "answers", len(left), "unknown", len(unknown), "error", err)
	}
	now := time.Now() // how long to wait does not depend on what the clock is put to
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.busy, t)
	again := map[cityid.Digest]putOff{}
	for _, h := range unknown {
		by := min(max(2*a.unknown[h].by, resendAge), unknownMost)
		again[h] = putOff{now.Add(by), by}
	}
	for _, h := range list {
		delete(a.taken, h)
		delete(a.unknown, h)
	}
	maps.Copy(a.unknown, again)
	if err == nil {
		delete(a.after, t)
	} else {
		by := min(max(2*a.after[t].by, ackRetry), resendAge)
		a.after[t] = putOff{now.Add(by), by}
		time.AfterFunc(by, a.signal)
	}
	switch code := cityid.CodeOf(err); {
	case err == nil:
	case code == cityid.ErrInternal || code == cityid.ErrUnavailable || code == cityid.ErrReplayed || code == cityid.ErrFull:
		for _, h := range left {
			a.taken[h] = true
		}
		a.queues[t] = append(left, a.queues[t]...)
	} // else the provider refuses it for good; it is tried again when the ledger is looked through
	if len(a.queues) > 0 {
		a.signal()
	}
}

// tell tells a provider of entries. One that it does not know keeps none of the
// others from being told: each half is told by itself then. It returns what was not
// told because of the error, and what is not known there.
func (a *acknowledger) tell(ctx context.Context, s *Standing, t ackTarget, list []cityid.Digest) (left, unknown []cityid.Digest, err error) {
	switch err := a.tellBatch(ctx, s, t, list); {
	case err == nil:
		return nil, nil, nil
	case !errors.Is(err, cityid.ErrNotFound):
		return list, nil, err
	case len(list) == 1:
		return nil, list, nil
	}
	half := len(list) / 2
	if left, unknown, err = a.tell(ctx, s, t, list[:half]); err != nil {
		return append(left[:len(left):len(left)], list[half:]...), unknown, err
	}
	left, more, err := a.tell(ctx, s, t, list[half:])
	return left, append(unknown[:len(unknown):len(unknown)], more...), err
}

// tellBatch makes an acknowledgement, sends it, and writes down that it was taken. That
// entries are not known counts only if every gateway says so that may have them.
func (a *acknowledger) tellBatch(ctx context.Context, s *Standing, t ackTarget, list []cityid.Digest) error {
	ack := ledger.NewAcknowledgement(t.agreement, list, cityid.TimeOf(a.g.now()))
	body, err := ack.Encode()
	if err != nil {
		return err
	}
	for _, base := range linksTo(s.Provider.Links, t.authority) {
		sent, failed := a.g.postSigned(ctx, base, "/acknowledgements", t.agreement, ackProfile, body, nil)
		if failed == nil {
			_, err := a.g.ledger.Acknowledge(ctx, ledger.DirectionFetched, body, messageOf(sent.signed), nil)
			return err
		}
		if err == nil || errors.Is(err, cityid.ErrNotFound) {
			err = failed
		}
	}
	return cmp.Or(err, fmt.Errorf("%w: no record links to a gateway", errPeer))
}

// linksTo returns the links that lead to an authority; if none does any more, all.
func linksTo(links []string, authority string) []string {
	var out []string
	for _, link := range links {
		if u, err := url.Parse(link); err == nil && authorityOf(u) == authority {
			out = append(out, link)
		}
	}
	if out == nil {
		return links
	}
	return out
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
