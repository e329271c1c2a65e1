// SPDX-License-Identifier: Apache-2.0

package main

// How cityid speaks:
//
//   - Data goes to standard output or to the file named by -o, in the form that
//     --format names. All talk goes to standard error: progress, warnings, what
//     to do next. So output can always be piped.
//   - Errors are one line, lower case, no full stop: what failed, why; a second
//     line says what to do next where that is known.
//   - What others wrote reaches a terminal with its control characters
//     replaced, so that it can not command it.
//   - Ctrl-C ends a command in good order, also while it waits for input; a
//     second one ends it at once.
//   - Exit codes: 0 done or valid, 1 failure, 2 usage, 3 not found, 4 not
//     permitted, 5 proof invalid, 6 undecided, 7 conflict, 8 partial import,
//     9 node unreachable, 130 interrupted.
//   - A passphrase comes from a prompt, a file or a file descriptor. No flag
//     and no environment variable ever carries a secret; they name the file.
//   - Flags and arguments may come in any order. Help begins with examples.

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/term"

	"cityid"
	"cityid/client"
	"cityid/internal/describe"
)

// The exit codes.
const (
	exitDone         = 0
	exitFailure      = 1
	exitUsage        = 2
	exitNotFound     = 3
	exitNotPermitted = 4
	exitInvalid      = 5
	exitUndecided    = 6
	exitConflict     = 7
	exitPartial      = 8
	exitUnreachable  = 9
	exitInterrupted  = 130
)

// terminal is where a command reads and writes.
type terminal struct {
	in       *os.File
	out, err io.Writer
}

