// SPDX-License-Identifier: Apache-2.0

package portal

import (
	"context"
	"errors"
	"slices"
	"sync"

	"cityid"
	"cityid/internal/office"
)

// docket fills an office's docket from the blocks. Pages bring it up to the
// present before they show it; in between, [Run] does, so that there is little to
// do then.
type docket struct {
	source Source
	office *office.Office

	mu sync.Mutex // held while it is filled
}

// docketWindow is how many blocks are looked through at a time.
const docketWindow = 2000

// catchUp reads the blocks that are not in the docket yet. It stops with ctx and
// goes on from there the next time.
func (d *docket) catchUp(ctx context.Context) error {
	if d.office == nil {
		return nil
	}
	status, err := d.source.Status(ctx)
	if err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	height, err := d.office.DocketHeight(ctx, status.Chain)
	if err != nil {
		return err
	}
	for height < status.Height {
		upTo := min(height+docketWindow, status.Height)
		steps, err := d.steps(ctx, height, upTo)
		if err != nil {
			return err
		}
		if err := d.office.FillDocket(ctx, status.Chain, upTo, steps); err != nil {
			return err
		}
		height = upTo
	}
	return nil
}

// steps reads what the blocks after one height and up to another did about
// proposals.
func (d *docket) steps(ctx context.Context, after, upTo uint64) ([]office.Step, error) {
	var heights []uint64
	for q := (cityid.BlockQuery{Before: upTo + 1, Busy: true, Limit: 100}); ; {
		page, err := d.source.Blocks(ctx, q)
		if err != nil {
			return nil, err
		}
		for _, b := range page.Blocks {
			if b.Height > after {
				heights = append(heights, b.Height)
			}
		}
		if page.Next <= after+1 {
			break
		}
		q.Before = page.Next
	}
	slices.Reverse(heights)
	var out []office.Step
	for _, h := range heights {
		b, err := d.source.Block(ctx, h)
		if errors.Is(err, cityid.ErrNotFound) {
			continue // the node no longer keeps it
		}
		if err != nil {
			return nil, err
		}
		for i := range b.Txs {
			out = append(out, stepsOf(b, i)...)
		}
	}
	return out, nil
}

// stepsOf returns what one transaction of a block did about proposals.
func stepsOf(b *cityid.Block, ordinal int) []office.Step {
	tx := &b.Txs[ordinal]
	if tx.Body == nil || tx.Receipt.Code != cityid.OK {
		return nil
	}
	made := tx.Receipt.Proposals
	var out []office.Step
	for i := range tx.Body.Operations {
		s := office.Step{Height: b.Height, Time: cityid.TimeOf(b.Time), Tx: tx.Receipt.ID, Ordinal: ordinal, Position: i, Signers: tx.Body.Signers}
		switch op := &tx.Body.Operations[i]; {
		case op.Apply != nil || op.Propose != nil:
			if len(made) == 0 {
				continue
			}
			s.Proposal, made, s.Revision = made[0], made[1:], 1
			if s.Act = office.ActApply; op.Apply != nil {
				s.Operations, s.Evidence = appliedOperations(op.Apply), op.Apply.Evidence
			} else {
				s.Act, s.Operations, s.Note = office.ActPropose, op.Propose.Operations, op.Propose.Note
			}
		case op.Revise != nil:
			s.Act, s.Proposal, s.Revision, s.Operations = office.ActRevise, op.Revise.Proposal, op.Revise.Revision+1, op.Revise.Operations
			if a := op.Revise.Apply; a != nil {
				s.Operations, s.Evidence = appliedOperations(a), a.Evidence
			}
		case op.Approve != nil:
			s.Act, s.Proposal, s.Digest = office.ActApprove, op.Approve.Proposal, op.Approve.Digest
		case op.Return != nil:
			s.Act, s.Proposal, s.Digest, s.Note = office.ActReturn, op.Return.Proposal, op.Return.Digest, op.Return.Note
		case op.Reject != nil:
			s.Act, s.Proposal, s.Digest, s.Note = office.ActReject, op.Reject.Proposal, op.Reject.Digest, op.Reject.Note
		case op.Withdraw != nil && op.Withdraw.Proposal != 0:
			s.Act, s.Proposal = office.ActWithdraw, op.Withdraw.Proposal
		default:
			continue
		}
		out = append(out, s)
	}
	return out
}

// appliedOperations is what an application asks for, as its proposal has it.
func appliedOperations(a *cityid.Apply) []cityid.Operation {
	return []cityid.Operation{{Allocate: &cityid.Allocate{Items: []cityid.Allocation{a.Allocation}}}}
}
