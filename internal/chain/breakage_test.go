// SPDX-License-Identifier: Apache-2.0

package chain_test

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"

	"cityid/internal/chain"
	"cityid/internal/store"
)

// TestBroken looks at what a node says once CometBFT has ended consensus.
func TestBroken(t *testing.T) {
	write := func(e error) error { return &os.PathError{Op: "write", Path: "/srv/blocks/cs.wal/wal", Err: e} }
	for _, c := range []struct {
		cause any
		kind  error // nil: none
		says  string
	}{
		{write(syscall.ENOSPC), store.ErrDiskFull, "cs.wal"},
		// As CometBFT panics, with a text.
		{fmt.Sprintf("failed to write msg to consensus WAL due to %v; check your file system", write(syscall.ENOSPC)), store.ErrDiskFull, "cs.wal"},
		{write(syscall.EDQUOT), store.ErrDiskFull, "quota"},
		{write(syscall.EROFS), store.ErrReadOnly, "read-only"},
		{write(syscall.EIO), store.ErrDisk, "input/output"},
		{fmt.Errorf("open: %w", syscall.EMFILE), nil, "LimitNOFILE"},
		{"+2/3 committed an invalid block", nil, "+2/3 committed an invalid block"},
		{strings.Repeat("x", 10_000), nil, "the log above says more"},
		{nil, nil, "the log above says why"},
	} {
		err := chain.Broken(c.cause)
		if !strings.Contains(err.Error(), c.says) || len(err.Error()) > 1000 {
			t.Errorf("%.100v: %v", c.cause, err)
		}
		for _, kind := range []error{store.ErrDiskFull, store.ErrReadOnly, store.ErrDisk} {
			if errors.Is(err, kind) != (kind == c.kind) {
				t.Errorf("%.100v is taken for %v", c.cause, err)
			}
		}
	}
}
