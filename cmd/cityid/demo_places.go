// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/csv"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"cityid"
)

// The facts; demodata/README.md says what they are.
var (
	//go:embed demodata/provinces-cn.csv
	demoProvincesCSV []byte
	//go:embed demodata/cities-cn.csv
	demoCitiesCSV []byte
)

const (
	demoGroup    = 20 // places in one transaction
	demoInFlight = 16 // transactions under way at a time
)

// demoPlace is a province or city as the facts have it.
type demoPlace struct {
	code     cityid.Code
	kind     cityid.Kind
	names    cityid.Names
	gb2260   string
	location *cityid.Location // of cities
}

// demoFacts are the places in the order in which they apply: a city after its
// province.
type demoFacts struct {
	provinces []demoPlace // 27 provinces and the four municipalities, which are cities as well
	cities    []demoPlace // the other 333
}

// readDemoFacts parses the embedded tables.
func readDemoFacts() (*demoFacts, error) {
	cities, err := demoTable(demoCitiesCSV, "code", "gb2260", "name_zh", "name_en", "province", "lon", "lat")
	if err != nil {
		return nil, fmt.Errorf("cities: %w", err)
	}
	provinces, err := demoTable(demoProvincesCSV, "code", "name_zh", "name_en", "gb2260", "municipality")
	if err != nil {
		return nil, fmt.Errorf("provinces: %w", err)
	}
	var f demoFacts
	municipalities := map[string]demoPlace{}
	for _, r := range cities {
		p, err := newDemoPlace(cityid.KindCity, r[0], r[2], r[3], r[1])
		if err != nil {
			return nil, err
		}
		if p.location, err = parseLocation(r[6] + "," + r[5]); err != nil {
			return nil, fmt.Errorf("city %s: %w", r[0], err)
		}
		if r[0] == r[4] {
			municipalities[r[0]] = p
			continue
		}
		if !strings.HasPrefix(r[0], r[4]) {
			return nil, fmt.Errorf("city %s does not lie in province %s", r[0], r[4])
		}
		f.cities = append(f.cities, p)
	}
	for _, r := range provinces {
		p, err := newDemoPlace(cityid.KindProvince, r[0], r[1], r[2], r[3])
		if err != nil {
			return nil, err
		}
		if m, ok := municipalities[r[0]]; ok != (r[4] == "yes") {
			return nil, fmt.Errorf("province %s: the tables differ on whether it is a municipality", r[0])
		} else if ok {
			p = m
		}
		f.provinces = append(f.provinces, p)
	}
	return &f, nil
}

// demoTable reads a table whose header has exactly these columns.
func demoTable(b []byte, columns ...string) ([][]string, error) {
	r := csv.NewReader(bytes.NewReader(b))
	r.FieldsPerRecord = len(columns)
	rows, err := r.ReadAll()
	if err != nil {
		return nil, err
	}
	if len(rows) == 0 || !slices.Equal(rows[0], columns) {
		return nil, fmt.Errorf("want the columns %s", strings.Join(columns, ", "))
	}
	return rows[1:], nil
}

func newDemoPlace(kind cityid.Kind, place, zh, en, gb2260 string) (demoPlace, error) {
	code, err := cityid.ParseCanonical(demoApex.String() + "." + place)
	if err != nil {
		return demoPlace{}, err
	}
	names := cityid.NamesOf(map[string]string{"zh": zh, "en": en})
	return demoPlace{code: code, kind: kind, names: names, gb2260: gb2260}, nil
}

// provinces brings the 31 provinces and municipalities through application and
// approval.
func (d *demo) provinces(ctx context.Context, t *stepTalk) (string, error) {
	n, err := d.places(ctx, t, d.facts.provinces)
	return applied(n, "27 provinces and 4 municipalities, each approved by two institutes"), err
}

// cities does the same for all other cities.
func (d *demo) cities(ctx context.Context, t *stepTalk) (string, error) {
	n, err := d.places(ctx, t, d.facts.cities)
	return applied(n, "337 cities with the municipalities, each with its GB/T 2260 number"), err
}

func applied(n int, what string) string {
	if n == 0 {
		return what + "\nthere already"
	}
	return what
}

