// SPDX-License-Identifier: Apache-2.0

package office

import (
	"bytes"
	"errors"
	"fmt"
	"image/jpeg"
	"io"
	"regexp"
	"strconv"

	"filippo.io/age"

	"cityid"
	"cityid/keys"
)

// An evidence envelope is an age file (age-encryption.org/v1, binary) for the
// x25519 keys of the seats that review an application. In it is an
// [EvidenceDocument] in the deterministic CBOR of the registry. The chain holds
// [cityid.EvidenceDigest] of its salt and document, so a reviewer knows that the
// document is the one that was applied with, and nobody else can test a guess.
// The length of an envelope tells the length of the document to about 300 bytes.

// Limits on evidence.
const (
	MaxDocument  = 10 << 20 // bytes of a document
	MaxPixels    = 100e6    // of a photograph
	MaxSide      = 30000    // pixels
	maxReviewers = 64       // keys an envelope is for

	// MaxEnvelope bounds an envelope or an encrypted attachment: the document,
	// its description, age's header and its tag for each 64 KiB.
	MaxEnvelope = MaxDocument + 64<<10
)

const evidenceFormat = "cityid/evidence/1"

// The media types of evidence.
const (
	MediaPDF  = "application/pdf"
	MediaJPEG = "image/jpeg"
)

// EvidenceDocument is what is in an evidence envelope.
type EvidenceDocument struct {
	Format   string        `cbor:"1,keyasint" json:"format"` // "cityid/evidence/1"; set by the office
	Salt     cityid.Digest `cbor:"2,keyasint" json:"salt"`   // 32 random bytes; zero: to be made
	Name     string        `cbor:"3,keyasint" json:"name"`   // of the file, for people; not empty
	Media    string        `cbor:"4,keyasint" json:"media"`  // [MediaPDF] or [MediaJPEG]; set by the office
	Document cityid.Bytes  `cbor:"5,keyasint" json:"document"`
}

// Digest is what the chain holds of the document.
func (d *EvidenceDocument) Digest() cityid.Digest { return cityid.EvidenceDigest(d.Salt, d.Document) }

