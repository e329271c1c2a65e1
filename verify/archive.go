// SPDX-License-Identifier: Apache-2.0

package verify

import (
	"bytes"
	"errors"
	"fmt"
	"time"

	"cityid"
	"cityid/header"
)

// LinkMediaType is the media type of an encoded link.
const LinkMediaType = "application/vnd.cityid.link+cbor"

// LinkVersion is the version of the format of links that this package makes and
// reads.
const LinkVersion = 1

// MaxLink is the greatest size of an encoded link in octets.
const MaxLink = 4 << 20

// ErrOtherHeader says that a link is for another header than the one that
// answers in the bundle.
var ErrOtherHeader = errors.New("the link is for another header than the bundle's")

// Link shows that a header is in the block log of a recent head. The package
// comment describes its fields and encoding. By itself it is not judged:
// [Archive] makes a bundle of it, and [Check] judges that.
type Link struct {
	Version     uint32              `cbor:"1,keyasint"`
	Trust       cityid.Digest       `cbor:"2,keyasint"`           // hash of the statement from which the step leads on
	Versions    []cityid.Trust      `cbor:"3,keyasint,omitempty"` // ascending; the last one is that of Trust
	Transitions []cityid.LightBlock `cbor:"4,keyasint,omitempty"` // by ascending height, below Head's
	Head        cityid.LightBlock   `cbor:"5,keyasint"`
	Log         LogLink             `cbor:"6,keyasint"` // of the header linked to
	State       cityid.Digest       `cbor:"7,keyasint"` // that header's app hash
}

// NewLink returns the link to the header of w.Log, which must be whole. It
// shares memory with w. The error says that the way has no log or does not lead
// to the head; whether the proofs fit is not looked at.
func NewLink(w *Way) (*Link, error) {
	if w.Log == nil {
		return nil, errors.New("link: the way leads to no header in the block log")
	}
	_, t, _, err := w.from()
	if err != nil {
		return nil, err
	}
	step, err := w.step(t)
	if err != nil {
		return nil, err
	}
	l := &Link{
		Version: LinkVersion, Trust: w.latest().Statement.Hash(), Versions: w.carried(),
		Transitions: step.Transitions, Head: step.Head, Log: *step.Log, State: cityid.Digest(w.Log.Header.AppHash),
	}
	if err := l.check(); err != nil {
		return nil, err
	}
	return l, nil
}

// Encode returns the encoding of l. The error says which bound it exceeds.
func (l *Link) Encode() ([]byte, error) {
	if err := l.check(); err != nil {
		return nil, err
	}
	data, err := cityid.Marshal(l)
	if err != nil {
		return nil, fmt.Errorf("encode link: %w", err)
	}
	if len(data) > MaxLink {
		return nil, fmt.Errorf("link of %d octets: at most %d", len(data), MaxLink)
	}
	return data, nil
}

// DecodeLink returns the link with the given encoding. Like [Decode] it checks
// the outer form alone, and its error wraps [ErrUnsupported] if the link says
// that it is of a later version.
func DecodeLink(data []byte) (*Link, error) {
	if len(data) > MaxLink {
		return nil, fmt.Errorf("link of %d octets: at most %d", len(data), MaxLink)
	}
	if laterVersion(data, LinkVersion) {
		return nil, fmt.Errorf("link: %w", ErrUnsupported)
	}
	l := new(Link)
	if err := cityid.Unmarshal(data, l); err != nil {
		return nil, fmt.Errorf("link: %w", err)
	}
	if err := l.check(); err != nil {
		return nil, err
	}
	return l, nil
}

// check keeps l within its bounds.
func (l *Link) check() error {
	if l.Version > LinkVersion {
		return fmt.Errorf("link: %w: version %d", ErrUnsupported, l.Version)
	}
	if l.Version == 0 || l.Trust.IsZero() || l.State.IsZero() {
		return errors.New("link: version, trust root and state must be given")
	}
	if len(l.Transitions) > MaxTransitions {
		return fmt.Errorf("link: %d transitions: at most %d", len(l.Transitions), MaxTransitions)
	}
	if err := checkCarried(l.Versions); err != nil {
		return fmt.Errorf("link: %w", err)
	}
	if n := len(l.Versions); n > 0 && l.Versions[n-1].Statement.Hash() != l.Trust {
		return errors.New("link: it leads on from another version of the trust root than the last it carries")
	}
	return nil
}

