// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"cityid"
	"cityid/client"
	"cityid/internal/bulk"
)

func importCommand() *command {
	return &command{
		name: "import", args: "FILE", short: "allocate many codes from a table: CSV, JSON lines or an XLSX workbook",
		long: "The table is checked whole before anything is written, and every mistake is listed with its line.\nAn import that was interrupted goes on with --resume; nothing is allocated twice.\nA table that was not made for this is read with --map: the columns it names get these meanings, and all others\nare ignored. --suggest says what they probably mean.",
		examples: []string{
			"cityid code import --template xlsx --kind object -o lamps.xlsx",
			"cityid code import lamps.xlsx --parent MA.156.1301.02 --dry-run",
			"cityid code import lamps.xlsx --parent MA.156.1301.02 --key traffic",
			"cityid code import lamps.xlsx --parent MA.156.1301.02 --key traffic --resume",
			"cityid code import old.csv --parent MA.156.1301.02 --suggest",
			"cityid code import old.csv --parent MA.156.1301.02 --map 资产编号=alias:asset --map 名称=name:zh --class 20.010501 --number 005001 --dry-run",
		},
		setup: codeImport,
	}
}

// importing is one run of code import.
type importing struct {
	writing
	options    bulk.Options
	read       bulk.ReadOptions
	parent     string
	kind       string
	crs        string
	template   string
	errorsFile string
	checkpoint string
	salts      string
	dryRun     bool
	resume     bool
	suggest    bool
	meanings   list
	changes    bulk.Changes
	mend       bool
	skip       string
}

func codeImport(f *flags) func(context.Context, []string) error {
	i := &importing{}
	i.writing.signing(f)
	o := &i.options
	f.StringVar(&i.parent, "parent", "", "`code` below which all codes of the table lie")
	f.BoolVar(&i.dryRun, "dry-run", false, "check the table and say what would be done")
	f.BoolVar(&i.resume, "resume", false, "go on with an import that was interrupted")
	f.BoolVar(&i.suggest, "suggest", false, "say what the columns of an old table probably mean, and do nothing")
	f.Var(&i.meanings, "map", "meaning of a column, as `COLUMN=MEANING`; several times; other columns are ignored")
	f.StringVar(&i.changes.Class, "class", "", "class of all rows, with --map")
	f.StringVar(&i.changes.Number, "number", "", "serial of the first row, with --map; the others follow")
	f.StringVar(&i.skip, "skip", "", "with --map: leave out the rows of these `lines`, such as 450,787")
	f.BoolVar(&i.mend, "mend", false, "with --map: restore lost zeros and exchanged coordinates where it is plain what was meant")
	f.StringVar(&i.template, "template", "", "write an empty table instead: csv or xlsx")
	f.StringVar(&i.kind, "kind", "", "kind of rows that do not name theirs")
	f.StringVar(&i.crs, "crs", "WGS84", "coordinate system of rows that do not name theirs: WGS84, CGCS2000 or GCJ-02")
	f.StringVar(&i.errorsFile, "errors", "errors.csv", "`file` for the rows that are wrong or were refused")
	f.StringVar(&i.checkpoint, "checkpoint", "", "`file` that remembers how far the import is; FILE.import without it")
	f.StringVar(&i.salts, "sealed", "", "`file` for the contents of sealed rows, which the chain does not hold")
	f.StringVar(&i.read.Sheet, "sheet", "", "sheet of a workbook; the first without it")
	f.StringVar(&i.read.Encoding, "encoding", "", "UTF-8 or GB18030, if detection gets it wrong")
	f.IntVar(&o.Width, "width", 0, "pad serials of digits with zeros to this length")
	f.BoolVar(&o.AsIs, "as-is", false, "take serials as they stand, even where zeros look lost")
	f.BoolVar(&o.Coarsen, "coarsen", false, "round locations where the rule publishes coarse ones only")
	f.BoolVar(&o.IgnoreUnknown, "ignore-unknown", false, "ignore columns with unknown headings")
	f.IntVar(&o.BatchSize, "batch", 0, "codes in one transaction, at most 500; 0 for 500")
	return i.run
}

