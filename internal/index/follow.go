// SPDX-License-Identifier: Apache-2.0

package index

import (
	"context"
	"errors"
	"fmt"
	"time"

	"cityid"
)

const (
	scanPage  = 1000   // records read at a time
	scanBatch = 50_000 // records written in one transaction while building
	putBatch  = 5_000  // records written in one transaction while following
)

// Follow brings the index up to date and keeps it so until ctx ends, block by
// block; it builds the index first if need be. A source that can not be reached
// is asked again. Follow returns ctx's error, or one of the disk; only one may
// run at a time.
func (x *Index) Follow(ctx context.Context, s Source) error {
	if !x.running.TryLock() {
		return errors.New("index: it is followed already")
	}
	defer x.running.Unlock()
	const shortest, longest = 100 * time.Millisecond, 10 * time.Second
	pause, height := shortest, x.height.Load()
	for {
		err := x.follow(ctx, s)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if h := x.height.Load(); h != height {
			pause, height = shortest, h
		}
		if errors.Is(err, errRebuild) || isCorrupt(err) {
			x.o.Log.Warn("index is made anew", "reason", err.Error())
			x.mu.Lock()
			err := x.replace()
			x.mu.Unlock()
			if err != nil {
				return fmt.Errorf("index %s: %w", x.path, err)
			}
		} else {
			x.o.Log.Warn("index is behind", "height", x.height.Load(), "error", err)
		}
		if err := sleep(ctx, pause); err != nil {
			return err
		}
		pause = min(2*pause, longest)
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// follow does the work of Follow until something fails.
func (x *Index) follow(ctx context.Context, s Source) error {
	st, err := s.Status(ctx)
	if err != nil {
		return fmt.Errorf("ask for the status: %w", err)
	}
	m, err := readMeta(x.write)
	if err != nil {
		return err
	}
	if m.chain != "" && (m.chain != st.Chain || m.apex != st.Zone.String() || !m.built || m.height > st.Height) {
		return fmt.Errorf("%w: it is of chain %s at block %d, and this is %s at block %d", errRebuild, m.chain, m.height, st.Chain, st.Height)
	}
	if m.chain == "" {
		if m, err = x.build(ctx, s, st); err != nil {
			return err
		}
	}
	f := &follower{index: x, source: s, meta: m, lines: map[cityid.Code][]ancestor{}}
	waited := false
	for {
		if x.broken.Load() {
			return fmt.Errorf("%w: it is broken", errRebuild)
		}
		before := f.meta.height
		if err := f.catchUp(ctx); err != nil {
			return err
		}
		if waited && f.meta.height == before {
			// The source is between telling of a block and telling what is in it.
			if err := sleep(ctx, 10*time.Millisecond); err != nil {
				return err
			}
		}
		waited = true
		if err := x.await(ctx, s, f.meta.height); err != nil {
			return err
		}
	}
}

// await returns when the source has a new block or the index is found broken.
func (x *Index) await(ctx context.Context, s Source, height uint64) error {
	waiting, cancel := context.WithCancel(ctx)
	defer cancel()
	result := make(chan error, 1)
	go func() {
		_, err := s.Await(waiting, height)
		result <- err
	}()
	for {
		woken := x.awaken()
		if x.broken.Load() {
			cancel()
			<-result
			return nil
		}
		select {
		case err := <-result:
			return err
		case <-woken:
		}
	}
}

// follower applies what changes.
type follower struct {
	index  *Index
	source Source
	meta   meta
	lines  map[cityid.Code][]ancestor
	tokens tokenSet
}

func (f *follower) catchUp(ctx context.Context) error {
	c, err := f.source.Changes(ctx, f.meta.height)
	if err != nil {
		return fmt.Errorf("ask what changed since block %d: %w", f.meta.height, err)
	}
	if c.Gap {
		return f.compare(ctx)
	}
	if c.Height <= f.meta.height && len(c.Codes) == 0 {
		return nil
	}
	var records []*cityid.Record
	for i, code := range c.Codes {
		a, err := f.source.Record(ctx, code)
		if cityid.CodeOf(err) == cityid.ErrNotFound {
			return fmt.Errorf("%w: %s changed and is not there", errRebuild, code)
		}
		if err != nil {
			return fmt.Errorf("read %s: %w", code, err)
		}
		records = append(records, &a.Record)
		// The height is told with the last of them: until then the index is behind.
		if len(records) == putBatch && i+1 < len(c.Codes) {
			if err := f.put(ctx, records, f.meta.height, false); err != nil {
				return err
			}
			records = nil
		}
	}
	return f.put(ctx, records, max(c.Height, f.meta.height), false)
}

// compare reads all records and takes those over that changed since the height
// the index has seen.
func (f *follower) compare(ctx context.Context) error {
	st, err := f.source.Status(ctx)
	if err != nil {
		return fmt.Errorf("ask for the status: %w", err)
	}
	f.index.o.Log.Info("index compares all records", "since", f.meta.height, "height", st.Height)
	var changed []*cityid.Record
	err = scan(ctx, f.source, st.Zone, func(page []cityid.Record) error {
		for i := range page {
			if page[i].Changed.Height > f.meta.height {
				changed = append(changed, &page[i])
			}
		}
		if len(changed) < putBatch {
			return nil
		}
		err := f.put(ctx, changed, f.meta.height, true)
		changed = nil
		return err
	})
	if err != nil {
		return err
	}
	return f.put(ctx, changed, st.Height, true)
}

// put writes records and the height that is then seen.
func (f *follower) put(ctx context.Context, records []*cityid.Record, height uint64, scanned bool) error {
	x := f.index
	entries := make([]*entry, 0, len(records))
	for _, r := range records {
		e, err := prepare(r, &f.tokens)
		if err != nil {
			return err
		}
		entries = append(entries, e)
	}
	b, err := x.begin(ctx, false, scanned, f.lines)
	if err != nil {
		return err
	}
	defer b.abort()
	if err := b.put(entries); err != nil {
		clear(f.lines) // they may name rows that were not kept
		return err
	}
	m := f.meta
	m.height = height
	if err := b.commit(m); err != nil {
		clear(f.lines)
		return err
	}
	f.meta = m
	x.height.Store(height)
	x.wake()
	return nil
}

// scan reads the apex and all records below it, in order of code.
func scan(ctx context.Context, s Source, apex cityid.Code, f func([]cityid.Record) error) error {
	a, err := s.Record(ctx, apex)
	if err != nil {
		return fmt.Errorf("read %s: %w", apex, err)
	}
	page := &cityid.RecordPage{Records: []cityid.Record{a.Record}}
	q := cityid.ChildrenQuery{Code: apex, Deep: true, Limit: scanPage}
	for {
		if err := f(page.Records); err != nil {
			return err
		}
		if page, err = persist(ctx, s, q); err != nil {
			return fmt.Errorf("read the records after %s: %w", q.After, err)
		}
		if page.Next.IsZero() {
			return f(page.Records)
		}
		q.After = page.Next
	}
}

// persist asks for a page a few times, lest one lost answer cost a whole build.
func persist(ctx context.Context, s Source, q cityid.ChildrenQuery) (*cityid.RecordPage, error) {
	for pause := 100 * time.Millisecond; ; pause *= 2 {
		page, err := s.Children(ctx, q)
		if err == nil || pause > 5*time.Second {
			return page, err
		}
		if err := sleep(ctx, pause); err != nil {
			return nil, err
		}
	}
}

// build fills the empty index. It is complete as of the height at which the scan
// began; what changed since then is taken over like any other change.
func (x *Index) build(ctx context.Context, s Source, st *cityid.NodeStatus) (meta, error) {
	began := time.Now()
	x.done.Store(0)
	x.total.Store(st.Records)
	m := meta{chain: st.Chain, apex: st.Zone.String()}
	if err := x.tune(ctx, true); err != nil {
		return m, err
	}
	scanning, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	batches := make(chan []*entry, 1)
	failed := make(chan error, 1)
	go func() {
		defer close(batches)
		failed <- prepareAll(scanning, s, st.Zone, batches)
	}()
	lines := map[cityid.Code][]ancestor{}
	for entries := range batches {
		if err := x.putBuilt(ctx, entries, lines, m); err != nil {
			stop(err)
			for range batches {
			}
			return m, errors.Join(errRebuild, err) // the file is incomplete
		}
		x.done.Add(uint64(len(entries)))
	}
	if err := <-failed; err != nil {
		return m, errors.Join(errRebuild, err)
	}
	if err := x.tune(ctx, false); err != nil {
		return m, errors.Join(errRebuild, err)
	}
	m.height, m.built = st.Height, true
	b, err := x.begin(ctx, true, true, lines)
	if err != nil {
		return m, errors.Join(errRebuild, err)
	}
	if err := b.commit(m); err != nil {
		b.abort()
		return m, errors.Join(errRebuild, err)
	}
	x.height.Store(m.height)
	x.built.Store(true)
	x.wake()
	x.o.Log.Info("index is built", "records", x.done.Load(), "height", m.height, "took", time.Since(began).Round(time.Millisecond).String())
	return m, nil
}

// prepareAll reads all records and sends them in batches, ready to be written.
func prepareAll(ctx context.Context, s Source, apex cityid.Code, out chan<- []*entry) error {
	var tokens tokenSet
	var entries []*entry
	send := func() error {
		select {
		case out <- entries:
			entries = nil
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	err := scan(ctx, s, apex, func(page []cityid.Record) error {
		for i := range page {
			e, err := prepare(&page[i], &tokens)
			if err != nil {
				return err
			}
			entries = append(entries, e)
		}
		if len(entries) < scanBatch {
			return nil
		}
		return send()
	})
	if err == nil && len(entries) > 0 {
		err = send()
	}
	return err
}

func (x *Index) putBuilt(ctx context.Context, entries []*entry, lines map[cityid.Code][]ancestor, m meta) error {
	b, err := x.begin(ctx, true, true, lines)
	if err != nil {
		return err
	}
	defer b.abort()
	if err := b.put(entries); err != nil {
		return err
	}
	return b.commit(m)
}

// tune sets the full-text table up for a build: larger pieces, merged once at
// the end instead of again and again.
func (x *Index) tune(ctx context.Context, building bool) error {
	settings := []string{
		"INSERT INTO fts(fts, rank) VALUES('automerge', 0)",
		"INSERT INTO fts(fts, rank) VALUES('crisismerge', 1000)",
		"INSERT INTO fts(fts, rank) VALUES('hashsize', 67108864)",
	}
	if !building {
		settings = []string{
			"INSERT INTO fts(fts) VALUES('optimize')",
			"INSERT INTO fts(fts, rank) VALUES('automerge', 4)",
			"INSERT INTO fts(fts, rank) VALUES('crisismerge', 16)",
			"INSERT INTO fts(fts, rank) VALUES('hashsize', 1048576)",
		}
	}
	for _, s := range settings {
		if _, err := x.write.ExecContext(ctx, s); err != nil {
			return err
		}
	}
	return nil
}
