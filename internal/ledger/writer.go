// SPDX-License-Identifier: Apache-2.0

package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"cityid"
)

// maxGroup bounds how many jobs share a transaction.
const maxGroup = 512

// writer is the one goroutine that writes. It takes up all jobs that wait, carries
// them out in one transaction, and answers them when it is on the disk.
type writer struct {
	l    *Ledger
	conn *sql.Conn
	stmt statements

	mu      sync.Mutex
	queue   []*job
	closing bool
	wake    chan struct{} // holds one token while there may be something to do
	ended   chan struct{}

	state  state // the writer's goroutine alone
	broken error
}

// state is what the next entry and batch depend on.
type state struct {
	log  int64  // row of the log that is written
	base uint64 // entries before it
	next uint64 // entry
	open openBatch
}

// job is something to be written.
type job struct {
	phase  atomic.Int32
	build  func(number uint64) error // entries that are served: called in the caller's goroutine
	whole  bool                      // apply fails before it has changed anything
	apply  func(g *group) error      // in the writer's goroutine
	number chan uint64
	built  chan error
	done   chan error
}

// The phases of a job.
const (
	phaseWaiting int32 = iota
	phaseTaken         // the writer has it: its caller waits for the end
	phaseGivenUp       // its caller is gone
)

// group is a transaction under way.
type group struct {
	w     *writer
	state state             // as it will be
	now   int64             // ms
	usage []usageDelta      // to be added
	after []func(l *Ledger) // under l.mu, once it is on the disk
}

type usageKey struct {
	account
	day int64
}

type usageDelta struct {
	usageKey
	Usage
}

func startWriter(ctx context.Context, l *Ledger, s state) (_ *writer, err error) {
	w := &writer{l: l, state: s, wake: make(chan struct{}, 1), ended: make(chan struct{})}
	if w.conn, err = l.writes.Conn(ctx); err != nil {
		return nil, err
	}
	if err := w.stmt.prepare(ctx, w.conn); err != nil {
		return nil, errors.Join(err, w.conn.Close())
	}
	go w.run()
	return w, nil
}

// stop lets what waits be written, and ends the writer. It is called once.
func (w *writer) stop() error {
	w.mu.Lock()
	w.closing = true
	w.mu.Unlock()
	w.signal()
	<-w.ended
	return errors.Join(w.stmt.close(), w.conn.Close())
}

func (w *writer) signal() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// write has a job carried out and waits for it to be on the disk. If the context
// ends while the job waits for its turn, it is not carried out.
func (l *Ledger) write(ctx context.Context, j *job) error {
	j.number, j.built, j.done = make(chan uint64, 1), make(chan error, 1), make(chan error, 1)
	w := l.writer
	w.mu.Lock()
	if w.closing {
		w.mu.Unlock()
		return ErrClosed
	}
	w.queue = append(w.queue, j)
	w.mu.Unlock()
	w.signal()
	ended := ctx.Done()
	for {
		select {
		case n := <-j.number:
			j.callBuild(n)
		case err := <-j.done:
			return err
		case <-ended:
			if j.phase.CompareAndSwap(phaseWaiting, phaseGivenUp) {
				return context.Cause(ctx)
			}
			ended = nil // it is being written, and that does not take long
		}
	}
}

// callBuild calls build and tells the writer how it went, also when it panics.
func (j *job) callBuild(number uint64) {
	err := errors.New("building the receipt did not come to an end")
	defer func() { j.built <- err }()
	err = j.build(number)
}

func (w *writer) run() {
	defer close(w.ended)
	for range w.wake {
		for {
			jobs, more := w.take()
			if len(jobs) == 0 {
				if !more {
					return
				}
				break
			}
			w.carryOut(jobs)
		}
	}
}

// take returns the jobs of the next group, and whether more may come later.
func (w *writer) take() (jobs []*job, more bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	taken := 0
	for _, j := range w.queue {
		if len(jobs) == maxGroup {
			break
		}
		taken++
		if j.phase.CompareAndSwap(phaseWaiting, phaseTaken) {
			jobs = append(jobs, j)
		}
	}
	w.queue = append(w.queue[:0:0], w.queue[taken:]...)
	return jobs, !w.closing || len(w.queue) > 0
}

