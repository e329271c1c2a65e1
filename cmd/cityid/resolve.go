// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"cityid"
	"cityid/client"
	"cityid/verify"
)

func resolveCommand() *command {
	return &command{
		name: "resolve", args: "CODE", short: "say what a code stands for, checked against your trust root if you have one",
		long:     "A code may belong to a zone of its own, on another chain. With a trust root the answer is then found there: from the\nnode's referral on, through any number of zones, and whatever each says has to prove itself.",
		examples: []string{"cityid resolve MA.156.1301", "cityid resolve MA.156.1301.01/20.010203/000123 --format json"},
		setup:    resolveCode,
	}
}

func resolveCode(f *flags) func(context.Context, []string) error {
	var t trustFlag
	var z zonesFlag
	t.setup(f)
	z.setup(f)
	return func(ctx context.Context, args []string) error {
		code, c, err := f.codeAtNode(args)
		if err != nil {
			return err
		}
		trust, err := t.load(ctx)
		if err != nil {
			return err
		}
		a, err := c.Record(ctx, code)
		further, err := elsewhere(err, trust)
		if trust == nil {
			if err != nil {
				return err
			}
			f.talk("not verified: you have pinned no trust root; cityid trust pin does")
			return f.print(recordTable(f.lang, a))
		}
		if err != nil && cityid.CodeOf(err) != cityid.ErrNotFound {
			return err
		}
		ask := func() (verify.Result, error) { return t.check(ctx, c, trust, code) }
		if further {
			ask = func() (verify.Result, error) { return z.resolve(ctx, trust, code) }
		}
		r, err := ask()
		if err != nil {
			return err
		}
		if r.Verdict != verify.Valid {
			return verdictError(r)
		}
		f.talk("%s: %s", r.Verdict, r.Message)
		if !r.Allocated {
			return cityid.Errorf(cityid.ErrNotFound, "%s is not allocated", code)
		}
		// The record is the proven one; what the node adds is its own word.
		answer := &cityid.RecordAnswer{Record: *r.Record, Display: code.Display(), AsOf: r.AsOf}
		if a != nil {
			answer.Holder, answer.Waiting = a.Holder, a.Waiting
		}
		return f.print(recordTable(f.lang, answer))
	}
}

// trustFlag names the trust file.
type trustFlag struct {
	flags *flags
	path  string
}

func (t *trustFlag) setup(f *flags) {
	t.flags = f
	f.StringVar(&t.path, "trust", "", "trust `file`; trust.json in your folder without it")
}

func (t *trustFlag) file() string {
	if t.path != "" {
		return t.path
	}
	return filepath.Join(t.flags.home, "trust.json")
}

// load returns the trust file, or nil if none is named and there is none in
// the user's folder.
func (t *trustFlag) load(ctx context.Context) (*verify.TrustFile, error) {
	b, err := readBounded(ctx, t.file(), verify.MaxTrustFile)
	if t.path == "" && errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil, hint(fmt.Errorf("trust root: %w", err), "cityid trust pin --node URL -o %s makes one", t.file())
	}
	if err != nil {
		return nil, fmt.Errorf("trust root: %w", err)
	}
	trust, err := verify.ParseTrustFile(b)
	if err != nil {
		return nil, hint(fmt.Errorf("%s: %w", t.file(), err), "pin the trust root anew: cityid trust pin --node URL -o FILE, and compare its hash")
	}
	return trust, nil
}

// required is load for commands that can do nothing without a trust root.
func (t *trustFlag) required(ctx context.Context) (*verify.TrustFile, error) {
	trust, err := t.load(ctx)
	if err == nil && trust == nil {
		err = hint(exitError{exitUndecided, errors.New("nothing can be verified without a trust root")}, "cityid trust pin --node URL pins one")
	}
	return trust, err
}

// check fetches the bundle for a code and judges it.
func (t *trustFlag) check(ctx context.Context, c *client.Client, trust *verify.TrustFile, code cityid.Code) (verify.Result, error) {
	b, err := c.Bundle(ctx, question(trust, code, cityid.AnswerRecord))
	if err != nil {
		return verify.Result{}, err
	}
	return verify.CheckEncoded(trust.Latest(), b, verify.Options{Now: time.Now(), Code: code, Kind: cityid.AnswerRecord}), nil
}

