// SPDX-License-Identifier: Apache-2.0

package label

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"time"

	"cityid"
	"cityid/keys"
)

const (
	signTag  = "cityid/label/1"
	keyTag   = "cityid/label/key/1"
	envelope = 72  // octets
	digits   = 174 // decimal digits that hold 72 octets

	algorithm = "ed25519"
)

// Day is a day in UTC, counted from 2020-01-01, up to 2199-06-06.
type Day uint16

// dayZero is 2020-01-01 00:00 UTC.
const dayZero cityid.Time = 1577836800

const secondsPerDay = 86400

// DayOf returns the day that holds t.
func DayOf(t cityid.Time) (Day, error) {
	n := (t - dayZero) / secondsPerDay
	if t < dayZero || n > 0xffff {
		return 0, fmt.Errorf("time %s: labels know the days 2020-01-01 to 2199-06-06", t)
	}
	return Day(n), nil
}

// ParseDay parses a date such as "2026-11-20".
func ParseDay(s string) (Day, error) {
	t, err := time.Parse(time.DateOnly, s)
	if err != nil {
		return 0, fmt.Errorf("date %.40q: want year-month-day, such as 2026-11-20", s)
	}
	return DayOf(cityid.TimeOf(t))
}

// Start returns the first second of the day.
func (d Day) Start() cityid.Time { return dayZero + cityid.Time(d)*secondsPerDay }

// end returns the first second after the day.
func (d Day) end() cityid.Time { return d.Start() + secondsPerDay }

// String returns the date, such as "2026-11-20".
func (d Day) String() string { return d.Start().Std().Format(time.DateOnly) }

// KeyID is a hint at a public key: short, so a match proves nothing.
type KeyID [4]byte

// String returns eight hexadecimal digits.
func (id KeyID) String() string { return hex.EncodeToString(id[:]) }

// KeyIDOf returns the key id of a public key.
func KeyIDOf(key cityid.PublicKey) KeyID {
	sum := sha256.Sum256([]byte(keyTag + string(key)))
	return KeyID(sum[:4])
}

// Certificate is a signed statement that its signer, on the day of issue,
// vouched for a label of Code. The package comment defines its text; nothing
// in it is to be believed before [Check].
type Certificate struct {
	Code      cityid.Code
	KeyID     KeyID
	Issued    Day // first day of validity
	Expires   Day // last day of validity, not before Issued
	Signature [64]byte
}

// Message returns the 32 octets that are signed.
func (c Certificate) Message() []byte {
	code := c.Code.String() // at most 120 octets
	b := append([]byte(signTag), byte(len(code)))
	b = append(b, code...)
	b = append(b, c.KeyID[:]...)
	b = binary.BigEndian.AppendUint16(b, uint16(c.Issued))
	b = binary.BigEndian.AppendUint16(b, uint16(c.Expires))
	sum := sha256.Sum256(b)
	return sum[:]
}

// digits returns the envelope as decimal digits.
func (c Certificate) digits() string {
	b := make([]byte, 0, envelope)
	b = append(b, c.KeyID[:]...)
	b = binary.BigEndian.AppendUint16(b, uint16(c.Issued))
	b = binary.BigEndian.AppendUint16(b, uint16(c.Expires))
	b = append(b, c.Signature[:]...)
	return fmt.Sprintf("%0*s", digits, new(big.Int).SetBytes(b))
}

// parseDigits reads an envelope.
func parseDigits(code cityid.Code, s string) (Certificate, error) {
	if len(s) != digits || strings.Trim(s, "0123456789") != "" {
		return Certificate{}, fmt.Errorf("signature of %d characters: want %d decimal digits, so the text was cut or altered", len(s), digits)
	}
	n, ok := new(big.Int).SetString(s, 10)
	if !ok || n.BitLen() > envelope*8 {
		return Certificate{}, fmt.Errorf("signature number is above %d bits, so the text was altered", envelope*8)
	}
	b := n.FillBytes(make([]byte, envelope))
	c := Certificate{
		Code:      code,
		KeyID:     KeyID(b[:4]),
		Issued:    Day(binary.BigEndian.Uint16(b[4:])),
		Expires:   Day(binary.BigEndian.Uint16(b[6:])),
		Signature: [64]byte(b[8:]),
	}
	return c, c.checkDates()
}

func (c Certificate) checkDates() error {
	if c.Expires < c.Issued {
		return fmt.Errorf("expires on %s, before it is issued on %s", c.Expires, c.Issued)
	}
	return nil
}

// CertificateURL returns the text of a certificate: upper case, with the
// signature as digits. Where it points is not part of what is signed.
func CertificateURL(u PublicURL, c Certificate) (string, error) {
	if u.IsZero() {
		return "", errors.New("certificate: no public URL given, set --public-url")
	}
	if err := checkCode(c.Code); err != nil {
		return "", fmt.Errorf("certificate: %w", err)
	}
	if err := c.checkDates(); err != nil {
		return "", fmt.Errorf("certificate for %s: %w", c.Code, err)
	}
	return Payload{Kind: KindCertificate, Public: u, Code: c.Code, Certificate: c}.String(), nil
}

