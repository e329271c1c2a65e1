// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"cityid"
	"cityid/client"
	"cityid/internal/describe"
)

func watchCommand() *command {
	return &command{
		name: "watch", args: "[CODE]", short: "follow what happens: one line for each transaction, as it comes",
		long:     "With a code, only what names or changes that code or one below it. The stream goes on over broken\nconnections and restarts of the node, until Ctrl-C. --format jsonl prints each event as the API has it.",
		examples: []string{"cityid watch", "cityid watch MA.156.1301", "cityid watch --proposal 17 --format jsonl"},
		setup:    watch,
	}
}

func watch(f *flags) func(context.Context, []string) error {
	proposal := f.Uint64("proposal", 0, "only what concerns the proposal with this `number`")
	after := f.Uint64("after", 0, "begin behind the block of this `height`; 0 with the latest")
	number := f.Int("count", 0, "end after so many events; 0 never")
	busy := f.Bool("busy", false, "leave out blocks without transactions")
	return func(ctx context.Context, args []string) error {
		filter := cityid.EventFilter{Proposal: *proposal}
		var err error
		if len(args) > 0 {
			if filter.Code, err = codeArg(args); err != nil {
				return err
			}
		}
		switch {
		case f.format != "table" && f.format != "jsonl":
			return usagef("--format %s: a stream is shown as table or jsonl", f.format)
		case f.out != "" && f.out != "-":
			return usagef("-o %s: a stream has no end; redirect standard output instead", f.out)
		case *number < 0:
			return usagef("--count %d: want 0 or more", *number)
		}
		c, err := f.connect()
		if err != nil {
			return err
		}
		n := 0
		for e, err := range c.Events(ctx, *after, filter) {
			if err != nil {
				return err
			}
			if *busy && !e.Reset && len(e.Transactions) == 0 {
				continue
			}
			if err := f.showEvent(ctx, c, e, &filter); err != nil {
				return err
			}
			if n++; n == *number {
				break
			}
		}
		return nil
	}
}

// showEvent prints an event.
func (f *flags) showEvent(ctx context.Context, c *client.Client, e *cityid.Event, filter *cityid.EventFilter) error {
	if f.format == "jsonl" {
		var v any = e
		if e.Reset {
			v = map[string]uint64{"reset": e.Height}
		}
		b, err := json.Marshal(v)
		if err != nil {
			return err
		}
		return f.write(append(escaped(b), '\n'))
	}
	if e.Reset {
		f.talk("some blocks before %d were missed", e.Height)
		return nil
	}
	line := func(text string) error {
		return f.write([]byte(printable(fmt.Sprintf("%d  %s  %s", e.Height, e.Time.UTC().Format(time.RFC3339), text)) + "\n"))
	}
	if len(e.Transactions) == 0 {
		return line("no transactions")
	}
	lines, err := f.eventLines(ctx, c, e, filter)
	if err != nil {
		return err
	}
	for _, text := range lines {
		if err := line(text); err != nil {
			return err
		}
	}
	return nil
}

// eventLines says what the transactions of an event do that the filter is about;
// all of them, if it is about none but what they bring with them.
func (f *flags) eventLines(ctx context.Context, c *client.Client, e *cityid.Event, filter *cityid.EventFilter) ([]string, error) {
	b, err := c.Block(ctx, e.Height)
	if err != nil && !errors.Is(err, client.ErrUnreachable) && cityid.CodeOf(err) != cityid.ErrNotFound {
		return nil, err
	}
	var chosen, all []string
	if b == nil { // the event alone tells less
		for i := range e.Transactions {
			all = append(all, strings.Join(e.Transactions[i].Operations, ", ")+": "+result(f.lang, e.Transactions[i].Code))
		}
		return all, nil
	}
	for i := range b.Txs {
		t := &b.Txs[i]
		text := txLine(f.lang, t)
		if all = append(all, text); names(t, filter) {
			chosen = append(chosen, text)
		}
	}
	if len(chosen) > 0 {
		return chosen, nil
	}
	return all, nil
}

// names reports whether a transaction names or made what a filter is about.
func names(t *cityid.BlockTx, filter *cityid.EventFilter) bool {
	if t.Body == nil {
		return false
	}
	code, number := filter.Code.IsZero(), filter.Proposal == 0 || slices.Contains(t.Receipt.Proposals, filter.Proposal)
	for i := range t.Body.Operations {
		op := &t.Body.Operations[i]
		number = number || op.Proposal() == filter.Proposal
		code = code || slices.ContainsFunc(op.Codes(), func(c cityid.Code) bool { return c.Within(filter.Code) })
	}
	return code && number
}

// txLine says in one line what a transaction does and what became of it.
func txLine(lang string, t *cityid.BlockTx) string {
	if t.Body == nil {
		return "no transaction: " + result(lang, t.Receipt.Code)
	}
	text := describe.Summary(lang, t.Body.Operations) + ": " + result(lang, t.Receipt.Code)
	if n := t.Receipt.Proposals; len(n) > 0 {
		text += fmt.Sprintf(" (proposal %s)", numbers(n))
	}
	return text
}

