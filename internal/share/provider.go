// SPDX-License-Identifier: Apache-2.0

package share

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"cityid"
	"cityid/internal/httpsig"
	"cityid/internal/ledger"
	"cityid/internal/web"
	"cityid/keys"
)

// Tags of signed requests, by what they ask for.
const (
	tagFetch           = "cityid-fetch"
	tagAcknowledgement = "cityid-acknowledgement"
	tagPurpose         = "cityid-purpose"
	tagProof           = "cityid-proof"
)

// Fields of the protocol.
const (
	fieldAgreement = "Data-Agreement"
	fieldReceipt   = "Data-Receipt"
	fieldDigest    = "Content-Digest"
)

// serveTime bounds how long the service behind a dataset may take for one answer.
const serveTime = 15 * time.Minute

var (
	fetchProfile   = httpsig.RequestProfile(tagFetch)
	answerProfile  = httpsig.ResponseProfile()
	emptyDigest    = httpsig.Digest(nil)
	problemType    = "application/problem+json"
	errNotSigned   = cityid.Errorf(cityid.ErrSignature, "the request is not signed: data under an agreement go to its consumer's gateway alone")
	errWrongTarget = cityid.Errorf(cityid.ErrSignature, "the request is signed for another host than this gateway")
)

// caller is who sent a request, once its signature is good.
type caller struct {
	standing *Standing
	signed   *httpsig.Signed
	request  *httpsig.Message
	nonce    ledger.Nonce
}

func (c *caller) message() ledger.Message { return messageOf(c.signed) }

func messageOf(s *httpsig.Signed) ledger.Message {
	return ledger.Message{Base: cityid.Bytes(s.Base), Signature: s.Signature}
}

// authenticate finds out under which agreement a request comes and whether a key
// of its consumer signed it. Whatever is wrong is answered without a signature:
// a stranger gets nothing that could count as a receipt.
func (g *Gateway) authenticate(r *http.Request, profile *httpsig.Profile) (*caller, error) {
	id, err := parseAgreement(r.Header)
	if err != nil {
		return nil, err
	}
	msg, err := httpsig.RequestReceived(r, g.scheme)
	if err != nil {
		return nil, cityid.Errorf(cityid.ErrMalformed, "%v", err)
	}
	if wait := g.lookupWait(r, id); wait > 0 {
		return nil, web.Refuse(http.StatusTooManyRequests, cityid.ErrFull, "too many requests under agreements that are not in use here").RetryAfter(wait)
	}
	standing, err := g.judged(r.Context(), id)
	if err != nil {
		return nil, err
	}
	now := g.now()
	c := &caller{standing: standing, request: msg}
	c.signed, err = profile.Verify(msg, now, func(keyID string) (httpsig.Key, error) {
		return keyOf(&standing.Consumer, keyID, cityid.TimeOf(now))
	})
	switch {
	case err != nil && cityid.CodeOf(err) != cityid.ErrInternal:
		return nil, err
	case err != nil:
		return nil, web.Refuse(http.StatusUnauthorized, cityid.ErrSignature, "%v", err)
	case c.signed.Value("@authority") != g.authority:
		return nil, errWrongTarget
	}
	g.view.use(id)
	c.nonce = ledger.Nonce{Created: cityid.TimeOf(c.signed.Created), Expires: cityid.TimeOf(c.signed.Expires)}
	if c.nonce.Value, err = nonceValue(c.signed.Nonce); err != nil {
		return nil, err
	}
	if err := c.nonce.Key.UnmarshalText([]byte(c.signed.KeyID)); err != nil {
		return nil, err
	}
	if err := g.ledger.Claim(r.Context(), c.nonce); err != nil {
		return nil, web.Refuse(http.StatusUnauthorized, cityid.ErrReplayed, "the request's signature does not count: %v; sign a new request", err)
	}
	return c, nil
}

