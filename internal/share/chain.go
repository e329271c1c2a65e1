// SPDX-License-Identifier: Apache-2.0

package share

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"cityid"
	"cityid/verify"
)

// Node is what a gateway asks of a node of the registry. Nothing of what a node
// says is believed without a proof; it may be any node, and there may be
// several. Package client has one.
type Node interface {
	Bundle(ctx context.Context, q cityid.BundleQuery) ([]byte, error)
	Link(ctx context.Context, height uint64, from uint32) ([]byte, error)
	Agreement(ctx context.Context, id cityid.Digest) (*cityid.AgreementAnswer, error)
	Agreements(ctx context.Context, q cityid.AgreementQuery) (*cityid.AgreementPage, error)
	Submit(ctx context.Context, raw []byte, wait bool) (*cityid.Receipt, error)
	Transaction(ctx context.Context, id cityid.Digest) (*cityid.Receipt, error)
}

// Times of the view on the chain.
const (
	refreshAfter = 4 * time.Second                   // a standing in use is asked for anew when it was asked for so long ago
	askTimeout   = 8 * time.Second                   // one of the nodes has to answer
	useTime      = 10 * time.Minute                  // a standing that nobody asked for is no longer kept fresh
	anewAfter    = 500 * time.Millisecond            // a standing by which nothing may be done is asked for anew when it was asked for so long ago
	maxStandings = 4096                              // agreements whose standing is kept
	recentState  = cityid.MinStaleness * time.Second // of a state so recent it is not asked whether others know a later one
	aheadOfClock = verify.DefaultClockDrift          // a state may be so far ahead of the clock here
	refreshers   = 8                                 // agreements asked for at a time
)

// View is what a gateway knows of the chain: standings of agreements, proven
// from the pinned trust root and never older than asked for. It may be used by
// several goroutines.
type View struct {
	nodes *nodes
	now   func() time.Time
	log   *slog.Logger

	mu     sync.Mutex
	trust  *verify.TrustFile
	known  map[cityid.Digest]*tracked
	onTrue func(*verify.TrustFile) // told of versions of the trust root learned
}

// tracked is one agreement that is watched.
type tracked struct {
	id      cityid.Digest
	current atomic.Pointer[Standing]
	used    atomic.Int64 // Unix seconds; 0: by nobody who may
	tried   atomic.Int64 // Unix milliseconds

	asking chan struct{} // holds one element while a question is under way
	keys   [][]byte      // under asking: what was needed last time
}

// NewView returns a view through the nodes, of which there must be one. learned
// is called with the trust file when versions were added to it; it may be nil.
func NewView(trust *verify.TrustFile, nodes []Node, now func() time.Time, learned func(*verify.TrustFile), log *slog.Logger) *View {
	return &View{nodes: newNodes(nodes, now), now: now, log: log, trust: trust, known: map[cityid.Digest]*tracked{}, onTrue: learned}
}

// ErrStale says that no node could prove what the chain says, recently enough.
var ErrStale = errors.New("the state of the chain is not known recently enough")

// Standing returns how an agreement stands, from a state no older than the
// agreement's own limit. What is known is returned at once and asked for anew in
// the background, and kept fresh from then on. The error is [cityid.ErrNotFound]
// for no such agreement, and matches [ErrStale] if no node proves a state recent
// enough.
func (v *View) Standing(ctx context.Context, id cityid.Digest) (*Standing, error) {
	s, err := v.look(ctx, id)
	if err == nil {
		v.use(id)
	}
	return s, err
}

// use keeps an agreement fresh.
func (v *View) use(id cityid.Digest) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if t := v.known[id]; t != nil {
		t.used.Store(v.now().Unix())
	}
}

// knows reports whether a standing is known that needs no question to nodes.
func (v *View) knows(id cityid.Digest) bool {
	s := v.Known(id)
	return s != nil && s.fresh(v.now())
}

// look is Standing for somebody of whom it is not known yet whether the agreement
// is any of its business: it is not kept fresh for that.
func (v *View) look(ctx context.Context, id cityid.Digest) (*Standing, error) {
	t := v.track(id)
	now := v.now()
	s := t.current.Load()
	if s != nil && s.fresh(now) {
		if tried := t.tried.Load(); now.UnixMilli()-tried > refreshAfter.Milliseconds() && t.tried.CompareAndSwap(tried, now.UnixMilli()) {
			go v.refresh(context.WithoutCancel(ctx), t)
		}
		return s, nil
	}
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	s, err := v.ask(ctx, t, s)
	if err != nil {
		return nil, err
	}
	if !s.fresh(v.now()) {
		return nil, fmt.Errorf("%w: the latest proof is as of %s", ErrStale, s.AsOf.Time.Format(time.RFC3339))
	}
	return s, nil
}

