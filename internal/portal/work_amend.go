// SPDX-License-Identifier: Apache-2.0

package portal

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"

	"cityid"
)

// workAmend is what the form for names, location and documents shows.
type workAmend struct {
	*workAt
	Form   workForm
	CRS    []string
	Coarse bool
	Others cityid.Names // names in other languages, which stay
}

// amending prepares the form; what it begins with is the record.
func (pg *page) amending(at *workAt, f workForm) *workAmend {
	data := &workAmend{workAt: at, Form: f, CRS: coordinateSystems}
	data.Coarse = at.Code().Item() != "" && at.Rule.Rule.DisclosureOf(at.Code().Class()) == cityid.DisclosureCoarse
	for _, n := range at.Record.Content.Names {
		if n.Lang != "zh" && n.Lang != "en" {
			data.Others = append(data.Others, n)
		}
	}
	return data
}

// mayAmend answers with a refusal unless the visitor may take part in changing
// what the record says.
func (pg *page) mayAmend(w http.ResponseWriter, r *http.Request, at *workAt) (bool, error) {
	if ok, err := pg.mayWork(w, r, at); !ok || err != nil {
		return false, err
	}
	if !at.Record.Sealed.IsZero() {
		return false, pg.refuseWork(w, r, at, at.Code(), pg.T("work.refused.sealed"))
	}
	return true, nil
}

func (p *portal) workAmend(w http.ResponseWriter, r *http.Request, pg *page, at *workAt) error {
	if ok, err := pg.mayAmend(w, r, at); !ok || err != nil {
		return err
	}
	c, f := &at.Record.Content, workForm{url.Values{}}
	f.Set("revision", fmtRevision(at.Record.Revision))
	for _, lang := range []string{"zh", "en"} {
		if c.Names.Has(lang) {
			f.Set("name-"+lang, c.Names.Get(lang))
		}
	}
	if c.Location != nil {
		lat, lon, err := degreesOf(*c.Location)
		if err != nil {
			return err
		}
		f.Set("lat", lat)
		f.Set("lon", lon)
	}
	return pg.showAmend(w, r, http.StatusOK, pg.amending(at, f))
}

// degreesOf writes a location in degrees.
func degreesOf(l cityid.Location) (lat, lon string, err error) {
	b, err := json.Marshal(l)
	if err != nil {
		return "", "", err
	}
	var d struct{ Lat, Lon json.Number }
	err = json.Unmarshal(b, &d)
	return d.Lat.String(), d.Lon.String(), err
}

func (pg *page) showAmend(w http.ResponseWriter, r *http.Request, status int, data *workAmend) error {
	pg.Title = pg.T("work.amend.title", data.Name)
	return pg.render(w, r, status, "work_amend", data)
}

func (p *portal) workAmendSend(w http.ResponseWriter, r *http.Request, pg *page, at *workAt) error {
	if ok, err := pg.mayAmend(w, r, at); !ok || err != nil {
		return err
	}
	data := pg.amending(at, formOf(r))
	again := func(status int) error {
		data.Form.Set("revision", fmtRevision(at.Record.Revision))
		return pg.showAmend(w, r, status, data)
	}
	if pg.stale(at, data.Form) {
		return again(http.StatusConflict)
	}
	content, err := pg.amended(r, data)
	if err != nil {
		return err
	}
	if len(pg.Errors) > 0 {
		return again(http.StatusUnprocessableEntity)
	}
	return pg.signAmend(w, r, at, content, at.URL, data.Form.Text("note"))
}

// amended returns the content that the form asks for. Links and hosts stay.
func (pg *page) amended(r *http.Request, data *workAmend) (cityid.Content, error) {
	f, c := data.Form, data.Record.Content
	var languages []string
	if k := data.Rule.Rule.ForKind(data.Record.Kind); k != nil {
		languages = k.Languages
	}
	c.Names = pg.namesFrom(f, c.Names, languages)
	c.Location = pg.locationFrom(f, data.Coarse)
	c.Documents = nil
	for i, d := range data.Record.Content.Documents {
		if !f.Has("remove", strconv.Itoa(i)) {
			c.Documents = append(c.Documents, d)
		}
	}
	added, err := pg.documentFrom(r, f)
	if err != nil {
		return c, err
	}
	if added != nil {
		c.Documents = append(c.Documents, *added)
	}
	pg.checkNote(f)
	if len(pg.Errors) > 0 {
		return c, nil
	}
	if err := c.Check(); err != nil {
		pg.refuseField("", pg.refusal(err))
	} else if string(cityid.MustMarshal(c)) == string(cityid.MustMarshal(data.Record.Content)) {
		pg.refuseField("", pg.T("work.amend.same"))
	}
	return c, nil
}

// documentFrom reads a document to commit to: as a file, which is hashed and
// not kept, or by its digest.
func (pg *page) documentFrom(r *http.Request, f workForm) (*cityid.Document, error) {
	d := cityid.Document{Label: f.Text("document-label")}
	file, header, err := r.FormFile("document-file")
	switch {
	case err == nil:
		defer file.Close()
		h := sha256.New()
		if _, err := io.Copy(h, file); err != nil {
			return nil, cityid.Errorf(cityid.ErrMalformed, "%v", err)
		}
		d.Digest = cityid.Digest(h.Sum(nil))
		if d.Label == "" {
			d.Label = header.Filename
		}
	case !errors.Is(err, http.ErrMissingFile) && !errors.Is(err, http.ErrNotMultipart):
		return nil, cityid.Errorf(cityid.ErrMalformed, "%v", err)
	case f.Text("document-digest") != "":
		if d.Digest, err = cityid.ParseDigest(f.Text("document-digest")); err != nil {
			pg.refuseField("document-digest", pg.T("work.document.digest.bad"))
		}
	case d.Label == "":
		return nil, nil
	default:
		pg.refuseField("document-file", pg.T("work.document.none"))
	}
	if err := cityid.CheckText("document label", d.Label, true); err != nil {
		pg.refuseField("document-label", pg.refusal(err))
	}
	return &d, nil
}

// signAmend has a record's new content signed.
func (pg *page) signAmend(w http.ResponseWriter, r *http.Request, at *workAt, c cityid.Content, next, note string) error {
	op := cityid.Operation{Amend: &cityid.Amend{Code: at.Code(), Revision: at.Record.Revision, Content: c}}
	ops, err := pg.decideAll([]cityid.Code{at.Code()}, note, op)
	if err != nil {
		return err
	}
	return pg.sign(w, r, pg.T("work.amend.sign", at.Name), next, ops...)
}

// aliasScheme returns a scheme by name, or nil.
func (at *workAt) aliasScheme(name string) *cityid.Scheme {
	i := slices.IndexFunc(at.Rule.Schemes, func(s cityid.Scheme) bool { return s.Name == name })
	if i < 0 {
		return nil
	}
	return &at.Rule.Schemes[i]
}
