// SPDX-License-Identifier: Apache-2.0

// Package durable writes files that are on the disk, whole, once it says so.
package durable

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
)

// WriteNew makes the file at path, which only its owner can read (mode 0600),
// whole and durable or not at all. If there is a file, it fails with an error that
// matches [os.ErrExist]. Of several callers at once, one succeeds.
func WriteNew(path string, data []byte) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".new-*") // mode 0600
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.Remove(f.Name())) }()
	_, err = f.Write(data)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Link(f.Name(), path); err != nil {
		return err
	}
	return SyncDir(filepath.Dir(path))
}

// SyncDir makes the names in a folder durable. Windows has no such call and needs
// none.
func SyncDir(dir string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
