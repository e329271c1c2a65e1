// SPDX-License-Identifier: Apache-2.0

package cityid

import (
	"encoding/hex"
	"strings"
)

// This file holds what the chain knows about data that is shared: descriptions
// of datasets, agreements between the holder of a dataset and a consumer, and
// the anchors of receipts. Data, questions and purposes stay off the chain.

// Limits on shared data.
const (
	MinStaleness    = 30             // seconds: three heartbeats
	MaxStaleness    = 4 * 3600       // seconds
	MaxRespond      = 90             // days a request may wait for its answer
	MaxOpenRequests = 256            // requests of a consumer that wait for an answer at a time
	MaxLogName      = 32             // octets of the name of a receipt log
	MaxBucket       = 20             // size bucket of an anchored batch
	MaxBatch        = 1 << MaxBucket // leaves of one batch
)

// DatasetClass says under which conditions a dataset is shared.
type DatasetClass uint8

// The classes.
const (
	DatasetOpen        DatasetClass = iota + 1 // anybody may fetch it
	DatasetConditional                         // under an agreement
	DatasetClosed                              // not shared
)

var datasetClassNames = []string{1: "open", "conditional", "closed"}

// String returns the class's name.
func (c DatasetClass) String() string { return nameOf(datasetClassNames, uint8(c), "class") }

// MarshalText returns the class's name.
func (c DatasetClass) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// UnmarshalText parses a class's name.
func (c *DatasetClass) UnmarshalText(text []byte) error {
	return parseName(datasetClassNames, text, "class", (*uint8)(c))
}

// Valid reports whether c is one of the classes.
func (c DatasetClass) Valid() bool { return c >= 1 && int(c) < len(datasetClassNames) }

// Dataset is what the record of a dataset says about it: the class, and digests
// of the documents its gateway serves. Readers refuse others.
type Dataset struct {
	Class    DatasetClass `cbor:"1,keyasint" json:"class"`
	Document Digest       `cbor:"2,keyasint" json:"document"`                 // of the DCAT document's bytes
	Schema   Digest       `cbor:"3,keyasint,omitzero" json:"schema,omitzero"` // of the JSON Schema's bytes
	Policy   Digest       `cbor:"4,keyasint,omitzero" json:"policy,omitzero"` // of the ODRL policy's bytes
}

func (d *Dataset) check() error {
	switch {
	case !d.Class.Valid():
		return Errorf(ErrInvalid, "a dataset is open, conditional or closed")
	case d.Document.IsZero():
		return Errorf(ErrInvalid, "a dataset names the digest of its description")
	}
	return nil
}

// Nonce makes otherwise equal terms differ.
type Nonce [16]byte

// String returns the text form.
func (n Nonce) String() string { return hex.EncodeToString(n[:]) }

// MarshalText returns the nonce in lower-case hexadecimal.
func (n Nonce) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, n[:]), nil }

// UnmarshalText parses 32 lower-case hexadecimal digits.
func (n *Nonce) UnmarshalText(text []byte) error {
	if b, err := hex.DecodeString(string(text)); err != nil || len(b) != len(n) || strings.ToLower(string(text)) != string(text) {
		return Errorf(ErrMalformed, "nonce %.40q: want 32 lower-case hexadecimal digits", text)
	} else {
		copy(n[:], b)
	}
	return nil
}

