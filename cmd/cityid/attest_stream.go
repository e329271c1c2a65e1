// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"cityid"
	"cityid/internal/durable"
	"cityid/internal/durable/folder"
	"cityid/verify"
)

// A stream vouches for lines of standard input. Each line becomes a leaf of the
// open batch, which is written to batch-N.part at once. Every interval, and at the
// end, the batch is closed: batch-N.leaves is written and synced, and only then is
// its root submitted; batch-N.attested says that the chain has it. Whatever a
// crash leaves behind is taken up at the next start, before any line is read: an
// open batch is closed, and what is closed and not attested is submitted. The
// chain takes a root of a source once, so submitting again does no harm.

// maxLine is the most octets of a line.
const maxLine = 1 << 20

// minInterval keeps batches from being as small as what they are to bundle.
const minInterval = time.Second

// streaming is a stream at work.
type streaming struct {
	*attesting
	signers []cityid.Signer
	number  int // of the batch that is open, or comes next
	open    *leavesFile
	part    *os.File
	skipped int // lines that were too long
}

// attested is the content of batch-N.attested.
type attested struct {
	Root        cityid.Digest `json:"root"`
	Leaves      uint64        `json:"leaves"`
	Transaction cityid.Digest `json:"transaction,omitzero"` // missing: it was on the chain already
	Height      uint64        `json:"height"`
	Time        cityid.Time   `json:"time"`
}

func (a *attesting) stream(ctx context.Context) error {
	if a.interval < minInterval {
		return usagef("--interval %s: want 1s or more", a.interval)
	}
	if len(a.keys) == 0 {
		return usagef("who signs? give --key NAME")
	}
	s := &streaming{attesting: a}
	if err := os.MkdirAll(a.proofs, 0o755); err != nil {
		return err
	}
	lock, err := folder.Lock(filepath.Join(a.proofs, ".lock"))
	if errors.Is(err, folder.ErrLocked) {
		return exitError{exitConflict, fmt.Errorf("another stream writes to %s", a.proofs)}
	}
	if err != nil {
		return err
	}
	defer lock.Close()
	if s.signers, err = a.flags.signers(ctx, a.keys, &a.secrets); err != nil {
		return err
	}
	if err := s.resume(); err != nil {
		return err
	}
	if err := s.read(ctx); err != nil {
		return err
	}
	if s.skipped > 0 {
		return exitError{exitPartial, fmt.Errorf("%s had more than %d octets and was not vouched for", count(s.skipped, "line"), maxLine)}
	}
	return nil
}

func (s *streaming) path(number int, suffix string) string {
	return filepath.Join(s.proofs, fmt.Sprintf("batch-%06d.%s", number, suffix))
}

// numbers returns the numbers of the files with a suffix, ascending.
func (s *streaming) numbers(suffix string) ([]int, error) {
	names, err := filepath.Glob(filepath.Join(s.proofs, "batch-*."+suffix))
	if err != nil {
		return nil, err
	}
	var out []int
	for _, name := range names {
		var n int
		if _, err := fmt.Sscanf(filepath.Base(name), "batch-%d."+suffix, &n); err == nil && name == s.path(n, suffix) {
			out = append(out, n)
		}
	}
	slices.Sort(out)
	return out, nil
}

// resume closes the batch that an earlier run left open, and finds the next
// number.
func (s *streaming) resume() error {
	closed, err := s.numbers("leaves")
	if err != nil {
		return err
	}
	parts, err := s.numbers("part")
	if err != nil {
		return err
	}
	for _, n := range parts {
		if slices.Contains(closed, n) { // it stopped between writing the one and removing the other
			if err := os.Remove(s.path(n, "part")); err != nil {
				return err
			}
			continue
		}
		b, err := os.ReadFile(s.path(n, "part"))
		if err != nil {
			return err
		}
		l, err := parseLeaves(b)
		if err != nil && len(bytes.TrimSpace(b)) > 0 && bytes.ContainsRune(b, '\n') {
			return fmt.Errorf("%s: %w", s.path(n, "part"), err)
		}
		if err != nil || len(l.leaves) == 0 { // it stopped before the first line
			if err := os.Remove(s.path(n, "part")); err != nil {
				return err
			}
			continue
		}
		if l.Source != s.source {
			return exitError{exitConflict, fmt.Errorf("%s is of %s, not of %s: choose another folder", s.path(n, "part"), l.Source, s.source)}
		}
		info, err := os.Stat(s.path(n, "part"))
		if err != nil {
			return err
		}
		l.Until = max(l.From, cityid.TimeOf(info.ModTime()))
		s.number, s.open = n, l
		if err := s.close(); err != nil {
			return err
		}
		s.talk("closed a batch of %s that an earlier run left open", count(len(l.leaves), "reading"))
		closed = append(closed, n)
	}
	s.number = 1
	if len(closed) > 0 {
		s.number = slices.Max(closed) + 1
	}
	return nil
}

