// SPDX-License-Identifier: Apache-2.0

package client

import (
	"context"
	"fmt"
	"net/url"
	"strconv"
	"time"

	"cityid"
)

// pollTime is how long a question for changes may wait at the node, and for the
// answer to come.
const pollTime = 40 * time.Second

// Blocks returns a page of blocks without their transactions, latest first. Ask
// again with Before set to the page's Next until that is 0. A zero Limit is the
// node's default.
func (c *Client) Blocks(ctx context.Context, q cityid.BlockQuery) (*cityid.BlockPage, error) {
	v := url.Values{}
	setNumber(v, "before", q.Before)
	if q.Busy {
		v.Set("busy", "true")
	}
	if q.Limit != 0 {
		v.Set("limit", strconv.Itoa(q.Limit))
	}
	var page cityid.BlockPage
	if err := c.get(ctx, "/v1/blocks", v, &page); err != nil {
		return nil, err
	}
	return &page, nil
}

// Block returns a block with its transactions; not-found if there is none of that
// height yet, or the node no longer keeps it.
func (c *Client) Block(ctx context.Context, height uint64) (*cityid.Block, error) {
	var b cityid.Block
	if err := c.get(ctx, "/v1/blocks/"+strconv.FormatUint(height, 10), nil, &b); err != nil {
		return nil, err
	}
	if b.Height != height {
		return nil, fmt.Errorf("%s answers about block %d when asked for %d", c.base, b.Height, height)
	}
	return &b, nil
}

// FindTransaction returns a transaction that stands in a block, with its receipt;
// not-found as for [Client.Transaction], and while it waits for a block.
func (c *Client) FindTransaction(ctx context.Context, id cityid.Digest) (*cityid.TransactionAnswer, error) {
	path := "/v1/transactions/" + id.String() + "/body"
	var a cityid.TransactionAnswer
	if err := c.get(ctx, path, nil, &a); err != nil {
		return nil, err
	}
	tx, body, err := cityid.DecodeTx(a.Raw)
	if err != nil {
		return nil, fmt.Errorf("%s%s: answer: %w", c.base, path, err)
	}
	if tx.ID() != id || a.Receipt.ID != id {
		return nil, fmt.Errorf("%s answers about transaction %s when asked for %s", c.base, tx.ID(), id)
	}
	a.Body = body // what the id stands for, whatever the node made of it
	return &a, nil
}

// Changes returns the codes whose records were written after a height. See its
// Gap: the node remembers only so much.
func (c *Client) Changes(ctx context.Context, after uint64) (*cityid.Changes, error) {
	return c.changes(ctx, after, false)
}

func (c *Client) changes(ctx context.Context, after uint64, wait bool) (*cityid.Changes, error) {
	v := url.Values{"after": {strconv.FormatUint(after, 10)}}
	if wait {
		v.Set("wait", "true")
	}
	var a cityid.Changes
	if err := c.get(ctx, "/v1/changes", v, &a); err != nil {
		return nil, err
	}
	return &a, nil
}

// Await returns the height of the node's latest block as soon as it exceeds
// after. It asks again and again until then, or until ctx ends or the node can
// not be reached.
func (c *Client) Await(ctx context.Context, after uint64) (uint64, error) {
	if after == 0 {
		s, err := c.Status(ctx)
		if err != nil {
			return 0, err
		}
		if s.Height > 0 {
			return s.Height, nil
		}
	}
	patient := *c
	if patient.timeout > 0 {
		patient.timeout = max(patient.timeout, pollTime)
	}
	for {
		a, err := patient.changes(ctx, after, true)
		if err != nil {
			return 0, err
		}
		if a.Height > after {
			return a.Height, nil
		}
		if err := ctx.Err(); err != nil {
			return 0, context.Cause(ctx)
		}
	}
}
