// SPDX-License-Identifier: Apache-2.0

package store

import (
	"errors"
	"fmt"
	iofs "io/fs"
	"log/slog"
	"os"
	"strings"
	"sync"
	"syscall"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// classify wraps an error of the disk or the database in the one of this
// package that says what to do. It leaves errors that have one as they are.
func classify(err error) error {
	for _, known := range []error{nil, ErrDiskFull, ErrReadOnly, ErrCorrupt, ErrDisk} {
		if errors.Is(err, known) {
			return err
		}
	}
	switch {
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return fmt.Errorf("%w: %w", ErrDiskFull, err)
	case errors.Is(err, syscall.EROFS), errors.Is(err, iofs.ErrPermission):
		return fmt.Errorf("%w: %w", ErrReadOnly, err)
	case pebble.IsCorruptionError(err):
		return fmt.Errorf("%w: %w", ErrCorrupt, firstLine{err})
	}
	return fmt.Errorf("%w: %w", ErrDisk, err)
}

// firstLine is an error of Pebble without the line it appends to name a wrapper
// of its own.
type firstLine struct{ error }

func (e firstLine) Error() string {
	what, _, _ := strings.Cut(e.error.Error(), "\n")
	return what
}

func (e firstLine) Unwrap() error { return e.error }

// classifyLock does the same for an error from taking the folder's lock.
func classifyLock(err error) error {
	// The lock is advisory; a file that may not be opened is another matter.
	var path *os.PathError
	if errors.As(err, &path) {
		return classify(err)
	}
	return fmt.Errorf("%w: %w", ErrLocked, err)
}

// fuse remembers why a Store can not go on, and trips at the first write which
// the disk refuses. Pebble answers some such failures with a panic, some by
// trying again, and after some the state of a file is unknown; it counts on the
// process to end. So from then on nothing is written, and whoever tries, Pebble's
// own goroutines mostly, waits for the end of the process. Reads go on.
type fuse struct {
	tripped chan struct{} // closed when it trips

	mu    sync.Mutex
	cause error
	off   bool // it has tripped
}

func newFuse() *fuse { return &fuse{tripped: make(chan struct{})} }

// trip ends all writing. The first cause counts.
func (f *fuse) trip(cause error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.cause == nil {
		f.cause = cause
	}
	if !f.off {
		f.off = true
		close(f.tripped)
	}
}

// fail records why there can be no more commits. Pebble may still write.
func (f *fuse) fail(cause error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.cause == nil {
		f.cause = cause
	}
}

// err returns why there can be no more commits, nil if there can.
func (f *fuse) err() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.cause
}

// hasTripped reports whether all writing has ended.
func (f *fuse) hasTripped() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.off
}

// guard runs a write, and trips the fuse if it fails. Once the fuse has tripped
// it does not return.
func (f *fuse) guard(write func() error) {
	if !f.hasTripped() {
		err := write()
		if err == nil {
			return
		}
		f.trip(classify(err))
	}
	select {}
}

// wait runs what writes in the end, and returns its error; if the fuse trips
// meanwhile it does not wait any longer and returns the cause.
func (f *fuse) wait(do func() error) error {
	done := make(chan error, 1)
	go func() { done <- do() }()
	select {
	case err := <-done:
		return classify(err)
	case <-f.tripped:
		return f.err()
	}
}

// write commits a Pebble batch durably.
func (s *Store) write(pb *pebble.Batch) error { return s.writeWith(pb, pebble.Sync) }

func (s *Store) writeWith(pb *pebble.Batch, o *pebble.WriteOptions) error {
	err := s.fuse.wait(func() error { return pb.Commit(o) })
	if err != nil {
		s.fuse.trip(err) // whatever it was, the outcome is not known
	}
	if cause := s.fuse.err(); cause != nil {
		return cause
	}
	return pb.Close()
}

// closeDB closes the database and gives the lock back, unless the fuse has
// tripped: then a goroutine that waits for the end may hold the database.
func (s *Store) closeDB() error {
	if s.fuse.hasTripped() {
		return s.fuse.err()
	}
	db := s.db
	err := s.fuse.wait(func() error {
		s.closing.Wait()
		return db.Close()
	})
	if s.fuse.hasTripped() {
		return s.fuse.err()
	}
	err = errors.Join(err, s.lock.Close())
	if cause := s.fuse.err(); cause != nil {
		return cause
	}
	return classify(err)
}

// guardFS is a file system whose writes go through a fuse.
type guardFS struct {
	vfs.FS
	fuse *fuse
}

func (g guardFS) Unwrap() vfs.FS { return g.FS }

// file guards the making of a file, and the file.
func (g guardFS) file(open func() (vfs.File, error)) (f vfs.File, err error) {
	g.fuse.guard(func() error { f, err = open(); return err })
	return guardFile{f, g.fuse}, nil
}

