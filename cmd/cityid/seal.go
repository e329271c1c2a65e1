// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"time"

	"cityid"
	"cityid/verify"
)

// notRetroactive is said wherever somebody seals, or asks how.
const notRetroactive = "Sealing is not retroactive: what earlier revisions of the record say stays in its history, for everybody."

func sealCommand() *command {
	return &command{
		name: "seal", args: "CODE", short: "replace a record's content by a salted digest",
		long:     notRetroactive + "\nThe salt and the content are written to the file that --keep names, and nobody else has them: keep it.",
		examples: []string{"cityid code seal MA.156.1301.01/20.020101/000001 --keep 000001.json --key officer"},
		setup:    codeSeal,
	}
}

func unsealCommand() *command {
	return &command{name: "unseal", args: "CODE CONTENT.json", short: "publish the content of a sealed record", setup: codeUnseal}
}

func sealedCommand() *command {
	return &command{
		name: "sealed", short: "contents of sealed records, as their holders keep them and their gateways serve them",
		sub: []*command{{
			name: "check", args: "FILE", short: "check a content against the record it is of: valid (0), invalid (5) or undecided (6)",
			long: "FILE, or - for standard input, holds one content as JSON: a file of cityid code seal, a line of an import's\n" +
				"or a portal's, or what a gateway has answered. The record is proven with your trust root: by a bundle that\n" +
				"the node makes, or without a network by one that you have.",
			examples: []string{
				"cityid code sealed check 000001.json --trust trust.json",
				"curl -s http://127.0.0.1:9102/fetch/3f9a…/MA.156.1301.01~20.020101~000001 | cityid code sealed check - --code MA.156.1301.01/20.020101/000001",
				"cityid code sealed check 000001.json --bundle 000001.cityid",
			},
			setup: sealedCheck,
		}},
	}
}

func codeSeal(f *flags) func(context.Context, []string) error {
	w := &writing{}
	w.setupProposable(f)
	var content contentFlags
	content.setup(f)
	keep := f.String("keep", "", "`file` for the salt and content, which only you have from now on")
	return func(ctx context.Context, args []string) error {
		r, err := w.current(ctx, args, 1)
		if err != nil {
			return err
		}
		if *keep == "" {
			return usagef("say with --keep where to keep the salt and the content: without them nobody can open the seal")
		}
		if _, err := os.Lstat(*keep); err == nil {
			return hint(exitError{exitConflict, fmt.Errorf("%s exists already: the salt of another seal may be in it", *keep)}, "name a new file for each seal")
		}
		s := cityid.SealedContent{Code: r.Code, Content: r.Content}
		if err := content.apply(ctx, &s.Content); err != nil {
			return err
		}
		if _, err := rand.Read(s.Salt[:]); err != nil {
			return err
		}
		b, err := json.MarshalIndent(s, "", "  ")
		if err != nil {
			return err
		}
		if err := writeFile(*keep, append(b, '\n'), 0o600); err != nil {
			return err
		}
		w.talk("%s cityid code history %s lists them.", notRetroactive, r.Code)
		return w.submit(ctx, cityid.Operation{Seal: &cityid.Seal{Code: r.Code, Revision: r.Revision, Sealed: s.Digest()}})
	}
}

func codeUnseal(f *flags) func(context.Context, []string) error {
	w := &writing{}
	w.setupProposable(f)
	return func(ctx context.Context, args []string) error {
		r, err := w.current(ctx, args, 2)
		if err != nil {
			return err
		}
		s, err := readSealed(ctx, args[1])
		if err != nil {
			return err
		}
		if s.Code != r.Code {
			return exitError{exitConflict, fmt.Errorf("%s belongs to %s, not to %s", args[1], s.Code, r.Code)}
		}
		return w.submit(ctx, cityid.Operation{Unseal: &cityid.Unseal{Code: r.Code, Revision: r.Revision, Salt: s.Salt, Content: s.Content}})
	}
}

