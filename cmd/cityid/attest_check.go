// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"time"

	"cityid"
	"cityid/internal/describe"
	"cityid/verify"
)

// vouched is what a check found, for output.
type vouched struct {
	Verdict     verify.Verdict      `json:"verdict"`
	Message     string              `json:"message"`
	Attestation *cityid.Attestation `json:"attestation,omitempty"`
	Proof       *verify.BatchProof  `json:"proof,omitempty"`
	Key         keyStanding         `json:"key,omitzero"`
	AsOf        cityid.AsOf         `json:"as_of,omitzero"`
}

// keyStanding is how the key that attested stands in the policy that governs the
// source, as far as a bundle tells.
type keyStanding struct {
	Holder      cityid.Code  `json:"holder,omitzero"` // of the policy; zero: not known
	Roles       cityid.Roles `json:"roles,omitzero"`  // 0: it does not stand in the policy itself
	Compromised cityid.Time  `json:"compromised,omitzero"`
	Barred      string       `json:"barred,omitempty"` // why the policy does not act now
}

// checking is one check of a piece.
type checking struct {
	*flags
	trust  trustFlag
	piece  pieceFlags
	source cityid.Code
	proof  *verify.BatchProof
	digest cityid.Digest // of the attestation
	age    time.Duration // 0: as of the bundle
}

func attestCheck(f *flags) func(context.Context, []string) error {
	c := &checking{flags: f}
	c.trust.setup(f)
	c.piece.setup(f)
	source := f.String("source", "", "`code` of the source; the one of the proof without it")
	proof := f.String("proof", "", "proof `file` of a piece that was vouched for with others")
	bundle := f.String("bundle", "", "judge by the bundle in this `file`, and ask nobody")
	save := f.String("save-bundle", "", "save the bundle in this `file`, to check by it later")
	f.DurationVar(&c.age, "max-age", 0, "how old the bundle may be; 0 for any age: then the answer is as of the bundle's time")
	return func(ctx context.Context, args []string) error {
		var err error
		if *source != "" {
			if c.source, err = parseCode(*source); err != nil {
				return err
			}
		}
		if *proof != "" {
			if c.proof, err = readProof(ctx, *proof); err != nil {
				return err
			}
			if !c.source.IsZero() && c.source != c.proof.Source {
				return exitError{exitInvalid, fmt.Errorf("%s is a proof of %s, not of %s", *proof, c.proof.Source, c.source)}
			}
			c.source = c.proof.Source
		}
		if c.source.IsZero() || *bundle != "" && *save != "" {
			return usagef("want --source CODE or --proof FILE, and either --bundle or --save-bundle")
		}
		if err := c.piece.open(ctx, f, args, c.read); err != nil {
			return err
		}
		trust, err := c.trust.load(ctx)
		if err != nil {
			return err
		}
		if *bundle != "" {
			if trust, err = c.trust.required(ctx); err != nil {
				return err
			}
			b, err := readBounded(ctx, *bundle, verify.MaxBundle)
			if err != nil {
				return err
			}
			return c.judge(trust, b)
		}
		return c.ask(ctx, trust, *save)
	}
}

// read reads the piece and finds by which digest it was vouched for.
func (c *checking) read(name string, r io.Reader) error {
	if c.proof != nil {
		c.digest = c.proof.Root
		return notThePiece(name, c.proof.Check(r))
	}
	h := sha256.New()
	if _, err := io.Copy(h, r); err != nil {
		return err
	}
	c.digest = cityid.Digest(h.Sum(nil))
	return nil
}

// ask asks a node, and judges its proof if there is a trust root.
func (c *checking) ask(ctx context.Context, trust *verify.TrustFile, save string) error {
	node, err := c.connect()
	if err != nil {
		return err
	}
	if trust == nil && save == "" {
		a, err := node.Attestation(ctx, c.source, c.digest)
		if err != nil {
			return err
		}
		c.talk("only the node's word: you have pinned no trust root; cityid trust pin does")
		return c.say(&vouched{Verdict: verify.Valid, Message: "as the node says", Attestation: a})
	}
	b, err := attestationBundle(ctx, node, trust, c.source, c.digest)
	if err != nil {
		return err
	}
	if trust == nil {
		if trust, err = c.trust.required(ctx); err != nil {
			return err
		}
	}
	if save != "" {
		if err := writeFile(save, b, 0o644); err != nil {
			return err
		}
	}
	if c.age == 0 {
		c.age = verify.DefaultMaxAge
	}
	return c.judge(trust, b)
}

