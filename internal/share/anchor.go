// SPDX-License-Identifier: Apache-2.0

package share

import (
	"context"
	"errors"
	"time"

	"cityid"
	"cityid/internal/ledger"
)

// Times of anchoring.
const (
	anchorEvery   = time.Second      // batches are looked for
	anchorTimeout = 30 * time.Second // of one transaction
	anchorRetry   = 10 * time.Second // after one that failed
	anchorExpires = 10 * time.Minute // of a transaction
)

// anchor closes batches of receipts when they are due and brings their roots onto
// the chain, one after the other. A chain that does not answer delays that and
// nothing else.
func (g *Gateway) anchor(ctx context.Context) {
	pause := time.Time{}
	every(ctx, anchorEvery, func() {
		if _, err := g.ledger.CloseBatch(ctx, false); err != nil && ctx.Err() == nil {
			g.logger.Error("batch of receipts not closed", "error", err)
			return
		}
		for ctx.Err() == nil && g.now().After(pause) {
			done, err := g.anchorNext(ctx)
			if err != nil && ctx.Err() == nil {
				g.logger.Warn("receipts not anchored yet", "error", err)
				pause = g.now().Add(anchorRetry)
			}
			if err != nil || done {
				return
			}
		}
	})
}

// Anchor closes the open batch and anchors all that wait; for tests and before a
// gateway is put out of service.
func (g *Gateway) Anchor(ctx context.Context) error {
	if _, err := g.ledger.CloseBatch(ctx, true); err != nil {
		return err
	}
	for {
		if done, err := g.anchorNext(ctx); err != nil || done {
			return err
		}
	}
}

// anchorNext anchors one batch, or reports that none waits.
func (g *Gateway) anchorNext(ctx context.Context) (done bool, err error) {
	b, err := g.ledger.NextToAnchor(ctx)
	if errors.Is(err, ledger.ErrNotFound) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	ctx, cancel := context.WithTimeout(ctx, anchorTimeout)
	defer cancel()
	op := b.Anchor()
	tx, err := cityid.SignTx(cityid.Body{
		Chain: g.view.Trust().Statement.Chain, Expires: cityid.TimeOf(g.now().Add(anchorExpires)),
		Operations: []cityid.Operation{{AnchorReceipts: &op}},
	}, cityid.Signer{Key: g.public, Sign: g.key.Sign})
	if err != nil {
		return false, err
	}
	receipt, node, err := firstOf(ctx, g.view.nodes, inquiry[*cityid.Receipt]{patience: anchorTimeout / 2, ask: func(ctx context.Context, n Node) (*cityid.Receipt, error) {
		return n.Submit(ctx, cityid.MustMarshal(tx), true)
	}})
	if err == nil {
		err = receipt.Err()
	}
	// What a node says of the transaction counts when the chain shows it, and otherwise
	// another one is asked next time: this one may lie, whatever it says. A transaction
	// that was refused may have got there before, without this gateway getting to know.
	known, look := g.anchored(ctx, &op)
	if look == nil && known != nil {
		id := cityid.Digest{}
		if err == nil && receipt.Height == known.Changed.Height {
			id = receipt.ID
		}
		return false, g.ledger.MarkAnchored(ctx, b.Sequence, b.Root, id, known.Changed.Height, known.Changed.Time)
	}
	g.view.nodes.blame(node)
	if err == nil {
		err = cityid.Errorf(cityid.ErrUnavailable, "a node says that a block holds the transaction, and none proves it yet")
	}
	return false, err
}

// anchored returns the anchor of a batch if the chain has it.
func (g *Gateway) anchored(ctx context.Context, op *cityid.AnchorReceipts) (*cityid.Anchor, error) {
	key := cityid.AnchorKey(op.Party, op.Log, op.Sequence)
	r, _, err := g.view.Entries(ctx, [][]byte{key}, time.Hour)
	if err != nil {
		return nil, err
	}
	var a cityid.Anchor
	found, err := r.Entry(key, &a)
	if err != nil || !found {
		return nil, err
	}
	if a.Root != op.Root {
		return nil, cityid.Errorf(cityid.ErrConflict, "batch %d of log %s is anchored with another root: was the gateway's folder restored? give its log a new name", op.Sequence, op.Log)
	}
	return &a, nil
}
