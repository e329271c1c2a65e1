// SPDX-License-Identifier: Apache-2.0

package cityid

import "bytes"

// TrustPower is a validator in a trust statement.
type TrustPower struct {
	Key   PublicKey `cbor:"1,keyasint" json:"key"` // ed25519
	Power int64     `cbor:"2,keyasint" json:"power"`
}

// before reports whether p stands before q in a header's validator set: by
// power from the highest, then by address, which is the first 20 octets of the
// SHA-256 of the key without its algorithm byte.
func (p TrustPower) before(q TrustPower) bool {
	if p.Power != q.Power {
		return p.Power > q.Power
	}
	a, b := hashOf([]byte(p.Key[1:])), hashOf([]byte(q.Key[1:]))
	return bytes.Compare(a[:20], b[:20]) < 0
}

// TrustStatement says what a verifier may rely on for one zone: its chain, a
// header, the validators that sign from there on, and the quorum that signs
// the next version. Version 1 follows from the genesis file alone: height 0,
// no header, the genesis time and validators.
type TrustStatement struct {
	Version    uint32       `cbor:"1,keyasint" json:"version"`
	Zone       Code         `cbor:"2,keyasint" json:"zone"` // the apex
	Chain      string       `cbor:"3,keyasint" json:"chain"`
	Height     uint64       `cbor:"4,keyasint" json:"height"`
	Header     Digest       `cbor:"5,keyasint,omitzero" json:"header,omitzero"` // hash of the header at Height
	Time       Time         `cbor:"6,keyasint" json:"time"`                     // of that header, or of genesis
	Validators []TrustPower `cbor:"7,keyasint" json:"validators"`               // of the next height, in canonical order
	Quorum     Quorum       `cbor:"8,keyasint" json:"quorum"`                   // the apex policy, resolved
	Prev       Digest       `cbor:"9,keyasint,omitzero" json:"prev,omitzero"`   // hash of the statement before; zero in version 1
}

// Hash returns the SHA-256 of the statement's encoding. It is what people
// compare when they pin a trust root.
func (s *TrustStatement) Hash() Digest { return hashOf(MustMarshal(s)) }

// SigningDigest is what the quorum of the version before signs:
// SHA-256("cityid/trust/1" || encoding).
func (s *TrustStatement) SigningDigest() Digest {
	return hashOf(append([]byte("cityid/trust/1"), MustMarshal(s)...))
}

// Check bounds the statement's fields.
func (s *TrustStatement) Check() error {
	switch {
	case s.Version < 1 || s.Zone.IsZero() || !ValidChainID(s.Chain) || s.Time <= 0 || !s.Time.Valid():
		return Errorf(ErrInvalid, "trust statement: version, zone, chain and time must be given")
	case (s.Height == 0) != s.Header.IsZero() || (s.Version == 1) != s.Prev.IsZero():
		return Errorf(ErrInvalid, "trust statement: a height goes with a header, and a version after the first with the hash of the one before")
	case len(s.Validators) < 1 || len(s.Validators) > MaxValidators:
		return Errorf(ErrInvalid, "trust statement: want 1 to %d validators", MaxValidators)
	}
	for i, v := range s.Validators {
		if v.Key.Algorithm() != "ed25519" || len(v.Key) != 33 || v.Power < 1 || v.Power > MaxPower {
			return Errorf(ErrInvalid, "trust statement: validator %s: want an ed25519 key and a power of 1 to %d", v.Key, MaxPower)
		}
		if i > 0 && !s.Validators[i-1].before(v) {
			return Errorf(ErrInvalid, "trust statement: validators must be in canonical order, each once: by power from the highest, then by address")
		}
	}
	return s.Quorum.Check()
}

// Limits on validators.
const (
	MaxValidators = 100       // validators of a zone
	MaxPower      = 1_000_000 // power of one validator
)

// KeySignature is a signature and the key that made it.
type KeySignature struct {
	Key       PublicKey `cbor:"1,keyasint" json:"key"`
	Signature Bytes     `cbor:"2,keyasint" json:"signature"`
}

// Trust is a trust statement with the signatures of the quorum of the version
// before it, in byte order of the keys. Version 1 has none: it is pinned by its
// hash.
type Trust struct {
	Statement  TrustStatement `cbor:"1,keyasint" json:"statement"`
	Signatures []KeySignature `cbor:"2,keyasint,omitempty" json:"signatures,omitempty"`
}

// VerifySuccessor reports whether next is the version after t: numbered so,
// of the same zone and chain, naming t's hash, not older, and signed by t's
// quorum. Every signature must be by a key of that quorum and valid under
// verify, which is the rule of package keys.
func (t *Trust) VerifySuccessor(next *Trust, verify func(pub, msg, sig []byte) error) error {
	a, b := &t.Statement, &next.Statement
	if err := b.Check(); err != nil {
		return err
	}
	if b.Version != a.Version+1 || b.Zone != a.Zone || b.Chain != a.Chain || b.Prev != a.Hash() || b.Time < a.Time || b.Height < a.Height {
		return Errorf(ErrConflict, "trust root version %d of %s does not follow version %d of %s", b.Version, b.Zone, a.Version, a.Zone)
	}
	if len(next.Signatures) > MaxSigners {
		return Errorf(ErrTooLarge, "trust root version %d: %d signatures: at most %d", b.Version, len(next.Signatures), MaxSigners)
	}
	d := b.SigningDigest()
	signed := KeySet{}
	for i, s := range next.Signatures {
		if i > 0 && next.Signatures[i-1].Key >= s.Key {
			return Errorf(ErrMalformed, "trust root version %d: signatures must be in byte order of their keys", b.Version)
		}
		if !a.Quorum.Has(s.Key) {
			return Errorf(ErrNotPermitted, "trust root version %d: %s is not of the quorum of version %d", b.Version, s.Key, a.Version)
		}
		if err := verify([]byte(s.Key), d[:], s.Signature); err != nil {
			return Errorf(ErrSignature, "trust root version %d: signature by %s: %v", b.Version, s.Key, err)
		}
		signed[s.Key] = true
	}
	if !a.Quorum.Met(signed) {
		return Errorf(ErrNotPermitted, "trust root version %d is not signed by the quorum of version %d", b.Version, a.Version)
	}
	return nil
}
