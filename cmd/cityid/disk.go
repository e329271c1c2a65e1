// SPDX-License-Identifier: Apache-2.0

//go:build unix

package main

import "syscall"

// diskFree returns how many octets this process may still write on the disk of a
// folder.
func diskFree(folder string) (uint64, error) {
	var s syscall.Statfs_t
	if err := syscall.Statfs(folder, &s); err != nil {
		return 0, err
	}
	return uint64(s.Bavail) * uint64(s.Bsize), nil
}

// openFilesLimit returns how many files a process of this user may have open.
func openFilesLimit() (uint64, error) {
	var l syscall.Rlimit
	err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l)
	return uint64(l.Cur), err
}