// judge judges a bundle, and what it says of the piece.
func (c *checking) judge(trust *verify.TrustFile, data []byte) error {
	o := verify.Options{Now: time.Now(), Kind: cityid.AnswerEntries, MaxAge: c.age}
	base := trust.Latest()
	if b, err := verify.Decode(data); err == nil {
		base = trust.For(b)
		if at, err := verify.AnsweredAt(data); err == nil && c.age == 0 {
			o.At = at
		}
	}
	r := verify.CheckEncoded(base, data, o)
	if r.Verdict != verify.Valid {
		return verdictError(r)
	}
	out := &vouched{Verdict: r.Verdict, Message: r.Message, Attestation: new(cityid.Attestation), AsOf: r.AsOf}
	there, err := r.Entry(cityid.AttestationKey(c.source, c.digest), out.Attestation)
	switch {
	case err != nil:
		return exitError{exitInvalid, fmt.Errorf("the bundle says nothing about these bytes and %s: %w", c.source, err)}
	case !there:
		return cityid.Errorf(cityid.ErrNotFound, "%s had not vouched for these bytes, as of %s", c.source, stampOf(r.AsOf.Time))
	}
	out.Key = standingOf(r.Records, out.Attestation)
	return c.say(out)
}

// say prints what was found, and what of it is no proof.
func (c *checking) say(v *vouched) error {
	a := v.Attestation
	if v.Proof = c.proof; a.Leaves != c.leaves() {
		what := "the digest of single bytes"
		if a.Leaves > 0 {
			what = fmt.Sprintf("the root of a batch of %d", a.Leaves)
		}
		return exitError{exitInvalid, fmt.Errorf("%s vouched for %s as %s, which these bytes are not shown to be by", a.Source, a.Digest, what)}
	}
	t := fields(v, "verdict", v.Verdict.String(), "says", v.Message)
	row := func(name string, lines ...describe.Line) {
		for i, l := range lines {
			if i > 0 {
				name = ""
			}
			t.rows = append(t.rows, []string{name, l.String()})
		}
	}
	row("vouched", describe.Attestation(c.lang, a)...)
	if c.proof != nil {
		row("piece", describe.Line{Text: fmt.Sprintf("%d of %d", c.proof.Index+1, c.proof.Leaves)})
	}
	for _, text := range v.Key.words(c.lang) {
		row("key", describe.Line{Text: text})
	}
	row("means", describe.AttestationMeans(c.lang)...)
	if v.AsOf.Chain != "" {
		t.rows = append(t.rows, []string{"as of", asOf(v.AsOf)})
	}
	if err := c.print(t); err != nil {
		return err
	}
	if err := takenBack(a); err != nil {
		return err
	}
	if k := v.Key.Compromised; k != 0 && k <= a.Changed.Time {
		return exitError{exitUndecided, fmt.Errorf("%s declares the key to be in other hands since %s, before this was recorded", v.Key.Holder, k)}
	}
	return nil
}

// leaves is how many leaves the attestation must have.
func (c *checking) leaves() uint64 {
	if c.proof == nil {
		return 0
	}
	return c.proof.Leaves
}

// standingOf finds the key of an attestation in the policy that governs its
// source, by the records of the source and of what stands above it.
func standingOf(records []cityid.Record, a *cityid.Attestation) (k keyStanding) {
	known := map[cityid.Code]*cityid.Record{}
	for i := range records {
		known[records[i].Code] = &records[i]
	}
	r := known[a.Source]
	for range maxLineage {
		if r == nil {
			break
		}
		if r.Status != cityid.StatusActive && k.Barred == "" {
			k.Barred = fmt.Sprintf("%s is %s", r.Code, r.Status)
		}
		if k.Holder.IsZero() && r.Policy != nil {
			k.Holder = r.Code
			for _, m := range r.Policy.Members {
				for _, x := range m.Keys {
					if x.Public == a.Key {
						k.Roles, k.Compromised = x.Roles, x.Compromised
					}
				}
			}
		}
		r = above(known, r)
	}
	return k
}

// above returns the record that stands above another one: its parent, or the heir
// that a retired one names.
func above(known map[cityid.Code]*cityid.Record, r *cityid.Record) *cityid.Record {
	p := known[r.Parent]
	for range maxLineage {
		if p == nil || p.Status != cityid.StatusRetired || p.Heir.IsZero() {
			break
		}
		p = known[p.Heir]
	}
	return p
}

// words says how the key stands.
func (k *keyStanding) words(lang string) (out []string) {
	zh := lang == "zh"
	say := func(chinese, english string, args ...any) {
		if zh {
			english = chinese
		}
		out = append(out, fmt.Sprintf(english, args...))
	}
	switch {
	case k.Holder.IsZero():
		return nil
	case k.Roles == 0:
		say("现已不在 %s 自己的策略中", "does not stand now in the policy of %s itself", k.Holder)
	default:
		say("在 %s 的策略中，用途：%s", "stands in the policy of %s, for: %s", k.Holder, describe.Roles(lang, k.Roles))
	}
	if k.Compromised != 0 {
		say("自 %s 起视为泄露", "counts as compromised since %s", k.Compromised)
	}
	if k.Barred != "" {
		say("该策略现不生效：%s", "this policy does not act now: %s", k.Barred)
	}
	return out
}
