// SPDX-License-Identifier: Apache-2.0

package portal

import (
	"encoding/hex"
	"errors"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"cityid"
	"cityid/internal/describe"
	"cityid/internal/office"
	"cityid/keys"
	"cityid/label"
)

// A certificate is signed with an assert key of the code's own line, which stays
// with its owner: this page shows what is to be signed, and draws the certificate
// once it has been signed elsewhere and holds.

const (
	maxCertificateText = 1000
	certificateYears   = 1 // usual validity
)

// certificateData is what the page for a certificate shows.
type certificateData struct {
	Code      cityid.Code
	Place     place
	Issued    string
	Expires   string
	Template  string
	Templates []option
	Lang      string
	Heading   string
	Contact   string
	Keys      []certificateKey // that may sign
	Key       cityid.PublicKey // chosen
	Message   string           // what is to be signed, in hexadecimal
	KeyID     string
	Command   string
	TestKey   string // name of the chosen key, if it is a test key
	Post      string // where a signature made in the browser goes
	Text      string // pasted
	Holders   []place
}

type certificateKey struct {
	Key    cityid.PublicKey
	Text   string
	Holder place
}

// certificatePage asks for which code, and shows what is to be signed.
func (p *portal) certificatePage(w http.ResponseWriter, r *http.Request, pg *page) error {
	data, _, err := pg.certificateForm(r.URL.Query())
	if err != nil {
		return err
	}
	return pg.showCertificate(w, r, http.StatusOK, data)
}

func (pg *page) showCertificate(w http.ResponseWriter, r *http.Request, status int, data *certificateData) error {
	pg.Title = pg.T("labels.certificate.title")
	return pg.render(w, r, status, "labels_certificate", data)
}

// certificateForm reads what was asked for, and finds the keys that may sign it.
// What is wrong is noted beside its field; the certificate is complete but for
// its signature if its key id is not zero.
func (pg *page) certificateForm(q url.Values) (*certificateData, label.Certificate, error) {
	var c label.Certificate
	data := &certificateData{
		Issued: q.Get("issued"), Expires: q.Get("expires"), Template: q.Get("template"), Lang: q.Get("lang"),
		Heading: strings.TrimSpace(q.Get("heading")), Contact: strings.TrimSpace(q.Get("contact")),
	}
	if data.Lang != "en" && data.Lang != "zh" {
		data.Lang = pg.Lang
	}
	if t, err := label.TemplateOf(data.Template); err != nil || !t.Certificate() {
		data.Template = "certificate"
	}
	for _, t := range label.Templates() {
		if t.Certificate() {
			data.Templates = append(data.Templates, option{t.Name, t.Title.In(pg.Lang), "", t.Name == data.Template})
		}
	}
	if cityid.CheckText("heading", data.Heading, false) != nil {
		pg.refuseField("heading", pg.T("labels.text.wrong"))
	}
	if cityid.CheckText("contact", data.Contact, false) != nil {
		pg.refuseField("contact", pg.T("labels.text.wrong"))
	}
	var err error
	if data.Holders, err = pg.holders(printRoles); err != nil {
		return nil, c, err
	}
	text := strings.TrimSpace(q.Get("code"))
	if text == "" {
		return data, c, pg.certificateDays(data, &c)
	}
	if c.Code, err = cityid.Parse(text); err != nil {
		pg.refuseField("code", pg.T("labels.certificate.nocode", err))
		return data, c, pg.certificateDays(data, &c)
	}
	if err := pg.mustStand(c.Code, printRoles); err != nil {
		return nil, c, err
	}
	data.Code = c.Code
	if err := pg.certificateDays(data, &c); err != nil {
		return nil, c, err
	}
	return data, c, pg.certificateKeys(data, &c, q.Get("key"))
}

