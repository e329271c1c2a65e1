// SPDX-License-Identifier: Apache-2.0

package chain_test

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"filippo.io/age"

	"cityid"
	"cityid/internal/chain"
	"cityid/internal/chain/chaintest"
	"cityid/internal/durable/folder"
)

func noCheck(context.Context, string) error { return nil }

func TestBackup(t *testing.T) {
	w := chaintest.Start(t, 1, time.Second)
	w.WaitHeight(0, 1)
	r, err := w.Nodes[0].Submit(ctx, chaintest.Tx(w.Genesis.Chain, time.Now(), chaintest.Allocate(chaintest.Allocation("MA.156.1301", cityid.KindCity))), true)
	if err != nil || r.Err() != nil {
		t.Fatal(err, r)
	}
	home := w.Config(0).Home
	w.Stop(0)
	if err := os.MkdirAll(filepath.Join(home, "office", "files"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(home, "office", "files", "a"), []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	was, err := chain.ReadIdentity(home)
	if err != nil {
		t.Fatal(err)
	}
	for _, keys := range []bool{false, true} {
		var b bytes.Buffer
		if err := chain.Backup(ctx, home, &b, chain.BackupOptions{Keys: keys}); err != nil {
			t.Fatal(err)
		}
		to := filepath.Join(t.TempDir(), "restored")
		got, err := chain.Restore(ctx, to, bytes.NewReader(b.Bytes()), noCheck)
		if err != nil {
			t.Fatal(err)
		}
		if got.Height < r.Height || got.Keys != keys || !got.Office || got.Chain != w.Genesis.Chain {
			t.Errorf("restored: %+v", got)
		}
		if is, err := chain.ReadIdentity(to); err != nil || (is == was) != keys {
			t.Errorf("with keys %v, the restored node is %v, %v", keys, is, err)
		}
		if _, err := chain.Restore(ctx, to, bytes.NewReader(b.Bytes()), noCheck); !errors.Is(err, folder.ErrConflict) {
			t.Errorf("into a folder that exists: %v", err)
		}
		cfg := w.Config(0)
		cfg.Home, cfg.Listen = to, "127.0.0.1:0"
		n, err := chain.Open(cfg)
		if err != nil {
			t.Fatal(err)
		}
		if s, err := n.Status(ctx); err != nil || s.Height < got.Height {
			t.Errorf("it opens at %+v, %v", s, err)
		}
		if keys { // it signs on
			if err := n.Start(); err != nil {
				t.Fatal(err)
			}
			waitFor(t, n, got.Height+1)
		}
		if err := n.Stop(); err != nil {
			t.Fatal(err)
		}
	}

	var b bytes.Buffer
	if err := chain.Backup(ctx, home, &b, chain.BackupOptions{NoOffice: true}); err != nil {
		t.Fatal(err)
	}
	refused := func(name string, raw []byte, with ...age.Identity) {
		t.Helper()
		to := filepath.Join(t.TempDir(), "restored")
		if _, err := chain.Restore(ctx, to, bytes.NewReader(raw), noCheck, with...); err == nil {
			t.Errorf("%s: restored", name)
		}
		if list, err := os.ReadDir(filepath.Dir(to)); err != nil || len(list) > 0 {
			t.Errorf("%s: left %v, %v", name, list, err)
		}
	}
	// A changed octet in any file is refused, as is a shorter archive.
	for _, at := range contents(t, b.Bytes()) {
		bad := slices.Clone(b.Bytes())
		bad[at] ^= 1
		refused("a changed octet", bad)
	}
	refused("half of it", b.Bytes()[:b.Len()/2])
	refused("nothing", nil)

	// Encrypted, nobody but the recipient opens it.
	key, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	other, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	b.Reset()
	if err := chain.Backup(ctx, home, &b, chain.BackupOptions{Recipients: []age.Recipient{key.Recipient()}}); err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(b.Bytes(), []byte("secret")) {
		t.Error("the office stands in it in clear")
	}
	refused("encrypted, without a key", b.Bytes())
	refused("encrypted, with another key", b.Bytes(), other)
	bad := slices.Clone(b.Bytes())
	bad[len(bad)-100] ^= 1
	refused("encrypted and changed", bad, key)
	to := filepath.Join(t.TempDir(), "restored")
	if _, err := chain.Restore(ctx, to, bytes.NewReader(b.Bytes()), noCheck, key); err != nil {
		t.Error(err)
	}
	if text, err := os.ReadFile(filepath.Join(to, "office", "files", "a")); err != nil || string(text) != "secret" {
		t.Errorf("the office: %q, %v", text, err)
	}
}

// contents returns where in an archive each file that has octets begins.
func contents(t *testing.T, raw []byte) (at []int64) {
	t.Helper()
	from := bytes.NewReader(raw)
	for r := tar.NewReader(from); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return at
		}
		if err != nil {
			t.Fatal(err)
		}
		if h.Size > 0 {
			at = append(at, from.Size()-int64(from.Len()))
		}
	}
}

// TestBackupMixed: state and blocks that do not belong together are no node.
func TestBackupMixed(t *testing.T) {
	w := chaintest.Start(t, 1, time.Second)
	w.WaitHeight(0, 2)
	w.Stop(0)
	home := w.Config(0).Home
	old := filepath.Join(t.TempDir(), "blocks")
	if err := os.CopyFS(old, os.DirFS(filepath.Join(home, "blocks"))); err != nil {
		t.Fatal(err)
	}
	w.Restart(0)
	w.WaitHeight(0, 5)
	w.Stop(0)
	mixed := func(blocks string) error {
		t.Helper()
		if err := os.RemoveAll(filepath.Join(home, "blocks")); err != nil {
			t.Fatal(err)
		}
		if blocks != "" {
			if err := os.CopyFS(filepath.Join(home, "blocks"), os.DirFS(blocks)); err != nil {
				t.Fatal(err)
			}
		}
		var b bytes.Buffer
		if err := chain.Backup(ctx, home, &b, chain.BackupOptions{}); err != nil {
			t.Fatal(err)
		}
		_, err := chain.Restore(ctx, filepath.Join(t.TempDir(), "restored"), &b, noCheck)
		return err
	}
	if err := mixed(old); !errors.Is(err, folder.ErrDamaged) {
		t.Errorf("old blocks: %v", err)
	}
	if err := mixed(""); !errors.Is(err, folder.ErrDamaged) {
		t.Errorf("no blocks: %v", err)
	}
}

// FuzzBackupName: whatever an entry is called, it lands in its home or nowhere.
func FuzzBackupName(f *testing.F) {
	for _, name := range []string{
		"genesis.json", "state/000012.sst", "blocks/cs.wal/wal", "office/files/ab/cd", "state", "state/", "state/LOCK", "/etc/passwd",
		"state/../../x", "../x", "blocks//x", `state\..\x`, "C:state/x", "tls/key.pem", "index.sqlite",
	} {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		if !chain.InBackup(name) {
			return
		}
		if !filepath.IsLocal(name) || filepath.Clean(name) != name {
			t.Errorf("%q may stand in a backup", name)
		}
		top, _, below := strings.Cut(name, "/")
		if below && top != "blocks" && top != "office" && top != "state" {
			t.Errorf("%q may stand in a backup", name)
		}
	})
}
