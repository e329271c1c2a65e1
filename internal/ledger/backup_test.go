// SPDX-License-Identifier: Apache-2.0

package ledger

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"cityid/keys"
)

func TestSnapshot(t *testing.T) {
	f := newFixture(t, func(o *Options) { o.BatchSize = 4 })
	f.clock.pass(time.Minute)
	ctx, a := t.Context(), agreement(1)
	entries := map[uint64]Appended{}
	for range 3 {
		e := f.serve(a)
		entries[e.ID] = e
	}
	ahead := f.nonce("a", 5)
	f.answerWith(ahead)
	anchorAll(t, f)
	for range 2 {
		e := f.serve(a)
		entries[e.ID] = e
	}
	private := ok(keys.NewPrivate(keys.X25519, bytes.Repeat([]byte{5}, 32)))(t)
	recipient, identity := ok(private.Public().AgeRecipient())(t), ok(private.AgeIdentity())(t)
	var plain, sealed bytes.Buffer
	do(t, f.Snapshot(ctx, &plain))
	do(t, f.Snapshot(ctx, &sealed, recipient))
	if bytes.Contains(sealed.Bytes(), []byte(dbName)) || len(ok(filepath.Glob(filepath.Join(f.opts.Dir, "snapshot-*")))(t)) != 0 {
		t.Error("the archive is not encrypted, or something is left behind")
	}
	f.serve(a) // number 7, which the archive knows nothing of

	for what, archive := range map[string][]byte{"plain": plain.Bytes(), "encrypted": sealed.Bytes()} {
		o := f.opts
		o.Dir = filepath.Join(t.TempDir(), what)
		do(t, Restore(ctx, o.Dir, bytes.NewReader(archive), identity))
		want(t, "over another ledger", Restore(ctx, o.Dir, bytes.NewReader(archive), identity), ErrConflict)
		for range 2 {
			_, err := Open(ctx, o)
			want(t, "with the name of a log that may have gone on", err, ErrRestored)
		}
		o.Log = "restored"
		r := &fixture{Ledger: ok(Open(ctx, o))(t), t: t, clock: f.clock, opts: o}
		want(t, "a nonce that may have been lost", r.Claim(ctx, r.nonce("b", 5)), ErrTooOld)
		if e := r.serve(a); e.ID != 7 || e.Number != 1 {
			t.Errorf("%s: %+v", what, e)
		}
		list := anchorAll(t, r)
		if len(list) != 1 || list[0].First != 5 || list[0].Last != 7 || list[0].Log != "restored" || list[0].Sequence != 1 {
			t.Errorf("%s: %+v", what, list)
		}
		checkProofs(t, r, entries)
		r.reopen() // it is an ordinary ledger now
		do(t, r.Close())
	}
	for what, c := range map[string]struct {
		archive []byte
		target  error
	}{
		"encrypted, without a key": {sealed.Bytes(), ErrKey},
		"nothing":                  {nil, ErrDamaged},
		"cut off":                  {plain.Bytes()[:plain.Len()/2], ErrDamaged},
		"changed":                  {flip(plain.Bytes(), plain.Len()/2), ErrDamaged},
		"of an office":             {bytes.Replace(plain.Bytes(), []byte("ledger-backup"), []byte("office-backup"), 1), ErrNewer},
		"of another file":          {bytes.ReplaceAll(plain.Bytes(), []byte(dbName), []byte("ledger.xx")), ErrDamaged},
	} {
		dir := filepath.Join(t.TempDir(), "x")
		want(t, what, Restore(ctx, dir, bytes.NewReader(c.archive)), c.target)
		if _, err := os.Stat(dir); err == nil {
			t.Errorf("%s: a folder was made", what)
		}
	}
}

func flip(b []byte, at int) []byte {
	b = bytes.Clone(b)
	b[at] ^= 1
	return b
}

// TestSnapshotWhileInUse takes snapshots while others write: each is consistent.
func TestSnapshotWhileInUse(t *testing.T) {
	f := newFixture(t, func(o *Options) { o.BatchSize = 5 })
	var stop atomic.Bool
	var number atomic.Uint64
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			for !stop.Load() {
				if _, err := f.AppendFetched(t.Context(), fetched(t, agreement(1), number.Add(1))); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	for range 3 {
		var archive bytes.Buffer
		before := f.Stats().Entries
		do(t, f.Snapshot(t.Context(), &archive))
		o := f.opts
		o.Dir, o.Log = filepath.Join(t.TempDir(), "x"), "restored"
		do(t, Restore(t.Context(), o.Dir, &archive))
		l := ok(Open(t.Context(), o))(t)
		if s := l.Stats(); s.Entries < before || s.Unacknowledged != int(s.Entries) {
			t.Errorf("%+v, %d entries before", s, before)
		}
		do(t, l.Close())
	}
	stop.Store(true)
	wg.Wait()
	do(t, os.Mkdir(filepath.Join(f.opts.Dir, snapshotStart+"1"), 0o700))
	f.reopen()
	if left := ok(filepath.Glob(filepath.Join(f.opts.Dir, snapshotStart+"*")))(t); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

// TestSnapshotFails gives a writer that takes no more.
func TestSnapshotFails(t *testing.T) {
	f := newFixture(t)
	r, w := io.Pipe()
	do(t, r.Close())
	if err := f.Snapshot(t.Context(), w); err == nil {
		t.Error("no error")
	}
	if left := ok(os.ReadDir(f.opts.Dir))(t); len(left) != 4 {
		t.Errorf("left behind: %v", left)
	}
}

// TestPrivate keeps others from reading the folder.
func TestPrivate(t *testing.T) {
	f := newFixture(t)
	f.serve(agreement(1))
	for _, file := range ok(os.ReadDir(f.opts.Dir))(t) {
		if info := ok(file.Info())(t); info.Mode().Perm()&0o077 != 0 && !strings.HasSuffix(file.Name(), "-shm") {
			t.Errorf("%s has mode %v", file.Name(), info.Mode())
		}
	}
	if info := ok(os.Stat(f.opts.Dir))(t); info.Mode().Perm() != 0o700 {
		t.Errorf("the folder has mode %v", info.Mode())
	}
}
