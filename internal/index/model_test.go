// SPDX-License-Identifier: Apache-2.0

package index

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"cityid"
)

// model searches by looking at every record.
type model struct {
	records map[cityid.Code]cityid.Record
	arrival map[cityid.Code]int
}

func newModel(records []cityid.Record) *model {
	m := &model{map[cityid.Code]cityid.Record{}, map[cityid.Code]int{}}
	for _, r := range records {
		m.put(r)
	}
	return m
}

func (m *model) put(r cityid.Record) {
	if _, ok := m.arrival[r.Code]; !ok {
		m.arrival[r.Code] = len(m.arrival)
	}
	m.records[r.Code] = r
}

func (m *model) below(top, code cityid.Code) bool {
	for p := m.records[code].Parent; !p.IsZero(); p = m.records[p].Parent {
		if p == top {
			return true
		}
	}
	return false
}

// tier is the best tier a record is in; 0: it does not match.
func (m *model) tier(q *cityid.SearchQuery, r *cityid.Record) int {
	text := strings.TrimSpace(q.Text)
	if text == "" {
		return tierAll
	}
	code, err := cityid.Parse(text)
	codeLike := strings.Contains(text, ".") && isCodeText(foldCode(text))
	plain := func(s string) string { return strings.Join(strings.Fields(Fold(s)), " ") }
	if err == nil && r.Code == code {
		return tierCode
	}
	for _, n := range r.Content.Names {
		if plain(n.Text) == plain(text) {
			return tierName
		}
	}
	for _, a := range r.Aliases {
		if plain(a.Value) == plain(text) {
			return tierAlias
		}
	}
	if codeLike && q.Near == nil && strings.HasPrefix(r.Code.String(), foldCode(text)) {
		return tierPrefix
	}
	for _, a := range r.Aliases {
		if len([]rune(text)) >= 3 && strings.HasPrefix(plain(a.Value), plain(text)) {
			return tierAliasPrefix
		}
	}
	if err == nil && q.Near != nil && m.below(code, r.Code) {
		return tierPrefix
	}
	if codeLike {
		return 0
	}
	words := Terms(Fold(text))
	for _, w := range words {
		found := false
		for _, n := range r.Content.Names {
			for _, t := range Terms(Fold(n.Text)) {
				found = found || t.Dense == w.Dense && (strings.HasPrefix(t.Text, w.Text) || w.Dense && strings.Contains(t.Text, w.Text))
			}
		}
		if !found {
			return 0
		}
	}
	if len(words) == 0 {
		return 0
	}
	return tierWords
}

// search returns all hits, in order.
func (m *model) search(q *cityid.SearchQuery) []string {
	type hit struct {
		key  [5]int64
		code cityid.Code
	}
	var hits []hit
	for _, r := range m.records {
		l := r.Content.Location
		if len(q.Kinds) > 0 && !slices.Contains(q.Kinds, r.Kind) || len(q.Statuses) > 0 && !slices.Contains(q.Statuses, r.Status) ||
			!q.Below.IsZero() && !m.below(q.Below, r.Code) ||
			q.Box != nil && (l == nil || l.Lat < q.Box.South || l.Lat > q.Box.North || l.Lon < q.Box.West || l.Lon > q.Box.East) ||
			q.Near != nil && l == nil {
			continue
		}
		tier := m.tier(q, &r)
		if tier == 0 {
			continue
		}
		key := [5]int64{int64(tier), 0, rankOf[r.Kind], int64(r.Code.Depth()), int64(m.arrival[r.Code])}
		if q.Near != nil {
			key[0], key[1], key[4] = 0, distance(q.Near, l), 0
		} else if tier == tierPrefix {
			key[4] = 0
		}
		hits = append(hits, hit{key, r.Code})
	}
	slices.SortFunc(hits, func(a, b hit) int { return cmp.Or(slices.Compare(a.key[:], b.key[:]), a.code.Compare(b.code)) })
	var out []string
	for _, h := range hits {
		out = append(out, h.code.String())
	}
	return out
}

