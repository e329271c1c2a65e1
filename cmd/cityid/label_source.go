// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"cityid"
	"cityid/client"
	"cityid/internal/describe"
	"cityid/label"
	"cityid/verify"
)

func labelSourceCommand() *command {
	return &command{
		name: "source", args: "CODE", short: "draw a source mark: a source vouches for a file, or for what a device is",
		long: "With --file the mark vouches for exactly these bytes; print it on the report, or hand it out beside it.\n" +
			"Without, it is a plate for a device. Anybody can copy a plate, so it proves an identifier alone.\n" +
			"The output is SVG, or PNG if its name ends in .png.",
		examples: []string{
			"cityid label source MA.156.1301.01 --file report.pdf --key assert --public-url https://id.example.cn -o report.svg",
			"cityid label source MA.156.1301.01/20.010501/000001 --key assert --expires 2027-12-31 --public-url https://id.example.cn -o plate.png",
		},
		setup: labelSource,
	}
}

// marking is what a source mark is made of.
type marking struct {
	printing
	file string
	last string
}

func labelSource(f *flags) func(context.Context, []string) error {
	m := &marking{}
	m.printing.setup(f)
	m.secrets.flags(f)
	f.StringVar(&m.key, "key", "", "assert `key` of the policy that governs the source")
	f.StringVar(&m.file, "file", "", "`file` to vouch for; without it, the mark is a plate for a device")
	f.StringVar(&m.last, "expires", "", "last `day` on which the mark counts (2006-01-02); without it, it does not expire")
	side := f.Float64("side", 0, "side of the symbol in `mm`; 0 leaves it to the page")
	pixels := f.Int("pixels", 8, "pixels for each module of a PNG, 1 to 64")
	return func(ctx context.Context, args []string) error {
		code, err := codeArg(args)
		if err != nil {
			return err
		}
		s, err := m.symbol(ctx, code)
		if err != nil {
			return err
		}
		if strings.HasSuffix(strings.ToLower(f.out), ".png") {
			b, err := s.PNG(*pixels)
			if err != nil {
				return usageError{err}
			}
			return f.writeBinary("a PNG image", b)
		}
		c, err := m.caption(ctx, code)
		if err != nil {
			return err
		}
		b, err := s.SVG(label.SVGOptions{SideMM: *side, Caption: c})
		if err != nil {
			return usageError{err}
		}
		return f.write(b)
	}
}

// symbol signs a mark and draws it.
func (m *marking) symbol(ctx context.Context, code cityid.Code) (*label.Symbol, error) {
	if m.key == "" {
		return nil, usagef("name the key that vouches with --key")
	}
	u, err := m.url()
	if err != nil {
		return nil, err
	}
	level, err := m.correction(label.LevelM)
	if err != nil {
		return nil, err
	}
	mark := label.SourceMark{Code: code, Time: cityid.TimeOf(time.Now())}
	if m.last != "" {
		d, err := label.ParseDay(m.last)
		if err != nil {
			return nil, usageError{err}
		}
		mark.Expires = d.Start() + 86400
		if mark.Expires <= mark.Time {
			return nil, usagef("--expires %s is over", m.last)
		}
	}
	if m.file != "" {
		if mark.Digest, _, err = digestFile(ctx, m.file); err != nil {
			return nil, err
		}
	}
	if _, err := rand.Read(mark.Nonce[:]); err != nil {
		return nil, err
	}
	signer, err := m.openKey(ctx, m.key, &m.secrets)
	if err != nil {
		return nil, err
	}
	key := cityid.PublicKey(signer.Public().Raw())
	if err := m.mayVouch(ctx, code, key); err != nil {
		return nil, err
	}
	if mark, err = label.SignSource(mark, key, signer.Sign); err != nil {
		return nil, err
	}
	return label.SourceSymbolAt(u, mark, level)
}

