// SPDX-License-Identifier: Apache-2.0

package verify

import (
	"errors"
	"fmt"
	"time"

	"cityid"
	"cityid/header"
	"cityid/keys"
)

// HeaderMediaType is the media type of an encoded [SignedHeader].
const HeaderMediaType = "application/vnd.cityid.header+cbor"

// MaxSignedHeader is the greatest size of an encoded signed header in octets.
const MaxSignedHeader = 64 << 10

// signedHeaderCBOR is the encoding of a SignedHeader: each part in the compact
// encoding of package header.
type signedHeaderCBOR struct {
	Header     []byte  `cbor:"1,keyasint"` // with all its fields
	Validators []byte  `cbor:"2,keyasint"`
	Commit     []byte  `cbor:"3,keyasint"`
	Priorities []int64 `cbor:"4,keyasint,omitempty"`
}

// EncodeSignedHeader returns the encoding of a signed header, in canonical CBOR: {1:
// header, 2: validators, 3: commit, 4: priorities}, the first three as byte strings
// in the compact encoding of package header, with all votes there are.
func EncodeSignedHeader(s *SignedHeader) ([]byte, error) {
	var out signedHeaderCBOR
	var err error
	if out.Header, err = s.Header.MarshalBinary(); err != nil {
		return nil, err
	}
	if out.Validators, err = s.Validators.MarshalBinary(); err != nil {
		return nil, err
	}
	if out.Commit, err = s.Commit.MarshalBinary(); err != nil {
		return nil, err
	}
	out.Priorities = s.Priorities
	return cityid.Marshal(&out)
}

// DecodeSignedHeader decodes a signed header. It verifies no signature: [Follow]
// does.
func DecodeSignedHeader(data []byte) (s SignedHeader, err error) {
	if len(data) > MaxSignedHeader {
		return s, fmt.Errorf("signed header of %d octets: at most %d", len(data), MaxSignedHeader)
	}
	var in signedHeaderCBOR
	if err := cityid.Unmarshal(data, &in); err != nil {
		return s, fmt.Errorf("signed header: %w", err)
	}
	s = SignedHeader{Header: new(header.Header), Commit: new(header.Commit), Priorities: in.Priorities}
	err = errors.Join(s.Header.UnmarshalBinary(in.Header), s.Validators.UnmarshalBinary(in.Validators), s.Commit.UnmarshalBinary(in.Commit))
	if err == nil && len(in.Priorities) > 0 && len(in.Priorities) != len(s.Validators) {
		err = fmt.Errorf("%d priorities of %d validators", len(in.Priorities), len(s.Validators))
	}
	if err != nil {
		return SignedHeader{}, fmt.Errorf("signed header: %w", err)
	}
	return s, nil
}

// Follow verifies that headers of the chain follow from a trust root: the first
// anyhow, each other one directly from the one before. load returns headers in
// between, as for [Transitions]. It returns the headers at which the validators
// changed on the way to the first. The trust root must suffice for the time now: it
// was made less than [DefaultTrustingPeriod] before. The error wraps
// [header.ErrInvalid] or [header.ErrNotConnected], or is one of load.
func Follow(trust *cityid.Trust, now time.Time, list []SignedHeader, load func(height int64) (SignedHeader, error)) ([]SignedHeader, error) {
	vals, err := validatorsOf(&trust.Statement)
	if err != nil {
		return nil, err
	}
	if len(list) == 0 {
		return nil, errors.New("there is no header to verify")
	}
	t, first := trustedBy(&trust.Statement, vals), list[0]
	if end := trust.Statement.Time.Std().Add(DefaultTrustingPeriod); !now.Before(end) {
		return nil, fmt.Errorf("%w: version %d of the trust root suffices until %s only: a newer version is needed", header.ErrNotConnected, trust.Statement.Version, stamp(end))
	}
	if first.Header.Height <= t.At.Height {
		return nil, fmt.Errorf("%w: header %d is not above height %d of the trust root: take an older version of it, or wait for a later header", header.ErrNotConnected, first.Header.Height, t.At.Height)
	}
	if last := list[len(list)-1].Header; last.Ahead(DefaultClockDrift, now) {
		return nil, fmt.Errorf("%w: header %d is of %s, ahead of the clock, which shows %s: set the clock", header.ErrNotConnected, last.Height, stamp(last.Time), stamp(now))
	}
	way, err := Transitions(trust, first, load)
	if err != nil {
		return nil, err
	}
	for _, s := range append(way[:len(way):len(way)], first) {
		s, err := minimal(&t, &s)
		if err != nil {
			return nil, err
		}
		if err := verifyFrom(&t, s); err != nil {
			return nil, err
		}
		advance(&t, s)
	}
	for i := 1; i < len(list); i++ {
		s := list[i]
		commit := *s.Commit
		commit.Votes = header.Minimal(s.Validators, s.Commit.Votes)
		if err := header.VerifyAdjacent(list[i-1].Header, s.Header, s.Validators, &commit, keys.VerifyEd25519); err != nil {
			return nil, err
		}
	}
	return way, nil
}

// minimal returns s with no more votes than are needed to follow.
func minimal(t *header.Trusted, s *SignedHeader) (*SignedHeader, error) {
	commit := *s.Commit
	if commit.Votes = votesOf(t, s); commit.Votes == nil {
		return nil, fmt.Errorf("%w: header %d is not signed by enough of the validators trusted since height %d", header.ErrNotConnected, s.Header.Height, t.At.Height)
	}
	out := *s
	out.Commit = &commit
	return &out, nil
}
