// SPDX-License-Identifier: Apache-2.0

package cityid

// This file holds what nodes answer about shared data; see wire.go.

// AgreementAnswer is an agreement as it reads at the answer's time.
type AgreementAnswer struct {
	ID        Digest         `json:"id"` // [Terms.ID]
	Agreement Agreement      `json:"agreement"`
	State     AgreementState `json:"state"`
	InForce   bool           `json:"in_force"`
	AsOf      AsOf           `json:"as_of"`
}

// AgreementQuery asks for agreements: those about a dataset, or those of a
// consumer. Exactly one of both is given.
type AgreementQuery struct {
	Dataset  Code           // about this code or one below it
	Consumer Code           // of this code or one below it
	State    AgreementState // only those that read so; 0: any
	After    string         // cursor of the page before; "": the first page
	Limit    int            // 1 to 200
}

// AgreementPage is part of a list of agreements.
type AgreementPage struct {
	Agreements []AgreementAnswer `json:"agreements"`
	Next       string            `json:"next,omitempty"` // cursor of the next page; "": complete
	AsOf       AsOf              `json:"as_of"`
}

// AttestationQuery asks for the attestations of a source.
type AttestationQuery struct {
	Source Code   // exactly this code
	After  Digest // only those with a greater digest; zero: from the first
	Limit  int    // 1 to 200
}

// AttestationPage is part of the list of a source's attestations, in order of
// their digests. Those that were withdrawn are among them.
type AttestationPage struct {
	Attestations []Attestation `json:"attestations"`
	Next         Digest        `json:"next,omitzero"` // ask again with it as After; zero: complete
	AsOf         AsOf          `json:"as_of"`
}

// AnchorQuery asks for the anchors of a party's receipt log, in order.
type AnchorQuery struct {
	Party    Code
	Log      string // "": which logs there are
	After    uint64 // of a log: only those with a greater sequence
	AfterLog string // of the logs: only those whose name comes later
	Limit    int    // 1 to 1000
}

// LogHead is a receipt log and its last anchor.
type LogHead struct {
	Log      string `json:"log"`
	Sequence uint64 `json:"sequence"`
	Root     Digest `json:"root"`
}

// AnchorPage lists the logs of a party, or part of the anchors of one.
type AnchorPage struct {
	Logs    []LogHead `json:"logs,omitempty"`
	Anchors []Anchor  `json:"anchors,omitempty"`
	Next    uint64    `json:"next,omitempty"`     // ask again after this sequence; 0: complete
	NextLog string    `json:"next_log,omitempty"` // ask again after this log; "": complete
	AsOf    AsOf      `json:"as_of"`
}
