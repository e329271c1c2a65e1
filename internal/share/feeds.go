// SPDX-License-Identifier: Apache-2.0

package share

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"cityid"
	"cityid/internal/feed"
	"cityid/internal/ledger"
	"cityid/internal/web"
)

// Times and bounds of feeds.
const (
	feedEvery     = 10 * time.Second
	feedLimit     = 500              // items asked for at a time
	feedPause     = time.Second      // after a fetch that failed; twice as long after the next
	feedPauseMost = 30 * time.Second // and at most so long, or as long as between two fetches
	feedKeep      = 100_000          // events kept of each feed
	feedPruned    = 10 * time.Minute // how often older ones are removed
	maxPage       = 8 << 20          // octets of a page
	pagesAtOnce   = 1000             // one after the other, while the feed says that there are more
	cursorsKept   = 4096             // by which a feed is found out that goes in circles
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

	cursors []uint64 // hashes of the latest, for run alone

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
	wait, pages := feedPause, 0
	for ctx.Err() == nil {
		more, err := f.step(ctx)
		pages++
		pause := f.every()
		f.note(err)
		switch {
		case err != nil && ctx.Err() == nil:
			f.g.logger.Warn("feed not followed", "agreement", f.feed.Agreement, "path", f.feed.Path, "error", err)
			pause, wait = wait, min(2*wait, max(pause, feedPauseMost))
		case more && pages < pagesAtOnce:
			wait = feedPause
			continue
		default:
			wait = feedPause
		}
		pages = 0
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
	p, typed, err := f.parse(body)
	if err != nil {
		return false, err
	}
	if p.Next == "" || p.Next == at.Cursor {
		if len(p.Items) > 0 {
			return false, errors.New("the feed brings something and does not say how to go on")
		}
		return false, nil
	}
	if err := f.goesOn(ctx, &at, p.Next, typed); err != nil {
		return false, fmt.Errorf("%w; entry %s shows it", err, got.Entry.Hash)
	}
	progress := ledger.Progress{Feed: f.feed, From: at.Cursor, To: p.Next, Entry: got.Entry.ID, Observations: observations(typed, got.Receipt.Dataset)}
	for _, item := range p.Items {
		progress.Events = append(progress.Events, item)
	}
	if _, err := f.g.ledger.Advance(ctx, progress); err != nil {
		return false, err
	}
	if f.cursors = append(f.cursors, hashed(at.Cursor)); len(f.cursors) > cursorsKept {
		f.cursors = f.cursors[1:]
	}
	if len(p.Items) > 0 {
		f.mu.Lock()
		close(f.changed)
		f.changed = make(chan struct{})
		f.mu.Unlock()
	}
	return p.More, nil
}

// parse reads a page, and once more as a page of observations if the feed is kept as
// series.
func (f *follower) parse(body []byte) (*page, *feed.Page, error) {
	p, err := parsePage(body)
	if err != nil {
		return nil, nil, fmt.Errorf("the feed's page can not be read: %w", err)
	}
	if len(p.Items) > ledger.MaxEvents || len(p.Next) > ledger.MaxFeedCursor {
		return nil, nil, fmt.Errorf("the feed's page has %d items and a cursor of %d octets: at most %d and %d", len(p.Items), len(p.Next), ledger.MaxEvents, ledger.MaxFeedCursor)
	}
	if !f.config.Series {
		return p, nil, nil
	}
	typed, err := feed.ParsePage(body)
	return p, typed, err
}

// parsePage reads exactly one page. It refuses unknown and repeated fields, so that
// nobody reads another page in the same octets; what an item is, is for others to say.
func parsePage(body []byte) (*page, error) {
	if !utf8.Valid(body) {
		return nil, errors.New("it is not in UTF-8")
	}
	d := json.NewDecoder(bytes.NewReader(body))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil, errors.New("it is no object")
	}
	p, seen := new(page), map[string]bool{}
	for d.More() {
		t, err := d.Token()
		if err != nil {
			return nil, err
		}
		name, _ := t.(string)
		if seen[name] {
			return nil, fmt.Errorf("field %.40q stands twice", name)
		}
		seen[name] = true
		switch name {
		case "items":
			err = d.Decode(&p.Items)
		case "next":
			err = d.Decode(&p.Next)
		case "more":
			err = d.Decode(&p.More)
		default:
			return nil, fmt.Errorf("unknown field %.40q", name)
		}
		if err != nil {
			return nil, fmt.Errorf("field %s: %w", name, err)
		}
	}
	if _, err := d.Token(); err != nil {
		return nil, err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("something follows it")
	}
	if p.Items == nil {
		return nil, errors.New("it has no list of items")
	}
	return p, nil
}