// judged returns the standing by which a request is judged. Its errors may be told
// to anybody.
func (g *Gateway) judged(ctx context.Context, id cityid.Digest) (*Standing, error) {
	s, err := g.view.look(ctx, id)
	if errors.Is(err, ErrStale) {
		// Why is for the log: it may name machines that are nobody's business.
		g.logger.Info("request not judged", "agreement", id, "error", err)
		return nil, web.Refuse(http.StatusServiceUnavailable, cityid.ErrUnavailable, "%v: nothing is served under the agreement until it is", ErrStale).RetryAfter(5 * time.Second)
	}
	return s, err
}

// lookupWait bounds how many questions to nodes one address can cause without a
// good signature. What is known costs none.
func (g *Gateway) lookupWait(r *http.Request, id cityid.Digest) time.Duration {
	if g.view.knows(id) {
		return 0
	}
	return g.lookups.Take(web.ClientAddr(r))
}

func nonceValue(s string) (n [16]byte, err error) {
	b, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil || copy(n[:], b) != len(n) {
		return n, cityid.Errorf(cityid.ErrMalformed, "nonce %.40q", s)
	}
	return n, nil
}

// keyOf returns the key with an id if it may sign for the party now.
func keyOf(p *Party, keyID string, now cityid.Time) (httpsig.Key, error) {
	var public cityid.PublicKey
	if err := public.UnmarshalText([]byte(keyID)); err != nil {
		return nil, cityid.Errorf(cityid.ErrMalformed, "key id: %v", err)
	}
	if err := p.Key(public, now); err != nil {
		return nil, err
	}
	k, err := keys.ParsePublic([]byte(public))
	if err != nil || k.Algorithm() != keys.Ed25519 {
		return nil, cityid.Errorf(cityid.ErrSignature, "gateways sign with ed25519 keys alone")
	}
	return k, nil
}

// parseAgreement reads the id in a Data-Agreement field.
func parseAgreement(h http.Header) (id cityid.Digest, err error) {
	values := h.Values(fieldAgreement)
	if len(values) == 0 {
		return id, errNotSigned
	}
	if text := values[0]; len(values) != 1 || len(text) != 66 || text[0] != '"' || text[65] != '"' || id.UnmarshalText([]byte(text[1:65])) != nil || id.IsZero() {
		return id, cityid.Errorf(cityid.ErrMalformed, "%s: want one agreement's id, 64 hexadecimal digits in quotation marks", fieldAgreement)
	}
	return id, nil
}

func formatAgreement(id cityid.Digest) string { return `"` + id.String() + `"` }

// serveData answers one fetch below a dataset.
func (g *Gateway) serveData(w http.ResponseWriter, r *http.Request) error {
	path, query, _ := strings.Cut(strings.TrimPrefix(r.RequestURI, "/data/"), "?")
	segment, rest, _ := strings.Cut(path, "/")
	code, err := ParseSegment(segment)
	if err != nil {
		return err
	}
	d := g.datasets[code]
	if d == nil {
		return cityid.Errorf(cityid.ErrNotFound, "this gateway provides no dataset %s", code)
	}
	if r.Header.Get("Signature") == "" && r.Header.Get(fieldAgreement) == "" {
		return g.serveOpen(w, r, d, "/"+rest, query)
	}
	c, err := g.authenticate(r, fetchProfile)
	if err != nil {
		return err
	}
	if err := g.mayAnswer(c.standing); err != nil {
		return err
	}
	f := &fetch{g: g, d: d, caller: c, path: "/" + rest, query: query}
	defer f.close()
	if err := f.noBody(r); err != nil {
		return f.refuse(r.Context(), w, err)
	}
	unhurried(w)
	ctx, cancel := context.WithTimeoutCause(r.Context(), serveTime, errBackend)
	defer cancel()
	if err := f.prepare(ctx); err != nil {
		return f.refuse(ctx, w, err)
	}
	if err := f.stillMay(ctx); err != nil {
		return f.refuse(ctx, w, err)
	}
	return f.send(ctx, w)
}

