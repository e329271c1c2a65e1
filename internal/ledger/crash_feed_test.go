// SPDX-License-Identifier: Apache-2.0

package ledger

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"cityid"
)

const crashFeed = "CITYID_LEDGER_CRASH_FEED" // in the environment of the process that is killed

func feedOptions(dir string) Options {
	return Options{Dir: dir, Party: provider, Log: "main", BatchSize: 5}
}

// followUntilKilled follows a feed, anchors, erases and prunes, all at once.
func followUntilKilled(dir string) error {
	ctx := context.Background()
	l, err := Open(ctx, feedOptions(dir))
	if err != nil {
		return err
	}
	fmt.Println("open")
	failed := make(chan error, 3)
	go func() {
		for {
			if err := anchorAndErase(ctx, l); err != nil {
				failed <- err
			}
		}
	}()
	go func() {
		for {
			if _, err := pruneFeed(ctx, l, 150); err != nil {
				failed <- err
			}
			time.Sleep(5 * time.Millisecond)
		}
	}()
	go func() {
		feed := Feed{Path: "/feed"}
		for {
			if err := followOnce(ctx, l, feed); err != nil {
				failed <- err
			}
		}
	}()
	return <-failed
}

// pruneFeed removes all but the last minutes of the feed's observations, and returns
// before when.
func pruneFeed(ctx context.Context, l *Ledger, minutes int) (cityid.Time, error) {
	list, err := l.Series(ctx, SeriesQuery{})
	if err != nil || len(list) == 0 {
		return 0, err
	}
	before := list[0].Last - cityid.Time(60*minutes)
	_, err = l.PruneObservations(ctx, before)
	return before, err
}

func anchorAndErase(ctx context.Context, l *Ledger) error {
	b, err := l.NextToAnchor(ctx)
	if errors.Is(err, ErrNotFound) {
		time.Sleep(time.Millisecond)
		return nil
	}
	if err == nil {
		err = l.MarkAnchored(ctx, b.Sequence, b.Root, cityid.Digest{}, b.Sequence, 1772352000)
	}
	if err == nil && b.Sequence%3 == 0 {
		_, err = l.Erase(ctx, time.Now().Add(-50*time.Millisecond))
	}
	return err
}

// followOnce fetches what follows the cursor: event and observation n+1 after n.
func followOnce(ctx context.Context, l *Ledger, feed Feed) error {
	s, err := l.Subscription(ctx, feed)
	if err != nil {
		return err
	}
	n := s.Events + 1
	r := Receipt{
		Version: 1, Dataset: dataset, Provider: consumer, Log: "other", Number: uint64(time.Now().UnixNano()), Status: 200, Size: 1,
		Content: fill(1), Time: 1772352000, Height: 1,
	}
	receipt, err := r.Encode()
	if err != nil {
		return err
	}
	e, err := l.AppendFetched(ctx, Fetched{Receipt: receipt, Response: Message{Base: []byte("answer"), Signature: make([]byte, SignatureLen)}})
	if err != nil {
		return err
	}
	_, err = l.Advance(ctx, Progress{
		Feed: feed, From: s.Cursor, To: fmt.Sprint(n), Entry: e.ID, Events: [][]byte{fmt.Append(nil, n)},
		Observations: []Observation{observation(1, cityid.Time(60*n), fmt.Sprint(n))},
	})
	if err == nil {
		fmt.Println(n)
	}
	return err
}

// TestKillFeed kills a process that follows a feed, erases and prunes: cursor, events and
// observations agree each time, and erasing and pruning go on where they were.
func TestKillFeed(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "ledger")
	feed, last := Feed{Path: "/feed"}, uint64(0)
	for round := range 6 {
		cmd := exec.CommandContext(t.Context(), os.Args[0])
		cmd.Env = append(os.Environ(), crashFeed+"="+dir)
		said := runUntilKilled(t, cmd, time.Duration(40+37*round)*time.Millisecond)
		l := ok(Open(t.Context(), feedOptions(dir)))(t)
		f := &fixture{Ledger: l, t: t}
		s := ok(l.Subscription(t.Context(), feed))(t)
		for _, line := range said {
			var n uint64
			if _, err := fmt.Sscan(line, &n); err != nil || n > s.Events {
				t.Fatalf("round %d: %q, and there are %d events", round, line, s.Events)
			}
		}
		if s.Events > 0 && s.Cursor != fmt.Sprint(s.Events) || s.Events < last {
			t.Errorf("round %d: %d events, cursor %s", round, s.Events, s.Cursor)
		}
		for last < s.Events {
			page := ok(l.EventsAfter(t.Context(), feed, last, 0))(t)
			for _, e := range page.Events {
				if last++; e.Number != last || string(e.Body) != fmt.Sprint(last) {
					t.Fatalf("round %d: event %d is %+v", round, last, e)
				}
			}
		}
		if list := ok(l.Observations(t.Context(), SeriesQuery{From: cityid.Time(60 * s.Events)}, 0))(t); s.Events > 0 && (len(list) != 1 || list[0].Value != fmt.Sprint(s.Events)) {
			t.Errorf("round %d: %d events, observations at the end %+v", round, s.Events, list)
		}
		if before := ok(pruneFeed(t.Context(), l, 40))(t); before > 0 {
			list := ok(l.Observations(t.Context(), SeriesQuery{}, 0))(t)
			if first := max(1, uint64(before+59)/60); uint64(len(list)) != s.Events+1-first || list[0].Time != cityid.Time(60*first) {
				t.Errorf("round %d: %d of %d observations are left, from %d on: pruned before %d", round, len(list), s.Events, list[0].Time, before)
			}
			f.hoursHold()
		}
		checkErased(t, f)
		do(t, l.Close())
	}
	if last == 0 {
		t.Error("nothing was ever fetched")
	}
}

// checkErased checks that of each batch all or, once erasing has gone on, nothing is
// there.
func checkErased(t *testing.T, f *fixture) {
	t.Helper()
	ok(f.Erase(t.Context(), time.Time{}))(t)
	var left, contents int
	do(t, f.reads.QueryRow(`SELECT count(*) FROM entry WHERE id <= (SELECT max(last) FROM batch WHERE erased > 0)`).Scan(&left))
	do(t, f.reads.QueryRow(`SELECT (SELECT count(*) FROM content) - (SELECT count(*) FROM entry)`).Scan(&contents))
	if left != 0 || contents != 0 {
		t.Errorf("%d entries of erased batches are left, %d contents without entries", left, contents)
	}
	for _, b := range ok(f.Batches(t.Context(), 0, 1<<20))(t) {
		_, err := f.Proof(t.Context(), b.First)
		if !b.Erased.IsZero() {
			want(t, "proof in an erased batch", err, ErrErased)
		} else if b.Anchored != 0 {
			do(t, err)
		}
	}
}
