// SPDX-License-Identifier: Apache-2.0

package portal

import (
	"encoding/json"
	"errors"
	"net/http"
	"slices"

	"cityid"
	"cityid/internal/describe"
	"cityid/internal/office"
)

// checkData is the last look before handing in.
type checkData struct {
	*draft
	Allocation *cityid.Allocation
	Words      []describe.Line
	Place      *placement
	Map        *drawing
	Evidence   []cityid.Digest
	Expected   string
	Days       int
	AtOnce     bool // an intake key brings it onto the chain at once
	Officers   []officerName
}

// checkPage shows everything as it will be handed in.
func (p *portal) checkPage(w http.ResponseWriter, r *http.Request, pg *page, d *draft) error {
	return pg.showCheck(w, r, http.StatusOK, d)
}

func (pg *page) showCheck(w http.ResponseWriter, r *http.Request, status int, d *draft) error {
	x, err := pg.examine(d)
	if err != nil {
		return err
	}
	if !x.ready() {
		http.Redirect(w, r, pg.URL("/apply/draft"), http.StatusSeeOther)
		return nil
	}
	a := d.allocation()
	data := &checkData{
		draft: d, Allocation: &a, Words: describe.Allocation(pg.Lang, &a), Place: x.place, Map: pg.mark(a.Content.Location, a.Content.Names.Get(pg.Lang)),
		Evidence: d.evidence(), AtOnce: pg.Intake != nil, Days: serviceDays(&x.settings.Params), Officers: d.contact().Officers,
	}
	if data.Days > 0 {
		data.Expected = pg.Day(addWorkdays(x.settings.AsOf.Time, data.Days))
	}
	pg.Title = pg.T("apply.task.check")
	return pg.render(w, r, status, "apply_check", data)
}

// maxContactOctets bounds what the office keeps of an applicant.
const maxContactOctets = 4 << 10

// contact is what the institution keeps of the applicant.
func (d *draft) contact() applicantContact {
	c := d.Contact
	c.Officers, c.Documents = nil, nil
	for _, o := range d.Officers {
		c.Officers = append(c.Officers, officerName{o.Name, o.Staff})
	}
	return c
}

// contactText is the contact as the office stores it. What does not fit is left
// out: the names of the documents are in the documents as well.
func (d *draft) contactText() ([]byte, error) {
	c := d.contact()
	short, err := json.Marshal(&c)
	if err != nil {
		return nil, err
	}
	for _, x := range d.Documents {
		c.Documents = append(c.Documents, documentName{x.Name, x.Size})
	}
	full, err := json.Marshal(&c)
	if err != nil || len(full) <= maxContactOctets {
		return full, err
	}
	if len(short) > maxContactOctets {
		return nil, cityid.Errorf(cityid.ErrTooLarge, "the names of the officers are too long together")
	}
	return short, nil
}

// handIn hands the draft in: documents are encrypted to every seat that reviews
// them, and the application waits here until an intake key brings it onto the
// chain. All of it happens, or nothing.
func (p *portal) handIn(w http.ResponseWriter, r *http.Request, pg *page, d *draft) error {
	if err := parseForm(w, r); err != nil {
		return err
	}
	if value(r, "sure") == "" {
		pg.refuseField("sure", pg.T("apply.check.sure.none"))
		return pg.showCheck(w, r, http.StatusUnprocessableEntity, d)
	}
	if err := pg.Limits.Application(r); err != nil {
		return err
	}
	x, err := pg.examine(d)
	if err != nil {
		return err
	}
	if !x.ready() {
		http.Redirect(w, r, pg.URL("/apply/draft"), http.StatusSeeOther)
		return nil
	}
	apply := d.apply(x.chain)
	files, err := pg.sealDocuments(d, x.place.Reviewing)
	if err != nil {
		return err
	}
	if d.Revises != nil {
		return pg.handInRevision(w, r, d, &apply, files)
	}
	contact, err := d.contactText()
	if err != nil {
		return err
	}
	reference, err := p.Office.Receive(r.Context(), office.Submission{
		Apply: apply, Contact: contact, Evidence: files, Draft: d.resume, Revision: d.stored.Revision,
	})
	if errors.Is(err, office.ErrConflict) {
		if again, aerr := p.openDraft(r, d.resume); aerr == nil && again.stored.Reference != "" {
			return pg.handedIn(w, r, again.stored.Reference) // the button was pressed twice
		}
	}
	if err != nil {
		return officeError(err)
	}
	if a, err := p.Office.Application(r.Context(), reference); err != nil {
		return officeError(err)
	} else if err := p.bringNow(r.Context(), &a); err != nil {
		p.Log.Info("an application waits", "reference", reference) // the status page says why
	}
	return pg.handedIn(w, r, reference)
}

