// SPDX-License-Identifier: Apache-2.0

package cityid

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// ward is a city with departments and lamp posts, in any state of its
// reorganisation.
type ward map[Code]*Record

func (w ward) record(_ context.Context, c Code) (*Record, error) {
	if r := w[c]; r != nil {
		return r, nil
	}
	return nil, Errorf(ErrNotFound, "%s is not allocated", c)
}

const (
	cityCode    = "MA.156.1301"
	urbanCode   = "MA.156.1301.01"
	trafficCode = "MA.156.1301.02"
	roadsCode   = "MA.156.1301.03"
	classCode   = "MA.156.1301.02/20.010501"
	lampCode    = "MA.156.1301.02/20.010501/000045"
	newLampCode = "MA.156.1301.02/20.010501/000046"
)

func newWard() ward {
	w := ward{}
	add := func(code, parent string, kind Kind) {
		r := &Record{Code: MustParse(code), Kind: kind, Status: StatusActive, Revision: 1}
		if parent != "" {
			r.Parent = MustParse(parent)
		}
		w[r.Code] = r
	}
	add("MA.156", "", KindAuthority)
	add("MA.156.13", "MA.156", KindProvince)
	add(cityCode, "MA.156.13", KindCity)
	add(urbanCode, cityCode, KindDepartment)
	add(trafficCode, cityCode, KindDepartment)
	add(roadsCode, cityCode, KindDepartment)
	add(classCode, trafficCode, KindClass)
	add(lampCode, classCode, KindObject)
	add(newLampCode, classCode, KindObject)
	return w
}

func (w ward) retire(code, heir string, successors ...string) {
	r := w[MustParse(code)]
	r.Status = StatusRetired
	if heir != "" {
		r.Heir = MustParse(heir)
	}
	for _, s := range successors {
		r.Successors = append(r.Successors, MustParse(s))
	}
}

func (w ward) set(code string, s Status) { w[MustParse(code)].Status = s }

func TestResponsible(t *testing.T) {
	for name, c := range map[string]struct {
		change func(ward)
		from   string
		way    string // steps as BY CODE, or an error's code at the end
	}{
		"a lamp post":        {func(ward) {}, lampCode, "itself " + lampCode + ", parent " + classCode + ", parent " + trafficCode},
		"a department":       {func(ward) {}, trafficCode, "itself " + trafficCode},
		"a city":             {func(ward) {}, cityCode, "itself " + cityCode},
		"a class of its own": {func(w ward) { w[MustParse(classCode)].Policy = &Policy{} }, lampCode, "itself " + lampCode + ", parent " + classCode},

		"merged, with an heir":    {func(w ward) { w.retire(trafficCode, urbanCode, urbanCode) }, lampCode, "itself " + lampCode + ", parent " + classCode + ", parent " + trafficCode + ", heir " + urbanCode},
		"merged, nothing below":   {func(w ward) { w.retire(trafficCode, "", urbanCode) }, trafficCode, "itself " + trafficCode + ", successor " + urbanCode},
		"merged twice":            {func(w ward) { w.retire(trafficCode, urbanCode); w.retire(urbanCode, "", roadsCode) }, trafficCode, "itself " + trafficCode + ", heir " + urbanCode + ", successor " + roadsCode},
		"split":                   {func(w ward) { w.retire(trafficCode, "", urbanCode, roadsCode) }, trafficCode, "itself " + trafficCode + ", split " + cityCode},
		"split, with an heir":     {func(w ward) { w.retire(trafficCode, roadsCode, urbanCode, roadsCode) }, lampCode, "itself " + lampCode + ", parent " + classCode + ", parent " + trafficCode + ", heir " + roadsCode},
		"closed":                  {func(w ward) { w.retire(trafficCode, "") }, trafficCode, "itself " + trafficCode + ", ended " + cityCode},
		"a lamp post replaced":    {func(w ward) { w.retire(lampCode, "", newLampCode) }, lampCode, "itself " + lampCode + ", successor " + newLampCode + ", parent " + classCode + ", parent " + trafficCode},
		"a lamp post removed":     {func(w ward) { w.retire(lampCode, "") }, lampCode, "itself " + lampCode + ", ended " + classCode + ", parent " + trafficCode},
		"suspended":               {func(w ward) { w.set(trafficCode, StatusSuspended) }, lampCode, "itself " + lampCode + ", parent " + classCode + ", parent " + trafficCode + ", idle " + cityCode},
		"not in use yet":          {func(w ward) { w.set(trafficCode, StatusReserved) }, trafficCode, "itself " + trafficCode + ", idle " + cityCode},
		"a suspended lamp post":   {func(w ward) { w.set(lampCode, StatusSuspended) }, lampCode, "itself " + lampCode + ", parent " + classCode + ", parent " + trafficCode},
		"merged into a suspended": {func(w ward) { w.retire(trafficCode, urbanCode); w.set(urbanCode, StatusSuspended) }, trafficCode, "itself " + trafficCode + ", heir " + urbanCode + ", idle " + cityCode},
		"a city under a retired province": {func(w ward) { w.set(cityCode, StatusSuspended); w.retire("MA.156.13", "MA.156") }, cityCode,
			"itself " + cityCode + ", idle MA.156.13, heir MA.156"},

		"not allocated":    {func(ward) {}, "MA.156.9999", "not-found"},
		"above not known":  {func(w ward) { delete(w, MustParse(trafficCode)) }, lampCode, "itself " + lampCode + ", parent " + classCode + ", not-found"},
		"nobody":           {func(w ward) { w.set("MA.156", StatusSuspended) }, "MA.156", "itself MA.156, not-found"},
		"in a circle":      {func(w ward) { w.retire(trafficCode, urbanCode); w.retire(urbanCode, trafficCode) }, trafficCode, "itself " + trafficCode + ", heir " + urbanCode + ", conflict"},
		"its own heir":     {func(w ward) { w.retire(trafficCode, trafficCode) }, trafficCode, "itself " + trafficCode + ", conflict"},
		"successor unseen": {func(w ward) { w.retire(trafficCode, "", "MA.156.1302") }, trafficCode, "itself " + trafficCode + ", not-found"},
	} {
		w := newWard()
		c.change(w)
		way, err := Responsible(t.Context(), MustParse(c.from), w.record)
		var got []string
		for _, s := range way {
			got = append(got, s.By.String()+" "+s.Code.String())
		}
		if err != nil {
			got = append(got, CodeOf(err).String())
		}
		if s := strings.Join(got, ", "); s != c.way {
			t.Errorf("%s:\n %s, want\n %s", name, s, c.way)
		}
	}
}

