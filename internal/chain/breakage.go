// SPDX-License-Identifier: Apache-2.0

package chain

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"syscall"

	"cityid/internal/store"
)

// diskError is an error of CometBFT that tells of the disk: what to do, and what was
// refused. CometBFT's errors have no types left by then, so it goes by their text.
type diskError struct{ kind, cause error }

func (e diskError) Error() string   { return fmt.Sprintf("%v (%v)", e.kind, e.cause) }
func (e diskError) Unwrap() []error { return []error{e.kind, e.cause} }

// errFiles: the process may not open any more files.
var errFiles = errors.New("too many files are open; raise the limit of open files (LimitNOFILE, ulimit -n), then start the node again")

// ofDisk wraps an error of CometBFT in what to do, if it tells of a disk that is full or
// may not be used; others it leaves as they are.
func ofDisk(err error) error {
	for _, k := range []struct {
		kind error
		says []syscall.Errno
	}{
		{store.ErrDiskFull, []syscall.Errno{syscall.ENOSPC, syscall.EDQUOT}},
		{store.ErrReadOnly, []syscall.Errno{syscall.EROFS, syscall.EACCES, syscall.EPERM}},
		{store.ErrDisk, []syscall.Errno{syscall.EIO}},
		{errFiles, []syscall.Errno{syscall.EMFILE, syscall.ENFILE}},
	} {
		for _, e := range k.says {
			if strings.Contains(err.Error(), e.Error()) {
				return diskError{k.kind, err}
			}
		}
	}
	return err
}

// damaged wraps an error of CometBFT in [ErrBlocks], if it tells of its databases and
// of nothing that an operator can change.
func damaged(err error) error {
	if err := ofDisk(err); errors.As(err, new(diskError)) {
		return err
	}
	for _, of := range []string{"leveldb", "initialize database", "handshake", "validator set", "Height", "unmarshal", "proto"} {
		if strings.Contains(err.Error(), of) {
			return fmt.Errorf("%w (%w)", ErrBlocks, err)
		}
	}
	return err
}

// breakage is why consensus ended. It is safe for concurrent use.
type breakage struct {
	mu    sync.Mutex
	cause error // nil: not known
}

// maxCause bounds what is repeated of CometBFT's reason, which may hold whole blocks.
const maxCause = 500

// note keeps the first reason.
func (b *breakage) note(cause any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.cause == nil {
		b.cause = fmt.Errorf("%v", cause)
	}
}

// reason says why consensus ended, and what to do if that follows.
func (b *breakage) reason() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.cause == nil {
		return errors.New("consensus ended; the log above says why")
	}
	err := ofDisk(b.cause)
	if d := (diskError{}); errors.As(err, &d) {
		return fmt.Errorf("consensus ended: %w (%.*s)", d.kind, maxCause, d.cause)
	}
	return fmt.Errorf("consensus ended: %.*s; the log above says more", maxCause, err)
}
