// SPDX-License-Identifier: Apache-2.0

package web

import (
	"io"
	"net/http"
	"time"
)

// What a body under [SlowBody] has to keep up.
const (
	slowStart  = 30 * time.Second // before the rate counts
	slowRate   = 8 << 10          // octets a second, on the average from then on
	slowAnswer = 90 * time.Second // from the last moment its body may end to the end of the answer
	slowStep   = time.Second      // how much deadlines are moved at once
)

// SlowBody gives the body of a request more time than [Limits].Read: 30 seconds,
// and one more for every 8 KiB that have come, up to most in all. So a large file
// arrives over a slow line, and whoever sends nothing is still cut off. The answer
// has 90 seconds more. Call it before the body is read.
func SlowBody(w http.ResponseWriter, r *http.Request, most time.Duration) {
	if r.Body == nil || r.Body == http.NoBody {
		return
	}
	b := &slowBody{ReadCloser: r.Body, c: http.NewResponseController(w), began: time.Now(), most: most}
	b.allow()
	r.Body = b
}

// slowBody moves the deadlines of a connection as its body comes.
type slowBody struct {
	io.ReadCloser
	c     *http.ResponseController
	began time.Time
	most  time.Duration
	got   int64
	given time.Duration // from began to the deadline that is set
}

func (b *slowBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.got += int64(n)
	if n > 0 && err == nil {
		b.allow()
	}
	return n, err
}

// allow sets the deadlines for what has come so far. Where a connection has none,
// there is nothing to move.
func (b *slowBody) allow() {
	given := min(slowStart+time.Duration(b.got/slowRate)*time.Second, b.most)
	if b.given > 0 && given < b.given+slowStep {
		return
	}
	b.given = given
	end := b.began.Add(given)
	_ = b.c.SetReadDeadline(end)
	_ = b.c.SetWriteDeadline(end.Add(slowAnswer))
}