// goesOn checks that a page leads on from where the feed was: its cursor is none of the
// latest, and observations come behind those that are stored. What a feed leaves out
// nobody can see from it; which bytes it brought, the entries show.
func (f *follower) goesOn(ctx context.Context, at *ledger.Subscription, next string, typed *feed.Page) error {
	if slices.Contains(f.cursors, hashed(next)) {
		return errors.New("the feed goes in circles: its cursor is one that it gave before")
	}
	if typed == nil || len(typed.Items) == 0 || at.Events == 0 {
		return nil
	}
	last, err := f.g.ledger.EventsAfter(ctx, f.feed, at.Events-1, 1)
	if err != nil {
		return err
	}
	var stored struct {
		Seq uint64 `json:"seq"`
	}
	// An event from before the feed was kept as series may have any form.
	if len(last.Events) == 1 && json.Unmarshal(last.Events[0].Body, &stored) == nil && typed.Items[0].Seq <= stored.Seq {
		return fmt.Errorf("the feed repeats what it brought, or changed its order: seq %d comes behind %d", typed.Items[0].Seq, stored.Seq)
	}
	return nil
}

// hashed returns a short hash of a cursor.
func hashed(cursor string) uint64 {
	h := sha256.Sum256([]byte(cursor))
	return binary.BigEndian.Uint64(h[:])
}

// observations returns those of a page; typed may be nil.
func observations(typed *feed.Page, dataset cityid.Code) (out []ledger.Observation) {
	if typed == nil {
		return nil
	}
	for i := range typed.Items {
		o := &typed.Items[i]
		out = append(out, ledger.Observation{
			Feed: dataset.String(), Indicator: o.Indicator, Source: o.Source, Unit: o.Unit, Time: o.Time, Value: string(o.Value),
		})
	}
	return out
}

// subscribe streams the events of a feed as server-sent events. The id of each is
// the name of the gateway's log and its number in the feed here: Last-Event-ID goes on
// behind it, so an application that restarts misses none and gets none twice. Without
// it, the stream begins with the oldest event that is kept, and so it does if the next
// one was removed, or if there never was the one named, because the gateway's folder is
// another one now: then an event "reset" comes first, with the numbers of the oldest
// and the latest.
func (g *Gateway) subscribe(w http.ResponseWriter, r *http.Request, rest, query string) error {
	name, path, _ := strings.Cut(rest, "/")
	if query != "" {
		return cityid.Errorf(cityid.ErrMalformed, "a subscription has no parameters: it brings the feed as the gateway follows it")
	}
	id, err := g.agreementNamed(r.Context(), name)
	if err != nil {
		return err
	}
	f := g.followers[ledger.Feed{Agreement: id, Path: "/" + path}]
	if f == nil {
		return cityid.Errorf(cityid.ErrNotFound, "the gateway does not follow /%s under agreement %s: add it to feeds in its configuration", path, id)
	}
	after, err := g.lastEvent(r.Header)
	if err != nil {
		return err
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
	ctx, cancel := web.WithStopping(r.Context())
	defer cancel()
	if err := f.stream(ctx, w, after); err != nil && ctx.Err() == nil {
		g.logger.Info("subscription ended", "agreement", id, "error", err)
	}
	return nil
}

// lastEvent reads the number of the event that a reader has; 0: none. One of another log
// is beyond all there are: numbers that a lost folder had given are given again, and a
// restored one goes on under another name.
func (g *Gateway) lastEvent(h http.Header) (uint64, error) {
	list := h.Values("Last-Event-ID")
	if len(list) == 0 || len(list) == 1 && list[0] == "" {
		return 0, nil
	}
	log, number, _ := strings.Cut(list[0], ".")
	n, err := strconv.ParseUint(number, 10, 64)
	if err != nil || len(list) > 1 || strconv.FormatUint(n, 10) != number || !cityid.ValidLogName(log) {
		return 0, cityid.Errorf(cityid.ErrMalformed, "Last-Event-ID %.60q: want the id of an event, such as %s.1", list[0], g.cfg.Log)
	}
	if log != g.cfg.Log {
		return math.MaxUint64, nil
	}
	return n, nil
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
		at, err := f.g.ledger.Subscription(ctx, f.feed)
		if err != nil {
			return err
		}
		from := after
		if after > at.Events {
			from = 0 // there never was such an event here
		}
		p, err := f.g.ledger.EventsAfter(ctx, f.feed, from, eventsAtOnce)
		if err != nil {
			return err
		}
		if from != after || p.Oldest > after+1 && after > 0 {
			if err := send(fmt.Sprintf("event: reset\ndata: {\"oldest\":%d,\"latest\":%d}\n\n", p.Oldest, at.Events)); err != nil {
				return err
			}
			after = p.Oldest - 1
		}
		for _, e := range p.Events {
			if err := send(fmt.Sprintf("id: %s.%d\ndata: %s\n\n", f.g.cfg.Log, e.Number, oneLine(e.Body))); err != nil {
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