// line is what is read: a line, or why there are no more.
type line struct {
	text []byte
	long bool // the line had too many octets
	err  error
}

// lines sends the lines of r until it ends or ctx does.
func lines(ctx context.Context, r io.Reader, to chan<- line) {
	b := bufio.NewReaderSize(r, 64<<10)
	send := func(l line) bool {
		select {
		case to <- l:
			return true
		case <-ctx.Done():
			return false
		}
	}
	for {
		var l line
		for {
			part, err := b.ReadSlice('\n')
			if len(l.text)+len(part) > maxLine+1 {
				l.long, l.text = true, nil
			} else if !l.long {
				l.text = append(l.text, part...)
			}
			if err == nil {
				break
			}
			if !errors.Is(err, bufio.ErrBufferFull) {
				l.err = err
				break
			}
		}
		l.text = bytes.TrimSuffix(l.text, []byte("\n"))
		if len(l.text) > maxLine { // the last one, without a line feed
			l.long, l.text = true, nil
		}
		if !send(l) || l.err != nil {
			return
		}
	}
}

// read takes lines until there are no more, and closes a batch every interval.
func (s *streaming) read(ctx context.Context) error {
	in := make(chan line)
	go lines(ctx, s.flags.term.in, in)
	tick := time.NewTicker(s.interval)
	defer tick.Stop()
	if err := s.submitPending(ctx); err != nil {
		s.talk("%v; what waits is tried again", err)
	}
	for {
		select {
		case <-ctx.Done():
			return s.interrupted(ctx)
		case <-tick.C:
			if err := s.turn(ctx); err != nil {
				return err
			}
		case l := <-in:
			if err := s.take(l); err != nil {
				return err
			}
			switch {
			case l.err != nil:
				return s.finish(ctx, l.err)
			case s.open != nil && len(s.open.leaves) == cityid.MaxBatch:
				if err := s.turn(ctx); err != nil {
					return err
				}
			}
		}
	}
}

// take makes a line a leaf of the open batch. Empty lines are no readings.
func (s *streaming) take(l line) error {
	if l.long {
		s.skipped++
		s.talk("a line has more than %d octets: it is not vouched for", maxLine)
	}
	if l.long || len(l.text) == 0 {
		return nil
	}
	if s.open == nil {
		if err := s.begin(); err != nil {
			return err
		}
	}
	leaf, err := verify.BatchLeaf(s.open.Seed, uint64(len(s.open.leaves)), bytes.NewReader(l.text))
	if err != nil {
		return err
	}
	if _, err := s.part.Write(leaf[:]); err != nil {
		return err
	}
	s.open.leaves = append(s.open.leaves, leaf)
	s.open.Size += uint64(len(l.text))
	s.open.Until = max(s.open.From, cityid.TimeOf(time.Now())) // clocks are put back at times
	return nil
}

