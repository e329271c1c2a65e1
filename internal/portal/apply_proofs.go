// SPDX-License-Identifier: Apache-2.0

package portal

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"slices"

	"cityid"
	"cityid/internal/describe"
	"cityid/keys"
)

// proofsData is who has proved and who has not.
type proofsData struct {
	Rows    []proofRow
	Ready   bool // all have
	Name    string
	Code    cityid.Code
	Void    bool // proofs were made, and the policy has changed since
	Command string
	Words   []describe.Line
}

// proofRow is a key that must prove that it is held.
type proofRow struct {
	Key     cityid.PublicKey
	Text    string
	Officer string
	Proven  bool
	Digest  string // what it signs
	Passkey bool   // of this host
	Origin  string // where a passkey of another host is used; "": none
	TestKey string
}

// proofsPage asks each key for a proof.
func (p *portal) proofsPage(w http.ResponseWriter, r *http.Request, pg *page, d *draft) error {
	return pg.showProofs(w, r, http.StatusOK, d)
}

func (pg *page) showProofs(w http.ResponseWriter, r *http.Request, status int, d *draft) error {
	x, err := pg.examine(d)
	if err != nil {
		return err
	}
	if !x.code || !x.officers {
		http.Redirect(w, r, pg.URL("/apply/draft"), http.StatusSeeOther)
		return nil
	}
	a := d.allocation()
	proven := d.possessions(x.chain)
	data := &proofsData{Ready: x.proofs, Code: a.Code, Void: len(proven) == 0 && len(d.Proofs) > 0, Words: describe.Policy(pg.Lang, a.Policy)}
	data.Name = applicationName(a.Code)
	data.Command = "cityid application prove " + data.Name + " --key NAME"
	data.Rows = pg.proofRows(x.chain, &a, proven)
	for i := range data.Rows {
		data.Rows[i].Officer = d.officerOf(data.Rows[i].Key)
	}
	pg.Path, pg.Title = "/apply/draft/proofs", pg.T("apply.task.proofs")
	return pg.render(w, r, status, "apply_proofs", data)
}

// applicationName is what the file with an application is called.
func applicationName(code cityid.Code) string { return "cityid-" + code.String() + ".json" }

// proofAdd takes a proof made in the browser.
func (p *portal) proofAdd(w http.ResponseWriter, r *http.Request, pg *page, d *draft) error {
	if err := pg.Limits.Visit(r); err != nil {
		return err
	}
	var x reply
	if err := readJSON(w, r, maxReply, &x); err != nil {
		return err
	}
	settings, err := p.Source.Settings(r.Context())
	if err != nil {
		return err
	}
	a := d.allocation()
	for _, k := range a.Policy.SigningKeys() {
		sig, err := pg.signature(&x, cityid.PossessionDigest(settings.AsOf.Chain, a.Code, a.Policy, k))
		if err == nil && sig.Key == k {
			d.prove(cityid.Possession{Key: k, Signature: sig.Signature})
			if err := d.save(pg); err != nil {
				return err
			}
			return pg.json(w, r, map[string]string{"next": pg.URL("/apply/draft/proofs")})
		}
	}
	return errNoProof
}

// draftFile hands out the draft as the file that the command reads.
func (p *portal) draftFile(w http.ResponseWriter, r *http.Request, pg *page, d *draft) error {
	settings, err := p.Source.Settings(r.Context())
	if err != nil {
		return err
	}
	return writeApplicationFile(w, d.file(settings.AsOf.Chain))
}

func (d *draft) file(chain string) *cityid.ApplicationFile {
	f := &cityid.ApplicationFile{Version: cityid.ApplicationFileVersion, Chain: chain, Apply: d.apply(chain)}
	if f.Apply.Possessions == nil {
		f.Apply.Possessions = []cityid.Possession{}
	}
	if d.File != nil {
		f.Evidence = d.File.Evidence
		return f
	}
	for _, x := range d.Documents {
		f.Evidence = append(f.Evidence, cityid.EvidenceName{Name: x.Name, Salt: x.Salt})
	}
	return f
}

// readApplicationFile reads an application file from the field "file" of a form.
// What is no such file is refused beside the field, and then it is nil.
func (pg *page) readApplicationFile(r *http.Request) (*cityid.ApplicationFile, error) {
	parts, err := r.MultipartReader()
	if err != nil {
		return nil, cityid.Errorf(cityid.ErrMalformed, "want a form with a file")
	}
	for {
		part, err := parts.NextPart()
		if errors.Is(err, io.EOF) {
			pg.refuseField("file", pg.T("apply.file.none"))
			return nil, nil
		}
		if err != nil {
			return nil, uploadError(err)
		}
		if part.FormName() != "file" || part.FileName() == "" {
			continue
		}
		b, err := io.ReadAll(io.LimitReader(part, maxApplicationFile+1))
		if err != nil {
			return nil, uploadError(err)
		}
		f, err := parseApplicationFile(b)
		if err != nil {
			pg.refuseField("file", pg.T("apply.file.wrong"))
		}
		return f, nil
	}
}

