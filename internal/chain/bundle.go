// SPDX-License-Identifier: Apache-2.0

package chain

import (
	"context"
	"errors"
	"fmt"
	"time"

	"cityid"
	"cityid/header"
	"cityid/internal/registry"
	"cityid/internal/store"
	"cityid/merkle"
	"cityid/verify"
)

// Waiting for a signed header, which is needed at most for the moment between a
// start and the first block after it.
const (
	provableTime = time.Second
	provablePoll = 2 * time.Millisecond
)

// headProof is the latest signed header and what bundles need besides. It is
// kept until the next header.
type headProof struct {
	signed verify.SignedHeader
	trusts []cityid.Trust // of the state the header commits to
}

// Bundle returns an encoded bundle of package verify.
//
// It answers from the latest state that a signed header commits to, or with At
// from the state after that block, as long as it is kept (the last 128 changes
// of the state since the node's start). With At and Log, the head is the latest
// header, and its block log shows that it descends from the one that answers; if
// no transaction followed since, the log does not hold that header yet and it
// answers by itself.
//
// From is the version of the trust root the asker holds: the bundle carries
// those after it and leads on from the latest. From zero, it carries none. What
// leads from a trust root to the head follows from the trust root; Base is not
// needed.
//
// With Anchor, the bundle leads on from a header of this chain which the zone
// above accepted, and is one to put after a referral of that zone.
//
// The error is [cityid.ErrDelegated] where a zone below is the one to ask; a
// bundle of kind referral then proves it. It is [cityid.ErrNotFound] for a height not kept, [cityid.ErrTooLarge]
// for a listing that exceeds [verify.MaxBundle], [cityid.ErrUnavailable] while
// nothing can be proven.
func (l *Local) Bundle(ctx context.Context, q cityid.BundleQuery) (_ []byte, err error) {
	defer l.app.guardRead(&err)
	defer since(l.app.metrics.prove, time.Now())
	if q.Code.IsZero() && q.Kind != cityid.AnswerEntries {
		return nil, cityid.Errorf(cityid.ErrInvalid, "a bundle is about a code")
	}
	view, head, err := l.provable(ctx)
	if err != nil {
		return nil, err
	}
	defer view.Close()
	way := &verify.Way{Head: head.signed}
	if q.Anchor == nil {
		if err := wayFrom(way, head.trusts, q.From); err != nil {
			return nil, err
		}
	}
	answer := view
	if q.At != 0 {
		if answer, err = l.past(way, view, q); err != nil {
			return nil, err
		}
		defer answer.Close()
	}
	if q.Anchor != nil {
		state := answer
		if way.Log != nil {
			state = view // head's
		}
		err = l.anchor(way, state, *q.Anchor)
	} else {
		way.Transitions, err = l.transitions(way)
	}
	if err != nil {
		return nil, err
	}
	if err := authorized(answer, q); err != nil {
		return nil, err
	}
	way.Prove = answer.Prove
	b, err := bundleOf(way, answer, q)
	if errors.Is(err, merkle.ErrTooLarge) {
		return nil, cityid.Errorf(cityid.ErrTooLarge, "the listing below %s is too large for one bundle: ask for a smaller range", q.Code)
	}
	if err != nil {
		return nil, err
	}
	data, err := b.Encode()
	if err != nil {
		return nil, cityid.Errorf(cityid.ErrTooLarge, "%v", err)
	}
	return data, nil
}

// bundleOf makes the proof of what is asked and puts the bundle together.
func bundleOf(way *verify.Way, v *store.View, q cityid.BundleQuery) (*verify.Bundle, error) {
	switch q.Kind {
	case cityid.AnswerRecord:
		proof, value, err := v.Prove(cityid.RecordKey(q.Code))
		if err != nil {
			return nil, err
		}
		return verify.NewRecord(way, q.Code, proof, value)
	case cityid.AnswerHistory:
		proof, value, err := v.Prove(cityid.RecordKey(q.Code))
		if err != nil {
			return nil, err
		}
		values, err := revisions(v, q.Code, value)
		if err != nil {
			return nil, err
		}
		return verify.NewHistory(way, q.Code, proof, values)
	case cityid.AnswerEntries:
		return entriesOf(way, v, q.Keys)
	case cityid.AnswerReferral:
		return referralOf(way, v, q.Code)
	case cityid.AnswerChildren, cityid.AnswerDescendants:
		proof, records, err := v.ProveRange(verify.Range(q.Code, q.Kind))
		if err != nil {
			return nil, err
		}
		size, values := 0, make([][]byte, len(records))
		for i, r := range records {
			values[i] = r.Value
			if size += len(r.Value); size > verify.MaxBundle {
				return nil, merkle.ErrTooLarge
			}
		}
		return verify.NewListing(way, q.Code, q.Kind, proof, values)
	}
	return nil, cityid.Errorf(cityid.ErrInvalid, "there are no bundles of kind %s", q.Kind)
}