func (i *importing) run(ctx context.Context, args []string) error {
	o := &i.options
	if i.kind != "" {
		if err := o.Kind.UnmarshalText([]byte(i.kind)); err != nil {
			return usageError{err}
		}
	}
	var err error
	if o.CRS, err = bulk.ParseCRS(i.crs); err != nil {
		return usageError{err}
	}
	if i.template != "" {
		return i.writeTemplate()
	}
	if len(args) != 1 {
		return usagef("want one file")
	}
	if o.BatchSize < 0 || o.BatchSize > bulk.MaxBatch || o.Width < 0 || o.Width > 25 {
		return usagef("--batch is at most %d, and --width at most 25", bulk.MaxBatch)
	}
	if (i.mend || i.changes.Class != "" || i.changes.Number != "" || i.skip != "") && len(i.meanings) == 0 && !i.suggest {
		return usagef("--class, --number, --skip and --mend go with --map; --suggest says how")
	}
	if i.parent == "" {
		return usagef("below which code? give --parent CODE")
	}
	if o.Parent, err = parseCode(i.parent); err != nil {
		return err
	}
	for _, own := range []string{i.errorsFile, i.checkpoint, i.salts} {
		if sameFile(own, args[0]) {
			return usagef("%s is the table itself, and would be written over: name another file", own)
		}
	}
	if i.checkpoint == "" {
		i.checkpoint = args[0] + ".import"
	}
	c, err := i.connect()
	if err != nil {
		return err
	}
	if i.suggest {
		return i.printSuggestion(ctx, c, args[0])
	}
	plan, err := i.plan(ctx, c, args[0])
	if err != nil {
		return err
	}
	if i.dryRun {
		return i.printPlan(plan)
	}
	return i.carryOut(ctx, c, plan)
}

// sameFile reports whether two paths lead to one file that exists.
func sameFile(a, b string) bool {
	x, err := os.Stat(a)
	if err != nil {
		return false
	}
	y, err := os.Stat(b)
	return err == nil && os.SameFile(x, y)
}

func (i *importing) writeTemplate() error {
	kind := i.options.Kind
	if kind == 0 {
		kind = cityid.KindObject
	}
	columns := bulk.TemplateColumns(kind, false, nil, []string{"asset"})
	var b bytes.Buffer
	var err error
	switch i.template {
	case "csv":
		err = bulk.WriteTemplateCSV(&b, columns)
	case "xlsx":
		if i.out == "" {
			return usagef("a workbook needs a file: -o FILE.xlsx")
		}
		err = bulk.WriteTemplateXLSX(&b, columns)
	default:
		return usagef("--template %s: want csv or xlsx", i.template)
	}
	if err != nil {
		return err
	}
	return i.write(b.Bytes())
}

// table reads the table.
func (i *importing) table(path string) (*bulk.Table, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	t, err := bulk.ReadTable(file, path, i.read)
	if err != nil {
		return nil, i.reportProblems(err)
	}
	what := t.Format
	if t.Encoding != "" {
		what += ", " + t.Encoding
	}
	i.talk("%s: %s, %s", path, what, count(len(t.Rows), "row"))
	return t, nil
}

// plan reads and checks the table. All mistakes are reported at once.
func (i *importing) plan(ctx context.Context, c *client.Client, path string) (*bulk.Plan, error) {
	t, err := i.table(path)
	if err != nil {
		return nil, err
	}
	o := i.options
	if o.Settings, err = c.Settings(ctx); err != nil {
		return nil, err
	}
	if i.salts != "" {
		if o.SaltKey, err = bulk.SaltKey(i.salts + ".salt"); err != nil {
			return nil, err
		}
	}
	o.Exists = func(code cityid.Code) (bool, error) {
		_, err := c.Record(ctx, code)
		if cityid.CodeOf(err) == cityid.ErrNotFound {
			return false, nil
		}
		return err == nil, err
	}
	plan, err := i.planTable(t, o)
	if err != nil {
		return nil, i.reportProblems(err)
	}
	for _, w := range plan.Warnings {
		i.talk("warning: %s", printable(w.String()))
	}
	return plan, nil
}

