// SPDX-License-Identifier: Apache-2.0

package chain

import (
	"bytes"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	abci "github.com/cometbft/cometbft/abci/types"

	"cityid/internal/registry"
)

// errStopped: nobody wants the block any more.
var errStopped = errors.New("stopped")

// ahead is a proposed block that is carried out while validators vote on it. What
// comes of it is staged in memory like any block; FinalizeBlock takes it if it is
// the block that was decided, and otherwise it is dropped. Nothing depends on
// whether it was: carrying out a block again gives the same.
type ahead struct {
	hash   []byte
	height int64
	time   time.Time
	txs    int

	stop atomic.Bool
	done chan struct{} // closed once staged is set
	// What came of it; nil if it failed, which is for FinalizeBlock to meet again.
	staged *staged
}

// begin carries out an accepted proposal in a goroutine of its own, in the place of
// the one before. The consensus connection alone calls it.
func (a *Application) begin(req *abci.RequestProcessProposal, txs []decodedTx) {
	if x := a.ahead; x != nil && x.is(req.Hash, req.Height, req.Time, len(req.Txs)) {
		return // proposed once more, or said again
	}
	a.dropAhead()
	if len(txs) == 0 || req.Height != int64(a.committed().Height)+1 {
		return
	}
	x := &ahead{hash: bytes.Clone(req.Hash), height: req.Height, time: req.Time, txs: len(txs), done: make(chan struct{})}
	a.ahead = x
	go func() {
		defer close(x.done)
		defer func() {
			if p := recover(); p != nil {
				a.log.Warn("carrying out a proposed block panicked; if it is decided, it is tried again", "height", x.height, "panic", p)
			}
		}()
		s, err := a.carryOut(uint64(x.height), x.time, x.hash, txs, &x.stop)
		if err != nil && !errors.Is(err, errStopped) {
			a.log.Warn("a proposed block could not be carried out; if it is decided, it is tried again", "height", x.height, "error", err)
		}
		x.staged = s
	}()
}

func (x *ahead) is(hash []byte, height int64, at time.Time, txs int) bool {
	return bytes.Equal(x.hash, hash) && x.height == height && x.time.Equal(at) && x.txs == txs
}

// takeAhead returns the decided block as it was carried out ahead, or nil.
func (a *Application) takeAhead(req *abci.RequestFinalizeBlock) *staged {
	x := a.ahead
	if x == nil || !x.is(req.Hash, req.Height, req.Time, len(req.Txs)) {
		a.dropAhead()
		return nil
	}
	<-x.done
	a.ahead = nil
	return x.staged
}

// dropAhead ends what is carried out ahead and waits for the end.
func (a *Application) dropAhead() {
	x := a.ahead
	if x == nil {
		return
	}
	x.stop.Store(true)
	<-x.done
	if x.staged != nil {
		x.staged.batch.Discard()
	}
	a.ahead = nil
}

// carryOut carries out a block with the given hash on top of the committed state and
// stages what comes of it. It may be told to stop. An error leaves nothing behind.
func (a *Application) carryOut(height uint64, at time.Time, hash []byte, txs []decodedTx, stop *atomic.Bool) (_ *staged, err error) {
	defer since(a.metrics.execute, time.Now())
	s, err := a.stage(height, at)
	if err != nil {
		return nil, err
	}
	finished := false
	defer func() {
		if !finished { // by an error or a panic
			s.batch.Discard()
		}
	}()
	digest, err := digestOf(hash)
	if err != nil {
		return nil, fmt.Errorf("block %d: %w", height, err)
	}
	before := registry.Validators(s.state)
	if err := a.execute(s, txs, stop); err != nil {
		return nil, err
	}
	if len(txs) > 0 {
		err = a.extendLog(s, digest)
	} else {
		err = s.batch.SetSide(blockKey(s.height), digest[:])
	}
	if err != nil {
		return nil, err
	}
	root, err := s.batch.Root()
	if err != nil {
		return nil, err
	}
	copy(s.root[:], root[:])
	s.next = a.upcoming(s.state, s.height+1)
	s.updates = validatorUpdates(before, registry.Validators(s.state))
	finished = true
	return s, nil
}
