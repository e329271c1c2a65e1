// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"path/filepath"

	"cityid"
	"cityid/internal/describe"
)

func attestCommand() *command {
	return &command{
		name: "attest", args: "FILE", short: "vouch for a file as a source, or check who vouched for it",
		long: "What this proves: the holder of the source's key vouched for exactly these bytes, no later than\nthe time shown. What it does not: that what the bytes say is true.",
		examples: []string{
			"cityid attest report.pdf --source MA.156.1301.01 --key assert",
			"cityid attest report.pdf --source MA.156.1301.01 --check",
		},
		setup: attest,
	}
}

func attest(f *flags) func(context.Context, []string) error {
	w := &writing{}
	w.setupProposable(f)
	source := f.String("source", "", "`code` of the source that vouches")
	label := f.String("label", "", "what the file is; published. Without it, the file's name")
	check := f.Bool("check", false, "only look whether the source has vouched for the file")
	withdraw := f.Bool("withdraw", false, "take the statement back; that it was made stays visible")
	return func(ctx context.Context, args []string) error {
		if len(args) != 1 {
			return usagef("want one file")
		}
		if *source == "" {
			return usagef("name the source with --source CODE")
		}
		code, err := parseCode(*source)
		if err != nil {
			return err
		}
		d, size, err := digestFile(ctx, args[0])
		if err != nil {
			return err
		}
		switch {
		case *check:
			return checkAttestation(ctx, f, code, d)
		case *withdraw:
			return w.submit(ctx, cityid.Operation{Withdraw: &cityid.Withdraw{Source: code, Digest: d}})
		}
		if *label == "" && args[0] != "-" {
			*label = filepath.Base(args[0])
		}
		return w.submit(ctx, cityid.Operation{Attest: &cityid.Attest{Source: code, Digest: d, Size: size, Label: *label}})
	}
}

func checkAttestation(ctx context.Context, f *flags, source cityid.Code, d cityid.Digest) error {
	c, err := f.connect()
	if err != nil {
		return err
	}
	a, err := c.Attestation(ctx, source, d)
	if err != nil {
		return err
	}
	t := fields(a, "source", a.Source.String(), "digest", a.Digest.String(), "label", a.Label, "size", fmt.Sprint(a.Size),
		"vouched", a.Changed.Time.String(), "by key", describe.Fingerprint(a.Key), "withdrawn", a.Withdrawn.String())
	if err := f.print(t); err != nil {
		return err
	}
	if a.Withdrawn != 0 {
		return exitError{exitInvalid, fmt.Errorf("%s took this statement back at %s", a.Source, a.Withdrawn)}
	}
	return nil
}
