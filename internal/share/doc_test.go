// SPDX-License-Identifier: Apache-2.0

package share_test

import (
	"bytes"
	"encoding/json"
	"os"
	"strings"
	"testing"

	"cityid/internal/share"
)

// TestDocumentedConfig holds the configuration in the documentation to what a
// gateway reads, and its table to the fields there are.
func TestDocumentedConfig(t *testing.T) {
	doc, err := os.ReadFile("../../docs/sharing.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := bytes.Cut(doc, []byte("```json gateway\n"))
	if !ok {
		t.Fatal("docs/sharing.md shows no configuration")
	}
	text, rest, _ := bytes.Cut(rest, []byte("```"))
	var c share.Config
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&c); err != nil {
		t.Fatal(err)
	}
	c = c.WithDefaults()
	if err := c.Check(); err != nil {
		t.Error(err)
	}
	all, err := json.Marshal(fill(c))
	if err != nil {
		t.Fatal(err)
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(all, &fields); err != nil {
		t.Fatal(err)
	}
	table, _, _ := strings.Cut(string(rest), "A backend is")
	for name := range fields {
		if !strings.Contains(table, "`"+name+"`") {
			t.Errorf("the table does not explain %s", name)
		}
	}
}

// fill sets what encoding would leave out.
func fill(c share.Config) share.Config {
	c.LocalNetworks, c.Authorities, c.PrivatePeers = []string{"10.0.0.0/8"}, "ca.pem", true
	c.PublicDashboard = true
	return c
}
