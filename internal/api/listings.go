// SPDX-License-Identifier: Apache-2.0

package api

import (
	"context"
	"runtime"
	"time"

	"cityid"
)

// listingTime is how long a request waits for its turn to make a listing.
const listingTime = 10 * time.Second

// listings is a source that makes only a few listings at a time: one may take
// as much memory and time as thousands of other answers.
type listings struct {
	Source
	turns chan struct{}
}

func newListings(s Source) *listings {
	return &listings{s, make(chan struct{}, max(4, runtime.GOMAXPROCS(0)))}
}

// turn waits for a turn, which done ends.
func (l *listings) turn(ctx context.Context) (done func(), err error) {
	timer := time.NewTimer(listingTime)
	defer timer.Stop()
	select {
	case l.turns <- struct{}{}:
		return func() { <-l.turns }, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	case <-timer.C:
		return nil, cityid.Errorf(cityid.ErrUnavailable, "too many lists are being asked for: try again")
	}
}

func (l *listings) Children(ctx context.Context, q cityid.ChildrenQuery) (*cityid.RecordPage, error) {
	done, err := l.turn(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	return l.Source.Children(ctx, q)
}

func (l *listings) History(ctx context.Context, code cityid.Code) (*cityid.HistoryAnswer, error) {
	done, err := l.turn(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	return l.Source.History(ctx, code)
}

func (l *listings) Proposals(ctx context.Context, q cityid.ProposalQuery) (*cityid.ProposalPage, error) {
	done, err := l.turn(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	return l.Source.Proposals(ctx, q)
}

func (l *listings) Blocks(ctx context.Context, q cityid.BlockQuery) (*cityid.BlockPage, error) {
	done, err := l.turn(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	return l.Source.Blocks(ctx, q)
}

func (l *listings) Block(ctx context.Context, height uint64) (*cityid.Block, error) {
	done, err := l.turn(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	return l.Source.Block(ctx, height)
}

func (l *listings) FindTransaction(ctx context.Context, id cityid.Digest) (*cityid.TransactionAnswer, error) {
	done, err := l.turn(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	return l.Source.FindTransaction(ctx, id)
}

func (l *listings) Changes(ctx context.Context, after uint64) (*cityid.Changes, error) {
	done, err := l.turn(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	return l.Source.Changes(ctx, after)
}

func (l *listings) Agreements(ctx context.Context, q cityid.AgreementQuery) (*cityid.AgreementPage, error) {
	done, err := l.turn(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	return l.Source.Agreements(ctx, q)
}

func (l *listings) Anchors(ctx context.Context, q cityid.AnchorQuery) (*cityid.AnchorPage, error) {
	done, err := l.turn(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	return l.Source.Anchors(ctx, q)
}

func (l *listings) Bundle(ctx context.Context, q cityid.BundleQuery) ([]byte, error) {
	if q.Kind == cityid.AnswerRecord || q.Kind == cityid.AnswerEntries {
		return l.Source.Bundle(ctx, q)
	}
	done, err := l.turn(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	return l.Source.Bundle(ctx, q)
}
