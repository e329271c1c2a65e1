// SPDX-License-Identifier: Apache-2.0

package chain_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	abci "github.com/cometbft/cometbft/abci/types"

	"cityid"
	"cityid/internal/chain"
	"cityid/internal/chain/chaintest"
	"cityid/internal/registry"
	"cityid/internal/store"
	"cityid/verify"
)

// old and both are programs: the one has a version of the rules without attest,
// the other also a later version, which brings it.
func old() registry.Versions {
	v := registry.KnownRules()[:1]
	v[0].Operations = slices.DeleteFunc(v[0].Operations, func(name string) bool { return name == "attest" })
	return v
}

func both() registry.Versions {
	later := registry.KnownRules()[0]
	later.Version = 2
	return append(old(), later)
}

// upgradeEngine opens an engine of a program, in a zone where an upgrade needs
// little notice.
func upgradeEngine(dir string, program registry.Versions) (*chain.Engine, error) {
	return chain.NewEngine(chain.EngineConfig{Genesis: upgradeGenesis(), Dir: dir, Rules: program})
}

func upgradeGenesis() *chain.Genesis {
	g := chaintest.Genesis(engineChain, chaintest.Epoch, chain.EngineValidator())
	g.State.Params.UpgradeNotice = 2
	return g
}

func mustEngine(t testing.TB, dir string, program registry.Versions) *chain.Engine {
	t.Helper()
	e, err := upgradeEngine(dir, program)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	return e
}

func attestation(n byte) cityid.Operation {
	return cityid.Operation{Attest: &cityid.Attest{Source: chaintest.Apex, Digest: cityid.Digest{n}}}
}

// plan plans version 2 for a number of blocks after the latest, and returns its
// height.
func plan(t testing.TB, e *chain.Engine, ahead uint64) uint64 {
	t.Helper()
	s := status(t, e)
	height := s.Height + ahead
	submit(t, e, cityid.Operation{SetUpgrade: &cityid.SetUpgrade{
		Revision: s.Rules.Revision, Plan: &cityid.Upgrade{Version: 2, Height: height, Release: "cityid 2"},
	}})
	return height
}

// makeUntil makes blocks up to a height.
func makeUntil(t testing.TB, e *chain.Engine, height uint64) {
	t.Helper()
	for status(t, e).Height < height {
		blocks(t, e, 1)
	}
}

