// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"slices"

	"cityid"
)

// settings are the parts of the state that most operations read.
type settings struct {
	params   cityid.Params
	rule     cityid.Rule
	apex     cityid.Code
	upstream *cityid.Upstream // the zone above; nil: there is none
	zones    bool             // some code was delegated
}

func loadSettings(r Reader) (*settings, error) {
	s := &settings{}
	for _, part := range []struct {
		key  []byte
		into any
	}{
		{cityid.ParamsKey, &s.params}, {cityid.RuleKey, &s.rule}, {cityid.ApexKey, &s.apex},
	} {
		v := r.Get(part.key)
		if v == nil {
			return nil, cityid.Errorf(cityid.ErrInternal, "the state has no %q: the chain was not founded", part.key)
		}
		if err := cityid.UnmarshalTrusted(v, part.into); err != nil {
			return nil, cityid.Errorf(cityid.ErrInternal, "state at %q: %v", part.key, err)
		}
	}
	s.upstream = Upstream(r)
	lo, hi := cityid.ZoneRange()
	r.Scan(lo, hi, func(_, _ []byte) bool { s.zones = true; return false })
	return s, nil
}

// namespace is what is written to keys with the same first byte.
type namespace struct {
	values map[string][]byte // nil: deleted
	keys   []string          // of values, in the order of their first write
}

// work is the state as one transaction sees and changes it. Nothing reaches the
// state below before commit.
type work struct {
	base   Reader
	block  Block
	verify VerifyFunc
	*settings

	writes          [256]*namespace                // by the key's first byte; nil: nothing
	records         map[cityid.Code]*cityid.Record // read or written here
	parent          *work                          // of a fork
	known           map[cityid.Code]*cityid.Record // as the state has them; may be nil
	schemes         map[string]*cityid.Scheme
	delegated       map[cityid.Code]*cityid.Record // by code: who delegated it, or nil
	quorums         map[claim]*cityid.Quorum       // by holder of the policy and roles
	proposals       []uint64
	settingsChanged bool
	tried           int // operations tried for proposals, see assess
	proven          int // signed headers of other chains, see descend
}

func newWork(base Reader, block Block, s *settings, verify VerifyFunc) *work {
	return &work{
		base: base, block: block, settings: s, verify: verify,
		records: map[cityid.Code]*cityid.Record{},
		schemes: map[string]*cityid.Scheme{},
		quorums: map[claim]*cityid.Quorum{},
	}
}

// fork returns a work on top of w whose writes w never sees: for trying.
func (w *work) fork() *work {
	f := newWork(w, w.block, w.settings, w.verify)
	f.parent = w
	return f
}

// commit hands all writes to the state, in byte order of the keys.
func (w *work) commit(to State) {
	quick, ok := to.(stringState)
	for i := range w.writes {
		n := w.writes[i]
		if n == nil { // most: collecting nothing costs more than what one code writes
			continue
		}
		slices.Sort(n.keys) // mostly they are sorted
		for _, k := range n.keys {
			if v := n.values[k]; v != nil && ok {
				quick.SetString(k, v)
			} else if v != nil {
				to.Set([]byte(k), v)
			} else {
				to.Delete([]byte(k))
			}
		}
	}
}

// Get implements [Reader].
func (w *work) Get(key []byte) []byte {
	if n := w.writes[key[0]]; n != nil {
		if v, ok := n.values[string(key)]; ok {
			return v
		}
	}
	return w.base.Get(key)
}

// Scan implements [Reader], merging the writes into what lies below. lo and hi
// lie in one namespace.
func (w *work) Scan(lo, hi []byte, fn func(key, value []byte) bool) {
	var mine []string
	var writes map[string][]byte
	if n := w.writes[lo[0]]; n != nil {
		writes = n.values
	}
	for k := range writes {
		if k >= string(lo) && k < string(hi) {
			mine = append(mine, k)
		}
	}
	slices.Sort(mine)
	stopped := false
	emit := func(k string) bool {
		if v := writes[k]; v != nil {
			return fn([]byte(k), v)
		}
		return true
	}
	w.base.Scan(lo, hi, func(key, value []byte) bool {
		for len(mine) > 0 && mine[0] < string(key) {
			if stopped = !emit(mine[0]); stopped {
				return false
			}
			mine = mine[1:]
		}
		if len(mine) > 0 && mine[0] == string(key) {
			stopped = !emit(mine[0])
			mine = mine[1:]
		} else {
			stopped = !fn(key, value)
		}
		return !stopped
	})
	for _, k := range mine {
		if stopped || !emit(k) {
			return
		}
	}
}

// set stores the encoding of v at key.
func (w *work) set(key []byte, v any) { w.write(key, cityid.MustMarshal(v)) }

