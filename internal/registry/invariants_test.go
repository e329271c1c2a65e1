// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"maps"
	"slices"

	"cityid"
	"cityid/merkle"
)

// broken returns what is wrong with a state as a whole, or "".
func broken(s *mapState, now cityid.Time) string {
	c := &census{
		s: s, now: now, w: newWork(s, Block{Time: now}, nil, nil),
		children: map[string]uint64{}, living: map[cityid.Code]uint64{}, aliases: map[string]bool{},
		intake: map[string][]openDay{}, contest: map[string]bool{}, requests: map[string][]openDay{},
	}
	return c.check()
}

// census recounts everything the state counts.
type census struct {
	s        *mapState
	w        *work
	now      cityid.Time
	children map[string]uint64
	living   map[cityid.Code]uint64
	aliases  map[string]bool
	contest  map[string]bool
	intake   map[string][]openDay
	requests map[string][]openDay // that wait, by the key that counts them
	indexes  int                  // keys that find agreements
	heads    int                  // of receipt logs
	history  int
	zones    bool // some code is delegated
}

func (c *census) check() string {
	lo, hi := cityid.ZoneRange()
	c.s.Scan(lo, hi, func(_, _ []byte) bool { c.zones = true; return false })
	for _, k := range slices.Sorted(maps.Keys(c.s.values)) {
		if err := merkle.CheckKey([]byte(k)); err != nil {
			return fmt.Sprintf("key %q: %v", k, err)
		}
		var what string
		switch k[0] {
		case 'r':
			what = c.record([]byte(k))
		case 'p':
			what = c.proposal(c.s.values[k])
		case 'a':
			what = attestation([]byte(k), c.s.values[k])
		case 'g':
			what = c.agreement([]byte(k), c.s.values[k])
		case 'l':
			what = c.anchor([]byte(k), c.s.values[k])
		case 'z':
			what = c.zone([]byte(k), c.s.values[k])
		case 'w':
			var x cityid.Waiting
			if err := cityid.Unmarshal(c.s.values[k], &x); err != nil {
				what = err.Error()
			} else if r := c.w.record(x.Code); r == nil || r.Status == cityid.StatusRetired {
				what = "waits for a code that is not there or retired"
			}
		}
		if what != "" {
			return fmt.Sprintf("%q: %s", k, what)
		}
	}
	return c.counts()
}

func (c *census) record(key []byte) string {
	raw := c.s.Get(key)
	var r cityid.Record
	if err := cityid.Unmarshal(raw, &r); err != nil {
		return err.Error()
	}
	if code, ok := cityid.CodeOfRecordKey(key); !ok || code != r.Code {
		return "the key is not that of the record's code"
	}
	if len(raw) > cityid.MaxRecord || !r.Sealed.IsZero() && (!r.Content.IsZero() || len(r.Aliases) > 0) {
		return "too large, or sealed and open at once"
	}
	if !r.Parent.IsZero() {
		p := c.w.record(r.Parent)
		if p == nil || !p.Code.Covers(r.Code) && !p.Code.PlaceCovers(r.Code) {
			return "the parent is not there, or not above"
		}
		c.children[string(cityid.ChildrenKey(r.Parent, r.Kind))]++
	}
	for _, above := range c.delegators(r.Code) {
		if x := c.w.record(above); above != r.Code && x != nil && x.Delegation != nil && x.Delegation.Covers(above, r.Code) {
			return fmt.Sprintf("stands in the range of %s, which is delegated", above)
		}
	}
	if r.Status != cityid.StatusRetired {
		if what := c.lives(&r); what != "" {
			return what
		}
	}
	for _, a := range r.Aliases {
		c.aliases[string(cityid.CrosswalkKey(a.Scheme, a.Value, r.Code))] = true
		if got := c.s.Get(cityid.CrosswalkKey(a.Scheme, a.Value, r.Code)); !bytes.Equal(got, cityid.MustMarshal(&a)) {
			return "an alias differs from its crosswalk entry"
		}
	}
	return c.chain(&r)
}

// delegators returns the codes that may have delegated one, if any have.
func (c *census) delegators(code cityid.Code) []cityid.Code {
	if !c.zones {
		return nil
	}
	return cityid.Delegators(cityid.Code{}, code)
}

// zone checks what is known of a delegated code's zone against its record.
func (c *census) zone(key, raw []byte) string {
	code, ok := cityid.CodeOfZoneKey(key)
	var z cityid.Zone
	if err := cityid.Unmarshal(raw, &z); err != nil || !ok {
		return fmt.Sprintf("no zone: %v", err)
	}
	r := c.w.record(code)
	if r == nil || r.Delegation == nil || r.Delegation.Chain != z.Chain || r.Delegation.Places != z.Places || checkZonePolicy(code, r.Policy) != nil {
		return "differs from the record, or its policy can not hold in two zones"
	}
	if err := z.Checkpoint.Check(); err != nil || z.Anchors == 0 || z.Anchored > z.Accepted.Time {
		return fmt.Sprintf("%+v: %v", z, err)
	}
	return ""
}

