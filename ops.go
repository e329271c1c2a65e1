// SPDX-License-Identifier: Apache-2.0

package cityid

import "reflect"

// Limits on transactions and what they carry.
const (
	MaxTx         = 512 << 10 // octets of an encoded transaction
	MaxOperations = 1000      // operations of a transaction, a batch counting each item
	MaxSigners    = 64        // signers of a transaction
	MaxEvidence   = 32        // evidence digests of an application
)

// Operation is one change asked of the registry: exactly one field is set. The
// list is closed and append-only; the numbers are part of the format. Numbers 27,
// 28 and 30 are kept for splitting a zone; this version refuses them as unknown
// fields.
type Operation struct {
	Apply            *Apply             `cbor:"1,keyasint,omitempty" json:"apply,omitempty"`
	Revise           *Revise            `cbor:"2,keyasint,omitempty" json:"revise,omitempty"`
	Return           *Return            `cbor:"3,keyasint,omitempty" json:"return,omitempty"`
	Propose          *Propose           `cbor:"4,keyasint,omitempty" json:"propose,omitempty"`
	Approve          *Approve           `cbor:"5,keyasint,omitempty" json:"approve,omitempty"`
	Reject           *Reject            `cbor:"6,keyasint,omitempty" json:"reject,omitempty"`
	Withdraw         *Withdraw          `cbor:"7,keyasint,omitempty" json:"withdraw,omitempty"`
	Allocate         *Allocate          `cbor:"8,keyasint,omitempty" json:"allocate,omitempty"`
	Amend            *Amend             `cbor:"9,keyasint,omitempty" json:"amend,omitempty"`
	SetStatus        *SetStatus         `cbor:"10,keyasint,omitempty" json:"set-status,omitempty"`
	Rekey            *Rekey             `cbor:"11,keyasint,omitempty" json:"rekey,omitempty"`
	Veto             *Veto              `cbor:"12,keyasint,omitempty" json:"veto,omitempty"`
	Map              *Map               `cbor:"13,keyasint,omitempty" json:"map,omitempty"`
	Attest           *Attest            `cbor:"14,keyasint,omitempty" json:"attest,omitempty"`
	Seal             *Seal              `cbor:"15,keyasint,omitempty" json:"seal,omitempty"`
	Unseal           *Unseal            `cbor:"16,keyasint,omitempty" json:"unseal,omitempty"`
	SetParams        *SetParams         `cbor:"17,keyasint,omitempty" json:"set-params,omitempty"`
	AgreementRequest *AgreementRequest  `cbor:"18,keyasint,omitempty" json:"agreement-request,omitempty"`
	AgreementGrant   *AgreementDecision `cbor:"19,keyasint,omitempty" json:"agreement-grant,omitempty"`
	AgreementRefuse  *AgreementDecision `cbor:"20,keyasint,omitempty" json:"agreement-refuse,omitempty"`
	AgreementRevoke  *AgreementDecision `cbor:"21,keyasint,omitempty" json:"agreement-revoke,omitempty"`
	AnchorReceipts   *AnchorReceipts    `cbor:"22,keyasint,omitempty" json:"anchor-receipts,omitempty"`
	Delegate         *Delegate          `cbor:"23,keyasint,omitempty" json:"delegate,omitempty"`
	Checkpoint       *PostCheckpoint    `cbor:"24,keyasint,omitempty" json:"checkpoint,omitempty"`
	ReportFork       *ReportFork        `cbor:"25,keyasint,omitempty" json:"report-fork,omitempty"`
	Unfreeze         *Unfreeze          `cbor:"26,keyasint,omitempty" json:"unfreeze,omitempty"`
	Follow           *Follow            `cbor:"29,keyasint,omitempty" json:"follow,omitempty"`
	SetValidators    *SetValidators     `cbor:"31,keyasint,omitempty" json:"set-validators,omitempty"`
	SetTrust         *SetTrust          `cbor:"32,keyasint,omitempty" json:"set-trust,omitempty"`
	SetUpgrade       *SetUpgrade        `cbor:"33,keyasint,omitempty" json:"set-upgrade,omitempty"`
}

// Name returns the operation's name as JSON has it, or "" unless exactly one
// field is set.
func (o *Operation) Name() string {
	name := ""
	v := reflect.ValueOf(o).Elem()
	for i := range v.NumField() {
		if v.Field(i).IsNil() {
			continue
		}
		if name != "" {
			return ""
		}
		tag := v.Type().Field(i).Tag.Get("json")
		name = tag[:len(tag)-len(",omitempty")]
	}
	return name
}

// Weight is what the operation counts towards [MaxOperations].
func (o *Operation) Weight() int {
	if o.Allocate != nil {
		return max(1, len(o.Allocate.Items))
	}
	return 1
}