// encodeEvidence checks a document and completes it.
func encodeEvidence(doc EvidenceDocument) ([]byte, EvidenceDocument, error) {
	if err := cityid.CheckText("the name of a document", doc.Name, true); err != nil {
		return nil, doc, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	media, err := CheckDocument(doc.Document)
	if err != nil {
		return nil, doc, err
	}
	if doc.Salt.IsZero() {
		doc.Salt = cityid.Digest(random(32))
	}
	doc.Format, doc.Media = evidenceFormat, media
	return cityid.MustMarshal(&doc), doc, nil
}

// decodeEvidence is the inverse, and checks as much.
func decodeEvidence(plain []byte) (doc EvidenceDocument, digest cityid.Digest, err error) {
	damaged := func(err error) (EvidenceDocument, cityid.Digest, error) {
		return EvidenceDocument{}, cityid.Digest{}, fmt.Errorf("evidence: %w: %w", ErrDamaged, err)
	}
	if err := cityid.Unmarshal(plain, &doc); err != nil {
		return damaged(err)
	}
	again, _, err := encodeEvidence(doc)
	if err != nil {
		return damaged(err)
	}
	if doc.Salt.IsZero() || !bytes.Equal(again, plain) {
		return damaged(fmt.Errorf("format %.40q, media type %.40q, or no salt", doc.Format, doc.Media))
	}
	return doc, doc.Digest(), nil
}

// SealEvidence encrypts a document for the x25519 keys of its reviewers, 1 to 64
// of them, and returns the envelope and the digest that stands on the chain. A
// zero salt is made; format and media type are set. The error is [ErrTooLarge] or
// [ErrInvalid] for a document that [CheckDocument] refuses, a bad name or key.
func SealEvidence(reviewers []cityid.PublicKey, doc EvidenceDocument) (envelope []byte, digest cityid.Digest, err error) {
	if len(reviewers) < 1 || len(reviewers) > maxReviewers {
		return nil, digest, fmt.Errorf("evidence for %d keys, want 1 to %d: %w", len(reviewers), maxReviewers, ErrInvalid)
	}
	plain, doc, err := encodeEvidence(doc)
	if err != nil {
		return nil, digest, err
	}
	envelope, err = sealAge(reviewers, plain)
	if err != nil {
		return nil, digest, fmt.Errorf("seal evidence: %w", err)
	}
	return envelope, doc.Digest(), nil
}

// OpenEvidence opens an envelope with the x25519 key of a reviewer, and compares
// it with the digest on the chain. The error is [ErrKey] if the envelope is not
// for that key, and [ErrDamaged] if it is no envelope, was changed, holds what no
// envelope may, or holds another document than the digest says.
func OpenEvidence(reviewer *keys.Private, envelope []byte, digest cityid.Digest) (EvidenceDocument, error) {
	identity, err := reviewer.AgeIdentity()
	if err != nil {
		return EvidenceDocument{}, fmt.Errorf("open evidence: %w: %w", ErrKey, err)
	}
	plain, err := openAge(envelope, identity)
	if err != nil {
		return EvidenceDocument{}, fmt.Errorf("open evidence: %w", err)
	}
	doc, got, err := decodeEvidence(plain)
	if err != nil {
		return EvidenceDocument{}, err
	}
	if got != digest {
		return EvidenceDocument{}, fmt.Errorf("evidence: the document has digest %s, the application names %s: %w", got, digest, ErrDamaged)
	}
	return doc, nil
}

// sealAge encrypts for x25519 keys. The error is [ErrInvalid] for a key of
// another kind.
func sealAge(readers []cityid.PublicKey, plain []byte) ([]byte, error) {
	var recipients []age.Recipient
	for _, k := range readers {
		p, err := keys.ParsePublic([]byte(k))
		if err != nil {
			return nil, fmt.Errorf("key of a reader: %w: %w", ErrInvalid, err)
		}
		r, err := p.AgeRecipient()
		if err != nil {
			return nil, fmt.Errorf("key of a reader: %w: %w", ErrInvalid, err)
		}
		recipients = append(recipients, r)
	}
	var out bytes.Buffer
	w, err := age.Encrypt(&out, recipients...)
	if err == nil {
		_, err = w.Write(plain)
	}
	if err == nil {
		err = w.Close()
	}
	return out.Bytes(), err
}

func openAge(envelope []byte, identity age.Identity) ([]byte, error) {
	if len(envelope) > MaxEnvelope {
		return nil, fmt.Errorf("an envelope of %d bytes: %w", len(envelope), ErrDamaged)
	}
	r, err := age.Decrypt(bytes.NewReader(envelope), identity)
	if noMatch := new(age.NoIdentityMatchError); errors.As(err, &noMatch) {
		return nil, fmt.Errorf("the envelope is not for this key: %w", ErrKey)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	plain, err := io.ReadAll(r) // no longer than the envelope
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return plain, nil
}

// CheckDocument tells by their content whether bytes are a PDF document or a
// JPEG photograph within the limits, and returns the media type. It looks at the
// outline only and makes nothing safe to open: that the document is harmless and
// says what it should is for its reader to judge.
func CheckDocument(b []byte) (media string, err error) {
	switch {
	case len(b) > MaxDocument:
		return "", fmt.Errorf("a document of %d bytes, at most %d: %w", len(b), MaxDocument, ErrTooLarge)
	case bytes.HasPrefix(b, []byte("%PDF-")):
		return MediaPDF, checkPDF(b)
	case bytes.HasPrefix(b, []byte("\xff\xd8\xff")):
		return MediaJPEG, checkJPEG(b)
	}
	return "", fmt.Errorf("neither a PDF document nor a JPEG photograph: %w", ErrInvalid)
}

var (
	pdfHead    = regexp.MustCompile(`^%PDF-(1\.[0-7]|2\.0)`)
	pdfEnd     = regexp.MustCompile(`startxref\s+(\d{1,10})\s+%%EOF[\s\x00]*$`)
	pdfSection = regexp.MustCompile(`^\s*(xref\s|\d{1,10}\s+\d{1,5}\s+obj)`)
)

// checkPDF wants the first line, and an end that leads to a table of objects.
func checkPDF(b []byte) error {
	end := pdfEnd.FindSubmatch(b[max(0, len(b)-2048):])
	if !pdfHead.Match(b[:min(len(b), 16)]) || end == nil {
		return fmt.Errorf("the PDF document is cut off or damaged: %w", ErrInvalid)
	}
	offset, err := strconv.Atoi(string(end[1]))
	if err != nil || offset >= len(b) || !pdfSection.Match(b[offset:min(len(b), offset+64)]) {
		return fmt.Errorf("the PDF document is damaged: its table of objects is not where it says: %w", ErrInvalid)
	}
	return nil
}

// checkJPEG wants a header with a sane size, and an end of image after it.
func checkJPEG(b []byte) error {
	config, err := jpeg.DecodeConfig(bytes.NewReader(b))
	if err != nil {
		return fmt.Errorf("the JPEG photograph is damaged: %w: %w", ErrInvalid, err)
	}
	if config.Width < 1 || config.Height < 1 || config.Width > MaxSide || config.Height > MaxSide || config.Width*config.Height > MaxPixels {
		return fmt.Errorf("a photograph of %d x %d pixels, at most %d a side and %d together: %w", config.Width, config.Height, MaxSide, int(MaxPixels), ErrTooLarge)
	}
	scan, end := bytes.Index(b, []byte("\xff\xda")), bytes.LastIndex(b, []byte("\xff\xd9"))
	if scan < 0 || end < scan {
		return fmt.Errorf("the JPEG photograph is cut off: %w", ErrInvalid)
	}
	return nil
}
