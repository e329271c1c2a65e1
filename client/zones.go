// SPDX-License-Identifier: Apache-2.0

package client

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"cityid"
	"cityid/verify"
)

// ZonesConfig configures [NewZones]. A zero field is its default.
type ZonesConfig struct {
	// Trust is the trust root all answers have to lead on from. It is copied.
	Trust *verify.TrustFile
	// Roots are addresses of servers of the trust root's zone, 1 to 32. The
	// caller vouches that they may be asked, not that they tell the truth.
	Roots []string

	// Learned is told the trust file whenever it has grown, so that it can be
	// kept: one call at a time, the longest file last. An error is kept for
	// [Zones.Status], and the next version tried again with it.
	Learned func(*verify.TrustFile) error

	// Private lets addresses that records name lead to loopback and private
	// networks. Without it only public addresses are asked, since a record's
	// writer could otherwise reach what only this machine can. Where the roots
	// are is not restricted.
	Private bool
	// Authorities are the certificate authorities trusted for all servers; nil:
	// the system's.
	Authorities *x509.CertPool
	// Transport carries requests to the roots; nil: one made for them.
	Transport http.RoundTripper

	// Fresh is how long a cached answer is given out without a look at the zone,
	// 30 s. Up to twice that age it is given out while a new one is fetched;
	// after that the caller waits. If no server answers then, an older answer
	// serves for as long as package verify lets it. Negative: keep no answers.
	Fresh time.Duration
	// ZoneFresh is the same for what is known of a zone's checkpoint and
	// servers, 1 minute.
	ZoneFresh time.Duration
	MaxAge    time.Duration // how old the answering header may be; [verify.DefaultMaxAge]
	Cache     int64         // octets of all that is kept; 64 MiB

	Timeout time.Duration // of one request to one server; 10 s
	Hedge   time.Duration // how long to wait for a server before another one is asked as well; 500 ms
	// Lag is by how much an answer may be older than the newest header seen of
	// its zone before other servers are asked for a later one, 1 minute.
	Lag time.Duration

	// Concurrent and Rate bound the questions to one zone: so many at a time, 32,
	// and so many a second, 200. What is beyond waits; 512 of them at most.
	Concurrent int
	Rate       int

	// Now is the clock; nil: time.Now.
	Now func() time.Time
}

// Bounds of [Zones].
const (
	maxRoots     = 32
	maxQueue     = 512
	walkPatience = 45 * time.Second
	maxSmall     = 2 << 20 // octets of the bundle of a record or a referral: 64 changes of 100 validators
)

// Zones answers for codes of all zones below a trust root. It finds zones by
// their delegations, any number of them one below the other up to
// [verify.MaxSteps], asks their own servers, and gives out nothing that package
// verify does not find valid. Servers that are dead, slow, outdated, of a fork
// or lie cost time and no more, as long as one of the zone's answers honestly.
//
// Equal questions at one time are one request. All methods may be called from
// several goroutines at once.
//
// Errors: a [*ZoneError] tells of each server that was asked why its answer
// did not do. Its code is retry for a zone that is frozen, full where too many
// questions to one zone wait, what a server said if all servers that answered
// refused the question, and else unavailable.
type Zones struct {
	c     ZonesConfig
	own   http.RoundTripper // to the roots
	other http.RoundTripper // to addresses in records
	root  *zone

	trustMu sync.Mutex
	trust   *verify.TrustFile
	kept    error // of the last call of Learned

	answers *lru[*proven]
	zones   *lru[*zone]
	flights flights
	counts  counts
}