// Apply brings an application for one code onto the chain. It becomes a
// [Proposal] that the policy of the code's parent decides. The transaction is
// signed with an intake key of that policy.
type Apply struct {
	Allocation  Allocation   `cbor:"1,keyasint" json:"allocation"`                   // must carry a policy
	Possessions []Possession `cbor:"2,keyasint" json:"possessions"`                  // one for each signing key of the policy, in key order
	Evidence    []Digest     `cbor:"3,keyasint,omitempty" json:"evidence,omitempty"` // salted digests of documents kept off the chain
}

// Revise replaces what a pending or returned proposal asks for; approvals start
// again from none. For an application the applicant's policy or its intake
// member decides, else the proposer.
type Revise struct {
	Proposal   uint64      `cbor:"1,keyasint" json:"proposal"`
	Revision   uint32      `cbor:"2,keyasint" json:"revision"` // expected revision of the proposal
	Apply      *Apply      `cbor:"3,keyasint,omitempty" json:"apply,omitempty"`
	Operations []Operation `cbor:"4,keyasint,omitempty" json:"operations,omitempty"`
}

// Return asks the applicant for changes. One member of the deciding policy
// does.
type Return struct {
	Proposal uint64 `cbor:"1,keyasint" json:"proposal"`
	Digest   Digest `cbor:"2,keyasint" json:"digest"` // of the proposal as seen
	Note     string `cbor:"3,keyasint" json:"note"`   // what is to change
}

// Propose puts operations before the policies they need. A member of one of
// these proposes.
type Propose struct {
	Operations []Operation `cbor:"1,keyasint" json:"operations"`
	Expires    Time        `cbor:"2,keyasint,omitempty" json:"expires,omitempty"` // zero: the parameter's default
	Note       string      `cbor:"3,keyasint,omitempty" json:"note,omitempty"`
}

// Approve adds the transaction's signers to a proposal's approvals, and carries
// the proposal out once they suffice.
type Approve struct {
	Proposal uint64 `cbor:"1,keyasint" json:"proposal"`
	Digest   Digest `cbor:"2,keyasint" json:"digest"` // of the proposal as seen
}

// Reject adds the transaction's signers to a proposal's rejections, and closes
// it once those left can no longer approve it.
type Reject struct {
	Proposal uint64 `cbor:"1,keyasint" json:"proposal"`
	Digest   Digest `cbor:"2,keyasint" json:"digest"` // of the proposal as seen
	Note     string `cbor:"3,keyasint" json:"note"`   // why
}

// Withdraw takes back a proposal (by its applicant or proposer) or an
// attestation (by its source).
type Withdraw struct {
	Proposal uint64 `cbor:"1,keyasint,omitempty" json:"proposal,omitempty"`
	Source   Code   `cbor:"2,keyasint,omitzero" json:"source,omitzero"`
	Digest   Digest `cbor:"3,keyasint,omitzero" json:"digest,omitzero"`
}

// Allocation describes a code to be allocated.
type Allocation struct {
	Code     Code    `cbor:"1,keyasint" json:"code"`
	Parent   Code    `cbor:"2,keyasint,omitzero" json:"parent,omitzero"` // zero: the one it must have
	Kind     Kind    `cbor:"3,keyasint" json:"kind"`
	Reserved bool    `cbor:"4,keyasint,omitempty" json:"reserved,omitempty"` // start as reserved instead of active
	Content  Content `cbor:"5,keyasint,omitzero" json:"content,omitzero"`
	Sealed   Digest  `cbor:"6,keyasint,omitzero" json:"sealed,omitzero"` // instead of Content and Aliases
	Aliases  []Alias `cbor:"7,keyasint,omitempty" json:"aliases,omitempty"`
	Policy   *Policy `cbor:"8,keyasint,omitempty" json:"policy,omitempty"`
	Recovery *Policy `cbor:"9,keyasint,omitempty" json:"recovery,omitempty"`
}

// Allocate allocates codes, in order, so that a parent may come before its
// children. The policy of each one's parent decides.
type Allocate struct {
	Items []Allocation `cbor:"1,keyasint" json:"items"` // 1 to 1000
}

// Amend replaces a record's content whole.
type Amend struct {
	Code     Code    `cbor:"1,keyasint" json:"code"`
	Revision uint32  `cbor:"2,keyasint" json:"revision"` // expected
	Content  Content `cbor:"3,keyasint" json:"content"`
}

// SetStatus changes a record's status. The parent's policy decides; a holder
// may retire its own code after the recovery delay.
type SetStatus struct {
	Code       Code   `cbor:"1,keyasint" json:"code"`
	Revision   uint32 `cbor:"2,keyasint" json:"revision"` // expected
	Status     Status `cbor:"3,keyasint" json:"status"`
	Reason     Reason `cbor:"4,keyasint" json:"reason"`
	Note       string `cbor:"5,keyasint,omitempty" json:"note,omitempty"`
	Heir       Code   `cbor:"6,keyasint,omitzero" json:"heir,omitzero"`         // must consent, unless it is the parent
	Successors []Code `cbor:"7,keyasint,omitempty" json:"successors,omitempty"` // each must consent; in byte order
}

