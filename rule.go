// SPDX-License-Identifier: Apache-2.0

package cityid

import "strings"

// Params are the numbers the apex policy sets. Times are in seconds, but for the
// notice of an upgrade.
type Params struct {
	Revision          uint32 `cbor:"1,keyasint" json:"revision"`                               // of parameters, rule and schemes together
	TxLifetime        uint32 `cbor:"2,keyasint" json:"tx_lifetime"`                            // longest time a transaction may ask for: 60 to 3600
	RecoveryDelay     uint32 `cbor:"3,keyasint" json:"recovery_delay"`                         // at least 7 days
	ApexDelay         uint32 `cbor:"4,keyasint" json:"apex_delay"`                             // at least 30 days
	ProposalLifetime  uint32 `cbor:"5,keyasint" json:"proposal_lifetime"`                      // default and longest: 1 hour to 1 year
	IntakeLimit       uint32 `cbor:"6,keyasint" json:"intake_limit"`                           // open applications a member may have brought
	ServiceLevel      uint32 `cbor:"7,keyasint,omitempty" json:"service_level,omitempty"`      // seconds in which an application should be decided; for display
	UpgradeNotice     uint32 `cbor:"8,keyasint,omitempty" json:"upgrade_notice,omitempty"`     // blocks between the decision on an upgrade and its height; 0: DefaultUpgradeNotice
	CheckpointSpacing uint32 `cbor:"9,keyasint,omitempty" json:"checkpoint_spacing,omitempty"` // least seconds between two checkpoints of a delegated zone: 1 to 86400; 0: DefaultCheckpointSpacing
}

// DefaultParams are the parameters a network starts with.
var DefaultParams = Params{
	Revision: 1, TxLifetime: 3600, RecoveryDelay: 7 * 86400, ApexDelay: 90 * 86400,
	ProposalLifetime: 30 * 86400, IntakeLimit: 1000, ServiceLevel: 10 * 86400,
}

// DefaultCheckpointSpacing is the least time between two checkpoints of a
// delegated zone where the parameters do not say, in seconds.
const DefaultCheckpointSpacing = 60

// Spacing is the least time between two checkpoints of a delegated zone, in
// seconds.
func (p *Params) Spacing() Time {
	if p.CheckpointSpacing == 0 {
		return DefaultCheckpointSpacing
	}
	return Time(p.CheckpointSpacing)
}

// Check reports the first parameter outside its range.
func (p *Params) Check() error {
	for _, r := range []struct {
		name        string
		v, min, max uint32
	}{
		{"tx_lifetime", p.TxLifetime, 60, 3600},
		{"recovery_delay", p.RecoveryDelay, 7 * 86400, 365 * 86400},
		{"apex_delay", p.ApexDelay, 30 * 86400, 365 * 86400},
		{"proposal_lifetime", p.ProposalLifetime, 3600, 365 * 86400},
		{"intake_limit", p.IntakeLimit, 1, 1_000_000},
		{"service_level", p.ServiceLevel, 0, 365 * 86400},
		{"upgrade_notice", p.UpgradeNotice, 0, MaxUpgradeNotice},
		{"checkpoint_spacing", p.CheckpointSpacing, 0, 86400},
	} {
		if r.v < r.min || r.v > r.max {
			return Errorf(ErrInvalid, "parameter %s is %d: want %d to %d", r.name, r.v, r.min, r.max)
		}
	}
	return nil
}

// Rule is the distribution rule: what may be allocated where. It is data,
// changed only by the apex policy and provable like any record.
type Rule struct {
	Kinds   []KindRule  `cbor:"1,keyasint" json:"kinds"`                       // in order of kind, each once; kinds not named may not be allocated
	Classes []ClassRule `cbor:"2,keyasint,omitempty" json:"classes,omitempty"` // in order of prefix, each once
}

