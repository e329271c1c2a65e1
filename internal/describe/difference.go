// SPDX-License-Identifier: Apache-2.0

package describe

import (
	"strings"

	"cityid"
)

// Change is one line in which two descriptions differ.
type Change struct {
	Within string `json:"within,omitempty"` // the lines it stands under, outermost first, joined by " › "; empty at the top
	Old    string `json:"old,omitempty"`    // as it was; empty: added
	New    string `json:"new,omitempty"`    // as it is; empty: taken away
}

// placed is a line with the path of those it stands under.
type placed struct{ within, text string }

func place(lines []Line) []placed {
	var path []string
	out := make([]placed, len(lines))
	for i, l := range lines {
		path = append(path[:min(l.Depth, len(path))], l.Text)
		out[i] = placed{strings.Join(path[:len(path)-1], " › "), l.Text}
	}
	return out
}

// maxCompared bounds the work of finding the longest common part, in pairs of
// lines; beyond it all that differs counts as one replacement.
const maxCompared = 4_000_000

// Difference says what changed from old to new, for reviewers who have seen
// the old: none if and only if both say the same.
func Difference(lang string, old, new []cityid.Operation) []Change {
	oldLines, newLines := Operations(lang, old), Operations(lang, new)
	a, b := place(oldLines), place(newLines)
	// Lines are compared by their own words and depth, so that a changed
	// heading does not make everything under it differ.
	same := func(i, j int) bool {
		return oldLines[i] == newLines[j]
	}
	start := 0
	for start < len(a) && start < len(b) && same(start, start) {
		start++
	}
	endA, endB := len(a), len(b)
	for endA > start && endB > start && same(endA-1, endB-1) {
		endA, endB = endA-1, endB-1
	}
	n, m := endA-start, endB-start
	if n*m > maxCompared {
		return replace(a[start:endA], b[start:endB])
	}
	longest := make([][]int32, n+1)
	for i := range longest {
		longest[i] = make([]int32, m+1)
	}
	for i := n - 1; i >= 0; i-- {
		for j := m - 1; j >= 0; j-- {
			if same(start+i, start+j) {
				longest[i][j] = longest[i+1][j+1] + 1
			} else {
				longest[i][j] = max(longest[i+1][j], longest[i][j+1])
			}
		}
	}
	var out []Change
	i, j := 0, 0
	for i < n || j < m {
		fromI, fromJ := i, j
		for (i < n || j < m) && !(i < n && j < m && same(start+i, start+j)) {
			if j == m || i < n && longest[i+1][j] >= longest[i][j+1] {
				i++
			} else {
				j++
			}
		}
		out = append(out, replace(a[start+fromI:start+i], b[start+fromJ:start+j])...)
		for i < n && j < m && same(start+i, start+j) {
			i, j = i+1, j+1
		}
	}
	return out
}

// replace pairs lines that gave way to others in the same place: those that
// begin alike first, then one for one.
func replace(old, new []placed) []Change {
	out := make([]Change, 0, max(len(old), len(new)))
	used := make([]bool, len(new))
	for _, o := range old {
		best := -1
		for j, n := range new {
			if !used[j] && n.within == o.within && lead(n.text) == lead(o.text) {
				best = j
				break
			}
		}
		if best < 0 {
			out = append(out, Change{Within: o.within, Old: o.text})
			continue
		}
		used[best] = true
		out = append(out, Change{o.within, o.text, new[best].text})
	}
	for j, n := range new {
		if !used[j] {
			out = append(out, Change{Within: n.within, New: n.text})
		}
	}
	return out
}

// lead is what a line begins with: what kind of line it is.
func lead(text string) string {
	if i := strings.IndexAny(text, ":："); i >= 0 {
		return text[:i]
	}
	first, _, _ := strings.Cut(text, " ")
	return first
}