// question asks for a bundle that leads on from what the trust file has.
func question(trust *verify.TrustFile, code cityid.Code, kind cityid.AnswerKind) cityid.BundleQuery {
	q := cityid.BundleQuery{Code: code, Kind: kind}
	if trust != nil {
		s := &trust.Latest().Statement
		q.From, q.Base = s.Version, s.Height
	}
	return q
}

func verdictError(r verify.Result) error {
	switch r.Verdict {
	case verify.Valid:
		return nil
	case verify.Invalid:
		return exitError{exitInvalid, fmt.Errorf("invalid: %s (%s)", r.Message, r.Reason)}
	}
	err := exitError{exitUndecided, fmt.Errorf("undecided: %s (%s)", r.Message, r.Reason)}
	switch r.Reason {
	case verify.ReasonStale:
		at := r.AsOf.Time
		for i := range r.Zones {
			if t := r.Zones[i].AsOf.Time; t.After(at) {
				at = t
			}
		}
		return hint(err, "get the bundle anew, or ask what held then: --at %s", at.UTC().Format(time.RFC3339))
	case verify.ReasonFrozen:
		return hint(err, "ask again once the code and the one above it have decided which branch of its chain goes on")
	case verify.ReasonOtherTrust, verify.ReasonTrustExpired, verify.ReasonNotConnected:
		return hint(err, "cityid trust update brings your trust root up to date, if the network is the one you pinned")
	}
	return err
}

func bundleCommand() *command {
	return &command{
		name: "bundle", short: "fetch answers with all their proofs, to be checked without a network",
		sub: []*command{
			{
				name: "get", args: "CODE", short: "fetch the bundle for a code: its record, or that there is none; or a complete list",
				long: "Instead of a code, flags may name entries of the state, up to 64 in one bundle: agreements,\nattestations, batches of receipts, records. All stand under one header, so that they held together.",
				examples: []string{
					"cityid bundle get MA.156.1301.01 -o b.cityid",
					"cityid bundle get MA.156.1301 --kind children -o departments.cityid",
					"cityid bundle get --agreement 3b0c… --lineage MA.156.1302 -o agreement.cityid",
				},
				setup: bundleGet,
			},
			{
				name: "archive", args: "FILE", short: "connect an old bundle to today's signatures, so that it can be checked for years to come",
				long:     "A bundle rests on the validators of its day. This proves, through the log of all blocks, that its\nblock belongs to the chain as it is signed now. Any node can help, at any time, and again later;\nwhat the bundle says stays as it is. It is checked against your trust root before it is written.",
				examples: []string{"cityid bundle archive b.cityid --trust trust.json -o archive.cityid"},
				setup:    bundleArchive,
			},
		},
	}
}

func bundleGet(f *flags) func(context.Context, []string) error {
	var t trustFlag
	var z zonesFlag
	t.setup(f)
	z.setup(f)
	kind := f.String("kind", "record", "record, children, descendants or history")
	height := f.Uint64("height", 0, "answer from the state after this block, while the node still has it")
	var entries entryFlags
	entries.setup(f)
	return func(ctx context.Context, args []string) error {
		var code cityid.Code
		var k cityid.AnswerKind
		var err error
		if entries.given() {
			if len(args) > 0 || isSet(f.FlagSet, "kind") {
				return usagef("want either a code, or flags that name entries")
			}
		} else if code, err = codeArg(args); err != nil {
			return err
		} else if err := k.UnmarshalText([]byte(*kind)); err != nil || k == cityid.AnswerEntries {
			return usagef("--kind %s: want record, children, descendants or history", *kind)
		}
		trust, err := t.load(ctx)
		if err != nil {
			return err
		}
		c, err := f.connect()
		if err != nil {
			return err
		}
		q := question(trust, code, k)
		if entries.given() {
			keys, err := entries.list(ctx, c)
			if err != nil {
				return err
			}
			q = entriesQuestion(trust, keys)
		}
		q.At, q.Log = *height, *height != 0 // the validators may have changed since
		b, err := c.Bundle(ctx, q)
		further, err := elsewhere(err, trust)
		if further {
			b, err = z.bundle(ctx, trust, q)
		}
		if err != nil {
			return err
		}
		if err := f.writeBinary("a bundle", b); err != nil {
			return err
		}
		f.talk("%d octets; cityid verify checks them", len(b))
		return nil
	}
}

