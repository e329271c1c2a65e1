// SPDX-License-Identifier: Apache-2.0

package cityid

import "time"

// This file holds what nodes answer over HTTP, in JSON. A node reads it from
// its own state, a client from another node; both satisfy the same interfaces.

// AsOf says which state an answer was read from: the state after the block at
// Height, which the header at Height+1 commits to. Time is that header's, or
// the block's while the header is not signed yet.
type AsOf struct {
	Chain  string    `json:"chain"`
	Height uint64    `json:"height"`
	Time   time.Time `json:"time"`
}

// RecordAnswer is the answer to a question for one code.
type RecordAnswer struct {
	Record  Record   `json:"record"`
	Display string   `json:"display"`           // the code with its check characters
	Holder  Code     `json:"holder,omitzero"`   // whose policy governs the record: its own code, an ancestor's, or an heir's
	Waiting *Waiting `json:"waiting,omitempty"` // a change a delay holds back
	AsOf    AsOf     `json:"as_of"`
}

// RecordPage is part of a list of records in order of code.
type RecordPage struct {
	Records []Record `json:"records"`
	Next    Code     `json:"next,omitzero"` // ask again after this code; zero: complete
	AsOf    AsOf     `json:"as_of"`
}

// ChildrenQuery asks for records below a code.
type ChildrenQuery struct {
	Code  Code
	Deep  bool // all descendants instead of those whose parent is Code
	Kind  Kind // only this kind; 0: any
	After Code // begin after this code
	Limit int  // 1 to 1000
}

// Need is one policy a proposal must meet, and how far it is.
type Need struct {
	Code      Code         `json:"code"` // whose policy
	Threshold int          `json:"threshold"`
	Votes     int          `json:"votes"`
	Members   []MemberVote `json:"members"`
}

// MemberVote is how one member of a policy stands to a proposal.
type MemberVote struct {
	Code     Code        `json:"code,omitzero"`
	Keys     []PublicKey `json:"keys,omitempty"`
	Approved bool        `json:"approved"`
	Rejected bool        `json:"rejected"`
}

// ProposalAnswer is a proposal with what follows from it and the state.
type ProposalAnswer struct {
	Proposal  Proposal      `json:"proposal"`
	State     ProposalState `json:"state"`  // as of the answer's time
	Digest    Digest        `json:"digest"` // what an approval must name
	Needs     []Need        `json:"needs,omitempty"`
	Stale     string        `json:"stale,omitempty"`     // why it must be revised before it can be carried out
	Competing []uint64      `json:"competing,omitempty"` // other open applications for the same code
	AsOf      AsOf          `json:"as_of"`
}

// ProposalPage is part of a list of proposals, latest first.
type ProposalPage struct {
	Proposals []ProposalAnswer `json:"proposals"`
	Next      uint64           `json:"next,omitempty"` // ask again before this number; 0: complete
	AsOf      AsOf             `json:"as_of"`
}

// ProposalQuery asks for proposals.
type ProposalQuery struct {
	State  ProposalState // only in this state; 0: any
	Code   Code          // only those that concern this code; zero: any
	Before uint64        // only with a smaller number; 0: from the latest
	Limit  int           // 1 to 200
}

// CrosswalkEntry is one hit of a crosswalk look-up.
type CrosswalkEntry struct {
	Code  Code  `json:"code"`
	Names Names `json:"names,omitempty"`
	Alias Alias `json:"alias"`
	Holds bool  `json:"holds"` // at the answer's time
}

// CrosswalkAnswer lists the codes a foreign identifier is mapped to.
type CrosswalkAnswer struct {
	Scheme  Scheme           `json:"scheme"`
	Value   string           `json:"value"`
	Entries []CrosswalkEntry `json:"entries"`
	AsOf    AsOf             `json:"as_of"`
}

// HistoryAnswer lists the revisions of a record, latest first. Each names the
// hash of the next in the list.
type HistoryAnswer struct {
	Revisions []Record `json:"revisions"`
	AsOf      AsOf     `json:"as_of"`
}

// Receipt says what became of a transaction.
type Receipt struct {
	ID        Digest    `json:"id"`
	Height    uint64    `json:"height"`              // block that holds it
	Time      Time      `json:"time"`                // of that block
	Code      ErrorCode `json:"code"`                // "ok", or why it was refused
	Operation int       `json:"operation,omitempty"` // which operation was refused; -1: the whole
	Message   string    `json:"message,omitempty"`
	Proposals []uint64  `json:"proposals,omitempty"` // numbers of proposals it made, in order
	Provable  bool      `json:"provable"`            // a signed header commits to its effect
}

