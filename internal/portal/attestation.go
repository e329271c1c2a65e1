// SPDX-License-Identifier: Apache-2.0

package portal

import (
	"encoding/hex"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"cityid"
)

// attestationData is what the page of an attestation shows.
type attestationData struct {
	Source cityid.Code
	Digest cityid.Digest
	Name   place
	*cityid.Attestation
	Key     string // fingerprint of the key that signed
	Holder  place  // whose policy the key stands in
	At      time.Time
	Taken   time.Time // when it was withdrawn
	From    time.Time // of a batch
	Until   time.Time
	Proof   string // address of the bundle
	Command string // that vouches for the file, shown where nobody has
	Texts   map[string]string
}

// attestationURL returns the address of an attestation's page.
func (pg *page) attestationURL(source cityid.Code, d cityid.Digest) string {
	return pg.URL("/attestation?source=", url.QueryEscape(source.String()), "&digest=", d.String())
}

// attestationPage shows who vouched for some bytes, and what that proves.
func (p *portal) attestationPage(w http.ResponseWriter, r *http.Request, pg *page) error {
	q := r.URL.Query()
	source, err := cityid.Parse(q.Get("source"))
	if err != nil {
		return cityid.Errorf(cityid.ErrMalformed, "source: %v", err)
	}
	digest, err := cityid.ParseDigest(q.Get("digest"))
	if err != nil {
		return cityid.Errorf(cityid.ErrMalformed, "%v", err)
	}
	data := &attestationData{Source: source, Digest: digest, Texts: map[string]string{}}
	for key, text := range pg.texts[pg.Lang] {
		if name, ok := strings.CutPrefix(key, "attestation.js."); ok {
			data.Texts[name] = text
		}
	}
	if data.Name, err = pg.placeAt(source); err != nil {
		return err
	}
	status := http.StatusOK
	data.Attestation, err = pg.Source.Attestation(pg.ctx, source, digest)
	switch {
	case errors.Is(err, cityid.ErrNotFound):
		status = http.StatusNotFound
	case err != nil:
		return err
	default:
		if err := pg.attestationFacts(data); err != nil {
			return err
		}
	}
	pg.Title = pg.T("attestation.title")
	return pg.render(w, r, status, "attestation", data)
}

// attestationFacts looks up what the page shows of an attestation.
func (pg *page) attestationFacts(data *attestationData) error {
	a := data.Attestation
	data.Key, data.At = keyText(a.Key), a.Changed.Time.Std()
	if a.Withdrawn != 0 {
		data.Taken = a.Withdrawn.Std()
	}
	if a.Leaves != 0 && a.Until != 0 {
		data.From, data.Until = a.From.Std(), a.Until.Std()
	}
	// The proof has the attestation, and the records by which its key can be told.
	keys := [][]byte{cityid.AttestationKey(a.Source, a.Digest)}
	for code := a.Source; !code.IsZero() && len(keys) < 16; {
		record, err := pg.Source.Record(pg.ctx, code)
		if errors.Is(err, cityid.ErrNotFound) {
			break
		}
		if err != nil {
			return err
		}
		keys = append(keys, cityid.RecordKey(code))
		if record.Record.Policy != nil {
			data.Holder = pg.placeOf(&record.Record)
			break
		}
		code = record.Record.Parent
	}
	slices.SortFunc(keys, slices.Compare)
	list := make([]string, len(keys))
	for i, k := range keys {
		list[i] = hex.EncodeToString(k)
	}
	data.Proof = "/v1/entries?from=1&keys=" + strings.Join(list, ",")
	return nil
}

// vouchedShown is how many attestations a page of the list has.
const vouchedShown = 25

// vouchedList is part of what a code vouched for, in order of the digests.
type vouchedList struct {
	Rows []vouchedRow
	Next string
}

type vouchedRow struct {
	cityid.Attestation
	URL string
	At  time.Time
}

// codeVouched looks whether a code vouched for anything, and lists it where that
// is what the page is to show.
func (pg *page) codeVouched(r *http.Request, data *codeData) error {
	q := cityid.AttestationQuery{Source: data.Record.Code, Limit: 1}
	if data.View == "vouched" {
		q.Limit = vouchedShown
		if err := q.After.UnmarshalText([]byte(r.URL.Query().Get("after"))); err != nil {
			return cityid.Errorf(cityid.ErrMalformed, "after: %v", err)
		}
	}
	page, err := pg.Source.Attestations(pg.ctx, q)
	if err != nil || len(page.Attestations) == 0 {
		return err
	}
	data.Vouched = &vouchedList{}
	for _, a := range page.Attestations {
		data.Vouched.Rows = append(data.Vouched.Rows, vouchedRow{a, pg.attestationURL(a.Source, a.Digest), a.Changed.Time.Std()})
	}
	if !page.Next.IsZero() && data.View == "vouched" {
		data.Vouched.Next = address(r, "after", page.Next.String())
	}
	return nil
}

// Config is what the page's script needs.
func (d *attestationData) Config() any {
	return map[string]any{"digest": d.Digest, "texts": d.Texts}
}

// attestationScreens are the pages about what sources vouched for.
func (p *portal) attestationScreens() map[string]endpoint {
	return map[string]endpoint{"GET /attestation": p.attestationPage}
}
