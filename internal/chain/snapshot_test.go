// SPDX-License-Identifier: Apache-2.0

package chain_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	abci "github.com/cometbft/cometbft/abci/types"

	"cityid"
	"cityid/internal/chain"
	"cityid/internal/chain/chaintest"
	"cityid/internal/store"
	"cityid/verify"
)

// grow has an engine allocate some thousand codes and records a snapshot of it.
func grow(t testing.TB, e *chain.Engine, batches int) *abci.Snapshot {
	t.Helper()
	submit(t, e, chaintest.Allocate(chaintest.Allocation("MA.156.1301", cityid.KindCity), chaintest.Allocation("MA.156.1301/20.010203", cityid.KindClass)))
	for b := range batches {
		var items []cityid.Allocation
		for i := range 1000 {
			items = append(items, chaintest.Allocation(fmt.Sprintf("MA.156.1301/20.010203/%06d", 1000*b+i), cityid.KindObject))
		}
		submit(t, e, chaintest.Allocate(items...))
	}
	for range 3 {
		if err := e.MakeBlock(); err != nil {
			t.Fatal(err)
		}
	}
	e.ServeSnapshots(1000)
	list, err := e.App().ListSnapshots(ctx, nil)
	if err != nil || len(list.Snapshots) != 1 {
		t.Fatalf("snapshots: %v, %v", list, err)
	}
	return list.Snapshots[0]
}

