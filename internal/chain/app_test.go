// SPDX-License-Identifier: Apache-2.0

package chain_test

import (
	"bytes"
	"fmt"
	"reflect"
	"testing"
	"time"

	abci "github.com/cometbft/cometbft/abci/types"
	"github.com/cometbft/cometbft/light"
	"github.com/cometbft/cometbft/types"

	"cityid"
	"cityid/header"
	"cityid/internal/chain"
	"cityid/internal/chain/chaintest"
	"cityid/keys"
	"cityid/merkle"
)

func TestFinalizeTwice(t *testing.T) {
	e := newEngine(t, "")
	before := status(t, e)
	raws := [][]byte{
		chaintest.Tx(engineChain, e.Now(), city(1)),
		chaintest.Tx(engineChain, e.Now(), chaintest.Allocate(chaintest.Allocation("MA.156.1001.01", cityid.KindDepartment))),
		chaintest.TxBy(engineChain, e.Now(), []cityid.Signer{chaintest.Key(9)}, city(2)),
		[]byte("nonsense"),
	}
	raws = append(raws, raws[0])
	req := &abci.RequestFinalizeBlock{Height: int64(before.Height) + 1, Time: e.Now().Add(time.Second), Hash: bytes.Repeat([]byte{7}, 32), Txs: raws}
	first, err := e.App().FinalizeBlock(ctx, req)
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []cityid.ErrorCode{cityid.OK, cityid.OK, cityid.ErrNotPermitted, cityid.ErrMalformed, cityid.ErrReplayed} {
		if got := cityid.ErrorCode(first.TxResults[i].Code); got != want {
			t.Errorf("transaction %d: %s, want %s (%s)", i, got, want, first.TxResults[i].Log)
		}
	}
	if bytes.Equal(first.AppHash, before.AppHash[:]) {
		t.Error("transactions do not change the app hash")
	}
	second, err := e.App().FinalizeBlock(ctx, req)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(first, second) {
		t.Errorf("carried out twice:\n%v\n%v", first, second)
	}
	info, err := e.App().Info(ctx, &abci.RequestInfo{})
	if err != nil || info.LastBlockHeight != int64(before.Height) || !bytes.Equal(info.LastBlockAppHash, before.AppHash[:]) {
		t.Errorf("staged work shows: %v, %v", info, err)
	}
	// Another block of the same height replaces what was staged.
	req.Txs, req.Hash = nil, bytes.Repeat([]byte{8}, 32)
	empty, err := e.App().FinalizeBlock(ctx, req)
	if err != nil || !bytes.Equal(empty.AppHash, before.AppHash[:]) {
		t.Errorf("a block without transactions: %v, %v", empty, err)
	}
	submit(t, e, city(1))
}

// However far a block came before a crash, the chain goes on with it to the
// same hash.
func TestCrash(t *testing.T) {
	grow := func(e *chain.Engine, crash int) {
		t.Helper()
		for i := range 4 {
			submit(t, e, city(i))
		}
		if _, err := e.Submit(ctx, chaintest.Tx(engineChain, e.Now(), city(4)), false); err != nil {
			t.Fatal(err)
		}
		if crash < 0 {
			if err := e.MakeBlock(); err != nil {
				t.Fatal(err)
			}
		} else if err := e.Crash(crash); err != nil {
			t.Fatal(err)
		}
	}
	sound := newEngine(t, "")
	grow(sound, -1)
	want := status(t, sound)
	for point := chain.CrashSaved; point <= chain.CrashCommitted; point++ {
		dir := t.TempDir()
		grow(newEngine(t, dir), point)
		e := newEngine(t, dir)
		if got := status(t, e); got.Height != want.Height || got.AppHash != want.AppHash {
			t.Errorf("crash point %d: height %d, hash %s; want %d, %s", point, got.Height, got.AppHash, want.Height, want.AppHash)
		}
		if _, err := e.Record(ctx, cityid.MustParse("MA.156.1004")); err != nil {
			t.Errorf("crash point %d: %v", point, err)
		}
		submit(t, e, city(5))
	}
}

