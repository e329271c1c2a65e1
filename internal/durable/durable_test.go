// SPDX-License-Identifier: Apache-2.0

package durable

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
)

// TestWriteNew has several write one file at once: one does, and nothing else is
// left in the folder.
func TestWriteNew(t *testing.T) {
	path := filepath.Join(t.TempDir(), "key")
	var done sync.WaitGroup
	var wrote atomic.Value
	for i := range 8 {
		done.Go(func() {
			switch err := WriteNew(path, []byte(strconv.Itoa(i))); {
			case err == nil:
				if !wrote.CompareAndSwap(nil, strconv.Itoa(i)) {
					t.Error("two have written it")
				}
			case !errors.Is(err, os.ErrExist):
				t.Error(err)
			}
		})
	}
	done.Wait()
	got, err := os.ReadFile(path)
	if err != nil || string(got) != wrote.Load() {
		t.Errorf("it holds %q, %v; %v was written", got, err, wrote.Load())
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if list, err := os.ReadDir(filepath.Dir(path)); err != nil || len(list) != 1 {
		t.Errorf("the folder holds %v, %v", list, err)
	}
	if err := WriteNew(filepath.Join(path, "x"), nil); err == nil {
		t.Error("wrote into a folder that is none")
	}
}
