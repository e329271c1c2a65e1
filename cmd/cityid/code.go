// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"cityid"
)

func codeCommand() *command {
	return &command{
		name: "code", short: "allocate codes, look them up, and change what they say",
		sub: []*command{
			{
				name: "allocate", args: "CODE", short: "allocate one code",
				examples: []string{
					"cityid code allocate MA.156.1301.01 --kind department --name zh=城市管理局 --name en='Urban Management' --key officer",
					"cityid code allocate MA.156.1301.02/20.010501 --kind class --key officer",
					"cityid code allocate MA.156.1301 --kind city --name zh=石家庄市 --officer mayor --key officer",
				},
				setup: codeAllocate,
			},
			importCommand(), translateCommand(),
			{
				name: "list", args: "CODE", short: "list the codes below a code",
				examples: []string{"cityid code list MA.156.1301", "cityid code list MA.156.1301 --deep --kind object --format jsonl -o objects.jsonl"},
				setup:    codeList,
			},
			{name: "show", args: "CODE", short: "show what a code stands for", setup: codeShow},
			{
				name: "amend", args: "CODE", short: "change names, links, location or documents; what no flag names stays",
				examples: []string{"cityid code amend MA.156.1301 --name en=Shijiazhuang --key officer"},
				setup:    codeAmend,
			},
			{
				name: "status", args: "CODE STATUS", short: "make a code active, suspended or retired",
				examples: []string{"cityid code status MA.156.1301.02 retired --reason merged --successor MA.156.1301.01 --heir MA.156.1301.01 --confirm MA.156.1301.02 --key mayor"},
				setup:    codeStatus,
			},
			{name: "history", args: "CODE", short: "list the revisions of a record, latest first", setup: codeHistory},
			{
				name: "lookup", args: "SCHEME VALUE", short: "find the codes that a foreign identifier is mapped to",
				examples: []string{"cityid code lookup gb2260 130100"},
				setup:    codeLookup,
			},
			{name: "map", args: "CODE SCHEME:VALUE", short: "map a foreign identifier to a code", setup: codeMap},
			{
				name: "rekey", args: "CODE [POLICY.json]", short: "put a code under another policy",
				long: "With --add and --remove the policy stays as it is but for these keys. Roles are control, assert,\nintake, encrypt, field and gateway; a gateway's key has no other.",
				examples: []string{
					"cityid code rekey MA.156.1301 policy.json --key mayor",
					"cityid code rekey MA.156.1301 --add gateway=gw --add encrypt=reader --key mayor",
				},
				setup: codeRekey,
			},
			{name: "veto", args: "CODE", short: "stop a recovery or retirement that waits, or lift a veto", setup: codeVeto},
			sealCommand(), unsealCommand(), sealedCommand(),
		},
	}
}

func codeAllocate(f *flags) func(context.Context, []string) error {
	w := &writing{}
	w.setupProposable(f)
	var item allocationFlags
	item.setup(f, "")
	reserved := f.Bool("reserved", false, "reserve the code, to be made active later")
	var officers officerFlags
	officers.setup(f)
	return func(ctx context.Context, args []string) error {
		a, err := item.allocation(ctx, args)
		if err != nil {
			return err
		}
		a.Reserved = *reserved
		if a.Policy, err = officers.policy(ctx, f); err != nil {
			return err
		}
		return w.submit(ctx, cityid.Operation{Allocate: &cityid.Allocate{Items: []cityid.Allocation{*a}}})
	}
}

func codeList(f *flags) func(context.Context, []string) error {
	deep := f.Bool("deep", false, "all codes below, not only those whose parent it is")
	kind := f.String("kind", "", "only this kind")
	limit := f.Int("limit", 0, "how many at most; 0 for all")
	return func(ctx context.Context, args []string) error {
		code, err := codeArg(args)
		if err != nil {
			return err
		}
		if *limit < 0 {
			return usagef("--limit %d: want 0 or more", *limit)
		}
		q := cityid.ChildrenQuery{Code: code, Deep: *deep}
		if *kind != "" {
			if err := q.Kind.UnmarshalText([]byte(*kind)); err != nil {
				return usageError{err}
			}
		}
		c, err := f.connect()
		if err != nil {
			return err
		}
		var all []cityid.Record
		for *limit == 0 || len(all) < *limit {
			q.Limit = 1000
			if *limit > 0 {
				q.Limit = min(1000, *limit-len(all))
			}
			page, err := c.Children(ctx, q)
			if err != nil {
				return err
			}
			all = append(all, page.Records...)
			if q.After = page.Next; q.After.IsZero() {
				break
			}
		}
		return f.print(recordList(all))
	}
}

func codeShow(f *flags) func(context.Context, []string) error {
	var t trustFlag
	var z zonesFlag
	t.setup(f)
	z.setup(f)
	return func(ctx context.Context, args []string) error {
		code, c, err := f.codeAtNode(args)
		if err != nil {
			return err
		}
		a, err := c.Record(ctx, code)
		if cityid.CodeOf(err) == cityid.ErrDelegated {
			a, err = z.record(ctx, &t, code, err)
		}
		if err != nil {
			return err
		}
		return f.print(recordTable(f.lang, a))
	}
}

func codeAmend(f *flags) func(context.Context, []string) error {
	w := &writing{}
	w.setupProposable(f)
	var content contentFlags
	content.setup(f)
	return func(ctx context.Context, args []string) error {
		r, err := w.current(ctx, args, 1)
		if err != nil {
			return err
		}
		if !content.given() {
			return usagef("nothing to change: give --name, --link, --host, --location or --document")
		}
		next := r.Content
		if err := content.apply(ctx, &next); err != nil {
			return err
		}
		return w.submit(ctx, cityid.Operation{Amend: &cityid.Amend{Code: r.Code, Revision: r.Revision, Content: next}})
	}
}

