// SPDX-License-Identifier: Apache-2.0

package ledger

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"cityid"
	"cityid/keys"
)

var (
	provider = cityid.MustParse("MA.156.1301.01")
	consumer = cityid.MustParse("MA.156.1302.01")
	dataset  = cityid.MustParse("MA.156.1301.01/20.010203/000123")
)

// clock is a time that only the test moves.
type clock struct {
	mu sync.Mutex
	t  time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *clock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
}

func (c *clock) second() cityid.Time { return cityid.TimeOf(c.now()) }

func newClock() *clock { return &clock{t: time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)} }

func do(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func ok[T any](v T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func want(t testing.TB, what string, err, target error) {
	t.Helper()
	if !errors.Is(err, target) {
		t.Errorf("%s: %v, want %v", what, err, target)
	}
}

// key signs for all parties of the tests.
func key(t testing.TB) *keys.Private {
	t.Helper()
	return ok(keys.NewPrivate(keys.Ed25519, []byte(strings.Repeat("k", 32))))(t)
}

func message(t testing.TB, base string) Message {
	t.Helper()
	return Message{Base: []byte(base), Signature: ok(key(t).Sign([]byte(base)))(t)}
}

// fixture is an open ledger, and what its entries are made of.
type fixture struct {
	*Ledger
	t     testing.TB
	clock *clock
	opts  Options
	n     int
}

func newFixture(t testing.TB, change ...func(*Options)) *fixture {
	t.Helper()
	c := newClock()
	f := &fixture{t: t, clock: c, opts: Options{Dir: filepath.Join(t.TempDir(), "a ledger"), Party: provider, Log: "main", Now: c.now}}
	for _, c := range change {
		c(&f.opts)
	}
	f.open()
	t.Cleanup(func() { do(t, f.Close()) })
	return f
}

func (f *fixture) open() {
	f.t.Helper()
	f.Ledger = ok(Open(context.Background(), f.opts))(f.t)
}

// reopen closes the ledger and opens it again, with other options perhaps.
func (f *fixture) reopen(change ...func(*Options)) {
	f.t.Helper()
	do(f.t, f.Close())
	for _, c := range change {
		c(&f.opts)
	}
	f.open()
}

func agreement(n int) cityid.Digest { return sha256.Sum256(fmt.Append(nil, "agreement ", n)) }

// served is a fetch under an agreement with a place in its quotas.
func (f *fixture) served(a cityid.Digest, base string) Served {
	f.t.Helper()
	r := ok(f.Reserve(f.t.Context(), a, Limits{}, 1<<20))(f.t)
	return Served{Agreement: a, Peer: consumer, Path: "/data/x?" + base, Request: message(f.t, "request "+base), Reservation: r}
}

// answer returns the receipt and answer to something served.
func (f *fixture) answer(s *Served, number uint64, status uint32) (Answer, error) {
	r := Receipt{
		Version: 1, Agreement: s.Agreement, Dataset: dataset, Provider: f.Party(), Log: f.Log(), Number: number,
		Request: s.Request.Hash(), Status: status, Size: 1000, Content: sha256.Sum256([]byte(s.Path)), Time: f.clock.second(), Height: 7,
	}
	base := fmt.Sprintf("answer %d to %s", number, s.Path)
	sig, err := key(f.t).Sign([]byte(base))
	return Answer{Receipt: r, Response: Message{Base: []byte(base), Signature: sig}}, err
}

// serve appends an entry for data that is served.
func (f *fixture) serve(a cityid.Digest) Appended {
	f.t.Helper()
	f.n++
	s := f.served(a, fmt.Sprint(f.n))
	return ok(f.AppendServed(f.t.Context(), s, func(n uint64) (Answer, error) { return f.answer(&s, n, 200) }))(f.t)
}

// fetched returns an answer from another gateway.
func fetched(t testing.TB, a cityid.Digest, number uint64) Fetched {
	t.Helper()
	path := fmt.Sprintf("/data/y?%d", number)
	request, response := message(t, "request "+path), message(t, "answer "+path)
	r := Receipt{
		Version: 1, Agreement: a, Dataset: dataset, Provider: consumer, Log: "other", Number: number, Request: request.Hash(),
		Status: 200, Size: 500, Content: sha256.Sum256(nil), Time: 1772352000, Height: 9,
	}
	return Fetched{Path: path, Request: request, Response: response, Receipt: ok(r.Encode())(t)}
}