func TestBlockLog(t *testing.T) {
	e := newEngine(t, "")
	for i := range 5 {
		submit(t, e, city(i))
		for range i {
			if err := e.MakeBlock(); err != nil {
				t.Fatal(err)
			}
		}
	}
	r := submit(t, e, city(9))
	v, err := e.View()
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	raw, err := v.Get(cityid.BlockLogKey)
	if err != nil {
		t.Fatal(err)
	}
	var log cityid.BlockLog
	if err := cityid.Unmarshal(raw, &log); err != nil {
		t.Fatal(err)
	}
	if log.First != 1 || log.Size != r.Height {
		t.Fatalf("log %+v after block %d", log, r.Height)
	}
	var want merkle.Log
	for h := int64(1); h <= int64(log.Size); h++ {
		b, err := e.LightBlock(h)
		if err != nil {
			t.Fatal(err)
		}
		want.Append(merkle.LogLeafHash(b.Hash()), nil)
	}
	if cityid.Digest(want.Root()) != log.Root {
		t.Fatalf("root %s, want %s", log.Root, want.Root())
	}
	for h := range log.Size {
		p, err := v.ProveInclusion(h, log.Size)
		if err != nil {
			t.Fatal(err)
		}
		b, err := e.LightBlock(int64(h) + 1)
		if err != nil {
			t.Fatal(err)
		}
		if err := merkle.CheckInclusion(merkle.Hash(log.Root), h, log.Size, merkle.LogLeafHash(b.Hash()), p); err != nil {
			t.Errorf("block %d: %v", h+1, err)
		}
	}
}

// CometBFT's light client and package header agree on every block.
func checkHeaders(t *testing.T, lightBlock func(int64) (*types.LightBlock, error), last int64) {
	t.Helper()
	now := time.Now().Add(100 * 365 * 24 * time.Hour)
	var before *types.LightBlock
	var trusted *header.Header
	for height := int64(1); height <= last; height++ {
		b, err := lightBlock(height)
		if err != nil {
			t.Fatal(err)
		}
		h, vals, c, err := chain.Convert(b)
		if err != nil {
			t.Fatal(err)
		}
		if got := h.Hash(); !bytes.Equal(got[:], b.Hash()) {
			t.Fatalf("block %d: hash %s, CometBFT says %X", height, got, b.Hash())
		}
		if got := vals.Hash(); !bytes.Equal(got[:], b.ValidatorSet.Hash()) {
			t.Fatalf("block %d: validators hash %s, CometBFT says %X", height, got, b.ValidatorSet.Hash())
		}
		if err := header.VerifyCommit(h.ChainID, vals, h, c, keys.VerifyEd25519); err != nil {
			t.Fatalf("block %d: %v", height, err)
		}
		if before != nil {
			if err := light.VerifyAdjacent(before.SignedHeader, b.SignedHeader, b.ValidatorSet, 200*365*24*time.Hour, now, time.Second); err != nil {
				t.Fatalf("block %d: CometBFT: %v", height, err)
			}
			if err := header.VerifyAdjacent(trusted, h, vals, c, keys.VerifyEd25519); err != nil {
				t.Fatalf("block %d: %v", height, err)
			}
		}
		before, trusted = b, h
	}
}

func TestHeadersAreCometBFTs(t *testing.T) {
	e := newEngine(t, "")
	for i := range 3 {
		submit(t, e, city(i))
	}
	set := cityid.SetValidators{Revision: 1, Validators: []cityid.Validator{chain.EngineValidator(), {Key: chaintest.Key(5).Key, Power: 2}}}
	if set.Validators[0].Key > set.Validators[1].Key {
		set.Validators[0], set.Validators[1] = set.Validators[1], set.Validators[0]
	}
	r := submit(t, e, cityid.Operation{SetValidators: &set})
	for range 3 {
		if err := e.MakeBlock(); err != nil {
			t.Fatal(err)
		}
	}
	submit(t, e, city(10))
	s := status(t, e)
	if len(s.Validators.Validators) != 2 {
		t.Errorf("validators %+v", s.Validators)
	}
	for height, want := range map[int64]int{int64(r.Height) + 1: 1, int64(r.Height) + 2: 2} {
		b, err := e.LightBlock(height)
		if err != nil {
			t.Fatal(err)
		}
		if b.ValidatorSet.Size() != want {
			t.Errorf("change in block %d: %d validators at height %d, want %d", r.Height, b.ValidatorSet.Size(), height, want)
		}
	}
	checkHeaders(t, e.LightBlock, int64(s.Height))
}

