// SPDX-License-Identifier: Apache-2.0

package verify

import (
	"bytes"
	"errors"
	"fmt"

	"cityid"
)

// MediaType is the media type of an encoded bundle.
const MediaType = "application/vnd.cityid.bundle+cbor"

// Version is the version of the format that this package makes and checks.
const Version = 1

// Limits of a bundle.
const (
	MaxBundle      = 8 << 20 // octets of an encoded bundle
	MaxVersions    = 64      // versions of the trust root it carries
	MaxSignatures  = 64      // signatures of one version
	MaxSteps       = 8       // zones
	MaxTransitions = 64      // changes of validators in a step
	MaxEntries     = 64      // keys of an answer of kind entries
	MaxAuthority   = 64      // proofs that no other zone answers
)

// ErrUnsupported says that a bundle is of a later version than this package
// knows: neither good nor bad.
var ErrUnsupported = errors.New("bundle is of a later version of the format")

// Bundle is an answer with all proofs up to a trust root. The package comment
// describes its fields and encoding.
type Bundle struct {
	Version  uint32            `cbor:"1,keyasint"`
	Kind     cityid.AnswerKind `cbor:"2,keyasint"`
	Code     cityid.Code       `cbor:"3,keyasint"`
	Trust    Tag               `cbor:"4,keyasint"`
	Versions []cityid.Trust    `cbor:"5,keyasint,omitempty"` // ascending; the last one is that of Trust
	Steps    []Step            `cbor:"6,keyasint"`
	Values   []cityid.Bytes    `cbor:"7,keyasint,omitempty"`
	Keys     []cityid.Bytes    `cbor:"8,keyasint,omitempty"` // of entries alone
}

// Step leads from the validators of a zone to the state that answers, or that
// says which zone to go on with.
type Step struct {
	Transitions []cityid.LightBlock `cbor:"1,keyasint,omitempty"` // by ascending height, below Head's; with app hash
	Head        cityid.LightBlock   `cbor:"2,keyasint"`           // without app hash
	Log         *LogLink            `cbor:"3,keyasint,omitempty"`
	Proof       cityid.Bytes        `cbor:"4,keyasint"` // merkle.Proof, merkle.RangeProof, or a list of the former

	// Of a zone below the first.
	Validators cityid.Bytes       `cbor:"5,keyasint,omitempty"` // those the checkpoint names as the next; left out if the first light block has them
	Descent    *cityid.LogDescent `cbor:"6,keyasint,omitempty"` // head's block log goes on from the checkpoint; left out if head is the checkpoint's header

	// Of a step that leads to another zone: the record of that zone's apex, and
	// its [cityid.Zone].
	Values []cityid.Bytes `cbor:"7,keyasint,omitempty"`

	Authority []Authority `cbor:"8,keyasint,omitempty"` // no zone below is the one to ask
}

// Authority shows what is known of one delegated zone: nothing, or that its
// scope does not reach as far.
type Authority struct {
	_     struct{}     `cbor:",toarray"`
	Proof cityid.Bytes // merkle.Proof for cityid.ZoneKey
	Value cityid.Bytes // of no octets: there is no such zone
}

// LogLink shows that the block log in the state of a head contains an older
// header.
type LogLink struct {
	Header     cityid.Bytes  `cbor:"1,keyasint"` // without app hash
	Validators cityid.Digest `cbor:"2,keyasint"`
	First      uint64        `cbor:"3,keyasint"`
	Size       uint64        `cbor:"4,keyasint"`
	Path       cityid.Bytes  `cbor:"5,keyasint"` // merkle.LogProof
	Proof      cityid.Bytes  `cbor:"6,keyasint"` // merkle.Proof for cityid.BlockLogKey
}

// Encode returns the encoding of b. The error says which bound it exceeds.
func (b *Bundle) Encode() ([]byte, error) {
	if err := b.check(); err != nil {
		return nil, err
	}
	data, err := cityid.Marshal(b)
	if err != nil {
		return nil, fmt.Errorf("encode bundle: %w", err)
	}
	if len(data) > MaxBundle {
		return nil, tooLarge(len(data))
	}
	return data, nil
}

// Decode returns the bundle with the given encoding. It checks the outer form
// alone; the parts are for [Check]. The error wraps [ErrUnsupported] if the
// bundle says that it is of a later version, whatever else is in it.
func Decode(data []byte) (*Bundle, error) {
	if len(data) > MaxBundle {
		return nil, tooLarge(len(data))
	}
	if laterVersion(data, Version) {
		return nil, ErrUnsupported
	}
	b := new(Bundle)
	if err := cityid.Unmarshal(data, b); err != nil {
		return nil, fmt.Errorf("bundle: %w", err)
	}
	if err := b.check(); err != nil {
		return nil, err
	}
	return b, nil
}