func bundleArchive(f *flags) func(context.Context, []string) error {
	var t trustFlag
	t.setup(f)
	return func(ctx context.Context, args []string) error {
		if len(args) != 1 {
			return usagef("want one bundle file, or - for standard input")
		}
		trust, err := t.required(ctx)
		if err != nil {
			return err
		}
		data, err := readBounded(ctx, args[0], verify.MaxBundle)
		if err != nil {
			return err
		}
		old, err := verify.Decode(data)
		if err != nil {
			return notReadable(args[0], err)
		}
		header, err := old.Answering()
		if err != nil {
			return notReadable(args[0], err)
		}
		at, err := verify.AnsweredAt(data)
		if err != nil {
			return notReadable(args[0], err)
		}
		c, err := f.connect()
		if err != nil {
			return err
		}
		data, err = c.Link(ctx, uint64(header.Height), trust.Latest().Statement.Version)
		if err != nil {
			return fmt.Errorf("link to the bundle's block %d: %w", header.Height, err)
		}
		link, err := verify.DecodeLink(data)
		if err != nil {
			return notReadable("the node's link", err)
		}
		b, err := verify.Archive(old, link)
		if err != nil {
			return hint(exitError{exitInvalid, fmt.Errorf("the node's link does not fit: %w", err)}, "the bundle is of another chain than the node's, or one of them is wrong: cityid verify tells about the bundle")
		}
		r := verify.Check(trust.Latest(), b, verify.Options{Now: time.Now(), At: at, Code: old.Code, Kind: old.Kind})
		if r.Verdict != verify.Valid {
			return verdictError(r)
		}
		if data, err = b.Encode(); err != nil {
			return err
		}
		if err := f.writeBinary("a bundle", data); err != nil {
			return err
		}
		f.talk("%s: %s", r.Verdict, r.Message)
		f.talk("%d octets; cityid verify --at %s checks them", len(data), header.Time.UTC().Format(time.RFC3339))
		return nil
	}
}

// notReadable says that what should be a bundle or link is none, or is of a
// later version.
func notReadable(what string, err error) error {
	if errors.Is(err, verify.ErrUnsupported) {
		return hint(exitError{exitUndecided, fmt.Errorf("%s: %w", what, err)}, "a later version of cityid can read it")
	}
	return exitError{exitInvalid, fmt.Errorf("%s: %w", what, err)}
}

func verifyCommand() *command {
	return &command{
		name: "verify", args: "FILE", short: "check a bundle without a network: valid (0), invalid (5) or undecided (6)",
		examples: []string{
			"cityid verify b.cityid --trust trust.json",
			"cityid verify old.cityid --trust trust.json --at 2026-03-01T00:00:00Z",
		},
		setup: verifyFile,
	}
}

func verifyFile(f *flags) func(context.Context, []string) error {
	var t trustFlag
	t.setup(f)
	at := f.String("at", "", "judge as of this `time` (RFC 3339, or a day) instead of now")
	code := f.String("code", "", "the `code` you asked for: a bundle about another one is invalid")
	kind := f.String("kind", "", "what you asked for: record, children, descendants, history or entries")
	age := f.Duration("max-age", verify.DefaultMaxAge, "how old the answer may be")
	return func(ctx context.Context, args []string) error {
		if len(args) != 1 {
			return usagef("want one bundle file, or - for standard input")
		}
		o := verify.Options{Now: time.Now(), MaxAge: *age}
		var err error
		if o.At, err = parseTime(*at); err != nil {
			return err
		}
		if *code != "" {
			if o.Code, err = parseCode(*code); err != nil {
				return err
			}
		}
		if *kind != "" {
			if err := o.Kind.UnmarshalText([]byte(*kind)); err != nil {
				return usageError{err}
			}
		}
		trust, err := t.required(ctx)
		if err != nil {
			return err
		}
		b, err := readBounded(ctx, args[0], verify.MaxBundle)
		if err != nil {
			return err
		}
		base := trust.Latest()
		if d, err := verify.Decode(b); err == nil {
			base = trust.For(d)
		}
		r := verify.CheckEncoded(base, b, o)
		if err := f.print(resultTable(f.lang, &r)); err != nil {
			return err
		}
		return verdictError(r)
	}
}

