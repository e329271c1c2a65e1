// SPDX-License-Identifier: Apache-2.0

package portal

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"cityid"
	"cityid/internal/office"
	"cityid/keys"
)

// A draft is an application that a visitor is still writing. The office keeps it
// encrypted under its resume code, which is shown once; until the session ends the
// code also lies in the session's bag, encrypted under the session's token. No
// address names a draft, so nobody can be sent to one, or come upon one.

// What a session's bag holds of applications.
const (
	draftBag   = "draft"     // resume code of the open draft
	freshBag   = "draft-new" // set until the visitor has noted the resume code
	appliedBag = "applied"   // references that this session may look at without being counted
)

// draftContent is a draft as the office keeps it, in JSON.
type draftContent struct {
	Version   int               `json:"version"` // 1
	Kind      cityid.Kind       `json:"kind,omitempty"`
	Names     map[string]string `json:"names,omitempty"`   // by language
	Aliases   map[string]string `json:"aliases,omitempty"` // by scheme
	Lat       string            `json:"lat,omitempty"`
	Lon       string            `json:"lon,omitempty"`
	Code      string            `json:"code,omitempty"`
	Threshold int               `json:"threshold,omitempty"`
	Officers  []draftOfficer    `json:"officers,omitempty"`
	Contact   applicantContact  `json:"contact,omitzero"`

	Documents []draftDocument     `json:"documents,omitempty"`
	Proofs    []cityid.Possession `json:"proofs,omitempty"`

	File    *cityid.ApplicationFile `json:"file,omitempty"`    // an application made elsewhere, which then says what is applied for
	Revises *draftRevises           `json:"revises,omitempty"` // it changes an application that is on the chain
}

// draftOfficer is a member of the first policy. Name and staff number stay off
// the chain.
type draftOfficer struct {
	Name    string           `json:"name"`
	Staff   string           `json:"staff,omitempty"`
	Key     cityid.PublicKey `json:"key"`               // control
	Second  cityid.PublicKey `json:"second,omitempty"`  // control, on another device or host
	Assert  cityid.PublicKey `json:"assert,omitempty"`  // attests
	Encrypt cityid.PublicKey `json:"encrypt,omitempty"` // receives encrypted documents
}

// draftDocument is an attachment.
type draftDocument struct {
	File   cityid.Digest `json:"file"`   // name of the attachment
	Digest cityid.Digest `json:"digest"` // as it will stand on the chain
	Salt   cityid.Digest `json:"salt"`
	Name   string        `json:"name"`
	Size   int           `json:"size"`
	Media  string        `json:"media"`
}

// draftRevises names the application that a draft changes.
type draftRevises struct {
	Reference string          `json:"reference"`
	Proposal  uint64          `json:"proposal"`
	Evidence  []cityid.Digest `json:"evidence,omitempty"` // documents handed in before that still count
}

// maxApplicationFile bounds an application file in octets.
const maxApplicationFile = 2 * cityid.MaxTx

// draft is an open draft.
type draft struct {
	resume string
	stored office.Draft
	draftContent
}

// openDraft opens a draft by its resume code.
func (p *portal) openDraft(r *http.Request, resume string) (*draft, error) {
	stored, err := p.Office.Draft(r.Context(), resume)
	if err != nil {
		return nil, err
	}
	d := &draft{resume: resume, stored: stored}
	if stored.Reference != "" {
		return d, nil
	}
	if err := json.Unmarshal(stored.Content, &d.draftContent); err != nil {
		return nil, fmt.Errorf("draft: %w", err)
	}
	// An attachment that was removed in another window is gone from the list.
	d.Documents = slices.DeleteFunc(d.Documents, func(x draftDocument) bool { return !slices.Contains(stored.Attachments, x.File) })
	return d, nil
}

// save stores what the visitor has changed.
func (d *draft) save(pg *page) error {
	d.Version = 1
	content, err := json.Marshal(&d.draftContent)
	if err != nil {
		return err
	}
	d.stored.Revision, err = pg.Office.SaveDraft(pg.ctx, d.resume, d.stored.Revision, content)
	if errors.Is(err, office.ErrConflict) {
		return cityid.Errorf(cityid.ErrConflict, "the draft was changed in another window: go back to it and enter this again")
	}
	return officeError(err)
}

