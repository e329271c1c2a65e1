// SPDX-License-Identifier: Apache-2.0

//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package office

import (
	"errors"
	"fmt"
	"os"
	"syscall"
)

// lockFile keeps other processes from opening the folder until the file it
// returns is closed.
func lockFile(path string) (*os.File, error) {
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
