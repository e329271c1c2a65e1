// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"

	"cityid"
	"cityid/internal/describe"
)

func networkUpgrade(f *flags) func(context.Context, []string) error {
	w := &writing{}
	w.setupProposable(f)
	var u cityid.Upgrade
	to := f.Uint("version", 0, "the `version` of the rules to go on with")
	f.Uint64Var(&u.Height, "height", 0, "the first `block` under it")
	f.StringVar(&u.Release, "release", "", "the program that has it, as people call it, such as 'cityid 2.0'")
	f.StringVar(&u.Href, "href", "", "`address` where the release is described")
	digest := f.String("digest", "", "SHA-256 of what is there")
	cancel := f.Bool("cancel", false, "cancel what is planned")
	return func(ctx context.Context, args []string) error {
		if err := noArgs(args); err != nil {
			return err
		}
		given := *to != 0 || u.Height != 0 || u.Release != "" || u.Href != "" || *digest != ""
		switch {
		case *cancel && given:
			return usagef("--cancel stands alone")
		case !*cancel && (*to == 0 || u.Height == 0 || u.Release == ""):
			return usagef("want --version N, --height BLOCK and --release NAME, or --cancel; cityid chain status says what is in force and planned")
		case *to > math.MaxUint32:
			return usagef("--version %d: want a version of the rules", *to)
		}
		u.Version = uint32(*to)
		if *digest != "" {
			d, err := cityid.ParseDigest(*digest)
			if err != nil {
				return usageError{err}
			}
			u.Digest = d
		}
		c, err := w.connect()
		if err != nil {
			return err
		}
		s, err := c.Settings(ctx)
		if err != nil {
			return err
		}
		op := &cityid.SetUpgrade{Revision: s.Rules.Revision}
		if *cancel {
			if s.Rules.Plan == nil {
				return exitError{exitConflict, fmt.Errorf("no upgrade is planned")}
			}
			return w.submit(ctx, cityid.Operation{SetUpgrade: op})
		}
		// The operation comes into a block after the one the node is at.
		if err := u.Check(s.Rules, s.AsOf.Height+1, s.Params.Notice()); err != nil {
			return hint(exitError{exitNotPermitted, err}, "the height has to leave %d blocks after the decision; an idle network makes one each heartbeat, 10 seconds by default, and a busy one many more", s.Params.Notice())
		}
		w.talk("block %d is %d blocks from now; until the one before it, the apex can move or cancel the upgrade", u.Height, u.Height-s.AsOf.Height)
		op.Plan = &u
		return w.submit(ctx, cityid.Operation{SetUpgrade: op})
	}
}

// rulesText says which rules are in force, and what is planned.
func rulesText(lang string, s cityid.Ruleset, height uint64) string {
	r := s.At(height + 1) // an older node says nothing of rules
	text := fmt.Sprintf("version %d", r.Version)
	if r.Since > 0 {
		text += fmt.Sprintf(", since block %d", r.Since)
	}
	if r.Plan == nil {
		return text
	}
	var planned []string
	for _, l := range describe.Upgrade(lang, r.Plan) {
		planned = append(planned, strings.TrimRight(l.Text, ":："))
	}
	return fmt.Sprintf("%s; %s (in %d blocks)", text, strings.Join(planned, "; "), r.Plan.Height-min(height, r.Plan.Height))
}

// unready returns the plan of an upgrade to rules that a node's program lacks, or
// nil.
func unready(s *cityid.NodeStatus) *cityid.Upgrade {
	if p := s.Rules.Plan; p != nil && !slices.Contains(s.RulesKnown, p.Version) {
		return p
	}
	return nil
}

// rules tells of an upgrade that is planned, and whether the running program is
// prepared.
func (d *doctor) rules(s *cityid.NodeStatus) {
	p := s.Rules.Plan
	switch missing := unready(s); {
	case missing != nil:
		d.warn("upgrade", "install "+p.Release+" before that, and start the node again", "the program that runs has no version %d of the rules, which comes into force with block %d, in %d blocks: there the node stops",
			p.Version, p.Height, p.Height-s.Height)
	case p != nil:
		d.good("upgrade", "version %d of the rules comes into force with block %d, and the program that runs has it", p.Version, p.Height)
	default:
		d.good("upgrade", "version %d of the rules is in force, and none is planned", s.Rules.Version)
	}
}

// explainUpgrade adds what to do about a node whose program lacks the rules of the
// next block.
func explainUpgrade(err error, home string) error {
	return hint(exitError{exitConflict, err}, "nothing is lost, and the node goes on from there: install the release, then cityid node start %s", home)
}