// mayVouch asks the node whether a key vouches for a code: nobody could check a
// mark of another one.
func (m *marking) mayVouch(ctx context.Context, code cityid.Code, key cityid.PublicKey) error {
	if m.unallocated {
		return nil
	}
	node, err := m.connect()
	if err != nil {
		return err
	}
	if _, err := mayPrint(ctx, node, code); err != nil {
		return err
	}
	candidates, err := label.SourceCandidates(code, func(c cityid.Code) (*cityid.Record, error) {
		a, err := node.Record(ctx, c)
		if err != nil {
			return nil, err
		}
		return &a.Record, nil
	})
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(candidates, func(c label.Candidate) bool { return c.Key == key && c.CompromisedSince == 0 }) {
		return hint(exitError{exitNotPermitted, fmt.Errorf("no mark: the key %s is no assert key of the policy that governs %s", describe.Fingerprint(key), code)},
			"sign with an assert key of that policy; cityid code show %s lists them. --unallocated signs without asking", code)
	}
	return nil
}

// anchored is an attestation of the bytes that a mark is about.
type anchored struct {
	Time      cityid.Time `json:"time"`
	Height    uint64      `json:"height"`
	Withdrawn cityid.Time `json:"withdrawn,omitempty"`
	Proven    bool        `json:"proven"` // by a bundle and a pinned trust root; else it is the node's word
}

// scanSource checks a source mark, and says what it proves.
func scanSource(ctx context.Context, k *keySource, file string, m label.SourceMark, v scanView) error {
	var digest cityid.Digest
	if file != "" {
		var err error
		if digest, _, err = digestFile(ctx, file); err != nil {
			return err
		}
	}
	candidates, anchor, err := k.sourceKeys(ctx, m)
	if err != nil {
		return err
	}
	found := label.CheckSource(m, candidates, digest, cityid.TimeOf(time.Now()))
	v.Source, v.Holder, v.Digest = found.Verdict.String(), found.Holder, m.Digest
	v.Signed, v.Expires = m.Time, m.Expires.String()
	v.Proves, v.NotProven = provenBy(m, found, anchor)
	if found.Verdict != label.WrongBytes {
		v.Anchored = anchor
	}
	if err := k.flags.print(scanTable(v)); err != nil {
		return err
	}
	switch {
	case found.Verdict == label.Valid:
		return nil
	case found.Verdict == label.BytesWanted:
		return hint(exitError{exitUndecided, errors.New("the mark is well signed, but what it is about can not be told without the file")}, "name the report with --file")
	case found.Verdict.Undecided():
		return exitError{exitUndecided, fmt.Errorf("whether the mark holds can not be told: %s", found.Verdict)}
	}
	return exitError{exitInvalid, fmt.Errorf("the mark does not hold: %s", found.Verdict)}
}

// provenBy words what a mark proves and what it does not.
func provenBy(m label.SourceMark, found label.Finding, anchor *anchored) (proves, not string) {
	if found.Verdict != label.Valid && found.Verdict != label.BytesWanted {
		return "nothing", ""
	}
	key := fmt.Sprintf("the key %s, registered for %s,", describe.Fingerprint(found.Key), found.Holder)
	if m.IsPlate() {
		return fmt.Sprintf("%s made a plate for %s at %s by its own word: an identifier alone", key, m.Code, m.Time),
			"that this is the device the plate was made for: a printed symbol can be copied"
	}
	what := "exactly these bytes"
	if found.Verdict == label.BytesWanted {
		what = "the bytes with this digest"
	}
	proves = fmt.Sprintf("%s vouched as %s for %s, at %s by its own word", key, m.Code, what, m.Time)
	switch {
	case anchor == nil:
		not = "that what the bytes say is true, nor when the mark was made: the chain was not seen to have an attestation of them"
	case anchor.Proven:
		proves += fmt.Sprintf("; %s anchored them no later than %s (block %d)", m.Code, anchor.Time, anchor.Height)
		not = "that what the bytes say is true"
	default:
		not = fmt.Sprintf("that what the bytes say is true, nor when the mark was made: that they were anchored at %s is only the node's word", anchor.Time)
	}
	if anchor != nil && anchor.Withdrawn != 0 {
		proves += fmt.Sprintf("; the source took its attestation back at %s", anchor.Withdrawn)
	}
	return proves, not
}

