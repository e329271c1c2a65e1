// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"slices"
	"strconv"
	"strings"

	"cityid"
)

// allocate allocates codes in order. See [work.allocateOne] for what each must
// satisfy.
func (w *work) allocate(op *cityid.Allocate) error {
	if len(op.Items) < 1 || len(op.Items) > cityid.MaxOperations {
		return cityid.Errorf(cityid.ErrMalformed, "an allocation has 1 to %d items", cityid.MaxOperations)
	}
	if n := len(op.Items); n > 16 {
		w.expect(cityid.RecordKey(op.Items[0].Code), n)
		if a := op.Items[0].Aliases; len(a) > 0 {
			w.expect(cityid.CrosswalkPrefix(a[0].Scheme, a[0].Value), n)
		}
	}
	var below births
	for i := range op.Items {
		if err := w.allocateOne(&op.Items[i], &below); err != nil {
			if e, ok := err.(*cityid.Error); ok {
				return cityid.Errorf(e.Code, "%s: %s", op.Items[i].Code, e.Message)
			}
			return err
		}
	}
	w.count(&below)
	return nil
}

// allocateOne allocates a code: once and for ever, below an active parent that
// the grammar or a place prefix gives, within the distribution rule, with
// content that is well formed and links only to approved hosts.
func (w *work) allocateOne(a *cityid.Allocation, below *births) error {
	if a.Code.IsZero() {
		return cityid.Errorf(cityid.ErrMalformed, "no code is given")
	}
	if w.exists(a.Code) {
		return cityid.Errorf(cityid.ErrExists, "the code is already allocated")
	}
	parent, err := w.checkParent(a)
	if err != nil {
		return err
	}
	if err := checkShape(a.Code, a.Kind); err != nil {
		return err
	}
	if err := w.checkRule(a, parent, below); err != nil {
		return err
	}
	if a.Recovery != nil {
		return cityid.Errorf(cityid.ErrPolicy, "only an apex names a recovery policy: the parent recovers all other codes")
	}
	r, err := firstRevision(a, parent)
	if err != nil {
		return err
	}
	if err := w.checkContent(&r); err != nil {
		return err
	}
	if a.Policy != nil {
		if err := w.checkPolicy(a.Policy, a.Code); err != nil {
			return err
		}
	}
	if err := cityid.CheckAliases(a.Aliases); err != nil {
		return err
	}
	for _, alias := range a.Aliases {
		if err := w.setAlias(a.Code, alias); err != nil {
			return err
		}
	}
	return w.put(nil, r)
}

// firstRevision is the record an allocation gives. parent is nil for an apex.
func firstRevision(a *cityid.Allocation, parent *cityid.Record) (cityid.Record, error) {
	r := cityid.Record{
		Code: a.Code, Kind: a.Kind, Status: cityid.StatusActive,
		Content: a.Content, Sealed: a.Sealed, Aliases: a.Aliases, Policy: a.Policy, Recovery: a.Recovery,
	}
	if a.Reserved {
		r.Status = cityid.StatusReserved
	}
	if parent != nil {
		r.Parent = parent.Code
	}
	if !a.Sealed.IsZero() && (!a.Content.IsZero() || len(a.Aliases) > 0) {
		return r, cityid.Errorf(cityid.ErrInvalid, "a sealed record publishes neither content nor crosswalk entries")
	}
	return r, nil
}

// checkParent returns the parent's record. It must be the grammar's parent or,
// for a place, the longest shorter place that is allocated, and be active.
func (w *work) checkParent(a *cityid.Allocation) (*cityid.Record, error) {
	want := a.Code.Parent()
	if p := w.placeAbove(a.Code); p != nil {
		want = p.Code
	}
	if want.IsZero() || !a.Parent.IsZero() && a.Parent != want {
		return nil, cityid.Errorf(cityid.ErrParent, "the parent is %s, not %s", want, a.Parent)
	}
	p := w.record(want)
	if p == nil {
		return nil, cityid.Errorf(cityid.ErrParent, "the parent %s is not allocated", want)
	}
	if p.Status != cityid.StatusActive {
		return nil, cityid.Errorf(cityid.ErrParent, "the parent %s is %s", want, p.Status)
	}
	return p, nil
}

