// SPDX-License-Identifier: Apache-2.0

package cityid

import (
	"net/url"
	"strings"
)

// Limits on zones.
const (
	MaxEndpoints          = 8   // base URLs of a zone's nodes
	MaxDescentTransitions = 16  // changes of validators in one checkpoint
	MaxEndpoint           = 255 // octets of one
	ClockTolerance        = 20  // seconds by which a zone's header may be ahead of its parent's time: two heartbeats
)

// maxHeight is the greatest height of a block.
const maxHeight = 1<<63 - 1

// Delegation says, in the record of a code, that a zone of its own answers for
// what lies below the code. The parent's record stays the authority on the
// code's policy, status, crosswalk entries and delegation; the zone is the one
// for everything else about it, and for all below it.
type Delegation struct {
	Chain     string   `cbor:"1,keyasint" json:"chain"`                         // chain id of the zone, different from any before
	Genesis   Digest   `cbor:"2,keyasint" json:"genesis"`                       // SHA-256 of its genesis file
	Places    bool     `cbor:"3,keyasint,omitempty" json:"places,omitempty"`    // the code is a place, and the zone has the places that continue it too
	Endpoints []string `cbor:"4,keyasint,omitempty" json:"endpoints,omitempty"` // base URLs of its nodes, at most 8
}

// Check bounds the delegation of a code.
func (d *Delegation) Check(code Code) error {
	switch {
	case !ValidChainID(d.Chain) || d.Genesis.IsZero():
		return Errorf(ErrInvalid, "delegation of %s: the chain id and the hash of the genesis file must be given", code)
	case d.Places && !code.isPlace():
		return Errorf(ErrInvalid, "delegation of %s: only a place has places that continue it", code)
	case len(d.Endpoints) > MaxEndpoints:
		return Errorf(ErrTooLarge, "delegation of %s: %d endpoints: at most %d", code, len(d.Endpoints), MaxEndpoints)
	}
	for i, e := range d.Endpoints {
		if err := checkEndpoint(e); err != nil {
			return Errorf(ErrInvalid, "delegation of %s: endpoint %.80q: %v", code, e, err)
		}
		for _, before := range d.Endpoints[:i] {
			if before == e {
				return Errorf(ErrInvalid, "delegation of %s: endpoint %s is given twice", code, e)
			}
		}
	}
	return nil
}

// checkEndpoint demands scheme and host in lower case, perhaps a port and a
// path, and nothing else: what a node's addresses are appended to. Answers
// prove themselves, so http will do.
func checkEndpoint(text string) error {
	u, err := url.Parse(text)
	if err != nil || len(text) > MaxEndpoint {
		return Errorf(ErrInvalid, "want a URL of at most %d octets", MaxEndpoint)
	}
	switch {
	case u.Scheme != "https" && u.Scheme != "http", u.Host == "", u.Host != strings.ToLower(u.Host), u.Opaque != "":
		return Errorf(ErrInvalid, "want https:// or http:// and a host in lower case")
	case u.User != nil, u.RawQuery != "", u.ForceQuery, u.Fragment != "", strings.HasSuffix(text, "/"), strings.HasSuffix(text, "#"), u.String() != text:
		return Errorf(ErrInvalid, "want no user, query, fragment or final slash")
	}
	return nil
}

// Covers reports whether a zone answers for a code whose apex it delegates:
// the apex itself, what lies below it and, with places, the places that
// continue it with all below them.
func (d *Delegation) Covers(apex, code Code) bool { return InZone(apex, d.Places, code) }

// InZone reports whether a code belongs to the zone of an apex: the apex
// itself, what lies below it and, with places, the places that continue it,
// with all below them.
func InZone(apex Code, places bool, code Code) bool {
	if apex == code || apex.Covers(code) {
		return true
	}
	for ; places && !code.IsZero(); code = code.Parent() {
		if apex.PlaceCovers(code) {
			return true
		}
	}
	return false
}

// Delegators returns the codes below an apex that may have been delegated so
// that another zone answers about code: code itself, those it lies below, and
// the places that its place continues, from the longest to the shortest.
func Delegators(apex, code Code) []Code {
	var out []Code
	for c := code; !c.IsZero() && c != apex; c = c.Parent() {
		out = append(out, c)
		if !c.isPlace() {
			continue
		}
		for n := len(c.Place()) - 1; n > 0; n-- {
			p, err := ParseCanonical(c.s[:len(c.s)-len(c.Place())+n])
			if p == apex {
				return out
			}
			if err != nil {
				break
			}
			out = append(out, p)
		}
	}
	return out
}

