// SPDX-License-Identifier: Apache-2.0

package chain_test

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"cityid"
	"cityid/internal/chain"
	"cityid/internal/chain/chaintest"
	"cityid/internal/store"
)

// TestSmallDisk runs a node on a disk that becomes full, and on one that becomes
// read-only: the process ends, says why, and loses nothing.
func TestSmallDisk(t *testing.T) {
	if testing.Short() {
		t.Skip("starts processes")
	}
	for name, fault := range map[string]struct {
		spoil func(dir string) error
		mend  string
		want  error
	}{
		"full": {func(dir string) error {
			// All that is left is taken by something else.
			f, err := os.Create(filepath.Join(dir, "something else"))
			if err != nil {
				return err
			}
			defer f.Close()
			for b := make([]byte, 1<<16); err == nil; _, err = f.Write(b) {
			}
			return nil
		}, "size=96m", store.ErrDiskFull},
		"read-only": {func(dir string) error {
			return syscall.Mount("", dir, "", syscall.MS_REMOUNT|syscall.MS_RDONLY, "")
		}, "", store.ErrReadOnly},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=48m"); err != nil {
				t.Skipf("a small file system can not be mounted here: %v", err)
			}
			t.Cleanup(func() {
				if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
					t.Error(err)
				}
			})
			cfg := home(t)
			if err := os.CopyFS(filepath.Join(dir, "node"), os.DirFS(cfg.Home)); err != nil {
				t.Fatal(err)
			}
			cfg.Home = filepath.Join(dir, "node")
			w := newTold()
			p := startChild(t, child{Config: cfg})
			p.open(t)
			time.Sleep(100 * time.Millisecond)
			if err := fault.spoil(dir); errors.Is(err, syscall.EBUSY) {
				t.Log("it can not be made read-only while it is in use; the process is started on it anew")
				p.kill(t)
				p.end(t, w)
				if err := fault.spoil(dir); err != nil {
					t.Fatal(err)
				}
				p = startChild(t, child{Config: cfg, Base: 5000})
			} else if err != nil {
				t.Fatal(err)
			}
			lines := p.end(t, w)
			if last := lines[len(lines)-1]; !strings.HasPrefix(last, "error") || !strings.Contains(last, fault.want.Error()) {
				t.Errorf("it ended with %q", last)
			} else {
				t.Log(last)
			}
			if err := syscall.Mount("", dir, "", syscall.MS_REMOUNT, fault.mend); err != nil {
				t.Fatal(err)
			}
			t.Logf("%d acknowledged", len(w.acks))
			w.check(t, cfg)
		})
	}
}

// TestBackupSmallDisk backs a running node up where there is too little room.
func TestBackupSmallDisk(t *testing.T) {
	temp := t.TempDir()
	w := chaintest.Start(t, 1, time.Second)
	w.WaitHeight(0, 1)
	nodeSubmit(t, w, 0, chaintest.Allocate(chaintest.Allocation("MA.156.1301", cityid.KindCity), chaintest.Allocation("MA.156.1301/20.010203", cityid.KindClass)))
	for b := range 4 {
		var items []cityid.Allocation
		for i := range 1000 {
			items = append(items, chaintest.Allocation(fmt.Sprintf("MA.156.1301/20.010203/%06d", 1000*b+i), cityid.KindObject))
		}
		nodeSubmit(t, w, 0, chaintest.Allocate(items...))
	}
	// Little room for the state, for blocks, and for neither.
	for _, size := range []string{"size=64k", "size=400k", "size=800k"} {
		if err := syscall.Mount("tmpfs", temp, "tmpfs", 0, size); err != nil {
			t.Skipf("a small file system can not be mounted here: %v", err)
		}
		err := chain.Backup(ctx, w.Config(0).Home, io.Discard, chain.BackupOptions{Temp: temp})
		if !errors.Is(err, store.ErrDiskFull) && !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("%s: %v", size, err)
		}
		left(t, temp)
		if err := syscall.Unmount(temp, syscall.MNT_DETACH); err != nil {
			t.Fatal(err)
		}
	}
	nodeSubmit(t, w, 0, city(2)) // the node has no part in it
	if err := chain.Backup(ctx, w.Config(0).Home, io.Discard, chain.BackupOptions{Temp: temp}); err != nil {
		t.Error(err)
	}
}
