// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"bytes"
	"slices"

	"cityid"
	"cityid/header"
	"cityid/merkle"
)

// follow takes over what the zone above says of this zone's apex, from anybody.
// Later than the trusting period after the header followed last it takes the
// consent of the apex policy as well. The apex is retired if the zone above says
// so, or no longer delegates it to this chain; that is for good.
func (w *work) follow(op *cityid.Follow, actor cityid.KeySet) error {
	if w.upstream == nil {
		return cityid.Errorf(cityid.ErrUnsupported, "this zone has none above that it could follow")
	}
	up := *w.upstream
	apex, err := w.existing(w.apex)
	if err != nil {
		return err
	}
	if apex.Status == cityid.StatusRetired {
		return cityid.Errorf(cityid.ErrStatus, "%s, the apex of this zone, is retired for good", apex.Code)
	}
	r, err := w.followed(op, &up)
	if err != nil {
		return err
	}
	var proof merkle.Proof
	if err := proof.UnmarshalBinary(op.Proof); err != nil {
		return cityid.Errorf(cityid.ErrInvalid, "proof of the record: %v", err)
	}
	root, err := proof.Root(cityid.RecordKey(w.apex), merkle.ValueHash(op.Record))
	if err != nil {
		return cityid.Errorf(cityid.ErrInvalid, "proof of the record: %v", err)
	}
	head, err := w.descend(up.Chain, &up.Checkpoint, &op.Descent, &root, func(h *header.Header) error {
		return w.checkFollowed(r, h, actor)
	})
	if err != nil {
		return err
	}
	next, err := w.takeOver(apex, r, &up)
	if err != nil {
		return err
	}
	up.Checkpoint, up.Revision = checkpointOf(head, cityid.BlockLog{}), r.Revision
	if err := up.Checkpoint.Check(); err != nil {
		return err
	}
	w.set(cityid.UpstreamKey, &up)
	w.changeSettings(func(s *settings) { s.upstream = &up })
	if next == nil {
		return nil
	}
	return w.putFollowed(apex, next)
}

// followed decodes the record of the apex up there.
func (w *work) followed(op *cityid.Follow, up *cityid.Upstream) (*cityid.Record, error) {
	if len(op.Record) > cityid.MaxRecord {
		return nil, cityid.Errorf(cityid.ErrTooLarge, "a record of %d octets: at most %d", len(op.Record), cityid.MaxRecord)
	}
	r := new(cityid.Record)
	if err := cityid.Unmarshal(op.Record, r); err != nil {
		return nil, cityid.Errorf(cityid.ErrInvalid, "record: %v", err)
	}
	switch {
	case r.Code != w.apex:
		return nil, cityid.Errorf(cityid.ErrInvalid, "the record is that of %s: this zone follows that of %s", r.Code, w.apex)
	case r.Revision < max(up.Revision, 1):
		return nil, cityid.Errorf(cityid.ErrConflict, "revision %d of %s was followed already, this is revision %d", up.Revision, w.apex, r.Revision)
	}
	return r, nil
}

// checkFollowed refuses a header from the future, one that brings nothing new so
// soon, and one that its validators' signatures no longer suffice for.
func (w *work) checkFollowed(r *cityid.Record, h *header.Header, actor cityid.KeySet) error {
	last := &w.upstream.Checkpoint
	if err := w.checkAhead(h); err != nil {
		return err
	}
	if at := last.Time + w.params.Spacing(); r.Revision == w.upstream.Revision && cityid.TimeOf(h.Time) < at {
		return cityid.Errorf(cityid.ErrRetry, "revision %d of %s was followed already, at a header of %s: the same one again with a header from %s on", r.Revision, w.apex, last.Time, at)
	}
	if w.block.Time-last.Time <= trustingPeriod {
		return nil
	}
	if err := w.met(claim{code: w.apex}, actor); err != nil {
		return cityid.Errorf(cityid.CodeOf(err), "the header followed last is of %s, more than 14 days ago, so that following takes the consent of the apex as well: %s", last.Time, because(err))
	}
	return nil
}

// takeOver returns the next revision of the apex, or nil if it stays as it is.
// The heir that a retired code names is not taken over: it stands in another
// zone, where nothing hangs on it that is here.
func (w *work) takeOver(apex, r *cityid.Record, up *cityid.Upstream) (*cityid.Record, error) {
	next := *apex
	if d := r.Delegation; d == nil || d.Chain != w.block.Chain {
		next.Status, next.Reason, next.Note, next.Successors = cityid.StatusRetired, cityid.ReasonReplaced, "", nil
		return &next, nil
	} else if d.Places != up.Places {
		return nil, cityid.Errorf(cityid.ErrConflict, "%s delegates %s%s to this chain, which was founded for another range: delegate it again as it was founded, or found the zone anew", up.Zone, r.Code, andPlaces(d.Places))
	}
	if err := checkZonePolicy(r.Code, r.Policy); err != nil {
		return nil, err
	}
	if err := w.checkPolicy(r.Policy, r.Code); err != nil {
		return nil, err
	}
	if err := cityid.CheckAliases(r.Aliases); err != nil {
		return nil, err
	}
	if err := checkNote(r.Note); err != nil {
		return nil, err
	}
	switch {
	case r.Status != cityid.StatusActive && r.Status != cityid.StatusSuspended && r.Status != cityid.StatusRetired || r.Reason != 0 && !r.Reason.Valid():
		return nil, cityid.Errorf(cityid.ErrInvalid, "record: a code that is delegated is active, suspended or retired")
	case len(r.Successors) > cityid.MaxSuccessors:
		return nil, cityid.Errorf(cityid.ErrTooLarge, "%d successors: at most %d", len(r.Successors), cityid.MaxSuccessors)
	}
	next.Status, next.Reason, next.Note, next.Successors = r.Status, r.Reason, r.Note, r.Successors
	if next.Sealed.IsZero() {
		next.Aliases = r.Aliases
	}
	if !bytes.Equal(cityid.MustMarshal(apex.Policy), cityid.MustMarshal(r.Policy)) {
		next.Policy, next.PolicySince = r.Policy, w.block.Time
	}
	if bytes.Equal(cityid.MustMarshal(apex), cityid.MustMarshal(&next)) {
		return nil, nil
	}
	return &next, nil
}

// putFollowed stores what takeOver returned. Crosswalk entries were checked
// against their schemes where they were made; this zone need not have these.
func (w *work) putFollowed(apex, next *cityid.Record) error {
	if !slices.Equal(apex.Aliases, next.Aliases) {
		for _, a := range apex.Aliases {
			w.delete(cityid.CrosswalkKey(a.Scheme, a.Value, apex.Code))
		}
		for _, a := range next.Aliases {
			w.set(cityid.CrosswalkKey(a.Scheme, a.Value, apex.Code), &a)
		}
	}
	return w.put(apex, *next)
}
