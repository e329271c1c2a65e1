// SPDX-License-Identifier: Apache-2.0

package ledger

import (
	"bytes"
	"fmt"
	"slices"

	"cityid"
)

const (
	MaxAcknowledged    = 256      // entries in one Acknowledgement
	MaxAcknowledgement = 10 << 10 // octets of an encoded one
)

// Acknowledgement says that its sender, the consumer of an agreement, has the
// answers whose entries it names. It is the body of a signed request, and counts by
// that signature.
type Acknowledgement struct {
	Version   uint32          `cbor:"1,keyasint" json:"version"` // 1
	Agreement cityid.Digest   `cbor:"2,keyasint" json:"agreement"`
	Entries   []cityid.Digest `cbor:"3,keyasint" json:"entries"` // [EntryHash] of 1 to 256, in ascending order of their octets
	Time      cityid.Time     `cbor:"4,keyasint" json:"time"`    // by the sender's clock
}

// NewAcknowledgement returns the acknowledgement of some entries, which it sorts.
func NewAcknowledgement(agreement cityid.Digest, entries []cityid.Digest, at cityid.Time) Acknowledgement {
	list := slices.Clone(entries)
	slices.SortFunc(list, compareDigests)
	return Acknowledgement{Version: version, Agreement: agreement, Entries: slices.Compact(list), Time: at}
}

func compareDigests(a, b cityid.Digest) int { return bytes.Compare(a[:], b[:]) }

// Check returns nil if every field keeps its bounds. The error matches
// [ErrInvalid].
func (a *Acknowledgement) Check() error {
	bad := func(format string, args ...any) error {
		return fmt.Errorf("acknowledgement: %w: %s", ErrInvalid, fmt.Sprintf(format, args...))
	}
	switch {
	case a.Version != version:
		return bad("version %d: this program knows version %d", a.Version, version)
	case a.Agreement.IsZero():
		return bad("it names no agreement")
	case len(a.Entries) < 1 || len(a.Entries) > MaxAcknowledged:
		return bad("%d entries: want 1 to %d", len(a.Entries), MaxAcknowledged)
	case a.Time <= 0 || !a.Time.Valid():
		return bad("time %d: want a second of the years 1970 to 9999", int64(a.Time))
	}
	for i := 1; i < len(a.Entries); i++ {
		if compareDigests(a.Entries[i-1], a.Entries[i]) >= 0 {
			return bad("entry %d is not above the one before it: each stands there once, in ascending order", i)
		}
	}
	return nil
}

// Encode returns the octets of an acknowledgement, or why it is none.
func (a *Acknowledgement) Encode() ([]byte, error) {
	if err := a.Check(); err != nil {
		return nil, err
	}
	return cityid.MustMarshal(a), nil
}

// DecodeAcknowledgement reads exactly one acknowledgement of at most
// [MaxAcknowledgement] octets. The error matches [ErrInvalid].
func DecodeAcknowledgement(b []byte) (a Acknowledgement, err error) {
	if err := decode("acknowledgement", b, MaxAcknowledgement, &a); err != nil {
		return Acknowledgement{}, err
	}
	if err := a.Check(); err != nil {
		return Acknowledgement{}, err
	}
	return a, nil
}
