// SPDX-License-Identifier: Apache-2.0

package chain_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"cityid/internal/chain"
	"cityid/internal/chain/chaintest"
	"cityid/internal/store"
)

// fullAfter lets so many writes succeed; then the disk is full.
type fullAfter struct{ left atomic.Int64 }

func (*fullAfter) String() string { return "full disk" }

func (f *fullAfter) MaybeError(op errorfs.Op) error {
	if op.Kind == errorfs.OpFileWrite && strings.HasSuffix(op.Path, ".log") && f.left.Add(-1) < 0 {
		return syscall.ENOSPC
	}
	return nil
}

// TestDiskFailsWhileSyncing fills the disk of a node that fetches blocks from others.
// CometBFT would end the whole process then; the node must halt and say why, and go
// on from where it was once there is room.
func TestDiskFailsWhileSyncing(t *testing.T) {
	if testing.Short() {
		t.Skip("starts four validators")
	}
	w := chaintest.Start(t, 4, 0)
	for i := range 12 {
		nodeSubmit(t, w, i%4, city(i))
	}
	w.Stop(3)
	top := status(t, w.Nodes[0]).Height
	lose(t, w.Config(3).Home)
	disk := new(fullAfter)
	disk.left.Store(int64(top) / 2)
	w.Configure(3, func(c *chain.Config) { c.OnFS(errorfs.Wrap(vfs.Default, disk)) })
	w.Restart(3)
	n := w.Nodes[3]
	w.Nodes[3] = nil
	select {
	case <-n.Done():
	case <-time.After(30 * time.Second):
		t.Fatal("the node goes on with a full disk")
	}
	if err := n.Err(); !errors.Is(err, chain.ErrHalted) || !errors.Is(err, store.ErrDiskFull) {
		t.Errorf("it halted with %v", err)
	}
	if at := status(t, n); at.Height == 0 || at.Height >= top || !at.CatchingUp {
		t.Errorf("it halted at %+v, the others are at %d", at, top)
	}
	if err := n.Stop(); !errors.Is(err, store.ErrDiskFull) {
		t.Errorf("stop: %v", err)
	}

	// The folder stays locked until the process ends, so its files go elsewhere.
	elsewhere := filepath.Join(t.TempDir(), "node3")
	if err := os.CopyFS(elsewhere, os.DirFS(w.Config(3).Home)); err != nil {
		t.Fatal(err)
	}
	w.Configure(3, func(c *chain.Config) { c.Home = elsewhere; c.OnFS(nil) })
	w.Restart(3)
	w.WaitHeight(3, status(t, w.Nodes[0]).Height)
	nodeSubmit(t, w, 3, city(101))
	agree(t, w)
}

// lose removes all that a stopped node has but its keys and what they signed.
func lose(t *testing.T, home string) {
	t.Helper()
	for _, part := range []string{"state", "blocks"} {
		if err := os.RemoveAll(filepath.Join(home, part)); err != nil {
			t.Fatal(err)
		}
	}
}

// TestDamagedFiles flips a bit in one of a node's files, or cuts its end off, as a
// disk may do. The next start must either be refused with a reason, or come to the
// state that was, or to an earlier one of the same chain that the others lead on
// from; and the process must survive.
func TestDamagedFiles(t *testing.T) {
	cfg := home(t)
	w := newTold()
	for i := range 3 { // some of it in tables, some in logs
		p := startChild(t, child{Config: cfg, Base: 1000 * i})
		p.open(t)
		time.Sleep(150 * time.Millisecond)
		p.kill(t)
		p.end(t, w)
	}
	if err := os.Remove(filepath.Join(cfg.Home, "backup.sock")); err != nil { // which the killed process left
		t.Fatal(err)
	}
	trials := 12
	if long() {
		trials = 1000
	}
	seed := uint64(time.Now().UnixNano())
	r := rand.New(rand.NewPCG(seed, 0))
	outcomes := map[string]int{}
	for range trials {
		dir := filepath.Join(t.TempDir(), "node")
		if err := os.CopyFS(dir, os.DirFS(cfg.Home)); err != nil {
			t.Fatal(err)
		}
		what := damage(t, r, dir)
		outcome := startDamaged(t, w, chain.Config{Home: dir, Listen: "127.0.0.1:0"}, strings.Contains(what, "cs.wal"))
		t.Logf("seed %d: %s: %s", seed, what, outcome)
		outcomes[strings.SplitN(outcome, ":", 2)[0]]++
		os.RemoveAll(dir)
	}
	t.Log(outcomes)
}