// laterVersion reports whether data begins as a map does in which field 1 is a
// number above ours, which is below 24. That is where every version of bundles
// and links has its number; the fields a later one may have besides are not
// known here.
func laterVersion(data []byte, ours byte) bool {
	return len(data) > 2 && data[0] > 0xa0 && data[0] < 0xb8 && data[1] == 0x01 && data[2] > ours && data[2] <= 0x1b
}

func tooLarge(n int) error {
	return fmt.Errorf("bundle of %d octets: at most %d; list a smaller range", n, MaxBundle)
}

// check keeps b within its bounds.
func (b *Bundle) check() error {
	if b.Version != Version && b.Version != 0 {
		return fmt.Errorf("%w: version %d", ErrUnsupported, b.Version)
	}
	if b.Version == 0 || b.Code.IsZero() || b.Kind < cityid.AnswerRecord || b.Kind > cityid.AnswerReferral {
		return errors.New("bundle: version, kind and code must be given")
	}
	if len(b.Steps) < 1 || len(b.Steps) > MaxSteps {
		return fmt.Errorf("bundle: want 1 to %d steps", MaxSteps)
	}
	for i := range b.Steps {
		if err := b.checkStep(i); err != nil {
			return err
		}
	}
	if err := checkCarried(b.Versions); err != nil {
		return fmt.Errorf("bundle: %w", err)
	}
	if b.Kind == cityid.AnswerReferral && len(b.Values) > 0 {
		return errors.New("bundle: a referral has no values beside those of its steps")
	}
	if b.Kind == cityid.AnswerRecord && len(b.Values) > 1 {
		return fmt.Errorf("bundle: %d records in answer to a question for one", len(b.Values))
	}
	if err := b.checkKeys(); err != nil {
		return err
	}
	for _, v := range b.Values {
		if len(v) > cityid.MaxRecord {
			return fmt.Errorf("bundle: record of %d octets: at most %d", len(v), cityid.MaxRecord)
		}
	}
	return nil
}

// leads reports whether a step leads to another zone.
func (b *Bundle) leads(step int) bool {
	return step < len(b.Steps)-1 || b.Kind == cityid.AnswerReferral
}

// checkStep keeps a step within its bounds.
func (b *Bundle) checkStep(i int) error {
	s := &b.Steps[i]
	switch {
	case len(s.Transitions) > MaxTransitions:
		return fmt.Errorf("bundle: %d transitions in a step: at most %d", len(s.Transitions), MaxTransitions)
	case b.leads(i) && (len(s.Values) != 2 || len(s.Authority) > 0) || !b.leads(i) && len(s.Values) > 0:
		return errors.New("bundle: a step that leads to another zone, and no other, has the record of that one's apex and what is known of the zone")
	case len(s.Authority) > MaxAuthority:
		return fmt.Errorf("bundle: %d proofs of authority: at most %d", len(s.Authority), MaxAuthority)
	}
	for _, v := range s.Values {
		if len(v) == 0 || len(v) > cityid.MaxRecord {
			return fmt.Errorf("bundle: value of %d octets in a step: at most %d", len(v), cityid.MaxRecord)
		}
	}
	return nil
}

// checkKeys keeps the keys of entries within their bounds.
func (b *Bundle) checkKeys() error {
	if b.Kind != cityid.AnswerEntries {
		if len(b.Keys) > 0 {
			return errors.New("bundle: only entries have keys")
		}
		return nil
	}
	if len(b.Keys) < 1 || len(b.Keys) > MaxEntries || len(b.Values) != len(b.Keys) {
		return fmt.Errorf("bundle: want 1 to %d keys and a value for each", MaxEntries)
	}
	for i, k := range b.Keys {
		code, ok := cityid.CodeOfEntryKey(k)
		switch {
		case !ok:
			return fmt.Errorf("bundle: key %x is none that a bundle answers about", []byte(k))
		case i == 0 && code != b.Code:
			return fmt.Errorf("bundle: the first key is about %s, not %s", code, b.Code)
		case i > 0 && bytes.Compare(b.Keys[i-1], k) >= 0:
			return errors.New("bundle: keys must be in byte order, each once")
		}
	}
	return nil
}

// checkCarried keeps the versions of the trust root within their bounds.
func checkCarried(versions []cityid.Trust) error {
	if len(versions) > MaxVersions {
		return fmt.Errorf("%d versions of the trust root: at most %d", len(versions), MaxVersions)
	}
	for i := range versions {
		if n := len(versions[i].Signatures); n > MaxSignatures {
			return fmt.Errorf("%d signatures on a version of the trust root: at most %d", n, MaxSignatures)
		}
	}
	return nil
}
