// SPDX-License-Identifier: Apache-2.0

package portal

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"cityid"
	"cityid/internal/office"
	"cityid/internal/web"
)

// An application is handed in at one portal, and read at those of all who decide.
// The documents go from office to office as envelopes that only the reviewers'
// keys open:
//
//	POST /office/evidence
//	Content-Type: application/octet-stream
//	Cityid-Proposal: 17
//	Cityid-Digest: 5f1c…                 of the document, as the proposal names it
//
// The receiver takes an envelope if an open proposal names the digest and its own
// key finds just that document inside; so it needs no account of the sender, and
// nobody can put anything else there. 204: it is here, perhaps since long. 404 and
// 409: no proposal names it as yet, come again. 4xx otherwise: do not send it again.
//
// Where the office of a member is, its record says by a link with the relation
// [RelOffice], whose host the codes above must have approved. An office sends to
// public addresses over https; other networks, and http to names below localhost,
// are for its operator to allow.

// RelOffice is the relation of the link under which an institution's portal takes
// evidence: the portal's origin.
const RelOffice = "urn:cityid:rel:office"

const (
	evidencePath   = "/office/evidence"
	headerProposal = "Cityid-Proposal"
	headerDigest   = "Cityid-Digest"
	sourceOffices  = "delivered" // source of envelopes that another office sent

	receivingAtOnce = 8 // envelopes that are taken at a time; two from one address

	sendTime  = 2 * time.Minute // for one delivery
	sendPause = 2 * time.Second // between looks at the chain and the outbox
	sendMany  = 8               // deliveries claimed at a time
)