// reportProblems writes all mistakes of a table to the errors file and returns
// the error that names the first of them.
func (i *importing) reportProblems(err error) error {
	var list bulk.Problems
	if !errors.As(err, &list) {
		return err
	}
	if werr := i.writeErrors(list); werr != nil {
		return errors.Join(err, werr)
	}
	for n, p := range list {
		if n == 20 {
			i.talk("  and %d more", len(list)-n)
			break
		}
		i.talk("  %s", printable(p.String()))
	}
	return hint(fmt.Errorf("the table has %s: nothing was allocated", count(len(list), "mistake")), "all of them are in %s; mend the table and import it again", i.errorsFile)
}

func (i *importing) writeErrors(list bulk.Problems) error {
	var b bytes.Buffer
	if err := bulk.WriteErrors(&b, list); err != nil {
		return err
	}
	return writeFile(i.errorsFile, b.Bytes(), 0o644)
}

type planView struct {
	Rows    int           `json:"rows"`
	Batches int           `json:"batches"`
	Classes []cityid.Code `json:"classes,omitempty"`
	Sealed  int           `json:"sealed,omitempty"`
	First   cityid.Code   `json:"first"`
	Last    cityid.Code   `json:"last"`
	Digest  cityid.Digest `json:"digest"`
}

func (i *importing) printPlan(p *bulk.Plan) error {
	v := planView{Rows: p.Rows, Batches: len(p.Batches), Classes: p.Classes, Sealed: len(p.Sealed), Digest: p.Digest}
	if len(p.Batches) > 0 {
		first, last := p.Batches[0].Items, p.Batches[len(p.Batches)-1].Items
		v.First, v.Last = first[0].Allocation.Code, last[len(last)-1].Allocation.Code
	}
	var classes []string
	for _, c := range p.Classes {
		classes = append(classes, c.String())
	}
	i.talk("dry run: the table is sound; nothing was allocated")
	return i.print(fields(v, "rows", fmt.Sprint(v.Rows), "transactions", fmt.Sprint(v.Batches), "first", v.First.String(), "last", v.Last.String(),
		"classes it adds", strings.Join(classes, ", "), "sealed", fmt.Sprint(v.Sealed)))
}

// carryOut runs the plan and prints what became of the rows.
func (i *importing) carryOut(ctx context.Context, c *client.Client, plan *bulk.Plan) error {
	if len(i.keys) == 0 {
		return usagef("who signs? give --key NAME")
	}
	if _, err := os.Stat(i.checkpoint); err == nil && !i.resume {
		return hint(exitError{exitConflict, fmt.Errorf("an import with checkpoint %s was begun before", i.checkpoint)}, "--resume goes on with it")
	}
	if err := i.keepSealed(plan); err != nil {
		return err
	}
	sign, chain, err := i.batchSigner(ctx, c)
	if err != nil {
		return err
	}
	cp, err := bulk.OpenCheckpoint(i.checkpoint, plan, chain)
	if err != nil {
		return err
	}
	defer cp.Close()
	p := newProgress(i.flags.term, plan.Rows, "codes")
	res, err := bulk.Run(ctx, plan, cp, c, sign, bulk.RunOptions{Progress: func(x bulk.Progress) { p.show(x.Done, x.Rate) }})
	p.end()
	if res != nil && len(res.Failed)+len(res.Classes) > 0 {
		if werr := i.writeErrors(slices.Concat(res.Classes, res.Failed)); werr != nil {
			err = errors.Join(err, werr)
		}
	}
	if err != nil && ctx.Err() != nil {
		i.talk("what is done is remembered in %s; --resume goes on", i.checkpoint)
		return err
	}
	if err != nil {
		return hint(err, "what is done is remembered in %s; --resume goes on", i.checkpoint)
	}
	v := struct {
		Rows      int `json:"rows"`
		Allocated int `json:"allocated"`
		Existing  int `json:"existing"`
		Refused   int `json:"refused"`
	}{res.Rows, res.Allocated, res.Existing, len(res.Failed)}
	if err := i.print(fields(v, "rows", fmt.Sprint(v.Rows), "allocated", fmt.Sprint(v.Allocated), "there before", fmt.Sprint(v.Existing), "refused", fmt.Sprint(v.Refused))); err != nil {
		return err
	}
	if v.Refused > 0 {
		return hint(exitError{exitPartial, fmt.Errorf("%d of %d rows were refused", v.Refused, v.Rows)}, "they are in %s with the reason for each", i.errorsFile)
	}
	return nil
}

