// SPDX-License-Identifier: Apache-2.0

package share

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"time"

	"cityid"
	"cityid/verify"
)

// Bounds of what is looked up for one agreement.
const (
	walkBack   = 12  // latest revisions of a record that are all looked at
	asksBack   = 4   // earlier revisions asked for at a time
	maxLineage = 48  // records from a code to its apex
	maxMembers = 256 // codes and keys of a policy and its members
)

// Party is one side of an agreement at one state of the chain.
type Party struct {
	Code   cityid.Code  // the dataset or the consumer
	Holder cityid.Code  // whose policy governs it
	Keys   []cityid.Key // with role gateway in that policy
	Bar    string       // why no policy acts for it now; "": one does
	Links  []string     // addresses of gateways, from the nearest record that names some
}

// Key returns an error unless key may sign for the party's gateway at t.
func (p *Party) Key(key cityid.PublicKey, t cityid.Time) error {
	if p.Bar != "" {
		return cityid.Errorf(cityid.ErrStatus, "%s", p.Bar)
	}
	for i := range p.Keys {
		if p.Keys[i].Public == key {
			if p.Keys[i].Holds(cityid.RoleGateway, t) {
				return nil
			}
			return cityid.Errorf(cityid.ErrNotPermitted, "the key is not in force for %s", p.Code)
		}
	}
	return cityid.Errorf(cityid.ErrNotPermitted, "the policy of %s names no such gateway key", p.Holder)
}

// Standing is all that the chain says about an agreement, at one state.
type Standing struct {
	ID        cityid.Digest
	Agreement cityid.Agreement
	Dataset   cityid.Record
	Provider  Party // of the dataset
	Consumer  Party
	AsOf      cityid.AsOf
	Bundle    []byte // which proves it

	keys  [][]byte
	known cityid.Time // of the state, for evidence; 0: the latest
}

// fresh reports whether the state is recent enough by the agreement's terms. One
// that is ahead of the clock is not: the clock was put back.
func (s *Standing) fresh(now time.Time) bool {
	age := now.Sub(s.AsOf.Time)
	return age <= time.Duration(s.Agreement.Terms.Staleness)*time.Second && age > -aheadOfClock
}

// final reports whether the agreement has ended, one way or the other, for good.
func (s *Standing) final(now cityid.Time) bool {
	switch s.Agreement.StateAt(now) {
	case cityid.AgreementRequested, cityid.AgreementGranted:
		return false
	}
	return true
}

// guess returns the keys that are needed for an agreement if no code stands
// elsewhere than its grammar says.
func guess(t *cityid.Terms, apex cityid.Code) [][]byte {
	keys := [][]byte{cityid.AgreementKey(t.Dataset, t.ID())}
	for _, c := range []cityid.Code{t.Dataset, t.Consumer} {
		for ; apex == c || apex.Covers(c); c = c.Parent() {
			keys = append(keys, cityid.RecordKey(c))
		}
	}
	return sortKeys(keys)
}

func sortKeys(keys [][]byte) [][]byte {
	slices.SortFunc(keys, bytes.Compare)
	return slices.CompactFunc(keys, bytes.Equal)
}

// prove asks for all entries under one header, as often as it takes to know
// which. The parties are those of the header, or, with times, as gateways may have
// known them at each, for evidence: then the bundle leads on from the pinned trust
// root, and the standing is that of the first time.
func (v *View) prove(ctx context.Context, id cityid.Digest, keys [][]byte, at ...cityid.Time) (*Standing, error) {
	trust := v.Trust()
	if len(at) > 0 {
		trust = v.Pinned()
	}
	for range verify.MaxEntries { // each time there is one more key at least
		r, bundle, err := v.entriesFrom(ctx, trust, keys, cityid.MaxStaleness*time.Second)
		if err != nil {
			return nil, err
		}
		s, missing, err := standingFor(r, id, at)
		if err != nil {
			return nil, err
		}
		if len(missing) == 0 {
			s.Bundle = bundle
			return s, nil
		}
		keys = sortKeys(append(slices.Clone(keys), missing...))
		if len(keys) > verify.MaxEntries && s != nil && s.known != 0 {
			// There is no room for all that changed in the time of which gateways need not
			// know; what was at the time itself is there.
			s.Bundle = bundle
			return s, nil
		}
		if len(keys) > verify.MaxEntries {
			return nil, cityid.Errorf(cityid.ErrTooLarge, "agreement %s depends on more than %d records", id, verify.MaxEntries)
		}
	}
	return nil, cityid.Errorf(cityid.ErrUnavailable, "the records around agreement %s change faster than they can be read", id)
}

