// SPDX-License-Identifier: Apache-2.0

//go:build !unix

package main

import "errors"

// diskFree is not known on this system.
func diskFree(string) (uint64, error) { return 0, errors.ErrUnsupported }

// openFilesLimit is not known on this system.
func openFilesLimit() (uint64, error) { return 0, errors.ErrUnsupported }
