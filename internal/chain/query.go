// SPDX-License-Identifier: Apache-2.0

package chain

import (
	"context"
	"slices"

	"cityid"
	"cityid/internal/registry"
	"cityid/internal/store"
)

// Limits of what one question may list or look at.
const (
	maxChildren  = 1000
	maxProposals = 200
	maxLooked    = 20_000 // proposals or records looked at for one page
)

// Record returns the record of a code. Of a code that was never allocated the
// error is [cityid.ErrNotFound], of one in the zone of a code below
// [cityid.ErrDelegated].
func (l *Local) Record(_ context.Context, code cityid.Code) (_ *cityid.RecordAnswer, err error) {
	defer l.app.guardRead(&err)
	v, h, err := l.snapshot()
	if err != nil {
		return nil, err
	}
	defer v.Close()
	r := reader{v}
	rec := registry.Record(r, code)
	if rec == nil {
		return nil, absent(v, code)
	}
	return &cityid.RecordAnswer{
		Record: *rec, Display: code.Display(), Holder: registry.Holder(r, code),
		Waiting: registry.WaitingFor(r, code), AsOf: l.asOf(h),
	}, nil
}

// absent is the refusal to answer about a code of which there is no record: it is
// another zone's, or not allocated.
func absent(v *store.View, code cityid.Code) error {
	if err := elsewhere(v, code); err != nil {
		return err
	}
	return cityid.Errorf(cityid.ErrNotFound, "%s is not allocated", code)
}

// Children returns a page of the records below a code, in order of code: those
// whose parent it is, or with Deep all of which it is the parent's parent and so
// on. Below a place this includes the places that name it as theirs, which the
// grammar alone does not show. The code must be allocated, and have no zone of its own. A page may hold fewer
// than asked for and still name a next one, when many had to be looked at.
func (l *Local) Children(ctx context.Context, q cityid.ChildrenQuery) (_ *cityid.RecordPage, err error) {
	defer l.app.guardRead(&err)
	if q.Limit < 1 || q.Limit > maxChildren {
		return nil, cityid.Errorf(cityid.ErrInvalid, "limit %d: want 1 to %d", q.Limit, maxChildren)
	}
	v, h, err := l.snapshot()
	if err != nil {
		return nil, err
	}
	defer v.Close()
	r := reader{v}
	if registry.Record(r, q.Code) == nil {
		return nil, absent(v, q.Code)
	}
	if err := elsewhere(v, q.Code); err != nil {
		return nil, err
	}
	page := &cityid.RecordPage{AsOf: l.asOf(h)}
	w := newDescent(r, q)
	for looked := 0; ctx.Err() == nil; looked++ {
		rec := w.next()
		if rec == nil {
			return page, nil
		}
		if !w.wants(rec) {
			if looked >= maxLooked {
				page.Next = rec.Code
				return page, nil
			}
			continue
		}
		if len(page.Records) == q.Limit {
			page.Next = page.Records[q.Limit-1].Code
			return page, nil
		}
		page.Records = append(page.Records, *rec)
	}
	return nil, context.Cause(ctx)
}

// descent walks the records below a code.
type descent struct {
	from  reader
	q     cityid.ChildrenQuery
	at    []byte // first key not looked at
	end   []byte
	below map[cityid.Code]bool // places known to descend from q.Code, or not to
	batch []*cityid.Record     // read ahead
}

// readAhead is how many records a descent reads in one scan, if it need not
// skip any.
const readAhead = 64

func newDescent(r reader, q cityid.ChildrenQuery) *descent {
	lo, hi := q.Code.DescendantRange()
	d := &descent{from: r, q: q, at: cityid.RecordPrefix(lo), end: cityid.RecordPrefix(hi), below: map[cityid.Code]bool{q.Code: true}}
	if q.Code.Depth() == 3 && q.Code.Place() != "" {
		// Places that begin with this one's follow its own descendants.
		_, d.end = cityid.Range(cityid.RecordPrefix(q.Code.String()))
	}
	if !q.After.IsZero() {
		if after := append(cityid.RecordKey(q.After), 0); string(after) > string(d.at) {
			d.at = after
		}
		if !q.Deep {
			d.skip(q.After)
		}
	}
	return d
}

// skip goes past the descendants of a code, none of which can be a child of
// the code asked for.
func (d *descent) skip(code cityid.Code) {
	_, hi := code.DescendantRange()
	if past := cityid.RecordPrefix(hi); string(past) > string(d.at) {
		d.at = past
	}
}

// next returns the next record to look at, or nil after the last.
func (d *descent) next() *cityid.Record {
	if len(d.batch) == 0 && !d.fill() {
		return nil
	}
	rec := d.batch[0]
	d.batch = d.batch[1:]
	return rec
}

// fill reads ahead, and reports whether there was anything left.
func (d *descent) fill() bool {
	most := 1
	if d.q.Deep {
		most = readAhead
	}
	d.from.Scan(d.at, d.end, func(key, value []byte) bool {
		rec := new(cityid.Record)
		if err := cityid.UnmarshalTrusted(value, rec); err != nil {
			panic(err)
		}
		d.at = append(slices.Clone(key), 0)
		d.batch = append(d.batch, rec)
		return len(d.batch) < most
	})
	if len(d.batch) == 0 {
		return false
	}
	if !d.q.Deep {
		d.skip(d.batch[0].Code)
	}
	return true
}