// damage spoils one file of a node's databases.
func damage(t *testing.T, r *rand.Rand, dir string) string {
	t.Helper()
	var files []string
	for _, part := range []string{"state", "blocks"} {
		err := filepath.WalkDir(filepath.Join(dir, part), func(path string, d fs.DirEntry, err error) error {
			// What is lost of the last votes makes a validator that is alone wait for
			// ever, so only the long mode has it.
			if strings.Contains(path, "cs.wal") && !long() {
				return err
			}
			if info, e := os.Stat(path); e == nil && !info.IsDir() && info.Size() > 0 && d.Name() != "LOG" {
				files = append(files, path)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	name := files[r.IntN(len(files))]
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	at := r.IntN(len(text))
	what := fmt.Sprintf("bit of octet %d of %d in %s", at, len(text), strings.TrimPrefix(name, dir))
	if r.IntN(3) == 0 {
		what = strings.Replace(what, "bit of", "cut at", 1)
		text = text[:at]
	} else {
		text[at] ^= 1 << r.IntN(8)
	}
	if err := os.WriteFile(name, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return what
}

// startDamaged starts a node on a damaged folder and says what came of it. Where
// votes were lost it may wait.
func startDamaged(t *testing.T, w *told, cfg chain.Config, votes bool) (outcome string) {
	t.Helper()
	n, err := chain.Open(cfg)
	if err == nil {
		if err = n.Start(); err != nil {
			defer n.Stop()
		}
	}
	if err != nil {
		if !errors.Is(err, store.ErrCorrupt) && !errors.Is(err, store.ErrFormat) && !errors.Is(err, store.ErrForeignChain) && !errors.Is(err, chain.ErrBlocks) {
			t.Errorf("the reason says nothing of what to do: %v", err)
		}
		return fmt.Sprintf("refused: %v", err)
	}
	defer n.Stop()
	// One that waits can not be told from one that is slow but by time; a machine
	// that is busy has a lot of it.
	patience := time.Minute
	if votes {
		patience = 10 * time.Second
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	go func() {
		<-n.Done()
		cancel()
	}()
	s, err := n.Status(ctx)
	if err != nil {
		t.Errorf("status: %v", err)
		return "no status"
	}
	r, err := n.Submit(ctx, chaintest.Tx(s.Chain, time.Now(), numbered(900_000)), true)
	switch {
	case err != nil && n.Err() != nil:
		return fmt.Sprintf("halted: %v", n.Err())
	case errors.Is(err, store.ErrCorrupt):
		return fmt.Sprintf("noticed: %v", err)
	case err != nil && votes:
		return "waits"
	case err != nil || r.Err() != nil:
		t.Errorf("%+v, %v", r, err)
	}
	// Blocks and receipts are not read at a start; who asks for what is damaged is
	// told so.
	defer func() {
		if p := recover(); p != nil {
			outcome = fmt.Sprintf("noticed: %v", p)
		}
	}()
	if err := w.compare(n); err != nil {
		if !errors.Is(err, store.ErrCorrupt) && !errors.Is(err, errNotReadable) && n.Err() == nil {
			t.Error(err)
		}
		return fmt.Sprintf("noticed: %v", err)
	}
	return "sound"
}