// Terms are what the holder of a dataset and a consumer agree on. They do not
// name the holder: whose policy governs the dataset decides, today and after a
// merger.
type Terms struct {
	Dataset   Code   `cbor:"1,keyasint" json:"dataset"`
	Consumer  Code   `cbor:"2,keyasint" json:"consumer"`                    // whose gateway keys may fetch
	Document  Digest `cbor:"3,keyasint" json:"document"`                    // the description of the dataset as agreed on
	Policy    Digest `cbor:"4,keyasint,omitzero" json:"policy,omitzero"`    // the usage policy as agreed on
	From      Time   `cbor:"5,keyasint" json:"from"`                        // first moment the agreement is in force
	Until     Time   `cbor:"6,keyasint" json:"until"`                       // first moment it no longer is
	Staleness uint32 `cbor:"7,keyasint" json:"staleness"`                   // seconds; how old the state may be by which a gateway judges: 30 to 14400
	Requests  uint64 `cbor:"8,keyasint,omitempty" json:"requests,omitzero"` // a UTC day; 0: no limit
	Octets    uint64 `cbor:"9,keyasint,omitempty" json:"octets,omitzero"`   // a UTC day; 0: no limit
	Purpose   Digest `cbor:"10,keyasint" json:"purpose"`                    // [PurposeDigest] of what the consumer told the holder
	Respond   Time   `cbor:"11,keyasint" json:"respond"`                    // by then the holder is asked to answer; afterwards it can not
	Nonce     Nonce  `cbor:"12,keyasint" json:"nonce"`                      // random
}

// ID returns what both parties sign and by which the agreement is known:
// SHA-256("cityid/terms/1" || encoding of the terms).
func (t *Terms) ID() Digest { return hashOf(append([]byte("cityid/terms/1"), MustMarshal(t)...)) }

// Check reports the first thing about the terms that breaks its rule taken by
// itself.
func (t *Terms) Check() error {
	switch {
	case t.Dataset.IsZero() || t.Consumer.IsZero():
		return Errorf(ErrInvalid, "terms name a dataset and a consumer")
	case t.Document.IsZero():
		return Errorf(ErrInvalid, "terms name the digest of the dataset's description")
	case t.Purpose.IsZero():
		return Errorf(ErrInvalid, "terms name the digest of a purpose")
	case !t.From.Valid() || !t.Until.Valid() || !t.Respond.Valid() || t.From <= 0 || t.Until <= t.From:
		return Errorf(ErrInvalid, "an agreement ends after it begins")
	case t.Respond <= 0 || t.Respond > t.Until:
		return Errorf(ErrInvalid, "an answer is due before the agreement would end")
	case t.Staleness < MinStaleness || t.Staleness > MaxStaleness:
		return Errorf(ErrInvalid, "staleness of %d s: want %d to %d", t.Staleness, MinStaleness, MaxStaleness)
	case t.Nonce == Nonce{}:
		return Errorf(ErrInvalid, "terms carry a random nonce")
	}
	return nil
}

// PurposeDigest is what terms name of the purpose, which the consumer sends to
// the holder encrypted: SHA-256("cityid/purpose/1" || salt || text). The salt is
// fresh for each, so that nobody can test a guess.
func PurposeDigest(salt Digest, text string) Digest {
	b := append([]byte("cityid/purpose/1"), salt[:]...)
	return hashOf(append(b, text...))
}

// AgreementState is where an agreement stands. Lapsed and expired are read from
// the time; nothing is written for that.
type AgreementState uint8

// The states.
const (
	AgreementRequested AgreementState = iota + 1
	AgreementGranted
	AgreementRefused
	AgreementRevoked // or taken back by the consumer
	AgreementLapsed  // requested, and not answered in time
	AgreementExpired // granted, and its time is over
)

var agreementStateNames = []string{1: "requested", "granted", "refused", "revoked", "lapsed", "expired"}

// String returns the state's name.
func (s AgreementState) String() string { return nameOf(agreementStateNames, uint8(s), "state") }

// MarshalText returns the state's name.
func (s AgreementState) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText parses a state's name.
func (s *AgreementState) UnmarshalText(text []byte) error {
	return parseName(agreementStateNames, text, "state", (*uint8)(s))
}