// TestResponsibleAnyhow reorganises at random: the way always ends, names each
// code once, and ends at somebody who can act, unless it says why not.
func TestResponsibleAnyhow(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 7))
	for range 5000 {
		w := newWard()
		var codes []Code
		for c := range w {
			codes = append(codes, c)
		}
		slices.SortFunc(codes, Code.Compare)
		some := func() string { return codes[r.IntN(len(codes))].String() }
		for range r.IntN(8) {
			switch r.IntN(4) {
			case 0:
				w.retire(some(), some())
			case 1:
				w.retire(some(), "", some())
			case 2:
				w.retire(some(), "", some(), some())
			case 3:
				w.set(some(), StatusSuspended)
			}
		}
		from := MustParse(some())
		way, err := Responsible(t.Context(), from, w.record)
		seen := map[Code]bool{}
		for _, s := range way {
			if seen[s.Code] {
				t.Fatalf("from %s: %v passes %s twice", from, way, s.Code)
			}
			seen[s.Code] = true
		}
		if err == nil {
			if last := way[len(way)-1]; last.Status != StatusActive || last.Kind == KindClass || last.Kind == KindObject {
				t.Fatalf("from %s: %v ends at %+v", from, way, last)
			}
		} else if code := CodeOf(err); code != ErrNotFound && code != ErrConflict {
			t.Fatalf("from %s: %v", from, err)
		}
	}
}

// TestResponsibleBounded follows a row of mergers that is too long.
func TestResponsibleBounded(t *testing.T) {
	calls := 0
	_, err := Responsible(t.Context(), MustParse("MA.156.1"), func(_ context.Context, c Code) (*Record, error) {
		calls++
		return &Record{Code: c, Kind: KindDepartment, Status: StatusRetired, Heir: MustParse(fmt.Sprintf("MA.156.%d", calls+1))}, nil
	})
	if CodeOf(err) != ErrConflict || calls > maxDuty {
		t.Errorf("after %d records: %v", calls, err)
	}
}
