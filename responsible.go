// SPDX-License-Identifier: Apache-2.0

package cityid

import (
	"context"
	"slices"
)

// DutyBy says how the way to whoever is responsible came to a code.
type DutyBy uint8

// The ways; closed and append-only.
const (
	DutyItself    DutyBy = iota + 1 // the code asked about
	DutyParent                      // the one before lies below it
	DutyHeir                        // the one before is retired and names it as heir
	DutySuccessor                   // the one before is retired and this is its only successor
	DutySplit                       // the one before is retired and has several successors: what stood above it
	DutyEnded                       // the one before is retired and nothing follows it: what stood above it
	DutyIdle                        // the one before is not active: what stands above it
)

var dutyNames = []string{1: "itself", "parent", "heir", "successor", "split", "ended", "idle"}

// String returns the way's name.
func (d DutyBy) String() string { return nameOf(dutyNames, uint8(d), "duty") }

// MarshalText returns the way's name.
func (d DutyBy) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText parses a way's name.
func (d *DutyBy) UnmarshalText(text []byte) error {
	return parseName(dutyNames, text, "duty", (*uint8)(d))
}

// DutyStep is one code on the way from a thing to whoever is responsible for it.
type DutyStep struct {
	By     DutyBy `json:"by"`
	Code   Code   `json:"code"`
	Kind   Kind   `json:"kind"`
	Status Status `json:"status"`
	Names  Names  `json:"names,omitempty"`
}

// maxDuty bounds the way: the grammar has 28 levels, and each may lead over heirs
// and successors.
const maxDuty = 128

// Responsible finds who is responsible for what a code stands for, by the
// records as they are now, and returns the way there: the first step is the code
// itself, the last the one responsible.
//
// That is the nearest at or above the code that is active and acts for itself: a
// department, organisation, industry, county, city, province or authority, or
// whatever else has a policy of its own. A retired code leads to its heir, or,
// without one, to its only successor; with several successors or none, and from
// what is suspended or reserved, the way goes up. So a report about a lamp post
// of a department that was merged goes to the department it was merged into.
//
// record returns a record, or an error with [ErrNotFound], after which the way
// can not go on. The error is [ErrNotFound] if nobody is responsible, and
// [ErrConflict] if the records lead in a circle; the steps so far are returned
// with it.
func Responsible(ctx context.Context, code Code, record func(context.Context, Code) (*Record, error)) ([]DutyStep, error) {
	var way []DutyStep
	for at, by := code, DutyItself; ; {
		if len(way) >= maxDuty || slices.ContainsFunc(way, func(s DutyStep) bool { return s.Code == at }) {
			return way, Errorf(ErrConflict, "who is responsible for %s can not be found: the records lead in a circle at %s", code, at)
		}
		r, err := record(ctx, at)
		if err != nil {
			return way, err
		}
		way = append(way, DutyStep{By: by, Code: at, Kind: r.Kind, Status: r.Status, Names: r.Content.Names})
		if r.Status == StatusActive && actsForItself(r) {
			return way, nil
		}
		if at, by = nextDuty(r); at.IsZero() {
			return way, Errorf(ErrNotFound, "nobody is responsible for %s: nothing active stands above it", code)
		}
	}
}

// actsForItself reports whether a record stands for somebody, and not for a
// thing that somebody has.
func actsForItself(r *Record) bool {
	switch r.Kind {
	case KindClass, KindObject, KindDataset, KindSource:
		return r.Policy != nil
	}
	return true
}

// nextDuty returns where the way goes on from a record that is not responsible.
func nextDuty(r *Record) (Code, DutyBy) {
	switch {
	case r.Status == StatusRetired && !r.Heir.IsZero():
		return r.Heir, DutyHeir
	case r.Status == StatusRetired && len(r.Successors) == 1:
		return r.Successors[0], DutySuccessor
	case r.Status == StatusRetired && len(r.Successors) > 1:
		return r.Parent, DutySplit
	case r.Status == StatusRetired:
		return r.Parent, DutyEnded
	case r.Status != StatusActive && actsForItself(r):
		return r.Parent, DutyIdle
	}
	return r.Parent, DutyParent
}
