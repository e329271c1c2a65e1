// SPDX-License-Identifier: Apache-2.0

package share

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"

	"cityid"
)

// inMemory is how much of a body is kept in memory; what exceeds it goes to a
// file that has no name.
const inMemory = 256 << 10

// Spool holds one body whole, so that its digest is known before its first octet
// goes on. It needs bounded memory whatever the size.
type Spool struct {
	dir  string
	most int64
	buf  bytes.Buffer
	file *os.File
	size int64
	hash hash.Hash
}

// errTooLarge says that a body exceeds its bound.
var errTooLarge = errors.New("the body is too large")

// NewSpool returns an empty spool for at most so many octets, with its file in
// dir if it needs one.
func NewSpool(dir string, most int64) *Spool {
	return &Spool{dir: dir, most: most, hash: sha256.New()}
}

// ReadFrom fills the spool from r until its end. The error is that of r or the
// disk, or matches errTooLarge.
func (s *Spool) ReadFrom(r io.Reader) (int64, error) {
	return io.Copy(struct{ io.Writer }{s}, io.LimitReader(r, s.most-s.size+1))
}

// Write adds to the spool.
func (s *Spool) Write(p []byte) (int, error) {
	if s.size += int64(len(p)); s.size > s.most {
		return 0, fmt.Errorf("%w: at most %d octets", errTooLarge, s.most)
	}
	s.hash.Write(p)
	if s.file == nil && s.buf.Len()+len(p) <= inMemory {
		return s.buf.Write(p)
	}
	if s.file == nil {
		f, err := os.CreateTemp(s.dir, "spool-*")
		if err != nil {
			return 0, fmt.Errorf("keep a body on the disk: %w", err)
		}
		s.file = f
		if err := os.Remove(f.Name()); err != nil {
			return 0, fmt.Errorf("keep a body on the disk: %w", err)
		}
		if _, err := f.Write(s.buf.Bytes()); err != nil {
			return 0, fmt.Errorf("keep a body on the disk: %w", err)
		}
		s.buf = bytes.Buffer{}
	}
	return s.file.Write(p)
}

// Size returns how many octets the body has.
func (s *Spool) Size() int64 { return s.size }

// Digest returns the SHA-256 of the body.
func (s *Spool) Digest() cityid.Digest { return cityid.Digest(s.hash.Sum(nil)) }

// Reader returns the body from its beginning, one reader at a time.
func (s *Spool) Reader() (io.Reader, error) {
	if s.file == nil {
		return bytes.NewReader(s.buf.Bytes()), nil
	}
	if _, err := s.file.Seek(0, io.SeekStart); err != nil {
		return nil, fmt.Errorf("read a body from the disk: %w", err)
	}
	return s.file, nil
}

// Close frees what the spool holds.
func (s *Spool) Close() {
	if s.file != nil {
		s.file.Close()
		s.file = nil
	}
	s.buf = bytes.Buffer{}
}
