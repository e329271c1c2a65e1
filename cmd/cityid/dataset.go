// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"cityid"
	"cityid/internal/dcat"
	"cityid/internal/describe"
)

func datasetCommand() *command {
	return &command{
		name: "dataset", short: "describe data that you share, and see what others share",
		sub: []*command{
			{
				name: "list", short: "list what cities share, best described first",
				long: "The node's catalogue knows the descriptions that it harvested from the gateways of all cities and\ncompared with the registry. --facets counts what each condition would leave. Exit code 3 says that nothing\nwas found.",
				examples: []string{
					"cityid dataset list --class open --sort modified",
					"cityid dataset list --city MA.156.1301 --facets",
					"cityid dataset list --state refused,invalid --format csv",
				},
				setup: datasetSearch(false),
			},
			{
				name: "search", args: "TEXT", short: "find what cities share by words, a code, or a number of another system",
				long: "Words are found in titles first, then in keywords, names and descriptions. The former number of a\ndepartment, or a foreign number of an industry, finds its datasets, also after a merger: as it is, or as\nSCHEME:VALUE.",
				examples: []string{
					"cityid dataset search 空气质量 --freshness fresh",
					"cityid dataset search gb-t-4754:I65",
				},
				setup: datasetSearch(true),
			},
			{
				name: "publish", args: "CODE", short: "let the record of a dataset say what is shared",
				long: "The record names the digests of the documents that your gateway serves: the description (DCAT-AP),\nthe usage policy in it (ODRL), and the JSON Schema of the answers. They are checked first. Gateways serve\nexactly the octets that were digested: --published writes them.",
				examples: []string{
					"cityid dataset publish MA.156.1301.03/20.030101/AIR1 --document air.json --schema air.schema.json --published served --key officer",
					"cityid dataset publish MA.156.1301.03/20.030101/AIR1 --document served/dataset.jsonld --class conditional --key officer",
				},
				setup: datasetPublish,
			},
			{
				name: "template", args: "CODE", short: "begin the description of a dataset with what its record and the flags say",
				long: "What neither of them says is left out, and listed as cityid dataset check lists it: fill it in, with\nmore flags or in the file.",
				examples: []string{
					"cityid dataset template MA.156.1301.03/20.030101/AIR1 --resolver id.example.cn --schema air.schema.json --theme ENVI -o air.json",
				},
				setup: datasetTemplate,
			},
			{
				name: "check", args: "FILE", short: "judge the description of a dataset: what is missing, and how good it is",
				examples: []string{"cityid dataset check air.json --schema air.schema.json --lang zh"},
				setup:    datasetCheck,
			},
			{
				name: "show", args: "CODE", short: "show what a dataset's record and the catalogue say, and whether a document is the one published",
				examples: []string{"cityid dataset show MA.156.1301.03/20.030101/AIR1", "cityid dataset show MA.156.1301.03/20.030101/AIR1 --document dataset.jsonld"},
				setup:    datasetShow,
			},
		},
	}
}

// documents are the documents of a dataset as they are served.
type documents struct {
	dataset   *dcat.Dataset
	onChain   cityid.Dataset
	files     map[string][]byte // octets to be served, by file name
	canonical bool              // the file given holds them already
}

// documentFlags name the documents of a dataset.
type documentFlags struct{ schema, policy, published string }

func (d *documentFlags) setup(f *flags) {
	f.StringVar(&d.schema, "schema", "", "JSON Schema `file` of the answers")
	f.StringVar(&d.policy, "policy", "", "usage policy `file`, which must be the one in the description")
	f.StringVar(&d.published, "published", "", "write what is to be served into this `folder`")
}

// read reads and compiles the documents.
func (d *documentFlags) read(ctx context.Context, path string) (*documents, error) {
	b, err := readBounded(ctx, path, dcat.MaxDocument)
	if err != nil {
		return nil, err
	}
	out := &documents{files: map[string][]byte{}}
	if out.dataset, err = dcat.ParseDataset(b); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if out.onChain, err = out.dataset.OnChain(); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if out.files["dataset.jsonld"], err = out.dataset.Encode(); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	out.canonical = bytes.Equal(b, out.files["dataset.jsonld"])
	if err := d.readPolicy(ctx, out); err != nil {
		return nil, err
	}
	return out, d.readSchema(ctx, out)
}