// receiveEvidence takes an envelope from another office.
func (p *portal) receiveEvidence(w http.ResponseWriter, r *http.Request) {
	p.headers(w.Header())
	w.Header().Set("Cache-Control", "no-store")
	if err := p.receive(w, r); err != nil {
		web.WriteError(w, r, err)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

func (p *portal) receive(w http.ResponseWriter, r *http.Request) error {
	if p.Office == nil || p.EvidenceKey == nil {
		return web.Refuse(http.StatusServiceUnavailable, cityid.ErrUnavailable, "this portal takes no evidence: it was started without a key for it")
	}
	if err := p.Limits.Delivery(r); err != nil {
		return err
	}
	number, err := strconv.ParseUint(r.Header.Get(headerProposal), 10, 64)
	if err != nil {
		return cityid.Errorf(cityid.ErrMalformed, "%s: want the number of a proposal", headerProposal)
	}
	var digest cityid.Digest
	if err := digest.UnmarshalText([]byte(r.Header.Get(headerDigest))); err != nil {
		return cityid.Errorf(cityid.ErrMalformed, "%s: want the digest of a document", headerDigest)
	}
	a, err := p.Source.Proposal(r.Context(), number)
	switch {
	case err != nil:
		return err
	case !a.State.Open():
		return web.Refuse(http.StatusGone, cityid.ErrClosed, "proposal %d is %s", number, a.State)
	case !slices.Contains(a.Proposal.Evidence, digest):
		return web.Refuse(http.StatusConflict, cityid.ErrConflict, "proposal %d does not name this document", number)
	}
	release, err := p.receiving.Take(web.ClientAddr(r))
	if err != nil {
		return err
	}
	defer release()
	if _, _, err := p.openEvidence(r.Context(), digest); err == nil {
		return p.Office.LinkEvidence(r.Context(), number, a.Proposal.Evidence) // it is here
	}
	slowly(w, r)
	envelope, err := io.ReadAll(http.MaxBytesReader(w, r.Body, office.MaxEnvelope))
	if err != nil {
		return web.Refuse(http.StatusRequestEntityTooLarge, cityid.ErrTooLarge, "an envelope has at most %d bytes", office.MaxEnvelope)
	}
	if _, err := office.OpenEvidence(p.EvidenceKey, envelope, digest); err != nil {
		return web.Refuse(http.StatusUnprocessableEntity, cityid.ErrInvalid, "the envelope does not open to this document with the key of this institution")
	}
	if err := p.Office.StoreEvidence(r.Context(), digest, sourceOffices, envelope); err != nil {
		return err
	}
	return p.Office.LinkEvidence(r.Context(), number, a.Proposal.Evidence)
}

// sweepPause is how often what has expired in the office is removed.
const sweepPause = 5 * time.Minute

// Run does what the portal does by itself until ctx ends: it follows what happens
// to proposals, notes which applications and changes of officers were recorded,
// sends evidence to the offices of those who decide, and purposes of requests for
// data to the city's own gateway, and removes what has expired from its own. At its end it also ends the imports under way, which go on when
// they are resumed. It returns
// nil when it was stopped; what fails on the way is logged and tried again.
func (p *Portal) Run(ctx context.Context) error {
	if p.Office == nil {
		<-ctx.Done()
		return nil
	}
	client := p.deliveryClient()
	defer client.CloseIdleConnections()
	defer p.imports.stopAll()
	var sending sync.WaitGroup
	defer sending.Wait()
	// An office that takes its time to answer holds up nothing else.
	sending.Go(func() { p.rounds(ctx, func() error { return p.deliver(ctx, client) }) })
	sending.Go(func() { p.rounds(ctx, func() error { return p.settleAgreements(ctx) }) })
	var swept time.Time
	p.rounds(ctx, func() error {
		if time.Since(swept) > sweepPause {
			swept = time.Now()
			if _, err := p.Office.Sweep(ctx); err != nil && ctx.Err() == nil {
				p.Log.Warn("what has expired in the office was not removed", "error", err)
			}
		}
		return errors.Join(p.docket.catchUp(ctx), p.settleIntake(ctx), p.settleOfficers(ctx), p.copyEvidence(ctx))
	})
	return nil
}

// rounds does work every few seconds until ctx ends. What fails is logged when it
// fails anew.
func (p *portal) rounds(ctx context.Context, work func() error) {
	warned := ""
	for ctx.Err() == nil {
		if err := work(); err != nil && ctx.Err() == nil && err.Error() != warned {
			warned = err.Error()
			p.Log.Warn("the office could not do its round", "error", err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(sendPause):
		}
	}
}

// copyEvidence enqueues the documents handed in here for the offices of all others
// who decide.
func (p *portal) copyEvidence(ctx context.Context) error {
	counts, err := p.tally.count(ctx)
	if err != nil {
		return err
	}
	var errs []error
	for _, n := range counts.Open {
		a, err := p.Source.Proposal(ctx, n)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		if len(a.Proposal.Evidence) > 0 {
			errs = append(errs, p.copyOf(ctx, a))
		}
	}
	return errors.Join(errs...)
}

func (p *portal) copyOf(ctx context.Context, a *cityid.ProposalAnswer) error {
	var files []office.Evidence
	for _, digest := range a.Proposal.Evidence {
		list, err := p.Office.EvidenceByDigest(ctx, digest)
		if err != nil {
			return err
		}
		if len(list) > 0 && list[0].Source == "" {
			files = append(files, list[0])
		}
	}
	if len(files) == 0 {
		return nil
	}
	offices, err := p.otherOffices(ctx, a)
	if err != nil {
		return err
	}
	for _, to := range offices {
		for _, f := range files {
			_, err := p.Office.CopyEvidence(ctx, a.Proposal.Number, f.Digest, office.NewDelivery{
				Destination: to + evidencePath, File: f.File,
				Headers: map[string]string{headerProposal: strconv.FormatUint(a.Proposal.Number, 10), headerDigest: f.Digest.String()},
			})
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// otherOffices returns the origins of the offices of those who decide about a
// proposal, this one left out.
func (p *portal) otherOffices(ctx context.Context, a *cityid.ProposalAnswer) ([]string, error) {
	var out []string
	for _, n := range a.Needs {
		for _, m := range n.Members {
			if m.Code.IsZero() || m.Code == p.Member {
				continue
			}
			rec, err := p.Source.Record(ctx, m.Code)
			if errors.Is(err, cityid.ErrNotFound) {
				continue
			}
			if err != nil {
				return nil, err
			}
			for _, l := range rec.Record.Content.Links {
				if origin := strings.TrimRight(l.Href, "/"); l.Rel == RelOffice && origin != p.Origin && !slices.Contains(out, origin) {
					out = append(out, origin)
				}
			}
		}
	}
	return out, nil
}

// deliver sends what is due in the outbox.
func (p *portal) deliver(ctx context.Context, client *http.Client) error {
	for {
		list, err := p.Office.ClaimDeliveries(ctx, sendMany, sendMany*sendTime)
		if err != nil || len(list) == 0 {
			return err
		}
		for i := range list {
			d := &list[i]
			final, err := p.send(ctx, client, d)
			if ctx.Err() != nil {
				return nil // the claim lapses, and it is sent again
			}
			if err == nil {
				err = p.Office.Delivered(ctx, d.ID)
			} else {
				p.Log.Info("evidence was not delivered", "to", d.Destination, "try", d.Tries, "for good", final, "error", err)
				if err = p.Office.DeliveryError(ctx, d.ID, d.Tries, err.Error(), final); errors.Is(err, office.ErrConflict) {
					err = nil
				}
			}
			if err != nil {
				return err
			}
		}
	}
}

// send makes one delivery. final says that trying again is of no use.
func (p *portal) send(ctx context.Context, client *http.Client, d *office.Delivery) (final bool, err error) {
	if err := p.mayDeliver(d.Destination); err != nil {
		return true, err
	}
	body, err := p.Office.ReadFile(ctx, d.File, office.MaxEnvelope)
	if err != nil {
		return errors.Is(err, office.ErrNotFound), err
	}
	ctx, cancel := context.WithTimeout(ctx, sendTime)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, d.Destination, bytes.NewReader(body))
	if err != nil {
		return true, err
	}
	for k, v := range d.Headers {
		r.Header.Set(k, v)
	}
	r.Header.Set("Content-Type", "application/octet-stream")
	r.Header.Set("Accept", web.ProblemType+", "+web.JSONType)
	r.Header.Set("User-Agent", "cityid-portal")
	answer, err := client.Do(r)
	if err != nil {
		return errors.Is(err, errForbiddenAddress), err
	}
	defer answer.Body.Close()
	said, _ := io.ReadAll(io.LimitReader(answer.Body, 512))
	switch s := answer.StatusCode; {
	case s >= 200 && s < 300:
		return false, nil
	case s == http.StatusNotFound, s == http.StatusConflict, s == http.StatusRequestTimeout, s == http.StatusTooManyRequests, s >= 500:
		return false, fmt.Errorf("the receiver answered %s: %.200q", answer.Status, said)
	default:
		return true, fmt.Errorf("the receiver answered %s: %.200q", answer.Status, said)
	}
}

var errForbiddenAddress = errors.New("evidence is not sent there")

// mayDeliver refuses what is not https, but for names below localhost where the
// operator lets evidence go to this machine.
func (p *portal) mayDeliver(destination string) error {
	u, err := url.Parse(destination)
	if err != nil || u.User != nil {
		return fmt.Errorf("%w: %.100q is no address", errForbiddenAddress, destination)
	}
	if u.Scheme == "https" || u.Scheme == "http" && isLocalhost(u.Hostname()) {
		return nil
	}
	return fmt.Errorf("%w: %.100q is not https", errForbiddenAddress, destination)
}

// isLocalhost reports whether a name is for this machine (RFC 6761).
func isLocalhost(host string) bool {
	host = strings.ToLower(host)
	return host == "localhost" || strings.HasSuffix(host, ".localhost")
}

// deliveryClient reaches public addresses, and the networks that the operator
// allows. The address is judged when it is connected to, after its name was looked
// up: a name that points into this network gains nothing. Redirects are not
// followed.
func (p *portal) deliveryClient() *http.Client {
	d := &net.Dialer{Timeout: 10 * time.Second, Control: func(_, address string, _ syscall.RawConn) error {
		at, err := netip.ParseAddrPort(address)
		if err != nil {
			return fmt.Errorf("%w: %s", errForbiddenAddress, address)
		}
		if ip := at.Addr().Unmap(); !reachable(ip, p.DeliverTo) {
			return fmt.Errorf("%w: %s is no public address, and the operator has not allowed it", errForbiddenAddress, ip)
		}
		return nil
	}}
	dial := func(ctx context.Context, network, address string) (net.Conn, error) {
		if host, port, err := net.SplitHostPort(address); err == nil && isLocalhost(host) {
			c, err := d.DialContext(ctx, network, net.JoinHostPort("127.0.0.1", port))
			if err == nil || errors.Is(err, errForbiddenAddress) {
				return c, err
			}
			return d.DialContext(ctx, network, net.JoinHostPort("::1", port))
		}
		return d.DialContext(ctx, network, address)
	}
	return &http.Client{
		Transport:     &http.Transport{DialContext: dial, TLSHandshakeTimeout: 10 * time.Second, ResponseHeaderTimeout: sendTime, IdleConnTimeout: 30 * time.Second, ForceAttemptHTTP2: true, MaxResponseHeaderBytes: 64 << 10},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// special are networks that are not this machine's or a private one, and yet not
// the public internet.
var special = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"), netip.MustParsePrefix("100.64.0.0/10"), netip.MustParsePrefix("192.0.0.0/24"),
	netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("198.18.0.0/15"), netip.MustParsePrefix("198.51.100.0/24"),
	netip.MustParsePrefix("203.0.113.0/24"), netip.MustParsePrefix("240.0.0.0/4"),
	netip.MustParsePrefix("64:ff9b::/96"), netip.MustParsePrefix("64:ff9b:1::/48"), netip.MustParsePrefix("100::/64"),
	netip.MustParsePrefix("192.88.99.0/24"), netip.MustParsePrefix("fec0::/10"), netip.MustParsePrefix("2001::/23"), netip.MustParsePrefix("2001:db8::/32"), netip.MustParsePrefix("2002::/16"),
}

// reachable reports whether evidence may be sent to an address.
func reachable(ip netip.Addr, allowed []netip.Prefix) bool {
	in := func(list []netip.Prefix) bool {
		return slices.ContainsFunc(list, func(n netip.Prefix) bool { return n.Contains(ip) })
	}
	return in(allowed) || ip.IsGlobalUnicast() && !ip.IsPrivate() && !in(special)
}
