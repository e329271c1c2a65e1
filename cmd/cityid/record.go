// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"flag"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"cityid"
	"cityid/internal/describe"
)

// contentFlags builds a record's content from flags.
type contentFlags struct {
	names, links, hosts, documents list
	location                       string
	set                            *flag.FlagSet
}

func (c *contentFlags) setup(f *flags) {
	c.set = f.FlagSet
	f.Var(&c.names, "name", "a name as `lang=text`, such as zh=石家庄市; several times for several languages")
	f.Var(&c.links, "link", "a link as `relation=URL`")
	f.Var(&c.hosts, "host", "a `host` that links of codes below may use; *.example.cn covers subdomains")
	f.StringVar(&c.location, "location", "", "`latitude,longitude` in WGS 84 degrees")
	f.Var(&c.documents, "document", "a `file` kept elsewhere whose digest the record shows")
}

// apply changes content as the flags given say; what no flag names stays. An
// empty value takes the thing away.
func (c *contentFlags) apply(ctx context.Context, to *cityid.Content) error {
	if err := applyNames(&to.Names, c.names); err != nil {
		return err
	}
	for _, l := range c.links {
		rel, href, ok := strings.Cut(l, "=")
		if !ok || rel == "" {
			return usagef("--link %q: want relation=URL", l)
		}
		to.Links = slices.DeleteFunc(slices.Clone(to.Links), func(x cityid.Link) bool { return x.Rel == rel })
		if href != "" {
			to.Links = append(to.Links, cityid.Link{Rel: rel, Href: href})
		}
	}
	if len(c.hosts) > 0 {
		to.Hosts = slices.DeleteFunc(slices.Clone(c.hosts), func(h string) bool { return h == "" })
		slices.Sort(to.Hosts)
		to.Hosts = slices.Compact(to.Hosts)
	}
	if isSet(c.set, "location") {
		l, err := parseLocation(c.location)
		if err != nil {
			return err
		}
		to.Location = l
	}
	for _, path := range c.documents {
		d, _, err := digestFile(ctx, path)
		if err != nil {
			return err
		}
		to.Documents = append(slices.Clone(to.Documents), cityid.Document{Label: filepath.Base(path), Digest: d})
	}
	if err := to.Check(); err != nil {
		return usageError{err}
	}
	return nil
}

// given reports whether any flag was given.
func (c *contentFlags) given() bool {
	return len(c.names)+len(c.links)+len(c.hosts)+len(c.documents) > 0 || isSet(c.set, "location")
}

// allocationFlags builds an allocation from flags: for an application, or for
// whoever may allocate at once.
type allocationFlags struct {
	content      contentFlags
	kind, parent string
	aliases      list
}

func (a *allocationFlags) setup(f *flags, kind string) {
	a.content.setup(f)
	f.StringVar(&a.kind, "kind", kind, "what the code stands for: city, department, class, object, …")
	f.StringVar(&a.parent, "parent", "", "parent `code`, where several are possible")
	f.Var(&a.aliases, "alias", "what the code is known as elsewhere, as `scheme:value`")
}

// allocation returns the allocation of the code that args name, without a
// policy.
func (a *allocationFlags) allocation(ctx context.Context, args []string) (*cityid.Allocation, error) {
	code, err := codeArg(args)
	if err != nil {
		return nil, err
	}
	out := &cityid.Allocation{Code: code}
	if a.kind == "" {
		return nil, usagef("say what the code stands for with --kind")
	}
	if err := out.Kind.UnmarshalText([]byte(a.kind)); err != nil {
		return nil, usageError{err}
	}
	if a.parent != "" {
		if out.Parent, err = parseCode(a.parent); err != nil {
			return nil, err
		}
	}
	if err := a.content.apply(ctx, &out.Content); err != nil {
		return nil, err
	}
	out.Aliases, err = aliasFlag(a.aliases)
	return out, err
}

func applyNames(names *cityid.Names, given list) error {
	m := map[string]string{}
	for _, n := range *names {
		m[n.Lang] = n.Text
	}
	for _, n := range given {
		lang, text, ok := strings.Cut(n, "=")
		if !ok || lang == "" {
			return usagef("--name %q: want lang=text, such as zh=石家庄市", n)
		}
		if m[lang] = text; text == "" {
			delete(m, lang)
		}
	}
	*names = cityid.NamesOf(m)
	return nil
}

func isSet(f *flag.FlagSet, name string) bool {
	found := false
	f.Visit(func(x *flag.Flag) { found = found || x.Name == name })
	return found
}

