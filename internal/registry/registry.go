// SPDX-License-Identifier: Apache-2.0

// Package registry is the state machine of a zone: it says which transactions
// may change the state, and how.
//
// It is a pure function. The same state, block and transaction give the same
// writes and the same refusal on every machine: no clock, no randomness, no
// environment, no floating point, and no map is ranged over where its order
// could show. Time is the block's.
//
// A transaction applies whole or not at all. Operations run in order, each
// seeing what those before it wrote. Who may do what is one table, in
// authority.go; read that first. The rules for each operation stand above the
// function that carries it out.
//
// What it does is versioned: see [Rules]. The apex plans at which block a chain
// goes from one version to the next.
//
// The state is a map from the keys that package cityid lists (state.go there)
// to deterministic CBOR.
package registry

import (
	"fmt"

	"cityid"
)

// Reader reads one version of the state. Its methods panic when the storage
// below fails: a state machine that can not read has nothing true to say.
type Reader interface {
	// Get returns the value at key, or nil if there is none. The caller must
	// not change it.
	Get(key []byte) []byte
	// Scan calls fn for each pair with lo <= key < hi in byte order until fn
	// returns false. A nil hi means no upper end. fn must not write and must
	// not keep or change the slices.
	Scan(lo, hi []byte, fn func(key, value []byte) bool)
}

// State is a version of the state being written. Reads see the writes made
// before.
type State interface {
	Reader
	// Set stores value at key. Neither slice may be changed afterwards.
	Set(key, value []byte)
	// Delete removes key, if there.
	Delete(key []byte)
}

// stringState is a State that can spare the copy of a key which is a string
// already. SetString is otherwise like Set.
type stringState interface {
	SetString(key string, value []byte)
}

// Block is what the registry knows of the block a transaction stands in.
type Block struct {
	Chain  string      // chain id
	Height uint64      // of the block
	Time   cityid.Time // of the block
	Rules  *Rules      // that the block falls under; nil: the latest this program knows
}

// rules are those the block falls under.
func (b *Block) rules() *Rules {
	if b.Rules != nil {
		return b.Rules
	}
	known := KnownRules()
	return &known[len(known)-1]
}

// Result is what a transaction did, for its receipt.
type Result struct {
	Proposals []uint64 // numbers of the proposals it made, in order
}

// VerifyFunc checks one signature by an encoded public key over a message. It
// must decide as package keys does; callers may put a cache or a batch in
// front.
type VerifyFunc func(pub, msg, sig []byte) error

// Executor applies the transactions of one block. It is used by one goroutine.
type Executor struct {
	state   State
	block   Block
	seen    func(cityid.Digest) bool
	verify  VerifyFunc
	recent  cityid.Recent
	applied map[cityid.Digest]bool         // the ids in recent
	known   map[cityid.Code]*cityid.Record // some records as the state has them, decoded
	rules   *Rules
	set     *settings // nil: to be read
}

// maxRecorded bounds the transactions of a block that are recorded: the ids of
// a block, 34 octets each, are one value of the state, which holds 1 MiB.
const maxRecorded = 30_000

// maxKnown bounds, roughly, the decoded records an executor keeps.
const maxKnown = 10_000

// NewExecutor returns an executor for one block on state. seen reports whether
// a transaction id was recorded in an earlier block and has not expired; the
// state holds all such ids ([Recorded]), so that a caller can keep them at
// hand. verify checks signatures.
func NewExecutor(state State, block Block, seen func(cityid.Digest) bool, verify VerifyFunc) *Executor {
	return &Executor{state: state, block: block, seen: seen, verify: verify, rules: block.rules(), applied: map[cityid.Digest]bool{}, known: map[cityid.Code]*cityid.Record{}}
}

// Recorded calls fn for each transaction id the state still remembers.
func Recorded(r Reader, fn func(id cityid.Digest, expires cityid.Time)) error {
	lo, hi := cityid.RecentRange()
	var failed error
	r.Scan(lo, hi, func(key, value []byte) bool {
		var rec cityid.Recent
		if err := cityid.UnmarshalTrusted(value, &rec); err != nil {
			failed = fmt.Errorf("recorded transactions at %x: %w", key, err)
			return false
		}
		for _, id := range rec.IDs {
			fn(id, rec.Expires)
		}
		return true
	})
	return failed
}