// sealDocuments encrypts the documents of a draft to the seats that review it.
func (pg *page) sealDocuments(d *draft, v *reviewing) ([]office.EvidenceFile, error) {
	var out []office.EvidenceFile
	readers := v.keys()
	for _, x := range d.Documents {
		if len(readers) == 0 {
			return nil, cityid.Errorf(cityid.ErrUnsupported, "none of those who decide has published a key to encrypt documents to")
		}
		doc, err := pg.Office.Attachment(pg.ctx, d.resume, x.File)
		if err != nil {
			return nil, officeError(err)
		}
		envelope, digest, err := office.SealEvidence(readers, doc)
		if err != nil {
			return nil, officeError(err)
		}
		file, err := pg.Office.PutBytes(pg.ctx, envelope)
		if err != nil {
			return nil, officeError(err)
		}
		out = append(out, office.EvidenceFile{Digest: digest, File: file})
	}
	return out, nil
}

// handInRevision has the applicant's officers sign a changed application, which
// then takes the place of the one on the chain.
func (pg *page) handInRevision(w http.ResponseWriter, r *http.Request, d *draft, apply *cityid.Apply, files []office.EvidenceFile) error {
	now, err := pg.Source.Proposal(r.Context(), d.Revises.Proposal)
	if err != nil {
		return err
	}
	if !now.State.Open() || !now.Proposal.Application() {
		return cityid.Errorf(cityid.ErrClosed, "application %d is decided: it can not be changed any more", now.Proposal.Number)
	}
	for _, f := range files {
		envelope, err := pg.Office.ReadFile(r.Context(), f.File, office.MaxEnvelope)
		if err != nil {
			return officeError(err)
		}
		if err := pg.Office.StoreEvidence(r.Context(), f.Digest, "", envelope); err != nil {
			return officeError(err)
		}
	}
	before := &now.Proposal.Operations[0].Allocate.Items[0]
	op := cityid.Operation{Revise: &cityid.Revise{Proposal: now.Proposal.Number, Revision: now.Proposal.Revision, Apply: apply}}
	title := pg.T("apply.revise.title", now.Proposal.Number, apply.Allocation.Code)
	return pg.signBy(w, r, title, pg.URL("/apply/status/", d.Revises.Reference), pg.whoSigns(before.Policy), op)
}

// whoSigns proposes which keys sign for a policy: the visitor's if it stands
// there, and others up to the threshold, those that can sign at this portal first.
func (pg *page) whoSigns(p *cityid.Policy) []cityid.PublicKey {
	var out []cityid.PublicKey
	here := func(k cityid.PublicKey) int {
		switch {
		case k == pg.Key():
			return 0
		case pg.testKeyName(k) != "" || k.RPID() == pg.rpID():
			return 1
		}
		return 2
	}
	for i := range p.Members {
		var best cityid.PublicKey
		for _, k := range p.Members[i].Keys {
			if k.Roles&cityid.RoleControl != 0 && (best == "" || here(k.Public) < here(best)) {
				best = k.Public
			}
		}
		if best != "" {
			out = append(out, best)
		}
	}
	slices.SortStableFunc(out, func(a, b cityid.PublicKey) int { return here(a) - here(b) })
	return out[:min(len(out), int(p.Threshold))]
}
