// SPDX-License-Identifier: Apache-2.0

package catalogue

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"cityid"
	"cityid/internal/dcat"
)

const (
	readPage   = 500  // records of datasets read at a time
	manyAtOnce = 2000 // changed records beyond which all datasets are read anew instead
)

// follow keeps up with the registry until ctx ends or the file has to be made
// anew. A registry that does not answer is asked again.
func (c *Catalogue) follow(ctx context.Context) error {
	const shortest, longest = 100 * time.Millisecond, 10 * time.Second
	pause := shortest
	for {
		began := time.Now()
		err := c.keepUp(ctx)
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case errors.Is(err, errAnew) || isCorrupt(err):
			return err
		case time.Since(began) > time.Minute:
			pause = shortest
		}
		c.o.Log.Warn("catalogue is behind the registry", "error", err)
		if err := sleep(ctx, pause); err != nil {
			return err
		}
		pause = min(2*pause, longest)
	}
}

// keepUp does the work of follow until something fails.
func (c *Catalogue) keepUp(ctx context.Context) error {
	st, err := c.source.Status(ctx)
	if err != nil {
		return fmt.Errorf("ask for the status: %w", err)
	}
	m, err := c.store.meta(ctx)
	if err != nil {
		return err
	}
	if m.Chain != "" && (m.Chain != st.Chain || m.Zone != st.Zone || m.Height > st.Height) {
		return fmt.Errorf("%w: it is of chain %s at block %d, and this is %s at block %d", errAnew, m.Chain, m.Height, st.Chain, st.Height)
	}
	m.Chain, m.Zone = st.Chain, st.Zone
	if !m.Complete {
		if m, err = c.census(ctx, m); err != nil {
			return err
		}
	}
	for waited := false; ; waited = true {
		before := m.Height
		if m, err = c.catchUp(ctx, m); err != nil {
			return err
		}
		if waited && m.Height == before {
			// The registry is between telling of a block and telling what is in it.
			if err := sleep(ctx, 10*time.Millisecond); err != nil {
				return err
			}
		}
		if _, err := c.source.Await(ctx, m.Height); err != nil {
			return err
		}
	}
}

// census reads all records of datasets, and drops the datasets that are gone. It
// is complete as of the height at which it begins.
func (c *Catalogue) census(ctx context.Context, m meta) (meta, error) {
	at, err := c.stateOf(ctx, m.Zone)
	if err != nil {
		return m, err
	}
	r := newResolver(c.source)
	seen := map[int64]bool{}
	q := cityid.ChildrenQuery{Code: m.Zone, Deep: true, Kind: cityid.KindDataset, Limit: readPage}
	for {
		page, err := c.source.Children(ctx, q)
		if err != nil {
			return m, fmt.Errorf("read the datasets after %s: %w", q.After, err)
		}
		ids, err := c.takeRecords(ctx, r, page.Records)
		if err != nil {
			return m, err
		}
		for _, id := range ids {
			seen[id] = true
		}
		if page.Next.IsZero() {
			break
		}
		q.After = page.Next
	}
	gone := slices.DeleteFunc(c.table.ids(), func(id int64) bool { return seen[id] })
	m.Height, m.AsOf, m.Complete = at.Height, at, true
	if err := c.drop(ctx, gone, &m); err != nil {
		return m, err
	}
	c.o.Log.Info("catalogue has read the registry", "datasets", len(seen), "height", at.Height)
	return m, nil
}

// catchUp takes over what changed since the height that m has.
func (c *Catalogue) catchUp(ctx context.Context, m meta) (meta, error) {
	changes, err := c.source.Changes(ctx, m.Height)
	if err != nil {
		return m, fmt.Errorf("ask what changed since block %d: %w", m.Height, err)
	}
	if changes.Gap || len(changes.Codes) > manyAtOnce {
		return c.census(ctx, m)
	}
	if changes.Height <= m.Height {
		return m, nil
	}
	r := newResolver(c.source)
	todo, err := c.concerned(ctx, r, changes.Codes)
	if err != nil {
		return m, err
	}
	var records []cityid.Record
	var gone []int64
	for _, code := range todo {
		rec, err := r.record(ctx, code)
		if err != nil {
			return m, err
		}
		if rec == nil {
			return m, fmt.Errorf("%w: %s changed and is not there", errAnew, code)
		}
		records = append(records, *rec)
	}
	for part := range slices.Chunk(records, readPage) {
		if _, err := c.takeRecords(ctx, r, part); err != nil {
			return m, err
		}
	}
	for i := range records {
		if records[i].Status == cityid.StatusRetired {
			if id := c.table.idOf(records[i].Code); id != 0 {
				gone = append(gone, id)
			}
		}
	}
	m.Height = changes.Height
	if at, err := c.stateOf(ctx, m.Zone); err == nil && at.Height == m.Height {
		m.AsOf = at
	}
	return m, c.drop(ctx, gone, &m)
}

