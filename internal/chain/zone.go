// SPDX-License-Identifier: Apache-2.0

package chain

import (
	"context"
	"fmt"
	"math"
	"strings"

	"cityid"
	"cityid/header"
	"cityid/internal/registry"
	"cityid/internal/store"
	"cityid/verify"
)

func apexOf(v *store.View) (apex cityid.Code, err error) {
	value, err := v.Get(cityid.ApexKey)
	if err == nil {
		err = cityid.UnmarshalTrusted(value, &apex)
	}
	if err != nil {
		return apex, fmt.Errorf("apex: %w", err)
	}
	return apex, nil
}

// elsewhere is the refusal to answer about a code that a zone below answers for;
// nil if none does.
func elsewhere(v *store.View, code cityid.Code) error {
	apex, err := apexOf(v)
	if err != nil {
		return err
	}
	below, r, z, found := registry.Delegated(reader{v}, apex, code)
	if !found {
		return nil
	}
	where := "none are known"
	if len(r.Delegation.Endpoints) > 0 {
		where = strings.Join(r.Delegation.Endpoints, ", ")
	}
	return cityid.Errorf(cityid.ErrDelegated, "%s belongs to the zone of %s, chain %s, whose own nodes answer (%s): a referral proves it", code, below, z.Chain, where)
}

// authorized refuses a question that a zone below is the one to answer. What is
// asked of the record of such a zone's apex, this zone answers too.
func authorized(v *store.View, q cityid.BundleQuery) error {
	switch q.Kind {
	case cityid.AnswerReferral:
		return nil
	case cityid.AnswerEntries:
		for _, k := range q.Keys {
			code, ok := cityid.CodeOfEntryKey(k)
			if !ok {
				continue // refused by whoever makes the bundle
			}
			if own := k[0] == 'r' || k[0] == 'h' || k[0] == 'z'; own {
				value, err := v.Get(k)
				if err != nil {
					return err
				}
				if value != nil {
					continue
				}
			}
			if err := elsewhere(v, code); err != nil {
				return err
			}
		}
		return nil
	case cityid.AnswerRecord, cityid.AnswerHistory:
		value, err := v.Get(cityid.RecordKey(q.Code))
		if err != nil || value != nil {
			return err
		}
	}
	return elsewhere(v, q.Code)
}

// referralOf makes a referral to the zone below that answers for a code.
func referralOf(way *verify.Way, v *store.View, code cityid.Code) (*verify.Bundle, error) {
	apex, err := apexOf(v)
	if err != nil {
		return nil, err
	}
	below, _, _, found := registry.Delegated(reader{v}, apex, code)
	if !found {
		return nil, cityid.Errorf(cityid.ErrNotFound, "no zone below that of %s answers for %s: ask here", apex, code)
	}
	return verify.NewReferral(way, code, below)
}

// pointAt returns the header of a height as a point to lead on from.
func (l *Local) pointAt(v *store.View, height uint64) (*verify.Point, error) {
	apex, err := apexOf(v)
	if err != nil {
		return nil, err
	}
	p := &verify.Point{Zone: apex, Chain: l.app.genesis.Chain, Height: height, Time: l.app.genesis.Time.Std()}
	if height > 0 {
		s, err := l.signedHeader(int64(height))
		if err != nil {
			return nil, err
		}
		p.Time, p.Header = s.Header.Time, cityid.Digest(s.Header.Hash())
	}
	if top := uint64(l.blocks.Height()); height > top {
		return nil, cityid.Errorf(cityid.ErrUnavailable, "there is no block %d yet; the latest is %d: ask again later, or another node", height, top)
	}
	set, err := l.states.LoadValidators(int64(height) + 1)
	if err != nil {
		return nil, fmt.Errorf("validators of block %d: %w", height+1, err)
	}
	p.Next, err = validatorsOf(set)
	return p, err
}

// anchor makes a way begin at a header of this chain. v is the state that the
// head commits to.
func (l *Local) anchor(way *verify.Way, v *store.View, height uint64) error {
	p, err := l.pointAt(v, height)
	if err != nil {
		return err
	}
	way.Point = p
	head := uint64(way.Head.Header.Height)
	switch {
	case head < height:
		return cityid.Errorf(cityid.ErrUnavailable, "this node proves from header %d, which is before the checkpoint of height %d: ask again later, or another node", head, height)
	case head == height:
		return nil
	}
	log, err := blockLogOf(v)
	if err != nil {
		return err
	}
	if p.Descent, err = logDescent(v, log, height); err != nil {
		return err
	}
	if way.Log != nil { // it shows the block log already
		p.Descent.First, p.Descent.Size, p.Descent.Proof = 0, 0, nil
	}
	way.Transitions, err = way.Bisect(l.signedHeader, l.app.leading()...)
	if err != nil {
		return fmt.Errorf("way from block %d to block %d: %w", height, head, err)
	}
	return nil
}

// blockLogOf returns the block log of a state; its size is 0 before the first
// block with transactions.
func blockLogOf(v *store.View) (log cityid.BlockLog, err error) {
	value, err := v.Get(cityid.BlockLogKey)
	if err == nil && value != nil {
		err = cityid.UnmarshalTrusted(value, &log)
	}
	if err != nil {
		return log, fmt.Errorf("block log: %w", err)
	}
	return log, nil
}

