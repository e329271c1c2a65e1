// SPDX-License-Identifier: Apache-2.0

package label

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"math/big"
	"strings"

	"cityid"
	"cityid/keys"
)

const (
	sourceTag     = "cityid/source/1"
	sourceVersion = 1

	// maxMarkDigits is how many digits the mark of the longest code has.
	maxMarkDigits = 648
	// maxStatement is how many octets the statement in it has.
	maxStatement = 205

	// markDrift is how many seconds the clock of a source may run ahead of a
	// checker's.
	markDrift = 300
)

// Nonce is 16 octets by which two source marks about the same bytes differ.
type Nonce [16]byte

// SourceMark is a signed statement of a source that it vouched, at Time by its
// own clock, for the bytes with a digest; or, without a digest, that it is who
// Code names: a device plate. The package comment defines its text; nothing in
// it is to be believed before [CheckSource].
type SourceMark struct {
	Code      cityid.Code
	Digest    cityid.Digest // SHA-256 of the bytes; zero on a device plate
	Time      cityid.Time   // when it was signed, by the signer's word
	Nonce     Nonce         // not zero
	KeyID     KeyID
	Expires   cityid.Time // first second at which it no longer counts, after Time; zero: never
	Signature [64]byte
}

// IsPlate reports whether m vouches for no bytes.
func (m SourceMark) IsPlate() bool { return m.Digest.IsZero() }

// sourceStatement is what is signed, in CBOR.
type sourceStatement struct {
	Version uint8         `cbor:"1,keyasint"`
	Code    cityid.Code   `cbor:"2,keyasint"`
	Digest  cityid.Digest `cbor:"3,keyasint,omitzero"`
	Time    cityid.Time   `cbor:"4,keyasint"`
	Nonce   Nonce         `cbor:"5,keyasint"`
	KeyID   KeyID         `cbor:"6,keyasint"`
	Expires cityid.Time   `cbor:"7,keyasint,omitempty"`
}

// Statement returns the octets that the signature is about, from 37 for a plate
// of the shortest code to 205.
func (m SourceMark) Statement() []byte {
	return cityid.MustMarshal(sourceStatement{sourceVersion, m.Code, m.Digest, m.Time, m.Nonce, m.KeyID, m.Expires})
}

// Message returns the 32 octets that are signed.
func (m SourceMark) Message() []byte {
	sum := sha256.Sum256(append([]byte(sourceTag), m.Statement()...))
	return sum[:]
}

// digits returns statement and signature as one decimal number. The first octet
// is that of a CBOR map and never zero, so the number has no leading zeros.
func (m SourceMark) digits() string {
	return new(big.Int).SetBytes(append(m.Statement(), m.Signature[:]...)).String()
}

// ParseSourceMark reads the digits of a source mark, without the address before
// them.
func ParseSourceMark(s string) (SourceMark, error) {
	var m SourceMark
	if len(s) > maxMarkDigits || strings.Trim(s, "0123456789") != "" || s == "" || s[0] == '0' {
		return m, fmt.Errorf("%d characters: want at most %d decimal digits, not beginning with 0, so the text was cut or altered", len(s), maxMarkDigits)
	}
	n, _ := new(big.Int).SetString(s, 10)
	b := n.Bytes()
	at := len(b) - len(m.Signature)
	if at < 3 || b[0]>>5 != 5 || b[1] != 1 {
		return m, errors.New("the number holds no statement, so the text was cut or altered")
	}
	if b[2] != sourceVersion {
		return m, fmt.Errorf("a statement of version %d: this program reads version %d, so use a later program, or the text was altered", b[2], sourceVersion)
	}
	if at > maxStatement {
		return m, fmt.Errorf("a statement of %d octets: at most %d, so the text was altered", at, maxStatement)
	}
	var x sourceStatement
	if err := cityid.Unmarshal(b[:at], &x); err != nil {
		return m, fmt.Errorf("the statement can not be read, so the text was cut or altered: %w", err)
	}
	m = SourceMark{x.Code, x.Digest, x.Time, x.Nonce, x.KeyID, x.Expires, [64]byte(b[at:])}
	if err := m.check(); err != nil {
		return SourceMark{}, err
	}
	return m, nil
}

// check refuses what no source signs.
func (m SourceMark) check() error {
	switch {
	case checkCode(m.Code) != nil:
		return checkCode(m.Code)
	case m.Time <= 0 || !m.Time.Valid() || !m.Expires.Valid():
		return errors.New("a time outside the years 1970 to 9999")
	case m.Nonce == Nonce{}:
		return errors.New("a nonce of zeros: it must be made at random")
	case m.Expires != 0 && m.Expires <= m.Time:
		return fmt.Errorf("expires at %s, not after it is signed at %s", m.Expires, m.Time)
	}
	return nil
}

