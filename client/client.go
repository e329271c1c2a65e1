// SPDX-License-Identifier: Apache-2.0

// Package client asks a node of cityid over HTTP. A [Client] has the methods a
// node has itself, so programs that read records, look identifiers up or submit
// transactions work the same next to a node and far from it.
//
//	c, err := client.New("https://id.example.org")
//	if err != nil {
//		return err
//	}
//	answer, err := c.Record(ctx, cityid.MustParse("MA.156.1301"))
//	switch {
//	case errors.Is(err, cityid.ErrNotFound):
//		// no such code, or so this node says
//	case errors.Is(err, client.ErrUnreachable):
//		// try another node
//	case err == nil:
//		fmt.Println(answer.Record.Content.Names.Get("en"))
//	}
//
// # Trust
//
// What these methods return is what one node says, but for [Client.Resolve]: it
// judges the node's proof by a trust root, so that it matters no longer which
// node answered.
//
//	result, err := c.Resolve(ctx, trust.Latest(), code, time.Now())
//	if err == nil && result.Verdict == verify.Valid && result.Allocated {
//		// result.Record is the record
//	}
//
// # Errors
//
// A refusal is a [*cityid.Error], taken from the node's problem (RFC 9457), so
// errors.Is(err, cityid.ErrConflict) and the like work as they do at the node.
// [ErrUnreachable] means that no answer of a node came: nobody listens, the
// connection broke or took too long, a proxy answered in the node's place with
// 502, 503 or 504. A transaction may have been recorded all the same; submitting
// the same bytes again is safe. Every other error means that the answer was not
// one of this protocol.
//
// # Limits
//
// A request takes at most a minute, and an answer of over 64 MiB is refused;
// [WithTimeout] and [WithMaxAnswer] change that. A GET whose connection fails is
// sent once more. Redirects are not followed: the error names the address to use
// instead.
package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"time"

	"cityid"
)

// ErrUnreachable is in the chain of every error that means no node answered.
var ErrUnreachable = errors.New("node unreachable")

const (
	defaultTimeout = time.Minute
	defaultAnswer  = 64 << 20
	maxProblem     = 1 << 20
	retryPause     = 50 * time.Millisecond

	jsonType    = "application/json"
	problemType = "application/problem+json"
	cborType    = "application/cbor"
)

// A Client asks one node. It may be used by several goroutines at once.
type Client struct {
	base      string // without a slash at its end
	http      *http.Client
	timeout   time.Duration
	maxAnswer int64
	userAgent string
	language  string // Accept-Language; "": none
	cookie    string // of a session; "": none
}

// An Option changes a [Client] while [New] builds it.
type Option func(*Client)

// WithTimeout bounds the time of each request, all tries included; 0 leaves it
// to the context.
func WithTimeout(d time.Duration) Option { return func(c *Client) { c.timeout = d } }

// WithMaxAnswer bounds the octets of an answer.
func WithMaxAnswer(n int64) Option { return func(c *Client) { c.maxAnswer = n } }

// WithTransport sets how requests are made, for example with a private
// certificate authority in an [http.Transport]. The default is that of
// net/http.
func WithTransport(t http.RoundTripper) Option { return func(c *Client) { c.http.Transport = t } }

// WithUserAgent sets the User-Agent header; the default is "cityid-client".
func WithUserAgent(s string) Option { return func(c *Client) { c.userAgent = s } }

// WithLanguage sets in which language a portal's pages are to be named, as in
// [Client.SendReport]: "zh" or "en". Answers themselves have none.
func WithLanguage(lang string) Option { return func(c *Client) { c.language = lang } }

// New returns a client of the node at an address such as
// "https://id.example.org" or "http://127.0.0.1:8080/prefix". It makes no
// request.
func New(address string, options ...Option) (*Client, error) {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return nil, fmt.Errorf("node address %.200q: want one such as https://id.example.org", address)
	}
	c := &Client{
		base:    strings.TrimRight(u.Scheme+"://"+u.Host+u.EscapedPath(), "/"),
		timeout: defaultTimeout, maxAnswer: defaultAnswer, userAgent: "cityid-client",
		http: &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }},
	}
	for _, o := range options {
		o(c)
	}
	return c, nil
}

// String returns the node's address.
func (c *Client) String() string { return c.base }

// answer is what came back, read in full.
type answer struct {
	status    int
	mediaType string
	location  string
	link      string
	cookies   []*http.Cookie
	body      []byte
}