// Checkpoint is a header of a zone as the zone above accepted it.
type Checkpoint struct {
	Height     uint64   `cbor:"1,keyasint" json:"height"`                       // 0: the genesis, before any header
	Time       Time     `cbor:"2,keyasint" json:"time"`                         // of the header, cut to the second
	Header     Digest   `cbor:"3,keyasint,omitzero" json:"header,omitzero"`     // its hash
	Next       Digest   `cbor:"4,keyasint" json:"next_validators"`              // hash of the validators of the next height
	Validators Digest   `cbor:"5,keyasint,omitzero" json:"validators,omitzero"` // hash of those of this height
	Log        BlockLog `cbor:"6,keyasint" json:"log"`                          // of the state the header commits to; size 0 while there is none
}

// Check bounds the checkpoint's fields.
func (c *Checkpoint) Check() error {
	switch {
	case c.Time <= 0 || !c.Time.Valid() || c.Next.IsZero():
		return Errorf(ErrInvalid, "checkpoint: a time and the next validators must be given")
	case c.Height > maxHeight:
		return Errorf(ErrInvalid, "checkpoint: height %d: at most %d", c.Height, uint64(maxHeight))
	case (c.Height == 0) != c.Header.IsZero() || (c.Height == 0) != c.Validators.IsZero():
		return Errorf(ErrInvalid, "checkpoint: a height goes with a header and its validators")
	case (c.Log.Size == 0) != c.Log.Root.IsZero() || (c.Log.Size == 0) != (c.Log.First == 0):
		return Errorf(ErrInvalid, "checkpoint: a block log has a first height, a size and a root, or none of them")
	case c.Log.Size > 0 && (c.Log.First > c.Height || c.Log.Size > c.Height-c.Log.First):
		return Errorf(ErrInvalid, "checkpoint: the state before height %d can not hold a block log of %d from height %d", c.Height, c.Log.Size, c.Log.First)
	}
	return nil
}

// Hash returns the SHA-256 of the checkpoint's encoding, which ties a bundle to
// it.
func (c *Checkpoint) Hash() Digest { return hashOf(MustMarshal(c)) }

// Zone is what the zone above knows of a delegated one: the state entry at
// [ZoneKey].
type Zone struct {
	Chain      string     `cbor:"1,keyasint" json:"chain"`
	Places     bool       `cbor:"2,keyasint,omitempty" json:"places,omitempty"`
	Checkpoint Checkpoint `cbor:"3,keyasint" json:"checkpoint"`               // the last one accepted
	Accepted   Change     `cbor:"4,keyasint" json:"accepted"`                 // where that was
	Anchored   Time       `cbor:"5,keyasint" json:"anchored"`                 // when the parent and the code last vouched for a checkpoint: at the delegation, or when it was anchored again
	Anchors    uint32     `cbor:"6,keyasint" json:"anchors"`                  // how often: from the second on, each is a break in continuity
	Fork       *Fork      `cbor:"7,keyasint,omitempty" json:"fork,omitempty"` // why the zone is frozen; nil: it is not
}

// Fork says that a zone's validators signed two headers at one height.
type Fork struct {
	Height   uint64    `cbor:"1,keyasint" json:"height"`
	Headers  [2]Digest `cbor:"2,keyasint" json:"headers"` // their hashes, the smaller first
	Reported Change    `cbor:"3,keyasint" json:"reported"`
}

// Upstream is what a zone knows of the zone above, from its own genesis on: the
// state entry at [UpstreamKey]. A zone without it has none above.
type Upstream struct {
	Zone       Code       `cbor:"1,keyasint" json:"zone"`                       // apex of the zone above
	Chain      string     `cbor:"2,keyasint" json:"chain"`                      // its chain id
	Places     bool       `cbor:"3,keyasint,omitempty" json:"places,omitempty"` // as [Delegation] has it
	Checkpoint Checkpoint `cbor:"4,keyasint" json:"checkpoint"`                 // a header of the zone above; its block log is left empty
	Revision   uint32     `cbor:"5,keyasint" json:"revision"`                   // of the apex's record up there that was followed last; 0: none yet
}

