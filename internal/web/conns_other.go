// SPDX-License-Identifier: Apache-2.0

//go:build !unix

package web

// defaultConns is how many connections the process can hold.
func defaultConns() int { return maxConns }
