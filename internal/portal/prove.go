// SPDX-License-Identifier: Apache-2.0

package portal

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"

	"cityid"
	"cityid/internal/describe"
	"cityid/keys"
)

// Officers of one applicant hold passkeys of several portals, since no policy of
// several can be met by those of one. So an application that is written at one
// portal goes to another as a file: there an officer makes a passkey, and later
// proves it. Nothing is kept here; the page carries the file.

// proveData is the page for officers of applications that are written elsewhere.
type proveData struct {
	File  string // the application, as it is to go back; "": none yet
	Name  string
	Code  cityid.Code
	Names cityid.Names
	Words []describe.Line
	Rows  []proofRow
	RPID  string
	Done  bool // every key has proved
}

// provePage makes a passkey, and asks for an application.
func (p *portal) provePage(w http.ResponseWriter, r *http.Request, pg *page) error {
	return pg.showProve(w, r, http.StatusOK, nil)
}

func (pg *page) showProve(w http.ResponseWriter, r *http.Request, status int, f *cityid.ApplicationFile) error {
	data := &proveData{RPID: pg.rpID()}
	if f != nil {
		a := &f.Apply.Allocation
		b, err := json.Marshal(f)
		if err != nil {
			return err
		}
		data.File, data.Name, data.Code, data.Names = string(b), applicationName(a.Code), a.Code, a.Content.Names
		data.Words = describe.Allocation(pg.Lang, a)
		data.Rows = pg.proofRows(f.Chain, a, f.Apply.Possessions)
		data.Done = !slices.ContainsFunc(data.Rows, func(x proofRow) bool { return !x.Proven })
	}
	pg.Path, pg.Title = "/prove", pg.T("apply.prove.title")
	return pg.render(w, r, status, "apply_prove", data)
}

// proofRows lists the keys of the policy applied for, and which have proved.
func (pg *page) proofRows(chain string, a *cityid.Allocation, proven []cityid.Possession) []proofRow {
	var out []proofRow
	for _, k := range a.Policy.SigningKeys() {
		digest := cityid.PossessionDigest(chain, a.Code, a.Policy, k)
		row := proofRow{Key: k, Text: describe.Key(pg.Lang, k), TestKey: pg.testKeyName(k), Digest: digest.String()}
		row.Proven = slices.ContainsFunc(proven, func(x cityid.Possession) bool {
			return x.Key == k && keys.Verify([]byte(k), digest[:], x.Signature) == nil
		})
		if public, err := keys.ParsePublic([]byte(k)); err == nil && public.RPID() != "" {
			if row.Passkey = public.RPID() == pg.rpID(); !row.Passkey {
				row.Origin = public.Origin()
			}
		}
		out = append(out, row)
	}
	return out
}

// proveOpen shows an uploaded application and who has to prove.
func (p *portal) proveOpen(w http.ResponseWriter, r *http.Request, pg *page) error {
	if err := pg.Limits.Upload(r); err != nil {
		return err
	}
	f, err := pg.readApplicationFile(r)
	if err != nil {
		return err
	}
	return pg.proveChecked(w, r, f)
}

// proveChecked shows an application if it is one for this chain.
func (pg *page) proveChecked(w http.ResponseWriter, r *http.Request, f *cityid.ApplicationFile) error {
	if f != nil {
		settings, err := pg.Source.Settings(r.Context())
		if err != nil {
			return err
		}
		if f.Chain != settings.AsOf.Chain {
			pg.refuseField("file", pg.T("apply.file.chain", fmt.Sprintf("%.60q", f.Chain), settings.AsOf.Chain))
			f = nil
		}
	}
	status := http.StatusOK
	if len(pg.Errors) > 0 {
		status = http.StatusUnprocessableEntity
	}
	return pg.showProve(w, r, status, f)
}

// carried reads the application that the page carries.
func carried(w http.ResponseWriter, r *http.Request) (*cityid.ApplicationFile, error) {
	r.Body = http.MaxBytesReader(w, r.Body, 4*maxApplicationFile)
	if err := r.ParseForm(); err != nil {
		return nil, cityid.Errorf(cityid.ErrMalformed, "%v", err)
	}
	f, err := parseApplicationFile([]byte(r.PostForm.Get("application")))
	if err != nil {
		return nil, cityid.Errorf(cityid.ErrMalformed, "application: %v", err)
	}
	return f, nil
}

// proveSign adds a proof that was made in the browser.
func (p *portal) proveSign(w http.ResponseWriter, r *http.Request, pg *page) error {
	if err := pg.Limits.Visit(r); err != nil {
		return err
	}
	f, err := carried(w, r)
	if err != nil {
		return err
	}
	var x reply
	if err := json.Unmarshal([]byte(r.PostForm.Get("reply")), &x); err != nil {
		return cityid.Errorf(cityid.ErrMalformed, "signature: %v", err)
	}
	a := &f.Apply.Allocation
	for _, k := range a.Policy.SigningKeys() {
		sig, err := pg.signature(&x, cityid.PossessionDigest(f.Chain, a.Code, a.Policy, k))
		if err != nil || sig.Key != k {
			continue
		}
		f.Prove(cityid.Possession{Key: k, Signature: sig.Signature})
		return pg.proveChecked(w, r, f)
	}
	return errNoProof
}

var errNoProof = cityid.Errorf(cityid.ErrSignature, "that is no proof by a key of this policy: load the page again, and choose the officer's own key")

// proveFile hands the application out, with the proofs it has.
func (p *portal) proveFile(w http.ResponseWriter, r *http.Request, pg *page) error {
	f, err := carried(w, r)
	if err != nil {
		return err
	}
	return writeApplicationFile(w, f)
}

func writeApplicationFile(w http.ResponseWriter, f *cityid.ApplicationFile) error {
	b, err := json.MarshalIndent(f, "", "  ")
	if err != nil {
		return err
	}
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Content-Disposition", fmt.Sprintf("attachment; filename=%q", applicationName(f.Apply.Allocation.Code)))
	h.Set("Cache-Control", "no-store")
	_, err = w.Write(append(b, '\n'))
	return ignoreWrite(err)
}
