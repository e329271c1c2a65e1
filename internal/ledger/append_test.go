// SPDX-License-Identifier: Apache-2.0

package ledger

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"cityid"
)

func TestAppendServed(t *testing.T) {
	f := newFixture(t)
	for i := range uint64(5) {
		e := f.serve(agreement(int(i) % 2))
		if e.ID != i+1 || e.Number != i+1 || e.Hash != EntryHash(e.Entry) {
			t.Fatalf("entry %d: %+v", i+1, e)
		}
		_, r, err := DecodeEntry(e.Entry)
		do(t, err)
		if r.Number != i+1 || r.Log != "main" {
			t.Errorf("entry %d has receipt %+v", i+1, r)
		}
	}
	refuse := func(what string, target error, change func(s *Served, a *Answer)) {
		t.Helper()
		s := f.served(agreement(1), what)
		defer s.Reservation.Release()
		change(&s, &Answer{})
		_, err := f.AppendServed(t.Context(), s, func(n uint64) (Answer, error) {
			a, err := f.answer(&s, n, 200)
			change(&Served{}, &a)
			return a, err
		})
		want(t, what, err, target)
	}
	refuse("another number", ErrInvalid, func(_ *Served, a *Answer) { a.Receipt.Number++ })
	refuse("another log", ErrInvalid, func(_ *Served, a *Answer) { a.Receipt.Log = "other" })
	refuse("another provider", ErrInvalid, func(_ *Served, a *Answer) { a.Receipt.Provider = consumer })
	refuse("another agreement", ErrInvalid, func(_ *Served, a *Answer) { a.Receipt.Agreement = agreement(7) })
	refuse("another request", ErrInvalid, func(_ *Served, a *Answer) { a.Receipt.Request = fill(1) })
	refuse("more than reserved", ErrInvalid, func(_ *Served, a *Answer) { a.Receipt.Size = 1<<20 + 1 })
	refuse("a receipt out of bounds", ErrInvalid, func(_ *Served, a *Answer) { a.Receipt.Height = 0 })
	refuse("an answer without a signature", ErrInvalid, func(_ *Served, a *Answer) { a.Response.Signature = nil })
	refuse("a request without a base", ErrInvalid, func(s *Served, _ *Answer) { s.Request.Base = nil })
	refuse("no request", ErrInvalid, func(s *Served, _ *Answer) { s.Request = Message{} })
	refuse("a long path", ErrInvalid, func(s *Served, _ *Answer) { s.Path = string(make([]byte, MaxPath+1)) })
	refuse("no reservation", ErrInvalid, func(s *Served, _ *Answer) { s.Reservation = nil })
	refuse("another one's reservation", ErrInvalid, func(s *Served, _ *Answer) { s.Agreement = agreement(7) })
	refuse("a reservation that ended", ErrConflict, func(s *Served, _ *Answer) {
		if s.Reservation != nil {
			s.Reservation.Release()
		}
	})
	refuse("a nonce out of bounds", ErrInvalid, func(s *Served, _ *Answer) { s.Nonce = &Nonce{} })
	if e := f.serve(agreement(1)); e.Number != 6 {
		t.Errorf("after refusals the next number is %d", e.Number)
	}
	if s := f.Stats(); s.Reservations != 0 || s.Served != 6 || s.Entries != 6 {
		t.Errorf("%+v", s)
	}
}

func TestAppendFetched(t *testing.T) {
	f := newFixture(t)
	in := fetched(t, agreement(1), 3)
	e := ok(f.AppendFetched(t.Context(), in))(t)
	if e.ID != 1 {
		t.Errorf("%+v", e)
	}
	_, err := f.AppendFetched(t.Context(), in)
	want(t, "the same again", err, ErrConflict)
	for what, change := range map[string]func(*Fetched){
		"a broken receipt": func(f *Fetched) { f.Receipt = f.Receipt[1:] },
		"another request":  func(f *Fetched) { f.Request = message(t, "another") },
		"no answer":        func(f *Fetched) { f.Response = Message{} },
		"a long path":      func(f *Fetched) { f.Path = string(make([]byte, MaxPath+1)) },
	} {
		in := fetched(t, agreement(1), 4)
		change(&in)
		_, err := f.AppendFetched(t.Context(), in)
		want(t, what, err, ErrInvalid)
	}
	if e := f.serve(agreement(2)); e.ID != 2 || e.Number != 2 {
		t.Errorf("both directions share the numbers: %+v", e)
	}
	f.reopen()
	_, err = f.AppendFetched(t.Context(), in)
	want(t, "the same after opening again", err, ErrConflict)
}