// wants reports whether a record is one asked for.
func (d *descent) wants(rec *cityid.Record) bool {
	if d.q.Kind != 0 && rec.Kind != d.q.Kind {
		return false
	}
	if !d.q.Deep {
		return rec.Parent == d.q.Code
	}
	return d.q.Code.Covers(rec.Code) || d.descends(rec)
}

// descends reports whether the code asked for is among the ancestors of rec.
func (d *descent) descends(rec *cityid.Record) bool {
	if rec.Parent.IsZero() {
		return false
	}
	known, ok := d.below[rec.Parent]
	if !ok {
		parent := registry.Record(d.from, rec.Parent)
		known = parent != nil && d.descends(parent)
		d.below[rec.Parent] = known
	}
	return known
}

// History returns all revisions of a code's record, latest first.
func (l *Local) History(ctx context.Context, code cityid.Code) (_ *cityid.HistoryAnswer, err error) {
	defer l.app.guardRead(&err)
	v, h, err := l.snapshot()
	if err != nil {
		return nil, err
	}
	defer v.Close()
	r := reader{v}
	rec := registry.Record(r, code)
	if rec == nil {
		return nil, absent(v, code)
	}
	out := &cityid.HistoryAnswer{Revisions: []cityid.Record{*rec}, AsOf: l.asOf(h)}
	for n := rec.Revision - 1; n >= 1; n-- {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		var old cityid.Record
		if err := cityid.UnmarshalTrusted(r.Get(cityid.HistoryKey(code, n)), &old); err != nil {
			return nil, cityid.Errorf(cityid.ErrInternal, "revision %d of %s: %v", n, code, err)
		}
		out.Revisions = append(out.Revisions, old)
	}
	return out, nil
}

// Proposal returns a proposal and what it still needs.
func (l *Local) Proposal(_ context.Context, number uint64) (_ *cityid.ProposalAnswer, err error) {
	defer l.app.guardRead(&err)
	v, h, err := l.snapshot()
	if err != nil {
		return nil, err
	}
	defer v.Close()
	p, err := registry.Proposal(reader{v}, l.block(h), number)
	if err != nil {
		return nil, err
	}
	p.AsOf = l.asOf(h)
	return p, nil
}

// Proposals returns a page of the proposals asked for, latest first. A page may
// hold fewer than asked for and still name a next one, when many had to be
// looked at.
func (l *Local) Proposals(ctx context.Context, q cityid.ProposalQuery) (_ *cityid.ProposalPage, err error) {
	defer l.app.guardRead(&err)
	if q.Limit < 1 || q.Limit > maxProposals {
		return nil, cityid.Errorf(cityid.ErrInvalid, "limit %d: want 1 to %d", q.Limit, maxProposals)
	}
	v, h, err := l.snapshot()
	if err != nil {
		return nil, err
	}
	defer v.Close()
	r, block := reader{v}, l.block(h)
	var counters cityid.Counters
	if raw := r.Get(cityid.CountersKey); raw != nil {
		if err := cityid.UnmarshalTrusted(raw, &counters); err != nil {
			return nil, cityid.Errorf(cityid.ErrInternal, "counters: %v", err)
		}
	}
	n := counters.Proposals + 1
	if q.Before != 0 {
		n = min(n, q.Before)
	}
	page := &cityid.ProposalPage{AsOf: l.asOf(h)}
	for looked := 0; n > 1; looked++ {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if len(page.Proposals) == q.Limit || looked == maxLooked {
			page.Next = n
			return page, nil
		}
		n--
		if !concerned(r, n, q, block.Time) {
			continue
		}
		p, err := registry.Proposal(r, block, n)
		if err != nil {
			return nil, err
		}
		p.AsOf = page.AsOf
		page.Proposals = append(page.Proposals, *p)
	}
	return page, nil
}

// concerned reports whether a proposal is one the query asks for.
func concerned(r reader, n uint64, q cityid.ProposalQuery, now cityid.Time) bool {
	var p cityid.Proposal
	raw := r.Get(cityid.ProposalKey(n))
	if raw == nil {
		return false
	}
	if err := cityid.UnmarshalTrusted(raw, &p); err != nil {
		panic(err)
	}
	if q.State != 0 && p.StateAt(now) != q.State {
		return false
	}
	return q.Code.IsZero() || slices.ContainsFunc(p.Targets, func(t cityid.Target) bool { return t.Code == q.Code })
}

