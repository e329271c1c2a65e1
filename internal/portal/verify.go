// SPDX-License-Identifier: Apache-2.0

package portal

import (
	"bytes"
	"context"
	"errors"
	"io"
	"mime/multipart"
	"net/http"
	"net/url"
	"strings"
	"time"

	"cityid"
	"cityid/internal/web"
	"cityid/keys"
	"cityid/label"
	"cityid/verify"
	"cityid/verify/js"
)

// Checking happens in the visitor's browser, by the JavaScript verifier, with a
// trust root that the visitor has pinned there or that this site hands out; the
// page says which. Without scripts the server checks, and says that then its
// word is all there is.

// Bounds of what is uploaded to be checked.
const (
	maxPhoto = 16 << 20
	maxFrame = 512 << 10
)

// verifyData is what the page for checking shows.
type verifyData struct {
	Text    string
	Code    cityid.Code
	Payload *label.Payload
	Host    string // that the label names
	Foreign bool   // it is not the one labels of this portal name
	Result  *verdictView
	Mark    *markView         // of a source mark
	Texts   map[string]string // for the script
	Module  string            // address of the verifier
	Hash    string            // of the verifier
}

// verdictView is a verdict that the server came to.
type verdictView struct {
	Verdict  string // valid, invalid or undecided
	Sentence string
	Remedy   string
	Checks   []checkView
	Record   *place
	Absent   bool
	AsOf     time.Time
	Height   uint64
	Zones    []zoneView // that the proof leads through, if there are several
}

// zoneView is one zone of a proof that leads through several.
type zoneView struct{ Code, Text, Above string }

type checkView struct{ Class, Name, Detail string }

// verifyPage offers the ways to check something, or shows what came of it.
func (p *portal) verifyPage(w http.ResponseWriter, r *http.Request, pg *page) error {
	q := r.URL.Query()
	data := pg.newVerify(strings.TrimSpace(q.Get("text")))
	if data.Text == "" {
		data.Text = strings.TrimSpace(q.Get("code"))
	}
	if data.Text != "" {
		if err := pg.verifyText(data, strings.TrimSpace(q.Get("digest"))); err != nil {
			return err
		}
	}
	return pg.showVerify(w, r, http.StatusOK, data)
}

func (pg *page) newVerify(text string) *verifyData {
	data := &verifyData{Text: text, Texts: map[string]string{}, Module: pg.assets.base + js.Name, Hash: js.Hash}
	for key, text := range pg.texts[pg.Lang] {
		if name, ok := strings.CutPrefix(key, "verify.js."); ok {
			data.Texts[name] = text
		}
	}
	return data
}

func (pg *page) showVerify(w http.ResponseWriter, r *http.Request, status int, data *verifyData) error {
	pg.Title = pg.T("verify.title")
	return pg.render(w, r, status, "verify", data)
}

// verifyText reads what somebody typed or scanned, and checks it. A source mark
// may come with the digest of the bytes that somebody has.
func (pg *page) verifyText(data *verifyData, digest string) error {
	text := data.Text
	if len(text) > 1000 {
		return cityid.Errorf(cityid.ErrTooLarge, "the text has %d octets: at most 1000", len(text))
	}
	if strings.HasPrefix(text, "/X/") && !pg.Public.IsZero() {
		text = pg.Public.String() + text
		data.Text = text
	}
	payload, err := label.ParsePayload(text)
	if err != nil {
		pg.refuseField("text", pg.T("verify.text.bad"))
		return nil
	}
	data.Payload, data.Code = &payload, payload.Code
	if !payload.Public.IsZero() {
		data.Host = payload.Public.Host()
		data.Foreign = !pg.Public.IsZero() && payload.Public.Host() != pg.Public.Host()
	}
	if payload.Kind == label.KindCertificate {
		return pg.verifyCertificate(data, payload.Certificate)
	}
	if payload.Kind == label.KindSource {
		return pg.verifySource(data, payload.Source, digest)
	}
	bundle, err := pg.Source.Bundle(pg.ctx, cityid.BundleQuery{Code: data.Code, Kind: cityid.AnswerRecord, From: 1})
	if err != nil {
		return err
	}
	return pg.judge(data, bundle, data.Code)
}

// siteTrust returns the first version of the trust root, as this site has it.
func (pg *page) siteTrust() (*verify.TrustFile, error) {
	versions, err := pg.Source.Trust(pg.ctx)
	if err != nil {
		return nil, err
	}
	if len(versions) == 0 {
		return nil, cityid.Errorf(cityid.ErrUnavailable, "this node has no trust root yet")
	}
	return verify.NewTrustFile(versions[0])
}

