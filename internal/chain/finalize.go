// SPDX-License-Identifier: Apache-2.0

package chain

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	abci "github.com/cometbft/cometbft/abci/types"
	"github.com/cometbft/cometbft/crypto/ed25519"
	"github.com/cometbft/cometbft/types"

	"cityid"
	"cityid/internal/registry"
	"cityid/internal/store"
	"cityid/merkle"
)

// staged is a block that was carried out and not committed.
type staged struct {
	batch    *store.Batch
	state    store.Must // the same, for package registry
	height   uint64
	time     time.Time
	root     cityid.Digest
	logged   uint64             // blocks in the block log before
	keys     []types.TxKey      // of the transactions it carries
	applied  []pooled           // of those that were applied
	receipts []cityid.Receipt   // of all, except repetitions of one applied before and forged ones
	signers  []cityid.PublicKey // who could have something applied
	rules    *registry.Rules    // it falls under
	next     upcoming           // what the next block falls under
	results  []*abci.ExecTxResult
	updates  []abci.ValidatorUpdate
}

// stage begins a block on the committed state, or on the genesis.
func (a *Application) stage(height uint64, at time.Time) (*staged, error) {
	if h := a.committed().Height; height != h+1 {
		return nil, fmt.Errorf("block %d does not follow block %d", height, h)
	}
	next := a.upcomingRules()
	if next.err != nil {
		return nil, next.err
	}
	batch, err := a.store.Begin()
	if err != nil {
		return nil, err
	}
	s := &staged{
		batch: batch, state: store.Must{ReadWriter: batch}, height: height, time: at, rules: next.rules, logged: batch.LogSize(),
	}
	if height == 1 {
		// The state after the genesis is what header 1 commits to; block 1 is
		// carried out on top of it.
		if err := a.genesis.State.Init(s.state, a.genesis.block(), a.cache.verify); err != nil {
			batch.Discard()
			return nil, fmt.Errorf("genesis: %w", err)
		}
	}
	return s, nil
}

// decodedTx is a transaction of a block; err says why it can not be decoded.
type decodedTx struct {
	key  types.TxKey
	id   cityid.Digest
	tx   *cityid.Tx
	body *cityid.Body
	err  error
}

// decode decodes the transactions of a block, which falls under the rules, on all
// processors.
func (a *Application) decode(rules *registry.Rules, raws [][]byte) []decodedTx {
	out := make([]decodedTx, len(raws))
	a.inParallel(len(raws), func(lo, hi int) {
		for i := lo; i < hi; i++ {
			out[i] = a.decodeOne(rules, raws[i])
		}
	})
	return out
}

// decodeOne decodes a transaction of a block under the rules, unless it is kept
// decoded since it came to the mempool: the key is a hash of all its octets, so it is
// the same. Under nil rules it may be of any version. Should the decoder panic, the
// transaction is one that can not be decoded, on every node alike.
func (a *Application) decodeOne(rules *registry.Rules, raw []byte) (d decodedTx) {
	d.key = types.Tx(raw).Key()
	defer func() {
		if p := recover(); p != nil {
			d.err = cityid.Errorf(cityid.ErrMalformed, "transaction can not be decoded")
		}
	}()
	if p, ok := a.track.inPool(d.key); ok && p.tx != nil {
		d.id, d.tx, d.body = p.id, p.tx, p.body
	} else if d.tx, d.body, d.err = cityid.DecodeTx(raw); d.err == nil {
		d.id = d.tx.ID()
	}
	if d.err == nil && rules != nil {
		d.err = rules.Decodes(d.body)
	}
	return d
}

// inParallel splits 0..n into one part for each processor.
func (a *Application) inParallel(n int, do func(lo, hi int)) {
	parts := min(runtime.GOMAXPROCS(0), (n+15)/16)
	if parts <= 1 {
		do(0, n)
		return
	}
	var wg sync.WaitGroup
	for p := range parts {
		wg.Go(func() { do(p*n/parts, (p+1)*n/parts) })
	}
	wg.Wait()
}

// warm verifies the signatures of transactions in batches, as far as they are not
// remembered.
func (a *Application) warm(list []decodedTx) {
	var sigs []signature
	for _, d := range list {
		if d.err != nil || d.body.Chain != a.genesis.Chain {
			continue
		}
		digest := cityid.SigningDigest(d.tx.Body)
		for i, k := range d.body.Signers {
			sigs = append(sigs, signature{[]byte(k), digest[:], d.tx.Signatures[i]})
		}
	}
	a.cache.warm(sigs)
}

