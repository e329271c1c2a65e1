// SPDX-License-Identifier: Apache-2.0

package portal

import (
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"

	"cityid"
	"cityid/verify"
)

// TestVerifyZones shows the zones of a proof that leads through several, each
// with its time and what the zone above says of it.
func TestVerifyZones(t *testing.T) {
	for name, want := range map[string][]string{
		"good-record":                     nil,
		"good-zones-record":               {"MA.156 chain root-1aaa, as of ", "MA.156.1301 chain sjz-2bbb, as of "},
		"good-zones-grandchild":           {"MA.156 chain root-1aaa, as of ", "MA.156.1301 chain sjz-2bbb, as of ", "MA.156.1301.90 chain district-4ddd, as of "},
		"good-zones-retired":              {"MA.156 chain root-1aaa, as of ", "MA.156.1301 chain sjz-2bbb, as of "},
		"good-zones-referral":             {"MA.156 chain root-1aaa, as of ", "MA.156.1301 chain sjz-2bbb, which is to be asked next"},
		"bad-zones-restored":              nil,
		"undecided-zones-delegated-since": {"MA.156 chain root-1aaa, as of ", "MA.156.1301 chain sjz-2bbb, as of "},
	} {
		var v struct {
			Trust  cityid.Trust `json:"trust"`
			Bundle cityid.Bytes `json:"bundle"`
			Now    time.Time    `json:"now"`
			At     time.Time    `json:"at"`
		}
		data, err := os.ReadFile("../../testdata/vectors/bundle-" + name + ".json")
		if err == nil {
			err = json.Unmarshal(data, &v)
		}
		if err != nil {
			t.Fatal(err)
		}
		r := verify.CheckEncoded(&v.Trust, v.Bundle, verify.Options{Now: v.Now, At: v.At})
		for _, lang := range []string{"en", "zh"} {
			got := testPage(t, lang).zonesOf(&r)
			if len(got) != len(want) {
				t.Fatalf("%s: %d zones, want %d: %+v", name, len(got), len(want), got)
			}
			for i, z := range got {
				if lang == "en" && !strings.HasPrefix(z.Code+" "+z.Text, want[i]) || strings.Contains(z.Text+z.Above, "⟦") {
					t.Errorf("%s: %+v, want %q", name, z, want[i])
				}
				if (z.Above != "") != (name == "good-zones-retired" && i == 1) {
					t.Errorf("%s: of %s the zone above says %q", name, z.Code, z.Above)
				}
			}
		}
	}
}