// pages asks for all pages and returns the codes.
func pages(t *testing.T, x *Index, q cityid.SearchQuery, most int) []string {
	t.Helper()
	var out []string
	for {
		p, err := x.Search(context.Background(), q)
		if err != nil {
			t.Fatalf("%+v: %v", q, err)
		}
		for _, h := range p.Hits {
			out = append(out, h.Code.String())
		}
		if q.After = p.Next; q.After == "" || len(out) >= most {
			return out
		}
	}
}

// question makes a random query that often has an answer.
func question(r *rand.Rand, records []cityid.Record) cityid.SearchQuery {
	var q cityid.SearchQuery
	any := func() *cityid.Record { return &records[r.IntN(len(records))] }
	runes := func(s string) string {
		x := []rune(s)
		if len(x) == 0 {
			return ""
		}
		i := r.IntN(len(x))
		return string(x[i : i+1+r.IntN(min(6, len(x)-i))])
	}
	name := func() string {
		n := any().Content.Names
		if len(n) == 0 {
			return "路灯"
		}
		return n[r.IntN(len(n))].Text
	}
	switch r.IntN(12) {
	case 0, 1:
	case 2:
		q.Text = any().Code.String()
	case 3:
		c := any().Code.String()
		q.Text = c[:1+r.IntN(len(c))]
	case 4:
		q.Text = name()
	case 5:
		q.Text = runes(name())
	case 6:
		q.Text = runes(name()) + " " + runes(name())
	case 7:
		q.Text = strings.ToUpper(strings.Fields(name())[0])
	case 8:
		q.Text = []string{"长安街", "安街路", "灯", "LAMP", "ü", "urumqi", "ｓｔｒｅｅｔ", "xi an", "chang'an", "石家庄 lamp 0000", "号 no 000003", "?!", "一二三四"}[r.IntN(13)]
	default:
		if a := any().Aliases; len(a) > 0 {
			q.Text = a[0].Value[:1+r.IntN(len(a[0].Value))]
		} else {
			q.Text = "LD-1" + fmt.Sprint(r.IntN(20))
		}
	}
	for r.IntN(3) == 0 {
		q.Kinds = append(q.Kinds, any().Kind)
	}
	for r.IntN(4) == 0 {
		q.Statuses = append(q.Statuses, cityid.Status(1+r.IntN(4)))
	}
	if r.IntN(3) == 0 {
		q.Below = any().Code
		for range r.IntN(5) {
			if p := q.Below.Parent(); !p.IsZero() && p != cityid.MustParse("MA") {
				q.Below = p
			}
		}
	}
	at := cityid.Location{Lat: int32(r.IntN(900000000)) - 450000000, Lon: int32(r.IntN(1800000000)) - 900000000}
	if l := any().Content.Location; l != nil {
		at = *l
	}
	if r.IntN(3) == 0 {
		d := int32(1) << (8 + r.IntN(21))
		q.Box = &cityid.Box{South: max(-90e7, at.Lat-d), North: min(90e7, at.Lat+d/3), West: at.Lon - d, East: at.Lon + d}
	}
	if r.IntN(4) == 0 {
		q.Near = &at
	}
	q.Limit = 1 + r.IntN(100)
	return q
}

// TestModel compares thousands of answers with those of the model, on what was
// built and after each of some blocks that change and add records.
func TestModel(t *testing.T) {
	s := newRegistry(world(3000, 2))
	x := start(t, s, filepath.Join(t.TempDir(), "index.sqlite"))
	reach(t, x, s.height)
	m := newModel(s.records)
	r := rand.New(rand.NewPCG(1, 2))
	for round := range 5 {
		for range 120 {
			q := question(r, s.records)
			want := m.search(&q)
			most := 400
			got := pages(t, x, q, most)
			if len(got) < len(want) && len(got) >= most {
				want = want[:len(got)]
			}
			if !slices.Equal(got, want) {
				i := 0
				for i < len(got) && i < len(want) && got[i] == want[i] {
					i++
				}
				t.Fatalf("round %d: %+v near %v box %v: %d hits, want %d; from %d on %.5v, want %.5v", round, q, q.Near, q.Box, len(got), len(want), i, got[i:min(i+3, len(got))], want[i:min(i+3, len(want))])
			}
		}
		checkFacts(t, x, m)
		block := changes(r, s.records)
		reach(t, x, s.apply(block...))
		slices.SortFunc(block, func(a, b cityid.Record) int { return a.Code.Compare(b.Code) })
		for _, b := range block {
			m.put(b)
		}
	}
}