// call sends a request and returns the answer. If that is a problem, the error
// tells of it; any other status than 200, 201 and 202 is an error without an answer.
func (c *Client) call(ctx context.Context, method, path string, query url.Values, contentType string, body []byte, accept string) (*answer, error) {
	if c.timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, c.timeout)
		defer cancel()
	}
	address := c.base + path
	if len(query) > 0 {
		address += "?" + query.Encode()
	}
	a, err := c.try(ctx, method, address, contentType, body, accept)
	if method == http.MethodGet && errors.Is(err, ErrUnreachable) && rest(ctx, retryPause) {
		a, err = c.try(ctx, method, address, contentType, body, accept)
	}
	if err != nil {
		return nil, err
	}
	switch {
	case a.mediaType == problemType && a.status >= 400:
		return a, decodeProblem(a)
	case a.status == http.StatusOK || (a.status == http.StatusAccepted || a.status == http.StatusCreated) && method == http.MethodPost:
		if a.mediaType != accept {
			return nil, fmt.Errorf("%s answers with %.60q instead of %s: is it a node of cityid", address, a.mediaType, accept)
		}
		return a, nil
	case a.status >= 300 && a.status < 400:
		return nil, fmt.Errorf("%s redirects to %.200q: use the address that serves the node itself", address, a.location)
	case a.status == http.StatusBadGateway || a.status == http.StatusServiceUnavailable || a.status == http.StatusGatewayTimeout:
		return nil, fmt.Errorf("%w: %s answers with status %d", ErrUnreachable, address, a.status)
	}
	return nil, fmt.Errorf("%s answers with status %d and no problem: is it a node of cityid", address, a.status)
}

// rest waits, and reports whether ctx has not ended meanwhile.
func rest(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// try sends one request and reads its answer.
func (c *Client) try(ctx context.Context, method, address, contentType string, body []byte, accept string) (*answer, error) {
	request, err := http.NewRequestWithContext(ctx, method, address, bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("request %s: %w", address, err)
	}
	request.Header.Set("User-Agent", c.userAgent)
	request.Header.Set("Accept", accept)
	for name, value := range map[string]string{"Content-Type": contentType, "Accept-Language": c.language, "Cookie": c.cookie} {
		if value != "" {
			request.Header.Set(name, value)
		}
	}
	response, err := c.http.Do(request)
	if err != nil {
		var u *url.Error
		if errors.As(err, &u) {
			err = u.Err
		}
		return nil, unreachable(ctx, address, err)
	}
	defer response.Body.Close()
	limit := c.maxAnswer
	mediaType, _, _ := mime.ParseMediaType(response.Header.Get("Content-Type"))
	if response.StatusCode >= 300 {
		limit = min(limit, maxProblem)
	}
	content, err := io.ReadAll(io.LimitReader(response.Body, limit+1))
	if err != nil {
		return nil, unreachable(ctx, address, err)
	}
	if int64(len(content)) > limit {
		return nil, fmt.Errorf("%s: the answer is larger than %d octets", address, limit)
	}
	return &answer{response.StatusCode, mediaType, response.Header.Get("Location"), response.Header.Get("Link"), response.Cookies(), content}, nil
}

// unreachable returns the error for a request without an answer. One that the
// caller gave up is the context's error alone.
func unreachable(ctx context.Context, address string, err error) error {
	if errors.Is(ctx.Err(), context.Canceled) {
		return fmt.Errorf("request %s: %w", address, ctx.Err())
	}
	return fmt.Errorf("%w: %s: %w", ErrUnreachable, address, err)
}

// get asks for JSON and decodes it into v.
func (c *Client) get(ctx context.Context, path string, query url.Values, v any) error {
	a, err := c.call(ctx, http.MethodGet, path, query, "", nil, jsonType)
	if err != nil {
		return err
	}
	return c.decode(path, a, v)
}

func (c *Client) decode(path string, a *answer, v any) error {
	if err := json.Unmarshal(a.body, v); err != nil {
		return fmt.Errorf("%s%s: answer: %w", c.base, path, err)
	}
	return nil
}

// problem is the part of a problem that a refusal is made of.
type problem struct {
	Title     string           `json:"title"`
	Detail    string           `json:"detail"`
	Code      cityid.ErrorCode `json:"code"`
	Operation *int             `json:"operation"`
	Receipt   *cityid.Receipt  `json:"receipt"`
}

// decodeProblem returns the refusal a problem tells of.
func decodeProblem(a *answer) error {
	var p problem
	if err := json.Unmarshal(a.body, &p); err != nil || p.Code == cityid.OK {
		return cityid.Errorf(cityid.ErrInternal, "the node answers with status %d and a problem that cannot be read", a.status)
	}
	e := &cityid.Error{Code: p.Code, Operation: -1, Message: p.Detail}
	if p.Operation != nil {
		e.Operation = *p.Operation
	}
	if e.Message == "" {
		e.Message = p.Title
	}
	return e
}