// entriesOf proves what stands at each key.
func entriesOf(way *verify.Way, v *store.View, keys [][]byte) (*verify.Bundle, error) {
	if len(keys) > verify.MaxEntries {
		return nil, cityid.Errorf(cityid.ErrTooLarge, "%d keys: at most %d", len(keys), verify.MaxEntries)
	}
	proofs, values := make([]merkle.Proof, len(keys)), make([][]byte, len(keys))
	for i, k := range keys {
		if _, ok := cityid.CodeOfEntryKey(k); !ok {
			return nil, cityid.Errorf(cityid.ErrInvalid, "key %.80x stands for nothing that a bundle answers about", k)
		}
		var err error
		if proofs[i], values[i], err = v.Prove(k); err != nil {
			return nil, err
		}
	}
	b, err := verify.NewEntries(way, keys, proofs, values)
	if err != nil && !errors.Is(err, header.ErrNotConnected) {
		return nil, cityid.Errorf(cityid.ErrInvalid, "%v", err)
	}
	return b, err
}

// revisions returns the encoded revisions of a record, latest first.
func revisions(v *store.View, code cityid.Code, latest []byte) ([][]byte, error) {
	if latest == nil {
		return nil, nil
	}
	var rec cityid.Record
	if err := cityid.UnmarshalTrusted(latest, &rec); err != nil {
		return nil, fmt.Errorf("record of %s: %w", code, err)
	}
	out := [][]byte{latest}
	for n := rec.Revision - 1; n >= 1; n-- {
		old, err := v.Get(cityid.HistoryKey(code, n))
		if err != nil {
			return nil, err
		}
		if old == nil {
			return nil, fmt.Errorf("revision %d of %s is missing", n, code)
		}
		out = append(out, old)
	}
	return out, nil
}

// wayFrom sets where the way begins.
func wayFrom(way *verify.Way, trusts []cityid.Trust, from uint32) error {
	latest := len(trusts) - 1
	if from == 0 {
		way.Trust = &trusts[latest]
		return nil
	}
	for i := range trusts {
		if trusts[i].Statement.Version == from {
			way.Trust, way.Versions = &trusts[i], trusts[i+1:]
			return nil
		}
	}
	return cityid.Errorf(cityid.ErrNotFound, "version %d of the trust root is not known here; the latest is %d", from, trusts[latest].Statement.Version)
}

// provable returns the latest state that a signed header commits to, which the
// caller must close, and that header.
func (l *Local) provable(ctx context.Context) (*store.View, *headProof, error) {
	for start := time.Now(); ; {
		if v, p, err := l.tryProvable(); v != nil || err != nil {
			return v, p, err
		}
		if time.Since(start) > provableTime {
			return nil, nil, cityid.Errorf(cityid.ErrUnavailable, "no signed header commits to a state this node keeps; ask again after the next block")
		}
		select {
		case <-ctx.Done():
			return nil, nil, context.Cause(ctx)
		case <-time.After(provablePoll):
		}
	}
}

// tryProvable is provable without waiting: the view is nil if there is none.
func (l *Local) tryProvable() (*store.View, *headProof, error) {
	if l.app.committed().Height == 0 {
		return nil, nil, nil
	}
	// A reader holds the state before CometBFT's stores, which close after it.
	hold, err := l.app.store.Latest()
	if err != nil {
		return nil, nil, errClosed()
	}
	defer hold.Close()
	top := l.blocks.Height()
	if top == 0 {
		return nil, nil, nil // the state is from a snapshot, and there is no block yet
	}
	p := l.latest.Load()
	if p == nil || p.signed.Header.Height != top {
		signed, err := l.signedHeader(top)
		if err != nil {
			return nil, nil, err
		}
		p = &headProof{signed: signed}
	}
	// The header commits to the state before its block; after a restart only
	// the latest state is kept, which is the same if the block was empty.
	for _, height := range []uint64{uint64(top) - 1, uint64(top)} {
		v, err := l.app.store.At(height)
		if err != nil {
			continue
		}
		if header.Hash(v.Root()) != p.signed.Header.AppHash {
			v.Close()
			continue
		}
		if p.trusts == nil {
			if p.trusts, err = registry.Trusts(reader{v}); err != nil {
				v.Close()
				return nil, nil, err
			}
			l.latest.Store(p)
		}
		return v, p, nil
	}
	return nil, nil, nil
}

// signedHeader returns a header of the chain with its validators and all votes
// for it.
func (l *Local) signedHeader(height int64) (s verify.SignedHeader, err error) {
	meta := l.blocks.LoadBlockMeta(height)
	// The commit in the next block is the one everybody has; before there is a
	// next block, the one this node has seen.
	commit := l.blocks.LoadBlockCommit(height)
	if commit == nil {
		commit = l.blocks.LoadSeenCommit(height)
	}
	if meta == nil || commit == nil {
		for _, kept := range l.app.leading() {
			if kept.Header.Height == height {
				return kept, nil
			}
		}
		return s, l.notKept(uint64(height))
	}
	set, err := l.states.LoadValidators(height)
	if err != nil {
		return s, fmt.Errorf("validators of block %d: %w", height, err)
	}
	if s.Header, err = headerOf(&meta.Header); err != nil {
		return s, err
	}
	if s.Commit, err = commitOf(commit); err != nil {
		return s, err
	}
	for _, v := range set.Validators {
		s.Priorities = append(s.Priorities, v.ProposerPriority)
	}
	s.Validators, err = validatorsOf(set)
	return s, err
}