// result names what became of a transaction.
func result(lang string, c cityid.ErrorCode) string {
	if c == cityid.OK {
		return c.String()
	}
	return describe.ErrorCode(lang, c)
}

func numbers(list []uint64) string {
	var out []string
	for _, n := range list {
		out = append(out, strconv.FormatUint(n, 10))
	}
	return strings.Join(out, ", ")
}

func chainBlocks(f *flags) func(context.Context, []string) error {
	busy := f.Bool("busy", false, "only blocks with transactions")
	before := f.Uint64("before", 0, "only below this `height`")
	limit := f.Int("limit", 20, "how many at most")
	return func(ctx context.Context, args []string) error {
		if err := noArgs(args); err != nil {
			return err
		}
		if *limit < 1 {
			return usagef("--limit %d: want 1 or more", *limit)
		}
		c, err := f.connect()
		if err != nil {
			return err
		}
		t := &table{head: []string{"height", "time", "transactions", "octets", "signed", "hash"}}
		q := cityid.BlockQuery{Before: *before, Busy: *busy}
		for len(t.rows) < *limit {
			q.Limit = min(100, *limit-len(t.rows))
			page, err := c.Blocks(ctx, q)
			if err != nil {
				return err
			}
			for i := range page.Blocks {
				b := &page.Blocks[i]
				t.add(b, fmt.Sprint(b.Height), b.Time.UTC().Format(time.RFC3339), fmt.Sprint(b.Transactions), fmt.Sprint(b.Size), signedBy(b), b.Hash.String())
			}
			if q.Before = page.Next; q.Before == 0 {
				break
			}
		}
		return f.print(t)
	}
}

// signedBy says how many validators signed a block.
func signedBy(b *cityid.Block) string {
	if b.Signed == 0 {
		return "not yet"
	}
	return fmt.Sprintf("%d of %d", b.Signed, b.Validators)
}

func chainBlock(f *flags) func(context.Context, []string) error {
	return func(ctx context.Context, args []string) error {
		if len(args) != 1 {
			return usagef("want the height of a block")
		}
		height, err := strconv.ParseUint(args[0], 10, 64)
		if err != nil || height == 0 {
			return usagef("height %q: want a number from 1", args[0])
		}
		c, err := f.connect()
		if err != nil {
			return err
		}
		b, err := c.Block(ctx, height)
		if cityid.CodeOf(err) == cityid.ErrNotFound {
			b, err = prunedBlock(ctx, c, height, err)
		}
		if err != nil {
			return err
		}
		if b.Pruned {
			f.talk("note: the node keeps this block's header alone; a node that keeps all blocks (--node) has its %s", count(b.Transactions, "transaction"))
		}
		t := fields(b, "height", fmt.Sprint(b.Height), "time", b.Time.UTC().Format(time.RFC3339Nano), "hash", b.Hash.String(),
			"state before", b.AppHash.String(), "proposer", b.Proposer.String(), "signed", signedBy(b), "octets", fmt.Sprint(b.Size))
		for i := range b.Txs {
			t.rows = append(t.rows, []string{"transaction", b.Txs[i].Receipt.ID.String()}, []string{"", txLine(f.lang, &b.Txs[i])})
		}
		if b.Changed != nil {
			t.rows = append(t.rows, []string{"changed", count(len(b.Changed), "record")})
		}
		return f.print(t)
	}
}

// prunedBlock returns what a node still knows about a block whose transactions it let
// go; otherwise why there is nothing.
func prunedBlock(ctx context.Context, c *client.Client, height uint64, why error) (*cityid.Block, error) {
	page, err := c.Blocks(ctx, cityid.BlockQuery{Before: height + 1, Limit: 1})
	if err != nil || len(page.Blocks) == 0 || page.Blocks[0].Height != height || !page.Blocks[0].Pruned {
		return nil, why
	}
	return &page.Blocks[0], nil
}

func txStatus(f *flags) func(context.Context, []string) error {
	return func(ctx context.Context, args []string) error {
		if len(args) != 1 {
			return usagef("want the id of a transaction")
		}
		id, err := cityid.ParseDigest(args[0])
		if err != nil {
			return usageError{err}
		}
		c, err := f.connect()
		if err != nil {
			return err
		}
		r, err := c.Transaction(ctx, id)
		if err != nil {
			return err
		}
		if r.Height == 0 {
			return f.print(fields(r, "transaction", id.String(), "result", "waits for a block"))
		}
		t := receiptTable(r)
		if r.Code != cityid.OK {
			t.rows = append(t.rows, []string{"why", describe.Refusal(f.lang, r.Err())})
		}
		a, err := c.FindTransaction(ctx, id)
		switch {
		case err == nil:
			for _, line := range describe.Operations(f.lang, a.Body.Operations) {
				t.rows = append(t.rows, []string{"", line.String()})
			}
		case cityid.CodeOf(err) != cityid.ErrNotFound:
			return err
		default: // the block is not kept
			f.talk("note: what it says is not known here: %s", err)
		}
		return f.print(t)
	}
}