// NewZones returns Zones, and makes no request.
func NewZones(c ZonesConfig) (*Zones, error) {
	if c.Trust == nil {
		return nil, errors.New("zones: no trust root is given")
	}
	if n := len(c.Roots); n < 1 || n > maxRoots {
		return nil, fmt.Errorf("zones: %d addresses of servers of the trust root's zone: want 1 to %d", n, maxRoots)
	}
	c = c.withDefaults()
	versions := c.Trust.Versions()
	trust, err := verify.NewTrustFile(versions[0])
	if err == nil {
		err = trust.Add(versions[1:]...)
	}
	if err != nil {
		return nil, fmt.Errorf("zones: %w", err)
	}
	z := &Zones{c: c, trust: trust, own: c.Transport, other: transport(c.Private, true, c.Authorities)}
	if z.own == nil {
		z.own = transport(true, false, c.Authorities)
	}
	z.answers, z.zones = newLRU[*proven](c.Cache*3/4), newLRU[*zone](c.Cache/4)
	s := &trust.Latest().Statement
	z.root = &zone{apex: s.Zone, places: true, chain: s.Chain, state: newZoneState(&c)}
	if err := z.root.serve(c.Roots, z.own, nil); err != nil {
		return nil, err
	}
	return z, nil
}

func (c ZonesConfig) withDefaults() ZonesConfig {
	for _, d := range []struct {
		to *time.Duration
		as time.Duration
	}{
		{&c.Fresh, 30 * time.Second}, {&c.ZoneFresh, time.Minute}, {&c.MaxAge, verify.DefaultMaxAge},
		{&c.Timeout, 10 * time.Second}, {&c.Hedge, 500 * time.Millisecond}, {&c.Lag, time.Minute},
	} {
		if *d.to == 0 {
			*d.to = d.as
		}
	}
	if c.Cache == 0 {
		c.Cache = 64 << 20
	}
	if c.Concurrent == 0 {
		c.Concurrent = 32
	}
	if c.Rate == 0 {
		c.Rate = 200
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return c
}

// Resolve returns the proven record of a code, or that the code is not
// allocated. The result is valid, unless a zone on the way is frozen: then it is
// undecided for that reason. The caller must not change what it points to.
func (z *Zones) Resolve(ctx context.Context, code cityid.Code) (verify.Result, error) {
	p, err := z.answer(ctx, cityid.BundleQuery{Code: code, Kind: cityid.AnswerRecord})
	var frozen *Rejected
	if errors.As(err, &frozen) && frozen.Result.Reason == verify.ReasonFrozen {
		return frozen.Result, nil
	}
	if err != nil {
		return verify.Result{}, err
	}
	return p.result, nil
}

// Record returns the proven record of a code, retired ones as well; not-found
// if the code is proven not to be allocated. Of the answer's fields only those
// that are proven are set.
func (z *Zones) Record(ctx context.Context, code cityid.Code) (*cityid.RecordAnswer, error) {
	p, err := z.answer(ctx, cityid.BundleQuery{Code: code, Kind: cityid.AnswerRecord})
	if err != nil {
		return nil, err
	}
	if !p.result.Allocated {
		return nil, cityid.Errorf(cityid.ErrNotFound, "%s", p.result.Message)
	}
	return &cityid.RecordAnswer{Record: *p.result.Record, Display: code.Display(), AsOf: p.result.AsOf}, nil
}

// History returns all revisions of a code's record, proven, latest first;
// not-found if the code is proven not to be allocated.
func (z *Zones) History(ctx context.Context, code cityid.Code) (*cityid.HistoryAnswer, error) {
	p, err := z.answer(ctx, cityid.BundleQuery{Code: code, Kind: cityid.AnswerHistory})
	if err != nil {
		return nil, err
	}
	if !p.result.Allocated {
		return nil, cityid.Errorf(cityid.ErrNotFound, "%s", p.result.Message)
	}
	return &cityid.HistoryAnswer{Revisions: append([]cityid.Record(nil), p.result.Records...), AsOf: p.result.AsOf}, nil
}

// Children returns a page of the records below a code, cut from the proven list
// of all of them that its zone keeps; what lies in zones below is not among
// them. A list whose bundle exceeds [verify.MaxBundle] is too large to be
// proven. A zero Limit is 100.
func (z *Zones) Children(ctx context.Context, q cityid.ChildrenQuery) (*cityid.RecordPage, error) {
	kind := cityid.AnswerChildren
	if q.Deep {
		kind = cityid.AnswerDescendants
	}
	p, err := z.answer(ctx, cityid.BundleQuery{Code: q.Code, Kind: kind})
	if err != nil {
		return nil, err
	}
	limit := q.Limit
	if limit == 0 {
		limit = 100
	}
	page := &cityid.RecordPage{AsOf: p.result.AsOf}
	past := q.After.IsZero()
	for i := range p.result.Records {
		r := &p.result.Records[i]
		if !past {
			past = r.Code.Compare(q.After) > 0
		}
		switch {
		case !past || q.Kind != 0 && r.Kind != q.Kind:
			continue
		case len(page.Records) == limit:
			page.Next = page.Records[limit-1].Code
			return page, nil
		}
		page.Records = append(page.Records, *r)
	}
	return page, nil
}

// Bundle returns a bundle that answers q, as a node would, but one that goes
// through all zones from the trust root to the one that answers, and is found
// valid. A zero Kind asks for the record. It carries the versions of the trust
// root after q.From that are known, if q.From is not zero; Base is not looked at.
// The past (At), a bundle that leads on from a checkpoint (Anchor) and referrals
// are to be asked of the zone's own servers: the error is unsupported.
// The caller must not change the octets returned.
func (z *Zones) Bundle(ctx context.Context, q cityid.BundleQuery) ([]byte, error) {
	if q.At != 0 || q.Anchor != nil || q.Kind == cityid.AnswerReferral {
		return nil, cityid.Errorf(cityid.ErrUnsupported, "bundles of the past, from a checkpoint, and referrals are made by a zone's own nodes: ask one of those")
	}
	if q.Kind == 0 {
		q.Kind = cityid.AnswerRecord
	}
	p, err := z.answer(ctx, q)
	if err != nil {
		return nil, err
	}
	return z.carry(p, q.From)
}

// Trust returns all versions of the trust root that are known, the pinned one
// first.
func (z *Zones) Trust(context.Context) ([]cityid.Trust, error) {
	z.trustMu.Lock()
	defer z.trustMu.Unlock()
	return z.trust.Versions(), nil
}

// latest returns the version of the trust root to ask with and judge by.
func (z *Zones) latest() *cityid.Trust {
	z.trustMu.Lock()
	defer z.trustMu.Unlock()
	t := *z.trust.Latest()
	return &t
}

// carry returns an answer for an asker who holds version from of the trust root.
func (z *Zones) carry(p *proven, from uint32) ([]byte, error) {
	if from == 0 || from >= p.trust {
		return p.data, nil
	}
	z.trustMu.Lock()
	versions := z.trust.Versions()
	z.trustMu.Unlock()
	b, err := verify.Decode(p.data)
	if err != nil {
		return nil, fmt.Errorf("decode an answer that was kept: %w", err)
	}
	first := versions[0].Statement.Version
	if from < first { // what comes before it is not known here
		from = first
	}
	if from >= p.trust {
		return p.data, nil
	}
	if b, err = verify.Carry(b, versions[from-first:p.trust-first+1]); err != nil {
		return nil, err
	}
	return b.Encode()
}

// learn takes versions of the trust root that a bundle carried.
func (z *Zones) learn(list []cityid.Trust) {
	z.trustMu.Lock()
	defer z.trustMu.Unlock()
	grew := false
	for i := range list {
		if list[i].Statement.Version == z.trust.Latest().Statement.Version+1 && z.trust.Add(list[i]) == nil {
			grew = true
		}
	}
	if !grew {
		return
	}
	// What was proven by the version before leads on from that.
	z.answers.clear()
	z.zones.clear()
	if z.c.Learned != nil {
		copied := *z.trust
		z.kept = z.c.Learned(&copied)
	}
}
