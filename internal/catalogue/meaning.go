// SPDX-License-Identifier: Apache-2.0

package catalogue

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"cityid"
	"cityid/internal/dcat"
	"cityid/internal/index"
)

// schemes knows the crosswalk schemes of the registry, for half a minute.
type schemes struct {
	source Source
	now    func() time.Time

	mu    sync.Mutex
	known []cityid.Scheme
	until time.Time
}

func (s *schemes) list(ctx context.Context) ([]cityid.Scheme, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if now := s.now(); now.After(s.until) {
		st, err := s.source.Settings(ctx)
		if err != nil {
			return nil, err
		}
		s.known, s.until = st.Schemes, now.Add(30*time.Second)
	}
	return s.known, nil
}

// meaning is what a text stands for in the registry.
type meaning struct {
	list   []cityid.DatasetMeaning
	codes  []cityid.Code // what it stands for, heirs and successors among them
	themes []string      // terms of schemes that stand for the same
	code   bool          // the text is a code, and no words
}

const (
	maxValue    = 64 // octets of an identifier of another system
	maxMeanings = 20 // told of one text
)

// understand finds out what a text stands for.
func (c *Catalogue) understand(ctx context.Context, text string) (*meaning, error) {
	m := &meaning{}
	text = strings.TrimSpace(text)
	if text == "" {
		return m, nil
	}
	r := newResolver(c.source)
	if code, err := cityid.Parse(text); err == nil && strings.Contains(code.String(), ".") {
		rec, err := r.record(ctx, code)
		if err != nil {
			return nil, err
		}
		if rec != nil {
			m.code = true
			return m, m.add(ctx, r, cityid.DatasetMeaning{Value: code.String(), Holds: true}, code)
		}
	}
	all, err := c.texts.list(ctx)
	if err != nil {
		return nil, err
	}
	name, value, prefixed := strings.Cut(text, ":")
	for i := range all {
		want := text
		if prefixed && name == all[i].Name {
			want = value
		}
		for _, v := range forms(want) {
			if err := c.lookup(ctx, r, m, &all[i], v); err != nil {
				return nil, err
			}
		}
	}
	return m, nil
}

// forms returns how a value may be meant: as it is, or in capitals and plain
// characters.
func forms(s string) []string {
	s = strings.TrimSpace(s)
	out := []string{s}
	if plain := strings.ToUpper(index.Fold(s)); plain != s {
		out = append(out, plain)
	}
	return slices.DeleteFunc(out, func(s string) bool { return cityid.CheckText("value", s, true) != nil || len(s) > maxValue })
}

// lookup adds what a value stands for in a scheme.
func (c *Catalogue) lookup(ctx context.Context, r *resolver, m *meaning, s *cityid.Scheme, value string) error {
	if len(s.Patterns) > 0 && !slices.ContainsFunc(s.Patterns, func(p string) bool { return cityid.MatchPattern(p, value) }) {
		return nil
	}
	// Descriptions may name the term although the registry maps it to nothing.
	if theme, err := dcat.SchemeTerm(s.Name, value); err == nil && !slices.Contains(m.themes, theme) {
		m.themes = append(m.themes, theme)
	}
	a, err := c.source.Lookup(ctx, s.Name, value)
	if code := cityid.CodeOf(err); code == cityid.ErrNotFound || code == cityid.ErrInvalid {
		return nil
	}
	if err != nil {
		return err
	}
	for i := range a.Entries {
		e := &a.Entries[i]
		if err := m.add(ctx, r, cityid.DatasetMeaning{Scheme: s.Name, Value: value, Holds: e.Holds}, e.Code); err != nil {
			return err
		}
	}
	return nil
}

// add notes a code that the text stands for.
func (m *meaning) add(ctx context.Context, r *resolver, x cityid.DatasetMeaning, code cityid.Code) error {
	led, err := r.forward(ctx, code)
	if err != nil {
		return err
	}
	for i, c := range led {
		n, err := r.named(ctx, c)
		if err != nil {
			return err
		}
		if i == 0 {
			x.Code = n
		} else {
			x.Now = append(x.Now, n)
		}
		if slices.Contains(m.codes, c) {
			continue
		}
		m.codes = append(m.codes, c)
		rec, err := r.record(ctx, c)
		if err != nil {
			return err
		}
		if rec == nil {
			continue
		}
		for _, a := range rec.Aliases {
			if theme, err := dcat.SchemeTerm(a.Scheme, a.Value); err == nil && !slices.Contains(m.themes, theme) {
				m.themes = append(m.themes, theme)
			}
		}
	}
	if len(m.list) < maxMeanings {
		m.list = append(m.list, x)
	}
	return nil
}
