// SPDX-License-Identifier: Apache-2.0

package portal

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"cityid"
)

// canHold reports whether the grammar lets a code of a kind stand right below
// another.
func canHold(parent cityid.Code, kind cityid.Kind) bool {
	switch kind {
	case cityid.KindObject, cityid.KindDataset, cityid.KindSource:
		return parent.Class() != ""
	case cityid.KindClass:
		return parent.Item() == ""
	}
	return parent.Class() == ""
}

// isPlaceKind reports whether codes of a kind name a place by their third node.
func isPlaceKind(k cityid.Kind) bool {
	return k == cityid.KindProvince || k == cityid.KindCity || k == cityid.KindCounty
}

// childCode makes the code of a kind below a parent from its last node, or takes
// it whole.
func childCode(parent *cityid.Record, kind cityid.Kind, text string) (cityid.Code, error) {
	if strings.HasPrefix(text, parent.Code.IAC()+".") {
		return cityid.Parse(text)
	}
	separator := "."
	switch {
	case isPlaceKind(kind) && isPlaceKind(parent.Kind) && parent.Code.Depth() == 3:
		// A place below a place stands beside it, and its digits begin with it.
		return cityid.Parse(parent.Code.IAC() + "." + parent.Code.Country() + "." + text)
	case kind == cityid.KindClass && parent.Code.Class() == "":
		separator = "/"
	case parent.Code.Class() != "" && parent.Code.Item() == "" && kind != cityid.KindClass:
		separator = "/"
	}
	return cityid.Parse(parent.Code.String() + separator + text)
}

// nextCode suggests the next free code of a kind: digits of one width are
// counted up from the highest that is allocated. Where the rule's pattern is no
// run of digits, nothing is suggested.
func (pg *page) nextCode(parent *cityid.Record, k *cityid.KindRule) (cityid.Code, error) {
	if k.Kind == cityid.KindClass {
		return cityid.Code{}, nil
	}
	prefix, width := "", 0
	if isPlaceKind(k.Kind) && isPlaceKind(parent.Kind) {
		prefix = parent.Code.Place()
	}
	for _, p := range k.Patterns {
		if strings.Trim(p, "#") == "" && len(p) > len(prefix) {
			width = len(p) - len(prefix)
			break
		}
	}
	if width == 0 {
		if len(k.Patterns) > 0 {
			return cityid.Code{}, nil
		}
		got, err := pg.Source.Children(pg.ctx, cityid.ChildrenQuery{Code: parent.Code, Kind: k.Kind, Limit: 1})
		if err != nil {
			return cityid.Code{}, err
		}
		switch {
		case len(got.Records) > 0 && allDigits(got.Records[0].Code.LastNode()):
			width = len(got.Records[0].Code.LastNode())
		case k.Kind == cityid.KindObject:
			width = 6
		default:
			return cityid.Code{}, nil
		}
	}
	if width > 9 {
		return cityid.Code{}, nil
	}
	return pg.afterHighest(parent, k.Kind, prefix, width)
}

func allDigits(s string) bool {
	return s != "" && strings.Trim(s, "0123456789") == ""
}

// afterHighest finds the highest number of a width below parent by halving, and
// returns the code after it; none if all are taken.
func (pg *page) afterHighest(parent *cityid.Record, kind cityid.Kind, prefix string, width int) (cityid.Code, error) {
	low, high := 0, 1 // the highest is at least low and below high
	for range width {
		high *= 10
	}
	most := high
	for low+1 < high {
		mid := (low + high) / 2
		there, err := pg.anyFrom(parent, kind, prefix, width, mid)
		if err != nil {
			return cityid.Code{}, err
		}
		if there {
			low = mid
		} else {
			high = mid
		}
	}
	for n := low + 1; n < most && n < low+100; n++ {
		c, err := childCode(parent, kind, prefix+fmt.Sprintf("%0*d", width, n))
		if err != nil {
			return cityid.Code{}, nil // the grammar has no such code
		}
		_, err = pg.Source.Record(pg.ctx, c)
		if errors.Is(err, cityid.ErrNotFound) {
			return c, nil
		}
		if err != nil {
			return cityid.Code{}, err
		}
	}
	return cityid.Code{}, nil
}

// anyFrom reports whether a number of the width from n on is allocated.
func (pg *page) anyFrom(parent *cityid.Record, kind cityid.Kind, prefix string, width, n int) (bool, error) {
	after, err := childCode(parent, kind, prefix+fmt.Sprintf("%0*d", width, n-1))
	if err != nil {
		return false, nil
	}
	q := cityid.ChildrenQuery{Code: parent.Code, Kind: kind, After: after, Limit: 20}
	for range 5 {
		got, err := pg.Source.Children(pg.ctx, q)
		if err != nil {
			return false, err
		}
		for i := range got.Records {
			digits, ok := strings.CutPrefix(got.Records[i].Code.LastNode(), prefix)
			if !ok || len(digits) != width || !allDigits(digits) {
				continue
			}
			if x, err := strconv.Atoi(digits); err == nil && x >= n {
				return true, nil
			}
		}
		if q.After = got.Next; q.After.IsZero() {
			return false, nil
		}
	}
	return false, nil
}
