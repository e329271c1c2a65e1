// SPDX-License-Identifier: Apache-2.0

package chain

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	abci "github.com/cometbft/cometbft/abci/types"

	"cityid"
	"cityid/internal/store"
	"cityid/merkle"
)

const (
	snapshotFormat = 1
	snapshotsKept  = 2
	snapshotChunk  = 1 << 20 // octets of keys and values in a chunk, exceeded by one entry at most
	maxChunk       = 6 << 20 // octets of an encoded chunk
	maxChunks      = 100_000 // of a snapshot
)

// chunk is a part of a snapshot: the complete listing of a range of keys, proven
// against the app hash. Where it begins and ends follows from the state alone.
type chunk struct {
	More     bool     `cbor:"1,keyasint"`           // others follow
	Proof    []byte   `cbor:"2,keyasint"`           // merkle.RangeProof
	Values   [][]byte `cbor:"3,keyasint"`           // of the keys in the proof
	Log      []byte   `cbor:"4,keyasint,omitempty"` // the block log's edge, as merkle.Log encodes it; in the first chunk
	LogProof []byte   `cbor:"5,keyasint,omitempty"` // merkle.Proof of its leaf; in the first chunk
}

// chunkSize is the size of an entry as chunks are cut by it: a chunk ends with the
// entry by which it reaches snapshotChunk.
func chunkSize(key, value []byte) int { return len(key) + len(value) }

// after returns the lowest bound above a key: no key of the state lies between.
func after(key []byte) []byte {
	b := make([]byte, merkle.MaxKeySize)
	copy(b, key)
	b[len(b)-1] |= 1
	return b
}

// snapshot is a state that is served. Its view is the state itself; nothing is
// copied.
type snapshot struct {
	height uint64
	time   time.Time // when it was taken
	view   *store.View
	starts [][]byte // where each chunk begins
}

// snapshots are the states a node serves, latest first.
type snapshots struct {
	every uint64 // blocks; 0: none are taken

	mu     sync.RWMutex // held for reading while a chunk is made
	list   []*snapshot
	closed bool
	making sync.WaitGroup
	taking sync.Mutex // held by who takes one
}

// serveSnapshots has the application take a snapshot now and then one every so
// many blocks. It is called before the application is.
func (a *Application) serveSnapshots(every uint64) {
	if a.snapshots.every = every; every > 0 {
		a.takeSnapshot()
	}
}

// snapshotDue reports whether a block with transactions is the first in its span
// of blocks. It follows from the chain, so that nodes take the same snapshots.
func (a *Application) snapshotDue(s *staged) bool {
	n := a.snapshots.every
	return n > 0 && len(s.keys) > 0 && s.height/n > s.logged/n
}

// takeSnapshot begins to serve the latest state, soon.
func (a *Application) takeSnapshot() {
	p := &a.snapshots
	p.mu.RLock()
	defer p.mu.RUnlock()
	if p.closed {
		return
	}
	view, err := a.store.Latest()
	if err != nil {
		return
	}
	p.making.Go(func() {
		p.taking.Lock()
		defer p.taking.Unlock()
		if err := a.keepSnapshot(view); err != nil {
			a.log.Error("taking a snapshot failed", "height", view.LogSize(), "error", err)
		}
	})
}

// keepSnapshot divides a state into chunks and serves it. Without transactions
// there is nothing to serve.
func (a *Application) keepSnapshot(view *store.View) (err error) {
	defer a.guardRead(&err)
	height, start := view.LogSize(), time.Now()
	s := &snapshot{height: height, view: view, starts: [][]byte{{}}}
	keep := false
	defer func() {
		if !keep {
			view.Close()
		}
	}()
	if height == 0 {
		return nil
	}
	size, last := 0, []byte(nil)
	err = view.Scan(nil, nil, func(key, value []byte) bool {
		if size >= snapshotChunk {
			s.starts, size = append(s.starts, after(last)), 0
			if a.snapshots.ended() {
				return false
			}
		}
		size += chunkSize(key, value)
		last = append(last[:0], key...)
		return true
	})
	if err != nil {
		return err
	}
	p := &a.snapshots
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || len(p.list) > 0 && p.list[0].height >= height {
		return nil
	}
	keep, s.time = true, time.Now()
	p.list = append([]*snapshot{s}, p.list...)
	for _, old := range p.list[min(len(p.list), snapshotsKept):] {
		old.view.Close()
	}
	p.list = p.list[:min(len(p.list), snapshotsKept)]
	a.log.Info("serving a snapshot", "height", height, "chunks", len(s.starts), "took", time.Since(start).Round(time.Millisecond))
	return nil
}

func (p *snapshots) ended() bool {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return p.closed
}

// close lets all states go.
func (p *snapshots) close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.making.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range p.list {
		s.view.Close()
	}
	p.list = nil
}

// latest returns the height of the latest snapshot and when it was taken; 0 if
// there is none.
func (p *snapshots) latest() (height uint64, at time.Time) {
	p.mu.RLock()
	defer p.mu.RUnlock()
	if len(p.list) == 0 {
		return 0, time.Time{}
	}
	return p.list[0].height, p.list[0].time
}

