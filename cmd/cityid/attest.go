// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"cityid"
	"cityid/client"
	"cityid/internal/describe"
	"cityid/verify"
)

func attestCommand() *command {
	return &command{
		name: "attest", args: "FILE...", short: "vouch for files or a stream of readings as a source, or check who vouched for them",
		long: "What this proves: the holder of the source's key vouched for exactly these bytes, no later than\nthe time shown. What it does not: that what the bytes say is true.\n\n" +
			"Several files, or the lines of standard input with --stream, are vouched for together: one root goes\nonto the chain, and a proof leads from each of them to it. What is kept in --proofs belongs to you: without\nits proof nobody can tell that a piece was in a batch.",
		examples: []string{
			"cityid attest report.pdf --source MA.156.1301.01 --key assert",
			"cityid attest *.csv --source MA.156.1301.01 --proofs proofs --key assert",
			"meter | tee -a readings.log | cityid attest --stream --interval 60s --source MA.156.1301.01 --proofs proofs --key assert",
			"cityid attest check report.pdf --source MA.156.1301.01 --save-bundle report.cityid",
			"cityid attest check report.pdf --source MA.156.1301.01 --bundle report.cityid --trust trust.json",
		},
		sub: []*command{
			{
				name: "check", args: "FILE", short: "check that a source vouched for a file or reading: valid (0), not vouched for (3), invalid (5), undecided (6)",
				long: "With --bundle and a trust root this asks nobody. A bundle tells what held when it was made; whether\nthe source has taken its statement back since, only a newer one can tell: --max-age demands it.",
				examples: []string{
					"cityid attest check may.csv --proof proofs/may.csv.proof.json",
					"cityid attest check --text '21.5 2026-11-24T08:00:00Z' --proof reading.proof.json --bundle b.cityid --trust trust.json",
				},
				setup: attestCheck,
			},
			{
				name: "prove", args: "FILE", short: "find a reading in the leaves of a batch, and write its proof",
				examples: []string{"cityid attest prove --text '21.5 2026-11-24T08:00:00Z' --leaves proofs/batch-000001.leaves -o reading.proof.json"},
				setup:    attestProve,
			},
		},
		setup: attest,
	}
}

// attesting is what one call of attest is about.
type attesting struct {
	*writing
	source   cityid.Code
	label    string
	proofs   string // folder
	proof    string // file
	bundle   string // to save
	interval time.Duration
	trust    trustFlag
}

func attest(f *flags) func(context.Context, []string) error {
	a := &attesting{writing: &writing{}}
	a.setupProposable(f)
	source := f.String("source", "", "`code` of the source that vouches")
	f.StringVar(&a.label, "label", "", "what it is; published. Without it, a file's name")
	f.StringVar(&a.proofs, "proofs", "", "`folder` for the proofs of what is vouched for together")
	stream := f.Bool("stream", false, "vouch for the lines of standard input, a batch at a time")
	f.DurationVar(&a.interval, "interval", time.Minute, "with --stream: how often a batch is closed")
	f.StringVar(&a.bundle, "save-bundle", "", "afterwards save the proof that it is on the chain in this `file`")
	a.trust.setup(f)
	f.StringVar(&a.proof, "proof", "", "with --check or --withdraw: the batch that this proof `file` belongs to")
	check := f.Bool("check", false, "only ask the node whether the source has vouched for the file")
	withdraw := f.Bool("withdraw", false, "take the statement back; that it was made stays visible")
	return func(ctx context.Context, args []string) error {
		if *source == "" {
			return usagef("name the source with --source CODE")
		}
		var err error
		if a.source, err = parseCode(*source); err != nil {
			return err
		}
		switch {
		case *stream:
			if len(args) > 0 || *check || *withdraw || a.propose || a.save != "" || a.bundle != "" || a.out != "" || a.proofs == "" {
				return usagef("--stream reads standard input, wants --proofs FOLDER, and submits what it vouches for at once")
			}
			return a.stream(ctx)
		case *check || *withdraw:
			return a.look(ctx, args, *withdraw)
		case len(args) == 0:
			return usagef("want a file or several, or --stream")
		case a.proofs != "":
			return a.batch(ctx, args)
		case len(args) > 1:
			return usagef("several files are vouched for together: name a folder for their proofs with --proofs")
		}
		return a.single(ctx, args[0])
	}
}

