// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"os"

	"cityid"
)

// interruptible runs read, which may wait for a person or a pipe for ever, and
// gives up when ctx ends. What read then still returns is dropped.
func interruptible[T any](ctx context.Context, read func() (T, error)) (T, error) {
	type result struct {
		value T
		err   error
	}
	done := make(chan result, 1)
	go func() {
		v, err := read()
		done <- result{v, err}
	}()
	select {
	case r := <-done:
		return r.value, r.err
	case <-ctx.Done():
		var none T
		return none, ctx.Err()
	}
}

// withInput calls read with a file, or with standard input for "-".
func withInput[T any](ctx context.Context, path string, read func(io.Reader) (T, error)) (T, error) {
	if path == "-" {
		return interruptible(ctx, func() (T, error) { return read(os.Stdin) })
	}
	f, err := os.Open(path)
	if err != nil {
		var none T
		return none, err
	}
	defer f.Close()
	return read(f)
}

// readBounded reads a file of at most limit octets, or standard input for "-".
func readBounded(ctx context.Context, path string, limit int64) ([]byte, error) {
	b, err := withInput(ctx, path, func(r io.Reader) ([]byte, error) { return io.ReadAll(io.LimitReader(r, limit+1)) })
	if err == nil && int64(len(b)) > limit {
		return nil, fmt.Errorf("%s is larger than %d octets", path, limit)
	}
	return b, err
}

// digestFile returns the SHA-256 and the size of a file, or of standard input
// for "-".
func digestFile(ctx context.Context, path string) (d cityid.Digest, size uint64, err error) {
	h := sha256.New()
	n, err := withInput(ctx, path, func(r io.Reader) (int64, error) { return io.Copy(h, r) })
	if err != nil {
		return cityid.Digest{}, 0, err
	}
	return cityid.Digest(h.Sum(nil)), uint64(n), nil
}

// strictJSON is [cityid.DecodeJSON].
func strictJSON(b []byte, v any) error { return cityid.DecodeJSON(b, v) }
