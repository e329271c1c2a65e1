// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"cityid"
)

// Rules are one version of what this package does. A chain follows one version
// up to a block and the next one from there, so a program that goes on with a
// chain, or carries out its old blocks again, has all versions it ever followed.
//
// A change to what a block does, however small, is a new version: what differs
// becomes a field here, asked where it matters, and the versions before keep
// the value that gives what they always gave.
type Rules struct {
	Version uint32
	// Operations are the names of those the version has, each once. To an earlier version
	// a later operation is as malformed as to the programs that never knew it.
	Operations []string
}

// Versions are the rules a program knows, in order of version.
type Versions []Rules

// KnownRules returns the versions this program knows.
func KnownRules() Versions {
	return Versions{{
		Version: 1,
		Operations: []string{
			"apply", "revise", "return", "propose", "approve", "reject", "withdraw",
			"allocate", "amend", "set-status", "rekey", "veto", "map", "attest", "seal", "unseal",
			"agreement-request", "agreement-grant", "agreement-refuse", "agreement-revoke", "anchor-receipts",
			"delegate", "checkpoint", "report-fork", "unfreeze", "follow",
			"set-params", "set-validators", "set-trust", "set-upgrade",
		},
	}}
}

// Numbers returns the versions' numbers.
func (v Versions) Numbers() []uint32 {
	out := make([]uint32, len(v))
	for i := range v {
		out[i] = v[i].Version
	}
	return out
}

// At returns the rules for the block at a height, by the state before it. The
// error is an [UnknownRulesError] if they are not among those known.
func (v Versions) At(r Reader, height uint64) (*Rules, error) {
	stored := ruleset(r)
	now := stored.At(height)
	i := slices.IndexFunc(v, func(x Rules) bool { return x.Version == now.Version })
	if i >= 0 {
		return &v[i], nil
	}
	e := &UnknownRulesError{Version: now.Version, Height: height, Known: v.Numbers()}
	if p := stored.Plan; p != nil && p.Version == now.Version {
		e.Plan = p
	}
	return nil, e
}

// UnknownRulesError says that a block can not be carried out by this program.
type UnknownRulesError struct {
	Version uint32          // of the rules
	Height  uint64          // of the block
	Known   []uint32        // versions this program has
	Plan    *cityid.Upgrade // that brought the version; nil if none is on record any more
}

// Error says what is wrong and what to do.
func (e *UnknownRulesError) Error() string {
	known := make([]string, len(e.Known))
	for i, n := range e.Known {
		known[i] = fmt.Sprint(n)
	}
	s := fmt.Sprintf("block %d falls under version %d of the rules, and this program has %s: ", e.Height, e.Version, strings.Join(known, ", "))
	if e.Plan != nil {
		return s + "install " + e.Plan.String() + ", and start the node again"
	}
	return s + "install a release that has it, and start the node again"
}

func ruleset(r Reader) (s cityid.Ruleset) {
	if v := r.Get(cityid.RulesetKey); v != nil {
		if err := cityid.UnmarshalTrusted(v, &s); err != nil {
			panic(fmt.Sprintf("registry: state at %q: %v", cityid.RulesetKey, err))
		}
	}
	return s
}

// Ruleset returns which version of the rules the block at a height falls under,
// and what is planned, by the state before it.
func Ruleset(r Reader, height uint64) cityid.Ruleset { return ruleset(r).At(height) }

// has reports whether the rules have each of some operations, and those inside
// of them. Each operation is one that this program can decode.
func (r *Rules) has(ops []cityid.Operation) bool {
	if len(r.Operations) == reflect.TypeFor[cityid.Operation]().NumField() {
		return true // all there are
	}
	for i := range ops {
		op := &ops[i]
		switch {
		case !slices.Contains(r.Operations, op.Name()):
			return false
		case op.Propose != nil && !r.has(op.Propose.Operations):
			return false
		case op.Revise != nil && !r.has(op.Revise.Operations):
			return false
		}
	}
	return true
}

// Decodes refuses a body with operations that the rules do not have, as the
// programs do that do not know them.
func (r *Rules) Decodes(body *cityid.Body) error {
	if r.has(body.Operations) {
		return nil
	}
	return cityid.Errorf(cityid.ErrMalformed, "version %d of the rules, which is in force, has no such operation", r.Version)
}

// setUpgrade plans a change of the rules, or cancels what is planned.
func (w *work) setUpgrade(op *cityid.SetUpgrade) error {
	now := ruleset(w).At(w.block.Height)
	switch {
	case op.Revision != now.Revision:
		return cityid.Errorf(cityid.ErrConflict, "the plan of upgrades is at revision %d, not %d", now.Revision, op.Revision)
	case op.Plan != nil:
		if err := op.Plan.Check(now, w.block.Height, w.params.Notice()); err != nil {
			return err
		}
	case now.Plan == nil:
		return cityid.Errorf(cityid.ErrConflict, "no upgrade is planned")
	}
	now.Revision, now.Plan = now.Revision+1, op.Plan
	w.set(cityid.RulesetKey, &now)
	return nil
}