// isTerminal reports whether talk goes to a person at a terminal.
func (t *terminal) isTerminal() bool {
	f, ok := t.err.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// command is one entry of the tree of commands: either a group or something to
// run.
type command struct {
	name     string
	args     string // what follows the name, for the usage line
	short    string // one line
	long     string // more, if one line does not do
	examples []string
	sub      []*command
	// setup defines the command's flags and returns what runs it.
	setup func(f *flags) func(ctx context.Context, args []string) error
}

// flags is the flag set of one command, with what all commands share.
type flags struct {
	*flag.FlagSet
	term   *terminal
	home   string
	node   string
	trusts string // PEM file of certificate authorities
	format string
	out    string
	lang   string
}

// usageError is a mistake in how a command was called.
type usageError struct{ error }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// exitError carries an exit code that no error code implies.
type exitError struct {
	code int
	error
}

func (e exitError) Unwrap() error { return e.error }

// hintError adds what to do next.
type hintError struct {
	error
	hint string
}

func (e hintError) Unwrap() error { return e.error }

func hint(err error, format string, args ...any) error {
	return hintError{err, fmt.Sprintf(format, args...)}
}

// run executes the command that args name and returns the exit code.
func run(ctx context.Context, args []string, t *terminal) int {
	if len(args) > 0 && args[0] == "--version" {
		args = append([]string{"version"}, args[1:]...)
	}
	if len(args) > 1 && args[0] == "help" {
		args = append(slices.Clone(args[1:]), "--help")
	}
	c, path, rest := find(root(), args)
	if len(rest) > 0 && isHelp(rest[0]) || c.setup == nil && len(rest) == 0 {
		printUsage(t.out, c, path)
		return exitDone
	}
	if c.setup == nil {
		err := usagef("unknown command %q", strings.Join(append(slices.Clone(path), rest[0]), " "))
		return report(ctx, t, path, hint(err, "%s --help lists the commands", strings.Join(append([]string{"cityid"}, path...), " ")))
	}
	f := &flags{FlagSet: flag.NewFlagSet(strings.Join(path, " "), flag.ContinueOnError), term: t}
	f.SetOutput(io.Discard)
	f.common()
	do := c.setup(f)
	positional, err := parseMixed(f.FlagSet, rest)
	if errors.Is(err, flag.ErrHelp) {
		printUsage(t.out, c, path)
		return exitDone
	}
	if err != nil {
		err = usageError{err}
	} else if err = f.checkOutput(); err == nil {
		err = f.explained(do(ctx, positional))
	}
	return report(ctx, t, path, err)
}

func find(c *command, args []string) (*command, []string, []string) {
	var path []string
	for len(args) > 0 && len(c.sub) > 0 {
		i := slices.IndexFunc(c.sub, func(s *command) bool { return s.name == args[0] })
		if i < 0 {
			break
		}
		c, path, args = c.sub[i], append(path, args[0]), args[1:]
	}
	return c, path, args
}

func isHelp(arg string) bool { return slices.Contains([]string{"-h", "-help", "--help", "help"}, arg) }

// parseMixed parses flags wherever they stand and returns the other arguments.
// Everything after "--" is an argument.
func parseMixed(f *flag.FlagSet, args []string) ([]string, error) {
	var positional []string
	for {
		if err := f.Parse(args); err != nil {
			return nil, err
		}
		rest := f.Args()
		if len(rest) == 0 {
			return positional, nil
		}
		if n := len(args) - len(rest); n > 0 && args[n-1] == "--" {
			return append(positional, rest...), nil
		}
		positional, args = append(positional, rest[0]), rest[1:]
	}
}

func (f *flags) common() {
	f.StringVar(&f.home, "home", defaultHome(), "folder of your keys and settings")
	f.StringVar(&f.node, "node", envOr("CITYID_NODE", "http://localhost:8080"), "address of the node to ask")
	f.StringVar(&f.trusts, "authorities", os.Getenv(authoritiesVariable), "PEM `file` of certificate authorities to trust for the node besides the system's")
	f.StringVar(&f.format, "format", "table", "table, json, jsonl or csv")
	f.StringVar(&f.lang, "lang", "en", "language in which changes, policies and refusals are described: en or zh")
	f.StringVar(&f.out, "out", "", "write the output to this file")
	f.StringVar(&f.out, "o", "", "short for --out")
}

// speaks gives --lang another default and meaning, in a command whose output is
// made for others to read.
func (f *flags) speaks(lang, usage string) {
	f.lang = lang
	l := f.Lookup("lang")
	l.DefValue, l.Usage = lang, usage
}

// explained adds to a refusal what it means and what to do, in Chinese if that
// was asked for. In English its own text says so.
func (f *flags) explained(err error) error {
	var e *cityid.Error
	if f.lang != "zh" || !errors.As(err, &e) || f.Lookup("lang").DefValue == "zh" {
		return err
	}
	return hint(err, "%s", describe.Refusal(f.lang, err))
}

func envOr(name, otherwise string) string {
	if v := os.Getenv(name); v != "" {
		return v
	}
	return otherwise
}

func defaultHome() string {
	if h := os.Getenv("CITYID_HOME"); h != "" {
		return h
	}
	h, err := os.UserHomeDir()
	if err != nil {
		return ".cityid"
	}
	return filepath.Join(h, ".cityid")
}

// report prints what went wrong and returns the exit code for it.
func report(ctx context.Context, t *terminal, path []string, err error) int {
	if err == nil {
		return exitDone
	}
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		fmt.Fprintln(t.err, "cityid: interrupted")
		return exitInterrupted
	}
	code := exitCode(err)
	if msg := err.Error(); msg != "" {
		fmt.Fprintf(t.err, "cityid: %s\n", oneLine(msg))
	}
	var h hintError
	var unknown x509.UnknownAuthorityError
	switch {
	case errors.As(err, &unknown) && code == exitUnreachable:
		fmt.Fprintln(t.err, "  if its certificate is from a private authority, name that with --authorities FILE or "+authoritiesVariable)
	case errors.As(err, &h):
		fmt.Fprintf(t.err, "  %s\n", oneLine(h.hint))
	case code == exitUsage:
		fmt.Fprintf(t.err, "  cityid %s --help shows how it is used\n", strings.Join(path, " "))
	case code == exitUnreachable:
		fmt.Fprintln(t.err, "  is the node running there? --node URL or CITYID_NODE names another one")
	}
	return code
}

func exitCode(err error) int {
	var exit exitError
	var usage usageError
	switch {
	case errors.As(err, &exit):
		return exit.code
	case errors.As(err, &usage):
		return exitUsage
	case errors.Is(err, client.ErrUnreachable):
		return exitUnreachable
	case errors.Is(err, fs.ErrPermission):
		return exitNotPermitted
	}
	switch cityid.CodeOf(err) {
	case cityid.ErrNotFound:
		return exitNotFound
	case cityid.ErrNotPermitted, cityid.ErrSignature, cityid.ErrPossession:
		return exitNotPermitted
	case cityid.ErrConflict, cityid.ErrExists, cityid.ErrStale, cityid.ErrClosed, cityid.ErrReplayed, cityid.ErrDelegated:
		return exitConflict
	case cityid.ErrFull, cityid.ErrRetry, cityid.ErrUnavailable:
		return exitUnreachable
	}
	return exitFailure
}