// anew returns how an agreement stands, to somebody who can do nothing by what is
// known of it. Unless that is for good, it is asked for once more at once, but not so
// soon after the last time: of those who ask at the same time one asks nodes, and
// whoever asks in vain again and again makes no work. It returns what is known if that
// is all there is.
func (v *View) anew(ctx context.Context, s *Standing) *Standing {
	t, now := v.track(s.ID), v.now()
	if s.final(cityid.TimeOf(now)) {
		return s
	}
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	tried := t.tried.Load()
	if age := now.UnixMilli() - tried; age >= anewAfter.Milliseconds() && t.tried.CompareAndSwap(tried, now.UnixMilli()) {
		if latest, err := v.ask(ctx, t, s); err == nil && latest.fresh(v.now()) {
			return latest
		}
		return s
	}
	select {
	case t.asking <- struct{}{}: // nobody asks any more
		<-t.asking
	case <-ctx.Done():
	}
	if latest := t.current.Load(); latest != nil && latest.fresh(v.now()) {
		return latest
	}
	return s
}

// refresh asks for an agreement anew.
func (v *View) refresh(ctx context.Context, t *tracked) {
	ask, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	if _, err := v.ask(ask, t, t.current.Load()); err != nil && ctx.Err() == nil {
		v.log.Warn("agreement not refreshed", "agreement", t.id, "error", err)
	}
}

// Known returns how an agreement stood when it was last asked for, however long
// ago; nil if it was not.
func (v *View) Known(id cityid.Digest) *Standing {
	v.mu.Lock()
	defer v.mu.Unlock()
	if t := v.known[id]; t != nil {
		return t.current.Load()
	}
	return nil
}

// oldest returns how old the oldest standing in use is.
func (v *View) oldest() (age time.Duration) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, t := range v.known {
		if s := t.current.Load(); s != nil {
			age = max(age, v.now().Sub(s.AsOf.Time))
		}
	}
	return age
}

// track returns the entry of an agreement and makes room for it: what nobody
// uses goes first.
func (v *View) track(id cityid.Digest) *tracked {
	v.mu.Lock()
	defer v.mu.Unlock()
	if t := v.known[id]; t != nil {
		return t
	}
	if len(v.known) >= maxStandings {
		oldest, since := cityid.Digest{}, int64(1<<62)
		for k, t := range v.known {
			if u := t.used.Load(); u < since {
				oldest, since = k, u
			}
		}
		delete(v.known, oldest)
	}
	t := &tracked{id: id, asking: make(chan struct{}, 1)}
	t.tried.Store(v.now().UnixMilli())
	v.known[id] = t
	return t
}

func (v *View) forget(t *tracked) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.known[t.id] == t && t.current.Load() == nil {
		delete(v.known, t.id)
	}
}

// ask proves the standing anew, unless somebody else just did.
func (v *View) ask(ctx context.Context, t *tracked, seen *Standing) (*Standing, error) {
	select {
	case t.asking <- struct{}{}:
		defer func() { <-t.asking }()
	case <-ctx.Done():
		return nil, fmt.Errorf("%w: %w", ErrStale, context.Cause(ctx))
	}
	if s := t.current.Load(); s != seen && s != nil && s.fresh(v.now()) {
		return s, nil
	}
	t.tried.Store(v.now().UnixMilli())
	if t.keys == nil {
		a, err := v.about(ctx, t.id)
		if err != nil {
			v.forget(t)
			return nil, err
		}
		t.keys = guess(&a.Terms, v.Trust().Statement.Zone)
	}
	s, err := v.prove(ctx, t.id, t.keys)
	if err != nil {
		return nil, err
	}
	t.keys = s.keys
	// An answer that is older than what is known would be a node left behind.
	if old := t.current.Load(); old == nil || s.AsOf.Height >= old.AsOf.Height {
		t.current.Store(s)
		return s, nil
	}
	return t.current.Load(), nil
}

// about asks what an agreement is about. The terms are those that the id is the
// hash of; what became of them is proven afterwards.
func (v *View) about(ctx context.Context, id cityid.Digest) (*cityid.Agreement, error) {
	a, err := first(ctx, v.nodes, inquiry[*cityid.Agreement]{ask: func(ctx context.Context, n Node) (*cityid.Agreement, error) {
		a, err := n.Agreement(ctx, id)
		if err != nil {
			return nil, err
		}
		if a.Agreement.Terms.ID() != id {
			return nil, fmt.Errorf("a node answers about another agreement than %s", id)
		}
		return &a.Agreement, nil
	}})
	return a, unknown(err)
}