// logDescent shows how the block log of a state goes on from the header of a
// height.
func logDescent(v *store.View, log cityid.BlockLog, height uint64) (*cityid.LogDescent, error) {
	proof, _, err := v.Prove(cityid.BlockLogKey)
	if err != nil {
		return nil, err
	}
	d := &cityid.LogDescent{First: log.First, Size: log.Size}
	if d.Proof, err = proof.MarshalBinary(); err != nil {
		return nil, fmt.Errorf("block log proof: %w", err)
	}
	switch {
	case height == 0 && log.Size > 0:
		d.Root = log.Root
	case log.Size > 0 && height >= log.First && height-log.First < log.Size:
		path, err := v.ProveInclusion(height-log.First, log.Size)
		if err != nil {
			return nil, err
		}
		if d.Path, err = path.MarshalBinary(); err != nil {
			return nil, fmt.Errorf("block log path: %w", err)
		}
	}
	return d, nil
}

// Checkpoint returns the latest signed header of this zone as the zone above
// may accept it, and the operation that brings it there when the last one
// accepted is from. The operation is nil if there is no later header.
//
// The error is [cityid.ErrConflict] if from is no header of this chain: the
// chain forked, or this node was restored from an old copy.
func (l *Local) Checkpoint(ctx context.Context, from cityid.Checkpoint) (_ *cityid.Checkpoint, _ *cityid.PostCheckpoint, err error) {
	defer l.app.guardRead(&err)
	view, head, err := l.provable(ctx)
	if err != nil {
		return nil, nil, err
	}
	defer view.Close()
	log, err := blockLogOf(view)
	if err != nil {
		return nil, nil, err
	}
	h := head.signed.Header
	now := &cityid.Checkpoint{
		Height: uint64(h.Height), Time: cityid.TimeOf(h.Time), Header: cityid.Digest(h.Hash()),
		Validators: cityid.Digest(h.ValidatorsHash), Next: cityid.Digest(h.NextValidatorsHash), Log: log,
	}
	if now.Height <= from.Height {
		return now, nil, nil
	}
	way := &verify.Way{Head: head.signed}
	if err := l.anchor(way, view, from.Height); err != nil {
		return nil, nil, err
	}
	if way.Point.Header != from.Header || cityid.Digest(way.Point.Next.Hash()) != from.Next {
		return nil, nil, cityid.Errorf(cityid.ErrConflict, "the zone above has the header %s at height %d, and this node has %s: the zone forked, or this node was restored from an old copy", from.Header, from.Height, way.Point.Header)
	}
	op := &cityid.PostCheckpoint{Zone: way.Point.Zone, Log: *way.Point.Descent}
	descent, err := way.Descent(false)
	if err != nil {
		return nil, nil, err
	}
	op.Descent = *descent
	if from.Log.Size > 0 && from.Log != log {
		path, err := l.consistency(view, from.Log.Size, log.Size)
		if err != nil {
			return nil, nil, err
		}
		op.Consistency = path
	}
	return now, op, nil
}

// consistency shows that the block log of a state extends the one of an older
// size.
func (l *Local) consistency(v *store.View, old, size uint64) (cityid.Bytes, error) {
	if old > size {
		return nil, cityid.Errorf(cityid.ErrConflict, "the zone above knows a block log of %d blocks, and this node's has %d: it was restored from an old copy", old, size)
	}
	path, err := v.ProveConsistency(old, size)
	if err != nil {
		return nil, err
	}
	data, err := path.MarshalBinary()
	if err != nil {
		return nil, fmt.Errorf("block log: %w", err)
	}
	return data, nil
}

// GenesisCheckpoint is the checkpoint before any header: where a zone that has
// made no block yet begins.
func GenesisCheckpoint(g *Genesis) (*cityid.Checkpoint, error) {
	var vals header.Validators
	for _, v := range g.State.Validators {
		vals = append(vals, header.Validator{PublicKey: [32]byte([]byte(v.Key[1:])), Power: v.Power})
	}
	vals.Sort()
	if err := vals.Check(); err != nil {
		return nil, fmt.Errorf("validators of the genesis: %w", err)
	}
	return &cityid.Checkpoint{Time: g.Time, Next: cityid.Digest(vals.Hash())}, nil
}

// Zones says how this zone stands to the one above it and to those below.
func (l *Local) Zones(ctx context.Context, q cityid.ZoneQuery) (_ *cityid.ZonePage, err error) {
	defer l.app.guardRead(&err)
	if q.Limit < 1 || q.Limit > 1000 {
		return nil, cityid.Errorf(cityid.ErrInvalid, "limit %d: want 1 to 1000", q.Limit)
	}
	v, h, err := l.snapshot()
	if err != nil {
		return nil, err
	}
	defer v.Close()
	page := &cityid.ZonePage{Chain: l.app.genesis.Chain, Zones: []cityid.ZoneAnswer{}, AsOf: l.asOf(h), Upstream: registry.Upstream(reader{v})}
	if page.Apex, err = apexOf(v); err != nil {
		return nil, err
	}
	lo, hi := cityid.ZoneRange()
	if !q.After.IsZero() {
		lo = append(cityid.ZoneKey(q.After), 0)
	}
	reader{v}.Scan(lo, hi, func(key, value []byte) bool {
		code, _ := cityid.CodeOfZoneKey(key)
		if len(page.Zones) == q.Limit {
			page.Next = page.Zones[q.Limit-1].Code
			return false
		}
		a := cityid.ZoneAnswer{Code: code}
		if err = cityid.UnmarshalTrusted(value, &a.Zone); err != nil {
			return false
		}
		if r := registry.Record(reader{v}, code); r != nil {
			a.Status, a.Delegation = r.Status, r.Delegation
		}
		page.Zones = append(page.Zones, a)
		return true
	})
	if err != nil {
		return nil, err
	}
	// Without a signed header there is no checkpoint yet, which is no error.
	page.Checkpoint, _, err = l.Checkpoint(ctx, cityid.Checkpoint{Height: math.MaxInt64})
	if cityid.CodeOf(err) == cityid.ErrUnavailable {
		err = nil
	}
	return page, err
}
