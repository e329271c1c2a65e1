// SPDX-License-Identifier: Apache-2.0

package portal

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"

	"cityid"
	"cityid/internal/office"
	"cityid/internal/web"
)

// maxDocuments bounds the documents of one application together, in octets.
const maxDocuments = 64 << 20

// uploadingAtOnce is how many visitors hand in documents at a time, a quarter of
// them from one address: each has one document in memory.
const uploadingAtOnce = 24

// evidenceData is the list of documents.
type evidenceData struct {
	*draft
	Want     int      // least number
	Room     int      // how many more there may be
	Readers  []place  // whose keys the documents will be encrypted to
	Mute     []place  // seats without such a key
	Nobody   bool     // nobody could open them: none are taken
	Missing  []string // names that an application file gives and that are not here
	MaxBytes int
}

// evidencePage lists the documents, and takes more.
func (p *portal) evidencePage(w http.ResponseWriter, r *http.Request, pg *page, d *draft) error {
	return pg.showEvidence(w, r, http.StatusOK, d)
}

func (pg *page) showEvidence(w http.ResponseWriter, r *http.Request, status int, d *draft) error {
	x, err := pg.examine(d)
	if err != nil {
		return err
	}
	data := &evidenceData{draft: d, Room: office.MaxAttachments - len(d.evidence()), MaxBytes: office.MaxDocument >> 20}
	if rule := x.settings.Rule.ForKind(d.allocation().Kind); rule != nil {
		data.Want = int(rule.Evidence)
	}
	if x.place != nil && x.place.Reviewing != nil {
		for i, s := range x.place.Reviewing.Seats {
			if len(s.Keys) > 0 {
				data.Readers = append(data.Readers, x.place.Seats[i])
			} else {
				data.Mute = append(data.Mute, x.place.Seats[i])
			}
		}
		data.Nobody = len(data.Readers) == 0
	}
	if d.File != nil {
		data.Room = len(d.File.Evidence) - len(d.Documents)
		for _, e := range d.File.Evidence {
			if !slices.ContainsFunc(d.Documents, func(o draftDocument) bool { return o.Salt == e.Salt }) {
				data.Missing = append(data.Missing, e.Name)
			}
		}
	}
	pg.Title = pg.T("apply.task.evidence")
	return pg.render(w, r, status, "apply_evidence", data)
}

// evidenceAdd takes documents, one after the other, so that no more than one of
// them is in memory. What is no document is refused beside the field, and those
// before it are kept.
func (p *portal) evidenceAdd(w http.ResponseWriter, r *http.Request, pg *page, d *draft) error {
	parts, err := r.MultipartReader()
	if err != nil {
		return cityid.Errorf(cityid.ErrMalformed, "want a form with files")
	}
	release, err := p.uploading.Take(web.ClientAddr(r))
	if err != nil {
		return err
	}
	defer release()
	added := 0
	for {
		part, err := parts.NextPart()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return uploadError(err)
		}
		if part.FormName() != "file" || part.FileName() == "" {
			continue
		}
		if err := pg.Limits.Upload(r); err != nil {
			return errors.Join(err, d.save(pg))
		}
		ok, err := pg.attach(d, part)
		if err != nil {
			return err
		}
		if ok {
			added++
		}
	}
	if added > 0 {
		if err := d.save(pg); err != nil {
			return err
		}
	} else if len(pg.Errors) == 0 {
		pg.refuseField("file", pg.T("apply.evidence.nofile"))
	}
	if len(pg.Errors) > 0 {
		return pg.showEvidence(w, r, http.StatusUnprocessableEntity, d)
	}
	http.Redirect(w, r, pg.URL("/apply/draft/evidence"), http.StatusSeeOther)
	return nil
}

func uploadError(err error) error {
	if large := new(http.MaxBytesError); errors.As(err, &large) {
		return cityid.Errorf(cityid.ErrTooLarge, "the files together have more than %d octets", large.Limit)
	}
	return cityid.Errorf(cityid.ErrMalformed, "the upload is not complete")
}

// attach adds an uploaded document to the draft.
func (pg *page) attach(d *draft, part *multipart.Part) (bool, error) {
	b, err := io.ReadAll(io.LimitReader(part, office.MaxDocument+1))
	if err != nil {
		return false, uploadError(err)
	}
	name := fileName(part.FileName(), len(d.Documents)+1)
	total := len(b)
	for _, x := range d.Documents {
		total += x.Size
	}
	media, err := office.CheckDocument(b)
	switch {
	case len(b) > office.MaxDocument:
		pg.refuseField("file", pg.T("apply.evidence.toolarge", name, office.MaxDocument>>20))
	case errors.Is(err, office.ErrTooLarge):
		pg.refuseField("file", pg.T("apply.evidence.pixels", name))
	case err != nil:
		pg.refuseField("file", pg.T("apply.evidence.wrong", name))
	case len(d.Documents) >= office.MaxAttachments || len(d.evidence()) >= cityid.MaxEvidence && d.File == nil:
		pg.refuseField("file", pg.T("apply.evidence.toomany", name, office.MaxAttachments))
	case total > maxDocuments:
		pg.refuseField("file", pg.T("apply.evidence.together", name, maxDocuments>>20))
	default:
		return pg.store(d, b, name, media)
	}
	return false, nil
}