func (d *documentFlags) readPolicy(ctx context.Context, out *documents) error {
	p := out.dataset.Policy()
	if p != nil {
		b, err := p.Encode()
		if err != nil {
			return err
		}
		out.files["policy.jsonld"] = b
	}
	if d.policy == "" {
		return nil
	}
	b, err := readBounded(ctx, d.policy, dcat.MaxDocument)
	if err != nil {
		return err
	}
	given, err := dcat.ParsePolicy(b)
	if err != nil {
		return fmt.Errorf("%s: %w", d.policy, err)
	}
	if b, err = given.Encode(); err != nil {
		return fmt.Errorf("%s: %w", d.policy, err)
	}
	if !bytes.Equal(b, out.files["policy.jsonld"]) {
		return fmt.Errorf("%s is not the policy that the description holds in hasPolicy", d.policy)
	}
	return nil
}

func (d *documentFlags) readSchema(ctx context.Context, out *documents) error {
	if d.schema == "" {
		return nil
	}
	b, err := readBounded(ctx, d.schema, dcat.MaxSchema)
	if err != nil {
		return err
	}
	s, err := dcat.CompileSchema(b)
	if err != nil {
		return fmt.Errorf("%s: %w", d.schema, err)
	}
	if named := out.onChain.Schema; named != s.Digest() {
		return hint(fmt.Errorf("%s has the digest %s, and the description names %s", d.schema, s.Digest(), orNone(named)), "put it into the checksum of the standard in conformsTo that stands for the schema")
	}
	out.files["schema.json"] = b
	return nil
}

func orNone(d cityid.Digest) string {
	if d.IsZero() {
		return "none"
	}
	return d.String()
}

// write writes what is to be served into the folder, if one was named.
func (d *documentFlags) write(f *flags, out *documents) error {
	if d.published == "" {
		return nil
	}
	if err := os.MkdirAll(d.published, 0o755); err != nil {
		return err
	}
	for _, name := range []string{"dataset.jsonld", "policy.jsonld", "schema.json"} {
		if b := out.files[name]; b != nil {
			path := filepath.Join(d.published, name)
			if err := writeFile(path, b, 0o644); err != nil {
				return err
			}
			f.talk("%s: %d octets, digest %s", path, len(b), dcat.Digest(b))
		}
	}
	return nil
}

// findings says what is wrong with a description; the error is that it is not
// fit to be published.
func findings(f *flags, d *dcat.Dataset) error {
	found := dcat.Check(d)
	for _, x := range found {
		f.talk("%s %s: %s", x.Severity, x.Path, x.Words.In(f.lang))
	}
	f.talk("%d of 100 points", dcat.Rate(d).Points)
	if !dcat.Publishable(found) {
		return errors.New("the description is not fit to be published: see above")
	}
	return nil
}

func datasetPublish(f *flags) func(context.Context, []string) error {
	w := &writing{}
	w.setupProposable(f)
	var d documentFlags
	d.setup(f)
	document := f.String("document", "", "description of the dataset (`file`)")
	class := f.String("class", "", "open, conditional or closed; it must be what the description says")
	return func(ctx context.Context, args []string) error {
		if *document == "" {
			return usagef("want the description with --document FILE")
		}
		out, err := d.read(ctx, *document)
		if err != nil {
			return err
		}
		var c cityid.DatasetClass
		if *class != "" {
			if err := c.UnmarshalText([]byte(*class)); err != nil {
				return usageError{err}
			}
			if c != out.onChain.Class {
				return usagef("--class %s, but by its accessRights the dataset is %s", c, out.onChain.Class)
			}
		}
		if err := findings(f, out.dataset); err != nil {
			return err
		}
		r, err := w.current(ctx, args, 1)
		if err != nil {
			return err
		}
		if r.Code != out.dataset.Identifier {
			return usagef("the description is one of %s, not of %s", out.dataset.Identifier, r.Code)
		}
		if !out.canonical && d.published == "" {
			return hint(usagef("%s is not in the form in which it is served, so its digest is another one", *document), "--published FOLDER writes what to serve")
		}
		if err := d.write(f, out); err != nil {
			return err
		}
		next := r.Content
		next.Dataset = &out.onChain
		return w.submit(ctx, cityid.Operation{Amend: &cityid.Amend{Code: r.Code, Revision: r.Revision, Content: next}})
	}
}

