// SPDX-License-Identifier: Apache-2.0

package feed

import (
	"encoding/json"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"cityid"
)

const goodItem = `{"seq":7,"time":"2026-03-01T12:00:00Z","indicator":"37120:2018:8.1","value":"-12.30","unit":"ug/m3","source":"MA.156.1301/30.080001/000001","corrects":3}`

func TestParsePage(t *testing.T) {
	want := &Page{Next: "a-_9", More: true, Items: []Observation{{
		Seq: 7, Time: 1772366400, Indicator: "37120:2018:8.1", Value: "-12.30", Unit: "ug/m3",
		Source: cityid.MustParse("MA.156.1301/30.080001/000001"), Corrects: 3,
	}}}
	for _, text := range []string{
		`{"items":[` + goodItem + `],"next":"a-_9","more":true}`,
		" {\"more\":true, \"next\":\"a-_9\",\n\"items\" : [" + strings.ReplaceAll(goodItem, ":", " : ")[:0] + goodItem + "]}\n",
	} {
		p, err := ParsePage([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want, p, equal); d != "" {
			t.Error(d)
		}
	}
	p, err := ParsePage([]byte(`{"items":[]}`))
	if err != nil || p.Items == nil || p.Next != "" {
		t.Errorf("the least page: %+v, %v", p, err)
	}
}

func TestParsePageRefuses(t *testing.T) {
	item := func(old, new string) string {
		if !strings.Contains(goodItem, old) {
			t.Fatalf("no %q", old)
		}
		return `{"items":[` + strings.Replace(goodItem, old, new, 1) + `]}`
	}
	many := strings.Repeat(goodItem+",", MaxItems) + goodItem
	for _, test := range []struct{ text, want string }{
		{"", "not one JSON value"},
		{"{", "not one JSON value"},
		{`{"items":[]} {}`, "not one JSON value"},
		{`{"items":[],}`, "not one JSON value"},
		{"{\"items\":[],\"next\":\"\xff\"}", "UTF-8"},
		{strings.Repeat(" ", MaxPageBytes) + `{"items":[]}`, "octets"},
		{`[]`, "want an object"},
		{`null`, "want an object"},
		{`{}`, "field items is missing"},
		{`{"items":null}`, "want a list"},
		{`{"items":{}}`, "want a list"},
		{`{"items":[],"items":[]}`, "stands twice"},
		{`{"items":[],"Items":[]}`, "unknown field"},
		{`{"items":[],"extra":1}`, "unknown field"},
		{`{"items":[],"next":""}`, "leave it out"},
		{`{"items":[],"next":"a b"}`, "next"},
		{`{"items":[],"next":"` + strings.Repeat("a", 129) + `"}`, "next"},
		{`{"items":[],"next":7}`, "another type"},
		{`{"items":[],"more":false}`, "leave it out"},
		{`{"items":[],"more":true}`, "there is no next"},
		{`{"items":[` + many + `]}`, "more than 4096"},
		{`{"items":[` + goodItem + "," + goodItem + `]}`, "does not come after"},
		{`{"items":[7]}`, "want an object"},
		{item(`"seq":7,`, ``), "field seq is missing"},
		{item(`"seq":7`, `"seq":0`), "seq 0"},
		{item(`"seq":7`, `"seq":7.0`), "whole number"},
		{item(`"seq":7`, `"seq":-7`), "whole number"},
		{item(`"seq":7`, `"seq":"7"`), "another type"},
		{item(`"seq":7`, `"seq":9007199254740992`), "whole number"},
		{item(`"seq":7`, `"seq":7,"seq":7`), "stands twice"},
		{item(`"corrects":3`, `"corrects":0`), "leave it out"},
		{item(`"corrects":3`, `"corrects":7`), "want an earlier one"},
		{item(`2026-03-01T12:00:00Z`, `2026-03-01T12:00:00+00:00`), "want the form"},
		{item(`2026-03-01T12:00:00Z`, `2026-03-01T12:00:00.0Z`), "want the form"},
		{item(`2026-03-01T12:00:00Z`, `1970-01-01T00:00:00Z`), "want the form"},
		{item(`2026-03-01T12:00:00Z`, ``), "no time"},
		{item(`"2026-03-01T12:00:00Z"`, `1772366400`), "another type"},
		{item(`37120:2018:8.1`, ``), "indicator"},
		{item(`37120:2018:8.1`, `8 1`), "indicator"},
		{item(`"-12.30"`, `12.3`), "another type"},
		{item(`-12.30`, `1e3`), "number"},
		{item(`ug/m3`, `µg/m3`), "unit"},
		{item(`ug/m3`, `ug m3`), "unit"},
		{item(`MA.156.1301/`, `ma.156.1301/`), "source"},
		{item(`MA.156.1301/30.080001/000001`, ``), "source"},
		{item(`"unit"`, `"units"`), "unknown field"},
	} {
		if _, err := ParsePage([]byte(test.text)); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%.120q: %v, want %q", test.text, err, test.want)
		}
	}
}

