// SPDX-License-Identifier: Apache-2.0

package client

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"cityid"
	"cityid/keys"
)

const reports = "/office/reports"

// SendReport hands a report in at the portal that the node serves, and returns
// its number, its page and its receipt. The receipt is for what was sent, and its
// signature holds; whether the key is the institution's is for [cityid.Stood] to
// say. An empty ID is made here. Sent again with the same ID, the same report
// comes back.
func (c *Client) SendReport(ctx context.Context, r cityid.ReportRequest) (*cityid.ReportSent, error) {
	if r.ID == "" {
		var id [16]byte
		rand.Read(id[:]) // never fails
		r.ID = hex.EncodeToString(id[:])
	}
	var sent cityid.ReportSent
	if err := c.post(ctx, reports, &r, &sent); err != nil {
		return nil, err
	}
	f, err := cityid.DecodeReportFile(sent.Receipt)
	if err == nil {
		err = f.Verify(keys.Verify)
	}
	if err == nil && (f.Receipt.Code != r.Code || f.Receipt.Number != sent.Number || f.Opening == nil || f.Opening.Report.Category != r.Category) {
		err = fmt.Errorf("it is for another report")
	}
	if err != nil {
		return nil, fmt.Errorf("%s has the report as number %d, but its receipt is not to be relied on: %w", c.base, sent.Number, err)
	}
	return &sent, nil
}

// ReportStatus returns what became of a report, for whoever has its token.
func (c *Client) ReportStatus(ctx context.Context, number uint64, token string) (*cityid.ReportStatus, error) {
	var s cityid.ReportStatus
	if err := c.get(ctx, reportPath(number), url.Values{"token": {token}}, &s); err != nil {
		return nil, err
	}
	if s.Number != number {
		return nil, fmt.Errorf("%s answers about report %d when asked for %d", c.base, s.Number, number)
	}
	return &s, nil
}

func reportPath(number uint64) string { return reports + "/" + strconv.FormatUint(number, 10) }

// post sends JSON and decodes the answer.
func (c *Client) post(ctx context.Context, path string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	a, err := c.call(ctx, http.MethodPost, path, nil, jsonType, body, jsonType)
	if err != nil {
		return err
	}
	return c.decode(path, a, out)
}

// Desk is where a department deals with what people reported. It may be used by
// several goroutines at once, for as long as the portal's session lasts: hours.
type Desk struct{ client Client }

// SignIn shows the portal that a key is held, and returns the desk that the key
// opens. origin is the portal's address as browsers see it, such as
// https://id.example; "" is that of the node. The key signs for that origin alone,
// so that nobody can use the signature at another portal.
func (c *Client) SignIn(ctx context.Context, origin string, s cityid.Signer) (*Desk, error) {
	if origin == "" {
		u, err := url.Parse(c.base)
		if err != nil {
			return nil, err
		}
		origin = u.Scheme + "://" + u.Host
	}
	d := &Desk{*c}
	a, err := d.client.call(ctx, http.MethodPost, "/office/challenge", nil, jsonType, []byte("{}"), jsonType)
	if err != nil {
		return nil, err
	}
	var asked struct{ Challenge, Origin string }
	if err := c.decode("/office/challenge", a, &asked); err != nil {
		return nil, err
	}
	challenge, err := base64.RawURLEncoding.Strict().DecodeString(asked.Challenge)
	if err != nil || len(challenge) != 32 {
		return nil, fmt.Errorf("%s: its challenge is none", c.base)
	}
	if asked.Origin != origin {
		return nil, cityid.Errorf(cityid.ErrNotPermitted, "the portal at %s is %.200q for browsers, not %s: name that as the origin if you mean it", c.base, asked.Origin, origin)
	}
	digest := cityid.SignInDigest(origin, challenge)
	signature, err := s.Sign(digest[:])
	if err != nil {
		return nil, err
	}
	d.take(a)
	body, err := json.Marshal(map[string]any{"challenge": asked.Challenge, "key": s.Key, "signature": cityid.Bytes(signature)})
	if err != nil {
		return nil, err
	}
	if a, err = d.client.call(ctx, http.MethodPost, "/office/sign-in", nil, jsonType, body, jsonType); err != nil {
		return nil, err
	}
	d.take(a)
	return d, nil
}

// take keeps the session that an answer sets.
func (d *Desk) take(a *answer) {
	var parts []string
	for _, k := range a.cookies {
		if k.MaxAge >= 0 && strings.Contains(k.Name, "cityid") {
			parts = append(parts, k.Name+"="+k.Value)
		}
	}
	if len(parts) > 0 {
		d.client.cookie = strings.Join(parts, "; ")
	}
}

// Close ends the session.
func (d *Desk) Close(ctx context.Context) error {
	_, err := d.client.call(ctx, http.MethodPost, "/office/sign-out", nil, jsonType, []byte("{}"), jsonType)
	return err
}

// Reports returns a page of the reports that a code, or one below it, is
// responsible for. Ask again with Before set to the page's Next until that is 0.
func (d *Desk) Reports(ctx context.Context, q cityid.ReportQuery) (*cityid.ReportPage, error) {
	v := url.Values{"at": {q.At.String()}}
	if q.Open {
		v.Set("open", "true")
	}
	if q.State != 0 {
		v.Set("state", q.State.String())
	}
	if q.Category != 0 {
		v.Set("category", q.Category.String())
	}
	setNumber(v, "before", q.Before)
	setNumber(v, "limit", uint64(max(q.Limit, 0)))
	var page cityid.ReportPage
	if err := d.client.get(ctx, reports, v, &page); err != nil {
		return nil, err
	}
	return &page, nil
}

// Report returns one report.
func (d *Desk) Report(ctx context.Context, number uint64) (*cityid.ReportEntry, error) {
	var e cityid.ReportEntry
	if err := d.client.get(ctx, reportPath(number), nil, &e); err != nil {
		return nil, err
	}
	return &e, nil
}

// ReportPhoto returns the photograph of a report, a JPEG.
func (d *Desk) ReportPhoto(ctx context.Context, number uint64) ([]byte, error) {
	a, err := d.client.call(ctx, http.MethodGet, reportPath(number)+"/photo", nil, "", nil, "image/jpeg")
	if err != nil {
		return nil, err
	}
	return a.body, nil
}

// ChangeReport does something about a report, and returns it as it is then. It is
// [cityid.ErrConflict] if somebody else did something since it was seen.
func (d *Desk) ChangeReport(ctx context.Context, number uint64, change cityid.ReportChange) (*cityid.ReportEntry, error) {
	var e cityid.ReportEntry
	if err := d.client.post(ctx, reportPath(number), &change, &e); err != nil {
		return nil, err
	}
	return &e, nil
}