// standingFor reads what [View.prove] asks for. With times, there is a standing once
// all is there that tells of the first.
func standingFor(r *verify.Result, id cityid.Digest, at []cityid.Time) (s *Standing, missing [][]byte, err error) {
	if len(at) == 0 {
		return StandingOf(r, id, 0)
	}
	for _, t := range at {
		list, lack, err := standingsAt(r, id, t)
		if err != nil {
			return nil, nil, err
		}
		missing = append(missing, lack...)
		if t == at[0] && len(list) > 0 && list[0].known == t {
			s = list[0]
		}
	}
	return s, missing, nil
}

// StandingOf reads an agreement's standing from entries that prove it, or says
// which keys are missing among them. With a time, the parties are as they were
// then, by earlier revisions of their records; at 0, as they are. The error is
// [cityid.ErrNotFound] if the entries show that there is no such agreement.
func StandingOf(r *verify.Result, id cityid.Digest, at cityid.Time) (s *Standing, missing [][]byte, err error) {
	s = &Standing{ID: id, AsOf: r.AsOf}
	f := finder{result: r, at: at, known: map[cityid.Code]*cityid.Record{}}
	found := false
	for _, e := range r.Entries {
		s.keys = append(s.keys, e.Key)
		code, _ := cityid.CodeOfEntryKey(e.Key)
		if !bytes.Equal(e.Key, cityid.AgreementKey(code, id)) {
			continue
		}
		if found, err = r.Entry(e.Key, &s.Agreement); err != nil {
			return nil, nil, err
		}
	}
	if !found || s.Agreement.Terms.ID() != id {
		return nil, nil, cityid.Errorf(cityid.ErrNotFound, "there is no agreement %s", id)
	}
	t := &s.Agreement.Terms
	s.Provider, s.Consumer = f.party(t.Dataset), f.party(t.Consumer)
	if d := f.record(t.Dataset); d != nil {
		s.Dataset = *d
	}
	return s, f.missing, f.err
}

// finder follows records upwards, as the registry does.
type finder struct {
	result  *verify.Result
	at      cityid.Time // 0: the latest revisions
	known   map[cityid.Code]*cityid.Record
	missing [][]byte
	err     error
}

// record returns the revision of a record that was in force at the time, nil if
// none was, and notes which key is missing to tell.
//
// The latest revisions are looked at one by one, since a later one may say of a key that
// it was compromised. If those are not enough, the one in force is found by halves: who
// changes a record often can not keep others from showing what it was.
func (f *finder) record(code cityid.Code) *cityid.Record {
	if code.IsZero() {
		return nil
	}
	r, ok := f.known[code]
	if !ok {
		r = f.inForce(code)
		f.known[code] = r
	}
	return r
}

func (f *finder) inForce(code cityid.Code) *cityid.Record {
	r := f.entry(cityid.RecordKey(code))
	for n := 0; n < walkBack && r != nil && f.later(r); n++ {
		back := r.Revision - 1
		if back == 0 {
			return nil
		}
		if r = f.entry(cityid.HistoryKey(code, back)); r == nil && f.err == nil {
			for n++; n < walkBack && n%asksBack != 0 && back > 1; n++ {
				back--
				f.missing = append(f.missing, cityid.HistoryKey(code, back))
			}
		}
	}
	if r == nil || !f.later(r) {
		return r
	}
	var found *cityid.Record
	for least, most := uint32(0), r.Revision; most-least > 1; {
		middle := least + (most-least)/2
		x := f.entry(cityid.HistoryKey(code, middle))
		switch {
		case x == nil:
			return nil
		case f.later(x):
			most = middle
		default:
			least, found = middle, x
		}
	}
	return found
}

