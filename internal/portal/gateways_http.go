// SPDX-License-Identifier: Apache-2.0

package portal

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"cityid"
	"cityid/internal/ledger"
	"cityid/internal/office"
	"cityid/internal/web"
)

// evidenceType is the media type of evidence.
const evidenceType = "application/vnd.cityid.evidence+cbor"

// Times for one question to a gateway. Evidence may have to be asked for at another
// city's.
const (
	gatewayTime  = 10 * time.Second
	evidenceTime = 60 * time.Second
)

// HTTPGateways are gateways whose local side this machine reaches. They make
// [Gateways].
type HTTPGateways struct {
	bases   map[cityid.Code]string
	parties []cityid.Code
	client  *http.Client
}

// NewHTTPGateways returns the gateways of parties at the addresses of their local
// sides, such as http://127.0.0.1:9102. The error says which of them is none.
func NewHTTPGateways(addresses map[cityid.Code]string) (*HTTPGateways, error) {
	g := &HTTPGateways{bases: map[cityid.Code]string{}, client: &http.Client{
		Transport: &http.Transport{
			MaxIdleConnsPerHost: 8, IdleConnTimeout: time.Minute, MaxResponseHeaderBytes: 64 << 10, DisableCompression: true,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
	for party, address := range addresses {
		u, err := url.Parse(address)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || u.Path != "" && u.Path != "/" || u.RawQuery != "" || u.Fragment != "" {
			return nil, fmt.Errorf("gateway of %s at %.100q: want an address such as http://127.0.0.1:9102", party, address)
		}
		if _, err := netip.ParseAddr(u.Hostname()); err != nil && u.Hostname() != "localhost" {
			return nil, fmt.Errorf("gateway of %s at %.100q: name its local side by number or as localhost, since it answers to no other name", party, address)
		}
		g.bases[party] = u.Scheme + "://" + u.Host
		g.parties = append(g.parties, party)
	}
	slices.SortFunc(g.parties, cityid.Code.Compare)
	return g, nil
}

// Parties implements [Gateways].
func (g *HTTPGateways) Parties() []cityid.Code { return slices.Clone(g.parties) }

// Status implements [Gateways].
func (g *HTTPGateways) Status(ctx context.Context, party cityid.Code) (*GatewayStatus, error) {
	s := new(GatewayStatus)
	return s, g.read(ctx, party, "/v1/status", nil, s, func() error { return s.check(party) })
}

// Latest implements [Gateways].
func (g *HTTPGateways) Latest(ctx context.Context, party cityid.Code, q LineQuery) (*Latest, error) {
	l := new(Latest)
	q.From, q.To, q.Points, q.Combine = 0, 0, 0, false
	return l, g.read(ctx, party, "/v1/latest", q.values(), l, func() error { return l.check(&q) })
}

// Series implements [Gateways].
func (g *HTTPGateways) Series(ctx context.Context, party cityid.Code, q LineQuery) (*Series, error) {
	s := new(Series)
	if q.Points < 1 || q.Points > maxLinePoints {
		q.Points = maxLinePoints
	}
	return s, g.read(ctx, party, "/v1/series", q.values(), s, func() error { return s.check(&q) })
}

// Replay implements [Gateways].
func (g *HTTPGateways) Replay(ctx context.Context, party cityid.Code, minute cityid.Time, q LineQuery) (*Replay, error) {
	r := new(Replay)
	minute -= minute % 60
	q.From, q.To, q.Points, q.Combine = 0, 0, 0, false
	v := q.values()
	v.Set("minute", minute.String())
	return r, g.read(ctx, party, "/v1/replay", v, r, func() error { return r.check(minute, &q) })
}

// Evidence implements [Gateways].
func (g *HTTPGateways) Evidence(ctx context.Context, party cityid.Code, entry cityid.Digest) ([]byte, error) {
	return g.evidence(ctx, party, "/v1/evidence/"+entry.String())
}

// EvidenceUnder implements [Gateways].
func (g *HTTPGateways) EvidenceUnder(ctx context.Context, party cityid.Code, agreement, entry cityid.Digest) ([]byte, error) {
	return g.evidence(ctx, party, "/v1/evidence/"+entry.String()+"?agreement="+agreement.String())
}

// Log implements [Gateways].
func (g *HTTPGateways) Log(ctx context.Context, party cityid.Code, q ledger.AccessQuery) (*ledger.AccessPage, error) {
	ctx, cancel := context.WithTimeout(ctx, gatewayTime)
	defer cancel()
	b, _, err := g.ask(ctx, party, http.MethodGet, "/v1/log?"+q.Values().Encode(), nil, ledger.MaxAccessPage)
	if err != nil {
		return nil, err
	}
	p, err := ledger.DecodeAccessPage(b)
	if err == nil && p.Party != party {
		err = fmt.Errorf("the log of %s", p.Party)
	}
	if err != nil {
		return nil, &GatewayError{party, true, err}
	}
	return p, nil
}

// Purpose implements [Gateways].
func (g *HTTPGateways) Purpose(ctx context.Context, party cityid.Code, agreement cityid.Digest) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, gatewayTime)
	defer cancel()
	b, _, err := g.ask(ctx, party, http.MethodGet, "/v1/purposes/"+agreement.String(), nil, office.MaxPurposeEnvelope)
	return b, err
}

// SendPurpose implements [Gateways].
func (g *HTTPGateways) SendPurpose(ctx context.Context, party cityid.Code, agreement cityid.Digest, envelope []byte) error {
	ctx, cancel := context.WithTimeout(ctx, evidenceTime) // another city's has to take it
	defer cancel()
	_, _, err := g.ask(ctx, party, http.MethodPost, "/v1/purposes/"+agreement.String(), envelope, maxGatewayAnswer)
	return err
}

func (g *HTTPGateways) evidence(ctx context.Context, party cityid.Code, path string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, evidenceTime)
	defer cancel()
	b, mediaType, err := g.ask(ctx, party, http.MethodGet, path, nil, maxEvidence)
	if err != nil {
		return nil, err
	}
	if mediaType != evidenceType {
		return nil, &GatewayError{party, true, fmt.Errorf("evidence of the type %.80q", mediaType)}
	}
	return b, nil
}

