// SPDX-License-Identifier: Apache-2.0

package portal

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"cityid"
)

// Dashboards show what a city's gateway has brought: its own streams and those of
// cities that share with it.
//
//	/dashboard/CODE                       what was observed last, as tiles
//	/dashboard/CODE?indicator=ID          one indicator: trend, stations, map
//	/dashboard/CODE/data.csv              what either page shows, as a table
//	/dashboard/CODE/replay?minute=TIME    a past minute, with the fetches that brought it
//	/dashboard/CODE/evidence/ENTRY        evidence of one fetch
//	/compare?cities=A,B&indicator=ID      the same indicator of several cities
//	/compare/data.csv
//
// Whether everybody may read is for the city to say, in its gateway's
// configuration. Without that it is for those who have a voice in the policy that
// governs the code.
//
//	gateways.go         what gateways answer
//	boards.go           asking them sparingly, and who may see what
//	dashboard.go        tiles
//	dashboard_one.go    one indicator
//	dashboard_state.go  fresh, late, failing
//	dashboard_map.go    stations
//	dashboard_csv.go    tables
//	replay.go           a past minute
//	compare.go          several cities
//	trend.go            drawing

// For how long answers of gateways are taken for the present.
const (
	keepStatus = 30 * time.Second
	keepLatest = 5 * time.Second
	keepDay    = 30 * time.Second // lines of a day
	keepLong   = 2 * time.Minute  // longer ones
	keepError  = 3 * time.Second
)

// Bounds of what is remembered, and of questions to one gateway at a time.
const (
	maxRemembered = 64 << 20 // octets, about
	maxAnswers    = 1000
	askedAtOnce   = 4
	askedWaiting  = 64
)

// boards asks gateways, each question once for all who want to know within a few
// seconds.
type boards struct {
	from Gateways
	log  *slog.Logger

	mu      sync.Mutex
	answers map[string]*boardAnswer
	size    int
	asked   map[cityid.Code]*boardQueue
}

// boardAnswer is an answer that is there, or is being waited for.
type boardAnswer struct {
	done  chan struct{}
	value any
	err   error
	until time.Time // to be used; set with done
	size  int
}

// boardQueue is the questions to one gateway.
type boardQueue struct {
	slots   chan struct{}
	waiting int
}

// newBoards returns nil if there are no gateways.
func newBoards(from Gateways, log *slog.Logger) *boards {
	if from == nil {
		return nil
	}
	return &boards{from: from, log: log, answers: map[string]*boardAnswer{}, asked: map[cityid.Code]*boardQueue{}}
}

// remember returns what load answered not long ago, or has it answer, and say how
// large that is in octets and for how long it may be used.
func remember[T any](ctx context.Context, b *boards, party cityid.Code, question string, load func(ctx context.Context) (value T, size int, keep time.Duration, err error)) (value T, err error) {
	key := party.String() + " " + question
	b.mu.Lock()
	a := b.answers[key]
	if a == nil || a.over(time.Now()) {
		queue := b.asked[party]
		if queue == nil {
			queue = &boardQueue{slots: make(chan struct{}, askedAtOnce)}
			b.asked[party] = queue
		}
		if queue.waiting >= askedWaiting {
			b.mu.Unlock()
			return value, cityid.Errorf(cityid.ErrFull, "too many ask for the data of %s at once", party)
		}
		queue.waiting++
		a = &boardAnswer{done: make(chan struct{})}
		b.forget(key)
		b.answers[key] = a
		go func() {
			queue.slots <- struct{}{}
			v, size, keep, err := load(context.WithoutCancel(ctx))
			<-queue.slots
			b.note(err)
			b.mu.Lock()
			defer b.mu.Unlock()
			queue.waiting--
			a.value, a.err, a.size = v, err, size+1024
			if a.until = time.Now().Add(keep); err != nil {
				a.until = time.Now().Add(keepError)
			}
			close(a.done)
			b.keep(key, a)
		}()
	}
	b.mu.Unlock()
	select {
	case <-ctx.Done():
		return value, ctx.Err()
	case <-a.done:
	}
	if a.err != nil {
		return value, a.err
	}
	return a.value.(T), nil
}

// over reports whether an answer is there and too old.
func (a *boardAnswer) over(now time.Time) bool {
	select {
	case <-a.done:
		return now.After(a.until)
	default:
		return false
	}
}

// forget drops an answer. b.mu is held, also in keep.
func (b *boards) forget(key string) {
	if a := b.answers[key]; a != nil {
		b.size -= a.size
		delete(b.answers, key)
	}
}

// keep counts an answer that has come, and drops the oldest beyond the bounds.
func (b *boards) keep(key string, a *boardAnswer) {
	if b.answers[key] != a {
		a.size = 0
		return
	}
	if a.size > maxRemembered/4 { // it would push all others out
		a.size = 0
		delete(b.answers, key)
		return
	}
	b.size += a.size
	for b.size > maxRemembered || len(b.answers) > maxAnswers {
		oldest := ""
		for k, x := range b.answers {
			if !x.until.IsZero() && (oldest == "" || x.until.Before(b.answers[oldest].until)) {
				oldest = k
			}
		}
		if oldest == "" {
			return
		}
		b.forget(oldest)
	}
}