// sourceKeys returns the keys that may have signed a mark, and the attestation
// of its bytes if there is one.
func (k *keySource) sourceKeys(ctx context.Context, m label.SourceMark) ([]label.Candidate, *anchored, error) {
	trust, err := k.trust.load(ctx)
	if err != nil {
		return nil, nil, err
	}
	if k.offline || len(k.bundles) > 0 {
		return k.sourceFromBundles(ctx, trust, m)
	}
	node, err := k.flags.connect()
	if err != nil {
		return nil, nil, err
	}
	if trust == nil {
		k.flags.talk("warning: no trust root is pinned, so the keys are only the node's word; cityid trust pin pins one")
	}
	candidates, err := label.SourceCandidates(m.Code, func(c cityid.Code) (*cityid.Record, error) { return k.record(ctx, node, trust, c) })
	if err != nil || m.IsPlate() {
		return candidates, nil, err
	}
	anchor, err := anchorOf(ctx, node, trust, m)
	return candidates, anchor, err
}

// anchorOf returns the attestation of a mark's bytes, proven if trust is not
// nil; nil if the source made none.
func anchorOf(ctx context.Context, node *client.Client, trust *verify.TrustFile, m label.SourceMark) (*anchored, error) {
	if trust == nil {
		a, err := node.Attestation(ctx, m.Code, m.Digest)
		if cityid.CodeOf(err) == cityid.ErrNotFound {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		return &anchored{a.Changed.Time, a.Changed.Height, a.Withdrawn, false}, nil
	}
	r, _, err := node.Entries(ctx, trust.Latest(), [][]byte{cityid.AttestationKey(m.Code, m.Digest)}, time.Now())
	if err != nil {
		return nil, err
	}
	if err := verdictError(r); err != nil {
		return nil, err
	}
	return anchorIn(&r, m)
}

// anchorIn returns the attestation of a mark's bytes that a valid result has.
func anchorIn(r *verify.Result, m label.SourceMark) (*anchored, error) {
	key := cityid.AttestationKey(m.Code, m.Digest)
	if !r.Asked(key) {
		return nil, nil
	}
	var a cityid.Attestation
	there, err := r.Entry(key, &a)
	if err != nil || !there || a.Leaves != 0 {
		return nil, err
	}
	return &anchored{a.Changed.Time, a.Changed.Height, a.Withdrawn, true}, nil
}

// sourceFromBundles takes keys and attestation from bundles of records and of
// entries, each of which must be valid.
func (k *keySource) sourceFromBundles(ctx context.Context, trust *verify.TrustFile, m label.SourceMark) ([]label.Candidate, *anchored, error) {
	if len(k.bundles) > 0 && trust == nil {
		_, err := k.trust.required(ctx)
		return nil, nil, err
	}
	records := map[cityid.Code]*cityid.Record{}
	var anchor *anchored
	for _, path := range k.bundles {
		r, err := k.readBundle(ctx, trust, path, 0)
		if err != nil {
			return nil, nil, err
		}
		latest, err := latestRecords(&r)
		if err != nil {
			return nil, nil, fmt.Errorf("%s: %w", path, err)
		}
		for _, record := range latest {
			if old := records[record.Code]; old == nil || old.Revision < record.Revision {
				records[record.Code] = record
			}
		}
		if r.Kind == cityid.AnswerEntries {
			a, err := anchorIn(&r, m)
			if err != nil {
				return nil, nil, fmt.Errorf("%s: %w", path, err)
			}
			if a != nil {
				anchor = a
			}
		}
	}
	candidates, err := label.SourceCandidates(m.Code, func(c cityid.Code) (*cityid.Record, error) { return records[c], nil })
	return candidates, anchor, err
}

// latestRecords returns the records that a valid result shows to be the latest
// of their codes, for those kinds of answers that show it.
func latestRecords(r *verify.Result) ([]*cityid.Record, error) {
	var out []*cityid.Record
	if r.Kind == cityid.AnswerRecord && r.Record != nil {
		out = append(out, r.Record)
	}
	for _, e := range r.Entries {
		if _, ok := cityid.CodeOfRecordKey(e.Key); !ok || e.Value == nil {
			continue
		}
		record := new(cityid.Record)
		if _, err := r.Entry(e.Key, record); err != nil {
			return nil, err
		}
		out = append(out, record)
	}
	return out, nil
}
