// SPDX-License-Identifier: Apache-2.0

package portal

import (
	"context"
	"errors"
	"mime"
	"net/http"
	"path"
	"strconv"
	"strings"
	"time"

	"cityid"
	"cityid/internal/office"
)

// Evidence is for those who sign for the institution whose portal this is, and
// for nobody else: to others, and to strangers, there is no page, whether there is
// a document or not. The envelope is opened for each look, with the institution's
// key, and compared with the digest on the chain.

// evidenceView is a document of an application.
type evidenceView struct {
	Digest   string
	Here     bool   // an envelope that opens is here
	Refused  string // why none does
	URL      string
	Name     string
	Size     int
	Photo    bool
	Received time.Time
}

// evidenceList lists the documents a proposal names. What they are is said to the
// desk alone.
func (pg *page) evidenceList(d *proposalData) ([]evidenceView, error) {
	var out []evidenceView
	for _, digest := range d.Proposal.Evidence {
		v := evidenceView{Digest: digest.String()}
		if d.Desk {
			var err error
			if v, err = pg.evidenceView(digest, pg.URL("/review/", d.Number)); err != nil {
				return nil, err
			}
		}
		out = append(out, v)
	}
	return out, nil
}

// evidenceView says what a document is, for the desk; below is the page it belongs
// to.
func (pg *page) evidenceView(digest cityid.Digest, below string) (evidenceView, error) {
	v := evidenceView{Digest: digest.String()}
	doc, received, err := pg.openEvidence(pg.ctx, digest)
	switch {
	case err == nil:
		v.Here, v.Name, v.Size, v.Photo, v.Received = true, doc.Name, len(doc.Document), doc.Media == office.MediaJPEG, received
		v.URL = below + "/evidence/" + v.Digest
	case errors.Is(err, errNoEvidenceKey):
		v.Refused = pg.T("review.evidence.nokey")
	case errors.Is(err, office.ErrKey), errors.Is(err, office.ErrDamaged):
		v.Refused = pg.T("review.evidence.refused")
	case !errors.Is(err, office.ErrNotFound):
		return v, err
	}
	return v, nil
}

var errNoEvidenceKey = errors.New("this portal was started without the key that opens evidence")

// openEvidence opens the first envelope here that holds the document with a digest.
// The error is [office.ErrNotFound] if there is no envelope, and [office.ErrKey] or
// [office.ErrDamaged] if none opens.
func (p *portal) openEvidence(ctx context.Context, digest cityid.Digest) (office.EvidenceDocument, time.Time, error) {
	none := office.EvidenceDocument{}
	list, err := p.Office.EvidenceByDigest(ctx, digest)
	if err != nil {
		return none, time.Time{}, err
	}
	if len(list) == 0 {
		return none, time.Time{}, office.ErrNotFound
	}
	if p.EvidenceKey == nil {
		return none, time.Time{}, errors.Join(office.ErrKey, errNoEvidenceKey)
	}
	var errs []error
	for _, e := range list {
		envelope, err := p.Office.ReadFile(ctx, e.File, office.MaxEnvelope)
		if err != nil {
			return none, time.Time{}, err
		}
		doc, err := office.OpenEvidence(p.EvidenceKey, envelope, digest)
		if err == nil {
			return doc, e.Received, nil
		}
		errs = append(errs, err)
	}
	return none, time.Time{}, errors.Join(errs...)
}

// reviewEvidence hands out a document of a proposal.
func (p *portal) reviewEvidence(w http.ResponseWriter, r *http.Request, pg *page) error {
	n, err := reviewNumber(r)
	if err != nil {
		return errNoPage
	}
	var digest cityid.Digest
	if err := digest.UnmarshalText([]byte(r.PathValue("digest"))); err != nil {
		return errNoPage
	}
	a, err := p.Source.Proposal(r.Context(), n)
	if errors.Is(err, cityid.ErrNotFound) {
		return errNoPage
	}
	if err != nil {
		return err
	}
	named, err := pg.names(a, digest)
	if err != nil {
		return err
	}
	if !named {
		return errNoPage
	}
	return pg.sendEvidence(w, digest)
}

// sendEvidence opens a document and sends it to an officer.
func (pg *page) sendEvidence(w http.ResponseWriter, digest cityid.Digest) error {
	doc, _, err := pg.openEvidence(pg.ctx, digest)
	switch {
	case errors.Is(err, office.ErrNotFound):
		return errNoPage
	case errors.Is(err, office.ErrKey), errors.Is(err, office.ErrDamaged):
		return cityid.Errorf(cityid.ErrConflict, "the document can not be opened: %v", err)
	case err != nil:
		return err
	}
	pg.Log.Info("evidence opened", "digest", digest, "key", pg.Fingerprint(pg.Key()))
	writeDocument(w, &doc)
	return nil
}

// names reports whether a proposal names a document, now or in an earlier
// revision.
func (pg *page) names(a *cityid.ProposalAnswer, digest cityid.Digest) (bool, error) {
	for _, e := range a.Proposal.Evidence {
		if e == digest {
			return true, nil
		}
	}
	steps, err := pg.Office.Steps(pg.ctx, a.Proposal.Number)
	if err != nil {
		return false, err
	}
	for i := range steps {
		for _, e := range steps[i].Evidence {
			if e == digest {
				return true, nil
			}
		}
	}
	return false, nil
}

// writeDocument sends a document that a stranger wrote so that no browser runs
// anything in it as part of this site: PDF documents are saved, photographs are
// shown by an element for images or alone in a sandbox.
func writeDocument(w http.ResponseWriter, doc *office.EvidenceDocument) {
	h := w.Header()
	disposition := "attachment"
	if doc.Media == office.MediaJPEG {
		disposition = "inline"
	}
	h.Set("Content-Type", doc.Media) // one of two that CheckDocument found in the bytes
	h.Set("Content-Length", strconv.Itoa(len(doc.Document)))
	h.Set("Content-Disposition", mime.FormatMediaType(disposition, map[string]string{"filename": savedName(doc)}))
	h.Set("Content-Security-Policy", "default-src 'none'; sandbox; frame-ancestors 'none'")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Cache-Control", "no-store")
	_, _ = w.Write(doc.Document) // whoever left needs no answer
}

// savedName is a document's name as a file may be called: the applicant wrote
// it, so it names no folder and has the ending of what it is.
func savedName(doc *office.EvidenceDocument) string {
	name := path.Base(strings.Map(func(r rune) rune {
		if strings.ContainsRune(`\/:*?"<>|`, r) || r < ' ' {
			return '_'
		}
		return r
	}, doc.Name))
	ending := map[string]string{office.MediaPDF: ".pdf", office.MediaJPEG: ".jpg"}[doc.Media]
	if i := strings.LastIndexByte(name, '.'); i > 0 {
		name = name[:i]
	}
	return strings.TrimLeft(name, ".") + ending
}
