// SPDX-License-Identifier: Apache-2.0

package catalogue

import (
	"strings"

	"cityid"
	"cityid/internal/dcat"
)

// euThemes are the European data themes, so that no description gives them other
// names in lists.
var euThemes = map[string][2]string{
	"AGRI": {"农业、渔业、林业和食品", "Agriculture, fisheries, forestry and food"}, "ECON": {"经济和金融", "Economy and finance"},
	"EDUC": {"教育、文化和体育", "Education, culture and sport"}, "ENER": {"能源", "Energy"}, "ENVI": {"环境", "Environment"},
	"GOVE": {"政府和公共部门", "Government and public sector"}, "HEAL": {"健康", "Health"}, "INTR": {"国际事务", "International issues"},
	"JUST": {"司法、法律制度和公共安全", "Justice, legal system and public safety"}, "OP_DATPRO": {"临时数据", "Provisional data"},
	"REGI": {"地区和城市", "Regions and cities"}, "SOCI": {"人口和社会", "Population and society"},
	"TECH": {"科学和技术", "Science and technology"}, "TRAN": {"交通", "Transport"},
}

// themeNames returns what a theme is called in lists: European themes by their
// names, terms of a crosswalk scheme by their value, and others by the last part of
// their IRI.
func themeNames(iri string) cityid.Names {
	if name, ok := strings.CutPrefix(iri, dcat.EUTheme); ok {
		if t, ok := euThemes[name]; ok {
			return cityid.NamesOf(map[string]string{"zh": t[0], "en": t[1]})
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
