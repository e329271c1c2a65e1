// SPDX-License-Identifier: Apache-2.0

package chain

import (
	"slices"
	"sync"

	"github.com/cometbft/cometbft/types"

	"cityid"
)

// tracker follows transactions from their arrival at this node until a signed
// header commits to their effect. It is safe for concurrent use.
type tracker struct {
	mu       sync.Mutex
	admitted map[types.TxKey]pooled           // checked by Submit, on the way into the mempool
	pool     map[types.TxKey]pooled           // in the mempool
	ids      map[cityid.Digest]types.TxKey    // of pool
	recorded map[cityid.Digest]cityid.Time    // applied in a committed block -> when it expires
	waiting  map[cityid.Digest][]*waiter      // for a block
	standing map[cityid.PublicKey]cityid.Time // who had something applied lately -> when
	unproven []*waiter                        // for the header after their block
	provable uint64                           // height up to which signed headers commit to the state
	swept    cityid.Time                      // block time when pool and recorded were last cleared
	kept     int                              // octets of transactions in pool that are kept decoded
	closed   bool
}

// sweepInterval is the block time, in seconds, between two looks for what has
// expired.
const sweepInterval = 5

// Signers whose transactions were applied are remembered for so many seconds of
// block time, and so many of them. The others are looked up in the state again.
const (
	standingTime = 600
	maxStanding  = 10_000
)

// pooled is what a node remembers of a transaction that waits.
type pooled struct {
	id        cityid.Digest
	expires   cityid.Time
	postponed int // how often it was left for a later block
	// What was decoded of it, and how many octets that was; nil once too much is
	// kept. Nobody changes it.
	tx   *cityid.Tx
	body *cityid.Body
	size int
}

// maxKept is how many octets of waiting transactions are kept decoded, so that they
// need not be decoded again in their block.
const maxKept = 32 << 20

// maxPostponed is how often a transaction is left for a later block. Then it is
// proposed, and refused in the block if its time is still wrong: this node's
// clock may be.
const maxPostponed = 3

// waiter waits for one transaction. done is closed once receipt or err is set.
type waiter struct {
	expires cityid.Time
	done    chan struct{}
	receipt cityid.Receipt
	err     error
	settled bool // done is closed
	inBlock bool // receipt is set
}

func (w *waiter) settle(err error) {
	if !w.settled {
		w.settled, w.err = true, err
		close(w.done)
	}
}

func newTracker() *tracker {
	return &tracker{
		admitted: make(map[types.TxKey]pooled),
		pool:     make(map[types.TxKey]pooled),
		ids:      make(map[cityid.Digest]types.TxKey),
		recorded: make(map[cityid.Digest]cityid.Time),
		waiting:  make(map[cityid.Digest][]*waiter),
		standing: make(map[cityid.PublicKey]cityid.Time),
	}
}

func errClosed() error { return cityid.Errorf(cityid.ErrUnavailable, "the node is stopping") }

// wait registers a waiter for a transaction.
func (t *tracker) wait(id cityid.Digest, expires cityid.Time) *waiter {
	t.mu.Lock()
	defer t.mu.Unlock()
	w := &waiter{expires: expires, done: make(chan struct{})}
	if t.closed {
		w.settle(errClosed())
		return w
	}
	t.waiting[id] = append(t.waiting[id], w)
	return w
}

// forget takes a waiter back.
func (t *tracker) forget(id cityid.Digest, w *waiter) {
	t.mu.Lock()
	defer t.mu.Unlock()
	is := func(x *waiter) bool { return x == w }
	t.unproven = slices.DeleteFunc(t.unproven, is)
	if rest := slices.DeleteFunc(t.waiting[id], is); len(rest) > 0 {
		t.waiting[id] = rest
	} else {
		delete(t.waiting, id)
	}
}

// found gives a waiter the receipt of a transaction that is in a block already.
func (t *tracker) found(id cityid.Digest, w *waiter, r *cityid.Receipt) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !w.inBlock {
		t.waiting[id] = slices.DeleteFunc(t.waiting[id], func(x *waiter) bool { return x == w })
		t.execute(w, r)
	}
}

// execute gives w its receipt. A refusal needs no proof; success is reported
// once it has one.
func (t *tracker) execute(w *waiter, r *cityid.Receipt) {
	w.receipt, w.inBlock = *r, true
	if r.Code != cityid.OK || r.Height <= t.provable {
		w.receipt.Provable = r.Height <= t.provable
		w.settle(nil)
		return
	}
	t.unproven = append(t.unproven, w)
}

// signed notes that a signed header commits to the state after height.
func (t *tracker) signed(height uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if height <= t.provable {
		return
	}
	t.provable = height
	t.unproven = slices.DeleteFunc(t.unproven, func(w *waiter) bool {
		if w.receipt.Height > height {
			return false
		}
		w.receipt.Provable = true
		w.settle(nil)
		return true
	})
}