// KindRule governs one kind.
type KindRule struct {
	Kind        Kind     `cbor:"1,keyasint" json:"kind"`
	Parents     []Kind   `cbor:"2,keyasint" json:"parents"`                          // kinds its parent may have
	Patterns    []string `cbor:"3,keyasint,omitempty" json:"patterns,omitempty"`     // its last node matches one of these; see [MatchPattern]; none: any
	Sequence    bool     `cbor:"4,keyasint,omitempty" json:"sequence,omitempty"`     // digits, allocated without a gap from 1 upwards
	Schemes     []string `cbor:"5,keyasint,omitempty" json:"schemes,omitempty"`      // crosswalk entries it must carry
	Languages   []string `cbor:"6,keyasint,omitempty" json:"languages,omitempty"`    // languages its name must have, unless sealed
	Evidence    uint8    `cbor:"7,keyasint,omitempty" json:"evidence,omitempty"`     // least number of evidence documents of an application
	PreApprover uint8    `cbor:"8,keyasint,omitempty" json:"pre_approver,omitempty"` // that many first characters of its place name a code that must approve as well
	Apex        bool     `cbor:"10,keyasint,omitempty" json:"apex,omitempty"`        // the apex policy decides allocations of this kind, instead of the parent's
	Quota       uint32   `cbor:"9,keyasint,omitempty" json:"quota,omitempty"`        // most codes of this kind below one parent; 0: no limit
}

// Disclosure is how much of a class's objects is published.
type Disclosure uint8

// The disclosures, from most to least.
const (
	DisclosureOpen Disclosure = iota + 1
	DisclosureCoarse
	DisclosureSealed
)

var disclosureNames = []string{1: "open", "coarse", "sealed"}

// String returns the disclosure's name.
func (d Disclosure) String() string { return nameOf(disclosureNames, uint8(d), "disclosure") }

// MarshalText returns the disclosure's name.
func (d Disclosure) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText parses a disclosure's name.
func (d *Disclosure) UnmarshalText(text []byte) error {
	return parseName(disclosureNames, text, "disclosure", (*uint8)(d))
}

// ClassRule says how objects of a class are published: at most so.
type ClassRule struct {
	Prefix     string     `cbor:"1,keyasint" json:"prefix"` // of the class node "use.category"; the longest that fits decides
	Disclosure Disclosure `cbor:"2,keyasint" json:"disclosure"`
}

// ForKind returns the rule of kind k, or nil if it may not be allocated.
func (r *Rule) ForKind(k Kind) *KindRule {
	for i := range r.Kinds {
		if r.Kinds[i].Kind == k {
			return &r.Kinds[i]
		}
	}
	return nil
}

// DisclosureOf returns how much of a code with the given class part may be
// published; open if no rule fits.
func (r *Rule) DisclosureOf(class string) Disclosure {
	best, d := -1, DisclosureOpen
	for _, c := range r.Classes {
		if len(c.Prefix) > best && class != "" && strings.HasPrefix(class, c.Prefix) {
			best, d = len(c.Prefix), c.Disclosure
		}
	}
	return d
}

// Check reports the first part of the rule that is out of order or bounds.
func (r *Rule) Check() error {
	if len(r.Kinds) > len(kindNames) || len(r.Classes) > 1000 {
		return Errorf(ErrTooLarge, "distribution rule: at most one entry a kind and 1000 classes")
	}
	for i := range r.Kinds {
		k := &r.Kinds[i]
		if !k.Kind.Valid() || i > 0 && r.Kinds[i-1].Kind >= k.Kind {
			return Errorf(ErrInvalid, "distribution rule: kinds must be known and in order, each once")
		}
		if len(k.Parents) > len(kindNames) || len(k.Patterns) > 64 || len(k.Schemes) > MaxAliases || len(k.Languages) > MaxNames || k.PreApprover > 11 {
			return Errorf(ErrTooLarge, "distribution rule for %s: too long a list", k.Kind)
		}
		for _, p := range k.Parents {
			if !p.Valid() {
				return Errorf(ErrInvalid, "distribution rule for %s: unknown parent kind", k.Kind)
			}
		}
		for _, p := range k.Patterns {
			if p == "" || len(p) > 25 {
				return Errorf(ErrInvalid, "distribution rule for %s: a pattern has 1 to 25 characters", k.Kind)
			}
		}
		for _, n := range k.Schemes {
			if !ValidSchemeName(n) {
				return Errorf(ErrInvalid, "distribution rule for %s: scheme name %.40q", k.Kind, n)
			}
		}
		for _, l := range k.Languages {
			if !validLang(l) {
				return Errorf(ErrInvalid, "distribution rule for %s: language %.40q", k.Kind, l)
			}
		}
	}
	for i, c := range r.Classes {
		if c.Disclosure < DisclosureOpen || c.Disclosure > DisclosureSealed || c.Prefix == "" || len(c.Prefix) > 40 || i > 0 && r.Classes[i-1].Prefix >= c.Prefix {
			return Errorf(ErrInvalid, "distribution rule: class prefixes must be in order, each once, with a known disclosure")
		}
	}
	return nil
}