func (b *boards) status(ctx context.Context, party cityid.Code) (*GatewayStatus, error) {
	return remember(ctx, b, party, "status", func(ctx context.Context) (*GatewayStatus, int, time.Duration, error) {
		s, err := b.from.Status(ctx, party)
		return s, 0, keepStatus, err
	})
}

func (b *boards) latest(ctx context.Context, party cityid.Code) (*Latest, error) {
	return remember(ctx, b, party, "latest", func(ctx context.Context) (*Latest, int, time.Duration, error) {
		l, err := b.from.Latest(ctx, party, LineQuery{})
		if err != nil {
			return nil, 0, 0, err
		}
		return l, 256 * len(l.Observations), keepLatest, nil
	})
}

func (b *boards) series(ctx context.Context, party cityid.Code, q LineQuery) (*Series, error) {
	return remember(ctx, b, party, fmt.Sprint("series ", q), func(ctx context.Context) (*Series, int, time.Duration, error) {
		s, err := b.from.Series(ctx, party, q)
		if err != nil {
			return nil, 0, 0, err
		}
		size, keep := 0, keepDay
		switch {
		case len(s.Lines) == 0: // a feed may have begun just now
			keep = keepLatest
		case q.To-q.From > 2*86400:
			keep = keepLong
		}
		for _, l := range s.Lines {
			size += 256 + 128*len(l.Points)
		}
		return s, size, keep, nil
	})
}

// board is a city's dashboard as a visitor may see it.
type board struct {
	Party  cityid.Code
	City   place
	Public bool // everybody may read it
	Member bool // the visitor has a voice in the policy that governs the code
	URL    string
}

// errNoBoard says that there is no dashboard of a code.
var errNoBoard = cityid.Errorf(cityid.ErrNotFound, "this site has no dashboard of this code: it shows those of cities whose gateways it reaches")

// board looks up who may see the dashboard of a code.
func (pg *page) board(party cityid.Code) (*board, error) {
	if pg.boards == nil || !pg.boards.known(party) {
		return nil, errNoBoard
	}
	x := &board{Party: party, URL: pg.URL("/dashboard/", party.String())}
	var err error
	if x.City, err = pg.placeAt(party); err != nil {
		return nil, err
	}
	if x.Member, err = pg.takesPart(party); err != nil {
		return nil, err
	}
	s, err := pg.boards.status(pg.ctx, party)
	if err != nil {
		return x, err
	}
	x.Public = s.Public
	return x, nil
}

// May reports whether the visitor may read the dashboard.
func (x *board) May() bool { return x.Public || x.Member }

func (b *boards) known(party cityid.Code) bool {
	return slices.Contains(b.from.Parties(), party)
}

// note writes into the log why a gateway is of no use, which visitors are not told.
func (b *boards) note(err error) {
	var bad *GatewayError
	if errors.As(err, &bad) {
		b.log.Warn("a gateway is of no use", "party", bad.Party, "lies", bad.Lies, "error", bad.Cause)
	}
}

// gatewayProblem says what is wrong with a gateway, for a page that goes on without
// it.
func (pg *page) gatewayProblem(err error, name string) string {
	var bad *GatewayError
	switch {
	case errors.As(err, &bad) && bad.Lies:
		return pg.T("dashboard.lies", name, fmt.Sprintf("%.200s", bad.Cause))
	case errors.As(err, &bad), errors.Is(err, context.DeadlineExceeded):
		return pg.T("dashboard.silent", name)
	}
	return pg.refusal(err)
}

// linkPatience is how long a page that only links to dashboards waits to learn
// whether the visitor may see them.
const linkPatience = 300 * time.Millisecond

// openBoards lists the dashboards that the visitor may see; those of gateways that
// do not answer at once are left out.
func (pg *page) openBoards() []*board {
	if pg.boards == nil {
		return nil
	}
	var out []*board
	pg.briefly(linkPatience, func() {
		for _, party := range pg.boards.from.Parties() {
			if x, err := pg.board(party); err == nil && x.May() {
				out = append(out, x)
			}
		}
	})
	return out
}

// boardLink returns the dashboard of a code that the visitor may see, or nil.
func (pg *page) boardLink(party cityid.Code) (link *board) {
	pg.briefly(linkPatience, func() {
		if x, err := pg.board(party); err == nil && x.May() {
			link = x
		}
	})
	return link
}

// briefly does something that a page can do without, for so long at most.
func (pg *page) briefly(d time.Duration, do func()) {
	outer := pg.ctx
	ctx, cancel := context.WithTimeout(outer, d)
	defer cancel()
	pg.ctx = ctx
	defer func() { pg.ctx = outer }()
	do()
}