func parseApplicationFile(b []byte) (*cityid.ApplicationFile, error) {
	if len(b) > maxApplicationFile {
		return nil, errors.New("too large")
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	f := new(cityid.ApplicationFile)
	if err := d.Decode(f); err != nil {
		return nil, err
	}
	a := &f.Apply.Allocation
	switch {
	case d.More() || f.Version != cityid.ApplicationFileVersion:
		return nil, errors.New("something follows, or another version")
	case a.Code.IsZero() || a.Policy == nil || a.Policy.Check() != nil || a.Content.Check() != nil || cityid.CheckAliases(a.Aliases) != nil:
		return nil, errors.New("not an application for a code with its first policy")
	case len(f.Evidence) != len(f.Apply.Evidence) || len(f.Evidence) > cityid.MaxEvidence || len(f.Apply.Possessions) > cityid.MaxMembers*cityid.MaxKeys:
		return nil, errors.New("the documents do not belong to the digests")
	case len(cityid.MustMarshal(&f.Apply)) > cityid.MaxTx:
		return nil, errors.New("too large for a transaction")
	}
	for _, e := range f.Evidence {
		if cityid.CheckText("document", e.Name, true) != nil {
			return nil, errors.New("the name of a document")
		}
	}
	return f, nil
}

// draftUpload takes the application file back, with the proofs that were added
// elsewhere.
func (p *portal) draftUpload(w http.ResponseWriter, r *http.Request, pg *page, d *draft) error {
	if err := pg.Limits.Upload(r); err != nil {
		return err
	}
	f, err := pg.readApplicationFile(r)
	if err != nil {
		return err
	}
	settings, err := p.Source.Settings(r.Context())
	if err != nil {
		return err
	}
	if f != nil {
		mine := d.allocation()
		before := len(d.possessions(settings.AsOf.Chain))
		if !bytes.Equal(cityid.MustMarshal(&mine), cityid.MustMarshal(&f.Apply.Allocation)) || f.Chain != settings.AsOf.Chain {
			pg.refuseField("file", pg.T("apply.proofs.other"))
		} else {
			for _, x := range f.Apply.Possessions {
				digest := cityid.PossessionDigest(f.Chain, mine.Code, mine.Policy, x.Key)
				if slices.Contains(mine.Policy.SigningKeys(), x.Key) && keys.Verify([]byte(x.Key), digest[:], x.Signature) == nil {
					d.prove(x)
				}
			}
			if len(d.possessions(settings.AsOf.Chain)) == before {
				pg.refuseField("file", pg.T("apply.proofs.nonew"))
			}
		}
	}
	if len(pg.Errors) > 0 {
		return pg.showProofs(w, r, http.StatusUnprocessableEntity, d)
	}
	if err := d.save(pg); err != nil {
		return err
	}
	http.Redirect(w, r, pg.URL("/apply/draft/proofs"), http.StatusSeeOther)
	return nil
}

// applyFile begins a draft of an application file that was made with the
// command.
func (p *portal) applyFile(w http.ResponseWriter, r *http.Request, pg *page) error {
	if err := pg.Limits.Upload(r); err != nil {
		return err
	}
	f, err := pg.readApplicationFile(r)
	if err != nil {
		return err
	}
	settings, err := p.Source.Settings(r.Context())
	if err != nil {
		return err
	}
	if f != nil && f.Chain != settings.AsOf.Chain {
		pg.refuseField("file", pg.T("apply.file.chain", f.Chain, settings.AsOf.Chain))
	}
	if len(pg.Errors) > 0 {
		return pg.showApply(w, r, http.StatusUnprocessableEntity, &applyData{})
	}
	c := draftContent{File: f}
	if err := draftFits(&c); err != nil {
		return err
	}
	return pg.newDraft(w, r, c)
}

// draftFits refuses a file that is too large for a draft.
func draftFits(c *draftContent) error {
	b, err := json.Marshal(c)
	if err == nil && len(b) > maxDraftFile {
		err = cityid.Errorf(cityid.ErrTooLarge, "an application of %d octets: hand it in with cityid application submit", len(b))
	}
	return err
}

// maxDraftFile leaves room in a draft for what is added to an uploaded file.
const maxDraftFile = 128 << 10
