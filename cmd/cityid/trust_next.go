// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"fmt"

	"cityid"
	"cityid/internal/describe"
)

// The next version of the trust root goes round the officers of the apex as a
// file, like a transaction: drafted from what a node sees, signed by a quorum,
// published by anybody.

func trustNextCommands() []*command {
	return []*command{
		{
			name: "draft", short: "draft the next version of the trust root, for the quorum to sign",
			examples: []string{"cityid trust draft -o next.json"},
			setup:    trustDraft,
		},
		{
			name: "sign", args: "FILE", short: "sign a draft as an officer of the apex",
			examples: []string{"cityid trust sign next.json --key officer"},
			setup:    trustSign,
		},
		{
			name: "publish", args: "FILE", short: "put a signed version of the trust root on the chain; anybody may",
			examples: []string{"cityid trust publish next.json --key intake"},
			setup:    trustPublish,
		},
	}
}

func readTrustDraft(ctx context.Context, path string) (*cityid.Trust, error) {
	b, err := readBounded(ctx, path, 1<<20)
	if err != nil {
		return nil, err
	}
	var t cityid.Trust
	if err := strictJSON(b, &t); err != nil {
		return nil, fmt.Errorf("%s is not a draft of a trust root: %w", path, err)
	}
	if err := t.Statement.Check(); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if err := signatures(t.Signatures).check(t.Statement.SigningDigest()); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return &t, nil
}

// writeDraft writes a draft to the file of -o.
func (f *flags) writeDraft(t *cityid.Trust) error {
	if f.out == "-" {
		return usagef("a draft is kept in a file: name one with -o FILE")
	}
	b, err := json.MarshalIndent(t, "", "  ")
	if err != nil {
		return err
	}
	return f.write(append(b, '\n'))
}

func trustDraft(f *flags) func(context.Context, []string) error {
	return func(ctx context.Context, args []string) error {
		if err := noArgs(args); err != nil {
			return err
		}
		if f.out == "" {
			return usagef("name a file for the draft with -o")
		}
		c, err := f.connect()
		if err != nil {
			return err
		}
		s, err := c.NextTrust(ctx)
		if err != nil {
			return err
		}
		t := &cityid.Trust{Statement: *s}
		if err := f.writeDraft(t); err != nil {
			return err
		}
		f.talk("drafted version %d; each officer: cityid trust sign %s --key NAME", s.Version, f.out)
		f.out = ""
		return f.print(draftTable(t))
	}
}

// draftTable says what a draft's signers answer for.
func draftTable(t *cityid.Trust) *table {
	s := &t.Statement
	out := fields(t, "zone", s.Zone.String(), "version", fmt.Sprint(s.Version), "hash", s.Hash().String(), "chain", s.Chain,
		"header", fmt.Sprintf("height %d, %s", s.Height, s.Header), "time", s.Time.String(), "follows", s.Prev.String(),
		"next signed by", fmt.Sprintf("%d of %d members of %s", s.Quorum.Threshold, len(s.Quorum.Members), s.Zone))
	for _, v := range s.Validators {
		out.rows = append(out.rows, []string{"validator", fmt.Sprintf("%s with power %d", v.Key, v.Power)})
	}
	for _, x := range t.Signatures {
		out.rows = append(out.rows, []string{"signed by", describe.Fingerprint(x.Key)})
	}
	return out
}

func trustSign(f *flags) func(context.Context, []string) error {
	var s secrets
	s.flags(f)
	var names list
	f.Var(&names, "key", "sign with this key (`name` or file); several times for several officers")
	var pinned trustFlag
	pinned.setup(f)
	return func(ctx context.Context, args []string) error {
		if len(args) != 1 || len(names) == 0 {
			return usagef("want one draft and --key NAME")
		}
		t, err := readTrustDraft(ctx, args[0])
		if err != nil {
			return err
		}
		signers, err := f.signers(ctx, names, &s)
		if err != nil {
			return err
		}
		if err := mayRenew(ctx, &pinned, t, signers); err != nil {
			return err
		}
		signed := signatures(t.Signatures)
		if err := signed.sign(t.Statement.SigningDigest(), signers...); err != nil {
			return err
		}
		t.Signatures = signed
		if f.out == "" {
			f.out = args[0]
		}
		if err := f.writeDraft(t); err != nil {
			return err
		}
		f.talk("you answer for the validators and the header below; compare them with what your own node says")
		f.out = ""
		return f.print(draftTable(t))
	}
}

// mayRenew refuses signers who are not of the quorum of the version before, by
// which the draft will be judged, and drafts that do not follow it. It can tell
// if the trust root is pinned at that version.
func mayRenew(ctx context.Context, pinned *trustFlag, t *cityid.Trust, signers []cityid.Signer) error {
	trust, err := pinned.load(ctx)
	if err != nil {
		return err
	}
	next := &t.Statement
	if trust == nil || trust.Latest().Statement.Version+1 != next.Version {
		pinned.flags.talk("not checked: whether the draft follows version %d and you are of its quorum; cityid trust pin and update would tell", next.Version-1)
		return nil
	}
	last := &trust.Latest().Statement
	if next.Prev != last.Hash() || next.Chain != last.Chain || next.Zone != last.Zone {
		return exitError{exitConflict, fmt.Errorf("the draft does not follow version %d of your trust root", last.Version)}
	}
	for _, s := range signers {
		if !last.Quorum.Has(s.Key) {
			return exitError{exitNotPermitted, fmt.Errorf("key %s is not of the quorum of version %d, which signs the next", describe.Fingerprint(s.Key), last.Version)}
		}
	}
	return nil
}

func trustPublish(f *flags) func(context.Context, []string) error {
	w := &writing{}
	w.setup(f)
	return func(ctx context.Context, args []string) error {
		if len(args) != 1 {
			return usagef("want one signed draft")
		}
		t, err := readTrustDraft(ctx, args[0])
		if err != nil {
			return err
		}
		return w.submit(ctx, cityid.Operation{SetTrust: &cityid.SetTrust{Trust: *t}})
	}
}