// putBack lets jobs be the first of the next group.
func (w *writer) putBack(jobs []*job) {
	if len(jobs) == 0 {
		return
	}
	for _, j := range jobs {
		j.phase.Store(phaseWaiting)
	}
	w.mu.Lock()
	w.queue = append(jobs[:len(jobs):len(jobs)], w.queue...)
	w.mu.Unlock()
	w.signal()
}

// carryOut writes jobs in one transaction and answers them. Served entries come
// first, since their numbers are signed before they are written.
func (w *writer) carryOut(jobs []*job) {
	if w.broken != nil {
		answer(jobs, w.broken)
		return
	}
	var served, rest []*job
	for _, j := range jobs {
		if j.build != nil {
			served = append(served, j)
		} else {
			rest = append(rest, j)
		}
	}
	served, again := w.build(served)
	g := &group{w: w, state: w.state.clone(), now: w.l.now().UnixMilli()}
	if err := w.exec("BEGIN IMMEDIATE"); err != nil {
		w.putBack(again)
		answer(append(served, rest...), w.failed(err))
		return
	}
	written, later, err := g.apply(served, rest)
	again = append(later, again...)
	if err == nil {
		err = g.finish()
	}
	if err == nil {
		err = w.exec("COMMIT")
	}
	if err != nil {
		w.fail(written, again, err)
		return
	}
	w.committed(g, written)
	w.putBack(again)
}

// apply carries out the jobs of a group. It answers those that fail alone, and returns
// those that are written and those whose numbers are wrong now. After an error nothing
// is to be committed, and all that it returns are to be told.
func (g *group) apply(served, rest []*job) (written, later []*job, err error) {
	for i, j := range served {
		err := j.apply(g)
		if fatal(err) {
			return append(append(written, served[i:]...), rest...), nil, err
		}
		if err != nil {
			answer([]*job{j}, err)
			later = served[i+1:]
			break
		}
		written = append(written, j)
	}
	for i, j := range rest {
		err := g.w.one(g, j)
		if fatal(err) {
			return append(written, rest[i:]...), later, err
		}
		if err != nil {
			answer([]*job{j}, err)
			continue
		}
		written = append(written, j)
	}
	return written, later, nil
}

// build has the receipts of served entries built, all at the same time. It returns
// those that can be written, and those that need other numbers because one before
// them failed.
func (w *writer) build(jobs []*job) (ready, again []*job) {
	first := w.state.next - w.state.base
	for i, j := range jobs {
		j.number <- first + uint64(i)
	}
	failed := false
	for _, j := range jobs {
		switch err := <-j.built; {
		case err != nil:
			failed = true
			answer([]*job{j}, err)
		case failed:
			again = append(again, j)
		default:
			ready = append(ready, j)
		}
	}
	return ready, again
}

// one carries out a job so that it leaves nothing when it fails.
func (w *writer) one(g *group, j *job) error {
	if j.whole {
		return j.apply(g)
	}
	if err := w.exec("SAVEPOINT one"); err != nil {
		return fatalError{err}
	}
	before, usage, after := g.state.clone(), len(g.usage), len(g.after)
	err := j.apply(g)
	if err == nil {
		err = w.exec("RELEASE one")
		if err != nil {
			err = fatalError{err}
		}
		return err
	}
	g.state, g.usage, g.after = before, g.usage[:usage], g.after[:after]
	if back := w.exec("ROLLBACK TO one; RELEASE one"); back != nil {
		return fatalError{errors.Join(err, back)}
	}
	return err
}

// fail ends a transaction that can not be written and tells its jobs why. Others may
// try again.
func (w *writer) fail(jobs, again []*job, err error) {
	// SQLite has rolled back by itself after some errors.
	if back := w.exec("ROLLBACK"); back != nil && !noTransaction(back) {
		err = errors.Join(err, back)
	}
	w.putBack(again)
	answer(jobs, w.failed(err))
}

