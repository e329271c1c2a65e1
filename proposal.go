// SPDX-License-Identifier: Apache-2.0

package cityid

// ProposalState is where a proposal stands.
type ProposalState uint8

// The states of a proposal. A pending or returned one whose time is over reads
// as expired; nothing is written for that.
const (
	ProposalPending ProposalState = iota + 1
	ProposalReturned
	ProposalExecuted
	ProposalRejected
	ProposalWithdrawn
	ProposalClosed // another proposal for the same code was decided
	ProposalExpired
)

var proposalStates = []string{1: "pending", "returned", "executed", "rejected", "withdrawn", "closed", "expired"}

// String returns the state's name.
func (s ProposalState) String() string { return nameOf(proposalStates, uint8(s), "state") }

// MarshalText returns the state's name.
func (s ProposalState) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText parses a state's name.
func (s *ProposalState) UnmarshalText(text []byte) error {
	return parseName(proposalStates, text, "state", (*uint8)(s))
}

// Open reports whether a proposal in this state can still be decided.
func (s ProposalState) Open() bool { return s == ProposalPending || s == ProposalReturned }

// Target is a record a proposal concerns, at the revision it was made for.
type Target struct {
	_        struct{} `cbor:",toarray"`
	Code     Code     `json:"code"`
	Revision uint32   `json:"revision"` // 0: not allocated
}

// Vote is one key's approval or rejection.
type Vote struct {
	Key  PublicKey `cbor:"1,keyasint" json:"key"`
	Time Time      `cbor:"2,keyasint" json:"time"`
	Note string    `cbor:"3,keyasint,omitempty" json:"note,omitempty"`
}

// Proposal is operations that wait for the approvals their policies ask for. A
// city's application is one; then Possessions is set and Operations is a single
// allocation.
type Proposal struct {
	Number      uint64        `cbor:"1,keyasint" json:"number"`
	Revision    uint32        `cbor:"2,keyasint" json:"revision"` // 1 when made; each edit counts
	State       ProposalState `cbor:"3,keyasint" json:"state"`
	Operations  []Operation   `cbor:"4,keyasint" json:"operations"`
	Targets     []Target      `cbor:"5,keyasint" json:"targets"`  // in order of code
	Policies    Digest        `cbor:"6,keyasint" json:"policies"` // of the deciding policies at the last edit
	Expires     Time          `cbor:"7,keyasint" json:"expires"`
	Created     Time          `cbor:"8,keyasint" json:"created"`
	Edited      Time          `cbor:"9,keyasint" json:"edited"`                    // when the proposal last changed its content or state
	Proposer    []PublicKey   `cbor:"10,keyasint" json:"proposer"`                 // signers who brought it
	Member      Code          `cbor:"11,keyasint,omitzero" json:"member,omitzero"` // of an application: whose intake key brought it
	Possessions []Possession  `cbor:"12,keyasint,omitempty" json:"possessions,omitempty"`
	Evidence    []Digest      `cbor:"13,keyasint,omitempty" json:"evidence,omitempty"`
	Approvals   []Vote        `cbor:"14,keyasint,omitempty" json:"approvals,omitempty"`
	Rejections  []Vote        `cbor:"15,keyasint,omitempty" json:"rejections,omitempty"`
	Note        string        `cbor:"16,keyasint,omitempty" json:"note,omitempty"` // of the proposer, or of the last return
	Intake      Digest        `cbor:"17,keyasint,omitzero" json:"-"`               // of an application: which member's limit it counts against
}

// Application reports whether the proposal is an application for a code.
func (p *Proposal) Application() bool { return len(p.Possessions) > 0 }

// Digest is what an approval names: the SHA-256 of "cityid/proposal/1" and the
// encoding of number, revision, operations, targets with their revisions, deciding
// policies, expiry and evidence. Any edit gives another.
func (p *Proposal) Digest() Digest {
	b := MustMarshal([]any{p.Number, p.Revision, p.Operations, p.Targets, p.Policies, p.Expires, p.Evidence})
	return hashOf(append([]byte("cityid/proposal/1"), b...))
}

// StateAt returns the proposal's state at time now, which is expired for an
// open one whose time is over.
func (p *Proposal) StateAt(now Time) ProposalState {
	if p.State.Open() && now >= p.Expires {
		return ProposalExpired
	}
	return p.State
}

// Waiting is a change that a delay holds back.
type Waiting struct {
	Code      Code       `cbor:"1,keyasint" json:"code"`
	Rekey     *Rekey     `cbor:"2,keyasint,omitempty" json:"rekey,omitempty"`  // a recovery
	Retire    *SetStatus `cbor:"3,keyasint,omitempty" json:"retire,omitempty"` // a retirement by the holder
	Started   Time       `cbor:"4,keyasint" json:"started"`
	Effective Time       `cbor:"5,keyasint" json:"effective"` // from here on it can be completed
	Vetoed    bool       `cbor:"6,keyasint,omitempty" json:"vetoed,omitempty"`
	Overruled bool       `cbor:"7,keyasint,omitempty" json:"overruled,omitempty"` // a veto was lifted; no further one counts
}

// Attestation is an anchored statement of a source about bytes.
type Attestation struct {
	Source    Code      `cbor:"1,keyasint" json:"source"`
	Digest    Digest    `cbor:"2,keyasint" json:"digest"`
	Size      uint64    `cbor:"3,keyasint,omitempty" json:"size,omitempty"`
	Label     string    `cbor:"4,keyasint,omitempty" json:"label,omitempty"`
	Key       PublicKey `cbor:"5,keyasint" json:"key"` // the first of the signers that had the right
	Changed   Change    `cbor:"6,keyasint" json:"changed"`
	Withdrawn Time      `cbor:"7,keyasint,omitempty" json:"withdrawn,omitempty"`
	Leaves    uint64    `cbor:"8,keyasint,omitempty" json:"leaves,omitempty"` // of a batch: Digest is an RFC 6962 root over so many leaves
	From      Time      `cbor:"9,keyasint,omitempty" json:"from,omitempty"`   // the time a batch covers, as the source says
	Until     Time      `cbor:"10,keyasint,omitempty" json:"until,omitempty"`
}

// EvidenceDigest is what an application names of a document that is kept off
// the chain: SHA-256("cityid/evidence/1" || salt || document). The salt is fresh
// for each document, so that nobody can test a guess at it.
func EvidenceDigest(salt Digest, document []byte) Digest {
	b := append([]byte("cityid/evidence/1"), salt[:]...)
	return hashOf(append(b, document...))
}
