// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/term"

	"cityid"
	"cityid/client"
	"cityid/internal/bulk"
)

func translateCommand() *command {
	return &command{
		name: "translate", args: "FILE", short: "translate a column of a table between codes and identifiers of other systems",
		long: "The table is CSV, JSON lines or an XLSX workbook; - reads it from standard input. What is written has three columns\nmore: the translation, its status and a note. The status is translated, unmatched, ambiguous, expired (no entry holds\nat the time) or retired (the code is; its successors are named). Rows that are not translated are also listed one by one\non standard error, and the exit code is then 8. The output is written whole, or not at all.",
		examples: []string{
			"cityid code translate old.csv --from asset --to code --column 资产编号 -o new.csv",
			"cityid code translate report.xlsx --from code --to gb2260 --column 3 --format jsonl",
			"cityid code translate cities.csv --from gb2260 --to unlocode --at 2026-01-01 -o codes.csv",
		},
		setup: codeTranslate,
	}
}

// translation is one run of code translate.
type translation struct {
	*flags
	options bulk.TranslateOptions
	read    bulk.ReadOptions
	column  string
	as      string
	at      string
}

func codeTranslate(f *flags) func(context.Context, []string) error {
	x := &translation{flags: f}
	o := &x.options
	f.StringVar(&o.From, "from", "", "`scheme` of the column, such as gb2260, or code")
	f.StringVar(&o.To, "to", "", "`scheme` to translate to, or code")
	f.StringVar(&x.column, "column", "", "`name` of the column, or its number from 1; needless where it is plain which one is meant")
	f.StringVar(&x.as, "as", "", "`name` of the new column; that of --to without it")
	f.StringVar(&x.at, "at", "", "`time` at which entries must hold (RFC 3339, or a day); the node's latest block without it")
	f.IntVar(&o.Width, "width", 0, "pad values of digits with zeros to this length")
	f.StringVar(&x.read.Sheet, "sheet", "", "sheet of a workbook; the first without it")
	f.StringVar(&x.read.Encoding, "encoding", "", "UTF-8 or GB18030, if detection gets it wrong")
	f.IntVar(&o.InFlight, "parallel", 8, "questions to the node at a time, 1 to 64")
	format := f.Lookup("format")
	f.format, format.DefValue, format.Usage = "csv", "", "csv, json, jsonl or table; jsonl for JSON lines and csv for all else without it"
	return x.run
}

func (x *translation) run(ctx context.Context, args []string) error {
	o := &x.options
	switch {
	case len(args) != 1:
		return usagef("want one file, or - for standard input")
	case o.From == "" || o.To == "":
		return usagef("say what to translate: --from SCHEME --to code, or the other way round")
	case o.InFlight < 1 || o.InFlight > 64:
		return usagef("--parallel %d: want 1 to 64", o.InFlight)
	case x.out != "" && sameFile(x.out, args[0]):
		return usagef("%s is the table itself, and would be written over: name another file", x.out)
	}
	var err error
	if o.At, err = timeFlag(x.at); err != nil {
		return err
	}
	c, err := x.connectMany(o.InFlight)
	if err != nil {
		return err
	}
	t, err := x.table(ctx, args[0])
	if err != nil {
		return err
	}
	if err := x.prepare(ctx, c, t); err != nil {
		return err
	}
	rows, err := x.translate(ctx, c, t)
	if err != nil {
		return err
	}
	out, err := t.Translated(rows, cmp.Or(x.as, o.To))
	if err != nil {
		return hint(usageError{err}, "--as NAME names it")
	}
	if err := x.writeTranslated(t, out); err != nil {
		return err
	}
	return x.reportRows(rows)
}

// connectMany is connect for so many requests at a time.
func (f *flags) connectMany(n int) (*client.Client, error) {
	return f.clientOf(f.node, n)
}

func (x *translation) table(ctx context.Context, path string) (*bulk.Table, error) {
	name := path
	if path == "-" {
		name = "standard input"
	}
	t, err := withInput(ctx, path, func(r io.Reader) (*bulk.Table, error) { return bulk.ReadTable(r, name, x.read) })
	return t, x.mistakes(err)
}

// mistakes lists what is wrong with a table, and returns one error for all.
func (f *flags) mistakes(err error) error {
	var list bulk.Problems
	if !errors.As(err, &list) {
		return err
	}
	for _, p := range list {
		f.talk("  %s", p.String())
	}
	return fmt.Errorf("the table has %s: nothing was written", count(len(list), "mistake"))
}

