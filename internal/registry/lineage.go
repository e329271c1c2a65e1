// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"iter"

	"cityid"
)

// A code stands below its parent; once that is retired, below the heir that the
// parent named, or that heir's heir. Whoever retires last names an heir for all
// that stands below it, so a living code never falls out of the hierarchy.

const (
	maxHeirs   = 32  // codes that may follow one another as heirs of the same living codes
	maxLineage = 128 // records from a code to its apex: the grammar has 28 levels, heirs may add some
)

// above returns the record that stands above r: its parent, or, when that is
// retired, the heir (or the heir's heir) it names. Nil for the apex.
func (w *work) above(r *cityid.Record) *cityid.Record {
	p := w.record(r.Parent)
	for n := 0; p != nil && p.Status == cityid.StatusRetired && !p.Heir.IsZero() && n <= maxHeirs; n++ {
		p = w.record(p.Heir)
	}
	return p
}

// lineage yields r and all that stands above it, the apex last.
func (w *work) lineage(r *cityid.Record) iter.Seq[*cityid.Record] {
	return func(yield func(*cityid.Record) bool) {
		for n := 0; r != nil && n < maxLineage && yield(r); n++ {
			r = w.above(r)
		}
	}
}

// care is what a code has to care for.
type care struct {
	_      struct{} `cbor:",toarray"`
	Living uint64   // codes not retired that stand right below it
	Heirs  uint32   // longest row of heirs through which some of them came to it
}

// careKey is where a code's care is stored: beside the counts of its children
// by kind, under the kind that does not exist.
func careKey(c cityid.Code) []byte { return cityid.ChildrenKey(c, 0) }

func (w *work) care(c cityid.Code) (x care) {
	w.load(careKey(c), &x)
	return x
}

func (w *work) setCare(c cityid.Code, x care) {
	if x.Living == 0 {
		w.delete(careKey(c))
		return
	}
	w.set(careKey(c), &x)
}

// births are new records below one parent, of one kind, which are not written yet:
// those of a batch mostly have the same.
type births struct {
	parent   cityid.Code
	kind     cityid.Kind
	n        uint64 // new ones
	children uint64 // before
}

// born counts a new record of a kind below parent, and returns how many it has now.
// When all are counted, count must follow.
func (w *work) born(b *births, parent cityid.Code, kind cityid.Kind) uint64 {
	if b.n == 0 || b.parent != parent || b.kind != kind {
		w.count(b)
		*b = births{parent: parent, kind: kind}
		w.load(cityid.ChildrenKey(parent, kind), &b.children)
	}
	b.n++
	return b.children + b.n
}

// count writes what was born.
func (w *work) count(b *births) {
	if b.n == 0 {
		return
	}
	w.set(cityid.ChildrenKey(b.parent, b.kind), b.children+b.n)
	x := w.care(b.parent)
	x.Living += b.n
	w.setCare(b.parent, x)
	b.n = 0
}

// passOn takes r, about to be retired, out of the care of what stands above it
// and hands what r cares for to the heir.
func (w *work) passOn(r *cityid.Record, heir cityid.Code) error {
	if up := w.above(r); up != nil {
		x := w.care(up.Code)
		x.Living--
		w.setCare(up.Code, x)
	}
	mine := w.care(r.Code)
	switch {
	case mine.Living == 0:
		return nil
	case heir.IsZero():
		return cityid.Errorf(cityid.ErrStatus, "%s has living codes below it, %d directly: name an heir whose policy governs them from now on", r.Code, mine.Living)
	case mine.Heirs >= maxHeirs:
		return cityid.Errorf(cityid.ErrStatus, "%s cares for codes that came to it through %d heirs in a row, the most there may be", r.Code, mine.Heirs)
	}
	x := w.care(heir)
	x.Living += mine.Living
	x.Heirs = max(x.Heirs, mine.Heirs+1)
	w.setCare(heir, x)
	w.setCare(r.Code, care{})
	return nil
}

// checkHeir refuses an heir that is not active or stands at or below code.
func (w *work) checkHeir(code, heir cityid.Code) error {
	h, err := w.existing(heir)
	if err != nil {
		return err
	}
	if h.Status != cityid.StatusActive {
		return cityid.Errorf(cityid.ErrStatus, "the heir %s is %s", heir, h.Status)
	}
	for x := range w.lineage(h) {
		if x.Code == code {
			return cityid.Errorf(cityid.ErrInvalid, "the heir %s stands at or below %s", heir, code)
		}
	}
	return nil
}

// governing returns the policy that governs code and the code that holds it:
// its own, or that of the nearest above it that has one. It fails unless the
// code and all above it are active.
func (w *work) governing(code cityid.Code) (*cityid.Policy, cityid.Code, error) {
	r, err := w.existing(code)
	if err != nil {
		return nil, code, err
	}
	var policy *cityid.Policy
	holder, top := code, r
	for x := range w.lineage(r) {
		if x.Status != cityid.StatusActive {
			return nil, x.Code, cityid.Errorf(cityid.ErrStatus, "%s is %s, so no policy at or below it acts", x.Code, x.Status)
		}
		if policy == nil && x.Policy != nil {
			policy, holder = x.Policy, x.Code
		}
		top = x
	}
	if policy == nil || !top.Parent.IsZero() {
		return nil, code, cityid.Errorf(cityid.ErrNotPermitted, "no policy governs %s", code)
	}
	return policy, holder, nil
}