// parseTime parses a time or a day; empty text is no time.
func parseTime(s string) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	for _, layout := range []string{time.RFC3339, time.DateOnly} {
		if t, err := time.Parse(layout, s); err == nil {
			return t, nil
		}
	}
	return time.Time{}, usagef("time %q: want the form 2026-03-01T12:00:00Z or 2026-03-01", s)
}

// timeFlag is parseTime for times as records hold them; empty text is zero.
func timeFlag(s string) (cityid.Time, error) {
	t, err := parseTime(s)
	if err != nil || t.IsZero() {
		return 0, err
	}
	return cityid.TimeOf(t), nil
}

func resultTable(lang string, r *verify.Result) *table {
	verdict := r.Verdict.String()
	if r.Verdict == verify.Valid && !r.Allocated && (r.Kind == cityid.AnswerRecord || r.Kind == cityid.AnswerHistory) {
		verdict += ": not allocated"
	}
	t := fields(shown(r), "verdict", verdict, "says", r.Message, "code", r.Code.Display())
	row := func(cells ...string) { t.rows = append(t.rows, cells) }
	if r.Record != nil {
		for _, n := range r.Record.Content.Names {
			row("name ("+n.Lang+")", n.Text)
		}
		row("kind", r.Record.Kind.String())
		row("status", r.Record.Status.String())
		for _, s := range r.Record.Successors {
			row("succeeded by", s.String())
		}
	}
	t.rows = append(t.rows, entryRows(lang, r)...)
	for i := range r.Records {
		if r.Kind == cityid.AnswerEntries {
			break // said already
		}
		x := &r.Records[i]
		if r.Kind == cityid.AnswerHistory {
			row("revision", fmt.Sprintf("%d, %s, %s", x.Revision, x.Changed.Time, x.Status))
			continue
		}
		row("lists", strings.TrimSpace(x.Code.String()+" "+x.Content.Names.Get("zh")))
	}
	t.rows = append(t.rows, zoneRows(r)...)
	for _, c := range r.Checks {
		name := "checked " + c.Name
		if !c.Zone.IsZero() {
			name += " of " + c.Zone.String()
		}
		row(name, c.Verdict.String()+": "+c.Detail)
	}
	if r.Trust != nil {
		row("trust root", fmt.Sprintf("version %d of %s", r.Trust.Statement.Version, r.Trust.Statement.Zone))
	}
	return t
}

// zoneRows tell of the zones of a way that leads through several: as of when each
// was shown, and what status its apex has in the zone above.
func zoneRows(r *verify.Result) (rows [][]string) {
	if len(r.Zones) < 2 {
		return nil
	}
	for i := range r.Zones {
		z := &r.Zones[i]
		says := "chain " + z.Chain
		if z.AsOf.Time.IsZero() {
			says += ", to be asked next"
		} else {
			says += fmt.Sprintf(", as of %s (height %d)", z.AsOf.Time.UTC().Format(time.RFC3339), z.AsOf.Height)
		}
		if z.Record != nil {
			says += "; the zone above says: " + z.Record.Status.String()
		}
		rows = append(rows, []string{"zone of " + z.Zone.String(), says})
	}
	return rows
}

func trustCommand() *command {
	return &command{
		name: "trust", short: "the one thing you have to take on trust: pin it, look at it, keep it up to date",
		sub: append([]*command{
			{name: "show", short: "show the pinned trust root and its hash", setup: trustShow},
			{
				name: "pin", short: "fetch a network's trust root and pin it",
				long:     "Pinning is the moment of trust. Compare the hash with the one the institutions publish,\nor give it with --hash, so that a wrong one is refused.",
				examples: []string{"cityid trust pin --node https://id.example.cn -o trust.json", "cityid trust pin --node https://id.example.cn --hash 3b0c…"},
				setup:    trustPin,
			},
			{name: "update", short: "follow the trust root to its latest version, checking every signature on the way", setup: trustUpdate},
		}, trustNextCommands()...),
	}
}