// agreement proves an agreement by itself, however it and its parties stand, with the
// time of the header.
func (v *View) agreement(ctx context.Context, id cityid.Digest) (*cityid.Agreement, cityid.Time, error) {
	about, err := v.about(ctx, id)
	if err != nil {
		return nil, 0, err
	}
	key := cityid.AgreementKey(about.Terms.Dataset, id)
	r, _, err := v.Entries(ctx, [][]byte{key}, cityid.MaxStaleness*time.Second)
	if err != nil {
		return nil, 0, err
	}
	a := new(cityid.Agreement)
	found, err := r.Entry(key, a)
	switch {
	case err != nil:
		return nil, 0, err
	case !found || a.Terms.ID() != id:
		return nil, 0, cityid.Errorf(cityid.ErrNotFound, "there is no agreement %s", id)
	}
	return a, cityid.TimeOf(r.AsOf.Time), nil
}

// unknown makes an error that says nothing about the chain one that says so.
func unknown(err error) error {
	if err != nil && !errors.Is(err, ErrStale) && cityid.CodeOf(err) == cityid.ErrInternal {
		return fmt.Errorf("%w: %w", ErrStale, err)
	}
	return err
}

// Trust returns the version of the trust root by which the view judges.
func (v *View) Trust() *cityid.Trust {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.trust.Latest()
}

// Entries returns what stands at keys of the state, proven to a header that is
// no older than maxAge, and the bundle that proves it. The error matches
// [ErrStale] if no node does.
func (v *View) Entries(ctx context.Context, keys [][]byte, maxAge time.Duration) (*verify.Result, []byte, error) {
	return v.entriesFrom(ctx, v.Trust(), keys, maxAge)
}

// Pinned returns the version of the trust root that was pinned, from which the
// bundles in evidence lead on: whoever pinned it too can check them.
func (v *View) Pinned() *cityid.Trust {
	v.mu.Lock()
	defer v.mu.Unlock()
	return &v.trust.Versions()[0]
}

// entriesFrom is Entries for an asker who holds the given version of the trust
// root.
func (v *View) entriesFrom(ctx context.Context, trust *cityid.Trust, keys [][]byte, maxAge time.Duration) (*verify.Result, []byte, error) {
	type proven struct {
		result *verify.Result
		bundle []byte
	}
	ask := func(ctx context.Context, n Node) (proven, error) {
		data, err := n.Bundle(ctx, cityid.BundleQuery{
			Kind: cityid.AnswerEntries, Keys: keys, From: trust.Statement.Version, Base: trust.Statement.Height,
		})
		if err != nil {
			return proven{}, err
		}
		r := verify.CheckEncoded(trust, data, verify.Options{Now: v.now(), Kind: cityid.AnswerEntries, Keys: keys, MaxAge: maxAge})
		v.learn(r.Learned)
		switch r.Verdict {
		case verify.Valid:
			return proven{&r, data}, nil
		case verify.Invalid:
			return proven{}, fmt.Errorf("a node proves nothing: %s", r.Message)
		}
		return proven{}, fmt.Errorf("%w: %s", ErrStale, r.Message)
	}
	// A node may lag behind, or lie by showing what was: one that shows no recent
	// state is believed only if no other shows a later one.
	p, err := first(ctx, v.nodes, inquiry[proven]{
		ask:    ask,
		enough: func(p proven) bool { return v.now().Sub(p.result.AsOf.Time) <= recentState },
		better: func(a, b proven) bool { return a.result.AsOf.Height > b.result.AsOf.Height },
	})
	return p.result, p.bundle, unknown(err)
}

// learn adds versions of the trust root.
func (v *View) learn(versions []cityid.Trust) {
	if len(versions) == 0 {
		return
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	have := v.trust.Latest().Statement.Version
	for i := range versions {
		if versions[i].Statement.Version <= have {
			continue
		}
		if err := v.trust.Add(versions[i]); err != nil {
			v.log.Warn("trust root not extended", "error", err)
			return
		}
	}
	if v.onTrue != nil && v.trust.Latest().Statement.Version > have {
		v.onTrue(v.trust)
	}
}

// Refresh keeps what is in use fresh until ctx ends.
func (v *View) Refresh(ctx context.Context) {
	tick := time.NewTicker(refreshAfter)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		due := v.due()
		var all sync.WaitGroup
		for i := range min(refreshers, len(due)) {
			all.Go(func() {
				for n := i; n < len(due) && ctx.Err() == nil; n += refreshers {
					v.refresh(ctx, due[n])
				}
			})
		}
		all.Wait()
	}
}

// due returns what is to be asked for anew, and forgets what nobody uses.
func (v *View) due() (due []*tracked) {
	v.mu.Lock()
	defer v.mu.Unlock()
	now := v.now()
	for id, t := range v.known {
		tried := now.UnixMilli() - t.tried.Load()
		switch {
		case now.Unix()-t.used.Load() > int64(useTime.Seconds()):
			if tried > askTimeout.Milliseconds() {
				delete(v.known, id)
			}
		case t.current.Load() != nil && tried > refreshAfter.Milliseconds()/2:
			due = append(due, t)
		}
	}
	return due
}
