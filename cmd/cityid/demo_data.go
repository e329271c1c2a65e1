// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"os"
	"time"

	"cityid"
	"cityid/internal/dcat"
	"cityid/internal/feed"
	"cityid/internal/share"
)

// describe writes the descriptions of what a city shares.
func (d *demo) describe(s *demoSharer, created cityid.Time) error {
	s.documents = map[cityid.Code]*demoDocument{}
	feedDoc, err := d.feedDescription(s, created)
	if err != nil {
		return err
	}
	s.documents[s.dataset()] = feedDoc
	if s.code == demoCity {
		if s.documents[lampsDataset()], err = d.lampsDescription(s, created); err != nil {
			return err
		}
	}
	dir := d.folder.file(demoSharing, s.name)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	for code, doc := range s.documents {
		for kind, b := range map[string][]byte{"document": doc.published, "schema": doc.schema, "policy": doc.policy} {
			if b == nil {
				continue
			}
			if err := writeFile(d.documentFile(s, code, kind), b, 0o600); err != nil {
				return err
			}
		}
	}
	return nil
}

func (d *demo) documentFile(s *demoSharer, code cityid.Code, kind string) string {
	return d.folder.file(demoSharing, s.name, share.Segment(code)+"."+kind+".json")
}

// base is a description with what all of the demo's have.
func (d *demo) base(s *demoSharer, code, publisher cityid.Code, publisherNames map[string]string, created cityid.Time) (*dcat.Dataset, func(cityid.Code) dcat.Ref, error) {
	var failed error
	ref := func(c cityid.Code) dcat.Ref {
		r, err := dcat.NewRef(d.public.Host(), c)
		failed = errors.Join(failed, err)
		return r
	}
	x := &dcat.Dataset{
		Coded:     dcat.At(ref(code)),
		Publisher: &dcat.Agent{Coded: dcat.At(ref(publisher)), Name: cityid.NamesOf(publisherNames)},
		Contact:   &dcat.Contact{Name: cityid.NamesOf(map[string]string{"zh": s.zh + "数据开放办公室", "en": "Data office of " + s.en}), Page: "https://data.example/" + s.name},
		Issued:    created, Modified: created,
		Languages: []string{dcat.EULanguage + "ZHO", dcat.EULanguage + "ENG"},
		Spatial:   &dcat.Place{Coded: dcat.At(ref(s.code))},
	}
	return x, ref, failed
}

// feedDescription describes a city's indicators.
func (d *demo) feedDescription(s *demoSharer, created cityid.Time) (*demoDocument, error) {
	code := s.dataset()
	x, ref, err := d.base(s, code, s.code, map[string]string{"zh": s.zh, "en": s.en}, created)
	if err != nil {
		return nil, err
	}
	endpoint := s.url() + "/data/" + share.Segment(code)
	x.Title = cityid.NamesOf(map[string]string{"zh": s.zh + "城市运行指标", "en": "Indicators of " + s.en})
	x.Description = cityid.NamesOf(map[string]string{
		"zh": "水、能源、空气与废弃物监测站的观测值，按 ISO 37120 编号，逐分钟更新。演示数据，由程序生成。",
		"en": "Observations of stations for water, energy, air and waste, by the identifiers of ISO 37120, every minute. Made by a generator for this demo.",
	})
	x.Keywords = dcat.Keywords{{Lang: "en", Words: []string{"water", "energy", "air", "waste"}}, {Lang: "zh", Words: []string{"水", "能源", "空气", "废弃物"}}}
	x.Themes = []dcat.Concept{{ID: dcat.EUTheme + "ENVI", Label: cityid.NamesOf(map[string]string{"zh": "环境", "en": "Environment"})}}
	x.Access = dcat.Access(cityid.DatasetConditional)
	x.Frequency = dcat.EUFrequency + "1MIN"
	x.Temporal = &dcat.Period{Start: dcat.Date(s.feed.Begin().Format(time.DateOnly))}
	x.ConformsTo = []dcat.Standard{{
		ID: s.url() + "/schemas/" + share.Segment(code), Title: cityid.NamesOf(map[string]string{"zh": "观测值格式", "en": "Schema of observations"}),
		Checksum: &dcat.Checksum{Value: dcat.Digest(feed.Schema)},
	}}
	policy := dcat.Policy{
		ID: s.url() + "/policies/" + share.Segment(code), Assigner: ref(s.code), NoDistribution: true, AttributeTo: ref(s.code), Requests: 100_000,
	}
	x.Policies = []dcat.Policy{policy}
	x.Distributions = []dcat.Distribution{jsonDistribution(x, "observations", endpoint+"/observations", endpoint)}
	for _, i := range feed.Indicators() {
		x.Indicators = append(x.Indicators, dcat.Indicator{ID: i.ID, Unit: "UCUM:" + i.Unit})
	}
	return finish(x, feed.Schema)
}