func trustPin(f *flags) func(context.Context, []string) error {
	want := f.String("hash", "", "the `hash` you expect; any other is refused")
	force := f.Bool("replace", false, "replace a trust root that is pinned already")
	return func(ctx context.Context, args []string) error {
		if err := noArgs(args); err != nil {
			return err
		}
		if f.out == "-" {
			return usagef("a trust root is kept in a file: name one with -o FILE")
		}
		t := trustFlag{flags: f, path: f.out}
		if _, err := os.Stat(t.file()); err == nil && !*force {
			return hint(exitError{exitConflict, fmt.Errorf("%s pins a trust root already", t.file())}, "cityid trust update follows it; --replace gives it up for another")
		}
		c, err := f.connect()
		if err != nil {
			return err
		}
		versions, err := c.Trust(ctx)
		if err != nil {
			return err
		}
		// The chain of versions must hold, whichever of them is pinned.
		chain, err := verify.NewTrustFile(versions[0])
		if err == nil {
			err = chain.Add(versions[1:]...)
		}
		if err != nil {
			return exitError{exitInvalid, fmt.Errorf("the node's trust root does not hold: %w", err)}
		}
		pinned, err := verify.NewTrustFile(versions[len(versions)-1])
		if err != nil {
			return err
		}
		if *want != "" && *want != pinned.Pinned().String() {
			return exitError{exitInvalid, fmt.Errorf("the node's trust root has the hash %s, not the one you expect: nothing was pinned", pinned.Pinned())}
		}
		if err := writeTrust(t.file(), pinned); err != nil {
			return err
		}
		f.talk("pinned in %s; compare this hash with the one the institutions publish:", t.file())
		f.talk("  %s", pinned.Pinned())
		f.out = ""
		return f.print(trustTable(pinned))
	}
}

func writeTrust(path string, t *verify.TrustFile) error {
	b, err := verify.FormatTrustFile(t)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return writeFile(path, b, 0o644)
}

func trustTable(t *verify.TrustFile) *table {
	s := &t.Latest().Statement
	height := "genesis"
	if s.Height > 0 {
		height = fmt.Sprintf("height %d, %s", s.Height, s.Header)
	}
	out := fields(t.Latest(), "pinned", t.Pinned().String(), "zone", s.Zone.String(), "chain", s.Chain, "version", fmt.Sprint(s.Version),
		"time", s.Time.String(), "header", height, "validators", fmt.Sprint(len(s.Validators)),
		"good until", s.Time.Add(verify.DefaultTrustingPeriod).String())
	out.rows = append(out.rows, []string{"next signed by", fmt.Sprintf("%d of %d members of %s", s.Quorum.Threshold, len(s.Quorum.Members), s.Zone)})
	return out
}

func trustShow(f *flags) func(context.Context, []string) error {
	var t trustFlag
	t.setup(f)
	return func(ctx context.Context, args []string) error {
		if err := noArgs(args); err != nil {
			return err
		}
		trust, err := t.required(ctx)
		if err != nil {
			return err
		}
		return f.print(trustTable(trust))
	}
}

func trustUpdate(f *flags) func(context.Context, []string) error {
	var t trustFlag
	t.setup(f)
	return func(ctx context.Context, args []string) error {
		if err := noArgs(args); err != nil {
			return err
		}
		trust, err := t.required(ctx)
		if err != nil {
			return err
		}
		c, err := f.connect()
		if err != nil {
			return err
		}
		versions, err := c.Trust(ctx)
		if err != nil {
			return err
		}
		have := trust.Latest().Statement.Version
		news := 0
		for i := range versions {
			if versions[i].Statement.Version <= have {
				continue
			}
			if err := trust.Add(versions[i]); err != nil {
				return hint(exitError{exitInvalid, fmt.Errorf("the node's trust root does not follow yours: %w", err)}, "your file is unchanged; ask the institutions what happened")
			}
			news++
		}
		if news > 0 {
			if err := writeTrust(t.file(), trust); err != nil {
				return err
			}
		}
		f.talk("%s", count(news, "new version"))
		return f.print(trustTable(trust))
	}
}