// certificateDays reads the first and last day: today and a year later, if none
// are given.
func (pg *page) certificateDays(data *certificateData, c *label.Certificate) error {
	today, err := label.DayOf(cityid.TimeOf(time.Now()))
	if err != nil {
		return err
	}
	day := func(field string, text *string, otherwise label.Day) label.Day {
		if *text == "" {
			*text = otherwise.String()
		}
		d, err := label.ParseDay(*text)
		if err != nil {
			pg.refuseField(field, pg.T("labels.certificate.noday"))
		}
		return d
	}
	c.Issued = day("issued", &data.Issued, today)
	later, err := label.DayOf(cityid.TimeOf(c.Issued.Start().Std().AddDate(certificateYears, 0, 0)))
	if err != nil {
		later = c.Issued
	}
	if c.Expires = day("expires", &data.Expires, later); c.Expires < c.Issued {
		pg.refuseField("expires", pg.T("labels.certificate.order"))
	}
	return nil
}

// certificateKeys lists the keys that may sign, and fills in what the chosen one,
// or the only one, has to sign.
func (pg *page) certificateKeys(data *certificateData, c *label.Certificate, chosen string) error {
	var err error
	if data.Place, err = pg.placeAt(c.Code); err != nil {
		return err
	}
	candidates, err := pg.candidates(c.Code)
	if err != nil {
		return err
	}
	now := cityid.TimeOf(time.Now())
	for _, x := range candidates {
		if x.CompromisedSince != 0 || x.NotBefore > now || x.NotAfter != 0 && x.NotAfter <= now {
			continue
		}
		at, err := pg.placeAt(x.Holder)
		if err != nil {
			return err
		}
		data.Keys = append(data.Keys, certificateKey{x.Key, describe.Key(pg.Lang, x.Key), at})
	}
	i := slices.IndexFunc(data.Keys, func(k certificateKey) bool { return k.Key.String() == chosen })
	if i < 0 && len(data.Keys) == 1 {
		i = 0
	}
	if i < 0 || len(pg.Errors) > 0 {
		return nil
	}
	data.Key = data.Keys[i].Key
	c.KeyID = label.KeyIDOf(data.Key)
	data.KeyID, data.Message, data.TestKey = c.KeyID.String(), hex.EncodeToString(c.Message()), pg.testKeyName(data.Key)
	v := url.Values{
		"code": {c.Code.String()}, "issued": {data.Issued}, "expires": {data.Expires}, "key": {data.Key.String()},
		"template": {data.Template}, "lang": {data.Lang}, "heading": {data.Heading}, "contact": {data.Contact},
	}
	data.Post = pg.URL("/labels/certificate/sign?", v.Encode())
	data.Command = "cityid label png " + c.Code.String() + " --certify KEY \\\n  --issued " + data.Issued + " --expires " + data.Expires +
		" --public-url " + publicAddress(pg.Public) + " \\\n  --node " + pg.Origin + " -o certificate.png"
	return nil
}

// publicAddress writes where labels point as a command takes it: the scheme and
// host in lower case, a path prefix as it is.
func publicAddress(u label.PublicURL) string {
	scheme, rest, _ := strings.Cut(u.String(), "://")
	_, prefix, _ := strings.Cut(rest, "/")
	if prefix != "" {
		prefix = "/" + prefix
	}
	return strings.ToLower(scheme) + "://" + u.Host() + prefix
}

// candidates lists the assert keys of a code's own line.
func (pg *page) candidates(code cityid.Code) ([]label.Candidate, error) {
	var out []label.Candidate
	for ; !code.IsZero(); code = code.Parent() {
		a, err := pg.Source.Record(pg.ctx, code)
		if errors.Is(err, cityid.ErrNotFound) {
			continue // a place that is a parent only by its digits, or above this zone
		}
		if err != nil {
			return nil, err
		}
		out = append(out, label.CandidatesOf(&a.Record)...)
	}
	return out, nil
}

