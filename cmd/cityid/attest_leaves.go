// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"cityid"
	"cityid/verify"
)

// leavesHead is the first line of a leaves file, in JSON. As many leaves as it
// says follow, 32 octets each. docs/formats.md describes it.
type leavesHead struct {
	Version int           `json:"version"` // 1
	Source  cityid.Code   `json:"source"`
	Seed    cityid.Digest `json:"seed"`            // of the salts; whoever has it can test guesses
	Leaves  uint64        `json:"leaves"`          // 0 while the batch is open
	Size    uint64        `json:"size"`            // octets of all pieces
	Lines   bool          `json:"lines,omitempty"` // the pieces are lines of text
	From    cityid.Time   `json:"from,omitzero"`   // of lines: when the first was read
	Until   cityid.Time   `json:"until,omitzero"`  // when the last was
}

// leavesFile is a batch as it is kept by whoever vouches for it: enough to prove
// every piece, though not to have it.
type leavesFile struct {
	leavesHead
	leaves []cityid.Digest
}

const (
	maxLeavesHead = 1024
	maxLeavesFile = maxLeavesHead + 32*cityid.MaxBatch
)

func (l *leavesFile) encode() []byte {
	b, err := json.Marshal(&l.leavesHead)
	if err != nil {
		panic(err) // the type always encodes
	}
	b = append(b, '\n')
	for _, leaf := range l.leaves {
		b = append(b, leaf[:]...)
	}
	return b
}

// parseLeaves reads a leaves file. Of one whose batch is open, leaves at the end
// that are not whole are left out.
func parseLeaves(b []byte) (*leavesFile, error) {
	head, rest, ok := bytes.Cut(b[:min(len(b), maxLeavesHead)], []byte("\n"))
	if !ok {
		return nil, errors.New("its first line does not end")
	}
	rest = b[len(head)+1:]
	l := new(leavesFile)
	if err := strictJSON(head, &l.leavesHead); err != nil {
		return nil, err
	}
	if again, err := json.Marshal(&l.leavesHead); err != nil || !bytes.Equal(again, head) {
		return nil, errors.New("its first line is not in its one form")
	}
	n := uint64(len(rest)) / 32
	switch {
	case l.Version != 1:
		return nil, fmt.Errorf("version %d is unknown", l.Version)
	case l.Source.IsZero() || l.Seed.IsZero():
		return nil, errors.New("source and seed must be given")
	case n > cityid.MaxBatch:
		return nil, fmt.Errorf("%d leaves: at most %d", n, cityid.MaxBatch)
	case l.Leaves != 0 && (l.Leaves != n || len(rest)%32 != 0):
		return nil, fmt.Errorf("it says that it has %d leaves, and %d octets follow", l.Leaves, len(rest))
	case !l.From.Valid() || !l.Until.Valid() || l.From < 0 || l.Leaves != 0 && l.Until < l.From:
		return nil, errors.New("its times can not be")
	}
	for i := range n {
		l.leaves = append(l.leaves, cityid.Digest(rest[32*i:32*i+32]))
	}
	return l, nil
}

func readLeaves(ctx context.Context, path string) (*leavesFile, error) {
	b, err := readBounded(ctx, path, maxLeavesFile)
	if err != nil {
		return nil, err
	}
	l, err := parseLeaves(b)
	if err != nil {
		return nil, fmt.Errorf("%s is no leaves file: %w", path, err)
	}
	return l, nil
}

// tree returns the tree over the leaves.
func (l *leavesFile) tree() (*verify.Batch, error) { return verify.NewBatch(l.Seed, l.leaves) }

// operation is what puts the batch onto the chain.
func (l *leavesFile) operation(root cityid.Digest, label string) *cityid.Attest {
	return &cityid.Attest{Source: l.Source, Digest: root, Size: l.Size, Label: label, Leaves: uint64(len(l.leaves)), From: l.From, Until: l.Until}
}

// find returns the index of a piece, or an error.
func (l *leavesFile) find(piece []byte) (uint64, error) {
	for i, leaf := range l.leaves {
		got, err := verify.BatchLeaf(l.Seed, uint64(i), bytes.NewReader(piece))
		if err != nil {
			return 0, err
		}
		if got == leaf {
			return uint64(i), nil
		}
	}
	return 0, cityid.Errorf(cityid.ErrNotFound, "none of the %d pieces of this batch has these bytes", len(l.leaves))
}

// pieceFlags say what is to be proven or checked: a file, or a text.
type pieceFlags struct{ text string }

func (p *pieceFlags) setup(f *flags) {
	f.StringVar(&p.text, "text", "", "the reading itself, in the place of a file")
}

// open calls read with the piece that args name.
func (p *pieceFlags) open(ctx context.Context, f *flags, args []string, read func(name string, r io.Reader) error) error {
	given := isSet(f.FlagSet, "text")
	if given != (len(args) == 0) || len(args) > 1 {
		return usagef("want one file, or --text READING")
	}
	if given {
		return read("the text", strings.NewReader(p.text))
	}
	_, err := withInput(ctx, args[0], func(r io.Reader) (struct{}, error) { return struct{}{}, read(args[0], r) })
	return err
}

func attestProve(f *flags) func(context.Context, []string) error {
	var piece pieceFlags
	piece.setup(f)
	leaves := f.String("leaves", "", "leaves `file` of the batch, which attest --stream has written")
	return func(ctx context.Context, args []string) error {
		if *leaves == "" {
			return usagef("name the batch with --leaves FILE")
		}
		l, err := readLeaves(ctx, *leaves)
		if err != nil {
			return err
		}
		return piece.open(ctx, f, args, func(_ string, r io.Reader) error {
			b, err := io.ReadAll(io.LimitReader(r, maxLine+2))
			if err != nil {
				return err
			}
			if l.Lines {
				b = bytes.TrimSuffix(b, []byte("\n"))
			}
			if len(b) > maxLine {
				return fmt.Errorf("a piece of more than %d octets: the proofs of files were written when they were vouched for", maxLine)
			}
			i, err := l.find(b)
			if err != nil {
				return err
			}
			tree, err := l.tree()
			if err != nil {
				return err
			}
			p, err := tree.Proof(l.Source, i, l.Lines)
			if err != nil {
				return err
			}
			f.talk("piece %d of %d", i, len(l.leaves))
			return f.write(p.Encode())
		})
	}
}