// SourceURL returns the text of a source mark: upper case, with statement and
// signature as digits. Where it points is not part of what is signed.
func SourceURL(u PublicURL, m SourceMark) (string, error) {
	if u.IsZero() {
		return "", errors.New("source mark: no public URL given, set --public-url")
	}
	if err := m.check(); err != nil {
		return "", fmt.Errorf("source mark for %s: %w", m.Code, err)
	}
	return Payload{Kind: KindSource, Public: u, Code: m.Code, Source: m}.String(), nil
}

// SignSource signs m, whose code, digest, time, nonce and expiry are given; the
// nonce must be random. The key must be an encoded Ed25519 public key of role
// assert in the policy that governs the code; sign returns that key's signature
// over the message it is given. The signature is verified before it is returned.
func SignSource(m SourceMark, key cityid.PublicKey, sign func(message []byte) ([]byte, error)) (SourceMark, error) {
	fail := func(err error) (SourceMark, error) {
		return SourceMark{}, fmt.Errorf("sign source mark for %s: %w", m.Code, err)
	}
	if key.Algorithm() != algorithm {
		return fail(fmt.Errorf("key of algorithm %q: source marks need ed25519", key.Algorithm()))
	}
	m.KeyID = KeyIDOf(key)
	if err := m.check(); err != nil {
		return fail(err)
	}
	message := m.Message()
	signature, err := sign(bytes.Clone(message))
	if err != nil {
		return fail(err)
	}
	if len(signature) != len(m.Signature) {
		return fail(fmt.Errorf("signature of %d octets: want %d", len(signature), len(m.Signature)))
	}
	m.Signature = [64]byte(signature)
	if err := keys.Verify([]byte(key), message, signature); err != nil {
		return fail(fmt.Errorf("the signer's own signature does not verify under the key given: %w", err))
	}
	return m, nil
}

// SourceCandidates returns the keys that may sign source marks for a code: the
// Ed25519 assert keys of the policy that governs it, its own or that of the
// nearest above it that has one. The caller vouches for the records that record
// returns, nil where a code has none; its errors are passed on.
func SourceCandidates(code cityid.Code, record func(cityid.Code) (*cityid.Record, error)) ([]Candidate, error) {
	for range 32 { // codes have no more levels
		r, err := record(code)
		if err != nil || r == nil {
			return nil, err
		}
		if r.Policy != nil || r.Parent.IsZero() {
			return CandidatesOf(r), nil
		}
		code = r.Parent
	}
	return nil, nil
}

// CheckSource judges a source mark at the time now, and whether it is about the
// bytes with the given digest; a zero digest says that no bytes are at hand.
// Candidates are those of [SourceCandidates]; of them count those whose key id
// matches and whose holder is the mark's code or covers it.
//
// Bytes that the mark is not about are [WrongBytes], whoever signed it, and a
// plate is about none. The time is the signer's own word. So a key that is known
// to be compromised decides nothing, even for marks dated before, while one that
// was merely replaced goes on vouching for what it signed while it was in force.
// A time more than five minutes after now is [NotYetValid].
func CheckSource(m SourceMark, candidates []Candidate, digest cityid.Digest, now cityid.Time) Finding {
	if !digest.IsZero() && digest != m.Digest {
		return Finding{Verdict: WrongBytes}
	}
	finding := Finding{Verdict: NoKey}
	message := m.Message()
	for _, k := range candidates {
		if k.Key.Algorithm() != algorithm || KeyIDOf(k.Key) != m.KeyID || k.Holder != m.Code && !k.Holder.Covers(m.Code) {
			continue
		}
		f := Finding{Verdict: BadSignature}
		if keys.Verify([]byte(k.Key), message, m.Signature[:]) == nil {
			f = Finding{Verdict: m.judge(k, digest, now), Holder: k.Holder, Key: k.Key}
		}
		if f.weight() > finding.weight() {
			finding = f
		}
	}
	return finding
}

// judge looks at the times of a mark that key k did sign.
func (m SourceMark) judge(k Candidate, digest cityid.Digest, now cityid.Time) Verdict {
	switch {
	case k.CompromisedSince != 0:
		return Compromised
	case k.NotBefore > m.Time, k.NotAfter != 0 && k.NotAfter <= m.Time:
		return KeyNotInForce
	case now+markDrift < m.Time:
		return NotYetValid
	case m.Expires != 0 && now >= m.Expires:
		return Expired
	case digest != m.Digest:
		return BytesWanted
	}
	return Valid
}