func (w *work) delete(key []byte) { w.write(key, nil) }

func (w *work) write(key, value []byte) {
	n := w.writes[key[0]]
	if n == nil {
		n = &namespace{values: map[string][]byte{}}
		w.writes[key[0]] = n
	}
	k, before := string(key), len(n.values)
	if n.values[k] = value; len(n.values) > before {
		n.keys = append(n.keys, k)
	}
}

// expect makes room for so many writes to keys like the one given.
func (w *work) expect(key []byte, writes int) {
	if w.writes[key[0]] == nil {
		w.writes[key[0]] = &namespace{make(map[string][]byte, writes), make([]string, 0, writes)}
	}
}

// load decodes the value at key into v and reports whether there is one. What
// the state holds was written by this package, so bytes that do not decode are
// a broken invariant.
func (w *work) load(key []byte, v any) bool {
	b := w.Get(key)
	if b == nil {
		return false
	}
	if err := cityid.UnmarshalTrusted(b, v); err != nil {
		panic(fmt.Sprintf("registry: state at %q: %v", key, err))
	}
	return true
}

// record returns the latest record of code, or nil. The caller must not change
// it; it copies the struct and hands the copy to put.
func (w *work) record(code cityid.Code) *cityid.Record {
	if r, ok := w.records[code]; ok {
		return r
	}
	if w.parent != nil {
		return w.parent.record(code)
	}
	if r, ok := w.known[code]; ok {
		return r
	}
	r := new(cityid.Record)
	if !w.load(cityid.RecordKey(code), r) {
		return nil
	}
	w.records[code] = r
	return r
}

// exists reports whether code is allocated.
func (w *work) exists(code cityid.Code) bool {
	if r, ok := w.records[code]; ok {
		return r != nil
	}
	return w.Get(cityid.RecordKey(code)) != nil
}

// existing returns the latest record of code, or a not-found error.
func (w *work) existing(code cityid.Code) (*cityid.Record, error) {
	if code.IsZero() {
		return nil, cityid.Errorf(cityid.ErrInvalid, "no code is given")
	}
	if r := w.record(code); r != nil {
		return r, nil
	}
	if err := w.ours(code); err != nil {
		return nil, err
	}
	return nil, cityid.Errorf(cityid.ErrNotFound, "%s is not allocated", code)
}

// at returns the record of code if it is at the expected revision.
func (w *work) at(code cityid.Code, revision uint32) (*cityid.Record, error) {
	r, err := w.existing(code)
	if err != nil {
		return nil, err
	}
	if r.Revision != revision {
		return nil, cityid.Errorf(cityid.ErrConflict, "%s is at revision %d, not %d: look at it again and repeat the change", code, r.Revision, revision)
	}
	return r, nil
}

// put stores the next revision of a record, or its first if old is nil. It sets
// revision, link to the revision before, and place of the change.
func (w *work) put(old *cityid.Record, next cityid.Record) error {
	next.Revision, next.Prev = 1, cityid.Digest{}
	if old != nil {
		b := w.Get(cityid.RecordKey(old.Code))
		next.Revision, next.Prev = old.Revision+1, sha256.Sum256(b)
		w.write(cityid.HistoryKey(old.Code, old.Revision), bytes.Clone(b))
		if old.Policy != next.Policy || old.Status != next.Status {
			clear(w.quorums)
		}
	}
	next.Changed = w.here()
	b := cityid.MustMarshal(&next)
	if len(b) > cityid.MaxRecord {
		return cityid.Errorf(cityid.ErrTooLarge, "the record of %s would have %d octets: at most %d", next.Code, len(b), cityid.MaxRecord)
	}
	w.write(cityid.RecordKey(next.Code), b)
	if old == nil && next.Kind == cityid.KindObject {
		return nil // nothing stands below it, so it is hardly read again
	}
	kept := next
	w.records[next.Code] = &kept
	return nil
}

func (w *work) counters() (c cityid.Counters) {
	w.load(cityid.CountersKey, &c)
	return c
}

// scheme returns the crosswalk scheme of that name, or an error.
func (w *work) scheme(name string) (*cityid.Scheme, error) {
	if s, ok := w.schemes[name]; ok {
		return s, nil
	}
	s := new(cityid.Scheme)
	if !cityid.ValidSchemeName(name) || !w.load(cityid.SchemeKey(name), s) {
		return nil, cityid.Errorf(cityid.ErrCrosswalk, "there is no crosswalk scheme %.40q", name)
	}
	w.schemes[name] = s
	return s, nil
}

// waiting returns the change that waits for code, or nil.
func (w *work) waiting(code cityid.Code) *cityid.Waiting {
	var x cityid.Waiting
	if !w.load(cityid.WaitingKey(code), &x) {
		return nil
	}
	return &x
}
