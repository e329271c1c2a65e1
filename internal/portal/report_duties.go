// SPDX-License-Identifier: Apache-2.0

package portal

import (
	"context"
	"slices"
	"sync"

	"cityid"
)

// A report names who was responsible when it came. Departments are merged, split
// and suspended; who sees the report and deals with it follows from the records as
// they are now.

// duty is who is responsible by now in the place of a department.
type duty struct {
	now   cityid.Code   // zero: nobody
	above []cityid.Code // now and all that stand above it, but for authorities above it
	seat  cityid.Code   // the county, city or province among these that is nearest; else the last
}

// duties remembers them until the next block.
type duties struct {
	portal *portal

	mu     sync.Mutex
	height uint64
	known  map[cityid.Code]duty
}

// of returns who is responsible in the place of a department.
func (d *duties) of(ctx context.Context, department cityid.Code) (duty, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.refresh(ctx); err != nil {
		return duty{}, err
	}
	return d.find(ctx, department)
}

// refresh forgets what an earlier block said.
func (d *duties) refresh(ctx context.Context) error {
	status, err := d.portal.Source.Status(ctx)
	if err == nil && (d.known == nil || d.height != status.Height) {
		d.known, d.height = map[cityid.Code]duty{}, status.Height
	}
	return err
}

func (d *duties) find(ctx context.Context, department cityid.Code) (duty, error) {
	if x, ok := d.known[department]; ok {
		return x, nil
	}
	x, err := d.portal.dutyOf(ctx, department)
	if err == nil {
		d.known[department] = x
	}
	return x, err
}

func (p *portal) dutyOf(ctx context.Context, department cityid.Code) (duty, error) {
	way, err := p.responsible(ctx, department)
	var x duty
	switch code := cityid.CodeOf(err); {
	case err == nil:
		x.now = way[len(way)-1].Code
	case code != cityid.ErrNotFound && code != cityid.ErrConflict:
		return x, err
	}
	from := x.now
	if from.IsZero() { // so that those above it see at least what lies there
		from = department
	}
	above, err := p.lineage(ctx, from)
	for _, r := range above {
		x.above = append(x.above, r.Code)
		switch r.Kind {
		case cityid.KindCounty, cityid.KindCity, cityid.KindProvince:
			if x.seat.IsZero() {
				x.seat = r.Code
			}
		}
	}
	if n := len(x.above); n > 0 && x.seat.IsZero() {
		x.seat = x.above[n-1]
	}
	return x, err
}

const maxLineage = 128

// lineage lists a code and what stands above it, over the heirs of what is
// retired, but for authorities above it: they are not concerned with what people
// report to a city.
func (p *portal) lineage(ctx context.Context, code cityid.Code) ([]*cityid.Record, error) {
	var out []*cityid.Record
	at := code
	for n := 0; n < maxLineage && !at.IsZero(); n++ {
		a, err := p.Source.Record(ctx, at)
		if cityid.CodeOf(err) == cityid.ErrNotFound {
			break
		}
		if err != nil {
			return nil, err
		}
		r := &a.Record
		switch {
		case r.Status == cityid.StatusRetired && !r.Heir.IsZero() && at != code:
			at = r.Heir
		case r.Kind == cityid.KindAuthority && at != code:
			return out, nil
		default:
			out = append(out, r)
			at = r.Parent
		}
	}
	return out, nil
}

// below returns the departments with reports that a code, or one below it, is
// responsible for by now, in order, and how many of their reports are open.
func (d *duties) below(ctx context.Context, code cityid.Code) (departments []cityid.Code, open int, err error) {
	all, err := d.portal.Office.ReportDepartments(ctx)
	if err != nil {
		return nil, 0, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.refresh(ctx); err != nil {
		return nil, 0, err
	}
	for department, n := range all {
		x, err := d.find(ctx, department)
		if err != nil {
			return nil, 0, err
		}
		if slices.Contains(x.above, code) {
			departments, open = append(departments, department), open+n
		}
	}
	slices.SortFunc(departments, cityid.Code.Compare)
	return departments, open, nil
}

// mayDesk reports whether the visitor has a voice in the policy that governs a
// code, or what stands above it, and so sees what was reported there.
func (pg *page) mayDesk(code cityid.Code) (bool, error) {
	if pg.Key() == "" {
		return false, nil
	}
	above, err := pg.lineage(pg.ctx, code)
	for _, r := range above {
		if ok, err := pg.takesPart(r.Code); ok || err != nil {
			return ok, err
		}
	}
	return false, err
}

// openReports returns how many open reports a code, or one below it, is
// responsible for; -1 if the visitor may not know.
func (pg *page) openReports(code cityid.Code) (int, error) {
	if pg.Office == nil {
		return -1, nil
	}
	if ok, err := pg.mayDesk(code); err != nil || !ok {
		return -1, err
	}
	_, n, err := pg.duties.below(pg.ctx, code)
	return n, err
}