// SignedHeader returns the encoded header of a height, with its validators and all
// votes for it, as package verify encodes it. The error is [cityid.ErrNotFound] for
// a height that has no block yet, or whose block is not kept here.
func (l *Local) SignedHeader(_ context.Context, height uint64) (_ []byte, err error) {
	defer l.app.guardRead(&err)
	hold, h, err := l.snapshot() // held, for the block store closes after it
	if err != nil {
		return nil, err
	}
	defer hold.Close()
	if height == 0 || height > h.Height {
		return nil, cityid.Errorf(cityid.ErrNotFound, "there is no block %d; the latest is %d", height, h.Height)
	}
	s, err := l.signedHeader(int64(height))
	if err != nil {
		return nil, err
	}
	return verify.EncodeSignedHeader(&s)
}

// transitions returns the headers at which the validators changed between the
// trust root and the head.
func (l *Local) transitions(way *verify.Way) ([]verify.SignedHeader, error) {
	trust := way.Trust
	if n := len(way.Versions); n > 0 {
		trust = &way.Versions[n-1]
	}
	if way.Head.Header.Height <= int64(trust.Statement.Height) {
		return nil, nil
	}
	list, err := verify.Transitions(trust, way.Head, l.signedHeader, l.app.leading()...)
	if err != nil {
		return nil, fmt.Errorf("way from version %d of the trust root to block %d: %w", trust.Statement.Version, way.Head.Header.Height, err)
	}
	return list, nil
}

// past returns the state after block q.At, which the caller must close, and makes
// the header after it the one that answers.
func (l *Local) past(way *verify.Way, view *store.View, q cityid.BundleQuery) (*store.View, error) {
	if q.At >= uint64(way.Head.Header.Height) {
		return nil, cityid.Errorf(cityid.ErrNotFound, "no signed header commits to the state after block %d yet", q.At)
	}
	past, err := l.app.store.At(q.At)
	if err != nil {
		return nil, cityid.Errorf(cityid.ErrNotFound, "%v", err)
	}
	signed, err := l.signedHeader(int64(q.At) + 1)
	if err == nil && header.Hash(past.Root()) != signed.Header.AppHash {
		err = fmt.Errorf("header %d does not commit to the state after block %d", q.At+1, q.At)
	}
	var link *verify.LogInclusion
	if err == nil && q.Log && signed.Header.Height < way.Head.Header.Height {
		link, err = logLink(view, signed.Header)
	}
	if err != nil {
		past.Close()
		return nil, err
	}
	if link != nil {
		way.Log = link
	} else {
		way.Head = signed
	}
	return past, nil
}

// logLink shows that the block log in a state contains a header; nil if it does
// not.
func logLink(v *store.View, h *header.Header) (*verify.LogInclusion, error) {
	proof, value, err := v.Prove(cityid.BlockLogKey)
	if err != nil || value == nil {
		return nil, err
	}
	link := &verify.LogInclusion{Header: h, Proof: proof}
	if err := cityid.UnmarshalTrusted(value, &link.Log); err != nil {
		return nil, fmt.Errorf("block log: %w", err)
	}
	height := uint64(h.Height)
	if height < link.Log.First || height-link.Log.First >= link.Log.Size {
		return nil, nil
	}
	link.Path, err = v.ProveInclusion(height-link.Log.First, link.Log.Size)
	return link, err
}

// NextTrust returns the statement of the trust root's next version: the latest
// signed header, the validators of the height after it, and what meets the apex
// policy now. Once the quorum of the version before has signed it, a set-trust
// operation publishes it.
func (l *Local) NextTrust(ctx context.Context) (_ *cityid.TrustStatement, err error) {
	defer l.app.guardRead(&err)
	view, head, err := l.provable(ctx)
	if err != nil {
		return nil, err
	}
	defer view.Close()
	h := head.signed.Header
	set, err := l.states.LoadValidators(h.Height + 1)
	if err != nil {
		return nil, fmt.Errorf("validators of block %d: %w", h.Height+1, err)
	}
	vals, err := validatorsOf(set)
	if err != nil {
		return nil, err
	}
	quorum, err := registry.ApexQuorum(reader{view}, registry.Block{
		Chain: h.ChainID, Height: view.Height(), Time: cityid.TimeOf(h.Time),
	})
	if err != nil {
		return nil, err
	}
	last := &head.trusts[len(head.trusts)-1].Statement
	s := &cityid.TrustStatement{
		Version: last.Version + 1, Zone: last.Zone, Chain: last.Chain,
		Height: uint64(h.Height), Header: cityid.Digest(h.Hash()), Time: cityid.TimeOf(h.Time),
		Quorum: *quorum, Prev: last.Hash(),
	}
	for _, v := range vals {
		s.Validators = append(s.Validators, cityid.TrustPower{Key: publicKey(v.PublicKey[:]), Power: v.Power})
	}
	return s, s.Check()
}
