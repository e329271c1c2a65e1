// SPDX-License-Identifier: Apache-2.0

package share

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

// A body may take its time, but not a place for ever: it may stand still for so
// long, and has to come, or be taken, at this rate on the average.
const (
	DefaultPatience = 30 * time.Second
	slowestRate     = 32 << 10 // octets a second
	chunk           = 64 << 10 // octets that are sent at a time
)

// errSlow says that a body stood still, or came too slowly.
var errSlow = errors.New("it comes too slowly")

// due returns when more of a body has to have moved, of which n octets have since
// it began.
func due(began time.Time, n int64, patience time.Duration) time.Time {
	still, slow := time.Now().Add(patience), began.Add(2*patience+time.Duration(n/slowestRate)*time.Second)
	if slow.Before(still) {
		return slow
	}
	return still
}

// steadily fills a spool from a body, and calls cancel, which has to end the
// reading, if it does not come steadily.
func (s *Spool) steadily(body io.Reader, patience time.Duration, cancel context.CancelCauseFunc) error {
	began := time.Now()
	t := time.AfterFunc(patience, func() { cancel(errSlow) })
	defer t.Stop()
	_, err := s.ReadFrom(readFunc(func(p []byte) (int, error) {
		n, err := body.Read(p)
		if n > 0 && t.Stop() {
			t.Reset(time.Until(due(began, s.Size()+int64(n), patience)))
		}
		return n, err
	}))
	return err
}

type readFunc func([]byte) (int, error)

// Read calls f.
func (f readFunc) Read(p []byte) (int, error) { return f(p) }

// unhurried lifts a server's limits of time from a request that has been read: what
// bounds it from here on is the work itself. The limit for an answer would otherwise
// end it before it begins where the work takes longer.
func unhurried(w http.ResponseWriter) {
	c := http.NewResponseController(w)
	_ = c.SetReadDeadline(time.Time{}) // a connection without deadlines has none to lift
	_ = c.SetWriteDeadline(time.Time{})
}

// copySteadily sends a body as long as the reader takes it steadily.
func copySteadily(w http.ResponseWriter, body io.Reader, patience time.Duration) error {
	c := http.NewResponseController(w)
	buf, began, sent := make([]byte, chunk), time.Now(), int64(0)
	for {
		n, err := body.Read(buf)
		if n > 0 {
			if err := c.SetWriteDeadline(due(began, sent, patience)); err != nil && !errors.Is(err, http.ErrNotSupported) {
				return err
			}
			if _, err := w.Write(buf[:n]); err != nil {
				return fmt.Errorf("after %d octets: %w", sent, err)
			}
			sent += int64(n)
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}
