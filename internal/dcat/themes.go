// SPDX-License-Identifier: Apache-2.0

package dcat

import (
	"strings"

	"cityid"
)

// themeNames are what the European data themes are called.
var themeNames = map[string]Words{
	"AGRI": {"农业、渔业、林业和食品", "Agriculture, fisheries, forestry and food"}, "ECON": {"经济和金融", "Economy and finance"},
	"EDUC": {"教育、文化和体育", "Education, culture and sport"}, "ENER": {"能源", "Energy"}, "ENVI": {"环境", "Environment"},
	"GOVE": {"政府和公共部门", "Government and public sector"}, "HEAL": {"健康", "Health"}, "INTR": {"国际事务", "International issues"},
	"JUST": {"司法、法律制度和公共安全", "Justice, legal system and public safety"}, "OP_DATPRO": {"临时数据", "Provisional data"},
	"REGI": {"地区和城市", "Regions and cities"}, "SOCI": {"人口和社会", "Population and society"},
	"TECH": {"科学和技术", "Science and technology"}, "TRAN": {"交通", "Transport"},
}

// Theme returns the European data theme of a name such as "ENVI", with what it is
// called in Chinese and English.
func Theme(name string) (Concept, error) {
	w, ok := themeNames[name]
	if !ok {
		return Concept{}, malformed("theme %.40q: want one of %s", name, strings.Join(euThemes, ", "))
	}
	return Concept{ID: EUTheme + name, Label: cityid.NamesOf(map[string]string{"zh": w.ZH, "en": w.EN})}, nil
}

// Frequency returns the IRI of the European table for a name such as "DAILY".
func Frequency(name string) (string, error) {
	iri := EUFrequency + name
	if !within(iri, EUFrequency, euFrequencies) {
		return "", malformed("frequency %.40q: want one of %s", name, strings.Join(euFrequencies, ", "))
	}
	return iri, nil
}