// PrepareProposal leaves out what could only be refused: transactions that have
// expired or are recorded already; they leave the mempool, where they would
// cause one empty block after the other. Those whose lifetime is too long for
// the block's time wait for the next ones: after a stop of the whole network the
// first block has an old time.
func (a *Application) PrepareProposal(_ context.Context, req *abci.RequestPrepareProposal) (_ *abci.ResponsePrepareProposal, err error) {
	defer a.guardRead(&err)
	next := a.upcomingRules()
	if next.err != nil {
		return &abci.ResponsePrepareProposal{}, nil
	}
	now := cityid.TimeOf(req.Time)
	latest := now + cityid.Time(a.txLifetime())
	seen := make(map[cityid.Digest]bool, len(req.Txs))
	out := make([][]byte, 0, len(req.Txs))
	var drop []types.TxKey
	var size int64
	for _, raw := range req.Txs {
		key := types.Tx(raw).Key()
		p, ok := a.track.inPool(key)
		if !ok {
			d := a.decodeOne(next.rules, raw)
			if d.err != nil || d.body.Chain != a.genesis.Chain {
				drop = append(drop, key)
				continue
			}
			p = pooled{id: d.id, expires: d.body.Expires}
		}
		if p.expires <= now || seen[p.id] || a.track.isRecorded(p.id) {
			drop = append(drop, key)
			continue
		}
		if p.expires > latest && a.track.postpone(key) {
			continue
		}
		if size += types.ComputeProtoSizeForTxs([]types.Tx{raw}); size > req.MaxTxBytes {
			break
		}
		seen[p.id] = true
		out = append(out, raw)
	}
	a.drop(drop)
	return &abci.ResponsePrepareProposal{Txs: out}, nil
}

// txLifetime returns the longest time, in seconds, a transaction may ask for.
func (a *Application) txLifetime() uint32 {
	if a.committed().Height == 0 {
		return a.genesis.State.Params.TxLifetime
	}
	view, err := a.store.Latest()
	if err != nil {
		panic(err)
	}
	defer view.Close()
	var params cityid.Params
	if err := cityid.UnmarshalTrusted(reader{view}.Get(cityid.ParamsKey), &params); err != nil {
		panic(err)
	}
	return params.TxLifetime
}

// ProcessProposal refuses blocks no honest proposer makes: with a transaction
// that can not be decoded, is for another chain, or stands there twice. It refuses
// all under rules that this program does not have.
func (a *Application) ProcessProposal(_ context.Context, req *abci.RequestProcessProposal) (*abci.ResponseProcessProposal, error) {
	reject := func(why string, args ...any) (*abci.ResponseProcessProposal, error) {
		a.log.Warn("refused a proposed block", append([]any{"height", req.Height, "why", why}, args...)...)
		return &abci.ResponseProcessProposal{Status: abci.ResponseProcessProposal_REJECT}, nil
	}
	next := a.upcomingRules()
	if next.err != nil {
		return reject("its rules are unknown", "error", next.err)
	}
	txs := a.decode(next.rules, req.Txs)
	ids := make(map[cityid.Digest]bool, len(txs))
	for i, d := range txs {
		switch {
		case d.err != nil:
			return reject("a transaction can not be decoded", "index", i, "error", d.err)
		case d.body.Chain != a.genesis.Chain:
			return reject("a transaction is for another chain", "index", i, "chain", d.body.Chain)
		case ids[d.id]:
			return reject("a transaction stands in it twice", "index", i, "id", d.id)
		}
		ids[d.id] = true
	}
	a.begin(req, txs)
	return &abci.ResponseProcessProposal{Status: abci.ResponseProcessProposal_ACCEPT}, nil
}

// resultData is the part of a transaction's result that headers commit to.
type resultData struct {
	Operation int      `cbor:"1,keyasint"`
	Proposals []uint64 `cbor:"2,keyasint,omitempty"`
}

// FinalizeBlock carries out a decided block on top of the committed state. What
// an earlier call staged is dropped.
func (a *Application) FinalizeBlock(_ context.Context, req *abci.RequestFinalizeBlock) (_ *abci.ResponseFinalizeBlock, err error) {
	defer a.guard("FinalizeBlock", &err)
	// The block is decided, so the header is signed that commits to the state
	// before it.
	a.track.signed(uint64(req.Height) - 1)
	if err := a.signing.check(req.Height-1, req.DecidedLastCommit.Votes); err != nil {
		return nil, err
	}
	if a.staged != nil {
		a.staged.batch.Discard()
		a.staged = nil
	}
	s := a.takeAhead(req)
	if s == nil {
		next := a.upcomingRules()
		if next.err != nil {
			return nil, next.err
		}
		txs := a.decode(next.rules, req.Txs)
		if s, err = a.carryOut(uint64(req.Height), req.Time, req.Hash, txs, new(atomic.Bool)); err != nil {
			return nil, err
		}
	}
	if err := a.record(s, req.Misbehavior); err != nil {
		s.batch.Discard()
		return nil, err
	}
	for _, r := range s.results {
		a.metrics.transactions.WithLabelValues(verdict(r.Code)).Inc()
	}
	a.staged = s
	return &abci.ResponseFinalizeBlock{
		TxResults:             s.results,
		ValidatorUpdates:      s.updates,
		ConsensusParamUpdates: s.next.paramUpdates(s.rules),
		AppHash:               s.root[:],
	}, nil
}

