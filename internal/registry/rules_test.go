// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"errors"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	"cityid"
)

// TestKnownRules makes sure that every operation begins with some version, and that
// versions only add to the one before.
func TestKnownRules(t *testing.T) {
	var all []string
	for i := range reflect.TypeFor[cityid.Operation]().NumField() {
		name, _, _ := strings.Cut(reflect.TypeFor[cityid.Operation]().Field(i).Tag.Get("json"), ",")
		all = append(all, name)
	}
	known := KnownRules()
	if known[0].Version != cityid.FoundingRules {
		t.Errorf("chains are founded under version %d, and the first known is %d", cityid.FoundingRules, known[0].Version)
	}
	for i, r := range known {
		if each := slices.Compact(slices.Sorted(slices.Values(r.Operations))); len(each) != len(r.Operations) {
			t.Errorf("version %d names an operation twice: %q", r.Version, r.Operations)
		}
		for _, name := range r.Operations {
			if !slices.Contains(all, name) {
				t.Errorf("version %d has %q, which is no operation", r.Version, name)
			}
		}
		if i == 0 {
			continue
		}
		if r.Version <= known[i-1].Version {
			t.Errorf("version %d follows %d", r.Version, known[i-1].Version)
		}
		for _, name := range known[i-1].Operations {
			if !slices.Contains(r.Operations, name) {
				t.Errorf("version %d lacks %s, which the one before has", r.Version, name)
			}
		}
	}
	for _, name := range all {
		if !slices.Contains(known[len(known)-1].Operations, name) {
			t.Errorf("no version has %s", name)
		}
	}
}

// rulesWithout returns version 1 without some operations.
func rulesWithout(names ...string) *Rules {
	r := KnownRules()[0]
	r.Operations = slices.DeleteFunc(r.Operations, func(n string) bool { return slices.Contains(names, n) })
	return &r
}

// TestOperationOfLaterVersion: under earlier rules a transaction with an operation of a
// later version is malformed as a whole, wherever the operation stands, and changes
// nothing.
func TestOperationOfLaterVersion(t *testing.T) {
	attest := cityid.Operation{Attest: &cityid.Attest{Source: cityid.MustParse("MA.156"), Digest: cityid.Digest{1}}}
	amend := cityid.Operation{Amend: &cityid.Amend{Code: cityid.MustParse("MA.156.9001"), Revision: 1, Content: cityid.Content{Names: names("一所", "One")}}}
	for name, ops := range map[string][]cityid.Operation{
		"alone":      {attest},
		"second":     {amend, attest},
		"proposed":   {{Propose: &cityid.Propose{Operations: []cityid.Operation{attest}}}},
		"in a nest":  {{Propose: &cityid.Propose{Operations: []cityid.Operation{{Revise: &cityid.Revise{Operations: []cityid.Operation{attest}}}}}}},
		"in changes": {{Revise: &cityid.Revise{Proposal: 1, Revision: 1, Operations: []cityid.Operation{attest}}}},
	} {
		w := newWorld(t)
		if err := w.found(standardGenesis(t, w.ring)); err != nil {
			t.Fatal(err)
		}
		w.block.Rules = rulesWithout("attest")
		w.begin(1)
		before := w.state.root(t)
		tx, err := cityid.SignTx(cityid.Body{Chain: testChain, Expires: w.block.Time + 60, Operations: ops}, w.ring.signer(t, "an"), w.ring.signer(t, "bo"))
		if err != nil {
			t.Fatal(err)
		}
		raw := cityid.MustMarshal(tx)
		_, err = w.apply(raw)
		var e *cityid.Error
		if !errors.As(err, &e) || e.Code != cityid.ErrMalformed || e.Operation != -1 {
			t.Errorf("%s: %v", name, err)
		}
		if _, body, err := cityid.DecodeTx(raw); err != nil || cityid.CodeOf(Admit(w.state, w.block, tx, body, w.check)) != cityid.ErrMalformed {
			t.Errorf("%s: it is admitted", name)
		}
		if w.state.root(t) != before {
			t.Errorf("%s: it changed the state", name)
		}
	}
}

// TestVersionsAt plans upgrades at random and checks, block by block, which rules the
// state gives against a list of what was planned.
func TestVersionsAt(t *testing.T) {
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 0))
		between := func(lo, hi int) int { return lo + r.IntN(hi-lo+1) }
		s := newMapState()
		var versions Versions
		for n := range uint32(6) {
			versions = append(versions, Rules{Version: n + 1})
		}
		missing := uint32(between(2, 7))
		versions = slices.DeleteFunc(versions, func(r Rules) bool { return r.Version == missing })
		set := &settings{params: cityid.DefaultParams}
		set.params.UpgradeNotice = uint32(between(1, 3))
		version, revision := uint32(1), uint32(0)
		var plan *cityid.Upgrade
		for height := uint64(1); height < 40; height++ {
			if plan != nil && plan.Height == height {
				version, plan = plan.Version, nil
			}
			got, err := versions.At(s, height)
			var unknown *UnknownRulesError
			switch {
			case version == missing:
				if !errors.As(err, &unknown) || unknown.Version != version || unknown.Height != height {
					t.Fatalf("seed %d, block %d: %v, want that version %d is unknown", seed, height, err, version)
				}
			case err != nil || got.Version != version:
				t.Fatalf("seed %d, block %d: %+v, %v; want version %d", seed, height, got, err, version)
			}
			if x := Ruleset(s, height); x.Version != version || x.Revision != revision || (x.Plan != nil) != (plan != nil) {
				t.Fatalf("seed %d, block %d: %+v, want version %d, revision %d", seed, height, x, version, revision)
			}
			op := &cityid.SetUpgrade{Revision: revision}
			switch between(0, 3) {
			case 0:
				op.Plan = &cityid.Upgrade{
					Version: uint32(between(0, 6)), Release: "r",
					Height: height + uint64(between(0, 6)),
				}
			case 1: // cancel
			default:
				continue
			}
			w := newWork(s, Block{Chain: testChain, Height: height}, set, nil)
			err = w.setUpgrade(op)
			fine := plan != nil
			if op.Plan != nil {
				fine = op.Plan.Version > version && op.Plan.Height >= height+uint64(set.params.UpgradeNotice)
			}
			if fine != (err == nil) {
				t.Fatalf("seed %d, block %d: %+v on version %d: %v", seed, height, op.Plan, version, err)
			}
			if err == nil {
				w.commit(s)
				plan, revision = op.Plan, revision+1
			}
		}
	}
}