// places lets every place apply that has no code yet, and has two institutes
// approve it. It returns how many it was. An application that an interrupted
// demo left open is taken up again.
func (d *demo) places(ctx context.Context, t *stepTalk, places []demoPlace) (int, error) {
	have, err := d.allocated(ctx)
	if err != nil {
		return 0, err
	}
	missing := slices.DeleteFunc(slices.Clone(places), func(p demoPlace) bool { return have[p.code] })
	if len(missing) == 0 {
		return 0, nil
	}
	desk, err := d.openDesk(ctx)
	if err != nil {
		return 0, err
	}
	groups := slices.Collect(slices.Chunk(missing, demoGroup))
	var done atomic.Int64
	err = inFlight(ctx, len(groups), func(ctx context.Context, i int) error {
		if err := desk.decide(ctx, i, groups[i]); err != nil {
			return err
		}
		t.progress(int(done.Add(int64(len(groups[i])))), len(missing))
		return nil
	})
	if err != nil {
		return 0, err
	}
	if have, err = d.allocated(ctx); err != nil {
		return 0, err
	}
	for _, p := range places {
		if !have[p.code] {
			return 0, fmt.Errorf("%s has been approved and is not allocated", p.code)
		}
	}
	return len(missing), nil
}

// allocated returns the provinces and cities that have a code.
func (d *demo) allocated(ctx context.Context) (map[cityid.Code]bool, error) {
	have := map[cityid.Code]bool{}
	for _, kind := range []cityid.Kind{cityid.KindProvince, cityid.KindCity} {
		q := cityid.ChildrenQuery{Code: demoApex, Deep: true, Kind: kind, Limit: 1000}
		for {
			page, err := d.local.Children(ctx, q)
			if err != nil {
				return nil, err
			}
			for i := range page.Records {
				have[page.Records[i].Code] = true
			}
			if q.After = page.Next; q.After.IsZero() {
				break
			}
		}
	}
	return have, nil
}

// inFlight calls do for 0 to n-1, several at a time, and stops at the first
// error.
func inFlight(ctx context.Context, n int, do func(context.Context, int) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var next atomic.Int64
	var workers sync.WaitGroup
	for range min(n, demoInFlight) {
		workers.Go(func() {
			for ctx.Err() == nil {
				i := int(next.Add(1)) - 1
				if i >= n {
					return
				}
				if err := do(ctx, i); err != nil {
					cancel(err)
				}
			}
		})
	}
	workers.Wait()
	return context.Cause(ctx)
}

// desk is where applications are brought and decided: the officers of the three
// institutes, and what waits for them.
type desk struct {
	*demo
	intake, officer []cityid.Signer                        // of each institute
	waiting         map[cityid.Code]*cityid.ProposalAnswer // open applications
}

func (d *demo) openDesk(ctx context.Context) (*desk, error) {
	k := &desk{demo: d, waiting: map[cityid.Code]*cityid.ProposalAnswer{}}
	for i := range demoInstitutes {
		intake, err := d.folder.signer(institute(i, "intake"))
		if err != nil {
			return nil, err
		}
		officer, err := d.folder.signer(institute(i, "1"))
		if err != nil {
			return nil, err
		}
		k.intake, k.officer = append(k.intake, intake), append(k.officer, officer)
	}
	q := cityid.ProposalQuery{State: cityid.ProposalPending, Limit: 200}
	for {
		page, err := d.local.Proposals(ctx, q)
		if err != nil {
			return nil, err
		}
		for i := range page.Proposals {
			if p := &page.Proposals[i]; p.Proposal.Application() {
				k.waiting[p.Proposal.Operations[0].Allocate.Items[0].Code] = p
			}
		}
		if q.Before = page.Next; q.Before == 0 {
			return k, nil
		}
	}
}