// lives checks that a living code hangs on living ones up to the apex.
func (c *census) lives(r *cityid.Record) string {
	top := r
	for x := range c.w.lineage(r) {
		if x.Status == cityid.StatusRetired && !x.Parent.IsZero() { // an apex may be retired from above
			return fmt.Sprintf("lives below %s, which is retired", x.Code)
		}
		top = x
	}
	if !top.Parent.IsZero() {
		return "does not hang on the apex"
	}
	if up := c.w.above(r); up != nil {
		c.living[up.Code]++
	}
	return ""
}

// chain follows the hashes of the revisions down to the first.
func (c *census) chain(r *cityid.Record) string {
	prev, n := r.Prev, r.Revision
	for n > 1 {
		n--
		raw := c.s.Get(cityid.HistoryKey(r.Code, n))
		var old cityid.Record
		if err := cityid.Unmarshal(raw, &old); err != nil {
			return fmt.Sprintf("revision %d: %v", n, err)
		}
		if sha256.Sum256(raw) != prev || old.Hash() != prev || old.Revision != n || old.Parent != r.Parent || old.Kind != r.Kind {
			return fmt.Sprintf("revision %d is not what revision %d names", n, n+1)
		}
		c.history++
		prev = old.Prev
	}
	if !prev.IsZero() {
		return "revision 1 names a revision before"
	}
	return ""
}

func (c *census) proposal(raw []byte) string {
	var p cityid.Proposal
	if err := cityid.Unmarshal(raw, &p); err != nil {
		return err.Error()
	}
	if !p.Application() || !p.State.Open() {
		return ""
	}
	key := cityid.ContestKey(appliedFor(&p), p.Number)
	if c.s.Get(key) != nil {
		c.contest[string(key)] = true
	} else if p.StateAt(c.now).Open() {
		return "an open application that is not in the contest for its code"
	}
	c.countDay(c.intake, cityid.IntakeKey(p.Intake), p.Expires)
	return ""
}

// countDay counts something open that lapses at a time.
func (c *census) countDay(into map[string][]openDay, key []byte, lapses cityid.Time) {
	k, last := string(key), int64(lapses/day)
	if last < int64(c.now/day) {
		return
	}
	list := into[k]
	i, found := slices.BinarySearchFunc(list, last, func(d openDay, t int64) int { return int(d.Day - t) })
	if !found {
		list = slices.Insert(list, i, openDay{Day: last})
	}
	list[i].Open++
	into[k] = list
}

// counts compares the recount with what the state says.
func (c *census) counts() string {
	history, contest, indexes, heads := 0, uint64(0), 0, 0
	for k, v := range c.s.values {
		var what string
		switch k[0] {
		case 'h':
			history++
		case 'o':
			contest++
			if !c.contest[k] {
				what = "marks an application that is not open"
			}
		case 'x':
			if !c.aliases[k] {
				what = "no record has this alias"
			}
		case 'q':
			what = c.count(k, v)
		case 'd', 'u':
			indexes++
		case 'n':
			heads++
		case 'k':
			what = c.days(c.intake, k, v)
		case 'v':
			what = c.days(c.requests, k, v)
		}
		if what != "" {
			return fmt.Sprintf("%q: %s", k, what)
		}
	}
	if indexes != c.indexes || heads != c.heads || len(c.requests) > 0 {
		return fmt.Sprintf("%d keys that find agreements, not %d; %d heads of logs, not %d; not counted: %v", indexes, c.indexes, heads, c.heads, c.requests)
	}
	if len(c.children) > 0 || len(c.living) > 0 || len(c.intake) > 0 || history != c.history {
		return fmt.Sprintf("not counted: %v %v %v, or history of no record", c.children, c.living, c.intake)
	}
	if n := c.w.counters().Applications; n != contest {
		return fmt.Sprintf("%d applications, but %d in contests", n, contest)
	}
	return ""
}

// days checks one count of open things, and strikes it off the recount.
func (c *census) days(recount map[string][]openDay, key string, raw []byte) string {
	var list []openDay
	if err := cityid.Unmarshal(raw, &list); err != nil {
		return err.Error()
	}
	list = slices.DeleteFunc(list, func(d openDay) bool { return d.Day < int64(c.now/day) })
	if !slices.Equal(list, recount[key]) {
		return fmt.Sprintf("counts %v, not %v", list, recount[key])
	}
	delete(recount, key)
	return ""
}

// count checks one count of children, and strikes it off the recount.
func (c *census) count(key string, raw []byte) string {
	if key[len(key)-2] == 0 { // the kind that does not exist: a care
		var x care
		if err := cityid.Unmarshal(raw, &x); err != nil {
			return err.Error()
		}
		code := cityid.MustParse(key[1 : len(key)-3])
		if x.Living != c.living[code] {
			return fmt.Sprintf("cares for %d living codes, not %d", x.Living, c.living[code])
		}
		delete(c.living, code)
		return ""
	}
	var n uint64
	if err := cityid.Unmarshal(raw, &n); err != nil {
		return err.Error()
	}
	if n != c.children[key] {
		return fmt.Sprintf("counts %d children, not %d", n, c.children[key])
	}
	delete(c.children, key)
	return ""
}
