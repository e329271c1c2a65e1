// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package main

import "errors"

// clockKept is not known on this system.
func clockKept() (bool, error) { return false, errors.ErrUnsupported }
