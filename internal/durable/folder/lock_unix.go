// SPDX-License-Identifier: Apache-2.0

//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package folder

import (
	"errors"
	"fmt"
	"os"
	"syscall"
)

// Lock keeps other processes from locking the file at path, which it makes if
// there is none, until the file it returns is closed. The error matches
// [ErrLocked] if another process has locked it.
func Lock(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		if errors.Is(err, syscall.EWOULDBLOCK) {
			err = fmt.Errorf("%w: another process has the folder open; stop that one first", ErrLocked)
		}
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}
