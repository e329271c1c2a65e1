// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"cityid"
	"cityid/client"
	"cityid/internal/dcat"
	"cityid/internal/share"
)

// templateFlags are what the records can not say about a dataset.
type templateFlags struct {
	titles, descriptions, offices, keywords, languages list
	themes, indicators                                 list
	resolver, gateway, path, schema                    string
	class, frequency, contact, since, landing, version string
	requests, octets                                   uint64
	pass                                               bool
}

func (t *templateFlags) setup(f *flags) {
	f.Var(&t.titles, "title", "title as `lang=text`; the names in the record without it")
	f.Var(&t.descriptions, "description", "what the data are, as `lang=text`; several times for several languages")
	f.Var(&t.keywords, "keyword", "keywords as `lang=word,word`; wanted in zh and en")
	f.Var(&t.themes, "theme", "European data `theme` such as ENVI; several times")
	f.StringVar(&t.frequency, "frequency", "", "how often the data change, by the European table, such as 1MIN, DAILY or IRREG")
	f.StringVar(&t.since, "since", "", "first `day` there are data of; today without it")
	f.Var(&t.languages, "language", "`language` of the data by the European table; ZHO without it")
	f.StringVar(&t.contact, "contact", "", "how to reach the office: mailto:, tel: or https: `address`")
	f.Var(&t.offices, "office", "name of the office as `lang=text`; the publisher's names without it")
	f.StringVar(&t.class, "class", "conditional", "who may have the data: open, conditional or closed")
	f.StringVar(&t.resolver, "resolver", "", "`host` of the resolver by which codes are named in the document, such as id.example.cn")
	f.StringVar(&t.gateway, "gateway", "", "`address` of the gateway; the one that the nearest record links to without it")
	f.StringVar(&t.path, "path", "/", "`path` of the data below the dataset, such as /observations")
	f.StringVar(&t.schema, "schema", "", "JSON Schema `file` of the answers")
	f.Var(&t.indicators, "indicator", "an indicator that the data carry, as `number=unit`, such as 37120:2018:8.1=UCUM:ug/m3; several times")
	f.StringVar(&t.landing, "page", "", "`address` of a page for people")
	f.StringVar(&t.version, "version", "", "version of the dataset, such as 1.0")
	f.Uint64Var(&t.requests, "requests-per-day", 0, "most requests a day that the policy offers; 0 for no limit")
	f.Uint64Var(&t.octets, "octets-per-day", 0, "most octets a day that the policy offers; 0 for no limit")
	f.BoolVar(&t.pass, "may-pass-on", false, "the policy does not forbid passing the data on")
}

func datasetTemplate(f *flags) func(context.Context, []string) error {
	var t templateFlags
	t.setup(f)
	return func(ctx context.Context, args []string) error {
		code, c, err := f.codeAtNode(args)
		if err != nil {
			return err
		}
		if t.resolver == "" {
			return usagef("by which resolver are the codes named in the document? give --resolver HOST, such as id.example.cn")
		}
		records, err := upwards(ctx, c, code)
		if err != nil {
			return err
		}
		d, err := t.dataset(ctx, code, records)
		if err != nil {
			return usageError{err}
		}
		if _, err := d.Encode(); err != nil {
			return err
		}
		b, err := json.MarshalIndent(d, "", "  ")
		if err != nil {
			return err
		}
		if err := f.write(append(b, '\n')); err != nil {
			return err
		}
		for _, x := range dcat.Check(d) {
			f.talk("%s %s: %s", x.Severity, x.Path, x.Words.In(f.lang))
		}
		return nil
	}
}

// upwards returns the records of a code and of what stands above it, the code's
// first.
func upwards(ctx context.Context, c *client.Client, code cityid.Code) ([]*cityid.Record, error) {
	var out []*cityid.Record
	for !code.IsZero() && len(out) < maxLineage {
		a, err := c.Record(ctx, code)
		if err != nil {
			return nil, err
		}
		out, code = append(out, &a.Record), a.Record.Parent
	}
	return out, nil
}

// dataset makes the description. What neither records nor flags say stays out;
// [dcat.Check] names it.
func (t *templateFlags) dataset(ctx context.Context, code cityid.Code, records []*cityid.Record) (*dcat.Dataset, error) {
	ref, err := dcat.NewRef(t.resolver, code)
	if err != nil {
		return nil, err
	}
	now := cityid.TimeOf(time.Now())
	d := &dcat.Dataset{
		Coded: dcat.At(ref), Title: records[0].Content.Names, Issued: now, Modified: now, LandingPage: t.landing, Version: t.version,
		Temporal: &dcat.Period{Start: dcat.Date(now.Std().UTC().Format(time.DateOnly))},
	}
	if t.since != "" {
		d.Temporal.Start = dcat.Date(t.since)
	}
	if err := applyNames(&d.Title, t.titles); err != nil {
		return nil, err
	}
	if err := applyNames(&d.Description, t.descriptions); err != nil {
		return nil, err
	}
	for _, step := range []func() error{
		func() error { return t.people(d, records) },
		func() error { return t.subjects(d) },
		func() error { return t.offer(ctx, d, records) },
	} {
		if err := step(); err != nil {
			return nil, err
		}
	}
	return d, nil
}

