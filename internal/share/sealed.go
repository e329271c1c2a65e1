// SPDX-License-Identifier: Apache-2.0

package share

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"sync"

	"cityid"
)

// sealed serves the contents of sealed records from a file with one
// [cityid.SealedContent] a line, as an import writes it. Whoever gets one checks
// it against the digest that the record shows. The file is looked at again when
// it has changed.
type sealed struct {
	path string

	mu   sync.Mutex
	seen os.FileInfo           // the file as it was when at was made
	at   map[cityid.Code]int64 // where the code's last line begins
}

func openSealed(path string) (*sealed, error) {
	s := &sealed{path: path}
	s.mu.Lock()
	defer s.mu.Unlock()
	f, err := s.index()
	if err != nil {
		return nil, err
	}
	return s, f.Close()
}

// index opens the file and finds its lines anew if it has changed; s.mu is held.
func (s *sealed) index() (*os.File, error) {
	f, err := os.Open(s.path)
	if err != nil {
		return nil, fmt.Errorf("sealed contents: %w", err)
	}
	info, err := f.Stat()
	if err == nil && info.Size() > maxSealedFile {
		err = fmt.Errorf("%d octets: at most %d", info.Size(), int64(maxSealedFile))
	}
	if err == nil && (s.at == nil || !os.SameFile(info, s.seen) || !info.ModTime().Equal(s.seen.ModTime()) || info.Size() != s.seen.Size()) {
		var at map[cityid.Code]int64
		if at, err = lines(f); err == nil {
			s.at, s.seen = at, info
		}
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("sealed contents in %s: %w", s.path, err)
	}
	return f, nil
}

// lines returns where the line of each code begins. The last one of a code
// counts.
func lines(f io.Reader) (map[cityid.Code]int64, error) {
	at := map[cityid.Code]int64{}
	r := bufio.NewReaderSize(f, maxSealedLine)
	for offset, n := int64(0), 1; ; n++ {
		line, err := r.ReadSlice('\n')
		if errors.Is(err, bufio.ErrBufferFull) {
			return nil, fmt.Errorf("line %d has more than %d octets", n, maxSealedLine)
		}
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, err
		}
		if len(bytes.TrimSpace(line)) > 0 {
			c, bad := cityid.ParseSealedContent(line)
			if bad != nil {
				return nil, fmt.Errorf("line %d: %w", n, bad)
			}
			at[c.Code] = offset
		}
		if offset += int64(len(line)); err != nil {
			return at, nil
		}
	}
}

// fetch answers for the path /CODE, with the code's slashes as "~".
func (s *sealed) fetch(_ context.Context, segments []string, _ string) (*answer, error) {
	if len(segments) != 1 {
		return nil, cityid.Errorf(cityid.ErrNotFound, "ask for one code, its slashes written as ~")
	}
	code, err := ParseSegment(segments[0])
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	f, err := s.index()
	offset, ok := s.at[code]
	s.mu.Unlock()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errBackend, err)
	}
	defer f.Close()
	if !ok {
		return nil, cityid.Errorf(cityid.ErrNotFound, "no sealed content of %s is kept here", code)
	}
	if _, err := f.Seek(offset, io.SeekStart); err != nil {
		return nil, fmt.Errorf("%w: %w", errBackend, err)
	}
	line, err := bufio.NewReaderSize(f, maxSealedLine).ReadSlice('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%w: %w", errBackend, err)
	}
	if c, err := cityid.ParseSealedContent(line); err != nil || c.Code != code {
		return nil, fmt.Errorf("%w: the file of sealed contents changed while it was read", errBackend)
	}
	return &answer{status: http.StatusOK, contentType: "application/json", body: io.NopCloser(bytes.NewReader(bytes.Clone(bytes.TrimSpace(line))))}, nil
}