// readSealed reads one sealed content.
func readSealed(ctx context.Context, path string) (*cityid.SealedContent, error) {
	b, err := readBounded(ctx, path, 2*cityid.MaxSealedContent) // indented
	if err != nil {
		return nil, err
	}
	s, err := cityid.ParseSealedContent(b)
	if err != nil {
		return nil, exitError{exitInvalid, fmt.Errorf("%s is not a sealed content: %w", path, err)}
	}
	return s, nil
}

func sealedCheck(f *flags) func(context.Context, []string) error {
	var t trustFlag
	t.setup(f)
	code := f.String("code", "", "the `code` you asked for: the content of another one is invalid")
	bundle := f.String("bundle", "", "`file` of a bundle for the record, instead of asking the node")
	at := f.String("at", "", "with --bundle, judge as of this `time` (RFC 3339, or a day) instead of now")
	return func(ctx context.Context, args []string) error {
		if len(args) != 1 {
			return usagef("want one file with a sealed content, or - for standard input")
		}
		if *at != "" && *bundle == "" {
			return usagef("--at goes with --bundle")
		}
		o := verify.Options{Now: time.Now(), Kind: cityid.AnswerRecord}
		var err error
		if o.At, err = parseTime(*at); err != nil {
			return err
		}
		s, err := readSealed(ctx, args[0])
		if err != nil {
			return err
		}
		o.Code = s.Code
		if *code != "" {
			want, err := parseCode(*code)
			if err != nil {
				return err
			}
			if want != s.Code {
				return exitError{exitInvalid, fmt.Errorf("invalid: the content is of %s, and you asked for %s", s.Code, want)}
			}
		}
		trust, err := t.required(ctx)
		if err != nil {
			return err
		}
		r, err := t.judge(ctx, trust, *bundle, o)
		if err != nil {
			return err
		}
		if r.Verdict == verify.Valid {
			if err := opens(s, &r); err != nil {
				return hint(exitError{exitInvalid, fmt.Errorf("invalid: %w", err)}, "ask whoever sent it: it was altered, or the record was sealed anew or opened since; cityid code history %s tells when", s.Code)
			}
		} else {
			return verdictError(r)
		}
		return f.print(sealedTable(s, &r))
	}
}

// judge judges the bundle in a file, or one that the node makes if path is
// empty.
func (t *trustFlag) judge(ctx context.Context, trust *verify.TrustFile, path string, o verify.Options) (verify.Result, error) {
	if path == "" {
		c, err := t.flags.connect()
		if err != nil {
			return verify.Result{}, err
		}
		return t.check(ctx, c, trust, o.Code)
	}
	b, err := readBounded(ctx, path, verify.MaxBundle)
	if err != nil {
		return verify.Result{}, err
	}
	base := trust.Latest()
	if d, err := verify.Decode(b); err == nil {
		base = trust.For(d)
	}
	return verify.CheckEncoded(base, b, o), nil
}

// opens compares a content with the record that is proven.
func opens(s *cityid.SealedContent, r *verify.Result) error {
	if !r.Allocated || r.Record == nil {
		return fmt.Errorf("%s is not allocated", s.Code)
	}
	return s.Opens(r.Record)
}

// sealedTable shows a content that was checked.
func sealedTable(s *cityid.SealedContent, r *verify.Result) *table {
	t := fields(s, "verdict", r.Verdict.String(),
		"says", fmt.Sprintf("the content is what revision %d of %s commits to; %s", r.Record.Revision, s.Code, r.Message), "code", s.Code.Display(), "digest", r.Record.Sealed.String())
	row := func(name, text string) {
		if text != "" {
			t.rows = append(t.rows, []string{name, text})
		}
	}
	c := &s.Content
	for _, n := range c.Names {
		row("name ("+n.Lang+")", n.Text)
	}
	if c.Location != nil {
		b, _ := c.Location.MarshalJSON() // never fails
		row("location", string(b))
	}
	for _, l := range c.Links {
		row("link ("+l.Rel+")", l.Href)
	}
	row("hosts", strings.Join(c.Hosts, " "))
	for _, d := range c.Documents {
		row("document", d.Label+" "+d.Digest.String())
	}
	if d := c.Dataset; d != nil {
		row("dataset document", d.Document.String())
	}
	return t
}