// single vouches for one file.
func (a *attesting) single(ctx context.Context, path string) error {
	d, size, err := digestFile(ctx, path)
	if err != nil {
		return err
	}
	if a.label == "" && path != "-" {
		a.label = filepath.Base(path)
	}
	return a.vouch(ctx, &cityid.Attest{Source: a.source, Digest: d, Size: size, Label: a.label})
}

// vouch submits an attestation, and saves the proof that it is there.
func (a *attesting) vouch(ctx context.Context, op *cityid.Attest) error {
	r, err := a.send(ctx, cityid.Operation{Attest: op})
	if err != nil || r == nil {
		return err
	}
	if a.bundle != "" && len(r.Proposals) == 0 {
		if err := a.saveBundle(ctx, op.Digest); err != nil {
			return err
		}
	}
	return a.print(receiptTable(r))
}

// saveBundle fetches a bundle of an attestation and the records of its source,
// and writes it.
func (a *attesting) saveBundle(ctx context.Context, d cityid.Digest) error {
	c, err := a.connect()
	if err != nil {
		return err
	}
	trust, err := a.trust.load(ctx)
	if err != nil {
		return err
	}
	b, err := attestationBundle(ctx, c, trust, a.source, d)
	if err != nil {
		return err
	}
	if err := writeFile(a.bundle, b, 0o644); err != nil {
		return err
	}
	a.talk("%s holds the proof; cityid attest check --bundle %s judges it without a network", a.bundle, a.bundle)
	return nil
}

// attestationBundle fetches a bundle of an attestation and of the records of its
// source and of all above it.
func attestationBundle(ctx context.Context, c *client.Client, trust *verify.TrustFile, source cityid.Code, d cityid.Digest) ([]byte, error) {
	keys, err := lineage(ctx, c, source)
	if err != nil {
		return nil, err
	}
	if keys, err = sortKeys(append(keys, cityid.AttestationKey(source, d))); err != nil {
		return nil, err
	}
	return c.Bundle(ctx, entriesQuestion(trust, keys))
}

// look asks the node about an attestation, or takes it back.
func (a *attesting) look(ctx context.Context, args []string, withdraw bool) error {
	var d cityid.Digest
	switch {
	case a.proof != "" && len(args) == 0:
		p, err := readProof(ctx, a.proof)
		if err != nil {
			return err
		}
		if p.Source != a.source {
			return exitError{exitInvalid, fmt.Errorf("%s is a proof of %s, not of %s", a.proof, p.Source, a.source)}
		}
		d = p.Root
	case a.proof == "" && len(args) == 1:
		var err error
		if d, _, err = digestFile(ctx, args[0]); err != nil {
			return err
		}
	default:
		return usagef("want one file, or --proof FILE")
	}
	if withdraw {
		return a.submit(ctx, cityid.Operation{Withdraw: &cityid.Withdraw{Source: a.source, Digest: d}})
	}
	c, err := a.connect()
	if err != nil {
		return err
	}
	got, err := c.Attestation(ctx, a.source, d)
	if err != nil {
		return err
	}
	leaves := ""
	if got.Leaves > 0 {
		leaves = fmt.Sprint(got.Leaves)
	}
	t := fields(got, "source", got.Source.String(), "digest", got.Digest.String(), "label", got.Label, "size", fmt.Sprint(got.Size), "pieces", leaves,
		"vouched", got.Changed.Time.String(), "by key", describe.Fingerprint(got.Key), "withdrawn", got.Withdrawn.String())
	if err := a.print(t); err != nil {
		return err
	}
	return takenBack(got)
}

func takenBack(a *cityid.Attestation) error {
	if a.Withdrawn != 0 {
		return exitError{exitInvalid, fmt.Errorf("%s took this statement back at %s", a.Source, a.Withdrawn)}
	}
	return nil
}

// readProof reads the file of a proof.
func readProof(ctx context.Context, path string) (*verify.BatchProof, error) {
	b, err := readBounded(ctx, path, verify.MaxBatchProof)
	if err != nil {
		return nil, err
	}
	p, err := verify.ParseBatchProof(b)
	if err != nil {
		return nil, exitError{exitInvalid, fmt.Errorf("%s: %w", path, err)}
	}
	return p, nil
}

// notThePiece turns the refusal of a proof into an exit code.
func notThePiece(path string, err error) error {
	if errors.Is(err, verify.ErrOtherPiece) {
		return exitError{exitInvalid, fmt.Errorf("%s: %w", path, err)}
	}
	return err
}
