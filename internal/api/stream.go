// SPDX-License-Identifier: Apache-2.0

package api

import (
	"context"
	"fmt"
	"io"
	"math"
	"net/http"
	"time"

	"cityid"
	"cityid/internal/web"
)

// EventType is the media type of streams of events.
const EventType = "text/event-stream"

const (
	defaultStreams = 1000
	// maxBehind is how many blocks a stream makes up for; beyond, it starts anew
	// from the latest.
	maxBehind = 1000
	// maxAhead is by how many blocks a node may lag behind the one that told the
	// reader's last event; beyond, the reader followed another chain.
	maxAhead = 10
	// How soon a reader should come again: after a broken connection, and after
	// the node has said that it stops. Milliseconds.
	retryBroken, retryStopping = 2000, 5000
)

// Times of a stream.
const (
	defaultBeat  = 15 * time.Second // between two signs of life
	defaultWrite = 30 * time.Second // a reader may take for one event
)

// stream is one reader of events.
type stream struct {
	h      *handler
	out    io.Writer
	flush  *http.ResponseController
	filter cityid.EventFilter
	at     uint64 // the last block that was looked at
	told   uint64 // the last id that was sent
	wrote  time.Time
}

// stream answers GET /v1/events.
func (h *handler) stream(w http.ResponseWriter, r *http.Request) error {
	if _, err := web.Negotiate(r, EventType); err != nil {
		return err
	}
	p, err := parseQuery(r, "after", "code", "proposal")
	if err != nil {
		return err
	}
	s := &stream{h: h, out: w, flush: http.NewResponseController(w)}
	s.filter = cityid.EventFilter{Code: p.code("code"), Proposal: p.number("proposal", 1, math.MaxUint64, 0)}
	after, resumes := p.number("after", 0, math.MaxUint64, 0), p.values.Has("after")
	if p.err != nil {
		return p.err
	}
	if last := r.Header.Get("Last-Event-ID"); last != "" { // later than the address, which a browser repeats
		if after, resumes = parseNumber(last); !resumes {
			return cityid.Errorf(cityid.ErrMalformed, "Last-Event-ID %.40q: want a height", last)
		}
	}
	release, err := h.slots.Take(web.ClientAddr(r))
	if err != nil {
		return err
	}
	defer release()
	height, err := h.source.Await(r.Context(), 0)
	if err != nil {
		return err
	}
	if s.at = after; !resumes {
		s.at = height - 1 // the latest block comes at once
	}
	header := w.Header()
	header.Set("Content-Type", EventType)
	header.Set("Cache-Control", "no-store")
	header.Set("X-Accel-Buffering", "no") // or some proxies would collect events
	if r.Method == http.MethodHead {
		return nil
	}
	ctx, cancel := web.WithStopping(r.Context())
	defer cancel()
	// The server's limit of reading a request would end the context.
	_ = s.flush.SetReadDeadline(time.Time{})
	if s.send(fmt.Sprintf("retry: %d\n\n", retryBroken)) == nil {
		s.run(ctx, height)
	}
	return nil
}

// run sends events until ctx ends or the reader does not take them. Nothing is
// held for a slow reader: what it has not seen is read when it asks.
func (s *stream) run(ctx context.Context, height uint64) {
	for {
		if err := s.catchUp(ctx, height); err != nil {
			s.end(ctx, err)
			return
		}
		wait, cancel := context.WithTimeout(ctx, max(0, s.h.beat-time.Since(s.wrote)))
		next, err := s.h.source.Await(wait, s.at)
		timeout := wait.Err() != nil && ctx.Err() == nil
		cancel()
		switch {
		case err == nil:
			height = next
		case timeout:
			if s.beat() != nil {
				return
			}
		default:
			s.end(ctx, err)
			return
		}
	}
}

// catchUp sends the events after s.at up to a height. An error says why no more
// can be sent.
func (s *stream) catchUp(ctx context.Context, height uint64) error {
	if s.at > height && s.at-height > maxAhead || s.at < height && height-s.at > maxBehind {
		if err := s.reset(height); err != nil {
			return err
		}
	}
	for s.at < height {
		e, err := s.h.events.at(ctx, s.at+1)
		if cityid.CodeOf(err) == cityid.ErrNotFound { // the block is not kept any more
			if err := s.reset(height); err != nil {
				return err
			}
			s.at = height
			return nil
		}
		if err != nil {
			return err
		}
		s.at++
		if e.passes(&s.filter) {
			err = s.sendEvent("block", s.at, e.data)
		} else if time.Since(s.wrote) > s.h.beat {
			err = s.beat()
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// reset tells the reader to read anew what it shows, and goes on from the latest
// block.
func (s *stream) reset(height uint64) error {
	s.at = height - 1
	return s.sendEvent("reset", s.at, fmt.Appendf(nil, `{"height":%d}`, height))
}

func (s *stream) sendEvent(name string, id uint64, data []byte) error {
	s.told = id
	return s.send(fmt.Sprintf("id: %d\nevent: %s\ndata: %s\n\n", id, name, data))
}

// beat shows that the stream lives. A reader whom a filter spared the latest
// events learns up to where it need not look again.
func (s *stream) beat() error {
	if s.told == s.at {
		return s.send(":\n\n")
	}
	s.told = s.at
	return s.send(fmt.Sprintf(": nothing for you\nid: %d\n\n", s.at))
}

// end takes leave of a reader who is still there.
func (s *stream) end(ctx context.Context, why error) {
	if cityid.CodeOf(why) == cityid.ErrUnavailable || cityid.CodeOf(context.Cause(ctx)) == cityid.ErrUnavailable {
		_ = s.send(fmt.Sprintf(": the node is stopping\nretry: %d\n\n", retryStopping))
	}
}

// send writes at once, within the time a reader may take.
func (s *stream) send(text string) error {
	s.wrote = time.Now()
	_ = s.flush.SetWriteDeadline(s.wrote.Add(s.h.write))
	if _, err := io.WriteString(s.out, text); err != nil {
		return err
	}
	return s.flush.Flush()
}