// keepSealed writes the contents of sealed rows before the chain holds only
// their digests.
func (i *importing) keepSealed(plan *bulk.Plan) error {
	if len(plan.Sealed) == 0 {
		return nil
	}
	var b bytes.Buffer
	if err := bulk.WriteSealed(&b, plan.Sealed); err != nil {
		return err
	}
	// Resumed, an import seals the same under the same salts.
	if old, err := os.ReadFile(i.salts); err == nil && !bytes.Equal(old, b.Bytes()) {
		return hint(exitError{exitConflict, fmt.Errorf("%s holds the sealed contents of another table", i.salts)}, "name a new file with --sealed for each table")
	}
	if err := writeFile(i.salts, b.Bytes(), 0o600); err != nil {
		return err
	}
	i.talk("the contents of %s are in %s: keep that file, nobody else has them", count(len(plan.Sealed), "sealed row"), i.salts)
	return nil
}

// batchSigner unlocks the keys once and returns what signs each batch.
func (i *importing) batchSigner(ctx context.Context, c *client.Client) (bulk.Sign, string, error) {
	s, err := c.Status(ctx)
	if err != nil {
		return nil, "", err
	}
	signers, err := i.signers(ctx, i.keys, &i.secrets)
	if err != nil {
		return nil, "", err
	}
	return signBatches(s.Chain, i.lifetime, i.memo, signers...), s.Chain, nil
}

// signBatches returns a function that makes transactions of batches.
func signBatches(chain string, lifetime time.Duration, memo string, signers ...cityid.Signer) bulk.Sign {
	return func(ops []cityid.Operation) (*cityid.Tx, error) {
		return cityid.SignTx(cityid.Body{Chain: chain, Expires: cityid.TimeOf(time.Now().Add(lifetime)), Memo: memo, Operations: ops}, signers...)
	}
}

// progress shows how far long work is: a bar on a terminal, a line every five
// seconds elsewhere.
type progress struct {
	term  *terminal
	total int
	what  string
	last  time.Time
	shown bool
}

func newProgress(t *terminal, total int, what string) *progress {
	return &progress{term: t, total: total, what: what, last: time.Now()}
}

func (p *progress) show(done int, rate float64) {
	now := time.Now()
	if !p.term.isTerminal() {
		if now.Sub(p.last) >= 5*time.Second || done == p.total {
			fmt.Fprintf(p.term.err, "%d of %d %s, %.0f a second\n", done, p.total, p.what, rate)
			p.last = now
		}
		return
	}
	if now.Sub(p.last) < 100*time.Millisecond && done < p.total {
		return
	}
	p.last, p.shown = now, true
	const length = 30
	full := length
	if p.total > 0 {
		full = length * done / p.total
	}
	fmt.Fprintf(p.term.err, "\r[%s%s] %d of %d %s, %.0f a second ", strings.Repeat("#", full), strings.Repeat(".", length-full), done, p.total, p.what, rate)
}

func (p *progress) end() {
	if p.shown {
		fmt.Fprintln(p.term.err)
	}
}