// people names the publisher, which is the nearest department, organisation or
// place above, the contact, and the place.
func (t *templateFlags) people(d *dcat.Dataset, records []*cityid.Record) error {
	for _, r := range records[1:] {
		at, err := dcat.NewRef(t.resolver, r.Code)
		if err != nil {
			return err
		}
		switch r.Kind {
		case cityid.KindDepartment, cityid.KindOrganisation, cityid.KindIndustry:
			if d.Publisher == nil {
				d.Publisher = &dcat.Agent{Coded: dcat.At(at), Name: r.Content.Names}
			}
		case cityid.KindCity, cityid.KindCounty, cityid.KindProvince:
			if d.Publisher == nil {
				d.Publisher = &dcat.Agent{Coded: dcat.At(at), Name: r.Content.Names}
			}
			if d.Spatial == nil {
				d.Spatial = &dcat.Place{Coded: dcat.At(at)}
				if r.Content.Location != nil {
					d.Spatial.Point = (*dcat.Point)(r.Content.Location)
				}
			}
		}
	}
	if t.contact == "" && len(t.offices) == 0 {
		return nil
	}
	x := &dcat.Contact{}
	if d.Publisher != nil {
		x.Name = slices.Clone(d.Publisher.Name)
	}
	switch scheme, _, _ := strings.Cut(t.contact, ":"); scheme {
	case "mailto":
		x.Email = t.contact
	case "tel":
		x.Telephone = t.contact
	case "https", "http":
		x.Page = t.contact
	default:
		return fmt.Errorf("--contact %q: want mailto:office@city.example, tel:+86-311-12345 or a page's address", t.contact)
	}
	d.Contact = x
	return applyNames(&x.Name, t.offices)
}

func (t *templateFlags) subjects(d *dcat.Dataset) error {
	for _, k := range t.keywords {
		lang, words, ok := strings.Cut(k, "=")
		if !ok || words == "" {
			return fmt.Errorf("--keyword %q: want lang=word,word, such as en=air,ozone", k)
		}
		d.Keywords = append(d.Keywords, dcat.KeywordSet{Lang: lang, Words: strings.Split(words, ",")})
	}
	slices.SortFunc(d.Keywords, func(a, b dcat.KeywordSet) int { return strings.Compare(a.Lang, b.Lang) })
	for _, name := range t.themes {
		x, err := dcat.Theme(name)
		if err != nil {
			return err
		}
		d.Themes = append(d.Themes, x)
	}
	if t.frequency != "" {
		var err error
		if d.Frequency, err = dcat.Frequency(t.frequency); err != nil {
			return err
		}
	}
	if len(t.languages) == 0 {
		t.languages = list{"ZHO"}
	}
	for _, l := range t.languages {
		d.Languages = append(d.Languages, dcat.EULanguage+l)
	}
	for _, text := range t.indicators {
		id, unit, _ := strings.Cut(text, "=")
		d.Indicators = append(d.Indicators, dcat.Indicator{ID: id, Unit: unit})
	}
	return nil
}

// offer says who may have the data, how, and in what form.
func (t *templateFlags) offer(ctx context.Context, d *dcat.Dataset, records []*cityid.Record) error {
	var class cityid.DatasetClass
	if err := class.UnmarshalText([]byte(t.class)); err != nil {
		return err
	}
	d.Access = dcat.Access(class)
	if class == cityid.DatasetClosed {
		return nil
	}
	gateway := strings.TrimRight(t.gateway, "/")
	if gateway == "" {
		if gateway = gatewayAbove(records); gateway == "" {
			return fmt.Errorf("no record from %s upwards links to a gateway: give --gateway URL, or put it on the record with cityid code amend --link %s=URL", records[0].Code, share.RelGateway)
		}
	}
	segment := share.Segment(records[0].Code)
	if d.Publisher != nil {
		d.Policies = []dcat.Policy{{
			ID: gateway + "/policies/" + segment, Assigner: d.Publisher.ID, AttributeTo: d.Publisher.ID,
			Requests: t.requests, Octets: t.octets, NoDistribution: !t.pass && class != cityid.DatasetOpen,
		}}
	}
	if t.schema != "" {
		b, err := readBounded(ctx, t.schema, dcat.MaxSchema)
		if err != nil {
			return err
		}
		s, err := dcat.CompileSchema(b)
		if err != nil {
			return fmt.Errorf("%s: %w", t.schema, err)
		}
		d.ConformsTo = []dcat.Standard{{ID: gateway + "/schemas/" + segment, Checksum: &dcat.Checksum{Value: s.Digest()}}}
	}
	endpoint := gateway + "/data/" + segment
	d.Distributions = []dcat.Distribution{{
		ID: d.ID.String() + "#json", Title: d.Title, AccessURL: endpoint + t.path,
		Format: dcat.EUFileType + "JSON", MediaType: dcat.IANAMediaType + "application/json",
		Service: &dcat.Service{ID: endpoint, Title: cityid.NamesOf(map[string]string{"zh": "数据网关", "en": "Data gateway"}), Endpoint: endpoint},
	}}
	return nil
}

// gatewayAbove returns the gateway that the nearest record links to.
func gatewayAbove(records []*cityid.Record) string {
	for _, r := range records {
		for _, l := range r.Content.Links {
			if l.Rel == share.RelGateway {
				return strings.TrimRight(l.Href, "/")
			}
		}
	}
	return ""
}