func TestDecimal(t *testing.T) {
	for text, want := range map[Decimal]int64{
		"0": 0, "0.0": 0, "12": 12_000_000, "12.30": 12_300_000, "-0.000001": -1, "999999999999.999999": 999_999_999_999_999_999, "-7.5": -7_500_000,
	} {
		if err := text.Check(); err != nil || text.Millionths() != want {
			t.Errorf("%s: %d, %v", text, text.Millionths(), err)
		}
	}
	for _, text := range []Decimal{"", "-", ".5", "5.", "05", "1e3", "+1", "-0", "-0.00", "1.2.3", "1234567890123", "0.1234567", "١", "1,5", " 1"} {
		if err := text.Check(); err == nil || text.Millionths() != 0 {
			t.Errorf("%q is taken for %d", text, text.Millionths())
		}
	}
}

// TestSchema holds the schema against the types, and its patterns against a page.
func TestSchema(t *testing.T) {
	type property struct {
		Pattern   string `json:"pattern"`
		MaxItems  int    `json:"maxItems"`
		MaxLength int    `json:"maxLength"`
		Maximum   uint64 `json:"maximum"`
	}
	type object struct {
		Required   []string            `json:"required"`
		Additional *bool               `json:"additionalProperties"`
		Properties map[string]property `json:"properties"`
	}
	var schema struct {
		Schema string `json:"$schema"`
		object
		Defs struct {
			Observation object   `json:"observation"`
			Seq         property `json:"seq"`
		} `json:"$defs"`
	}
	if err := json.Unmarshal(Schema, &schema); err != nil {
		t.Fatal(err)
	}
	if schema.Schema != "https://json-schema.org/draft/2020-12/schema" || schema.Properties["items"].MaxItems != MaxItems || schema.Defs.Seq.Maximum != MaxSeq {
		t.Errorf("%+v", schema)
	}
	for _, test := range []struct {
		o    object
		kind reflect.Type
	}{{schema.object, reflect.TypeFor[Page]()}, {schema.Defs.Observation, reflect.TypeFor[Observation]()}} {
		var all, required []string
		for i := range test.kind.NumField() {
			name, omit, _ := strings.Cut(test.kind.Field(i).Tag.Get("json"), ",")
			all = append(all, name)
			if omit == "" {
				required = append(required, name)
			}
			if _, ok := test.o.Properties[name]; !ok {
				t.Errorf("%s.%s is not in the schema", test.kind, name)
			}
		}
		if len(test.o.Properties) != len(all) || !slices.Equal(test.o.Required, required) || test.o.Additional == nil || *test.o.Additional {
			t.Errorf("%s: fields %v, required %v", test.kind, all, required)
		}
	}
	page, err := open(t, at("2026-03-02T02:00:00Z", 30)).Page(Query{Limit: MaxLimit})
	if err != nil {
		t.Fatal(err)
	}
	for i := range page.Items {
		b, err := json.Marshal(&page.Items[i])
		if err != nil {
			t.Fatal(err)
		}
		var fields map[string]any
		if err := json.Unmarshal(b, &fields); err != nil {
			t.Fatal(err)
		}
		for name, p := range schema.Defs.Observation.Properties {
			if text, ok := fields[name].(string); p.Pattern != "" && (!ok || !regexp.MustCompile(p.Pattern).MatchString(text)) {
				t.Fatalf("%s %q does not match %s", name, text, p.Pattern)
			}
		}
	}
	if !regexp.MustCompile(schema.Properties["next"].Pattern).MatchString(page.Next) {
		t.Errorf("next %q does not match", page.Next)
	}
}

// FuzzParsePage looks for a page that is taken and is not what it says.
func FuzzParsePage(f *testing.F) {
	f.Add([]byte(`{"items":[` + goodItem + `],"next":"a","more":true}`))
	f.Add([]byte(`{"items":[]}`))
	f.Add([]byte(`{"items":[{"seq":1e3,"value":"0.0"}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := ParsePage(data)
		if err != nil {
			return
		}
		if err := p.Check(); err != nil {
			t.Fatalf("taken, and then: %v", err)
		}
		b, err := json.Marshal(p)
		if err != nil {
			t.Fatal(err)
		}
		again, err := ParsePage(b)
		if err != nil {
			t.Fatalf("%s is refused: %v", b, err)
		}
		if d := cmp.Diff(p, again, equal); d != "" {
			t.Fatal(d)
		}
	})
}

// FuzzDecimal looks for a number that is taken and reads as another one.
func FuzzDecimal(f *testing.F) {
	for _, s := range []string{"0", "-12.30", "999999999999.999999", "0.000001"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		d := Decimal(s)
		if d.Check() != nil {
			return
		}
		_, fraction, _ := strings.Cut(s, ".")
		n := d.Millionths()
		again := string(decimal(max(n, -n), len(fraction)))
		if n < 0 {
			again = "-" + again
		}
		if again != s {
			t.Fatalf("%q has %d millionths, which are %q", s, n, again)
		}
	})
}

func BenchmarkParsePage(b *testing.B) {
	page, err := open(b, at("2026-03-02T02:00:00Z", 0)).Page(Query{Limit: 1000})
	if err != nil {
		b.Fatal(err)
	}
	body, err := json.Marshal(page)
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := ParsePage(body); err != nil {
			b.Fatal(err)
		}
	}
}
