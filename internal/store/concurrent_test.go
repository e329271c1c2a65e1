// SPDX-License-Identifier: Apache-2.0

package store

import (
	"errors"
	"fmt"
	"sync"
	"testing"

	"cityid/merkle"
)

// TestReadersBesideWriter is for the race detector; each reader also checks that
// its version is whole: all keys of a height hold that height.
func TestReadersBesideWriter(t *testing.T) {
	backends(t, func(t *testing.T, open opener) {
		s := open(t, Options{Retain: 4})
		heights := uint64(60)
		done := make(chan struct{})
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() {
				for {
					select {
					case <-done:
						return
					default:
					}
					v, err := s.Latest()
					if err != nil {
						t.Error(err)
						return
					}
					readWhole(t, v)
					v.Close()
					oldest, _ := s.Retained()
					if v, err = s.At(oldest); err == nil {
						readWhole(t, v)
						v.Close()
					} else if !errors.Is(err, ErrNotRetained) {
						t.Error(err)
					}
				}
			})
		}
		for h := uint64(1); h <= heights; h++ {
			b := mustBegin(t, s)
			for i := range 30 {
				b.Set(fmt.Appendf(nil, "k%d\x00", i), fmt.Append(nil, h))
			}
			b.SetSide([]byte("h"), fmt.Append(nil, h))
			if err := b.Commit(h); err != nil {
				t.Fatal(err)
			}
		}
		close(done)
		wg.Wait()
		mustClose(t, s)
	})
}

func readWhole(t *testing.T, v *View) {
	if v.Height() == 0 {
		return
	}
	want := fmt.Sprint(v.Height())
	n := 0
	err := v.Scan(nil, nil, func(k, value []byte) bool {
		if string(value) != want {
			t.Errorf("height %s holds %q", want, value)
		}
		n++
		return true
	})
	if err != nil || n != 30 {
		t.Errorf("%d keys, %v", n, err)
	}
	p, value, err := v.Prove([]byte("k7\x00"))
	if err == nil {
		err = merkle.Check(v.Root(), []byte("k7\x00"), value, p)
	}
	if err != nil {
		t.Error(err)
	}
	if _, err := v.store.GetSide([]byte("h")); err != nil {
		t.Error(err)
	}
}
