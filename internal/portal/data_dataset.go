// SPDX-License-Identifier: Apache-2.0

package portal

import (
	"cmp"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"slices"
	"strings"

	"cityid"
	"cityid/internal/dcat"
)

// datasetData is what the page of a dataset shows.
type datasetData struct {
	datasetView
	Answer     *cityid.DatasetAnswer
	Record     *cityid.Record
	Trail      []crumb
	Holder     place
	Described  *dcat.Dataset // nil: no description is held
	Earlier    bool          // the description is of an earlier revision
	Equal      bool          // the description held is the one the record names
	Ask        []navItem     // on whose behalf access can be requested, or where to sign in
	Themes     []string
	Map        *drawing
	Fields     []schemaField
	More       bool // the schema has more fields
	Terms      []termView
	HasSchema  bool
	Dimensions []dimensionView
	Findings   []findingView
	Crosswalk  []crosswalkView
	History    []revision
	Commands   string
	Documents  []documentView
}

// documentView is one of the documents, with where to get it.
type documentView struct {
	cityid.DatasetDocument
	Name, URL string
	Tag       *tag
	Equal     bool
}

type termView struct {
	Text string
	Tag  tag
}

// dimensionView is a group of reasons for points.
type dimensionView struct {
	Text       string
	Points, Of int
	Parts      []reasonView
}

type reasonView struct {
	Text string
	Met  bool
	Of   int
}

type findingView struct {
	Text, Path string
	Error      bool
}

// crosswalkView is a department or industry with its identifiers elsewhere.
type crosswalkView struct {
	place
	Aliases []knownAs
}

type knownAs struct {
	Scheme, Value string
	Ended         bool
}

// dataset shows what a dataset is, and what vouches for that.
func (p *portal) dataset(w http.ResponseWriter, r *http.Request, pg *page) error {
	if p.Catalogue == nil {
		return errNoPage
	}
	code, done, err := pathCode(w, r, pg, "/data/")
	if done || err != nil {
		return err
	}
	record, err := p.Source.Record(r.Context(), code)
	if errors.Is(err, cityid.ErrNotFound) {
		return pg.notAllocated(w, r, code)
	}
	if err != nil {
		return err
	}
	answer, err := p.Catalogue.Dataset(r.Context(), code)
	if errors.Is(err, cityid.ErrNotFound) { // retired, or no dataset: its own page says what it is
		http.Redirect(w, r, pg.CodeURL(code), http.StatusSeeOther)
		return nil
	}
	if err != nil {
		return err
	}
	data := &datasetData{datasetView: pg.datasetView(&answer.Dataset), Answer: answer, Record: &record.Record}
	if data.Holder, err = pg.placeAt(record.Holder); err != nil {
		return err
	}
	for _, f := range []func(*datasetData) error{pg.datasetAbove, pg.datasetDescription, pg.datasetSchema, pg.datasetDocuments, pg.datasetCrosswalk, pg.datasetHistory} {
		if err := f(data); err != nil {
			return err
		}
	}
	pg.datasetJudged(data)
	pg.datasetAsk(data)
	pg.Title = data.Name + " " + code.String()
	return pg.render(w, r, http.StatusOK, "data_dataset", data)
}

// datasetAbove fills in the trail.
func (pg *page) datasetAbove(data *datasetData) error {
	above, err := pg.ancestors(data.Record)
	if err != nil {
		return err
	}
	for _, x := range above {
		if x.Kind != cityid.KindAuthority && x.Kind != cityid.KindClass {
			at := pg.placeOf(x)
			data.Trail = append(data.Trail, crumb{at.URL, at.Name})
		}
	}
	data.Trail = append(data.Trail, crumb{"", data.Name})
	return nil
}