// certificateTake takes a certificate that was signed elsewhere, as text or as
// its picture.
func (p *portal) certificateTake(w http.ResponseWriter, r *http.Request, pg *page) error {
	if err := pg.Limits.Upload(r); err != nil {
		return err
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxPhoto+64<<10)
	if err := r.ParseMultipartForm(1 << 20); err != nil {
		return uploadError(err)
	}
	data, _, err := pg.certificateForm(r.PostForm)
	if err != nil {
		return err
	}
	text := strings.TrimSpace(r.PostForm.Get("text"))
	if file, header, err := r.FormFile("picture"); err == nil && header.Size > 0 {
		defer file.Close()
		if text, err = p.decode(r.Context(), io.LimitReader(file, maxPhoto)); err != nil {
			if !errors.Is(err, label.ErrImage) && !errors.Is(err, label.ErrNoSymbol) && !errors.Is(err, label.ErrTooLarge) {
				return err
			}
			pg.refuseField("picture", pg.T("labels.certificate.nopicture"))
			return pg.showCertificate(w, r, http.StatusUnprocessableEntity, data)
		}
	}
	if data.Text = text; len(text) > maxCertificateText {
		data.Text = ""
	}
	payload, err := label.ParsePayload(text)
	switch {
	case err != nil || payload.Kind != label.KindCertificate:
		pg.refuseField("text", pg.T("labels.certificate.notext"))
	case payload.Code != data.Code:
		pg.refuseField("text", pg.T("labels.certificate.other", payload.Code, data.Code))
	}
	if len(pg.Errors) > 0 {
		return pg.showCertificate(w, r, http.StatusUnprocessableEntity, data)
	}
	id, err := pg.drawCertificate(data, payload.Certificate)
	if err != nil {
		return err
	}
	if id == 0 {
		return pg.showCertificate(w, r, http.StatusUnprocessableEntity, data)
	}
	http.Redirect(w, r, pg.URL("/labels/runs/", strconv.FormatInt(id, 10), "?new=1"), http.StatusSeeOther)
	return nil
}

// certificateSigned takes a signature made in the browser.
func (p *portal) certificateSigned(w http.ResponseWriter, r *http.Request, pg *page) error {
	data, c, err := pg.certificateForm(r.URL.Query())
	if err != nil {
		return err
	}
	var x reply
	if err := readJSON(w, r, maxReply, &x); err != nil {
		return err
	}
	if data.Key == "" || x.Key != data.Key || len(x.Signature) != len(c.Signature) {
		return cityid.Errorf(cityid.ErrSignature, "the signature is not by the key that was asked for")
	}
	if err := keys.Verify([]byte(x.Key), c.Message(), x.Signature); err != nil {
		return cityid.Errorf(cityid.ErrSignature, "%v", err)
	}
	copy(c.Signature[:], x.Signature)
	id, err := pg.drawCertificate(data, c)
	if err != nil {
		return err
	}
	if id == 0 {
		return cityid.Errorf(cityid.ErrInvalid, "%s", pg.Errors[0].Text)
	}
	return pg.json(w, r, map[string]string{"next": pg.URL("/labels/runs/", strconv.FormatInt(id, 10), "?new=1")})
}

// drawCertificate draws a certificate that holds, and returns the number of its
// print run; or 0, with what is wrong beside its field.
func (pg *page) drawCertificate(data *certificateData, c label.Certificate) (int64, error) {
	candidates, err := pg.candidates(c.Code)
	if err != nil {
		return 0, err
	}
	found := label.Check(c, candidates, cityid.TimeOf(time.Now()))
	if found.Verdict != label.Valid && found.Verdict != label.NotYetValid {
		pg.refuseField("text", pg.T("labels.certificate.refused."+found.Verdict.String()))
		return 0, nil
	}
	items, holder, problems, err := pg.labelItems([]cityid.Code{c.Code}, data.Lang)
	if err != nil {
		return 0, err
	}
	if len(problems) > 0 {
		pg.refuseField("code", problems[0])
		return 0, nil
	}
	items[0].Certificate = &c
	o := office.PrintOptions{Template: data.Template, Lang: data.Lang, Title: data.Heading, Contact: data.Contact}
	id, err := pg.makeRun(office.PrintRun{Holder: holder, Creator: pg.Key(), Options: o}, items, "")
	if trouble := new(layoutError); errors.As(err, &trouble) {
		pg.refuseField("heading", trouble.Error())
		return 0, nil
	}
	return id, err
}
