// SPDX-License-Identifier: Apache-2.0

package bulk

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"

	"cityid"
	"cityid/internal/durable"
)

// checkpointFormat is the first field of a checkpoint's first line.
const checkpointFormat = "cityid/import-checkpoint/1"

// maxCheckpointLine bounds a line: the largest transaction in base64, or a
// batch of refused rows.
const maxCheckpointLine = 4 << 20

// Checkpoint remembers on disk how far an import is, so that it can be killed
// at any moment. It is a file of JSON lines, each synced before its method
// returns; a line cut off by a crash is dropped when it is opened again. The
// first line says what is imported:
//
//	{"format":"cityid/import-checkpoint/1","chain":"…","parent":"…","plan":"<digest>","batches":200}
//
// Each further line tells of one batch: the exact transaction before it is
// submitted, or what became of the batch at last:
//
//	{"batch":3,"prepared":{"id":"…","items":500,"raw":"<base64url>"}}
//	{"batch":3,"settled":{"height":12,"allocated":499,"existing":0,"failed":[{"line":7,…}]}}
//
// Its methods may be called by several goroutines at once. One process at a
// time may have a checkpoint open.
type Checkpoint struct {
	path    string
	mu      sync.Mutex // guards what follows
	f       *os.File
	batches []batchState
	broken  error // of the first write that failed, and may have left half a line
}

type batchState struct {
	prepared *Prepared
	settled  *Settled
}

// Prepared is a transaction that was signed for a batch and may have been
// submitted.
type Prepared struct {
	ID    cityid.Digest `json:"id"`
	Items int           `json:"items"` // how many of the batch's items it allocates
	Raw   cityid.Bytes  `json:"raw"`   // its encoding
}

// Settled is what became of a batch. Classes the plan added are not counted.
type Settled struct {
	Height    uint64   `json:"height,omitempty"`  // block of its last transaction
	Allocated int      `json:"allocated"`         // rows
	Existing  int      `json:"existing"`          // rows that were allocated before, just as the table has them
	Failed    Problems `json:"failed,omitempty"`  // rows the registry refused
	Classes   Problems `json:"classes,omitempty"` // classes the plan added that it refused
}

type checkpointHeader struct {
	Format  string        `json:"format"`
	Chain   string        `json:"chain"`
	Parent  cityid.Code   `json:"parent"`
	Plan    cityid.Digest `json:"plan"`
	Batches int           `json:"batches"`
}

type checkpointLine struct {
	Batch    int       `json:"batch"`
	Prepared *Prepared `json:"prepared,omitempty"`
	Settled  *Settled  `json:"settled,omitempty"`
}

// OpenCheckpoint opens the checkpoint of the plan's import to a chain, and
// makes the file if there is none. It refuses the checkpoint of another plan
// (that is, another table or other options), chain or parent, and one that
// another process has open.
func OpenCheckpoint(path string, plan *Plan, chain string) (*Checkpoint, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the checkpoint: %w", err)
	}
	c := &Checkpoint{path: path, f: f, batches: make([]batchState, len(plan.Batches))}
	if err := c.load(checkpointHeader{checkpointFormat, chain, plan.Parent, plan.Digest, len(plan.Batches)}); err != nil {
		return nil, errors.Join(fmt.Errorf("checkpoint %s: %w", path, err), f.Close())
	}
	return c, nil
}

// load reads the file, cuts off a line a crash left unfinished, and writes the
// header if there is none.
func (c *Checkpoint) load(want checkpointHeader) error {
	if err := lock(c.f); err != nil {
		return err
	}
	end, err := c.read(c.f, want)
	if err != nil {
		return err
	}
	if err := c.f.Truncate(end); err != nil {
		return err
	}
	if _, err := c.f.Seek(end, io.SeekStart); err != nil {
		return err
	}
	if end > 0 {
		return nil
	}
	if err := c.write(want); err != nil {
		return err
	}
	return durable.SyncDir(filepath.Dir(c.path))
}

// read applies the lines of r and returns where the last whole one ends.
func (c *Checkpoint) read(r io.Reader, want checkpointHeader) (end int64, err error) {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, maxCheckpointLine)
	lines.Split(splitLines)
	for n := 1; lines.Scan(); n++ {
		line := lines.Bytes()
		switch whole := line[len(line)-1] == '\n'; {
		case whole && n == 1:
			err = checkHeader(line, want)
		case whole:
			err = c.apply(line)
		case n == 1 && !isBeginning(line, want):
			err = errNoCheckpoint
		default:
			return end, nil
		}
		if err != nil {
			return 0, fmt.Errorf("line %d: %w", n, err)
		}
		end += int64(len(line))
	}
	return end, lines.Err()
}

