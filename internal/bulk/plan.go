// SPDX-License-Identifier: Apache-2.0

package bulk

import (
	"cmp"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"

	"cityid"
)

// Item is one allocation of a plan.
type Item struct {
	Line       int // of the row it stands for; 0: a class that rows need and the table does not have
	Allocation cityid.Allocation
}

// Batch is what one transaction allocates.
type Batch struct {
	Level int // batches of a lower level come first: their codes are parents of this one's
	Items []Item
}

// Plan is a checked table in the order in which it is carried out. The same
// table and options give the same plan. It must not be changed.
type Plan struct {
	Parent   cityid.Code
	Batches  []Batch // in order of level, then of code
	Digest   cityid.Digest
	Rows     int                    // allocations that stand for rows
	Classes  []cityid.Code          // classes added because rows need them, in order; left out when run if they exist
	Sealed   []cityid.SealedContent // contents that do not go on the chain, in order of the table
	Warnings Problems               // what is legal but seldom meant
}

// NewPlan checks the table whole and plans its import. If anything is wrong
// with the table the error is a [Problems] that names it all.
func NewPlan(t *Table, o Options) (*Plan, error) {
	if o.Parent.IsZero() {
		return nil, errors.New("a bulk import needs the parent below which all codes lie")
	}
	if o.Width < 0 || o.Width > 25 {
		return nil, fmt.Errorf("width %d: want 1 to 25 digits", o.Width)
	}
	o.Language = cmp.Or(o.Language, "zh")
	if o.BatchSize <= 0 || o.BatchSize > MaxBatch {
		o.BatchSize = MaxBatch
	}
	cols, problems := columnsOf(t, &o)
	if len(problems) > 0 {
		return nil, problems
	}
	p := &parser{t: t, o: &o, cols: cols, lines: make(map[cityid.Code]int, len(t.Rows))}
	for k := range cols {
		if f := cols[k].field; f < fieldIgnored {
			p.byField[f] = &cols[k]
		}
	}
	p.lost = p.lostZeros()
	for i := range t.Rows {
		p.row(i)
	}
	if err := p.checkParents(); err != nil {
		return nil, err
	}
	if len(p.problems) > 0 {
		p.problems.sort()
		return nil, p.problems
	}
	if len(p.items) == 0 {
		return nil, fmt.Errorf("%s: there are no rows below the header", t.Name)
	}
	return p.plan(), nil
}

// checkParents reports rows whose parent is neither in the table, nor a class
// that the plan adds, nor allocated. Without a caller's Exists it does nothing.
func (p *parser) checkParents() error {
	if p.o.Exists == nil {
		return nil
	}
	classRule := (*cityid.KindRule)(nil)
	if p.o.Settings != nil {
		classRule = p.o.Settings.Rule.ForKind(cityid.KindClass)
	}
	known := map[cityid.Code]bool{p.o.Parent: true}
	for _, item := range p.items {
		parent := parentAmong(p.lines, &item.Allocation)
		if _, here := p.lines[parent]; here {
			continue
		}
		exists, asked := known[parent]
		if !asked {
			var err error
			if exists, err = p.o.Exists(parent); err != nil {
				return fmt.Errorf("ask whether %s is allocated: %w", parent, err)
			}
			known[parent] = exists
		}
		format := ""
		switch derived := parent.Class() != "" && parent.Item() == ""; {
		case exists:
		case !derived:
			format = "its parent %s is not allocated: allocate it first, or add a row for it"
		case classRule != nil && len(classRule.Languages)+len(classRule.Schemes) > 0:
			format = "its class %s is not allocated and needs a name: add a row for it with kind class"
		}
		if format != "" {
			problem := problemf(item.Line, format, parent)
			problem.Value = item.Allocation.Code.String()
			p.problems = append(p.problems, problem)
		}
	}
	return nil
}

// plan orders the items in batches.
func (p *parser) plan() *Plan {
	plan := &Plan{Parent: p.o.Parent, Rows: len(p.items), Sealed: p.sealed, Warnings: p.sharedAliases()}
	items := p.items
	level := make(map[cityid.Code]int, len(items)) // of all codes in the plan
	for i := range items {
		level[items[i].Allocation.Code] = 0
	}
	for i := range p.items {
		for c := p.items[i].Allocation.Code.Parent(); c.Class() != "" && p.o.Parent.Covers(c); c = c.Parent() {
			if _, here := level[c]; here || c.Item() != "" {
				continue
			}
			level[c] = 0
			plan.Classes = append(plan.Classes, c)
			items = append(items, Item{Allocation: cityid.Allocation{Code: c, Kind: cityid.KindClass}})
		}
	}
	slices.SortFunc(plan.Classes, cityid.Code.Compare)
	slices.SortFunc(items, func(a, b Item) int { return a.Allocation.Code.Compare(b.Allocation.Code) })
	for i := range items { // in order of code, so that parents come first
		if above, here := level[parentAmong(level, &items[i].Allocation)]; here {
			level[items[i].Allocation.Code] = above + 1
		}
	}
	slices.SortStableFunc(items, func(a, b Item) int {
		return cmp.Compare(level[a.Allocation.Code], level[b.Allocation.Code])
	})
	plan.Digest, plan.Batches = p.batches(items, level)
	return plan
}

// parentAmong returns the parent that a will have, when the codes in the map
// are allocated: for a place the longest shorter place among them, if there is
// one, else the parent it names or the grammar's.
func parentAmong(codes map[cityid.Code]int, a *cityid.Allocation) cityid.Code {
	if a.Code.Depth() == 3 && a.Code.Place() != "" {
		s := a.Code.String()
		for n := 1; n < len(a.Code.Place()); n++ {
			if c, err := cityid.ParseCanonical(s[:len(s)-n]); err == nil {
				if _, here := codes[c]; here {
					return c
				}
			}
		}
	}
	if !a.Parent.IsZero() {
		return a.Parent
	}
	return a.Code.Parent()
}

// batches cuts the items into batches and returns them with the plan's digest.
func (p *parser) batches(items []Item, level map[cityid.Code]int) (cityid.Digest, []Batch) {
	var list []Batch
	hash := sha256.New()
	hash.Write([]byte("cityid/import/1"))
	hash.Write(cityid.MustMarshal(p.o.Parent))
	size := 0
	for i := range items {
		item := &items[i].Allocation
		encoded := cityid.MustMarshal(item)
		last := len(list) - 1
		if last < 0 || list[last].Level != level[item.Code] || len(list[last].Items) == p.o.BatchSize || size+len(encoded) > MaxBatchBytes {
			list = append(list, Batch{Level: level[item.Code]})
			hash.Write([]byte{0xff}) // no encoding begins with it
			last, size = last+1, 0
		}
		hash.Write(encoded)
		size += len(encoded)
		list[last].Items = append(list[last].Items, items[i])
	}
	return cityid.Digest(hash.Sum(nil)), list
}

// sharedAliases warns of crosswalk values that several rows carry.
func (p *parser) sharedAliases() Problems {
	type key struct{ scheme, value string }
	first := map[key]int{}
	var warnings Problems
	for _, item := range p.items {
		for _, a := range item.Allocation.Aliases {
			k := key{a.Scheme, a.Value}
			if line, seen := first[k]; seen {
				warning := problemf(item.Line, "line %d has the same value: both codes will answer to it", line)
				warning.Column, warning.Value = "alias:"+a.Scheme, a.Value
				warnings = append(warnings, warning)
				continue
			}
			first[k] = item.Line
		}
	}
	return warnings
}