func (t *tracker) provableHeight() uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.provable
}

// admit notes that Submit has checked a transaction in full. release takes the
// note back.
func (t *tracker) admit(key types.TxKey, p pooled) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.admitted[key] = p
}

func (t *tracker) release(key types.TxKey) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.admitted, key)
}

func (t *tracker) wasAdmitted(key types.TxKey) (pooled, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	p, ok := t.admitted[key]
	return p, ok
}

// enter notes that a transaction is in the mempool, unless its id was recorded
// or another transaction with its id waits.
func (t *tracker) enter(key types.TxKey, p pooled) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, ok := t.recorded[p.id]; ok {
		return cityid.Errorf(cityid.ErrReplayed, "transaction %s is already recorded", p.id)
	}
	if other, ok := t.ids[p.id]; ok && other != key {
		return cityid.Errorf(cityid.ErrReplayed, "transaction %s is already waiting", p.id)
	}
	t.leave(key) // should it come again
	if t.kept+p.size > maxKept {
		p.tx, p.body, p.size = nil, nil, 0
	}
	t.kept += p.size
	t.pool[key], t.ids[p.id] = p, key
	return nil
}

// waits reports whether a transaction with the id is in the mempool.
func (t *tracker) waits(id cityid.Digest) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	_, ok := t.ids[id]
	return ok
}

// inPool returns what is known of a transaction in the mempool.
func (t *tracker) inPool(key types.TxKey) (pooled, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	p, ok := t.pool[key]
	return p, ok
}

// postpone notes that a transaction is left for a later block, and reports
// whether it may be.
func (t *tracker) postpone(key types.TxKey) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	p, ok := t.pool[key]
	if !ok || p.postponed == maxPostponed {
		return false
	}
	p.postponed++
	t.pool[key] = p
	return true
}

// isRecorded reports whether a committed block applied the transaction.
func (t *tracker) isRecorded(id cityid.Digest) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	_, ok := t.recorded[id]
	return ok
}

// stands reports whether one of the signers had something applied lately.
func (t *tracker) stands(signers []cityid.PublicKey) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.ContainsFunc(signers, func(k cityid.PublicKey) bool {
		_, ok := t.standing[k]
		return ok
	})
}

// remember notes a transaction that was applied in a committed block.
func (t *tracker) remember(id cityid.Digest, expires cityid.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.recorded[id] = expires
}

// committed takes note of a committed block: its transactions leave the pool,
// those applied are remembered, and whoever waits for one gets its receipt. It
// returns the mempool's transactions that have expired.
func (t *tracker) committed(s *staged) (expired []types.TxKey) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, key := range s.keys {
		t.leave(key)
	}
	for _, a := range s.applied {
		t.recorded[a.id] = a.expires
	}
	now := cityid.TimeOf(s.time)
	for _, k := range s.signers {
		if _, ok := t.standing[k]; ok || len(t.standing) < maxStanding {
			t.standing[k] = now
		}
	}
	for i := range s.receipts {
		r := &s.receipts[i]
		for _, w := range t.waiting[r.ID] {
			t.execute(w, r)
		}
		delete(t.waiting, r.ID)
	}
	if now < t.swept+sweepInterval {
		return nil
	}
	t.swept = now
	for id, expires := range t.recorded {
		if expires <= now {
			delete(t.recorded, id)
		}
	}
	for k, at := range t.standing {
		if at+standingTime <= now {
			delete(t.standing, k)
		}
	}
	for key, p := range t.pool {
		if p.expires <= now {
			expired = append(expired, key)
			t.leave(key)
		}
	}
	for id, list := range t.waiting {
		if t.waiting[id] = slices.DeleteFunc(list, func(w *waiter) bool { return t.lapse(id, w, now) }); len(t.waiting[id]) == 0 {
			delete(t.waiting, id)
		}
	}
	return expired
}

// lapse tells a waiter whose transaction can no longer be recorded.
func (t *tracker) lapse(id cityid.Digest, w *waiter, now cityid.Time) bool {
	if w.expires > now {
		return false
	}
	w.settle(cityid.Errorf(cityid.ErrExpired, "transaction %s expired at %s before a block took it: sign and submit it again", id, w.expires))
	return true
}

// leaveAll notes that transactions have left the mempool.
func (t *tracker) leaveAll(keys []types.TxKey) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, key := range keys {
		t.leave(key)
	}
}

func (t *tracker) leave(key types.TxKey) {
	if p, ok := t.pool[key]; ok {
		delete(t.ids, p.id)
		delete(t.pool, key)
		t.kept -= p.size
	}
}

// close tells all who wait that the node is stopping.
func (t *tracker) close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closed = true
	for _, list := range t.waiting {
		for _, w := range list {
			w.settle(errClosed())
		}
	}
	for _, w := range t.unproven {
		w.settle(errClosed())
	}
	t.waiting, t.unproven = make(map[cityid.Digest][]*waiter), nil
}