// splitLines is a [bufio.SplitFunc] that keeps the line feed, so that a line
// that was cut off shows.
func splitLines(data []byte, atEOF bool) (advance int, token []byte, err error) {
	if i := bytes.IndexByte(data, '\n'); i >= 0 {
		return i + 1, data[:i+1], nil
	}
	if atEOF && len(data) > 0 {
		return len(data), data, nil
	}
	return 0, nil, nil
}

var errNoCheckpoint = errors.New("not a checkpoint of a bulk import: name another file")

// isBeginning reports whether line is a header that a crash cut off, or empty.
func isBeginning(line []byte, want checkpointHeader) bool {
	whole, err := json.Marshal(want)
	return err == nil && bytes.HasPrefix(whole, line)
}

func checkHeader(line []byte, want checkpointHeader) error {
	var h checkpointHeader
	if err := decodeLine(line, &h); err != nil || h.Format != want.Format {
		return errNoCheckpoint
	}
	switch {
	case h.Chain != want.Chain:
		return fmt.Errorf("it belongs to an import to chain %s, not %s: name another file", h.Chain, want.Chain)
	case h.Parent != want.Parent:
		return fmt.Errorf("it belongs to an import below %s, not %s: name another file", h.Parent, want.Parent)
	case h != want:
		return errors.New("it belongs to another table, or one read with other options: go on with that one, or name another file")
	}
	return nil
}

func (c *Checkpoint) apply(line []byte) error {
	var l checkpointLine
	if err := decodeLine(line, &l); err != nil {
		return fmt.Errorf("damaged: %w", err)
	}
	if l.Batch < 0 || l.Batch >= len(c.batches) || (l.Prepared == nil) == (l.Settled == nil) {
		return errors.New("damaged: no such batch, or not one event")
	}
	b := &c.batches[l.Batch]
	if l.Prepared != nil {
		b.prepared = l.Prepared
	} else {
		b.prepared, b.settled = nil, l.Settled
	}
	return nil
}

// decodeLine decodes one JSON value strictly.
func decodeLine(line []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(line))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return err
	}
	if _, err := d.Token(); err != io.EOF {
		return errors.New("more than one value in a line")
	}
	return nil
}

// write appends a line and syncs it.
func (c *Checkpoint) write(v any) error {
	line, err := json.Marshal(v)
	if err != nil {
		return err
	}
	if len(line) >= maxCheckpointLine {
		return fmt.Errorf("a line of %d octets", len(line))
	}
	if c.broken == nil {
		if _, c.broken = c.f.Write(append(line, '\n')); c.broken == nil {
			c.broken = c.f.Sync()
		}
	}
	return c.broken
}

// Prepare remembers the transaction that is about to be submitted for a batch,
// in place of an earlier one.
func (c *Checkpoint) Prepare(batch int, p Prepared) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.write(checkpointLine{Batch: batch, Prepared: &p}); err != nil {
		return fmt.Errorf("write the checkpoint: %w", err)
	}
	c.batches[batch].prepared = &p
	return nil
}

// Settle remembers what became of a batch.
func (c *Checkpoint) Settle(batch int, s Settled) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.write(checkpointLine{Batch: batch, Settled: &s}); err != nil {
		return fmt.Errorf("write the checkpoint: %w", err)
	}
	c.batches[batch] = batchState{settled: &s}
	return nil
}

// Batch returns what is remembered of a batch: what became of it, or else the
// transaction that may have been submitted for it, or nil twice.
func (c *Checkpoint) Batch(batch int) (*Prepared, *Settled) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.batches[batch].prepared, c.batches[batch].settled
}

// Next returns the first batch that is not settled, and false if all are.
func (c *Checkpoint) Next() (batch int, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range c.batches {
		if c.batches[i].settled == nil {
			return i, true
		}
	}
	return len(c.batches), false
}

// Close closes the file and leaves it for another run.
func (c *Checkpoint) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.f.Close()
}

// Remove closes and deletes the file, once all batches are settled.
func (c *Checkpoint) Remove() error {
	if _, open := c.Next(); open {
		return errors.New("the import is not complete: its checkpoint stays")
	}
	return errors.Join(os.Remove(c.path), c.Close())
}
