// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"cityid"
	"cityid/client"
	"cityid/internal/office"
)

func purposeCommand() *command {
	return &command{
		name: "purpose", short: "encrypt what data are asked for, and read what came with a request",
		sub: []*command{
			{
				name: "seal", args: "FILE", short: "encrypt the purpose in a request file to those who decide about the dataset",
				long: "It is encrypted to the keys with role encrypt in the policy that governs the dataset. Your gateway\nsends the result to the holder's gateway; neither can read it.",
				examples: []string{
					"cityid agreement purpose seal agreement-3b0c7d51aa02.json -o purpose.age",
				},
				setup: purposeSeal,
			},
			{
				name: "open", args: "FILE", short: "decrypt a purpose, and compare it with the one that the terms name",
				examples: []string{"cityid agreement purpose open purpose.age --agreement 3b0c… --key reader"},
				setup:    purposeOpen,
			},
		},
	}
}

func purposeSeal(f *flags) func(context.Context, []string) error {
	var to list
	f.Var(&to, "to", "encrypt to this x25519 `key` instead of asking a node who decides; several times for several readers")
	return func(ctx context.Context, args []string) error {
		if len(args) != 1 {
			return usagef("want the file of one request")
		}
		r, err := readRequestFile(ctx, args[0])
		if err != nil {
			return err
		}
		var readers []cityid.PublicKey
		for _, name := range to {
			k, err := f.publicKey(name)
			if err != nil {
				return err
			}
			readers = append(readers, k)
		}
		if len(readers) == 0 {
			c, err := f.connect()
			if err != nil {
				return err
			}
			if readers, err = encryptKeys(ctx, c, r.Terms.Dataset, time.Now()); err != nil {
				return err
			}
		}
		sealed, err := office.SealPurpose(readers, r.Purpose)
		if err != nil {
			return err
		}
		f.talk("encrypted to %s", count(len(readers), "key"))
		return f.writeBinary("an encrypted purpose", sealed)
	}
}

// encryptKeys returns the keys with role encrypt that count now in the policy
// which governs a code, and in the policies of the codes that are its members.
func encryptKeys(ctx context.Context, c *client.Client, code cityid.Code, now time.Time) ([]cityid.PublicKey, error) {
	var out []cityid.PublicKey
	seen := map[cityid.Code]bool{}
	var collect func(code cityid.Code, depth int) error
	collect = func(code cityid.Code, depth int) error {
		a, err := c.Record(ctx, code)
		if err != nil {
			return err
		}
		if a.Holder != code {
			if a, err = c.Record(ctx, a.Holder); err != nil {
				return err
			}
		}
		if seen[a.Record.Code] || a.Record.Policy == nil || depth > cityid.MaxPolicyDepth {
			return nil
		}
		seen[a.Record.Code] = true
		for _, m := range a.Record.Policy.Members {
			for _, k := range m.Keys {
				if k.Holds(cityid.RoleEncrypt, cityid.TimeOf(now)) && !slices.Contains(out, k.Public) {
					out = append(out, k.Public)
				}
			}
			if !m.Code.IsZero() {
				if err := collect(m.Code, depth+1); err != nil {
					return err
				}
			}
		}
		return nil
	}
	if err := collect(code, 0); err != nil {
		return nil, err
	}
	if len(out) == 0 {
		return nil, hint(fmt.Errorf("nobody who decides about %s has a key with role encrypt", code), "ask the holder to put an x25519 key into its policy, or name one you know with --to KEY")
	}
	return out, nil
}

func purposeOpen(f *flags) func(context.Context, []string) error {
	var s secrets
	s.flags(f)
	key := f.String("key", "", "decrypt with this x25519 key (`name` or file)")
	agreement := f.String("agreement", "", "`id` of the agreement that was asked for")
	digest := f.String("digest", "", "the purpose's `digest` as the terms name it, when no node can be asked")
	return func(ctx context.Context, args []string) error {
		if len(args) != 1 || *key == "" || (*agreement == "") == (*digest == "") {
			return usagef("want one file, --key NAME, and --agreement ID or --digest DIGEST")
		}
		want, err := purposeDigest(ctx, f, *agreement, *digest)
		if err != nil {
			return err
		}
		sealed, err := readBounded(ctx, args[0], office.MaxPurposeEnvelope)
		if err != nil {
			return err
		}
		k, err := f.openKey(ctx, *key, &s)
		if err != nil {
			return err
		}
		p, err := office.OpenPurpose(k, sealed, want)
		switch {
		case errors.Is(err, office.ErrKey):
			return exitError{exitNotPermitted, err}
		case errors.Is(err, office.ErrDamaged):
			return exitError{exitInvalid, err}
		case err != nil:
			return err
		}
		t := fields(p)
		for line := range strings.SplitSeq(p.Text, "\n") {
			t.rows = append(t.rows, []string{"purpose", line})
		}
		if p.Basis != "" {
			t.rows = append(t.rows, []string{"basis", p.Basis})
		}
		t.rows = append(t.rows, []string{"digest", want.String() + ", as the terms name it"})
		return f.print(t)
	}
}

// purposeDigest returns the digest of the purpose that terms name.
func purposeDigest(ctx context.Context, f *flags, agreement, digest string) (cityid.Digest, error) {
	if agreement == "" {
		d, err := cityid.ParseDigest(digest)
		if err != nil {
			return d, usageError{err}
		}
		return d, nil
	}
	id, err := idArg([]string{agreement})
	if err != nil {
		return id, err
	}
	c, err := f.connect()
	if err != nil {
		return id, err
	}
	a, err := c.Agreement(ctx, id)
	if err != nil {
		return id, err
	}
	return a.Agreement.Terms.Purpose, nil
}