// Rekey replaces a record's policy. Its own policy does so at once; the
// parent's (for an apex, the recovery policy) starts a delay, and completes it
// by the same operation once the delay has passed.
type Rekey struct {
	Code     Code    `cbor:"1,keyasint" json:"code"`
	Revision uint32  `cbor:"2,keyasint" json:"revision"`                     // expected
	Policy   *Policy `cbor:"3,keyasint,omitempty" json:"policy,omitempty"`   // nil: inherit from now on
	Recovery *Policy `cbor:"4,keyasint,omitempty" json:"recovery,omitempty"` // of an apex; nil keeps it
}

// Veto stops a waiting change: the code's own policy a recovery by its parent,
// the parent's a retirement by the holder. With Override the parent's parent
// lifts a veto.
type Veto struct {
	Code     Code `cbor:"1,keyasint" json:"code"`
	Override bool `cbor:"2,keyasint,omitempty" json:"override,omitempty"`
}

// Map adds a crosswalk entry to a record, or replaces the one of the same
// scheme and value. The scheme owner's policy and the code's decide together.
type Map struct {
	Code     Code   `cbor:"1,keyasint" json:"code"`
	Revision uint32 `cbor:"2,keyasint" json:"revision"` // expected
	Alias    Alias  `cbor:"3,keyasint" json:"alias"`
	Remove   bool   `cbor:"4,keyasint,omitempty" json:"remove,omitempty"` // take an entry made in error away
}

// Attest anchors "the source vouches for the bytes with this digest", or for a
// batch of them: then Digest is the root of an RFC 6962 tree over that many
// leaves.
type Attest struct {
	Source Code   `cbor:"1,keyasint" json:"source"`
	Digest Digest `cbor:"2,keyasint" json:"digest"`
	Size   uint64 `cbor:"3,keyasint,omitempty" json:"size,omitempty"` // octets; zero: not said
	Label  string `cbor:"4,keyasint,omitempty" json:"label,omitempty"`
	Leaves uint64 `cbor:"5,keyasint,omitempty" json:"leaves,omitempty"` // of a batch; zero: Digest is that of the bytes
	From   Time   `cbor:"6,keyasint,omitempty" json:"from,omitempty"`   // beginning of the time a batch covers, as the source says
	Until  Time   `cbor:"7,keyasint,omitempty" json:"until,omitempty"`  // its end
}

// Seal replaces a record's content by the digest of a sealed one.
type Seal struct {
	Code     Code   `cbor:"1,keyasint" json:"code"`
	Revision uint32 `cbor:"2,keyasint" json:"revision"` // expected
	Sealed   Digest `cbor:"3,keyasint" json:"sealed"`
}

// Unseal publishes the content of a sealed record.
type Unseal struct {
	Code     Code    `cbor:"1,keyasint" json:"code"`
	Revision uint32  `cbor:"2,keyasint" json:"revision"` // expected
	Salt     Digest  `cbor:"3,keyasint" json:"salt"`
	Content  Content `cbor:"4,keyasint" json:"content"`
}

// SetParams replaces the parameters, the distribution rule or crosswalk
// schemes. The apex policy decides. Schemes are added, or replaced by name.
type SetParams struct {
	Revision uint32   `cbor:"1,keyasint" json:"revision"` // expected revision of [Params]
	Params   *Params  `cbor:"2,keyasint,omitempty" json:"params,omitempty"`
	Rule     *Rule    `cbor:"3,keyasint,omitempty" json:"rule,omitempty"`
	Schemes  []Scheme `cbor:"4,keyasint,omitempty" json:"schemes,omitempty"`
}

// SetValidators changes the validator set. The apex policy decides. Less than
// a third of the power may be removed at once.
type SetValidators struct {
	Revision   uint32      `cbor:"1,keyasint" json:"revision"`   // expected revision of the set
	Validators []Validator `cbor:"2,keyasint" json:"validators"` // the whole new set
}

// SetTrust publishes the next version of the trust root. It proves itself: the
// apex quorum of the version before has signed it, so anybody may bring it.
type SetTrust struct {
	Trust Trust `cbor:"1,keyasint" json:"trust"`
}

// Validator is a machine that signs blocks.
type Validator struct {
	Key   PublicKey `cbor:"1,keyasint" json:"key"`                     // ed25519
	Power int64     `cbor:"2,keyasint" json:"power"`                   // 1 to 1,000,000
	Owner Code      `cbor:"3,keyasint,omitzero" json:"owner,omitzero"` // who runs it
}
