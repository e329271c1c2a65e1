// SPDX-License-Identifier: Apache-2.0

package chain

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	abci "github.com/cometbft/cometbft/abci/types"

	"cityid"
	"cityid/header"
	"cityid/internal/registry"
	"cityid/internal/store"
	"cityid/merkle"
	"cityid/verify"
)

// restoring is a snapshot that is taken in.
type restoring struct {
	into   *store.Restore
	height uint64
	root   merkle.Hash
	chunks uint32
	next   uint32 // chunk
	start  []byte // of it
	log    merkle.Log
}

// trustedHeaders is what a restore learns from the headers that CometBFT was given
// to verify the snapshot by: the header of the snapshot's height, and those a node
// that has no older blocks needs for bundles.
type trustedHeaders interface {
	around(height uint64) (*header.Header, []verify.SignedHeader, error)
}

// wayKey is the key beside the tree of a signed header that leads from the trust
// root to the blocks this node has.
func wayKey(height uint64) []byte { return binary.BigEndian.AppendUint64([]byte("w"), height) }

// OfferSnapshot begins to take in a snapshot, whose app hash CometBFT has from
// headers that were verified. It comes only to a node without blocks that was told
// to begin with one, so the state that may be there is of no use.
func (a *Application) OfferSnapshot(_ context.Context, req *abci.RequestOfferSnapshot) (_ *abci.ResponseOfferSnapshot, err error) {
	defer a.guard("OfferSnapshot", &err)
	answer := func(r abci.ResponseOfferSnapshot_Result, why string) (*abci.ResponseOfferSnapshot, error) {
		a.log.Warn("refused a snapshot", "why", why)
		return &abci.ResponseOfferSnapshot{Result: r}, nil
	}
	s := req.Snapshot
	switch {
	case a.headers == nil:
		return answer(abci.ResponseOfferSnapshot_ABORT, "this node takes all blocks")
	case s == nil || s.Height == 0 || len(req.AppHash) != merkle.HashSize:
		return answer(abci.ResponseOfferSnapshot_REJECT, "it is of no height")
	case s.Format != snapshotFormat:
		return answer(abci.ResponseOfferSnapshot_REJECT_FORMAT, fmt.Sprintf("format %d is not known", s.Format))
	case s.Chunks == 0 || s.Chunks > maxChunks || len(s.Metadata) > 0:
		return answer(abci.ResponseOfferSnapshot_REJECT, fmt.Sprintf("it is said to have %d chunks and %d octets of metadata", s.Chunks, len(s.Metadata)))
	case string(s.Hash) != string(req.AppHash):
		return answer(abci.ResponseOfferSnapshot_REJECT, fmt.Sprintf("it is of state %X, and the headers commit to %X", s.Hash, req.AppHash))
	}
	if err := a.dropRestoring(); err != nil {
		return nil, err
	}
	into, err := a.store.BeginRestore()
	if err != nil {
		return nil, err
	}
	a.mu.Lock()
	a.head, a.next = head{}, a.upcoming(unfounded{}, 1)
	a.mu.Unlock()
	a.restoring = &restoring{into: into, height: s.Height, root: merkle.Hash(req.AppHash), chunks: s.Chunks, start: []byte{}}
	a.log.Info("taking in a snapshot", "height", s.Height, "chunks", s.Chunks)
	a.restoredAt.Store(a.clock().UnixNano())
	return &abci.ResponseOfferSnapshot{Result: abci.ResponseOfferSnapshot_ACCEPT}, nil
}

func (a *Application) dropRestoring() error {
	r := a.restoring
	a.restoring = nil
	if r == nil {
		return nil
	}
	return r.into.Discard()
}