// Lookup returns the codes a foreign identifier is mapped to, in order of code;
// an entry that does not hold at the answer's time says so. Of a scheme that
// does not exist, or a value mapped to nothing, the error is
// [cityid.ErrNotFound].
func (l *Local) Lookup(_ context.Context, scheme, value string) (_ *cityid.CrosswalkAnswer, err error) {
	defer l.app.guardRead(&err)
	v, h, err := l.snapshot()
	if err != nil {
		return nil, err
	}
	defer v.Close()
	r := reader{v}
	if !keyText(scheme) || !keyText(value) {
		return nil, cityid.Errorf(cityid.ErrInvalid, "scheme and value: want 1 to 64 octets without zero octets")
	}
	raw := r.Get(cityid.SchemeKey(scheme))
	if raw == nil {
		return nil, cityid.Errorf(cityid.ErrNotFound, "there is no crosswalk scheme %q", scheme)
	}
	out := &cityid.CrosswalkAnswer{Value: value, AsOf: l.asOf(h)}
	if err := cityid.UnmarshalTrusted(raw, &out.Scheme); err != nil {
		return nil, cityid.Errorf(cityid.ErrInternal, "scheme %q: %v", scheme, err)
	}
	prefix := cityid.CrosswalkPrefix(scheme, value)
	lo, hi := cityid.Range(prefix)
	now := cityid.TimeOf(h.time())
	r.Scan(lo, hi, func(key, raw []byte) bool {
		var e cityid.CrosswalkEntry
		if err = cityid.UnmarshalTrusted(raw, &e.Alias); err != nil {
			return false
		}
		code, ok := cityid.CodeOfCrosswalkKey(key, prefix)
		if !ok {
			return true
		}
		e.Code, e.Holds = code, e.Alias.Holds(now)
		out.Entries = append(out.Entries, e)
		return true
	})
	if err != nil {
		return nil, cityid.Errorf(cityid.ErrInternal, "crosswalk of %s %q: %v", scheme, value, err)
	}
	if len(out.Entries) == 0 {
		return nil, cityid.Errorf(cityid.ErrNotFound, "%s %q is mapped to no code", scheme, value)
	}
	for i := range out.Entries {
		if rec := registry.Record(r, out.Entries[i].Code); rec != nil {
			out.Entries[i].Names = rec.Content.Names
		}
	}
	return out, nil
}

// keyText reports whether s can be a component of a crosswalk key.
func keyText(s string) bool { return s != "" && len(s) <= 64 && !slices.Contains([]byte(s), 0) }

// Attestation returns what a source attested about the bytes with a digest.
func (l *Local) Attestation(_ context.Context, source cityid.Code, digest cityid.Digest) (_ *cityid.Attestation, err error) {
	defer l.app.guardRead(&err)
	v, _, err := l.snapshot()
	if err != nil {
		return nil, err
	}
	defer v.Close()
	raw := reader{v}.Get(cityid.AttestationKey(source, digest))
	if raw == nil {
		return nil, cityid.Errorf(cityid.ErrNotFound, "%s has not attested %s", source, digest)
	}
	a := new(cityid.Attestation)
	if err := cityid.UnmarshalTrusted(raw, a); err != nil {
		return nil, cityid.Errorf(cityid.ErrInternal, "attestation of %s by %s: %v", digest, source, err)
	}
	return a, nil
}

// maxAttestations is the most attestations of a page.
const maxAttestations = 200

// Attestations returns a page of what a source vouched for, in order of the
// digests; an empty one of a source that never did.
func (l *Local) Attestations(_ context.Context, q cityid.AttestationQuery) (_ *cityid.AttestationPage, err error) {
	defer l.app.guardRead(&err)
	if q.Source.IsZero() || q.Limit < 1 || q.Limit > maxAttestations {
		return nil, cityid.Errorf(cityid.ErrInvalid, "want a source, and a limit of 1 to %d", maxAttestations)
	}
	v, h, err := l.snapshot()
	if err != nil {
		return nil, err
	}
	defer v.Close()
	lo, hi := cityid.AttestationRange(q.Source)
	if !q.After.IsZero() {
		lo = append(cityid.AttestationKey(q.Source, q.After), 0)
	}
	page := &cityid.AttestationPage{Attestations: []cityid.Attestation{}, AsOf: l.asOf(h)}
	reader{v}.Scan(lo, hi, func(_, raw []byte) bool {
		if len(page.Attestations) == q.Limit {
			page.Next = page.Attestations[q.Limit-1].Digest
			return false
		}
		var a cityid.Attestation
		if err = cityid.UnmarshalTrusted(raw, &a); err != nil {
			err = cityid.Errorf(cityid.ErrInternal, "attestations of %s: %v", q.Source, err)
			return false
		}
		page.Attestations = append(page.Attestations, a)
		return true
	})
	if err != nil {
		return nil, err
	}
	return page, nil
}

// Settings returns the parameters, the distribution rule and the crosswalk
// schemes.
func (l *Local) Settings(context.Context) (_ *cityid.Settings, err error) {
	defer l.app.guardRead(&err)
	v, h, err := l.snapshot()
	if err != nil {
		return nil, err
	}
	defer v.Close()
	s, err := registry.Settings(reader{v})
	if err != nil {
		return nil, err
	}
	s.Rules, s.AsOf = registry.Ruleset(reader{v}, h.Height+1), l.asOf(h)
	return s, nil
}