// applicant puts around e what all pages of applicants have in common.
func (p *portal) applicant(e endpoint) endpoint {
	return func(w http.ResponseWriter, r *http.Request, pg *page) error {
		pg.Private = true
		if p.Office == nil {
			return errNoOffice
		}
		return e(w, r, pg)
	}
}

// drafting puts around e that the session has an open draft. Others are sent to
// where one begins.
func (p *portal) drafting(e func(w http.ResponseWriter, r *http.Request, pg *page, d *draft) error) endpoint {
	return p.applicant(func(w http.ResponseWriter, r *http.Request, pg *page) error {
		resume := ""
		if pg.session != nil {
			resume = pg.session.Bag[draftBag]
		}
		if resume == "" {
			http.Redirect(w, r, pg.URL("/apply"), http.StatusSeeOther)
			return nil
		}
		d, err := p.openDraft(r, resume)
		if errors.Is(err, office.ErrNotFound) || errors.Is(err, office.ErrExpired) {
			if err := pg.forgetDraft(); err != nil {
				return err
			}
			http.Redirect(w, r, pg.URL("/apply"), http.StatusSeeOther)
			return nil
		}
		if err != nil {
			return err
		}
		if d.stored.Reference != "" { // handed in, perhaps in another window
			return pg.handedIn(w, r, d.stored.Reference)
		}
		return e(w, r, pg, d)
	})
}

// keepDraft lets the session go on with a draft. The session of a visitor gets a
// new token, so that one that somebody planted before opens nothing.
func (pg *page) keepDraft(w http.ResponseWriter, r *http.Request, resume string, fresh bool) error {
	s, err := pg.begin(w, r)
	if err != nil {
		return err
	}
	s.Bag[draftBag] = resume
	delete(s.Bag, freshBag)
	if fresh {
		s.Bag[freshBag] = "1"
	}
	if s.Key == "" {
		token, err := pg.Office.Rotate(pg.ctx, s.token, "")
		if err != nil {
			return err
		}
		s.token = token
		pg.setSession(w, token)
	}
	return pg.Office.SetBag(pg.ctx, s.token, s.Bag)
}

// forgetDraft takes the draft out of the session.
func (pg *page) forgetDraft() error {
	if pg.session == nil || pg.session.Bag[draftBag] == "" {
		return nil
	}
	delete(pg.session.Bag, draftBag)
	delete(pg.session.Bag, freshBag)
	return pg.Office.SetBag(pg.ctx, pg.session.token, pg.session.Bag)
}

// maxKnown is how many references a session remembers.
const maxKnown = 20

// knows reports whether the session has looked at an application before.
func (pg *page) knows(reference string) bool {
	return pg.session != nil && slices.Contains(strings.Fields(pg.session.Bag[appliedBag]), reference)
}

// remember lets the session look at an application again without being counted.
func (pg *page) remember(w http.ResponseWriter, r *http.Request, reference string) error {
	s, err := pg.begin(w, r)
	if err != nil || pg.knows(reference) {
		return err
	}
	list := append(strings.Fields(s.Bag[appliedBag]), reference)
	s.Bag[appliedBag] = strings.Join(list[max(0, len(list)-maxKnown):], " ")
	return pg.Office.SetBag(pg.ctx, s.token, s.Bag)
}

// handedIn sends the visitor from a draft to the application it became.
func (pg *page) handedIn(w http.ResponseWriter, r *http.Request, reference string) error {
	if err := pg.forgetDraft(); err != nil {
		return err
	}
	if err := pg.remember(w, r, reference); err != nil {
		return err
	}
	http.Redirect(w, r, pg.URL("/apply/receipt/", reference), http.StatusSeeOther)
	return nil
}