// datasetDescription reads the description that is held.
func (pg *page) datasetDescription(data *datasetData) error {
	e := &data.Answer.Dataset
	if e.Held.IsZero() {
		return nil
	}
	data.Equal = e.Published != nil && e.Held == e.Published.Document
	data.Earlier = !data.Equal
	body, err := pg.Catalogue.DatasetDocument(pg.ctx, e.Code, cityid.PartDescription)
	if errors.Is(err, cityid.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	// A catalogue of another version may hold what this program can not read.
	if d, err := dcat.ParsePublished(body); err == nil {
		data.Described = d
	}
	for _, t := range e.Themes {
		data.Themes = append(data.Themes, pg.themeName(t))
	}
	if e.Place != nil && e.Place.Point != nil {
		data.Map, err = pg.datasetMap(data, *e.Place.Point)
	}
	return err
}

// datasetMap draws where the data is from.
func (pg *page) datasetMap(data *datasetData, at cityid.Location) (*drawing, error) {
	v := around(at, 4)
	if d := data.Described; d != nil && d.Spatial != nil && d.Spatial.Box != nil {
		b := d.Spatial.Box
		height := max(float64(b.North-b.South), float64(b.East-b.West)/2) / 1e7 * 1.5
		v = around(at, min(max(height, .05), 60))
	}
	m, err := pg.drawMap(v, cityid.Code{}, []cityid.Kind{cityid.KindCity})
	if err != nil {
		return nil, err
	}
	own := mapMark{Lat: float64(at.Lat) / 1e7, Lon: float64(at.Lon) / 1e7, Count: 1, Title: data.Name, Own: true}
	m.SVG = pg.basemap.draw(v, pg.T("data.map", data.Name), append(m.Marks, own))
	return m, nil
}

// datasetDocuments lists the documents and where they can be had.
func (pg *page) datasetDocuments(data *datasetData) error {
	for _, d := range data.Answer.Documents {
		v := documentView{DatasetDocument: d, Name: pg.T("data.part." + d.Part.String()), Tag: pg.stateTag(d.State), Equal: !d.Held.IsZero() && d.Held == d.Digest}
		if !d.Held.IsZero() {
			v.URL = "/v1/datasets/" + data.Code.String() + "?part=" + d.Part.String()
		}
		data.Documents = append(data.Documents, v)
	}
	c := data.Code.String()
	lines := []string{
		"# " + pg.T("data.cli.show"),
		"cityid dataset show " + c + " --node " + pg.Origin,
		"",
		"# " + pg.T("data.cli.check"),
		"curl -s '" + pg.Origin + "/v1/datasets/" + c + "?part=description' -o dataset.jsonld",
		"cityid bundle get " + c + " --node " + pg.Origin + " -o code.cityid",
		"cityid verify code.cityid --trust trust.json",
		"cityid dataset show " + c + " --document dataset.jsonld --node " + pg.Origin,
	}
	data.Commands = strings.Join(lines, "\n")
	return nil
}

// datasetJudged fills in terms, points and findings.
func (pg *page) datasetJudged(data *datasetData) {
	for _, t := range data.Answer.Terms {
		v := termView{Text: t.Words.Get(pg.Lang), Tag: tag{pg.T("data.declared"), "plain", "✎"}}
		if t.Enforced {
			v.Tag = tag{pg.T("data.enforced"), "good", "✓"}
		}
		data.Terms = append(data.Terms, v)
	}
	for _, x := range data.Answer.Dimensions {
		v := dimensionView{Text: capital(x.Words.Get(pg.Lang)), Points: x.Points, Of: x.Of}
		for _, p := range x.Parts {
			v.Parts = append(v.Parts, reasonView{capital(p.Words.Get(pg.Lang)), p.Points > 0, p.Of})
		}
		data.Dimensions = append(data.Dimensions, v)
	}
	for _, f := range data.Answer.Findings {
		data.Findings = append(data.Findings, findingView{f.Words.Get(pg.Lang), f.Path, f.Severity == string(dcat.Error)})
	}
}

// datasetCrosswalk lists how the department and the industries are known elsewhere.
func (pg *page) datasetCrosswalk(data *datasetData) error {
	if len(data.Answer.Crosswalk) == 0 {
		return nil
	}
	settings, err := pg.Source.Settings(pg.ctx)
	if err != nil {
		return err
	}
	for _, x := range data.Answer.Crosswalk {
		v := crosswalkView{place: place{x.Code, pg.NameOf(x.Names, x.Code), pg.Kind(x.Kind), pg.CodeURL(x.Code)}}
		for _, a := range x.Aliases {
			v.Aliases = append(v.Aliases, knownAs{pg.schemeTitle(settings, a.Scheme), a.Value, a.Until != 0 && a.Until <= cityid.TimeOf(data.Answer.AsOf.Time)})
		}
		data.Crosswalk = append(data.Crosswalk, v)
	}
	return nil
}

// datasetHistory lists the revisions of the record.
func (pg *page) datasetHistory(data *datasetData) error {
	h, err := pg.Source.History(pg.ctx, data.Code)
	if err != nil {
		return err
	}
	for i := range h.Revisions[:min(len(h.Revisions), historyShown)] {
		x := revision{Record: &h.Revisions[i]}
		if i+1 < len(h.Revisions) {
			x.Lines = pg.changed(&h.Revisions[i+1], x.Record)
		}
		data.History = append(data.History, x)
	}
	return nil
}

// datasetAsk says how to ask for the data.
func (pg *page) datasetAsk(data *datasetData) {
	e := &data.Answer.Dataset
	if pg.Office == nil || e.Published == nil || e.Published.Class != cityid.DatasetConditional || e.Status != cityid.StatusActive {
		return
	}
	if pg.Key() == "" {
		data.Ask = []navItem{{URL: pg.URL("/sign-in?next=", "/"+pg.Lang+"/data/"+e.Code.String()), Text: pg.T("data.ask.sign-in")}}
		return
	}
	seen := map[cityid.Code]bool{}
	for _, h := range pg.Holdings() {
		if seen[h.Code] || h.Roles&cityid.RoleControl == 0 || h.Code == data.Holder.Code {
			continue
		}
		seen[h.Code] = true
		data.Ask = append(data.Ask, navItem{
			URL:  pg.URL("/work/", h.Code.String(), "/agreements/new?dataset=", e.Code.String()),
			Text: pg.T("data.ask.for", pg.NameOf(h.Names, h.Code)),
		})
	}
	if len(data.Ask) == 1 {
		data.Ask[0].Text = pg.T("data.ask")
	}
}

// schemaField is a field of the answers.
type schemaField struct {
	Path, Type, About string
	Required          bool
}

// Bounds of the preview of a schema.
const (
	maxFields     = 60
	maxFieldDepth = 4
)

// datasetSchema previews the schema of the answers.
func (pg *page) datasetSchema(data *datasetData) error {
	if !slices.ContainsFunc(data.Answer.Documents, func(d cityid.DatasetDocument) bool { return d.Part == cityid.PartSchema && !d.Held.IsZero() }) {
		return nil
	}
	body, err := pg.Catalogue.DatasetDocument(pg.ctx, data.Code, cityid.PartSchema)
	if errors.Is(err, cityid.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	data.HasSchema = true
	data.Fields, data.More = previewSchema(body)
	return nil
}

// schemaNode is a JSON Schema, or a part of one, as it is written.
type schemaNode map[string]any

// previewSchema lists the fields that a schema names, and reports whether there
// are more than it lists. Of a schema it can not follow it lists nothing.
func previewSchema(body []byte) (fields []schemaField, more bool) {
	var root schemaNode
	if err := json.Unmarshal(body, &root); err != nil {
		return nil, false
	}
	var walk func(n schemaNode, path string, depth int)
	walk = func(n schemaNode, path string, depth int) {
		n = root.follow(n)
		if items := n.child("items"); items != nil {
			n, path = root.follow(items), path+"[]"
		}
		properties := n.child("properties")
		for _, name := range slices.Sorted(maps.Keys(properties)) {
			if len(fields) == maxFields {
				more = true
				return
			}
			given := properties.child(name)
			x := root.follow(given)
			at := strings.TrimPrefix(path+"."+name, ".")
			required, _ := n["required"].([]any)
			fields = append(fields, schemaField{
				Path: shortened(at, 120), Type: x.kind(), About: shortened(cmp.Or(given.text("description"), given.text("title"), x.text("description"), x.text("title")), 200),
				Required: slices.Contains(required, any(name)),
			})
			if depth < maxFieldDepth {
				walk(x, at, depth+1)
			} else if len(x.child("properties")) > 0 {
				more = true
			}
		}
	}
	walk(root, "", 1)
	return fields, more
}

func (n schemaNode) child(name string) schemaNode {
	x, _ := n[name].(map[string]any)
	return x
}

func (n schemaNode) text(name string) string {
	s, _ := n[name].(string)
	return s
}

// follow returns what a node stands for: itself, or the definition it refers to.
func (n schemaNode) follow(x schemaNode) schemaNode {
	for range 8 {
		name, ok := strings.CutPrefix(x.text("$ref"), "#/$defs/")
		next := n.child("$defs").child(name)
		if !ok || next == nil {
			return x
		}
		x = next
	}
	return nil
}

// kind names the type of a node.
func (n schemaNode) kind() string {
	out := n.text("type")
	if list, ok := n["type"].([]any); ok {
		var names []string
		for _, x := range list {
			if s, ok := x.(string); ok {
				names = append(names, s)
			}
		}
		out = strings.Join(names, " | ")
	}
	return shortened(strings.TrimSpace(out+" "+n.text("format")), 60)
}
