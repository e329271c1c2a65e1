// SPDX-License-Identifier: Apache-2.0

package chain_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cityid"
	"cityid/internal/chain"
	"cityid/internal/chain/chaintest"
)

// left fails if a folder holds anything.
func left(t *testing.T, dir string) {
	t.Helper()
	if list, err := os.ReadDir(dir); err != nil || len(list) > 0 {
		t.Errorf("left %v, %v", list, err)
	}
}

// TestBackupRunning backs a node up again and again while its process works, restores
// each elsewhere, and has it follow. Meanwhile the process is also killed.
func TestBackupRunning(t *testing.T) {
	if testing.Short() {
		t.Skip("starts several processes")
	}
	w := chaintest.Start(t, 1, time.Second) // for an address
	w.WaitHeight(0, 1)
	w.Stop(0)
	cfg := w.Config(0)
	cfg.KeepBlocks, cfg.Snapshots = 30, -1
	told, temp := newTold(), t.TempDir()
	rounds := 4
	if long() {
		rounds = 40
	}
	type made struct {
		raw  []byte
		keys bool
	}
	var archives []made
	for i := range rounds {
		p := startChild(t, child{Config: cfg, Base: 10_000 * i, Span: 5})
		p.open(t)
		for range 3 {
			time.Sleep(rand.N(100 * time.Millisecond)) // whatever it does then
			var b bytes.Buffer
			keys := rand.N(2) == 0
			if err := chain.Backup(ctx, cfg.Home, &b, chain.BackupOptions{Keys: keys, Temp: temp}); err != nil {
				if strings.Contains(err.Error(), "no block yet") {
					continue
				}
				t.Fatal(err)
			}
			archives = append(archives, made{b.Bytes(), keys})
		}
		left(t, temp)
		// One that the node does not survive is none.
		done := make(chan error, 1)
		go func() { done <- chain.Backup(ctx, cfg.Home, io.Discard, chain.BackupOptions{Temp: temp}) }()
		time.Sleep(rand.N(20 * time.Millisecond))
		p.kill(t)
		if err := <-done; err != nil && !errors.Is(err, chain.ErrNoBackup) {
			t.Errorf("while it is killed: %v", err)
		}
		left(t, temp)
		p.end(t, told)
	}
	if len(archives) < rounds {
		t.Fatalf("%d backups: too few to show anything", len(archives))
	}
	cfg.PruneBy(5)
	n, err := chain.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer n.Stop()
	if err := n.Start(); err != nil {
		t.Fatal(err)
	}
	top := status(t, n).Height
	waitFor(t, n, top+1) // whose header commits to the state of then
	var heights []uint64
	for i, a := range archives {
		home := filepath.Join(t.TempDir(), "restored")
		got, err := chain.Restore(ctx, home, bytes.NewReader(a.raw), noCheck)
		if err != nil {
			t.Fatal(err)
		}
		heights = append(heights, got.Height)
		if got.Keys != a.keys || got.Running != a.keys {
			t.Errorf("restored: %+v, with keys %v", got, a.keys)
		}
		// The next header, on the node itself, commits to the state.
		if b, err := n.LightBlock(int64(got.Height) + 1); err != nil || cityid.Digest(b.AppHash) != got.AppHash {
			t.Errorf("the state after block %d is %s, and %+v, %v", got.Height, got.AppHash, b, err)
		}
		copied := cfg
		copied.Home, copied.Listen, copied.Peers = home, "127.0.0.1:0", []string{n.ID() + "@" + cfg.Listen}
		if a.keys {
			notBefore(t, copied, got.Height)
			continue
		}
		if i > 0 && i < len(archives)-1 {
			continue // opening them takes a while
		}
		m, err := chain.Open(copied)
		if err != nil {
			t.Fatal(err)
		}
		if s := status(t, m); s.Height < got.Height || s.HeadersFrom != 1 {
			t.Errorf("it opens at %+v, restored at %d", s, got.Height)
		}
		if i == len(archives)-1 { // its peer has all that follows
			if err := m.Start(); err != nil {
				t.Fatal(err)
			}
			waitFor(t, m, top)
		}
		if err := m.Stop(); err != nil {
			t.Error(err)
		}
	}
	t.Logf("backups at %v, of %d blocks", heights, top)
	if err := told.compare(n); err != nil {
		t.Error(err)
	}
}