// allocation is what the draft applies for, as far as it is written.
func (d *draft) allocation() cityid.Allocation {
	if d.File != nil {
		return d.File.Apply.Allocation
	}
	a := cityid.Allocation{Kind: d.Kind, Content: cityid.Content{Names: cityid.NamesOf(d.Names)}, Policy: d.policy()}
	a.Code, _ = cityid.ParseCanonical(d.Code)
	a.Content.Location = d.location()
	for scheme, value := range d.Aliases {
		a.Aliases = append(a.Aliases, cityid.Alias{Scheme: scheme, Value: value})
	}
	slices.SortFunc(a.Aliases, func(x, y cityid.Alias) int { return strings.Compare(x.Scheme, y.Scheme) })
	return a
}

// location is where the place lies, or nil.
func (d *draft) location() *cityid.Location {
	if d.File != nil {
		return d.File.Apply.Allocation.Content.Location
	}
	lat, err := cityid.ParseDegrees(d.Lat, 90)
	if err != nil {
		return nil
	}
	lon, err := cityid.ParseDegrees(d.Lon, 180)
	if err != nil {
		return nil
	}
	return &cityid.Location{Lat: lat, Lon: lon}
}

// policy is the first policy, or nil while no officer is named.
func (d *draft) policy() *cityid.Policy {
	if d.File != nil {
		return d.File.Apply.Allocation.Policy
	}
	if len(d.Officers) == 0 {
		return nil
	}
	p := &cityid.Policy{Threshold: uint8(min(max(d.Threshold, 1), len(d.Officers)))}
	for i := range d.Officers {
		p.Members = append(p.Members, cityid.Member{Keys: d.Officers[i].keys()})
	}
	return p
}

func (o *draftOfficer) keys() []cityid.Key {
	var out []cityid.Key
	for _, k := range []cityid.Key{
		{Public: o.Key, Roles: cityid.RoleControl}, {Public: o.Second, Roles: cityid.RoleControl},
		{Public: o.Assert, Roles: cityid.RoleAssert}, {Public: o.Encrypt, Roles: cityid.RoleEncrypt},
	} {
		if k.Public != "" {
			out = append(out, k)
		}
	}
	return out
}

// evidence are the digests of the documents, those handed in before first.
func (d *draft) evidence() []cityid.Digest {
	if d.File != nil {
		return d.File.Apply.Evidence
	}
	var out []cityid.Digest
	if d.Revises != nil {
		out = append(out, d.Revises.Evidence...)
	}
	for _, x := range d.Documents {
		out = append(out, x.Digest)
	}
	return out
}

// possessions returns the proofs that hold for the draft as it stands: a change
// of the code or the policy voids them all.
func (d *draft) possessions(chain string) []cityid.Possession {
	a := d.allocation()
	if a.Policy == nil || a.Code.IsZero() {
		return nil
	}
	list := d.Proofs
	if d.File != nil {
		list = append(slices.Clone(list), d.File.Apply.Possessions...)
	}
	var out []cityid.Possession
	for _, k := range a.Policy.SigningKeys() {
		digest := cityid.PossessionDigest(chain, a.Code, a.Policy, k)
		for _, x := range list {
			if x.Key == k && keys.Verify([]byte(k), digest[:], x.Signature) == nil {
				out = append(out, x)
				break
			}
		}
	}
	return out
}

// prove keeps a proof in the place of an earlier one of the same key.
func (d *draft) prove(x cityid.Possession) {
	d.Proofs = slices.DeleteFunc(d.Proofs, func(o cityid.Possession) bool { return o.Key == x.Key })
	d.Proofs = append(d.Proofs, x)
}

// apply is the application as it would be handed in now.
func (d *draft) apply(chain string) cityid.Apply {
	return cityid.Apply{Allocation: d.allocation(), Possessions: d.possessions(chain), Evidence: d.evidence()}
}

// officerOf returns whose key a key of the policy is.
func (d *draft) officerOf(k cityid.PublicKey) string {
	for _, o := range d.Officers {
		if k == o.Key || k == o.Second || k == o.Assert || k == o.Encrypt {
			return o.Name
		}
	}
	return ""
}