// Answering returns the header that answers in b, by whose height a link to it
// is asked for; of a bundle through several zones, that of the first. Its chain,
// validators hash and app hash are empty: they follow
// from a trust root and the answer. What it says is what the bundle says, which
// nothing supports until [Check] finds it valid.
func (b *Bundle) Answering() (*header.Header, error) {
	if err := b.check(); err != nil {
		return nil, err
	}
	h, f := readStripped(b.Steps[0].answering(), false)
	if f != nil {
		return nil, errors.New(f.message)
	}
	return h, nil
}

// AnsweredAt returns the time as of which an encoded bundle answers, as far as
// [Bundle.Answering] tells: that of the header which answers or, through several
// zones, the latest of those in its steps. It is meant for [Options.At].
func AnsweredAt(bundle []byte) (time.Time, error) {
	b, err := Decode(bundle)
	if err != nil {
		return time.Time{}, err
	}
	var at time.Time
	for i := range b.Steps {
		h, f := readStripped(b.Steps[i].answering(), false)
		if f != nil {
			return time.Time{}, errors.New(f.message)
		}
		if h.Time.After(at) {
			at = h.Time
		}
	}
	return at, nil
}

// answering returns the encoding of the header that answers, or that names the
// next zone.
func (s *Step) answering() cityid.Bytes {
	if s.Log != nil {
		return s.Log.Header
	}
	return s.Head.Header
}

// Archive returns the answer of b connected by l: with l's trust root and head,
// and the proof that head's block log contains the header that answers. What
// connected b before, be it a head of its own or an older link, is left out. The
// result shares memory with both; neither is changed.
//
// The header that l links to must be b's own: all that b says of it, and the
// state to which b's proof leads, else the error wraps [ErrOtherHeader]. An
// answer that its own proof contradicts is refused as well. What Archive can not
// see is whether l holds, for that takes a trust root: have [Check] judge the
// result, with what [AnsweredAt] tells as [Options.At], before b is thrown away.
func Archive(b *Bundle, l *Link) (*Bundle, error) {
	if err := b.check(); err != nil {
		return nil, err
	}
	if err := l.check(); err != nil {
		return nil, err
	}
	own, err := b.Answering()
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(b.Steps[0].answering(), l.Log.Header) {
		return nil, fmt.Errorf("%w: that one is of height %d", ErrOtherHeader, own.Height)
	}
	c := checker{b: b, step: &b.Steps[0]}
	prove := c.checkAnswer
	if b.leads(0) {
		prove = c.checkDelegation
	}
	if _, f := prove(); f != nil {
		return nil, fmt.Errorf("the bundle contradicts itself: %s", f.message)
	}
	if cityid.Digest(c.root) != l.State {
		return nil, fmt.Errorf("%w: its state is %s, and the bundle's proof leads to %s", ErrOtherHeader, l.State, c.root)
	}
	signers, err := b.signers()
	if err != nil {
		return nil, err
	}
	if !signers.IsZero() && signers != l.Log.Validators {
		return nil, fmt.Errorf("%w: it names other validators", ErrOtherHeader)
	}
	log, first := l.Log, b.Steps[0]
	first.Transitions, first.Head, first.Log = l.Transitions, l.Head, &log
	out := &Bundle{
		Version: Version, Kind: b.Kind, Code: b.Code, Trust: b.tag(l.Trust), Versions: l.Versions,
		Steps: append([]Step{first}, b.Steps[1:]...), Values: b.Values, Keys: b.Keys,
	}
	return out, out.check()
}

// signers returns the hash of the validators of the answering header, or the
// zero digest where the bundle leaves them to what is trusted before.
func (b *Bundle) signers() (cityid.Digest, error) {
	step := &b.Steps[0]
	if step.Log != nil {
		return step.Log.Validators, nil
	}
	if len(step.Head.Validators) == 0 {
		return cityid.Digest{}, nil
	}
	var vals header.Validators
	if err := vals.UnmarshalBinary(step.Head.Validators); err != nil {
		return cityid.Digest{}, fmt.Errorf("validators of the bundle's header: %w", err)
	}
	return cityid.Digest(vals.Hash()), nil
}