// later reports whether a revision is from after the time that is looked at.
func (f *finder) later(r *cityid.Record) bool { return f.at != 0 && r.Changed.Time > f.at }

// entry returns the record at a key, or nil, and notes if the key is missing.
func (f *finder) entry(key []byte) *cityid.Record {
	r := new(cityid.Record)
	found, err := f.result.Entry(key, r)
	if err != nil && !f.result.Asked(key) {
		f.missing = append(f.missing, key)
	} else if err != nil {
		f.err = err
	}
	if err != nil || !found {
		return nil
	}
	return r
}

// above returns what stands above a record: its parent, or the heir of one that
// is retired.
func (f *finder) above(r *cityid.Record) *cityid.Record {
	p := f.record(r.Parent)
	for n := 0; p != nil && p.Status == cityid.StatusRetired && !p.Heir.IsZero() && n < maxLineage; n++ {
		p = f.record(p.Heir)
	}
	return p
}

// party finds the policy that governs a code, and whether it acts.
func (f *finder) party(code cityid.Code) Party {
	p := Party{Code: code, Bar: fmt.Sprintf("%s is not allocated", code)}
	r := f.record(code)
	if r == nil {
		return p
	}
	p.Bar = ""
	var policy *cityid.Policy
	for n := 0; r != nil; r = f.above(r) {
		if n++; n > maxLineage {
			p.Bar = fmt.Sprintf("%s stands below too many codes", code)
			break
		}
		if r.Status != cityid.StatusActive && p.Bar == "" {
			p.Bar = fmt.Sprintf("%s is %s", r.Code, r.Status)
		}
		if policy == nil && r.Policy != nil {
			policy, p.Holder = r.Policy, r.Code
		}
		if p.Links == nil {
			p.Links = gatewayLinks(r)
		}
		if r.Parent.IsZero() {
			p.Keys = f.gatewayKeys(policy, 0, nil)
			if policy == nil && p.Bar == "" {
				p.Bar = fmt.Sprintf("no policy governs %s", code)
			}
			return p
		}
	}
	if p.Bar == "" {
		p.Bar = fmt.Sprintf("what stands above %s is not known", code)
	}
	return p
}

func gatewayLinks(r *cityid.Record) []string {
	var out []string
	for _, l := range r.Content.Links {
		if l.Rel == RelGateway {
			out = append(out, l.Href)
		}
	}
	return out
}

// gatewayKeys collects the gateway keys of a policy and of its members' policies.
func (f *finder) gatewayKeys(p *cityid.Policy, depth int, into []cityid.Key) []cityid.Key {
	if p == nil || depth > cityid.MaxPolicyDepth || len(into) > maxMembers {
		return into
	}
	for i := range p.Members {
		m := &p.Members[i]
		for _, k := range m.Keys {
			if k.Roles&cityid.RoleGateway != 0 {
				into = append(into, k)
			}
		}
		if m.Code.IsZero() {
			continue
		}
		if r := f.record(m.Code); r != nil {
			into = f.gatewayKeys(f.governing(r), depth+1, into)
		}
	}
	return into
}

// governing returns the policy that governs a record while it and all above it
// are active; nil otherwise.
func (f *finder) governing(r *cityid.Record) *cityid.Policy {
	var policy *cityid.Policy
	for n := 0; r != nil && n < maxLineage; n++ {
		if r.Status != cityid.StatusActive {
			return nil
		}
		if policy == nil {
			policy = r.Policy
		}
		if r.Parent.IsZero() {
			return policy
		}
		r = f.above(r)
	}
	return nil
}
