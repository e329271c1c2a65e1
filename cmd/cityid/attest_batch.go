// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"cityid"
	"cityid/internal/durable"
	"cityid/verify"
)

// proofSuffix is what the name of a file is followed by in the name of its proof.
const proofSuffix = ".proof.json"

// batch vouches for several files together. Their leaves are written before their
// proofs, and these before anything is submitted; and they are found again when
// the same files are vouched for once more. So no crash makes two batches of them,
// or leaves one without a proof.
func (a *attesting) batch(ctx context.Context, paths []string) error {
	if len(paths) > cityid.MaxBatch {
		return usagef("%d files: a batch has at most %d", len(paths), cityid.MaxBatch)
	}
	if err := os.MkdirAll(a.proofs, 0o755); err != nil {
		return err
	}
	proofs, err := a.proofPaths(paths)
	if err != nil {
		return err
	}
	l, err := a.known(ctx, paths)
	if err == nil && l == nil {
		l, err = a.grow(ctx, paths, proofs)
	} else if err == nil {
		a.talk("%s has the leaves of these files: this is the same batch again", a.proofs)
	}
	if err != nil {
		return err
	}
	tree, err := l.tree()
	if err != nil {
		return err
	}
	for i, path := range proofs {
		p, err := tree.Proof(a.source, uint64(i), false)
		if err != nil {
			return err
		}
		if err := writeOnce(path, p.Encode()); err != nil {
			return err
		}
	}
	a.talk("%s in %s: keep them with the files", count(len(proofs), "proof"), a.proofs)
	if a.label == "" {
		a.label = count(len(paths), "file")
	}
	return a.vouch(ctx, l.operation(tree.Root(), a.label))
}

// writeOnce writes a file that may be there already with the same content.
func writeOnce(path string, b []byte) error {
	err := durable.WriteNew(path, b)
	if !errors.Is(err, fs.ErrExist) {
		return err
	}
	there, err := os.ReadFile(path)
	if err == nil && !bytes.Equal(there, b) {
		err = hint(exitError{exitConflict, fmt.Errorf("%s is there already, of another batch", path)}, "choose another folder with --proofs: proofs are never overwritten")
	}
	return err
}

// proofPaths returns where the proof of each file stands.
func (a *attesting) proofPaths(paths []string) ([]string, error) {
	seen := map[string]string{}
	out := make([]string, len(paths))
	for i, path := range paths {
		name := filepath.Base(path)
		if path == "-" {
			return nil, usagef("standard input is no file of a batch")
		}
		if other, ok := seen[strings.ToLower(name)]; ok {
			return nil, usagef("%s and %s have one name, and so would their proofs", other, path)
		}
		seen[strings.ToLower(name)] = path
		out[i] = filepath.Join(a.proofs, name+proofSuffix)
	}
	return out, nil
}

// known returns the batch of these very files whose leaves are there already, or
// nil.
func (a *attesting) known(ctx context.Context, paths []string) (*leavesFile, error) {
	names, err := filepath.Glob(filepath.Join(a.proofs, "files-*.leaves"))
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		l, err := readLeaves(ctx, name)
		if err != nil {
			return nil, err
		}
		if l.Source != a.source || len(l.leaves) != len(paths) || l.Leaves == 0 {
			continue
		}
		same := true
		for i := 0; same && i < len(paths); i++ {
			leaf, _, err := fileLeaf(ctx, l.Seed, i, paths[i])
			if err != nil {
				return nil, err
			}
			same = leaf == l.leaves[i]
		}
		if same {
			return l, nil
		}
	}
	return nil, nil
}

// grow makes the leaves of a new batch and writes them. None of its proofs may be
// there.
func (a *attesting) grow(ctx context.Context, paths, proofs []string) (*leavesFile, error) {
	for _, path := range proofs {
		if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
			return nil, hint(exitError{exitConflict, errors.Join(err, fmt.Errorf("%s is there already, of another batch", path))}, "choose another folder with --proofs: proofs are never overwritten")
		}
	}
	l := &leavesFile{leavesHead: leavesHead{Version: 1, Source: a.source, Leaves: uint64(len(paths))}}
	if _, err := rand.Read(l.Seed[:]); err != nil {
		return nil, err
	}
	for i, path := range paths {
		leaf, n, err := fileLeaf(ctx, l.Seed, i, path)
		if err != nil {
			return nil, err
		}
		l.leaves, l.Size = append(l.leaves, leaf), l.Size+n
	}
	tree, err := l.tree()
	if err != nil {
		return nil, err
	}
	return l, durable.WriteNew(filepath.Join(a.proofs, "files-"+tree.Root().String()[:12]+".leaves"), l.encode())
}

// fileLeaf returns the leaf of a file, and its size.
func fileLeaf(ctx context.Context, seed cityid.Digest, i int, path string) (leaf cityid.Digest, n uint64, err error) {
	f, err := os.Open(path)
	if err != nil {
		return leaf, 0, err
	}
	defer f.Close()
	c := &counter{r: f, ctx: ctx}
	leaf, err = verify.BatchLeaf(seed, uint64(i), c)
	return leaf, c.n, err
}

// counter counts what is read, and stops when ctx ends.
type counter struct {
	r   io.Reader
	ctx context.Context
	n   uint64
}

func (c *counter) Read(b []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := c.r.Read(b)
	c.n += uint64(n)
	return n, err
}
