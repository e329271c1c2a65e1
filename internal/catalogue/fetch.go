// SPDX-License-Identifier: Apache-2.0

package catalogue

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"

	"cityid"
	"cityid/internal/dcat"
	"cityid/internal/web"
)

// maxPart is the most octets of any document of a dataset.
const maxPart = dcat.MaxDocument

// fetched is what an attempt at one document brought.
type fetched struct {
	part      cityid.DatasetPart
	want      cityid.Digest
	state     cityid.DatasetState
	detail    string
	body      []byte // a document with the digest wanted; nil: none, or the one held is confirmed
	etag      string
	described *described // what a description says
	silent    *silence   // the gateway does not answer at all
}

// places are the paths under which gateways serve documents.
var places = map[cityid.DatasetPart]string{
	cityid.PartDescription: "/datasets/", cityid.PartSchema: "/schemas/", cityid.PartPolicy: "/policies/",
}

// address returns where a gateway serves a document.
func address(g *gateway, kind cityid.DatasetPart, code cityid.Code) string {
	return g.address + places[kind] + strings.ReplaceAll(code.String(), "/", "~")
}

// fetch asks for one document and judges it.
func (c *Catalogue) fetch(ctx context.Context, j *job, g *gateway, r *row, p *part) *fetched {
	f := &fetched{part: p.Part, want: p.Digest}
	ctx, cancel := context.WithTimeout(ctx, c.o.Timeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address(g, p.Part, r.Entry.Code), nil)
	if err != nil {
		return f.fail(cityid.DatasetUnreachable, "its address can not be asked for: %v", err)
	}
	request.Header.Set("Accept", "application/ld+json, application/schema+json, application/json;q=0.9")
	request.Header.Set("User-Agent", "cityid-catalogue")
	if p.ETag != "" && p.Held == p.Digest {
		request.Header.Set("If-None-Match", p.ETag)
	}
	answer, err := c.client.Do(request)
	if err != nil {
		return f.silence(ctx, err)
	}
	defer answer.Body.Close()
	if done := f.status(answer, p); done {
		return f
	}
	body, err := io.ReadAll(io.LimitReader(answer.Body, maxPart+1))
	switch {
	case err != nil:
		return f.silence(ctx, err)
	case len(body) > maxPart:
		return f.fail(cityid.DatasetRefused, "the gateway serves more than %d octets", maxPart)
	case dcat.Digest(body) != f.want:
		return f.fail(cityid.DatasetRefused, "the gateway serves a document with digest %s, and the registry names %s", dcat.Digest(body), f.want)
	case !c.plan.reserve(j, int64(len(body)-p.Size)):
		return f.fail(cityid.DatasetFull, "the documents of this gateway, or all together, take as much room as there is")
	}
	f.state, f.etag = cityid.DatasetCurrent, entityTag(answer.Header)
	if f.body = body; p.Held == f.want && p.State == cityid.DatasetCurrent {
		f.body = nil // the one that is held
		p.ETag = f.etag
		return f
	}
	f.judge(r)
	return f
}

func (f *fetched) fail(state cityid.DatasetState, format string, args ...any) *fetched {
	f.state, f.detail = state, fmt.Sprintf(format, args...)
	return f
}

// status looks at the status of an answer, and reports whether that is all there
// is to it.
func (f *fetched) status(answer *http.Response, p *part) bool {
	switch code := answer.StatusCode; {
	case code == http.StatusOK && answer.Header.Get("Content-Encoding") != "":
		f.fail(cityid.DatasetRefused, "the gateway serves it with the content encoding %.40q, which was not asked for", answer.Header.Get("Content-Encoding"))
	case code == http.StatusOK:
		return false
	case code == http.StatusNotModified && p.ETag != "" && p.Held == p.Digest:
		f.state, f.etag = cityid.DatasetCurrent, p.ETag
	case code == http.StatusNotFound || code == http.StatusGone:
		f.fail(cityid.DatasetMissing, "the gateway answers with status %d: it has no such document", code)
	case code >= 300 && code < 400:
		f.fail(cityid.DatasetUnreachable, "the gateway answers with a redirect (%d), which is not followed", code)
	case code == http.StatusTooManyRequests || code >= 500:
		f.fail(cityid.DatasetUnreachable, "the gateway answers with status %d", code)
		f.silent = &silence{f.detail}
	default:
		f.fail(cityid.DatasetUnreachable, "the gateway answers with status %d", code)
	}
	return true
}

// silence says in words why no answer came.
func (f *fetched) silence(ctx context.Context, err error) *fetched {
	var cert *tls.CertificateVerificationError
	var dns *net.DNSError
	why := "the connection broke, or could not be made"
	switch {
	case errors.Is(err, web.ErrAddress):
		why = "the gateway's address is not one on the public network"
	case ctx.Err() != nil:
		why = "the gateway took too long to answer"
	case errors.As(err, &cert):
		why = "the gateway's certificate is not one to trust"
	case errors.As(err, &dns):
		why = "the gateway's host name is not known"
	}
	f.fail(cityid.DatasetUnreachable, "%s", why)
	f.silent = &silence{why}
	return f
}

// entityTag returns an answer's strong entity tag if it is of bearable length.
func entityTag(h http.Header) string {
	t := h.Get("ETag")
	if len(t) < 2 || len(t) > 128 || t[0] != '"' || t[len(t)-1] != '"' || strings.ContainsFunc(t[1:len(t)-1], func(c rune) bool { return c <= ' ' || c == '"' || c > '~' }) {
		return ""
	}
	return t
}
