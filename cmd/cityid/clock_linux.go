// SPDX-License-Identifier: Apache-2.0

package main

import "syscall"

// clockKept reports whether a time service keeps the system's clock.
func clockKept() (bool, error) {
	const unsynchronized = 0x40 // STA_UNSYNC of adjtimex(2)
	var t syscall.Timex
	if _, err := syscall.Adjtimex(&t); err != nil {
		return false, err
	}
	return t.Status&unsynchronized == 0, nil
}
