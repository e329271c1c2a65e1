// SPDX-License-Identifier: Apache-2.0

package client

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"cityid"
	"cityid/verify"
)

// proven is an answer that was found valid.
type proven struct {
	data   []byte // encoded, without versions of the trust root
	result verify.Result
	trust  uint32 // version of the trust root it leads on from
	taken  time.Time
	until  time.Time // when it is no longer valid
	next   *zone     // of a referral: the zone to ask
}

// size is how many octets keeping it takes: the bundle, what was decoded from
// it, and the findings.
func (p *proven) size() int64 { return int64(3*len(p.data)) + 4096 }

// Rejected says that what a server answered was not found valid.
type Rejected struct{ Result verify.Result }

// Error returns verdict, message and reason.
func (r *Rejected) Error() string {
	return fmt.Sprintf("%s: %s (%s)", r.Result.Verdict, r.Result.Message, r.Result.Reason)
}

// answer returns what answers q, from the cache or from servers.
func (z *Zones) answer(ctx context.Context, q cityid.BundleQuery) (*proven, error) {
	if err := checkQuestion(q); err != nil {
		return nil, err
	}
	q.From, q.Base = 0, 0
	key := keyOf(q)
	now := z.c.Now()
	if p, ok := z.answers.get(key); ok && now.Before(p.until) {
		age := now.Sub(p.taken)
		switch {
		case age < 0, age >= 2*z.c.Fresh: // a clock that was set back
		case age < z.c.Fresh:
			z.counts.hits.Add(1)
			return p, nil
		default:
			z.counts.stale.Add(1)
			z.flights.begin(key, func(ctx context.Context) (*proven, error) { return z.refresh(ctx, q, key) })
			return p, nil
		}
	}
	z.counts.misses.Add(1)
	return z.flights.do(ctx, key, func(ctx context.Context) (*proven, error) { return z.refresh(ctx, q, key) })
}

// refresh asks servers, and falls back on an older answer that is still valid if
// none of them answers.
func (z *Zones) refresh(ctx context.Context, q cityid.BundleQuery, key string) (*proven, error) {
	ctx, cancel := context.WithTimeout(ctx, walkPatience)
	defer cancel()
	p, err := z.walk(ctx, q)
	old, kept := z.answers.get(key)
	if kept = kept && z.c.Now().Before(old.until); kept && old.trust != z.latest().Statement.Version {
		kept = false
	}
	switch {
	case err == nil && kept && old.result.AsOf.Chain == p.result.AsOf.Chain && old.result.AsOf.Height > p.result.AsOf.Height:
		return old, nil // a server that lags answered; what is known already is later
	case err == nil:
		if z.c.Fresh > 0 {
			z.answers.put(key, p)
		}
		return p, nil
	case kept && cityid.CodeOf(err) == cityid.ErrUnavailable:
		z.counts.fallbacks.Add(1)
		return old, nil
	}
	return nil, err
}

// walk goes down the zones until one answers.
func (z *Zones) walk(ctx context.Context, q cityid.BundleQuery) (*proven, error) {
	at, err := z.start(ctx, q)
	if err != nil {
		return nil, err
	}
	for range verify.MaxSteps {
		p, err := z.ask(ctx, at, q)
		if err != nil {
			return nil, err
		}
		if p.next == nil {
			return p, nil
		}
		at = z.keep(p)
	}
	return nil, cityid.Errorf(cityid.ErrUnavailable, "%s lies more than %d zones deep", q.Code, verify.MaxSteps)
}

// start returns the deepest zone known to answer q, no older than it may be.
func (z *Zones) start(ctx context.Context, q cityid.BundleQuery) (*zone, error) {
	for _, apex := range cityid.Delegators(z.root.apex, q.Code) {
		at, ok := z.zones.get(apex.String())
		if !ok || !at.answers(q) {
			continue
		}
		age, now := z.c.Now().Sub(at.taken), z.c.Now()
		if age >= 0 && age < z.c.ZoneFresh {
			return at, at.frozen
		}
		look := func(ctx context.Context) (*proven, error) { return z.look(ctx, at) }
		if key := "zone " + apex.String(); age >= 0 && age < 2*z.c.ZoneFresh {
			z.flights.begin(key, look)
		} else {
			p, err := z.flights.do(ctx, key, look)
			switch {
			case err == nil && p.next.apex == apex:
				at = p.next
			case err == nil: // another zone has it now
				z.zones.remove(apex.String())
				return z.start(ctx, q)
			case cityid.CodeOf(err) == cityid.ErrUnavailable && now.Before(at.until): // the zones above are away, and this one may not be
			case cityid.CodeOf(err) == cityid.ErrUnavailable || cityid.CodeOf(err) == cityid.ErrRetry || ctx.Err() != nil:
				return nil, err
			default: // no longer delegated, perhaps
				z.zones.remove(apex.String())
				return z.start(ctx, q)
			}
		}
		return at, at.frozen
	}
	return z.root, nil
}

// look asks the zone above what is known of a zone now; what is known of that one
// must not be old either.
func (z *Zones) look(ctx context.Context, at *zone) (*proven, error) {
	ctx, cancel := context.WithTimeout(ctx, walkPatience)
	defer cancel()
	q := cityid.BundleQuery{Code: at.apex, Kind: cityid.AnswerReferral}
	from, err := z.start(ctx, q)
	if err != nil {
		return nil, err
	}
	for range verify.MaxSteps {
		p, err := z.ask(ctx, from, q)
		if err != nil {
			var rejected *Rejected
			if errors.As(err, &rejected) && rejected.Result.Reason == verify.ReasonFrozen {
				copied := *at
				copied.taken, copied.frozen = z.c.Now(), err
				z.zones.put(at.apex.String(), &copied)
			}
			return nil, err
		}
		p.next = z.keep(p)
		if from = p.next; from.apex == at.apex || !cityid.InZone(from.apex, from.places, at.apex) {
			return p, nil
		}
	}
	return nil, cityid.Errorf(cityid.ErrUnavailable, "%s lies more than %d zones deep", at.apex, verify.MaxSteps)
}