// decide brings the applications of a group onto the chain through one
// institute, the institutes taking turns, and has two of them approve each.
func (k *desk) decide(ctx context.Context, turn int, group []demoPlace) error {
	applications, err := k.bring(ctx, turn, group)
	if err != nil {
		return err
	}
	for i := range demoInstitutes {
		who := (turn + i) % len(demoInstitutes)
		var ops []cityid.Operation
		for _, a := range applications {
			if approved, by := approvals(a); approved < 2 && !by[demoInstitutes[who]] {
				ops = append(ops, cityid.Operation{Approve: &cityid.Approve{Proposal: a.Proposal.Number, Digest: a.Digest}})
			}
		}
		if len(ops) == 0 {
			continue
		}
		if _, err := k.submit(ctx, ops, k.officer[who]); err != nil {
			return fmt.Errorf("%s approves: %w", demoInstitutes[who], err)
		}
		if applications, err = k.open(ctx, applications); err != nil {
			return err
		}
	}
	if len(applications) > 0 {
		return fmt.Errorf("application %d is approved by all and still open", applications[0].Proposal.Number)
	}
	return nil
}

// bring lets the places of a group apply that have not, and returns all their
// applications as an officer reads them.
func (k *desk) bring(ctx context.Context, turn int, group []demoPlace) ([]*cityid.ProposalAnswer, error) {
	var out []*cityid.ProposalAnswer
	var ops []cityid.Operation
	for i := range group {
		if p := k.waiting[group[i].code]; p != nil {
			out = append(out, p)
			continue
		}
		apply, err := k.application(&group[i])
		if err != nil {
			return nil, err
		}
		ops = append(ops, cityid.Operation{Apply: apply})
	}
	if len(ops) == 0 {
		return out, nil
	}
	r, err := k.submit(ctx, ops, k.intake[turn%len(k.intake)])
	if err != nil {
		return nil, fmt.Errorf("apply for %s: %w", group[0].code, err)
	}
	if len(r.Proposals) != len(ops) {
		return nil, fmt.Errorf("%d applications became %d proposals", len(ops), len(r.Proposals))
	}
	for i, number := range r.Proposals {
		p, err := k.local.Proposal(ctx, number)
		if err != nil {
			return nil, err
		}
		// An officer approves what was applied for, by its own digest.
		asked := cityid.Allocate{Items: []cityid.Allocation{ops[i].Apply.Allocation}}
		if len(p.Proposal.Operations) != 1 || !bytes.Equal(cityid.MustMarshal(p.Proposal.Operations[0].Allocate), cityid.MustMarshal(&asked)) || p.Proposal.Digest() != p.Digest {
			return nil, fmt.Errorf("application %d is not what %s applied for", number, asked.Items[0].Code)
		}
		out = append(out, p)
	}
	return out, nil
}

// application is what a place hands in: its names, its centre, its number in
// GB/T 2260, who signs for it, and the proof that each of them holds their key.
func (k *desk) application(p *demoPlace) (*cityid.Apply, error) {
	officers, err := k.folder.officers(p.code)
	if err != nil {
		return nil, err
	}
	policy := &cityid.Policy{Threshold: 1}
	for _, s := range officers {
		policy.Members = append(policy.Members, cityid.Member{Keys: []cityid.Key{{Public: s.Key, Roles: cityid.RoleControl}}})
	}
	f := cityid.ApplicationFile{Chain: k.network.chain, Apply: cityid.Apply{Allocation: cityid.Allocation{
		Code: p.code, Kind: p.kind, Policy: policy,
		Content: cityid.Content{Names: p.names, Location: p.location},
		Aliases: []cityid.Alias{{Scheme: "gb2260", Value: p.gb2260}},
	}}}
	if err := proveAll(&f, officers); err != nil {
		return nil, err
	}
	return &f.Apply, nil
}

// open returns those of the applications that are still open, as they are now.
func (k *desk) open(ctx context.Context, list []*cityid.ProposalAnswer) ([]*cityid.ProposalAnswer, error) {
	var out []*cityid.ProposalAnswer
	for _, p := range list {
		now, err := k.local.Proposal(ctx, p.Proposal.Number)
		if err != nil {
			return nil, err
		}
		switch now.State {
		case cityid.ProposalExecuted:
		case cityid.ProposalPending:
			out = append(out, now)
		default:
			return nil, fmt.Errorf("application %d is %s", now.Proposal.Number, now.State)
		}
	}
	return out, nil
}

// approvals returns how many institutes have approved, and which.
func approvals(p *cityid.ProposalAnswer) (int, map[cityid.Code]bool) {
	by := map[cityid.Code]bool{}
	for _, n := range p.Needs {
		for _, m := range n.Members {
			if m.Approved {
				by[m.Code] = true
			}
		}
	}
	return len(by), by
}