// begin opens a batch.
func (s *streaming) begin() error {
	l := &leavesFile{leavesHead: leavesHead{Version: 1, Source: s.source, Lines: true, From: cityid.TimeOf(time.Now())}}
	if _, err := rand.Read(l.Seed[:]); err != nil {
		return err
	}
	part, err := os.OpenFile(s.path(s.number, "part"), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	if _, err := part.Write(l.encode()); err != nil {
		return errors.Join(err, part.Close())
	}
	s.open, s.part = l, part
	return nil
}

// close writes the leaves of the open batch, whole and durable.
func (s *streaming) close() error {
	l := s.open
	l.Leaves = uint64(len(l.leaves))
	if s.part != nil {
		if err := s.part.Close(); err != nil {
			return err
		}
	}
	if err := durable.WriteNew(s.path(s.number, "leaves"), l.encode()); err != nil {
		return err
	}
	if err := os.Remove(s.path(s.number, "part")); err != nil {
		return err
	}
	s.open, s.part = nil, nil
	s.number++
	return nil
}

// turn closes the open batch and submits what waits. That the node can not be
// reached is no reason to stop reading.
func (s *streaming) turn(ctx context.Context) error {
	if s.open != nil {
		if err := s.close(); err != nil {
			return err
		}
	}
	if err := s.submitPending(ctx); err != nil && ctx.Err() == nil {
		s.talk("%v; what waits is tried again", err)
	}
	return nil
}

// finish closes the last batch and submits what waits, for the last time.
func (s *streaming) finish(ctx context.Context, end error) error {
	if s.open != nil {
		if err := s.close(); err != nil {
			return err
		}
	}
	if !errors.Is(end, io.EOF) {
		return fmt.Errorf("standard input: %w", end)
	}
	err := s.submitPending(ctx)
	if err != nil {
		err = hint(err, "nothing is lost: the same command submits what waits in %s when it is started again", s.proofs)
	}
	return err
}

// interrupted leaves everything so that the next start goes on.
func (s *streaming) interrupted(ctx context.Context) error {
	if s.open != nil {
		n := len(s.open.leaves)
		if err := errors.Join(s.part.Sync(), s.part.Close()); err != nil {
			return err
		}
		s.talk("%s in %s: the same command vouches for them when it is started again", count(n, "reading"), s.path(s.number, "part"))
	}
	return ctx.Err()
}

// submitPending submits the batches that are closed and not attested, in their
// order, up to the first that fails.
func (s *streaming) submitPending(ctx context.Context) error {
	closed, err := s.numbers("leaves")
	if err != nil {
		return err
	}
	for _, n := range closed {
		if _, err := os.Lstat(s.path(n, "attested")); err == nil {
			continue
		} else if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if err := s.submitBatch(ctx, n); err != nil {
			return fmt.Errorf("batch %d: %w", n, err)
		}
	}
	return nil
}

// submitBatch brings one batch onto the chain and notes that it is there.
func (s *streaming) submitBatch(ctx context.Context, n int) error {
	l, err := readLeaves(ctx, s.path(n, "leaves"))
	if err != nil {
		return err
	}
	if l.Source != s.source {
		return exitError{exitConflict, fmt.Errorf("%s is of %s, not of %s: choose another folder", s.path(n, "leaves"), l.Source, s.source)}
	}
	tree, err := l.tree()
	if err != nil {
		return err
	}
	label := s.label
	if label == "" {
		label = count(len(l.leaves), "reading")
	}
	done := attested{Root: tree.Root(), Leaves: tree.Leaves()}
	body := cityid.Body{Memo: s.memo, Operations: []cityid.Operation{{Attest: l.operation(tree.Root(), label)}}}
	c, err := s.base(ctx, &body)
	if err != nil {
		return err
	}
	tx, err := cityid.SignTx(body, s.signers...)
	if err != nil {
		return err
	}
	r, err := submitTx(ctx, c, tx)
	switch {
	case cityid.CodeOf(err) == cityid.ErrExists: // submitted before a crash
		a, err := c.Attestation(ctx, s.source, tree.Root())
		if err != nil {
			return err
		}
		done.Height, done.Time = a.Changed.Height, a.Changed.Time
	case err != nil:
		return err
	default:
		done.Transaction, done.Height, done.Time = r.ID, r.Height, r.Time
	}
	b, err := json.MarshalIndent(&done, "", "  ")
	if err != nil {
		return err
	}
	if err := durable.WriteNew(s.path(n, "attested"), append(b, '\n')); err != nil {
		return err
	}
	s.talk("batch %d: %s, root %s, recorded at %s", n, count(len(l.leaves), "reading"), done.Root, done.Time)
	if s.format == "jsonl" {
		t := &table{}
		t.add(done)
		return s.print(t)
	}
	return nil
}