// Admit checks what can be told of a transaction before it is executed: that the
// rules have its operations, the chain, the lifetime, and its signatures. It reads only the parameters of the
// state, and is cheap enough for a mempool.
func Admit(r Reader, block Block, tx *cityid.Tx, body *cityid.Body, verify VerifyFunc) error {
	if err := block.rules().Decodes(body); err != nil {
		return err
	}
	var p cityid.Params // alone: the distribution rule is large
	if err := cityid.UnmarshalTrusted(r.Get(cityid.ParamsKey), &p); err != nil {
		return cityid.Errorf(cityid.ErrInternal, "state at %q: %v", cityid.ParamsKey, err)
	}
	return admit(&p, block, tx, body, verify)
}

func admit(p *cityid.Params, block Block, tx *cityid.Tx, body *cityid.Body, verify VerifyFunc) error {
	switch limit := block.Time + cityid.Time(p.TxLifetime); {
	case body.Chain != block.Chain:
		return cityid.Errorf(cityid.ErrWrongChain, "the transaction is for chain %s, this is %s", body.Chain, block.Chain)
	case body.Expires <= block.Time:
		return cityid.Errorf(cityid.ErrExpired, "the transaction expired at %s, the block's time is %s", body.Expires, block.Time)
	case body.Expires > limit:
		return cityid.Errorf(cityid.ErrExpired, "the transaction expires at %s, more than %d seconds after the block's time %s", body.Expires, p.TxLifetime, block.Time)
	}
	digest := cityid.SigningDigest(tx.Body)
	for i, k := range body.Signers {
		if err := verify([]byte(k), digest[:], tx.Signatures[i]); err != nil {
			return cityid.Errorf(cityid.ErrSignature, "signature by %s: %v", k, err)
		}
	}
	return nil
}

// Apply carries out one transaction, decoded by [cityid.DecodeTx]. On an error,
// which is a [cityid.Error], the state is unchanged.
func (e *Executor) Apply(tx *cityid.Tx, body *cityid.Body) (Result, error) {
	if err := e.rules.Decodes(body); err != nil {
		return Result{}, err
	}
	if e.set == nil {
		set, err := loadSettings(e.state)
		if err != nil {
			return Result{}, err
		}
		e.set = set
	}
	if err := admit(&e.set.params, e.block, tx, body, e.verify); err != nil {
		return Result{}, err
	}
	id := tx.ID()
	if e.seen(id) || e.applied[id] {
		return Result{}, cityid.Errorf(cityid.ErrReplayed, "transaction %s is already recorded", id)
	}
	if len(e.applied) >= maxRecorded {
		return Result{}, cityid.Errorf(cityid.ErrRetry, "the block carries %d transactions already: submit this one again", maxRecorded)
	}
	w := newWork(e.state, e.block, e.set, e.verify)
	w.known = e.known
	actor := cityid.KeysOf(body.Signers...)
	for i := range body.Operations {
		if err := w.operation(&body.Operations[i], actor, body.Signers); err != nil {
			return Result{}, atOperation(err, i)
		}
	}
	w.commit(e.state)
	if len(e.known) > maxKnown {
		clear(e.known)
	}
	for code, r := range w.records {
		// Objects have nothing below them, so others hardly read them.
		if r.Kind != cityid.KindObject {
			e.known[code] = r
		}
	}
	if w.settingsChanged {
		e.set = nil
	}
	e.recent.IDs = append(e.recent.IDs, id)
	e.applied[id] = true
	e.recent.Expires = max(e.recent.Expires, body.Expires)
	return Result{Proposals: w.proposals}, nil
}

// End finishes a block that carries transactions: it remembers the ids of those
// that applied and forgets those of the oldest blocks, as far as they have
// expired. A block that outlives a later one keeps that one too, for no longer
// than a transaction may live. It must be called once, after the last Apply,
// and only if the block carries transactions.
func (e *Executor) End() error {
	lo, hi := cityid.RecentRange()
	var gone [][]byte
	var failed error
	e.state.Scan(lo, hi, func(key, value []byte) bool {
		var rec cityid.Recent
		if failed = cityid.UnmarshalTrusted(value, &rec); failed != nil || rec.Expires > e.block.Time {
			return false
		}
		gone = append(gone, append([]byte(nil), key...))
		return true
	})
	if failed != nil {
		return fmt.Errorf("recorded transactions: %w", failed)
	}
	for _, k := range gone {
		e.state.Delete(k)
	}
	if len(e.recent.IDs) > 0 {
		e.state.Set(cityid.RecentKey(e.block.Height), cityid.MustMarshal(&e.recent))
	}
	return nil
}

// because is err's message without its code and operation, to stand inside
// another.
func because(err error) string {
	if c, ok := err.(*cityid.Error); ok {
		return c.Message
	}
	return err.Error()
}

func atOperation(err error, i int) error {
	if c, ok := err.(*cityid.Error); ok && c.Operation < 0 {
		c.Operation = i
		return c
	}
	return err
}
