// SPDX-License-Identifier: Apache-2.0

package audit

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"iter"
	"slices"
	"strconv"
	"strings"

	"cityid"
)

// longest is how long a proposal can be open.
const longest = 366 * 86400

// concerns reports whether a code is the exported one or lies below it.
func (e *exporter) concerns(c cityid.Code) bool {
	return c == e.Code || e.Code.Covers(c) || e.Code.PlaceCovers(c) || underPlace(e.Code, c)
}

// underPlace reports whether a code stands below a place that the exported place
// covers.
func underPlace(place, c cityid.Code) bool {
	for up := c.Parent(); !up.IsZero(); up = up.Parent() {
		if place.PlaceCovers(up) {
			return true
		}
	}
	return false
}

// decided yields the proposals decided in the period, the latest number first.
// It reads them anew each time it is ranged over.
func (e *exporter) decided(failed *error) iter.Seq[*Decision] {
	return func(yield func(*Decision) bool) {
		q := cityid.ProposalQuery{Limit: 100}
		for {
			page, err := e.source.Proposals(e.ctx, q)
			if err != nil {
				*failed = err
				return
			}
			for i := range page.Proposals {
				x := &page.Proposals[i]
				p := &x.Proposal
				if p.Created+longest < e.from {
					return
				}
				at := p.Edited
				if x.State == cityid.ProposalExpired {
					at = p.Expires
				}
				if x.State.Open() || at < e.from || at >= e.to || !slices.ContainsFunc(p.Targets, func(t cityid.Target) bool { return e.concerns(t.Code) }) {
					continue
				}
				if !yield(&Decision{p.Number, x.State, at, p.Created, p.Operations, p.Targets, p.Approvals, p.Rejections, p.Note}) {
					return
				}
			}
			if q.Before = page.Next; q.Before == 0 {
				return
			}
		}
	}
}

// decisions writes the proposals decided in the period, in both forms.
func (e *exporter) decisions() error {
	w, err := e.create("proposals.jsonl")
	if err != nil {
		return err
	}
	b, failed := bufio.NewWriter(w), error(nil)
	enc := json.NewEncoder(b)
	for d := range e.decided(&failed) {
		e.sum.Decisions++
		if err := enc.Encode(d); err != nil {
			return err
		}
	}
	if err := errors.Join(failed, b.Flush()); err != nil {
		return err
	}
	if w, err = e.create("proposals.csv"); err != nil {
		return err
	}
	return errors.Join(e.decisionsCSV(w, &failed), failed)
}

func (e *exporter) decisionsCSV(w io.Writer, failed *error) error {
	header := []string{"decided", "number", "state", "created", "operations", "codes", "approvals", "rejections", "note"}
	return e.CSV(w, header, func(yield func([]string) bool) {
		for d := range e.decided(failed) {
			var names []string
			for i := range d.Operations {
				names = append(names, d.Operations[i].Name())
			}
			var codes []cityid.Code
			for _, t := range d.Targets {
				codes = append(codes, t.Code)
			}
			if !yield([]string{
				d.Decided.String(), strconv.FormatUint(d.Number, 10), d.State.String(), d.Created.String(), strings.Join(names, " "), joined(codes),
				strconv.Itoa(len(d.Approvals)), strconv.Itoa(len(d.Rejections)), d.Note,
			}) {
				return
			}
		}
	})
}

// blockCache remembers which transactions changed which codes in the blocks
// looked at last: many records change in one block.
type blockCache struct {
	source Source
	known  []knownBlock
}

type knownBlock struct {
	height uint64
	gone   bool // the node no longer keeps what is in it
	txs    map[cityid.Code][]cityid.Digest
}

const keptBlocks = 16

// changed returns the transactions of a block that changed a code; nil if the node no
// longer keeps what is in the block.
func (c *blockCache) changed(ctx context.Context, height uint64, code cityid.Code) ([]cityid.Digest, error) {
	none := []cityid.Digest{}
	if height == 0 {
		return none, nil // the founding state has no block
	}
	for i := range c.known {
		if c.known[i].height == height {
			if c.known[i].gone {
				return nil, nil
			}
			return append(none, c.known[i].txs[code]...), nil
		}
	}
	x := knownBlock{height: height, txs: map[cityid.Code][]cityid.Digest{}}
	b, err := c.source.Block(ctx, height)
	if x.gone = cityid.CodeOf(err) == cityid.ErrNotFound; x.gone {
		b, err = new(cityid.Block), nil
	}
	if err != nil {
		return nil, err
	}
	for i := range b.Txs {
		if err := c.learn(ctx, &x, &b.Txs[i]); err != nil {
			return nil, err
		}
	}
	if len(c.known) == keptBlocks {
		c.known = slices.Delete(c.known, 0, 1)
	}
	c.known = append(c.known, x)
	if x.gone {
		return nil, nil
	}
	return append(none, x.txs[code]...), nil
}

// learn notes what a transaction changed: the codes it is about, and those of
// proposals it approves.
func (c *blockCache) learn(ctx context.Context, x *knownBlock, tx *cityid.BlockTx) error {
	if tx.Body == nil || tx.Receipt.Code != cityid.OK {
		return nil
	}
	add := func(code cityid.Code) {
		if list := x.txs[code]; !slices.Contains(list, tx.Receipt.ID) {
			x.txs[code] = append(list, tx.Receipt.ID)
		}
	}
	var each func(ops []cityid.Operation) error
	each = func(ops []cityid.Operation) error {
		for i := range ops {
			op := &ops[i]
			switch {
			case op.Allocate != nil:
				for j := range op.Allocate.Items {
					add(op.Allocate.Items[j].Code)
				}
			case op.Propose != nil:
				if err := each(op.Propose.Operations); err != nil {
					return err
				}
			case op.Approve != nil:
				p, err := c.source.Proposal(ctx, op.Approve.Proposal)
				if err != nil {
					return err
				}
				for _, t := range p.Proposal.Targets {
					add(t.Code)
				}
			default:
				if codes := op.Codes(); len(codes) > 0 {
					add(codes[0])
				}
			}
		}
		return nil
	}
	return each(tx.Body.Operations)
}