// ApplySnapshotChunk takes in the next chunk. A bad one is refused and asked for
// again from somebody else.
func (a *Application) ApplySnapshotChunk(_ context.Context, req *abci.RequestApplySnapshotChunk) (_ *abci.ResponseApplySnapshotChunk, err error) {
	defer a.guard("ApplySnapshotChunk", &err)
	r := a.restoring
	if r == nil || req.Index != r.next {
		return nil, fmt.Errorf("chunk %d of a snapshot comes out of turn", req.Index)
	}
	c, records, next, err := checkChunk(req.Chunk, r.root, r.start)
	if err == nil && r.next == 0 {
		r.log, err = c.checkLog(r.root, r.height)
	} else if err == nil && (c.Log != nil || c.LogProof != nil) {
		err = errors.New("the block log stands in the first chunk alone")
	}
	if err != nil {
		a.metrics.badChunks.Inc()
		a.log.Warn("a peer sent a bad part of a snapshot; it is asked for nothing more", "peer", req.Sender, "chunk", req.Index, "error", err)
		return &abci.ResponseApplySnapshotChunk{
			Result: abci.ResponseApplySnapshotChunk_RETRY, RefetchChunks: []uint32{req.Index}, RejectSenders: []string{req.Sender},
		}, nil
	}
	last := r.next+1 == r.chunks
	if last == c.More {
		// What the chunk says is proven, so whoever offered the snapshot lied.
		a.log.Warn("a snapshot was offered with a wrong number of chunks", "height", r.height, "chunks", r.chunks)
		return &abci.ResponseApplySnapshotChunk{Result: abci.ResponseApplySnapshotChunk_REJECT_SNAPSHOT}, nil
	}
	if err := r.into.Add(records); err != nil {
		return nil, err
	}
	r.next, r.start = r.next+1, next
	a.restoredAt.Store(a.clock().UnixNano())
	if last {
		if err := a.restored(r); err != nil {
			return nil, err
		}
	}
	return &abci.ResponseApplySnapshotChunk{Result: abci.ResponseApplySnapshotChunk_ACCEPT}, nil
}

// restored makes what was taken in the state.
func (a *Application) restored(r *restoring) error {
	at, way, err := a.headers.around(r.height)
	if err != nil {
		return err
	}
	next := head{Height: r.height, Nanos: at.Time.UnixNano(), AppHash: cityid.Digest(r.root), Chain: a.genesis.Chain, Genesis: a.genesis.Hash()}
	side := []store.Record{{Key: headKey, Value: cityid.MustMarshal(&next)}}
	for i := range way {
		raw, err := verify.EncodeSignedHeader(&way[i])
		if err != nil {
			return err
		}
		side = append(side, store.Record{Key: wayKey(uint64(way[i].Header.Height)), Value: raw})
	}
	if err := r.into.Commit(r.height, r.root, r.log, side); err != nil {
		return err
	}
	a.restoring = nil
	view, err := a.store.Latest()
	if err != nil {
		return err
	}
	defer view.Close()
	if err := registry.Recorded(reader{view}, a.track.remember); err != nil {
		return err
	}
	upcoming := a.upcoming(reader{view}, r.height+1)
	if upcoming.err != nil {
		return upcoming.err
	}
	a.mu.Lock()
	a.head, a.next, a.way = next, upcoming, way
	a.mu.Unlock()
	a.feed.restored(r.height)
	a.log.Info("took in a snapshot", "height", r.height, "entries", view.Len())
	if a.snapshots.every > 0 {
		a.takeSnapshot()
	}
	return nil
}

// loadWay reads the headers that lead to the blocks of a node that began with a
// snapshot.
func (a *Application) loadWay() (way []verify.SignedHeader, err error) {
	scanErr := a.store.ScanSide(wayKey(0), wayKey(1<<64-1), func(_, value []byte) bool {
		var s verify.SignedHeader
		if s, err = verify.DecodeSignedHeader(value); err != nil {
			return false
		}
		way = append(way, s)
		return true
	})
	return way, errors.Join(scanErr, err)
}

// leading returns the headers that lead to this node's blocks, if it began with a
// snapshot.
func (a *Application) leading() []verify.SignedHeader {
	a.mu.RLock()
	defer a.mu.RUnlock()
	return a.way
}