// TestUpgrade takes a chain from one version to the next: rules and headers change at
// the planned height, and a verifier notices nothing.
func TestUpgrade(t *testing.T) {
	e := mustEngine(t, "", both())
	submit(t, e, city(1))
	plan(t, e, 5)
	if s := status(t, e); s.Rules.Version != 1 || s.Rules.Plan == nil || !slices.Equal(s.RulesKnown, []uint32{1, 2}) {
		t.Fatalf("planned: %+v", s.Rules)
	}
	submit(t, e, cityid.Operation{SetUpgrade: &cityid.SetUpgrade{Revision: 1}})
	if s := status(t, e); s.Rules.Plan != nil || s.Rules.Revision != 2 {
		t.Fatalf("cancelled: %+v", s.Rules)
	}
	height := plan(t, e, 12)
	kept := map[uint64][]byte{}
	for at := status(t, e).Height; at < height+4; at = status(t, e).Height {
		if r := verdict(t, e, "MA.156.1001"); r.Verdict != verify.Valid {
			t.Fatalf("block %d: %s %q: %s", at, r.Verdict, r.Reason, r.Message)
		}
		data, err := e.Bundle(ctx, cityid.BundleQuery{Code: chaintest.Apex, Kind: cityid.AnswerRecord, From: 1})
		if err != nil {
			t.Fatal(err)
		}
		kept[at] = data
		_, err = e.Submit(ctx, chaintest.Tx(engineChain, e.Now(), attestation(byte(at))), false)
		if before := at+1 < height; before != (cityid.CodeOf(err) == cityid.ErrMalformed) || !before && err != nil {
			t.Fatalf("attesting, to stand in block %d: %v", at+1, err)
		}
		blocks(t, e, 1)
	}
	s := status(t, e)
	if r := s.Rules; r.Version != 2 || r.Since != height || r.Plan != nil {
		t.Errorf("in force: %+v", r)
	}
	if x, err := e.Settings(ctx); err != nil || x.Rules.Version != 2 {
		t.Errorf("settings: %+v, %v", x, err)
	}
	for h := int64(1); h <= int64(s.Height); h++ {
		b, err := e.LightBlock(h)
		if err != nil {
			t.Fatal(err)
		}
		want := uint64(1)
		if uint64(h) >= height {
			want = 2
		}
		if b.Version.App != want {
			t.Errorf("header %d says version %d, want %d", h, b.Version.App, want)
		}
	}
	checkHeaders(t, e.LightBlock, int64(s.Height))
	trust, err := e.Trust(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for at, data := range kept { // old bundles verify after the switch as before
		if r := verify.CheckEncoded(&trust[0], data, verify.Options{Now: e.Now(), Code: chaintest.Apex, Kind: cityid.AnswerRecord}); r.Verdict != verify.Valid {
			t.Errorf("bundle of block %d: %s %q: %s", at, r.Verdict, r.Reason, r.Message)
		}
	}
}

// TestUpgradeUnknown has a program reach rules it does not have: it stops after the
// block before and does not open again; one that has them goes on, to the state of one
// that always had them, also when it carries out all blocks again.
func TestUpgradeUnknown(t *testing.T) {
	dir := t.TempDir()
	e := mustEngine(t, dir, old())
	submit(t, e, city(1))
	height := plan(t, e, 6)
	makeUntil(t, e, height-1)
	refused := func(err error) {
		t.Helper()
		var unknown *registry.UnknownRulesError
		if !errors.Is(err, chain.ErrUpgrade) || !errors.As(err, &unknown) || unknown.Version != 2 || unknown.Height != height || unknown.Plan == nil {
			t.Fatalf("want an error of rules that are missing, not %v", err)
		}
	}
	refused(e.MakeBlock())
	if s := status(t, e); s.Height != height-1 {
		t.Fatalf("it stopped at block %d, want %d", s.Height, height-1)
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	_, err := upgradeEngine(dir, old())
	refused(err)

	e = mustEngine(t, dir, both())
	makeUntil(t, e, height)
	submit(t, e, attestation(1))
	want := status(t, e)
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(dir, "state")); err != nil {
		t.Fatal(err)
	}
	_, err = upgradeEngine(dir, old())
	refused(err)
	e = mustEngine(t, dir, both())
	if s := status(t, e); s.Height != want.Height || s.AppHash != want.AppHash || s.Rules.Version != 2 {
		t.Errorf("carried out again: %+v, want %+v", s, want)
	}
}

// TestUpgradeForeignOperation has a block before the switch carry an operation of the
// later version, as only a dishonest proposer makes it: it is refused, and if it is
// decided nevertheless, the result is the same as for octets that nobody can decode.
func TestUpgradeForeignOperation(t *testing.T) {
	e := mustEngine(t, "", both())
	s := status(t, e)
	req := abci.RequestProcessProposal{Height: int64(s.Height) + 1, Hash: bytes.Repeat([]byte{7}, 32), Txs: [][]byte{chaintest.Tx(engineChain, e.Now(), attestation(1))}}
	if out, err := e.App().ProcessProposal(ctx, &req); err != nil || out.IsAccepted() {
		t.Errorf("it is accepted: %v, %v", out, err)
	}
	out, err := e.App().FinalizeBlock(ctx, &abci.RequestFinalizeBlock{
		Height: req.Height, Hash: req.Hash, Time: e.Now().Add(time.Second), Txs: append(req.Txs, []byte("nonsense")),
	})
	if err != nil {
		t.Fatal(err)
	}
	if a, b := out.TxResults[0], out.TxResults[1]; a.Code != b.Code || !bytes.Equal(a.Data, b.Data) || cityid.ErrorCode(a.Code) != cityid.ErrMalformed {
		t.Errorf("%v and %v", a, b)
	}
}

// TestUpgradeCrash crashes around the switch, however far a block came.
func TestUpgradeCrash(t *testing.T) {
	for before := range uint64(2) { // blocks before the first one under the new rules
		for point := chain.CrashSaved; point <= chain.CrashCommitted; point++ {
			dir := t.TempDir()
			e := mustEngine(t, dir, both())
			height := plan(t, e, 5)
			makeUntil(t, e, height-before-1)
			if err := e.Crash(point); err != nil {
				t.Fatal(err)
			}
			e = mustEngine(t, dir, both())
			makeUntil(t, e, height)
			submit(t, e, attestation(1))
			checkHeaders(t, e.LightBlock, int64(status(t, e).Height))
		}
	}
}

// TestUpgradeSnapshot begins with the state that others have: the one before the switch
// is of no use to a program without the rules after it, and any is to one that has them.
func TestUpgradeSnapshot(t *testing.T) {
	for _, after := range []uint64{0, 3} { // blocks after the last one under the old rules
		e := mustEngine(t, "", both())
		submit(t, e, city(1))
		height := plan(t, e, 6)
		makeUntil(t, e, height-2+after)
		if _, err := e.Submit(ctx, chaintest.Tx(engineChain, e.Now(), city(2)), false); err != nil {
			t.Fatal(err)
		}
		blocks(t, e, 1)
		e.ServeSnapshots(1000)
		list, err := e.App().ListSnapshots(ctx, nil)
		if err != nil || len(list.Snapshots) != 1 || list.Snapshots[0].Chunks != 1 {
			t.Fatalf("snapshots: %v, %v", list, err)
		}
		s := list.Snapshots[0]
		if s.Height != height-1+after {
			t.Fatalf("the snapshot is of block %d, want %d", s.Height, height-1+after)
		}
		blocks(t, e, 4)
		submit(t, e, attestation(1))
		for name, program := range map[string]registry.Versions{"old": old(), "both": both()} {
			st, err := store.OpenMemory(store.Options{ChainID: engineChain})
			if err != nil {
				t.Fatal(err)
			}
			r, err := chain.NewRestoring(st, upgradeGenesis(), e, e.Now, program...)
			if err != nil {
				t.Fatal(err)
			}
			if got := offer(t, r, s); got != abci.ResponseOfferSnapshot_ACCEPT {
				t.Fatal(got)
			}
			_, err = r.ApplySnapshotChunk(ctx, &abci.RequestApplySnapshotChunk{Chunk: chunkOf(t, e, s, 0), Sender: "peer"})
			if name == "old" {
				if !errors.Is(err, chain.ErrUpgrade) {
					t.Errorf("%d after, %s: %v", after, name, err)
				}
			} else if err != nil {
				t.Fatal(err)
			} else if info, err := r.Info(ctx, nil); err != nil || info.AppVersion != 2 {
				t.Errorf("%d after: %+v, %v", after, info, err)
			} else if state, err := r.CometState(s.Height); err != nil || state.Version.Consensus.App != 2 || state.ConsensusParams.Version.App != 2 {
				t.Errorf("%d after: %+v, %v", after, state.Version, err)
			} else {
				follow(t, e, r, s.Height)
			}
			if err := r.Close(); err != nil {
				t.Error(err)
			}
		}
	}
}

// follow carries out the blocks after a height and compares what they give.
func follow(t *testing.T, e *chain.Engine, r *chain.Restoring, height uint64) {
	t.Helper()
	for h := height + 1; h < e.App().Height(); h++ {
		out, err := r.FinalizeBlock(ctx, chain.FinalizeRequest(e.LoadBlock(h)))
		if err != nil {
			t.Fatalf("block %d: %v", h, err)
		}
		if _, err := r.Commit(ctx, nil); err != nil {
			t.Fatal(err)
		}
		if string(e.LoadBlock(h+1).AppHash) != string(out.AppHash) {
			t.Fatalf("after block %d the state is another", h)
		}
	}
}

// TestUpgradeNetwork takes a network through a switch for which one of four nodes is
// not prepared: it stops cleanly, and comes back with the program it lacked.
func TestUpgradeNetwork(t *testing.T) {
	if testing.Short() {
		t.Skip("a network of four nodes")
	}
	w := chaintest.StartWith(t, 4, 100*time.Millisecond, func(g *chain.Genesis, nodes []chain.Config) {
		g.State.Params.UpgradeNotice = 5
		for i := range nodes {
			nodes[i].Rules = both()
		}
		nodes[3].Rules = old()
	})
	w.WaitHeight(3, 2)
	height := w.WaitHeight(0, 2).Height + 15
	nodeSubmit(t, w, 0, cityid.Operation{SetUpgrade: &cityid.SetUpgrade{Plan: &cityid.Upgrade{Version: 2, Height: height, Release: "cityid 2"}}})
	_, err := w.Nodes[1].Submit(ctx, chaintest.Tx(w.Genesis.Chain, time.Now(), attestation(1)), false)
	wantCode(t, err, cityid.ErrMalformed)
	select {
	case <-w.Nodes[3].Done():
	case <-time.After(30 * time.Second):
		t.Fatal("a node goes on with rules it does not have")
	}
	if err := w.Nodes[3].Err(); !errors.Is(err, chain.ErrUpgrade) || !errors.Is(err, chain.ErrHalted) {
		t.Fatal(err)
	}
	if at := status(t, w.Nodes[3]).Height; at != height-1 {
		t.Errorf("it halted at block %d, want %d", at, height-1)
	}
	w.WaitHeight(0, height+1)
	nodeSubmit(t, w, 0, attestation(1))
	w.Stop(3)
	if n, err := chain.Open(w.Config(3)); !errors.Is(err, chain.ErrUpgrade) {
		t.Errorf("it opens again without them: %v, %v", n, err)
	}

	w.Configure(3, func(c *chain.Config) { c.Rules = both() })
	w.Restart(3)
	top := w.WaitHeight(0, height+3).Height
	w.WaitHeight(3, top)
	want, err := w.Nodes[0].LightBlock(int64(top))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := w.Nodes[3].LightBlock(int64(top)); err != nil || string(got.Hash()) != string(want.Hash()) || got.Version.App != 2 {
		t.Errorf("it has another block %d: %v, %v", top, got, err)
	}
	if r := status(t, w.Nodes[3]).Rules; r.Version != 2 || r.Since != height {
		t.Errorf("rules %+v", r)
	}
}

// TestUpgradeBlockSync has an unprepared node fetch all blocks from others after the
// switch: it halts before it, and fetches the rest with the program it lacked. It waits
// for a validator that is away, so it belongs to the long tests.
func TestUpgradeBlockSync(t *testing.T) {
	if !long() {
		t.Skip("for scripts/test -long")
	}
	w := chaintest.StartWith(t, 4, 100*time.Millisecond, func(g *chain.Genesis, nodes []chain.Config) {
		g.State.Params.UpgradeNotice = 5
		for i := range nodes {
			nodes[i].Rules = both()
		}
		nodes[3].Rules = old()
	})
	height := w.WaitHeight(0, 2).Height + 10
	nodeSubmit(t, w, 0, cityid.Operation{SetUpgrade: &cityid.SetUpgrade{Plan: &cityid.Upgrade{Version: 2, Height: height, Release: "cityid 2"}}})
	w.Stop(3)
	top := w.WaitHeight(0, height+4).Height
	for _, folder := range []string{"state", "blocks"} {
		if err := os.RemoveAll(filepath.Join(w.Config(3).Home, folder)); err != nil {
			t.Fatal(err)
		}
	}
	w.Restart(3)
	select {
	case <-w.Nodes[3].Done():
	case <-time.After(60 * time.Second):
		t.Fatal("a node goes on with rules it does not have")
	}
	if err := w.Nodes[3].Err(); !errors.Is(err, chain.ErrUpgrade) {
		t.Fatal(err)
	}
	if at := status(t, w.Nodes[3]).Height; at != height-1 {
		t.Errorf("it halted at block %d, want %d", at, height-1)
	}
	w.Configure(3, func(c *chain.Config) { c.Rules = both() })
	w.Restart(3)
	w.WaitHeight(3, top)
}
