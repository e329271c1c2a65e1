// SPDX-License-Identifier: Apache-2.0

package web

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"
)

// TestSlowBody sends a body after the time in which a server wants all of it: it
// is read where the handler has said so, and no longer than the handler allows.
func TestSlowBody(t *testing.T) {
	const read = 20 * time.Millisecond
	entered := make(chan bool)
	answer := make(chan error, 1)
	h := func(slow bool, most time.Duration) http.Handler {
		return Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if slow {
				SlowBody(w, r, most)
			}
			entered <- true
			_, err := io.ReadAll(r.Body)
			answer <- err
		}), WrapConfig{})
	}
	for _, c := range []struct {
		name string
		slow bool
		most time.Duration
		send bool
		want error
	}{
		{"usual", false, 0, true, os.ErrDeadlineExceeded},
		{"slow", true, time.Minute, true, nil},
		{"silent", true, read, false, os.ErrDeadlineExceeded},
	} {
		addr, stop := start(t, h(c.slow, c.most), Limits{Read: read}, nil, time.Second)
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		body := strings.Repeat("x", 100_000)
		fmt.Fprintf(conn, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n", len(body))
		<-entered
		if c.send {
			time.Sleep(2 * read) // the server's own deadline has passed, however slow the machine is
			io.WriteString(conn, body)
		}
		if err := <-answer; !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
		if c.want == nil {
			if line, err := bufio.NewReader(conn).ReadString('\n'); !strings.Contains(line, "200") {
				t.Errorf("%s: answered %q, %v", c.name, line, err)
			}
		}
		conn.Close()
		stop()
	}
}

// A body that comes steadily is given time for what it has sent, up to the whole.
func TestSlowBodyDeadlines(t *testing.T) {
	b := &slowBody{c: http.NewResponseController(nil), most: 10 * time.Minute}
	for _, c := range []struct {
		got  int64
		want time.Duration
	}{{0, slowStart}, {slowRate - 1, slowStart}, {slowRate, slowStart + time.Second}, {600 * slowRate, 10 * time.Minute}} {
		b.got, b.given = c.got, 0
		b.allow()
		if b.given != c.want {
			t.Errorf("after %d octets: %s, want %s", c.got, b.given, c.want)
		}
	}
}