// judge checks a bundle with this site's trust root.
func (pg *page) judge(data *verifyData, bundle []byte, code cityid.Code) error {
	trust, err := pg.siteTrust()
	if err != nil {
		return err
	}
	o := verify.Options{Now: time.Now(), Code: code}
	if !code.IsZero() {
		o.Kind = cityid.AnswerRecord
	}
	r := verify.CheckEncoded(trust.Latest(), bundle, o)
	v := &verdictView{Verdict: r.Verdict.String(), AsOf: r.AsOf.Time, Height: r.AsOf.Height}
	for _, f := range r.Checks {
		c := checkView{Class: map[verify.Verdict]string{verify.Valid: "good", verify.Invalid: "bad", verify.Undecided: "warn"}[f.Verdict], Detail: f.Detail}
		c.Name = pg.T("verify.js.check." + strings.ReplaceAll(f.Name, " ", "-"))
		v.Checks = append(v.Checks, c)
	}
	v.Zones = pg.zonesOf(&r)
	switch {
	case r.Verdict != verify.Valid:
		v.Sentence = pg.T("verify.js.reason." + string(r.Reason))
		v.Remedy = pg.T("verify.js.remedy." + v.Verdict)
	case r.Kind == cityid.AnswerReferral:
		v.Sentence = pg.T("verify.js.referral", r.Code.String(), r.Zones[len(r.Zones)-1].Zone.String())
	case r.Kind == cityid.AnswerEntries:
		v.Sentence = pg.T("verify.js.entries", len(r.Entries))
	case r.Kind != cityid.AnswerRecord:
		v.Sentence = pg.T("verify.js.listing", r.Code.String(), len(r.Records))
	case r.Record == nil:
		v.Absent, v.Sentence = true, pg.T("verify.js.absent", r.Code.String())
	default:
		at := pg.placeOf(r.Record)
		v.Record, v.Sentence = &at, pg.T("verify.js.record", r.Code.String(), at.Name, at.Kind)
	}
	data.Result = v
	return nil
}

// zonesOf describes the zones that a proof leads through, if there are several.
func (pg *page) zonesOf(r *verify.Result) (list []zoneView) {
	if len(r.Zones) < 2 {
		return nil
	}
	for i := range r.Zones {
		z := &r.Zones[i]
		v := zoneView{Code: z.Zone.String(), Text: pg.T("verify.js.zone.next", z.Chain)}
		if !z.AsOf.Time.IsZero() {
			v.Text = pg.T("verify.js.zone.asof", z.Chain, pg.Moment(z.AsOf.Time), grouped(z.AsOf.Height))
		}
		if z.Record != nil && z.Record.Status != cityid.StatusActive {
			v.Above = pg.T("verify.js.above." + z.Record.Status.String())
		}
		list = append(list, v)
	}
	return list
}

// verifyCertificate checks a certificate by the keys in proven records of its
// own line.
func (pg *page) verifyCertificate(data *verifyData, c label.Certificate) error {
	trust, err := pg.siteTrust()
	if err != nil {
		return err
	}
	var candidates []label.Candidate
	v := &verdictView{}
	for code := c.Code; !code.IsZero(); code = code.Parent() {
		bundle, err := pg.Source.Bundle(pg.ctx, cityid.BundleQuery{Code: code, Kind: cityid.AnswerRecord, From: 1})
		if err != nil {
			return err
		}
		r := verify.CheckEncoded(trust.Latest(), bundle, verify.Options{Now: time.Now(), Code: code, Kind: cityid.AnswerRecord})
		if r.Verdict == verify.Undecided && r.Reason == verify.ReasonZone {
			continue // above this zone
		}
		if r.Verdict != verify.Valid {
			v.Verdict, v.Sentence, v.Remedy = "undecided", pg.T("verify.js.reason."+string(r.Reason)), pg.T("verify.js.remedy.undecided")
			data.Result = v
			return nil
		}
		candidates = append(candidates, label.CandidatesOf(r.Record)...)
		if code == c.Code && r.Record != nil {
			at := pg.placeOf(r.Record)
			v.Record, v.AsOf, v.Height = &at, r.AsOf.Time, r.AsOf.Height
		}
	}
	found := label.Check(c, candidates, cityid.TimeOf(time.Now()))
	switch {
	case found.Verdict == label.Valid:
		v.Verdict = "valid"
	case found.Verdict.Undecided():
		v.Verdict = "undecided"
	default:
		v.Verdict = "invalid"
	}
	v.Sentence = pg.T("verify.js.certificate."+found.Verdict.String(), c.Issued.String(), c.Expires.String(), found.Holder.String())
	v.Checks = append(v.Checks, checkView{map[string]string{"valid": "good", "invalid": "bad", "undecided": "warn"}[v.Verdict], pg.T("verify.js.check.certificate"), keyText(found.Key)})
	data.Result = v
	return nil
}

func keyText(k cityid.PublicKey) string {
	if p, err := keys.ParsePublic([]byte(k)); err == nil {
		return p.Fingerprint()
	}
	return ""
}

