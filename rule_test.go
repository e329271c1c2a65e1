// SPDX-License-Identifier: Apache-2.0

package cityid

import (
	"math/rand/v2"
	"regexp"
	"strings"
	"testing"
)

// TestMatchPattern compares patterns with regular expressions.
func TestMatchPattern(t *testing.T) {
	classes := map[byte]string{'#': "[0-9]", '@': "[A-Z]", '?': "[0-9A-Z]"}
	r := rand.New(rand.NewPCG(1, 1))
	draw := func(from string, n int) string {
		b := make([]byte, n)
		for i := range b {
			b[i] = from[r.IntN(len(from))]
		}
		return string(b)
	}
	matched := 0
	for range 50_000 {
		pattern := draw("#@?A1*-", 1+r.IntN(4))
		expr := "^(?s:"
		for i := range len(pattern) {
			switch c := pattern[i]; {
			case classes[c] != "":
				expr += classes[c]
			case c == '*' && i == len(pattern)-1:
				expr += ".*"
			default:
				expr += regexp.QuoteMeta(string(c))
			}
		}
		s := draw("0A1*-", r.IntN(5))
		want := regexp.MustCompile(expr + ")$").MatchString(s)
		if got := MatchPattern(pattern, s); got != want {
			t.Fatalf("pattern %q, %q: %v", pattern, s, got)
		}
		if want {
			matched++
		}
	}
	if matched < 1000 {
		t.Errorf("only %d matched", matched)
	}
}

func TestRuleCheck(t *testing.T) {
	if err := sampleRule().Check(); err != nil {
		t.Error(err)
	}
	for name, change := range map[string]func(r *Rule){
		"kind twice":              func(r *Rule) { r.Kinds = append(r.Kinds, r.Kinds[0]) },
		"unknown kind":            func(r *Rule) { r.Kinds[0].Kind = 99 },
		"kinds out of order":      func(r *Rule) { r.Kinds = append(r.Kinds, KindRule{Kind: KindAuthority}) },
		"unknown parent":          func(r *Rule) { r.Kinds[0].Parents = []Kind{0} },
		"empty pattern":           func(r *Rule) { r.Kinds[0].Patterns = []string{""} },
		"long pattern":            func(r *Rule) { r.Kinds[0].Patterns = []string{strings.Repeat("#", 26)} },
		"too many patterns":       func(r *Rule) { r.Kinds[0].Patterns = make([]string, 65) },
		"scheme name":             func(r *Rule) { r.Kinds[0].Schemes = []string{"GB"} },
		"language":                func(r *Rule) { r.Kinds[0].Languages = []string{"Chinese"} },
		"pre-approver":            func(r *Rule) { r.Kinds[0].PreApprover = 12 },
		"class without prefix":    func(r *Rule) { r.Classes[0].Prefix = "" },
		"class without rule":      func(r *Rule) { r.Classes[0].Disclosure = 0 },
		"classes out of order":    func(r *Rule) { r.Classes = append(r.Classes, ClassRule{Prefix: "10", Disclosure: 1}) },
		"too many classes":        func(r *Rule) { r.Classes = make([]ClassRule, 1001) },
		"more kinds than are":     func(r *Rule) { r.Kinds = make([]KindRule, len(kindNames)+1) },
		"class of unknown secret": func(r *Rule) { r.Classes[0].Disclosure = 4 },
	} {
		r := sampleRule()
		change(r)
		if err := r.Check(); CodeOf(err) != ErrInvalid && CodeOf(err) != ErrTooLarge {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestDisclosureOf(t *testing.T) {
	r := Rule{Classes: []ClassRule{{"20", DisclosureSealed}, {"20.01", DisclosureCoarse}, {"20.0102", DisclosureOpen}}}
	for class, want := range map[string]Disclosure{
		"": DisclosureOpen, "21.010203": DisclosureOpen, "20.030303": DisclosureSealed, "20.010303": DisclosureCoarse, "20.010203": DisclosureOpen,
	} {
		if got := r.DisclosureOf(class); got != want {
			t.Errorf("%s: %s", class, got)
		}
	}
	if sampleRule().ForKind(KindCity) == nil || sampleRule().ForKind(KindObject) != nil {
		t.Error("ForKind")
	}
}

func TestSchemeCheck(t *testing.T) {
	if err := sampleScheme().Check(); err != nil {
		t.Error(err)
	}
	for name, change := range map[string]func(s *Scheme){
		"no name":           func(s *Scheme) { s.Name = "" },
		"upper case":        func(s *Scheme) { s.Name = "GB" },
		"zero octet":        func(s *Scheme) { s.Name = "a\x00" },
		"long name":         func(s *Scheme) { s.Name = strings.Repeat("a", 25) },
		"empty pattern":     func(s *Scheme) { s.Patterns = []string{""} },
		"too many patterns": func(s *Scheme) { s.Patterns = make([]string, 17) },
		"title":             func(s *Scheme) { s.Titles[0].Text = "" },
	} {
		s := sampleScheme()
		change(s)
		if err := s.Check(); CodeOf(err) != ErrInvalid && CodeOf(err) != ErrTooLarge {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestCheckAliases(t *testing.T) {
	a := func(scheme, value string) Alias { return Alias{Scheme: scheme, Value: value} }
	for name, c := range map[string]struct {
		list []Alias
		ok   bool
	}{
		"none":              {nil, true},
		"in order":          {[]Alias{a("a", "1"), a("a", "2"), a("b", "1")}, true},
		"periods":           {[]Alias{{"a", "1", 5, 6}, {"a", "2", 5, 0}, {"a", "3", 0, 5}}, true},
		"out of order":      {[]Alias{a("b", "1"), a("a", "1")}, false},
		"twice":             {[]Alias{a("a", "1"), a("a", "1")}, false},
		"empty value":       {[]Alias{a("a", "")}, false},
		"zero octet":        {[]Alias{a("a", "1\x002")}, false},
		"long value":        {[]Alias{a("a", strings.Repeat("x", 65))}, false},
		"scheme":            {[]Alias{a("A", "1")}, false},
		"ends as it begins": {[]Alias{{"a", "1", 5, 5}}, false},
		"before 1970":       {[]Alias{{"a", "1", -5, 0}}, false},
		"too many":          {make([]Alias, MaxAliases+1), false},
	} {
		if err := CheckAliases(c.list); (err == nil) != c.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
	for at, want := range map[Time]bool{4: false, 5: true, 6: false} {
		if got := (Alias{From: 5, Until: 6}).Holds(at); got != want {
			t.Errorf("at %d: %v", at, got)
		}
	}
}

func TestParamsCheck(t *testing.T) {
	p := DefaultParams
	if err := p.Check(); err != nil {
		t.Error(err)
	}
	for _, change := range []func(p *Params){
		func(p *Params) { p.TxLifetime = 3601 }, func(p *Params) { p.RecoveryDelay = 7*86400 - 1 }, func(p *Params) { p.ApexDelay = 0 },
		func(p *Params) { p.ProposalLifetime = 3599 }, func(p *Params) { p.IntakeLimit = 0 }, func(p *Params) { p.ServiceLevel = 1 << 31 },
		func(p *Params) { p.UpgradeNotice = MaxUpgradeNotice + 1 },
	} {
		p := DefaultParams
		change(&p)
		if err := p.Check(); CodeOf(err) != ErrInvalid {
			t.Errorf("%+v: %v", p, err)
		}
	}
}