// mayAnswer checks that this gateway's signature counts for the holder of the
// dataset. If it does not, there is nothing to sign a refusal with.
func (g *Gateway) mayAnswer(s *Standing) error {
	if s.Provider.Holder != g.cfg.Party {
		return cityid.Errorf(cityid.ErrNotPermitted, "%s holds %s: this gateway acts for %s", s.Provider.Holder, s.Agreement.Terms.Dataset, g.cfg.Party)
	}
	if err := s.Provider.Key(g.public, cityid.TimeOf(g.now())); err != nil {
		return web.Refuse(http.StatusServiceUnavailable, cityid.CodeOf(err), "this gateway can not answer now: %v", err)
	}
	return nil
}

// fetch is one answer under an agreement.
type fetch struct {
	g *Gateway
	d *dataset
	*caller
	path, query string

	reservation *ledger.Reservation
	judged      cityid.Time // when it was found that the answer may be given; 0: it may not
	status      int
	contentType string
	body        *Spool
}

func (f *fetch) close() {
	if f.body != nil {
		f.body.Close()
	}
	if f.reservation != nil {
		f.reservation.Release()
	}
}

// unsignedError is a refusal that the gateway does not sign.
type unsignedError struct{ error }

// Unwrap returns the refusal.
func (u unsignedError) Unwrap() error { return u.error }

// noBody checks that a fetch has none.
func (f *fetch) noBody(r *http.Request) error {
	if n, err := io.Copy(io.Discard, io.LimitReader(r.Body, 1)); err != nil || n > 0 || f.signed.Value("content-digest") != emptyDigest {
		return cityid.Errorf(cityid.ErrMalformed, "a fetch has no body, and its digest says so")
	}
	if r.Method != http.MethodGet {
		return cityid.Errorf(cityid.ErrInvalid, "data are fetched with GET, not %s", r.Method)
	}
	return nil
}

// prepare checks whether the request may be answered and gets the answer. Its
// errors are told to the consumer under a signature.
func (f *fetch) prepare(ctx context.Context) error {
	now := cityid.TimeOf(f.g.now())
	if mayFetch(f.standing, f.d.code, now) != nil {
		f.standing = f.g.view.anew(ctx, f.standing) // what has only just been granted may not be known yet
	}
	if err := mayFetch(f.standing, f.d.code, now); err != nil {
		return err
	}
	segments, query, err := allow(f.d.paths, f.path, f.query)
	if err != nil {
		return err
	}
	if err := f.reserve(ctx); err != nil {
		return err
	}
	most := f.g.cfg.MaxBody
	if room := f.reservation.Room(); room < uint64(most) {
		most = int64(room)
	}
	f.body = NewSpool(f.g.cfg.Data, most)
	if f.status, f.contentType, err = f.d.fill(ctx, f.body, segments, query, f.g.patience); errors.Is(err, errTooLarge) && most < f.g.cfg.MaxBody {
		return cityid.Errorf(cityid.ErrQuota, "the answer is larger than the %d octets that are left of the agreement's quota for today", most)
	} else if errors.Is(err, errTooLarge) {
		return cityid.Errorf(cityid.ErrTooLarge, "the answer is larger than the %d octets that this gateway sends: ask for less", most)
	} else if err != nil {
		return err
	}
	return quotaRefusal(f.reservation.Resize(uint64(f.body.Size())))
}

// stillMay judges the request by the present state of the chain, when the answer is
// there: the service may have taken long for it.
func (f *fetch) stillMay(ctx context.Context) error {
	s, err := f.g.judged(ctx, f.standing.ID)
	if err != nil {
		return unsignedError{err}
	}
	now := cityid.TimeOf(f.g.now())
	if _, err := keyOf(&s.Consumer, f.signed.KeyID, now); err != nil {
		return unsignedError{err}
	}
	if err := f.g.mayAnswer(s); err != nil {
		return unsignedError{err}
	}
	f.standing = s
	if err := mayFetch(s, f.d.code, now); err != nil {
		return err
	}
	f.judged = now
	return nil
}