// stateOf returns which state of the registry is read now.
func (c *Catalogue) stateOf(ctx context.Context, zone cityid.Code) (cityid.AsOf, error) {
	a, err := c.source.Record(ctx, zone)
	if err != nil {
		return cityid.AsOf{}, fmt.Errorf("read %s: %w", zone, err)
	}
	return a.AsOf, nil
}

// concerned returns the datasets among changed codes, and those that depend on
// one of them: because it stands above, or stands for a theme.
func (c *Catalogue) concerned(ctx context.Context, r *resolver, changed []cityid.Code) ([]cityid.Code, error) {
	var out []cityid.Code
	var ids []int64
	for _, code := range changed {
		rec, err := r.record(ctx, code)
		if err != nil {
			return nil, err
		}
		if rec == nil {
			return nil, fmt.Errorf("%w: %s changed and is not there", errAnew, code)
		}
		if rec.Kind == cityid.KindDataset {
			out = append(out, code)
			continue
		}
		for _, a := range rec.Aliases {
			if theme, err := dcat.SchemeTerm(a.Scheme, a.Value); err == nil {
				ids = append(ids, c.table.withTheme(theme)...)
			}
		}
	}
	depending, err := c.store.onLine(ctx, changed)
	if err != nil {
		return nil, err
	}
	for _, id := range append(ids, depending...) {
		if code := c.table.codeOf(id); !code.IsZero() {
			out = append(out, code)
		}
	}
	slices.SortFunc(out, cityid.Code.Compare)
	return slices.Compact(out), nil
}

// takeRecords takes over what the registry says about some datasets, and returns
// their numbers. Retired ones are not taken.
func (c *Catalogue) takeRecords(ctx context.Context, r *resolver, records []cityid.Record) ([]int64, error) {
	var targets []*target
	for i := range records {
		if records[i].Status == cityid.StatusRetired || records[i].Kind != cityid.KindDataset {
			continue
		}
		t, err := r.resolve(ctx, &records[i])
		if err != nil {
			return nil, err
		}
		targets = append(targets, t)
	}
	if len(targets) == 0 {
		return nil, nil
	}
	// Asked before the transaction begins, so that it need not wait for answers.
	for _, t := range targets {
		known, err := c.store.byCode(ctx, t.record.Code)
		if err != nil {
			return nil, err
		}
		if known == nil {
			continue
		}
		if err := c.lookAhead(ctx, r, &described{themes: known.Entry.Themes, publisher: known.Entry.Publisher, place: known.Entry.Place}); err != nil {
			return nil, err
		}
	}
	return c.write(ctx, func(b *batch) ([]change, error) {
		var out []change
		for _, t := range targets {
			ch, err := c.retarget(ctx, b, r, t)
			if err != nil {
				return nil, err
			}
			out = append(out, ch)
		}
		return out, nil
	})
}

// drop removes datasets and notes how far the registry was read.
func (c *Catalogue) drop(ctx context.Context, gone []int64, m *meta) error {
	_, err := c.write(ctx, func(b *batch) ([]change, error) {
		var out []change
		for _, id := range gone {
			if err := b.remove(id); err != nil {
				return nil, err
			}
			out = append(out, change{row: &row{ID: id}, removed: true})
		}
		return out, b.setMeta(*m)
	})
	return err
}

// change is a row that a transaction has written.
type change struct {
	row     *row
	removed bool
}

// write runs a transaction, and then lets memory follow. It returns the numbers
// of the rows.
func (c *Catalogue) write(ctx context.Context, f func(b *batch) ([]change, error)) ([]int64, error) {
	c.writing.Lock()
	defer c.writing.Unlock()
	b, err := c.store.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer b.abort()
	changes, err := f(b)
	if err != nil {
		return nil, err
	}
	if err := b.commit(); err != nil {
		return nil, err
	}
	var ids []int64
	for _, ch := range changes {
		ids = append(ids, ch.row.ID)
		if ch.removed {
			c.table.remove(ch.row.ID)
			c.plan.remove(ch.row.ID)
			continue
		}
		c.table.put(ch.row, c.plan.put(ch.row))
	}
	return ids, nil
}
