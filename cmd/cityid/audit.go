// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/term"

	"cityid"
	"cityid/client"
	"cityid/internal/audit"
	"cityid/internal/bulk"
	"cityid/verify"
)

func auditCommand() *command {
	return &command{
		name: "audit", short: "export what changed, for those who check it later",
		sub: []*command{{
			name: "export", short: "write all changes of a period at and below a code into an archive, with proofs that verify offline",
			long:     "The archive is a ZIP file with the changes and the decided proposals as CSV and JSON lines, a proof for\neach record that changed, and a script that verifies them all without a network. The file appears whole\nor not at all.",
			examples: []string{"cityid audit export --code MA.156.1301 --from 2026-01-01 --to 2026-03-31 -o q1.zip", "unzip q1.zip -d q1 && sh q1/verify.sh trust.json"},
			setup:    auditExport,
		}},
	}
}

func auditExport(f *flags) func(context.Context, []string) error {
	var t trustFlag
	t.setup(f)
	code := f.String("code", "", "the `code` whose changes, and those of all below it, are exported")
	from := f.String("from", "", "first `day` (UTC), or moment (RFC 3339)")
	to := f.String("to", "", "last `day` (UTC), or the first moment that no longer counts")
	noProofs := f.Bool("no-proofs", false, "leave the proofs out")
	return func(ctx context.Context, args []string) error {
		if err := noArgs(args); err != nil {
			return err
		}
		o := audit.Options{NoProofs: *noProofs, CSV: bulk.WriteCSV, BundleTime: verify.AnsweredAt}
		var err error
		if *code == "" || *from == "" || *to == "" {
			return usagef("say what to export with --code, --from and --to")
		}
		if o.Code, err = parseCode(*code); err != nil {
			return err
		}
		if o.From, o.To, err = period(*from, *to); err != nil {
			return err
		}
		c, err := f.connect()
		if err != nil {
			return err
		}
		if err := auditTrust(ctx, f, &t, c, &o); err != nil {
			return err
		}
		if out, ok := f.term.out.(*os.File); ok && f.out == "" && term.IsTerminal(int(out.Fd())) {
			return hint(usagef("an archive is binary, and this is a terminal"), "name a file with -o FILE")
		}
		shown := time.Now()
		o.Progress = func(s audit.Summary) {
			if now := time.Now(); now.Sub(shown) >= 5*time.Second {
				f.talk("%d records looked at, %s, %s", s.Looked, count(s.Changes, "change"), count(s.Proofs, "proof"))
				shown = now
			}
		}
		var sum audit.Summary
		err = f.stream(func(w io.Writer) error {
			sum, err = audit.Export(ctx, w, c, o)
			return err
		})
		if err != nil {
			return err
		}
		if sum.Unnamed > 0 {
			f.talk("note: the transactions of %s are not named, since the node no longer keeps what is in their blocks; ask one that keeps all (--node)", count(sum.Unnamed, "change"))
		}
		f.talk("%s of %s, %s, %s", count(sum.Changes, "change"), count(sum.Records, "record"), count(sum.Decisions, "decided proposal"), count(sum.Proofs, "proof"))
		return nil
	}
}

// period parses its first and last moment. A day given as the last one counts
// whole.
func period(from, to string) (a, b time.Time, err error) {
	if a, err = parseTime(from); err != nil {
		return a, b, err
	}
	if b, err = parseTime(to); err != nil {
		return a, b, err
	}
	if _, err := time.Parse(time.DateOnly, to); err == nil {
		b = b.AddDate(0, 0, 1)
	}
	if !a.Before(b) {
		return a, b, usagef("the period ends before it begins")
	}
	return a, b, nil
}

// auditTrust puts into the archive the trust root that the user has pinned, or
// else the node's.
func auditTrust(ctx context.Context, f *flags, t *trustFlag, c *client.Client, o *audit.Options) error {
	trust, err := t.load(ctx)
	if err != nil {
		return err
	}
	if trust == nil {
		f.talk("you have pinned no trust root: the archive gets the node's; compare its hash with the one the institutes publish")
		versions, err := c.Trust(ctx)
		if err != nil {
			return err
		}
		if len(versions) == 0 {
			return cityid.Errorf(cityid.ErrUnavailable, "the node has no trust root")
		}
		if trust, err = verify.NewTrustFile(versions[0]); err != nil {
			return err
		}
		if err := trust.Add(versions[1:]...); err != nil {
			return err
		}
	}
	o.Question = question(trust, cityid.Code{}, 0)
	o.Trust, err = verify.FormatTrustFile(trust)
	return err
}

// stream is write for what is too long to be held: it gives write the output, and
// a file named by -o appears whole or not at all. A device or pipe is written to as
// it is.
func (f *flags) stream(write func(io.Writer) error) error { return f.streamMode(0o644, write) }

// streamMode is stream for a file with a mode.
func (f *flags) streamMode(mode os.FileMode, write func(io.Writer) error) error {
	if f.out == "" || f.out == "-" {
		return write(f.term.out)
	}
	if info, err := os.Stat(f.out); err == nil && !info.Mode().IsRegular() {
		device, err := os.OpenFile(f.out, os.O_WRONLY, 0)
		if err != nil {
			return err
		}
		return errors.Join(write(device), device.Close())
	}
	to, err := filepath.EvalSymlinks(f.out)
	if err != nil {
		to = f.out
	}
	t, err := os.CreateTemp(filepath.Dir(to), "."+filepath.Base(to)+".*")
	if err != nil {
		return fmt.Errorf("write %s: %w", f.out, err)
	}
	defer os.Remove(t.Name()) // of no effect once it is renamed
	defer t.Close()
	if err := write(t); err != nil {
		return err
	}
	for _, step := range []func() error{func() error { return t.Chmod(mode) }, t.Sync, t.Close, func() error { return os.Rename(t.Name(), to) }} {
		if err := step(); err != nil {
			return fmt.Errorf("write %s: %w", f.out, err)
		}
	}
	return nil
}