// verifyPhoto reads a symbol from a photograph and goes on with its text.
func (p *portal) verifyPhoto(w http.ResponseWriter, r *http.Request, pg *page) error {
	if err := pg.Limits.Upload(r); err != nil {
		return err
	}
	refuse := func(key string) error {
		data := pg.newVerify("")
		pg.refuseField("photo", pg.T(key))
		return pg.showVerify(w, r, http.StatusUnprocessableEntity, data)
	}
	file, header, err := spooledFile(r, "photo")
	if err != nil || header.Size == 0 {
		return refuse("verify.photo.none")
	}
	defer file.Close()
	if header.Size > maxPhoto {
		return refuse("verify.photo.large")
	}
	text, err := p.decode(r.Context(), file)
	switch {
	case errors.Is(err, label.ErrNoSymbol):
		return refuse("verify.photo.nosymbol")
	case errors.Is(err, label.ErrImage), errors.Is(err, label.ErrTooLarge):
		return refuse("verify.photo.noimage")
	case err != nil:
		return err
	}
	http.Redirect(w, r, pg.URL("/verify?text=", url.QueryEscape(text)), http.StatusSeeOther)
	return nil
}

// spooledFile returns a file of a form, which lies on the disk until it is read.
func spooledFile(r *http.Request, field string) (multipart.File, *multipart.FileHeader, error) {
	if err := r.ParseMultipartForm(64 << 10); err != nil {
		return nil, nil, err
	}
	return r.FormFile(field)
}

// decode reads a symbol; at most two are read at a time.
func (p *portal) decode(ctx context.Context, r io.Reader) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	select {
	case p.decoding <- struct{}{}:
		defer func() { <-p.decoding }()
	case <-ctx.Done():
		return "", cityid.Errorf(cityid.ErrFull, "many photographs are being read: try again in a moment")
	}
	return label.Decode(ctx, r, label.Limits{Bytes: maxPhoto})
}

// verifyFrame reads a frame of the camera that a script sends. The answer has
// the text, or none while no symbol is in the picture.
func (p *portal) verifyFrame(w http.ResponseWriter, r *http.Request, pg *page) error {
	pg.Private = true
	if mt := r.Header.Get("Content-Type"); mt != "image/jpeg" {
		return web.Refuse(http.StatusUnsupportedMediaType, cityid.ErrUnsupported, "want image/jpeg")
	}
	if err := pg.Limits.Frame(r); err != nil {
		return err
	}
	b, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxFrame)) // whoever sends slowly keeps nobody from being read
	if err != nil {
		return err
	}
	text, err := p.decode(r.Context(), bytes.NewReader(b))
	if errors.Is(err, label.ErrNoSymbol) {
		return pg.json(w, r, map[string]string{})
	}
	if errors.Is(err, label.ErrImage) || errors.Is(err, label.ErrTooLarge) {
		return cityid.Errorf(cityid.ErrMalformed, "%v", err)
	}
	if err != nil {
		return err
	}
	return pg.json(w, r, map[string]string{"text": text})
}

// verifyFile checks a bundle that somebody has as a file.
func (p *portal) verifyFile(w http.ResponseWriter, r *http.Request, pg *page) error {
	if err := pg.Limits.Upload(r); err != nil {
		return err
	}
	data := pg.newVerify("")
	file, header, err := spooledFile(r, "bundle")
	if err != nil || header.Size == 0 || header.Size > verify.MaxBundle {
		pg.refuseField("bundle", pg.T("verify.file.none"))
		return pg.showVerify(w, r, http.StatusUnprocessableEntity, data)
	}
	defer file.Close()
	select { // checking takes as much as reading a photograph
	case p.decoding <- struct{}{}:
		defer func() { <-p.decoding }()
	case <-r.Context().Done():
		return r.Context().Err()
	}
	b, err := io.ReadAll(io.LimitReader(file, verify.MaxBundle))
	if err != nil {
		return err
	}
	if err := pg.judge(data, b, cityid.Code{}); err != nil {
		return err
	}
	return pg.showVerify(w, r, http.StatusOK, data)
}

// trustFile hands out the trust root as this site has it, to be pinned.
func (p *portal) trustFile(w http.ResponseWriter, r *http.Request, pg *page) error {
	trust, err := pg.siteTrust()
	if err != nil {
		return err
	}
	b, err := verify.FormatTrustFile(trust)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Disposition", `attachment; filename="trust.json"`)
	web.WriteBytes(w, r, http.StatusOK, web.JSONType, b)
	return nil
}

// Config is what the page's script needs.
func (d *verifyData) Config(pg *page) any {
	source := d.Payload != nil && d.Payload.Kind == label.KindSource
	digest := ""
	if d.Mark != nil && !d.Mark.Compared.IsZero() {
		digest = d.Mark.Compared.String()
	}
	return map[string]any{
		"source": source, "digest": digest,
		"lang": pg.Lang, "text": d.Text, "code": d.Code, "certificate": d.Payload != nil && d.Payload.Kind == label.KindCertificate,
		"texts": d.Texts, "module": d.Module, "trust": pg.URL("/verify/trust.json"), "frames": pg.URL("/verify/frame"),
	}
}

// verifyScreens are the pages for checking.
func (p *portal) verifyScreens() map[string]endpoint {
	return map[string]endpoint{
		"GET /verify":            p.verifyPage,
		"POST /verify/photo":     p.verifyPhoto,
		"POST /verify/frame":     p.verifyFrame,
		"POST /verify/file":      p.verifyFile,
		"GET /verify/trust.json": p.trustFile,
	}
}
