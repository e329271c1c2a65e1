// SPDX-License-Identifier: Apache-2.0

package verify

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"

	"cityid"
)

// Verdict is the outcome of a check. The zero Verdict is [Undecided].
type Verdict uint8

// The verdicts.
const (
	Undecided Verdict = iota // consistent, but not shown to hold
	Valid                    // holds, as of the header named
	Invalid                  // contradicts itself, the trust root or the question
)

var verdictNames = [...]string{"undecided", "valid", "invalid"}

// String returns the verdict's name.
func (v Verdict) String() string {
	if int(v) < len(verdictNames) {
		return verdictNames[v]
	}
	return "verdict-" + strconv.Itoa(int(v))
}

// MarshalText returns the verdict's name.
func (v Verdict) MarshalText() ([]byte, error) { return []byte(v.String()), nil }

// UnmarshalText parses a verdict's name.
func (v *Verdict) UnmarshalText(text []byte) error {
	for i, n := range verdictNames {
		if n == string(text) {
			*v = Verdict(i)
			return nil
		}
	}
	return fmt.Errorf("verdict %.40q: want valid, invalid or undecided", text)
}

// Reason says why a verdict is not [Valid]. The list is closed and append-only.
type Reason string

// Reasons for [Invalid].
const (
	ReasonMalformed Reason = "malformed"     // not the one encoding of a bundle, or beyond its bounds
	ReasonQuestion  Reason = "question"      // answers something else than was asked
	ReasonTrust     Reason = "trust-root"    // a version of the trust root does not follow from the one before
	ReasonRecord    Reason = "record"        // the records contradict each other, the code or the header
	ReasonProof     Reason = "proof"         // the state or block log proof can not be one of this answer
	ReasonSignature Reason = "not-signed"    // the validators did not sign this header over this answer
	ReasonFork      Reason = "contradiction" // a header contradicts the one that the trust root or a checkpoint names
	ReasonDescent   Reason = "no-descent"    // a zone's header does not go on from its checkpoint
)

// Reasons for [Undecided].
const (
	ReasonUnsupported  Reason = "unsupported"      // made by a later version of this format
	ReasonOtherTrust   Reason = "other-trust-root" // leads on from a trust root the verifier does not hold
	ReasonNotConnected Reason = "not-connected"    // validators unknown to the trust root signed it
	ReasonTrustExpired Reason = "trust-expired"    // the trust root is too old; a newer version is needed
	ReasonZone         Reason = "outside-zone"     // the zone is not the one to answer for this code
	ReasonClock        Reason = "clock"            // a header is ahead of the verifier's clock
	ReasonStale        Reason = "stale"            // too old for the time wanted
	ReasonChangedSince Reason = "changed-since"    // the answer changed after the time wanted
	ReasonFrozen       Reason = "frozen"           // the zone's validators signed two headers at one height, and nobody has decided yet which holds
)

// Result is what a check found.
//
// What it tells of the answer is what the bundle says, which nothing supports
// unless Verdict is [Valid]; it is empty if Verdict is [Invalid].
type Result struct {
	Verdict Verdict `json:"verdict"`
	Reason  Reason  `json:"reason,omitempty"` // empty if valid
	Message string  `json:"message"`          // the verdict in a sentence, lower case, no full stop

	Code cityid.Code       `json:"code,omitzero"`
	Kind cityid.AnswerKind `json:"kind,omitempty"`

	// Allocated says, for a record or history, whether the code was allocated at
	// the time wanted. Record is then the revision in force at that time.
	Allocated bool           `json:"allocated"`
	Record    *cityid.Record `json:"record,omitempty"`

	// Records are the entries of a listing in order of their codes, or the
	// revisions of a history, latest first, whatever the time wanted.
	Records []cityid.Record `json:"records,omitempty"`

	// Entries are the entries asked for, in order of their keys. Records are then
	// those among them.
	Entries []Entry `json:"entries,omitempty"`

	// Zones are those the way leads through, the trust root's first; of a referral,
	// the last one is the zone to ask.
	Zones []ZoneResult `json:"zones,omitempty"`

	AsOf  cityid.AsOf   `json:"as_of,omitzero"` // the state that answers, with the time of the header that commits to it
	Trust *cityid.Trust `json:"-"`              // the version of the trust root that decided

	// Learned are versions of the trust root after the verifier's, each properly
	// signed. They hold whatever the verdict on the rest.
	Learned []cityid.Trust `json:"-"`

	Checks []Finding `json:"checks"` // what was checked, in order
}

// Entry is what stands at a key of the state.
type Entry struct {
	Key   cityid.Bytes `json:"key"`
	Value cityid.Bytes `json:"value,omitempty"` // nil: nothing does
}

// Entry decodes what stands at key into v, which is a pointer to what the key
// stands for: a [cityid.Record], [cityid.Attestation], [cityid.Agreement] or
// [cityid.Anchor]. It is false if nothing does. Where the key was not asked for
// or the value is something else, it is an error.
func (r *Result) Entry(key []byte, v any) (bool, error) {
	for _, e := range r.Entries {
		if !bytes.Equal(e.Key, key) {
			continue
		}
		if e.Value == nil {
			return false, nil
		}
		if err := cityid.Unmarshal(e.Value, v); err != nil {
			return false, fmt.Errorf("entry at %x: %w", key, err)
		}
		return true, nil
	}
	return false, fmt.Errorf("the bundle does not answer about the key %x", key)
}