// TestBackupMoment holds a node that works, slowly, and compares what it holds with
// what CometBFT can start from.
func TestBackupMoment(t *testing.T) {
	w := chaintest.Start(t, 1, time.Second)
	w.WaitHeight(0, 1)
	n := w.Nodes[0]
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for i := 1; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			if _, err := n.Submit(ctx, chaintest.Tx(w.Genesis.Chain, time.Now(), numbered(i)), true); err != nil {
				t.Error(err)
				return
			}
		}
	}()
	n.HoldSlowly(10 * time.Millisecond)
	seen := map[[2]int64]int{}
	for range 40 {
		tree, blocks, state, err := n.Moment()
		if err != nil {
			t.Error(err)
			break
		}
		seen[[2]int64{blocks - tree, state - tree}]++
		if tree > blocks || tree > state+1 || state > blocks || blocks > state+1 {
			t.Errorf("the state is that after block %d, there are blocks up to %d, and CometBFT has carried out %d", tree, blocks, state)
		}
	}
	close(stop)
	<-done
	t.Logf("blocks and CometBFT's state, beyond the state: %v", seen)
}

// TestRaiseCopy tells a copy with keys that never signed.
func TestRaiseCopy(t *testing.T) {
	cfg := home(t)
	if err := os.WriteFile(filepath.Join(cfg.Home, "running.json"), []byte(`{"height":5}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := chain.RaiseSigned(cfg.Home, 4); err == nil {
		t.Error("a height below that of the copy is taken")
	}
	if n, err := chain.Open(cfg); !errors.Is(err, chain.ErrCopy) {
		t.Fatalf("it opens: %v, %v", n, err)
	}
	if err := chain.RaiseSigned(cfg.Home, 5); err != nil {
		t.Fatal(err)
	}
	n, err := chain.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Stop(); err != nil {
		t.Error(err)
	}
}

// notBefore checks that a copy with keys of a node that ran on opens only once it was
// told what the keys have signed, and that it does not sign that again.
func notBefore(t *testing.T, cfg chain.Config, height uint64) {
	t.Helper()
	if n, err := chain.Open(cfg); !errors.Is(err, chain.ErrCopy) {
		t.Fatalf("a copy opens, and could vote: %v, %v", n, err)
	}
	if err := chain.RaiseSigned(cfg.Home, height-1); err == nil {
		t.Error("it may vote for blocks that the node had before it was copied")
	}
	if err := chain.RaiseSigned(cfg.Home, height+1000); err != nil {
		t.Fatal(err)
	}
	if got, err := chain.LastSigned(cfg.Home); err != nil || got != height+1000 {
		t.Errorf("it signed up to %d, %v", got, err)
	}
	cfg.Peers = nil
	n, err := chain.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Start(); err != nil {
		t.Fatal(err)
	}
	// Its vote alone would make blocks.
	at := status(t, n).Height
	short, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
	defer cancel()
	if next, err := n.Await(short, at); err == nil {
		t.Errorf("it made block %d, which it was told is signed", next)
	}
	if err := n.Stop(); err != nil {
		t.Error(err)
	}
}

// TestBackupMeanwhile disturbs backups of a running node.
func TestBackupMeanwhile(t *testing.T) {
	w := chaintest.Start(t, 1, time.Second)
	w.WaitHeight(0, 1)
	// More than what lies between the two processes.
	nodeSubmit(t, w, 0, chaintest.Allocate(chaintest.Allocation("MA.156.1301", cityid.KindCity), chaintest.Allocation("MA.156.1301/20.010203", cityid.KindClass)))
	for b := range 4 {
		var items []cityid.Allocation
		for i := range 1000 {
			items = append(items, chaintest.Allocation(fmt.Sprintf("MA.156.1301/20.010203/%06d", 1000*b+i), cityid.KindObject))
		}
		nodeSubmit(t, w, 0, chaintest.Allocate(items...))
	}
	home, temp := w.Config(0).Home, t.TempDir()
	try := func(ctx context.Context, o chain.BackupOptions) error {
		t.Helper()
		o.Temp = temp
		err := chain.Backup(ctx, home, io.Discard, o)
		left(t, temp)
		return err
	}
	// Its office is copied by whoever knows how.
	if err := os.Mkdir(filepath.Join(home, "office"), 0o700); err != nil {
		t.Fatal(err)
	}
	from := ""
	if err := try(ctx, chain.BackupOptions{Office: func(_ context.Context, f, to string) error { from = f; return os.Mkdir(to, 0o700) }}); err != nil || from != filepath.Join(home, "office") {
		t.Errorf("office %q: %v", from, err)
	}
	if err := try(ctx, chain.BackupOptions{Office: func(context.Context, string, string) error { return io.ErrShortBuffer }}); !errors.Is(err, io.ErrShortBuffer) {
		t.Errorf("the office fails: %v", err)
	}
	// Who gives up leaves nothing.
	stopped, cancel := context.WithCancel(ctx)
	err := try(stopped, chain.BackupOptions{NoOffice: true, Tell: func(int64) { cancel() }})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("given up: %v", err)
	}
	// Who does not read holds nobody up but other backups, and those not for ever.
	conn, err := net.Dial("unix", filepath.Join(home, "backup.sock"))
	if err != nil {
		t.Skip(err) // the folder's name is too long to reach it like that
	}
	if _, err := io.ReadFull(conn, make([]byte, 1)); err != nil { // it has begun
		t.Fatal(err)
	}
	if err := try(ctx, chain.BackupOptions{NoOffice: true}); !errors.Is(err, chain.ErrNoBackup) || !strings.Contains(err.Error(), "another backup") {
		t.Errorf("a second one: %v", err)
	}
	nodeSubmit(t, w, 0, city(3))
	conn.Close()
	for deadline := time.Now().Add(30 * time.Second); try(ctx, chain.BackupOptions{NoOffice: true}) != nil; {
		if time.Now().After(deadline) {
			t.Fatal("there are no backups any more")
		}
	}
	if info, err := os.Stat(filepath.Join(home, "backup.sock")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the socket: %v, %v", info, err)
	}
	// It ends with the node, while somebody has one.
	if conn, err = net.Dial("unix", filepath.Join(home, "backup.sock")); err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	w.Stop(0)
	if _, err := os.Stat(filepath.Join(home, "backup.sock")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket stays: %v", err)
	}
}

// TestBackupLongPath backs a node up whose folder has a name too long for a socket.
func TestBackupLongPath(t *testing.T) {
	cfg := home(t)
	long := filepath.Join(t.TempDir(), strings.Repeat("long", 30))
	if err := os.Rename(cfg.Home, long); err != nil {
		t.Fatal(err)
	}
	cfg.Home, cfg.Heartbeat = long, 200*time.Millisecond
	n, err := chain.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer n.Stop()
	if err := n.Start(); err != nil {
		t.Fatal(err)
	}
	waitFor(t, n, 2)
	if err := chain.Backup(ctx, long, io.Discard, chain.BackupOptions{}); err != nil {
		t.Error(err)
	}
}

// FuzzBackupStream gives what pretends to be a node's backup.
func FuzzBackupStream(f *testing.F) {
	f.Add([]byte("D\x00\x00\x00\x04treeP\x00\x00\x00\x01k\x00\x00\x00\x01vX\x00\x00\x00\x02no"))
	f.Add([]byte("D\x00\x00\x00\x04treeD\x00\x00\x00\x0ablockstoreF\x00\x00\x00\x16validator_state.json\x00\x00\x00\x01{"))
	f.Add([]byte("D\x00\x00\x00\x04treeF\x00\x00\x00\x0cblocks/../../\x00\x00\x00\x00"))
	f.Add(chain.BackupStream("blockstore", "k", "v", "blocks/cs.wal/wal", "log"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		names, err := chain.ReadBackup(raw)
		for _, name := range names {
			if name != "validator_state.json" && !strings.HasPrefix(filepath.Clean(name), "blocks/") {
				t.Errorf("it writes %q", name)
			}
		}
		if err == nil && !bytes.Contains(raw, []byte("tree")) {
			t.Errorf("it is taken: %q", raw)
		}
	})
}

// TestBackupStream changes, cuts and lengthens a stream.
func TestBackupStream(t *testing.T) {
	good := chain.BackupStream("blockstore", "k", "v", "blocks/cs.wal/wal", "log")
	if names, err := chain.ReadBackup(good); err != nil || len(names) != 3 {
		t.Fatalf("%v, %v", names, err)
	}
	for i := range good {
		bad := bytes.Clone(good)
		bad[i] ^= 1
		if _, err := chain.ReadBackup(bad); err == nil {
			t.Errorf("octet %d changed: taken", i)
		}
		if _, err := chain.ReadBackup(good[:i]); !errors.Is(err, chain.ErrNoBackup) {
			t.Errorf("%d octets: %v", i, err)
		}
	}
	if _, err := chain.ReadBackup(append(bytes.Clone(good), 0)); err == nil {
		t.Error("one octet more: taken")
	}
	for _, name := range []string{"../x", "blocks/../x", "blocks/state.db/CURRENT", "node_key.json", "state/x", ""} {
		if _, err := chain.ReadBackup(chain.BackupStream("blockstore", "k", "v", name, "x")); err == nil {
			t.Errorf("file %q: taken", name)
		}
	}
}