// lampsDescription describes the traffic department's lamp posts, which anybody
// may fetch as a file.
func (d *demo) lampsDescription(s *demoSharer, created cityid.Time) (*demoDocument, error) {
	code := lampsDataset()
	x, _, err := d.base(s, code, demoTraffic, map[string]string{"zh": "石家庄市交通管理局", "en": "Traffic Management of Shijiazhuang"}, created)
	if err != nil {
		return nil, err
	}
	endpoint := s.url() + "/data/" + share.Segment(code)
	x.Title = cityid.NamesOf(map[string]string{"zh": "石家庄市路灯清单", "en": "Lamp posts of Shijiazhuang"})
	x.Description = cityid.NamesOf(map[string]string{"zh": "路灯的旧编号、名称与位置。演示数据。", "en": "Old numbers, names and places of the lamp posts. Invented for this demo."})
	x.Keywords = dcat.Keywords{{Lang: "en", Words: []string{"lamp posts", "street lighting"}}, {Lang: "zh", Words: []string{"路灯", "照明"}}}
	x.Themes = []dcat.Concept{{ID: dcat.EUTheme + "TRAN", Label: cityid.NamesOf(map[string]string{"zh": "交通", "en": "Transport"})}}
	x.Access = dcat.Access(cityid.DatasetOpen)
	x.Frequency = dcat.EUFrequency + "ANNUAL"
	x.ConformsTo = []dcat.Standard{{
		ID: dcat.SmartModels + "dataModel.Streetlighting/Streetlight", Title: cityid.NamesOf(map[string]string{"en": "Smart Data Models: Streetlight"}),
	}}
	x.Temporal = &dcat.Period{Start: dcat.Date(created.Std().UTC().Format(time.DateOnly))}
	dist := jsonDistribution(x, "csv", endpoint+"/"+demoLamps.file, endpoint)
	dist.Format, dist.MediaType, dist.Licence = dcat.EUFileType+"CSV", dcat.IANAMediaType+"text/csv", "https://creativecommons.org/licenses/by/4.0/"
	x.Distributions = []dcat.Distribution{dist}
	return finish(x, nil)
}

func jsonDistribution(x *dcat.Dataset, name, access, endpoint string) dcat.Distribution {
	return dcat.Distribution{
		ID: x.ID.String() + "#" + name, Title: x.Title, AccessURL: access, Format: dcat.EUFileType + "JSON", MediaType: dcat.IANAMediaType + "application/json",
		Rights: "http://publications.europa.eu/resource/authority/access-right/RESTRICTED",
		Service: &dcat.Service{
			ID: endpoint, Title: cityid.NamesOf(map[string]string{"zh": "数据网关", "en": "Data gateway"}), Endpoint: endpoint,
		},
	}
}

// finish encodes a description, if it may be published.
func finish(x *dcat.Dataset, schema []byte) (*demoDocument, error) {
	for _, f := range dcat.Check(x) {
		if !dcat.Publishable([]dcat.Finding{f}) {
			return nil, fmt.Errorf("%s: %s", f.Path, f.Words.In("en"))
		}
	}
	doc := &demoDocument{schema: schema}
	var err error
	if doc.published, err = x.Encode(); err != nil {
		return nil, err
	}
	if p := x.Policy(); p != nil {
		if doc.policy, err = p.Encode(); err != nil {
			return nil, err
		}
	}
	doc.onChain, err = x.OnChain()
	return doc, err
}