// TestAppendConcurrently has many appenders of all kinds at once, of whom some can
// not sign: numbers have no gap, each receipt bears its own, and all is there after
// opening again.
func TestAppendConcurrently(t *testing.T) {
	f := newFixture(t, func(o *Options) { o.BatchSize = 50 })
	const workers, each = 16, 40
	errNoKey := errors.New("the key is gone")
	var mu sync.Mutex
	entries := map[uint64]Appended{}
	var rebuilt atomic.Int64
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for i := range each {
				n := w*each + i
				if n%7 == 0 {
					e, err := f.AppendFetched(t.Context(), fetched(t, agreement(w), uint64(n+1)))
					if err != nil {
						t.Error(err)
						return
					}
					mu.Lock()
					entries[e.ID] = e
					mu.Unlock()
					continue
				}
				s := Served{Agreement: agreement(w), Peer: consumer, Path: fmt.Sprint(n), Request: message(t, fmt.Sprint("request ", n))}
				r, err := f.Reserve(t.Context(), s.Agreement, Limits{}, 1000)
				if err != nil {
					t.Error(err)
					return
				}
				s.Reservation = r
				calls := int64(0)
				e, err := f.AppendServed(t.Context(), s, func(number uint64) (Answer, error) {
					if calls++; n%11 == 0 {
						return Answer{}, errNoKey
					}
					return f.answer(&s, number, 200)
				})
				rebuilt.Add(max(0, calls-1))
				if r.Release(); n%11 == 0 {
					if !errors.Is(err, errNoKey) {
						t.Error(err)
					}
					continue
				}
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				entries[e.ID] = e
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	t.Logf("%d entries in %d transactions, %d built again", len(entries), f.Stats().Groups, rebuilt.Load())
	for id := range uint64(len(entries)) {
		e, there := entries[id+1]
		if !there {
			t.Fatalf("entry %d of %d is missing", id+1, len(entries))
		}
		if _, r, err := DecodeEntry(e.Entry); err != nil || r.Log == "main" && r.Number != e.Number {
			t.Errorf("entry %d has receipt %d, %v", e.Number, r.Number, err)
		}
	}
	before := f.Stats()
	f.reopen()
	after := f.Stats()
	if after.Entries != before.Entries || after.Open != before.Open || after.Waiting != before.Waiting || after.Unacknowledged != before.Unacknowledged {
		t.Errorf("opened again: %+v, before %+v", after, before)
	}
	anchorAll(t, f)
	checkProofs(t, f, entries)
}

// anchorAll closes the open batch and pretends that all batches are on the chain.
func anchorAll(t testing.TB, f *fixture) []Batch {
	t.Helper()
	ok(f.CloseBatch(t.Context(), true))(t)
	var list []Batch
	for height := uint64(1); ; height++ {
		b, err := f.NextToAnchor(t.Context())
		if errors.Is(err, ErrNotFound) {
			return list
		}
		do(t, err)
		do(t, f.MarkAnchored(t.Context(), b.Sequence, b.Root, fill(byte(height)), height, f.clock.second()))
		list = append(list, b)
	}
}

// checkProofs verifies the proof of each entry.
func checkProofs(t testing.TB, f *fixture, entries map[uint64]Appended) {
	t.Helper()
	for id, e := range entries {
		p, err := f.Proof(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := CheckLeaf(&p); err != nil || !bytes.Equal(p.Entry, e.Entry) {
			t.Errorf("entry %d: %v", id, err)
		}
	}
}

// TestGiveUp ends the context of an append while it waits for its turn.
func TestGiveUp(t *testing.T) {
	f := newFixture(t)
	first := f.served(agreement(1), "first")
	inside, leave := make(chan struct{}), make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		_, err := f.AppendServed(t.Context(), first, func(n uint64) (Answer, error) {
			close(inside)
			<-leave
			return f.answer(&first, n, 200)
		})
		if err != nil {
			t.Error(err)
		}
	})
	<-inside
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	second := f.served(agreement(1), "second")
	_, err := f.AppendServed(ctx, second, func(uint64) (Answer, error) {
		t.Error("whoever gave up is called")
		return Answer{}, nil
	})
	want(t, "given up", err, context.Canceled)
	second.Reservation.Release()
	close(leave)
	wg.Wait()
	if e := f.serve(agreement(1)); e.Number != 2 {
		t.Errorf("number %d", e.Number)
	}
}