// Create makes a file. Pebble's marker files, whose names say which manifest is
// the current one, get more care than Pebble takes: the folder is synced before,
// so that no marker survives a crash which its manifest does not, and after, so
// that the old marker is not gone before the new one is sure to be there.
func (g guardFS) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	marker := strings.HasPrefix(g.PathBase(name), "marker.")
	return g.file(func() (vfs.File, error) {
		if marker {
			if err := syncDir(g.FS, g.PathDir(name)); err != nil {
				return nil, err
			}
		}
		f, err := g.FS.Create(name, c)
		if err == nil && marker {
			err = syncDir(g.FS, g.PathDir(name))
		}
		return f, err
	})
}

func (g guardFS) OpenReadWrite(name string, c vfs.DiskWriteCategory, o ...vfs.OpenOption) (vfs.File, error) {
	return g.file(func() (vfs.File, error) { return g.FS.OpenReadWrite(name, c, o...) })
}

func (g guardFS) ReuseForWrite(oldname, newname string, c vfs.DiskWriteCategory) (vfs.File, error) {
	return g.file(func() (vfs.File, error) { return g.FS.ReuseForWrite(oldname, newname, c) })
}

// OpenDir opens a folder to sync it.
func (g guardFS) OpenDir(name string) (vfs.File, error) {
	f, err := g.FS.OpenDir(name)
	if err != nil {
		return nil, err
	}
	return guardFile{f, g.fuse}, nil
}

func (g guardFS) Link(oldname, newname string) error {
	g.fuse.guard(func() error { return g.FS.Link(oldname, newname) })
	return nil
}

func (g guardFS) Rename(oldname, newname string) error {
	g.fuse.guard(func() error { return g.FS.Rename(oldname, newname) })
	return nil
}

func (g guardFS) MkdirAll(dir string, perm os.FileMode) error {
	g.fuse.guard(func() error { return g.FS.MkdirAll(dir, perm) })
	return nil
}

// Remove waits like any write, but its own failure is an ordinary error: a file
// too many does no harm.
func (g guardFS) Remove(name string) (err error) {
	g.fuse.guard(func() error { err = g.FS.Remove(name); return nil })
	return err
}

func (g guardFS) RemoveAll(name string) (err error) {
	g.fuse.guard(func() error { err = g.FS.RemoveAll(name); return nil })
	return err
}

// syncDir makes the names in a folder durable.
func syncDir(fs vfs.FS, dir string) error {
	d, err := fs.OpenDir(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// makeDir makes a folder and those above it, durably.
func makeDir(fs vfs.FS, dir string) error {
	if _, err := fs.Stat(dir); err == nil {
		return nil
	}
	parent := fs.PathDir(dir)
	if parent != dir {
		if err := makeDir(fs, parent); err != nil {
			return err
		}
	}
	if err := fs.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	return syncDir(fs, parent)
}

// checkNoRemains requires that a folder in which Pebble finds no database has
// none of its data either: a new one must never take the place of a damaged one.
func checkNoRemains(fs vfs.FS, dir string) error {
	desc, err := pebble.Peek(dir, fs)
	if err != nil {
		return classify(err)
	}
	if desc.Exists {
		return nil
	}
	names, err := fs.List(dir)
	if err != nil {
		return classify(err)
	}
	for _, name := range names {
		if strings.HasSuffix(name, ".sst") || strings.HasSuffix(name, ".log") {
			return fmt.Errorf("%s is there but nothing says which files are current: %w", name, ErrCorrupt)
		}
	}
	return nil
}

// guardFile is a file whose writes go through a fuse.
type guardFile struct {
	vfs.File
	fuse *fuse
}

func (g guardFile) Write(p []byte) (n int, err error) {
	g.fuse.guard(func() error { n, err = g.File.Write(p); return err })
	return n, nil
}

func (g guardFile) WriteAt(p []byte, off int64) (n int, err error) {
	g.fuse.guard(func() error { n, err = g.File.WriteAt(p, off); return err })
	return n, nil
}

func (g guardFile) Sync() error {
	g.fuse.guard(g.File.Sync)
	return nil
}

func (g guardFile) SyncData() error {
	g.fuse.guard(g.File.SyncData)
	return nil
}

func (g guardFile) SyncTo(length int64) (full bool, err error) {
	g.fuse.guard(func() error { full, err = g.File.SyncTo(length); return err })
	return full, nil
}

// logger takes Pebble's messages. Fatalf is what Pebble calls before it relies on
// the process to end; here it trips the fuse.
type logger struct {
	log  *slog.Logger
	fuse *fuse
}

func (l *logger) Infof(format string, args ...any)  { l.log.Debug(fmt.Sprintf(format, args...)) }
func (l *logger) Errorf(format string, args ...any) { l.log.Warn(fmt.Sprintf(format, args...)) }
func (l *logger) Fatalf(format string, args ...any) {
	err := fmt.Errorf(format, args...)
	l.log.Error(err.Error())
	l.fuse.trip(classify(err))
}
