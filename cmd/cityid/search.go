// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"strings"

	"cityid"
)

func searchCommand() *command {
	return &command{
		name: "search", args: "[TEXT]", short: "find codes by name, the beginning of a code, a mistyped code, or a number of another system",
		long: "Words are found in names of any language: Latin words by their beginning, Chinese by any part. Without a text\nall that fits the flags is found. Exit code 3 says that nothing was found.",
		examples: []string{
			"cityid search 石家庄",
			"cityid search 'street lamp' --below MA.156.1301 --status active --format csv",
			"cityid search --kind city --near 38.04,114.51 --limit 5",
		},
		setup: search,
	}
}

func search(f *flags) func(context.Context, []string) error {
	var kinds, statuses list
	f.Var(&kinds, "kind", "only this kind; several with commas between or by repeating the flag")
	f.Var(&statuses, "status", "only this status; several with commas between or by repeating the flag")
	below := f.String("below", "", "only what is below this `code`")
	near := f.String("near", "", "what has a location, the nearest to `LAT,LON` first")
	box := f.String("box", "", "only what lies inside `SOUTH,WEST,NORTH,EAST`, in degrees")
	height := f.Uint64("min-height", 0, "wait until the node's index has seen this block")
	limit := f.Int("limit", 20, "how many at most")
	return func(ctx context.Context, args []string) error {
		q := cityid.SearchQuery{Text: strings.Join(args, " "), MinHeight: *height}
		if *limit < 1 {
			return usagef("--limit %d: want 1 or more", *limit)
		}
		var err error
		if q.Kinds, err = named[cityid.Kind](kinds); err != nil {
			return err
		}
		if q.Statuses, err = named[cityid.Status](statuses); err != nil {
			return err
		}
		if *below != "" {
			if q.Below, err = parseCode(*below); err != nil {
				return err
			}
		}
		if *near != "" {
			v, err := degreesFlag("near", *near, 2)
			if err != nil {
				return err
			}
			q.Near = &cityid.Location{Lat: v[0], Lon: v[1]}
		}
		if *box != "" {
			v, err := degreesFlag("box", *box, 4)
			if err != nil {
				return err
			}
			q.Box = &cityid.Box{South: v[0], West: v[1], North: v[2], East: v[3]}
		}
		return f.searchAll(ctx, q, *limit)
	}
}

// searchAll asks for pages until there are enough hits, and prints them.
func (f *flags) searchAll(ctx context.Context, q cityid.SearchQuery, limit int) error {
	c, err := f.connect()
	if err != nil {
		return err
	}
	var hits []cityid.SearchHit
	for len(hits) < limit {
		q.Limit = min(100, limit-len(hits))
		page, err := c.Search(ctx, q)
		if err != nil {
			return err
		}
		if q.After == "" {
			f.talkOfPage(page)
		}
		hits = append(hits, page.Hits...)
		if q.After = page.Next; q.After == "" {
			break
		}
	}
	if len(hits) == 0 {
		return cityid.Errorf(cityid.ErrNotFound, "nothing was found")
	}
	if q.After != "" {
		f.talk("there is more: --limit shows it")
	}
	return f.print(hitList(hits, q.Near != nil))
}

func (f *flags) talkOfPage(page *cityid.SearchPage) {
	if page.Partial {
		f.talk("the node is still building its index: more may match")
	}
	for _, code := range page.Suggest {
		f.talk("did you mean %s?", code.Display())
	}
}

func hitList(hits []cityid.SearchHit, near bool) *table {
	t := &table{head: []string{"code", "kind", "status", "name", "matched"}}
	if near {
		t.head = append(t.head, "metres")
	}
	for i := range hits {
		h := &hits[i]
		name := h.Names.Get("zh")
		if en := h.Names.Get("en"); en != name && en != "" {
			name += " " + en
		}
		matched := ""
		if h.Alias != nil {
			matched = h.Alias.Scheme + ":" + h.Alias.Value
		}
		cells := []string{h.Code.String(), h.Kind.String(), h.Status.String(), name, matched}
		if near {
			cells = append(cells, fmt.Sprint(h.Distance))
		}
		t.add(h, cells...)
	}
	return t
}

// named parses names given with commas between or one at a time.
func named[T any, P interface {
	*T
	UnmarshalText([]byte) error
}](given list) ([]T, error) {
	var out []T
	for _, g := range given {
		for s := range strings.SplitSeq(g, ",") {
			var v T
			if err := P(&v).UnmarshalText([]byte(strings.TrimSpace(s))); err != nil {
				return nil, usageError{err}
			}
			out = append(out, v)
		}
	}
	return out, nil
}

// degreesFlag parses n decimal degrees, latitudes and longitudes in turn.
func degreesFlag(name, s string, n int) ([]int32, error) {
	parts := strings.Split(s, ",")
	if len(parts) != n {
		return nil, usagef("--%s %s: want %d decimal degrees with commas between", name, s, n)
	}
	out := make([]int32, n)
	for i, p := range parts {
		v, err := cityid.ParseDegrees(strings.TrimSpace(p), int32(90*(1+i%2)))
		if err != nil {
			return nil, usagef("--%s: %v", name, err)
		}
		out[i] = v
	}
	return out, nil
}
