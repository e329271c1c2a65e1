// SPDX-License-Identifier: Apache-2.0

package office

import (
	"bytes"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"cityid"
	"cityid/keys"
)

// A purpose envelope is an age file (age-encryption.org/v1, binary) for the
// x25519 keys of those who decide about a dataset. In it is a [Purpose] in the
// deterministic CBOR of the registry. The terms that were asked for hold
// [Purpose.Digest], so whoever decides knows that nothing else was told to
// anybody, and nobody else can test a guess. The length of an envelope tells the
// length of what was written.

// Limits on purposes.
const (
	MaxPurposeText     = 4000     // characters
	MaxPurposeBasis    = 500      // characters
	MaxPurposeEnvelope = 64 << 10 // octets
)

const purposeFormat = "cityid/purpose/1"

// Purpose is what a consumer tells the holder of a dataset about a request.
type Purpose struct {
	Format string        `cbor:"1,keyasint" json:"format"`                   // "cityid/purpose/1"; set by the office
	Salt   cityid.Digest `cbor:"2,keyasint" json:"salt"`                     // 32 random bytes; never zero
	Text   string        `cbor:"3,keyasint" json:"text"`                     // what the data are needed for, in one or several lines
	Basis  string        `cbor:"4,keyasint,omitempty" json:"basis,omitzero"` // the legal basis, in one line; may be empty
}

// NewPurpose returns a purpose with a fresh salt. The error is [ErrInvalid] or
// [ErrTooLarge] for texts that no purpose may hold: see [FoldPurpose].
func NewPurpose(text, basis string) (Purpose, error) {
	p := Purpose{Format: purposeFormat, Salt: cityid.Digest(random(32)), Text: text, Basis: basis}
	return p, p.Check()
}

// Digest is what terms name of the purpose: [cityid.PurposeDigest] of the text,
// or of the text, a zero octet and the legal basis.
func (p *Purpose) Digest() cityid.Digest {
	if p.Basis == "" {
		return cityid.PurposeDigest(p.Salt, p.Text)
	}
	return cityid.PurposeDigest(p.Salt, p.Text+"\x00"+p.Basis)
}

// FoldPurpose writes a text of several lines, as somebody typed it, in the one
// form that a purpose holds: lines end with a line feed alone and without
// blanks, tabs are blanks, there are no empty lines at the ends, and letters are
// in Unicode normal form C.
func FoldPurpose(typed string) string {
	typed = strings.NewReplacer("\r\n", "\n", "\r", "\n", "\t", " ").Replace(typed)
	lines := strings.Split(typed, "\n")
	for i := range lines {
		lines[i] = strings.TrimRightFunc(lines[i], unicode.IsSpace)
	}
	return norm.NFC.String(strings.TrimSpace(strings.Join(lines, "\n")))
}

// Check reports the first thing that is wrong with a purpose: the error is
// [ErrInvalid] or [ErrTooLarge].
func (p *Purpose) Check() error {
	switch {
	case p.Format != purposeFormat:
		return fmt.Errorf("purpose: format %.40q, want %q: %w", p.Format, purposeFormat, ErrInvalid)
	case p.Salt.IsZero():
		return fmt.Errorf("purpose: no salt: %w", ErrInvalid)
	case p.Text == "":
		return fmt.Errorf("purpose: it is empty: %w", ErrInvalid)
	case strings.Contains(p.Basis, "\n"):
		return fmt.Errorf("purpose: the legal basis has several lines: %w", ErrInvalid)
	}
	if err := checkLines("the text", p.Text, MaxPurposeText); err != nil {
		return err
	}
	return checkLines("the legal basis", p.Basis, MaxPurposeBasis)
}

func checkLines(what, s string, most int) error {
	if n := utf8.RuneCountInString(s); n > most {
		return fmt.Errorf("purpose: %s has %d characters, at most %d: %w", what, n, most, ErrTooLarge)
	}
	if !utf8.ValidString(s) || FoldPurpose(s) != s {
		return fmt.Errorf("purpose: %s is not UTF-8 in normal form C, or has blanks at the ends of lines: %w", what, ErrInvalid)
	}
	for _, c := range s {
		if c != '\n' && unicode.In(c, unicode.C, unicode.Zl, unicode.Zp) {
			return fmt.Errorf("purpose: %s contains the control character %U: %w", what, c, ErrInvalid)
		}
	}
	return nil
}

// decodePurpose reads what is in an envelope.
func decodePurpose(plain []byte) (p Purpose, err error) {
	if err = cityid.Unmarshal(plain, &p); err == nil {
		err = p.Check()
	}
	if err == nil && !bytes.Equal(cityid.MustMarshal(&p), plain) {
		err = fmt.Errorf("another encoding than the one there is: %w", ErrInvalid)
	}
	if err != nil {
		return Purpose{}, fmt.Errorf("purpose: %w: %w", ErrDamaged, err)
	}
	return p, nil
}

// SealPurpose encrypts a purpose for the x25519 keys of those who decide, 1 to 64
// of them. The error is [ErrInvalid] or [ErrTooLarge] for a purpose that can not
// be, or a bad key.
func SealPurpose(readers []cityid.PublicKey, p Purpose) ([]byte, error) {
	if len(readers) < 1 || len(readers) > maxReviewers {
		return nil, fmt.Errorf("purpose for %d keys, want 1 to %d: %w", len(readers), maxReviewers, ErrInvalid)
	}
	if err := p.Check(); err != nil {
		return nil, err
	}
	envelope, err := sealAge(readers, cityid.MustMarshal(&p))
	if err != nil {
		return nil, fmt.Errorf("seal purpose: %w", err)
	}
	return envelope, nil
}

// OpenPurpose opens an envelope with the x25519 key of a reader, and compares it
// with the digest in the terms. The error is [ErrKey] if the envelope is not for
// that key, and [ErrDamaged] if it is no envelope, was changed, or holds another
// purpose than the terms name.
func OpenPurpose(reader *keys.Private, envelope []byte, digest cityid.Digest) (Purpose, error) {
	identity, err := reader.AgeIdentity()
	if err != nil {
		return Purpose{}, fmt.Errorf("open purpose: %w: %w", ErrKey, err)
	}
	if len(envelope) > MaxPurposeEnvelope {
		return Purpose{}, fmt.Errorf("open purpose: an envelope of %d bytes: %w", len(envelope), ErrDamaged)
	}
	plain, err := openAge(envelope, identity)
	if err != nil {
		return Purpose{}, fmt.Errorf("open purpose: %w", err)
	}
	p, err := decodePurpose(plain)
	if err != nil {
		return Purpose{}, err
	}
	if got := p.Digest(); got != digest {
		return Purpose{}, fmt.Errorf("open purpose: it has digest %s, the terms name %s: %w", got, digest, ErrDamaged)
	}
	return p, nil
}
