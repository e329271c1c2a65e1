// SPDX-License-Identifier: Apache-2.0

package share

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"cityid"
	"cityid/internal/feed"
	"cityid/internal/ledger"
	"cityid/internal/web"
)

// Times and bounds of feeds.
const (
	feedEvery     = 10 * time.Second
	feedLimit     = 500              // items asked for at a time
	feedPause     = 30 * time.Second // after a fetch that failed
	feedKeep      = 100_000          // events kept of each feed
	feedPruned    = 10 * time.Minute // how often older ones are removed
	maxPage       = 8 << 20          // octets of a page
	eventsAtOnce  = 200
	subscribeBeat = 15 * time.Second
	subscribeTime = 30 * time.Second // in which a reader has to take an event
)

// page is a part of a feed as any dataset may serve it: items, and the cursor to
// go on with. A feed that is kept as series has the items of package feed.
type page struct {
	Items []json.RawMessage `json:"items"`
	Next  string            `json:"next,omitempty"`
	More  bool              `json:"more,omitempty"`
}

// follower follows one feed.
type follower struct {
	g      *Gateway
	config FeedConfig
	feed   ledger.Feed

	mu      sync.Mutex
	changed chan struct{} // closed when there are new events
	failed  string        // why the last fetch brought nothing; "": it did
	since   time.Time     // of the first that failed since one did not
}

func newFollowers(g *Gateway) map[ledger.Feed]*follower {
	out := map[ledger.Feed]*follower{}
	for _, c := range g.cfg.Feeds {
		f := ledger.Feed{Agreement: c.Agreement, Path: c.Path}
		out[f] = &follower{g: g, config: c, feed: f, changed: make(chan struct{})}
	}
	return out
}

// follow follows all feeds until ctx ends.
func (g *Gateway) follow(ctx context.Context) {
	var all sync.WaitGroup
	for _, f := range g.followers {
		all.Go(func() { f.run(ctx) })
	}
	all.Go(func() {
		every(ctx, feedPruned, func() {
			if _, err := g.ledger.PruneEvents(ctx, time.Time{}, feedKeep); err != nil && ctx.Err() == nil {
				g.logger.Error("old events not removed", "error", err)
			}
		})
	})
	all.Wait()
}

