// SPDX-License-Identifier: Apache-2.0

package store

import (
	"errors"
	"io/fs"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
)

// powerCut returns what is left of a file system when nothing but what was
// synced survives.
func powerCut(f *vfs.MemFS) *vfs.MemFS { return f.CrashClone(vfs.CrashCloneCfg{}) }

func exists(f vfs.FS, name string) bool {
	_, err := f.Stat(name)
	return err == nil
}

func TestMakeDirIsDurable(t *testing.T) {
	mem := vfs.NewCrashableMem()
	if err := makeDir(mem, "a/b/c"); err != nil {
		t.Fatal(err)
	}
	if !exists(powerCut(mem), "a/b/c") {
		t.Error("the folder is gone")
	}
}

func TestMarkersAreDurable(t *testing.T) {
	mem := vfs.NewCrashableMem()
	if err := makeDir(mem, "d"); err != nil {
		t.Fatal(err)
	}
	g := guardFS{mem, newFuse()}
	create := func(name string) {
		f, err := g.Create(name, vfs.WriteCategoryUnspecified)
		if err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
	create("d/MANIFEST-000001")
	if exists(powerCut(mem), "d/MANIFEST-000001") {
		t.Fatal("the file system keeps what was not synced")
	}
	var before bool
	spy := errorfs.Wrap(mem, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if op.Kind == errorfs.OpCreate {
			before = exists(powerCut(mem), "d/MANIFEST-000001")
		}
		return nil
	}))
	g.FS = spy
	create("d/marker.manifest.000001.MANIFEST-000001")
	if !before {
		t.Error("the marker may survive what it names")
	}
	if !exists(powerCut(mem), "d/marker.manifest.000001.MANIFEST-000001") {
		t.Error("the marker may be lost")
	}
}

// TestFuse requires that nothing reaches the disk after a failure, whoever tries.
func TestFuse(t *testing.T) {
	fault := &faultFS{at: 3}
	f := newFuse()
	g := guardFS{errorfs.Wrap(vfs.NewMem(), fault), f}
	file, err := g.Create("x", vfs.WriteCategoryUnspecified)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := file.Write([]byte("1")); err != nil {
		t.Fatal(err)
	}
	if err := f.wait(file.Sync); !errors.Is(err, ErrDiskFull) {
		t.Errorf("sync: %v", err)
	}
	back := make(chan string, 16)
	for name, write := range map[string]func(){
		"Create":        func() { g.Create("y", vfs.WriteCategoryUnspecified) },
		"OpenReadWrite": func() { g.OpenReadWrite("y", vfs.WriteCategoryUnspecified) },
		"ReuseForWrite": func() { g.ReuseForWrite("x", "y", vfs.WriteCategoryUnspecified) },
		"Link":          func() { g.Link("x", "y") },
		"Rename":        func() { g.Rename("x", "y") },
		"Remove":        func() { g.Remove("x") },
		"RemoveAll":     func() { g.RemoveAll("x") },
		"MkdirAll":      func() { g.MkdirAll("d", 0o700) },
		"Write":         func() { file.Write([]byte("2")) },
		"WriteAt":       func() { file.WriteAt([]byte("2"), 0) },
		"Sync":          func() { file.Sync() },
		"SyncData":      func() { file.SyncData() },
		"SyncTo":        func() { file.SyncTo(1) },
	} {
		go func() {
			write()
			back <- name
		}()
	}
	select {
	case name := <-back:
		t.Errorf("%s returns", name)
	case <-time.After(50 * time.Millisecond):
	}
	if n := fault.count.Load(); n != 3 {
		t.Errorf("%d writes after the one that failed", n-3)
	}
	if !exists(g, "x") {
		t.Error("reading fails")
	}
}

func TestClassify(t *testing.T) {
	for _, c := range []struct{ err, want error }{
		{nil, nil},
		{&os.PathError{Op: "write", Err: syscall.ENOSPC}, ErrDiskFull},
		{syscall.EDQUOT, ErrDiskFull},
		{&os.PathError{Op: "open", Err: syscall.EROFS}, ErrReadOnly},
		{fs.ErrPermission, ErrReadOnly},
		{pebble.ErrCorruption, ErrCorrupt},
		{syscall.EIO, ErrDisk},
		{ErrDiskFull, ErrDiskFull},
	} {
		got := classify(c.err)
		if !errors.Is(got, c.want) || !errors.Is(got, c.err) {
			t.Errorf("%v becomes %v", c.err, got)
		}
	}
	if got := classifyLock(syscall.EAGAIN); !errors.Is(got, ErrLocked) {
		t.Errorf("lock: %v", got)
	}
	if got := classifyLock(&os.PathError{Op: "open", Err: syscall.EACCES}); !errors.Is(got, ErrReadOnly) {
		t.Errorf("lock file: %v", got)
	}
}