// mayFetch checks the agreement as the chain has it.
func mayFetch(s *Standing, dataset cityid.Code, now cityid.Time) error {
	t := &s.Agreement.Terms
	switch {
	case t.Dataset != dataset:
		return cityid.Errorf(cityid.ErrNotPermitted, "the agreement is about %s, not about %s", t.Dataset, dataset)
	case s.Provider.Bar != "":
		return cityid.Errorf(cityid.ErrStatus, "%s", s.Provider.Bar)
	case s.Dataset.Content.Dataset != nil && s.Dataset.Content.Dataset.Class == cityid.DatasetClosed:
		return cityid.Errorf(cityid.ErrNotPermitted, "%s was closed: it is no longer shared", dataset)
	case !s.Agreement.InForce(now):
		state := s.Agreement.StateAt(now).String()
		if s.Agreement.StateAt(now) == cityid.AgreementGranted {
			state = "granted from " + t.From.String() + " on"
		}
		return cityid.Errorf(cityid.ErrNotPermitted, "the agreement is %s", state)
	}
	return nil
}

// reserve takes the request out of the agreement's quota, and refuses if too many
// answers wait for their acknowledgement.
func (f *fetch) reserve(ctx context.Context) error {
	t := &f.standing.Agreement.Terms
	limits := ledger.Limits{Unacknowledged: f.g.cfg.Unacknowledged}
	for _, q := range []struct {
		of   uint64
		what string
		own  *uint64
	}{{t.Requests, "requests", &limits.Requests}, {t.Octets, "octets", &limits.Octets}} {
		// An agreement's quota is for all instances together, so what does not go
		// around is left over.
		if *q.own = q.of / uint64(f.g.cfg.Instances); *q.own == 0 && q.of > 0 {
			return cityid.Errorf(cityid.ErrQuota, "a quota of %d %s a day can not be shared by the provider's %d gateways", q.of, q.what, f.g.cfg.Instances)
		}
	}
	var err error
	f.reservation, err = f.g.ledger.Reserve(ctx, f.standing.ID, limits, 1) // at least one octet has to be left
	return quotaRefusal(err)
}

func quotaRefusal(err error) error {
	switch {
	case errors.Is(err, ledger.ErrQuota):
		return cityid.Errorf(cityid.ErrQuota, "the agreement's quota is used up: %v", err)
	case errors.Is(err, ledger.ErrUnacknowledged):
		return cityid.Errorf(cityid.ErrQuota, "nothing more is served before answers are acknowledged: %v", err)
	}
	return err
}

// refuse answers with a refusal under a signature, which leaves an entry. What says
// nothing about the request (a state that is not known, a gateway that may not sign)
// is told without one, and so is what exceeds the number of refusals that one
// agreement can fill the log with. An error that is no refusal is told as that the
// data can not be had now, and logged.
func (f *fetch) refuse(ctx context.Context, w http.ResponseWriter, err error) error {
	f.close()
	f.reservation = nil
	var bare unsignedError
	switch {
	case errors.As(err, &bare):
		return bare.error
	case errors.Is(err, errBackend):
		f.g.logger.Warn("backend", "dataset", f.d.code, "error", err)
		err = web.Refuse(http.StatusBadGateway, cityid.ErrUnavailable, "%v now; ask again later", errBackend)
	case cityid.CodeOf(err) == cityid.ErrInternal:
		f.g.logger.Error("fetch not answered", "dataset", f.d.code, "agreement", f.standing.ID, "error", err)
	}
	if !f.g.refusals.take(f.standing.ID, f.g.now()) {
		return err
	}
	p := web.ProblemOf(err)
	body, err := json.Marshal(p)
	if err != nil {
		return err
	}
	f.status, f.contentType, f.body = p.Status, problemType, NewSpool(f.g.cfg.Data, 1<<20)
	if _, err = f.body.Write(body); err != nil {
		return err
	}
	return f.send(ctx, w)
}

