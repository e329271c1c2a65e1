// SPDX-License-Identifier: Apache-2.0

package portal

import (
	"net/url"
	"strings"
	"testing"
)

// FuzzPreviewSchema previews any schema within its bounds.
func FuzzPreviewSchema(f *testing.F) {
	f.Add([]byte(`{"properties":{"a":{"type":["string","null"],"format":"date"},"b":{"items":{"$ref":"#/$defs/x"}}},"required":["a"],"$defs":{"x":{"$ref":"#/$defs/x"}}}`))
	f.Add([]byte(`{"$ref":"#/$defs/x","$defs":{"x":{"properties":{"x":{"$ref":"#/$defs/x"},"y":{"$ref":"#/$defs/x"}}}}}`))
	f.Add([]byte(`true`))
	f.Add([]byte(`{"properties":[],"items":[{}],"type":1,"required":"a"}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		fields, _ := previewSchema(body)
		if len(fields) > maxFields {
			t.Errorf("%d fields", len(fields))
		}
		for _, x := range fields {
			if len(x.About) > 4*201+3 || len(x.Type) > 4*61+3 || len(x.Path) > 4*121+3 {
				t.Errorf("a field is too long: %+v", x)
			}
		}
	})
}

// FuzzDataQuery reads any conditions, or says what is wrong with them.
func FuzzDataQuery(f *testing.F) {
	f.Add("q=路灯&class=open&class=closed&city=MA.156.1301&theme=http://x&sort=modified&after=x")
	f.Fuzz(func(t *testing.T, query string) {
		v, err := url.ParseQuery(query)
		if err != nil {
			return
		}
		q, err := dataQuery(v)
		if err == nil && (len(q.Text) > 200 || strings.TrimSpace(q.Text) != q.Text) {
			t.Errorf("text %q", q.Text)
		}
	})
}