// run asks for what is new, again at once while there is more.
func (f *follower) run(ctx context.Context) {
	for ctx.Err() == nil {
		more, err := f.step(ctx)
		pause := f.every()
		f.note(err)
		switch {
		case err != nil && ctx.Err() == nil:
			f.g.logger.Warn("feed not followed", "agreement", f.feed.Agreement, "path", f.feed.Path, "error", err)
			pause = max(pause, feedPause)
		case more:
			continue
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
	}
}

func (f *follower) every() time.Duration { return cmp.Or(time.Duration(f.config.Every), feedEvery) }

func (f *follower) note(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err == nil {
		f.failed, f.since = "", time.Time{}
		return
	}
	if f.failed = err.Error(); f.since.IsZero() {
		f.since = f.g.now().UTC()
	}
}

// step makes one fetch and stores what it brings together with the cursor, so
// that nothing is lost or doubled whenever either side restarts.
func (f *follower) step(ctx context.Context) (more bool, err error) {
	at, err := f.g.ledger.Subscription(ctx, f.feed)
	if err != nil {
		return false, err
	}
	query := url.Values{"limit": {strconv.Itoa(feedLimit)}}
	if at.Cursor != "" {
		query.Set("after", at.Cursor)
	}
	got, err := f.g.fetch(ctx, f.feed.Agreement, f.feed.Path, query.Encode(), maxPage)
	if err != nil {
		return false, err
	}
	defer got.Body.Close()
	if got.Status != http.StatusOK {
		return false, fmt.Errorf("the feed answers with status %d and %d octets", got.Status, got.Body.Size())
	}
	r, err := got.Body.Reader()
	if err != nil {
		return false, err
	}
	body, err := io.ReadAll(r)
	if err != nil {
		return false, err
	}
	p, observations, err := f.parse(body, got.Receipt.Dataset)
	if err != nil {
		return false, err
	}
	if p.Next == "" || p.Next == at.Cursor {
		if len(p.Items) > 0 {
			return false, errors.New("the feed brings something and does not say how to go on")
		}
		return false, nil
	}
	progress := ledger.Progress{Feed: f.feed, From: at.Cursor, To: p.Next, Entry: got.Entry.ID, Observations: observations}
	for _, item := range p.Items {
		progress.Events = append(progress.Events, item)
	}
	if _, err := f.g.ledger.Advance(ctx, progress); err != nil {
		return false, err
	}
	if len(p.Items) > 0 {
		f.mu.Lock()
		close(f.changed)
		f.changed = make(chan struct{})
		f.mu.Unlock()
	}
	return p.More, nil
}

// parse reads a page, and the observations in it if the feed is kept as series.
func (f *follower) parse(body []byte, dataset cityid.Code) (*page, []ledger.Observation, error) {
	p := new(page)
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(p); err != nil || d.More() {
		return nil, nil, fmt.Errorf("the feed's page can not be read: %w", cmp.Or(err, errors.New("something follows it")))
	}
	if len(p.Items) > ledger.MaxEvents || len(p.Next) > ledger.MaxFeedCursor {
		return nil, nil, fmt.Errorf("the feed's page has %d items and a cursor of %d octets: at most %d and %d", len(p.Items), len(p.Next), ledger.MaxEvents, ledger.MaxFeedCursor)
	}
	if !f.config.Series {
		return p, nil, nil
	}
	typed, err := feed.ParsePage(body)
	if err != nil {
		return nil, nil, err
	}
	var out []ledger.Observation
	for i := range typed.Items {
		o := &typed.Items[i]
		out = append(out, ledger.Observation{
			Feed: dataset.String(), Indicator: o.Indicator, Source: o.Source, Unit: o.Unit, Time: o.Time, Value: string(o.Value),
		})
	}
	return p, out, nil
}

// subscribe streams the events of a feed as server-sent events. The id of each is
// its number in the feed here: Last-Event-ID goes on behind it, so an application
// that restarts misses none and gets none twice. Without it, the stream begins
// with the oldest event that is kept.
func (g *Gateway) subscribe(w http.ResponseWriter, r *http.Request, rest string) error {
	name, path, _ := strings.Cut(rest, "/")
	id, err := g.agreementNamed(r.Context(), name)
	if err != nil {
		return err
	}
	f := g.followers[ledger.Feed{Agreement: id, Path: "/" + path}]
	if f == nil {
		return cityid.Errorf(cityid.ErrNotFound, "the gateway does not follow /%s under agreement %s: add it to feeds in its configuration", path, id)
	}
	after := uint64(0)
	if text := r.Header.Get("Last-Event-ID"); text != "" {
		if after, err = strconv.ParseUint(text, 10, 64); err != nil {
			return cityid.Errorf(cityid.ErrMalformed, "Last-Event-ID %.40q: want the number of an event", text)
		}
	}
	release, err := g.streams.Take(web.ClientAddr(r))
	if err != nil {
		return err
	}
	defer release()
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusOK)
	if err := f.stream(r.Context(), w, after); err != nil && r.Context().Err() == nil {
		g.logger.Info("subscription ended", "agreement", id, "error", err)
	}
	return nil
}

// stream sends events until the reader goes away.
func (f *follower) stream(ctx context.Context, w http.ResponseWriter, after uint64) error {
	c := http.NewResponseController(w)
	send := func(text string) error {
		if err := c.SetWriteDeadline(time.Now().Add(subscribeTime)); err != nil && !errors.Is(err, http.ErrNotSupported) {
			return err
		}
		if _, err := io.WriteString(w, text); err != nil {
			return err
		}
		return c.Flush()
	}
	for {
		f.mu.Lock()
		changed := f.changed
		f.mu.Unlock()
		p, err := f.g.ledger.EventsAfter(ctx, f.feed, after, eventsAtOnce)
		if err != nil {
			return err
		}
		if p.Oldest > after+1 && after > 0 {
			if err := send(fmt.Sprintf("event: reset\ndata: {\"oldest\":%d}\n\n", p.Oldest)); err != nil {
				return err
			}
		}
		for _, e := range p.Events {
			if err := send(fmt.Sprintf("id: %d\ndata: %s\n\n", e.Number, oneLine(e.Body))); err != nil {
				return err
			}
			after = e.Number
		}
		if len(p.Events) == eventsAtOnce {
			continue
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-changed:
		case <-time.After(subscribeBeat):
			if err := send(": still here\n\n"); err != nil {
				return err
			}
		}
	}
}

// oneLine writes JSON without line ends.
func oneLine(body []byte) []byte {
	var b bytes.Buffer
	if json.Compact(&b, body) != nil {
		return bytes.ReplaceAll(body, []byte("\n"), []byte(" "))
	}
	return b.Bytes()
}