func printUsage(w io.Writer, c *command, path []string) {
	name := strings.TrimSpace("cityid " + strings.Join(path, " "))
	for _, x := range c.examples {
		fmt.Fprintf(w, "  $ %s\n", x)
	}
	if len(c.examples) > 0 {
		fmt.Fprintln(w)
	}
	fmt.Fprintf(w, "%s: %s\n", name, c.short)
	if c.long != "" {
		fmt.Fprintf(w, "\n%s\n", c.long)
	}
	if c.setup == nil {
		fmt.Fprintf(w, "\nusage: %s COMMAND\n\n", name)
		for _, s := range c.sub {
			fmt.Fprintf(w, "  %-13s %s\n", s.name, s.short)
		}
		return
	}
	for _, s := range c.sub {
		fmt.Fprintf(w, "\n  %s %-13s %s\n", name, s.name, s.short)
	}
	fmt.Fprintf(w, "\nusage: %s %s[flags]\n\n", name, strings.TrimLeft(c.args+" ", " "))
	f := &flags{FlagSet: flag.NewFlagSet(name, flag.ContinueOnError), term: &terminal{}}
	f.common()
	c.setup(f)
	f.VisitAll(func(x *flag.Flag) {
		if x.Name == "o" {
			return
		}
		arg, usage := flag.UnquoteUsage(x)
		line := "--" + x.Name
		if arg != "" {
			line += " " + arg
		}
		if x.DefValue != "" && x.DefValue != "false" && x.DefValue != "0" && x.DefValue != "[]" {
			usage += " (default " + x.DefValue + ")"
		}
		fmt.Fprintf(w, "  %-26s %s\n", line, usage)
	})
}

// talk writes one line to standard error. What others wrote can not make it do
// anything to the terminal.
func (f *flags) talk(format string, args ...any) {
	fmt.Fprintln(f.term.err, oneLine(fmt.Sprintf(format, args...)))
}

// list is a flag that may be given several times.
type list []string

func (l *list) String() string     { return strings.Join(*l, ",") }
func (l *list) Set(s string) error { *l = append(*l, s); return nil }

// authoritiesVariable names the file of --authorities.
const authoritiesVariable = "CITYID_AUTHORITIES"

// connect returns a client of the node that --node names.
func (f *flags) connect() (*client.Client, error) { return f.clientOf(f.node, 0) }

// clientOf returns a client of the node at an address, for so many requests at a
// time; 0 for the usual few.
func (f *flags) clientOf(address string, many int, options ...client.Option) (*client.Client, error) {
	if many > 0 || f.trusts != "" {
		transport, err := f.transport(many)
		if err != nil {
			return nil, err
		}
		options = append(options, client.WithTransport(transport))
	}
	c, err := client.New(address, options...)
	if err != nil {
		return nil, usageError{err}
	}
	return c, nil
}

// transport returns what carries requests to nodes, so many at a time, and trusts the
// authorities that were given.
func (f *flags) transport(many int) (*http.Transport, error) {
	pool, err := authorities(f.trusts)
	if err != nil {
		return nil, err
	}
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.TLSClientConfig = &tls.Config{RootCAs: pool}
	t.MaxIdleConnsPerHost = many
	return t, nil
}

// codeArg parses the single argument of a command as a code.
func codeArg(args []string) (cityid.Code, error) {
	if len(args) != 1 {
		return cityid.Code{}, usagef("want one code, not %d arguments", len(args))
	}
	return parseCode(args[0])
}

// codeAtNode parses the single argument of a command that asks a node about a
// code.
func (f *flags) codeAtNode(args []string) (cityid.Code, *client.Client, error) {
	code, err := codeArg(args)
	if err != nil {
		return code, nil, err
	}
	c, err := f.connect()
	return code, c, err
}

func parseCode(s string) (cityid.Code, error) {
	c, err := cityid.Parse(strings.TrimSpace(s))
	if err != nil {
		return c, usageError{err}
	}
	return c, nil
}

func noArgs(args []string) error {
	if len(args) > 0 {
		return usagef("unexpected argument %q", args[0])
	}
	return nil
}