// send signs the answer, writes the receipt down, and only then lets the first
// octet go.
func (f *fetch) send(ctx context.Context, w http.ResponseWriter) error {
	h := w.Header()
	h.Set("Content-Type", f.contentType)
	h.Set("Content-Length", strconv.FormatInt(f.body.Size(), 10))
	h.Set("Cache-Control", "no-store, no-transform")
	content := f.body.Digest()
	h.Set(fieldDigest, httpsig.FormatDigest(content))
	served := ledger.Served{
		Agreement: f.standing.ID, Peer: f.standing.Consumer.Code, Path: f.path + question(f.query), Request: f.message(), Nonce: &f.nonce,
		Reservation: f.reservation,
	}
	_, err := f.g.ledger.AppendServed(ctx, served, func(number uint64) (ledger.Answer, error) {
		r := ledger.Receipt{
			Version: 1, Agreement: f.standing.ID, Dataset: f.d.code, Provider: f.g.cfg.Party, Log: f.g.cfg.Log, Number: number,
			Request: served.Request.Hash(), Status: uint32(f.status), Size: uint64(f.body.Size()), Content: content,
			Time: cmp.Or(f.judged, cityid.TimeOf(f.g.now())), Height: f.standing.AsOf.Height,
		}
		encoded, err := r.Encode()
		if err != nil {
			return ledger.Answer{}, err
		}
		h.Set(fieldReceipt, ":"+base64.StdEncoding.EncodeToString(encoded)+":")
		signed, err := answerProfile.Sign(httpsig.ResponseToSend(f.status, h, f.request), httpsig.Params{Created: f.g.now(), KeyID: f.g.keyID}, f.g.key)
		if err != nil {
			return ledger.Answer{}, err
		}
		return ledger.Answer{Receipt: r, Response: messageOf(signed)}, nil
	})
	if err != nil {
		for _, name := range []string{"Content-Length", fieldDigest, fieldReceipt, "Signature", "Signature-Input"} {
			h.Del(name)
		}
		return fmt.Errorf("write the receipt down: %w", err)
	}
	body, err := f.body.Reader()
	if err != nil {
		return err
	}
	w.WriteHeader(f.status)
	if err := copySteadily(w, body, f.g.patience); err != nil {
		f.g.logger.Info("answer not taken whole", "agreement", f.standing.ID, "error", err)
	}
	return nil
}

func question(query string) string {
	if query == "" {
		return ""
	}
	return "?" + query
}

// serveOpen answers a fetch from an open dataset, which needs no agreement and
// leaves no receipt. The answer says its digest.
func (g *Gateway) serveOpen(w http.ResponseWriter, r *http.Request, d *dataset, path, query string) error {
	if r.Method != http.MethodGet {
		return cityid.Errorf(cityid.ErrInvalid, "data are fetched with GET, not %s", r.Method)
	}
	class, err := g.classOf(r.Context(), d)
	if err != nil {
		return err
	}
	if class != cityid.DatasetOpen {
		return web.Refuse(http.StatusUnauthorized, cityid.ErrSignature, "%v", errNotSigned.Message)
	}
	if wait := g.openLimit.Take(web.ClientAddr(r)); wait > 0 {
		return web.Refuse(http.StatusTooManyRequests, cityid.ErrQuota, "too many requests from your address").RetryAfter(wait)
	}
	segments, query, err := allow(d.paths, path, query)
	if err != nil {
		return err
	}
	unhurried(w)
	ctx, cancel := context.WithTimeoutCause(r.Context(), serveTime, errBackend)
	defer cancel()
	body := NewSpool(g.cfg.Data, g.cfg.MaxBody)
	defer body.Close()
	status, contentType, err := d.fill(ctx, body, segments, query, g.patience)
	if errors.Is(err, errBackend) || errors.Is(err, errTooLarge) {
		g.logger.Warn("backend", "dataset", d.code, "error", err)
		return web.Refuse(http.StatusBadGateway, cityid.ErrUnavailable, "the dataset can not be served now; ask again later")
	}
	if err != nil {
		return err
	}
	reader, err := body.Reader()
	if err != nil {
		return err
	}
	h := w.Header()
	h.Set("Content-Type", contentType)
	h.Set("Content-Length", strconv.FormatInt(body.Size(), 10))
	h.Set("Cache-Control", "no-cache, no-transform")
	h.Set(fieldDigest, httpsig.FormatDigest([sha256.Size]byte(body.Digest())))
	w.WriteHeader(status)
	if err := copySteadily(w, reader, g.patience); err != nil {
		g.logger.Info("open data not taken whole", "dataset", d.code, "error", err)
	}
	return nil
}