func TestValidatorUpdates(t *testing.T) {
	set := func(powers ...int64) (s cityid.ValidatorSet) {
		for i, p := range powers {
			if p > 0 {
				s.Validators = append(s.Validators, cityid.Validator{Key: chaintest.Key(i).Key, Power: p})
			}
		}
		return s
	}
	got := chain.ValidatorUpdates(set(1, 2, 0, 4), set(1, 3, 5, 0))
	powers := map[string]int64{}
	for _, u := range got {
		powers[string(u.PubKey.GetEd25519())] = u.Power
	}
	want := map[string]int64{}
	for i, p := range map[int]int64{1: 3, 2: 5, 3: 0} {
		want[string(chaintest.Key(i).Key[1:])] = p
	}
	if !reflect.DeepEqual(powers, want) || len(got) != 3 {
		t.Errorf("updates %v, want %v", powers, want)
	}
	if got := chain.ValidatorUpdates(set(1, 2), set(1, 2)); len(got) != 0 {
		t.Errorf("updates without a change: %v", got)
	}
}

func TestProposals(t *testing.T) {
	e := newEngine(t, "")
	done := chaintest.Tx(engineChain, e.Now(), city(0))
	if r, err := e.Submit(ctx, done, true); err != nil || r.Err() != nil {
		t.Fatal(r, err)
	}
	good := chaintest.Tx(engineChain, e.Now(), city(1))
	other := chaintest.Tx(engineChain, e.Now(), city(2))
	foreign := chaintest.Tx("foreign", e.Now(), city(1))
	expired := chaintest.Tx(engineChain, e.Now().Add(-time.Hour), city(1))
	// It never came through this node's mempool, so it is not held back.
	early := chaintest.Tx(engineChain, e.Now().Add(2*time.Hour), city(1))

	prepare := func(max int64, txs ...[]byte) [][]byte {
		t.Helper()
		r, err := e.App().PrepareProposal(ctx, &abci.RequestPrepareProposal{MaxTxBytes: max, Txs: txs, Time: e.Now(), Height: 9})
		if err != nil {
			t.Fatal(err)
		}
		return r.Txs
	}
	if got := prepare(1<<20, []byte("nonsense"), done, good, foreign, expired, good, early, other); !reflect.DeepEqual(got, [][]byte{good, early, other}) {
		t.Errorf("%d transactions are proposed", len(got))
	}
	if got := prepare(int64(len(good))+10, good, other); !reflect.DeepEqual(got, [][]byte{good}) {
		t.Errorf("%d transactions are proposed where one fits", len(got))
	}

	for _, c := range []struct {
		name string
		txs  [][]byte
		ok   bool
	}{
		{"none", nil, true},
		{"good", [][]byte{good, other}, true},
		{"expired", [][]byte{expired}, true}, // executing refuses it
		{"undecodable", [][]byte{good, []byte("nonsense")}, false},
		{"foreign", [][]byte{foreign}, false},
		{"twice", [][]byte{good, other, good}, false},
	} {
		r, err := e.App().ProcessProposal(ctx, &abci.RequestProcessProposal{Txs: c.txs, Height: 9, Time: e.Now(), Hash: bytes.Repeat([]byte{1}, 32)})
		if err != nil || (r.Status == abci.ResponseProcessProposal_ACCEPT) != c.ok {
			t.Errorf("%s: %v, %v", c.name, r, err)
		}
	}
}

func TestVerifyCache(t *testing.T) {
	c := chain.NewVerifyCache(4)
	var pub, msg, sig [][]byte
	for i := range 6 {
		m := []byte(fmt.Sprint("message ", i))
		s, err := chaintest.Key(i).Sign(m)
		if err != nil {
			t.Fatal(err)
		}
		pub, msg, sig = append(pub, []byte(chaintest.Key(i).Key)), append(msg, m), append(sig, s)
	}
	sig[2] = bytes.Clone(sig[2])
	sig[2][5] ^= 1
	check := func() {
		t.Helper()
		for i := range pub {
			if err := c.Verify(pub[i], msg[i], sig[i]); (err == nil) != (i != 2) {
				t.Errorf("signature %d: %v", i, err)
			}
			if c.Len() > 4 {
				t.Errorf("%d signatures remembered", c.Len())
			}
		}
	}
	c.Warm(pub, msg, sig)
	check()
	check()
	// A signature remembered for one message is none for another.
	if err := c.Verify(pub[5], []byte("message 6"), sig[5]); err == nil {
		t.Error("a signature is accepted for another message")
	}
	if err := c.Verify(nil, nil, nil); err == nil {
		t.Error("nothing is accepted as a signature")
	}
}
