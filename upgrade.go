// SPDX-License-Identifier: Apache-2.0

package cityid

import "fmt"

// FoundingRules is the version of the rules under which every chain is founded.
const FoundingRules = 1

// Bounds of how far ahead an upgrade is planned, in blocks.
const (
	DefaultUpgradeNotice = 1000        // least, unless the parameters say otherwise
	MaxUpgradeNotice     = 1_000_000   // most that the parameters may ask for
	maxUpgradeAhead      = 100_000_000 // most
)

// SetUpgrade plans from which block on the zone follows another version of the
// rules, or changes or cancels the plan that stands. The apex policy decides,
// and can until the block before.
type SetUpgrade struct {
	Revision uint32   `cbor:"1,keyasint" json:"revision"`                 // expected revision of [Ruleset]
	Plan     *Upgrade `cbor:"2,keyasint,omitempty" json:"plan,omitempty"` // nil: cancel what is planned
}

// Upgrade is a planned change to a version of the rules. A node whose program
// does not know the version stops before the block at Height.
type Upgrade struct {
	Version uint32 `cbor:"1,keyasint" json:"version"`                  // greater than the one in force
	Height  uint64 `cbor:"2,keyasint" json:"height"`                   // of the first block under it
	Release string `cbor:"3,keyasint" json:"release"`                  // the program to install, as people call it
	Href    string `cbor:"4,keyasint,omitempty" json:"href,omitempty"` // where it is described; as the href of a [Link]
	Digest  Digest `cbor:"5,keyasint,omitzero" json:"digest,omitzero"` // SHA-256 of what is there; zero: not said
}

// Ruleset says which version of the rules a zone follows. A zone that never
// planned a change has none in its state, which means the founding version. Use
// [Ruleset.At] on what the state holds: a plan comes into force by its height,
// without anything being written.
type Ruleset struct {
	Revision uint32   `cbor:"1,keyasint" json:"revision"`                 // of this value; 0 before the first change
	Version  uint32   `cbor:"2,keyasint" json:"version"`                  // in force
	Since    uint64   `cbor:"3,keyasint" json:"since"`                    // height of the first block under it; 0: the founding
	Plan     *Upgrade `cbor:"4,keyasint,omitempty" json:"plan,omitempty"` // what is planned
}

// RulesetKey is the key of the [Ruleset].
var RulesetKey = textKey(nsSingle, "rules")

// At returns what holds for the block at a height: a plan whose height is
// reached is in force, and no longer a plan.
func (r Ruleset) At(height uint64) Ruleset {
	if r.Version == 0 {
		r.Version = FoundingRules
	}
	if r.Plan != nil && height >= r.Plan.Height {
		r.Version, r.Since, r.Plan = r.Plan.Version, r.Plan.Height, nil
	}
	return r
}

// Check reports the first thing wrong with a plan, for whoever makes one in the
// block at a height while r is in force: the version is not greater, the height
// is nearer than notice blocks or absurdly far, the release is not named.
func (u *Upgrade) Check(r Ruleset, height uint64, notice uint32) error {
	switch {
	case u.Version <= r.Version:
		return Errorf(ErrInvalid, "version %d of the rules is not greater than version %d, which is in force", u.Version, r.Version)
	case u.Height < height+uint64(notice):
		return Errorf(ErrInvalid, "block %d comes too soon: block %d or later gives the %d blocks of notice that operators have", u.Height, height+uint64(notice), notice)
	case u.Height > height+maxUpgradeAhead:
		return Errorf(ErrInvalid, "block %d is more than %d blocks ahead", u.Height, maxUpgradeAhead)
	}
	if err := CheckText("release", u.Release, true); err != nil {
		return err
	}
	if u.Href == "" {
		if !u.Digest.IsZero() {
			return Errorf(ErrInvalid, "the digest of the release has no address")
		}
		return nil
	}
	_, err := LinkHost(u.Href)
	return err
}

// String says what to install, on one line.
func (u *Upgrade) String() string {
	s := fmt.Sprintf("%s, which has version %d of the rules", u.Release, u.Version)
	if u.Href != "" {
		s += " (" + u.Href + ")"
	}
	if !u.Digest.IsZero() {
		s += ", SHA-256 " + u.Digest.String()
	}
	return s
}

// Notice returns how many blocks ahead an upgrade must be planned.
func (p *Params) Notice() uint32 {
	if p.UpgradeNotice == 0 {
		return DefaultUpgradeNotice
	}
	return p.UpgradeNotice
}