func (q *LineQuery) values() url.Values {
	v := url.Values{}
	set := func(name, value string) {
		if value != "" {
			v.Set(name, value)
		}
	}
	set("dataset", q.Dataset.String())
	set("indicator", q.Indicator)
	set("source", q.Source.String())
	if q.From != 0 {
		set("from", q.From.String())
	}
	if q.To != 0 {
		set("to", q.To.String())
	}
	if q.Points != 0 {
		set("points", strconv.Itoa(q.Points))
	}
	if q.Combine {
		set("combine", "sources")
	}
	return v
}

// read asks for JSON, decodes it strictly and checks it.
func (g *HTTPGateways) read(ctx context.Context, party cityid.Code, path string, q url.Values, out any, check func() error) error {
	ctx, cancel := context.WithTimeout(ctx, gatewayTime)
	defer cancel()
	if len(q) > 0 {
		path += "?" + q.Encode()
	}
	b, _, err := g.ask(ctx, party, http.MethodGet, path, nil, maxGatewayAnswer)
	if err != nil {
		return err
	}
	if err := parseAnswer(b, out); err != nil {
		return &GatewayError{party, true, err}
	}
	if err := check(); err != nil {
		return &GatewayError{party, true, err}
	}
	return nil
}

// ask asks a gateway's local side, and returns the body of an answer of status 200,
// at most so many octets, with its media type. A refusal of the gateway's has its
// code.
func (g *HTTPGateways) ask(ctx context.Context, party cityid.Code, method, path string, body []byte, most int64) ([]byte, string, error) {
	base, ok := g.bases[party]
	if !ok {
		return nil, "", cityid.Errorf(cityid.ErrNotFound, "this site knows no gateway of %s", party)
	}
	r, err := http.NewRequestWithContext(ctx, method, base+path, bytes.NewReader(body))
	if err != nil {
		return nil, "", err
	}
	r.Header.Set("User-Agent", "cityid-portal")
	resp, err := g.client.Do(r)
	if err != nil {
		return nil, "", &GatewayError{party, false, err}
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, most+1))
	if err != nil {
		return nil, "", &GatewayError{party, false, err}
	}
	if int64(len(b)) > most {
		return nil, "", &GatewayError{party, true, fmt.Errorf("more than %d octets", most)}
	}
	if resp.StatusCode == http.StatusOK || resp.StatusCode == http.StatusNoContent {
		return b, resp.Header.Get("Content-Type"), nil
	}
	var p web.Problem
	if resp.Header.Get("Content-Type") != web.ProblemType || json.Unmarshal(b, &p) != nil || p.Code == cityid.OK || p.Code == cityid.ErrInternal {
		return nil, "", &GatewayError{party, false, fmt.Errorf("status %d", resp.StatusCode)}
	}
	return nil, "", cityid.Errorf(p.Code, "the gateway of %s: %.300s", party, p.Detail)
}

// parseAnswer decodes one JSON value in UTF-8 that has no unknown and no repeated
// fields, and nothing behind it.
func parseAnswer(b []byte, out any) error {
	if !utf8.Valid(b) {
		return errors.New("it is not UTF-8")
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(out); err != nil {
		return fmt.Errorf("it can not be read: %w", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("something follows it")
	}
	return noRepeats(json.NewDecoder(bytes.NewReader(b)))
}

// noRepeats refuses an object that names a field twice. What it reads is valid JSON.
func noRepeats(d *json.Decoder) error {
	t, err := d.Token()
	if err != nil {
		return err
	}
	switch t {
	case json.Delim('{'):
		seen := map[string]bool{}
		for d.More() {
			name, err := d.Token()
			if err != nil {
				return err
			}
			text, _ := name.(string)
			folded := strings.ToLower(text) // encoding/json takes them for the same
			if seen[folded] {
				return fmt.Errorf("it names %.60q twice", text)
			}
			seen[folded] = true
			if err := noRepeats(d); err != nil {
				return err
			}
		}
	case json.Delim('['):
		for d.More() {
			if err := noRepeats(d); err != nil {
				return err
			}
		}
	default:
		return nil
	}
	_, err = d.Token() // the end
	return err
}