// keep remembers the zone that a referral leads to, unless what is known of it
// is later, and returns the one to ask.
func (z *Zones) keep(p *proven) *zone {
	next := p.next
	key := next.apex.String()
	if old, ok := z.zones.get(key); ok && old.trust == next.trust {
		if old.chain == next.chain && old.revision > next.revision && p.taken.Before(old.until) {
			return old
		}
		if old.chain == next.chain {
			next.state = old.state
		}
	}
	if err := next.serve(next.endpoints, z.other, next.state.servers()); err != nil {
		next.state.fail(err)
	}
	if p.trust == z.latest().Statement.Version {
		z.zones.put(key, next)
	}
	return next
}

// judge looks at what a server of a zone answered.
func (z *Zones) judge(at *zone, q cityid.BundleQuery, data []byte) (*proven, error) {
	b, err := verify.Decode(data)
	if err != nil {
		return nil, err
	}
	now := z.c.Now()
	opts := verify.Options{Now: now, Code: q.Code, Kind: q.Kind, Keys: q.Keys, MaxAge: z.c.MaxAge}
	trust := z.latest()
	if at.way == nil && len(b.Versions) > 0 {
		z.trustMu.Lock()
		base := *z.trust.For(b)
		z.trustMu.Unlock()
		z.learn(verify.Check(&base, b, opts).Learned)
		trust, b.Versions = z.latest(), nil
	}
	if at.way != nil {
		if at.trust != trust.Statement.Version {
			return nil, cityid.Errorf(cityid.ErrUnavailable, "the trust root has a new version since the question: ask again")
		}
		if b, err = verify.Join(trust, at.way, b); err != nil {
			return nil, err
		}
	}
	r := verify.Check(trust, b, opts)
	if r.Verdict != verify.Valid {
		return nil, &Rejected{r}
	}
	p := &proven{result: r, trust: trust.Statement.Version, taken: now, until: z.validUntil(trust, &r)}
	if q.Kind != cityid.AnswerReferral {
		p.data, err = b.Encode()
		return p, err
	}
	last := &r.Zones[len(r.Zones)-1]
	p.next = &zone{
		apex: last.Zone, places: last.Known.Places, chain: last.Chain, anchor: last.Known.Checkpoint.Height, way: b,
		endpoints: last.Record.Delegation.Endpoints, status: last.Record.Status, revision: r.AsOf.Height,
		trust: p.trust, taken: now, until: p.until, state: newZoneState(&z.c),
	}
	if at.way != nil && at.taken.Before(now) {
		p.next.taken = at.taken // no zone is better known than those above it
	}
	return p, nil
}

// validUntil returns when a valid result stops being so.
func (z *Zones) validUntil(trust *cityid.Trust, r *verify.Result) time.Time {
	until := trust.Statement.Time.Std().Add(verify.DefaultTrustingPeriod)
	limit := func(t time.Time) {
		if t.Before(until) {
			until = t
		}
	}
	for i := range r.Zones {
		s := &r.Zones[i]
		if s.Known != nil {
			limit(s.Known.Checkpoint.Time.Std().Add(verify.DefaultTrustingPeriod))
		}
		if i < len(r.Zones)-1 {
			limit(s.AsOf.Time.Add(verify.DefaultMaxAgeParents))
		}
	}
	if r.Kind != cityid.AnswerReferral {
		limit(r.AsOf.Time.Add(z.c.MaxAge))
	}
	return until
}

// checkQuestion refuses what no server has to be asked for.
func checkQuestion(q cityid.BundleQuery) error {
	if q.Kind != cityid.AnswerEntries {
		if q.Code.IsZero() || len(q.Keys) > 0 {
			return cityid.Errorf(cityid.ErrMalformed, "want a code, and keys for entries alone")
		}
		return nil
	}
	if n := len(q.Keys); n < 1 || n > verify.MaxEntries {
		return cityid.Errorf(cityid.ErrMalformed, "%d keys: want 1 to %d", n, verify.MaxEntries)
	}
	for i, k := range q.Keys {
		code, ok := cityid.CodeOfEntryKey(k)
		if !ok || i == 0 && code != q.Code {
			return cityid.Errorf(cityid.ErrMalformed, "key %x is not one that a bundle about %s can answer", k, q.Code)
		}
	}
	return nil
}

// keyOf names a question.
func keyOf(q cityid.BundleQuery) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d %t ", q.Kind, q.Log)
	if q.Kind != cityid.AnswerEntries {
		b.WriteString(q.Code.String())
	}
	for _, k := range q.Keys {
		b.WriteByte(byte(len(k)))
		b.Write(k)
	}
	return b.String()
}

// answers reports whether the zone, or one below it, is the one to ask. The
// record of its apex is the zone's above, and so is what that knows of the zone.
func (at *zone) answers(q cityid.BundleQuery) bool {
	if !cityid.InZone(at.apex, at.places, q.Code) {
		return false
	}
	switch q.Kind {
	case cityid.AnswerRecord, cityid.AnswerHistory, cityid.AnswerReferral:
		return q.Code != at.apex
	case cityid.AnswerEntries:
		return !slices.ContainsFunc(q.Keys, func(k []byte) bool {
			code, _ := cityid.CodeOfEntryKey(k)
			own := k[0] == 'r' || k[0] == 'h' || k[0] == 'z'
			return own && code == at.apex || !cityid.InZone(at.apex, at.places, code)
		})
	}
	return true
}