func datasetCheck(f *flags) func(context.Context, []string) error {
	var d documentFlags
	d.setup(f)
	return func(ctx context.Context, args []string) error {
		if len(args) != 1 {
			return usagef("want the description of one dataset")
		}
		out, err := d.read(ctx, args[0])
		if err != nil {
			return err
		}
		if err := d.write(f, out); err != nil {
			return err
		}
		found, score := dcat.Check(out.dataset), dcat.Rate(out.dataset)
		t := fields(struct {
			Code     cityid.Code    `json:"code"`
			Dataset  cityid.Dataset `json:"dataset"`
			Findings []dcat.Finding `json:"findings"`
			Score    dcat.Score     `json:"score"`
		}{out.dataset.Identifier, out.onChain, append([]dcat.Finding{}, found...), score})
		datasetRows(f.lang, t, &out.onChain)
		for _, x := range found {
			t.rows = append(t.rows, []string{string(x.Severity), x.Path + ": " + x.Words.In(f.lang)})
		}
		for _, x := range out.dataset.Policy().Terms() {
			t.rows = append(t.rows, []string{"policy, " + x.Marks().In(f.lang), x.Words.In(f.lang)})
		}
		t.rows = append(t.rows, []string{"points", fmt.Sprintf("%d of 100", score.Points)})
		for _, x := range score.Dimensions {
			t.rows = append(t.rows, []string{"", fmt.Sprintf("%s %d of %d", x.Words.In(f.lang), x.Points, x.Of)})
			for _, p := range x.Parts {
				if p.Points == 0 {
					t.rows = append(t.rows, []string{"", fmt.Sprintf("-%d %s", p.Of, p.Words.In(f.lang))})
				}
			}
		}
		if err := f.print(t); err != nil {
			return err
		}
		if !dcat.Publishable(found) {
			return errors.New("the description is not fit to be published")
		}
		return nil
	}
}

// datasetRows shows what a record says, or will say, of a dataset.
func datasetRows(lang string, t *table, d *cityid.Dataset) {
	t.rows = append(t.rows, []string{"shared", describe.DatasetClass(lang, d.Class)}, []string{"description", d.Document.String()},
		[]string{"schema", orNone(d.Schema)}, []string{"policy", orNone(d.Policy)})
}

func datasetShow(f *flags) func(context.Context, []string) error {
	document := f.String("document", "", "compare this `file` with the description that the record names")
	schema := f.String("schema", "", "compare this `file` with the schema that the record names")
	policy := f.String("policy", "", "compare this `file` with the usage policy that the record names")
	return func(ctx context.Context, args []string) error {
		code, c, err := f.codeAtNode(args)
		if err != nil {
			return err
		}
		a, err := c.Record(ctx, code)
		if err != nil {
			return err
		}
		d := a.Record.Content.Dataset
		if a.Record.Kind != cityid.KindDataset || d == nil {
			return cityid.Errorf(cityid.ErrNotFound, "the record of %s, %s %s, does not say what is shared", code, describe.Status(f.lang, a.Record.Status), describe.Kind(f.lang, a.Record.Kind))
		}
		v := struct {
			*cityid.RecordAnswer
			Catalogue *cityid.DatasetAnswer `json:"catalogue,omitempty"`
		}{RecordAnswer: a}
		t := fields(&v, "code", a.Display)
		for _, n := range a.Record.Content.Names {
			t.rows = append(t.rows, []string{"name (" + n.Lang + ")", n.Text})
		}
		datasetRows(f.lang, t, d)
		t.rows = append(t.rows, []string{"holder", a.Holder.String()})
		for _, l := range a.Record.Content.Links {
			t.rows = append(t.rows, []string{"link " + l.Rel, l.Href})
		}
		t.rows = append(t.rows, []string{"as of", asOf(a.AsOf)})
		if v.Catalogue, err = f.fromCatalogue(ctx, c, code, t); err != nil {
			return err
		}
		if err := f.print(t); err != nil {
			return err
		}
		var other []string
		for _, x := range []struct {
			path string
			want cityid.Digest
		}{{*document, d.Document}, {*schema, d.Schema}, {*policy, d.Policy}} {
			if x.path == "" {
				continue
			}
			got, _, err := digestFile(ctx, x.path)
			if err != nil {
				return err
			}
			if got != x.want {
				other = append(other, x.path)
			}
		}
		if len(other) > 0 {
			return exitError{exitInvalid, errors.New("the record does not name " + strings.Join(other, ", "))}
		}
		return nil
	}
}