// failed notes an error of the disk after which nothing may be written.
func (w *writer) failed(err error) error {
	var e *sqlite.Error
	if errors.As(err, &e) {
		switch e.Code() & 0xff {
		case sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB:
			w.broken = fmt.Errorf("%w: %w: look at the disk, then start the gateway again", ErrBroken, err)
			return w.broken
		}
	}
	return fmt.Errorf("write: %w", err)
}

// committed makes what is on the disk known and answers the jobs.
func (w *writer) committed(g *group, jobs []*job) {
	w.state = g.state
	l := w.l
	l.mu.Lock()
	l.stats.Groups++
	for _, f := range g.after {
		f(l)
	}
	l.stats.Open, l.openSince = g.state.open.log.Size(), g.state.open.since
	l.mu.Unlock()
	answer(jobs, nil)
}

func answer(jobs []*job, err error) {
	for _, j := range jobs {
		j.done <- err
	}
}

func (w *writer) exec(query string) error {
	_, err := w.conn.ExecContext(context.Background(), query)
	return err
}

// fatalError is an error after which the whole transaction has to go.
type fatalError struct{ error }

func (e fatalError) Unwrap() error { return e.error }

// fatal reports whether an error is the disk's or the database's, not one of a
// broken constraint or of the job's own.
func fatal(err error) bool {
	var f fatalError
	var e *sqlite.Error
	return errors.As(err, &f) || errors.As(err, &e) && e.Code()&0xff != sqlite3.SQLITE_CONSTRAINT
}

// noTransaction reports whether an error says that there was nothing to roll back.
func noTransaction(err error) bool {
	var e *sqlite.Error
	return errors.As(err, &e) && e.Code() == sqlite3.SQLITE_ERROR
}

func (s state) clone() state {
	s.open.log = s.open.log.Clone()
	return s
}

// finish writes what concerns the group as a whole.
func (g *group) finish() error {
	sums := map[usageKey]Usage{}
	for _, d := range g.usage {
		sum := sums[d.usageKey]
		sum.add(d.Usage)
		sums[d.usageKey] = sum
	}
	for k, u := range sums {
		if _, err := g.w.stmt.usage.Exec(optional(k.agreement), k.direction, k.day, u.Requests, u.Octets, u.Refused); err != nil {
			return err
		}
	}
	return nil
}

// second is the time of the group in whole seconds.
func (g *group) second() cityid.Time { return cityid.TimeOf(time.UnixMilli(g.now)) }

// statements are those that each entry needs, prepared on the writer's connection.
type statements struct {
	entry, content, nonce, usage *sql.Stmt
}

func (s *statements) prepare(ctx context.Context, conn *sql.Conn) error {
	for to, query := range map[**sql.Stmt]string{
		&s.entry: `INSERT INTO entry (id, direction, agreement, peer, hash, leaf, stored, status, size, awaits, ack)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0)`,
		&s.content: `INSERT INTO content (entry, salt, encoded, path, request, request_signature, response, response_signature)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?)`,
		&s.nonce: `INSERT INTO nonce (expires, key, value) VALUES (?, ?, ?) ON CONFLICT DO NOTHING`,
		&s.usage: `INSERT INTO usage (agreement, direction, day, requests, octets, refused) VALUES (?, ?, ?, ?, ?, ?)
			ON CONFLICT DO UPDATE SET requests = requests + excluded.requests, octets = octets + excluded.octets, refused = refused + excluded.refused`,
	} {
		var err error
		if *to, err = conn.PrepareContext(ctx, query); err != nil {
			return err
		}
	}
	return nil
}

func (s *statements) close() error {
	var errs []error
	for _, stmt := range []*sql.Stmt{s.entry, s.content, s.nonce, s.usage} {
		if stmt != nil {
			errs = append(errs, stmt.Close())
		}
	}
	return errors.Join(errs...)
}