func (pg *page) store(d *draft, b []byte, name, media string) (bool, error) {
	x := draftDocument{Name: name, Size: len(b), Media: media}
	rand.Read(x.Salt[:]) // never fails
	if d.File != nil {
		// The application names its documents already: this is one of them.
		i := slices.IndexFunc(d.File.Evidence, func(e cityid.EvidenceName) bool {
			return slices.Contains(d.File.Apply.Evidence, cityid.EvidenceDigest(e.Salt, b))
		})
		if i < 0 {
			pg.refuseField("file", pg.T("apply.evidence.foreign", name))
			return false, nil
		}
		x.Salt = d.File.Evidence[i].Salt
	}
	x.Digest = cityid.EvidenceDigest(x.Salt, b)
	if slices.ContainsFunc(d.Documents, func(o draftDocument) bool { return o.Digest == x.Digest }) {
		return false, nil // it is here
	}
	var err error
	x.File, err = pg.Office.Attach(pg.ctx, d.resume, office.EvidenceDocument{Salt: x.Salt, Name: name, Document: b})
	if errors.Is(err, office.ErrFull) {
		pg.refuseField("file", pg.T("apply.evidence.full", name))
		return false, nil
	}
	if err != nil {
		return false, officeError(err)
	}
	d.Documents = append(d.Documents, x)
	return true, nil
}

// fileName returns the name of an uploaded file without its path, or another
// one if it can not be shown as it is.
func fileName(given string, n int) string {
	name := strings.TrimSpace(path.Base(strings.ReplaceAll(given, "\\", "/")))
	if cityid.CheckText("file name", name, true) != nil || len(name) > 120 || name == "/" || strings.ContainsRune("=+-@.", rune(name[0])) {
		return "document-" + strconv.Itoa(n)
	}
	return name
}

// document finds the document that a form or address names.
func (d *draft) document(text string) (int, error) {
	digest, err := cityid.ParseDigest(text)
	if err != nil {
		return 0, errNoPage
	}
	i := slices.IndexFunc(d.Documents, func(x draftDocument) bool { return x.File == digest })
	if i < 0 {
		return 0, errNoPage
	}
	return i, nil
}

// evidenceRemove takes a document away.
func (p *portal) evidenceRemove(w http.ResponseWriter, r *http.Request, pg *page, d *draft) error {
	if err := parseForm(w, r); err != nil {
		return err
	}
	if s := value(r, "kept"); s != "" && d.Revises != nil {
		d.Revises.Evidence = slices.DeleteFunc(d.Revises.Evidence, func(x cityid.Digest) bool { return x.String() == s })
	} else {
		i, err := d.document(value(r, "document"))
		if err != nil {
			return err
		}
		if err := p.Office.Detach(r.Context(), d.resume, d.Documents[i].File); err != nil && !errors.Is(err, office.ErrNotFound) {
			return officeError(err)
		}
		d.Documents = slices.Delete(d.Documents, i, i+1)
	}
	if err := d.save(pg); err != nil {
		return err
	}
	http.Redirect(w, r, pg.URL("/apply/draft/evidence"), http.StatusSeeOther)
	return nil
}

// evidenceGet hands a document back to the one who is writing the draft. It is
// never shown within the pages of this host.
func (p *portal) evidenceGet(w http.ResponseWriter, r *http.Request, pg *page, d *draft) error {
	i, err := d.document(r.PathValue("document"))
	if err != nil {
		return err
	}
	doc, err := p.Office.Attachment(r.Context(), d.resume, d.Documents[i].File)
	if err != nil {
		return officeError(err)
	}
	h := w.Header()
	h.Set("Content-Type", doc.Media)
	h.Set("Content-Disposition", "attachment; filename*=UTF-8''"+url.PathEscape(doc.Name))
	h.Set("Content-Security-Policy", "sandbox; default-src 'none'")
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Length", fmt.Sprint(len(doc.Document)))
	_, err = w.Write(doc.Document)
	return ignoreWrite(err)
}

// Megabytes writes a size for people.
func (pg *page) Megabytes(n int) string {
	if n < 1<<20 {
		return strconv.Itoa((n+1023)>>10) + " KB"
	}
	return strconv.FormatFloat(float64(n)/(1<<20), 'f', 1, 64) + " MB"
}
