// SPDX-License-Identifier: Apache-2.0

package cityid

// MaxSealedContent bounds one sealed content as JSON, in octets.
const MaxSealedContent = 64 << 10

// SealDigest returns the digest a sealed record shows for content c under a
// fresh 32-byte salt: SHA-256("cityid/seal/1" || salt || encoding of c).
func SealDigest(salt [32]byte, c Content) Digest {
	b := append([]byte("cityid/seal/1"), salt[:]...)
	return hashOf(append(b, MustMarshal(c)...))
}

// SealedContent is the content of a sealed record, of which the chain holds the
// digest alone. Who holds the code must keep it: it can not be recovered.
type SealedContent struct {
	Code    Code    `json:"code"`
	Salt    Digest  `json:"salt"`
	Content Content `json:"content"`
}

// Digest is what the chain holds.
func (s *SealedContent) Digest() Digest { return SealDigest(s.Salt, s.Content) }

// Opens returns nil if s is the content that record r commits to. The error says
// why not: it is of another code, r is not sealed, or r shows another digest,
// since s was altered or r was sealed anew.
func (s *SealedContent) Opens(r *Record) error {
	switch d := s.Digest(); {
	case s.Code != r.Code:
		return Errorf(ErrInvalid, "the content is of %s, and the record of %s", s.Code, r.Code)
	case r.Sealed.IsZero():
		return Errorf(ErrInvalid, "%s is not sealed: revision %d says what it stands for itself", r.Code, r.Revision)
	case d != r.Sealed:
		return Errorf(ErrInvalid, "revision %d of %s shows the digest %s, and the content with its salt has %s", r.Revision, r.Code, r.Sealed, d)
	}
	return nil
}

// ParseSealedContent parses one sealed content as JSON, at most
// [MaxSealedContent] octets. Unknown and repeated fields, whatever follows, a
// zero code or salt, and content that breaks its rules are errors.
func ParseSealedContent(b []byte) (*SealedContent, error) {
	if len(b) > MaxSealedContent {
		return nil, Errorf(ErrTooLarge, "%d octets: a sealed content has %d at most", len(b), MaxSealedContent)
	}
	s := new(SealedContent)
	if err := DecodeJSON(b, s); err != nil {
		return nil, Errorf(ErrMalformed, "sealed content: %v", err)
	}
	if s.Code.IsZero() || s.Salt.IsZero() {
		return nil, Errorf(ErrMalformed, "a sealed content names its code and its salt")
	}
	if err := s.Content.Check(); err != nil {
		return nil, err
	}
	return s, nil
}
