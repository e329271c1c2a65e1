// SPDX-License-Identifier: Apache-2.0

package cityid

import (
	"math"
	"strings"
	"testing"
)

func TestRulesetAt(t *testing.T) {
	planned := Ruleset{Revision: 3, Version: 2, Since: 5, Plan: &Upgrade{Version: 4, Height: 20}}
	for _, x := range []struct {
		stored   Ruleset
		height   uint64
		version  uint32
		since    uint64
		planned  bool
		revision uint32
	}{
		{Ruleset{}, 0, FoundingRules, 0, false, 0},
		{Ruleset{}, math.MaxUint64, FoundingRules, 0, false, 0},
		{planned, 19, 2, 5, true, 3},
		{planned, 20, 4, 20, false, 3},
		{planned, 21, 4, 20, false, 3},
	} {
		got := x.stored.At(x.height)
		if got.Version != x.version || got.Since != x.since || (got.Plan != nil) != x.planned || got.Revision != x.revision {
			t.Errorf("%+v at %d: %+v", x.stored, x.height, got)
		}
		if again := got.At(x.height); again != got {
			t.Errorf("%+v at %d: %+v, and again %+v", x.stored, x.height, got, again)
		}
	}
	if planned.Plan == nil || planned.Version != 2 {
		t.Error("looking at it changed it")
	}
}

func TestUpgradeCheck(t *testing.T) {
	now := Ruleset{Version: 2}
	good := Upgrade{Version: 3, Height: 110, Release: "cityid 3", Href: "https://example.cn/notes", Digest: Digest{1}}
	for name, x := range map[string]struct {
		change func(*Upgrade)
		wrong  string // part of the message; empty: nothing is wrong
	}{
		"good":          {func(*Upgrade) {}, ""},
		"skips one":     {func(u *Upgrade) { u.Version = 9 }, ""},
		"no address":    {func(u *Upgrade) { u.Href, u.Digest = "", Digest{} }, ""},
		"farthest":      {func(u *Upgrade) { u.Height = 100 + maxUpgradeAhead }, ""},
		"no version":    {func(u *Upgrade) { u.Version = 0 }, "not greater"},
		"same version":  {func(u *Upgrade) { u.Version = 2 }, "not greater"},
		"too soon":      {func(u *Upgrade) { u.Height = 109 }, "too soon"},
		"past":          {func(u *Upgrade) { u.Height = 1 }, "too soon"},
		"too far":       {func(u *Upgrade) { u.Height = 101 + maxUpgradeAhead }, "ahead"},
		"beyond":        {func(u *Upgrade) { u.Height = math.MaxUint64 }, "ahead"},
		"no release":    {func(u *Upgrade) { u.Release = "" }, "empty"},
		"long release":  {func(u *Upgrade) { u.Release = strings.Repeat("x", 201) }, "at most 200"},
		"two lines":     {func(u *Upgrade) { u.Release = "a\nb" }, "control character"},
		"other address": {func(u *Upgrade) { u.Href = "javascript:alert(1)" }, "link target"},
		"digest alone":  {func(u *Upgrade) { u.Href = "" }, "no address"},
	} {
		u := good
		x.change(&u)
		err := u.Check(now, 100, 10)
		if x.wrong == "" && err != nil || x.wrong != "" && (err == nil || CodeOf(err) == OK || !strings.Contains(err.Error(), x.wrong)) {
			t.Errorf("%s: %v, want %q", name, err, x.wrong)
		}
	}
	if s := good.String(); s != "cityid 3, which has version 3 of the rules (https://example.cn/notes), SHA-256 "+good.Digest.String() {
		t.Error(s)
	}
}