// changes makes a block: records that change name, place, status or crosswalk,
// and new ones, some below other new ones.
func changes(r *rand.Rand, records []cityid.Record) []cityid.Record {
	out := map[cityid.Code]cityid.Record{}
	for range 40 {
		x := records[r.IntN(len(records))]
		switch r.IntN(4) {
		case 0:
			x.Content.Names = names("新名字"+fmt.Sprint(r.IntN(9)), "Renamed")
		case 1:
			x.Content.Location = &cityid.Location{Lat: int32(r.IntN(1800000000)) - 900000000, Lon: int32(r.IntN(2000000000)) - 1000000000}
		case 2:
			x.Status = cityid.StatusRetired
			x.Content, x.Aliases = cityid.Content{}, nil
		default:
			x.Aliases = []cityid.Alias{{Scheme: "legacy", Value: fmt.Sprintf("NEW %d", r.IntN(50))}}
		}
		out[x.Code] = x
	}
	for range 10 {
		city := records[r.IntN(len(records))]
		if city.Kind != cityid.KindCity {
			continue
		}
		dept := cityid.Record{Code: cityid.MustParse(fmt.Sprintf("%s.N%d", city.Code, r.IntN(1000))), Parent: city.Code, Kind: cityid.KindDepartment, Status: cityid.StatusActive}
		dept.Content.Names = names("新部门", "New department")
		class := cityid.Record{Code: cityid.MustParse(dept.Code.String() + "/20.010299"), Parent: dept.Code, Kind: cityid.KindClass, Status: cityid.StatusActive}
		class.Content.Location = city.Content.Location
		out[dept.Code], out[class.Code] = dept, class
	}
	var list []cityid.Record
	for _, x := range out {
		list = append(list, x)
	}
	return list
}

// checkFacts compares counts and points with the model's.
func checkFacts(t *testing.T, x *Index, m *model) {
	t.Helper()
	ctx := context.Background()
	for _, top := range []cityid.Code{{}, apex, cityid.MustParse("MA.156.11"), cityid.MustParse("MA.156.1102"), cityid.MustParse("MA.156.1102.01/20.010201")} {
		want := map[cityid.Kind]uint64{}
		var located []string
		for code, r := range m.records {
			if !top.IsZero() && !m.below(top, code) {
				continue
			}
			want[r.Kind]++
			if r.Content.Location != nil {
				located = append(located, code.String())
			}
		}
		got, err := x.Counts(ctx, top)
		if err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
			t.Fatalf("below %s: %v, %v, want %v", top, got, err, want)
		}
		slices.Sort(located)
		everywhere := cityid.Box{South: -90e7, North: 90e7, West: -180e7, East: 180e7}
		points, err := x.Points(ctx, PointsQuery{Box: everywhere, Below: top, Limit: maxPoints})
		if err != nil {
			t.Fatal(err)
		}
		var codes []string
		for _, p := range points {
			codes = append(codes, p.Code.String())
		}
		if !slices.Equal(codes, located) {
			t.Fatalf("below %s: %d points, want %d", top, len(codes), len(located))
		}
		for _, limit := range []int{1, 50, 300} {
			points, err := x.Points(ctx, PointsQuery{Box: everywhere, Below: top, Limit: limit})
			if err != nil {
				t.Fatal(err)
			}
			var sum uint64
			for _, p := range points {
				sum += p.Count
			}
			if sum != uint64(len(located)) || len(points) > max(limit, 7*14) {
				t.Fatalf("below %s, limit %d: %d points count %d records, want %d", top, limit, len(points), sum, len(located))
			}
		}
	}
}