// TestBuildPanics lets a callback panic, and end its goroutine: the ledger goes on.
func TestBuildPanics(t *testing.T) {
	f := newFixture(t)
	for what, end := range map[string]func(){"panic": func() { panic("no") }, "exit": runtime.Goexit} {
		s := f.served(agreement(1), what)
		done := make(chan any)
		go func() {
			defer close(done)
			defer func() { _ = recover() }()
			_, _ = f.AppendServed(context.Background(), s, func(uint64) (Answer, error) {
				end()
				return Answer{}, nil
			})
		}()
		<-done
		s.Reservation.Release()
	}
	if e := f.serve(agreement(1)); e.Number != 1 {
		t.Errorf("number %d", e.Number)
	}
}

func TestOpen(t *testing.T) {
	f := newFixture(t)
	_, err := Open(t.Context(), f.opts)
	want(t, "opened twice", err, ErrLocked)
	for what, change := range map[string]func(*Options){
		"no folder":       func(o *Options) { o.Dir = "" },
		"no party":        func(o *Options) { o.Party = cityid.Code{} },
		"no log":          func(o *Options) { o.Log = "" },
		"too large batch": func(o *Options) { o.BatchSize = cityid.MaxBatch + 1 },
	} {
		o := f.opts
		change(&o)
		_, err := Open(t.Context(), o)
		want(t, what, err, ErrInvalid)
	}
	f.serve(agreement(1))
	do(t, f.Close())
	_, err = f.AppendFetched(t.Context(), fetched(t, agreement(1), 1))
	want(t, "closed", err, ErrClosed)
	do(t, f.Close())
	f.open()
}

// TestNewLog begins another log: numbers and sequences begin anew, and what was not
// anchored is anchored under the new name.
func TestNewLog(t *testing.T) {
	f := newFixture(t, func(o *Options) { o.BatchSize = 4 })
	entries := map[uint64]Appended{}
	add := func(n int) {
		t.Helper()
		for range n {
			e := f.serve(agreement(1))
			entries[e.ID] = e
		}
	}
	add(3)
	anchorAll(t, f)
	add(6) // a batch of 4 that waits, and 2
	f.reopen(func(o *Options) { o.Log, o.BatchSize = "second", 3 })
	add(2)
	if last := entries[11]; last.Number != 2 {
		t.Errorf("%+v", last)
	}
	list := anchorAll(t, f)
	if len(list) != 3 || list[0].First != 4 || list[0].Sequence != 1 || list[0].Log != "second" || !list[0].Previous.IsZero() || list[2].Last != 11 {
		t.Errorf("%+v", list)
	}
	checkProofs(t, f, entries)
	do(t, f.Close())
	o := f.opts
	o.Log = "main"
	_, err := Open(t.Context(), o)
	want(t, "a log that was given up", err, ErrConflict)
	o.Log, o.Party = "second", consumer
	l := ok(Open(t.Context(), o))(t)
	if s := l.Stats(); s.Entries != 11 || s.Open != 0 {
		t.Errorf("%+v", s)
	}
	do(t, l.Close())
	_, err = Open(t.Context(), f.opts)
	want(t, "a party that it was of", err, ErrConflict)
	o.Log = "third"
	f.opts = o
	f.open()
}

// TestMissingEntry opens a ledger from which somebody took an entry.
func TestMissingEntry(t *testing.T) {
	for id := range 2 {
		f := newFixture(t)
		for range 3 {
			f.serve(agreement(1))
		}
		ok(f.writer.conn.ExecContext(t.Context(), `DELETE FROM entry WHERE id = ?`, id+1))(t)
		do(t, f.Close())
		_, err := Open(t.Context(), f.opts)
		want(t, "an entry is missing", err, ErrDamaged)
		f.opts.Dir = t.TempDir()
		f.open()
	}
}

func TestClosesWhileAppending(t *testing.T) {
	f := newFixture(t)
	var wg sync.WaitGroup
	var written atomic.Uint64
	for range 4 {
		wg.Go(func() {
			for i := uint64(0); ; i++ {
				_, err := f.AppendFetched(context.Background(), fetched(t, agreement(int(written.Load())), 1+written.Load()*10+i))
				if errors.Is(err, ErrClosed) {
					return
				}
				if err == nil {
					written.Add(1)
				} else if !errors.Is(err, ErrConflict) {
					t.Error(err)
					return
				}
			}
		})
	}
	for written.Load() < 20 {
		time.Sleep(time.Millisecond)
	}
	do(t, f.Close())
	wg.Wait()
	f.open()
	if s := f.Stats(); s.Entries != written.Load() {
		t.Errorf("%d entries, %d were written", s.Entries, written.Load())
	}
}