// Agreement is terms and what became of them.
type Agreement struct {
	Terms     Terms          `cbor:"1,keyasint" json:"terms"`
	State     AgreementState `cbor:"2,keyasint" json:"state"`    // as written; see StateAt
	Provider  Code           `cbor:"3,keyasint" json:"provider"` // whose policy governed the dataset at the last decision
	Requested Change         `cbor:"4,keyasint" json:"requested"`
	Decided   Change         `cbor:"5,keyasint,omitzero" json:"decided,omitzero"` // when it was granted or refused
	Ended     Change         `cbor:"6,keyasint,omitzero" json:"ended,omitzero"`   // when it was revoked
	EndedBy   Code           `cbor:"7,keyasint,omitzero" json:"ended_by,omitzero"`
	Note      string         `cbor:"8,keyasint,omitempty" json:"note,omitempty"` // public, of the last decision
}

// StateAt returns the agreement's state at time now.
func (a *Agreement) StateAt(now Time) AgreementState {
	switch {
	case a.State == AgreementRequested && now >= a.Terms.Respond:
		return AgreementLapsed
	case a.State == AgreementGranted && now >= a.Terms.Until:
		return AgreementExpired
	}
	return a.State
}

// InForce reports whether data may be fetched under the agreement at time now.
func (a *Agreement) InForce(now Time) bool {
	return a.StateAt(now) == AgreementGranted && now >= a.Terms.From
}

// Anchor commits a party to a batch of receipts of one of its logs.
type Anchor struct {
	Party    Code      `cbor:"1,keyasint" json:"party"`
	Log      string    `cbor:"2,keyasint" json:"log"`
	Sequence uint64    `cbor:"3,keyasint" json:"sequence"` // 1 for the first of a log
	Prev     Digest    `cbor:"4,keyasint,omitzero" json:"prev,omitzero"`
	Root     Digest    `cbor:"5,keyasint" json:"root"`     // of the batch: commits to an RFC 6962 tree over salted entries, and to their number
	Bucket   uint8     `cbor:"6,keyasint" json:"bucket"`   // the batch has at most 2^Bucket leaves, and more than half as many
	Key      PublicKey `cbor:"7,keyasint" json:"key"`      // the first of the signers that had the right
	Changed  Change    `cbor:"8,keyasint" json:"anchored"` // block that holds it
}

// AnchorHead is the last anchor of a log.
type AnchorHead struct {
	Sequence uint64 `cbor:"1,keyasint" json:"sequence"`
	Root     Digest `cbor:"2,keyasint" json:"root"`
}

// ValidLogName reports whether s can name a receipt log: 1 to 32 lower-case
// letters, digits and hyphens.
func ValidLogName(s string) bool {
	return len(s) >= 1 && len(s) <= MaxLogName && !strings.ContainsFunc(s, func(c rune) bool {
		return (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-'
	})
}

// AgreementRequest asks for an agreement. The consumer's policy decides.
type AgreementRequest struct {
	Terms Terms `cbor:"1,keyasint" json:"terms"`
}

// AgreementDecision grants, refuses or revokes an agreement, by its terms hash.
// The dataset's policy decides; either side's revokes, and a request that is
// revoked by the consumer is taken back.
type AgreementDecision struct {
	Dataset   Code   `cbor:"1,keyasint" json:"dataset"`
	Agreement Digest `cbor:"2,keyasint" json:"agreement"`                // [Terms.ID]
	Note      string `cbor:"3,keyasint,omitempty" json:"note,omitempty"` // public
}

// AnchorReceipts anchors the next batch of one of a party's receipt logs. One
// key with role gateway of the party's policy suffices.
type AnchorReceipts struct {
	Party    Code   `cbor:"1,keyasint" json:"party"`
	Log      string `cbor:"2,keyasint" json:"log"`
	Sequence uint64 `cbor:"3,keyasint" json:"sequence"`
	Prev     Digest `cbor:"4,keyasint,omitzero" json:"prev,omitzero"` // root of the batch before
	Root     Digest `cbor:"5,keyasint" json:"root"`
	Bucket   uint8  `cbor:"6,keyasint" json:"bucket"`
}
