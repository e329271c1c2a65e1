// SPDX-License-Identifier: Apache-2.0

//go:build !darwin && !dragonfly && !freebsd && !linux && !netbsd && !openbsd

package bulk

import "os"

// lock does nothing on systems without flock: there, the caller sees to it
// that one process at a time imports a table.
func lock(*os.File) error { return nil }