// LightBlock is a header with the signatures of its validators, in the compact
// encodings of package header.
type LightBlock struct {
	Header     Bytes `cbor:"1,keyasint" json:"header"`
	Validators Bytes `cbor:"2,keyasint,omitempty" json:"validators,omitempty"` // left out if they are those trusted for the next header
	Commit     Bytes `cbor:"3,keyasint" json:"commit"`
}

// Descent leads from a checkpoint to a later header of the zone. The headers of
// transitions have their app hash, that of the head has not: it follows from
// what the head is said to commit to.
type Descent struct {
	Validators  Bytes        `cbor:"1,keyasint,omitempty" json:"validators,omitempty"` // those the checkpoint names as the next; left out if the first block has them
	Transitions []LightBlock `cbor:"2,keyasint,omitempty" json:"transitions,omitempty"`
	Head        LightBlock   `cbor:"3,keyasint" json:"head"`
}

// LogDescent shows that the block log in the state of a head goes on from a
// checkpoint.
type LogDescent struct {
	First uint64 `cbor:"1,keyasint,omitempty" json:"first,omitempty"` // height of leaf 0; 0: there is no block log yet
	Size  uint64 `cbor:"2,keyasint,omitempty" json:"size,omitempty"`
	Proof Bytes  `cbor:"3,keyasint" json:"proof"`                    // merkle.Proof for [BlockLogKey]
	Path  Bytes  `cbor:"4,keyasint,omitempty" json:"path,omitempty"` // merkle.LogProof of the checkpoint's header; left out where the log is the checkpoint's own
	Root  Digest `cbor:"5,keyasint,omitzero" json:"root,omitzero"`   // of the log, where the checkpoint is the genesis: else it follows from Path, or is the checkpoint's own
}

// Delegate gives what lies below a code to a zone of its own, anchors that zone
// again, or changes where its nodes are. The parent's policy and the code's
// decide together; the code's alone where only endpoints change.
type Delegate struct {
	Code       Code        `cbor:"1,keyasint" json:"code"`
	Revision   uint32      `cbor:"2,keyasint" json:"revision"` // expected
	Delegation Delegation  `cbor:"3,keyasint" json:"delegation"`
	Checkpoint *Checkpoint `cbor:"4,keyasint,omitempty" json:"checkpoint,omitempty"` // the first one, or to anchor again; nil: the zone goes on from the last one accepted
}

// PostCheckpoint brings a later header of a delegated zone. It proves itself, so
// anybody may bring it.
type PostCheckpoint struct {
	Zone        Code       `cbor:"1,keyasint" json:"zone"`
	Descent     Descent    `cbor:"2,keyasint" json:"descent"`
	Log         LogDescent `cbor:"3,keyasint" json:"log"`
	Consistency Bytes      `cbor:"4,keyasint,omitempty" json:"consistency,omitempty"` // merkle.LogProof from the checkpoint's block log; left out where that is empty or unchanged
}

// ReportFork brings two headers of a delegated zone at one height, both signed
// by validators that its last checkpoint leads to. It proves itself, and
// freezes the zone. App hashes stand in all its headers.
type ReportFork struct {
	Zone  Code     `cbor:"1,keyasint" json:"zone"`
	One   Descent  `cbor:"2,keyasint" json:"one"`
	Other *Descent `cbor:"3,keyasint,omitempty" json:"other,omitempty"` // nil: One contradicts the checkpoint itself
}

// Unfreeze goes on with one branch of a zone that was frozen. The parent's
// policy and the code's decide together.
type Unfreeze struct {
	Zone       Code       `cbor:"1,keyasint" json:"zone"`
	Fork       uint64     `cbor:"2,keyasint" json:"fork"`       // height of the fork that was reported
	Checkpoint Checkpoint `cbor:"3,keyasint" json:"checkpoint"` // on the branch to go on with
}

// Follow takes over what the zone above says of this zone's apex: its policy,
// status and whether it is still delegated. It proves itself, so anybody may
// bring it. The record must be of a later revision than the one followed last,
// or the same, which only brings a later header.
type Follow struct {
	Descent Descent `cbor:"1,keyasint" json:"descent"`
	Record  Bytes   `cbor:"2,keyasint" json:"record"` // encoding of the apex's record up there
	Proof   Bytes   `cbor:"3,keyasint" json:"proof"`  // merkle.Proof for its [RecordKey] in the state the head commits to
}
