// SPDX-License-Identifier: Apache-2.0

package main

import (
	"flag"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
)

func TestNodeConfigErrors(t *testing.T) {
	for _, x := range []struct{ text, want string }{
		{"", "line 1: it ends in the middle"},
		{"[]", "line 1: want a JSON object"},
		{"{\n\"listen\": \"a:1\",\n\"lisen\": \"b:2\"}", `line 3: there is no field "lisen"`},
		{"{\n\"Listen\": \"a:1\"}", `line 2: there is no field "Listen"`},
		{"{\"listen\": \"a:1\",\n\n\"listen\": \"b:2\"}", `line 3: field "listen" stands twice, first on line 1`},
		{"{\n\n\"streams\": \"9\"}", "line 3: streams: want a whole number"},
		{"{\"streams\": 9.5}", "line 1: streams: want a whole number"},
		{"{\"no_pages\": 1}", "want true or false"},
		{"{\"listen\": null}", "listen: want a text"},
		{"{\"peers\": \"a\"}", "peers: want a list of texts"},
		{"{\"peers\": [\"a\", null]}", "peers: want a list of texts"},
		{"{\n\"listen\": \"a:1\"\n\"streams\": 1}", "line 3: invalid character"},
		{"{\n\"listen\": \"a:1\"", "line 2: it ends in the middle"},
		{"{}\n{}", "line 2: something follows"},
		{"{\"listen\": \"\xff\"}", "not UTF-8"},
		{strings.Repeat(" ", maxConfig) + "{}", "at most"},
	} {
		if _, _, err := parseNodeConfig([]byte(x.text)); err == nil || !strings.Contains(err.Error(), x.want) {
			t.Errorf("%.60q: %v, want %q", x.text, err, x.want)
		}
	}
}

func FuzzNodeConfig(f *testing.F) {
	f.Add([]byte(`{"listen": "127.0.0.1:8080", "peers": ["a@b:1"], "streams": 3, "no_pages": true, "heartbeat": "10s"}`))
	f.Add([]byte(`{"peers": []}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, lines, err := parseNodeConfig(b)
		if err != nil {
			return
		}
		for _, x := range configFields() {
			if _, given := c.texts(x); given != (lines[x.name] > 0) {
				t.Fatalf("%s is given: %v, and stands on line %d", x.name, given, lines[x.name])
			}
		}
		text, err := c.encode()
		if err != nil {
			t.Fatal(err)
		}
		again, _, err := parseNodeConfig(text)
		if err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
		if second, _ := again.encode(); string(second) != string(text) {
			t.Fatalf("%s\nis, read and written again,\n%s", text, second)
		}
	})
}

// TestNodeConfigComplete compares the fields of the configuration with the flags
// of node start, and with their table in docs/operating.md.
func TestNodeConfigComplete(t *testing.T) {
	f := &flags{FlagSet: flag.NewFlagSet("start", flag.ContinueOnError), term: &terminal{}}
	f.common()
	other := []string{"config", "passphrase-fd"} // matters of one start
	f.VisitAll(func(x *flag.Flag) { other = append(other, x.Name) })
	var n startFlags
	n.setup(f)
	var want []string
	f.VisitAll(func(x *flag.Flag) {
		if !slices.Contains(other, x.Name) {
			want = append(want, x.Name)
		}
	})
	var got, names []string
	kinds := map[string]string{}
	for _, x := range configFields() {
		got, names = append(got, x.flag), append(names, x.name)
		kinds[x.name] = map[reflect.Type]string{
			reflect.TypeFor[*string](): "text", reflect.TypeFor[*int](): "number", reflect.TypeFor[*bool](): "true or false", reflect.TypeFor[[]string](): "list",
		}[reflect.TypeFor[nodeConfig]().Field(x.index).Type]
	}
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("the configuration has the flags %q, node start has %q", got, want)
	}
	doc, err := os.ReadFile("../../docs/operating.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, ok := strings.Cut(string(doc), "<!-- configuration -->\n")
	table, _, _ = strings.Cut(table, "\n\n")
	if !ok {
		t.Fatal("docs/operating.md has no table of the configuration")
	}
	var documented []string
	for _, m := range regexp.MustCompile("(?m)^\\| `(\\w+)` \\| ([^|]+) \\| ([^|]+) \\| (.+) \\|$").FindAllStringSubmatch(table, -1) {
		documented = append(documented, m[1])
		for _, x := range configFields() {
			if x.name != m[1] {
				continue
			}
			standard := f.Lookup(x.flag).DefValue
			if documentedDefault := strings.Trim(m[3], "` "); documentedDefault != standard && !(standard == "" && documentedDefault == "none") && !(standard == "false" && documentedDefault == "false") {
				t.Errorf("%s: the default is %q, documented as %q", x.name, standard, documentedDefault)
			}
		}
		if kinds[m[1]] != m[2] {
			t.Errorf("%s is a %s, documented as %s", m[1], kinds[m[1]], m[2])
		}
	}
	if !slices.Equal(documented, names) {
		t.Errorf("docs/operating.md has the settings %q, the configuration %q", documented, names)
	}
}