// Err returns the refusal a receipt tells of, or nil.
func (r *Receipt) Err() error {
	if r.Code == OK {
		return nil
	}
	return &Error{Code: r.Code, Operation: r.Operation, Message: r.Message}
}

// NodeStatus says how a node is.
type NodeStatus struct {
	Version     string       `json:"version"`
	Zone        Code         `json:"zone"`
	Chain       string       `json:"chain"`
	Height      uint64       `json:"height"` // of the last block carried out
	Time        time.Time    `json:"time"`   // of that block
	AppHash     Digest       `json:"app_hash"`
	Records     uint64       `json:"records"`             // keys in the state tree
	Node        string       `json:"node_id,omitempty"`   // by which other nodes know this one
	Validator   PublicKey    `json:"validator,omitempty"` // this node's key, if it validates
	Validators  ValidatorSet `json:"validators"`
	Offenders   []Offender   `json:"offenders,omitempty"` // validators that signed two histories, as blocks since the node's snapshot show
	Mempool     int          `json:"mempool"`             // transactions waiting
	Peers       int          `json:"peers"`
	CatchingUp  bool         `json:"catching_up"`
	BlocksFrom  uint64       `json:"blocks_from"`          // from this height on, the node keeps blocks with their transactions
	HeadersFrom uint64       `json:"headers_from"`         // from this height on, it keeps headers
	PeersFrom   uint64       `json:"peers_from,omitempty"` // it lacks blocks that all its peers let go, who keep those from this height on; 0: it lacks none of those
	Trust       uint32       `json:"trust"`                // latest version of the trust root
	TrustHash   Digest       `json:"trust_hash"`
	Rules       Ruleset      `json:"rules"`       // that the next block falls under, and what is planned
	RulesKnown  []uint32     `json:"rules_known"` // versions the node's program has
	Started     time.Time    `json:"started"`
}

// Offender is a validator against which there is evidence in blocks: it signed two
// votes where it may sign one.
type Offender struct {
	Address   string    `json:"address"`        // of its key, as evidence has it: 40 hexadecimal digits
	Key       PublicKey `json:"key,omitempty"`  // missing if it was no validator any more when the evidence came
	Owner     Code      `json:"owner,omitzero"` // whose seat it was then
	Validates bool      `json:"validates"`      // it still does
	Times     uint64    `json:"times"`          // pieces of evidence
	Voted     uint64    `json:"voted"`          // height of the latest two votes
	Recorded  uint64    `json:"recorded"`       // of the block with the evidence of them
}

// Settings are the registry's parameters, rule and schemes, and the version of
// the rules that the next block falls under.
type Settings struct {
	Params  Params   `json:"params"`
	Rules   Ruleset  `json:"rules"`
	Rule    Rule     `json:"rule"`
	Schemes []Scheme `json:"schemes"`
	AsOf    AsOf     `json:"as_of"`
}

// AnswerKind says what a bundle answers.
type AnswerKind uint8

// The kinds of answers.
const (
	AnswerRecord      AnswerKind = iota + 1 // the record of a code, or that there is none
	AnswerChildren                          // all codes directly below a code
	AnswerDescendants                       // all codes below a code
	AnswerHistory                           // all revisions of a record
	AnswerEntries                           // what stands at some keys of the state
	AnswerReferral                          // which zone to ask instead, and its last checkpoint
)

var answerNames = []string{1: "record", "children", "descendants", "history", "entries", "referral"}

// String returns the kind's name.
func (k AnswerKind) String() string { return nameOf(answerNames, uint8(k), "answer") }

// MarshalText returns the kind's name.
func (k AnswerKind) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// UnmarshalText parses a kind's name.
func (k *AnswerKind) UnmarshalText(text []byte) error {
	return parseName(answerNames, text, "answer", (*uint8)(k))
}

// BundleQuery asks for a bundle.
type BundleQuery struct {
	Code Code
	Kind AnswerKind
	Keys [][]byte // of [AnswerEntries], in byte order, each once; Code is that of the first
	From uint32   // trust root version the asker holds; the bundle carries the ones after it; 0: none carried
	Base uint64   // height of the asker's trusted header; the bundle carries the headers that lead on from there when validators changed
	At   uint64   // height of an older block whose state is still retained; 0: the latest
	// Anchor is the height of one of the zone's headers, 0 for its genesis, which
	// the zone above has as a checkpoint: the bundle leads on from it instead of
	// a trust root, and From and Base say nothing. Nil: from a trust root.
	Anchor *uint64
	Log    bool // also prove, through the block log, that the header descends from the chain the asker's trust root names
}
