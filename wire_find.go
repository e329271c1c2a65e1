// SPDX-License-Identifier: Apache-2.0

package cityid

import "time"

// This file holds what nodes answer about finding things and about what
// happened; see wire.go.

// SearchQuery asks for records that match. All conditions hold together; a
// query without any asks for everything.
type SearchQuery struct {
	Text      string   // words of names, the beginning of a code, a mistyped code, or a crosswalk value; at most 200 octets
	Kinds     []Kind   // one of these; none: any
	Statuses  []Status // one of these; none: any
	Below     Code     // the code or a descendant of it, places within places too; zero: anywhere
	Box       *Box     // located inside
	Near      *Location
	MinHeight uint64 // wait until the index has seen this block; 0: as it is
	After     string // cursor of the page before; "": the first page
	Limit     int    // 1 to 100; 0: 20
}

// Box is a rectangle of latitudes and longitudes, borders included. It does not
// cross the antimeridian.
type Box struct {
	South, West, North, East int32 // in units of 1e-7 degrees
}

// SearchHit is one record found.
type SearchHit struct {
	Code     Code      `json:"code"`
	Parent   Code      `json:"parent,omitzero"`
	Kind     Kind      `json:"kind"`
	Status   Status    `json:"status"`
	Names    Names     `json:"names,omitempty"`
	Location *Location `json:"location,omitempty"`
	Alias    *Alias    `json:"alias,omitempty"`    // the crosswalk entry that matched
	Distance int64     `json:"distance,omitempty"` // metres from Near
}

// SearchPage is part of what was found, the best first.
type SearchPage struct {
	Hits    []SearchHit `json:"hits"`
	Suggest []Code      `json:"suggest,omitempty"` // codes that exist and differ from a mistyped one by a slip
	Next    string      `json:"next,omitempty"`    // cursor of the next page; "": complete
	Height  uint64      `json:"height"`            // the last block the index has seen
	Partial bool        `json:"partial,omitempty"` // the index is still being built: more may match
}

// Changes lists the codes whose records changed after a height.
type Changes struct {
	Codes  []Code `json:"codes"`  // in order, each once
	Height uint64 `json:"height"` // up to this block
	Gap    bool   `json:"gap"`    // the node no longer remembers all since then: compare Record.Changed instead
}

// BlockTx is a transaction in a block.
type BlockTx struct {
	Receipt Receipt `json:"receipt"`        // code [ErrUnavailable]: refused, and the node no longer knows why
	Body    *Body   `json:"body,omitempty"` // nil: the bytes in the block are no transaction
}

// Block is one block of the chain.
type Block struct {
	Height       uint64    `json:"height"`
	Time         time.Time `json:"time"`
	Hash         Digest    `json:"hash"`
	AppHash      Digest    `json:"app_hash"` // of the state before the block
	Proposer     PublicKey `json:"proposer,omitempty"`
	Signed       int       `json:"signed"`     // validators that signed it; 0 while the next block is not there
	Validators   int       `json:"validators"` // validators that could
	Size         int       `json:"size"`       // octets
	Transactions int       `json:"transaction_count"`
	Pruned       bool      `json:"pruned,omitempty"`       // the node keeps the header alone, and no longer the transactions
	Txs          []BlockTx `json:"transactions,omitempty"` // of a single block; left out in lists
	Changed      []Code    `json:"changed,omitzero"`       // of a single block: codes whose records it wrote, in order; nil: the node no longer remembers
}

// BlockQuery asks for blocks, latest first.
type BlockQuery struct {
	Before uint64 // only below this height; 0: from the latest
	Busy   bool   // only blocks with transactions
	Limit  int    // 1 to 100
}

// BlockPage is part of the list of blocks.
type BlockPage struct {
	Blocks []Block `json:"blocks"`
	Next   uint64  `json:"next,omitempty"` // ask again before this height; 0: complete
}

// Event is what a node tells about one block as it comes. Transactions and
// Changed are cut to a length at which a page or a log can show them; what was
// cut is counted, and stands in the [Block].
type Event struct {
	Height       uint64    `json:"height"`
	Time         time.Time `json:"time"`                        // of the block
	Transactions []EventTx `json:"transactions"`                // at most 200
	TxsMore      int       `json:"transactions_more,omitempty"` // transactions left out
	Changed      []Code    `json:"changed,omitzero"`            // at most 100 of the codes whose records it wrote, in order; nil: no longer known
	ChangedMore  int       `json:"changed_more,omitempty"`      // codes left out
	Reset        bool      `json:"-"`                           // no block: events up to this height were missed, so read anew what depends on them
}

// EventTx is a transaction in an [Event].
type EventTx struct {
	ID         Digest    `json:"id"`                   // none: the bytes in the block are no transaction
	Code       ErrorCode `json:"code"`                 // as in [BlockTx]
	Operations []string  `json:"operations"`           // names, in order, each once
	Codes      []Code    `json:"codes"`                // at most 100 of the codes it names, see [Operation.Codes]
	CodesMore  int       `json:"codes_more,omitempty"` // codes left out
	Proposals  []uint64  `json:"proposals"`            // numbers of at most 100 proposals it names or made, in order, each once
}

// EventFilter chooses events: all conditions hold together, and without any it
// chooses all.
type EventFilter struct {
	Code     Code   // whose transactions name, or whose block wrote, this code or one below it, places within places too
	Proposal uint64 // whose transactions name or made this proposal
}

// TransactionAnswer is a recorded transaction.
type TransactionAnswer struct {
	Receipt Receipt `json:"receipt"`
	Body    *Body   `json:"body"`
	Raw     Bytes   `json:"raw"` // its encoding, signatures included
}
