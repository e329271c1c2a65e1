// SPDX-License-Identifier: Apache-2.0

//go:build unix

package web

import "syscall"

// defaultConns is how many connections the process can hold: half of the files
// it may have open, the other half being for its databases and peers.
func defaultConns() int {
	var files syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files); err != nil {
		return maxConns
	}
	return int(max(1, min(uint64(files.Cur)/2, maxConns)))
}
