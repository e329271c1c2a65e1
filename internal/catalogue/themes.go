// SPDX-License-Identifier: Apache-2.0

package catalogue

import (
	"strings"

	"cityid"
	"cityid/internal/dcat"
)

// themeNames returns what a theme is called in lists: European themes by their names,
// whatever a description calls them, terms of a crosswalk scheme by their value, and
// others by the last part of their IRI.
func themeNames(iri string) cityid.Names {
	if name, ok := strings.CutPrefix(iri, dcat.EUTheme); ok {
		if t, err := dcat.Theme(name); err == nil {
			return t.Label
		}
	}
	if scheme, value, err := dcat.ParseSchemeTerm(iri); err == nil {
		return cityid.NamesOf(map[string]string{"en": scheme + ":" + value})
	}
	if s := shortName(iri); s != "" {
		return cityid.NamesOf(map[string]string{"en": s})
	}
	return nil
}
