// SPDX-License-Identifier: Apache-2.0

package chain

import (
	"context"

	"cityid"
	"cityid/internal/store"
	"cityid/verify"
)

// Link returns an encoded link of package verify: the proof that the header of a
// height is in the block log, under the latest signed header. With it,
// [verify.Archive] connects a bundle under that old header to the trust root of
// today, however long the state of then has been dropped.
//
// From is the version of the trust root the asker holds, as for [Local.Bundle].
//
// The error is [cityid.ErrNotFound] for a height that is not in the block log:
// none of this chain's, one whose header is not kept here, or one since which no
// block with transactions has been recorded; and [cityid.ErrUnavailable] while
// nothing can be proven.
func (l *Local) Link(ctx context.Context, height uint64, from uint32) (_ []byte, err error) {
	defer l.app.guardRead(&err)
	view, head, err := l.provable(ctx)
	if err != nil {
		return nil, err
	}
	defer view.Close()
	way := &verify.Way{Head: head.signed}
	if err := wayFrom(way, head.trusts, from); err != nil {
		return nil, err
	}
	if way.Log, err = l.logged(view, height); err != nil {
		return nil, err
	}
	if way.Transitions, err = l.transitions(way); err != nil {
		return nil, err
	}
	link, err := verify.NewLink(way)
	if err != nil {
		return nil, err
	}
	return link.Encode()
}

// logged shows that the block log in a state contains the header of a height.
func (l *Local) logged(v *store.View, height uint64) (*verify.LogInclusion, error) {
	if top := uint64(l.blocks.Height()); height == 0 || height > top {
		return nil, cityid.Errorf(cityid.ErrNotFound, "there is no block %d; the latest is %d", height, top)
	}
	meta := l.blocks.LoadBlockMeta(int64(height))
	if meta == nil {
		return nil, l.notKept(height)
	}
	h, err := headerOf(&meta.Header)
	if err != nil {
		return nil, err
	}
	link, err := logLink(v, h)
	if err == nil && link == nil {
		err = cityid.Errorf(cityid.ErrNotFound, "block %d is not in the block log yet, which only blocks with transactions extend: ask again after the next transaction", height)
	}
	return link, err
}