func parseLocation(s string) (*cityid.Location, error) {
	if s == "" {
		return nil, nil
	}
	lat, lon, ok := strings.Cut(s, ",")
	if !ok {
		return nil, usagef("--location %q: want latitude,longitude, such as 38.0454,114.5025", s)
	}
	a, err := cityid.ParseDegrees(strings.TrimSpace(lat), 90)
	if err != nil {
		return nil, usageError{err}
	}
	o, err := cityid.ParseDegrees(strings.TrimSpace(lon), 180)
	if err != nil {
		return nil, usageError{err}
	}
	return &cityid.Location{Lat: a, Lon: o}, nil
}

// aliasFlag parses scheme:value pairs into crosswalk entries in order.
func aliasFlag(given list) ([]cityid.Alias, error) {
	var out []cityid.Alias
	for _, a := range given {
		scheme, value, ok := strings.Cut(a, ":")
		if !ok {
			return nil, usagef("alias %q: want scheme:value, such as gb2260:130100", a)
		}
		out = append(out, cityid.Alias{Scheme: scheme, Value: value})
	}
	slices.SortFunc(out, func(x, y cityid.Alias) int {
		if c := strings.Compare(x.Scheme, y.Scheme); c != 0 {
			return c
		}
		return strings.Compare(x.Value, y.Value)
	})
	return out, nil
}

// recordTable shows one record as fields.
func recordTable(lang string, a *cityid.RecordAnswer) *table {
	r := &a.Record
	t := fields(a, "code", a.Display, "kind", describe.Kind(lang, r.Kind), "status", describe.Status(lang, r.Status), "reason", describe.Reason(lang, r.Reason), "note", r.Note)
	row := func(name, value string) {
		if value != "" {
			t.rows = append(t.rows, []string{name, value})
		}
	}
	for _, n := range r.Content.Names {
		row("name ("+n.Lang+")", n.Text)
	}
	row("parent", r.Parent.String())
	row("holder", a.Holder.String())
	if l := r.Content.Location; l != nil {
		b, _ := l.MarshalJSON() // never fails
		row("location", string(b))
	}
	for _, x := range r.Aliases {
		row("also known as", x.Scheme+":"+x.Value+dates(x))
	}
	for _, l := range r.Content.Links {
		row("link "+l.Rel, l.Href)
	}
	for _, d := range r.Content.Documents {
		row("document", d.Label+" "+d.Digest.String())
	}
	if len(r.Content.Hosts) > 0 {
		row("link hosts", strings.Join(r.Content.Hosts, ", "))
	}
	if !r.Sealed.IsZero() {
		row("sealed", r.Sealed.String())
	}
	row("heir", r.Heir.String())
	for _, s := range r.Successors {
		row("succeeded by", s.String())
	}
	if r.Policy != nil {
		for _, line := range describe.Policy(lang, r.Policy) {
			row("policy", line.String())
		}
	}
	if w := a.Waiting; w != nil {
		row("waiting", describeWaiting(w))
	}
	row("revision", fmt.Sprintf("%d, made at height %d on %s", r.Revision, r.Changed.Height, r.Changed.Time))
	row("as of", asOf(a.AsOf))
	return t
}

func dates(a cityid.Alias) string {
	s := ""
	if a.From != 0 {
		s += " from " + a.From.String()
	}
	if a.Until != 0 {
		s += " until " + a.Until.String()
	}
	return s
}

func describeWaiting(w *cityid.Waiting) string {
	what := "a recovery by the parent"
	if w.Retire != nil {
		what = "a retirement by the holder"
	}
	if w.Vetoed {
		return what + ", vetoed"
	}
	return what + ", possible from " + w.Effective.String()
}

func asOf(a cityid.AsOf) string {
	return fmt.Sprintf("%s, height %d of chain %s", a.Time.UTC().Format("2006-01-02 15:04:05 UTC"), a.Height, a.Chain)
}

// recordList shows several records in columns.
func recordList(records []cityid.Record) *table {
	t := &table{head: []string{"code", "kind", "status", "name", "parent"}}
	for i := range records {
		r := &records[i]
		name := r.Content.Names.Get("zh")
		if en := r.Content.Names.Get("en"); en != name && en != "" {
			name += " " + en
		}
		t.add(r, r.Code.String(), r.Kind.String(), r.Status.String(), name, r.Parent.String())
	}
	return t
}