// placeAbove returns the record of the longest proper prefix of code's place
// that is allocated and not retired, or nil. It is nil for codes that are not
// places.
func (w *work) placeAbove(code cityid.Code) *cityid.Record {
	place := code.Place()
	if place == "" || code.LastNode() != place || code.Depth() != 3 {
		return nil
	}
	s := code.String()
	for n := 1; n < len(place); n++ {
		c, err := cityid.ParseCanonical(s[:len(s)-n])
		if err != nil {
			return nil
		}
		if r := w.record(c); r != nil && r.Status != cityid.StatusRetired {
			return r
		}
	}
	return nil
}

// parentOf returns the parent an allocation names, or the one it would get.
func (w *work) parentOf(a *cityid.Allocation) cityid.Code {
	if !a.Parent.IsZero() {
		return a.Parent
	}
	if p := w.placeAbove(a.Code); p != nil {
		return p.Code
	}
	return a.Code.Parent()
}

// preApprover returns the code that must approve a as well, or the zero code.
// It is skipped while that code is not allocated.
func (w *work) preApprover(a *cityid.Allocation) cityid.Code {
	k := w.rule.ForKind(a.Kind)
	place := a.Code.Place()
	if k == nil || k.PreApprover == 0 || int(k.PreApprover) >= len(place) {
		return cityid.Code{}
	}
	c, err := cityid.ParseCanonical(a.Code.IAC() + "." + a.Code.Country() + "." + place[:k.PreApprover])
	if err != nil || w.record(c) == nil {
		return cityid.Code{}
	}
	return c
}

// checkShape refuses kinds that can not stand at the code's place in the
// grammar: a class stands behind the first slash, items behind the second.
func checkShape(c cityid.Code, k cityid.Kind) error {
	var fits bool
	switch k {
	case cityid.KindClass:
		fits = c.Class() != "" && c.Item() == ""
	case cityid.KindObject, cityid.KindDataset, cityid.KindSource:
		fits = c.Item() != ""
	case cityid.KindDepartment:
		fits = c.Class() == "" && len(c.Units()) > 0
	case cityid.KindAuthority, cityid.KindProvince, cityid.KindCity, cityid.KindCounty, cityid.KindIndustry, cityid.KindOrganisation:
		fits = c.Class() == ""
	}
	if !fits {
		return cityid.Errorf(cityid.ErrInvalid, "a code of this form can not be of kind %s", k)
	}
	return nil
}

// checkRule holds an allocation against the distribution rule and counts it.
func (w *work) checkRule(a *cityid.Allocation, parent *cityid.Record, below *births) error {
	k := w.rule.ForKind(a.Kind)
	if k == nil {
		return cityid.Errorf(cityid.ErrRule, "the distribution rule does not provide for codes of kind %s", a.Kind)
	}
	if !slices.Contains(k.Parents, parent.Kind) {
		return cityid.Errorf(cityid.ErrRule, "no code of kind %s can stand below one of kind %s", a.Kind, parent.Kind)
	}
	last := a.Code.LastNode()
	if len(k.Patterns) > 0 && !slices.ContainsFunc(k.Patterns, func(p string) bool { return cityid.MatchPattern(p, last) }) {
		return cityid.Errorf(cityid.ErrRule, "the last node of a code of kind %s has the form %s, not %q", a.Kind, strings.Join(k.Patterns, " or "), last)
	}
	if k.Sequence {
		if err := w.checkSequence(a.Code, last); err != nil {
			return err
		}
	}
	for _, s := range k.Schemes {
		if a.Sealed.IsZero() && !slices.ContainsFunc(a.Aliases, func(x cityid.Alias) bool { return x.Scheme == s }) {
			return cityid.Errorf(cityid.ErrRule, "a code of kind %s must carry its %s code", a.Kind, s)
		}
	}
	if n := w.born(below, parent.Code, a.Kind); k.Quota > 0 && n > uint64(k.Quota) {
		return cityid.Errorf(cityid.ErrQuota, "%s has its %d codes of kind %s", parent.Code, k.Quota, a.Kind)
	}
	return nil
}