// Sign makes a certificate for code, valid from the day issued to the day
// expires, both included. The key must be an encoded Ed25519 public key of
// role assert, held by code or by one of its ancestors; sign returns that
// key's signature over the message it is given. The signature is verified
// before it is returned, so nothing unverifiable is printed.
func Sign(code cityid.Code, issued, expires Day, key cityid.PublicKey, sign func(message []byte) ([]byte, error)) (Certificate, error) {
	fail := func(err error) (Certificate, error) {
		return Certificate{}, fmt.Errorf("sign certificate for %s: %w", code, err)
	}
	if err := checkCode(code); err != nil {
		return fail(err)
	}
	if key.Algorithm() != algorithm {
		return fail(fmt.Errorf("key of algorithm %q: certificates need ed25519", key.Algorithm()))
	}
	c := Certificate{Code: code, KeyID: KeyIDOf(key), Issued: issued, Expires: expires}
	if err := c.checkDates(); err != nil {
		return fail(err)
	}
	message := c.Message()
	signature, err := sign(bytes.Clone(message))
	if err != nil {
		return fail(err)
	}
	if len(signature) != len(c.Signature) {
		return fail(fmt.Errorf("signature of %d octets: want %d", len(signature), len(c.Signature)))
	}
	copy(c.Signature[:], signature)
	if err := keys.Verify([]byte(key), message, signature); err != nil {
		return fail(fmt.Errorf("the signer's own signature does not verify under the key given: %w", err))
	}
	return c, nil
}

// Candidate is a public key of role assert that a record is known to hold or
// to have held. The caller vouches for every field, usually from a proven
// record and its history.
type Candidate struct {
	Holder           cityid.Code
	Key              cityid.PublicKey
	NotBefore        cityid.Time // zero: no bound
	NotAfter         cityid.Time // first second at which the key no longer counts; zero: no bound
	CompromisedSince cityid.Time // zero: not known to be compromised
}

// Verdict is what [Check] and [CheckSource] conclude.
type Verdict uint8

// The verdicts.
const (
	Valid         Verdict = 1 // signed by a key of the code's own line, and within its dates
	Expired       Verdict = 2 // well signed, but its last day is over
	NotYetValid   Verdict = 3 // well signed, but its first day is to come
	BadSignature  Verdict = 4 // the signature is wrong for every matching key
	KeyNotInForce Verdict = 5 // well signed, but by a key that was not in force on the day of issue
	Compromised   Verdict = 6 // well signed, but by a key since reported compromised: cannot tell who signed, or when
	NoKey         Verdict = 7 // no known key of the code's own line matches: cannot tell
	WrongBytes    Verdict = 8 // of a source mark: it is about other bytes, or about none
	BytesWanted   Verdict = 9 // of a source mark: well signed, but the bytes it is about are not at hand: cannot tell
)

var verdictNames = [...]string{Valid: "valid", Expired: "expired", NotYetValid: "not-yet-valid", BadSignature: "bad-signature",
	KeyNotInForce: "key-not-in-force", Compromised: "compromised", NoKey: "no-key", WrongBytes: "wrong-bytes", BytesWanted: "bytes-wanted"}

// String returns the verdict's stable name, such as "not-yet-valid".
func (v Verdict) String() string {
	if v == 0 || int(v) >= len(verdictNames) {
		return fmt.Sprintf("verdict-%d", uint8(v))
	}
	return verdictNames[v]
}

// Undecided reports whether v means that nothing can be said yet, because keys,
// bytes or knowledge are missing.
func (v Verdict) Undecided() bool { return v == Compromised || v == NoKey || v == BytesWanted }

// Finding is a verdict, and the key and record it rests on: both zero for
// [BadSignature], [NoKey] and [WrongBytes].
type Finding struct {
	Verdict Verdict
	Holder  cityid.Code
	Key     cityid.PublicKey
}

// Check judges a certificate at the time now. It tries every candidate whose
// key id matches and whose holder is the certificate's code or covers it; all
// others are ignored, whatever they could verify. A place that is a parent only
// by its digits, as MA.156.13 may be of MA.156.1301, does not cover it.
//
// The day of issue is the signer's own claim. Therefore a key that is known to
// be compromised decides nothing, even for labels dated before: a thief can
// write any date. A key that was merely replaced goes on vouching for what it
// signed while it was in force. A bad signature outweighs the dates.
func Check(c Certificate, candidates []Candidate, now cityid.Time) Finding {
	finding := Finding{Verdict: NoKey}
	message := c.Message()
	for _, k := range candidates {
		if k.Key.Algorithm() != algorithm || KeyIDOf(k.Key) != c.KeyID || k.Holder != c.Code && !k.Holder.Covers(c.Code) {
			continue
		}
		f := Finding{Verdict: BadSignature}
		if keys.Verify([]byte(k.Key), message, c.Signature[:]) == nil {
			f = Finding{Verdict: c.judge(k, now), Holder: k.Holder, Key: k.Key}
		}
		if f.weight() > finding.weight() {
			finding = f
		}
	}
	return finding
}

// weight orders the findings of several candidates: the heaviest counts.
func (f Finding) weight() int {
	switch f.Verdict {
	case BadSignature:
		return 1
	case KeyNotInForce:
		return 2
	case Valid, Expired, NotYetValid, BytesWanted:
		return 3
	case Compromised:
		return 4
	}
	return 0
}

// judge looks at the dates of a certificate that key k did sign.
func (c Certificate) judge(k Candidate, now cityid.Time) Verdict {
	switch {
	case k.CompromisedSince != 0:
		return Compromised
	case k.NotBefore >= c.Issued.end(), k.NotAfter != 0 && k.NotAfter <= c.Issued.Start():
		return KeyNotInForce
	case now < c.Issued.Start():
		return NotYetValid
	case now >= c.Expires.end():
		return Expired
	}
	return Valid
}
