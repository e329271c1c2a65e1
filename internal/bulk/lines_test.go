// SPDX-License-Identifier: Apache-2.0

package bulk

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/text/encoding/simplifiedchinese"
)

func TestReadLines(t *testing.T) {
	text := " {\"编号\": \"0001\", \"n\": 12.50}\r\n\n{\"n\":null,\"名称\":\" 'a\\n,\",\"编号\":7}\n{}\n{\"ok\":true,\"at\":[1, {\"x\": 2}]}"
	want := []Row{
		{1, []string{"0001", "12.50"}},
		{3, []string{"7", "", " 'a\n,"}},
		{5, []string{"", "", "", "true", `[1, {"x": 2}]`}},
	}
	gb, err := simplifiedchinese.GB18030.NewEncoder().String(text)
	if err != nil {
		t.Fatal(err)
	}
	for encoding, text := range map[string]string{UTF8: text, UTF8BOM: "\ufeff" + text, GB18030: gb} {
		table := readText(t, text)
		if table.Format != FormatLines || table.Encoding != encoding {
			t.Errorf("read as %s, %s", table.Format, table.Encoding)
		}
		if d := cmp.Diff([]string{"编号", "n", "名称", "ok", "at"}, table.Header); d != "" {
			t.Error(d)
		}
		if d := cmp.Diff(want, table.Rows); d != "" {
			t.Errorf("%s: %s", encoding, d)
		}
	}
	if table := readText(t, "{a},b\n1,2\n"); table.Format != FormatCSV || table.Header[0] != "{a}" {
		t.Errorf("a header in braces is read as %s %q", table.Format, table.Header)
	}
}

func TestReadLinesRefuses(t *testing.T) {
	many := make([]string, MaxColumns+1)
	for i := range many {
		many[i] = `"` + strings.Repeat("x", i+1) + `":1`
	}
	for _, test := range []struct{ text, want string }{
		{`{"a":1}` + "\n" + `{"a":1`, "line 2: the object does not end"},
		{`{"a":1,}`, "at character"},
		{`{"a" 1}`, `the value of "a" is not JSON`},
		{`{"a":01}`, "not JSON"},
		{`{"a":1} {"a":2}`, "something follows the object"},
		{`{"a":1}` + "\n[1]", "line 2: it does not begin with an object"},
		{`{"a":1}` + "\nnull", "does not begin with an object"},
		{`{"a":1,"b":2,"a":1}`, `the name "a" stands twice`},
		{`{"a":null,"a":null}`, "stands twice"},
		{`{"":1}`, "the name"},
		{`{"\ud800":1}`, "the name"},
		{`{` + strings.Join(many, ",") + `}`, "would be column 65"},
		{`{"a":"` + strings.Repeat("x", MaxCell+1) + `"}`, "octets"},
		{`{"a":"` + "\x01" + `"}`, "not JSON"},
	} {
		_, err := ReadTable(strings.NewReader(test.text), "test", ReadOptions{})
		var list Problems
		if !errors.As(err, &list) || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%.60q: %v, want %q", test.text, err, test.want)
		}
	}
	if _, err := ReadTable(strings.NewReader("{\"a\":1}\n{\"a\":2}\n"), "test", ReadOptions{MaxRows: 1}); err == nil || !strings.Contains(err.Error(), "split the file") {
		t.Errorf("more rows than the bound: %v", err)
	}
}

// TestImportLines plans a table of JSON lines as one of CSV.
func TestImportLines(t *testing.T) {
	lines := mustPlan(t, readText(t, `{"code":"20.010203/000001","name":"灯","lat":38.0454740,"lon":114.502461}`), options())
	csv := mustPlan(t, readText(t, "code,name,lat,lon\n20.010203/000001,灯,38.045474,114.502461\n"), options())
	if lines.Digest != csv.Digest {
		t.Errorf("another plan: %+v, %+v", lines.Batches, csv.Batches)
	}
}