// ListSnapshots names the states that are served.
func (a *Application) ListSnapshots(context.Context, *abci.RequestListSnapshots) (*abci.ResponseListSnapshots, error) {
	p := &a.snapshots
	p.mu.RLock()
	defer p.mu.RUnlock()
	out := new(abci.ResponseListSnapshots)
	for _, s := range p.list {
		root := s.view.Root()
		out.Snapshots = append(out.Snapshots, &abci.Snapshot{
			Height: s.height, Format: snapshotFormat, Chunks: uint32(len(s.starts)), Hash: root[:],
		})
	}
	return out, nil
}

// LoadSnapshotChunk makes a chunk. It is empty for one that is not served.
func (a *Application) LoadSnapshotChunk(_ context.Context, req *abci.RequestLoadSnapshotChunk) (_ *abci.ResponseLoadSnapshotChunk, err error) {
	defer a.guardRead(&err)
	p := &a.snapshots
	p.mu.RLock()
	defer p.mu.RUnlock()
	out := new(abci.ResponseLoadSnapshotChunk)
	for _, s := range p.list {
		if s.height == req.Height && req.Format == snapshotFormat && uint64(req.Chunk) < uint64(len(s.starts)) {
			if out.Chunk, err = s.chunk(int(req.Chunk)); err != nil {
				a.log.Error("making a part of a snapshot failed", "height", s.height, "chunk", req.Chunk, "error", err)
				return nil, err
			}
		}
	}
	return out, nil
}

func (s *snapshot) chunk(i int) ([]byte, error) {
	span, c := merkle.Range{Lo: s.starts[i]}, chunk{More: i+1 < len(s.starts)}
	if c.More {
		span.Hi = s.starts[i+1]
	}
	proof, list, err := s.view.ProveRange(span)
	if err != nil {
		return nil, err
	}
	if c.Proof, err = proof.MarshalBinary(); err != nil {
		return nil, err
	}
	c.Values = make([][]byte, len(list))
	for j, r := range list {
		c.Values[j] = r.Value
	}
	if i > 0 {
		return cityid.Marshal(&c)
	}
	log := s.view.Log()
	leaf, _, err := s.view.Prove(cityid.BlockLogKey)
	if err != nil {
		return nil, err
	}
	if c.Log, err = log.MarshalBinary(); err != nil {
		return nil, err
	}
	if c.LogProof, err = leaf.MarshalBinary(); err != nil {
		return nil, err
	}
	return cityid.Marshal(&c)
}

// checkChunk returns what a chunk holds that begins at a bound, in the state with a
// root, and where the next one begins.
func checkChunk(raw []byte, root merkle.Hash, start []byte) (c *chunk, list []store.Record, next []byte, err error) {
	if len(raw) > maxChunk {
		return nil, nil, nil, fmt.Errorf("it has %d octets: at most %d", len(raw), maxChunk)
	}
	c = new(chunk)
	if err := cityid.Unmarshal(raw, c); err != nil {
		return nil, nil, nil, err
	}
	var proof merkle.RangeProof
	if err := proof.UnmarshalBinary(c.Proof); err != nil {
		return nil, nil, nil, err
	}
	keys := proof.Keys()
	if len(keys) == 0 || len(keys) != len(c.Values) {
		return nil, nil, nil, fmt.Errorf("it has %d keys and %d values", len(keys), len(c.Values))
	}
	size := 0
	for i, k := range keys {
		if size >= snapshotChunk {
			return nil, nil, nil, errors.New("it goes on where it should end")
		}
		size += chunkSize(k, c.Values[i])
	}
	if c.More && size < snapshotChunk {
		return nil, nil, nil, errors.New("it ends where it should go on")
	}
	span := merkle.Range{Lo: start}
	if c.More {
		next = after(keys[len(keys)-1])
		span.Hi = next
	}
	entries, err := merkle.CheckRange(root, span, c.Values, proof)
	if err != nil {
		return nil, nil, nil, err
	}
	for i, e := range entries {
		list = append(list, store.Record{Key: e.Key, Value: c.Values[i]})
	}
	return c, list, next, nil
}

// checkLog returns the block log in the first chunk of a state after the block at
// a height. Its leaf in the state commits to it.
func (c *chunk) checkLog(root merkle.Hash, height uint64) (log merkle.Log, err error) {
	if err := log.UnmarshalBinary(c.Log); err != nil {
		return log, err
	}
	var proof merkle.Proof
	if err := proof.UnmarshalBinary(c.LogProof); err != nil {
		return log, err
	}
	if log.Size() != height {
		return log, fmt.Errorf("block log of %d blocks in a state after block %d", log.Size(), height)
	}
	leaf := cityid.BlockLog{First: 1, Size: height, Root: cityid.Digest(log.Root())}
	return log, merkle.Check(root, cityid.BlockLogKey, cityid.MustMarshal(&leaf), proof)
}