// MatchPattern reports whether s matches pattern character by character: '#' is
// a digit, '@' an upper-case letter, '?' either; every other character stands
// for itself; a trailing '*' takes any rest.
func MatchPattern(pattern, s string) bool {
	rest := strings.HasSuffix(pattern, "*")
	pattern = strings.TrimSuffix(pattern, "*")
	if len(s) < len(pattern) || len(s) > len(pattern) && !rest {
		return false
	}
	for i := range len(pattern) {
		c := s[i]
		digit, letter := c >= '0' && c <= '9', c >= 'A' && c <= 'Z'
		switch pattern[i] {
		case '#':
			if !digit {
				return false
			}
		case '@':
			if !letter {
				return false
			}
		case '?':
			if !digit && !letter {
				return false
			}
		default:
			if c != pattern[i] {
				return false
			}
		}
	}
	return true
}

// Scheme is a crosswalk scheme: a foreign way of naming things.
type Scheme struct {
	Name     string   `cbor:"1,keyasint" json:"name"` // 1 to 24 lower-case letters, digits and hyphens
	Titles   Names    `cbor:"2,keyasint" json:"titles"`
	Owner    Code     `cbor:"3,keyasint,omitzero" json:"owner,omitzero"`      // whose policy agrees to each entry; zero: free, the code's alone decides
	Patterns []string `cbor:"4,keyasint,omitempty" json:"patterns,omitempty"` // a value matches one of these; none: any
}

// Check reports the first part of the scheme that breaks its rule.
func (s *Scheme) Check() error {
	if !ValidSchemeName(s.Name) {
		return Errorf(ErrInvalid, "scheme name %.40q: want 1 to 24 lower-case letters, digits and hyphens", s.Name)
	}
	if len(s.Patterns) > 16 {
		return Errorf(ErrTooLarge, "scheme %s: at most 16 patterns", s.Name)
	}
	for _, p := range s.Patterns {
		if p == "" || len(p) > maxValue {
			return Errorf(ErrInvalid, "scheme %s: a pattern has 1 to %d characters", s.Name, maxValue)
		}
	}
	return checkNames(s.Titles)
}

// ValidSchemeName reports whether s can name a scheme.
func ValidSchemeName(s string) bool {
	return len(s) >= 1 && len(s) <= 24 && !strings.ContainsFunc(s, func(c rune) bool {
		return (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-'
	})
}

// CheckAliases reports the first of the aliases that is malformed. Whether
// their schemes exist and accept the values is for the registry to say.
func CheckAliases(list []Alias) error {
	if len(list) > MaxAliases {
		return Errorf(ErrTooLarge, "%d crosswalk entries: at most %d", len(list), MaxAliases)
	}
	for i, a := range list {
		if !ValidSchemeName(a.Scheme) {
			return Errorf(ErrCrosswalk, "scheme name %.40q: want 1 to 24 lower-case letters, digits and hyphens", a.Scheme)
		}
		if len(a.Value) > maxValue {
			return Errorf(ErrTooLarge, "value of %d octets in scheme %s: at most %d", len(a.Value), a.Scheme, maxValue)
		}
		if !common(a.Value) {
			if err := CheckText("value in scheme "+a.Scheme, a.Value, true); err != nil {
				return err
			}
		}
		if !a.From.Valid() || !a.Until.Valid() || a.Until != 0 && a.Until <= a.From {
			return Errorf(ErrCrosswalk, "entry %s:%s: its end must come after its beginning", a.Scheme, a.Value)
		}
		if i > 0 && (list[i-1].Scheme > a.Scheme || list[i-1].Scheme == a.Scheme && list[i-1].Value >= a.Value) {
			return Errorf(ErrCrosswalk, "crosswalk entries must be in order of scheme and value, each once")
		}
	}
	return nil
}
