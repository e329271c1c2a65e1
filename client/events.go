// SPDX-License-Identifier: Apache-2.0

package client

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"math/rand/v2"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"cityid"
)

const (
	eventType = "text/event-stream"
	// silence is how long a stream may say nothing, three signs of life missed,
	// before the connection counts as broken.
	silence = 50 * time.Second
	// Pauses between connections: the first, unless the node asks for another,
	// and the longest.
	firstPause, longestPause = 2 * time.Second, 30 * time.Second
	maxEvent                 = 8 << 20 // octets of a line of a stream
)

// Events follows what happens at the node: one event for each block after a
// height that the filter chooses, in order, until ctx ends or the loop does. From
// 0 it begins with the latest block.
//
//	for e, err := range c.Events(ctx, 0, cityid.EventFilter{Code: code}) {
//		if err != nil {
//			return err
//		}
//		fmt.Println(e.Height, e.Changed)
//	}
//
// When a connection breaks it connects again and goes on where it was, pausing
// longer each time up to half a minute. An event with Reset set says that some
// were missed all the same, because it took too long or the node's chain is
// another one: read anew what depends on them.
//
// An error comes last. It is the first connection's [ErrUnreachable], a refusal
// that trying again does not mend, an answer that is not of this protocol, or
// ctx's.
func (c *Client) Events(ctx context.Context, after uint64, filter cityid.EventFilter) iter.Seq2[*cityid.Event, error] {
	return func(yield func(*cityid.Event, error) bool) {
		s := &events{c: c, filter: filter, last: after, resumes: after > 0, pause: firstPause}
		for failures := 0; ; {
			err := s.connection(ctx, yield)
			switch {
			case s.done:
				return
			case ctx.Err() != nil:
				yield(nil, context.Cause(ctx))
				return
			case !again(err) || !s.came && failures == 0 && errors.Is(err, ErrUnreachable):
				yield(nil, err)
				return
			}
			if failures++; s.lively {
				failures = 1
			}
			if !s.rest(ctx, failures) {
				yield(nil, context.Cause(ctx))
				return
			}
		}
	}
}

// again reports whether to connect again after an error.
func again(err error) bool {
	switch cityid.CodeOf(err) {
	case cityid.ErrUnavailable, cityid.ErrFull, cityid.ErrRetry, cityid.OK:
		return true
	}
	return errors.Is(err, ErrUnreachable)
}

// events is a stream that is read over one connection after the other.
type events struct {
	c       *Client
	filter  cityid.EventFilter
	last    uint64 // id of the last event
	resumes bool   // last counts
	pause   time.Duration
	came    bool // there was a connection
	lively  bool // the latest connection brought something
	done    bool // the loop has ended
}

// rest waits before the next connection, longer after each failure and a little
// differently for each client, and reports whether ctx has not ended.
func (s *events) rest(ctx context.Context, failures int) bool {
	d := min(s.pause<<min(failures-1, 10), longestPause)
	return rest(ctx, d/2+rand.N(d/2+1))
}

// connection reads one connection to its end. Its error is nil if the node ended
// it.
func (s *events) connection(ctx context.Context, yield func(*cityid.Event, error) bool) error {
	s.lively = false
	v := url.Values{}
	if !s.filter.Code.IsZero() {
		v.Set("code", s.filter.Code.String())
	}
	setNumber(v, "proposal", s.filter.Proposal)
	address := s.c.base + "/v1/events"
	if len(v) > 0 {
		address += "?" + v.Encode()
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return fmt.Errorf("request %s: %w", address, err)
	}
	request.Header.Set("User-Agent", s.c.userAgent)
	request.Header.Set("Accept", eventType)
	if s.resumes {
		request.Header.Set("Last-Event-ID", strconv.FormatUint(s.last, 10))
	}
	watch := time.AfterFunc(silence, cancel)
	defer watch.Stop()
	response, err := s.c.http.Do(request)
	if err != nil {
		var u *url.Error
		if errors.As(err, &u) {
			err = u.Err
		}
		return fmt.Errorf("%w: %s: %w", ErrUnreachable, address, err)
	}
	defer response.Body.Close()
	mediaType, _, _ := mime.ParseMediaType(response.Header.Get("Content-Type"))
	if response.StatusCode != http.StatusOK || mediaType != eventType {
		return refused(address, mediaType, response)
	}
	s.came = true
	return s.read(address, response.Body, func() { watch.Reset(silence) }, yield)
}

// refused returns the error of an answer that is no stream.
func refused(address, mediaType string, r *http.Response) error {
	body, err := io.ReadAll(io.LimitReader(r.Body, maxProblem))
	switch {
	case err != nil:
		return fmt.Errorf("%w: %s: %w", ErrUnreachable, address, err)
	case mediaType == problemType && r.StatusCode >= 400:
		return decodeProblem(&answer{status: r.StatusCode, mediaType: mediaType, body: body})
	case r.StatusCode == http.StatusBadGateway || r.StatusCode == http.StatusServiceUnavailable || r.StatusCode == http.StatusGatewayTimeout:
		return fmt.Errorf("%w: %s answers with status %d", ErrUnreachable, address, r.StatusCode)
	}
	return fmt.Errorf("%s answers with status %d and %.60q instead of %s: is it a node of cityid", address, r.StatusCode, mediaType, eventType)
}

// read takes a stream apart, as the HTML standard says, but that lines end in LF
// or CR LF. alive is called for each line.
func (s *events) read(address string, from io.Reader, alive func(), yield func(*cityid.Event, error) bool) error {
	lines := bufio.NewScanner(from)
	lines.Buffer(make([]byte, 0, 64<<10), maxEvent)
	var name, data, id string
	for lines.Scan() {
		alive()
		line := lines.Text()
		if line == "" {
			if err := s.dispatch(address, name, data, id, yield); err != nil || s.done {
				return err
			}
			name, data, id = "", "", ""
			continue
		}
		field, value, _ := strings.Cut(line, ":")
		value = strings.TrimPrefix(value, " ")
		switch field {
		case "event":
			name = value
		case "data":
			if data != "" {
				data += "\n"
			}
			if data += value; len(data) > maxEvent {
				return fmt.Errorf("%s: an event is larger than %d octets", address, maxEvent)
			}
		case "id":
			id = value
		case "retry":
			if ms, err := strconv.ParseUint(value, 10, 32); err == nil {
				s.pause = min(max(time.Duration(ms)*time.Millisecond, 10*time.Millisecond), longestPause)
			}
		}
	}
	if err := lines.Err(); errors.Is(err, bufio.ErrTooLong) {
		return fmt.Errorf("%s: an event is larger than %d octets", address, maxEvent)
	} else if err != nil {
		return fmt.Errorf("%w: %s: %w", ErrUnreachable, address, err)
	}
	return nil
}

// dispatch hands an event to the loop. Events of other names, which later
// versions may send, are read over.
func (s *events) dispatch(address, name, data, id string, yield func(*cityid.Event, error) bool) error {
	if id != "" {
		n, err := strconv.ParseUint(id, 10, 64)
		if err != nil {
			return fmt.Errorf("%s: event id %.40q: want a height", address, id)
		}
		s.last, s.resumes, s.lively = n, true, true
	}
	if data == "" || name != "block" && name != "reset" {
		return nil
	}
	e := new(cityid.Event)
	if err := json.Unmarshal([]byte(data), e); err != nil {
		return fmt.Errorf("%s: event: %w", address, err)
	}
	e.Reset = name == "reset"
	s.done = !yield(e, nil)
	return nil
}