// prepare completes the options by what the table and the node say.
func (x *translation) prepare(ctx context.Context, c *client.Client, t *bulk.Table) error {
	o := &x.options
	var err error
	if o.Settings, err = c.Settings(ctx); err != nil {
		return err
	}
	if o.Column, err = columnOf(t, x.column, o.From); err != nil {
		return err
	}
	if err := o.Check(t); err != nil {
		return usageError{err}
	}
	if o.At == 0 {
		o.At = cityid.TimeOf(o.Settings.AsOf.Time)
	}
	what := t.Format
	if t.Encoding != "" {
		what += ", " + t.Encoding
	}
	x.talk("%s: %s, %s; column %s from %s to %s as of %s", t.Name, what, count(len(t.Rows), "row"), t.Header[o.Column], o.From, o.To, o.At)
	return nil
}

// columnOf finds the column that is named, by its header or its number. Without a
// name it is the only column there is, or the only one with the header SCHEME or
// alias:SCHEME.
func columnOf(t *bulk.Table, name, scheme string) (int, error) {
	var found []int
	for i, h := range t.Header {
		h = strings.TrimSpace(h)
		if name != "" && h == strings.TrimSpace(name) || name == "" && (len(t.Header) == 1 || strings.EqualFold(h, scheme) || strings.EqualFold(h, "alias:"+scheme)) {
			found = append(found, i)
		}
	}
	n, err := strconv.Atoi(name)
	switch {
	case len(found) == 1:
		return found[0], nil
	case len(found) > 1:
		return 0, usagef("%s have that header: name one by its number, --column %d", count(len(found), "column"), found[0]+1)
	case err == nil && n >= 1 && n <= len(t.Header):
		return n - 1, nil
	}
	var list []string
	for i, h := range t.Header {
		list = append(list, fmt.Sprintf("%d %s", i+1, strings.TrimSpace(h)))
	}
	if name == "" {
		return 0, usagef("which column? give --column with one of: %s", strings.Join(list, ", "))
	}
	return 0, usagef("--column %s: the table has no such column, but: %s", name, strings.Join(list, ", "))
}

// longWork is how many questions are worth a report of progress.
const longWork = 500

func (x *translation) translate(ctx context.Context, c *client.Client, t *bulk.Table) ([]bulk.Translation, error) {
	p := newProgress(x.term, 0, "questions")
	start := time.Now()
	x.options.Progress = func(done, total int) {
		if p.total = total; total >= longWork {
			p.show(done, float64(done)/max(time.Since(start).Seconds(), 1e-3))
		}
	}
	rows, err := bulk.Translate(ctx, t, c, x.options)
	p.end()
	return rows, x.mistakes(err)
}

// writeTranslated writes the table. Cells reach a file or a pipe as they are; what
// a terminal gets can not command it.
func (x *translation) writeTranslated(t *bulk.Table, out *bulk.TranslatedTable) error {
	given := false
	x.Visit(func(f *flag.Flag) { given = given || f.Name == "format" })
	if !given && t.Format == bulk.FormatLines {
		x.format = "jsonl"
	}
	show := &table{head: out.Header()}
	switch x.format {
	case "json", "jsonl":
		objects, err := out.Objects()
		if err != nil {
			return usageError{err}
		}
		for _, o := range objects {
			show.add(json.RawMessage(o))
		}
		return x.print(show)
	case "csv":
		if screen, ok := x.term.out.(*os.File); x.out != "" && x.out != "-" || !ok || !term.IsTerminal(int(screen.Fd())) {
			var b strings.Builder
			if err := bulk.WriteCSV(&b, out.Header(), out.Rows()); err != nil {
				return err
			}
			return x.write([]byte(b.String()))
		}
	}
	show.rows = slices.Collect(out.Rows())
	return x.print(show)
}

// reportRows lists the rows that are not translated. If there are any, it returns
// the error that says how many.
func (x *translation) reportRows(rows []bulk.Translation) error {
	counts := map[bulk.Outcome]int{}
	for i := range rows {
		r := &rows[i]
		counts[r.Outcome]++
		if r.Outcome != bulk.Translated {
			x.talk("line %d: %q: %s: %s", r.Line, r.Value, r.Outcome, r.Note)
		}
	}
	var list []string
	for _, o := range bulk.Outcomes {
		if n := counts[o]; n > 0 && o != bulk.Translated {
			list = append(list, fmt.Sprintf("%d %s", n, o))
		}
	}
	if left := len(rows) - counts[bulk.Translated]; left > 0 {
		return exitError{exitPartial, fmt.Errorf("%d of %s not translated: %s", left, count(len(rows), "row"), strings.Join(list, ", "))}
	}
	x.talk("%s translated", count(len(rows), "row"))
	return nil
}