// Asked reports whether the bundle answers about a key of the state.
func (r *Result) Asked(key []byte) bool {
	return slices.ContainsFunc(r.Entries, func(e Entry) bool { return bytes.Equal(e.Key, key) })
}

// ZoneResult is one zone on the way to an answer.
type ZoneResult struct {
	Zone  cityid.Code `json:"zone"` // its apex
	Chain string      `json:"chain"`
	AsOf  cityid.AsOf `json:"as_of,omitzero"` // its state that was shown; zero for the zone a referral leads to

	// Record and Known are what the zone above says: the apex's record, and what
	// is known of the zone. Nil for the trust root's zone. Status and policy of
	// the apex are those of Record, whatever the zone itself says.
	Record *cityid.Record `json:"record,omitempty"`
	Known  *cityid.Zone   `json:"known,omitempty"`
}

// Finding is the outcome of one check.
type Finding struct {
	Zone    cityid.Code `json:"zone,omitzero"` // whose step was checked; zero: the bundle has but one
	Name    string      `json:"name"`
	Verdict Verdict     `json:"verdict"`
	Detail  string      `json:"detail"` // what was found, or what is wrong
}

// finding is why a check did not come out valid.
type finding struct {
	verdict Verdict
	reason  Reason
	message string
}

func invalid(r Reason, format string, args ...any) *finding {
	return &finding{Invalid, r, fmt.Sprintf(format, args...)}
}

func undecided(r Reason, format string, args ...any) *finding {
	return &finding{Undecided, r, fmt.Sprintf(format, args...)}
}

// report notes a finding. Of all findings the first invalid one decides, else
// the first undecided one.
func (c *checker) report(name string, f *finding) {
	found := Finding{Name: name, Verdict: f.verdict, Detail: f.message}
	if c.step != nil && len(c.b.Steps) > 1 {
		found.Zone = c.from.apex
	}
	c.res.Checks = append(c.res.Checks, found)
	if f.verdict == Invalid && c.res.Verdict != Invalid || f.verdict == Undecided && c.res.Reason == "" {
		c.res.Verdict, c.res.Reason, c.res.Message = f.verdict, f.reason, f.message
	}
}

// finish completes the result.
func (c *checker) finish() Result {
	r := &c.res
	r.Code, r.Kind, r.Trust = c.b.Code, c.b.Kind, c.base
	if r.Kind == cityid.AnswerRecord {
		r.Records = nil
	}
	switch r.Verdict {
	case Invalid:
		r.Allocated, r.Record, r.Records, r.Entries, r.Zones, r.AsOf = false, nil, nil, nil, nil, cityid.AsOf{}
	case Valid:
		r.Message = r.says()
	}
	return *r
}

// says words a valid answer.
func (r *Result) says() string {
	asOf := fmt.Sprintf("as of %s (height %d of %s)", r.AsOf.Time.Format("2006-01-02T15:04:05Z07:00"), r.AsOf.Height, r.AsOf.Chain)
	if n := len(r.Zones); n > 1 {
		last := &r.Zones[n-1]
		if r.Kind != cityid.AnswerReferral {
			asOf = "by the zone of " + last.Zone.String() + ", " + asOf
		}
		if s := last.Record.Status; s != cityid.StatusActive {
			asOf += "; the zone above says that " + last.Zone.String() + " is " + s.String()
		}
	}
	switch {
	case r.Kind == cityid.AnswerReferral:
		last := &r.Zones[len(r.Zones)-1]
		return fmt.Sprintf("the zone of %s (chain %s) answers for %s, %s", last.Zone, last.Chain, r.Code, asOf)
	case r.Kind == cityid.AnswerChildren:
		return fmt.Sprintf("%s has %s directly below it, %s", r.Code, count(len(r.Records), "code"), asOf)
	case r.Kind == cityid.AnswerDescendants:
		return fmt.Sprintf("%s has %s below it, %s", r.Code, count(len(r.Records), "code"), asOf)
	case r.Kind == cityid.AnswerEntries:
		there := 0
		for _, e := range r.Entries {
			there += min(1, len(e.Value))
		}
		return fmt.Sprintf("there are entries at %d of %s, %s", there, count(len(r.Entries), "key"), asOf)
	case !r.Allocated:
		return fmt.Sprintf("%s is not allocated, %s", r.Code, asOf)
	case r.Kind == cityid.AnswerHistory:
		return fmt.Sprintf("%s has %s, of which %d is the one in force, %s", r.Code, count(len(r.Records), "revision"), r.Record.Revision, asOf)
	default:
		return fmt.Sprintf("%s is %s at revision %d, %s", r.Code, r.Record.Status, r.Record.Revision, asOf)
	}
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return strconv.Itoa(n) + " " + what + "s"
}

func number(n uint32) string { return strconv.FormatUint(uint64(n), 10) }

// String returns the tag as 16 lower-case hexadecimal digits.
func (t Tag) String() string { return hex.EncodeToString(t[:]) }