func restorer(t testing.TB, st *store.Store, e *chain.Engine) *chain.Restoring {
	t.Helper()
	r, err := chain.NewRestoring(st, chaintest.Genesis(engineChain, chaintest.Epoch, chain.EngineValidator()), e, e.Now)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func chunkOf(t testing.TB, e *chain.Engine, s *abci.Snapshot, i uint32) []byte {
	t.Helper()
	c, err := e.App().LoadSnapshotChunk(ctx, &abci.RequestLoadSnapshotChunk{Height: s.Height, Format: s.Format, Chunk: i})
	if err != nil || len(c.Chunk) == 0 {
		t.Fatalf("chunk %d: %v", i, err)
	}
	return c.Chunk
}

func offer(t testing.TB, r *chain.Restoring, s *abci.Snapshot) abci.ResponseOfferSnapshot_Result {
	t.Helper()
	hash, err := r.AppHash(s.Height)
	if err != nil {
		t.Fatal(err)
	}
	out, err := r.OfferSnapshot(ctx, &abci.RequestOfferSnapshot{Snapshot: s, AppHash: hash})
	if err != nil {
		t.Fatal(err)
	}
	return out.Result
}

func apply(t testing.TB, r *chain.Restoring, i uint32, raw []byte) *abci.ResponseApplySnapshotChunk {
	t.Helper()
	out, err := r.ApplySnapshotChunk(ctx, &abci.RequestApplySnapshotChunk{Index: i, Chunk: raw, Sender: "peer"})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestSnapshotRestored(t *testing.T) {
	e := newEngine(t, "")
	s := grow(t, e, 22)
	if s.Chunks < 3 {
		t.Fatalf("a snapshot of %d chunks tests little", s.Chunks)
	}
	st, err := store.OpenMemory(store.Options{ChainID: engineChain})
	if err != nil {
		t.Fatal(err)
	}
	r := restorer(t, st, e)
	defer func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}()
	if got := offer(t, r, s); got != abci.ResponseOfferSnapshot_ACCEPT {
		t.Fatal(got)
	}
	for i := range s.Chunks {
		raw := chunkOf(t, e, s, i)
		// A changed octet anywhere, a chunk cut short, and another chunk are refused.
		for at := 0; at < len(raw); at += len(raw)/17 + 1 {
			bad := slices.Clone(raw)
			bad[at] ^= 1
			if out := apply(t, r, i, bad); out.Result != abci.ResponseApplySnapshotChunk_RETRY || !slices.Equal(out.RejectSenders, []string{"peer"}) || !slices.Equal(out.RefetchChunks, []uint32{i}) {
				t.Fatalf("chunk %d with octet %d changed: %v", i, at, out)
			}
		}
		for _, bad := range [][]byte{nil, raw[:len(raw)-1], append(slices.Clone(raw), 0), chunkOf(t, e, s, (i+1)%s.Chunks)} {
			if out := apply(t, r, i, bad); out.Result != abci.ResponseApplySnapshotChunk_RETRY {
				t.Fatalf("chunk %d with %d octets: %v", i, len(bad), out)
			}
		}
		if out := apply(t, r, i, raw); out.Result != abci.ResponseApplySnapshotChunk_ACCEPT {
			t.Fatalf("chunk %d: %v", i, out)
		}
	}
	info, err := r.Info(ctx, nil)
	if err != nil || uint64(info.LastBlockHeight) != s.Height || string(info.LastBlockAppHash) != string(s.Hash) {
		t.Fatalf("restored: %v, %v", info, err)
	}
	// It carries out the blocks after the snapshot like everybody, also those that
	// extend the block log, and knows what was recorded before.
	if err := e.MakeBlock(); err != nil {
		t.Fatal(err)
	}
	submit(t, e, chaintest.Allocate(chaintest.Allocation("MA.156.1302", cityid.KindCity)))
	state, err := r.CometState(s.Height)
	if err != nil {
		t.Fatal(err)
	}
	if err := state.Validators.ValidateBasic(); err != nil {
		t.Fatal(err)
	}
	for h := s.Height + 1; h <= e.App().Height(); h++ {
		b := e.LoadBlock(h)
		out, err := r.FinalizeBlock(ctx, chain.FinalizeRequest(b))
		if err != nil {
			t.Fatalf("block %d: %v", h, err)
		}
		if _, err := r.Commit(ctx, nil); err != nil {
			t.Fatal(err)
		}
		if h < e.App().Height() && string(e.LoadBlock(h+1).AppHash) != string(out.AppHash) {
			t.Fatalf("after block %d the state is another", h)
		}
	}
}

// TestSnapshotCrash ends a restore in the middle; it begins again.
func TestSnapshotCrash(t *testing.T) {
	e := newEngine(t, "")
	s := grow(t, e, 12)
	fs := vfs.NewCrashableMem()
	for _, until := range []uint32{0, 1, s.Chunks, s.Chunks} {
		st, err := store.Open("state", store.Options{ChainID: engineChain, FS: fs})
		if err != nil {
			t.Fatal(err)
		}
		r := restorer(t, st, e)
		offer(t, r, s)
		for i := range until {
			if out := apply(t, r, i, chunkOf(t, e, s, i)); out.Result != abci.ResponseApplySnapshotChunk_ACCEPT {
				t.Fatalf("chunk %d: %v", i, out)
			}
		}
		fs = fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 50, RNG: rand.New(rand.NewPCG(1, uint64(until)))})
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
		again, err := store.Open("state", store.Options{ChainID: engineChain, FS: fs})
		if err != nil {
			t.Fatal(err)
		}
		want := uint64(0)
		if until == s.Chunks {
			want = s.Height
		}
		if h := restorer(t, again, e).Height(); h != want {
			t.Errorf("after a crash behind %d of %d chunks it is at height %d", until, s.Chunks, h)
		}
		if err := again.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestSnapshotOffersRefused(t *testing.T) {
	e := newEngine(t, "")
	s := grow(t, e, 1)
	st, err := store.OpenMemory(store.Options{ChainID: engineChain})
	if err != nil {
		t.Fatal(err)
	}
	r := restorer(t, st, e)
	defer r.Close()
	for name, c := range map[string]struct {
		change func(*abci.Snapshot)
		want   abci.ResponseOfferSnapshot_Result
	}{
		"format":   {func(s *abci.Snapshot) { s.Format = 2 }, abci.ResponseOfferSnapshot_REJECT_FORMAT},
		"chunks":   {func(s *abci.Snapshot) { s.Chunks = 0 }, abci.ResponseOfferSnapshot_REJECT},
		"hash":     {func(s *abci.Snapshot) { s.Hash = make([]byte, 32) }, abci.ResponseOfferSnapshot_REJECT},
		"metadata": {func(s *abci.Snapshot) { s.Metadata = []byte{1} }, abci.ResponseOfferSnapshot_REJECT},
	} {
		bad := *s
		if c.change(&bad); offer(t, r, &bad) != c.want {
			t.Errorf("%s: accepted", name)
		}
	}
	// A wrong number of chunks shows where the proven end is.
	longer := *s
	longer.Chunks++
	offer(t, r, &longer)
	if out := apply(t, r, 0, chunkOf(t, e, s, 0)); s.Chunks != 1 || out.Result != abci.ResponseApplySnapshotChunk_REJECT_SNAPSHOT {
		t.Errorf("of %d chunks said to be %d, the first: %v", s.Chunks, longer.Chunks, out)
	}
	if _, err := r.AppHash(1000); err == nil {
		t.Error("an app hash of a height that there is not")
	}
	// The right one goes after all, in the place of the one begun.
	if offer(t, r, s) != abci.ResponseOfferSnapshot_ACCEPT || apply(t, r, 0, chunkOf(t, e, s, 0)).Result != abci.ResponseApplySnapshotChunk_ACCEPT {
		t.Error("the right snapshot is refused")
	}
}

// liar gives headers that were changed.
type liar struct {
	*chain.Engine
	change func(*verify.SignedHeader)
}

func (l liar) SignedHeader(ctx context.Context, height uint64) ([]byte, error) {
	raw, err := l.Engine.SignedHeader(ctx, height)
	if err != nil {
		return nil, err
	}
	s, err := verify.DecodeSignedHeader(raw)
	if err != nil {
		return nil, err
	}
	l.change(&s)
	return verify.EncodeSignedHeader(&s)
}

func TestSnapshotHeadersVerified(t *testing.T) {
	e := newEngine(t, "")
	s := grow(t, e, 1)
	for name, change := range map[string]func(*verify.SignedHeader){
		"app hash":   func(s *verify.SignedHeader) { s.Header.AppHash[0] ^= 1 },
		"signature":  func(s *verify.SignedHeader) { s.Commit.Votes[0].Signature[0] ^= 1 },
		"validators": func(s *verify.SignedHeader) { s.Validators[0].PublicKey[0] ^= 1 },
		"height":     func(s *verify.SignedHeader) { s.Header.Height++ },
		"priorities": func(s *verify.SignedHeader) { s.Priorities = nil },
		"priority":   func(s *verify.SignedHeader) { s.Priorities[0] = 1 << 60 },
	} {
		st, err := store.OpenMemory(store.Options{ChainID: engineChain})
		if err != nil {
			t.Fatal(err)
		}
		r, err := chain.NewRestoring(st, chaintest.Genesis(engineChain, chaintest.Epoch, chain.EngineValidator()), liar{e, change}, e.Now)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := r.AppHash(s.Height); err == nil {
			t.Errorf("%s: believed", name)
		}
		r.Close()
	}
}

func FuzzSnapshotChunk(f *testing.F) {
	e := newEngine(f, "")
	s := grow(f, e, 1)
	f.Add(chunkOf(f, e, s, 0)[:2000])
	f.Add([]byte{0xa3, 1, 0xf4, 2, 0x40, 3, 0x80})
	st, err := store.OpenMemory(store.Options{ChainID: engineChain})
	if err != nil {
		f.Fatal(err)
	}
	r := restorer(f, st, e)
	f.Cleanup(func() { r.Close() })
	offer(f, r, s)
	f.Fuzz(func(t *testing.T, raw []byte) {
		if out := apply(t, r, 0, raw); out.Result != abci.ResponseApplySnapshotChunk_RETRY {
			t.Fatalf("%x: %v", raw, out)
		}
	})
}