// execute carries out the transactions of a block, until it is told to stop.
func (a *Application) execute(s *staged, txs []decodedTx, stop *atomic.Bool) error {
	if len(txs) == 0 {
		return nil
	}
	a.inParallel(len(txs), func(lo, hi int) { a.warm(txs[lo:hi]) })
	block := registry.Block{Chain: a.genesis.Chain, Height: s.height, Time: cityid.TimeOf(s.time), Rules: s.rules}
	exec := registry.NewExecutor(s.state, block, a.track.isRecorded, a.cache.verify)
	s.results = make([]*abci.ExecTxResult, len(txs))
	for i := range txs {
		if stop.Load() {
			return errStopped
		}
		s.results[i] = a.apply(exec, s, &txs[i])
	}
	if err := exec.End(); err != nil {
		return err
	}
	return a.keepReceipts(s)
}

// apply carries out one transaction and notes its receipt.
func (a *Application) apply(exec *registry.Executor, s *staged, d *decodedTx) *abci.ExecTxResult {
	s.keys = append(s.keys, d.key)
	var result registry.Result
	err := d.err
	if err == nil {
		result, err = exec.Apply(d.tx, d.body)
	}
	r := cityid.Receipt{ID: d.id, Height: s.height, Time: cityid.TimeOf(s.time), Proposals: result.Proposals}
	if err == nil {
		s.applied = append(s.applied, pooled{id: d.id, expires: d.body.Expires})
		if slices.ContainsFunc(d.body.Operations, authorizes) {
			s.signers = append(s.signers, d.body.Signers...)
		}
	} else {
		r.Code, r.Operation, r.Message = cityid.CodeOf(err), -1, messageOf(err)
		var refusal *cityid.Error
		if errors.As(err, &refusal) {
			r.Operation = refusal.Operation
		}
	}
	// Whoever makes a block could put any transaction into it with a broken
	// signature: that says nothing about the one its signers made.
	if d.err == nil && r.Code != cityid.ErrReplayed && r.Code != cityid.ErrSignature {
		s.receipts = append(s.receipts, r)
	}
	return &abci.ExecTxResult{
		Code: uint32(r.Code),
		Data: cityid.MustMarshal(&resultData{Operation: r.Operation, Proposals: r.Proposals}),
		Log:  r.Message,
	}
}

// extendLog appends the hashes of all blocks since the last one with
// transactions, up to this one, to the block log, and writes its size and root
// into the state.
func (a *Application) extendLog(s *staged, hash cityid.Digest) error {
	next := 1 + s.batch.LogSize()
	var failed error
	add := func(height uint64, hash []byte) {
		if height != next {
			failed = fmt.Errorf("block log: the hash of block %d is missing beside the state", next)
			return
		}
		next++
		failed = s.batch.AppendLog(merkle.LogLeafHash(hash))
	}
	err := a.store.ScanSide(blockKey(next), blockKey(s.height), func(key, value []byte) bool {
		if add(binary.BigEndian.Uint64(key[1:]), value); failed == nil {
			failed = s.batch.DeleteSide(bytes.Clone(key))
		}
		return failed == nil
	})
	if err != nil {
		return err
	}
	if failed == nil {
		add(s.height, hash[:])
	}
	if failed != nil {
		return failed
	}
	log := cityid.BlockLog{First: 1, Size: s.batch.LogSize(), Root: cityid.Digest(s.batch.LogRoot())}
	return s.batch.Set(cityid.BlockLogKey, cityid.MustMarshal(&log))
}

// validatorUpdates returns what has to change for the validators of after to
// follow those of before. Nothing is said about a validator that stays as it
// is, or that is in neither set: CometBFT halts on such.
func validatorUpdates(before, after cityid.ValidatorSet) []abci.ValidatorUpdate {
	find := func(set cityid.ValidatorSet, key cityid.PublicKey) int64 {
		i := slices.IndexFunc(set.Validators, func(v cityid.Validator) bool { return v.Key == key })
		if i < 0 {
			return 0
		}
		return set.Validators[i].Power
	}
	var out []abci.ValidatorUpdate
	for _, v := range after.Validators {
		if find(before, v.Key) != v.Power {
			out = append(out, abci.UpdateValidator([]byte(v.Key[1:]), v.Power, ed25519.KeyType))
		}
	}
	for _, v := range before.Validators {
		if find(after, v.Key) == 0 {
			out = append(out, abci.UpdateValidator([]byte(v.Key[1:]), 0, ed25519.KeyType))
		}
	}
	return out
}