// checkSequence demands that the number before is allocated.
func (w *work) checkSequence(c cityid.Code, last string) error {
	n, err := strconv.ParseUint(last, 10, 32)
	if err != nil || n == 0 {
		return cityid.Errorf(cityid.ErrRule, "%q is not a number from 1 upwards", last)
	}
	if n == 1 {
		return nil
	}
	before := strconv.FormatUint(n-1, 10)
	s := c.String()
	prev, err := cityid.ParseCanonical(s[:len(s)-len(last)] + strings.Repeat("0", len(last)-len(before)) + before)
	if err != nil || !w.exists(prev) {
		return cityid.Errorf(cityid.ErrRule, "numbers are given in sequence: %s%s comes first", strings.Repeat("0", len(last)-len(before)), before)
	}
	return nil
}

// checkContent holds a record's content against its bounds, the languages and
// disclosure the distribution rule asks for, and the hosts approved above it.
func (w *work) checkContent(r *cityid.Record) error {
	if err := r.Content.Check(); err != nil {
		return err
	}
	allowed := w.rule.DisclosureOf(r.Code.Class())
	if r.Code.Item() == "" {
		allowed = cityid.DisclosureOpen
	}
	if r.Content.Dataset != nil && r.Kind != cityid.KindDataset {
		return cityid.Errorf(cityid.ErrInvalid, "a code of kind %s describes no shared data: that is for kind %s", r.Kind, cityid.KindDataset)
	}
	if !r.Sealed.IsZero() {
		return nil
	}
	if allowed == cityid.DisclosureSealed {
		return cityid.Errorf(cityid.ErrRule, "objects of class %s are published sealed only", r.Code.Class())
	}
	if l := r.Content.Location; l != nil && allowed == cityid.DisclosureCoarse && !l.IsCoarse() {
		return cityid.Errorf(cityid.ErrRule, "objects of class %s are published with a coarse location only: round it to 0.01 degrees", r.Code.Class())
	}
	if k := w.rule.ForKind(r.Kind); k != nil {
		for _, lang := range k.Languages {
			if !r.Content.Names.Has(lang) {
				return cityid.Errorf(cityid.ErrRule, "a code of kind %s needs a name in language %q", r.Kind, lang)
			}
		}
	}
	return w.checkHosts(r)
}

func (w *work) checkHosts(r *cityid.Record) error {
	for _, l := range r.Content.Links {
		host, err := cityid.LinkHost(l.Href)
		if err != nil {
			return err
		}
		approved := r.Parent.IsZero() && cityid.HostCovered(r.Content.Hosts, host)
		for p := range w.lineage(w.above(r)) {
			approved = approved || cityid.HostCovered(p.Content.Hosts, host)
		}
		if !approved {
			asked := r.Parent
			if asked.IsZero() {
				asked = r.Code
			}
			return cityid.Errorf(cityid.ErrNotPermitted, "nobody above the code approves links to %s: ask for it to be added to the link hosts of %s", host, asked)
		}
	}
	return nil
}

// setAlias enters a crosswalk value for code.
func (w *work) setAlias(code cityid.Code, a cityid.Alias) error {
	s, err := w.scheme(a.Scheme)
	if err != nil {
		return err
	}
	if len(s.Patterns) > 0 && !slices.ContainsFunc(s.Patterns, func(p string) bool { return cityid.MatchPattern(p, a.Value) }) {
		return cityid.Errorf(cityid.ErrCrosswalk, "values of scheme %s have the form %s, not %q", s.Name, strings.Join(s.Patterns, " or "), a.Value)
	}
	w.set(cityid.CrosswalkKey(a.Scheme, a.Value, code), &a)
	return nil
}
