// SPDX-License-Identifier: Apache-2.0

package bulk

import (
	"slices"
	"strings"

	"cityid"
)

// codeColumn returns the column that problems with a row's code name.
func (p *parser) codeColumn() *column {
	if c := p.byField[fieldCode]; c != nil {
		return c
	}
	return p.byField[fieldSerial]
}

// fitsShape reports whether a code of c's form can be a k: a class stands
// behind the first slash, items behind the second.
func fitsShape(c cityid.Code, k cityid.Kind) bool {
	switch k {
	case cityid.KindClass:
		return c.Class() != "" && c.Item() == ""
	case cityid.KindObject, cityid.KindDataset, cityid.KindSource:
		return c.Item() != ""
	case cityid.KindDepartment:
		return c.Class() == "" && len(c.Units()) > 0
	}
	return c.Class() == ""
}

// disclosureOf returns how much of the record of code may be published.
func disclosureOf(s *cityid.Settings, code cityid.Code) cityid.Disclosure {
	if s == nil || code.Item() == "" {
		return cityid.DisclosureOpen
	}
	return s.Rule.DisclosureOf(code.Class())
}

// rule holds row i, which became a, against what of the distribution rule can
// be judged without the registry's records. It is silent about columns that are
// bad already.
func (p *parser) rule(i int, a *cityid.Allocation, bad map[*column]bool) {
	if a.Kind == 0 {
		return
	}
	kindColumn := p.byField[fieldKind]
	if !fitsShape(a.Code, a.Kind) {
		p.report(i, kindColumn, "a code of the form %s can not be of kind %s", a.Code, a.Kind)
		return
	}
	if p.o.Settings == nil {
		return
	}
	k := p.o.Settings.Rule.ForKind(a.Kind)
	if k == nil {
		p.report(i, kindColumn, "the distribution rule does not provide for codes of kind %s", a.Kind)
		return
	}
	if last := a.Code.LastNode(); !matchAny(k.Patterns, last) {
		if n := zerosFor(k.Patterns, last); n > 0 {
			p.report(i, p.codeColumn(), "leading zeros look lost: a code of kind %s ends in %d digits, as %s; format the column as text and enter it again, or give the width %d",
				a.Kind, n, strings.Repeat("0", n-len(last))+last, n)
		} else {
			p.report(i, p.codeColumn(), "a code of kind %s ends in %s (# a digit, @ a letter, ? either), not %s", a.Kind, strings.Join(k.Patterns, " or "), last)
		}
	}
	if disclosureOf(p.o.Settings, a.Code) == cityid.DisclosureSealed {
		return
	}
	for _, lang := range k.Languages {
		if c := p.columnFor(fieldName, lang); !a.Content.Names.Has(lang) && !bad[c] {
			p.report(i, c, "codes of kind %s need a name in the language %s: fill in column name:%s", a.Kind, lang, lang)
		}
	}
	for _, scheme := range k.Schemes {
		c := p.columnFor(fieldAlias, scheme)
		if !bad[c] && !slices.ContainsFunc(a.Aliases, func(x cityid.Alias) bool { return x.Scheme == scheme }) {
			p.report(i, c, "codes of kind %s need a value of scheme %s: fill in column alias:%s", a.Kind, scheme, scheme)
		}
	}
}

// columnFor returns the column of field f with the argument, or nil.
func (p *parser) columnFor(f field, arg string) *column {
	for k := range p.cols {
		if c := &p.cols[k]; c.field == f && c.arg == arg {
			return c
		}
	}
	return nil
}

// disclose makes a publish no more than its class allows.
func (p *parser) disclose(i int, a *cityid.Allocation) {
	switch disclosureOf(p.o.Settings, a.Code) {
	case cityid.DisclosureCoarse:
		l := a.Content.Location
		if l == nil || l.IsCoarse() {
			return
		}
		if !p.o.Coarsen {
			p.report(i, p.byField[fieldLat], "objects of class %s are published with a coarse location only: round latitude and longitude to 0.01 degrees, or have all rounded", a.Code.Class())
			return
		}
		coarse := l.Coarse()
		a.Content.Location = &coarse
	case cityid.DisclosureSealed:
		p.seal(i, a)
	}
}

// seal replaces a's content by a digest.
func (p *parser) seal(i int, a *cityid.Allocation) {
	switch {
	case len(a.Aliases) > 0:
		p.report(i, p.columnFor(fieldAlias, a.Aliases[0].Scheme), "objects of class %s are sealed, and a sealed record publishes no crosswalk entry: leave it blank", a.Code.Class())
		return
	case p.o.SaltKey == [32]byte{}:
		if !p.noSalt {
			p.noSalt = true
			p.report(i, nil, "objects of class %s are sealed: name a file for their contents (--sealed FILE)", a.Code.Class())
		}
		return
	}
	salt := saltFor(p.o.SaltKey, a.Code)
	a.Sealed = cityid.SealDigest(salt, a.Content)
	p.sealed = append(p.sealed, cityid.SealedContent{Code: a.Code, Salt: salt, Content: a.Content})
	a.Content = cityid.Content{}
}
