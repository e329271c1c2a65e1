// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

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

// strictJSON decodes exactly one JSON value. It refuses unknown fields, and
// fields that stand twice: of those, two readers might see different ones.
func strictJSON(b []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	switch err := d.Decode(v); {
	case errors.Is(err, io.ErrUnexpectedEOF):
		return errors.New("it ends in the middle")
	case errors.Is(err, io.EOF):
		return errors.New("it is empty")
	case err != nil:
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("something follows the JSON value")
	}
	return noRepeats(b)
}

// noRepeats refuses JSON in which a field of an object stands twice. Names that
// differ in case alone are the same, as encoding/json takes them.
func noRepeats(b []byte) error {
	type level struct {
		seen map[string]bool // the fields of an object so far; nil in an array
		name bool            // a field's name comes next
	}
	var open []level
	d := json.NewDecoder(bytes.NewReader(b))
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if top := len(open) - 1; top >= 0 && open[top].seen != nil {
			name, isText := token.(string)
			if open[top].name && isText {
				folded := strings.ToLower(name)
				if open[top].seen[folded] {
					return fmt.Errorf("field %.80q stands twice", name)
				}
				open[top].seen[folded], open[top].name = true, false
				continue
			}
			open[top].name = true
		}
		switch token {
		case json.Delim('{'):
			open = append(open, level{seen: map[string]bool{}, name: true})
		case json.Delim('['):
			open = append(open, level{})
		case json.Delim('}'), json.Delim(']'):
			open = open[:len(open)-1]
		}
	}
}