// current fetches the record of the code that args begin with.
func (w *writing) current(ctx context.Context, args []string, want int) (*cityid.Record, error) {
	if len(args) != want {
		return nil, usagef("want %d arguments, not %d", want, len(args))
	}
	code, c, err := w.codeAtNode(args[:1])
	if err != nil {
		return nil, err
	}
	a, err := c.Record(ctx, code)
	if err != nil {
		return nil, err
	}
	return &a.Record, nil
}

func codeStatus(f *flags) func(context.Context, []string) error {
	w := &writing{}
	w.setupProposable(f)
	reason := f.String("reason", "", "why: merged, split, boundary-change, closed, removed, replaced, allocated-in-error, misuse, dispute, key-loss, resolved or commissioned")
	f.StringVar(&w.note, "note", "", "a remark that is published")
	heir := f.String("heir", "", "`code` whose policy governs the codes below a retired one")
	confirm := f.String("confirm", "", "the `code` once more, to retire it: that is for ever")
	var successors list
	f.Var(&successors, "successor", "`code` that takes the place of a retired one; several times")
	return func(ctx context.Context, args []string) error {
		r, err := w.current(ctx, args, 2)
		if err != nil {
			return err
		}
		op := &cityid.SetStatus{Code: r.Code, Revision: r.Revision, Note: w.note}
		if err := op.Status.UnmarshalText([]byte(args[1])); err != nil {
			return usageError{err}
		}
		if err := op.Reason.UnmarshalText([]byte(*reason)); err != nil || op.Reason == 0 {
			return usagef("say why with --reason; --help lists the reasons")
		}
		if op.Status == cityid.StatusRetired && *confirm != r.Code.String() && *confirm != r.Code.Display() {
			return usagef("a retired code never comes back: repeat it with --confirm %s", r.Code)
		}
		if *heir != "" {
			if op.Heir, err = parseCode(*heir); err != nil {
				return err
			}
		}
		for _, s := range successors {
			c, err := parseCode(s)
			if err != nil {
				return err
			}
			op.Successors = append(op.Successors, c)
		}
		slices.SortFunc(op.Successors, cityid.Code.Compare)
		return w.submit(ctx, cityid.Operation{SetStatus: op})
	}
}

func codeHistory(f *flags) func(context.Context, []string) error {
	return func(ctx context.Context, args []string) error {
		code, c, err := f.codeAtNode(args)
		if err != nil {
			return err
		}
		h, err := c.History(ctx, code)
		if err != nil {
			return err
		}
		t := &table{head: []string{"revision", "time", "height", "status", "name", "hash"}}
		for i := range h.Revisions {
			r := &h.Revisions[i]
			t.add(r, fmt.Sprint(r.Revision), r.Changed.Time.String(), fmt.Sprint(r.Changed.Height), r.Status.String(), r.Content.Names.Get("zh"), r.Hash().String()[:16])
		}
		return f.print(t)
	}
}

func codeLookup(f *flags) func(context.Context, []string) error {
	return func(ctx context.Context, args []string) error {
		if len(args) != 2 || args[0] == "" || args[1] == "" {
			return usagef("want a scheme and a value, such as gb2260 130100")
		}
		c, err := f.connect()
		if err != nil {
			return err
		}
		a, err := c.Lookup(ctx, args[0], args[1])
		if err != nil {
			return err
		}
		t := &table{head: []string{"code", "name", "scheme", "value", "holds"}}
		for i := range a.Entries {
			e := &a.Entries[i]
			holds := "yes"
			if !e.Holds {
				holds = "no:" + dates(e.Alias)
			}
			name := strings.TrimSpace(e.Names.Get("zh") + " " + e.Names.Get("en"))
			t.add(e, e.Code.String(), name, a.Scheme.Name, a.Value, holds)
		}
		if len(t.rows) == 0 {
			return cityid.Errorf(cityid.ErrNotFound, "no code is mapped to %s:%s", args[0], args[1])
		}
		return f.print(t)
	}
}

func codeMap(f *flags) func(context.Context, []string) error {
	w := &writing{}
	w.setupProposable(f)
	from := f.String("from", "", "first `time` at which it holds (RFC 3339, or a day)")
	until := f.String("until", "", "first `time` at which it no longer holds (RFC 3339, or a day)")
	remove := f.Bool("remove", false, "take an entry made in error away")
	return func(ctx context.Context, args []string) error {
		r, err := w.current(ctx, args, 2)
		if err != nil {
			return err
		}
		list, err := aliasFlag(args[1:])
		if err != nil {
			return err
		}
		a := list[0]
		if a.From, err = timeFlag(*from); err != nil {
			return err
		}
		if a.Until, err = timeFlag(*until); err != nil {
			return err
		}
		return w.submit(ctx, cityid.Operation{Map: &cityid.Map{Code: r.Code, Revision: r.Revision, Alias: a, Remove: *remove}})
	}
}

func codeVeto(f *flags) func(context.Context, []string) error {
	w := &writing{}
	w.setupProposable(f)
	override := f.Bool("override", false, "as the parent's parent, lift a veto")
	return func(ctx context.Context, args []string) error {
		code, err := codeArg(args)
		if err != nil {
			return err
		}
		return w.submit(ctx, cityid.Operation{Veto: &cityid.Veto{Code: code, Override: *override}})
	}
}
