// SPDX-License-Identifier: Apache-2.0

package dcat

import "testing"

// TestThemes has a name in both languages for each theme of the table, and none
// for others.
func TestThemes(t *testing.T) {
	if len(themeNames) != len(euThemes) {
		t.Errorf("%d names for %d themes", len(themeNames), len(euThemes))
	}
	for _, name := range euThemes {
		if c, err := Theme(name); err != nil || !c.known() || !bilingual(c.Label) {
			t.Errorf("theme %s: %v, %v", name, c, err)
		}
	}
	for _, name := range euFrequencies {
		if iri, err := Frequency(name); err != nil || iri != EUFrequency+name {
			t.Errorf("frequency %s: %s, %v", name, iri, err)
		}
	}
	if _, err := Theme("envi"); err == nil {
		t.Error("a theme in lower case is taken")
	}
	if _, err := Frequency(""); err == nil {
		t.Error("no frequency is taken")
	}
}
